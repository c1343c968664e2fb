//! What may be found of a rate-limit proof (17/WAKU2-RLN-RELAY), and what becomes of its message.
//!
//! [`crate::rln`] finds it, where a network's proofs are verified ([`crate::validate::Policy::rln`]); elsewhere a message with a proof
//! is [`Finding::Unverified`] and passes. The table of outcomes is here and nowhere else, one line for each row of [`crate::rules`].

use crate::{
    rules::{Position, Row, Rules},
    validate::{Reason, Verdict},
};

/// What a verifier finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Nobody has looked.
    Unverified,
    /// All holds.
    Valid,
    /// No `RateLimitProof`: it does not decode, or a field has another length.
    Malformed,
    /// Its epoch is more than 20 s from our clock, or it allows more messages than the network does.
    Epoch,
    /// Its epoch is current, but not that of the message's time.
    OtherEpoch,
    /// Its root is not among those known, and stayed so.
    UnknownRoot,
    /// A field element is not below the modulus, or the identifier is another application's.
    NonCanonical,
    /// The proof, or the share's x, does not hold.
    Invalid,
    /// Its nullifier was seen with another share: the member sends more than its rate.
    DoubleSignal,
    /// Its nullifier was seen with the same share.
    Replay,
    /// There is no room to verify it, or to remember its nullifier, the verifier does not answer, or no root is known yet at all.
    Busy,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Unverified,
        Self::Valid,
        Self::Malformed,
        Self::Epoch,
        Self::OtherEpoch,
        Self::UnknownRoot,
        Self::NonCanonical,
        Self::Invalid,
        Self::DoubleSignal,
        Self::Replay,
        Self::Busy,
    ];

    /// What becomes of its message. Accept of [`Self::OtherEpoch`] and [`Self::NonCanonical`] says that this does not stand in its
    /// way: the other checks decide.
    #[must_use]
    pub fn verdict(self, rules: &Rules) -> Verdict {
        use Position::{Deployed, Text};
        use Verdict::{Accept, Ignore, Reject};
        match (self, self.row().map(|row| rules.of(row))) {
            (Self::Unverified | Self::Valid, _)
            | (Self::OtherEpoch, Some(Text))
            | (Self::NonCanonical, Some(Deployed)) => Accept,
            (Self::UnknownRoot, Some(Text)) => Ignore(Reason::UnknownRoot),
            (Self::Invalid, Some(Text)) => Ignore(Reason::InvalidProof),
            (Self::Replay, Some(Text)) => Ignore(Reason::Replay),
            (Self::Busy, _) => Ignore(Reason::Busy),
            (Self::Malformed | Self::NonCanonical, _) => Reject(Reason::MalformedProof),
            (Self::Epoch | Self::OtherEpoch, _) => Reject(Reason::Epoch),
            (Self::UnknownRoot, _) => Reject(Reason::UnknownRoot),
            (Self::Invalid, _) => Reject(Reason::InvalidProof),
            (Self::DoubleSignal, _) => Reject(Reason::DoubleSignal),
            (Self::Replay, _) => Reject(Reason::Replay),
        }
    }

    /// The rule whose position decides, where text and deployed nodes differ.
    const fn row(self) -> Option<Row> {
        match self {
            Self::OtherEpoch => Some(Row::OtherEpoch),
            Self::UnknownRoot => Some(Row::UnknownRoot),
            Self::NonCanonical => Some(Row::NonCanonical),
            Self::Invalid => Some(Row::InvalidProof),
            Self::Replay => Some(Row::Replay),
            Self::Unverified | Self::Valid | Self::Malformed | Self::Epoch | Self::DoubleSignal | Self::Busy => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of the table: finding, by the text, as deployed, on the live network.
    #[test]
    fn each_finding_in_each_position() {
        use Verdict::{Accept, Ignore, Reject};
        let table = [
            (Finding::Unverified, Accept, Accept, Accept),
            (Finding::Valid, Accept, Accept, Accept),
            (
                Finding::Malformed,
                Reject(Reason::MalformedProof),
                Reject(Reason::MalformedProof),
                Reject(Reason::MalformedProof),
            ),
            (Finding::Epoch, Reject(Reason::Epoch), Reject(Reason::Epoch), Reject(Reason::Epoch)),
            (Finding::OtherEpoch, Accept, Reject(Reason::Epoch), Reject(Reason::Epoch)),
            (
                Finding::UnknownRoot,
                Ignore(Reason::UnknownRoot),
                Reject(Reason::UnknownRoot),
                Ignore(Reason::UnknownRoot),
            ),
            (Finding::NonCanonical, Reject(Reason::MalformedProof), Accept, Reject(Reason::MalformedProof)),
            (
                Finding::Invalid,
                Ignore(Reason::InvalidProof),
                Reject(Reason::InvalidProof),
                Ignore(Reason::InvalidProof),
            ),
            (
                Finding::DoubleSignal,
                Reject(Reason::DoubleSignal),
                Reject(Reason::DoubleSignal),
                Reject(Reason::DoubleSignal),
            ),
            (Finding::Replay, Ignore(Reason::Replay), Reject(Reason::Replay), Ignore(Reason::Replay)),
            (Finding::Busy, Ignore(Reason::Busy), Ignore(Reason::Busy), Ignore(Reason::Busy)),
        ];
        assert_eq!(table.map(|(finding, ..)| finding), Finding::ALL);
        for (finding, text, deployed, live) in table {
            assert_eq!(finding.verdict(&Rules::all(Position::Text)), text, "{finding:?}");
            assert_eq!(finding.verdict(&Rules::all(Position::Deployed)), deployed, "{finding:?}");
            assert_eq!(finding.verdict(&Rules::live()), live, "{finding:?}");
        }
    }
}
