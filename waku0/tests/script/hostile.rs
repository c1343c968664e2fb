//! What hostile peers send: in great number, of great depth, or of no sense. The honest ones beside them lose nothing.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use alloy_rlp::{Encodable, Header};
use bytes::Bytes;
use devp2p::ConnId;
use waku0::{
    Envelope, Pow, Topic, bloom::Bloom, fault::Fault, limits::Meter, node::Settings, packet::Code, pool::PoolLimits,
    status::StatusOptions, version::Version,
};

use super::network::{Network, START, TOPIC, bundle, easy, envelope, unlimited};

const SECOND: Duration = Duration::from_secs(1);

const BREACH: u8 = 0x02;
const SUBPROTOCOL: u8 = 0x10;

fn list(items: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() + 9);
    Header { list: true, payload_length: items.len() }.encode(&mut out);
    out.extend_from_slice(items);
    out
}

/// An option as waku/0 writes it: its number as an ASCII digit, and its value.
fn option(number: u8, value: impl Encodable) -> Vec<u8> {
    let mut pair = vec![b'0' + number];
    value.encode(&mut pair);
    list(&pair)
}

fn status(pairs: &[Vec<u8>]) -> Bytes {
    list(&[&[0x80], &list(&pairs.concat())[..]].concat()).into()
}

/// So many lists within each other, written from the inside out.
fn nested(depth: usize) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let mut header = Vec::new();
        Header { list: true, payload_length: reversed.len() }.encode(&mut header);
        reversed.extend(header.iter().rev());
    }
    reversed.reverse();
    reversed
}

/// The reason with which a node leaves a running peer that says this, if it does.
fn left_for(code: Code, body: &Bytes, trusted: bool) -> Option<u8> {
    let mut network = Network::new([unlimited()]);
    let (conn, honest) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let now = network.now;
    network.nodes[0].trust(now, conn, trusted);
    network.say(0, conn, code, body.clone());
    let e = envelope(TOPIC, 10, 1);
    network.say(0, honest, Code::Messages, bundle([&e]));
    assert_eq!(network.delivered(0), [e.hash()], "an honest peer is heard");
    network.left_with(0).first().copied()
}

#[test]
fn h17_a_hundred_thousand_lists_within_each_other_end_without_the_stack() {
    let deep = nested(100_000);
    let cut_off = Bytes::from(vec![0xc1; 100_000]);
    let in_a_list = Bytes::from(list(&deep));
    let in_an_option = Bytes::from(list(&list(&[b"9", &deep[..]].concat())));
    assert_eq!(left_for(Code::Messages, &in_a_list, false), None, "one item that is no envelope");
    assert_eq!(left_for(Code::Messages, &cut_off, false), Some(BREACH));
    assert_eq!(left_for(Code::StatusUpdate, &in_an_option, false), None, "one option that nobody knows");
    assert_eq!(left_for(Code::StatusUpdate, &cut_off, false), Some(BREACH));
    for code in [Code::BatchAck, Code::MessageResponse, Code::P2pRequest, Code::P2pMessage, Code::P2pRequestComplete] {
        for body in [&in_a_list, &cut_off] {
            assert_eq!(left_for(code, body, false), None, "{code:?} is not even read");
        }
        left_for(code, &in_a_list, true);
        left_for(code, &cut_off, true);
    }
    let mut network = Network::new([easy()]);
    let conn = network.dial(0);
    network.say(0, conn, Code::Status, status(&[list(&[b"9", &nested(20_000)[..]].concat())]));
    assert_eq!(network.stories[0].running, [conn]);
}

#[test]
fn h18_a_million_empty_lists_are_walked_once_at_most() {
    let body = Bytes::from(list(&vec![0xc0; 1_000_000]));
    assert_eq!(left_for(Code::Messages, &body, false), Some(SUBPROTOCOL), "a hundred are too many");
    assert_eq!(left_for(Code::StatusUpdate, &body, false), Some(BREACH));
    for code in [Code::BatchAck, Code::MessageResponse, Code::P2pRequest, Code::P2pMessage, Code::P2pRequestComplete] {
        assert_eq!(left_for(code, &body, false), None, "{code:?}");
    }
    left_for(Code::P2pMessage, &body, true);
    let mut network = Network::new([easy()]);
    let conn = network.dial(0);
    network.say(0, conn, Code::Status, list(&vec![0xc0; 100_000]).into());
    assert_eq!(network.left_with(0), [BREACH]);
}

#[test]
fn h26_bad_values_in_a_status_end_the_session_and_unknown_ones_do_not() {
    let bloom = |bytes: usize| option(1, vec![0xff; bytes].as_slice());
    let pow = |value: f64| option(0, value.to_bits());
    let topics = |count: u32| {
        let crowd = (0..count).map(|n| Topic(n.to_be_bytes())).collect();
        StatusOptions { topics: Some(crowd), ..Default::default() }.encode_status(Version::Waku0)
    };
    let answer = |body: Bytes| {
        let mut network = Network::new([easy()]);
        let conn = network.dial(0);
        network.say(0, conn, Code::Status, body);
        (network.left_with(0), network.nodes[0].peer(conn).cloned())
    };
    for pair in [bloom(63), bloom(65), pow(f64::NAN), pow(f64::INFINITY), pow(f64::NEG_INFINITY), pow(-1.0)] {
        assert_eq!(answer(status(&[pair])), (vec![SUBPROTOCOL], None));
    }
    assert_eq!(answer(topics(10_001)), (vec![SUBPROTOCOL], None));
    assert!(answer(topics(10_000)).1.is_some());
    let (left, peer) = answer(status(&[option(9, 7_u64), option(42, b"?".as_slice()), pow(0.5)]));
    assert_eq!((left, peer.unwrap().min_pow), (vec![], Pow::new(0.5).unwrap()));
    let (left, peer) = answer(status(&[pow(0.25), bloom(64), pow(0.5)]));
    assert_eq!((left, peer.unwrap().min_pow), (vec![], Pow::new(0.5).unwrap()), "of two values the last counts");
}

/// 100,000 updates: as fast as they come they are a flood, at a rate that is allowed the last one holds.
#[test]
fn h27_a_storm_of_updates_ends_the_session_or_changes_nothing_but_the_last_word() {
    let update = |n: u32| {
        let bloom = Some(Bloom::from_iter([Topic(n.to_be_bytes())]));
        StatusOptions { bloom, ..Default::default() }.encode_update(Version::Waku0)
    };
    let mut network = Network::new([easy()]);
    let hasty = network.dial_wanting_all(0);
    (0..100_000).for_each(|n| network.say(0, hasty, Code::StatusUpdate, update(n)));
    assert_eq!(network.left_with(0), [SUBPROTOCOL]);
    let patient = network.dial_wanting_all(0);
    for n in 0..1_000 {
        network.pass(Duration::from_millis(10));
        network.say(0, patient, Code::StatusUpdate, update(n));
    }
    let last = envelope(Topic(999_u32.to_be_bytes()), 10, 1);
    network.post(0, last.clone()).unwrap();
    network.pass(SECOND);
    assert_eq!(network.heard_envelopes(0, patient), [[last.hash()]]);
}

/// Fields of an envelope that its type would refuse.
fn raw(expiry: u64, ttl: u64) -> Vec<u8> {
    let mut fields = Vec::new();
    expiry.encode(&mut fields);
    ttl.encode(&mut fields);
    TOPIC.0.encode(&mut fields);
    b"data".as_slice().encode(&mut fields);
    1_u64.encode(&mut fields);
    list(&fields)
}

#[test]
fn h28_a_clock_that_is_off_costs_the_envelope_and_nonsense_the_session() {
    let start = u64::from(START);
    let answer = |envelopes: &[u8], reason: &str| {
        let mut network = Network::new([Settings { min_pow: Pow::new(1e-9).unwrap(), ..unlimited() }]);
        let conn = network.dial_wanting_all(0);
        network.say(0, conn, Code::Messages, list(envelopes).into());
        assert!(network.delivered(0).is_empty());
        (network.counted(0, reason), network.left_with(0))
    };
    for (expiry, ttl, reason) in [
        (start - 1, 10, "expired"),
        (start - 86_400, 10, "very_old"),
        (5, 5, "very_old"),
        (start + 86_400, 10, "future"),
        (u64::from(u32::MAX), 10, "future"),
    ] {
        assert_eq!(answer(&raw(expiry, ttl).repeat(500), reason), (500, vec![]), "{expiry} {ttl}");
    }
    for (expiry, ttl, reason) in [
        (start + 10, 0, "zero_ttl"),
        (start + 10, start + 11, "malformed"),
        (14, 15, "malformed"),
        (start + 10, u64::from(u32::MAX), "malformed"),
        (start + 10, 1 << 32, "malformed"),
        (1 << 32, 10, "malformed"),
        // No wrap: it has lived since 1970, and its work is spread over all of that.
        (u64::from(u32::MAX), u64::from(u32::MAX), "low_pow"),
    ] {
        assert_eq!(answer(&raw(expiry, ttl).repeat(99), reason), (99, vec![]), "{expiry} {ttl}");
        assert_eq!(answer(&raw(expiry, ttl).repeat(500), reason), (100, vec![SUBPROTOCOL]), "{expiry} {ttl}");
    }
}

#[test]
fn h29_an_envelope_that_is_too_large_is_refused_by_itself() {
    let mut network = Network::new([easy()]);
    let (conn, other) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let good = [envelope(TOPIC, 10, 1), envelope(TOPIC, 1_000, 2)];
    let huge = envelope(TOPIC, (1 << 20) - 19, 3);
    network.say(0, conn, Code::Messages, list(huge.raw()).into());
    assert_eq!((network.counted(0, "too_large"), network.delivered(0)), (1, vec![]));
    let among = [good[0].raw().as_ref(), huge.raw(), good[1].raw()].concat();
    network.say(0, conn, Code::Messages, list(&among).into());
    let hashes = [good[0].hash(), good[1].hash()];
    assert_eq!((network.counted(0, "too_large"), network.delivered(0)), (2, hashes.to_vec()));
    assert_eq!((network.heard_envelopes(0, other).concat(), network.left_with(0)), (hashes.to_vec(), vec![]));
}

/// Ten thousand envelopes with work enough within a second: one by one, and in few packets.
#[test]
fn h31_a_flood_of_valid_envelopes_ends_the_session_before_it_fills_the_pool() {
    let pool = PoolLimits { max_envelopes: 500, ..PoolLimits::default() };
    let mut network = Network::new([Settings { pool, ..easy() }]);
    let (one_by_one, in_bulk, honest) =
        (network.dial_wanting_all(0), network.dial_wanting_all(0), network.dial_wanting_all(0));
    let flood: Vec<_> = (0..10_000).map(|nonce| envelope(TOPIC, 10, nonce)).collect();
    for e in &flood {
        network.say(0, one_by_one, Code::Messages, bundle([e]));
        assert!(network.nodes[0].pool().len() <= 500);
    }
    assert_eq!(network.stories[0].left, [(one_by_one, Fault::OverRate(Meter::PeerPackets))]);
    // Five seconds' worth and the tolerance; nothing that follows is looked at.
    let received = |network: &Network| network.nodes[0].counters().received.load(Relaxed);
    assert_eq!(received(&network), 599);
    for packet in flood.chunks(500) {
        network.say(0, in_bulk, Code::Messages, bundle(packet));
    }
    assert_eq!(network.stories[0].left[1..], [(in_bulk, Fault::OverRate(Meter::TopicEnvelopes))]);
    assert!(received(&network) < 599 + 1_100 + 64, "{}", received(&network));
    assert!(network.nodes[0].pool().len() <= 500);
    assert_eq!(network.left_with(0), [SUBPROTOCOL; 2]);
    let e = Envelope::new(START + 90, 80, TOPIC, vec![1].into(), 1).unwrap();
    network.say(0, honest, Code::Messages, bundle([&e]));
    assert_eq!(network.left_with(0).len(), 2, "the flood of others is not held against an honest peer");
}

#[test]
fn h32_the_same_envelope_counts_once_and_with_another_nonce_again() {
    let mut network = Network::new([easy()]);
    let conns: Vec<ConnId> = (0..50).map(|_| network.dial_wanting_all(0)).collect();
    let e = envelope(TOPIC, 100, 0);
    conns.iter().for_each(|conn| network.say(0, *conn, Code::Messages, bundle([&e])));
    assert_eq!((network.delivered(0).len(), network.nodes[0].pool().len(), network.duplicates(0)), (1, 1, 49));
    let changed = |nonce| envelope(TOPIC, 100, nonce);
    let flooder = conns[0];
    network.say(0, flooder, Code::Messages, bundle(&(1..=1_000).map(changed).collect::<Vec<_>>()));
    assert_eq!(network.nodes[0].pool().len(), 1_001, "each is an envelope of its own");
    network.say(0, flooder, Code::Messages, bundle(&(1_001..=1_200).map(changed).collect::<Vec<_>>()));
    assert_eq!(network.stories[0].left, [(flooder, Fault::OverRate(Meter::TopicEnvelopes))]);
}

/// A million, each to live for two days: the default bounds hold, what has most work stays, and all go in time.
#[test]
fn h33_a_million_long_lived_envelopes_stay_within_the_pool() {
    const LIFE: u32 = 2 * 86_400;
    let limits = PoolLimits::default();
    let mut network = Network::new([unlimited()]);
    let conn = network.dial_wanting(0, &[]);
    let (now, node) = (network.now, &mut network.nodes[0]);
    // One envelope over and over; its last eight bytes are the nonce.
    let one = Envelope::new(START + LIFE, LIFE, TOPIC, Bytes::new(), u64::MAX).unwrap();
    let mut items = one.raw().repeat(2_000);
    for packet in 0..500 {
        for (at, item) in items.chunks_mut(one.raw().len()).enumerate() {
            let nonce = u64::MAX - (packet * 2_000 + at as u64);
            item[one.raw().len() - 8..].copy_from_slice(&nonce.to_be_bytes());
        }
        node.receive(now, conn, Code::Messages.number(), list(&items).into());
        while node.next_action().is_some() {}
        assert!(node.pool().len() <= limits.max_envelopes && node.pool().bytes() <= limits.max_bytes);
    }
    assert_eq!(node.counters().received.load(Relaxed), 1_000_000);
    assert_eq!(node.pool().len(), limits.max_envelopes);
    assert_eq!(node.counters().rejected.malformed.load(Relaxed), 0);
    let later = now.after(Duration::from_secs(u64::from(LIFE) + 1));
    node.tick(later);
    assert!(node.pool().is_empty() && node.pool().bytes() == 0);
}

/// A hundred light peers want everything while two thousand envelopes pass; ten of them read nothing.
#[test]
fn h35_light_peers_that_do_not_keep_up_are_left_and_the_others_miss_nothing() {
    let pool = PoolLimits { max_envelopes: 200, ..PoolLimits::default() };
    let mut network = Network::new([Settings { pool, ..unlimited() }]);
    let light =
        StatusOptions { pow: Some(Pow::ZERO), bloom: Some(Bloom::FULL), light: Some(true), ..Default::default() };
    let peers: Vec<_> = (0..100).map(|_| network.dial_with(0, &light)).collect();
    let (stuck, reading) = peers.split_at(10);
    network.full = stuck.to_vec();
    let mut posted = Vec::new();
    for nonce in 0..2_000_u32 {
        let e = Envelope::new(START + 60 + nonce / 100, 60, TOPIC, vec![7; 20].into(), nonce.into()).unwrap();
        posted.extend(network.post(0, e).ok().map(|posted| posted.hash));
        network.pass(Duration::from_millis(10));
    }
    assert!(posted.len() > 400, "{}", posted.len());
    let mut left: Vec<_> = network.stories[0].left.clone();
    left.sort_unstable_by_key(|(conn, _)| *conn);
    assert_eq!(left, stuck.iter().map(|conn| (*conn, Fault::TooSlow)).collect::<Vec<_>>());
    assert!(network.left_with(0).iter().all(|reason| *reason == SUBPROTOCOL));
    for conn in reading {
        assert_eq!(network.heard_envelopes(0, *conn).concat(), posted);
    }
}
