//! What bridges want done is done, late; networks split and heal, bridges crash; in the end it is judged.

use std::{collections::BTreeMap, sync::Arc};

use bridge::{
    Action, Direction, JobId, Outcome,
    seal::{SealError, SealJob},
    seen::Fingerprint,
};
use bytes::Bytes;
use devp2p::clock::Now;
use rand::RngExt;
use waku0::{Envelope, node::Posted};
use waku2::{
    WakuMessage,
    handle::{PublishError, Published},
};

use super::{
    Planted, Report, Rule,
    judge::{HEARD_WITHIN, Said, THERE_FOR, content_of},
    life::Life,
    users::TOPIC,
    world::{Answered, TOLD_FOR, USERS, World},
};

impl World {
    /// Something reaches its end of a link.
    pub(super) fn arrives(&mut self) -> bool {
        let arrives = !self.rng.random_bool(self.loss);
        self.tally.lost += u64::from(!arrives);
        arrives
    }

    pub(super) fn is_down(&self, node: usize) -> bool {
        node.checked_sub(USERS).and_then(|bridge| self.ours.get(bridge)).is_some_and(|life| !life.is_up)
    }

    /// Two nodes of each network compare what they have.
    pub(super) fn compare(&mut self) {
        let nodes = USERS + self.ours.len() + self.foreign.len();
        let (from, to) = (self.rng.random_range(0..nodes), self.rng.random_range(0..nodes));
        if self.is_down(from) || self.is_down(to) {
            return;
        }
        let now = self.now();
        if self.v1.reach(from, to) {
            for envelope in self.v1.lacks(from, to, |envelope| u64::from(envelope.expiry()) >= now.unix_secs()) {
                self.takes_v1(to, envelope, false);
            }
        }
        if self.v2.reach(from, to) {
            let is_young = |data: &Bytes| {
                let sent = WakuMessage::decode(data).unwrap().timestamp.unwrap_or(0);
                now.unix_nanos().saturating_sub(sent) < i64::try_from(TOLD_FOR).unwrap() * 1_000_000
            };
            for data in self.v2.lacks(from, to, is_young) {
                self.takes_v2(to, data, false);
            }
        }
    }

    pub(super) fn split(&mut self, v2: bool) {
        let nodes = USERS + self.ours.len() + self.foreign.len();
        let groups = (0..nodes).map(|_| u8::from(self.rng.random_bool(0.4))).collect();
        match v2 {
            true => self.v2.split(groups),
            false => self.v1.split(groups),
        }
        self.tally.splits += 1;
        self.split_times[usize::from(v2)].push((self.at, u64::MAX));
        self.peers_change();
    }

    pub(super) fn heal(&mut self, v2: bool) {
        let whole = vec![0; USERS + self.ours.len() + self.foreign.len()];
        match v2 {
            true => self.v2.split(whole),
            false => self.v1.split(whole),
        }
        if let Some((_, until)) = self.split_times[usize::from(v2)].last_mut() {
            *until = self.at;
        }
        self.peers_change();
    }

    fn peers_change(&mut self) {
        for bridge in 0..self.ours.len() {
            let [v1, v2] =
                [self.v1.neighbours(USERS + bridge), self.v2.neighbours(USERS + bridge)].map(|all| all.len());
            self.with(bridge, |life, now| life.sees_peers(now, v1, v2));
        }
    }

    pub(super) fn crash(&mut self, bridge: usize) {
        self.tally.crashes += 1;
        let seed = self.rng.random();
        self.close(bridge);
        self.ours[bridge].crash(self.at, seed);
        self.v1.forgets(USERS + bridge);
        self.v2.forgets(USERS + bridge);
    }

    pub(super) fn starts(&mut self, bridge: usize) {
        let at = self.at;
        self.with_any(bridge, |life, now| life.start(now, at));
        self.peers_change();
    }

    /// A life may end in the middle, but not with more or fewer ends than it has had beginnings.
    fn close(&mut self, bridge: usize) {
        let life = &self.ours[bridge];
        self.tally.gave_way += life.bridge.tally().gave_way;
        let (ended, waiting, given) = (life.ended, life.waiting(), life.given);
        if ended + waiting != given {
            let what = format!("bridge {bridge}: {given} given, {ended} ended, {waiting} wait, in the middle");
            self.judge.breaks(Rule::OneEnd, what);
        }
    }

    /// Does something with a bridge that is up, and takes down what follows.
    pub(super) fn with(&mut self, bridge: usize, act: impl FnOnce(&mut Life, Now)) {
        if self.ours[bridge].is_up {
            self.with_any(bridge, act);
        }
    }

    fn with_any(&mut self, bridge: usize, act: impl FnOnce(&mut Life, Now)) {
        let now = self.now();
        act(&mut self.ours[bridge], now);
        while let Some(action) = self.ours[bridge].bridge.next_action() {
            self.carry(bridge, action);
        }
    }

    fn carry(&mut self, bridge: usize, action: Action) {
        match action {
            Action::Begin { job, note } => self.soon(bridge, 30, Answered::Noted { job, note: Box::new(note) }),
            Action::End { note, .. } => self.soon(bridge, 1_000, Answered::EndWritten(note)),
            Action::Keep { job, kept } => self.soon(bridge, 40, Answered::Kept { job, kept }),
            Action::Publish { job, data, .. } => {
                self.is_noted(bridge, job);
                self.soon(bridge, 60, Answered::Publish { job, data });
            }
            Action::Post { job, envelope } => {
                self.is_noted(bridge, job);
                self.soon(bridge, 60, Answered::Post { job, envelope: Arc::new(envelope) });
            }
            Action::Seal(SealJob { job, unsealed, base, bits, .. }) => {
                self.is_noted(bridge, job);
                let nonce = unsealed.search(base, 0, 1 << 26, bits);
                let sealed = nonce.map(|nonce| unsealed.seal(nonce)).ok_or(SealError::Exhausted);
                self.soon(bridge, 200, Answered::Sealed { job, sealed });
            }
            Action::CancelSeal(_) => {}
            Action::Report(crossing) => {
                let times = if self.planted == Some(Planted::TellsTwice) { 2 } else { 1 };
                self.ours[bridge].ended += times;
                self.tally.crossed += u64::from(matches!(crossing.outcome, Outcome::Crossed { .. }));
                self.judge.hears_of(bridge, &self.ours[bridge], &crossing);
            }
        }
    }

    fn is_noted(&mut self, bridge: usize, job: JobId) {
        if !self.ours[bridge].noted.contains(&job) {
            self.judge.breaks(Rule::NotedFirst, format!("bridge {bridge}, {job}"));
        }
    }

    pub(super) fn answer(&mut self, bridge: usize, what: Answered) {
        match what {
            Answered::Noted { job, note } => self.with(bridge, |life, now| {
                life.disk.write(&note);
                life.noted.insert(job);
                life.bridge.noted(now, job);
            }),
            Answered::EndWritten(note) => self.ours[bridge].disk.write(&note),
            Answered::Kept { job, kept } => {
                self.tally.kept += 1;
                if self.planted != Some(Planted::ForgetsRows) {
                    self.ours[bridge].rows.insert(kept.content, *kept);
                }
                self.with(bridge, |life, now| life.bridge.kept(now, job, Ok(())));
            }
            Answered::Sealed { job, sealed } => self.with(bridge, |life, now| life.bridge.sealed(now, job, sealed)),
            Answered::Publish { job, data } => {
                let result = self.publish(bridge, data);
                self.with(bridge, |life, now| life.bridge.published(now, job, result));
            }
            Answered::Post { job, envelope } => {
                let hash = envelope.hash();
                let loses = self.planted == Some(Planted::LosesWhatItPublished);
                let already_pooled = !loses && !self.takes_v1(USERS + bridge, envelope, true);
                let posted: Result<_, waku0::PostError> = Ok(Posted { hash, already_pooled, sent_to: 1 });
                self.with(bridge, |life, now| life.bridge.posted(now, job, posted));
            }
        }
    }

    fn publish(&mut self, bridge: usize, data: Bytes) -> Result<Published, PublishError> {
        let peers = self.v2.neighbours(USERS + bridge).len();
        if peers == 0 {
            return Err(PublishError::NoPeers);
        }
        let loses = self.planted == Some(Planted::LosesWhatItPublished);
        Ok(Published { peers, duplicate: !loses && !self.takes_v2(USERS + bridge, data, true), proof: None })
    }

    pub(super) fn judged(mut self) -> Report {
        let foreign = !self.foreign.is_empty();
        let (mut on_v1, mut on_v2) = (BTreeMap::new(), BTreeMap::new());
        let of_envelope = |envelope: &Envelope| Fingerprint::new(TOPIC, envelope.data());
        for envelope in self.v1.all.values() {
            *on_v1.entry(of_envelope(envelope)).or_insert(0) += 1;
        }
        for data in self.v2.all.values() {
            let content = content_of(&WakuMessage::decode(data).unwrap());
            *on_v2.entry(content).or_insert(0) += 1;
        }
        self.judge.counts(&on_v1, &on_v2, foreign);
        let owed: Vec<Said> = std::mem::take(&mut self.judge.said);
        for (number, said) in owed.iter().enumerate() {
            self.tally.said += 1;
            if !self.is_owed(said) {
                continue;
            }
            self.tally.owed += 1;
            let there = if said.way == Direction::V1ToV2 { &on_v2 } else { &on_v1 };
            if !there.contains_key(&said.content) {
                self.judge.breaks(Rule::Delivered, format!("thing {number}, {}, said at {} ms", said.way, said.at));
            }
        }
        for bridge in 0..self.ours.len() {
            self.tally.gave_way += self.ours[bridge].bridge.tally().gave_way;
            self.judge.closes(bridge, &self.ours[bridge], foreign);
        }
        Report { broken: self.judge.broken, tally: self.tally }
    }

    /// Both networks were whole, and a bridge was there for as long as it takes and heard of it early.
    fn is_owed(&self, said: &Said) -> bool {
        let (from, until) = (said.at.saturating_sub(1), said.at + THERE_FOR);
        let meets = |(begin, end): &(u64, u64)| *begin <= until && *end >= from;
        let is_whole = !self.split_times.iter().flatten().any(meets);
        let is_early = |life: &Life| life.heard.get(&said.content).is_some_and(|at| *at <= said.at + HEARD_WITHIN);
        is_whole && self.ours.iter().any(|life| is_early(life) && !life.down.iter().any(meets))
    }
}
