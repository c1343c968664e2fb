//! What hostile and faulty peers do with gossip and metadata; and topics that come and go. Wherever it says so, an honest peer
//! behind the node gets what passes, and nothing else.

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use libp2p::gossipsub::MessageAuthenticity;
use waku2::{
    ClusterId, Config, Event, PublishError, Published, PubsubTopic,
    hash::MessageHash,
    health::Level,
    metadata::Metadata,
    meter::Budget,
    signed::{SignedError, SigningKey},
    subscriptions::SubscribeError,
    validate::{Policy, Reason},
};

use crate::{
    node::{Node, config, message, soon, topic},
    raw::{Control, Ear, Graft, Ids, Prune, Publish, Raw, Rpc, TopicIds},
    stranger::Stranger,
};

const OURS: &str = "/waku/2/rs/1/1";

/// A node, an honest peer behind it, and a peer that may write anything.
async fn besieged(ear: Ear) -> (Node, Node, Raw) {
    let mut node = Node::start(config(vec![])).await;
    let mut beyond = Node::start(config(vec![node.addr()])).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let raw = Raw::connect(node.addr(), node.handle.peer_id(), ear, true).await;
    (node, beyond, raw)
}

fn good(n: u32) -> Bytes {
    message(format!("good {n}")).encode()
}

/// A frame with a message that passes.
fn good_frame(n: u32) -> Vec<u8> {
    Rpc::publish([Publish::on(OURS, &good(n))]).frame()
}

fn of_cluster(id: u16) -> Metadata {
    Metadata { cluster: Some(ClusterId(id)), shards: vec![1] }
}

fn subscribed() -> Vec<u8> {
    Rpc::subscribe([OURS.to_owned()]).frame()
}

/// Sends the frames and then a message that passes, which the honest peer gets as its first.
async fn passes_after(raw: &mut Raw, beyond: &mut Node, frames: Vec<u8>, n: u32) {
    raw.send([frames, good_frame(n)].concat());
    assert_eq!(raw.until(beyond.received()).await.data, good(n));
}

/// Each caller publishes as soon as it may and stops as soon as it has.
#[tokio::test]
async fn who_publishes_once_and_stops_has_published() {
    let mut node = Node::start(config(vec![])).await;
    for n in 0..20_u8 {
        let mut caller = Node::start(config(vec![node.addr()])).await;
        caller.relay_peers(1).await;
        let data = message(vec![n; 140_000]).encode();
        assert_eq!(
            caller.handle.publish(topic(), data.clone()).await,
            Ok(Published { peers: 1, duplicate: false, proof: None })
        );
        soon("the end", caller.handle.shutdown()).await;
        assert_eq!(node.received().await.data, data, "{n}");
    }
}

#[tokio::test]
async fn a_node_that_has_settled_has_told_its_peers_what_it_relays() {
    let mut node = Node::start(config(vec![])).await;
    let other: PubsubTopic = "/waku/2/rs/1/2".parse().unwrap();
    let mut beyond = Node::start(config(vec![node.addr()])).await;
    beyond.relay_peers(1).await;
    node.relay_peers(1).await;
    for _ in 0..20 {
        beyond.handle.subscribe(other.clone()).await.unwrap();
        soon("the answer", beyond.handle.settle()).await;
        node.handle.subscribe(other.clone()).await.unwrap();
        let published = node.handle.publish(other.clone(), message("to the other topic").encode()).await.unwrap();
        assert!(published.duplicate || published.peers == 1, "{published:?}");
        assert!(beyond.handle.unsubscribe(other.clone()).await && node.handle.unsubscribe(other.clone()).await);
    }
    node.handle.shutdown().await;
    soon("a node without peers", beyond.handle.settle()).await;
    soon("a node that has stopped", node.handle.settle()).await;
}

#[tokio::test]
async fn h67_subscriptions_without_end_leave_the_node_as_it_was() {
    let (mut node, mut beyond, mut raw) = besieged(Ear::Open).await;
    let mut frames = Vec::new();
    for rpc in 0..100 {
        frames.extend(Rpc::subscribe((0..1_025).map(|n| format!("/junk/{rpc}/{n}"))).frame());
        frames.extend(Rpc::subscribe((0..1_000).map(|n| format!("/waku/2/rs/2/{rpc}{n}"))).frame());
    }
    frames.extend(subscribed());
    passes_after(&mut raw, &mut beyond, frames, 1).await;
    raw.until(node.relay_peers(2)).await;
    // A frame of 4 MB ends the stream with what announces it; more than this is not even taken from the connection.
    let huge = Rpc::subscribe((0..350_000).map(|n| format!("/t/{n:06}"))).frame();
    raw.send_to_the_end(huge[..200_000].to_vec()).await;
    passes_after(&mut raw, &mut beyond, vec![], 2).await;
    drop(raw);
    node.relay_peers(1).await;
}

#[tokio::test]
async fn h68_ids_without_end_are_asked_for_and_answered_within_bounds() {
    let (node, mut beyond, mut raw) = besieged(Ear::Open).await;
    passes_after(&mut raw, &mut beyond, subscribed(), 1).await;
    // 40 IHAVE messages of ids that do not exist: the first ten count, and 5,000 of their ids.
    let mut next = 0_u32;
    let mut invented = || {
        next += 1;
        [&next.to_be_bytes()[..], &[0xee; 28]].concat()
    };
    let mut frames = Vec::new();
    for _ in 0..40 {
        let ids = (0..4_000).map(|_| invented()).collect();
        let ihave = vec![TopicIds { topic: Some(OURS.to_owned()), ids }];
        frames.extend(Rpc::control(Control { ihave, ..Control::default() }).frame());
    }
    let idontwant = vec![Ids { ids: (0..4_000).map(|_| invented()).collect() }];
    frames.extend(Rpc::control(Control { idontwant, ..Control::default() }).frame().repeat(20));
    passes_after(&mut raw, &mut beyond, frames, 2).await;

    // A message that the node sends us, asked for a thousand times more.
    let data = message("asked for again and again").encode();
    assert!(soon("an answer", node.handle.publish(topic(), data.clone())).await.is_ok());
    assert_eq!(raw.until(beyond.received()).await.data, data);
    let id = waku2::hash::gossip_id(&data).as_bytes().to_vec();
    let iwant = vec![Ids { ids: vec![id; 1_000] }];
    passes_after(&mut raw, &mut beyond, Rpc::control(Control { iwant, ..Control::default() }).frame(), 3).await;
    let last = message("last").encode();
    assert!(soon("an answer", node.handle.publish(topic(), last.clone())).await.is_ok());
    let has = |rpc: &Rpc, data: &Bytes| rpc.publish.iter().filter(|m| m.data.as_deref() == Some(data)).count();
    raw.hears("the last message", |rpcs| rpcs.iter().any(|rpc| has(rpc, &last) > 0).then_some(())).await;
    let heard = raw.heard();
    let copies: usize = heard.iter().map(|rpc| has(rpc, &data)).sum();
    assert!((1..=4).contains(&copies), "once, and three times more: {copies}");
    let asked: usize =
        heard.iter().filter_map(|rpc| rpc.control.as_ref()).flat_map(|c| &c.iwant).map(|w| w.ids.len()).sum();
    // Heartbeats may have passed between the frames: each allows as many again.
    assert!(asked > 0 && asked <= 4 * 4_400, "{asked}");
}

#[tokio::test]
async fn h69_grafts_without_end_end_the_connection() {
    let (mut node, mut beyond, mut raw) = besieged(Ear::Open).await;
    let graft = |topic: &str| Graft { topic: Some(topic.to_owned()) };
    let control = |graft, prune| Rpc::control(Control { graft, prune, ..Control::default() }).frame();
    // On topics that nobody has: no answer, no harm.
    let unknown = (0..1_000).map(|n| graft(&format!("/waku/2/rs/1/{}", 2 + n % 1_000))).collect();
    let frames = [subscribed(), control(unknown, vec![])].concat();
    passes_after(&mut raw, &mut beyond, frames, 1).await;
    let prune = Prune { topic: Some(OURS.to_owned()), backoff: Some(60) };
    // Backoffs without end are harmless as well.
    let endless = [u64::MAX, i64::MAX as u64].map(|backoff| Prune { backoff: Some(backoff), ..prune.clone() });
    let frames = [control(vec![], vec![prune]), control(vec![], endless.to_vec()), control(vec![graft(OURS)], vec![])];
    passes_after(&mut raw, &mut beyond, frames.concat(), 2).await;
    raw.hears("the answer to a graft during backoff", |rpcs| {
        let mut prunes = rpcs.iter().filter_map(|rpc| rpc.control.as_ref()).flat_map(|control| &control.prune);
        prunes.any(|prune| prune.topic.as_deref() == Some(OURS)).then_some(())
    })
    .await;
    raw.send(control(vec![graft(OURS)], vec![]).repeat(100));
    raw.closed().await;
    assert_eq!(node.peer_gone().await, raw.id());
    let honest = message("afterwards").encode();
    assert_eq!(
        soon("an answer", node.handle.publish(topic(), honest.clone())).await,
        Ok(Published { peers: 1, duplicate: false, proof: None })
    );
    assert_eq!(beyond.received().await.data, honest);
}

#[tokio::test]
async fn h70_what_is_signed_or_of_no_topic_of_ours_goes_no_further() {
    let (node, mut beyond, mut raw) = besieged(Ear::Open).await;
    let plain = |n: u32| Publish::on(OURS, &message(format!("bad {n}")).encode());
    let empty = Some(Vec::new());
    let mut refused = vec![
        Publish { from: empty.clone(), ..plain(1) },
        Publish { seqno: empty.clone(), ..plain(2) },
        Publish { signature: empty.clone(), ..plain(3) },
        Publish { key: empty, ..plain(4) },
        Publish { topic: None, ..plain(5) },
        Publish { topic: Some(String::new()), ..plain(6) },
        Publish { topic: Some("/waku/2/rs/2/1".to_owned()), ..plain(7) },
    ];
    refused.extend((0..1_000).map(|n| Publish { topic: Some(format!("/waku/2/rs/1/{}", n + 2)), ..plain(n + 10) }));
    passes_after(&mut raw, &mut beyond, Rpc::publish(refused).frame(), 1).await;
    assert_eq!(node.handle.counters().received.load(Relaxed), 1, "the others did not get as far as validation");
    // Eleven of the first four kinds, and it is left; more of them here, because a score recovers by half every twelve seconds.
    raw.send(Rpc::publish((0..30).map(|n| Publish { key: Some(vec![1]), ..plain(n) })).frame());
    raw.closed().await;
}

#[tokio::test]
async fn h71_frames_that_do_not_decode_end_their_stream_and_nothing_else() {
    let (node, mut beyond, _) = besieged(Ear::Open).await;
    let framed = |body: Vec<u8>| {
        let mut frame = Vec::new();
        prost::encode_length_delimiter(body.len(), &mut frame).unwrap();
        [frame, body].concat()
    };
    for (n, (name, bytes)) in [
        ("a length past the end of its frame", framed(vec![0x12, 0x7f, 0x00])),
        ("a message as a number", framed(vec![0x10, 0x01])),
        ("a tag of eleven bytes", framed(vec![0xff; 11])),
        ("a group without end", framed(vec![0x33; 10_000])),
        ("a length of eleven bytes", vec![0xff; 11]),
        ("a frame of 16 MiB", vec![0x80, 0x80, 0x80, 0x08]),
        ("a topic that is no text", framed(vec![0x12, 0x03, 0x22, 0x01, 0xff])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = Raw::connect(node.addr(), node.handle.peer_id(), Ear::Open, true).await;
        raw.send_to_the_end([bytes, vec![0; 20_000]].concat()).await;
        // On the same connection, the next stream is heard.
        passes_after(&mut raw, &mut beyond, vec![], n as u32).await;
        assert_eq!(node.handle.counters().received.load(Relaxed), n as u64 + 1, "{name}");
    }
    // Unknown fields, as many as a frame holds, are passed over.
    let mut raw = Raw::connect(node.addr(), node.handle.peer_id(), Ear::Open, true).await;
    passes_after(&mut raw, &mut beyond, framed([0xa0, 0x06, 0x01].repeat(50_000)).repeat(20), 99).await;
}

/// A frame of metadata.
fn question(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    prost::encode_length_delimiter(body.len(), &mut frame).unwrap();
    [&frame, body].concat()
}

#[tokio::test]
async fn h82_metadata_that_is_none_ends_the_question_and_silence_the_connection() {
    let (node, mut beyond, mut raw) = besieged(Ear::Open).await;
    let ours = question(&of_cluster(1).encode());
    assert_eq!(raw.ask(ours.clone()).await, ours, "answered in the form of nwaku");
    for refused in
        [question(&[0x10; 10_000]), question(&[0x0a, 0x00]), vec![0xff; 5], question(&[0x08, 0x80, 0x80, 0x04])]
    {
        assert_eq!(raw.ask(refused).await, Vec::<u8>::new());
    }
    passes_after(&mut raw, &mut beyond, vec![], 1).await;
    // Who is asked and says nothing is left after ten seconds.
    let mut silent = Raw::connect(node.addr(), node.handle.peer_id(), Ear::Open, false).await;
    silent.closed().await;
    passes_after(&mut raw, &mut beyond, vec![], 2).await;
    assert_eq!(node.handle.counters().refused_peers.load(Relaxed), 1);
}

#[tokio::test]
async fn h82_a_peer_of_another_cluster_or_of_ten_thousand_shards_is_left() {
    let node = Node::start(config(vec![])).await;
    let shards = Metadata { shards: (0..10_000).collect(), ..of_cluster(1) };
    for (refused, answer) in [of_cluster(2), Metadata::default(), shards].into_iter().enumerate() {
        let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(answer));
        stranger.dial(node.addr());
        stranger.closed().await;
        assert_eq!(node.handle.counters().refused_peers.load(Relaxed), refused as u64 + 1);
    }
}

#[tokio::test]
async fn f24_a_peer_that_does_not_read_costs_a_bounded_queue_and_nobody_else() {
    let (mut node, mut beyond, mut deaf) = besieged(Ear::Deaf).await;
    deaf.send(subscribed());
    deaf.until(node.relay_peers(2)).await;
    let counters = node.handle.counters();
    let mut sent = 0_u32;
    while counters.unsent.load(Relaxed) == 0 {
        for _ in 0..100 {
            let data = message([&sent.to_be_bytes()[..], &[7; 10_000]].concat()).encode();
            assert!(deaf.until(soon("an answer", node.handle.publish(topic(), data))).await.is_ok());
            sent += 1;
        }
        for _ in 0..100 {
            deaf.until(beyond.received()).await;
        }
        assert!(sent < 20_000, "the queue has no end");
    }
    assert_eq!(beyond.handle.counters().received.load(Relaxed), u64::from(sent));
}

fn shard(index: u16) -> PubsubTopic {
    format!("/waku/2/rs/1/{index}").parse().unwrap()
}

async fn relay_peers_on(node: &mut Node, topic: PubsubTopic, expected: usize) {
    node.wait("relay peers of a topic", |event| {
        matches!(event, Event::RelayPeers { topic: of, count } if of == topic && count == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_shard_is_joined_and_left_at_run_time() {
    let mut other = Node::start(Config { topics: vec![topic(), shard(7)], ..config(vec![]) }).await;
    let mut node = Node::start(config(vec![other.addr()])).await;
    node.relay_peers(1).await;
    let data = message("on shard 7").encode();
    assert_eq!(node.handle.publish(shard(7), data.clone()).await, Err(PublishError::NotSubscribed));

    assert_eq!(node.handle.subscribe(shard(7)).await, Ok(true));
    assert_eq!(node.handle.subscribe(shard(7)).await, Ok(false), "again");
    relay_peers_on(&mut node, shard(7), 1).await;
    relay_peers_on(&mut other, shard(7), 1).await;
    assert_eq!(
        node.handle.publish(shard(7), data.clone()).await,
        Ok(Published { peers: 1, duplicate: false, proof: None })
    );
    let received = other.received().await;
    assert_eq!((&received.data, &received.pubsub_topic), (&data, &shard(7)));

    // Who comes now is told of it by metadata.
    let mut late = Node::start(config(vec![node.addr()])).await;
    late.peer_connected().await;
    assert_eq!(late.handle.peers().await[0].shards, [1, 7]);

    assert!(node.handle.unsubscribe(shard(7)).await);
    assert!(!node.handle.unsubscribe(shard(7)).await, "again");
    relay_peers_on(&mut node, shard(7), 0).await;
    relay_peers_on(&mut other, shard(7), 0).await;
    assert_eq!(node.handle.publish(shard(7), data).await, Err(PublishError::NotSubscribed));

    let foreign: PubsubTopic = "/waku/2/rs/2/7".parse().unwrap();
    assert!(matches!(node.handle.subscribe(foreign).await, Err(SubscribeError::ForeignTopic { .. })));
    node.handle.shutdown().await;
    assert_eq!(node.handle.subscribe(shard(7)).await, Err(SubscribeError::Stopped));
    assert!(!node.handle.unsubscribe(topic()).await);
}

#[tokio::test]
async fn the_health_of_topics_follows_their_meshes() {
    let mut node = Node::start(config(vec![])).await;
    let level = |node: &Node| node.handle.health()[0].level();
    assert_eq!((node.handle.health()[0].topic.clone(), level(&node)), (topic(), Level::Unhealthy));
    let mut others = Vec::new();
    for count in 1..=4 {
        others.push(Node::start(config(vec![node.addr()])).await);
        node.relay_peers(count).await;
    }
    // A message that arrives everywhere has gone through the meshes; joining a topic looks at all of them.
    let data = message("through the mesh").encode();
    node.handle.publish(topic(), data).await.unwrap();
    for other in &mut others {
        other.received().await;
    }
    node.handle.subscribe(shard(7)).await.unwrap();
    let health = node.handle.health();
    assert_eq!(health.iter().map(|h| h.topic.clone()).collect::<Vec<_>>(), [topic(), shard(7)]);
    assert_eq!((health[0].mesh_peers, health[0].level()), (4, Level::Sufficient));
    assert_eq!(health[1].level(), Level::Unhealthy);
}

#[tokio::test]
async fn a_signed_shard_passes_what_its_key_has_signed() {
    let key: SigningKey = "11".repeat(32).parse().unwrap();
    let policy = || Policy { protected: HashMap::from([(topic(), key.verifying())]), ..Policy::default() };
    let mut node = Node::start(Config { policy: policy(), ..config(vec![]) }).await;
    let mut beyond = Node::start(Config { policy: policy(), ..config(vec![node.addr()]) }).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let now = waku2::WakuMessage { timestamp: Some(devp2p::clock::now().unix_nanos()), ..message("signed") };
    assert_eq!(
        node.handle.publish(topic(), now.encode()).await,
        Err(PublishError::NotSigned(SignedError::Signature)),
        "peers would blame us for it"
    );
    let timeless = waku2::WakuMessage { timestamp: None, ..now.clone() };
    let refused = node.handle.publish_signed(topic(), timeless, &key).await;
    assert_eq!(refused, Err(PublishError::NotSigned(SignedError::Time)));
    assert!(node.handle.publish_signed(topic(), now.clone(), &key).await.is_ok());
    let received = beyond.received().await;
    assert_eq!((&received.message.payload, received.message.meta.bytes().len()), (&now.payload, 64));
    assert_ne!(received.hash, MessageHash::from([0; 32]));

    let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(of_cluster(1)));
    stranger.dial(node.addr());
    stranger.subscribed().await;
    stranger.publish(now.encode().to_vec());
    let signed = key.sign(&topic(), waku2::WakuMessage { payload: "next".into(), ..now }).unwrap().encode();
    stranger.publish(signed.to_vec());
    assert_eq!(stranger.until(beyond.received()).await.data, signed);
    assert_eq!(node.handle.counters().rejected[Reason::Signature.index()].load(Relaxed), 1);
}

#[tokio::test]
async fn net_26_what_is_ignored_goes_no_further_and_costs_nothing() {
    let policy = Policy { free_bandwidth: Some(Budget::NONE), ..Policy::default() };
    let mut node = Node::start(Config { policy, ..config(vec![]) }).await;
    let mut beyond = Node::start(config(vec![node.addr()])).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(of_cluster(1)));
    stranger.dial(node.addr());
    stranger.subscribed().await;
    for n in 0..20 {
        stranger.publish(message(vec![n]).encode().to_vec());
    }
    let proven = waku2::WakuMessage { rate_limit_proof: Some("a proof".into()), ..message("proven") }.encode();
    stranger.publish(proven.to_vec());
    assert_eq!(stranger.until(beyond.received()).await.data, proven, "twenty are no reason to stop listening");
    let counters = node.handle.counters();
    assert_eq!((counters.ignored[Reason::Unproven.index()].load(Relaxed), counters.rejected_total()), (20, 0));
}

#[tokio::test]
async fn on_the_wire_stand_data_and_topic_alone() {
    let (node, mut beyond, mut raw) = besieged(Ear::Open).await;
    passes_after(&mut raw, &mut beyond, subscribed(), 1).await;
    // The known answer: message M of go-waku and js-waku on the shard where its content topic lands.
    let m = "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f";
    let data = hex::decode(m).unwrap();
    soon("an answer", node.handle.publish(topic(), data.clone().into())).await.unwrap();
    let message = hex::decode(format!("1230{m}220e2f77616b752f322f72732f312f31")).unwrap();
    let framed = [&[message.len() as u8 + 2, 0x12, message.len() as u8][..], &message].concat();
    raw.hears("the message", |rpcs| {
        rpcs.iter().any(|rpc| rpc.publish.iter().any(|m| m.data.as_ref() == Some(&data))).then_some(())
    })
    .await;
    assert!(raw.bytes().windows(framed.len()).any(|bytes| bytes == framed));
}
