//! What is asked of history, checked, and what answers it: the same for both protocols.
//!
//! Deployed: nwaku answers whatever is asked and joins criteria by "and". Here only what contradicts itself is refused: hashes beside
//! content topics or times. Either topic may stand alone, as REST clients of nwaku ask; js-waku names a pubsub topic beside hashes.
//! Times that end before they begin contain nothing.

use futures::future::BoxFuture;

use super::legacy::Index;
use crate::{hash::MessageHash, message::WakuMessage, topic::PubsubTopic};

/// Messages on a page where no number is asked for.  Deployed: nwaku.
pub const DEFAULT_PAGE: usize = 20;
/// Most messages on a page; who asks for more gets these.  Deployed: nwaku.
pub const MAX_PAGE: usize = 100;
/// Most content topics in a query.  Deployed: nwaku, and js-waku's and go-waku's clients keep to it.
pub const MAX_CONTENT_TOPICS: usize = 10;
/// Longest content topic in a query, in bytes. What is longer is not kept.
pub const MAX_CONTENT_TOPIC_BYTES: usize = 1_024;
/// Most hashes in a query. Clients that check for what they missed ask for fifty or a hundred.
pub const MAX_HASHES: usize = 1_000;

/// A query that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Which messages.
    pub selection: Selection,
    /// Go on behind this one.
    pub cursor: Option<Cursor>,
    /// From the oldest on? Else from the newest back.
    pub forward: bool,
    /// Most messages to answer with: 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// The messages themselves are wanted, not their hashes alone.
    pub include_data: bool,
}

/// Which messages are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// By what they are about, and when.
    Content {
        /// Relayed on this topic.
        pubsub_topic: Option<PubsubTopic>,
        /// About one of these; about anything if empty.
        content_topics: Vec<String>,
        /// Sent at this time or later: nanoseconds since 1970.
        from: Option<i64>,
        /// Sent at this time or earlier.
        until: Option<i64>,
    },
    /// By name: those of them that are here.
    Hashes {
        /// Relayed on this topic.
        pubsub_topic: Option<PubsubTopic>,
        /// Their names.
        hashes: Vec<MessageHash>,
    },
}

impl Selection {
    /// All there is.
    #[must_use]
    pub const fn all() -> Self {
        Self::Content { pubsub_topic: None, content_topics: Vec::new(), from: None, until: None }
    }

    /// The pubsub topic that it names.
    #[must_use]
    pub const fn pubsub_topic(&self) -> Option<&PubsubTopic> {
        match self {
            Self::Content { pubsub_topic, .. } | Self::Hashes { pubsub_topic, .. } => pubsub_topic.as_ref(),
        }
    }
}

/// Where the last page ended. What it names has to be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// The message of this hash.
    Hash(MessageHash),
    /// The message that beta4 names so.
    Index(Index),
}

/// One message of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub hash: MessageHash,
    /// Itself; `None` where only its presence was asked for.
    pub kept: Option<Kept>,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Where it was relayed.
    pub pubsub_topic: PubsubTopic,
    /// What was relayed.
    pub message: WakuMessage,
    /// When it came here: unix seconds.
    pub stored_at: u64,
}

/// Messages, ascending.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// At most [`Query::limit`].
    pub entries: Vec<Entry>,
    /// There are more in the direction of the query.
    pub more: bool,
}

/// Why a query is refused. Whoever sent it gets these words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// More than [`MAX_CONTENT_TOPICS`].
    #[error("{0} content topics; {MAX_CONTENT_TOPICS} are allowed")]
    ContentTopics(usize),
    /// One is longer than [`MAX_CONTENT_TOPIC_BYTES`].
    #[error("a content topic of {0} bytes; {MAX_CONTENT_TOPIC_BYTES} are allowed")]
    LongContentTopic(usize),
    /// Longer than any is.
    #[error("{0}")]
    PubsubTopic(#[from] crate::topic::PubsubTopicError),
    /// More than [`MAX_HASHES`].
    #[error("{0} hashes; {MAX_HASHES} are allowed")]
    Hashes(usize),
    /// Not 32 bytes.
    #[error("a message hash of {0} bytes; it has 32")]
    HashLength(usize),
    /// Both kinds of query in one.
    #[error("message hashes leave no room for content topics or times")]
    Mixed,
    /// Not 32 bytes, or all of them zero; in beta4 a field that is empty or zero.
    #[error("invalid cursor")]
    Cursor,
    /// Neither forward nor backward.
    #[error("a direction is 0 or 1")]
    Direction,
}

/// Why history gives no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What the cursor names is not here, or no longer.
    #[error("cursor not found")]
    UnknownCursor,
    /// It can't be read now. Why is in the log.
    #[error("the archive can't be read")]
    Unreadable,
}

/// Where messages are kept.
pub trait History: Send + Sync + 'static {
    /// The page that answers a query. Safe to cancel.
    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>>;
}

/// How many messages a page has, of the number that was asked for.
#[must_use]
pub fn page_size(asked: Option<u64>) -> usize {
    match asked {
        None | Some(0) => DEFAULT_PAGE,
        Some(asked) => usize::try_from(asked).unwrap_or(MAX_PAGE).min(MAX_PAGE),
    }
}

/// A topic as it stands in a request, where nothing and an empty text are the same: proto3 writes neither.
pub(super) fn pubsub_topic(text: Option<&str>) -> Result<Option<PubsubTopic>, QueryError> {
    Ok(text.filter(|text| !text.is_empty()).map(str::parse).transpose()?)
}

/// Bounds the content topics of a request.
pub(super) fn content_topics(topics: Vec<String>) -> Result<Vec<String>, QueryError> {
    if topics.len() > MAX_CONTENT_TOPICS {
        return Err(QueryError::ContentTopics(topics.len()));
    }
    match topics.iter().map(String::len).find(|bytes| *bytes > MAX_CONTENT_TOPIC_BYTES) {
        Some(bytes) => Err(QueryError::LongContentTopic(bytes)),
        None => Ok(topics),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_twenty_and_a_hundred_at_most() {
        let asked = [None, Some(0), Some(1), Some(20), Some(100), Some(101), Some(u64::MAX)];
        assert_eq!(asked.map(page_size), [20, 20, 1, 20, 100, 100, 100]);
    }

    #[test]
    fn topics_are_bounded() {
        assert_eq!(pubsub_topic(Some("")), Ok(None));
        assert!(matches!(pubsub_topic(Some(&"x".repeat(257))), Err(QueryError::PubsubTopic(_))));
        let topics = |n, bytes| content_topics(vec!["x".repeat(bytes); n]);
        assert_eq!(topics(10, 1_024).map(|topics| topics.len()), Ok(10));
        assert_eq!(topics(11, 1), Err(QueryError::ContentTopics(11)));
        assert_eq!(topics(1, 1_025), Err(QueryError::LongContentTopic(1_025)));
    }
}
