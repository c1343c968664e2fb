//! When the far side was away, by route and direction: what may have to be fetched from others' archives afterwards. Pure.
//!
//! Limits: an entry for each direction of each route of the table, with the last [`MAX_OUTAGES`] outages.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use waku2::topic::PubsubTopic;

use crate::crossing::Direction;

/// Outages remembered of one route and direction: the oldest go. A far side that comes and goes every hour is remembered for days.
pub const MAX_OUTAGES: usize = 64;

/// A time without a peer on the far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Unix seconds.
    pub from: u64,
    /// Unix seconds; none while it lasts.
    pub to: Option<u64>,
}

/// What is known of one route in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The route's name.
    pub route: Arc<str>,
    /// Which way.
    pub direction: Direction,
    /// When something last crossed and was confirmed, in unix seconds; none if nothing has since the start.
    pub last_crossing: Option<u64>,
    /// When the far side had no peer for it, the oldest first.
    pub outages: Vec<Outage>,
}

/// On which sides somebody is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// There are v1 peers.
    pub v1: bool,
    /// Topics that some v2 peer takes.
    pub v2: BTreeSet<PubsubTopic>,
}

/// The outages of all routes.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    courses: BTreeMap<(Arc<str>, Direction), VecDeque<Outage>>,
    has_changed: bool,
    has_looked: bool,
}

impl Gaps {
    /// Whether the far side of a route is there now.
    pub(crate) fn look(&mut self, at: u64, route: &Arc<str>, direction: Direction, is_there: bool) {
        self.has_looked = true;
        let outages = self.courses.entry((Arc::clone(route), direction)).or_default();
        let last = outages.back_mut().filter(|outage| outage.to.is_none());
        match (last, is_there) {
            (Some(outage), true) => outage.to = Some(at),
            (None, false) => {
                if outages.len() >= MAX_OUTAGES {
                    outages.pop_front();
                }
                outages.push_back(Outage { from: at, to: None });
            }
            _ => return,
        }
        self.has_changed = true;
    }

    /// What an earlier life knew. An outage that lasted then lasts until somebody is there.
    pub(crate) fn recall(&mut self, earlier: &[Gap]) {
        for gap in earlier {
            let outages = gap.outages.iter().rev().take(MAX_OUTAGES).rev().copied().collect();
            self.courses.insert((Arc::clone(&gap.route), gap.direction), outages);
        }
        self.has_changed = true;
    }

    /// Whether anything is known of this life.
    pub(crate) fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// Forgets what is not in the table.
    pub(crate) fn keep(&mut self, is_known: impl Fn(&str, Direction) -> bool) {
        self.courses.retain(|(route, direction), _| is_known(route, *direction));
        self.has_changed = true;
    }

    /// All of them, if anything is new since it was last asked.
    pub(crate) fn changed(&mut self) -> Option<Vec<Gap>> {
        std::mem::take(&mut self.has_changed).then(|| self.all())
    }

    fn all(&self) -> Vec<Gap> {
        let gap = |((route, direction), outages): (&(Arc<str>, Direction), &VecDeque<Outage>)| Gap {
            route: Arc::clone(route),
            direction: *direction,
            last_crossing: None,
            outages: outages.iter().copied().collect(),
        };
        self.courses.iter().map(gap).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn an_outage_lasts_from_the_last_peer_to_the_next() {
        let mut gaps = Gaps::default();
        for (at, is_there) in [(10, false), (20, false), (30, true), (40, true), (50, false)] {
            gaps.look(at, &name("a"), Direction::V1ToV2, is_there);
        }
        let outages = vec![Outage { from: 10, to: Some(30) }, Outage { from: 50, to: None }];
        let gap = Gap { route: name("a"), direction: Direction::V1ToV2, last_crossing: None, outages };
        assert_eq!(gaps.changed(), Some(vec![gap]));
        gaps.look(60, &name("a"), Direction::V1ToV2, false);
        assert_eq!(gaps.changed(), None);
    }

    #[test]
    fn what_an_earlier_life_knew_goes_on() {
        let mut gaps = Gaps::default();
        gaps.look(10, &name("a"), Direction::V1ToV2, false);
        let mut again = Gaps::default();
        again.recall(&gaps.changed().unwrap());
        again.look(20, &name("a"), Direction::V1ToV2, false);
        again.look(30, &name("a"), Direction::V1ToV2, true);
        assert_eq!(again.changed().unwrap()[0].outages, [Outage { from: 10, to: Some(30) }]);
    }

    #[test]
    fn the_oldest_outages_go_and_those_of_routes_that_are_gone() {
        let mut gaps = Gaps::default();
        for n in 0..MAX_OUTAGES as u64 + 5 {
            gaps.look(2 * n, &name("a"), Direction::V2ToV1, false);
            gaps.look(2 * n + 1, &name("a"), Direction::V2ToV1, true);
        }
        let all = gaps.changed().unwrap();
        assert_eq!((all[0].outages.len(), all[0].outages[0].from), (MAX_OUTAGES, 10));
        gaps.keep(|_, _| false);
        assert_eq!(gaps.changed(), Some(vec![]));
    }
}
