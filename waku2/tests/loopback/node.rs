//! A node under test, and waiting for what it tells.

use std::{
    future::Future,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle, time};
use waku2::{
    ClusterId, Config, ContentTopic, Event, Handle, Meta, Multiaddr, PeerId, PubsubTopic, Received, Shard, WakuMessage,
    run::{self, StartError},
};

/// Nothing here takes nearly as long, even on a busy machine: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// What waits for a test: more than the largest burst.
const EVENTS: usize = 4_096;

pub struct Node {
    pub handle: Handle,
    pub task: JoinHandle<()>,
    pub events: mpsc::Receiver<Event>,
}

/// Waits, and fails when it takes too long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub fn topic() -> PubsubTopic {
    Shard { cluster: ClusterId(1), index: 1 }.into()
}

/// A key of its own for each node of the test program.
pub fn key() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut key = [0x11; 32];
    key[24..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    key
}

/// A node of cluster 1 on [`topic`], on a free port of 127.0.0.1.
pub fn config(static_peers: Vec<Multiaddr>) -> Config {
    Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        cluster: ClusterId(1),
        topics: vec![topic()],
        static_peers,
        ..Config::new(key())
    }
}

pub fn message(payload: impl Into<Bytes>) -> WakuMessage {
    WakuMessage {
        payload: payload.into(),
        content_topic: ContentTopic::from("/causeway/1/test/bytes"),
        version: 0,
        timestamp: Some(1_700_000_000_123_456_789),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: true,
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Node {
    pub async fn start(config: Config) -> Self {
        Self::try_start(config).await.unwrap()
    }

    pub async fn try_start(config: Config) -> Result<Self, StartError> {
        Self::with_queue(config, EVENTS).await
    }

    pub async fn with_queue(config: Config, events: usize) -> Result<Self, StartError> {
        let (sender, events) = mpsc::channel(events);
        let (handle, task) = run::start(config, sender).await?;
        Ok(Self { handle, task, events })
    }

    pub fn addr(&self) -> Multiaddr {
        self.handle.addresses()[0].clone()
    }

    /// The first event, from now on, that `pick` takes.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        soon(what, async {
            loop {
                let event = self.events.recv().await.expect("a running node");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        })
        .await
    }

    /// Waits until `expected` peers would be sent a message on [`topic`].
    pub async fn relay_peers(&mut self, expected: usize) {
        self.wait(&format!("{expected} relay peers"), |event| {
            matches!(event, Event::RelayPeers { topic: of, count } if of == topic() && count == expected).then_some(())
        })
        .await;
    }

    pub async fn received(&mut self) -> Arc<Received> {
        self.wait("a message", |event| match event {
            Event::Message(received) => Some(received),
            _ => None,
        })
        .await
    }

    pub async fn peer_connected(&mut self) -> PeerId {
        self.wait("a peer", |event| match event {
            Event::PeerConnected(info) => Some(info.peer),
            _ => None,
        })
        .await
    }

    /// Waits until this peer has been welcomed.
    pub async fn meets(&mut self, peer: PeerId) {
        let met = |event| matches!(event, Event::PeerConnected(info) if info.peer == peer).then_some(());
        self.wait("the peer", met).await;
    }

    pub async fn peer_gone(&mut self) -> PeerId {
        self.wait("the end of a peer", |event| match event {
            Event::PeerDisconnected { peer } => Some(peer),
            _ => None,
        })
        .await
    }
}
