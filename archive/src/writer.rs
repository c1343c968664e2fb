//! The one task that writes: it takes what has come meanwhile as one batch, and answers when that is on disk.
//!
//! Between batches it deletes what retention lets go, a little at a time. A batch that can't be written is answered with an error and
//! counted; the next one is tried again, so a disk that has space again needs no word from anybody.
//!
//! Limits: a batch has [`MAX_BATCH`] rows and [`MAX_BATCH_BYTES`]; [`QUEUE`] rows and [`QUEUE_BYTES`] wait. Then
//! [`Writer::append`] waits, and [`Writer::offer`] is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    archive::Archive,
    error::Error,
    query::Appended,
    retention::{Excess, Retention},
    row::Row,
};

/// Rows in a batch.
pub const MAX_BATCH: usize = 1_000;
/// Bytes in a batch, one row's more at most: 8 MiB.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
/// Rows that wait.
pub const QUEUE: usize = 4 * MAX_BATCH;
/// Bytes that wait: 64 MiB.
pub const QUEUE_BYTES: usize = 64 << 20;
/// What a permit is for, in bytes.
const PERMIT_BYTES: usize = 1_024;

/// Rows that one deletion takes at first, and at least and at most.
const CHUNK: (usize, usize, usize) = (100, 25, 4_000);
/// A deletion is to take between these.
const CHUNK_TIME: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(25));

/// How a writer works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What is kept.
    pub retention: Retention,
    /// How often it is looked at.
    pub trim_every: Duration,
    /// The wall clock, in unix seconds.
    pub clock: fn() -> u64,
}

/// A row was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The batch it was in could not be written; why is in the log.
    #[error("the archive can't be written: {0}")]
    Failed(Arc<str>),
    /// Too many wait.
    #[error("too many rows wait to be written")]
    Busy,
    /// The writer has ended.
    #[error("the archive is closed")]
    Closed,
}

/// A row on its way, and who waits for it.
#[derive(Debug)]
struct Job {
    row: Row,
    done: oneshot::Sender<Result<Appended, AppendError>>,
    /// Its share of [`QUEUE_BYTES`].
    _permit: OwnedSemaphorePermit,
}

/// What will become of a row: an answer that may be waited for, or not.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Appended, AppendError>>);

impl Pending {
    /// Waits until the row is on disk. Safe to be given up: the row is written all the same.
    ///
    /// # Errors
    /// [`AppendError`]: it is not.
    pub async fn durable(self) -> Result<Appended, AppendError> {
        self.0.await.unwrap_or(Err(AppendError::Closed))
    }
}

/// What the writer has done.
#[derive(Debug, Default)]
struct State {
    broken: AtomicBool,
    failures: AtomicU64,
    retention_failures: AtomicU64,
    stored: AtomicU64,
    trimmed: AtomicU64,
}

/// Where rows are handed in. Cheap to clone; the task ends when all clones are gone and everything is written.
#[derive(Debug, Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    space: Arc<Semaphore>,
    state: Arc<State>,
}

impl Writer {
    /// Starts the task.
    #[must_use]
    pub fn start(archive: Archive, settings: Settings) -> (Self, JoinHandle<()>) {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let state = Arc::<State>::default();
        let task = Task { archive, settings, state: Arc::clone(&state), chunk: CHUNK.0, round: None };
        let space = Arc::new(Semaphore::new(QUEUE_BYTES / PERMIT_BYTES));
        (Self { jobs, space, state }, tokio::spawn(task.run(inbox)))
    }

    /// Hands in a row and waits until it is on disk.
    ///
    /// # Errors
    /// [`AppendError`]: it is not.
    pub async fn append(&self, row: Row) -> Result<Appended, AppendError> {
        self.hand_in(row).await?.durable().await
    }

    /// Hands in a row, waiting only for its place among those that wait.
    ///
    /// # Errors
    /// [`AppendError::Closed`].
    pub async fn hand_in(&self, row: Row) -> Result<Pending, AppendError> {
        let permit = Arc::clone(&self.space).acquire_many_owned(permits(&row)).await;
        let permit = permit.map_err(|_| AppendError::Closed)?;
        let place = self.jobs.reserve().await.map_err(|_| AppendError::Closed)?;
        let (done, pending) = oneshot::channel();
        place.send(Job { row, done, _permit: permit });
        Ok(Pending(pending))
    }

    /// Hands in a row without waiting.
    ///
    /// # Errors
    /// [`AppendError::Busy`] when too many wait, [`AppendError::Closed`].
    pub fn offer(&self, row: Row) -> Result<Pending, AppendError> {
        let permit = Arc::clone(&self.space).try_acquire_many_owned(permits(&row)).map_err(|_| AppendError::Busy)?;
        let (done, pending) = oneshot::channel();
        self.jobs.try_send(Job { row, done, _permit: permit }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Busy,
            mpsc::error::TrySendError::Closed(_) => AppendError::Closed,
        })?;
        Ok(Pending(pending))
    }

    /// Could the last batch be written?
    #[must_use]
    pub fn works(&self) -> bool {
        !self.state.broken.load(Relaxed)
    }

    /// Batches and deletions that failed since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Relaxed)
    }

    /// Of these, deletions.
    #[must_use]
    pub fn retention_failures(&self) -> u64 {
        self.state.retention_failures.load(Relaxed)
    }

    /// New rows since the start.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.state.stored.load(Relaxed)
    }

    /// Rows deleted by retention since the start.
    #[must_use]
    pub fn trimmed(&self) -> u64 {
        self.state.trimmed.load(Relaxed)
    }

    /// Rows that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        QUEUE - self.jobs.capacity()
    }
}

/// A row's share of the queue's bytes; no row has more than all.
fn permits(row: &Row) -> u32 {
    u32::try_from((row.size_bytes() / PERMIT_BYTES + 1).min(QUEUE_BYTES / PERMIT_BYTES)).unwrap_or(u32::MAX)
}

struct Task {
    archive: Archive,
    settings: Settings,
    state: Arc<State>,
    /// Rows that the next deletion takes.
    chunk: usize,
    /// What is being deleted.
    round: Option<Excess>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut ticks = interval(self.settings.trim_every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tending = false;
        let mut turn = true;
        loop {
            let busy = self.round.is_some() || tending;
            tokio::select! {
                biased;
                // While something is left to be deleted, each batch is followed by one step of it.
                first = inbox.recv(), if turn || !busy => match first {
                    None => return,
                    Some(first) => {
                        self.write(batch(first, &mut inbox)).await;
                        turn = false;
                    }
                },
                _ = ticks.tick() => {
                    self.begin_round().await;
                    tending = true;
                }
                () = std::future::ready(()), if busy => {
                    if self.round.is_some() { self.step().await } else { tending = self.tend().await }
                    turn = true;
                }
            }
        }
    }

    async fn write(&self, jobs: Vec<Job>) {
        let (rows, waiting): (Vec<Row>, Vec<_>) =
            jobs.into_iter().map(|job| (job.row, (job.done, job._permit))).unzip();
        let result = self.archive.append(&rows, (self.settings.clock)()).await;
        match &result {
            Ok(outcomes) => {
                let stored = outcomes.iter().filter(|outcome| **outcome == Appended::Stored).count();
                self.state.stored.fetch_add(stored as u64, Relaxed);
                if self.state.broken.swap(false, Relaxed) {
                    tracing::info!("the archive is written again");
                }
            }
            Err(error) => self.failed(error, "the archive can't be written: what comes now is not kept"),
        }
        for (place, (done, _permit)) in waiting.into_iter().enumerate() {
            let answer = match &result {
                Ok(outcomes) => outcomes.get(place).copied().ok_or(AppendError::Closed),
                Err(error) => Err(AppendError::Failed(error.to_string().into())),
            };
            // Whoever handed it in may not wait.
            let _ = done.send(answer);
        }
    }

    /// Counts a failure, and tells of the first of several.
    fn failed(&self, error: &Error, what: &str) {
        self.state.failures.fetch_add(1, Relaxed);
        if !self.state.broken.swap(true, Relaxed) {
            tracing::error!(%error, "{what}");
        }
    }

    async fn begin_round(&mut self) {
        match self.archive.totals().await {
            Ok(totals) => self.round = self.settings.retention.excess(&totals, (self.settings.clock)()),
            Err(error) => self.failed(&error, "the archive can't be read"),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "shell: how long a deletion takes decides how large the next is")]
    async fn step(&mut self) {
        let Some(excess) = self.round else { return };
        let began = Instant::now();
        match self.archive.trim(&excess, self.chunk).await {
            Ok(None) => self.round = None,
            Ok(Some(rows)) => {
                self.state.trimmed.fetch_add(rows, Relaxed);
                let took = began.elapsed();
                if took > CHUNK_TIME.1 {
                    self.chunk = (self.chunk / 2).max(CHUNK.1);
                } else if took < CHUNK_TIME.0 {
                    self.chunk = (self.chunk * 2).min(CHUNK.2);
                }
            }
            Err(error) => {
                self.round = None;
                self.state.retention_failures.fetch_add(1, Relaxed);
                self.failed(&error, "old rows of the archive can't be deleted");
            }
        }
    }

    async fn tend(&self) -> bool {
        match self.archive.tend((self.settings.clock)()).await {
            Ok(more) => more,
            Err(error) => {
                self.failed(&error, "the archive can't be tended");
                false
            }
        }
    }
}

/// What has come, up to a batch.
fn batch(first: Job, inbox: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.row.size_bytes();
    let mut jobs = vec![first];
    while jobs.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
        let Ok(job) = inbox.try_recv() else { break };
        bytes += job.row.size_bytes();
        jobs.push(job);
    }
    jobs
}
