//! What peer exchange says on a stream.  Spec: 34/WAKU2-PEER-EXCHANGE; status fields as deployed by nwaku.
//!
//! nwaku wants field 1, the request, in responses too, and writes an empty response into requests: ours have an empty request in every
//! response, and what a request has besides is not looked at. Limits: [`MAX_REQUEST_BYTES`], [`MAX_RESPONSE_BYTES`], both checked before
//! anything is read, and [`MAX_RECORDS`] of a response, the rest of which is not looked at.

use std::io;

use bytes::Bytes;
use devp2p::enr::{self, Enr};
use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};
use prost::Message as _;

use crate::service::{
    MAX_BATCH_BYTES,
    frame::{expect_frame, write_frame},
};

/// The protocol id of peer exchange.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/vac/waku/peer-exchange/2.0.0-alpha1");

/// Longest request, in bytes. They have ten, or twenty from nwaku, which itself would take a response's length.
pub const MAX_REQUEST_BYTES: usize = 1_024;

/// Longest response, in bytes.  Deployed: nwaku, ten of the largest messages and 64 KiB.
pub const MAX_RESPONSE_BYTES: usize = MAX_BATCH_BYTES;

/// Most records of a response that are given, and looked at.  Deployed: nwaku.
pub const MAX_RECORDS: usize = 60;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// For so many records; any number is legal, see [`super::server`].
    Ask {
        /// How many.
        count: u64,
    },
    /// No request, to be answered with [`Status::BadRequest`].
    Malformed,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 400: the request cannot be read.
    BadRequest,
    /// 429.
    TooManyRequests,
    /// 503: nobody to tell of.
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
            Self::BadRequest => 400,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Unknown(code) => code,
        }
    }

    /// What people read.
    #[must_use]
    pub const fn text(self) -> Option<&'static str> {
        match self {
            Self::Ok | Self::Unknown(_) => None,
            Self::BadRequest => Some("the request cannot be read"),
            Self::TooManyRequests => Some("too many requests"),
            Self::Unavailable => Some("no peers to tell of"),
        }
    }

    /// The one of that number.
    #[must_use]
    pub const fn of(code: u32) -> Self {
        match code {
            200 => Self::Ok,
            400 => Self::BadRequest,
            429 => Self::TooManyRequests,
            503 => Self::Unavailable,
            code => Self::Unknown(code),
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The records; without those that were none.
    pub records: Vec<Enr>,
    /// How it went.
    pub status: Status,
}

impl Response {
    /// An answer without records.
    #[must_use]
    pub const fn refusal(status: Status) -> Self {
        Self { records: Vec::new(), status }
    }

    /// Reads one. A missing status follows from the records: go-waku and js-waku send none. Bad records are left out.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub fn decode(message: &[u8]) -> Result<Self, ExchangeError> {
        let WireResponse { peers, status, .. } = Wire::decode(message)?.response.ok_or(ExchangeError::NoResponse)?;
        let records: Vec<Enr> = peers.iter().take(MAX_RECORDS).filter_map(|peer| enr::decode(&peer.enr).ok()).collect();
        let implied = if records.is_empty() { Status::Unavailable } else { Status::Ok };
        Ok(Self { records, status: status.map_or(implied, Status::of) })
    }

    /// Writes it, with the empty request that nwaku wants.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let peers = self.records.iter().map(|record| WirePeer { enr: enr::encode(record).into() }).collect();
        let response = WireResponse {
            peers,
            status: Some(self.status.code()),
            description: self.status.text().map(ToOwned::to_owned),
        };
        Wire { query: Some(Query::default()), response: Some(response) }.encode_to_vec().into()
    }
}

impl Request {
    /// Reads one; whatever it is, there is an answer.
    #[must_use]
    pub fn decode(message: &[u8]) -> Self {
        match Wire::decode(message) {
            Ok(Wire { query: Some(Query { count }), .. }) => Self::Ask { count: count.unwrap_or(0) },
            Ok(Wire { query: None, .. }) | Err(_) => Self::Malformed,
        }
    }

    /// Writes it; what is malformed becomes an empty message, which is that.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let query = match self {
            Self::Ask { count } => Some(Query { count: Some(count) }),
            Self::Malformed => None,
        };
        Wire { query, response: None }.encode_to_vec().into()
    }
}

/// Why bytes are no response. The operator reads it in the log.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// No protobuf, or a field of the wrong type.
    #[error("not a protobuf message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A message without a response.
    #[error("no response in the message")]
    NoResponse,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(message, optional, tag = "1")]
    query: Option<Query>,
    #[prost(message, optional, tag = "2")]
    response: Option<WireResponse>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Query {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireResponse {
    #[prost(message, repeated, tag = "1")]
    peers: Vec<WirePeer>,
    #[prost(uint32, optional, tag = "10")]
    status: Option<u32>,
    #[prost(string, optional, tag = "11")]
    description: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePeer {
    #[prost(bytes = "bytes", tag = "1")]
    enr: Bytes,
}

/// Peer exchange over a stream.
#[derive(Debug, Clone, Default)]
pub struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(Request::decode(&expect_frame(io, MAX_REQUEST_BYTES).await?))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        Response::decode(&expect_frame(io, MAX_RESPONSE_BYTES).await?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request.encode()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &response.encode()).await
    }
}

#[cfg(test)]
mod tests {
    use devp2p::{NodeKey, enr::Endpoint};
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;
    use crate::service::frame::FrameError;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    fn record(secret: u8) -> Enr {
        enr::sign(&NodeKey::from_bytes(&[secret; 32]).unwrap(), 1, &Endpoint::default()).unwrap()
    }

    fn bare(records: &[Vec<u8>], status: Option<u32>) -> Vec<u8> {
        let peers = records.iter().map(|enr| WirePeer { enr: enr.clone().into() }).collect();
        Wire { query: None, response: Some(WireResponse { peers, status, description: None }) }.encode_to_vec()
    }

    #[test]
    fn requests_of_all_implementations_are_read() {
        assert_eq!(Request::Ask { count: 5 }.encode(), hex("0a02 0805"), "as go-waku and js-waku write");
        for message in ["0a02 0805", "0a02 0805 1202 5000"] {
            assert_eq!(Request::decode(&hex(message)), Request::Ask { count: 5 }, "the second is nwaku's");
        }
        assert_eq!(Request::decode(&hex("0a00")), Request::Ask { count: 0 });
        let most = Request::Ask { count: u64::MAX };
        assert_eq!(Request::decode(&most.encode()), most);
        for bad in ["", "1202 5000", "0a03 0805", "08 05", "ff"] {
            assert_eq!(Request::decode(&hex(bad)), Request::Malformed, "{bad}");
        }
    }

    #[test]
    fn responses_have_an_empty_request() {
        let refused = Response::refusal(Status::TooManyRequests).encode();
        assert_eq!(refused[..2], hex("0a00"), "nwaku reads none without");
        assert_eq!(refused[4..7], hex("50 ad03"), "field 10 is 429");
        let full = Response { records: vec![record(1), record(2)], status: Status::Ok };
        assert_eq!(Response::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn a_missing_status_follows_from_the_records() {
        let one = [enr::encode(&record(1))];
        assert_eq!(Response::decode(&bare(&one, None)).unwrap().status, Status::Ok);
        assert_eq!(Response::decode(&bare(&[], None)).unwrap(), Response::refusal(Status::Unavailable));
        assert_eq!(Response::decode(&bare(&one, Some(599))).unwrap().status, Status::Unknown(599));
        for code in [0, 200, 400, 401, 429, 503, 599] {
            assert_eq!(Status::of(code).code(), code);
        }
    }

    #[test]
    fn bad_records_are_left_out_and_what_is_too_many() {
        let forged = [&enr::encode(&record(1))[..], &[0]].concat();
        let read = Response::decode(&bare(&[forged, vec![], enr::encode(&record(2))], None)).unwrap();
        assert_eq!(read.records, [record(2)]);
        let many = vec![enr::encode(&record(3)); MAX_RECORDS + 10];
        assert_eq!(Response::decode(&bare(&many, None)).unwrap().records.len(), MAX_RECORDS);
    }

    #[test]
    fn what_is_no_response_has_its_error() {
        assert_eq!(Response::decode(&[]), Err(ExchangeError::NoResponse));
        assert_eq!(Response::decode(&hex("0a00")), Err(ExchangeError::NoResponse));
        assert!(matches!(Response::decode(&hex("1201")), Err(ExchangeError::Malformed(_))));
    }

    #[test]
    fn h79_frames_are_bounded_before_they_are_read() {
        let refused = |bytes: &[u8], limit| {
            let frame = block_on(expect_frame(&mut Cursor::new(bytes), limit));
            matches!(frame, Err(FrameError::TooLong { .. }))
        };
        assert!(refused(&hex("8108"), MAX_REQUEST_BYTES), "1,025 bytes");
        assert!(!refused(&hex("8008"), MAX_REQUEST_BYTES), "1,024 bytes; there are none");
        assert!(refused(&hex("81e061"), MAX_RESPONSE_BYTES), "1,601,537 bytes");
        assert!(!refused(&hex("80e061"), MAX_RESPONSE_BYTES));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut written = Vec::new();
        block_on(write_frame(&mut written, &Request::Ask { count: 60 }.encode())).unwrap();
        assert_eq!(written, hex("04 0a02 083c"));
        let message = block_on(expect_frame(&mut Cursor::new(written), MAX_REQUEST_BYTES)).unwrap();
        assert_eq!(Request::decode(&message), Request::Ask { count: 60 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let request = Request::decode(&bytes);
            prop_assert_eq!(Request::decode(&request.encode()), request);
            let _ = Response::decode(&bytes);
        }
    }
}
