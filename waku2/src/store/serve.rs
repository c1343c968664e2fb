//! The serving side: store as an [`Answer`].
//!
//! An answer is in memory until its peer has read it. Limits: [`LARGE_BYTES`] each that is not counted, and [`MAX_BYTES`] of larger ones
//! together; a page beyond is answered with "too many requests", as what is over a rate limit is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use devp2p::{Now, clock::now};
use futures::{FutureExt, future::BoxFuture};
use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    query::History,
    server::{self, Answered},
};
use crate::service::{Answer, Protocol};

/// An answer up to this is not counted: with as many as are given at a time, 32 MiB.
pub const LARGE_BYTES: usize = 256 * 1024;
/// All larger answers that peers have not read yet, in bytes.
pub const MAX_BYTES: usize = 128 * 1024 * 1024;
/// The unit of that bound, in bytes.
const UNIT_BYTES: usize = 1_024;

/// What became of the requests of one protocol. Every number only grows, except `last_query_micros`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answered with a page.
    pub pages: AtomicU64,
    /// No request, or one that makes no sense.
    pub refused: AtomicU64,
    /// History could not be read.
    pub failed: AtomicU64,
    /// Too many at a time, or too often.
    pub too_many: AtomicU64,
    /// How long the last answer took to be made, in microseconds: nearly all of it is reading history.
    pub last_query_micros: AtomicU64,
}

impl Counters {
    fn count(&self, answered: Answered) {
        let counter = match answered {
            Answered::Page => &self.pages,
            Answered::Refused => &self.refused,
            Answered::Failed => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// Store in one of its versions.
pub struct Store {
    history: Arc<dyn History>,
    is_legacy: bool,
    counters: Arc<Counters>,
    room: Arc<Semaphore>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("is_legacy", &self.is_legacy).finish_non_exhaustive()
    }
}

impl Store {
    /// Store 3.
    #[must_use]
    pub fn v3(history: Arc<dyn History>) -> Self {
        Self::new(history, false)
    }

    /// Store 2.0.0-beta4.
    #[must_use]
    pub fn legacy(history: Arc<dyn History>) -> Self {
        Self::new(history, true)
    }

    fn new(history: Arc<dyn History>, is_legacy: bool) -> Self {
        let room = Arc::new(Semaphore::new(MAX_BYTES / UNIT_BYTES));
        Self { history, is_legacy, counters: Arc::default(), room }
    }

    /// The protocol that it answers.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        if self.is_legacy { Protocol::StoreLegacy } else { Protocol::StoreV3 }
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    async fn respond(&self, request: Bytes) -> Bytes {
        let began = now().instant;
        let (answer, answered) = match self.is_legacy {
            true => server::answer_legacy(&*self.history, request).await,
            false => server::answer(&*self.history, request).await,
        };
        let took = now().instant.saturating_duration_since(began).as_micros();
        self.counters.last_query_micros.store(u64::try_from(took).unwrap_or(u64::MAX), Relaxed);
        match self.bounded(answer) {
            Some(answer) => {
                self.counters.count(answered);
                answer
            }
            None => self.too_many(),
        }
    }

    /// The same bytes, which hold their part of the room as long as there are any; `None` when there is no room.
    fn bounded(&self, answer: Bytes) -> Option<Bytes> {
        if answer.len() <= LARGE_BYTES {
            return Some(answer);
        }
        let units = u32::try_from(answer.len().div_ceil(UNIT_BYTES)).ok()?;
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units).ok()?;
        Some(Bytes::from_owner(Held { answer, _permit: permit }))
    }

    fn too_many(&self) -> Bytes {
        self.counters.too_many.fetch_add(1, Relaxed);
        if self.is_legacy { server::too_many_legacy() } else { server::too_many() }
    }
}

impl Answer for Store {
    fn answer(&self, _: PeerId, request: Bytes, _: Now) -> BoxFuture<'_, Option<Bytes>> {
        async move { Some(self.respond(request).await) }.boxed()
    }

    fn refused(&self) -> Option<Bytes> {
        Some(self.too_many())
    }
}

/// An answer and its part of the room.
struct Held {
    answer: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::store::{
        legacy,
        query::{Query, Selection},
        server::tests::{Naive, message},
        wire,
    };

    fn ask(store: &Store) -> Bytes {
        let query = Query { selection: Selection::all(), cursor: None, forward: true, limit: 100, include_data: true };
        block_on(store.answer(PeerId::random(), wire::Request::encode("x", &query), now())).unwrap()
    }

    fn status(answer: &Bytes) -> wire::Status {
        wire::Response::decode(answer.clone()).unwrap().status
    }

    #[test]
    fn large_answers_have_room_while_they_are_read() {
        let large: &'static [u8] = vec![7; 1 << 20].leak();
        let history = Naive::of((1..=14).map(|nanos| ("/waku/2/rs/1/1", message(large, nanos))));
        let store = Store::v3(Arc::new(history));
        let unread: Vec<Bytes> = (0..MAX_BYTES / (14 << 20)).map(|_| ask(&store)).collect();
        assert!(unread.len() == 9 && unread.iter().all(|answer| status(answer) == wire::Status::Ok));
        assert_eq!(status(&ask(&store)), wire::Status::TooManyRequests);
        drop(unread);
        assert_eq!(status(&ask(&store)), wire::Status::Ok, "it is given back");
        assert_eq!((store.counters.pages.load(Relaxed), store.counters.too_many.load(Relaxed)), (10, 1));
    }

    #[test]
    fn what_is_too_much_is_refused_in_either_version() {
        let history: Arc<dyn History> = Arc::new(Naive::default());
        let refused = Store::v3(Arc::clone(&history)).refused().unwrap();
        assert_eq!(status(&refused), wire::Status::TooManyRequests);
        let legacy = Store::legacy(history);
        assert_eq!(legacy.protocol(), Protocol::StoreLegacy);
        let refused = legacy::Response::decode(legacy.refused().unwrap()).unwrap();
        assert_eq!(refused.outcome, legacy::Outcome::TooManyRequests);
    }
}
