//! Requests and answers between two nodes, and what hostile clients do to them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use devp2p::Now;
use futures::{
    future::{BoxFuture, FutureExt},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::{Semaphore, mpsc};
use waku2::{
    Config, PeerId,
    service::{Answer, AskError, OpenError, Protocol, Services, Target, frame::FrameError, serve::PEER_SLOTS},
};

use crate::node::{Node, config, soon};

/// Answers with what was asked, once a permit is there, and tells what it was.
struct Echo {
    permits: Semaphore,
    heard: mpsc::Sender<(PeerId, Bytes)>,
}

impl Answer for Echo {
    fn answer(&self, peer: PeerId, request: Bytes, _: Now) -> BoxFuture<'_, Option<Bytes>> {
        async move {
            self.heard.send((peer, request.clone())).await.unwrap();
            self.permits.acquire().await.unwrap().forget();
            Some(request).filter(|request| *request != b"silence"[..])
        }
        .boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        Some(Bytes::from_static(b"too many"))
    }
}

struct Served {
    node: Node,
    echo: Arc<Echo>,
    heard: mpsc::Receiver<(PeerId, Bytes)>,
}

impl Served {
    /// A node that echoes in these protocols, as often as `permits` say.
    async fn start(protocols: &[Protocol], limits: &[&str], permits: usize) -> Self {
        let (heard, told) = mpsc::channel(4_096);
        let echo = Arc::new(Echo { permits: Semaphore::new(permits), heard });
        let answers: BTreeMap<Protocol, Arc<dyn Answer>> =
            protocols.iter().map(|protocol| (*protocol, Arc::clone(&echo) as Arc<dyn Answer>)).collect();
        let rate_limits = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        let services = Services { answers, rate_limits, ..Services::default() };
        let node = Node::start(Config { services, ..config(vec![]) }).await;
        Self { node, echo, heard: told }
    }

    fn target(&self) -> Target {
        self.node.addr().try_into().unwrap()
    }

    fn refused(&self, protocol: Protocol) -> u64 {
        self.node.handle.counters().services[protocol.index()].refused.load(Relaxed)
    }
}

async fn ask(client: &Node, target: Target, text: &'static [u8]) -> Result<Bytes, AskError> {
    soon("an answer", client.handle.ask(target, Protocol::LightpushV3, Bytes::from_static(text))).await
}

#[tokio::test]
async fn a_request_is_answered_by_a_peer_that_is_called_for_it() {
    let mut served = Served::start(&[Protocol::LightpushV3], &[], 9).await;
    let client = Node::start(Config { listen: vec![], ..config(vec![]) }).await;
    assert_eq!(ask(&client, served.target(), b"hello").await.unwrap(), b"hello"[..]);
    let asker = client.handle.peer_id();
    assert_eq!(served.heard.recv().await.unwrap(), (asker, Bytes::from_static(b"hello")));
    // Connected by now: its name is enough, and an empty frame is one.
    let named = Target::from(served.node.handle.peer_id());
    assert_eq!(ask(&client, named.clone(), b"").await.unwrap(), b""[..]);
    assert!(matches!(ask(&client, named, b"silence").await, Err(AskError::Frame(FrameError::Cut))));
    let counters = served.node.handle.counters();
    let counters = &counters.services[Protocol::LightpushV3.index()];
    assert_eq!((counters.served.load(Relaxed), counters.bytes_in.load(Relaxed)), (3, 12));
}

#[tokio::test]
async fn identify_lists_what_is_served() {
    let served = Served::start(&[Protocol::LightpushV3, Protocol::StoreV3], &[], 9).await;
    let mut client = Node::start(config(vec![served.node.addr()])).await;
    client.peer_connected().await;
    let of_lightpush = || async { client.handle.candidates(&[Protocol::LightpushV3], Some(1)).await };
    let found = soon("identify", async {
        loop {
            let found = of_lightpush().await;
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(found.await, [Target::from(served.node.handle.peer_id())]);
    let peers = client.handle.peers().await;
    let is_told = |protocol: &Protocol| peers[0].protocols.iter().any(|name| name == protocol.id());
    let told: Vec<Protocol> = Protocol::ALL.into_iter().filter(is_told).collect();
    assert_eq!(told, [Protocol::StoreV3, Protocol::LightpushV3]);
    assert!(client.handle.candidates(&[Protocol::LightpushV3], Some(7)).await.is_empty(), "another shard");
}

#[tokio::test]
async fn the_first_protocol_that_is_served_is_spoken() {
    let served = Served::start(&[Protocol::LightpushLegacy], &[], 9).await;
    let client = Node::start(config(vec![])).await;
    let requests = [Protocol::LightpushV3, Protocol::LightpushLegacy].map(|protocol| (protocol, protocol.id().into()));
    let answer = soon("an answer", client.handle.ask_one_of(served.target(), &requests)).await.unwrap();
    assert_eq!(answer, (Protocol::LightpushLegacy, Bytes::from(Protocol::LightpushLegacy.id())));
}

#[tokio::test]
async fn what_fails_has_its_error() {
    let served = Served::start(&[Protocol::StoreV3], &[], 0).await;
    let client = Node::start(config(vec![])).await;
    let nobody = ask(&client, PeerId::random().into(), b"x").await.unwrap_err();
    assert!(matches!(nobody, AskError::Open(OpenError::NotConnected)) && nobody.is_dial_failure());
    let stranger = Target { peer: PeerId::random(), addrs: served.target().addrs };
    let not_there = ask(&client, stranger, b"x").await.unwrap_err();
    assert!(matches!(not_there, AskError::Open(OpenError::Dial(_))), "{not_there}");
    let unsupported = ask(&client, served.target(), b"x").await.unwrap_err();
    assert!(matches!(unsupported, AskError::Open(OpenError::Unsupported)), "{unsupported}");
    let (handle, target) = (client.handle.clone(), served.target());
    soon("the shutdown", client.handle.shutdown()).await;
    let stopped = handle.ask(target, Protocol::StoreV3, Bytes::new()).await;
    assert!(matches!(stopped, Err(AskError::Stopped)));
}

#[tokio::test]
async fn h76_a_peer_has_so_many_requests_at_a_time_and_others_have_theirs() {
    let mut served = Served::start(&[Protocol::LightpushV3], &[], 0).await;
    let greedy = Node::start(config(vec![])).await;
    let mut open: FuturesUnordered<_> = (0..PEER_SLOTS).map(|_| ask(&greedy, served.target(), b"wait")).collect();
    let all_read = async {
        for _ in 0..PEER_SLOTS {
            served.heard.recv().await.unwrap();
        }
    };
    tokio::select! {
        () = soon("the requests", all_read) => {}
        answer = open.next() => panic!("{answer:?}"),
    }
    assert_eq!(ask(&greedy, served.target(), b"more").await.unwrap(), b"too many"[..]);
    assert_eq!(served.refused(Protocol::LightpushV3), 1);
    served.echo.permits.add_permits(PEER_SLOTS + 2);
    while let Some(answer) = open.next().await {
        assert_eq!(answer.unwrap(), b"wait"[..]);
    }
    let other = Node::start(config(vec![])).await;
    assert_eq!(ask(&other, served.target(), b"mine").await.unwrap(), b"mine"[..]);
    assert_eq!(ask(&greedy, served.target(), b"again").await.unwrap(), b"again"[..], "slots are given back");
}

#[tokio::test]
async fn h78_what_is_over_the_rate_limit_is_refused_unread() {
    let mut served = Served::start(&[Protocol::LightpushV3, Protocol::StoreV3], &["lightpush:20/1h"], 2_000).await;
    let client = Node::start(config(vec![])).await;
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..1_000 {
        match ask(&client, served.target(), b"push").await.unwrap() {
            answer if answer == b"push"[..] => answered += 1,
            answer => {
                assert_eq!(answer, b"too many"[..]);
                refused += 1;
            }
        }
    }
    assert_eq!((answered, refused), (20, 980), "all of them were answered");
    assert_eq!(served.refused(Protocol::LightpushV3), 980);
    let store = client.handle.ask(served.target(), Protocol::StoreV3, Bytes::from_static(b"query"));
    assert_eq!(soon("an answer", store).await.unwrap(), b"query"[..], "no limit");
    assert_eq!(std::iter::from_fn(|| served.heard.try_recv().ok()).count(), 21);
}

#[tokio::test]
async fn pushes_beyond_what_is_read_at_a_time_wait() {
    let mut served = Served::start(&[Protocol::FilterPush], &[], 5_000).await;
    let client = Node::start(config(vec![])).await;
    for _ in 0..20 {
        let pushes =
            (0..60).map(|_| client.handle.tell(served.target(), Protocol::FilterPush, Bytes::from_static(b"silence")));
        let told = soon("the pushes", futures::future::join_all(pushes)).await;
        assert!(told.iter().all(Result::is_ok), "{told:?}");
    }
    for _ in 0..20 * 60 {
        soon("a push", served.heard.recv()).await.unwrap();
    }
}
