//! Messages kept until somebody polls for them: one memory for relay, one for filter. Pure, but for the lock around it.
//!
//! A message is kept once, when its pubsub topic or its content topic is followed, and can then be had by either; who polls takes
//! away what he is given, from both.  Deployed: nwaku's message cache.
//!
//! Limits: so many messages as the flag says, the one with the oldest time making room; [`MAX_FOLLOWED`] content topics that were
//! asked for; [`MAX_MET`] that came by themselves, the oldest of which is forgotten.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use waku2::{ContentTopic, PubsubTopic, WakuMessage};

/// Content topics followed at most; a request for more is refused. Pubsub topics are bounded by relay,
/// [`waku2::relay::MAX_TOPICS`].
pub(crate) const MAX_FOLLOWED: usize = 10_000;

/// Content topics of kept messages that nobody asked for and that are answered all the same.
const MAX_MET: usize = 1_024;

/// Longest of these, in bytes: peers choose them.
const MAX_MET_BYTES: usize = 256;

/// More content topics than [`MAX_FOLLOWED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_FOLLOWED} content topics are followed, which is the most")]
pub(crate) struct TooMany;

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    capacity: usize,
    pubsub_topics: BTreeSet<PubsubTopic>,
    content_topics: BTreeSet<ContentTopic>,
    /// Content topics of messages that came on a pubsub topic that is followed.
    met: VecDeque<ContentTopic>,
    /// In the order in which they came.
    kept: VecDeque<(PubsubTopic, WakuMessage)>,
}

impl Cache {
    /// Room for so many messages.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Keeps what comes on this topic.
    pub(crate) fn follow_pubsub(&mut self, topic: PubsubTopic) {
        self.pubsub_topics.insert(topic);
    }

    /// Keeps what comes about these.
    ///
    /// # Errors
    /// When that is too much; then nothing has changed.
    pub(crate) fn follow_content(&mut self, topics: &[ContentTopic]) -> Result<(), TooMany> {
        let new: BTreeSet<_> = topics.iter().filter(|topic| !self.content_topics.contains(*topic)).collect();
        if self.content_topics.len() + new.len() > MAX_FOLLOWED {
            return Err(TooMany);
        }
        self.content_topics.extend(new.into_iter().cloned());
        Ok(())
    }

    /// Is this followed by somebody's wish?
    pub(crate) fn follows_pubsub(&self, topic: &PubsubTopic) -> bool {
        self.pubsub_topics.contains(topic)
    }

    /// Is this followed by somebody's wish?
    pub(crate) fn follows_content(&self, topic: &ContentTopic) -> bool {
        self.content_topics.contains(topic)
    }

    /// The content topics that are followed.
    pub(crate) fn content_topics(&self) -> impl Iterator<Item = &ContentTopic> {
        self.content_topics.iter()
    }

    /// Keeps it no longer, nor what came on it, unless that is about something that is followed.
    pub(crate) fn leave_pubsub(&mut self, topic: &PubsubTopic) {
        self.pubsub_topics.remove(topic);
        let Self { kept, content_topics, .. } = self;
        kept.retain(|(came_on, message)| came_on != topic || content_topics.contains(&message.content_topic));
    }

    /// Keeps it no longer, nor what is about it, unless that came on a topic that is followed.
    pub(crate) fn leave_content(&mut self, topic: &ContentTopic) {
        self.content_topics.remove(topic);
        self.met.retain(|met| met != topic);
        let Self { kept, pubsub_topics, .. } = self;
        kept.retain(|(came_on, message)| message.content_topic != *topic || pubsub_topics.contains(came_on));
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// A message has come. It is left alone when nobody follows it, or when its equal is here.
    pub(crate) fn offer(&mut self, topic: &PubsubTopic, message: &WakuMessage) {
        let is_followed = self.follows_pubsub(topic) || self.follows_content(&message.content_topic);
        if !is_followed || self.capacity == 0 || self.kept.iter().any(|(_, kept)| kept == message) {
            return;
        }
        if self.kept.len() >= self.capacity {
            let oldest = self.kept.iter().enumerate().min_by_key(|(_, (_, kept))| kept.timestamp.unwrap_or_default());
            if let Some(place) = oldest.map(|(place, _)| place) {
                self.kept.remove(place);
            }
        }
        self.meet(&message.content_topic);
        self.kept.push_back((topic.clone(), message.clone()));
    }

    fn meet(&mut self, topic: &ContentTopic) {
        if topic.as_str().len() > MAX_MET_BYTES || self.follows_content(topic) || self.met.contains(topic) {
            return;
        }
        if self.met.len() == MAX_MET {
            self.met.pop_front();
        }
        self.met.push_back(topic.clone());
    }

    /// Takes what came on a topic; `None` when that is not followed.
    pub(crate) fn take_pubsub(&mut self, topic: &PubsubTopic) -> Option<Vec<WakuMessage>> {
        self.follows_pubsub(topic).then(|| self.take(|came_on, _| came_on == topic))
    }

    /// Takes what is about a topic; `None` when that is not followed and never came by.
    pub(crate) fn take_content(&mut self, topic: &ContentTopic) -> Option<Vec<WakuMessage>> {
        let is_known = self.follows_content(topic) || self.met.contains(topic);
        is_known.then(|| self.take(|_, message| message.content_topic == *topic))
    }

    fn take(&mut self, is_wanted: impl Fn(&PubsubTopic, &WakuMessage) -> bool) -> Vec<WakuMessage> {
        let all = std::mem::take(&mut self.kept);
        let (taken, left): (VecDeque<_>, _) = all.into_iter().partition(|(topic, message)| is_wanted(topic, message));
        self.kept = left;
        taken.into_iter().map(|(_, message)| message).collect()
    }
}

/// A memory that several hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Cache>>);

impl Shared {
    /// Room for so many messages.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Cache::new(capacity))))
    }

    /// For a moment: nothing waits while it is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Cache::offer`].
    pub(crate) fn offer(&self, topic: &PubsubTopic, message: &WakuMessage) {
        self.lock().offer(topic, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pubsub(shard: u16) -> PubsubTopic {
        format!("/waku/2/rs/0/{shard}").parse().unwrap()
    }

    fn message(payload: &str, topic: &str, timestamp: i64) -> WakuMessage {
        WakuMessage {
            payload: payload.as_bytes().to_vec().into(),
            content_topic: topic.into(),
            version: 0,
            timestamp: Some(timestamp),
            meta: waku2::Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn payloads(taken: Option<Vec<WakuMessage>>) -> Option<Vec<String>> {
        Some(taken?.into_iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect())
    }

    fn told(payloads: &[&str]) -> Option<Vec<String>> {
        Some(payloads.iter().map(|payload| (*payload).to_owned()).collect())
    }

    #[test]
    fn what_nobody_follows_is_not_kept() {
        let mut cache = Cache::new(50);
        cache.offer(&pubsub(0), &message("a", "/a/1/b/c", 1));
        assert_eq!((cache.take_pubsub(&pubsub(0)), cache.take_content(&"/a/1/b/c".into())), (None, None));
        cache.follow_pubsub(pubsub(0));
        assert_eq!(payloads(cache.take_pubsub(&pubsub(0))), told(&[]));
    }

    #[test]
    fn it_is_taken_once_by_either_name_in_the_order_it_came() {
        let mut cache = Cache::new(50);
        cache.follow_pubsub(pubsub(0));
        for (payload, at) in [("a", 3), ("b", 1), ("c", 2)] {
            cache.offer(&pubsub(0), &message(payload, if payload == "b" { "/b" } else { "/a" }, at));
        }
        assert_eq!(payloads(cache.take_content(&"/b".into())), told(&["b"]), "nobody asked for it, and it came by");
        assert_eq!(payloads(cache.take_pubsub(&pubsub(0))), told(&["a", "c"]));
        assert_eq!(payloads(cache.take_pubsub(&pubsub(0))), told(&[]));
        assert_eq!(payloads(cache.take_content(&"/a".into())), told(&[]));
    }

    #[test]
    fn its_equal_is_kept_once_and_what_differs_is_another() {
        let mut cache = Cache::new(50);
        cache.follow_content(&["/a".into()]).unwrap();
        let first = message("a", "/a", 1);
        for again in [first.clone(), first.clone(), WakuMessage { ephemeral: true, ..first }] {
            cache.offer(&pubsub(0), &again);
            cache.offer(&pubsub(1), &again);
        }
        assert_eq!(cache.take_content(&"/a".into()).unwrap().len(), 2);
    }

    #[test]
    fn the_oldest_time_makes_room() {
        let mut cache = Cache::new(2);
        cache.follow_pubsub(pubsub(0));
        for (payload, at) in [("new", 9), ("old", 1), ("middle", 5)] {
            cache.offer(&pubsub(0), &message(payload, "/a", at));
        }
        assert_eq!(payloads(cache.take_pubsub(&pubsub(0))), told(&["new", "middle"]));
        let mut none = Cache::new(0);
        none.follow_pubsub(pubsub(0));
        none.offer(&pubsub(0), &message("a", "/a", 1));
        assert_eq!(payloads(none.take_pubsub(&pubsub(0))), told(&[]));
    }

    #[test]
    fn what_is_left_is_gone_unless_the_other_name_is_followed() {
        let mut cache = Cache::new(50);
        cache.follow_pubsub(pubsub(0));
        cache.follow_content(&["/a".into()]).unwrap();
        for topic in ["/a", "/b"] {
            cache.offer(&pubsub(0), &message(topic, topic, 1));
        }
        cache.leave_pubsub(&pubsub(0));
        assert_eq!(cache.take_pubsub(&pubsub(0)), None);
        assert_eq!(payloads(cache.take_content(&"/b".into())), told(&[]));
        assert_eq!(payloads(cache.take_content(&"/a".into())), told(&["/a"]));
        cache.leave_content(&"/a".into());
        assert_eq!(cache.take_content(&"/a".into()), None);
        cache.follow_pubsub(pubsub(0));
        cache.offer(&pubsub(0), &message("x", "/x", 1));
        cache.leave_content(&"/x".into());
        assert_eq!(payloads(cache.take_pubsub(&pubsub(0))), told(&["x"]));
        cache.reset();
        assert_eq!(cache.take_pubsub(&pubsub(0)), None);
    }

    #[test]
    fn content_topics_are_bounded_whoever_names_them() {
        let mut cache = Cache::new(1);
        let names: Vec<ContentTopic> = (0..MAX_FOLLOWED).map(|n| format!("/{n}").as_str().into()).collect();
        assert_eq!(cache.follow_content(&names), Ok(()));
        assert_eq!(cache.follow_content(&["/0".into()]), Ok(()), "it is there");
        assert_eq!(cache.follow_content(&["/0".into(), "/new".into()]), Err(TooMany));
        assert!(!cache.follows_content(&"/new".into()));
        cache.reset();
        cache.follow_pubsub(pubsub(0));
        let long = "x".repeat(MAX_MET_BYTES + 1);
        for name in (0..=MAX_MET).map(|n| format!("/{n}")).chain([long.clone()]) {
            cache.offer(&pubsub(0), &message("a", &name, 1));
        }
        assert_eq!(cache.met.len(), MAX_MET);
        assert_eq!(cache.take_content(&"/0".into()), None);
        assert_eq!(cache.take_content(&long.as_str().into()), None);
        assert_eq!(payloads(cache.take_content(&"/1".into())), told(&[]));
    }
}
