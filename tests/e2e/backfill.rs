//! A bridge that was away, and what it learns from the archives of others when it is back.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use causeway::{
    rows,
    storage::{DATABASE_FILE, archive::ARCHIVE_FILE},
};
use devp2p::clock::now;
use serde_json::Value;
use tempfile::TempDir;
use waku0::{Envelope, Topic};
use waku2::{Meta, PubsubTopic, WakuMessage};

use crate::process::{Bridge, run};

const TOPIC: Topic = Topic([1, 2, 3, 4]);
/// How long the bridge seems to have been away, in seconds.
const AWAY: u32 = 3_600;
/// Of each generation.
const FEW: u32 = 20;
/// Several pages of a mail server, and as many batches as it takes to kill it in between.
const MANY: u32 = 10_000;
/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(30);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start: Instant = now().instant;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now().instant - start < LIMIT, "not in time: {what}");
        std::thread::sleep(LOOK);
    }
}

/// So many seconds of the last hour, the oldest first.
fn times(count: u32) -> impl Iterator<Item = (u32, u32)> {
    let begin = u32::try_from(now().unix_secs()).expect("before 2106") - AWAY + 300;
    (0..count).map(move |n| (n, begin + n * (AWAY - 600) / count))
}

fn envelope(n: u32, sent: u32) -> archive::Row {
    let envelope = Envelope::new(sent + 50, 50, TOPIC, format!("envelope {n}").into(), u64::from(n));
    rows::of_envelope(&envelope.expect("an envelope"), None, now().unix_secs())
}

fn message(n: u32, sent: u32) -> archive::Row {
    let message = WakuMessage {
        payload: format!("message {n}").into(),
        content_topic: "/waku/1/0x01020304/rfc26".into(),
        version: 1,
        timestamp: Some(i64::from(sent) * 1_000_000_000 + 7),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    };
    let topic: PubsubTopic = "/waku/2/rs/0/0".parse().expect("a topic");
    rows::of_message(&topic, &message, None, now().unix_secs()).expect("a row")
}

/// Puts rows into the archive of a data directory, where no node runs yet.
fn archived(directory: &Path, rows: impl Iterator<Item = archive::Row>) {
    let lines: Vec<_> = rows.map(|row| rows::line::write(&row).expect("a line")).collect();
    let file = directory.join("rows.jsonl");
    std::fs::write(&file, lines.join("\n") + "\n").expect("it is written");
    let archive = format!("--archive-url=sqlite://{}", directory.join(ARCHIVE_FILE).display());
    let said = run(&["import", file.to_str().expect("Unicode"), &archive, "--json"]);
    assert!(said.success && said.stdout.contains(&format!("\"new\":{}", lines.len())), "{said:?}");
}

/// A mail server with so many envelopes of the last hour.
fn mailserver(directory: &Path, count: u32) -> Bridge {
    archived(directory, times(count).map(|(n, sent)| envelope(n, sent)));
    Bridge::mailserver_in(directory, &["--waku-v1-pow=0"])
}

fn with_password(server: &Bridge, password: &str) -> String {
    server.enode.replacen('@', &format!(":{password}@"), 1)
}

/// A statement about what a bridge has written down; the first column of its rows.
async fn books(directory: &Path, statement: &'static str) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join(DATABASE_FILE));
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a database");
    let rows = sqlx::query_scalar(statement).fetch_all(&pool).await.expect("rows");
    pool.close().await;
    rows
}

/// A bridge that met these peers, was killed, and seems to have been away for an hour since.
async fn was_away(directory: &Path, peers: &[&str]) {
    let bridge = Bridge::start_in(directory, peers);
    let start = now().instant;
    // It has written down that somebody is there, on each side that has a peer.
    let met = "SELECT route FROM courses WHERE missing NOT LIKE '%\"to\":null%'";
    let sides = peers.iter().filter(|flag| flag.starts_with("--staticnode")).count();
    while books(directory, met).await.len() < sides {
        assert!(now().instant - start < LIMIT, "nobody is there");
        tokio::time::sleep(LOOK).await;
    }
    bridge.kill();
    rewind(directory).await;
}

async fn rewind(directory: &Path) {
    books(directory, "UPDATE courses SET seen = seen - 3600 RETURNING route").await;
}

fn gaps(bridge: &Bridge) -> Vec<Value> {
    let (status, body) = bridge.get("/bridge/v1/gaps");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    body["gaps"].as_array().expect("a list").clone()
}

/// What is missing because the bridge did not run, in one direction.
fn stopped(bridge: &Bridge, direction: &str) -> Vec<Value> {
    let gaps = gaps(bridge);
    let gap = gaps.iter().find(|gap| gap["direction"] == direction).expect("a direction");
    let missing = gap["missing"].as_array().expect("a list").iter();
    missing.filter(|missing| missing["reason"] == "stopped").cloned().collect()
}

/// Waits until so many stretches of that kind are filled, and no other is left: rows that came.
fn filled(bridge: &Bridge, direction: &str, count: usize) -> u64 {
    until(&format!("{direction} filled"), || {
        let stopped = stopped(bridge, direction);
        let all_are = stopped.len() == count && stopped.iter().all(|missing| missing["state"] == "filled");
        all_are.then(|| stopped.iter().filter_map(|missing| missing["count"].as_u64()).sum())
    })
}

/// Second and content of what a server tells, as `history` prints it.
fn history(server: &str) -> BTreeSet<(i64, String)> {
    let said = run(&["history", "--server", server, "--from=2h", "--topic=0x01020304", "--json", "--quiet"]);
    assert!(said.success, "{said:?}");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let nanos: i64 = line["sent"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        (nanos / 1_000_000_000, line["payload"].as_str().expect("a payload").to_owned())
    };
    let lines: Vec<_> = said.stdout.lines().map(line).collect();
    let set: BTreeSet<_> = lines.iter().cloned().collect();
    assert_eq!(set.len(), lines.len(), "something is there twice");
    set
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_after_an_hour_away_mail_and_store_tell_of_it_alike() {
    let [mail, store, own] = [directory(), directory(), directory()];
    let mailserver = mailserver(mail.path(), FEW);
    archived(store.path(), times(FEW).map(|(n, sent)| message(n, sent)));
    let node = Bridge::node_in(store.path(), &["--store"], &[]);
    let (v1, v2) = (format!("--staticnode-v1={}", mailserver.enode), format!("--staticnode-v2={}", node.libp2p));
    was_away(own.path(), &[&v1, &v2, "--waku-v1-pow=0"]).await;

    let fill = format!("--backfill-v1={}", with_password(&mailserver, "status-offline-inbox"));
    let flags = [&*v1, &v2, &fill, "--waku-v1-pow=0", "--store", "--store-resume", "--mailserver"];
    let mut told = None;
    for life in 1..=2 {
        let bridge = Bridge::start_in(own.path(), &flags);
        let came = ["v1_to_v2", "v2_to_v1"].map(|direction| filled(&bridge, direction, life));
        assert_eq!(came, [u64::from(FEW); 2], "in life {life}, of all lives");
        let (all, by_mail) = (2 * FEW as usize, with_password(&bridge, "status-offline-inbox"));
        // Envelopes of messages are mined after they have come.
        let by_mail = until("all by mail", || Some(history(&by_mail)).filter(|set| set.len() >= all));
        assert_eq!(by_mail.len(), all);
        assert_eq!(history(&bridge.libp2p), by_mail, "by store");
        assert_eq!(*told.get_or_insert_with(|| by_mail.clone()), by_mail, "twice filled changes nothing");
        let metrics = bridge.get("/metrics").1;
        let line = "bridge_backfill_gap_seconds{side=\"v1\"} 0";
        assert!(metrics.lines().any(|metric| metric.starts_with(line)), "{metrics}");
        // Nothing of it is told to those who are there.
        let transfers = "waku_bridge_transfers_total{type=\"v1_to_v2\"} 0";
        assert!(metrics.contains(transfers), "{metrics}");
        assert_eq!(bridge.terminate(STOP), Some(0));
        rewind(own.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_mail_server_that_dies_while_it_answers_is_left_for_the_next() {
    let [first, second, own] = [directory(), directory(), directory()];
    let dies = mailserver(first.path(), MANY);
    let rows = std::fs::read_to_string(first.path().join("rows.jsonl")).expect("rows");
    archived(second.path(), rows.lines().map(|line| rows::line::read(line.as_bytes()).expect("a row")));
    let lives = Bridge::mailserver_in(second.path(), &["--waku-v1-pow=0"]);
    let v1 = format!("--staticnode-v1={}", lives.enode);
    was_away(own.path(), &[&v1, "--waku-v1-pow=0"]).await;

    let servers =
        [&dies, &lives].map(|server| format!("--backfill-v1={}", with_password(server, "status-offline-inbox")));
    let flags = [&*v1, &servers[0], &servers[1], "--waku-v1-pow=0", "--archive"];
    let bridge = Bridge::start_in(own.path(), &flags);
    until("something comes", || {
        stopped(&bridge, "v1_to_v2").iter().any(|missing| missing["count"].as_u64() > Some(0)).then_some(())
    });
    dies.kill();
    assert_eq!(filled(&bridge, "v1_to_v2", 1), u64::from(MANY), "each once");
    assert_eq!(bridge.terminate(STOP), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_store_node_that_dies_while_it_answers_is_left_for_the_next() {
    let [first, second, own] = [directory(), directory(), directory()];
    archived(first.path(), times(MANY).map(|(n, sent)| message(n, sent)));
    let rows = std::fs::read_to_string(first.path().join("rows.jsonl")).expect("rows");
    archived(second.path(), rows.lines().map(|line| rows::line::read(line.as_bytes()).expect("a row")));
    let [dies, lives] = [&first, &second].map(|data| Bridge::node_in(data.path(), &["--store"], &[]));
    let peers = [&dies, &lives].map(|node| format!("--staticnode-v2={}", node.libp2p));
    was_away(own.path(), &[&peers[0]]).await;

    let flags = [&*peers[0], &peers[1], "--store", "--store-resume"];
    let bridge = Bridge::start_in(own.path(), &flags);
    until("something comes", || {
        stopped(&bridge, "v2_to_v1").iter().any(|missing| missing["count"].as_u64() > Some(0)).then_some(())
    });
    dies.kill();
    assert_eq!(filled(&bridge, "v2_to_v1", 1), u64::from(MANY), "each once");
    assert_eq!(bridge.terminate(STOP), Some(0));
    assert_eq!(lives.terminate(STOP), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_mail_server_gives_stays_missing_and_is_asked_for_again() {
    let [data, own] = [directory(), directory()];
    let server = mailserver(data.path(), FEW);
    let v1 = format!("--staticnode-v1={}", server.enode);
    was_away(own.path(), &[&v1, "--waku-v1-pow=0"]).await;

    let wrong = format!("--backfill-v1={}", with_password(&server, "wrong"));
    let bridge = Bridge::start_in(own.path(), &[&v1, &wrong, "--waku-v1-pow=0", "--archive"]);
    let missing = until("nobody gave it", || {
        stopped(&bridge, "v1_to_v2").into_iter().find(|missing| missing["state"] == "failed")
    });
    assert_eq!(missing["done_until"], missing["from"], "{missing}");
    bridge.kill();

    let right = format!("--backfill-v1={}", with_password(&server, "status-offline-inbox"));
    let bridge = Bridge::start_in(own.path(), &[&v1, &right, "--waku-v1-pow=0", "--archive"]);
    let count = until("it is filled", || {
        let stopped = stopped(&bridge, "v1_to_v2");
        let again = stopped.iter().find(|again| again["from"] == missing["from"] && again["state"] == "filled")?;
        again["count"].as_u64()
    });
    assert_eq!(count, u64::from(FEW));
    assert_eq!(bridge.terminate(STOP), Some(0));
}
