//! The peer book: who is connected, and what each said of itself. Pure.
//!
//! Bounded by the connection limits of [`crate::behaviour`]: an entry lives exactly as long as its peer's connections.

use std::collections::HashMap;

use devp2p::Now;
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use crate::{
    handle::{Direction, PeerInfo, Volume},
    metadata::Metadata,
    shard::ClusterId,
};

/// The connected peers.
#[derive(Debug)]
pub struct PeerBook {
    cluster: ClusterId,
    peers: HashMap<PeerId, Entry>,
}

#[derive(Debug)]
struct Entry {
    info: PeerInfo,
    /// The one it was met on.
    first: ConnectionId,
    /// Grows with each report of slowness, shrinks with each second.
    slowness: u8,
}

/// Reports of slowness, one a second at most, that outweigh the forgiving of a second.
const SLOW_REPORT: u8 = 2;

/// Slowness at which a peer is left: ten seconds without a good one. nwaku leaves at the first full queue; a burst of our own
/// may fill one too, and what is lost then is only what came too late.
const TOO_SLOW: u8 = 10;

/// Bytes kept of what a peer calls its program; the rest is cut off. Deployed names have 20 to 60.
pub const MAX_AGENT_BYTES: usize = 128;

/// Protocols kept of a peer, in its order. nwaku with all its services names about 25.
pub const MAX_PROTOCOLS: usize = 64;

/// Longest name of a protocol that is kept, in bytes.
pub const MAX_PROTOCOL_BYTES: usize = 128;

/// Why a peer is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It named no cluster.
    #[error("it names no cluster")]
    NoCluster,
    /// It is of another network.
    #[error("it is of cluster {}", .0.0)]
    OtherCluster(ClusterId),
}

impl PeerBook {
    /// An empty book of a node in `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, peers: HashMap::new() }
    }

    /// A connection was made. True when it is the peer's first, so that it is to be asked for its metadata.
    pub fn connected(
        &mut self,
        now: Now,
        peer: PeerId,
        connection: ConnectionId,
        addr: Multiaddr,
        direction: Direction,
    ) -> bool {
        let is_new = !self.peers.contains_key(&peer);
        let unknown = PeerInfo {
            peer,
            addr,
            agent: None,
            protocols: Vec::new(),
            cluster: None,
            shards: Vec::new(),
            direction,
            since: now,
            brought: Volume::default(),
            score: None,
        };
        self.peers.entry(peer).or_insert(Entry { info: unknown, first: connection, slowness: 0 });
        is_new
    }

    /// Is this the connection that the peer was met on? With it ends what gossip has told it: a peer that has started again is told nothing on
    /// further ones.
    #[must_use]
    pub fn was_met_on(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.first == connection)
    }

    /// What identify tells of a peer: as much of it as is kept.
    pub fn identified<'a>(&mut self, peer: &PeerId, agent: &str, protocols: impl IntoIterator<Item = &'a str>) {
        if let Some(Entry { info, .. }) = self.peers.get_mut(peer) {
            info.agent = Some(agent[..agent.floor_char_boundary(MAX_AGENT_BYTES)].to_owned());
            let kept = protocols.into_iter().filter(|name| name.len() <= MAX_PROTOCOL_BYTES);
            info.protocols = kept.take(MAX_PROTOCOLS).map(str::to_owned).collect();
        }
    }

    /// A peer's metadata. `Ok` with the peer when it is to be welcomed; `Ok(None)` when it has gone or been welcomed before.
    ///
    /// # Errors
    /// When it is to be left.  Spec: 64/WAKU2-NETWORK.
    pub fn told(&mut self, peer: &PeerId, metadata: Metadata) -> Result<Option<&PeerInfo>, Misfit> {
        let cluster = metadata.cluster.ok_or(Misfit::NoCluster)?;
        if cluster != self.cluster {
            return Err(Misfit::OtherCluster(cluster));
        }
        let Some(Entry { info, .. }) = self.peers.get_mut(peer) else { return Ok(None) };
        info.shards = metadata.shards;
        let welcomed = info.cluster.replace(cluster).is_some();
        Ok((!welcomed).then_some(info))
    }

    /// A peer told of itself while asking us. Whether it stays is decided by its answer to our own question.
    pub fn asked(&mut self, peer: &PeerId, metadata: Metadata) {
        if let Some(Entry { info, .. }) = self.peers.get_mut(peer)
            && metadata.cluster == Some(self.cluster)
        {
            info.shards = metadata.shards;
        }
    }

    /// It brought a message first, and that was accepted.
    pub fn brought(&mut self, peer: &PeerId, bytes: usize) {
        if let Some(Entry { info: PeerInfo { brought, .. }, .. }) = self.peers.get_mut(peer) {
            brought.messages += 1;
            brought.bytes = brought.bytes.saturating_add(bytes as u64);
        }
    }

    /// A peer's last connection is gone. True when it had been welcomed.
    pub fn gone(&mut self, peer: &PeerId) -> bool {
        self.peers.remove(peer).is_some_and(|entry| entry.info.cluster.is_some())
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &PeerInfo> {
        self.peers.values().map(|entry| &entry.info)
    }

    /// Is it connected?
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Messages to this peer were given up in the last second. True when that has gone on for too long.
    pub fn too_slow(&mut self, peer: &PeerId) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else { return false };
        entry.slowness = entry.slowness.saturating_add(SLOW_REPORT);
        entry.slowness >= TOO_SLOW
    }

    /// A second has passed.
    pub fn forgive(&mut self) {
        for entry in self.peers.values_mut() {
            entry.slowness = entry.slowness.saturating_sub(1);
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use devp2p::clock::now;

    use super::*;

    fn of(cluster: Option<u16>) -> Metadata {
        Metadata { cluster: cluster.map(ClusterId), shards: vec![3] }
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn book_with_a_peer() -> (PeerBook, PeerId) {
        let (mut book, peer) = (PeerBook::new(ClusterId(1)), PeerId::random());
        assert!(book.connected(now(), peer, id(1), Multiaddr::empty(), Direction::Inbound));
        (book, peer)
    }

    #[test]
    fn a_peer_is_asked_and_welcomed_once() {
        let (mut book, peer) = book_with_a_peer();
        assert!(!book.connected(now(), peer, id(2), Multiaddr::empty(), Direction::Outbound), "a second connection");
        assert!(book.was_met_on(&peer, id(1)) && !book.was_met_on(&peer, id(2)));
        let info = book.told(&peer, of(Some(1))).unwrap().cloned().unwrap();
        assert_eq!((info.cluster, info.shards, info.direction), (Some(ClusterId(1)), vec![3], Direction::Inbound));
        assert_eq!(book.told(&peer, of(Some(1))), Ok(None));
        assert!(book.gone(&peer), "it had been welcomed");
        assert!(book.is_empty());
    }

    #[test]
    fn shards_that_come_later_are_kept() {
        let (mut book, peer) = book_with_a_peer();
        book.told(&peer, of(Some(1))).unwrap();
        let shards = |book: &PeerBook| book.iter().next().unwrap().shards.clone();
        book.asked(&peer, Metadata { shards: vec![3, 4], ..of(Some(1)) });
        assert_eq!(shards(&book), [3, 4]);
        for stranger in [of(None), of(Some(2))] {
            book.asked(&peer, stranger);
            assert_eq!(shards(&book), [3, 4], "of another network, or of none");
        }
        book.told(&peer, Metadata { shards: vec![], ..of(Some(1)) }).unwrap();
        assert_eq!(shards(&book), [0_u16; 0], "no common shard is no reason to leave");
    }

    #[test]
    fn a_peer_that_comes_back_is_asked_again() {
        let (mut book, peer) = book_with_a_peer();
        book.told(&peer, of(Some(1))).unwrap();
        book.gone(&peer);
        assert!(book.connected(now(), peer, id(1), Multiaddr::empty(), Direction::Inbound));
        assert!(book.told(&peer, of(Some(1))).unwrap().is_some(), "and welcomed again");
    }

    #[test]
    fn a_stranger_is_left() {
        let (mut book, peer) = book_with_a_peer();
        assert_eq!(book.told(&peer, of(None)), Err(Misfit::NoCluster));
        assert_eq!(book.told(&peer, of(Some(2))), Err(Misfit::OtherCluster(ClusterId(2))));
        assert!(!book.gone(&peer), "nobody was told of it");
    }

    #[test]
    fn an_answer_after_the_end_changes_nothing() {
        let (mut book, peer) = book_with_a_peer();
        book.gone(&peer);
        assert_eq!(book.told(&peer, of(Some(1))), Ok(None));
        book.identified(&peer, "agent", []);
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn a_slow_peer_gets_ten_seconds_and_a_burst_is_forgiven() {
        let (mut book, peer) = book_with_a_peer();
        let mut left_after = |reports: usize| {
            (1..=reports).find(|_| {
                let left = book.too_slow(&peer);
                book.forgive();
                left
            })
        };
        assert_eq!(left_after(8), None);
        (0..8).for_each(|_| book.forgive());
        let (mut book, peer) = (book, peer);
        assert!(!(0..4).any(|_| book.too_slow(&peer)), "forgiven");
        assert!(book.too_slow(&peer));
    }

    #[test]
    fn identify_fills_in() {
        let (mut book, peer) = book_with_a_peer();
        assert_eq!(book.iter().next().unwrap().says_it_relays(), None);
        book.identified(&peer, "nwaku", ["/vac/waku/relay/2.0.0"]);
        let info = book.iter().next().unwrap();
        assert_eq!(info.agent.as_deref(), Some("nwaku"));
        assert_eq!(info.protocols, ["/vac/waku/relay/2.0.0"]);
        assert_eq!(info.says_it_relays(), Some(true));
        book.identified(&peer, "js-waku", ["/vac/waku/filter-push/2.0.0-beta1"]);
        assert_eq!(book.iter().next().unwrap().says_it_relays(), Some(false));
    }

    #[test]
    fn what_a_peer_brought_is_summed_up() {
        let (mut book, peer) = book_with_a_peer();
        [3, 4].into_iter().for_each(|bytes| book.brought(&peer, bytes));
        book.brought(&PeerId::random(), 5);
        assert_eq!(book.iter().next().unwrap().brought, Volume { messages: 2, bytes: 7 });
    }

    #[test]
    fn h66_of_what_a_peer_says_of_itself_a_part_is_kept() {
        let (mut book, peer) = book_with_a_peer();
        let long = "/x".repeat(100);
        let names: Vec<String> = (0..10_000).map(|n| format!("/{n}")).collect();
        let told = [long.as_str()].into_iter().chain(names.iter().map(String::as_str));
        book.identified(&peer, &"\u{e9}".repeat(1 << 20), told);
        let info = book.iter().next().unwrap();
        assert_eq!(info.agent.as_ref().unwrap().len(), MAX_AGENT_BYTES);
        assert_eq!(info.protocols, names[..MAX_PROTOCOLS]);
        book.identified(&peer, &format!("x{}", "\u{e9}".repeat(1_000)), []);
        let info = book.iter().next().unwrap();
        assert_eq!(info.agent.as_ref().unwrap().len(), MAX_AGENT_BYTES - 1, "no half of a letter");
    }
}
