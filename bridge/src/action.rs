//! What the core wants done, and what it counts.

use std::sync::Arc;

use bytes::Bytes;
use waku0::envelope::Envelope;
use waku2::topic::PubsubTopic;

use crate::{
    crossing::{Crossing, Direction},
    history::Kept,
    job::JobId,
    journal::Note,
    seal::SealJob,
};

/// What the shell is to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Publish a message on v2, and answer with [`crate::Bridge::published`].
    Publish {
        /// Whose it is.
        job: JobId,
        /// Where to.
        topic: PubsubTopic,
        /// The encoded message.
        data: Bytes,
        /// Whose share of the rate it spends, where one is kept for it ([`crate::router::Route::class`]).
        class: Option<Arc<str>>,
    },
    /// Mine an envelope, and answer with [`crate::Bridge::sealed`].
    Seal(SealJob),
    /// Stop mining for a job; no answer is wanted.
    CancelSeal(JobId),
    /// Post an envelope on v1, and answer with [`crate::Bridge::posted`].
    Post {
        /// Whose it is.
        job: JobId,
        /// The envelope.
        envelope: Envelope,
    },
    /// Write this down and answer with [`crate::Bridge::noted`]. Only with [`crate::Config::journal`], as is the next.
    Begin {
        /// Whose it is.
        job: JobId,
        /// The beginning.
        note: Note,
    },
    /// Write this down at some time; no answer is wanted.
    End {
        /// Which way it was going.
        direction: Direction,
        /// What is written.
        note: Note,
    },
    /// Give this to the archive, and answer with [`crate::Bridge::kept`]. Only with [`crate::Config::archive`].
    Keep {
        /// Whose it is.
        job: JobId,
        /// The row.
        kept: Box<Kept>,
    },
    /// Tell the end of an envelope or message.
    Report(Crossing),
}

/// What the bridge counts beside crossings. Every number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Envelopes mined, whatever became of them.
    pub mined: u64,
    /// Envelopes rebuilt from a tag in `meta` instead of mined.
    pub rebuilt: u64,
    /// Messages restored from a tag in the nonce.
    pub restored: u64,
    /// Envelopes that carried our tag.
    pub tagged_envelopes: u64,
    /// Messages that carried our tag.
    pub tagged_messages: u64,
    /// Messages whose content topic was not spelt as we spell it.
    pub noncanonical_topics: u64,
    /// Messages without a time.
    pub no_timestamp: u64,
    /// Tagged envelopes with a time to live that our profile does not give: another bridge is set up differently.
    pub profile_mismatches: u64,
    /// Attempts to publish or post that failed, whether they were tried again or not.
    pub failed_attempts: u64,
    /// Contents that came again so often that somebody seems to send them round.
    pub loops_suspected: u64,
    /// Entries of the memory that went before their time.
    pub seen_evicted_early: u64,
    /// Passages given up because another bridge was faster.
    pub gave_way: u64,
    /// Rows that the archive did not take.
    pub not_kept: u64,
}
