//! Peers of waku/0, waku/1 and shh/6 at one node.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use devp2p::ConnId;
use proptest::prelude::*;
use waku0::{
    Envelope, Pow, Topic, Unsealed,
    bloom::Bloom,
    interest::Interest,
    limits::{Flow, Rates},
    mail::Asked,
    node::{Change, Settings},
    packet::{
        Code,
        p2p::Direct,
        sync::{SyncRequest, SyncResponse},
    },
    status::{RateLimits, StatusOptions},
    version::{StatusShape, Version},
};

use super::network::{Network, START, Story, TOPIC, bundle, easy, envelope, hashes, unlimited, wanting};

/// Two topics that share no bit of a filter.
const CHAT: Topic = Topic(*b"chat");
const NEWS: Topic = Topic([1, 2, 3, 0]);

fn pow(value: f64) -> Pow {
    Pow::new(value).unwrap()
}

/// What a peer says that takes everything.
fn wants_all() -> StatusOptions {
    StatusOptions { pow: Some(Pow::ZERO), bloom: Some(Bloom::FULL), light: Some(false), ..StatusOptions::default() }
}

/// The script as a peer of this version.
fn dial(network: &mut Network, version: Version, options: &StatusOptions) -> ConnId {
    network.dial_speaking(0, version, options.encode_status(version))
}

/// The codes that the script heard on a connection, in their order.
fn codes(network: &Network, conn: ConnId) -> Vec<u8> {
    network.heard[&(0, conn)].iter().map(|(code, _)| *code).collect()
}

#[test]
fn r_075_envelopes_pass_between_all_versions_byte_for_byte() {
    let mut network = Network::new([easy()]);
    let conns = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    for (n, from) in conns.into_iter().enumerate() {
        let posted = envelope(TOPIC, 10, n as u64);
        network.say(0, from, Code::Messages, bundle([&posted]));
        for to in conns.into_iter().filter(|to| *to != from) {
            let heard = network.heard_bodies(0, to, Code::Messages);
            assert_eq!(heard.last(), Some(&bundle([&posted])), "what came from {n}");
        }
        assert_eq!(network.delivered(0).len(), n + 1);
    }
    assert_eq!(network.heard_envelopes(0, conns[0]).len(), 2, "nothing comes back");
    assert!(network.stories[0].left.is_empty());
}

#[test]
fn r_078_two_bridges_between_whisper_and_waku_bring_each_envelope_once() {
    // 0 speaks Whisper, 3 waku; 1 and 2 are between them, and know each other.
    let mut network = Network::new([easy(), easy(), easy(), easy()]);
    for bridge in [1, 2] {
        network.join_over(0, bridge, Version::Shh6);
        network.join_over(bridge, 3, Version::Waku1);
    }
    network.join(1, 2);
    let both_ways = [(0, 3, envelope(CHAT, 1, 1)), (3, 0, envelope(CHAT, 1, 2))];
    for (from, to, posted) in both_ways {
        network.post(from, posted.clone()).unwrap();
        network.pass(Duration::from_secs(2));
        assert_eq!(network.delivered(to), [posted.hash()]);
        assert!(network.duplicates(to) <= 1, "as many as there are bridges more");
    }
    assert!(network.stories.iter().all(|story| story.left.is_empty()));
}

#[test]
fn each_version_is_told_status_in_its_own_shape() {
    let rates =
        Rates { peer: Flow { packets: 5, bytes: 6 }, ip: Flow { packets: 7, bytes: 8 }, topic: 9, tolerance: 1 };
    let mut network = Network::new([Settings { min_pow: pow(0.002), rates, ..wanting(&[CHAT]) }]);
    let heard = Version::ALL.map(|version| {
        let conn = dial(&mut network, version, &wants_all());
        network.heard[&(0, conn)][0].clone()
    });
    let filter = hex::encode(Bloom::from_iter([CHAT]).as_bytes());
    let expected = [
        format!("f85206883f60624dd2f1a9fcb840{filter}8080c3070509"),
        "e180dfca30883f60624dd2f1a9fcc23280c23380c534c3070509c735c58463686174".to_owned(),
        "e5ca80883f60624dd2f1a9fcc20280c20380c504c3070509c705c58463686174c506c3080680".to_owned(),
    ];
    assert_eq!(heard.map(|(code, body)| (code, hex::encode(body))), expected.map(|body| (0, body)));
}

#[test]
fn changes_are_told_in_the_shape_of_each_version() {
    let mut network = Network::new([unlimited()]);
    let conns = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    let topics = Interest::topics(vec![CHAT]).unwrap();
    let rates = Rates { peer: Flow { packets: 5, bytes: 6 }, ..Rates::NONE };
    for change in [Change::MinPow(pow(0.5)), Change::Interest(topics), Change::Rates(rates), Change::Light(true)] {
        network.change(0, change);
    }
    network.pass(Duration::from_millis(200));
    let told = |conn: ConnId| -> Vec<_> {
        let heard = &network.heard[&(0, conn)][1..];
        heard.iter().map(|(code, body)| (*code, hex::encode(body))).collect()
    };
    let filter = hex::encode(Bloom::from_iter([CHAT]).as_bytes());
    let pow_bits = "883fe0000000000000";
    let [shh, waku_0, waku_1] = conns.map(told);
    assert_eq!(shh, [(2, pow_bits.to_owned()), (3, format!("b840{filter}")), (20, "c3800580".to_owned())]);
    assert_eq!(waku_0, [(22, format!("dcca30{pow_bits}c23201c534c3800580c735c58463686174"))]);
    assert_eq!(waku_1, [(22, format!("e2ca80{pow_bits}c20201c504c3800580c705c58463686174c506c3800680"))]);
    assert_eq!(network.nodes[0].counters().updates_sent.load(Relaxed), 3);
}

#[test]
fn what_a_version_has_no_word_for_is_told_it_by_no_packet() {
    let mut network = Network::new([easy()]);
    let shh = dial(&mut network, Version::Shh6, &wants_all());
    network.change(0, Change::Confirmations(true));
    network.pass(Duration::from_secs(1));
    assert_eq!(codes(&network, shh), [0]);
    network.change(0, Change::MinPow(pow(0.1)));
    network.pass(Duration::from_secs(1));
    assert_eq!(codes(&network, shh), [0, 2]);
}

/// Between two nodes of ours each setting arrives, whatever is spoken.
#[test]
fn changes_arrive_over_every_version() {
    for version in Version::ALL {
        let mut network = Network::new([easy(), easy()]);
        let (_, at_b) = network.join_over(0, 1, version);
        let rates = Rates { peer: Flow { packets: 50, bytes: 6_000 }, ..Rates::NONE };
        network.change(0, Change::MinPow(pow(0.25)));
        network.change(0, Change::Interest(Interest::topics(vec![CHAT]).unwrap()));
        network.change(0, Change::Rates(rates));
        network.pass(Duration::from_secs(1));
        let known = network.nodes[1].peer(at_b).unwrap();
        assert_eq!((known.min_pow, known.rate_limits), (pow(0.25), rates.announced()), "{version}");
        assert_eq!([CHAT, NEWS].map(|topic| known.interest.matches(topic)), [true, false], "{version}");
        assert_eq!(known.interest == Interest::topics(vec![CHAT]).unwrap(), version != Version::Shh6, "{version}");
        let bytes = if version == Version::Waku1 { rates.announced_bytes() } else { RateLimits::default() };
        assert_eq!(known.byte_limits, bytes, "{version}");
    }
}

#[test]
fn a_whisper_peer_is_sent_by_its_floor_and_filter_and_changes_both() {
    let mut network = Network::new([easy()]);
    let options = StatusOptions { pow: Some(pow(0.01)), bloom: Some(Bloom::from_iter([CHAT])), ..wants_all() };
    let shh = dial(&mut network, Version::Shh6, &options);
    let [weak, wanted, other] = [(0.001, CHAT), (0.01, CHAT), (0.01, NEWS)].map(|(work, topic)| mined(work, topic));
    for posted in [&weak, &wanted, &other] {
        network.post(0, posted.clone()).unwrap();
    }
    network.pass(Duration::from_secs(2));
    assert_eq!(network.heard_envelopes(0, shh).concat(), [wanted.hash()]);

    network.say(0, shh, Code::BloomFilter, filter_body(&[CHAT, NEWS]));
    network.pass(Duration::from_secs(1));
    assert_eq!(network.heard_envelopes(0, shh).concat(), [wanted.hash(), other.hash()]);
    network.say(0, shh, Code::PowRequirement, Bytes::from_static(&[0x80]));
    network.pass(Duration::from_secs(1));
    assert_eq!(network.heard_envelopes(0, shh).concat(), [wanted.hash(), other.hash(), weak.hash()]);
}

fn filter_body(topics: &[Topic]) -> Bytes {
    let bloom = Bloom::from_iter(topics.iter().copied());
    [&[0xb8, 0x40][..], bloom.as_bytes()].concat().into()
}

/// An envelope sent at the start with so much work and less than twice of it.
fn mined(least: f64, topic: Topic) -> Envelope {
    let unsealed = Unsealed::new(START + 60, 60, topic, Bytes::from_static(&[1; 50])).unwrap();
    let mut nonces = 0..1 << 20;
    nonces
        .find_map(|nonce| {
            let envelope = unsealed.clone().seal(nonce);
            (least..2.0 * least).contains(&envelope.pow().value()).then_some(envelope)
        })
        .expect("a nonce among a million")
}

#[test]
fn whisper_is_sent_nothing_from_the_future() {
    let mut network = Network::new([unlimited()]);
    let [shh, _, waku] = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    let ahead = Envelope::new(START + 60, 55, TOPIC, Bytes::new(), 1).unwrap();
    network.say(0, waku, Code::Messages, bundle([&ahead]));
    network.pass(Duration::from_millis(4_900));
    assert!(network.heard_envelopes(0, shh).is_empty(), "it would leave us");
    network.pass(Duration::from_millis(200));
    assert_eq!(network.heard_envelopes(0, shh), [[ahead.hash()]]);
    assert_eq!(network.heard_at[&(0, shh)].last(), Some(&5_000));
}

#[test]
fn whisper_is_sent_what_just_has_the_work_a_second_later() {
    let mut network = Network::new([unlimited()]);
    let just = mined(0.01, TOPIC);
    let exact = StatusOptions { pow: Some(just.pow()), ..wants_all() };
    let less = StatusOptions { pow: Some(pow(just.pow().value() / 1.1)), ..wants_all() };
    let conns = [&exact, &less].map(|options| dial(&mut network, Version::Shh6, options));
    let forgiving = dial(&mut network, Version::Waku1, &exact);
    network.post(0, just.clone()).unwrap();
    network.pass(Duration::from_millis(2_000));
    for (conn, at) in [(conns[0], 1_000), (conns[1], 0), (forgiving, 0)] {
        assert_eq!(network.heard_envelopes(0, conn), [[just.hash()]]);
        assert_eq!(network.heard_at[&(0, conn)].last(), Some(&at));
    }
}

#[test]
fn what_ripens_too_late_is_not_sent() {
    let mut network = Network::new([unlimited()]);
    let [shh, _, waku] = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    let ahead = Envelope::new(START + 4, 1, TOPIC, Bytes::new(), 1).unwrap();
    network.say(0, waku, Code::Messages, bundle([&ahead]));
    network.say(0, shh, Code::Messages, bundle([&ahead]));
    network.pass(Duration::from_secs(10));
    assert!(network.heard_envelopes(0, shh).is_empty(), "it has it");
}

#[test]
fn a_whisper_peer_that_goes_by_our_filter_is_not_blamed_for_other_topics() {
    let mut network = Network::new([Settings { rates: Rates::NONE, ..wanting(&[CHAT]) }]);
    let conns = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    let unwanted: Vec<_> = (0..200).map(|n| envelope(NEWS, 1, n)).collect();
    for conn in conns {
        network.say(0, conn, Code::Messages, bundle(&unwanted));
    }
    let left: Vec<_> = network.stories[0].left.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(left, conns[1..], "those that were told the topics");
    assert!(network.delivered(0).is_empty());
}

#[test]
fn codes_of_one_version_mean_nothing_in_another() {
    let mut network = Network::new([easy()]);
    let [shh, waku_0, waku_1] = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    let nonsense = Bytes::from_static(&[0xff, 0xff]);
    let foreign = [
        (shh, vec![Code::StatusUpdate]),
        (
            waku_0,
            vec![Code::PowRequirement, Code::BloomFilter, Code::RateLimits, Code::SyncRequest, Code::SyncResponse],
        ),
        (
            waku_1,
            vec![Code::PowRequirement, Code::BloomFilter, Code::RateLimits, Code::SyncRequest, Code::SyncResponse],
        ),
    ];
    for (conn, codes) in foreign {
        assert!(network.nodes[0].trust(network.now, conn, true));
        codes.into_iter().for_each(|code| network.say(0, conn, code, nonsense.clone()));
    }
    assert!(network.stories[0].left.is_empty());
    assert_eq!(network.nodes[0].counters().ignored_packets.load(Relaxed), 11);
    network.say(0, shh, Code::PowRequirement, nonsense);
    assert_eq!(network.left_with(0), [0x02]);
}

#[test]
fn bad_changes_of_whisper_end_the_session() {
    for (code, body, reason) in [
        (Code::BloomFilter, &[0x80][..], 0x10),
        (Code::BloomFilter, &[0x82, 1, 2], 0x10),
        (Code::PowRequirement, &[0x88, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], 0x10),
        (Code::PowRequirement, &[0xc0], 0x02),
        (Code::RateLimits, &[0xc1, 1], 0x02),
    ] {
        let mut network = Network::new([easy()]);
        let shh = dial(&mut network, Version::Shh6, &wants_all());
        network.say(0, shh, code, Bytes::copy_from_slice(body));
        assert_eq!(network.left_with(0), [reason], "{code:?} {body:?}");
    }
}

/// status-go before February 2020: Status by position, and changes in packets of their own.
#[test]
fn an_old_peer_of_waku_0_tells_and_is_told_by_position() {
    let mut network = Network::new([Settings { min_pow: pow(0.5), ..easy() }]);
    let old = network.dial_speaking(0, Version::Waku0, hex::decode("ca80883f60624dd2f1a9fc").unwrap().into());
    assert_eq!(network.nodes[0].peer(old).unwrap().min_pow, pow(0.002));
    network.pass(Duration::from_secs(1));
    assert_eq!(codes(&network, old), [0, 2, 3, 20], "it could not read our Status");
    assert_eq!(hex::encode(&network.heard[&(0, old)][1].1), "883fe0000000000000");
    network.change(0, Change::MinPow(pow(0.25)));
    network.pass(Duration::from_secs(1));
    assert_eq!(codes(&network, old), [0, 2, 3, 20, 2]);
    network.say(0, old, Code::BloomFilter, filter_body(&[CHAT]));
    network.say(0, old, Code::RateLimits, Bytes::from_static(&[0xc3, 7, 6, 5]));
    let known = network.nodes[0].peer(old).unwrap();
    assert_eq!(known.interest, Interest::Bloom(Bloom::from_iter([CHAT])));
    assert_eq!(known.rate_limits, RateLimits { ip: 7, peer: 6, topic: 5 });
    assert!(network.stories[0].left.is_empty());
}

#[test]
fn two_light_nodes_part_whatever_they_speak() {
    for version in Version::ALL {
        let light = || Settings { light: true, ..easy() };
        let mut network = Network::new([light(), light()]);
        network.join_over(0, 1, version);
        let left: Vec<u8> = [0, 1].into_iter().flat_map(|node| network.left_with(node)).collect();
        assert_eq!(left, [0x03], "{version}");
    }
}

#[test]
fn a_light_node_passes_nothing_from_whisper_to_waku() {
    let mut network = Network::new([Settings { light: true, ..easy() }]);
    let [shh, _, waku] = Version::ALL.map(|version| dial(&mut network, version, &wants_all()));
    network.say(0, shh, Code::Messages, bundle([&envelope(TOPIC, 1, 1)]));
    network.pass(Duration::from_secs(2));
    assert_eq!((network.delivered(0).len(), network.heard_envelopes(0, waku).len()), (1, 0));
}

#[test]
fn mailservers_that_synchronise_are_heard_when_trusted() {
    let mut network = Network::new([Settings { serves_mail: true, ..easy() }, easy()]);
    let shh = dial(&mut network, Version::Shh6, &wants_all());
    let request = SyncRequest { lower: 1, upper: 2, bloom: None, limit: 10, cursor: None };
    let response = SyncResponse::encode(&[], None, true, "");
    network.say(0, shh, Code::SyncRequest, request.encode());
    network.say(0, shh, Code::SyncResponse, Bytes::from_static(&[0xff]));
    assert_eq!(network.nodes[0].counters().p2p_untrusted.load(Relaxed), 2);
    let Story { direct, left, asked, .. } = &network.stories[0];
    assert!(direct.is_empty() && left.is_empty() && asked.is_empty());

    assert!(network.nodes[0].trust(network.now, shh, true));
    network.say(0, shh, Code::SyncRequest, request.encode());
    network.say(0, shh, Code::SyncResponse, response);
    let [(from, Asked::Sync(heard))] = &network.stories[0].asked[..] else { panic!("it is asked once") };
    assert_eq!((*from, heard), (shh, &request));
    assert!(matches!(&network.stories[0].direct[..], [(_, Direct::SyncResponse(heard))] if heard.is_final));
    network.say(0, shh, Code::SyncRequest, Bytes::from_static(&[0xc0]));
    assert_eq!(network.left_with(0), [0x02]);

    // Who has no archive has nothing to give.
    let other = network.dial_speaking(1, Version::Shh6, wants_all().encode_status(Version::Shh6));
    assert!(network.nodes[1].trust(network.now, other, true));
    network.say(1, other, Code::SyncRequest, request.encode());
    assert_eq!(network.nodes[1].counters().requests_ignored.load(Relaxed), 1);
    assert!(network.stories[1].asked.is_empty() && network.left_with(1).is_empty());
}

#[test]
fn r_056_a_peer_of_waku_1_is_not_sent_more_bytes_a_second_than_it_wants() {
    let mut network = Network::new([unlimited()]);
    let limits = RateLimits { ip: 0, peer: 2_000, topic: 0 };
    let waku_1 = dial(&mut network, Version::Waku1, &StatusOptions { byte_limits: Some(limits), ..wants_all() });
    let posted: Vec<_> = (0..20).map(|n| envelope(TOPIC, 450, n)).collect();
    for envelope in &posted {
        network.post(0, envelope.clone()).unwrap();
    }
    network.pass(Duration::from_secs(10));
    let heard = network.heard_envelopes(0, waku_1).concat();
    assert_eq!(heard, posted.iter().map(Envelope::hash).collect::<Vec<_>>(), "all of it, in time");
    let sizes = network.heard[&(0, waku_1)].iter().map(|(_, body)| body.len());
    let sent: Vec<_> = network.heard_at[&(0, waku_1)].iter().copied().zip(sizes).skip(1).collect();
    for (i, (from, _)) in sent.iter().enumerate() {
        let within: usize = sent[i..].iter().take_while(|(at, _)| *at <= from + 1_000).map(|(_, len)| len).sum();
        assert!(within <= 2_000, "{within} bytes in the second from {from}");
    }
}

#[test]
fn an_envelope_larger_than_a_second_of_bytes_goes_alone() {
    let mut network = Network::new([unlimited()]);
    let limits = RateLimits { ip: 100, peer: 0, topic: 0 };
    let waku_1 = dial(&mut network, Version::Waku1, &StatusOptions { byte_limits: Some(limits), ..wants_all() });
    for nonce in 0..3 {
        network.post(0, envelope(TOPIC, 450, nonce)).unwrap();
    }
    network.pass(Duration::from_secs(10));
    let heard: Vec<_> = network.heard_bodies(0, waku_1, Code::Messages).iter().map(|body| hashes(body).len()).collect();
    assert_eq!(heard, [1, 1, 1]);
}

fn any_version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL.to_vec())
}

proptest! {
    #[test]
    fn no_packet_of_any_version_makes_a_node_panic(
        version in any_version(),
        trusted: bool,
        packets in prop::collection::vec((any::<prop::sample::Index>(), any::<Vec<u8>>()), 0..12),
    ) {
        let mut network = Network::new([easy()]);
        let conn = dial(&mut network, version, &wants_all());
        let now = network.now;
        network.nodes[0].trust(now, conn, trusted);
        for (code, body) in packets {
            network.say(0, conn, Code::ALL[code.index(Code::ALL.len())], body.into());
        }
        network.pass(Duration::from_secs(1));
        prop_assert!(network.nodes[0].peer(conn).is_some() == network.stories[0].left.is_empty());
    }

    /// In a chain of any versions everything arrives, once, as far as it is wanted by each on the way.
    #[test]
    fn a_chain_of_any_versions_carries_everything(versions in prop::collection::vec(any_version(), 1..5), posts in 1..6u64) {
        let mut network = Network::new(vec![unlimited(); versions.len() + 1]);
        for (n, version) in versions.iter().enumerate() {
            network.join_over(n, n + 1, *version);
        }
        for nonce in 0..posts {
            network.post(0, envelope(CHAT, 5, nonce)).unwrap();
            network.post(versions.len(), envelope(NEWS, 5, nonce)).unwrap();
        }
        network.pass(Duration::from_secs(5));
        for node in 0..=versions.len() {
            prop_assert_eq!(network.nodes[node].pool().len() as u64, 2 * posts);
            prop_assert_eq!(network.duplicates(node), 0);
            prop_assert!(network.stories[node].left.is_empty());
        }
    }

    /// What Whisper is sent has the work for a clock that is a second behind, is not from the future, and passes its filter.
    #[test]
    fn whisper_is_never_sent_a_bad_envelope(
        sent in prop::collection::vec((0..14u32, 0..30u32, any::<bool>(), 0..400u64), 1..20), floor in 0..4usize
    ) {
        let floor = pow([0.0, 0.001, 0.01, 0.1][floor]);
        let mut network = Network::new([unlimited()]);
        let options = StatusOptions { pow: Some(floor), bloom: Some(Bloom::from_iter([CHAT])), ..wants_all() };
        let shh = dial(&mut network, Version::Shh6, &options);
        let waku = dial(&mut network, Version::Waku1, &wants_all());
        for (ahead, ttl, wanted, nonce) in sent {
            let topic = if wanted { CHAT } else { NEWS };
            let Ok(envelope) = Envelope::new(START + ahead + ttl, ttl, topic, Bytes::new(), nonce) else { continue };
            network.say(0, waku, Code::Messages, bundle([&envelope]));
        }
        network.pass(Duration::from_secs(50));
        let bodies = network.heard[&(0, shh)].iter().zip(&network.heard_at[&(0, shh)]);
        for ((_, body), at_millis) in bodies.filter(|((code, _), _)| *code == Code::Messages.number()) {
            let now = u64::from(START) + at_millis / 1_000;
            for envelope in waku0::packet::messages::decode(body).unwrap().flatten().flatten() {
                let (sent, expiry) = (u64::from(envelope.sent()), u64::from(envelope.expiry()));
                prop_assert!(sent <= now && now <= expiry);
                // As go-ethereum reckons it whose clock is a second behind.
                let ahead = if sent > now - 1 { sent - (now - 1) + 1 } else { 0 };
                let life = u64::from(envelope.ttl());
                let as_seen = envelope.pow().value() * life as f64 / (life + ahead) as f64;
                prop_assert!(as_seen >= floor.value() * 0.999_999, "{as_seen}");
                prop_assert_eq!(envelope.topic(), CHAT);
            }
        }
        prop_assert!(network.stories[0].left.is_empty());
    }
}

#[test]
fn every_version_has_the_shape_that_it_is_told_in() {
    let mut network = Network::new([easy()]);
    for version in Version::ALL {
        let conn = dial(&mut network, version, &wants_all());
        let body = &network.heard[&(0, conn)][0].1;
        assert_eq!(StatusOptions::shape_of(version, body), version.status_shape());
    }
    assert_eq!(
        Version::ALL.map(Version::status_shape),
        [StatusShape::Positional, StatusShape::Versioned, StatusShape::Bare]
    );
}
