//! The store of nwaku, in SQLite: table `message`.  Source: nwaku `migrations/message_store`, versions 2 to 10.
//!
//! | version | key | when it was sent | hash |
//! |---|---|---|---|
//! | 1 | id | not kept: refused as a whole | |
//! | 2 | id | `senderTimestamp`, seconds with a fraction | |
//! | 3 to 6 | id; from 4 on time, id, pubsub topic | `senderTimestamp`, nanoseconds | |
//! | 7 | `storedAt`, id, pubsub topic | `timestamp` | |
//! | 8, 9 | `messageHash` | `timestamp`; `meta` from 9 on | of rows from before 8, a random one |
//! | 10 | `messageHash` | `timestamp`, which was `storedAt` | the same |
//!
//! The columns that are there decide, not the version's number, which other programs leave at 0. A hash that is not of the row's content
//! is refused unless `rehash` asks for the one that it has. Proofs are not in such a store.
//!
//! The file is opened for reading alone. SQLite itself may leave a `-shm` file beside one that nwaku still has open.

use std::path::{Path, PathBuf};

use archive::Row;
use devp2p::clock::now;
use sqlx::{
    AssertSqlSafe, Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};
use waku2::{ContentTopic, Meta, PubsubTopic, WakuMessage, hash::message_hash};

use super::{
    Refused,
    mail::REASON,
    source::{Chunk, Item, item},
};
use crate::rows;

/// Rows of one query: a message has at most 150 KiB on the Waku Network.
const PAGE: i64 = 500;

/// Why the store can't be read.
#[derive(Debug, thiserror::Error)]
pub enum NwakuError {
    /// SQLite says no.
    #[error("{0} can't be read: {1}")]
    Database(PathBuf, sqlx::Error),
    /// It is another database.
    #[error("{0} has no table `message` of nwaku's store: {1} is missing")]
    NotNwaku(PathBuf, &'static str),
    /// Of the first version.
    #[error("{0} is of the first version of nwaku's store, which did not keep when messages were sent")]
    NoTimes(PathBuf),
}

/// A store that is being read.
#[derive(Debug)]
pub(crate) struct Nwaku {
    pool: SqlitePool,
    path: PathBuf,
    layout: Layout,
    rehash: bool,
    /// The key of the last row that was read.
    after: Option<Vec<KeyPart>>,
    total: u64,
    read: u64,
}

/// What its columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    /// When a message was sent, in nanoseconds.
    time: &'static str,
    has_hash: bool,
    has_meta: bool,
    /// The primary key, and whether each part is a number.
    key: Vec<(String, bool)>,
}

#[derive(Debug, Clone)]
enum KeyPart {
    Int(i64),
    Bytes(Vec<u8>),
}

/// A column, as SQLite tells it.
type Column = (String, String, i64);

impl Nwaku {
    pub(super) async fn open(path: &Path, rehash: bool) -> Result<Self, NwakuError> {
        let failed = |error| NwakuError::Database(path.to_owned(), error);
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
        let columns: Vec<Column> = sqlx::query_as("SELECT name, upper(type), pk FROM pragma_table_info('message')")
            .fetch_all(&pool)
            .await
            .map_err(failed)?;
        let layout = Layout::of(&columns, path)?;
        let total: i64 = sqlx::query_scalar("SELECT count(*) FROM message").fetch_one(&pool).await.map_err(failed)?;
        let total = total.unsigned_abs();
        Ok(Self { pool, path: path.to_owned(), layout, rehash, after: None, total, read: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn progress(&self) -> (u64, u64) {
        (self.read, self.total)
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<Item>>, NwakuError> {
        let failed = |error| NwakuError::Database(self.path.clone(), error);
        let mut query = sqlx::query(AssertSqlSafe(self.layout.query(self.after.is_some())));
        for part in self.after.iter().flatten() {
            query = match part {
                KeyPart::Int(number) => query.bind(*number),
                KeyPart::Bytes(bytes) => query.bind(bytes.clone()),
            };
        }
        let page = query.bind(PAGE).fetch_all(&self.pool).await.map_err(failed)?;
        let mut chunk = Chunk::default();
        for record in &page {
            let message = self.layout.row(record, self.rehash);
            chunk.push(item(message, || format!("row {}", named(record))));
        }
        if let Some(last) = page.last() {
            self.after = Some(self.layout.key_of(last).map_err(failed)?);
        }
        self.read += page.len() as u64;
        Ok(chunk.end())
    }
}

impl Layout {
    fn of(columns: &[Column], path: &Path) -> Result<Self, NwakuError> {
        let has = |name: &str| columns.iter().any(|(column, ..)| column == name);
        let kind = |name: &str| columns.iter().find(|(column, ..)| column == name).map(|(_, kind, _)| &**kind);
        for name in ["pubsubTopic", "contentTopic", "payload", "version"] {
            if !has(name) {
                return Err(NwakuError::NotNwaku(path.to_owned(), name));
            }
        }
        let time = match (kind("senderTimestamp"), has("timestamp")) {
            (Some("REAL"), _) => "CAST(senderTimestamp * 1000000000 AS INTEGER)", // As nwaku itself made them integers.
            (Some(_), _) => "senderTimestamp",
            (None, true) if has("storedAt") || has("messageHash") => "timestamp",
            (None, true) => return Err(NwakuError::NoTimes(path.to_owned())),
            (None, false) => return Err(NwakuError::NotNwaku(path.to_owned(), "timestamp")),
        };
        let mut key: Vec<_> = columns.iter().filter(|(.., place)| *place > 0).collect();
        key.sort_by_key(|(.., place)| *place);
        if key.is_empty() {
            return Err(NwakuError::NotNwaku(path.to_owned(), "a primary key"));
        }
        let key = key.into_iter().map(|(name, kind, _)| (name.replace('"', ""), kind == "INTEGER")).collect();
        Ok(Self { time, has_hash: has("messageHash"), has_meta: has("meta"), key })
    }

    /// One page, in the order of the key.
    fn query(&self, goes_on: bool) -> String {
        let names: Vec<String> = self.key.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let names = names.join(", ");
        let hash = if self.has_hash { "messageHash" } else { "NULL" };
        let meta = if self.has_meta { "meta" } else { "NULL" };
        let behind = if goes_on {
            format!("WHERE ({names}) > ({})", vec!["?"; self.key.len()].join(", "))
        } else {
            String::new()
        };
        format!(
            "SELECT CAST(pubsubTopic AS BLOB) AS pubsub, CAST(contentTopic AS BLOB) AS content, CAST(payload AS BLOB) AS payload, \
             version, {} AS sent, CAST({hash} AS BLOB) AS hash, CAST({meta} AS BLOB) AS meta, {names} \
             FROM message {behind} ORDER BY {names} LIMIT ?",
            self.time
        )
    }

    fn key_of(&self, record: &SqliteRow) -> Result<Vec<KeyPart>, sqlx::Error> {
        let part = |(name, is_number): &(String, bool)| {
            Ok(if *is_number {
                KeyPart::Int(record.try_get_unchecked(&**name)?)
            } else {
                KeyPart::Bytes(record.try_get_unchecked(&**name)?)
            })
        };
        self.key.iter().map(part).collect()
    }

    fn row(&self, record: &SqliteRow, rehash: bool) -> Result<Row, Refused> {
        let unreadable = |what: &str| Refused::Unreadable(format!("its {what} can't be read"));
        let bytes = |name: &str| record.try_get_unchecked::<Option<Vec<u8>>, _>(name).map_err(|_| unreadable(name));
        let number = |name: &str| record.try_get_unchecked::<i64, _>(name).map_err(|_| unreadable(name));
        let text = |name: &str| String::from_utf8(bytes(name)?.unwrap_or_default()).map_err(|_| unreadable(name));
        let pubsub: PubsubTopic = text("pubsub")?.parse().map_err(|_| unreadable("pubsub topic"))?;
        let message = WakuMessage {
            payload: bytes("payload")?.unwrap_or_default().into(),
            content_topic: ContentTopic::from(text("content")?),
            version: u32::try_from(number("version")?).map_err(|_| unreadable("version"))?,
            timestamp: Some(number("sent")?).filter(|nanos| *nanos > 0),
            meta: Meta::new(bytes("meta")?.unwrap_or_default()).map_err(|_| unreadable("meta"))?,
            rate_limit_proof: None,
            ephemeral: false,
        };
        let kept_under = bytes("hash")?;
        if !rehash && kept_under.is_some_and(|hash| hash != message_hash(&pubsub, &message).as_bytes()) {
            return Err(Refused::Hash);
        }
        rows::of_message(&pubsub, &message, Some(REASON), now().unix_secs()).ok_or(Refused::NoTime)
    }
}

fn named(record: &SqliteRow) -> String {
    let hash: Option<Vec<u8>> = record.try_get_unchecked("hash").unwrap_or_default();
    hash.map_or_else(|| "without a hash".to_owned(), hex::encode)
}

#[cfg(test)]
mod tests;
