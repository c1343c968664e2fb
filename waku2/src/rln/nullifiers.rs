//! The nullifiers of accepted messages: who sends more than its rate is found by them. Pure.
//!
//! Limits: [`NULLIFIERS`] entries, and as many epochs as a message may be of at one time, three at those of The Waku Network: the
//! one before, the present one, the next. An epoch goes when another one needs its place, never because our clock has moved: one
//! that jumps and comes back finds everything as it was.  Spec: 17/WAKU2-RLN-RELAY; deployed nodes keep the present epoch alone,
//! so that near its edges a member may send everything twice.

use std::collections::{BTreeMap, HashMap};

use super::{
    element::Element,
    epoch::{Epoch, EpochLength},
};

/// Most entries. All members of The Waku Network together may send 160,000 messages in an epoch: this is two epochs of these, and a half.
/// An entry has 96 bytes; full, the log takes about 50 MB, and half as much again for the moment in which it grows.
///
/// Full, the epoch furthest from the present one goes. When that is the message's own, it is not accepted: peers with room would
/// blame us for what we let through unlogged.
pub const NULLIFIERS: usize = 400_000;

/// A share of a member's secret. Two of one nullifier give the secret away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    /// What was signalled.
    pub x: Element,
    /// The value there.
    pub y: Element,
}

/// One message of a member's rate, spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spent {
    /// When.
    pub epoch: Epoch,
    /// Which. It depends on the external nullifier as well, so that those of other identifiers need no log of their own.
    pub nullifier: Element,
    /// On what.
    pub share: Share,
}

/// What the log says of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it may be accepted.
    New,
    /// The same was accepted before.
    Replay,
    /// It was spent on something else.
    DoubleSignal {
        /// On this.
        other: Share,
    },
    /// There is no room to remember it.
    Full,
}

/// The log.
#[derive(Debug)]
pub struct Nullifiers {
    epochs: BTreeMap<Epoch, HashMap<Element, Share>>,
    entries: usize,
    capacity: usize,
    most_epochs: usize,
}

impl Nullifiers {
    /// An empty one for as many epochs of this length as lie within `reach_secs` of our clock.
    #[must_use]
    pub fn new(length: EpochLength, reach_secs: u64) -> Self {
        let either_side = usize::try_from(reach_secs.div_ceil(length.secs())).unwrap_or(usize::MAX);
        let most_epochs = either_side.saturating_mul(2).saturating_add(1);
        Self { epochs: BTreeMap::new(), entries: 0, capacity: NULLIFIERS, most_epochs }
    }

    /// The same with another bound.
    #[must_use]
    pub fn with_capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// What is known of it, at the `present` epoch. Nothing is remembered yet.
    #[must_use]
    pub fn look(&self, present: Epoch, spent: &Spent) -> Seen {
        match self.epochs.get(&spent.epoch).and_then(|epoch| epoch.get(&spent.nullifier)) {
            Some(share) if *share == spent.share => Seen::Replay,
            Some(share) => Seen::DoubleSignal { other: *share },
            None if self.has_room(spent.epoch) || self.to_go(present, spent.epoch).is_some() => Seen::New,
            None => Seen::Full,
        }
    }

    /// Its message is accepted. Remembered when it is new; says what was known of it.
    pub fn log(&mut self, present: Epoch, spent: &Spent) -> Seen {
        let seen = self.look(present, spent);
        if seen == Seen::New {
            self.make_room(present, spent.epoch);
            self.epochs.entry(spent.epoch).or_default().insert(spent.nullifier, spent.share);
            self.entries += 1;
        }
        seen
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn make_room(&mut self, present: Epoch, needed: Epoch) {
        while !self.has_room(needed) {
            let Some(gone) = self.to_go(present, needed) else { return };
            self.entries -= self.epochs.remove(&gone).map_or(0, |epoch| epoch.len());
        }
    }

    fn has_room(&self, needed: Epoch) -> bool {
        let is_known = self.epochs.contains_key(&needed);
        self.entries < self.capacity && (is_known || self.epochs.len() < self.most_epochs)
    }

    /// The epoch furthest from the present one, of two the older; `None` when nothing is further than the one that needs its place.
    fn to_go(&self, present: Epoch, needed: Epoch) -> Option<Epoch> {
        let far = |epoch: &Epoch| (epoch.0.abs_diff(present.0), *epoch < present);
        let furthest = self.epochs.keys().copied().max_by_key(far)?;
        (furthest != needed && far(&furthest) >= far(&needed)).then_some(furthest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRESENT: Epoch = Epoch(10);

    fn log() -> Nullifiers {
        Nullifiers::new(EpochLength::default(), 20)
    }

    fn spent(epoch: u64, nullifier: u64, on: u64) -> Spent {
        let share = Share { x: Element::from(on), y: Element::from(on + 1) };
        Spent { epoch: Epoch(epoch), nullifier: Element::from(nullifier), share }
    }

    #[test]
    fn a_nullifier_is_new_once_a_replay_then_and_with_another_share_two_signals() {
        let mut log = log();
        let first = spent(10, 1, 5);
        assert_eq!(log.look(PRESENT, &first), Seen::New);
        assert_eq!(log.look(PRESENT, &first), Seen::New, "a look leaves nothing behind");
        assert_eq!(log.log(PRESENT, &first), Seen::New);
        assert_eq!(log.log(PRESENT, &first), Seen::Replay);
        assert_eq!(log.log(PRESENT, &spent(10, 1, 6)), Seen::DoubleSignal { other: first.share });
        assert_eq!(log.log(PRESENT, &first), Seen::Replay, "the first one stays");
        assert_eq!(log.log(PRESENT, &spent(10, 2, 6)), Seen::New);
        assert_eq!(log.log(PRESENT, &spent(9, 1, 6)), Seen::New, "in another epoch it is another one");
        assert_eq!(log.len(), 3);
    }

    #[test]
    fn two_in_verification_at_once_are_told_apart_by_who_is_first() {
        let mut log = log();
        let (one, other) = (spent(10, 1, 5), spent(10, 1, 6));
        assert_eq!([log.look(PRESENT, &one), log.look(PRESENT, &other)], [Seen::New; 2]);
        assert_eq!(log.log(PRESENT, &other), Seen::New);
        assert_eq!(log.log(PRESENT, &one), Seen::DoubleSignal { other: other.share });
    }

    #[test]
    fn the_epochs_before_and_after_are_kept_at_a_border() {
        let mut log = log();
        for epoch in [9, 10, 11] {
            log.log(PRESENT, &spent(epoch, 1, 5));
        }
        for epoch in [9, 10, 11] {
            assert_eq!(log.look(PRESENT, &spent(epoch, 1, 5)), Seen::Replay);
        }
        assert_eq!(log.log(Epoch(11), &spent(12, 1, 5)), Seen::New);
        assert_eq!(log.look(Epoch(11), &spent(9, 1, 5)), Seen::Full, "the oldest is out, and not let in again");
        assert_eq!(log.look(Epoch(11), &spent(10, 1, 5)), Seen::Replay);
        assert_eq!(log.len(), 3);
    }

    #[test]
    fn short_epochs_are_kept_as_long_as_messages_may_be_of_them() {
        let second = EpochLength::from_secs(1).unwrap();
        let mut log = Nullifiers::new(second, 20);
        for epoch in 80..=120 {
            log.log(Epoch(100), &spent(epoch, 1, 5));
        }
        assert!((80..=120).all(|epoch| log.look(Epoch(100), &spent(epoch, 1, 5)) == Seen::Replay));
    }

    #[test]
    fn f10_a_clock_that_jumps_a_day_and_back_forgets_no_nullifier() {
        let day = 86_400 / 600;
        for away in [Epoch(1_000 + day), Epoch(1_000 - day)] {
            let (here, mut log) = (Epoch(1_000), log());
            for epoch in [999, 1_000, 1_001] {
                log.log(here, &spent(epoch, 7, 5));
            }
            assert_eq!(log.look(away, &spent(away.0, 7, 5)), Seen::New);
            assert_eq!(log.look(here, &spent(1_000, 7, 6)), Seen::DoubleSignal { other: spent(0, 0, 5).share });
            // Those whose clocks jumped as well are remembered too, and go once the clock is right.
            for epoch in [away.0, away.0 + 1] {
                log.log(away, &spent(epoch, 7, 5));
            }
            for epoch in [999, 1_000, 1_001] {
                log.log(here, &spent(epoch, 8, 5));
            }
            assert!([999, 1_000, 1_001].iter().all(|epoch| log.look(here, &spent(*epoch, 8, 5)) == Seen::Replay));
            assert!(log.epochs.len() <= 3);
        }
    }

    #[test]
    fn h81_a_million_nullifiers_in_one_epoch_are_bounded_and_the_oldest_epoch_goes_first() {
        let mut log = log();
        for nullifier in 0..1_000 {
            log.log(PRESENT, &spent(9, nullifier, 5));
        }
        for nullifier in 0..1_000_000 {
            let seen = log.log(PRESENT, &spent(10, nullifier, 5));
            assert_eq!(seen == Seen::New, nullifier < NULLIFIERS as u64, "{nullifier}");
            assert!(log.len() <= NULLIFIERS);
        }
        assert_eq!(log.look(PRESENT, &spent(9, 0, 5)), Seen::Full, "the epoch before has made room");
        assert_eq!(log.look(PRESENT, &spent(10, 0, 5)), Seen::Replay, "nothing of the present one is forgotten");
        assert_eq!(log.look(PRESENT, &spent(10, 0, 6)), Seen::DoubleSignal { other: spent(10, 0, 5).share });
        assert_eq!(log.look(PRESENT, &spent(10, 1_000_000, 5)), Seen::Full);
        assert_eq!(log.log(Epoch(11), &spent(11, 0, 5)), Seen::New, "in the next one there is room again");
    }

    proptest! {
        /// Against a naive one: whatever is accepted in the epochs that are kept is never accepted again.
        #[test]
        fn never_twice(steps in prop::collection::vec((0_u64..3, 0_u64..6, 0_u64..3), 1..200)) {
            let (mut log, mut naive) = (log(), HashMap::new());
            for (epoch, nullifier, on) in steps {
                let spent = spent(9 + epoch, nullifier, on);
                let expected = match naive.get(&(epoch, nullifier)) {
                    None => Seen::New,
                    Some(share) if *share == spent.share => Seen::Replay,
                    Some(share) => Seen::DoubleSignal { other: *share },
                };
                naive.entry((epoch, nullifier)).or_insert(spent.share);
                prop_assert_eq!(log.log(PRESENT, &spent), expected);
                prop_assert_eq!(log.len(), naive.len());
            }
        }

        /// Whatever comes when, both bounds hold.
        #[test]
        fn always_bounded(steps in prop::collection::vec((0_u64..40, 0_u64..40, 0_u64..9), 1..300)) {
            let mut log = log().with_capacity(16);
            for (present, epoch, nullifier) in steps {
                log.log(Epoch(present), &spent(epoch, nullifier, 1));
                let counted: usize = log.epochs.values().map(HashMap::len).sum();
                prop_assert_eq!(counted, log.len());
                prop_assert!(log.len() <= 16 && log.epochs.len() <= 3);
            }
        }
    }
}
