//! Lightpush: the statuses of both versions.

use serde_json::json;
use waku2::lightpush::{Failure, Pushed, Status};

use super::{
    case::{Case, Sent, ask, check_all, router},
    world::{World, message},
};
use crate::rest::ports::{NoPeer, Push, PushRefused};

const V1: &str = "/lightpush/v1/message";
const V3: &str = "/lightpush/v3/message";

fn refused(status: Status) -> PushRefused {
    Failure { status, text: "why".to_owned() }.into()
}

pub(super) fn cases() -> Vec<Case> {
    let body = json!({"pubsubTopic": "/waku/2/rs/1/1", "message": {"payload": "aGk=", "contentTopic": "/a/1/b/c"}});
    let of = |path| Case::of("POST", path).with(&body);
    let failing = |path, refused: PushRefused| of(path).given(move |state| state.push = Err(refused.clone()));
    let said = |words: &str| json!({"statusDesc": words});
    let mut cases = vec![of(V1).ok(), of(V3).json(200, json!({"relayPeerCount": 2}))];
    for status in Status::ALL.into_iter().filter(|status| *status != Status::Success) {
        let v1 = failing(V1, refused(status));
        cases.push(match status {
            Status::TooManyRequests => v1.text(429, "Request rate limmit reached"),
            _ => v1.text(503, "Failed to request a message push: why"),
        });
        cases.push(failing(V3, refused(status)).json(u16::try_from(status.code()).unwrap(), said("why")));
    }
    for none in [NoPeer::NotSought, NoPeer::NoneFound] {
        cases.push(failing(V1, none.into()).text(503, &none.to_string()));
        cases.push(failing(V3, none.into()).json(503, said(&none.to_string())));
    }
    cases.extend([
        of(V1).given(|state| state.slow = true).text(503, "Push request timed out"),
        of(V3).given(|state| state.push = Ok(Pushed { peers: None })).json(200, json!({})),
        of(V3).given(|state| state.push = Err(refused(Status::Other(7)))).json(500, said("why")),
        of(V3).given(|state| state.slow = true).json(503, said("Push request timed out")),
        Case::of("POST", V1).text(400, "Missing content body"),
        Case::of("POST", V3).json(400, said("Missing content body")),
        Case::of("POST", V1)
            .sending("text/html", "{}")
            .text(400, "Wrong Content-Type, expected application/json or text/plain"),
        Case::of("POST", V3)
            .sending("text/html", "{}")
            .json(400, said("Wrong Content-Type, expected application/json or text/plain")),
        Case::of("POST", V1)
            .with(&json!({"message": {"payload": "aGk="}}))
            .begins(400, "Invalid content body, could not decode. "),
        Case::of("POST", V1)
            .with(&json!({"message": {"payload": "aGk=", "contentTopic": "/a", "meta": "A".repeat(88)}}))
            .begins(400, "Invalid message: "),
        Case::of("POST", V1).sending("text/plain", &body.to_string()).ok(),
        Case::of("POST", V3).sending("text/plain", &body.to_string()).json(200, json!({"relayPeerCount": 2})),
    ]);
    cases
}

#[tokio::test]
async fn each_row_and_status() {
    check_all(cases()).await;
}

#[tokio::test]
async fn what_is_pushed_is_what_was_given() {
    let message_of = json!({"payload": "aGk", "contentTopic": "/a/1/b/c", "timestamp": 7});
    for (topic, expected) in [(json!("/waku/2/rs/1/1"), Some("/waku/2/rs/1/1")), (json!(""), None), (json!(null), None)]
    {
        for path in [V1, V3] {
            let world = World::new();
            let body = json!({"pubsubTopic": topic, "message": message_of});
            assert_eq!(ask(&router(&world), "POST", path, Sent::json(&body)).await.status, 200);
            let pubsub_topic = expected.map(|topic| topic.parse().unwrap());
            assert_eq!(world.state().pushed, [Push { pubsub_topic, message: message("hi", "/a/1/b/c", 7) }]);
        }
    }
}
