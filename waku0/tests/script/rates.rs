//! How much peers may send, and how much they are sent.

use std::{net::IpAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use devp2p::ConnId;
use proptest::prelude::*;
use waku0::{
    Envelope, Pow, Topic,
    fault::Fault,
    limits::{Flow, Meter, Rates},
    node::{Change, Settings},
    packet::Code,
    pool::PoolLimits,
    status::{RateLimits, StatusOptions},
    version::Version,
};

use super::network::{Network, START, TOPIC, bundle, easy, envelope, node_id, remote, unlimited};

const SECOND: Duration = Duration::from_secs(1);

fn flow(packets: u32) -> Flow {
    Flow { packets, bytes: 0 }
}

/// A node that takes ten packets a second from a peer, fifteen from an address, and twenty envelopes of a topic.
fn strict() -> Settings {
    let rates = Rates { peer: flow(10), ip: flow(15), topic: 20, tolerance: 5 };
    Settings { rates, ..easy() }
}

fn empty() -> Bytes {
    Bytes::from_static(&[0xc0])
}

fn limits(ip: u64, peer: u64, topic: u64) -> StatusOptions {
    let rate_limits = Some(RateLimits { ip, peer, topic });
    StatusOptions { pow: Some(Pow::ZERO), rate_limits, ..Default::default() }
}

/// The most that was heard within a second, wherever it begins.
fn most_in_a_second(at: &[u64]) -> usize {
    let within = |from: &u64| at.iter().filter(|at| *at >= from && **at < from + 1_000).count();
    at.iter().map(within).max().unwrap_or(0)
}

/// When a script heard packets, without the Status.
fn heard_at(network: &Network, conn: ConnId) -> Vec<u64> {
    network.heard_at[&(0, conn)][1..].to_vec()
}

#[test]
fn r_052_a_flooder_is_left_when_its_excess_reaches_the_tolerance() {
    let mut network = Network::new([strict()]);
    let (flooder, quiet) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    // Five seconds' worth, then the tolerance; whatever the code, and nothing is dropped on the way.
    let mut heard = Vec::new();
    for nonce in 0..54 {
        let e = envelope(Topic([nonce; 4]), 10, u64::from(nonce));
        network.say(0, flooder, Code::Messages, bundle([&e]));
        heard.push(e.hash());
    }
    assert!(network.left_with(0).is_empty());
    assert_eq!(network.delivered(0), heard);
    network.say_code(0, flooder, 99, empty());
    assert_eq!(network.stories[0].left, [(flooder, Fault::OverRate(Meter::PeerPackets))]);
    assert_eq!(network.left_with(0), [0x10]);
    let counters = network.nodes[0].counters();
    assert_eq!((counters.excess.of(Meter::PeerPackets), counters.over_rate.load(Relaxed)), (5, 1));
    assert_eq!(network.heard_envelopes(0, quiet).concat(), heard);
}

#[test]
fn r_049_excess_decays_and_the_rate_itself_is_free() {
    let mut network = Network::new([strict()]);
    let conn = network.dial_wanting_all(0);
    for _ in 0..50 {
        network.say(0, conn, Code::Messages, empty());
    }
    for _ in 0..100 {
        network.pass(Duration::from_millis(500));
        // Five tokens have come, and a sixth packet is one of excess; half of one decays.
        (0..5).for_each(|_| network.say(0, conn, Code::Messages, empty()));
    }
    assert!(network.left_with(0).is_empty());
    for _ in 0..4 {
        network.pass(SECOND);
        (0..11).for_each(|_| network.say(0, conn, Code::Messages, empty()));
    }
    assert!(network.left_with(0).is_empty(), "one a second decays as it comes");
    network.pass(SECOND);
    (0..15).for_each(|_| network.say(0, conn, Code::Messages, empty()));
    assert_eq!(network.left_with(0), [0x10]);
}

#[test]
fn r_050_an_address_is_one_for_all_its_connections() {
    let mut network = Network::new([strict()]);
    let ip: IpAddr = [192, 0, 2, 1].into();
    let status = StatusOptions::default().encode_status(Version::Waku0);
    let conns: Vec<_> = (0..2).map(|_| network.dial_from(0, Some(ip))).collect();
    conns.iter().for_each(|conn| network.say(0, *conn, Code::Status, status.clone()));
    // Neither is above its own rate; together they are.
    for _ in 0..37 {
        conns.iter().for_each(|conn| network.say(0, *conn, Code::Messages, empty()));
    }
    assert!(network.left_with(0).is_empty());
    for _ in 0..5 {
        network.say(0, conns[0], Code::Messages, empty());
    }
    network.say(0, conns[0], Code::Messages, empty());
    assert_eq!(network.stories[0].left, [(conns[0], Fault::OverRate(Meter::IpPackets))]);
    // Dialling again is no way out.
    let again = network.dial_from(0, Some(ip));
    network.say(0, again, Code::Status, status);
    (0..5).for_each(|_| network.say(0, again, Code::Messages, empty()));
    assert_eq!(network.left_with(0).len(), 2);
}

#[test]
fn r_050_a_topic_has_its_share_of_each_peer() {
    let mut network = Network::new([strict()]);
    let (flooder, other) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let batch = |from: u64, count: u64| (from..from + count).map(|n| envelope(TOPIC, 10, n)).collect::<Vec<_>>();
    network.say(0, flooder, Code::Messages, bundle(&batch(0, 104)));
    assert!(network.left_with(0).is_empty());
    network.say(0, flooder, Code::Messages, bundle(&batch(104, 1)));
    assert_eq!(network.stories[0].left, [(flooder, Fault::OverRate(Meter::TopicEnvelopes))]);
    // The flooder has not used up the topic for anyone else.
    network.say(0, other, Code::Messages, bundle(&batch(200, 100)));
    assert_eq!((network.left_with(0).len(), network.delivered(0).len()), (1, 204));
}

#[test]
fn r_050_bytes_are_limited_too() {
    let peer = Flow { packets: 0, bytes: 64 << 10 };
    let rates = Rates { peer, tolerance: 5, ..Rates::NONE };
    let mut network = Network::new([Settings { rates, ..easy() }]);
    let conn = network.dial_wanting_all(0);
    let of_64_kib = |nonce| bundle([&envelope(TOPIC, 64 << 10, nonce)]);
    (0..9).for_each(|nonce| network.say(0, conn, Code::Messages, of_64_kib(nonce)));
    assert!(network.left_with(0).is_empty());
    network.say(0, conn, Code::Messages, of_64_kib(9));
    assert_eq!(network.stories[0].left, [(conn, Fault::OverRate(Meter::PeerBytes))]);
}

#[test]
fn r_051_who_is_on_the_whitelist_or_trusted_is_never_left() {
    let first = ConnId(2);
    let entries = [remote(first).ip.to_string(), node_id(ConnId(3)).to_string()];
    let whitelist = entries.iter().map(|entry| entry.parse().unwrap()).collect();
    let mut network = Network::new([Settings { whitelist, ..strict() }]);
    let conns: Vec<_> = (0..4).map(|_| network.dial_wanting_all(0)).collect();
    assert_eq!(conns[0], first);
    let now = network.now;
    assert!(network.nodes[0].trust(now, conns[2], true));
    for conn in &conns {
        (0..500).for_each(|_| network.say(0, *conn, Code::Messages, empty()));
    }
    let left: Vec<_> = network.stories[0].left.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(left, [conns[3]]);
    assert!(network.nodes[0].counters().excess.of(Meter::PeerPackets) > 1_000);
    let now = network.now;
    network.nodes[0].trust(now, conns[2], false);
    network.say(0, conns[2], Code::Messages, empty());
    assert_eq!(network.left_with(0).len(), 2);
}

#[test]
fn none_switches_it_off_also_at_run_time() {
    let mut network = Network::new([unlimited(), strict()]);
    for node in 0..2 {
        let conn = network.dial_wanting_all(node);
        network.change(node, Change::Rates(Rates::NONE));
        (0..5_000).for_each(|_| network.say(node, conn, Code::Messages, empty()));
        assert!(network.left_with(node).is_empty());
    }
}

#[test]
fn r_054_limits_are_announced_in_status() {
    let mut network = Network::new([Settings::default(), unlimited()]);
    for (node, expected) in [(0, [200, 100, 200]), (1, [0, 0, 0])] {
        let conn = network.dial(node);
        let status = StatusOptions::decode_status(Version::Waku0, &network.heard[&(node, conn)][0].1).unwrap();
        let RateLimits { ip, peer, topic } = status.rate_limits.unwrap();
        assert_eq!([ip, peer, topic], expected);
    }
}

#[test]
fn r_055_a_peer_that_wants_five_packets_a_second_never_gets_a_sixth() {
    let mut network = Network::new([unlimited()]);
    let (limited, free) = (network.dial_with(0, &limits(0, 5, 0)), network.dial_wanting_all(0));
    let mut posted = Vec::new();
    for nonce in 0..200 {
        posted.push(network.post(0, envelope(TOPIC, 10, nonce)).unwrap().hash);
        network.pass(Duration::from_millis(37));
    }
    network.pass(3 * SECOND);
    assert_eq!(network.heard_envelopes(0, limited).concat(), posted);
    assert_eq!(most_in_a_second(&heard_at(&network, limited)), 5);
    // The first five at once, and then as many as the rate allows.
    assert_eq!(heard_at(&network, limited)[..5], [0, 37, 74, 111, 148]);
    assert!(heard_at(&network, limited).len() >= 33);
    assert_eq!(network.heard_envelopes(0, free).len(), 200);
}

#[test]
fn r_056_what_exceeds_the_rate_shares_packets_and_the_lower_limit_counts() {
    let mut network = Network::new([unlimited()]);
    let sender = network.dial_wanting_all(0);
    let limited = network.dial_with(0, &limits(1, 10, 0));
    let batches: Vec<Vec<_>> = (0..10).map(|b| (0..10).map(|n| envelope(TOPIC, 10, b * 10 + n)).collect()).collect();
    batches.iter().for_each(|batch| network.say(0, sender, Code::Messages, bundle(batch)));
    network.pass(3 * SECOND);
    let packets: Vec<_> = network.heard_envelopes(0, limited).iter().map(Vec::len).collect();
    assert_eq!(packets, [10, 90]);
}

#[test]
fn updates_and_answers_draw_on_the_same_rate() {
    let mut network = Network::new([Settings { confirmations: true, ..unlimited() }]);
    let conn = network.dial_with(0, &limits(0, 3, 0));
    for n in 0..60_u32 {
        network.say(0, conn, Code::Messages, bundle([&envelope(TOPIC, 10, n.into())]));
        network.post(0, envelope(TOPIC, 20, n.into())).unwrap();
        network.change(0, Change::MinPow(Pow::new(f64::from(n % 7) / 1e9).unwrap()));
        network.pass(Duration::from_millis(130));
    }
    network.pass(60 * SECOND);
    assert_eq!(most_in_a_second(&heard_at(&network, conn)), 3);
    let heard = |code| network.heard_bodies(0, conn, code).len();
    assert!(heard(Code::StatusUpdate) >= 5);
    assert_eq!(heard(Code::BatchAck), heard(Code::MessageResponse));
    assert!(heard(Code::BatchAck) >= 10);
    assert_eq!(network.heard_envelopes(0, conn).concat().len(), 60);
    let counters = network.nodes[0].counters();
    let (sent, shed) = (counters.batches_confirmed.load(Relaxed), counters.confirmations_shed.load(Relaxed));
    assert_eq!((sent + shed, sent as usize), (60, heard(Code::BatchAck)));
}

#[test]
fn envelopes_of_a_topic_keep_to_its_share_and_others_pass_them() {
    let mut network = Network::new([unlimited()]);
    let conn = network.dial_with(0, &limits(0, 0, 10));
    let busy: Vec<_> = (0..25).map(|nonce| network.post(0, envelope(TOPIC, 10, nonce)).unwrap().hash).collect();
    let other = network.post(0, envelope(Topic(*b"othr"), 10, 1)).unwrap().hash;
    let at_once: Vec<_> = busy[..10].iter().copied().chain([other]).collect();
    assert_eq!(network.heard_envelopes(0, conn).concat(), at_once);
    network.pass(Duration::from_millis(1_100));
    assert_eq!(network.heard_envelopes(0, conn).concat()[11..], busy[10..20]);
    network.pass(Duration::from_millis(1_100));
    assert_eq!(network.heard_envelopes(0, conn).concat()[21..], busy[20..]);
}

#[test]
fn a_newcomers_share_of_the_pool_keeps_to_its_rate() {
    let mut network = Network::new([unlimited()]);
    let topic = |n: u64| Topic((n as u32 % 3).to_be_bytes());
    for nonce in 0..90 {
        network.post(0, envelope(topic(nonce), 10, nonce)).unwrap();
    }
    let conn = network.dial_with(0, &limits(0, 2, 10));
    assert_eq!(network.heard_envelopes(0, conn).iter().map(Vec::len).collect::<Vec<_>>(), [30]);
    network.pass(5 * SECOND);
    assert_eq!(network.heard_envelopes(0, conn).concat().len(), 90);
    assert!(most_in_a_second(&heard_at(&network, conn)) <= 2);
}

#[test]
fn limits_announced_later_hold_from_then_on() {
    let mut network = Network::new([unlimited()]);
    let conn = network.dial_wanting_all(0);
    let post = |network: &mut Network, nonce| assert!(network.post(0, envelope(TOPIC, 10, nonce)).is_ok());
    (0..10).for_each(|nonce| post(&mut network, nonce));
    let update = StatusOptions { rate_limits: limits(0, 4, 0).rate_limits, ..Default::default() };
    network.say(0, conn, Code::StatusUpdate, update.encode_update(Version::Waku0));
    (10..20).for_each(|nonce| post(&mut network, nonce));
    assert_eq!(network.heard_envelopes(0, conn).len(), 10, "ten within the second is enough");
    network.pass(2 * SECOND);
    assert_eq!(network.heard_envelopes(0, conn).concat().len(), 20);
    let none = StatusOptions { rate_limits: Some(RateLimits::default()), ..Default::default() };
    network.say(0, conn, Code::StatusUpdate, none.encode_update(Version::Waku0));
    (20..40).for_each(|nonce| post(&mut network, nonce));
    assert_eq!(network.heard_envelopes(0, conn).concat().len(), 40);
}

#[test]
fn r_006_what_expires_while_it_waits_is_not_sent() {
    let mut network = Network::new([unlimited()]);
    let conn = network.dial_with(0, &limits(0, 1, 0));
    let short = |nonce| Envelope::new(START, 1, TOPIC, vec![1].into(), nonce).unwrap();
    network.post(0, short(1)).unwrap();
    network.post(0, short(2)).unwrap();
    let alive = network.post(0, envelope(TOPIC, 10, 3)).unwrap().hash;
    network.pass(2 * SECOND);
    assert_eq!(network.heard_envelopes(0, conn), [vec![short(1).hash()], vec![alive]]);
}

/// Two wait for a peer beyond its rate. One of them it sends itself: it has that now, whoever was to bring it.
#[test]
fn r_007_what_still_waits_for_a_peer_and_comes_from_it_is_not_sent_to_it() {
    let mut network = Network::new([unlimited()]);
    let (sender, limited) = (network.dial_wanting_all(0), network.dial_with(0, &limits(0, 1, 0)));
    let [first, own, other] = [1, 2, 3].map(|nonce| envelope(TOPIC, 10, nonce));
    for e in [&first, &own, &other] {
        network.say(0, sender, Code::Messages, bundle([e]));
    }
    assert_eq!(network.heard_envelopes(0, limited), [[first.hash()]], "the others wait");
    network.say(0, limited, Code::Messages, bundle([&own]));
    network.pass(3 * SECOND);
    assert_eq!(network.heard_envelopes(0, limited), [[first.hash()], [other.hash()]]);
    // Nor when its connection was full, or when it asks for the pool again.
    let [waits, goes] = [4, 5].map(|nonce| envelope(TOPIC, 10, nonce));
    network.full.push(limited);
    for e in [&goes, &waits] {
        network.say(0, sender, Code::Messages, bundle([e]));
    }
    network.say(0, limited, Code::Messages, bundle([&waits]));
    network.say(0, limited, Code::StatusUpdate, limits(0, 0, 0).encode_update(Version::Waku0));
    network.full.clear();
    network.pass(3 * SECOND);
    assert_eq!(network.heard_envelopes(0, limited).concat()[2..], [goes.hash()]);
    assert_eq!((network.delivered(0).len(), network.left_with(0)), (5, vec![]));
}

#[test]
fn r_036_what_is_not_wanted_any_more_is_not_sent() {
    let mut network = Network::new([unlimited()]);
    let conn = network.dial_with(0, &limits(0, 1, 0));
    let (a, b) = (Topic(*b"aaaa"), Topic(*b"bbbb"));
    let posted = [a, a, b].map(|topic| network.post(0, envelope(topic, 10, 1)).ok().map(|posted| posted.hash));
    let narrower = StatusOptions { topics: Some(vec![b]), ..Default::default() };
    network.say(0, conn, Code::StatusUpdate, narrower.encode_update(Version::Waku0));
    let second = network.post(0, envelope(a, 10, 2)).unwrap();
    assert_eq!(second.sent_to, 0);
    network.pass(3 * SECOND);
    assert_eq!(network.heard_envelopes(0, conn).concat(), [posted[0].unwrap(), posted[2].unwrap()]);
    // When it wants them again, it gets what it has missed.
    let wider = StatusOptions { topics: Some(vec![a, b]), ..Default::default() };
    network.say(0, conn, Code::StatusUpdate, wider.encode_update(Version::Waku0));
    network.pass(3 * SECOND);
    assert_eq!(network.heard_envelopes(0, conn).concat()[2..], [second.hash]);
}

#[test]
fn who_wants_little_of_a_busy_pool_is_not_left_for_it() {
    let pool = PoolLimits { max_envelopes: 10, ..PoolLimits::default() };
    let mut network = Network::new([Settings { pool, ..unlimited() }]);
    let conn = network.dial_with(0, &limits(0, 1, 1));
    for n in 0..400_u32 {
        let e = Envelope::new(START + 1 + n / 10, 1, TOPIC, vec![1].into(), n.into()).unwrap();
        let _ = network.post(0, e); // The pool may be full of envelopes with more work.
        network.pass(Duration::from_millis(100));
    }
    assert!(network.left_with(0).is_empty());
    let heard = network.heard_envelopes(0, conn).concat().len();
    assert!((25..=40).contains(&heard), "{heard}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a node does, a peer that announced N packets and M envelopes of a topic a second never hears more, in any
    /// second; and nothing is lost.
    #[test]
    fn r_057_never_more_than_announced(
        packets in 1..8u64,
        per_topic in 1..12u64,
        confirmations: bool,
        steps in proptest::collection::vec((0..6u8, 0..200u64, 1..5u8), 1..60),
    ) {
        let mut network = Network::new([Settings { confirmations, ..unlimited() }]);
        let sender = network.dial_wanting_all(0);
        let conn = network.dial_with(0, &limits(0, packets, per_topic));
        let mut nonce = 0;
        let mut sent = Vec::new();
        for (step, wait, count) in steps {
            for _ in 0..count {
                nonce += 1;
                let e = envelope(Topic([step % 2; 4]), 10, nonce);
                match step {
                    0 | 1 => sent.push(network.post(0, e).unwrap().hash),
                    2 | 3 => {
                        network.say(0, sender, Code::Messages, bundle([&e]));
                        sent.push(e.hash());
                    }
                    4 => network.say(0, conn, Code::Messages, bundle([&e])),
                    _ => network.change(0, Change::Rates(Rates { topic: nonce as u32, ..Rates::NONE })),
                }
            }
            if count == 3 {
                network.full.push(conn);
            } else {
                network.full.clear();
            }
            network.pass(Duration::from_millis(wait));
        }
        network.full.clear();
        network.pass(40 * SECOND);
        prop_assert!(most_in_a_second(&heard_at(&network, conn)) as u64 <= packets);
        let heard = network.heard[&(0, conn)].iter().zip(&network.heard_at[&(0, conn)]);
        let mut envelopes: Vec<(u64, Topic)> = Vec::new();
        let mut hashes = Vec::new();
        for ((_, body), at) in heard.filter(|((code, _), _)| *code == Code::Messages.number()) {
            for item in waku0::packet::messages::decode(body).unwrap() {
                let e = item.unwrap().unwrap();
                envelopes.push((*at, e.topic()));
                hashes.push(e.hash());
            }
        }
        for topic in [0, 1].map(|byte| Topic([byte; 4])) {
            let at: Vec<_> = envelopes.iter().filter(|(_, of)| *of == topic).map(|(at, _)| *at).collect();
            prop_assert!(most_in_a_second(&at) as u64 <= per_topic);
        }
        hashes.sort_unstable();
        sent.sort_unstable();
        if sent.len() as u64 <= per_topic * 8 {
            prop_assert_eq!(hashes, sent);
        }
        prop_assert!(network.left_with(0).is_empty());
    }
}
