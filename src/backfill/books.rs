//! What is missing of a bridge's history, shared by all who fetch it, and written down.
//!
//! Every `LOOK` it is looked who is there, and what changed is written, so that after a kill at most that much more is asked for than was
//! missed. What can't be written is told once, and tried again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bridge::backfill::{Ledger, Reach, Source, Task};
use devp2p::clock::now;
use tokio::time::{MissedTickBehavior, interval};

use crate::storage::courses::{Courses, Left};

/// How often it is looked who is there.
pub const LOOK: Duration = Duration::from_secs(5);

/// The books of a running bridge.
#[derive(Debug)]
pub struct Books {
    ledger: Mutex<Ledger>,
    bridge: bridge::Handle,
    table: Courses,
    /// Rows that were new here, by side.
    came: [AtomicU64; 2],
    is_broken: AtomicBool,
}

impl Books {
    /// Goes on with what an earlier life left.
    #[must_use]
    pub fn open(table: Courses, left: Left, bridge: bridge::Handle, v1: Option<Reach>, v2: Option<Reach>) -> Arc<Self> {
        let mut ledger = Ledger::new(v1, v2);
        ledger.restore(left.courses);
        let books = Self {
            ledger: Mutex::new(ledger),
            bridge,
            table,
            came: Default::default(),
            is_broken: AtomicBool::new(false),
        };
        books.change(|ledger, at, bridge| ledger.follow(at, &bridge.routes()));
        Arc::new(books)
    }

    /// Keeps them, until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look();
            self.save().await;
        }
    }

    /// Follows the bridge's routes, and who is there.
    pub fn look(&self) {
        self.change(|ledger, at, bridge| {
            ledger.follow(at, &bridge.routes());
            let sources = bridge.sources();
            ledger.look(at, |source| match source {
                Source::V1 => sources.v1,
                Source::V2(topic) => sources.v2.contains(topic),
            });
        });
    }

    /// Writes them down.
    pub async fn save(&self) {
        let left = Left { courses: self.bridge.courses(), gaps: self.bridge.gaps() };
        let written = self.table.write(&left).await;
        let was_broken = self.is_broken.swap(written.is_err(), Relaxed);
        match written {
            Err(error) if !was_broken => {
                tracing::error!(%error, "what is missing of history can't be written down: after a crash more is asked for again");
            }
            _ => {}
        }
    }

    /// What to ask one side for next.
    pub fn next(&self, wants: impl Fn(&Source) -> bool) -> Option<Task> {
        self.change(|ledger, at, _| ledger.next(at, wants))
    }

    /// All of a task up to this second is here; `came` are the rows that were new, by route.
    pub fn advance(&self, task: &Task, until: u64, came: &BTreeMap<Arc<str>, u64>) {
        self.came[side(&task.source)].fetch_add(came.values().sum(), Relaxed);
        self.change(|ledger, _, _| ledger.advance(task, until, came));
    }

    /// Nobody gave the rest of it.
    pub fn fail(&self, task: &Task) {
        self.change(|ledger, _, _| ledger.fail(task));
    }

    /// The bridge's routes.
    #[must_use]
    pub fn routes(&self) -> bridge::router::Router {
        self.bridge.routes()
    }

    /// Rows that were new here: of v1, and of v2.
    #[must_use]
    pub fn came(&self) -> [u64; 2] {
        [0, 1].map(|side| self.came[side].load(Relaxed))
    }

    /// Changes something, and has the bridge tell of it.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger, u64, &bridge::Handle) -> T) -> T {
        // What a panic leaves is whole: each change is.
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut ledger, now().unix_secs(), &self.bridge);
        self.bridge.set_courses(ledger.courses().cloned().collect());
        done
    }
}

const fn side(source: &Source) -> usize {
    match source {
        Source::V1 => 0,
        Source::V2(_) => 1,
    }
}
