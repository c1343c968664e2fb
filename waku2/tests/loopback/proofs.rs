//! Relay with rate-limit proofs: what passes, what does not, and what waits.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use libp2p::gossipsub::MessageAuthenticity;
use waku2::{
    Config, Event, Preset, PublishError, Published, PubsubTopic, Shard, WakuMessage,
    lightpush::{self, Client, Status},
    meter::Budget,
    rln::{
        self, NoProof,
        element::Element,
        hold::HELD,
        roots::{Follow, Known, follow},
    },
    rules::{Position, Rules},
    service::{Services, Target, choice::Nodes},
    validate::{Policy, Reason},
};

use crate::{
    members::{Member, forged, verifier},
    node::{Node, config, message, soon, topic},
    of_cluster,
    stranger::Stranger,
};

/// Messages of a member in an epoch.
const LIMIT: u64 = 100;

fn root(number: u64) -> Element {
    Element::from(number)
}

/// A group with one root, and whoever follows it.
fn group() -> (Follow, Known) {
    let (follow, known) = follow();
    follow.now(root(1));
    (follow, known)
}

fn member(secret: u64) -> Member {
    Member::new(secret, root(1), LIMIT)
}

fn policy(known: &Known) -> Policy {
    Policy {
        timestamp_window: Some(waku2::preset::TIMESTAMP_WINDOW),
        free_bandwidth: Some(Budget::NONE),
        rules: Rules::live(),
        // One worker, so that verdicts come in the order of their messages.
        rln: Some(rln::Config { workers: 1, ..rln::Config::new(verifier(), known.clone()) }),
        ..Policy::default()
    }
}

/// The same, and a member with so many messages.
fn proving(known: &Known, secret: u64, limit: u64) -> Policy {
    let prover = Arc::new(Member::new(secret, root(1), limit));
    let rln = rln::Config { prover: Some(prover), ..rln::Config::new(verifier(), known.clone()) };
    Policy { rln: Some(rln), ..policy(known) }
}

/// A message of this moment.
fn fresh(payload: impl Into<Bytes>) -> WakuMessage {
    WakuMessage { timestamp: Some(devp2p::clock::now().unix_nanos()), ..message(payload) }
}

/// A node that verifies, one beyond it that does so too, and a stranger who may send anything.
async fn besieged(known: &Known) -> (Node, Node, Stranger) {
    let mut node = Node::start(Config { policy: policy(known), ..config(vec![]) }).await;
    let mut beyond = Node::start(Config { policy: policy(known), ..config(vec![node.addr()]) }).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let stranger = stranger(&node).await;
    (node, beyond, stranger)
}

async fn stranger(node: &Node) -> Stranger {
    let mut stranger = Stranger::new(MessageAuthenticity::Anonymous, Some(of_cluster(1)));
    stranger.dial(node.addr());
    stranger.subscribed().await;
    stranger
}

fn ignored(node: &Node, reason: Reason) -> u64 {
    node.handle.counters().ignored[reason.index()].load(Relaxed)
}

fn rejected(node: &Node, reason: Reason) -> u64 {
    node.handle.counters().rejected[reason.index()].load(Relaxed)
}

#[tokio::test]
async fn net_3_what_is_proven_passes_and_nothing_else_goes_further() {
    let (_follow, known) = group();
    let (mut node, mut beyond, mut stranger) = besieged(&known).await;
    let (alice, bob) = (member(1), member(2));
    let first = alice.prove_as(&fresh("first"), 0);
    let garbage = WakuMessage { rate_limit_proof: Some("a proof".into()), ..fresh("garbage") };
    let moved = WakuMessage { payload: "moved".into(), ..bob.prove_as(&fresh("x"), 9) };
    let replayed = [&first.encode()[..], b"\xa0\x06\x01"].concat();
    stranger.publish(first.encode().to_vec());
    assert_eq!(stranger.until(beyond.received()).await.data, first.encode());
    for data in [
        fresh("unproven").encode().to_vec(),
        garbage.encode().to_vec(),
        moved.encode().to_vec(),
        forged(&bob.prove_as(&fresh("forged"), 1)).encode().to_vec(),
        alice.prove_as(&fresh("one too many"), 0).encode().to_vec(),
        replayed,
    ] {
        stranger.publish(data);
    }
    let last = bob.prove_as(&fresh("last"), 1).encode();
    stranger.publish(last.to_vec());
    let received = stranger.until(beyond.received()).await;
    assert_eq!(
        (&received.data, received.proven),
        (&last, true),
        "nothing else came, and nobody's rate was spent by others"
    );
    let at_node = [node.received().await, node.received().await];
    assert!(at_node.iter().all(|received| received.proven));
    for reason in [Reason::Unproven, Reason::Replay] {
        assert_eq!((ignored(&node, reason), rejected(&node, reason)), (1, 0), "{reason:?}");
    }
    assert_eq!((ignored(&node, Reason::InvalidProof), rejected(&node, Reason::InvalidProof)), (2, 0));
    for reason in [Reason::MalformedProof, Reason::DoubleSignal] {
        assert_eq!((ignored(&node, reason), rejected(&node, reason)), (0, 1), "{reason:?}");
    }
    let counters = node.handle.counters();
    assert_eq!(counters.rln.looked_at.load(Relaxed), 8);
    assert_eq!(counters.rln.verified.load(Relaxed), 4, "only what may pass otherwise is verified");
    assert_eq!(counters.traffic.topics()[0].1.proven, 2);
}

/// Waits until there is a peer on each of these topics.
async fn on_all(node: &mut Node, topics: &[PubsubTopic]) {
    let mut missing: BTreeSet<_> = topics.iter().cloned().collect();
    node.wait("peers on all topics", |event| {
        if let Event::RelayPeers { topic, count: 1.. } = event {
            missing.remove(&topic);
        }
        missing.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn net_1_on_each_of_the_eight_shards_what_is_proven_passes_and_nothing_else_does() {
    let (_follow, known) = group();
    let Preset { cluster, shards, .. } = Preset::TWN;
    let topics: Vec<PubsubTopic> = shards.iter().map(|index| Shard { cluster, index: *index }.into()).collect();
    let names: Vec<String> = (0..8).map(|shard| format!("/waku/2/rs/1/{shard}")).collect();
    assert!(topics.iter().map(PubsubTopic::as_str).eq(names.iter().map(String::as_str)));
    let of = |policy, peers| Config { policy, topics: topics.clone(), ..config(peers) };
    let mut member = Node::start(of(proving(&known, 1, LIMIT), vec![])).await;
    let mut relay = Node::start(of(policy(&known), vec![member.addr()])).await;
    on_all(&mut member, &topics).await;
    on_all(&mut relay, &topics).await;
    for (shard, topic) in topics.iter().enumerate() {
        let sent = member.handle.publish(topic.clone(), fresh(format!("{shard} proven")).encode()).await.unwrap();
        assert!(sent.peers == 1 && sent.proof.is_some(), "{topic}");
        let received = relay.received().await;
        assert_eq!((&received.pubsub_topic, received.proven), (topic, true));
    }
    // One who asks for no proofs, at the far end.
    let mut stranger = Node::start(of(Policy::default(), vec![relay.addr()])).await;
    on_all(&mut stranger, &topics).await;
    let other = Member::new(2, root(1), LIMIT);
    for (shard, topic) in topics.iter().enumerate() {
        let publish = |message: WakuMessage| stranger.handle.publish(topic.clone(), message.encode());
        assert_eq!(publish(fresh(format!("{shard} unproven"))).await.unwrap().peers, 1, "{topic}");
        publish(other.prove_as(&fresh(format!("{shard} of another")), shard as u64)).await.unwrap();
        for node in [&mut relay, &mut member] {
            let received = node.received().await;
            assert_eq!((&received.pubsub_topic, received.proven), (topic, true), "behind what had none");
        }
    }
    assert_eq!((ignored(&relay, Reason::Unproven), ignored(&member, Reason::Unproven)), (8, 0));
}

#[tokio::test]
async fn h80_double_signals_and_malformed_proofs_are_blamed_until_their_sender_is_left() {
    let (_follow, known) = group();
    let (mut node, _beyond, mut stranger) = besieged(&known).await;
    let alice = member(1);
    for n in 0..40_u8 {
        stranger.publish(alice.prove_as(&fresh(vec![n]), 0).encode().to_vec());
    }
    let id = *stranger.swarm.local_peer_id();
    assert_eq!(stranger.until(node.peer_gone()).await, id);
    assert!(rejected(&node, Reason::DoubleSignal) >= 4);
    assert_eq!(node.handle.counters().accepted.load(Relaxed), 1);
}

#[tokio::test]
async fn h80_who_brings_more_than_twenty_invalid_proofs_a_minute_is_left_and_others_are_heard() {
    let (_follow, known) = group();
    let (mut node, mut beyond, mut honest) = besieged(&known).await;
    let mut loud = stranger(&node).await;
    let alice = member(1);
    for n in 0..20_u8 {
        loud.publish(forged(&alice.prove_as(&fresh(vec![n]), n.into())).encode().to_vec());
    }
    let good = alice.prove_as(&fresh("good"), 0).encode();
    loud.publish(good.to_vec());
    assert_eq!(loud.until(beyond.received()).await.data, good, "twenty are borne, and are no reason not to listen");
    for n in 20..100_u8 {
        loud.publish(forged(&alice.prove_as(&fresh(vec![n]), n.into())).encode().to_vec());
    }
    let id = *loud.swarm.local_peer_id();
    assert_eq!(loud.until(node.peer_gone()).await, id);
    let other = alice.prove_as(&fresh("other"), 1).encode();
    honest.publish(other.to_vec());
    assert_eq!(honest.until(beyond.received()).await.data, other);
    let counters = node.handle.counters();
    assert_eq!((counters.rln.left.load(Relaxed), counters.rejected_total()), (1, 0));
    assert!(ignored(&node, Reason::InvalidProof) > 20);
}

#[tokio::test]
async fn a_message_whose_root_comes_late_passes_after_a_hold() {
    let ((follow, known), (ahead, both)) = (group(), group());
    ahead.now(root(2));
    let mut node = Node::start(Config { policy: policy(&known), ..config(vec![]) }).await;
    let mut beyond = Node::start(Config { policy: policy(&both), ..config(vec![node.addr()]) }).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let mut stranger = stranger(&node).await;
    let newcomer = Member::new(3, root(2), LIMIT);
    let early = newcomer.prove_as(&fresh("early"), 0).encode();
    stranger.publish(early.to_vec());
    stranger.until(soon("a look for the root", known.look.notified())).await;
    follow.now(root(2));
    let received = stranger.until(beyond.received()).await;
    assert_eq!((&received.data, received.proven), (&early, true));
    let counters = node.handle.counters();
    assert_eq!((counters.rln.were_held.load(Relaxed), counters.rln.came_in_time.load(Relaxed)), (1, 1));
    assert_eq!((counters.ignored_total(), counters.rejected_total()), (0, 0));
}

#[tokio::test]
async fn h80_a_root_that_does_not_come_ends_the_hold_and_more_than_fit_end_it_sooner() {
    let (_follow, known) = group();
    let (node, mut beyond, mut stranger) = besieged(&known).await;
    let unknown = Member::new(3, root(9), LIMIT);
    for id in 0..HELD as u64 + 10 {
        stranger.publish(unknown.prove_as(&fresh(id.to_be_bytes().to_vec()), id).encode().to_vec());
    }
    // What the hold has no room for goes at once; what is known passes meanwhile.
    let good = member(1).prove_as(&fresh("good"), 0).encode();
    stranger.publish(good.to_vec());
    assert_eq!(stranger.until(beyond.received()).await.data, good);
    assert!(ignored(&node, Reason::UnknownRoot) >= 10);
    let own = unknown.prove_as(&fresh("our own"), 1_000).encode();
    let held = stranger.until(soon("the end of the hold", node.handle.publish(topic(), own))).await;
    assert_eq!(held, Err(PublishError::Refused(Reason::UnknownRoot)));
    assert_eq!(ignored(&node, Reason::UnknownRoot), HELD as u64 + 10);
    assert_eq!(node.handle.counters().rejected_total(), 0);
}

#[tokio::test]
async fn as_deployed_the_same_is_rejected_at_once() {
    let (_follow, known) = group();
    let policy = Policy { rules: Rules::all(Position::Deployed), ..policy(&known) };
    let mut node = Node::start(Config { policy, ..config(vec![]) }).await;
    let mut stranger = stranger(&node).await;
    node.relay_peers(1).await;
    let alice = member(1);
    stranger.publish(Member::new(3, root(9), LIMIT).prove_as(&fresh("unknown"), 0).encode().to_vec());
    stranger.publish(forged(&alice.prove_as(&fresh("forged"), 1)).encode().to_vec());
    let last = alice.prove_as(&fresh("last"), 0).encode();
    stranger.publish(last.to_vec());
    assert_eq!(stranger.until(node.received()).await.data, last);
    for reason in [Reason::UnknownRoot, Reason::InvalidProof] {
        assert_eq!((ignored(&node, reason), rejected(&node, reason)), (0, 1), "{reason:?}");
    }
}

#[tokio::test]
async fn net_19_what_a_member_publishes_is_proven_once_and_within_its_rate() {
    let (_follow, known) = group();
    let mut node = Node::start(Config { policy: proving(&known, 1, 2), ..config(vec![]) }).await;
    let first = fresh("first");
    assert_eq!(node.handle.publish(topic(), first.encode()).await, Err(PublishError::NoPeers), "and nothing was spent");
    let mut beyond = Node::start(Config { policy: policy(&known), ..config(vec![node.addr()]) }).await;
    node.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let sent = node.handle.publish(topic(), first.encode()).await.unwrap();
    let received = beyond.received().await;
    assert_eq!((sent.peers, sent.duplicate, &sent.proof), (1, false, &received.message.rate_limit_proof));
    assert!(received.proven && received.message.rate_limit_proof.is_some());
    assert_eq!(received.message.payload, first.payload);
    let again = Ok(Published { peers: 0, duplicate: true, proof: sent.proof });
    assert_eq!(node.handle.publish(topic(), first.encode()).await, again, "the same message has the same proof");
    assert_eq!(node.handle.publish(topic(), received.data.clone()).await, again);
    let nowhere: PubsubTopic = "/waku/2/rs/1/7".parse().unwrap();
    assert_eq!(node.handle.publish(nowhere, fresh("nowhere").encode()).await, Err(PublishError::NotSubscribed));
    let second = fresh("second").encode();
    let submitted = node.handle.submit(beyond.handle.peer_id(), topic(), second).await.unwrap();
    assert_eq!((submitted.peers, submitted.duplicate), (1, false));
    assert_eq!(beyond.received().await.message.payload, "second");
    let out = Err(PublishError::NoProof(NoProof::OutOfIds));
    assert_eq!(node.handle.publish(topic(), fresh("third").encode()).await, out);
    let counters = node.handle.counters();
    assert_eq!((counters.rln.attached.load(Relaxed), counters.rln.not_attached.load(Relaxed)), (3, 1));
}

#[tokio::test]
async fn who_asks_for_a_proof_publishes_with_one_or_not_at_all() {
    let (_follow, known) = group();
    let prover = Node::start(Config { policy: proving(&known, 1, 1), ..config(vec![]) }).await;
    let mut beyond = Node::start(Config { policy: policy(&known), ..config(vec![prover.addr()]) }).await;
    beyond.relay_peers(1).await;
    assert!(prover.handle.verifies_proofs() && beyond.handle.past_proofs().is_some());
    let bare = fresh("bare").encode();
    let refused = beyond.handle.publish_proven(topic(), bare.clone(), None).await;
    assert_eq!(refused, Err(PublishError::NoProof(NoProof::NotReady)), "this one makes none");
    let mut prover = prover;
    prover.relay_peers(1).await;
    let sent = prover.handle.publish_proven(topic(), bare, Some("a".into())).await.unwrap();
    let received = beyond.received().await;
    assert!(received.proven && sent.proof.is_some());
    assert_eq!(sent.proof, received.message.rate_limit_proof);
    // Where no proofs are asked for, it is as any other.
    let open = Node::start(config(vec![])).await;
    let nobody = open.handle.publish_proven(topic(), fresh("open").encode(), Some("a".into())).await;
    assert_eq!((nobody, open.handle.verifies_proofs()), (Err(PublishError::NoPeers), false));
}

#[tokio::test]
async fn h80_an_own_message_that_peers_would_blame_us_for_does_not_go_out() {
    let (_follow, known) = group();
    let (node, _beyond, mut stranger) = besieged(&known).await;
    let alice = member(1);
    let publish = |message: WakuMessage| node.handle.publish(topic(), message.encode());
    let sent = stranger.until(publish(alice.prove_as(&fresh("x"), 0))).await;
    assert!(sent.is_ok_and(|sent| !sent.duplicate));
    for (message, reason) in [
        (forged(&alice.prove_as(&fresh("x"), 1)), Reason::InvalidProof),
        (alice.prove_as(&fresh("y"), 0), Reason::DoubleSignal),
    ] {
        assert_eq!(stranger.until(publish(message)).await, Err(PublishError::Refused(reason)));
    }
    assert_eq!(node.handle.counters().rejected_total() + node.handle.counters().ignored_total(), 0, "nobody is blamed");
}

#[tokio::test]
async fn lightpush_proves_what_clients_push_and_says_when_it_cannot() {
    let (_follow, known) = group();
    let auto = lightpush::Config { cluster: waku2::ClusterId(1), shards: 8, codes: Position::Text, proves: true };
    let services = |lightpush| Services { lightpush: Some(lightpush), ..Services::default() };
    let mut server =
        Node::start(Config { policy: proving(&known, 1, 1), services: services(auto), ..config(vec![]) }).await;
    let mut beyond = Node::start(Config { policy: policy(&known), ..config(vec![server.addr()]) }).await;
    server.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let named: Target = server.addr().try_into().unwrap();
    let nodes = Nodes { lightpush: vec![named], ..Nodes::default() };
    let services = Services { nodes, ..Services::default() };
    let light = Node::start(Config { topics: vec![], listen: vec![], services, ..config(vec![]) }).await;
    let client = Client::new(light.handle.clone(), auto);
    let push = |message: WakuMessage| {
        let client = &client;
        async move { soon("an answer", client.push(Some(topic()), &message)).await }
    };
    assert!(push(fresh("of a light client")).await.is_ok());
    let received = beyond.received().await;
    assert!(received.proven && received.message.payload == "of a light client");
    let told = server.wait("the message", |event| match event {
        Event::Message(received) => Some(received),
        _ => None,
    });
    assert!(told.await.proven);
    let status = |refused: Result<_, lightpush::PushError>| match refused {
        Err(lightpush::PushError::Failed(failure)) => (failure.status, failure.text),
        other => panic!("{other:?}"),
    };
    let (out, text) = status(push(fresh("one too many")).await);
    assert_eq!((out, text.contains("could not get new message id")), (Status::OutOfProofs, true));
    let other = member(2);
    assert!(push(other.prove_as(&fresh("proven elsewhere"), 0)).await.is_ok());
    assert_eq!(beyond.received().await.message.payload, "proven elsewhere");
    assert_eq!(status(push(forged(&other.prove_as(&fresh("forged"), 1))).await).0, Status::Invalid);
}
