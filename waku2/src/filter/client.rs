//! What this node itself wants pushed, which service nodes do it, and what is taken from them. Pure.
//!
//! Each pubsub topic has one service node at a time. A node is pinged each [`PING_INTERVAL`]. One that does not answer, or whose connection
//! ends, is left, and everything it did is asked of another, or of itself when there is no other, after a second first and then ever more
//! seldom up to [`LONGEST_WAIT`]. One that has forgotten us is asked again at once. The first filter has no ping: there it is the connection
//! that counts.
//!
//! A push is taken from the node that was asked, for what it was asked, and each message once: see [`Unwanted`]. Limits: [`MAX_TOPICS`],
//! [`MAX_CONTENT_TOPICS`] for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::PeerId;

use super::{
    recent::Recent,
    server,
    wire::{Push, Response, Status},
};
use crate::{
    hash::{MessageHash, message_hash},
    message::WakuMessage,
    relay,
    topic::PubsubTopic,
};

/// How often a service node is asked whether it still serves us. Its lease may be a minute by the specification, and is five as deployed.
pub const PING_INTERVAL: Duration = Duration::from_secs(60);

/// Until a service node is sought again, the first time.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Most pubsub topics; as many as can be relayed.
pub const MAX_TOPICS: usize = relay::MAX_TOPICS;

/// Most content topics on each: what a deployed service node takes of one peer.
pub const MAX_CONTENT_TOPICS: usize = 1_000;

/// Most subscriptions that nodes have been asked for and have not answered.
pub const MAX_PENDING: usize = 256;

/// By which protocol a service node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Filter v2.
    Current,
    /// 2.0.0-beta1.
    Legacy,
}

/// A service node that serves us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Who.
    pub peer: PeerId,
    /// How.
    pub generation: Generation,
    /// What the first filter's pushes are to name; with filter v2 it means nothing.
    pub id: String,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", .status.name())]
pub struct FilterError {
    /// The service node's code, or one of our own: [`Status::BadResponse`], [`Status::DialFailure`].
    pub status: Status,
    /// The service node's words, or ours.
    pub cause: String,
}

impl FilterError {
    /// One of our own.
    #[must_use]
    pub fn new(status: Status, cause: impl Into<String>) -> Self {
        Self { status, cause: cause.into() }
    }

    /// Reads the response to the request of that id. A refusal for too many requests names none.
    ///
    /// # Errors
    /// When it is no such response, or one that tells of a failure.
    pub fn check(id: &str, response: &[u8]) -> Result<(), Self> {
        let response = Response::decode(response).map_err(|error| Self::new(Status::BadResponse, error.to_string()))?;
        if response.id != id && response.status != Status::TooManyRequests {
            return Err(Self::new(Status::BadResponse, "request_id_mismatch"));
        }
        let described = response.description.unwrap_or_else(|| "filter subscribe error".to_owned());
        if response.status == Status::Ok { Ok(()) } else { Err(Self::new(response.status, described)) }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Ping this node by filter v2, and tell [`Client::pinged`].
    Ping(PeerId),
    /// Find a node, subscribe there, and tell [`Client::renewed`].
    Renew {
        /// Where.
        topic: PubsubTopic,
        /// To what: each a request, as large as one may be.
        requests: Vec<Vec<String>>,
        /// Another than this one, if there is another.
        avoid: Option<PeerId>,
    },
}

/// Why a push is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unwanted {
    /// What was pushed is no message.
    #[error("no message in the push")]
    Malformed,
    /// The peer was not asked for anything, or not under this id.
    #[error("a push that was not asked for")]
    Stranger,
    /// It was asked for something else.
    #[error("a push of what was not asked for")]
    NoCriterion,
    /// It does not say where the message was published, and we have asked for its content topic on several topics.
    #[error("a push without a pubsub topic")]
    NoTopic,
    /// It was pushed before.
    #[error("a message that was pushed before")]
    Duplicate,
}

impl Unwanted {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Stranger => "stranger",
            Self::NoCriterion => "no_criterion",
            Self::NoTopic => "no_topic",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A message that was pushed to us, and taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it was published.
    pub topic: PubsubTopic,
    /// What it says.
    pub message: WakuMessage,
    /// Its hash.
    pub hash: MessageHash,
    /// Its bytes as they came.
    pub data: Bytes,
}

/// What is wanted on one pubsub topic.
#[derive(Debug)]
struct Interest {
    content_topics: BTreeSet<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// `asking` while a ping is under way.
    Served { node: Node, checked: Instant, asking: bool },
    /// `asking` while a node is sought.
    Lost { avoid: Option<PeerId>, wait: Duration, until: Instant, asking: bool },
}

impl State {
    fn node(&self) -> Option<&Node> {
        match self {
            Self::Served { node, .. } => Some(node),
            Self::Lost { .. } => None,
        }
    }

    const fn lost(now: Instant, avoid: Option<PeerId>) -> Self {
        Self::Lost { avoid, wait: FIRST_WAIT, until: now, asking: false }
    }
}

/// A subscription that a node was asked for and has not answered. It may push already.
#[derive(Debug)]
struct Pending {
    topic: PubsubTopic,
    content_topics: BTreeSet<String>,
    node: Node,
}

/// Everything that is wanted.
#[derive(Debug, Default)]
pub struct Client {
    interests: BTreeMap<PubsubTopic, Interest>,
    pending: Vec<Pending>,
    recent: Recent,
}

impl Client {
    /// Who serves a pubsub topic now.
    #[must_use]
    pub fn node(&self, topic: &PubsubTopic) -> Option<&Node> {
        self.interests.get(topic).and_then(|interest| interest.state.node())
    }

    /// What is wanted: pubsub topics with their content topics.
    pub fn wanted(&self) -> impl Iterator<Item = (&PubsubTopic, &BTreeSet<String>)> {
        self.interests.iter().map(|(topic, interest)| (topic, &interest.content_topics))
    }

    /// Every node that serves us, with the topics that it does.
    #[must_use]
    pub fn nodes(&self) -> Vec<(PubsubTopic, Node)> {
        let served =
            |(topic, interest): (&PubsubTopic, &Interest)| Some((topic.clone(), interest.state.node()?.clone()));
        self.interests.iter().filter_map(served).collect()
    }

    /// Is there room for these?
    ///
    /// # Errors
    /// When there would be more than [`MAX_TOPICS`] or [`MAX_CONTENT_TOPICS`], or [`MAX_PENDING`] are under way.
    pub fn room(&self, topic: &PubsubTopic, content_topics: &[String]) -> Result<(), FilterError> {
        let full = |what| Err(FilterError::new(Status::Unavailable, what));
        if self.pending.len() >= MAX_PENDING {
            return full("this node waits for as many subscriptions as it may");
        }
        match self.interests.get(topic) {
            None if self.interests.len() >= MAX_TOPICS => full("this node asks for as many pubsub topics as it may"),
            interest => {
                let had = interest.map(|interest| &interest.content_topics);
                let more = content_topics.iter().filter(|one| had.is_none_or(|had| !had.contains(*one))).count();
                let sum = had.map_or(0, BTreeSet::len) + more;
                if sum > MAX_CONTENT_TOPICS {
                    full("this node asks for as many content topics as it may")
                } else {
                    Ok(())
                }
            }
        }
    }

    /// A node is about to be asked for a subscription: from now on it may push. [`Self::answered`] ends that.
    pub fn asking(&mut self, topic: &PubsubTopic, content_topics: &[String], node: &Node) {
        if self.pending.len() < MAX_PENDING {
            let content_topics = content_topics.iter().cloned().collect();
            self.pending.push(Pending { topic: topic.clone(), content_topics, node: node.clone() });
        }
    }

    /// A node that was asked has answered, or never will.
    pub fn answered(&mut self, topic: &PubsubTopic, node: &Node) {
        if let Some(place) = self.pending.iter().position(|one| one.topic == *topic && one.node == *node) {
            self.pending.swap_remove(place);
        }
    }

    /// A node has taken a subscription that was asked for. What was wanted on the topic before and is served by nobody, or by
    /// another, is asked for next.
    pub fn subscribed(&mut self, now: Instant, topic: &PubsubTopic, content_topics: &[String], node: Node) {
        let fresh = Interest { content_topics: BTreeSet::new(), state: State::lost(now, None) };
        let interest = self.interests.entry(topic.clone()).or_insert(fresh);
        let alone = interest.content_topics.iter().all(|had| content_topics.contains(had));
        interest.content_topics.extend(content_topics.iter().cloned());
        if alone || interest.state.node() == Some(&node) {
            interest.state = State::Served { node, checked: now, asking: false };
        } else {
            interest.state = State::lost(now, None);
        }
    }

    /// Something is not wanted any more.
    pub fn unsubscribed(&mut self, topic: &PubsubTopic, content_topics: &[String]) {
        let Some(interest) = self.interests.get_mut(topic) else { return };
        interest.content_topics.retain(|had| !content_topics.contains(had));
        if interest.content_topics.is_empty() {
            self.interests.remove(topic);
        }
    }

    /// Nothing is wanted any more.
    pub fn unsubscribed_all(&mut self) {
        self.interests.clear();
    }

    /// The last connection with a peer is gone.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        self.leave(now, peer, None);
    }

    fn leave(&mut self, now: Instant, peer: &PeerId, avoid: Option<PeerId>) {
        for interest in self.interests.values_mut() {
            if interest.state.node().is_some_and(|node| node.peer == *peer) {
                interest.state = State::lost(now, avoid);
            }
        }
    }

    /// What is to be done now; it is not told again until its outcome is.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        for (topic, interest) in &mut self.interests {
            match &mut interest.state {
                State::Served { node, checked, asking } => {
                    let late = now.saturating_duration_since(*checked) >= PING_INTERVAL;
                    if node.generation == Generation::Current && late && !*asking {
                        *asking = true;
                        due.push(Due::Ping(node.peer));
                    }
                }
                State::Lost { avoid, until, asking, .. } if *until <= now && !*asking => {
                    *asking = true;
                    let content_topics: Vec<&String> = interest.content_topics.iter().collect();
                    let requests = content_topics.chunks(server::MAX_CONTENT_TOPICS);
                    let requests = requests.map(|some| some.iter().map(|&one| one.clone()).collect()).collect();
                    due.push(Due::Renew { topic: topic.clone(), requests, avoid: *avoid });
                }
                State::Lost { .. } => {}
            }
        }
        // One ping does for all topics of a node.
        let mut pinged = BTreeSet::new();
        due.retain(|one| if let Due::Ping(peer) = one { pinged.insert(*peer) } else { true });
        due
    }

    /// A node was pinged. One that has forgotten us is asked again; one that is too busy still has us; any other is left.
    pub fn pinged(&mut self, now: Instant, peer: &PeerId, outcome: &Result<(), FilterError>) {
        match outcome.as_ref().map_err(|error| error.status) {
            Ok(()) | Err(Status::TooManyRequests) => self.checked(now, peer),
            Err(Status::NotFound) => self.leave(now, peer, None),
            Err(_) => self.leave(now, peer, Some(*peer)),
        }
    }

    fn checked(&mut self, now: Instant, peer: &PeerId) {
        for interest in self.interests.values_mut() {
            if let State::Served { node, checked, asking } = &mut interest.state
                && node.peer == *peer
            {
                (*checked, *asking) = (now, false);
            }
        }
    }

    /// A topic has a node again, which took all that is wanted there, or none: then `tried` is the one that failed, if there was any.
    pub fn renewed(&mut self, now: Instant, topic: &PubsubTopic, outcome: Result<Node, Option<PeerId>>) {
        let Some(interest) = self.interests.get_mut(topic) else { return };
        let State::Lost { wait, .. } = interest.state else { return };
        interest.state = match outcome {
            Ok(node) => State::Served { node, checked: now, asking: false },
            Err(tried) => {
                let next = (wait * 2).min(LONGEST_WAIT);
                State::Lost { avoid: tried, wait: next, until: now + wait, asking: false }
            }
        };
    }

    /// Judges what was pushed by filter v2.
    ///
    /// # Errors
    /// See [`Unwanted`].
    pub fn pushed(&mut self, now: Instant, from: &PeerId, push: Push) -> Result<Pushed, Unwanted> {
        let by = |node: &Node| node.peer == *from && node.generation == Generation::Current;
        if self.asked(by).next().is_none() {
            return Err(Unwanted::Stranger);
        }
        let message = WakuMessage::decode_shared(push.message.clone()).map_err(|_| Unwanted::Malformed)?;
        let wanted = self.asked(by).filter(|(_, of)| of.contains(message.content_topic.as_str()));
        let mut topics: BTreeSet<&PubsubTopic> = wanted.map(|(topic, _)| topic).collect();
        if let Some(told) = push.pubsub_topic.filter(|topic| !topic.is_empty()) {
            topics.retain(|topic| topic.as_str() == told);
        }
        let topic = topics.pop_first().ok_or(Unwanted::NoCriterion)?.clone();
        if !topics.is_empty() {
            return Err(Unwanted::NoTopic);
        }
        self.take(now, topic, message, push.message)
    }

    /// Judges a message that was pushed by the first filter under an id. Where it was published is what we asked for under that id: the
    /// push does not say.
    ///
    /// # Errors
    /// See [`Unwanted`].
    pub fn pushed_legacy(&mut self, now: Instant, from: &PeerId, id: &str, data: Bytes) -> Result<Pushed, Unwanted> {
        let by = |node: &Node| node.peer == *from && node.generation == Generation::Legacy && node.id == id;
        if self.asked(by).next().is_none() {
            return Err(Unwanted::Stranger);
        }
        let message = WakuMessage::decode_shared(data.clone()).map_err(|_| Unwanted::Malformed)?;
        let wanted = self.asked(by).find(|(_, of)| of.contains(message.content_topic.as_str()));
        let topic = wanted.map(|(topic, _)| topic.clone()).ok_or(Unwanted::NoCriterion)?;
        self.take(now, topic, message, data)
    }

    /// What was asked of a node, answered or not.
    fn asked(&self, by: impl Fn(&Node) -> bool) -> impl Iterator<Item = (&PubsubTopic, &BTreeSet<String>)> {
        let served = self
            .interests
            .iter()
            .filter_map(|(topic, interest)| Some((topic, &interest.content_topics, interest.state.node()?)));
        let pending = self.pending.iter().map(|one| (&one.topic, &one.content_topics, &one.node));
        served.chain(pending).filter(move |(.., node)| by(node)).map(|(topic, of, _)| (topic, of))
    }

    fn take(
        &mut self,
        now: Instant,
        topic: PubsubTopic,
        message: WakuMessage,
        data: Bytes,
    ) -> Result<Pushed, Unwanted> {
        let hash = message_hash(&topic, &message);
        if !self.recent.is_new(now, hash) {
            return Err(Unwanted::Duplicate);
        }
        Ok(Pushed { topic, message, hash, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Meta;

    fn topic(name: &str) -> PubsubTopic {
        name.parse().unwrap()
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn message(content_topic: &str, payload: &str) -> Bytes {
        let message = WakuMessage {
            payload: payload.to_owned().into(),
            content_topic: content_topic.into(),
            version: 0,
            timestamp: Some(1),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        message.encode()
    }

    struct Scene {
        client: Client,
        now: Instant,
        node: Node,
    }

    impl Scene {
        fn new(generation: Generation) -> Self {
            let node = Node { peer: PeerId::random(), generation, id: "sub-1".to_owned() };
            Self { client: Client::default(), now: devp2p::clock::now().instant, node }
        }

        fn wait(&mut self, secs: u64) {
            self.now += Duration::from_secs(secs);
        }

        fn subscribed(&mut self, on: &str, of: &[&str]) {
            self.client.subscribed(self.now, &topic(on), &texts(of), self.node.clone());
        }

        fn due(&mut self) -> Vec<Due> {
            self.client.due(self.now)
        }

        fn pushed(&mut self, from: PeerId, on: Option<&str>, message: Bytes) -> Result<String, Unwanted> {
            let push = Push { message, pubsub_topic: on.map(str::to_owned) };
            self.client.pushed(self.now, &from, push).map(|pushed| pushed.topic.to_string())
        }

        fn pushed_legacy(&mut self, from: PeerId, id: &str, message: Bytes) -> Result<String, Unwanted> {
            self.client.pushed_legacy(self.now, &from, id, message).map(|pushed| pushed.topic.to_string())
        }

        fn renew(on: &str, of: &[&str], avoid: Option<PeerId>) -> Due {
            Due::Renew { topic: topic(on), requests: vec![texts(of)], avoid }
        }
    }

    #[test]
    fn only_what_was_asked_for_is_taken_and_once() {
        let mut scene = Scene::new(Generation::Current);
        scene.subscribed("/a", &["x"]);
        scene.subscribed("/b", &["x", "y"]);
        let peer = scene.node.peer;
        assert_eq!(scene.pushed(peer, Some("/a"), message("x", "1")), Ok("/a".to_owned()));
        assert_eq!(scene.pushed(peer, Some("/a"), message("x", "1")), Err(Unwanted::Duplicate));
        assert_eq!(scene.pushed(peer, Some("/b"), message("x", "1")), Ok("/b".to_owned()), "another hash");
        assert_eq!(scene.pushed(peer, Some("/a"), message("y", "1")), Err(Unwanted::NoCriterion));
        assert_eq!(scene.pushed(peer, Some("/c"), message("x", "1")), Err(Unwanted::NoCriterion));
        assert_eq!(scene.pushed(PeerId::random(), Some("/a"), message("x", "2")), Err(Unwanted::Stranger));
        assert_eq!(scene.pushed(peer, Some("/a"), Bytes::from_static(b"\xff")), Err(Unwanted::Malformed));
        assert_eq!(scene.pushed(peer, None, message("y", "3")), Ok("/b".to_owned()), "nowhere else");
        assert_eq!(scene.pushed(peer, None, message("x", "3")), Err(Unwanted::NoTopic));
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("x", "4")), Err(Unwanted::Stranger));
        scene.client.unsubscribed(&topic("/a"), &texts(&["x"]));
        assert_eq!(scene.pushed(peer, Some("/a"), message("x", "5")), Err(Unwanted::NoCriterion));
        scene.client.unsubscribed_all();
        assert_eq!(scene.pushed(peer, Some("/b"), message("x", "5")), Err(Unwanted::Stranger));
    }

    #[test]
    fn the_first_filter_is_known_by_its_id() {
        let mut scene = Scene::new(Generation::Legacy);
        scene.subscribed("/a", &["x"]);
        let peer = scene.node.peer;
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("x", "1")), Ok("/a".to_owned()));
        assert_eq!(scene.pushed_legacy(peer, "sub-2", message("x", "2")), Err(Unwanted::Stranger));
        assert_eq!(scene.pushed_legacy(PeerId::random(), "sub-1", message("x", "2")), Err(Unwanted::Stranger));
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("y", "2")), Err(Unwanted::NoCriterion));
        assert_eq!(scene.pushed_legacy(peer, "sub-1", Bytes::new()), Err(Unwanted::Malformed));
        assert_eq!(scene.pushed(peer, Some("/a"), message("x", "2")), Err(Unwanted::Stranger));
        scene.wait(600);
        assert_eq!(scene.due(), [], "it has no ping");
    }

    #[test]
    fn a_node_is_pinged_each_minute_once_for_all_topics() {
        let mut scene = Scene::new(Generation::Current);
        scene.subscribed("/a", &["x"]);
        scene.subscribed("/b", &["x"]);
        let peer = scene.node.peer;
        scene.wait(59);
        assert_eq!(scene.due(), []);
        scene.wait(1);
        assert_eq!(scene.due(), [Due::Ping(peer)]);
        assert_eq!(scene.due(), [], "under way");
        scene.client.pinged(scene.now, &peer, &Ok(()));
        scene.wait(60);
        assert_eq!(scene.due(), [Due::Ping(peer)]);
        let busy = Err(FilterError::new(Status::TooManyRequests, ""));
        scene.client.pinged(scene.now, &peer, &busy);
        assert_eq!(scene.due(), [], "it is there");
    }

    #[test]
    fn a_node_that_has_forgotten_us_is_asked_again_and_a_silent_one_is_left() {
        let mut scene = Scene::new(Generation::Current);
        let peer = scene.node.peer;
        for (status, avoid) in [(Status::NotFound, None), (Status::BadResponse, Some(peer))] {
            scene.subscribed("/a", &["x", "y"]);
            scene.wait(60);
            assert_eq!(scene.due(), [Due::Ping(peer)]);
            scene.client.pinged(scene.now, &peer, &Err(FilterError::new(status, "")));
            assert_eq!(scene.client.node(&topic("/a")), None);
            assert_eq!(scene.due(), [Scene::renew("/a", &["x", "y"], avoid)]);
            scene.client.renewed(scene.now, &topic("/a"), Ok(scene.node.clone()));
            assert_eq!(scene.client.node(&topic("/a")), Some(&scene.node));
        }
    }

    #[test]
    fn f11_a_node_that_is_gone_is_sought_ever_more_seldom() {
        let mut scene = Scene::new(Generation::Legacy);
        scene.subscribed("/a", &["x"]);
        let peer = scene.node.peer;
        scene.client.disconnected(scene.now, &PeerId::random());
        assert_eq!(scene.due(), []);
        scene.client.disconnected(scene.now, &peer);
        assert_eq!(scene.due(), [Scene::renew("/a", &["x"], None)], "at once");
        assert_eq!(scene.due(), [], "under way");
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            scene.client.renewed(scene.now, &topic("/a"), Err(Some(peer)));
            scene.wait(wait - 1);
            assert_eq!(scene.due(), [], "{wait}");
            scene.wait(1);
            assert_eq!(scene.due(), [Scene::renew("/a", &["x"], Some(peer))], "{wait}");
        }
        let other = Node { peer: PeerId::random(), ..scene.node.clone() };
        scene.client.renewed(scene.now, &topic("/a"), Ok(other.clone()));
        assert_eq!(scene.pushed_legacy(other.peer, "sub-1", message("x", "1")), Ok("/a".to_owned()));
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("x", "2")), Err(Unwanted::Stranger), "left");
    }

    #[test]
    fn what_another_node_did_moves_with_what_is_new() {
        let mut scene = Scene::new(Generation::Current);
        scene.subscribed("/a", &["x"]);
        scene.client.disconnected(scene.now, &scene.node.peer);
        scene.subscribed("/a", &["y"]);
        assert_eq!(scene.due(), [Scene::renew("/a", &["x", "y"], None)]);
        scene.client.unsubscribed(&topic("/a"), &texts(&["x", "y"]));
        scene.client.renewed(scene.now, &topic("/a"), Ok(scene.node.clone()));
        assert_eq!(scene.client.wanted().count(), 0, "not wanted when it came");
    }

    #[test]
    fn a_node_may_push_before_it_has_answered() {
        let mut scene = Scene::new(Generation::Legacy);
        let peer = scene.node.peer;
        scene.client.asking(&topic("/a"), &texts(&["x"]), &scene.node);
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("x", "1")), Ok("/a".to_owned()));
        scene.client.answered(&topic("/a"), &scene.node);
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("x", "2")), Err(Unwanted::Stranger), "refused");
        scene.subscribed("/a", &["x"]);
        scene.client.asking(&topic("/a"), &texts(&["y"]), &scene.node);
        assert_eq!(scene.pushed_legacy(peer, "sub-1", message("y", "3")), Ok("/a".to_owned()));
        for _ in 0..2 * MAX_PENDING {
            scene.client.asking(&topic("/b"), &texts(&["x"]), &scene.node);
        }
        assert_eq!(scene.client.pending.len(), MAX_PENDING);
        assert_eq!(scene.client.room(&topic("/b"), &texts(&["x"])).unwrap_err().status, Status::Unavailable);
    }

    #[test]
    fn what_is_asked_for_fits_requests_and_is_bounded() {
        let mut scene = Scene::new(Generation::Current);
        let many: Vec<String> = (0..MAX_CONTENT_TOPICS).map(|n| n.to_string()).collect();
        let one_more = texts(&["one more"]);
        assert_eq!(scene.client.room(&topic("/a"), &many), Ok(()));
        scene.client.subscribed(scene.now, &topic("/a"), &many, scene.node.clone());
        assert_eq!(scene.client.room(&topic("/a"), &many), Ok(()), "the same");
        assert_eq!(scene.client.room(&topic("/a"), &one_more).unwrap_err().status, Status::Unavailable);
        scene.client.disconnected(scene.now, &scene.node.peer);
        let [Due::Renew { requests, .. }] = &scene.due()[..] else { panic!("one") };
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [100; 10]);
        for n in 1..MAX_TOPICS {
            scene.subscribed(&n.to_string(), &["x"]);
        }
        assert_eq!(scene.client.room(&topic("one more"), &one_more).unwrap_err().status, Status::Unavailable);
    }

    #[test]
    fn responses_are_those_to_our_requests() {
        let check = |response: Response| FilterError::check("1", &response.encode()).map_err(|error| error.status);
        assert_eq!(check(Response::ok("1".to_owned())), Ok(()));
        assert_eq!(check(Response::ok("2".to_owned())), Err(Status::BadResponse));
        assert_eq!(check(Response::over_rate()), Err(Status::TooManyRequests));
        let refused = Response::refusal("1".to_owned(), Status::NotFound, "peer has no subscriptions");
        let error = FilterError::check("1", &refused.encode()).unwrap_err();
        assert_eq!((error.status, error.cause.as_str()), (Status::NotFound, "NOT_FOUND: peer has no subscriptions"));
        assert_eq!(FilterError::check("1", b"\xff").unwrap_err().status, Status::BadResponse);
    }
}
