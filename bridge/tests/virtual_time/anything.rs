//! Anything at all, in any order, under any policy: each envelope and message ends once, for a reason of its direction.

use std::{sync::Arc, time::Duration};

use bridge::{
    Config, Direction, DropReason, Outcome,
    answer::Answer,
    history::NotKept,
    origin::{EnvelopeOrigin, MessageOrigin},
    policy::{Ephemeral, LateV1, LateV2, Policy, Switch, UnknownVersion, VersionZero},
    seal::SealError,
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use waku0::{Envelope, pow::Pow};
use waku2::{ContentTopic, Meta, WakuMessage};

use crate::support::{
    START_SECS,
    lone::{ACCEPTED, ALREADY_THERE, Lone},
    users::TOPIC,
};

#[derive(Debug, Clone)]
enum Happening {
    Envelope { expiry_in: i64, ttl: u32, data: u8, nonce: u64 },
    Message(Box<WakuMessage>),
    Pass { millis: u64 },
    V1Peers(usize),
    V2Peers(usize),
    Sealed(bool),
    Answered(u8),
    Kept(bool),
    Skew(Option<i64>),
}

fn policies() -> impl Strategy<Value = Policy> {
    let late_v1 = option::of(select(vec![LateV1::Drop, LateV1::Publish, LateV1::Retime]));
    let late_v2 = option::of(select(vec![LateV2::Drop, LateV2::Ladder]));
    let switch = || select(Switch::ALL.to_vec());
    let versions = (select(VersionZero::ALL.to_vec()), select(UnknownVersion::ALL.to_vec()));
    (late_v1, late_v2, versions, select(Ephemeral::ALL.to_vec()), switch(), switch()).prop_map(
        |(late_v1, late_v2, (version_zero, unknown_version), ephemeral, origin_tags, restore_tagged)| Policy {
            late_v1,
            late_v2,
            version_zero,
            unknown_version,
            ephemeral,
            origin_tags,
            restore_tagged,
            early_encoding: false,
        },
    )
}

fn nonces() -> impl Strategy<Value = u64> {
    let tag = (any::<bool>(), any::<bool>(), option::of(0..1_000_000_000_u32)).prop_map(|(exact, wrapped, nanos)| {
        MessageOrigin { exact: exact && nanos.is_some(), ephemeral: false, wrapped, nanos }.to_nonce()
    });
    prop_oneof![0..100_u64, any::<u64>(), tag]
}

fn metas() -> impl Strategy<Value = Meta> {
    let tag = (-40..400_i64, 0..500_u32, nonces()).prop_map(|(expiry_in, ttl, nonce)| {
        let expiry = u32::try_from(START_SECS.checked_add_signed(expiry_in).unwrap()).unwrap();
        EnvelopeOrigin { expiry, ttl, nonce }.to_meta()
    });
    prop_oneof![Just(Meta::default()), tag, vec(any::<u8>(), 0..64).prop_map(|bytes| Meta::new(bytes).unwrap())]
}

fn messages() -> impl Strategy<Value = WakuMessage> {
    let topics =
        select(vec!["/waku/1/0x1a2b3c4d/rfc26", "/waku/1/1A2B3C4D/rfc26", "/waku/1/0x1a/rfc26", "/other/1/x/proto"]);
    let near = (-400_000..40_000_i64).prop_map(|millis| (START_SECS as i64 * 1_000 + millis) * 1_000_000);
    let timestamps = option::weighted(0.9, prop_oneof![9 => near, 1 => any::<i64>()]);
    (0..4_u8, topics, 0..3_u32, timestamps, metas(), any::<bool>()).prop_map(
        |(data, topic, version, timestamp, meta, ephemeral)| WakuMessage {
            payload: Bytes::from(vec![data]),
            content_topic: ContentTopic::from(topic),
            version,
            timestamp: timestamp.filter(|nanos| *nanos != 0),
            meta,
            rate_limit_proof: None,
            ephemeral,
        },
    )
}

fn happenings() -> impl Strategy<Value = Happening> {
    let envelope = (-40..400_i64, 0..500_u32, 0..4_u8, nonces())
        .prop_map(|(expiry_in, ttl, data, nonce)| Happening::Envelope { expiry_in, ttl, data, nonce });
    prop_oneof![
        4 => envelope,
        4 => messages().prop_map(|message| Happening::Message(Box::new(message))),
        2 => (0..20_000_u64).prop_map(|millis| Happening::Pass { millis }),
        1 => (0..3_usize).prop_map(Happening::V1Peers),
        1 => (0..3_usize).prop_map(Happening::V2Peers),
        3 => any::<bool>().prop_map(Happening::Sealed),
        3 => any::<u8>().prop_map(Happening::Answered),
        3 => any::<bool>().prop_map(Happening::Kept),
        1 => option::of(-30_000_000_000..30_000_000_000_i64).prop_map(Happening::Skew),
    ]
}

fn happen(lone: &mut Lone, happening: Happening) -> bool {
    match happening {
        Happening::Envelope { expiry_in, ttl, data, nonce } => {
            let expiry = u32::try_from(START_SECS.checked_add_signed(expiry_in).unwrap()).unwrap();
            let envelope = Envelope::new(expiry, ttl, TOPIC, Bytes::from(vec![data]), nonce).unwrap();
            lone.hears_envelope(&Arc::new(envelope));
            return true;
        }
        Happening::Message(message) => {
            lone.hears(&message);
            return true;
        }
        Happening::Pass { millis } => lone.passes(Duration::from_millis(millis)),
        Happening::V1Peers(count) => lone.gains_v1_peer(count),
        Happening::V2Peers(count) => lone.gains_v2_peer(count),
        Happening::Sealed(found) => seal(lone, found),
        Happening::Answered(answer) => answer_one(lone, answer),
        Happening::Kept(written) => keep(lone, written),
        Happening::Skew(nanos) => lone.bridge.clock_skew(nanos),
    }
    false
}

fn seal(lone: &mut Lone, found: bool) {
    if lone.to_seal.is_empty() {
        return;
    }
    match found {
        true => lone.seals(),
        false => lone.seal_fails(SealError::Deadline),
    }
}

fn keep(lone: &mut Lone, written: bool) {
    if !lone.to_keep.is_empty() {
        let row = lone.keeps(written.then_some(()).ok_or(NotKept));
        assert!(!row.message.message.ephemeral && row.sent_nanos >= 0, "{row:?}");
    }
}

fn answer_one(lone: &mut Lone, answer: u8) {
    let refused = Answer::Refused(DropReason::PublishFailed);
    let answers = [ACCEPTED, ALREADY_THERE, Answer::Failed, Answer::Failed, Answer::Busy, refused];
    let chosen = answers[usize::from(answer) % answers.len()].clone();
    if answer >= 128 && !lone.published.is_empty() {
        lone.publish_is(if answer == u8::MAX { Answer::Unproven } else { chosen });
    } else if !lone.posted.is_empty() {
        lone.post_is(chosen);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_ends_once(
        policy in policies(),
        (small, archive, dry_run, memory_lost) in any::<(bool, bool, bool, bool)>(),
        standby in option::of(1..9_u64),
        happenings in vec(happenings(), 1..60),
    ) {
        let standby_after = standby.map(Duration::from_secs);
        let dry_run = dry_run && small;
        let mut config =
            Config { policy, min_pow: Pow::ZERO, archive, dry_run, memory_lost, standby_after, ..Config::default() };
        if small {
            (config.limits.max_jobs, config.limits.max_in_flight) = (3, 1);
        }
        let mut lone = Lone::new(config);
        let given = happenings.into_iter().map(|happening| happen(&mut lone, happening)).filter(|given| *given).count();
        for n in 0..1_000 {
            let waiting: usize = Direction::ALL.map(|direction| lone.bridge.depths().total(direction)).iter().sum();
            prop_assert_eq!(waiting + lone.reports.len(), given);
            if waiting == 0 { break; }
            seal(&mut lone, true);
            answer_one(&mut lone, 2);
            answer_one(&mut lone, 130);
            keep(&mut lone, true);
            // A tag may claim a time to live of years, and then it is tried as long.
            lone.passes(Duration::from_secs(if n < 500 { 1 } else { 10_000_000 }));
        }
        prop_assert_eq!(lone.reports.len(), given);
        for report in &lone.reports {
            if let Some(reason) = report.outcome.missed() {
                prop_assert!(reason.occurs(report.direction), "{} {}", reason, report.direction);
            }
            if let Outcome::Archived(reason) = report.outcome {
                prop_assert!(archive && reason.is_kept(report.direction), "{} {}", reason, report.direction);
            }
            prop_assert_eq!(matches!(report.outcome, Outcome::WouldCross { .. }), dry_run && report.outcome.missed().is_none());
        }
    }
}
