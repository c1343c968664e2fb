//! Rules of the whole server: what is answered where no route is, and how paths and bodies are read.

use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use waku2::PublishError;

use super::{
    case::{Sent, ask, router},
    world::{State, World},
};
use crate::rest;

async fn told(given: impl Fn(&mut State), method: &str, uri: &str) -> (u16, String) {
    let world = World::new();
    given(&mut world.state());
    let answered = ask(&router(&world), method, uri, Sent::nothing()).await;
    assert_eq!(answered.media, "text/plain");
    (answered.status, answered.body)
}

#[tokio::test]
async fn where_no_route_is_the_group_says_why() {
    let invalid = (400, "Bad request initiated. Invalid path or method used.".to_owned());
    for (method, uri) in
        [("GET", "/"), ("GET", "/nowhere"), ("POST", "/health"), ("PUT", "/version"), ("GET", "//relay")]
    {
        assert_eq!(told(|_| {}, method, uri).await, invalid, "{method} {uri}");
    }
    for (method, group, uri) in [
        ("GET", "relay", "/relay"),
        ("PATCH", "relay", "/relay/v1/subscriptions"),
        ("GET", "relay", "/relay/v1/messages/a/b"),
        ("GET", "debug", "/debug/v2/info"),
        ("GET", "filter", "/filter/v2/messages/%2Fwaku/%2Fa"),
        ("GET", "store", "/store/v2/messages"),
        ("GET", "lightpush", "/lightpush/v1/message"),
        ("DELETE", "admin", "/admin/v1/peers"),
    ] {
        let expected = format!("/{group} endpoints are not available by this path and method.");
        assert_eq!(told(|_| {}, method, uri).await, (404, expected), "{method} {uri}");
    }
}

#[tokio::test]
async fn a_group_that_is_not_served_names_the_flag() {
    let words = "endpoints are not available. Please check your configuration:";
    assert_eq!(
        told(|state| state.admin = false, "GET", "/admin/v1/peers").await,
        (404, format!("/admin {words} --rest-admin=true"))
    );
    assert_eq!(
        told(|state| state.relay = false, "POST", "/relay/v1/auto/messages").await,
        (404, format!("/relay {words} --relay"))
    );
    let mut groups = World::new().groups();
    (groups.filter, groups.stores, groups.lightpush) = (None, None, None);
    let router = rest::router(&groups, OpenApiRouter::new());
    for (group, uri) in
        [("filter", "/filter/v2/messages/a"), ("store", "/store/v3/messages"), ("lightpush", "/lightpush/v3/message")]
    {
        let answered = ask(&router, "GET", uri, Sent::nothing()).await;
        assert_eq!((answered.status, answered.body), (404, format!("/{group} endpoints are not available.")));
    }
}

#[tokio::test]
async fn while_the_node_starts_only_its_health_is_told() {
    let router = rest::starting(OpenApiRouter::new());
    let health = ask(&router, "GET", "/health", Sent::nothing()).await;
    assert_eq!(health.json(), json!({"nodeHealth": "INITIALIZING", "protocolsHealth": []}));
    for group in ["admin", "debug", "relay", "filter", "lightpush", "store"] {
        let answered = ask(&router, "GET", &format!("/{group}/v1/anything"), Sent::nothing()).await;
        let expected = format!("/{group} endpoints are not available while initializing.");
        assert_eq!((answered.status, answered.body), (404, expected));
    }
    assert_eq!(ask(&router, "GET", "/version", Sent::nothing()).await.status, 400);
}

#[tokio::test]
async fn paths_are_decoded_once() {
    let world = World::new();
    world.relay_cache.lock().follow_content(&["/a b/1/é/%2F".into()]).unwrap();
    let path = "/relay/v1/auto/messages/%2Fa%20b%2F1%2F%C3%A9%2F%252F";
    assert_eq!(ask(&router(&world), "GET", path, Sent::nothing()).await.status, 200);
    for broken in ["%FF", "%ff%fe"] {
        for path in ["/relay/v1/messages", "/relay/v1/auto/messages", "/filter/v2/messages", "/filter/v2/subscriptions"]
        {
            let answered = ask(&router(&world), "GET", &format!("{path}/{broken}"), Sent::nothing()).await;
            assert_eq!(answered.status, 400, "{path}: no Unicode");
        }
    }
}

#[tokio::test]
async fn h84_what_is_too_long_is_refused_in_words() {
    let world = World::new();
    let too_large = PublishError::TooLarge { frame_bytes: 10 << 20, limit_bytes: 153_600 };
    world.state().publish = Err(too_large);
    let message = |bytes: usize| {
        let payload = "AAAA".repeat(bytes / 3);
        Sent::json(&json!({"payload": payload, "contentTopic": "/myapp/1/latest/proto"}))
    };
    let path = "/relay/v1/auto/messages";
    let answered = ask(&router(&world), "POST", path, message(10 << 20)).await;
    let expected = "Failed to publish: Message size exceeded maximum of 153600 bytes";
    assert_eq!((answered.status, &*answered.body), (400, expected));
    for path in [path, "/lightpush/v1/message", "/admin/v1/peers", "/relay/v1/subscriptions"] {
        let answered = ask(&router(&world), "POST", path, message(13 << 20)).await;
        assert_eq!((answered.status, &*answered.body), (413, "The body is over 16777216 bytes"), "{path}");
    }
    let filter = ask(&router(&world), "POST", "/filter/v2/subscriptions", message(13 << 20)).await;
    assert_eq!((filter.status, &filter.json()["requestId"]), (413, &json!("unknown")));
    let push = ask(&router(&world), "POST", "/lightpush/v3/message", message(13 << 20)).await;
    assert_eq!((push.status, push.json().get("statusDesc").is_some()), (413, true));
}
