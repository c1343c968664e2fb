//! How far our clock is from those of others: pure.  Spec: 64/WAKU2-NETWORK asks for synchronised clocks.
//!
//! The median over peers of the time in messages minus our own, of live messages that came first from them in the last [`WINDOW`]. A peer counts
//! once, with the median of its own, so that none outweighs the others; with fewer than [`MIN_PEERS`] nothing is said. What is measured
//! never changes our clock, but it says when messages that seem too old or too new are not their senders' fault: when our clock is far from
//! theirs, or has just jumped against the monotonic one, so that nothing that was measured holds any more. Limits: [`MAX_PEERS`], of each its last [`MAX_SAMPLES`]; who is one too many is not counted.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use devp2p::Now;
use libp2p::PeerId;

/// How far back it is looked.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);

/// How often it is measured.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Fewest peers that say something about our clock.
pub const MIN_PEERS: usize = 5;

/// From here on the operator is warned.
pub const WARN_ABOVE: Duration = Duration::from_secs(5);

/// Most peers that are counted.
pub const MAX_PEERS: usize = 64;

/// Most messages of one peer that are counted, the latest.
pub const MAX_SAMPLES: usize = 16;

/// What was measured last, for readers on other threads.
#[derive(Debug)]
pub struct Measured(AtomicI64);

impl Measured {
    /// Stands for no measurement. As one it would be 292 years.
    const NOTHING: i64 = i64::MIN;

    /// Tells what was measured, in nanoseconds.
    pub fn set(&self, skew_nanos: Option<i64>) {
        self.0.store(skew_nanos.unwrap_or(Self::NOTHING), Relaxed);
    }

    /// In seconds.
    #[must_use]
    pub fn secs(&self) -> Option<f64> {
        let nanos = self.0.load(Relaxed);
        (nanos != Self::NOTHING).then_some(nanos as f64 / 1e9)
    }
}

impl Default for Measured {
    /// Nothing yet.
    fn default() -> Self {
        Self(AtomicI64::new(Self::NOTHING))
    }
}

/// What messages said of the time.
#[derive(Debug, Default)]
pub struct Skew {
    peers: HashMap<PeerId, VecDeque<(Instant, i64)>>,
    /// The clocks when they were last looked at.
    last: Option<Now>,
    jumped_at: Option<Instant>,
}

impl Skew {
    /// Looks at the clocks. When the wall clock has jumped against the other one, everything is measured anew. To be called every
    /// few seconds at least: a clock that runs off in between is not told from one that jumped.
    pub fn look(&mut self, now: Now) {
        let Some(last) = self.last.replace(now) else { return };
        let expected = last.unix + now.instant.saturating_duration_since(last.instant);
        if now.unix.abs_diff(expected) > WARN_ABOVE {
            self.peers.clear();
            self.jumped_at = Some(now.instant);
        }
    }

    /// May our clock be the one that is off? For [`WINDOW`] after it has jumped, back to where it was as well, and as long as it is
    /// far from those of others. With fewer than [`MIN_PEERS`] that is not known after that time.
    pub fn is_in_doubt(&mut self, now: Now) -> bool {
        self.look(now);
        let has_jumped = self.jumped_at.is_some_and(|at| now.instant.saturating_duration_since(at) < WINDOW);
        has_jumped || self.measure(now.instant).is_some_and(Self::is_large)
    }

    /// A message that nobody had brought before came from `from`, and names this time, in nanoseconds since 1970.
    pub fn note(&mut self, now: Now, from: PeerId, timestamp: i64) {
        self.look(now);
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&from) {
            self.forget(now.instant);
            if self.peers.len() >= MAX_PEERS {
                return;
            }
        }
        let samples = self.peers.entry(from).or_default();
        if samples.len() >= MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now.instant, timestamp.saturating_sub(now.unix_nanos())));
    }

    /// How far others are ahead of us, in nanoseconds; `None` when too few have said anything.
    pub fn measure(&mut self, now: Instant) -> Option<i64> {
        self.forget(now);
        if self.peers.len() < MIN_PEERS {
            return None;
        }
        let of_peer = |samples: &VecDeque<(Instant, i64)>| median(samples.iter().map(|(_, skew)| *skew).collect());
        median(self.peers.values().filter_map(of_peer).collect())
    }

    /// Is what was measured worth a warning?
    #[must_use]
    pub fn is_large(skew_nanos: i64) -> bool {
        u128::from(skew_nanos.unsigned_abs()) > WARN_ABOVE.as_nanos()
    }

    fn forget(&mut self, now: Instant) {
        for samples in self.peers.values_mut() {
            while samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
                samples.pop_front();
            }
        }
        self.peers.retain(|_, samples| !samples.is_empty());
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    // Within `i64`: it lies between the two.
    Some(((i128::from(lower) + i128::from(upper)) / 2) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::validate::{Judged, Policy, Reason, Validator, Verdict};

    const SECOND: i64 = 1_000_000_000;

    fn now() -> Now {
        devp2p::clock::now()
    }

    /// Messages of so many peers, each this far ahead of us.
    fn heard(now: Now, skews: &[i64]) -> Skew {
        let mut skew = Skew::default();
        skews.iter().for_each(|ahead| skew.note(now, PeerId::random(), now.unix_nanos() + ahead));
        skew
    }

    #[test]
    fn five_peers_say_something_and_four_do_not() {
        let at = now();
        assert_eq!(heard(at, &[SECOND; 4]).measure(at.instant), None);
        assert_eq!(heard(at, &[SECOND; 5]).measure(at.instant), Some(SECOND));
        let skewed = [1, 2, 3, 4, 100].map(|secs| secs * SECOND);
        assert_eq!(heard(at, &skewed).measure(at.instant), Some(3 * SECOND));
        let even = [-2, -1, 4, 5, 6, 7].map(|secs| secs * SECOND);
        assert_eq!(heard(at, &even).measure(at.instant), Some(9 * SECOND / 2));
    }

    #[test]
    fn a_loud_peer_counts_once() {
        let at = now();
        let mut skew = heard(at, &[0; 5]);
        let liar = PeerId::random();
        (0..1_000).for_each(|_| skew.note(at, liar, i64::MAX));
        assert_eq!(skew.measure(at.instant), Some(0));
        assert_eq!(skew.peers[&liar].len(), MAX_SAMPLES);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let at = now();
        let mut skew = heard(at, &[SECOND; 5]);
        assert!(skew.measure((at.after(WINDOW - Duration::from_secs(1))).instant).is_some());
        assert_eq!(skew.measure(at.after(WINDOW).instant), None);
        assert!(skew.peers.is_empty());
    }

    #[test]
    fn peers_are_bounded_and_make_room_with_time() {
        let at = now();
        let mut skew = heard(at, &[0; MAX_PEERS]);
        skew.note(at, PeerId::random(), 0);
        assert_eq!(skew.peers.len(), MAX_PEERS);
        skew.note(at.after(WINDOW), PeerId::random(), 0);
        assert_eq!(skew.peers.len(), 1);
    }

    #[test]
    fn what_was_measured_is_told_until_nothing_is() {
        let measured = Measured::default();
        assert_eq!(measured.secs(), None);
        measured.set(Some(-3 * SECOND / 2));
        assert_eq!(measured.secs(), Some(-1.5));
        measured.set(None);
        assert_eq!(measured.secs(), None);
    }

    #[test]
    fn five_seconds_are_no_reason_to_worry() {
        for (skew, large) in [(5 * SECOND, false), (5 * SECOND + 1, true), (-6 * SECOND, true), (i64::MIN, true)] {
            assert_eq!(Skew::is_large(skew), large);
        }
    }

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A node of a network with a window, and six peers with clocks that are right; ours is set.
    struct Scene {
        right: Now,
        validator: Validator,
        skew: Skew,
        peers: Vec<PeerId>,
    }

    impl Scene {
        fn new(peers: usize) -> Self {
            let policy = Policy { timestamp_window: Some(Duration::from_secs(20)), ..Policy::default() };
            let peers = (0..peers).map(|_| PeerId::random()).collect();
            Self { right: now(), validator: Validator::new(policy), skew: Skew::default(), peers }
        }

        /// Ten seconds pass, and each peer brings a message; how they are judged by a clock that is so far from the right one.
        fn verdicts(&mut self, ours: impl Fn(Duration) -> Duration) -> Vec<Verdict> {
            self.right = self.right.after(Duration::from_secs(10));
            let now = Now { unix: ours(self.right.unix), ..self.right };
            self.skew.look(now);
            let peers = self.peers.clone();
            peers.into_iter().map(|peer| self.verdict(now, peer, self.right.unix_nanos())).collect()
        }

        fn verdict(&mut self, now: Now, peer: PeerId, timestamp: i64) -> Verdict {
            let topic = "/waku/2/rs/1/1".parse().unwrap();
            let bytes = [&[0x0a, 0x00, 0x12, 0x00, 0x50][..], &zigzag(timestamp)].concat();
            let Judged::Done(verdict, message) = self.validator.judge(&topic, &bytes.into(), now) else {
                unreachable!()
            };
            if message.is_some() || verdict.depends_on_time() {
                self.skew.note(now, peer, timestamp);
            }
            verdict.unless(|| self.skew.is_in_doubt(now))
        }
    }

    fn zigzag(number: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(((number << 1) ^ (number >> 63)) as u64, &mut bytes);
        bytes
    }

    #[test]
    fn f10_a_clock_that_jumps_a_day_costs_messages_while_it_is_off_and_no_peers() {
        for ahead in [true, false] {
            let off = |unix| if ahead { unix + DAY } else { unix - DAY };
            let mut scene = Scene::new(6);
            let accepted = vec![Verdict::Accept; 6];
            let ignored = vec![Verdict::Ignore(Reason::OutsideWindow); 6];
            assert!((0..60).all(|_| scene.verdicts(|unix| unix) == accepted));
            // An hour: long after the jump itself is forgotten.
            assert!((0..360).all(|_| scene.verdicts(off) == ignored), "nobody is blamed");
            assert!((0..60).all(|_| scene.verdicts(|unix| unix) == accepted), "right after the correction");
        }
    }

    #[test]
    fn f10_a_clock_that_runs_off_costs_no_peers() {
        let mut scene = Scene::new(6);
        let began = scene.right.unix;
        for _ in 0..360 {
            // A second a minute.
            let verdicts = scene.verdicts(|unix| unix + (unix - began) / 60);
            let is_blamed = |verdict: &Verdict| matches!(verdict, Verdict::Reject(_));
            assert!(!verdicts.iter().any(is_blamed), "{:?}", scene.right.unix - began);
        }
        assert_eq!(scene.verdicts(|unix| unix), [Verdict::Accept; 6]);
    }

    #[test]
    fn whose_clock_is_off_is_blamed_while_ours_is_not() {
        let mut scene = Scene::new(6);
        (0..60).for_each(|_| drop(scene.verdicts(|unix| unix)));
        let liar = PeerId::random();
        let rejected = Verdict::Reject(Reason::OutsideWindow);
        for _ in 0..1_000 {
            assert_eq!(scene.verdict(scene.right, liar, scene.right.unix_nanos() + 3_600 * SECOND), rejected);
        }
        // With four peers nobody knows whose clock it is, but a jump is seen.
        let mut few = Scene::new(4);
        (0..60).for_each(|_| drop(few.verdicts(|unix| unix)));
        let ignored = Verdict::Ignore(Reason::OutsideWindow);
        assert_eq!(few.verdicts(|unix| unix + DAY), [ignored; 4]);
        (0..30).for_each(|_| drop(few.verdicts(|unix| unix + DAY)));
        assert_eq!(few.verdicts(|unix| unix + DAY), [rejected; 4]);
    }

    proptest! {
        #[test]
        fn a_minority_cannot_move_it_beyond_the_honest(honest in prop::collection::vec(-SECOND..SECOND, 5..20), lie: i64) {
            let at = now();
            let mut skew = heard(at, &honest);
            (0..honest.len() - 1).for_each(|_| skew.note(at, PeerId::random(), lie));
            let measured = skew.measure(at.instant).unwrap();
            prop_assert!((-SECOND..SECOND).contains(&measured), "{measured}");
        }
    }
}
