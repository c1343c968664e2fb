//! Whom we tell of: a pure core.
//!
//! Only nodes that discv5 found, of our cluster or of none known, at public addresses, not known to be away; never peers of our mesh, and never the
//! asker. What is handed out comes from a shelf of [`MAX_RECORDS`] nodes, chosen by chance and kept for [`SHELF_TIME`]: who asks ten thousand
//! times learns no more than who asks twice, and nothing of when we met whom.
//!
//! Limits: [`MAX_KNOWN`] nodes, the one not found for longest goes first; the budgets of [`crate::service::rate`].

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use devp2p::{enr::Enr, inbound::is_local};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use rand::{Rng, seq::IteratorRandom};

use super::wire::{MAX_RECORDS, Request, Response, Status};
use crate::{
    discovery::enr::{Description, Node},
    service::rate::{Budgets, Limiter},
    shard::ClusterId,
};

/// Most nodes known, about 600 bytes each.
pub const MAX_KNOWN: usize = 1_000;

/// How long a node counts that no lookup has found again.
pub const STALE: Duration = Duration::from_secs(60 * 60);

/// How long the shelf stays as it is.  Spec: 34/WAKU2-PEER-EXCHANGE, which advises as many records for as long.
pub const SHELF_TIME: Duration = Duration::from_secs(10 * 60);

#[derive(Debug)]
struct Known {
    record: Enr,
    found_at: Instant,
}

/// The serving side.
#[derive(Debug)]
pub struct Server {
    cluster: ClusterId,
    local_addresses: bool,
    limiter: Limiter,
    /// In an order of their own, so that a seed replays.
    known: BTreeMap<PeerId, Known>,
    shelf: Vec<PeerId>,
    filled_at: Instant,
}

impl Server {
    /// A server of a node in `cluster` that knows nobody yet. `local_addresses`: whether loopback and private addresses are told, which
    /// is for networks that are themselves private.
    #[must_use]
    pub fn new(cluster: ClusterId, local_addresses: bool, budgets: Budgets, now: Instant) -> Self {
        Self {
            cluster,
            local_addresses,
            limiter: Limiter::new(budgets),
            known: BTreeMap::new(),
            shelf: Vec::new(),
            filled_at: now,
        }
    }

    /// Discv5 found a node.
    pub fn found(&mut self, now: Instant, node: &Node) {
        if !self.is_tellable(node) {
            return;
        }
        if let Some(known) = self.known.get_mut(&node.peer) {
            known.found_at = now;
            if known.record.seq() < node.record.seq() {
                known.record = node.record.clone();
            }
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            let stalest = self.known.iter().min_by_key(|(_, known)| known.found_at).map(|(peer, _)| *peer);
            stalest.map(|peer| self.known.remove(&peer));
        }
        self.known.insert(node.peer, Known { record: node.record.clone(), found_at: now });
    }

    /// A node could not be reached; it is told of again when it is found again.
    pub fn unreachable(&mut self, peer: &PeerId) {
        self.known.remove(peer);
    }

    fn is_tellable(&self, node: &Node) -> bool {
        let fits = node.cluster().is_none_or(|cluster| cluster == self.cluster);
        fits && !node.addrs.is_empty() && (self.local_addresses || is_public(&node.record))
    }

    /// Answers. `in_mesh` says who is not to be told of.
    pub fn answer(
        &mut self,
        now: Instant,
        asker: PeerId,
        request: Request,
        in_mesh: impl Fn(&PeerId) -> bool,
        rng: &mut impl Rng,
    ) -> Response {
        if !self.limiter.take(now, asker) {
            return Response::refusal(Status::TooManyRequests);
        }
        let Request::Ask { count } = request else { return Response::refusal(Status::BadRequest) };
        self.fill(now, &in_mesh, rng);
        let tellable = self.shelf.iter().filter(|peer| **peer != asker && !in_mesh(peer));
        let known = tellable.filter_map(|peer| self.known.get(peer)).map(|known| known.record.clone());
        let records = sample(known, count, rng);
        let status = if records.is_empty() { Status::Unavailable } else { Status::Ok };
        Response { records, status }
    }

    /// Lays out the shelf: anew after its time, else what still fits on it.
    fn fill(&mut self, now: Instant, in_mesh: impl Fn(&PeerId) -> bool, rng: &mut impl Rng) {
        self.known.retain(|_, known| now.saturating_duration_since(known.found_at) < STALE);
        if now.saturating_duration_since(self.filled_at) >= SHELF_TIME {
            self.shelf.clear();
            self.filled_at = now;
        }
        self.shelf.retain(|peer| self.known.contains_key(peer));
        let others = self.known.keys().filter(|peer| !self.shelf.contains(peer) && !in_mesh(peer)).copied();
        let more = sample(others, (MAX_RECORDS - self.shelf.len()) as u64, rng);
        self.shelf.extend(more);
    }
}

/// So many of them by chance, [`MAX_RECORDS`] at most: a reservoir, so that none is more likely than another.
fn sample<T>(from: impl Iterator<Item = T>, count: u64, rng: &mut impl Rng) -> Vec<T> {
    let count = usize::try_from(count).unwrap_or(MAX_RECORDS).min(MAX_RECORDS);
    from.sample(rng, count)
}

/// Every address in the record, whether it can be called or not, is one that anybody may know.
fn is_public(record: &Enr) -> bool {
    let own = record.ip4().map(IpAddr::from).into_iter().chain(record.ip6().map(IpAddr::from));
    let further = Description::read(record).addrs;
    !own.chain(further.iter().flat_map(ips)).any(is_local)
}

fn ips(addr: &Multiaddr) -> impl Iterator<Item = IpAddr> + '_ {
    addr.iter().filter_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use devp2p::{NodeKey, enr::Endpoint};
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::discovery::enr::{RelayShards, Services, peer_id};

    /// The `n`th node of a cluster.
    fn node(n: u16, cluster: Option<u16>, ip: [u8; 4], seq: u64) -> Node {
        let mut secret = [1; 32];
        secret[..2].copy_from_slice(&(n + 1).to_be_bytes());
        let shards = cluster.map(|cluster| RelayShards::new(ClusterId(cluster), [0]).unwrap());
        let endpoint = Endpoint { ip: Some(ip.into()), tcp: Some(1), udp: Some(2) };
        let description = Description { endpoint, services: Services::RELAY, shards, addrs: Vec::new() };
        Node::read(description.sign(&NodeKey::from_bytes(&secret).unwrap(), seq).unwrap()).unwrap()
    }

    fn public(n: u16) -> Node {
        node(n, Some(1), [8, 8, (n >> 8) as u8, n as u8], 1)
    }

    struct Scene {
        server: Server,
        now: Instant,
        rng: StdRng,
        mesh: Vec<PeerId>,
    }

    impl Scene {
        fn new(nodes: u16) -> Self {
            let now = devp2p::clock::now().instant;
            let mut server = Server::new(ClusterId(1), false, Budgets::of_exchange(&[]), now);
            (0..nodes).for_each(|n| server.found(now, &public(n)));
            Self { server, now, rng: StdRng::seed_from_u64(9), mesh: Vec::new() }
        }

        fn asks(&mut self, asker: PeerId, count: u64) -> Response {
            let mesh = self.mesh.clone();
            self.server.answer(self.now, asker, Request::Ask { count }, |peer| mesh.contains(peer), &mut self.rng)
        }

        /// A stranger asks, and gets its answer.
        fn told(&mut self, count: u64) -> Vec<PeerId> {
            let records = self.asks(PeerId::random(), count).records;
            records.into_iter().map(|record| peer_id(&record).unwrap()).collect()
        }
    }

    #[test]
    fn as_many_as_asked_for_and_sixty_at_most() {
        let mut scene = Scene::new(100);
        for (asked, told) in [(0, 0), (1, 1), (5, 5), (60, 60), (61, 60), (u64::MAX, 60)] {
            let all: BTreeSet<PeerId> = scene.told(asked).into_iter().collect();
            assert_eq!(all.len(), told, "each once, for {asked}");
        }
        let mut few = Scene::new(3);
        assert_eq!(few.told(u64::MAX).len(), 3);
        let nobody = Scene::new(0).asks(PeerId::random(), 5);
        assert_eq!(nobody, Response::refusal(Status::Unavailable));
    }

    #[test]
    fn h79_ten_thousand_questions_tell_sixty_nodes() {
        let mut scene = Scene::new(120);
        let mut all = HashSet::new();
        for _ in 0..10_000 {
            scene.now += Duration::from_millis(50);
            all.extend(scene.asks(PeerId::random(), 60).records.iter().map(Enr::node_id));
        }
        assert_eq!(all.len(), MAX_RECORDS, "within {SHELF_TIME:?}");
        scene.now += SHELF_TIME;
        let fresh = scene.asks(PeerId::random(), 60).records;
        assert_eq!(fresh.len(), MAX_RECORDS);
        assert!(fresh.iter().filter(|record| !all.contains(&record.node_id())).count() > 20, "a new shelf");
    }

    #[test]
    fn h79_a_peer_and_all_together_have_a_budget() {
        let (mut scene, asker) = (Scene::new(3), PeerId::random());
        let status = |scene: &mut Scene| scene.asks(asker, 1).status;
        assert!((0..10).all(|_| status(&mut scene) == Status::Ok));
        assert_eq!(scene.asks(asker, 1), Response::refusal(Status::TooManyRequests));
        scene.now += Duration::from_secs(9);
        let served = (0..200).filter(|_| scene.asks(PeerId::random(), 1).status == Status::Ok).count();
        assert_eq!(served, 90, "a hundred in ten seconds, ten of which are gone");
        scene.now += Duration::from_secs(51);
        assert_eq!(scene.asks(asker, 1).status, Status::Ok, "a minute later");
    }

    #[test]
    fn h79_the_mesh_the_asker_and_private_addresses_are_never_told() {
        let mut scene = Scene::new(6);
        scene.mesh = vec![public(0).peer, public(1).peer];
        for n in 0..50 {
            let told = scene.told(60);
            assert!(!told.iter().any(|peer| scene.mesh.contains(peer)), "{n}");
            assert_eq!(told.len(), 4);
            scene.now += Duration::from_secs(1);
        }
        // Somebody on the shelf who joins the mesh is not told of any more.
        scene.mesh.push(public(2).peer);
        assert_eq!(scene.told(60).len(), 3);
        let records = scene.asks(public(3).peer, 60).records;
        assert!(!records.contains(&public(3).record));
        let mut empty = Scene::new(0);
        for ip in [[127, 0, 0, 1], [10, 0, 0, 1], [192, 168, 1, 1], [169, 254, 0, 1]] {
            empty.server.found(empty.now, &node(9, Some(1), ip, 1));
        }
        let behind = Description {
            addrs: vec!["/ip4/10.0.0.9/tcp/8000/ws".parse().unwrap()],
            ..Description::read(&public(8).record)
        };
        let record = behind.sign(&NodeKey::from_bytes(&[5; 32]).unwrap(), 1).unwrap();
        empty.server.found(empty.now, &Node::read(record).unwrap());
        assert_eq!(empty.told(60), []);
        empty.server.local_addresses = true;
        empty.server.found(empty.now, &node(9, Some(1), [127, 0, 0, 1], 1));
        assert_eq!(empty.told(60).len(), 1, "a private network");
    }

    #[test]
    fn other_networks_and_nodes_that_are_away_are_not_told() {
        let mut scene = Scene::new(0);
        let (ours, unknown, foreign) = (public(1), node(2, None, [8, 8, 8, 2], 1), node(3, Some(16), [8, 8, 8, 3], 1));
        [&ours, &unknown, &foreign].into_iter().for_each(|node| scene.server.found(scene.now, node));
        assert_eq!(BTreeSet::from_iter(scene.told(60)), BTreeSet::from([ours.peer, unknown.peer]));
        scene.server.unreachable(&ours.peer);
        assert_eq!(scene.told(60), [unknown.peer]);
        scene.now += STALE;
        assert_eq!(scene.told(60), [], "not found for too long");
    }

    #[test]
    fn the_newest_record_is_told_and_the_stalest_makes_room() {
        let mut scene = Scene::new(0);
        let (old, new) = (node(1, Some(1), [8, 8, 8, 8], 1), node(1, Some(1), [8, 8, 8, 9], 2));
        [&old, &new, &old].into_iter().for_each(|node| scene.server.found(scene.now, node));
        assert_eq!(scene.asks(PeerId::random(), 60).records, [new.record]);
        scene.now += Duration::from_secs(1);
        let any = public(2);
        for _ in 0..MAX_KNOWN {
            // One record under many names, which is all that the bound looks at.
            let node = Node { peer: PeerId::random(), ..any.clone() };
            scene.server.found(scene.now, &node);
        }
        assert_eq!(scene.server.known.len(), MAX_KNOWN);
        assert!(!scene.server.known.contains_key(&old.peer));
    }

    #[test]
    fn what_is_no_request_is_answered_and_a_seed_replays() {
        let (mut scene, asker) = (Scene::new(9), PeerId::random());
        let response = scene.server.answer(scene.now, asker, Request::Malformed, |_| false, &mut scene.rng);
        assert_eq!(response, Response::refusal(Status::BadRequest));
        assert_eq!(Scene::new(100).told(5), Scene::new(100).told(5));
    }
}
