//! The requirements of 5/WAKU0, numbered in its order, and the tests that show each. What has none says why.
//!
//! `R-001` to `R-095` follow the sections of 5/WAKU0 v0.6; the words beside them are ours, in short.

#[path = "../../tests/support/tested.rs"]
mod tested;

use std::{fs, path::Path};

use tested::Met::{self, By, Untested};

const UNKNOWN: Met = By(&["what_is_unknown_or_never_asked_for_is_ignored"]);
const FILTERS: Met = By(&[
    "r_041_bloom_and_topics_replace_each_other_and_topics_win",
    "topic_interest_wins_in_one_packet_and_the_latest_across_packets",
]);
const BEFORE_STATUS: Met = By(&["a_packet_before_status_ends_the_session_and_counts_for_nothing"]);
const LATER_PEERS: Met =
    By(&["every_recorded_decoding", "items_after_the_options_and_a_body_of_the_next_version_are_read"]);
const VERSIONS: Met = By(&["name_and_version_must_both_agree", "the_highest_waku_runs_and_whisper_only_alone"]);
const PAYLOADS: Met = By(&["what_status_go_sealed_is_opened", "sealing_makes_the_bytes_that_status_go_made"]);
const ADVICE: Met = Untested("advice to people, nothing that a node does");

/// Requirement, what it asks, and how it is met.
const REQUIREMENTS: [(u8, &str, Met); 95] = [
    (
        1,
        "devp2p over RLPx",
        By(&["recorded_sessions_are_reproduced_frame_by_frame", "packets_cross_in_order_both_ways"]),
    ),
    (2, "a way to reach other nodes", By(&["a_static_node_is_redialled", "envelopes_cross_between_two_nodes"])),
    (3, "passed on until the TTL ends", By(&["what_has_expired_is_gone_and_stays_gone"])),
    (
        4,
        "relayed to whoever wants it",
        By(&["a_newcomer_gets_what_it_wants_of_the_pool", "an_envelope_crosses_two_links_once_and_never_back"]),
    ),
    (5, "a light node need not forward", By(&["light_nodes_post_and_do_not_relay"])),
    (
        6,
        "nothing expired is sent",
        By(&["r_006_what_expires_while_it_waits_is_not_sent", "what_expires_in_a_slow_peers_queue_is_left_out"]),
    ),
    (
        7,
        "nothing is sent twice",
        By(&[
            "a_peer_that_has_it_is_not_told",
            "in_a_ring_everyone_gets_it_once",
            "r_007_what_still_waits_for_a_peer_and_comes_from_it_is_not_sent_to_it",
        ]),
    ),
    (8, "a packet is a code and one RLP object", By(&["printed_packet", "a_body_is_one_list"])),
    (9, "subprotocol waku, version 0", By(&["names_are_those_of_the_hello"])),
    (10, "form of status and update", By(&["printed_vectors", "printed_updates"])),
    (
        11,
        "proof of work is a finite number from 0 up",
        By(&[
            "numbers_that_are_no_work_are_refused",
            "values_are_refused_with_the_handshakes_reason_and_bytes_as_a_breach",
        ]),
    ),
    (12, "fields of an envelope", By(&["printed_vector", "fields_have_one_spelling"])),
    (13, "10,000 topics at most", By(&["r_013_ten_thousand_topics_are_announced_and_one_more_ends_the_session"])),
    (
        14,
        "lists of envelopes, and one for a request",
        By(&["an_empty_list_is_legal", "envelopes_come_in_a_list_or_bare", "a_request_is_an_envelope_or_a_list"]),
    ),
    (15, "primitives are RLP", By(&["fields_have_one_spelling"])),
    (16, "codes 0 to 127", By(&["a_capability_names_at_most_one_version", "codes_outside_belong_to_nobody"])),
    (17, "unknown codes are ignored", UNKNOWN),
    (
        18,
        "Status, Messages, Status Update",
        By(&["each_version_has_its_own_numbers", "status_goes_out_at_once_and_both_run_with_what_it_says"]),
    ),
    (
        19,
        "acks and packets between peers, for their purpose only",
        By(&[
            "r_058_every_batch_is_answered_by_a_response_and_then_an_ack",
            "r_063_envelopes_of_a_trusted_peer_are_handed_over_unchecked_and_go_nowhere_else",
        ]),
    ),
    (20, "Status is exchanged", By(&["status_goes_out_at_once_and_both_run_with_what_it_says"])),
    (21, "before any other packet", By(&["our_status_has_the_form_of_status_go"])),
    (22, "nothing else until the peer's is there", BEFORE_STATUS),
    (23, "a time limit for it", By(&["who_sends_no_status_is_left_after_ten_seconds"])),
    (24, "it is validated", By(&["a_bad_status_ends_the_session"])),
    (25, "other packets before it are ignored", BEFORE_STATUS),
    (26, "and their sender is left", BEFORE_STATUS),
    (27, "a later Status is ignored", UNKNOWN),
    (28, "options are an association list", By(&["printed_vectors", "every_recorded_list_of_options"])),
    (29, "each may be absent", By(&["what_is_not_said_has_the_deployed_default"])),
    (30, "in any order", By(&["every_recorded_decoding"])),
    (31, "unknown keys are ignored", By(&["every_recorded_decoding"])),
    (32, "an update has the same form", By(&["printed_updates"])),
    (33, "an empty update is ignored", By(&["r_033_an_update_without_options_changes_nothing"])),
    (
        34,
        "what is left out is unchanged",
        By(&["r_034_updates_add_up", "topic_interest_wins_in_one_packet_and_the_latest_across_packets"]),
    ),
    (35, "only what has changed is sent", By(&["r_035_each_change_is_told_to_every_running_peer_and_nothing_else_is"])),
    (
        36,
        "nothing below the work that a peer asked for",
        By(&["r_036_what_is_not_wanted_any_more_is_not_sent", "too_little_work_goes_no_further_and_its_sender_stays"]),
    ),
    (37, "how work is measured", By(&["printed_by_status_go", "every_envelope_recorded_from_status_go"])),
    (38, "512 bits, three for a topic", By(&["every_recorded_topic", "every_recorded_match"])),
    (39, "all ones is everything", By(&["an_empty_list_wants_nothing_and_the_default_everything"])),
    (40, "topics win over a bloom filter beside them", FILTERS),
    (41, "a bloom filter drops the topics", FILTERS),
    (42, "and alone counts", FILTERS),
    (43, "all zeros is nothing", FILTERS),
    (44, "only the topics that a peer listed", By(&["topic_interest_gets_only_its_topics"])),
    (45, "10,000 topics at most", By(&["a_list_ends_at_ten_thousand"])),
    (46, "topics drop the bloom filter", FILTERS),
    (47, "and alone count", FILTERS),
    (48, "no topics is nothing", FILTERS),
    (49, "own limits", By(&["r_049_excess_decays_and_the_rate_itself_is_free"])),
    (
        50,
        "by address, peer and topic",
        By(&[
            "r_050_an_address_is_one_for_all_its_connections",
            "r_050_a_topic_has_its_share_of_each_peer",
            "r_050_bytes_are_limited_too",
        ]),
    ),
    (51, "some may be exempt", By(&["r_051_who_is_on_the_whitelist_or_trusted_is_never_left"])),
    (52, "who exceeds them may be dropped", By(&["r_052_a_flooder_is_left_when_its_excess_reaches_the_tolerance"])),
    (53, "changed limits are told", By(&["r_053_limits_that_change_are_told"])),
    (54, "limits are told in Status", By(&["r_054_limits_are_announced_in_status"])),
    (55, "peers' limits are kept", By(&["r_055_a_peer_that_wants_five_packets_a_second_never_gets_a_sixth"])),
    (
        56,
        "by throttling packets",
        By(&[
            "r_056_what_exceeds_the_rate_shares_packets_and_the_lower_limit_counts",
            "r_056_a_peer_of_waku_1_is_not_sent_more_bytes_a_second_than_it_wants",
        ]),
    ),
    (57, "who is above them may be dropped", By(&["r_057_never_more_than_announced"])),
    (58, "batches may be confirmed", By(&["r_058_every_batch_is_answered_by_a_response_and_then_an_ack"])),
    (59, "by an ack or a response", By(&["every_recorded_confirmation"])),
    (60, "form of the response", By(&["printed_packets", "what_is_no_confirmation"])),
    (61, "code 1 is for clocks", By(&["r_061_refusals_are_listed_with_the_code_for_clocks_or_the_other"])),
    (
        62,
        "requests between two peers",
        By(&["a_request_is_an_envelope_or_a_list", "r_062_requests_are_ignored_by_a_node_without_an_archive"]),
    ),
    (
        63,
        "127 is never forwarded and may have expired",
        By(&["r_063_envelopes_of_a_trusted_peer_are_handed_over_unchecked_and_go_nowhere_else"]),
    ),
    (64, "asymmetric encryption", PAYLOADS),
    (65, "symmetric encryption", PAYLOADS),
    (66, "codes 2, 3, 20 and 21 are superseded", UNKNOWN),
    (
        67,
        "a light node forwards nothing",
        By(&[
            "light_nodes_post_and_do_not_relay",
            "r_067_a_node_that_turns_light_forwards_nothing_more_and_what_it_missed_when_it_turns_back",
        ]),
    ),
    (68, "and sends only its own", By(&["light_nodes_post_and_do_not_relay"])),
    (69, "two light nodes part", By(&["two_light_nodes_part", "r_069_two_that_are_light_part_whichever_turned"])),
    (70, "known by the option", By(&["r_070_peers_that_claim_to_be_light_and_relay_are_tolerated"])),
    (
        71,
        "pairwise accounts",
        By(&[
            "r_071_what_a_peer_was_brought_counts_once_its_connection_has_taken_it",
            "sums_are_kept_by_peer_and_closed_at_multiples_of_an_epoch",
        ]),
    ),
    (72, "of what was expected", By(&["r_072_only_what_was_expected_counts_and_once_for_each_peer"])),
    (
        73,
        "saved once an epoch",
        By(&["r_073_an_epoch_is_closed_after_a_minute_and_when_the_node_stops", "accounts_are_read_after_a_restart"]),
    ),
    (
        74,
        "compatible with earlier and later versions",
        By(&[
            "options_by_position_are_read_as_far_as_they_go",
            "items_after_the_options_and_a_body_of_the_next_version_are_read",
        ]),
    ),
    (75, "shh/6 and waku/0 are bridged", By(&["r_075_envelopes_pass_between_all_versions_byte_for_byte"])),
    (76, "growth by adding to lists", LATER_PEERS),
    (77, "codes not implemented are passed over", UNKNOWN),
    (
        78,
        "a bridge relays both ways",
        By(&[
            "r_075_envelopes_pass_between_all_versions_byte_for_byte",
            "r_078_two_bridges_between_whisper_and_waku_bring_each_envelope_once",
        ]),
    ),
    (79, "versions are negotiated in Hello", By(&["codes_run_from_16_in_order_of_names_with_the_highest_version"])),
    (80, "the lower version assumes compatibility", VERSIONS),
    (81, "the higher decides", VERSIONS),
    (82, "unknown codes are ignored", UNKNOWN),
    (
        83,
        "codes that are never answered have a fall-back",
        By(&[
            "r_083_a_post_ends_as_unanswered_in_time_whoever_was_there",
            "h36_a_million_answers_never_asked_for_are_ignored",
        ]),
    ),
    (84, "new options may be added", LATER_PEERS),
    (85, "unknown keys are ignored", LATER_PEERS),
    (86, "and are no reason to leave", LATER_PEERS),
    (87, "flooding costs", By(&["r_052_a_flooder_is_left_when_its_excess_reaches_the_tolerance"])),
    (88, "interest reveals", ADVICE),
    (89, "work stops little spam", By(&["r_052_a_flooder_is_left_when_its_excess_reaches_the_tolerance"])),
    (90, "other ports help against blocking", By(&["one_key_listens_on_several_ports"])),
    (91, "clients connect to one node", ADVICE),
    (92, "heavy use takes topics of its own", ADVICE),
    (93, "small devices use DNS", By(&["a_list_is_read_whole_and_each_record_once"])),
    (94, "static nodes may be used", By(&["a_static_node_is_redialled"])),
    (
        95,
        "what differs from shh/6",
        By(&[
            "names_are_those_of_the_hello",
            "printed_vectors",
            "envelopes_come_in_a_list_or_bare",
            "envelopes_go_in_a_list_and_to_whisper_bare",
            "a_change_is_a_bare_value_in_a_packet_of_its_own",
        ]),
    ),
];

#[test]
fn every_requirement_names_tests_that_exist_or_a_reason() {
    for (place, (number, asks, _)) in (1..).zip(&REQUIREMENTS) {
        assert_eq!(place, *number, "{asks}");
    }
    tested::check(REQUIREMENTS.map(|(number, asks, met)| (format!("R-{number:03} ({asks})"), met)));
}

/// A test that bears a requirement's number is in the table.
#[test]
fn every_numbered_test_is_listed() {
    let is_numbered = |name: &str| name.starts_with("r_0") && name.get(5..6) == Some("_");
    tested::check_numbered(is_numbered, REQUIREMENTS.map(|(_, _, met)| met));
}

/// Who reads the README learns what no test shows.
#[test]
fn what_is_untested_stands_in_the_readme() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    for (number, asks, met) in &REQUIREMENTS {
        let named = readme.contains(&format!("R-{number:03}")) && *number != 1 && *number != 95;
        assert_eq!(named, matches!(met, Untested(_)), "R-{number:03} ({asks})");
    }
}
