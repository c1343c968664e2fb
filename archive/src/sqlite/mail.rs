//! Pages of envelopes out of the file, by connections of their own.
//!
//! sqlx runs a statement on a thread of its own and hands each row over with a value for each column, which wakes the reader each time:
//! ten times what SQLite itself takes. Here a page is read where SQLite runs, and handed over as a whole.
//!
//! Limits: [`CONNECTIONS`] pages are read at once, the others wait; a page ends at [`MAX_PAGE_BYTES`], and what is behind is never read.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OpenFlags, Row as SqlRow, Rows};
use tokio::sync::Semaphore;

use super::BUSY;
use crate::{
    mail::{Mail, MailPage},
    query::{MAX_PAGE_BYTES, Place, Query, View, page_length},
    row::{Hash, Key, Mined, NANOS_PER_SEC},
    sql::{self, Statement, Value},
};

/// Pages that are read at once: as many as a mailserver reads.
const CONNECTIONS: usize = 2;
/// Where the size of a row stands in [`crate::mail::COLUMNS`].
const SIZE: usize = 6;

/// The connections, opened when they are first wanted, and again after one has failed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Of a file that is there.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), turns: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    pub(super) async fn page(&self, query: Query) -> Result<MailPage, sqlx::Error> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let read = tokio::task::spawn_blocking(move || {
            let connection = lock(&idle).pop().map_or_else(|| open(&path), Ok)?;
            let page = page(&connection, &query)?;
            lock(&idle).push(connection);
            drop(turn); // Not before: who has a turn finds no more than the others left.
            Ok(page)
        });
        let read = read.await.map_err(|_| sqlx::Error::WorkerCrashed)?;
        read.map_err(|error: rusqlite::Error| sqlx::Error::AnyDriverError(error.into()))
    }

    /// Waits for what is being read, and lets go of the file.
    pub(super) async fn close(&self) {
        let all = self.turns.acquire_many(CONNECTIONS as u32).await;
        self.turns.close();
        lock(&self.idle).clear();
        drop(all);
    }
}

/// The connections, also after a panic elsewhere: each is whole.
fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", "ON")?;
    Ok(connection)
}

fn page(connection: &Connection, query: &Query) -> rusqlite::Result<MailPage> {
    match &query.view {
        View::Envelopes { topics, .. } if topics.len() <= 1 => in_order(connection, query, topics.first()),
        _ => by_places(connection, query),
    }
}

/// Of one topic or of all an index has them in their order.
fn in_order(connection: &Connection, query: &Query, topic: Option<&[u8; 4]>) -> rusqlite::Result<MailPage> {
    let mut page = MailPage { envelopes: Vec::with_capacity(query.limit()), more: false };
    let mut bytes = 0;
    each(connection, sql::mail(query, topic), |row| {
        bytes += row.get::<_, u32>(SIZE)? as usize;
        page.more = page.envelopes.len() == query.limit() || (bytes > MAX_PAGE_BYTES && !page.envelopes.is_empty());
        if !page.more {
            page.envelopes.push(mail(row)?);
        }
        Ok(!page.more)
    })?;
    Ok(page)
}

/// Of several topics it is found out first where the page's envelopes stand.
fn by_places(connection: &Connection, query: &Query) -> rusqlite::Result<MailPage> {
    let _one_state = connection.unchecked_transaction()?; // of the archive, for all statements; nothing is written in it
    let mut places = Vec::new();
    for statement in sql::places(query) {
        each(connection, statement, |row| {
            places.push(place(row)?);
            Ok(true)
        })?;
        query.keep_first(&mut places);
    }
    let length = page_length(&places, query.limit());
    let mut envelopes = Vec::with_capacity(length);
    for place in &places[..length] {
        each(connection, sql::mail_at(&place.key), |row| {
            envelopes.push(mail(row)?);
            Ok(true)
        })?;
    }
    Ok(MailPage { envelopes, more: length < places.len() })
}

/// Runs a statement, until `take` has enough.
fn each(
    connection: &Connection,
    statement: Statement,
    mut take: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let mut prepared = connection.prepare_cached(&statement.text)?;
    for (place, value) in (1..).zip(statement.values) {
        match value {
            Value::Int(n) => prepared.raw_bind_parameter(place, n)?,
            Value::Bytes(bytes) => prepared.raw_bind_parameter(place, bytes)?,
        }
    }
    let mut rows: Rows<'_> = prepared.raw_query();
    while let Some(row) = rows.next()? {
        if !take(row)? {
            break;
        }
    }
    Ok(())
}

/// In the order of [`crate::mail::COLUMNS`].
fn mail(row: &SqlRow<'_>) -> rusqlite::Result<Mail> {
    Ok(Mail {
        sent_secs: row.get(0)?,
        topic: row.get(1)?,
        ttl: row.get(2)?,
        wrapped: row.get(3)?,
        mined: Mined { hash: row.get(4)?, nonce: row.get::<_, i64>(5)?.cast_unsigned() },
        payload: bytes::Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?),
    })
}

/// In the order of [`sql::places`].
fn place(row: &SqlRow<'_>) -> rusqlite::Result<Place> {
    let (sent, nanos, id): (i64, i64, Hash) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let sent_ns = sent.saturating_mul(NANOS_PER_SEC).saturating_add(nanos);
    Ok(Place { key: Key { sent_ns, id }, envelope: row.get(3)?, size_bytes: row.get::<_, u32>(4)? as usize })
}
