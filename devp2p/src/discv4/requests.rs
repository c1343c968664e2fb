//! What we asked and still wait for.
//!
//! An answer counts when it names our packet or comes from the node that was asked, at the address it was asked at; all
//! others are dropped before their signature is looked at. At most [`MAX_WAITING`], each for [`ANSWER_TIMEOUT`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::endpoint::Contact;
use super::packet::{Hash, Kind};
use super::protocol::{LookupId, RecordId};
use super::table::BUCKET_NODES;
use crate::key::NodeId;

/// Longest wait for an answer. Source: go-ethereum, `respTimeout`.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Requests that wait at once. When full, a question of ours counts as not answered.
pub(crate) const MAX_WAITING: usize = 256;

/// Of these, Pings sent because a stranger pinged us: a flood of strangers leaves room for our own.
pub(crate) const MAX_WAITING_STRANGERS: usize = 128;

/// A question to be put to a node once it has our endpoint proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    FindNode(LookupId),
    Record(RecordId),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A Pong to our Ping.
    Pong {
        hash: Hash,
        /// They pinged us and have our Pong: they know us as soon as we know them.
        pinged_us: bool,
        then: Vec<Query>,
    },
    /// Their Ping: we know them, but they may not know us, and ping before they answer.
    TheirPing(Query),
    /// Nodes, in one packet or several.
    Neighbors {
        lookup: LookupId,
        /// Asked for the second time.
        again: bool,
        /// Some answer came; it may have been empty.
        answered: bool,
        nodes: Vec<Contact>,
    },
    /// A record.
    Record {
        hash: Hash,
        id: RecordId,
        /// Asked for the second time.
        again: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) contact: Contact,
    pub(crate) deadline: Instant,
    pub(crate) wait: Wait,
}

impl Request {
    fn is_to(&self, id: NodeId, ip: IpAddr) -> bool {
        self.contact.id == id && self.contact.addr.ip() == ip
    }

    fn is_stranger(&self) -> bool {
        matches!(&self.wait, Wait::Pong { pinged_us: true, then, .. } if then.is_empty())
    }
}

/// The requests that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Requests(Vec<Request>);

impl Requests {
    /// True when there is room for one more; for a Ping to a stranger there is less room.
    pub(crate) fn has_room(&self, stranger: bool) -> bool {
        let strangers = || self.0.iter().filter(|request| request.is_stranger()).count();
        self.0.len() < MAX_WAITING && (!stranger || strangers() < MAX_WAITING_STRANGERS)
    }

    /// Waits for an answer from `contact`. The caller has asked for room.
    pub(crate) fn push(&mut self, now: Instant, contact: Contact, wait: Wait) {
        self.0.push(Request { contact, deadline: now + ANSWER_TIMEOUT, wait });
    }

    /// True when a packet of this kind from this address may be an answer.
    pub(crate) fn expects(&self, kind: Kind, ip: IpAddr) -> bool {
        let answers = |wait: &Wait| match wait {
            Wait::Pong { .. } => kind == Kind::Pong,
            // A Ping is never an answer: it has its own way in.
            Wait::TheirPing(_) => false,
            Wait::Neighbors { .. } => kind == Kind::Neighbors,
            Wait::Record { .. } => kind == Kind::EnrResponse,
        };
        self.0.iter().any(|request| request.contact.addr.ip() == ip && answers(&request.wait))
    }

    /// The Ping under way to this node at this address.
    pub(crate) fn ping_to(&mut self, contact: &Contact) -> Option<&mut Wait> {
        let same = |request: &&mut Request| {
            request.contact.id == contact.id
                && request.contact.addr == contact.addr
                && matches!(request.wait, Wait::Pong { .. })
        };
        self.0.iter_mut().find(same).map(|request| &mut request.wait)
    }

    /// Takes the Ping that a Pong names.
    pub(crate) fn take_ping(&mut self, id: NodeId, ip: IpAddr, ping: &Hash) -> Option<(Contact, bool, Vec<Query>)> {
        let named = |request: &Request| {
            request.is_to(id, ip) && matches!(&request.wait, Wait::Pong { hash, .. } if hash == ping)
        };
        let position = self.0.iter().position(named)?;
        match self.0.remove(position) {
            Request { contact, wait: Wait::Pong { pinged_us, then, .. }, .. } => Some((contact, pinged_us, then)),
            _ => None,
        }
    }

    /// Takes the questions that waited for a Ping of this node.
    pub(crate) fn take_queries(&mut self, id: NodeId, ip: IpAddr) -> Vec<(Contact, Query)> {
        let mut queries = Vec::new();
        self.0.retain(|request| match request.wait {
            Wait::TheirPing(query) if request.is_to(id, ip) => {
                queries.push((request.contact, query));
                false
            }
            _ => true,
        });
        queries
    }

    /// Adds nodes to the oldest answer awaited from this node, and takes it when it is complete. `None` when nothing was
    /// awaited.
    pub(crate) fn add_neighbors(&mut self, id: NodeId, ip: IpAddr, nodes: &[Contact]) -> Option<Option<Request>> {
        let asked = |request: &Request| request.is_to(id, ip) && matches!(request.wait, Wait::Neighbors { .. });
        let position = self.0.iter().position(asked)?;
        let Wait::Neighbors { nodes: found, answered, .. } = &mut self.0[position].wait else { return None };
        *answered = true;
        for node in nodes {
            // A packet that comes twice must not pass for the second half.
            if found.len() < BUCKET_NODES && found.iter().all(|known| known.id != node.id) {
                found.push(*node);
            }
        }
        let complete = found.len() >= BUCKET_NODES;
        Some(complete.then(|| self.0.remove(position)))
    }

    /// Takes the question that a record answers.
    pub(crate) fn take_record(&mut self, id: NodeId, ip: IpAddr, request: &Hash) -> Option<RecordId> {
        let named = |waiting: &Request| {
            waiting.is_to(id, ip) && matches!(&waiting.wait, Wait::Record { hash, .. } if hash == request)
        };
        let position = self.0.iter().position(named)?;
        match self.0.remove(position).wait {
            Wait::Record { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Takes a request whose time is up.
    pub(crate) fn take_overdue(&mut self, now: Instant) -> Option<Request> {
        let position = self.0.iter().position(|request| request.deadline <= now)?;
        Some(self.0.remove(position))
    }

    /// When the first one's time is up.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.0.iter().map(|request| request.deadline).min()
    }
}
