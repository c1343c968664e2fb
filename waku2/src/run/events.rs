//! What the shell does with what the swarm tells: peers that come and go, messages, answers.

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use bytes::Bytes;
use devp2p::clock::{Now, now};
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub::{self, FailedMessages, MessageId},
    identify,
    multiaddr::Protocol,
    ping,
    request_response::{Event as MetadataEvent, Message as MetadataMessage, OutboundFailure},
    swarm::{ConnectionId, SwarmEvent},
};
use tracing::{debug, info, warn};

use super::{
    Node,
    proofs::{Purpose, Waiting},
};
use crate::{
    behaviour::{self, BehaviourEvent},
    handle::{Direction, Event, Received},
    hash::message_hash,
    message::WakuMessage,
    metadata::Metadata,
    relay,
    topic::PubsubTopic,
    validate::{Judged, Reason, Verdict},
};

/// What a peer brought.
pub(super) struct Arrival<'a> {
    pub(super) from: PeerId,
    pub(super) id: &'a MessageId,
    pub(super) topic: PubsubTopic,
    pub(super) data: Bytes,
    /// Its proof holds.
    pub(super) proven: bool,
}

impl Node {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
                if endpoint.is_dialer() {
                    self.counters.dials_succeeded.fetch_add(1, Relaxed);
                }
                self.seeker.connected(now(), connection_id, &peer_id, endpoint.is_dialer());
                self.call_ended(connection_id, None);
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
                self.counters.dials_failed.fetch_add(1, Relaxed);
                self.seeker.failed(now(), connection_id);
                self.call_ended(connection_id, Some(&error));
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
    pub(super) fn show_addresses(&mut self) {
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
        if self.peers.connected(now(), peer, connection, endpoint.get_remote_address().clone(), direction) {
            self.witnesses.iter().for_each(|witness| witness.connected(peer));
            self.ask_metadata(&peer);
        }
        self.counters.peers.store(self.peers.len() as u64, Relaxed);
    }

    fn gone(&mut self, peer: &PeerId) {
        self.witnesses.iter().for_each(|witness| witness.disconnected(peer));
        self.relay.gone(peer, now().instant);
        self.seeker.gone(now(), peer);
        self.forget_blame(peer);
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
            BehaviourEvent::Exchange(event) => {
                self.seeker.on_exchange(now(), &mut self.swarm, &self.counters.exchange, event);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.peers.identified(&peer_id, &info.agent_version, info.protocols.iter().map(AsRef::as_ref));
            }
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(took) }) => {
                // Gossip speaks on the first connection.
                if self.peers.was_met_on(&peer, connection) {
                    self.relay.answered(&peer, now().instant, took);
                }
            }
            BehaviourEvent::Ping(ping::Event { connection, result: Err(failure), .. })
                if behaviour::is_silence(&failure) =>
            {
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Ping(_) => {}
            BehaviourEvent::Limits(never)
            | BehaviourEvent::Colocation(never)
            | BehaviourEvent::Pong(never)
            | BehaviourEvent::Services(never) => match never {},
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(propagation_source, &message_id, message);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.relay.subscribed(peer_id, &topic, now().instant);
                self.tell_counts();
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.relay.unsubscribed(&peer_id, &topic);
                self.tell_counts();
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => self.on_slow(&peer_id, &failed_messages),
            gossipsub::Event::GossipsubNotSupported { peer_id } => debug!(peer = %peer_id, "a peer without relay"),
        }
    }

    /// Judges one message, and tells gossip and the owner.
    pub(super) fn on_message(&mut self, from: PeerId, id: &MessageId, message: gossipsub::Message) {
        let Some(topic) = self.relay.topic(&message.topic).cloned() else {
            // gossipsub hands over messages of subscribed topics only. Nobody judges this one, so that it does not count.
            debug!(topic = %message.topic, "a message of a topic that was just left");
            return;
        };
        let data = Bytes::from(message.data);
        self.counters.received.fetch_add(1, Relaxed);
        self.counters.received_bytes.fetch_add(data.len() as u64, Relaxed);
        let now = now();
        self.look_at_proof();
        match self.validator.judge(&topic, &data, now) {
            Judged::Done(verdict, message) => {
                let verdict = self.seeker.judge_clock(now, from, &data, verdict);
                self.arrived(now, Arrival { from, id, topic, data, proven: false }, verdict, message);
            }
            Judged::Verify(pending) => {
                self.verify(Waiting { pending, purpose: Purpose::Relay { from, id: id.clone() } })
            }
            Judged::Hold(pending) => self.hold(Waiting { pending, purpose: Purpose::Relay { from, id: id.clone() } }),
        }
    }

    /// A message was judged.
    pub(super) fn arrived(&mut self, now: Now, arrival: Arrival<'_>, verdict: Verdict, message: Option<WakuMessage>) {
        let Arrival { from, id, topic, data, proven } = arrival;
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(id, &from, relay::acceptance(verdict));
        self.count(verdict, &from);
        if let Some(message) = message {
            self.peers.brought(&from, data.len());
            self.counters.traffic.came(&topic, data.len());
            self.seeker.heard(now, from, message.timestamp);
            self.deliver(topic, data, message, from, proven);
        }
        if matches!(verdict, Verdict::Ignore(Reason::InvalidProof) | Verdict::Reject(Reason::InvalidProof)) {
            self.blame(&from);
        }
    }

    /// Tells everybody here of a message.
    pub(super) fn deliver(&self, topic: PubsubTopic, data: Bytes, message: WakuMessage, from: PeerId, proven: bool) {
        if proven {
            self.counters.traffic.proven(&topic);
        }
        let hash = message_hash(&topic, &message);
        let received = Arc::new(Received { pubsub_topic: topic, message, hash, data, from, proven });
        self.witness(&received);
        self.tell(Event::Message(received));
    }

    /// A message is looked at that has a proof, or should.
    pub(super) fn look_at_proof(&self) {
        if self.proofs.is_some() {
            self.counters.rln.looked_at.fetch_add(1, Relaxed);
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
            self.relay.stuck(peer);
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
    pub(super) fn leave(&mut self, peer: &PeerId, why: &dyn std::fmt::Display) {
        info!(%peer, %why, "left a peer");
        self.counters.refused_peers.fetch_add(1, Relaxed);
        self.disconnect(peer);
    }

    pub(super) fn disconnect(&mut self, peer: &PeerId) {
        if self.swarm.disconnect_peer_id(*peer).is_err() {
            debug!(%peer, "already gone");
        }
    }
}
