//! Requests and answers of 3.0.0.  Spec: 19/WAKU2-LIGHTPUSH 3.0.0.
//!
//! Field 10 of a request, its type, is in the document and in no deployed code: nothing or 0 is relay, any other is refused, and it is never
//! sent. Answers carry what nwaku wants on the wire even where it is empty or zero.

use bytes::Bytes;
use prost::Message as _;

use super::Status;

/// A request as it is read: whatever is in it is looked at by [`super::server`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Whatever the client calls it.
    pub id: String,
    /// What is asked for; 0 is relay.
    pub kind: u32,
    /// Where to publish; `None` where that follows from the message.
    pub pubsub_topic: Option<String>,
    /// The encoded message.
    pub message: Option<Bytes>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// That of the request.
    pub id: String,
    /// How it ended; `None` when the answer does not say, which is no success.
    pub status: Option<Status>,
    /// In words.
    pub text: Option<String>,
    /// To how many peers the message went.
    pub peers: Option<u32>,
}

impl Request {
    /// Reads one.
    ///
    /// # Errors
    /// When it is no protobuf, or a field has the wrong type.
    pub fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let WireRequest { id, kind, pubsub_topic, message } = WireRequest::decode(bytes)?;
        Ok(Self { id: id.unwrap_or_default(), kind: kind.unwrap_or_default(), pubsub_topic, message })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = WireRequest {
            id: Some(self.id.clone()),
            kind: Some(self.kind).filter(|kind| *kind != 0),
            pubsub_topic: self.pubsub_topic.clone(),
            message: self.message.clone(),
        };
        wire.encode_to_vec().into()
    }
}

impl Response {
    /// Reads one.
    ///
    /// # Errors
    /// When it is no protobuf, or a field has the wrong type.
    pub fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let WireResponse { id, status, text, peers } = WireResponse::decode(bytes)?;
        Ok(Self { id: id.unwrap_or_default(), status: status.map(Status::of), text, peers })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = WireResponse {
            id: Some(self.id.clone()),
            status: self.status.map(Status::code),
            text: self.text.clone(),
            peers: self.peers,
        };
        wire.encode_to_vec().into()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRequest {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(uint32, optional, tag = "10")]
    kind: Option<u32>,
    #[prost(string, optional, tag = "20")]
    pubsub_topic: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "21")]
    message: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireResponse {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(uint32, optional, tag = "10")]
    status: Option<u32>,
    #[prost(string, optional, tag = "11")]
    text: Option<String>,
    #[prost(uint32, optional, tag = "12")]
    peers: Option<u32>,
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reference message, and the topic it belongs to.
    pub(crate) const MESSAGE: &str =
        "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f";
    pub(crate) const TOPIC: &str = "/waku/2/rs/1/1";

    pub(crate) fn hex(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }

    #[test]
    fn known_requests() {
        let request = |topic: Option<&str>| Request {
            id: "req-1".into(),
            kind: 0,
            pubsub_topic: topic.map(ToOwned::to_owned),
            message: Some(hex(MESSAGE)),
        };
        let bare = hex(&format!("0a057265712d31aa0130{MESSAGE}"));
        let named = hex(&format!("0a057265712d31a2010e2f77616b752f322f72732f312f31aa0130{MESSAGE}"));
        for (bytes, request) in [(bare, request(None)), (named, request(Some(TOPIC)))] {
            assert_eq!(Request::decode(bytes.clone()), Ok(request.clone()));
            assert_eq!(request.encode(), bytes);
        }
    }

    #[test]
    fn known_answers() {
        let success = Response { id: "req-1".into(), status: Some(Status::Success), text: None, peers: Some(3) };
        let bytes = hex("0a057265712d3150c8016003");
        assert_eq!(success.encode(), bytes);
        assert_eq!(Response::decode(bytes), Ok(success));
        let refused =
            Response { id: String::new(), status: Some(Status::Other(0)), text: Some(String::new()), peers: None };
        assert_eq!(refused.encode(), hex("0a0050005a00"), "also what is empty or zero");
    }

    #[test]
    fn the_type_of_a_request_is_read_and_never_sent() {
        assert_eq!(Request::decode(hex("5001")).unwrap().kind, 1);
        assert_eq!(Request::decode(hex("5000")).unwrap(), Request::default());
        assert_eq!(Request::default().encode(), hex("0a00"));
        assert!(Request::decode(hex("5201")).is_err(), "of the wrong type");
        assert!(Request::decode(hex("0a01ff")).is_err(), "not UTF-8");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            if let Ok(request) = Request::decode(bytes.clone().into()) {
                prop_assert_eq!(Request::decode(request.encode()).unwrap(), request);
            }
            if let Ok(response) = Response::decode(bytes.into()) {
                prop_assert_eq!(Response::decode(response.encode()).unwrap(), response);
            }
        }
    }
}
