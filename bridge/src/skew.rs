//! What the envelopes of v1 peers say of our clock: pure.  Spec: 5/WAKU0 has no other time than an envelope's expiry.
//!
//! An envelope comes after it was sent, by seconds as a rule and by its whole time to live when a peer hands its pool over. So of each
//! peer the envelope counts that was the youngest of late, and over peers the median: one peer moves it no further than to its
//! neighbours. What our own node refuses never comes here: envelopes sent more than 10 s ahead of our clock, and expired ones, so that a
//! clock that is further behind shows only in [`waku2::skew`].
//!
//! Limits: [`MAX_PEERS`] peers, two samples of each; who is one too many is not counted.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use devp2p::clock::Now;

/// How long the youngest envelope of a peer counts: for this time and up to as long again.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Fewest peers that say something about our clock: with fewer, one of them would be the median.
pub const MIN_PEERS: usize = 3;
/// Most peers that are counted: several times the peers that a bridge has.
pub const MAX_PEERS: usize = 256;
/// How often it is measured, at most.
const EVERY: Duration = Duration::from_secs(1);

/// What peers say of the time.
#[derive(Debug)]
pub struct Skew<Peer> {
    peers: HashMap<Peer, Youngest>,
    measured_at: Option<Instant>,
    measured: Option<i64>,
}

/// How far a peer's youngest envelope was ahead of our clock, in nanoseconds: of this window, and of the one before.
#[derive(Debug, Clone, Copy)]
struct Youngest {
    since: Instant,
    this: i64,
    before: Option<i64>,
}

impl Youngest {
    fn note(&mut self, at: Instant, ahead: i64) {
        match at.saturating_duration_since(self.since) {
            age if age < WINDOW => self.this = self.this.max(ahead),
            age => {
                self.before = (age < WINDOW * 2).then_some(self.this);
                (self.since, self.this) = (at, ahead);
            }
        }
    }

    fn is_old(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.since) >= WINDOW * 2
    }

    fn ahead(&self) -> i64 {
        self.before.map_or(self.this, |before| before.max(self.this))
    }
}

impl<Peer> Default for Skew<Peer> {
    fn default() -> Self {
        Self { peers: HashMap::new(), measured_at: None, measured: None }
    }
}

impl<Peer: Eq + Hash> Skew<Peer> {
    /// A new envelope came from a peer, sent at `sent`, in unix seconds.
    pub fn note(&mut self, now: Now, peer: Peer, sent: u32) {
        let sent = i128::from(sent) * 1_000_000_000;
        let ahead = i64::try_from(sent - i128::from(now.unix_nanos())).unwrap_or(i64::MIN);
        if let Some(youngest) = self.peers.get_mut(&peer) {
            return youngest.note(now.instant, ahead);
        }
        if self.peers.len() >= MAX_PEERS {
            self.forget(now.instant);
        }
        if self.peers.len() < MAX_PEERS {
            self.peers.insert(peer, Youngest { since: now.instant, this: ahead, before: None });
        }
    }

    /// How far others are ahead of us, in nanoseconds; `None` while too few have said anything. It is measured anew once a second.
    pub fn measure(&mut self, at: Instant) -> Option<i64> {
        if self.measured_at.is_none_or(|last| at.saturating_duration_since(last) >= EVERY) {
            self.forget(at);
            self.measured_at = Some(at);
            self.measured = self.median();
        }
        self.measured
    }

    fn median(&self) -> Option<i64> {
        if self.peers.len() < MIN_PEERS {
            return None;
        }
        let mut ahead: Vec<i64> = self.peers.values().map(Youngest::ahead).collect();
        ahead.sort_unstable();
        ahead.get(ahead.len() / 2).copied()
    }

    fn forget(&mut self, at: Instant) {
        self.peers.retain(|_, youngest| !youngest.is_old(at));
    }
}

/// Of two measurements the one that is further off; a side that says nothing is not asked.
#[must_use]
pub fn further(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).max_by_key(|nanos| nanos.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passage::tests::now;

    const SECOND: i64 = 1_000_000_000;

    fn sent(ahead: i64) -> u32 {
        u32::try_from(now().unix_secs().checked_add_signed(ahead).unwrap()).unwrap()
    }

    fn heard(aheads: &[i64]) -> Skew<usize> {
        let mut skew = Skew::default();
        aheads.iter().enumerate().for_each(|(peer, ahead)| skew.note(now(), peer, sent(*ahead)));
        skew
    }

    #[test]
    fn three_peers_say_something_and_one_of_them_says_nothing_alone() {
        assert_eq!(heard(&[0, 0]).measure(now().instant), None);
        assert_eq!(heard(&[-1, -2, -3]).measure(now().instant), Some(-2 * SECOND));
        for liar in [-1_000_000, 10] {
            assert_eq!(heard(&[0, 0, liar]).measure(now().instant), Some(0), "{liar}");
        }
    }

    #[test]
    fn a_pool_that_is_handed_over_says_nothing_as_long_as_something_young_comes() {
        let mut skew = heard(&[0, 0, 0]);
        (0..3).for_each(|peer| (1..50).for_each(|age| skew.note(now(), peer, sent(-age))));
        assert_eq!(skew.measure(now().instant), Some(0));
    }

    #[test]
    fn what_was_heard_is_forgotten_after_two_windows() {
        let mut skew = heard(&[5, 5, 5]);
        let later = now().after(WINDOW);
        (0..3).for_each(|peer| skew.note(later, peer, sent(60)));
        assert_eq!(skew.measure(later.instant), Some(5 * SECOND));
        let later = now().after(WINDOW * 2);
        (0..3).for_each(|peer| skew.note(later, peer, sent(120)));
        assert_eq!(skew.measure(later.instant), Some(0));
        assert_eq!(skew.measure((later.after(WINDOW * 2)).instant), None);
    }

    #[test]
    fn no_more_peers_are_counted_than_there_is_room_for() {
        let mut skew = heard(&vec![0; MAX_PEERS]);
        (0..1_000).for_each(|n| skew.note(now(), MAX_PEERS + n, sent(-30)));
        assert_eq!((skew.peers.len(), skew.measure(now().instant)), (MAX_PEERS, Some(0)));
    }

    #[test]
    fn the_side_that_is_further_off_counts() {
        assert_eq!(further(None, None), None);
        assert_eq!(further(Some(-3), None), Some(-3));
        assert_eq!(further(Some(-3), Some(2)), Some(-3));
        assert_eq!(further(Some(i64::MIN), Some(i64::MAX)), Some(i64::MIN));
    }
}
