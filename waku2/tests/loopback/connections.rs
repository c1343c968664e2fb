//! Bounds of connections, over real sockets.

use std::{future::pending, net::TcpListener, time::Duration};

use futures::{StreamExt, stream};
use libp2p::{
    PeerId, Transport,
    core::{
        Endpoint,
        muxing::StreamMuxerBox,
        transport::{DialOpts as TransportOpts, PortUse},
    },
    gossipsub::MessageAuthenticity,
    identity::Keypair,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet};
use waku2::{ClusterId, Config, Event, Limits, metadata::Metadata};

use crate::{
    carrier::{Carrier, Muxer},
    identify::{honest, says},
    node::{Node, config, soon},
    stranger::Stranger,
};

fn stranger() -> Stranger {
    let metadata = Metadata { cluster: Some(ClusterId(1)), shards: vec![1] };
    Stranger::new(MessageAuthenticity::Anonymous, Some(metadata))
}

async fn node(limits: Limits) -> Node {
    Node::start(Config { limits, ..config(vec![]) }).await
}

/// A stranger that has come and been welcomed.
async fn welcomed(node: &mut Node) -> Stranger {
    let mut stranger = stranger();
    stranger.dial(node.addr());
    let peer = *stranger.swarm.local_peer_id();
    assert_eq!(stranger.until(node.peer_connected()).await, peer);
    stranger
}

/// The node's TCP socket.
async fn connect(node: &Node) -> TcpStream {
    let text = node.addr().to_string();
    TcpStream::connect(format!("127.0.0.1:{}", text.split('/').nth(4).unwrap())).await.unwrap()
}

/// Reads until the node has closed.
async fn closed(stream: &mut TcpStream) {
    let mut said = Vec::new();
    // A reset is a close as well.
    let _ = soon("the end of a connection", stream.read_to_end(&mut said)).await;
}

#[tokio::test]
async fn two_thirds_are_for_those_who_call() {
    let mut node = node(Limits { connections: 3, ..Limits::default() }).await;
    let mut there = [welcomed(&mut node).await, welcomed(&mut node).await];
    let mut third = stranger();
    third.dial(node.addr());
    third.closed().await;
    assert_eq!(there[0].until(node.handle.peers()).await.len(), 2, "those who were there stay");
}

/// Of twelve connections eight are for relay, and of these six for callers.
#[tokio::test]
async fn who_calls_and_relays_takes_no_place_of_those_who_do_not() {
    const MAY_RELAY: usize = 6;
    let mut node = node(Limits { connections: 12, ..Limits::default() }).await;
    let key = Keypair::generate_ed25519();
    let mut client = says(&mut node, &key, &honest(&key)).await;
    let mut there = vec![key.public().to_peer_id()];
    node.meets(there[0]).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            client.select_next_some().await;
        }
    });
    for _ in 0..MAY_RELAY {
        let mut stranger = welcomed(&mut node).await;
        there.push(*stranger.swarm.local_peer_id());
        tasks.spawn(async move { stranger.until(pending::<()>()).await });
    }
    let mut last = stranger();
    last.dial(node.addr());
    last.closed().await;
    let peers = soon("its end", async {
        loop {
            let peers: Vec<_> = node.handle.peers().await.into_iter().map(|info| info.peer).collect();
            if !peers.contains(last.swarm.local_peer_id()) {
                return peers;
            }
        }
    })
    .await;
    assert_eq!(peers.len(), there.len());
    assert!(there.iter().all(|peer| peers.contains(peer)), "those who were there stay");
}

#[tokio::test]
async fn addresses_that_lead_nowhere_do_not_keep_the_good_one_waiting() {
    // They take a connection and say nothing, and a call may take longer than the test waits.
    let limits = Limits { handshake: Duration::from_secs(3_600), ..Limits::default() };
    let dead: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let callee = Node::start(config(vec![])).await;
    let id = callee.handle.peer_id();
    let dead_addr = |listener: &TcpListener| {
        let port = listener.local_addr().unwrap().port();
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}").parse().unwrap()
    };
    let calls = dead.iter().map(dead_addr).chain([callee.addr()]).collect();
    let mut caller = Node::start(Config { limits, ..config(calls) }).await;
    caller.meets(id).await;
}

#[tokio::test]
async fn one_peer_has_so_many_connections_and_no_more() {
    let mut node = node(Limits { per_peer: 1, ..Limits::default() }).await;
    let mut stranger = welcomed(&mut node).await;
    let again = DialOpts::peer_id(node.handle.peer_id()).condition(PeerCondition::Always).addresses(vec![node.addr()]);
    stranger.swarm.dial(again.allocate_new_port().build()).unwrap();
    let left = stranger
        .wait("the end of the second connection", |_, event| match event {
            SwarmEvent::ConnectionClosed { num_established, .. } => Some(*num_established),
            _ => None,
        })
        .await;
    assert_eq!(left, 1, "the first one stays");
    assert_eq!(stranger.until(node.handle.peers()).await.len(), 1);
}

#[tokio::test]
async fn the_oldest_of_too_many_at_one_address_is_left() {
    let mut node = node(Limits { per_address: 2, local_addresses_count: true, ..Limits::default() }).await;
    let (mut first, _second) = (welcomed(&mut node).await, welcomed(&mut node).await);
    let mut third = stranger();
    third.dial(node.addr());
    let gone: PeerId = third.until(node.peer_gone()).await;
    assert_eq!(gone, *first.swarm.local_peer_id());
    first.closed().await;
    assert_eq!(third.until(node.handle.peers()).await.len(), 2);
}

#[tokio::test]
async fn loopback_is_not_counted_unless_told() {
    let mut node = node(Limits { per_address: 1, ..Limits::default() }).await;
    let mut there = Vec::new();
    for _ in 0..4 {
        there.push(welcomed(&mut node).await);
    }
    assert_eq!(there[0].until(node.handle.peers()).await.len(), 4);
}

#[tokio::test]
async fn h62_half_open_connections_are_bounded_and_end() {
    const PENDING: usize = 8;
    let limits = Limits { pending_inbound: PENDING as u32, handshake: Duration::from_millis(500), ..Limits::default() };
    let mut node = node(limits).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(&node).await);
    }
    // Those beyond the bound at once, the others after their time: none stays.
    for stream in &mut silent {
        closed(stream).await;
    }
    welcomed(&mut node).await;
}

#[tokio::test]
async fn h62_a_peer_that_opens_many_connections_keeps_two() {
    let mut node = node(Limits::default()).await;
    let mut stranger = welcomed(&mut node).await;
    for _ in 0..20 {
        let again =
            DialOpts::peer_id(node.handle.peer_id()).condition(PeerCondition::Always).addresses(vec![node.addr()]);
        stranger.swarm.dial(again.allocate_new_port().build()).unwrap();
    }
    let mut ended = 0;
    while ended < 19 {
        stranger
            .wait("the end of a further connection", |_, event| {
                matches!(event, SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. })
                    .then_some(())
            })
            .await;
        ended += 1;
    }
    let peers = stranger.until(node.handle.peers()).await;
    assert_eq!(peers.len(), 1);
    assert_eq!(stranger.swarm.network_info().connection_counters().num_established(), 2);
    welcomed(&mut node).await;
}

/// File descriptors that this process may have, and still leave some to the other tests.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(1_024_usize);
    soft.saturating_sub(soft / 4)
}

/// Connects and goes through the handshakes of Noise and yamux, if it is let.
async fn shakes_hands(node: &Node, key: &Keypair) -> Option<StreamMuxerBox> {
    let options = TransportOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let addr = node.addr().iter().take(2).collect();
    let dial = Carrier::Tcp.transport(Muxer::Yamux, key).dial(addr, options).unwrap();
    soon("a handshake or its refusal", dial).await.ok().map(|(_, muxer)| muxer)
}

/// Handshakes that are under way at once.
const AT_ONCE: usize = 24;

#[tokio::test]
async fn h62_ten_thousand_peers_are_no_more_than_there_is_room_for() {
    const PEERS: usize = 10_000;
    let mut node = node(Limits::default()).await;
    // Their ends stay open as long as there are descriptors; ours are closed at once where there is no room.
    let held = PEERS.min(descriptors());
    let handle = node.handle.clone();
    let mut open = Vec::with_capacity(held);
    let mut greeted = 0_usize;
    let mut coming = stream::iter(0..PEERS)
        .map(async |_| shakes_hands(&node, &Keypair::generate_ed25519()).await)
        .buffer_unordered(AT_ONCE);
    while let Some(muxer) = coming.next().await {
        greeted += usize::from(muxer.is_some());
        if let Some(muxer) = muxer.filter(|_| open.len() < held) {
            open.push(muxer);
        }
        if open.len().is_multiple_of(500) {
            let peers = handle.peers().await.len();
            assert!(peers <= Limits::default().inbound() as usize, "{peers} peers");
        }
    }
    drop(coming);
    assert!(greeted >= PEERS / 2, "{greeted} handshakes");
    println!("{greeted} of {PEERS} handshakes, {} connections held open", open.len());
    drop(open);
    // Whoever had taken the places is gone, and an honest peer gets one.
    loop {
        let mut honest = stranger();
        honest.dial(node.addr());
        let peer = *honest.swarm.local_peer_id();
        let welcome = node.wait("a peer or another", |event| match event {
            Event::PeerConnected(info) => Some(info.peer),
            _ => None,
        });
        let refused = async { honest.closed().await };
        tokio::select! {
            welcomed = welcome => {
                assert_eq!(welcomed, peer);
                return;
            }
            () = refused => {}
        }
    }
}

#[tokio::test]
async fn h62_a_peer_that_comes_a_thousand_times_has_two_places() {
    let mut node = node(Limits::default()).await;
    let key = Keypair::generate_ed25519();
    let handle = node.handle.clone();
    let mut coming = stream::iter(0..1_000).map(async |_| shakes_hands(&node, &key).await).buffer_unordered(AT_ONCE);
    let mut open = Vec::new();
    while let Some(muxer) = coming.next().await {
        open.extend(muxer);
        assert!(handle.peers().await.len() <= 1);
    }
    drop(coming);
    assert!(open.len() >= 500, "{} handshakes", open.len());
    welcomed(&mut node).await;
}
