//! The archive in PostgreSQL, which several nodes may share: each row is kept once, whoever brings it.
//!
//! The log is cut into days, and what is old goes a day at a time, which gives its space back at once. Days are made as time goes by,
//! never because of what comes: no sender can make more of them. What was sent before the first day that is kept is refused.
//!
//! Limits: one connection writes, the others read; who waits for one longer than five seconds gets an error. Whoever changes days
//! waits at most [`LOCK_TIMEOUT`] for those who read or write, and tries again later.

mod days;

use std::{str::FromStr, sync::Mutex, sync::PoisonError, time::Duration};

use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migrator},
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions},
    query::{Query as SqlxQuery, QueryAs},
};

use crate::{
    error::OpenError,
    query::{Appended, Place, Totals},
    record::{COLUMNS, DeletedRecord, InsertedRecord, PlaceRecord, Record, TimeRecord, TotalsRecord},
    retention::Excess,
    row::{Key, Refusal, Row},
    session::{self, Changes, Readable, Session},
    sql::{self, Statement, Value},
};
use days::Days;

/// How long a statement waits for a connection.
const BUSY: Duration = Duration::from_secs(5);
/// How long a change of days waits for others, and they for it. As PostgreSQL reads it.
const LOCK_TIMEOUT: &str = "50ms";
/// How often a batch is tried whose days have just changed, or that waited for another node in a circle.
const ATTEMPTS: usize = 3;
/// Lines of a day's tally.
const SLOTS: u32 = 32;
/// The advisory lock of those who delete: "causeway" in ASCII.
const TRIM_LOCK: i64 = 0x6361_7573_6577_6179;
/// The advisory lock of those who make days.
const DAYS_LOCK: i64 = TRIM_LOCK + 1;
/// The advisory lock of those who remove days that were taken off.
const REMOVE_LOCK: i64 = TRIM_LOCK + 2;

/// What a batch is tried again after: no partition, a lock waited for too long, a circle of waits, a row that changed meanwhile.
const PASSING: [&str; 5] = ["23514", "55P03", "40P01", "40001", "23503"];

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The types of [`COLUMNS`].
const TYPES: [&str; COLUMNS.len()] = [
    "bigint", "integer", "bytea", "bytea", "bytea", "bigint", "boolean", "bytea", "bigint", "bytea", "bytea", "bigint",
    "bytea", "bytea", "boolean", "integer", "text", "bigint", "integer", "bytea",
];

#[derive(Debug)]
pub(crate) struct PostgresLog {
    readers: PgPool,
    writer: PgPool,
    days: Mutex<Days>,
}

impl PostgresLog {
    pub(crate) async fn open(url: &str, connections: u32, now_secs: u64) -> Result<Self, OpenError> {
        let invalid = |error| OpenError::Unusable("postgres://…".to_owned(), error);
        let options = PgConnectOptions::from_str(url).map_err(invalid)?.application_name("causeway");
        let name = format!("{}/{}", options.get_host(), options.get_database().unwrap_or_default());
        // Durable whatever the server's default is; short statements gain nothing from being compiled.
        let options = options.options([("synchronous_commit", "on"), ("jit", "off"), ("lock_timeout", "5s")]);
        let pool = |connections| PgPoolOptions::new().max_connections(connections).acquire_timeout(BUSY);
        let unusable = |error| OpenError::Unusable(name.clone(), error);
        let writer = pool(1).connect_with(options.clone()).await.map_err(unusable)?;
        match MIGRATIONS.run(&writer).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(step)) => return Err(OpenError::Later(name, step)),
            Err(MigrateError::Execute(error)) => return Err(unusable(error)),
            Err(error) => return Err(OpenError::Migration(name, error)),
        }
        // A statement is planned once, for all partitions, which takes longer than a page; what is bound to it never changes the plan.
        let options = options.options([("plan_cache_mode", "force_generic_plan")]);
        let readers = pool(connections.saturating_sub(1).max(1)).connect_lazy_with(options);
        let log = Self { readers, writer, days: Mutex::default() };
        log.prepare(now_secs).await.map_err(unusable)?;
        log.remove_days();
        Ok(log)
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) async fn fetch<T: Readable>(&self, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        bound_as(statement).fetch_all(&self.readers).await
    }

    pub(crate) async fn rows(&self, places: &[Place]) -> Result<Vec<Record>, sqlx::Error> {
        let columns: Vec<String> = COLUMNS.iter().map(|column| format!("log.{column}")).collect();
        let text = format!(
            "SELECT {} FROM unnest($1::bigint[], $2::integer[], $3::bytea[]) AS wanted (sent, nanos, id) \
             JOIN log ON log.sent = wanted.sent AND log.nanos = wanted.nanos AND log.id = wanted.id",
            columns.join(", ")
        );
        let keys = || places.iter().map(|place| place.key);
        sqlx::query_as(AssertSqlSafe(text))
            .bind(keys().map(|key| key.split().0).collect::<Vec<i64>>())
            .bind(keys().map(|key| key.split().1 as i32).collect::<Vec<i32>>()) // below 10^9
            .bind(keys().map(|key| key.id.to_vec()).collect::<Vec<Vec<u8>>>())
            .fetch_all(&self.readers)
            .await
    }

    pub(crate) async fn append(&self, rows: &[Row], now_secs: u64) -> Result<Vec<Appended>, sqlx::Error> {
        let mut attempt = 1;
        loop {
            if !self.days().reach(now_secs) {
                self.prepare(now_secs).await?;
            }
            match self.append_once(rows, now_secs).await {
                Err(error) if attempt < ATTEMPTS && passes(&error) => {
                    attempt += 1;
                    self.prepare(now_secs).await?;
                }
                result => return result,
            }
        }
    }

    async fn append_once(&self, rows: &[Row], now_secs: u64) -> Result<Vec<Appended>, sqlx::Error> {
        let days = self.days();
        let admit = |row: &Row| -> Result<Key, Refusal> {
            let key = row.admit(now_secs)?;
            days.of(key.split().0).map(|_| key).ok_or(Refusal::TooOld)
        };
        let mut transaction = self.writer.begin().await?;
        let (outcomes, changes) = session::append(&mut *transaction, rows, admit).await?;
        count(&mut transaction, &days, &changes).await?;
        transaction.commit().await?;
        Ok(outcomes)
    }

    /// Makes the days that are missing, and reads which there are.
    pub(crate) async fn prepare(&self, now_secs: u64) -> Result<(), sqlx::Error> {
        let mut attempt = 1;
        let days = loop {
            match days::prepare(&self.writer, now_secs).await {
                // Someone reads or writes; what is needed next was mostly made long before.
                Err(error) if attempt < 10 * ATTEMPTS && passes(&error) => attempt += 1,
                result => break result?,
            }
        };
        *self.days.lock().unwrap_or_else(PoisonError::into_inner) = days;
        Ok(())
    }

    fn days(&self) -> Days {
        self.days.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn totals(&self) -> Result<Totals, sqlx::Error> {
        let mut connection = self.readers.acquire().await?;
        totals(&mut connection).await
    }

    /// Removes the days that were taken off, beside everything else.
    fn remove_days(&self) {
        let pool = self.readers.clone();
        tokio::spawn(async move {
            if let Err(error) = days::remove(&pool).await {
                tracing::debug!(%error, "days that were taken off are removed at the next start, or with the next of them");
            }
        });
    }

    /// Deletes a day, or some of the oldest rows; how many that were; `None` when nothing has to go. One node does so at a time; the others find nothing to do.
    pub(crate) async fn trim(&self, excess: &Excess, chunk: usize) -> Result<Option<u64>, sqlx::Error> {
        let mut transaction = self.writer.begin().await?;
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
            .bind(TRIM_LOCK)
            .fetch_one(&mut *transaction)
            .await?;
        if !mine {
            return Ok(None);
        }
        let totals = totals(&mut transaction).await?;
        match days::drop_oldest(&mut transaction, excess, &totals).await {
            Ok(Some(rows)) => {
                transaction.commit().await?;
                self.remove_days();
                return Ok(Some(rows));
            }
            Ok(None) => {}
            // Someone reads or writes there: in the next round.
            Err(error) if passes(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let oldest: Vec<PlaceRecord> = transaction.fetch(sql::oldest(chunk)).await?;
        let going = excess.going(&totals, oldest.into_iter().filter_map(PlaceRecord::read));
        let Some(last) = going.last() else { return Ok(None) };
        let deleted: Vec<DeletedRecord> = transaction.fetch(sql::delete_until(last)).await?;
        let changes = deleted.iter().map(DeletedRecord::change).collect();
        let days = Days::read(&mut transaction).await?;
        count(&mut transaction, &days, &changes).await?;
        transaction.commit().await?;
        Ok(Some(deleted.len() as u64))
    }
}

/// Whether another attempt may succeed.
fn passes(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| PASSING.contains(&&*code))
}

async fn totals(connection: &mut PgConnection) -> Result<Totals, sqlx::Error> {
    let sums = "SELECT coalesce(sum(rows), 0)::bigint AS rows, coalesce(sum(bytes), 0)::bigint AS bytes FROM tally";
    let sums: Vec<TotalsRecord> = connection.fetch(Statement::new(sums)).await?;
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

/// Keeps the tally, one day after the other: those who count wait for each other, but never in a circle.
async fn count(connection: &mut PgConnection, days: &Days, changes: &Changes) -> Result<(), sqlx::Error> {
    for (lower, rows, bytes) in days.sums(changes) {
        sqlx::query(
            "INSERT INTO tally VALUES ($1, pg_backend_pid() % $2, $3, $4) ON CONFLICT (lower_secs, slot) \
             DO UPDATE SET rows = tally.rows + excluded.rows, bytes = tally.bytes + excluded.bytes",
        )
        .bind(lower)
        .bind(SLOTS as i32)
        .bind(rows)
        .bind(bytes)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

impl Session for PgConnection {
    async fn insert(&mut self, records: Vec<Record>) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let arrays: Vec<String> = TYPES.iter().zip(1..).map(|(kind, place)| format!("${place}::{kind}[]")).collect();
        let text = format!(
            "INSERT INTO log ({}) SELECT * FROM unnest({}) ON CONFLICT DO NOTHING RETURNING id",
            COLUMNS.join(", "),
            arrays.join(", ")
        );
        let inserted: Vec<InsertedRecord> =
            arrays_of(sqlx::query_as(AssertSqlSafe(text)), records).fetch_all(self).await?;
        Ok(inserted.into_iter().map(|record| record.id).collect())
    }

    async fn fetch<T: Readable>(&mut self, statement: Statement) -> Result<Vec<T>, sqlx::Error> {
        bound_as(statement).fetch_all(self).await
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        Ok(bound(statement).execute(self).await?.rows_affected())
    }
}

type Insert<'q> = QueryAs<'q, Postgres, InsertedRecord, PgArguments>;

/// Binds an array for each column.
fn arrays_of(query: Insert<'_>, records: Vec<Record>) -> Insert<'_> {
    macro_rules! bind {
        ($query:expr, $($column:ident),*) => {{
            $(let mut $column = Vec::with_capacity(records.len());)*
            for record in records {
                $($column.push(record.$column);)*
            }
            $query $(.bind($column))*
        }};
    }
    bind!(
        query,
        sent,
        nanos,
        id,
        content,
        topic,
        ttl,
        wrapped,
        envelope,
        nonce,
        pubsub_topic,
        content_topic,
        version,
        meta,
        proof,
        proven,
        first,
        reason,
        stored_at,
        size,
        payload
    )
}

fn bound<'q>(statement: Statement) -> SqlxQuery<'q, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text));
    statement.values.into_iter().fold(query, |query, value| match value {
        Value::Int(n) => query.bind(n),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

fn bound_as<'q, T: Readable>(statement: Statement) -> QueryAs<'q, Postgres, T, PgArguments> {
    let query = sqlx::query_as(AssertSqlSafe(statement.text));
    statement.values.into_iter().fold(query, |query, value| match value {
        Value::Int(n) => query.bind(n),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}
