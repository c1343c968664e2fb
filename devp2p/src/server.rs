//! Listener, dialler and connections behind one handle: the shell.
//!
//! Several protocols (`waku/0`, `waku/1`, `shh/6`) share one server: events say which capability a packet belongs to.
//! A peer is admitted by its key before Hello: our own is refused with 0x0a, one that is connected with 0x05, and any
//! beyond [`Limits::max_peers`] with 0x04; static and trusted nodes are connected beside that limit. An inbound connection is
//! judged by its address before anything is read: see [`crate::inbound`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::budget::{DEFAULT_READ_BUDGET_BYTES, Spent};
use crate::clock::Now;
use crate::counters::Counters;
use crate::dial::Schedule;
use crate::dialler::{self, Heard, MAX_NOTICES, MAX_SUGGESTIONS, Notice};
use crate::disconnect::DisconnectReason;
use crate::enode::{Enode, Host};
use crate::hello::{Capability, Offered};
use crate::inbound::{Inbound, InboundLimits, Refusal};
use crate::key::{NodeId, NodeKey, PublicKey};
use crate::network::Network;
use crate::packet::Packet;
use crate::purse::{Purse, ReadBudget};
use crate::session::{CloseCause, Local, Peer, Session};
pub use crate::table::ConnectionCounts;
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
    /// Further ports, our address outside, trusted nodes, the address book.
    pub network: Network,
}

/// Bounds of a server. The default is what the constants beside it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most peers, static and trusted nodes not counted.
    pub max_peers: usize,
    /// Of these, slots that inbound peers never take; as many connections are sought among nodes that are named to us. At
    /// most a third of the slots is kept.
    pub outbound_slots: usize,
    /// Most inbound connections that have not authenticated yet; beyond it the oldest of them is dropped.
    pub max_pending_inbound: usize,
    /// Bounds of inbound connections by address.
    pub inbound: InboundLimits,
    /// Most memory for packets in flight, in bytes: see [`crate::budget`].
    pub read_budget_bytes: usize,
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
            outbound_slots: 8,
            max_pending_inbound: 50,
            inbound: InboundLimits::default(),
            read_budget_bytes: DEFAULT_READ_BUDGET_BYTES,
            dial_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(20),
            max_queued_packets: 1024,
            max_queued_bytes: 8 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Slots for connections that we dial. Source of the third: go-ethereum, `defaultDialRatio`.
    #[must_use]
    pub fn outbound_peers(&self) -> usize {
        self.outbound_slots.min(self.max_peers / 3)
    }

    /// Slots for peers that dial us.
    #[must_use]
    pub fn max_inbound_peers(&self) -> usize {
        self.max_peers - self.outbound_peers()
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
    /// The port is one for which a right is needed.
    #[error(
        "cannot listen on {addr}: ports below 1024 need the right CAP_NET_BIND_SERVICE. Give it to the program (setcap cap_net_bind_service=+ep FILE, or AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit), or choose a higher port"
    )]
    Privileged {
        /// The address asked for.
        addr: SocketAddr,
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
        let listeners = bind(&config).await?;
        let schedule = schedule(&config, rng.random()).await;
        let (notices, heard) = mpsc::channel(MAX_NOTICES);
        let (suggestions, suggested) = mpsc::channel(MAX_SUGGESTIONS);
        let book = config.network.address_book.clone();
        let listen_addrs = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let shared = Arc::new(Shared::new(config, listen_addrs, rng, Outgoing { events, notices, suggestions }));
        for listener in listeners {
            tokio::spawn(listen::run(Arc::clone(&shared), listener));
        }
        let heard = Heard { notices: heard, suggestions: suggested };
        tokio::spawn(dialler::run(Arc::clone(&shared), schedule, heard, book));
        Ok(ServerHandle { shared })
    }
}

#[expect(clippy::disallowed_types, reason = "shell")]
fn system_rng() -> Result<StdRng, StartError> {
    use rand::rngs::SysRng;

    StdRng::try_from_rng(&mut SysRng).map_err(|_| StartError::NoRandomness)
}

async fn bind(config: &ServerConfig) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for addr in config.listen.iter().chain(&config.network.also_listen) {
        listeners.push(listen::bind(*addr).await?);
    }
    Ok(listeners)
}

async fn schedule(config: &ServerConfig, seed: [u8; 32]) -> Schedule {
    let entries = match &config.network.address_book {
        Some(path) => dialler::recall(path).await,
        None => Vec::new(),
    };
    let mut schedule = Schedule::new(&config.static_nodes, config.key.public().id(), seed, clock::now());
    schedule.seek(clock::now(), config.limits.outbound_peers(), entries);
    schedule
}

/// Our URL, as others are to dial it.
fn enode(key: PublicKey, listen: Option<SocketAddr>, network: &Network) -> Enode {
    let specified = |ip: &IpAddr| !ip.is_unspecified();
    let bound = listen.map(|addr| addr.ip()).filter(specified).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into());
    Enode {
        key,
        host: Host::Ip(network.nat.external().unwrap_or(bound)),
        tcp: network.advertised_port.unwrap_or_else(|| listen.map_or(0, |addr| addr.port())),
        udp: network.discovery_port,
    }
}

/// Where the tasks of a server send to.
struct Outgoing {
    events: mpsc::Sender<ServerEvent>,
    notices: mpsc::Sender<Notice>,
    suggestions: mpsc::Sender<Enode>,
}

/// What the tasks of a server have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    enode: Enode,
    listen_addrs: Vec<SocketAddr>,
    local: Local,
    table: Mutex<Table>,
    inbound: Mutex<Inbound>,
    budget: Arc<ReadBudget>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) events: mpsc::Sender<ServerEvent>,
    /// To the dialler.
    pub(crate) notices: mpsc::Sender<Notice>,
    suggestions: mpsc::Sender<Enode>,
    rng: Mutex<StdRng>,
    stopping: watch::Sender<bool>,
    /// Connection tasks that have not ended.
    tasks: watch::Sender<usize>,
    /// True once the dialler has ended, and written its file.
    dialler_ended: watch::Sender<bool>,
}

impl Shared {
    fn new(config: ServerConfig, listen_addrs: Vec<SocketAddr>, rng: StdRng, outgoing: Outgoing) -> Self {
        let enode = enode(config.key.public(), listen_addrs.first().copied(), &config.network);
        if config.network.nat.wants_mapping() {
            tracing::warn!(nat = %config.network.nat, %enode, "no port is mapped: open it yourself, and give the address outside with extip");
        }
        let favoured: Vec<&Enode> = config.static_nodes.iter().chain(&config.network.trusted_nodes).collect();
        let favoured_ips = favoured.iter().filter_map(|node| match node.host {
            Host::Ip(ip) => Some(ip),
            Host::Dns(_) => None,
        });
        let inbound = Inbound::new(config.limits.inbound.clone(), favoured_ips);
        let trusted = config.network.trusted_nodes.iter().map(|node| node.key.id()).collect();
        let mut table = Table::new(config.key.public().id(), trusted, &config.limits);
        for node in &config.static_nodes {
            // Nobody is connected yet.
            let _ = table.keep(node.key.id());
        }
        Self {
            table: Mutex::new(table),
            inbound: Mutex::new(inbound),
            budget: Arc::new(ReadBudget::new(config.limits.read_budget_bytes)),
            local: Local {
                key: config.key,
                client_id: config.client_id,
                offered: config.offered,
                listen_port: enode.tcp,
            },
            enode,
            listen_addrs,
            limits: config.limits,
            counters: Counters::default(),
            events: outgoing.events,
            notices: outgoing.notices,
            suggestions: outgoing.suggestions,
            rng: Mutex::new(rng),
            stopping: watch::Sender::new(false),
            tasks: watch::Sender::new(0),
            dialler_ended: watch::Sender::new(false),
        }
    }

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
        session.meter();
        session
    }

    pub(crate) fn purse(&self) -> Purse {
        Purse::new(Arc::clone(&self.budget))
    }

    /// Takes a place at an address for an inbound connection.
    pub(crate) fn place(self: &Arc<Self>, now: Now, ip: IpAddr) -> Result<Place, Refusal> {
        self.inbound().accept(now, ip)?;
        Ok(Place { shared: Arc::clone(self), ip })
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when a connection task ends.
    pub(crate) async fn a_task_ends(&self) {
        let mut tasks = self.tasks.subscribe();
        let mut before = *tasks.borrow_and_update();
        while tasks.changed().await.is_ok() {
            let now = *tasks.borrow_and_update();
            if now < before {
                return;
            }
            before = now;
        }
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

    /// The dialler has ended.
    pub(crate) fn dialler_ended(&self) {
        self.dialler_ended.send_replace(true);
    }

    /// Counts a task until the value is dropped.
    pub(crate) fn count_task(self: &Arc<Self>) -> TaskCount {
        self.tasks.send_modify(|tasks| *tasks += 1);
        TaskCount(Arc::clone(self))
    }
}

/// The place of an inbound connection at its address, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.inbound().closed(self.ip);
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
    /// Where we can be dialled: the address and port that were set for it, or else those really bound, and 127.0.0.1 for an
    /// unspecified address.
    #[must_use]
    pub fn enode(&self) -> &Enode {
        &self.shared.enode
    }

    /// The first address really bound, if any.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.shared.listen_addrs.first().copied()
    }

    /// All addresses really bound.
    #[must_use]
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.shared.listen_addrs
    }

    /// Names a node that may be dialled when a slot is free. False when too many wait to be looked at: name it again later.
    #[must_use]
    pub fn suggest(&self, enode: Enode) -> bool {
        self.shared.suggestions.try_send(enode).is_ok()
    }

    /// Seeks so many connections among nodes that were named to us, in place of [`Limits::outbound_peers`]. False when the dialler is too
    /// busy to hear it: say it again later.
    #[must_use]
    pub fn seek(&self, connections: usize) -> bool {
        self.shared.notices.try_send(Notice::Want { connections }).is_ok()
    }

    /// Makes a node static: it is dialled at once and whenever its connection has ended, and admitted beside all limits. False when the
    /// dialler is too busy to hear it: say it again later. [`crate::dial::MAX_ADDED`] nodes may be added.
    #[must_use]
    pub fn keep(&self, enode: Enode) -> bool {
        let Ok(notice) = self.shared.notices.try_reserve() else { return false };
        // In one step with the look at what is connected, or an end of that connection could be heard before this.
        let mut table = self.shared.table();
        let connected = table.keep(enode.key.id());
        notice.send(Notice::Keep { enode, connected });
        true
    }

    /// Makes a static node one like any other. Its connection is left alone. False as with [`ServerHandle::keep`].
    #[must_use]
    pub fn release(&self, id: NodeId) -> bool {
        let Ok(notice) = self.shared.notices.try_reserve() else { return false };
        self.shared.table().release(id);
        notice.send(Notice::Release { id });
        true
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> ConnectionCounts {
        self.shared.table().counts()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Memory charged for packets in flight.
    #[must_use]
    pub fn read_memory(&self) -> Spent {
        self.shared.budget.spent()
    }

    /// Queues a packet for a connection.
    ///
    /// # Errors
    /// [`TrySendError::Full`] when the queue is, [`TrySendError::Gone`] when the connection is over.
    pub fn try_send(&self, conn: ConnId, packet: Packet) -> Result<(), TrySendError> {
        self.shared.table().try_send(conn, packet)
    }

    /// Bytes of packets that wait for a connection, not counting the one that is being written; `None` when it is over.
    #[must_use]
    pub fn queued_bytes(&self, conn: ConnId) -> Option<usize> {
        self.shared.table().queued_bytes(conn)
    }

    /// Ends a connection with a reason, after what is queued for it. Nothing happens when it is over.
    pub fn disconnect(&self, conn: ConnId, reason: DisconnectReason) {
        self.shared.table().disconnect(conn, reason);
    }

    /// Ends all connections with "client quitting" and stops; takes [`SHUTDOWN_TIMEOUT`] at most. Safe to cancel: the
    /// connections end all the same.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let mut dialler = self.shared.dialler_ended.subscribe();
        let ended = async {
            self.all_closed().await;
            // The sender lives as long as we do.
            let _ = dialler.wait_for(|ended| *ended).await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            tracing::debug!("connections still closing when the shutdown returned");
        }
    }

    /// Completes when there is no connection, not even one that is closing. Safe to cancel.
    pub async fn all_closed(&self) {
        let mut tasks = self.shared.tasks.subscribe();
        // The sender lives as long as we do.
        let _ = tasks.wait_for(|tasks| *tasks == 0).await;
    }
}
