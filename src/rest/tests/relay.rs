//! Relay: subscriptions, messages, and what is polled.

use serde_json::{Value, json};
use waku2::{PublishError, PubsubTopic, rln::NoProof, signed::SignedError, validate::Reason};

use super::{
    case::{Case, Sent, ask, check_all, router},
    world::{World, message},
};

const SUBSCRIPTIONS: &str = "/relay/v1/subscriptions";
const MESSAGES: &str = "/relay/v1/messages/{pubsubTopic}";
const AUTO_SUBSCRIPTIONS: &str = "/relay/v1/auto/subscriptions";
const AUTO_MESSAGES: &str = "/relay/v1/auto/messages/{contentTopic}";
const AUTO_PUBLISH: &str = "/relay/v1/auto/messages";
/// `/waku/2/rs/1/0` and a shard that is not relayed.
const ON_0: &str = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F1%2F0";
const ON_5: &str = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F1%2F5";

fn hello() -> Value {
    json!({"payload": "aGVsbG8", "contentTopic": "/myapp/1/latest/proto", "timestamp": 7})
}

fn too_large() -> PublishError {
    PublishError::TooLarge { frame_bytes: 200_000, limit_bytes: 153_600 }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["POST", "DELETE"] {
        let of = || Case::of(method, SUBSCRIPTIONS);
        let failed = if method == "POST" { "Subscribe failed: " } else { "Unsubscribe failed: " };
        cases.extend([
            of().with(&json!(["/waku/2/rs/1/0", "/waku/2/rs/1/3"])).ok(),
            of().sending("text/plain", r#"["/waku/2/rs/1/0"]"#).ok(),
            of().with(&json!([])).ok(),
            of().with(&json!(["/waku/2/rs/1/1"]))
                .given(|state| state.slow = true)
                .text(500, &format!("{failed}timedout")),
            of().with(&json!(["/waku/2/rs/1/0", "/waku/2/default-waku/proto"])).begins(400, failed),
            of().with(&json!(["/waku/2/rs/1/65536"])).begins(400, failed),
            of().with(&json!({"topics": []})).begins(400, "Invalid content body, could not decode. "),
            of().sending("application/json", "[").begins(400, "Invalid content body, could not decode. "),
            of().text(400, "Missing content body"),
            of().sending("text/html", "[]").text(400, "Wrong Content-Type, expected application/json or text/plain"),
        ]);
        let of = || Case::of(method, AUTO_SUBSCRIPTIONS);
        cases.extend([
            of().with(&json!(["/myapp/1/latest/proto"])).ok(),
            // Of shard 1, which nobody else here needs.
            of().with(&json!(["/waku/2/default-content/proto"]))
                .given(|state| state.slow = true)
                .text(500, &format!("{failed}timedout")),
            of().with(&json!(["latest"])).begins(400, &format!("{failed}Autosharding error: ")),
            of().with(&json!(["/myapp/1/latest/proto"]))
                .given(|state| state.shards = 0)
                .text(400, &format!("{failed}Autosharding is disabled")),
            of().with(&json!([5])).begins(400, "Invalid content body, could not decode. "),
            of().text(400, "Missing content body"),
            of().sending("text/html", "[]").text(400, "Wrong Content-Type, expected application/json or text/plain"),
        ]);
    }
    cases.push(Case::of("POST", SUBSCRIPTIONS).with(&json!(["/waku/2/rs/2/0"])).begins(400, "Subscribe failed: "));
    cases.extend([
        Case::of("GET", MESSAGES).at(ON_0).json(200, json!([])),
        Case::of("GET", MESSAGES).at(ON_5).says(404, super::case::Told::Empty),
        Case::of("GET", AUTO_MESSAGES)
            .at("/relay/v1/auto/messages/%2Fapp%2F20%2Fsometopic%2Fsomeencoding")
            .json(200, json!([])),
        Case::of("GET", AUTO_MESSAGES)
            .at("/relay/v1/auto/messages/%2Fmyapp%2F1%2Flatest%2Fproto")
            .text(404, "/myapp/1/latest/proto"),
    ]);
    for method in [SUBSCRIPTIONS, MESSAGES, AUTO_SUBSCRIPTIONS, AUTO_MESSAGES, AUTO_PUBLISH] {
        let uri = method.replace(['{', '}'], "");
        cases.push(Case::of("OPTIONS", method).at(uri).ok());
    }
    cases.extend(published());
    cases
}

/// Both ways to publish.
fn published() -> Vec<Case> {
    let plain = || Case::of("POST", MESSAGES).at(ON_0);
    let auto = || Case::of("POST", AUTO_PUBLISH);
    let mut cases = vec![
        Case::of("POST", MESSAGES)
            .at(ON_5)
            .sending("text/html", "not even a message")
            .text(400, "Failed to publish: Node not subscribed to topic: /waku/2/rs/1/5"),
        plain().with(&hello()).given(|state| state.publish = Err(PublishError::NoPeers)).ok(),
        auto()
            .with(&hello())
            .given(|state| state.publish = Err(PublishError::NoPeers))
            .text(400, "Failed to publish: NoPeersToPublish"),
        auto().with(&hello()).given(|state| state.shards = 0).text(400, "Failed to publish. Autosharding is disabled"),
        auto()
            .with(&json!({"payload": "aGk=", "contentTopic": "latest"}))
            .begins(400, "Failed to publish. Autosharding error: "),
        auto()
            .with(&hello())
            .given(|state| state.relayed.clear())
            .text(400, "Failed to publish: Node not subscribed to topic: /waku/2/rs/1/0"),
    ];
    for of in [plain, auto as fn() -> Case] {
        cases.extend([
            of().with(&hello()).ok(),
            of().sending("text/plain", &hello().to_string()).ok(),
            of().sending("text/html", &hello().to_string())
                .text(400, "Wrong Content-Type, expected application/json or text/plain"),
            of().text(400, "Missing content body"),
            of().with(&json!({"payload": "", "contentTopic": "/a/1/b/c"})).begins(400, "Invalid content body"),
            of().with(&json!({"payload": "aGk="})).begins(400, "Invalid content body"),
            of().sending("application/json", r#"{"payload":"aGk=","contentTopic":"/a/1/b/c","payload":"aGk="}"#)
                .begins(400, "Invalid content body, could not decode. Multiple `payload` fields found"),
            of().with(&json!({"payload": "aGk=", "contentTopic": "/a/1/b/c", "meta": "A".repeat(88)}))
                .begins(400, "Failed to publish: a meta of 66 bytes"),
            of().with(&hello())
                .given(|state| state.publish = Err(too_large()))
                .text(400, "Failed to publish: Message size exceeded maximum of 153600 bytes"),
            of().with(&hello())
                .given(|state| state.publish = Err(PublishError::NotSigned(SignedError::Signature)))
                .text(400, "Failed to publish: the shard is a signed one: not signed with the shard's key"),
            of().with(&hello())
                .given(|state| state.publish = Err(PublishError::NoProof(NoProof::OutOfIds)))
                .text(500, "Failed to publish: error appending RLN proof to message: could not get new message id to generate an rln proof: no message id left in this epoch"),
            of().with(&hello())
                .given(|state| state.publish = Err(PublishError::NoProof(NoProof::NotReady)))
                .text(500, "Failed to publish: error appending RLN proof to message: could not generate rln-v2 proof: no membership is ready"),
            of().with(&hello())
                .given(|state| state.publish = Err(PublishError::Refused(Reason::InvalidProof)))
                .text(400, "Failed to publish: RLN validation failed: its proof does not hold"),
            of().with(&hello())
                .given(|state| state.publish = Err(PublishError::QueueFull))
                .begins(500, "Failed to publish: "),
            of().with(&hello())
                .given(|state| state.publish = Err(PublishError::Stopped))
                .begins(500, "Failed to publish: "),
            of().with(&hello()).given(|state| state.slow = true).text(500, "Failed to publish: timedout"),
        ]);
    }
    cases
}

#[tokio::test]
async fn each_row_and_status() {
    check_all(cases()).await;
}

fn topic(name: &str) -> PubsubTopic {
    name.parse().unwrap()
}

async fn told(world: &World, method: &str, uri: &str, body: Option<Value>) -> (u16, String) {
    let sent = body.map_or_else(Sent::nothing, |body| Sent::json(&body));
    let answered = ask(&router(world), method, uri, sent).await;
    (answered.status, answered.body)
}

async fn polled(world: &World, uri: &str) -> Vec<String> {
    let answered = ask(&router(world), "GET", uri, Sent::nothing()).await;
    let payload = |message: &Value| message["payload"].as_str().unwrap().to_owned();
    answered.json().as_array().unwrap().iter().map(payload).collect()
}

#[tokio::test]
async fn what_is_published_here_goes_out_once_and_is_polled_here_too() {
    let world = World::new();
    assert_eq!(told(&world, "POST", ON_0, Some(hello())).await.0, 200);
    let sent = world.state().published.clone();
    assert_eq!(sent, [(topic("/waku/2/rs/1/0"), message("hello", "/myapp/1/latest/proto", 7))]);
    let answered = ask(&router(&world), "GET", ON_0, Sent::nothing()).await.json();
    let expected = json!([{"payload": "aGVsbG8=", "contentTopic": "/myapp/1/latest/proto", "version": 0,
        "timestamp": 7, "ephemeral": false, "proof": ""}]);
    assert_eq!(answered, expected);
    assert_eq!(polled(&world, ON_0).await, [""; 0], "it was taken");
    world.state().publish = Err(PublishError::NoPeers);
    assert_eq!(told(&world, "POST", ON_0, Some(hello())).await.0, 200);
    assert_eq!(polled(&world, ON_0).await, ["aGVsbG8="], "though nobody was there to take it");
    world.state().publish = Err(too_large());
    assert_eq!(told(&world, "POST", ON_0, Some(hello())).await.0, 400);
    assert_eq!(polled(&world, ON_0).await, [""; 0]);
}

#[tokio::test]
async fn a_message_without_a_time_has_that_of_now() {
    let world = World::new();
    let before = devp2p::clock::now().unix_nanos();
    let new = json!({"payload": "aGk=", "contentTopic": "/a/1/b/c", "timestamp": 0});
    assert_eq!(told(&world, "POST", ON_0, Some(new)).await.0, 200);
    let at = world.state().published[0].1.timestamp.unwrap();
    assert!((before..=devp2p::clock::now().unix_nanos()).contains(&at), "{at}");
}

#[tokio::test]
async fn topics_come_and_go_with_who_follows_them() {
    let world = World::new();
    let relays = |name: &str| world.state().relayed.contains(&topic(name));
    let router = router(&world);
    let tell = async |method: &str, uri: &str, names: Value| {
        assert_eq!(ask(&router, method, uri, Sent::json(&names)).await.status, 200, "{method} {uri} {names}");
    };
    tell("POST", SUBSCRIPTIONS, json!(["/waku/2/rs/1/3"])).await;
    assert!(relays("/waku/2/rs/1/3"));
    // The shard of /toychat/2/… is 3 as well.
    let content = json!(["/toychat/2/huilong/proto"]);
    tell("POST", AUTO_SUBSCRIPTIONS, content.clone()).await;
    tell("DELETE", SUBSCRIPTIONS, json!(["/waku/2/rs/1/3"])).await;
    assert!(relays("/waku/2/rs/1/3"), "a content topic needs it");
    tell("DELETE", AUTO_SUBSCRIPTIONS, content.clone()).await;
    assert!(!relays("/waku/2/rs/1/3"));
    tell("DELETE", SUBSCRIPTIONS, json!(["/waku/2/rs/1/0"])).await;
    assert!(!relays("/waku/2/rs/1/0"), "one of the start may be left");
    let polled = ask(&router, "GET", ON_0, Sent::nothing()).await;
    assert_eq!(polled.status, 404);
    world.state().relayed.insert(topic("/waku/2/rs/1/3"));
    tell("POST", AUTO_SUBSCRIPTIONS, content.clone()).await;
    tell("DELETE", AUTO_SUBSCRIPTIONS, content).await;
    assert!(relays("/waku/2/rs/1/3"), "somebody else has joined it");
}

#[tokio::test]
async fn one_topic_that_is_refused_refuses_all() {
    let world = World::new();
    let router = router(&world);
    for bad in ["/waku/2/rs/2/0", "/waku/2/default-waku/proto"] {
        let names = json!(["/waku/2/rs/1/4", bad]);
        assert_eq!(ask(&router, "POST", SUBSCRIPTIONS, Sent::json(&names)).await.status, 400);
        assert!(!world.state().relayed.contains(&topic("/waku/2/rs/1/4")), "{bad}");
        let polled = ask(&router, "GET", "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F1%2F4", Sent::nothing()).await;
        assert_eq!(polled.status, 404, "{bad}");
    }
}

#[tokio::test]
async fn a_content_topic_is_polled_when_it_was_asked_for_and_when_it_came_by() {
    let world = World::new();
    let path = "/relay/v1/auto/messages/%2Fmyapp%2F1%2Flatest%2Fproto";
    assert_eq!(told(&world, "GET", path, None).await, (404, "/myapp/1/latest/proto".to_owned()));
    world.relay_cache.offer(&topic("/waku/2/rs/1/0"), &message("hello", "/myapp/1/latest/proto", 7));
    assert_eq!(polled(&world, path).await, ["aGVsbG8="]);
    assert_eq!(polled(&world, ON_0).await, [""; 0], "it is taken from both");
    let names = Some(json!(["/toychat/2/huilong/proto"]));
    assert_eq!(told(&world, "POST", AUTO_SUBSCRIPTIONS, names).await.0, 200);
    world.relay_cache.offer(&topic("/waku/2/rs/1/3"), &message("hi", "/toychat/2/huilong/proto", 7));
    assert_eq!(polled(&world, "/relay/v1/auto/messages/%2Ftoychat%2F2%2Fhuilong%2Fproto").await, ["aGk="]);
}
