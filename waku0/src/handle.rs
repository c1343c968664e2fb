//! What the rest of the program holds of a node: commands in, events out.
//!
//! Limits: [`COMMAND_QUEUE`] commands wait for the node, and who gives another waits with them. Events go to a queue of
//! the consumer's own length; see [`Event`] for what happens when it is full.

use std::{net::SocketAddr, sync::Arc};

use devp2p::{ConnId, Enode, PublicKey};
use tokio::sync::{mpsc, oneshot};

pub use crate::node::{PostError, Posted};
use crate::{counters::Counters, envelope::Envelope, peer::PeerOptions};

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
    /// What it has announced; `None` before its Status.
    pub options: Option<PeerOptions>,
}

/// A running node. Cheap to clone; the node stops when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) enode: Arc<Enode>,
    pub(crate) counters: Arc<Counters>,
}

/// What a handle asks of the node's task.
#[derive(Debug)]
pub(crate) enum Command {
    Post { envelope: Envelope, reply: oneshot::Sender<Result<Posted, PostError>> },
    Peers { reply: oneshot::Sender<Vec<PeerInfo>> },
    Shutdown { reply: oneshot::Sender<()> },
}

impl Handle {
    /// Posts an envelope. When cancelled, it may have been posted or not.
    ///
    /// # Errors
    /// [`PostError`] when the node's own checks refuse it, or it has stopped.
    pub async fn post(&self, envelope: Envelope) -> Result<Posted, PostError> {
        self.ask(|reply| Command::Post { envelope, reply }).await.unwrap_or(Err(PostError::Stopped))
    }

    /// The peers connected now; none when the node has stopped. Cancelling is safe.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(|reply| Command::Peers { reply }).await.unwrap_or_default()
    }

    /// Where this node can be dialled.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        &self.enode
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
