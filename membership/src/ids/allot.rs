//! Which ids have been given out, and which comes next: core.
//!
//! A membership has, for each epoch, a number below which every id may have been given out, now or in an earlier life. Ids go out
//! only below what is written down as reserved, which grows by [`BLOCK_IDS`]: a crash loses what is left of a block, and never
//! repeats one.
//!
//! Epochs are kept while there is room for them, [`MAX_EPOCHS`] of them: those nearest to the one that is asked for. In those that
//! are forgotten nothing is given out any more, wherever the clock goes ([`super::shut`]); in all others something may be, so that
//! a clock that ran ahead or fell behind, for however long, finds the present open once it is right.
//!
//! What a class has taken is counted in the same way, so that no crash gives it what is kept for it a second time. Limit:
//! [`MAX_CLASSES`] an epoch, of which those go that nothing is kept for any more.

use std::{collections::BTreeMap, sync::Arc};

use waku2::rln::epoch::Epoch;

use super::{
    share::{MAX_CLASSES, Membership, Range, Reserve},
    shut::Shut,
};
use crate::contract::Commitment;

pub use super::shut::MAX_SHUT;

/// Ids that are written down as given out at a time. So many are lost by a crash at most, for each membership.
pub const BLOCK_IDS: u64 = 4;

/// Epochs that are kept.
pub const MAX_EPOCHS: usize = 8;

/// By how many epochs a message's may differ from the current one. The network takes 20 s to either side, which is one epoch at
/// most.
pub const EPOCHS_APART: u64 = 1;

/// What has to be on disk before ids go out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// In this epoch and all before it nothing is given out any more.
    pub closed: Option<Epoch>,
    /// Nor in these.
    pub shut: Shut,
    /// For each epoch and identity: the first id that has not been reserved.
    pub reserved: BTreeMap<Epoch, BTreeMap<Commitment, u64>>,
    /// For each epoch and class: how many ids it may have taken.
    pub taken: BTreeMap<Epoch, BTreeMap<Arc<str>, u64>>,
}

impl State {
    /// What was written down up to the epoch `last` is lost: nothing is given out up to the last epoch that could be meant.
    #[must_use]
    pub fn lost(last: Epoch) -> Self {
        let closed = Some(Epoch(last.0.saturating_add(EPOCHS_APART)));
        Self { closed, ..Self::default() }
    }

    /// May anything be given out in this epoch?
    #[must_use]
    pub fn is_open(&self, epoch: Epoch) -> bool {
        self.closed.is_none_or(|closed| epoch > closed) && !self.shut.contains(epoch)
    }

    pub(super) fn reserved(&self, epoch: Epoch, commitment: &Commitment) -> u64 {
        self.reserved.get(&epoch).and_then(|members| members.get(commitment)).copied().unwrap_or_default()
    }

    /// With everything below `until` reserved. Forgets the epochs furthest from this one when there are too many.
    fn with(mut self, epoch: Epoch, commitment: Commitment, until: u64) -> Self {
        let members = self.reserved.entry(epoch).or_default();
        let reserved = members.entry(commitment).or_default();
        *reserved = until.max(*reserved);
        while self.reserved.len() > MAX_EPOCHS {
            self.forget_furthest(epoch);
        }
        self.taken.retain(|epoch, _| self.reserved.contains_key(epoch));
        self
    }

    /// Of two equally far the one that is past.
    fn forget_furthest(&mut self, from: Epoch) {
        let far = |epoch: &Epoch| (epoch.0.abs_diff(from.0), *epoch < from);
        let Some(furthest) = self.reserved.keys().copied().max_by_key(far) else { return };
        self.reserved.remove(&furthest);
        self.shut.add(furthest, from);
    }

    pub(super) fn taken(&self, epoch: Epoch, class: &str) -> u64 {
        self.taken.get(&epoch).and_then(|taken| taken.get(class)).copied().unwrap_or_default()
    }

    /// With so many taken by a class, in an epoch in which some are reserved.
    fn with_taken(mut self, epoch: Epoch, class: &Arc<str>, taken: u64, reserve: &Reserve) -> Self {
        let classes = self.taken.entry(epoch).or_default();
        if classes.len() >= MAX_CLASSES && !classes.contains_key(class) {
            classes.retain(|class, _| reserve.class(class).is_some());
        }
        let before = classes.entry(Arc::clone(class)).or_default();
        *before = taken.max(*before);
        self
    }
}

/// The next id of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is reserved and may go out.
    Ready(u32),
    /// It may go out once this is on disk.
    Write(u32, State),
    /// None is left.
    Spent,
}

/// The ids of this life.
#[derive(Debug, Default)]
pub(super) struct Allot {
    state: State,
    /// The id to go out next, where one has gone out in this life.
    next: BTreeMap<(Epoch, Commitment), u64>,
    /// What a class has taken, where it has in this life.
    taken: BTreeMap<(Epoch, Arc<str>), u64>,
}

impl Allot {
    /// After a life that left `state`.
    pub(super) fn new(state: State) -> Self {
        Self { state, ..Self::default() }
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// The first id that has not gone out.
    fn unused(&self, epoch: Epoch, commitment: Commitment) -> u64 {
        // What an earlier life reserved may have gone out.
        let next = self.next.get(&(epoch, commitment)).copied();
        next.unwrap_or_else(|| self.state.reserved(epoch, &commitment))
    }

    /// How many are left of a membership.
    pub(super) fn left(&self, epoch: Epoch, membership: &Membership) -> u64 {
        if !self.state.is_open(epoch) {
            return 0;
        }
        membership.range.left(self.unused(epoch, membership.commitment))
    }

    /// The next id of a membership in an epoch that is open. Nothing has gone out before [`Allot::gave`].
    pub(super) fn next(&self, epoch: Epoch, membership: &Membership) -> Next {
        let Membership { commitment, range } = *membership;
        let Some(id) = self.open(epoch, commitment, range) else {
            return Next::Spent;
        };
        if u64::from(id) < self.state.reserved(epoch, &commitment) {
            return Next::Ready(id);
        }
        let state = self.state.clone().with(epoch, commitment, range.block(id, BLOCK_IDS));
        // It is the nearest to itself, so it was not forgotten; and if it were, nothing would go out.
        if state.is_open(epoch) { Next::Write(id, state) } else { Next::Spent }
    }

    fn open(&self, epoch: Epoch, commitment: Commitment, range: Range) -> Option<u32> {
        if self.state.is_open(epoch) { range.from(self.unused(epoch, commitment)) } else { None }
    }

    /// What a class has taken of an epoch; what an earlier life wrote down it may have.
    pub(super) fn taken(&self, epoch: Epoch, class: &Arc<str>) -> u64 {
        let taken = self.taken.get(&(epoch, Arc::clone(class))).copied();
        taken.unwrap_or_else(|| self.state.taken(epoch, class))
    }

    /// What has to be on disk before this class takes one more, beside the `state` that the id itself wants there.
    pub(super) fn counting(
        &self,
        epoch: Epoch,
        class: &Arc<str>,
        reserve: &Reserve,
        state: Option<State>,
    ) -> Option<State> {
        let taken = self.taken(epoch, class);
        if taken < state.as_ref().unwrap_or(&self.state).taken(epoch, class) {
            return state;
        }
        let state = state.unwrap_or_else(|| self.state.clone());
        Some(state.with_taken(epoch, class, taken.saturating_add(BLOCK_IDS), reserve))
    }

    /// This class has taken so many.
    pub(super) fn took(&mut self, epoch: Epoch, class: &Arc<str>, taken: u64) {
        self.taken.insert((epoch, Arc::clone(class)), taken);
    }

    /// This is on disk now.
    pub(super) fn wrote(&mut self, state: State) {
        self.next.retain(|(epoch, _), _| state.is_open(*epoch));
        self.taken.retain(|(epoch, class), _| state.taken(*epoch, class) > 0);
        self.state = state;
    }

    /// This id has gone out.
    pub(super) fn gave(&mut self, epoch: Epoch, commitment: Commitment, id: u32) {
        self.next.insert((epoch, commitment), u64::from(id) + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use waku2::rln::element::Element;

    use super::*;

    fn membership(who: u64, ids: u32) -> Membership {
        let commitment = Commitment::new(Element::from(who)).unwrap();
        Membership { commitment, range: Range::all(ids).unwrap() }
    }

    /// Takes an id as the shell does, and says whether something was written.
    fn take(allot: &mut Allot, epoch: u64, membership: &Membership) -> Option<(u32, bool)> {
        let (id, wrote) = match allot.next(Epoch(epoch), membership) {
            Next::Ready(id) => (id, false),
            Next::Write(id, state) => {
                allot.wrote(state);
                (id, true)
            }
            Next::Spent => return None,
        };
        allot.gave(Epoch(epoch), membership.commitment, id);
        Some((id, wrote))
    }

    #[test]
    fn ids_come_in_order_and_are_written_down_in_blocks() {
        let (mut allot, membership) = (Allot::default(), membership(1, 6));
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut allot, 7, &membership)).collect();
        assert_eq!(taken, [(0, true), (1, false), (2, false), (3, false), (4, true), (5, false)]);
        assert_eq!(allot.left(Epoch(7), &membership), 0);
        assert_eq!(allot.left(Epoch(8), &membership), 6, "another epoch has all of them");
    }

    #[test]
    fn a_crash_loses_the_rest_of_a_block() {
        let (mut allot, membership) = (Allot::default(), membership(1, 100));
        assert_eq!(take(&mut allot, 7, &membership), Some((0, true)));
        let mut next_life = Allot::new(allot.state().clone());
        assert_eq!(next_life.left(Epoch(7), &membership), 96);
        assert_eq!(take(&mut next_life, 7, &membership), Some((4, true)));
    }

    #[test]
    fn classes_beyond_the_bound_go_when_nothing_is_kept_for_them() {
        let reserve = Reserve::new([("kept".into(), 100)]).unwrap();
        let mut state = State::default().with(Epoch(7), membership(1, 9).commitment, 4);
        for class in std::iter::once("kept".to_owned()).chain((0..3 * MAX_CLASSES).map(|n| n.to_string())) {
            state = state.with_taken(Epoch(7), &class.into(), 4, &reserve);
            assert!(state.taken[&Epoch(7)].len() <= MAX_CLASSES);
        }
        assert_eq!(state.taken(Epoch(7), "kept"), 4);
        for epoch in 8..8 + MAX_EPOCHS as u64 {
            state = state.with(Epoch(epoch), membership(1, 9).commitment, 4);
        }
        assert!(state.taken.is_empty());
    }

    #[test]
    fn what_is_not_written_does_not_go_out() {
        let (mut allot, membership) = (Allot::default(), membership(1, 100));
        for _ in 0..3 {
            // The disk refuses: the same is to be written again.
            assert!(matches!(allot.next(Epoch(7), &membership), Next::Write(0, _)));
        }
        assert_eq!(take(&mut allot, 7, &membership), Some((0, true)));
    }

    #[test]
    fn f10_a_clock_that_ran_a_day_ahead_and_came_back_finds_its_epochs_and_repeats_none() {
        let (mut allot, membership) = (Allot::default(), membership(1, 100));
        let ids = |allot: &mut Allot, epoch| take(allot, epoch, &membership).map(|(id, _)| id);
        assert_eq!(ids(&mut allot, 1_000), Some(0));
        assert_eq!(ids(&mut allot, 1_144), Some(0));
        assert_eq!(ids(&mut allot, 1_000), Some(1));
        for epoch in 1_001..1_100 {
            assert_eq!(ids(&mut allot, epoch), Some(0), "{epoch}");
        }
        assert_eq!(ids(&mut allot, 1_000), None, "it is closed by now");
        assert_eq!(ids(&mut allot, 1_144), None, "and so is that to which the clock had run ahead");
        assert_eq!(ids(&mut allot, 1_143), Some(0));
        assert_eq!(allot.state().reserved.len(), MAX_EPOCHS);
    }

    #[test]
    fn f10_a_clock_that_ran_ahead_for_long_and_came_back_finds_the_present_open() {
        let (mut allot, membership) = (Allot::default(), membership(1, 100));
        let ids = |allot: &mut Allot, epoch| take(allot, epoch, &membership).map(|(id, _)| id);
        assert_eq!(ids(&mut allot, 1_000), Some(0));
        // A day ahead, for longer than epochs are kept.
        for epoch in 1_144..1_164 {
            assert_eq!(ids(&mut allot, epoch), Some(0), "{epoch}");
        }
        let mut allot = Allot::new(allot.state().clone());
        assert_eq!(ids(&mut allot, 1_000), None, "it was forgotten");
        // The way back, and on until the time is reached to which the clock had run.
        for epoch in 1_020..1_144 {
            assert_eq!(allot.left(Epoch(epoch), &membership), 100, "{epoch}");
            assert_eq!(ids(&mut allot, epoch), Some(0), "{epoch}");
        }
        for epoch in 1_144..1_164 {
            assert_eq!((ids(&mut allot, epoch), allot.left(Epoch(epoch), &membership)), (None, 0), "{epoch}");
        }
        assert_eq!(ids(&mut allot, 1_164), Some(0), "here nothing ever went out");
    }

    #[test]
    fn nothing_goes_out_after_a_ledger_was_lost_until_two_epochs_later() {
        let membership = membership(1, 100);
        let mut allot = Allot::new(State::lost(Epoch(7)));
        for (epoch, id) in [(6, None), (7, None), (8, None), (9, Some((0, true)))] {
            assert_eq!(take(&mut allot, epoch, &membership), id, "{epoch}");
        }
    }

    #[test]
    fn another_range_later_begins_where_the_last_one_was() {
        let mut allot = Allot::default();
        let commitment = membership(1, 100).commitment;
        let upper = Membership { commitment, range: Range::new(50, 99, 100).unwrap() };
        assert_eq!(take(&mut allot, 7, &upper), Some((50, true)));
        let mut next_life = Allot::new(allot.state().clone());
        assert_eq!(take(&mut next_life, 7, &membership(1, 100)), Some((54, true)));
    }

    proptest! {
        /// Whatever crashes, no class is thought to have taken less than it has, nor much more.
        #[test]
        fn what_a_class_took_is_never_forgotten(steps in proptest::collection::vec((0..3_usize, 0..5_u8), 0..300)) {
            let reserve = Reserve::new(["a", "b", "c"].map(|class| (class.into(), 30))).unwrap();
            let classes: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
            let epoch = Epoch(7);
            let (mut allot, mut disk) = (Allot::default(), State::default());
            let (mut taken, mut crashes) = ([0; 3], 0);
            for (which, chance) in steps {
                let class = &classes[which];
                let (Next::Ready(id) | Next::Write(id, _)) = allot.next(epoch, &membership(1, 60_000)) else { break };
                let state = match allot.next(epoch, &membership(1, 60_000)) {
                    Next::Write(_, state) => Some(state),
                    _ => None,
                };
                let (state, count) = (allot.counting(epoch, class, &reserve, state), allot.taken(epoch, class));
                if chance == 0 {
                    // A crash, before the write or after it.
                    disk = state.filter(|_| id % 2 == 0).unwrap_or(disk);
                    allot = Allot::new(disk.clone());
                    crashes += 1;
                    continue;
                }
                if let Some(state) = state {
                    disk = state.clone();
                    allot.wrote(state);
                }
                allot.gave(epoch, membership(1, 60_000).commitment, id);
                allot.took(epoch, class, count + 1);
                taken[which] += 1;
                for (class, taken) in classes.iter().zip(taken) {
                    let counted = allot.taken(epoch, class);
                    prop_assert!((taken..=taken + crashes * BLOCK_IDS).contains(&counted), "{taken} {counted}");
                }
            }
        }

        /// Clocks that jump, crashes, writes that fail: no id of an identity and epoch ever goes out twice.
        #[test]
        fn no_id_goes_out_twice(
            steps in proptest::collection::vec((0..40_u64, 1..4_u64, 0..8_u8), 0..600), limit in 1..40_u32
        ) {
            let (mut allot, mut disk, mut given) = (Allot::default(), State::default(), BTreeSet::new());
            for (epoch, who, chance) in steps {
                let membership = membership(who, limit);
                match chance {
                    // A crash.
                    0 => allot = Allot::new(disk.clone()),
                    // A crash after the write and before the id goes out.
                    1 => if let Next::Write(_, state) = allot.next(Epoch(epoch), &membership) {
                        disk = state;
                        allot = Allot::new(disk.clone());
                    },
                    // A write that reaches the disk, but says that it failed.
                    2 => if let Next::Write(_, state) = allot.next(Epoch(epoch), &membership) { disk = state },
                    _ => if let Some((id, wrote)) = take(&mut allot, epoch, &membership) {
                        if wrote { disk = allot.state().clone() }
                        prop_assert!(id < limit);
                        prop_assert!(given.insert((epoch, who, id)), "{:?}", (epoch, who, id));
                    },
                }
                prop_assert!(disk.reserved.len() <= MAX_EPOCHS && allot.next.len() <= 3 * MAX_EPOCHS);
                prop_assert!(disk.shut.spans().count() <= MAX_SHUT);
            }
        }
    }
}
