//! The pages of one server, from the first on: which range it was asked for, and how far it has come.

use std::{collections::HashSet, ops::RangeInclusive};

use super::{
    Trouble,
    page::{Page, Times},
};
use crate::packet::p2p::Cursor;

/// An answer of many pages.
#[derive(Debug)]
pub(super) struct Session {
    /// The same in each request, as the cursor is of its answer.
    pub(super) asked: RangeInclusive<u32>,
    /// Where to go on.
    pub(super) cursor: Option<Cursor>,
    /// All that were given; as many as pages.
    cursors: HashSet<Cursor>,
    times: Times,
}

impl Session {
    pub(super) fn new(asked: RangeInclusive<u32>) -> Self {
        Self { asked, cursor: None, cursors: HashSet::new(), times: Times::default() }
    }

    pub(super) fn going_on(asked: RangeInclusive<u32>, cursor: Cursor) -> Self {
        Self { asked, cursor: Some(cursor), cursors: HashSet::from([cursor]), times: Times::default() }
    }

    /// A page has come to its end, and says where the next one begins.
    pub(super) fn page(&mut self, page: &Page, cursor: Option<Cursor>) -> Result<(), Trouble> {
        if let Some(cursor) = cursor {
            if page.is_empty() {
                return Err(Trouble::Hollow);
            }
            if !self.cursors.insert(cursor) {
                return Err(Trouble::Stuck);
            }
        }
        self.cursor = cursor;
        self.times = self.times.then(page.order);
        Ok(())
    }

    /// What of the range is not answered yet, as far as the order tells. The last second may go on. `None` as long as all
    /// envelopes were sent in one second, which tells nothing.
    pub(super) fn remaining(&self) -> Option<RangeInclusive<u32>> {
        let (from, to) = (*self.asked.start(), *self.asked.end());
        let Times { last, rises, falls, .. } = self.times;
        match (last?, rises, falls) {
            (last, true, false) => Some(last.max(from)..=to),
            (last, false, true) => Some(from..=last.min(to)),
            (_, true, true) => Some(self.asked.clone()),
            (_, false, false) => None,
        }
    }
}
