//! What a proof is bound to: payload, content topic and time of its message.
//!
//! The document hashes payload and content topic with Poseidon; deployed nodes take Keccak-256 of these and the time.

use sha3::{Digest as _, Keccak256};

use super::element::Element;
use crate::message::WakuMessage;

/// The hash of what is signalled, as a field element: the share's x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(Element);

impl Signal {
    /// That of `message`. A message without a time has time 0.
    #[must_use]
    pub fn of(message: &WakuMessage) -> Self {
        let hash = Keccak256::new()
            .chain_update(&message.payload)
            .chain_update(message.content_topic.as_str().as_bytes())
            .chain_update(message.timestamp.unwrap_or_default().to_le_bytes())
            .finalize();
        Self(Element::reduced(hash.into()))
    }

    /// The share's x.
    #[must_use]
    pub const fn x(&self) -> &Element {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Meta;

    #[test]
    fn the_published_message_has_the_published_x() {
        let message = WakuMessage {
            payload: "hello".into(),
            content_topic: "/waku/2/default-content/proto".into(),
            version: 0,
            timestamp: Some(i64::from_le_bytes([0x15, 0xcd, 0x85, 0x3d, 0xfe, 0x9c, 0x97, 0x17])),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        let x = "d1cec7d63d7c3bbf16ded11a2a1d49242b328456408cff2424841c54eeb1880a";
        assert_eq!(format!("{:?}", Signal::of(&message).x()), x);
    }
}
