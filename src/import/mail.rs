//! Archives of status-go's mail servers, in LevelDB and in PostgreSQL.  Spec: 8/WAKU-MAIL; status-go `mailserver/mailserver_db_*.go`.
//!
//! Either has an envelope under its key: the second in which it was sent, its hash, and since 2019 its topic. Keys are in the order
//! of time, so that rows come in the order in which ours keeps them.

use std::path::{Path, PathBuf};

use archive::Row;
use bytes::Bytes;
use devp2p::clock::now;
use sqlx::{
    PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use waku0::Envelope;

use super::{
    Refused, SourceError,
    leveldb::{Database, Step},
    source::{Chunk, Item, item},
};
use crate::rows;

/// Why an imported row is in the archive.
pub(super) const REASON: &str = "imported";
/// Bytes of a key before 2019: time and hash.
const SHORT_KEY: usize = 36;
/// Bytes of a key: time, hash, topic.
const KEY: usize = 40;
/// Rows of one query: an envelope may have a MiB.
const PAGE: i64 = 250;

/// Reads a record, and checks that it is what its key says.
fn row(key: &[u8], value: Bytes) -> Result<Row, Refused> {
    if key.len() != KEY && key.len() != SHORT_KEY {
        return Err(Refused::Key);
    }
    let (sent, rest) = key.split_first_chunk::<4>().ok_or(Refused::Key)?;
    let (hash, topic) = rest.split_first_chunk::<32>().ok_or(Refused::Key)?;
    let envelope = Envelope::decode(value).map_err(|error| Refused::Unreadable(error.to_string()))?;
    if envelope.hash().as_bytes() != hash {
        return Err(Refused::Hash);
    }
    if envelope.sent() != u32::from_be_bytes(*sent) {
        return Err(Refused::Time);
    }
    if !topic.is_empty() && topic != envelope.topic().0 {
        return Err(Refused::Topic);
    }
    Ok(rows::of_envelope(&envelope, Some(REASON), now().unix_secs()))
}

fn named(key: &[u8]) -> String {
    format!("key {}", hex::encode(&key[..key.len().min(KEY)]))
}

/// One in LevelDB.
#[derive(Debug)]
pub(crate) struct LevelDb {
    directory: PathBuf,
    database: Database,
}

impl LevelDb {
    pub(super) fn open(directory: PathBuf) -> Result<Self, SourceError> {
        Ok(Self { database: Database::open(&directory)?, directory })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn progress(&self) -> (u64, u64) {
        self.database.progress()
    }

    pub(super) fn next_chunk(&mut self) -> Option<Vec<Item>> {
        let mut chunk = Chunk::default();
        while !chunk.is_full() {
            chunk.push(match self.database.next() {
                None => break,
                Some(Step::Damaged(what)) => Item::Damaged(what),
                Some(Step::Entry { key, value }) => item(row(&key, value), || named(&key)),
            });
        }
        chunk.end()
    }
}

/// One in PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    /// Without the password.
    name: String,
    /// The last key that was read.
    after: Vec<u8>,
    /// By the server's own estimate.
    total: u64,
    read: u64,
}

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self, SourceError> {
        let options: PgConnectOptions =
            url.parse().map_err(|error| SourceError::Postgres("the URL".to_owned(), error))?;
        let name = format!("{}/{}", options.get_host(), options.get_database().unwrap_or_default());
        let failed = |error| SourceError::Postgres(name.clone(), error);
        // Whatever goes wrong here, nothing is written there.
        let options = options.options([("default_transaction_read_only", "on")]);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
        let columns: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'envelopes' AND column_name IN ('id', 'data')",
        )
        .fetch_one(&pool)
        .await
        .map_err(failed)?;
        if columns < 2 {
            return Err(SourceError::NotPostgres(name));
        }
        let total: f32 = sqlx::query_scalar("SELECT reltuples FROM pg_class WHERE oid = 'envelopes'::regclass")
            .fetch_one(&pool)
            .await
            .map_err(failed)?;
        // -1 where the server has not looked yet.
        Ok(Self { pool, name, after: Vec::new(), total: total.max(0.0) as u64, read: 0 })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn progress(&self) -> (u64, u64) {
        (self.read, if self.total == 0 { 0 } else { self.total.max(self.read) })
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        let failed = |error| SourceError::Postgres(self.name.clone(), error);
        let page = sqlx::query("SELECT id, data FROM envelopes WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(&self.after)
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut chunk = Chunk::default();
        for record in &page {
            let key: Vec<u8> = record.try_get("id").map_err(failed)?;
            let value: Option<Vec<u8>> = record.try_get("data").map_err(failed)?;
            chunk.push(item(row(&key, value.unwrap_or_default().into()), || named(&key)));
            self.after = key;
        }
        self.read += page.len() as u64;
        Ok(chunk.end())
    }
}

#[cfg(test)]
mod tests {
    use waku0::Topic;

    use super::*;

    fn envelope() -> Envelope {
        Envelope::new(1_700_000_050, 50, Topic([1, 2, 3, 4]), Bytes::from_static(b"data"), 7).unwrap()
    }

    fn key() -> Vec<u8> {
        let envelope = envelope();
        [&envelope.sent().to_be_bytes()[..], envelope.hash().as_bytes(), &envelope.topic().0].concat()
    }

    #[test]
    fn keys_of_either_length_and_their_envelopes() {
        for key in [&key()[..], &key()[..SHORT_KEY]] {
            let row = row(key, envelope().raw().clone()).unwrap();
            assert_eq!(rows::envelope(&row), Some(envelope()));
            assert_eq!(row.reason.as_deref(), Some(REASON));
        }
    }

    #[test]
    fn what_does_not_belong_to_its_key_is_refused() {
        let with = |at: usize| {
            let mut key = key();
            key[at] ^= 1;
            row(&key, envelope().raw().clone()).unwrap_err().as_str()
        };
        assert_eq!((with(3), with(4), with(35), with(36)), ("time", "hash", "hash", "topic"));
        for length in [0, 4, 35, 37, 39, 41] {
            let mut key = key();
            key.resize(length, 0);
            assert_eq!(row(&key, envelope().raw().clone()), Err(Refused::Key), "{length}");
        }
        for torn in [&b""[..], &envelope().raw()[..10], b"rubbish"] {
            assert_eq!(row(&key(), Bytes::copy_from_slice(torn)).unwrap_err().as_str(), "unreadable");
        }
    }
}
