//! The core of Waku v0: peers, pool and gossip. Packets and time go in, actions come out.  Spec: 5/WAKU0, 6/WAKU1, EIP-627.
//!
//! Peers of waku/0, waku/1 and shh/6 share one pool: what one brings goes to the others, byte for byte, as far as each wants it.
//!
//! A new envelope is delivered once, and goes at once to every running peer that wants it and is not known to have it.
//! A peer is not told of what it sent, and gets the pool, as far as it wants it, when its Status arrives and whenever
//! it changes what it wants.
//!
//! What is read between two calls of [`Node::next_action`] is forwarded together: envelopes for the same peers share a
//! packet, and the packet is encoded once.
//!
//! Limits: [`MAX_PEERS`]; [`crate::pool::PoolLimits`]; [`crate::outbox`] for what waits; a packet's own length for what it can bring.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::{Body, ConnId, Packet, clock::Now};
use rand::Rng;

mod accounts;
mod answers;
mod change;
mod gossip;
mod intake;
mod mail;
mod members;

use change::Update;

pub use change::UPDATE_DELAY;
pub use mail::NotSent;

pub use crate::settings::{Change, Settings};
use crate::{
    acceptance::Acceptance,
    accounting::{Accounts, Epoch},
    admit::{Policy, Refusal},
    confirm::{Outcome, Posts},
    counters::{Counters, count, count_by, gauge},
    envelope::{Envelope, EnvelopeHash},
    fault::Fault,
    forwards::Forwards,
    keccak::Lanes,
    limits::{Addresses, Gate, OverRate, Rates},
    mail::Asked,
    outbox::Overflow,
    packet::{Code, MAX_READ_BEFORE_STATUS, MAX_READ_BODY, MAX_SENT_BODY, messages, p2p::Direct},
    peer::{Awaiting, Peer, PeerOptions, Remote, Running},
    pool::{Entry, Pool, PoolFull},
    status::StatusOptions,
    version::{StatusShape, Version},
    whitelist::Whitelist,
};

/// Peers kept at once, whatever the server allows. A gossip network needs tens.
pub const MAX_PEERS: usize = 1024;

/// How often expired envelopes leave the pool. Source: status-go and Nimbus.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often at most the pool is looked through for a peer that keeps changing what it wants.
/// Source: status-go broadcasts in this cycle.
pub const OFFER_INTERVAL: Duration = Duration::from_millis(300);

/// What the shell is to do, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send a packet. When the connection is full, give it back with [`Node::stalled`].
    Send {
        /// To whom.
        to: ConnId,
        /// What; its body is shared with the other peers that get it.
        packet: Packet,
    },
    /// End a connection. Nothing more comes from it or goes to it.
    Disconnect {
        /// Which.
        conn: ConnId,
        /// Why; the peer is told [`Fault::reason`].
        fault: Fault,
    },
    /// A new envelope has arrived.
    Deliver {
        /// The envelope.
        envelope: Arc<Envelope>,
        /// Who brought it first.
        from: ConnId,
    },
    /// An own envelope has ended: confirmed or not.
    PostEnded {
        /// Which.
        hash: EnvelopeHash,
        /// How.
        outcome: Outcome,
    },
    /// A trusted peer has sent something outside of gossip.
    Direct {
        /// Who.
        conn: ConnId,
        /// What.
        packet: Direct,
    },
    /// Somebody asks for history, or a trusted mailserver for what it lacks.
    MailRequest {
        /// On which connection.
        conn: ConnId,
        /// Who.
        remote: Remote,
        /// What.
        asked: Asked,
    },
    /// A packet of history may leave: [`Node::take_mail`] when the connection has little to do, [`Node::delay_mail`] when not.
    MailReady {
        /// To whom.
        conn: ConnId,
    },
    /// A peer's Status was exchanged.
    PeerRunning {
        /// Its connection.
        conn: ConnId,
    },
    /// A running peer is gone.
    PeerGone {
        /// Its connection.
        conn: ConnId,
    },
    /// The accounts of an epoch in which there was traffic.
    EpochClosed(Epoch),
}

/// An own envelope that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// Its name.
    pub hash: EnvelopeHash,
    /// Whether it was in the pool already, so that nothing was done.
    pub already_pooled: bool,
    /// Peers that it goes to at once. Those that come later get it from the pool.
    pub sent_to: usize,
}

/// An own envelope that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Our own checks refuse it, as peers' would.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// It fits no packet that deployed peers read.
    #[error("a packet with this envelope would have {len} bytes, more than {MAX_SENT_BODY}")]
    TooLong {
        /// Length of the packet's body.
        len: usize,
    },
    /// The pool has no room for it.
    #[error(transparent)]
    PoolFull(#[from] PoolFull),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// A node without sockets or clocks.
#[derive(Debug)]
pub struct Node {
    acceptance: Acceptance,
    /// What hashes are computed with. No result depends on it.
    lanes: Lanes,
    light: bool,
    confirmations: bool,
    serves_mail: bool,
    rates: Rates,
    whitelist: Whitelist,
    max_waiting: usize,
    status_timeout: Duration,
    /// What newcomers are told.
    options: Arc<StatusOptions>,
    /// The same as a Status of each version, encoded.
    statuses: [(Version, Body); Version::ALL.len()],
    /// When running peers are told what has changed.
    update_at: Option<Instant>,
    /// The last update in each shape. Most peers were told the same.
    updates: Vec<Update>,
    addresses: Addresses,
    posts: Posts,
    accounts: Accounts,
    peers: BTreeMap<ConnId, Peer>,
    /// Running peers by slot.
    slots: Vec<Option<ConnId>>,
    pool: Pool,
    forwards: Forwards,
    actions: VecDeque<Action>,
    /// Peers with envelopes waiting and a connection that takes them.
    draining: BTreeSet<ConnId>,
    /// Peers whose mail may be able to leave.
    mailing: BTreeSet<ConnId>,
    next_sweep: Instant,
    /// The latest time that was told.
    now: Now,
    counters: Arc<Counters>,
}

impl Node {
    /// A node without peers.
    #[must_use]
    pub fn new(settings: Settings, now: Now, rng: &mut impl Rng) -> Self {
        let policy = Policy {
            min_pow: settings.min_pow,
            interest: settings.interest,
            max_message_size: settings.max_message_size,
        };
        let mut node = Self {
            acceptance: Acceptance::new(policy),
            lanes: Lanes::detected(),
            light: settings.light,
            confirmations: settings.confirmations,
            serves_mail: settings.serves_mail,
            rates: settings.rates,
            whitelist: settings.whitelist,
            max_waiting: settings.pool.max_envelopes,
            status_timeout: settings.status_timeout,
            options: Arc::default(),
            statuses: Version::ALL.map(|version| (version, Bytes::new().into())),
            update_at: None,
            updates: Vec::new(),
            addresses: Addresses::default(),
            posts: Posts::default(),
            accounts: Accounts::new(settings.accounting_epoch, now),
            peers: BTreeMap::new(),
            slots: Vec::new(),
            pool: Pool::new(settings.pool, [rng.next_u64(), rng.next_u64()]),
            forwards: Forwards::default(),
            actions: VecDeque::new(),
            draining: BTreeSet::new(),
            mailing: BTreeSet::new(),
            next_sweep: now.instant + SWEEP_INTERVAL,
            now,
            counters: Arc::default(),
        };
        node.announce(node.announced());
        node
    }

    /// What this node counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Whether an own envelope is waiting for confirmations; [`Action::PostEnded`] comes for each that is.
    #[must_use]
    pub fn follows(&self, hash: &EnvelopeHash) -> bool {
        self.posts.follows(hash)
    }

    /// The live envelopes.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A connection on which this version runs. Our Status goes out without waiting for theirs.
    pub fn connected(&mut self, now: Now, conn: ConnId, remote: Remote, version: Version) {
        self.now = now;
        if self.peers.len() >= MAX_PEERS {
            return self.refuse(conn, Fault::TooManyPeers);
        }
        let deadline = now.instant + self.status_timeout;
        let awaiting = Awaiting { version, remote, told: Arc::clone(&self.options), deadline };
        self.peers.insert(conn, Peer::AwaitingStatus(awaiting));
        let packet = Packet::new(version.capability(), Code::Status.number(), self.status(version));
        self.actions.push_back(Action::Send { to: conn, packet });
    }

    /// The connection is over, whoever ended it.
    pub fn disconnected(&mut self, now: Now, conn: ConnId) {
        self.now = now;
        self.forget(conn);
    }

    /// A packet of this code from a peer.
    pub fn receive(&mut self, now: Now, conn: ConnId, code: u8, body: Bytes) {
        self.now = now;
        let outcome = match self.peers.get(&conn) {
            Some(Peer::AwaitingStatus(awaiting)) => self.receive_first(conn, awaiting.clone(), code, &body),
            Some(Peer::Running(_)) => self.receive_running(conn, code, &body),
            None => Ok(()), // It was on its way when we left the peer.
        };
        if let Err(fault) = outcome {
            self.leave(conn, fault);
        }
    }

    /// Takes an own envelope: through the same checks as any other, into the pool, and out to peers.
    ///
    /// # Errors
    /// [`PostError`]: nothing has happened.
    pub fn post(&mut self, now: Now, envelope: Envelope) -> Result<Posted, PostError> {
        self.now = now;
        let len = messages::body_len(envelope.raw().len());
        if len > MAX_SENT_BODY {
            return Err(PostError::TooLong { len });
        }
        let pow = self.acceptance.judge(now, &envelope)?;
        let hash = envelope.hash();
        if let Some(entry) = self.pool.get_mut(&hash) {
            entry.own = true;
            return Ok(Posted { hash, already_pooled: true, sent_to: 0 });
        }
        let envelope = Arc::new(envelope);
        let (known_by, brought_by) = Default::default();
        let entry = Entry { envelope: Arc::clone(&envelope), pow, own: true, known_by, brought_by };
        self.pool.insert(now.unix_secs(), entry)?;
        self.gauge_pool();
        count(&self.counters.posted);
        let crowded_out = self.posts.follow(now.instant, hash);
        self.end_posts(crowded_out);
        Ok(Posted { hash, already_pooled: false, sent_to: self.forward(envelope) })
    }

    /// The connection would not take this packet because it is full; the node tries again.
    pub fn stalled(&mut self, now: Now, conn: ConnId, packet: Packet) {
        self.now = now;
        self.draining.remove(&conn);
        self.take_back(conn, &packet);
        let held = match self.peers.get_mut(&conn) {
            Some(Peer::Running(running)) => {
                running.budget.take_back(packet.body.plain().len());
                running.outbox.hold(now.instant, packet)
            }
            Some(Peer::AwaitingStatus(_)) => Err(Overflow), // Too full for our first packet: of no use.
            None => Ok(()),
        };
        if held == Err(Overflow) {
            self.leave(conn, Fault::TooSlow);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        if now.instant >= self.next_sweep {
            self.next_sweep = now.instant + SWEEP_INTERVAL;
            count_by(&self.counters.expired, self.pool.sweep(now.unix_secs()));
            self.gauge_pool();
            self.addresses.sweep(now.instant);
        }
        let silent = self.posts.expire(now.instant);
        self.end_posts(silent);
        self.tick_accounts();
        if self.update_at.is_some_and(|at| at <= now.instant) {
            self.tell_changes();
        }
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.tick_peer(conn));
    }

    /// When the next tick is due.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        let peers = self.peers.values().filter_map(|peer| match peer {
            Peer::AwaitingStatus(awaiting) => Some(awaiting.deadline),
            Peer::Running(running) => running.wake_at(self.now.instant),
        });
        let due = [Some(self.accounts.closes_at()), self.update_at, self.posts.wake_at()];
        peers.chain(due.into_iter().flatten()).fold(self.next_sweep, Instant::min)
    }

    /// The next thing to do. The shell takes all there are before it reads on or waits.
    pub fn next_action(&mut self) -> Option<Action> {
        self.flush();
        self.actions.pop_front().or_else(|| self.drain()).or_else(|| self.drain_mail())
    }
}

/// Packets.
impl Node {
    fn receive_first(&mut self, conn: ConnId, awaiting: Awaiting, code: u8, body: &[u8]) -> Result<(), Fault> {
        check_len(body, MAX_READ_BEFORE_STATUS)?;
        if code != Code::Status.number() {
            return Err(Fault::BeforeStatus(code));
        }
        let version = awaiting.version;
        let options = StatusOptions::decode_status(version, body).map_err(Fault::Status)?;
        let shape = StatusOptions::shape_of(version, body);
        let mut peer = PeerOptions::default();
        peer.apply(options).map_err(|error| Fault::Status(error.into()))?;
        self.check_light(&peer)?;
        self.start_running(conn, awaiting, shape, peer);
        Ok(())
    }

    fn receive_running(&mut self, conn: ConnId, code: u8, body: &Bytes) -> Result<(), Fault> {
        let Some(Peer::Running(running)) = self.peers.get(&conn) else { return Ok(()) };
        let code = Code::of(code).filter(|code| running.speaks(*code));
        self.meter(conn, code, body.len())?;
        check_len(body, MAX_READ_BODY)?;
        match code {
            Some(Code::Messages) => return self.receive_messages(conn, body),
            Some(change @ (Code::StatusUpdate | Code::PowRequirement | Code::BloomFilter | Code::RateLimits)) => {
                return self.receive_update(conn, change, body);
            }
            Some(Code::SyncRequest) => return self.receive_sync_request(conn, body),
            Some(Code::SyncResponse) => return self.receive_sync_response(conn, body),
            Some(Code::P2pRequestComplete) => return self.receive_completion(conn, body),
            Some(Code::P2pMessage) => return self.receive_direct(conn, body),
            Some(Code::P2pRequest) => return self.receive_request(conn, body),
            Some(Code::BatchAck) => self.receive_ack(conn, body),
            Some(Code::MessageResponse) => self.receive_response(conn, body),
            // A second Status is ignored by every deployed peer.
            Some(Code::Status) | None => count(&self.counters.ignored_packets),
        }
        Ok(())
    }

    /// Counts a packet against its sender and the sender's address, before it is read.
    fn meter(&mut self, conn: ConnId, code: Option<Code>, len: usize) -> Result<(), Fault> {
        let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return Ok(()) };
        running.traffic.bytes_in = running.traffic.bytes_in.saturating_add(len as u64);
        let answers = matches!(code, Some(Code::BatchAck | Code::MessageResponse));
        if answers && running.intake.take_answer() {
            return Ok(());
        }
        let (rates, addresses, counters) = (&self.rates, &mut self.addresses, &*self.counters);
        count(&counters.metered);
        let mut gate = Gate { rates, addresses, ip: running.remote.ip, counters };
        running.intake.packet(self.now.instant, len, &mut gate).map_err(|OverRate(meter)| Fault::OverRate(meter))
    }

    fn check_light(&self, peer: &PeerOptions) -> Result<(), Fault> {
        if self.light && peer.light { Err(Fault::BothLight) } else { Ok(()) }
    }
}

/// Peers.
impl Node {
    fn start_running(&mut self, conn: ConnId, mut awaiting: Awaiting, shape: StatusShape, options: PeerOptions) {
        self.flush(); // What is on its way is addressed by slot, and the slot may have been another peer's.
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(conn);
        self.pool.forget_slot(slot);
        let (now, remote) = (self.now.instant, awaiting.remote);
        if shape != awaiting.version.status_shape() {
            awaiting.told = Arc::default(); // It has understood nothing of our Status.
        }
        if !Arc::ptr_eq(&awaiting.told, &self.options) {
            self.update_at.get_or_insert(now + UPDATE_DELAY); // Something has changed since our Status.
        }
        self.addresses.enter(now, remote.ip);
        let exempt = self.whitelist.covers(&remote);
        self.peers.insert(conn, Peer::Running(Running::new(awaiting, shape, slot, options, exempt, now)));
        self.actions.push_back(Action::PeerRunning { conn });
        self.gauge_peers();
        self.offer_pool(conn);
    }

    fn tick_peer(&mut self, conn: ConnId) {
        let now = self.now.instant;
        match self.peers.get_mut(&conn) {
            Some(Peer::AwaitingStatus(awaiting)) if awaiting.deadline <= now => self.leave(conn, Fault::NoStatus),
            Some(Peer::Running(running)) => {
                let budget = &mut running.budget;
                let held = running
                    .outbox
                    .retry(now, |packet| budget.allows(now, 1) && budget.noted(now, packet.body.plain().len()));
                if !held.is_empty() {
                    budget.renew_topics(now);
                }
                for packet in held {
                    self.account_retried(conn, &packet);
                    self.actions.push_back(Action::Send { to: conn, packet });
                }
                let Some(Peer::Running(running)) = self.peers.get_mut(&conn) else { return };
                if running.outbox.may_send(now) {
                    self.draining.insert(conn);
                }
                if running.outbox.may_mail(now) {
                    self.mailing.insert(conn);
                }
                if running.offer_at.is_some_and(|at| at <= now) {
                    running.offer_at = None;
                    running.offered_at = now;
                    self.offer_pool(conn);
                }
            }
            Some(Peer::AwaitingStatus(_)) | None => {}
        }
    }

    /// Ends a session that was begun.
    fn leave(&mut self, conn: ConnId, fault: Fault) {
        self.forget(conn);
        self.refuse(conn, fault);
    }

    fn refuse(&mut self, conn: ConnId, fault: Fault) {
        count(&self.counters.faults);
        match fault {
            Fault::TooSlow => count(&self.counters.too_slow),
            Fault::OverRate(_) => count(&self.counters.over_rate),
            _ => {}
        }
        self.actions.push_back(Action::Disconnect { conn, fault });
    }

    fn forget(&mut self, conn: ConnId) {
        self.draining.remove(&conn);
        self.mailing.remove(&conn);
        if let Some(Peer::Running(running)) = self.peers.remove(&conn) {
            self.slots[running.slot] = None;
            self.addresses.leave(running.remote.ip);
            self.wait_no_longer(running.unanswered.into_posts());
            self.actions.push_back(Action::PeerGone { conn });
            self.gauge_peers();
        }
    }

    fn gauge_peers(&self) {
        gauge(&self.counters.peers, self.slots.iter().flatten().count());
    }
}

fn check_len(body: &[u8], limit: usize) -> Result<(), Fault> {
    if body.len() > limit { Err(Fault::TooLong { len: body.len(), limit }) } else { Ok(()) }
}
