//! A client of one peer, on either network: what `demo`, `listen` and `post` are made of.

use std::{fmt::Display, str::FromStr, sync::Arc, time::Duration};

use bridge::content_topic::canonical;
use bytes::Bytes;
use devp2p::{ConnId, enode::Enode, key::NodeKey};
use rand::{Rng, RngExt};
use tokio::sync::mpsc;
use waku0::{
    Envelope, EnvelopeHash, Pow, Topic, Unsealed, confirm::Outcome, envelope::EnvelopeError, limits::Rates,
    node::Settings,
};
use waku2::{
    ClusterId, ContentTopic, MessageHash, Meta, Multiaddr, PublishError, PubsubTopic, Received, WakuMessage,
    signed::SigningKey,
};

use crate::{agent, config, keys::system_rng};

/// Events kept for a client that is slow to read; what comes on top of them is lost to it.
const MAX_EVENTS: usize = 4096;
/// Proof of work of what clients post, the value of Status clients.
const POST_POW: f64 = 0.002;
/// The same for envelopes over [`LARGE_BYTES`].
const POST_POW_LARGE: f64 = 0.000_002;
/// From this data size on, in bytes, Status clients mine the lower value.
const LARGE_BYTES: usize = 50_000;
/// How far the time of a message may be moved, either way, in nanoseconds.  Spec: 64/WAKU2-NETWORK, "timestamp": a second.
const FUDGE_NANOS: i64 = NANOS_A_SECOND;
/// As it says.
const NANOS_A_SECOND: i64 = 1_000_000_000;
/// Nonces tried between two looks at the clock; at the values above, a few thousand are enough for the largest envelope.
const NONCES_AT_ONCE: usize = 1 << 18;

/// A peer to talk to: its generation follows from the form of its address.
#[derive(Debug, Clone)]
pub enum PeerAddress {
    /// A waku/0 peer.
    V0(Enode),
    /// A Waku Network peer.
    V2(Multiaddr),
}

/// What can go wrong between a client and its peer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Of both networks.
    #[error("peers of one network are listened to at a time: enode URLs, or multiaddrs")]
    Mixed,
    /// Neither form of address.
    #[error("{0:?} is neither an enode URL (enode://…@host:port) nor a multiaddr that ends in /p2p/ID")]
    Address(String),
    /// The peer did not come up in time.
    #[error("no session with {0} within {1} s: is it running, and of the same network?")]
    NotReached(String, u64),
    /// The waku/0 side could not start.
    #[error("the waku/0 client can't start: {0}")]
    StartV0(#[from] waku0::run::StartError),
    /// The v2 side could not start.
    #[error("the Waku Network client can't start: {0}")]
    StartV2(#[from] waku2::run::StartError),
    /// The envelope can't be made.
    #[error("no envelope can be made of this: {0}")]
    Envelope(#[from] EnvelopeError),
    /// Mining failed.
    #[error(
        "not enough proof of work was found in time for an envelope of {0} bytes: ask for less, or give it longer to live"
    )]
    Pow(usize),
    /// The envelope was refused.
    #[error("the envelope was not posted: {0}")]
    Post(#[from] waku0::handle::PostError),
    /// The message was refused.
    #[error("the message was not published: {0}")]
    Publish(#[from] PublishError),
    /// A key, and an envelope.
    #[error("a waku/0 envelope is not signed with the key of a shard: leave --signing-key-file out")]
    NothingToSign,
    /// Our own node ended.
    #[error("the client's node has stopped")]
    Stopped,
}

impl ClientError {
    fn not_reached<T: Display>(peers: &[T], wait: Duration) -> Self {
        let peers: Vec<String> = peers.iter().map(T::to_string).collect();
        Self::NotReached(peers.join(", "), wait.as_secs())
    }
}

impl FromStr for PeerAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(enode) = text.parse() {
            return Ok(Self::V0(enode));
        }
        config::peer_address(text).map(Self::V2).map_err(|_| ClientError::Address(text.into()))
    }
}

/// A waku/0 node with one peer and no listener.
#[derive(Debug)]
pub struct V0Client {
    handle: waku0::Handle,
    events: mpsc::Receiver<waku0::Event>,
}

impl V0Client {
    /// Connects and exchanges Status.
    ///
    /// # Errors
    /// If the peer has no session with us within `wait`.
    pub async fn connect(peer: &Enode, wait: Duration) -> Result<Self, ClientError> {
        Self::connect_to(std::slice::from_ref(peer), 1, wait).await
    }

    /// The same with several peers, as soon as so many of them are there.
    ///
    /// # Errors
    /// As [`V0Client::connect`].
    pub async fn connect_to(peers: &[Enode], count: usize, wait: Duration) -> Result<Self, ClientError> {
        // Of the peers that it was pointed at, a client takes all that there is.
        let settings = Settings { min_pow: Pow::ZERO, rates: Rates::NONE, ..Settings::default() };
        let key = NodeKey::generate(&mut system_rng());
        let (mut client, _) = Self::start(peers, wait, key, settings).await?;
        let others = async {
            let mut there = 1;
            while there < count {
                match client.events.recv().await? {
                    waku0::Event::PeerRunning { .. } => there += 1,
                    waku0::Event::PeerGone { .. } => there -= 1,
                    _ => {}
                }
            }
            Some(())
        };
        match tokio::time::timeout(wait, others).await {
            Ok(Some(())) => Ok(client),
            _ => Err(ClientError::not_reached(peers, wait)),
        }
    }

    /// Connects to one of these peers with a key and settings of the caller's; and the connection.
    ///
    /// # Errors
    /// As [`V0Client::connect`].
    pub(crate) async fn start(
        peers: &[Enode],
        wait: Duration,
        key: NodeKey,
        settings: Settings,
    ) -> Result<(Self, ConnId), ClientError> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let config = waku0::run::Config {
            key,
            client_id: agent(),
            listen: None,
            static_nodes: peers.to_vec(),
            limits: devp2p::Limits::default(),
            network: devp2p::Network::default(),
            settings,
            accounts: None,
            mail: None,
        };
        let (handle, _task) = waku0::run::start(config, sender).await?;
        let mut client = Self { handle, events };
        let reached = async {
            while let Some(event) = client.events.recv().await {
                if let waku0::Event::PeerRunning { conn } = event {
                    return Some(conn);
                }
            }
            None
        };
        match tokio::time::timeout(wait, reached).await {
            Ok(Some(conn)) => Ok((client, conn)),
            _ => Err(ClientError::not_reached(peers, wait)),
        }
    }

    /// Mines and posts one envelope, with the work that Status clients do.
    ///
    /// # Errors
    /// If no envelope can be made or the node refuses it.
    pub async fn post(&self, topic: Topic, ttl: u32, data: Bytes) -> Result<EnvelopeHash, ClientError> {
        Ok(self.handle.post(Mined::make(topic, ttl, data, None, |_| {}).await?.envelope).await?.hash)
    }

    /// Posts an envelope, and waits for what the peer says of it, if it is one that confirms what it gets.
    ///
    /// # Errors
    /// If the node refuses it. A refusal by the peer is an outcome.
    pub async fn post_confirmed(&self, envelope: Envelope) -> Result<Option<Outcome>, ClientError> {
        let (_, watch) = self.handle.post_followed(envelope).await?;
        let peers = self.handle.peers().await;
        let confirms = peers.iter().filter_map(|peer| peer.options.as_ref()).any(|options| options.confirmations);
        Ok(if confirms { Some(watch.outcome().await) } else { None })
    }

    /// The next envelope that the peer passes on; `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<Arc<Envelope>> {
        loop {
            if let waku0::Event::Envelope { envelope, .. } = self.events.recv().await? {
                return Some(envelope);
            }
        }
    }

    /// What the client's node is asked by.
    pub(crate) fn handle(&self) -> &waku0::Handle {
        &self.handle
    }

    /// The next thing that has happened; `None` once the node has stopped.
    pub(crate) async fn event(&mut self) -> Option<waku0::Event> {
        self.events.recv().await
    }

    /// Takes leave of the peer.
    pub async fn close(self) {
        self.handle.shutdown().await;
    }
}

/// How far the search for a nonce has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Nonces that did not do.
    pub tried: u64,
    /// How many it takes on average.
    pub expected: f64,
    /// How long it has been going on.
    pub took: Duration,
    /// After this time it is given up.
    pub within: Duration,
}

/// An envelope of our own, with its proof of work.
#[derive(Debug, Clone)]
pub struct Mined {
    /// The envelope.
    pub envelope: Envelope,
    /// How long the search for its nonce took.
    pub took: Duration,
}

impl Mined {
    /// Makes an envelope that is sent now, with `target` as its work, or that of Status clients. A search that takes long is told of.
    ///
    /// # Errors
    /// If no envelope can be made of this, or its time to live is over before enough work is done.
    pub async fn make(
        topic: Topic,
        ttl: u32,
        data: Bytes,
        target: Option<Pow>,
        tell: impl FnMut(Search) + Send + 'static,
    ) -> Result<Self, ClientError> {
        let ttl = ttl.max(1);
        let expiry = u32::try_from(devp2p::clock::now().unix_secs()).unwrap_or(u32::MAX).saturating_add(ttl);
        let target = target.unwrap_or_else(|| usual_work(data.len()));
        let unsealed = Unsealed::new(expiry, ttl, topic, data)?;
        tokio::task::spawn_blocking(move || Self::mine(unsealed, target, Duration::from_secs(ttl.into()), tell))
            .await
            .map_err(|_| ClientError::Stopped)?
    }

    /// Searches until `within` is over, and tells how far it has come each time that many nonces did not do.
    ///
    /// # Errors
    /// [`ClientError::Pow`] when it is.
    pub fn mine(
        unsealed: Unsealed,
        target: Pow,
        within: Duration,
        mut tell: impl FnMut(Search),
    ) -> Result<Self, ClientError> {
        let start = devp2p::clock::now().instant;
        let (bits, bytes) = (unsealed.required_bits(target), unsealed.short_rlp_len());
        let expected = 2f64.powi(i32::try_from(bits).unwrap_or(i32::MAX));
        for from in (0..).step_by(NONCES_AT_ONCE) {
            if let Some(nonce) = unsealed.search(0, from, NONCES_AT_ONCE as u64, bits) {
                return Ok(Self { envelope: unsealed.seal(nonce), took: start.elapsed() });
            }
            let took = start.elapsed();
            if took >= within {
                break;
            }
            tell(Search { tried: from + NONCES_AT_ONCE as u64, expected, took, within });
        }
        Err(ClientError::Pow(bytes))
    }
}

/// What Status clients do for so many bytes of data.
pub(crate) fn usual_work(bytes: usize) -> Pow {
    let target = if bytes > LARGE_BYTES { POST_POW_LARGE } else { POST_POW };
    Pow::new(target).unwrap_or(Pow::ZERO)
}

/// A Waku Network node with one peer and no listener.
#[derive(Debug)]
pub struct V2Client {
    handle: waku2::Handle,
    events: mpsc::Receiver<waku2::Event>,
    topic: PubsubTopic,
}

impl V2Client {
    /// Connects and waits until the peer relays the topic.
    ///
    /// # Errors
    /// If the peer does not relay the topic with us within `wait`.
    pub async fn connect(
        peer: &Multiaddr,
        cluster: ClusterId,
        topic: PubsubTopic,
        wait: Duration,
    ) -> Result<Self, ClientError> {
        Self::connect_to(std::slice::from_ref(peer), 1, cluster, topic, wait).await
    }

    /// The same with several peers, as soon as so many of them do.
    ///
    /// # Errors
    /// As [`V2Client::connect`].
    pub async fn connect_to(
        peers: &[Multiaddr],
        count: usize,
        cluster: ClusterId,
        topic: PubsubTopic,
        wait: Duration,
    ) -> Result<Self, ClientError> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let config = waku2::Config {
            cluster,
            topics: vec![topic.clone()],
            static_peers: peers.to_vec(),
            agent: agent(),
            ..waku2::Config::new(NodeKey::generate(&mut system_rng()).to_bytes())
        };
        let (handle, _task) = waku2::run::start(config, sender).await?;
        let mut client = Self { handle, events, topic };
        let reached = async {
            while let Some(event) = client.events.recv().await {
                if matches!(event, waku2::Event::RelayPeers { count: there, .. } if there >= count.max(1)) {
                    // And the peer knows that we do.
                    client.handle.settle().await;
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(wait, reached).await {
            Ok(true) => Ok(client),
            _ => Err(ClientError::not_reached(peers, wait)),
        }
    }

    /// Publishes one message of version 1, stamped with the present time.
    ///
    /// # Errors
    /// If no peer takes it.
    pub async fn publish(&self, content_topic: ContentTopic, payload: Bytes) -> Result<MessageHash, ClientError> {
        self.publish_at(devp2p::clock::now().unix_nanos(), content_topic, payload, None).await
    }

    /// The same with a time of the caller's, and with the key of a signed shard, if it is one.
    ///
    /// # Errors
    /// If no peer takes it, or it can't be signed.
    pub async fn publish_at(
        &self,
        unix_nanos: i64,
        content_topic: ContentTopic,
        payload: Bytes,
        signing: Option<&SigningKey>,
    ) -> Result<MessageHash, ClientError> {
        let message = message_at(unix_nanos, content_topic, payload);
        let message = match signing {
            Some(key) => key.sign(&self.topic, message).map_err(PublishError::from)?,
            None => message,
        };
        let hash = waku2::hash::message_hash(&self.topic, &message);
        self.handle.publish(self.topic.clone(), message.encode()).await?;
        Ok(hash)
    }

    /// The next message that the peer passes on; `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<Arc<Received>> {
        loop {
            if let waku2::Event::Message(received) = self.events.recv().await? {
                return Some(received);
            }
        }
    }

    /// Takes leave of the peer.
    pub async fn close(self) {
        self.handle.shutdown().await;
    }
}

/// A message of version 1.
fn message_at(unix_nanos: i64, content_topic: ContentTopic, payload: Bytes) -> WakuMessage {
    WakuMessage {
        payload,
        content_topic,
        version: 1,
        timestamp: Some(unix_nanos),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

/// What a letter is on the Waku Network, sent now. Nobody has signed it.
pub(crate) fn message(letter: &Letter) -> WakuMessage {
    message_at(letter.unix_nanos(), canonical(letter.topic), letter.text.clone())
}

/// A client of either generation.
#[derive(Debug)]
pub enum Client {
    /// Of a waku/0 peer.
    V0(V0Client),
    /// Of a Waku Network peer.
    V2(Box<V2Client>),
}

/// A text to send, and how.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What it is about.
    pub topic: Topic,
    /// Time to live in seconds, of an envelope.
    pub ttl: u32,
    /// The text, as it is sent: encrypted or not.
    pub text: Bytes,
    /// The work of an envelope; that of Status clients, if there is none.
    pub pow: Option<Pow>,
    /// Whether the time of a message is moved by up to a second.
    pub fudge: bool,
    /// The key of a signed shard, for a message.
    pub signing: Option<SigningKey>,
}

impl Letter {
    /// Now, or near it.
    fn unix_nanos(&self) -> i64 {
        let now = devp2p::clock::now().unix_nanos();
        if self.fudge { fudged(now, &mut system_rng()) } else { now }
    }
}

/// A time near that one, by chance.
fn fudged(unix_nanos: i64, rng: &mut impl Rng) -> i64 {
    unix_nanos.saturating_add(rng.random_range(-FUDGE_NANOS..=FUDGE_NANOS))
}

/// What was sent, and what the peer says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What it is: an envelope or a message.
    pub kind: &'static str,
    /// Envelope hash or message hash; `None` of a message whose shard another node chooses.
    pub hash: Option<String>,
    /// Bytes of the envelope, if it was made here; else of the payload.
    pub size: usize,
    /// The work of an envelope, and how long it took.
    pub work: Option<(Pow, Duration)>,
    /// What a waku/0 peer that confirms has answered; `None` of others, which never answer.
    pub outcome: Option<Outcome>,
}

/// What a peer passed on, in the words of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Topic or content topic.
    pub topic: String,
    /// Envelope hash or message hash.
    pub hash: String,
    /// Data or payload.
    pub bytes: Bytes,
    /// When it was sent, in unix seconds, if it says so.
    pub sent: Option<u64>,
    /// The work of an envelope.
    pub pow: Option<Pow>,
}

impl Client {
    /// Connects by the form of the addresses, until so many of them are reached; cluster and pubsub topic matter to Waku Network peers
    /// alone.
    ///
    /// # Errors
    /// [`ClientError::Mixed`]; as [`V0Client::connect_to`] and [`V2Client::connect_to`].
    pub async fn connect(
        peers: &[PeerAddress],
        count: usize,
        cluster: ClusterId,
        pubsub: PubsubTopic,
        wait: Duration,
    ) -> Result<Self, ClientError> {
        let (mut enodes, mut multiaddrs) = (Vec::new(), Vec::new());
        for peer in peers {
            match peer {
                PeerAddress::V0(enode) => enodes.push(enode.clone()),
                PeerAddress::V2(address) => multiaddrs.push(address.clone()),
            }
        }
        match (enodes.is_empty(), multiaddrs.is_empty()) {
            (false, true) => V0Client::connect_to(&enodes, count, wait).await.map(Self::V0),
            (true, false) => {
                V2Client::connect_to(&multiaddrs, count, cluster, pubsub, wait).await.map(Box::new).map(Self::V2)
            }
            (true, true) | (false, false) => Err(ClientError::Mixed),
        }
    }

    /// A topic as this network writes it.
    #[must_use]
    pub fn name_of(&self, topic: Topic) -> String {
        match self {
            Self::V0(_) => topic.to_string(),
            Self::V2(_) => canonical(topic).to_string(),
        }
    }

    /// The next that the peer passes on; `None` once the node has stopped.
    pub async fn next(&mut self) -> Option<Heard> {
        match self {
            Self::V0(client) => client.next().await.map(|envelope| Heard {
                topic: envelope.topic().to_string(),
                hash: envelope.hash().to_string(),
                bytes: envelope.data().clone(),
                sent: Some(envelope.sent().into()),
                pow: Some(envelope.pow()),
            }),
            Self::V2(client) => client.next().await.map(|received| Heard {
                topic: received.message.content_topic.to_string(),
                hash: received.hash.to_string(),
                bytes: received.message.payload.clone(),
                sent: received.message.timestamp.and_then(|nanos| u64::try_from(nanos / NANOS_A_SECOND).ok()),
                pow: None,
            }),
        }
    }

    /// Sends a text, and tells of a search for work that takes long.
    ///
    /// # Errors
    /// As [`Mined::make`], [`V0Client::post_confirmed`] and [`V2Client::publish_at`].
    pub async fn post(&self, letter: Letter, tell: impl FnMut(Search) + Send + 'static) -> Result<Sent, ClientError> {
        match self {
            Self::V0(client) => {
                let Letter { topic, ttl, text, pow, .. } = letter;
                let Mined { envelope, took } = Mined::make(topic, ttl, text, pow, tell).await?;
                let (hash, size, pow) = (Some(envelope.hash().to_string()), envelope.raw().len(), envelope.pow());
                let outcome = client.post_confirmed(envelope).await?;
                Ok(Sent { kind: "envelope", hash, size, work: Some((pow, took)), outcome })
            }
            Self::V2(client) => {
                let (time, size) = (letter.unix_nanos(), letter.text.len());
                let Letter { topic, text, signing, .. } = letter;
                let hash = client.publish_at(time, canonical(topic), text, signing.as_ref()).await?;
                Ok(Sent { kind: "message", hash: Some(hash.to_string()), size, work: None, outcome: None })
            }
        }
    }

    /// Takes leave of the peer.
    pub async fn close(self) {
        match self {
            Self::V0(client) => client.close().await,
            Self::V2(client) => client.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::seeded_rng;

    #[test]
    fn a_fudged_time_is_within_a_second_either_way() {
        let mut rng = seeded_rng(1);
        let moved: Vec<i64> = (0..1_000).map(|_| fudged(0, &mut rng)).collect();
        assert!(moved.iter().all(|nanos| nanos.abs() <= FUDGE_NANOS));
        let half = FUDGE_NANOS / 2;
        assert!(moved.iter().any(|nanos| *nanos > half) && moved.iter().any(|nanos| *nanos < -half));
    }
}
