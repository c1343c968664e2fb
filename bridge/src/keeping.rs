//! What has ended goes to the archive before its end is told: the part of the core that [`crate::history`] needs.

use devp2p::clock::Now;

use crate::{
    action::Action,
    bridge::Bridge,
    canary,
    crossing::{Direction, Outcome},
    drop_reason::DropReason,
    history::{Kept, NotKept, Why},
    job::{JobId, Stage, Work},
    passage::Passage,
    policy::{LateV1, LateV2},
};

impl Bridge {
    /// The answer to [`Action::Keep`]. What could not be kept ends as it would without an archive.
    pub fn kept(&mut self, now: Now, id: JobId, result: Result<(), NotKept>) {
        if self.jobs.get(id).is_none_or(|job| job.stage() != Stage::Archiving) {
            return;
        }
        self.tally.not_kept += u64::from(result.is_err());
        let Some(job) = self.jobs.remove(id) else { return };
        let Work::Ended { outcome, at } = job.work else { return };
        let outcome = match (outcome, why(outcome), result) {
            (_, Some(Why::Instead(reason)), Ok(())) => Outcome::Archived(reason),
            (outcome, ..) => outcome,
        };
        self.end(at, job.passage, outcome);
        self.pump(now);
    }

    /// Canaries are no history.
    pub(crate) fn keeps_rows_of(&self, passage: &Passage) -> bool {
        self.config.archive && passage.topic != Some(canary::TOPIC)
    }

    /// The row of a passage that ends so, if it is to be kept.
    pub(crate) fn row(&self, passage: &Passage, outcome: Outcome) -> Option<Kept> {
        let draft = passage.draft.as_ref()?;
        let why = why(outcome)?;
        match why {
            Why::Instead(reason) if !self.keeps(passage.direction, reason) => None,
            why => draft.row(passage, why),
        }
    }

    /// A bridge that only counts says what would become of it.
    pub(crate) fn dry(&self, passage: &Passage, outcome: Outcome) -> Outcome {
        match why(outcome) {
            Some(Why::Instead(reason)) if passage.draft.is_some() && self.keeps(passage.direction, reason) => {
                Outcome::Archived(reason)
            }
            _ => outcome,
        }
    }

    fn keeps(&self, direction: Direction, reason: DropReason) -> bool {
        let by_policy = match (direction, reason) {
            (Direction::V1ToV2, DropReason::Late) => self.config.late_v1() == LateV1::Archive,
            (Direction::V2ToV1, DropReason::Late | DropReason::PowDeadline) => self.config.late_v2() == LateV2::Archive,
            _ => true,
        };
        by_policy && reason.is_kept(direction)
    }

    /// Its end waits for the archive.
    pub(crate) fn keep(&mut self, now: Now, id: JobId, outcome: Outcome, kept: Kept) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.work = Work::Ended { outcome, at: now };
        }
        self.jobs.set_stage(id, Stage::Archiving, None);
        self.actions.push_back(Action::Keep { job: id, kept: Box::new(kept) });
    }
}

/// Why the archive wants what ended so, policy aside. What others carried while this bridge was about to has crossed.
fn why(outcome: Outcome) -> Option<Why> {
    match outcome {
        Outcome::Crossed { .. } | Outcome::Dropped(DropReason::Duplicate | DropReason::Returning) => Some(Why::Crossed),
        Outcome::Dropped(reason) => Some(Why::Instead(reason)),
        Outcome::Archived(_) | Outcome::WouldCross { .. } => None,
    }
}

/// Whether coming again changes nothing about what was archived for this reason.
pub(crate) fn is_final(reason: DropReason) -> bool {
    !matches!(
        reason,
        DropReason::PublishFailed | DropReason::Clock | DropReason::RlnBudget | DropReason::RlnUnavailable
    )
}
