//! PRUNE and GRAFT of peers that want to stop a node, or to have its mesh for themselves.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures::{StreamExt, future::join_all};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{self, IdentTopic},
    identity::Keypair,
    swarm::{self, SwarmEvent},
};
use tokio::{sync::watch, task::JoinHandle};
use waku2::{Config, Limits, relay};

use crate::{
    carrier::{Carrier, Muxer},
    node::{Node, config, message, soon, topic},
    raw::{Control, Ear, Graft, Prune, Raw, Rpc},
};

const OURS: &str = "/waku/2/rs/1/1";

/// Gossip whose heart beats a hundred times as fast, so that a minute of back-off is over in one second.
const HEARTBEAT: Duration = Duration::from_millis(10);

fn prune(backoff: u64) -> Vec<u8> {
    let prune = vec![Prune { topic: Some(OURS.to_owned()), backoff: Some(backoff) }];
    Rpc::control(Control { prune, ..Control::default() }).frame()
}

fn graft() -> Vec<u8> {
    Rpc::control(Control { graft: vec![Graft { topic: Some(OURS.to_owned()) }], ..Control::default() }).frame()
}

fn subscribed() -> Vec<u8> {
    Rpc::subscribe([OURS.to_owned()]).frame()
}

/// How often a peer has heard GRAFT and PRUNE.
fn grafts_and_prunes(rpcs: &[Rpc]) -> [usize; 2] {
    let controls = || rpcs.iter().filter_map(|rpc| rpc.control.as_ref());
    [controls().map(|c| c.graft.len()).sum(), controls().map(|c| c.prune.len()).sum()]
}

/// Times that overflow the clock at once, and those that do so only when something is added to them.
fn without_end() -> Vec<u64> {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: u64 = uptime.split('.').next().and_then(|secs| secs.parse().ok()).unwrap_or(100_000);
    let edge = i64::MAX as u64 - uptime;
    let near = (edge - 100..edge + 100).step_by(5);
    [u64::MAX, u64::MAX - 1, u64::MAX / 2, i64::MAX as u64, i64::MAX as u64 - 1].into_iter().chain(near).collect()
}

/// The library alone, with a fast heart.
async fn fast() -> (Multiaddr, PeerId, JoinHandle<()>) {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id(relay::PROTOCOL, gossipsub::Version::V1_1)
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .prune_backoff(60 * HEARTBEAT)
        .backoff_slack(2)
        .build()
        .unwrap();
    let mut gossip: gossipsub::Behaviour =
        gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).unwrap();
    gossip.subscribe(&IdentTopic::new(OURS)).unwrap();
    let key = Keypair::generate_ed25519();
    let settings = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(3_600));
    let id = key.public().to_peer_id();
    let mut swarm = Swarm::new(Carrier::Tcp.transport(Muxer::Yamux, &key), gossip, id, settings);
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let addr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let task = tokio::spawn(async move {
        // As a node does: where nothing else happens, the library does not wake for a second heartbeat.
        let mut ticks = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                _ = ticks.tick() => {}
            }
        }
    });
    (addr, id, task)
}

#[tokio::test]
async fn h56_h57_backoffs_without_end_are_clamped_and_outlived() {
    let (addr, id, task) = fast().await;
    let mut patient = Raw::connect(addr.clone(), id, Ear::Open, true).await;
    let mut hostile = Raw::connect(addr, id, Ear::Open, true).await;
    for raw in [&mut patient, &mut hostile] {
        raw.send(subscribed());
        raw.hears("a graft", |rpcs| (grafts_and_prunes(rpcs)[0] == 1).then_some(())).await;
    }
    hostile.send_to_the_end(without_end().into_iter().flat_map(prune).collect()).await;
    // Each of two seconds is three times as long as what the library keeps of back-offs by heartbeat: all of it has been looked at when
    // the patient peer is asked again, and again.
    for round in 2..4 {
        patient.send(prune(2));
        patient.hears("another graft", |rpcs| (grafts_and_prunes(rpcs)[0] == round).then_some(())).await;
    }
    assert_eq!(grafts_and_prunes(&hostile.heard())[0], 1, "its back-off is not over");
    assert!(!task.is_finished());
    task.abort();
}

#[tokio::test]
async fn h56_h57_a_node_goes_on_after_backoffs_without_end() {
    let mut node = Node::start(config(vec![])).await;
    let mut beyond = Node::start(config(vec![node.addr()])).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let mut raw = Raw::connect(node.addr(), node.handle.peer_id(), Ear::Open, true).await;
    let all: Vec<u8> = without_end().into_iter().flat_map(prune).collect();
    raw.send([subscribed(), graft(), all.clone(), graft(), all].concat());
    raw.hears("the answer to a graft during backoff", |rpcs| (grafts_and_prunes(rpcs)[1] > 0).then_some(())).await;
    let data = message("afterwards").encode();
    raw.until(node.handle.publish(topic(), data.clone())).await.unwrap();
    assert_eq!(raw.until(beyond.received()).await.data, data);
}

#[tokio::test]
async fn h58_topics_of_grafts_and_prunes_are_not_kept() {
    let mut node = Node::start(config(vec![])).await;
    let mut raw = Raw::connect(node.addr(), node.handle.peer_id(), Ear::Open, true).await;
    let mut frames = subscribed();
    for round in 0..100 {
        let name = |n: u32| Some(format!("/waku/2/rs/1/{}", 2 + round * 600 + n));
        let graft = (0..300).map(|n| Graft { topic: name(n) }).collect();
        let prune = (300..600).map(|n| Prune { topic: name(n), backoff: Some(3_600) }).collect();
        frames.extend(Rpc::control(Control { graft, prune, ..Control::default() }).frame());
    }
    raw.send(frames);
    raw.until(node.relay_peers(1)).await;
    // What is known of a peer are its subscriptions: joining a topic that it only grafted finds nobody there.
    for index in [2, 301, 302, 700] {
        raw.until(node.handle.subscribe(format!("/waku/2/rs/1/{index}").parse().unwrap())).await.unwrap();
    }
    let health = node.handle.health();
    assert_eq!(health.iter().map(|topic| topic.mesh_peers).skip(1).collect::<Vec<_>>(), [0; 4]);
    let peers = raw.until(node.handle.peers()).await;
    assert_eq!(peers.len(), 1, "and it is no reason to leave");
}

#[tokio::test]
async fn h69_a_hundred_sybils_do_not_take_the_mesh() {
    const SYBILS: usize = 100;
    /// 29/WAKU2-CONFIG, `D_high`, and `D_out` of those we called.
    const MESH: usize = 8;
    const CALLED: usize = 3;
    let mut honest = Vec::new();
    for _ in 0..CALLED {
        honest.push(Node::start(config(vec![])).await);
    }
    let limits = Limits { connections: 300, pending_inbound: 200, ..Limits::default() };
    let calls = honest.iter().map(Node::addr).collect();
    let mut node = Node::start(Config { limits, ..config(calls) }).await;
    node.relay_peers(CALLED).await;
    for honest in &mut honest {
        honest.relay_peers(1).await;
    }
    let (over, _) = watch::channel(false);
    let (pruned, addr, id) = (AtomicUsize::new(0), node.addr(), node.handle.peer_id());
    let sybil = async || {
        let (mut early, mut late) = (over.subscribe(), over.subscribe());
        let mut raw = Raw::connect(addr.clone(), id, Ear::Open, true).await;
        raw.send([subscribed(), graft(), graft(), graft()].concat());
        tokio::select! {
            () = raw.hears("a prune", |rpcs| (grafts_and_prunes(rpcs)[1] > 0).then_some(())) => {
                if pruned.fetch_add(1, Relaxed) + 1 == SYBILS - (MESH - CALLED) {
                    over.send_replace(true);
                }
                raw.until(async { late.wait_for(|over| *over).await.map(drop) }).await.unwrap();
            }
            _ = early.wait_for(|over| *over) => {}
        }
        raw
    };
    let sybils = soon("prunes", join_all((0..SYBILS).map(|_| sybil()))).await;
    assert!(pruned.load(Relaxed) >= SYBILS - (MESH - CALLED));
    // Joining looks at the health of all topics.
    node.handle.subscribe("/waku/2/rs/1/7".parse().unwrap()).await.unwrap();
    let mesh = node.handle.health()[0].mesh_peers;
    assert!((CALLED..=MESH).contains(&mesh), "{mesh} in the mesh");
    let data = message("past the sybils").encode();
    honest[0].handle.publish(topic(), data.clone()).await.unwrap();
    for honest in &mut honest[1..] {
        assert_eq!(honest.received().await.data, data);
    }
    assert_eq!(node.received().await.data, data);
    drop(sybils);
}
