//! Packets between two peers, outside of gossip.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use waku0::{
    Envelope, Settings, Topic,
    fault::Fault,
    mail::Asked,
    node::{Action, Node, NotSent},
    outbox::MAX_MAIL,
    packet::{
        Code,
        p2p::{Completion, Direct},
    },
};

use super::network::{Network, TOPIC, bundle, easy, envelope};

fn completion() -> Completion {
    Completion::Done { request: [1; 32], last: None, cursor: None }
}

#[test]
fn r_063_envelopes_of_a_trusted_peer_are_handed_over_unchecked_and_go_nowhere_else() {
    let mut network = Network::new([easy()]);
    let (conn, other) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let now = network.now;
    assert!(network.nodes[0].trust(now, conn, true));
    // Long expired, with a TTL of 0, no work and of any topic.
    let old = Envelope::new(5, 0, Topic(*b"hist"), Bytes::from_static(b"x"), 0).unwrap();
    network.say(0, conn, Code::P2pMessage, bundle([&old, &envelope(TOPIC, 10, 1)]));
    network.say(0, conn, Code::P2pMessage, old.raw().clone()); // Bare, as servers of the Whisper era send one.
    network.say(0, conn, Code::P2pRequestComplete, completion().encode());
    let direct = &network.stories[0].direct;
    let counts: Vec<_> = direct
        .iter()
        .map(|(from, packet)| match packet {
            Direct::Envelopes(envelopes) => (*from, envelopes.clone().flatten().flatten().count()),
            Direct::Completion(read) => (*from, usize::from(*read == completion()) * 100),
            Direct::SyncResponse(_) => panic!("not in this script"),
        })
        .collect();
    assert_eq!(counts, [(conn, 2), (conn, 1), (conn, 100)]);
    assert!(network.delivered(0).is_empty() && network.nodes[0].pool().is_empty());
    assert!(network.heard_envelopes(0, other).is_empty());
    assert_eq!(network.nodes[0].counters().p2p_received.load(Relaxed), 3);
    // The same envelope by gossip is new.
    network.say(0, conn, Code::Messages, bundle([&envelope(TOPIC, 10, 1)]));
    assert_eq!(network.delivered(0).len(), 1);
}

#[test]
fn packets_of_untrusted_peers_are_counted_and_not_even_read() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    for body in [bundle([&envelope(TOPIC, 10, 1)]), Bytes::from_static(b"\xff"), completion().encode()] {
        network.say(0, conn, Code::P2pMessage, body.clone());
        network.say(0, conn, Code::P2pRequestComplete, body);
    }
    assert!(network.stories[0].direct.is_empty() && network.delivered(0).is_empty());
    assert!(network.nodes[0].pool().is_empty() && network.left_with(0).is_empty());
    assert_eq!(network.nodes[0].counters().p2p_untrusted.load(Relaxed), 6);
}

#[test]
fn trust_ends_when_it_is_taken_back_and_with_the_connection() {
    let mut network = Network::new([easy()]);
    let (conn, waiting) = (network.dial_wanting_all(0), network.dial(0));
    let now = network.now;
    let node = &mut network.nodes[0];
    assert!(!node.trust(now, waiting, true), "its Status has not come");
    assert!(node.trust(now, conn, true) && node.trust(now, conn, false));
    network.say(0, conn, Code::P2pMessage, bundle([&envelope(TOPIC, 10, 1)]));
    assert!(network.stories[0].direct.is_empty());
    let now = network.now;
    network.nodes[0].trust(now, conn, true);
    network.cut(0, conn);
    assert!(!network.nodes[0].trust(now, conn, true));
}

#[test]
fn what_a_trusted_peer_sends_and_nobody_can_read_is_a_breach() {
    for (code, body) in [(Code::P2pMessage, "ff"), (Code::P2pMessage, "c101"), (Code::P2pRequestComplete, "8101")] {
        let mut network = Network::new([easy()]);
        let conn = network.dial_wanting_all(0);
        let now = network.now;
        network.nodes[0].trust(now, conn, true);
        network.say(0, conn, code, hex::decode(body).unwrap().into());
        assert_eq!(network.left_with(0), [0x02], "{code:?} {body}");
        assert!(matches!(network.stories[0].left[0].1, Fault::P2p(_)));
    }
}

#[test]
fn r_062_requests_are_ignored_by_a_node_without_an_archive() {
    let mut network = Network::new([easy()]);
    let conn = network.dial_wanting_all(0);
    let now = network.now;
    network.nodes[0].trust(now, conn, true);
    network.say(0, conn, Code::P2pRequest, envelope(TOPIC, 10, 1).raw().clone());
    network.say(0, conn, Code::P2pRequest, Bytes::from_static(b"\xff"));
    assert_eq!(network.nodes[0].counters().requests_ignored.load(Relaxed), 2);
    assert!(network.left_with(0).is_empty() && network.nodes[0].pool().is_empty());
}

fn mailserver() -> Settings {
    Settings { serves_mail: true, ..easy() }
}

#[test]
fn requests_of_anybody_are_handed_to_who_serves_history() {
    let mut network = Network::new([mailserver()]);
    let conn = network.dial_wanting_all(0);
    network.say(0, conn, Code::P2pRequest, envelope(TOPIC, 10, 1).raw().clone());
    assert!(matches!(&network.stories[0].asked[..], [(from, Asked::History(Ok(_)))] if *from == conn));
    assert!(network.left_with(0).is_empty());
    // With a name and no more it is a request that is to be refused; without a name it is a breach.
    let named = [&[0xe2, 0xa0][..], &[7; 32], &[1]].concat();
    network.say(0, conn, Code::P2pRequest, named.into());
    assert!(matches!(&network.stories[0].asked[..], [_, (_, Asked::History(Err(_)))]));
    network.say(0, conn, Code::P2pRequest, Bytes::from_static(b"\xff"));
    assert_eq!(network.left_with(0), [0x02]);
}

#[test]
fn history_waits_for_a_full_connection_and_behind_gossip() {
    let mut network = Network::new([mailserver()]);
    let conn = network.dial_wanting_all(0);
    let now = network.now;
    let old = bundle([&Envelope::new(5, 0, Topic(*b"hist"), Bytes::from_static(b"x"), 0).unwrap()]);
    network.nodes[0].mail(now, conn, Code::P2pMessage, old.clone()).unwrap();
    network.nodes[0].post(now, envelope(TOPIC, 10, 1)).unwrap();
    let mut codes = Vec::new();
    while let Some(action) = network.nodes[0].next_action() {
        match action {
            Action::Send { packet, .. } => codes.push(packet.code),
            // The connection has enough to do.
            Action::MailReady { conn } => {
                codes.push(0);
                network.nodes[0].delay_mail(now, conn);
            }
            _ => {}
        }
    }
    assert_eq!(codes, [Code::Messages.number(), 0]);
    let wake_at = network.nodes[0].wake_at();
    assert!(wake_at <= now.instant + waku0::outbox::MAIL_RETRY);
    let later = waku0::Now { instant: wake_at, unix: now.unix + waku0::outbox::MAIL_RETRY };
    network.nodes[0].tick(later);
    assert!(matches!(network.nodes[0].next_action(), Some(Action::MailReady { conn: to }) if to == conn));
    let packet = network.nodes[0].take_mail(later, conn).unwrap();
    assert_eq!((packet.code, packet.body.plain()), (Code::P2pMessage.number(), &old));
    assert!(network.nodes[0].next_action().is_none());
}

#[test]
fn history_that_nobody_reads_is_bounded_and_keeps_to_the_peers_rate() {
    let mut network = Network::new([mailserver()]);
    let conn = network.dial_wanting_all(0);
    let now = network.now;
    let mail = |node: &mut Node| node.mail(now, conn, Code::P2pMessage, Bytes::from_static(&[0xc0]));
    assert!((0..MAX_MAIL).all(|_| mail(&mut network.nodes[0]).is_ok()));
    assert_eq!(mail(&mut network.nodes[0]), Err(NotSent::Full));
    network.cut(0, conn);
    assert_eq!(mail(&mut network.nodes[0]), Err(NotSent::Gone));
}
