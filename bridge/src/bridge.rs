//! The core: what arrives on either side goes in, actions come out. No clock, socket or thread.
//!
//! ```text
//! envelope -> classify -> dedup -> route -> convert ---------> publish -> confirm
//! message  -> classify -> dedup -> route -> rebuild | mine ---> post ---> confirm
//! ```
//!
//! On the way a passage may wait for its beginning to be noted ([`crate::journal`]), for other bridges to be faster (`yielding`) and,
//! once it has ended, for the archive (`keeping`).
//!
//! Each envelope and each message ends in exactly one [`Action::Report`]. It has crossed only when the far side has
//! confirmed it; what fails is tried again while the far side would still take it.  Spec: 15/WAKU-BRIDGE.
//!
//! The two directions stand in [`crate::to_v2`] and [`crate::to_v1`], a passage's way and end in `course` and `ending`; here is what
//! comes in.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::clock::Now;
use rand::rngs::StdRng;
use waku0::envelope::{Envelope, EnvelopeHash};
use waku2::{
    PeerId, WakuMessage,
    handle::Received,
    hash::{MessageHash, message_hash},
    topic::PubsubTopic,
};

use crate::{
    action::{Action, Tally},
    answer::Answer,
    config::{Config, ConfigError},
    crossing::{Direction, Outcome},
    drop_reason::DropReason,
    ending::Fanned,
    gaps::{Gap, Gaps, Sources},
    job::{Depths, JobId, JobTable, Stage, Work},
    journal::{Cargo, Note, Remembered, Unfinished},
    passage::Passage,
    rate::Rates,
    recent::Recent,
    router::{Route, Router},
    seal::Sealed,
    seen::{Fingerprint, Observed, Seen, SeenKey, State},
    step::Step,
    to_mine::ToMine,
};

/// Our clock may be off by so much: the 20 s of 64/WAKU2-NETWORK, less what a message's way takes.
pub const MAX_SKEW: Duration = Duration::from_secs(15);

/// The core of a bridge.
#[derive(Debug)]
pub struct Bridge {
    pub(crate) config: Config,
    pub(crate) rng: StdRng,
    pub(crate) seen: Seen,
    pub(crate) jobs: JobTable,
    pub(crate) to_mine: ToMine,
    /// What goes several ways at once, until the last of them ends.
    pub(crate) fanned: HashMap<SeenKey, Fanned>,
    /// Envelopes waiting for their message to show itself on v2.
    pub(crate) restoring: HashMap<MessageHash, JobId>,
    /// What gives way to other bridges.
    pub(crate) yielding: BTreeSet<(Direction, Fingerprint, JobId)>,
    /// The memory is lost, and until then this bridge is as if in standby. Set by the first that comes.
    pub(crate) recovering_until: Option<Instant>,
    /// Our clock is off by too much to publish on v2.
    clock_is_off: bool,
    /// Messages seen on v2 lately; filled only where messages are restored.
    pub(crate) on_v2: Recent,
    pub(crate) rates: Rates,
    pub(crate) v1_peers: usize,
    /// Of every topic that is relayed: a later table may bridge it. Topics that nobody takes have no entry.
    v2_peers: HashMap<PubsubTopic, usize>,
    gaps: Gaps,
    /// Who is there has not been told.
    sources_changed: bool,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) tally: Tally,
}

impl Bridge {
    /// A bridge with nothing on its way.
    ///
    /// # Errors
    /// [`ConfigError`] when no bridge can work by the settings.
    pub fn new(config: Config, rng: StdRng) -> Result<Self, ConfigError> {
        config.check()?;
        // Who only counts leaves no trace.
        let config = Config { journal: config.journal && !config.dry_run, ..config };
        let (seen, to_mine) = (Seen::new(config.seen), ToMine::new(&config.limits));
        Ok(Self {
            config,
            rng,
            seen,
            jobs: JobTable::default(),
            to_mine,
            fanned: HashMap::new(),
            restoring: HashMap::new(),
            yielding: BTreeSet::new(),
            recovering_until: None,
            clock_is_off: false,
            on_v2: Recent::default(),
            rates: Rates::default(),
            v1_peers: 0,
            v2_peers: HashMap::new(),
            gaps: Gaps::default(),
            sources_changed: false,
            actions: VecDeque::new(),
            tally: Tally::default(),
        })
    }

    /// A new envelope came from a v1 peer in a packet meant for all (not between trusted peers).
    pub fn envelope(&mut self, now: Now, envelope: &Arc<Envelope>) {
        self.begin_to_recover(now);
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
    fn fan_out(
        &mut self,
        now: Now,
        envelope: &Arc<Envelope>,
        key: SeenKey,
        first: (Passage, Result<Step, DropReason>),
    ) {
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
        self.begin_to_recover(now);
        let mut passage = Passage::of_message(now, at, received);
        let step = self.start_message(now, received, &mut passage);
        let cargo = || Cargo::Message { topic: received.pubsub_topic.clone(), data: received.data.clone() };
        self.start(now, passage, step, cargo);
    }

    /// Where the memory is lost: for one time to live from the first that comes, others go first.
    fn begin_to_recover(&mut self, now: Now) {
        if self.config.memory_lost && self.recovering_until.is_none() {
            let ttl = Duration::from_secs(u64::from(self.config.profile.ttl_secs));
            self.recovering_until = Some(now.instant + ttl);
        }
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

    /// Is there room for more of what an earlier life left? Half of what there may be is kept for what comes now.
    #[must_use]
    pub fn has_room(&self, direction: Direction) -> bool {
        self.jobs.has_half_free(direction, &self.config.limits)
    }

    /// What was on its way when an earlier life ended: it begins again. `own` is this node, from which it counts as received.
    ///
    /// Beyond what there is [room](Self::has_room) for, it is shed like anything else.
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
                    // Where proofs are asked for, nothing without one is on its way.
                    let proven = self.config.proofs && message.rate_limit_proof.is_some();
                    let received = Received { pubsub_topic, message, hash, data, from: own, proven };
                    self.message_of(now, *at, &received);
                }
            }
        }
        let is_begun = |action: &Action| matches!(action, Action::Begin { note: Note::Begun { content: c, sent: s, .. }, .. } if (c, s) == (content, sent));
        let goes_to_the_archive = self.actions.iter().skip(done_before).find_map(|action| match action {
            Action::Keep { job, kept } if kept.content == *content => Some(*job),
            _ => None,
        });
        if let Some(job) = goes_to_the_archive.and_then(|id| self.jobs.get_mut(id)) {
            // Too late to cross. Its end is noted once the archive has it.
            job.passage.noted = true;
        } else if !self.actions.iter().skip(done_before).any(is_begun)
            && let Some((state, envelope, message)) = self.end_of_left(*content, *sent)
        {
            let (content, sent) = (*content, *sent);
            let note = Note::Ended { content, sent, state, envelope, message };
            self.actions.push_back(Action::End { direction: unfinished.direction(), note });
        }
    }

    /// What is noted of something left over that does not begin again, so that it does not come back with every start: that it would be
    /// dropped now, or has crossed since, when it came again. Nothing while it is on its way: its end will be noted.
    fn end_of_left(
        &self,
        content: Fingerprint,
        sent: u64,
    ) -> Option<(State, Option<EnvelopeHash>, Option<MessageHash>)> {
        match self.seen.look_up(content, sent) {
            Some(entry) if matches!(entry.state, State::Pending | State::Retry) => None,
            Some(entry) if entry.state == State::Done => Some((State::Done, entry.envelope, entry.message)),
            _ => Some((State::Dropped(DropReason::Late), None, None)),
        }
    }

    /// Envelopes that wait for room in the mining pool.
    #[must_use]
    pub fn waiting_for_pool(&self) -> usize {
        self.to_mine.waiting()
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
        if count == self.v1_peers && self.gaps.has_looked() {
            return;
        }
        let gained = count > self.v1_peers;
        self.v1_peers = count;
        self.look_for_gaps(now);
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
        self.look_for_gaps(now);
        if count > before.unwrap_or(0) {
            self.unpark(now, Direction::V1ToV2, |passage| passage.pubsub.as_ref() == Some(topic));
        }
    }

    /// How far the clocks of others are ahead of ours, in nanoseconds, as far as that is known. Beyond [`MAX_SKEW`] nothing is published
    /// on v2, where times are checked; it ends as `clock` until the clock is right again.
    pub fn clock_skew(&mut self, skew_nanos: Option<i64>) {
        let off = |nanos: i64| u128::from(nanos.unsigned_abs()) > MAX_SKEW.as_nanos();
        self.clock_is_off = skew_nanos.is_some_and(off);
    }

    /// Whether times that this bridge writes or judges can be believed.
    pub(crate) fn clock_is_right(&self) -> Result<(), DropReason> {
        if self.clock_is_off { Err(DropReason::Clock) } else { Ok(()) }
    }

    /// Another table, from now on. What is on its way goes on by the route that it has.
    pub fn set_routes(&mut self, now: Now, routes: Router) {
        self.rates.keep(&routes);
        let leads = |name: &str, way| routes.routes().iter().any(|route| *route.name == *name && route.leads(way));
        self.gaps.keep(leads);
        self.config.routes = routes;
        self.look_for_gaps(now);
    }

    /// The far side of which routes has no peer?
    fn look_for_gaps(&mut self, now: Now) {
        self.sources_changed = true;
        for route in self.config.routes.routes() {
            let there = [self.v2_peers.contains_key(&route.pubsub), self.v1_peers > 0];
            for way in Direction::ALL.into_iter().filter(|way| route.leads(*way)) {
                self.gaps.look(now.unix_secs(), &route.name, way, there[way as usize]);
            }
        }
    }

    /// When the far side was away, if there is anything new to tell; without what crossed last, which [`crate::Handle::gaps`] knows.
    pub fn new_gaps(&mut self) -> Option<Vec<Gap>> {
        self.gaps.changed()
    }

    /// On which sides somebody is there, if there is anything new to tell.
    pub fn new_sources(&mut self) -> Option<Sources> {
        let told = || Sources { v1: self.v1_peers > 0, v2: self.v2_peers.keys().cloned().collect() };
        std::mem::take(&mut self.sources_changed).then(told)
    }

    /// When the far side was away in an earlier life. To be told before anything else.
    pub fn recall_gaps(&mut self, earlier: &[Gap]) {
        self.gaps.recall(earlier);
        let routes = &self.config.routes;
        let leads = |name: &str, way| routes.routes().iter().any(|route| *route.name == *name && route.leads(way));
        self.gaps.keep(leads);
    }

    /// The answer to [`Action::Publish`].
    pub fn published(&mut self, now: Now, job: JobId, answer: impl Into<Answer>) {
        self.answered(now, job, answer.into());
    }

    /// The answer to [`Action::Post`]. While there is no v1 peer, nobody has what was posted: it is posted again when one has come, to whom
    /// the v1 node then hands its pool over.
    pub fn posted(&mut self, now: Now, job: JobId, answer: impl Into<Answer>) {
        self.answered(now, job, answer.into());
    }

    /// The answer to [`Action::Seal`].
    pub fn sealed(&mut self, now: Now, id: JobId, sealed: Sealed) {
        self.to_mine.answered(id);
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
            // What may go on until now goes now.
            self.pump(now);
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

    /// What it works by.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
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
            Observed::Kept(key, entry) if !passage.is_of(&entry) => {
                self.seen.set_state(key, State::Pending);
                passage.key = Some(key);
                self.seen.set_hashes(key, passage.envelope, passage.message);
                Ok(())
            }
            Observed::Kept(_, entry) | Observed::Duplicate(entry) => {
                let is_the_same = passage.is_of(&entry);
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
}
