//! The names under which operators' dashboards look for what is counted: of nwaku, its bridge, statusd and every exporter.

use std::collections::{BTreeMap, BTreeSet};

use crate::process::{Bridge, run};

/// How often it is asked again for what is not counted yet.
const PATIENCE: usize = 240;

/// Those of nwaku and its libp2p, as they stand before `_total` is appended.
const OF_NWAKU: &[&str] = &[
    "waku_version",
    "waku_node_messages",
    "waku_histogram_message_size",
    "waku_peer_store_size",
    "waku_connected_peers",
    "waku_connected_peers_per_shard",
    "waku_connected_peers_per_agent",
    "waku_service_peers",
    "waku_peers_dials",
    "waku_store_peers",
    "waku_filter_peers",
    "waku_lightpush_peers",
    "waku_px_peers",
    "waku_relay_network_bytes",
    "waku_relay_total_msg_bytes_per_shard",
    "waku_relay_max_msg_bytes_per_shard",
    "waku_relay_avg_msg_bytes_per_shard",
    "waku_service_requests",
    "waku_service_requests_limit",
    "waku_service_network_bytes",
    "waku_service_request_handling_duration_seconds",
    "waku_archive_messages",
    "waku_archive_messages_per_shard",
    "waku_archive_errors",
    "waku_archive_insert_duration_seconds",
    "waku_archive_query_duration_seconds",
    "waku_store_queries",
    "waku_store_errors",
    "waku_store_time_seconds",
    "waku_legacy_store_queries",
    "waku_legacy_store_errors",
    "waku_legacy_store_time_seconds",
    "waku_filter_subscriptions",
    "waku_filter_requests",
    "waku_filter_errors",
    "waku_filter_request_duration_seconds",
    "waku_filter_handle_message_duration_seconds",
    "waku_lightpush_messages",
    "waku_lightpush_errors",
    "waku_lightpush_v3_messages",
    "waku_lightpush_v3_errors",
    "waku_px_peers_received",
    "waku_px_peers_received_unknown",
    "waku_px_peers_sent",
    "waku_px_errors",
    "waku_dnsdisc_discovered",
    "waku_discv5_errors",
    "routing_table_nodes",
    "discv5_network_bytes",
    "libp2p_peers",
    "libp2p_pubsub_peers",
    "libp2p_pubsub_topics",
    "libp2p_pubsub_subscriptions",
    "libp2p_pubsub_unsubscriptions",
    "libp2p_pubsub_validation_success",
    "libp2p_pubsub_validation_failure",
    "libp2p_pubsub_validation_ignore",
    "libp2p_gossipsub_peers_per_topic_mesh",
    "libp2p_total_dial_attempts",
    "libp2p_successful_dials",
    "libp2p_failed_dials",
];

/// Those of nwaku's bridge to waku/0, of status-go and of its mail server.
const OF_WAKU_0: &[&str] = &[
    "waku_bridge_transfers",
    "waku_bridge_dropped",
    "envelopes_valid",
    "envelopes_dropped",
    "connected_peers",
    "rlpx_connected_peers",
    "p2p_peers_absolute",
    "waku_envelopes_received",
    "waku_envelopes_cached",
    "waku_envelopes_validated",
    "waku_envelopes_rejected",
    "mailserver_envelope_queries",
    "mailserver_delivery_attempts",
    "mailserver_delivery_failures",
    "mailserver_delivery_duration_seconds",
    "mailserver_sent_envelope_batch_size_bytes",
    "mailserver_send_raw_envelope_duration_seconds",
    "mailserver_requests_batched",
    "mailserver_requests_bundle_process_duration_seconds",
    "mailserver_sync_attempts",
    "mailserver_sync_failures",
];

/// Those of every process, where Linux tells them.
const OF_A_PROCESS: &[&str] = &[
    "process_start_time_seconds",
    "process_cpu_seconds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
];

/// The names of all families. Each stands there once: a second head of a name ends the reading of it.
fn families(metrics: &str) -> BTreeSet<&str> {
    let mut families = BTreeSet::new();
    for name in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(families.insert(name), "{name} stands there twice");
    }
    families
}

fn assert_all(families: &BTreeSet<&str>, names: &[&str]) {
    let missing: Vec<_> = names.iter().filter(|name| !families.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing among {families:?}");
}

#[test]
fn a_bridge_with_every_service_has_the_names_that_dashboards_know() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let other = Bridge::start(&[]);
    let flags = [
        "--store",
        "--legacy-store",
        "--filter",
        "--lightpush",
        "--mailserver",
        "--discv5-discovery",
        "--discv5-udp-port=0",
        "--rate-limit=100/1s",
        "--staticnode-v2",
        &other.libp2p,
        "--storenode",
        &other.libp2p,
    ];
    let bridge = Bridge::start_in(data.path(), &flags);
    let posted = run(&["post", &bridge.libp2p, "--topic=0x01020304", "--text=counted"]);
    assert!(posted.success, "{posted:?}");
    let mut metrics = String::new();
    for _ in 0..PATIENCE {
        metrics = bridge.get("/metrics").1;
        if ["waku_archive_messages_per_shard{", "waku_connected_peers_per_shard{"]
            .iter()
            .all(|name| metrics.contains(name))
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    for direction in ["in", "out"] {
        let none = format!("libp2p_network_bytes_total{{direction=\"{direction}\"}} 0");
        assert!(!metrics.lines().any(|line| line == none), "a peer is connected");
    }
    let families = families(&metrics);
    assert_all(&families, OF_NWAKU);
    assert_all(&families, OF_WAKU_0);
    assert_told(&metrics, OF_TRAFFIC);
    let other_store =
        format!("waku_service_peers{{protocol=\"/vac/waku/store-query/3.0.0\",peerId=\"{}\"}} 1", other.libp2p);
    assert!(metrics.contains(&other_store), "{other_store} is not among {metrics}");
    assert!(!metrics.contains("nim_gc_"), "there is no such thing here");
    if cfg!(target_os = "linux") {
        assert_all(&families, OF_A_PROCESS);
    }
}

/// What there is once a message came and went.
const OF_TRAFFIC: &[(&str, &str, &str)] = &[
    ("waku_relay_network_bytes", "counter", "topic type=net,gross direction=in,out"),
    ("waku_relay_total_msg_bytes_per_shard", "gauge", "shard"),
    ("waku_relay_max_msg_bytes_per_shard", "gauge", "shard"),
    ("waku_relay_avg_msg_bytes_per_shard", "gauge", "shard"),
    ("waku_connected_peers_per_shard", "gauge", "shard"),
    ("waku_connected_peers_per_agent", "gauge", "agent"),
    ("waku_archive_messages_per_shard", "gauge", "shard"),
];

/// Every name of nwaku that a node has from its start on, with its type and, where there are numbers, their labels and words.
const OF_A_FRESH_NODE: &[(&str, &str, &str)] = &[
    ("waku_version", "gauge", "version"),
    ("waku_node_messages", "counter", "type=relay"),
    ("waku_node_errors", "counter", ""),
    (
        "waku_histogram_message_size",
        "histogram",
        "le=0.0,1.0,3.0,5.0,15.0,50.0,75.0,100.0,125.0,150.0,500.0,700.0,1000.0,+Inf",
    ),
    ("waku_peer_store_size", "gauge", ""),
    ("waku_total_unique_peers", "gauge", ""),
    ("waku_connected_peers", "gauge", "direction=In,Out protocol"),
    ("waku_connected_peers_per_shard", "gauge", ""),
    ("waku_connected_peers_per_agent", "gauge", ""),
    ("waku_streams_peers", "gauge", ""),
    ("waku_service_peers", "gauge", ""),
    ("waku_peers_dials", "counter", "outcome=successful,failed"),
    ("waku_node_conns_initiated", "counter", ""),
    ("waku_peers_errors", "counter", ""),
    ("waku_store_peers", "gauge", ""),
    ("waku_filter_peers", "gauge", ""),
    ("waku_lightpush_peers", "gauge", ""),
    ("waku_px_peers", "gauge", ""),
    ("waku_relay_network_bytes", "counter", ""),
    ("waku_relay_total_msg_bytes_per_shard", "gauge", ""),
    ("waku_relay_max_msg_bytes_per_shard", "gauge", ""),
    ("waku_relay_avg_msg_bytes_per_shard", "gauge", ""),
    ("waku_service_requests", "counter", "service state=served,rejected"),
    ("waku_service_requests_limit", "gauge", ""),
    ("waku_service_network_bytes", "counter", "service direction=in,out"),
    ("waku_service_request_handling_duration_seconds", "histogram", "service le=0.005,10.0,+Inf"),
    ("waku_archive_messages", "gauge", "type=stored"),
    ("waku_archive_messages_per_shard", "gauge", ""),
    (
        "waku_archive_errors",
        "counter",
        "type=invalid_message_too_old,invalid_message_future_timestamp,insert_failure,retpolicy_failure",
    ),
    ("waku_archive_insert_duration_seconds", "histogram", "le"),
    ("waku_archive_query_duration_seconds", "histogram", "le"),
    ("waku_store_queries", "counter", ""),
    ("waku_store_errors", "counter", ""),
    ("waku_store_time_seconds", "gauge", "phase=query-db-time,send-store-resp-time"),
    ("waku_legacy_archive_messages", "gauge", "type=stored"),
    ("waku_legacy_archive_messages_per_shard", "gauge", ""),
    ("waku_legacy_archive_errors", "counter", "type"),
    ("waku_legacy_archive_insert_duration_seconds", "histogram", "le"),
    ("waku_legacy_archive_query_duration_seconds", "histogram", "le"),
    ("waku_legacy_store_queries", "counter", ""),
    ("waku_legacy_store_errors", "counter", ""),
    ("waku_legacy_store_time_seconds", "gauge", "phase=query-db-time,send-store-resp-time"),
    ("query_time_secs", "gauge", ""),
    ("query_count", "counter", ""),
    ("postgres_payload_size_bytes", "gauge", ""),
    ("reconciliation_roundtrips", "histogram", "le=1.0,2.0,3.0,5.0,8.0,13.0,+Inf"),
    ("reconciliation_differences", "histogram", "le=0.0,10.0,50.0,100.0,500.0,1000.0,5000.0,+Inf"),
    ("total_bytes_exchanged", "counter", "protocol=reconciliation,transfer direction=receive,sent"),
    ("total_transfer_messages_exchanged", "counter", "direction=receive,sent"),
    ("total_messages_cached", "gauge", ""),
    ("waku_filter_subscriptions", "gauge", ""),
    ("waku_filter_requests", "counter", "type"),
    ("waku_filter_errors", "counter", "type"),
    ("waku_filter_request_duration_seconds", "histogram", "type le"),
    ("waku_filter_handle_message_duration_seconds", "histogram", "le=0.005,30.0"),
    ("waku_lightpush_messages", "counter", "type=PushRequest"),
    ("waku_lightpush_errors", "counter", ""),
    ("waku_lightpush_v3_messages", "counter", "type=PushRequest"),
    ("waku_lightpush_v3_errors", "counter", ""),
    ("waku_px_peers_received", "counter", ""),
    ("waku_px_peers_received_unknown", "gauge", ""),
    ("waku_px_peers_sent", "counter", ""),
    ("waku_px_errors", "counter", "type"),
    ("waku_dnsdisc_discovered", "gauge", ""),
    ("waku_dnsdisc_errors", "counter", ""),
    ("waku_discv5_discovered_per_shard", "gauge", ""),
    ("waku_discv5_errors", "counter", ""),
    ("routing_table_nodes", "gauge", "state=,seen"),
    ("discovery_message_requests_outgoing", "counter", ""),
    ("discovery_message_requests_incoming", "counter", ""),
    ("discv5_network_bytes", "counter", "direction=in,out"),
    ("libp2p_peers", "gauge", ""),
    ("libp2p_pubsub_peers", "gauge", ""),
    ("libp2p_pubsub_topics", "gauge", ""),
    ("libp2p_pubsub_subscriptions", "counter", ""),
    ("libp2p_pubsub_unsubscriptions", "counter", ""),
    ("libp2p_pubsub_validation_success", "counter", ""),
    ("libp2p_pubsub_validation_failure", "counter", ""),
    ("libp2p_pubsub_validation_ignore", "counter", ""),
    ("libp2p_gossipsub_peers_per_topic_mesh", "gauge", "topic"),
    ("libp2p_network_bytes", "counter", "direction=in,out"),
    ("libp2p_open_streams", "gauge", ""),
    ("libp2p_total_dial_attempts", "counter", ""),
    ("libp2p_successful_dials", "counter", ""),
    ("libp2p_failed_dials", "counter", ""),
    ("libp2p_autonat_reachability_confidence", "gauge", "reachability=NotReachable,Reachable,Unknown"),
    ("waku_rln_messages_total", "counter", ""),
    ("waku_rln_spam_messages_total", "counter", ""),
    ("waku_rln_valid_messages_total", "counter", ""),
    ("waku_rln_invalid_messages_total", "counter", "type=invalid_root,invalid_proof"),
    ("waku_rln_proof_verification_total", "counter", ""),
    ("waku_rln_remaining_proofs_per_epoch", "gauge", ""),
    ("waku_rln_number_registered_memberships", "gauge", ""),
    ("waku_rln_proof_verification_duration_seconds", "gauge", ""),
    ("waku_rln_proof_generation_duration_seconds", "gauge", ""),
    ("waku_rln_instance_creation_duration_seconds", "gauge", ""),
    ("waku_rln_membership_insertion_duration_seconds", "gauge", ""),
    ("waku_rln_membership_credentials_import_duration_seconds", "gauge", ""),
];

/// Those of nwaku's bridge, and of the bridge within statusd.
const OF_A_FRESH_BRIDGE: &[(&str, &str, &str)] = &[
    ("waku_bridge_transfers", "counter", "type=v1_to_v2,v2_to_v1"),
    ("waku_bridge_dropped", "counter", "type=duplicate,value_error"),
    ("waku_bridge_sent", "counter", ""),
    ("waku_bridge_received_success", "counter", ""),
    ("waku_bridge_received_failure", "counter", ""),
];

/// Those of everything that speaks waku/0: of nwaku's bridge, of statusd and of geth.
const OF_A_FRESH_WAKU_0_NODE: &[(&str, &str, &str)] = &[
    ("waku_version", "gauge", "version"),
    ("envelopes_valid", "counter", ""),
    ("envelopes_dropped", "counter", "reason"),
    ("connected_peers", "gauge", ""),
    ("rlpx_connected_peers", "gauge", ""),
    ("waku_envelopes_received", "counter", ""),
    ("waku_envelopes_validated", "counter", ""),
    ("waku_envelopes_rejected", "counter", "reason"),
    ("waku_envelopes_cached", "counter", "cache=hit,miss"),
    ("waku_envelopes_cache_failures", "counter", "type=in_future,very_old,expired,oversized,low_pow,no_bloom_match"),
    ("waku_envelopes_size_bytes", "histogram", "le=256.0,1024.0,67108864.0,+Inf"),
    ("waku_rate_limits_processed", "counter", ""),
    ("waku_rate_limits_exceeded", "counter", "type=peer_id,ip"),
    ("p2p_peers_count", "gauge", ""),
    ("p2p_peers_absolute", "gauge", ""),
    ("p2p_peers_max", "gauge", ""),
    ("p2p_peers", "gauge", ""),
    ("p2p_peers_inbound", "gauge", ""),
    ("p2p_peers_outbound", "gauge", ""),
    ("p2p_ingress", "gauge", ""),
    ("p2p_egress", "gauge", ""),
    ("p2p_dials", "gauge", ""),
    ("p2p_dials_success", "gauge", ""),
    ("p2p_dials_error_connection", "gauge", ""),
    ("p2p_serves", "gauge", ""),
    ("p2p_serves_success", "gauge", ""),
];

/// Those of statusd's mailserver.
const OF_A_FRESH_MAILSERVER: &[(&str, &str, &str)] = &[
    ("mailserver_envelopes", "counter", ""),
    ("mailserver_archived_envelopes_total", "gauge", "db"),
    ("mailserver_archived_envelopes_failures", "counter", "db"),
    ("mailserver_archived_envelope_size_bytes", "histogram", "db le=1024.0,1048576.0,+Inf"),
    ("mailserver_envelope_queries", "counter", "filter history"),
    ("mailserver_delivery_attempts", "counter", ""),
    ("mailserver_delivery_failures", "counter", "type"),
    ("mailserver_delivery_duration_seconds", "histogram", "le"),
    ("mailserver_sent_envelope_batch_size_bytes", "histogram", "le"),
    ("mailserver_send_raw_envelope_duration_seconds", "histogram", "le"),
    ("mailserver_requests_batched", "counter", ""),
    ("mailserver_requests_bundle_process_duration_seconds", "histogram", "le"),
    ("mailserver_sync_attempts", "counter", ""),
    ("mailserver_sync_failures", "counter", "type"),
];

/// What a scrape says of one name: its type, and the words of each label.
type Told<'a> = (&'a str, BTreeMap<&'a str, BTreeSet<&'a str>>, Vec<&'a str>);

/// All lines of a name, under it.
fn told(metrics: &str) -> BTreeMap<&str, Told<'_>> {
    let mut told = BTreeMap::<&str, Told<'_>>::new();
    let mut family = "";
    for line in metrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|head| head.split_once(' ')) {
            family = name;
            told.insert(name, (kind, BTreeMap::new(), Vec::new()));
        } else if let Some((sample, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let (_, words, names) = told.get_mut(family).expect("its head stands before it");
            names.push(name.strip_prefix(family).expect("its head stands before it"));
            for (label, word) in labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\"")) {
                words.entry(label).or_default().insert(word.trim_end_matches('"'));
            }
        }
    }
    told
}

fn assert_told(metrics: &str, names: &[(&str, &str, &str)]) {
    let all = told(metrics);
    for (name, kind, labels) in names {
        let (told_kind, words, suffixes) = all.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(told_kind, kind, "{name}");
        let expected: Vec<(&str, &str)> =
            labels.split_terminator(' ').map(|label| label.split_once('=').unwrap_or((label, ""))).collect();
        let told_labels: BTreeSet<&str> = words.keys().copied().collect();
        let expected_labels: BTreeSet<&str> = expected.iter().map(|(label, _)| *label).collect();
        assert_eq!(told_labels, expected_labels, "labels of {name}");
        for (label, wanted) in expected.iter().filter(|(_, wanted)| !wanted.is_empty()) {
            let missing = wanted.split(',').find(|word| !words[label].contains(word));
            assert_eq!(missing, None, "a word of {label} of {name}, among {:?}", words[label]);
        }
        if *kind == "counter" {
            let count = |suffix| suffixes.iter().filter(|told| **told == suffix).count();
            assert_eq!(count("_total"), count("_created"), "{name}");
            assert_eq!(suffixes.len(), count("_total") + count("_created"), "{name}");
        }
    }
}

#[test]
fn a_fresh_node_has_every_name_of_nwaku_with_its_type_and_labels() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::node_in(data.path(), &[], &[]);
    assert_told(&node.get("/metrics").1, OF_A_FRESH_NODE);
}

#[test]
fn a_fresh_bridge_has_the_names_of_both_sides_and_its_own() {
    let bridge = Bridge::start(&[]);
    let metrics = bridge.get("/metrics").1;
    [OF_A_FRESH_NODE, OF_A_FRESH_WAKU_0_NODE, OF_A_FRESH_BRIDGE].iter().for_each(|names| assert_told(&metrics, names));
    assert!(metrics.lines().any(|line| line.starts_with("waku_rln_messages_total_total 0")), "{metrics}");
}

#[test]
fn a_fresh_mailserver_has_the_names_of_statusd_with_their_types_and_labels() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let mailserver = Bridge::mailserver_in(data.path(), &[]);
    let metrics = mailserver.get("/metrics").1;
    [OF_A_FRESH_WAKU_0_NODE, OF_A_FRESH_MAILSERVER].iter().for_each(|names| assert_told(&metrics, names));
}
