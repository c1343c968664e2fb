//! Proofs that do not hold, by who brought them: each has cost a verification. Pure.
//!
//! Limits: an entry lives as long as its peer's connections, and holds one time more than is allowed at most.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

/// How many in [`SPAN`] are borne.  A setting: [`super::Config::invalid_a_minute`].
pub const INVALID_A_MINUTE: usize = 20;

/// In which they are counted.
pub const SPAN: Duration = Duration::from_secs(60);

/// When who brought what.
#[derive(Debug)]
pub struct Blame<K> {
    most: usize,
    times: HashMap<K, VecDeque<Instant>>,
}

impl<K: Copy + Eq + Hash> Blame<K> {
    /// Bears so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, times: HashMap::new() }
    }

    /// `peer` brought one. True when that is the first one too many: it is to be left.
    pub fn invalid(&mut self, now: Instant, peer: K) -> bool {
        let times = self.times.entry(peer).or_default();
        times.retain(|at| now.saturating_duration_since(*at) < SPAN);
        let was_borne = times.len() <= self.most;
        if was_borne {
            times.push_back(now);
        }
        was_borne && times.len() > self.most
    }

    /// It is gone.
    pub fn gone(&mut self, peer: &K) {
        self.times.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use devp2p::clock;

    use super::*;

    #[test]
    fn twenty_a_minute_are_borne() {
        let (mut blame, start) = (Blame::new(INVALID_A_MINUTE), clock::now().instant);
        let second = Duration::from_secs(1);
        for n in 0..20 {
            assert!(!blame.invalid(start + n * second, 'a'));
        }
        assert!(!blame.invalid(start + 60 * second, 'a'), "the first one is a minute ago");
        assert!(!blame.invalid(start + 60 * second, 'b'), "each for itself");
        assert!(blame.invalid(start + 60 * second, 'a'));
        for _ in 0..1_000 {
            assert!(!blame.invalid(start + 60 * second, 'a'), "it is told once");
        }
        assert!(blame.times[&'a'].len() <= INVALID_A_MINUTE + 1);
        blame.gone(&'a');
        assert!(!blame.invalid(start + 60 * second, 'a'));
    }
}
