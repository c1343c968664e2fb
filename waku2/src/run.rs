//! The shell: one task that polls the swarm, takes commands and tells events.
//!
//! Here it starts, turns and ends; `commands` is what it is asked, `events` what the swarm tells, `proofs` what waits for its proof, `room` how
//! the connections are shared out.
//! What it decides is elsewhere: [`crate::validate`] on messages, [`crate::peers`] on peers, [`crate::redial`] on calls.

mod commands;
mod events;
mod known;
mod proofs;
mod room;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, OnceLock, PoisonError, RwLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use devp2p::clock::{Now, now};
use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    identity::{Keypair, secp256k1},
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};
use tracing::{debug, info, warn};

use crate::{
    announce::Announce,
    barrier::Barriers,
    behaviour::{self, Behaviour},
    dial::{self, Static},
    filter::Filter,
    handle::{COMMANDS, Command, Config, Counters, Event, Handle, Shared, Witness},
    health::{self, TopicHealth},
    lightpush,
    listen::Listeners,
    metadata::Metadata,
    peers::PeerBook,
    relay::{self, Gossip, Relay, RelayError, Repeated, gross::Gross},
    rln::past::Past,
    seek::{SeekError, Seeker},
    service::{Services, serve::Server, streams},
    shard::Shard,
    subscriptions::{SubscribeError, Subscriptions},
    topic::PubsubTopic,
    transport::TransportError,
    validate::Validator,
};

/// How often calls are made, counts of relay peers told again and scores looked at: as gossip's own heartbeat, which it also keeps going.
/// libp2p's gossip does not wake by itself for a second heartbeat when nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// How long closing the connections may take at the end.
const CLOSING: Duration = Duration::from_millis(750);

/// How long after a publication the connections stay open at the end, until peers show that it has reached them: a program that
/// publishes once and stops should have published.
const LINGER: Duration = Duration::from_secs(3);

/// How long the system may take to tell the addresses of a listener it has bound.
const LISTENING: Duration = Duration::from_secs(5);

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not a secret of the curve: zero, or too large.
    #[error("the key is no secp256k1 secret")]
    BadKey,
    /// A topic that can't be relayed.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// Gossip refuses its settings.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// No connections can be made.
    #[error(transparent)]
    NoTransport(#[from] TransportError),
    /// The system refuses an address: in use, not ours, not allowed.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: Multiaddr,
        /// The system's word.
        source: io::Error,
    },
    /// Only TCP and WebSocket over IPv4 and IPv6 are spoken here.
    #[error("cannot listen on {addr}: neither a TCP nor a WebSocket address, or a secure one without a certificate")]
    Transport {
        /// Which.
        addr: Multiaddr,
    },
    /// An address to announce that names another node.
    #[error("cannot announce {addr}: it names another node than this one, {own}")]
    Announce {
        /// Which.
        addr: Multiaddr,
        /// Who we are.
        own: PeerId,
    },
    /// No peers can be sought as configured.
    #[error("cannot look for peers: {0}")]
    Seek(#[from] SeekError),
    /// A listener stayed without an address.
    #[error("no interface to listen on within {} s", LISTENING.as_secs())]
    NoAddress,
}

/// Starts a node. When it returns, every listener is bound and [`Handle::addresses`] is complete; static peers are being
/// called. Events go to `events` without waiting: see [`Event`]. The task ends after [`Handle::shutdown`], or when all
/// handles are dropped. Cancelling `start` leaves nothing behind.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, events: mpsc::Sender<Event>) -> Result<(Handle, JoinHandle<()>), StartError> {
    let (handle, node) = build(config, events)?;
    // It is moved a few times, and many may start in one task.
    let mut node = Box::new(node);
    time::timeout(LISTENING, node.listening()).await.map_err(|_| StartError::NoAddress)?;
    let announced = node.announce.of(&node.listeners.bound());
    let shards = node.shards();
    node.seeker.start(&announced, &shards).await?;
    if let Some(discv5) = node.seeker.discv5() {
        handle.shared.discv5.get_or_init(|| discv5.clone());
    }
    let task = tokio::spawn(node.run());
    Ok((handle, task))
}

fn build(config: Config, events: mpsc::Sender<Event>) -> Result<(Handle, Node), StartError> {
    let key = keypair(config.key)?;
    let peer_id = key.public().to_peer_id();
    let counters = Arc::<Counters>::default();
    let (relay, gossip, subscriptions) = joined(&config, &counters.gross)?;
    if let Some(addr) = config.announce.foreign(peer_id) {
        return Err(StartError::Announce { addr: addr.clone(), own: peer_id });
    }
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let seek = config.seek.clone();
    let seeker =
        Seeker::new(seek, &config.key, peer_id, config.cluster, config.limits.connections, now(), system_rng())?;
    let shared = Shared {
        peer_id,
        addresses: Arc::default(),
        health: Arc::default(),
        counters: Arc::clone(&counters),
        clock_skew: seeker.clock_skew(),
        discv5: OnceLock::new(),
        nodes: config.services.nodes.clone(),
        lightpush: config.services.lightpush,
        past: config.policy.rln.as_ref().map(Past::new),
        attach: config.policy.attach(),
        filter: OnceLock::new(),
        lines: Arc::default(),
        served: OnceLock::new(),
    };
    let handle = Handle { commands, shared: Arc::new(shared) };
    let (server, filter) = server(&config.services, &handle);
    if let Some(filter) = &filter {
        handle.shared.filter.get_or_init(|| Arc::clone(filter));
    }
    handle.shared.served.get_or_init(|| server.served(&config.services.rate_limits));
    let services = streams::Behaviour::new(server, Arc::clone(&handle.shared.lines));
    let wire = Arc::clone(&counters.wire);
    let mut swarm = behaviour::swarm(&key, &config, gossip, services, wire)?;
    let listeners = Listeners::bind(&mut swarm, config.listen)?;
    let began = now().instant;
    let node = Node {
        swarm,
        relay,
        subscriptions,
        proofs: config.policy.rln.as_ref().map(proofs::Proofs::new),
        validator: Validator::new(config.policy),
        peers: PeerBook::new(config.cluster),
        statics: dial::statics(config.static_peers, began),
        told_counts: HashMap::new(),
        listeners,
        announce: config.announce,
        addresses: Arc::clone(&handle.shared.addresses),
        health: Arc::clone(&handle.shared.health),
        health_at: began,
        counters: handle.counters(),
        inbox,
        events,
        last_published: None,
        barriers: Barriers::default(),
        asked_calls: known::AskedCalls::default(),
        seeker,
        witnesses: told_first(filter, config.services.witnesses),
        rng: system_rng(),
    };
    Ok((handle, node))
}

/// What is served, by those who were given and those that need the node itself.
fn server(services: &Services, handle: &Handle) -> (Server, Option<Arc<Filter>>) {
    let mut answers = services.answers.clone();
    let filter = services.filter.map(|config| {
        let filter = Filter::start(config, &services.rate_limits, handle);
        answers.extend(filter.answers(config));
        filter
    });
    if let Some(config) = services.lightpush {
        answers.extend(lightpush::serve::answers(config, handle));
    }
    (Server::new(answers, &services.rate_limits, &handle.shared.counters.services), filter)
}

/// Those who are told of every message, filter before others.
fn told_first(filter: Option<Arc<Filter>>, others: Vec<Arc<dyn Witness>>) -> Vec<Arc<dyn Witness>> {
    filter.into_iter().map(|filter| filter as Arc<dyn Witness>).chain(others).collect()
}

/// Gossip that is on all topics of the start, and counts what it carries.
fn joined(config: &Config, gross: &Gross) -> Result<(Relay, Gossip, Subscriptions), StartError> {
    let (mut relay, gossip) = Relay::new(config.cluster, config.policy.max_rpc_bytes())?;
    let mut gossip = gross.watch(gossip);
    let mut subscriptions = Subscriptions::new(config.cluster);
    for topic in &config.topics {
        if subscriptions.add(topic)? {
            relay.join(&mut gossip, topic, now().instant)?;
        }
    }
    Ok((relay, gossip, subscriptions))
}

fn keypair(mut secret: [u8; 32]) -> Result<Keypair, StartError> {
    let secret = secp256k1::SecretKey::try_from_bytes(&mut secret).map_err(|_| StartError::BadKey)?;
    Ok(secp256k1::Keypair::from(secret).into())
}

/// For the chance in waits and choices only; without the system's randomness these are still right.
pub(crate) fn system_rng() -> StdRng {
    StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap_or_else(|_| StdRng::seed_from_u64(0))
}

struct Node {
    swarm: Swarm<Behaviour>,
    relay: Relay,
    subscriptions: Subscriptions,
    validator: Validator,
    /// Where proofs are verified.
    proofs: Option<proofs::Proofs>,
    health: Arc<RwLock<Vec<TopicHealth>>>,
    /// When the health of topics was looked at last.
    health_at: Instant,
    peers: PeerBook,
    statics: Vec<Static>,
    /// The last count of each topic that somebody took.
    told_counts: HashMap<PubsubTopic, usize>,
    listeners: Listeners,
    announce: Announce,
    addresses: Arc<RwLock<Vec<Multiaddr>>>,
    counters: Arc<Counters>,
    inbox: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    last_published: Option<Instant>,
    barriers: Barriers,
    asked_calls: known::AskedCalls,
    seeker: Seeker,
    witnesses: Vec<Arc<dyn Witness>>,
    rng: StdRng,
}

impl Node {
    /// Waits for the addresses of all listeners.
    async fn listening(&mut self) {
        while !self.listeners.all_known() {
            let event = self.swarm.select_next_some().await;
            self.on_swarm(event);
        }
        // A node may announce addresses without a listener of its own.
        self.show_addresses();
        self.look_at_health();
        // A listener on all interfaces tells them one after the other, without a pause.
        while let Some(event) = self.swarm.select_next_some().now_or_never() {
            self.on_swarm(event);
        }
    }

    async fn run(mut self: Box<Self>) {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.inbox.recv() => match command {
                    Some(Command::Shutdown { done }) => break Some(done),
                    Some(Command::Publish(publication)) => self.publish(publication),
                    // A caller that stopped waiting needs no answer, here as below.
                    Some(Command::MayProve { topic, data, own, done }) => { let _ = done.send(self.may_prove(&topic, &data, own)); }
                    Some(Command::Subscribe { topic, done }) => { let _ = done.send(self.subscribe(&topic)); }
                    Some(Command::Unsubscribe { topic, done }) => { let _ = done.send(self.unsubscribe(&topic)); }
                    Some(Command::Open { target, open }) => self.swarm.behaviour_mut().services.open(target, open),
                    Some(Command::Settle { done }) => self.settle(done),
                    Some(Command::Peers { done }) => { let _ = done.send(self.told_peers()); }
                    Some(Command::Known { done }) => { let _ = done.send(self.known_peers()); }
                    Some(Command::Connect { addr, done }) => self.call(addr, done),
                    None => break None,
                },
                news = proofs::Proofs::news(&mut self.proofs, &self.counters) => self.on_proofs(news),
                (source, node) = self.seeker.found() => self.seeker.suggest(now(), source, node),
                _ = ticks.tick() => self.tick(),
            }
        };
        self.close().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Ends all connections, within [`LINGER`] and [`CLOSING`], and frees the listeners.
    async fn close(mut self) {
        self.seeker.stop(now()).await;
        if let Some(until) = self.last_published.map(|at| at + LINGER).filter(|until| *until > now().instant) {
            let (done, mut settled) = oneshot::channel();
            self.settle(done);
            let arrived = async {
                loop {
                    tokio::select! {
                        _ = &mut settled => break,
                        event = self.swarm.select_next_some() => self.on_swarm(event),
                    }
                }
            };
            if time::timeout_at(time::Instant::from_std(until), arrived).await.is_err() {
                debug!("stopping without word that what was published has arrived");
            }
        }
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            self.disconnect(&peer);
        }
        let all_gone = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if time::timeout(CLOSING, all_gone).await.is_err() {
            debug!("connections cut at shutdown");
        }
    }

    /// The shards among our topics.
    fn shards(&self) -> Vec<Shard> {
        let Metadata { cluster, shards } = self.subscriptions.metadata();
        cluster.into_iter().flat_map(|cluster| shards.iter().map(move |&index| Shard { cluster, index })).collect()
    }

    fn look_at_health(&mut self) {
        self.health_at = now().instant;
        let health = self.relay.health(&self.swarm.behaviour().gossip);
        *self.health.write().unwrap_or_else(PoisonError::into_inner) = health;
    }

    fn tick(&mut self) {
        let at = now().instant;
        let since = at.saturating_duration_since(self.health_at);
        if health::is_due(&self.health.read().unwrap_or_else(PoisonError::into_inner), since) {
            self.look_at_health();
        }
        for peer in &mut self.statics {
            peer.call_if_due(&mut self.swarm, &self.peers, at, &mut self.rng);
        }
        let relaying = self.relaying();
        self.make_room(&relaying);
        self.seeker.tick(now(), &mut self.swarm, &self.peers, &relaying);
        self.tell_counts();
        self.publish_again(now());
        self.peers.forgive();
        let gossip = &self.swarm.behaviour().gossip;
        let graylisted: Vec<PeerId> =
            self.peers.iter().map(|info| info.peer).filter(|peer| relay::graylisted(gossip, peer)).collect();
        for peer in graylisted {
            self.leave(&peer, &"its relay score is too low");
        }
    }

    /// What those it went to may not have got goes to those that have come since.
    fn publish_again(&mut self, now: Now) {
        let (validator, gossip) = (&self.validator, &mut self.swarm.behaviour_mut().gossip);
        let is_valid = |topic: &_, data: &_| validator.may_repeat(topic, data, now);
        let Repeated { messages, lost } = self.relay.publish_again(gossip, now.instant, is_valid);
        self.counters.repeated.fetch_add(messages, Relaxed);
        if messages > 0 {
            info!(messages, "sent again what went to peers that are gone");
        }
        if lost > 0 {
            warn!(
                messages = lost,
                "may have reached nobody: the peers they went to are gone, and no other came in time"
            );
        }
    }

    /// Tells the counts that changed. What finds the queue full is told at the next tick.
    fn tell_counts(&mut self) {
        let mut counts = self.relay.counts(&self.swarm.behaviour().gossip);
        let left = self.told_counts.keys().filter(|topic| !self.subscriptions.contains(topic));
        counts.extend(left.map(|topic| (topic.clone(), 0)));
        for (topic, count) in counts {
            let told = self.told_counts.entry(topic.clone()).or_default();
            if *told != count && self.events.try_send(Event::RelayPeers { topic, count }).is_ok() {
                *told = count;
            }
        }
        self.told_counts.retain(|topic, told| *told > 0 || self.subscriptions.contains(topic));
    }

    fn tell(&self, event: Event) {
        // Where nobody listens any more, nothing is lost.
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.counters.events_shed.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::gossipsub::{self, MessageId};

    use super::*;
    use crate::{ClusterId, topic::PubsubTopic};

    /// A node of cluster 1 on shard 1 that neither listens nor calls.
    fn node() -> (Handle, Node, mpsc::Receiver<Event>) {
        let topics = vec!["/waku/2/rs/1/1".parse().unwrap()];
        let (sender, events) = mpsc::channel(8);
        let config = Config { cluster: ClusterId(1), topics, ..Config::new([1; 32]) };
        let (handle, node) = build(config, sender).unwrap();
        (handle, node, events)
    }

    #[tokio::test]
    async fn what_comes_on_a_topic_that_was_just_left_is_not_counted() {
        let (handle, mut node, _events) = node();
        let topic: PubsubTopic = "/waku/2/rs/1/1".parse().unwrap();
        let message = || gossipsub::Message {
            source: None,
            data: vec![0x0a, 0x00, 0x12, 0x00],
            sequence_number: None,
            topic: gossipsub::TopicHash::from_raw(topic.as_str()),
        };
        let counts = |handle: &Handle| {
            let counters = handle.counters();
            (counters.received.load(Relaxed), counters.accepted.load(Relaxed))
        };
        node.on_message(PeerId::random(), &MessageId::new(&[1]), message());
        assert_eq!(counts(&handle), (1, 1));
        assert!(node.unsubscribe(&topic));
        node.on_message(PeerId::random(), &MessageId::new(&[2]), message());
        assert_eq!(counts(&handle), (1, 1));
    }
}
