//! The verdict on an envelope, given the time and what this node wants.  Spec: 5/WAKU0, "Messages".
//!
//! The checks and their order are those of status-go, so that peers agree on what travels: the time, the size, the
//! work, the interest. Own posts pass the same checks.

use crate::{envelope::Envelope, interest::Interest, pow::Pow};

/// How far ahead of our clock an envelope may have been sent, in seconds.
/// Source: status-go `waku/common/const.go`, `DefaultSyncAllowance`. Nimbus takes 2 s.
pub const FUTURE_TOLERANCE_SECS: u64 = 10;

/// For how many seconds after its expiry an envelope is ordinary weather. Source: status-go, twice the allowance.
pub const EXPIRED_TOLERANCE_SECS: u64 = 20;

/// What this node takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The least proof of work.
    pub min_pow: Pow,
    /// The topics.
    pub interest: Interest,
    /// The largest envelope, in bytes, as [`Envelope::size`] counts.
    pub max_message_size: usize,
}

/// Why an envelope is not taken. The peer is told nothing; some reasons are marks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Sent more than 10 s ahead of our clock.
    #[error("from the future")]
    Future,
    /// Expired more than 20 s ago.
    #[error("very old")]
    VeryOld,
    /// Expired.
    #[error("expired")]
    Expired,
    /// Larger than we take.
    #[error("too large")]
    TooLarge,
    /// To live for no time at all. Between trusted peers that is legal, in gossip it divides the work by zero.
    #[error("a TTL of 0")]
    ZeroTtl,
    /// Less work than we ask for.
    #[error("too little proof of work")]
    LowPow,
    /// Of a topic that we did not ask for.
    #[error("of no interest")]
    NotWanted,
}

impl Refusal {
    /// Whether it is a mark against the peer that sent it. A clock that is off is not.
    #[must_use]
    pub fn is_a_mark(self) -> bool {
        match self {
            Self::Future | Self::VeryOld | Self::Expired => false,
            Self::TooLarge | Self::ZeroTtl | Self::LowPow | Self::NotWanted => true,
        }
    }
}

/// Judges one envelope at `now`, in unix seconds. When it is taken, the verdict is the proof of work to go by: that of an envelope
/// from the near future counts the seconds that it is ahead, and one more, as life time.
///
/// # Errors
/// [`Refusal`]: the first check that it does not pass.
pub fn admit(envelope: &Envelope, now: u64, policy: &Policy) -> Result<Pow, Refusal> {
    before_pow(envelope, now, policy)?;
    let sent = u64::from(envelope.sent());
    let ahead = if sent > now { sent - now + 1 } else { 0 };
    let pow = envelope.pow_over(u64::from(envelope.ttl()) + ahead);
    if pow < policy.min_pow {
        return Err(Refusal::LowPow);
    }
    if !policy.interest.matches(envelope.topic()) {
        return Err(Refusal::NotWanted);
    }
    Ok(pow)
}

/// The checks that come before the proof of work, and cost next to nothing.
pub(crate) fn before_pow(envelope: &Envelope, now: u64, policy: &Policy) -> Result<(), Refusal> {
    let sent = u64::from(envelope.sent());
    let expiry = u64::from(envelope.expiry());
    if sent > now + FUTURE_TOLERANCE_SECS {
        return Err(Refusal::Future);
    }
    if expiry + EXPIRED_TOLERANCE_SECS < now {
        return Err(Refusal::VeryOld);
    }
    if expiry < now {
        return Err(Refusal::Expired);
    }
    if envelope.size() > policy.max_message_size {
        return Err(Refusal::TooLarge);
    }
    if envelope.ttl() == 0 {
        return Err(Refusal::ZeroTtl);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::{pow::Unsealed, topic::Topic};

    const EXPIRY: u32 = 1_582_200_000;
    const TTL: u32 = 15;

    /// The printed envelope with ten zero bits: a work of about 4.
    fn envelope() -> Envelope {
        Envelope::new(EXPIRY, TTL, "f8946aac".parse().unwrap(), Bytes::from_static(&[1, 2, 3, 4]), 1143).unwrap()
    }

    fn policy(min_pow: f64) -> Policy {
        Policy { min_pow: Pow::new(min_pow).unwrap(), interest: Interest::EVERYTHING, max_message_size: 1 << 20 }
    }

    fn at(now: u64) -> Result<Pow, Refusal> {
        admit(&envelope(), now, &policy(0.002))
    }

    #[test]
    fn time_has_a_tolerance_on_both_sides() {
        let (sent, expiry) = (u64::from(EXPIRY - TTL), u64::from(EXPIRY));
        assert_eq!(at(sent - 11), Err(Refusal::Future));
        assert!(at(sent - 10).is_ok());
        assert!(at(expiry).is_ok());
        assert_eq!(at(expiry + 1), Err(Refusal::Expired));
        assert_eq!(at(expiry + 20), Err(Refusal::Expired));
        assert_eq!(at(expiry + 21), Err(Refusal::VeryOld));
    }

    #[test]
    fn seconds_ahead_count_as_life() {
        let sent = u64::from(EXPIRY - TTL);
        assert_eq!(at(sent), Ok(Pow::of(10, 17, 15)));
        assert_eq!(at(sent - 1), Ok(Pow::of(10, 17, 17)));
        assert_eq!(at(sent - 10), Ok(Pow::of(10, 17, 26)));
    }

    #[test]
    fn exactly_the_floor_passes() {
        let floor = envelope().pow().value();
        let now = u64::from(EXPIRY);
        assert!(admit(&envelope(), now, &policy(floor)).is_ok());
        assert_eq!(admit(&envelope(), now, &policy(floor.next_up())), Err(Refusal::LowPow));
    }

    /// No data and a second to live is the cheapest work there is: the RLP without the nonce still counts.
    #[test]
    fn h30_work_is_compared_exactly_also_for_nothing_that_lives_a_second() {
        let now = u64::from(EXPIRY);
        let unsealed = Unsealed::new(EXPIRY, 1, Topic([7; 4]), Bytes::new()).unwrap();
        let short_rlp = 1 + 5 + 1 + 5 + 1;
        assert_eq!(unsealed.short_rlp_len(), short_rlp);
        for bits in [1, 5, 9] {
            let nonce = (0..).find(|nonce| unsealed.zero_bits(*nonce) == bits).unwrap();
            let envelope = unsealed.clone().seal(nonce);
            let work = f64::from(1 << bits) / short_rlp as f64;
            for (floor, taken) in [(work.next_down(), true), (work, true), (work.next_up(), false)] {
                let expected = if taken { Ok(Pow::new(work).unwrap()) } else { Err(Refusal::LowPow) };
                assert_eq!(admit(&envelope, now, &policy(floor)), expected, "{bits} bits, {floor}");
            }
        }
    }

    #[test]
    fn size_counts_twenty_and_the_data() {
        let now = u64::from(EXPIRY);
        assert!(admit(&envelope(), now, &Policy { max_message_size: 24, ..policy(0.0) }).is_ok());
        assert_eq!(admit(&envelope(), now, &Policy { max_message_size: 23, ..policy(0.0) }), Err(Refusal::TooLarge));
    }

    #[test]
    fn a_ttl_of_zero_is_refused_even_without_a_floor() {
        let momentary = Envelope::new(EXPIRY, 0, Topic([0; 4]), Bytes::new(), 0).unwrap();
        assert_eq!(admit(&momentary, u64::from(EXPIRY), &policy(0.0)), Err(Refusal::ZeroTtl));
    }

    #[test]
    fn the_largest_ttl_does_not_wrap() {
        let eternal = Envelope::new(u32::MAX, u32::MAX, Topic([0; 4]), Bytes::new(), 0).unwrap();
        assert!(admit(&eternal, 0, &policy(0.0)).is_ok());
        assert_eq!(admit(&eternal, 1 << 40, &policy(0.0)), Err(Refusal::VeryOld));
    }

    #[test]
    fn other_topics_are_not_wanted() {
        let elsewhere = Interest::topics(vec![Topic([0; 4])]).unwrap();
        let policy = Policy { interest: elsewhere, ..policy(0.0) };
        assert_eq!(admit(&envelope(), u64::from(EXPIRY), &policy), Err(Refusal::NotWanted));
    }

    /// What status-go made of the recorded case, in our terms.
    fn recorded_verdict(case: &Value) -> Result<Pow, Refusal> {
        let expired = || case["expiry"].as_u64().unwrap() < case["now"].as_u64().unwrap();
        match case["error"].as_str().unwrap() {
            "<nil>" => Ok(Pow::new(case["pow_as_judged"].as_f64().unwrap()).unwrap()),
            "envelope from future" => Err(Refusal::Future),
            "very old envelope" => Err(Refusal::VeryOld),
            "failed to add envelope" if expired() => Err(Refusal::Expired),
            error if error.starts_with("huge messages") => Err(Refusal::TooLarge),
            error if error.starts_with("envelope with low PoW") => Err(Refusal::LowPow),
            error if error.starts_with("envelope does not match topic") => Err(Refusal::NotWanted),
            error => panic!("no verdict of ours for {error:?}"),
        }
    }

    /// status-go tolerated every bloom for the ten seconds after it was set, when these were recorded; so only topic
    /// interest decides here.
    #[test]
    fn every_recorded_verdict() {
        let recorded: Value = serde_json::from_str(include_str!("../../fixtures/envelopes/verdicts.json")).unwrap();
        let cases = recorded["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 120);
        for case in cases {
            let envelope = Envelope::decode(hex::decode(case["rlp"].as_str().unwrap()).unwrap().into()).unwrap();
            let topics = case["filter"]["topics"].as_array();
            let policy = Policy {
                min_pow: Pow::new(case["min_pow"].as_f64().unwrap()).unwrap(),
                interest: topics.map_or(Interest::EVERYTHING, |topics| {
                    Interest::topics(topics.iter().map(|topic| topic.as_str().unwrap().parse().unwrap()).collect())
                        .unwrap()
                }),
                max_message_size: usize::try_from(case["max_message_size"].as_u64().unwrap()).unwrap(),
            };
            assert_eq!(admit(&envelope, case["now"].as_u64().unwrap(), &policy), recorded_verdict(case), "{case}");
        }
    }
}
