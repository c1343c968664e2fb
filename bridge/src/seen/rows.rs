//! Entries in the order in which they were made, and found by their keys.
//!
//! Keys stand in the rows alone: a table with keys and entries in it would be half empty when it has just grown, and there are a million.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use hashbrown::HashTable;

use super::{Entry, SeenKey};

/// The rows, oldest first.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: VecDeque<Row>,
    /// The number of the oldest row. Each has one more than the row before it.
    first: u64,
    /// Numbers of rows, found by the hash of their keys.
    index: HashTable<u64>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Row {
    made: Instant,
    key: SeenKey,
    entry: Entry,
}

// What `DEFAULT_MAX_ENTRIES` says of memory: a row, and up to 18 bytes of the index.
const _: () = assert!(size_of::<Row>() <= 144);

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// When the oldest was made.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.rows.front().map(|row| row.made)
    }

    pub(super) fn get(&self, key: &SeenKey) -> Option<&Entry> {
        self.place(key).and_then(|place| self.rows.get(place)).map(|row| &row.entry)
    }

    pub(super) fn get_mut(&mut self, key: &SeenKey) -> Option<&mut Entry> {
        let place = self.place(key)?;
        self.rows.get_mut(place).map(|row| &mut row.entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SeenKey, &Entry)> {
        self.rows.iter().map(|row| (&row.key, &row.entry))
    }

    /// Adds what has no row.
    pub(super) fn push(&mut self, made: Instant, key: SeenKey, entry: Entry) {
        let number = self.first + self.rows.len() as u64;
        self.rows.push_back(Row { made, key, entry });
        let Self { rows, first, index, hasher } = self;
        let hash =
            |number: &u64| place(*number, *first).and_then(|at| rows.get(at)).map(|row| hasher.hash_one(row.key));
        // What is in the index has a row, so that nothing hashes to 0 for want of one.
        index.insert_unique(hasher.hash_one(key), number, |number| hash(number).unwrap_or_default());
    }

    /// Takes the oldest away. False if there is none.
    pub(super) fn pop(&mut self) -> bool {
        let Some(row) = self.rows.pop_front() else { return false };
        let number = self.first;
        self.first += 1;
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(row.key), |other| *other == number) {
            found.remove();
        }
        true
    }

    fn place(&self, key: &SeenKey) -> Option<usize> {
        let is_it = |number: &u64| self.at(*number).is_some_and(|row| row.key == *key);
        let number = self.index.find(self.hasher.hash_one(key), is_it)?;
        place(*number, self.first)
    }

    fn at(&self, number: u64) -> Option<&Row> {
        self.rows.get(place(number, self.first)?)
    }
}

/// Where a row stands.
fn place(number: u64, first: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(first)?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{
        super::{Fingerprint, State},
        *,
    };
    use crate::{crossing::Direction, passage::tests::now};

    fn key(n: u8) -> SeenKey {
        SeenKey { fingerprint: Fingerprint::from_bytes([n; 32]), step: u64::from(n) }
    }

    fn entry(sent: u64) -> Entry {
        let first = Direction::V1ToV2;
        Entry { sent, first, state: State::Pending, envelope: None, message: None, copies: 0, kept: false }
    }

    proptest! {
        /// Against a list of keys and a map.
        #[test]
        fn agrees_with_a_list_and_a_map(steps in prop::collection::vec(prop::option::weighted(0.6, any::<u8>()), 0..2_000)) {
            let made = now().instant;
            let (mut rows, mut order, mut map) = (Rows::default(), VecDeque::new(), BTreeMap::new());
            for (sent, step) in (0..).zip(steps) {
                match step {
                    Some(n) => match rows.get_mut(&key(n)) {
                        Some(entry) => {
                            entry.copies = entry.copies.wrapping_add(1);
                            map.entry(n).and_modify(|entry: &mut Entry| entry.copies = entry.copies.wrapping_add(1));
                        }
                        None => {
                            rows.push(made, key(n), entry(sent));
                            order.push_back(n);
                            prop_assert_eq!(map.insert(n, entry(sent)), None);
                        }
                    },
                    None => {
                        let oldest = order.pop_front();
                        prop_assert_eq!(rows.pop(), oldest.is_some());
                        oldest.and_then(|n| map.remove(&n));
                    }
                }
                prop_assert_eq!((rows.len(), rows.index.len()), (order.len(), order.len()));
                prop_assert_eq!(rows.oldest().is_some(), !order.is_empty());
            }
            for n in 0..=u8::MAX {
                prop_assert_eq!(rows.get(&key(n)), map.get(&n));
            }
            prop_assert!(rows.iter().map(|(key, _)| *key).eq(order.iter().map(|n| key(*n))));
        }
    }
}
