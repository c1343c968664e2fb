//! The part of a network that stays as it is for a while, and who can be reached in it.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;

/// What stays as it is while messages are on their way: links, and who relays what.
#[derive(Debug, Clone, Default)]
pub(super) struct Steady {
    pub(super) links: BTreeSet<usize>,
    pub(super) relays: BTreeMap<usize, BTreeSet<u16>>,
}

impl Steady {
    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let both = |node: &usize| Some((*node, &self.relays[node] & other.relays.get(node)?));
        Self { links: &self.links & &other.links, relays: self.relays.keys().filter_map(both).collect() }
    }

    pub(super) fn relays(&self, node: usize, shard: u16) -> bool {
        self.relays.get(&node).is_some_and(|shards| shards.contains(&shard))
    }

    /// Without what is touched.
    pub(super) fn without(mut self, plan: &Plan, links: &[usize], nodes: &[usize]) -> Self {
        self.relays.retain(|node, _| !nodes.contains(node));
        self.links.retain(|link| !links.contains(link) && !nodes.iter().any(|node| plan.links[*link].has_end(*node)));
        self
    }

    /// The nodes at the other ends of a node's links.
    pub(super) fn neighbours<'a>(&'a self, plan: &'a Plan, node: usize) -> impl Iterator<Item = usize> + 'a {
        self.links.iter().filter_map(move |link| other(plan, *link, node))
    }

    /// Those of them that relay a shard.
    pub(super) fn on<'a>(&'a self, plan: &'a Plan, node: usize, shard: u16) -> impl Iterator<Item = usize> + 'a {
        self.neighbours(plan, node).filter(move |other| self.relays(*other, shard))
    }

    /// To whom there is a way of nodes that relay the shard.
    pub(super) fn reached(&self, plan: &Plan, from: usize, shard: u16) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(node) = next.pop().filter(|_| self.relays(from, shard)) {
            if reached.insert(node) {
                next.extend(self.on(plan, node, shard));
            }
        }
        reached.remove(&from);
        reached
    }
}

/// The other end of a link of this node.
pub(super) fn other(plan: &Plan, link: usize, node: usize) -> Option<usize> {
    let link = &plan.links[link];
    link.has_end(node).then(|| link.caller + link.callee - node)
}
