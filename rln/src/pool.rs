//! Where proofs are made: on threads that may block, so many at a time.
//!
//! A proof takes a thread for a tenth of a second and more; without a bound, a burst of messages would take all processors from
//! everything else. So [`PROVERS`] run at a time and [`WAITING`] wait; who comes then is told [`PoolError::Busy`] at once.
//! Work that has begun ends, also when nobody waits for it any more, and keeps its turn until then.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Semaphore, task::spawn_blocking};
use waku2::rln::{NoProof, element::Element, proof::RateLimitProof};

use crate::{
    prove::{Member, Message, ProveError, Prover, Ready},
    tree::Path,
};

/// Proofs that are made at a time: one, so that a node of two processors has the other for what others send. That is several messages a
/// second, where the highest limit of the network lets a member send one.
pub const PROVERS: usize = 1;

/// Those that wait for their turn: five seconds of work.
pub const WAITING: usize = 32;

/// Places under a root that are kept, the last used ones: a few members under the newest root and the one before.
pub const KEPT: usize = 8;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// [`WAITING`] wait already.
    #[error("too many proofs are being made")]
    Busy,
    /// It can't be made.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The work was broken off: a fault, or the program ends.
    #[error("the work was broken off")]
    Ended,
}

impl From<PoolError> for NoProof {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Prove(_) | PoolError::Ended => Self::Failed,
        }
    }
}

/// Makes proofs off the runtime's own threads.
#[derive(Debug, Clone)]
pub struct Pool {
    prover: Arc<Prover>,
    /// Running and waiting.
    places: Arc<Semaphore>,
    /// Running.
    turns: Arc<Semaphore>,
    kept: Arc<Mutex<VecDeque<Arc<Ready>>>>,
}

impl Pool {
    /// One that has nothing to do.
    #[must_use]
    pub fn new(prover: Arc<Prover>) -> Self {
        Self {
            prover,
            places: Arc::new(Semaphore::new(PROVERS + WAITING)),
            turns: Arc::new(Semaphore::new(PROVERS)),
            kept: Arc::default(),
        }
    }

    /// What stays the same for every message of `member` under `root`: kept from before, or worked out now. Worth asking for as soon
    /// as there is a new root, before there is a message. May be cancelled; the work goes on and its result is kept.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn ready(&self, member: &Member, path: &Path, root: &Element) -> Result<Arc<Ready>, PoolError> {
        if let Some(ready) = self.kept(member, root) {
            return Ok(ready);
        }
        let (pool, member, path, root) = (self.clone(), member.clone(), path.clone(), *root);
        self.run(move || pool.work_out(member, path, root)).await
    }

    /// The proof of a message. Its id is spent, also when this is cancelled or fails.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn prove(&self, ready: Arc<Ready>, message: Message) -> Result<RateLimitProof, PoolError> {
        let prover = Arc::clone(&self.prover);
        self.run(move || prover.prove(&ready, &message)).await
    }

    /// Two may ask for the same at a time: who had to wait for its turn looks again.
    fn work_out(&self, member: Member, path: Path, root: Element) -> Result<Arc<Ready>, ProveError> {
        if let Some(ready) = self.kept(&member, &root) {
            return Ok(ready);
        }
        let ready = Arc::new(self.prover.ready(member, path, root)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.push_front(Arc::clone(&ready));
        Ok(ready)
    }

    fn kept(&self, member: &Member, root: &Element) -> Option<Arc<Ready>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|ready| ready.root() == root && ready.member() == member)?;
        let ready = kept.remove(place)?;
        kept.push_front(Arc::clone(&ready));
        Some(ready)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ProveError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PoolError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PoolError::Ended)?;
        let done = spawn_blocking(move || {
            let done = work();
            drop((turn, place));
            done
        });
        Ok(done.await.map_err(|_| PoolError::Ended)??)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};
    use waku2::rln::{epoch::Epoch, proof::IDENTIFIER};

    use super::*;
    use crate::{
        identity::{Identity, Limit},
        tree::Tree,
        verify::Verifier,
    };

    fn pool() -> Pool {
        Pool::new(Arc::new(Prover::new(Arc::new(Verifier::new(&mut StdRng::seed_from_u64(1))))))
    }

    fn member() -> Member {
        Member { identity: Arc::new(Identity::seeded(b"pool")), limit: Limit::new(5).unwrap() }
    }

    fn place() -> (Path, Element) {
        let tree = Tree::new(&[member().leaf()]).unwrap();
        (tree.path(0).unwrap(), tree.root())
    }

    #[tokio::test]
    async fn a_place_is_kept_and_proofs_are_made_from_it() {
        let (pool, member, (path, root)) = (pool(), member(), place());
        let ready = pool.ready(&member, &path, &root).await.unwrap();
        let again = pool.ready(&member, &path, &root).await.unwrap();
        assert!(Arc::ptr_eq(&ready, &again));
        let message = Message { id: 0, x: 1.into(), epoch: Epoch(1), identifier: IDENTIFIER };
        let proof = pool.prove(Arc::clone(&ready), message).await.unwrap();
        assert_eq!(proof.root, *root.bytes());
        let error = pool.prove(ready, Message { id: 5, ..message }).await.unwrap_err();
        assert!(matches!(error, PoolError::Prove(ProveError::OverLimit { .. })));
        assert_eq!(NoProof::from(error), NoProof::Failed);
    }

    /// Nobody's turn ends while the test holds them all, so who comes last finds all places taken, and who gives up leaves one.
    #[tokio::test]
    async fn who_finds_no_place_is_told_at_once() {
        let (pool, member, (path, root)) = (pool(), member(), place());
        let turns = Arc::clone(&pool.turns).acquire_many_owned(PROVERS as u32).await.unwrap();
        let wait = || {
            let (pool, member, path) = (pool.clone(), member.clone(), path.clone());
            async move { pool.ready(&member, &path, &root).await }
        };
        let mut waiting: Vec<_> = (0..PROVERS + WAITING).map(|_| Box::pin(wait())).collect();
        for waits in &mut waiting {
            assert!(polled(waits.as_mut()).is_none());
        }
        let error = wait().await.unwrap_err();
        assert_eq!(NoProof::from(error), NoProof::Busy);
        drop(waiting.pop());
        let mut last = Box::pin(wait());
        assert!(polled(last.as_mut()).is_none());
        drop((turns, waiting));
        assert_eq!(*last.await.unwrap().root(), root);
        assert_eq!(pool.places.available_permits(), PROVERS + WAITING);
    }

    fn polled<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn the_last_used_places_are_kept() {
        let (pool, path) = (pool(), place().0);
        let keep = |n: u64| {
            let member = Member { limit: Limit::new(n).unwrap(), ..member() };
            let root = path.root(&member.leaf());
            (member, root)
        };
        let mut first = None;
        for n in 1..=KEPT as u64 + 1 {
            let (member, root) = keep(n);
            let ready = pool.ready(&member, &path, &root).await.unwrap();
            let (member, root) = keep(1);
            let kept = pool.kept(&member, &root).unwrap();
            assert!(Arc::ptr_eq(first.get_or_insert(ready), &kept), "it is used, so it stays");
        }
        assert_eq!(pool.kept.lock().unwrap().len(), KEPT);
        let (member, root) = keep(2);
        assert!(pool.kept(&member, &root).is_none());
    }
}
