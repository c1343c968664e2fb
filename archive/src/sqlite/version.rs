//! Whether a file is of a later version, found out before anything is done to it.
//!
//! To open a file as an archive changes it: its vacuum mode is written anew, and what its log has is moved into it when it is closed.
//! Here it is only read.
//!
//! Limits: says nothing of what is no database, or cannot be read; to open it does.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use sqlx::migrate::Migrator;

use super::BUSY;

/// The first step that was made in it and that these do not have; `None` where there is none, or nothing to be read.
pub(super) async fn later(path: &Path, known: &'static Migrator) -> Option<i64> {
    let path = path.to_owned();
    let steps = tokio::task::spawn_blocking(move || steps(&path)).await.ok()?.ok()?;
    steps.into_iter().find(|step| known.iter().all(|known| known.version != *step))
}

/// The steps that were made in it, in their order. Source: sqlx, which keeps them.
fn steps(path: &Path) -> rusqlite::Result<Vec<i64>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mut statement = connection.prepare("SELECT version FROM _sqlx_migrations ORDER BY version")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
