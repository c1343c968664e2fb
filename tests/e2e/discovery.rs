//! Bridges that know nothing of each other find each other, and what one hears the other hears.

use std::{fs, net::UdpSocket, path::Path};

use devp2p::{NodeKey, enr};
use serde_json::Value;

use crate::{
    name_server::NameServer,
    process::{Bridge, Output, Said, run},
};

/// Keys of the two bridges where a list must name one, and of the list.
const KEYS: [&str; 3] = [
    "1111111111111111111111111111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222222222222222222222222222",
    "3333333333333333333333333333333333333333333333333333333333333333",
];

/// What is posted to one is heard at the other: it can only have come from peer to peer.
fn are_peers(posted_at: &Bridge, heard_at: &Bridge) {
    let listener = Output::of(&["listen", &heard_at.enode, "--count=1", "--timeout=60"]);
    listener.wait_for_error_line("listening for");
    let posted = run(&["post", &posted_at.enode, "--text=found you", "--ttl=60"]);
    assert!(posted.success, "{posted:?}");
    let heard = listener.end();
    assert!(heard.success && heard.stdout.contains("found you"), "{heard:?}");
}

fn sample(bridge: &Bridge, name: &str) -> Option<u64> {
    let (_, metrics) = bridge.get("/metrics");
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn two_bridges_find_each_other_over_udp() {
    let first = Bridge::start(&["--discv4-discovery"]);
    assert!(!first.enode.contains("discport"), "UDP has the number of TCP: {}", first.enode);
    let begin = format!("--discv4-bootstrap-node={}", first.enode);
    let second = Bridge::start(&["--discv4-discovery", &begin]);
    are_peers(&first, &second);
    assert!(sample(&second, "v1_discovered_total{source=\"discv4\"}") >= Some(1), "{:?}", second.get("/metrics"));
    assert_eq!(sample(&second, "v1_discovered_total{source=\"dns\"}"), None, "there is no such discovery");
    assert_eq!(second.terminate(std::time::Duration::from_secs(10)), Some(0));
}

#[test]
fn a_taken_udp_port_is_named_with_its_flag() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let data = tempfile::tempdir().expect("a temporary directory");
    let flags = [format!("--data-dir={}", data.path().display()), format!("--devp2p-tcp-port={port}")];
    let fixed = [
        "bridge",
        "--listen-address=127.0.0.1",
        "--tcp-port=0",
        "--websocket-port=0",
        "--rest-port=0",
        "--discv4-discovery",
    ];
    let said = run(&[&fixed[..], &[&flags[0], &flags[1]]].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains(&format!("udp 127.0.0.1:{port}")) && said.stderr.contains("--devp2p-tcp-port"),
        "{said:?}"
    );
}

#[test]
fn no_discovery_runs_unless_asked_for() {
    let bridge = Bridge::start(&[]);
    assert!(bridge.enode.ends_with("?discport=0"), "{}", bridge.enode);
    let (_, metrics) = bridge.get("/metrics");
    assert!(!metrics.contains("v1_discovered"), "{metrics}");
    assert!(metrics.contains("v1_connections{state=\"all\"} 0.0"), "{metrics}");
    assert!(metrics.contains("v1_read_memory_bytes 0.0"), "{metrics}");
}

#[test]
fn a_bridge_finds_the_other_in_a_signed_list() {
    // Lists are in the order of node ids, and read in it: what is read before the bridge is counted when the bridge is found.
    let mut keys = [KEYS[0], KEYS[1]].map(|text| (text, text.parse::<NodeKey>().expect("a key")));
    keys.sort_by_key(|(_, key)| key.public().id());
    let [(_, nowhere), (listed, _)] = keys;
    let listed = Bridge::start(&["--nodekey", listed]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let key = folder.path().join("list.key");
    fs::write(&key, KEYS[2]).expect("a key file");
    // One record is that of the bridge, as it logs it; one says nowhere.
    let own = listed.record();
    let nowhere = enr::sign(&nowhere, 1, &enr::Endpoint::default());
    let made =
        dns_tree(&key, &[&own, &nowhere.expect("a record").to_base64(), "--domain=nodes.example.org", "--seq=1"]);
    assert!(made.success && made.stderr.contains("record 2 of the command line: no address"), "{made:?}");
    let list: Value = serde_json::from_str(&made.stdout).expect("JSON");

    let server = NameServer::start(records(&list)).expect("a name server");
    let link = format!("--dns-discovery-url-v1={}", list["url"].as_str().expect("a link"));
    let finder = Bridge::start(&[&link, &format!("--dns-addrs-name-server={}", server.addr())]);
    assert!(finder.enode.ends_with("?discport=0"), "no discovery over UDP: {}", finder.enode);
    are_peers(&listed, &finder);
    assert_eq!(sample(&finder, "v1_discovered_total{source=\"dns\"}"), Some(2));
    assert_eq!(sample(&finder, "v1_discovered_unusable_total{source=\"dns\"}"), Some(1));
}

fn dns_tree(key: &Path, rest: &[&str]) -> Said {
    run(&[&["dns-tree", "--json", "--key-file", key.to_str().expect("Unicode")], rest].concat())
}

fn records(list: &Value) -> Vec<(String, String)> {
    let records = list["records"].as_object().expect("records");
    records.iter().map(|(name, text)| (name.clone(), text.as_str().expect("a text").to_owned())).collect()
}

/// Trees of 1 to 200 nodes, as go-ethereum makes them.
#[test]
fn lists_are_those_of_go_ethereum() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (key, file) = (folder.path().join("list.key"), folder.path().join("nodes.txt"));
    let cases: Value = serde_json::from_str(include_str!("../../fixtures/dns/trees.json")).expect("JSON");
    let mut made = 0;
    for case in cases.as_array().expect("cases") {
        let list =
            |name: &str| case[name].as_array().expect("a list").iter().map(|text| text.as_str().expect("a text"));
        let lines: String = list("nodes").chain(list("links")).map(|line| format!("{line}\n")).collect();
        fs::write(&key, case["secret"].as_str().expect("a key")).expect("a key file");
        fs::write(&file, &lines).expect("a file");
        let (seq, url) = (case["seq"].to_string(), case["url"].as_str().expect("a link"));
        let domain = url.split('@').nth(1).expect("a domain");
        let flags = ["--file", file.to_str().expect("Unicode"), "--domain", domain, "--seq", &seq];
        let said = dns_tree(&key, &flags);
        if lines.is_empty() {
            assert!(said.code == Some(2) && said.stderr.contains("no record was given"), "{said:?}");
            continue;
        }
        assert!(said.success, "{said:?}");
        let list: Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!((&list["url"], &list["records"]), (&case["url"], &case["records"]));
        made += 1;
    }
    assert_eq!(made, 4);
}

#[test]
fn a_list_gets_a_key_of_its_own_that_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (key, file) = (folder.path().join("list.key"), folder.path().join("nodes.txt"));
    let node: NodeKey = KEYS[0].parse().expect("a key");
    let endpoint = enr::Endpoint { ip: Some([127, 0, 0, 1].into()), tcp: Some(1), udp: None };
    let record = enr::sign(&node, 1, &endpoint).expect("a record").to_base64();
    let (key_file, records) = (key.to_str().expect("Unicode"), file.to_str().expect("Unicode"));
    let args = ["dns-tree", "--key-file", key_file, "--domain=nodes.example.org", "--file", records];

    fs::write(&file, format!("# the nodes\n{record}\n{}\n", &record[..40])).expect("a file");
    let refused = run(&args);
    assert!(refused.code == Some(2) && refused.stderr.contains("nodes.txt, line 3"), "{refused:?}");
    assert!(!key.exists(), "no key is made for nothing");
    fs::write(&file, &record).expect("a file");
    let refused = run(&[&args[..], &["--domain=nodes..org"]].concat());
    assert!(refused.code == Some(2), "{refused:?}");

    let first = run(&args);
    assert!(first.success && first.stderr.contains("made the key"), "{first:?}");
    assert!(first.stdout.starts_with("; enrtree://") && first.stdout.lines().count() == 4, "{first:?}");
    let again = run(&args);
    assert!(again.success && again.stderr.is_empty(), "{again:?}");
    assert_eq!(first.stdout.lines().next(), again.stdout.lines().next());
}
