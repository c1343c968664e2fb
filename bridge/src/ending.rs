//! The end of a passage: remembered, noted, kept and told.

use devp2p::clock::Now;

use crate::{
    action::Action,
    bridge::Bridge,
    crossing::{Conversion, Direction, Outcome},
    drop_reason::DropReason,
    job::JobId,
    journal::Note,
    keeping::is_final,
    passage::Passage,
    seen::{SeenKey, State},
};

/// What is known of the ways of one content, while some are still to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fanned {
    pub(crate) left: usize,
    /// Done once one of them is.
    pub(crate) state: Option<State>,
    pub(crate) noted: bool,
}

impl Bridge {
    /// Ends what never became a job; for the archive it becomes one.
    pub(crate) fn end_at_once(&mut self, now: Now, passage: Passage, outcome: Outcome) {
        if self.config.dry_run {
            let outcome = self.dry(&passage, outcome);
            return self.end(now, passage, outcome);
        }
        match self.row(&passage, outcome) {
            None => self.end(now, passage, outcome),
            Some(kept) => {
                let direction = passage.direction;
                let id = self.jobs.insert(passage, now.instant);
                self.keep(now, id, outcome, kept);
                self.shed(now, direction);
            }
        }
    }

    /// Ends a job; where there is an archive, once that has it.
    pub(crate) fn finish(&mut self, now: Now, id: JobId, outcome: Outcome) {
        self.forget_waiting(id);
        let Some(job) = self.jobs.get(id) else { return };
        let (outcome, kept) = match self.config.dry_run {
            true => (self.dry(&job.passage, outcome), None),
            false => (outcome, self.row(&job.passage, outcome)),
        };
        match kept {
            Some(kept) => self.keep(now, id, outcome, kept),
            None => {
                if let Some(job) = self.jobs.remove(id) {
                    self.end(now, job.passage, outcome);
                }
            }
        }
    }

    /// A job waits for nobody any more.
    pub(crate) fn forget_waiting(&mut self, id: JobId) {
        let Some(passage) = self.jobs.get(id).map(|job| &job.passage) else { return };
        if let Some(hash) = passage.message
            && self.restoring.get(&hash) == Some(&id)
        {
            self.restoring.remove(&hash);
        }
        if let Some(content) = passage.content {
            self.yielding.remove(&(passage.direction, content, id));
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

    fn note_end(&mut self, direction: Direction, key: SeenKey, sent: u64, state: State) {
        let (envelope, message) = self.seen.get(key).map_or((None, None), |entry| (entry.envelope, entry.message));
        let note = Note::Ended { content: key.content(), sent, state, envelope, message };
        self.actions.push_back(Action::End { direction, note });
    }

    /// Remembers and reports the end of a passage.
    pub(crate) fn end(&mut self, now: Now, passage: Passage, outcome: Outcome) {
        let state = match outcome {
            // What has a place in the memory and is a duplicate gave way: the other side has it.
            Outcome::Crossed { .. } | Outcome::WouldCross { .. } | Outcome::Dropped(DropReason::Duplicate) => {
                State::Done
            }
            Outcome::Archived(reason) | Outcome::Dropped(reason) => State::Dropped(reason),
        };
        if let (Outcome::Archived(reason), Some(key)) = (outcome, passage.key)
            && is_final(reason)
        {
            self.seen.set_kept(key);
        }
        if let Some((key, state, noted)) = passage.key.and_then(|key| self.last_way(key, state, passage.noted)) {
            self.seen.set_state(key, state);
            if noted {
                self.note_end(passage.direction, key, passage.sent, state);
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
