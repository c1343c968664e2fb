//! Networks in memory, joined by bridges, in virtual time.
//!
//! A network is the set of what was ever in it. Each bridge has its own place in each of its networks: a v1 pool by
//! envelope hash, a v2 memory by message bytes, as gossip has. Between places everything takes a random time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bridge::{
    Action, Bridge, Config, Crossing, DropReason, JobId, Outcome,
    history::Kept,
    seal::{SealError, SealJob, Sealed},
};
use bytes::Bytes;
use devp2p::clock::Now;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use waku0::{Envelope, EnvelopeHash, node::Posted};
use waku2::{
    MessageHash, WakuMessage,
    handle::{PublishError, Published},
    hash::{GossipId, gossip_id},
};

use super::{
    old::OldBridge,
    start,
    users::{pubsub, received_on},
};

/// How long gossip remembers a message's bytes.
const GOSSIP_MEMORY: Duration = Duration::from_secs(120);
/// More events than most of the tests need: a loop shows as this many.
const MAX_EVENTS: usize = 250_000;

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) rng: StdRng,
    /// After so many it never ends.
    pub(crate) max_events: usize,
    pub(crate) v1: Vec<BTreeMap<EnvelopeHash, Arc<Envelope>>>,
    pub(crate) v2: Vec<BTreeMap<GossipId, Bytes>>,
    pub(crate) places: Vec<Place>,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    events: HashMap<usize, Event>,
    next_event: usize,
}

/// A bridge and its place in two networks.
pub(crate) struct Place {
    side: Side,
    v1: usize,
    v2: usize,
    pool: HashSet<EnvelopeHash>,
    gossip: HashMap<GossipId, Instant>,
    /// How long things take to reach this bridge, and to be mined or answered, in milliseconds.
    delay: Range<u64>,
    /// v2 peers; with none, publishing fails.
    pub(crate) v2_peers: usize,
    /// One in so many attempts to publish or post fails; 0 for none.
    pub(crate) failing: u32,
    pub(crate) crossings: Vec<Crossing>,
    pub(crate) mined: usize,
    /// What the archive was given.
    pub(crate) kept: Vec<Kept>,
    /// Envelopes and messages handed to the bridge.
    pub(crate) given: usize,
}

enum Side {
    Ours(Box<Bridge>),
    Old(OldBridge),
}

enum Event {
    UserEnvelope { v1: usize, envelope: Arc<Envelope> },
    UserMessage { v2: usize, data: Bytes },
    Envelope { place: usize, envelope: Arc<Envelope> },
    Message { place: usize, data: Bytes },
    Noted { place: usize, job: JobId },
    Kept { place: usize, job: JobId },
    Sealed { place: usize, job: JobId, sealed: Sealed },
    Publish { place: usize, job: JobId, data: Bytes },
    Post { place: usize, job: JobId, envelope: Envelope },
    OldPublish { place: usize, data: Bytes },
    OldPost { place: usize, envelope: Envelope },
    V2Peers { place: usize, count: usize },
}

impl World {
    pub(crate) fn new(seed: u64, v1_networks: usize, v2_networks: usize) -> Self {
        Self {
            now: start(),
            rng: StdRng::seed_from_u64(seed),
            max_events: MAX_EVENTS,
            v1: vec![BTreeMap::new(); v1_networks],
            v2: vec![BTreeMap::new(); v2_networks],
            places: Vec::new(),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next_event: 0,
        }
    }

    /// Joins two networks with one of our bridges; returns its number.
    pub(crate) fn join(&mut self, v1: usize, v2: usize, delay: Range<u64>, config: Config) -> usize {
        let config = Config { journal: self.rng.random(), ..config };
        let mut bridge = Bridge::new(config, StdRng::seed_from_u64(self.rng.random())).unwrap();
        bridge.v2_peers(self.now, &pubsub(), 1);
        bridge.v0_peers(self.now, 1);
        self.place(Side::Ours(Box::new(bridge)), v1, v2, delay)
    }

    /// Joins two networks with a bridge of 2021.
    pub(crate) fn join_old(&mut self, v1: usize, v2: usize, delay: Range<u64>) -> usize {
        self.place(Side::Old(OldBridge::default()), v1, v2, delay)
    }

    fn place(&mut self, side: Side, v1: usize, v2: usize, delay: Range<u64>) -> usize {
        let (pool, gossip) = Default::default();
        self.places.push(Place {
            side,
            v1,
            v2,
            pool,
            gossip,
            delay,
            v2_peers: 1,
            failing: 0,
            crossings: Vec::new(),
            mined: 0,
            kept: Vec::new(),
            given: 0,
        });
        self.places.len() - 1
    }

    pub(crate) fn user_posts(&mut self, after: Duration, v1: usize, envelope: Arc<Envelope>) {
        self.schedule(after, Event::UserEnvelope { v1, envelope });
    }

    pub(crate) fn user_publishes(&mut self, after: Duration, v2: usize, message: &WakuMessage) {
        self.schedule(after, Event::UserMessage { v2, data: message.encode() });
    }

    pub(crate) fn v2_peers_become(&mut self, after: Duration, place: usize, count: usize) {
        self.schedule(after, Event::V2Peers { place, count });
    }

    /// Runs until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.max_events {
            let wake = self.places.iter().enumerate().filter_map(|(n, place)| Some((place.wake_at()?, n))).min();
            let event = self.queue.peek().map(|Reverse((at, ..))| *at);
            match (event, wake) {
                (None, None) => return,
                (Some(at), wake) if wake.is_none_or(|(wake, _)| at <= wake) => {
                    self.pass_to(at);
                    self.happen();
                }
                (_, Some((wake, place))) => {
                    self.pass_to(wake);
                    self.tick(place);
                }
                (Some(_), None) => unreachable!("covered by the guard above"),
            }
        }
        panic!("it never ends");
    }

    /// The messages of a v2 network.
    pub(crate) fn messages(&self, v2: usize) -> impl Iterator<Item = WakuMessage> + '_ {
        self.v2[v2].values().map(|data| WakuMessage::decode(data).unwrap())
    }

    pub(crate) fn message_hashes(&self, v2: usize) -> HashSet<MessageHash> {
        self.messages(v2).map(|message| waku2::hash::message_hash(&pubsub(), &message)).collect()
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        let id = self.next_event;
        self.next_event += 1;
        // Among events of one instant the order is random too.
        self.queue.push(Reverse((self.now.instant + after, self.rng.random(), id)));
        self.events.insert(id, event);
    }

    fn soon(&mut self, place: usize, event: Event) {
        let delay = self.rng.random_range(self.places[place].delay.clone());
        self.schedule(Duration::from_millis(delay), event);
    }

    fn pass_to(&mut self, at: Instant) {
        self.now = self.now.after(at.saturating_duration_since(self.now.instant));
    }

    fn happen(&mut self) {
        let Some(Reverse((_, _, id))) = self.queue.pop() else { return };
        let Some(event) = self.events.remove(&id) else { return };
        match event {
            Event::UserEnvelope { v1, envelope } => self.spread_envelope(v1, None, envelope),
            Event::UserMessage { v2, data } => self.spread_message(v2, None, data),
            Event::Envelope { place, envelope } => self.hear_envelope(place, envelope),
            Event::Message { place, data } => self.hear_message(place, data),
            Event::Noted { place, job } => self.with(place, |bridge, now| bridge.noted(now, job)),
            Event::Kept { place, job } => self.with(place, |bridge, now| bridge.kept(now, job, Ok(()))),
            Event::Sealed { place, job, sealed } => self.with(place, |bridge, now| bridge.sealed(now, job, sealed)),
            Event::Publish { place, job, data } => {
                let result = self.publish(place, data);
                self.with(place, |bridge, now| bridge.published(now, job, result));
            }
            Event::Post { place, job, envelope } => {
                let result = self.post(place, envelope);
                self.with(place, |bridge, now| bridge.posted(now, job, result));
            }
            Event::OldPublish { place, data } => {
                let _ = self.publish(place, data);
            }
            Event::OldPost { place, envelope } => {
                let _ = self.post(place, envelope);
            }
            Event::V2Peers { place, count } => {
                self.places[place].v2_peers = count;
                self.with(place, |bridge, now| bridge.v2_peers(now, &pubsub(), count));
            }
        }
    }

    fn tick(&mut self, place: usize) {
        self.with(place, |bridge, now| bridge.tick(now));
    }

    /// New in a v1 network: on its way to every bridge there but the one it came from.
    fn spread_envelope(&mut self, v1: usize, from: Option<usize>, envelope: Arc<Envelope>) {
        if self.v1[v1].insert(envelope.hash(), Arc::clone(&envelope)).is_none() {
            for place in self.others(from, |place| place.v1 == v1) {
                self.soon(place, Event::Envelope { place, envelope: Arc::clone(&envelope) });
            }
        }
    }

    fn spread_message(&mut self, v2: usize, from: Option<usize>, data: Bytes) {
        if self.v2[v2].insert(gossip_id(&data), data.clone()).is_none() {
            for place in self.others(from, |place| place.v2 == v2) {
                self.soon(place, Event::Message { place, data: data.clone() });
            }
        }
    }

    fn others(&self, from: Option<usize>, there: impl Fn(&Place) -> bool) -> Vec<usize> {
        (0..self.places.len()).filter(|n| Some(*n) != from && there(&self.places[*n])).collect()
    }

    fn hear_envelope(&mut self, place: usize, envelope: Arc<Envelope>) {
        if u64::from(envelope.expiry()) < self.now.unix_secs() || !self.places[place].pool.insert(envelope.hash()) {
            return;
        }
        match &mut self.places[place].side {
            Side::Old(old) => {
                if let Some(message) = old.envelope(&pubsub(), &envelope) {
                    self.soon(place, Event::OldPublish { place, data: message.encode() });
                }
            }
            Side::Ours(_) => {
                self.places[place].given += 1;
                self.with(place, |bridge, now| bridge.envelope(now, &envelope));
            }
        }
    }

    fn hear_message(&mut self, place: usize, data: Bytes) {
        if !self.places[place].gossips(self.now.instant, &data) {
            return;
        }
        let received = received_on(pubsub(), data);
        let now = self.now;
        match &mut self.places[place].side {
            Side::Old(old) => {
                if let Some(envelope) = old.message(now, &received) {
                    self.soon(place, Event::OldPost { place, envelope });
                }
            }
            Side::Ours(_) => {
                self.places[place].given += 1;
                self.with(place, |bridge, now| bridge.message(now, &received));
            }
        }
    }

    fn publish(&mut self, place: usize, data: Bytes) -> Result<Published, PublishError> {
        let peers = self.places[place].v2_peers;
        if peers == 0 || self.fails(place) {
            return Err(PublishError::NoPeers);
        }
        if !self.places[place].gossips(self.now.instant, &data) {
            return Ok(Published { peers: 0, duplicate: true, proof: None });
        }
        self.spread_message(self.places[place].v2, Some(place), data);
        Ok(Published { peers, duplicate: false, proof: None })
    }

    fn post(&mut self, place: usize, envelope: Envelope) -> Result<Posted, waku0::PostError> {
        if self.fails(place) {
            return Err(waku0::PostError::Refused(waku0::admit::Refusal::Future));
        }
        if u64::from(envelope.expiry()) < self.now.unix_secs() {
            return Err(waku0::PostError::Refused(waku0::admit::Refusal::Expired));
        }
        let hash = envelope.hash();
        let already_pooled = !self.places[place].pool.insert(hash);
        if !already_pooled {
            self.spread_envelope(self.places[place].v1, Some(place), Arc::new(envelope));
        }
        Ok(Posted { hash, already_pooled, sent_to: 1 })
    }

    fn fails(&mut self, place: usize) -> bool {
        let failing = self.places[place].failing;
        failing > 0 && self.rng.random_range(0..failing) == 0
    }

    /// Does something with one of our bridges and carries out what follows.
    fn with(&mut self, place: usize, act: impl FnOnce(&mut Bridge, Now)) {
        let now = self.now;
        let Side::Ours(bridge) = &mut self.places[place].side else { return };
        act(bridge, now);
        let actions: Vec<_> = std::iter::from_fn(|| bridge.next_action()).collect();
        for action in actions {
            match action {
                Action::Publish { job, data, .. } => self.soon(place, Event::Publish { place, job, data }),
                Action::Post { job, envelope } => self.soon(place, Event::Post { place, job, envelope }),
                Action::Seal(seal) => self.mine(place, seal),
                Action::CancelSeal(_) => {}
                // A disk takes its time too.
                Action::Begin { job, .. } => self.soon(place, Event::Noted { place, job }),
                Action::End { .. } => {}
                Action::Keep { job, kept } => {
                    self.places[place].kept.push(*kept);
                    self.soon(place, Event::Kept { place, job });
                }
                Action::Report(crossing) => self.places[place].crossings.push(crossing),
            }
        }
    }

    fn mine(&mut self, place: usize, seal: SealJob) {
        self.places[place].mined += 1;
        let SealJob { job, unsealed, base, bits, .. } = seal;
        let nonce = unsealed.search(base, 0, 1 << 26, bits);
        let sealed = nonce.map(|nonce| unsealed.seal(nonce)).ok_or(SealError::Exhausted);
        self.soon(place, Event::Sealed { place, job, sealed });
    }
}

impl Place {
    pub(crate) fn crossed(&self) -> usize {
        self.crossings.iter().filter(|crossing| matches!(crossing.outcome, Outcome::Crossed { .. })).count()
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> usize {
        self.crossings.iter().filter(|crossing| crossing.outcome == Outcome::Dropped(reason)).count()
    }

    /// Whether gossip here takes these bytes as new.
    fn gossips(&mut self, at: Instant, data: &[u8]) -> bool {
        let last = self.gossip.insert(gossip_id(data), at);
        last.is_none_or(|last| at.saturating_duration_since(last) > GOSSIP_MEMORY)
    }

    fn wake_at(&self) -> Option<Instant> {
        match &self.side {
            Side::Ours(bridge) => bridge.wake_at(),
            Side::Old(_) => None,
        }
    }
}
