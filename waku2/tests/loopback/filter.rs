//! Filter between nodes: both generations, both sides, and subscribers that misbehave.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use devp2p::Now;
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{broadcast, mpsc};
use waku2::{
    Config, Multiaddr, PeerId, PubsubTopic, Received,
    filter::{
        self, Limits,
        client::Generation,
        counters::{Kind, Trouble},
        legacy,
        wire::{Operation, Push, Request, Response, Status},
    },
    service::{Answer, Protocol, Services, Target, choice::Nodes},
};

use crate::{
    absence::{link, over, short},
    link::Line,
    node::{Node, config, message, soon, topic},
};

/// The content topic of [`message`].
const CONTENT: &str = "/causeway/1/test/bytes";

fn content() -> Vec<String> {
    vec![CONTENT.to_owned()]
}

/// A node that relays and serves filter.
async fn service(limits: Limits) -> Node {
    let filter = Some(filter::Config { serve: Some(limits), ..filter::Config::default() });
    Node::start(Config { services: Services { filter, ..Services::default() }, ..config(vec![]) }).await
}

/// A relay that publishes to it.
async fn publisher(service: &mut Node) -> Node {
    let mut publisher = Node::start(config(vec![service.addr()])).await;
    publisher.relay_peers(1).await;
    service.relay_peers(1).await;
    publisher
}

/// A node without relay that asks these nodes.
async fn client(ask: filter::Ask, nodes: &[&Node]) -> Node {
    client_of(ask, nodes.iter().map(|node| node.addr()).collect()).await
}

async fn client_of(ask: filter::Ask, addrs: Vec<Multiaddr>) -> Node {
    let filter = Some(filter::Config { serve: None, ask });
    let nodes = addrs.into_iter().map(|addr| addr.try_into().unwrap()).collect();
    let services = Services { filter, nodes: Nodes { filter: nodes, ..Nodes::default() }, ..Services::default() };
    Node::start(Config { topics: vec![], listen: vec![], services, ..config(vec![]) }).await
}

async fn subscribe(client: &Node) -> broadcast::Receiver<Arc<Received>> {
    let filter = client.handle.filter().unwrap();
    let messages = filter.messages();
    soon("a subscription", filter.subscribe(&topic(), &content())).await.unwrap();
    messages
}

async fn next(messages: &mut broadcast::Receiver<Arc<Received>>) -> Arc<Received> {
    soon("a push", messages.recv()).await.unwrap()
}

async fn publish(publisher: &Node, text: &str) -> Bytes {
    let data = message(text.to_owned()).encode();
    soon("a publication", publisher.handle.publish(topic(), data.clone())).await.unwrap();
    data
}

fn troubles(node: &Node, trouble: Trouble) -> u64 {
    node.handle.counters().filter.troubles[trouble.index()].load(Relaxed)
}

/// Waits until a counter of a node is as large.
async fn counted(what: &str, count: impl Fn() -> u64, least: u64) {
    soon(what, async {
        while count() < least {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn filter_v2_brings_what_was_asked_for() {
    let mut service = service(Limits::default()).await;
    let publisher = publisher(&mut service).await;
    let client = client(filter::Ask::Current, &[&service]).await;
    let mut messages = subscribe(&client).await;
    let mut other = message("other");
    other.content_topic = "/causeway/1/other/bytes".into();
    publisher.handle.publish(topic(), other.encode()).await.unwrap();
    let data = publish(&publisher, "hello").await;
    let pushed = next(&mut messages).await;
    assert_eq!((&pushed.data, &pushed.pubsub_topic, pushed.from), (&data, &topic(), service.handle.peer_id()));
    let own = publish(&service, "of the service node's own").await;
    assert_eq!(next(&mut messages).await.data, own);
    let filter = client.handle.filter().unwrap();
    assert_eq!(filter.nodes()[0].1.generation, Generation::Current);
    soon("a ping", filter.ping()).await.unwrap();
    soon("the end", filter.unsubscribe(&topic(), &content())).await.unwrap();
    let none = soon("a refusal", filter.ping()).await.unwrap_err();
    assert_eq!(none.status, Status::NotFound);
    let counters = service.handle.counters();
    assert_eq!(counters.filter.subscribers.load(Relaxed), 0);
    assert_eq!(counters.filter.requests[Kind::Current(Operation::Subscribe).index()].load(Relaxed), 1);
    assert_eq!(counters.filter.pushed.load(Relaxed), 2);
}

#[tokio::test]
async fn a_burst_is_pushed_whole() {
    const BURST: usize = 600;
    let mut service = service(Limits::default()).await;
    let publisher = publisher(&mut service).await;
    let client = client(filter::Ask::Current, &[&service]).await;
    let mut messages = subscribe(&client).await;
    let mut arrived = BTreeSet::new();
    for n in 0..BURST {
        publish(&publisher, &n.to_string()).await;
        while let Ok(received) = messages.try_recv() {
            arrived.insert(received.hash);
        }
    }
    while arrived.len() < BURST {
        assert!(arrived.insert(next(&mut messages).await.hash));
    }
}

/// Hands on what comes in a protocol.
struct Taker {
    came: mpsc::Sender<Bytes>,
}

impl Answer for Taker {
    fn answer(&self, _: PeerId, push: Bytes, _: Now) -> BoxFuture<'_, Option<Bytes>> {
        async move {
            self.came.send(push).await.unwrap();
            None
        }
        .boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        None
    }
}

/// A peer that takes a protocol's frames as they are.
async fn taker(protocol: Protocol, queue: usize) -> (Node, mpsc::Receiver<Bytes>) {
    let (came, frames) = mpsc::channel(queue);
    let answers: BTreeMap<Protocol, Arc<dyn Answer>> = [(protocol, Arc::new(Taker { came }) as Arc<dyn Answer>)].into();
    let services = Services { answers, ..Services::default() };
    (Node::start(Config { topics: vec![], services, ..config(vec![]) }).await, frames)
}

fn target(node: &Node) -> Target {
    node.addr().try_into().unwrap()
}

fn legacy_request(id: &str, subscribe: bool, topic: Option<&PubsubTopic>) -> Bytes {
    let pubsub_topic = topic.map(ToString::to_string);
    let request = legacy::Request { subscribe, pubsub_topic, content_topics: content() };
    legacy::Rpc { id: id.to_owned(), request: Some(request), push: None }.encode()
}

#[tokio::test]
async fn the_first_filter_pushes_under_the_id_of_each_request() {
    let mut service = service(Limits::default()).await;
    let publisher = publisher(&mut service).await;
    let (peer, mut frames) = taker(Protocol::FilterV1, 64).await;
    let counters = service.handle.counters();
    let asked = |subscribe| counters.filter.requests[Kind::Legacy(subscribe).index()].load(Relaxed);
    for (id, on) in [("sub-1", Some(topic())), ("sub-2", None)] {
        let request = legacy_request(id, true, on.as_ref());
        soon("a request", peer.handle.tell(target(&service), Protocol::FilterV1, request)).await.unwrap();
    }
    counted("both requests", || asked(true), 2).await;
    let data = publish(&publisher, "hello").await;
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let rpc = legacy::Rpc::decode(soon("a push", frames.recv()).await.unwrap()).unwrap();
        assert_eq!((rpc.request, rpc.push), (None, Some(vec![data.clone()])));
        ids.insert(rpc.id);
    }
    assert_eq!(ids, BTreeSet::from(["sub-1".to_owned(), "sub-2".to_owned()]));
    let end = legacy_request("uns-1", false, Some(&topic()));
    soon("the end", peer.handle.tell(target(&service), Protocol::FilterV1, end)).await.unwrap();
    counted("the end", || asked(false), 1).await;
    publish(&publisher, "not wanted").await;
    let again = legacy_request("sub-3", true, None);
    soon("a request", peer.handle.tell(target(&service), Protocol::FilterV1, again)).await.unwrap();
    counted("a request", || asked(true), 3).await;
    let wanted = publish(&publisher, "wanted").await;
    let rpc = legacy::Rpc::decode(soon("a push", frames.recv()).await.unwrap()).unwrap();
    assert_eq!(rpc.push, Some(vec![wanted]));
}

#[tokio::test]
async fn our_client_speaks_the_first_filter_where_there_is_no_other() {
    let (node, mut frames) = taker(Protocol::FilterV1, 64).await;
    let client = client(filter::Ask::Both, &[&node]).await;
    let mut messages = subscribe(&client).await;
    let asked = legacy::Rpc::decode(soon("a request", frames.recv()).await.unwrap()).unwrap();
    let request =
        legacy::Request { subscribe: true, pubsub_topic: Some(topic().to_string()), content_topics: content() };
    assert_eq!(asked.request, Some(request));
    let to_client = || Target::from(client.handle.peer_id());
    let push = |id: &str, text: &str| {
        let push = Some(vec![message(text.to_owned()).encode()]);
        legacy::Rpc { id: id.to_owned(), request: None, push }.encode()
    };
    for frame in [push("never used", "1"), push(&asked.id, "2"), push(&asked.id, "2"), push(&asked.id, "3")] {
        soon("a push", node.handle.tell(to_client(), Protocol::FilterV1, frame)).await.unwrap();
    }
    let came = [next(&mut messages).await, next(&mut messages).await].map(|received| received.message.payload.clone());
    assert_eq!(BTreeSet::from(came), BTreeSet::from(["2", "3"].map(Bytes::from)));
    assert_eq!(client.handle.filter().unwrap().nodes()[0].1.generation, Generation::Legacy);
}

#[tokio::test]
async fn a_stream_may_bring_many_pushes_and_a_stranger_none() {
    let mut service = service(Limits::default()).await;
    let _publisher = publisher(&mut service).await;
    let client = client(filter::Ask::Current, &[&service]).await;
    let mut messages = subscribe(&client).await;
    let stranger = Node::start(config(vec![])).await;
    let push = |text: &str| {
        Push { message: message(text.to_owned()).encode(), pubsub_topic: Some(topic().to_string()) }.encode()
    };
    let addr = service.addr();
    assert!(client.handle.addresses().is_empty(), "it cannot be called");
    // The client calls the stranger, so that it has a connection to push on.
    let asked = client.handle.ask(target(&stranger), Protocol::StoreV3, Bytes::new()).await;
    assert!(asked.is_err());
    let to_client = Target::from(client.handle.peer_id());
    soon("a push", stranger.handle.tell(to_client.clone(), Protocol::FilterPush, push("foreign"))).await.unwrap();
    counted("the refusal", || client.handle.counters().filter.troubles.iter().map(|n| n.load(Relaxed)).sum(), 1).await;
    soon("a push", service.handle.tell(to_client, Protocol::FilterPush, push("own"))).await.unwrap();
    assert_eq!(next(&mut messages).await.message.payload, Bytes::from("own"), "through {addr}");
}

#[tokio::test]
async fn f11_another_node_serves_when_one_is_gone() {
    let mut nodes = [service(Limits::default()).await, service(Limits::default()).await];
    let client = client(filter::Ask::Current, &[&nodes[0], &nodes[1]]).await;
    let mut messages = subscribe(&client).await;
    let filter = Arc::clone(client.handle.filter().unwrap());
    let serving = filter.nodes()[0].1.peer;
    let left = usize::from(nodes[0].handle.peer_id() == serving);
    soon("the shutdown", nodes[1 - left].handle.shutdown()).await;
    soon("another node", async {
        while filter.nodes().first().is_none_or(|(_, node)| node.peer == serving) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let publisher = publisher(&mut nodes[left]).await;
    let data = publish(&publisher, "hello").await;
    assert_eq!(next(&mut messages).await.data, data);
}

async fn ask(client: &Node, service: &Node, request: &Request) -> Response {
    let asked = client.handle.ask(target(service), Protocol::FilterSubscribe, request.encode());
    Response::decode(&soon("an answer", asked).await.unwrap()).unwrap()
}

#[tokio::test]
async fn h77_what_is_too_much_is_answered_with_429() {
    let service = service(Limits::default()).await;
    let client = Node::start(config(vec![])).await;
    let mut request = Request {
        id: "1".to_owned(),
        operation: Operation::Subscribe,
        pubsub_topic: Some(topic().to_string()),
        content_topics: content(),
    };
    let mut codes = Vec::new();
    for n in 0..40 {
        request.operation = if n % 2 == 0 { Operation::Subscribe } else { Operation::UnsubscribeAll };
        codes.push(ask(&client, &service, &request).await.status.code());
    }
    assert_eq!(codes, [vec![200; 30], vec![429; 10]].concat());
    for n in 0..40 {
        let request = legacy_request(&n.to_string(), n % 2 == 0, None);
        soon("a request", client.handle.tell(target(&service), Protocol::FilterV1, request)).await.unwrap();
    }
    counted("the refusals", || troubles(&service, Trouble::OverRate), 10).await;
    assert_eq!(troubles(&service, Trouble::OverRate), 10);
}

#[tokio::test]
async fn h77_who_refuses_pushes_is_counted_and_holds_up_nobody() {
    let mut service = service(Limits::default()).await;
    let publisher = publisher(&mut service).await;
    let refuser = Node::start(Config { topics: vec![], ..config(vec![]) }).await;
    let request = Request {
        id: "1".to_owned(),
        operation: Operation::Subscribe,
        pubsub_topic: Some(topic().to_string()),
        content_topics: content(),
    };
    assert_eq!(ask(&refuser, &service, &request).await.status, Status::Ok);
    let client = client(filter::Ask::Current, &[&service]).await;
    let mut messages = subscribe(&client).await;
    let data = publish(&publisher, "hello").await;
    assert_eq!(next(&mut messages).await.data, data);
    counted("the failure", || troubles(&service, Trouble::Dial), 1).await;
}

/// Two kilobytes a second get through, and a hundred are published.
#[tokio::test]
async fn f24_a_subscriber_that_reads_slowly_has_its_own_queue_and_holds_up_nobody() {
    const MESSAGES: usize = 2_500;
    let mut service = service(Limits::default()).await;
    let publisher = publisher(&mut service).await;
    let link = link(&service, Line { bytes_per_sec: Some(2_000), ..short() }).await;
    let slow = client_of(filter::Ask::Current, vec![over(&link).with_p2p(service.handle.peer_id()).unwrap()]).await;
    let _slow_messages = subscribe(&slow).await;
    let client = client(filter::Ask::Current, &[&service]).await;
    let mut messages = subscribe(&client).await;
    for first in (0..MESSAGES).step_by(100) {
        let mut sent = BTreeSet::new();
        for n in first..first + 100 {
            sent.insert(publish(&publisher, &format!("{n} {}", "x".repeat(3_000))).await);
        }
        while !sent.is_empty() {
            assert!(sent.remove(&next(&mut messages).await.data), "each once");
        }
    }
    let counters = service.handle.counters();
    let taken = slow.handle.counters().filter.taken.load(Relaxed);
    let left_out = troubles(&service, Trouble::Shed);
    assert!(left_out > 0 && taken < MESSAGES as u64, "{left_out} left out, {taken} taken");
    assert_eq!(client.handle.counters().filter.taken.load(Relaxed), MESSAGES as u64);
    assert_eq!(counters.filter.messages.load(Relaxed), MESSAGES as u64);
}
