//! Where own members are in the tree: what a proof needs beside the secret.
//!
//! A path goes with one root. It is asked for of the block whose root was read, and the root once more after it, so that a
//! reorganisation in between is noticed. Who proves checks nevertheless that path and root belong together: a proof for another
//! root is worth nothing, but costs a message id.

use std::collections::{BTreeMap, BTreeSet};

use waku2::rln::element::Element;

use crate::contract::{MAX_MEMBERS, Path};

/// Own members at most.
pub const MAX_OWN: usize = 64;

/// The indexes of own members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own(BTreeSet<u32>);

/// More than [`MAX_OWN`], or an index that is not in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_OWN} own members at most, each with an index below {MAX_MEMBERS}")]
pub struct NotOwn;

impl Own {
    /// These.
    ///
    /// # Errors
    /// [`NotOwn`].
    pub fn new(indexes: impl IntoIterator<Item = u32>) -> Result<Self, NotOwn> {
        let own: BTreeSet<u32> = indexes.into_iter().take(MAX_OWN * 2).collect();
        if own.len() <= MAX_OWN && own.iter().all(|index| *index < MAX_MEMBERS) { Ok(Self(own)) } else { Err(NotOwn) }
    }

    /// Them, in order.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The paths of all own members under one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The root.
    pub root: Element,
    /// The block of which it was.
    pub block: u64,
    /// By index.
    pub paths: BTreeMap<u32, Path>,
}

impl Places {
    /// Are these all own ones under this root?
    #[must_use]
    pub fn are_current(&self, root: &Element, own: &Own) -> bool {
        self.root == *root && self.paths.keys().copied().eq(own.indexes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::DEPTH;

    #[test]
    fn own_members_are_bounded_and_in_the_tree() {
        assert_eq!(Own::new([3, 1, 3]).unwrap().indexes().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(Own::new(0..65), Err(NotOwn));
        assert_eq!(Own::new([MAX_MEMBERS]), Err(NotOwn));
        assert!(Own::new([]).unwrap().is_empty());
    }

    #[test]
    fn places_are_of_one_root_and_of_all_own_members() {
        let own = Own::new([1, 3]).unwrap();
        let root = Element::from(1);
        let paths = [1, 3].map(|index| (index, [Element::ZERO; DEPTH])).into();
        let places = Places { root, block: 7, paths };
        assert!(places.are_current(&root, &own));
        assert!(!places.are_current(&Element::from(2), &own));
        assert!(!places.are_current(&root, &Own::new([1]).unwrap()));
    }
}
