//! What this node takes, over time: after a change the former value is tolerated for a while, because peers go by it until
//! they have read the update.
//!
//! Spec: 5/WAKU0 says nothing; status-go tolerates the former proof of work and filter for its sync allowance.
//! Limit: [`MAX_FORMER`] former values of each kind.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use devp2p::clock::Now;

use crate::{
    admit::{Policy, Refusal, admit},
    envelope::Envelope,
    interest::Interest,
    pow::Pow,
};

/// For how long a former value is tolerated. Source: status-go `waku/common/const.go`, `DefaultSyncAllowance`.
pub const SETTINGS_TOLERANCE: Duration = Duration::from_secs(10);

/// Former values kept of each kind; the oldest goes first. Peers are told at most ten changes a second and cannot follow
/// more than a few.
pub const MAX_FORMER: usize = 8;

/// The policy, and what it was before.
#[derive(Debug)]
pub(crate) struct Acceptance {
    policy: Policy,
    former_pows: VecDeque<(Pow, Instant)>,
    former_interests: VecDeque<(Interest, Instant)>,
}

impl Acceptance {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, former_pows: VecDeque::new(), former_interests: VecDeque::new() }
    }

    /// What is taken now, without tolerance.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn set_min_pow(&mut self, now: Instant, min_pow: Pow) {
        let former = std::mem::replace(&mut self.policy.min_pow, min_pow);
        remember(&mut self.former_pows, now, former);
    }

    pub(crate) fn set_interest(&mut self, now: Instant, interest: Interest) {
        let former = std::mem::replace(&mut self.policy.interest, interest);
        remember(&mut self.former_interests, now, former);
    }

    /// What is larger was never taken, so there is nothing to tolerate.
    pub(crate) fn set_max_message_size(&mut self, bytes: usize) {
        self.policy.max_message_size = bytes;
    }

    /// Judges an envelope as [`admit`] does, and once more by what was asked for a moment ago if that refuses it.
    pub(crate) fn judge(&self, now: Now, envelope: &Envelope) -> Result<Pow, Refusal> {
        match admit(envelope, now.unix_secs(), &self.policy) {
            Err(refusal @ (Refusal::LowPow | Refusal::NotWanted)) => self.tolerate(now, envelope).ok_or(refusal),
            verdict => verdict,
        }
    }

    fn tolerate(&self, now: Now, envelope: &Envelope) -> Option<Pow> {
        let mut pows = alive(&self.former_pows, now.instant).copied();
        let mut interests = alive(&self.former_interests, now.instant);
        let topic = envelope.topic();
        if !self.policy.interest.matches(topic) && !interests.any(|interest| interest.matches(topic)) {
            return None;
        }
        let least = pows.by_ref().fold(self.policy.min_pow, Pow::min);
        let max_message_size = self.policy.max_message_size;
        let policy = Policy { min_pow: least, interest: Interest::EVERYTHING, max_message_size };
        admit(envelope, now.unix_secs(), &policy).ok()
    }
}

fn remember<T>(former: &mut VecDeque<(T, Instant)>, now: Instant, value: T) {
    former.retain(|(_, until)| *until >= now);
    if former.len() >= MAX_FORMER {
        former.pop_front();
    }
    former.push_back((value, now + SETTINGS_TOLERANCE));
}

fn alive<T>(former: &VecDeque<(T, Instant)>, now: Instant) -> impl Iterator<Item = &T> {
    former.iter().filter(move |(_, until)| *until >= now).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{bloom::Bloom, topic::Topic};

    const A: Topic = Topic(*b"aaaa");
    const B: Topic = Topic(*b"bbbb");

    fn now() -> Now {
        Now { unix: Duration::from_secs(1_000), ..devp2p::clock::now() }
    }

    fn pow(value: f64) -> Pow {
        Pow::new(value).unwrap()
    }

    fn envelope(topic: Topic) -> Envelope {
        Envelope::new(1_060, 60, topic, Bytes::new(), 1).unwrap()
    }

    fn acceptance(interest: Interest) -> Acceptance {
        Acceptance::new(Policy { min_pow: Pow::ZERO, interest, max_message_size: 1 << 20 })
    }

    fn only(topic: Topic) -> Interest {
        Interest::topics(vec![topic]).unwrap()
    }

    #[test]
    fn a_former_floor_is_tolerated_for_ten_seconds() {
        let (now, mut acceptance) = (now(), acceptance(Interest::EVERYTHING));
        acceptance.set_min_pow(now.instant, pow(1e9));
        assert!(acceptance.judge(now, &envelope(A)).is_ok());
        assert!(acceptance.judge(now.after(SETTINGS_TOLERANCE), &envelope(A)).is_ok());
        let later = now.after(SETTINGS_TOLERANCE + Duration::from_millis(1));
        assert_eq!(acceptance.judge(later, &envelope(A)), Err(Refusal::LowPow));
    }

    #[test]
    fn a_lower_floor_holds_at_once() {
        let (now, mut acceptance) = (now(), acceptance(Interest::EVERYTHING));
        acceptance.policy.min_pow = pow(1e9);
        assert_eq!(acceptance.judge(now, &envelope(A)), Err(Refusal::LowPow));
        acceptance.set_min_pow(now.instant, Pow::ZERO);
        assert!(acceptance.judge(now, &envelope(A)).is_ok());
    }

    #[test]
    fn every_recent_interest_counts_with_every_recent_floor() {
        let (now, mut acceptance) = (now(), acceptance(only(A)));
        acceptance.set_interest(now.instant, Interest::Bloom(Bloom::EMPTY));
        acceptance.set_interest(now.instant, only(B));
        acceptance.set_min_pow(now.instant, pow(1e9));
        assert!(acceptance.judge(now, &envelope(A)).is_ok() && acceptance.judge(now, &envelope(B)).is_ok());
        assert_eq!(acceptance.judge(now, &envelope(Topic(*b"cccc"))), Err(Refusal::LowPow));
        let later = now.after(Duration::from_secs(11));
        acceptance.set_min_pow(later.instant, Pow::ZERO);
        assert_eq!(acceptance.judge(later, &envelope(A)), Err(Refusal::NotWanted));
        assert!(acceptance.judge(later, &envelope(B)).is_ok());
    }

    #[test]
    fn time_is_not_tolerated_and_former_values_have_an_end() {
        let (now, mut acceptance) = (now(), acceptance(only(A)));
        for n in 0..100_u32 {
            acceptance.set_interest(now.instant, only(Topic(n.to_be_bytes())));
            acceptance.set_min_pow(now.instant, pow(1.0));
        }
        assert_eq!((acceptance.former_interests.len(), acceptance.former_pows.len()), (MAX_FORMER, MAX_FORMER));
        let late = Now { unix: Duration::from_secs(1_061), ..now };
        assert_eq!(acceptance.judge(late, &envelope(Topic(99_u32.to_be_bytes()))), Err(Refusal::Expired));
    }
}
