//! The requirements of 64/WAKU2-NETWORK, and of 12/WAKU2-FILTER 2.0.0-beta1, numbered in their order, and the tests that show each. What has none
//! says why.
//!
//! The words beside the numbers are ours, in short.

#[path = "requirements/lightpush.rs"]
mod lightpush;
#[expect(dead_code, reason = "nothing is untested here")]
#[path = "../../tests/support/tested.rs"]
mod tested;

use std::{fs, path::Path};

use tested::Met::{self, By, Untested};

/// Requirement, what it asks, and how it is met.
const REQUIREMENTS: [(u8, &str, Met); 30] = [
    (
        1,
        "relay with rate-limit proofs over eight shards of cluster 1",
        By(&[
            "net_1_on_each_of_the_eight_shards_what_is_proven_passes_and_nothing_else_does",
            "the_waku_network_by_name_and_by_its_cluster",
            "a_member_is_heard_within_its_rate_and_nobody_else_is",
        ]),
    ),
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
    (
        3,
        "routing by relay with rate-limit proofs",
        By(&[
            "net_3_what_is_proven_passes_and_nothing_else_goes_further",
            "a_message_whose_root_comes_late_passes_after_a_hold",
        ]),
    ),
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
    (
        9,
        "services on every shard",
        By(&[
            "what_is_pushed_is_relayed_and_told_like_what_relay_brings",
            "filter_v2_brings_what_was_asked_for",
            "all_pages_come_in_either_version_and_the_newer_is_preferred",
            "a_stranger_is_found_over_udp_and_told_of_to_who_asks",
        ]),
    ),
    (
        10,
        "a store of twelve hours of proven messages",
        By(&[
            "on_networks_with_proofs_only_what_is_proven_is_told",
            "a_store_is_an_archive",
            "f01_what_was_relayed_is_there_after_a_kill_and_another_node_learns_what_it_missed",
        ]),
    ),
    (
        11,
        "clients of services, where a node does not relay",
        By(&[
            "what_is_pushed_is_relayed_and_told_like_what_relay_brings",
            "f11_another_node_serves_when_one_is_gone",
            "all_pages_come_in_either_version_and_the_newer_is_preferred",
        ]),
    ),
    (
        12,
        "stored messages without a valid proof discarded",
        By(&[
            "net_12_what_has_no_proof_known_to_be_valid_is_not_taken_from_others",
            "net_12_what_is_verified_is_taken_and_kept_as_proven",
        ]),
    ),
    (
        13,
        "an interface for applications that picks the shard",
        By(&[
            "a_content_topic_is_polled_when_it_was_asked_for_and_when_it_came_by",
            "the_topic_is_named_or_follows_from_the_content_topic",
        ]),
    ),
    (
        14,
        "a member's rate bounded by its proofs",
        By(&[
            "net_14_an_id_counts_once_on_either_side_of_a_border",
            "net_3_what_is_proven_passes_and_nothing_else_goes_further",
            "h80_spammers_at_ten_times_the_limit_hold_up_no_honest_message",
        ]),
    ),
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
    (
        16,
        "the network's parameters of proofs",
        By(&[
            "net_16_the_parameters_of_the_text_and_those_of_the_live_network",
            "net_16_the_contract_of_the_text_takes_gas_alone_and_a_hundred_messages_at_most",
            "presets_are_of_two_chains_and_two_flavours",
            "an_epoch_counts_for_twenty_seconds_beyond_either_edge",
        ]),
    ),
    (
        17,
        "messages that violate them rejected",
        By(&[
            "row_of_an_epoch_far_from_our_clock_in_each_position",
            "row_of_another_epoch_than_the_times_in_each_position",
            "row_of_a_malformed_proof_in_each_position",
            "row_of_an_unknown_root_in_each_position",
            "row_of_other_forms_in_each_position",
        ]),
    ),
    (
        18,
        "synchronised clocks: how far ours is off is measured and told; setting it is the operator's",
        By(&[
            "five_peers_say_something_and_four_do_not",
            "what_peers_say_of_our_clock_is_told_every_ten_seconds",
            "a_clock_over_five_seconds_off_is_named",
        ]),
    ),
    (
        19,
        "every member proves every message",
        By(&[
            "net_19_what_a_member_publishes_is_proven_once_and_within_its_rate",
            "lightpush_proves_what_clients_push_and_says_when_it_cannot",
        ]),
    ),
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
    (27, "proofs of another time rejected", By(&["row_of_an_epoch_far_from_our_clock_in_each_position"])),
    (
        28,
        "proofs that do not hold ignored",
        By(&["row_of_an_invalid_proof_in_each_position", "net_3_what_is_proven_passes_and_nothing_else_goes_further"]),
    ),
    (
        29,
        "double signalling rejected",
        By(&[
            "h80_rows_of_double_signals_and_replays_in_each_position",
            "net_3_what_is_proven_passes_and_nothing_else_goes_further",
        ]),
    ),
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

/// The same of 12/WAKU2-FILTER 2.0.0-beta1.
const FILTER: [(u8, &str, Met); 12] = [
    (
        1,
        "the protocol's id, and content topics to filter by",
        By(&["the_first_filter_pushes_under_the_id_of_each_request", "caps_as_deployed"]),
    ),
    (
        2,
        "the fields of its messages",
        By(&["a_content_filter_may_have_several_topics", "what_is_absent_is_empty", "a_push_has_known_bytes"]),
    ),
    (3, "one message around all of them", By(&["a_push_has_known_bytes", "requests_have_known_bytes"])),
    (
        4,
        "pushes under the id of the request that subscribed",
        By(&[
            "the_first_filter_pushes_under_the_id_of_each_request",
            "the_first_filter_pushes_once_for_each_request_that_matches",
            "the_first_filter_is_known_by_its_id",
        ]),
    ),
    (
        5,
        "true subscribes, false ends it",
        By(&["the_first_filter_unsubscribes_messages_and_not_requests", "takers_are_those_of_a_plain_list"]),
    ),
    (
        6,
        "a match: the content topic, and the pubsub topic if one is given",
        By(&["the_first_filter_pushes_once_for_each_request_that_matches", "it_is_a_set"]),
    ),
    (7, "requests may be refused", By(&["the_first_filter_refuses_in_silence_and_for_a_reason"])),
    (8, "usage may be accounted for", By(&["h77_what_is_too_much_is_answered_with_429"])),
    (
        9,
        "all that matches is pushed",
        By(&["a_burst_is_pushed_whole", "f24_a_subscriber_that_reads_slowly_has_its_own_queue_and_holds_up_nobody"]),
    ),
    (10, "nothing else is", By(&["takers_are_those_of_a_plain_list", "h77_nobody_is_over_the_limits"])),
    (
        11,
        "who is away for a minute is served no more",
        By(&[
            "the_first_filter_has_no_lease_and_waits_a_minute_for_who_is_away",
            "h77_who_refuses_pushes_is_forgotten_however_often_it_pings",
        ]),
    ),
    (12, "a node may ask store instead", By(&["history_of_a_store_node_goes_on_where_it_ended"])),
];

#[test]
fn every_requirement_of_filter_names_tests_that_exist_or_a_reason() {
    for (place, (number, asks, _)) in (1..).zip(&FILTER) {
        assert_eq!(place, *number, "{asks}");
    }
    tested::check(FILTER.map(|(number, asks, met)| (format!("F1-{number} ({asks})"), met)));
}

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
