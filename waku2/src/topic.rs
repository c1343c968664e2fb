//! Pubsub topics and content topics.  Spec: 23/WAKU2-TOPICS, 51/WAKU2-RELAY-SHARDING.

use std::{fmt, str::FromStr, sync::Arc};

use crate::shard::Shard;

/// Longest pubsub topic read from a peer, in bytes.
pub const MAX_PUBSUB_TOPIC_BYTES: usize = 256;

/// The name of a gossipsub topic, for example `/waku/2/rs/0/0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PubsubTopic(Arc<str>);

/// A text that is not a pubsub topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PubsubTopicError {
    /// Nothing at all.
    #[error("a pubsub topic may not be empty")]
    Empty,
    /// Over [`MAX_PUBSUB_TOPIC_BYTES`].
    #[error("a pubsub topic of {0} bytes is too long; {MAX_PUBSUB_TOPIC_BYTES} are allowed")]
    TooLong(usize),
}

impl PubsubTopic {
    /// The topic's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PubsubTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PubsubTopic {
    type Err = PubsubTopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            0 => Err(PubsubTopicError::Empty),
            n if n > MAX_PUBSUB_TOPIC_BYTES => Err(PubsubTopicError::TooLong(n)),
            _ => Ok(Self(text.into())),
        }
    }
}

impl From<Shard> for PubsubTopic {
    fn from(shard: Shard) -> Self {
        Self(format!("/waku/2/rs/{}/{}", shard.cluster.0, shard.index).into())
    }
}

/// What a message is about, for example `/waku/1/0x1a2b3c4d/rfc26`. Relay carries any UTF-8 text here; only autosharding
/// and the bridge ask for a form, and they say so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ContentTopic(String);

impl ContentTopic {
    /// The topic's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ContentTopic {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for ContentTopic {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ContentTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ClusterId;

    #[test]
    fn a_shard_has_one_spelling() {
        let shard = Shard { cluster: ClusterId(16), index: 64 };
        assert_eq!(PubsubTopic::from(shard).to_string(), "/waku/2/rs/16/64");
        assert_eq!(PubsubTopic::from(shard), "/waku/2/rs/16/64".parse().unwrap());
    }

    #[test]
    fn pubsub_topics_are_bounded() {
        assert_eq!("".parse::<PubsubTopic>(), Err(PubsubTopicError::Empty));
        assert!("x".repeat(MAX_PUBSUB_TOPIC_BYTES).parse::<PubsubTopic>().is_ok());
        assert_eq!("x".repeat(257).parse::<PubsubTopic>(), Err(PubsubTopicError::TooLong(257)));
    }

    #[test]
    fn relay_carries_any_content_topic() {
        for text in ["", "no slashes", "/a/b/c/d", "/ä/\u{0}"] {
            assert_eq!(ContentTopic::from(text).as_str(), text);
            assert_eq!(ContentTopic::from(text.to_owned()).to_string(), text);
        }
    }
}
