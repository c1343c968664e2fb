//! The address book: peers that discovery named, whom of them to call, and how that went. A pure core, and the form of its file.
//!
//! Nodes come from DNS lists, discv5, peer exchange and the file, as records that they have signed themselves; a newer record takes the place of an
//! older one, whoever brings it. Static peers have a schedule of their own ([`crate::redial`]). Whoever is connected, whoever called, is left
//! alone. Back-off is as deployed by nwaku: 120 s after a first failure, four times as long after each further one, and forgotten after the fifth;
//! a peer that answered once is kept for a week all the same, since the network may have been away. While nobody at all is connected it likely
//! is: who answered before is then called every [`ALONE_WAIT`], and a failure says nothing of it.
//!
//! Limits: [`MAX_KNOWN`] nodes, the worst of which makes room; [`MAX_PER_SUBNET`] called at a time in one /24 of IPv4 or /64 of IPv6;
//! [`MAX_CALLING`] calls at once; a file of [`MAX_FILE_BYTES`].

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use devp2p::{
    Now,
    book_file::{read_bytes, replace},
    enr,
    inbound::{Subnet, is_local},
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use rand::{Rng, seq::IteratorRandom};
use serde::{Deserialize, Serialize};

use crate::{
    discovery::enr::{Node, RelayShards},
    known::{Connectedness, KnownPeer, Origin},
    shard::{ClusterId, Shard},
};

/// Most nodes kept; about 250 KiB as a file.
pub const MAX_KNOWN: usize = 512;

/// Longest file read, in bytes: a full book has a quarter.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The wait after a first failure.  Deployed: nwaku.
pub const FIRST_WAIT: Duration = Duration::from_secs(120);

/// Each further wait is so many times as long.  Deployed: nwaku.
pub const BACKOFF_FACTOR: u32 = 4;

/// The wait between calls to a node that answered before, while nobody is connected: a mesh is to be there half a minute after the network
/// is, and a call takes up to a third of that.
pub const ALONE_WAIT: Duration = Duration::from_secs(15);

/// Failures in a row after which a node is forgotten.  Deployed: nwaku.
pub const MAX_FAILURES: u32 = 5;

/// A node that answered is kept for this time after its last good connection, however often calls fail then.
pub const MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A connection that held for so long was a good one, and failures are counted anew.
pub const LASTED: Duration = Duration::from_secs(30);

/// Calls at once.  Deployed: nwaku.
pub const MAX_CALLING: usize = 10;

/// Calls, and connections that came of them, in one subnet.
pub const MAX_PER_SUBNET: usize = 2;

/// Addresses of one node that are called, the first ones of its record.
pub const MAX_ADDRS: usize = 4;

/// Version of the file.
const FILE_VERSION: u32 = 1;

/// Who named a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A list in DNS.
    Dns,
    /// A lookup of ours.
    Discv5,
    /// Another peer.
    PeerExchange,
}

/// What the file says of one node. Times are of the wall clock, since a file outlives the other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its record.
    pub enr: String,
    /// Who named it first.
    pub source: Source,
    /// When a connection last was good, in seconds since 1970; none so far if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good_unix_secs: Option<u64>,
    /// Calls in a row that came to nothing, or to a short connection.
    #[serde(default)]
    pub failures: u32,
    /// Not called before, in seconds since 1970.
    #[serde(default)]
    pub retry_unix_secs: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    peers: Vec<Entry>,
}

/// Why a file is no address book. The book then begins empty.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not the JSON it should be.
    #[error("not an address book: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a later program.
    #[error("an address book of version {0}, and this program knows {FILE_VERSION}")]
    Version(u32),
}

/// Writes a file.
///
/// # Errors
/// [`BookError::Json`], which plain strings and numbers never cause.
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>, BookError> {
    Ok(serde_json::to_vec_pretty(&File { version: FILE_VERSION, peers: entries.to_vec() })?)
}

/// Reads a file.
///
/// # Errors
/// See [`BookError`].
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, BookError> {
    let file: File = serde_json::from_slice(bytes)?;
    if file.version != FILE_VERSION {
        return Err(BookError::Version(file.version));
    }
    Ok(file.peers)
}

/// Reads the file at `path`; one that is not there says nothing. For shells.
///
/// # Errors
/// See [`BookError`].
pub fn read(path: &Path) -> Result<Vec<Entry>, BookError> {
    read_bytes(path, MAX_FILE_BYTES)?.map_or_else(|| Ok(Vec::new()), |bytes| decode(&bytes))
}

/// Replaces the file at `path`, whole at any moment. For shells.
///
/// # Errors
/// See [`BookError`].
pub fn write(path: &Path, entries: &[Entry]) -> Result<(), BookError> {
    Ok(replace(path, &encode(entries)?)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        since: Instant,
        until: Instant,
    },
    /// `probes`: nobody was connected, so that a failure does not count.
    Calling {
        probes: bool,
    },
    Connected {
        since: Instant,
        called: bool,
    },
}

#[derive(Debug)]
struct Known {
    node: Node,
    source: Source,
    last_good_unix_secs: Option<u64>,
    failures: u32,
    state: State,
}

impl Known {
    fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            State::Calling { .. } | State::Connected { .. } => None,
        }
    }

    fn is_due(&self, now: Now, is_alone: bool) -> bool {
        let State::Waiting { since, until } = self.state else { return false };
        until <= now.instant || is_alone && self.last_good_unix_secs.is_some() && since + ALONE_WAIT <= now.instant
    }

    /// Is a call of ours under way, or a connection that came of one?
    fn is_ours(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Connected { called: true, .. })
    }

    /// Better ones are called first and forgotten last: who shares a shard, who answered before, who failed less.
    fn rank(&self, shards: &[Shard]) -> (bool, bool, Reverse<u32>) {
        let shares = |shard: &Shard| self.node.shards.as_ref().is_some_and(|shards| shards.contains(*shard));
        (shards.iter().any(shares), self.last_good_unix_secs.is_some(), Reverse(self.failures))
    }

    fn is_forgotten(&self, now: Now) -> bool {
        let memory = self.last_good_unix_secs.map_or(0, |at| at.saturating_add(MEMORY.as_secs()));
        self.failures >= MAX_FAILURES && now.unix_secs() >= memory
    }

    fn subnets(&self) -> impl Iterator<Item = Subnet> + '_ {
        self.node.addrs.iter().take(MAX_ADDRS).filter_map(ip).filter(|ip| !is_local(*ip)).map(Subnet::of)
    }
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        match source {
            Source::Dns => Self::Dns,
            Source::Discv5 => Self::Discv5,
            Source::PeerExchange => Self::PeerExchange,
        }
    }
}

impl From<&Known> for KnownPeer {
    fn from(known: &Known) -> Self {
        let connectedness = match known.state {
            State::Connected { .. } => Connectedness::Connected,
            _ if known.failures > 0 => Connectedness::CannotConnect,
            _ if known.last_good_unix_secs.is_some() => Connectedness::CanConnect,
            State::Waiting { .. } | State::Calling { .. } => Connectedness::NotConnected,
        };
        Self {
            peer: known.node.peer,
            addrs: known.node.addrs.clone(),
            agent: String::new(),
            protocols: Vec::new(),
            shards: known.node.shards.iter().flat_map(RelayShards::indices).collect(),
            connectedness,
            origin: known.source.into(),
            score: None,
            relays: Vec::new(),
            meshes: Vec::new(),
        }
    }
}

/// A call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whom.
    pub peer: PeerId,
    /// Where; the first that answers counts.
    pub addrs: Vec<Multiaddr>,
}

/// The book.
#[derive(Debug)]
pub struct AddressBook {
    own: PeerId,
    cluster: ClusterId,
    shards: Vec<Shard>,
    local_addresses: bool,
    capacity: usize,
    /// In an order of their own, so that a seed replays.
    nodes: BTreeMap<PeerId, Known>,
    changed: bool,
}

impl AddressBook {
    /// An empty book of the node `own`. `local_addresses`: whether strangers may send us to loopback and private addresses, which is for
    /// networks that are themselves private.
    #[must_use]
    pub fn new(own: PeerId, cluster: ClusterId, local_addresses: bool) -> Self {
        let nodes = BTreeMap::new();
        Self { own, cluster, shards: Vec::new(), local_addresses, capacity: MAX_KNOWN, nodes, changed: false }
    }

    /// The same with room for fewer nodes.
    #[must_use]
    pub fn with_capacity(mut self, nodes: usize) -> Self {
        self.capacity = nodes.min(MAX_KNOWN);
        self
    }

    /// The shards that we relay now: who shares one is called first.
    pub fn set_shards(&mut self, shards: Vec<Shard>) {
        self.shards = shards;
    }

    /// Takes up what a file said; entries that are none are left out.
    pub fn recall(&mut self, now: Now, entries: Vec<Entry>) {
        for entry in entries.into_iter().take(self.capacity) {
            let Some(node) = enr::parse(&entry.enr).ok().and_then(Node::read) else { continue };
            let Some(node) = self.callable(node) else { continue };
            // A clock that was wrong when the file was written must not keep a node waiting for ever.
            let wait =
                Duration::from_secs(entry.retry_unix_secs.saturating_sub(now.unix_secs())).min(wait(MAX_FAILURES));
            let known = Known {
                source: entry.source,
                last_good_unix_secs: entry.last_good_unix_secs.map(|at| at.min(now.unix_secs())),
                failures: entry.failures,
                state: State::Waiting { since: now.instant, until: now.instant + wait },
                node,
            };
            self.nodes.insert(known.node.peer, known);
        }
    }

    /// What a file is to say.
    #[must_use]
    pub fn entries(&self, now: Now) -> Vec<Entry> {
        let retry =
            |known: &Known| known.due_at().map_or(Duration::ZERO, |at| at.saturating_duration_since(now.instant));
        let entry = |known: &Known| Entry {
            enr: known.node.record.to_base64(),
            source: known.source,
            last_good_unix_secs: known.last_good_unix_secs,
            failures: known.failures,
            retry_unix_secs: now.unix_secs() + retry(known).as_secs(),
        };
        self.nodes.values().map(entry).collect()
    }

    /// True once after something changed that a file should say.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node was named to us.
    pub fn suggest(&mut self, now: Now, source: Source, node: Node) {
        let Some(node) = self.callable(node) else { return };
        if let Some(known) = self.nodes.get_mut(&node.peer) {
            if known.node.record.seq() < node.record.seq() {
                let moved = known.node.addrs != node.addrs;
                known.node = node;
                self.changed = true;
                // The old place said nothing of the new one.
                if moved && known.due_at().is_some() {
                    (known.failures, known.state) = (0, State::Waiting { since: now.instant, until: now.instant });
                }
            }
            return;
        }
        if self.nodes.len() >= self.capacity && !self.make_room() {
            return;
        }
        let state = State::Waiting { since: now.instant, until: now.instant };
        self.nodes.insert(node.peer, Known { node, source, last_good_unix_secs: None, failures: 0, state });
        self.changed = true;
    }

    /// The node with the addresses that may be called, if there are any and it is of our network.
    fn callable(&self, mut node: Node) -> Option<Node> {
        let fits = node.peer != self.own && node.cluster().is_none_or(|cluster| cluster == self.cluster);
        node.addrs.retain(|addr| self.local_addresses || !ip(addr).is_some_and(is_local));
        (fits && !node.addrs.is_empty()).then_some(node)
    }

    /// Forgets the worst of those that are neither called nor connected; false when all are good.
    fn make_room(&mut self) -> bool {
        let idle = self.nodes.iter().filter(|(_, known)| known.due_at().is_some());
        let worst = idle.min_by_key(|(_, known)| (known.rank(&self.shards), known.last_good_unix_secs));
        match worst.map(|(peer, known)| (*peer, known.last_good_unix_secs.is_some() && known.failures == 0)) {
            Some((peer, false)) => self.nodes.remove(&peer).is_some(),
            Some((_, true)) | None => false,
        }
    }

    /// Connections that came of our calls.
    #[must_use]
    pub fn outbound(&self) -> usize {
        self.nodes.values().filter(|known| matches!(known.state, State::Connected { called: true, .. })).count()
    }

    /// All nodes, as operators are told of them.
    pub(crate) fn known(&self) -> impl Iterator<Item = KnownPeer> + '_ {
        self.nodes.values().map(KnownPeer::from)
    }

    /// Who named it first.
    pub(crate) fn origin(&self, peer: &PeerId) -> Option<Origin> {
        self.nodes.get(peer).map(|known| known.source.into())
    }

    /// Calls under way.
    #[must_use]
    pub fn calling(&self) -> usize {
        self.nodes.values().filter(|known| matches!(known.state, State::Calling { .. })).count()
    }

    /// The best node that is due, any of them when several are as good; the caller has to call it. `None` when nobody is, or when
    /// [`MAX_CALLING`] calls are under way. `is_alone`: nobody at all is connected.
    pub fn next_call(&mut self, now: Now, is_alone: bool, rng: &mut impl Rng) -> Option<Call> {
        if self.calling() >= MAX_CALLING {
            return None;
        }
        let taken: Vec<Subnet> = self.nodes.values().filter(|known| known.is_ours()).flat_map(Known::subnets).collect();
        let is_free = |subnet: Subnet| taken.iter().filter(|other| **other == subnet).count() < MAX_PER_SUBNET;
        let due = || self.nodes.iter().filter(|(_, known)| known.is_due(now, is_alone) && known.subnets().all(is_free));
        let best = due().map(|(_, known)| known.rank(&self.shards)).max()?;
        let peer = *due().filter(|(_, known)| known.rank(&self.shards) == best).map(|(peer, _)| peer).choose(rng)?;
        let known = self.nodes.get_mut(&peer)?;
        known.state = State::Calling { probes: is_alone && known.last_good_unix_secs.is_some() };
        Some(Call { peer, addrs: known.node.addrs.iter().take(MAX_ADDRS).cloned().collect() })
    }

    /// When the next node is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.nodes.values().filter_map(Known::due_at).min()
    }

    /// A peer's first connection is up.
    pub fn connected(&mut self, now: Now, peer: &PeerId, called: bool) {
        if let Some(known) = self.nodes.get_mut(peer) {
            known.state = State::Connected { since: now.instant, called };
        }
    }

    /// A call failed, or a peer's last connection is gone.
    pub fn ended(&mut self, now: Now, peer: &PeerId) {
        let Some(known) = self.nodes.get_mut(peer) else { return };
        match known.state {
            State::Waiting { .. } => return,
            State::Calling { probes: true } => {
                known.state = State::Waiting { since: now.instant, until: now.instant + ALONE_WAIT };
                return;
            }
            State::Connected { since, .. } if now.instant.saturating_duration_since(since) >= LASTED => {
                (known.failures, known.last_good_unix_secs) = (0, Some(now.unix_secs()));
            }
            State::Calling { .. } | State::Connected { .. } => {}
        }
        known.failures = known.failures.saturating_add(1);
        known.state = State::Waiting { since: now.instant, until: now.instant + wait(known.failures) };
        self.changed = true;
        if known.is_forgotten(now) {
            self.nodes.remove(peer);
        }
    }

    /// A peer is of another network, or no Waku node at all: it is forgotten.  Deployed: nwaku.
    pub fn misfit(&mut self, peer: &PeerId) {
        self.changed |= self.nodes.remove(peer).is_some();
    }
}

/// The wait after so many failures in a row.
fn wait(failures: u32) -> Duration {
    FIRST_WAIT * BACKOFF_FACTOR.pow(failures.clamp(1, MAX_FAILURES) - 1)
}

fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    addr.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use devp2p::{NodeKey, enr::Endpoint};
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        Limits,
        discovery::enr::{Description, RelayShards, Services},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn node_at(secret: u16, ip: [u8; 4], cluster: u16, shard: u16, seq: u64) -> Node {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&(secret + 1).to_be_bytes());
        let endpoint = Endpoint { ip: Some(ip.into()), tcp: Some(60_000), udp: None };
        let shards = RelayShards::new(ClusterId(cluster), [shard]).ok();
        let description = Description { endpoint, services: Services::RELAY, shards, addrs: Vec::new() };
        Node::read(description.sign(&NodeKey::from_bytes(&bytes).unwrap(), seq).unwrap()).unwrap()
    }

    /// The `n`th node, in a subnet of its own.
    fn node(n: u16) -> Node {
        node_at(n, [8, 8 + (n >> 8) as u8, n as u8, 8], 1, 0, 1)
    }

    struct Scene {
        book: AddressBook,
        now: Now,
        rng: StdRng,
    }

    impl Scene {
        fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
            let book = AddressBook::new(PeerId::random(), ClusterId(1), false);
            let mut scene = Self { book, now: devp2p::clock::now(), rng: StdRng::seed_from_u64(1) };
            nodes.into_iter().for_each(|node| scene.named(node));
            scene
        }

        fn named(&mut self, node: Node) {
            self.book.suggest(self.now, Source::Discv5, node);
        }

        fn calls(&mut self) -> Option<PeerId> {
            self.book.next_call(self.now, false, &mut self.rng).map(|call| call.peer)
        }

        fn all_calls(&mut self) -> Vec<PeerId> {
            std::iter::from_fn(|| self.calls()).collect()
        }

        fn passes(&mut self, time: Duration) {
            self.now = self.now.after(time);
        }

        /// Calls in vain; the wait until the next call.
        fn fails(&mut self) -> Option<Duration> {
            let peer = self.calls().expect("somebody is due");
            self.book.ended(self.now, &peer);
            let until = self.book.wake_at()?;
            let wait = until - self.now.instant;
            self.passes(wait);
            Some(wait)
        }

        fn connects(&mut self, time: Duration) {
            let peer = self.calls().expect("somebody is due");
            self.book.connected(self.now, &peer, true);
            self.passes(time);
            self.book.ended(self.now, &peer);
        }
    }

    #[test]
    fn waits_are_four_times_as_long_each_and_the_fifth_failure_is_the_last() {
        let mut scene = Scene::new([node(1)]);
        let waits: Vec<u64> = std::iter::from_fn(|| scene.fails()).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [120, 480, 1_920, 7_680]);
        assert!(scene.book.is_empty());
    }

    #[test]
    fn a_node_that_answered_is_kept_for_a_week() {
        let mut scene = Scene::new([node(1)]);
        scene.connects(LASTED);
        let good = scene.now;
        scene.passes(FIRST_WAIT);
        let waits: Vec<u64> = std::iter::from_fn(|| scene.fails()).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits[..5], [480, 1_920, 7_680, 30_720, 30_720], "the first wait was after the connection");
        assert!(scene.now.unix - good.unix >= MEMORY, "{} failures", waits.len());
    }

    #[test]
    fn only_a_lasting_connection_counts_failures_anew() {
        let mut scene = Scene::new([node(1)]);
        scene.fails();
        scene.connects(LASTED - SECOND);
        assert_eq!(scene.book.entries(scene.now)[0].failures, 2);
        scene.passes(wait(2));
        scene.connects(LASTED);
        let entry = &scene.book.entries(scene.now)[0];
        assert_eq!((entry.failures, entry.last_good_unix_secs), (1, Some(scene.now.unix_secs())));
    }

    /// Sixteen nodes that answered and one that never did; all vanish for ten minutes, and each call hangs for as long as it may.
    #[test]
    fn f16_who_answered_is_found_within_half_a_minute_of_its_return_and_not_blamed() {
        let (away, hangs, second) = (600, Limits::default().handshake.as_secs(), SECOND);
        let mut scene = Scene::new((0..16).map(node));
        let good: Vec<PeerId> = (0..16).map(|n| node(n).peer).collect();
        good.iter().for_each(|peer| scene.book.connected(scene.now, peer, true));
        scene.passes(LASTED);
        good.iter().for_each(|peer| scene.book.ended(scene.now, peer));
        scene.named(node(99));
        let (mut calls, mut called, mut unknown_called) = (Vec::new(), 0, 0);
        for secs in 0..away {
            while let Some(call) = scene.book.next_call(scene.now, true, &mut scene.rng) {
                calls.push((secs, call.peer));
                called += 1;
                unknown_called += usize::from(call.peer == node(99).peer);
            }
            assert!(calls.len() <= MAX_CALLING);
            let over = calls.extract_if(.., |(since, _)| secs - *since >= hangs);
            over.for_each(|(_, peer)| scene.book.ended(scene.now, &peer));
            scene.passes(second);
        }
        assert!((200..=600).contains(&called), "{called} calls to sixteen nodes in ten minutes");
        assert_eq!(unknown_called, 2, "it waits its time");
        // The network is back: who is called answers, and what hangs goes on hanging. One is there, so that we are alone no more.
        let (mut there, mut secs) = (0, 0);
        while there < MAX_CALLING {
            let over = calls.extract_if(.., |(since, _)| away + secs - *since >= hangs);
            over.for_each(|(_, peer)| scene.book.ended(scene.now, &peer));
            while let Some(call) = scene.book.next_call(scene.now, there == 0, &mut scene.rng) {
                scene.book.connected(scene.now, &call.peer, true);
                there += 1;
            }
            scene.passes(second);
            secs += 1;
            assert!(secs < 27, "{there} after {secs} s");
        }
        let entries = scene.book.entries(scene.now);
        assert!(entries.iter().filter(|entry| entry.last_good_unix_secs.is_some()).all(|entry| entry.failures == 1));
    }

    #[test]
    fn f10_a_clock_that_jumps_a_day_changes_no_wait_and_forgets_nobody() {
        let day = Duration::from_secs(24 * 60 * 60);
        for ahead in [true, false] {
            let mut scene = Scene::new([node(1), node(2)]);
            scene.connects(LASTED);
            scene.passes(FIRST_WAIT);
            (0..MAX_FAILURES).for_each(|_| assert!(scene.fails().is_some()));
            let due = scene.book.wake_at().unwrap();
            scene.now.unix = if ahead { scene.now.unix + day } else { scene.now.unix - day };
            assert_eq!((scene.book.wake_at(), scene.book.len()), (Some(due), 2));
            scene.fails();
            assert!(scene.book.nodes.values().any(|known| known.last_good_unix_secs.is_some()), "it is kept");
            // A file written by the wrong clock, and read by the right one.
            let entries = scene.book.entries(scene.now);
            scene.now.unix = if ahead { scene.now.unix - day } else { scene.now.unix + day };
            let mut recalled = Scene::new([]);
            recalled.now = scene.now;
            recalled.book.recall(scene.now, entries);
            assert_eq!(recalled.book.len(), scene.book.len());
            let latest =
                recalled.book.entries(recalled.now).into_iter().filter_map(|entry| entry.last_good_unix_secs).max();
            assert!(latest.unwrap() <= scene.now.unix_secs(), "nothing was good in the future");
        }
    }

    #[test]
    fn calls_are_bounded_and_nobody_is_called_twice() {
        let mut scene = Scene::new((0..20).map(node));
        let called = scene.all_calls();
        assert_eq!((called.len(), scene.book.calling()), (MAX_CALLING, MAX_CALLING));
        called.iter().for_each(|peer| scene.book.connected(scene.now, peer, true));
        assert_eq!(scene.book.outbound(), MAX_CALLING);
        let others = scene.all_calls();
        assert_eq!(others.len(), 10);
        assert!(others.iter().all(|peer| !called.contains(peer)));
        let mut caller = Scene::new([node(1)]);
        caller.book.connected(caller.now, &node(1).peer, false);
        assert_eq!((caller.calls(), caller.book.outbound()), (None, 0), "it has called us");
    }

    #[test]
    fn a_subnet_has_two_places() {
        let mut scene = Scene::new((0..5).map(|n| node_at(n, [8, 8, 8, n as u8], 1, 0, 1)));
        scene.named(node(9));
        let called = scene.all_calls();
        assert_eq!(called.len(), 3);
        assert!(called.contains(&node(9).peer));
        let there = *called.iter().find(|peer| **peer != node(9).peer).unwrap();
        scene.book.ended(scene.now, &there);
        assert_eq!(scene.all_calls().len(), 1, "one place is free again");
    }

    #[test]
    fn who_shares_a_shard_then_who_answered_is_called_first() {
        let (ours, good, unknown) = (node_at(1, [1, 1, 1, 1], 1, 5, 1), node(2), node(3));
        let mut scene = Scene::new([good.clone()]);
        scene.book.set_shards(vec![Shard { cluster: ClusterId(1), index: 5 }]);
        scene.connects(LASTED);
        scene.passes(FIRST_WAIT);
        [&unknown, &ours].into_iter().for_each(|node| scene.named(node.clone()));
        // The good one has failed once, when its connection ended; having answered weighs more.
        assert_eq!(scene.all_calls(), [ours.peer, good.peer, unknown.peer]);
    }

    #[test]
    fn strangers_do_not_send_us_into_our_own_network() {
        let private = || node_at(1, [192, 168, 0, 1], 1, 0, 1);
        let mut scene = Scene::new([private(), node_at(2, [127, 0, 0, 1], 1, 0, 1)]);
        assert!(scene.book.is_empty());
        scene.book.local_addresses = true;
        (1..6).for_each(|n| scene.named(node_at(n, [192, 168, 0, n as u8], 1, 0, 1)));
        assert_eq!(scene.all_calls().len(), 5, "nor are they one subnet there");
    }

    #[test]
    fn other_networks_and_ourselves_are_left_out_and_misfits_forgotten() {
        let mut scene = Scene::new([node_at(1, [8, 8, 8, 8], 16, 0, 1), node(2)]);
        assert_eq!(scene.book.len(), 1);
        scene.book.misfit(&node(2).peer);
        assert!(scene.book.is_empty() && scene.book.take_changed());
        scene.book.own = node(3).peer;
        scene.named(node(3));
        assert!(scene.book.is_empty());
    }

    #[test]
    fn f17_a_newer_record_moves_a_node_at_once_and_an_older_one_never() {
        let at = |ip, seq| node_at(1, ip, 1, 0, seq);
        let mut scene = Scene::new([at([8, 8, 8, 8], 5)]);
        scene.calls();
        scene.book.ended(scene.now, &node(1).peer);
        scene.named(at([9, 9, 9, 9], 4));
        assert_eq!(scene.calls(), None, "an older record");
        scene.named(at([9, 9, 9, 9], 6));
        let call = scene.book.next_call(scene.now, false, &mut scene.rng).unwrap();
        assert_eq!(call.addrs, at([9, 9, 9, 9], 6).addrs);
        assert_eq!(scene.book.entries(scene.now)[0].failures, 0);
    }

    #[test]
    fn a_full_book_keeps_what_is_good() {
        let mut scene = Scene::new([node(0)]);
        scene.connects(LASTED);
        scene.book.nodes.get_mut(&node(0).peer).unwrap().failures = 0;
        let any = node(1);
        for _ in 0..MAX_KNOWN + 50 {
            // One record under many names: the bound looks at nothing else.
            scene.named(Node { peer: PeerId::random(), ..any.clone() });
        }
        assert_eq!(scene.book.len(), MAX_KNOWN);
        assert!(scene.book.nodes.contains_key(&node(0).peer));
    }

    #[test]
    fn a_smaller_book_is_full_earlier() {
        let mut scene = Scene::new([]);
        scene.book = scene.book.with_capacity(2);
        (1..=3).for_each(|n| scene.named(node(n)));
        assert_eq!(scene.book.len(), 2);
        let entries = Scene::new((1..=3).map(node)).book.entries(scene.now);
        let mut recalled = AddressBook::new(PeerId::random(), ClusterId(1), false).with_capacity(1);
        recalled.recall(scene.now, entries);
        assert_eq!(recalled.len(), 1);
        assert_eq!(
            AddressBook::new(PeerId::random(), ClusterId(1), false).with_capacity(usize::MAX).capacity,
            MAX_KNOWN
        );
    }

    #[test]
    fn a_file_says_what_the_book_knows() {
        let mut scene = Scene::new([node(1), node(2)]);
        scene.connects(LASTED);
        scene.calls();
        scene.calls();
        let failed: Vec<PeerId> = [node(1).peer, node(2).peer].to_vec();
        failed.iter().for_each(|peer| scene.book.ended(scene.now, peer));
        assert!(scene.book.take_changed() && !scene.book.take_changed());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers-v2.json");
        assert_eq!(read(&path).unwrap(), [], "there is none yet");
        let entries = scene.book.entries(scene.now);
        write(&path, &entries).unwrap();
        assert_eq!(read(&path).unwrap(), entries);
        let mut recalled = Scene::new([]);
        recalled.now = scene.now;
        recalled.book.recall(scene.now, entries.clone());
        assert_eq!(recalled.book.entries(scene.now), entries);
        assert_eq!(recalled.calls(), None, "both wait");
        recalled.passes(wait(2));
        assert_eq!(recalled.all_calls().len(), 2);
    }

    #[test]
    fn files_that_are_none_are_refused_and_bad_lines_skipped() {
        assert!(matches!(decode(b"{\"version\":2,\"peers\":[]}"), Err(BookError::Version(2))));
        for bad in [&b""[..], b"[]", b"{\"version\":1}", b"{\"version\":1,\"peers\":[{}]}"] {
            assert!(matches!(decode(bad), Err(BookError::Json(_))));
        }
        let mut scene = Scene::new([]);
        let line = |enr: String| Entry {
            enr,
            source: Source::Dns,
            last_good_unix_secs: Some(u64::MAX),
            failures: u32::MAX,
            retry_unix_secs: u64::MAX,
        };
        let foreign = node_at(7, [8, 8, 8, 8], 16, 0, 1).record.to_base64();
        scene
            .book
            .recall(scene.now, vec![line("nonsense".to_owned()), line(foreign), line(node(1).record.to_base64())]);
        assert_eq!(scene.book.len(), 1);
        assert!(scene.book.wake_at().unwrap() <= scene.now.instant + wait(MAX_FAILURES), "a wrong clock heals");
        assert_eq!(scene.book.entries(scene.now)[0].last_good_unix_secs, Some(scene.now.unix_secs()));
    }

    #[test]
    fn a_seed_replays() {
        let calls = || Scene::new((0..30).map(node)).all_calls();
        assert_eq!(calls(), calls());
    }
}
