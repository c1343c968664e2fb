//! The bytes of store 2.  Spec: 13/WAKU2-STORE 2.0.0-beta4, `/vac/waku/store/2.0.0-beta4`.
//!
//! One outer message both ways: request id, and a query (field 2) or a response (field 3). A message has no hash here: a cursor
//! ([`Index`]) names it by its digest, its times and its pubsub topic. Deployed: what can't be read, or has no query, is answered with
//! an empty message; nwaku wants all four fields of a cursor and the error of a response on the wire, so they are always written.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest, Sha256};

use super::{
    query::{Cursor, Query, QueryError, Selection, content_topics, page_size, pubsub_topic},
    wire::ResponseError,
};
use crate::{hash::MessageHash, message::WakuMessage, topic::PubsubTopic};

/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;

/// What a cursor calls a message: SHA-256 over content topic and payload. Equal contents of different times share it.
#[must_use]
pub fn digest(message: &WakuMessage) -> [u8; 32] {
    Sha256::new().chain_update(message.content_topic.as_str()).chain_update(&message.payload).finalize().into()
}

/// The name of a message, as a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// [`digest`] of it.
    pub digest: [u8; 32],
    /// When it came to whoever answers: nanoseconds since 1970. Another node answers with another.
    pub receiver_time: i64,
    /// Its own time.
    pub sender_time: i64,
    /// Where it was relayed.
    pub pubsub_topic: PubsubTopic,
}

impl Index {
    /// That of a message without a time is none, for a cursor has one.
    ///
    /// The time of receipt is to the second, and its nanoseconds are of the message's hash: messages that differ in `meta` alone, which
    /// the digest leaves out, are told apart by it.
    #[must_use]
    pub fn of(pubsub_topic: &PubsubTopic, message: &WakuMessage, hash: &MessageHash, stored_at: u64) -> Option<Self> {
        let received = stored_at.max(1).saturating_mul(NANOS).saturating_add(mark(hash));
        Some(Self {
            digest: digest(message),
            receiver_time: i64::try_from(received).unwrap_or(i64::MAX),
            sender_time: message.timestamp?,
            pubsub_topic: pubsub_topic.clone(),
        })
    }

    /// Is it certainly a name that [`Self::of`] gave to the message of this hash? One from elsewhere is so by chance alone.
    #[must_use]
    pub fn is_marked(&self, hash: &MessageHash) -> bool {
        self.receiver_time.rem_euclid(NANOS as i64) as u64 == mark(hash)
    }

    fn read(wire: WireIndex) -> Result<Self, QueryError> {
        let digest: [u8; 32] = wire.digest.as_ref().try_into().map_err(|_| QueryError::Cursor)?;
        let is_named = digest != [0; 32] && wire.receiver_time != 0 && wire.sender_time != 0;
        let pubsub_topic = wire.pubsub_topic.parse().map_err(|_| QueryError::Cursor)?;
        let (receiver_time, sender_time) = (wire.receiver_time, wire.sender_time);
        if is_named { Ok(Self { digest, receiver_time, sender_time, pubsub_topic }) } else { Err(QueryError::Cursor) }
    }

    fn write(&self) -> WireIndex {
        WireIndex {
            digest: Bytes::copy_from_slice(&self.digest),
            receiver_time: self.receiver_time,
            sender_time: self.sender_time,
            pubsub_topic: self.pubsub_topic.to_string(),
        }
    }
}

/// A number below a second's nanoseconds.
fn mark(hash: &MessageHash) -> u64 {
    let [a, b, c, d, ..] = *hash.as_bytes();
    u64::from(u32::from_be_bytes([a, b, c, d])) % NANOS
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0.
    Ok,
    /// 1: the cursor, or anything else about the query. Deployed: nwaku has no other word for these.
    InvalidCursor,
    /// 429.
    TooManyRequests,
    /// 503.
    Unavailable,
    /// Any other.
    Unknown(u32),
}

impl Outcome {
    /// As a number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::InvalidCursor => 1,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Unknown(code) => code,
        }
    }

    /// The one of that number.
    #[must_use]
    pub const fn of(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::InvalidCursor,
            429 => Self::TooManyRequests,
            503 => Self::Unavailable,
            code => Self::Unknown(code),
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Any text of the asker's; comes back.
    pub request_id: String,
    /// What it asks, or why that makes no sense.
    pub query: Result<Query, QueryError>,
}

impl Request {
    /// Reads one; `None` when it is none, or asks nothing.
    #[must_use]
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let Wire { request_id, query, .. } = Wire::decode(bytes).ok()?;
        Some(Self { request_id, query: read(query?) })
    }

    /// Writes what a query asks. Hashes can't be asked for, nor can a cursor of version 3 be named: such a query has no words here.
    #[must_use]
    pub fn encode(request_id: &str, query: &Query) -> Option<Bytes> {
        let Selection::Content { pubsub_topic, content_topics, from, until } = &query.selection else { return None };
        let cursor = match &query.cursor {
            None => None,
            Some(Cursor::Index(index)) => Some(index.write()),
            Some(Cursor::Hash(_)) => return None,
        };
        let wire = WireQuery {
            pubsub_topic: pubsub_topic.as_ref().map(ToString::to_string),
            content_filters: content_topics
                .iter()
                .cloned()
                .map(|content_topic| ContentFilter { content_topic })
                .collect(),
            paging: Some(Paging {
                page_size: Some(query.limit as u64),
                cursor,
                direction: Some(if query.forward { FORWARD } else { BACKWARD }),
            }),
            start_time: *from,
            end_time: *until,
        };
        let wire = Wire { request_id: request_id.to_owned(), query: Some(wire), response: None };
        Some(wire.encode_to_vec().into())
    }
}

/// No first or last time, and zero, are the same: older clients write what they leave out.
fn read(wire: WireQuery) -> Result<Query, QueryError> {
    let paging = wire.paging.unwrap_or_default();
    let time = |time: Option<i64>| time.filter(|nanos| *nanos != 0);
    let topics = wire.content_filters.into_iter().map(|filter| filter.content_topic);
    Ok(Query {
        selection: Selection::Content {
            pubsub_topic: pubsub_topic(wire.pubsub_topic.as_deref())?,
            content_topics: content_topics(topics.collect())?,
            from: time(wire.start_time),
            until: time(wire.end_time),
        },
        cursor: paging.cursor.map(Index::read).transpose()?.map(Cursor::Index),
        forward: match paging.direction.unwrap_or(BACKWARD) {
            BACKWARD => false,
            FORWARD => true,
            _ => return Err(QueryError::Direction),
        },
        limit: page_size(paging.page_size),
        include_data: true,
    })
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// That of the request; [`super::wire::NO_REQUEST_ID`] where none was read.
    pub request_id: String,
    /// Messages, ascending.
    pub messages: Vec<WakuMessage>,
    /// Where the next page begins; `None` when there is none.
    pub cursor: Option<Index>,
    /// How it went.
    pub outcome: Outcome,
}

impl Response {
    /// An answer without messages.
    #[must_use]
    pub fn refusal(request_id: &str, outcome: Outcome) -> Self {
        Self { request_id: request_id.to_owned(), messages: Vec::new(), cursor: None, outcome }
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let paging = |index: &Index| Paging { cursor: Some(index.write()), ..Paging::default() };
        let response = WireResponse {
            messages: self.messages.iter().map(WakuMessage::encode).collect(),
            paging: self.cursor.as_ref().map(paging),
            error: self.outcome.code(),
        };
        let wire = Wire { request_id: self.request_id.clone(), query: None, response: Some(response) };
        wire.encode_to_vec().into()
    }

    /// Reads one. A page without messages is the last one, whatever cursor stands beside it.
    ///
    /// # Errors
    /// See [`ResponseError`]; [`ResponseError::NoResponse`] for an empty message, which says that the request could not be read.
    pub fn decode(bytes: Bytes) -> Result<Self, ResponseError> {
        let Wire { request_id, response, .. } = Wire::decode(bytes)?;
        let response = response.ok_or(ResponseError::NoResponse)?;
        let messages: Vec<_> =
            response.messages.into_iter().map(WakuMessage::decode_shared).collect::<Result<_, _>>()?;
        let cursor = response.paging.and_then(|paging| paging.cursor).filter(|_| !messages.is_empty());
        let cursor = cursor.and_then(|index| Index::read(index).ok());
        Ok(Self { request_id, messages, cursor, outcome: Outcome::of(response.error) })
    }
}

/// Directions on the wire.
const BACKWARD: i32 = 0;
const FORWARD: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(string, required, tag = "1")]
    request_id: String,
    #[prost(message, optional, tag = "2")]
    query: Option<WireQuery>,
    #[prost(message, optional, tag = "3")]
    response: Option<WireResponse>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireQuery {
    #[prost(string, optional, tag = "2")]
    pubsub_topic: Option<String>,
    #[prost(message, repeated, tag = "3")]
    content_filters: Vec<ContentFilter>,
    #[prost(message, optional, tag = "4")]
    paging: Option<Paging>,
    #[prost(sint64, optional, tag = "5")]
    start_time: Option<i64>,
    #[prost(sint64, optional, tag = "6")]
    end_time: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContentFilter {
    #[prost(string, required, tag = "1")]
    content_topic: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Paging {
    #[prost(uint64, optional, tag = "1")]
    page_size: Option<u64>,
    #[prost(message, optional, tag = "2")]
    cursor: Option<WireIndex>,
    #[prost(int32, optional, tag = "3")]
    direction: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireIndex {
    #[prost(bytes = "bytes", required, tag = "1")]
    digest: Bytes,
    #[prost(sint64, required, tag = "2")]
    receiver_time: i64,
    #[prost(sint64, required, tag = "3")]
    sender_time: i64,
    #[prost(string, required, tag = "4")]
    pubsub_topic: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireResponse {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    messages: Vec<Bytes>,
    #[prost(message, optional, tag = "3")]
    paging: Option<Paging>,
    #[prost(uint32, required, tag = "4")]
    error: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{query::MAX_PAGE, server::tests::message};

    const TIME: i64 = 1_700_000_000_123_456_789;

    fn topic() -> PubsubTopic {
        "/waku/2/rs/1/1".parse().unwrap()
    }

    fn index() -> Index {
        Index::of(&topic(), &message(b"hello", TIME), &MessageHash::from([7; 32]), 1_700_000_001).unwrap()
    }

    fn query() -> Query {
        Query {
            selection: Selection::Content {
                pubsub_topic: Some(topic()),
                content_topics: vec!["a".to_owned(), "b".to_owned()],
                from: Some(1),
                until: Some(2),
            },
            cursor: Some(Cursor::Index(index())),
            forward: true,
            limit: 7,
            include_data: true,
        }
    }

    fn asked(text: &str) -> Request {
        Request::decode(hex::decode(text.replace(' ', "")).unwrap().into()).unwrap()
    }

    #[test]
    fn the_known_digest() {
        let known = "074c15aa78cf57cb4b42d565377ec95d4288c02f4a5d6edfdd2eb88c0f9df569";
        assert_eq!(hex::encode(digest(&message(b"hello", TIME))), known);
        assert_eq!(digest(&message(b"hello", 1)), digest(&message(b"hello", 2)), "no time is in it");
    }

    #[test]
    fn a_request_reads_as_it_was_written() {
        for query in [query(), Query { cursor: None, forward: false, ..query() }] {
            let read = Request::decode(Request::encode("id", &query).unwrap()).unwrap();
            assert_eq!(read, Request { request_id: "id".to_owned(), query: Ok(query) });
        }
        let by_hash = Selection::Hashes { pubsub_topic: None, hashes: vec![] };
        assert_eq!(Request::encode("id", &Query { selection: by_hash, ..query() }), None);
        let hash = Some(Cursor::Hash(MessageHash::from([1; 32])));
        assert_eq!(Request::encode("id", &Query { cursor: hash, ..query() }), None);
    }

    #[test]
    fn what_is_absent_is_backward_and_twenty_of_everything() {
        let Query { selection, forward, limit, cursor, .. } = asked("0a0178 1200").query.unwrap();
        assert_eq!((selection, forward, limit, cursor), (Selection::all(), false, 20, None));
        // A page of 1,000,000, with times of zero.
        let Query { limit, selection, .. } = asked("0a0178 120a 2204 08c0843d 2800 3000").query.unwrap();
        assert_eq!((limit, selection), (MAX_PAGE, Selection::all()));
    }

    #[test]
    fn what_asks_nothing_is_none() {
        for text in ["", "0a0178", "ff", "0a0178 1a00"] {
            assert_eq!(Request::decode(hex::decode(text.replace(' ', "")).unwrap().into()), None, "{text}");
        }
    }

    #[test]
    fn h75_what_makes_no_sense_is_told() {
        let topics = |n| WireQuery { content_filters: vec![ContentFilter::default(); n], ..WireQuery::default() };
        assert!(read(topics(10)).is_ok());
        assert_eq!(read(topics(11)), Err(QueryError::ContentTopics(11)));
        let paged = |paging| read(WireQuery { paging: Some(paging), ..WireQuery::default() });
        assert_eq!(paged(Paging { direction: Some(2), ..Paging::default() }), Err(QueryError::Direction));
        let at = |index: WireIndex| paged(Paging { cursor: Some(index), ..Paging::default() });
        let good = index().write();
        assert!(at(good.clone()).is_ok());
        for bad in [
            WireIndex::default(),
            WireIndex { digest: Bytes::from_static(&[1; 31]), ..good.clone() },
            WireIndex { digest: Bytes::from_static(&[0; 32]), ..good.clone() },
            WireIndex { receiver_time: 0, ..good.clone() },
            WireIndex { sender_time: 0, ..good.clone() },
            WireIndex { pubsub_topic: String::new(), ..good },
        ] {
            assert_eq!(at(bad), Err(QueryError::Cursor));
        }
    }

    #[test]
    fn the_error_stands_on_the_wire_and_all_of_a_cursor() {
        assert_eq!(Response::refusal("x", Outcome::Ok).encode()[..], hex::decode("0a01781a022000").unwrap());
        let refused = Response::refusal("N/A", Outcome::TooManyRequests).encode();
        assert_eq!(refused[..], hex::decode("0a034e2f411a0320ad03").unwrap());
        assert_eq!(WireIndex::default().encode_to_vec(), hex::decode("0a00100018002200").unwrap());
        for code in [0, 1, 429, 503, 599] {
            assert_eq!(Outcome::of(code).code(), code);
        }
    }

    #[test]
    fn a_response_reads_as_it_was_written() {
        let messages = vec![message(b"a", 1), message(b"b", 2)];
        let full = Response { messages, cursor: Some(index()), ..Response::refusal("x", Outcome::Ok) };
        assert_eq!(Response::decode(full.encode()), Ok(full.clone()));
        let none_left = Response { messages: vec![], ..full };
        assert_eq!(Response::decode(none_left.encode()).unwrap().cursor, None, "no page follows an empty one");
        assert_eq!(Response::decode(Bytes::new()), Err(ResponseError::NoResponse));
        let bad = hex::decode("0a01781a0412001200").unwrap();
        assert!(matches!(Response::decode(bad.into()), Err(ResponseError::Message(_))));
    }

    #[test]
    fn a_cursor_tells_messages_apart_that_differ_in_meta_alone() {
        let [one, other] = [[1; 32], [2; 32]].map(MessageHash::from);
        let of = |hash| Index::of(&topic(), &message(b"hello", TIME), hash, 5).unwrap();
        assert!(of(&one).is_marked(&one) && !of(&one).is_marked(&other));
        assert_eq!(of(&one).receiver_time / 1_000_000_000, 5, "and is a time nevertheless");
        assert_eq!(Index::of(&topic(), &WakuMessage { timestamp: None, ..message(b"", 1) }, &one, 5), None);
        assert!(Index::of(&topic(), &message(b"", 1), &one, u64::MAX).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if let Some(Request { request_id, query: Ok(query) }) = Request::decode(bytes.clone()) {
                let again = Request::decode(Request::encode(&request_id, &query).unwrap()).unwrap();
                prop_assert_eq!(again.query, Ok(query));
            }
            if let Ok(response) = Response::decode(bytes) {
                prop_assert_eq!(Response::decode(response.encode()), Ok(response));
            }
        }
    }
}
