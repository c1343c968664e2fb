//! The names that dashboards look for and that nothing else here has told: of services that are off, and of what is not here.
//!
//! A node of nwaku shows every name from its start on, a geth or statusd too, and a panel without a name is an error. So each
//! role completes what it has read:
//! - What is off, or cannot be here, is zero: store sync, which is not spoken; an archive of the legacy store of its own;
//!   reachability, which is never asked for.
//! - What has labels that only use tells is a head without numbers, as such families are in nwaku until their first number.
//! - What happens here and is not counted is such a head too, since zero would be untrue: streams by protocol, calls by who
//!   named the peer, errors as nwaku sorts them, those of lists in DNS, and messages of discovery over UDP.
//!
//! Limit: of geth's meters there are none by protocol and code.

use std::collections::HashSet;

use super::{Amount, Head, Reading, Sample};
use crate::store::keep::SECONDS;

/// One name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    /// Every label, and the words that it has from the start on. One without words makes this a head.
    labels: &'static [(&'static str, &'static [&'static str])],
}

/// Of which kind.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// With these bounds, without the infinite one.
    Histogram(&'static [f64]),
}

type Labels = &'static [(&'static str, &'static [&'static str])];

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Counter, labels }
}

const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Gauge, labels }
}

const fn histogram(name: &'static str, labels: Labels, bounds: &'static [f64], help: &'static str) -> Family {
    Family { name, help, kind: Kind::Histogram(bounds), labels }
}

/// Words that nwaku has for what goes wrong with its archive.
const ARCHIVE_ERRORS: &[&str] =
    &["invalid_message_too_old", "invalid_message_future_timestamp", "insert_failure", "retpolicy_failure"];
/// And for the parts of an answer.
const PHASES: &[&str] = &["query-db-time", "send-store-resp-time"];

/// Of nwaku: its node, peers and relay.
const OF_NODES: &[Family] = &[
    counter("waku_node_errors", &[("type", &[])], "Errors as nwaku sorts them; not counted here"),
    gauge("waku_connected_peers_per_shard", &[("shard", &[])], "Connected peers by the shards that they relay"),
    gauge("waku_connected_peers_per_agent", &[("agent", &[])], "Connected peers by the program that they say they are"),
    gauge(
        "waku_streams_peers",
        &[("direction", &[]), ("protocol", &[])],
        "Streams by who opened them and what they speak; not counted here",
    ),
    gauge("waku_service_peers", &[("protocol", &[]), ("peerId", &[])], "Nodes that the operator names to be asked"),
    counter("waku_node_conns_initiated", &[("source", &[])], "Calls of ours by who named the peer; not counted here"),
    counter("waku_peers_errors", &[("type", &[])], "Errors with peers as nwaku sorts them; not counted here"),
    counter(
        "waku_relay_network_bytes",
        &[("topic", &[]), ("type", &[]), ("direction", &[])],
        "Bytes of messages: net each once, gross with what is repeated",
    ),
    gauge("waku_relay_total_msg_bytes_per_shard", &[("shard", &[])], "Bytes of all messages of a topic"),
    gauge("waku_relay_max_msg_bytes_per_shard", &[("shard", &[])], "Its largest message"),
    gauge("waku_relay_avg_msg_bytes_per_shard", &[("shard", &[])], "Its messages on average"),
    gauge("libp2p_gossipsub_peers_per_topic_mesh", &[("topic", &[])], "Peers in the mesh of a topic"),
    gauge("libp2p_open_streams", &[("type", &[]), ("dir", &[])], "Open streams by their kind; not counted here"),
    gauge(
        "libp2p_autonat_reachability_confidence",
        &[("reachability", &["NotReachable", "Reachable", "Unknown"])],
        "How sure peers are that we can be reached: they are not asked",
    ),
    counter("waku_rln_valid_messages_total", &[("shard", &[])], "Messages with a valid proof"),
];

/// Of nwaku: its services and what they keep.
const OF_SERVICES: &[Family] = &[
    counter(
        "waku_service_requests",
        &[("service", &[]), ("state", &[])],
        "Requests of peers: answered, or refused because there are too many",
    ),
    gauge("waku_service_requests_limit", &[("service", &[])], "Requests a second that a service answers"),
    counter("waku_service_network_bytes", &[("service", &[]), ("direction", &[])], "Bytes of requests and answers"),
    histogram("waku_service_request_handling_duration_seconds", &[("service", &[])], SECONDS, "How long answers took"),
    gauge("waku_archive_messages", &[("type", &["stored"])], "Rows of the archive"),
    gauge("waku_archive_messages_per_shard", &[("shard", &[])], "Messages kept since the start, by shard"),
    counter(
        "waku_archive_errors",
        &[("type", ARCHIVE_ERRORS)],
        "Messages that were relayed and not kept, and failed deletions",
    ),
    histogram(
        "waku_archive_insert_duration_seconds",
        &[],
        SECONDS,
        "From a message's arrival at the archive to the disk",
    ),
    histogram("waku_archive_query_duration_seconds", &[], SECONDS, "To read a page of history"),
    counter("waku_store_queries", &[], "Store queries"),
    counter("waku_store_errors", &[("type", &[])], "Store queries that were not answered with messages"),
    gauge(
        "waku_store_time_seconds",
        &[("phase", PHASES)],
        "How long the last answer took to be made and to be written",
    ),
    gauge("waku_legacy_archive_messages", &[("type", &["stored"])], "None: the legacy store reads the one archive"),
    gauge("waku_legacy_archive_messages_per_shard", &[("shard", &[])], "None either"),
    counter("waku_legacy_archive_errors", &[("type", ARCHIVE_ERRORS)], "None either"),
    histogram("waku_legacy_archive_insert_duration_seconds", &[], SECONDS, "None either"),
    histogram("waku_legacy_archive_query_duration_seconds", &[], SECONDS, "None either"),
    counter("waku_legacy_store_queries", &[], "Store queries"),
    counter("waku_legacy_store_errors", &[("type", &[])], "Store queries that were not answered with messages"),
    gauge(
        "waku_legacy_store_time_seconds",
        &[("phase", PHASES)],
        "How long the last answer took to be made and to be written",
    ),
    gauge("query_time_secs", &[("query", &[]), ("phase", &[])], "What a statement of nwaku's took; these are not ours"),
    counter("query_count", &[("query", &[])], "How often it ran"),
    gauge("postgres_payload_size_bytes", &[], "A payload on its way to nwaku's tables; these are not ours"),
    counter("waku_lightpush_messages", &[("type", &["PushRequest"])], "Messages that light clients pushed"),
    counter("waku_lightpush_errors", &[("type", &[])], "Pushes of light clients that were refused, or came to nothing"),
    counter("waku_lightpush_v3_messages", &[("type", &["PushRequest"])], "Messages that light clients pushed"),
    counter(
        "waku_lightpush_v3_errors",
        &[("type", &[])],
        "Pushes of light clients that were refused, or came to nothing",
    ),
    gauge("waku_filter_subscriptions", &[], "Peers that are subscribed"),
    counter("waku_filter_requests", &[("type", &[])], "Requests of subscribers"),
    counter("waku_filter_errors", &[("type", &[])], "What went wrong in filter"),
    histogram("waku_filter_request_duration_seconds", &[("type", &[])], SECONDS, "How long answering subscribers took"),
    histogram(
        "waku_filter_handle_message_duration_seconds",
        &[],
        &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0],
        "How long pushes took from when their message was accepted",
    ),
];

/// Of nwaku: store sync, which is not spoken here, and discovery.
const OF_SYNC_AND_DISCOVERY: &[Family] = &[
    histogram("reconciliation_roundtrips", &[], &[1.0, 2.0, 3.0, 5.0, 8.0, 13.0], "None: store sync is not spoken"),
    histogram(
        "reconciliation_differences",
        &[],
        &[0.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0],
        "None: store sync is not spoken",
    ),
    counter(
        "total_bytes_exchanged",
        &[("protocol", &["reconciliation", "transfer"]), ("direction", &["receive", "sent"])],
        "None: store sync is not spoken",
    ),
    counter(
        "total_transfer_messages_exchanged",
        &[("direction", &["receive", "sent"])],
        "None: store sync is not spoken",
    ),
    gauge("total_messages_cached", &[], "None: store sync is not spoken"),
    gauge("waku_discv5_discovered_per_shard", &[("shard", &[])], "Known nodes that a lookup over UDP named first"),
    counter("waku_dnsdisc_errors", &[("type", &[])], "Lists in DNS that could not be read; not counted here"),
    counter("waku_discv5_errors", &[], "Lookups over UDP that failed"),
    gauge(
        "routing_table_nodes",
        &[("state", &["", "seen"])],
        "Nodes in the table of discovery, and those of them that answered",
    ),
    counter(
        "discovery_message_requests_outgoing",
        &[("response", &[])],
        "Questions of discovery over UDP; not counted here",
    ),
    counter(
        "discovery_message_requests_incoming",
        &[("response", &[])],
        "Questions of others in discovery over UDP; not counted here",
    ),
    counter("discv5_network_bytes", &[("direction", &["in", "out"])], "Bytes of discovery over UDP"),
];

/// Of statusd's and geth's peers.
const OF_DEVP2P: &[Family] = &[gauge(
    "p2p_peers_count",
    &[("type", &[]), ("version", &[]), ("platform", &[])],
    "devp2p peers by the program that they say they are",
)];

/// Adds what the sides that this role has have not told.
pub(super) fn complete(reading: &mut Reading, v0: bool, v2: bool) {
    let of_v2 = [OF_NODES, OF_SERVICES, OF_SYNC_AND_DISCOVERY].into_iter().filter(|_| v2);
    let all = of_v2.chain([OF_DEVP2P].into_iter().filter(|_| v0)).flatten();
    let told: HashSet<&str> = reading.samples.iter().map(|sample| sample.name).collect();
    let (mut samples, mut heads) = (Vec::new(), Vec::new());
    for family in all.filter(|family| !told.contains(family.name)) {
        match family.zeros() {
            zeros if zeros.is_empty() => {
                heads.push(Head { name: family.name, help: family.help, amount: family.zero() })
            }
            zeros => samples.extend(zeros),
        }
    }
    reading.samples.extend(samples);
    reading.heads.extend(heads);
}

impl Family {
    /// One for each choice of words.
    fn zeros(&self) -> Vec<Sample> {
        let none = vec![Vec::new()];
        let choices = self.labels.iter().fold(none, |choices: Vec<Vec<(&'static str, String)>>, (label, words)| {
            let with = |choice: &Vec<_>, word: &&str| [&choice[..], &[(*label, (*word).to_owned())]].concat();
            choices.iter().flat_map(|choice| words.iter().map(move |word| with(choice, word))).collect()
        });
        let sample = |labels| Sample { name: self.name, help: self.help, labels, amount: self.zero() };
        choices.into_iter().map(sample).collect()
    }

    fn zero(&self) -> Amount {
        match self.kind {
            Kind::Counter => Amount::Counter(0),
            Kind::Gauge => Amount::Gauge(0.0),
            Kind::Histogram(bounds) => {
                let bounds = bounds.iter().copied().chain([f64::INFINITY]);
                Amount::Histogram { sum: 0.0, count: 0, buckets: bounds.map(|bound| (bound, 0)).collect() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_stays_and_the_rest_is_completed_once() {
        let told = Sample { name: "waku_store_queries", help: "", labels: Vec::new(), amount: Amount::Counter(7) };
        let mut reading = Reading { samples: vec![told.clone()], ..Reading::default() };
        complete(&mut reading, true, true);
        let of = |name| reading.samples.iter().filter(|sample| sample.name == name).collect::<Vec<_>>();
        assert_eq!(of("waku_store_queries"), [&told]);
        assert_eq!(of("total_bytes_exchanged").len(), 4);
        let names: Vec<&str> = reading.heads.iter().map(|head| head.name).collect();
        assert!(names.contains(&"waku_streams_peers") && names.contains(&"p2p_peers_count"), "{names:?}");
        let all: HashSet<&str> = names.iter().copied().chain(reading.samples.iter().map(|s| s.name)).collect();
        let families = [OF_NODES, OF_SERVICES, OF_SYNC_AND_DISCOVERY, OF_DEVP2P].concat();
        assert_eq!(all.len(), families.len());
    }

    #[test]
    fn a_side_that_is_not_there_has_no_names() {
        let mut reading = Reading::default();
        complete(&mut reading, false, false);
        assert!(reading.samples.is_empty() && reading.heads.is_empty());
    }
}
