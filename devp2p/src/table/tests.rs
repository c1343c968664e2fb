//! Admission, and what two nodes make of dialling each other at once.

use super::*;
use crate::hello::Capability;
use crate::key::NodeKey;

fn limits() -> Limits {
    Limits { max_peers: 2, max_pending_inbound: 3, max_queued_packets: 3, max_queued_bytes: 100, ..Limits::default() }
}

fn id(secret: u8) -> NodeId {
    NodeKey::from_bytes(&[secret; 32]).unwrap().public().id()
}

fn packet(bytes: usize) -> Packet {
    Packet::new(Capability::from_static("waku", 0), 1, vec![0; bytes])
}

fn table(favoured: &[NodeId], limits: &Limits) -> Table {
    Table::new(id(100), favoured.iter().copied().collect(), limits)
}

fn ip(last: u8) -> IpAddr {
    [1, 2, last, 1].into()
}

fn inbound(table: &mut Table) -> ConnId {
    table.register(Some(ip(0))).unwrap().0
}

#[test]
fn one_connection_a_node_and_a_bounded_number_of_nodes() {
    let mut table = table(&[id(9)], &limits());
    let conns: Vec<_> = (0..6).map(|_| inbound(&mut table)).collect();
    assert_eq!(table.admit(conns[0], id(1)), Ok(()));
    assert_eq!(table.admit(conns[1], id(1)), Err(DisconnectReason::AlreadyConnected));
    assert_eq!(table.admit(conns[2], id(2)), Ok(()));
    assert_eq!(table.admit(conns[3], id(3)), Err(DisconnectReason::TooManyPeers));
    assert_eq!(table.admit(conns[4], id(9)), Ok(()), "static and trusted nodes come beside the limit");
    table.remove(conns[0]);
    assert_eq!(table.admit(conns[5], id(1)), Ok(()));
}

#[test]
fn h24_slots_for_our_own_dials_are_kept_from_those_who_dial_us() {
    let limits = Limits { max_peers: 9, outbound_slots: 100, ..limits() };
    let mut table = table(&[id(9)], &limits);
    for secret in 10..16 {
        let conn = inbound(&mut table);
        assert_eq!(table.admit(conn, id(secret)), Ok(()));
    }
    let conn = inbound(&mut table);
    assert_eq!(table.admit(conn, id(20)), Err(DisconnectReason::TooManyPeers), "six of nine");
    assert_eq!(table.admit(conn, id(9)), Ok(()));
    for secret in 30..33 {
        let conn = table.register(None).unwrap().0;
        assert_eq!(table.admit(conn, id(secret)), Ok(()));
    }
    let conn = table.register(None).unwrap().0;
    assert_eq!(table.admit(conn, id(33)), Err(DisconnectReason::TooManyPeers));
}

#[test]
fn h22_the_oldest_silent_stranger_makes_room() {
    let mut table = table(&[], &limits());
    let strangers: Vec<_> = (0..4).map(|_| table.register(Some(ip(0))).unwrap()).collect();
    let ordered: Vec<_> = strangers.iter().map(|(_, order)| order.borrow().is_some()).collect();
    assert_eq!(ordered, [true, false, false, false]);
    assert_eq!(table.admit(strangers[1].0, id(1)), Ok(()));
    let _fourth = inbound(&mut table);
    assert!(strangers[2].1.borrow().is_none(), "an admitted peer does not count");
}

#[test]
fn h22_a_crowd_from_one_subnet_makes_room_before_a_single_stranger() {
    let mut table = table(&[], &limits());
    let (_, single) = table.register(Some(ip(7))).unwrap();
    let crowd: Vec<_> = (0..100).map(|_| table.register(Some(ip(0))).unwrap()).collect();
    assert!(single.borrow().is_none());
    assert_eq!(crowd.iter().filter(|(_, order)| order.borrow().is_none()).count(), 2);
    assert_eq!(table.counts().pending_inbound, 3);
}

/// With the limits that hold by default, from as many subnets as they like.
#[test]
fn h22_of_a_thousand_silent_strangers_fifty_wait_and_a_newcomer_is_one_of_them() {
    let mut table = table(&[], &Limits::default());
    let strangers: Vec<_> = (0..1000_u32).map(|at| table.register(Some(ip((at % 200) as u8))).unwrap()).collect();
    let waiting = strangers.iter().filter(|(_, order)| order.borrow().is_none()).count();
    assert_eq!((waiting, table.counts().pending_inbound), (50, 50));
    let (newcomer, order) = table.register(Some(ip(250))).unwrap();
    assert!(order.borrow().is_none());
    assert_eq!(table.admit(newcomer, id(1)), Ok(()));
    assert_eq!(table.counts().pending_inbound, 49);
}

#[tokio::test]
async fn queues_are_bounded_in_packets_and_in_bytes() {
    let mut table = table(&[], &limits());
    let conn = inbound(&mut table);
    assert_eq!(table.try_send(conn, packet(1)), Err(TrySendError::Gone));
    let mut inbox = table.open(conn, &limits()).unwrap();
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
    let mut table = table(&[], &limits());
    let (conn, order) = table.register(None).unwrap();
    table.disconnect_all(DisconnectReason::ClientQuitting);
    assert_eq!(*order.borrow(), Some(DisconnectReason::ClientQuitting));
    assert!(table.register(Some(ip(0))).is_none());
    assert_eq!(table.admit(conn, id(1)), Err(DisconnectReason::ClientQuitting));
    assert_eq!(table.open(conn, &limits()).err(), Some(DisconnectReason::ClientQuitting));
}

/// Two nodes that dial each other. Of each connection a side first sees the other's key, then its Hello; it sends its Hello
/// with the first step, so the second can be taken only after the other side has taken its first.
struct Crossing {
    tables: [Table; 2],
    /// By connection (0 is dialled by node 0), then by side.
    conns: [[(ConnId, Order); 2]; 2],
    admitted: [[bool; 2]; 2],
    opened: [[bool; 2]; 2],
}

impl Crossing {
    fn new() -> Self {
        let mut tables = [1, 2].map(|own| Table::new(id(own), HashSet::new(), &Limits::default()));
        let conns = [0, 1].map(|dialler| {
            [0, 1].map(|side: usize| tables[side].register((side != dialler).then_some(ip(0))).unwrap())
        });
        Self { tables, conns, admitted: [[false; 2]; 2], opened: [[false; 2]; 2] }
    }

    /// The side that was dialled sees the key first: the dialler sees it in the answer.
    fn step(&mut self, conn: usize, side: usize, open: bool) {
        let (at, other) = (self.conns[conn][side].0, 2 - side as u8);
        if open {
            let ready = self.admitted[conn] == [true; 2];
            self.opened[conn][side] = ready && self.tables[side].open(at, &Limits::default()).is_ok();
        } else {
            self.admitted[conn][side] = self.tables[side].admit(at, id(other)).is_ok();
        }
    }

    /// Connections that are left: those that neither side was told to end.
    fn alive(&self) -> Vec<usize> {
        let ends =
            |conn: &usize| (0..2).all(|side| self.opened[*conn][side] && self.conns[*conn][side].1.borrow().is_none());
        (0..2).filter(ends).collect()
    }
}

/// Every order in which the steps can happen: for each connection the dialled side admits, then the dialler, who opens with
/// the Hello that comes in the same segment; the dialled side opens last.
fn orders() -> Vec<Vec<(usize, usize, bool)>> {
    let of = |dialler: usize| {
        let dialled = 1 - dialler;
        [
            vec![(dialler, dialled, false)],
            vec![(dialler, dialler, false), (dialler, dialler, true)],
            vec![(dialler, dialled, true)],
        ]
    };
    let (first, second) = (of(0), of(1));
    let mut orders = Vec::new();
    for mask in 0_u32..64 {
        if mask.count_ones() != 3 {
            continue;
        }
        let (mut a, mut b) = (first.iter(), second.iter());
        let steps = (0..6).filter_map(|at| if mask >> at & 1 == 1 { a.next() } else { b.next() });
        orders.push(steps.flatten().copied().collect());
    }
    orders
}

#[test]
fn two_nodes_that_dial_each_other_keep_one_connection_in_every_order() {
    assert_eq!(orders().len(), 20);
    for order in orders() {
        let mut crossing = Crossing::new();
        for (conn, side, open) in &order {
            crossing.step(*conn, *side, *open);
        }
        assert_eq!(crossing.alive().len(), 1, "{order:?}");
    }
}
