//! Who wants which messages, of both filter protocols. Pure.
//!
//! A wish is a content topic that a peer wants in one form: as filter v2 pushes, or under the id of a request of the first filter. Wishes lie
//! in one order by content topic, so that the takers of a message are found together, however many others there are.
//!
//! What filter v2 wants holds for [`Limits::lease`] after its peer last said so, connected or not. What the first filter wants holds while
//! its peer is there, and [`Limits::absence`] longer. A peer whose pushes fail is away from the first failure to the next success, and
//! after [`Limits::absence`] it is forgotten with everything it wants. To a peer that is not connected nothing is pushed.
//!
//! Limits, for both protocols together: [`Limits::max_peers`], [`Limits::max_criteria`] and [`MAX_PEER_BYTES`] for each of them. Whoever is one
//! too many is refused, and a request is taken whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::PeerId;

use super::scope::Scope;
use crate::topic::PubsubTopic;

/// Most bytes of topics and ids that one peer's wishes have: 1,000 criteria of 250 bytes.
pub const MAX_PEER_BYTES: usize = 256 * 1_024;

/// How much is served, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Subscribers.
    pub max_peers: usize,
    /// Criteria of one of them: a pubsub topic and a content topic. All pubsub topics are one, and each of them left out is one more.
    pub max_criteria: usize,
    /// How long filter v2 serves a peer that says nothing.
    pub lease: Duration,
    /// How long a peer may be away: without a connection for the first filter, or with pushes that fail for either.
    pub absence: Duration,
}

impl Default for Limits {
    /// Deployed: nwaku's command line. The last is what 12/WAKU2-FILTER 2.0.0-beta1 advises.
    fn default() -> Self {
        Self {
            max_peers: 1_000,
            max_criteria: 1_000,
            lease: Duration::from_secs(5 * 60),
            absence: Duration::from_secs(60),
        }
    }
}

/// How a message is pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// As filter v2 does.
    Current,
    /// As the first filter does, under the id of the request that subscribed.
    Legacy(Arc<str>),
}

/// Why there are no more subscriptions. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Full {
    /// [`Limits::max_peers`].
    #[error("node has reached maximum number of subscriptions")]
    Peers,
    /// [`Limits::max_criteria`] or [`MAX_PEER_BYTES`].
    #[error("peer has reached maximum number of filter criteria")]
    Criteria,
}

/// Some of the criteria were not there; those that were are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("peer has no subscriptions")]
pub struct NotSubscribed;

/// A subscriber in the order of its first request; never given twice.
type Slot = u64;

/// What is wanted, by whom, and how; ordered so that all of one content topic are together, and of these all of one peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    content_topic: Arc<str>,
    slot: Slot,
    form: Form,
}

impl Wish {
    /// Before all others of this content topic.
    fn first(content_topic: Arc<str>) -> Self {
        Self { content_topic, slot: 0, form: Form::Current }
    }

    fn cost(&self, scope: &Scope) -> Cost {
        if scope.is_empty() {
            return Cost::default();
        }
        let id = match &self.form {
            Form::Current => 0,
            Form::Legacy(id) => id.len(),
        };
        let topics: usize = scope.named().iter().map(|topic| topic.as_str().len()).sum();
        let current = usize::from(self.form == Form::Current);
        Cost { criteria: scope.criteria(), bytes: self.content_topic.len() + id + topics, current }
    }
}

/// What wishes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cost {
    criteria: usize,
    bytes: usize,
    /// Those of filter v2.
    current: usize,
}

impl Cost {
    /// With `after` in the place of `before`, which is a part of it.
    fn changed(self, before: Self, after: Self) -> Self {
        Self {
            criteria: self.criteria - before.criteria + after.criteria,
            bytes: self.bytes - before.bytes + after.bytes,
            current: self.current - before.current + after.current,
        }
    }

    fn is_too_much(self, limits: &Limits) -> bool {
        self.criteria > limits.max_criteria || self.bytes > MAX_PEER_BYTES
    }
}

#[derive(Debug)]
struct Subscriber {
    peer: PeerId,
    /// When it last said something by filter v2.
    seen: Instant,
    /// Since when it is not connected.
    gone: Option<Instant>,
    /// Since when its pushes fail.
    failing: Option<Instant>,
    /// The content topics of its wishes.
    content_topics: BTreeSet<Arc<str>>,
    cost: Cost,
}

impl Subscriber {
    /// Does what it wants in this form still hold?
    fn holds(&self, form: &Form, now: Instant, limits: &Limits) -> bool {
        let within = |since: Instant, time: Duration| now.saturating_duration_since(since) < time;
        let reached = self.failing.is_none_or(|since| within(since, limits.absence));
        reached
            && match form {
                Form::Current => within(self.seen, limits.lease),
                Form::Legacy(_) => self.gone.is_none_or(|since| within(since, limits.absence)),
            }
    }
}

/// All subscriptions of a service node.
#[derive(Debug)]
pub struct Subscriptions {
    limits: Limits,
    /// Who is connected, subscriber or not; as many as there are connections.
    present: HashSet<PeerId>,
    slots: HashMap<PeerId, Slot>,
    subscribers: BTreeMap<Slot, Subscriber>,
    wishes: BTreeMap<Wish, Scope>,
    next_slot: Slot,
}

impl Subscriptions {
    /// None yet, and nobody connected.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            present: HashSet::new(),
            slots: HashMap::new(),
            subscribers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            next_slot: 0,
        }
    }

    /// How much is served.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many subscribers there are; those whose time is over count until [`Self::sweep`].
    #[must_use]
    pub fn peers(&self) -> usize {
        self.subscribers.len()
    }

    /// What each peer wants by filter v2, in the order of content topics; as [`Self::peers`].
    #[must_use]
    pub fn all(&self) -> Vec<(PeerId, Vec<(PubsubTopic, String)>)> {
        let mut all: BTreeMap<Slot, Vec<(PubsubTopic, String)>> = BTreeMap::new();
        for (wish, scope) in self.wishes.iter().filter(|(wish, _)| wish.form == Form::Current) {
            let criteria = scope.named().iter().map(|topic| (topic.clone(), wish.content_topic.to_string()));
            all.entry(wish.slot).or_default().extend(criteria);
        }
        let of = |(slot, criteria)| Some((self.subscribers.get(&slot)?.peer, criteria));
        all.into_iter().filter_map(of).collect()
    }

    /// Has this peer any subscription? As [`Self::peers`].
    #[must_use]
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.slots.contains_key(peer)
    }

    /// A peer has its first connection.
    pub fn connected(&mut self, now: Instant, peer: PeerId) {
        self.present.insert(peer);
        self.expire(now, &peer);
        if let Some(subscriber) = self.subscriber(&peer) {
            subscriber.gone = None;
            subscriber.failing = None;
        }
    }

    /// A peer has no connection any more.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        self.present.remove(peer);
        if let Some(subscriber) = self.subscriber(peer) {
            subscriber.gone.get_or_insert(now);
        }
    }

    /// A push did not reach a peer.
    pub fn failed(&mut self, now: Instant, peer: &PeerId) {
        if let Some(subscriber) = self.subscriber(peer) {
            subscriber.failing.get_or_insert(now);
        }
    }

    /// A push reached a peer.
    pub fn reached(&mut self, now: Instant, peer: &PeerId) {
        self.expire(now, peer);
        if let Some(subscriber) = self.subscriber(peer) {
            subscriber.failing = None;
        }
    }

    /// Adds what a peer wants, on `topic` or anywhere, and renews its lease.
    ///
    /// # Errors
    /// See [`Full`].
    pub fn subscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        form: &Form,
        topic: Option<&PubsubTopic>,
        content_topics: &[String],
    ) -> Result<(), Full> {
        self.expire(now, &peer);
        let slot = self.slots.get(&peer).copied();
        if slot.is_none() && self.subscribers.len() >= self.limits.max_peers {
            self.sweep(now);
            if self.subscribers.len() >= self.limits.max_peers {
                return Err(Full::Peers);
            }
        }
        let changes = self.additions(slot.unwrap_or(self.next_slot), form, topic, content_topics)?;
        if slot.is_none() {
            self.enter(now, peer);
        }
        for (wish, scope) in changes {
            self.set(&wish, scope);
        }
        if *form == Form::Current {
            self.renew(now, &peer);
        }
        Ok(())
    }

    /// What is to be set for a subscription, if there is room for it.
    fn additions(
        &self,
        slot: Slot,
        form: &Form,
        topic: Option<&PubsubTopic>,
        content_topics: &[String],
    ) -> Result<Vec<(Wish, Scope)>, Full> {
        let mut cost = self.subscribers.get(&slot).map(|subscriber| subscriber.cost).unwrap_or_default();
        let mut changes = Vec::with_capacity(content_topics.len());
        for content_topic in content_topics.iter().collect::<BTreeSet<_>>() {
            let wish = Wish { content_topic: self.shared(content_topic), slot, form: form.clone() };
            let before = self.wishes.get(&wish).cloned().unwrap_or_default();
            let had = wish.cost(&before);
            let scope = before.with(topic);
            cost = cost.changed(had, wish.cost(&scope));
            changes.push((wish, scope));
        }
        if cost.is_too_much(&self.limits) { Err(Full::Criteria) } else { Ok(changes) }
    }

    /// The text as it is kept already, if anybody wants it.
    fn shared(&self, content_topic: &str) -> Arc<str> {
        let text: Arc<str> = content_topic.into();
        let next = self.wishes.range(Wish::first(Arc::clone(&text))..).next();
        next.map(|(wish, _)| &wish.content_topic).filter(|known| **known == text).cloned().unwrap_or(text)
    }

    fn enter(&mut self, now: Instant, peer: PeerId) {
        let gone = (!self.present.contains(&peer)).then_some(now);
        let content_topics = BTreeSet::new();
        let subscriber = Subscriber { peer, seen: now, gone, failing: None, content_topics, cost: Cost::default() };
        self.slots.insert(peer, self.next_slot);
        self.subscribers.insert(self.next_slot, subscriber);
        self.next_slot += 1;
    }

    /// Takes away what filter v2 gave, and renews the lease of the rest.
    ///
    /// # Errors
    /// When the peer had not all of it. What it had is gone all the same.
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        peer: &PeerId,
        topic: &PubsubTopic,
        content_topics: &[String],
    ) -> Result<(), NotSubscribed> {
        self.expire(now, peer);
        let slot = *self.slots.get(peer).ok_or(NotSubscribed)?;
        let mut missing = false;
        for content_topic in content_topics.iter().collect::<BTreeSet<_>>() {
            let wish = Wish { content_topic: content_topic.as_str().into(), slot, form: Form::Current };
            match self.wishes.get(&wish).filter(|scope| scope.contains(topic)).cloned() {
                Some(scope) => self.set(&wish, scope.without(Some(topic))),
                None => missing = true,
            }
        }
        self.renew(now, peer);
        self.leave_if_empty(slot);
        if missing { Err(NotSubscribed) } else { Ok(()) }
    }

    /// Takes away all that filter v2 gave.
    ///
    /// # Errors
    /// When that is nothing.
    pub fn unsubscribe_all(&mut self, now: Instant, peer: &PeerId) -> Result<(), NotSubscribed> {
        self.renewed(now, peer)?;
        self.drop_forms(peer, |form| *form == Form::Current);
        Ok(())
    }

    /// Takes content topics from all that the first filter gave a peer, under whatever ids: on `topic`, or everywhere. What was wanted anywhere
    /// is then wanted anywhere else. Where there is no room left to note that, the wish goes altogether: nothing unwanted is ever
    /// pushed.
    pub fn unsubscribe_legacy(&mut self, peer: &PeerId, topic: Option<&PubsubTopic>, content_topics: &[String]) {
        let Some(&slot) = self.slots.get(peer) else { return };
        for content_topic in content_topics.iter().collect::<BTreeSet<_>>() {
            for wish in self.wishes_of(slot, &content_topic.as_str().into()) {
                if wish.form != Form::Current {
                    self.narrow(&wish, topic);
                }
            }
        }
        self.leave_if_empty(slot);
    }

    fn narrow(&mut self, wish: &Wish, topic: Option<&PubsubTopic>) {
        let Some(before) = self.wishes.get(wish).cloned() else { return };
        self.set(wish, before.without(topic));
        let full = |subscriber: &Subscriber| subscriber.cost.is_too_much(&self.limits);
        if self.subscribers.get(&wish.slot).is_some_and(full) {
            self.set(wish, Scope::default());
        }
    }

    /// Keeps what filter v2 gave.
    ///
    /// # Errors
    /// When that is nothing.
    pub fn ping(&mut self, now: Instant, peer: &PeerId) -> Result<(), NotSubscribed> {
        self.renewed(now, peer)
    }

    fn renewed(&mut self, now: Instant, peer: &PeerId) -> Result<(), NotSubscribed> {
        self.expire(now, peer);
        match self.subscriber(peer) {
            Some(subscriber) if subscriber.cost.current > 0 => {
                subscriber.seen = now;
                Ok(())
            }
            Some(_) | None => Err(NotSubscribed),
        }
    }

    fn renew(&mut self, now: Instant, peer: &PeerId) {
        if let Some(subscriber) = self.subscriber(peer) {
            subscriber.seen = now;
        }
    }

    /// Who is to get a message, and how: whoever is connected, once for each form.
    #[must_use]
    pub fn takers(&self, now: Instant, topic: &PubsubTopic, content_topic: &str) -> Vec<(PeerId, Form)> {
        let first = Wish::first(content_topic.into());
        let wishes = self.wishes.range(&first..).take_while(|(wish, _)| wish.content_topic == first.content_topic);
        let wanted = wishes.filter(|(_, scope)| scope.contains(topic)).map(|(wish, _)| wish);
        let taker = |wish: &Wish| {
            let subscriber = self.subscribers.get(&wish.slot)?;
            let takes = subscriber.gone.is_none() && subscriber.holds(&wish.form, now, &self.limits);
            takes.then(|| (subscriber.peer, wish.form.clone()))
        };
        wanted.filter_map(taker).collect()
    }

    /// Forgets all whose time is over.
    pub fn sweep(&mut self, now: Instant) {
        let peers: Vec<PeerId> = self.subscribers.values().map(|subscriber| subscriber.peer).collect();
        peers.iter().for_each(|peer| self.expire(now, peer));
    }

    /// Forgets what does not hold any more of one peer's.
    fn expire(&mut self, now: Instant, peer: &PeerId) {
        let Some(subscriber) = self.slots.get(peer).and_then(|slot| self.subscribers.get(slot)) else { return };
        let legacy = Form::Legacy("".into());
        let [current, legacy] = [&Form::Current, &legacy].map(|form| subscriber.holds(form, now, &self.limits));
        if !current || !legacy {
            self.drop_forms(peer, |form| if *form == Form::Current { !current } else { !legacy });
        }
    }

    fn drop_forms(&mut self, peer: &PeerId, goes: impl Fn(&Form) -> bool) {
        let Some(&slot) = self.slots.get(peer) else { return };
        let content_topics: Vec<_> =
            self.subscribers.get(&slot).map(|one| one.content_topics.iter().cloned().collect()).unwrap_or_default();
        for content_topic in &content_topics {
            for wish in self.wishes_of(slot, content_topic) {
                if goes(&wish.form) {
                    self.set(&wish, Scope::default());
                }
            }
        }
        self.leave_if_empty(slot);
    }

    fn wishes_of(&self, slot: Slot, content_topic: &Arc<str>) -> Vec<Wish> {
        let first = Wish { slot, ..Wish::first(Arc::clone(content_topic)) };
        let of_peer = |wish: &&Wish| wish.slot == slot && wish.content_topic == *content_topic;
        self.wishes.range(&first..).map(|(wish, _)| wish).take_while(of_peer).cloned().collect()
    }

    /// Makes this the scope of a wish; an empty one ends it.
    fn set(&mut self, wish: &Wish, scope: Scope) {
        let Some(subscriber) = self.subscribers.get_mut(&wish.slot) else { return };
        let after = wish.cost(&scope);
        let stays = !scope.is_empty();
        let before = if stays { self.wishes.insert(wish.clone(), scope) } else { self.wishes.remove(wish) };
        let before = before.map(|before| wish.cost(&before)).unwrap_or_default();
        subscriber.cost = subscriber.cost.changed(before, after);
        if stays {
            subscriber.content_topics.insert(Arc::clone(&wish.content_topic));
        } else if self.wishes_of(wish.slot, &wish.content_topic).is_empty()
            && let Some(subscriber) = self.subscribers.get_mut(&wish.slot)
        {
            subscriber.content_topics.remove(&wish.content_topic);
        }
    }

    fn leave_if_empty(&mut self, slot: Slot) {
        if let Some(subscriber) = self.subscribers.get(&slot)
            && subscriber.content_topics.is_empty()
        {
            self.slots.remove(&subscriber.peer);
            self.subscribers.remove(&slot);
        }
    }

    fn subscriber(&mut self, peer: &PeerId) -> Option<&mut Subscriber> {
        self.slots.get(peer).and_then(|slot| self.subscribers.get_mut(slot))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn start() -> Instant {
        devp2p::clock::now().instant
    }

    fn topic(name: &str) -> PubsubTopic {
        name.parse().unwrap()
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn legacy(id: &str) -> Form {
        Form::Legacy(id.into())
    }

    /// One service node on a clock.
    struct Scene {
        node: Subscriptions,
        now: Instant,
    }

    impl Scene {
        fn new(limits: Limits) -> Self {
            Self { node: Subscriptions::new(limits), now: start() }
        }

        fn peer(&mut self) -> PeerId {
            let peer = PeerId::random();
            self.node.connected(self.now, peer);
            peer
        }

        fn wait(&mut self, secs: u64) {
            self.now += Duration::from_secs(secs);
        }

        fn subscribe(&mut self, peer: PeerId, form: &Form, on: Option<&str>, of: &[&str]) -> Result<(), Full> {
            self.node.subscribe(self.now, peer, form, on.map(topic).as_ref(), &texts(of))
        }

        fn takers(&self, on: &str, of: &str) -> Vec<(PeerId, Form)> {
            self.node.takers(self.now, &topic(on), of)
        }

        fn takes(&self, peer: PeerId, on: &str, of: &str) -> bool {
            self.takers(on, of).iter().any(|(taker, _)| *taker == peer)
        }
    }

    #[test]
    fn filter_v2_pushes_what_its_criteria_say() {
        let mut scene = Scene::new(Limits::default());
        let (one, other) = (scene.peer(), scene.peer());
        scene.subscribe(one, &Form::Current, Some("/a"), &["x", "y"]).unwrap();
        scene.subscribe(other, &Form::Current, Some("/b"), &["x"]).unwrap();
        assert_eq!(scene.takers("/a", "x"), [(one, Form::Current)]);
        assert_eq!(scene.takers("/b", "x"), [(other, Form::Current)]);
        assert!(scene.takers("/b", "y").is_empty() && scene.takers("/a", "xy").is_empty());
        let gone = scene.node.unsubscribe(scene.now, &one, &topic("/a"), &texts(&["x"]));
        assert_eq!(gone, Ok(()));
        assert!(scene.takers("/a", "x").is_empty() && scene.takes(one, "/a", "y"));
    }

    #[test]
    fn unsubscribing_what_is_not_there_takes_the_rest_all_the_same() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        let unsubscribe =
            |scene: &mut Scene, on: &str, of: &[&str]| scene.node.unsubscribe(scene.now, &peer, &topic(on), &texts(of));
        assert_eq!(unsubscribe(&mut scene, "/a", &["x"]), Err(NotSubscribed));
        scene.subscribe(peer, &Form::Current, Some("/a"), &["x", "y"]).unwrap();
        assert_eq!(unsubscribe(&mut scene, "/b", &["x"]), Err(NotSubscribed));
        assert!(scene.takes(peer, "/a", "x"));
        assert_eq!(unsubscribe(&mut scene, "/a", &["x", "z"]), Err(NotSubscribed));
        assert!(!scene.takes(peer, "/a", "x") && scene.takes(peer, "/a", "y"));
        assert_eq!(unsubscribe(&mut scene, "/a", &["y"]), Ok(()));
        assert!(!scene.node.knows(&peer), "nothing is left");
        assert_eq!(scene.node.unsubscribe_all(scene.now, &peer), Err(NotSubscribed));
    }

    #[test]
    fn the_first_filter_pushes_once_for_each_request_that_matches() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        scene.subscribe(peer, &legacy("1"), Some("/a"), &["x"]).unwrap();
        scene.subscribe(peer, &legacy("2"), None, &["x", "y"]).unwrap();
        scene.subscribe(peer, &Form::Current, Some("/a"), &["x"]).unwrap();
        assert_eq!(scene.takers("/a", "x"), [(peer, Form::Current), (peer, legacy("1")), (peer, legacy("2"))]);
        assert_eq!(scene.takers("/b", "x"), [(peer, legacy("2"))]);
        scene.subscribe(peer, &legacy("1"), Some("/b"), &["y"]).unwrap();
        assert_eq!(scene.takers("/b", "y"), [(peer, legacy("1")), (peer, legacy("2"))], "an id grows");
        assert!(scene.takes(peer, "/a", "x"));
    }

    #[test]
    fn the_first_filter_unsubscribes_messages_and_not_requests() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        scene.subscribe(peer, &legacy("on"), Some("/a"), &["x", "y"]).unwrap();
        scene.subscribe(peer, &legacy("any"), None, &["x"]).unwrap();
        scene.subscribe(peer, &Form::Current, Some("/a"), &["x"]).unwrap();
        scene.node.unsubscribe_legacy(&peer, Some(&topic("/a")), &texts(&["x", "never"]));
        assert_eq!(scene.takers("/a", "x"), [(peer, Form::Current)], "filter v2 has its own word");
        assert_eq!(scene.takers("/b", "x"), [(peer, legacy("any"))], "any other topic stays");
        assert_eq!(scene.takers("/a", "y"), [(peer, legacy("on"))]);
        scene.node.unsubscribe_legacy(&peer, None, &texts(&["x", "y"]));
        assert!(scene.takers("/b", "x").is_empty() && scene.takers("/a", "y").is_empty());
        scene.subscribe(peer, &legacy("any"), None, &["x"]).unwrap();
        assert!(scene.takers("/a", "x").contains(&(peer, legacy("any"))), "asked for anew");
    }

    #[test]
    fn h77_one_peer_too_many_and_one_criterion_too_many() {
        let mut scene = Scene::new(Limits { max_peers: 2, max_criteria: 3, ..Limits::default() });
        let [one, two, three] = [scene.peer(), scene.peer(), scene.peer()];
        scene.subscribe(one, &Form::Current, Some("/a"), &["x", "y", "z"]).unwrap();
        scene.subscribe(two, &legacy("1"), None, &["x"]).unwrap();
        assert_eq!(scene.subscribe(three, &Form::Current, Some("/a"), &["x"]), Err(Full::Peers));
        assert_eq!(scene.subscribe(one, &Form::Current, Some("/a"), &["w", "x"]), Err(Full::Criteria));
        assert!(!scene.takes(one, "/a", "w"), "whole or not at all");
        assert_eq!(
            scene.subscribe(one, &Form::Current, Some("/a"), &["z", "y", "x", "x"]),
            Ok(()),
            "no more than before"
        );
        assert_eq!(
            scene.subscribe(one, &legacy("1"), Some("/a"), &["x"]),
            Err(Full::Criteria),
            "both protocols together"
        );
        assert_eq!(scene.subscribe(two, &Form::Current, Some("/a"), &["1", "2", "3"]), Err(Full::Criteria));
        scene.node.unsubscribe(scene.now, &one, &topic("/a"), &texts(&["x", "y", "z"])).unwrap();
        assert_eq!(scene.subscribe(three, &Form::Current, Some("/a"), &["a", "b", "c", "d"]), Err(Full::Criteria));
        assert!(!scene.node.knows(&three), "a first one too");
        assert_eq!(scene.subscribe(three, &Form::Current, Some("/a"), &["a", "b", "c"]), Ok(()));
    }

    #[test]
    fn h77_a_place_is_free_when_its_time_is_over() {
        let mut scene = Scene::new(Limits { max_peers: 1, ..Limits::default() });
        let (one, two) = (scene.peer(), scene.peer());
        scene.subscribe(one, &Form::Current, Some("/a"), &["x"]).unwrap();
        scene.wait(299);
        assert_eq!(scene.subscribe(two, &Form::Current, Some("/a"), &["x"]), Err(Full::Peers));
        scene.wait(1);
        assert_eq!(scene.subscribe(two, &Form::Current, Some("/a"), &["x"]), Ok(()));
        assert_eq!(scene.takers("/a", "x"), [(two, Form::Current)]);
    }

    #[test]
    fn h74_long_topics_and_ids_are_bounded_in_bytes() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        let long = "l".repeat(1_000);
        let names: Vec<String> = (0..300).map(|n| format!("{n}{long}")).collect();
        let taken = names.iter().take_while(|name| scene.subscribe(peer, &legacy("1"), None, &[name]).is_ok()).count();
        assert_eq!(taken, MAX_PEER_BYTES / 1_004, "with the number and the id");
        scene.node.unsubscribe_legacy(&peer, None, &names);
        assert!(!scene.node.knows(&peer));
        let id = "i".repeat(MAX_PEER_BYTES);
        assert_eq!(scene.subscribe(peer, &legacy(&id), None, &["x"]), Err(Full::Criteria));
    }

    #[test]
    fn h77_exclusions_are_bounded_and_nothing_unwanted_is_pushed_when_they_are_full() {
        let mut scene = Scene::new(Limits { max_criteria: 3, ..Limits::default() });
        let peer = scene.peer();
        scene.subscribe(peer, &legacy("1"), None, &["x"]).unwrap();
        for name in ["/a", "/b"] {
            scene.node.unsubscribe_legacy(&peer, Some(&topic(name)), &texts(&["x"]));
        }
        assert!(scene.takes(peer, "/c", "x") && !scene.takes(peer, "/a", "x") && !scene.takes(peer, "/b", "x"));
        scene.node.unsubscribe_legacy(&peer, Some(&topic("/c")), &texts(&["x"]));
        assert!(!["/a", "/b", "/c", "/d"].iter().any(|on| scene.takes(peer, on, "x")));
        assert!(!scene.node.knows(&peer));
    }

    #[test]
    fn a_lease_is_kept_by_whatever_filter_v2_says() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        assert_eq!(scene.node.ping(scene.now, &peer), Err(NotSubscribed));
        scene.subscribe(peer, &Form::Current, Some("/a"), &["x", "y"]).unwrap();
        scene.wait(299);
        assert_eq!(scene.node.ping(scene.now, &peer), Ok(()));
        scene.wait(299);
        scene.subscribe(peer, &Form::Current, Some("/a"), &["z"]).unwrap();
        scene.wait(299);
        scene.node.unsubscribe(scene.now, &peer, &topic("/a"), &texts(&["z"])).unwrap();
        scene.wait(299);
        assert!(scene.takes(peer, "/a", "x"));
        scene.wait(1);
        assert!(!scene.takes(peer, "/a", "x"));
        assert_eq!(scene.node.ping(scene.now, &peer), Err(NotSubscribed));
        scene.subscribe(peer, &Form::Current, Some("/a"), &["y"]).unwrap();
        assert!(!scene.takes(peer, "/a", "x") && scene.takes(peer, "/a", "y"), "what ended does not come back");
    }

    #[test]
    fn the_first_filter_has_no_lease_and_waits_a_minute_for_who_is_away() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        scene.subscribe(peer, &legacy("1"), None, &["x"]).unwrap();
        scene.wait(86_400);
        assert!(scene.takes(peer, "/a", "x"));
        scene.node.disconnected(scene.now, &peer);
        assert!(!scene.takes(peer, "/a", "x"), "nothing is pushed to who is away");
        scene.wait(59);
        scene.node.sweep(scene.now);
        scene.node.connected(scene.now, peer);
        assert!(scene.takes(peer, "/a", "x"), "back in time");
        scene.node.disconnected(scene.now, &peer);
        scene.wait(60);
        scene.node.connected(scene.now, peer);
        assert!(!scene.takes(peer, "/a", "x") && !scene.node.knows(&peer), "too late");
    }

    #[test]
    fn filter_v2_waits_for_who_is_away_as_long_as_the_lease_lasts() {
        let mut scene = Scene::new(Limits::default());
        let peer = scene.peer();
        scene.subscribe(peer, &Form::Current, Some("/a"), &["x"]).unwrap();
        scene.node.disconnected(scene.now, &peer);
        scene.wait(120);
        scene.node.sweep(scene.now);
        scene.node.connected(scene.now, peer);
        assert!(scene.takes(peer, "/a", "x"));
    }

    #[test]
    fn h77_who_refuses_pushes_is_forgotten_however_often_it_pings() {
        for form in [Form::Current, legacy("1")] {
            let mut scene = Scene::new(Limits::default());
            let peer = scene.peer();
            scene.subscribe(peer, &form, Some("/a"), &["x"]).unwrap();
            scene.node.failed(scene.now, &peer);
            scene.wait(59);
            scene.node.failed(scene.now, &peer);
            let _ = scene.node.ping(scene.now, &peer);
            assert!(scene.takes(peer, "/a", "x"), "it is tried on");
            scene.node.reached(scene.now, &peer);
            scene.wait(59);
            scene.node.failed(scene.now, &peer);
            scene.wait(59);
            assert!(scene.takes(peer, "/a", "x"), "one that worked begins anew");
            scene.wait(1);
            assert!(!scene.takes(peer, "/a", "x"));
            scene.node.sweep(scene.now);
            assert!(!scene.node.knows(&peer));
        }
    }

    #[test]
    fn a_request_that_is_read_when_its_connection_is_gone_leaves_nothing_for_good() {
        let mut scene = Scene::new(Limits::default());
        let peer = PeerId::random();
        scene.subscribe(peer, &legacy("1"), None, &["x"]).unwrap();
        assert!(!scene.takes(peer, "/a", "x"));
        scene.wait(60);
        scene.node.sweep(scene.now);
        assert!(!scene.node.knows(&peer));
    }

    #[test]
    fn everybody_wants_the_same() {
        let mut scene = Scene::new(Limits::default());
        let peers: Vec<PeerId> = (0..1_000).map(|_| scene.peer()).collect();
        let names: Vec<String> = (0..20).map(|n| format!("/app/1/{n}/proto")).collect();
        for peer in &peers {
            scene.node.subscribe(scene.now, *peer, &Form::Current, Some(&topic("/a")), &names).unwrap();
        }
        let all: Vec<_> = peers.iter().map(|peer| (*peer, Form::Current)).collect();
        assert_eq!(scene.takers("/a", &names[7]), all, "in the order in which they came");
        let texts: HashMap<_, _> = scene.node.wishes.keys().map(|wish| (wish.content_topic.as_ptr(), ())).collect();
        assert_eq!(texts.len(), names.len(), "each text is kept once");
        assert_eq!(scene.takers("/a", "/app/1/20/proto"), []);
    }

    /// What may happen, with small numbers for peers, ids, content topics and pubsub topics.
    #[derive(Debug, Clone)]
    enum Step {
        Subscribe(usize, Option<u8>, Option<usize>, Vec<u8>),
        Unsubscribe(usize, usize, Vec<u8>),
        UnsubscribeAll(usize),
        UnsubscribeLegacy(usize, Option<usize>, Vec<u8>),
        Ping(usize),
        Connected(usize),
        Disconnected(usize),
        Failed(usize),
        Reached(usize),
        Wait(u64),
        Sweep,
    }

    const PEERS: usize = 3;
    /// The last one is named by nobody.
    const TOPICS: [&str; 3] = ["/a", "/b", "/c"];

    fn step() -> impl Strategy<Value = Step> {
        let peer = || 0..PEERS;
        let named = || 0..TOPICS.len() - 1;
        let content = || vec(0..4_u8, 1..4);
        prop_oneof![
            4 => (peer(), option::of(0..2_u8), option::of(named()), content())
                .prop_map(|(peer, id, on, of)| Step::Subscribe(peer, id, on, of)),
            2 => (peer(), named(), content()).prop_map(|(peer, on, of)| Step::Unsubscribe(peer, on, of)),
            1 => peer().prop_map(Step::UnsubscribeAll),
            3 => (peer(), option::of(named()), content()).prop_map(|(peer, on, of)| Step::UnsubscribeLegacy(peer, on, of)),
            1 => peer().prop_map(Step::Ping),
            1 => peer().prop_map(Step::Connected),
            1 => peer().prop_map(Step::Disconnected),
            1 => peer().prop_map(Step::Failed),
            1 => peer().prop_map(Step::Reached),
            2 => (1..150_u64).prop_map(Step::Wait),
            1 => Just(Step::Sweep),
        ]
    }

    /// The same as lists: every pubsub topic of every content topic that somebody wants in some form.
    #[derive(Default)]
    struct Model {
        present: [bool; PEERS],
        peers: [Option<Held>; PEERS],
    }

    #[derive(Default)]
    struct Held {
        seen: u64,
        gone: Option<u64>,
        failing: Option<u64>,
        wants: HashSet<(Option<u8>, u8, usize)>,
    }

    impl Model {
        /// Ends what is over.
        fn pass(&mut self, now: u64) {
            for held in &mut self.peers {
                let Some(one) = held else { continue };
                let over = |since: Option<u64>| since.is_some_and(|since| now - since >= 60);
                let (failed, gone) = (over(one.failing), over(one.gone));
                let late = now - one.seen >= 300;
                one.wants.retain(|(id, ..)| !failed && if id.is_some() { !gone } else { !late });
                if one.wants.is_empty() {
                    *held = None;
                }
            }
        }

        fn take(&mut self, now: u64, step: &Step) -> Option<bool> {
            let every = |on: &Option<usize>| on.map_or((0..TOPICS.len()).collect(), |on| vec![on]);
            match step {
                Step::Subscribe(peer, id, on, of) => {
                    let gone = (!self.present[*peer]).then_some(now);
                    let held = self.peers[*peer].get_or_insert(Held { seen: now, gone, ..Held::default() });
                    if id.is_none() {
                        held.seen = now;
                    }
                    let on = if id.is_none() { vec![on.unwrap_or(0)] } else { every(on) };
                    held.wants.extend(of.iter().flat_map(|of| on.iter().map(|on| (*id, *of, *on))));
                    Some(true)
                }
                Step::Unsubscribe(peer, on, of) => {
                    let Some(held) = &mut self.peers[*peer] else { return Some(false) };
                    held.seen = now;
                    let of: HashSet<&u8> = of.iter().collect();
                    let missing = of.into_iter().filter(|of| !held.wants.remove(&(None, **of, *on))).count();
                    Some(missing == 0)
                }
                Step::UnsubscribeAll(peer) => {
                    let held = self.peers[*peer].as_mut().filter(|held| held.wants.iter().any(|want| want.0.is_none()));
                    held.map_or(Some(false), |held| {
                        held.seen = now;
                        held.wants.retain(|want| want.0.is_some());
                        Some(true)
                    })
                }
                Step::UnsubscribeLegacy(peer, on, of) => {
                    if let Some(held) = &mut self.peers[*peer] {
                        let on = every(on);
                        held.wants.retain(|(id, was, at)| id.is_none() || !of.contains(was) || !on.contains(at));
                    }
                    None
                }
                Step::Ping(peer) => {
                    let held = self.peers[*peer].as_mut().filter(|held| held.wants.iter().any(|want| want.0.is_none()));
                    Some(held.map(|held| held.seen = now).is_some())
                }
                Step::Connected(peer) => {
                    self.present[*peer] = true;
                    if let Some(held) = &mut self.peers[*peer] {
                        (held.gone, held.failing) = (None, None);
                    }
                    None
                }
                Step::Disconnected(peer) => {
                    self.present[*peer] = false;
                    if let Some(held) = &mut self.peers[*peer] {
                        held.gone.get_or_insert(now);
                    }
                    None
                }
                Step::Failed(peer) => {
                    if let Some(held) = &mut self.peers[*peer] {
                        held.failing.get_or_insert(now);
                    }
                    None
                }
                Step::Reached(peer) => {
                    if let Some(held) = &mut self.peers[*peer] {
                        held.failing = None;
                    }
                    None
                }
                Step::Wait(_) | Step::Sweep => None,
            }
        }
    }

    /// Does the same for real; whether it was taken.
    fn take(node: &mut Subscriptions, now: Instant, peers: &[PeerId], step: &Step) -> Option<bool> {
        let contents = |of: &[u8]| of.iter().map(|n| format!("content-{n}")).collect::<Vec<_>>();
        match step {
            Step::Subscribe(peer, id, on, of) => {
                let form = id.map_or(Form::Current, |id| legacy(&id.to_string()));
                let on = if id.is_none() { Some(on.unwrap_or(0)) } else { *on };
                let on = on.map(|on| topic(TOPICS[on]));
                Some(node.subscribe(now, peers[*peer], &form, on.as_ref(), &contents(of)).is_ok())
            }
            Step::Unsubscribe(peer, on, of) => {
                Some(node.unsubscribe(now, &peers[*peer], &topic(TOPICS[*on]), &contents(of)).is_ok())
            }
            Step::UnsubscribeAll(peer) => Some(node.unsubscribe_all(now, &peers[*peer]).is_ok()),
            Step::UnsubscribeLegacy(peer, on, of) => {
                node.unsubscribe_legacy(&peers[*peer], on.map(|on| topic(TOPICS[on])).as_ref(), &contents(of));
                None
            }
            Step::Ping(peer) => Some(node.ping(now, &peers[*peer]).is_ok()),
            Step::Connected(peer) => {
                node.connected(now, peers[*peer]);
                None
            }
            Step::Disconnected(peer) => {
                node.disconnected(now, &peers[*peer]);
                None
            }
            Step::Failed(peer) => {
                node.failed(now, &peers[*peer]);
                None
            }
            Step::Reached(peer) => {
                node.reached(now, &peers[*peer]);
                None
            }
            Step::Sweep => {
                node.sweep(now);
                None
            }
            Step::Wait(_) => None,
        }
    }

    /// Everything that is counted, counted anew.
    fn check_costs(node: &Subscriptions) {
        for (slot, subscriber) in &node.subscribers {
            let own = node.wishes.iter().filter(|(wish, _)| wish.slot == *slot);
            let costs = own.clone().map(|(wish, scope)| wish.cost(scope));
            let cost = costs.fold(Cost::default(), |sum, one| sum.changed(Cost::default(), one));
            assert_eq!(subscriber.cost, cost);
            let contents: BTreeSet<_> = own.map(|(wish, _)| Arc::clone(&wish.content_topic)).collect();
            assert_eq!(subscriber.content_topics, contents);
            assert!(!contents.is_empty() && node.slots[&subscriber.peer] == *slot);
        }
        assert_eq!(node.slots.len(), node.subscribers.len());
        assert!(node.wishes.keys().all(|wish| node.subscribers.contains_key(&wish.slot)));
        assert!(node.wishes.values().all(|scope| !scope.is_empty()));
    }

    proptest! {
        /// Whoever a message goes to, and under which id, is who a plain list says; and every answer is the list's.
        #[test]
        fn takers_are_those_of_a_plain_list(steps in vec(step(), 1..60)) {
            let (mut node, mut model) = (Subscriptions::new(Limits::default()), Model::default());
            let peers: Vec<PeerId> = (0..PEERS).map(|_| PeerId::random()).collect();
            let (start, mut secs) = (start(), 0);
            for step in &steps {
                secs += if let Step::Wait(more) = step { *more } else { 0 };
                let now = start + Duration::from_secs(secs);
                model.pass(secs);
                let expected = model.take(secs, step);
                prop_assert_eq!(take(&mut node, now, &peers, step), expected, "{:?}", step);
                model.pass(secs);
                check_costs(&node);
                for (on, name) in TOPICS.iter().enumerate() {
                    for of in 0..4 {
                        let found: HashSet<_> = node.takers(now, &topic(name), &format!("content-{of}")).into_iter().collect();
                        let expected: HashSet<_> = (0..PEERS)
                            .filter_map(|peer| model.peers[peer].as_ref().map(|held| (peer, held)))
                            .filter(|(_, held)| held.gone.is_none())
                            .flat_map(|(peer, held)| held.wants.iter().map(move |want| (peer, want)))
                            .filter(|(_, want)| (want.1, want.2) == (of, on))
                            .map(|(peer, want)| (peers[peer], want.0.map_or(Form::Current, |id| legacy(&id.to_string()))))
                            .collect();
                        prop_assert_eq!(found, expected, "{} {} after {:?}", name, of, step);
                    }
                }
                if matches!(step, Step::Sweep) {
                    let known: Vec<bool> = peers.iter().map(|peer| node.knows(peer)).collect();
                    let expected: Vec<bool> = model.peers.iter().map(Option::is_some).collect();
                    prop_assert_eq!(known, expected);
                }
            }
        }

        /// However small the limits, nobody is over them, and nothing that was taken away is pushed.
        #[test]
        fn h77_nobody_is_over_the_limits(steps in vec(step(), 1..60), max_criteria in 1..5_usize, max_peers in 1..3_usize) {
            let mut node = Subscriptions::new(Limits { max_peers, max_criteria, ..Limits::default() });
            let peers: Vec<PeerId> = (0..PEERS).map(|_| PeerId::random()).collect();
            peers.iter().for_each(|peer| node.connected(start(), *peer));
            for step in &steps {
                take(&mut node, start(), &peers, step);
                check_costs(&node);
                prop_assert!(node.peers() <= max_peers);
                prop_assert!(node.subscribers.values().all(|one| one.cost.criteria <= max_criteria));
                if let Step::UnsubscribeLegacy(peer, on, of) = step {
                    for of in of {
                        let on = topic(TOPICS[on.unwrap_or(2)]);
                        let takers = node.takers(start(), &on, &format!("content-{of}"));
                        prop_assert!(!takers.iter().any(|(taker, form)| *taker == peers[*peer] && *form != Form::Current));
                    }
                }
            }
        }
    }
}
