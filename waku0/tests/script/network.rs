//! Nodes joined by queues, in one thread and in virtual time.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use devp2p::{ConnId, NodeId, NodeKey, Packet, clock::Now};
use rand::{SeedableRng, rngs::StdRng};
use waku0::{
    Envelope, EnvelopeHash, Pow, Topic,
    accounting::Epoch,
    confirm::Outcome,
    fault::Fault,
    interest::Interest,
    limits::Rates,
    mail::Asked,
    node::{Action, Change, Node, PostError, Posted, Settings},
    packet::{Code, messages, p2p::Direct},
    peer::Remote,
    status::StatusOptions,
    version::Version,
};

/// Unix seconds at which every script begins.
pub(crate) const START: u32 = 1_600_000_000;

/// A topic that scripts use when it does not matter which.
pub(crate) const TOPIC: Topic = Topic(*b"chat");

/// Settings without a floor on work, so that envelopes need none.
pub(crate) fn easy() -> Settings {
    Settings { min_pow: Pow::ZERO, ..Settings::default() }
}

/// The same without limits on what peers may send: for scripts that say much in no time.
pub(crate) fn unlimited() -> Settings {
    Settings { rates: Rates::NONE, ..easy() }
}

/// An envelope sent at the start that lives for a minute.
pub(crate) fn envelope(topic: Topic, data: usize, nonce: u64) -> Envelope {
    Envelope::new(START + 60, 60, topic, vec![7; data].into(), nonce).unwrap()
}

/// The body of a packet with these envelopes.
pub(crate) fn bundle<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Bytes {
    let shared: Vec<_> = envelopes.into_iter().cloned().map(Arc::new).collect();
    let mut bodies = messages::encode(&shared);
    assert_eq!(bodies.len(), 1, "the script's bundle is one packet");
    bodies.remove(0)
}

/// The hashes in a body.
pub(crate) fn hashes(body: &Bytes) -> Vec<EnvelopeHash> {
    messages::decode(body).unwrap().map(|item| item.unwrap().unwrap().hash()).collect()
}

/// What became of one node, as its actions tell.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) delivered: Vec<(EnvelopeHash, ConnId)>,
    pub(crate) left: Vec<(ConnId, Fault)>,
    pub(crate) running: Vec<ConnId>,
    pub(crate) gone: Vec<ConnId>,
    pub(crate) ended: Vec<(EnvelopeHash, Outcome)>,
    pub(crate) direct: Vec<(ConnId, Direct)>,
    pub(crate) epochs: Vec<Epoch>,
    /// What was asked of who serves history, and on which connections.
    pub(crate) asked: Vec<(ConnId, Asked)>,
}

/// Where a connection of a node leads.
#[derive(Debug, Clone, Copy)]
enum End {
    Node(usize, ConnId),
    /// The script itself.
    Script,
}

/// Nodes, their connections, and one clock.
pub(crate) struct Network {
    pub(crate) now: Now,
    pub(crate) nodes: Vec<Node>,
    pub(crate) stories: Vec<Story>,
    /// What scripts have heard, by node and connection: code and body.
    pub(crate) heard: BTreeMap<(usize, ConnId), Vec<(u8, Bytes)>>,
    /// When scripts heard it, in milliseconds since the start.
    pub(crate) heard_at: BTreeMap<(usize, ConnId), Vec<u64>>,
    start: Now,
    /// Connections that take nothing for now.
    pub(crate) full: Vec<ConnId>,
    /// How many bytes these connections still take. The last packet may be longer, as long as there is room at all.
    pub(crate) room: BTreeMap<ConnId, isize>,
    /// Packets of envelopes that went from node to node.
    pub(crate) packets: usize,
    ends: BTreeMap<(usize, ConnId), End>,
    next_conn: u64,
}

impl Network {
    pub(crate) fn new(settings: impl IntoIterator<Item = Settings>) -> Self {
        let now = Now { unix: Duration::from_secs(START.into()), ..devp2p::clock::now() };
        let mut rng = StdRng::seed_from_u64(1);
        let nodes: Vec<_> = settings.into_iter().map(|settings| Node::new(settings, now, &mut rng)).collect();
        Self {
            now,
            stories: nodes.iter().map(|_| Story::default()).collect(),
            nodes,
            heard: BTreeMap::new(),
            heard_at: BTreeMap::new(),
            start: now,
            full: Vec::new(),
            room: BTreeMap::new(),
            packets: 0,
            ends: BTreeMap::new(),
            next_conn: 1,
        }
    }

    /// Joins two nodes, and runs until nothing more happens.
    pub(crate) fn join(&mut self, a: usize, b: usize) -> (ConnId, ConnId) {
        self.join_over(a, b, Version::Waku0)
    }

    /// The same over this version.
    pub(crate) fn join_over(&mut self, a: usize, b: usize, version: Version) -> (ConnId, ConnId) {
        let (at_a, at_b) = (self.conn(), self.conn());
        self.ends.insert((a, at_a), End::Node(b, at_b));
        self.ends.insert((b, at_b), End::Node(a, at_a));
        self.nodes[a].connected(self.now, at_a, remote(at_a), version);
        self.nodes[b].connected(self.now, at_b, remote(at_b), version);
        self.settle();
        (at_a, at_b)
    }

    /// Connects the script to a node, without a Status from the script.
    pub(crate) fn dial(&mut self, node: usize) -> ConnId {
        self.dial_from(node, None)
    }

    /// The same from an address that the script chooses.
    pub(crate) fn dial_from(&mut self, node: usize, ip: Option<IpAddr>) -> ConnId {
        self.dial_over(node, ip, Version::Waku0)
    }

    /// The same over this version.
    fn dial_over(&mut self, node: usize, ip: Option<IpAddr>, version: Version) -> ConnId {
        let conn = self.conn();
        self.ends.insert((node, conn), End::Script);
        let from = remote(conn);
        let from = Remote { ip: ip.unwrap_or(from.ip), ..from };
        self.nodes[node].connected(self.now, conn, from, version);
        self.settle();
        conn
    }

    /// Connects the script to a node as a running peer with these options.
    pub(crate) fn dial_with(&mut self, node: usize, options: &StatusOptions) -> ConnId {
        let conn = self.dial(node);
        self.say(node, conn, Code::Status, options.encode_status(Version::Waku0));
        conn
    }

    /// Connects the script to a node as a running peer of this version that sends this Status.
    pub(crate) fn dial_speaking(&mut self, node: usize, version: Version, status: Bytes) -> ConnId {
        let conn = self.dial_over(node, None, version);
        self.say(node, conn, Code::Status, status);
        conn
    }

    /// Connects the script as a peer that wants everything.
    pub(crate) fn dial_wanting_all(&mut self, node: usize) -> ConnId {
        self.dial_with(node, &StatusOptions { pow: Some(Pow::ZERO), ..StatusOptions::default() })
    }

    /// Connects the script as a peer that wants these topics.
    pub(crate) fn dial_wanting(&mut self, node: usize, topics: &[Topic]) -> ConnId {
        let topics = Some(topics.to_vec());
        self.dial_with(node, &StatusOptions { pow: Some(Pow::ZERO), topics, ..StatusOptions::default() })
    }

    /// The script says something.
    pub(crate) fn say(&mut self, node: usize, conn: ConnId, code: Code, body: Bytes) {
        self.say_code(node, conn, code.number(), body);
    }

    pub(crate) fn say_code(&mut self, node: usize, conn: ConnId, code: u8, body: Bytes) {
        self.nodes[node].receive(self.now, conn, code, body);
        self.settle();
    }

    pub(crate) fn post(&mut self, node: usize, envelope: Envelope) -> Result<Posted, PostError> {
        let posted = self.nodes[node].post(self.now, envelope);
        self.settle();
        posted
    }

    /// Changes a setting of a node.
    pub(crate) fn change(&mut self, node: usize, change: Change) {
        self.nodes[node].change(self.now, change);
        self.settle();
    }

    /// The bodies of one code that the script heard on a connection.
    pub(crate) fn heard_bodies(&self, node: usize, conn: ConnId, code: Code) -> Vec<Bytes> {
        let heard = self.heard.get(&(node, conn)).map(Vec::as_slice).unwrap_or_default();
        heard.iter().filter(|(heard, _)| *heard == code.number()).map(|(_, body)| body.clone()).collect()
    }

    /// Ends a connection from outside.
    pub(crate) fn cut(&mut self, node: usize, conn: ConnId) {
        self.close(node, conn);
        self.settle();
    }

    /// Lets time pass; nodes are woken when they ask for it.
    pub(crate) fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(wake_at) = self.nodes.iter().map(Node::wake_at).min().filter(|at| *at <= end.instant) {
            self.now = self.now.after(wake_at.saturating_duration_since(self.now.instant));
            for node in &mut self.nodes {
                if node.wake_at() <= self.now.instant {
                    node.tick(self.now);
                }
            }
            self.settle();
        }
        self.now = end;
    }

    /// The envelopes that the script heard on a connection, packet by packet.
    pub(crate) fn heard_envelopes(&self, node: usize, conn: ConnId) -> Vec<Vec<EnvelopeHash>> {
        let heard = self.heard.get(&(node, conn)).map(Vec::as_slice).unwrap_or_default();
        heard.iter().filter(|(code, _)| *code == Code::Messages.number()).map(|(_, body)| hashes(body)).collect()
    }

    pub(crate) fn delivered(&self, node: usize) -> Vec<EnvelopeHash> {
        self.stories[node].delivered.iter().map(|(hash, _)| *hash).collect()
    }

    /// The reasons, by their numbers on the wire, with which a node has left peers.
    pub(crate) fn left_with(&self, node: usize) -> Vec<u8> {
        self.stories[node].left.iter().map(|(_, fault)| fault.reason().code()).collect()
    }

    pub(crate) fn counted(&self, node: usize, reason: &str) -> u64 {
        let counters = self.nodes[node].counters();
        let rejected = counters.rejected.by_reason().find(|(name, _)| *name == reason);
        rejected.map_or_else(|| panic!("no reason {reason}"), |(_, sum)| sum)
    }

    pub(crate) fn duplicates(&self, node: usize) -> u64 {
        self.nodes[node].counters().duplicates.load(Relaxed)
    }

    fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    /// Carries actions and packets until there are none.
    pub(crate) fn settle(&mut self) {
        let mut mail = VecDeque::new();
        loop {
            for node in 0..self.nodes.len() {
                while let Some(action) = self.nodes[node].next_action() {
                    self.carry(node, action, &mut mail);
                }
            }
            let Some((node, conn, packet)) = mail.pop_front() else { return };
            self.nodes[node].receive(self.now, conn, packet.code, packet.body.plain().clone());
        }
    }

    fn carry(&mut self, node: usize, action: Action, mail: &mut VecDeque<(usize, ConnId, Packet)>) {
        match action {
            Action::Send { to, packet } if !self.takes(to, &packet) => self.nodes[node].stalled(self.now, to, packet),
            Action::Send { to, packet } => match self.ends.get(&(node, to)) {
                Some(End::Node(other, conn)) => {
                    self.packets += usize::from(packet.code == Code::Messages.number());
                    mail.push_back((*other, *conn, packet));
                }
                Some(End::Script) => {
                    let heard = self.heard.entry((node, to)).or_default();
                    heard.push((packet.code, packet.body.plain().clone()));
                    let at = self.now.instant.duration_since(self.start.instant).as_millis() as u64;
                    self.heard_at.entry((node, to)).or_default().push(at);
                }
                None => {}
            },
            Action::Disconnect { conn, fault } => {
                self.stories[node].left.push((conn, fault));
                self.close(node, conn);
            }
            Action::Deliver { envelope, from } => self.stories[node].delivered.push((envelope.hash(), from)),
            Action::PostEnded { hash, outcome } => self.stories[node].ended.push((hash, outcome)),
            Action::Direct { conn, packet } => self.stories[node].direct.push((conn, packet)),
            Action::MailRequest { conn, asked, .. } => self.stories[node].asked.push((conn, asked)),
            Action::MailReady { conn } => {
                if let Some(packet) = self.nodes[node].take_mail(self.now, conn) {
                    self.carry(node, Action::Send { to: conn, packet }, mail);
                }
            }
            Action::PeerRunning { conn } => self.stories[node].running.push(conn),
            Action::PeerGone { conn } => self.stories[node].gone.push(conn),
            Action::EpochClosed(epoch) => self.stories[node].epochs.push(epoch),
        }
    }

    /// Whether a connection takes a packet now.
    fn takes(&mut self, conn: ConnId, packet: &Packet) -> bool {
        let Some(room) = self.room.get_mut(&conn) else { return !self.full.contains(&conn) };
        let takes = *room > 0;
        if takes {
            *room -= packet.body.plain().len() as isize;
        }
        takes
    }

    fn close(&mut self, node: usize, conn: ConnId) {
        let end = self.ends.remove(&(node, conn));
        self.nodes[node].disconnected(self.now, conn);
        if let Some(End::Node(other, conn)) = end {
            self.ends.remove(&(other, conn));
            self.nodes[other].disconnected(self.now, conn);
        }
    }
}

/// Settings that want these topics alone.
pub(crate) fn wanting(topics: &[Topic]) -> Settings {
    Settings { interest: Interest::topics(topics.to_vec()).unwrap(), ..easy() }
}

/// Every connection comes from a node and an address of its own.
pub(crate) fn remote(conn: ConnId) -> Remote {
    let ip = Ipv4Addr::from_bits(0x0a00_0000 + conn.0 as u32);
    Remote::new(ip.into(), node_id(conn))
}

pub(crate) fn node_id(conn: ConnId) -> NodeId {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&conn.0.to_be_bytes());
    NodeKey::from_bytes(&key).unwrap().public().id()
}
