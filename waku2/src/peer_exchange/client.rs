//! What we keep of what others tell us: pure.
//!
//! Several are asked, [`RESPONDERS`] at a time, for [`ASK`] each, and of every answer an equal share is kept, chosen by chance, so that none of
//! them chooses our peers alone.

use std::collections::HashSet;

use devp2p::enr::Enr;
use libp2p::PeerId;
use rand::{Rng, seq::SliceRandom};

use crate::{discovery::enr::Node, shard::ClusterId};

/// How many are asked at a time.
pub const RESPONDERS: usize = 3;

/// How many records are asked for.  Deployed: nwaku asks for 5, js-waku for 60; a choice needs more than is kept.
pub const ASK: u64 = 20;

/// How many nodes are kept of one round of answers.
pub const KEPT: usize = 12;

/// Chooses `wanted` nodes at most from `answers`: by turns one of each, each node once, never ourselves, nobody of another network and nobody
/// who cannot be called.
#[must_use]
pub fn keep(own: PeerId, cluster: ClusterId, answers: Vec<Vec<Enr>>, wanted: usize, rng: &mut impl Rng) -> Vec<Node> {
    let mut seen = HashSet::from([own]);
    let share = wanted.div_ceil(answers.len().max(1));
    let mut kept = Vec::new();
    for mut answer in answers {
        answer.shuffle(rng);
        let fits = |node: &Node| !node.addrs.is_empty() && node.cluster().is_none_or(|theirs| theirs == cluster);
        let nodes = answer.into_iter().filter_map(Node::read).filter(fits).filter(|node| seen.insert(node.peer));
        kept.extend(nodes.take(share));
    }
    kept.truncate(wanted);
    kept
}

#[cfg(test)]
mod tests {
    use devp2p::{NodeKey, enr::Endpoint};
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::discovery::enr::{Description, RelayShards};

    fn record(secret: u8, cluster: u16, tcp: Option<u16>) -> Enr {
        let endpoint = Endpoint { ip: Some([8, 8, 8, secret].into()), tcp, udp: None };
        let shards = RelayShards::new(ClusterId(cluster), [0]).ok();
        let description = Description { endpoint, shards, ..Description::default() };
        description.sign(&NodeKey::from_bytes(&[secret; 32]).unwrap(), 1).unwrap()
    }

    fn records(secrets: std::ops::Range<u8>) -> Vec<Enr> {
        secrets.map(|secret| record(secret, 1, Some(1))).collect()
    }

    fn kept(answers: Vec<Vec<Enr>>, wanted: usize, seed: u64) -> Vec<Enr> {
        let nodes = keep(PeerId::random(), ClusterId(1), answers, wanted, &mut StdRng::seed_from_u64(seed));
        nodes.into_iter().map(|node| node.record).collect()
    }

    #[test]
    fn nobody_chooses_alone() {
        let answers = || vec![records(1..50), records(60..63), records(70..120)];
        for seed in 0..20 {
            let kept = kept(answers(), 6, seed);
            let of = |from: &[Enr]| kept.iter().filter(|record| from.contains(record)).count();
            let counts: Vec<usize> = answers().iter().map(|answer| of(answer)).collect();
            assert_eq!(counts, [2, 2, 2], "seed {seed}");
        }
        assert_ne!(kept(answers(), 6, 1), kept(answers(), 6, 2), "by chance");
        assert_eq!(kept(vec![records(1..50)], 6, 1).len(), 6, "one alone may");
        assert_eq!(kept(vec![vec![], records(1..50)], 6, 1).len(), 3);
        assert!(kept(vec![], 6, 1).is_empty());
    }

    #[test]
    fn what_is_of_no_use_is_left_out() {
        let own = Node::read(record(9, 1, Some(1))).unwrap().peer;
        let answer = vec![record(9, 1, Some(1)), record(2, 16, Some(1)), record(3, 1, None), record(4, 1, Some(1))];
        let nodes = keep(own, ClusterId(1), vec![answer.clone(), answer], 10, &mut StdRng::seed_from_u64(1));
        assert_eq!(nodes.into_iter().map(|node| node.record).collect::<Vec<_>>(), [record(4, 1, Some(1))]);
    }
}
