//! The services behind REST, between real nodes: history of one's own and of others, filter, and what is told of the node itself.

use serde_json::{Value, json};

use crate::{
    process::Bridge,
    rest::{json_of, node, payloads, until},
};

/// On shard 3 of 8.
const CONTENT_TOPIC: &str = "/toychat/2/huilong/proto";
const SHARDS: &str = "--num-shards-in-network=8";
/// Nanoseconds between the messages of a history.
const STEP: i64 = 1_000_000;
/// How many there are.
const MESSAGES: i64 = 5;

/// A node that serves its history, one that has seen its messages too and asks others, and when the first of them was sent.
fn with_history(flags: &[&str]) -> ([(tempfile::TempDir, Bridge); 2], i64) {
    let keeps = node(&[&["--store", SHARDS], flags].concat());
    let asks = node(&["--staticnode", &keeps.1.libp2p, "--storenode", &keeps.1.libp2p, SHARDS]);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let first = i64::try_from(since_1970.as_nanos()).expect("a time of this age");
    for n in 0..MESSAGES {
        let sent = json!({"payload": "aGk=", "contentTopic": CONTENT_TOPIC, "timestamp": first + n * STEP}).to_string();
        let publish = || keeps.1.ask("POST", "/relay/v1/auto/messages", &sent) == (200, "OK".into());
        until("a peer to publish to", || publish().then_some(()));
    }
    until("a history", || {
        let page = json_of(&keeps.1, "/store/v3/messages");
        (page["messages"].as_array()?.len() as i64 == MESSAGES).then_some(())
    });
    ([keeps, asks], first)
}

/// Which of the messages a page has, in its order.
fn numbers(page: &Value, first: i64) -> Vec<i64> {
    let messages = page["messages"].as_array().expect("a list");
    messages.iter().map(|one| (one["message"]["timestamp"].as_i64().expect("a time") - first) / STEP).collect()
}

#[test]
fn own_history_is_paged_from_either_end() {
    let ([(_kept, keeps), _asks], first) = with_history(&[]);
    let page_of = |more: &str| json_of(&keeps, &format!("/store/v3/messages?includeData=true&pageSize=2{more}"));
    let (mut more, mut pages) = (String::new(), Vec::new());
    loop {
        let page = page_of(&more);
        assert_eq!(
            (&page["requestId"], &page["statusCode"], &page["statusDesc"]),
            (&json!(""), &json!(200), &json!("OK"))
        );
        pages.push(numbers(&page, first));
        let Some(cursor) = page.get("paginationCursor") else { break };
        more = format!("&cursor={}", cursor.as_str().expect("a hash"));
    }
    assert_eq!(pages, [vec![0, 1], vec![2, 3], vec![4]]);
    assert_eq!(numbers(&page_of("&ascending=false"), first), [3, 4], "the newest, the oldest of them first");
    let unknown = keeps.get(&format!("/store/v3/messages?cursor={}", "ab".repeat(32)));
    assert!(unknown.0 == 500 && unknown.1.contains("cursor not found"), "{unknown:?}");
    assert_eq!(keeps.get("/store/v1/messages").0, 412, "nothing is served over the earlier version");
}

#[test]
fn the_history_of_others_is_asked_for() {
    let ([_keeps, (_data, asks)], first) = with_history(&[]);
    let page = json_of(&asks, "/store/v3/messages?includeData=true&pageSize=3");
    assert!(page["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{page}");
    assert_eq!(numbers(&page, first), [0, 1, 2]);
    let nobody = "%2Fip4%2F127.0.0.1%2Ftcp%2F1%2Fp2p%2F16Uiu2HAmVFXtAfSj4EiR7mL2KvL4EE2wztuQgUSBoj2Jx2KeXFLN";
    let (status, words) = asks.get(&format!("/store/v3/messages?peerAddr={nobody}"));
    assert!(status == 500 && words.starts_with("PEER_DIAL_FAILURE: "), "{status}: {words}");
    let (status, words) = asks.get("/store/v3/messages?peerAddr=nowhere");
    assert!(status == 400 && words.starts_with("Failed parsing remote peer info"), "{status}: {words}");
}

#[test]
fn a_service_that_is_asked_too_often_says_so() {
    let ([_keeps, (_data, asks)], _) = with_history(&["--rate-limit=store:1/1h"]);
    assert_eq!(asks.get("/store/v3/messages").0, 200);
    assert_eq!(asks.get("/store/v3/messages"), (429, "Request rate limit reached".into()));
}

#[test]
fn what_a_filter_pushes_is_polled() {
    let (_a, serves) = node(&["--filter", "--rest-admin", SHARDS]);
    let (_b, asks) = node(&["--filternode", &serves.libp2p, "--staticnode", &serves.libp2p, SHARDS]);
    let told = |words: &str| json!({"requestId": "7", "statusDesc": words});
    let ask = |method: &str, path: &str, body: &str| {
        let (status, answer) = asks.ask(method, path, body);
        (status, serde_json::from_str::<Value>(&answer).unwrap_or_else(|error| panic!("{error}: {answer}")))
    };
    // The shard follows from the content topic.
    let wanted = json!({"requestId": "7", "contentFilters": [CONTENT_TOPIC]}).to_string();
    assert_eq!(ask("POST", "/filter/v2/subscriptions", &wanted), (200, told("OK")));
    assert_eq!(ask("GET", "/filter/v2/subscriptions/7", ""), (200, told("OK")));
    let id = asks.libp2p.rsplit('/').next().expect("a peer id");
    let criteria = json!([{"pubsubTopic": "/waku/2/rs/0/3", "contentTopic": CONTENT_TOPIC}]);
    let subscribed = json!([{"peerId": id, "filterCriteria": criteria}]);
    assert_eq!(json_of(&serves, "/admin/v1/filter/subscriptions"), subscribed);
    let sent = json!({"payload": "aGk=", "contentTopic": CONTENT_TOPIC}).to_string();
    until("a peer to publish to", || {
        (serves.ask("POST", "/relay/v1/auto/messages", &sent) == (200, "OK".into())).then_some(())
    });
    let path = "/filter/v2/messages/%2Ftoychat%2F2%2Fhuilong%2Fproto";
    assert_eq!(until("a push", || payloads(&asks, path).pop()), "aGk=");
    assert_eq!(ask("DELETE", "/filter/v2/subscriptions", &wanted), (200, told("OK")));
    assert_eq!(ask("GET", "/filter/v2/subscriptions/7", "").0, 404);
    assert_eq!(asks.get(path).0, 400);
}

#[test]
fn what_is_far_too_large_gets_an_answer() {
    let (_data, lone) = node(&[SHARDS]);
    let sent = |payload: usize| {
        let payload = "A".repeat(payload / 3 * 4);
        lone.ask(
            "POST",
            "/relay/v1/auto/messages",
            &json!({"payload": payload, "contentTopic": CONTENT_TOPIC}).to_string(),
        )
    };
    let refused = "Failed to publish: Message size exceeded maximum of 153600 bytes";
    assert_eq!(sent(10 << 20), (400, refused.into()));
}

#[test]
fn a_node_tells_of_itself_what_its_flags_say() {
    let name = format!("--content-topic={CONTENT_TOPIC}");
    let (_data, announced) = node(&["--nat=extip:203.0.113.7", SHARDS, &name]);
    let path = "/relay/v1/auto/messages/%2Ftoychat%2F2%2Fhuilong%2Fproto";
    assert_eq!(announced.get(path), (200, "[]".into()), "kept from the start");
    let info = json_of(&announced, "/info");
    let first = info["listenAddresses"][0].as_str().expect("an address");
    let (port, id) = (announced.libp2p_port(), announced.libp2p.rsplit('/').next().expect("a peer id"));
    assert_eq!(first, format!("/ip4/203.0.113.7/tcp/{port}/p2p/{id}"));
    let (status, version) = announced.get("/version");
    assert!(status == 200 && version.starts_with(concat!("v", env!("CARGO_PKG_VERSION"))), "{version}");
}
