//! A table of routes: explained, worked by, and read again while peers are connected; and what was on its way when the bridge was
//! killed.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::process::{Bridge, Output, run};

/// How long what is sure to come may take: a test that waits so long has failed.
const HEARD: Duration = Duration::from_secs(60);

/// A table with one route of one topic.
fn one_topic(path: &Path, topic: &str) {
    let table = format!("[[route]]\nname = \"only\"\nv1_topics = [\"{topic}\"]\npubsub = \"/waku/2/rs/0/0\"\n");
    fs::write(path, table).expect("a file is written");
}

fn listen_at(address: &str) -> Output {
    let listener = Output::of(&["listen", address, "--timeout=120"]);
    listener.wait_for_error_line("listening for");
    listener
}

fn post(to: &str, topic: &str, text: &str) {
    let posted = run(&["post", to, &format!("--topic={topic}"), &format!("--text={text}"), "--ttl=60"]);
    assert!(posted.success, "{posted:?}");
}

fn hears(listener: &Output, text: &str) {
    let line = listener.line_within(HEARD).unwrap_or_else(|| panic!("{text:?} was not heard"));
    assert!(line.contains(text), "{line}");
}

fn json(answer: (u16, String)) -> Value {
    assert_eq!(answer.0, 200, "{}", answer.1);
    serde_json::from_str(&answer.1).expect("JSON")
}

/// What is dropped, once something is.
fn drops(bridge: &Bridge, query: &str) -> Vec<Value> {
    loop {
        let answer = json(bridge.get(&format!("/bridge/v1/drops?{query}")));
        let drops = answer["drops"].as_array().expect("a list").clone();
        if !drops.is_empty() {
            return drops;
        }
    }
}

/// Who is connected on either side, once somebody is on both.
fn peers(bridge: &Bridge) -> [Value; 2] {
    loop {
        let answer = json(bridge.get("/bridge/v1/peers"));
        let both = ["v1", "v2"].map(|side| answer[side].as_array().expect("a list").clone());
        // The Waku Network side knows a peer's name a moment after the peer.
        if both.iter().all(|peers| peers.iter().any(|peer| !peer["client"].is_null() && !peer["score"].is_null())) {
            return both.map(Value::from);
        }
    }
}

#[test]
fn who_is_connected_is_told_and_who_left_is_counted() {
    let bridge = Bridge::start(&[]);
    let empty = json(bridge.get("/bridge/v1/peers"));
    assert_eq!(empty, serde_json::json!({ "v1": [], "v2": [] }));
    let (v1, v2) = (listen_at(&bridge.enode), listen_at(&bridge.libp2p));
    for told in peers(&bridge) {
        assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
        let peer = &told[0];
        assert!(peer["client"].as_str().is_some_and(|client| client.starts_with("causeway/")), "{peer}");
        assert_eq!((&peer["direction"], &peer["bridge"]), (&"in".into(), &true.into()), "{peer}");
        assert_eq!(peer["useful_in"], serde_json::json!({ "count": 0, "bytes": 0 }), "{peer}");
        assert!(peer["since"].as_u64() > Some(1_700_000_000), "{peer}");
    }
    drop((v1, v2));
    loop {
        let (_, metrics) = bridge.get("/metrics");
        let ended = |line: &str| line.starts_with("v1_disconnects_total{") && line.ends_with(" 1");
        if metrics.lines().any(ended) {
            break;
        }
    }
}

#[test]
fn a_table_is_read_again_without_losing_a_peer() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("routes.toml");
    one_topic(&path, "0x01020304");
    let flag = format!("--route-file={}", path.display());
    let bridge = Bridge::start(&[&flag, "--waku-v1-topic-interest=false"]);
    let listener = listen_at(&bridge.libp2p);
    post(&bridge.enode, "0x01020304", "by the first table");
    hears(&listener, "by the first table");
    post(&bridge.enode, "0x0a0b0c0d", "for nobody yet");
    let dropped = drops(&bridge, "reason=no_route&direction=v1_to_v2");
    assert_eq!((dropped.len(), &dropped[0]["topic"]), (1, &"0x0a0b0c0d".into()), "{dropped:?}");

    // SIGHUP, and the listener is still there.
    one_topic(&path, "0x0a0b0c0d");
    bridge.hang_up();
    bridge.wait_for_log("routes read again");
    post(&bridge.enode, "0x0a0b0c0d", "by the second table");
    hears(&listener, "by the second table");

    // A file that makes no table changes nothing.
    fs::write(&path, "[[route]]\nname = \"broken\"\n").expect("a file is written");
    let (status, said) = bridge.post("/bridge/v1/routes/reload", "");
    assert!(status == 422 && said.contains("pubsub"), "{status} {said}");
    bridge.hang_up();
    bridge.wait_for_log("the routes stay as they were");
    post(&bridge.enode, "0x0a0b0c0d", "by the second table still");
    hears(&listener, "by the second table still");

    // Over HTTP, and not from a web page.
    one_topic(&path, "0x01020304");
    assert_eq!(bridge.post("/bridge/v1/routes/reload", "Origin: http://example.org\r\n").0, 403);
    let routes = json(bridge.post("/bridge/v1/routes/reload", ""));
    assert_eq!((&routes[0]["name"], &routes[0]["v1_topics"][0]), (&"only".into(), &"0x01020304".into()), "{routes}");
    assert_eq!(routes[0]["counts"]["v1_to_v2"]["crossed"], 3, "counted over all tables: {routes}");
    assert_eq!(routes, json(bridge.get("/bridge/v1/routes")));
    post(&bridge.enode, "0x01020304", "by the third table");
    hears(&listener, "by the third table");
}

#[test]
fn without_a_file_there_is_nothing_to_read_again() {
    let bridge = Bridge::start(&[]);
    let (status, said) = bridge.post("/bridge/v1/routes/reload", "");
    assert!(status == 409 && said.contains("--route-file"), "{status} {said}");
    bridge.hang_up();
    bridge.wait_for_log("without --route-file");
    assert_eq!(json(bridge.get("/bridge/v1/routes"))[0]["v1_topics"][0], "*");
    for query in ["reason=bad+luck", "direction=east", "limit=0", "colour=red"] {
        assert_eq!(bridge.get(&format!("/bridge/v1/drops?{query}")).0, 400, "{query}");
    }
}

#[test]
fn the_sample_is_explained_and_what_is_never_reached_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("routes.toml");
    let sample = run(&["bridge", "--print-routes"]);
    assert!(sample.success, "{sample:?}");
    fs::write(&path, &sample.stdout).expect("a file is written");
    let file = path.display().to_string();
    let told = run(&["bridge", "check", &file, "--preset=status"]);
    assert!(told.success, "{told:?}");
    for words in ["1  personal", "2 topics <-> /waku/2/rs/16/64", "asked of waku/0 peers: everything"] {
        assert!(told.stdout.contains(words), "{words}: {told:?}");
    }
    let elsewhere = run(&["bridge", "check", &file]);
    assert_eq!(elsewhere.code, Some(2), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("another cluster"), "{elsewhere:?}");
    let dead = "[[route]]\nname = \"all\"\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/0/0\"\n\
                [[route]]\nname = \"dead\"\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/0/0\"\n";
    fs::write(&path, dead).expect("a file is written");
    let told = run(&["bridge", "check", &file]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("no envelope ever comes to route \"dead\""), "{told:?}");
    assert!(told.stderr.contains("one route is never taken"), "{told:?}");
}

/// Killed while an envelope waits for a peer on the other side: in its next life the bridge goes on with it.
#[test]
fn what_was_on_its_way_survives_a_kill() {
    let data = tempfile::tempdir().expect("a directory");
    let first = Bridge::start_in(data.path(), &["--v1-late-policy=publish"]);
    post(&first.enode, "0x01020304", "through a crash");
    let waits = || {
        let (_, metrics) = first.get("/metrics");
        let at = |stage: &str| format!("bridge_queue_depth{{direction=\"v1_to_v2\",stage=\"{stage}\"}} 1.0");
        metrics.lines().any(|line| [at("retry"), at("parked"), at("in_flight"), at("ready")].iter().any(|l| l == line))
    };
    while !waits() {}
    first.kill();
    let second = Bridge::start_in(data.path(), &["--v1-late-policy=publish"]);
    let listener = listen_at(&second.libp2p);
    hears(&listener, "through a crash");
    assert_eq!(listener.line_within(Duration::from_millis(500)), None, "once");
}
