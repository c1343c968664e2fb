//! Many cores over a network that loses, doubles and reorders packets; a seed replays it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use devp2p::clock::{self, Now};
use devp2p::discv4::protocol::{Action, LookupId, Protocol, Settings};
use devp2p::discv4::{Contact, Endpoint};
use devp2p::{Enode, NodeKey};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What the network does to packets, in percent of them.
struct Weather {
    lost: u32,
    doubled: u32,
}

struct Packet {
    at: Instant,
    serial: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

struct Network {
    now: Now,
    began: Now,
    rng: StdRng,
    weather: Weather,
    nodes: BTreeMap<SocketAddr, Protocol>,
    order: Vec<SocketAddr>,
    flying: BinaryHeap<Reverse<Packet>>,
    serial: u64,
    looked_up: BTreeMap<(SocketAddr, LookupId), Vec<Enode>>,
    /// Bytes sent by each address.
    sent: BTreeMap<SocketAddr, usize>,
}

fn key(number: u16) -> NodeKey {
    let mut bytes = [3; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_bytes(&bytes).unwrap()
}

fn address(number: u16) -> SocketAddr {
    // Each in a network of its own.
    SocketAddr::from(([20 + (number >> 8) as u8, number as u8, 1, 1], 30303))
}

fn contact(number: u16) -> Contact {
    Contact::new(key(number).public(), address(number), 30303)
}

impl Network {
    /// `count` nodes, all of which know node 0 alone.
    fn new(count: u16, seed: u64, weather: Weather) -> Self {
        let now = clock::now();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut nodes = BTreeMap::new();
        for number in 0..count {
            let addr = address(number);
            let endpoint = Endpoint { ip: Some(addr.ip()), udp: addr.port(), tcp: 30303 };
            let bootstrap = if number == 0 { Vec::new() } else { vec![contact(0)] };
            let settings = Settings { key: key(number), endpoint, bootstrap };
            nodes.insert(addr, Protocol::new(settings, rng.random(), now).unwrap());
        }
        let order = nodes.keys().copied().collect();
        let (flying, looked_up, sent) = (BinaryHeap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now, began: now, rng, weather, nodes, order, flying, serial: 0, looked_up, sent }
    }

    fn collect(&mut self, from: SocketAddr) {
        while let Some(action) = self.nodes.get_mut(&from).unwrap().next_action() {
            match action {
                Action::Send { to, packet } => self.send(from, to, packet),
                Action::LookedUp { id, nodes } => drop(self.looked_up.insert((from, id), nodes)),
                Action::Found(_) | Action::Record { .. } => {}
            }
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        *self.sent.entry(from).or_default() += bytes.len();
        let copies = if self.rng.random_range(0..100) < self.weather.lost { 0 } else { 1 };
        let copies = copies + u32::from(self.rng.random_range(0..100) < self.weather.doubled);
        for _ in 0..copies {
            self.serial += 1;
            // Packets overtake each other.
            let at = self.now.instant + Duration::from_millis(self.rng.random_range(5..80));
            self.flying.push(Reverse(Packet { at, serial: self.serial, from, to, bytes: bytes.clone() }));
        }
    }

    /// Runs to the next thing that happens.
    fn step(&mut self) {
        let timer = self.order.iter().map(|addr| (self.nodes[addr].wake_at(), *addr)).min().unwrap();
        match self.flying.peek() {
            Some(Reverse(packet)) if packet.at <= timer.0 => {
                let Some(Reverse(packet)) = self.flying.pop() else { return };
                self.turn_to(packet.at);
                if let Some(node) = self.nodes.get_mut(&packet.to) {
                    // Dropped packets are part of the weather.
                    let _ = node.receive(self.now, packet.from, &packet.bytes);
                    self.collect(packet.to);
                }
            }
            _ => {
                self.turn_to(timer.0);
                self.nodes.get_mut(&timer.1).unwrap().tick(self.now);
                self.collect(timer.1);
            }
        }
    }

    fn turn_to(&mut self, at: Instant) {
        self.now = self.now.after(at.saturating_duration_since(self.now.instant));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while self.now.instant < end {
            self.step();
        }
    }

    /// Node `number` looks for `target`; true when the target itself answered.
    fn finds(&mut self, number: u16, target: u16) -> bool {
        let from = address(number);
        let target = key(target).public();
        let id = self.nodes.get_mut(&from).unwrap().lookup(self.now, *target.as_bytes()).unwrap();
        self.collect(from);
        let deadline = self.now.instant + Duration::from_secs(60);
        while !self.looked_up.contains_key(&(from, id)) {
            assert!(self.now.instant < deadline, "a lookup ends");
            self.step();
        }
        let nodes = &self.looked_up[&(from, id)];
        assert!(nodes.len() <= 16);
        nodes.first().is_some_and(|nearest| nearest.key == target)
    }
}

#[test]
fn fifty_nodes_find_each_other() {
    let mut network = Network::new(50, 2, Weather { lost: 0, doubled: 0 });
    network.run(Duration::from_secs(60));
    for number in 0..50 {
        assert!(network.finds(number, (number + 7) % 50), "node {number}");
    }
}

#[test]
fn f14_loss_doubling_and_reordering_leave_discovery_unhurt() {
    let mut network = Network::new(60, 0, Weather { lost: 10, doubled: 10 });
    network.run(Duration::from_secs(120));
    for number in 0..59 {
        // A Ping may be lost with its answer; nobody gives up after one lookup.
        let found = (0..3).any(|_| network.finds(number, 59));
        assert!(found, "node {number} after {:?}", network.now.instant - network.began.instant);
    }
    let tables: Vec<_> = network.nodes.values().map(|node| node.nodes().len()).collect();
    assert!(tables.iter().all(|known| *known >= 20), "{tables:?}");
}

#[test]
fn f14_every_packet_doubled_is_no_storm() {
    let traffic = |doubled| {
        let mut network = Network::new(30, 1, Weather { lost: 0, doubled });
        network.run(Duration::from_secs(120));
        assert!(network.finds(1, 29));
        network.sent.values().sum::<usize>()
    };
    let (calm, doubled) = (traffic(0), traffic(100));
    assert!(doubled < calm * 3, "{calm} bytes became {doubled}");
    // 30 nodes for two minutes.
    assert!(calm / 30 / 120 < 3000, "{} bytes a second of each node", calm / 30 / 120);
}

#[test]
fn nodes_that_die_are_forgotten_by_all() {
    let mut network = Network::new(30, 5, Weather { lost: 2, doubled: 2 });
    network.run(Duration::from_secs(60));
    let dead = address(29);
    network.nodes.remove(&dead);
    network.order.retain(|addr| *addr != dead);
    network.run(Duration::from_secs(15 * 60));
    let key = key(29).public();
    assert!(network.nodes.values().all(|node| node.nodes().iter().all(|known| known.key != key)));
    assert!(network.nodes.values().all(|node| node.nodes().len() >= 20), "the living are known");
}
