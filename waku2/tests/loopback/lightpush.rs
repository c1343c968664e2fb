//! Lightpush: a light client, the node that publishes for it, and one beyond.

use std::sync::{Arc, Mutex, atomic::Ordering::Relaxed};

use bytes::Bytes;
use waku2::{
    ClusterId, Config, PubsubTopic, Received, WakuMessage,
    handle::Witness,
    lightpush::{self, Client, Failure, PushError, Pushed, Status, legacy, wire},
    rules::Position,
    service::{NoPeer, Protocol, Services, Target, choice::Nodes},
    signed::SigningKey,
    validate::Policy,
};

use crate::{
    largest_payload,
    node::{Node, config, message, soon, topic},
};

const AUTO: lightpush::Config =
    lightpush::Config { cluster: ClusterId(1), shards: 8, codes: Position::Text, proves: true };

/// Keeps what it is told.
#[derive(Default)]
struct Seen(Mutex<Vec<Arc<Received>>>);

impl Witness for Seen {
    fn accepted(&self, message: &Arc<Received>) {
        self.0.lock().unwrap().push(Arc::clone(message));
    }
}

impl Seen {
    fn data(&self) -> Vec<Bytes> {
        self.0.lock().unwrap().iter().map(|received| received.data.clone()).collect()
    }
}

fn serving(lightpush: lightpush::Config) -> Services {
    Services { lightpush: Some(lightpush), ..Services::default() }
}

fn target(node: &Node) -> Target {
    node.addr().try_into().unwrap()
}

/// A node that relays nothing and pushes by `server`.
async fn light(server: &Node) -> (Node, Client) {
    let nodes = Nodes { lightpush: vec![target(server)], ..Nodes::default() };
    let services = Services { nodes, ..Services::default() };
    let node = Node::start(Config { topics: vec![], listen: vec![], services, ..config(vec![]) }).await;
    let client = Client::new(node.handle.clone(), AUTO);
    (node, client)
}

/// What a client that knows only one version is told.
async fn ask(client: &Node, server: &Node, protocol: Protocol, request: Bytes) -> Bytes {
    soon("an answer", client.handle.ask(target(server), protocol, request)).await.unwrap()
}

fn request(topic: Option<&str>, message: &WakuMessage) -> Bytes {
    let topic = topic.map(ToOwned::to_owned);
    wire::Request { id: "1".into(), kind: 0, pubsub_topic: topic, message: Some(message.encode()) }.encode()
}

/// The number of an answer of 3.0.0.
async fn code(client: &Node, server: &Node, request: Bytes) -> u32 {
    let answer = ask(client, server, Protocol::LightpushV3, request).await;
    wire::Response::decode(answer).unwrap().status.unwrap().code()
}

async fn push(client: &Client, topic: Option<PubsubTopic>, message: &WakuMessage) -> Result<Pushed, Failure> {
    soon("an answer", client.push(topic, message)).await.map_err(|error| match error {
        PushError::Failed(failure) => failure,
        PushError::NoPeer(none) => panic!("{none}"),
    })
}

#[tokio::test]
async fn what_is_pushed_is_relayed_and_told_like_what_relay_brings() {
    let seen = Arc::new(Seen::default());
    let services = Services { witnesses: vec![Arc::clone(&seen) as Arc<dyn Witness>], ..serving(AUTO) };
    let mut server = Node::start(Config { services, ..config(vec![]) }).await;
    let mut beyond = Node::start(config(vec![server.addr()])).await;
    server.relay_peers(1).await;
    let (light, client) = light(&server).await;

    let current = message("3.0.0");
    assert_eq!(push(&client, Some(topic()), &current).await, Ok(Pushed { peers: Some(1) }));
    // What nwaku would write is not what our encoder would: bytes are kept.
    let nwaku = Bytes::from(hex::decode(crate::NWAKU).unwrap());
    let asked = legacy::Push { pubsub_topic: topic().to_string(), message: Some(nwaku.clone()) };
    let asked = legacy::Request { id: "req-1".into(), push: Some(asked) };
    let answer = ask(&light, &server, Protocol::LightpushLegacy, asked.encode()).await;
    let ok = legacy::Response { id: "req-1".into(), is_success: true, info: "OK".into() };
    assert_eq!(legacy::Response::decode(answer), Ok(ok));

    for data in [current.encode(), nwaku.clone()] {
        let (at_server, at_beyond) = (server.received().await, beyond.received().await);
        assert_eq!((&at_server.data, &at_beyond.data), (&data, &data));
        assert_eq!((at_server.from, at_beyond.from), (light.handle.peer_id(), server.handle.peer_id()));
        assert_eq!(at_server.hash, at_beyond.hash);
    }
    // Also what relay brings and what the node's owner publishes is told to those who want everything, and the latter to nobody else.
    let (back, own) = (message("back").encode(), message("own").encode());
    soon("an answer", beyond.handle.publish(topic(), back.clone())).await.unwrap();
    assert_eq!(server.received().await.data, back);
    soon("an answer", server.handle.publish(topic(), own.clone())).await.unwrap();
    assert_eq!(beyond.received().await.data, own);
    assert_eq!(seen.data(), [current.encode(), nwaku, back, own]);
    assert!(server.events.try_recv().is_err(), "its own message is not told");
    let counters = server.handle.counters();
    assert_eq!((counters.lightpush.pushed.load(Relaxed), counters.lightpush.pushed_legacy.load(Relaxed)), (1, 1));
}

#[tokio::test]
async fn h78_nothing_is_called_published_that_nobody_was_sent() {
    let lone = Node::start(Config { services: serving(AUTO), ..config(vec![]) }).await;
    let codes = lightpush::Config { codes: Position::Deployed, ..AUTO };
    let deployed = Node::start(Config { services: serving(codes), ..config(vec![]) }).await;
    let (light, client) = light(&lone).await;
    let unheard = push(&client, Some(topic()), &message("x")).await.unwrap_err();
    assert_eq!((unheard.status, unheard.text.as_str()), (Status::Unavailable, "not_published_to_any_peer"));
    assert_eq!(code(&light, &deployed, request(Some("/waku/2/rs/1/1"), &message("x"))).await, 505);
    let asked = legacy::Push { pubsub_topic: topic().to_string(), message: Some(message("x").encode()) };
    let asked = legacy::Request { id: "1".into(), push: Some(asked) }.encode();
    let answer = legacy::Response::decode(ask(&light, &lone, Protocol::LightpushLegacy, asked).await).unwrap();
    assert_eq!((answer.is_success, answer.info.as_str()), (false, "not_published_to_any_peer"));
}

#[tokio::test]
async fn h78_every_refusal_has_its_number() {
    let key: SigningKey = "11".repeat(32).parse().unwrap();
    let signed: PubsubTopic = "/waku/2/rs/1/2".parse().unwrap();
    let policy = Policy { protected: [(signed.clone(), key.verifying())].into(), ..Policy::default() };
    let topics = vec![topic(), signed.clone()];
    let services = Services { rate_limits: vec!["lightpush:12/1h".parse().unwrap()], ..serving(AUTO) };
    let mut server =
        Node::start(Config { services, topics: topics.clone(), policy: policy.clone(), ..config(vec![]) }).await;
    let mut beyond = Node::start(Config { topics, policy, ..config(vec![server.addr()]) }).await;
    server.relay_peers(1).await;
    beyond.relay_peers(1).await;
    let (light, client) = light(&server).await;
    let ours = |message: &WakuMessage| request(Some("/waku/2/rs/1/1"), message);

    assert_eq!(code(&light, &server, request(Some("/waku/2/rs/1/5"), &message("x"))).await, 421, "another shard");
    assert_eq!(code(&light, &server, request(Some("/waku/2/rs/2/1"), &message("x"))).await, 421, "another cluster");
    assert_eq!(code(&light, &server, request(Some(""), &message("x"))).await, 400);
    assert_eq!(code(&light, &server, Bytes::from_static(&[0xff])).await, 400);
    let largest = message(vec![0; largest_payload()]);
    assert_eq!(code(&light, &server, ours(&largest)).await, 200);
    assert_eq!(code(&light, &server, ours(&largest)).await, 420, "a duplicate");
    assert_eq!(code(&light, &server, ours(&message(vec![1; largest_payload() + 1]))).await, 413);
    let nowhere = WakuMessage { content_topic: "x".into(), ..message("x") };
    assert_eq!(code(&light, &server, request(None, &nowhere)).await, 420);
    assert_eq!(code(&light, &server, request(Some(signed.as_str()), &message("x"))).await, 420, "not signed");
    let by_us = key.sign(&signed, fresh()).unwrap();
    assert_eq!(code(&light, &server, request(Some(signed.as_str()), &by_us)).await, 200);
    // /waku/2/… belongs to shard 1 of 8.
    let derived = WakuMessage { content_topic: "/waku/2/default-content/proto".into(), ..message("derived") };
    assert_eq!(code(&light, &server, request(None, &derived)).await, 200);
    assert_eq!(code(&light, &server, ours(&message("the twelfth"))).await, 200);
    let refused = push(&client, Some(topic()), &message("one too many")).await.unwrap_err();
    assert_eq!((refused.status, refused.text.as_str()), (Status::TooManyRequests, "TOO_MANY_REQUESTS"));
    for data in [largest.encode(), by_us.encode(), derived.encode(), message("the twelfth").encode()] {
        assert_eq!(beyond.received().await.data, data, "what was refused went nowhere");
    }
}

/// A message of this moment, as signed shards want them.
fn fresh() -> WakuMessage {
    WakuMessage { timestamp: Some(devp2p::clock::now().unix_nanos()), ..message("signed") }
}

#[tokio::test]
async fn who_serves_and_names_nobody_publishes_itself() {
    let mut server = Node::start(Config { services: serving(AUTO), ..config(vec![]) }).await;
    let mut beyond = Node::start(config(vec![server.addr()])).await;
    server.relay_peers(1).await;
    let client = Client::new(server.handle.clone(), AUTO);
    let message = WakuMessage { content_topic: "/waku/2/default-content/proto".into(), ..message("by itself") };
    assert_eq!(push(&client, None, &message).await, Ok(Pushed { peers: Some(1) }));
    assert_eq!(beyond.received().await.data, message.encode());
    assert_eq!(server.received().await.from, server.handle.peer_id());
}

#[tokio::test]
async fn without_anybody_to_ask_a_client_says_so() {
    let node = Node::start(config(vec![])).await;
    let client = Client::new(node.handle.clone(), AUTO);
    let unasked = soon("an answer", client.push(Some(topic()), &message("x"))).await;
    assert_eq!(unasked, Err(PushError::NoPeer(NoPeer::NotSought)));
    let gone = Node::start(config(vec![])).await;
    let nodes = Nodes { lightpush: vec![target(&gone)], ..Nodes::default() };
    soon("the shutdown", gone.handle.shutdown()).await;
    soon("the end of the task", gone.task).await.unwrap();
    let services = Services { nodes, ..Services::default() };
    let node = Node::start(Config { services, ..config(vec![]) }).await;
    let client = Client::new(node.handle.clone(), AUTO);
    let unreached = push(&client, Some(topic()), &message("x")).await.unwrap_err();
    assert_eq!((unreached.status, unreached.text.starts_with("dial_failure")), (Status::Unavailable, true));
}
