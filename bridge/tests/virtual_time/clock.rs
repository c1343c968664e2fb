//! A clock that is wrong: nothing is published on v2 until it is right again, and the other way goes on.

use std::time::Duration;

use bridge::{Config, DropReason, answer::Answer, history::Why, policy::LateV2};

use crate::support::{
    lone::{ACCEPTED, Lone},
    users::{envelope, message_now},
};

const SECOND: i64 = 1_000_000_000;

#[test]
fn beyond_fifteen_seconds_nothing_is_published_and_the_other_way_goes_on() {
    let mut lone = Lone::with(|_| ());
    for (skew, crosses) in [(None, true), (Some(15), true), (Some(-15), true), (Some(16), false), (Some(-30), false)] {
        lone.bridge.clock_skew(skew.map(|secs: i64| secs * SECOND));
        lone.hears_envelope(&envelope(lone.secs(), 15, format!("{skew:?}")));
        if crosses {
            lone.publish_is(ACCEPTED);
            lone.is_crossed();
        } else {
            lone.is_dropped(DropReason::Clock);
        }
        lone.hears(&message_now(lone.now, format!("message {skew:?}")));
        lone.seals();
        lone.post_is(ACCEPTED);
        lone.is_crossed();
    }
}

#[test]
fn what_could_not_be_published_is_kept_and_may_cross_when_the_clock_is_right() {
    let mut lone = Lone::with(|config| config.archive = true);
    lone.bridge.clock_skew(Some(30 * SECOND));
    let heard = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&heard);
    assert_eq!(lone.keeps(Ok(())).why, Why::Instead(DropReason::Clock));
    lone.is_archived(DropReason::Clock);
    lone.bridge.clock_skew(Some(SECOND));
    lone.hears_envelope(&heard);
    lone.publish_is(ACCEPTED);
    lone.keeps(Ok(()));
    lone.is_crossed();
}

#[test]
fn what_waits_for_another_attempt_is_not_published_by_a_wrong_clock() {
    let mut lone = Lone::with(|_| ());
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.publish_is(Answer::Failed);
    lone.bridge.clock_skew(Some(20 * SECOND));
    lone.passes(Duration::from_secs(2));
    lone.is_dropped(DropReason::Clock);
    lone.is_quiet();
}

#[test]
fn thirty_seconds_ahead_of_everybody_what_they_send_is_late_and_nobody_is_told_anything() {
    // Ours shows what theirs will in half a minute.
    let mut lone = Lone::new(Config::default());
    let theirs = lone.now;
    lone.now.unix += Duration::from_secs(30);
    lone.bridge.clock_skew(Some(-30 * SECOND));
    lone.hears_envelope(&envelope(theirs.unix_secs(), 50, "x"));
    lone.is_dropped(DropReason::Clock);
    lone.hears(&message_now(theirs, "y"));
    lone.is_dropped(DropReason::Late);
    let mut climbing = Lone::with(|config| config.policy.late_v2 = Some(LateV2::Ladder));
    climbing.now.unix += Duration::from_secs(30);
    climbing.hears(&message_now(theirs, "y"));
    climbing.seals();
    let posted = climbing.post_is(ACCEPTED);
    assert_eq!(u64::from(posted.sent()), theirs.unix_secs(), "the time that its sender gave it, not ours");
    climbing.is_crossed();
}
