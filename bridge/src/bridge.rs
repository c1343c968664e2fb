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
use waku2::{
    PeerId, WakuMessage,
    handle::Received,
    hash::{MessageHash, message_hash},
    topic::PubsubTopic,
};

use crate::{
    answer::Answer,
    config::{Config, ConfigError},
    crossing::{Conversion, Crossing, Direction, Outcome},
    drop_reason::DropReason,
    job::{Depths, JobId, JobTable, Stage, Work},
    journal::{Cargo, Note, Remembered, Unfinished},
    mapping::Framed,
    passage::Passage,
    rate::Rates,
    recent::Recent,
    router::{Route, Router},
    seal::{SealJob, Sealed},
    seen::{Fingerprint, Observed, Seen, SeenKey, State},
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
    /// Write this down and answer with [`Bridge::noted`]. Only with [`Config::journal`], as is the next.
    Begin {
        /// Whose it is.
        job: JobId,
        /// The beginning.
        note: Note,
    },
    /// Write this down at some time; no answer is wanted.
    End(Note),
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
    /// Contents that came again so often that somebody seems to send them round.
    pub loops_suspected: u64,
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
        message: WakuMessage,
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
    pub(crate) jobs: JobTable,
    /// What goes several ways at once, until the last of them ends.
    fanned: HashMap<SeenKey, Fanned>,
    /// Envelopes waiting for their message to show itself on v2.
    restoring: HashMap<MessageHash, JobId>,
    /// Messages seen on v2 lately; filled only where messages are restored.
    pub(crate) on_v2: Recent,
    pub(crate) rates: Rates,
    v1_peers: usize,
    /// Of every topic that is relayed: a later table may bridge it. Topics that nobody takes have no entry.
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
            fanned: HashMap::new(),
            restoring: HashMap::new(),
            on_v2: Recent::default(),
            rates: Rates::default(),
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
        let cargo = || Cargo::Envelope(envelope.raw().clone());
        // What is known already, or came from v2, has no key and goes nowhere.
        match passage.key.filter(|_| passage.route.as_ref().is_some_and(|route| route.fanout)) {
            None => self.start(now, passage, step, cargo),
            Some(key) => self.fan_out(now, envelope, key, (passage, step)),
        }
    }

    /// Takes an envelope on to the further routes of its table as well. Each way has a report of its own.
    fn fan_out(&mut self, now: Now, envelope: &Envelope, key: SeenKey, first: (Passage, Result<Step, DropReason>)) {
        let further: Vec<Arc<Route>> = self.config.routes.to_v2(envelope.topic()).skip(1).cloned().collect();
        self.fanned.insert(key, Fanned { left: 1 + further.len(), state: None, noted: false });
        let cargo = || Cargo::Envelope(envelope.raw().clone());
        self.start(now, first.0, first.1, cargo);
        for route in further {
            let mut passage = Passage::of_envelope(now, envelope);
            passage.take(route);
            (passage.content, passage.key) = (Some(key.content()), Some(key));
            let step = self.wrap(now, envelope, &mut passage);
            self.start(now, passage, step, cargo);
        }
    }

    /// A valid message came from a v2 peer.
    pub fn message(&mut self, now: Now, received: &Arc<Received>) {
        self.message_of(now, now.unix_secs(), received);
    }

    /// A message that came at `at`, in unix seconds.
    fn message_of(&mut self, now: Now, at: u64, received: &Received) {
        let mut passage = Passage::of_message(now, at, received);
        let step = self.start_message(now, received, &mut passage);
        let cargo = || Cargo::Message { topic: received.pubsub_topic.clone(), data: received.data.clone() };
        self.start(now, passage, step, cargo);
    }

    /// What ended in an earlier life, the oldest first. To be told before anything else.
    pub fn recall(&mut self, now: Now, ended: &[Remembered]) {
        for remembered in ended {
            let age = now.unix.saturating_sub(Duration::from_secs(remembered.at));
            // A clock that has begun since then cannot say it; the window is shorter than that.
            let made = now.instant.checked_sub(age).unwrap_or(now.instant);
            self.seen.recall(made, remembered);
        }
    }

    /// What was on its way when an earlier life ended: it begins again. `own` is this node, from which it counts as received.
    pub fn resume(&mut self, now: Now, unfinished: &Unfinished, own: PeerId) {
        let Unfinished { content, sent, at, cargo } = unfinished;
        let done_before = self.actions.len();
        match cargo {
            Cargo::Envelope(raw) => {
                if let Ok(envelope) = Envelope::decode(raw.clone()) {
                    self.envelope(now, &Arc::new(envelope));
                }
            }
            Cargo::Message { topic, data } => {
                if let Ok(message) = WakuMessage::decode_shared(data.clone()) {
                    let hash = message_hash(topic, &message);
                    let (pubsub_topic, data) = (topic.clone(), data.clone());
                    self.message_of(now, *at, &Received { pubsub_topic, message, hash, data, from: own });
                }
            }
        }
        let is_begun = |action: &Action| matches!(action, Action::Begin { note: Note::Begun { content: c, sent: s, .. }, .. } if (c, s) == (content, sent));
        if !self.actions.iter().skip(done_before).any(is_begun) {
            // It would be dropped now: else it would come back with every start.
            let state = State::Dropped(DropReason::Late);
            self.actions.push_back(Action::End(Note::Ended {
                content: *content,
                sent: *sent,
                state,
                envelope: None,
                message: None,
            }));
        }
    }

    /// The answer to [`Action::Begin`]: the journal has it, or can't be written, in which case things cross all the same.
    pub fn noted(&mut self, now: Now, id: JobId) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.stage() == Stage::Noting) else { return };
        if let Work::Noted(step) = std::mem::replace(&mut job.work, Work::Start) {
            self.advance(now, id, Ok(*step));
            self.pump(now);
        }
    }

    /// The number of running v1 peers.
    pub fn v0_peers(&mut self, now: Now, count: usize) {
        let gained = count > self.v1_peers;
        self.v1_peers = count;
        if gained {
            self.unpark(now, Direction::V2ToV1, |_| true);
        }
    }

    /// The number of v2 peers that take messages on a topic, one that is relayed.
    pub fn v2_peers(&mut self, now: Now, topic: &PubsubTopic, count: usize) {
        let before = match count {
            0 => self.v2_peers.remove(topic),
            _ => self.v2_peers.insert(topic.clone(), count),
        };
        if count > before.unwrap_or(0) {
            self.unpark(now, Direction::V1ToV2, |passage| passage.pubsub.as_ref() == Some(topic));
        }
    }

    /// Another table, from now on. What is on its way goes on by the route that it has.
    pub fn set_routes(&mut self, routes: Router) {
        self.rates.keep(&routes);
        self.config.routes = routes;
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
        Tally {
            seen_evicted_early: self.seen.evicted_early(),
            loops_suspected: self.seen.loops_suspected(),
            ..self.tally
        }
    }

    /// Peers on either side: running v1 peers, and v2 peers of the bridged topic that has most of them.
    #[must_use]
    pub fn peers(&self) -> (usize, usize) {
        let bridged = self.v2_peers.iter().filter(|(topic, _)| self.config.routes.knows(topic));
        (self.v1_peers, bridged.map(|(_, count)| *count).max().unwrap_or(0))
    }

    /// How much is remembered of what crossed.
    #[must_use]
    pub fn seen_entries(&self) -> usize {
        self.seen.len()
    }

    /// Looks for the same content in the memory, and takes the passage's place in it. What another way brought, or is on
    /// its way, is a duplicate; one that is `tagged` says by itself that it came from the other side.
    pub(crate) fn observe(
        &mut self,
        now: Now,
        passage: &mut Passage,
        content: Fingerprint,
        tagged: bool,
    ) -> Result<(), DropReason> {
        if self.seen.is_quarantined(now.instant, content) {
            return Err(DropReason::Quarantine);
        }
        match self.seen.observe(now.instant, content, passage.sent, passage.direction) {
            Observed::New(key) => {
                passage.key = Some(key);
                self.seen.set_hashes(key, passage.envelope, passage.message);
                Ok(())
            }
            Observed::Duplicate(entry) => {
                let is_the_same = match passage.direction {
                    Direction::V1ToV2 => passage.envelope == entry.envelope,
                    Direction::V2ToV1 => passage.message == entry.message,
                };
                passage.envelope = passage.envelope.or(entry.envelope);
                passage.message = passage.message.or(entry.message);
                if tagged && entry.first == Direction::V1ToV2 {
                    return Err(DropReason::Returning);
                }
                if !tagged && !is_the_same {
                    self.seen.note_copy(now.instant, content, passage.sent);
                }
                Err(DropReason::Duplicate)
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

    fn start(&mut self, now: Now, mut passage: Passage, step: Result<Step, DropReason>, cargo: impl FnOnce() -> Cargo) {
        match step {
            Err(reason) => self.end(now, passage, Outcome::Dropped(reason)),
            Ok(step) => {
                let direction = passage.direction;
                let note = self.beginning(now, &passage, cargo);
                passage.noted = note.is_some();
                let id = self.jobs.insert(passage, now.instant);
                match note {
                    Some(note) => self.begin(id, step, note),
                    None => self.advance(now, id, Ok(step)),
                }
                self.shed(now, direction);
            }
        }
        self.pump(now);
    }

    /// What is to be written of a passage before it goes on. Only what is remembered is: what carries our tags is known by them.
    fn beginning(&self, now: Now, passage: &Passage, cargo: impl FnOnce() -> Cargo) -> Option<Note> {
        let key = passage.key.filter(|_| self.config.journal)?;
        let (content, sent) = (key.content(), passage.sent);
        Some(Note::Begun { content, sent, at: now.unix_secs(), first: passage.direction, cargo: cargo() })
    }

    fn begin(&mut self, id: JobId, step: Step, note: Note) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.work = Work::Noted(Box::new(step));
        }
        self.jobs.set_stage(id, Stage::Noting, None);
        self.actions.push_back(Action::Begin { job: id, note });
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

    /// One way of a content has ended. With the last one: what became of it, and whether its beginning was noted.
    fn last_way(&mut self, key: SeenKey, state: State, noted: bool) -> Option<(SeenKey, State, bool)> {
        let Some(fanned) = self.fanned.get_mut(&key) else { return Some((key, state, noted)) };
        fanned.left -= 1;
        fanned.noted |= noted;
        if fanned.state != Some(State::Done) {
            fanned.state = Some(state);
        }
        let Fanned { left: 0, state: Some(state), noted } = *fanned else { return None };
        self.fanned.remove(&key);
        Some((key, state, noted))
    }

    fn note_end(&mut self, key: SeenKey, sent: u64, state: State) {
        let (envelope, message) = self.seen.get(key).map_or((None, None), |entry| (entry.envelope, entry.message));
        self.actions.push_back(Action::End(Note::Ended { content: key.content(), sent, state, envelope, message }));
    }

    /// Remembers and reports the end of a passage.
    fn end(&mut self, now: Now, passage: Passage, outcome: Outcome) {
        let state = match outcome {
            Outcome::Crossed { .. } => State::Done,
            Outcome::Dropped(reason) => State::Dropped(reason),
        };
        if let Some((key, state, noted)) = passage.key.and_then(|key| self.last_way(key, state, passage.noted)) {
            self.seen.set_state(key, state);
            if noted {
                self.note_end(key, passage.sent, state);
            }
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

/// What is known of the ways of one content, while some are still to end.
#[derive(Debug, Clone, Copy)]
struct Fanned {
    left: usize,
    /// Done once one of them is.
    state: Option<State>,
    noted: bool,
}

/// The instant at which the wall clock will show `unix`; now, if that has passed.
pub(crate) fn instant_at(now: Now, unix: Duration) -> Instant {
    now.instant + unix.saturating_sub(now.unix)
}
