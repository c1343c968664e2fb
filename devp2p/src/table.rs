//! The connections of a server: who is admitted, and the queue to each.
//!
//! Plain bookkeeping under one lock; nothing here waits. A node has one connection. When two nodes dial each other at once,
//! the one of the lesser id takes what comes first and refuses the other with "already connected"; the one of the greater id
//! takes both, and keeps that on which the other says Hello. If each took what comes first, both connections could end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};

use crate::disconnect::DisconnectReason;
use crate::inbound::Subnet;
use crate::key::NodeId;
use crate::packet::Packet;
use crate::server::{ConnId, Limits, TrySendError};

/// Tells a connection's task to disconnect.
pub(crate) type Order = watch::Receiver<Option<DisconnectReason>>;

/// All connections, from the TCP connect on.
#[derive(Debug)]
pub(crate) struct Table {
    own: NodeId,
    /// In order of age.
    entries: BTreeMap<ConnId, Entry>,
    /// Trusted nodes, which are admitted beside all limits.
    trusted: HashSet<NodeId>,
    /// Static nodes, which are too.
    statics: HashSet<NodeId>,
    next: u64,
    stopped: bool,
    max_peers: usize,
    max_inbound_peers: usize,
    max_pending_inbound: usize,
}

#[derive(Debug)]
struct Entry {
    order: watch::Sender<Option<DisconnectReason>>,
    /// Where it came from; none when we dialled.
    from: Option<Subnet>,
    /// The peer, once admitted.
    id: Option<NodeId>,
    /// Once Hello is exchanged.
    queue: Option<Queue>,
}

/// How many connections there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// From the TCP connect on.
    pub all: usize,
    /// Inbound ones that have not authenticated yet.
    pub pending_inbound: usize,
    /// Those that have exchanged Hello.
    pub peers: usize,
}

impl Table {
    pub(crate) fn new(own: NodeId, trusted: HashSet<NodeId>, limits: &Limits) -> Self {
        Self {
            own,
            entries: BTreeMap::new(),
            trusted,
            statics: HashSet::new(),
            next: 0,
            stopped: false,
            max_peers: limits.max_peers,
            max_inbound_peers: limits.max_inbound_peers(),
            max_pending_inbound: limits.max_pending_inbound,
        }
    }

    /// Adds a connection, `from` an address when it is inbound; `None` when the server stops. When too many inbound ones have
    /// not authenticated, one of them is dropped: silent connections cannot keep a newcomer waiting, who needs one round trip.
    pub(crate) fn register(&mut self, from: Option<IpAddr>) -> Option<(ConnId, Order)> {
        if self.stopped {
            return None;
        }
        if from.is_some() {
            self.make_room();
        }
        let conn = ConnId(self.next);
        self.next += 1;
        let (order, receiver) = watch::channel(None);
        self.entries.insert(conn, Entry { order, from: from.map(Subnet::of), id: None, queue: None });
        Some((conn, receiver))
    }

    /// Drops the oldest pending connection of the subnet that has most of them.
    fn make_room(&self) {
        let pending = || self.entries.values().filter(|entry| entry.is_pending_inbound());
        if pending().count() < self.max_pending_inbound {
            return;
        }
        let mut subnets: HashMap<Subnet, usize> = HashMap::new();
        pending().filter_map(|entry| entry.from).for_each(|subnet| *subnets.entry(subnet).or_default() += 1);
        let crowd = |entry: &&Entry| entry.from.and_then(|subnet| subnets.get(&subnet).copied());
        // Of equals `max_by_key` takes the last, so the oldest is put there.
        if let Some(entry) = pending().rev().max_by_key(crowd) {
            entry.order.send_replace(Some(DisconnectReason::TooManyPeers));
        }
    }

    /// Takes a slot for the node behind a connection.
    ///
    /// # Errors
    /// The reason to refuse it with.
    pub(crate) fn admit(&mut self, conn: ConnId, id: NodeId) -> Result<(), DisconnectReason> {
        if self.stopped {
            return Err(DisconnectReason::ClientQuitting);
        }
        let inbound = self.entries.get(&conn).ok_or(DisconnectReason::Requested)?.from.is_some();
        if self.is_double(id, inbound) {
            return Err(DisconnectReason::AlreadyConnected);
        }
        if !self.is_favoured(id) && self.is_full(inbound) {
            return Err(DisconnectReason::TooManyPeers);
        }
        if let Some(entry) = self.entries.get_mut(&conn) {
            entry.id = Some(id);
        }
        Ok(())
    }

    /// Admits a node beside all limits from now on. Says whether it is connected, and if so whether we have dialled it.
    pub(crate) fn keep(&mut self, id: NodeId) -> Option<bool> {
        self.statics.insert(id);
        self.with(id).find(|entry| entry.queue.is_some()).map(|entry| entry.from.is_none())
    }

    /// Admits it like any other from now on, unless it is trusted.
    pub(crate) fn release(&mut self, id: NodeId) {
        self.statics.remove(&id);
    }

    fn is_favoured(&self, id: NodeId) -> bool {
        self.trusted.contains(&id) || self.statics.contains(&id)
    }

    /// True when a connection with the node is there, unless it is one that crosses this one and the node decides.
    fn is_double(&self, id: NodeId, inbound: bool) -> bool {
        let crosses = |other: &Entry| other.queue.is_none() && other.from.is_some() != inbound;
        self.with(id).any(|other| id > self.own || !crosses(other))
    }

    fn with(&self, id: NodeId) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.id == Some(id))
    }

    fn is_full(&self, inbound: bool) -> bool {
        let others = || {
            let admitted = |entry: &&Entry| entry.id.is_some_and(|id| !self.is_favoured(id));
            self.entries.values().filter(admitted)
        };
        others().count() >= self.max_peers
            || inbound && others().filter(|entry| entry.from.is_some()).count() >= self.max_inbound_peers
    }

    pub(crate) fn counts(&self) -> ConnectionCounts {
        ConnectionCounts {
            all: self.entries.len(),
            pending_inbound: self.entries.values().filter(|entry| entry.is_pending_inbound()).count(),
            peers: self.entries.values().filter(|entry| entry.queue.is_some()).count(),
        }
    }

    /// Makes the queue of a connection; packets can be sent from now on.
    ///
    /// # Errors
    /// The reason to disconnect with, when that was ordered meanwhile.
    pub(crate) fn open(&mut self, conn: ConnId, limits: &Limits) -> Result<Inbox, DisconnectReason> {
        let entry = self.entries.get(&conn).ok_or(DisconnectReason::Requested)?;
        if let Some(reason) = *entry.order.borrow() {
            return Err(reason);
        }
        if let Some(id) = entry.id {
            if self.with(id).any(|other| other.queue.is_some()) {
                return Err(DisconnectReason::AlreadyConnected);
            }
            self.end_others(conn, id);
        }
        let entry = self.entries.get_mut(&conn).ok_or(DisconnectReason::Requested)?;
        let (sender, receiver) = mpsc::channel(limits.max_queued_packets.max(1));
        let bytes = Arc::new(AtomicUsize::new(0));
        entry.queue = Some(Queue { sender, bytes: Arc::clone(&bytes), max_bytes: limits.max_queued_bytes });
        Ok(Inbox { receiver, bytes })
    }

    /// Ends the connection that crossed this one.
    fn end_others(&self, conn: ConnId, id: NodeId) {
        let others = self.entries.iter().filter(|(other, entry)| **other != conn && entry.id == Some(id));
        for (_, entry) in others {
            entry.order.send_replace(Some(DisconnectReason::AlreadyConnected));
        }
    }

    /// Forgets a connection: its slot is free, and nothing more can be sent.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        self.entries.remove(&conn);
    }

    pub(crate) fn try_send(&self, conn: ConnId, packet: Packet) -> Result<(), TrySendError> {
        self.entries.get(&conn).and_then(|entry| entry.queue.as_ref()).ok_or(TrySendError::Gone)?.try_push(packet)
    }

    pub(crate) fn queued_bytes(&self, conn: ConnId) -> Option<usize> {
        let queue = self.entries.get(&conn)?.queue.as_ref()?;
        Some(queue.bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn disconnect(&self, conn: ConnId, reason: DisconnectReason) {
        if let Some(entry) = self.entries.get(&conn) {
            entry.order.send_replace(Some(reason));
        }
    }

    /// Ends every connection and admits no more.
    pub(crate) fn disconnect_all(&mut self, reason: DisconnectReason) {
        self.stopped = true;
        for entry in self.entries.values() {
            entry.order.send_replace(Some(reason));
        }
    }
}

impl Entry {
    fn is_pending_inbound(&self) -> bool {
        self.from.is_some() && self.id.is_none() && self.order.borrow().is_none()
    }
}

/// The sending end of a connection's queue, bounded in packets and in bytes.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Packet>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

impl Queue {
    fn try_push(&self, packet: Packet) -> Result<(), TrySendError> {
        let bytes = packet.body.plain().len();
        let queued = self.bytes.load(Ordering::Relaxed);
        if queued > 0 && queued + bytes > self.max_bytes {
            return Err(TrySendError::Full);
        }
        // Counted first: the receiver may be faster than this function.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.sender.try_send(packet).map_err(|error| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => TrySendError::Full,
                mpsc::error::TrySendError::Closed(_) => TrySendError::Gone,
            }
        })
    }
}

/// The receiving end of a connection's queue.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Packet>,
    bytes: Arc<AtomicUsize>,
}

impl Inbox {
    /// Waits for a packet; never completes once the queue is closed. Safe to cancel.
    pub(crate) async fn recv(&mut self) -> Packet {
        match self.receiver.recv().await {
            Some(packet) => self.taken(packet),
            None => std::future::pending().await,
        }
    }

    /// A packet that is there already.
    pub(crate) fn try_recv(&mut self) -> Option<Packet> {
        let packet = self.receiver.try_recv().ok()?;
        Some(self.taken(packet))
    }

    fn taken(&self, packet: Packet) -> Packet {
        self.bytes.fetch_sub(packet.body.plain().len(), Ordering::Relaxed);
        packet
    }
}

#[cfg(test)]
mod tests;
