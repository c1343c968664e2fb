//! Which of several providers is asked: core.
//!
//! The first that is not set aside. One that fails is set aside for a second, then for twice as long each time, until it has not
//! failed for [`FORGIVEN_AFTER`]: one that answers some questions and others never is soon left alone too. One of another chain is
//! left out for ten minutes. Whoever failed is asked for its chain again before it is asked for anything else.

use std::time::{Duration, Instant};

use super::Fault;

/// For how long a provider is set aside after its first failure.
pub const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The same after one that wants to be asked less and does not say how much.
pub const RATE_LIMITED_BACK_OFF: Duration = Duration::from_secs(5);

/// For how long at most; a provider that asks for more is asked again after this nevertheless.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// For how long one of another chain is left out.
pub const WRONG_CHAIN_BACK_OFF: Duration = Duration::from_secs(600);

/// How long after its last failure a provider that answers is as good as one that never failed.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(120);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Ask this one; first for its chain if that is not known.
    Ask {
        /// Which.
        provider: usize,
        /// Is its chain known?
        checked: bool,
    },
    /// All are set aside, the first of them until then.
    Wait(Instant),
    /// None that was not excluded.
    Nobody,
}

/// The state of all providers.
#[derive(Debug)]
pub(crate) struct Turns {
    providers: Vec<Provider>,
}

#[derive(Debug, Default)]
struct Provider {
    checked: bool,
    failures: u32,
    aside: Option<Instant>,
    failed: Option<Instant>,
    fault: Option<Fault>,
}

impl Turns {
    pub(crate) fn new(providers: usize) -> Self {
        Self { providers: (0..providers).map(|_| Provider::default()).collect() }
    }

    /// Whom to ask, of those not in `excluded`.
    pub(crate) fn pick(&self, now: Instant, excluded: &[usize]) -> Pick {
        let others = || self.providers.iter().enumerate().filter(|(which, _)| !excluded.contains(which));
        match others().find(|(_, provider)| provider.aside.is_none_or(|until| until <= now)) {
            Some((which, provider)) => Pick::Ask { provider: which, checked: provider.checked },
            None => others().filter_map(|(_, provider)| provider.aside).min().map_or(Pick::Nobody, Pick::Wait),
        }
    }

    /// It is of the right chain.
    pub(crate) fn checked(&mut self, which: usize) {
        self.change(which, |provider| provider.checked = true);
    }

    /// It answered.
    pub(crate) fn worked(&mut self, which: usize, now: Instant) {
        self.change(which, |provider| {
            (provider.aside, provider.fault) = (None, None);
            if provider.failed.is_some_and(|failed| now.saturating_duration_since(failed) >= FORGIVEN_AFTER) {
                (provider.failures, provider.failed) = (0, None);
            }
        });
    }

    /// It did not.
    pub(crate) fn failed(&mut self, which: usize, now: Instant, fault: &Fault) {
        self.change(which, |provider| {
            let wait = back_off(provider.failures, fault);
            provider.failures = provider.failures.saturating_add(1);
            // Somebody else may have come to its place.
            provider.checked = false;
            (provider.aside, provider.failed) = (now.checked_add(wait), Some(now));
            provider.fault = Some(fault.clone());
        });
    }

    /// Why all are set aside: the fault of the one that is asked next.
    pub(crate) fn fault(&self) -> Fault {
        let next = self.providers.iter().filter(|provider| provider.fault.is_some()).min_by_key(|next| next.aside);
        next.and_then(|provider| provider.fault.clone()).unwrap_or(Fault::Unreachable)
    }

    fn change(&mut self, which: usize, change: impl FnOnce(&mut Provider)) {
        if let Some(provider) = self.providers.get_mut(which) {
            change(provider);
        }
    }
}

/// How long to leave a provider alone that had failed so often before.
fn back_off(failures: u32, fault: &Fault) -> Duration {
    match fault {
        Fault::WrongChain { .. } => WRONG_CHAIN_BACK_OFF,
        Fault::RateLimited { after: Some(after) } => (*after).clamp(FIRST_BACK_OFF, MAX_BACK_OFF),
        Fault::RateLimited { after: None } => doubled(RATE_LIMITED_BACK_OFF, failures),
        _ => doubled(FIRST_BACK_OFF, failures),
    }
}

fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(MAX_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(provider: usize, checked: bool) -> Pick {
        Pick::Ask { provider, checked }
    }

    #[test]
    fn the_first_is_asked_while_it_answers_then_the_next() {
        let now = devp2p::clock::now().instant;
        let mut turns = Turns::new(2);
        assert_eq!(turns.pick(now, &[]), ask(0, false));
        turns.checked(0);
        assert_eq!(turns.pick(now, &[]), ask(0, true));
        assert_eq!(turns.pick(now, &[0]), ask(1, false));
        turns.failed(0, now, &Fault::Timeout);
        assert_eq!(turns.pick(now, &[]), ask(1, false));
        turns.failed(1, now, &Fault::Unreachable);
        assert_eq!(turns.pick(now, &[]), Pick::Wait(now + SECOND));
        assert_eq!(turns.pick(now, &[0, 1]), Pick::Nobody);
        assert_eq!(turns.pick(now + SECOND, &[]), ask(0, false), "its chain is asked for again");
    }

    #[test]
    fn f18_each_failure_doubles_the_wait_up_to_a_minute_and_an_answer_ends_it() {
        let now = devp2p::clock::now().instant;
        let mut turns = Turns::new(1);
        for secs in [1, 2, 4, 8, 16, 32, 60, 60] {
            turns.failed(0, now, &Fault::Timeout);
            assert_eq!(turns.pick(now, &[]), Pick::Wait(now + SECOND * secs));
        }
        turns.worked(0, now);
        assert_eq!(turns.pick(now, &[]), ask(0, false));
        turns.failed(0, now, &Fault::Timeout);
        assert_eq!(turns.pick(now, &[]), Pick::Wait(now + SECOND * 60), "it answers some questions only");
        let later = now + FORGIVEN_AFTER;
        turns.worked(0, later);
        turns.failed(0, later, &Fault::Timeout);
        assert_eq!(turns.pick(later, &[]), Pick::Wait(later + SECOND));
    }

    #[test]
    fn f18_who_wants_to_be_asked_less_is_and_another_chain_is_left_out() {
        let now = devp2p::clock::now().instant;
        let wrong = Fault::WrongChain { expected: 1, found: 2 };
        let limited = |after: Option<u64>| Fault::RateLimited { after: after.map(Duration::from_secs) };
        for (fault, secs) in [(limited(None), 5), (limited(Some(30)), 30), (limited(Some(100_000)), 60), (wrong, 600)] {
            let mut turns = Turns::new(1);
            turns.failed(0, now, &fault);
            assert_eq!(turns.pick(now, &[]), Pick::Wait(now + SECOND * secs), "{fault:?}");
            assert_eq!(turns.fault(), fault);
        }
    }

    proptest! {
        #[test]
        fn nobody_is_left_alone_for_longer_than_a_minute(failures in any::<u32>(), after in proptest::option::of(any::<u64>())) {
            let limited = Fault::RateLimited { after: after.map(Duration::from_secs) };
            for fault in [Fault::Garbage, limited] {
                let wait = back_off(failures, &fault);
                prop_assert!((FIRST_BACK_OFF..=MAX_BACK_OFF).contains(&wait));
            }
        }
    }
}
