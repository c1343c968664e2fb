//! Requests and answers of 2.0.0-beta1.  Spec: 19/WAKU2-LIGHTPUSH 2.0.0-beta1.
//!
//! One message of both kinds, with its parts in it. There is no field for a code: clients match on the words of `info`, which are those of
//! nwaku. nwaku wants the topic, the id and `is_success` on the wire even where they are empty or false.

use bytes::Bytes;
use prost::Message as _;

/// A request as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Whatever the client calls it.
    pub id: String,
    /// What it asks for; `None` when it asks for nothing.
    pub push: Option<Push>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Push {
    /// Where to publish; empty where that follows from the message.
    pub pubsub_topic: String,
    /// The encoded message.
    pub message: Option<Bytes>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// That of the request.
    pub id: String,
    /// Was it published?
    pub is_success: bool,
    /// `OK`, or why not.
    pub info: String,
}

/// An answer that is none: without its part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// No protobuf, or a field of the wrong type.
    #[error("not a protobuf message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// There is no answer in it.
    #[error("no response in the message")]
    NoResponse,
}

impl Request {
    /// Reads one.
    ///
    /// # Errors
    /// When it is no protobuf, or a field has the wrong type.
    pub fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let Wire { id, request, .. } = Wire::decode(bytes)?;
        let push = |WireRequest { pubsub_topic, message }: WireRequest| Push {
            pubsub_topic: pubsub_topic.unwrap_or_default(),
            message,
        };
        Ok(Self { id: id.unwrap_or_default(), push: request.map(push) })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let request = self
            .push
            .as_ref()
            .map(|push| WireRequest { pubsub_topic: Some(push.pubsub_topic.clone()), message: push.message.clone() });
        Wire { id: Some(self.id.clone()), request, response: None }.encode_to_vec().into()
    }
}

impl Response {
    /// Reads one.
    ///
    /// # Errors
    /// See [`ResponseError`].
    pub fn decode(bytes: Bytes) -> Result<Self, ResponseError> {
        let Wire { id, response, .. } = Wire::decode(bytes)?;
        let WireResponse { is_success, info } = response.ok_or(ResponseError::NoResponse)?;
        Ok(Self {
            id: id.unwrap_or_default(),
            is_success: is_success.unwrap_or_default(),
            info: info.unwrap_or_default(),
        })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let response = WireResponse { is_success: Some(self.is_success), info: Some(self.info.clone()) };
        Wire { id: Some(self.id.clone()), request: None, response: Some(response) }.encode_to_vec().into()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(message, optional, tag = "2")]
    request: Option<WireRequest>,
    #[prost(message, optional, tag = "3")]
    response: Option<WireResponse>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRequest {
    #[prost(string, optional, tag = "1")]
    pubsub_topic: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    message: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireResponse {
    #[prost(bool, optional, tag = "1")]
    is_success: Option<bool>,
    #[prost(string, optional, tag = "2")]
    info: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::wire::tests::{MESSAGE, TOPIC, hex},
        *,
    };

    #[test]
    fn known_answers() {
        let push = Push { pubsub_topic: TOPIC.into(), message: Some(hex(MESSAGE)) };
        let request = Request { id: "req-1".into(), push: Some(push) };
        let bytes = hex(&format!("0a057265712d3112420a0e2f77616b752f322f72732f312f311230{MESSAGE}"));
        assert_eq!(request.encode(), bytes);
        assert_eq!(Request::decode(bytes), Ok(request));
        let success = Response { id: "req-1".into(), is_success: true, info: "OK".into() };
        let bytes = hex("0a057265712d311a06080112024f4b");
        assert_eq!(success.encode(), bytes);
        assert_eq!(Response::decode(bytes), Ok(success));
    }

    #[test]
    fn what_is_empty_or_false_is_written() {
        let refused = Response { id: String::new(), is_success: false, info: String::new() };
        assert_eq!(refused.encode(), hex("0a001a0408001200"));
        let empty = Request { id: String::new(), push: Some(Push::default()) };
        assert_eq!(empty.encode(), hex("0a0012020a00"));
    }

    #[test]
    fn what_is_left_out_is_empty() {
        assert_eq!(Request::decode(hex("1200")), Ok(Request { id: String::new(), push: Some(Push::default()) }));
        assert_eq!(Request::decode(Bytes::new()), Ok(Request::default()));
        assert_eq!(Response::decode(hex("0a00")), Err(ResponseError::NoResponse));
        assert!(!Response::decode(hex("1a00")).unwrap().is_success);
        assert!(matches!(Response::decode(hex("1a01")), Err(ResponseError::Malformed(_))));
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
