//! What of whose ids is ours, and what of that is kept for whom.

use std::{collections::BTreeMap, sync::Arc};

use crate::contract::Commitment;

/// Memberships in a pool at most.
pub const MAX_MEMBERSHIPS: usize = 64;

/// Classes for which something is kept, at most.
pub const MAX_CLASSES: usize = 64;

/// A stretch of a membership's message ids. Several programs may share a membership if no id is in the range of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: u32,
    last: u32,
}

/// The range ends before it begins, or beyond the membership's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no range of message ids: {first} to {last}, of a membership with {limit}")]
pub struct NoRange {
    /// Its first id.
    pub first: u32,
    /// Its last.
    pub last: u32,
    /// How many the membership has; they count from 0.
    pub limit: u32,
}

impl Range {
    /// From `first` to `last`, both in it, of a membership with `limit` messages an epoch.
    ///
    /// # Errors
    /// [`NoRange`].
    pub const fn new(first: u32, last: u32, limit: u32) -> Result<Self, NoRange> {
        if first <= last && last < limit { Ok(Self { first, last }) } else { Err(NoRange { first, last, limit }) }
    }

    /// All of a membership with `limit` messages an epoch.
    ///
    /// # Errors
    /// [`NoRange`] if there are none.
    pub const fn all(limit: u32) -> Result<Self, NoRange> {
        Self::new(0, limit.saturating_sub(1), limit)
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.last as u64 - self.first as u64 + 1
    }

    /// Never.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The first of them at or after `id`.
    pub(super) fn from(self, id: u64) -> Option<u32> {
        let id = id.max(self.first.into());
        if id > self.last.into() { None } else { u32::try_from(id).ok() }
    }

    /// How many there are from `id` on.
    pub(super) fn left(self, id: u64) -> u64 {
        self.from(id).map_or(0, |id| u64::from(self.last - id) + 1)
    }

    /// The id after the last of a block of at most `ids` that begins at `id`.
    pub(super) fn block(self, id: u32, ids: u64) -> u64 {
        u64::from(id).saturating_add(ids).min(u64::from(self.last) + 1)
    }
}

/// A membership of ours. One identity in two groups is one here: its ids are what may not repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Whose.
    pub commitment: Commitment,
    /// Which of its ids are ours.
    pub range: Range,
}

/// What is kept: a share of all ids for each named class, in percent. The rest is for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserve(BTreeMap<Arc<str>, u8>);

/// More than all is kept, or for too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than 100 percent of the message ids are kept, or for more than {MAX_CLASSES} classes")]
pub struct NoReserve;

impl Reserve {
    /// So many percent for each class.
    ///
    /// # Errors
    /// [`NoReserve`].
    pub fn new(classes: impl IntoIterator<Item = (Arc<str>, u8)>) -> Result<Self, NoReserve> {
        let classes: BTreeMap<Arc<str>, u8> = classes.into_iter().take(MAX_CLASSES * 2).collect();
        let percent: u64 = classes.values().copied().map(u64::from).sum();
        if percent <= 100 && classes.len() <= MAX_CLASSES { Ok(Self(classes)) } else { Err(NoReserve) }
    }

    /// The name of this class, if something is kept for it.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&Arc<str>> {
        self.0.get_key_value(name).map(|(class, _)| class)
    }

    /// How many of `all` are kept for each class, rounded down.
    pub(super) fn kept(&self, all: u64) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.0.iter().map(move |(class, percent)| (class, all.saturating_mul((*percent).into()) / 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_limit() {
        assert_eq!(Range::all(100).unwrap().len(), 100);
        assert_eq!(Range::new(50, 99, 100).unwrap().len(), 50);
        for (first, last, limit) in [(0, 100, 100), (5, 4, 100), (0, 0, 0)] {
            assert_eq!(Range::new(first, last, limit), Err(NoRange { first, last, limit }));
        }
        assert!(Range::all(0).is_err());
    }

    #[test]
    fn a_range_is_walked_from_any_id() {
        let range = Range::new(50, 99, 100).unwrap();
        assert_eq!(
            (range.from(0), range.from(60), range.from(99), range.from(100)),
            (Some(50), Some(60), Some(99), None)
        );
        assert_eq!((range.left(0), range.left(98), range.left(u64::MAX)), (50, 2, 0));
        assert_eq!((range.block(50, 4), range.block(98, 4)), (54, 100));
        let whole = Range::all(u32::MAX).unwrap();
        assert_eq!(whole.block(u32::MAX - 1, 4), u64::from(u32::MAX));
    }

    #[test]
    fn no_more_than_all_is_kept() {
        let reserve =
            |classes: &[(&str, u8)]| Reserve::new(classes.iter().map(|(class, percent)| ((*class).into(), *percent)));
        assert_eq!(reserve(&[("status", 60), ("other", 41)]), Err(NoReserve));
        let kept = reserve(&[("status", 60), ("other", 33)]).unwrap();
        assert_eq!(
            kept.kept(50).map(|(class, ids)| (&**class, ids)).collect::<Vec<_>>(),
            [("other", 16), ("status", 30)]
        );
    }
}
