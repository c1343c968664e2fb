//! Topics: four bytes that say what an envelope is about.  Spec: 5/WAKU0, "Topic".

use std::{fmt, str::FromStr};

use sha3::{Digest, Keccak256};

/// Length of a topic, in bytes.
pub const TOPIC_LEN: usize = 4;

/// An envelope's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(pub [u8; TOPIC_LEN]);

impl Topic {
    /// The topic that applications use for a name: the first four bytes of its Keccak-256.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Keccak256::digest(name));
        Self([a, b, c, d])
    }
}

/// The first bytes of topics, one to all four: whoever reads by them hears of every topic that begins so.  Source: go-ethereum 1.9
/// `whisper/whisperv6/filter.go`, `matchSingleTopic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicPrefix {
    bytes: [u8; TOPIC_LEN],
    len: usize,
}

impl TopicPrefix {
    /// Whether a topic begins so.
    #[must_use]
    pub fn begins(&self, topic: Topic) -> bool {
        topic.0.iter().zip(&self.bytes).take(self.len).all(|(a, b)| a == b)
    }
}

impl From<Topic> for TopicPrefix {
    fn from(topic: Topic) -> Self {
        Self { bytes: topic.0, len: TOPIC_LEN }
    }
}

/// A text that is no beginning of a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a topic, or how topics begin, is 2 to 8 hex digits, with or without 0x, not {0:?}")]
pub struct TopicPrefixError(String);

impl FromStr for TopicPrefix {
    type Err = TopicPrefixError;

    /// Reads two hex digits a byte, of either case, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let (mut bytes, len) = ([0; TOPIC_LEN], digits.len() / 2);
        let read = bytes.get_mut(..len).filter(|read| !read.is_empty());
        let read = read.and_then(|read| hex::decode_to_slice(digits, read).ok());
        read.map(|()| Self { bytes, len }).ok_or_else(|| TopicPrefixError(text.chars().take(64).collect()))
    }
}

/// A text that is not a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a topic is 8 hex digits, with or without 0x, not {0:?}")]
pub struct TopicError(String);

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    /// Reads exactly eight hex digits of either case, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut topic = [0; TOPIC_LEN];
        hex::decode_to_slice(digits, &mut topic).map_err(|_| TopicError(text.chars().take(64).collect()))?;
        Ok(Self(topic))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn deployed_topics_are_read_and_written() {
        for (name, printed) in [("contact-discovery", "f8946aac"), ("status", "cd423760"), ("test", "9c22ff5f")] {
            let topic: Topic = printed.parse().unwrap();
            assert_eq!(topic.to_string(), format!("0x{printed}"));
            assert_eq!(topic, Topic::of_name(name));
        }
        assert_eq!("0xF8946AAC".parse(), Ok(Topic([0xf8, 0x94, 0x6a, 0xac])));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0x", "f8946aa", "f8946aac0", "0x0xf8946aac", "f8946aag", "\u{20ac}8946aac"] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_beginning_is_one_to_four_bytes() {
        let begins =
            |text: &str| text.parse::<TopicPrefix>().map(|prefix| prefix.begins(Topic([0xf8, 0x94, 0x6a, 0xac])));
        for text in ["0xf8", "F894", "f8946a", "0xf8946aac"] {
            assert_eq!(begins(text), Ok(true), "{text}");
        }
        for text in ["f9", "f800", "f8946aad"] {
            assert_eq!(begins(text), Ok(false), "{text}");
        }
        for text in ["", "0x", "f", "f89", "f8946aac00", "zz", "\u{20ac}"] {
            assert!(begins(text).is_err(), "{text}");
        }
        assert!(TopicPrefix::from(Topic([1, 2, 3, 4])).begins(Topic([1, 2, 3, 4])));
        assert!(!TopicPrefix::from(Topic([1, 2, 3, 4])).begins(Topic([1, 2, 3, 0])));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; TOPIC_LEN]) {
            prop_assert_eq!(Topic(bytes).to_string().parse(), Ok(Topic(bytes)));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = text.parse::<TopicPrefix>();
            if let Err(error) = text.parse::<Topic>() {
                prop_assert!(error.to_string().starts_with("a topic is"));
            }
        }
    }
}
