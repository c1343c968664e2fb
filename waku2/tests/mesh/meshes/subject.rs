//! A node of the network, with or without a planted fault.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};
use waku2::{
    Config, Event, Handle, Multiaddr, PeerId, PublishError, Published, PubsubTopic, Received, Shard, WakuMessage,
    health::TopicHealth,
    meter::Budget,
    run::{self, StartError},
    validate::Policy,
};

use super::{
    Planted,
    observer::{Life, Shared},
    plan::{NodePlan, OTHERS, OURS, SHARDS},
};

/// Events of a node that wait for the observer, which is quick: more than a network publishes.
const EVENTS: usize = 16_384;

/// From here on each node has a shard that nobody else relays. Joining one makes a node look at all its meshes, which it else does every
/// ten seconds.
const OWN_SHARDS: u16 = 500;

pub(super) struct Subject {
    pub(super) life: Life,
    handle: Handle,
    task: JoinHandle<()>,
    planted: Option<Planted>,
    number: usize,
}

impl Subject {
    /// Starts the node of a plan on any port. `number` is its place in the plan, and decides its identity.
    pub(super) async fn start(
        number: usize,
        plan: &NodePlan,
        static_peers: Vec<Multiaddr>,
        planted: Option<Planted>,
        observer: &Arc<Shared>,
    ) -> Result<Self, StartError> {
        let topics: Vec<PubsubTopic> = plan.shards.iter().map(|shard| topic(plan, *shard)).collect();
        let life = observer.look().begins(number, plan.cluster == OURS, topics.iter().cloned());
        let mut config = Config {
            listen: vec![listen(plan.ws)],
            cluster: plan.cluster,
            topics,
            static_peers,
            ..Config::new(key(number, planted, life))
        };
        plant(&mut config, planted);
        let (sender, events) = mpsc::channel(EVENTS);
        let (handle, task) = run::start(config, sender).await?;
        observer.look().is(life, handle.peer_id());
        tokio::spawn(listen_to(life, events, planted, Arc::clone(observer)));
        Ok(Self { life, handle, task, planted, number })
    }

    pub(super) fn peer_id(&self) -> PeerId {
        self.handle.peer_id()
    }

    pub(super) fn port(&self) -> u16 {
        let told = self.handle.addresses();
        let port = told.iter().find_map(|addr| addr.to_string().split('/').nth(4)?.parse().ok());
        port.expect("a node that listens has a port")
    }

    pub(super) async fn publish(&self, topic: PubsubTopic, data: Bytes) -> Result<Published, PublishError> {
        if self.planted == Some(Planted::Invents) {
            let invented = super::posting::message(0, data.len());
            // What comes of it is others' to tell.
            let _ = self.handle.publish(topic.clone(), invented.encode()).await;
        }
        let result = self.handle.publish(topic, data).await;
        match self.planted {
            Some(Planted::Boasts) => result.map(|said| Published { peers: said.peers + 1, ..said }),
            _ => result,
        }
    }

    /// Relays a topic from now on, or no longer.
    pub(super) async fn relay(&self, topic: PubsubTopic, relays: bool) {
        if relays {
            self.handle.subscribe(topic).await.expect("a shard of our own network");
        } else if self.planted != Some(Planted::StaysOnShards) {
            assert!(self.handle.unsubscribe(topic).await, "it was relayed");
        }
    }

    /// How well each topic is joined to its mesh, as of now.
    pub(super) async fn health(&self) -> Vec<TopicHealth> {
        let topic = PubsubTopic::from(Shard { cluster: OURS, index: OWN_SHARDS + self.number as u16 });
        self.handle.subscribe(topic.clone()).await.expect("a shard of our own network");
        self.handle.unsubscribe(topic.clone()).await;
        let mut health = self.handle.health();
        if self.planted == Some(Planted::LosesMesh) {
            health.iter_mut().for_each(|health| health.mesh_peers = 0);
        }
        health
    }

    /// What was received, and what was judged.
    pub(super) fn judged(&self) -> (u64, u64) {
        let counters = self.handle.counters();
        let judged = counters.accepted.load(Relaxed) + counters.ignored_total() + counters.rejected_total();
        let more = u64::from(self.planted == Some(Planted::Miscounts));
        (counters.received.load(Relaxed) + more, judged)
    }

    /// Peers that were left for what they did.
    pub(super) fn left(&self) -> u64 {
        self.handle.counters().refused_peers.load(Relaxed)
    }

    pub(super) fn unsent(&self) -> u64 {
        self.handle.counters().unsent.load(Relaxed)
    }

    /// Events that the observer has not heard.
    pub(super) fn unheard(&self) -> u64 {
        self.handle.counters().events_shed.load(Relaxed)
    }

    pub(super) async fn stop(&mut self, orderly: bool) {
        if orderly {
            self.handle.shutdown().await;
        }
        self.task.abort();
        // An error says that it was aborted.
        let _ = (&mut self.task).await;
    }
}

fn listen(ws: bool) -> Multiaddr {
    let text = if ws { "/ip4/127.0.0.1/tcp/0/ws" } else { "/ip4/127.0.0.1/tcp/0" };
    text.parse().expect("an address")
}

pub(super) fn topic(plan: &NodePlan, shard: u16) -> PubsubTopic {
    Shard { cluster: plan.cluster, index: shard }.into()
}

/// The same for every life of a node.
fn key(number: usize, planted: Option<Planted>, life: Life) -> [u8; 32] {
    let mut key = [0x22; 32];
    let number = if planted == Some(Planted::ComesAsAnother) { life + 1_000 } else { number };
    key[24..].copy_from_slice(&(number as u64).to_be_bytes());
    key
}

/// Faults that are settings of a node like any others.
fn plant(config: &mut Config, planted: Option<Planted>) {
    match planted {
        Some(Planted::PassesNothing) => {
            config.policy = Policy { free_bandwidth: Some(Budget::NONE), ..Policy::default() };
        }
        Some(Planted::NamesOtherCluster) => (config.cluster, config.topics) = (OTHERS, Vec::new()),
        Some(Planted::HidesCluster) if config.cluster == OTHERS => {
            let topics = SHARDS.map(|index| Shard { cluster: OURS, index }.into());
            (config.cluster, config.topics) = (OURS, topics.collect());
        }
        _ => {}
    }
}

/// Passes on what a node tells, until it ends.
async fn listen_to(life: Life, mut events: mpsc::Receiver<Event>, planted: Option<Planted>, observer: Arc<Shared>) {
    while let Some(mut event) = events.recv().await {
        if let (Some(Planted::ChangesBytes), Event::Message(received)) = (planted, &event) {
            event = Event::Message(Arc::new(changed(received)));
        }
        observer.heard(life, &event);
        if matches!((planted, &event), (Some(Planted::DeliversTwice), Event::Message(_))) {
            observer.heard(life, &event);
        }
    }
}

/// The last byte is another one.
fn changed(received: &Received) -> Received {
    let mut data = received.data.to_vec();
    if let Some(last) = data.last_mut() {
        *last ^= 1;
    }
    let message = WakuMessage::decode(&data).unwrap_or_else(|_| received.message.clone());
    Received { message, data: data.into(), ..received.clone() }
}
