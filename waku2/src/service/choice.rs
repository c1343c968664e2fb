//! Whom to ask for a service: pure.
//!
//! Whom the operator names, and nobody else; without such, the connected peers that say they serve it, those first that say they relay the
//! shard in question, then those that name no shards at all. Who names others is not asked. Among equals chance decides.

use libp2p::PeerId;
use rand::{Rng, seq::SliceRandom};

use super::{Protocol, Target};
use crate::handle::PeerInfo;

/// Whom the operator names for each service; none is any peer that serves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// For store.
    pub store: Vec<Target>,
    /// For filter.
    pub filter: Vec<Target>,
    /// For lightpush.
    pub lightpush: Vec<Target>,
}

impl Nodes {
    /// Those for a protocol.
    #[must_use]
    pub fn of(&self, protocol: Protocol) -> &[Target] {
        match protocol {
            Protocol::FilterV1 | Protocol::FilterSubscribe | Protocol::FilterPush => &self.filter,
            Protocol::StoreV3 | Protocol::StoreLegacy => &self.store,
            Protocol::LightpushV3 | Protocol::LightpushLegacy => &self.lightpush,
        }
    }
}

/// Those to ask in one of `protocols`, best first; `shard` is what it is about, where that is one.
#[must_use]
pub fn candidates(
    protocols: &[Protocol],
    shard: Option<u16>,
    named: &[Target],
    peers: &[PeerInfo],
    rng: &mut impl Rng,
) -> Vec<Target> {
    if !named.is_empty() {
        let mut named = named.to_vec();
        named.shuffle(rng);
        return named;
    }
    let mut fitting: Vec<(u8, PeerId)> = peers
        .iter()
        .filter(|info| info.protocols.iter().any(|name| protocols.iter().any(|protocol| protocol.id() == name)))
        .filter_map(|info| Some((rank(info, shard)?, info.peer)))
        .collect();
    fitting.shuffle(rng);
    // Stable, so that chance decides among equals.
    fitting.sort_by_key(|(rank, _)| *rank);
    fitting.into_iter().map(|(_, peer)| peer.into()).collect()
}

/// 0 is best; none does not fit.
fn rank(info: &PeerInfo, shard: Option<u16>) -> Option<u8> {
    match shard {
        _ if info.cluster.is_none() => None,
        Some(shard) if info.shards.contains(&shard) => Some(0),
        Some(_) if info.shards.is_empty() => Some(1),
        Some(_) => None,
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use libp2p::Multiaddr;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        handle::{Direction, Volume},
        shard::ClusterId,
    };

    const LIGHTPUSH: [Protocol; 2] = [Protocol::LightpushV3, Protocol::LightpushLegacy];

    fn peer(protocol: Protocol, shards: &[u16]) -> PeerInfo {
        PeerInfo {
            peer: PeerId::random(),
            addr: Multiaddr::empty(),
            agent: Some("x".into()),
            protocols: vec!["/ipfs/id/1.0.0".into(), protocol.id().into()],
            cluster: Some(ClusterId(1)),
            shards: shards.to_vec(),
            direction: Direction::Inbound,
            since: devp2p::clock::now(),
            brought: Volume::default(),
            score: None,
        }
    }

    fn asked(shard: Option<u16>, named: &[Target], peers: &[PeerInfo], seed: u64) -> Vec<PeerId> {
        let found = candidates(&LIGHTPUSH, shard, named, peers, &mut StdRng::seed_from_u64(seed));
        found.into_iter().map(|target| target.peer).collect()
    }

    #[test]
    fn who_serves_the_shard_comes_first() {
        let peers = [
            peer(Protocol::LightpushV3, &[]),
            peer(Protocol::LightpushV3, &[2]),
            peer(Protocol::StoreV3, &[1]),
            peer(Protocol::LightpushLegacy, &[0, 1]),
            PeerInfo { cluster: None, ..peer(Protocol::LightpushV3, &[1]) },
        ];
        for seed in 0..9 {
            assert_eq!(asked(Some(1), &[], &peers, seed), [peers[3].peer, peers[0].peer], "seed {seed}");
        }
        assert_eq!(asked(None, &[], &peers, 1).len(), 3);
        assert!(asked(Some(1), &[], &[], 1).is_empty());
    }

    #[test]
    fn chance_decides_among_equals() {
        let peers: Vec<PeerInfo> = (0..4).map(|_| peer(Protocol::LightpushV3, &[1])).collect();
        let first: BTreeSet<PeerId> = (0..50).map(|seed| asked(Some(1), &[], &peers, seed)[0]).collect();
        assert_eq!(first.len(), 4);
    }

    #[test]
    fn whom_the_operator_names_is_asked_alone() {
        let named = Target::from(PeerId::random());
        let peers = [peer(Protocol::LightpushV3, &[1])];
        assert_eq!(asked(Some(1), std::slice::from_ref(&named), &peers, 1), [named.peer]);
        let nodes = Nodes { lightpush: vec![named.clone()], ..Nodes::default() };
        assert_eq!(nodes.of(Protocol::LightpushLegacy), [named]);
        assert!(nodes.of(Protocol::FilterSubscribe).is_empty());
    }
}
