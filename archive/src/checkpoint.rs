//! Moving what was written from SQLite's write-ahead log into its file, beside the writer and not in its way.
//!
//! SQLite does this by itself at the end of whatever transaction finds the log long, and that transaction then waits for hundreds of
//! pages all over the file: a fifth of a second after a deletion. Here a connection of its own does it, while the writer goes on; then
//! what was written meanwhile, and again, until that is [`FEW_PAGES`], which are moved in the writer's turn, so that the log begins anew
//! and stays short. The writer itself has to have [`NOT_BY_ITSELF`].
//!
//! Limit: the log is moved every [`LOG_PAGES`], as far as can be told, and grows only by what is written while one move takes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use sqlx::SqlitePool;
use tokio::{
    sync::{Mutex, Notify, OwnedMutexGuard},
    task::JoinHandle,
};

/// The pragma of a connection that writes, and its value: it leaves the log to [`Checkpoints`].
pub const NOT_BY_ITSELF: (&str, &str) = ("wal_autocheckpoint", "0");

/// Pages of 4 KiB in the log before it is moved: 16 MiB. What is deleted a second after it was written is then mostly gone again.
pub const LOG_PAGES: usize = 4_096;
/// Pages that are moved in the writer's turn: some milliseconds.
pub const FEW_PAGES: usize = 128;
/// How often what was written meanwhile is moved at most. Each time takes a part of the time before, unless the disk is overcome by what is written.
const PASSES: usize = 6;
/// Bytes of a page.
const PAGE_BYTES: usize = 4_096;
/// Pages that a row changes, at most and beside its contents: its own, one of each index, and those above them now and then.
const ROW_PAGES: usize = 8;

/// The task that moves it, until this is dropped.
#[derive(Debug)]
pub struct Checkpoints {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whose turn it is to write.
    turn: Arc<Mutex<()>>,
    /// In the log, as far as can be told.
    pages: AtomicUsize,
    due: Notify,
}

impl Checkpoints {
    /// Starts the task, which takes a connection of the pool whenever it is due.
    #[must_use]
    pub fn start(pool: SqlitePool) -> Self {
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(run(pool, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Waits for the turn to write. Turns are taken in the order in which they were asked for. Safe to be given up.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.shared.turn).lock_owned().await
    }

    /// So many rows were written or deleted, with so many bytes of contents in all.
    pub fn written(&self, rows: usize, bytes: usize) {
        let pages = rows * ROW_PAGES + bytes / PAGE_BYTES;
        if self.shared.pages.fetch_add(pages, Relaxed) + pages >= LOG_PAGES {
            self.shared.due.notify_one();
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(pool: SqlitePool, shared: Arc<Shared>) {
    loop {
        shared.due.notified().await;
        if let Err(error) = move_all(&pool, &shared).await {
            // Nothing is lost: it stays in the log, which grows until this works again.
            tracing::warn!(%error, "a database's write-ahead log can't be moved into its file");
        }
    }
}

async fn move_all(pool: &SqlitePool, shared: &Shared) -> Result<(), sqlx::Error> {
    for _ in 0..PASSES {
        let before = shared.pages.load(Relaxed);
        checkpoint(pool).await?;
        if shared.pages.load(Relaxed).saturating_sub(before) <= FEW_PAGES {
            break;
        }
    }
    let _turn = shared.turn.lock().await;
    checkpoint(pool).await?;
    shared.pages.store(0, Relaxed);
    Ok(())
}

/// Moves all that no reader needs in the log, and waits for nobody.
async fn checkpoint(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(pool).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

    use super::*;

    async fn pool(path: &Path) -> SqlitePool {
        let (pragma, value) = NOT_BY_ITSELF;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma(pragma, value);
        SqlitePoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
    }

    /// What was written is in the file after the move, and the log does not grow beyond what lies between two.
    #[tokio::test]
    async fn the_log_is_moved_and_begins_anew() {
        const WRITE: usize = 1 << 20;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.sqlite3");
        let pool = pool(&path).await;
        sqlx::query("CREATE TABLE some (data BLOB)").execute(&pool).await.unwrap();
        let checkpoints = Checkpoints::start(pool.clone());
        let log = || std::fs::metadata(path.with_extension("sqlite3-wal")).map_or(0, |file| file.len());
        for _ in 0..3 * LOG_PAGES * PAGE_BYTES / WRITE {
            let due = {
                let _turn = checkpoints.turn().await;
                sqlx::query("INSERT INTO some VALUES (zeroblob($1))").bind(WRITE as i64).execute(&pool).await.unwrap();
                checkpoints.written(1, WRITE);
                checkpoints.shared.pages.load(Relaxed) >= LOG_PAGES
            };
            // A writer faster than the disk: the next one waits here, as it would for its turn.
            let moved = async {
                while due && checkpoints.shared.pages.load(Relaxed) >= LOG_PAGES {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), moved).await.expect("the log is moved");
        }
        let file = std::fs::metadata(&path).unwrap().len() as usize;
        assert!(file > 2 * LOG_PAGES * PAGE_BYTES, "{file} bytes are in the file");
        assert!(log() < 2 * (LOG_PAGES * PAGE_BYTES) as u64, "{} bytes are in the log", log());
    }
}
