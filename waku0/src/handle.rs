//! What the rest of the program holds of a node: commands in, events out.
//!
//! Limits: [`COMMAND_QUEUE`] commands wait for the node, and who gives another waits with them. Events go to a queue of
//! the consumer's own length; see [`Event`] for what happens when it is full.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use devp2p::{
    ConnId, DisconnectReason, Enode, NodeId, Now, PublicKey, ServerHandle, budget::Spent, server::ConnectionCounts,
};
use tokio::sync::{mpsc, oneshot};

pub use crate::node::{NotSent, PostError, Posted};
use crate::{
    accounting::Traffic,
    confirm::Outcome,
    counters::Counters,
    envelope::{Envelope, EnvelopeHash},
    interest::Interest,
    limits::Rates,
    mail::Asked,
    packet::{Code, p2p::Direct},
    peer::{PeerOptions, Remote},
    pow::Pow,
    settings::Change,
    version::Version,
};

/// Commands that wait for the node. Each is carried out within microseconds, so a few dozen are plenty.
pub const COMMAND_QUEUE: usize = 64;

/// What has happened. An envelope that finds the consumer's queue full is shed and counted, and gossip goes on; news of
/// peers wait until there is room.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new envelope from a peer. Never an own post, a duplicate, or what a trusted peer sent outside of gossip.
    Envelope {
        /// The envelope.
        envelope: Arc<Envelope>,
        /// Who brought it first.
        from: ConnId,
    },
    /// An own envelope has ended: confirmed or not. Shed as envelopes are; [`Handle::post_followed`] loses nothing.
    PostEnded {
        /// Which.
        hash: EnvelopeHash,
        /// How.
        outcome: Outcome,
    },
    /// A trusted peer has sent something outside of gossip. Shed as envelopes are.
    Direct {
        /// Who.
        conn: ConnId,
        /// What. Nothing about its envelopes was checked, and they are in no pool.
        packet: Direct,
    },
    /// A peer's Status was exchanged.
    PeerRunning {
        /// Its connection.
        conn: ConnId,
    },
    /// A running peer is gone.
    PeerGone {
        /// Its connection.
        conn: ConnId,
    },
}

/// One connected peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Its connection.
    pub conn: ConnId,
    /// Its static key.
    pub key: PublicKey,
    /// Its client's name and version, as it says.
    pub client_id: String,
    /// Where it is.
    pub addr: SocketAddr,
    /// Whether it dialled us.
    pub inbound: bool,
    /// What is spoken with it.
    pub version: Version,
    /// When it connected.
    pub since: Now,
    /// What it has announced; `None` before its Status.
    pub options: Option<PeerOptions>,
    /// What went over the connection.
    pub traffic: Traffic,
    /// What is thought of it: see [`crate::upkeep::Upkeep::score`]. `None` before its Status.
    pub score: Option<f64>,
}

/// Somebody asks for history, or a trusted mailserver for what it lacks.
#[derive(Debug, Clone)]
pub struct MailRequest {
    /// On which connection: the answer goes there and nowhere else.
    pub conn: ConnId,
    /// Who.
    pub remote: Remote,
    /// Its client's name and version, as it says.
    pub client_id: String,
    /// What is spoken with it.
    pub version: Version,
    /// What.
    pub asked: Asked,
}

/// Who serves history.
#[derive(Debug, Clone)]
pub struct Mailroom {
    /// Takes requests. When it is full, the peer is told that the server is busy.
    pub requests: mpsc::Sender<MailRequest>,
    /// Takes every new envelope, own posts too, to be archived; `None` where that is done otherwise. When it is full, the envelope is
    /// shed and counted.
    pub envelopes: Option<mpsc::Sender<Arc<Envelope>>>,
}

/// A running node. Cheap to clone; the node stops when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) server: ServerHandle,
    pub(crate) counters: Arc<Counters>,
}

/// What a handle asks of the node's task.
#[derive(Debug)]
pub(crate) enum Command {
    Post { envelope: Envelope, reply: oneshot::Sender<Result<Posted, PostError>> },
    PostFollowed { envelope: Envelope, reply: oneshot::Sender<Result<(Posted, PostWatch), PostError>> },
    Change { change: Change, reply: oneshot::Sender<()> },
    Trust { conn: ConnId, trusted: bool, reply: oneshot::Sender<bool> },
    Mail { conn: ConnId, code: Code, body: Bytes, reply: oneshot::Sender<Result<(), NotSent>> },
    Keep { node: Enode, reply: oneshot::Sender<bool> },
    Release { node: NodeId, reply: oneshot::Sender<bool> },
    Peers { reply: oneshot::Sender<Vec<PeerInfo>> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// Waits for what becomes of one post. Dropping it changes nothing.
#[derive(Debug)]
pub struct PostWatch(pub(crate) oneshot::Receiver<Outcome>);

impl PostWatch {
    /// How the post ended: within [`crate::confirm::CONFIRM_TIMEOUT`], and as unanswered when the node stops before.
    /// A post that was in the pool already and has ended before is unanswered at once.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Outcome::Unanswered)
    }
}

impl Handle {
    /// Posts an envelope. When cancelled, it may have been posted or not.
    ///
    /// # Errors
    /// [`PostError`] when the node's own checks refuse it, or it has stopped.
    pub async fn post(&self, envelope: Envelope) -> Result<Posted, PostError> {
        self.ask(|reply| Command::Post { envelope, reply }).await.unwrap_or(Err(PostError::Stopped))
    }

    /// Posts an envelope as [`Handle::post`] does, and follows what becomes of it.
    ///
    /// # Errors
    /// [`PostError`] when the node's own checks refuse it, or it has stopped.
    pub async fn post_followed(&self, envelope: Envelope) -> Result<(Posted, PostWatch), PostError> {
        self.ask(|reply| Command::PostFollowed { envelope, reply }).await.unwrap_or(Err(PostError::Stopped))
    }

    /// Sets the least proof of work that is taken, and tells peers. The former floor is tolerated for ten seconds.
    /// When cancelled, it may have been set or not; so with the others.
    pub async fn set_min_pow(&self, min_pow: Pow) {
        self.change(Change::MinPow(min_pow)).await;
    }

    /// Sets which envelopes are taken, and tells peers. The former interest is tolerated for ten seconds.
    pub async fn set_interest(&self, interest: Interest) {
        self.change(Change::Interest(interest)).await;
    }

    /// Sets whether nothing is forwarded, and tells peers. Peers that are light as well are left.
    pub async fn set_light(&self, light: bool) {
        self.change(Change::Light(light)).await;
    }

    /// Sets whether packets of envelopes are acknowledged, and tells peers.
    pub async fn set_confirmations(&self, confirmations: bool) {
        self.change(Change::Confirmations(confirmations)).await;
    }

    /// Sets how much peers may send, and tells them.
    pub async fn set_rate_limits(&self, rates: Rates) {
        self.change(Change::Rates(rates)).await;
    }

    /// Sets the largest envelope that is taken, in bytes: 20 and its data.
    pub async fn set_max_message_size(&self, bytes: usize) {
        self.change(Change::MaxMessageSize(bytes)).await;
    }

    async fn change(&self, change: Change) {
        self.ask(|reply| Command::Change { change, reply }).await;
    }

    /// Trusts a peer, or no longer: what it sends outside of gossip is taken while it is. Trust ends with the connection.
    /// Returns whether there is such a peer. When cancelled, it may be trusted or not.
    pub async fn trust(&self, conn: ConnId, trusted: bool) -> bool {
        self.ask(|reply| Command::Trust { conn, trusted, reply }).await.unwrap_or(false)
    }

    /// Sends a peer a packet outside of gossip, behind everything else that waits for it. Returns when its connection has taken
    /// the packet; when cancelled, it may be sent or not.
    ///
    /// # Errors
    /// [`NotSent`] when the peer is gone, or reads nothing of what waits.
    pub async fn mail(&self, conn: ConnId, code: Code, body: Bytes) -> Result<(), NotSent> {
        self.ask(|reply| Command::Mail { conn, code, body, reply }).await.unwrap_or(Err(NotSent::Gone))
    }

    /// The peers connected now; none when the node has stopped. Cancelling is safe.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(|reply| Command::Peers { reply }).await.unwrap_or_default()
    }

    /// Where this node can be dialled.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        self.server.enode()
    }

    /// Names a node that may be dialled when a slot is free, as discovery does. False when too many wait to be looked at:
    /// name it again later.
    #[must_use]
    pub fn suggest(&self, node: Enode) -> bool {
        self.server.suggest(node)
    }

    /// Makes a node static: dialled now and whenever its connection has ended, and never left for a better one. What it sends is limited like
    /// anybody's. False when that could not be heard: say it again later. When cancelled, it may be static or not.
    pub async fn keep(&self, node: Enode) -> bool {
        self.ask(|reply| Command::Keep { node, reply }).await.unwrap_or(false)
    }

    /// Makes a static node one like any other, and leaves its connection alone. False, and cancelling, as with [`Handle::keep`].
    pub async fn release(&self, node: NodeId) -> bool {
        self.ask(|reply| Command::Release { node, reply }).await.unwrap_or(false)
    }

    /// Takes leave of a peer. Nothing happens when it is gone.
    pub fn disconnect(&self, conn: ConnId) {
        self.server.disconnect(conn, DisconnectReason::Requested);
    }

    /// How many connections there are, from the TCP connect on.
    #[must_use]
    pub fn connections(&self) -> ConnectionCounts {
        self.server.connections()
    }

    /// What the layer below counts.
    #[must_use]
    pub fn network_counters(&self) -> &devp2p::counters::Counters {
        self.server.counters()
    }

    /// Memory charged for packets on their way in.
    #[must_use]
    pub fn read_memory(&self) -> Spent {
        self.server.read_memory()
    }

    /// What the node counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Takes leave of all peers and stops. Returns when that is done, in about a second at most; cancelling does not undo it.
    pub async fn shutdown(&self) {
        self.ask(|reply| Command::Shutdown { reply }).await;
    }

    /// Asks the node's task; `None` when it has stopped.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
