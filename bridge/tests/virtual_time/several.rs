//! Bridges that wait for each other: stagger where their bytes differ, standby, a memory that was lost.

use std::{sync::Arc, time::Duration};

use bridge::{
    Config, Direction, DropReason, Stage,
    origin::MessageOrigin,
    policy::{LateV1, LateV2},
};
use bytes::Bytes;
use waku2::WakuMessage;

use crate::support::{
    START_SECS,
    lone::{ACCEPTED, Lone},
    users::{envelope, message_now, mined, pow},
};

const SECOND: Duration = Duration::from_secs(1);

fn with_key(key: u8, change: impl FnOnce(&mut Config)) -> Lone {
    Lone::with(|config| {
        config.key = [key; 32];
        change(config);
    })
}

/// How long a bridge waits before it asks for anything.
fn wait_of(lone: &mut Lone) -> Duration {
    let waits = lone.bridge.wake_at().unwrap().saturating_duration_since(lone.now.instant);
    assert!(lone.published.is_empty() && lone.to_seal.is_empty() && lone.posted.is_empty());
    waits
}

fn timeless(text: &'static str) -> impl Fn(&Lone) -> WakuMessage {
    move |lone| WakuMessage { timestamp: None, ..message_now(lone.now, text) }
}

#[test]
fn messages_without_a_time_wait_for_a_part_of_two_seconds_each_bridge_its_own() {
    let waits: Vec<Duration> = (1..9)
        .map(|key| {
            let mut lone = with_key(key, |_| ());
            lone.hears(&timeless("x")(&lone));
            let wait = wait_of(&mut lone);
            lone.passes(wait);
            lone.seals();
            lone.post_is(ACCEPTED);
            lone.is_crossed();
            wait
        })
        .collect();
    assert!(waits.iter().all(|wait| *wait < SECOND * 2));
    assert!(waits.windows(2).all(|pair| pair[0] != pair[1]), "{waits:?}");
}

#[test]
fn the_slower_of_two_gives_way_to_the_envelope_of_the_faster() {
    let mut bridges = [with_key(1, |_| ()), with_key(2, |config| config.archive = true)];
    for lone in &mut bridges {
        lone.hears(&timeless("x")(lone));
    }
    let [faster, slower] = &mut bridges;
    let wait = wait_of(faster);
    assert!(wait < wait_of(slower), "choose other keys");
    faster.passes(wait);
    faster.seals();
    let first = Arc::new(faster.post_is(ACCEPTED));
    slower.passes(wait);
    slower.hears_envelope(&first);
    assert_eq!(slower.bridge.tally().gave_way, 1);
    // Its archive has what crossed elsewhere.
    slower.keeps(Ok(()));
    let reasons: Vec<_> = slower.reports.drain(..).map(|report| (report.direction, report.outcome.reason())).collect();
    assert_eq!(reasons, [(Direction::V1ToV2, "returning"), (Direction::V2ToV1, "duplicate")]);
    slower.passes(SECOND * 30);
    slower.is_quiet();
    // It has crossed, and does not cross again.
    slower.hears(&timeless("x")(slower));
    slower.is_dropped(DropReason::Duplicate);
}

#[test]
fn an_envelope_with_a_new_time_gives_way_to_the_message_of_another_bridge() {
    let retiming = |config: &mut Config| config.policy.late_v1 = Some(LateV1::Retime);
    let late = envelope(START_SECS - 30, 60, "x");
    let mut elsewhere = with_key(9, |config| {
        retiming(config);
        config.stagger = Duration::ZERO;
    });
    elsewhere.hears_envelope(&late);
    let theirs = elsewhere.publish_is(ACCEPTED);
    let mut lone = with_key(1, retiming);
    lone.hears_envelope(&late);
    assert!(wait_of(&mut lone) < SECOND * 2);
    lone.hears(&theirs);
    let reasons: Vec<_> = lone.reports.drain(..).map(|report| (report.direction, report.outcome.reason())).collect();
    assert_eq!(reasons, [(Direction::V1ToV2, "duplicate"), (Direction::V2ToV1, "returning")]);
    lone.passes(SECOND * 60);
    lone.is_quiet();
    // What is not late has the same bytes everywhere and does not wait.
    lone.hears_envelope(&envelope(lone.secs(), 15, "y"));
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn what_is_dear_to_mine_waits_and_what_is_not_does_not() {
    for (target, waits) in [(5.0, false), (50.0, true)] {
        let mut lone = with_key(3, |config| config.profile.pow_target = pow(target));
        lone.hears(&message_now(lone.now, vec![0; 500]));
        assert_eq!(lone.bridge.depths().of(Direction::V2ToV1, Stage::Yielding), usize::from(waits));
        lone.passes(SECOND * 2);
        assert_eq!((lone.to_seal.len(), lone.to_seal[0].bits > 16), (1, waits));
    }
}

fn standby(config: &mut Config) {
    config.standby_after = Some(SECOND * 4);
}

#[test]
fn in_standby_only_what_nobody_carries_is_carried() {
    let mut lone = Lone::with(standby);
    let (heard, said) = (envelope(lone.secs(), 15, "x"), message_now(lone.now, "y"));
    lone.hears_envelope(&heard);
    lone.hears(&said);
    lone.passes(Duration::from_millis(3_999));
    lone.is_quiet();
    lone.passes(Duration::from_millis(1));
    lone.seals();
    assert_eq!((&lone.publish_is(ACCEPTED).payload[..], &lone.post_is(ACCEPTED).data()[..]), (&b"x"[..], &b"y"[..]));
    assert!(lone.reports.drain(..).all(|report| report.outcome.result() == "crossed"));
}

#[test]
fn in_standby_what_another_bridge_carries_is_a_duplicate_whatever_bridge_it_is() {
    let mut active = Lone::with(|_| ());
    let (heard, said) = (envelope(active.secs(), 15, "x"), message_now(active.now, "y"));
    active.hears_envelope(&heard);
    active.hears(&said);
    active.seals();
    let (their_message, their_envelope) = (active.publish_is(ACCEPTED), Arc::new(active.post_is(ACCEPTED)));
    // One without tags, that stamps anew.
    let foreign_message = message_now(active.now.after(SECOND * 3), "x");
    let foreign_envelope = envelope(active.secs() + 3, 5, "y");
    for (message, envelope) in [(their_message, their_envelope), (foreign_message, foreign_envelope)] {
        let mut lone = Lone::with(standby);
        lone.hears_envelope(&heard);
        lone.hears(&said);
        lone.passes(SECOND * 3);
        lone.hears(&message);
        lone.hears_envelope(&envelope);
        assert!(lone.reports.iter().filter(|report| report.outcome.reason() == "duplicate").count() >= 2);
        assert!(lone.reports.drain(..).all(|report| report.outcome.missed().is_some()));
        lone.passes(SECOND * 60);
        lone.is_quiet();
        assert_eq!(lone.bridge.tally().gave_way, 2);
    }
}

#[test]
fn in_standby_for_long_what_is_late_by_then_goes_by_policy() {
    let mut lone = Lone::with(|config| {
        config.standby_after = Some(SECOND * 20);
        (config.policy.late_v1, config.policy.late_v2) = (Some(LateV1::Publish), Some(LateV2::Ladder));
    });
    lone.hears_envelope(&envelope(lone.secs(), 60, "x"));
    lone.hears(&message_now(lone.now, "y"));
    lone.passes(Duration::from_millis(20_000));
    lone.seals();
    assert_eq!(lone.publish_is(ACCEPTED).timestamp, Some(START_SECS as i64 * 1_000_000_000));
    assert_eq!(lone.post_is(ACCEPTED).ttl(), 60);
}

#[test]
fn a_bridge_whose_memory_is_lost_lets_others_go_first_for_one_time_to_live() {
    let mut lone = Lone::with(|config| config.memory_lost = true);
    let (heard, said) = (envelope(lone.secs(), 15, "x"), message_now(lone.now, "y"));
    lone.hears_envelope(&heard);
    lone.hears(&said);
    lone.is_quiet();
    // What crossed before comes back from a bridge without tags: the memory would have known it.
    lone.hears(&message_now(lone.now.after(SECOND), "x"));
    lone.is_dropped_all(&[DropReason::Duplicate, DropReason::Duplicate]);
    lone.passes(SECOND * 5);
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
    lone.passes(SECOND * 10);
    lone.hears_envelope(&envelope(lone.secs(), 15, "z"));
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn envelopes_mined_for_less_work_are_noticed() {
    let mark = MessageOrigin { exact: false, ephemeral: false, wrapped: false, nanos: None };
    let data = Bytes::from(vec![7; 500]);
    let theirs = |secs| mined(secs, 15, data.clone(), mark.to_nonce());
    for (target, mismatches) in [(0.002, 0), (1.0, 1)] {
        let mut lone = Lone::with(|config| config.profile.pow_target = pow(target));
        lone.hears_envelope(&theirs(lone.secs()));
        lone.is_dropped(DropReason::Returning);
        assert_eq!(lone.bridge.tally().profile_mismatches, mismatches, "{target}");
    }
}

#[test]
fn a_bridge_that_only_counts_says_what_would_become_of_each_and_does_nothing() {
    let mut lone = Lone::with(|config| {
        (config.dry_run, config.journal, config.archive) = (true, true, true);
    });
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.hears(&message_now(lone.now, "y"));
    lone.hears_envelope(&envelope(lone.secs() - 30, 60, "late"));
    lone.hears_envelope(&envelope(lone.secs(), 20, "x"));
    let ends: Vec<_> =
        lone.reports.drain(..).map(|report| (report.outcome.result(), report.outcome.reason())).collect();
    assert_eq!(ends, [("would_cross", "ok"), ("would_cross", "ok"), ("archived", "late"), ("dropped", "duplicate")]);
    lone.is_quiet();
    assert_eq!((lone.begun.len(), lone.ended.len(), lone.bridge.depths().total(Direction::V2ToV1)), (0, 0, 0));
}
