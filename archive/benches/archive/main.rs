//! How fast the archive is beside the bare database, in one run:
//!
//! `cargo bench -p archive -- sqlite [DIRECTORY]` or `cargo bench -p archive -- postgres URL`, and `--rows N` (a million unless told).
//!
//! The bare database has the same schema, the same rows and as much on disk with every batch, and nothing of ours: SQLite by its C
//! interface with one prepared statement; PostgreSQL by one prepared insert of arrays. Batches of both alternate.

mod bare_postgres;
mod bare_sqlite;
mod rows;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use archive::{Archive, Query, Row, View, Writer, writer::Settings};
use rows::{NOW, content_topic, row, rows, topic};

/// Rows of a batch.
const BATCH: u64 = 1_000;
/// Batches of either that are compared.
const COMPARED: u64 = 60;
/// Pages of each kind.
const PAGES: u64 = 300;

/// The database without us.
enum Bare {
    Sqlite(bare_sqlite::Bare),
    Postgres(bare_postgres::Bare),
}

impl Bare {
    async fn insert(&mut self, rows: &[Row]) {
        match self {
            Self::Sqlite(bare) => bare.insert(rows),
            Self::Postgres(bare) => bare.insert(rows).await,
        }
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (kind, place, total) = match text[..] {
        [kind] => (kind, None, 1_000_000),
        [kind, "--rows", count] => (kind, None, count.parse().expect("a number of rows")),
        [kind, place] => (kind, Some(place), 1_000_000),
        [kind, place, "--rows", count] => (kind, Some(place), count.parse().expect("a number of rows")),
        _ => {
            eprintln!("archive: nothing measured: say `sqlite [DIRECTORY]` or `postgres URL`");
            return;
        }
    };
    match (kind, place) {
        ("sqlite", place) => {
            let directory = place.map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a directory");
            let file = |name: &str| -> PathBuf { directory.path().join(name) };
            let archive = Archive::sqlite(&file("archive.sqlite3")).await.expect("a new archive");
            let bare = Bare::Sqlite(bare_sqlite::Bare::new(&file("bare.sqlite3")));
            measure(archive, bare, total).await;
            let bytes = std::fs::metadata(file("archive.sqlite3")).map_or(0, |file| file.len());
            println!("the file has {} MiB", bytes >> 20);
        }
        ("postgres", Some(url)) => {
            let (ours, theirs) = bare_postgres::databases(url).await;
            let archive = Archive::postgres(&ours, 4, NOW).await.expect("a new archive");
            let bare = Bare::Postgres(bare_postgres::Bare::new(&theirs).await);
            measure(archive, bare, total).await;
            bare_postgres::drop_databases(url).await;
        }
        _ => panic!("sqlite, or postgres with its URL"),
    }
}

async fn measure(archive: Archive, bare: Bare, total: u64) {
    let written = writes(&archive, bare).await;
    let mut filled = written;
    for milestone in [100_000, 1_000_000].into_iter().filter(|milestone| *milestone <= total) {
        fill(&archive, filled, milestone).await;
        filled = milestone;
        pages(&archive, filled).await;
    }
    let totals = archive.totals().await.expect("it is read");
    println!("{} rows are counted as {} MiB", totals.rows, totals.bytes >> 20);
    deletion(&archive, filled).await;
}

/// Batches of both in turn.
async fn writes(archive: &Archive, mut bare: Bare) -> u64 {
    let (mut ours, mut theirs) = (vec![], vec![]);
    for batch in 0..COMPARED {
        let rows = rows(batch * BATCH, BATCH);
        theirs.push(timed(bare.insert(&rows)).await);
        ours.push(timed(async { drop(archive.append(&rows, NOW).await.expect("it is written")) }).await);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let rate = |took: Duration| BATCH as f64 / took.as_secs_f64();
    println!("rows/s in batches of {BATCH}, on disk: {:.0}; the bare database {:.0}", rate(ours), rate(theirs));
    println!("writes, of the bare database's: {:.2}", rate(ours) / rate(theirs));
    COMPARED * BATCH
}

async fn fill(archive: &Archive, from: u64, until: u64) {
    for first in (from..until).step_by(BATCH as usize) {
        archive.append(&rows(first, BATCH.min(until - first)), NOW).await.expect("it is written");
    }
}

/// Pages of a hundred, newest first, from the newest row and from places within.
async fn pages(archive: &Archive, filled: u64) {
    let messages = |content_topics: Vec<String>, last: Option<Row>| {
        let after = last.and_then(|row| row.message_position());
        View::Messages { after, content_topics, pubsub_topic: None, proven_only: false }
    };
    let envelopes = |topics: Vec<[u8; 4]>, last: Option<Row>| {
        let after = last.and_then(|row| row.envelope_position());
        View::Envelopes { after, topics }
    };
    let within = |n: u64| Some(row(n.wrapping_mul(7_919) % filled));
    type Views<'a> = (&'a str, Box<dyn Fn(u64) -> View + 'a>);
    let kinds: [Views<'_>; 8] = [
        ("store", Box::new(|_| messages(vec![], None))),
        ("store, further on", Box::new(|n| messages(vec![], within(n)))),
        ("store, a content topic", Box::new(|n| messages(vec![content_topic(n)], None))),
        ("store, a content topic, further on", Box::new(|n| messages(vec![content_topic(n)], within(n)))),
        ("mail", Box::new(|_| envelopes(vec![], None))),
        ("mail, a topic", Box::new(|n| envelopes(vec![topic(n)], None))),
        ("mail, a topic, further on", Box::new(|n| envelopes(vec![topic(n)], within(n)))),
        ("mail, ten topics", Box::new(|n| envelopes((n..n + 10).map(topic).collect(), None))),
    ];
    for (name, view) in kinds {
        let (mut took, mut read) = (vec![], 0);
        for n in 0..PAGES {
            let query = Query { view: view(n), newest_first: true, sent_ns: archive::query::ALL_TIMES, limit: 100 };
            took.push(timed(async { read += archive.page(&query).await.expect("it is read").rows.len() }).await);
        }
        let median = median(&mut took);
        let late = took[took.len() * 99 / 100];
        let rows = read as f64 / PAGES as f64;
        println!(
            "{filled} rows: page of {name} ({rows:.0} rows): {:.2} ms, 99 of 100 within {:.2} ms",
            ms(median),
            ms(late)
        );
    }
    let all = timed(async { drop(archive.topics_between(archive::query::ALL_TIMES, None, 10_000).await) }).await;
    println!("{filled} rows: all topics: {:.2} ms", ms(all));
}

/// Deletes the oldest tenth while rows come one by one.
async fn deletion(archive: &Archive, filled: u64) {
    let mut alone = vec![];
    let none =
        Settings { retention: "none".parse().expect("it is one"), trim_every: Duration::from_secs(60), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), none);
    for n in 0..300 {
        alone.push(timed(appended(&writer, row(filled + n))).await);
    }
    drop(writer);
    task.await.expect("it ends");
    // More than 1.3 times of it are here: it goes on until it is told to stop.
    let retention = format!("capacity:{}", filled / 2).parse().expect("it is one");
    let settings = Settings { retention, trim_every: Duration::from_millis(1), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), settings);
    let (mut beside, mut n) = (vec![], 1_000);
    while writer.trimmed() < filled / 10 {
        beside.push(timed(appended(&writer, row(filled + n))).await);
        n += 1;
    }
    let (trimmed, took) = (writer.trimmed(), beside.iter().sum::<Duration>());
    drop(writer);
    task.abort();
    let longest = |took: &[Duration]| took.iter().max().copied().unwrap_or_default();
    let (before, during) = (longest(&alone), longest(&beside));
    println!(
        "deleting {trimmed} of {filled} rows: {:.2} s; a row waits {:.2} ms (longest {:.2} ms), without it {:.2} ms ({:.2} ms)",
        took.as_secs_f64(),
        ms(median(&mut beside)),
        ms(during),
        ms(median(&mut alone)),
        ms(before)
    );
}

async fn appended(writer: &Writer, row: Row) {
    writer.append(row).await.expect("it is written");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn timed(work: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    work.await;
    began.elapsed()
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
