//! The mining pool: threads of their own that search nonces, so that neither network ever waits for proof of work.
//!
//! [`SealQueue`] and [`Search`] are pure and hold the rules; [`SealPool`] is the shell of threads around them. One thread
//! searches one envelope from counter zero up, so the nonce found is the lowest whatever the number of threads, and two
//! bridges find the same. The queue is bounded by count and bytes; full, it sheds whatever expires first.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use devp2p::clock;
use tokio::sync::mpsc;
use waku0::{envelope::Envelope, pow::Unsealed};

use crate::{config::Limits, histogram::Histogram, job::JobId, origin::SEARCH_SPACE};

/// Nonces tried between two looks at deadline, cancellation and stop: a millisecond with eight lanes, a few with one.
pub const CHUNK: u64 = 10_000;

/// An envelope to be mined.
#[derive(Clone)]
pub struct SealJob {
    /// Whose it is.
    pub job: JobId,
    /// Everything but the nonce.
    pub unsealed: Unsealed,
    /// The high bits of the nonce.
    pub base: u64,
    /// Leading zero bits to reach.
    pub bits: u32,
    /// When it is not worth mining any more.
    pub deadline: Instant,
}

impl std::fmt::Debug for SealJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { job, base, bits, deadline, unsealed: _ } = self;
        f.debug_struct("SealJob")
            .field("job", job)
            .field("base", base)
            .field("bits", bits)
            .field("deadline", deadline)
            .finish_non_exhaustive()
    }
}

/// Why an envelope was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No nonce before the deadline, or no thread free before it.
    #[error("not mined before its deadline")]
    Deadline,
    /// None of the nonces that leave the origin tag intact gives enough work.
    #[error("no nonce in the search space has enough work")]
    Exhausted,
    /// The queue was full.
    #[error("the mining queue is full")]
    Shed,
    /// The pool has stopped.
    #[error("the mining pool has stopped")]
    Stopped,
}

/// What became of a [`SealJob`].
pub type Sealed = Result<Envelope, SealError>;

/// One search, a chunk at a time.
#[derive(Debug)]
pub struct Search {
    job: SealJob,
    counter: u64,
}

impl Search {
    /// From counter zero.
    #[must_use]
    pub fn new(job: SealJob) -> Self {
        Self { job, counter: 0 }
    }

    /// Tries another [`CHUNK`] of nonces.
    ///
    /// # Errors
    /// The search itself, while there is more to try.
    pub fn step(mut self, at: Instant) -> Result<Sealed, Box<Self>> {
        if at >= self.job.deadline {
            return Ok(Err(SealError::Deadline));
        }
        let count = CHUNK.min(SEARCH_SPACE - self.counter);
        if let Some(nonce) = self.job.unsealed.search(self.job.base, self.counter, count, self.job.bits) {
            return Ok(Ok(self.job.unsealed.seal(nonce)));
        }
        self.counter += count;
        if self.counter >= SEARCH_SPACE {
            return Ok(Err(SealError::Exhausted));
        }
        Err(Box::new(self))
    }
}

/// What waits for a thread: the nearest deadline first, and of equal ones the easiest.
#[derive(Debug)]
pub struct SealQueue {
    jobs: BTreeMap<(Instant, u32, JobId), SealJob>,
    bytes: usize,
    max_jobs: usize,
    max_bytes: usize,
}

impl SealQueue {
    /// The empty queue of a pool.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { jobs: BTreeMap::new(), bytes: 0, max_jobs: limits.max_seal_jobs, max_bytes: limits.max_seal_bytes }
    }

    /// The empty queue of a bridge, for what the pool has no room for yet: as much as there are jobs.
    pub(crate) fn of_bridge(limits: &Limits) -> Self {
        Self { jobs: BTreeMap::new(), bytes: 0, max_jobs: limits.max_jobs, max_bytes: limits.max_job_bytes }
    }

    /// Takes a job, and returns those that had to go for it: the ones that expire first, the new one among them if it does.
    pub fn push(&mut self, job: SealJob) -> Vec<JobId> {
        self.bytes += job.unsealed.short_rlp_len();
        self.jobs.insert((job.deadline, job.bits, job.job), job);
        let mut shed = Vec::new();
        while self.jobs.len() > self.max_jobs || self.bytes > self.max_bytes {
            let Some(job) = self.pop() else { break };
            shed.push(job.job);
        }
        shed
    }

    /// The next job to mine.
    pub fn pop(&mut self) -> Option<SealJob> {
        let (_, job) = self.jobs.pop_first()?;
        self.bytes -= job.unsealed.short_rlp_len();
        Some(job)
    }

    /// Takes a job out. A walk over the queue: it is short, and this is rare.
    pub fn cancel(&mut self, id: JobId) {
        if let Some(key) = self.jobs.keys().find(|(.., job)| *job == id).copied()
            && let Some(job) = self.jobs.remove(&key)
        {
            self.bytes -= job.unsealed.short_rlp_len();
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

/// Upper bounds for leading zero bits: each four make a search sixteen times as long.
pub const BITS_BUCKETS: [f64; 6] = [2.0, 4.0, 8.0, 12.0, 16.0, 22.0];
/// Upper bounds for the time of a search, in seconds.
pub const MINING_BUCKETS_SECS: [f64; 8] = [0.000_1, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0];

/// What was mined.
#[derive(Debug)]
pub struct Mining {
    /// Leading zero bits that were asked for.
    pub bits: Histogram,
    /// Seconds of one thread.
    pub seconds: Histogram,
}

impl Default for Mining {
    fn default() -> Self {
        Self { bits: Histogram::new(&BITS_BUCKETS), seconds: Histogram::new(&MINING_BUCKETS_SECS) }
    }
}

/// Threads that mine. Dropping it stops them.
#[derive(Debug)]
pub struct SealPool {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    results: mpsc::Sender<(JobId, Sealed)>,
    mining: Arc<Mining>,
}

#[derive(Debug)]
struct State {
    queue: SealQueue,
    /// Being mined, and still wanted.
    running: HashSet<JobId>,
    stopping: bool,
}

impl SealPool {
    /// Starts the threads. Each job submitted is answered once on `results`, unless it is shed, cancelled, or the pool stops.
    /// A thread waits while `results` is full.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        threads: NonZeroUsize,
        limits: &Limits,
        results: mpsc::Sender<(JobId, Sealed)>,
        mining: Arc<Mining>,
    ) -> io::Result<Self> {
        let state = State { queue: SealQueue::new(limits), running: HashSet::new(), stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), results, mining });
        let mut pool = Self { shared, threads: Vec::new() };
        for n in 0..threads.get() {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new().name(format!("seal-{n}")).spawn(move || shared.work())?;
            pool.threads.push(thread); // An error above drops the pool, which stops the threads before it.
        }
        Ok(pool)
    }

    /// Takes a job, and returns those shed for it. Never waits.
    pub fn submit(&self, job: SealJob) -> Vec<JobId> {
        let shed = self.shared.lock().queue.push(job);
        self.shared.wake.notify_one();
        shed
    }

    /// Forgets a job: no answer will come, or has come already.
    pub fn cancel(&self, id: JobId) {
        let mut state = self.shared.lock();
        state.running.remove(&id);
        state.queue.cancel(id);
    }

    /// How many wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Stops the threads and waits for them: a few milliseconds. Blocks, so call it off the runtime's threads, and drop the
    /// receiver of the results first.
    pub fn stop(mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why, and is as gone as the others.
            let _ = thread.join();
        }
    }
}

impl Drop for SealPool {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let id = job.job;
            let Some(sealed) = self.mine(job) else { continue };
            if self.lock().running.remove(&id) && self.results.blocking_send((id, sealed)).is_err() {
                return;
            }
        }
    }

    /// Waits for a job; `None` when the pool stops.
    fn next(&self) -> Option<SealJob> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(job) = state.queue.pop() {
                state.running.insert(job.job);
                return Some(job);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Searches to an end; `None` when nobody wants it any more.
    fn mine(&self, job: SealJob) -> Option<Sealed> {
        let (id, bits, began) = (job.job, job.bits, clock::now().instant);
        let mut search = Search::new(job);
        loop {
            match search.step(clock::now().instant) {
                Ok(sealed) => {
                    self.mining.bits.record(f64::from(bits));
                    let took = clock::now().instant.saturating_duration_since(began);
                    self.mining.seconds.record(took.as_secs_f64());
                    return Some(sealed);
                }
                Err(more) => search = *more,
            }
            let state = self.lock();
            if state.stopping || !state.running.contains(&id) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use waku0::topic::Topic;

    use super::*;
    use crate::{origin::MessageOrigin, passage::tests::now};

    fn job(n: u64, bits: u32, secs: u64) -> SealJob {
        let data = Bytes::from(vec![n as u8; 100]);
        let unsealed = Unsealed::new(1_700_000_015, 15, Topic([1, 2, 3, 4]), data).unwrap();
        let origin = MessageOrigin { exact: true, ephemeral: false, wrapped: false, nanos: Some(123_456_789) };
        SealJob {
            job: JobId(n),
            unsealed,
            base: origin.to_nonce(),
            bits,
            deadline: now().instant + Duration::from_secs(secs),
        }
    }

    fn limits(max_seal_jobs: usize, max_seal_bytes: usize) -> Limits {
        Limits { max_seal_jobs, max_seal_bytes, ..Limits::default() }
    }

    fn finish(mut search: Search) -> Sealed {
        loop {
            match search.step(now().instant) {
                Ok(sealed) => return sealed,
                Err(more) => search = *more,
            }
        }
    }

    #[test]
    fn the_lowest_counter_is_found_and_the_tag_stays() {
        let job = job(1, 12, 10);
        let lowest = (0..).find(|counter| job.unsealed.zero_bits(job.base | counter) >= 12).unwrap();
        let envelope = finish(Search::new(job.clone())).unwrap();
        assert_eq!(envelope.nonce(), job.base | lowest);
        assert_eq!(MessageOrigin::from_nonce(envelope.nonce()).unwrap().to_nonce(), job.base);
    }

    #[test]
    fn a_search_ends_at_its_deadline() {
        let hard = job(1, 200, 10);
        let deadline = hard.deadline;
        let more = Search::new(hard).step(now().instant).unwrap_err();
        assert_eq!(more.step(deadline).unwrap().unwrap_err(), SealError::Deadline);
    }

    #[test]
    fn a_search_ends_with_its_space() {
        let search = Search { counter: SEARCH_SPACE - CHUNK - 1, job: job(1, 200, 10) };
        let more = search.step(now().instant).unwrap_err();
        assert_eq!(more.step(now().instant).unwrap().unwrap_err(), SealError::Exhausted);
    }

    #[test]
    fn the_nearest_deadline_goes_first_then_the_easiest() {
        let mut queue = SealQueue::new(&limits(10, 10_000));
        for job in [job(1, 5, 20), job(2, 9, 10), job(3, 4, 10)] {
            assert!(queue.push(job).is_empty());
        }
        queue.cancel(JobId(2));
        queue.cancel(JobId(9));
        assert_eq!([queue.pop(), queue.pop(), queue.pop()].map(|job| job.map(|j| j.job.0)), [Some(3), Some(1), None]);
        assert_eq!((queue.bytes, queue.len()), (0, 0));
    }

    #[test]
    fn a_full_queue_sheds_what_expires_first() {
        let mut queue = SealQueue::new(&limits(2, 10_000));
        assert!(queue.push(job(1, 5, 20)).is_empty() && queue.push(job(2, 5, 10)).is_empty());
        assert_eq!(queue.push(job(3, 5, 30)), [JobId(2)]);
        assert_eq!(queue.push(job(4, 5, 5)), [JobId(4)], "itself");
        let mut queue = SealQueue::new(&limits(10, 250));
        assert!(queue.push(job(1, 5, 20)).is_empty() && queue.push(job(2, 5, 30)).is_empty());
        assert_eq!(queue.push(job(3, 5, 40)), [JobId(1)], "by bytes");
    }

    /// Mines twenty envelopes on a number of threads.
    fn pooled(threads: usize) -> Vec<u64> {
        let (results, mut answers) = mpsc::channel(32);
        let pool =
            SealPool::start(NonZeroUsize::new(threads).unwrap(), &Limits::default(), results, Arc::default()).unwrap();
        for n in 0..20 {
            assert!(pool.submit(job(n, 10, 3_600)).is_empty());
        }
        let mut nonces: Vec<_> = (0..20)
            .map(|_| answers.blocking_recv().unwrap())
            .map(|(id, sealed)| (id, sealed.unwrap().nonce()))
            .collect();
        pool.stop();
        nonces.sort_unstable();
        nonces.into_iter().map(|(_, nonce)| nonce).collect()
    }

    #[test]
    fn any_number_of_threads_finds_the_same_nonces() {
        let one = pooled(1);
        assert_eq!(one, (0..20).map(|n| finish(Search::new(job(n, 10, 3_600))).unwrap().nonce()).collect::<Vec<_>>());
        assert_eq!(one, pooled(4));
    }

    #[test]
    fn a_cancelled_job_is_not_answered_and_stopping_does_not_wait_for_a_search() {
        let (results, mut answers) = mpsc::channel(32);
        let pool = SealPool::start(NonZeroUsize::MIN, &Limits::default(), results, Arc::default()).unwrap();
        pool.submit(job(1, 256, 3_600));
        pool.cancel(JobId(1));
        pool.submit(job(2, 1, 3_600));
        assert_eq!(answers.blocking_recv().unwrap().0, JobId(2));
        pool.submit(job(3, 256, 3_600));
        drop(answers);
        pool.stop();
    }
}
