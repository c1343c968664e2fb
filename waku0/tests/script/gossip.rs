//! What nodes tell each other, and whom.

use std::time::Duration;

use super::network::{Network, START, TOPIC, bundle, easy, envelope, hashes, unlimited, wanting};
use waku0::{
    Envelope, Pow, Topic, Unsealed,
    admit::Refusal,
    bloom::Bloom,
    node::{PostError, Settings},
    packet::{Code, MAX_SENT_BODY},
    pool::PoolLimits,
    status::StatusOptions,
    version::Version,
};

const SECOND: Duration = Duration::from_secs(1);

fn chain() -> Network {
    let mut network = Network::new([easy(), easy(), easy()]);
    network.join(0, 1);
    network.join(1, 2);
    network
}

#[test]
fn an_envelope_crosses_two_links_once_and_never_back() {
    let mut network = chain();
    let e = envelope(TOPIC, 100, 1);
    let posted = network.post(0, e.clone()).unwrap();
    assert_eq!((posted.hash, posted.already_pooled, posted.sent_to), (e.hash(), false, 1));
    assert_eq!(network.delivered(0), []);
    assert_eq!(network.delivered(1), [e.hash()]);
    assert_eq!(network.delivered(2), [e.hash()]);
    network.pass(5 * SECOND);
    assert_eq!(network.packets, 2);
    assert!((0..3).all(|node| network.duplicates(node) == 0));
}

#[test]
fn in_a_ring_everyone_gets_it_once() {
    let mut network = chain();
    network.join(0, 2);
    let e = envelope(TOPIC, 100, 1);
    assert_eq!(network.post(0, e.clone()).unwrap().sent_to, 2);
    assert_eq!(network.delivered(1), [e.hash()]);
    assert_eq!(network.delivered(2), [e.hash()]);
    // Both had it from the start when they passed it on to each other.
    assert_eq!((network.packets, network.duplicates(1) + network.duplicates(2)), (4, 2));
}

#[test]
fn the_same_envelope_from_many_peers_is_new_once() {
    let mut network = Network::new([easy()]);
    let conns: Vec<_> = (0..70).map(|_| network.dial_wanting_all(0)).collect();
    let e = envelope(TOPIC, 100, 1);
    for conn in &conns {
        network.say(0, *conn, Code::Messages, bundle([&e]));
    }
    assert_eq!(network.stories[0].delivered, [(e.hash(), conns[0])]);
    assert_eq!(network.duplicates(0), 69);
    assert!(network.heard_envelopes(0, conns[0]).is_empty());
    assert!(conns[1..].iter().all(|conn| network.heard_envelopes(0, *conn) == [[e.hash()]]));
}

#[test]
fn a_peer_that_has_it_is_not_told() {
    let mut network = Network::new([easy()]);
    let (a, b) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let e = envelope(TOPIC, 100, 1);
    network.say(0, a, Code::Messages, bundle([&e]));
    network.say(0, b, Code::Messages, bundle([&e]));
    network.say(
        0,
        b,
        Code::StatusUpdate,
        StatusOptions { pow: Some(Pow::ZERO), ..Default::default() }.encode_update(Version::Waku0),
    );
    network.pass(2 * SECOND);
    assert_eq!((network.heard_envelopes(0, a).len(), network.heard_envelopes(0, b).len()), (0, 1));
}

#[test]
fn too_little_work_goes_no_further_and_its_sender_stays() {
    let floor = Pow::new(0.01).unwrap();
    let mut network = Network::new([easy(), Settings { min_pow: floor, ..easy() }]);
    let (to_b, _) = network.join(0, 1);
    // B has announced its floor, so A does not even try.
    assert_eq!(network.nodes[0].peer(to_b).unwrap().min_pow, floor);
    assert_eq!(network.post(0, envelope(TOPIC, 500, 1)).unwrap().sent_to, 0);

    let conn = network.dial_wanting_all(1);
    let unsealed = Unsealed::new(START + 60, 60, TOPIC, vec![1; 100].into()).unwrap();
    let bits = unsealed.required_bits(floor);
    let enough = unsealed.search(0, 0, 1 << 20, bits).unwrap();
    let little = (0..).find(|nonce| unsealed.zero_bits(*nonce) == 0).unwrap();
    let [enough, little] = [enough, little].map(|nonce| unsealed.clone().seal(nonce));
    network.say(1, conn, Code::Messages, bundle(&[little.clone(), enough.clone()]));
    assert_eq!(network.delivered(1), [enough.hash()]);
    assert_eq!((network.counted(1, "low_pow"), network.left_with(1)), (1, vec![]));
    assert_eq!(network.post(1, little), Err(PostError::Refused(Refusal::LowPow)));
}

#[test]
fn what_has_expired_is_gone_and_stays_gone() {
    let mut network = chain();
    let e = Envelope::new(START + 3, 3, TOPIC, vec![1].into(), 1).unwrap();
    network.post(0, e.clone()).unwrap();
    network.pass(3 * SECOND);
    assert!((0..3).all(|node| network.nodes[node].pool().len() == 1));
    network.pass(SECOND);
    assert!((0..3).all(|node| network.nodes[node].pool().is_empty()));
    let late = network.dial_wanting_all(1);
    network.say(1, late, Code::Messages, bundle([&e]));
    assert_eq!(network.delivered(1).len(), 1);
    assert_eq!((network.duplicates(1), network.heard_envelopes(1, late).len()), (1, 0));
    assert_eq!(network.post(0, e), Err(PostError::Refused(Refusal::Expired)));
}

#[test]
fn the_clock_decides_between_past_and_future() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    let sent_at = |sent: u32| Envelope::new(sent + 5, 5, TOPIC, vec![1].into(), u64::from(sent)).unwrap();
    let [ahead, near, expired, old] = [START + 11, START + 10, START - 6, START - 26].map(sent_at);
    network.say(0, conn, Code::Messages, bundle(&[ahead, near.clone(), expired, old]));
    assert_eq!(network.delivered(0), [near.hash()]);
    let reasons = ["future", "expired", "very_old"].map(|reason| network.counted(0, reason));
    assert_eq!((reasons, network.left_with(0)), ([1, 1, 1], vec![]));
}

#[test]
fn a_newcomer_gets_what_it_wants_of_the_pool() {
    let mut network = Network::new([easy()]);
    let (mine, other) = (Topic(*b"mine"), Topic(*b"othr"));
    let wanted = envelope(mine, 10, 1);
    network.post(0, wanted.clone()).unwrap();
    network.post(0, envelope(other, 10, 2)).unwrap();
    let conn = network.dial_wanting(0, &[mine]);
    assert_eq!(network.heard_envelopes(0, conn), [[wanted.hash()]]);
    let by_bloom = StatusOptions { pow: Some(Pow::ZERO), bloom: Some(Bloom::from_iter([other])), ..Default::default() };
    let conn = network.dial_with(0, &by_bloom);
    assert_eq!(network.heard_envelopes(0, conn).concat().len(), 1);
    let picky = StatusOptions { pow: Some(Pow::new(1e9).unwrap()), ..Default::default() };
    let conn = network.dial_with(0, &picky);
    assert!(network.heard_envelopes(0, conn).is_empty());
}

#[test]
fn a_pool_of_several_packets_is_split_and_arrives_whole() {
    let mut network = Network::new([easy(), easy()]);
    let posted: Vec<_> = (0..13).map(|nonce| network.post(0, envelope(TOPIC, 90_000, nonce)).unwrap().hash).collect();
    let conn = network.dial_wanting_all(0);
    let packets = network.heard_envelopes(0, conn);
    assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [11, 2]);
    let bodies = network.heard[&(0, conn)].iter().map(|(_, body)| body.len());
    assert!(bodies.max().unwrap() <= MAX_SENT_BODY);
    let mut heard = packets.concat();
    heard.sort_unstable();
    let mut all = posted;
    all.sort_unstable();
    assert_eq!(heard, all);
    network.join(0, 1);
    assert_eq!(network.delivered(1).len(), 13);
}

#[test]
fn a_slot_that_is_used_again_starts_anew() {
    let mut network = Network::new([easy()]);
    let e = envelope(TOPIC, 10, 1);
    network.post(0, e.clone()).unwrap();
    for _ in 0..3 {
        let conn = network.dial_wanting_all(0);
        assert_eq!(network.heard_envelopes(0, conn), [[e.hash()]]);
        network.cut(0, conn);
    }
    assert_eq!(network.stories[0].gone.len(), 3);
}

#[test]
fn topic_interest_gets_only_its_topics() {
    let (a, b) = (Topic(*b"aaaa"), Topic(*b"bbbb"));
    let mut network = Network::new([easy(), wanting(&[a]), wanting(&[b])]);
    network.join(0, 1);
    network.join(0, 2);
    let (for_a, for_b) = (envelope(a, 10, 1), envelope(b, 10, 2));
    assert_eq!(network.post(0, for_a.clone()).unwrap().sent_to, 1);
    assert_eq!(network.post(0, for_b.clone()).unwrap().sent_to, 1);
    assert_eq!((network.delivered(1), network.delivered(2)), (vec![for_a.hash()], vec![for_b.hash()]));
    let conn = network.dial_wanting_all(1);
    network.say(1, conn, Code::Messages, bundle([&for_b]));
    assert_eq!(network.counted(1, "not_wanted"), 1);
    assert_eq!(network.post(1, for_b), Err(PostError::Refused(Refusal::NotWanted)));
}

#[test]
fn a_peer_that_changes_its_interest_gets_the_pool_again_but_nothing_twice() {
    let mut network = Network::new([easy()]);
    let (a, b) = (Topic(*b"aaaa"), Topic(*b"bbbb"));
    let (for_a, for_b) = (envelope(a, 10, 1), envelope(b, 10, 2));
    network.post(0, for_a.clone()).unwrap();
    network.post(0, for_b.clone()).unwrap();
    let conn = network.dial_wanting(0, &[a]);
    let both = StatusOptions { topics: Some(vec![a, b]), ..Default::default() }.encode_update(Version::Waku0);
    network.say(0, conn, Code::StatusUpdate, both);
    network.pass(SECOND);
    assert_eq!(network.heard_envelopes(0, conn), [[for_a.hash()], [for_b.hash()]]);
}

#[test]
fn in_a_storm_of_updates_the_last_one_holds() {
    let mut network = Network::new([unlimited()]);
    let conn = network.dial_wanting(0, &[]);
    let topic = |i: u32| Topic(i.to_be_bytes());
    for i in 0..1_000 {
        let options = StatusOptions { bloom: Some(Bloom::from_iter([topic(i)])), ..Default::default() };
        network.say(0, conn, Code::StatusUpdate, options.encode_update(Version::Waku0));
    }
    let none = StatusOptions { topics: Some(vec![topic(7)]), ..Default::default() }.encode_update(Version::Waku0);
    network.say(0, conn, Code::StatusUpdate, none);
    network.post(0, envelope(topic(999), 10, 1)).unwrap();
    let last = network.post(0, envelope(topic(7), 10, 2)).unwrap();
    network.pass(SECOND);
    assert_eq!(network.heard_envelopes(0, conn), [[last.hash]]);
}

#[test]
fn a_batch_travels_as_one_packet_to_those_who_want_the_same() {
    let (a, b) = (Topic(*b"aaaa"), Topic(*b"bbbb"));
    let mut network = Network::new([easy()]);
    let sender = network.dial_wanting_all(0);
    let everything = [network.dial_wanting_all(0), network.dial_wanting_all(0)];
    let only_a = network.dial_wanting(0, &[a]);
    let batch: Vec<_> = (0..20).map(|nonce| envelope(if nonce % 2 == 0 { a } else { b }, 100, nonce)).collect();
    network.say(0, sender, Code::Messages, bundle(&batch));
    let of_topic = |topic| batch.iter().filter(|e| e.topic() == topic).map(Envelope::hash).collect::<Vec<_>>();
    assert_eq!(network.heard_envelopes(0, only_a), [of_topic(a)]);
    for conn in everything {
        assert_eq!(network.heard_envelopes(0, conn), [of_topic(a), of_topic(b)]);
    }
    // Encoded once: the two get the very same bytes.
    let [first, second] = everything.map(|conn| network.heard[&(0, conn)][1].1.as_ptr());
    assert_eq!(first, second);
}

#[test]
fn packets_read_before_the_next_action_are_forwarded_together() {
    let mut network = Network::new([easy()]);
    let (sender, receiver) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let envelopes: Vec<_> = (0..10).map(|nonce| envelope(TOPIC, 100, nonce)).collect();
    for e in &envelopes {
        let now = network.now;
        network.nodes[0].receive(now, sender, Code::Messages.number(), bundle(std::slice::from_ref(e)));
    }
    network.settle();
    assert_eq!(network.heard_envelopes(0, receiver), [envelopes.iter().map(Envelope::hash).collect::<Vec<_>>()]);
    assert_eq!(network.delivered(0).len(), 10);
}

#[test]
fn a_newcomer_amid_a_batch_gets_nothing_twice() {
    let mut network = Network::new([easy()]);
    let (sender, gone) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let newcomer = network.dial(0);
    let e = envelope(TOPIC, 100, 1);
    let (now, node) = (network.now, &mut network.nodes[0]);
    node.receive(now, sender, Code::Messages.number(), bundle([&e]));
    node.disconnected(now, gone);
    let status = StatusOptions { pow: Some(Pow::ZERO), ..Default::default() }.encode_status(Version::Waku0);
    node.receive(now, newcomer, Code::Status.number(), status);
    network.settle();
    assert_eq!(network.heard_envelopes(0, newcomer), [[e.hash()]]);
}

#[test]
fn light_nodes_post_and_do_not_relay() {
    let light = Settings { light: true, ..easy() };
    let mut network = Network::new([easy(), light, easy()]);
    network.join(0, 1);
    network.join(1, 2);
    let (theirs, own) = (envelope(TOPIC, 10, 1), envelope(TOPIC, 10, 2));
    network.post(0, theirs.clone()).unwrap();
    assert_eq!((network.delivered(1), network.delivered(2)), (vec![theirs.hash()], vec![]));
    network.post(1, own.clone()).unwrap();
    assert_eq!((network.delivered(0), network.delivered(2)), (vec![own.hash()], vec![own.hash()]));
    let newcomer = network.dial_wanting_all(1);
    assert_eq!(network.heard_envelopes(1, newcomer), [[own.hash()]]);
}

#[test]
fn light_peers_are_sent_what_they_want() {
    let mut network = Network::new([easy(), Settings { light: true, ..wanting(&[TOPIC]) }]);
    network.join(0, 1);
    let e = envelope(TOPIC, 10, 1);
    network.post(0, e.clone()).unwrap();
    network.post(0, envelope(Topic(*b"othr"), 10, 2)).unwrap();
    assert_eq!(network.delivered(1), [e.hash()]);
}

#[test]
fn posting_twice_is_success_and_sends_once() {
    let mut network = chain();
    let e = envelope(TOPIC, 10, 1);
    network.post(0, e.clone()).unwrap();
    let again = network.post(0, e.clone()).unwrap();
    assert!(again.already_pooled && again.sent_to == 0);
    assert!(network.post(2, e).unwrap().already_pooled);
    assert_eq!(network.packets, 2);
}

#[test]
fn what_fits_no_packet_is_kept_and_sent_to_nobody() {
    let mut network = Network::new([easy()]);
    let (sender, receiver) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    // 20 and the data are exactly the limit; the packet around them is longer.
    let large = envelope(TOPIC, (1 << 20) - 20, u64::MAX);
    let body = [&[0xfa, 0x10, 0x00, (large.raw().len() - (1 << 20)) as u8][..], large.raw()].concat();
    network.say(0, sender, Code::Messages, body.into());
    assert_eq!(network.delivered(0), [large.hash()]);
    assert!(network.heard_envelopes(0, receiver).is_empty());
    assert!(matches!(network.post(0, envelope(TOPIC, (1 << 20) - 20, 1)), Err(PostError::TooLong { .. })));
    let larger = envelope(TOPIC, (1 << 20) - 19, 1);
    let body = [&[0xfa, 0x10, 0x00, (larger.raw().len() - (1 << 20)) as u8][..], larger.raw()].concat();
    network.say(0, sender, Code::Messages, body.into());
    assert_eq!((network.counted(0, "too_large"), network.left_with(0)), (1, vec![]));
}

#[test]
fn a_full_pool_prefers_work_and_forgets_nothing_it_dropped() {
    let pool = PoolLimits { max_envelopes: 2, ..PoolLimits::default() };
    let mut network = Network::new([Settings { pool, ..easy() }]);
    let conn = network.dial_wanting_all(0);
    let unsealed = Unsealed::new(START + 60, 60, TOPIC, vec![1; 100].into()).unwrap();
    let with_bits = |bits| unsealed.clone().seal((0..).find(|nonce| unsealed.zero_bits(*nonce) == bits).unwrap());
    let [none, some, more, most] = [0, 2, 4, 6].map(with_bits);
    for e in [&some, &more, &most, &none, &some] {
        network.say(0, conn, Code::Messages, bundle(std::slice::from_ref(e)));
    }
    assert_eq!(network.delivered(0), [some.hash(), more.hash(), most.hash()]);
    assert_eq!((network.counted(0, "pool_full"), network.duplicates(0)), (1, 1));
    assert_eq!(network.nodes[0].pool().len(), 2);
}

#[test]
fn a_full_connection_waits_and_loses_nothing() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    network.full.push(conn);
    let posted: Vec<_> = (0..10).map(|nonce| network.post(0, envelope(TOPIC, 10, nonce)).unwrap().hash).collect();
    network.pass(SECOND);
    assert!(network.heard_envelopes(0, conn).is_empty());
    network.full.clear();
    network.pass(Duration::from_millis(100));
    let heard = network.heard_envelopes(0, conn);
    // The first was refused as a packet; the others waited as hashes and share one.
    assert_eq!(heard.iter().map(Vec::len).collect::<Vec<_>>(), [1, 9]);
    assert_eq!(heard.concat(), posted);
    let after = network.post(0, envelope(TOPIC, 10, 99)).unwrap();
    assert_eq!(network.heard_envelopes(0, conn).last().unwrap(), &[after.hash]);
}

#[test]
fn what_expires_in_a_slow_peers_queue_is_left_out() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    network.full.push(conn);
    let short = |nonce| Envelope::new(START + 2, 2, TOPIC, vec![1].into(), nonce).unwrap();
    let kept = network.post(0, short(0)).unwrap(); // Encoded before the connection was known to be full.
    network.post(0, short(1)).unwrap();
    let alive = network.post(0, envelope(TOPIC, 10, 2)).unwrap();
    network.pass(5 * SECOND);
    network.full.clear();
    network.pass(SECOND);
    assert_eq!(network.heard_envelopes(0, conn), [[kept.hash], [alive.hash]]);
}

#[test]
fn a_peer_behind_by_more_than_the_pool_is_left() {
    let pool = PoolLimits { max_envelopes: 5, ..PoolLimits::default() };
    let mut network = Network::new([Settings { pool, ..easy() }]);
    let (slow, quick) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    network.full.push(slow);
    let mut posted = Vec::new();
    for nonce in 0..8 {
        let sooner = Envelope::new(START + 20 + nonce, 10, TOPIC, vec![1].into(), u64::from(nonce)).unwrap();
        posted.extend(network.post(0, sooner).ok());
        network.pass(Duration::from_millis(1));
    }
    for second in 1..20 {
        network.pass(2 * SECOND);
        let later = Envelope::new(START + 60 + second, 50, TOPIC, vec![1].into(), u64::from(second)).unwrap();
        posted.extend(network.post(0, later).ok());
    }
    assert!(network.stories[0].left.iter().any(|(conn, fault)| *conn == slow && fault.reason().code() == 0x10));
    assert_eq!(network.heard_envelopes(0, quick).concat().len(), posted.len());
}

#[test]
fn kept_envelopes_do_not_keep_the_packet_that_brought_them() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    let batch: Vec<_> = (0..10).map(|nonce| envelope(TOPIC, 100, nonce)).collect();
    let body = bundle(&batch);
    network.say(0, conn, Code::Messages, body.clone());
    for e in &batch {
        let kept = network.nodes[0].pool().get(&e.hash()).unwrap();
        assert!(!body.as_ptr_range().contains(&kept.envelope.raw().as_ptr()));
    }
    assert_eq!(hashes(&body).len(), network.nodes[0].pool().len());
}
