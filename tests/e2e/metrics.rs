//! The names under which operators' dashboards look for what is counted: of nwaku, its bridge, statusd and every exporter.

use std::collections::BTreeSet;

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

/// Those of a mailserver without a bridge, beside these: the archive is its own.
const OF_A_MAILSERVER: &[&str] = &[
    "mailserver_envelopes",
    "mailserver_archived_envelopes_total",
    "mailserver_archived_envelopes_failures",
    "mailserver_archived_envelope_size_bytes",
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
    let families = families(&metrics);
    assert_all(&families, OF_NWAKU);
    assert_all(&families, OF_WAKU_0);
    if cfg!(target_os = "linux") {
        assert_all(&families, OF_A_PROCESS);
    }
}

#[test]
fn a_mailserver_has_the_names_of_statusd() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let mailserver = Bridge::mailserver_in(data.path(), &[]);
    let metrics = mailserver.get("/metrics").1;
    assert_all(&families(&metrics), OF_A_MAILSERVER);
}
