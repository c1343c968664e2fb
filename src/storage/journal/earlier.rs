//! The tables of this journal's first form, a row for each note: read once, written as batches, and dropped, all in one transaction.

use bridge::{
    Direction, DropReason,
    journal::{
        Cargo, Remembered,
        encoding::{self, Beginning},
    },
    seen::{Fingerprint, State},
};
use devp2p::clock::now;
use sqlx::{Connection, FromRow, SqliteConnection};
use waku0::EnvelopeHash;
use waku2::MessageHash;

use crate::storage::{from_sql, to_sql};

/// Rows in one batch.
const ROWS: i64 = 5_000;

/// Does nothing where the tables are gone.
pub(super) async fn carry_over(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let exists = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'crossings'";
    let exists: i64 = sqlx::query_scalar(exists).fetch_one(&mut *connection).await?;
    if exists == 0 {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    let last = carry_ended(&mut transaction).await?;
    carry_begun(&mut transaction, last + 1).await?;
    sqlx::query("DROP TABLE begun").execute(&mut *transaction).await?;
    sqlx::query("DROP TABLE crossings").execute(&mut *transaction).await?;
    transaction.commit().await
}

/// The number of the last batch.
async fn carry_ended(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (mut after, mut batch) = (i64::MIN, 0);
    loop {
        let select = "SELECT id, content, sent, at, first, reason, envelope, message FROM crossings WHERE id > $1 ORDER BY id LIMIT $2";
        let rows: Vec<EndedRow> = sqlx::query_as(select).bind(after).bind(ROWS).fetch_all(&mut *connection).await?;
        let Some(last) = rows.last() else { return Ok(batch) };
        after = last.id;
        batch += 1;
        let ended: Vec<Remembered> = rows.into_iter().filter_map(EndedRow::read).collect();
        let mut data = encoding::start(0);
        ended.iter().for_each(|ended| encoding::put_ended(&mut data, ended));
        let at = ended.iter().map(|ended| ended.at).max().unwrap_or_else(|| now().unix_secs());
        let entries = i64::try_from(ended.len()).unwrap_or(i64::MAX);
        let insert = "INSERT INTO ended_batches (id, at, entries, data) VALUES ($1, $2, $3, $4)";
        let insert = sqlx::query(insert).bind(batch).bind(to_sql(at)).bind(entries).bind(data);
        insert.execute(&mut *connection).await?;
    }
}

async fn carry_begun(connection: &mut SqliteConnection, batch: i64) -> Result<(), sqlx::Error> {
    let select = "SELECT content, sent, at, first, topic, data FROM begun ORDER BY at";
    let rows: Vec<BegunRow> = sqlx::query_as(select).fetch_all(&mut *connection).await?;
    let begun: Vec<Beginning> = rows.into_iter().filter_map(BegunRow::read).collect();
    if begun.is_empty() {
        return Ok(());
    }
    let mut data = encoding::start(0);
    for Beginning { content, sent, at, first, cargo } in &begun {
        // What the database held can be encoded, for no value of it is longer than a gigabyte.
        let _ = encoding::put_begun(&mut data, content, (*sent, *at), *first, cargo);
    }
    let insert = "INSERT INTO begun_batches (id, data) VALUES ($1, $2)";
    sqlx::query(insert).bind(batch).bind(data).execute(&mut *connection).await?;
    Ok(())
}

/// A row of `crossings`.
#[derive(FromRow)]
struct EndedRow {
    id: i64,
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
            first: direction(self.first)?,
            state,
            envelope: self.envelope.and_then(hash).map(EnvelopeHash::from),
            message: self.message.and_then(hash).map(MessageHash::from),
        })
    }
}

/// A row of `begun`.
#[derive(FromRow)]
struct BegunRow {
    content: Vec<u8>,
    sent: i64,
    at: i64,
    first: i64,
    topic: Option<String>,
    data: Vec<u8>,
}

impl BegunRow {
    fn read(self) -> Option<Beginning> {
        let cargo = match self.topic {
            None => Cargo::Envelope(self.data.into()),
            Some(topic) => Cargo::Message { topic: topic.parse().ok()?, data: self.data.into() },
        };
        let content = Fingerprint::from_bytes(hash(self.content)?);
        let first = direction(self.first)?;
        Some(Beginning { content, sent: from_sql(self.sent), at: from_sql(self.at), first, cargo })
    }
}

fn hash(bytes: Vec<u8>) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

fn direction(number: i64) -> Option<Direction> {
    Direction::ALL.into_iter().find(|direction| *direction as i64 == number)
}
