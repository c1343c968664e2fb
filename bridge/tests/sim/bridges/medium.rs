//! A network: who has what. Everybody passes on what is new to all that can be reached, some of it is lost, and now and then two
//! compare what they have, as v1 peers do at connect and gossip each second.

use std::collections::BTreeMap;

/// Things by name, at each node.
pub(crate) struct Medium<K, T> {
    nodes: Vec<BTreeMap<K, T>>,
    /// Nodes of different groups do not reach each other.
    groups: Vec<u8>,
    /// All that ever was.
    pub(crate) all: BTreeMap<K, T>,
}

impl<K: Ord + Copy, T: Clone> Medium<K, T> {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes: (0..nodes).map(|_| BTreeMap::new()).collect(), groups: vec![0; nodes], all: BTreeMap::new() }
    }

    /// A node has it now; false if it had it before.
    pub(crate) fn takes(&mut self, node: usize, key: K, thing: &T) -> bool {
        self.all.entry(key).or_insert_with(|| thing.clone());
        self.nodes[node].insert(key, thing.clone()).is_none()
    }

    pub(crate) fn reach(&self, one: usize, other: usize) -> bool {
        one != other && self.groups[one] == self.groups[other]
    }

    pub(crate) fn neighbours(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|other| self.reach(node, *other)).collect()
    }

    /// What `to` lacks of what `from` has.
    pub(crate) fn lacks(&self, from: usize, to: usize, counts: impl Fn(&T) -> bool) -> Vec<T> {
        let is_new = |(key, thing): &(&K, &T)| !self.nodes[to].contains_key(key) && counts(thing);
        self.nodes[from].iter().filter(is_new).map(|(_, thing)| thing.clone()).collect()
    }

    pub(crate) fn split(&mut self, groups: Vec<u8>) {
        self.groups = groups;
    }

    /// A node that crashed has nothing.
    pub(crate) fn forgets(&mut self, node: usize) {
        self.nodes[node].clear();
    }
}
