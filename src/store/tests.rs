//! The archive as history, against a model that looks at everything: in memory and in SQLite.

use std::time::Duration;

use archive::{EnvelopeHalf, Mined, Retention, Side, Writer, writer::Settings};
use bytes::Bytes;
use proptest::prelude::*;
use waku2::{ContentTopic, Meta, WakuMessage, hash::message_hash, store::server};

use super::*;

const TOPICS: [&str; 2] = ["/waku/2/rs/1/1", "/waku/2/rs/1/2"];
const CONTENT_TOPICS: [&str; 3] = ["a", "a%", "b"];
const NOW: u64 = 1_700_000_000;
const NOW_NS: i64 = 1_700_000_000_000_000_000;

fn message(content_topic: &str, payload: &str, nanos: i64, meta: u8) -> WakuMessage {
    WakuMessage {
        payload: payload.to_owned().into(),
        content_topic: ContentTopic::from(content_topic),
        version: 0,
        timestamp: Some(nanos),
        meta: Meta::new(vec![meta]).unwrap(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

fn row(topic: &str, message: &WakuMessage) -> Row {
    rows::of_message(&topic.parse().unwrap(), message, None, NOW).unwrap()
}

fn all(limit: usize, forward: bool) -> Query {
    Query { selection: Selection::all(), cursor: None, forward, limit, include_data: true }
}

/// The archives there are, with these rows.
async fn archives(rows: &[Row]) -> (Vec<Archive>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = Archive::sqlite(&directory.path().join("archive.sqlite3")).await.unwrap();
    let archives = vec![Archive::memory(), sqlite];
    for archive in &archives {
        archive.append(rows, NOW).await.unwrap();
    }
    (archives, directory)
}

async fn histories(rows: &[Row]) -> (Vec<ArchivedHistory>, tempfile::TempDir) {
    let (archives, directory) = archives(rows).await;
    (archives.into_iter().map(|archive| ArchivedHistory::new(archive, false)).collect(), directory)
}

/// All pages of a query, put together; the cursor of each by its hash, or as beta4 names it.
async fn pages(history: &ArchivedHistory, query: &Query, legacy: bool) -> Vec<Entry> {
    let (mut query, mut got) = (query.clone(), Vec::new());
    loop {
        let page = history.page(query.clone()).await.unwrap();
        assert!(page.entries.len() <= query.limit);
        let cursor = server::end(&page, query.forward).map(|entry| match legacy {
            true => Cursor::Index(server::index(entry).unwrap()),
            false => Cursor::Hash(entry.hash),
        });
        let at = if query.forward { got.len() } else { 0 };
        got.splice(at..at, page.entries);
        match cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return got,
        }
    }
}

fn hashes(entries: &[Entry]) -> Vec<MessageHash> {
    entries.iter().map(|entry| entry.hash).collect()
}

/// What a query has to find, by looking at every row.
fn model(rows: &[Row], selection: &Selection) -> Vec<MessageHash> {
    let is_seen = |row: &&Row| {
        let half = row.message.as_ref().unwrap();
        selection.pubsub_topic().is_none_or(|topic| topic.as_str() == half.pubsub_topic)
            && match selection {
                Selection::Hashes { hashes, .. } => hashes.contains(&half.hash.into()),
                Selection::Content { content_topics, from, until, .. } => {
                    (content_topics.is_empty() || content_topics.contains(&half.content_topic))
                        && from.is_none_or(|from| row.sent_ns >= from)
                        && until.is_none_or(|until| row.sent_ns <= until)
                }
            }
    };
    let mut seen: Vec<_> = rows.iter().filter(is_seen).filter_map(Row::message_position).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.into_iter().map(|place| place.hash.into()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_are_what_a_look_at_everything_finds(
        sent in proptest::collection::vec((0_usize..2, 0_usize..3, 0_i64..12, 0_u8..3), 0..60),
        limit in 1_usize..12,
        (forward, legacy, include_data) in any::<(bool, bool, bool)>(),
        topic in proptest::option::of(0_usize..2),
        content_topics in proptest::sample::subsequence(CONTENT_TOPICS.to_vec(), 0..3),
        (from, until) in (proptest::option::of(0_i64..12), proptest::option::of(0_i64..12)),
        by_hash: bool,
    ) {
        let rows: Vec<Row> = sent
            .into_iter()
            .map(|(topic, content, nanos, meta)| {
                row(TOPICS[topic], &message(CONTENT_TOPICS[content], "same", NOW_NS - 12 + nanos, meta))
            })
            .collect();
        let pubsub_topic = topic.map(|topic| TOPICS[topic].parse().unwrap());
        let selection = if by_hash {
            let every_other = rows.iter().step_by(2).map(|row| MessageHash::from(row.message.as_ref().unwrap().hash));
            Selection::Hashes { pubsub_topic, hashes: every_other.chain([MessageHash::from([9; 32])]).collect() }
        } else {
            let content_topics = content_topics.into_iter().map(str::to_owned).collect();
            let at = |nanos: Option<i64>| nanos.map(|nanos| NOW_NS - 12 + nanos);
            Selection::Content { pubsub_topic, content_topics, from: at(from), until: at(until) }
        };
        let query = Query { selection, cursor: None, forward, limit, include_data: include_data || legacy };
        let expected = model(&rows, &query.selection);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let (histories, _directory) = histories(&rows).await;
            for history in &histories {
                let got = pages(history, &query, legacy).await;
                assert!(got.iter().all(|entry| entry.kept.is_some() == query.include_data));
                assert_eq!(hashes(&got), expected);
            }
        });
    }
}

#[tokio::test]
async fn h75_a_cursor_has_to_be_here() {
    let rows = [row(TOPICS[0], &message("a", "x", NOW_NS, 0))];
    let (histories, _directory) = histories(&rows).await;
    for history in &histories {
        let gone = Query { cursor: Some(Cursor::Hash([9; 32].into())), ..all(1, true) };
        assert_eq!(history.page(gone).await, Err(Failure::UnknownCursor));
        let entry = &history.page(all(1, true)).await.unwrap().entries[0];
        let named = server::index(entry).unwrap();
        let at = async |index: Index| history.page(Query { cursor: Some(Cursor::Index(index)), ..all(1, true) }).await;
        assert_eq!(at(named.clone()).await, Ok(Page::default()));
        for wrong in [
            Index { digest: [9; 32], ..named.clone() },
            Index { sender_time: named.sender_time + 1, ..named.clone() },
            Index { pubsub_topic: TOPICS[1].parse().unwrap(), ..named.clone() },
        ] {
            assert_eq!(at(wrong).await, Err(Failure::UnknownCursor));
        }
        // Another node, where it came at another time, names it too.
        assert_eq!(at(Index { receiver_time: 1, ..named }).await, Ok(Page::default()));
    }
}

#[tokio::test]
async fn h75_a_cursor_of_what_was_deleted_meanwhile_is_refused() {
    let rows: Vec<Row> = (0..5).map(|n| row(TOPICS[0], &message("a", "x", NOW_NS + n, 0))).collect();
    let (archives, _directory) = archives(&rows).await;
    for archive in archives {
        let history = ArchivedHistory::new(archive.clone(), false);
        let first = history.page(all(2, true)).await.unwrap();
        let cursor = server::end(&first, true).unwrap();
        let by_index = Query { cursor: Some(Cursor::Index(server::index(cursor).unwrap())), ..all(2, true) };
        let by_hash = Query { cursor: Some(Cursor::Hash(cursor.hash)), ..all(2, true) };
        assert_eq!(history.page(by_hash.clone()).await.unwrap().entries.len(), 2);
        let retention = Retention { max_rows: Some(1), ..Retention::default() };
        let settings = Settings { retention, trim_every: Duration::from_millis(1), clock: || NOW };
        let (_writer, _task) = Writer::start(archive.clone(), settings);
        while archive.totals().await.unwrap().rows > 1 {
            tokio::task::yield_now().await;
        }
        for query in [by_hash, by_index] {
            assert_eq!(history.page(query).await, Err(Failure::UnknownCursor));
        }
        assert_eq!(history.page(all(10, true)).await.unwrap().entries.len(), 1, "it is read from the beginning");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h76_five_hundred_queries_at_once_are_answered_and_what_comes_meanwhile_is_kept() {
    const QUERIES: usize = 500;
    let sent = |n: i64| row(TOPICS[0], &message("a", "a payload of some length", NOW_NS + n, 0));
    let (archives, _directory) = archives(&(0..2_000).map(sent).collect::<Vec<_>>()).await;
    for archive in archives {
        let history = ArchivedHistory::new(archive.clone(), false);
        // As long as all places are taken, none of them is read.
        let reading = history.reads.acquire_many(u32::try_from(READS).unwrap()).await.unwrap();
        let queries: Vec<_> = (0..QUERIES)
            .map(|n| {
                let history = history.clone();
                tokio::spawn(async move { history.page(all(100, n % 2 == 0)).await })
            })
            .collect();
        for n in 2_000..2_050 {
            archive.append(&[sent(n)], NOW).await.unwrap();
        }
        assert!(queries.iter().all(|query| !query.is_finished()), "who writes does not wait for who reads");
        drop(reading);
        for query in queries {
            assert_eq!(query.await.unwrap().unwrap().entries.len(), 100);
        }
        assert_eq!(archive.totals().await.unwrap().rows, 2_050);
        assert_eq!(history.took().read().count, QUERIES as u64);
    }
}

#[tokio::test]
async fn on_networks_with_proofs_only_what_is_proven_is_told() {
    let [one, other] = [1, 2].map(|meta| row(TOPICS[0], &message("a", "x", NOW_NS, meta)));
    let rows = [Row { proven: true, ..one }, other];
    let (archives, _directory) = archives(&rows).await;
    let named = |row: &Row| MessageHash::from(row.message.as_ref().unwrap().hash);
    let by_hash = Selection::Hashes { pubsub_topic: None, hashes: rows.iter().map(named).collect() };
    for archive in archives {
        for selection in [Selection::all(), by_hash.clone()] {
            for (proven_only, count) in [(true, 1), (false, 2)] {
                let history = ArchivedHistory::new(archive.clone(), proven_only);
                let page = history.page(Query { selection: selection.clone(), ..all(10, true) }).await.unwrap();
                assert_eq!((page.entries.len(), page.more), (count, false));
                assert!(page.entries.iter().any(|entry| entry.hash == named(&rows[0])));
            }
        }
    }
}

#[tokio::test]
async fn envelopes_are_told_of_as_the_messages_that_they_became() {
    let mined = Some(Mined { hash: [7; 32], nonce: 7 });
    let half = EnvelopeHalf { topic: [1; 4], ttl: 50, wrapped: false, mined };
    let both = Row { envelope: Some(half), first: Side::V1, ..row(TOPICS[1], &message("a", "x", NOW_NS, 0)) };
    let alone = Row {
        message: None,
        payload: Bytes::from_static(b"alone"),
        envelope: Some(EnvelopeHalf { mined: Some(Mined { hash: [8; 32], nonce: 8 }), ..half }),
        ..both.clone()
    };
    let (histories, _directory) = histories(&[both.clone(), alone]).await;
    for history in &histories {
        let page = history.page(all(10, true)).await.unwrap();
        let [Entry { hash, kept: Some(kept) }] = &page.entries[..] else { panic!("{page:?}") };
        assert_eq!((kept.pubsub_topic.as_str(), &kept.message.payload[..]), (TOPICS[1], &b"x"[..]));
        assert_eq!(*hash, message_hash(&kept.pubsub_topic, &kept.message));
    }
}

#[tokio::test]
async fn large_messages_are_found_by_hash_as_well() {
    // Together they are more than the archive answers with at once.
    let large = "x".repeat(3 << 20);
    let rows: Vec<Row> =
        (0..8).map(|meta| row(TOPICS[0], &message("a", &large, NOW_NS - i64::from(meta), meta))).collect();
    let named: Vec<MessageHash> = rows.iter().map(|row| row.message.as_ref().unwrap().hash.into()).collect();
    let (histories, _directory) = histories(&rows).await;
    for history in &histories {
        for forward in [true, false] {
            let selection = Selection::Hashes { pubsub_topic: None, hashes: named.clone() };
            let query = Query { selection: selection.clone(), ..all(5, forward) };
            assert_eq!(hashes(&pages(history, &query, false).await), model(&rows, &selection));
        }
    }
}

/// What a bridge with a budget of ten keeps of fifty envelopes.
fn rows_of_a_tight_budget() -> Vec<Row> {
    let config = bridge::Config { proofs: true, archive: true, ..bridge::Config::default() };
    let mut bridge = bridge::Bridge::new(config, rand::SeedableRng::seed_from_u64(1)).unwrap();
    let now = devp2p::clock::Now { unix: Duration::from_secs(NOW), ..now() };
    let (mut left, mut rows) = (10, Vec::new());
    for n in 0..50_u8 {
        let unsealed = waku0::Unsealed::new(NOW as u32 + 15, 15, waku0::Topic([1; 4]), vec![n].into()).unwrap();
        let nonce = unsealed.search(0, 0, 1 << 20, unsealed.required_bits(waku0::Pow::new(0.002).unwrap())).unwrap();
        bridge.envelope(now, &Arc::new(unsealed.seal(nonce)));
    }
    let later = now.after(bridge.config().stagger);
    bridge.tick(later);
    while let Some(action) = bridge.next_action() {
        match action {
            bridge::Action::Publish { job, .. } if left > 0 => {
                left -= 1;
                let proof = Some(Bytes::from_static(b"a proof"));
                bridge.published(later, job, Ok(waku2::Published { peers: 1, duplicate: false, proof }));
            }
            bridge::Action::Publish { job, .. } => {
                let out = waku2::PublishError::NoProof(waku2::rln::NoProof::OutOfIds);
                bridge.published(later, job, Err::<waku2::Published, _>(out));
            }
            bridge::Action::Keep { job, kept } => {
                rows.extend(crate::storage::archive::rows_of(*kept, NOW));
                bridge.kept(later, job, Ok(()));
            }
            _ => {}
        }
    }
    rows
}

#[tokio::test]
async fn of_fifty_with_a_budget_of_ten_mail_returns_fifty_and_store_ten() {
    let rows = rows_of_a_tight_budget();
    let (archives, _directory) = archives(&rows).await;
    for archive in archives {
        let mail = archive.page(&archive::Query::envelopes()).await.unwrap();
        assert_eq!(mail.rows.len(), 50);
        let told = ArchivedHistory::new(archive.clone(), true).page(all(100, true)).await.unwrap();
        let has_proof = |entry: &&Entry| entry.kept.as_ref().unwrap().message.rate_limit_proof.is_some();
        assert_eq!((told.entries.len(), told.entries.iter().filter(has_proof).count()), (10, 10));
        let all = ArchivedHistory::new(archive, false).page(all(100, true)).await.unwrap();
        assert_eq!(all.entries.len(), 50, "--store-unproven");
    }
}
