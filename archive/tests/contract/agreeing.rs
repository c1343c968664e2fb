//! Whatever is appended and asked, every archive says what that in memory says.

use std::ops::RangeInclusive;

use archive::{Archive, EnvelopeHalf, EnvelopePosition, MessageHalf, MessagePosition, Query, Row, Side, View};
use bytes::Bytes;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::{
    Place,
    rows::{NOW, NOW_NS, SECOND, content_topic, hash, mined, topic},
};

/// How many histories are tried.
const HISTORIES: usize = 14;
/// Messages that may come. Two share an envelope, four a second.
const MESSAGES: u64 = 16;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    Ask(Query),
}

fn sent_ns(message: u64) -> i64 {
    let second = i64::try_from(message / 4).unwrap() * SECOND;
    NOW_NS - second + [0, 0, 1, SECOND - 1][(message % 4) as usize]
}

/// Some of what a message and its envelope are.
fn row(message: u64, alone: bool, half: u8, proven: bool) -> Row {
    let work = EnvelopeHalf { topic: topic(message / 4), ttl: 15, wrapped: false, mined: Some(mined(message / 2)) };
    let envelope = match half {
        0 => None,
        1 => Some(EnvelopeHalf { mined: None, ..work }),
        _ => Some(work),
    };
    let proof = proven.then(|| Bytes::from_static(b"proof"));
    let second = sent_ns(message).div_euclid(SECOND) * SECOND;
    Row {
        sent_ns: if alone { second } else { sent_ns(message) },
        content: hash("content", message / 2),
        payload: Bytes::from(vec![message as u8 / 2; 9]),
        envelope: if alone { Some(work) } else { envelope },
        message: (!alone).then(|| MessageHalf {
            hash: hash("message", message),
            pubsub_topic: format!("/waku/2/rs/16/{}", message % 2),
            content_topic: content_topic(message / 4),
            version: 1,
            meta: Bytes::new(),
            proof,
        }),
        proven: proven && !alone,
        first: if half == 2 { Side::V2 } else { Side::V1 },
        reason: None,
        stored_at: NOW,
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..MESSAGES, any::<bool>(), 0_u8..4, any::<bool>())
        .prop_map(|(n, alone, half, proven)| row(n, alone, half, proven));
    prop::collection::vec(row, 0..6)
}

fn view() -> impl Strategy<Value = View> {
    let cursor = prop::option::of((0..MESSAGES, any::<bool>()));
    (any::<bool>(), cursor, prop::collection::vec(0_u64..5, 0..3), prop::option::of(0_u8..3), any::<bool>()).prop_map(
        |(mail, cursor, topics, shard, proven_only)| {
            let hashes = |kind, n, exists: bool| if exists { hash(kind, n) } else { hash("nothing", n) };
            if mail {
                let after = cursor.map(|(n, exists)| EnvelopePosition {
                    sent_secs: u32::try_from(sent_ns(n) / SECOND).unwrap(),
                    hash: hashes("envelope", n / 2, exists),
                });
                return View::Envelopes { after, topics: topics.into_iter().map(topic).collect() };
            }
            let after =
                cursor.map(|(n, exists)| MessagePosition { sent_ns: sent_ns(n), hash: hashes("message", n, exists) });
            let content_topics = topics.into_iter().map(content_topic).collect();
            let pubsub_topic = shard.map(|shard| format!("/waku/2/rs/16/{shard}"));
            View::Messages { after, content_topics, pubsub_topic, proven_only }
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    let moment = || prop_oneof![Just(i64::MIN), Just(i64::MAX), (0..MESSAGES).prop_map(sent_ns)];
    (view(), any::<bool>(), moment(), moment(), 0_usize..6).prop_map(|(view, newest_first, from, until, limit)| Query {
        view,
        newest_first,
        sent_ns: from..=until,
        limit,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![rows().prop_map(Step::Append), query().prop_map(Step::Ask), query().prop_map(Step::Ask)];
    prop::collection::vec(step, 1..60)
}

pub(crate) async fn any_appends_and_queries_give_what_memory_gives(place: Place) {
    let mut runner = TestRunner::new(Config::default());
    let archive = place.open().await;
    for history in 0..HISTORIES {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        // Each in days of its own.
        let shift = i64::try_from(history).unwrap() * 2 * 86_400 * SECOND;
        compare(&archive, &steps, shift).await;
    }
}

async fn compare(archive: &Archive, steps: &[Step], shift: i64) {
    let memory = Archive::memory();
    let span = NOW_NS - shift - 86_400 * SECOND..=NOW_NS - shift + 86_400 * SECOND - 1;
    for (place, step) in steps.iter().enumerate() {
        let so_far = &steps[..=place];
        match step {
            Step::Append(rows) => {
                let rows: Vec<Row> = rows.iter().map(|row| shifted(row, shift)).collect();
                let expected = memory.append(&rows, NOW).await.unwrap();
                assert_eq!(archive.append(&rows, NOW).await.unwrap(), expected, "{so_far:#?}");
            }
            Step::Ask(query) => {
                let query = moved(query, shift, &span);
                let expected = memory.page(&query).await.unwrap();
                assert_eq!(archive.page(&query).await.unwrap(), expected, "{so_far:#?}");
                let expected = memory.mail_page(&query).await.unwrap();
                assert_eq!(archive.mail_page(&query).await.unwrap(), expected, "{so_far:#?}");
            }
        }
    }
    let topics = async |archive: &Archive| archive.topics_between(span.clone(), None, 100).await.unwrap();
    assert_eq!(topics(archive).await, topics(&memory).await, "{steps:#?}");
}

/// A row of another day, with hashes of its own.
fn shifted(row: &Row, shift: i64) -> Row {
    let own = |hash: [u8; 32]| own(hash, shift);
    let mut row = Row { sent_ns: row.sent_ns - shift, ..row.clone() };
    if let Some(half) = &mut row.message {
        half.hash = own(half.hash);
    }
    if let Some(mined) = row.envelope.as_mut().and_then(|half| half.mined.as_mut()) {
        mined.hash = own(mined.hash);
    }
    row
}

fn own(mut hash: [u8; 32], shift: i64) -> [u8; 32] {
    hash[31] = (shift / SECOND / 86_400) as u8;
    hash
}

fn moved(query: &Query, shift: i64, span: &RangeInclusive<i64>) -> Query {
    let mut query = query.clone();
    match &mut query.view {
        View::Messages { after: Some(after), .. } => {
            *after = MessagePosition { sent_ns: after.sent_ns - shift, hash: own(after.hash, shift) };
        }
        View::Envelopes { after: Some(after), .. } => {
            let sent_secs = after.sent_secs - u32::try_from(shift / SECOND).unwrap();
            *after = EnvelopePosition { sent_secs, hash: own(after.hash, shift) };
        }
        View::Messages { .. } | View::Envelopes { .. } => {}
    }
    let within = |moment: i64, open: i64| if moment == i64::MIN || moment == i64::MAX { open } else { moment - shift };
    query.sent_ns = match (*query.sent_ns.start(), *query.sent_ns.end()) {
        (i64::MAX, _) | (_, i64::MIN) => RangeInclusive::new(1, 0),
        (from, until) => within(from, *span.start())..=within(until, *span.end()),
    };
    query
}
