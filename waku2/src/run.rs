//! The shell: one task that polls the swarm, takes commands and tells events.
//!
//! What it decides is elsewhere: [`crate::validate`] on messages, [`crate::peers`] on peers, [`crate::redial`] on calls.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, PoisonError, RwLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::clock::now;
use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    gossipsub::{self, FailedMessages, MessageId},
    identify,
    identity::{Keypair, secp256k1},
    noise, ping,
    request_response::{Event as MetadataEvent, Message as MetadataMessage, OutboundFailure},
    swarm::SwarmEvent,
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};
use tracing::{debug, info, warn};

use crate::{
    behaviour::{self, Behaviour, BehaviourEvent},
    dial::Static,
    handle::{COMMANDS, Command, Config, Counters, Direction, Event, Handle, Received},
    hash::message_hash,
    listen::Listeners,
    metadata::{self, Metadata},
    peers::PeerBook,
    relay::{self, Relay, RelayError},
    shard::{ClusterId, Shard},
    topic::PubsubTopic,
    validate::{Policy, Verdict, validate},
};

/// How often calls are made, counts of relay peers told again and scores looked at: as gossip's own heartbeat.
const TICK: Duration = Duration::from_secs(1);

/// How long closing the connections may take at the end.
const CLOSING: Duration = Duration::from_millis(750);

/// How long after a publication the connections stay open at the end: gossipsub does not tell when its queues are empty,
/// and a program that publishes once and stops should have published.
const LINGER: Duration = Duration::from_millis(250);

/// How long the system may take to tell the addresses of a listener it has bound.
const LISTENING: Duration = Duration::from_secs(5);

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not a secret of the curve: zero, or too large.
    #[error("the key is no secp256k1 secret")]
    BadKey,
    /// A topic of another network; no peer of ours would take it.
    #[error("topic {topic} is not of cluster {}", .cluster.0)]
    ForeignTopic {
        /// Which.
        topic: PubsubTopic,
        /// [`Config::cluster`].
        cluster: ClusterId,
    },
    /// Metadata has no room for all these shards.
    #[error("{shards} shards are more than the {} bytes of metadata can tell", metadata::MAX_FRAME_BYTES)]
    TooManyShards {
        /// How many there are.
        shards: usize,
    },
    /// Gossip refuses its settings.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Noise could not make its key.
    #[error("no encryption: {0}")]
    Noise(#[from] noise::Error),
    /// The system refuses an address: in use, not ours, not allowed.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: Multiaddr,
        /// The system's word.
        source: io::Error,
    },
    /// Only TCP over IPv4 and IPv6 is spoken here.
    #[error("cannot listen on {addr}: not a TCP address")]
    Transport {
        /// Which.
        addr: Multiaddr,
    },
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
    let (handle, mut node) = build(config, events)?;
    time::timeout(LISTENING, node.listening()).await.map_err(|_| StartError::NoAddress)?;
    let task = tokio::spawn(node.run());
    Ok((handle, task))
}

fn build(config: Config, events: mpsc::Sender<Event>) -> Result<(Handle, Node), StartError> {
    let own = own_metadata(&config)?;
    let key = keypair(config.key)?;
    let peer_id = key.public().to_peer_id();
    let (relay, gossip) = Relay::new(&config.topics)?;
    let mut swarm = behaviour::swarm(key, config.agent, gossip)?;
    let listeners = Listeners::bind(&mut swarm, config.listen)?;
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let handle = Handle { commands, peer_id, addresses: Arc::default(), counters: Arc::default() };
    let began = now().instant;
    let node = Node {
        swarm,
        relay,
        own,
        policy: config.policy,
        peers: PeerBook::new(config.cluster),
        statics: config.static_peers.into_iter().map(|addr| Static::new(addr, began)).collect(),
        told_counts: HashMap::new(),
        listeners,
        addresses: Arc::clone(&handle.addresses),
        counters: Arc::clone(&handle.counters),
        inbox,
        events,
        last_published: None,
        rng: system_rng(),
    };
    Ok((handle, node))
}

fn keypair(mut secret: [u8; 32]) -> Result<Keypair, StartError> {
    let secret = secp256k1::SecretKey::try_from_bytes(&mut secret).map_err(|_| StartError::BadKey)?;
    Ok(secp256k1::Keypair::from(secret).into())
}

/// What metadata tells of this node: its cluster, and the shards among its topics. Topics that are no shards are told by
/// gossip alone.
fn own_metadata(config: &Config) -> Result<Metadata, StartError> {
    let shards: Vec<Shard> = config.topics.iter().filter_map(|topic| topic.as_str().parse().ok()).collect();
    if let Some(&foreign) = shards.iter().find(|shard| shard.cluster != config.cluster) {
        return Err(StartError::ForeignTopic { topic: foreign.into(), cluster: config.cluster });
    }
    let mut shards: Vec<u16> = shards.into_iter().map(|shard| shard.index).collect();
    shards.sort_unstable();
    shards.dedup();
    let own = Metadata { cluster: Some(config.cluster), shards };
    if own.encode().len() > metadata::MAX_FRAME_BYTES {
        return Err(StartError::TooManyShards { shards: own.shards.len() });
    }
    Ok(own)
}

/// For the chance in waits only; without the system's randomness the waits are still right.
fn system_rng() -> StdRng {
    StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap_or_else(|_| StdRng::seed_from_u64(0))
}

struct Node {
    swarm: Swarm<Behaviour>,
    relay: Relay,
    own: Metadata,
    policy: Policy,
    peers: PeerBook,
    statics: Vec<Static>,
    /// The last count of each topic that somebody took.
    told_counts: HashMap<PubsubTopic, usize>,
    listeners: Listeners,
    addresses: Arc<RwLock<Vec<Multiaddr>>>,
    counters: Arc<Counters>,
    inbox: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    last_published: Option<Instant>,
    rng: StdRng,
}

impl Node {
    /// Waits for the addresses of all listeners.
    async fn listening(&mut self) {
        while !self.listeners.all_known() {
            let event = self.swarm.select_next_some().await;
            self.on_swarm(event);
        }
        // A listener on all interfaces tells them one after the other, without a pause.
        while let Some(event) = self.swarm.select_next_some().now_or_never() {
            self.on_swarm(event);
        }
    }

    async fn run(mut self) {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.inbox.recv() => match command {
                    Some(Command::Shutdown { done }) => break Some(done),
                    Some(Command::Publish { topic, data, done }) => self.publish(&topic, &data, done),
                    // A caller that stopped waiting needs no answer, here as below.
                    Some(Command::Peers { done }) => { let _ = done.send(self.peers.iter().cloned().collect()); }
                    None => break None,
                },
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
        if let Some(published) = self.last_published {
            let until = time::Instant::from_std(published + LINGER);
            let never = async { while self.swarm.next().await.is_some() {} };
            // It always runs out, at once when the publication is long ago.
            let _ = time::timeout_at(until, never).await;
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

    fn publish(
        &mut self,
        topic: &PubsubTopic,
        data: &Bytes,
        done: oneshot::Sender<Result<crate::Published, crate::PublishError>>,
    ) {
        let result = self.relay.publish(&mut self.swarm.behaviour_mut().gossip, topic, data);
        if let Ok(published) = result
            && !published.duplicate
        {
            self.last_published = Some(now().instant);
            self.counters.published.fetch_add(1, Relaxed);
            self.counters.published_bytes.fetch_add(data.len() as u64, Relaxed);
        }
        let _ = done.send(result);
    }

    fn tick(&mut self) {
        let at = now().instant;
        for peer in &mut self.statics {
            peer.call_if_due(&mut self.swarm, &self.peers, at, &mut self.rng);
        }
        self.tell_counts();
        self.peers.forgive();
        let gossip = &self.swarm.behaviour().gossip;
        let graylisted: Vec<PeerId> =
            self.peers.iter().map(|info| info.peer).filter(|peer| relay::graylisted(gossip, peer)).collect();
        for peer in graylisted {
            self.leave(&peer, &"its relay score is too low");
        }
    }

    /// Tells the counts that changed. What finds the queue full is told at the next tick.
    fn tell_counts(&mut self) {
        for (topic, count) in self.relay.counts(&self.swarm.behaviour().gossip) {
            let told = self.told_counts.entry(topic.clone()).or_default();
            if *told != count && self.events.try_send(Event::RelayPeers { topic, count }).is_ok() {
                *told = count;
            }
        }
    }

    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.counters.events_shed.fetch_add(1, Relaxed);
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, &endpoint);
                let at = now().instant;
                self.statics.iter_mut().for_each(|peer| peer.connected(connection_id, peer_id, at));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                debug!(peer = %peer_id, ?cause, "connection closed");
                self.gone(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                let at = now().instant;
                for peer in &mut self.statics {
                    peer.failed(connection_id, &error, at, &mut self.rng);
                }
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listeners.up(listener_id, address);
                self.show_addresses();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.listeners.down(listener_id, &address);
                self.show_addresses();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                warn!(?reason, "a listener ended");
                self.listeners.closed(listener_id);
                self.show_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => warn!(%error, "a listener failed to take a caller"),
            other => debug!(event = ?other, "connection event"),
        }
    }

    fn show_addresses(&self) {
        let dialable = self.listeners.dialable(*self.swarm.local_peer_id());
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = dialable;
    }

    fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        if self.peers.connected(peer, endpoint.get_remote_address().clone(), direction) {
            self.ask_metadata(&peer);
        }
        self.counters.peers.store(self.peers.len() as u64, Relaxed);
    }

    fn gone(&mut self, peer: &PeerId) {
        let at = now().instant;
        for known in &mut self.statics {
            known.lost(peer, at, &mut self.rng);
        }
        if self.peers.gone(peer) {
            self.tell(Event::PeerDisconnected { peer: *peer });
        }
        self.counters.peers.store(self.peers.len() as u64, Relaxed);
        self.tell_counts();
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Metadata(event) => self.on_metadata(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let protocols = info.protocols.iter().map(ToString::to_string).collect();
                self.peers.identified(&peer_id, info.agent_version, protocols);
            }
            BehaviourEvent::Ping(ping::Event { connection, result: Err(ping::Failure::Timeout), .. }) => {
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Ping(_) => {}
            BehaviourEvent::Limits(never) => match never {},
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(propagation_source, &message_id, message);
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => self.tell_counts(),
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => self.on_slow(&peer_id, &failed_messages),
            gossipsub::Event::GossipsubNotSupported { peer_id } => debug!(peer = %peer_id, "a peer without relay"),
        }
    }

    /// Judges one message, and tells gossip and the owner.
    fn on_message(&mut self, from: PeerId, id: &MessageId, message: gossipsub::Message) {
        let data = Bytes::from(message.data);
        self.counters.received.fetch_add(1, Relaxed);
        self.counters.received_bytes.fetch_add(data.len() as u64, Relaxed);
        let Some(topic) = self.relay.topic(&message.topic).cloned() else {
            // gossipsub hands over messages of subscribed topics only.
            debug!(topic = %message.topic, "a message of a topic that is not ours");
            return;
        };
        let (verdict, message) = validate(&self.policy, &topic, &data, now());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(id, &from, relay::acceptance(verdict));
        self.count(verdict, &from);
        if let Some(message) = message {
            let hash = message_hash(&topic, &message);
            let received = Received { pubsub_topic: topic, message, hash, data, from };
            self.tell(Event::Message(Arc::new(received)));
        }
    }

    fn count(&self, verdict: Verdict, from: &PeerId) {
        match verdict {
            Verdict::Accept => self.counters.accepted.fetch_add(1, Relaxed),
            Verdict::Ignore(_) => self.counters.ignored.fetch_add(1, Relaxed),
            Verdict::Reject(reason) => {
                debug!(peer = %from, reason = reason.name(), "message rejected");
                self.counters.rejected[reason.index()].fetch_add(1, Relaxed)
            }
        };
    }

    fn on_slow(&mut self, peer: &PeerId, failed: &FailedMessages) {
        let unsent = failed.priority + failed.non_priority;
        self.counters.unsent.fetch_add(unsent as u64, Relaxed);
        warn!(%peer, unsent, "a peer reads too slowly");
        if self.peers.too_slow(peer) {
            self.leave(peer, &"it reads too slowly");
        }
    }

    fn ask_metadata(&mut self, peer: &PeerId) {
        let own = self.own.clone();
        self.swarm.behaviour_mut().metadata.send_request(peer, own);
    }

    fn on_metadata(&mut self, event: MetadataEvent<Metadata, Metadata>) {
        match event {
            MetadataEvent::Message { message: MetadataMessage::Request { channel, .. }, .. } => {
                // An error says that the asker is gone.
                let _ = self.swarm.behaviour_mut().metadata.send_response(channel, self.own.clone());
            }
            MetadataEvent::Message { peer, message: MetadataMessage::Response { response, .. }, .. } => {
                self.told_metadata(&peer, response);
            }
            // One of two connections closed; the other one is still to be asked on.
            MetadataEvent::OutboundFailure { peer, error: OutboundFailure::ConnectionClosed, .. } => {
                if self.swarm.is_connected(&peer) {
                    self.ask_metadata(&peer);
                }
            }
            MetadataEvent::OutboundFailure { peer, error, .. } => self.leave(&peer, &error),
            MetadataEvent::InboundFailure { peer, error, .. } => debug!(%peer, %error, "metadata not answered"),
            MetadataEvent::ResponseSent { .. } => {}
        }
    }

    fn told_metadata(&mut self, peer: &PeerId, metadata: Metadata) {
        match self.peers.told(peer, metadata) {
            Ok(Some(welcome)) => {
                info!(%peer, addr = %welcome.addr, "peer connected");
                let event = Event::PeerConnected(welcome.clone());
                self.tell(event);
            }
            Ok(None) => {}
            Err(misfit) => self.leave(peer, &misfit),
        }
    }

    /// Ends the connections with a peer that does not belong here.
    fn leave(&mut self, peer: &PeerId, why: &dyn std::fmt::Display) {
        info!(%peer, %why, "left a peer");
        self.counters.refused_peers.fetch_add(1, Relaxed);
        self.disconnect(peer);
    }

    fn disconnect(&mut self, peer: &PeerId) {
        if self.swarm.disconnect_peer_id(*peer).is_err() {
            debug!(%peer, "already gone");
        }
    }
}
