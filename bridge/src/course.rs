//! From a passage's first step to its last: what is noted, waits, is mined, handed over and tried again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::clock::Now;
use rand::RngExt;

use crate::{
    action::Action,
    answer::Answer,
    bridge::Bridge,
    crossing::{Conversion, Direction, Outcome},
    drop_reason::DropReason,
    history::NotKept,
    job::{Job, JobId, Stage, Work},
    journal::{Cargo, Note},
    passage::Passage,
    seal::SealJob,
    seen::State,
    step::{SealDraft, Step},
    to_v1,
};

/// Attempts after the first one, until the far side gains a peer.
const RETRIES: u8 = 3;
/// Wait before the first of them; doubled for each that follows, and cut by a random half so that bridges spread.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// After the far side gained a peer, what waited for it goes out spread over this time.
const UNPARK_SPREAD: Duration = Duration::from_millis(500);

impl Bridge {
    pub(crate) fn start(
        &mut self,
        now: Now,
        mut passage: Passage,
        step: Result<Step, DropReason>,
        cargo: impl FnOnce() -> Cargo,
    ) {
        match step {
            Err(reason) => self.end_at_once(now, passage, Outcome::Dropped(reason)),
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
    pub(crate) fn advance(&mut self, now: Now, id: JobId, step: Result<Step, DropReason>) {
        let step = match step {
            Ok(step) => step,
            Err(reason) => return self.finish(now, id, Outcome::Dropped(reason)),
        };
        if self.config.dry_run && step.acts() {
            return self.would_cross(now, id);
        }
        let until = step.until();
        let (work, stage, due) = match step {
            Step::Yield { what, release } => (Work::from(what), Stage::Yielding, Some(release)),
            Step::Hold { framed, release } => (Work::Frame { framed, ttl: 0 }, Stage::Held, Some(release)),
            Step::Restore { message, envelope, release } => {
                (Work::Restore { message, envelope }, Stage::Restoring, Some(release))
            }
            Step::Mine { framed, ttl, seal } => {
                let SealDraft { unsealed, base, bits, deadline } = seal;
                self.to_mine.push(SealJob { job: id, unsealed, base, bits, deadline });
                (Work::Frame { framed, ttl }, Stage::Mining, None)
            }
            Step::Publish { data, until, again } => (Work::Publish { data, again }, Stage::Ready, Some(until)),
            Step::Post { envelope, from, .. } if from > now.instant => (Work::Post(envelope), Stage::Held, Some(from)),
            Step::Post { envelope, until, .. } => (Work::Post(envelope), Stage::Ready, Some(until)),
        };
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.passage.note_made(&work);
        if let (Stage::Yielding, Some(content)) = (stage, job.passage.content) {
            self.yielding.insert((job.passage.direction, content, id));
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

    pub(crate) fn come_due(&mut self, now: Now, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        match (job.stage(), &job.work) {
            (Stage::Yielding | Stage::Restoring, _) => self.goes_on(now, id),
            (Stage::Held, Work::Frame { framed, .. }) => {
                let step = self.mine(now, &job.passage, framed.clone(), None);
                self.advance(now, id, step);
            }
            (Stage::Retry, _) | (Stage::Held, Work::Post(_)) if now.instant < job.until => {
                let until = job.until;
                self.jobs.set_stage(id, Stage::Ready, Some(until));
            }
            _ => self.out_of_time(now, id),
        }
    }

    /// It was tried as long as its time allows. Where what is late is given another time, it is tried with that.
    fn out_of_time(&mut self, now: Now, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Work::Publish { again: Some(envelope), .. } = &job.work else {
            let reason = if job.waits_for_proof { DropReason::RlnUnavailable } else { DropReason::PublishFailed };
            return self.finish(now, id, Outcome::Dropped(reason));
        };
        let (envelope, mut passage) = (Arc::clone(envelope), job.passage.clone());
        job.attempts = 0;
        let step = self.wrap(now, &envelope, &mut passage);
        if let Some(job) = self.jobs.get_mut(id) {
            job.passage = passage;
        }
        self.advance(now, id, step);
    }

    /// Nothing that it waited for has come.
    fn goes_on(&mut self, now: Now, id: JobId) {
        self.forget_waiting(id);
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.passage.waited = true;
        let (mut passage, work) = (job.passage.clone(), std::mem::replace(&mut job.work, Work::Start));
        let step = match work {
            Work::Envelope(envelope) => self.wrap(now, &envelope, &mut passage),
            Work::Frame { framed, .. } => self.mine(now, &passage, framed, None),
            Work::Post(envelope) => Ok(to_v1::post(now, envelope)),
            Work::Restore { message, envelope } => self.publish_restored(now, &message, &envelope, &mut passage),
            // Nothing else waits so.
            _ => Err(DropReason::PublishFailed),
        };
        if let Some(job) = self.jobs.get_mut(id) {
            job.passage = passage;
        }
        self.advance(now, id, step);
    }

    /// A bridge that only counts goes no further.
    fn would_cross(&mut self, now: Now, id: JobId) {
        if let Some(by) = self.jobs.get(id).map(|job| job.passage.by) {
            self.finish(now, id, Outcome::WouldCross { by });
        }
    }

    /// Hands over what is ready, as far as there is room.
    pub(crate) fn pump(&mut self, now: Now) {
        for direction in Direction::ALL {
            while self.depths().of(direction, Stage::InFlight) < self.config.limits.max_in_flight
                && let Some(id) = self.jobs.next_ready(direction)
            {
                self.hand_over(now, id);
            }
        }
        while let Some(job) = self.to_mine.next() {
            self.actions.push_back(Action::Seal(job));
        }
    }

    fn hand_over(&mut self, now: Now, id: JobId) {
        if let Err(reason) = self.clock_is_right()
            && self.jobs.get(id).is_some_and(|job| matches!(job.work, Work::Publish { .. }))
        {
            return self.finish(now, id, Outcome::Dropped(reason));
        }
        let action = self.jobs.get(id).and_then(|job| match (&job.work, &job.passage.pubsub) {
            (Work::Publish { data, .. }, Some(topic)) => {
                let class = job.passage.route.as_ref().and_then(|route| route.class.clone());
                Some(Action::Publish { job: id, topic: topic.clone(), data: data.clone(), class })
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

    /// The far side's answer.
    pub(crate) fn answered(&mut self, now: Now, id: JobId, answer: Answer) {
        let is_alone = self.v1_peers == 0;
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.stage() == Stage::InFlight) else { return };
        let was_pooled = job.passage.pooled;
        let (answer, proof) = answer.parted();
        if let (Some(proof), Some(draft)) = (proof, &mut job.passage.draft) {
            draft.is_proven(proof);
        }
        job.waits_for_proof = answer == Answer::Unproven;
        match answer {
            // Our own node has it, and nobody else.
            Answer::Accepted { already_there } if is_alone && matches!(job.work, Work::Post(_)) => {
                job.passage.pooled |= !already_there;
                self.failed(now, id);
            }
            // The envelope was here before its message came back: nothing crossed.
            Answer::Accepted { already_there: true } if job.passage.by == Conversion::Rebuilt && !was_pooled => {
                self.finish(now, id, Outcome::Dropped(DropReason::Returning));
            }
            Answer::Accepted { already_there } => {
                let (took, by) = (job.passage.took(now), job.passage.by);
                self.finish(now, id, Outcome::Crossed { took, by, already_there: already_there && !was_pooled });
            }
            Answer::Refused(reason) => self.finish(now, id, Outcome::Dropped(reason)),
            Answer::Failed => self.failed(now, id),
            Answer::Busy | Answer::Unproven => self.found_no_room(now, id),
            // Parted above.
            Answer::Proven { .. } => {}
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
            return self.out_of_time(now, id);
        }
        if attempts > RETRIES {
            return self.jobs.set_stage(id, Stage::Parked, Some(until));
        }
        self.try_again(now, id, attempts, until);
    }

    /// The way was full. That ends without a new peer, so that it is tried as long as its time allows, less often from time to time.
    fn found_no_room(&mut self, now: Now, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.attempts = job.attempts.saturating_add(1).min(RETRIES);
        let (attempts, until) = (job.attempts, job.until);
        if now.instant >= until {
            return self.out_of_time(now, id);
        }
        self.try_again(now, id, attempts, until);
    }

    fn try_again(&mut self, now: Now, id: JobId, attempts: u8, until: Instant) {
        let wait = RETRY_AFTER * 2_u32.pow(u32::from(attempts.max(1)) - 1);
        let again = now.instant + wait.mul_f64(self.rng.random_range(0.5..1.0));
        self.jobs.set_stage(id, Stage::Retry, Some(again.min(until)));
    }

    /// The far side has gained a peer: what had used up its attempts gets new ones. One would do if a peer could be
    /// published to at once, but gossip takes a heartbeat to take it in.
    pub(crate) fn unpark(&mut self, now: Now, direction: Direction, concerns: impl Fn(&Passage) -> bool) {
        for id in self.jobs.in_stage(direction, Stage::Parked) {
            let Some(job) = self.jobs.get_mut(id).filter(|job| concerns(&job.passage)) else { continue };
            job.attempts = 0;
            let again = (now.instant + UNPARK_SPREAD.mul_f64(self.rng.random_range(0.0..1.0))).min(job.until);
            self.jobs.set_stage(id, Stage::Retry, Some(again));
        }
    }

    pub(crate) fn shed(&mut self, now: Now, direction: Direction) {
        while let Some(id) = self.jobs.next_shed(direction, &self.config.limits) {
            match self.jobs.get(id).map(Job::stage) {
                // Its end is known; the archive is too slow.
                Some(Stage::Archiving) => {
                    self.kept(now, id, Err(NotKept));
                    continue;
                }
                Some(Stage::Mining) if self.to_mine.cancel(id) => self.actions.push_back(Action::CancelSeal(id)),
                _ => {}
            }
            self.finish(now, id, Outcome::Dropped(DropReason::Shed));
        }
    }
}
