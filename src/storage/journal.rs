//! The bridge's journal on disk: what is on its way, and what became of it ([`bridge::journal`]).
//!
//! A batch is one transaction, on disk when it is answered. A batch that can't be written is answered all the same, counted and
//! told: a full disk must not stop the live networks.
//!
//! Limits: what ended is kept for a day ([`bridge::seen::MAX_WINDOW`]) and as many entries as the bridge remembers; it is trimmed
//! [`TRIM_AT_ONCE`] rows at a time, so that no batch waits for it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bridge::{
    Direction, DropReason,
    journal::{Batch, Cargo, Note, Remembered, Unfinished},
    seen::{Fingerprint, MAX_WINDOW, State},
};
use devp2p::clock::now;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqlitePool, Transaction};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use waku0::EnvelopeHash;
use waku2::MessageHash;

use super::{Database, from_sql, to_sql};

/// Batches on their way: the bridge gives the next one when this one is written.
const BATCHES: usize = 1;

/// Rows in one statement: seven values each at most, and SQLite takes 32,766.
const ROWS_A_STATEMENT: usize = 1_000;

/// How often old rows go.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// Rows that go in one transaction, some milliseconds.
pub const TRIM_AT_ONCE: i64 = 5_000;

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
        let (ended, unfinished) = (self.ended().await?, self.unfinished().await?);
        if !unfinished.is_empty() {
            tracing::info!(count = unfinished.len(), "going on with what was on its way");
        }
        let (batches, inbox) = mpsc::channel(BATCHES);
        Ok((bridge::journal::Journal { ended, unfinished, batches }, tokio::spawn(self.keep(inbox))))
    }

    async fn keep(self, mut inbox: mpsc::Receiver<Batch>) {
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
                        self.told(self.write(&notes).await, "the bridge's journal can't be written: after a crash, what is on its way now may be lost");
                        // The bridge may have stopped waiting.
                        let _ = done.send(());
                    }
                },
                _ = trims.tick() => self.told(self.trim().await, "old rows of the bridge's journal can't be deleted"),
            }
        }
    }

    /// Counts a failure, and tells of the first of several and of their end.
    fn told(&self, result: Result<(), sqlx::Error>, what: &str) {
        let was_broken = self.broken.swap(result.is_err(), Relaxed);
        match result {
            Err(error) => {
                self.failures.fetch_add(1, Relaxed);
                if !was_broken {
                    tracing::error!(%error, "{what}");
                }
            }
            Ok(()) if was_broken => tracing::info!("the bridge's journal is written again"),
            Ok(()) => {}
        }
    }

    /// Writes notes, all or none. When it returns they are on disk.
    async fn write(&self, notes: &[Note]) -> Result<(), sqlx::Error> {
        // Of several notes of one passage the last one says where it stands; what ended here may have begun here too.
        let last: HashMap<_, usize> = notes.iter().enumerate().map(|(place, note)| (name(note), place)).collect();
        let is_last = |place: usize, note: &Note| last.get(&name(note)) == Some(&place);
        let begun: Vec<&Note> = notes.iter().filter(|note| matches!(note, Note::Begun { .. })).collect();
        let ended = notes.iter().enumerate().filter(|(place, note)| is_last(*place, note)).map(|(_, note)| note);
        let ended: Vec<&Note> = ended.filter(|note| matches!(note, Note::Ended { .. })).collect();
        let mut transaction = self.pool.begin().await?;
        for rows in begun.chunks(ROWS_A_STATEMENT) {
            insert_begun(&mut transaction, rows).await?;
        }
        for rows in ended.chunks(ROWS_A_STATEMENT) {
            move_ended(&mut transaction, rows).await?;
        }
        transaction.commit().await
    }

    /// Deletes some of what is too old or too much.
    async fn trim(&self) -> Result<(), sqlx::Error> {
        let oldest = now().unix.saturating_sub(MAX_WINDOW).as_secs();
        let max_entries = i64::try_from(self.max_entries).unwrap_or(i64::MAX);
        sqlx::query(
            "DELETE FROM crossings WHERE id IN (SELECT id FROM crossings ORDER BY id LIMIT $1) \
             AND (at < $2 OR id <= (SELECT max(id) FROM crossings) - $3)",
        )
        .bind(TRIM_AT_ONCE)
        .bind(to_sql(oldest))
        .bind(max_entries)
        .execute(&self.pool)
        .await?;
        // What no later life could go on with: it would have come back with every start.
        sqlx::query("DELETE FROM begun WHERE at < $1").bind(to_sql(oldest)).execute(&self.pool).await?;
        Ok(())
    }

    async fn ended(&self) -> Result<Vec<Remembered>, sqlx::Error> {
        let oldest = now().unix.saturating_sub(MAX_WINDOW).as_secs();
        let rows: Vec<EndedRow> = sqlx::query_as(
            "SELECT content, sent, at, first, reason, envelope, message FROM crossings \
             WHERE id > (SELECT max(id) FROM crossings) - $1 AND at >= $2 ORDER BY id",
        )
        .bind(i64::try_from(self.max_entries).unwrap_or(i64::MAX))
        .bind(to_sql(oldest))
        .fetch_all(&self.pool)
        .await?;
        let mut ended: Vec<Remembered> = rows.into_iter().filter_map(EndedRow::read).collect();
        // By the time of coming, as the bridge forgets them; it is nearly that of ending.
        ended.sort_by_key(|ended| ended.at);
        Ok(ended)
    }

    async fn unfinished(&self) -> Result<Vec<Unfinished>, sqlx::Error> {
        let select = "SELECT content, sent, at, topic, data FROM begun ORDER BY at";
        let rows: Vec<BegunRow> = sqlx::query_as(select).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().filter_map(BegunRow::read).collect())
    }
}

fn name(note: &Note) -> (Fingerprint, u64) {
    match note {
        Note::Begun { content, sent, .. } | Note::Ended { content, sent, .. } => (*content, *sent),
    }
}

async fn insert_begun(transaction: &mut Transaction<'_, Sqlite>, notes: &[&Note]) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO begun (content, sent, at, first, topic, data) ");
    let rows = notes.iter().filter_map(|note| match note {
        Note::Begun { content, sent, at, first, cargo } => Some((content, sent, at, first, cargo)),
        Note::Ended { .. } => None,
    });
    insert.push_values(rows, |mut row, (content, sent, at, first, cargo)| {
        let (topic, data) = match cargo {
            Cargo::Envelope(raw) => (None, raw),
            Cargo::Message { topic, data } => (Some(topic.as_str().to_owned()), data),
        };
        row.push_bind(content.as_bytes().to_vec()).push_bind(to_sql(*sent)).push_bind(to_sql(*at));
        row.push_bind(*first as i64).push_bind(topic).push_bind(data.to_vec());
    });
    insert.push(
        " ON CONFLICT (content, sent) DO UPDATE SET \
         at = excluded.at, first = excluded.first, topic = excluded.topic, data = excluded.data",
    );
    insert.build().execute(&mut **transaction).await?;
    Ok(())
}

async fn move_ended(transaction: &mut Transaction<'_, Sqlite>, notes: &[&Note]) -> Result<(), sqlx::Error> {
    let rows = || {
        notes.iter().filter_map(|note| match note {
            Note::Ended { content, sent, state, envelope, message } => Some((content, sent, state, envelope, message)),
            Note::Begun { .. } => None,
        })
    };
    let mut insert = QueryBuilder::<Sqlite>::new("WITH ended (content, sent, reason, envelope, message) AS (");
    insert.push_values(rows(), |mut row, (content, sent, state, envelope, message)| {
        let reason = match state {
            State::Dropped(reason) => Some(reason.as_str()),
            State::Done | State::Pending | State::Retry => None,
        };
        row.push_bind(content.as_bytes().to_vec()).push_bind(to_sql(*sent)).push_bind(reason);
        row.push_bind(envelope.map(|hash| hash.as_bytes().to_vec()));
        row.push_bind(message.map(|hash| hash.as_bytes().to_vec()));
    });
    insert.push(
        ") INSERT INTO crossings (content, sent, at, first, reason, envelope, message) \
         SELECT content, sent, at, first, reason, envelope, message FROM ended JOIN begun USING (content, sent)",
    );
    insert.build().execute(&mut **transaction).await?;
    let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM begun WHERE (content, sent) IN (");
    delete.push_values(rows(), |mut row, (content, sent, ..)| {
        row.push_bind(content.as_bytes().to_vec()).push_bind(to_sql(*sent));
    });
    delete.push(")");
    delete.build().execute(&mut **transaction).await?;
    Ok(())
}

/// A row of `crossings`.
#[derive(FromRow)]
struct EndedRow {
    content: Vec<u8>,
    sent: i64,
    at: i64,
    first: i64,
    reason: Option<String>,
    envelope: Option<Vec<u8>>,
    message: Option<Vec<u8>>,
}

impl EndedRow {
    /// `None` for what this program has not written.
    fn read(self) -> Option<Remembered> {
        let state = match self.reason {
            None => State::Done,
            Some(text) => State::Dropped(DropReason::all().find(|reason| reason.as_str() == text)?),
        };
        Some(Remembered {
            content: Fingerprint::from_bytes(hash(self.content)?),
            sent: from_sql(self.sent),
            at: from_sql(self.at),
            first: Direction::ALL.into_iter().find(|direction| *direction as i64 == self.first)?,
            state,
            envelope: self.envelope.and_then(hash).map(EnvelopeHash::from),
            message: self.message.and_then(hash).map(MessageHash::from),
        })
    }
}

fn hash(bytes: Vec<u8>) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// A row of `begun`.
#[derive(FromRow)]
struct BegunRow {
    content: Vec<u8>,
    sent: i64,
    at: i64,
    topic: Option<String>,
    data: Vec<u8>,
}

impl BegunRow {
    fn read(self) -> Option<Unfinished> {
        let cargo = match self.topic {
            None => Cargo::Envelope(self.data.into()),
            Some(topic) => Cargo::Message { topic: topic.parse().ok()?, data: self.data.into() },
        };
        let content = Fingerprint::from_bytes(hash(self.content)?);
        Some(Unfinished { content, sent: from_sql(self.sent), at: from_sql(self.at), cargo })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    async fn journal(directory: &Path) -> Journal {
        Journal::new(&Database::open(directory).await.unwrap(), 100)
    }

    fn content(n: u8) -> Fingerprint {
        Fingerprint::from_bytes([n; 32])
    }

    fn unix() -> u64 {
        now().unix_secs()
    }

    fn begun(n: u8, at: u64) -> Note {
        let cargo = match n % 2 {
            0 => Cargo::Envelope(Bytes::from(vec![n; 3])),
            _ => Cargo::Message { topic: "/waku/2/rs/0/0".parse().unwrap(), data: Bytes::from(vec![n; 3]) },
        };
        Note::Begun { content: content(n), sent: 7, at, first: Direction::V2ToV1, cargo }
    }

    fn ended(n: u8, state: State) -> Note {
        let (envelope, message) = (Some(EnvelopeHash::from([n; 32])), Some(MessageHash::from([1; 32])));
        Note::Ended { content: content(n), sent: 7, state, envelope, message }
    }

    fn remembered(n: u8, at: u64, state: State) -> Remembered {
        let Note::Ended { content, sent, envelope, message, .. } = ended(n, state) else { unreachable!() };
        Remembered { content, sent, at, first: Direction::V2ToV1, state, envelope, message }
    }

    fn unfinished(n: u8, at: u64) -> Unfinished {
        let Note::Begun { content, sent, cargo, .. } = begun(n, at) else { unreachable!() };
        Unfinished { content, sent, at, cargo }
    }

    #[tokio::test]
    async fn what_was_written_is_read_in_a_later_life() {
        let directory = tempfile::tempdir().unwrap();
        let at = unix();
        let first = journal(directory.path()).await;
        first.write(&[begun(1, at), begun(2, at + 1), begun(3, at + 2), begun(4, at + 3)]).await.unwrap();
        let dropped = State::Dropped(DropReason::PublishFailed);
        first.write(&[ended(3, State::Done), ended(2, dropped), ended(9, State::Done)]).await.unwrap();
        first.pool.close().await;
        let second = journal(directory.path()).await;
        assert_eq!(second.unfinished().await.unwrap(), [unfinished(1, at), unfinished(4, at + 3)]);
        let expected = [remembered(2, at + 1, dropped), remembered(3, at + 2, State::Done)];
        assert_eq!(second.ended().await.unwrap(), expected, "what never began does not end");
    }

    #[tokio::test]
    async fn in_a_batch_the_last_word_counts() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(directory.path()).await;
        let at = unix();
        journal
            .write(&[begun(1, at), ended(1, State::Done), begun(2, at), ended(2, State::Done), begun(2, at + 5)])
            .await
            .unwrap();
        assert_eq!(journal.ended().await.unwrap(), [remembered(1, at, State::Done)]);
        assert_eq!(journal.unfinished().await.unwrap(), [unfinished(2, at + 5)]);
        journal.write(&[ended(2, State::Done), begun(2, at + 6)]).await.unwrap();
        assert_eq!(journal.unfinished().await.unwrap(), [unfinished(2, at + 6)]);
        journal.write(&[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_large_batch_is_one_transaction() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal { max_entries: 10_000, ..journal(directory.path()).await };
        let many = |note: &dyn Fn(u64) -> Note| (0..2_500).map(note).collect::<Vec<_>>();
        let name = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Fingerprint::from_bytes(bytes)
        };
        let at = unix();
        let begin = |n| {
            let cargo = Cargo::Envelope(Bytes::from_static(b"x"));
            Note::Begun { content: name(n), sent: n, at, first: Direction::V1ToV2, cargo }
        };
        let end = |n| Note::Ended { content: name(n), sent: n, state: State::Done, envelope: None, message: None };
        journal.write(&many(&begin)).await.unwrap();
        assert_eq!(journal.unfinished().await.unwrap().len(), 2_500);
        journal.write(&many(&end)).await.unwrap();
        assert_eq!((journal.unfinished().await.unwrap().len(), journal.ended().await.unwrap().len()), (0, 2_500));
    }

    #[tokio::test]
    async fn what_is_old_or_too_much_goes() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal { max_entries: 2, ..journal(directory.path()).await };
        let (at, old) = (unix(), unix() - MAX_WINDOW.as_secs() - 1);
        journal.write(&[begun(1, old), begun(2, old), begun(3, at), begun(4, at), begun(5, at)]).await.unwrap();
        for n in [2, 3, 4, 5] {
            journal.write(&[ended(n, State::Done)]).await.unwrap();
        }
        let known = |ended: Vec<Remembered>| ended.into_iter().map(|ended| ended.content).collect::<Vec<_>>();
        assert_eq!(known(journal.ended().await.unwrap()), [content(4), content(5)]);
        journal.trim().await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM crossings").fetch_one(&journal.pool).await.unwrap();
        assert_eq!((left, journal.unfinished().await.unwrap()), (2, vec![]));
    }

    #[tokio::test]
    async fn a_batch_that_cannot_be_written_is_answered_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(directory.path()).await;
        let (given, task) = journal.clone().start().await.unwrap();
        assert!(given.ended.is_empty() && given.unfinished.is_empty());
        let write = async |notes| {
            let (done, written) = oneshot::channel();
            given.batches.send(Batch { notes, done }).await.unwrap();
            written.await.unwrap();
        };
        write(vec![begun(1, unix())]).await;
        assert_eq!((journal.failures(), journal.unfinished().await.unwrap().len()), (0, 1));
        sqlx::query("DROP TABLE begun").execute(&journal.pool).await.unwrap();
        write(vec![begun(2, unix())]).await;
        assert_eq!((journal.failures(), journal.works()), (1, false));
        drop(given);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn rows_that_this_program_has_not_written_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let journal = journal(directory.path()).await;
        for row in ["x'01', 7, 1, NULL", "zeroblob(32), 7, 2, NULL", "zeroblob(32), 7, 1, 'bad luck'"] {
            let insert = format!("INSERT INTO crossings (content, sent, first, reason, at) VALUES ({row}, {})", unix());
            sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&journal.pool).await.unwrap();
        }
        let insert = "INSERT INTO begun VALUES (zeroblob(32), 7, 1, 1, '', x'01'), (x'01', 7, 1, 0, NULL, x'01')";
        sqlx::query(insert).execute(&journal.pool).await.unwrap();
        assert_eq!((journal.ended().await.unwrap(), journal.unfinished().await.unwrap().len()), (vec![], 0));
    }
}
