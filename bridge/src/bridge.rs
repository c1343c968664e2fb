//! The core: what arrives on either side goes in, actions come out. No clock, socket or thread.
//!
//! ```text
//! envelope -> classify -> dedup -> route -> convert ---------> publish -> confirm
//! message  -> classify -> dedup -> route -> rebuild | mine ---> post ---> confirm
//! ```
//!
//! Each envelope and each message ends in exactly one [`Action::Report`]. It has crossed only when the far side has
//! confirmed it; what fails is tried again while the far side would still take it.  Spec: 15/WAKU-BRIDGE.
//!
//! The two directions stand in [`crate::to_v2`] and [`crate::to_v1`]; here is what they share.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::clock::Now;
use rand::{RngExt, rngs::StdRng};
use waku0::envelope::Envelope;
use waku2::{handle::Received, hash::MessageHash, topic::PubsubTopic};

use crate::{
    answer::Answer,
    config::{Config, ConfigError},
    crossing::{Conversion, Crossing, Direction, Outcome},
    drop_reason::DropReason,
    job::{Depths, JobId, JobTable, Stage, Work},
    mapping::Framed,
    passage::Passage,
    recent::Recent,
    seal::{SealJob, Sealed},
    seen::{Fingerprint, Observed, Seen, State},
};

/// Attempts after the first one, until the far side gains a peer.
const RETRIES: u8 = 3;
/// Wait before the first of them; doubled for each that follows, and cut by a random half so that bridges spread.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// After the far side gained a peer, what waited for it goes out spread over this time.
const UNPARK_SPREAD: Duration = Duration::from_millis(500);

/// What the shell is to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Publish a message on v2, and answer with [`Bridge::published`].
    Publish {
        /// Whose it is.
        job: JobId,
        /// Where to.
        topic: PubsubTopic,
        /// The encoded message.
        data: Bytes,
    },
    /// Mine an envelope, and answer with [`Bridge::sealed`].
    Seal(SealJob),
    /// Stop mining for a job; no answer is wanted.
    CancelSeal(JobId),
    /// Post an envelope on v1, and answer with [`Bridge::posted`].
    Post {
        /// Whose it is.
        job: JobId,
        /// The envelope.
        envelope: Envelope,
    },
    /// Tell the end of an envelope or message.
    Report(Crossing),
}

/// What the bridge counts beside crossings. Every number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Envelopes mined, whatever became of them.
    pub mined: u64,
    /// Envelopes rebuilt from a tag in `meta` instead of mined.
    pub rebuilt: u64,
    /// Messages restored from a tag in the nonce.
    pub restored: u64,
    /// Envelopes that carried our tag.
    pub tagged_envelopes: u64,
    /// Messages that carried our tag.
    pub tagged_messages: u64,
    /// Messages whose content topic was not spelt as we spell it.
    pub noncanonical_topics: u64,
    /// Messages without a time.
    pub no_timestamp: u64,
    /// Tagged envelopes with a time to live that our profile does not give: another bridge is set up differently.
    pub profile_mismatches: u64,
    /// Attempts to publish or post that failed, whether they were tried again or not.
    pub failed_attempts: u64,
    /// Entries of the memory that went before their time.
    pub seen_evicted_early: u64,
}

/// What a job does next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never kept")]
pub(crate) enum Step {
    Hold {
        framed: Framed,
        release: Instant,
    },
    Restore {
        message: waku2::message::WakuMessage,
        release: Instant,
    },
    Mine {
        framed: Framed,
        ttl: u32,
        seal: SealDraft,
    },
    Publish {
        data: Bytes,
        until: Instant,
    },
    /// Not before its time of sending: until then receivers divide its work by more seconds than it was mined for.
    Post {
        envelope: Envelope,
        from: Instant,
        until: Instant,
    },
}

impl Step {
    /// After this the far side would refuse it.
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Publish { until, .. } | Self::Post { until, .. } => Some(*until),
            Self::Hold { .. } | Self::Restore { .. } | Self::Mine { .. } => None,
        }
    }
}

/// A [`SealJob`] whose number is not known yet.
#[derive(Debug)]
pub(crate) struct SealDraft {
    pub(crate) unsealed: waku0::pow::Unsealed,
    pub(crate) base: u64,
    pub(crate) bits: u32,
    pub(crate) deadline: Instant,
}

/// The core of a bridge.
#[derive(Debug)]
pub struct Bridge {
    pub(crate) config: Config,
    rng: StdRng,
    pub(crate) seen: Seen,
    jobs: JobTable,
    /// Envelopes waiting for their message to show itself on v2.
    restoring: HashMap<MessageHash, JobId>,
    /// Messages seen on v2 lately; filled only where messages are restored.
    pub(crate) on_v2: Recent,
    v1_peers: usize,
    v2_peers: HashMap<PubsubTopic, usize>,
    actions: VecDeque<Action>,
    pub(crate) tally: Tally,
}

impl Bridge {
    /// A bridge with nothing on its way.
    ///
    /// # Errors
    /// [`ConfigError`] when no bridge can work by the settings.
    pub fn new(config: Config, rng: StdRng) -> Result<Self, ConfigError> {
        config.check()?;
        let seen = Seen::new(config.seen);
        Ok(Self {
            config,
            rng,
            seen,
            jobs: JobTable::default(),
            restoring: HashMap::new(),
            on_v2: Recent::default(),
            v1_peers: 0,
            v2_peers: HashMap::new(),
            actions: VecDeque::new(),
            tally: Tally::default(),
        })
    }

    /// A new envelope came from a v1 peer in a packet meant for all (not between trusted peers).
    pub fn envelope(&mut self, now: Now, envelope: &Arc<Envelope>) {
        let mut passage = Passage::of_envelope(now, envelope);
        let step = self.start_envelope(now, envelope, &mut passage);
        self.start(now, passage, step);
    }

    /// A valid message came from a v2 peer.
    pub fn message(&mut self, now: Now, received: &Arc<Received>) {
        let mut passage = Passage::of_message(now, received);
        let step = self.start_message(now, received, &mut passage);
        self.start(now, passage, step);
    }

    /// The number of running v1 peers.
    pub fn v0_peers(&mut self, now: Now, count: usize) {
        let gained = count > self.v1_peers;
        self.v1_peers = count;
        if gained {
            self.unpark(now, Direction::V2ToV1, |_| true);
        }
    }

    /// The number of v2 peers that take messages on a topic. Of topics that are relayed and not bridged nothing is kept.
    pub fn v2_peers(&mut self, now: Now, topic: &PubsubTopic, count: usize) {
        if !self.config.routes.knows(topic) {
            return;
        }
        let before = self.v2_peers.insert(topic.clone(), count).unwrap_or(0);
        if count > before {
            self.unpark(now, Direction::V1ToV2, |passage| passage.pubsub.as_ref() == Some(topic));
        }
    }

    /// The answer to [`Action::Publish`].
    pub fn published(&mut self, now: Now, job: JobId, answer: impl Into<Answer>) {
        self.answered(now, job, answer.into());
    }

    /// The answer to [`Action::Post`].
    pub fn posted(&mut self, now: Now, job: JobId, answer: impl Into<Answer>) {
        self.answered(now, job, answer.into());
    }

    /// The answer to [`Action::Seal`].
    pub fn sealed(&mut self, now: Now, id: JobId, sealed: Sealed) {
        let Some(job) = self.jobs.get(id).filter(|job| job.stage() == Stage::Mining) else { return };
        let Work::Frame { framed, ttl } = &job.work else { return };
        self.tally.mined += u64::from(sealed.is_ok());
        let step = self.after_mining(now, &job.passage, framed, *ttl, sealed);
        self.advance(now, id, step);
        self.pump(now);
    }

    /// Does what is due. Call it when [`Bridge::wake_at`] has come; earlier does no harm.
    pub fn tick(&mut self, now: Now) {
        while let Some(id) = self.jobs.first_due(now.instant) {
            self.come_due(now, id);
        }
        self.seen.evict(now.instant);
        self.pump(now);
    }

    /// When something is due next; `None` while nothing is.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.jobs.next_due()
    }

    /// What to do next. Ask until there is nothing, after each call of another method.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How many jobs stand where.
    #[must_use]
    pub fn depths(&self) -> Depths {
        self.jobs.depths()
    }

    /// What was counted so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally { seen_evicted_early: self.seen.evicted_early(), ..self.tally }
    }

    /// Peers on either side: running v1 peers, and v2 peers of the bridged topic that has most of them.
    #[must_use]
    pub fn peers(&self) -> (usize, usize) {
        (self.v1_peers, self.v2_peers.values().copied().max().unwrap_or(0))
    }

    /// How much is remembered of what crossed.
    #[must_use]
    pub fn seen_entries(&self) -> usize {
        self.seen.len()
    }

    /// Looks for the same content in the memory, and takes the passage's place in it. What another way brought, or is on
    /// its way, is a duplicate.
    pub(crate) fn observe(
        &mut self,
        now: Now,
        passage: &mut Passage,
        content: Fingerprint,
    ) -> Result<(), crate::seen::Entry> {
        match self.seen.observe(now.instant, content, passage.sent, passage.direction) {
            Observed::New(key) => {
                passage.key = Some(key);
                self.seen.set_hashes(key, passage.envelope, passage.message);
                Ok(())
            }
            Observed::Duplicate(entry) => {
                passage.envelope = passage.envelope.or(entry.envelope);
                passage.message = passage.message.or(entry.message);
                Err(entry)
            }
        }
    }

    /// Whether a job waits for this message to show itself on v2.
    pub(crate) fn is_restoring(&self, hash: &MessageHash) -> bool {
        self.restoring.contains_key(hash)
    }

    /// A message that was to be restored has shown itself.
    pub(crate) fn no_need_to_restore(&mut self, now: Now, hash: &MessageHash) {
        if let Some(id) = self.restoring.get(hash).copied() {
            self.finish(now, id, Outcome::Dropped(DropReason::Returning));
        }
    }

    fn start(&mut self, now: Now, passage: Passage, step: Result<Step, DropReason>) {
        match step {
            Err(reason) => self.end(now, passage, Outcome::Dropped(reason)),
            Ok(step) => {
                let direction = passage.direction;
                let id = self.jobs.insert(passage, now.instant);
                self.advance(now, id, Ok(step));
                self.shed(now, direction);
            }
        }
        self.pump(now);
    }

    /// Moves a job to its next step, or ends it.
    fn advance(&mut self, now: Now, id: JobId, step: Result<Step, DropReason>) {
        let step = match step {
            Ok(step) => step,
            Err(reason) => return self.finish(now, id, Outcome::Dropped(reason)),
        };
        let until = step.until();
        let (work, stage, due) = match step {
            Step::Hold { framed, release } => (Work::Frame { framed, ttl: 0 }, Stage::Held, Some(release)),
            Step::Restore { message, release } => (Work::Restore(message), Stage::Restoring, Some(release)),
            Step::Mine { framed, ttl, seal } => {
                let SealDraft { unsealed, base, bits, deadline } = seal;
                self.actions.push_back(Action::Seal(SealJob { job: id, unsealed, base, bits, deadline }));
                (Work::Frame { framed, ttl }, Stage::Mining, None)
            }
            Step::Publish { data, until } => (Work::Publish(data), Stage::Ready, Some(until)),
            Step::Post { envelope, from, .. } if from > now.instant => (Work::Post(envelope), Stage::Held, Some(from)),
            Step::Post { envelope, until, .. } => (Work::Post(envelope), Stage::Ready, Some(until)),
        };
        let Some(job) = self.jobs.get_mut(id) else { return };
        if let Work::Post(envelope) = &work {
            job.passage.envelope = Some(envelope.hash());
        }
        if let (Stage::Restoring, Some(hash)) = (stage, job.passage.message) {
            self.restoring.insert(hash, id);
        }
        if let Some(key) = job.passage.key {
            self.seen.set_hashes(key, job.passage.envelope, job.passage.message);
        }
        job.work = work;
        job.until = until.unwrap_or(job.until);
        self.jobs.set_stage(id, stage, due);
    }

    fn come_due(&mut self, now: Now, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        match (job.stage(), &job.work) {
            (Stage::Held, Work::Frame { framed, .. }) => {
                let step = self.mine(now, &job.passage, framed.clone(), None);
                self.advance(now, id, step);
            }
            (Stage::Restoring, Work::Restore(message)) => {
                let step = self.publish_restored(now, message);
                self.forget_restoring(id);
                self.advance(now, id, step);
            }
            (Stage::Retry, _) | (Stage::Held, Work::Post(_)) if now.instant < job.until => {
                let until = job.until;
                self.jobs.set_stage(id, Stage::Ready, Some(until));
            }
            _ => self.finish(now, id, Outcome::Dropped(DropReason::PublishFailed)),
        }
    }

    /// Hands over what is ready, as far as there is room.
    fn pump(&mut self, now: Now) {
        for direction in Direction::ALL {
            while self.depths().of(direction, Stage::InFlight) < self.config.limits.max_in_flight
                && let Some(id) = self.jobs.next_ready(direction)
            {
                self.hand_over(now, id);
            }
        }
    }

    fn hand_over(&mut self, now: Now, id: JobId) {
        let action = self.jobs.get(id).and_then(|job| match (&job.work, &job.passage.pubsub) {
            (Work::Publish(data), Some(topic)) => {
                Some(Action::Publish { job: id, topic: topic.clone(), data: data.clone() })
            }
            (Work::Post(envelope), _) => Some(Action::Post { job: id, envelope: envelope.clone() }),
            _ => None,
        });
        match action {
            Some(action) => {
                self.jobs.set_stage(id, Stage::InFlight, None);
                self.actions.push_back(action);
            }
            // Only messages and envelopes become ready, and messages only with a topic.
            None => self.finish(now, id, Outcome::Dropped(DropReason::PublishFailed)),
        }
    }

    pub(crate) fn answered(&mut self, now: Now, id: JobId, answer: Answer) {
        let Some(job) = self.jobs.get(id).filter(|job| job.stage() == Stage::InFlight) else { return };
        match answer {
            // The envelope was here before its message came back: nothing crossed.
            Answer::Accepted { already_there: true } if job.passage.by == Conversion::Rebuilt => {
                self.finish(now, id, Outcome::Dropped(DropReason::Returning));
            }
            Answer::Accepted { already_there } => {
                let outcome = Outcome::Crossed { took: job.passage.took(now), by: job.passage.by, already_there };
                self.finish(now, id, outcome);
            }
            Answer::Refused(reason) => self.finish(now, id, Outcome::Dropped(reason)),
            Answer::Failed => self.failed(now, id),
        }
        self.pump(now);
    }

    /// One attempt failed: again a little later, or when the far side has gained a peer, or never.
    fn failed(&mut self, now: Now, id: JobId) {
        self.tally.failed_attempts += 1;
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.attempts = job.attempts.saturating_add(1);
        let (attempts, until) = (job.attempts, job.until);
        if let Some(key) = job.passage.key {
            self.seen.set_state(key, State::Retry);
        }
        if now.instant >= until {
            return self.finish(now, id, Outcome::Dropped(DropReason::PublishFailed));
        }
        if attempts > RETRIES {
            return self.jobs.set_stage(id, Stage::Parked, Some(until));
        }
        let wait = RETRY_AFTER * 2_u32.pow(u32::from(attempts) - 1);
        let again = now.instant + wait.mul_f64(self.rng.random_range(0.5..1.0));
        self.jobs.set_stage(id, Stage::Retry, Some(again.min(until)));
    }

    /// The far side has gained a peer: what had used up its attempts gets new ones. One would do if a peer could be
    /// published to at once, but gossip takes a heartbeat to take it in.
    fn unpark(&mut self, now: Now, direction: Direction, concerns: impl Fn(&Passage) -> bool) {
        for id in self.jobs.in_stage(direction, Stage::Parked) {
            let Some(job) = self.jobs.get_mut(id).filter(|job| concerns(&job.passage)) else { continue };
            job.attempts = 0;
            let again = (now.instant + UNPARK_SPREAD.mul_f64(self.rng.random_range(0.0..1.0))).min(job.until);
            self.jobs.set_stage(id, Stage::Retry, Some(again));
        }
    }

    fn shed(&mut self, now: Now, direction: Direction) {
        while let Some(id) = self.jobs.next_shed(direction, &self.config.limits) {
            if self.jobs.get(id).is_some_and(|job| job.stage() == Stage::Mining) {
                self.actions.push_back(Action::CancelSeal(id));
            }
            self.finish(now, id, Outcome::Dropped(DropReason::Shed));
        }
    }

    fn finish(&mut self, now: Now, id: JobId, outcome: Outcome) {
        self.forget_restoring(id);
        if let Some(job) = self.jobs.remove(id) {
            self.end(now, job.passage, outcome);
        }
    }

    fn forget_restoring(&mut self, id: JobId) {
        if let Some(hash) = self.jobs.get(id).and_then(|job| job.passage.message)
            && self.restoring.get(&hash) == Some(&id)
        {
            self.restoring.remove(&hash);
        }
    }

    /// Remembers and reports the end of a passage.
    fn end(&mut self, now: Now, passage: Passage, outcome: Outcome) {
        let state = match outcome {
            Outcome::Crossed { .. } => State::Done,
            Outcome::Dropped(reason) => State::Dropped(reason),
        };
        if let Some(key) = passage.key {
            self.seen.set_state(key, state);
        }
        match (outcome, passage.message) {
            (Outcome::Crossed { by: Conversion::Rebuilt, .. }, _) => self.tally.rebuilt += 1,
            (Outcome::Crossed { by: Conversion::Restored, .. }, Some(hash)) => {
                self.tally.restored += 1;
                self.on_v2.insert(now.instant, hash);
            }
            _ => {}
        }
        self.actions.push_back(Action::Report(passage.end(now, outcome)));
    }
}

/// The instant at which the wall clock will show `unix`; now, if that has passed.
pub(crate) fn instant_at(now: Now, unix: Duration) -> Instant {
    now.instant + unix.saturating_sub(now.unix)
}
