//! A node of the network, with or without a planted fault.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv6Addr,
    time::Instant,
};

use bytes::Bytes;
use devp2p::{ConnId, NodeId, Packet, clock::Now};
use rand::Rng;
use waku0::{
    Envelope, Pow, Settings,
    fault::Fault,
    node::{Action, Node, PostError, Posted},
    packet::{Code, messages},
    peer::Remote,
    settings::Change,
    status::StatusOptions,
    version::Version,
};

use super::Planted;

/// Longer than any of these networks remembers.
const MAX_REMEMBERED: usize = 64;

#[derive(Debug)]
pub(super) struct Subject {
    node: Node,
    planted: Option<Planted>,
    /// What is spoken on each connection.
    versions: BTreeMap<ConnId, Version>,
    /// What a planted fault adds to the node's actions.
    extra: VecDeque<Action>,
    /// Bodies of Messages that were received, for a node that sends them when their time is over.
    remembered: VecDeque<Bytes>,
    now: Now,
}

impl Subject {
    pub(super) fn new(mut settings: Settings, planted: Option<Planted>, now: Now, rng: &mut impl Rng) -> Self {
        if planted == Some(Planted::RelaysThoughLight) {
            settings.light = false;
        }
        let node = Node::new(settings, now, rng);
        Self { node, planted, versions: BTreeMap::new(), extra: VecDeque::new(), remembered: VecDeque::new(), now }
    }

    pub(super) fn connected(&mut self, now: Now, conn: ConnId, peer: usize, version: Version) {
        self.now = now;
        self.versions.insert(conn, version);
        self.node.connected(now, conn, remote(peer), version);
        if self.planted == Some(Planted::SpeaksFirst) {
            let empty_list = Bytes::from_static(&[0xc0]);
            let first = self.send(conn, empty_list);
            self.extra.push_back(first);
        }
    }

    pub(super) fn disconnected(&mut self, now: Now, conn: ConnId) {
        self.now = now;
        self.versions.remove(&conn);
        self.node.disconnected(now, conn);
    }

    pub(super) fn receive(&mut self, now: Now, conn: ConnId, code: u8, mut body: Bytes) {
        self.now = now;
        let version = self.versions.get(&conn).copied().unwrap_or(Version::Waku0);
        match Code::of(code) {
            Some(Code::Status) => {
                if let Ok(mut options) = StatusOptions::decode_status(version, &body) {
                    self.mishear(&mut options);
                    body = options.encode_status(version);
                }
            }
            Some(change) if is_change(change) => {
                if let Ok(mut options) = StatusOptions::decode_change(version, change, &body) {
                    self.mishear(&mut options);
                    let Some((_, misheard)) = options.changes(version.status_shape()).pop() else { return };
                    body = misheard;
                }
            }
            _ => {}
        }
        if code == Code::Messages.number() {
            self.misuse(conn, &body);
        }
        self.node.receive(now, conn, code, body);
    }

    pub(super) fn post(&mut self, now: Now, envelope: Envelope) -> Result<Posted, PostError> {
        self.now = now;
        self.node.post(now, envelope)
    }

    pub(super) fn change(&mut self, now: Now, change: Change) {
        self.now = now;
        let stays_heavy = self.planted == Some(Planted::RelaysThoughLight);
        if !(stays_heavy && matches!(change, Change::Light(_))) {
            self.node.change(now, change);
        }
    }

    pub(super) fn stalled(&mut self, now: Now, conn: ConnId, packet: Packet) {
        self.node.stalled(now, conn, packet);
    }

    pub(super) fn tick(&mut self, now: Now) {
        self.now = now;
        self.node.tick(now);
    }

    pub(super) fn wake_at(&self) -> Instant {
        self.node.wake_at()
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.extra.pop_front() {
            return Some(action);
        }
        let action = self.node.next_action()?;
        match (self.planted, &action) {
            (Some(Planted::ForwardsNothing), Action::Send { packet, .. }) if packet.code == Code::Messages.number() => {
                return self.next_action();
            }
            (Some(Planted::SendsTwice), Action::Send { packet, .. }) if packet.code == Code::Messages.number() => {
                self.extra.push_back(action.clone());
            }
            (Some(Planted::DeliversTwice), Action::Deliver { .. }) => self.extra.push_back(action.clone()),
            (Some(Planted::SendsExpired), Action::PeerRunning { conn }) => self.send_expired(*conn),
            _ => {}
        }
        Some(action)
    }

    /// Hears of a peer's wishes what the fault lets through.
    fn mishear(&self, options: &mut StatusOptions) {
        match self.planted {
            Some(Planted::IgnoresWork) => options.pow = options.pow.map(|_| Pow::ZERO),
            Some(Planted::IgnoresInterest) => (options.bloom, options.topics) = (None, None),
            Some(Planted::IgnoresLimits) => options.rate_limits = None,
            _ => {}
        }
    }

    fn misuse(&mut self, conn: ConnId, body: &Bytes) {
        match self.planted {
            Some(Planted::Echoes) => {
                let echo = self.send(conn, body.clone());
                self.extra.push_back(echo);
            }
            Some(Planted::LeavesPeers) => self.extra.push_back(Action::Disconnect { conn, fault: Fault::TooSlow }),
            Some(Planted::SendsExpired) => {
                if self.remembered.len() == MAX_REMEMBERED {
                    self.remembered.pop_front();
                }
                self.remembered.push_back(body.clone());
            }
            _ => {}
        }
    }

    fn send(&self, to: ConnId, body: Bytes) -> Action {
        let version = self.versions.get(&to).copied().unwrap_or(Version::Waku0);
        Action::Send { to, packet: Packet::new(version.capability(), Code::Messages.number(), body) }
    }

    fn send_expired(&mut self, conn: ConnId) {
        let now = self.now.unix_secs();
        let expired = |body: &&Bytes| {
            let items = messages::decode(body).into_iter().flatten().flatten().flatten();
            items.map(|envelope| u64::from(envelope.expiry())).all(|expiry| expiry < now)
        };
        let bodies: Vec<_> = self.remembered.iter().filter(expired).cloned().collect();
        for body in bodies {
            let again = self.send(conn, body);
            self.extra.push_back(again);
        }
    }
}

/// Every node has an address and an identity of its own.
fn remote(node: usize) -> Remote {
    let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::try_from(node).expect("few nodes"));
    let id = NodeId::from_bytes([u8::try_from(node).expect("few nodes"); 32]);
    Remote::new(ip.into(), id)
}

/// Whether a packet of this code tells a change of settings.
pub(super) fn is_change(code: Code) -> bool {
    matches!(code, Code::StatusUpdate | Code::PowRequirement | Code::BloomFilter | Code::RateLimits)
}
