//! What several nodes keep to that share one database.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use archive::{Appended, Archive, OpenError, Query, Refusal, Row, Writer, writer::Settings};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::contract::rows::{NOW, SECOND, both, envelope, hash, message, unmined};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400 * SECOND;
/// Partitions before the first row: a piece of the past, 31 days, today, and as far ahead as rows may be sent.
const FIRST_DAYS: i64 = 1 + 31 + 1 + 2;

async fn open(url: &str) -> Archive {
    Archive::postgres(url, 4, NOW).await.unwrap()
}

async fn scalar(url: &str, text: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(&mut connection).await.unwrap()
}

/// Several nodes that start at once and are brought the same rows, in another order and in other halves.
pub(crate) async fn several_nodes_keep_each_row_once(url: String) {
    const NODES: u64 = 4;
    const ROWS: u64 = 400;
    let node = |node: u64| {
        let url = url.clone();
        async move {
            let archive = open(&url).await;
            let mut stored = 0;
            for batch in 0..20 {
                let rows: Vec<Row> = (0..40)
                    .map(|n| {
                        let n = (batch * 20 + n * (2 * node + 1) + node * 100) % ROWS;
                        let ago = i64::try_from(n).unwrap() * DAY / 100;
                        match (n + node) % 4 {
                            0 => message(n, ago),
                            1 => unmined(n, ago),
                            2 => envelope(n, ago),
                            _ => both(n, ago),
                        }
                    })
                    .collect();
                let outcomes = archive.append(&rows, NOW).await.unwrap();
                stored += outcomes.iter().filter(|outcome| **outcome == Appended::Stored).count();
            }
            stored
        }
    };
    let nodes: Vec<_> = (0..NODES).map(|n| tokio::spawn(node(n))).collect();
    let mut stored = 0;
    for node in nodes {
        stored += node.await.unwrap();
    }
    assert!(stored >= usize::try_from(ROWS).unwrap(), "{stored}");
    // Once all have brought everything, each row is there once and whole.
    let archive = open(&url).await;
    let all: Vec<Row> = (0..ROWS).map(|n| both(n, i64::try_from(n).unwrap() * DAY / 100)).collect();
    archive.append(&all, NOW).await.unwrap();
    let messages = archive.page(&Query::messages()).await.unwrap().rows;
    assert_eq!(messages.len(), all.len());
    assert!(messages.iter().all(|row| row.mined().is_some()));
    assert_eq!(archive.page(&Query::envelopes()).await.unwrap().rows.len(), all.len());
    let totals = archive.totals().await.unwrap();
    let bytes: u64 = messages.iter().map(|row| row.size_bytes() as u64).sum();
    assert_eq!((totals.rows, totals.bytes), (ROWS, bytes), "each was counted once");
}

/// Several nodes with the same retention: what is too much goes once, and nothing beside it.
pub(crate) async fn retention_of_several_nodes_runs_once(url: String) {
    let archive = open(&url).await;
    let rows: Vec<Row> = (0..600).map(|n| both(n, i64::try_from(n).unwrap() * DAY / 60)).collect();
    archive.append(&rows, NOW).await.unwrap();
    let settings =
        Settings { retention: "capacity:200".parse().unwrap(), trim_every: Duration::from_millis(5), clock: || NOW };
    let mut nodes = vec![];
    for _ in 0..3 {
        nodes.push(Writer::start(open(&url).await, settings));
    }
    let trimmed = async {
        while archive.totals().await.unwrap().rows > 230 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.unwrap();
    let mut deleted = 0;
    for (writer, task) in nodes {
        assert_eq!(writer.append(rows[0].clone()).await, Ok(Appended::Known));
        deleted += writer.trimmed();
        assert!(writer.works());
        drop(writer);
        task.await.unwrap();
    }
    let left = archive.page(&Query { newest_first: true, ..Query::messages() }).await.unwrap().rows;
    assert_eq!(left, rows[..230]);
    assert_eq!(deleted, 370, "each row was deleted once");
    // Six of ten days had nothing that stays: they went whole, with all that was before them.
    let days = scalar(&url, "SELECT count(*) FROM days").await;
    assert!(days < FIRST_DAYS - 31 + 6, "{days} days");
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'log'::regclass";
    assert_eq!(scalar(&url, partitions).await, days);
    only_days_are_left(&url, days).await;
    // Taken off by a node that was then killed: the next one removes it.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE log_86400 (LIKE log)").execute(&mut connection).await.unwrap();
    open(&url).await;
    only_days_are_left(&url, days).await;
}

/// What retention took off is removed soon.
async fn only_days_are_left(url: &str, days: i64) {
    let tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'log\\_%'";
    let removed = async {
        while scalar(url, tables).await > days {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, removed).await.unwrap();
    assert_eq!(scalar(url, tables).await, days);
}

/// Nobody can make partitions by what he sends.
pub(crate) async fn days_are_made_by_the_clock_and_not_by_rows(url: String) {
    let archive = open(&url).await;
    let days = || scalar(&url, "SELECT count(*) FROM days");
    assert_eq!(days().await, FIRST_DAYS);
    let rows: Vec<Row> =
        (0..500).map(|n| Row { sent_ns: i64::try_from(n).unwrap() * 3_000_000 * SECOND, ..both(n, 0) }).collect();
    let outcomes = archive.append(&rows, NOW).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Appended::Stored)), "1970 to 2017");
    assert_eq!(days().await, FIRST_DAYS);
    // Time goes by: a few days, and a year in which nothing ran.
    archive
        .append(&[Row { sent_ns: i64::try_from(NOW).unwrap() * SECOND + 5 * DAY, ..both(600, 0) }], NOW + 5 * 86_400)
        .await
        .unwrap();
    assert_eq!(days().await, FIRST_DAYS + 5);
    let year = 365 * 86_400;
    let sent_ns = i64::try_from(NOW + year).unwrap() * SECOND;
    let late = [Row { sent_ns, ..both(601, 0) }, Row { sent_ns: sent_ns - 200 * DAY, ..both(602, 0) }];
    assert_eq!(archive.append(&late, NOW + year).await.unwrap(), [Appended::Stored; 2]);
    assert_eq!(days().await, FIRST_DAYS + 5 + 1 + 62);
}

/// What was dropped does not come back.
pub(crate) async fn what_is_older_than_the_days_is_refused(url: String) {
    let archive = open(&url).await;
    let old = both(1, 40 * DAY);
    archive.append(&[old.clone(), both(2, 0)], NOW).await.unwrap();
    let settings =
        Settings { retention: "time:864000".parse().unwrap(), trim_every: Duration::from_millis(5), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), settings);
    let trimmed = async {
        while archive.totals().await.unwrap().rows > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.unwrap();
    // Whoever has not heard that the days are gone finds out.
    let refused = Ok(Appended::Refused(Refusal::TooOld));
    let other = open(&url).await;
    assert_eq!(writer.append(old.clone()).await, refused);
    assert_eq!(other.append(&[old, both(3, 0)], NOW).await.unwrap()[1], Appended::Stored);
    drop(writer);
    task.await.unwrap();
}

/// The server lets all connections fall: the next batch is written all the same, or says that it was not, and then is.
pub(crate) async fn a_lost_connection_is_made_again(url: String) {
    let archive = open(&url).await;
    let settings = Settings { retention: "none".parse().unwrap(), trim_every: Duration::from_secs(60), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), settings);
    writer.append(both(1, 0)).await.unwrap();
    let fall = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(scalar(&url, fall).await >= 1);
    let again = async {
        while writer.append(both(2, 0)).await.is_err() {
            assert!(!writer.works() && writer.failures() > 0);
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert!(writer.works());
    assert_eq!(archive.page(&Query::messages()).await.unwrap().rows.len(), 2);
    drop(writer);
    task.await.unwrap();
}

/// A query that takes its time lets rows be written and old ones be deleted; only what changes days waits, and tries again.
pub(crate) async fn a_reader_holds_up_no_writer(url: String) {
    let archive = open(&url).await;
    archive.append(&[both(1, 20 * DAY), both(2, 0)], NOW).await.unwrap();
    let mut reader = PgConnection::connect(&url).await.unwrap();
    let mut transaction = reader.begin().await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM log").fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(seen, 2);
    let settings =
        Settings { retention: "time:864000".parse().unwrap(), trim_every: Duration::from_millis(5), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), settings);
    for n in 10..40 {
        assert_eq!(writer.append(both(n, 0)).await, Ok(Appended::Stored));
    }
    assert_eq!(writer.failures(), 0);
    assert!(archive.find(archive::Name::Message, &[hash("message", 2)]).await.unwrap().rows.len() == 1);
    transaction.rollback().await.unwrap();
    let trimmed = async {
        while archive.totals().await.unwrap().rows > 31 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.unwrap();
    drop(writer);
    task.await.unwrap();
}

/// A database of a later version is left alone.
pub(crate) async fn f23_a_later_schema_is_refused(url: String) {
    open(&url).await.close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, '\\x00', 0)";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    match Archive::postgres(&url, 4, NOW).await {
        Err(OpenError::Later(name, 9999)) => assert!(!name.contains('@'), "{name}"),
        other => panic!("{other:?}"),
    }
}
