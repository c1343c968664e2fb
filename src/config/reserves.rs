//! What a route file keeps of our rate, where v2 asks for rate-limit proofs: a share for each class of routes.
//!
//! `[rln.CLASS]` with `percent` keeps so much of all messages of an epoch for the routes that say `rln = "CLASS"`. What is kept for nobody
//! is for whoever comes first, those routes as well once they have spent theirs. Limit: [`MAX_CLASSES`].

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

/// Classes at most.
pub const MAX_CLASSES: usize = 64;
/// All messages of an epoch, in percent.
const ALL: u16 = 100;

/// Percent of the messages of an epoch, by class. Never more than all together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reserves(BTreeMap<Arc<str>, u8>);

/// Why shares can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Nobody counts messages there.
    #[error(
        "[rln.{0}]: this network asks for no rate-limit proofs, so there is no rate to keep a share of; leave it out"
    )]
    NoProofs(String),
    /// None, or more than all.
    #[error("[rln.{0}] percent = {1}: give a number from 1 to 100")]
    Percent(String, u8),
    /// Together more than all.
    #[error("[rln]: {0} percent are kept in all; 100 is the most")]
    OverAll(u16),
    /// More than [`MAX_CLASSES`].
    #[error("[rln]: {0} classes; {MAX_CLASSES} is the most")]
    TooMany(usize),
    /// An empty name, or one that labels of metrics can't hold.
    #[error("[rln]: a class has a name of 1 to 64 printable characters")]
    Name,
}

/// A table of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    percent: u8,
}

impl Reserves {
    /// Of the tables of a file.
    pub(super) fn of_file(tables: BTreeMap<String, Share>, has_proofs: bool) -> Result<Self, ReserveError> {
        if tables.len() > MAX_CLASSES {
            return Err(ReserveError::TooMany(tables.len()));
        }
        let mut shares = BTreeMap::new();
        for (class, Share { percent }) in tables {
            if class.is_empty() || class.chars().count() > 64 || class.chars().any(char::is_control) {
                return Err(ReserveError::Name);
            }
            if !has_proofs {
                return Err(ReserveError::NoProofs(class));
            }
            if !(1..=ALL).contains(&percent.into()) {
                return Err(ReserveError::Percent(class, percent));
            }
            shares.insert(class.into(), percent);
        }
        let shares = Self(shares);
        if shares.kept() > ALL { Err(ReserveError::OverAll(shares.kept())) } else { Ok(shares) }
    }

    /// Each class with its percent, in order of their names.
    pub fn shares(&self) -> impl Iterator<Item = (&Arc<str>, u8)> {
        self.0.iter().map(|(class, percent)| (class, *percent))
    }

    /// The name of this class as the table has it, if it does.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<Arc<str>> {
        self.0.get_key_value(name).map(|(class, _)| Arc::clone(class))
    }

    /// Is nothing kept?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is kept for nobody, in percent.
    #[must_use]
    pub fn rest(&self) -> u16 {
        ALL.saturating_sub(self.kept())
    }

    fn kept(&self) -> u16 {
        self.0.values().copied().map(u16::from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, has_proofs: bool) -> Result<Reserves, ReserveError> {
        Reserves::of_file(toml::from_str(text).unwrap(), has_proofs)
    }

    #[test]
    fn what_is_kept_is_at_most_all() {
        let reserves = read("status.percent = 60\nother.percent = 40", true).unwrap();
        assert_eq!(
            reserves.shares().map(|(class, percent)| (&**class, percent)).collect::<Vec<_>>(),
            [("other", 40), ("status", 60)]
        );
        assert_eq!(
            (reserves.rest(), reserves.class("status").as_deref(), reserves.class("x")),
            (0, Some("status"), None)
        );
        assert_eq!(read("a.percent = 60\nb.percent = 41", true), Err(ReserveError::OverAll(101)));
        assert_eq!(read("a.percent = 0", true), Err(ReserveError::Percent("a".to_owned(), 0)));
        assert_eq!(read("a.percent = 101", true), Err(ReserveError::Percent("a".to_owned(), 101)));
        assert_eq!(read("\"\".percent = 1", true), Err(ReserveError::Name));
        let many: String = (0..=MAX_CLASSES).map(|n| format!("c{n}.percent = 1\n")).collect();
        assert_eq!(read(&many, true), Err(ReserveError::TooMany(65)));
    }

    #[test]
    fn where_no_proofs_are_asked_for_nothing_is_kept() {
        assert_eq!(read("", false).map(|reserves| (reserves.is_empty(), reserves.rest())), Ok((true, 100)));
        assert!(read("a.percent = 1", false).unwrap_err().to_string().contains("asks for no rate-limit proofs"));
    }
}
