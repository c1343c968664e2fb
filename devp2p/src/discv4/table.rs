//! The nodes we know, by distance (`discv4.md`, "Node Table").
//!
//! Only nodes that proved their address come in. A bucket keeps its nodes as long as they answer: newcomers wait in a short
//! list of spares until one has failed [`MAX_FAILURES`] times. A network may hold few places (see [`subnet`]), because
//! addresses are what an attacker has to pay for.

use std::collections::VecDeque;
use std::time::Instant;

use super::endpoint::{Contact, subnet};
use crate::key::NodeId;

/// Nodes in a bucket, and in an answer: the *k* of Kademlia. Source: `discv4.md`, "Node Table".
pub(crate) const BUCKET_NODES: usize = 16;

/// Nodes that wait for a place in a bucket. Source: go-ethereum, `maxReplacements`.
pub(crate) const SPARE_NODES: usize = 10;

/// Buckets: one for each of the 16 largest distances, and one for all nearer nodes, since of `n` nodes hardly any is
/// nearer than `256 - log2(n)`. Source: go-ethereum, `nBuckets`.
const BUCKETS: usize = 17;

/// Nodes of one network in a bucket. Source: go-ethereum, `bucketIPLimit`.
pub(crate) const SUBNET_IN_BUCKET: usize = 2;

/// Nodes of one network in the table. Source: go-ethereum, `tableIPLimit`.
pub(crate) const SUBNET_IN_TABLE: usize = 10;

/// Failures in a row after which a node loses its place. Source: go-ethereum, `maxFindnodeFailures`.
pub(crate) const MAX_FAILURES: u32 = 5;

/// The distance of two ids: the smaller the array, the nearer.
pub(crate) fn distance(a: NodeId, b: NodeId) -> [u8; 32] {
    std::array::from_fn(|index| a.as_bytes()[index] ^ b.as_bytes()[index])
}

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It was not known, or not at this address; it has a place, or is a spare.
    New,
    /// It was there.
    Known,
    /// Its network has places enough, or it is ourselves.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Table {
    own: NodeId,
    buckets: [Bucket; BUCKETS],
}

#[derive(Debug, Default)]
struct Bucket {
    nodes: Vec<Node>,
    spares: VecDeque<Contact>,
}

#[derive(Debug)]
struct Node {
    contact: Contact,
    /// When it last answered, or was last asked in vain.
    checked: Instant,
    failures: u32,
}

impl Bucket {
    fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.nodes.iter().map(|node| &node.contact).chain(&self.spares)
    }
}

impl Table {
    pub(crate) fn new(own: NodeId) -> Self {
        Self { own, buckets: std::array::from_fn(|_| Bucket::default()) }
    }

    /// Keeps a node that has just proven its address, or notes that it lives.
    pub(crate) fn keep(&mut self, now: Instant, contact: Contact) -> Kept {
        if contact.id == self.own {
            return Kept::Refused;
        }
        let index = self.index(contact.id);
        let known = self.buckets[index].contacts().find(|known| known.id == contact.id).copied();
        let moved = known.is_none_or(|known| known.addr.ip() != contact.addr.ip());
        if moved && self.crowded(index, &contact) {
            return Kept::Refused;
        }
        let bucket = &mut self.buckets[index];
        bucket.spares.retain(|spare| spare.id != contact.id);
        if let Some(node) = bucket.nodes.iter_mut().find(|node| node.contact.id == contact.id) {
            *node = Node { contact, checked: now, failures: 0 };
        } else if bucket.nodes.len() < BUCKET_NODES {
            bucket.nodes.push(Node { contact, checked: now, failures: 0 });
        } else {
            if bucket.spares.len() >= SPARE_NODES {
                bucket.spares.pop_front();
            }
            bucket.spares.push_back(contact);
        }
        if known == Some(contact) { Kept::Known } else { Kept::New }
    }

    /// True when the network of `contact` has all the places it may have, that of the node itself not counted.
    fn crowded(&self, index: usize, contact: &Contact) -> bool {
        let Some(net) = subnet(contact.addr.ip()) else { return false };
        let count = |bucket: &Bucket| {
            let same = |other: &&Contact| other.id != contact.id && subnet(other.addr.ip()) == Some(net);
            bucket.contacts().filter(same).count()
        };
        count(&self.buckets[index]) >= SUBNET_IN_BUCKET
            || self.buckets.iter().map(count).sum::<usize>() >= SUBNET_IN_TABLE
    }

    /// A node did not answer; after [`MAX_FAILURES`] in a row a spare takes its place.
    pub(crate) fn failed(&mut self, now: Instant, id: NodeId) {
        let index = self.index(id);
        let bucket = &mut self.buckets[index];
        let Some(position) = bucket.nodes.iter().position(|node| node.contact.id == id) else { return };
        let node = &mut bucket.nodes[position];
        node.failures += 1;
        node.checked = now;
        if node.failures >= MAX_FAILURES {
            bucket.nodes.remove(position);
            // The one heard of last. `checked` makes it wait its turn, like any other.
            let spare = bucket.spares.pop_back();
            bucket.nodes.extend(spare.map(|contact| Node { contact, checked: now, failures: 0 }));
        }
    }

    /// The node to look after next: one that failed lately, else the one not heard of for longest.
    pub(crate) fn stalest(&self) -> Option<Contact> {
        let nodes = self.buckets.iter().flat_map(|bucket| &bucket.nodes);
        nodes.min_by_key(|node| (node.failures == 0, node.checked, node.contact.id)).map(|node| node.contact)
    }

    /// The `count` nodes nearest to `target`, nearest first.
    pub(crate) fn closest(&self, target: NodeId, count: usize) -> Vec<Contact> {
        let mut nodes: Vec<_> = self.nodes().collect();
        nodes.sort_by_cached_key(|node| distance(node.id, target));
        nodes.truncate(count);
        nodes
    }

    /// All nodes that have a place.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Contact> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes).map(|node| node.contact)
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.nodes.len()).sum()
    }

    /// The bucket of an id: by the bits it has in common with ours, from the first.
    fn index(&self, id: NodeId) -> usize {
        let distance = distance(self.own, id);
        let common = match distance.iter().position(|byte| *byte != 0) {
            Some(byte) => byte * 8 + distance[byte].leading_zeros() as usize,
            None => 256,
        };
        common.min(BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;
    use crate::key::NodeKey;

    fn contact(secret: u16, ip: [u8; 4]) -> Contact {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&secret.to_be_bytes());
        Contact::new(NodeKey::from_bytes(&bytes).unwrap().public(), (ip, 30303).into(), 30303)
    }

    /// Nodes, each of its own network, that fall into the first bucket of node 0: as many as `count`.
    fn far(count: usize) -> Vec<Contact> {
        let table = Table::new(contact(0, [9; 4]).id);
        let all = (1..1000).map(|secret| contact(secret, [9, (secret >> 8) as u8, secret as u8, 1]));
        let far: Vec<_> = all.filter(|node| table.index(node.id) == 0).take(count).collect();
        assert_eq!(far.len(), count);
        far
    }

    fn table() -> Table {
        Table::new(contact(0, [9; 4]).id)
    }

    #[test]
    fn a_full_bucket_keeps_its_nodes_and_some_spares() {
        let (mut table, now) = (table(), clock::now().instant);
        let nodes = far(40);
        assert!(nodes.iter().all(|node| table.keep(now, *node) == Kept::New));
        assert_eq!(table.nodes().collect::<Vec<_>>(), nodes[..16]);
        assert_eq!(table.buckets[0].spares, &nodes[30..]);
        assert_eq!(table.keep(now, nodes[3]), Kept::Known);
        assert_eq!(table.keep(now, nodes[35]), Kept::Known);
        assert_eq!(table.buckets[0].spares.back(), Some(&nodes[35]));
    }

    #[test]
    fn the_fifth_failure_in_a_row_costs_the_place() {
        let (mut table, now) = (table(), clock::now().instant);
        let nodes = far(17);
        for node in &nodes {
            table.keep(now, *node);
        }
        for _ in 0..4 {
            table.failed(now, nodes[0].id);
        }
        table.keep(now, nodes[0]);
        for _ in 0..4 {
            table.failed(now, nodes[0].id);
            assert_eq!(table.stalest(), Some(nodes[0]), "looked after first");
        }
        assert!(table.nodes().any(|node| node == nodes[0]));
        table.failed(now, nodes[0].id);
        assert!(!table.nodes().any(|node| node == nodes[0]));
        assert!(table.nodes().any(|node| node == nodes[16]), "a spare took the place");
        assert!(table.buckets[0].spares.is_empty());
        table.failed(now, nodes[0].id);
    }

    #[test]
    fn the_longest_unheard_node_is_looked_after() {
        let (mut table, now) = (table(), clock::now().instant);
        assert_eq!(table.stalest(), None);
        let nodes = far(3);
        for (second, node) in nodes.iter().enumerate() {
            table.keep(now + Duration::from_secs(second as u64), *node);
        }
        assert_eq!(table.stalest(), Some(nodes[0]));
        table.keep(now + Duration::from_secs(9), nodes[0]);
        assert_eq!(table.stalest(), Some(nodes[1]));
    }

    #[test]
    fn h45_a_network_gets_two_places_in_a_bucket_and_ten_in_the_table() {
        let (mut table, now) = (table(), clock::now().instant);
        for secret in 1..2000 {
            table.keep(now, contact(secret, [8, 8, 8, secret as u8]));
        }
        assert!(table.buckets.iter().all(|bucket| bucket.contacts().count() <= SUBNET_IN_BUCKET));
        assert_eq!(table.len(), SUBNET_IN_TABLE);
        assert_eq!(table.keep(now, contact(2000, [8, 8, 8, 1])), Kept::Refused);
        assert_eq!(table.keep(now, contact(2000, [8, 8, 9, 1])), Kept::New);
    }

    #[test]
    fn h45_a_node_does_not_move_into_a_crowded_network() {
        let (mut table, now) = (table(), clock::now().instant);
        let [mut a, mut b, mut c] = far(3).try_into().unwrap();
        (a.addr, b.addr) = (([8, 8, 8, 1], 1).into(), ([8, 8, 8, 2], 1).into());
        assert_eq!([a, b, c].map(|node| table.keep(now, node)), [Kept::New; 3]);
        let before = c;
        c.addr = ([8, 8, 8, 3], 1).into();
        assert_eq!(table.keep(now, c), Kept::Refused);
        assert!(table.nodes().any(|node| node == before));
        a.addr = ([8, 8, 8, 4], 1).into();
        assert_eq!(table.keep(now, a), Kept::New, "within its network a node may move");
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn we_are_not_in_our_table() {
        let mut table = table();
        assert_eq!(table.keep(clock::now().instant, contact(0, [9; 4])), Kept::Refused);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_the_closest_are_closest(secrets in prop::collection::vec(1..500_u16, 1..300), target: u16) {
            let (mut table, now) = (table(), clock::now().instant);
            for secret in &secrets {
                table.keep(now, contact(*secret, [7, (secret >> 4) as u8, *secret as u8, 1]));
                if secret % 3 == 0 {
                    table.failed(now, contact(*secret, [7, 0, 0, 1]).id);
                }
            }
            prop_assert!(table.buckets.iter().all(|b| b.nodes.len() <= BUCKET_NODES && b.spares.len() <= SPARE_NODES));
            let target = contact(target, [7; 4]).id;
            let closest = table.closest(target, 16);
            let farthest = closest.last().map(|node| distance(node.id, target)).unwrap();
            let nearer = table.nodes().filter(|node| distance(node.id, target) <= farthest).count();
            prop_assert_eq!(nearer, closest.len());
        }
    }
}
