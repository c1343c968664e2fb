//! Filter: the statuses of each service's refusal, and what was pushed.

use serde_json::{Value, json};

use super::{
    case::{Case, Sent, ask, check_all, router},
    world::{World, message},
};
use crate::rest::ports::{FilterRefused, NoPeer};

const SUBSCRIPTIONS: &str = "/filter/v2/subscriptions";
const MESSAGES: &str = "/filter/v2/messages/{contentTopic}";

/// Each refusal with its status and what is said.
fn refusals() -> Vec<(FilterRefused, u16, &'static str)> {
    let words = str::to_owned;
    vec![
        (FilterRefused::Unknown, 200, "UNKNOWN"),
        (FilterRefused::Dial(words("/ip4/1.2.3.4/tcp/1")), 504, "/ip4/1.2.3.4/tcp/1"),
        (FilterRefused::BadResponse(words("no protobuf")), 500, "no protobuf"),
        (
            FilterRefused::BadRequest(words("exceeds maximum content topics: 100")),
            400,
            "exceeds maximum content topics: 100",
        ),
        (FilterRefused::NotFound(words("peer has no subscriptions")), 404, "peer has no subscriptions"),
        (FilterRefused::TooMany(words("rate")), 429, "rate"),
        (FilterRefused::Unavailable(words("full")), 503, "full"),
        (NoPeer::NotSought.into(), 503, "No suitable service peer & no discovery method"),
        (NoPeer::NoneFound.into(), 503, "No suitable service peer & none discovered"),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let some = json!({"requestId": "7", "contentFilters": ["/a/1/b/c"], "pubsubTopic": "/waku/2/rs/1/1"});
    let all = json!({"requestId": "7"});
    let rows: [(&str, &str, &str, Option<&Value>, &str); 5] = [
        ("POST", SUBSCRIPTIONS, SUBSCRIPTIONS, Some(&some), "Subscription request timed out"),
        ("PUT", SUBSCRIPTIONS, SUBSCRIPTIONS, Some(&some), "Subscription request timed out"),
        (
            "DELETE",
            SUBSCRIPTIONS,
            SUBSCRIPTIONS,
            Some(&some),
            "Failed to unsubscribe from contentFilters due to timeout!",
        ),
        (
            "DELETE",
            "/filter/v2/subscriptions/all",
            "/filter/v2/subscriptions/all",
            Some(&all),
            "Failed to unsubscribe from all contentFilters due to timeout!",
        ),
        ("GET", "/filter/v2/subscriptions/{requestId}", "/filter/v2/subscriptions/7", None, "Ping timed out"),
    ];
    let mut cases = Vec::new();
    for (method, path, uri, body, slow) in rows {
        let of = || body.into_iter().fold(Case::of(method, path).at(uri), |case, body| case.with(body));
        let told = |words: &str| json!({"requestId": "7", "statusDesc": words});
        cases.push(of().json(200, told("OK")));
        cases.push(of().given(|state| state.slow = true).json(503, told(slow)));
        cases.extend(refusals().into_iter().map(|(refused, status, words)| {
            of().given(move |state| state.filter = Err(refused.clone())).json(status, told(words))
        }));
    }
    cases.extend(undecodable());
    cases.push(
        Case::of("GET", MESSAGES).at("/filter/v2/messages/%2Fapp%2F20%2Fsometopic%2Fsomeencoding").json(200, json!([])),
    );
    cases.push(
        Case::of("GET", MESSAGES)
            .at("/filter/v2/messages/%2Fa%2F1%2Fb%2Fc")
            .text(400, "Not subscribed to topic: /a/1/b/c"),
    );
    cases
}

fn undecodable() -> Vec<Case> {
    let told =
        |words: &str| json!({"requestId": "unknown", "statusDesc": format!("Failed to decode request: {words}")});
    let mut cases = Vec::new();
    for (method, path) in [
        ("POST", SUBSCRIPTIONS),
        ("PUT", SUBSCRIPTIONS),
        ("DELETE", SUBSCRIPTIONS),
        ("DELETE", "/filter/v2/subscriptions/all"),
    ] {
        cases.push(Case::of(method, path).json(400, told("Missing content body")));
        cases.push(
            Case::of(method, path)
                .sending("text/plain", "{}")
                .json(400, told("Wrong Content-Type, expected application/json")),
        );
    }
    cases
}

#[tokio::test]
async fn each_row_and_status() {
    check_all(cases()).await;
}

#[tokio::test]
async fn a_body_that_is_no_request_says_what_is_wrong() {
    for body in [
        json!({"contentFilters": ["/a"]}),
        json!({"requestId": "7"}),
        json!({"requestId": "7", "contentFilters": []}),
        json!({"requestId": "7", "contentFilters": ["/a", " "]}),
        json!({"requestId": " ", "contentFilters": ["/a"]}),
        json!({"requestId": 7, "contentFilters": ["/a"]}),
        json!([]),
    ] {
        let answered = ask(&router(&World::new()), "POST", SUBSCRIPTIONS, Sent::json(&body)).await;
        let told = answered.json();
        assert_eq!((answered.status, &told["requestId"]), (400, &json!("unknown")), "{body}");
        let words = told["statusDesc"].as_str().unwrap();
        assert!(words.starts_with("Failed to decode request: Invalid content body, could not decode. "), "{words}");
    }
    let long = json!({"requestId": "7", "contentFilters": ["/a"], "pubsubTopic": "x".repeat(257)});
    let answered = ask(&router(&World::new()), "POST", SUBSCRIPTIONS, Sent::json(&long)).await;
    assert_eq!((answered.status, &answered.json()["requestId"]), (400, &json!("7")));
}

#[tokio::test]
async fn what_is_pushed_is_polled_until_nothing_is_subscribed() {
    let world = World::new();
    let router = router(&world);
    let path = "/filter/v2/messages/%2Fa%2F1%2Fb%2Fc";
    let subscribe = json!({"requestId": "7", "contentFilters": ["/a/1/b/c"], "pubsubTopic": ""});
    assert_eq!(ask(&router, "POST", SUBSCRIPTIONS, Sent::json(&subscribe)).await.status, 200);
    assert_eq!(world.state().filtered[0].pubsub_topic, None, "an empty topic is none");
    world.filter_cache.offer(&"/waku/2/rs/1/1".parse().unwrap(), &message("hello", "/a/1/b/c", 7));
    let expected = json!([{"payload": "aGVsbG8=", "contentTopic": "/a/1/b/c", "version": 0, "timestamp": 7,
        "ephemeral": false}]);
    assert_eq!(ask(&router, "GET", path, Sent::nothing()).await.json(), expected);
    assert_eq!(ask(&router, "GET", path, Sent::nothing()).await.json(), json!([]));
    for (method, uri, body) in [
        ("DELETE", SUBSCRIPTIONS, subscribe.clone()),
        ("DELETE", "/filter/v2/subscriptions/all", json!({"requestId": "7"})),
    ] {
        assert_eq!(ask(&router, "PUT", SUBSCRIPTIONS, Sent::json(&subscribe)).await.status, 200);
        world.state().filter = Err(FilterRefused::Unknown);
        assert_eq!(ask(&router, method, uri, Sent::json(&body)).await.status, 200);
        let left = if uri == SUBSCRIPTIONS { 200 } else { 400 };
        assert_eq!(
            ask(&router, "GET", path, Sent::nothing()).await.status,
            left,
            "one may still be subscribed, all are not"
        );
        world.state().filter = Ok(());
        assert_eq!(ask(&router, method, uri, Sent::json(&body)).await.status, 200);
        assert_eq!(ask(&router, "GET", path, Sent::nothing()).await.status, 400);
    }
    let elsewhere = ask(&router, "GET", "/filter/v2/messages/%2Fwaku/%2Fa", Sent::nothing()).await;
    assert_eq!(elsewhere.status, 404, "go-waku has that path, nwaku has not");
}
