//! Queries.

use archive::{
    Appended, Archive, EnvelopePosition, Mail, MessagePosition, Name, Page, Query, Row, View,
    query::{MAX_PAGE_BYTES, MAX_TOPICS, seconds},
};
use bytes::Bytes;

use super::{
    Place,
    rows::{NOW, NOW_NS, SECOND, both, content_topic, envelope, hash, message, topic, unmined},
};

/// Opens a place with these rows.
pub(crate) async fn with(place: &Place, rows: &[Row]) -> Archive {
    let archive = place.open().await;
    let outcomes = archive.append(rows, NOW).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Appended::Stored), "{outcomes:?}");
    archive
}

/// All pages of a query, of so many rows each.
async fn walk(archive: &Archive, query: Query) -> Vec<Row> {
    let (mut rows, mut query) = (vec![], query);
    loop {
        let page = checked_page(archive, &query).await;
        assert!(page.rows.len() <= query.limit);
        assert!(page.rows.len() == query.limit || !page.more, "a short page is the last");
        let last = page.rows.last().cloned();
        rows.extend(page.rows);
        let (Some(last), true) = (last, page.more) else { return rows };
        query = query.after(&last).unwrap();
    }
}

fn sorted_messages(rows: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().filter(|row| row.message.is_some()).cloned().collect();
    rows.sort_by_key(|row| row.message_position().unwrap());
    rows
}

fn sorted_envelopes(rows: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().filter(|row| row.mined().is_some()).cloned().collect();
    rows.sort_by_key(|row| row.envelope_position().unwrap());
    rows
}

fn reversed(mut rows: Vec<Row>) -> Vec<Row> {
    rows.reverse();
    rows
}

/// Of content topics, or of any.
fn of_content_topics(names: &[&str]) -> Query {
    let content_topics = names.iter().map(|name| (*name).to_owned()).collect();
    let view = View::Messages { after: None, content_topics, pubsub_topic: None, proven_only: false };
    Query { view, ..Query::messages() }
}

fn of_topics(topics: &[[u8; 4]]) -> Query {
    Query { view: View::Envelopes { after: None, topics: topics.to_vec() }, ..Query::envelopes() }
}

async fn read(archive: &Archive, query: &Query) -> Vec<Row> {
    checked_page(archive, query).await.rows
}

/// A page, of which requests for history see the same.
async fn checked_page(archive: &Archive, query: &Query) -> Page {
    let page = archive.page(query).await.unwrap();
    let mail = archive.mail_page(query).await.unwrap();
    let envelopes: Vec<Mail> = page.rows.iter().filter_map(Mail::of).collect();
    assert_eq!((mail.envelopes, mail.more), (envelopes, page.more), "{query:?}");
    page
}

/// Rows of all kinds, several in a second and some at the same nanosecond.
fn mixed() -> Vec<Row> {
    (0..40)
        .map(|n| {
            let ago = i64::try_from(n / 4).unwrap() * SECOND + i64::try_from(n % 3).unwrap() * 1_000;
            match n % 5 {
                0 => envelope(n, ago),
                1 => message(n, ago),
                2 => unmined(n, ago),
                _ => both(n, ago),
            }
        })
        .collect()
}

pub(crate) async fn pages_have_all_rows_once_in_both_orders_and_directions(place: Place) {
    let rows = mixed();
    let archive = with(&place, &rows).await;
    for limit in [1, 2, 3, 7, 8, 24, 32, 39, 40, 1_000] {
        for newest_first in [false, true] {
            let expected = |rows: Vec<Row>| if newest_first { reversed(rows) } else { rows };
            let messages = Query { newest_first, limit, ..Query::messages() };
            assert_eq!(walk(&archive, messages).await, expected(sorted_messages(&rows)), "{limit} {newest_first}");
            let envelopes = Query { newest_first, limit, ..Query::envelopes() };
            assert_eq!(walk(&archive, envelopes).await, expected(sorted_envelopes(&rows)), "{limit} {newest_first}");
        }
    }
    let exactly = archive.page(&Query { limit: 32, ..Query::messages() }).await.unwrap();
    assert_eq!((exactly.rows.len(), exactly.more), (32, false), "no page behind one that ends with the last row");
}

pub(crate) async fn rows_of_one_time_stand_in_the_order_of_their_hashes(place: Place) {
    let rows: Vec<Row> = (0..50).map(|n| both(n, 5)).collect();
    let archive = with(&place, &rows).await;
    assert_eq!(walk(&archive, Query { limit: 7, ..Query::messages() }).await, sorted_messages(&rows));
    let newest = Query { limit: 7, newest_first: true, ..Query::envelopes() };
    assert_eq!(walk(&archive, newest).await, reversed(sorted_envelopes(&rows)));
}

pub(crate) async fn a_cursor_that_is_not_here_is_a_position_like_any_other(place: Place) {
    let rows: Vec<Row> = (0..10).map(|n| both(n, i64::try_from(n).unwrap() * SECOND)).collect();
    let archive = with(&place, &rows).await;
    let sent_ns = NOW_NS - 4 * SECOND - 1;
    let mut query = Query::messages();
    query.view = View::Messages {
        after: Some(MessagePosition { sent_ns, hash: [0; 32] }),
        content_topics: vec![],
        pubsub_topic: None,
        proven_only: false,
    };
    assert_eq!(read(&archive, &query).await, sorted_messages(&rows[..5]));
    query.newest_first = true;
    assert_eq!(read(&archive, &query).await, reversed(sorted_messages(&rows[5..])));
    let position = |hash| Some(EnvelopePosition { sent_secs: u32::try_from(NOW - 4).unwrap(), hash });
    for (hash, expected) in [([0; 32], &rows[..5]), ([0xff; 32], &rows[..4])] {
        let view = View::Envelopes { after: position(hash), topics: vec![] };
        let query = Query { view, ..Query::envelopes() };
        assert_eq!(read(&archive, &query).await, sorted_envelopes(expected));
    }
    let known = archive.messages_present(&[hash("message", 3), [7; 32]]).await.unwrap();
    assert_eq!(known, [rows[3].message_position().unwrap()], "and this says whether it is here");
}

pub(crate) async fn both_ends_of_a_time_span_belong_to_it(place: Place) {
    let agos = [0, 1, SECOND - 1, SECOND, SECOND + 1, 2 * SECOND];
    let rows: Vec<Row> = agos.iter().zip(0..).map(|(ago, n)| both(n, *ago)).collect();
    let archive = with(&place, &rows).await;
    for from in agos {
        for until in agos {
            let span = NOW_NS - from..=NOW_NS - until;
            let inside: Vec<Row> = rows.iter().filter(|row| span.contains(&row.sent_ns)).cloned().collect();
            let messages = Query { sent_ns: span.clone(), ..Query::messages() };
            assert_eq!(read(&archive, &messages).await, sorted_messages(&inside), "{span:?}");
            let envelopes = Query { sent_ns: span.clone(), newest_first: true, ..Query::envelopes() };
            assert_eq!(read(&archive, &envelopes).await, reversed(sorted_envelopes(&inside)), "{span:?}");
        }
    }
    let last = u32::try_from(NOW).unwrap() - 1;
    let second = Query { sent_ns: seconds(last, last), ..Query::envelopes() };
    assert_eq!(read(&archive, &second).await, sorted_envelopes(&rows[1..4]), "a whole second");
}

pub(crate) async fn topics_select_what_stands_on_them(place: Place) {
    let rows = mixed();
    let archive = with(&place, &rows).await;
    let on =
        |wanted: &[u64], row: &Row| wanted.iter().any(|n| row.envelope.is_some_and(|half| half.topic == topic(*n)));
    for wanted in [&[3][..], &[8, 9, 9, 4], &[999]] {
        let topics: Vec<_> = wanted.iter().map(|n| topic(*n)).collect();
        let expected: Vec<Row> = rows.iter().filter(|row| on(wanted, row)).cloned().collect();
        let query = Query { limit: 1, newest_first: true, ..of_topics(&topics) };
        assert_eq!(walk(&archive, query).await, reversed(sorted_envelopes(&expected)), "{wanted:?}");
        let names: Vec<String> = wanted.iter().map(|n| content_topic(*n)).collect();
        let with_name = |row: &&Row| row.message.as_ref().is_some_and(|half| names.contains(&half.content_topic));
        let expected: Vec<Row> = rows.iter().filter(with_name).cloned().collect();
        let query = of_content_topics(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(walk(&archive, Query { limit: 2, ..query }).await, sorted_messages(&expected), "{wanted:?}");
    }
}

pub(crate) async fn h74_topics_are_compared_byte_for_byte_and_never_read(place: Place) {
    let long = "x".repeat(archive::row::MAX_TOPIC_BYTES);
    let names = [
        "%",
        "_",
        "a%",
        "ab",
        "'",
        "' OR 1=1 --",
        "'; DROP TABLE log; --",
        "\"",
        "\\",
        "$1",
        "?",
        "A",
        "a",
        "a ",
        "",
        "\0",
        "a\0b",
        "\u{202e}gnp.exe",
        "é",
        "e\u{301}",
        &long,
    ];
    let rows: Vec<Row> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| {
            let mut row = both(n, i64::try_from(n).unwrap());
            let half = row.message.as_mut().unwrap();
            half.content_topic = (*name).to_owned();
            half.pubsub_topic = format!("/waku/2/{name}").chars().take(1_000).collect();
            row
        })
        .collect();
    let archive = with(&place, &rows).await;
    for (name, row) in names.iter().zip(&rows) {
        assert_eq!(read(&archive, &of_content_topics(&[name])).await, std::slice::from_ref(row), "{name:?}");
        let pubsub_topic = row.message.as_ref().map(|half| half.pubsub_topic.clone());
        let view = View::Messages { after: None, content_topics: vec![], pubsub_topic, proven_only: false };
        assert_eq!(read(&archive, &Query { view, ..Query::messages() }).await, std::slice::from_ref(row), "{name:?}");
    }
    let too_long = "x".repeat(1 << 20);
    assert_eq!(read(&archive, &of_content_topics(&["LIKE", "%%", &too_long])).await, []);
    assert_eq!(archive.totals().await.unwrap().rows, names.len() as u64);
}

pub(crate) async fn many_topics_are_one_page(place: Place) {
    let rows: Vec<Row> = (0..300).map(|n| both(n, i64::try_from(n * 7_919 % 300).unwrap() * SECOND)).collect();
    let archive = with(&place, &rows).await;
    let topics: Vec<_> = (0..200).map(topic).collect();
    let expected = reversed(sorted_envelopes(&rows[..200]));
    let query = Query { limit: 70, newest_first: true, ..of_topics(&topics) };
    assert_eq!(archive.page(&query).await.unwrap().rows, expected[..70]);
    assert_eq!(walk(&archive, query).await, expected);
    let too_many = of_topics(&vec![[0; 4]; MAX_TOPICS + 1]);
    assert!(archive.page(&too_many).await.is_err());
}

pub(crate) async fn shards_and_proofs_select(place: Place) {
    let rows: Vec<Row> = (0..24).map(|n| both(n, i64::try_from(n).unwrap())).collect();
    let archive = with(&place, &rows).await;
    for shard in 0..4 {
        for proven_only in [false, true] {
            let pubsub_topic = format!("/waku/2/rs/16/{shard}");
            let on = |row: &&Row| row.message.as_ref().is_some_and(|half| half.pubsub_topic == pubsub_topic);
            let expected: Vec<Row> = rows.iter().filter(on).filter(|row| row.proven || !proven_only).cloned().collect();
            let pubsub_topic = Some(pubsub_topic.clone());
            let view = View::Messages { after: None, content_topics: vec![], pubsub_topic, proven_only };
            let query = Query { view, limit: 2, ..Query::messages() };
            assert_eq!(walk(&archive, query).await, sorted_messages(&expected));
        }
    }
}

pub(crate) async fn mail_does_not_see_what_has_no_work_and_store_what_has_no_message(place: Place) {
    let archive = with(&place, &[message(1, 0), unmined(2, 1), envelope(3, SECOND)]).await;
    assert_eq!(read(&archive, &Query::envelopes()).await, [envelope(3, SECOND)]);
    assert_eq!(read(&archive, &of_topics(&[topic(2), topic(3)])).await, [envelope(3, SECOND)]);
    assert_eq!(read(&archive, &Query::messages()).await, sorted_messages(&[unmined(2, 1), message(1, 0)]));
}

pub(crate) async fn rows_are_found_by_each_of_their_names(place: Place) {
    let same_content = Row { content: hash("content", 1), ..both(9, 3) };
    let rows = [both(1, 1), envelope(2, 2 * SECOND), unmined(3, 3), same_content.clone()];
    let archive = with(&place, &rows).await;
    let find = async |name, hashes: &[_]| archive.find(name, hashes).await.unwrap().rows;
    assert_eq!(find(Name::Message, &[hash("message", 1)]).await, [both(1, 1)]);
    assert_eq!(
        find(Name::Message, &[hash("message", 3), [0; 32], hash("message", 1)]).await,
        [unmined(3, 3), both(1, 1)]
    );
    assert_eq!(find(Name::Message, &[hash("envelope", 2)]).await, [], "an envelope's hash names no message");
    assert_eq!(find(Name::Envelope, &[hash("envelope", 2), hash("envelope", 3)]).await, [envelope(2, 2 * SECOND)]);
    assert_eq!(find(Name::Content, &[hash("content", 1)]).await, [same_content, both(1, 1)]);
    assert_eq!(find(Name::Content, &[]).await, []);
}

pub(crate) async fn a_page_ends_before_it_is_too_large(place: Place) {
    let rows: Vec<Row> = (0..20)
        .map(|n| Row { payload: Bytes::from(vec![n as u8; 1 << 20]), ..both(n, i64::try_from(n).unwrap()) })
        .collect();
    let archive = with(&place, &rows).await;
    let page = archive.page(&Query::messages()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (MAX_PAGE_BYTES / ((1 << 20) + 600), true));
    let next = archive.page(&Query::messages().after(page.rows.last().unwrap()).unwrap()).await.unwrap();
    assert_eq!((next.rows.len(), next.more), (5, false));
    assert_eq!([page.rows, next.rows].concat(), sorted_messages(&rows));
    let every_topic: Vec<_> = (0..20).map(topic).collect();
    for query in [Query::envelopes(), of_topics(&every_topic)] {
        let mail = checked_page(&archive, &query).await;
        assert_eq!((mail.rows.len(), mail.more), (15, true));
        let next = checked_page(&archive, &query.after(mail.rows.last().unwrap()).unwrap()).await;
        assert_eq!((next.rows.len(), next.more), (5, false));
    }
}

pub(crate) async fn the_topics_of_a_time_are_told_in_pages(place: Place) {
    let rows: Vec<Row> = (0..60).map(|n| both(n, i64::try_from(n).unwrap() * SECOND)).chain([unmined(90, 1)]).collect();
    let archive = with(&place, &rows).await;
    let expected = |from, until| {
        let mut topics: Vec<_> = (from..=until).map(topic).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    };
    let all = archive.topics_between(i64::MIN..=i64::MAX, None, 1_000).await.unwrap();
    assert_eq!(all, expected(0, 59), "not that of an envelope without work");
    let span = NOW_NS - 20 * SECOND..=NOW_NS - 10 * SECOND;
    let within = expected(10, 20);
    assert_eq!(archive.topics_between(span.clone(), None, 1_000).await.unwrap(), within);
    assert_eq!(archive.topics_between(span.clone(), None, 3).await.unwrap(), within[..3]);
    assert_eq!(archive.topics_between(span, Some(within[2]), 3).await.unwrap(), within[3..6]);
}
