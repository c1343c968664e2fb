//! What may pass: ordered, pure checks on a message from the network, and their verdict.
//!
//! The order is the cost: size, decoding, then the table `CHECKS`; the first that does not accept decides. Rate-limit
//! proofs (17/WAKU2-RLN-RELAY) are another row of that table, after the cheap ones.
//!
//! Gossip has marked a message as seen *before* asking here: one that is ignored is not looked at again for two minutes, whoever
//! sends it. So ignoring is only for what no honest peer needs.  Spec: 11/WAKU2-RELAY; deployed: nwaku.

use std::time::Duration;

use bytes::Bytes;
use devp2p::clock::Now;

use crate::{
    message::{DecodeError, WakuMessage},
    relay::{self, MAX_RPC_BYTES},
    topic::PubsubTopic,
};

/// What becomes of a message: one-to-one with gossipsub's acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Relay and deliver it.
    Accept,
    /// Drop it; its sender is not to blame.
    Ignore(Reason),
    /// Drop it and lower its sender's score. Four of these and its peers stop listening to it.
    Reject(Reason),
}

/// Why a message does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its gossip frame is over [`MAX_RPC_BYTES`].
    TooLarge,
    /// No protobuf, or a field of the wrong type.
    Malformed,
    /// A field that must stand on the wire does not.
    FieldMissing,
    /// `meta` is over [`crate::message::MAX_META_BYTES`].
    MetaTooLong,
    /// Its time is further from ours than [`Policy::timestamp_window`], or it has none.
    OutsideWindow,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, by [`Self::index`].
    pub const ALL: [Self; 5] =
        [Self::TooLarge, Self::Malformed, Self::FieldMissing, Self::MetaTooLong, Self::OutsideWindow];

    /// Its place in [`Self::ALL`] and among counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A short name, for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::FieldMissing => "field_missing",
            Self::MetaTooLong => "meta_too_long",
            Self::OutsideWindow => "outside_window",
        }
    }
}

impl From<&DecodeError> for Reason {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Malformed(_) => Self::Malformed,
            DecodeError::NoPayload | DecodeError::NoContentTopic => Self::FieldMissing,
            DecodeError::MetaTooLong(_) => Self::MetaTooLong,
        }
    }
}

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// How far a message's time may be from ours, either way. `None`, the default, does not look at it: relay is for live
    /// messages of any clock, and only networks with rate-limit proofs bind the time.
    pub timestamp_window: Option<Duration>,
}

/// The checks on a decoded message, cheapest first.
const CHECKS: &[fn(&Policy, &WakuMessage, Now) -> Verdict] = &[within_window];

/// The verdict on `data`, published on `topic`, and the message when it is accepted.
#[must_use]
pub fn validate(policy: &Policy, topic: &PubsubTopic, data: &Bytes, now: Now) -> (Verdict, Option<WakuMessage>) {
    if relay::frame_bytes(topic, data.len()) > MAX_RPC_BYTES {
        return (Verdict::Reject(Reason::TooLarge), None);
    }
    let message = match WakuMessage::decode_shared(data.clone()) {
        Ok(message) => message,
        Err(error) => return (Verdict::Reject(Reason::from(&error)), None),
    };
    let refused = CHECKS.iter().map(|check| check(policy, &message, now)).find(|verdict| *verdict != Verdict::Accept);
    match refused {
        Some(verdict) => (verdict, None),
        None => (Verdict::Accept, Some(message)),
    }
}

/// Ignored rather than rejected: a peer with another window has done nothing wrong.
fn within_window(policy: &Policy, message: &WakuMessage, now: Now) -> Verdict {
    let Some(window) = policy.timestamp_window else { return Verdict::Accept };
    let distance = message.timestamp.map(|nanos| Duration::from_nanos(nanos.abs_diff(now.unix_nanos())));
    match distance {
        Some(distance) if distance <= window => Verdict::Accept,
        _ => Verdict::Ignore(Reason::OutsideWindow),
    }
}

#[cfg(test)]
mod tests {
    use devp2p::clock;

    use super::*;
    use crate::message::Meta;

    const MESSAGE_SECS: u64 = 1_700_000_000;

    fn topic() -> PubsubTopic {
        "/waku/2/rs/1/1".parse().unwrap()
    }

    fn message(payload_bytes: usize, timestamp: Option<i64>) -> WakuMessage {
        WakuMessage {
            payload: vec![7; payload_bytes].into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp,
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn stamped() -> WakuMessage {
        message(3, Some(MESSAGE_SECS as i64 * 1_000_000_000))
    }

    /// The wall clock at `secs`; the monotonic one does not matter here.
    fn at(secs: u64) -> Now {
        Now { unix: Duration::from_secs(secs), ..clock::now() }
    }

    fn judge(policy: &Policy, data: Bytes, now: Now) -> Verdict {
        let (verdict, message) = validate(policy, &topic(), &data, now);
        assert_eq!(verdict == Verdict::Accept, message.is_some());
        verdict
    }

    #[test]
    fn the_window_is_off_by_default() {
        let policy = Policy::default();
        for timestamp in [None, Some(i64::MIN), Some(i64::MAX), Some(1)] {
            assert_eq!(judge(&policy, message(3, timestamp).encode(), at(MESSAGE_SECS)), Verdict::Accept);
        }
    }

    #[test]
    fn a_window_is_inclusive_both_ways_and_asks_for_a_time() {
        let policy = Policy { timestamp_window: Some(Duration::from_secs(20)) };
        let outside = Verdict::Ignore(Reason::OutsideWindow);
        for (now, verdict) in [
            (MESSAGE_SECS - 21, outside),
            (MESSAGE_SECS - 20, Verdict::Accept),
            (MESSAGE_SECS + 20, Verdict::Accept),
            (MESSAGE_SECS + 21, outside),
        ] {
            assert_eq!(judge(&policy, stamped().encode(), at(now)), verdict, "{now}");
        }
        for timestamp in [None, Some(i64::MIN), Some(i64::MAX)] {
            assert_eq!(judge(&policy, message(3, timestamp).encode(), at(MESSAGE_SECS)), outside);
        }
    }

    #[test]
    fn what_does_not_decode_is_rejected_by_cause() {
        let policy = Policy::default();
        for (data, reason) in [
            (&b"\xff"[..], Reason::Malformed),
            (b"\x0a\x00", Reason::FieldMissing),
            (b"\x12\x00", Reason::FieldMissing),
            (b"", Reason::FieldMissing),
        ] {
            assert_eq!(judge(&policy, Bytes::from_static(data), at(0)), Verdict::Reject(reason), "{data:x?}");
        }
        let mut meta = b"\x0a\x00\x12\x00\x5a\x41".to_vec();
        meta.extend([0; 65]);
        assert_eq!(judge(&policy, meta.into(), at(0)), Verdict::Reject(Reason::MetaTooLong));
    }

    #[test]
    fn the_frame_decides_on_the_size() {
        let overhead = message(100_000, None).encode().len() - 100_000;
        let largest = (0..200)
            .map(|slack| MAX_RPC_BYTES - overhead - slack)
            .find(|bytes| relay::frame_bytes(&topic(), bytes + overhead) <= MAX_RPC_BYTES)
            .unwrap();
        assert_eq!(judge(&Policy::default(), message(largest, None).encode(), at(0)), Verdict::Accept);
        let over = message(largest + 1, None).encode();
        assert_eq!(judge(&Policy::default(), over, at(0)), Verdict::Reject(Reason::TooLarge));
    }

    #[test]
    fn reasons_count_themselves() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
