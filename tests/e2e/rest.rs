//! REST of real nodes, as scripts written for nwaku use it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Bridge;

/// How long what is sure to come may take: a test that waits so long has failed.
const SURE: Duration = Duration::from_secs(60);
/// How often a state that nobody tells of is looked at again.
const AGAIN: Duration = Duration::from_millis(100);

pub(crate) fn node(flags: &[&str]) -> (tempfile::TempDir, Bridge) {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::node_in(data.path(), flags, &[]);
    (data, node)
}

/// Asks again until the answer is as it should be.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut left = SURE.as_millis() / AGAIN.as_millis();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(left > 0, "waited in vain for {what}");
        left -= 1;
        std::thread::park_timeout(AGAIN);
    }
}

pub(crate) fn json_of(node: &Bridge, path: &str) -> Value {
    let (status, body) = node.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

pub(crate) fn payloads(node: &Bridge, path: &str) -> Vec<String> {
    let messages = json_of(node, path);
    let of = |message: &Value| message["payload"].as_str().expect("a payload").to_owned();
    messages.as_array().expect("a list").iter().map(of).collect()
}

#[test]
fn two_nodes_are_joined_and_heard_by_rest_alone() {
    let (_a, first) = node(&["--rest-admin=true", "--version-string=v0.37.0", "--num-shards-in-network=8"]);
    let (_b, second) = node(&["--num-shards-in-network=8"]);
    assert_eq!(json_of(&first, "/health")["nodeHealth"], "READY");
    assert_eq!((first.get("/version"), second.get("/debug/v1/version").0), ((200, "v0.37.0".into()), 200));
    let info = json_of(&second, "/debug/v1/info");
    let id =
        info["listenAddresses"][0].as_str().and_then(|addr| addr.rsplit('/').next()).expect("a peer id").to_owned();
    assert!(
        second.libp2p.ends_with(&id) && info["enrUri"].as_str().is_some_and(|enr| enr.starts_with("enr:")),
        "{info}"
    );

    let call = json!([second.libp2p]).to_string();
    assert_eq!(first.ask("POST", "/admin/v1/peers", &call), (200, "OK".into()));
    assert_eq!(second.ask("POST", "/admin/v1/peers", "[]").0, 404, "not asked for there");
    let meshed = until("a mesh", || {
        let shards = json_of(&first, "/admin/v1/peers/mesh");
        let all =
            shards.as_array()?.iter().all(|shard| shard["peers"].as_array().is_some_and(|peers| peers.len() == 1));
        all.then_some(shards)
    });
    assert_eq!(meshed.as_array().map(Vec::len), Some(8), "{meshed}");
    let peer = json_of(&first, &format!("/admin/v1/peer/{id}"));
    assert_eq!((&peer["connected"], &peer["origin"]), (&json!("Connected"), &json!("UnknownOrigin")), "{peer}");
    assert_eq!(json_of(&first, "/admin/v1/peers/stats")["Sum"]["Total peers"], 1);

    // Shard 3 of 8; what is published is heard there and polled here too.
    let message = json!({"payload": "aGVsbG8", "contentTopic": "/toychat/2/huilong/proto"}).to_string();
    assert_eq!(first.ask("POST", "/relay/v1/auto/messages", &message), (200, "OK".into()));
    let path = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F0%2F3";
    let heard = until("the message", || Some(payloads(&second, path)).filter(|heard| !heard.is_empty()));
    assert_eq!((heard, payloads(&second, path)), (vec!["aGVsbG8=".to_owned()], vec![]));
    assert_eq!(payloads(&first, "/relay/v1/auto/messages/%2Ftoychat%2F2%2Fhuilong%2Fproto"), ["aGVsbG8="]);

    // Left, it is heard no more; nor is it published.
    let topics = json!(["/waku/2/rs/0/3"]).to_string();
    assert_eq!(second.ask("DELETE", "/relay/v1/subscriptions", &topics), (200, "OK".into()));
    assert_eq!((second.get(path).0, second.ask("POST", path, &message).0), (404, 400));
    assert_eq!(second.ask("POST", "/relay/v1/subscriptions", &topics), (200, "OK".into()));
    assert_eq!((payloads(&second, path), second.ask("POST", path, &message).0), (vec![], 200));
}

#[test]
fn without_a_service_peer_each_route_says_whether_any_is_looked_for() {
    let push = json!({"pubsubTopic": "/waku/2/rs/0/0", "message": {"payload": "aGk=", "contentTopic": "/a/1/b/c"}})
        .to_string();
    let filter = json!({"requestId": "7", "contentFilters": ["/a/1/b/c"], "pubsubTopic": "/waku/2/rs/0/0"}).to_string();
    for (flags, words) in [
        (&[][..], "No suitable service peer & no discovery method"),
        (&["--discv5-discovery", "--discv5-udp-port=0"], "No suitable service peer & none discovered"),
    ] {
        let (_data, lone) = node(flags);
        for path in ["/store/v3/messages", "/store/v1/messages"] {
            assert_eq!(lone.get(path), (412, words.to_owned()), "{path}");
        }
        for (method, path, body) in [
            ("GET", "/filter/v2/subscriptions/7", ""),
            ("POST", "/filter/v2/subscriptions", &filter),
            ("DELETE", "/filter/v2/subscriptions", &filter),
            ("DELETE", "/filter/v2/subscriptions/all", "{\"requestId\":\"7\"}"),
        ] {
            let (status, told) = lone.ask(method, path, body);
            let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
            assert_eq!((status, told), (503, json!({"requestId": "7", "statusDesc": words})), "{method} {path}");
        }
        assert_eq!(lone.ask("POST", "/lightpush/v1/message", &push), (503, words.to_owned()));
        let (status, told) = lone.ask("POST", "/lightpush/v3/message", &push);
        assert_eq!((status, told), (503, json!({"statusDesc": words}).to_string()));
    }
}

#[test]
fn a_node_that_serves_lightpush_serves_itself() {
    let push = json!({"pubsubTopic": "/waku/2/rs/0/0", "message": {"payload": "aGk=", "contentTopic": "/a/1/b/c"}})
        .to_string();
    let (_data, lone) = node(&["--lightpush"]);
    let unheard = "not_published_to_any_peer";
    let refused = (503, format!("Failed to request a message push: {unheard}"));
    assert_eq!(lone.ask("POST", "/lightpush/v1/message", &push), refused);
    let refused = (505, json!({"statusDesc": unheard}).to_string());
    assert_eq!(lone.ask("POST", "/lightpush/v3/message", &push), refused);
    let (_other, _peer) = node(&["--staticnode", &lone.libp2p]);
    until("a peer", || (lone.ask("POST", "/lightpush/v1/message", &push) == (200, "OK".into())).then_some(()));
    let (status, told) = lone.ask("POST", "/lightpush/v3/message", &push);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!((status, told), (200, json!({"relayPeerCount": 1})));
}

#[test]
fn the_level_of_the_log_is_changed_while_it_runs() {
    let (_data, node) = node(&["--rest-admin"]);
    assert_eq!(node.ask("POST", "/admin/v1/log-level/debug", ""), (200, "OK".into()));
    // What is said at that level alone.
    let call = json!(["/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmVFXtAfSj4EiR7mL2KvL4EE2wztuQgUSBoj2Jx2KeXFLN"]).to_string();
    assert_eq!(node.ask("POST", "/admin/v1/peers", &call).0, 400);
    assert!(node.wait_for_log("DEBUG").contains("DEBUG"));
    assert_eq!(node.ask("POST", "/admin/v1/log-level/LOUD", "").0, 400);
}

#[test]
fn a_bridge_keeps_what_it_bridges_and_its_document_has_its_routes() {
    let bridge = Bridge::start(&[]);
    let topics = json!(["/waku/2/rs/0/0"]).to_string();
    assert_eq!(bridge.ask("DELETE", "/relay/v1/subscriptions", &topics), (200, "OK".into()));
    let series = "libp2p_gossipsub_peers_per_topic_mesh{topic=\"/waku/2/rs/0/0\"}";
    assert!(bridge.get("/metrics").1.contains(series), "it is relayed still");
    assert_eq!(bridge.get("/relay/v1/messages/%2Fwaku%2F2%2Frs%2F0%2F0").0, 404, "but polled no more");
    let document = json_of(&bridge, "/openapi.json");
    for path in ["/bridge/v1/routes", "/legacy/v1/accounting", "/relay/v1/subscriptions", "/metrics", "/openapi.json"] {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
    assert_eq!(bridge.get("/store/v3/messages").0, 412, "nothing is kept here, and nobody is asked");
}

#[test]
fn h84_a_page_of_somebody_else_publishes_nothing() {
    let (_data, node) = node(&["--rest-admin"]);
    let sent = "Content-Type: text/plain\r\nOrigin: http://evil.example\r\n";
    for path in ["/relay/v1/auto/messages", "/relay/v1/subscriptions", "/admin/v1/peers", "/admin/v1/log-level/FATAL"] {
        assert_eq!(node.post(path, sent), (403, "Origin not allowed".into()), "{path}");
    }
    assert_eq!(node.post("/relay/v1/auto/messages", "Content-Type: text/plain\r\n").0, 400, "a program is let through");
    // A page of a name that was led here while it was open reads nothing either.
    for path in ["/admin/v1/peers", "/store/v3/messages", "/metrics", "/relay/v1/messages/x"] {
        let (status, body) = node.get_under("evil.example:8645", path);
        assert_eq!((status, body.as_str()), (403, "Host not allowed"), "{path}");
    }
    assert_eq!(node.get_under("LocalHost:1", "/admin/v1/peers").0, 200, "names are compared without case");
}

#[test]
fn a_node_of_waku_0_alone_has_no_relay_to_offer() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &["--rest-admin"]);
    assert_eq!(json_of(&node, "/health")["protocolsHealth"][0]["Relay"], "NOT_MOUNTED");
    assert_eq!(json_of(&node, "/info")["listenAddresses"], json!([]));
    let (status, body) = node.get("/relay/v1/messages/x");
    assert_eq!((status, body.contains("--relay")), (404, true), "{body}");
    assert_eq!((node.get("/admin/v1/peers").1.as_str(), node.get("/admin/v1/peers/relay").0), ("[]", 503));
}
