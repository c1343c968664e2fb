//! Nodes found over UDP: the crate `discv5` under our settings.  Spec: 33/WAKU2-DISCV5, Node Discovery v5.1.
//!
//! A shell. The protocol is Ethereum's with the id `d5waku`, so that the two overlays stay apart. Random lookups without end, with a pause
//! after each; whom they find and [`accepts`] takes is told on a bounded queue, each time anew. Our own record is told to others with the
//! shards we relay and the addresses we have now, and its number grows with each change.
//!
//! Limits: 10 nodes of one /24 in the table and 2 in a bucket (deployed: of one address; the crate counts subnets and has these two numbers
//! fixed), 16 records to an answer, 1,000 sessions, [`MAX_PACKETS_PER_SEC`] unasked packets a second in all and [`MAX_PACKETS_PER_SEC_OF_IP`]
//! from one address, which bounds open handshakes too, as each lives for a second. What is sent to a stranger is never longer than what came.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ::enr::{CombinedKey, NodeId};
use devp2p::{
    NodeKey,
    enr::{self, Endpoint, Enr, EnrError},
};
use discv5::{ConfigBuilder, Discv5, ListenConfig, ProtocolIdentity, QueryError, RateLimiter, RateLimiterBuilder};
use futures::future::join_all;
use libp2p::Multiaddr;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tracing::{debug, warn};

use super::enr::{Description, Node, RelayShards};

/// What Waku's packets say where Ethereum's say `discv5`, and its version.  Spec: 33/WAKU2-DISCV5.
pub const IDENTITY: ProtocolIdentity = ProtocolIdentity { protocol_id: *b"d5waku", protocol_version: [0, 1] };

/// The pause after a lookup.  Deployed: nwaku.
pub const LOOKUP_EVERY: Duration = Duration::from_secs(5);

/// Unasked packets that are looked at, a second, in all. A node that is asked by a thousand others gets some ten.
pub const MAX_PACKETS_PER_SEC: u64 = 500;

/// Unasked packets of one address, a second; beyond it only answers are taken from there for ten minutes. Addresses are easily forged, so
/// that this must not cost a peer more than that.
pub const MAX_PACKETS_PER_SEC_OF_IP: u64 = 100;

/// How long an address that sent too much is not listened to.
const BAN: Duration = Duration::from_secs(600);

/// How many must see us at one address before we believe that it is ours.
pub const MIN_VOTES: usize = 10;

/// Bootstrap nodes that are taken.
pub const MAX_BOOTSTRAP: usize = 64;

/// Nodes that are told at once of our new record; the others see it at their next ping, within five minutes.
const MAX_TOLD: usize = 64;

/// Room of the queue of found nodes that [`crate::seek`] makes. When it is full, a node is left out until a later lookup finds it again.
pub const FOUND: usize = 256;

/// Commands waiting for the task.
pub const COMMANDS: usize = 64;

/// What discovery runs with.
#[derive(Debug)]
pub struct Config {
    /// Our key, the same as libp2p's.
    pub key: NodeKey,
    /// Where packets come in. The system chooses a port for 0.
    pub listen: SocketAddr,
    /// What our record says. Where it has an address and no UDP port, the one bound is added.
    pub description: Description,
    /// Nodes to begin with.
    pub bootstrap: Vec<Enr>,
    /// Whether others may tell us our address.  Deployed: nwaku, `--discv5-enr-auto-update`, off by default.
    pub auto_update: bool,
    /// Whether the table's limits by address hold.
    pub ip_limit: bool,
    /// See [`LOOKUP_EVERY`].
    pub lookup_every: Duration,
}

impl Config {
    /// Everything else as by default.
    #[must_use]
    pub fn new(key: NodeKey, listen: SocketAddr, description: Description) -> Self {
        Self {
            key,
            listen,
            description,
            bootstrap: Vec::new(),
            auto_update: false,
            ip_limit: true,
            lookup_every: LOOKUP_EVERY,
        }
    }
}

/// Why discovery does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken or needs a right.
    #[error("cannot listen on UDP {addr}: {source}")]
    Bind {
        /// Which.
        addr: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// Our record cannot be signed.
    #[error("our node record: {0}")]
    Record(#[from] EnrError),
    /// The library refuses.
    #[error("discovery: {0}")]
    Service(discv5::Error),
    /// The library refuses the key or the record.
    #[error("discovery: {0}")]
    Refused(&'static str),
}

/// Does a node belong to us?  Deployed: nwaku. Bootstrap nodes do, and everybody when we tell no shards; otherwise who serves something
/// and shares a shard with us.
#[must_use]
pub fn accepts(own: Option<&RelayShards>, node: &Node, is_bootstrap: bool) -> bool {
    let shares = |own| node.shards.as_ref().is_some_and(|shards| shards.share_any(own));
    is_bootstrap || own.is_none_or(|own| node.services.any() && shares(own))
}

/// What our record says that may change while we run.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    shards: Option<RelayShards>,
    endpoint: Endpoint,
    addrs: Vec<Multiaddr>,
}

enum Command {
    Add(Enr),
    Stop,
}

/// Discovery that runs. Cheap to clone; it stops with the last of its handles.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    /// The latest counts, and is never lost.
    told: Arc<watch::Sender<Told>>,
    record: watch::Receiver<Enr>,
    addr: SocketAddr,
    seen: Arc<Seen>,
}

/// What discovery knows of nodes, as of the last lookup, and what of it went wrong.
#[derive(Debug, Default)]
pub struct Seen {
    /// Nodes of the table.
    pub nodes: AtomicUsize,
    /// Of these, with whom a session stands.
    pub connected: AtomicUsize,
    /// Lookups that failed.
    pub failures: AtomicU64,
}

impl Handle {
    /// Where packets come in.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Our record as it is now.
    #[must_use]
    pub fn record(&self) -> Enr {
        self.record.borrow().clone()
    }

    /// What it knows of nodes.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// We relay these shards now.
    pub fn set_shards(&self, shards: Option<RelayShards>) {
        self.tell(|told| told.shards = shards);
    }

    /// We are reached here now.
    pub fn set_addresses(&self, endpoint: Endpoint, addrs: Vec<Multiaddr>) {
        self.tell(|told| (told.endpoint, told.addrs) = (endpoint, addrs));
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        self.told.send_if_modified(|told| {
            let before = told.clone();
            change(told);
            *told != before
        });
    }

    /// A node that was found elsewhere, to begin with; left out when [`COMMANDS`] wait.
    pub fn add(&self, record: Enr) {
        // Fails only when it is busy or has stopped.
        let _ = self.commands.try_send(Command::Add(record));
    }

    /// Stops it, for all its handles. Safe to cancel.
    pub async fn shutdown(&self) {
        // Fails only when it has stopped.
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// Starts discovery. When it returns, the socket is bound. Who is found goes to `found` without waiting.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config, found: mpsc::Sender<Node>) -> Result<(Handle, JoinHandle<()>), StartError> {
    let (listen, addr) = bind(config.listen)?;
    let mut description = config.description;
    let endpoint = description.endpoint.clone();
    description.endpoint = with_udp(endpoint.clone(), addr);
    let record = description.sign(&config.key, first_seq())?;
    let settings = settings(listen, config.auto_update, config.ip_limit);
    let mut service = Discv5::new(theirs(&record)?, combined(&config.key)?, settings).map_err(StartError::Refused)?;
    service.start().await.map_err(StartError::Service)?;
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (record, shown) = watch::channel(record);
    let told = Told { shards: description.shards, endpoint, addrs: description.addrs };
    let (changes, changed) = watch::channel(told.clone());
    let mut bootstrap = config.bootstrap;
    bootstrap.truncate(MAX_BOOTSTRAP);
    let task = Task {
        service,
        key: config.key,
        addr,
        told,
        bootstrap_ids: bootstrap.iter().map(|record| record.node_id().raw()).collect(),
        bootstrap,
        every: config.lookup_every,
        record,
        found,
        seen: Arc::default(),
    };
    let seen = Arc::clone(&task.seen);
    let handle = Handle { commands, told: Arc::new(changes), record: shown, addr, seen };
    Ok((handle, tokio::spawn(task.run(inbox, changed))))
}

/// Where it names an address and no UDP port: the one we are bound to.
fn with_udp(endpoint: Endpoint, bound: SocketAddr) -> Endpoint {
    let udp = endpoint.udp.or_else(|| endpoint.ip.map(|_| bound.port()));
    Endpoint { udp, ..endpoint }
}

fn bind(addr: SocketAddr) -> Result<(ListenConfig, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { addr, source };
    let socket = Arc::new(socket(addr).map_err(failed)?);
    let bound = socket.local_addr().map_err(failed)?;
    let (ipv4, ipv6) = if addr.is_ipv4() { (Some(socket), None) } else { (None, Some(socket)) };
    Ok((ListenConfig::FromSockets { ipv4, ipv6 }, bound))
}

/// A socket of one family alone: the library takes packets of the other for forged.
fn socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// A number above that of every record of ours from before: milliseconds.  Deployed: go-ethereum.
fn first_seq() -> u64 {
    u64::try_from(devp2p::clock::now().unix.as_millis()).unwrap_or(u64::MAX / 2)
}

fn settings(listen: ListenConfig, auto_update: bool, ip_limit: bool) -> discv5::Config {
    let mut builder = ConfigBuilder::new(listen);
    builder
        .protocol_identity(IDENTITY)
        .table_filter(is_ours)
        .enable_packet_filter()
        .filter_rate_limiter(Some(packets()))
        // Who claims to be many nodes at one address may have forged it: nobody is kept out for that.
        .filter_max_nodes_per_ip(None)
        .filter_max_bans_per_ip(None)
        .ban_duration(Some(BAN))
        .enr_peer_update_min(MIN_VOTES)
        .disable_report_discovered_peers();
    if ip_limit {
        builder.ip_limit();
    }
    if !auto_update {
        builder.disable_enr_update();
    }
    builder.build()
}

fn packets() -> RateLimiter {
    let second = Duration::from_secs(1);
    RateLimiterBuilder::new()
        .total_n_every(MAX_PACKETS_PER_SEC, second)
        .ip_n_every(MAX_PACKETS_PER_SEC_OF_IP, second)
        .build()
        .expect("the one error is a missing total")
}

/// Waku nodes have keys of libp2p's kind; records with others are of no use, to us or to those who ask us.
fn is_ours(record: &discv5::Enr) -> bool {
    record.get_raw_rlp("secp256k1").is_some()
}

fn combined(key: &NodeKey) -> Result<CombinedKey, StartError> {
    CombinedKey::secp256k1_from_bytes(&mut key.to_bytes()).map_err(|_| StartError::Refused("not a secret of the curve"))
}

/// The same record in the library's type, which knows a second kind of key.
fn theirs(record: &Enr) -> Result<discv5::Enr, EnrError> {
    alloy_rlp::decode_exact(enr::encode(record)).map_err(EnrError::Record)
}

fn ours(record: &discv5::Enr) -> Option<Enr> {
    enr::decode(&alloy_rlp::encode(record)).ok()
}

struct Task {
    service: Discv5,
    key: NodeKey,
    /// Where packets come in.
    addr: SocketAddr,
    /// What our record was last told to say.
    told: Told,
    bootstrap: Vec<Enr>,
    bootstrap_ids: HashSet<[u8; 32]>,
    every: Duration,
    record: watch::Sender<Enr>,
    found: mpsc::Sender<Node>,
    seen: Arc<Seen>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, mut changes: watch::Receiver<Told>) {
        self.begin();
        let mut lookup = pin!(look_up(&self.service, Duration::ZERO));
        loop {
            let done = loop {
                tokio::select! {
                    nodes = &mut lookup => break nodes,
                    changed = changes.changed() => match changed {
                        Ok(()) => {
                            let told = changes.borrow_and_update().clone();
                            self.renew(&told).await;
                            self.told = told;
                        }
                        Err(_) => return,
                    },
                    command = inbox.recv() => match command {
                        Some(Command::Add(record)) => self.add(&record),
                        Some(Command::Stop) | None => return,
                    },
                }
            };
            match done {
                Ok(nodes) => nodes.iter().for_each(|record| self.tell(record)),
                Err(error) => {
                    self.seen.failures.fetch_add(1, Relaxed);
                    debug!(%error, "a lookup failed");
                }
            }
            self.seen.nodes.store(self.service.table_entries_id().len(), Relaxed);
            self.seen.connected.store(self.service.connected_peers(), Relaxed);
            self.begin();
            self.show();
            lookup.set(look_up(&self.service, self.every));
        }
    }

    /// Knows the bootstrap nodes again when it knows nobody else.
    fn begin(&self) {
        if self.service.connected_peers() == 0 {
            self.bootstrap.iter().for_each(|record| self.add(record));
        }
    }

    fn add(&self, record: &Enr) {
        if let Ok(record) = theirs(record)
            && let Err(error) = self.service.add_enr(record)
        {
            debug!(error, "a node is not taken into the table");
        }
    }

    fn tell(&self, record: &discv5::Enr) {
        let Some(node) = ours(record).and_then(Node::read) else { return };
        let is_bootstrap = self.bootstrap_ids.contains(&record.node_id().raw());
        if accepts(self.told.shards.as_ref(), &node, is_bootstrap) && self.found.try_send(node).is_err() {
            debug!("a found node is left out: the queue is full");
        }
    }

    /// Signs our record anew, and lets others know. What the library has learnt of our address stands until we learn of another ourselves.
    async fn renew(&self, told: &Told) {
        let current = self.service.local_enr();
        let Some(ours) = ours(&current) else { return };
        let mut description = Description { shards: told.shards.clone(), ..Description::read(&ours) };
        if (&told.endpoint, &told.addrs) != (&self.told.endpoint, &self.told.addrs) {
            description.endpoint = with_udp(told.endpoint.clone(), self.addr);
            description.addrs.clone_from(&told.addrs);
        }
        let record = description.sign(&self.key, current.seq().saturating_add(1));
        match record.and_then(|record| theirs(&record)) {
            Ok(record) => *self.service.external_enr().write() = record,
            Err(error) => return warn!(%error, "our node record stays as it was"),
        }
        self.show();
        let told = self.service.table_entries_enr().into_iter().take(MAX_TOLD);
        join_all(told.map(|peer| self.service.send_ping(peer))).await;
    }

    fn show(&self) {
        if let Some(record) = ours(&self.service.local_enr()) {
            self.record.send_if_modified(|shown| {
                let is_new = *shown != record;
                *shown = record;
                is_new
            });
        }
    }
}

/// Bytes that came and went over UDP, of all discovery in this process.
#[must_use]
pub fn network_bytes() -> (u64, u64) {
    let metrics = Discv5::metrics();
    (metrics.bytes_recv as u64, metrics.bytes_sent as u64)
}

async fn look_up(service: &Discv5, after: Duration) -> Result<Vec<discv5::Enr>, QueryError> {
    sleep(after).await;
    service.find_node(NodeId::random()).await
}

#[cfg(test)]
mod tests {
    use ctr::cipher::{KeyIvInit, StreamCipher};
    use discv5::{IpMode, NodeContact};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use tokio::time::timeout;

    use super::*;
    use crate::{discovery::enr::Services, shard::ClusterId};

    fn shards(cluster: u16, indices: &[u16]) -> RelayShards {
        RelayShards::new(ClusterId(cluster), indices.iter().copied()).unwrap()
    }

    fn key(secret: u8) -> NodeKey {
        NodeKey::from_bytes(&[secret; 32]).unwrap()
    }

    fn description(services: Services, shards: Option<RelayShards>) -> Description {
        let endpoint = Endpoint { ip: Some([127, 0, 0, 1].into()), tcp: Some(60_000), udp: None };
        Description { endpoint, services, shards, ..Description::default() }
    }

    fn node(services: Services, shards: Option<RelayShards>) -> Node {
        Node::read(description(services, shards).sign(&key(1), 1).unwrap()).unwrap()
    }

    #[test]
    fn who_belongs_to_us() {
        let (relay, own) = (Services::RELAY, shards(1, &[0, 1]));
        let accepted = |node: &Node| accepts(Some(&own), node, false);
        assert!(accepted(&node(relay, Some(shards(1, &[1, 7])))), "one shard in common");
        assert!(!accepted(&node(relay, Some(shards(1, &[2])))), "none");
        assert!(!accepted(&node(relay, Some(shards(2, &[1])))), "another network's");
        assert!(!accepted(&node(relay, None)), "none told");
        assert!(!accepted(&node(Services::default(), Some(own.clone()))), "serves nothing");
        assert!(accepted(&node(Services::from_bits(0x80), Some(own.clone()))), "serves what we do not know");
        let stranger = node(Services::default(), None);
        assert!(accepts(Some(&own), &stranger, true), "a bootstrap node");
        assert!(accepts(None, &stranger, false), "we tell no shards");
    }

    #[tokio::test]
    async fn h47_h49_h51_h53_settings_are_as_deployed_and_bounded() {
        let listen = || ListenConfig::Ipv4 { ip: [127, 0, 0, 1].into(), port: 0 };
        let set = settings(listen(), false, true);
        assert_eq!((&set.protocol_identity.protocol_id, set.protocol_identity.protocol_version), (b"d5waku", [0, 1]));
        assert!(set.ip_limit && set.enable_packet_filter);
        // H47: what strangers can keep open is bounded by what is let in, for the time of a request.
        let per_sec = set.filter_rate_limiter.as_ref().unwrap().total_requests_per_second();
        // The library's figure counts a burst on top.
        assert_eq!((per_sec.round() as u64, set.request_timeout), (2 * MAX_PACKETS_PER_SEC, Duration::from_secs(1)));
        // H49, H51: answers and sessions.
        assert_eq!((set.max_nodes_response, set.session_cache_capacity), (16, 1_000));
        // Forged senders keep nobody out for long, or for ever.
        assert_eq!(
            (set.filter_max_nodes_per_ip, set.filter_max_bans_per_ip, set.ban_duration),
            (None, None, Some(BAN))
        );
        // H53: off, or with ten voices.
        assert!(!set.enr_update && set.auto_nat_listen_duration.is_none());
        let updating = settings(listen(), true, false);
        assert!(updating.enr_update && !updating.ip_limit);
        assert_eq!(updating.enr_peer_update_min, 10);
    }

    #[test]
    fn records_of_other_keys_are_of_no_use() {
        let ed25519 = CombinedKey::generate_ed25519();
        let foreign = discv5::Enr::builder().ip4([1, 2, 3, 4].into()).udp4(5).build(&ed25519).unwrap();
        assert!(!is_ours(&foreign));
        assert_eq!(ours(&foreign), None);
        let sound = node(Services::RELAY, None).record;
        let same = theirs(&sound).unwrap();
        assert!(is_ours(&same));
        assert_eq!(ours(&same), Some(sound));
    }

    struct Running {
        handle: Handle,
        found: mpsc::Receiver<Node>,
    }

    impl Running {
        async fn start(secret: u8, own: RelayShards, bootstrap: &[&Self]) -> Self {
            let (found, nodes) = mpsc::channel(FOUND);
            let listen = "127.0.0.1:0".parse().unwrap();
            let config = Config {
                bootstrap: bootstrap.iter().map(|node| node.handle.record()).collect(),
                lookup_every: Duration::from_millis(100),
                ..Config::new(key(secret), listen, description(Services::RELAY, Some(own)))
            };
            let (handle, _) = start(config, found).await.unwrap();
            Self { handle, found: nodes }
        }

        /// Who is found before `known` says that it is enough.
        async fn finds_until(&mut self, enough: impl Fn(&Node) -> bool) -> Vec<Node> {
            let mut all = Vec::new();
            let found = async {
                while let Some(node) = self.found.recv().await {
                    let last = enough(&node);
                    all.push(node);
                    if last {
                        break;
                    }
                }
            };
            timeout(Duration::from_secs(20), found).await.expect("found in time");
            all
        }

        fn id(&self) -> libp2p::PeerId {
            Node::read(self.handle.record()).unwrap().peer
        }
    }

    #[tokio::test]
    async fn three_find_each_other_a_fourth_is_not_told_and_a_change_is_seen() {
        let first = Running::start(11, shards(1, &[0]), &[]).await;
        let mut second = Running::start(12, shards(1, &[0, 3]), &[&first]).await;
        let foreign = Running::start(13, shards(1, &[7]), &[&first]).await;
        let mut third = Running::start(14, shards(1, &[3]), &[&first]).await;
        let told = third.finds_until(|node| node.peer == second.id()).await;
        assert!(told.iter().all(|node| node.peer != foreign.id()), "it shares no shard with us");
        let back = second.finds_until(|node| node.peer == third.id()).await;
        assert!(back.iter().all(|node| node.peer != foreign.id()));
        assert_eq!(back.last().unwrap().addrs.len(), 1);
        assert_eq!(first.handle.record().udp4(), Some(first.handle.listen_addr().port()));

        let before = foreign.handle.record();
        foreign.handle.set_shards(Some(shards(1, &[3, 7])));
        let told = third.finds_until(|node| node.peer == foreign.id()).await;
        let seen = told.last().unwrap();
        assert_eq!(seen.shards, Some(shards(1, &[3, 7])));
        assert!(seen.record.seq() > before.seq());
        assert_eq!(foreign.handle.record(), seen.record);
        for node in [first, second, third, foreign] {
            node.handle.shutdown().await;
        }
    }

    #[tokio::test]
    async fn another_address_is_told_and_the_same_one_is_not() {
        let mut first = Running::start(15, shards(1, &[0]), &[]).await;
        let second = Running::start(16, shards(1, &[0]), &[&first]).await;
        first.finds_until(|node| node.peer == second.id()).await;
        let before = second.handle.record();
        let endpoint = description(Services::RELAY, None).endpoint;
        second.handle.set_addresses(endpoint.clone(), vec![]);
        let moved = Endpoint { tcp: Some(60_001), ..endpoint };
        let ws: Multiaddr = "/dns4/example.org/tcp/443/wss".parse().unwrap();
        second.handle.set_addresses(moved, vec![ws]);
        let told = first.finds_until(|node| node.peer == second.id() && node.addrs.len() == 2).await;
        let seen = told.last().unwrap();
        let texts: Vec<String> = seen.addrs.iter().map(ToString::to_string).collect();
        assert!(texts[0].starts_with("/ip4/127.0.0.1/tcp/60001/p2p/"), "{texts:?}");
        assert!(texts[1].starts_with("/dns4/example.org/tcp/443/wss/p2p/"), "{texts:?}");
        assert_eq!(seen.record.seq(), before.seq() + 1, "once, for it was the same before");
        assert_eq!((seen.record.udp4(), &seen.shards), (before.udp4(), &Some(shards(1, &[0]))));
        for node in [first, second] {
            node.handle.shutdown().await;
        }
    }

    #[tokio::test]
    async fn over_ipv6_alone_a_node_is_found_as_well() {
        let start_at = async |secret, bootstrap: Vec<Enr>| {
            let (found, nodes) = mpsc::channel(FOUND);
            let endpoint = Endpoint { ip: Some("::1".parse().unwrap()), tcp: Some(60_000), udp: None };
            let description = Description { endpoint, ..description(Services::RELAY, Some(shards(1, &[0]))) };
            let listen = "[::1]:0".parse().unwrap();
            let config = Config {
                bootstrap,
                lookup_every: Duration::from_millis(100),
                ..Config::new(key(secret), listen, description)
            };
            let (handle, _) = start(config, found).await.unwrap();
            Running { handle, found: nodes }
        };
        let mut first = start_at(31, vec![]).await;
        let addr = first.handle.listen_addr();
        assert!(addr.is_ipv6() && addr.port() != 0);
        assert_eq!(first.handle.record().udp6(), Some(addr.port()));
        let _other_family = UdpSocket::bind(("127.0.0.1", addr.port())).await.expect("not taken along");
        let second = start_at(32, vec![first.handle.record()]).await;
        let found = first.finds_until(|node| node.peer == second.id()).await;
        assert!(found.last().unwrap().addrs[0].to_string().starts_with("/ip6/::1/tcp/60000/p2p/"));
        for node in [first, second] {
            node.handle.shutdown().await;
        }
    }

    /// An ordinary packet of a stranger whom nobody knows, as it is sent to `to`.  Spec: Node Discovery v5.1, "Packet Encoding".
    fn probe(protocol: &[u8; 6], to: &Enr) -> Vec<u8> {
        let iv = [9; 16];
        let mut header = [&protocol[..], &[0, 1], &[0], &[5; 12], &[0, 32], &[6; 32]].concat();
        let mask = &to.node_id().raw()[..16];
        ctr::Ctr128BE::<aes::Aes128>::new(mask.try_into().unwrap(), &iv.into()).apply_keystream(&mut header);
        [&iv[..], &header, &[7; 44]].concat()
    }

    #[tokio::test]
    async fn h47_only_a_sound_packet_is_answered_and_with_less_than_came() {
        let node = Running::start(21, shards(1, &[0]), &[]).await;
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.connect(node.handle.listen_addr()).await.unwrap();
        let record = node.handle.record();
        let mut rng = StdRng::seed_from_u64(47);
        for length in [0, 1, 62, 63, 64, 100, 500, 1_280, 1_281, 2_000] {
            let mut packet = vec![0; length];
            rng.fill_bytes(&mut packet);
            stranger.send(&packet).await.unwrap();
        }
        stranger.send(&probe(b"discv5", &record)).await.unwrap();
        // The last one alone is of our protocol. Answers come in order, so that the first is to it.
        let sound = probe(b"d5waku", &record);
        stranger.send(&sound).await.unwrap();
        let mut answer = [0; 2_048];
        let length = timeout(Duration::from_secs(20), stranger.recv(&mut answer)).await.unwrap().unwrap();
        assert_eq!(length, 63, "who are you");
        assert!(length <= sound.len());
        // The same packet again, within the second of its challenge: the same question, not a second one.
        stranger.send(&sound).await.unwrap();
        let mut again = [0; 2_048];
        let length = timeout(Duration::from_secs(20), stranger.recv(&mut again)).await.unwrap().unwrap();
        assert_eq!(length, 63);
        node.handle.shutdown().await;
    }

    #[tokio::test]
    async fn h50_a_talk_request_of_an_unknown_protocol_gets_an_empty_answer() {
        let node = Running::start(22, shards(1, &[0]), &[]).await;
        let (listen, addr) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut own = description(Services::RELAY, None);
        own.endpoint.udp = Some(addr.port());
        let own = theirs(&own.sign(&key(23), 1).unwrap()).unwrap();
        let mut stranger = Discv5::new(own, combined(&key(23)).unwrap(), settings(listen, false, true)).unwrap();
        stranger.start().await.unwrap();
        let to = NodeContact::try_from_enr(theirs(&node.handle.record()).unwrap(), IpMode::Ip4).unwrap();
        let answer = stranger.talk_req(to, b"nobody".to_vec(), vec![7; 500]).await.unwrap();
        assert!(answer.is_empty());
        node.handle.shutdown().await;
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_and_freed_at_the_end() {
        let (found, _nodes) = mpsc::channel(1);
        let config = |addr| Config::new(key(1), addr, description(Services::RELAY, None));
        let (handle, task) = start(config("127.0.0.1:0".parse().unwrap()), found.clone()).await.unwrap();
        let addr = handle.listen_addr();
        assert!(
            matches!(start(config(addr), found.clone()).await, Err(StartError::Bind { addr: at, .. }) if at == addr)
        );
        handle.shutdown().await;
        task.await.unwrap();
        let freed = async {
            while UdpSocket::bind(addr).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), freed).await.expect("the socket is closed");
    }
}
