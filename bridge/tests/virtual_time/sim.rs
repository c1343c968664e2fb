//! Whole networks: thousands of envelopes and messages, one and two bridges, ours and old ones, everything at random times.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    time::Duration,
};

use bridge::{Config, Direction, DropReason, Outcome, mapping, policy::Switch};
use bytes::Bytes;
use rand::RngExt;
use waku0::EnvelopeHash;
use waku2::MessageHash;

use crate::support::{
    START_SECS, for_seeds,
    users::{envelope, message, pubsub},
    world::World,
};

/// Of each kind, in the tests that say "many".
const MANY: usize = 2_000;
/// Of each kind, in the test that counts in earnest.
const TEN_THOUSAND: usize = 10_000;
/// Over how long users send, in milliseconds.
const SENDING_MILLIS: u64 = 60_000;
/// How long things take to reach most bridges, in milliseconds.
const NEAR: Range<u64> = 1..400;

/// What users sent.
struct Sent {
    envelopes: HashSet<EnvelopeHash>,
    messages: HashSet<MessageHash>,
}

/// Users send `count` envelopes into v1 network 0 and as many messages into v2 network 0, all different.
fn users_send(world: &mut World, count: usize) -> Sent {
    users_send_versions(world, count, 0.2)
}

/// The same, with so many of the messages of version 0.
fn users_send_versions(world: &mut World, count: usize, version_zero: f64) -> Sent {
    let (mut envelopes, mut messages) = (HashSet::new(), HashSet::new());
    for n in 0..count {
        let at = Duration::from_millis(world.rng.random_range(0..SENDING_MILLIS));
        let sent = Duration::from_secs(START_SECS) + at;
        let mut data = format!("envelope {n} ").into_bytes();
        data.resize(world.rng.random_range(16..200), b'.');
        let envelope = envelope(sent.as_secs(), 15, data);
        envelopes.insert(envelope.hash());
        world.user_posts(at, 0, envelope);

        let at = Duration::from_nanos(world.rng.random_range(0..SENDING_MILLIS * 1_000_000));
        let mut message = message(Duration::from_secs(START_SECS) + at, format!("message {n}"));
        message.version = u32::from(!world.rng.random_bool(version_zero));
        message.ephemeral = world.rng.random_bool(0.1);
        messages.insert(waku2::hash::message_hash(&pubsub(), &message));
        world.user_publishes(at, 0, &message);
    }
    Sent { envelopes, messages }
}

/// How often each content stands in a v1 network, and in a v2 network.
fn copies(world: &World, v1: usize, v2: usize) -> (BTreeMap<Vec<u8>, usize>, BTreeMap<Vec<u8>, usize>) {
    let (mut on_v1, mut on_v2) = (BTreeMap::new(), BTreeMap::new());
    let plain = |data: &Bytes| mapping::unwrap(data).unwrap_or_else(|| data.clone()).to_vec();
    for envelope in world.v1[v1].values() {
        *on_v1.entry(plain(envelope.data())).or_default() += 1;
    }
    for message in world.messages(v2) {
        *on_v2.entry(plain(&message.payload)).or_default() += 1;
    }
    (on_v1, on_v2)
}

/// Each content once in each network: what users sent is unchanged, and what bridges made of it is one thing.
#[track_caller]
fn assert_each_once(world: &World, sent: &Sent) {
    let (on_v1, on_v2) = copies(world, 0, 0);
    let total = sent.envelopes.len() + sent.messages.len();
    assert_eq!((on_v1.len(), on_v2.len()), (total, total));
    assert_eq!((world.v1[0].len(), world.v2[0].len()), (total, total), "some stand there twice");
    assert!(sent.envelopes.iter().all(|hash| world.v1[0].contains_key(hash)));
    assert!(sent.messages.is_subset(&world.message_hashes(0)));
}

#[track_caller]
fn assert_one_report_each(world: &World) {
    for place in &world.places {
        assert_eq!(place.crossings.len(), place.given);
    }
}

#[test]
fn one_bridge_carries_each_once_and_nothing_back() {
    for_seeds(2, |seed| {
        let mut world = World::new(seed, 1, 1);
        world.join(0, 0, NEAR, Config::default());
        let sent = users_send(&mut world, MANY);
        world.run();
        assert_each_once(&world, &sent);
        assert_one_report_each(&world);
        assert_eq!((world.places[0].crossed(), world.places[0].given), (2 * MANY, 2 * MANY));
        assert_eq!(world.places[0].mined, MANY);
    });
}

#[test]
fn two_bridges_make_one_of_ten_thousand_each_and_nothing_crosses_back() {
    for_seeds(1, |seed| {
        let mut world = World::new(seed, 1, 1);
        world.max_events *= 4;
        for _ in 0..2 {
            world.join(0, 0, NEAR, Config::default());
        }
        let sent = users_send(&mut world, TEN_THOUSAND);
        world.run();
        assert_each_once(&world, &sent);
        assert_one_report_each(&world);
        // Whatever was first at a bridge, it is clear what it was.
        let known = [DropReason::Duplicate, DropReason::Returning];
        for place in &world.places {
            let dropped: usize = known.into_iter().map(|reason| place.dropped(reason)).sum();
            assert_eq!(place.crossed() + dropped, place.given);
        }
        assert!(world.places.iter().any(|place| place.dropped(DropReason::Returning) > 0), "no race was run");
    });
}

#[test]
fn three_bridges_of_different_speed_agree_too() {
    for_seeds(2, |seed| {
        let mut world = World::new(seed, 1, 1);
        for delay in [1..20, 1..2_000, 500..3_000] {
            world.join(0, 0, delay, Config::default());
        }
        let sent = users_send(&mut world, 500);
        world.run();
        assert_each_once(&world, &sent);
        assert_one_report_each(&world);
    });
}

fn without_tags() -> Config {
    let mut config = Config::default();
    config.policy.origin_tags = Switch::Off;
    config
}

/// Contents that our bridge carried, with how often each way.
fn carried(world: &World, place: usize) -> HashMap<EnvelopeHash, [usize; 2]> {
    let mut carried = HashMap::<_, [usize; 2]>::new();
    for crossing in &world.places[place].crossings {
        if let (Outcome::Crossed { .. }, Some(envelope)) = (crossing.outcome, crossing.envelope) {
            carried.entry(envelope).or_default()[crossing.direction as usize] += 1;
        }
    }
    carried
}

#[test]
fn beside_a_slower_bridge_without_tags_nothing_crosses_back() {
    for_seeds(2, |seed| {
        let mut world = World::new(seed, 1, 1);
        let ours = world.join(0, 0, 1..100, Config::default());
        // So that it hears what users sent before what ours made of it.
        let stripped = world.join(0, 0, 300..302, without_tags());
        let sent = users_send(&mut world, MANY);
        world.run();
        let (on_v1, on_v2) = copies(&world, 0, 0);
        let total = sent.envelopes.len() + sent.messages.len();
        assert_eq!((on_v1.len(), on_v2.len()), (total, total));
        // What users sent, and what each of the two bridges made of the other side's: they cannot agree without tags.
        assert!(on_v1.values().chain(on_v2.values()).all(|copies| *copies <= 2));
        assert_eq!(on_v1.values().filter(|copies| **copies == 2).count(), MANY);
        assert_one_report_each(&world);
        assert_eq!(world.places[ours].crossed(), 2 * MANY, "ours carried what users sent, and no more");
        assert_eq!(world.places[stripped].crossed(), 2 * MANY);
        assert!(carried(&world, ours).values().all(|ways| ways.iter().sum::<usize>() == 1));
    });
}

#[test]
fn beside_a_bridge_without_tags_nothing_grows_whoever_is_faster() {
    for_seeds(5, |seed| {
        let mut world = World::new(seed, 1, 1);
        world.join(0, 0, NEAR, Config::default());
        world.join(0, 0, NEAR, without_tags());
        users_send(&mut world, 400);
        world.run();
        let (on_v1, on_v2) = copies(&world, 0, 0);
        // The original, one copy of each bridge, and one that came round before the original did.
        assert!(on_v1.values().chain(on_v2.values()).all(|copies| *copies <= 3));
        assert_one_report_each(&world);
    });
}

#[test]
fn beside_a_bridge_of_2021_nothing_grows() {
    for_seeds(5, |seed| {
        let mut world = World::new(seed, 1, 1);
        let ours = world.join(0, 0, 1..100, Config::default());
        world.join_old(0, 0, 150..900);
        // What it makes of version 0 has other bytes than what we make of it, and another fingerprint.
        users_send_versions(&mut world, 400, 0.0);
        world.run();
        let (on_v1, on_v2) = copies(&world, 0, 0);
        // The original, ours, the old one's, and the old one's of ours: it forgets within seconds.
        assert!(on_v1.values().chain(on_v2.values()).all(|copies| *copies <= 3), "{:?}", on_v1.values().max());
        assert_eq!(world.places[ours].crossed(), 800, "ours carried what users sent, and no more");
        assert_one_report_each(&world);
    });
}

#[test]
#[should_panic(expected = "it never ends")]
fn two_bridges_of_2021_play_ball_for_ever() {
    // The control: these networks do show a loop where there is one.
    let mut world = World::new(1, 1, 1);
    for _ in 0..2 {
        world.join_old(0, 0, 400..1_500);
    }
    users_send(&mut world, 40);
    world.run();
}

#[test]
fn through_two_bridges_an_envelope_is_the_same_envelope_and_is_not_mined() {
    for_seeds(2, |seed| {
        // v1 network 0 and v1 network 1, joined only through v2.
        let mut world = World::new(seed, 2, 1);
        world.join(0, 0, NEAR, Config::default());
        let second = world.join(1, 0, NEAR, Config::default());
        let sent = users_send(&mut world, 500);
        world.run();
        assert!(sent.envelopes.iter().all(|hash| world.v1[1].contains_key(hash)));
        assert_eq!(world.v1[0], world.v1[1], "messages became the same envelopes on both sides");
        assert_eq!((world.v1[1].len(), world.v2[0].len()), (1_000, 1_000));
        assert_eq!(world.places[second].mined, 500, "what v2's own users sent, nothing else");
        assert_one_report_each(&world);
    });
}

#[test]
fn through_two_bridges_a_message_keeps_its_hash() {
    for_seeds(2, |seed| {
        // v2 network 0 and v2 network 1, joined only through v1.
        let mut world = World::new(seed, 1, 2);
        world.join(0, 0, NEAR, Config::default());
        let mut config = Config::default();
        config.policy.restore_tagged = Switch::On;
        let second = world.join(0, 1, NEAR, config);
        let sent = users_send(&mut world, 500);
        world.run();
        assert!(sent.messages.is_subset(&world.message_hashes(1)));
        assert_eq!(world.message_hashes(0), world.message_hashes(1));
        assert_eq!(world.v1[0].len(), 1_000);
        assert_eq!(world.places[second].mined, 0);
        assert_one_report_each(&world);
    });
}

#[test]
fn restoring_on_one_network_publishes_nothing_twice() {
    for_seeds(2, |seed| {
        let mut world = World::new(seed, 1, 1);
        let mut config = Config::default();
        config.policy.restore_tagged = Switch::On;
        for _ in 0..2 {
            world.join(0, 0, NEAR, config.clone());
        }
        let sent = users_send(&mut world, 300);
        world.run();
        assert_each_once(&world, &sent);
        assert_one_report_each(&world);
    });
}

#[test]
fn failing_attempts_delay_but_lose_nothing() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1, 1);
        for _ in 0..2 {
            let place = world.join(0, 0, NEAR, Config::default());
            world.places[place].failing = 4;
        }
        let sent = users_send(&mut world, 400);
        world.run();
        assert_each_once(&world, &sent);
        assert_one_report_each(&world);
    });
}

#[test]
fn what_was_sent_while_v2_was_gone_crosses_when_it_is_back() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1, 1);
        let place = world.join(0, 0, NEAR, Config::default());
        world.v2_peers_become(Duration::from_secs(20), place, 0);
        world.v2_peers_become(Duration::from_secs(35), place, 2);
        let sent = users_send(&mut world, 400);
        world.run();
        assert_each_once(&world, &sent);
        assert_one_report_each(&world);
    });
}

#[test]
fn what_v2_was_gone_too_long_for_is_told() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1, 1);
        let place = world.join(0, 0, NEAR, Config::default());
        world.v2_peers_become(Duration::from_secs(10), place, 0);
        world.v2_peers_become(Duration::from_secs(50), place, 2);
        users_send(&mut world, 400);
        world.run();
        let lost = world.places[place].dropped(DropReason::PublishFailed);
        // Twenty of sixty seconds' worth of envelopes, and only envelopes.
        assert!((80..190).contains(&lost), "{lost}");
        let failed =
            world.places[place].crossings.iter().filter(|c| c.outcome == Outcome::Dropped(DropReason::PublishFailed));
        assert!(failed.into_iter().all(|crossing| crossing.direction == Direction::V1ToV2));
        assert_eq!(world.places[place].crossed() + lost, 800);
        assert_one_report_each(&world);
    });
}

#[test]
fn an_overloaded_bridge_sheds_and_tells_and_keeps_its_bounds() {
    for_seeds(2, |seed| {
        let mut world = World::new(seed, 1, 1);
        let mut config = Config::default();
        (config.limits.max_jobs, config.limits.max_in_flight) = (10, 1);
        let place = world.join(0, 0, 200..2_000, config);
        users_send(&mut world, 400);
        world.run();
        assert!(world.places[place].dropped(DropReason::Shed) > 100);
        assert!(world.places[place].crossed() > 50);
        assert_one_report_each(&world);
    });
}
