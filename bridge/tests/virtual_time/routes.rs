//! Tables of several routes: who takes what, at what rate, signed or not, and another table while things are on their way.

use std::{num::NonZeroU32, time::Duration};

use bridge::{
    Config, Direction, DropReason, Outcome,
    gaps::Outage,
    policy::Ways,
    router::{Route, Router, Signing, Topics},
};
use waku2::{
    ClusterId, PubsubTopic, Shard, WakuMessage,
    signed::{self, SigningKey},
};

use crate::support::{
    lone::{ACCEPTED, Lone},
    users::{TOPIC, envelope, message_now, received_on},
};

fn shard(index: u16) -> PubsubTopic {
    Shard { cluster: ClusterId(0), index }.into()
}

fn route(index: u16) -> Route {
    Route { name: index.to_string().into(), ..Route::everything(shard(index), Ways::Both) }
}

fn table(routes: Vec<Route>) -> Router {
    Router::table(routes).unwrap()
}

fn with(routes: Vec<Route>) -> Lone {
    Lone::with(|config: &mut Config| config.routes = table(routes))
}

fn key() -> SigningKey {
    "01".repeat(32).parse().unwrap()
}

/// Where the messages that were asked for go, in order.
fn published(lone: &Lone) -> Vec<PubsubTopic> {
    lone.published.iter().map(|(_, topic, _)| topic.clone()).collect()
}

#[test]
fn a_fan_out_is_one_message_and_one_report_a_route() {
    let mut lone =
        with(vec![Route { fanout: true, ..route(1) }, Route { fanout: true, ..route(2) }, route(3), route(4)]);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    assert_eq!(published(&lone), [shard(1), shard(2), shard(3)]);
    let messages: Vec<WakuMessage> = (0..3).map(|_| lone.publish_is(ACCEPTED)).collect();
    assert!(messages.iter().all(|message| *message == messages[0]));
    let reports = std::mem::take(&mut lone.reports);
    let told: Vec<_> = reports.iter().map(|report| report.route.as_deref().unwrap()).collect();
    assert_eq!(told, ["1", "2", "3"]);
    assert!(reports.iter().all(|report| report.envelope == reports[0].envelope));
    assert_ne!(reports[0].message, reports[1].message, "the pubsub topic is part of a message's hash");
    // It was all of it, and comes back from nowhere.
    lone.hears_envelope(&envelope(lone.secs(), 16, "x"));
    lone.is_dropped(DropReason::Duplicate);
    for (index, message) in [1, 2, 3].into_iter().zip(&messages) {
        lone.hears_received(&received_on(shard(index), message.encode()));
        lone.is_dropped(DropReason::Returning);
    }
}

#[test]
fn one_way_of_a_fan_out_that_fails_leaves_the_others() {
    let once = |index| Route { max_per_sec: NonZeroU32::new(1), fanout: true, ..route(index) };
    let mut lone = with(vec![once(1), Route { signing: Signing::NoKey, fanout: true, ..route(2) }, route(3)]);
    for data in ["x", "y"] {
        lone.hears_envelope(&envelope(lone.secs(), 15, data));
    }
    assert_eq!(published(&lone), [shard(1), shard(3), shard(3)]);
    let outcomes: Vec<_> = lone.reports.iter().map(|report| report.outcome).collect();
    let dropped = [DropReason::NoKey, DropReason::Rate, DropReason::NoKey].map(Outcome::Dropped);
    assert_eq!(outcomes, dropped);
}

#[test]
fn a_rate_lets_a_second_s_worth_through_each_way() {
    let mut lone = with(vec![Route { max_per_sec: NonZeroU32::new(2), ..route(0) }]);
    for n in 0..3_u8 {
        lone.hears_envelope(&envelope(lone.secs(), 15, vec![n]));
        lone.hears(&message_now(lone.now, vec![9, n]));
    }
    assert_eq!((lone.published.len(), lone.to_seal.len()), (2, 2));
    let reports = std::mem::take(&mut lone.reports);
    let told: Vec<_> = reports.iter().map(|report| (report.direction, report.outcome)).collect();
    assert_eq!(told, Direction::ALL.map(|way| (way, Outcome::Dropped(DropReason::Rate))));
    // What was too much is taken when it comes again later.
    lone.passes(Duration::from_secs(1));
    lone.hears_envelope(&envelope(lone.secs(), 15, vec![2_u8]));
    assert_eq!(lone.published.len(), 3);
}

#[test]
fn what_is_dropped_for_another_reason_uses_up_no_rate() {
    let mut lone = with(vec![Route { max_per_sec: NonZeroU32::new(1), ..route(0) }]);
    lone.hears_envelope(&envelope(lone.secs() - 21, 50, "late"));
    lone.is_dropped(DropReason::Late);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    assert_eq!(lone.published.len(), 1);
}

#[test]
fn a_signed_shard_gets_what_its_validators_take() {
    let mut lone = with(vec![Route { signing: Signing::With(Box::new(key())), ..route(0) }]);
    let sent = envelope(lone.secs(), 15, "x");
    lone.hears_envelope(&sent);
    let message = lone.publish_is(ACCEPTED);
    signed::verify(&key().verifying(), &shard(0), &message, lone.now.unix_nanos()).unwrap();
    assert_eq!((&message.payload, lone.is_crossed().envelope), (sent.data(), Some(sent.hash())));
    // The signature leaves no room for our tag: the memory alone knows it again.
    lone.hears(&message);
    lone.is_dropped(DropReason::Duplicate);
}

#[test]
fn without_a_key_a_signed_shard_only_gives() {
    let mut lone = with(vec![Route { signing: Signing::NoKey, ..route(0) }]);
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.is_dropped(DropReason::NoKey);
    lone.hears(&message_now(lone.now, "y"));
    lone.seals();
    lone.post_is(ACCEPTED);
    lone.is_crossed();
}

#[test]
fn with_another_table_what_is_on_its_way_arrives_and_what_follows_goes_by_the_new_one() {
    let mut lone = with(vec![route(1)]);
    let (before, after) = (envelope(lone.secs(), 15, "before"), envelope(lone.secs(), 15, "after"));
    lone.hears_envelope(&before);
    lone.bridge
        .set_routes(lone.now, table(vec![route(2), Route { topics: [TOPIC].into_iter().collect(), ..route(3) }]));
    lone.hears_envelope(&after);
    assert_eq!(published(&lone), [shard(1), shard(2)]);
    assert_eq!(lone.publish_is(ACCEPTED).payload, *before.data());
    assert_eq!(lone.is_crossed().route.as_deref(), Some("1"));
    assert_eq!(lone.publish_is(ACCEPTED).payload, *after.data());
    assert_eq!(lone.is_crossed().route.as_deref(), Some("2"));
    lone.hears_received(&received_on(shard(1), message_now(lone.now, "y").encode()));
    lone.is_dropped(DropReason::NoRoute);
    lone.hears_received(&received_on(shard(3), message_now(lone.now, "y").encode()));
    assert_eq!(lone.to_seal.len(), 1);
}

#[test]
fn peers_of_a_topic_that_a_later_table_bridges_are_known() {
    let mut lone = with(vec![route(1)]);
    lone.bridge.v2_peers(lone.now, &shard(2), 3);
    assert_eq!(lone.bridge.peers().1, 0);
    lone.bridge.set_routes(lone.now, table(vec![route(2)]));
    assert_eq!(lone.bridge.peers().1, 3);
    lone.bridge.v2_peers(lone.now, &shard(2), 0);
    assert_eq!(lone.bridge.peers().1, 0);
}

#[test]
fn a_route_of_some_topics_leaves_the_others() {
    let some = |topics: Topics| with(vec![Route { topics, ..route(0) }]);
    let mut lone = some([TOPIC].into_iter().collect());
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    assert_eq!(published(&lone), [shard(0)]);
    let mut lone = some([waku0::Topic([0; 4])].into_iter().collect());
    lone.hears_envelope(&envelope(lone.secs(), 15, "x"));
    lone.is_dropped(DropReason::NoRoute);
    lone.hears(&message_now(lone.now, "y"));
    lone.is_dropped(DropReason::NoRoute);
}

#[test]
fn gaps_are_told_by_route_and_direction() {
    let mut lone = Lone::with(|config| {
        let everything = |n: u16, ways| Route { ways, ..route(n) };
        config.routes = table(vec![everything(0, Ways::Both), everything(1, Ways::V2ToV1)]);
    });
    let start = lone.secs();
    lone.gains_v1_peer(0);
    lone.passes(Duration::from_secs(10));
    lone.gains_v1_peer(2);
    lone.passes(Duration::from_secs(5));
    lone.gains_v2_peer(1);
    lone.gains_v1_peer(0);
    let outage = |from: u64, to: Option<u64>| Outage { from: start + from, to: to.map(|to| start + to) };
    let gaps: Vec<_> =
        lone.bridge.new_gaps().unwrap().into_iter().map(|gap| (gap.route, gap.direction, gap.outages)).collect();
    let v1_was_away = vec![outage(0, Some(10)), outage(15, None)];
    let expected = [
        ("0".into(), Direction::V1ToV2, vec![outage(0, Some(15))]),
        ("0".into(), Direction::V2ToV1, v1_was_away.clone()),
        ("1".into(), Direction::V2ToV1, v1_was_away),
    ];
    assert_eq!(gaps, expected);
    assert_eq!(lone.bridge.new_gaps(), None);
}
