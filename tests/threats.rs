//! Hostile inputs and faults of the surroundings that the devp2p and waku/0 side and relay on the Waku Network must survive, and the
//! tests that show each. What has none says why.
//!
//! `H..` are rows of the project's list of hostile inputs and `F..` of its list of faults. Both lists also have rows about
//! services of the Waku Network, storage and REST, which are not here. Live peers show some of them too: the scenarios
//! `two-bridges` and `cut-off` of `tests/interop`, and longer ones `longrun -- faults`. What must be seen is the same for all: a typed error or an
//! orderly close, bounded memory and work, and nothing lost for anybody else.

#[path = "support/tested.rs"]
mod tested;

use tested::Met::{self, By, Untested};

/// Row, what comes in or breaks, and how it is shown to be survived.
const THREATS: &[(&str, &str, Met)] = &[
    (
        "H01",
        "an auth or ack too short to be encrypted, of every length",
        By(&["h01_anything_shorter_than_the_overhead_is_refused", "h01_short_auths_and_acks_close"]),
    ),
    (
        "H02",
        "an ephemeral key off the curve fails like a bad tag",
        By(&[
            "h02_points_off_the_curve_fail_like_a_bad_tag",
            "h02_a_stand_in_never_opens_a_message",
            "h02_keys_off_the_curve_close_like_a_bad_tag",
        ]),
    ),
    (
        "H03",
        "10,000 bad tags, nonces and swapped tags",
        By(&[
            "h03_every_flipped_byte_is_refused",
            "h03_flipped_bytes_of_the_older_form_are_refused",
            "h03_a_tampered_auth_or_ack_closes_without_a_word",
            "h03_ten_thousand_bad_tags_close_alike_and_nobody_is_told_which",
        ]),
    ),
    (
        "H04",
        "size prefixes of 0, 1 and 65,535 with nothing behind them",
        By(&[
            "h04_the_size_prefix_is_bounded",
            "h04_size_prefixes_out_of_bounds_close_at_once",
            "h04_a_handshake_that_does_not_come_times_out",
        ]),
    ),
    (
        "H05",
        "an auth with 64 KiB of padding, an unknown version, further elements",
        By(&["h05_padding_unknown_versions_and_further_elements_are_taken"]),
    ),
    ("H06", "an auth whose fields are none", By(&["h06_malformed_fields_are_refused"])),
    ("H07", "a replayed auth", By(&["h07_a_replayed_auth_leads_to_nothing"])),
    (
        "H08",
        "wrong MACs and flipped bits",
        By(&["h08_any_flipped_bit_is_refused", "h08_a_flipped_bit_closes_without_a_word"]),
    ),
    (
        "H09",
        "a frame that announces 16 MiB and comes a byte a second",
        By(&[
            "h09_nothing_is_allocated_for_what_is_announced",
            "h09_a_frame_that_trickles_does_not_hold_off_the_timeout",
        ]),
    ),
    ("H10", "an empty frame", By(&["h10_an_empty_frame_closes"])),
    (
        "H11",
        "a Hello that is too long, of 10,000 capabilities, or with a key that is none or not the handshake's",
        By(&[
            "h11_bad_hellos_have_their_errors",
            "h11_a_long_hello_is_refused_by_its_header",
            "the_wrong_key_is_told_so",
            "no_key_is_an_invalid_identity",
        ]),
    ),
    (
        "H12",
        "messages before Hello, and a second Hello",
        By(&["h12_messages_before_hello_close", "h12_a_second_hello_changes_nothing"]),
    ),
    (
        "H13",
        "snappy where there is none, and none where there is",
        By(&["h13_snappy_in_version_4_and_none_in_version_5_close", "bodies_that_cannot_be_read_are_a_breach"]),
    ),
    (
        "H14",
        "blocks that claim 4 GiB, or more than they hold; 20 of 15 MiB at once",
        By(&[
            "h14_a_snappy_block_is_judged_by_its_claim_before_anything_is_allocated",
            "h14_a_block_that_lies_is_charged_before_it_is_unpacked_and_given_back",
            "h14_h29_twenty_peers_that_send_15_mib_at_once_share_the_budget",
            "the_densest_block_passes_and_a_denser_claim_does_not",
        ]),
    ),
    ("H15", "malformed snappy", By(&["h15_malformed_snappy_closes"])),
    (
        "H16",
        "malformed RLP",
        By(&["h16_invalid_vectors_are_refused", "h16_each_malformed_form_has_its_error", "fields_have_one_spelling"]),
    ),
    (
        "H17",
        "100,000 lists within each other",
        By(&[
            "h17_deep_nesting_ends_without_the_stack",
            "h17_a_hundred_thousand_lists_within_each_other_end_without_the_stack",
        ]),
    ),
    (
        "H18",
        "1,000,000 empty lists in a packet",
        By(&["h18_a_million_empty_lists_are_walked_once", "h18_a_million_empty_lists_are_walked_once_at_most"]),
    ),
    ("H19", "100,000 pings whose answers are not read", By(&["h19_pings_without_reading_get_one_answer"])),
    (
        "H20",
        "reasons of a disconnect in every form, and in none",
        By(&["h20_every_form_in_the_field_is_read", "h20_every_form_of_disconnect_closes_cleanly"]),
    ),
    (
        "H21",
        "codes that nobody knows",
        By(&[
            "h21_reserved_codes_are_dropped_and_foreign_ones_close",
            "thunks_are_ignored_or_close",
            "what_is_unknown_or_never_asked_for_is_ignored",
        ]),
    ),
    (
        "H22",
        "1,000 connections that never speak, or a byte every four seconds",
        By(&[
            "h22_the_oldest_silent_stranger_makes_room",
            "h22_a_crowd_from_one_subnet_makes_room_before_a_single_stranger",
            "h22_of_a_thousand_silent_strangers_fifty_wait_and_a_newcomer_is_one_of_them",
            "h22_silent_strangers_give_way_to_a_newcomer",
            "h22_a_thousand_silent_strangers_do_not_keep_a_newcomer_out",
            "h22_a_byte_every_four_seconds_ends_with_the_handshakes_time",
        ]),
    ),
    (
        "H23",
        "an address that connects again every 10 ms",
        By(&[
            "h23_an_address_comes_again_after_the_throttle",
            "h23_loopback_private_and_trusted_addresses_are_never_throttled",
            "h23_an_address_that_comes_again_at_once_is_refused_and_others_are_not",
            "h23_loopback_is_not_throttled_unless_asked_for",
            "what_is_remembered_is_bounded_and_forgotten",
        ]),
    ),
    (
        "H24",
        "all slots taken from one subnet",
        By(&[
            "h24_connections_are_counted_by_address_and_subnet",
            "h24_slots_for_our_own_dials_are_kept_from_those_who_dial_us",
            "h24_one_subnet_does_not_take_all_slots",
            "h24_trusted_nodes_are_let_in_beside_all_limits",
        ]),
    ),
    (
        "H25",
        "a peer that never reads",
        By(&[
            "h25_a_peer_that_does_not_read_fills_only_its_own_queue",
            "h25_a_peer_that_does_not_read_is_dropped",
            "queues_are_bounded_in_packets_and_in_bytes",
        ]),
    ),
    (
        "H26",
        "a Status of bad values, unknown keys, a key twice, or none at all",
        By(&[
            "h26_bad_values_in_a_status_end_the_session_and_unknown_ones_do_not",
            "values_are_refused_with_the_handshakes_reason_and_bytes_as_a_breach",
            "a_packet_before_status_ends_the_session_and_counts_for_nothing",
        ]),
    ),
    (
        "H27",
        "100,000 changes of a bloom filter",
        By(&[
            "h27_a_storm_of_updates_ends_the_session_or_changes_nothing_but_the_last_word",
            "in_a_storm_of_updates_the_last_one_holds",
        ]),
    ),
    (
        "H28",
        "envelopes of the past, of the far future, and of times that are none",
        By(&[
            "h28_a_clock_that_is_off_costs_the_envelope_and_nonsense_the_session",
            "the_clock_decides_between_past_and_future",
            "the_largest_ttl_does_not_wrap",
            "time_has_a_tolerance_on_both_sides",
        ]),
    ),
    (
        "H29",
        "envelopes and packets that are too large, and 20 peers with large packets at once",
        By(&[
            "h29_an_envelope_that_is_too_large_is_refused_by_itself",
            "h29_packets_that_are_half_read_do_not_block_each_other_for_good",
            "h29_a_server_charges_bodies_until_they_are_dropped",
            "h14_h29_twenty_peers_that_send_15_mib_at_once_share_the_budget",
            "frames_over_the_limit_are_refused_by_their_header",
            "a_pool_of_several_packets_is_split_and_arrives_whole",
            "what_fits_no_packet_is_kept_and_sent_to_nobody",
        ]),
    ),
    (
        "H30",
        "work just under, at and over the floor; no data; a TTL of 0 and 1",
        By(&[
            "h30_work_is_compared_exactly_also_for_nothing_that_lives_a_second",
            "exactly_the_floor_passes",
            "a_ttl_of_zero_is_refused_even_without_a_floor",
            "nothing_is_divided_by_zero",
            "printed_by_status_go",
        ]),
    ),
    (
        "H31",
        "10,000 valid envelopes a second from one peer",
        By(&[
            "h31_a_flood_of_valid_envelopes_ends_the_session_before_it_fills_the_pool",
            "r_050_bytes_are_limited_too",
            "r_050_an_address_is_one_for_all_its_connections",
            "a_full_pool_prefers_work_and_forgets_nothing_it_dropped",
        ]),
    ),
    (
        "H32",
        "one envelope from 50 peers, and again with other nonces",
        By(&[
            "h32_the_same_envelope_counts_once_and_with_another_nonce_again",
            "the_same_envelope_from_many_peers_is_new_once",
        ]),
    ),
    (
        "H33",
        "1,000,000 envelopes with a TTL of two days",
        By(&["h33_a_million_long_lived_envelopes_stay_within_the_pool", "the_bounds_hold_and_the_indexes_agree"]),
    ),
    (
        "H34",
        "payloads that cannot be decrypted, break off, or whose signature is none",
        By(&[
            "h34_signatures_out_of_range_are_refused",
            "h34_the_higher_of_two_signatures_is_refused",
            "h34_flags_without_what_they_promise_are_refused",
            "h34_altered_or_short_data_opens_with_no_key",
            "h34_no_plaintext_makes_it_panic",
            "h34_no_data_makes_it_panic",
            "wycheproof_aes_gcm",
            "wycheproof_ecdsa",
        ]),
    ),
    (
        "H35",
        "100 light peers that want everything, some of which do not keep up",
        By(&[
            "h35_light_peers_that_do_not_keep_up_are_left_and_the_others_miss_nothing",
            "a_peer_behind_by_more_than_the_pool_is_left",
        ]),
    ),
    (
        "H36",
        "1,000,000 acknowledgements of what was never sent",
        By(&["h36_a_million_answers_never_asked_for_are_ignored"]),
    ),
    (
        "H37",
        "direct packets of a peer that is not trusted, and completions never asked for",
        By(&[
            "packets_of_untrusted_peers_are_counted_and_not_even_read",
            "h37_what_was_never_asked_for_changes_nothing",
            "h37_envelopes_of_other_times_and_topics_are_not_given_away",
            "h37_more_than_was_asked_for_is_a_breach",
            "h37_a_page_that_trickles_for_ever_ends",
            "h37_a_cursor_that_does_not_move_or_leads_in_a_circle_is_a_breach",
            "h37_an_empty_page_with_a_cursor_is_a_breach",
            "trust_ends_when_it_is_taken_back_and_with_the_connection",
        ]),
    ),
    (
        "H38",
        "a request of 200 bytes, again and again, for a thousand large envelopes, which are not read to their end",
        By(&[
            "h38_a_peer_has_one_answer_at_a_time_and_so_many_requests_a_second",
            "h38_an_interval_between_requests_is_kept",
            "h38_answers_are_bounded_in_bytes_and_the_bytes_of_a_peer_and_an_address_too",
            "h38_a_peer_that_stops_reading_is_waited_for_a_minute",
            "h38_who_stops_reading_in_the_middle_of_an_answer_is_left_and_others_are_answered",
            "h38_another_mailserver_is_bounded_as_clients_are",
        ]),
    ),
    (
        "H39",
        "requests that end before they begin, span ten years, name a million topics, or have parts of wrong sizes",
        By(&[
            "h39_numbers_sizes_and_lists_out_of_bounds_are_refused",
            "h39_requests_without_sense_are_refused_and_cost_no_read",
            "h39_what_can_only_be_named_is_refused_by_its_name",
            "the_oldest_form_may_end_early_and_spans_a_day",
        ]),
    ),
    (
        "H40",
        "a request that is replayed, or somebody else's",
        By(&[
            "h40_a_replayed_request_is_one_more_request_of_who_replays_it",
            "sealed_requests_are_opened_with_either_key_and_must_be_signed",
        ]),
    ),
    ("H41", "a hundred peers that ask and go", By(&["h41_a_hundred_peers_that_ask_and_go_leave_nothing_behind"])),
    ("H42", "10,000 guesses of the password", By(&["h42_passwords_are_guessed_no_faster_than_requests_are_taken"])),
    (
        "H43",
        "questions of discovery without an endpoint proof, and proofs that are none",
        By(&[
            "h43_findnode_without_proof_gets_nothing",
            "h43_findnode_from_a_forged_source_gets_nothing",
            "h43_a_pong_with_a_wrong_hash_or_from_elsewhere_proves_nothing",
        ]),
    ),
    (
        "H44",
        "Pings from 65,000 ports and from forged addresses",
        By(&[
            "h44_a_flood_of_pings_from_one_address_is_cut_off",
            "h44_answers_to_strangers_are_about_as_long_as_what_they_sent",
            "h44_pings_from_forged_addresses_leave_room_for_our_own",
            "h44_forged_addresses_share_an_allowance",
            "h44_proofs_are_bounded_and_the_oldest_goes",
        ]),
    ),
    (
        "H45",
        "neighbors that nobody asked for, of one network, or at addresses that are none",
        By(&[
            "h45_neighbors_nobody_asked_for_are_ignored",
            "h45_neighbors_at_impossible_addresses_are_not_written_to",
            "h45_one_network_cannot_fill_the_table",
            "h45_strangers_do_not_send_us_to_special_addresses",
            "h45_a_network_gets_two_places_in_a_bucket_and_ten_in_the_table",
            "h45_a_node_does_not_move_into_a_crowded_network",
            "neighbors_that_cannot_be_written_to_are_left_out",
        ]),
    ),
    (
        "H46",
        "packets of discovery that have expired, never do, or are malformed",
        By(&[
            "h46_expired_and_everlasting_packets_are_dropped",
            "h46_bad_packets_are_dropped_without_a_word",
            "h46_bad_packets_have_their_errors",
        ]),
    ),
    (
        "H47",
        "discv5: packets of any length and content, many of them",
        By(&[
            "h47_only_a_sound_packet_is_answered_and_with_less_than_came",
            "h47_h49_h51_h53_settings_are_as_deployed_and_bounded",
        ]),
    ),
    (
        "H48",
        "discv5: handshakes with a bad signature, key or record",
        Untested("the crate discv5 reads them, and has the vectors of the specification among its own tests"),
    ),
    (
        "H49",
        "discv5: answers without end, too long or at the wrong distance",
        By(&["h47_h49_h51_h53_settings_are_as_deployed_and_bounded"]),
    ),
    (
        "H50",
        "discv5: requests that are malformed, or of a protocol that nobody speaks",
        By(&["h50_a_talk_request_of_an_unknown_protocol_gets_an_empty_answer"]),
    ),
    (
        "H51",
        "discv5: a session from another address, a second packet within a handshake",
        By(&[
            "h47_only_a_sound_packet_is_answered_and_with_less_than_came",
            "h47_h49_h51_h53_settings_are_as_deployed_and_bounded",
        ]),
    ),
    (
        "H52",
        "node records that are malformed, or whose Waku keys are",
        By(&["h52_bad_shards_have_their_errors", "h52_bad_addresses_have_their_errors", "h52_records_that_are_none"]),
    ),
    ("H53", "peers that tell us a wrong address", By(&["h47_h49_h51_h53_settings_are_as_deployed_and_bounded"])),
    (
        "H54",
        "node lists in DNS that are forged, go back, loop, never end or hold no records",
        By(&[
            "h54_bad_records_have_their_errors",
            "h54_links_in_a_circle_end",
            "h54_lists_without_end_are_cut_off",
            "h54_a_root_with_a_bad_signature_changes_nothing",
            "h54_a_lower_sequence_number_changes_nothing",
            "h54_a_branch_that_names_itself_is_no_record",
            "h54_ten_thousand_children_and_long_texts_are_refused",
            "h54_a_list_of_too_many_records_is_cut_off",
            "h54_a_missing_record_keeps_the_list_and_is_asked_for_again",
            "h54_records_in_the_wrong_part_are_left_out",
            "h54_a_record_that_is_none_is_left_out_and_the_rest_stays",
        ]),
    ),
    (
        "H55",
        "DNS answers of the wrong server, of names that loop, and of names that take long to read",
        By(&[
            "h55_answers_of_a_lying_server_change_nothing",
            "h55_answers_from_elsewhere_and_under_another_id_are_passed_over",
            "h55_answers_of_names_without_end_are_survived",
            "h55_the_dns_library_is_not_older_than_its_repairs",
        ]),
    ),
    (
        "H56",
        "PRUNE with a back-off beyond all clocks",
        By(&[
            "h56_h57_backoffs_without_end_are_clamped_and_outlived",
            "h56_h57_a_node_goes_on_after_backoffs_without_end",
            "h56_h57_h58_h59_h60_h63_h65_no_library_is_older_than_its_repairs",
        ]),
    ),
    (
        "H57",
        "PRUNE with a back-off that overflows the clock only when something is added to it",
        By(&[
            "h56_h57_backoffs_without_end_are_clamped_and_outlived",
            "h56_h57_a_node_goes_on_after_backoffs_without_end",
        ]),
    ),
    ("H58", "GRAFT and PRUNE on topics without end", By(&["h58_topics_of_grafts_and_prunes_are_not_kept"])),
    (
        "H59",
        "a yamux window that overflows",
        By(&[
            "h59_a_yamux_window_that_overflows_ends_the_connection",
            "h56_h57_h58_h59_h60_h63_h65_no_library_is_older_than_its_repairs",
        ]),
    ),
    (
        "H60",
        "a first yamux frame beyond its window",
        By(&["h60_a_first_yamux_frame_beyond_its_window_ends_the_connection"]),
    ),
    (
        "H61",
        "mplex streams and frames without end, resets in storms, streams that nobody reads",
        By(&[
            "h61_mplex_streams_without_end_end_the_connection",
            "h61_mplex_frames_beyond_a_mebibyte_end_the_connection",
            "h61_a_storm_of_resets_is_survived",
            "h61_bytes_behind_what_is_answered_are_read_by_nobody_and_forgotten",
            "h61_heads_that_are_none_have_their_errors",
            "h61_what_is_unread_is_bounded_over_all_streams",
            "h61_streams_beyond_the_limit_are_refused_and_then_the_connection_ends",
            "h61_a_storm_of_resets_leaves_nothing",
            "h61_who_does_not_read_its_answers_is_not_read_on",
            "h61_streams_that_nobody_reads_hold_the_peer_up_until_somebody_does",
        ]),
    ),
    (
        "H62",
        "connections without end: of one peer, of one address, half open",
        By(&[
            "h62_half_open_connections_are_bounded_and_end",
            "h62_a_peer_that_opens_many_connections_keeps_two",
            "h62_ten_thousand_peers_are_no_more_than_there_is_room_for",
            "h62_a_peer_that_comes_a_thousand_times_has_two_places",
            "the_oldest_of_too_many_at_one_address_is_left",
            "handshakes_are_bounded_and_forgotten",
            "two_thirds_are_for_those_who_call",
        ]),
    ),
    (
        "H63",
        "Noise messages that are none or were sent before, signatures of other static keys, keys of RSA",
        By(&[
            "h63_noise_garbage_ends_the_connection",
            "h63_who_signs_another_static_key_is_nobody",
            "h63_a_handshake_that_is_replayed_ends_the_connection",
            "h63_keys_of_rsa_are_not_read",
        ]),
    ),
    (
        "H64",
        "names of protocols that are too long, proposals without end",
        By(&["h64_lines_that_are_none_end_the_connection", "h64_proposals_without_end_end_with_the_handshakes_time"]),
    ),
    (
        "H65",
        "WebSocket requests without end or that trickle, frames beyond all bounds, compression",
        By(&[
            "h65_requests_that_are_none_end_the_connection",
            "h65_a_request_that_trickles_ends_with_the_handshakes_time",
            "h65_frames_beyond_all_bounds_end_the_connection",
            "h65_a_server_that_we_dial_is_bounded_as_well",
        ]),
    ),
    (
        "H66",
        "identify with protocols, addresses or a name without end, with the key or the record of another",
        By(&[
            "h66_who_says_too_much_of_itself_is_not_listened_to",
            "h66_what_is_kept_of_a_peer_is_bounded",
            "h66_of_what_a_peer_says_of_itself_a_part_is_kept",
            "h66_the_record_of_another_leads_nowhere",
        ]),
    ),
    (
        "H67",
        "a hundred RPCs of gossip with subscriptions without end",
        By(&[
            "h67_subscriptions_without_end_leave_the_node_as_it_was",
            "h67_a_hundred_rpcs_of_350_000_subscriptions_cost_nothing_that_stays",
            "h67_only_topics_of_our_cluster_are_remembered_of_a_peer",
        ]),
    ),
    (
        "H68",
        "IHAVE, IWANT and IDONTWANT without end",
        By(&["h68_ids_without_end_are_asked_for_and_answered_within_bounds", "every_parameter_is_the_deployed_one"]),
    ),
    (
        "H69",
        "grafts on unknown topics, during backoff, and by many peers of one address",
        By(&[
            "h69_grafts_without_end_end_the_connection",
            "h69_a_hundred_sybils_do_not_take_the_mesh",
            "every_score_is_the_deployed_one",
        ]),
    ),
    (
        "H70",
        "messages with author, number, signature or key, without a topic, on a thousand others",
        By(&[
            "h70_what_is_signed_or_of_no_topic_of_ours_goes_no_further",
            "h70_a_key_alone_is_no_less_of_a_signature",
            "signed_messages_are_refused",
        ]),
    ),
    (
        "H71",
        "RPCs of gossip that do not decode, or hold nothing that is known",
        By(&["h71_frames_that_do_not_decode_end_their_stream_and_nothing_else"]),
    ),
    (
        "H72",
        "a length of 4 GiB on a service's stream, or a byte a second",
        By(&[
            "h72_a_frame_is_bounded_before_it_is_read",
            "h72_more_than_a_kibibyte_is_not_read",
            "h72_what_is_too_long_or_does_not_come_ends_its_stream",
        ]),
    ),
    (
        "H73",
        "messages with fields that lack, are too long, or of impossible times",
        By(&[
            "h73_what_a_message_may_hold",
            "h73_what_a_message_holds_is_judged_before_its_proof",
            "what_does_not_decode_is_rejected_by_cause_in_each_position",
            "h73_twenty_seconds_either_way_and_never_what_is_ephemeral",
        ]),
    ),
    (
        "H74",
        "topics with %, quotes, SQL, NUL, invalid text, a megabyte",
        By(&[
            "h74_topics_are_compared_byte_for_byte_and_never_read",
            "h74_what_is_beyond_its_bounds_is_refused_alone",
            "h74_a_content_topic_without_a_shard_is_told_so",
            "h74_long_topics_and_ids_are_bounded_in_bytes",
            "h74_topics_that_are_too_long_are_refused",
        ]),
    ),
    (
        "H75",
        "queries for everything: topics, hashes, limits, cursors of nothing",
        By(&[
            "h75_what_makes_no_sense_is_refused",
            "h75_what_makes_no_sense_is_told",
            "h75_each_refusal_has_its_status_and_the_request_id",
            "h75_a_cursor_has_to_be_here",
            "h75_a_cursor_of_what_was_deleted_meanwhile_is_refused",
            "pages_have_twenty_and_a_hundred_at_most",
            "a_page_of_large_messages_is_shorter",
            "large_answers_have_room_while_they_are_read",
        ]),
    ),
    (
        "H76",
        "hundreds of requests at once",
        By(&[
            "h76_a_peer_and_all_together_have_so_many_slots",
            "h76_a_peer_has_so_many_requests_at_a_time_and_others_have_theirs",
            "h76_refusals_that_nobody_reads_are_bounded",
            "h76_five_hundred_queries_at_once_all_have_an_answer",
            "h76_streams_on_which_nothing_is_asked_hold_up_nobody_and_are_bounded",
            "h76_who_does_not_read_his_answer_keeps_nobody_from_his",
            "h76_five_hundred_queries_at_once_are_answered_and_what_comes_meanwhile_is_kept",
        ]),
    ),
    (
        "H77",
        "filter: one peer, criterion or content topic too many, a thousand requests a second, subscribers that refuse pushes or never read",
        By(&[
            "h77_filter_is_limited_by_peer_and_a_quarter_of_the_rest_is_kept",
            "h77_one_peer_too_many_and_one_criterion_too_many",
            "h77_a_place_is_free_when_its_time_is_over",
            "h77_exclusions_are_bounded_and_nothing_unwanted_is_pushed_when_they_are_full",
            "h77_nobody_is_over_the_limits",
            "h77_every_refusal_has_its_code_and_text",
            "h77_a_peer_that_refuses_or_says_nothing_is_an_error_when_it_is_read",
            "h77_what_is_too_much_is_answered_with_429",
            "h77_who_refuses_pushes_is_forgotten_however_often_it_pings",
            "h77_who_refuses_pushes_is_counted_and_holds_up_nobody",
            "h77_a_subscriber_that_never_reads_has_its_bound_and_others_theirs",
        ]),
    ),
    (
        "H78",
        "lightpush: for other shards and clusters, without a request, a thousand in a row, with nobody to send to",
        By(&[
            "h78_what_is_no_request_of_3_is_told_so",
            "h78_what_is_no_request_of_beta1_is_told_so",
            "h78_every_outcome_has_its_status",
            "h78_every_refusal_has_its_number",
            "h78_nothing_is_called_published_that_nobody_was_sent",
            "h78_what_is_over_the_rate_limit_is_refused_unread",
        ]),
    ),
    (
        "H79",
        "peer exchange: questions for everything, ten thousand of them, to learn whom we know",
        By(&[
            "h79_frames_are_bounded_before_they_are_read",
            "as_many_as_asked_for_and_sixty_at_most",
            "h79_ten_thousand_questions_tell_sixty_nodes",
            "h79_a_peer_and_all_together_have_a_budget",
            "h79_peers_are_bounded_and_forgotten",
            "h79_the_mesh_the_asker_and_private_addresses_are_never_told",
        ]),
    ),
    (
        "H80",
        "rate-limit proofs: none, of another message, an old root or epoch, twice with another share or the same, elements that are none, a \
         hundred bad ones a second",
        By(&[
            "net_3_what_is_proven_passes_and_nothing_else_goes_further",
            "as_deployed_the_same_is_rejected_at_once",
            "h80_a_malformed_proof_and_one_of_another_message_are_found_in_both_positions",
            "h80_other_forms_are_refused_by_the_text_and_reduced_where_they_are_not_looked_at",
            "h80_rows_of_double_signals_and_replays_in_each_position",
            "h80_what_was_refused_has_spent_nothing",
            "h80_double_signals_and_malformed_proofs_are_blamed_until_their_sender_is_left",
            "h80_who_brings_more_than_twenty_invalid_proofs_a_minute_is_left_and_others_are_heard",
            "h80_a_root_that_does_not_come_ends_the_hold_and_more_than_fit_end_it_sooner",
            "h80_garbage_of_one_peer_takes_no_place_from_others",
            "h80_full_the_newest_of_who_has_the_most_goes",
            "h80_a_verifier_that_does_not_answer_holds_nobody_up_and_is_not_believed_later",
            "h80_a_message_whose_verifier_does_not_answer_is_ignored_and_its_peer_not_blamed",
            "h80_of_a_batch_those_are_let_go_whose_time_is_over",
            "h80_an_own_message_that_peers_would_blame_us_for_does_not_go_out",
            "h80_a_verifier_that_does_not_answer_holds_up_nobody_who_asks_about_the_past",
            "h80_what_nobody_judges_is_not_taken_and_asked_for_again",
            "h80_while_no_root_is_known_nothing_passes_and_nobody_is_blamed",
            "h80_spammers_at_ten_times_the_limit_hold_up_no_honest_message",
            "row_of_an_epoch_far_from_our_clock_in_each_position",
            "a_root_that_is_learnt_counts_and_one_that_is_51_back_does_not",
            "points_that_are_none_do_not_hold",
            "two_messages_of_one_id_give_the_secret_away",
        ]),
    ),
    (
        "H81",
        "a million nullifiers of many members in one epoch",
        By(&[
            "h81_a_million_nullifiers_in_one_epoch_are_bounded_and_the_oldest_epoch_goes_first",
            "h81_a_full_log_lets_nothing_through_unlogged_and_blames_nobody",
            "always_bounded",
        ]),
    ),
    (
        "H82",
        "metadata of another cluster, of none, of ten thousand shards, or that never comes",
        By(&[
            "h82_a_peer_of_another_cluster_or_of_ten_thousand_shards_is_left",
            "h82_metadata_that_is_none_ends_the_question_and_silence_the_connection",
            "h72_more_than_a_kibibyte_is_not_read",
        ]),
    ),
    (
        "H83",
        "a bridge: copies of what has crossed, forged tags, two bridges at once, floods of envelopes that live a second",
        By(&[
            "h83_copies_and_forged_tags_do_not_cross_a_second_time",
            "h83_a_flood_of_envelopes_of_a_second_holds_up_nobody",
            "two_bridges_make_one_of_ten_thousand_each_and_nothing_crosses_back",
            "a_rate_lets_a_second_s_worth_through_each_way",
        ]),
    ),
    (
        "H84",
        "JSON-RPC and REST asked by pages, under foreign names, by other methods, too much or too deep at once",
        By(&[
            "h84_without_a_list_nothing_is_changed_for_pages_of_others",
            "h84_a_page_of_somebody_else_publishes_nothing",
            "h84_what_is_too_long_is_refused_in_words",
            "h84_no_object_has_a_name_twice_and_depth_is_bounded",
            "h84_hosts_are_allowed_by_name_and_compared_without_case",
            "h84_pages_are_refused_unless_allowed",
            "h84_on_loopback_only_names_of_this_machine_are_answered_to",
            "h84_headers_have_a_bound_and_a_status",
            "h84_no_request_is_smuggled_behind_another",
            "h84_nothing_is_done_by_other_methods",
            "h84_pages_foreign_hosts_and_floods_are_refused",
            "without_flags_nothing_listens",
            "only_what_was_named_is_served",
        ]),
    ),
    (
        "F01",
        "killed under load, twenty times",
        By(&[
            "f01_killed_twenty_times_under_load_nothing_written_is_lost_and_nothing_crosses_twice",
            "what_was_on_its_way_survives_a_kill",
            "what_was_on_its_way_goes_on_with_the_same_bytes",
            "f01_what_was_answered_is_there_after_opening_it_again",
            "f01_what_was_relayed_is_there_after_a_kill_and_another_node_learns_what_it_missed",
            "f01_killed_twenty_times_a_mailserver_has_all_that_it_ever_gave_and_nothing_twice",
            "f01_after_an_hour_away_mail_and_store_tell_of_it_alike",
            "f01_a_mail_server_that_dies_while_it_answers_is_left_for_the_next",
            "f01_a_store_node_that_dies_while_it_answers_is_left_for_the_next",
        ]),
    ),
    (
        "F02",
        "the power fails: what was not synced is gone",
        By(&[
            "f02_after_a_power_cut_all_that_was_answered_is_there",
            "f02_what_was_answered_survives_a_power_cut",
            "f02_at_any_moment_the_files_of_a_mailserver_have_all_that_it_gave",
        ]),
    ),
    (
        "F03",
        "a full disk",
        By(&[
            "f03_a_bridge_carries_without_its_journal_and_writes_it_again_when_there_is_room",
            "f03_a_connection_that_has_failed_keeps_nobody_from_writing",
            "f03_a_full_disk_is_told_and_outlived",
            "f03_a_full_disk_is_told_and_written_again_when_there_is_space",
            "f03_while_the_disk_is_full_a_mailserver_relays_and_answers_from_what_it_has",
            "f03_while_the_disk_is_full_a_store_relays_says_so_and_answers_from_what_it_has",
            "f04_a_mailserver_that_can_write_nothing_counts_nothing_answers_and_goes_on_when_it_can",
        ]),
    ),
    (
        "F04",
        "a disk that can't be written",
        By(&[
            "f04_what_cannot_be_written_is_not_counted_as_stored",
            "f04_a_mailserver_that_can_write_nothing_counts_nothing_answers_and_goes_on_when_it_can",
        ]),
    ),
    (
        "F05",
        "a database that was cut off, has a page of zeros, or is none",
        By(&[
            "f05_a_file_that_was_cut_off_is_refused",
            "f05_a_page_of_zeros_is_refused",
            "f05_what_is_no_database_is_left_alone",
            "what_is_no_database_is_named_and_left_alone",
        ]),
    ),
    (
        "F06",
        "two processes on one data directory",
        By(&["a_second_process_is_refused", "what_is_taken_already_is_named_with_its_flag"]),
    ),
    (
        "F07",
        "no file descriptors left",
        By(&["f07_pauses_lengthen_and_end", "f07_accepting_resumes_when_descriptors_are_free_again"]),
    ),
    (
        "F08",
        "half a gigabyte of memory",
        By(&[
            "f08_half_a_gigabyte_holds_a_flood_beyond_the_pool",
            "h29_a_server_charges_bodies_until_they_are_dropped",
            "h67_a_hundred_rpcs_of_350_000_subscriptions_cost_nothing_that_stays",
        ]),
    ),
    (
        "F09",
        "a process that is stopped for a while",
        By(&[
            "f09_who_sleeps_over_the_deadline_listens_before_it_judges",
            "time_in_which_we_did_not_read_is_not_the_peers",
            "f09_who_was_stopped_unnoticed_gets_everything_once",
            "f09_f12_who_is_stopped_or_dies_without_a_word_is_missed_and_met_again_once",
        ]),
    ),
    (
        "F10",
        "a clock that jumps a day, or runs off",
        By(&[
            "f10_a_clock_that_jumps_a_day_costs_envelopes_while_it_is_off_and_no_peers",
            "f10_a_clock_that_jumps_a_day_costs_messages_while_it_is_off_and_no_peers",
            "f10_a_clock_that_runs_off_costs_no_peers",
            "f10_a_clock_that_jumps_a_day_changes_no_wait_and_forgets_nobody",
            "f10_a_clock_that_jumps_a_day_and_back_forgets_no_nullifier",
            "f10_under_a_clock_that_is_a_day_off_epochs_are_others_until_it_is_right",
            "f10_under_a_clock_that_jumps_a_day_nothing_is_forgotten_and_nobody_blamed",
            "f10_a_clock_that_ran_a_day_ahead_and_came_back_finds_its_epochs_and_repeats_none",
            "f10_a_clock_that_ran_ahead_for_long_and_came_back_finds_the_present_open",
            "f10_a_damaged_ledger_under_a_clock_that_went_back_closes_what_it_was_written_in",
        ]),
    ),
    (
        "F11",
        "a network that is cut for a minute",
        By(&[
            "waits_double_to_five_minutes_with_jitter",
            "a_static_node_is_redialled",
            "every_rule_holds_in_every_network",
            "f11_a_network_that_is_cut_both_ways_is_whole_again_after_it",
            "waits_for_who_is_away_double_to_a_quarter_of_a_minute",
            "every_rule_holds_in_a_mesh",
            "f11_a_node_that_is_gone_is_sought_ever_more_seldom",
            "f11_another_node_serves_when_one_is_gone",
            "f11_what_is_sent_again_is_what_peers_would_still_take",
            "f11_what_crossed_as_its_far_side_was_lost_stays_open_until_that_side_is_back_and_it_has_had_its_time",
            "f11_what_may_not_have_left_before_a_reset_goes_out_again",
            "f11_what_went_only_to_peers_that_fell_silent_goes_out_again_when_one_comes",
            "f01_what_was_relayed_is_there_after_a_kill_and_another_node_learns_what_it_missed",
        ]),
    ),
    (
        "F12",
        "a connection that is cut one way, or ends without a sign",
        By(&[
            "f12_who_is_not_heard_any_more_is_given_up_within_half_a_minute",
            "silence_ends_in_a_timeout",
            "f12_silence_is_told_from_other_failures",
            "f09_f12_who_is_stopped_or_dies_without_a_word_is_missed_and_met_again_once",
            "who_started_again_before_it_was_missed_is_told_everything_again",
        ]),
    ),
    (
        "F13",
        "a link that is slow, narrow and lossy",
        By(&["f13_over_a_slow_narrow_lossy_link_everything_is_delivered", "every_rule_holds_in_a_mesh"]),
    ),
    (
        "F14",
        "datagrams that are lost, doubled and overtaken",
        By(&["f14_loss_doubling_and_reordering_leave_discovery_unhurt", "f14_every_packet_doubled_is_no_storm"]),
    ),
    (
        "F15",
        "bootstrap nodes, node lists and static nodes that are away at the start",
        By(&[
            "f15_bootstrap_nodes_that_are_away_are_asked_again_ever_more_rarely",
            "f15_a_list_that_cannot_be_reached_is_tried_again_ever_more_rarely",
            "f15_a_node_whose_nodes_are_all_away_serves_and_meets_them_when_they_come",
        ]),
    ),
    (
        "F16",
        "all peers vanish at once and come back after ten minutes",
        By(&[
            "f16_peers_that_were_away_for_ten_minutes_are_there_within_half_a_minute",
            "f16_who_answered_is_found_within_half_a_minute_of_its_return_and_not_blamed",
            "f16_when_all_peers_vanish_and_come_back_the_mesh_does_as_well",
            "f16_nodes_that_were_all_away_are_there_within_half_a_minute",
            "f16_all_vanish_and_come_back",
        ]),
    ),
    (
        "F17",
        "a node that comes back at another port, or another node at its place",
        By(&[
            "f17_a_node_that_moved_is_found_again_and_the_old_place_forgotten",
            "f17_a_newer_record_moves_a_node_at_once_and_an_older_one_never",
            "f17_another_key_at_the_same_place_replaces_the_old_one",
            "f17_a_static_node_that_does_not_answer_is_tried_where_it_was_seen",
            "f17_a_node_that_restarts_on_another_port_is_found_where_it_is_named",
        ]),
    ),
    (
        "F18",
        "providers of the chain that are away, slow, of another chain, limit rates or answer garbage; a reorganisation of five blocks",
        By(&[
            "f18_garbage_is_called_so",
            "f18_each_failure_doubles_the_wait_up_to_a_minute_and_an_answer_ends_it",
            "f18_who_wants_to_be_asked_less_is_and_another_chain_is_left_out",
            "f18_after_a_reorganisation_of_five_blocks_the_root_is_what_the_chain_says",
            "f18_while_the_chain_is_away_the_last_roots_count_and_since_when_is_told",
            "f18_while_the_only_provider_is_down_the_last_roots_count_and_its_return_is_seen_within_a_minute",
            "f18_another_provider_answers_when_the_first_does_not",
            "f18_a_provider_of_another_chain_is_left_out_and_never_believed",
            "f18_a_provider_that_comes_back_as_another_chain_is_noticed",
            "f18_one_question_is_asked_a_few_times_and_no_more",
            "f18_garbage_has_a_name",
            "f18_a_reorganisation_of_five_blocks_is_followed",
            "f18_what_http_does_not_bring_has_a_name",
            "f18_an_answer_without_end_is_cut_off",
            "f18_one_that_is_not_there_is_passed_over",
        ]),
    ),
    (
        "F19",
        "a range of blocks that no provider knows, a burst of registrations between two looks",
        By(&[
            "f19_roots_of_blocks_between_two_looks_count_too",
            "f19_a_block_range_that_nobody_knows_costs_only_the_roots_in_it",
            "f19_a_burst_between_two_looks_loses_no_root",
            "f19_a_provider_without_some_blocks_tells_the_newest_root_nevertheless",
        ]),
    ),
    (
        "F20",
        "SIGTERM under load, and another",
        By(&[
            "f20_sigterm_under_load_ends_in_order",
            "f20_a_second_signal_ends_it_now",
            "what_was_open_when_the_node_stops_is_written",
        ]),
    ),
    (
        "F21",
        "SIGHUP and SIGPIPE, streams that are closed, full, or read by nobody",
        By(&[
            "f21_signals_that_ask_for_nothing_are_survived",
            "f21_standard_output_that_is_closed_or_full_is_survived",
            "f21_logs_that_nobody_can_take_hold_nobody_up",
            "f21_a_disk_that_is_full_costs_lines_and_nothing_else",
            "f21_a_reader_that_does_not_read_holds_nobody_up",
            "a_reader_that_leaves_is_no_fault",
        ]),
    ),
    (
        "F22",
        "a port that is taken, an address that is not there",
        By(&[
            "f22_a_port_that_is_taken_leaves_nothing_half_started",
            "f22_an_address_that_is_not_there_is_named_with_its_flag",
            "what_is_taken_already_is_named_with_its_flag",
        ]),
    ),
    (
        "F23",
        "a data directory of an earlier version, and of a later one",
        By(&[
            "f23_a_data_directory_of_an_earlier_version_is_taken_over",
            "f23_a_data_directory_of_a_later_version_is_refused_and_left_alone",
            "a_later_version_is_left_alone",
            "f23_a_later_schema_is_refused_and_left_as_it_is",
            "f23_a_legacy_node_becomes_a_mailserver_and_one_again",
            "f23_a_mailserver_leaves_the_archive_of_a_later_version_alone",
        ]),
    ),
    (
        "F24",
        "a peer that reads a kilobyte a second for ten minutes",
        By(&[
            "f24_a_slow_reader_gets_what_is_still_of_use_and_the_others_all_at_once",
            "what_expires_in_a_slow_peers_queue_is_left_out",
            "f24_a_peer_that_does_not_read_costs_a_bounded_queue_and_nobody_else",
            "f24_a_peer_that_reads_a_kilobyte_a_second_costs_a_bounded_queue_and_nobody_else",
            "f24_a_subscriber_that_reads_slowly_has_its_own_queue_and_holds_up_nobody",
        ]),
    ),
    (
        "F25",
        "200 peers that come and go every ten seconds for an hour",
        By(&[
            "f25_an_hour_of_peers_that_come_and_go_leaves_nothing_behind",
            "f25_two_hundred_peers_leave_nothing_behind",
        ]),
    ),
    (
        "F27",
        "a key file that is unreadable, open to others, empty, or too short",
        By(&[
            "f27_a_key_that_is_none_is_refused_and_never_replaced",
            "f27_a_key_that_others_can_read_is_used_and_warned_of",
            "an_existing_file_is_never_replaced",
        ]),
    ),
    (
        "F28",
        "a side of a bridge that is away, and a restart in the middle",
        By(&[
            "f28_a_side_that_is_away_while_the_bridge_starts_again_gets_all_once_when_it_is_back",
            "what_was_sent_while_v2_was_gone_crosses_when_it_is_back",
            "what_v2_was_gone_too_long_for_is_told",
        ]),
    ),
];

#[test]
fn every_threat_names_tests_that_exist_or_a_reason() {
    for pair in THREATS.windows(2) {
        // H before F, and each in order.
        assert!(pair[0].0.starts_with('H') && pair[1].0.starts_with('F') || pair[0].0 < pair[1].0, "{}", pair[1].0);
    }
    tested::check(THREATS.iter().map(|(row, what, met)| (format!("hostile input or fault {row} ({what})"), *met)));
}

/// A test that bears the number of a row here is listed; rows that are not here are others' concern.
#[test]
fn every_numbered_test_is_listed() {
    let is_numbered =
        |name: &str| THREATS.iter().any(|(row, ..)| name.starts_with(&format!("{}_", row.to_lowercase())));
    tested::check_numbered(is_numbered, THREATS.iter().map(|(_, _, met)| *met));
}

/// RUSTSEC-2026-0118 (a search without end) and -0119 (names that take quadratic time) were repaired in this version.
const REPAIRED: [u32; 3] = [0, 26, 1];

#[test]
fn h55_the_dns_library_is_not_older_than_its_repairs() {
    let lock = include_str!("../Cargo.lock");
    let mut found = 0;
    for package in lock.split("[[package]]") {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        let name = value("name").unwrap_or_default().trim_matches('"');
        if matches!(name, "hickory-proto" | "hickory-net" | "hickory-resolver") {
            let version = value("version").unwrap_or_default().trim_matches('"');
            let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
            assert!(numbers.as_slice() >= &REPAIRED[..], "{name} {version}");
            found += 1;
        }
    }
    assert!(found >= 3, "{found} of the library's packages");
}
