//! Each reason that can occur today, provoked once in each direction it occurs in, with exactly one report.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use bridge::{
    Config, Direction, DropReason, Outcome,
    policy::{Ephemeral, VersionZero, Ways},
    router::{Route, Router, Signing},
    seal::SealError,
};
use bytes::Bytes;
use devp2p::clock::Now;
use waku0::{Envelope, pow::Pow};
use waku2::{ContentTopic, WakuMessage};

use crate::support::{
    lone::{ACCEPTED, ALREADY_THERE, Lone},
    users::{TOPIC, envelope, message_now, pow, pubsub, received_on},
};

const SECOND: Duration = Duration::from_secs(1);

/// Packets between trusted peers, which the v1 node never hands to a bridge.
const NEVER_HERE: [DropReason; 1] = [DropReason::P2pOnly];

fn one_way(ways: Ways) -> impl FnOnce(&mut Config) {
    move |config| config.routes = Router::new(Route::everything(pubsub(), ways))
}

/// A bridge that has heard one envelope, and ended it.
fn envelope_ends(change: impl FnOnce(&mut Config), make: impl FnOnce(u64) -> Arc<Envelope>) -> Lone {
    let mut lone = Lone::with(change);
    lone.hears_envelope(&make(lone.secs()));
    lone
}

/// A bridge that has heard one message, and ended it.
fn message_ends(change: impl FnOnce(&mut Config), make: impl FnOnce(Now) -> WakuMessage) -> Lone {
    let mut lone = Lone::with(change);
    lone.hears(&make(lone.now));
    lone
}

fn once_a_second(config: &mut Config) {
    let everything = Route::everything(pubsub(), Ways::Both);
    config.routes = Router::new(Route { max_per_sec: NonZeroU32::new(1), ..everything });
}

fn raw(secs: u64, expiry_in: i64, ttl: u32, data: &'static [u8]) -> Arc<Envelope> {
    let expiry = u32::try_from(secs.checked_add_signed(expiry_in).unwrap()).unwrap();
    Arc::new(Envelope::new(expiry, ttl, TOPIC, Bytes::from_static(data), 0).unwrap())
}

fn no_change(_: &mut Config) {}

fn any_work(config: &mut Config) {
    config.min_pow = Pow::ZERO;
}

fn v1_to_v2(reason: DropReason) -> Option<Lone> {
    Some(match reason {
        DropReason::Malformed => envelope_ends(no_change, |now| raw(now, 1, 0, b"x")),
        DropReason::Expired => envelope_ends(no_change, |now| raw(now, -1, 15, b"x")),
        DropReason::Future => envelope_ends(no_change, |now| raw(now, 26, 15, b"x")),
        DropReason::LowPow => envelope_ends(|config| config.min_pow = pow(1e9), |now| raw(now, 15, 15, b"x")),
        DropReason::TooLargeV1 => envelope_ends(any_work, |now| envelope_of(now, vec![0; 1024 * 1024])),
        DropReason::TooLargeV2 => envelope_ends(any_work, |now| envelope_of(now, vec![0; 150 * 1024])),
        DropReason::NoRoute => envelope_ends(one_way(Ways::V2ToV1), |now| envelope(now, 15, "x")),
        DropReason::Late => envelope_ends(no_change, |now| envelope(now - 21, 50, "x")),
        DropReason::Duplicate => {
            let mut lone = Lone::with(no_change);
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            lone.publish_is(ACCEPTED);
            lone.is_crossed();
            lone.hears_envelope(&envelope(lone.secs(), 16, "x"));
            lone
        }
        DropReason::Returning => {
            let mut elsewhere = Lone::with(no_change);
            elsewhere.hears(&message_now(elsewhere.now, "x"));
            elsewhere.seals();
            let mined = elsewhere.post_is(ACCEPTED);
            envelope_ends(no_change, |_| Arc::new(mined))
        }
        DropReason::NoKey => envelope_ends(
            |config| {
                let everything = Route::everything(pubsub(), Ways::Both);
                config.routes = Router::new(Route { signing: Signing::NoKey, ..everything });
            },
            |now| envelope(now, 15, "x"),
        ),
        DropReason::Clock => {
            let mut lone = Lone::with(no_change);
            lone.bridge.clock_skew(Some(16_000_000_000));
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            lone
        }
        DropReason::Rate => {
            let mut lone = Lone::with(once_a_second);
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            lone.publish_is(ACCEPTED);
            lone.is_crossed();
            lone.hears_envelope(&envelope(lone.secs(), 15, "y"));
            lone
        }
        DropReason::Quarantine => {
            let mut lone = Lone::with(no_change);
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            lone.publish_is(ACCEPTED);
            lone.is_crossed();
            for ttl in 16..20 {
                lone.hears_envelope(&envelope(lone.secs(), ttl, "x"));
                lone.is_dropped(DropReason::Duplicate);
            }
            // By its time it is no copy any more.
            lone.passes(Duration::from_secs(500));
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            lone
        }
        DropReason::Shed => {
            let mut lone = Lone::with(|config| (config.limits.max_jobs, config.limits.max_in_flight) = (2, 1));
            for n in 0..3_u8 {
                lone.hears_envelope(&envelope(lone.secs(), 15, vec![n]));
            }
            lone
        }
        DropReason::PublishFailed | DropReason::RlnBudget | DropReason::RlnUnavailable => {
            let mut lone = Lone::with(no_change);
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            lone.publish_is(bridge::answer::Answer::Refused(reason));
            lone
        }
        _ => return None,
    })
}

/// Without work: some of these are too large to mine in a test.
fn envelope_of(now: u64, data: Vec<u8>) -> Arc<Envelope> {
    Arc::new(Envelope::new(u32::try_from(now).unwrap() + 15, 15, TOPIC, data.into(), 0).unwrap())
}

fn v2_to_v1(reason: DropReason) -> Option<Lone> {
    let on_topic = |topic: &'static str| {
        message_ends(no_change, move |now| WakuMessage {
            content_topic: ContentTopic::from(topic),
            ..message_now(now, "x")
        })
    };
    Some(match reason {
        DropReason::NotBridgeable => on_topic("/facebook/1/0x1a2b3c4d/rfc26"),
        DropReason::BadTopic => on_topic("/waku/1/0x112233/rfc26"),
        DropReason::NoRoute => message_ends(one_way(Ways::V1ToV2), |now| message_now(now, "x")),
        DropReason::UnsupportedVersion => message_ends(
            |config| config.policy.version_zero = VersionZero::Drop,
            |now| WakuMessage { version: 0, ..message_now(now, "x") },
        ),
        DropReason::Ephemeral => message_ends(
            |config| config.policy.ephemeral = Ephemeral::Drop,
            |now| WakuMessage { ephemeral: true, ..message_now(now, "x") },
        ),
        DropReason::Future => message_ends(no_change, |now| message_now(now.after(Duration::from_millis(21_001)), "x")),
        DropReason::TooLargeV1 => message_ends(no_change, |now| message_now(now, vec![0; 1024 * 1024])),
        DropReason::Late => message_ends(no_change, |now| message_now(sent_before(now, 13), "x")),
        DropReason::PowDeadline => message_ends(no_change, |now| message_now(sent_before(now, 10), "x")),
        DropReason::TooHard => message_ends(|config| config.profile.pow_target = pow(1e6), |now| message_now(now, "x")),
        DropReason::Duplicate => {
            let mut lone = Lone::with(no_change);
            lone.hears(&message_now(lone.now, "x"));
            lone.seals();
            lone.post_is(ACCEPTED);
            lone.is_crossed();
            lone.hears(&message_now(lone.now.after(SECOND), "x"));
            lone
        }
        DropReason::Returning => {
            let mut lone = Lone::with(no_change);
            lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
            let message = lone.publish_is(ACCEPTED);
            lone.is_crossed();
            lone.hears(&message);
            lone
        }
        DropReason::Rate => {
            let mut lone = Lone::with(once_a_second);
            lone.hears(&message_now(lone.now, "x"));
            lone.seals();
            lone.post_is(ACCEPTED);
            lone.is_crossed();
            lone.hears(&message_now(lone.now, "y"));
            lone
        }
        DropReason::Quarantine => {
            let mut lone = Lone::with(no_change);
            lone.hears(&message_now(lone.now, "x"));
            lone.seals();
            lone.post_is(ACCEPTED);
            lone.is_crossed();
            for _ in 0..4 {
                lone.passes(SECOND);
                lone.hears(&message_now(lone.now, "x"));
                lone.is_dropped(DropReason::Duplicate);
            }
            lone.passes(SECOND);
            lone.hears(&message_now(lone.now, "x"));
            lone
        }
        DropReason::Shed => {
            let mut lone = Lone::with(no_change);
            lone.hears(&message_now(lone.now, "x"));
            lone.seal_fails(SealError::Shed);
            lone
        }
        DropReason::PublishFailed => {
            let mut lone = Lone::with(no_change);
            lone.hears(&message_now(lone.now, "x"));
            lone.seals();
            lone.post_is(bridge::answer::Answer::Refused(DropReason::PublishFailed));
            lone
        }
        _ => return None,
    })
}

fn sent_before(now: Now, secs: u64) -> Now {
    Now { unix: now.unix - Duration::from_secs(secs), ..now }
}

#[test]
fn each_reason_ends_one_passage_with_one_report() {
    let mut provoked = BTreeSet::new();
    for reason in DropReason::all() {
        for (direction, lone) in [(Direction::V1ToV2, v1_to_v2(reason)), (Direction::V2ToV1, v2_to_v1(reason))] {
            let Some(mut lone) = lone else { continue };
            let report = lone.only_report();
            assert_eq!((report.direction, report.outcome), (direction, Outcome::Dropped(reason)));
            assert!(report.envelope.is_some() || report.message.is_some(), "{reason}: nothing to look it up by");
            assert!(reason.occurs(direction), "{reason} is not listed for {direction}");
            provoked.insert((reason, direction as u8));
        }
    }
    let listed = |reason: DropReason| {
        Direction::ALL.into_iter().filter(move |d| reason.occurs(*d)).map(move |d| (reason, d as u8))
    };
    let expected: BTreeSet<_> =
        DropReason::all().filter(|reason| !NEVER_HERE.contains(reason)).flat_map(listed).collect();
    assert_eq!(provoked, expected);
}

#[test]
fn what_is_shed_is_the_oldest_that_waits() {
    let mut lone = v1_to_v2(DropReason::Shed).unwrap();
    let report = lone.only_report();
    assert_eq!(report.envelope, Some(envelope(lone.secs(), 15, vec![1_u8]).hash()), "0 is in flight, 2 is younger");
    assert_eq!(lone.publish_is(ACCEPTED).payload[..], [0]);
    lone.is_crossed();
    assert_eq!(lone.publish_is(ACCEPTED).payload[..], [2]);
    lone.is_crossed();
}

#[test]
fn shedding_what_is_being_mined_stops_the_mining() {
    let mut lone = Lone::with(|config| config.limits.max_jobs = 1);
    lone.hears(&message_now(lone.now, "first"));
    lone.hears(&message_now(lone.now, "second"));
    lone.is_dropped(DropReason::Shed);
    assert_eq!(lone.cancelled, [lone.to_seal.remove(0).job]);
    lone.seals();
    assert_eq!(lone.post_is(ACCEPTED).data()[..], *b"second");
    lone.is_crossed();
}

#[test]
fn an_unknown_shard_has_no_route() {
    let mut lone = Lone::with(no_change);
    lone.hears_received(&received_on("/waku/2/rs/0/1".parse().unwrap(), message_now(lone.now, "x").encode()));
    lone.is_dropped(DropReason::NoRoute);
    // What is relayed and not bridged leaves no trace: the same, where it is bridged, crosses.
    let elsewhere = "/waku/2/rs/0/1".parse().unwrap();
    lone.bridge.v2_peers(lone.now, &elsewhere, 9);
    assert_eq!(lone.bridge.peers().1, 0);
    lone.hears(&message_now(lone.now, "x"));
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn the_largest_message_that_fits_crosses() {
    let mut lone = Lone::with(any_work);
    // 150 KiB less the other fields: payload header 4, content topic 26, version 2, timestamp 10, meta 19.
    let fits = 150 * 1024 - 4 - 26 - 2 - 10 - 19;
    lone.hears_envelope(&envelope_of(lone.secs(), vec![0; fits]));
    assert_eq!(lone.published[0].2.len(), 150 * 1024);
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
    lone.hears_envelope(&envelope_of(lone.secs(), vec![0; fits + 1]));
    lone.is_dropped(DropReason::TooLargeV2);
}

#[test]
fn a_message_whose_envelope_is_here_already_has_not_crossed() {
    let mut elsewhere = Lone::with(no_change);
    elsewhere.hears_envelope(&envelope(elsewhere.secs(), 15, "x"));
    let message = elsewhere.publish_is(ACCEPTED);
    let mut lone = Lone::with(no_change);
    lone.hears(&message);
    lone.post_is(ALREADY_THERE);
    lone.is_dropped(DropReason::Returning);
}

#[test]
fn times_at_the_edge_of_their_windows() {
    let crosses_v1 = |make: fn(u64) -> Arc<Envelope>| envelope_ends(any_work, make).published.len();
    assert_eq!(crosses_v1(|now| raw(now, 0, 15, b"expires now")), 1);
    assert_eq!(crosses_v1(|now| raw(now, 25, 15, b"10 s ahead")), 1);
    assert_eq!(crosses_v1(|now| raw(now, 30, 50, b"20 s old")), 1);
    assert_eq!(crosses_v1(|now| raw(now, 29, 50, b"21 s old")), 0);

    let ahead = |millis| move |now: Now| message_now(now.after(Duration::from_millis(millis)), "x");
    assert_eq!(message_ends(no_change, ahead(1_000)).to_seal.len(), 1, "a second of fudge");
    assert_eq!(message_ends(no_change, ahead(1_001)).to_seal.len(), 0, "held");
    assert_eq!(message_ends(no_change, ahead(21_000)).reports.len(), 0, "held for 20 s");
    assert_eq!(
        message_ends(no_change, |now| message_now(sent_before(now, 9), "x")).to_seal.len(),
        1,
        "a second to mine in"
    );
}

#[test]
fn timestamps_of_no_time_are_dropped_without_harm() {
    for (timestamp, reason) in
        [(i64::MIN, DropReason::Late), (-1, DropReason::Late), (1, DropReason::Late), (i64::MAX, DropReason::Future)]
    {
        let mut lone =
            message_ends(no_change, |now| WakuMessage { timestamp: Some(timestamp), ..message_now(now, "x") });
        lone.is_dropped(reason);
        lone.is_quiet();
    }
}

#[test]
fn content_in_quarantine_is_let_out_again_and_its_very_self_is_no_copy() {
    let mut lone = Lone::with(no_change);
    let first = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&first);
    lone.publish_is(ACCEPTED);
    lone.is_crossed();
    for _ in 0..9 {
        lone.hears_envelope(&first);
        lone.is_dropped(DropReason::Duplicate);
    }
    assert_eq!(lone.bridge.tally().loops_suspected, 0);
    for ttl in 16..20 {
        lone.hears_envelope(&envelope(lone.secs(), ttl, "x"));
        lone.is_dropped(DropReason::Duplicate);
    }
    assert_eq!(lone.bridge.tally().loops_suspected, 1);
    lone.passes(Duration::from_secs(599));
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.is_dropped(DropReason::Quarantine);
    lone.passes(SECOND);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    assert_eq!(lone.published.len(), 1);
}
