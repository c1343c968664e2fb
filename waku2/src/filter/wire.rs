//! What filter v2 says on a stream.  Spec: 12/WAKU2-FILTER; status codes and texts as deployed by nwaku.
//!
//! A client asks on one protocol id, one request and one response a stream; the service node pushes on another, one message a frame and no
//! answer. Fields that nwaku wants on the wire are written even when they are empty or zero: id, type and status, and the pubsub topic of
//! a push, without which js-waku drops it. Frame caps: [`MAX_REQUEST_BYTES`], [`MAX_RESPONSE_BYTES`], [`MAX_PUSH_BYTES`], checked by whoever reads
//! the frame.

use bytes::Bytes;
use prost::Message as _;

/// Longest request, in bytes.  Deployed: nwaku, ten of the largest messages and 64 KiB.
pub const MAX_REQUEST_BYTES: usize = 10 * 153_600 + 65_536;

/// Longest response, in bytes.  Deployed: nwaku.
pub const MAX_RESPONSE_BYTES: usize = 65_536;

/// Longest push, in bytes.  Deployed: nwaku, as a request.
pub const MAX_PUSH_BYTES: usize = MAX_REQUEST_BYTES;

/// The id in a refusal for which no request was read.  Deployed: nwaku.
pub const NO_REQUEST_ID: &str = "N/A";

/// What a client wants of its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// To know whether it is there, and keep it.
    Ping,
    /// More, or the same again.
    Subscribe,
    /// Less.
    Unsubscribe,
    /// Nothing any more.
    UnsubscribeAll,
    /// Something of the future.
    Unknown(i32),
}

impl Operation {
    /// As a number.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Ping => 0,
            Self::Subscribe => 1,
            Self::Unsubscribe => 2,
            Self::UnsubscribeAll => 3,
            Self::Unknown(code) => code,
        }
    }

    /// The one of that number.
    #[must_use]
    pub const fn of(code: i32) -> Self {
        match code {
            0 => Self::Ping,
            1 => Self::Subscribe,
            2 => Self::Unsubscribe,
            3 => Self::UnsubscribeAll,
            code => Self::Unknown(code),
        }
    }

    /// Its name in metrics.  Deployed: nwaku.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "SUBSCRIBER_PING",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubscribeAll => "UNSUBSCRIBE_ALL",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

/// A request, as it stands on the wire: what is missing or too much is for [`super::server`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Comes back in the response.
    pub id: String,
    /// What is wanted.
    pub operation: Operation,
    /// Where.
    pub pubsub_topic: Option<String>,
    /// Of what.
    pub content_topics: Vec<String>,
}

impl Request {
    /// Reads one. What has no type is a ping, as proto3 has it.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or a text is not UTF-8.
    pub fn decode(message: &[u8]) -> Result<Self, FilterWireError> {
        let wire = WireRequest::decode(message)?;
        Ok(Self {
            id: wire.id.unwrap_or_default(),
            operation: Operation::of(wire.operation.unwrap_or_default()),
            pubsub_topic: wire.pubsub_topic,
            content_topics: wire.content_topics,
        })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = WireRequest {
            id: Some(self.id.clone()),
            operation: Some(self.operation.code()),
            pubsub_topic: self.pubsub_topic.clone(),
            content_topics: self.content_topics.clone(),
        };
        wire.encode_to_vec().into()
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 200, or another number from 200 to 299.
    Ok,
    /// 300: a client's own word for an answer that is none.
    BadResponse,
    /// 400.
    BadRequest,
    /// 404: no such subscription.
    NotFound,
    /// 429.
    TooManyRequests,
    /// 503: full.
    Unavailable,
    /// 504: a client's own word for a service node that it does not reach.
    DialFailure,
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
            Self::NotFound => 404,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::DialFailure => 504,
            Self::Unknown(code) => code,
        }
    }

    /// The one of that number. Any 2xx is success.
    #[must_use]
    pub const fn of(code: u32) -> Self {
        match code {
            200..300 => Self::Ok,
            300 => Self::BadResponse,
            400 => Self::BadRequest,
            404 => Self::NotFound,
            429 => Self::TooManyRequests,
            503 => Self::Unavailable,
            504 => Self::DialFailure,
            code => Self::Unknown(code),
        }
    }

    /// What nwaku puts before the cause; clients and scripts match it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadResponse => "BAD_RESPONSE",
            Self::BadRequest => "BAD_REQUEST",
            Self::NotFound => "NOT_FOUND",
            Self::TooManyRequests => "TOO_MANY_REQUESTS",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::DialFailure => "PEER_DIAL_FAILURE",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's.
    pub id: String,
    /// How it went.
    pub status: Status,
    /// For people.
    pub description: Option<String>,
}

impl Response {
    /// It was done.
    #[must_use]
    pub fn ok(id: String) -> Self {
        Self { id, status: Status::Ok, description: Some(Status::Ok.name().to_owned()) }
    }

    /// It was not, and why.  Deployed: nwaku writes the status before the cause, except in [`Self::over_rate`].
    #[must_use]
    pub fn refusal(id: String, status: Status, cause: &str) -> Self {
        Self { id, status, description: Some(format!("{}: {cause}", status.name())) }
    }

    /// Too many requests: answered before one is read, so that it names none.
    #[must_use]
    pub fn over_rate() -> Self {
        let cause = "filter request rejected due rate limit exceeded";
        Self { id: NO_REQUEST_ID.to_owned(), status: Status::TooManyRequests, description: Some(cause.to_owned()) }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or there is no status.
    pub fn decode(message: &[u8]) -> Result<Self, FilterWireError> {
        let wire = WireResponse::decode(message)?;
        let status = Status::of(wire.status.ok_or(FilterWireError::NoStatus)?);
        Ok(Self { id: wire.id.unwrap_or_default(), status, description: wire.description })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = WireResponse {
            id: Some(self.id.clone()),
            status: Some(self.status.code()),
            description: self.description.clone(),
        };
        wire.encode_to_vec().into()
    }
}

/// A message on its way to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The encoded message, as relay brought it: what it says in fields of the future is passed on.
    pub message: Bytes,
    /// Where it was published; deployed nodes always tell, older ones did not.
    pub pubsub_topic: Option<String>,
}

impl Push {
    /// Reads one; the message shares the memory of `frame`.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or there is no message.
    pub fn decode(frame: Bytes) -> Result<Self, FilterWireError> {
        let wire = WirePush::decode(frame)?;
        let message = wire.message.ok_or(FilterWireError::NoMessage)?;
        Ok(Self { message, pubsub_topic: wire.pubsub_topic })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = WirePush { message: Some(self.message.clone()), pubsub_topic: self.pubsub_topic.clone() };
        wire.encode_to_vec().into()
    }
}

/// Why bytes are none of these. The stream is ended; the operator reads it in the log.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FilterWireError {
    /// No protobuf, a field of the wrong type, or a text that is not UTF-8.
    #[error("not a protobuf message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A response without a status.
    #[error("no status in the response")]
    NoStatus,
    /// A push without a message.
    #[error("no message in the push")]
    NoMessage,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRequest {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(int32, optional, tag = "2")]
    operation: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pubsub_topic: Option<String>,
    #[prost(string, repeated, tag = "11")]
    content_topics: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireResponse {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(uint32, optional, tag = "10")]
    status: Option<u32>,
    #[prost(string, optional, tag = "11")]
    description: Option<String>,
}

/// The message is taken as bytes: on the wire an embedded message is the same.
#[derive(Clone, PartialEq, prost::Message)]
struct WirePush {
    #[prost(bytes = "bytes", optional, tag = "1")]
    message: Option<Bytes>,
    #[prost(string, optional, tag = "2")]
    pubsub_topic: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: &str = "/waku/2/rs/1/1";
    const CONTENT: &str = "/waku/2/default-content/proto";
    /// The reference message.
    const MESSAGE: &str =
        "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f";

    fn hex(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }

    fn request(operation: Operation) -> Request {
        Request { id: "req-1".to_owned(), operation, pubsub_topic: None, content_topics: vec![] }
    }

    #[test]
    fn requests_have_known_bytes() {
        let known = "0a057265712d311001520e2f77616b752f322f72732f312f315a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f";
        let subscribe = Request {
            pubsub_topic: Some(TOPIC.to_owned()),
            content_topics: vec![CONTENT.to_owned()],
            ..request(Operation::Subscribe)
        };
        assert_eq!(subscribe.encode(), hex(known));
        assert_eq!(Request::decode(&hex(known)), Ok(subscribe));
        assert_eq!(request(Operation::Ping).encode(), hex("0a057265712d311000"), "type 0 is written");
        assert_eq!(Request::decode(&hex("0a057265712d31")), Ok(request(Operation::Ping)), "and need not be");
    }

    #[test]
    fn responses_have_known_bytes() {
        let ok = Response::ok("req-1".to_owned());
        assert_eq!(ok.encode(), hex("0a057265712d3150c8015a024f4b"));
        assert_eq!(Response::decode(&ok.encode()), Ok(ok));
        let over = Response::decode(&Response::over_rate().encode()).unwrap();
        assert_eq!((over.id.as_str(), over.status.code()), ("N/A", 429));
        assert_eq!(over.description.unwrap(), "filter request rejected due rate limit exceeded");
        let none = Response::refusal(String::new(), Status::NotFound, "peer has no subscriptions");
        assert_eq!(none.description.as_deref(), Some("NOT_FOUND: peer has no subscriptions"));
        assert!(none.encode().starts_with(&[0x0a, 0x00, 0x50]), "an empty id is written");
        assert_eq!(Response::decode(&hex("0a057265712d31")), Err(FilterWireError::NoStatus));
    }

    #[test]
    fn any_2xx_is_success_and_codes_come_back() {
        for code in [200, 201, 299] {
            assert_eq!(Status::of(code), Status::Ok);
        }
        for code in [0, 199, 300, 400, 404, 429, 500, 503, 504, u32::MAX] {
            assert_eq!(Status::of(code).code(), code);
            assert_ne!(Status::of(code), Status::Ok);
        }
        for code in [-1, 0, 1, 2, 3, 4, i32::MAX] {
            assert_eq!(Operation::of(code).code(), code);
        }
    }

    #[test]
    fn a_push_keeps_the_message_byte_for_byte() {
        let push = Push { message: hex(MESSAGE), pubsub_topic: Some(TOPIC.to_owned()) };
        let bytes = push.encode();
        assert_eq!(bytes, hex(&format!("0a30{MESSAGE}120e2f77616b752f322f72732f312f31")));
        assert_eq!(Push::decode(bytes), Ok(push));
        let bare = Push::decode(hex(&format!("0a30{MESSAGE}"))).unwrap();
        assert_eq!(bare.pubsub_topic, None);
        assert_eq!(Push::decode(hex("120e2f77616b752f322f72732f312f31")), Err(FilterWireError::NoMessage));
        assert_eq!(Push::decode(Bytes::new()), Err(FilterWireError::NoMessage));
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        for bytes in ["0a05", "ff", "0a01ff", "5a01ff", "0807"] {
            let bytes = hex(bytes);
            assert!(matches!(Request::decode(&bytes), Err(FilterWireError::Malformed(_))), "{bytes:x}");
        }
        assert!(matches!(Push::decode(hex("0a05")), Err(FilterWireError::Malformed(_))));
        assert!(matches!(Response::decode(&hex("50")), Err(FilterWireError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in ".{0,40}", code in any::<i32>(), pubsub_topic in proptest::option::of(".{0,40}"),
            content_topics in proptest::collection::vec(".{0,40}", 0..5), status in any::<u32>(),
            message in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let operation = Operation::of(code);
            let request = Request { id: id.clone(), operation, pubsub_topic: pubsub_topic.clone(), content_topics };
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            let response = Response { id, status: Status::of(status), description: pubsub_topic.clone() };
            prop_assert_eq!(Response::decode(&response.encode()), Ok(response));
            let push = Push { message: message.into(), pubsub_topic };
            prop_assert_eq!(Push::decode(push.encode()), Ok(push));
        }
    }
}
