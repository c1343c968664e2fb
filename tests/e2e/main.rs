//! The program as a person meets it: real processes, real sockets on loopback, no other software.

mod accounting;
mod archive;
mod backfill;
mod clients;
mod discovery;
mod faults;
mod faults_abuse;
mod faults_kill;
mod json_rpc;
#[cfg(feature = "rln")]
mod keystores;
mod legacy;
#[expect(dead_code, reason = "meshes use more of it")]
#[path = "../../waku2/tests/mesh/meshes/link.rs"]
mod link;
#[path = "../support/load.rs"]
mod load;
mod mail_faults;
mod mailserver;
mod metrics;
#[path = "../support/name_server.rs"]
mod name_server;
mod node;
mod process;
mod records;
#[cfg(feature = "rln")]
#[path = "../support/registry.rs"]
mod registry;
mod rest;
mod rest_services;
#[cfg(feature = "rln")]
mod rln;
mod routes;
mod store;
mod sync;
mod trace;

use std::time::Duration;

use causeway::{cli::DemoArgs, demo};
use process::{Bridge, Output, run};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_crosses_both_ways_exactly_once() {
    demo::run(DemoArgs { messages: 20, timeout: 30 }).await.expect("all crossed once");
}

#[test]
fn a_bridge_starts_without_configuration_and_says_what_to_try() {
    let bridge = Bridge::start(&[]);
    assert!(bridge.banner.len() <= 10, "{:#?}", bridge.banner);
    assert!(bridge.enode.starts_with("enode://") && bridge.enode.contains("@127.0.0.1:"), "{}", bridge.enode);
    assert!(bridge.libp2p.contains("/ip4/127.0.0.1/tcp/") && bridge.libp2p.contains("/p2p/"), "{}", bridge.libp2p);
    let tried: Vec<_> = bridge.banner.iter().filter(|l| l.trim_start().starts_with("causeway ")).collect();
    assert_eq!(tried.len(), 2, "{:#?}", bridge.banner);
}

#[test]
fn the_two_commands_of_the_banner_show_a_message_cross() {
    for (from, to) in [("post", "listen"), ("listen", "post")] {
        let bridge = Bridge::start(&[]);
        let (listen_at, post_to) = match (from, to) {
            ("post", _) => (&bridge.libp2p, &bridge.enode),
            _ => (&bridge.enode, &bridge.libp2p),
        };
        let listener = Output::of(&["listen", listen_at, "--count=1", "--timeout=30"]);
        listener.wait_for_error_line("listening for");
        let posted = run(&["post", post_to, "--topic=0x01020304", "--text=hello from the other side"]);
        assert!(posted.success, "{posted:?}");
        let heard = listener.end();
        assert!(heard.success && heard.stdout.contains("hello from the other side"), "{heard:?}");
        assert!(heard.stdout.contains("0x01020304"), "{heard:?}");
    }
}

#[test]
fn health_readiness_and_metrics_answer() {
    let bridge = Bridge::start(&[]);
    assert_eq!(bridge.get("/livez"), (200, "OK".into()));
    let (status, body) = bridge.get("/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("\"part\":\"v1_peers\"") && body.contains("\"part\":\"v2_peers\""), "{body}");
    assert_eq!(bridge.get("/health").0, 200);
    let (status, metrics) = bridge.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "waku_bridge_transfers_total{type=\"v1_to_v2\"} 0",
        "waku_bridge_dropped_total{type=\"duplicate\"} 0",
        "bridge_messages_total{direction=\"v2_to_v1\",route=\"default\",result=\"dropped\",reason=\"bad_topic\"} 0",
        "v1_peers{protocol=\"waku/0\",dir=\"in\"} 0.0",
        "v1_disconnects_total{reason=\"too_many_peers\"} 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is missing in:\n{metrics}");
    }
}

#[test]
fn the_identity_survives_a_restart_and_sigterm_ends_with_success() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let first = Bridge::start_in(data.path(), &[]);
    let key = |enode: &str| enode.split('@').next().map(str::to_owned);
    let (enode, libp2p) = (key(&first.enode), first.libp2p.rsplit('/').next().map(str::to_owned));
    assert_eq!(first.terminate(Duration::from_secs(10)), Some(0));
    let second = Bridge::start_in(data.path(), &[]);
    assert_eq!(key(&second.enode), enode);
    assert_eq!(second.libp2p.rsplit('/').next().map(str::to_owned), libp2p);
}

#[test]
fn wrong_calls_end_with_2_and_say_what_to_change() {
    for (args, word) in [
        (&["bridge", "--staticnode-v3=x"][..], "--staticnode-v"),
        (&["bridge", "--staticnode-v1=enode://12@127.0.0.1:1"], "--staticnode-v1"),
        (&["bridge", "--bridge-direction=up"], "v1-to-v2"),
        (&["bridge", "--v1-late-policy=archive"], "choose drop, publish or retime"),
        (&["listen", "nowhere"], "enode://"),
        (&["demo", "--messages=0"], "--messages"),
    ] {
        let said = run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.stderr.contains(word), "{args:?}: {said:?}");
    }
}

#[test]
fn what_is_taken_already_is_named_with_its_flag() {
    let bridge = Bridge::start(&[]);
    let other = tempfile::tempdir().expect("a temporary directory");
    let other = format!("--data-dir={}", other.path().display());
    let same = format!("--data-dir={}", bridge.data_dir.path().display());
    let base = ["bridge", "--listen-address=127.0.0.1"];
    let (devp2p, libp2p) = (bridge.devp2p_port().to_owned(), bridge.libp2p_port().to_owned());
    let (web, http) = (bridge.websocket_port(), bridge.http_port().to_owned());
    for (data, devp2p, libp2p, web, http, words) in [
        (&same, "0", "0", "0", "0", &["--data-dir"][..]),
        (&other, &*devp2p, "0", "0", "0", &["--devp2p-tcp-port"]),
        (&other, "0", &*libp2p, "0", "0", &["--tcp-port"]),
        (&other, "0", "0", &*web, "0", &["--websocket-port", "--websocket-support", "/ws"]),
        (&other, "0", "0", "0", &*http, &["--rest-port"]),
    ] {
        let ports = [("devp2p-tcp", devp2p), ("tcp", libp2p), ("websocket", web), ("rest", http)]
            .map(|(name, port)| format!("--{name}-port={port}"));
        let args: Vec<&str> = base.into_iter().chain([&**data]).chain(ports.iter().map(String::as_str)).collect();
        let said = run(&args);
        assert_eq!(said.code, Some(1), "{args:?}: {said:?}");
        assert!(words.iter().all(|word| said.stderr.contains(word)), "{args:?}: {said:?}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named_with_their_flags() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let file = data.path().join("empty.pem");
    std::fs::write(&file, "").expect("a file");
    let ports = ["devp2p-tcp", "tcp", "websocket", "rest"].map(|name| format!("--{name}-port=0"));
    for (path, word) in
        [("/nowhere/cert.pem", "can't read /nowhere/cert.pem"), (&*file.display().to_string(), "no certificate")]
    {
        let files = ["cert", "key"].map(|file| format!("--websocket-secure-{file}-path={path}"));
        let data = format!("--data-dir={}", data.path().join("data").display());
        let fixed = ["bridge", "--listen-address=127.0.0.1", "--websocket-secure-support", &*data];
        let args: Vec<&str> = fixed.into_iter().chain(ports.iter().chain(&files).map(String::as_str)).collect();
        let said = run(&args);
        assert_eq!(said.code, Some(1), "{args:?}: {said:?}");
        assert!([word, "--websocket-secure-cert-path"].iter().all(|word| said.stderr.contains(word)), "{said:?}");
    }
}

#[test]
fn flags_come_from_the_environment_too_and_the_command_line_wins() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let environment = [
        ("CAUSEWAY_BRIDGE_PUBSUB_TOPIC", "/waku/2/rs/5/1"),
        ("WAKUNODE2_CLUSTER_ID", "5"),
        ("WAKUNODE2_TCP_PORT", "nonsense, and overruled by the flag"),
    ];
    let bridge = Bridge::start_with(data.path(), &[], &environment);
    let route = bridge.banner.iter().find(|l| l.starts_with("route")).expect("a route in the banner");
    assert!(route.ends_with("* <-> /waku/2/rs/5/1"), "{route}");
    let listen = bridge.banner.iter().find(|l| l.contains("causeway listen")).expect("what to try");
    assert!(listen.ends_with("--cluster-id 5 --pubsub-topic /waku/2/rs/5/1"), "{listen}");
}

#[test]
fn logs_are_objects_for_programs_when_asked() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let bridge = Bridge::start_in(data.path(), &["--log-format=JSON", "--log-level=INFO"]);
    let line: serde_json::Value = serde_json::from_str(&bridge.ready).expect("one object a line");
    assert_eq!(line["fields"]["message"], "Node setup complete");
    assert_eq!(line["fields"]["enode"], bridge.enode.as_str());
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let bridge = Bridge::start(&[]);
    let listener = Output::of(&["listen", &bridge.libp2p, "--timeout=30"]);
    listener.wait_for_error_line("listening for");
    let listener = listener.stop_reading();
    for text in ["one", "two"] {
        assert!(run(&["post", &bridge.enode, &format!("--text={text}")]).success);
    }
    let ended = listener.end();
    assert!(ended.success, "{ended:?}");
}
