//! The devp2p layer below waku/0, by the names of status-go and of geth, which shows its sums as gauges.
//!
//! What peers say of themselves becomes labels: of the programs those [`MAX_PROGRAMS`] that most have, and of their words the
//! first [`MAX_WORD`] letters.  Limit: of the ways in which dialling fails, geth's word for one alone is counted, `connection`.

use std::collections::BTreeMap;

use waku0::PeerInfo;

use super::{Sample, gauge, read};

/// Programs that are told apart; peers of all others are counted as [`OTHERS`].
const MAX_PROGRAMS: usize = 20;
/// Letters of a word that becomes a label.
const MAX_WORD: usize = 64;
/// The label of these.
const OTHERS: &str = "other";

/// Of all connections, and of those whose Status was exchanged.
pub(super) fn samples(node: &waku0::Handle, peers: &[PeerInfo], max_peers: usize) -> Vec<Sample> {
    let (connected, c) = (node.connections().peers as u64, node.network_counters());
    let inbound = peers.iter().filter(|peer| peer.inbound).count() as u64;
    let mut samples = vec![
        gauge("p2p_peers_absolute", "devp2p peers", connected),
        gauge("p2p_peers_max", "devp2p peers that have room, static and trusted ones beside them", max_peers as u64),
        gauge("p2p_peers", "devp2p peers", peers.len() as u64),
        gauge("p2p_peers_inbound", "devp2p peers that dialled us", inbound),
        gauge("p2p_peers_outbound", "devp2p peers that we dialled", peers.len() as u64 - inbound),
        gauge("p2p_ingress", "Bytes read from devp2p connections since the start", read(&c.bytes_in)),
        gauge("p2p_egress", "Bytes written to them", read(&c.bytes_out)),
        gauge("p2p_dials", "Nodes that were dialled since the start", read(&c.dials)),
        gauge("p2p_dials_success", "Of these, those that became peers", read(&c.dials_succeeded)),
        gauge("p2p_dials_error_connection", "Of these, those that were not reached", read(&c.dials_unreached)),
        gauge("p2p_serves", "Connections accepted since the start", read(&c.served)),
        gauge("p2p_serves_success", "Of these, those that became peers", read(&c.served_succeeded)),
    ];
    samples.extend(by_program(peers.iter().map(|peer| peer.client_id.as_str())));
    samples
}

/// Clients call themselves `type/version/platform/…`, some with a name of their operator behind the type.
fn program(client: &str) -> [String; 3] {
    let words: Vec<&str> = client.split('/').collect();
    let word = |place: usize| words.get(place).map(|word| word.chars().take(MAX_WORD).collect()).unwrap_or_default();
    // An operator's name stands before the version, which alone begins like one.
    let is_version = |word: &str| word.strip_prefix('v').unwrap_or(word).starts_with(|c: char| c.is_ascii_digit());
    let named = words.len() > 3 && words.get(1).is_some_and(|word| !is_version(word));
    let after = 1 + usize::from(named);
    [word(0), word(after), word(after + 1)]
}

fn by_program<'a>(clients: impl Iterator<Item = &'a str>) -> Vec<Sample> {
    let mut programs = BTreeMap::<[String; 3], u64>::new();
    clients.for_each(|client| *programs.entry(program(client)).or_default() += 1);
    let mut programs: Vec<([String; 3], u64)> = programs.into_iter().collect();
    programs.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others: u64 = programs.iter().skip(MAX_PROGRAMS).map(|(_, count)| count).sum();
    programs.truncate(MAX_PROGRAMS);
    programs.extend((others > 0).then(|| ([OTHERS; 3].map(str::to_owned), others)));
    let sample = |([kind, version, platform], count): ([String; 3], u64)| Sample {
        labels: vec![("type", kind), ("version", version), ("platform", platform)],
        ..gauge("p2p_peers_count", "devp2p peers by the program that they say they are", count)
    };
    programs.into_iter().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Amount;

    #[test]
    fn programs_are_read_from_what_clients_call_themselves() {
        for (client, expected) in [
            ("Statusd/v0.79.1/linux-amd64/go1.13", ["Statusd", "v0.79.1", "linux-amd64"]),
            ("Geth/miner one/v1.9.0-stable/linux-amd64/go1.13", ["Geth", "v1.9.0-stable", "linux-amd64"]),
            ("causeway/0.1.0", ["causeway", "0.1.0", ""]),
            ("nim-waku v1 node", ["nim-waku v1 node", "", ""]),
            ("", ["", "", ""]),
        ] {
            assert_eq!(program(client), expected, "{client}");
        }
    }

    #[test]
    fn programs_that_peers_make_up_are_bounded() {
        let made_up: Vec<String> = (0..100).map(|n| format!("{n}{}/1/x", "a".repeat(500))).collect();
        let clients = made_up.iter().map(String::as_str).chain(["Statusd/v1/linux", "Statusd/v1/linux"]);
        let samples = by_program(clients);
        assert_eq!(samples.len(), MAX_PROGRAMS + 1);
        assert_eq!((samples[0].labels[0].1.as_str(), &samples[0].amount), ("Statusd", &Amount::Gauge(2.0)));
        assert_eq!(samples[MAX_PROGRAMS].amount, Amount::Gauge(81.0));
        assert!(samples.iter().flat_map(|sample| &sample.labels).all(|(_, word)| word.len() <= MAX_WORD));
    }
}
