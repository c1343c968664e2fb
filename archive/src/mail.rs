//! Envelopes as requests for history are answered with them (8/WAKU-MAIL): what it takes to make each again, and no more.
//!
//! In SQLite only these columns are read (`sqlite/pages.rs`). Elsewhere a page is made of rows.
//!
//! Limits: those of a query, [`crate::query::MAX_PAGE_BYTES`] among them.

use bytes::Bytes;

use crate::{
    query::Page,
    row::{EnvelopeHalf, EnvelopePosition, Mined, Row},
};

/// The columns of one. The payload is last: it may be long.
pub(crate) const COLUMNS: &str = "sent, topic, ttl, wrapped, envelope, nonce, size, payload";

/// An envelope that has its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// When it was sent: unix seconds.
    pub sent_secs: u32,
    /// What it is about.
    pub topic: [u8; 4],
    /// Its time to live, in seconds.
    pub ttl: u32,
    /// Its data is a frame around `payload`, not the payload itself.
    pub wrapped: bool,
    /// Its hash and nonce.
    pub mined: Mined,
    /// The message's payload where there is a message, else the envelope's data.
    pub payload: Bytes,
}

/// Envelopes in the order that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailPage {
    /// The envelopes.
    pub envelopes: Vec<Mail>,
    /// There are more behind the last one.
    pub more: bool,
}

impl Mail {
    /// The envelope of a row; `None` for one that has none, or no work yet.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        let EnvelopeHalf { topic, ttl, wrapped, mined } = row.envelope?;
        Some(Self { sent_secs: row.sent_secs(), topic, ttl, wrapped, mined: mined?, payload: row.payload.clone() })
    }

    /// Where it stands.
    #[must_use]
    pub const fn position(&self) -> EnvelopePosition {
        EnvelopePosition { sent_secs: self.sent_secs, hash: self.mined.hash }
    }
}

impl MailPage {
    pub(crate) fn of(page: &Page) -> Self {
        Self { envelopes: page.rows.iter().filter_map(Mail::of).collect(), more: page.more }
    }
}
