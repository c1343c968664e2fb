//! What outlives the program: one SQLite database in the data directory.
//!
//! What was written is on disk before it counts as written (`synchronous = FULL`), and a crash leaves the database whole:
//! the next start opens it without repair. The schema is brought up to date at every start; a database of a later version
//! of this program is left alone, and the start fails.
//!
//! Limits: four connections to the file, and one of the journal's own; who waits for one longer than five seconds gets an error.

pub mod accounts;
pub mod archive;
pub mod courses;
pub mod journal;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Sqlite, SqlitePool,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// The database's file within the data directory.
pub const DATABASE_FILE: &str = "causeway.sqlite3";

/// Connections to the file: a writer, and readers for HTTP.
const MAX_CONNECTIONS: u32 = 4;

/// How long a statement waits for another connection's transaction.
const BUSY: Duration = Duration::from_secs(5);

static MIGRATIONS: Migrator = sqlx::migrate!("src/storage/migrations/sqlite");

/// Why the database can't be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be opened, or is no database.
    #[error("the database {0} can't be opened: {1}. Make it readable and writable, or move it away to begin a new one")]
    Unusable(PathBuf, sqlx::Error),
    /// It was written by a later version of this program.
    #[error(
        "the database {0} was written by a later version of this program (its step {1}): start that one again, or move the file away"
    )]
    Later(PathBuf, i64),
    /// The schema can't be brought up to date.
    #[error("the database {0} can't be brought up to date: {1}. Move it away to begin a new one")]
    Migration(PathBuf, MigrateError),
}

/// The open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: SqlitePool,
}

impl Database {
    /// Opens the database of a data directory, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] names the file. Nothing in it has changed.
    pub async fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE_FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(BUSY);
        let pool = pool.connect_with(options).await.map_err(|error| OpenError::Unusable(path.clone(), error))?;
        match MIGRATIONS.run(&pool).await {
            Ok(()) => Ok(Self { pool }),
            Err(MigrateError::VersionMissing(step)) => Err(OpenError::Later(path, step)),
            Err(MigrateError::Execute(error)) => Err(OpenError::Unusable(path, error)),
            Err(error) => Err(OpenError::Migration(path, error)),
        }
    }

    /// Has a data directory a database?
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        directory.join(DATABASE_FILE).exists()
    }

    /// Writes what is left and lets go of the file.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// After a failure another connection writes: where the disk is full, it may have an open transaction that keeps all others from writing.
fn or_another<T>(written: &Result<T, sqlx::Error>, connection: &mut PoolConnection<Sqlite>) {
    if written.is_err() {
        connection.close_on_drop();
    }
}

/// SQL integers have a sign.
fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn from_sql(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn refusal(directory: &Path) -> OpenError {
        match Database::open(directory).await {
            Err(error) => error,
            Ok(_) => panic!("it opened"),
        }
    }

    #[tokio::test]
    async fn a_database_is_made_and_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            Database::open(directory.path()).await.unwrap().close().await;
            assert!(Database::is_in(directory.path()));
        }
    }

    #[tokio::test]
    async fn what_is_no_database_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(DATABASE_FILE);
        let text = "hello ".repeat(1_000);
        fs::write(&file, &text).unwrap();
        let said = refusal(directory.path()).await.to_string();
        assert!(said.contains(DATABASE_FILE) && said.contains("move it away"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }

    #[tokio::test]
    async fn a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path()).await.unwrap();
        let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'later', TRUE, x'00', 0)";
        sqlx::query(later).execute(&database.pool).await.unwrap();
        database.close().await;
        assert!(matches!(refusal(directory.path()).await, OpenError::Later(_, 9999)));
    }
}
