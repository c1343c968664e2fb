//! The serving side: bytes of a request in, bytes of the answer out. What reads pages is a [`History`].
//!
//! Whatever comes, there is an answer: the request id of the asker and a status, in beta4 an empty message for what can't be read.
//! Deployed: nwaku answers every cursor that it does not like, and every failure, with 300 and without the request id. Here 300 says that
//! history can't be read, 400 that the question makes no sense, as it does with a cursor that is not here, and the id is always that of
//! the question.
//!
//! Limits: [`MAX_PAGE_BYTES`], beside those of a query.

use bytes::Bytes;

use super::{
    legacy::{self, Index, Outcome},
    query::{Entry, Failure, History, Page, Query, QueryError},
    wire::{self, NO_REQUEST_ID, Status},
};

/// Most bytes of messages on a page: [`super::query::MAX_PAGE`] of the largest that relay carries. What a bridge keeps may be larger; one comes always.
pub const MAX_PAGE_BYTES: usize = 100 * 153_600;
/// What an entry takes beside its payload, topics and `meta`, in bytes: hash, time, proof, tags and lengths.
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// How a request was answered, for who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// With a page.
    Page,
    /// It makes no sense.
    Refused,
    /// History can't be read.
    Failed,
}

/// Answers a request of version 3. Safe to cancel.
pub async fn answer(history: &dyn History, request: Bytes) -> (Bytes, Answered) {
    let (response, answered) = match wire::Request::decode(request) {
        Ok(wire::Request { request_id, query }) => respond(history, &request_id, query).await,
        Err(error) => (wire::Response::refusal("", Status::BadRequest, Some(&error)), Answered::Refused),
    };
    (response.encode(), answered)
}

async fn respond(history: &dyn History, id: &str, query: Result<Query, QueryError>) -> (wire::Response, Answered) {
    let refusal = |status, why: &dyn std::fmt::Display| wire::Response::refusal(id, status, Some(why));
    let query = match query {
        Ok(query) => query,
        Err(error) => return (refusal(Status::BadRequest, &error), Answered::Refused),
    };
    match page(history, query).await {
        Ok((page, forward)) => {
            let cursor = end(&page, forward).map(|entry| entry.hash);
            (wire::Response::page(id, page.entries, cursor), Answered::Page)
        }
        Err(failure @ Failure::UnknownCursor) => (refusal(Status::BadRequest, &failure), Answered::Refused),
        Err(failure @ Failure::Unreadable) => (refusal(Status::BadResponse, &failure), Answered::Failed),
    }
}

/// Answers a request of beta4. Safe to cancel.
pub async fn answer_legacy(history: &dyn History, request: Bytes) -> (Bytes, Answered) {
    let Some(legacy::Request { request_id, query }) = legacy::Request::decode(request) else {
        return (Bytes::new(), Answered::Refused);
    };
    let refusal = |outcome| legacy::Response::refusal(&request_id, outcome);
    let (response, answered) = match query {
        Err(_) => (refusal(Outcome::InvalidCursor), Answered::Refused),
        Ok(query) => match page(history, query).await {
            Ok((page, forward)) => (legacy_page(refusal(Outcome::Ok), page, forward), Answered::Page),
            Err(Failure::UnknownCursor) => (refusal(Outcome::InvalidCursor), Answered::Refused),
            Err(Failure::Unreadable) => (refusal(Outcome::Unavailable), Answered::Failed),
        },
    };
    (response.encode(), answered)
}

fn legacy_page(empty: legacy::Response, page: Page, forward: bool) -> legacy::Response {
    let cursor = end(&page, forward).and_then(index);
    let messages = page.entries.into_iter().filter_map(|entry| Some(entry.kept?.message)).collect();
    legacy::Response { messages, cursor, ..empty }
}

/// What beta4 calls the message of an entry.
#[must_use]
pub fn index(entry: &Entry) -> Option<Index> {
    let kept = entry.kept.as_ref()?;
    Index::of(&kept.pubsub_topic, &kept.message, &entry.hash, kept.stored_at)
}

/// The answer to whoever asks too often, of version 3.
#[must_use]
pub fn too_many() -> Bytes {
    wire::Response::refusal(NO_REQUEST_ID, Status::TooManyRequests, None).encode()
}

/// The same of beta4.
#[must_use]
pub fn too_many_legacy() -> Bytes {
    legacy::Response::refusal(NO_REQUEST_ID, Outcome::TooManyRequests).encode()
}

async fn page(history: &dyn History, query: Query) -> Result<(Page, bool), Failure> {
    let forward = query.forward;
    Ok((fitting(history.page(query).await?, forward), forward))
}

/// The entry behind which the next page begins, where there is one.
#[must_use]
pub fn end(page: &Page, forward: bool) -> Option<&Entry> {
    let end = if forward { page.entries.last() } else { page.entries.first() };
    end.filter(|_| page.more)
}

/// As much of a page as is sent at once.
fn fitting(mut page: Page, forward: bool) -> Page {
    let mut bytes = 0;
    let mut fits = |entry: &Entry| {
        bytes += size(entry);
        bytes <= MAX_PAGE_BYTES
    };
    let length = match forward {
        true => page.entries.iter().take_while(|entry| fits(entry)).count(),
        false => page.entries.iter().rev().take_while(|entry| fits(entry)).count(),
    };
    let length = length.max(1);
    if length < page.entries.len() {
        page.more = true;
        if forward {
            page.entries.truncate(length);
        } else {
            page.entries.drain(..page.entries.len() - length);
        }
    }
    page
}

fn size(entry: &Entry) -> usize {
    let kept = entry.kept.as_ref().map_or(0, |kept| {
        let message = &kept.message;
        message.payload.len() + message.content_topic.as_str().len() + kept.pubsub_topic.as_str().len()
    });
    ENTRY_OVERHEAD_BYTES + kept
}

#[cfg(test)]
pub(super) mod tests {
    use futures::{FutureExt, executor::block_on, future::BoxFuture};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Meta, PubsubTopic, WakuMessage,
        hash::{MessageHash, message_hash},
        service::Protocol,
        store::query::{Cursor, Kept, MAX_PAGE, Selection},
    };

    pub(in crate::store) fn message(payload: &'static [u8], nanos: i64) -> WakuMessage {
        WakuMessage {
            payload: payload.into(),
            content_topic: "/waku/2/default-content/proto".into(),
            version: 0,
            timestamp: Some(nanos),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    /// What the archive does, by looking at everything.
    #[derive(Debug, Default)]
    pub(in crate::store) struct Naive {
        entries: Vec<(i64, Entry)>,
        pub(in crate::store) broken: bool,
    }

    impl Naive {
        pub(in crate::store) fn of(messages: impl IntoIterator<Item = (&'static str, WakuMessage)>) -> Self {
            let entry = |(topic, message): (&str, WakuMessage)| {
                let pubsub_topic: PubsubTopic = topic.parse().unwrap();
                let hash = message_hash(&pubsub_topic, &message);
                let time = message.timestamp.unwrap();
                (time, Entry { hash, kept: Some(Kept { pubsub_topic, message, stored_at: 5 }) })
            };
            let mut entries: Vec<_> = messages.into_iter().map(entry).collect();
            entries.sort_by_key(|(time, entry)| (*time, entry.hash));
            entries.dedup_by_key(|(_, entry)| entry.hash);
            Self { entries, broken: false }
        }

        pub(in crate::store) fn all(&self) -> Vec<Entry> {
            self.entries.iter().map(|(_, entry)| entry.clone()).collect()
        }

        fn sees(selection: &Selection, time: i64, entry: &Entry) -> bool {
            let kept = entry.kept.as_ref().unwrap();
            selection.pubsub_topic().is_none_or(|topic| *topic == kept.pubsub_topic)
                && match selection {
                    Selection::Hashes { hashes, .. } => hashes.contains(&entry.hash),
                    Selection::Content { content_topics, from, until, .. } => {
                        let topic = kept.message.content_topic.as_str();
                        (content_topics.is_empty() || content_topics.iter().any(|asked| asked == topic))
                            && from.is_none_or(|from| time >= from)
                            && until.is_none_or(|until| time <= until)
                    }
                }
        }

        fn read(&self, query: &Query) -> Result<Page, Failure> {
            let is_named = |entry: &Entry, cursor: &Cursor| match cursor {
                Cursor::Hash(hash) => entry.hash == *hash,
                Cursor::Index(named) => index(entry).as_ref() == Some(named),
            };
            let at =
                query.cursor.as_ref().map(|cursor| self.entries.iter().position(|(_, entry)| is_named(entry, cursor)));
            let range = match at {
                None => 0..self.entries.len(),
                Some(None) => return Err(Failure::UnknownCursor),
                Some(Some(at)) if query.forward => at + 1..self.entries.len(),
                Some(Some(at)) => 0..at,
            };
            let seen = self.entries[range].iter().filter(|(time, entry)| Self::sees(&query.selection, *time, entry));
            let mut entries: Vec<Entry> = seen.map(|(_, entry)| entry.clone()).collect();
            let more = entries.len() > query.limit;
            if query.forward {
                entries.truncate(query.limit);
            } else {
                entries.drain(..entries.len().saturating_sub(query.limit));
            }
            if !query.include_data {
                entries.iter_mut().for_each(|entry| entry.kept = None);
            }
            Ok(Page { entries, more })
        }
    }

    impl History for Naive {
        fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>> {
            let page = if self.broken { Err(Failure::Unreadable) } else { self.read(&query) };
            async { page }.boxed()
        }
    }

    const TOPIC: &str = "/waku/2/rs/1/1";

    fn some(n: i64) -> Naive {
        Naive::of((1..=n).map(|nanos| (TOPIC, message(b"hello", nanos))))
    }

    fn ask(history: &Naive, query: &Query) -> wire::Response {
        let (bytes, _) = block_on(answer(history, wire::Request::encode("id", query)));
        assert!(bytes.len() <= Protocol::StoreV3.answer_cap(), "{}", bytes.len());
        wire::Response::decode(bytes).unwrap()
    }

    fn ask_legacy(history: &Naive, query: &Query) -> legacy::Response {
        let (bytes, _) = block_on(answer_legacy(history, legacy::Request::encode("id", query).unwrap()));
        legacy::Response::decode(bytes).unwrap()
    }

    fn request() -> Query {
        Query { selection: Selection::all(), cursor: None, forward: false, limit: 20, include_data: true }
    }

    fn times(response: &wire::Response) -> Vec<i64> {
        response.entries.iter().filter_map(|entry| entry.kept.as_ref()?.message.timestamp).collect()
    }

    fn cursor(response: &wire::Response) -> Option<Cursor> {
        response.cursor.map(Cursor::Hash)
    }

    #[test]
    fn pages_ascend_from_either_end() {
        let history = some(45);
        let newest = ask(&history, &request());
        assert_eq!(times(&newest), (26..=45).collect::<Vec<_>>(), "without a word, backward and twenty");
        assert_eq!((newest.request_id.as_str(), newest.status), ("id", Status::Ok));
        let before = ask(&history, &Query { cursor: cursor(&newest), ..request() });
        assert_eq!(times(&before), (6..=25).collect::<Vec<_>>());
        let last = ask(&history, &Query { cursor: cursor(&before), ..request() });
        assert_eq!((times(&last), last.cursor), ((1..=5).collect::<Vec<_>>(), None));
        let forward = Query { forward: true, limit: 40, ..request() };
        let oldest = ask(&history, &forward);
        assert_eq!(times(&oldest), (1..=40).collect::<Vec<_>>());
        let behind = ask(&history, &Query { cursor: cursor(&oldest), ..forward });
        assert_eq!((times(&behind), behind.cursor), ((41..=45).collect::<Vec<_>>(), None));
    }

    #[test]
    fn a_cursor_comes_only_where_something_follows() {
        let exact = Query { forward: true, ..request() };
        assert_eq!(ask(&some(20), &exact).cursor, None);
        assert!(ask(&some(21), &exact).cursor.is_some());
        let empty = ask(&some(0), &request());
        assert_eq!((empty.status, empty.entries.len(), empty.cursor), (Status::Ok, 0, None));
    }

    #[test]
    fn any_returned_hash_is_a_cursor() {
        // js-waku goes on behind the first or the last hash that it has, whatever the cursor said.
        let history = some(10);
        for (place, entry) in ask(&history, &request()).entries.iter().enumerate() {
            let next = Query { cursor: Some(Cursor::Hash(entry.hash)), forward: true, ..request() };
            assert_eq!(times(&ask(&history, &next)), (place as i64 + 2..=10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn presence_is_hashes_alone() {
        let history = some(3);
        let here: Vec<MessageHash> = history.all().iter().map(|entry| entry.hash).collect();
        let hashes = vec![here[2], MessageHash::from([9; 32]), here[0]];
        let selection = Selection::Hashes { pubsub_topic: None, hashes };
        let asked = Query { include_data: false, selection, forward: true, ..request() };
        let present = ask(&history, &asked);
        assert_eq!(present.entries, [0, 2].map(|place: usize| Entry { hash: here[place], kept: None }));
        let found = ask(&history, &Query { include_data: true, ..asked });
        assert_eq!(times(&found), [1, 3]);
    }

    #[test]
    fn proofs_come_back() {
        let proven = WakuMessage { rate_limit_proof: Some(vec![7; 289].into()), ..message(b"x", 1) };
        let response = ask(&Naive::of([(TOPIC, proven.clone())]), &request());
        assert_eq!(response.entries[0].kept.as_ref().map(|kept| &kept.message), Some(&proven));
    }

    #[test]
    fn h75_each_refusal_has_its_status_and_the_request_id() {
        let history = some(3);
        let status = |query| {
            let response = ask(&history, &query);
            (response.status.code(), response.request_id)
        };
        let gone = Some(Cursor::Hash(MessageHash::from([9; 32])));
        assert_eq!(status(Query { cursor: gone, ..request() }), (400, "id".to_owned()));
        let content = |n, from, until| Selection::Content {
            pubsub_topic: None,
            content_topics: vec!["t".to_owned(); n],
            from,
            until,
        };
        assert_eq!(status(Query { selection: content(11, None, None), ..request() }), (400, "id".to_owned()));
        let reversed = Query { selection: content(0, Some(3), Some(1)), ..request() };
        assert_eq!(ask(&history, &reversed).entries, [], "an answer, and nothing in it");
        let (bytes, answered) = block_on(answer(&history, Bytes::from_static(&[0xff])));
        let none = wire::Response::decode(bytes).unwrap();
        assert_eq!((none.status, none.request_id.as_str(), answered), (Status::BadRequest, "", Answered::Refused));
        assert!(none.description.starts_with("BAD_REQUEST: "), "{}", none.description);
        let broken = Naive { broken: true, ..some(1) };
        assert_eq!(ask(&broken, &request()).status, Status::BadResponse);
        let limited = wire::Response::decode(too_many()).unwrap();
        assert_eq!((limited.status, limited.request_id.as_str()), (Status::TooManyRequests, "N/A"));
    }

    fn any_query() -> Query {
        Query { selection: Selection::all(), cursor: None, forward: true, limit: 2, include_data: true }
    }

    #[test]
    fn beta4_pages_by_its_own_cursor() {
        let history = some(5);
        for forward in [true, false] {
            let mut query = Query { forward, ..any_query() };
            let mut got = Vec::new();
            loop {
                let page = ask_legacy(&history, &query);
                assert_eq!((page.outcome, page.request_id.as_str()), (Outcome::Ok, "id"));
                let times = page.messages.iter().filter_map(|message| message.timestamp);
                let at = if forward { got.len() } else { 0 };
                got.splice(at..at, times);
                let Some(cursor) = page.cursor else { break };
                query.cursor = Some(Cursor::Index(cursor));
            }
            assert_eq!(got, [1, 2, 3, 4, 5], "forward: {forward}");
        }
    }

    #[test]
    fn beta4_has_a_word_for_each_refusal() {
        let history = some(3);
        let elsewhere = ask_legacy(
            &Naive::of([(TOPIC, message(b"x", 9)), (TOPIC, message(b"y", 9))]),
            &Query { limit: 1, ..any_query() },
        );
        let gone = Query { cursor: elsewhere.cursor.map(Cursor::Index), ..any_query() };
        assert_eq!(ask_legacy(&history, &gone).outcome, Outcome::InvalidCursor);
        let topics = Selection::Content {
            pubsub_topic: None,
            content_topics: vec!["t".to_owned(); 11],
            from: None,
            until: None,
        };
        assert_eq!(ask_legacy(&history, &Query { selection: topics, ..any_query() }).outcome, Outcome::InvalidCursor);
        assert_eq!(ask_legacy(&Naive { broken: true, ..some(1) }, &any_query()).outcome, Outcome::Unavailable);
        for bytes in [&[][..], &[0xff], b"\x0a\x01x"] {
            assert_eq!(block_on(answer_legacy(&history, bytes.into())), (Bytes::new(), Answered::Refused));
        }
        assert_eq!(legacy::Response::decode(too_many_legacy()).unwrap().outcome, Outcome::TooManyRequests);
    }

    #[test]
    fn a_page_of_large_messages_is_shorter() {
        let large: &'static [u8] = vec![0; 1 << 20].leak();
        let history = Naive::of((1..=20).map(|nanos| (TOPIC, message(large, nanos))));
        for forward in [true, false] {
            let page = ask(&history, &Query { forward, limit: 100, ..request() });
            let times = times(&page);
            assert_eq!((times.len(), times[0], page.cursor.is_some()), (14, if forward { 1 } else { 7 }, true));
        }
        let huge: &'static [u8] = vec![0; MAX_PAGE_BYTES + 1].leak();
        assert_eq!(ask(&Naive::of([(TOPIC, message(huge, 1))]), &request()).entries.len(), 1, "one comes always");
    }

    proptest! {
        /// Whatever is asked in, paging gives each message once, in order, and no other.
        #[test]
        fn pages_put_together_are_what_was_asked_for(
            sent in proptest::collection::vec((0_usize..3, 0_usize..3, 1_i64..40), 0..120),
            limit in 1_u64..30,
            forward: bool,
            topic in proptest::option::of(0_usize..3),
            from in proptest::option::of(1_i64..40),
            legacy_too: bool,
        ) {
            const PAYLOADS: [&[u8]; 3] = [b"a", b"b", b"c"];
            const TOPICS: [&str; 3] = ["/waku/2/rs/1/1", "/waku/2/rs/1/2", "/waku/2/rs/1/3"];
            let history = Naive::of(sent.into_iter().map(|(topic, payload, nanos)| (TOPICS[topic], message(PAYLOADS[payload], nanos))));
            let pubsub_topic = topic.map(|topic| TOPICS[topic].parse().unwrap());
            let selection = Selection::Content { pubsub_topic, content_topics: vec![], from, until: None };
            let expected: Vec<Entry> =
                history.entries.iter().filter(|(time, entry)| Naive::sees(&selection, *time, entry)).map(|(_, entry)| entry.clone()).collect();
            let mut query = Query { selection, cursor: None, forward, limit: limit as usize, include_data: true };
            let mut got: Vec<WakuMessage> = Vec::new();
            for _ in 0..=expected.len() {
                let (messages, cursor): (Vec<_>, _) = if legacy_too {
                    let page = ask_legacy(&history, &query);
                    (page.messages, page.cursor.map(Cursor::Index))
                } else {
                    let page = ask(&history, &query);
                    let messages = page.entries.into_iter().map(|entry| entry.kept.unwrap().message).collect();
                    (messages, page.cursor.map(Cursor::Hash))
                };
                prop_assert!(messages.len() <= query.limit.min(MAX_PAGE));
                let at = if forward { got.len() } else { 0 };
                got.splice(at..at, messages);
                query.cursor = cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
            let expected: Vec<WakuMessage> = expected.into_iter().map(|entry| entry.kept.unwrap().message).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
