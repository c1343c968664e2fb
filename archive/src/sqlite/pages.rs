//! Pages out of the file, of rows and of envelopes, by connections of their own.
//!
//! sqlx runs a statement on a thread of its own and hands each row over with a value for each column, which wakes the reader each time:
//! ten times what SQLite itself takes. Here a page is read where SQLite runs, and handed over as a whole, with all payloads in one buffer.
//!
//! Limits: so many pages are read at once as there may be connections, the others wait; a page ends at [`MAX_PAGE_BYTES`], and what is behind is
//! never read; whoever keeps one payload keeps those of its page.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, Row as SqlRow, Rows};
use tokio::sync::Semaphore;

use super::BUSY;
use crate::{
    mail::{self, Mail},
    query::{MAX_PAGE_BYTES, Place, Query, page_length},
    record::{COLUMNS, Record},
    row::{Hash, Key, Mined, NANOS_PER_SEC, Row},
    sql::{self, Statement, Value},
};

/// What a page is made of.
pub(super) trait Leaf: Sized + Send + 'static {
    /// What of a row it takes.
    fn columns() -> String;

    /// Where among these the size of a row stands.
    const SIZE: usize;

    /// And its payload.
    const PAYLOAD: usize;

    /// All but the payload; `None` for what this program has not written.
    fn read(row: &SqlRow<'_>) -> rusqlite::Result<Option<Self>>;

    /// With its payload.
    fn with(self, payload: Bytes) -> Self;
}

/// Bytes that there is room for at first, for each payload of a page. Status's are mostly shorter.
const ROOM: usize = 640;

/// A page that is being read.
struct Leaves<T> {
    /// Still without their payloads.
    leaves: Vec<T>,
    /// These, one behind the other.
    payloads: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl<T: Leaf> Leaves<T> {
    fn with_room(count: usize) -> Self {
        let payloads = Vec::with_capacity(count * ROOM);
        Self { leaves: Vec::with_capacity(count), payloads, ends: Vec::with_capacity(count) }
    }

    fn take(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<()> {
        if let Some(leaf) = T::read(row)? {
            self.leaves.push(leaf);
            self.payloads.extend_from_slice(row.get_ref(T::PAYLOAD)?.as_blob()?);
            self.ends.push(self.payloads.len());
        }
        Ok(())
    }

    /// Each with its payload.
    fn whole(self) -> Vec<T> {
        let payloads = Bytes::from(self.payloads);
        let mut start = 0;
        let leaves = self.leaves.into_iter().zip(self.ends);
        leaves.map(|(leaf, end)| leaf.with(payloads.slice(std::mem::replace(&mut start, end)..end))).collect()
    }
}

/// The connections, opened when they are first wanted, and again after one has failed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    connections: u32,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Of a file that is there.
    pub(super) fn of(path: &Path, connections: u32) -> Self {
        let turns = Arc::new(Semaphore::new(connections as usize));
        Self { path: path.to_owned(), connections, idle: Arc::default(), turns }
    }

    /// A page, and whether there is more behind it.
    pub(super) async fn page<T: Leaf>(&self, query: Query) -> Result<(Vec<T>, bool), sqlx::Error> {
        self.read(move |connection| match sql::topics(&query.view).as_slice() {
            [] => in_order(connection, &query, None),
            [topic] => in_order(connection, &query, Some(topic)),
            _ => by_places(connection, &query),
        })
        .await
    }

    /// What a statement of [`sql`] finds.
    pub(super) async fn places(&self, statement: Statement) -> Result<Vec<Place>, sqlx::Error> {
        self.read(move |connection| places(connection, statement)).await
    }

    /// What stands at some places, in their order.
    pub(super) async fn at<T: Leaf>(&self, places: Vec<Place>) -> Result<Vec<T>, sqlx::Error> {
        self.read(move |connection| {
            let _one_state = connection.unchecked_transaction()?; // of the archive, for all statements; nothing is written in it
            at(connection, &places)
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, sqlx::Error> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let read = tokio::task::spawn_blocking(move || {
            let connection = lock(&idle).pop().map_or_else(|| open(&path), Ok)?;
            let found = what(&connection)?;
            lock(&idle).push(connection);
            drop(turn); // Not before: who has a turn finds no more than the others left.
            Ok(found)
        });
        let read = read.await.map_err(|_| sqlx::Error::WorkerCrashed)?;
        read.map_err(|error: rusqlite::Error| sqlx::Error::AnyDriverError(error.into()))
    }

    /// Waits for what is being read, and lets go of the file.
    pub(super) async fn close(&self) {
        let all = self.turns.acquire_many(self.connections).await;
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

/// Of one topic or of all an index has them in their order.
fn in_order<T: Leaf>(
    connection: &Connection,
    query: &Query,
    topic: Option<&Vec<u8>>,
) -> rusqlite::Result<(Vec<T>, bool)> {
    let (mut read, mut more, mut bytes) = (Leaves::<T>::with_room(query.limit()), false, 0);
    each(connection, sql::rows(&T::columns(), query, topic.map(Vec::as_slice)), |row| {
        bytes += row.get::<_, u32>(T::SIZE)? as usize;
        more = read.leaves.len() == query.limit() || (bytes > MAX_PAGE_BYTES && !read.leaves.is_empty());
        if !more {
            read.take(row)?;
        }
        Ok(!more)
    })?;
    Ok((read.whole(), more))
}

/// Of several topics it is found out first where the page's rows stand.
fn by_places<T: Leaf>(connection: &Connection, query: &Query) -> rusqlite::Result<(Vec<T>, bool)> {
    let _one_state = connection.unchecked_transaction()?; // of the archive, for all statements; nothing is written in it
    let mut found = Vec::new();
    for statement in sql::places(query) {
        found.extend(places(connection, statement)?);
        query.keep_first(&mut found);
    }
    let length = page_length(&found, query.limit());
    Ok((at(connection, &found[..length])?, length < found.len()))
}

fn places(connection: &Connection, statement: Statement) -> rusqlite::Result<Vec<Place>> {
    let mut places = Vec::new();
    each(connection, statement, |row| {
        places.push(place(row)?);
        Ok(true)
    })?;
    Ok(places)
}

fn at<T: Leaf>(connection: &Connection, places: &[Place]) -> rusqlite::Result<Vec<T>> {
    let (mut read, columns) = (Leaves::<T>::with_room(places.len()), T::columns());
    for place in places {
        each(connection, sql::row_at(&columns, &place.key), |row| read.take(row).map(|()| true))?;
    }
    Ok(read.whole())
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

impl Leaf for Mail {
    fn columns() -> String {
        mail::COLUMNS.to_owned()
    }

    const SIZE: usize = 6;

    const PAYLOAD: usize = 7;

    fn read(row: &SqlRow<'_>) -> rusqlite::Result<Option<Self>> {
        Ok(Some(Self {
            sent_secs: row.get(0)?,
            topic: row.get(1)?,
            ttl: row.get(2)?,
            wrapped: row.get(3)?,
            mined: Mined { hash: row.get(4)?, nonce: row.get::<_, i64>(5)?.cast_unsigned() },
            payload: Bytes::new(),
        }))
    }

    fn with(self, payload: Bytes) -> Self {
        Self { payload, ..self }
    }
}

impl Leaf for Row {
    fn columns() -> String {
        COLUMNS.join(", ")
    }

    const SIZE: usize = 18;

    const PAYLOAD: usize = 19;

    fn read(row: &SqlRow<'_>) -> rusqlite::Result<Option<Self>> {
        let record = Record {
            sent: row.get(0)?,
            nanos: row.get(1)?,
            id: row.get(2)?,
            content: row.get(3)?,
            topic: row.get(4)?,
            ttl: row.get(5)?,
            wrapped: row.get(6)?,
            envelope: row.get(7)?,
            nonce: row.get(8)?,
            pubsub_topic: row.get(9)?,
            content_topic: row.get(10)?,
            version: row.get(11)?,
            meta: row.get(12)?,
            proof: row.get(13)?,
            proven: row.get(14)?,
            first: row.get(15)?,
            reason: row.get(16)?,
            stored_at: row.get(17)?,
            size: row.get(18)?,
            payload: Vec::new(),
        };
        Ok(record.read())
    }

    fn with(self, payload: Bytes) -> Self {
        Self { payload, ..self }
    }
}

/// In the order of [`sql::places`].
fn place(row: &SqlRow<'_>) -> rusqlite::Result<Place> {
    let (sent, nanos, id): (i64, i64, Hash) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let sent_ns = sent.saturating_mul(NANOS_PER_SEC).saturating_add(nanos);
    Ok(Place { key: Key { sent_ns, id }, envelope: row.get(3)?, size_bytes: row.get::<_, u32>(4)? as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_payloads_stand_where_they_are_sought() {
        assert_eq!((COLUMNS[Row::SIZE], COLUMNS[Row::PAYLOAD]), ("size", "payload"));
        let mail: Vec<&str> = mail::COLUMNS.split(", ").collect();
        assert_eq!((mail[Mail::SIZE], mail[Mail::PAYLOAD]), ("size", "payload"));
    }
}
