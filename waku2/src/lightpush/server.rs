//! What is published where, and what is answered: a pure core.
//!
//! A request is read by its version, turned into one [`Push`] to publish, or a [`Failure`], and its outcome into the answer of the same
//! version. Order as deployed: decoding, topic, and only then the message's own size and the rules of its shard, which relay holds it against.
//! Without a pubsub topic the shard follows from the content topic, in the older version too where the topic is empty.

use bytes::Bytes;

use super::{Config, Failure, MAX_ID_BYTES, NO_ID, Status, legacy, wire};
use crate::{
    message::WakuMessage,
    shard::{Shard, shard_of},
    topic::{ContentTopic, PubsubTopic},
};

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Where.
    pub pubsub_topic: PubsubTopic,
    /// Its bytes, as the client gave them.
    pub data: Bytes,
}

/// A request that was read: what to answer to, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id, echoed in the answer.
    pub id: String,
    /// What to publish, or why nothing is.
    pub push: Result<Push, Failure>,
}

/// Reads a request of 3.0.0.
#[must_use]
pub fn asked(request: Bytes, config: &Config) -> Asked {
    let request = match wire::Request::decode(request) {
        Ok(request) => request,
        Err(error) => return Asked { id: NO_ID.to_owned(), push: Err(Failure::unreadable(error)) },
    };
    let wire::Request { id, kind, pubsub_topic, message } = request;
    let push = match kind {
        0 => push(pubsub_topic.as_deref(), message, config),
        other => Err(Failure::new(Status::BadRequest, format!("request type {other} is not known: relay is 0"))),
    };
    Asked { id: echoed(id), push }
}

/// Reads a request of 2.0.0-beta1.
#[must_use]
pub fn asked_legacy(request: Bytes, config: &Config) -> Asked {
    let legacy::Request { id, push: asked } = match legacy::Request::decode(request) {
        Ok(request) => request,
        Err(error) => return Asked { id: String::new(), push: Err(Failure::unreadable(error)) },
    };
    let empty = || Failure::new(Status::BadRequest, "empty_request_body_failure");
    let push = asked.ok_or_else(empty).and_then(|asked| {
        let message = asked.message.ok_or_else(empty)?;
        let topic = Some(asked.pubsub_topic).filter(|topic| !topic.is_empty());
        push(topic.as_deref(), Some(message), config)
    });
    Asked { id: echoed(id), push }
}

/// What is to be published, by its parts.
fn push(pubsub_topic: Option<&str>, message: Option<Bytes>, config: &Config) -> Result<Push, Failure> {
    let data = message.ok_or_else(|| Failure::unreadable("no message"))?;
    let message = WakuMessage::decode_shared(data.clone()).map_err(|error| Failure::from(&error))?;
    let pubsub_topic = match pubsub_topic {
        Some(topic) if topic.trim().is_empty() => {
            return Err(Failure::new(Status::BadRequest, "topic must not be empty"));
        }
        Some(topic) => topic.parse().map_err(|error| Failure::from(&error))?,
        None => derived(&message.content_topic, config)?,
    };
    Ok(Push { pubsub_topic, data })
}

/// The pubsub topic that follows from a content topic.
pub(super) fn derived(content_topic: &ContentTopic, config: &Config) -> Result<PubsubTopic, Failure> {
    let index = shard_of(content_topic, config.shards).map_err(|error| Failure::from(&error))?;
    Ok(Shard { cluster: config.cluster, index }.into())
}

/// As much of an id as is given back.
fn echoed(mut id: String) -> String {
    id.truncate(id.floor_char_boundary(MAX_ID_BYTES));
    id
}

/// The answer of 3.0.0.
#[must_use]
pub fn answer(id: String, outcome: Result<u32, Failure>, config: &Config) -> wire::Response {
    match outcome {
        Ok(peers) => wire::Response { id, status: Some(Status::Success), text: None, peers: Some(peers) },
        Err(Failure { status, text }) => {
            wire::Response { id, status: Some(status.in_words_of(config.codes)), text: Some(text), peers: None }
        }
    }
}

/// The answer of 2.0.0-beta1.
#[must_use]
pub fn answer_legacy(id: String, outcome: Result<u32, Failure>) -> legacy::Response {
    match outcome {
        Ok(_) => legacy::Response { id, is_success: true, info: "OK".to_owned() },
        Err(Failure { text, .. }) => legacy::Response { id, is_success: false, info: text },
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::tests::{MESSAGE, TOPIC, hex},
        *,
    };
    use crate::{rules::Position, shard::ClusterId};

    const AUTO: Config = Config { cluster: ClusterId(1), shards: 8, codes: Position::Text, proves: true };
    const STATIC: Config = Config { shards: 0, ..AUTO };

    fn request(pubsub_topic: Option<&str>) -> wire::Request {
        let pubsub_topic = pubsub_topic.map(ToOwned::to_owned);
        wire::Request { id: "req-1".into(), kind: 0, pubsub_topic, message: Some(hex(MESSAGE)) }
    }

    fn legacy_request(pubsub_topic: &str) -> legacy::Request {
        let push = legacy::Push { pubsub_topic: pubsub_topic.into(), message: Some(hex(MESSAGE)) };
        legacy::Request { id: "req-1".into(), push: Some(push) }
    }

    fn on(topic: &str) -> Asked {
        Asked { id: "req-1".into(), push: Ok(Push { pubsub_topic: topic.parse().unwrap(), data: hex(MESSAGE) }) }
    }

    /// Number and text of what is refused, with its id.
    fn refused(asked: Asked) -> (String, u32, String) {
        let failure = asked.push.unwrap_err();
        (asked.id, failure.status.code(), failure.text)
    }

    #[test]
    fn the_topic_is_named_or_follows_from_the_content_topic() {
        let v3 = |topic, config| asked(request(topic).encode(), config);
        let beta1 = |topic, config| asked_legacy(legacy_request(topic).encode(), config);
        for config in [&AUTO, &STATIC] {
            assert_eq!(v3(Some("/waku/2/rs/1/5"), config), on("/waku/2/rs/1/5"));
            assert_eq!(beta1("/waku/2/rs/1/5", config), on("/waku/2/rs/1/5"));
        }
        assert_eq!(v3(None, &AUTO), on(TOPIC));
        assert_eq!(beta1("", &AUTO), on(TOPIC));
        for asked in [v3(None, &STATIC), beta1("", &STATIC)] {
            let (id, code, text) = refused(asked);
            assert_eq!((id.as_str(), code), ("req-1", 420));
            assert!(text.contains("static sharding"), "{text}");
        }
    }

    #[test]
    fn h78_what_is_no_request_of_3_is_told_so() {
        let refused = |bytes: Bytes| refused(asked(bytes, &AUTO));
        let (id, code, text) = refused(hex("0a"));
        assert_eq!((id.as_str(), code, text.starts_with("decode_rpc_failure")), ("N/A", 400, true));
        for topic in ["", " ", "\t\n"] {
            let (id, code, text) = refused(request(Some(topic)).encode());
            assert_eq!((id.as_str(), code, text.as_str()), ("req-1", 400, "topic must not be empty"), "{topic:?}");
        }
        let (_, code, _) = refused(request(Some(&"x".repeat(1_000))).encode());
        assert_eq!(code, 400);
        let (id, code, text) = refused(wire::Request { kind: 7, ..request(None) }.encode());
        assert_eq!((id.as_str(), code, text.contains('7')), ("req-1", 400, true));
        let (_, code, _) = refused(wire::Request { message: None, ..request(None) }.encode());
        assert_eq!(code, 400, "no message");
        for bad in ["0a0568656c6c6f", "12022f61", "ff"] {
            let (_, code, _) = refused(wire::Request { message: Some(hex(bad)), ..request(None) }.encode());
            assert_eq!(code, 400, "{bad}");
        }
        let (id, ..) = refused(wire::Request { id: "é".repeat(1_000), message: None, ..request(None) }.encode());
        assert_eq!(id.len(), MAX_ID_BYTES, "as much as is echoed");
    }

    #[test]
    fn h74_a_content_topic_without_a_shard_is_told_so() {
        for topic in ["no slashes", "/x/toychat/2/huilong/proto", "/1/a/2/c/proto", "/a/b/c/d/e/f"] {
            let message = WakuMessage { content_topic: topic.into(), ..WakuMessage::decode(&hex(MESSAGE)).unwrap() };
            let asked = asked(wire::Request { message: Some(message.encode()), ..request(None) }.encode(), &AUTO);
            assert_eq!(refused(asked).1, 420, "{topic}");
        }
    }

    #[test]
    fn h78_what_is_no_request_of_beta1_is_told_so() {
        let refused = |bytes: Bytes| refused(asked_legacy(bytes, &AUTO));
        let (id, code, text) = refused(hex("0a"));
        assert_eq!((id.as_str(), code, text.starts_with("decode_rpc_failure")), ("", 400, true));
        for request in [
            legacy::Request { push: None, ..legacy_request("") },
            legacy::Request { push: Some(legacy::Push::default()), ..legacy_request("") },
        ] {
            let (id, code, text) = refused(request.encode());
            assert_eq!((id.as_str(), code, text.as_str()), ("req-1", 400, "empty_request_body_failure"));
        }
    }

    #[test]
    fn outcomes_are_told_in_both_versions() {
        let id = || "req-1".to_owned();
        assert_eq!(answer(id(), Ok(3), &AUTO).encode(), hex("0a057265712d3150c8016003"));
        assert_eq!(answer_legacy(id(), Ok(3)).encode(), hex("0a057265712d311a06080112024f4b"));
        let none = answer(id(), Err(Failure::no_peers()), &AUTO);
        assert_eq!((none.status, none.peers), (Some(Status::Unavailable), None));
        assert!(none.text.is_some(), "always said");
        let deployed = answer(id(), Err(Failure::no_peers()), &Config { codes: Position::Deployed, ..AUTO });
        assert_eq!(deployed.status, Some(Status::NoPeers));
        let legacy = answer_legacy(id(), Err(Failure::no_peers()));
        assert_eq!((legacy.is_success, legacy.info.as_str()), (false, "not_published_to_any_peer"));
    }
}
