//! The topics that this node relays, and what metadata tells of them. Pure.

use std::collections::BTreeSet;

use crate::{
    metadata::Metadata,
    relay::MAX_TOPICS,
    shard::{ClusterId, SHARD_PREFIX, Shard, ShardError},
    topic::PubsubTopic,
};

/// Why a topic is not relayed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// A shard of another network; no peer of ours would take it.
    #[error("topic {topic} is not of cluster {}", .cluster.0)]
    ForeignTopic {
        /// Which.
        topic: PubsubTopic,
        /// Ours.
        cluster: ClusterId,
    },
    /// It begins as a shard does, and is none.
    #[error("topic {topic} names no shard: {cause}")]
    NoShard {
        /// Which.
        topic: PubsubTopic,
        /// What is wrong with it.
        cause: ShardError,
    },
    /// There are [`MAX_TOPICS`] already: leave one first.
    #[error("{MAX_TOPICS} topics are relayed already, which is the most")]
    TooManyTopics,
    /// Gossip does not take it.
    #[error("gossip refuses the topic: {0}")]
    Refused(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// The topics of one node.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    cluster: ClusterId,
    topics: BTreeSet<PubsubTopic>,
}

impl Subscriptions {
    /// None, in `cluster`.
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self { cluster, topics: BTreeSet::new() }
    }

    /// Takes one more. False when it was there before.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub(crate) fn add(&mut self, topic: &PubsubTopic) -> Result<bool, SubscribeError> {
        if topic.as_str().starts_with(SHARD_PREFIX) {
            let shard: Shard =
                topic.as_str().parse().map_err(|cause| SubscribeError::NoShard { topic: topic.clone(), cause })?;
            if shard.cluster != self.cluster {
                return Err(SubscribeError::ForeignTopic { topic: topic.clone(), cluster: self.cluster });
            }
        }
        if self.topics.contains(topic) {
            return Ok(false);
        }
        if self.topics.len() == MAX_TOPICS {
            return Err(SubscribeError::TooManyTopics);
        }
        Ok(self.topics.insert(topic.clone()))
    }

    /// Leaves one. False when it was not there.
    pub(crate) fn remove(&mut self, topic: &PubsubTopic) -> bool {
        self.topics.remove(topic)
    }

    /// Is it relayed?
    pub(crate) fn contains(&self, topic: &PubsubTopic) -> bool {
        self.topics.contains(topic)
    }

    /// What metadata tells: the cluster, and the shards among the topics. Those that are no shards are told by gossip alone.
    pub(crate) fn metadata(&self) -> Metadata {
        let shards = self.topics.iter().filter_map(|topic| topic.as_str().parse::<Shard>().ok());
        let shards: BTreeSet<u16> = shards.map(|shard| shard.index).collect();
        Metadata { cluster: Some(self.cluster), shards: shards.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MAX_FRAME_BYTES;

    fn topic(name: &str) -> PubsubTopic {
        name.parse().unwrap()
    }

    #[test]
    fn metadata_tells_at_once_what_comes_and_goes() {
        let mut ours = Subscriptions::new(ClusterId(1));
        assert_eq!(ours.metadata(), Metadata { cluster: Some(ClusterId(1)), shards: vec![] });
        for name in ["/waku/2/rs/1/10", "/waku/2/rs/1/9", "/waku/2/default-waku/proto"] {
            assert_eq!(ours.add(&topic(name)), Ok(true));
        }
        assert_eq!(ours.metadata().shards, [9, 10]);
        assert_eq!(ours.add(&topic("/waku/2/rs/1/9")), Ok(false));
        assert!(ours.remove(&topic("/waku/2/rs/1/9")) && !ours.remove(&topic("/waku/2/rs/1/9")));
        assert_eq!(ours.metadata().shards, [10]);
        assert!(ours.contains(&topic("/waku/2/rs/1/10")));
        assert_eq!(ours.topics.len(), 2);
    }

    #[test]
    fn what_peers_of_ours_would_not_take_is_refused() {
        let mut ours = Subscriptions::new(ClusterId(1));
        let foreign = topic("/waku/2/rs/2/9");
        let cluster = ClusterId(1);
        assert_eq!(ours.add(&foreign), Err(SubscribeError::ForeignTopic { topic: foreign.clone(), cluster }));
        for name in ["/waku/2/rs/1/x", "/waku/2/rs/1", "/waku/2/rs/01/2", "/waku/2/rs/1/65536"] {
            assert!(matches!(ours.add(&topic(name)), Err(SubscribeError::NoShard { .. })), "{name}");
        }
        assert_eq!(ours.topics.len(), 0);
    }

    #[test]
    fn topics_are_bounded_and_metadata_has_room_for_all() {
        let mut ours = Subscriptions::new(ClusterId(u16::MAX));
        let names = (0..=u16::MAX).rev().map(|index| PubsubTopic::from(Shard { cluster: ClusterId(u16::MAX), index }));
        let taken = names.take_while(|name| ours.add(name) == Ok(true)).count();
        assert_eq!(taken, MAX_TOPICS);
        let last = PubsubTopic::from(Shard { cluster: ClusterId(u16::MAX), index: u16::MAX });
        assert_eq!(ours.add(&last), Ok(false), "one that is there is no more");
        assert_eq!(ours.add(&topic("one more")), Err(SubscribeError::TooManyTopics));
        assert!(ours.metadata().encode().len() <= MAX_FRAME_BYTES, "{}", ours.metadata().encode().len());
        assert!(ours.remove(&last));
        assert_eq!(ours.add(&topic("one more")), Ok(true));
    }
}
