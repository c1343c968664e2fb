//! The connections of a server: who is admitted, and the queue to each.
//!
//! Plain bookkeeping under one lock; nothing here waits.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};

use crate::disconnect::DisconnectReason;
use crate::key::NodeId;
use crate::packet::Packet;
use crate::server::{ConnId, Limits, TrySendError};

/// Tells a connection's task to disconnect.
pub(crate) type Order = watch::Receiver<Option<DisconnectReason>>;

/// All connections, from the TCP connect on.
#[derive(Debug)]
pub(crate) struct Table {
    /// In order of age.
    entries: BTreeMap<ConnId, Entry>,
    statics: HashSet<NodeId>,
    next: u64,
    stopped: bool,
    max_peers: usize,
    max_pending_inbound: usize,
}

#[derive(Debug)]
struct Entry {
    order: watch::Sender<Option<DisconnectReason>>,
    inbound: bool,
    /// The peer, once admitted.
    id: Option<NodeId>,
    /// Once Hello is exchanged.
    queue: Option<Queue>,
}

impl Table {
    pub(crate) fn new(statics: HashSet<NodeId>, limits: &Limits) -> Self {
        Self {
            entries: BTreeMap::new(),
            statics,
            next: 0,
            stopped: false,
            max_peers: limits.max_peers,
            max_pending_inbound: limits.max_pending_inbound,
        }
    }

    /// Adds a connection; `None` when the server stops. When too many inbound ones have not authenticated, the oldest of
    /// them is dropped: silent connections cannot keep a newcomer waiting, who needs one round trip.
    pub(crate) fn register(&mut self, inbound: bool) -> Option<(ConnId, Order)> {
        if self.stopped {
            return None;
        }
        if inbound {
            self.make_room();
        }
        let conn = ConnId(self.next);
        self.next += 1;
        let (order, receiver) = watch::channel(None);
        self.entries.insert(conn, Entry { order, inbound, id: None, queue: None });
        Some((conn, receiver))
    }

    fn make_room(&self) {
        let pending = || self.entries.values().filter(|entry| entry.is_pending_inbound());
        if pending().count() >= self.max_pending_inbound
            && let Some(oldest) = pending().next()
        {
            oldest.order.send_replace(Some(DisconnectReason::TooManyPeers));
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
        let peers = || self.entries.values().filter_map(|entry| entry.id);
        if peers().any(|peer| peer == id) {
            return Err(DisconnectReason::AlreadyConnected);
        }
        let others = peers().filter(|peer| !self.statics.contains(peer)).count();
        if others >= self.max_peers && !self.statics.contains(&id) {
            return Err(DisconnectReason::TooManyPeers);
        }
        let entry = self.entries.get_mut(&conn).ok_or(DisconnectReason::Requested)?;
        entry.id = Some(id);
        Ok(())
    }

    /// Makes the queue of a connection; packets can be sent from now on.
    pub(crate) fn open(&mut self, conn: ConnId, limits: &Limits) -> Inbox {
        let (sender, receiver) = mpsc::channel(limits.max_queued_packets.max(1));
        let bytes = Arc::new(AtomicUsize::new(0));
        if let Some(entry) = self.entries.get_mut(&conn) {
            entry.queue = Some(Queue { sender, bytes: Arc::clone(&bytes), max_bytes: limits.max_queued_bytes });
        }
        Inbox { receiver, bytes }
    }

    /// Forgets a connection: its slot is free, and nothing more can be sent.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        self.entries.remove(&conn);
    }

    pub(crate) fn try_send(&self, conn: ConnId, packet: Packet) -> Result<(), TrySendError> {
        self.entries.get(&conn).and_then(|entry| entry.queue.as_ref()).ok_or(TrySendError::Gone)?.try_push(packet)
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
        self.inbound && self.id.is_none() && self.order.borrow().is_none()
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
mod tests {
    use super::*;
    use crate::hello::Capability;
    use crate::key::NodeKey;

    const LIMITS: Limits = Limits {
        max_peers: 2,
        max_pending_inbound: 3,
        dial_timeout: std::time::Duration::from_secs(1),
        write_timeout: std::time::Duration::from_secs(1),
        max_queued_packets: 3,
        max_queued_bytes: 100,
    };

    fn id(secret: u8) -> NodeId {
        NodeKey::from_bytes(&[secret; 32]).unwrap().public().id()
    }

    fn packet(bytes: usize) -> Packet {
        Packet::new(Capability::from_static("waku", 0), 1, vec![0; bytes])
    }

    fn registered(table: &mut Table) -> ConnId {
        table.register(true).unwrap().0
    }

    #[test]
    fn one_connection_a_node_and_a_bounded_number_of_nodes() {
        let mut table = Table::new(HashSet::from([id(9)]), &LIMITS);
        let conns: Vec<_> = (0..6).map(|_| registered(&mut table)).collect();
        assert_eq!(table.admit(conns[0], id(1)), Ok(()));
        assert_eq!(table.admit(conns[1], id(1)), Err(DisconnectReason::AlreadyConnected));
        assert_eq!(table.admit(conns[2], id(2)), Ok(()));
        assert_eq!(table.admit(conns[3], id(3)), Err(DisconnectReason::TooManyPeers));
        assert_eq!(table.admit(conns[4], id(9)), Ok(()), "static nodes come beside the limit");
        table.remove(conns[0]);
        assert_eq!(table.admit(conns[5], id(1)), Ok(()));
    }

    #[test]
    fn the_oldest_silent_stranger_makes_room() {
        let mut table = Table::new(HashSet::new(), &LIMITS);
        let strangers: Vec<_> = (0..4).map(|_| table.register(true).unwrap()).collect();
        let ordered: Vec<_> = strangers.iter().map(|(_, order)| order.borrow().is_some()).collect();
        assert_eq!(ordered, [true, false, false, false]);
        assert_eq!(table.admit(strangers[1].0, id(1)), Ok(()));
        let _fourth = registered(&mut table);
        assert!(strangers[2].1.borrow().is_none(), "an admitted peer does not count");
    }

    #[tokio::test]
    async fn queues_are_bounded_in_packets_and_in_bytes() {
        let mut table = Table::new(HashSet::new(), &LIMITS);
        let conn = registered(&mut table);
        assert_eq!(table.try_send(conn, packet(1)), Err(TrySendError::Gone));
        let mut inbox = table.open(conn, &LIMITS);
        assert_eq!(table.try_send(conn, packet(500)), Ok(()), "one long packet passes an empty queue");
        assert_eq!(table.try_send(conn, packet(1)), Err(TrySendError::Full));
        assert_eq!(inbox.recv().await.body.plain().len(), 500);
        for _ in 0..3 {
            assert_eq!(table.try_send(conn, packet(1)), Ok(()));
        }
        assert_eq!(table.try_send(conn, packet(1)), Err(TrySendError::Full));
        assert_eq!(std::iter::from_fn(|| inbox.try_recv()).count(), 3);
        assert_eq!(table.try_send(conn, packet(1)), Ok(()));
        table.remove(conn);
        assert_eq!(table.try_send(conn, packet(1)), Err(TrySendError::Gone));
    }

    #[test]
    fn nothing_begins_after_the_stop() {
        let mut table = Table::new(HashSet::new(), &LIMITS);
        let (conn, order) = table.register(false).unwrap();
        table.disconnect_all(DisconnectReason::ClientQuitting);
        assert_eq!(*order.borrow(), Some(DisconnectReason::ClientQuitting));
        assert!(table.register(true).is_none());
        assert_eq!(table.admit(conn, id(1)), Err(DisconnectReason::ClientQuitting));
    }
}
