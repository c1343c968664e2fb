//! What of a bridge outlives it: what is on its way, and what came of it. Pure; where it is written is the program's.
//!
//! Whatever is to be mined or published is noted first, with what it takes to do it again, and waits until the note is on disk. Its
//! end is noted after the fact. So after a crash each is either ended, and known again, or is done again with the same bytes, and
//! the networks keep one of them. What is dropped at once is not noted: it would be dropped again.
//!
//! Limit: the shell keeps [`MAX_NOTES`] that wait to be written; beyond it ends are left out, which costs a repetition after a
//! crash and nothing else.

pub mod encoding;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use waku0::envelope::EnvelopeHash;
use waku2::{hash::MessageHash, topic::PubsubTopic};

use crate::{
    crossing::Direction,
    gaps::Gap,
    seen::{Fingerprint, State},
};

/// Notes that wait to be written. Beginnings are bounded by [`crate::config::Limits::max_jobs`]; this holds the ends of several
/// seconds at the highest rate.
pub const MAX_NOTES: usize = 262_144;

/// How long an end is kept back. The far side's word is that of our own node, which has handed the bytes to connections: they may
/// still be in this process, and go down with it. Until its end is written a thing is done again after a crash, with the same bytes, which
/// costs a little; a busy machine or a slow peer keeps bytes here for seconds.
pub const ENDS_SETTLE: Duration = Duration::from_secs(5);

/// How long an end stays open whose far side was lost before it had settled. For as long our node may repeat what it sent there.
pub const MAX_DOUBT: Duration = Duration::from_secs(3_600);

/// How long a settled end may wait to be written, when nothing begins.
pub const WRITE_ENDS_AFTER: Duration = Duration::from_secs(1);

/// What came, as it came: enough to begin again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cargo {
    /// An envelope's RLP.
    Envelope(Bytes),
    /// A message.
    Message {
        /// Where it was published.
        topic: PubsubTopic,
        /// Its bytes.
        data: Bytes,
    },
}

impl Cargo {
    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Envelope(data) | Self::Message { data, .. } => data.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One line of the journal. A content and a time of sending, that of the cargo by itself, name a passage; where the cargo says no
/// time, it is that at which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It is about to be mined or published.
    Begun {
        /// Its content.
        content: Fingerprint,
        /// When it was sent: unix seconds.
        sent: u64,
        /// When it came, by our clock: unix seconds.
        at: u64,
        /// The side it came from.
        first: Direction,
        /// What came.
        cargo: Cargo,
    },
    /// It has ended; an end for which nothing was begun changes nothing.
    Ended {
        /// Its content.
        content: Fingerprint,
        /// When it was sent: unix seconds.
        sent: u64,
        /// [`State::Done`] or [`State::Dropped`].
        state: State,
        /// The envelope, if one is known.
        envelope: Option<EnvelopeHash>,
        /// The message, if one is known.
        message: Option<MessageHash>,
    },
}

/// Notes to be written together, in their order. When they are on disk, or can't be written, `done` is answered; the keeper of the
/// journal tells the operator which.
#[derive(Debug)]
pub struct Batch {
    /// In their order.
    pub notes: Vec<Note>,
    /// To be answered.
    pub done: oneshot::Sender<()>,
}

/// A journal, and what it said at the start.
#[derive(Debug)]
pub struct Journal {
    /// What ended, the oldest first.
    pub ended: Vec<Remembered>,
    /// What had not ended, the oldest first.
    pub unfinished: Vec<Unfinished>,
    /// When the far side was away.
    pub gaps: Vec<Gap>,
    /// Where batches go, one at a time.
    pub batches: mpsc::Sender<Batch>,
}

/// Something that was on its way when an earlier life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its content.
    pub content: Fingerprint,
    /// When it was sent: unix seconds.
    pub sent: u64,
    /// When it came: unix seconds.
    pub at: u64,
    /// What came.
    pub cargo: Cargo,
}

impl Unfinished {
    /// Which way it was going.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self.cargo {
            Cargo::Envelope(_) => Direction::V1ToV2,
            Cargo::Message { .. } => Direction::V2ToV1,
        }
    }
}

/// Something that ended in an earlier life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Its content.
    pub content: Fingerprint,
    /// When it was sent: unix seconds.
    pub sent: u64,
    /// When it came: unix seconds.
    pub at: u64,
    /// The side it came from.
    pub first: Direction,
    /// What became of it.
    pub state: State,
    /// The envelope, if one is known.
    pub envelope: Option<EnvelopeHash>,
    /// The message, if one is known.
    pub message: Option<MessageHash>,
}
