//! Listener, dialler and connections behind one handle: the shell.
//!
//! Several protocols (`waku/0`, `waku/1`, `shh/6`) share one server: events say which capability a packet belongs to.
//! A peer is admitted by its key before Hello: our own is refused with 0x0a, one that is connected with 0x05, and any
//! beyond [`Limits::max_peers`] with 0x04; static nodes are connected beside that limit.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::dial::Schedule;
use crate::dialler::{self, MAX_NOTICES, Notice};
use crate::disconnect::DisconnectReason;
use crate::enode::{Enode, Host};
use crate::hello::{Capability, Offered};
use crate::key::{NodeKey, PublicKey};
use crate::packet::Packet;
use crate::session::{CloseCause, Local, Peer, Session};
use crate::table::Table;
use crate::{clock, listen};

/// Longest wait for connections to say goodbye. Source: go-ethereum gives one Disconnect 1 s.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Our static key.
    pub key: NodeKey,
    /// Name and version of the client, as peers log it.
    pub client_id: String,
    /// What we speak.
    pub offered: Vec<Offered>,
    /// Where to listen; `None` to dial only. Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Nodes to stay connected to, redialled for ever.
    pub static_nodes: Vec<Enode>,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of a server. The default is what the constants beside it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most peers, static nodes not counted.
    pub max_peers: usize,
    /// Most inbound connections that have not authenticated yet; beyond it the oldest of them is dropped.
    pub max_pending_inbound: usize,
    /// Longest wait for a TCP connect, name lookup included.
    pub dial_timeout: Duration,
    /// Longest time without progress of a write; then the peer is dropped.
    pub write_timeout: Duration,
    /// Most packets waiting for one connection; beyond it [`TrySendError::Full`].
    pub max_queued_packets: usize,
    /// Most bytes of packets waiting for one connection; a packet longer than this passes an empty queue.
    pub max_queued_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_peers: 50,
            max_pending_inbound: 50,
            dial_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(20),
            max_queued_packets: 1024,
            max_queued_bytes: 8 * 1024 * 1024,
        }
    }
}

/// Names one connection for as long as the server runs; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What happens: `Opened` before any `Packet`, `Closed` exactly once and last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A peer is connected and something is shared.
    Opened {
        /// The connection.
        conn: ConnId,
        /// Who it is.
        peer: Peer,
        /// Where it is.
        addr: SocketAddr,
        /// True when the peer dialled us.
        inbound: bool,
    },
    /// A packet of a shared capability.
    Packet {
        /// The connection.
        conn: ConnId,
        /// The protocol it belongs to.
        capability: Capability,
        /// Message code, relative to the protocol.
        code: u8,
        /// What it carries, decompressed.
        body: Bytes,
    },
    /// The connection is over.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nothing is offered, so nobody could share anything.
    #[error("no capability is offered")]
    NothingOffered,
    /// The system gives no random numbers.
    #[error("no system randomness")]
    NoRandomness,
}

/// Why a packet was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError {
    /// The connection's queue is full: its peer reads too slowly.
    #[error("the connection's queue is full")]
    Full,
    /// The connection is over.
    #[error("the connection is over")]
    Gone,
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Listens and begins to dial. The server runs until [`ServerHandle::shutdown`], or until nobody receives its events.
    ///
    /// # Errors
    /// [`StartError`] when the port is taken, nothing is offered, or the system has no randomness.
    pub async fn start(config: ServerConfig, events: mpsc::Sender<ServerEvent>) -> Result<ServerHandle, StartError> {
        if config.offered.is_empty() {
            return Err(StartError::NothingOffered);
        }
        let mut rng = system_rng()?;
        let listener = bind(config.listen).await?;
        let listen_addr = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let schedule = Schedule::new(&config.static_nodes, config.key.public().id(), rng.random(), clock::now());
        let (notices, heard) = mpsc::channel(MAX_NOTICES);
        let shared = Arc::new(Shared {
            enode: enode(config.key.public(), listen_addr),
            listen_addr,
            local: Local {
                key: config.key,
                client_id: config.client_id,
                offered: config.offered,
                listen_port: listen_addr.map_or(0, |addr| addr.port()),
            },
            table: Mutex::new(Table::new(
                config.static_nodes.iter().map(|node| node.key.id()).collect(),
                &config.limits,
            )),
            limits: config.limits,
            events,
            notices,
            rng: Mutex::new(rng),
            stopping: watch::Sender::new(false),
            tasks: watch::Sender::new(0),
        });
        if let Some(listener) = listener {
            tokio::spawn(listen::run(Arc::clone(&shared), listener));
        }
        tokio::spawn(dialler::run(Arc::clone(&shared), schedule, heard));
        Ok(ServerHandle { shared })
    }
}

#[expect(clippy::disallowed_types, reason = "shell")]
fn system_rng() -> Result<StdRng, StartError> {
    use rand::rngs::SysRng;

    StdRng::try_from_rng(&mut SysRng).map_err(|_| StartError::NoRandomness)
}

async fn bind(listen: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(addr) = listen else { return Ok(None) };
    TcpListener::bind(addr).await.map(Some).map_err(|source| StartError::Listen { addr, source })
}

/// Our URL. There is no discovery, which `discport=0` says.
fn enode(key: PublicKey, listen: Option<SocketAddr>) -> Enode {
    let ip =
        listen.map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified()).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into());
    Enode { key, host: Host::Ip(ip), tcp: listen.map_or(0, |addr| addr.port()), udp: 0 }
}

/// What the tasks of a server have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    enode: Enode,
    listen_addr: Option<SocketAddr>,
    local: Local,
    table: Mutex<Table>,
    pub(crate) limits: Limits,
    pub(crate) events: mpsc::Sender<ServerEvent>,
    /// To the dialler.
    pub(crate) notices: mpsc::Sender<Notice>,
    rng: Mutex<StdRng>,
    stopping: watch::Sender<bool>,
    /// Connection tasks that have not ended.
    tasks: watch::Sender<usize>,
}

impl Shared {
    /// The connections. Held for a few instructions at a time, never across an await.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; with `remote`, one that we dialled.
    pub(crate) fn session(&self, remote: Option<PublicKey>) -> Session {
        let mut rng = StdRng::from_rng(&mut *self.rng.lock().unwrap_or_else(PoisonError::into_inner));
        let mut session = match remote {
            Some(remote) => Session::initiate(&self.local, remote, &mut rng, clock::now()),
            None => Session::respond(&self.local, &mut rng, clock::now()),
        };
        session.hold();
        session
    }

    /// Completes when the server stops, or nobody receives its events any more.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = self.events.closed() => self.stop(),
        }
    }

    fn stop(&self) {
        self.stopping.send_replace(true);
        self.table().disconnect_all(DisconnectReason::ClientQuitting);
    }

    /// Counts a task until the value is dropped.
    pub(crate) fn count_task(self: &Arc<Self>) -> TaskCount {
        self.tasks.send_modify(|tasks| *tasks += 1);
        TaskCount(Arc::clone(self))
    }
}

/// Says that a connection task runs.
#[derive(Debug)]
pub(crate) struct TaskCount(Arc<Shared>);

impl Drop for TaskCount {
    fn drop(&mut self) {
        self.0.tasks.send_modify(|tasks| *tasks -= 1);
    }
}

/// The server, for those who use it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

impl ServerHandle {
    /// Where we can be dialled: the port really bound, and 127.0.0.1 for an unspecified address.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        &self.shared.enode
    }

    /// The address really bound, if any.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.shared.listen_addr
    }

    /// Queues a packet for a connection.
    ///
    /// # Errors
    /// [`TrySendError::Full`] when the queue is, [`TrySendError::Gone`] when the connection is over.
    pub fn try_send(&self, conn: ConnId, packet: Packet) -> Result<(), TrySendError> {
        self.shared.table().try_send(conn, packet)
    }

    /// Ends a connection with a reason, after what is queued for it. Nothing happens when it is over.
    pub fn disconnect(&self, conn: ConnId, reason: DisconnectReason) {
        self.shared.table().disconnect(conn, reason);
    }

    /// Ends all connections with "client quitting" and stops; takes [`SHUTDOWN_TIMEOUT`] at most. Safe to cancel: the
    /// connections end all the same.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let mut tasks = self.shared.tasks.subscribe();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.wait_for(|tasks| *tasks == 0)).await.is_err() {
            tracing::debug!("connections still closing when the shutdown returned");
        }
    }
}
