//! The core of discovery: packets and time in, packets and found nodes out (`discv4.md`).
//!
//! Before a node is asked anything, both sides prove their addresses: we ping it, it answers and pings us. Questions of
//! nodes without proof are not answered, and answers nobody asked for are dropped before their signature is looked at, so
//! a forged sender gains nothing. The table is refreshed by lookups, of ourselves and of random targets in turn, at
//! growing intervals; its stalest node is pinged every [`REVALIDATE_EVERY`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sha3::{Digest, Keccak256};

use super::endpoint::{Contact, Endpoint, may_relay};
use super::lookup::Lookup;
use super::packet::{
    self, EnrRequest, EnrResponse, FindNode, Hash, Kind, MAX_NEIGHBORS, Neighbors, Packet, PacketError, Ping, Pong,
    Signed,
};
use super::proof::Proofs;
use super::rate::Rates;
use super::requests::{Query, Request, Requests, Wait};
use super::table::{BUCKET_NODES, Kept, Table};
use crate::clock::Now;
use crate::enode::Enode;
use crate::enr::{self, Enr, EnrError};
use crate::key::{NodeId, NodeKey, PublicKey};

/// How long our packets are valid. Source: go-ethereum, `expiration`.
pub const EXPIRATION: Duration = Duration::from_secs(20);

/// A packet that is valid for longer is dropped: it could be replayed for ever. go-ethereum's conformance test goes as far
/// as 10 h.
pub const MAX_EXPIRATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two Pings to nodes of the table. Source: go-ethereum, `revalidateInterval`.
pub const REVALIDATE_EVERY: Duration = Duration::from_secs(10);

/// From the first lookup to the second; each later interval is twice as long.
pub const FIRST_REFRESH: Duration = Duration::from_secs(5);

/// The longest interval between lookups, before jitter. Source: the specification's hourly refresh, shortened, since a node
/// whose bootstrap nodes were away at its start waits for this.
pub const LONGEST_REFRESH: Duration = Duration::from_secs(5 * 60);

/// Lookups at once, our own included.
pub const MAX_LOOKUPS: usize = 8;

/// Names a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(u64);

/// Names a question for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(u64);

/// What the core is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our static key.
    pub key: NodeKey,
    /// Where we are, as far as we know: for our record and our Pings.
    pub endpoint: Endpoint,
    /// Where to begin.
    pub bootstrap: Vec<Contact>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a packet.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The packet.
        packet: Bytes,
    },
    /// A node has proven its address and can be dialled. It may be told of again later.
    Found(Enode),
    /// A lookup is over.
    LookedUp {
        /// Which.
        id: LookupId,
        /// The nearest nodes that answered, nearest first.
        nodes: Vec<Enode>,
    },
    /// A node's record, or that it gave none.
    Record {
        /// Which question.
        id: RecordId,
        /// The record, signed by the node that was asked.
        record: Option<Enr>,
    },
}

/// Why a packet was dropped. The sender is told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Its address sends too many.
    #[error("too many packets from this address")]
    TooMany,
    /// It answers nothing that we asked of this node at this address.
    #[error("nobody asked for it")]
    Unasked,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// It would be valid beyond [`MAX_EXPIRATION`].
    #[error("valid for too long")]
    ValidTooLong,
    /// A question from a node that has not proven its address.
    #[error("no endpoint proof")]
    NoProof,
    /// Our own key, or a port nobody can answer to.
    #[error("not from another node")]
    NoSender,
}

/// Discovery of one node.
#[derive(Debug)]
pub struct Protocol {
    key: NodeKey,
    public: PublicKey,
    own: NodeId,
    endpoint: Endpoint,
    record: Enr,
    bootstrap: Vec<Contact>,
    table: Table,
    proofs: Proofs,
    rates: Rates,
    requests: Requests,
    lookups: BTreeMap<LookupId, Search>,
    refresh: Refresh,
    revalidate_at: Instant,
    next_id: u64,
    rng: StdRng,
    actions: VecDeque<Action>,
}

/// A lookup with the target as it is sent.
#[derive(Debug)]
struct Search {
    target: [u8; 64],
    lookup: Lookup,
}

/// Our own lookups.
#[derive(Debug)]
struct Refresh {
    at: Instant,
    wait: Duration,
    running: Option<LookupId>,
    /// The next one is for ourselves.
    own_turn: bool,
}

impl Protocol {
    /// Begins; the first lookup is due at once.
    ///
    /// # Errors
    /// [`EnrError`] when our record is refused by its own reader, which no endpoint brings about.
    pub fn new(settings: Settings, seed: [u8; 32], now: Now) -> Result<Self, EnrError> {
        let Settings { key, endpoint, bootstrap } = settings;
        let port = |port: u16| (port != 0).then_some(port);
        let place = enr::Endpoint { ip: endpoint.ip, tcp: port(endpoint.tcp), udp: port(endpoint.udp) };
        // Milliseconds grow over restarts, as the sequence number must. Source: go-ethereum, `nowMilliseconds`.
        let seq = u64::try_from(now.unix.as_millis()).unwrap_or(u64::MAX);
        let public = key.public();
        let own = public.id();
        Ok(Self {
            record: enr::sign(&key, seq, &place)?,
            public,
            key,
            own,
            endpoint,
            bootstrap,
            table: Table::new(own),
            proofs: Proofs::default(),
            rates: Rates::new(now.instant),
            requests: Requests::default(),
            lookups: BTreeMap::new(),
            refresh: Refresh { at: now.instant, wait: FIRST_REFRESH, running: None, own_turn: true },
            revalidate_at: now.instant + REVALIDATE_EVERY,
            next_id: 0,
            rng: StdRng::from_seed(seed),
            actions: VecDeque::new(),
        })
    }

    /// Our record.
    #[must_use]
    pub fn record(&self) -> &Enr {
        &self.record
    }

    /// The nodes of the table.
    #[must_use]
    pub fn nodes(&self) -> Vec<Enode> {
        self.table.nodes().map(|node| node.enode()).collect()
    }

    /// Adds a node to begin at, and begins anew if nobody is known yet.
    pub fn add_bootstrap(&mut self, now: Now, node: Contact) {
        if !self.bootstrap.contains(&node) {
            self.bootstrap.push(node);
        }
        if self.table.len() == 0 {
            self.refresh.at = now.instant;
            self.refresh.wait = FIRST_REFRESH;
        }
    }

    /// Looks for the nodes nearest to `target`; `None` when [`MAX_LOOKUPS`] are under way. [`Action::LookedUp`] follows.
    pub fn lookup(&mut self, now: Now, target: [u8; 64]) -> Option<LookupId> {
        let id = self.begin_lookup(target)?;
        self.pump(now);
        Some(id)
    }

    /// Asks a node for its record. [`Action::Record`] follows.
    pub fn ask_record(&mut self, now: Now, node: Contact) -> RecordId {
        let id = RecordId(self.draw_id());
        self.ask(now, node, Query::Record(id));
        id
    }

    /// Takes a packet.
    ///
    /// # Errors
    /// [`Refused`] says why the packet was dropped, for the log: there is nothing to do about it.
    pub fn receive(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) -> Result<(), Refused> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let kind = Kind::of(bytes)?;
        if kind.is_request() && !self.rates.admit(now.instant, from.ip(), self.proofs.knows(from.ip())) {
            return Err(Refused::TooMany);
        }
        if !kind.is_request() && !self.requests.expects(kind, from.ip()) {
            return Err(Refused::Unasked);
        }
        let Signed { sender, hash, packet } = packet::decode(bytes)?;
        if sender == self.public || from.port() == 0 {
            return Err(Refused::NoSender);
        }
        check_expiration(now, &packet)?;
        let done = self.handle(now, from, sender, hash, packet);
        self.pump(now);
        done
    }

    fn handle(
        &mut self,
        now: Now,
        from: SocketAddr,
        sender: PublicKey,
        hash: Hash,
        packet: Packet,
    ) -> Result<(), Refused> {
        match packet {
            Packet::Ping(ping) => {
                self.on_ping(now, Contact::new(sender, from, ping.from.tcp), hash, &ping);
                Ok(())
            }
            Packet::Pong(pong) => self.on_pong(now, from, sender.id(), &pong),
            Packet::FindNode(find) => self.on_find_node(now, from, sender.id(), &find.target),
            Packet::Neighbors(neighbors) => self.on_neighbors(now, from, sender.id(), &neighbors.nodes),
            Packet::EnrRequest(_) => self.on_enr_request(now, from, sender.id(), hash),
            Packet::EnrResponse(response) => self.on_enr_response(from, sender.id(), response),
        }
    }

    fn on_ping(&mut self, now: Now, contact: Contact, ping_hash: Hash, ping: &Ping) {
        let pong = Pong {
            to: contact.endpoint(),
            ping_hash,
            expiration: expiration(now),
            // Not for nodes that predate it: their Pong stays as short as it can be.
            enr_seq: ping.enr_seq.map(|_| self.record.seq()),
        };
        self.send(contact.addr, &Packet::Pong(pong));
        let (id, ip) = (contact.id, contact.addr.ip());
        if self.proofs.holds(now.instant, id, ip) {
            self.proofs.answered(now.instant, id, ip);
            self.keep(now, contact);
        } else if let Some(Wait::Pong { pinged_us, .. }) = self.requests.ping_to(&contact) {
            *pinged_us = true;
        } else if self.requests.has_room(true) {
            self.ping(now, contact, true, Vec::new());
        }
        for (asked, query) in self.requests.take_queries(id, ip) {
            self.send_query(now, asked, query, false);
        }
    }

    fn on_pong(&mut self, now: Now, from: SocketAddr, id: NodeId, pong: &Pong) -> Result<(), Refused> {
        let ip = from.ip();
        let taken = self.requests.take_ping(id, ip, &pong.ping_hash);
        let (contact, pinged_us, queries) = taken.ok_or(Refused::Unasked)?;
        self.proofs.proven(now.instant, id, ip);
        if pinged_us {
            self.proofs.answered(now.instant, id, ip);
        }
        self.keep(now, contact);
        for query in queries {
            if self.proofs.held_of_us(now.instant, id, ip) {
                self.send_query(now, contact, query, false);
            } else {
                self.wait(now, contact, query, Wait::TheirPing(query));
            }
        }
        Ok(())
    }

    fn on_find_node(&mut self, now: Now, from: SocketAddr, id: NodeId, target: &[u8; 64]) -> Result<(), Refused> {
        self.check_proof(now, from, id)?;
        let target = target_id(target);
        // One more, for the asker may be among them.
        let mut nodes = self.table.closest(target, BUCKET_NODES + 1);
        nodes.retain(|node| node.id != id && may_relay(from.ip(), node.addr.ip()));
        nodes.truncate(BUCKET_NODES);
        // "None" is an answer too, and spares the asker the wait.
        let parts = nodes.chunks(MAX_NEIGHBORS).map(<[_]>::to_vec).chain(nodes.is_empty().then(Vec::new));
        let expiration = expiration(now);
        for nodes in parts.collect::<Vec<_>>() {
            self.send(from, &Packet::Neighbors(Neighbors { nodes, expiration }));
        }
        Ok(())
    }

    fn on_neighbors(&mut self, now: Now, from: SocketAddr, id: NodeId, nodes: &[Contact]) -> Result<(), Refused> {
        let mut nodes = nodes.to_vec();
        nodes.retain(|node| node.id != self.own && may_relay(from.ip(), node.addr.ip()));
        match self.requests.add_neighbors(id, from.ip(), &nodes) {
            None => return Err(Refused::Unasked),
            Some(None) => {}
            Some(Some(request)) => self.ended(now, request),
        }
        Ok(())
    }

    fn on_enr_request(&mut self, now: Now, from: SocketAddr, id: NodeId, request_hash: Hash) -> Result<(), Refused> {
        self.check_proof(now, from, id)?;
        let record = self.record.clone();
        self.send(from, &Packet::EnrResponse(EnrResponse { request_hash, record }));
        Ok(())
    }

    fn on_enr_response(&mut self, from: SocketAddr, id: NodeId, response: EnrResponse) -> Result<(), Refused> {
        let asked = self.requests.take_record(id, from.ip(), &response.request_hash);
        let asked = asked.ok_or(Refused::Unasked)?;
        // A record of somebody else is none of this node.
        let record = (response.record.node_id().raw() == *id.as_bytes()).then_some(response.record);
        self.actions.push_back(Action::Record { id: asked, record });
        Ok(())
    }

    fn check_proof(&self, now: Now, from: SocketAddr, id: NodeId) -> Result<(), Refused> {
        if self.proofs.holds(now.instant, id, from.ip()) { Ok(()) } else { Err(Refused::NoProof) }
    }

    /// Puts a question to a node, after the endpoint proofs that it takes.
    fn ask(&mut self, now: Now, contact: Contact, query: Query) {
        if self.proofs.held_of_us(now.instant, contact.id, contact.addr.ip()) {
            self.send_query(now, contact, query, false);
        } else if let Some(Wait::Pong { then, .. }) = self.requests.ping_to(&contact) {
            then.push(query);
        } else if self.requests.has_room(false) {
            self.ping(now, contact, false, vec![query]);
        } else {
            self.not_answered(contact.id, query);
        }
    }

    /// Asks a node that knows us. A question that overtook the Pong before it was dropped for want of a proof, so each is
    /// put twice if need be.
    fn send_query(&mut self, now: Now, contact: Contact, query: Query, again: bool) {
        let expiration = expiration(now);
        let packet = match query {
            Query::FindNode(id) => match self.lookups.get(&id) {
                Some(search) => Packet::FindNode(FindNode { target: search.target, expiration }),
                None => return,
            },
            Query::Record(_) => Packet::EnrRequest(EnrRequest { expiration }),
        };
        let hash = self.send(contact.addr, &packet);
        let wait = match query {
            Query::FindNode(lookup) => Wait::Neighbors { lookup, again, answered: false, nodes: Vec::new() },
            Query::Record(id) => Wait::Record { hash, id, again },
        };
        self.wait(now, contact, query, wait);
    }

    fn wait(&mut self, now: Now, contact: Contact, query: Query, wait: Wait) {
        if self.requests.has_room(false) {
            self.requests.push(now.instant, contact, wait);
        } else {
            self.not_answered(contact.id, query);
        }
    }

    fn ping(&mut self, now: Now, contact: Contact, pinged_us: bool, then: Vec<Query>) {
        let ping = Ping {
            from: self.endpoint,
            to: contact.endpoint(),
            expiration: expiration(now),
            enr_seq: Some(self.record.seq()),
        };
        let hash = self.send(contact.addr, &Packet::Ping(ping));
        self.requests.push(now.instant, contact, Wait::Pong { hash, pinged_us, then });
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet) -> Hash {
        let (packet, hash) = packet::encode(packet, &self.key);
        self.actions.push_back(Action::Send { to, packet });
        hash
    }

    /// A node lives at a proven address.
    fn keep(&mut self, now: Now, contact: Contact) {
        let kept = self.table.keep(now.instant, contact);
        if kept == Kept::New && contact.tcp != 0 {
            self.actions.push_back(Action::Found(contact.enode()));
        }
    }

    fn not_answered(&mut self, id: NodeId, query: Query) {
        match query {
            Query::FindNode(lookup) => {
                if let Some(search) = self.lookups.get_mut(&lookup) {
                    search.lookup.failed(id);
                }
            }
            Query::Record(id) => self.actions.push_back(Action::Record { id, record: None }),
        }
    }

    /// Moves time on.
    pub fn tick(&mut self, now: Now) {
        while let Some(request) = self.requests.take_overdue(now.instant) {
            self.ended(now, request);
        }
        if now.instant >= self.revalidate_at {
            self.revalidate_at = now.instant + REVALIDATE_EVERY;
            self.revalidate(now);
        }
        if now.instant >= self.refresh.at {
            self.begin_refresh(now);
        }
        self.pump(now);
    }

    /// A request is answered in full, or its time is up.
    fn ended(&mut self, now: Now, request: Request) {
        let Request { contact, wait, .. } = request;
        let id = contact.id;
        match wait {
            Wait::Pong { then, .. } => {
                self.table.failed(now.instant, id);
                then.into_iter().for_each(|query| self.not_answered(id, query));
            }
            // They need no proof of us, or lost their Ping: ask all the same.
            Wait::TheirPing(query) => self.send_query(now, contact, query, false),
            Wait::Neighbors { lookup, answered: false, again, .. } => {
                self.silent(now, contact, Query::FindNode(lookup), again);
            }
            Wait::Neighbors { lookup, nodes, .. } => {
                self.keep(now, contact);
                if let Some(search) = self.lookups.get_mut(&lookup) {
                    search.lookup.answered(id, &nodes);
                }
            }
            Wait::Record { id: record, again, .. } => self.silent(now, contact, Query::Record(record), again),
        }
    }

    /// A question got no answer. After the second time, the node may have restarted and forgotten us: the next question
    /// begins with a Ping.
    fn silent(&mut self, now: Now, contact: Contact, query: Query, again: bool) {
        if !again {
            return self.send_query(now, contact, query, true);
        }
        self.table.failed(now.instant, contact.id);
        self.proofs.forgotten(contact.id, contact.addr.ip());
        self.not_answered(contact.id, query);
    }

    fn revalidate(&mut self, now: Now) {
        if let Some(contact) = self.table.stalest()
            && self.requests.ping_to(&contact).is_none()
            && self.requests.has_room(false)
        {
            self.ping(now, contact, false, Vec::new());
        }
    }

    fn begin_refresh(&mut self, now: Now) {
        let jitter = self.rng.random_range(75..=125);
        self.refresh.at = now.instant + self.refresh.wait * jitter / 100;
        self.refresh.wait = (self.refresh.wait * 2).min(LONGEST_REFRESH);
        if self.refresh.running.is_some() {
            return;
        }
        let mut target = *self.public.as_bytes();
        if !self.refresh.own_turn {
            self.rng.fill_bytes(&mut target);
        }
        self.refresh.own_turn = !self.refresh.own_turn;
        self.refresh.running = self.begin_lookup(target);
    }

    fn begin_lookup(&mut self, target: [u8; 64]) -> Option<LookupId> {
        if self.lookups.len() >= MAX_LOOKUPS {
            return None;
        }
        let hashed = target_id(&target);
        let mut seeds = self.table.closest(hashed, BUCKET_NODES);
        if seeds.len() < BUCKET_NODES {
            seeds.extend_from_slice(&self.bootstrap);
        }
        let id = LookupId(self.draw_id());
        self.lookups.insert(id, Search { target, lookup: Lookup::new(hashed, self.own, &seeds) });
        Some(id)
    }

    /// Moves all lookups on.
    fn pump(&mut self, now: Now) {
        let ids: Vec<_> = self.lookups.keys().copied().collect();
        for id in ids {
            while let Some(contact) = self.lookups.get_mut(&id).and_then(|search| search.lookup.next()) {
                self.ask(now, contact, Query::FindNode(id));
            }
            if self.lookups.get_mut(&id).is_some_and(|search| search.lookup.is_done()) {
                self.end_lookup(id);
            }
        }
    }

    fn end_lookup(&mut self, id: LookupId) {
        let Some(search) = self.lookups.remove(&id) else { return };
        if self.refresh.running == Some(id) {
            self.refresh.running = None;
            return;
        }
        let nodes = search.lookup.result().iter().map(Contact::enode).collect();
        self.actions.push_back(Action::LookedUp { id, nodes });
    }

    fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// When [`Protocol::tick`] has something to do.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        let own = self.revalidate_at.min(self.refresh.at);
        self.requests.wake_at().map_or(own, |at| at.min(own))
    }

    /// What to do next. To be emptied after each call of another method.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

fn expiration(now: Now) -> u64 {
    now.unix_secs() + EXPIRATION.as_secs()
}

fn check_expiration(now: Now, packet: &Packet) -> Result<(), Refused> {
    let Some(expiration) = packet.expiration() else { return Ok(()) };
    if expiration < now.unix_secs() {
        return Err(Refused::Expired);
    }
    if expiration > now.unix_secs() + MAX_EXPIRATION.as_secs() {
        return Err(Refused::ValidTooLong);
    }
    Ok(())
}

/// The id that a target stands for; unlike a key, it need not be on the curve.
fn target_id(target: &[u8; 64]) -> NodeId {
    NodeId::from_bytes(Keccak256::digest(target).into())
}
