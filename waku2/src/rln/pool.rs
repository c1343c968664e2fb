//! The shell around a verifier: blocking tasks of its own, a queue in which peers take turns, batches.
//!
//! A lone message is verified at once. While all workers are busy what comes gathers, and goes in one batch then, which costs a
//! quarter for each: so under load batches grow by themselves. Limits: [`WORKERS`] tasks, [`BATCH`] messages in a batch,
//! [`QUEUE`] in the queue, [`ANSWER_WITHIN`] from the queue to the answer. Nothing here waits, except for whoever wants an answer.
//!
//! A thread that verifies can't be stopped. One that does not come back keeps its place among the tasks, and what it was given, and what
//! waits behind it, is let go when its time is over (`Pool::late`): it has no answer then, whatever is said of it later.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use devp2p::clock::now;
use libp2p::PeerId;
use tokio::task::{Id, JoinSet};
use tracing::error;

use super::{Verify, counters::Counters, proof::RateLimitProof, turns::Turns};

/// Most messages that wait: a quarter of a second's work for one worker. With the largest ones, 75 MiB.
///
/// Full, the newest of the peer with the most is ignored: [`crate::proof::Finding::Busy`].
pub const QUEUE: usize = 512;

/// Most in a batch. Beyond it a batch gains little, and its first message waits for its last.
pub const BATCH: usize = 64;

/// Batches verified at a time.  A setting: [`super::Config::workers`].
pub const WORKERS: usize = 2;

/// How long a proof has for its answer, a thousand times what it takes. Gossip keeps a message for five seconds at least: one that is
/// accepted later might not be passed on.
///
/// Over, its message is ignored: [`crate::proof::Finding::Busy`].
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What was found of a batch. `None` where the verifier did not answer.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) item: T,
    pub(crate) holds: Option<bool>,
}

/// The pool. An item is whatever belongs to a proof.
pub(crate) struct Pool<T> {
    verifier: Arc<dyn Verify>,
    workers: usize,
    waiting: Turns<PeerId, (RateLimitProof, Timed<T>)>,
    running: JoinSet<(Vec<bool>, u64)>,
    /// What belongs to each batch that runs, in its order; nothing where it was let go.
    items: HashMap<Id, Vec<Option<Timed<T>>>>,
    /// Until then nothing is late.
    due: Option<Instant>,
}

/// An item, and until when it waits for its answer.
struct Timed<T> {
    until: Instant,
    item: T,
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("waiting", &self.waiting.len()).field("running", &self.items.len()).finish()
    }
}

impl<T> Pool<T> {
    pub(crate) fn new(verifier: Arc<dyn Verify>, workers: usize) -> Self {
        let waiting = Turns::new(QUEUE);
        Self { verifier, workers: workers.max(1), waiting, running: JoinSet::new(), items: HashMap::new(), due: None }
    }

    /// One of `peer`. Gives what finds no room: this one, or another.
    pub(crate) fn verify(&mut self, at: Instant, peer: PeerId, proof: RateLimitProof, item: T) -> Option<T> {
        let until = at + ANSWER_WITHIN;
        self.due.get_or_insert(until);
        let dropped = self.waiting.push(peer, (proof, Timed { until, item }));
        self.begin();
        dropped.map(|(_, timed)| timed.item)
    }

    /// When to ask for those that are [`Self::late`].
    pub(crate) const fn next(&self) -> Option<Instant> {
        self.due
    }

    /// Those that have waited too long for their answer, and get none any more.
    pub(crate) fn late(&mut self, at: Instant, counters: &Counters) -> Vec<T> {
        let running = self.items.values_mut().flatten().filter_map(|slot| slot.take_if(|timed| timed.until <= at));
        let mut late: Vec<T> = running.map(|timed| timed.item).collect();
        late.extend(self.waiting.take_while(|(_, timed)| timed.until <= at).into_iter().map(|(_, timed)| timed.item));
        let waiting = self.waiting.firsts().map(|(_, timed)| timed.until);
        self.due = waiting.chain(self.items.values().flatten().flatten().map(|timed| timed.until)).min();
        counters.late.fetch_add(late.len() as u64, Relaxed);
        late
    }

    /// The answers to the next batch that ends; for ever pending while there is none. Safe to cancel.
    pub(crate) async fn answers(&mut self, counters: &Counters) -> Vec<Answer<T>> {
        let ended = match self.running.join_next_with_id().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        };
        let (id, answers) = match ended {
            Ok((id, (answers, nanos))) => {
                count(counters, answers.len(), nanos);
                (id, answers)
            }
            Err(failure) => {
                error!(%failure, "the verifier of proofs failed");
                counters.failed.fetch_add(1, Relaxed);
                (failure.id(), Vec::new())
            }
        };
        let items = self.items.remove(&id).unwrap_or_default();
        self.begin();
        let answers = answers.into_iter().map(Some).chain(std::iter::repeat(None));
        let answered = items.into_iter().zip(answers);
        answered.filter_map(|(timed, holds)| Some(Answer { item: timed?.item, holds })).collect()
    }

    /// How many wait, those that are being verified not counted.
    pub(crate) const fn len(&self) -> usize {
        self.waiting.len()
    }

    fn begin(&mut self) {
        while self.running.len() < self.workers && !self.waiting.is_empty() {
            let taken = self.waiting.take(BATCH).into_iter().map(|(proof, timed)| (proof, Some(timed)));
            let (proofs, items): (Vec<_>, Vec<_>) = taken.unzip();
            let verifier = Arc::clone(&self.verifier);
            let task = self.running.spawn_blocking(move || timed(|| verifier.verify(&proofs)));
            self.items.insert(task.id(), items);
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let began: Instant = now().instant;
    let done = work();
    let took = now().instant.saturating_duration_since(began);
    (done, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))
}

fn count(counters: &Counters, proofs: usize, nanos: u64) {
    let proofs = proofs as u64;
    counters.verified.fetch_add(proofs, Relaxed);
    counters.batches.fetch_add(1, Relaxed);
    counters.nanos.fetch_add(nanos, Relaxed);
    counters.last_nanos.store(nanos.checked_div(proofs).unwrap_or_default(), Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Says of each what its first byte says, once it is let.
    #[derive(Debug)]
    struct Slow {
        go: Mutex<mpsc::Receiver<()>>,
        batches: Mutex<Vec<usize>>,
    }

    impl Verify for Slow {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            self.go.lock().unwrap().recv().unwrap();
            self.batches.lock().unwrap().push(proofs.len());
            proofs.iter().map(|proof| proof.snark[0] == 1).collect()
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl Verify for Broken {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            assert_ne!(proofs.len(), 1, "planted");
            vec![true]
        }
    }

    fn proof(first: u8) -> RateLimitProof {
        RateLimitProof {
            snark: [first; 128],
            root: [0; 32],
            epoch: [0; 32],
            share_x: [0; 32],
            share_y: [0; 32],
            nullifier: [0; 32],
            identifier: [0; 32],
        }
    }

    fn at() -> Instant {
        now().instant
    }

    fn answered<T>(answers: Vec<Answer<T>>) -> Vec<(T, Option<bool>)> {
        answers.into_iter().map(|answer| (answer.item, answer.holds)).collect()
    }

    #[tokio::test]
    async fn a_lone_one_goes_at_once_and_what_gathers_goes_together() {
        let (go, gone) = mpsc::sync_channel(3);
        let verifier = Arc::new(Slow { go: Mutex::new(gone), batches: Mutex::default() });
        let (mut pool, counters, peer) = (Pool::new(verifier.clone(), 1), Counters::default(), PeerId::random());
        assert!(pool.verify(at(), peer, proof(1), 0).is_none());
        assert_eq!(pool.len(), 0, "it is on its way");
        for n in 1..=100 {
            assert!(pool.verify(at(), peer, proof((n % 2) as u8), n).is_none());
        }
        assert_eq!(pool.len(), 100);
        (0..3).for_each(|_| go.send(()).unwrap());
        assert_eq!(answered(pool.answers(&counters).await), [(0, Some(true))]);
        let next = answered(pool.answers(&counters).await);
        assert!(next.iter().map(|(n, holds)| (*n, *holds)).eq((1..=64).map(|n| (n, Some(n % 2 == 1)))));
        assert_eq!(pool.answers(&counters).await.len(), 36);
        assert_eq!(*verifier.batches.lock().unwrap(), [1, 64, 36]);
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        assert_eq!((read(&counters.batches), read(&counters.verified)), (3, 101));
    }

    #[tokio::test]
    async fn h80_full_the_newest_of_who_has_the_most_goes() {
        let (go, gone) = mpsc::sync_channel(3);
        let verifier = Arc::new(Slow { go: Mutex::new(gone), batches: Mutex::default() });
        let (mut pool, [loud, quiet]) = (Pool::new(verifier, 1), [PeerId::random(), PeerId::random()]);
        for n in 0..=QUEUE {
            assert!(pool.verify(at(), loud, proof(1), n).is_none());
        }
        assert_eq!(pool.verify(at(), quiet, proof(1), 9_999), Some(QUEUE));
        assert_eq!(pool.len(), QUEUE);
        go.send(()).unwrap();
        go.send(()).unwrap();
        let counters = Counters::default();
        assert_eq!(pool.answers(&counters).await.len(), 1);
        let batch = answered(pool.answers(&counters).await);
        assert_eq!(batch[1].0, 9_999, "it waits for a turn, not for all of the other's");
        // What runs at the end of the test ends with its sender.
        drop(go);
    }

    #[tokio::test]
    async fn a_verifier_that_fails_or_says_too_little_leaves_nobody_waiting() {
        let (mut pool, counters, peer) = (Pool::new(Arc::new(Broken), 1), Counters::default(), PeerId::random());
        for n in 0..4 {
            assert!(pool.verify(at(), peer, proof(1), n).is_none());
        }
        assert_eq!(answered(pool.answers(&counters).await), [(0, None)]);
        assert_eq!(answered(pool.answers(&counters).await), [(1, Some(true)), (2, None), (3, None)]);
        assert_eq!((counters.failed.load(Relaxed), pool.running.len()), (1, 0));
    }

    #[tokio::test]
    async fn h80_a_verifier_that_does_not_answer_holds_nobody_up_and_is_not_believed_later() {
        let (go, gone) = mpsc::sync_channel(3);
        let verifier = Arc::new(Slow { go: Mutex::new(gone), batches: Mutex::default() });
        let (mut pool, counters, peer) = (Pool::new(verifier, 1), Counters::default(), PeerId::random());
        let (began, second) = (at(), Duration::from_secs(1));
        assert_eq!(pool.next(), None);
        for n in 0..4 {
            assert!(pool.verify(began + second * n, peer, proof(1), n).is_none());
        }
        // The first is being verified, the others wait behind it.
        assert_eq!((pool.next(), pool.len()), (Some(began + ANSWER_WITHIN), 3));
        let mut late = |after| pool.late(began + after, &counters);
        assert!(late(ANSWER_WITHIN - Duration::from_nanos(1)).is_empty());
        assert_eq!(late(ANSWER_WITHIN), [0]);
        assert_eq!(late(ANSWER_WITHIN + second * 2), [1, 2]);
        assert_eq!((pool.next(), pool.len()), (Some(began + second * 3 + ANSWER_WITHIN), 1));
        (0..2).for_each(|_| go.send(()).unwrap());
        assert_eq!(answered(pool.answers(&counters).await), [], "too late to be accepted");
        assert_eq!(answered(pool.answers(&counters).await), [(3, Some(true))], "the next one is heard again");
        assert!(pool.late(began + second * 60, &counters).is_empty() && pool.next().is_none());
        assert_eq!(counters.late.load(Relaxed), 3);
    }

    #[tokio::test]
    async fn h80_of_a_batch_those_are_let_go_whose_time_is_over() {
        let (go, gone) = mpsc::sync_channel(3);
        let verifier = Arc::new(Slow { go: Mutex::new(gone), batches: Mutex::default() });
        let (mut pool, counters, peer) = (Pool::new(verifier, 1), Counters::default(), PeerId::random());
        let began = at();
        assert!(pool.verify(began, peer, proof(1), 0).is_none());
        for n in 1..4_u32 {
            assert!(pool.verify(began + Duration::from_secs(n.into()), peer, proof((n % 2) as u8), n).is_none());
        }
        go.send(()).unwrap();
        assert_eq!(answered(pool.answers(&counters).await), [(0, Some(true))]);
        assert_eq!(pool.late(began + Duration::from_secs(2) + ANSWER_WITHIN, &counters), [1, 2]);
        go.send(()).unwrap();
        assert_eq!(answered(pool.answers(&counters).await), [(3, Some(true))], "each has its own answer");
    }
}
