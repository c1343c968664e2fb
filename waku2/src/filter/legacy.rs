//! What the first filter says on a stream.  Spec: 12/WAKU2-FILTER 2.0.0-beta1.
//!
//! Everything is one message, `FilterRPC`, one a stream, from either side, and nothing is answered: a client sends a request, the service node
//! opens a stream of its own for a push. The document has several content topics in a content filter, deployed nodes one: both are read, one
//! is written. nwaku of that time wanted every field of a request on the wire, so all are written. Frame cap: [`MAX_RPC_BYTES`].

use bytes::Bytes;
use prost::Message as _;

use super::wire::{FilterWireError, MAX_REQUEST_BYTES};

/// Longest `FilterRPC`, in bytes.  Deployed: nwaku, ten of the largest messages and 64 KiB.
pub const MAX_RPC_BYTES: usize = MAX_REQUEST_BYTES;

/// What stands on a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rpc {
    /// Of a request its own, of a push that of the request which subscribed.
    pub id: String,
    /// From a client.
    pub request: Option<Request>,
    /// From a service node: encoded messages.
    pub push: Option<Vec<Bytes>>,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// More if true, else less. What is absent is false, as proto3 has it.
    pub subscribe: bool,
    /// Where; anywhere if none or empty.
    pub pubsub_topic: Option<String>,
    /// Of what, from all content filters together.
    pub content_topics: Vec<String>,
}

impl Rpc {
    /// Reads one; messages share the memory of `frame`.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or a text is not UTF-8.
    pub fn decode(frame: Bytes) -> Result<Self, FilterWireError> {
        let wire = WireRpc::decode(frame)?;
        Ok(Self {
            id: wire.id.unwrap_or_default(),
            request: wire.request.map(Request::read),
            push: wire.push.map(|push| push.messages),
        })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let push = self.push.clone().map(|messages| WirePush { messages });
        let request = self.request.as_ref().map(Request::written);
        WireRpc { id: Some(self.id.clone()), request, push }.encode_to_vec().into()
    }
}

impl Request {
    fn read(wire: WireRequest) -> Self {
        Self {
            subscribe: wire.subscribe.unwrap_or_default(),
            pubsub_topic: wire.pubsub_topic.filter(|topic| !topic.is_empty()),
            content_topics: wire.filters.into_iter().flat_map(|filter| filter.content_topics).collect(),
        }
    }

    fn written(&self) -> WireRequest {
        let filter = |topic: &String| ContentFilter { content_topics: vec![topic.clone()] };
        WireRequest {
            subscribe: Some(self.subscribe),
            pubsub_topic: Some(self.pubsub_topic.clone().unwrap_or_default()),
            filters: self.content_topics.iter().map(filter).collect(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRpc {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(message, optional, tag = "2")]
    request: Option<WireRequest>,
    #[prost(message, optional, tag = "3")]
    push: Option<WirePush>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRequest {
    #[prost(bool, optional, tag = "1")]
    subscribe: Option<bool>,
    #[prost(string, optional, tag = "2")]
    pubsub_topic: Option<String>,
    #[prost(message, repeated, tag = "3")]
    filters: Vec<ContentFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContentFilter {
    #[prost(string, repeated, tag = "1")]
    content_topics: Vec<String>,
}

/// Messages are taken as bytes: on the wire an embedded message is the same.
#[derive(Clone, PartialEq, prost::Message)]
struct WirePush {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    messages: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTENT: &str = "/waku/2/default-content/proto";
    const MESSAGE: &str =
        "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f";
    const SUBSCRIBE: &str = "0a057375622d3112330801120e2f77616b752f322f72732f312f311a1f0a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f";
    const UNSUBSCRIBE: &str = "0a05756e732d3112330800120e2f77616b752f322f72732f312f311a1f0a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f";
    /// The same with false left out.
    const UNSUBSCRIBE_SHORT: &str = "0a05756e732d311231120e2f77616b752f322f72732f312f311a1f0a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f";
    /// Two content topics in one content filter.
    const TWO_IN_ONE: &str = "0a057375622d33124d0801120e2f77616b752f322f72732f312f311a390a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f0a182f746f79636861742f322f6875696c6f6e672f70726f746f";

    fn hex(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }

    fn request(id: &str, subscribe: bool, content_topics: &[&str]) -> Rpc {
        let content_topics = content_topics.iter().map(|&topic| topic.to_owned()).collect();
        let request = Request { subscribe, pubsub_topic: Some("/waku/2/rs/1/1".to_owned()), content_topics };
        Rpc { id: id.to_owned(), request: Some(request), push: None }
    }

    #[test]
    fn requests_have_known_bytes() {
        let subscribe = request("sub-1", true, &[CONTENT]);
        assert_eq!(subscribe.encode(), hex(SUBSCRIBE));
        assert_eq!(Rpc::decode(hex(SUBSCRIBE)), Ok(subscribe));
        let unsubscribe = request("uns-1", false, &[CONTENT]);
        assert_eq!(unsubscribe.encode(), hex(UNSUBSCRIBE));
        for known in [UNSUBSCRIBE, UNSUBSCRIBE_SHORT] {
            assert_eq!(Rpc::decode(hex(known)).as_ref(), Ok(&unsubscribe));
        }
    }

    #[test]
    fn a_content_filter_may_have_several_topics() {
        let two = request("sub-3", true, &[CONTENT, "/toychat/2/huilong/proto"]);
        assert_eq!(Rpc::decode(hex(TWO_IN_ONE)).as_ref(), Ok(&two));
        assert_ne!(two.encode(), hex(TWO_IN_ONE), "one is written in each");
        assert_eq!(Rpc::decode(two.encode()), Ok(two));
    }

    #[test]
    fn a_push_has_known_bytes() {
        let push = Rpc { id: "sub-1".to_owned(), request: None, push: Some(vec![hex(MESSAGE)]) };
        let known = hex(&format!("0a057375622d311a320a30{MESSAGE}"));
        assert_eq!(push.encode(), known);
        assert_eq!(Rpc::decode(known), Ok(push));
    }

    #[test]
    fn what_is_absent_is_empty() {
        assert_eq!(Rpc::decode(Bytes::new()), Ok(Rpc::default()), "neither request nor push");
        let bare = Rpc::decode(hex("1200")).unwrap().request.unwrap();
        assert_eq!(bare, Request { subscribe: false, pubsub_topic: None, content_topics: vec![] });
        let empty_topic = Rpc::decode(hex("12021200")).unwrap().request.unwrap();
        assert_eq!(empty_topic.pubsub_topic, None);
        assert_eq!(Rpc::decode(hex("1a00")).unwrap().push, Some(vec![]));
        let both = Rpc::decode(hex("12001a00")).unwrap();
        assert!(both.request.is_some() && both.push.is_some());
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        for bytes in ["0a05", "1205", "0a01ff", "120412 02ffff", "12051a030a01ff", "1807"] {
            let bytes = hex(&bytes.replace(' ', ""));
            assert!(matches!(Rpc::decode(bytes.clone()), Err(FilterWireError::Malformed(_))), "{bytes:x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in ".{0,40}", subscribe in any::<bool>(), topic in proptest::option::of(".{1,40}"),
            content_topics in proptest::collection::vec(".{0,40}", 0..5),
            messages in proptest::option::of(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..3)),
        ) {
            let request = Some(Request { subscribe, pubsub_topic: topic, content_topics });
            let push = messages.map(|messages| messages.into_iter().map(Bytes::from).collect());
            let rpc = Rpc { id, request, push };
            prop_assert_eq!(Rpc::decode(rpc.encode()), Ok(rpc));
        }
    }
}
