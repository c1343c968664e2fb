//! What an archive is given: what crossed, and what could not; once each, and never what is ephemeral.

use std::{sync::Arc, time::Duration};

use bridge::{
    Config, Direction, DropReason, Stage,
    answer::Answer,
    history::{EnvelopeHalf, Kept, NotKept, Why},
    mapping,
    policy::{LateV1, LateV2, Ways},
    router::{Route, Router, Signing},
    seen::Fingerprint,
};
use waku0::{Envelope, pow::Pow};
use waku2::{WakuMessage, hash::message_hash};

use crate::support::{
    START_SECS,
    lone::{ACCEPTED, ALREADY_THERE, Lone},
    users::{TOPIC, envelope, message, message_now, pubsub},
};

const SECOND: Duration = Duration::from_secs(1);

fn archiving() -> Lone {
    Lone::with(|config| config.archive = true)
}

fn archiving_with(change: impl FnOnce(&mut Config)) -> Lone {
    Lone::with(|config| {
        config.archive = true;
        change(config);
    })
}

/// The row says both forms of an envelope, and they fit.
#[track_caller]
fn assert_row_of_envelope(row: &Kept, envelope: &Envelope, why: Why) {
    assert_eq!(row.content, Fingerprint::new(TOPIC, envelope.data()));
    assert_eq!((row.topic, &row.data, row.wrapped), (TOPIC, envelope.data(), false));
    assert_eq!(row.envelope, EnvelopeHalf::of(envelope));
    assert_eq!(row.sent_nanos, i64::from(envelope.sent()) * 1_000_000_000);
    assert_eq!((row.first, row.why, row.proven), (Direction::V1ToV2, why, false));
    assert_eq!(row.message.hash, message_hash(&pubsub(), &row.message.message));
    assert_eq!(mapping::rebuild(&row.message.message, TOPIC).unwrap().hash(), envelope.hash());
}

#[test]
fn what_crosses_is_kept_before_it_is_told() {
    let mut lone = archiving();
    let envelope = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&envelope);
    let published = lone.publish_is(ACCEPTED);
    assert!(lone.reports.is_empty());
    assert_eq!(lone.bridge.depths().of(Direction::V1ToV2, Stage::Archiving), 1);
    lone.passes(SECOND);
    let row = lone.keeps(Ok(()));
    assert_row_of_envelope(&row, &envelope, Why::Crossed);
    assert_eq!(row.message.message, published);
    let report = lone.is_crossed();
    assert_eq!((report.age, report.at), (Duration::ZERO, START_SECS), "the archive's time is not the crossing's");

    let message = WakuMessage { version: 0, ..message_now(lone.now, "y") };
    lone.hears(&message);
    lone.seals();
    let mined = lone.post_is(ACCEPTED);
    let row = lone.keeps(Ok(()));
    assert_eq!((row.envelope, row.wrapped, &row.data), (EnvelopeHalf::of(&mined), true, mined.data()));
    assert_eq!((row.message.message, row.first, row.proven), (message.clone(), Direction::V2ToV1, true));
    assert_eq!(Some(row.sent_nanos), message.timestamp);
    lone.is_crossed();
    lone.is_quiet();
}

#[test]
fn the_end_is_written_down_once_the_archive_has_it() {
    let mut lone = archiving_with(|config| config.journal = true);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.is_noted();
    lone.publish_is(ACCEPTED);
    assert_eq!(lone.ended, []);
    lone.keeps(Ok(()));
    assert_eq!(lone.ended.len(), 1);
    lone.is_crossed();
}

#[test]
fn an_archive_that_can_not_write_keeps_nothing_from_crossing() {
    let mut lone = archiving();
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.publish_is(ACCEPTED);
    lone.keeps(Err(NotKept));
    lone.is_crossed();
    lone.hears_envelope(&envelope(lone.secs() - 30, 60, "late"));
    lone.keeps(Err(NotKept));
    lone.is_dropped(DropReason::Late);
    assert_eq!(lone.bridge.tally().not_kept, 2);
    // What was not kept may be, the next time.
    lone.hears_envelope(&envelope(lone.secs() - 30, 60, "late"));
    lone.keeps(Ok(()));
    lone.is_archived(DropReason::Late);
}

#[test]
fn an_archive_that_does_not_answer_makes_way_for_what_crosses() {
    let mut lone = archiving_with(|config| config.limits.max_jobs = 2);
    for n in 0..5_u8 {
        lone.hears_envelope(&envelope(lone.secs(), 15, vec![n]));
        lone.publish_is(ACCEPTED);
    }
    assert_eq!((lone.reports.len(), lone.to_keep.len()), (3, 5));
    for _ in 0..3 {
        assert_eq!(lone.reports.remove(0).outcome.result(), "crossed");
        lone.keeps(Ok(())); // Too late: it has ended.
    }
    assert!(lone.reports.is_empty());
    (0..2).for_each(|_| drop(lone.keeps(Ok(()))));
    assert_eq!((lone.reports.len(), lone.bridge.tally().not_kept), (2, 3));
}

#[test]
fn what_is_late_goes_to_the_archive_by_default_and_may_be_dropped() {
    let late = |policy| {
        let mut lone = archiving_with(|config| config.policy.late_v1 = policy);
        lone.hears_envelope(&envelope(START_SECS - 30, 60, "x"));
        lone
    };
    for policy in [None, Some(LateV1::Archive)] {
        let mut lone = late(policy);
        let row = lone.keeps(Ok(()));
        assert_row_of_envelope(&row, &envelope(START_SECS - 30, 60, "x"), Why::Instead(DropReason::Late));
        lone.is_archived(DropReason::Late);
    }
    late(Some(LateV1::Drop)).is_dropped(DropReason::Late);

    let aged = |policy, secs| {
        let mut lone = archiving_with(|config| config.policy.late_v2 = policy);
        lone.hears(&message(lone.now.unix - Duration::from_secs(secs), "x"));
        lone
    };
    for (age, reason) in [(13, DropReason::Late), (12, DropReason::PowDeadline), (100_000, DropReason::Late)] {
        let mut lone = aged(None, age);
        let row = lone.keeps(Ok(()));
        let expiry = u32::try_from(START_SECS - age).unwrap() + 15;
        assert_eq!(row.envelope, EnvelopeHalf { hash: None, expiry, ttl: 15, nonce: None }, "nobody has mined it");
        assert_eq!((row.why, row.proven), (Why::Instead(reason), true));
        lone.is_archived(reason);
        aged(Some(LateV2::Drop), age).is_dropped(reason);
    }
}

#[test]
fn a_pool_handed_over_at_connect_is_archived_once_each() {
    let pool: Vec<Arc<Envelope>> =
        (0..2_048_u32).map(|n| envelope(START_SECS - 25 - u64::from(n % 20), 60, n.to_be_bytes().to_vec())).collect();
    let mut lone = archiving();
    pool.iter().for_each(|envelope| lone.hears_envelope(envelope));
    assert!(lone.published.is_empty());
    let mut contents = std::collections::BTreeSet::new();
    while !lone.to_keep.is_empty() {
        contents.insert(lone.keeps(Ok(())).content);
    }
    assert_eq!((contents.len(), lone.reports.len()), (2_048, 2_048));
    let archived =
        |report: &bridge::Crossing| (report.outcome.result(), report.outcome.reason()) == ("archived", "late");
    assert!(lone.reports.drain(..).all(|report| archived(&report)));
    // The next peer hands over the same.
    pool.iter().for_each(|envelope| lone.hears_envelope(envelope));
    assert!(lone.to_keep.is_empty() && lone.published.is_empty());
    assert!(lone.reports.drain(..).all(|report| report.outcome.reason() == "duplicate"));

    let mut without = Lone::with(|_| ());
    pool.iter().for_each(|envelope| without.hears_envelope(envelope));
    let late = |report: &bridge::Crossing| (report.outcome.result(), report.outcome.reason()) == ("dropped", "late");
    assert!(without.reports.len() == 2_048 && without.reports.iter().all(late) && without.published.is_empty());
}

#[test]
fn an_old_copy_in_the_archive_does_not_keep_an_envelope_from_crossing() {
    let mut lone = archiving();
    lone.hears_envelope(&envelope(lone.secs() - 50, 120, "x"));
    lone.keeps(Ok(()));
    lone.is_archived(DropReason::Late);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.publish_is(ACCEPTED);
    lone.keeps(Ok(()));
    lone.is_crossed();
}

#[test]
fn an_envelope_of_200_kib_is_archived_and_not_published() {
    let mut lone = archiving_with(|config| config.min_pow = Pow::ZERO);
    let now = u32::try_from(lone.secs()).unwrap();
    let large = Arc::new(Envelope::new(now + 15, 15, TOPIC, vec![7; 200 * 1024].into(), 0).unwrap());
    lone.hears_envelope(&large);
    assert!(lone.published.is_empty());
    let row = lone.keeps(Ok(()));
    assert_row_of_envelope(&row, &large, Why::Instead(DropReason::TooLargeV2));
    lone.is_archived(DropReason::TooLargeV2);
}

#[test]
fn what_the_other_side_did_not_take_in_time_is_kept() {
    let mut lone = archiving();
    let gone = envelope(lone.secs(), 60, "x");
    lone.hears_envelope(&gone);
    for _ in 0..4 {
        lone.publish_is(Answer::Failed);
        lone.passes(SECOND * 5);
    }
    assert_row_of_envelope(&lone.keeps(Ok(())), &gone, Why::Instead(DropReason::PublishFailed));
    lone.is_archived(DropReason::PublishFailed);
    // It may cross all the same, should it come again in time.
    lone.hears_envelope(&envelope(lone.secs(), 60, "x"));
    lone.publish_is(ACCEPTED);
    lone.keeps(Ok(()));
    lone.is_crossed();

    lone.hears(&message_now(lone.now, "y"));
    lone.seals();
    let mined = lone.post_is(Answer::Refused(DropReason::PublishFailed));
    assert_eq!(lone.keeps(Ok(())).envelope, EnvelopeHalf::of(&mined), "the work is not done again");
    lone.is_archived(DropReason::PublishFailed);
}

#[test]
fn an_archive_only_route_keeps_both_ways_and_carries_neither() {
    let mut lone = archiving_with(|config| {
        config.routes = Router::new(Route::everything(pubsub(), Ways::ArchiveOnly));
    });
    let heard = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&heard);
    assert_row_of_envelope(&lone.keeps(Ok(())), &heard, Why::Instead(DropReason::NoRoute));
    lone.is_archived(DropReason::NoRoute);
    lone.hears(&message_now(lone.now, "y"));
    assert_eq!(lone.keeps(Ok(())).why, Why::Instead(DropReason::NoRoute));
    lone.is_archived(DropReason::NoRoute);
    lone.is_quiet();
}

#[test]
fn what_is_ephemeral_crosses_and_is_not_kept() {
    let mut lone = archiving();
    lone.hears(&WakuMessage { ephemeral: true, ..message_now(lone.now, "x") });
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
    lone.hears(&WakuMessage { ephemeral: true, ..message(lone.now.unix - SECOND * 60, "late") });
    lone.is_dropped(DropReason::Late);
    lone.is_quiet();
}

#[test]
fn what_is_wrong_or_unwanted_is_not_kept() {
    let mut lone = archiving_with(|config| {
        let everything = Route::everything(pubsub(), Ways::Both);
        config.routes = Router::new(Route { signing: Signing::NoKey, ..everything });
    });
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.is_dropped(DropReason::NoKey);
    lone.hears_envelope(&envelope(lone.secs() - 30, 15, "x"));
    lone.is_dropped(DropReason::Expired);
    lone.hears(&message_now(lone.now.after(SECOND * 60), "y"));
    lone.is_dropped(DropReason::Future);
    lone.is_quiet();
}

#[test]
fn what_was_rebuilt_and_was_here_already_is_kept_under_its_first_time() {
    let mut elsewhere = Lone::with(|_| ());
    let original = envelope(elsewhere.secs(), 15, "x");
    elsewhere.hears_envelope(&original);
    let message = elsewhere.publish_is(ACCEPTED);
    let mut lone = archiving();
    lone.hears(&message);
    lone.post_is(ALREADY_THERE);
    let row = lone.keeps(Ok(()));
    assert_eq!((row.envelope, row.why), (EnvelopeHalf::of(&original), Why::Crossed));
    assert_eq!(row.sent_nanos, i64::from(original.sent()) * 1_000_000_000);
    lone.is_dropped(DropReason::Returning);
}

#[test]
fn a_retimed_message_is_kept_under_the_time_of_its_envelope() {
    let mut lone = archiving_with(|config| {
        (config.policy.late_v1, config.stagger) = (Some(LateV1::Retime), Duration::ZERO);
    });
    let late = envelope(START_SECS - 30, 60, "x");
    lone.hears_envelope(&late);
    let published = lone.publish_is(ACCEPTED);
    let row = lone.keeps(Ok(()));
    assert_eq!((row.message.message, row.sent_nanos), (published, (START_SECS as i64 - 30) * 1_000_000_000));
    lone.is_crossed();
}
