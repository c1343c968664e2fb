//! What the rest of the program holds of this crate: settings in, commands in, events and counters out.
//!
//! Both queues are bounded. Commands wait ([`COMMANDS`]); events never do, because gossip must not stand still for a slow
//! reader: an event that finds its queue full is dropped and counted.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use devp2p::{Now, enr::Enr};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::{
    announce::Announce,
    discovery::discv5,
    filter,
    hash::MessageHash,
    health::TopicHealth,
    known::{ConnectError, KnownPeer},
    lightpush,
    limits::Limits,
    message::WakuMessage,
    peer_exchange,
    relay::PROTOCOL,
    relay::gross::Gross,
    rln::{self, NoProof, attach::Attach, past::Past},
    seek,
    service::{
        Protocol, Services, Target,
        choice::Nodes,
        serve::{AllCounters, Served},
        streams::{Lines, Open},
    },
    shard::ClusterId,
    signed::{SignedError, SigningKey},
    skew::Measured,
    subscriptions::SubscribeError,
    topic::PubsubTopic,
    traffic::Traffic,
    transport::Certificate,
    validate::{Policy, Reason},
    wire::Wire,
};

/// Commands waiting for the node; a caller beyond it waits. Small: each holds a whole message.
pub const COMMANDS: usize = 64;

/// How a node is set up.
#[derive(Clone)]
pub struct Config {
    /// The secp256k1 secret, the same as the devp2p node's key.
    pub key: [u8; 32],
    /// Where to listen, for example `/ip4/0.0.0.0/tcp/60000` or `/ip4/0.0.0.0/tcp/8000/ws`; port 0 takes a free one. None: only
    /// dial.
    pub listen: Vec<Multiaddr>,
    /// What listeners on `/wss` show.
    pub certificate: Option<Certificate>,
    /// Where others are told to reach us.
    pub announce: Announce,
    /// How many connections there may be.
    pub limits: Limits,
    /// Who is asked for the addresses of names; none is the system's own.
    pub name_servers: Vec<SocketAddr>,
    /// The network; peers of another one are left.
    pub cluster: ClusterId,
    /// Pubsub topics to relay from the start; [`Handle::subscribe`] joins further ones. Others are neither taken nor published.
    pub topics: Vec<PubsubTopic>,
    /// Peers to stay connected to: `/ip4/A/tcp/P` or `/dns4/NAME/tcp/P`, perhaps `/ws` or `/wss`, with or without `/p2p/ID` at the
    /// end.
    pub static_peers: Vec<Multiaddr>,
    /// What identify tells others of this program.
    pub agent: String,
    /// What is relayed.
    pub policy: Policy,
    /// How peers are sought beyond the static ones.
    pub seek: seek::Config,
    /// What is served to peers, and who serves this node.
    pub services: Services,
}

impl Config {
    /// Cluster 0, no topic, no listener, no peer.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            listen: Vec::new(),
            certificate: None,
            announce: Announce::default(),
            limits: Limits::default(),
            name_servers: Vec::new(),
            cluster: ClusterId(0),
            topics: Vec::new(),
            static_peers: Vec::new(),
            agent: concat!("causeway/", env!("CARGO_PKG_VERSION")).to_owned(),
            policy: Policy::default(),
            seek: seek::Config::default(),
            services: Services::default(),
        }
    }
}

impl fmt::Debug for Config {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("certificate", &self.certificate)
            .field("announce", &self.announce)
            .field("limits", &self.limits)
            .field("name_servers", &self.name_servers)
            .field("cluster", &self.cluster)
            .field("topics", &self.topics)
            .field("static_peers", &self.static_peers)
            .field("agent", &self.agent)
            .field("policy", &self.policy)
            .field("seek", &self.seek)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// What a node tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message passed validation and is on the network now: one that a peer brought, or one that somebody asked this node to publish
    /// ([`Handle::submit`]). What [`Handle::publish`] sent never comes back.
    Message(Arc<Received>),
    /// A peer's cluster is ours: it stays.
    PeerConnected(PeerInfo),
    /// A peer of [`Event::PeerConnected`] is gone.
    PeerDisconnected {
        /// Which.
        peer: PeerId,
    },
    /// The number of peers that would be sent a message on `topic` has changed. Never lost for good: when the queue is full it is
    /// told again a second later, with the number of that time. May come before the peer's
    /// [`Event::PeerConnected`].
    RelayPeers {
        /// One that is relayed, or was: then nobody would be sent one.
        topic: PubsubTopic,
        /// How many.
        count: usize,
    },
}

/// A message that this node has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it was published.
    pub pubsub_topic: PubsubTopic,
    /// Its content.
    pub message: WakuMessage,
    /// Its deterministic hash.
    pub hash: MessageHash,
    /// Its bytes as they came, and as they are passed on.
    pub data: Bytes,
    /// The peer it came from first, over relay or a service; ourselves where it is our own. Not its author.
    pub from: PeerId,
    /// This node has verified its rate-limit proof. False where proofs are not verified, whatever stands in the message.
    pub proven: bool,
}

/// A message went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// To how many peers at once: all that subscribed to the topic and are in good standing. One whose queue is full does not get
    /// it; that is counted a second later ([`Counters::unsent`]).
    pub peers: usize,
    /// The network had these very bytes in the last two minutes, or their proof in this epoch; nothing was sent again.
    pub duplicate: bool,
    /// The rate-limit proof that it carries and that was verified here before it went out; `None` where none is verified.
    pub proof: Option<Bytes>,
}

/// Why a message did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nobody to send it to. Nothing is kept: publish again when [`Event::RelayPeers`] tells of one.
    #[error("no peer relays this topic now")]
    NoPeers,
    /// Its gossip frame would be over the network's limit. Never succeeds.
    #[error("a gossip frame of {frame_bytes} bytes; {limit_bytes} are allowed")]
    TooLarge {
        /// The frame that would hold it.
        frame_bytes: usize,
        /// [`Policy::max_rpc_bytes`].
        limit_bytes: usize,
    },
    /// The topic is not relayed here: neither among [`Config::topics`] nor joined later.
    #[error("this node does not relay the topic")]
    NotSubscribed,
    /// The shard is a signed one, and the message is not signed, or can't be.
    #[error("the shard is a signed one: {0}")]
    NotSigned(#[from] SignedError),
    /// The queues to all peers are full, so all of them read too slowly. They may have room a little later.
    #[error("the queues to all peers are full")]
    QueueFull,
    /// It has no rate-limit proof, and none could be made.
    #[error("no rate-limit proof: {0}")]
    NoProof(#[from] NoProof),
    /// Peers would not take it. Only of messages that somebody else asks us to publish, and of those with a proof.
    #[error("peers would refuse it: {}", .0.text())]
    Refused(Reason),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Its identity.
    pub peer: PeerId,
    /// Its end of the connection.
    pub addr: Multiaddr,
    /// What identify said of its program; `None` until it did.
    pub agent: Option<String>,
    /// The protocols it says it serves; empty until identify said.
    pub protocols: Vec<String>,
    /// Its cluster; `None` until metadata said.
    pub cluster: Option<ClusterId>,
    /// The shards it says it relays.
    pub shards: Vec<u16>,
    /// Who called whom.
    pub direction: Direction,
    /// When it was met.
    pub since: Now,
    /// What it brought first and was accepted.
    pub brought: Volume,
    /// What gossip thinks of it: below 0 it has misbehaved. `None` while that is not known.
    pub score: Option<f64>,
}

/// Messages, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Volume {
    /// How many.
    pub messages: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

impl PeerInfo {
    /// Does it say that it relays? `None` until identify said.
    #[must_use]
    pub fn says_it_relays(&self) -> Option<bool> {
        self.agent.as_ref().map(|_| self.protocols.iter().any(|protocol| protocol == PROTOCOL))
    }
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// What happened so far. Every number only grows, except `peers`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that gossip handed over: new ones on our topics.
    pub received: AtomicU64,
    /// Their bytes.
    pub received_bytes: AtomicU64,
    /// Of these, passed validation and were relayed.
    pub accepted: AtomicU64,
    /// Of these, dropped without blame, by [`Reason::index`].
    pub ignored: [AtomicU64; Reason::COUNT],
    /// Of these, dropped with blame, by [`Reason::index`].
    pub rejected: [AtomicU64; Reason::COUNT],
    /// Own messages sent.
    pub published: AtomicU64,
    /// Their bytes, each message once.
    pub published_bytes: AtomicU64,
    /// Connected peers now.
    pub peers: AtomicU64,
    /// Peers that this node left: another cluster, no metadata, too low a relay score, reading too slowly, no room for another
    /// that relays.
    pub refused_peers: AtomicU64,
    /// Messages that gossip gave up sending to a peer that reads too slowly.
    pub unsent: AtomicU64,
    /// Own messages sent again, because those they had gone to were lost.
    pub repeated: AtomicU64,
    /// Events nobody took.
    pub events_shed: AtomicU64,
    /// Calls of ours that reached somebody.
    pub dials_succeeded: AtomicU64,
    /// Calls of ours that led nowhere.
    pub dials_failed: AtomicU64,
    /// Topics joined, those of the start not counted.
    pub joined: AtomicU64,
    /// Topics left.
    pub left: AtomicU64,
    /// What was relayed, by topic and by size.
    pub traffic: Traffic,
    /// The same with all that gossip repeats.
    pub gross: Gross,
    /// Bytes of all connections.
    pub wire: Arc<Wire>,
    /// Peer exchange, both sides of it.
    pub exchange: peer_exchange::Counters,
    /// Requests of peers to each service.
    pub services: AllCounters,
    /// What became of messages that light clients pushed.
    pub lightpush: lightpush::Counters,
    /// What filter did, as either side.
    pub filter: filter::Counters,
    /// Rate-limit proofs.
    pub rln: rln::counters::Counters,
}

impl Counters {
    /// Messages rejected for any reason.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        total(&self.rejected)
    }

    /// Messages ignored for any reason.
    #[must_use]
    pub fn ignored_total(&self) -> u64 {
        total(&self.ignored)
    }
}

fn total(counts: &[AtomicU64]) -> u64 {
    counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// The node, for those who use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) shared: Arc<Shared>,
}

/// What all handles of a node share, and the node with them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer_id: PeerId,
    pub(crate) addresses: Arc<RwLock<Vec<Multiaddr>>>,
    pub(crate) health: Arc<RwLock<Vec<TopicHealth>>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock_skew: Arc<Measured>,
    /// Set at the start, where it runs.
    pub(crate) discv5: OnceLock<discv5::Handle>,
    pub(crate) nodes: Nodes,
    pub(crate) lightpush: Option<lightpush::Config>,
    /// Judges proofs of what others kept, where proofs are verified.
    pub(crate) past: Option<Past>,
    /// Attaches proofs to what is published, where we are a member.
    pub(crate) attach: Option<Attach>,
    /// Set at the start, where filter is asked for.
    pub(crate) filter: OnceLock<Arc<filter::Filter>>,
    /// The ways to peers that are connected.
    pub(crate) lines: Arc<Lines>,
    /// Set at the start.
    pub(crate) served: OnceLock<Vec<Served>>,
}

/// Told of every message that this node accepts, whoever brought it, and of every one of its own that went out: one place for those who pass
/// messages on or keep them.
pub trait Witness: Send + Sync + 'static {
    /// A message was accepted. Called in the node's own task: must return at once.
    fn accepted(&self, message: &Arc<Received>);

    /// A peer has its first connection. Called as [`Self::accepted`].
    fn connected(&self, _peer: PeerId) {}

    /// A peer has no connection any more. Called as [`Self::accepted`].
    fn disconnected(&self, _peer: &PeerId) {}
}

/// A message to publish.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) topic: PubsubTopic,
    pub(crate) data: Bytes,
    /// Who asked for it; `None` where the owner of the node did, who needs not be told of it.
    pub(crate) from: Option<PeerId>,
    pub(crate) done: oneshot::Sender<Result<Published, PublishError>>,
}

/// What a [`Handle`] asks of the node.
#[derive(Debug)]
pub(crate) enum Command {
    Publish(Publication),
    MayProve { topic: PubsubTopic, data: Bytes, own: bool, done: oneshot::Sender<Result<(), PublishError>> },
    Subscribe { topic: PubsubTopic, done: oneshot::Sender<Result<bool, SubscribeError>> },
    Unsubscribe { topic: PubsubTopic, done: oneshot::Sender<bool> },
    Peers { done: oneshot::Sender<Vec<PeerInfo>> },
    Open { target: Target, open: Open },
    Known { done: oneshot::Sender<Vec<KnownPeer>> },
    Connect { addr: Multiaddr, done: oneshot::Sender<Result<(), ConnectError>> },
    Settle { done: oneshot::Sender<()> },
    Shutdown { done: oneshot::Sender<()> },
}

/// A [`Handle`] that does not keep the node running: for what the node itself holds.
#[derive(Debug, Clone)]
pub struct WeakHandle {
    commands: mpsc::WeakSender<Command>,
    shared: Arc<Shared>,
}

impl WeakHandle {
    /// The node, while it runs and others hold it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Handle> {
        Some(Handle { commands: self.commands.upgrade()?, shared: Arc::clone(&self.shared) })
    }
}

impl Handle {
    /// A handle that does not keep the node running.
    #[must_use]
    pub fn downgrade(&self) -> WeakHandle {
        WeakHandle { commands: self.commands.downgrade(), shared: Arc::clone(&self.shared) }
    }

    /// Whom the operator names to be asked in this protocol.
    #[must_use]
    pub fn named(&self, protocol: Protocol) -> &[Target] {
        self.shared.nodes.of(protocol)
    }

    /// What peers may ask of this node.
    #[must_use]
    pub fn served(&self) -> &[Served] {
        self.shared.served.get().map_or(&[], Vec::as_slice)
    }

    /// Our node record as discovery over UDP tells it now; `None` when that does not run.
    #[must_use]
    pub fn record(&self) -> Option<Enr> {
        self.shared.discv5.get().map(discv5::Handle::record)
    }

    /// What discovery over UDP knows of nodes; `None` when that does not run.
    #[must_use]
    pub fn discovered(&self) -> Option<&discv5::Seen> {
        self.shared.discv5.get().map(discv5::Handle::seen)
    }

    /// Sends `data`, an encoded [`WakuMessage`], to every peer of `topic`. Returns when it is in the peers' queues, not when
    /// it has arrived. Where proofs are verified, one that it has is, before; where we are a member, one is attached to a message
    /// without, which takes a good part of a second and changes its bytes, not its hash. Cancelling leaves open whether it was sent.
    ///
    /// # Errors
    /// See [`PublishError`]. Of these only [`PublishError::NoPeers`] is worth another try.
    pub async fn publish(&self, topic: PubsubTopic, data: Bytes) -> Result<Published, PublishError> {
        let data = self.proven(None, &topic, data, None).await?;
        self.publish_from(None, topic, data).await
    }

    /// As [`Self::publish`], for who spends a rate that is shared: a proof is made out of what is kept for `class`, or of what is kept for
    /// none, and where proofs are verified nothing goes out without one. Cancelling leaves open whether it was sent.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`PublishError::NoProof`] also where this node makes no proofs and others ask for them.
    pub async fn publish_proven(
        &self,
        topic: PubsubTopic,
        data: Bytes,
        class: Option<Arc<str>>,
    ) -> Result<Published, PublishError> {
        if self.verifies_proofs() && self.shared.attach.is_none() {
            return Err(NoProof::NotReady.into());
        }
        let data = self.proven(None, &topic, data, class).await?;
        self.publish_from(None, topic, data).await
    }

    /// Are rate-limit proofs verified here? Then [`Received::proven`] says what was.
    #[must_use]
    pub fn verifies_proofs(&self) -> bool {
        self.shared.past.is_some()
    }

    /// What judges proofs of messages that others kept; `None` where no proofs are verified.
    #[must_use]
    pub fn past_proofs(&self) -> Option<&Past> {
        self.shared.past.as_ref()
    }

    /// Publishes what somebody else gave us, a light client or an application: as [`Self::publish`], but it is held against the same rules as
    /// what relay brings, and once it is out it is told as [`Event::Message`]. Cancelling leaves open whether it was sent.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`PublishError::Refused`] for what peers would not take.
    pub async fn submit(&self, from: PeerId, topic: PubsubTopic, data: Bytes) -> Result<Published, PublishError> {
        let data = self.proven(Some(from), &topic, data, None).await?;
        self.submit_as_it_is(from, topic, data).await
    }

    /// As [`Self::submit`], without a proof of ours. Cancelling leaves open whether it was sent.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_as_it_is(
        &self,
        from: PeerId,
        topic: PubsubTopic,
        data: Bytes,
    ) -> Result<Published, PublishError> {
        self.publish_from(Some(from), topic, data).await
    }

    /// `data` with a proof of ours where it has none and we are a member, and as it is otherwise.
    async fn proven(
        &self,
        from: Option<PeerId>,
        topic: &PubsubTopic,
        data: Bytes,
        class: Option<Arc<str>>,
    ) -> Result<Bytes, PublishError> {
        let Some(attach) = &self.shared.attach else { return Ok(data) };
        // What is none is refused where everything is.
        let Ok(message) = WakuMessage::decode_shared(data.clone()) else { return Ok(data) };
        if message.rate_limit_proof.is_some() {
            return Ok(data);
        }
        let (done, answer) = oneshot::channel();
        let asked = Command::MayProve { topic: topic.clone(), data, own: from.is_none(), done };
        self.commands.send(asked).await.map_err(|_| PublishError::Stopped)?;
        answer.await.unwrap_or(Err(PublishError::Stopped))?;
        let attached = attach.attach(message, class, devp2p::clock::now()).await;
        let counters = &self.shared.counters.rln;
        rln::counters::Counters::one(if attached.is_ok() { &counters.attached } else { &counters.not_attached });
        counters.last_proving_nanos.store(attach.last_nanos(), Ordering::Relaxed);
        Ok(attached?)
    }

    async fn publish_from(
        &self,
        from: Option<PeerId>,
        topic: PubsubTopic,
        data: Bytes,
    ) -> Result<Published, PublishError> {
        let (done, answer) = oneshot::channel();
        let publication = Publication { topic, data, from, done };
        self.commands.send(Command::Publish(publication)).await.map_err(|_| PublishError::Stopped)?;
        answer.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Signs `message` with the key of a signed shard and sends it. Cancelling leaves open whether it was sent.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`PublishError::NotSigned`] when the message has no time, or something in `meta`, where the signature
    /// is to stand.
    pub async fn publish_signed(
        &self,
        topic: PubsubTopic,
        message: WakuMessage,
        key: &SigningKey,
    ) -> Result<Published, PublishError> {
        let signed = key.sign(&topic, message)?;
        self.publish(topic, signed.encode()).await
    }

    /// Relays a further topic. Peers are told at once, by gossip, and by metadata whenever they ask from now on. False when it was
    /// relayed before. Cancelling leaves open whether it was joined.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub async fn subscribe(&self, topic: PubsubTopic) -> Result<bool, SubscribeError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Subscribe { topic, done }).await.map_err(|_| SubscribeError::Stopped)?;
        answer.await.unwrap_or(Err(SubscribeError::Stopped))
    }

    /// Relays a topic no longer, and tells peers so. False when it was not relayed, or the node has stopped. Cancelling leaves open
    /// whether it was left.
    pub async fn unsubscribe(&self, topic: PubsubTopic) -> bool {
        let (done, answer) = oneshot::channel();
        match self.commands.send(Command::Unsubscribe { topic, done }).await {
            Ok(()) => answer.await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// The topics that are relayed, in order of their names, and how well each is joined to its mesh. Looked at every
    /// [`crate::health::INTERVAL`], each second while one has no mesh, and when a topic comes or goes.
    #[must_use]
    pub fn health(&self) -> Vec<TopicHealth> {
        match self.shared.health.read() {
            Ok(health) => health.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// How far the clocks of others are ahead of ours, in seconds, negative where they are behind; `None` while too few peers say
    /// anything. Measured every [`crate::skew::INTERVAL`].
    #[must_use]
    pub fn clock_skew_secs(&self) -> Option<f64> {
        self.shared.clock_skew.secs()
    }

    /// The connected peers; none once the node has stopped. Safe to cancel.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        let (done, answer) = oneshot::channel();
        match self.commands.send(Command::Peers { done }).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// The peers that are known, the connected ones first; `None` once the node has stopped. Safe to cancel.
    pub async fn known_peers(&self) -> Option<Vec<KnownPeer>> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Known { done }).await.ok()?;
        answer.await.ok()
    }

    /// Calls the peer of an address that ends in `/p2p/ID`, once. At once when it is connected already. Cancelling does not end the
    /// call.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(&self, addr: Multiaddr) -> Result<(), ConnectError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Connect { addr, done }).await.map_err(|_| ConnectError::Stopped)?;
        answer.await.unwrap_or(Err(ConnectError::Stopped))
    }

    /// Waits until what was told to the connected peers before has reached them: messages, and which topics we relay. A peer that
    /// does not answer holds it up for [`crate::behaviour::METADATA_TIMEOUT`] at most. Returns at once when the node has stopped.
    /// Safe to cancel.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.commands.send(Command::Settle { done }).await.is_ok() {
            // An error says that the node has stopped.
            let _ = settled.await;
        }
    }

    /// What asks filter nodes, where this node does that ([`filter::Config::ask`]).
    #[must_use]
    pub fn filter(&self) -> Option<&Arc<filter::Subscriber>> {
        self.shared.filter.get()?.subscriber()
    }

    /// Who is subscribed here to what by filter v2, as many as are remembered; none where filter is not served.
    #[must_use]
    pub fn filter_subscriptions(&self) -> Vec<(PeerId, Vec<(PubsubTopic, String)>)> {
        self.shared.filter.get().map(|filter| filter.subscriptions()).unwrap_or_default()
    }

    /// This node's identity.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer_id
    }

    /// Where it can be dialled, `/p2p/ID` included: what [`Config::announce`] makes of the addresses really bound, which are one for
    /// each interface. Identify tells the same.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        match self.shared.addresses.read() {
            Ok(addresses) => addresses.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Closes all connections and ends the node's task, within about a second. What was just published may take
    /// some seconds more to reach peers that answer slowly; what is in a peer's queue after it is lost.
    /// Returns at once when the node has stopped before. Cancelling does not stop the shutdown.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Shutdown { done }).await.is_ok() {
            // An error says that the task is gone, which is what was asked for.
            let _ = ended.await;
        }
    }
}
