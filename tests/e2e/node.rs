//! A node of the Waku Network with the flags of nwaku: it relays and bridges nothing.

use std::{fs, time::Duration};

use crate::process::{Bridge, Output, run};

/// A secp256k1 key and its public one.
const SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const PUBLIC: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// The other half of the public one.
const PUBLIC_Y: &str = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
/// How long what is sure to come may take: a test that waits so long has failed.
const HEARD: Duration = Duration::from_secs(60);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// What is said where rate-limit proofs are asked for without a group, and where a membership is without a provider of the chain; and
/// the code of the second.
#[cfg(feature = "rln")]
const PROOFS: ([&str; 2], i32) = (["--rln-relay needs to know who is a member", "--rln-relay-eth-client-address"], 2);
/// The same of a program that was built without them.
#[cfg(not(feature = "rln"))]
const PROOFS: ([&str; 2], i32) =
    (["--rln-relay: this program was built without", "this program was built without rate-limit proofs"], 1);

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Posts until a line with this word is heard, and returns all lines up to it. More than once, because a mesh has to come up first,
/// and because whoever posts and leaves at once does not learn whether all of it went out.
fn heard_after(listener: &Output, post: &[&str], word: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..30 {
        let posted = run(&[&["post"], post].concat());
        assert!(posted.success, "{posted:?}");
        while let Some(line) = listener.line_within(Duration::from_secs(1)) {
            let found = line.contains(word);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }
    panic!("{post:?} was not heard, but {lines:?}");
}

fn listen_at(address: &str) -> Output {
    let listener = Output::of(&["listen", address, "--timeout=120"]);
    listener.wait_for_error_line("listening for");
    listener
}

#[test]
fn two_nodes_peer_relay_and_stop() {
    let data = [directory(), directory()];
    let first = Bridge::node_in(data[0].path(), &[], &[]);
    assert_eq!(first.enode, "", "no waku/0 unless asked for");
    assert!(first.banner[0].ends_with("node of the Waku Network"), "{:#?}", first.banner);
    let (status, body) = first.get("/readyz");
    assert_eq!((status, body.contains("v1_peers"), body.contains("v2_peers")), (503, false, true), "{body}");
    assert_eq!(first.get("/legacy/v1/accounting").0, 400);

    let second = Bridge::node_in(data[1].path(), &["--relay=true", "--staticnode", &first.libp2p], &[]);
    let peer = second.libp2p.rsplit('/').next().expect("a peer id");
    let connected = first.wait_for_log(peer);
    assert!(connected.contains("peer connected"), "{connected}");
    let listener = listen_at(&first.libp2p);
    heard_after(&listener, &[&second.libp2p, "--text=through two nodes"], "through two nodes");

    let metrics = first.get("/metrics").1;
    assert!(metrics.contains("libp2p_gossipsub_peers_per_topic_mesh{topic=\"/waku/2/rs/0/0\"}"), "{metrics}");
    assert!(!metrics.contains("bridge_messages") && !metrics.contains("waku_envelopes"), "{metrics}");
    for node in [first, second] {
        assert_eq!(node.terminate(STOP), Some(0));
    }
}

#[test]
fn waku0_and_the_waku_network_side_by_side_and_nothing_crosses() {
    let data = directory();
    let flags = ["--waku-v0", "--metrics-server", "--metrics-server-port=0"];
    let node = Bridge::node_in(data.path(), &flags, &[]);
    assert!(!node.enode.is_empty() && !node.libp2p.is_empty(), "{:#?}", node.banner);
    let sides = [(&node.enode, "an envelope"), (&node.libp2p, "a message")];
    let listeners = sides.map(|(at, _)| listen_at(at));
    for (listener, (at, text)) in listeners.iter().zip(sides) {
        heard_after(listener, &[at, &format!("--text={text}")], text);
    }
    // What crossed would come before these.
    for (listener, (at, text)) in listeners.iter().zip(sides) {
        let lines = heard_after(listener, &[at, &format!("--text={text}, the last")], "the last");
        assert!(lines.iter().all(|line| line.contains(text)), "{lines:?}");
    }
    let (status, metrics) = node.get_metrics("/metrics");
    assert!(
        status == 200 && metrics.contains("libp2p_peers") && metrics.contains("waku_envelopes_received"),
        "{metrics}"
    );
    assert_eq!(node.get_metrics("/readyz").0, 404, "metrics alone");
    assert_eq!(node.terminate(STOP), Some(0));
}

#[test]
fn a_file_the_environment_and_what_is_not_served() {
    let data = directory();
    let file = data.path().join("node.toml");
    fs::write(&file, "cluster-id = 5\nshard = [3]\nnum-shards-in-network = 8\nstore = true\n").expect("a file");
    let path = format!("--config-file={}", file.display());
    let fixed = ["--listen-address=127.0.0.1", "--websocket-port=0", "--rest-port=0"];
    let home = format!("--data-dir={}", data.path().join("data").display());
    // No sub-command, as nwaku is called.
    let line: Vec<&str> = [&*path, &*home, "--tcp-port:0", "--relay", "True"].into_iter().chain(fixed).collect();
    let node = Output::with(&line, &[("WAKUNODE2_MIX", "true"), ("WAKUNODE2_CLUSTER_ID", "6")]);
    node.wait_for_error_line("not served yet: --mix");
    node.wait_for_error_line("Node setup complete");
    let banner: Vec<String> = std::iter::from_fn(|| node.line_within(HEARD)).take(7).collect();
    assert!(banner.iter().any(|line| line.contains("--cluster-id 6 --pubsub-topic /waku/2/rs/6/3")), "{banner:#?}");
}

#[test]
fn a_message_signed_for_its_shard_passes_and_another_does_not() {
    let data = directory();
    let key = data.path().join("shard.key");
    fs::write(&key, format!("{SECRET}\n")).expect("a file");
    let node = Bridge::node_in(data.path(), &[&format!("--protected-shard=0:{PUBLIC}")], &[]);
    let listener = listen_at(&node.libp2p);
    let file = format!("--signing-key-file={}", key.display());
    heard_after(&listener, &[&node.libp2p, &file, "--text=by the key", "--timestamp-fudge"], "by the key");
    let is_refused = (0..30).any(|_| {
        let posted = run(&["post", &node.libp2p, "--text=by nobody"]);
        assert!(posted.success, "who posts does not hear of a refusal: {posted:?}");
        !node.get("/metrics").1.contains("waku_relay_rejected_total{type=\"signature\"} 0\n")
    });
    assert!(is_refused, "{}", node.get("/metrics").1);
    let lines = heard_after(&listener, &[&node.libp2p, &file, "--text=the last, by the key"], "the last");
    assert!(lines.iter().all(|line| line.contains("by the key")), "{lines:?}");

    let enode = format!("enode://{}{PUBLIC_Y}@127.0.0.1:1", &PUBLIC[2..]);
    let line = ["post", &*enode, "--text=x"];
    for (said, code, word) in [
        (Output::with(&line, &[("CAUSEWAY_SIGNING_KEY", SECRET)]).end(), 2, "leave --signing-key-file out"),
        (run(&["post", &node.libp2p, "--signing-key-file=/nowhere", "--text=x"]), 1, "--signing-key-file /nowhere"),
        (Output::with(&line, &[("CAUSEWAY_SIGNING_KEY", "5ec7e7")]).end(), 1, "CAUSEWAY_SIGNING_KEY"),
    ] {
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.stderr.contains(word) && !said.stderr.contains("5ec7e7"), "{said:?}");
    }
}

#[test]
fn what_is_asked_for_and_not_there_is_said() {
    let sample = run(&["node", "--print-config"]);
    assert!(sample.success && sample.stdout.contains("\n#tcp-port = 60000\n"), "{sample:?}");
    let ([asks, registers], code) = PROOFS;
    for (line, code, word) in [
        (&["node", "--rln-relay=true"][..], 2, asks),
        (&["node", "--relay=false"], 2, "--waku-v0"),
        (&["node", "--config-file=/nowhere"], 2, "--config-file /nowhere"),
        (&["generateRlnKeystore", "--rln-relay-chain-id:59141", "--execute"], code, registers),
    ] {
        let said = run(line);
        assert_eq!(said.code, Some(code), "{line:?}: {said:?}");
        assert!(said.stderr.contains(word), "{line:?}: {said:?}");
    }
}

#[test]
fn pages_of_named_origins_may_read_and_others_may_not() {
    let data = directory();
    let node = Bridge::node_in(data.path(), &["--rest-allow-origin=localhost:*"], &[]);
    assert_eq!(node.get("/health").0, 200, "no origin, as programs ask");
    let named = node.get_from("http://localhost:8080", "/health");
    assert_eq!(named.0, 200);
    let foreign = node.get_from("http://example.org", "/health");
    assert_eq!(foreign, (403, "Origin not allowed".into()));
}
