//! Settings that change while a node runs, and light nodes.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use devp2p::ConnId;
use proptest::prelude::*;
use waku0::{
    Pow, Topic,
    admit::Refusal,
    bloom::Bloom,
    fault::Fault,
    interest::{Interest, MAX_TOPICS},
    limits::Rates,
    node::{Change, PostError, Settings, UPDATE_DELAY},
    packet::Code,
    status::{RateLimits, StatusOptions},
    version::Version,
};

use super::network::{Network, TOPIC, bundle, easy, envelope, unlimited, wanting};

const SECOND: Duration = Duration::from_secs(1);

fn updates(network: &Network, conn: ConnId) -> Vec<StatusOptions> {
    let bodies = network.heard_bodies(0, conn, Code::StatusUpdate);
    bodies.iter().map(|body| StatusOptions::decode_update(Version::Waku0, body).unwrap()).collect()
}

fn pow(value: f64) -> Pow {
    Pow::new(value).unwrap()
}

fn only(topic: Topic) -> Interest {
    Interest::topics(vec![topic]).unwrap()
}

#[test]
fn r_035_each_change_is_told_to_every_running_peer_and_nothing_else_is() {
    let bloom = Bloom::from_iter([TOPIC]);
    let changes = [
        (Change::MinPow(pow(0.5)), StatusOptions { pow: Some(pow(0.5)), ..Default::default() }),
        (Change::Interest(only(TOPIC)), StatusOptions { topics: Some(vec![TOPIC]), ..Default::default() }),
        (Change::Interest(Interest::Bloom(bloom)), StatusOptions { bloom: Some(bloom), ..Default::default() }),
        (Change::Light(true), StatusOptions { light: Some(true), ..Default::default() }),
        (Change::Confirmations(true), StatusOptions { confirmations: Some(true), ..Default::default() }),
        (Change::Rates(Rates::NONE), StatusOptions { rate_limits: Some(RateLimits::default()), ..Default::default() }),
    ];
    let mut network = Network::new([easy()]);
    let conns = [network.dial_wanting_all(0), network.dial_wanting_all(0)];
    let mut expected = Vec::new();
    for (change, told) in changes {
        network.change(0, change.clone());
        network.pass(UPDATE_DELAY);
        network.change(0, change); // To what it is already.
        network.pass(UPDATE_DELAY);
        expected.push(told);
        conns.iter().for_each(|conn| assert_eq!(updates(&network, *conn), expected));
    }
    assert_eq!(network.nodes[0].counters().updates_sent.load(Relaxed), 12);
    let bodies = conns.map(|conn| network.heard_bodies(0, conn, Code::StatusUpdate)[0].as_ptr());
    assert_eq!(bodies[0], bodies[1], "encoded once");
}

#[test]
fn r_053_limits_that_change_are_told() {
    let mut network = Network::new([easy(), easy()]);
    let (_, at_b) = network.join(0, 1);
    let rates = Rates { topic: 7, ..Rates::default() };
    network.change(0, Change::Rates(rates));
    network.pass(UPDATE_DELAY);
    assert_eq!(network.nodes[1].peer(at_b).unwrap().rate_limits, rates.announced());
}

#[test]
fn changes_within_a_tenth_of_a_second_share_a_packet_and_an_undone_one_is_told_to_nobody() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    network.change(0, Change::MinPow(pow(0.5)));
    network.pass(Duration::from_millis(60));
    network.change(0, Change::Interest(only(TOPIC)));
    network.change(0, Change::MinPow(pow(0.25)));
    network.pass(Duration::from_millis(39));
    assert_eq!(updates(&network, conn), []);
    network.pass(Duration::from_millis(1));
    let both = StatusOptions { pow: Some(pow(0.25)), topics: Some(vec![TOPIC]), ..Default::default() };
    assert_eq!(updates(&network, conn), [both]);
    network.change(0, Change::MinPow(pow(0.75)));
    network.change(0, Change::Light(true));
    network.pass(Duration::from_millis(50));
    network.change(0, Change::MinPow(pow(0.25)));
    network.change(0, Change::Light(false));
    network.pass(SECOND);
    assert_eq!(updates(&network, conn).len(), 1);
}

#[test]
fn who_connects_amid_a_change_is_told_once() {
    let mut network = Network::new([easy()]);
    let early = network.dial(0);
    network.change(0, Change::MinPow(pow(0.5)));
    let late = network.dial_wanting_all(0);
    network.pass(SECOND);
    // The late one knows it from the Status; the early one was told something else there.
    assert_eq!(updates(&network, late), []);
    network.say(0, early, Code::Status, StatusOptions::default().encode_status(Version::Waku0));
    network.pass(UPDATE_DELAY);
    assert_eq!(updates(&network, early), [StatusOptions { pow: Some(pow(0.5)), ..Default::default() }]);
}

#[test]
fn peers_go_by_what_they_are_told() {
    let mut network = Network::new([easy(), easy()]);
    network.join(0, 1);
    network.change(1, Change::Interest(only(Topic(*b"othr"))));
    network.pass(UPDATE_DELAY);
    assert_eq!(network.post(0, envelope(TOPIC, 10, 1)).unwrap().sent_to, 0);
    network.change(1, Change::Interest(only(TOPIC)));
    network.pass(SECOND);
    assert_eq!(network.delivered(1), [envelope(TOPIC, 10, 1).hash()]);
    network.change(1, Change::MinPow(pow(1e9)));
    network.pass(UPDATE_DELAY);
    assert_eq!(network.post(0, envelope(TOPIC, 10, 2)).unwrap().sent_to, 0);
}

#[test]
fn the_former_values_are_tolerated_for_ten_seconds() {
    let mut network = Network::new([wanting(&[TOPIC])]);
    let conn = network.dial_wanting_all(0);
    network.change(0, Change::Interest(only(Topic(*b"othr"))));
    network.change(0, Change::MinPow(pow(1e9)));
    network.pass(9 * SECOND);
    let during = envelope(TOPIC, 10, 1);
    network.say(0, conn, Code::Messages, bundle([&during]));
    assert_eq!((network.delivered(0), network.counted(0, "not_wanted")), (vec![during.hash()], 0));
    network.pass(2 * SECOND);
    network.say(0, conn, Code::Messages, bundle([&envelope(TOPIC, 10, 2)]));
    assert_eq!(network.counted(0, "low_pow"), 1);
    network.change(0, Change::MinPow(Pow::ZERO));
    network.say(0, conn, Code::Messages, bundle([&envelope(TOPIC, 10, 2)]));
    assert_eq!(network.counted(0, "not_wanted"), 1);
    assert_eq!(network.post(0, envelope(TOPIC, 10, 3)), Err(PostError::Refused(Refusal::NotWanted)));
}

#[test]
fn r_013_ten_thousand_topics_are_announced_and_one_more_ends_the_session() {
    let topics = |count: usize| (0..count as u32).map(|n| Topic(n.to_be_bytes())).collect::<Vec<_>>();
    let mut network = Network::new([easy(), easy()]);
    let (at_a, at_b) = network.join(0, 1);
    network.change(0, Change::Interest(Interest::topics(topics(MAX_TOPICS)).unwrap()));
    network.pass(UPDATE_DELAY);
    let Interest::Topics(known) = &network.nodes[1].peer(at_b).unwrap().interest else { panic!() };
    assert_eq!(known.as_slice(), topics(MAX_TOPICS));
    assert!(network.nodes[0].peer(at_a).is_some());
    let conn = network.dial_wanting_all(0);
    let crowd = StatusOptions { topics: Some(topics(MAX_TOPICS + 1)), ..Default::default() };
    network.say(0, conn, Code::StatusUpdate, crowd.encode_update(Version::Waku0));
    assert_eq!(network.left_with(0), [0x10]);
}

#[test]
fn r_033_an_update_without_options_changes_nothing() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting(0, &[TOPIC]);
    let before = network.nodes[0].peer(conn).cloned();
    network.say(0, conn, Code::StatusUpdate, StatusOptions::default().encode_update(Version::Waku0));
    assert_eq!(network.nodes[0].peer(conn).cloned(), before);
    assert!(before.is_some());
}

#[test]
fn r_041_bloom_and_topics_replace_each_other_and_topics_win() {
    let (a, b) = (Topic(*b"aaaa"), Topic(*b"bbbb"));
    let bloom = Some(Bloom::from_iter([b]));
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting(0, &[a]);
    let wants = |network: &Network| {
        let peer = network.nodes[0].peer(conn).unwrap();
        [a, b].map(|topic| peer.wants(topic, Pow::ZERO))
    };
    let update = |network: &mut Network, options: StatusOptions| {
        network.say(0, conn, Code::StatusUpdate, options.encode_update(Version::Waku0));
    };
    assert_eq!(wants(&network), [true, false]);
    update(&mut network, StatusOptions { bloom, ..Default::default() });
    assert_eq!(wants(&network), [false, true]);
    update(&mut network, StatusOptions { bloom, topics: Some(vec![a]), ..Default::default() });
    assert_eq!(wants(&network), [true, false]);
    for nothing in [
        StatusOptions { topics: Some(vec![]), ..Default::default() },
        StatusOptions { bloom: Some(Bloom::EMPTY), ..Default::default() },
    ] {
        update(&mut network, nothing);
        assert_eq!(wants(&network), [false, false]);
    }
    update(&mut network, StatusOptions { bloom: Some(Bloom::FULL), ..Default::default() });
    assert_eq!(wants(&network), [true, true]);
}

#[test]
fn r_067_a_node_that_turns_light_forwards_nothing_more_and_what_it_missed_when_it_turns_back() {
    let mut network = Network::new([unlimited()]);
    let sender = network.dial_wanting_all(0);
    let slow = {
        let limits = Some(RateLimits { ip: 0, peer: 1, topic: 0 });
        network.dial_with(0, &StatusOptions { pow: Some(Pow::ZERO), rate_limits: limits, ..Default::default() })
    };
    let [first, waiting, own, later] = [1, 2, 3, 4].map(|nonce| envelope(TOPIC, 10, nonce));
    network.say(0, sender, Code::Messages, bundle([&first]));
    network.say(0, sender, Code::Messages, bundle([&waiting]));
    network.change(0, Change::Light(true));
    network.say(0, sender, Code::Messages, bundle([&later]));
    network.post(0, own.clone()).unwrap();
    network.pass(5 * SECOND);
    assert_eq!(network.heard_envelopes(0, slow).concat(), [first.hash(), own.hash()]);
    assert_eq!(network.delivered(0).len(), 3, "what comes in is taken all the same");
    network.change(0, Change::Light(false));
    network.pass(5 * SECOND);
    let mut heard = network.heard_envelopes(0, slow).concat()[2..].to_vec();
    heard.sort_unstable();
    let mut missed = vec![waiting.hash(), later.hash()];
    missed.sort_unstable();
    assert_eq!(heard, missed);
}

#[test]
fn r_069_two_that_are_light_part_whichever_turned() {
    let light = || Settings { light: true, ..easy() };
    let mut network = Network::new([easy(), light(), easy()]);
    let (to_light, _) = network.join(0, 1);
    let (to_full, _) = network.join(0, 2);
    network.change(0, Change::Light(true));
    network.settle();
    assert_eq!(network.stories[0].left, [(to_light, Fault::BothLight)]);
    assert_eq!(network.left_with(0), [0x03]);
    assert!(network.nodes[0].peer(to_full).is_some());
    // The other turns light while the two talk: whoever hears of it leaves.
    network.change(2, Change::Light(true));
    network.pass(UPDATE_DELAY);
    assert_eq!([network.left_with(0), network.left_with(2)].concat(), [0x03, 0x03]);
}

#[test]
fn r_070_peers_that_claim_to_be_light_and_relay_are_tolerated() {
    let mut network = Network::new([easy()]);
    let options = StatusOptions { pow: Some(Pow::ZERO), light: Some(true), ..Default::default() };
    let (light, other) = (network.dial_with(0, &options), network.dial_wanting_all(0));
    assert!(network.nodes[0].peer(light).unwrap().light);
    let e = envelope(TOPIC, 10, 1);
    network.say(0, light, Code::Messages, bundle([&e]));
    assert_eq!((network.heard_envelopes(0, other), network.left_with(0)), (vec![vec![e.hash()]], vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However settings change, a peer that reads every update ends up with what holds, and none tells it what it knew.
    #[test]
    fn r_034_updates_add_up(steps in proptest::collection::vec((0..5u8, 0..4u8, 0..150u64), 1..40)) {
        let mut network = Network::new([unlimited(), unlimited()]);
        let (_, at_b) = network.join(0, 1);
        let conn = network.dial_wanting_all(0);
        for (kind, value, wait) in steps {
            let change = match kind {
                0 => Change::MinPow(pow(f64::from(value))),
                1 => Change::Interest(only(Topic([value; 4]))),
                2 => Change::Interest(Interest::Bloom(Bloom::from_iter([Topic([value; 4])]))),
                3 => Change::Confirmations(value % 2 == 0),
                _ => Change::Rates(Rates { topic: value.into(), ..Rates::NONE }),
            };
            network.change(0, change);
            network.pass(Duration::from_millis(wait));
        }
        network.pass(UPDATE_DELAY);
        let newcomer = network.dial(0);
        let status = StatusOptions::decode_status(Version::Waku0, &network.heard[&(0, newcomer)][0].1).unwrap();
        let mut expected = network.nodes[1].peer(at_b).unwrap().clone();
        expected.apply(status).unwrap();
        prop_assert_eq!(network.nodes[1].peer(at_b).unwrap(), &expected);
        let told = updates(&network, conn);
        for pair in told.windows(2) {
            prop_assert!(pair[1] != StatusOptions::default());
        }
    }
}
