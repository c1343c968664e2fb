//! The way to a target (`discv4.md`, "Recursive Lookup"): ask the nearest nodes known for nearer ones, until the nearest
//! [`BUCKET_NODES`] have all answered.

use std::collections::BTreeMap;

use super::endpoint::Contact;
use super::table::{BUCKET_NODES, distance};
use crate::key::NodeId;

/// Queries of one lookup under way at once: the *alpha* of Kademlia. Source: `discv4.md`, "Recursive Lookup".
pub(crate) const ALPHA: usize = 3;

/// Queries of one lookup. An honest network of a million nodes needs about 30; invented nodes, each nearer than the last,
/// would have no end.
pub(crate) const MAX_QUERIES: usize = 48;

/// Nodes remembered by one lookup; the farthest is forgotten.
pub(crate) const MAX_CANDIDATES: usize = 128;

/// One lookup.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: NodeId,
    own: NodeId,
    /// By distance from the target.
    candidates: BTreeMap<[u8; 32], Candidate>,
    queries: usize,
    waiting: usize,
}

#[derive(Debug)]
struct Candidate {
    contact: Contact,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unasked,
    Asked,
    Answered,
    Failed,
}

impl Lookup {
    /// Begins at `seeds`.
    pub(crate) fn new(target: NodeId, own: NodeId, seeds: &[Contact]) -> Self {
        let mut lookup = Self { target, own, candidates: BTreeMap::new(), queries: 0, waiting: 0 };
        lookup.add(seeds);
        lookup
    }

    fn add(&mut self, nodes: &[Contact]) {
        for contact in nodes.iter().filter(|node| node.id != self.own) {
            let candidate = Candidate { contact: *contact, state: State::Unasked };
            self.candidates.entry(distance(contact.id, self.target)).or_insert(candidate);
        }
        while self.candidates.len() > MAX_CANDIDATES {
            self.candidates.pop_last();
        }
    }

    /// A node to ask now; the caller says what came of it with [`Lookup::answered`] or [`Lookup::failed`].
    pub(crate) fn next(&mut self) -> Option<Contact> {
        if self.waiting >= ALPHA || self.queries >= MAX_QUERIES {
            return None;
        }
        let mut nearest = self.candidates.values_mut().filter(|node| node.state != State::Failed).take(BUCKET_NODES);
        let candidate = nearest.find(|node| node.state == State::Unasked)?;
        candidate.state = State::Asked;
        self.queries += 1;
        self.waiting += 1;
        Some(candidate.contact)
    }

    /// A node told of others.
    pub(crate) fn answered(&mut self, id: NodeId, nodes: &[Contact]) {
        self.ended(id, State::Answered);
        self.add(nodes);
    }

    /// A node did not answer.
    pub(crate) fn failed(&mut self, id: NodeId) {
        self.ended(id, State::Failed);
    }

    fn ended(&mut self, id: NodeId, state: State) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(candidate) = self.candidates.get_mut(&distance(id, self.target)) {
            candidate.state = state;
        }
    }

    /// True when nobody is left to ask or to wait for.
    pub(crate) fn is_done(&mut self) -> bool {
        if self.waiting > 0 {
            return false;
        }
        let mut nearest = self.candidates.values().filter(|node| node.state != State::Failed).take(BUCKET_NODES);
        self.queries >= MAX_QUERIES || !nearest.any(|node| node.state == State::Unasked)
    }

    /// The nearest nodes that answered, nearest first.
    pub(crate) fn result(&self) -> Vec<Contact> {
        let answered = self.candidates.values().filter(|node| node.state == State::Answered);
        answered.take(BUCKET_NODES).map(|node| node.contact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::NodeKey;

    fn contact(secret: u16) -> Contact {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&secret.to_be_bytes());
        Contact::new(NodeKey::from_bytes(&bytes).unwrap().public(), ([9, 9, 9, 9], 1).into(), 1)
    }

    #[test]
    fn three_at_once_and_the_nearest_first() {
        let nodes: Vec<_> = (1..30).map(contact).collect();
        let target = contact(100).id;
        let mut lookup = Lookup::new(target, contact(0).id, &nodes);
        let mut nearest = nodes;
        nearest.sort_by_key(|node| distance(node.id, target));
        let asked: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
        assert_eq!(asked, nearest[..ALPHA]);
        lookup.failed(asked[0].id);
        assert_eq!(lookup.next(), Some(nearest[3]));
        let mut waiting = vec![asked[1], asked[2], nearest[3]];
        while let Some(asked) = waiting.pop() {
            lookup.answered(asked.id, &[]);
            waiting.extend(lookup.next());
        }
        assert!(lookup.is_done());
        assert_eq!(lookup.queries, BUCKET_NODES + 1, "one more for the one that failed");
        assert_eq!(lookup.result(), nearest[1..=BUCKET_NODES]);
    }

    #[test]
    fn nodes_told_of_are_asked_once() {
        let mut lookup = Lookup::new(contact(100).id, contact(0).id, &[contact(1)]);
        let asked = lookup.next().unwrap();
        assert!(!lookup.is_done());
        lookup.answered(asked.id, &[contact(1), contact(2), contact(0), contact(2)]);
        let asked = lookup.next().unwrap();
        assert_eq!((asked, lookup.next()), (contact(2), None), "not the first again, and not ourselves");
        lookup.answered(asked.id, &[contact(1)]);
        assert!(lookup.is_done());
        assert_eq!(lookup.result().len(), 2);
    }

    #[test]
    fn invented_nodes_come_to_an_end() {
        let mut lookup = Lookup::new(contact(0).id, contact(0).id, &[contact(1)]);
        let mut secrets = 2..;
        while let Some(asked) = lookup.next() {
            let nodes: Vec<_> = secrets.by_ref().take(16).map(contact).collect();
            lookup.answered(asked.id, &nodes);
        }
        assert!(lookup.is_done());
        assert!(lookup.queries <= MAX_QUERIES && lookup.candidates.len() <= MAX_CANDIDATES);
    }

    #[test]
    fn nobody_to_ask_is_done() {
        let mut lookup = Lookup::new(contact(1).id, contact(0).id, &[]);
        assert_eq!((lookup.next(), lookup.is_done(), lookup.result()), (None, true, vec![]));
    }
}
