//! Rate-limit proofs between real nodes, in a group that is a file.

use std::{fs, time::Duration};

use serde_json::json;

use crate::process::{Bridge, Output, run};

/// How often a state that nobody tells of is looked at again, and for how long.
const AGAIN: Duration = Duration::from_millis(100);
const TIMES: usize = 600;

const MESSAGES: &str = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F0%2F0";
const PASSWORD: &str = "--rln-relay-cred-password=a pass word";

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..TIMES {
        if is_so() {
            return;
        }
        std::thread::park_timeout(AGAIN);
    }
    panic!("waited in vain for {what}");
}

#[test]
fn a_member_is_heard_within_its_rate_and_nobody_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let created = run(&["rln", "keystore", "create", &at("keystore.json"), "--limit=2", PASSWORD]);
    assert!(created.success && created.stdout.contains(" 2 # index 0"), "{created:?}");
    fs::write(at("group"), &created.stdout).unwrap();
    let listed = run(&["rln", "keystore", "list", &at("keystore.json"), PASSWORD]);
    assert_eq!(listed.stdout, created.stdout);
    let wrong = run(&["rln", "keystore", "list", &at("keystore.json"), "--rln-relay-cred-password=x"]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("the password is wrong"), "{wrong:?}");

    let (group, keystore) =
        (format!("--rln-group={}", at("group")), format!("--rln-relay-cred-path={}", at("keystore.json")));
    let proofs = ["--rln-relay", &*group, "--free-bandwidth=0"];
    let member = Bridge::node_in(&directory.path().join("a"), &[&proofs[..], &[&*keystore, PASSWORD]].concat(), &[]);
    let peer = format!("--staticnode={}", member.libp2p);
    let other = Bridge::node_in(&directory.path().join("b"), &[&proofs[..], &[&*peer]].concat(), &[]);
    assert!(member.get("/health").1.contains(r#"{"Rln Relay":"READY"}"#), "{:?}", member.get("/health"));

    let text = |payload: &str| json!({"payload": payload, "contentTopic": "/a/1/b/proto"}).to_string();
    let mesh = "libp2p_gossipsub_peers_per_topic_mesh{topic=\"/waku/2/rs/0/0\"} 1.0\n";
    until("a mesh", || [&member, &other].iter().all(|node| node.get("/metrics").1.contains(mesh)));
    until("the first message", || member.ask("POST", MESSAGES, &text("Zmlyc3Q=")).0 == 200);
    until("what it says", || other.get(MESSAGES).1.contains("Zmlyc3Q="));
    until("the count", || {
        other.get("/metrics").1.contains("waku_rln_valid_messages_total_total{shard=\"/waku/2/rs/0/0\"}")
    });
    let left = |node: &Bridge| {
        let metrics = node.get("/metrics").1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("waku_rln_remaining_proofs_per_epoch "));
        line.map(str::to_owned)
    };
    assert!(left(&member).is_some_and(|left| left != "2.0"), "{:?}", left(&member));
    // An epoch may end between two of these, so that it takes up to five until one is spent.
    until("the end of its messages", || {
        let said = member.ask("POST", MESSAGES, &text("bW9yZQ=="));
        said.0 != 200 && said.1.contains("no message id left")
    });
    let refused = other.ask("POST", MESSAGES, &text("bm9ib2R5"));
    assert!(refused.0 != 200 && refused.1.contains("no membership"), "{refused:?}");

    until("the refusal of what has no proof", || {
        let posted = run(&["post", &other.libp2p, "--text=unproven"]);
        assert!(posted.success, "who posts does not hear of a refusal: {posted:?}");
        !other.get("/metrics").1.contains("waku_rln_invalid_messages_total_total{type=\"no_proof\"} 0\n")
    });
    assert!(!other.get(MESSAGES).1.contains("dW5wcm92ZW4"));
}

/// Two programs that use the same id of an epoch would reveal the membership's secret, and be left out of the group for it.
#[test]
fn two_programs_share_a_membership_by_its_ids() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let created = run(&["rln", "keystore", "create", &at("keystore.json"), "--limit=200", PASSWORD]);
    assert!(created.success, "{created:?}");
    fs::write(at("group"), &created.stdout).unwrap();
    let (group, keystore) =
        (format!("--rln-group={}", at("group")), format!("--rln-relay-cred-path={}", at("keystore.json")));
    let proofs = ["--rln-relay", &*group, "--free-bandwidth=0"];
    let verifier = Bridge::node_in(&directory.path().join("verifier"), &proofs, &[]);
    let peer = format!("--staticnode={}", verifier.libp2p);
    let member = |name: &str, ids: &str| {
        let own = [&*keystore, PASSWORD, &*peer, ids];
        Bridge::node_in(&directory.path().join(name), &[&proofs[..], &own].concat(), &[])
    };
    let members = [member("a", "--rln-message-ids=0-99"), member("b", "--rln-message-ids=100-199")];

    let third = run(&["node", "--rln-relay", &group, &keystore, PASSWORD, "--data-dir", &at("c")]);
    assert!(third.code == Some(1) && third.stderr.contains("--rln-message-ids"), "{third:?}");
    let beyond =
        ["node", "--rln-relay", &group, &keystore, PASSWORD, "--rln-message-ids=150-200", "--data-dir", &at("d")];
    let beyond = run(&beyond);
    assert!(beyond.stderr.contains("--rln-message-ids 150-200") && beyond.stderr.contains("has 200"), "{beyond:?}");

    let mesh = "libp2p_gossipsub_peers_per_topic_mesh{topic=\"/waku/2/rs/0/0\"} 1.0\n";
    until("a mesh", || members.iter().all(|node| node.get("/metrics").1.contains(mesh)));
    // One of each in turn, so that both have the same place in the same epoch.
    for payloads in [["YTE=", "YjE="], ["YTI=", "YjI="], ["YTM=", "YjM="]] {
        for (payload, node) in payloads.into_iter().zip(&members) {
            let said = json!({"payload": payload, "contentTopic": "/a/1/b/proto"}).to_string();
            until("a message", || node.ask("POST", MESSAGES, &said).0 == 200);
        }
    }
    let heard = "waku_rln_valid_messages_total_total{shard=\"/waku/2/rs/0/0\"} 6\n";
    until("all six", || verifier.get("/metrics").1.contains(heard));
    let metrics = verifier.get("/metrics").1;
    assert!(metrics.contains("waku_rln_spam_messages_total_total 0\n"), "{metrics}");
}

#[test]
fn a_bridge_to_a_network_with_proofs_wants_a_membership() {
    let refused = run(&["bridge", "--preset=twn"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--rln-relay-cred-path") && refused.stderr.contains("v2-to-v1"), "{refused:?}");
}

/// Both ways through a bridge that is no member: a node that is one publishes for it, as far as its rate goes.
#[test]
fn a_bridge_without_a_membership_hands_over_to_who_has_one() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let created = run(&["rln", "keystore", "create", &at("keystore.json"), "--limit=200", PASSWORD]);
    assert!(created.success, "{created:?}");
    fs::write(at("group"), &created.stdout).unwrap();
    let group = format!("--rln-group={}", at("group"));
    let proofs = ["--rln-relay", &*group, "--free-bandwidth=0"];
    let verifier = Bridge::node_in(&directory.path().join("verifier"), &proofs, &[]);
    let (keystore, peer) =
        (format!("--rln-relay-cred-path={}", at("keystore.json")), format!("--staticnode={}", verifier.libp2p));
    let own = [&*keystore, PASSWORD, "--lightpush", &*peer];
    let member = Bridge::node_in(&directory.path().join("member"), &[&proofs[..], &own].concat(), &[]);

    let nobody = run(&["bridge", "--rln-relay", &group, "--bridge-lightpush", "--data-dir", &at("none")]);
    assert!(nobody.code == Some(2) && nobody.stderr.contains("--lightpushnode"), "{nobody:?}");
    let (node, peer) = (format!("--lightpushnode={}", member.libp2p), format!("--staticnode-v2={}", member.libp2p));
    let own = ["--bridge-lightpush", &*node, &*peer, "--stagger=0s"];
    let bridge = Bridge::start_in(&directory.path().join("bridge"), &[&proofs[..], &own].concat());
    let mesh = "libp2p_gossipsub_peers_per_topic_mesh{topic=\"/waku/2/rs/0/0\"} 2.0\n";
    until("a mesh", || member.get("/metrics").1.contains(mesh));

    assert!(run(&["post", &bridge.enode, "--topic=0x01020304", "--text=from v0", "--ttl=60"]).success);
    until("the envelope's message, proven", || verifier.get(MESSAGES).1.contains("ZnJvbSB2M"));
    let crossed = |way: &str, count: u8| format!("waku_bridge_transfers_total{{type=\"{way}\"}} {count}\n");
    until("the count", || bridge.get("/metrics").1.contains(&crossed("v1_to_v2", 1)));
    assert!(bridge.get("/metrics").1.contains("waku_rln_spam_messages_total_total 0\n"));

    // The bridge still has the first.
    let listener = Output::of(&["listen", &bridge.enode, "--count=2", "--timeout=60"]);
    listener.wait_for_error_line("listening for");
    let said = json!({"payload": "ZnJvbSB2Mg==", "contentTopic": "/waku/1/0x01020304/rfc26", "version": 1}).to_string();
    until("a message of the member's", || member.ask("POST", MESSAGES, &said).0 == 200);
    let heard = listener.end();
    assert!(heard.success && heard.stdout.contains("from v2"), "{heard:?}");
    until("the count of the other way", || bridge.get("/metrics").1.contains(&crossed("v2_to_v1", 1)));
    assert!(bridge.get("/metrics").1.contains(&crossed("v1_to_v2", 1)), "nothing comes back");
}

#[test]
fn other_shares_of_the_rate_hold_once_the_routes_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let created = run(&["rln", "keystore", "create", &at("keystore.json"), "--limit=600", PASSWORD]);
    assert!(created.success, "{created:?}");
    fs::write(at("group"), &created.stdout).unwrap();
    let routes = |percent: u8| {
        let rln = format!("[rln.pool]\npercent = {percent}\n");
        let route = "[[route]]\nname = \"only\"\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/0/0\"\nrln = \"pool\"\n";
        fs::write(at("routes.toml"), rln + route).unwrap();
    };
    routes(60);
    let flags = [
        "--rln-relay".to_owned(),
        format!("--rln-group={}", at("group")),
        format!("--rln-relay-cred-path={}", at("keystore.json")),
        PASSWORD.to_owned(),
        format!("--route-file={}", at("routes.toml")),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let bridge = Bridge::start_in(&directory.path().join("data"), &flags);
    routes(25);
    bridge.hang_up();
    let said = bridge.wait_for_log("shares of our rate");
    assert!(said.contains("pool=25") && said.contains("rest=75") && said.contains("in this epoch too"), "{said}");
    bridge.wait_for_log("SIGHUP: routes read again");
    routes(40);
    assert_eq!(bridge.post("/bridge/v1/routes/reload", "").0, 200);
    let said = bridge.wait_for_log("shares of our rate");
    assert!(said.contains("pool=40"), "{said}");
    fs::write(at("routes.toml"), "[rln.pool]\npercent = 101\n").unwrap();
    bridge.hang_up();
    bridge.wait_for_log("the routes stay as they were");
}
