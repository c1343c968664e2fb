//! The requirements of 64/WAKU2-NETWORK, numbered in its order, and the tests that show each. What has none says why.
//!
//! The words beside the numbers are ours, in short.

#[path = "../../tests/support/tested.rs"]
mod tested;

use std::{fs, path::Path};

use tested::Met::{self, By, Untested};

const NO_PROOFS: Met = Untested("rate-limit proofs (RLN) are neither made nor verified yet");
const NO_SERVICES: Met =
    Untested("relay, metadata and peer exchange alone are served yet, not filter, store and lightpush");
const NO_CLIENTS: Met = Untested("this node relays; it is no client of others' services yet");

/// Requirement, what it asks, and how it is met.
const REQUIREMENTS: [(u8, &str, Met); 30] = [
    (1, "relay with rate-limit proofs over eight shards of cluster 1", NO_PROOFS),
    (
        2,
        "metadata with every peer, and the end where it fails or names another cluster",
        By(&[
            "a_peer_of_no_or_another_cluster_is_left",
            "h82_a_peer_of_another_cluster_or_of_ten_thousand_shards_is_left",
            "h82_metadata_that_is_none_ends_the_question_and_silence_the_connection",
            "other_shards_are_no_reason_to_leave",
        ]),
    ),
    (3, "routing by relay with rate-limit proofs", NO_PROOFS),
    (
        4,
        "at least one shard, or all of them",
        By(&[
            "the_waku_network_by_name_and_by_its_cluster",
            "what_is_bridged_is_relayed_whatever_else_is",
            "a_shard_is_joined_and_left_at_run_time",
        ]),
    ),
    (5, "any way to reach others", By(&["a_static_peer_is_called_again"])),
    (
        6,
        "peers sought by discv5",
        By(&[
            "three_find_each_other_a_fourth_is_not_told_and_a_change_is_seen",
            "a_stranger_is_found_over_udp_and_told_of_to_who_asks",
        ]),
    ),
    (
        7,
        "shards in the node record",
        By(&[
            "three_find_each_other_a_fourth_is_not_told_and_a_change_is_seen",
            "a_bootstrap_node_of_the_waku_network",
        ]),
    ),
    (
        8,
        "TCP, and WebSocket beside it",
        By(&[
            "peers_that_share_no_transport_and_no_muxer_talk_through_us",
            "nodes_call_each_other_over_websocket_and_by_name",
        ]),
    ),
    (9, "services on every shard", NO_SERVICES),
    (10, "a store of twelve hours of proven messages", NO_SERVICES),
    (11, "clients of services, where a node does not relay", NO_CLIENTS),
    (12, "stored messages without a valid proof discarded", NO_CLIENTS),
    (13, "an interface for applications that picks the shard", Untested("there is no interface for applications yet")),
    (14, "a member's rate bounded by its proofs", NO_PROOFS),
    (
        15,
        "a free budget for messages without proof, and nothing beyond it",
        By(&[
            "rows_of_unproven_messages_in_each_position",
            "the_budget_is_each_shards_own_and_comes_back",
            "a_burst_then_the_rate_to_the_byte",
            "never_more_than_the_budget",
        ]),
    ),
    (16, "the network's parameters of proofs", NO_PROOFS),
    (17, "messages that violate them rejected", NO_PROOFS),
    (
        18,
        "synchronised clocks: how far ours is off is measured and told; setting it is the operator's",
        By(&[
            "five_peers_say_something_and_four_do_not",
            "what_peers_say_of_our_clock_is_told_every_ten_seconds",
            "a_clock_over_five_seconds_off_is_named",
        ]),
    ),
    (19, "every member proves every message", NO_PROOFS),
    (
        20,
        "payloads in a WakuMessage that may carry a proof, validated by each relayer",
        By(&["every_field_has_its_place", "invalid_messages_are_counted_and_their_sender_left"]),
    ),
    (
        21,
        "fields of a message",
        By(&[
            "required_fields_must_be_on_the_wire",
            "empty_required_fields_are_written",
            "known_answers_on_three_topics",
            "version_proof_and_ephemeral_are_not_hashed",
            "h73_what_a_message_may_hold",
            "a_fudged_time_is_within_a_second_either_way",
        ]),
    ),
    (
        22,
        "150 kilobytes at most",
        By(&[
            "the_frame_decides_on_the_size",
            "frames_are_counted_to_the_byte",
            "the_largest_messages_cross_one_behind_the_other",
        ]),
    ),
    (
        23,
        "accepted, ignored or rejected, as in gossipsub v1.1",
        By(&[
            "invalid_messages_are_counted_and_their_sender_left",
            "net_26_what_is_ignored_goes_no_further_and_costs_nothing",
            "a_message_crosses_byte_for_byte",
        ]),
    ),
    (
        24,
        "what does not decode is rejected",
        By(&["what_does_not_decode_is_rejected_by_cause_in_each_position", "what_is_no_message"]),
    ),
    (
        25,
        "times off by more than 20 s are rejected",
        By(&["row_timestamp_in_each_position", "a_window_asks_for_a_time_of_messages_with_a_proof_too"]),
    ),
    (
        26,
        "no proof, and a shard at its limit: ignored",
        By(&["rows_of_unproven_messages_in_each_position", "net_26_what_is_ignored_goes_no_further_and_costs_nothing"]),
    ),
    (27, "proofs of another time rejected", NO_PROOFS),
    (28, "proofs that do not hold ignored", NO_PROOFS),
    (29, "double signalling rejected", NO_PROOFS),
    (
        30,
        "shards that follow from content topics",
        By(&[
            "autosharding_as_deployed",
            "eight_bytes_of_the_hash_and_no_separator",
            "what_has_no_shard_of_its_own",
            "what_is_bridged_is_relayed_whatever_else_is",
        ]),
    ),
];

#[test]
fn every_requirement_names_tests_that_exist_or_a_reason() {
    for (place, (number, asks, _)) in (1..).zip(&REQUIREMENTS) {
        assert_eq!(place, *number, "{asks}");
    }
    tested::check(REQUIREMENTS.map(|(number, asks, met)| (format!("NET-{number} ({asks})"), met)));
}

/// A test that bears a requirement's number is in the table.
#[test]
fn every_numbered_test_is_listed() {
    let is_numbered =
        |name: &str| name.strip_prefix("net_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    tested::check_numbered(is_numbered, REQUIREMENTS.map(|(_, _, met)| met));
}

/// Who reads the README learns what no test shows.
#[test]
fn what_is_untested_stands_in_the_readme() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let table = readme.lines().filter(|line| line.starts_with("| NET-"));
    let named: Vec<&str> = table.flat_map(|line| line.split(['|', ',']).map(str::trim)).collect();
    for (number, asks, met) in &REQUIREMENTS {
        let in_readme = named.contains(&format!("NET-{number}").as_str());
        assert_eq!(in_readme, matches!(met, Untested(_)), "NET-{number} ({asks})");
    }
}
