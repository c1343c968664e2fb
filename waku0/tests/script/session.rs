//! How sessions begin, what they bear and how they end.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::network::{Network, START, TOPIC, bundle, easy, envelope, wanting};
use bytes::Bytes;
use proptest::prelude::*;
use waku0::{
    Envelope, Pow,
    fault::Fault,
    interest::Interest,
    limits::{Flow, Rates},
    node::Settings,
    packet::{Code, MAX_READ_BEFORE_STATUS},
    status::{RateLimits, StatusOptions},
    version::Version,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn status_goes_out_at_once_and_both_run_with_what_it_says() {
    let floor = Pow::new(0.5).unwrap();
    let limits = RateLimits { ip: 10, peer: 5, topic: 0 };
    let flow = |packets| Flow { packets, bytes: 0 };
    let rates = Rates { ip: flow(10), peer: flow(5), topic: 0, tolerance: 100 };
    let mut network = Network::new([Settings { rates, ..easy() }, Settings { min_pow: floor, ..wanting(&[TOPIC]) }]);
    let (at_a, at_b) = network.join(0, 1);
    assert_eq!(
        (network.stories[0].running.as_slice(), network.stories[1].running.as_slice()),
        (&[at_a][..], &[at_b][..])
    );
    let b = network.nodes[0].peer(at_a).unwrap();
    assert_eq!((b.min_pow, &b.interest), (floor, &Interest::topics(vec![TOPIC]).unwrap()));
    let a = network.nodes[1].peer(at_b).unwrap();
    assert_eq!((a.min_pow, &a.interest, a.rate_limits), (Pow::ZERO, &Interest::EVERYTHING, limits));
    assert_eq!(network.nodes[0].counters().peers.load(Relaxed), 1);
    network.cut(0, at_a);
    assert_eq!((network.stories[0].gone.as_slice(), network.stories[1].gone.as_slice()), (&[at_a][..], &[at_b][..]));
    assert_eq!(network.nodes[0].counters().peers.load(Relaxed), 0);
}

#[test]
fn our_status_has_the_form_of_status_go() {
    let min_pow = Pow::new(0.000_002).unwrap();
    let mut network = Network::new([Settings { min_pow, rates: Rates::NONE, ..Settings::default() }]);
    let conn = network.dial(0);
    let printed = format!("f85f80f85cca30883ec0c6f7a0b5ed8df84331b840{}c23280c23380c534c3808080", "ff".repeat(64));
    assert_eq!(network.heard[&(0, conn)], [(0, Bytes::from(hex::decode(printed).unwrap()))]);
}

#[test]
fn who_sends_no_status_is_left_after_ten_seconds() {
    let mut network = Network::new([easy()]);
    let conn = network.dial(0);
    network.pass(Duration::from_millis(9_999));
    assert!(network.left_with(0).is_empty());
    network.pass(Duration::from_millis(1));
    assert_eq!(network.stories[0].left, [(conn, Fault::NoStatus)]);
    assert_eq!(network.left_with(0), [0x10]);
    assert!(network.stories[0].running.is_empty() && network.stories[0].gone.is_empty());
}

#[test]
fn a_packet_before_status_ends_the_session_and_counts_for_nothing() {
    for code in [1, 11, 22, 60, 126, 127] {
        let mut network = Network::new([easy()]);
        let conn = network.dial(0);
        network.say_code(0, conn, code, bundle(&[envelope(TOPIC, 10, 1)]));
        assert_eq!(network.stories[0].left, [(conn, Fault::BeforeStatus(code))]);
        assert!(network.delivered(0).is_empty());
        // Whatever else was on its way is not read.
        network.say(0, conn, Code::Status, StatusOptions::default().encode_status(Version::Waku0));
        assert!(network.stories[0].running.is_empty());
    }
}

#[test]
fn a_bad_status_ends_the_session() {
    for (body, reason) in [("80", 0x02), ("c0", 0x02), ("c201c0", 0x10), ("cd80cbca30887ff8000000000001", 0x10)] {
        let mut network = Network::new([easy()]);
        let conn = network.dial(0);
        network.say(0, conn, Code::Status, hex::decode(body).unwrap().into());
        assert_eq!(network.left_with(0), [reason], "{body}");
    }
}

#[test]
fn bodies_are_short_before_status() {
    let mut network = Network::new([easy()]);
    let conn = network.dial(0);
    network.say(0, conn, Code::Status, vec![0; MAX_READ_BEFORE_STATUS + 1].into());
    assert!(matches!(network.stories[0].left[0].1, Fault::TooLong { .. }));
    assert_eq!(network.left_with(0), [0x02]);
    let crowd = StatusOptions { topics: Some(vec![TOPIC; 10_000]), ..Default::default() };
    let conn = network.dial_with(0, &crowd);
    assert_eq!(network.stories[0].running, [conn]);
}

#[test]
fn two_light_nodes_part() {
    let light = || Settings { light: true, ..easy() };
    let mut network = Network::new([light(), light()]);
    network.join(0, 1);
    let parted = [network.left_with(0), network.left_with(1)].concat();
    assert!(parted.contains(&0x03) && parted.iter().all(|reason| *reason == 0x03));

    let mut network = Network::new([light()]);
    let conn = network.dial_wanting_all(0);
    let now_light = StatusOptions { light: Some(true), ..Default::default() };
    network.say(0, conn, Code::StatusUpdate, now_light.encode_update(Version::Waku0));
    assert_eq!(network.stories[0].left, [(conn, Fault::BothLight)]);
}

#[test]
fn what_is_unknown_or_never_asked_for_is_ignored() {
    let mut network = Network::new([easy()]);
    let (conn, other) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let picky = StatusOptions { topics: Some(vec![]), ..Default::default() };
    network.say(0, conn, Code::Status, picky.encode_status(Version::Waku0)); // A second Status.
    let body = bundle(&[envelope(TOPIC, 10, 1)]);
    for code in [2, 3, 11, 12, 20, 21, 34, 123, 124, 125, 126, 127] {
        network.say_code(0, conn, code, body.clone());
        network.say_code(0, conn, code, Bytes::from_static(b"\xff\xff"));
    }
    assert!(network.delivered(0).is_empty() && network.left_with(0).is_empty());
    assert!(network.heard_envelopes(0, other).is_empty() && network.stories[0].direct.is_empty());
    let counters = network.nodes[0].counters();
    let ignored =
        [&counters.ignored_packets, &counters.answers_ignored, &counters.p2p_untrusted, &counters.requests_ignored];
    assert_eq!(ignored.map(|counter| counter.load(Relaxed)), [15, 4, 4, 2]);
    let e = envelope(TOPIC, 10, 2);
    network.post(0, e.clone()).unwrap();
    assert_eq!(network.heard_envelopes(0, conn), [[e.hash()]]);
}

#[test]
fn bodies_that_cannot_be_read_are_a_breach() {
    for (code, body) in [
        (Code::Messages, "ff"),
        (Code::Messages, "83616263"),
        (Code::Messages, ""),
        (Code::Messages, "c000"),
        (Code::StatusUpdate, "83616263"),
        (Code::StatusUpdate, "c3c23202"),
    ] {
        let mut network = Network::new([easy()]);
        let conn = network.dial_wanting_all(0);
        network.say(0, conn, code, hex::decode(body).unwrap().into());
        assert_eq!(network.left_with(0), [0x02], "{code:?} {body}");
        assert_eq!(network.stories[0].gone, [conn]);
    }
}

#[test]
fn an_update_with_a_bad_value_is_refused_as_in_status() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    network.say(0, conn, Code::StatusUpdate, hex::decode("cbca30887ff0000000000000").unwrap().into());
    assert_eq!(network.left_with(0), [0x10]);
}

#[test]
fn a_bad_envelope_costs_itself_and_the_good_ones_count() {
    let mut network = Network::new([easy(), easy()]);
    network.join(0, 1);
    let conn = network.dial_wanting_all(0);
    let good: Vec<_> = (0..2).map(|nonce| envelope(TOPIC, 10, nonce)).collect();
    // A TTL longer than the expiry would wrap around; a topic of three bytes is none.
    let wraps = hex::decode("cc0e0f846162636481ff82ffff").unwrap();
    let short_topic = hex::decode("ca820e100f836162638001").unwrap();
    let items = [good[0].raw().as_ref(), &wraps, b"\x83abc", &short_topic, good[1].raw()].concat();
    let body = [&[0xf8, items.len() as u8][..], &items].concat();
    network.say(0, conn, Code::Messages, body.into());
    assert_eq!(network.delivered(0), [good[0].hash(), good[1].hash()]);
    assert_eq!(network.delivered(1), network.delivered(0));
    assert_eq!((network.counted(0, "malformed"), network.left_with(0)), (3, vec![]));
}

#[test]
fn what_comes_before_a_broken_item_counts() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    let e = envelope(TOPIC, 10, 1);
    let body = [&[0xc0 + e.raw().len() as u8 + 2][..], e.raw(), b"\x84a"].concat();
    network.say(0, conn, Code::Messages, body.into());
    assert_eq!((network.delivered(0), network.left_with(0)), (vec![e.hash()], vec![0x02]));
}

#[test]
fn a_hundred_bad_envelopes_a_minute_are_too_many() {
    let bad = || Envelope::new(START + 300, 300, TOPIC, Bytes::new(), 0).unwrap();
    let mut network = Network::new([wanting(&[])]);
    let conn = network.dial_wanting_all(0);
    network.say(0, conn, Code::Messages, bundle(&vec![bad(); 99]));
    network.pass(59 * SECOND);
    assert!(network.left_with(0).is_empty());
    network.say(0, conn, Code::Messages, bundle(&[bad()]));
    assert_eq!(network.left_with(0), [0x10]);
    assert_eq!(network.counted(0, "not_wanted"), 100);

    let patient = network.dial_wanting_all(0);
    network.say(0, patient, Code::Messages, bundle(&vec![bad(); 99]));
    network.pass(60 * SECOND);
    network.say(0, patient, Code::Messages, bundle(&[bad()]));
    assert_eq!(network.left_with(0).len(), 1);
}

#[test]
fn an_envelope_that_lives_for_no_time_is_refused() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    let momentary = Envelope::new(START, 0, TOPIC, Bytes::new(), 0).unwrap();
    network.say(0, conn, Code::Messages, bundle(&[momentary]));
    assert_eq!((network.counted(0, "zero_ttl"), network.delivered(0)), (1, vec![]));
}

#[test]
fn a_clock_that_is_off_is_no_fault() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    let ahead = Envelope::new(START + 100, 1, TOPIC, Bytes::new(), 0).unwrap();
    network.say(0, conn, Code::Messages, bundle(&vec![ahead; 500]));
    assert_eq!((network.counted(0, "future"), network.left_with(0)), (500, vec![]));
}

#[test]
fn there_is_an_end_to_peers() {
    let mut network = Network::new([easy()]);
    let conns: Vec<_> = (0..=waku0::node::MAX_PEERS).map(|_| network.dial(0)).collect();
    assert_eq!(network.stories[0].left, [(*conns.last().unwrap(), Fault::TooManyPeers)]);
}

proptest! {
    #[test]
    fn no_packet_makes_a_node_panic(packets in proptest::collection::vec((0..=127u8, any::<Vec<u8>>(), any::<bool>()), 0..12)) {
        let mut network = Network::new([easy(), easy()]);
        network.join(0, 1);
        let conn = network.dial_wanting_all(0);
        for (code, body, known) in packets {
            let code = if known { Code::ALL[usize::from(code) % Code::ALL.len()].number() } else { code };
            network.say_code(0, conn, code, body.into());
        }
        network.pass(SECOND);
        prop_assert!(network.nodes[0].peer(conn).is_some() == network.stories[0].left.is_empty());
        prop_assert!(network.stories[1].left.is_empty());
    }
}
