//! What becomes of messages that break a rule of the network, where the text and the deployed nodes differ: one switch a rule.
//!
//! Source of the text: 64/WAKU2-NETWORK. Deployed: nwaku. Being laxer than one's neighbours is self-harm, since whoever forwards
//! four messages that they reject is not listened to any more; being stricter costs nothing. So on the live network each rule
//! stands where [`Row::live`] says, and in either position throughout only when an operator asks for it.

use std::fmt;

/// Whose outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// That of 64/WAKU2-NETWORK.
    Text,
    /// That of nwaku.
    Deployed,
}

impl Position {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::Deployed];

    /// As flags and logs call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Deployed => "deployed",
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule with two outcomes. Those with one (what does not decode, a malformed proof, double signalling: Reject) need no switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Row {
    /// A time outside the window. Text: from the first nanosecond on. Deployed: in whole seconds, so nearly a second later.
    Timestamp,
    /// No proof, and free bandwidth left. Text: accepted. Deployed: there is no free bandwidth.
    Unproven,
    /// No proof, and no free bandwidth left. Text: ignored. Deployed: rejected.
    OverBandwidth,
    /// A proof of a current epoch that is not that of the message's time. Text: accepted. Deployed: rejected.
    OtherEpoch,
    /// A proof of a root that is not known. Text: ignored, after another look. Deployed: rejected.
    UnknownRoot,
    /// A proof that does not hold. Text: ignored. Deployed: rejected.
    InvalidProof,
    /// A field element not in its one form, or another application's identifier. Text: rejected. Deployed: not looked at, so that the
    /// rest decides, with elements reduced.
    NonCanonical,
    /// The same proof again. Text: ignored. Deployed: rejected.
    Replay,
}

impl Row {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 8] = [
        Self::Timestamp,
        Self::Unproven,
        Self::OverBandwidth,
        Self::OtherEpoch,
        Self::UnknownRoot,
        Self::InvalidProof,
        Self::NonCanonical,
        Self::Replay,
    ];

    /// As logs call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Unproven => "unproven",
            Self::OverBandwidth => "over-bandwidth",
            Self::OtherEpoch => "other-epoch",
            Self::UnknownRoot => "unknown-root",
            Self::InvalidProof => "invalid-proof",
            Self::NonCanonical => "non-canonical",
            Self::Replay => "replay",
        }
    }

    /// Is it about what a proof says? Such rules rest where proofs are not verified.
    #[must_use]
    pub const fn needs_verifier(self) -> bool {
        !matches!(self, Self::Timestamp | Self::Unproven | Self::OverBandwidth)
    }

    /// Its position on the live network: deployed exactly where the text would have us forward what neighbours reject.
    #[must_use]
    pub const fn live(self) -> Position {
        match self {
            Self::Unproven | Self::OtherEpoch => Position::Deployed,
            Self::Timestamp
            | Self::OverBandwidth
            | Self::UnknownRoot
            | Self::InvalidProof
            | Self::NonCanonical
            | Self::Replay => Position::Text,
        }
    }
}

/// The position of every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules([Position; Row::ALL.len()]);

impl Rules {
    /// All rules in one position.
    #[must_use]
    pub const fn all(position: Position) -> Self {
        Self([position; Row::ALL.len()])
    }

    /// As on the live network.
    #[must_use]
    pub fn live() -> Self {
        Self(Row::ALL.map(Row::live))
    }

    /// The same with one rule in another position.
    #[must_use]
    pub fn with(mut self, row: Row, position: Position) -> Self {
        self.0[row as usize] = position;
        self
    }

    /// The position of a rule.
    #[must_use]
    pub const fn of(&self, row: Row) -> Position {
        self.0[row as usize]
    }
}

impl Default for Rules {
    /// The text's.
    fn default() -> Self {
        Self::all(Position::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_places() {
        for (place, row) in Row::ALL.into_iter().enumerate() {
            assert_eq!(row as usize, place, "{}", row.name());
        }
    }

    #[test]
    fn the_live_network_is_deployed_where_neighbours_would_reject_and_text_elsewhere() {
        let deployed: Vec<Row> =
            Row::ALL.into_iter().filter(|row| Rules::live().of(*row) == Position::Deployed).collect();
        assert_eq!(deployed, [Row::Unproven, Row::OtherEpoch]);
    }

    #[test]
    fn one_rule_moves_alone() {
        for position in Position::ALL {
            for row in Row::ALL {
                let other = Position::ALL.into_iter().find(|p| *p != position).unwrap();
                let moved = Rules::all(position).with(row, other);
                assert!(Row::ALL.into_iter().all(|r| (moved.of(r) == other) == (r == row)));
            }
        }
        assert_eq!(Rules::default(), Rules::all(Position::Text));
    }
}
