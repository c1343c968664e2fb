//! The plan of a seed, and its course.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use bridge::{Config, Direction, JobId, history::Kept, journal::Note, policy::Switch, seal::Sealed, seen::Fingerprint};
use bytes::Bytes;
use devp2p::clock::{self, Now};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use waku0::{Envelope, EnvelopeHash};
use waku2::{MessageHash, WakuMessage, hash::message_hash};

use super::{
    Broken, Planted, Report, Rule, Tally,
    judge::{Judge, Said, content_of},
    life::Life,
    medium::Medium,
    old::OldBridge,
    users::{TOPIC, envelope, message, pubsub, received_on},
};

/// Users on each side.
pub(super) const USERS: usize = 3;
/// Wall clock at the start, in unix seconds.
pub(super) const START_SECS: u64 = 1_700_000_000;
/// Until when things are said, and networks and bridges fail, in milliseconds.
const SAYING: u64 = 40_000;
/// After this all is whole again.
const HEALED: u64 = 50_000;
/// The end: every time to live is over.
const END: u64 = 120_000;
/// How often two nodes of each network compare what they have, in milliseconds.
const COMPARE_EVERY: u64 = 150;
/// Messages younger than this are told when two compare, in milliseconds, as gossip tells of its last heartbeats.
pub(super) const TOLD_FOR: u64 = 10_000;
/// More events than any network needs: a loop shows as this many.
const MAX_EVENTS: usize = 400_000;

pub(super) enum Event {
    SaysV1 { user: usize, number: u32 },
    SaysV2 { user: usize, number: u32 },
    ReachesV1 { from: usize, to: usize, envelope: Arc<Envelope> },
    ReachesV2 { from: usize, to: usize, data: Bytes },
    Compare,
    Split { v2: bool },
    Heal { v2: bool },
    Crash(usize),
    Start(usize),
    Answer { bridge: usize, life: u32, what: Answered },
    OldPublish { bridge: usize, data: Bytes },
    OldPost { bridge: usize, envelope: Arc<Envelope> },
}

pub(super) enum Answered {
    Noted { job: JobId, note: Box<Note> },
    EndWritten(Note),
    Kept { job: JobId, kept: Box<Kept> },
    Sealed { job: JobId, sealed: Sealed },
    Publish { job: JobId, data: Bytes },
    Post { job: JobId, envelope: Arc<Envelope> },
}

pub(crate) struct World {
    pub(super) start: Now,
    pub(super) at: u64,
    pub(super) rng: StdRng,
    pub(super) planted: Option<Planted>,
    pub(super) loss: f64,
    pub(super) v1: Medium<EnvelopeHash, Arc<Envelope>>,
    pub(super) v2: Medium<MessageHash, Bytes>,
    /// When each network was whole, or not: since when it was not.
    pub(super) split_times: [Vec<(u64, u64)>; 2],
    pub(super) ours: Vec<Life>,
    /// Node numbers follow those of ours.
    pub(super) foreign: Vec<OldBridge>,
    pub(super) queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pub(super) events: BTreeMap<usize, Event>,
    pub(super) next_event: usize,
    pub(super) judge: Judge,
    pub(super) tally: Tally,
}

impl World {
    pub(crate) fn of(seed: u64, planted: Option<Planted>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let ours = rng.random_range(2..=3_usize);
        let foreign = match planted {
            Some(Planted::SecondForeign) => 2,
            Some(_) => 0,
            None => usize::from(rng.random_bool(0.3)),
        };
        let nodes = USERS + ours + foreign;
        let mut world = Self {
            start: Now { instant: clock::now().instant, unix: Duration::from_secs(START_SECS) },
            at: 0,
            loss: rng.random_range(0.0..0.2),
            planted,
            v1: Medium::new(nodes),
            v2: Medium::new(nodes),
            split_times: Default::default(),
            ours: Vec::new(),
            foreign: (0..foreign).map(|_| OldBridge::default()).collect(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            judge: Judge::default(),
            tally: Tally::default(),
            rng,
        };
        (0..ours).for_each(|number| world.join(number, ours));
        world.plan();
        world
    }

    fn join(&mut self, number: usize, of: usize) {
        let mut config = Config { journal: true, archive: self.rng.random(), ..Config::default() };
        config.key = self.rng.random();
        if number > 0 && number + 1 == of && self.rng.random_bool(0.4) {
            config.standby_after = Some(Duration::from_secs(4));
        }
        match self.planted {
            Some(Planted::OtherProfile) if number == 0 => config.profile.ttl_secs = 20,
            Some(Planted::ForgetsAndTagsNothing) => {
                (config.policy.origin_tags, config.seen.max_entries) = (Switch::Off, 1);
            }
            Some(Planted::NotesNothing) => config.journal = false,
            Some(Planted::ForgetsRows) => config.archive = true,
            _ => {}
        }
        let mut life = Life::new(config, self.rng.random());
        life.sees_peers(self.start, 1, 1);
        self.ours.push(life);
    }

    fn plan(&mut self) {
        for number in 0..self.rng.random_range(20..60) {
            let (at, user) = (self.rng.random_range(0..SAYING), self.rng.random_range(0..USERS));
            let event = match self.rng.random() {
                true => Event::SaysV1 { user, number },
                false => Event::SaysV2 { user, number },
            };
            self.schedule(at, event);
        }
        for v2 in [false, true] {
            if self.rng.random_bool(0.6) {
                let at = self.rng.random_range(0..SAYING);
                self.schedule(at, Event::Split { v2 });
                let until = self.rng.random_range(at..HEALED);
                self.schedule(until, Event::Heal { v2 });
            }
        }
        for bridge in 0..self.ours.len() {
            let mut at = 0;
            while self.rng.random_bool(0.6) {
                at = self.rng.random_range(at..HEALED);
                self.schedule(at, Event::Crash(bridge));
                at = self.rng.random_range(at..=HEALED);
                self.schedule(at, Event::Start(bridge));
                if at >= SAYING {
                    break;
                }
            }
        }
        (0..END / COMPARE_EVERY).for_each(|n| self.schedule(n * COMPARE_EVERY, Event::Compare));
    }

    pub(crate) fn run(mut self) -> Report {
        for _ in 0..MAX_EVENTS {
            let event = self.queue.peek().map(|Reverse((at, ..))| *at);
            let waking = (0..self.ours.len()).filter_map(|n| Some((self.wakes_at(n)?, n))).min();
            match (event, waking) {
                (Some(at), waking) if waking.is_none_or(|(wake, _)| at <= wake) => {
                    self.at = at;
                    self.happen();
                }
                (_, Some((wake, bridge))) => {
                    self.at = self.at.max(wake);
                    self.with(bridge, |life, now| life.bridge.tick(now));
                }
                _ => return self.judged(),
            }
        }
        self.judge.broken.push(Broken { rule: Rule::Bounded, what: "it never ends".to_owned() });
        Report { broken: self.judge.broken, tally: self.tally }
    }

    /// In whole milliseconds, rounded up.
    fn wakes_at(&self, bridge: usize) -> Option<u64> {
        let wake = self.ours[bridge].bridge.wake_at().filter(|_| self.ours[bridge].is_up)?;
        u64::try_from(wake.saturating_duration_since(self.start.instant).as_nanos().div_ceil(1_000_000)).ok()
    }

    pub(super) fn now(&self) -> Now {
        self.start.after(Duration::from_millis(self.at))
    }

    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        let id = self.next_event;
        self.next_event += 1;
        self.queue.push(Reverse((at, self.rng.random(), id)));
        self.events.insert(id, event);
    }

    pub(super) fn soon(&mut self, bridge: usize, within: u64, what: Answered) {
        let at = self.at + self.rng.random_range(1..within);
        let life = self.ours[bridge].number;
        self.schedule(at, Event::Answer { bridge, life, what });
    }

    fn happen(&mut self) {
        let Some(event) = self.queue.pop().and_then(|Reverse((.., id))| self.events.remove(&id)) else { return };
        match event {
            Event::SaysV1 { user, number } => self.says_v1(user, number),
            Event::SaysV2 { user, number } => self.says_v2(user, number),
            Event::ReachesV1 { from, to, envelope } if self.v1.reach(from, to) => {
                _ = self.takes_v1(to, envelope, false)
            }
            Event::ReachesV2 { from, to, data } if self.v2.reach(from, to) => _ = self.takes_v2(to, data, false),
            Event::ReachesV1 { .. } | Event::ReachesV2 { .. } => self.tally.lost += 1,
            Event::Compare => self.compare(),
            Event::Split { v2 } => self.split(v2),
            Event::Heal { v2 } => self.heal(v2),
            Event::Crash(bridge) if self.ours[bridge].is_up => self.crash(bridge),
            Event::Start(bridge) if !self.ours[bridge].is_up => self.starts(bridge),
            Event::Crash(_) | Event::Start(_) => {}
            Event::Answer { bridge, life, what } if self.ours[bridge].number == life => self.answer(bridge, what),
            Event::Answer { .. } => {}
            Event::OldPublish { bridge, data } => _ = self.takes_v2(bridge, data, true),
            Event::OldPost { bridge, envelope } => _ = self.takes_v1(bridge, envelope, true),
        }
    }

    fn says_v1(&mut self, user: usize, number: u32) {
        let envelope = envelope(self.now().unix_secs(), 15, format!("envelope {number}").into_bytes());
        let content = Fingerprint::new(TOPIC, envelope.data());
        self.judge.says(Said { content, way: Direction::V1ToV2, at: self.at, is_ephemeral: false });
        self.takes_v1(user, envelope, true);
    }

    fn says_v2(&mut self, user: usize, number: u32) {
        let version = u32::from(self.rng.random_bool(0.8));
        let ephemeral = self.rng.random_bool(0.1);
        let message = WakuMessage { version, ephemeral, ..message(self.now().unix, format!("message {number}")) };
        let (content, way) = (content_of(&message), Direction::V2ToV1);
        self.judge.says(Said { content, way, at: self.at, is_ephemeral: ephemeral });
        self.takes_v2(user, message.encode(), true);
    }

    /// A node of v1 gets an envelope, and passes it on if it is new. A bridge does not hear its own.
    pub(super) fn takes_v1(&mut self, node: usize, envelope: Arc<Envelope>, own: bool) -> bool {
        let is_over = u64::from(envelope.expiry()) < self.now().unix_secs();
        if is_over || self.is_down(node) || !self.v1.takes(node, envelope.hash(), &envelope) {
            return false;
        }
        for to in self.v1.neighbours(node) {
            if self.arrives() {
                let at = self.at + self.rng.random_range(5..400);
                self.schedule(at, Event::ReachesV1 { from: node, to, envelope: Arc::clone(&envelope) });
            }
        }
        if !own {
            self.hears_v1(node, &envelope);
        }
        true
    }

    fn hears_v1(&mut self, node: usize, envelope: &Arc<Envelope>) {
        let Some(bridge) = node.checked_sub(USERS) else { return };
        let at = self.at;
        match bridge.checked_sub(self.ours.len()) {
            None => self.with(bridge, |life, now| {
                life.given += 1;
                life.heard.entry(Fingerprint::new(TOPIC, envelope.data())).or_insert(at);
                life.bridge.envelope(now, envelope);
            }),
            Some(foreign) => {
                if let Some(message) = self.foreign[foreign].envelope(&pubsub(), envelope) {
                    self.tally.foreign += 1;
                    let at = self.at + self.rng.random_range(100..900);
                    self.schedule(at, Event::OldPublish { bridge: node, data: message.encode() });
                }
            }
        }
    }

    pub(super) fn takes_v2(&mut self, node: usize, data: Bytes, own: bool) -> bool {
        let message = WakuMessage::decode(&data).unwrap();
        if self.is_down(node) || !self.v2.takes(node, message_hash(&pubsub(), &message), &data) {
            return false;
        }
        for to in self.v2.neighbours(node) {
            if self.arrives() {
                let at = self.at + self.rng.random_range(5..400);
                self.schedule(at, Event::ReachesV2 { from: node, to, data: data.clone() });
            }
        }
        if !own {
            self.hears_v2(node, data);
        }
        true
    }

    fn hears_v2(&mut self, node: usize, data: Bytes) {
        let Some(bridge) = node.checked_sub(USERS) else { return };
        let at = self.at;
        let received = received_on(pubsub(), data);
        match bridge.checked_sub(self.ours.len()) {
            None => self.with(bridge, |life, now| {
                life.given += 1;
                life.heard.entry(content_of(&received.message)).or_insert(at);
                life.bridge.message(now, &received);
            }),
            Some(foreign) => {
                let now = self.now();
                if let Some(envelope) = self.foreign[foreign].message(now, &received) {
                    self.tally.foreign += 1;
                    let at = self.at + self.rng.random_range(100..900);
                    self.schedule(at, Event::OldPost { bridge: node, envelope: Arc::new(envelope) });
                }
            }
        }
    }
}
