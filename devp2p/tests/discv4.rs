//! Discovery in virtual time: one core against scripted strangers, then many cores joined by a lossy network.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod discv4_network;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use devp2p::clock::{self, Now};
use devp2p::discv4::packet::{
    self, EnrRequest, EnrResponse, FindNode, Neighbors, Packet, PacketError, Ping, Pong, Signed,
};
use devp2p::discv4::protocol::{Action, Protocol, Refused, Settings};
use devp2p::discv4::{Contact, Endpoint};
use devp2p::{Enode, NodeKey, enr};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn key(secret: u8) -> NodeKey {
    NodeKey::from_bytes(&[secret; 32]).unwrap()
}

/// The core under test, at 9.9.9.9:30303, with its clock.
struct Node {
    core: Protocol,
    now: Now,
    /// Everything it sent, oldest first, until taken.
    sent: Vec<(SocketAddr, Bytes)>,
    found: Vec<Enode>,
    other: Vec<Action>,
}

impl Node {
    fn new(bootstrap: Vec<Contact>) -> Self {
        let now = clock::now();
        let endpoint = Endpoint { ip: Some([9, 9, 9, 9].into()), udp: 30303, tcp: 30303 };
        let core = Protocol::new(Settings { key: key(1), endpoint, bootstrap }, [7; 32], now).unwrap();
        Self { core, now, sent: Vec::new(), found: Vec::new(), other: Vec::new() }
    }

    fn receives(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), Refused> {
        let done = self.core.receive(self.now, from, bytes);
        self.collect();
        done
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.core.tick(self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(action) = self.core.next_action() {
            match action {
                Action::Send { to, packet } => self.sent.push((to, packet)),
                Action::Found(enode) => self.found.push(enode),
                other => self.other.push(other),
            }
        }
    }

    /// Takes what it sent, read.
    fn sent(&mut self) -> Vec<(SocketAddr, Signed)> {
        self.sent.drain(..).map(|(to, bytes)| (to, packet::decode(&bytes).unwrap())).collect()
    }
}

/// Somebody who writes to the node.
struct Stranger {
    key: NodeKey,
    addr: SocketAddr,
    expiration: u64,
}

impl Stranger {
    fn new(secret: u8, at: &str, node: &Node) -> Self {
        Self { key: key(secret), addr: addr(at), expiration: node.now.unix_secs() + 20 }
    }

    fn contact(&self) -> Contact {
        Contact::new(self.key.public(), self.addr, 30303)
    }

    fn sends(&self, node: &mut Node, packet: &Packet) -> Result<(), Refused> {
        node.receives(self.addr, &packet::encode(packet, &self.key).0)
    }

    fn ping(&self) -> Packet {
        let from = Endpoint { ip: None, udp: 0, tcp: 30303 };
        Packet::Ping(Ping { from, to: Endpoint::default(), expiration: self.expiration, enr_seq: Some(1) })
    }

    fn pong(&self, ping_hash: packet::Hash) -> Packet {
        Packet::Pong(Pong { to: Endpoint::default(), ping_hash, expiration: self.expiration, enr_seq: None })
    }

    fn find(&self) -> Packet {
        Packet::FindNode(FindNode { target: [5; 64], expiration: self.expiration })
    }

    fn neighbors(&self, nodes: Vec<Contact>) -> Packet {
        Packet::Neighbors(Neighbors { nodes, expiration: self.expiration })
    }

    /// Pings the node, and answers the Ping that comes back.
    fn proves_its_address(&self, node: &mut Node) {
        self.sends(node, &self.ping()).unwrap();
        let ping = node.sent().into_iter().find(|(_, sent)| matches!(sent.packet, Packet::Ping(_)));
        self.sends(node, &self.pong(ping.expect("a stranger is pinged").1.hash)).unwrap();
        node.sent.clear();
    }
}

/// Nodes that exist only in somebody's packet.
fn invented(count: u8, ip: [u8; 3]) -> Vec<Contact> {
    let [a, b, c] = ip;
    (0..count).map(|i| Contact::new(key(100 + i).public(), SocketAddr::from(([a, b, c, i], 30303)), 30303)).collect()
}

#[test]
fn a_ping_is_answered_and_returned_and_the_node_is_found() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    let (ping, hash) = packet::encode(&stranger.ping(), &stranger.key);
    node.receives(stranger.addr, &ping).unwrap();
    let sent = node.sent();
    assert!(sent.iter().all(|(to, sent)| *to == stranger.addr && sent.sender == key(1).public()));
    let [(_, pong), (_, back)] = &sent[..] else { panic!("{sent:?}") };
    let Packet::Pong(pong) = &pong.packet else { panic!("{pong:?}") };
    assert_eq!((pong.ping_hash, pong.to.ip, pong.to.udp), (hash, Some([8, 8, 8, 8].into()), 30301));
    assert_eq!(pong.enr_seq, Some(node.core.record().seq()));
    assert_eq!(node.found, [], "nothing is proven yet");
    stranger.sends(&mut node, &stranger.pong(back.hash)).unwrap();
    assert_eq!(node.found, [stranger.contact().enode()]);
    assert_eq!(node.core.nodes(), node.found);
    // Once more, and nothing is new.
    stranger.sends(&mut node, &stranger.ping()).unwrap();
    assert_eq!((node.sent().len(), node.found.len()), (1, 1));
}

#[test]
fn questions_are_answered_after_the_proof() {
    let mut node = Node::new(Vec::new());
    for secret in 10..60_u8 {
        let other = Stranger::new(secret, &format!("{secret}.8.8.8:30303"), &node);
        other.proves_its_address(&mut node);
    }
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    stranger.sends(&mut node, &stranger.find()).unwrap();
    let sent = node.sent();
    let counts: Vec<_> = sent.iter().map(|(to, sent)| (*to, neighbors_of(sent).len())).collect();
    assert_eq!(counts, [(stranger.addr, 12), (stranger.addr, 4)], "16 nodes, 12 a packet");
    assert!(sent.iter().all(|(_, sent)| neighbors_of(sent).iter().all(|node| node.key != stranger.key.public())));
    let request = Packet::EnrRequest(EnrRequest { expiration: stranger.expiration });
    let (request, request_hash) = packet::encode(&request, &stranger.key);
    node.receives(stranger.addr, &request).unwrap();
    let record = node.core.record().clone();
    assert_eq!(node.sent()[0].1.packet, Packet::EnrResponse(EnrResponse { request_hash, record: record.clone() }));
    let enode = enr::enode(&record).unwrap().to_string();
    assert_eq!(enode, format!("enode://{}@9.9.9.9:30303", key(1).public()));
}

fn neighbors_of(sent: &Signed) -> &[Contact] {
    let Packet::Neighbors(neighbors) = &sent.packet else { panic!("{sent:?}") };
    &neighbors.nodes
}

#[test]
fn an_empty_table_is_an_answer_too() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    stranger.sends(&mut node, &stranger.find()).unwrap();
    let sent = node.sent();
    assert_eq!((sent.len(), neighbors_of(&sent[0].1).len()), (1, 0));
}

#[test]
fn proofs_last_a_day() {
    let mut node = Node::new(Vec::new());
    let mut stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    for (after, answered) in [(23, Ok(())), (2, Err(Refused::NoProof))] {
        node.now = node.now.after(hours(after));
        stranger.expiration = node.now.unix_secs() + 20;
        assert_eq!(stranger.sends(&mut node, &stranger.find()), answered);
    }
}

#[test]
fn h43_findnode_without_proof_gets_nothing() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    assert_eq!(stranger.sends(&mut node, &stranger.find()), Err(Refused::NoProof));
    let request = Packet::EnrRequest(EnrRequest { expiration: stranger.expiration });
    assert_eq!(stranger.sends(&mut node, &request), Err(Refused::NoProof));
    assert_eq!(node.sent.len(), 0);
}

#[test]
fn h43_findnode_from_a_forged_source_gets_nothing() {
    let mut node = Node::new(Vec::new());
    let mut stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    stranger.addr = addr("7.7.7.7:30301");
    assert_eq!(stranger.sends(&mut node, &stranger.find()), Err(Refused::NoProof));
    let other = Stranger::new(3, "8.8.8.8:30301", &node);
    assert_eq!(other.sends(&mut node, &other.find()), Err(Refused::NoProof), "another key at a proven address");
    assert_eq!(node.sent.len(), 0);
}

#[test]
fn h43_a_pong_with_a_wrong_hash_or_from_elsewhere_proves_nothing() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    assert_eq!(stranger.sends(&mut node, &stranger.pong([7; 32])), Err(Refused::Unasked));
    stranger.sends(&mut node, &stranger.ping()).unwrap();
    let hash = node.sent()[1].1.hash;
    assert_eq!(stranger.sends(&mut node, &stranger.pong([7; 32])), Err(Refused::Unasked));
    let elsewhere = Stranger::new(2, "7.7.7.7:30301", &node);
    assert_eq!(elsewhere.sends(&mut node, &elsewhere.pong(hash)), Err(Refused::Unasked));
    let other = Stranger::new(3, "8.8.8.8:30301", &node);
    assert_eq!(other.sends(&mut node, &other.pong(hash)), Err(Refused::Unasked), "the right hash, another key");
    assert_eq!(stranger.sends(&mut node, &stranger.find()), Err(Refused::NoProof));
    node.passes(Duration::from_millis(501));
    assert_eq!(stranger.sends(&mut node, &stranger.pong(hash)), Err(Refused::Unasked), "too late");
    assert_eq!((node.found.len(), node.core.nodes().len()), (0, 0));
}

#[test]
fn h44_a_flood_of_pings_from_one_address_is_cut_off() {
    let mut node = Node::new(Vec::new());
    let (mut received, mut refused) = (0, 0);
    for port in 1..=65_000_u16 {
        let stranger = Stranger::new((port % 250) as u8 + 2, &format!("8.8.8.8:{port}"), &node);
        let ping = if port <= 100 { packet::encode(&stranger.ping(), &stranger.key).0 } else { vec![1; 127].into() };
        received += ping.len();
        refused += usize::from(node.receives(stranger.addr, &ping) == Err(Refused::TooMany));
    }
    assert_eq!(refused, 65_000 - 60);
    let sent: usize = node.sent.iter().map(|(_, packet)| packet.len()).sum();
    assert!(sent < 60 * 2 * 200, "{sent} bytes sent for {received}");
    // A minute later the address is heard again.
    node.now = node.now.after(Duration::from_secs(60));
    let stranger = Stranger::new(2, "8.8.8.8:1", &node);
    assert_eq!(stranger.sends(&mut node, &stranger.ping()), Ok(()));
}

#[test]
fn h44_answers_to_strangers_are_about_as_long_as_what_they_sent() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    let (ping, _) = packet::encode(&stranger.ping(), &stranger.key);
    // The hash that a Pong must carry makes it longer than the shortest Ping, by less than the 28 bytes of the headers below.
    node.receives(stranger.addr, &ping).unwrap();
    let first: Vec<_> = node.sent.drain(..).map(|(_, packet)| packet.len()).collect();
    let [pong, back] = first[..] else { panic!("{first:?}") };
    assert!(pong <= ping.len() + 43 && pong + back <= 3 * ping.len(), "{} bytes got {pong} and {back}", ping.len());
    // While that Ping is under way, further ones get a Pong and no more.
    for _ in 0..10 {
        stranger.sends(&mut node, &stranger.ping()).unwrap();
    }
    assert_eq!(node.sent.len(), 10);
}

#[test]
fn h44_pings_from_forged_addresses_leave_room_for_our_own() {
    let boot = Contact::new(key(3).public(), addr("7.7.7.7:30303"), 30303);
    let mut node = Node::new(vec![boot]);
    for number in 0..2000_u32 {
        let [_, b, c, d] = number.to_be_bytes();
        let stranger = Stranger::new(2, &format!("8.{b}.{c}.{d}:30303"), &node);
        stranger.sends(&mut node, &stranger.ping()).unwrap();
    }
    let pings = node.sent().iter().filter(|(_, sent)| matches!(sent.packet, Packet::Ping(_))).count();
    assert_eq!(pings, 128, "strangers pinged back; the rest wait until these have timed out");
    node.passes(Duration::ZERO);
    assert_eq!(node.sent()[0].0, boot.addr, "our own lookup begins");
    node.passes(Duration::from_secs(1));
    let stranger = Stranger::new(4, "8.8.8.8:30303", &node);
    stranger.proves_its_address(&mut node);
    assert_eq!(node.core.nodes().len(), 1);
}

#[test]
fn h45_neighbors_nobody_asked_for_are_ignored() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    let neighbors = stranger.neighbors(invented(12, [6, 6, 6]));
    assert_eq!(stranger.sends(&mut node, &neighbors), Err(Refused::Unasked));
    stranger.proves_its_address(&mut node);
    assert_eq!(stranger.sends(&mut node, &neighbors), Err(Refused::Unasked));
    node.passes(Duration::ZERO);
    assert!(node.sent().iter().all(|(to, _)| *to == stranger.addr));
    assert_eq!(node.core.nodes().len(), 1);
}

#[test]
fn h45_neighbors_at_impossible_addresses_are_not_written_to() {
    let mut node = Node::new(Vec::new());
    let boot = Stranger::new(2, "8.8.8.8:30301", &node);
    boot.proves_its_address(&mut node);
    node.passes(Duration::ZERO);
    assert!(matches!(node.sent()[..], [(_, Signed { packet: Packet::FindNode(_), .. })]));
    let mut nodes = Vec::new();
    for (number, ip) in ["127.0.0.1", "0.0.0.0", "224.1.1.1", "255.255.255.255", "10.0.0.1", "::1"].iter().enumerate() {
        let ip = ip.parse().unwrap();
        nodes.push(Contact::new(key(50 + number as u8).public(), SocketAddr::new(ip, 30303), 30303));
    }
    nodes.push(Contact::new(key(1).public(), addr("6.6.6.6:30303"), 30303));
    let honest = Contact::new(key(60).public(), addr("6.6.6.7:30303"), 30303);
    nodes.push(honest);
    boot.sends(&mut node, &boot.neighbors(nodes)).unwrap();
    node.passes(Duration::from_millis(500));
    let to: Vec<_> = node.sent().iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [honest.addr]);
}

#[test]
fn h45_one_network_cannot_fill_the_table() {
    let mut node = Node::new(Vec::new());
    for secret in 2..250_u8 {
        let stranger = Stranger::new(secret, &format!("8.8.8.{secret}:30303"), &node);
        stranger.proves_its_address(&mut node);
    }
    assert!(node.core.nodes().len() <= 10, "{}", node.core.nodes().len());
    assert!(node.found.len() <= 10, "and no more are given out to be dialled");
    let stranger = Stranger::new(251, "8.8.9.1:30303", &node);
    stranger.proves_its_address(&mut node);
    assert!(node.found.contains(&stranger.contact().enode()));
}

#[test]
fn h46_expired_and_everlasting_packets_are_dropped() {
    let mut node = Node::new(Vec::new());
    let now = node.now.unix_secs();
    let mut stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    for (expiration, expected) in [
        (0, Err(Refused::Expired)),
        (now - 1, Err(Refused::Expired)),
        (now, Ok(())),
        (now + 10 * 60 * 60, Ok(())),
        (now + 25 * 60 * 60, Err(Refused::ValidTooLong)),
        (u64::MAX, Err(Refused::ValidTooLong)),
    ] {
        stranger.expiration = expiration;
        node.sent.clear();
        assert_eq!(stranger.sends(&mut node, &stranger.ping()), expected, "{expiration}");
        assert_eq!(node.sent.is_empty(), expected.is_err());
    }
}

#[test]
fn h46_bad_packets_are_dropped_without_a_word() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    let ping = packet::encode(&stranger.ping(), &stranger.key).0;
    let from = stranger.addr;
    assert_eq!(node.receives(from, &ping[..97]), Err(PacketError::TooShort(97).into()));
    assert_eq!(node.receives(from, &[1; 1281]), Err(PacketError::TooLong(1281).into()));
    let mut wrong = ping.to_vec();
    wrong[0] ^= 1;
    assert_eq!(node.receives(from, &wrong), Err(PacketError::Hash.into()));
    let mut unknown = ping.to_vec();
    unknown[97] = 9;
    assert_eq!(node.receives(from, &unknown), Err(PacketError::UnknownType(9).into()));
    assert_eq!(node.receives(addr("8.8.8.8:0"), &ping), Err(Refused::NoSender));
    let own = packet::encode(&stranger.ping(), &key(1)).0;
    assert_eq!(node.receives(from, &own), Err(Refused::NoSender));
    assert_eq!(node.sent.len(), 0);
    assert_eq!(node.receives(from, &ping), Ok(()));
}

#[test]
fn f15_bootstrap_nodes_that_are_away_are_asked_again_ever_more_rarely() {
    let boot = Contact::new(key(3).public(), addr("7.7.7.7:30303"), 30303);
    let mut node = Node::new(vec![boot]);
    let began = node.now.instant;
    let mut pings = Vec::new();
    while node.now.instant < began + Duration::from_secs(3600) {
        let wait = node.core.wake_at().saturating_duration_since(node.now.instant);
        node.passes(wait.max(Duration::from_millis(1)));
        pings.extend(node.sent().iter().map(|_| node.now.instant - began));
    }
    let waits: Vec<_> = pings.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(waits.iter().all(|wait| (3..=375).contains(wait)), "{waits:?}");
    assert!((12..25).contains(&pings.len()), "{} Pings in an hour", pings.len());
    // It came back: the first to know is the next lookup.
    let stranger = Stranger::new(3, "7.7.7.7:30303", &node);
    stranger.proves_its_address(&mut node);
    assert_eq!(node.core.nodes().len(), 1);
}

#[test]
fn a_record_is_asked_for_and_must_be_the_nodes_own() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    for (signer, good) in [(2, true), (3, false)] {
        let id = node.core.ask_record(node.now, stranger.contact());
        node.collect();
        let request = node.sent().remove(0).1;
        assert!(matches!(request.packet, Packet::EnrRequest(_)));
        let record = enr::sign(&key(signer), 5, &enr::Endpoint::default()).unwrap();
        let answer = |request_hash| Packet::EnrResponse(EnrResponse { request_hash, record: record.clone() });
        assert_eq!(stranger.sends(&mut node, &answer([0; 32])), Err(Refused::Unasked));
        stranger.sends(&mut node, &answer(request.hash)).unwrap();
        let record = good.then_some(record);
        assert_eq!(node.other.pop(), Some(Action::Record { id, record }));
    }
    let id = node.core.ask_record(node.now, stranger.contact());
    node.passes(Duration::from_millis(501));
    assert_eq!(node.other.pop(), None, "it is asked once more");
    node.passes(Duration::from_millis(501));
    assert_eq!(node.other.pop(), Some(Action::Record { id, record: None }));
}

#[test]
fn a_node_that_forgot_us_is_pinged_before_the_next_question() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    node.core.ask_record(node.now, stranger.contact());
    node.passes(Duration::from_millis(501));
    node.passes(Duration::from_millis(501));
    node.sent.clear();
    node.core.ask_record(node.now, stranger.contact());
    node.collect();
    let [(_, ping)] = node.sent().try_into().unwrap();
    assert!(matches!(ping.packet, Packet::Ping(_)));
    stranger.sends(&mut node, &stranger.pong(ping.hash)).unwrap();
    assert_eq!(node.sent.len(), 0, "it pings us first, or has half a second for it");
    stranger.sends(&mut node, &stranger.ping()).unwrap();
    let sent: Vec<_> = node.sent().into_iter().map(|(_, sent)| sent.packet).collect();
    assert!(matches!(sent[..], [Packet::Pong(_), Packet::EnrRequest(_)]), "{sent:?}");
}

#[test]
fn dead_nodes_leave_the_table() {
    let mut node = Node::new(Vec::new());
    let stranger = Stranger::new(2, "8.8.8.8:30301", &node);
    stranger.proves_its_address(&mut node);
    for _ in 0..600 {
        node.passes(Duration::from_millis(500));
    }
    assert_eq!(node.core.nodes(), []);
}

#[test]
fn lookups_are_bounded() {
    let boot = Contact::new(key(3).public(), addr("7.7.7.7:30303"), 30303);
    let mut node = Node::new(vec![boot]);
    let started = (0..20).filter(|_| node.core.lookup(node.now, [1; 64]).is_some()).count();
    assert_eq!(started, 8);
    node.collect();
    assert_eq!(node.sent.len(), 1, "they share one Ping");
    node.passes(Duration::from_millis(501));
    assert_eq!(node.other.len(), 8);
    assert!(node.core.lookup(node.now, [1; 64]).is_some());
}
