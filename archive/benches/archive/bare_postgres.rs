//! PostgreSQL alone: one prepared insert of arrays for a batch.

use archive::Row;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

const SCHEMA: &str = include_str!("../../migrations/postgres/0001_log.sql");

/// A connection to a database with the log and one partition.
pub(crate) struct Bare(PgConnection);

fn names(url: &str) -> [(String, String); 2] {
    let (server, _) = url.rsplit_once('/').expect("a URL with a database");
    ["archive_bench", "archive_bench_bare"].map(|name| (name.to_owned(), format!("{server}/{name}")))
}

/// Makes two databases: ours, and the bare one.
pub(crate) async fn databases(url: &str) -> (String, String) {
    drop_databases(url).await;
    let mut server = PgConnection::connect(url).await.expect("the server answers");
    for (name, _) in names(url) {
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut server)
            .await
            .expect("a new database");
    }
    let [(_, ours), (_, theirs)] = names(url);
    (ours, theirs)
}

/// Drops them.
pub(crate) async fn drop_databases(url: &str) {
    let mut server = PgConnection::connect(url).await.expect("the server answers");
    for (name, _) in names(url) {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut server).await.expect("it goes");
    }
}

impl Bare {
    pub(crate) async fn new(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("the server answers");
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.expect("the schema");
        let partition = "CREATE TABLE log_0 PARTITION OF log FOR VALUES FROM (0) TO (4294967296)";
        sqlx::query(partition).execute(&mut connection).await.expect("a partition");
        let durable: String =
            sqlx::query("SHOW synchronous_commit").fetch_one(&mut connection).await.expect("it says").get(0);
        assert_eq!(durable, "on");
        Self(connection)
    }

    pub(crate) async fn insert(&mut self, rows: &[Row]) {
        let halves =
            || rows.iter().map(|row| (row.envelope.as_ref().expect("both"), row.message.as_ref().expect("both")));
        let mined = || halves().map(|(envelope, _)| envelope.mined.expect("mined"));
        let second = 1_000_000_000;
        sqlx::query(
            "INSERT INTO log SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bytea[], $4::bytea[], $5::bytea[], \
             $6::bigint[], $7::boolean[], $8::bytea[], $9::bigint[], $10::bytea[], $11::bytea[], $12::bigint[], $13::bytea[], \
             $14::bytea[], $15::boolean[], $16::integer[], $17::text[], $18::bigint[], $19::integer[], $20::bytea[])",
        )
        .bind(rows.iter().map(|row| row.sent_ns / second).collect::<Vec<i64>>())
        .bind(rows.iter().map(|row| (row.sent_ns % second) as i32).collect::<Vec<i32>>())
        .bind(halves().map(|(_, message)| &message.hash[..]).collect::<Vec<&[u8]>>())
        .bind(rows.iter().map(|row| &row.content[..]).collect::<Vec<&[u8]>>())
        .bind(halves().map(|(envelope, _)| &envelope.topic[..]).collect::<Vec<&[u8]>>())
        .bind(halves().map(|(envelope, _)| envelope.ttl.into()).collect::<Vec<i64>>())
        .bind(halves().map(|(envelope, _)| envelope.wrapped).collect::<Vec<bool>>())
        .bind(mined().map(|mined| mined.hash.to_vec()).collect::<Vec<Vec<u8>>>())
        .bind(mined().map(|mined| mined.nonce as i64).collect::<Vec<i64>>())
        .bind(halves().map(|(_, message)| message.pubsub_topic.as_bytes()).collect::<Vec<&[u8]>>())
        .bind(halves().map(|(_, message)| message.content_topic.as_bytes()).collect::<Vec<&[u8]>>())
        .bind(halves().map(|(_, message)| message.version.into()).collect::<Vec<i64>>())
        .bind(halves().map(|(_, message)| &message.meta[..]).collect::<Vec<&[u8]>>())
        .bind(vec![None::<&[u8]>; rows.len()])
        .bind(rows.iter().map(|row| row.proven).collect::<Vec<bool>>())
        .bind(rows.iter().map(|row| row.first as i32).collect::<Vec<i32>>())
        .bind(vec![None::<&str>; rows.len()])
        .bind(rows.iter().map(|row| row.stored_at as i64).collect::<Vec<i64>>())
        .bind(rows.iter().map(|row| row.size_bytes() as i32).collect::<Vec<i32>>())
        .bind(rows.iter().map(|row| &row.payload[..]).collect::<Vec<&[u8]>>())
        .execute(&mut self.0)
        .await
        .expect("it is written");
    }
}
