//! A bounded memory of message hashes seen on v2 lately, for [`crate::policy::Policy::restore_tagged`].

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use waku2::hash::MessageHash;

/// How long a hash is remembered, at least: twice the longest time to live that bridges give an envelope, so that the
/// message is still known when the last copy of its envelope comes.
const GENERATION: Duration = Duration::from_secs(600);
/// Hashes in one of the two generations, 32 bytes each. Beyond it the older generation goes early; the price is a message
/// published to a network that has it.
const MAX_GENERATION: usize = 65_536;

/// Two generations: the younger takes new hashes, the older goes when the younger is full or of age.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    younger: HashSet<MessageHash>,
    older: HashSet<MessageHash>,
    since: Option<Instant>,
}

impl Recent {
    pub(crate) fn insert(&mut self, at: Instant, hash: MessageHash) {
        let since = *self.since.get_or_insert(at);
        if at.saturating_duration_since(since) > GENERATION || self.younger.len() >= MAX_GENERATION {
            self.older = std::mem::take(&mut self.younger);
            self.since = Some(at);
        }
        self.younger.insert(hash);
    }

    pub(crate) fn contains(&self, hash: &MessageHash) -> bool {
        self.younger.contains(hash) || self.older.contains(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passage::tests::now;

    fn hash(n: usize) -> MessageHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        MessageHash::from(bytes)
    }

    #[test]
    fn remembers_for_a_generation_and_forgets_after_two() {
        let start = now().instant;
        let mut recent = Recent::default();
        recent.insert(start, hash(1));
        recent.insert(start + GENERATION + Duration::from_secs(1), hash(2));
        assert!(recent.contains(&hash(1)) && recent.contains(&hash(2)));
        recent.insert(start + GENERATION * 2 + Duration::from_secs(2), hash(3));
        assert!(!recent.contains(&hash(1)) && recent.contains(&hash(2)));
    }

    #[test]
    fn holds_two_generations_at_most() {
        let start = now().instant;
        let mut recent = Recent::default();
        for n in 0..3 * MAX_GENERATION {
            recent.insert(start, hash(n));
        }
        assert!(recent.younger.len() + recent.older.len() <= 2 * MAX_GENERATION);
        assert!(!recent.contains(&hash(0)) && recent.contains(&hash(3 * MAX_GENERATION - 1)));
    }
}
