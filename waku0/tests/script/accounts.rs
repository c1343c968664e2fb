//! What each peer brought and was brought.

use std::time::Duration;

use devp2p::{ConnId, NodeId};
use waku0::{
    Envelope, Topic,
    accounting::{Account, Epoch, Volume},
    packet::Code,
};

use super::network::{Network, START, TOPIC, bundle, envelope, node_id, unlimited, wanting};

const EPOCH: Duration = Duration::from_secs(60);

fn volume(envelopes: &[&Envelope]) -> Volume {
    let bytes = envelopes.iter().map(|envelope| envelope.raw().len() as u64).sum();
    Volume { envelopes: envelopes.len() as u64, bytes }
}

/// Closes the first node's accounts and tells this peer's.
fn account(network: &mut Network, conn: ConnId) -> Account {
    network.nodes[0].close_accounts(network.now);
    network.settle();
    let rows: Vec<(NodeId, Account)> = network.stories[0].epochs.drain(..).flat_map(|epoch| epoch.accounts).collect();
    rows.into_iter().find(|(peer, _)| *peer == node_id(conn)).map(|(_, account)| account).unwrap_or_default()
}

#[test]
fn r_072_only_what_was_expected_counts_and_once_for_each_peer() {
    let mut network = Network::new([wanting(&[TOPIC])]);
    let (first, second) = (network.dial_wanting(0, &[]), network.dial_wanting(0, &[]));
    let (new, more) = (envelope(TOPIC, 100, 1), envelope(TOPIC, 30, 2));
    let unwanted = envelope(Topic(*b"none"), 50, 3);
    let expired = Envelope::new(START - 30, 10, TOPIC, vec![0; 9].into(), 4).unwrap();
    network.say(0, first, Code::Messages, bundle([&new, &unwanted, &expired, &new]));
    network.say(0, second, Code::Messages, bundle([&new, &more]));
    network.say(0, second, Code::Messages, bundle([&new]));
    network.nodes[0].close_accounts(network.now);
    network.settle();
    let [epoch] = &network.stories[0].epochs[..] else { panic!("{:?}", network.stories[0].epochs) };
    let received = |envelopes: &[&Envelope]| Account { received: volume(envelopes), ..Account::default() };
    let mut rows = [(node_id(first), received(&[&new])), (node_id(second), received(&[&new, &more]))];
    rows.sort_unstable_by_key(|(peer, _)| *peer);
    assert_eq!(epoch.accounts, rows);
}

#[test]
fn r_071_what_a_peer_was_brought_counts_once_its_connection_has_taken_it() {
    let mut network = Network::new([unlimited()]);
    let (reads, slow) = (network.dial_wanting(0, &[TOPIC]), network.dial_wanting_all(0));
    let (a, b) = (envelope(TOPIC, 100, 1), envelope(Topic(*b"else"), 30, 2));
    network.full.push(slow);
    network.post(0, a.clone()).unwrap();
    network.post(0, b.clone()).unwrap();
    network.nodes[0].close_accounts(network.now);
    network.settle();
    let rows = network.stories[0].epochs.pop().unwrap().accounts;
    assert_eq!(rows, [(node_id(reads), Account { sent: volume(&[&a]), ..Account::default() })]);
    network.full.clear();
    network.pass(Duration::from_secs(1));
    assert_eq!(network.heard_envelopes(0, slow).concat().len(), 2);
    assert_eq!(account(&mut network, slow).sent, volume(&[&a, &b]));
}

#[test]
fn r_073_an_epoch_is_closed_after_a_minute_and_when_the_node_stops() {
    let mut network = Network::new([unlimited()]);
    let peer = network.dial_wanting(0, &[]);
    let (one, two) = (envelope(TOPIC, 10, 1), envelope(TOPIC, 10, 2));
    network.say(0, peer, Code::Messages, bundle([&one]));
    network.pass(EPOCH);
    let at = u64::from(START) - u64::from(START) % EPOCH.as_secs();
    let row = (node_id(peer), Account { received: volume(&[&one]), ..Account::default() });
    assert_eq!(network.stories[0].epochs, [Epoch { start: at, accounts: vec![row] }]);
    let two = Envelope::new(two.expiry() + 60, 60, TOPIC, two.data().clone(), 2).unwrap();
    network.say(0, peer, Code::Messages, bundle([&two]));
    assert_eq!(account(&mut network, peer).received, volume(&[&two]));
    network.pass(EPOCH);
    assert!(network.stories[0].epochs.is_empty());
}
