//! What was relayed, by topic and by size, for who watches the node.
//!
//! Limit: [`MAX_TOPICS`] topics, the first that anything came or went on; further ones count by size alone.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::topic::PubsubTopic;

/// Topics that are told apart. Only those that this node relays come here.
pub const MAX_TOPICS: usize = 1_024;

/// Bounds of the classes of size, in kilobytes of 1,000 bytes.  Deployed: nwaku.
pub const SIZES_KB: [u16; 13] = [0, 1, 3, 5, 15, 50, 75, 100, 125, 150, 500, 700, 1_000];

/// Bytes of a kilobyte here.
const KB: usize = 1_000;

/// What one topic carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Messages of peers that were accepted.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Own messages sent.
    pub messages_out: u64,
    /// Their bytes, each message once.
    pub bytes_out: u64,
    /// The largest message, in bytes.
    pub largest: u64,
    /// Messages that were accepted, or published for others, with a proof that holds.
    pub proven: u64,
}

impl Carried {
    /// Bytes of all messages.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes_in.saturating_add(self.bytes_out)
    }

    /// Bytes of a message on average; 0 where there was none.
    #[must_use]
    pub const fn average(&self) -> u64 {
        match self.messages_in.saturating_add(self.messages_out) {
            0 => 0,
            messages => self.bytes() / messages,
        }
    }
}

/// Of all topics. Every number only grows.
#[derive(Debug, Default)]
pub struct Traffic {
    topics: Mutex<BTreeMap<PubsubTopic, Carried>>,
    /// Not cumulative; the last one holds what is above every bound.
    sizes: [AtomicU64; SIZES_KB.len() + 1],
    bytes: AtomicU64,
}

impl Traffic {
    /// A message of a peer was accepted.
    pub(crate) fn came(&self, topic: &PubsubTopic, bytes: usize) {
        let place = SIZES_KB.partition_point(|bound| usize::from(*bound) * KB < bytes);
        if let Some(class) = self.sizes.get(place) {
            class.fetch_add(1, Relaxed);
        }
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.count(topic, |carried| {
            carried.messages_in += 1;
            carried.bytes_in += bytes as u64;
            carried.largest = carried.largest.max(bytes as u64);
        });
    }

    /// An own message went out.
    pub(crate) fn went(&self, topic: &PubsubTopic, bytes: usize) {
        self.count(topic, |carried| {
            carried.messages_out += 1;
            carried.bytes_out += bytes as u64;
            carried.largest = carried.largest.max(bytes as u64);
        });
    }

    /// A message was accepted, and its proof holds.
    pub(crate) fn proven(&self, topic: &PubsubTopic) {
        self.count(topic, |carried| carried.proven += 1);
    }

    fn count(&self, topic: &PubsubTopic, change: impl FnOnce(&mut Carried)) {
        let mut topics = self.lock();
        if let Some(carried) = topics.get_mut(topic) {
            change(carried);
        } else if topics.len() < MAX_TOPICS {
            change(topics.entry(topic.clone()).or_default());
        }
    }

    /// What each topic carried, in order of their names.
    #[must_use]
    pub fn topics(&self) -> Vec<(PubsubTopic, Carried)> {
        self.lock().iter().map(|(topic, carried)| (topic.clone(), *carried)).collect()
    }

    /// How many messages of peers were so large: upper bounds in kilobytes, the last one infinite, and how many each holds.
    #[must_use]
    pub fn sizes(&self) -> Vec<(f64, u64)> {
        let bounds = SIZES_KB.iter().map(|bound| f64::from(*bound)).chain([f64::INFINITY]);
        bounds.zip(self.sizes.iter().map(|class| class.load(Relaxed))).collect()
    }

    /// All of these together, in kilobytes.
    #[must_use]
    pub fn kilobytes(&self) -> f64 {
        self.bytes.load(Relaxed) as f64 / KB as f64
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PubsubTopic, Carried>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(shard: usize) -> PubsubTopic {
        format!("/waku/2/rs/0/{shard}").parse().unwrap()
    }

    #[test]
    fn sizes_and_topics_are_counted() {
        let traffic = Traffic::default();
        for bytes in [0, 1_000, 1_001, 2_000_000] {
            traffic.came(&topic(0), bytes);
        }
        traffic.went(&topic(1), 300);
        traffic.went(&topic(1), 100);
        let sizes: Vec<(f64, u64)> = traffic.sizes().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(sizes, [(0.0, 1), (1.0, 1), (3.0, 1), (f64::INFINITY, 1)]);
        assert!((traffic.kilobytes() - 2_002.001).abs() < 1e-9);
        let [first, second] = traffic.topics().try_into().unwrap();
        assert_eq!((first.0, first.1.messages_in, first.1.average()), (topic(0), 4, 500_500));
        assert_eq!((second.1.bytes(), second.1.average(), second.1.largest), (400, 200, 300));
        assert_eq!(Carried::default().average(), 0);
    }

    #[test]
    fn topics_have_a_bound() {
        let traffic = Traffic::default();
        for shard in 0..MAX_TOPICS + 5 {
            traffic.came(&topic(shard), 1);
        }
        assert_eq!(traffic.topics().len(), MAX_TOPICS);
        assert_eq!(traffic.sizes()[1].1, MAX_TOPICS as u64 + 5);
    }
}
