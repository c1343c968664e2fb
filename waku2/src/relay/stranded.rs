//! Own messages that are handed to gossip again: no peer's queue had room for them, or those they went to are gone.
//!
//! libp2p's gossip notes a message as published even when no queue takes it, and from then on calls it a duplicate. A further attempt is
//! therefore made under another id: that of the bytes, and a number that no other attempt has. Only this node knows the id: peers make theirs from the
//! bytes, and one that is told of this id in gossip and asks for it gets the message.
//!
//! Limit: [`STRANDED`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use libp2p::gossipsub::MessageId;

use crate::hash::{GossipId, gossip_id};

/// Messages that are remembered, the oldest go first: more than a publisher has on its way. A further attempt of one that was forgotten is
/// called a duplicate for two minutes.
pub(super) const STRANDED: usize = 16_384;

/// Which attempt is under way; 0 is the first, and everything of others. Shared with the function that makes ids.
pub(super) type Attempt = Arc<AtomicU32>;

/// The id of a message while an attempt is under way.
pub(super) fn id(data: &[u8], attempt: &Attempt) -> MessageId {
    let id = gossip_id(data);
    match attempt.load(Relaxed) {
        0 => MessageId::new(id.as_bytes()),
        again => MessageId::new(&[&id.as_bytes()[..], &again.to_be_bytes()].concat()),
    }
}

/// The number of the next attempt of each.
#[derive(Debug, Default)]
pub(super) struct Stranded {
    attempts: HashMap<GossipId, u32>,
    last: u32,
    /// The oldest first; some may have gone out since.
    order: VecDeque<GossipId>,
    attempt: Attempt,
}

impl Stranded {
    pub(super) fn new(attempt: Attempt) -> Self {
        Self { attempt, ..Self::default() }
    }

    /// Hands a message to gossip, one that was tried before under an id that is new.
    pub(super) fn attempt<T>(&self, data: &[u8], publish: impl FnOnce() -> T) -> T {
        self.attempt.store(self.number(data), Relaxed);
        let done = publish();
        self.attempt.store(0, Relaxed);
        done
    }

    fn number(&self, data: &[u8]) -> u32 {
        if self.attempts.is_empty() { 0 } else { self.attempts.get(&gossip_id(data)).copied().unwrap_or_default() }
    }

    /// This attempt came to nothing: the next one is another.
    pub(super) fn failed(&mut self, data: &[u8]) {
        let id = gossip_id(data);
        self.last = self.last.wrapping_add(1).max(1);
        if let Some(number) = self.attempts.get_mut(&id) {
            *number = self.last;
            return;
        }
        if self.order.len() >= STRANDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.attempts.remove(&oldest);
        }
        self.attempts.insert(id, self.last);
        self.order.push_back(id);
    }

    /// It went out.
    pub(super) fn succeeded(&mut self, data: &[u8]) {
        if self.attempts.is_empty() {
            return;
        }
        self.attempts.remove(&gossip_id(data));
        if self.attempts.is_empty() {
            self.order.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_an_id_of_its_own_and_others_have_theirs() {
        let attempt = Attempt::default();
        let mut stranded = Stranded::new(Arc::clone(&attempt));
        let plain = id(b"a", &attempt);
        assert_eq!(plain.0, gossip_id(b"a").as_bytes());
        let mut seen = vec![plain.clone()];
        for _ in 0..3 {
            stranded.failed(b"a");
            let again = stranded.attempt(b"a", || id(b"a", &attempt));
            assert!(!seen.contains(&again));
            seen.push(again);
            assert_eq!(stranded.attempt(b"b", || id(b"b", &attempt)).0, gossip_id(b"b").as_bytes());
            assert_eq!(id(b"a", &attempt), plain, "come from others");
        }
        stranded.succeeded(b"a");
        assert_eq!(stranded.attempt(b"a", || id(b"a", &attempt)), plain);
        assert!(stranded.order.is_empty());
        stranded.failed(b"a");
        assert!(!seen.contains(&stranded.attempt(b"a", || id(b"a", &attempt))), "also after it went out");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut stranded = Stranded::default();
        let all = STRANDED as u64 + 1;
        (0..all).for_each(|n| stranded.failed(&n.to_be_bytes()));
        assert_eq!((stranded.order.len(), stranded.attempts.len()), (STRANDED, STRANDED));
        assert_eq!([0, 1, all - 1].map(|n: u64| stranded.number(&n.to_be_bytes())), [0, 2, 16_385]);
    }
}
