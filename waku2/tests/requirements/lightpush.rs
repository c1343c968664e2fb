//! The requirements of 19/WAKU2-LIGHTPUSH 2.0.0-beta1 and 3.0.0, numbered in their order, and the tests that show each.

use crate::tested::{
    self,
    Met::{self, By},
};

/// Requirement, what it asks, and how it is met.
const REQUIREMENTS: [(&str, &str, Met); 15] = [
    (
        "LP2-1",
        "its own protocol id, a request and an answer",
        By(&["identify_lists_what_is_served", "what_is_pushed_is_relayed_and_told_like_what_relay_brings"]),
    ),
    ("LP2-2", "fields of requests and answers", By(&["known_answers", "what_is_empty_or_false_is_written"])),
    (
        "LP2-3",
        "what is asked for is relayed on the named topic",
        By(&["what_is_pushed_is_relayed_and_told_like_what_relay_brings"]),
    ),
    (
        "LP2-4",
        "an error is told in the answer",
        By(&["h78_what_is_no_request_of_beta1_is_told_so", "outcomes_are_told_in_both_versions"]),
    ),
    ("LP2-5", "no amplifier", By(&["h78_what_is_over_the_rate_limit_is_refused_unread"])),
    ("LP2-6", "success means that a peer has it", By(&["h78_nothing_is_called_published_that_nobody_was_sent"])),
    (
        "LP3-1",
        "its own protocol id, which goes before the older one",
        By(&["identify_lists_what_is_served", "the_first_protocol_that_is_served_is_spoken"]),
    ),
    (
        "LP3-2",
        "fields of requests",
        By(&[
            "known_requests",
            "the_type_of_a_request_is_read_and_never_sent",
            "h78_what_is_no_request_of_3_is_told_so",
        ]),
    ),
    ("LP3-3", "fields of answers", By(&["known_answers", "outcomes_are_told_in_both_versions"])),
    (
        "LP3-4",
        "relayed on the named topic, or on that which follows from the message",
        By(&["the_topic_is_named_or_follows_from_the_content_topic", "h78_every_refusal_has_its_number"]),
    ),
    ("LP3-5", "an error is told in the answer", By(&["h78_every_refusal_has_its_number"])),
    (
        "LP3-6",
        "the codes",
        By(&["every_status_has_its_number", "h78_every_outcome_has_its_status", "deployed_numbers_where_they_differ"]),
    ),
    ("LP3-7", "200 alone is success", By(&["success_is_200_that_went_to_somebody"])),
    (
        "LP3-8",
        "requests are limited",
        By(&["h78_what_is_over_the_rate_limit_is_refused_unread", "a_protocol_has_its_own_limit_or_that_of_all"]),
    ),
    (
        "LP3-9",
        "proofs attached for clients, which the document leaves to later",
        By(&["lightpush_proves_what_clients_push_and_says_when_it_cannot"]),
    ),
];

#[test]
fn every_requirement_of_lightpush_names_tests_that_exist_or_a_reason() {
    tested::check(REQUIREMENTS.map(|(number, asks, met)| (format!("{number} ({asks})"), met)));
}
