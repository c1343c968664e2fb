//! The service node: what it answers to filter v2, what it makes of requests of the first filter, and whom it pushes a message to. Pure.
//!
//! Only messages that relay accepted come here. Each is pushed once within [`super::recent::MEMORY`], known by its hash, however often and in whatever
//! encodings relay brings it. Texts of refusals are nwaku's, whose clients match them.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bytes::Bytes;
use libp2p::PeerId;

use super::{
    legacy,
    recent::Recent,
    subscriptions::{Form, Full, Limits, NotSubscribed, Subscriptions},
    wire::{Operation, Push, Request, Response, Status},
};
use crate::{hash::MessageHash, topic::PubsubTopic};

/// Most content topics in a request of either protocol.  Deployed: nwaku, go-waku.
pub const MAX_CONTENT_TOPICS: usize = 100;

/// Longest content topic that can be subscribed to, in bytes. Deployed nodes have no limit; those in use have a tenth of it.
pub const MAX_CONTENT_TOPIC_BYTES: usize = 1_024;

/// Longest id of a request of the first filter, in bytes; it comes back with each push. go-waku's has 64.
pub const MAX_ID_BYTES: usize = 256;

/// Why a request of the first filter is not served. Its protocol has no word for that: the stream is closed, and the operator has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No push could name it.
    #[error("the request has no id")]
    NoId,
    /// Over [`MAX_ID_BYTES`].
    #[error("the request's id has more than {MAX_ID_BYTES} bytes")]
    LongId,
    /// Over [`MAX_CONTENT_TOPICS`].
    #[error("exceeds maximum content topics: {MAX_CONTENT_TOPICS}")]
    ManyTopics,
    /// A content topic over [`MAX_CONTENT_TOPIC_BYTES`], or a pubsub topic that can't be one.
    #[error("a topic that is too long")]
    LongTopic,
    /// No room.
    #[error(transparent)]
    Full(#[from] Full),
}

impl Refusal {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoId => "no_id",
            Self::LongId => "long_id",
            Self::ManyTopics => "many_topics",
            Self::LongTopic => "long_topic",
            Self::Full(Full::Peers) => "node_full",
            Self::Full(Full::Criteria) => "peer_full",
        }
    }
}

/// What became of a request of the first filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// More is pushed.
    Subscribed,
    /// Less.
    Unsubscribed,
    /// It has no content topic, so that no message matches it; nothing is kept of it.
    MatchesNothing,
}

/// A frame for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Who gets it.
    pub peer: PeerId,
    /// On the stream of which protocol.
    pub form: Form,
    /// Its content; filter v2's is the same memory for all.
    pub frame: Bytes,
    /// When relay accepted the message.
    pub accepted_at: Instant,
}

/// The serving side.
#[derive(Debug)]
pub struct Server {
    subscriptions: Subscriptions,
    recent: Recent,
}

impl Server {
    /// A service node without subscribers.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { subscriptions: Subscriptions::new(limits), recent: Recent::default() }
    }

    /// Who is subscribed; what became of connections and pushes is told here.
    pub fn subscriptions(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }

    /// Answers a request of filter v2.
    pub fn answer(&mut self, now: Instant, peer: PeerId, request: Request) -> Response {
        match self.serve(now, peer, &request) {
            Ok(()) => Response::ok(request.id),
            Err((status, cause)) => Response::refusal(request.id, status, &cause),
        }
    }

    fn serve(&mut self, now: Instant, peer: PeerId, request: &Request) -> Result<(), (Status, String)> {
        if request.id.is_empty() {
            return Err(bad_request("request_id must be specified"));
        }
        let subscriptions = &mut self.subscriptions;
        match request.operation {
            Operation::Ping => subscriptions.ping(now, &peer).map_err(not_found),
            Operation::UnsubscribeAll => subscriptions.unsubscribe_all(now, &peer).map_err(not_found),
            Operation::Subscribe => {
                let (topic, content_topics) = criteria(request)?;
                let done = subscriptions.subscribe(now, peer, &Form::Current, Some(&topic), content_topics);
                done.map_err(|full| no_room(full, subscriptions.limits()))
            }
            Operation::Unsubscribe => {
                let (topic, content_topics) = criteria(request)?;
                subscriptions.unsubscribe(now, &peer, &topic, content_topics).map_err(not_found)
            }
            Operation::Unknown(_) => Err(bad_request("unknown filter subscribe type")),
        }
    }

    /// Serves a request of the first filter, which is not answered.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn serve_legacy(
        &mut self,
        now: Instant,
        peer: PeerId,
        id: &str,
        request: &legacy::Request,
    ) -> Result<Served, Refusal> {
        let topic = request.pubsub_topic.as_deref().map(str::parse::<PubsubTopic>).transpose();
        let topic = topic.map_err(|_| Refusal::LongTopic)?;
        let content_topics = &request.content_topics;
        if content_topics.len() > MAX_CONTENT_TOPICS {
            return Err(Refusal::ManyTopics);
        }
        if content_topics.iter().any(|topic| topic.len() > MAX_CONTENT_TOPIC_BYTES) {
            return Err(Refusal::LongTopic);
        }
        if !request.subscribe {
            self.subscriptions.unsubscribe_legacy(&peer, topic.as_ref(), content_topics);
            return Ok(Served::Unsubscribed);
        }
        match id.len() {
            0 => return Err(Refusal::NoId),
            n if n > MAX_ID_BYTES => return Err(Refusal::LongId),
            _ => {}
        }
        if content_topics.is_empty() {
            return Ok(Served::MatchesNothing);
        }
        let form = Form::Legacy(id.into());
        self.subscriptions.subscribe(now, peer, &form, topic.as_ref(), content_topics)?;
        Ok(Served::Subscribed)
    }

    /// Whom to push a message to that relay accepted; nobody if that was done lately. `data` is the encoded message.
    pub fn accepted(
        &mut self,
        now: Instant,
        topic: &PubsubTopic,
        content_topic: &str,
        hash: MessageHash,
        data: &Bytes,
    ) -> Vec<Delivery> {
        let takers = self.subscriptions.takers(now, topic, content_topic);
        if takers.is_empty() || !self.recent.is_new(now, hash) {
            return Vec::new();
        }
        let mut frames = Frames { topic, data, made: HashMap::new() };
        let delivery = |(peer, form)| Delivery { peer, frame: frames.of(&form), form, accepted_at: now };
        takers.into_iter().map(delivery).collect()
    }
}

/// The frames of one message, each made once.
struct Frames<'a> {
    topic: &'a PubsubTopic,
    data: &'a Bytes,
    /// By the id of the first filter; `None` is filter v2's.
    made: HashMap<Option<Arc<str>>, Bytes>,
}

impl Frames<'_> {
    fn of(&mut self, form: &Form) -> Bytes {
        let id = match form {
            Form::Current => None,
            Form::Legacy(id) => Some(Arc::clone(id)),
        };
        let make = || match form {
            Form::Current => Push { message: self.data.clone(), pubsub_topic: Some(self.topic.to_string()) }.encode(),
            Form::Legacy(id) => {
                let push = Some(vec![self.data.clone()]);
                legacy::Rpc { id: id.to_string(), request: None, push }.encode()
            }
        };
        self.made.entry(id).or_insert_with(make).clone()
    }
}

/// Pubsub topic and content topics of a request that must have them.
fn criteria(request: &Request) -> Result<(PubsubTopic, &[String]), (Status, String)> {
    let topic = request.pubsub_topic.as_deref().filter(|topic| !topic.is_empty());
    let (Some(topic), [_, ..]) = (topic, request.content_topics.as_slice()) else {
        return Err(bad_request("pubsubTopic and contentTopics must be specified"));
    };
    if request.content_topics.len() > MAX_CONTENT_TOPICS {
        return Err(bad_request(&format!("exceeds maximum content topics: {MAX_CONTENT_TOPICS}")));
    }
    if let Some(long) = request.content_topics.iter().find(|topic| topic.len() > MAX_CONTENT_TOPIC_BYTES) {
        let cause = format!("a content topic of {} bytes; {MAX_CONTENT_TOPIC_BYTES} are allowed", long.len());
        return Err(bad_request(&cause));
    }
    let topic = topic.parse().map_err(|error| bad_request(&format!("{error}")))?;
    Ok((topic, &request.content_topics))
}

fn bad_request(cause: &str) -> (Status, String) {
    (Status::BadRequest, cause.to_owned())
}

fn not_found(cause: NotSubscribed) -> (Status, String) {
    (Status::NotFound, cause.to_string())
}

/// nwaku tells the number of peers, and not that of criteria.
fn no_room(full: Full, limits: &Limits) -> (Status, String) {
    let cause = match full {
        Full::Peers => format!("{full}: {}", limits.max_peers),
        Full::Criteria => full.to_string(),
    };
    (Status::Unavailable, cause)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        hash::message_hash,
        message::{Meta, WakuMessage},
    };

    const TOPIC: &str = "/waku/2/rs/1/1";
    const CONTENT: &str = "/waku/2/default-content/proto";

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn request(operation: Operation, topic: Option<&str>, content_topics: Vec<String>) -> Request {
        Request { id: "1".to_owned(), operation, pubsub_topic: topic.map(str::to_owned), content_topics }
    }

    fn legacy_request(subscribe: bool, topic: Option<&str>, of: &[&str]) -> legacy::Request {
        legacy::Request { subscribe, pubsub_topic: topic.map(str::to_owned), content_topics: texts(of) }
    }

    struct Scene {
        server: Server,
        now: Instant,
        peer: PeerId,
    }

    impl Scene {
        fn new(limits: Limits) -> Self {
            let (now, peer) = (devp2p::clock::now().instant, PeerId::random());
            let mut server = Server::new(limits);
            server.subscriptions().connected(now, peer);
            Self { server, now, peer }
        }

        fn asks(&mut self, request: Request) -> (u32, String) {
            let response = self.server.answer(self.now, self.peer, request);
            assert_eq!(response.id, "1");
            (response.status.code(), response.description.unwrap())
        }

        fn subscribe(&mut self, of: &[&str]) -> (u32, String) {
            self.asks(request(Operation::Subscribe, Some(TOPIC), texts(of)))
        }

        fn accepted(&mut self, message: &WakuMessage) -> Vec<Delivery> {
            let topic: PubsubTopic = TOPIC.parse().unwrap();
            let hash = message_hash(&topic, message);
            let content_topic = message.content_topic.as_str();
            self.server.accepted(self.now, &topic, content_topic, hash, &message.encode())
        }
    }

    fn message(payload: &str) -> WakuMessage {
        WakuMessage {
            payload: payload.to_owned().into(),
            content_topic: CONTENT.into(),
            version: 0,
            timestamp: Some(1_700_000_000_123_456_789),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn answer(code: u32, text: &str) -> (u32, String) {
        (code, text.to_owned())
    }

    #[test]
    fn h77_every_refusal_has_its_code_and_text() {
        let mut scene = Scene::new(Limits { max_peers: 1, max_criteria: 150, ..Limits::default() });
        let none = answer(404, "NOT_FOUND: peer has no subscriptions");
        let ask = |operation| request(operation, Some(TOPIC), texts(&[CONTENT]));
        for operation in [Operation::Ping, Operation::Unsubscribe, Operation::UnsubscribeAll] {
            assert_eq!(scene.asks(ask(operation)), none);
        }
        let unspecified = answer(400, "BAD_REQUEST: pubsubTopic and contentTopics must be specified");
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        let too_many = answer(400, "BAD_REQUEST: exceeds maximum content topics: 100");
        for operation in [Operation::Subscribe, Operation::Unsubscribe] {
            for topic in [None, Some("")] {
                assert_eq!(scene.asks(request(operation, topic, texts(&[CONTENT]))), unspecified);
            }
            assert_eq!(scene.asks(request(operation, Some(TOPIC), vec![])), unspecified);
            assert_eq!(scene.asks(request(operation, Some(TOPIC), many.clone())), too_many);
        }
        assert_eq!(scene.asks(request(Operation::Subscribe, Some(TOPIC), many[1..].to_vec())), answer(200, "OK"));
        let full = answer(503, "SERVICE_UNAVAILABLE: peer has reached maximum number of filter criteria");
        let others: Vec<String> = (200..251).map(|n| n.to_string()).collect();
        assert_eq!(scene.asks(request(Operation::Subscribe, Some(TOPIC), others)), full);
        assert_eq!(scene.asks(ask(Operation::Ping)), answer(200, "OK"));
        assert_eq!(scene.asks(ask(Operation::Unknown(4))).0, 400);
        let full = answer(503, "SERVICE_UNAVAILABLE: node has reached maximum number of subscriptions: 1");
        scene.peer = PeerId::random();
        assert_eq!(scene.subscribe(&["x"]), full);
    }

    #[test]
    fn h74_topics_that_are_too_long_are_refused() {
        let mut scene = Scene::new(Limits::default());
        let long = "x".repeat(MAX_CONTENT_TOPIC_BYTES + 1);
        assert_eq!(scene.subscribe(&[&long]).0, 400);
        assert_eq!(scene.subscribe(&[&long[1..]]).0, 200);
        let pubsub = "x".repeat(257);
        assert_eq!(scene.asks(request(Operation::Subscribe, Some(&pubsub), texts(&["x"]))).0, 400);
    }

    #[test]
    fn a_request_without_an_id_is_refused() {
        let mut scene = Scene::new(Limits::default());
        let nameless = Request { id: String::new(), ..request(Operation::Subscribe, Some(TOPIC), texts(&["x"])) };
        let response = scene.server.answer(scene.now, scene.peer, nameless);
        assert_eq!((response.id.as_str(), response.status), ("", Status::BadRequest));
        assert!(!scene.server.subscriptions().knows(&scene.peer));
    }

    #[test]
    fn a_message_is_pushed_with_its_topic_once_in_two_minutes() {
        let mut scene = Scene::new(Limits::default());
        assert_eq!(scene.accepted(&message("a")), []);
        assert_eq!(scene.subscribe(&[CONTENT]), answer(200, "OK"));
        let pushed = scene.accepted(&message("a"));
        let push = Push { message: message("a").encode(), pubsub_topic: Some(TOPIC.to_owned()) };
        assert_eq!(
            pushed,
            [Delivery { peer: scene.peer, form: Form::Current, frame: push.encode(), accepted_at: scene.now }]
        );
        let dressed = WakuMessage { rate_limit_proof: Some("p".into()), ..message("a") };
        assert_eq!(scene.accepted(&dressed), [], "the same hash");
        assert_eq!(scene.accepted(&message("b")).len(), 1);
        scene.now += Duration::from_secs(120);
        assert_eq!(scene.accepted(&message("a")).len(), 1);
    }

    #[test]
    fn filter_v2_has_one_frame_for_all_and_the_first_filter_one_for_each_id() {
        let mut scene = Scene::new(Limits::default());
        scene.subscribe(&[CONTENT]);
        for id in ["sub-1", "sub-2"] {
            let request = legacy_request(true, Some(TOPIC), &[CONTENT]);
            assert_eq!(scene.server.serve_legacy(scene.now, scene.peer, id, &request), Ok(Served::Subscribed));
        }
        let first = scene.peer;
        scene.peer = PeerId::random();
        scene.server.subscriptions().connected(scene.now, scene.peer);
        scene.subscribe(&[CONTENT]);
        let pushed = scene.accepted(&message("a"));
        let of = |peer| pushed.iter().filter(|delivery| delivery.peer == peer).collect::<Vec<_>>();
        let [own, other] = [of(first), of(scene.peer)];
        assert_eq!((own.len(), other.len()), (3, 1));
        assert_eq!(own[0].frame.as_ptr(), other[0].frame.as_ptr(), "made once");
        for (delivery, id) in own[1..].iter().zip(["sub-1", "sub-2"]) {
            let rpc = legacy::Rpc::decode(delivery.frame.clone()).unwrap();
            assert_eq!((rpc.id.as_str(), rpc.push), (id, Some(vec![message("a").encode()])));
        }
    }

    #[test]
    fn the_first_filter_refuses_in_silence_and_for_a_reason() {
        let mut scene = Scene::new(Limits { max_peers: 1, ..Limits::default() });
        let long_id = "i".repeat(MAX_ID_BYTES + 1);
        let long = "x".repeat(MAX_CONTENT_TOPIC_BYTES + 1);
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut serve = |id: &str, request| scene.server.serve_legacy(scene.now, scene.peer, id, &request);
        let on = |of: &[&str]| legacy_request(true, Some(TOPIC), of);
        assert_eq!(serve("", on(&["x"])), Err(Refusal::NoId));
        assert_eq!(serve(&long_id, on(&["x"])), Err(Refusal::LongId));
        assert_eq!(serve("1", on(&many)), Err(Refusal::ManyTopics));
        assert_eq!(serve("1", on(&[&long])), Err(Refusal::LongTopic));
        assert_eq!(serve("1", legacy_request(true, Some(&long), &["x"])), Err(Refusal::LongTopic));
        for topic in [None, Some(TOPIC)] {
            assert_eq!(serve("1", legacy_request(true, topic, &[])), Ok(Served::MatchesNothing), "a bare topic");
        }
        assert_eq!(serve("2", legacy_request(false, None, &["x"])), Ok(Served::Unsubscribed), "of what never was");
        assert!(!scene.server.subscriptions().knows(&scene.peer));
        assert_eq!(scene.server.serve_legacy(scene.now, scene.peer, "1", &on(&["x"])), Ok(Served::Subscribed));
        let other = PeerId::random();
        let full = scene.server.serve_legacy(scene.now, other, "1", &on(&["x"]));
        assert_eq!(full, Err(Refusal::Full(Full::Peers)));
    }
}
