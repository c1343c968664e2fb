//! What can go wrong: when an archive is opened, and when it is used.

use sqlx::migrate::MigrateError;

use crate::{
    memory::Full,
    query::{MAX_PAGE, MAX_TOPICS},
};

/// Why the archive can't be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be opened or reached, or is no database.
    #[error("the archive {0} can't be opened: {1}. Make it reachable and writable, or name another")]
    Unusable(String, sqlx::Error),
    /// It was cut off, or parts of it are empty.
    #[error("the archive {0} is damaged ({1}). Restore it from a copy, or move it away to begin a new one")]
    Damaged(String, String),
    /// It was written by a later version of this program.
    #[error(
        "the archive {0} was written by a later version of this program (its step {1}): start that one again, or name another"
    )]
    Later(String, i64),
    /// The schema can't be brought up to date.
    #[error("the archive {0} can't be brought up to date: {1}. Name another to begin a new one")]
    Migration(String, MigrateError),
}

/// Why the archive gives no answer, or keeps nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the database says: full, gone, or damaged.
    #[error("the archive fails: {0}")]
    Database(#[from] sqlx::Error),
    /// That in memory is full.
    #[error(transparent)]
    Full(#[from] Full),
    /// The query names too many topics.
    #[error("{0} topics; at most {MAX_TOPICS} can be asked for at once")]
    TooManyTopics(usize),
    /// Too many hashes are asked for at once.
    #[error("{0} hashes; at most {MAX_PAGE} can be asked for at once")]
    TooManyHashes(usize),
}
