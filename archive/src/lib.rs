//! What was sent, kept: one append-only log for both generations of Waku. It knows neither envelopes nor protobuf.
//!
//! A row ([`row`]) is what an envelope (5/WAKU0) and a message (14/WAKU2-MESSAGE) have in common, and what each has beside it, so that
//! either can be made again, byte for byte. Rows are read in two orders ([`query`]): by time and message hash, as 13/WAKU2-STORE
//! answers, and by second and envelope hash, as 8/WAKU-MAIL answers; from either end, within bounds of time, by topics, page by page.
//!
//! | module | what |
//! |---|---|
//! | [`row`] | a row, its halves, its bounds |
//! | [`query`] | what is asked, and the answer |
//! | [`mail`] | envelopes alone, for requests for history |
//! | [`archive`] | [`Archive`]: appending and reading, whatever keeps it |
//! | [`error`] | what can go wrong |
//! | [`writer`] | [`Writer`]: the one task that writes, in batches, and deletes what is old |
//! | [`retention`] | how much is kept |
//! | `complete` | a row some of which is here already |
//! | `sql`, `record`, `session` | what both databases share: statements, rows, how a batch is written |
//! | [`memory`], `sqlite`, `postgres` | what keeps it |
//! | [`checkpoint`] | SQLite's log, moved into its file beside the writer |
//!
//! Limits: what was sent before 1970, after 2106 or more than a day from now is not kept ([`row::Refusal`]).

pub mod archive;
pub mod checkpoint;
mod complete;
pub mod error;
pub mod mail;
pub mod memory;
#[cfg(feature = "postgres")]
mod postgres;
pub mod query;
mod record;
pub mod retention;
pub mod row;
mod session;
mod sql;
mod sqlite;
pub mod writer;

pub use archive::Archive;
pub use error::{Error, OpenError};
pub use mail::{Mail, MailPage};
pub use query::{Appended, Name, Page, Query, Totals, View};
pub use retention::Retention;
pub use row::{EnvelopeHalf, EnvelopePosition, Hash, MessageHalf, MessagePosition, Mined, Refusal, Row, Side};
pub use writer::Writer;
