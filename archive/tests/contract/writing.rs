//! Appending, and what completes what.

use archive::{
    Appended::{self, Completed, Known, Refused, Stored},
    Archive, EnvelopeHalf, MessageHalf, Name, Query, Refusal, Row, Side, Writer,
    row::{MAX_AHEAD_SECS, MAX_PAYLOAD_BYTES, MAX_TOPIC_BYTES},
    writer::Settings,
};
use bytes::Bytes;
use std::time::Duration;

use super::{
    Place,
    reading::with,
    rows::{NOW, NOW_NS, SECOND, both, envelope, hash, message, mined, unmined},
};

async fn append(archive: &Archive, rows: &[Row]) -> Vec<Appended> {
    archive.append(rows, NOW).await.unwrap()
}

/// All rows, however they are seen.
async fn all(archive: &Archive) -> Vec<Row> {
    let mut rows = archive.page(&Query::messages()).await.unwrap().rows;
    let envelopes = archive.page(&Query::envelopes()).await.unwrap().rows;
    rows.extend(envelopes.into_iter().filter(|row| row.message.is_none()));
    rows
}

/// The row is all there is, and the totals say so too.
async fn is_all(archive: &Archive, row: Row) {
    let totals = archive.totals().await.unwrap();
    assert_eq!((totals.rows, totals.bytes), (1, row.size_bytes() as u64));
    assert_eq!((totals.oldest_ns, totals.newest_ns), (Some(row.sent_ns), Some(row.sent_ns)));
    assert_eq!(all(archive).await, [row]);
}

pub(crate) async fn what_was_kept_is_given_back_as_it_was(place: Place) {
    let mut rows: Vec<Row> = (0..12).map(|n| both(n, i64::try_from(n).unwrap())).collect();
    rows[0].payload = Bytes::new();
    rows[1].payload = (0..=u8::MAX).cycle().take(100_000).collect::<Vec<u8>>().into();
    let half = rows[2].message.as_mut().unwrap();
    (half.version, half.meta, half.proof) = (u32::MAX, Bytes::from(vec![0; 64]), Some(Bytes::new()));
    let half = rows[3].envelope.as_mut().unwrap();
    (half.ttl, half.topic, half.mined.as_mut().unwrap().nonce) = (u32::MAX, [0; 4], 1 << 63);
    rows[4] = Row { sent_ns: 0, ..message(4, 0) };
    rows[5] = Row { reason: Some("too_large_v2".to_owned()), stored_at: 0, first: Side::V2, ..envelope(5, 0) };
    let archive = with(&place, &rows).await;
    for row in &rows {
        let found = archive.find(Name::Content, &[row.content]).await.unwrap().rows;
        assert_eq!(found, std::slice::from_ref(row));
    }
}

pub(crate) async fn nothing_is_kept_twice(place: Place) {
    let rows = [both(1, 5), message(2, 5), envelope(3, 5), unmined(4, 6)];
    let archive = with(&place, &rows).await;
    let before = (all(&archive).await, archive.totals().await.unwrap());
    assert_eq!(append(&archive, &rows).await, [Known; 4]);
    let less = [message(1, 5), unmined(1, 5), envelope(1, 5), message(4, 6)];
    assert_eq!(append(&archive, &less).await, [Known; 4]);
    let later = Row { stored_at: NOW + 9, reason: Some("other".to_owned()), first: Side::V1, ..both(1, 5) };
    assert_eq!(append(&archive, &[later]).await, [Known]);
    assert_eq!((all(&archive).await, archive.totals().await.unwrap()), before);
    assert_eq!(append(&archive, &[both(7, 1), both(7, 1), both(8, 1)]).await, [Stored, Known, Stored]);
    assert_eq!(append(&archive, &[]).await, []);
}

pub(crate) async fn an_envelope_hash_that_was_mined_later_completes_a_row(place: Place) {
    for first in [message(1, 7), unmined(1, 7)] {
        let n = if first.envelope.is_none() { 1 } else { 2 };
        let rename = |row: Row| Row { sent_ns: row.sent_ns - n * 60 * SECOND, ..row };
        let half = |row: Row| {
            let message = row.message.map(|half| MessageHalf { hash: hash("other", n as u64), ..half });
            let work = archive::Mined { hash: hash("work", n as u64), nonce: 3 };
            let envelope = row.envelope.map(|half| EnvelopeHalf { mined: half.mined.map(|_| work), ..half });
            rename(Row { message, envelope, ..row })
        };
        let archive = place.open().await;
        assert_eq!(append(&archive, &[half(first)]).await, [Stored]);
        let whole = half(Row { stored_at: NOW + 5, ..both(1, 7) });
        assert_eq!(append(&archive, std::slice::from_ref(&whole)).await, [Completed]);
        let found = archive.find(Name::Envelope, &[hash("work", n as u64)]).await.unwrap().rows;
        assert_eq!(found, [Row { stored_at: NOW, ..whole.clone() }]);
        assert_eq!(append(&archive, &[whole]).await, [Known]);
    }
}

pub(crate) async fn a_message_completes_an_envelope_alone(place: Place) {
    // Wrapped: what the envelope carries is not what the message does.
    let alone =
        Row { payload: Bytes::from_static(b"frame of it"), first: Side::V1, stored_at: NOW - 3, ..envelope(1, 7) };
    let archive = with(&place, &[alone]).await;
    assert_eq!(append(&archive, &[both(1, 7)]).await, [Completed]);
    is_all(&archive, Row { first: Side::V1, stored_at: NOW - 3, ..both(1, 7) }).await;
}

pub(crate) async fn a_message_and_its_envelope_that_were_kept_apart_become_one(place: Place) {
    let archive = with(&place, &[envelope(1, 7), unmined(1, 7)]).await;
    assert_eq!(archive.totals().await.unwrap().rows, 2);
    assert_eq!(append(&archive, &[both(1, 7)]).await, [Completed]);
    is_all(&archive, both(1, 7)).await;
}

pub(crate) async fn an_envelope_on_two_shards_is_seen_once_by_mail(place: Place) {
    let other_shard = Row { envelope: both(1, 7).envelope, ..both(2, 7) };
    let archive = with(&place, &[both(1, 7)]).await;
    assert_eq!(append(&archive, std::slice::from_ref(&other_shard)).await, [Stored]);
    assert_eq!(append(&archive, std::slice::from_ref(&other_shard)).await, [Known]);
    assert_eq!(archive.page(&Query::envelopes()).await.unwrap().rows, [both(1, 7)]);
    let mut messages = vec![both(1, 7), Row { envelope: None, ..other_shard }];
    messages.sort_by_key(Row::message_position);
    assert_eq!(archive.page(&Query::messages()).await.unwrap().rows, messages);
    assert_eq!(both(1, 7).mined(), Some(mined(1)));
}

pub(crate) async fn a_proof_that_comes_later_is_kept(place: Place) {
    let proven = both(3, 7);
    let half = proven.message.clone().map(|half| MessageHalf { proof: None, ..half });
    let without = Row { proven: false, message: half, ..proven.clone() };
    let archive = with(&place, std::slice::from_ref(&without)).await;
    assert_eq!(append(&archive, &[Row { envelope: None, ..proven.clone() }]).await, [Completed]);
    is_all(&archive, proven.clone()).await;
    assert_eq!(append(&archive, &[without]).await, [Known]);
    is_all(&archive, proven).await;
}

pub(crate) async fn h74_what_is_beyond_its_bounds_is_refused_alone(place: Place) {
    let with_half = |change: &dyn Fn(&mut MessageHalf)| {
        let mut row = both(1, 0);
        change(row.message.as_mut().unwrap());
        row
    };
    let long = || "x".repeat(MAX_TOPIC_BYTES + 1);
    let ahead = i64::try_from(MAX_AHEAD_SECS + 1).unwrap() * SECOND;
    let refused = [
        (Row { envelope: None, ..envelope(1, 0) }, Refusal::Nameless),
        (Row { message: None, ..unmined(1, 0) }, Refusal::Nameless),
        (Row { sent_ns: -1, ..both(1, 0) }, Refusal::OutOfTime),
        (Row { sent_ns: i64::MAX, ..both(1, 0) }, Refusal::OutOfTime),
        (Row { sent_ns: i64::MIN, ..message(1, 0) }, Refusal::OutOfTime),
        (Row { sent_ns: NOW_NS + 1, ..envelope(1, 0) }, Refusal::OutOfTime),
        (Row { sent_ns: NOW_NS + ahead, ..both(1, 0) }, Refusal::Ahead),
        (with_half(&|half| half.content_topic = long()), Refusal::OutOfBounds("content topic")),
        (with_half(&|half| half.pubsub_topic = long()), Refusal::OutOfBounds("pubsub topic")),
        (with_half(&|half| half.meta = vec![0; 65].into()), Refusal::OutOfBounds("meta")),
        (with_half(&|half| half.proof = Some(vec![0; 5_000].into())), Refusal::OutOfBounds("proof")),
        (Row { reason: Some("a\0b".to_owned()), ..both(1, 0) }, Refusal::OutOfBounds("reason")),
        (Row { payload: vec![0; MAX_PAYLOAD_BYTES + 1].into(), ..both(1, 0) }, Refusal::OutOfBounds("payload")),
    ];
    let (rows, expected): (Vec<Row>, Vec<Appended>) =
        refused.into_iter().map(|(row, refusal)| (row, Refused(refusal))).unzip();
    let archive = place.open().await;
    let rows = [rows, vec![both(5, 0), Row { sent_ns: NOW_NS + ahead - SECOND, ..both(6, 0) }]].concat();
    assert_eq!(append(&archive, &rows).await, [expected, vec![Stored; 2]].concat());
    assert_eq!(archive.totals().await.unwrap().rows, 2);
}

pub(crate) async fn a_large_batch_is_kept(place: Place) {
    let rows: Vec<Row> = (0..2_500).map(|n| both(n, i64::try_from(n).unwrap() * SECOND)).collect();
    let archive = with(&place, &rows[..1_300]).await;
    let outcomes = append(&archive, &rows).await;
    let counted = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((counted(Stored), counted(Known)), (1_200, 1_300));
    assert_eq!(archive.totals().await.unwrap().rows, 2_500);
}

pub(crate) async fn totals_follow_every_change(place: Place) {
    let archive = place.open().await;
    assert_eq!(archive.totals().await.unwrap(), archive::Totals::default());
    let mut rows: Vec<Row> = vec![];
    for n in 0..30 {
        let row = both(n, i64::try_from(n * 13 % 30).unwrap() * SECOND);
        append(&archive, &[row.clone(), row.clone()]).await;
        rows.push(row);
        let totals = archive.totals().await.unwrap();
        assert_eq!(totals.rows, rows.len() as u64);
        assert_eq!(totals.bytes, rows.iter().map(|row| row.size_bytes() as u64).sum::<u64>());
        assert_eq!(totals.oldest_ns, rows.iter().map(|row| row.sent_ns).min());
        assert_eq!(totals.newest_ns, rows.iter().map(|row| row.sent_ns).max());
    }
}

pub(crate) async fn the_writer_answers_each_row(place: Place) {
    let archive = place.open().await;
    let settings = Settings { retention: "none".parse().unwrap(), trim_every: Duration::from_secs(60), clock: || NOW };
    let (writer, task) = Writer::start(archive.clone(), settings);
    let mut pending = vec![];
    for n in 0..3_000 {
        pending.push(writer.hand_in(both(n % 2_900, 1)).await.unwrap());
    }
    assert_eq!(writer.append(envelope(5_000, SECOND + 1)).await, Ok(Stored));
    assert_eq!(writer.append(Row { sent_ns: -1, ..both(1, 0) }).await, Ok(Refused(Refusal::OutOfTime)));
    let mut stored = 0;
    for pending in pending {
        match pending.durable().await.unwrap() {
            Stored => stored += 1,
            other => assert_eq!(other, Known),
        }
    }
    assert_eq!((stored, writer.stored(), writer.failures(), writer.works()), (2_900, 2_901, 0, true));
    let last = writer.offer(both(9_000, 1)).unwrap();
    drop(writer);
    task.await.unwrap();
    assert_eq!(last.durable().await, Ok(Stored), "what was handed in is written before the end");
    assert_eq!(archive.totals().await.unwrap().rows, 2_902);
}
