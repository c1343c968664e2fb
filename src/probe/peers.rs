//! The peers of the Waku Network side, connected and known, by the names of nwaku.
//!
//! What peers say of themselves becomes labels: protocols only as far as this node speaks them, programs only the [`MAX_AGENTS`] that most have.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use waku2::{
    handle::{Direction, PeerInfo},
    known::{KnownPeer, Origin},
    metadata, peer_exchange, relay,
    service::Protocol,
};

use super::{Sample, counter, gauge, read};

/// Programs that are told apart; peers of all others are counted as [`OTHERS`].
const MAX_AGENTS: usize = 20;
/// The label of these. No program that is deployed calls itself so.
const OTHERS: &str = "other";
/// Of a peer of which identify has not told yet.
const UNKNOWN: &str = "unknown";

/// Everything about them.
pub(super) async fn samples(node: &waku2::Handle) -> Vec<Sample> {
    let (connected, known) = (node.peers().await, node.known_peers().await.unwrap_or_default());
    let mut samples = by_protocol(&connected);
    let unique = connected.len() as u64;
    samples.push(gauge("waku_total_unique_peers", "Connected peers, each once", unique));
    samples.extend(by_shard(&connected));
    samples.extend(by_agent(&connected));
    samples.extend(serving(&connected));
    samples.extend(named(node));
    samples.extend(dials(node));
    samples.push(gauge("waku_peer_store_size", "Peers that are known, connected or not", known.len() as u64));
    samples.extend(found(node, &known));
    samples
}

/// Those that this node speaks.
fn protocols() -> Vec<String> {
    let others = [relay::PROTOCOL.to_owned(), metadata::PROTOCOL.to_string(), peer_exchange::PROTOCOL.to_string()];
    others.into_iter().chain(Protocol::ALL.into_iter().map(|protocol| protocol.id().to_owned())).collect()
}

fn speaks(peer: &PeerInfo, protocol: &str) -> bool {
    peer.protocols.iter().any(|name| name == protocol)
}

fn by_protocol(peers: &[PeerInfo]) -> Vec<Sample> {
    let sample = |protocol: &str, direction, label: &str| {
        let count = peers.iter().filter(|peer| peer.direction == direction && speaks(peer, protocol)).count();
        Sample {
            labels: vec![("direction", label.to_owned()), ("protocol", protocol.to_owned())],
            ..gauge("waku_connected_peers", "Connected peers by who called whom, and what they speak", count as u64)
        }
    };
    let both =
        |protocol: &String| [sample(protocol, Direction::Inbound, "In"), sample(protocol, Direction::Outbound, "Out")];
    protocols().iter().flat_map(both).collect()
}

fn by_shard(peers: &[PeerInfo]) -> Vec<Sample> {
    let mut shards = BTreeMap::<u16, u64>::new();
    peers.iter().flat_map(|peer| &peer.shards).for_each(|shard| *shards.entry(*shard).or_default() += 1);
    let sample = |(shard, count): (u16, u64)| Sample {
        labels: vec![("shard", shard.to_string())],
        ..gauge("waku_connected_peers_per_shard", "Connected peers by the shards that they relay", count)
    };
    shards.into_iter().map(sample).collect()
}

fn by_agent(peers: &[PeerInfo]) -> Vec<Sample> {
    let mut agents = BTreeMap::<&str, u64>::new();
    let names = peers.iter().map(|peer| peer.agent.as_deref().unwrap_or(UNKNOWN));
    names.for_each(|name| *agents.entry(name).or_default() += 1);
    let mut agents: Vec<(&str, u64)> = agents.into_iter().collect();
    agents.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others: u64 = agents.iter().skip(MAX_AGENTS).map(|(_, count)| count).sum();
    agents.truncate(MAX_AGENTS);
    agents.extend((others > 0).then_some((OTHERS, others)));
    let sample = |(agent, count): (&str, u64)| Sample {
        labels: vec![("agent", agent.to_owned())],
        ..gauge("waku_connected_peers_per_agent", "Connected peers by the program that they say they are", count)
    };
    agents.into_iter().map(sample).collect()
}

fn serving(peers: &[PeerInfo]) -> Vec<Sample> {
    let count = |protocol: &str| peers.iter().filter(|peer| speaks(peer, protocol)).count() as u64;
    vec![
        gauge("waku_store_peers", "Connected peers that serve store", count(Protocol::StoreV3.id())),
        gauge("waku_filter_peers", "Connected peers that serve filter", count(Protocol::FilterSubscribe.id())),
        gauge("waku_lightpush_peers", "Connected peers that serve lightpush", count(Protocol::LightpushV3.id())),
        gauge("waku_px_peers", "Connected peers that answer peer exchange", count(peer_exchange::PROTOCOL.as_ref())),
    ]
}

/// Whom the operator names.  Deployed: nwaku puts the address where the label says that it is a name.
fn named(node: &waku2::Handle) -> Vec<Sample> {
    let of = |protocol: Protocol| node.named(protocol).iter().map(move |target| (protocol, target));
    let sample = |(protocol, target): (Protocol, &waku2::service::Target)| Sample {
        labels: vec![
            ("protocol", protocol.id().to_owned()),
            ("peerId", target.addrs.first().map_or_else(|| target.peer.to_string(), ToString::to_string)),
        ],
        ..gauge("waku_service_peers", "Nodes that the operator names to be asked", 1)
    };
    Protocol::ALL.into_iter().flat_map(of).map(sample).collect()
}

fn dials(node: &waku2::Handle) -> Vec<Sample> {
    let counters = node.counters();
    let (succeeded, failed) = (read(&counters.dials_succeeded), read(&counters.dials_failed));
    let outcome = |outcome: &str, count| Sample {
        labels: vec![("outcome", outcome.to_owned())],
        ..counter("waku_peers_dials", "Calls of ours by what came of them", count)
    };
    vec![
        outcome("successful", succeeded),
        outcome("failed", failed),
        counter("libp2p_total_dial_attempts", "Calls of ours that have ended", succeeded + failed),
        counter("libp2p_successful_dials", "Calls of ours that reached somebody", succeeded),
        counter("libp2p_failed_dials", "Calls of ours that led nowhere", failed),
    ]
}

/// What the ways of discovery brought.
fn found(node: &waku2::Handle, known: &[KnownPeer]) -> Vec<Sample> {
    let exchange = &node.counters().exchange;
    let by_dns = known.iter().filter(|peer| peer.origin == Origin::Dns).count() as u64;
    let mut samples = vec![
        counter("waku_px_peers_received", "Nodes that peers told us of", read(&exchange.received)),
        gauge("waku_px_peers_received_unknown", "Of these, those that were taken", read(&exchange.kept)),
        counter("waku_px_peers_sent", "Nodes that we told peers of", read(&exchange.sent)),
        Sample {
            labels: vec![("type", "dial_failure".to_owned())],
            ..counter("waku_px_errors", "Questions of ours without an answer", read(&exchange.unanswered))
        },
        gauge("waku_dnsdisc_discovered", "Known nodes that a list in DNS named first", by_dns),
    ];
    if let Some(seen) = node.discovered() {
        samples.extend(by_udp(seen, known));
    }
    samples
}

/// Only where it runs.
fn by_udp(seen: &waku2::discovery::discv5::Seen, known: &[KnownPeer]) -> Vec<Sample> {
    let mut shards = BTreeMap::<u16, u64>::new();
    let found = known.iter().filter(|peer| peer.origin == Origin::Discv5);
    found.flat_map(|peer| &peer.shards).for_each(|shard| *shards.entry(*shard).or_default() += 1);
    let shard = |(shard, count): (u16, u64)| Sample {
        labels: vec![("shard", shard.to_string())],
        ..gauge("waku_discv5_discovered_per_shard", "Known nodes that a lookup over UDP named first", count)
    };
    let table = |state: &str, count: usize| Sample {
        labels: vec![("state", state.to_owned())],
        ..gauge("routing_table_nodes", "Nodes in the table of discovery, and those of them that answered", count as u64)
    };
    let (bytes_in, bytes_out) = waku2::discovery::discv5::network_bytes();
    let bytes = |direction: &str, count| Sample {
        labels: vec![("direction", direction.to_owned())],
        ..counter("discv5_network_bytes", "Bytes of discovery over UDP", count)
    };
    let mut samples: Vec<Sample> = shards.into_iter().map(shard).collect();
    samples.extend([
        counter("waku_discv5_errors", "Lookups over UDP that failed", read(&seen.failures)),
        table("", seen.nodes.load(Relaxed)),
        table("seen", seen.connected.load(Relaxed)),
        bytes("in", bytes_in),
        bytes("out", bytes_out),
    ]);
    samples
}

#[cfg(test)]
mod tests {
    use devp2p::clock::now;
    use waku2::{PeerId, handle::Volume};

    use super::*;
    use crate::probe::Amount;

    fn peer(agent: Option<&str>, direction: Direction, protocols: &[&str], shards: &[u16]) -> PeerInfo {
        PeerInfo {
            peer: PeerId::random(),
            addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            agent: agent.map(str::to_owned),
            protocols: protocols.iter().map(|&name| name.to_owned()).collect(),
            cluster: None,
            shards: shards.to_vec(),
            direction,
            since: now(),
            brought: Volume::default(),
            score: None,
        }
    }

    fn told(samples: Vec<Sample>) -> Vec<(String, f64)> {
        let told = |sample: Sample| {
            let labels: Vec<String> = sample.labels.iter().map(|(_, value)| value.clone()).collect();
            let Amount::Gauge(amount) = sample.amount else { panic!("{sample:?}") };
            (labels.join(" "), amount)
        };
        samples.into_iter().map(told).filter(|(_, amount)| *amount > 0.0).collect()
    }

    #[test]
    fn peers_are_counted_by_what_they_say() {
        let store = Protocol::StoreV3.id();
        let peers = [
            peer(Some("nwaku"), Direction::Inbound, &[store, "/made/up/1"], &[0, 5]),
            peer(Some("nwaku"), Direction::Outbound, &[store, relay::PROTOCOL], &[5]),
            peer(None, Direction::Outbound, &[], &[]),
        ];
        let in_and_out = [format!("Out {}", relay::PROTOCOL), format!("In {store}"), format!("Out {store}")];
        assert_eq!(told(by_protocol(&peers)), in_and_out.map(|label| (label, 1.0)));
        assert_eq!(told(by_shard(&peers)), [("0".into(), 1.0), ("5".into(), 2.0)]);
        assert_eq!(told(by_agent(&peers)), [("nwaku".into(), 2.0), ("unknown".into(), 1.0)]);
        assert_eq!(told(serving(&peers)).len(), 1);
    }

    #[test]
    fn programs_that_peers_make_up_are_bounded() {
        let names: Vec<String> = (0..100).map(|n| format!("made up {n}")).collect();
        let mut peers: Vec<PeerInfo> =
            names.iter().map(|name| peer(Some(name), Direction::Inbound, &[], &[])).collect();
        peers.extend((0..2).map(|_| peer(Some("nwaku"), Direction::Inbound, &[], &[])));
        let told = told(by_agent(&peers));
        assert_eq!(told.len(), MAX_AGENTS + 1);
        assert_eq!(told[0], ("nwaku".into(), 2.0));
        assert_eq!(told[MAX_AGENTS], (OTHERS.into(), 81.0));
    }
}
