//! When to call a static peer again: a pure schedule of one peer.
//!
//! One second after the first failure, twice as long after each further one, each wait up to a quarter longer by chance so that two
//! nodes do not keep missing or doubling each other. Fifteen seconds at most for one that is not reached, so that a mesh is whole again
//! soon after a network has come back, however long it was away; five minutes for one that is there and does not want us. A
//! connection that lasted starts over.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// Wait after the first failure.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait for a peer that is not reached, chance not counted. A call may take as long again as a handshake may
/// ([`crate::Limits::handshake`]), and the mesh is to be there half a minute after the peer is.
pub const LONGEST_UNREACHED_WAIT: Duration = Duration::from_secs(15);

/// Longest wait for a peer that was reached and left at once, or was another than the one named; chance not counted.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A connection that held this long was a good one: the next wait is [`FIRST_WAIT`] again. A peer that takes us and
/// leaves at once, of another cluster perhaps, is called ever more seldom.
pub const LASTED: Duration = Duration::from_secs(30);

/// The calls to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redial {
    state: State,
    next_wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialling,
    Connected { since: Instant },
}

impl Redial {
    /// A peer to call at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { state: State::Waiting { until: now }, next_wait: FIRST_WAIT }
    }

    /// When to call; `None` while calling or connected.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Dialling | State::Connected { .. } => None,
        }
    }

    /// Takes the call if it is due: then the caller has to make it.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due_at().is_some_and(|at| at <= now);
        if due {
            self.state = State::Dialling;
        }
        due
    }

    /// The peer is there, whoever called.
    pub fn connected(&mut self, now: Instant) {
        if !matches!(self.state, State::Connected { .. }) {
            self.state = State::Connected { since: now };
        }
    }

    /// The call failed, or the connection is gone.
    pub fn lost(&mut self, now: Instant, rng: &mut impl Rng) {
        let State::Connected { since } = self.state else {
            return self.wait(now, LONGEST_UNREACHED_WAIT, rng);
        };
        if now.saturating_duration_since(since) >= LASTED {
            self.next_wait = FIRST_WAIT;
        }
        self.wait(now, LONGEST_WAIT, rng);
    }

    /// The call was answered by another than the one named.
    pub fn mistaken(&mut self, now: Instant, rng: &mut impl Rng) {
        self.wait(now, LONGEST_WAIT, rng);
    }

    /// The call was not made, or says nothing: it is due again.
    pub fn postponed(&mut self, now: Instant) {
        self.state = State::Waiting { until: now };
    }

    fn wait(&mut self, now: Instant, longest: Duration, rng: &mut impl Rng) {
        let wait = self.next_wait.min(longest);
        self.state = State::Waiting { until: now + wait.mul_f64(rng.random_range(1.0..1.25)) };
        self.next_wait = (wait * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::Limits;

    const SECOND: Duration = Duration::from_secs(1);

    /// Calls when due and fails; the wait until the next call.
    fn fail(redial: &mut Redial, rng: &mut StdRng) -> Duration {
        let at = redial.due_at().unwrap();
        assert!(redial.take_due(at));
        assert_eq!(redial.due_at(), None, "one call at a time");
        redial.lost(at, rng);
        redial.due_at().unwrap() - at
    }

    fn within(wait: Duration, secs: u32) -> bool {
        (secs * SECOND..=secs * SECOND * 5 / 4).contains(&wait)
    }

    #[test]
    fn waits_for_who_is_away_double_to_a_quarter_of_a_minute() {
        let (mut redial, mut rng) = (Redial::new(start()), StdRng::seed_from_u64(7));
        for secs in [1, 2, 4, 8, 15, 15, 15] {
            let wait = fail(&mut redial, &mut rng);
            assert!(within(wait, secs), "{wait:?} for {secs} s");
        }
    }

    #[test]
    fn waits_for_who_does_not_want_us_double_to_five_minutes() {
        let (mut redial, mut rng, mut now) = (Redial::new(start()), StdRng::seed_from_u64(7), start());
        for (n, secs) in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
            assert!(redial.take_due(now));
            if n % 2 == 0 {
                redial.connected(now);
                redial.lost(now, &mut rng);
            } else {
                redial.mistaken(now, &mut rng);
            }
            let wait = redial.due_at().unwrap() - now;
            assert!(within(wait, secs), "{wait:?} for {secs} s");
            now += wait;
        }
        assert!(redial.take_due(now));
        redial.lost(now, &mut rng);
        assert!(within(redial.due_at().unwrap() - now, 15), "now it is away");
    }

    /// Ten minutes without any of ten peers, each call hanging for as long as it may: from the return of the peers until all are there.
    #[test]
    fn f16_peers_that_were_away_for_ten_minutes_are_there_within_half_a_minute() {
        let (away, hangs) = (Duration::from_secs(600), Limits::default().handshake);
        for seed in 0..100 {
            let (begin, mut rng) = (start(), StdRng::seed_from_u64(seed));
            let mut redial = Redial::new(begin);
            assert!(redial.take_due(begin));
            redial.connected(begin);
            let gone = begin + LASTED;
            redial.lost(gone, &mut rng);
            let (back, mut called) = (gone + away, 0);
            let mut now = redial.due_at().unwrap();
            while now < back {
                assert!(redial.take_due(now));
                redial.lost(now + hangs, &mut rng);
                called += 1;
                now = redial.due_at().unwrap();
            }
            // A second until the call is noticed as due, and two heartbeats for the mesh.
            assert!(now + 3 * SECOND <= back + 30 * SECOND, "{:?}", now - back);
            assert!((20..=45).contains(&called), "{called} calls in ten minutes");
        }
    }

    #[test]
    fn a_call_is_not_due_early() {
        let begin = start();
        let (mut redial, mut rng) = (Redial::new(begin), StdRng::seed_from_u64(1));
        fail(&mut redial, &mut rng);
        assert!(!redial.take_due(begin + SECOND / 2));
        assert!(redial.take_due(begin + 2 * SECOND));
    }

    #[test]
    fn only_a_lasting_connection_starts_over() {
        let begin = start();
        let (mut redial, mut rng) = (Redial::new(begin), StdRng::seed_from_u64(3));
        fail(&mut redial, &mut rng);
        fail(&mut redial, &mut rng);
        redial.connected(begin);
        redial.connected(begin + LASTED);
        redial.lost(begin + LASTED / 2, &mut rng);
        assert!(within(redial.due_at().unwrap() - (begin + LASTED / 2), 4), "a short one counts as a failure");
        redial.connected(begin);
        redial.lost(begin + LASTED, &mut rng);
        assert!(within(redial.due_at().unwrap() - (begin + LASTED), 1));
    }

    fn start() -> Instant {
        devp2p::clock::now().instant
    }
}
