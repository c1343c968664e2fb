//! The bytes of store 3.  Spec: 13/WAKU2-STORE, `/vac/waku/store-query/3.0.0`.
//!
//! | field | request | response |
//! |---|---|---|
//! | 1 | request id | request id |
//! | 2 | include data | |
//! | 10, 11, 12, 13 | pubsub topic, content topics, first and last time | status, its description |
//! | 20 | message hashes | entries: hash, message, pubsub topic |
//! | 51, 52, 53 | cursor, forward, limit | cursor |
//!
//! nwaku wants request id, status and description on the wire: they are written whatever they are. What is absent is false, so a
//! page without a direction goes backward. A message of an entry is read as [`WakuMessage`] reads any.

use bytes::Bytes;
use prost::Message as _;

use super::query::{
    Cursor, Entry, Kept, MAX_HASHES, Query, QueryError, Selection, content_topics, page_size, pubsub_topic,
};
use crate::{
    hash::MessageHash,
    message::{self, WakuMessage},
    topic::PubsubTopic,
};

/// Longest request id that is echoed, in bytes. They have twenty or thirty-six; of a longer one so much.
pub const MAX_REQUEST_ID_BYTES: usize = 256;
/// Longest description of a status that is read, in characters. It goes to logs and to people.
const MAX_DESCRIPTION_CHARS: usize = 512;

/// What stands for a request id in an answer to a request that was not read.
pub const NO_REQUEST_ID: &str = "N/A";

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200; also when nothing is there.
    Ok,
    /// 300: history could not be read.
    BadResponse,
    /// 400: not a request, or one that makes no sense.
    BadRequest,
    /// 429.
    TooManyRequests,
    /// 503.
    Unavailable,
    /// Any other.
    Unknown(u32),
}

impl Status {
    /// As a number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Ok => 200,
            Self::BadResponse => 300,
            Self::BadRequest => 400,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Unknown(code) => code,
        }
    }

    /// The one of that number.
    #[must_use]
    pub const fn of(code: u32) -> Self {
        match code {
            200 => Self::Ok,
            300 => Self::BadResponse,
            400 => Self::BadRequest,
            429 => Self::TooManyRequests,
            503 => Self::Unavailable,
            code => Self::Unknown(code),
        }
    }

    /// How nwaku calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadResponse => "BAD_RESPONSE",
            Self::BadRequest => "BAD_REQUEST",
            Self::TooManyRequests => "TOO_MANY_REQUESTS",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::Unknown(_) => "UNKNOWN",
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
    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or a field has the wrong type.
    pub fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let wire = WireRequest::decode(bytes)?;
        Ok(Self { request_id: wire.request_id.clone(), query: wire.query() })
    }

    /// Writes what a query asks. A cursor of beta4 is none here, and is left out.
    #[must_use]
    pub fn encode(request_id: &str, query: &Query) -> Bytes {
        let bytes = |hash: &MessageHash| Bytes::copy_from_slice(hash.as_bytes());
        let request = WireRequest {
            request_id: request_id.to_owned(),
            include_data: query.include_data,
            pubsub_topic: query.selection.pubsub_topic().map(ToString::to_string),
            cursor: match &query.cursor {
                Some(Cursor::Hash(hash)) => Some(bytes(hash)),
                Some(Cursor::Index(_)) | None => None,
            },
            forward: query.forward,
            limit: Some(query.limit as u64),
            ..WireRequest::default()
        };
        let request = match &query.selection {
            Selection::Content { content_topics, from, until, .. } => {
                WireRequest { content_topics: content_topics.clone(), time_start: *from, time_end: *until, ..request }
            }
            Selection::Hashes { hashes, .. } => {
                WireRequest { message_hashes: hashes.iter().map(bytes).collect(), ..request }
            }
        };
        request.encode_to_vec().into()
    }
}

fn hash(bytes: &Bytes) -> Result<MessageHash, QueryError> {
    let bytes: [u8; 32] = bytes.as_ref().try_into().map_err(|_| QueryError::HashLength(bytes.len()))?;
    Ok(bytes.into())
}

fn cursor(bytes: &Bytes) -> Result<Cursor, QueryError> {
    let named = hash(bytes).map_err(|_| QueryError::Cursor)?;
    if named.as_bytes() == &[0; 32] { Err(QueryError::Cursor) } else { Ok(Cursor::Hash(named)) }
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// That of the request; [`NO_REQUEST_ID`] where none was read, and deployed nodes leave it empty in errors.
    pub request_id: String,
    /// How it went.
    pub status: Status,
    /// The same for people.
    pub description: String,
    /// Messages, ascending.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` when there is none.
    pub cursor: Option<MessageHash>,
}

/// Why bytes are no response.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ResponseError {
    /// No protobuf, or a field of the wrong type.
    #[error("not a protobuf message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// An entry's hash, or the cursor, has not 32 bytes.
    #[error("a message hash of {0} bytes; it has 32")]
    HashLength(usize),
    /// An entry's message is none.
    #[error("a message that is none: {0}")]
    Message(#[from] message::DecodeError),
    /// An entry has a message, but says not on which topic, or the other way round.
    #[error("a message without its pubsub topic, or a topic without its message")]
    HalfEntry,
    /// An entry's topic is none.
    #[error("{0}")]
    PubsubTopic(#[from] crate::topic::PubsubTopicError),
    /// There is no response in it: beta4.
    #[error("no response in the message")]
    NoResponse,
}

impl Response {
    /// An answer without messages; `why` in nwaku's manner behind the name of the status.
    #[must_use]
    pub fn refusal(request_id: &str, status: Status, why: Option<&dyn std::fmt::Display>) -> Self {
        let name = status.name();
        Self {
            request_id: shortened(request_id),
            status,
            description: why.map_or_else(|| name.to_owned(), |why| format!("{name}: {why}")),
            entries: Vec::new(),
            cursor: None,
        }
    }

    /// An answer with messages.
    #[must_use]
    pub fn page(request_id: &str, entries: Vec<Entry>, cursor: Option<MessageHash>) -> Self {
        Self { entries, cursor, ..Self::refusal(request_id, Status::Ok, None) }
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let bytes = |hash: &MessageHash| Bytes::copy_from_slice(hash.as_bytes());
        let entry = |entry: &Entry| WireEntry {
            message_hash: bytes(&entry.hash),
            message: entry.kept.as_ref().map(|kept| kept.message.encode()),
            pubsub_topic: entry.kept.as_ref().map(|kept| kept.pubsub_topic.to_string()),
        };
        let response = WireResponse {
            request_id: self.request_id.clone(),
            status: Some(self.status.code()),
            description: Some(self.description.clone()),
            entries: self.entries.iter().map(entry).collect(),
            cursor: self.cursor.as_ref().map(bytes),
        };
        response.encode_to_vec().into()
    }

    /// Reads one. A missing status is that of an answer.
    ///
    /// # Errors
    /// See [`ResponseError`].
    pub fn decode(bytes: Bytes) -> Result<Self, ResponseError> {
        let wire = WireResponse::decode(bytes)?;
        let description = wire.description.unwrap_or_default();
        Ok(Self {
            request_id: wire.request_id,
            status: wire.status.map_or(Status::Ok, Status::of),
            description: description.chars().take(MAX_DESCRIPTION_CHARS).collect(),
            entries: wire.entries.into_iter().map(WireEntry::read).collect::<Result<_, _>>()?,
            cursor: wire.cursor.filter(|cursor| !cursor.is_empty()).as_ref().map(response_hash).transpose()?,
        })
    }
}

fn response_hash(bytes: &Bytes) -> Result<MessageHash, ResponseError> {
    hash(bytes).map_err(|_| ResponseError::HashLength(bytes.len()))
}

fn shortened(request_id: &str) -> String {
    let end = (0..=request_id.len().min(MAX_REQUEST_ID_BYTES)).rev().find(|end| request_id.is_char_boundary(*end));
    request_id[..end.unwrap_or(0)].to_owned()
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRequest {
    #[prost(string, required, tag = "1")]
    request_id: String,
    #[prost(bool, tag = "2")]
    include_data: bool,
    #[prost(string, optional, tag = "10")]
    pubsub_topic: Option<String>,
    #[prost(string, repeated, tag = "11")]
    content_topics: Vec<String>,
    #[prost(sint64, optional, tag = "12")]
    time_start: Option<i64>,
    #[prost(sint64, optional, tag = "13")]
    time_end: Option<i64>,
    #[prost(bytes = "bytes", repeated, tag = "20")]
    message_hashes: Vec<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "51")]
    cursor: Option<Bytes>,
    #[prost(bool, tag = "52")]
    forward: bool,
    #[prost(uint64, optional, tag = "53")]
    limit: Option<u64>,
}

impl WireRequest {
    fn query(self) -> Result<Query, QueryError> {
        let pubsub_topic = pubsub_topic(self.pubsub_topic.as_deref())?;
        let content_topics = content_topics(self.content_topics)?;
        if self.message_hashes.len() > MAX_HASHES {
            return Err(QueryError::Hashes(self.message_hashes.len()));
        }
        let (from, until) = (self.time_start, self.time_end);
        let selection = if self.message_hashes.is_empty() {
            Selection::Content { pubsub_topic, content_topics, from, until }
        } else if content_topics.is_empty() && (from, until) == (None, None) {
            let hashes = self.message_hashes.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
            Selection::Hashes { pubsub_topic, hashes }
        } else {
            return Err(QueryError::Mixed);
        };
        Ok(Query {
            selection,
            cursor: self.cursor.filter(|cursor| !cursor.is_empty()).as_ref().map(cursor).transpose()?,
            forward: self.forward,
            limit: page_size(self.limit),
            include_data: self.include_data,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireResponse {
    #[prost(string, required, tag = "1")]
    request_id: String,
    #[prost(uint32, optional, tag = "10")]
    status: Option<u32>,
    #[prost(string, optional, tag = "11")]
    description: Option<String>,
    #[prost(message, repeated, tag = "20")]
    entries: Vec<WireEntry>,
    #[prost(bytes = "bytes", optional, tag = "51")]
    cursor: Option<Bytes>,
}

/// The message is a message within this one, which is the same on the wire as its bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct WireEntry {
    #[prost(bytes = "bytes", required, tag = "1")]
    message_hash: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    message: Option<Bytes>,
    #[prost(string, optional, tag = "3")]
    pubsub_topic: Option<String>,
}

impl WireEntry {
    fn read(self) -> Result<Entry, ResponseError> {
        let kept = match (self.message, self.pubsub_topic.filter(|topic| !topic.is_empty())) {
            (None, None) => None,
            (Some(data), Some(topic)) => {
                let (message, pubsub_topic) = (WakuMessage::decode_shared(data)?, topic.parse::<PubsubTopic>()?);
                Some(Kept { pubsub_topic, message, stored_at: 0 })
            }
            (Some(_), None) | (None, Some(_)) => return Err(ResponseError::HalfEntry),
        };
        Ok(Entry { hash: response_hash(&self.message_hash)?, kept })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{hash::message_hash, store::server::tests::message};

    /// Include data, one topic of each kind, a second either way of the reference message, forward, 20.
    const REQUEST: &str = "0a057265712d311001520e2f77616b752f322f72732f312f315a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f60aa8cd89ec0bfce972f68aadc8492cfbfce972fa00301a80314";
    const SENT: i64 = 1_700_000_000_123_456_789;
    const SECOND: i64 = 1_000_000_000;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn asked(request: WireRequest) -> Result<Query, QueryError> {
        Request::decode(request.encode_to_vec().into()).unwrap().query
    }

    fn named(n: u8) -> Bytes {
        vec![n; 32].into()
    }

    #[test]
    fn the_known_request() {
        let request = Request::decode(unhex(REQUEST).into()).unwrap();
        assert_eq!(request.request_id, "req-1");
        let query = request.query.unwrap();
        let selection = Selection::Content {
            pubsub_topic: Some("/waku/2/rs/1/1".parse().unwrap()),
            content_topics: vec!["/waku/2/default-content/proto".to_owned()],
            from: Some(SENT - SECOND),
            until: Some(SENT + SECOND),
        };
        assert_eq!(query, Query { selection, cursor: None, forward: true, limit: 20, include_data: true });
        assert_eq!(Request::encode("req-1", &query)[..], unhex(REQUEST));
    }

    #[test]
    fn what_is_absent_is_backward_twenty_hashes_of_everything() {
        let query = asked(WireRequest::default()).unwrap();
        let selection = Selection::all();
        assert_eq!(query, Query { selection, cursor: None, forward: false, limit: 20, include_data: false });
        assert_eq!(WireRequest::default().encode_to_vec(), unhex("0a00"), "a request id stands on the wire");
    }

    #[test]
    fn h75_what_makes_no_sense_is_refused() {
        let request = WireRequest::default;
        let topics = |n| vec!["t".to_owned(); n];
        let hashes = |n| vec![named(1); n];
        for (request, error) in [
            (WireRequest { content_topics: topics(11), ..request() }, QueryError::ContentTopics(11)),
            (WireRequest { message_hashes: hashes(1_001), ..request() }, QueryError::Hashes(1_001)),
            (WireRequest { message_hashes: vec![vec![1; 31].into()], ..request() }, QueryError::HashLength(31)),
            (WireRequest { message_hashes: hashes(1), content_topics: topics(1), ..request() }, QueryError::Mixed),
            (WireRequest { message_hashes: hashes(1), time_start: Some(0), ..request() }, QueryError::Mixed),
            (WireRequest { message_hashes: hashes(1), time_end: Some(0), ..request() }, QueryError::Mixed),
            (WireRequest { cursor: Some(vec![1; 31].into()), ..request() }, QueryError::Cursor),
            (WireRequest { cursor: Some(vec![1; 33].into()), ..request() }, QueryError::Cursor),
            (WireRequest { cursor: Some(named(0)), ..request() }, QueryError::Cursor),
        ] {
            assert_eq!(asked(request), Err(error));
        }
    }

    #[test]
    fn what_clients_ask_is_taken() {
        // js-waku names the topic of its decoder beside hashes; REST clients of nwaku name either topic alone.
        let topic = Some("/waku/2/rs/1/1".to_owned());
        let by_hash = WireRequest {
            message_hashes: vec![named(1), named(2)],
            pubsub_topic: topic.clone(),
            ..WireRequest::default()
        };
        assert!(
            matches!(asked(by_hash), Ok(Query { selection: Selection::Hashes { hashes, .. }, .. }) if hashes.len() == 2)
        );
        let either = [
            WireRequest { pubsub_topic: topic, ..WireRequest::default() },
            WireRequest { content_topics: vec!["t".to_owned()], ..WireRequest::default() },
            WireRequest { time_start: Some(i64::MIN), time_end: Some(i64::MAX), ..WireRequest::default() },
            WireRequest { cursor: Some(named(1)), limit: Some(u64::MAX), ..WireRequest::default() },
        ];
        assert!(either.into_iter().all(|request| asked(request).is_ok()));
    }

    #[test]
    fn required_fields_of_a_refusal_are_written() {
        let refused = Response::refusal(NO_REQUEST_ID, Status::TooManyRequests, None).encode();
        assert_eq!(refused, [&unhex("0a034e2f4150ad035a11")[..], b"TOO_MANY_REQUESTS"].concat());
        let bad = Response::refusal("", Status::BadRequest, Some(&"why")).encode();
        assert_eq!(bad, [&unhex("0a00 5090035a10".replace(' ', "").as_str())[..], b"BAD_REQUEST: why"].concat());
        assert_eq!(Response::decode(bad).unwrap().description, "BAD_REQUEST: why");
    }

    #[test]
    fn a_page_reads_as_it_was_written() {
        let topic: PubsubTopic = "/waku/2/rs/1/1".parse().unwrap();
        let message = message(b"hello", 7);
        let hash = message_hash(&topic, &message);
        let kept = Some(Kept { pubsub_topic: topic, message, stored_at: 0 });
        let page = Response::page("id", vec![Entry { hash, kept }, Entry { hash, kept: None }], Some(hash));
        assert_eq!(page.description, "OK");
        assert_eq!(Response::decode(page.encode()), Ok(page));
    }

    #[test]
    fn each_bad_response_has_its_error() {
        let response = |tail: &str| Response::decode(unhex(&format!("0a00{tail}")).into());
        let hash = format!("0a20{}", "01".repeat(32));
        assert!(matches!(response("50"), Err(ResponseError::Malformed(_))));
        assert_eq!(response("a201020a00"), Err(ResponseError::HashLength(0)));
        assert_eq!(response("9a030101"), Err(ResponseError::HashLength(1)), "cursor");
        assert!(matches!(response(&format!("a20127{hash}12001a0178")), Err(ResponseError::Message(_))));
        assert_eq!(response(&format!("a20128{hash}12040a001200")), Err(ResponseError::HalfEntry));
        assert_eq!(response(&format!("a20125{hash}1a0178")), Err(ResponseError::HalfEntry));
        assert_eq!(response("").unwrap().status, Status::Ok);
    }

    #[test]
    fn request_ids_and_descriptions_are_bounded() {
        let echoed = Response::refusal(&"ä".repeat(1_000), Status::Ok, None).request_id;
        assert_eq!(echoed, "ä".repeat(MAX_REQUEST_ID_BYTES / 2));
        let long = Response { description: "x".repeat(10_000), ..Response::refusal("", Status::Ok, None) };
        assert_eq!(Response::decode(long.encode()).unwrap().description.len(), MAX_DESCRIPTION_CHARS);
        for code in [0, 200, 300, 400, 429, 503, 504] {
            assert_eq!(Status::of(code).code(), code);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if let Ok(Request { request_id, query: Ok(query) }) = Request::decode(bytes.clone()) {
                let again = Request::decode(Request::encode(&request_id, &query)).unwrap();
                prop_assert_eq!(again.query, Ok(query));
            }
            if let Ok(response) = Response::decode(bytes) {
                prop_assert_eq!(Response::decode(response.encode()), Ok(response));
            }
        }
    }
}
