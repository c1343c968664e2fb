//! What is asked of the archive, and the answer.

use std::ops::RangeInclusive;

use crate::row::{EnvelopePosition, Hash, MessagePosition, Row, split};

/// Most rows in an answer.  Spec: 8/WAKU-MAIL, "limit"; 13/WAKU2-STORE answers with a tenth of it.
pub const MAX_PAGE: usize = 1_000;
/// Most bytes in an answer, payloads and all: 16 MiB. One row comes always, however large.
pub const MAX_PAGE_BYTES: usize = 16 << 20;
/// Most topics in one query, of either kind.
pub const MAX_TOPICS: usize = 1_000;
/// All times.
pub const ALL_TIMES: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// One page to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Whose order, from where, and which.
    pub view: View,
    /// The newest first, or the oldest?
    pub newest_first: bool,
    /// When it was sent, nanoseconds since 1970; both ends belong to it.
    pub sent_ns: RangeInclusive<i64>,
    /// Most rows to answer with: at least 1, at most [`MAX_PAGE`]; what is beyond counts as the nearest of these.
    pub limit: usize,
}

/// What a query sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Rows with a message, by time and message hash, as 13/WAKU2-STORE answers.
    Messages {
        /// Go on behind this place; what stands there need not be here any more.
        after: Option<MessagePosition>,
        /// Of these content topics, byte for byte; of any if there are none.
        content_topics: Vec<String>,
        /// Relayed on this topic.
        pubsub_topic: Option<String>,
        /// Only what is [`Row::proven`].
        proven_only: bool,
    },
    /// Rows with the hash of an envelope, by seconds and envelope hash, as 8/WAKU-MAIL answers.
    Envelopes {
        /// Go on behind this place; what stands there need not be here any more.
        after: Option<EnvelopePosition>,
        /// Of these topics; of any if there are none.
        topics: Vec<[u8; 4]>,
    },
}

impl Query {
    /// All messages of all times.
    #[must_use]
    pub fn messages() -> Self {
        let view = View::Messages { after: None, content_topics: vec![], pubsub_topic: None, proven_only: false };
        Self { view, newest_first: false, sent_ns: ALL_TIMES, limit: MAX_PAGE }
    }

    /// All envelopes of all times.
    #[must_use]
    pub fn envelopes() -> Self {
        let view = View::Envelopes { after: None, topics: vec![] };
        Self { view, newest_first: false, sent_ns: ALL_TIMES, limit: MAX_PAGE }
    }

    /// The page behind one that ended with this row; `None` for a row that this query does not see.
    #[must_use]
    pub fn after(mut self, last: &Row) -> Option<Self> {
        match &mut self.view {
            View::Messages { after, .. } => *after = Some(last.message_position()?),
            View::Envelopes { after, .. } => *after = Some(last.envelope_position()?),
        }
        Some(self)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE)
    }

    /// Of places that some statements found, those that a page may have, and one more.
    pub(crate) fn keep_first(&self, places: &mut Vec<Place>) {
        places.sort_by_key(|place| place.rank(&self.view));
        if self.newest_first {
            places.reverse();
        }
        places.truncate(self.limit() + 1);
    }

    /// How many topics it names.
    pub(crate) fn topics(&self) -> usize {
        match &self.view {
            View::Messages { content_topics, .. } => content_topics.len(),
            View::Envelopes { topics, .. } => topics.len(),
        }
    }
}

/// The nanoseconds of whole unix seconds, both of which belong to them, as mail requests name times.
#[must_use]
pub fn seconds(from: u32, until: u32) -> RangeInclusive<i64> {
    use crate::row::NANOS_PER_SEC;
    i64::from(from) * NANOS_PER_SEC..=i64::from(until) * NANOS_PER_SEC + (NANOS_PER_SEC - 1)
}

/// Rows, in the order that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// There are more behind the last one.
    pub more: bool,
}

/// What rows are looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// The message hash.
    Message,
    /// The envelope hash.
    Envelope,
    /// The fingerprint; several rows may have it.
    Content,
}

/// How much is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// What they take on disk, nearly: [`Row::size_bytes`] of each.
    pub bytes: u64,
    /// When the oldest one was sent, nanoseconds since 1970.
    pub oldest_ns: Option<i64>,
    /// When the newest one was sent.
    pub newest_ns: Option<i64>,
}

/// What became of an appended row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Appended {
    /// It is new.
    Stored,
    /// Some of it was here: now all of it is.
    Completed,
    /// It was here.
    Known,
    /// It is not kept.
    Refused(crate::row::Refusal),
}

/// Where a row stands, and what it is kept by: what a page is put together from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: crate::row::Key,
    pub(crate) envelope: Option<Hash>,
    pub(crate) size_bytes: usize,
}

impl Place {
    /// Seconds, then what else the view orders by.
    pub(crate) fn rank(&self, view: &View) -> (i64, i64, Hash) {
        let (secs, nanos) = split(self.key.sent_ns);
        match view {
            View::Messages { .. } => (secs, nanos, self.key.id),
            View::Envelopes { .. } => (secs, 0, self.envelope.unwrap_or(self.key.id)),
        }
    }
}

/// How many of the places make a page of so many rows at most, within [`MAX_PAGE_BYTES`].
pub(crate) fn page_length(places: &[Place], limit: usize) -> usize {
    let mut bytes = 0_usize;
    let fits = |place: &Place| {
        bytes = bytes.saturating_add(place.size_bytes);
        bytes <= MAX_PAGE_BYTES
    };
    let within = places.iter().take(limit).map(fits).take_while(|fits| *fits).count();
    within.max(1).min(places.len()).min(limit)
}
