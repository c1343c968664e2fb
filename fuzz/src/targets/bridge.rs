//! The bridge core: envelopes, messages, answers of either side and time, in any order, under any policy.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bridge::{
    Action, Bridge, Config, Direction, DropReason, JobId,
    answer::Answer,
    content_topic,
    history::NotKept,
    policy::{Ephemeral, LateV1, LateV2, Policy, Switch, UnknownVersion, VersionZero, Ways},
    router::{Route, Router},
    seal::{SealError, SealJob},
};
use bytes::Bytes;
use devp2p::clock::Now;
use rand::{SeedableRng, rngs::StdRng};
use waku0::{Envelope, Pow, Topic};
use waku2::{Meta, PeerId, PubsubTopic, Received, WakuMessage, hash::message_hash};

use crate::script::{Script, start};

/// Nonces tried for an envelope that the core wants mined. Little is asked for, so most are found.
const NONCES: u64 = 1 << 10;

/// Rounds after the script in which everything must end: a year of time goes by in them.
const LAST_ROUNDS: u32 = 400;

struct World {
    bridge: Bridge,
    now: Now,
    pubsub: PubsubTopic,
    publishing: Vec<JobId>,
    posting: Vec<JobId>,
    sealing: Vec<SealJob>,
    noting: Vec<JobId>,
    keeping: Vec<JobId>,
    /// Beginnings in the journal without their end.
    begun: i64,
    given: usize,
    ended: usize,
}

/// Each envelope and each message ends once, for a reason that its direction has.
pub fn bridge(input: &[u8]) {
    let mut script = Script::new(input);
    let mut config = Config { policy: policy(&mut script), min_pow: Pow::ZERO, ..Config::default() };
    config.profile.pow_target = Pow::ZERO;
    config.profile.pow_target_large = Pow::ZERO;
    if script.flag() {
        (config.limits.max_jobs, config.limits.max_in_flight) = (3, 1);
    }
    config.journal = script.flag();
    config.archive = script.flag();
    if script.flag() {
        let everything = Route::everything("/waku/2/rs/0/0".parse().expect("a topic"), Ways::Both);
        config.routes = Router::new(Route { max_per_sec: NonZeroU32::new(2), ..everything });
    }
    let Ok(bridge) = Bridge::new(config, StdRng::seed_from_u64(7)) else { return };
    let mut world = World {
        bridge,
        now: start(),
        pubsub: "/waku/2/rs/0/0".parse().expect("a topic"),
        publishing: Vec::new(),
        posting: Vec::new(),
        sealing: Vec::new(),
        noting: Vec::new(),
        keeping: Vec::new(),
        begun: 0,
        given: 0,
        ended: 0,
    };
    while !script.is_over() {
        step(&mut script, &mut world);
        world.act();
    }
    world.finish();
}

fn policy(script: &mut Script<'_>) -> Policy {
    fn pick<T: Copy>(script: &mut Script<'_>, all: &[T]) -> T {
        all[usize::from(script.byte()) % all.len()]
    }
    Policy {
        late_v1: Some(pick(script, LateV1::ALL)),
        late_v2: Some(pick(script, LateV2::ALL)),
        version_zero: pick(script, VersionZero::ALL),
        unknown_version: pick(script, UnknownVersion::ALL),
        ephemeral: pick(script, Ephemeral::ALL),
        origin_tags: pick(script, Switch::ALL),
        restore_tagged: pick(script, Switch::ALL),
        early_encoding: script.flag(),
    }
}

fn step(script: &mut Script<'_>, world: &mut World) {
    match script.one_of(10) {
        0 => {
            let envelope = Arc::new(envelope(script, world.now));
            world.given += 1;
            world.bridge.envelope(world.now, &envelope);
        }
        1 => {
            let message = message(script, world.now);
            world.hears(message.encode());
        }
        2 => world.hears(script.bytes()),
        3 => world.pass(Duration::from_millis(script.u16().into())),
        4 => world.bridge.v0_peers(world.now, script.one_of(3).into()),
        5 => world.bridge.v2_peers(world.now, &world.pubsub, script.one_of(3).into()),
        6 => world.seal(script.flag()),
        9 => {
            world.note();
            world.keep(script.flag());
        }
        7 => {
            let answer = answer(script);
            if let Some(job) = world.publishing.pop() {
                world.bridge.published(world.now, job, answer);
            }
        }
        _ => {
            let answer = answer(script);
            if let Some(job) = world.posting.pop() {
                world.bridge.posted(world.now, job, answer);
            }
        }
    }
}

impl World {
    fn hears(&mut self, data: Bytes) {
        let Ok(message) = WakuMessage::decode(&data) else { return };
        let pubsub_topic = self.pubsub.clone();
        let hash = message_hash(&pubsub_topic, &message);
        let from = PeerId::from_multihash(Default::default()).unwrap_or_else(|_| PeerId::random());
        self.given += 1;
        self.bridge.message(self.now, &Arc::new(Received { pubsub_topic, message, hash, data, from, proven: false }));
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.bridge.tick(self.now);
    }

    fn note(&mut self) {
        if let Some(job) = self.noting.pop() {
            self.bridge.noted(self.now, job);
        }
    }

    fn keep(&mut self, written: bool) {
        if let Some(job) = self.keeping.pop() {
            self.bridge.kept(self.now, job, written.then_some(()).ok_or(NotKept));
        }
    }

    fn seal(&mut self, found: bool) {
        let Some(SealJob { job, unsealed, base, bits, .. }) = self.sealing.pop() else { return };
        let nonce = unsealed.search(base, 0, NONCES, bits).filter(|_| found);
        let sealed = nonce.map(|nonce| unsealed.seal(nonce)).ok_or(SealError::Exhausted);
        self.bridge.sealed(self.now, job, sealed);
    }

    fn act(&mut self) {
        while let Some(action) = self.bridge.next_action() {
            match action {
                Action::Publish { job, data, .. } => {
                    WakuMessage::decode(&data).expect("our own message");
                    self.publishing.push(job);
                }
                Action::Post { job, .. } => self.posting.push(job),
                Action::Seal(job) => self.sealing.push(job),
                Action::Begin { job, .. } => {
                    self.begun += 1;
                    self.noting.push(job);
                }
                Action::End { .. } => {
                    self.begun -= 1;
                    assert!(self.begun >= 0, "nothing ends that has not begun");
                }
                Action::Keep { job, kept } => {
                    assert!(!kept.message.message.ephemeral, "what is ephemeral is not kept");
                    self.keeping.push(job);
                }
                Action::CancelSeal(id) => self.sealing.retain(|seal| seal.job != id),
                Action::Report(crossing) => {
                    self.ended += 1;
                    if let Some(reason) = crossing.outcome.missed() {
                        assert!(reason.occurs(crossing.direction), "{reason} {}", crossing.direction);
                    }
                }
            }
        }
        assert_eq!(self.ended + self.waiting(), self.given, "each ends once");
    }

    fn waiting(&self) -> usize {
        Direction::ALL.iter().map(|direction| self.bridge.depths().total(*direction)).sum()
    }

    /// Nothing more is said, both sides refuse what they are given, and time goes by.
    fn finish(&mut self) {
        for round in 0..LAST_ROUNDS {
            if self.waiting() == 0 {
                assert_eq!(self.begun, 0, "what began has ended");
                return;
            }
            let refused = Answer::Refused(DropReason::PublishFailed);
            for job in std::mem::take(&mut self.publishing) {
                self.bridge.published(self.now, job, refused.clone());
            }
            for job in std::mem::take(&mut self.posting) {
                self.bridge.posted(self.now, job, refused.clone());
            }
            while !self.noting.is_empty() {
                self.note();
            }
            while !self.keeping.is_empty() {
                self.keep(true);
            }
            while !self.sealing.is_empty() {
                self.seal(false);
            }
            self.act();
            // A tag may claim a time to live of years.
            self.pass(Duration::from_secs(if round < LAST_ROUNDS / 2 { 2 } else { 20_000_000 }));
            self.act();
        }
        panic!("{} did not end", self.waiting());
    }
}

fn answer(script: &mut Script<'_>) -> Answer {
    match script.one_of(4) {
        0 => Answer::Accepted { already_there: false },
        1 => Answer::Accepted { already_there: true },
        2 => Answer::Refused(DropReason::PublishFailed),
        _ => Answer::Failed,
    }
}

fn envelope(script: &mut Script<'_>, now: Now) -> Envelope {
    let ttl = u32::from(script.u16()) % 500;
    let expiry_in = i64::from(script.u16() % 512) - 64;
    let expiry = u32::try_from(now.unix_secs().saturating_add_signed(expiry_in)).unwrap_or(u32::MAX);
    let data = Bytes::copy_from_slice(&[script.byte() % 4; 3]);
    let nonce = if script.flag() { script.u64() } else { script.byte().into() };
    Envelope::new(expiry, ttl, Topic([script.byte() % 2; 4]), data, nonce).expect("sent after 1970")
}

fn message(script: &mut Script<'_>, now: Now) -> WakuMessage {
    let content_topic = match script.one_of(4) {
        0 => "/waku/1/0x1A2B/rfc26".into(),
        1 => "/other/1/x/proto".into(),
        kind => content_topic::canonical(Topic([kind % 2; 4])),
    };
    let nanos = now.unix_nanos() + (i64::from(script.u16()) - 50_000) * 1_000_000;
    WakuMessage {
        payload: Bytes::copy_from_slice(&[script.byte() % 4; 3]),
        content_topic,
        version: script.one_of(3).into(),
        timestamp: script.flag().then_some(nanos),
        meta: meta(script),
        rate_limit_proof: None,
        ephemeral: script.one_of(4) == 0,
    }
}

fn meta(script: &mut Script<'_>) -> Meta {
    match script.one_of(3) {
        0 => Meta::new(script.bytes()).unwrap_or_default(),
        1 => {
            let (expiry, ttl) = (crate::script::START_SECS + u32::from(script.u16()), script.u16().into());
            bridge::origin::EnvelopeOrigin { expiry, ttl, nonce: script.u64() }.to_meta()
        }
        _ => Meta::default(),
    }
}
