//! The messages of the last minutes by hash, so that each is given on once. Pure.
//!
//! Limits: [`MAX_HASHES`], about 100 bytes each; when there are more, the oldest is forgotten before its time.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::hash::MessageHash;

/// How long a message is known after it was met last.  Deployed: nwaku.
pub const MEMORY: Duration = Duration::from_secs(2 * 60);

/// Most hashes known: 500 messages a second for [`MEMORY`], which is more than a shard carries.
pub const MAX_HASHES: usize = 60_000;

/// What was met lately.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    met_at: HashMap<MessageHash, Instant>,
    /// In the order of their times; those met again stand here more than once, and only their last time counts.
    order: VecDeque<(Instant, MessageHash)>,
}

impl Recent {
    /// Notes a message; true when it was not known.
    pub(crate) fn is_new(&mut self, now: Instant, hash: MessageHash) -> bool {
        self.forget(now);
        self.order.push_back((now, hash));
        self.met_at.insert(hash, now).is_none()
    }

    /// Drops what is older than [`MEMORY`], and makes room for one more.
    fn forget(&mut self, now: Instant) {
        while let Some(&(at, hash)) = self.order.front() {
            if self.order.len() < MAX_HASHES && now.saturating_duration_since(at) < MEMORY {
                break;
            }
            self.order.pop_front();
            if self.met_at.get(&hash) == Some(&at) {
                self.met_at.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> MessageHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        bytes.into()
    }

    #[test]
    fn a_message_is_new_again_two_minutes_after_it_was_met_last() {
        let start = devp2p::clock::now().instant;
        let at = |secs| start + Duration::from_secs(secs);
        let mut recent = Recent::default();
        assert!(recent.is_new(at(0), hash(1)) && !recent.is_new(at(119), hash(1)));
        assert!(recent.is_new(at(120), hash(2)) && !recent.is_new(at(238), hash(1)), "met at 119");
        assert!(recent.is_new(at(358), hash(1)), "120 s after");
        assert_eq!(recent.met_at.len(), 1);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let now = devp2p::clock::now().instant;
        let mut recent = Recent::default();
        for n in 0..100_000 {
            assert!(recent.is_new(now, hash(n)));
            assert!(recent.met_at.len() <= MAX_HASHES && recent.order.len() <= MAX_HASHES);
        }
        assert!(!recent.is_new(now, hash(99_999)) && recent.is_new(now, hash(0)));
        for n in 0..100_000 {
            assert_eq!(recent.is_new(now + Duration::from_nanos(n), hash(200_000)), n == 0, "{n}");
        }
        assert_eq!((recent.met_at.len(), recent.order.len()), (1, MAX_HASHES), "one message alone");
    }
}
