//! The core of discovery: packets of several nodes at several addresses, and time.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use bytes::Bytes;
use devp2p::{
    clock::Now,
    discv4::{
        Contact, Endpoint,
        packet::{self, EnrRequest, FindNode, Hash, Neighbors, Packet, Ping, Pong},
        protocol::{Action, Protocol, Settings},
    },
};

use super::devp2p::key;
use crate::script::{Script, start};

/// Questions of the core that wait for the script's answer; older ones are forgotten.
const MAX_ASKED: usize = 16;

/// What one packet, or one tick, may bring about: far more than the queries of all lookups together.
const MAX_ACTIONS: usize = 4_096;

struct World {
    protocol: Protocol,
    now: Now,
    asked: VecDeque<(SocketAddr, Bytes)>,
}

/// Well-formed and broken packets, answers and silence; what follows from one packet stays bounded, and whoever has not
/// proven its address is sent nothing longer than what it sent.
pub fn core(input: &[u8]) {
    let mut script = Script::new(input);
    let endpoint = Endpoint { ip: Some(Ipv4Addr::new(10, 0, 0, 1).into()), udp: 30_303, tcp: 30_303 };
    let settings = Settings { key: key(200), endpoint, bootstrap: vec![contact(1)] };
    let protocol = Protocol::new(settings, [7; 32], start()).expect("an ordinary endpoint");
    let mut world = World { protocol, now: start(), asked: VecDeque::new() };
    world.tick(Duration::ZERO);
    while !script.is_over() {
        step(&mut script, &mut world);
    }
}

fn step(script: &mut Script<'_>, world: &mut World) {
    match script.one_of(8) {
        0 => world.hears(script.byte(), script.chunk()),
        1 => world.tick(Duration::from_millis(u64::from(script.u16()) * 10)),
        2 => {
            let _ = world.protocol.lookup(world.now, [script.byte(); 64]);
            world.act(None);
        }
        3 => {
            world.protocol.ask_record(world.now, contact(script.byte()));
            world.act(None);
        }
        4 | 5 => world.answer(script),
        _ => {
            let (sender, packet) = (script.byte(), asked_of_us(script, world.now));
            world.hears(sender, &packet::encode(&packet, &key(sender)).0);
        }
    }
}

impl World {
    fn hears(&mut self, sender: u8, bytes: &[u8]) {
        let from = addr(sender);
        let heard = self.protocol.receive(self.now, from, bytes);
        let unproven = heard.is_err();
        self.act(unproven.then_some((from, bytes.len())));
    }

    fn tick(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.protocol.tick(self.now);
        self.act(None);
    }

    /// Takes what the core wants done. `refused`: who sent a packet that was dropped, and its length.
    fn act(&mut self, refused: Option<(SocketAddr, usize)>) {
        for n in 0.. {
            let Some(action) = self.protocol.next_action() else { return };
            assert!(n < MAX_ACTIONS, "no end of actions");
            let Action::Send { to, packet } = action else { continue };
            assert!(packet.len() <= packet::MAX_PACKET_BYTES);
            if let Some((from, len)) = refused.filter(|(from, _)| *from == to) {
                assert!(packet.len() <= len.max(200), "{from} was refused, and sent {} bytes", packet.len());
            }
            if self.asked.len() == MAX_ASKED {
                self.asked.pop_front();
            }
            self.asked.push_back((to, packet));
        }
    }

    /// Plays the node that was asked.
    fn answer(&mut self, script: &mut Script<'_>) {
        let Some((to, question)) = self.asked.pop_front() else { return };
        let Ok(question) = packet::decode(&question) else { panic!("the core sent what it cannot read") };
        let hash = question.hash;
        let Some(answer) = answer_to(&question.packet, hash, script, self.now) else { return };
        let Some(sender) = (0..=u8::MAX).find(|n| addr(*n) == to) else { return };
        self.hears(sender, &packet::encode(&answer, &key(sender)).0);
    }
}

/// Distinct addresses, some of one subnet, some reserved.
fn contact(n: u8) -> Contact {
    static CONTACTS: LazyLock<Vec<Contact>> = LazyLock::new(|| {
        let contact = |n| Contact::new(key(n).public(), addr(n), 30_303);
        (0..=u8::MAX).map(contact).collect()
    });
    CONTACTS[usize::from(n)]
}

fn addr(n: u8) -> SocketAddr {
    let ip = match n % 16 {
        0 => Ipv4Addr::LOCALHOST,
        1 => Ipv4Addr::new(224, 0, 0, n),
        kind => Ipv4Addr::new(80, kind, 0, n),
    };
    SocketAddr::new(ip.into(), 30_000 + u16::from(n))
}

fn expiration(script: &mut Script<'_>, now: Now) -> u64 {
    match script.one_of(8) {
        0 => script.u64(),
        _ => now.unix_secs() + 20,
    }
}

fn asked_of_us(script: &mut Script<'_>, now: Now) -> Packet {
    let expiration = expiration(script, now);
    let endpoint = contact(script.byte()).endpoint();
    match script.one_of(5) {
        0 => Packet::FindNode(FindNode { target: [script.byte(); 64], expiration }),
        1 => Packet::EnrRequest(EnrRequest { expiration }),
        2 => Packet::Neighbors(Neighbors { nodes: neighbors(script), expiration }),
        3 => Packet::Pong(Pong { to: endpoint, ping_hash: [script.byte(); 32], expiration, enr_seq: None }),
        _ => Packet::Ping(Ping { from: endpoint, to: endpoint, expiration, enr_seq: None }),
    }
}

fn answer_to(question: &Packet, hash: Hash, script: &mut Script<'_>, now: Now) -> Option<Packet> {
    let expiration = expiration(script, now);
    match question {
        Packet::Ping(ping) => Some(Packet::Pong(Pong { to: ping.from, ping_hash: hash, expiration, enr_seq: Some(1) })),
        Packet::FindNode(_) => Some(Packet::Neighbors(Neighbors { nodes: neighbors(script), expiration })),
        Packet::EnrRequest(_) | Packet::Pong(_) | Packet::Neighbors(_) | Packet::EnrResponse(_) => None,
    }
}

fn neighbors(script: &mut Script<'_>) -> Vec<Contact> {
    (0..script.one_of(13)).map(|_| contact(script.byte())).collect()
}
