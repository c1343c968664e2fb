//! What the shell does when it is asked.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use devp2p::clock::now;
use libp2p::PeerId;
use tokio::sync::oneshot;
use tracing::info;

use super::{
    Node,
    proofs::{Purpose, Waiting},
};
use crate::{
    handle::{PeerInfo, Publication, PublishError, Published, Received},
    hash::message_hash,
    message::WakuMessage,
    rln::proof::PROOF_FIELD_BYTES,
    subscriptions::SubscribeError,
    topic::PubsubTopic,
    validate::{Judged, Pending, Reason, Verdict},
};

impl Node {
    pub(super) fn publish(&mut self, publication: Publication) {
        match self.checked(&publication) {
            Ok(Judged::Done(verdict, _)) => self.publish_judged(publication, verdict, None),
            Ok(Judged::Verify(pending)) => self.verify(Waiting { pending, purpose: Purpose::Publish(publication) }),
            Ok(Judged::Hold(pending)) => self.hold(Waiting { pending, purpose: Purpose::Publish(publication) }),
            // A caller that stopped waiting needs no answer, here as below.
            Err(error) => drop(publication.done.send(Err(error))),
        }
    }

    /// What peers will say of it, asked before they can blame us.
    fn checked(&mut self, publication: &Publication) -> Result<Judged, PublishError> {
        let Publication { topic, data, from, .. } = publication;
        if from.is_none() && !self.is_proven(data) {
            self.validator.check_own(topic, data, now())?;
            return Ok(Judged::Done(Verdict::Accept, None));
        }
        self.relay.may_publish(topic, data.len())?;
        self.look_at_proof();
        Ok(self.validator.judge(topic, data, now()))
    }

    /// Has it a proof, where these are verified?
    fn is_proven(&self, data: &Bytes) -> bool {
        let has_proof = |message: WakuMessage| message.rate_limit_proof.is_some();
        self.proofs.is_some() && WakuMessage::decode_shared(data.clone()).is_ok_and(has_proof)
    }

    /// Publishes what may be, and answers.
    pub(super) fn publish_judged(&mut self, publication: Publication, verdict: Verdict, proven: Option<&Pending>) {
        let Publication { topic, data, from, done } = publication;
        let result = match verdict {
            Verdict::Accept => {
                let proof = proven.and_then(|pending| pending.message.rate_limit_proof.clone());
                self.send_out(topic, data, from, proven).map(|published| Published { proof, ..published })
            }
            // Its proof was accepted in this epoch: the network has it.
            Verdict::Ignore(Reason::Replay) | Verdict::Reject(Reason::Replay) => {
                Ok(Published { peers: 0, duplicate: true, proof: proof_in(data) })
            }
            Verdict::Ignore(reason) | Verdict::Reject(reason) => {
                if let (Reason::InvalidProof, Some(client)) = (reason, from) {
                    self.blame(&client);
                }
                Err(PublishError::Refused(reason))
            }
        };
        let _ = done.send(result);
    }

    fn send_out(
        &mut self,
        topic: PubsubTopic,
        data: Bytes,
        from: Option<PeerId>,
        proven: Option<&Pending>,
    ) -> Result<Published, PublishError> {
        let at = now().instant;
        let published = self.relay.publish(&mut self.swarm.behaviour_mut().gossip, &topic, &data, at)?;
        // What did not go out has spent nothing, and may be tried again.
        let is_out = published.duplicate || published.peers > 0;
        if let Some(pending) = proven.filter(|_| is_out) {
            self.validator.accepted(pending, now());
        }
        if !published.duplicate {
            self.last_published = Some(at);
            self.counters.published.fetch_add(1, Relaxed);
            self.counters.published_bytes.fetch_add(data.len() as u64, Relaxed);
            self.counters.traffic.went(&topic, data.len());
            if published.peers > 0 {
                self.went_out(topic, data, from, proven);
            }
        }
        Ok(published)
    }

    /// May it be published, once it has a proof? Asked before one is made for nothing.
    pub(super) fn may_prove(&mut self, topic: &PubsubTopic, data: &Bytes, own: bool) -> Result<(), PublishError> {
        self.relay.may_publish(topic, data.len() + PROOF_FIELD_BYTES)?;
        if own {
            self.validator.check_own(topic, data, now())?;
        } else if let Err(Verdict::Ignore(reason) | Verdict::Reject(reason)) =
            self.validator.before_proof(topic, data, now())
        {
            return Err(PublishError::Refused(reason));
        }
        let has_peers = self.relay.has_recipients(&self.swarm.behaviour().gossip, topic);
        if has_peers { Ok(()) } else { Err(PublishError::NoPeers) }
    }

    /// Tells of what was published: everybody of what others gave us, and those who are told of every message of our own.
    fn went_out(&self, pubsub_topic: PubsubTopic, data: Bytes, from: Option<PeerId>, proven: Option<&Pending>) {
        if from.is_none() && self.witnesses.is_empty() {
            return;
        }
        // What does not decode as a message is of use to nobody here; only our own owner can publish it.
        let decoded = || WakuMessage::decode_shared(data.clone()).ok();
        let Some(message) = proven.map(|pending| pending.message.clone()).or_else(decoded) else { return };
        if let Some(from) = from {
            return self.deliver(pubsub_topic, data, message, from, proven.is_some());
        }
        let (hash, from) = (message_hash(&pubsub_topic, &message), *self.swarm.local_peer_id());
        self.witness(&Arc::new(Received { pubsub_topic, message, hash, data, from, proven: proven.is_some() }));
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
        if let Err(refused) = self.relay.join(&mut self.swarm.behaviour_mut().gossip, topic, now().instant) {
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

/// The proof that stands in an encoded message.
fn proof_in(data: Bytes) -> Option<Bytes> {
    WakuMessage::decode_shared(data).ok()?.rate_limit_proof
}
