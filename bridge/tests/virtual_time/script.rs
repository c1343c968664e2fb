//! One core, step by step: holds, retries, late policies, tags, the mining deadline.

use std::{sync::Arc, time::Duration};

use bridge::{
    Config, Conversion, Crossing, Direction, DropReason, Outcome, Stage,
    answer::Answer,
    mapping,
    origin::{EnvelopeOrigin, MessageOrigin},
    policy::{LateV1, LateV2, Switch},
    seal::SealError,
    seen::Fingerprint,
};
use bytes::Bytes;
use devp2p::clock::Now;
use waku0::Envelope;
use waku2::{ContentTopic, Meta, WakuMessage, hash::message_hash};

use crate::support::{
    START_SECS,
    lone::{ACCEPTED, ALREADY_THERE, Lone},
    users::{TOPIC, envelope, message, message_now, mined, pubsub, received},
};

const SECOND: Duration = Duration::from_secs(1);

fn plain() -> Lone {
    Lone::new(Config::default())
}

fn restoring() -> Lone {
    Lone::with(|config| config.policy.restore_tagged = Switch::On)
}

/// The envelope that a bridge elsewhere makes of a message.
fn made_elsewhere(message: &WakuMessage, now: Now) -> Arc<Envelope> {
    let mut elsewhere = plain();
    elsewhere.now = now;
    elsewhere.hears(message);
    elsewhere.seals();
    Arc::new(elsewhere.post_is(ACCEPTED))
}

fn by(crossing: &Crossing) -> Conversion {
    match crossing.outcome {
        Outcome::Crossed { by, .. } => by,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_envelope_crosses_when_a_peer_has_the_message() {
    let mut lone = plain();
    let envelope = envelope(lone.secs(), 15, "data");
    lone.hears_envelope(&envelope);
    assert!(lone.reports.is_empty(), "not before it is confirmed");
    lone.passes(Duration::from_millis(300));
    let message = lone.publish_is(ACCEPTED);
    assert_eq!((&message.payload, message.timestamp), (envelope.data(), Some(1_700_000_000_000_000_000)));
    assert_eq!(mapping::rebuild(&message, TOPIC).unwrap().hash(), envelope.hash());
    let expected = Crossing {
        direction: Direction::V1ToV2,
        route: Some("default".into()),
        outcome: Outcome::Crossed { took: Duration::from_millis(300), by: Conversion::Wrapped, already_there: false },
        topic: Some(TOPIC),
        pubsub_topic: Some(pubsub()),
        envelope: Some(envelope.hash()),
        message: Some(message_hash(&pubsub(), &message)),
        content: Some(Fingerprint::new(TOPIC, b"data")),
        at: 1_700_000_000,
        age: Duration::from_millis(300),
    };
    assert_eq!(lone.is_crossed(), expected);
}

#[test]
fn a_message_crosses_when_the_pool_has_the_envelope() {
    let mut lone = plain();
    lone.passes(Duration::from_millis(1_500));
    let message = message_now(lone.now, "data");
    lone.hears(&message);
    lone.seals();
    assert!(lone.reports.is_empty(), "not before it is confirmed");
    let envelope = lone.post_is(ACCEPTED);
    assert_eq!((envelope.sent(), envelope.ttl(), &envelope.data()[..]), (1_700_000_001, 15, &b"data"[..]));
    let origin = MessageOrigin::from_nonce(envelope.nonce()).unwrap();
    assert_eq!(origin, MessageOrigin { exact: true, ephemeral: false, wrapped: false, nanos: Some(500_000_000) });
    let report = lone.is_crossed();
    assert_eq!((report.envelope, report.message), (Some(envelope.hash()), Some(message_hash(&pubsub(), &message))));
    assert_eq!(by(&report), Conversion::Mined);
}

#[test]
fn bits_are_those_of_the_table() {
    // Data size, TTL, target, zero bits.
    for (size, ttl, target, bits) in [
        (500, 15, 0.002, 4),
        (500, 50, 0.002, 6),
        (500, 15, 0.2, 11),
        (500, 50, 0.2, 13),
        (4 * 1024, 15, 0.002, 7),
        (4 * 1024, 50, 0.002, 9),
        (4 * 1024, 15, 0.2, 14),
        (4 * 1024, 50, 0.2, 16),
        (50_000, 15, 0.002, 11),
        (50_000, 50, 0.002, 13),
        (50_000, 15, 0.2, 18),
        (50_000, 50, 0.2, 19),
        (150 * 1024, 15, 0.002, 13),
        (150 * 1024, 50, 0.002, 14),
        (150 * 1024, 15, 0.2, 19),
        (150 * 1024, 50, 0.2, 21),
        (1024 * 1024, 15, 0.002, 15),
        (1024 * 1024, 50, 0.002, 17),
        (1024 * 1024, 15, 0.2, 22),
        (1024 * 1024, 50, 0.2, 24),
    ] {
        let mut lone = Lone::with(|config| {
            (config.profile.ttl_secs, config.stagger) = (ttl, Duration::ZERO);
            config.min_pow = crate::support::users::pow(target);
            config.max_envelope_bytes = 2 * 1024 * 1024;
        });
        lone.hears(&message_now(lone.now, vec![0; size]));
        match bits {
            0..=22 => assert_eq!(lone.to_seal[0].bits, bits, "{size} B, {ttl} s, {target}"),
            _ => lone.is_dropped(DropReason::TooHard),
        }
    }
}

#[test]
fn version_zero_is_wrapped_and_ephemeral_is_told() {
    let mut lone = plain();
    lone.hears(&WakuMessage { version: 0, ephemeral: true, ..message_now(lone.now, "hello") });
    lone.seals();
    let envelope = lone.post_is(ACCEPTED);
    assert_eq!(envelope.data(), &mapping::wrap(b"hello").unwrap());
    let origin = MessageOrigin::from_nonce(envelope.nonce()).unwrap();
    assert!(origin.wrapped && origin.ephemeral && origin.exact);
}

#[test]
fn another_spelling_of_the_topic_crosses_and_is_counted() {
    let mut lone = plain();
    let odd = WakuMessage { content_topic: ContentTopic::from("/waku/1/1A2B3C4D/rfc26"), ..message_now(lone.now, "x") };
    lone.hears(&odd);
    lone.seals();
    let envelope = lone.post_is(ACCEPTED);
    assert_eq!(envelope.topic(), TOPIC);
    assert!(!MessageOrigin::from_nonce(envelope.nonce()).unwrap().exact);
    assert_eq!(lone.bridge.tally().noncanonical_topics, 1);
}

#[test]
fn a_message_without_a_time_was_sent_now() {
    let mut lone = plain();
    lone.hears(&WakuMessage { timestamp: None, ..message_now(lone.now, "x") });
    // Other bridges may have heard it in another second.
    lone.passes(SECOND * 2);
    lone.seals();
    let envelope = lone.post_is(ACCEPTED);
    assert_eq!(u64::from(envelope.sent()), START_SECS);
    assert_eq!(MessageOrigin::from_nonce(envelope.nonce()).unwrap().nanos, None);
    assert_eq!(lone.bridge.tally().no_timestamp, 1);
}

#[test]
fn a_failed_publish_is_tried_again_three_times_and_then_with_each_new_peer() {
    let mut lone = plain();
    lone.gains_v2_peer(1);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    for wait in [SECOND, SECOND * 2, SECOND * 4] {
        lone.publish_is(Answer::Failed);
        lone.passes(wait / 2 - Duration::from_millis(1));
        lone.is_quiet();
        lone.passes(wait / 2 + Duration::from_millis(1));
        assert_eq!(lone.published.len(), 1);
    }
    lone.publish_is(Answer::Failed);
    assert_eq!(lone.bridge.depths().of(Direction::V1ToV2, Stage::Parked), 1);
    lone.passes(SECOND * 5);
    lone.is_quiet();
    lone.gains_v2_peer(1);
    lone.passes(SECOND);
    lone.is_quiet();
    lone.gains_v2_peer(2);
    lone.passes(SECOND);
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
    assert_eq!(lone.bridge.tally().failed_attempts, 4);
}

#[test]
fn what_finds_the_way_full_is_tried_to_the_end_of_its_time_without_a_new_peer() {
    let mut lone = plain();
    lone.gains_v2_peer(1);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    for wait in [SECOND, SECOND * 2, SECOND * 4, SECOND * 4, SECOND * 4] {
        lone.publish_is(Answer::Busy);
        lone.passes(wait);
    }
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
    lone.hears_envelope(&envelope(lone.secs(), 15, "y"));
    for _ in 0..6 {
        lone.publish_is(Answer::Busy);
        lone.passes(SECOND * 4);
        if lone.published.is_empty() {
            break;
        }
    }
    lone.is_dropped(DropReason::PublishFailed);
}

/// As after a start with much of an earlier life, or in a burst.
#[test]
fn what_the_mining_pool_has_no_room_for_waits_with_the_nearest_deadline_first() {
    let mut lone = Lone::with(|config| (config.limits.max_seal_jobs, config.limits.max_jobs) = (2, 5));
    for n in (0..5_u64).rev() {
        lone.hears(&message(lone.now.unix - Duration::from_secs(n), n.to_string()));
    }
    let handed_over = |lone: &Lone| lone.to_seal.len();
    assert_eq!((handed_over(&lone), lone.bridge.depths().of(Direction::V2ToV1, Stage::Mining)), (2, 5));
    // One more than there may be: the oldest of them goes, which the pool has, and the next takes its room.
    lone.hears(&message(lone.now.unix, "last"));
    assert_eq!(lone.cancelled.len(), 1);
    let gone = lone.cancelled.remove(0);
    lone.to_seal.retain(|job| job.job != gone);
    lone.is_dropped(DropReason::Shed);
    let mut sent = Vec::new();
    while handed_over(&lone) > 0 {
        assert!(handed_over(&lone) <= 2);
        lone.seals();
        sent.push(u64::from(lone.post_is(ACCEPTED).sent()));
    }
    assert_eq!(sent, [3, 2, 1, 0, 0].map(|age| START_SECS - age));
}

#[test]
fn without_peers_a_message_waits_as_long_as_v2_would_take_it() {
    let mut lone = plain();
    lone.hears_envelope(&envelope(lone.secs() - 3, 60, "x"));
    for _ in 0..4 {
        lone.publish_is(Answer::Failed);
        lone.passes(SECOND * 4);
    }
    lone.passes(Duration::from_millis(999));
    lone.is_quiet();
    lone.passes(Duration::from_millis(1));
    lone.is_dropped(DropReason::PublishFailed);
    lone.gains_v2_peer(3);
    lone.passes(SECOND * 60);
    lone.is_quiet();
}

/// It began in time, so that the late policy did not come into it at first.
#[test]
fn what_finds_no_peer_in_time_is_late_by_policy_from_then_on() {
    let lonely = |policy| {
        let mut lone = Lone::with(|config| {
            (config.policy.late_v1, config.stagger) = (Some(policy), Duration::ZERO);
        });
        lone.hears_envelope(&envelope(START_SECS, 60, "x"));
        for _ in 0..4 {
            assert_eq!(lone.publish_is(Answer::Failed).timestamp, Some(1_700_000_000_000_000_000));
            lone.passes(SECOND * 4);
        }
        lone.passes(SECOND * 4);
        lone
    };
    let mut published = lonely(LateV1::Publish);
    published.passes(SECOND);
    published.is_quiet();
    published.gains_v2_peer(1);
    published.passes(SECOND);
    assert_eq!(published.publish_is(ACCEPTED).timestamp, Some(1_700_000_000_000_000_000));
    published.is_crossed();
    let mut retimed = lonely(LateV1::Retime);
    retimed.passes(SECOND);
    for _ in 0..4 {
        let again = retimed.publish_is(Answer::Failed);
        assert_eq!(again.timestamp, Some(1_700_000_020_001_000_000));
        let origin = EnvelopeOrigin::from_meta(&again.meta).unwrap();
        assert_eq!(origin.expiry, 1_700_000_060, "the tag keeps the real time");
        retimed.passes(SECOND * 4);
    }
    retimed.passes(SECOND * 60);
    retimed.is_dropped(DropReason::PublishFailed);
    lonely(LateV1::Drop).is_dropped(DropReason::PublishFailed);
}

#[test]
fn what_failed_may_cross_when_it_comes_again() {
    let mut lone = plain();
    let envelope = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&envelope);
    lone.publish_is(Answer::Refused(DropReason::PublishFailed));
    lone.is_dropped(DropReason::PublishFailed);
    lone.hears_envelope(&envelope);
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn a_post_is_tried_until_the_envelope_expires() {
    let mut lone = plain();
    lone.hears(&message_now(lone.now, "x"));
    lone.seals();
    for _ in 0..4 {
        lone.post_is(Answer::Failed);
        lone.passes(SECOND * 4 - Duration::from_millis(250));
    }
    lone.is_dropped(DropReason::PublishFailed);
    assert_eq!(lone.secs(), START_SECS + 15);
}

#[test]
fn a_new_v1_peer_is_a_reason_to_post_again() {
    let mut lone = plain();
    lone.hears(&message_now(lone.now, "x"));
    lone.seals();
    for _ in 0..3 {
        lone.post_is(Answer::Failed);
        lone.passes(Duration::from_millis(2_500).min(SECOND * 4));
        if lone.posted.is_empty() {
            lone.passes(Duration::from_millis(1_500));
        }
    }
    lone.post_is(Answer::Failed);
    lone.gains_v1_peer(2);
    lone.passes(SECOND);
    lone.post_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn what_is_posted_while_there_is_no_v1_peer_has_not_crossed_until_one_comes() {
    let mut lone = plain();
    lone.gains_v1_peer(0);
    lone.hears(&message_now(lone.now, "x"));
    lone.seals();
    lone.post_is(ACCEPTED);
    for wait in [SECOND, SECOND * 2, SECOND * 4] {
        lone.passes(wait);
        lone.post_is(ALREADY_THERE);
    }
    lone.is_quiet();
    lone.gains_v1_peer(1);
    lone.passes(SECOND);
    lone.post_is(ALREADY_THERE);
    let report = lone.is_crossed();
    assert!(matches!(report.outcome, Outcome::Crossed { already_there: false, .. }), "it was there by our own doing");

    let mut never = plain();
    never.gains_v1_peer(0);
    never.hears(&message_now(never.now, "x"));
    never.seals();
    never.post_is(ACCEPTED);
    for _ in 0..3 {
        never.passes(SECOND * 4);
        never.post_is(ALREADY_THERE);
    }
    never.passes(SECOND * 15);
    never.is_dropped(DropReason::PublishFailed);
}

#[test]
fn a_late_answer_to_a_finished_job_changes_nothing() {
    let mut lone = plain();
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    let (job, ..) = lone.published[0];
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
    lone.bridge.published(lone.now, job, ACCEPTED);
    lone.bridge.posted(lone.now, job, Answer::Failed);
    lone.bridge.sealed(lone.now, job, Err(SealError::Stopped));
    lone.take_actions();
    lone.is_quiet();
}

#[test]
fn no_more_is_in_flight_than_may_be() {
    let mut lone = Lone::with(|config| config.limits.max_in_flight = 2);
    for n in 0..5_u8 {
        lone.hears_envelope(&envelope(lone.secs(), 15, vec![n]));
    }
    assert_eq!(lone.published.len(), 2);
    assert_eq!(lone.bridge.depths().of(Direction::V1ToV2, Stage::Ready), 3);
    let order: Vec<_> = (0..5).map(|_| lone.publish_is(ACCEPTED).payload[0]).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn a_message_from_the_future_is_held_until_its_time() {
    let mut lone = plain();
    lone.hears(&message_now(lone.now.after(Duration::from_millis(10_400)), "x"));
    lone.is_quiet();
    assert_eq!(lone.bridge.depths().of(Direction::V2ToV1, Stage::Held), 1);
    lone.hears(&message_now(lone.now.after(SECOND), "x"));
    lone.is_dropped(DropReason::Duplicate);
    lone.passes(Duration::from_millis(9_399));
    lone.is_quiet();
    lone.passes(Duration::from_millis(1));
    lone.seals();
    // Its second has not begun: receivers would ask for more work.
    assert!(lone.posted.is_empty());
    lone.passes(Duration::from_millis(600));
    assert_eq!(u64::from(lone.post_is(ACCEPTED).sent()), START_SECS + 10);
    lone.is_crossed();
}

#[test]
fn late_envelopes_by_policy() {
    let late = |policy| {
        let mut lone = Lone::with(|config| {
            (config.policy.late_v1, config.stagger) = (Some(policy), Duration::ZERO);
        });
        lone.passes(Duration::from_millis(500));
        lone.hears_envelope(&envelope(START_SECS - 30, 60, "x"));
        lone
    };
    late(LateV1::Drop).is_dropped(DropReason::Late);
    let published = late(LateV1::Publish).publish_is(ACCEPTED);
    assert_eq!(published.timestamp, Some(1_699_999_970_000_000_000));
    let retimed = late(LateV1::Retime).publish_is(ACCEPTED);
    assert_eq!(retimed.timestamp, Some(1_700_000_000_500_000_000));
    let origin = EnvelopeOrigin::from_meta(&retimed.meta).unwrap();
    assert_eq!((origin.expiry, origin.ttl), (1_700_000_030, 60), "the tag keeps the real time");
}

#[test]
fn a_retimed_message_still_gives_back_its_envelope() {
    let mut retiming = Lone::with(|config| {
        (config.policy.late_v1, config.stagger) = (Some(LateV1::Retime), Duration::ZERO);
    });
    let envelope = envelope(START_SECS - 30, 60, "x");
    retiming.hears_envelope(&envelope);
    let mut second = plain();
    second.hears(&retiming.publish_is(ACCEPTED));
    assert_eq!(second.post_is(ACCEPTED).hash(), envelope.hash());
}

#[test]
fn late_messages_by_policy() {
    let aged = |policy, secs: u64| {
        let mut lone = Lone::with(|config| config.policy.late_v2 = Some(policy));
        lone.hears(&message(lone.now.unix - Duration::from_secs(secs), "x"));
        lone
    };
    aged(LateV2::Drop, 13).is_dropped(DropReason::Late);
    aged(LateV2::Drop, 12).is_dropped(DropReason::PowDeadline);
    for (age, ttl) in [(9, 15), (10, 60), (54, 60), (55, 300), (294, 300)] {
        let mut lone = aged(LateV2::Ladder, age);
        lone.seals();
        let envelope = lone.post_is(ACCEPTED);
        assert_eq!((u64::from(envelope.sent()), envelope.ttl()), (START_SECS - age, ttl));
    }
    aged(LateV2::Ladder, 295).is_dropped(DropReason::Late);
}

#[test]
fn what_was_mined_too_late_is_late_or_climbs_the_ladder() {
    let slow = |policy| {
        let mut lone = Lone::with(|config| config.policy.late_v2 = Some(policy));
        lone.hears(&message_now(lone.now, "x"));
        lone.passes(SECOND * 13);
        lone.seals();
        lone
    };
    slow(LateV2::Drop).is_dropped(DropReason::Late);
    let mut climbing = slow(LateV2::Ladder);
    climbing.seals();
    assert_eq!(climbing.post_is(ACCEPTED).ttl(), 60);
    climbing.is_crossed();
}

#[test]
fn the_mining_deadline_is_five_seconds_before_the_expiry() {
    let mut lone = plain();
    lone.hears(&message_now(lone.now, "x"));
    assert_eq!(lone.to_seal[0].deadline, lone.now.instant + SECOND * 10);
    lone.passes(SECOND * 10);
    lone.seal_fails(SealError::Deadline);
    lone.is_dropped(DropReason::PowDeadline);
    lone.is_quiet();
}

#[test]
fn a_search_space_without_a_nonce_is_too_hard() {
    let mut lone = plain();
    lone.hears(&message_now(lone.now, "x"));
    lone.seal_fails(SealError::Exhausted);
    lone.is_dropped(DropReason::TooHard);
}

#[test]
fn a_tag_that_does_not_verify_counts_for_nothing() {
    let tagged = |tag: EnvelopeOrigin| {
        let mut lone = plain();
        lone.hears(&WakuMessage { meta: tag.to_meta(), ..message_now(lone.now, vec![7; 4_000]) });
        lone
    };
    let now = u32::try_from(START_SECS).unwrap();
    for (what, tag) in [
        ("no work", EnvelopeOrigin { expiry: now + 15, ttl: 15, nonce: 0 }),
        ("expired", EnvelopeOrigin { expiry: now - 1, ttl: 15, nonce: 0 }),
        ("future", EnvelopeOrigin { expiry: now + 26, ttl: 15, nonce: 0 }),
        ("no TTL", EnvelopeOrigin { expiry: now + 15, ttl: 0, nonce: 0 }),
        ("before 1970", EnvelopeOrigin { expiry: 1, ttl: 2, nonce: 0 }),
    ] {
        let mut lone = tagged(tag);
        lone.seals();
        let envelope = lone.post_is(ACCEPTED);
        assert_eq!(by(&lone.is_crossed()), Conversion::Mined, "{what}");
        assert!(!MessageOrigin::from_nonce(envelope.nonce()).unwrap().exact, "{what}: its meta is lost");
    }
}

#[test]
fn a_tagged_envelope_does_not_keep_its_message_from_crossing() {
    let mut lone = plain();
    let message = message_now(lone.now, "x");
    // Whoever mines a copy with our mark first.
    let mark = MessageOrigin { exact: true, ephemeral: false, wrapped: false, nanos: Some(0) };
    lone.hears_envelope(&mined(lone.secs(), 15, Bytes::from_static(b"x"), mark.to_nonce()));
    lone.is_dropped(DropReason::Returning);
    lone.hears(&message);
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn an_old_copy_does_not_keep_an_envelope_from_crossing() {
    let mut lone = plain();
    lone.hears_envelope(&envelope(lone.secs() - 50, 120, "x"));
    lone.is_dropped(DropReason::Late);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn equal_content_beyond_the_tolerance_is_new() {
    let mut lone = plain();
    for (gap, crosses) in [(0, true), (120, false), (1, true)] {
        lone.passes(Duration::from_secs(gap));
        lone.hears(&message_now(lone.now, "heartbeat"));
        if crosses {
            lone.seals();
            lone.post_is(ACCEPTED);
            lone.is_crossed();
        } else {
            lone.is_dropped(DropReason::Duplicate);
        }
    }
}

#[test]
fn what_comes_back_without_a_tag_is_known_by_its_content() {
    let mut lone = plain();
    lone.hears(&message_now(lone.now, "x"));
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
    lone.passes(SECOND * 3);
    // Stamped anew by a bridge without tags.
    lone.hears_envelope(&envelope(lone.secs(), 5, "x"));
    lone.is_dropped(DropReason::Duplicate);
    lone.hears(&message_now(lone.now, "x"));
    lone.is_dropped(DropReason::Duplicate);
}

#[test]
fn without_tags_none_is_written_or_read() {
    let mut lone = Lone::with(|config| config.policy.origin_tags = Switch::Off);
    lone.hears_envelope(&envelope(lone.secs(), 15, "native"));
    assert!(lone.publish_is(ACCEPTED).meta.is_empty());
    lone.is_crossed();
    lone.hears(&message_now(lone.now, "native too"));
    assert_eq!(lone.to_seal[0].base, 0);
    lone.seals();
    assert_eq!(MessageOrigin::from_nonce(lone.post_is(ACCEPTED).nonce()), None);
    lone.is_crossed();
    lone.hears_envelope(&made_elsewhere(&message_now(lone.now, "tagged"), lone.now));
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn a_lost_message_is_restored_with_its_hash() {
    for original in [
        message(Duration::new(START_SECS, 123_456_789), "x"),
        WakuMessage { version: 0, ephemeral: true, ..message(Duration::new(START_SECS, 1), "plain") },
    ] {
        let mut lone = restoring();
        let envelope = made_elsewhere(&original, lone.now);
        lone.hears_envelope(&envelope);
        lone.passes(SECOND * 10);
        lone.hears_envelope(&envelope);
        lone.is_dropped(DropReason::Returning);
        lone.passes(SECOND * 20 - Duration::from_millis(1));
        lone.is_quiet();
        lone.passes(Duration::from_millis(1));
        let restored = lone.publish_is(ACCEPTED);
        assert_eq!(restored, original);
        let report = lone.is_crossed();
        assert_eq!((by(&report), report.message), (Conversion::Restored, Some(message_hash(&pubsub(), &original))));
        assert_eq!(lone.bridge.tally().restored, 1);
        // A copy that lives longer than the hold.
        let mark = MessageOrigin::from_nonce(envelope.nonce()).unwrap().to_nonce();
        lone.hears_envelope(&mined(START_SECS, 60, envelope.data().clone(), mark));
        lone.is_dropped(DropReason::Returning);
    }
}

#[test]
fn a_message_that_shows_itself_is_not_restored() {
    let original = |lone: &Lone| message_now(lone.now, "x");
    let mut after = restoring();
    after.hears_envelope(&made_elsewhere(&original(&after), after.now));
    after.passes(SECOND * 20);
    after.hears(&message(Duration::from_secs(START_SECS), "x"));
    assert_eq!(after.reports.remove(0).outcome, Outcome::Dropped(DropReason::Returning), "the envelope");
    after.is_dropped(DropReason::Late);
    after.passes(SECOND * 60);
    after.is_quiet();

    let mut before = restoring();
    before.hears(&original(&before));
    before.seals();
    before.post_is(ALREADY_THERE);
    before.is_crossed();
    before.hears_envelope(&made_elsewhere(&original(&before), before.now));
    before.is_dropped(DropReason::Returning);
    before.passes(SECOND * 60);
    before.is_quiet();
}

#[test]
fn what_cannot_be_restored_exactly_is_not_restored() {
    let mut lone = restoring();
    let with_meta = WakuMessage { meta: Meta::new(&b"app"[..]).unwrap(), ..message_now(lone.now, "x") };
    lone.hears_envelope(&made_elsewhere(&with_meta, lone.now));
    lone.is_dropped(DropReason::Returning);
    lone.is_quiet();
}

#[test]
fn envelopes_of_another_profile_are_noticed() {
    let mut lone = plain();
    let mark = MessageOrigin { exact: false, ephemeral: false, wrapped: false, nanos: None };
    for (ttl, mismatches) in [(15, 0), (60, 0), (50, 1)] {
        lone.hears_envelope(&mined(lone.secs(), ttl, Bytes::from_static(b"x"), mark.to_nonce()));
        lone.is_dropped(DropReason::Returning);
        assert_eq!(lone.bridge.tally().profile_mismatches, mismatches);
    }
}

#[test]
fn two_bridges_make_the_same_of_the_same() {
    let mut first = plain();
    let mut second = Lone::with(|config| config.limits.max_in_flight = 1);
    second.passes(Duration::from_millis(1_700));
    let (envelope, message) = (envelope(START_SECS, 15, "e"), message_now(first.now, "m"));
    let mut made = Vec::new();
    for lone in [&mut first, &mut second] {
        lone.hears_envelope(&envelope);
        lone.hears(&message);
        lone.seals();
        made.push((lone.published[0].2.clone(), lone.post_is(ACCEPTED).raw().clone()));
    }
    assert_eq!(made[0], made[1]);
}

#[test]
fn a_proof_is_not_carried_over_and_does_not_matter_to_the_envelope() {
    let mut made = Vec::new();
    for rate_limit_proof in [None, Some(Bytes::from_static(b"proof"))] {
        let mut lone = plain();
        let message = WakuMessage { rate_limit_proof, ..message(Duration::from_secs(START_SECS), "x") };
        lone.hears_received(&received(&message));
        lone.seals();
        made.push(lone.post_is(ACCEPTED).hash());
    }
    assert_eq!(made[0], made[1]);
}
