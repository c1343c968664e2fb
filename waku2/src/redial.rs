//! When to call a static peer again: a pure schedule of one peer.
//!
//! One second after the first failure, twice as long after each further one, five minutes at most, each wait up to a quarter
//! longer by chance so that two nodes do not keep missing or doubling each other. A connection that lasted starts over.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// Wait after the first failure.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait, chance not counted: a peer back from maintenance is found within minutes.
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
        if let State::Connected { since } = self.state
            && now.saturating_duration_since(since) >= LASTED
        {
            self.next_wait = FIRST_WAIT;
        }
        let wait = self.next_wait.mul_f64(rng.random_range(1.0..1.25));
        self.state = State::Waiting { until: now + wait };
        self.next_wait = (self.next_wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

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
    fn waits_double_to_five_minutes() {
        let (mut redial, mut rng) = (Redial::new(start()), StdRng::seed_from_u64(7));
        for secs in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let wait = fail(&mut redial, &mut rng);
            assert!(within(wait, secs), "{wait:?} for {secs} s");
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
