//! Who is let in, from where, and on which ports. Every step waits for an event, none for a time.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use devp2p::inbound::InboundLimits;
use devp2p::server::ConnectionCounts;
use devp2p::{Enode, Limits, Nat, Network, Server, ServerConfig, StartError};
use support::key;
use support::nodes::{Node, Wire, config, soon};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// Bounds by address that hold on loopback too.
fn strict(inbound: InboundLimits) -> ServerConfig {
    let inbound = InboundLimits { exempt_local: false, ..inbound };
    ServerConfig { limits: Limits { inbound, ..Limits::default() }, ..config(1, &[]) }
}

fn without_throttle() -> InboundLimits {
    InboundLimits { throttle: Duration::ZERO, ..InboundLimits::default() }
}

/// A connection from one of the many addresses of loopback.
async fn connect_from(node: &Node, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(node.handle.listen_addr().unwrap()).await.unwrap()
}

/// Waits for the end of a stream, by whichever of its forms.
async fn ends(mut stream: TcpStream) {
    assert!(matches!(soon(stream.read(&mut [0; 1])).await, Ok(0) | Err(_)));
}

async fn joins(node: &mut Node, stream: TcpStream, secret: u8) -> Wire {
    let mut wire = node.greeted(stream, secret).await;
    wire.hello().await;
    assert_eq!(node.opened().await.1.key, key(secret).public());
    wire
}

#[tokio::test]
async fn h23_an_address_that_comes_again_at_once_is_refused_and_others_are_not() {
    let mut node = Node::start(strict(InboundLimits::default())).await;
    let stream = connect_from(&node, "127.0.0.2").await;
    let first = joins(&mut node, stream, 2).await;
    for _ in 0..20 {
        ends(connect_from(&node, "127.0.0.2").await).await;
    }
    let stream = connect_from(&node, "127.0.0.3").await;
    let _other = joins(&mut node, stream, 3).await;
    assert_eq!(node.handle.connections().peers, 2);
    drop(first);
}

#[tokio::test]
async fn h23_loopback_is_not_throttled_unless_asked_for() {
    let mut node = Node::start(config(1, &[])).await;
    let mut wires = Vec::new();
    for secret in 2..20 {
        let stream = connect_from(&node, "127.0.0.2").await;
        wires.push(joins(&mut node, stream, secret).await);
    }
}

#[tokio::test]
async fn h24_one_subnet_does_not_take_all_slots() {
    let inbound = InboundLimits { max_per_address: 2, max_per_subnet: 3, ..without_throttle() };
    let mut node = Node::start(strict(inbound)).await;
    let mut wires = Vec::new();
    for (from, secret) in [("127.0.0.2", 2), ("127.0.0.2", 3), ("127.0.0.3", 4)] {
        let stream = connect_from(&node, from).await;
        wires.push(joins(&mut node, stream, secret).await);
    }
    ends(connect_from(&node, "127.0.0.2").await).await;
    ends(connect_from(&node, "127.0.0.9").await).await;
    let stream = connect_from(&node, "127.0.1.2").await;
    wires.push(joins(&mut node, stream, 5).await);
    // A place is free again once its connection has ended.
    drop(wires);
    for _ in 0..4 {
        node.closed().await;
    }
    node.all_closed().await;
    let stream = connect_from(&node, "127.0.0.9").await;
    joins(&mut node, stream, 6).await;
}

#[tokio::test]
async fn h24_trusted_nodes_are_let_in_beside_all_limits() {
    let trusted = Enode { key: key(9).public(), ..config_enode("127.0.0.9") };
    let inbound = InboundLimits { max_per_address: 1, max_per_subnet: 1, ..InboundLimits::default() };
    let mut config = strict(inbound);
    config.limits.max_peers = 1;
    config.network.trusted_nodes = vec![trusted];
    let mut node = Node::start(config).await;
    let stream = connect_from(&node, "127.0.0.2").await;
    let _full = joins(&mut node, stream, 2).await;
    for _ in 0..3 {
        let stream = connect_from(&node, "127.0.0.9").await;
        let mut trusted = joins(&mut node, stream, 9).await;
        assert_eq!(trusted.frames().await[0].code, 0);
        drop(trusted);
        node.closed().await;
    }
    let stream = connect_from(&node, "127.0.1.3").await;
    let mut other = node.greeted(stream, 3).await;
    assert_eq!(other.frames().await[0].data, [0xc1, 0x04][..], "anybody else finds it full");
}

fn config_enode(ip: &str) -> Enode {
    format!("enode://{}@{ip}:30303", key(200).public()).parse().unwrap()
}

/// Those that were dropped are taken note of on the way, so that few descriptors do.
#[tokio::test]
async fn h22_a_thousand_silent_strangers_do_not_keep_a_newcomer_out() {
    let mut node = Node::start(config(1, &[])).await;
    let addr = node.handle.listen_addr().unwrap();
    let mut silent = VecDeque::new();
    for _ in 0..1000 {
        silent.push_back(TcpStream::connect(addr).await.unwrap());
        if silent.len() > 200 {
            ends(silent.pop_front().unwrap()).await;
        }
    }
    let mut newcomer = node.puppet(2).await;
    newcomer.hello().await;
    assert_eq!(node.opened().await.1.key, key(2).public());
    assert!(node.handle.connections().pending_inbound <= 50, "{:?}", node.handle.connections());
    for stream in silent.drain(..100) {
        ends(stream).await;
    }
    drop((silent, newcomer));
    node.closed().await;
    node.all_closed().await;
    assert_eq!(node.handle.connections(), ConnectionCounts::default());
}

#[tokio::test]
async fn one_key_listens_on_several_ports() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let network = Network { also_listen: vec![any, "127.0.0.2:0".parse().unwrap()], ..Network::default() };
    let mut node = Node::start(ServerConfig { network, ..config(1, &[]) }).await;
    let addrs = node.handle.listen_addrs().to_vec();
    assert_eq!(addrs.len(), 3);
    assert_eq!(node.handle.enode().tcp, addrs[0].port(), "the first one is told");
    let mut wires = Vec::new();
    for (addr, secret) in addrs.iter().zip(2..) {
        let stream = TcpStream::connect(addr).await.unwrap();
        wires.push(joins(&mut node, stream, secret).await);
    }
    soon(node.handle.shutdown()).await;
    for addr in addrs {
        assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn what_others_are_told_can_be_set() {
    let network = Network {
        advertised_port: Some(443),
        discovery_port: 30303,
        nat: Nat::External("203.0.113.7".parse().unwrap()),
        ..Network::default()
    };
    let mut node = Node::start(ServerConfig { network, ..config(1, &[]) }).await;
    let told = node.handle.enode().to_string();
    assert!(told.ends_with("@203.0.113.7:443?discport=30303"), "{told}");
    let mut wire = node.puppet(2).await;
    wire.hello().await;
    node.opened().await;
    let hello = devp2p::hello::Hello::decode(&wire.frames().await[0].data).unwrap();
    assert_eq!(hello.listen_port, 443);
}

#[tokio::test]
async fn f22_a_port_that_is_taken_leaves_nothing_half_started() {
    let other = Node::start(config(1, &[])).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let network = Network { also_listen: vec![other.handle.listen_addr().unwrap()], ..Network::default() };
    let (events, _) = mpsc::channel(1);
    let started = Server::start(ServerConfig { listen: Some(addr), network, ..config(2, &[]) }, events).await;
    assert!(matches!(started, Err(StartError::Listen { .. })), "{started:?}");
    assert!(TcpStream::connect(addr).await.is_err());
}
