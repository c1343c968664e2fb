//! What the shell does when it is asked.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use devp2p::clock::now;
use libp2p::PeerId;
use tokio::sync::oneshot;
use tracing::info;

use super::Node;
use crate::{handle::PeerInfo, subscriptions::SubscribeError, topic::PubsubTopic};

impl Node {
    pub(super) fn publish(
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
