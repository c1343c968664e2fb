//! Servers on loopback: what their users and their peers see. Every step waits for an event, none for a time.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use devp2p::{
    CloseCause, ConnId, DisconnectReason, Enode, Limits, Packet, Server, ServerConfig, StartError, TrySendError,
};
use support::nodes::{Node, config, soon};
use support::{SHH6, WAKU0, key, plain, snappy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Two nodes, the second having dialled the first, and what each calls the connection.
async fn pair() -> (Node, ConnId, Node, ConnId) {
    let mut a = Node::start(config(1, &[])).await;
    let mut b = Node::start(config(2, std::slice::from_ref(a.handle.enode()))).await;
    let (at_a, peer, inbound) = a.opened().await;
    assert_eq!((peer.key, inbound), (key(2).public(), true));
    assert_eq!(peer.shared, [SHH6, WAKU0]);
    let (at_b, peer, inbound) = b.opened().await;
    assert_eq!((peer.key, inbound), (key(1).public(), false));
    (a, at_a, b, at_b)
}

#[tokio::test]
async fn packets_cross_in_order_both_ways() {
    let (mut a, at_a, mut b, at_b) = pair().await;
    for number in 0..200_u32 {
        let mut body = vec![0; number as usize * 10];
        body.extend(number.to_be_bytes());
        let packet = Packet::new(WAKU0, 1, body.clone());
        a.handle.try_send(at_a, packet.clone()).unwrap();
        b.handle.try_send(at_b, packet).unwrap();
        assert_eq!(b.body().await, body);
        assert_eq!(a.body().await, body);
    }
}

#[tokio::test]
async fn connections_and_their_bytes_are_counted_on_both_ends() {
    let (a, at_a, mut b, _) = pair().await;
    a.handle.try_send(at_a, Packet::new(WAKU0, 1, vec![7; 9])).unwrap();
    b.body().await;
    let (of_a, of_b) = (a.handle.counters(), b.handle.counters());
    let read = [&of_a.served, &of_a.served_succeeded, &of_a.dials, &of_a.dials_succeeded].map(|n| n.load(Relaxed));
    assert_eq!(read, [1, 1, 0, 0]);
    let read = [&of_b.served, &of_b.dials, &of_b.dials_succeeded, &of_b.dials_unreached].map(|n| n.load(Relaxed));
    assert_eq!(read, [0, 1, 1, 0]);
    // Both have read a handshake and a Hello of some hundred bytes.
    assert!([of_a, of_b].iter().all(|of| of.bytes_in.load(Relaxed) > 100));
    assert!(of_b.bytes_out.load(Relaxed) > 100);
}

#[tokio::test]
async fn a_dial_that_reaches_nobody_is_counted() {
    let gone = Node::start(config(1, &[])).await;
    let enode = gone.handle.enode().clone();
    soon(gone.handle.shutdown()).await;
    let node = Node::start(config(2, &[enode])).await;
    let counted = async {
        while node.handle.counters().dials_unreached.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(counted).await;
    assert_eq!(node.handle.counters().dials_succeeded.load(Relaxed), 0);
}

#[tokio::test]
async fn a_long_packet_crosses_after_the_first_one() {
    let (a, at_a, mut b, _) = pair().await;
    let long: Vec<_> = (0..4_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    a.handle.try_send(at_a, Packet::new(WAKU0, 0, b"status".to_vec())).unwrap();
    assert_eq!(b.body().await, b"status");
    a.handle.try_send(at_a, Packet::new(SHH6, 1, long.clone())).unwrap();
    assert!(b.body().await == long);
}

#[tokio::test]
async fn the_reason_of_a_disconnect_arrives_after_what_was_sent() {
    let (mut a, at_a, mut b, at_b) = pair().await;
    a.handle.try_send(at_a, Packet::new(WAKU0, 1, b"last words".to_vec())).unwrap();
    a.handle.disconnect(at_a, DisconnectReason::SubprotocolError);
    assert_eq!(b.body().await, b"last words");
    assert_eq!(b.closed().await, (at_b, CloseCause::Remote(DisconnectReason::SubprotocolError)));
    assert_eq!(a.closed().await, (at_a, CloseCause::Local(DisconnectReason::SubprotocolError)));
    assert_eq!(a.handle.try_send(at_a, Packet::new(WAKU0, 1, vec![])), Err(TrySendError::Gone));
}

#[tokio::test]
async fn a_shutdown_is_told_to_every_peer() {
    let (mut a, at_a, mut b, at_b) = pair().await;
    soon(a.handle.shutdown()).await;
    assert_eq!(a.closed().await, (at_a, CloseCause::Local(DisconnectReason::ClientQuitting)));
    assert_eq!(b.closed().await, (at_b, CloseCause::Remote(DisconnectReason::ClientQuitting)));
    let refused = TcpStream::connect(a.handle.listen_addr().unwrap()).await;
    assert!(refused.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_static_node_is_redialled() {
    let (mut a, at_a, mut b, at_b) = pair().await;
    a.handle.disconnect(at_a, DisconnectReason::TooManyPeers);
    assert_eq!(a.closed().await.0, at_a);
    assert_eq!(b.closed().await.0, at_b);
    let (again, peer, inbound) = a.opened().await;
    assert!(again != at_a && inbound);
    assert_eq!(peer.key, key(2).public());
    assert!(b.opened().await.0 != at_b);
}

#[tokio::test]
async fn a_second_connection_of_one_node_is_refused() {
    let mut node = Node::start(config(1, &[])).await;
    let mut first = node.puppet(2).await;
    first.hello().await;
    let (conn, ..) = node.opened().await;
    let mut second = node.puppet(2).await;
    let frames = second.frames().await;
    assert_eq!((frames[0].code, &frames[0].data[..]), (1, &[0xc1, 0x05][..]), "instead of a Hello");
    assert!(second.frames().await.is_empty(), "and then the end");
    assert_eq!(first.frames().await[0].code, 0, "the first one has its Hello");
    node.handle.try_send(conn, Packet::new(WAKU0, 1, b"still here".to_vec())).unwrap();
    let frame = first.frames().await.remove(0);
    assert_eq!(plain(&frame.data, true), b"still here");
}

#[tokio::test]
async fn the_node_itself_is_refused_and_never_dialled() {
    let mut node = Node::start(config(1, &[])).await;
    let mut own = node.puppet(1).await;
    let frames = own.frames().await;
    assert_eq!((frames[0].code, &frames[0].data[..]), (1, &[0xc1, 0x0a][..]));
    soon(node.handle.shutdown()).await;
    assert!(node.events.try_recv().is_err(), "such a connection is never opened");
}

#[tokio::test]
async fn peers_beyond_the_limit_are_refused() {
    let limits = Limits { max_peers: 1, ..Limits::default() };
    let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
    let mut first = node.puppet(2).await;
    first.hello().await;
    node.opened().await;
    let mut second = node.puppet(3).await;
    assert_eq!(second.frames().await[0].data, [0xc1, 0x04][..]);
    drop(first);
    node.closed().await;
    let mut third = node.puppet(4).await;
    third.hello().await;
    assert_eq!(node.opened().await.1.key, key(4).public());
}

#[tokio::test]
async fn h22_silent_strangers_give_way_to_a_newcomer() {
    let limits = Limits { max_pending_inbound: 3, ..Limits::default() };
    let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(node.handle.listen_addr().unwrap()).await.unwrap());
    }
    let mut newcomer = node.puppet(2).await;
    newcomer.hello().await;
    assert_eq!(node.opened().await.1.key, key(2).public());
    assert_eq!(soon(silent[0].read(&mut [0; 1])).await.unwrap(), 0, "the oldest was dropped");
}

/// Sends until no more is taken, and says why.
async fn fill(node: &Node, conn: ConnId, packet: &Packet) -> TrySendError {
    loop {
        match node.handle.try_send(conn, packet.clone()) {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn h25_a_peer_that_does_not_read_fills_only_its_own_queue() {
    let mut node = Node::start(config(1, &[])).await;
    let mut stuck = node.puppet(2).await;
    stuck.hello().await;
    let (at_stuck, ..) = node.opened().await;
    let mut reader = node.puppet(3).await;
    reader.hello().await;
    let (at_reader, ..) = node.opened().await;
    let noise: Vec<_> = (0..500_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let packet = Packet::new(WAKU0, 1, noise);
    assert_eq!(soon(fill(&node, at_stuck, &packet)).await, TrySendError::Full);
    assert_eq!(reader.frames().await[0].code, 0);
    node.handle.try_send(at_reader, Packet::new(WAKU0, 1, b"unhurt".to_vec())).unwrap();
    assert_eq!(plain(&reader.frames().await[0].data, true), b"unhurt");
}

#[tokio::test]
async fn h25_a_peer_that_does_not_read_is_dropped() {
    let limits = Limits { write_timeout: Duration::from_millis(50), ..Limits::default() };
    let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
    let mut stuck = node.puppet(2).await;
    stuck.hello().await;
    let (conn, ..) = node.opened().await;
    let noise: Vec<_> = (0..500_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let packet = Packet::new(WAKU0, 1, noise);
    soon(fill(&node, conn, &packet)).await;
    assert_eq!(node.closed().await, (conn, CloseCause::WriteTimeout));
    node.all_closed().await;
    assert_eq!(node.handle.connections().all, 0, "its slot is free");
    assert_eq!(Limits::default().write_timeout, Duration::from_secs(20));
}

#[tokio::test]
async fn a_consumer_that_does_not_receive_stops_the_reading_and_loses_nothing() {
    let mut node = Node::start(config(1, &[])).await;
    let mut wire = node.puppet(2).await;
    wire.hello().await;
    let (_, _, inbound) = node.opened().await;
    assert!(inbound);
    for number in 0..100_u8 {
        let frame = wire.puppet.frame(17, &snappy(&[number]));
        wire.stream.write_all(&frame).await.unwrap();
    }
    for number in 0..100_u8 {
        assert_eq!(node.body().await, [number]);
    }
}

#[tokio::test]
async fn a_server_nobody_listens_to_stops() {
    let node = Node::start(config(1, &[])).await;
    let mut wire = node.puppet(2).await;
    let Node { handle, events } = node;
    drop(events);
    wire.hello().await;
    let mut last = Vec::new();
    loop {
        let frames = wire.frames().await;
        if frames.is_empty() {
            break;
        }
        last = frames;
    }
    assert_eq!(last.last().unwrap().code, 1, "it said goodbye");
    soon(handle.shutdown()).await;
}

#[tokio::test]
async fn the_enode_names_the_port_that_was_bound() {
    let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let node = Node::start(ServerConfig { listen: Some(listen), ..config(1, &[]) }).await;
    let enode = node.handle.enode();
    assert_eq!(enode.host.to_string(), "127.0.0.1");
    assert_eq!((enode.tcp, enode.udp), (node.handle.listen_addr().unwrap().port(), 0));
    assert_eq!(&enode.to_string().parse::<Enode>().unwrap(), enode);
    let (events, _) = mpsc::channel(1);
    let taken = ServerConfig { listen: node.handle.listen_addr(), ..config(2, &[]) };
    assert!(matches!(Server::start(taken, events.clone()).await, Err(StartError::Listen { .. })));
    let nothing = ServerConfig { offered: Vec::new(), ..config(2, &[]) };
    assert!(matches!(Server::start(nothing, events).await, Err(StartError::NothingOffered)));
}
