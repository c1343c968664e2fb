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
    multiaddr::Protocol,
    ping,
    request_response::{Event as MetadataEvent, Message as MetadataMessage, OutboundFailure},
    swarm::{ConnectionId, SwarmEvent},
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
    behaviour::{self, Behaviour, BehaviourEvent},
    dial::Static,
    handle::{COMMANDS, Command, Config, Counters, Direction, Event, Handle, Received},
    hash::message_hash,
    health::{self, TopicHealth},
    listen::Listeners,
    metadata::Metadata,
    peers::PeerBook,
    relay::{self, Relay, RelayError},
    seek::{SeekError, Seeker},
    shard::Shard,
    subscriptions::{SubscribeError, Subscriptions},
    topic::PubsubTopic,
    transport::TransportError,
    validate::{Validator, Verdict},
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
    let (mut handle, mut node) = build(config, events)?;
    time::timeout(LISTENING, node.listening()).await.map_err(|_| StartError::NoAddress)?;
    let announced = node.announce.of(&node.listeners.bound());
    let shards = node.shards();
    node.seeker.start(&announced, &shards).await?;
    handle.discv5 = node.seeker.discv5().cloned();
    let task = tokio::spawn(node.run());
    Ok((handle, task))
}

fn build(config: Config, events: mpsc::Sender<Event>) -> Result<(Handle, Node), StartError> {
    let key = keypair(config.key)?;
    let peer_id = key.public().to_peer_id();
    let (mut relay, mut gossip) = Relay::new(config.cluster, config.policy.max_rpc_bytes())?;
    let mut subscriptions = Subscriptions::new(config.cluster);
    for topic in &config.topics {
        if subscriptions.add(topic)? {
            relay.join(&mut gossip, topic)?;
        }
    }
    if let Some(addr) = config.announce.foreign(peer_id) {
        return Err(StartError::Announce { addr: addr.clone(), own: peer_id });
    }
    let mut swarm = behaviour::swarm(&key, &config, gossip)?;
    let listeners = Listeners::bind(&mut swarm, config.listen)?;
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let seeker =
        Seeker::new(config.seek, &config.key, peer_id, config.cluster, config.limits.connections, now(), system_rng())?;
    let handle = Handle {
        commands,
        peer_id,
        addresses: Arc::default(),
        counters: Arc::default(),
        health: Arc::default(),
        clock_skew: seeker.clock_skew(),
        discv5: None,
    };
    let began = now().instant;
    let node = Node {
        swarm,
        relay,
        subscriptions,
        validator: Validator::new(config.policy),
        peers: PeerBook::new(config.cluster),
        statics: config.static_peers.into_iter().map(|addr| Static::new(addr, began)).collect(),
        told_counts: HashMap::new(),
        listeners,
        announce: config.announce,
        addresses: Arc::clone(&handle.addresses),
        health: Arc::clone(&handle.health),
        health_at: began,
        counters: Arc::clone(&handle.counters),
        inbox,
        events,
        last_published: None,
        barriers: Barriers::default(),
        seeker,
        rng: system_rng(),
    };
    Ok((handle, node))
}

fn keypair(mut secret: [u8; 32]) -> Result<Keypair, StartError> {
    let secret = secp256k1::SecretKey::try_from_bytes(&mut secret).map_err(|_| StartError::BadKey)?;
    Ok(secp256k1::Keypair::from(secret).into())
}

/// For the chance in waits only; without the system's randomness the waits are still right.
fn system_rng() -> StdRng {
    StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap_or_else(|_| StdRng::seed_from_u64(0))
}

struct Node {
    swarm: Swarm<Behaviour>,
    relay: Relay,
    subscriptions: Subscriptions,
    validator: Validator,
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
    seeker: Seeker,
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
                    Some(Command::Subscribe { topic, done }) => { let _ = done.send(self.subscribe(&topic)); }
                    Some(Command::Unsubscribe { topic, done }) => { let _ = done.send(self.unsubscribe(&topic)); }
                    Some(Command::Settle { done }) => self.settle(done),
                    Some(Command::Peers { done }) => { let _ = done.send(self.peers.iter().cloned().collect()); }
                    None => break None,
                },
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

    fn publish(
        &mut self,
        topic: &PubsubTopic,
        data: &Bytes,
        done: oneshot::Sender<Result<crate::Published, crate::PublishError>>,
    ) {
        let signed = self.validator.check_own(topic, data, now());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let result = signed.map_err(Into::into).and_then(|()| self.relay.publish(gossip, topic, data));
        if let Ok(published) = result
            && !published.duplicate
        {
            self.last_published = Some(now().instant);
            self.counters.published.fetch_add(1, Relaxed);
            self.counters.published_bytes.fetch_add(data.len() as u64, Relaxed);
        }
        let _ = done.send(result);
    }

    /// Asks every peer something, and answers when each has answered.
    fn settle(&mut self, done: oneshot::Sender<()>) {
        if !self.barriers.has_room() {
            // Dropped, which passes for an answer.
            return;
        }
        let own = self.subscriptions.metadata();
        let peers: Vec<PeerId> = self.peers.iter().map(|info| info.peer).collect();
        let metadata = &mut self.swarm.behaviour_mut().metadata;
        let open = peers.iter().map(|peer| metadata.send_request(peer, own.clone())).collect();
        self.barriers.put(open, done);
    }

    fn subscribe(&mut self, topic: &PubsubTopic) -> Result<bool, SubscribeError> {
        if !self.subscriptions.add(topic)? {
            return Ok(false);
        }
        if let Err(refused) = self.relay.join(&mut self.swarm.behaviour_mut().gossip, topic) {
            self.subscriptions.remove(topic);
            return Err(SubscribeError::Refused(refused.to_string()));
        }
        info!(%topic, "joined");
        self.seeker.set_shards(&self.shards());
        self.tell_counts();
        self.look_at_health();
        Ok(true)
    }

    fn unsubscribe(&mut self, topic: &PubsubTopic) -> bool {
        if !self.subscriptions.remove(topic) {
            return false;
        }
        self.relay.leave(&mut self.swarm.behaviour_mut().gossip, topic);
        self.validator.forget(topic);
        info!(%topic, "left a topic");
        self.seeker.set_shards(&self.shards());
        self.tell_counts();
        self.look_at_health();
        true
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
        if at.saturating_duration_since(self.health_at) >= health::INTERVAL {
            self.look_at_health();
        }
        for peer in &mut self.statics {
            peer.call_if_due(&mut self.swarm, &self.peers, at, &mut self.rng);
        }
        self.seeker.tick(now(), &mut self.swarm, &self.peers);
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

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
                self.seeker.connected(now(), connection_id, &peer_id, endpoint.is_dialer());
                let at = now().instant;
                self.statics.iter_mut().for_each(|peer| peer.connected(connection_id, peer_id, at));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                debug!(peer = %peer_id, ?cause, "connection closed");
                self.gone(&peer_id);
            }
            // Gossip tells a peer its topics on the first connection alone. When that one ends and others are there, the peer may have
            // started again and called before we knew: both begin anew.
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                if self.peers.was_met_on(&peer_id, connection_id) {
                    debug!(peer = %peer_id, "its first connection ended: the others do as well");
                    self.disconnect(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.seeker.failed(now(), connection_id);
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

    /// Announces what is bound now: to peers by identify, which tells external addresses and no others, in our node record, and to the owner.
    fn show_addresses(&mut self) {
        let announced = self.announce.of(&self.listeners.bound());
        let told: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        told.iter().filter(|addr| !announced.contains(addr)).for_each(|addr| self.swarm.remove_external_address(addr));
        for addr in announced.iter().filter(|addr| !told.contains(addr)) {
            self.swarm.add_external_address(addr.clone());
        }
        self.seeker.set_addresses(&announced);
        let own = *self.swarm.local_peer_id();
        let dialable = announced.into_iter().map(|addr| addr.with(Protocol::P2p(own))).collect();
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = dialable;
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        if self.peers.connected(peer, connection, endpoint.get_remote_address().clone(), direction) {
            self.ask_metadata(&peer);
        }
        self.counters.peers.store(self.peers.len() as u64, Relaxed);
    }

    fn gone(&mut self, peer: &PeerId) {
        self.seeker.gone(now(), peer);
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
            BehaviourEvent::Exchange(event) => self.seeker.on_exchange(now(), &mut self.swarm, event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.peers.identified(&peer_id, &info.agent_version, info.protocols.iter().map(AsRef::as_ref));
            }
            BehaviourEvent::Ping(ping::Event { connection, result: Err(failure), .. })
                if behaviour::is_silence(&failure) =>
            {
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Ping(_) => {}
            BehaviourEvent::Limits(never) | BehaviourEvent::Colocation(never) => match never {},
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
        let Some(topic) = self.relay.topic(&message.topic).cloned() else {
            // gossipsub hands over messages of subscribed topics only. Nobody judges this one, so that it does not count.
            debug!(topic = %message.topic, "a message of a topic that was just left");
            return;
        };
        let data = Bytes::from(message.data);
        self.counters.received.fetch_add(1, Relaxed);
        self.counters.received_bytes.fetch_add(data.len() as u64, Relaxed);
        let now = now();
        let (verdict, message) = self.validator.judge(&topic, &data, now);
        let verdict = self.seeker.judge_clock(now, from, &data, verdict);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(id, &from, relay::acceptance(verdict));
        self.count(verdict, &from);
        if let Some(message) = message {
            self.seeker.heard(now, from, message.timestamp);
            let hash = message_hash(&topic, &message);
            let received = Received { pubsub_topic: topic, message, hash, data, from };
            self.tell(Event::Message(Arc::new(received)));
        }
    }

    fn count(&self, verdict: Verdict, from: &PeerId) {
        match verdict {
            Verdict::Accept => self.counters.accepted.fetch_add(1, Relaxed),
            Verdict::Ignore(reason) => self.counters.ignored[reason.index()].fetch_add(1, Relaxed),
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
        let own = self.subscriptions.metadata();
        self.swarm.behaviour_mut().metadata.send_request(peer, own);
    }

    fn on_metadata(&mut self, event: MetadataEvent<Metadata, Metadata>) {
        match event {
            MetadataEvent::Message { peer, message: MetadataMessage::Request { request, channel, .. }, .. } => {
                self.peers.asked(&peer, request);
                let own = self.subscriptions.metadata();
                // An error says that the asker is gone.
                let _ = self.swarm.behaviour_mut().metadata.send_response(channel, own);
            }
            MetadataEvent::Message { peer, message: MetadataMessage::Response { response, request_id }, .. } => {
                self.barriers.answered(request_id);
                self.told_metadata(&peer, response);
            }
            // A peer need not answer twice.
            MetadataEvent::OutboundFailure { request_id, .. } if self.barriers.answered(request_id) => {}
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
            Err(misfit) => {
                self.seeker.misfit(peer);
                self.leave(peer, &misfit);
            }
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

#[cfg(test)]
mod tests {
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
