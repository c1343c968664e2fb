//! Content topics that name a v1 topic: `/waku/1/0x1a2b3c4d/rfc26`.  Spec: 23/WAKU2-TOPICS, 15/WAKU-BRIDGE.
//!
//! Read strictly: exactly eight hex digits and the `rfc26` encoding. The nim bridge of 2021 took any text with at least
//! eight digits, and status-go pads or cuts, so that two content topics could meet in one v1 topic; here they cannot.
//! Any accepted spelling is understood, one is written: lower case with `0x`.

use waku0::topic::Topic;
use waku2::topic::ContentTopic;

use crate::drop_reason::DropReason;

/// The application of bridged content topics.
const APPLICATION: &str = "waku";
/// Its version.
const VERSION: &str = "1";
/// The encoding of their payloads, 26/WAKU2-PAYLOAD.
const ENCODING: &str = "rfc26";
/// The encoding that early v2 clients wrote; read only where asked for.
const EARLY_ENCODING: &str = "rlp";
/// The only generation of autosharded content topics.
const GENERATION: &str = "0";

/// A content topic that names a v1 topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridgeable {
    /// The v1 topic.
    pub topic: Topic,
    /// Whether it was spelt as [`canonical`] spells it. If not, replies will come under another content topic than the
    /// client used, and it will not see them.
    pub canonical: bool,
}

/// A content topic that names no v1 topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentTopicError {
    /// Of another application, or of another version of ours.
    #[error("content topic of another application")]
    NotBridgeable,
    /// Ours by its first parts, but without exactly four bytes of topic or with an unknown encoding.
    #[error("content topic under /waku/1 is not /waku/1/0x<8 hex digits>/rfc26")]
    BadTopic,
}

impl ContentTopicError {
    /// The reason under which the message is dropped.
    #[must_use]
    pub const fn reason(self) -> DropReason {
        match self {
            Self::NotBridgeable => DropReason::NotBridgeable,
            Self::BadTopic => DropReason::BadTopic,
        }
    }
}

/// The one spelling that is written.
#[must_use]
pub fn canonical(topic: Topic) -> ContentTopic {
    ContentTopic::from(format!("/{APPLICATION}/{VERSION}/{topic}/{ENCODING}"))
}

/// Reads a content topic; `early_encoding` also admits `rlp` for `rfc26`.
///
/// # Errors
/// [`ContentTopicError`], when it names no v1 topic.
pub fn parse(text: &ContentTopic, early_encoding: bool) -> Result<Bridgeable, ContentTopicError> {
    let (name, encoding) = name_and_encoding(text.as_str())?;
    if encoding != ENCODING && !(early_encoding && encoding == EARLY_ENCODING) {
        return Err(ContentTopicError::BadTopic);
    }
    let topic: Topic = name.parse().map_err(|_| ContentTopicError::BadTopic)?;
    Ok(Bridgeable { topic, canonical: canonical(topic) == *text })
}

/// The last two parts of `/waku/1/NAME/ENCODING` or `/0/BIAS/waku/1/NAME/ENCODING`.
fn name_and_encoding(text: &str) -> Result<(&str, &str), ContentTopicError> {
    let path = text.strip_prefix('/').ok_or(ContentTopicError::NotBridgeable)?;
    // One more than the longest form, so that a text of a megabyte of slashes costs no list of a million parts.
    let parts: Vec<_> = path.splitn(7, '/').collect();
    match parts[..] {
        [APPLICATION, VERSION, name, encoding] => Ok((name, encoding)),
        [GENERATION, bias, APPLICATION, VERSION, name, encoding] if !bias.is_empty() => Ok((name, encoding)),
        [APPLICATION, VERSION, ..] | [_, APPLICATION, VERSION, ..] | [_, _, APPLICATION, VERSION, ..] => {
            Err(ContentTopicError::BadTopic)
        }
        _ => Err(ContentTopicError::NotBridgeable),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Bridgeable, ContentTopicError> {
        parse(&ContentTopic::from(text), false)
    }

    #[test]
    fn known_topics() {
        for (bytes, text) in [
            ([0, 0, 0, 0], "/waku/1/0x00000000/rfc26"),
            ([0xff; 4], "/waku/1/0xffffffff/rfc26"),
            ([0x1a, 0x2b, 0x3c, 0x4d], "/waku/1/0x1a2b3c4d/rfc26"),
            ([0x00, 0x7f, 0x80, 0xff], "/waku/1/0x007f80ff/rfc26"),
        ] {
            assert_eq!(canonical(Topic(bytes)).as_str(), text);
            assert_eq!(text.len(), 24);
            assert_eq!(read(text), Ok(Bridgeable { topic: Topic(bytes), canonical: true }));
        }
    }

    #[test]
    fn other_spellings_are_read_and_marked() {
        for text in [
            "/waku/1/1a2b3c4d/rfc26",
            "/waku/1/0x1A2B3C4D/rfc26",
            "/waku/1/1A2b3C4d/rfc26",
            "/0/unbiased/waku/1/0x1a2b3c4d/rfc26",
            "/0/lower20/waku/1/1a2b3c4d/rfc26",
        ] {
            assert_eq!(
                read(text),
                Ok(Bridgeable { topic: Topic([0x1a, 0x2b, 0x3c, 0x4d]), canonical: false }),
                "{text}"
            );
        }
    }

    #[test]
    fn topics_of_others() {
        for text in [
            "",
            "/",
            "my-content",
            "0x112233",
            "0x1a2b3c4d",
            "waku/1/0x1a2b3c4d/rfc26",
            "/facebook/1/0x1a2b3c4d/rfc26",
            "/waku/2/0x1a2b3c4d/rfc26",
            "/waku/2/default-waku/proto",
            "/Waku/1/0x1a2b3c4d/rfc26",
            "/waku/01/0x1a2b3c4d/rfc26",
            "//waku/2/0x1a2b3c4d/rfc26",
        ] {
            assert_eq!(read(text), Err(ContentTopicError::NotBridgeable), "{text}");
        }
    }

    #[test]
    fn ours_but_not_a_topic() {
        for text in [
            "/waku/1",
            "/waku/1/",
            "/waku/1/0x1a2b3c4d",
            "/waku/1/0x112233/rfc26",
            "/waku/1/0x1122334455/rfc26",
            "/waku/1/0x1a2b3c4/rfc26",
            "/waku/1/0x1a2b3c4g/rfc26",
            "/waku/1/0x/rfc26",
            "/waku/1//rfc26",
            "/waku/1/0X1a2b3c4d/rfc26",
            "/waku/1/0x0x1a2b3c4d/rfc26",
            "/waku/1/ 1a2b3c4d/rfc26",
            "/waku/1/my-content/rfc26",
            "/waku/1/0x1a2b3c4d/rlp",
            "/waku/1/0x1a2b3c4d/proto",
            "/waku/1/0x1a2b3c4d/RFC26",
            "/waku/1/0x1a2b3c4d/",
            "/waku/1/0x1a2b3c4d/rfc26/",
            "/waku/1/0x1a2b3c4d/rfc26/more",
            "/0/waku/1/0x1a2b3c4d/rfc26",
            "/1/unbiased/waku/1/0x1a2b3c4d/rfc26",
            "/0//waku/1/0x1a2b3c4d/rfc26",
            "/0/unbiased/waku/1/0x1a2b3c4d/rfc26/more",
        ] {
            assert_eq!(read(text), Err(ContentTopicError::BadTopic), "{text}");
        }
    }

    #[test]
    fn the_early_encoding_is_read_only_where_asked_for() {
        let text = ContentTopic::from("/waku/1/0x1a2b3c4d/rlp");
        assert_eq!(parse(&text, false), Err(ContentTopicError::BadTopic));
        assert_eq!(parse(&text, true), Ok(Bridgeable { topic: Topic([0x1a, 0x2b, 0x3c, 0x4d]), canonical: false }));
    }

    proptest! {
        #[test]
        fn canonical_reads_back(bytes: [u8; 4]) {
            prop_assert_eq!(parse(&canonical(Topic(bytes)), false), Ok(Bridgeable { topic: Topic(bytes), canonical: true }));
        }

        #[test]
        fn two_accepted_texts_with_one_canonical_spelling_name_one_topic(text in "/waku/1/(0x)?[0-9a-fA-F]{6,10}/rfc26") {
            if let Ok(read) = parse(&ContentTopic::from(text.as_str()), false) {
                let digits = text["/waku/1/".len()..text.len() - "/rfc26".len()].trim_start_matches("0x").to_ascii_lowercase();
                prop_assert_eq!(hex::encode(read.topic.0), digits);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,64}") {
            let _ = parse(&ContentTopic::from(text), true);
        }
    }
}
