//! Small numbers for running peers, and sets of them: who is known to have an envelope, who is to be sent it.
//!
//! A set is a bit for each peer, so that marking a peer costs no allocation among the first 64, and everything known
//! about an envelope goes when the pool lets go of it.
//! Limit: as many slots as [`crate::node::MAX_PEERS`].

/// Bits of one word.
const WORD_BITS: usize = 64;

/// A set of slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct SlotSet {
    first: u64,
    /// The words after the first; the last of them is never zero, so that equal sets are equal values.
    more: Vec<u64>,
}

impl SlotSet {
    /// Adds a slot.
    pub(crate) fn insert(&mut self, slot: usize) {
        let (word, bit) = (slot / WORD_BITS, 1 << (slot % WORD_BITS));
        if word == 0 {
            self.first |= bit;
            return;
        }
        if self.more.len() < word {
            self.more.resize(word, 0);
        }
        self.more[word - 1] |= bit;
    }

    /// Takes a slot out.
    pub(crate) fn remove(&mut self, slot: usize) {
        let (word, bit) = (slot / WORD_BITS, 1 << (slot % WORD_BITS));
        if word == 0 {
            self.first &= !bit;
        } else if let Some(bits) = self.more.get_mut(word - 1) {
            *bits &= !bit;
            let used = self.more.iter().rposition(|bits| *bits != 0).map_or(0, |last| last + 1);
            self.more.truncate(used);
        }
    }

    /// Whether a slot is in it.
    pub(crate) fn contains(&self, slot: usize) -> bool {
        let (word, bit) = (slot / WORD_BITS, 1 << (slot % WORD_BITS));
        let bits = if word == 0 { self.first } else { self.more.get(word - 1).copied().unwrap_or(0) };
        bits & bit != 0
    }

    /// Whether no slot is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == 0 && self.more.is_empty()
    }

    /// The slots, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.first).chain(self.more.iter().copied()).enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                let lowest = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(word * WORD_BITS + lowest)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec((any::<bool>(), 0..300usize), 0..100)) {
            let (mut slots, mut model) = (SlotSet::default(), BTreeSet::new());
            for (add, slot) in steps {
                if add {
                    slots.insert(slot);
                    model.insert(slot);
                } else {
                    slots.remove(slot);
                    model.remove(&slot);
                }
                prop_assert_eq!(slots.contains(slot), add);
            }
            prop_assert!(slots.iter().eq(model.iter().copied()));
            prop_assert_eq!(slots.is_empty(), model.is_empty());
            let mut rebuilt = SlotSet::default();
            model.iter().for_each(|slot| rebuilt.insert(*slot));
            prop_assert_eq!(rebuilt, slots);
        }
    }
}
