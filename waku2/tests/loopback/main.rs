//! Whole nodes on 127.0.0.1, over real sockets. Everything waits for events; nothing sleeps.

#![expect(unreachable_pub, clippy::unwrap_used, reason = "a test program: nothing is public, a failure may panic")]

mod absence;
mod asleep;
mod carrier;
mod connections;
mod filter;
mod gossip;
mod hostile;
mod identify;
mod known;
mod lightpush;
#[path = "../mesh/meshes/link.rs"]
mod link;
#[path = "../support/members.rs"]
mod members;
#[path = "../../../tests/support/name_server.rs"]
mod name_server;
mod names;
mod node;
mod noise;
mod proofs;
mod prunes;
mod raw;
mod seeking;
mod services;
mod slow;
mod store;
mod stranger;
mod transports;

use std::{net::TcpListener, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use libp2p::{gossipsub::MessageAuthenticity, identity::Keypair, multiaddr::Protocol};
use node::{Node, config, free_port, message, soon, topic};
use stranger::Stranger;
use waku2::{
    ClusterId, Config, PublishError, Published, PubsubTopic, WakuMessage,
    handle::Direction,
    hash::message_hash,
    metadata::Metadata,
    relay::{MAX_RPC_BYTES, frame_bytes},
    run::StartError,
    subscriptions::SubscribeError,
    validate::Reason,
};

/// The reference message as nwaku writes it, every default spelled out: our own encoder would write other bytes.
const NWAKU: &str = "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f180050aab4aed8c7bfce972f5a00aa0100f80100";

fn of_cluster(id: u16) -> Metadata {
    Metadata { cluster: Some(ClusterId(id)), shards: vec![1] }
}

/// Three nodes in a row; the middle one relays.
async fn row() -> [Node; 3] {
    let mut a = Node::start(config(vec![])).await;
    let mut b = Node::start(config(vec![a.addr()])).await;
    let mut c = Node::start(config(vec![b.addr()])).await;
    a.relay_peers(1).await;
    b.relay_peers(2).await;
    c.relay_peers(1).await;
    [a, b, c]
}

async fn publish(node: &Node, data: impl Into<Bytes>) -> Result<Published, PublishError> {
    soon("an answer", node.handle.publish(topic(), data.into())).await
}

const SENT: Result<Published, PublishError> = Ok(Published { peers: 1, duplicate: false, proof: None });

#[tokio::test]
async fn a_message_crosses_byte_for_byte() {
    let [mut a, mut b, mut c] = row().await;
    let data = Bytes::from(hex::decode(NWAKU).unwrap());
    assert_eq!(publish(&a, data.clone()).await, SENT);
    let (at_b, at_c) = (b.received().await, c.received().await);
    assert_eq!((at_b.from, at_c.from), (a.handle.peer_id(), b.handle.peer_id()));
    for received in [at_b, at_c] {
        assert_eq!(received.data, data);
        assert_eq!(received.pubsub_topic, topic());
        assert_eq!(received.message, WakuMessage::decode(&data).unwrap());
        assert_eq!(received.hash, message_hash(&topic(), &received.message));
    }
    // And back; the first event of a message at A is the answer, so its own never came back to it.
    let answer = message("answer").encode();
    assert_eq!(publish(&c, answer.clone()).await, SENT);
    assert_eq!(a.received().await.data, answer);
    assert_eq!(a.handle.counters().received.load(Relaxed), 1);
    assert_eq!(b.handle.counters().accepted.load(Relaxed), 2);
}

#[tokio::test]
async fn what_is_passed_on_counts_as_gross() {
    let [a, mut b, mut c] = row().await;
    let data = message("counted").encode();
    assert_eq!(publish(&a, data.clone()).await, SENT);
    let _ = (b.received().await, c.received().await);
    let carried = |node: &Node| node.handle.counters().gross.topics().get(&topic()).copied().unwrap_or_default();
    // The message as gossip frames it, without the frame's own head.
    let len = (data.len() + topic().as_str().len()) as u64;
    let [from_a, by_b, at_c] = [&a, &b, &c].map(carried);
    assert_eq!((from_a.incoming, at_c.outgoing), (0, 0));
    for bytes in [from_a.outgoing, by_b.incoming, by_b.outgoing, at_c.incoming] {
        assert!((len..len + 8).contains(&bytes), "{bytes} of {len}");
    }
    let (_, net) = b.handle.counters().traffic.topics()[0];
    assert_eq!((net.bytes_in, net.bytes_out), (data.len() as u64, 0));
}

#[tokio::test]
async fn publishing_answers_by_cause() {
    let mut a = Node::start(config(vec![])).await;
    let data = message("once").encode();
    assert_eq!(publish(&a, data.clone()).await, Err(PublishError::NoPeers));
    let foreign: PubsubTopic = "/waku/2/rs/1/2".parse().unwrap();
    assert_eq!(a.handle.publish(foreign, data.clone()).await, Err(PublishError::NotSubscribed));

    let mut b = Node::start(config(vec![a.addr()])).await;
    a.relay_peers(1).await;
    assert_eq!(publish(&a, data.clone()).await, SENT, "the refusal before left no trace");
    assert_eq!(publish(&a, data.clone()).await, Ok(Published { peers: 0, duplicate: true, proof: None }));
    let next = message("next").encode();
    assert_eq!(publish(&a, next.clone()).await, SENT);
    assert_eq!(b.received().await.data, data);
    assert_eq!(b.received().await.data, next, "the duplicate was not sent");
    assert_eq!(
        publish(&b, data).await,
        Ok(Published { peers: 0, duplicate: true, proof: None }),
        "what came is known as well"
    );
    assert_eq!(a.handle.counters().published.load(Relaxed), 2);
}

/// The number of payload bytes that fill a frame to the last byte.
fn largest_payload() -> usize {
    let data = (0..MAX_RPC_BYTES).rev().find(|bytes| frame_bytes(&topic(), *bytes) <= MAX_RPC_BYTES).unwrap();
    data - (message(vec![0; 100_000]).encode().len() - 100_000)
}

#[tokio::test]
async fn the_largest_messages_cross_one_behind_the_other() {
    let [a, _b, mut c] = row().await;
    let sent: Vec<Bytes> = (0..16).map(|n| message(vec![n; largest_payload()]).encode()).collect();
    for data in &sent {
        assert_eq!(publish(&a, data.clone()).await, SENT);
    }
    for data in &sent {
        assert!(c.received().await.data == data, "in order and whole");
    }
    let too_large = publish(&a, message(vec![0; largest_payload() + 1]).encode()).await;
    assert_eq!(too_large, Err(PublishError::TooLarge { frame_bytes: MAX_RPC_BYTES + 1, limit_bytes: MAX_RPC_BYTES }));
}

#[tokio::test]
async fn a_burst_of_a_thousand_arrives_whole() {
    const BURST: usize = 1_024;
    let [a, b, mut c] = row().await;
    for n in 0..BURST {
        assert_eq!(publish(&a, message(n.to_string()).encode()).await, SENT);
    }
    let mut arrived = vec![false; BURST];
    for _ in 0..BURST {
        let received = c.received().await;
        let n: usize = std::str::from_utf8(&received.message.payload).unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut arrived[n], true), "{n} came twice");
    }
    assert_eq!(a.handle.counters().unsent.load(Relaxed) + b.handle.counters().unsent.load(Relaxed), 0);
}

#[tokio::test]
async fn what_is_offered() {
    let node = Node::start(Config { agent: "causeway/test".to_owned(), ..config(vec![]) }).await;
    let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(of_cluster(1)));
    stranger.dial(node.addr());
    let info = stranger.identified().await;
    assert_eq!(info.protocol_version, "ipfs/0.1.0");
    assert_eq!(info.agent_version, "causeway/test");
    let mut protocols: Vec<&str> = info.protocols.iter().map(AsRef::as_ref).collect();
    protocols.sort_unstable();
    let ours = ["/vac/waku/metadata/1.0.0", "/vac/waku/peer-exchange/2.0.0-alpha1", "/vac/waku/relay/2.0.0"];
    assert_eq!(protocols, [&["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"][..], &ours].concat());
    assert!(info.public_key.to_peer_id().to_string().starts_with("16Uiu2HA"), "a secp256k1 identity");
}

#[tokio::test]
async fn a_peer_is_known_by_what_it_says() {
    let mut a = Node::start(config(vec![])).await;
    let mut b = Node::start(config(vec![a.addr()])).await;
    assert_eq!(a.peer_connected().await, b.handle.peer_id());
    assert_eq!(b.peer_connected().await, a.handle.peer_id());
    let [seen_by_a, seen_by_b] = [a.handle.peers().await, b.handle.peers().await];
    assert_eq!((seen_by_a.len(), seen_by_b.len()), (1, 1));
    assert_eq!((seen_by_a[0].direction, seen_by_b[0].direction), (Direction::Inbound, Direction::Outbound));
    assert_eq!((seen_by_a[0].cluster, &seen_by_a[0].shards[..]), (Some(ClusterId(1)), &[1][..]));
    assert_eq!(a.handle.counters().peers.load(Relaxed), 1);
}

#[tokio::test]
async fn a_peer_of_no_or_another_cluster_is_left() {
    let node = Node::start(config(vec![])).await;
    let anonymous = || MessageAuthenticity::Anonymous;
    for (refused, answer) in [Some(of_cluster(2)), Some(Metadata::default()), None].into_iter().enumerate() {
        let mut stranger = Stranger::new(anonymous(), answer);
        stranger.dial(node.addr());
        stranger.closed().await;
        assert_eq!(node.handle.counters().refused_peers.load(Relaxed), refused as u64 + 1);
    }
}

#[tokio::test]
async fn other_shards_are_no_reason_to_leave() {
    let mut node = Node::start(config(vec![])).await;
    let elsewhere = vec!["/waku/2/rs/1/7".parse().unwrap()];
    let other = Node::start(Config { topics: elsewhere, ..config(vec![node.addr()]) }).await;
    assert_eq!(node.peer_connected().await, other.handle.peer_id());
    assert_eq!(publish(&node, message("x").encode()).await, Err(PublishError::NoPeers));
}

/// Eleven invalid messages, and a peer is below every threshold: 100 for the square of their number.
const ENOUGH: u8 = 11;

#[tokio::test]
async fn signed_messages_are_refused() {
    let mut node = Node::start(config(vec![])).await;
    let signing = MessageAuthenticity::Signed(Keypair::generate_ed25519());
    let mut stranger = Stranger::new(signing, Some(of_cluster(1)));
    stranger.dial(node.addr());
    let peer = *stranger.swarm.local_peer_id();
    stranger.subscribed().await;
    for n in 0..ENOUGH {
        stranger.publish(message(vec![n]).encode().to_vec());
    }
    stranger.closed().await;
    assert_eq!(node.peer_gone().await, peer);
    assert_eq!(node.handle.counters().received.load(Relaxed), 0, "not one of them got as far as validation");
}

#[tokio::test]
async fn invalid_messages_are_counted_and_their_sender_left() {
    let [mut node, mut beyond] = {
        let node = Node::start(config(vec![])).await;
        let beyond = Node::start(config(vec![node.addr()])).await;
        [node, beyond]
    };
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(of_cluster(1)));
    stranger.dial(node.addr());
    stranger.subscribed().await;
    let good = message("good").encode();
    stranger.publish(good.to_vec());
    for n in 0..ENOUGH {
        stranger.publish(vec![0x0a, 0x01, n]);
    }
    stranger.closed().await;
    let counters = node.handle.counters();
    assert_eq!(counters.rejected[Reason::FieldMissing.index()].load(Relaxed), u64::from(ENOUGH));
    assert_eq!((counters.rejected_total(), counters.accepted.load(Relaxed)), (u64::from(ENOUGH), 1));
    assert_eq!(beyond.received().await.data, good);
    assert_eq!(beyond.handle.counters().received.load(Relaxed), 1, "what is rejected goes no further");
}

#[tokio::test]
async fn a_port_in_use_is_told_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = taken.local_addr().unwrap().port();
    let node = Node::start(config(vec![])).await;
    let shared = node.addr().iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    for port in [plain, shared.unwrap()] {
        let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
        let error = Node::try_start(Config { listen: listen.clone(), ..config(vec![]) }).await.err().unwrap();
        let StartError::Listen { addr, source } = error else { panic!("{error}") };
        assert_eq!((addr, source.kind()), (listen[0].clone(), std::io::ErrorKind::AddrInUse));
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let refused = |config| async move { Node::try_start(config).await.err().unwrap() };
    let base = || config(vec![]);
    let foreign = vec!["/waku/2/rs/2/0".parse().unwrap()];
    assert!(matches!(
        refused(Config { topics: foreign, ..base() }).await,
        StartError::Subscribe(SubscribeError::ForeignTopic { .. })
    ));
    assert!(matches!(refused(Config { key: [0; 32], ..base() }).await, StartError::BadKey));
    let udp = vec!["/ip4/127.0.0.1/udp/1".parse().unwrap()];
    assert!(matches!(refused(Config { listen: udp, ..base() }).await, StartError::Transport { .. }));
    let all = (0..1_024).map(|index| format!("/waku/2/rs/1/{index}").parse().unwrap()).collect();
    assert!(matches!(
        refused(Config { topics: all, ..base() }).await,
        StartError::Subscribe(SubscribeError::TooManyTopics)
    ));
}

#[tokio::test]
async fn all_interfaces_are_told_one_by_one() {
    let listen = vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()];
    let node = Node::start(Config { listen, ..config(vec![]) }).await;
    let told: Vec<String> = node.handle.addresses().iter().map(ToString::to_string).collect();
    let end = format!("/p2p/{}", node.handle.peer_id());
    assert!(
        told.iter().all(|addr| addr.ends_with(&end) && !addr.contains("0.0.0.0") && !addr.contains("/tcp/0/")),
        "{told:?}"
    );
    let loopback = told.iter().find(|addr| addr.starts_with("/ip4/127.0.0.1/tcp/")).expect("loopback among them");
    let mut caller = Node::start(Config { listen: vec![], ..config(vec![loopback.parse().unwrap()]) }).await;
    assert_eq!(caller.peer_connected().await, node.handle.peer_id());
    assert_eq!(caller.handle.addresses(), []);
}

#[tokio::test]
async fn a_static_peer_is_called_again() {
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{}", free_port()).parse().unwrap()];
    let settings = Config { listen, ..config(vec![]) };
    // Without /p2p/ID: whoever answers there is the one.
    let mut caller = Node::start(config(settings.listen.clone())).await;
    for _ in 0..2 {
        let callee = Node::start(settings.clone()).await;
        assert_eq!(caller.peer_connected().await, callee.handle.peer_id());
        soon("the shutdown", callee.handle.shutdown()).await;
        soon("the end of the task", callee.task).await.unwrap();
        assert_eq!(caller.peer_gone().await, callee.handle.peer_id());
    }
}

#[tokio::test]
async fn a_stopped_node_answers_so() {
    let a = Node::start(config(vec![])).await;
    let mut b = Node::start(config(vec![a.addr()])).await;
    b.peer_connected().await;
    soon("the shutdown", a.handle.shutdown()).await;
    assert_eq!(publish(&a, message("x").encode()).await, Err(PublishError::Stopped));
    assert_eq!(a.handle.peers().await, []);
    soon("a second shutdown", a.handle.shutdown()).await;
    assert_eq!(b.peer_gone().await, a.handle.peer_id());
    soon("the end of the task", a.task).await.unwrap();
}

#[tokio::test]
async fn a_node_without_handles_ends() {
    let Node { handle, task, events: _events } = Node::start(config(vec![])).await;
    drop(handle);
    soon("the end of the task", task).await.unwrap();
}

#[tokio::test]
async fn a_full_event_queue_sheds_messages_but_not_counts() {
    // Room for one event, and nobody reads: of a peer that connects, subscribes and sends, one thing is told.
    let mut a = Node::with_queue(config(vec![]), 1).await.unwrap();
    let mut b = Node::start(config(vec![a.addr()])).await;
    let mut c = Node::start(config(vec![a.addr()])).await;
    b.relay_peers(1).await;
    c.relay_peers(1).await;
    assert_eq!(publish(&b, message("shed").encode()).await, SENT);
    assert_eq!(c.received().await.data, message("shed").encode(), "gossip did not wait for the reader");
    assert!(a.handle.counters().events_shed.load(Relaxed) > 0);
    a.relay_peers(2).await;
}
