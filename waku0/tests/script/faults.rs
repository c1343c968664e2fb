//! When the surroundings misbehave: clocks that jump, peers that read slowly, peers that come and go.

use std::{collections::BTreeSet, time::Duration};

use devp2p::ConnId;
use waku0::{
    Envelope, Pow,
    admit::Refusal,
    node::{Action, PostError},
    packet::Code,
    status::StatusOptions,
    version::Version,
};

use super::network::{Network, START, TOPIC, bundle, easy, remote, unlimited};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const DAY_SECS: u32 = 86_400;

/// An envelope sent then, in seconds since the start.
fn sent_at(seconds: i64, nonce: u64) -> Envelope {
    let sent = u32::try_from(i64::from(START) + seconds).unwrap();
    Envelope::new(sent + 60, 60, TOPIC, vec![1].into(), nonce).unwrap()
}

/// Timers go by a clock that does not jump; what an envelope is worth goes by the one that does, and peers that have it
/// right are not blamed.
#[test]
fn f10_a_clock_that_jumps_a_day_costs_envelopes_while_it_is_off_and_no_peers() {
    let mut network = Network::new([unlimited()]);
    let (conn, other) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    let before = sent_at(0, 1);
    network.say(0, conn, Code::Messages, bundle([&before]));
    let right = network.now.unix;

    network.now.unix = right + DAY;
    network.pass(2 * SECOND);
    assert!(network.nodes[0].pool().is_empty(), "what has expired by our clock is gone");
    network.say(0, conn, Code::Messages, bundle(&vec![sent_at(2, 2); 500]));
    assert_eq!((network.counted(0, "very_old"), network.left_with(0)), (500, vec![]));
    assert!(network.post(0, sent_at(i64::from(DAY_SECS) + 2, 3)).is_ok());

    network.now.unix = right - DAY;
    network.pass(2 * SECOND);
    network.say(0, conn, Code::Messages, bundle(&vec![sent_at(4, 4); 500]));
    assert_eq!((network.counted(0, "future"), network.left_with(0)), (500, vec![]));
    assert_eq!(network.post(0, sent_at(4, 5)), Err(PostError::Refused(Refusal::Future)));

    network.now.unix = right + 6 * SECOND;
    let after = sent_at(6, 6);
    network.say(0, conn, Code::Messages, bundle([&before, &after]));
    assert_eq!(network.delivered(0), [before.hash(), after.hash()], "what was here is still no news");
    assert!(network.heard_envelopes(0, other).concat().contains(&after.hash()));
    // A second a minute, both ways.
    for minute in 0..20_u64 {
        network.pass(60 * SECOND);
        network.now.unix = right + Duration::from_secs(6 + minute * 60) + minute.min(19 - minute) as u32 * SECOND;
        let now = i64::try_from((network.now.unix - Duration::from_secs(START.into())).as_secs()).unwrap();
        network.say(0, conn, Code::Messages, bundle([&sent_at(now - 1, 100 + minute)]));
    }
    assert_eq!((network.delivered(0).len(), network.left_with(0)), (22, vec![]));
}

/// Its connection takes a kilobyte a second for ten minutes, and four are to go to it.
#[test]
fn f24_a_slow_reader_gets_what_is_still_of_use_and_the_others_all_at_once() {
    let mut network = Network::new([unlimited()]);
    let (slow, quick) = (network.dial_wanting_all(0), network.dial_wanting_all(0));
    network.room.insert(slow, 0);
    let (mut posted, mut most_pooled) = (Vec::new(), 0);
    for quarter in 0..2_400_u32 {
        if quarter % 4 == 0 {
            *network.room.get_mut(&slow).unwrap() += 1_000;
        }
        let sent = START + quarter / 4;
        let e = Envelope::new(sent + 20, 20, TOPIC, vec![7; 900].into(), quarter.into()).unwrap();
        posted.push(network.post(0, e).unwrap().hash);
        assert_eq!(network.heard[&(0, quick)].len() - 1, posted.len(), "a packet at once, after the Status");
        network.pass(SECOND / 4);
        most_pooled = most_pooled.max(network.nodes[0].pool().len());
    }
    assert_eq!(network.heard_envelopes(0, quick).concat(), posted);
    assert!(most_pooled <= 90, "{most_pooled} kept, whoever waits for them");
    assert!(network.left_with(0).is_empty());
    let heard = network.heard_envelopes(0, slow).concat();
    let bytes: usize = network.heard[&(0, slow)].iter().map(|(_, body)| body.len()).sum();
    assert!(heard.len() >= 300, "{} envelopes in {bytes} bytes", heard.len());
    assert_eq!(heard.iter().collect::<BTreeSet<_>>().len(), heard.len(), "none twice");
}

/// Two hundred peers join, say something and leave, every ten seconds for an hour; then nothing is left of them.
#[test]
fn f25_an_hour_of_peers_that_come_and_go_leaves_nothing_behind() {
    let mut network = Network::new([easy()]);
    let options = StatusOptions { pow: Some(Pow::ZERO), ..Default::default() };
    let node = &mut network.nodes[0];
    let mut now = network.now;
    let mut printed = Vec::new();
    for round in 0..360_u32 {
        let conns: Vec<_> = (0..200_u64).map(|at| ConnId(u64::from(round) * 200 + at)).collect();
        for conn in &conns {
            // Addresses of fifty networks.
            let from = remote(ConnId(conn.0 % 12_000));
            node.connected(now, *conn, from, Version::Waku0);
            if conn.0 % 10 > 0 {
                node.receive(now, *conn, Code::Status.number(), options.encode_status(Version::Waku0));
            }
        }
        let e = Envelope::new(START + round * 10 + 5, 5, TOPIC, vec![1; 50].into(), round.into()).unwrap();
        node.receive(now, conns[1], Code::Messages.number(), bundle([&e]));
        let sent = std::iter::from_fn(|| node.next_action()).filter(|action| matches!(action, Action::Send { .. }));
        assert_eq!(sent.count(), 200 + 179, "a Status for each, and the envelope for the other running ones");
        conns.iter().for_each(|conn| node.disconnected(now, *conn));
        for _ in 0..10 {
            now = now.after(SECOND);
            node.tick(now);
        }
        while node.next_action().is_some() {}
        assert!(node.pool().is_empty());
        if round % 60 == 59 {
            printed.push(format!("{node:?}").len());
        }
    }
    let (first, last) = (printed[0], printed[5]);
    assert!(last < first + first / 5, "all that the node knows took {first} bytes to print and then {last}");
}
