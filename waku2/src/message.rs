//! The message of the Waku Network and its protobuf form.  Spec: 14/WAKU2-MESSAGE.
//!
//! Decoding is the deployed rule of nwaku, which is stricter than proto3: fields 1 (payload) and 2 (content topic) must
//! stand on the wire even when empty, `meta` holds at most [`MAX_META_BYTES`]. Unknown fields are skipped, of a repeated
//! scalar the last one counts. Nothing here looks at a clock or a size limit: see [`crate::validate`].
//!
//! A relay never re-encodes: two encoders give the same message different bytes, and with them another gossip id.

use bytes::Bytes;
use prost::Message as _;

use crate::topic::ContentTopic;

/// Longest `meta`, in bytes.  Spec: 14/WAKU2-MESSAGE, "Payloads".
pub const MAX_META_BYTES: usize = 64;

/// One message. Its bytes on the network are kept beside it where they matter ([`crate::handle::Received::data`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakuMessage {
    /// The application's data, possibly encrypted.
    pub payload: Bytes,
    /// What it is about.
    pub content_topic: ContentTopic,
    /// How the payload is encrypted: 0 not, or by the application; 1 as in 26/WAKU2-PAYLOAD; 2 Noise.
    pub version: u32,
    /// When the sender made it: nanoseconds since 1970 (UTC). Zero on the wire, or nothing, is `None`.
    pub timestamp: Option<i64>,
    /// The application's own few bytes; part of the message hash.
    pub meta: Meta,
    /// An encoded `RateLimitProof` (17/WAKU2-RLN-RELAY), unread here. An empty one, as nwaku writes, is `None`.
    pub rate_limit_proof: Option<Bytes>,
    /// Must not be stored.
    pub ephemeral: bool,
}

impl WakuMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// When the bytes are no protobuf, a required field is absent, or `meta` is too long. Gossip answers each with Reject.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_shared(Bytes::copy_from_slice(data))
    }

    /// Reads a message whose fields share `data`'s memory instead of copying it.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_shared(data: Bytes) -> Result<Self, DecodeError> {
        let wire = Wire::decode(data)?;
        Ok(Self {
            payload: wire.payload.ok_or(DecodeError::NoPayload)?,
            content_topic: wire.content_topic.ok_or(DecodeError::NoContentTopic)?.into(),
            version: wire.version.unwrap_or_default(),
            timestamp: wire.timestamp.filter(|nanos| *nanos != 0),
            meta: Meta::new(wire.meta.unwrap_or_default()).map_err(|MetaTooLong(n)| DecodeError::MetaTooLong(n))?,
            rate_limit_proof: wire.rate_limit_proof.filter(|proof| !proof.is_empty()),
            ephemeral: wire.ephemeral.unwrap_or_default(),
        })
    }

    /// The canonical bytes: fields ascending, payload and content topic always, no other field at its default.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = Wire {
            payload: Some(self.payload.clone()),
            content_topic: Some(self.content_topic.as_str().to_owned()),
            version: Some(self.version).filter(|version| *version != 0),
            timestamp: self.timestamp.filter(|nanos| *nanos != 0),
            meta: Some(self.meta.bytes().clone()).filter(|meta| !meta.is_empty()),
            rate_limit_proof: self.rate_limit_proof.clone().filter(|proof| !proof.is_empty()),
            ephemeral: Some(self.ephemeral).filter(|ephemeral| *ephemeral),
        };
        wire.encode_to_vec().into()
    }
}

/// At most [`MAX_META_BYTES`] bytes, possibly none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Meta(Bytes);

/// More than [`MAX_META_BYTES`], with the length that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a meta of {0} bytes; {MAX_META_BYTES} are allowed")]
pub struct MetaTooLong(pub usize);

impl Meta {
    /// Takes the bytes.
    ///
    /// # Errors
    /// When there are more than [`MAX_META_BYTES`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, MetaTooLong> {
        let bytes = bytes.into();
        if bytes.len() > MAX_META_BYTES {
            return Err(MetaTooLong(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why bytes are no message. The peer that sent them gets a Reject in its gossip score; the operator a counter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, a field of the wrong wire type, or a content topic that is not UTF-8.
    #[error("not a protobuf message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// Field 1 is absent.
    #[error("no payload field")]
    NoPayload,
    /// Field 2 is absent.
    #[error("no content topic field")]
    NoContentTopic,
    /// Field 11 is over [`MAX_META_BYTES`].
    #[error("a meta of {0} bytes; {MAX_META_BYTES} are allowed")]
    MetaTooLong(usize),
}

/// The protobuf form. Every field is optional here, so that "absent" and "at its default" can be told apart.
#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(bytes = "bytes", optional, tag = "1")]
    payload: Option<Bytes>,
    #[prost(string, optional, tag = "2")]
    content_topic: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    version: Option<u32>,
    #[prost(sint64, optional, tag = "10")]
    timestamp: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "11")]
    meta: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "21")]
    rate_limit_proof: Option<Bytes>,
    #[prost(bool, optional, tag = "31")]
    ephemeral: Option<bool>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reference message, as go-waku and js-waku write it: no field at its default.
    const MINIMAL: &str =
        "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f";
    /// The same, as nwaku writes it: every field.
    const NWAKU: &str = "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f180050aab4aed8c7bfce972f5a00aa0100f80100";

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn reference() -> WakuMessage {
        WakuMessage {
            payload: Bytes::from_static(b"hello"),
            content_topic: "/waku/2/default-content/proto".into(),
            version: 0,
            timestamp: Some(1_700_000_000_123_456_789),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    #[test]
    fn two_spellings_of_one_message() {
        assert_eq!(WakuMessage::decode(&hex(MINIMAL)).unwrap(), reference());
        assert_eq!(WakuMessage::decode(&hex(NWAKU)).unwrap(), reference());
        assert_eq!(reference().encode(), hex(MINIMAL));
    }

    #[test]
    fn every_field_has_its_place() {
        let full = WakuMessage {
            version: 1,
            timestamp: Some(-1),
            meta: Meta::new(&b"m"[..]).unwrap(),
            rate_limit_proof: Some(Bytes::from_static(b"p")),
            ephemeral: true,
            ..reference()
        };
        let bytes = full.encode();
        assert!(bytes.ends_with(&hex("1801 5001 5a016d aa010170 f80101".replace(' ', "").as_str())), "{bytes:x}");
        assert_eq!(WakuMessage::decode(&bytes).unwrap(), full);
    }

    #[test]
    fn empty_required_fields_are_written() {
        let empty = WakuMessage { payload: Bytes::new(), content_topic: "".into(), timestamp: None, ..reference() };
        assert_eq!(empty.encode(), hex("0a001200"));
        assert_eq!(WakuMessage::decode(&hex("0a001200")).unwrap(), empty);
    }

    #[test]
    fn required_fields_must_be_on_the_wire() {
        assert_eq!(WakuMessage::decode(&hex("1200")), Err(DecodeError::NoPayload));
        assert_eq!(WakuMessage::decode(&hex("0a00")), Err(DecodeError::NoContentTopic));
        assert_eq!(WakuMessage::decode(&[]), Err(DecodeError::NoPayload));
    }

    #[test]
    fn meta_has_64_bytes_at_most() {
        let with_meta = |n: usize| {
            let mut bytes = hex("0a0012005a");
            bytes.push(n as u8);
            bytes.extend(std::iter::repeat_n(7, n));
            WakuMessage::decode(&bytes)
        };
        assert_eq!(with_meta(64).unwrap().meta.bytes().len(), 64);
        assert_eq!(with_meta(65), Err(DecodeError::MetaTooLong(65)));
        assert_eq!(Meta::new(vec![0; 65]), Err(MetaTooLong(65)));
    }

    #[test]
    fn the_last_scalar_counts_and_the_unknown_is_skipped() {
        // Version 1 then 2, meta "a" then "b", an unknown varint 100, an unknown field 4 of bytes, an unknown fixed64.
        let bytes =
            hex("0a001200 1801 1802 5a0161 5a0162 a006 01 2203616263 290102030405060708".replace(' ', "").as_str());
        let message = WakuMessage::decode(&bytes).unwrap();
        assert_eq!((message.version, &message.meta.bytes()[..]), (2, &b"b"[..]));
    }

    #[test]
    fn extremes_of_numbers() {
        for timestamp in [i64::MIN, i64::MAX, -1, 1] {
            let message = WakuMessage { timestamp: Some(timestamp), version: u32::MAX, ..reference() };
            assert_eq!(WakuMessage::decode(&message.encode()).unwrap(), message);
        }
        assert_eq!(WakuMessage::decode(&hex("0a0012005000")).unwrap().timestamp, None, "zero is none");
    }

    #[test]
    fn what_is_no_message() {
        for (name, bytes) in [
            ("content topic not UTF-8", "0a001201ff"),
            ("payload as a number", "08011200"),
            ("length past the end", "0a051200"),
            ("varint without end", "0a0012001880808080808080808080"),
            ("group without end", "0a001200a306"),
        ] {
            assert!(matches!(WakuMessage::decode(&hex(bytes)), Err(DecodeError::Malformed(_))), "{name}");
        }
    }

    #[test]
    fn nested_groups_end_before_the_stack_does() {
        let mut bytes = hex("0a001200");
        for _ in 0..10_000 {
            bytes.extend(hex("a306"));
        }
        assert!(matches!(WakuMessage::decode(&bytes), Err(DecodeError::Malformed(_))));
    }

    fn any_message() -> impl Strategy<Value = WakuMessage> {
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..=max);
        (bytes(300), ".{0,40}", any::<u32>(), any::<i64>(), bytes(MAX_META_BYTES), bytes(300), any::<bool>()).prop_map(
            |(payload, topic, version, timestamp, meta, proof, ephemeral)| WakuMessage {
                payload: payload.into(),
                content_topic: topic.into(),
                version,
                timestamp: Some(timestamp).filter(|nanos| *nanos != 0),
                meta: Meta::new(meta).unwrap(),
                rate_limit_proof: Some(Bytes::from(proof)).filter(|proof| !proof.is_empty()),
                ephemeral,
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(message in any_message()) {
            let bytes = message.encode();
            let read = WakuMessage::decode(&bytes).unwrap();
            prop_assert_eq!(read.encode(), bytes);
            prop_assert_eq!(read, message);
        }

        #[test]
        fn any_bytes_are_survived_and_canonical_afterwards(bytes: Vec<u8>) {
            if let Ok(message) = WakuMessage::decode(&bytes) {
                prop_assert_eq!(WakuMessage::decode(&message.encode()).unwrap(), message);
            }
        }

        /// Damage near real messages reaches further than noise does.
        #[test]
        fn damaged_messages_are_survived(message in any_message(), at: prop::sample::Index, byte: u8, keep: prop::sample::Index) {
            let mut bytes = message.encode().to_vec();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(keep.index(bytes.len()) + 1);
            if let Ok(read) = WakuMessage::decode(&bytes) {
                prop_assert!(read.meta.bytes().len() <= MAX_META_BYTES);
            }
        }
    }
}
