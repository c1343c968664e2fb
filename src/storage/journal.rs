//! The bridge's journal on disk: what is on its way, and what became of it ([`bridge::journal`]).
//!
//! A batch is one transaction of at most one row in each of two tables, on disk when it is answered: what a crossing costs here is its
//! bytes, not its rows. A batch that can't be written is answered all the same, counted and told: a full disk must not stop the
//! live networks.
//!
//! Limits: what ended is kept for a day ([`bridge::seen::MAX_WINDOW`]) and as many entries as the bridge remembers, give or take a
//! batch; it is trimmed in steps, so that no batch waits long for it.

mod book;
mod earlier;
mod tables;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bridge::journal::Batch;
use sqlx::SqlitePool;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use self::tables::{Keeper, Left};
use super::Database;

/// Batches on their way: the bridge gives the next one when this one is written.
const BATCHES: usize = 1;

/// How often old rows go.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// The journal in a database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    pool: SqlitePool,
    max_entries: usize,
    failures: Arc<AtomicU64>,
    /// The last write failed.
    broken: Arc<AtomicBool>,
}

impl Journal {
    /// That of a database; at most so many ends are kept.
    #[must_use]
    pub fn new(database: &Database, max_entries: usize) -> Self {
        Self { pool: database.pool.clone(), max_entries, failures: Arc::default(), broken: Arc::default() }
    }

    /// Batches that could not be written since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Could the last batch be written?
    #[must_use]
    pub fn works(&self) -> bool {
        !self.broken.load(Relaxed)
    }

    /// Reads what an earlier life left, and writes what comes from now on, until the sender is gone.
    ///
    /// # Errors
    /// What the database says; nothing runs then.
    pub async fn start(self) -> Result<(bridge::journal::Journal, JoinHandle<()>), sqlx::Error> {
        let (keeper, Left { ended, unfinished }) = self.keeper().await?;
        if !unfinished.is_empty() {
            tracing::info!(count = unfinished.len(), "going on with what was on its way");
        }
        let (batches, inbox) = mpsc::channel(BATCHES);
        Ok((
            bridge::journal::Journal { ended, unfinished, gaps: Vec::new(), batches },
            tokio::spawn(self.keep(keeper, inbox)),
        ))
    }

    async fn keeper(&self) -> Result<(Keeper, Left), sqlx::Error> {
        Keeper::open(&self.pool, self.max_entries).await
    }

    async fn keep(self, mut keeper: Keeper, mut inbox: mpsc::Receiver<Batch>) {
        let mut trims = interval(TRIM_EVERY);
        trims.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first batches come first.
        trims.reset();
        loop {
            tokio::select! {
                biased;
                batch = inbox.recv() => match batch {
                    None => return,
                    Some(Batch { notes, done }) => {
                        self.told(keeper.write(&notes).await, "the bridge's journal can't be written: after a crash, what is on its way now may be lost");
                        // The bridge may have stopped waiting.
                        let _ = done.send(());
                    }
                },
                _ = trims.tick() => self.told(keeper.trim().await, "old rows of the bridge's journal can't be deleted"),
            }
        }
    }

    /// Counts a failure, and tells of the first of several and of their end.
    fn told(&self, result: Result<bool, sqlx::Error>, what: &str) {
        let was_broken = self.broken.load(Relaxed);
        match result {
            Err(error) => {
                self.failures.fetch_add(1, Relaxed);
                self.broken.store(true, Relaxed);
                if !was_broken {
                    tracing::error!(%error, "{what}");
                }
            }
            Ok(true) if was_broken => {
                self.broken.store(false, Relaxed);
                tracing::info!("the bridge's journal is written again");
            }
            // Where nothing was written, nothing is known.
            Ok(_) => {}
        }
    }
}
