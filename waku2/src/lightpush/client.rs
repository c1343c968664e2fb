//! Asking a node to publish for us: one that the operator names, this node itself where it serves lightpush, or a peer that does.
//!
//! 3.0.0 is spoken where the peer has it, else 2.0.0-beta1. An answer must have the id of its request, except one that says that there are too
//! many: that is written before the request is read. An answer counts as success only with 200, and not when it says that it went to nobody.

use bytes::Bytes;

use super::{Config, Failure, Status, legacy, serve::publish, server, wire};
use crate::{
    handle::Handle,
    message::WakuMessage,
    run::system_rng,
    service::{AskError, NoPeer, Protocol, request_id},
    shard::Shard,
    topic::PubsubTopic,
};

/// Peers that are asked one after the other while each cannot be reached.
const TRIES: usize = 3;

/// Both versions, the newer one first.
const PROTOCOLS: [Protocol; 2] = [Protocol::LightpushV3, Protocol::LightpushLegacy];

/// A message was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// To how many peers it was sent; `None` where the node did not say.
    pub peers: Option<u32>,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No node to ask is known that serves lightpush on this shard.
    #[error(transparent)]
    NoPeer(#[from] NoPeer),
    /// What the node said of it, or what became of the call.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// The asking side.
#[derive(Debug, Clone)]
pub struct Client {
    node: Handle,
    config: Config,
}

impl Client {
    /// Asks through `node`, of the network in `config`.
    #[must_use]
    pub const fn new(node: Handle, config: Config) -> Self {
        Self { node, config }
    }

    /// Has `message` published, on the shard of its content topic unless a pubsub topic is named. Cancelling leaves open whether it was.
    ///
    /// # Errors
    /// [`PushError`]: what the node said; 503 when none can be reached, 500 when it answers badly, 505 when the message went to nobody.
    pub async fn push(&self, topic: Option<PubsubTopic>, message: &WakuMessage) -> Result<Pushed, PushError> {
        let pubsub_topic = match topic {
            Some(topic) => topic,
            None => server::derived(&message.content_topic, &self.config)?,
        };
        let push = server::Push { pubsub_topic, data: message.encode() };
        let node = &self.node.shared;
        if node.lightpush.is_some() && node.nodes.lightpush.is_empty() {
            let published = publish(&self.node, self.node.peer_id(), push, self.config.proves).await;
            return Ok(Pushed { peers: Some(published.map_err(unheard)?) });
        }
        self.ask(&push).await
    }

    /// Has an encoded message published on `topic` by another node, also where this one serves lightpush itself: by the one that is named, or
    /// by a peer. Cancelling leaves open whether it was.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn hand_over(&self, topic: PubsubTopic, data: Bytes) -> Result<Pushed, PushError> {
        self.ask(&server::Push { pubsub_topic: topic, data }).await
    }

    async fn ask(&self, push: &server::Push) -> Result<Pushed, PushError> {
        let shard = push.pubsub_topic.as_str().parse::<Shard>().ok().map(|shard| shard.index);
        let id = request_id(&mut system_rng());
        let requests = requests(&id, push);
        let mut failure = self.node.no_peer().into();
        for target in self.node.candidates(&PROTOCOLS, shard).await.into_iter().take(TRIES) {
            match self.node.ask_one_of(target, &requests).await {
                Ok((Protocol::LightpushV3, answer)) => return Ok(read(&id, answer)?),
                Ok((_, answer)) => return Ok(read_legacy(&id, answer)?),
                Err(error) if error.is_dial_failure() => failure = unasked(&error).into(),
                Err(error) => return Err(unasked(&error).into()),
            }
        }
        Err(failure)
    }
}

/// The request in either version.
fn requests(id: &str, push: &server::Push) -> [(Protocol, Bytes); 2] {
    let (id, message) = (id.to_owned(), Some(push.data.clone()));
    let pubsub_topic = push.pubsub_topic.to_string();
    let legacy = legacy::Push { pubsub_topic: pubsub_topic.clone(), message: message.clone() };
    let legacy = legacy::Request { id: id.clone(), push: Some(legacy) }.encode();
    let current = wire::Request { id, kind: 0, pubsub_topic: Some(pubsub_topic), message }.encode();
    [(Protocol::LightpushV3, current), (Protocol::LightpushLegacy, legacy)]
}

fn unasked(error: &AskError) -> Failure {
    match error {
        AskError::Frame(_) => Failure::new(Status::Internal, error.to_string()),
        _ if error.is_dial_failure() => Failure::new(Status::Unavailable, format!("dial_failure: {error}")),
        AskError::Open(_) | AskError::Timeout | AskError::Stopped => {
            Failure::new(Status::Unavailable, error.to_string())
        }
    }
}

/// Of a node that has nobody to send it to.  Deployed: nwaku, whose interface has a number of its own for that.
fn unheard(failure: Failure) -> Failure {
    if failure == Failure::no_peers() { Failure { status: Status::NoPeers, ..failure } } else { failure }
}

fn bad_answer(why: impl std::fmt::Display) -> Failure {
    Failure::new(Status::Internal, format!("bad response: {why}"))
}

fn read(id: &str, answer: Bytes) -> Result<Pushed, Failure> {
    let wire::Response { id: told, status, text, peers } = wire::Response::decode(answer).map_err(bad_answer)?;
    // It was written before our request was read.
    if told != id && status != Some(Status::TooManyRequests) {
        return Err(bad_answer("of another request"));
    }
    match (status, peers) {
        (Some(Status::Success), Some(0)) => Err(unheard(Failure::no_peers())),
        (Some(Status::Success), peers) => Ok(Pushed { peers }),
        (None | Some(Status::Other(0)), _) => Err(bad_answer("it does not say how it ended")),
        (Some(status), _) => Err(Failure::new(status, text.unwrap_or_else(|| status.name().to_owned()))),
    }
}

fn read_legacy(id: &str, answer: Bytes) -> Result<Pushed, Failure> {
    let legacy::Response { id: told, is_success, info } = legacy::Response::decode(answer).map_err(bad_answer)?;
    let status = legacy_status(&info);
    if told != id && (is_success || status != Status::TooManyRequests) {
        return Err(bad_answer("of another request"));
    }
    if is_success { Ok(Pushed { peers: None }) } else { Err(Failure::new(status, info)) }
}

/// What the words of deployed nodes mean; what they do not say so is none of ours to blame.
fn legacy_status(info: &str) -> Status {
    let info = info.to_ascii_lowercase();
    let has = |text: &str| info.contains(text);
    match () {
        () if has("too_many_requests") => Status::TooManyRequests,
        () if has("not_published_to_any_peer") => Status::Unavailable,
        () if has("decode_rpc_failure") || has("empty_request_body_failure") => Status::BadRequest,
        () if has("message size exceeded") => Status::TooLarge,
        () if has("rln proof") || has("rln-v2 proof") => Status::OutOfProofs,
        () if has("validation") => Status::Invalid,
        () => Status::Internal,
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn answer(id: &str, status: u32, peers: Option<u32>) -> Bytes {
        wire::Response { id: id.into(), status: Some(Status::of(status)), text: Some("why".into()), peers }.encode()
    }

    fn code(outcome: Result<Pushed, Failure>) -> u32 {
        outcome.map_or_else(|failure| failure.status.code(), |_| 200)
    }

    #[test]
    fn success_is_200_that_went_to_somebody() {
        assert_eq!(read("a", answer("a", 200, Some(3))), Ok(Pushed { peers: Some(3) }));
        assert_eq!(read("a", answer("a", 200, None)), Ok(Pushed { peers: None }));
        assert_eq!(code(read("a", answer("a", 200, Some(0)))), 505, "nobody has it");
        for other in [400, 413, 420, 421, 429, 500, 503, 504, 505, 599] {
            let failure = read("a", answer("a", other, Some(3))).unwrap_err();
            assert_eq!((failure.status.code(), failure.text.as_str()), (other, "why"));
        }
        assert_eq!(code(read("a", answer("a", 0, None))), 500);
        let silent = wire::Response { id: "a".into(), status: None, text: None, peers: None };
        assert_eq!(code(read("a", silent.encode())), 500, "no status is no success");
        assert_eq!(code(read("a", Bytes::from_static(&[0xff]))), 500);
    }

    #[test]
    fn an_answer_has_the_id_of_its_request_but_for_429() {
        assert_eq!(code(read("a", answer("b", 200, Some(3)))), 500);
        assert_eq!(code(read("a", answer("N/A", 429, None))), 429);
        let legacy = |id: &str, is_success, info: &str| {
            read_legacy("a", legacy::Response { id: id.into(), is_success, info: info.into() }.encode())
        };
        assert_eq!(code(legacy("b", true, "OK")), 500);
        assert_eq!(code(legacy("N/A", false, "TOO_MANY_REQUESTS")), 429);
        assert_eq!(code(legacy("N/A", true, "TOO_MANY_REQUESTS")), 500, "contradicts itself");
        assert_eq!(legacy("a", true, ""), Ok(Pushed { peers: None }));
    }

    #[test]
    fn the_words_of_deployed_nodes_have_numbers() {
        for (info, status) in [
            ("not_published_to_any_peer", 503),
            ("decode_rpc_failure: x", 400),
            ("empty_request_body_failure", 400),
            ("Message size exceeded maximum of 153600 bytes", 413),
            ("RLN validation failed", 420),
            ("could not get new message id to generate an rln proof: x", 504),
            ("could not generate rln-v2 proof: x", 504),
            ("no waku relay found", 500),
        ] {
            assert_eq!(legacy_status(info).code(), status, "{info}");
        }
    }

    #[test]
    fn requests_are_those_that_a_server_reads() {
        let config =
            Config { cluster: crate::ClusterId(1), shards: 8, codes: crate::rules::Position::Text, proves: true };
        let data = wire::tests::hex(wire::tests::MESSAGE);
        let push = server::Push { pubsub_topic: "/waku/2/rs/1/1".parse().unwrap(), data };
        let id = request_id(&mut StdRng::seed_from_u64(1));
        assert_eq!(id.len(), 20);
        let [(_, current), (_, legacy)] = requests(&id, &push);
        let expected = server::Asked { id, push: Ok(push) };
        assert_eq!(server::asked(current, &config), expected);
        assert_eq!(server::asked_legacy(legacy, &config), expected);
    }
}
