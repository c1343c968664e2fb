//! What a seed stands for: nodes, links, and one act after the other. An act begins when all that the last one brought is there, so that
//! nothing depends on how fast the machine is.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use rand::{Rng, RngExt, seq::IndexedRandom};
use waku2::ClusterId;

use super::{
    Size,
    link::{Line, State},
};

/// The network that most nodes are of, and the one of those who must be parted from it.
pub(super) const OURS: ClusterId = ClusterId(1);
pub(super) const OTHERS: ClusterId = ClusterId(2);

/// Shards in use. All nodes relay the first from the beginning to the end; the others come and go.
pub(super) const SHARDS: Range<u16> = 1..4;

/// Bytes of a payload: a number and what fills it up.
const PAYLOAD_BYTES: Range<usize> = 100..12_000;

#[derive(Debug, Clone)]
pub(super) struct NodePlan {
    pub(super) cluster: ClusterId,
    pub(super) shards: BTreeSet<u16>,
    /// Over WebSocket, both as listener and for those who call it.
    pub(super) ws: bool,
    /// Joins later.
    pub(super) late: bool,
}

#[derive(Debug, Clone)]
pub(super) struct LinkPlan {
    pub(super) caller: usize,
    pub(super) callee: usize,
    pub(super) line: Line,
}

impl LinkPlan {
    pub(super) fn has_end(&self, node: usize) -> bool {
        self.caller == node || self.callee == node
    }
}

/// How a node ends before it starts again with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It closes its connections.
    Orderly,
    /// The system closes them.
    Killed,
    /// Nobody does: the machine lost its power.
    Dead,
}

/// What changes at the beginning of an act.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Nothing,
    /// Links between these nodes and the others.
    Partition {
        side: BTreeSet<usize>,
        how: State,
    },
    /// All links are up again.
    Heal,
    Churn {
        /// Links that are reset, and up again at once.
        cut: Vec<usize>,
        restart: Vec<(usize, End)>,
        join: Vec<usize>,
        /// Shards that nodes join, or leave where they relay them.
        toggle: Vec<(usize, u16)>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Post {
    /// Since the one before.
    pub(super) after: Duration,
    pub(super) node: usize,
    pub(super) shard: u16,
    pub(super) payload_bytes: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) change: Change,
    /// While it changes, and when everything is as it should be after it.
    pub(super) posts: [Vec<Post>; 2],
    /// Links that fall silent between posts, and for how long.
    pub(super) stalls: Vec<(usize, Duration)>,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<NodePlan>,
    pub(super) links: Vec<LinkPlan>,
    pub(super) acts: Vec<Act>,
}

impl Plan {
    pub(super) fn draw(rng: &mut impl Rng, size: &Size) -> Self {
        let count = size.nodes.max(5);
        let late = (count / 10).max(1);
        let mut nodes: Vec<_> = (0..count).map(|node| ours(rng, node + late >= count)).collect();
        let mut links = links(rng, count);
        for _ in 0..rng.random_range(1..=2) {
            stranger(rng, &mut nodes, &mut links, count - late);
        }
        let acts = changes(rng, size, count, links.len());
        let acts = acts.into_iter().map(|change| act(rng, size, count, links.len(), change)).collect();
        Self { nodes, links, acts }
    }
}

fn ours(rng: &mut impl Rng, late: bool) -> NodePlan {
    let mut shards = BTreeSet::from([SHARDS.start]);
    shards.extend(SHARDS.skip(1).filter(|_| rng.random_bool(0.6)));
    NodePlan { cluster: OURS, shards, ws: rng.random_ratio(1, 4), late }
}

/// A tree, so that there is a way from anywhere to anywhere; most nodes call two or three further ones. Who comes later calls.
fn links(rng: &mut impl Rng, count: usize) -> Vec<LinkPlan> {
    let mut links = Vec::new();
    for caller in 1..count {
        let mut callees = BTreeSet::from([rng.random_range(0..caller)]);
        let more = if rng.random_ratio(1, 6) { 0 } else { rng.random_range(2..=3) };
        callees.extend((0..more).map(|_| rng.random_range(0..caller)));
        links.extend(callees.into_iter().map(|callee| LinkPlan { caller, callee, line: line(rng) }));
    }
    links
}

fn line(rng: &mut impl Rng) -> Line {
    let delay = rng.random_range(1..=80);
    Line {
        delay_millis: delay..delay + rng.random_range(1..=30),
        lost_permille: if rng.random_bool(0.5) { rng.random_range(1..=30) } else { 0 },
        bytes_per_sec: rng.random_ratio(1, 4).then(|| rng.random_range(100_000..=1_000_000)),
    }
}

/// A node of another network that calls one of ours and is called by another.
fn stranger(rng: &mut impl Rng, nodes: &mut Vec<NodePlan>, links: &mut Vec<LinkPlan>, early: usize) {
    let stranger = nodes.len();
    nodes.push(NodePlan { cluster: OTHERS, shards: BTreeSet::from([SHARDS.start]), ws: false, late: false });
    let called = rng.random_range(0..early);
    links.push(LinkPlan { caller: stranger, callee: called, line: line(rng) });
    let caller = (called + 1) % early;
    links.push(LinkPlan { caller, callee: stranger, line: line(rng) });
}

fn changes(rng: &mut impl Rng, size: &Size, count: usize, links: usize) -> Vec<Change> {
    let late: Vec<usize> = (count - (count / 10).max(1)..count).collect();
    let mut changes = vec![Change::Nothing];
    for round in 0..size.rounds {
        // What is silent is noticed by pings, half a minute later: that is for long runs.
        let how = if round % 2 == 1 { State::Silent } else { State::Down };
        changes.extend([Change::Partition { side: side(rng, count), how }, Change::Heal]);
        let join = if round == 0 { late.clone() } else { Vec::new() };
        changes.push(churn(rng, size, count, links, join));
    }
    changes
}

/// One node alone, and as many others as chance will have.
fn side(rng: &mut impl Rng, count: usize) -> BTreeSet<usize> {
    if rng.random_ratio(1, 3) {
        return BTreeSet::from([rng.random_range(0..count)]);
    }
    (0..count).filter(|_| rng.random_bool(0.4)).collect()
}

fn churn(rng: &mut impl Rng, size: &Size, count: usize, links: usize, join: Vec<usize>) -> Change {
    let early = count - (count / 10).max(1);
    let some = |rng: &mut _, of: usize, share: usize| -> BTreeSet<usize> {
        (0..of.div_ceil(share)).map(|_| RngExt::random_range(rng, 0..of)).collect()
    };
    let ends = if size.rounds > 1 { &[End::Orderly, End::Killed, End::Dead][..] } else { &[End::Orderly, End::Killed] };
    let restart = some(rng, early, 10);
    let restart = restart.into_iter().map(|node| (node, *ends.choose(rng).expect("some"))).collect();
    let toggle = some(rng, early, 4).into_iter().map(|node| (node, rng.random_range(SHARDS.start + 1..SHARDS.end)));
    let toggle = toggle.collect();
    Change::Churn { cut: some(rng, links, 10).into_iter().collect(), restart, join, toggle }
}

fn act(rng: &mut impl Rng, size: &Size, count: usize, links: usize, change: Change) -> Act {
    let posts = [0, 1].map(|_| (0..size.posts).map(|_| post(rng, size, count)).collect());
    let stalls = (0..size.posts / 4)
        .map(|_| (rng.random_range(0..links), Duration::from_millis(rng.random_range(100..1_500))))
        .collect();
    Act { change, posts, stalls }
}

fn post(rng: &mut impl Rng, size: &Size, count: usize) -> Post {
    Post {
        after: Duration::from_millis(rng.random_range(0..2 * size.gap_millis)),
        node: rng.random_range(0..count),
        shard: rng.random_range(SHARDS),
        payload_bytes: rng.random_range(PAYLOAD_BYTES),
    }
}
