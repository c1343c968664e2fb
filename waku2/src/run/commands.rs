//! What the shell does when it is asked.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use devp2p::clock::now;
use libp2p::PeerId;
use tokio::sync::oneshot;
use tracing::info;

use super::Node;
use crate::{
    handle::{Event, PeerInfo, Publication, PublishError, Received},
    hash::message_hash,
    message::WakuMessage,
    subscriptions::SubscribeError,
    topic::PubsubTopic,
    validate::Verdict,
};

impl Node {
    pub(super) fn publish(&mut self, publication: Publication) {
        let Publication { topic, data, from, done } = publication;
        let outcome = self.checked(&topic, &data, from).and_then(|message| {
            let published = self.relay.publish(&mut self.swarm.behaviour_mut().gossip, &topic, &data)?;
            Ok((published, message))
        });
        let result = outcome.map(|(published, message)| {
            if !published.duplicate {
                self.last_published = Some(now().instant);
                self.counters.published.fetch_add(1, Relaxed);
                self.counters.published_bytes.fetch_add(data.len() as u64, Relaxed);
                self.counters.traffic.went(&topic, data.len());
                if published.peers > 0 {
                    self.went_out(topic, data, message, from);
                }
            }
            published
        });
        // A caller that stopped waiting needs no answer.
        let _ = done.send(result);
    }

    /// What peers will say of it, asked before they can blame us. Of what others gave us also what it is.
    fn checked(
        &mut self,
        topic: &PubsubTopic,
        data: &Bytes,
        from: Option<PeerId>,
    ) -> Result<Option<WakuMessage>, PublishError> {
        if from.is_none() {
            self.validator.check_own(topic, data, now())?;
            return Ok(None);
        }
        self.relay.may_publish(topic, data.len())?;
        match self.validator.judge(topic, data, now()) {
            (Verdict::Accept, message) => Ok(message),
            (Verdict::Ignore(reason) | Verdict::Reject(reason), _) => Err(PublishError::Refused(reason)),
        }
    }

    /// Tells of what was published: everybody of what others gave us, and those who are told of every message of our own.
    fn went_out(&self, pubsub_topic: PubsubTopic, data: Bytes, message: Option<WakuMessage>, from: Option<PeerId>) {
        let of_others = from.is_some();
        if !of_others && self.witnesses.is_empty() {
            return;
        }
        // What does not decode as a message is of use to nobody here; only our own owner can publish it.
        let Some(message) = message.or_else(|| WakuMessage::decode_shared(data.clone()).ok()) else { return };
        let hash = message_hash(&pubsub_topic, &message);
        let from = from.unwrap_or_else(|| *self.swarm.local_peer_id());
        let received = Arc::new(Received { pubsub_topic, message, hash, data, from });
        self.witness(&received);
        if of_others {
            self.tell(Event::Message(received));
        }
    }

    /// Tells those who are told of every message.
    pub(super) fn witness(&self, message: &Arc<Received>) {
        self.witnesses.iter().for_each(|witness| witness.accepted(message));
    }

    /// Asks every peer something, and answers when each has answered.
    pub(super) fn settle(&mut self, done: oneshot::Sender<()>) {
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

    pub(super) fn subscribe(&mut self, topic: &PubsubTopic) -> Result<bool, SubscribeError> {
        if !self.subscriptions.add(topic)? {
            return Ok(false);
        }
        if let Err(refused) = self.relay.join(&mut self.swarm.behaviour_mut().gossip, topic) {
            self.subscriptions.remove(topic);
            return Err(SubscribeError::Refused(refused.to_string()));
        }
        info!(%topic, "joined");
        self.counters.joined.fetch_add(1, Relaxed);
        self.seeker.set_shards(&self.shards());
        self.tell_counts();
        self.look_at_health();
        Ok(true)
    }

    pub(super) fn unsubscribe(&mut self, topic: &PubsubTopic) -> bool {
        if !self.subscriptions.remove(topic) {
            return false;
        }
        self.relay.leave(&mut self.swarm.behaviour_mut().gossip, topic);
        self.validator.forget(topic);
        info!(%topic, "left a topic");
        self.counters.left.fetch_add(1, Relaxed);
        self.seeker.set_shards(&self.shards());
        self.tell_counts();
        self.look_at_health();
        true
    }

    /// Who is connected.
    pub(super) fn told_peers(&self) -> Vec<PeerInfo> {
        let gossip = &self.swarm.behaviour().gossip;
        let scored = |info: &PeerInfo| PeerInfo { score: gossip.peer_score(&info.peer), ..info.clone() };
        self.peers.iter().map(scored).collect()
    }
}
