//! Stores of every version, made by nwaku's own steps (`migrations/message_store`, Apache-2.0 or MIT), shortened to the table.

use std::collections::BTreeMap;

use sqlx::Connection;
use tempfile::TempDir;

use super::*;

const TOPICS: &str = "contentTopic BLOB NOT NULL, pubsubTopic BLOB NOT NULL, payload BLOB, version INTEGER NOT NULL";
/// When the first message was sent.
const SENT: i64 = 1_700_000_000_123_456_789;
/// Messages of each store: more than one page.
const MESSAGES: i64 = PAGE + 7;

fn message(number: i64, meta: &[u8]) -> WakuMessage {
    WakuMessage {
        payload: format!("message {number}").into(),
        content_topic: "/waku/1/0x01020304/rfc26".into(),
        version: 1,
        timestamp: Some(SENT + number),
        meta: Meta::new(meta.to_vec()).unwrap(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

fn pubsub() -> PubsubTopic {
    "/waku/2/rs/0/0".parse().unwrap()
}

/// A store with this table, and one row for each message by the columns `named`.
async fn store(table: &str, named: &str, sent: impl Fn(i64) -> String, meta: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite3");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut store = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(AssertSqlSafe(table.to_owned())).execute(&mut store).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    for number in 0..MESSAGES {
        let message = message(number, meta);
        let hash = hex::encode(message_hash(&pubsub(), &message).as_bytes());
        let values = named
            .split(", ")
            .map(|column| match column {
                "contentTopic" => format!("CAST('{}' AS BLOB)", message.content_topic),
                "pubsubTopic" => format!("CAST('{}' AS BLOB)", pubsub()),
                "payload" => format!("x'{}'", hex::encode(&message.payload)),
                "version" => "1".to_owned(),
                "id" => format!("x'{number:064x}'"),
                "messageHash" => format!("x'{hash}'"),
                "meta" => format!("x'{}'", hex::encode(meta)),
                "senderTimestamp" | "timestamp" => sent(SENT + number),
                _ => (SENT + number / 3).to_string(), // When it came: several at once.
            })
            .collect::<Vec<_>>();
        let insert = format!("INSERT INTO message({named}) VALUES ({})", values.join(", "));
        sqlx::query(AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    store.close().await.unwrap();
    (directory, path)
}

async fn all(path: &Path, rehash: bool) -> (Vec<Row>, BTreeMap<&'static str, u64>) {
    let mut source = Nwaku::open(path, rehash).await.unwrap();
    let (mut rows, mut refused) = (Vec::new(), BTreeMap::new());
    while let Some(chunk) = source.next_chunk().await.unwrap() {
        for item in chunk {
            match item {
                Item::Row(row) => rows.push(*row),
                Item::Refused { reason, .. } => *refused.entry(reason.as_str()).or_default() += 1,
                Item::Damaged(what) => panic!("{what}"),
            }
        }
    }
    assert_eq!(source.progress(), (MESSAGES as u64, MESSAGES as u64));
    rows.sort_by_key(|row| row.sent_ns);
    (rows, refused)
}

fn expected(meta: &[u8]) -> Vec<Option<(PubsubTopic, WakuMessage)>> {
    (0..MESSAGES).map(|number| Some((pubsub(), message(number, meta)))).collect()
}

#[tokio::test]
async fn every_version_with_times_in_nanoseconds() {
    let plain = |nanos: i64| nanos.to_string();
    let sender = "senderTimestamp INTEGER NOT NULL";
    let of_7 = format!("CREATE TABLE message({TOPICS}, timestamp INTEGER NOT NULL, id BLOB, storedAt INTEGER NOT NULL");
    let of_8 = format!("{of_7}, messageHash BLOB");
    let versions: [(String, &str, &[u8]); 6] = [
        (
            format!(
                "CREATE TABLE Message(id BLOB PRIMARY KEY, receiverTimestamp INTEGER NOT NULL, {TOPICS}, {sender}) WITHOUT ROWID"
            ),
            "id, receiverTimestamp, contentTopic, pubsubTopic, payload, version, senderTimestamp",
            b"",
        ),
        (
            format!(
                "CREATE TABLE Message(id BLOB, receiverTimestamp INTEGER NOT NULL, {TOPICS}, {sender}, \
                 CONSTRAINT messageIndex PRIMARY KEY (senderTimestamp, id, pubsubTopic)) WITHOUT ROWID"
            ),
            "id, receiverTimestamp, contentTopic, pubsubTopic, payload, version, senderTimestamp",
            b"",
        ),
        (
            format!("{of_7}, CONSTRAINT messageIndex PRIMARY KEY (storedAt, id, pubsubTopic)) WITHOUT ROWID"),
            "id, storedAt, contentTopic, pubsubTopic, payload, version, timestamp",
            b"",
        ),
        (
            format!("{of_8}, CONSTRAINT messageIndex PRIMARY KEY (messageHash)) WITHOUT ROWID"),
            "id, storedAt, contentTopic, pubsubTopic, payload, version, timestamp, messageHash",
            b"",
        ),
        (
            format!("{of_8}, meta BLOB, CONSTRAINT messageIndex PRIMARY KEY (messageHash)) WITHOUT ROWID"),
            "id, storedAt, contentTopic, pubsubTopic, payload, version, timestamp, messageHash, meta",
            b"meta",
        ),
        (
            format!(
                "CREATE TABLE message({TOPICS}, timestamp INTEGER NOT NULL, messageHash BLOB, meta BLOB, \
                 CONSTRAINT messageIndex PRIMARY KEY (messageHash)) WITHOUT ROWID"
            ),
            "contentTopic, pubsubTopic, payload, version, timestamp, messageHash, meta",
            b"meta",
        ),
    ];
    for (table, columns, meta) in versions {
        let (_directory, path) = store(&table, columns, plain, meta).await;
        let (rows, refused) = all(&path, false).await;
        assert_eq!(rows.iter().map(rows::message).collect::<Vec<_>>(), expected(meta), "{table}");
        assert!(refused.is_empty(), "{refused:?} {table}");
    }
}

#[tokio::test]
async fn seconds_of_version_2_become_nanoseconds_as_nwaku_made_them() {
    let table = format!(
        "CREATE TABLE Message(id BLOB PRIMARY KEY, receiverTimestamp REAL NOT NULL, {TOPICS}, senderTimestamp REAL NOT NULL) WITHOUT ROWID"
    );
    let columns = "id, receiverTimestamp, contentTopic, pubsubTopic, payload, version, senderTimestamp";
    let (_directory, path) = store(&table, columns, |nanos| format!("{}.5", nanos / 1_000_000_000), b"").await;
    let (rows, _) = all(&path, false).await;
    assert!(rows.len() == MESSAGES as usize && rows.iter().all(|row| row.sent_ns == 1_700_000_000_500_000_000));
}

#[tokio::test]
async fn a_hash_of_something_else_is_refused_unless_asked_for_anew() {
    let table =
        format!("CREATE TABLE message({TOPICS}, timestamp INTEGER NOT NULL, messageHash BLOB PRIMARY KEY, meta BLOB)");
    let columns = "contentTopic, pubsubTopic, payload, version, timestamp, messageHash";
    // Kept with a meta that the store lost.
    let (_directory, path) = store(&table, columns, |nanos| nanos.to_string(), b"meta").await;
    let (rows, refused) = all(&path, false).await;
    assert_eq!((rows.len(), refused), (0, BTreeMap::from([("hash", MESSAGES as u64)])));
    let (rows, _) = all(&path, true).await;
    assert_eq!(rows.iter().map(rows::message).collect::<Vec<_>>(), expected(b""));
}

#[tokio::test]
async fn a_message_without_a_time_is_refused() {
    let table = format!(
        "CREATE TABLE message({TOPICS}, timestamp INTEGER NOT NULL, id BLOB, storedAt INTEGER NOT NULL, PRIMARY KEY (id))"
    );
    let columns = "id, storedAt, contentTopic, pubsubTopic, payload, version, timestamp";
    let (_directory, path) = store(&table, columns, |_| "0".to_owned(), b"").await;
    assert_eq!(all(&path, false).await.1, BTreeMap::from([("no_time", MESSAGES as u64)]));
}

#[tokio::test]
async fn other_databases_are_named() {
    let first =
        format!("CREATE TABLE Message(id BLOB PRIMARY KEY, timestamp INTEGER NOT NULL, {TOPICS}) WITHOUT ROWID");
    let columns = "id, contentTopic, pubsubTopic, payload, version, timestamp";
    let (_directory, path) = store(&first, columns, |nanos| nanos.to_string(), b"").await;
    assert!(matches!(Nwaku::open(&path, false).await, Err(NwakuError::NoTimes(_))));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive.sqlite3");
    archive::Archive::sqlite(&path).await.unwrap().close().await;
    let said = Nwaku::open(&path, false).await.unwrap_err().to_string();
    assert!(said.contains("no table `message`"), "{said}");
}
