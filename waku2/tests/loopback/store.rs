//! Store between two nodes, in both of its versions: what one keeps the other asks for, page by page.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use rand::{SeedableRng, rngs::StdRng};
use waku2::{
    Config, Meta, PubsubTopic, WakuMessage,
    hash::message_hash,
    service::{Answer, AskError, Protocol, Services, Target},
    store::{
        Cursor, Entry, Failure, History, Page, Query, Selection,
        ask::{PageError, Pages},
        client::Dialect,
        query::Kept,
        serve::Store,
        server, wire,
    },
};

use crate::node::{Node, config, soon};

const TOPIC: &str = "/waku/2/rs/0/0";
const BOTH: [Dialect; 2] = [Dialect::V3, Dialect::Legacy];

/// Messages one nanosecond apart, from the first on.
struct Sent {
    entries: Vec<Entry>,
    /// How many pages are read before none can be any more.
    pages: AtomicUsize,
}

impl Sent {
    fn new(pages: usize) -> Arc<Self> {
        let topic: PubsubTopic = TOPIC.parse().unwrap();
        let entry = |nanos: i64| {
            let message = WakuMessage {
                payload: format!("message {nanos}").into(),
                content_topic: "/app/1/x/proto".into(),
                version: 0,
                timestamp: Some(nanos),
                meta: Meta::default(),
                rate_limit_proof: None,
                ephemeral: false,
            };
            let kept = Kept { pubsub_topic: topic.clone(), message, stored_at: 5 };
            Entry { hash: message_hash(&topic, &kept.message), kept: Some(kept) }
        };
        Arc::new(Self { entries: (1..=250).map(entry).collect(), pages: AtomicUsize::new(pages) })
    }

    fn read(&self, query: &Query) -> Result<Page, Failure> {
        let left = self.pages.fetch_update(Relaxed, Relaxed, |pages| pages.checked_sub(1));
        left.map_err(|_| Failure::Unreadable)?;
        let behind = match &query.cursor {
            None => 0,
            Some(cursor) => {
                let is_named = |entry: &Entry| match cursor {
                    Cursor::Hash(hash) => entry.hash == *hash,
                    Cursor::Index(named) => server::index(entry).as_ref() == Some(named),
                };
                self.entries.iter().position(is_named).ok_or(Failure::UnknownCursor)? + 1
            }
        };
        let left = &self.entries[behind..];
        Ok(Page { entries: left.iter().take(query.limit).cloned().collect(), more: left.len() > query.limit })
    }
}

impl History for Sent {
    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>> {
        let page = self.read(&query);
        async { page }.boxed()
    }
}

/// A node that serves store in these versions, so many pages.
async fn serving(dialects: &[Dialect], pages: usize, limits: &[&str]) -> (Node, Target) {
    let history = Sent::new(pages);
    let store = |dialect: &Dialect| match dialect {
        Dialect::V3 => Store::v3(history.clone()),
        Dialect::Legacy => Store::legacy(history.clone()),
    };
    let answers: BTreeMap<Protocol, Arc<dyn Answer>> =
        dialects.iter().map(|dialect| (dialect.protocol(), Arc::new(store(dialect)) as Arc<dyn Answer>)).collect();
    let rate_limits = limits.iter().map(|limit| limit.parse().unwrap()).collect();
    let services = Services { answers, rate_limits, ..Services::default() };
    let node = Node::start(Config { services, ..config(vec![]) }).await;
    let target = node.addr().try_into().unwrap();
    (node, target)
}

async fn pages(client: &Node, target: Target, dialects: &[Dialect]) -> Pages {
    let pubsub_topic = Some(TOPIC.parse().unwrap());
    let selection = Selection::Content { pubsub_topic, content_topics: vec![], from: None, until: None };
    let query = Query { selection, cursor: None, forward: true, limit: 100, include_data: true };
    Pages::new(client.handle.clone(), target, dialects, &query).unwrap()
}

#[tokio::test]
async fn all_pages_come_in_either_version_and_the_newer_is_preferred() {
    let client = Node::start(Config { listen: vec![], ..config(vec![]) }).await;
    for (served, spoken) in [(&BOTH[..], Dialect::V3), (&BOTH[1..], Dialect::Legacy)] {
        let (_server, target) = serving(served, 9, &[]).await;
        let mut pages = pages(&client, target, &BOTH).await;
        let (mut rng, mut times) = (StdRng::seed_from_u64(1), Vec::new());
        while let Some(answer) = soon("a page", pages.next(&mut rng)).await.unwrap() {
            assert_eq!((answer.discarded, pages.dialect()), (0, Some(spoken)));
            times.extend(answer.entries.iter().filter_map(|entry| entry.kept.as_ref()?.message.timestamp));
        }
        assert_eq!(times, (1..=250).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_fails_is_told_and_what_came_stands() {
    let client = Node::start(Config { listen: vec![], ..config(vec![]) }).await;
    let mut rng = StdRng::seed_from_u64(1);
    for dialect in BOTH {
        let (_server, target) = serving(&[dialect], 1, &[]).await;
        let mut pages = pages(&client, target, &BOTH).await;
        assert_eq!(soon("a page", pages.next(&mut rng)).await.unwrap().unwrap().entries.len(), 100);
        let failed = soon("an answer", pages.next(&mut rng)).await.unwrap_err();
        assert!(matches!(failed, PageError::Answer(_)) && !failed.is_too_often(), "{failed}");
    }
    let (_server, target) = serving(&[], 9, &[]).await;
    let unserved = soon("an error", pages(&client, target, &BOTH).await.next(&mut rng)).await.unwrap_err();
    assert!(matches!(unserved, PageError::Ask(AskError::Open(_))), "{unserved}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_so_in_either_version() {
    let client = Node::start(Config { listen: vec![], ..config(vec![]) }).await;
    let mut rng = StdRng::seed_from_u64(1);
    for dialect in BOTH {
        let (_server, target) = serving(&[dialect], 9, &["store:1/1h"]).await;
        let mut pages = pages(&client, target, &BOTH).await;
        assert!(soon("a page", pages.next(&mut rng)).await.is_ok());
        let refused = soon("a refusal", pages.next(&mut rng)).await.unwrap_err();
        assert!(refused.is_too_often(), "{refused}");
    }
}

/// How many of five hundred queries, all under way before any is answered, had a page, and how many were told 429.
async fn storm(target: &Target) -> (usize, usize) {
    const CLIENTS: usize = 10;
    const AT_ONCE: usize = 50;
    let query = Query { selection: Selection::all(), cursor: None, forward: true, limit: 100, include_data: true };
    let request = wire::Request::encode("x", &query);
    let clients = join_all((0..CLIENTS).map(|_| Node::start(Config { listen: vec![], ..config(vec![]) }))).await;
    let ask = |client: &Node| {
        let (node, target, request) = (client.handle.clone(), target.clone(), request.clone());
        async move { node.ask(target, Protocol::StoreV3, request).await.unwrap() }
    };
    let asks = clients.iter().flat_map(|client| (0..AT_ONCE).map(move |_| ask(client)));
    let answers = soon("all answers", join_all(asks)).await;
    let statuses: Vec<wire::Status> =
        answers.into_iter().map(|answer| wire::Response::decode(answer).unwrap().status).collect();
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!(statuses.len(), CLIENTS * AT_ONCE);
    (count(wire::Status::Ok), count(wire::Status::TooManyRequests))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h76_five_hundred_queries_at_once_all_have_an_answer() {
    let (_server, target) = serving(&[Dialect::V3], 500, &[]).await;
    let (pages, refused) = storm(&target).await;
    assert!(pages >= 16 && pages + refused == 500, "{pages} pages, {refused} refusals");
    let (_server, target) = serving(&[Dialect::V3], 500, &["store:20/1h"]).await;
    let (pages, refused) = storm(&target).await;
    assert!((1..=20).contains(&pages) && pages + refused == 500, "{pages} pages, {refused} refusals");
}
