//! Confirmations: what peers are told of what they sent, and what becomes of own posts.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use devp2p::ConnId;
use waku0::{
    Envelope, EnvelopeHash, Pow,
    confirm::{CONFIRM_TIMEOUT, MAX_BATCHES, MAX_POSTS, Outcome},
    fault::Fault,
    limits::Meter,
    node::{Change, Settings},
    packet::{
        Code,
        confirm::{BatchHash, RefusedEnvelope, Response, encode_response},
    },
    status::StatusOptions,
};

use super::network::{Network, START, TOPIC, bundle, easy, envelope, node_id, unlimited, wanting};

fn confirming() -> Settings {
    Settings { confirmations: true, ..easy() }
}

fn dial_confirming(network: &mut Network) -> ConnId {
    let options = StatusOptions { pow: Some(Pow::ZERO), confirmations: Some(true), ..Default::default() };
    network.dial_with(0, &options)
}

/// The body of the last packet of envelopes that the script heard.
fn last_batch(network: &Network, conn: ConnId) -> BatchHash {
    BatchHash::of(network.heard_bodies(0, conn, Code::Messages).last().unwrap())
}

fn refusal(batch: BatchHash, hash: EnvelopeHash, text: &str) -> Bytes {
    encode_response(batch, &[RefusedEnvelope { hash, code: 21, text: text.as_bytes() }])
}

fn acknowledged(hash: EnvelopeHash, conn: ConnId) -> (EnvelopeHash, Outcome) {
    (hash, Outcome::Acknowledged { by: node_id(conn) })
}

fn refused(hash: EnvelopeHash, conn: ConnId, text: &str) -> (EnvelopeHash, Outcome) {
    (hash, Outcome::Refused { by: node_id(conn), text: text.into() })
}

#[test]
fn r_058_every_batch_is_answered_by_a_response_and_then_an_ack() {
    let mut network = Network::new([confirming()]);
    // Whatever the sender has announced.
    let conn = network.dial_wanting_all(0);
    let body = bundle([&envelope(TOPIC, 10, 1), &envelope(TOPIC, 10, 2)]);
    for _ in 0..2 {
        network.say(0, conn, Code::Messages, body.clone()); // Duplicates are no error.
    }
    let batch = BatchHash::of(&body);
    let answers = [(12, encode_response(batch, &[])), (11, batch.encode_ack())];
    assert_eq!(network.heard[&(0, conn)][1..], [answers.clone(), answers].concat());
    network.change(0, Change::Confirmations(false));
    network.say(0, conn, Code::Messages, body);
    assert_eq!(network.heard_bodies(0, conn, Code::BatchAck).len(), 2);
}

#[test]
fn r_061_refusals_are_listed_with_the_code_for_clocks_or_the_other() {
    let settings = Settings { confirmations: true, max_message_size: 1_000, ..wanting(&[TOPIC]) };
    let mut network = Network::new([settings]);
    let conn = network.dial_wanting_all(0);
    let sent_at = |sent: u32| Envelope::new(sent + 5, 5, TOPIC, vec![1].into(), u64::from(sent)).unwrap();
    let good = envelope(TOPIC, 10, 1);
    let [future, expired, very_old] = [START + 11, START - 6, START - 26].map(sent_at);
    let other = envelope(waku0::Topic(*b"othr"), 10, 2);
    let large = envelope(TOPIC, 2_000, 3);
    let body = bundle([&future, &good, &expired, &very_old, &other, &large]);
    network.say(0, conn, Code::Messages, body.clone());
    let response = network.heard_bodies(0, conn, Code::MessageResponse).remove(0);
    let response = Response::decode(&response).unwrap();
    let listed: Vec<_> = response.refused().map(|entry| (entry.hash, entry.code)).collect();
    assert_eq!(response.batch, BatchHash::of(&body));
    // What has just expired is dropped without a word.
    assert_eq!(listed, [(future.hash(), 1), (very_old.hash(), 1), (other.hash(), 2), (large.hash(), 2)]);
}

#[test]
fn little_work_has_the_other_code() {
    let mut network = Network::new([Settings { min_pow: Pow::new(1e9).unwrap(), ..confirming() }]);
    let conn = network.dial_wanting_all(0);
    network.say(0, conn, Code::Messages, bundle([&envelope(TOPIC, 10, 1)]));
    let body = network.heard_bodies(0, conn, Code::MessageResponse).remove(0);
    let entry = Response::decode(&body).unwrap().refused().next().unwrap();
    assert_eq!((entry.code, entry.text), (2, &b"too little proof of work"[..]));
}

#[test]
fn a_post_ends_as_acknowledged_by_whom() {
    let mut network = Network::new([easy()]);
    let conn = dial_confirming(&mut network);
    let hash = network.post(0, envelope(TOPIC, 10, 1)).unwrap().hash;
    let batch = last_batch(&network, conn);
    network.say(0, conn, Code::MessageResponse, encode_response(batch, &[]));
    network.say(0, conn, Code::BatchAck, batch.encode_ack());
    assert_eq!(network.stories[0].ended, [acknowledged(hash, conn)]);
    // A peer of the first days sends the ack alone.
    let hash = network.post(0, envelope(TOPIC, 10, 2)).unwrap().hash;
    let batch = last_batch(&network, conn);
    network.say(0, conn, Code::BatchAck, batch.encode_ack());
    assert_eq!(network.stories[0].ended[1..], [acknowledged(hash, conn)]);
    network.pass(2 * CONFIRM_TIMEOUT);
    assert_eq!(network.stories[0].ended.len(), 2);
}

#[test]
fn a_post_ends_as_refused_with_the_text_when_nobody_else_may_take_it() {
    let mut network = Network::new([easy()]);
    let (a, b) = (dial_confirming(&mut network), dial_confirming(&mut network));
    let hash = network.post(0, envelope(TOPIC, 10, 1)).unwrap().hash;
    let batch = last_batch(&network, a);
    network.say(0, a, Code::MessageResponse, refusal(batch, hash, "very old envelope"));
    assert_eq!(network.stories[0].ended, []);
    network.say(0, b, Code::MessageResponse, refusal(batch, hash, "envelope from future"));
    assert_eq!(network.stories[0].ended, [refused(hash, b, "envelope from future")]);

    let hash = network.post(0, envelope(TOPIC, 10, 2)).unwrap().hash;
    let batch = last_batch(&network, a);
    network.say(0, a, Code::MessageResponse, refusal(batch, hash, "no"));
    network.say(0, b, Code::BatchAck, batch.encode_ack());
    assert_eq!(network.stories[0].ended[1..], [acknowledged(hash, b)]);

    let hash = network.post(0, envelope(TOPIC, 10, 3)).unwrap().hash;
    let batch = last_batch(&network, a);
    network.say(0, a, Code::MessageResponse, refusal(batch, hash, "no"));
    network.cut(0, b);
    assert_eq!(network.stories[0].ended[2..], [refused(hash, a, "no")]);
}

#[test]
fn r_083_a_post_ends_as_unanswered_in_time_whoever_was_there() {
    let mut network = Network::new([easy()]);
    let alone = network.post(0, envelope(TOPIC, 10, 1)).unwrap().hash;
    let (silent, plain) = (dial_confirming(&mut network), network.dial_wanting_all(0));
    network.pass(Duration::from_secs(1));
    let unanswered = network.post(0, envelope(TOPIC, 10, 2)).unwrap().hash;
    network.pass(CONFIRM_TIMEOUT - Duration::from_secs(1));
    assert_eq!(network.stories[0].ended, [(alone, Outcome::Unanswered)]);
    network.pass(Duration::from_secs(1));
    assert_eq!(network.stories[0].ended[1..], [(unanswered, Outcome::Unanswered)]);
    // Late answers change nothing, and cost nobody anything.
    let batch = last_batch(&network, silent);
    network.say(0, silent, Code::BatchAck, batch.encode_ack());
    assert_eq!((network.stories[0].ended.len(), network.left_with(0).len()), (2, 0));
    assert_eq!(network.heard_envelopes(0, plain).concat().len(), 2);
}

#[test]
fn a_batch_of_own_and_others_envelopes_tells_about_the_own_ones() {
    let mut network = Network::new([easy()]);
    let (sender, conn) = (network.dial_wanting(0, &[]), dial_confirming(&mut network));
    let (own, theirs) = (envelope(TOPIC, 10, 1), envelope(TOPIC, 10, 2));
    let now = network.now;
    network.nodes[0].receive(now, sender, Code::Messages.number(), bundle([&theirs]));
    network.nodes[0].post(now, own.clone()).unwrap();
    network.settle();
    assert_eq!(network.heard_envelopes(0, conn), [[theirs.hash(), own.hash()]]);
    let batch = last_batch(&network, conn);
    network.say(0, conn, Code::MessageResponse, refusal(batch, theirs.hash(), "no"));
    assert_eq!(network.stories[0].ended, [acknowledged(own.hash(), conn)]);
}

#[test]
fn between_two_nodes_every_post_is_confirmed() {
    let mut network = Network::new([confirming(), confirming()]);
    network.join(0, 1);
    for nonce in 0..20 {
        network.post(0, envelope(TOPIC, 10, nonce)).unwrap();
    }
    assert!(network.stories[0].ended.iter().all(|(_, outcome)| matches!(outcome, Outcome::Acknowledged { .. })));
    assert_eq!(network.stories[0].ended.len(), 20);
    assert!(network.left_with(0).is_empty() && network.left_with(1).is_empty());
}

/// A peer that confirms answers each packet with two; at the rate that we allow it, that must not be held against it.
#[test]
fn answers_to_what_we_send_are_not_counted_against_a_peer() {
    let mut network = Network::new([easy()]);
    let conn = dial_confirming(&mut network);
    for nonce in 0..1_000 {
        network.post(0, envelope(TOPIC, 10, nonce)).unwrap();
    }
    for body in network.heard_bodies(0, conn, Code::Messages) {
        let batch = BatchHash::of(&body);
        network.say(0, conn, Code::MessageResponse, encode_response(batch, &[]));
        network.say(0, conn, Code::BatchAck, batch.encode_ack());
    }
    assert_eq!(network.stories[0].ended.len(), MAX_BATCHES, "of the others nobody waits for an answer");
    let counted = Meter::ALL.map(|meter| network.nodes[0].counters().excess.of(meter));
    assert_eq!(counted, [0; 5]);
    // Others are.
    for _ in 0..600 {
        network.say(0, conn, Code::BatchAck, BatchHash::of(b"").encode_ack());
    }
    assert_eq!(network.stories[0].left, [(conn, Fault::OverRate(Meter::PeerPackets))]);
}

/// Acknowledgements of batches never sent, as many as one likes, are ignored, and kept nowhere.
#[test]
fn h36_a_million_answers_never_asked_for_are_ignored() {
    let mut network = Network::new([unlimited()]);
    let conn = dial_confirming(&mut network);
    let hash = network.post(0, envelope(TOPIC, 10, 1)).unwrap().hash;
    let batch = last_batch(&network, conn);
    let now = network.now;
    for n in 0..1_000_000_u32 {
        let unknown = BatchHash::from([n.to_be_bytes(); 8].concat().try_into().map(|bytes: [u8; 32]| bytes).unwrap());
        let (code, body) = match n % 2 {
            0 => (Code::BatchAck, unknown.encode_ack()),
            _ => (Code::MessageResponse, refusal(unknown, hash, "no")),
        };
        network.nodes[0].receive(now, conn, code.number(), body);
    }
    network.settle();
    assert_eq!((network.stories[0].ended.len(), network.left_with(0).len()), (0, 0));
    assert_eq!(network.nodes[0].counters().answers_ignored.load(Relaxed), 1_000_000);
    // Another peer cannot answer for the one that was asked, and the latter still can.
    let stranger = dial_confirming(&mut network);
    network.cut(0, stranger);
    network.say(0, conn, Code::BatchAck, batch.encode_ack());
    assert_eq!(network.stories[0].ended, [acknowledged(hash, conn)]);
}

#[test]
fn posts_are_followed_up_to_a_bound_and_each_of_them_ends() {
    let mut network = Network::new([unlimited()]);
    for nonce in 0..MAX_POSTS as u64 + 10 {
        network.post(0, envelope(TOPIC, 10, nonce)).unwrap();
    }
    assert_eq!(network.stories[0].ended.len(), 10);
    network.pass(CONFIRM_TIMEOUT);
    assert_eq!(network.stories[0].ended.len(), MAX_POSTS + 10);
    let again = network.post(0, envelope(TOPIC, 10, 1)).unwrap();
    assert!(again.already_pooled && !network.nodes[0].follows(&again.hash));
}
