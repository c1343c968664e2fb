//! Epochs of which it is forgotten what went out in them, so that nothing does any more: core.
//!
//! They may be past, or to come, where a clock had run ahead. Kept are spans from one epoch to another. Limit: [`MAX_SHUT`]; more
//! are joined, the two with the least between them, which is shut too then. Never what lies around the present.

use std::collections::BTreeMap;

use waku2::rln::epoch::Epoch;

/// Spans that are kept. What was given out in each epoch on end is one span.
pub const MAX_SHUT: usize = 8;

/// Spans, each by its first epoch with its last. None touches another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shut(BTreeMap<Epoch, Epoch>);

impl Shut {
    /// Is it in one of them?
    #[must_use]
    pub fn contains(&self, epoch: Epoch) -> bool {
        self.0.range(..=epoch).next_back().is_some_and(|(_, last)| epoch <= *last)
    }

    /// Each span: its first epoch, and its last.
    pub fn spans(&self) -> impl Iterator<Item = (Epoch, Epoch)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// This one too. What is joined to make room does not have `present` in it.
    pub fn add(&mut self, epoch: Epoch, present: Epoch) {
        self.add_span(epoch, epoch);
        while self.0.len() > MAX_SHUT && self.join_nearest(present) {}
    }

    /// All from the one to the other, which is not before it.
    pub(super) fn add_span(&mut self, mut first: Epoch, mut last: Epoch) {
        // What overlaps it or touches it becomes one with it.
        let near =
            |(from, to): &(Epoch, Epoch)| from.0 <= last.0.saturating_add(1) && first.0 <= to.0.saturating_add(1);
        let joined: Vec<_> = self.spans().filter(near).collect();
        for (from, to) in joined {
            self.0.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.0.insert(first, last);
    }

    /// Of three spans two can always be joined without the present.
    fn join_nearest(&mut self, present: Epoch) -> bool {
        let pairs = self.spans().zip(self.spans().skip(1));
        let pairs = pairs.filter(|((_, last), (next, _))| !(*last < present && present < *next));
        let nearest = pairs.min_by_key(|((_, last), (next, _))| next.0.saturating_sub(last.0));
        let Some(((first, _), (next, last))) = nearest else { return false };
        self.0.remove(&next);
        self.0.insert(first, last);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn spans(shut: &Shut) -> Vec<(u64, u64)> {
        shut.spans().map(|(first, last)| (first.0, last.0)).collect()
    }

    #[test]
    fn neighbours_are_one_and_too_many_are_joined_where_the_least_is_between() {
        let mut shut = Shut::default();
        for epoch in [20, 18, 19, 19, 30] {
            shut.add(Epoch(epoch), Epoch(0));
        }
        assert_eq!(spans(&shut), [(18, 20), (30, 30)]);
        for n in 1..=6 {
            shut.add(Epoch(n * 100), Epoch(0));
        }
        assert_eq!(shut.spans().count(), MAX_SHUT);
        let mut other = shut.clone();
        shut.add(Epoch(u64::MAX), Epoch(0));
        assert_eq!((spans(&shut)[0], shut.spans().count()), ((18, 30), MAX_SHUT));
        assert!(shut.contains(Epoch(25)) && shut.contains(Epoch(u64::MAX)));
        assert!([17, 31, 99, 101, u64::MAX - 1].iter().all(|epoch| !shut.contains(Epoch(*epoch))));
        other.add(Epoch(u64::MAX), Epoch(25));
        assert_eq!((spans(&other)[1], other.spans().count()), ((30, 100), MAX_SHUT), "not around the present");
    }

    proptest! {
        /// Whatever was shut stays so, within the bound, and the present stays open unless it was shut itself.
        #[test]
        fn nothing_opens_again(epochs in proptest::collection::vec(0..200_u64, 0..80), present in 0..200_u64) {
            let (mut shut, mut all) = (Shut::default(), BTreeSet::new());
            for epoch in epochs {
                shut.add(Epoch(epoch), Epoch(present));
                all.insert(epoch);
                prop_assert!(all.iter().all(|epoch| shut.contains(Epoch(*epoch))));
                prop_assert!(shut.spans().count() <= MAX_SHUT);
                let apart = shut.spans().zip(shut.spans().skip(1)).all(|((_, last), (next, _))| last.0 + 1 < next.0);
                prop_assert!(apart, "{shut:?}");
                prop_assert_eq!(shut.contains(Epoch(present)), all.contains(&present));
            }
        }
    }
}
