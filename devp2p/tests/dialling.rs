//! Nodes that dial what they are told of, remember it, and meet half-way. Every step waits for an event, none for a time.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use devp2p::{Enode, Host, Limits, Network, Packet, ServerConfig};
use support::nodes::{Node, config, soon};
use support::{WAKU0, key, plain};

#[tokio::test]
async fn a_suggested_node_is_dialled_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("peers-v1.json");
    let mut a = Node::start(config(1, &[])).await;
    let with_book = || Network { address_book: Some(book.clone()), ..Network::default() };
    let mut b = Node::start(ServerConfig { network: with_book(), ..config(2, &[]) }).await;
    assert!(b.handle.suggest(a.handle.enode().clone()));
    assert_eq!(b.opened().await.1.key, key(1).public());
    assert_eq!(a.opened().await.1.key, key(2).public());
    soon(b.handle.shutdown()).await;
    a.closed().await;
    let text = std::fs::read_to_string(&book).unwrap();
    assert!(text.contains(&a.handle.enode().to_string()) && text.contains("last_good_unix_secs"), "{text}");

    // Its back-off is of a connection that was short: as if it had passed.
    std::fs::write(&book, text.replace("retry_unix_secs", "was_to_wait_until")).unwrap();
    let mut again = Node::start(ServerConfig { network: with_book(), ..config(3, &[]) }).await;
    assert_eq!(again.opened().await.1.key, key(1).public());
}

#[tokio::test]
async fn a_book_that_cannot_be_read_does_not_keep_a_node_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("peers-v1.json");
    std::fs::write(&book, "{\"version\":1,\"peers\":[{\"enode\":\"x\"}").unwrap();
    let network = Network { address_book: Some(book), ..Network::default() };
    let mut a = Node::start(config(1, &[])).await;
    let b = Node::start(ServerConfig { network, ..config(2, &[]) }).await;
    assert!(b.handle.suggest(a.handle.enode().clone()));
    assert_eq!(a.opened().await.1.key, key(2).public());
}

#[tokio::test]
async fn no_more_suggested_nodes_are_dialled_than_slots_are_kept_for_them() {
    let limits = Limits { outbound_slots: 2, ..Limits::default() };
    let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
    let mut others = Vec::new();
    for secret in 2..6 {
        others.push(Node::start(config(secret, &[])).await);
    }
    for other in &others {
        assert!(node.handle.suggest(other.handle.enode().clone()));
    }
    let (first, ..) = node.opened().await;
    node.opened().await;
    assert_eq!(node.handle.connections().all, 2);
    node.handle.disconnect(first, devp2p::DisconnectReason::UselessPeer);
    node.closed().await;
    node.opened().await;
}

/// Of its one slot nothing is left, and nobody is sought.
#[tokio::test]
async fn a_node_that_is_kept_is_dialled_beside_all_limits_until_it_is_released() {
    let limits = Limits { max_peers: 1, ..Limits::default() };
    let mut node = Node::start(ServerConfig { limits, ..config(1, &[]) }).await;
    let mut first = node.puppet(2).await;
    first.hello().await;
    node.opened().await;
    let mut other = Node::start(config(3, &[])).await;
    assert!(node.handle.keep(other.handle.enode().clone()));
    let (conn, peer, inbound) = node.opened().await;
    assert_eq!((peer.key, inbound), (key(3).public(), false));
    other.opened().await;
    // Left without a word of release, it is dialled again.
    node.handle.disconnect(conn, devp2p::DisconnectReason::Requested);
    node.closed().await;
    let (conn, peer, _) = node.opened().await;
    assert_eq!(peer.key, key(3).public());
    assert!(node.handle.release(key(3).public().id()));
    node.handle.disconnect(conn, devp2p::DisconnectReason::Requested);
    node.closed().await;
    // When it comes by itself, it finds the one slot taken.
    let mut again = node.puppet(3).await;
    assert_eq!(again.frames().await[0].data, [0xc1, 0x04][..]);
}

#[tokio::test]
async fn too_many_suggestions_are_refused() {
    let node = Node::start(config(1, &[])).await;
    let enode = Enode { key: key(2).public(), host: Host::Ip([192, 0, 2, 1].into()), tcp: 0, udp: 0 };
    // The dialler does not run between these.
    let taken = (0..1000).take_while(|_| node.handle.suggest(enode.clone())).count();
    assert_eq!(taken, 256);
}

#[tokio::test]
async fn f17_a_node_that_restarts_on_another_port_is_found_where_it_is_named() {
    let mut node = Node::start(config(1, &[])).await;
    let mut other = Node::start(config(2, &[])).await;
    assert!(node.handle.suggest(other.handle.enode().clone()));
    node.opened().await;
    other.opened().await;
    soon(other.handle.shutdown()).await;
    node.closed().await;
    let mut moved = Node::start(config(2, &[])).await;
    assert_ne!(moved.handle.enode().tcp, other.handle.enode().tcp);
    // Until the end of the connection is noted the old place counts as good.
    let found = async {
        loop {
            assert!(node.handle.suggest(moved.handle.enode().clone()));
            tokio::select! {
                biased;
                (_, peer, _) = node.opened() => return peer.key,
                () = tokio::task::yield_now() => {}
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(soon(found).await, key(2).public());
    assert_eq!(moved.opened().await.1.key, key(1).public());
}

/// In both orders of their ids, many times: whoever's dial wins, both have one connection and it works.
#[tokio::test]
async fn two_nodes_that_dial_each_other_at_once_keep_one_connection() {
    for round in 0..10_u8 {
        let mut a = Node::start(config(10 + round, &[])).await;
        let mut b = Node::start(config(100 + round, &[])).await;
        assert!(a.handle.suggest(b.handle.enode().clone()) && b.handle.suggest(a.handle.enode().clone()));
        let (at_a, _, a_was_dialled) = a.opened().await;
        let (at_b, _, b_was_dialled) = b.opened().await;
        assert_ne!(a_was_dialled, b_was_dialled, "the same connection, round {round}");
        a.handle.try_send(at_a, Packet::new(WAKU0, 0, b"from a".to_vec())).unwrap();
        b.handle.try_send(at_b, Packet::new(WAKU0, 0, b"from b".to_vec())).unwrap();
        assert_eq!((a.body().await, b.body().await), (b"from b".to_vec(), b"from a".to_vec()));
    }
}

/// Nobody of those it knows is there when it starts.
#[tokio::test]
async fn f15_a_node_whose_nodes_are_all_away_serves_and_meets_them_when_they_come() {
    // An address of this test's own, so that nobody else is given the port meanwhile.
    let reserved = std::net::TcpListener::bind("127.0.15.15:0").unwrap();
    let addr = reserved.local_addr().unwrap();
    drop(reserved);
    let [away, never] = [9, 8].map(|secret| Enode {
        key: key(secret).public(),
        host: Host::Ip(addr.ip()),
        tcp: if secret == 9 { addr.port() } else { 1 },
        udp: 0,
    });
    let unknown = Enode { host: Host::Dns("nowhere.invalid".into()), ..never.clone() };
    let mut node = Node::start(config(1, &[away, never, Enode { key: key(7).public(), ..unknown }])).await;
    let mut peer = node.puppet(2).await;
    peer.hello().await;
    let (conn, inbound_peer, _) = node.opened().await;
    assert_eq!((inbound_peer.key, peer.frames().await[0].code), (key(2).public(), 0));
    node.handle.try_send(conn, Packet::new(WAKU0, 0, b"served".to_vec())).unwrap();
    assert_eq!(plain(&peer.frames().await[0].data, true), b"served");
    let _late = Node::start(ServerConfig { listen: Some(addr), ..config(9, &[]) }).await;
    assert_eq!(node.opened().await.1.key, key(9).public());
}
