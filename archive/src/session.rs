//! How a batch is written: the same steps in both databases, within one transaction.
//!
//! All rows are inserted at once, and the database says which of them are new. Only for the others it is asked what is here.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use crate::{
    complete::{Resolution, resolve},
    query::Appended,
    record::{Record, WITHOUT_PAYLOAD, sent, stored_size},
    row::{Hash, Key, Refusal, Row},
    sql::{Statement, Value},
};

/// Rows that one statement asks for.
const ASKED_AT_ONCE: usize = 100;

/// What can be read from either database.
#[cfg(feature = "postgres")]
pub(crate) trait Readable:
    for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin + 'static
{
}
#[cfg(feature = "postgres")]
impl<T> Readable for T where
    T: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
        + for<'r> FromRow<'r, sqlx::postgres::PgRow>
        + Send
        + Unpin
        + 'static
{
}
/// What can be read from the database.
#[cfg(not(feature = "postgres"))]
pub(crate) trait Readable: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin + 'static {}
#[cfg(not(feature = "postgres"))]
impl<T> Readable for T where T: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin + 'static {}

/// A transaction of either database.
pub(crate) trait Session: Send {
    /// Inserts rows, but not those whose key or envelope is here: the ids of the others, in order.
    fn insert(&mut self, records: Vec<Record>) -> impl Future<Output = Result<Vec<Vec<u8>>, sqlx::Error>> + Send;
    /// Reads.
    fn fetch<T: Readable>(&mut self, statement: Statement) -> impl Future<Output = Result<Vec<T>, sqlx::Error>> + Send;
    /// Writes: how many rows it met.
    fn execute(&mut self, statement: Statement) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
}

/// What a batch changed, by the second of sending: what the totals are kept by.
pub(crate) type Changes = Vec<Change>;

/// Rows and bytes that came, or went when negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only where each day is a table"))]
    pub(crate) sent: i64,
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

/// Writes rows within a transaction: what became of each, in their order, and what that changed.
pub(crate) async fn append<S: Session>(
    session: &mut S,
    rows: &[Row],
    admit: impl Fn(&Row) -> Result<Key, Refusal>,
) -> Result<(Vec<Appended>, Changes), sqlx::Error> {
    let mut outcomes = vec![Appended::Known; rows.len()];
    let mut admitted: Vec<(usize, Key)> = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        match admit(row) {
            Ok(key) => admitted.push((place, key)),
            Err(refusal) => outcomes[place] = Appended::Refused(refusal),
        }
    }
    // In the order of keys: several nodes that write the same rows wait for each other, but never in a circle.
    admitted.sort_by_key(|(_, key)| *key);
    // Of a key that comes twice the first alone is inserted, so that an id says which row it was.
    let firsts = || admitted.chunk_by(|(_, one), (_, next)| one == next).filter_map(<[_]>::first);
    let records = firsts().map(|(place, key)| Record::of(&rows[*place], key)).collect();
    let new: HashSet<Vec<u8>> = session.insert(records).await?.into_iter().collect();
    let mut changes = Changes::new();
    let stored: HashSet<usize> =
        firsts().filter(|(_, key)| new.contains(&key.id[..])).map(|(place, _)| *place).collect();
    let mut others = Vec::new();
    for (place, key) in admitted {
        if stored.contains(&place) {
            outcomes[place] = Appended::Stored;
            changes.push(Change { sent: sent(&rows[place]), rows: 1, bytes: stored_size(&rows[place]) });
        } else {
            others.push((place, key));
        }
    }
    for others in others.chunks(ASKED_AT_ONCE) {
        complete(session, rows, others, &mut outcomes, &mut changes).await?;
    }
    Ok((outcomes, changes))
}

/// Completes what is partly here.
async fn complete<S: Session>(
    session: &mut S,
    rows: &[Row],
    others: &[(usize, Key)],
    outcomes: &mut [Appended],
    changes: &mut Changes,
) -> Result<(), sqlx::Error> {
    let here = Here::read(session, others.iter().map(|(place, _)| &rows[*place])).await?;
    for (place, key) in others {
        let row = &rows[*place];
        if here.resolve(row, key) == Resolution::Known {
            continue;
        }
        // One before it in the batch may have changed what is here.
        let here = Here::read(session, [row].into_iter()).await?;
        outcomes[*place] = match here.resolve(row, key) {
            Resolution::Known => Appended::Known,
            Resolution::Insert(row) => match put(session, &row, changes).await? {
                true => Appended::Stored,
                false => Appended::Known,
            },
            Resolution::Replace { old, row } => {
                for key in &old {
                    remove(session, key, here.size(key), changes).await?;
                }
                put(session, &row, changes).await?;
                Appended::Completed
            }
        };
    }
    Ok(())
}

async fn put<S: Session>(session: &mut S, row: &Row, changes: &mut Changes) -> Result<bool, sqlx::Error> {
    let Some(key) = row.key() else { return Ok(false) };
    let new = !session.insert(vec![Record::of(row, &key)]).await?.is_empty();
    if new {
        changes.push(Change { sent: sent(row), rows: 1, bytes: stored_size(row) });
    }
    Ok(new)
}

async fn remove<S: Session>(session: &mut S, key: &Key, size: i64, changes: &mut Changes) -> Result<(), sqlx::Error> {
    let (secs, nanos) = key.split();
    let mut statement = Statement::new("DELETE FROM log WHERE sent = ");
    statement.bind(Value::Int(secs)).push(" AND nanos = ").bind(Value::Int(nanos));
    statement.push(" AND id = ").bind(Value::Bytes(key.id.to_vec()));
    let removed = i64::try_from(session.execute(statement).await?).unwrap_or(0);
    changes.push(Change { sent: secs, rows: -removed, bytes: -removed * size });
    Ok(())
}

/// What is here of some rows, without payloads.
struct Here {
    by_key: HashMap<Key, (Row, i64)>,
    by_envelope: HashMap<(i64, Hash), Key>,
}

impl Here {
    async fn read<S: Session>(session: &mut S, rows: impl Iterator<Item = &Row> + Clone) -> Result<Self, sqlx::Error> {
        let ids: Vec<Hash> = rows.clone().filter_map(|row| Some(row.key()?.id)).collect();
        let envelopes: Vec<Hash> = rows.clone().filter_map(|row| Some(row.mined()?.hash)).collect();
        let seconds = || rows.clone().map(sent);
        let span = (seconds().min().unwrap_or(0), seconds().max().unwrap_or(0));
        let mut here = Self { by_key: HashMap::new(), by_envelope: HashMap::new() };
        for (column, hashes) in [("id", ids), ("envelope", envelopes)] {
            if hashes.is_empty() {
                continue;
            }
            let records: Vec<Record> = session.fetch(named(column, &hashes, span)).await?;
            records.into_iter().for_each(|record| here.add(record));
        }
        Ok(here)
    }

    fn add(&mut self, record: Record) {
        let size = record.size.into();
        let Some(row) = record.read() else { return };
        let Some(key) = row.key() else { return };
        if let Some(mined) = row.mined() {
            self.by_envelope.insert((sent(&row), mined.hash), key);
        }
        self.by_key.insert(key, (row, size));
    }

    fn resolve(&self, row: &Row, key: &Key) -> Resolution {
        let same = self.by_key.get(key).map(|(row, _)| row.clone());
        let twin = row.mined().and_then(|mined| self.by_envelope.get(&(sent(row), mined.hash)));
        let twin = twin.filter(|twin| *twin != key).and_then(|twin| self.by_key.get(twin));
        resolve(row.clone(), same, twin.map(|(row, _)| row.clone()))
    }

    fn size(&self, key: &Key) -> i64 {
        self.by_key.get(key).map_or(0, |(_, size)| *size)
    }
}

fn named(column: &str, hashes: &[Hash], (from, until): (i64, i64)) -> Statement {
    let mut statement = Statement::new(format!("SELECT {WITHOUT_PAYLOAD} FROM log WHERE {column} IN ("));
    statement.bind_padded(hashes);
    statement.push(") AND sent >= ").bind(Value::Int(from)).push(" AND sent <= ").bind(Value::Int(until));
    statement
}
