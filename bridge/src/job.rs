//! What is on its way: one job for each envelope or message that has not crossed and is not given up.
//!
//! The table is the bridge's only queue. It is bounded each way by count and bytes ([`Limits`]); where it is full the
//! oldest of the lowest priority goes, and before any of these what has ended and only waits for the archive. What has been handed to
//! the far side is not shed, since its answer is near.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use devp2p::clock::Now;
use waku0::envelope::Envelope;
use waku2::message::WakuMessage;

use crate::{
    config::Limits,
    crossing::{Direction, Outcome},
    mapping::Framed,
    passage::Passage,
    step::{Step, Yielded},
};

/// Names a job in actions and answers. Later jobs have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.0)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Waits until the journal has it on disk.
    Noting,
    /// Waits to see whether another bridge carries it.
    Yielding,
    /// A message sent ahead of its time.
    Held,
    /// An envelope whose message may yet show itself on v2.
    Restoring,
    /// With the mining pool.
    Mining,
    /// Waits for a place among those in flight.
    Ready,
    /// Handed to the far side, not yet answered.
    InFlight,
    /// Failed; will be tried again at a set time.
    Retry,
    /// Failed as often as it may; waits for the far side to gain a peer.
    Parked,
    /// Has ended, and is with the archive.
    Archiving,
}

impl Stage {
    /// How many stages there are.
    pub const COUNT: usize = 10;
    /// All of them, in the order of the enum.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Noting,
        Self::Yielding,
        Self::Held,
        Self::Restoring,
        Self::Mining,
        Self::Ready,
        Self::InFlight,
        Self::Retry,
        Self::Parked,
        Self::Archiving,
    ];

    /// The `stage` label of the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Noting => "noting",
            Self::Yielding => "yielding",
            Self::Held => "held",
            Self::Restoring => "restoring",
            Self::Mining => "mining",
            Self::Ready => "ready",
            Self::InFlight => "in_flight",
            Self::Retry => "retry",
            Self::Parked => "parked",
            Self::Archiving => "archiving",
        }
    }
}

/// How many jobs stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depths([[usize; Stage::COUNT]; 2]);

impl Depths {
    /// Jobs of one direction in one stage.
    #[must_use]
    pub fn of(&self, direction: Direction, stage: Stage) -> usize {
        self.0[direction as usize][stage as usize]
    }

    /// All jobs of one direction.
    #[must_use]
    pub fn total(&self, direction: Direction) -> usize {
        self.0[direction as usize].iter().sum()
    }
}

/// What a job carries, as far as it has come.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing yet.
    Start,
    /// What is to be done once the journal has it.
    Noted(Box<Step>),
    /// An envelope, to be wrapped when its time comes.
    Envelope(Arc<Envelope>),
    /// A message's data, to be mined when its time comes, or being mined for an envelope with this time to live.
    Frame { framed: Framed, ttl: u32 },
    /// A restored message that v2 may not have, and the envelope that gave it.
    Restore { message: WakuMessage, envelope: Arc<Envelope> },
    /// An encoded message, and the envelope that makes another when its time is over.
    Publish { data: Bytes, again: Option<Arc<Envelope>> },
    /// A sealed envelope.
    Post(Envelope),
    /// What became of it, and when.
    Ended { outcome: Outcome, at: Now },
}

impl From<Yielded> for Work {
    fn from(what: Yielded) -> Self {
        match what {
            Yielded::Envelope(envelope) => Self::Envelope(envelope),
            Yielded::Frame(framed) => Self::Frame { framed, ttl: 0 },
            Yielded::Post(envelope) => Self::Post(envelope),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) passage: Passage,
    pub(crate) work: Work,
    /// Failed attempts since the far side last gained a peer.
    pub(crate) attempts: u8,
    /// The last attempt found nobody free to prove it.
    pub(crate) waits_for_proof: bool,
    /// After this the far side would refuse it.
    pub(crate) until: Instant,
    stage: Stage,
    due: Option<Instant>,
}

impl Job {
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// The lowest is shed first.
    fn shed_rank(&self, id: JobId) -> (bool, u8, JobId) {
        (self.stage != Stage::Archiving, self.passage.priority(), id)
    }
}

#[derive(Debug, Default)]
pub(crate) struct JobTable {
    jobs: BTreeMap<JobId, Job>,
    next_id: u64,
    due: BTreeSet<(Instant, JobId)>,
    /// Ready jobs, the highest priority and then the oldest last: popped from the end.
    ready: [BTreeSet<(u8, std::cmp::Reverse<JobId>)>; 2],
    /// What may be shed, first to go first.
    sheddable: [BTreeSet<(bool, u8, JobId)>; 2],
    bytes: [usize; 2],
    depths: Depths,
}

impl JobTable {
    /// Takes a job in, with nothing to do yet.
    pub(crate) fn insert(&mut self, passage: Passage, at: Instant) -> JobId {
        let id = JobId(self.next_id);
        self.next_id += 1;
        let direction = passage.direction as usize;
        self.bytes[direction] += passage.bytes;
        let stage = Stage::Held;
        let job = Job { passage, work: Work::Start, attempts: 0, waits_for_proof: false, until: at, stage, due: None };
        self.enter(id, &job);
        self.jobs.insert(id, job);
        id
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// All of them, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(&id)
    }

    /// Moves a job to a stage, to be looked at when `due`.
    pub(crate) fn set_stage(&mut self, id: JobId, stage: Stage, due: Option<Instant>) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        self.leave(id, &job);
        job.stage = stage;
        job.due = due;
        self.enter(id, &job);
        self.jobs.insert(id, job);
    }

    pub(crate) fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.leave(id, &job);
        self.bytes[job.passage.direction as usize] -= job.passage.bytes;
        Some(job)
    }

    /// A job whose time has come. It stays where it is.
    pub(crate) fn first_due(&self, at: Instant) -> Option<JobId> {
        self.due.first().filter(|(due, _)| *due <= at).map(|(_, id)| *id)
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The ready job to go next.
    pub(crate) fn next_ready(&self, direction: Direction) -> Option<JobId> {
        self.ready[direction as usize].last().map(|(_, id)| id.0)
    }

    /// The job to shed next, while the direction holds more than it may.
    pub(crate) fn next_shed(&self, direction: Direction, limits: &Limits) -> Option<JobId> {
        let over =
            self.depths.total(direction) > limits.max_jobs || self.bytes[direction as usize] > limits.max_job_bytes;
        self.sheddable[direction as usize].first().filter(|_| over).map(|(.., id)| *id)
    }

    /// Is half of the room of a direction free?
    pub(crate) fn has_half_free(&self, direction: Direction, limits: &Limits) -> bool {
        self.depths.total(direction) < limits.max_jobs.div_ceil(2)
            && self.bytes[direction as usize] < limits.max_job_bytes.div_ceil(2)
    }

    pub(crate) fn in_stage(&self, direction: Direction, stage: Stage) -> Vec<JobId> {
        self.jobs
            .iter()
            .filter(|(_, job)| job.stage == stage && job.passage.direction == direction)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn depths(&self) -> Depths {
        self.depths
    }

    fn enter(&mut self, id: JobId, job: &Job) {
        let direction = job.passage.direction as usize;
        self.depths.0[direction][job.stage as usize] += 1;
        if let Some(due) = job.due {
            self.due.insert((due, id));
        }
        if job.stage == Stage::Ready {
            self.ready[direction].insert((job.passage.priority(), std::cmp::Reverse(id)));
        }
        if job.stage != Stage::InFlight {
            self.sheddable[direction].insert(job.shed_rank(id));
        }
    }

    fn leave(&mut self, id: JobId, job: &Job) {
        let direction = job.passage.direction as usize;
        self.depths.0[direction][job.stage as usize] -= 1;
        if let Some(due) = job.due {
            self.due.remove(&(due, id));
        }
        self.ready[direction].remove(&(job.passage.priority(), std::cmp::Reverse(id)));
        self.sheddable[direction].remove(&job.shed_rank(id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        passage::tests::{now, passage},
        policy::Ways,
        router::Route,
    };

    const WAY: Direction = Direction::V1ToV2;

    fn with_priority(priority: u8, bytes: usize) -> Passage {
        let mut route = Route::everything("/waku/2/rs/0/0".parse().unwrap(), Ways::Both);
        route.priority = priority;
        Passage { route: Some(route.into()), bytes, ..passage(WAY) }
    }

    fn table(jobs: &[(u8, usize)]) -> JobTable {
        let mut table = JobTable::default();
        for (priority, bytes) in jobs {
            let id = table.insert(with_priority(*priority, *bytes), now().instant);
            table.set_stage(id, Stage::Ready, None);
        }
        table
    }

    #[test]
    fn the_oldest_of_the_lowest_priority_is_shed() {
        let limits = Limits { max_jobs: 2, ..Limits::default() };
        let mut table = table(&[(1, 0), (0, 0), (0, 0), (1, 0)]);
        assert_eq!(table.next_shed(WAY, &limits), Some(JobId(1)));
        table.remove(JobId(1));
        assert_eq!(table.next_shed(WAY, &limits), Some(JobId(2)));
        table.remove(JobId(2));
        assert_eq!(table.next_shed(WAY, &limits), None, "two are allowed");
        assert_eq!(table.next_shed(Direction::V2ToV1, &limits), None);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let limits = Limits { max_job_bytes: 100, ..Limits::default() };
        let mut table = table(&[(0, 60), (0, 60)]);
        assert_eq!(table.next_shed(WAY, &limits), Some(JobId(0)));
        table.remove(JobId(0));
        assert_eq!(table.next_shed(WAY, &limits), None);
    }

    #[test]
    fn what_is_in_flight_is_not_shed() {
        let limits = Limits { max_jobs: 1, ..Limits::default() };
        let mut table = table(&[(0, 0), (0, 0)]);
        table.set_stage(JobId(0), Stage::InFlight, None);
        assert_eq!(table.next_shed(WAY, &limits), Some(JobId(1)));
    }

    #[test]
    fn what_waits_for_the_archive_goes_before_what_waits_to_cross() {
        let limits = Limits { max_jobs: 1, ..Limits::default() };
        let mut table = table(&[(0, 0), (9, 0)]);
        table.set_stage(JobId(1), Stage::Archiving, None);
        assert_eq!(table.next_shed(WAY, &limits), Some(JobId(1)));
    }

    #[test]
    fn the_highest_priority_goes_first_and_of_these_the_oldest() {
        let mut table = table(&[(0, 0), (1, 0), (1, 0)]);
        let mut order = Vec::new();
        while let Some(id) = table.next_ready(WAY) {
            table.set_stage(id, Stage::InFlight, None);
            order.push(id.0);
        }
        assert_eq!(order, [1, 2, 0]);
        assert_eq!((table.depths().of(WAY, Stage::InFlight), table.depths().total(WAY)), (3, 3));
    }

    #[test]
    fn a_job_is_due_once() {
        let mut table = table(&[(0, 0)]);
        let later = now().instant + Duration::from_secs(1);
        table.set_stage(JobId(0), Stage::Retry, Some(later));
        assert_eq!((table.first_due(now().instant), table.next_due()), (None, Some(later)));
        assert_eq!(table.first_due(later), Some(JobId(0)));
        table.set_stage(JobId(0), Stage::InFlight, None);
        assert_eq!((table.first_due(later), table.next_due()), (None, None));
        assert!(table.remove(JobId(0)).is_some() && table.remove(JobId(0)).is_none());
    }
}
