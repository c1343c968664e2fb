//! Relay: gossipsub under Waku's own name.  Spec: 11/WAKU2-RELAY, 29/WAKU2-CONFIG; numbers as nwaku and go-waku run them.
//!
//! * [`PROTOCOL`] is the only id offered. Deployed Waku nodes all speak it; those that also offer `/meshsub/1.x` list it
//!   behind. libp2p lets one gossipsub have either its own id or the stock ones, not both.
//! * Messages carry neither author, sequence number, signature nor key (StrictNoSign); a message with one of these is
//!   rejected.
//! * A message's id is the SHA-256 of its data, so data goes on byte for byte.
//! * Nothing is relayed before [`crate::validate`] has accepted it, nothing on topics that are not ours.
//! * What peers subscribe to is remembered for all shards of our cluster, because a shard may be joined later, and peers do not
//!   tell again.
//! * libp2p ends the stream of a peer whose frame does not decode and, at the fifth, hears no more of it until it connects again.
//!   Deployed nodes lower its score by a tenth of a point for each instead.

pub mod gross;
mod stranded;
mod unheard;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    stranded::{Attempt, Stranded},
    unheard::{Due, Unheard},
};
use crate::{
    handle::{PublishError, Published},
    health::TopicHealth,
    shard::{ClusterId, SHARD_PREFIX, Shard},
    topic::{MAX_PUBSUB_TOPIC_BYTES, PubsubTopic},
    validate::Verdict,
};
use bytes::Bytes;
use libp2p::{
    PeerId,
    gossipsub::{
        self, Config, ConfigBuilder, ConfigBuilderError, DataTransform, IdentTopic, IdentityTransform,
        MaxCountSubscriptionFilter, Message, MessageAcceptance, MessageAuthenticity, PeerScoreParams,
        PeerScoreThresholds, RawMessage, TopicHash, TopicScoreParams, TopicSubscriptionFilter, ValidationMode, Version,
    },
};

/// The protocol id of relay.
pub const PROTOCOL: &str = "/vac/waku/relay/2.0.0";

/// Longest gossip RPC, in bytes, its length prefix included: 150 KiB.  Deployed: nwaku caps the frame, not the message,
/// so a message can be some bytes shorter only ([`frame_bytes`]).
pub const MAX_RPC_BYTES: usize = 153_600;

/// Longest gossip RPC that is read, in bytes, its length prefix not included: 192 KiB. Deployed peers put up to 5,000 ids of 32 bytes into
/// one control message, 170 kB, which is more than a message may take; one that takes more than [`MAX_RPC_BYTES`] is rejected by
/// [`crate::validate`].
pub const MAX_READ_BYTES: usize = 192 * 1024;

/// How long a message's id is remembered.  Spec: 29/WAKU2-CONFIG, seen TTL.
pub const SEEN_TTL: Duration = Duration::from_secs(120);

/// Messages waiting for one peer, at most; further ones are not sent to it and it is left ([`PublishError::QueueFull`] when all
/// are in that state). nwaku allows 1,024 and leaves the peer as well; twice that lets a burst of 1,024 own messages pass
/// beside what is being forwarded. libp2p bounds the number only, so at the largest message size it is 300 MiB.
const PEER_QUEUE_MESSAGES: usize = 2_048;

/// How long an own message may wait in a peer's queue: as long as the network would know it for the same message.
/// libp2p's 5 s would silently lose part of a burst on a slow link.
const PUBLISH_WAIT: Duration = SEEN_TTL;

/// How long a forwarded message may wait. The peer has other neighbours to hear it from, so less than our own; libp2p's
/// 1 s loses messages whenever a machine is busy.
const FORWARD_WAIT: Duration = Duration::from_secs(30);

/// libp2p reads a stream in pieces of this many bytes and holds the *buffer*, which can be a whole frame and one piece of the
/// next, against the frame limit. Without the slack a full-size frame followed by another would end the stream.
const READ_PIECE_BYTES: usize = 8 * 1024;

/// Topics that a node relays at most. Gossip does its work for each of them every second; and the shards of so many always fit into
/// a message of metadata.
pub const MAX_TOPICS: usize = 128;

/// Subscriptions in one RPC: all shards of a cluster.  Spec: 51/WAKU2-RELAY-SHARDING. Of an RPC with more, none is taken.
const SUBSCRIPTIONS_PER_RPC: usize = 1_024;

/// Topics remembered of one peer: as many. An RPC that would exceed it is taken without its subscriptions.
const TOPICS_PER_PEER: usize = 1_024;

/// IHAVE messages of a peer that are looked at between two heartbeats.  Spec: 29/WAKU2-CONFIG.
const IHAVE_PER_HEARTBEAT: usize = 10;

/// Ids in one IHAVE of ours, and asked for of one peer between two heartbeats. 29/WAKU2-CONFIG has 5,000; these are as many as fit into
/// the frame that nwaku takes.
const IDS_PER_HEARTBEAT: usize = 4_400;

/// How often one message is sent again to a peer that asks for it by IWANT.  Spec: gossipsub v1.1, "GossipRetransmission".
const RETRANSMISSIONS: u32 = 3;

/// Messages in one RPC; nwaku splits by bytes only, and an empty message takes two.
const MESSAGES_PER_RPC: usize = 1_024;

/// Score below which a peer gets no gossip, no own messages, and is left.  Deployed: nwaku, go-waku.
const THRESHOLDS: PeerScoreThresholds = PeerScoreThresholds {
    gossip_threshold: -100.0,
    publish_threshold: -1_000.0,
    graylist_threshold: -10_000.0,
    accept_px_threshold: 0.0,
    opportunistic_graft_threshold: 0.0,
};

/// Bytes of the gossip RPC that carries one message of `data_bytes` on `topic`, length prefix included.
#[must_use]
pub fn frame_bytes(topic: &PubsubTopic, data_bytes: usize) -> usize {
    // Message { data = 2, topic = 4 } in RPC { publish = 2 }: each a one-byte tag, a length and the bytes.
    field_bytes(field_bytes(field_bytes(data_bytes) + field_bytes(topic.as_str().len()))) - 1
}

/// A length-delimited protobuf field. Without its tag it is a length-prefixed frame.
fn field_bytes(content_bytes: usize) -> usize {
    1 + prost::length_delimiter_len(content_bytes) + content_bytes
}

/// gossipsub that takes no message with a key, and remembers topics of our cluster only.
pub(crate) type Gossip = gossipsub::Behaviour<Keyless, MaxCountSubscriptionFilter<OurCluster>>;

/// The part of StrictNoSign that libp2p leaves out: a key without a signature. Bytes are left alone.
pub(crate) struct Keyless;

impl DataTransform for Keyless {
    fn inbound_transform(&self, message: RawMessage) -> Result<Message, io::Error> {
        if message.key.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message with a key"));
        }
        IdentityTransform.inbound_transform(message)
    }

    fn outbound_transform(&self, topic: &TopicHash, data: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        IdentityTransform.outbound_transform(topic, data)
    }
}

/// The topics that may be subscribed to, by us and by peers: shards of our cluster, and topics that are no shards at all, which
/// belong to no cluster.
#[derive(Debug, Clone)]
pub(crate) struct OurCluster(ClusterId);

impl TopicSubscriptionFilter for OurCluster {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        let name = topic.as_str();
        match name.strip_prefix(SHARD_PREFIX) {
            Some(_) => name.parse::<Shard>().is_ok_and(|shard| shard.cluster == self.0),
            None => !name.is_empty() && name.len() <= MAX_PUBSUB_TOPIC_BYTES,
        }
    }
}

/// Why relay could not be set up: the operator's topics, or a constant of this file.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The settings contradict each other.
    #[error("gossip settings: {0}")]
    Settings(#[from] ConfigBuilderError),
    /// Scoring or the behaviour itself refuses them.
    #[error("gossip settings: {0}")]
    Refused(String),
    /// A topic cannot be subscribed to.
    #[error("topic {topic}: {source}")]
    Subscribe {
        /// Which.
        topic: PubsubTopic,
        /// gossipsub's word.
        source: gossipsub::SubscriptionError,
    },
}

/// What a peer has to do with our topics, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Membership {
    /// It says that it relays these.
    pub(crate) relays: Vec<PubsubTopic>,
    /// It is in our meshes of these.
    pub(crate) meshes: Vec<PubsubTopic>,
}

/// Own messages whose peers were all lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeated {
    /// Sent again to others.
    pub(crate) messages: u64,
    /// Given up: too old, or not valid any more.
    pub(crate) lost: u64,
}

/// gossipsub and what it does not keep itself.
pub(crate) struct Relay {
    topics: HashMap<TopicHash, PubsubTopic>,
    stranded: Stranded,
    unheard: Unheard,
    /// The longest frame that is sent.
    max_rpc_bytes: usize,
}

impl Relay {
    /// A new gossipsub of a node in `cluster`, subscribed to nothing, which sends frames of up to `max_rpc_bytes`.
    pub(crate) fn new(cluster: ClusterId, max_rpc_bytes: usize) -> Result<(Self, Gossip), RelayError> {
        let filter = MaxCountSubscriptionFilter {
            filter: OurCluster(cluster),
            max_subscribed_topics: TOPICS_PER_PEER,
            max_subscriptions_per_request: SUBSCRIPTIONS_PER_RPC,
        };
        let attempt = Attempt::default();
        let settings = config(Arc::clone(&attempt))?;
        let signing = MessageAuthenticity::Anonymous;
        let mut gossip = Gossip::new_with_subscription_filter_and_transform(signing, settings, filter, Keyless)
            .map_err(|cause| RelayError::Refused(cause.to_owned()))?;
        gossip.with_peer_score(peer_scores(), THRESHOLDS).map_err(RelayError::Refused)?;
        let (stranded, unheard) = (Stranded::new(attempt), Unheard::default());
        Ok((Self { topics: HashMap::new(), stranded, unheard, max_rpc_bytes }, gossip))
    }

    /// Joins a topic. False when it was joined before.
    pub(crate) fn join(&mut self, gossip: &mut Gossip, topic: &PubsubTopic, now: Instant) -> Result<bool, RelayError> {
        let name = IdentTopic::new(topic.as_str());
        gossip.set_topic_params(name.clone(), topic_scores()).map_err(|cause| RelayError::Refused(cause.to_owned()))?;
        let refused = |source| RelayError::Subscribe { topic: topic.clone(), source };
        let new = gossip.subscribe(&name).map_err(refused)?;
        let hash = hash(topic);
        for (peer, _) in gossip.all_peers().filter(|(_, topics)| topics.contains(&&hash)) {
            self.unheard.subscribed(*peer, topic.clone(), now);
        }
        self.topics.insert(hash, topic.clone());
        Ok(new)
    }

    /// Leaves a topic; its mesh is told. False when it was not joined.
    pub(crate) fn leave(&mut self, gossip: &mut Gossip, topic: &PubsubTopic) -> bool {
        self.topics.remove(&hash(topic));
        self.unheard.left(topic);
        gossip.unsubscribe(&IdentTopic::new(topic.as_str()))
    }

    /// How well each topic is joined to its mesh, in order of their names.
    pub(crate) fn health(&self, gossip: &Gossip) -> Vec<TopicHealth> {
        let mut topics: Vec<TopicHealth> = self
            .topics
            .iter()
            .map(|(hash, topic)| TopicHealth { topic: topic.clone(), mesh_peers: gossip.mesh_peers(hash).count() })
            .collect();
        topics.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
        topics
    }

    /// Our topic of that name.
    pub(crate) fn topic(&self, hash: &TopicHash) -> Option<&PubsubTopic> {
        self.topics.get(hash)
    }

    /// Is the topic one of ours, and would a message of so many bytes fit into a frame?
    pub(crate) fn may_publish(&self, topic: &PubsubTopic, data_bytes: usize) -> Result<(), PublishError> {
        if !self.topics.contains_key(&hash(topic)) {
            return Err(PublishError::NotSubscribed);
        }
        let fits = frame_bytes(topic, data_bytes) <= self.max_rpc_bytes;
        if fits { Ok(()) } else { Err(self.too_large(topic, data_bytes)) }
    }

    /// Is there anybody to send a message on this topic to?
    pub(crate) fn has_recipients(&self, gossip: &Gossip, topic: &PubsubTopic) -> bool {
        recipients(gossip, &hash(topic)) > 0
    }

    fn too_large(&self, topic: &PubsubTopic, data_bytes: usize) -> PublishError {
        PublishError::TooLarge { frame_bytes: frame_bytes(topic, data_bytes), limit_bytes: self.max_rpc_bytes }
    }

    /// Hands an own message to all peers of its topic, and keeps it until one of them is known to have it.
    pub(crate) fn publish(
        &mut self,
        gossip: &mut Gossip,
        topic: &PubsubTopic,
        data: &Bytes,
        now: Instant,
    ) -> Result<Published, PublishError> {
        let published = self.hand_over(gossip, topic, data)?;
        if published.peers > 0 {
            self.unheard.published(topic.clone(), data.clone(), now);
        }
        Ok(published)
    }

    /// Sends again what went only to peers that may not have had it, and are gone. Of this, peers take what is valid.
    pub(crate) fn publish_again(
        &mut self,
        gossip: &mut Gossip,
        now: Instant,
        is_valid: impl Fn(&PubsubTopic, &Bytes) -> bool,
    ) -> Repeated {
        let Due { again, lost } = self.unheard.due(now, is_valid);
        let mut repeated = Repeated { lost, messages: 0 };
        for own in again {
            self.stranded.failed(&own.data);
            match self.hand_over(gossip, &own.topic, &own.data) {
                Ok(Published { peers: 1.., .. }) => {
                    repeated.messages += 1;
                    self.unheard.published_again(own, now);
                }
                Ok(_) | Err(_) => self.unheard.put_back(own),
            }
        }
        repeated
    }

    fn hand_over(&mut self, gossip: &mut Gossip, topic: &PubsubTopic, data: &Bytes) -> Result<Published, PublishError> {
        self.may_publish(topic, data.len())?;
        let hash = hash(topic);
        let too_large = self.too_large(topic, data.len());
        let peers = recipients(gossip, &hash);
        match self.stranded.attempt(data, || gossip.publish(hash, data.to_vec())) {
            Ok(_) => {
                self.stranded.succeeded(data);
                Ok(Published { peers, duplicate: false, proof: None })
            }
            Err(gossipsub::PublishError::Duplicate) => Ok(Published { peers: 0, duplicate: true, proof: None }),
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers),
            Err(gossipsub::PublishError::AllQueuesFull(_)) => {
                self.stranded.failed(data);
                Err(PublishError::QueueFull)
            }
            // Neither signing nor a transform is configured, so these two cannot come; both would be for good.
            Err(
                gossipsub::PublishError::MessageTooLarge
                | gossipsub::PublishError::SigningError(_)
                | gossipsub::PublishError::TransformFailed(_),
            ) => Err(too_large),
        }
    }

    /// A peer relays a topic from now on.
    pub(crate) fn subscribed(&mut self, peer: PeerId, hash: &TopicHash, now: Instant) {
        if let Some(topic) = self.topics.get(hash) {
            self.unheard.subscribed(peer, topic.clone(), now);
        }
    }

    /// It no longer does.
    pub(crate) fn unsubscribed(&mut self, peer: &PeerId, hash: &TopicHash) {
        if let Some(topic) = self.topics.get(hash) {
            self.unheard.unsubscribed(peer, topic);
        }
    }

    /// A peer has answered a ping, `took` after it was sent.
    pub(crate) fn answered(&mut self, peer: &PeerId, now: Instant, took: Duration) {
        self.unheard.answered(peer, now, took);
    }

    /// A peer takes nothing any more, and will be left.
    pub(crate) fn stuck(&mut self, peer: &PeerId) {
        self.unheard.stuck(peer);
    }

    /// A peer is gone.
    pub(crate) fn gone(&mut self, peer: &PeerId, now: Instant) {
        self.unheard.gone(peer, now);
    }

    /// Which of our topics each peer relays, and in which of our meshes it is.
    pub(crate) fn members(&self, gossip: &Gossip) -> HashMap<PeerId, Membership> {
        let ours = |hashes: Vec<&TopicHash>| -> Vec<PubsubTopic> {
            let mut topics: Vec<_> = hashes.into_iter().filter_map(|hash| self.topics.get(hash)).cloned().collect();
            topics.sort_unstable();
            topics
        };
        let mut members: HashMap<PeerId, Membership> = gossip
            .all_peers()
            .map(|(peer, topics)| (*peer, Membership { relays: ours(topics), meshes: Vec::new() }))
            .collect();
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable_by(|a, b| a.1.cmp(b.1));
        for (hash, topic) in topics {
            for peer in gossip.mesh_peers(hash) {
                members.entry(*peer).or_default().meshes.push(topic.clone());
            }
        }
        members
    }

    /// How many peers an own message would go to, for each topic.
    pub(crate) fn counts(&self, gossip: &Gossip) -> Vec<(PubsubTopic, usize)> {
        self.topics.iter().map(|(hash, topic)| (topic.clone(), recipients(gossip, hash))).collect()
    }
}

/// Has the peer misbehaved so much that it is to be left?
pub(crate) fn graylisted(gossip: &Gossip, peer: &PeerId) -> bool {
    below(gossip, peer, THRESHOLDS.graylist_threshold)
}

/// The verdict in gossipsub's words.
pub(crate) fn acceptance(verdict: Verdict) -> MessageAcceptance {
    match verdict {
        Verdict::Accept => MessageAcceptance::Accept,
        Verdict::Ignore(_) => MessageAcceptance::Ignore,
        Verdict::Reject(_) => MessageAcceptance::Reject,
    }
}

/// The peers that flood publishing reaches: subscribed, and not below the threshold.
fn recipients(gossip: &Gossip, topic: &TopicHash) -> usize {
    gossip
        .all_peers()
        .filter(|(peer, topics)| topics.contains(&topic) && !below(gossip, peer, THRESHOLDS.publish_threshold))
        .count()
}

fn below(gossip: &Gossip, peer: &PeerId, threshold: f64) -> bool {
    gossip.peer_score(peer).is_some_and(|score| score < threshold)
}

fn hash(topic: &PubsubTopic) -> TopicHash {
    TopicHash::from_raw(topic.as_str())
}

/// The parameters of 29/WAKU2-CONFIG as deployed; those left out are libp2p's defaults and agree with it.
fn config(attempt: Attempt) -> Result<Config, ConfigBuilderError> {
    ConfigBuilder::default()
        .protocol_id(PROTOCOL, Version::V1_1)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(move |message| stranded::id(&message.data, &attempt))
        .max_transmit_size(MAX_READ_BYTES + READ_PIECE_BYTES)
        .max_publish_messages(MESSAGES_PER_RPC)
        // libp2p's 16 KiB would end the stream of deployed peers.
        .max_control_message_size(MAX_READ_BYTES)
        .max_ihave_messages_heartbeat(IHAVE_PER_HEARTBEAT)
        .max_control_messages_sent(IDS_PER_HEARTBEAT)
        .gossip_retransimission(RETRANSMISSIONS)
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(8)
        .mesh_outbound_min(3)
        .gossip_lazy(6)
        .retain_scores(6)
        .gossip_factor(0.25)
        .heartbeat_initial_delay(Duration::from_secs(1))
        .heartbeat_interval(Duration::from_secs(1))
        .history_length(6)
        .history_gossip(3)
        .fanout_ttl(Duration::from_secs(60))
        .duplicate_cache_time(SEEN_TTL)
        .prune_backoff(Duration::from_secs(60))
        .unsubscribe_backoff(Duration::from_secs(5))
        .backoff_slack(2)
        .flood_publish(true)
        .connection_handler_queue_len(PEER_QUEUE_MESSAGES)
        .publish_queue_duration(PUBLISH_WAIT)
        .forward_queue_duration(FORWARD_WAIT)
        .build()
}

/// The part of peer scoring that is counted by topic, as nwaku and go-waku run it: invalid messages count squared, deliveries in the
/// mesh (P3) not at all.
fn topic_scores() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 10.0,
        first_message_deliveries_weight: 1.0,
        first_message_deliveries_decay: 0.5,
        first_message_deliveries_cap: 10.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -100.0,
        invalid_message_deliveries_decay: 0.5,
        ..TopicScoreParams::default()
    }
}

/// The rest of it.
fn peer_scores() -> PeerScoreParams {
    PeerScoreParams {
        topics: HashMap::new(),
        topic_score_cap: 0.0,
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: -50.0,
        ip_colocation_factor_threshold: 5.0,
        // Several nodes on one machine are the operator's own.
        ip_colocation_factor_whitelist: HashSet::from([
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]),
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 0.0,
        behaviour_penalty_decay: 0.986,
        decay_interval: Duration::from_secs(12),
        decay_to_zero: 0.01,
        retain_score: Duration::from_secs(600),
        // A peer that does not read is left, not scored.
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use devp2p::clock::now;

    use super::*;

    fn topic() -> PubsubTopic {
        "/waku/2/rs/1/1".parse().unwrap()
    }

    fn joined() -> (Relay, Gossip) {
        let (mut relay, mut gossip) = Relay::new(ClusterId(1), MAX_RPC_BYTES).unwrap();
        assert!(relay.join(&mut gossip, &topic(), now().instant).unwrap());
        (relay, gossip)
    }

    /// The table of 29/WAKU2-CONFIG as nwaku runs it. What differs says why at its constant.
    #[test]
    fn every_parameter_is_the_deployed_one() {
        let c = config(Attempt::default()).unwrap();
        assert_eq!((c.mesh_n(), c.mesh_n_low(), c.mesh_n_high()), (6, 4, 8), "D");
        assert_eq!((c.gossip_lazy(), c.retain_scores(), c.mesh_outbound_min()), (6, 6, 3), "D_lazy, D_score, D_out");
        assert_eq!(
            (c.heartbeat_interval(), c.heartbeat_initial_delay()),
            (Duration::from_secs(1), Duration::from_secs(1))
        );
        assert_eq!((c.history_length(), c.history_gossip()), (6, 3));
        assert_eq!((c.fanout_ttl(), c.duplicate_cache_time()), (Duration::from_secs(60), Duration::from_secs(120)));
        assert_eq!((c.prune_backoff(), c.unsubscribe_backoff()), (Duration::from_secs(60), Duration::from_secs(5)));
        // In heartbeats, which last a second.
        assert_eq!((c.backoff_slack(), c.gossip_factor()), (2, 0.25));
        assert!(c.flood_publish() && c.validate_messages() && !c.do_px() && !c.support_floodsub());
        assert_eq!((c.max_ihave_messages_heartbeat(), c.max_control_messages_sent()), (10, 4_400));
        assert_eq!(c.gossip_retransimission(), 3);
        assert_eq!(c.max_transmit_size(), 192 * 1024 + READ_PIECE_BYTES);
        assert_eq!(c.connection_handler_queue_len(), 2_048);
        assert!(matches!(c.validation_mode(), ValidationMode::Anonymous));
    }

    #[test]
    fn every_score_is_the_deployed_one() {
        let t = topic_scores();
        assert_eq!(t.topic_weight, 1.0);
        assert_eq!((t.time_in_mesh_weight, t.time_in_mesh_cap), (0.01, 10.0), "P1");
        assert_eq!(t.time_in_mesh_quantum, Duration::from_secs(1), "P1");
        assert_eq!((t.first_message_deliveries_weight, t.first_message_deliveries_decay), (1.0, 0.5), "P2");
        assert_eq!(t.first_message_deliveries_cap, 10.0, "P2");
        assert_eq!((t.mesh_message_deliveries_weight, t.mesh_failure_penalty_weight), (0.0, 0.0), "P3, P3b");
        assert_eq!((t.invalid_message_deliveries_weight, t.invalid_message_deliveries_decay), (-100.0, 0.5), "P4");
        let p = peer_scores();
        assert_eq!((p.app_specific_weight, p.slow_peer_weight, p.topic_score_cap), (0.0, 0.0, 0.0), "P5");
        assert_eq!((p.ip_colocation_factor_weight, p.ip_colocation_factor_threshold), (-50.0, 5.0), "P6");
        assert_eq!((p.behaviour_penalty_weight, p.behaviour_penalty_decay), (-10.0, 0.986), "P7");
        assert_eq!(p.behaviour_penalty_threshold, 0.0, "P7");
        assert_eq!((p.decay_interval, p.decay_to_zero), (Duration::from_secs(12), 0.01));
        assert_eq!(p.retain_score, Duration::from_secs(600));
        let t = THRESHOLDS;
        assert_eq!((t.gossip_threshold, t.publish_threshold, t.graylist_threshold), (-100.0, -1_000.0, -10_000.0));
        assert_eq!((t.accept_px_threshold, t.opportunistic_graft_threshold), (0.0, 0.0));
        // Two invalid messages end gossip with a peer, four our own messages to it, eleven the connection.
        let invalid = |n: i32| f64::from(n * n) * topic_scores().invalid_message_deliveries_weight;
        assert!(invalid(2) < t.gossip_threshold && invalid(4) < t.publish_threshold);
        assert!(invalid(10) >= t.graylist_threshold && invalid(11) < t.graylist_threshold);
    }

    #[test]
    fn a_messages_id_is_the_hash_of_its_data_on_any_topic() {
        let id = |topic: &str, data: &str| {
            let message =
                Message { source: None, data: data.into(), sequence_number: None, topic: TopicHash::from_raw(topic) };
            config(Attempt::default()).unwrap().message_id(&message).0
        };
        assert_eq!(id("a", "Hello, world!"), crate::hash::gossip_id(b"Hello, world!").as_bytes());
        assert_eq!(id("a", "x"), id("b", "x"));
    }

    #[test]
    fn topics_come_and_go() {
        let (mut relay, mut gossip) = joined();
        assert_eq!(relay.counts(&gossip), [(topic(), 0)]);
        assert_eq!(relay.health(&gossip), [TopicHealth { topic: topic(), mesh_peers: 0 }]);
        assert!(!relay.join(&mut gossip, &topic(), now().instant).unwrap(), "before");
        let named: PubsubTopic = "/waku/2/default-waku/proto".parse().unwrap();
        assert!(relay.join(&mut gossip, &named, now().instant).unwrap());
        assert_eq!(gossip.topics().count(), 2);
        assert!(gossip.get_topic_params(&IdentTopic::new(named.as_str())).is_some(), "it is scored");
        assert!(relay.leave(&mut gossip, &topic()));
        assert!(!relay.leave(&mut gossip, &topic()), "before");
        assert_eq!(gossip.topics().map(TopicHash::as_str).collect::<Vec<_>>(), [named.as_str()]);
        assert_eq!(
            relay.publish(&mut gossip, &topic(), &Bytes::new(), now().instant),
            Err(PublishError::NotSubscribed)
        );
        let foreign: PubsubTopic = "/waku/2/rs/2/1".parse().unwrap();
        assert!(matches!(relay.join(&mut gossip, &foreign, now().instant), Err(RelayError::Subscribe { .. })));
    }

    #[test]
    fn h67_only_topics_of_our_cluster_are_remembered_of_a_peer() {
        let mut filter = OurCluster(ClusterId(1));
        let long = "x".repeat(MAX_PUBSUB_TOPIC_BYTES + 1);
        for (name, taken) in [
            ("/waku/2/rs/1/0", true),
            ("/waku/2/rs/1/1023", true),
            ("/waku/2/default-waku/proto", true),
            ("/waku/2/rs/2/0", false),
            ("/waku/2/rs/1/01", false),
            ("/waku/2/rs/1/0/1", false),
            ("/waku/2/rs/", false),
            ("", false),
            (&long, false),
        ] {
            assert_eq!(filter.can_subscribe(&TopicHash::from_raw(name)), taken, "{name}");
        }
    }

    #[test]
    fn h70_a_key_alone_is_no_less_of_a_signature() {
        let raw = |key: Option<Vec<u8>>| RawMessage {
            source: None,
            data: b"data".to_vec(),
            sequence_number: None,
            topic: TopicHash::from_raw("t"),
            signature: None,
            key,
            validated: false,
        };
        assert!(Keyless.inbound_transform(raw(Some(vec![1]))).is_err());
        assert!(Keyless.inbound_transform(raw(Some(vec![]))).is_err(), "present, though empty");
        assert_eq!(Keyless.inbound_transform(raw(None)).unwrap().data, b"data");
    }

    #[test]
    fn frames_are_counted_to_the_byte() {
        // Message of the known answer: 12 30 <48 bytes> 22 0e <14 bytes> = 66 bytes; in an RPC 12 42 ..; prefix 44.
        assert_eq!(frame_bytes(&topic(), 48), 66 + 2 + 1);
        // Three bytes of length each for data, message and frame, three tags but the frame's, 16 of topic.
        assert_eq!(frame_bytes(&topic(), 153_573), MAX_RPC_BYTES);
        assert_eq!(frame_bytes(&topic(), 153_574), MAX_RPC_BYTES + 1);
    }

    #[test]
    fn publishing_answers_by_cause() {
        let (mut relay, mut gossip) = joined();
        let foreign: PubsubTopic = "/waku/2/rs/1/2".parse().unwrap();
        let data = Bytes::from_static(b"x");
        assert_eq!(relay.publish(&mut gossip, &foreign, &data, now().instant), Err(PublishError::NotSubscribed));
        assert_eq!(relay.publish(&mut gossip, &topic(), &data, now().instant), Err(PublishError::NoPeers));
        assert_eq!(
            relay.publish(&mut gossip, &topic(), &data, now().instant),
            Err(PublishError::NoPeers),
            "not remembered as sent"
        );
        let huge = Bytes::from(vec![0; 153_574]);
        assert_eq!(
            relay.publish(&mut gossip, &topic(), &huge, now().instant),
            Err(PublishError::TooLarge { frame_bytes: MAX_RPC_BYTES + 1, limit_bytes: MAX_RPC_BYTES })
        );
    }
}
