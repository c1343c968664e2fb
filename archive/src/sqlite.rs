//! The archive in a SQLite file of its own.
//!
//! What was appended is on disk before it counts as stored (`synchronous = FULL`), and a crash leaves the file whole. Space of
//! deleted rows is given back to the file system in small steps.
//!
//! Limits: SQLite has no checksums, so what of a long payload was changed on disk shows only to whoever compares its hash. One writer, and [`READERS`] connections that read, as many for pages, [`MAIL_READERS`] for those of envelopes; who waits for one longer than five seconds gets an error.

use std::{path::Path, time::Duration};

mod pages;
mod version;

use crate::{
    checkpoint::{self, Checkpoints},
    error::OpenError,
    mail::MailPage,
    query::{Appended, Page, Place, Query, Totals},
    record::{COLUMNS, DeletedRecord, InsertedRecord, PlaceRecord, Record, TimeRecord, TotalsRecord},
    retention::Excess,
    row::Row,
    session::{self, Changes, Readable, Session},
    sql::{self, Statement, Value},
};
use pages::Readers;
use sqlx::{
    AssertSqlSafe, Connection as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    query::{Query as SqlxQuery, QueryAs},
    sqlite::{
        SqliteArguments, SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};

/// Connections that read, by sqlx, and of pages of rows as many again.
const READERS: u32 = 4;
/// Connections that read pages of envelopes: as many as a mailserver reads at once.
const MAIL_READERS: u32 = 2;
/// How long a statement waits for a connection, or for another's transaction.
const BUSY: Duration = Duration::from_secs(5);
/// Rows of one insert: few texts that are prepared once, and fewer values than the 32,766 that SQLite takes.
const INSERTS: [usize; 4] = [512, 64, 8, 1];
/// Pages that are given back in one step: a MiB.
const VACUUM_PAGES: u32 = 256;

/// Up to this size a file is looked through when it is opened, in bytes: 256 MiB, about a second.
const CHECKED_BYTES: u64 = 256 << 20;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

#[derive(Debug)]
pub(crate) struct SqliteLog {
    readers: SqlitePool,
    /// The pool of the one writer.
    writer: SqlitePool,
    /// Writers wait for each other here, not for SQLite's lock, which is not fair.
    checkpoints: Checkpoints,
    /// The pool of the one that moves the log.
    mover: SqlitePool,
    /// Of rows, and of envelopes.
    pages: Readers,
    mail: Readers,
}

impl SqliteLog {
    pub(crate) async fn open(path: &Path) -> Result<Self, OpenError> {
        if let Some(step) = version::later(path, &MIGRATIONS).await {
            return Err(OpenError::Later(path.display().to_string(), step));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .pragma(checkpoint::NOT_BY_ITSELF.0, checkpoint::NOT_BY_ITSELF.1);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY);
        let writer = pool(1).connect_with(options.clone()).await.map_err(|error| unusable(path, error))?;
        match MIGRATIONS.run(&writer).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(step)) => return Err(OpenError::Later(path.display().to_string(), step)),
            Err(MigrateError::Execute(error)) => return Err(unusable(path, error)),
            Err(error) => return Err(OpenError::Migration(path.display().to_string(), error)),
        }
        whole(&writer, path).await?;
        let mover = pool(1).connect_with(options.clone()).await.map_err(|error| unusable(path, error))?;
        let readers = pool(READERS).connect_with(options.pragma("query_only", "ON")).await;
        let readers = readers.map_err(|error| unusable(path, error))?;
        let (pages, mail) = (Readers::of(path, READERS), Readers::of(path, MAIL_READERS));
        Ok(Self { readers, writer, checkpoints: Checkpoints::start(mover.clone()), mover, pages, mail })
    }

    pub(crate) async fn close(&self) {
        self.mail.close().await;
        self.pages.close().await;
        self.readers.close().await;
        self.mover.close().await;
        self.writer.close().await;
    }

    pub(crate) async fn fetch<T: Readable>(&self, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        bound_as(statement).fetch_all(&self.readers).await
    }

    pub(crate) async fn page(&self, query: &Query) -> Result<Page, sqlx::Error> {
        let (rows, more) = self.pages.page(query.clone()).await?;
        Ok(Page { rows, more })
    }

    pub(crate) async fn mail_page(&self, query: &Query) -> Result<MailPage, sqlx::Error> {
        let (envelopes, more) = self.mail.page(query.clone()).await?;
        Ok(MailPage { envelopes, more })
    }

    pub(crate) async fn places(&self, statement: Statement) -> Result<Vec<Place>, sqlx::Error> {
        self.pages.places(statement).await
    }

    pub(crate) async fn rows(&self, places: &[Place]) -> Result<Vec<Row>, sqlx::Error> {
        self.pages.at(places.to_vec()).await
    }

    pub(crate) async fn append(&self, rows: &[Row], now_secs: u64) -> Result<Vec<Appended>, sqlx::Error> {
        let _turn = self.checkpoints.turn().await;
        let mut connection = self.writer.acquire().await?;
        let outcomes = append(&mut connection, rows, now_secs).await;
        or_another(&outcomes, &mut connection);
        self.checkpoints.written(rows.len(), rows.iter().map(Row::size_bytes).sum());
        outcomes
    }

    pub(crate) async fn totals(&self) -> Result<Totals, sqlx::Error> {
        let mut connection = self.readers.acquire().await?;
        totals(&mut connection).await
    }

    /// Deletes some of the oldest rows; how many that were; `None` when nothing has to go.
    pub(crate) async fn trim(&self, excess: &Excess, chunk: usize) -> Result<Option<u64>, sqlx::Error> {
        let _turn = self.checkpoints.turn().await;
        let mut connection = self.writer.acquire().await?;
        let deleted = trim(&mut connection, excess, chunk).await;
        or_another(&deleted, &mut connection);
        let deleted = deleted?;
        self.checkpoints.written(deleted.unwrap_or(0), 0);
        Ok(deleted.map(|rows| rows as u64))
    }

    /// Gives some space of deleted rows back to the file system; whether there may be more.
    pub(crate) async fn give_back(&self) -> Result<bool, sqlx::Error> {
        let _turn = self.checkpoints.turn().await;
        let mut connection = self.writer.acquire().await?;
        let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
        if free > 0 {
            let vacuum = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
            sqlx::query(AssertSqlSafe(vacuum)).execute(&mut *connection).await?;
            self.checkpoints.written(0, VACUUM_PAGES as usize * 4_096);
        }
        Ok(free > i64::from(VACUUM_PAGES))
    }
}

async fn append(connection: &mut SqliteConnection, rows: &[Row], now_secs: u64) -> Result<Vec<Appended>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let (outcomes, changes) = session::append(&mut *transaction, rows, |row| row.admit(now_secs)).await?;
    count(&mut transaction, &changes).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

async fn trim(connection: &mut SqliteConnection, excess: &Excess, chunk: usize) -> Result<Option<usize>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let totals = totals(&mut transaction).await?;
    let oldest: Vec<PlaceRecord> = transaction.fetch(sql::oldest(chunk)).await?;
    let going = excess.going(&totals, oldest.into_iter().filter_map(PlaceRecord::read));
    let Some(last) = going.last() else { return Ok(None) };
    let deleted: Vec<DeletedRecord> = transaction.fetch(sql::delete_until(last)).await?;
    count(&mut transaction, &deleted.iter().map(DeletedRecord::change).collect()).await?;
    transaction.commit().await?;
    Ok(Some(deleted.len()))
}

/// After a failure another connection writes: where the disk has failed SQLite ends a transaction by itself, and sqlx, which counts
/// them, would refuse every later one.
fn or_another<T>(written: &Result<T, sqlx::Error>, connection: &mut PoolConnection<Sqlite>) {
    if written.is_err() {
        connection.close_on_drop();
    }
}

fn unusable(path: &Path, error: sqlx::Error) -> OpenError {
    OpenError::Unusable(path.display().to_string(), error)
}

/// A file that was cut off, or has empty pages, says so now and not when it is asked. A large one is looked through up to the first
/// faults that show in its ends and totals: the rest shows when it is read.
async fn whole(pool: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let damaged = |what: String| OpenError::Damaged(path.display().to_string(), what);
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    if bytes <= CHECKED_BYTES {
        let said: Result<String, _> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await;
        match said {
            Ok(said) if said == "ok" => {}
            Ok(said) => return Err(damaged(said)),
            Err(error) => return Err(damaged(error.to_string())),
        }
    }
    let mut connection = pool.acquire().await.map_err(|error| unusable(path, error))?;
    totals(&mut connection).await.map(drop).map_err(|error| damaged(error.to_string()))
}

async fn totals(connection: &mut SqliteConnection) -> Result<Totals, sqlx::Error> {
    let sums: Vec<TotalsRecord> = connection.fetch(Statement::new("SELECT rows, bytes FROM totals")).await?;
    let oldest: Vec<TimeRecord> = connection.fetch(sql::edge(false)).await?;
    let newest: Vec<TimeRecord> = connection.fetch(sql::edge(true)).await?;
    let sum = |part: fn(&TotalsRecord) -> i64| sums.iter().map(part).sum::<i64>().try_into().unwrap_or(0);
    Ok(Totals {
        rows: sum(|totals| totals.rows),
        bytes: sum(|totals| totals.bytes),
        oldest_ns: oldest.first().and_then(TimeRecord::read),
        newest_ns: newest.first().and_then(TimeRecord::read),
    })
}

/// Keeps the totals.
async fn count(connection: &mut SqliteConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    let (rows, bytes) = changes.iter().fold((0, 0), |sum, change| (sum.0 + change.rows, sum.1 + change.bytes));
    if (rows, bytes) == (0, 0) {
        return Ok(());
    }
    let mut statement = Statement::new("UPDATE totals SET rows = rows + ");
    statement.bind(Value::Int(rows)).push(", bytes = bytes + ").bind(Value::Int(bytes));
    connection.execute(statement).await?;
    Ok(())
}

impl Session for SqliteConnection {
    async fn insert(&mut self, records: Vec<Record>) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let mut ids = Vec::with_capacity(records.len());
        let mut records = records.into_iter();
        for rows in INSERTS {
            while records.len() >= rows {
                let inserted: Vec<InsertedRecord> = insert(records.by_ref().take(rows)).fetch_all(&mut *self).await?;
                ids.extend(inserted.into_iter().map(|record| record.id));
            }
        }
        Ok(ids)
    }

    async fn fetch<T: Readable>(&mut self, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        bound_as(statement).fetch_all(self).await
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        Ok(bound(statement).execute(self).await?.rows_affected())
    }
}

fn insert<'q>(records: impl ExactSizeIterator<Item = Record>) -> QueryAs<'q, Sqlite, InsertedRecord, SqliteArguments> {
    let row = format!("({})", ["?"; COLUMNS.len()].join(", "));
    let rows = vec![row; records.len()].join(", ");
    let columns = COLUMNS.join(", ");
    let text = format!("INSERT INTO log ({columns}) VALUES {rows} ON CONFLICT DO NOTHING RETURNING id");
    records.fold(sqlx::query_as(AssertSqlSafe(text)), |query, record| {
        query
            .bind(record.sent)
            .bind(record.nanos)
            .bind(record.id)
            .bind(record.content)
            .bind(record.topic)
            .bind(record.ttl)
            .bind(record.wrapped)
            .bind(record.envelope)
            .bind(record.nonce)
            .bind(record.pubsub_topic)
            .bind(record.content_topic)
            .bind(record.version)
            .bind(record.meta)
            .bind(record.proof)
            .bind(record.proven)
            .bind(record.first)
            .bind(record.reason)
            .bind(record.stored_at)
            .bind(record.size)
            .bind(record.payload)
    })
}

fn bound<'q>(statement: Statement) -> SqlxQuery<'q, Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text));
    statement.values.into_iter().fold(query, |query, value| match value {
        Value::Int(n) => query.bind(n),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

fn bound_as<'q, T: Readable>(statement: Statement) -> QueryAs<'q, Sqlite, T, SqliteArguments> {
    let query = sqlx::query_as(AssertSqlSafe(statement.text));
    statement.values.into_iter().fold(query, |query, value| match value {
        Value::Int(n) => query.bind(n),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        io::{Seek as _, SeekFrom, Write as _},
        path::PathBuf,
    };

    use bytes::Bytes;

    use super::*;
    use crate::{
        query::Query,
        row::{EnvelopeHalf, Mined, Side},
    };

    const NOW: u64 = 1_700_000_000;
    const PAGE: u64 = 4_096;

    fn row(n: u8, payload: usize) -> Row {
        let mined = Mined { hash: [n; 32], nonce: 7 };
        Row {
            sent_ns: (i64::from(n) + 1) * 1_000_000_000,
            content: [n; 32],
            payload: Bytes::from(vec![n; payload]),
            envelope: Some(EnvelopeHalf { topic: [n; 4], ttl: 15, wrapped: false, mined: Some(mined) }),
            message: None,
            proven: false,
            first: Side::V1,
            reason: None,
            stored_at: NOW,
        }
    }

    fn rows(count: u8, payload: usize) -> Vec<Row> {
        (0..count).map(|n| row(n, payload)).collect()
    }

    async fn pragma(log: &SqliteLog, text: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("PRAGMA {text}"))).fetch_one(&log.writer).await.unwrap()
    }

    /// A closed file with some rows, none of which needs a page beside those of the tree.
    async fn closed(directory: &Path) -> PathBuf {
        let path = directory.join("archive.sqlite3");
        let log = SqliteLog::open(&path).await.unwrap();
        log.append(&rows(200, 900), NOW).await.unwrap();
        log.close().await;
        path
    }

    async fn refusal(path: &Path) -> OpenError {
        match SqliteLog::open(path).await {
            Err(error) => error,
            Ok(_) => panic!("it opened"),
        }
    }

    #[tokio::test]
    async fn what_is_written_is_on_disk_and_space_can_be_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&directory.path().join("archive.sqlite3")).await.unwrap();
        assert_eq!(pragma(&log, "synchronous").await, 2, "FULL");
        assert_eq!(pragma(&log, "auto_vacuum").await, 2, "INCREMENTAL");
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&log.writer).await.unwrap();
        assert_eq!(mode, "wal");
    }

    #[tokio::test]
    async fn deleted_rows_give_their_space_back() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&directory.path().join("archive.sqlite3")).await.unwrap();
        log.append(&rows(200, 40_000), NOW).await.unwrap();
        let before = pragma(&log, "page_count").await;
        let excess = Excess { keep_rows: Some(20), ..Excess::default() };
        while log.trim(&excess, 50).await.unwrap().is_some() {}
        while log.give_back().await.unwrap() {}
        let after = pragma(&log, "page_count").await;
        assert!(after < before / 5, "{before} pages, then {after}");
        assert_eq!(pragma(&log, "freelist_count").await, 0);
    }

    #[tokio::test]
    async fn f03_a_full_disk_is_told_and_written_again_when_there_is_space() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&directory.path().join("archive.sqlite3")).await.unwrap();
        log.append(&rows(10, 1_000), NOW).await.unwrap();
        let pages = pragma(&log, "page_count").await;
        pragma(&log, &format!("max_page_count = {}", pages + 20)).await;
        let (before, larger) = (log.totals().await.unwrap(), rows(100, 4_000));
        let error = log.append(&larger, NOW).await.unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        assert_eq!(log.totals().await.unwrap(), before, "all of a batch or none");
        log.append(&[row(200, 100)], NOW).await.unwrap();
        pragma(&log, "max_page_count = 1000000").await;
        log.append(&larger, NOW).await.unwrap();
        assert_eq!(log.totals().await.unwrap().rows, 101);
    }

    #[tokio::test]
    async fn f04_what_cannot_be_written_is_not_counted_as_stored() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&directory.path().join("archive.sqlite3")).await.unwrap();
        log.append(&rows(1, 10), NOW).await.unwrap();
        let forbidden = async || sqlx::query("PRAGMA query_only = ON").execute(&log.writer).await.unwrap();
        forbidden().await;
        assert!(log.append(&rows(5, 10), NOW).await.is_err());
        forbidden().await;
        assert!(log.trim(&Excess { keep_rows: Some(0), ..Excess::default() }, 10).await.is_err());
        assert_eq!(log.totals().await.unwrap().rows, 1);
        // The connection that failed is gone, and with it what it was forbidden.
        log.append(&rows(5, 10), NOW).await.unwrap();
        assert_eq!(log.totals().await.unwrap().rows, 5);
    }

    #[tokio::test]
    async fn f05_a_file_that_was_cut_off_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = closed(directory.path()).await;
        let whole = fs::read(&path).unwrap();
        for length in [100, PAGE, whole.len() as u64 / 2, whole.len() as u64 - PAGE] {
            fs::write(&path, &whole).unwrap();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
            let said = refusal(&path).await.to_string();
            assert!(said.contains("archive.sqlite3"), "{length}: {said}");
            assert_eq!(fs::metadata(&path).unwrap().len(), length, "it is left alone");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(SqliteLog::open(&path).await.unwrap().totals().await.unwrap().rows, 200);
    }

    #[tokio::test]
    async fn f05_a_page_of_zeros_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = closed(directory.path()).await;
        let whole = fs::read(&path).unwrap();
        let pages = whole.len() as u64 / PAGE;
        for page in [0, 2, 3, pages / 3, pages / 2, pages - 1] {
            fs::write(&path, &whole).unwrap();
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(page * PAGE)).unwrap();
            file.write_all(&[0; PAGE as usize]).unwrap();
            drop(file);
            let said = refusal(&path).await;
            let what = matches!(said, OpenError::Damaged(..) | OpenError::Unusable(..) | OpenError::Migration(..));
            assert!(what && said.to_string().contains("archive.sqlite3"), "{page} of {pages}: {said}");
        }
    }

    #[tokio::test]
    async fn f05_what_is_no_database_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive.sqlite3");
        let text = "hello ".repeat(1_000);
        fs::write(&path, &text).unwrap();
        assert!(matches!(refusal(&path).await, OpenError::Unusable(..)));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    /// In order, and as a crash leaves it: with what the later version wrote last still in its log.
    #[tokio::test]
    async fn f23_a_later_schema_is_refused_and_left_as_it_is() {
        let (directory, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |directory: &tempfile::TempDir| directory.path().join("archive.sqlite3");
        let log = SqliteLog::open(&path(&directory)).await.unwrap();
        let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'later', TRUE, x'00', 0)";
        sqlx::query(later).execute(&log.writer).await.unwrap();
        let wal = |directory: &tempfile::TempDir| directory.path().join("archive.sqlite3-wal");
        for file in [path, wal] {
            fs::copy(file(&directory), file(&crashed)).unwrap();
        }
        log.close().await;
        assert!(!wal(&directory).exists() && fs::metadata(wal(&crashed)).unwrap().len() > 0);
        for directory in [directory, crashed] {
            let files = || [path(&directory), wal(&directory)].map(|file| fs::read(file).unwrap_or_default());
            let before = files();
            assert!(matches!(refusal(&path(&directory)).await, OpenError::Later(_, 9999)));
            assert!(files() == before);
        }
    }

    /// The file and its log as they stood after some batch, and the log cut anywhere behind: what a lost power supply leaves.
    #[tokio::test]
    async fn f02_what_was_answered_survives_a_power_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive.sqlite3");
        let wal = directory.path().join("archive.sqlite3-wal");
        let log = SqliteLog::open(&path).await.unwrap();
        let mut lengths = vec![];
        for n in 0..20 {
            log.append(&[row(n, 3_000)], NOW).await.unwrap();
            lengths.push(fs::metadata(&wal).unwrap().len());
        }
        for (batches, cut) in [(20, 0), (20, 700), (13, 0), (13, 1), (7, 4_000)] {
            let copy = tempfile::tempdir().unwrap();
            let copied = copy.path().join("archive.sqlite3");
            fs::copy(&path, &copied).unwrap();
            let length = usize::try_from(lengths[batches - 1] + cut).unwrap();
            let written = fs::read(&wal).unwrap();
            fs::write(copy.path().join("archive.sqlite3-wal"), &written[..length.min(written.len())]).unwrap();
            let reopened = SqliteLog::open(&copied).await.unwrap();
            let kept = reopened.totals().await.unwrap().rows;
            assert_eq!(kept, batches as u64, "cut {cut} behind");
        }
    }

    #[tokio::test]
    async fn every_page_is_read_by_an_index() {
        let directory = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&directory.path().join("archive.sqlite3")).await.unwrap();
        log.append(&rows(100, 10), NOW).await.unwrap();
        let with = |view: crate::View| Query { view, newest_first: true, ..Query::messages() };
        let messages = |content_topics: Vec<String>| {
            let after = Some(crate::MessagePosition { sent_ns: 9, hash: [0; 32] });
            crate::View::Messages { after, content_topics, pubsub_topic: Some("x".to_owned()), proven_only: true }
        };
        let envelopes = |topics: Vec<[u8; 4]>| {
            let after = Some(crate::EnvelopePosition { sent_secs: 9, hash: [0; 32] });
            crate::View::Envelopes { after, topics }
        };
        let bounded = Query { sent_ns: 5..=1 << 60, ..with(messages(vec![])) };
        for query in [
            Query::messages(),
            Query::envelopes(),
            bounded,
            with(messages(vec![])),
            with(messages(vec!["a".to_owned()])),
            with(envelopes(vec![])),
            with(envelopes(vec![[1; 4]])),
        ] {
            let topics = sql::topics(&query.view);
            let topic = topics.first().map(Vec::as_slice);
            let columns = COLUMNS.join(", ");
            let key = crate::row::Key { sent_ns: 5, id: [1; 32] };
            for mut statement in
                sql::places(&query).into_iter().chain([sql::rows(&columns, &query, topic), sql::row_at(&columns, &key)])
            {
                statement.text = format!("EXPLAIN QUERY PLAN {}", statement.text);
                let mut explain = sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(statement.text));
                for value in statement.values {
                    explain = match value {
                        Value::Int(n) => explain.bind(n),
                        Value::Bytes(bytes) => explain.bind(bytes),
                    };
                }
                let steps = explain.fetch_all(&log.readers).await.unwrap();
                let plan: Vec<&str> = steps.iter().map(|(.., step)| &step[..]).collect();
                assert!(plan.iter().all(|step| step.contains("USING INDEX")), "{query:?}: {plan:?}");
                let asks_proof = matches!(query.view, crate::View::Messages { proven_only: true, .. });
                let by_proof = plan.iter().any(|step| step.contains("log_proven_by"));
                assert_eq!(by_proof, asks_proof && !plan[0].contains("nanos=?"), "{query:?}: {plan:?}");
            }
        }
    }
}
