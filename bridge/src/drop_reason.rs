//! Why something did not cross: a closed list, so that every loss has a name an operator can look up.
//!
//! Spec: 15/WAKU-BRIDGE says only that a bridge may drop; the names and the directions in which each occurs are this project's.
//! As there, *v1* is the legacy side (waku/0, waku/1, shh/6) and *v2* the libp2p side.

use std::fmt;

use crate::crossing::Direction;

/// Why an envelope or a message did not cross. The text of each is the `reason` label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// v1: came in a packet between trusted peers (126, 127), which was never meant for the network.
    P2pOnly,
    /// v1: time to live 0, or longer than the expiry.
    Malformed,
    /// v1: expired before it could be converted.
    Expired,
    /// Sent too far in the future: over 10 s on v1, over the 20 s of holding on v2.
    Future,
    /// v1: less proof of work than we require.
    LowPow,
    /// Over the largest size of v1.
    TooLargeV1,
    /// v1: the message would be over the largest size of the v2 cluster.
    TooLargeV2,
    /// No route for its topic, shard or direction.
    NoRoute,
    /// v2: content topic of another application.
    NotBridgeable,
    /// v2: a content topic under `/waku/1` that does not name four bytes.
    BadTopic,
    /// v2: a payload version that policy does not let through.
    UnsupportedVersion,
    /// v2: ephemeral, and policy drops those.
    Ephemeral,
    /// The same content within the tolerance, seen here or seen crossing elsewhere.
    Duplicate,
    /// Carries our origin tag: it came from the other side.
    Returning,
    /// Too old for the other side.
    Late,
    /// v2: would need more proof of work than we are willing to do.
    TooHard,
    /// v2: not mined in time.
    PowDeadline,
    /// v1: signed shard, and no key for it.
    NoKey,
    /// v1: no message id left in this RLN epoch.
    RlnBudget,
    /// v1: no RLN proof to be had.
    RlnUnavailable,
    /// v1: our clock is off by too much to publish.
    Clock,
    /// Over the rate of its route or peer.
    Rate,
    /// A loop is suspected.
    Quarantine,
    /// A queue was full, and this was the oldest in it.
    Shed,
    /// The other side refused it, or did not confirm it, to the end of its time.
    PublishFailed,
}

/// One row of the table: the reason, its name, whether it occurs from v1 to v2, and from v2 to v1.
type Row = (DropReason, &'static str, bool, bool);

/// The whole list, in the order of the enum.
const ROWS: [Row; DropReason::COUNT] = [
    (DropReason::P2pOnly, "p2p_only", true, false),
    (DropReason::Malformed, "malformed", true, false),
    (DropReason::Expired, "expired", true, false),
    (DropReason::Future, "future", true, true),
    (DropReason::LowPow, "low_pow", true, false),
    (DropReason::TooLargeV1, "too_large_v1", true, true),
    (DropReason::TooLargeV2, "too_large_v2", true, false),
    (DropReason::NoRoute, "no_route", true, true),
    (DropReason::NotBridgeable, "not_bridgeable", false, true),
    (DropReason::BadTopic, "bad_topic", false, true),
    (DropReason::UnsupportedVersion, "unsupported_version", false, true),
    (DropReason::Ephemeral, "ephemeral", false, true),
    (DropReason::Duplicate, "duplicate", true, true),
    (DropReason::Returning, "returning", true, true),
    (DropReason::Late, "late", true, true),
    (DropReason::TooHard, "too_hard", false, true),
    (DropReason::PowDeadline, "pow_deadline", false, true),
    (DropReason::NoKey, "no_key", true, false),
    (DropReason::RlnBudget, "rln_budget", true, false),
    (DropReason::RlnUnavailable, "rln_unavailable", true, false),
    (DropReason::Clock, "clock", true, false),
    (DropReason::Rate, "rate", true, true),
    (DropReason::Quarantine, "quarantine", true, true),
    (DropReason::Shed, "shed", true, true),
    (DropReason::PublishFailed, "publish_failed", true, true),
];

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = 25;

    /// Every reason, in the order of the enum.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    /// The name used in metrics, logs and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        ROWS[self as usize].1
    }

    /// What it says to somebody who misses a message.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::P2pOnly => "it was sent between trusted peers, not to the network",
            Self::Malformed => "its time to live is 0, or longer than its expiry",
            Self::Expired => "it had expired when it came",
            Self::Future => "it was sent too far ahead of our clock",
            Self::LowPow => "it has less proof of work than is required here (--waku-v1-pow)",
            Self::TooLargeV1 => "it is too large for waku/0",
            Self::TooLargeV2 => "it is too large for the Waku Network",
            Self::NoRoute => "no route takes its topic, shard or direction (causeway bridge check explains the table)",
            Self::NotBridgeable => "its content topic belongs to another application than waku",
            Self::BadTopic => "its content topic does not name four bytes, as /waku/1/0x01020304/rfc26 does",
            Self::UnsupportedVersion => {
                "its payload version is not let through (--bridge-unknown-version, --v0-policy)"
            }
            Self::Ephemeral => "it is ephemeral, and those are not let through (--ephemeral)",
            Self::Duplicate => "the same content crossed already, here or by another bridge",
            Self::Returning => "it carries a bridge's mark: it came from the other side",
            Self::Late => "it was too old for the other side when it came (--v1-late-policy, --v2-late-policy)",
            Self::TooHard => "it would need more proof of work than we are willing to do",
            Self::PowDeadline => "its proof of work was not found in time",
            Self::NoKey => "its shard is signed, and we have no key for it",
            Self::RlnBudget => "no more messages may be proven in this epoch",
            Self::RlnUnavailable => "no proof could be made for it",
            Self::Clock => "our clock is off by too much to publish",
            Self::Rate => "its route or its sender was over its rate",
            Self::Quarantine => "the same content goes round and round: somebody sends it back again and again",
            Self::Shed => "too much was waiting, and it was the oldest of the lowest priority",
            Self::PublishFailed => "the other side refused it or did not confirm it, to the end of its time",
        }
    }

    /// Whether this reason exists in a direction.
    #[must_use]
    pub const fn occurs(self, direction: Direction) -> bool {
        let row = ROWS[self as usize];
        match direction {
            Direction::V1ToV2 => row.2,
            Direction::V2ToV1 => row.3,
        }
    }
}

impl DropReason {
    /// Whether what does not cross for this reason may be kept as history, where there is an archive. Some of it by policy:
    /// see [`crate::history`].
    #[must_use]
    pub const fn is_kept(self, direction: Direction) -> bool {
        match self {
            Self::Late | Self::NoRoute | Self::PublishFailed => true,
            Self::PowDeadline => matches!(direction, Direction::V2ToV1),
            Self::TooLargeV2 | Self::Clock | Self::RlnBudget | Self::RlnUnavailable => {
                matches!(direction, Direction::V1ToV2)
            }
            _ => false,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for (index, reason) in DropReason::all().enumerate() {
            assert_eq!(reason as usize, index, "{reason}");
        }
        assert_eq!(DropReason::PublishFailed as usize + 1, DropReason::COUNT);
    }

    #[test]
    fn names_are_the_closed_list() {
        let names: Vec<_> = DropReason::all().map(DropReason::as_str).collect();
        assert_eq!(
            names.join(" "),
            "p2p_only malformed expired future low_pow too_large_v1 too_large_v2 no_route not_bridgeable bad_topic \
             unsupported_version ephemeral duplicate returning late too_hard pow_deadline no_key rln_budget rln_unavailable \
             clock rate quarantine shed publish_failed"
        );
    }

    #[test]
    fn what_is_kept_is_late_too_large_or_found_the_other_side_closed() {
        let kept = |direction| {
            let names: Vec<_> = DropReason::all().filter(|r| r.is_kept(direction)).map(DropReason::as_str).collect();
            names.join(" ")
        };
        assert_eq!(
            kept(Direction::V1ToV2),
            "too_large_v2 no_route late rln_budget rln_unavailable clock publish_failed"
        );
        assert_eq!(kept(Direction::V2ToV1), "no_route late pow_deadline publish_failed");
        let listed = |r: DropReason| Direction::ALL.into_iter().all(|d| !r.is_kept(d) || r.occurs(d));
        assert!(DropReason::all().all(listed));
    }

    #[test]
    fn every_reason_occurs_somewhere_and_ten_in_both_directions() {
        let both = |r: &DropReason| r.occurs(Direction::V1ToV2) && r.occurs(Direction::V2ToV1);
        assert!(DropReason::all().all(|r| r.occurs(Direction::V1ToV2) || r.occurs(Direction::V2ToV1)));
        assert_eq!(DropReason::all().filter(both).count(), 10);
        assert!(!DropReason::LowPow.occurs(Direction::V2ToV1) && !DropReason::BadTopic.occurs(Direction::V1ToV2));
    }
}
