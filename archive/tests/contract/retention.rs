//! What goes, and what stays.

use std::time::Duration;

use archive::{Archive, Query, Row, Writer, writer::Settings};

use super::{
    Place,
    reading::with,
    rows::{NOW, SECOND, both},
};

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400 * SECOND;

/// Rows of six days, 40 a day.
fn six_days() -> Vec<Row> {
    (0..240).map(|n| both(n, i64::try_from(n).unwrap() * DAY / 40)).collect()
}

/// Lets a writer with this retention work until so many rows are left, and says which.
async fn left(archive: &Archive, retention: &str, expected: u64) -> Vec<Row> {
    let settings =
        Settings { retention: retention.parse().unwrap(), trim_every: Duration::from_millis(5), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), settings);
    let trimmed = async {
        while archive.totals().await.unwrap().rows > expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.unwrap();
    // One more round, which finds nothing to do.
    writer.append(both(0, 0)).await.unwrap();
    assert!(writer.works());
    drop(writer);
    task.await.unwrap();
    let query = Query { newest_first: true, ..Query::messages() };
    let rows = archive.page(&query).await.unwrap().rows;
    let totals = archive.totals().await.unwrap();
    assert_eq!(totals.rows, rows.len() as u64);
    assert_eq!(totals.bytes, rows.iter().map(|row| row.size_bytes() as u64).sum::<u64>());
    assert_eq!(totals.oldest_ns, rows.last().map(|row| row.sent_ns));
    rows
}

pub(crate) async fn what_is_a_tenth_too_old_goes(place: Place) {
    let archive = with(&place, &six_days()).await;
    // The oldest is nearly six days old, but not a tenth more than 5.5 days.
    assert_eq!(left(&archive, "time:475200", 240).await, six_days());
    // What is exactly two days old stays.
    assert_eq!(left(&archive, "time:172800", 81).await, six_days()[..81]);
}

pub(crate) async fn the_newest_rows_stay(place: Place) {
    let archive = with(&place, &six_days()).await;
    assert_eq!(left(&archive, "capacity:185", 240).await, six_days());
    assert_eq!(left(&archive, "capacity:100", 115).await, six_days()[..115]);
    assert_eq!(left(&archive, "capacity:1", 1).await, six_days()[..1]);
}

pub(crate) async fn the_newest_bytes_stay(place: Place) {
    let large = |row: Row| Row { payload: vec![7; 100_000].into(), ..row };
    let rows: Vec<Row> = six_days().into_iter().map(large).collect();
    let archive = with(&place, &rows).await;
    let fits = |bytes: u64| {
        let mut sum = 0;
        rows.iter().take_while(|row| (sum += row.size_bytes() as u64, sum <= bytes).1).count()
    };
    for (text, bytes) in [("size:12MB", 12 << 20), ("SIZE:0.001GB + time:172800", 1_073_741)] {
        let expected = fits(bytes);
        assert_eq!(left(&archive, text, expected as u64).await, rows[..expected], "{text}");
    }
}

pub(crate) async fn without_bounds_everything_stays(place: Place) {
    let archive = with(&place, &six_days()).await;
    assert_eq!(left(&archive, "none", 240).await, six_days());
}
