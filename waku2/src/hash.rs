//! The two names of a message: its deterministic hash (14/WAKU2-MESSAGE) and its gossip id (11/WAKU2-RELAY).
//!
//! The hash keys archives and filters and covers what the message *says*; the id keys gossip and covers the bytes it was
//! *written* in. Two encoders of one message give one hash and two ids.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{message::WakuMessage, topic::PubsubTopic};

/// SHA-256 over pubsub topic, payload, content topic, meta and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash([u8; 32]);

impl MessageHash {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for MessageHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// SHA-256 of an encoded message: what gossip calls it.  Spec: 11/WAKU2-RELAY, "Message Identification".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId([u8; 32]);

impl GossipId {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// The deterministic hash of `message` on `pubsub`.
///
/// Where there is no time nwaku hashes eight zero bytes and js-waku none at all; the specification leaves absent fields
/// out. This follows nwaku, whose archives are the ones asked by hash.  Spec: 14/WAKU2-MESSAGE, "Deterministic message
/// hashing".
#[must_use]
pub fn message_hash(pubsub: &PubsubTopic, message: &WakuMessage) -> MessageHash {
    let digest = Sha256::new()
        .chain_update(pubsub.as_str())
        .chain_update(&message.payload)
        .chain_update(message.content_topic.as_str())
        .chain_update(message.meta.bytes())
        .chain_update(message.timestamp.unwrap_or_default().to_be_bytes());
    MessageHash(digest.finalize().into())
}

/// The gossip id of an encoded message.
#[must_use]
pub fn gossip_id(data: &[u8]) -> GossipId {
    GossipId(Sha256::digest(data).into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::message::Meta;

    const HASHES: &str = include_str!("../../fixtures/message/hashes.json");

    fn unhex(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn message(payload: impl Into<Bytes>, timestamp: Option<i64>, meta: Vec<u8>) -> WakuMessage {
        WakuMessage {
            payload: payload.into(),
            content_topic: "/waku/2/default-content/proto".into(),
            version: 0,
            timestamp,
            meta: Meta::new(meta).unwrap(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn topic(text: &str) -> PubsubTopic {
        text.parse().unwrap()
    }

    #[test]
    fn known_answers_on_three_topics() {
        let file: Value = serde_json::from_str(HASHES).unwrap();
        let common = &file["common"];
        let timestamp = common["timestamp"].as_i64();
        let [payload, meta12, meta64] = ["payload", "meta12", "meta64"].map(|name| unhex(&common[name]));
        let topics = file["topics"].as_array().unwrap();
        assert_eq!(topics.len(), 3);
        for vector in topics {
            let pubsub = topic(vector["pubsub_topic"].as_str().unwrap());
            for (name, payload, meta) in [
                ("meta12", &payload[..], &meta12[..]),
                ("meta64", &payload, &meta64),
                ("no_meta", &payload, &[]),
                ("empty_payload_meta12", &[], &meta12),
            ] {
                let message = message(payload.to_vec(), timestamp, meta.to_vec());
                assert_eq!(message_hash(&pubsub, &message).as_bytes()[..], unhex(&vector[name]), "{pubsub} {name}");
            }
        }
    }

    #[test]
    fn the_reference_message() {
        let message = message("hello", Some(1_700_000_000_123_456_789), vec![]);
        assert_eq!(
            message_hash(&topic("/waku/2/rs/1/1"), &message).to_string(),
            "0x032f86241f8022504ac1cb74354f38a75b0c535f1844b4edb333389e7225de35"
        );
        assert_eq!(
            gossip_id(&message.encode()).to_string(),
            "0x148302ced7543406336be2ca6b7b728cdc80fd0965f637571dea58c1acbe247c"
        );
    }

    #[test]
    fn a_missing_time_is_hashed_as_eight_zeros_like_nwaku() {
        assert_eq!(
            message_hash(&topic("/waku/2/rs/1/0"), &message("hello", None, vec![])).to_string(),
            "0xa5bf436f767d6ea3a4790281ac891864983eee1044e003c62e38fe61be3eee29"
        );
    }

    #[test]
    fn version_proof_and_ephemeral_are_not_hashed() {
        let plain = message("hello", Some(1), vec![]);
        let dressed = WakuMessage { version: 1, rate_limit_proof: Some("p".into()), ephemeral: true, ..plain.clone() };
        let topic = topic("/waku/2/rs/1/0");
        assert_eq!(message_hash(&topic, &plain), message_hash(&topic, &dressed));
        assert_ne!(gossip_id(&plain.encode()), gossip_id(&dressed.encode()));
    }

    #[test]
    fn gossip_ids_of_raw_data() {
        for (data, id) in [
            ("Hello, world!", "315f5bdb76d078c43b8ac0064e4a0164612b1fce77c869345bfc94c75894edd3"),
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ] {
            assert_eq!(hex::encode(gossip_id(data.as_bytes()).as_bytes()), id);
        }
        // The reference message as nwaku writes it.
        let nwaku = "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f180050aab4aed8c7bfce972f5a00aa0100f80100";
        assert_eq!(
            gossip_id(&hex::decode(nwaku).unwrap()).to_string(),
            "0x244ff68c5a2328df0b14d278b111ee65909f4df84c33d6182be9ec46253405c4"
        );
    }
}
