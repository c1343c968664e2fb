//! What came of asking.

use std::ops::RangeInclusive;

use super::Trouble;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Envelopes that are wanted, each counted once.
    pub envelopes: u64,
    /// The same again, of another page or server.
    pub duplicates: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Pages that came whole.
    pub pages: u64,
    /// Envelopes of other topics or times than were asked for.
    pub unwanted: u64,
    /// Items that are no envelopes.
    pub unreadable: u64,
    /// Packets that answer nothing that was asked.
    pub unasked: u64,
    /// When what is missing was sent, unix seconds; `None` when nothing is.
    pub gap: Option<RangeInclusive<u32>>,
    /// It ended because enough has come, not because all has.
    pub limited: bool,
    /// What each server did, by its number.
    pub servers: Vec<ServerReport>,
}

impl Report {
    /// Has all come?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gap.is_none()
    }
}

/// What one server did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// Pages that came whole.
    pub pages: u64,
    /// How often it was left.
    pub failures: u64,
    /// Why, the last time.
    pub last: Option<Trouble>,
}
