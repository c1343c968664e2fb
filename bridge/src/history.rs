//! What a bridge gives to an archive: what crossed, and what could not cross and is kept instead. Pure; how rows are stored is the
//! program's.
//!
//! A row holds both forms. The message of an envelope is a function of the envelope and of its route, so that both hashes are known
//! of what never crossed too. The envelope of a message lacks its nonce until it is mined: whoever asks for it first has it mined,
//! by the same rule as here. Ephemeral messages are never given away.
//!
//! Kept and reported as archived, where an archive is there: what is late, by policy; what is over the largest size of v2; what
//! could not be published while our clock is off, or for want of a rate-limit proof; what the far side did not take to the end of its time; and all that comes by a route
//! that leads only to the archive. An archive that can't write keeps nothing from crossing: what crossed is then reported as crossed,
//! the rest as dropped, and each such row is counted.
//!
//! Limits: a row stands for a job of the bridge, so [`crate::config::Limits`] bounds them; the shell holds [`MAX_ROWS`] rows and
//! [`MAX_ROW_BYTES`] that wait to be written, and refuses what is beyond.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use waku0::{
    envelope::{Envelope, EnvelopeHash},
    topic::Topic,
};
use waku2::{
    handle::Received,
    hash::{MessageHash, message_hash},
    message::WakuMessage,
    topic::PubsubTopic,
};

use crate::{
    crossing::Direction,
    drop_reason::DropReason,
    mapping::{self, Framed},
    origin::NANOS_PER_SEC,
    passage::Passage,
    seen::Fingerprint,
};

/// Rows that wait in the shell: those of twice as many jobs as there are by default, for a job that was shed leaves its row behind.
pub const MAX_ROWS: usize = 32_768;
/// Their data, in bytes: twice the jobs' of both ways by default.
pub const MAX_ROW_BYTES: usize = 256 * 1024 * 1024;

/// One row of history, found again by content and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What it says.
    pub content: Fingerprint,
    /// When it was sent: nanoseconds since 1970. An envelope tells whole seconds.
    pub sent_nanos: i64,
    /// The v1 topic.
    pub topic: Topic,
    /// The data as it stands on v1.
    pub data: Bytes,
    /// `data` is our wrapping of the payload of a message of version 0.
    pub wrapped: bool,
    /// The form of v1.
    pub envelope: EnvelopeHalf,
    /// The form of v2.
    pub message: MessageHalf,
    /// Which way it was headed: it came from the side where this begins.
    pub first: Direction,
    /// Why it is kept.
    pub why: Why,
    /// Its rate-limit proof was verified here: it came from v2 with one, or we published it there with ours.
    pub proven: bool,
}

/// What an envelope is beside its topic and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeHalf {
    /// Its hash, if the nonce is known.
    pub hash: Option<EnvelopeHash>,
    /// Unix seconds.
    pub expiry: u32,
    /// Seconds.
    pub ttl: u32,
    /// None where nobody has mined it.
    pub nonce: Option<u64>,
}

/// A message, and where it stands or would stand.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageHalf {
    /// Its hash there.
    pub hash: MessageHash,
    /// Where.
    pub pubsub_topic: PubsubTopic,
    /// The message; never ephemeral.
    pub message: WakuMessage,
}

/// Why a row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Both sides have it.
    Crossed,
    /// It did not cross.
    Instead(DropReason),
}

/// Rows to be written together. `done` is answered when they are durable, or can't be written; a row that is there already is
/// written. Dropping `done` says the latter.
#[derive(Debug)]
pub struct Batch {
    /// In the order in which they ended.
    pub rows: Vec<Kept>,
    /// To be answered.
    pub done: oneshot::Sender<Result<(), NotKept>>,
}

/// An archive, as the bridge sees it. It holds one batch at a time.
pub type Archive = mpsc::Sender<Batch>;

/// The archive could not write; it tells the operator why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the archive could not be written")]
pub struct NotKept;

/// A row, as far as it is known while its passage is under way.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    data: Bytes,
    wrapped: bool,
    pub(crate) envelope: EnvelopeHalf,
    pub(crate) message: WakuMessage,
    proven: bool,
}

impl EnvelopeHalf {
    /// Of an envelope.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            hash: Some(envelope.hash()),
            expiry: envelope.expiry(),
            ttl: envelope.ttl(),
            nonce: Some(envelope.nonce()),
        }
    }

    /// Of an envelope that is not mined.
    fn unmined(sent: u64, ttl: u32) -> Self {
        let expiry = u32::try_from(sent.saturating_add(u64::from(ttl))).unwrap_or(u32::MAX);
        Self { hash: None, expiry, ttl, nonce: None }
    }
}

impl Draft {
    /// Of an envelope, and of the message that is or would be made of it.
    pub(crate) fn of_envelope(envelope: &Envelope, message: WakuMessage) -> Self {
        let wrapped = message.version != mapping::FRAMED_VERSION; // Only one that was restored.
        Self { data: envelope.data().clone(), wrapped, envelope: EnvelopeHalf::of(envelope), message, proven: false }
    }

    /// Of a message, and of the envelope that it gives, of which only the nonce may be missing.
    pub(crate) fn of_message(
        received: &Received,
        framed: &Framed,
        rebuilt: Option<&Envelope>,
        sent: u64,
        ttl: u32,
    ) -> Self {
        let envelope = rebuilt.map_or_else(|| EnvelopeHalf::unmined(sent, ttl), EnvelopeHalf::of);
        let Received { message, proven, .. } = received;
        let wrapped = framed.origin.wrapped;
        Self { data: framed.data.clone(), wrapped, envelope, message: message.clone(), proven: *proven }
    }

    /// The message stands on v2 with this proof, which was verified here.
    pub(crate) fn is_proven(&mut self, proof: Bytes) {
        self.message.rate_limit_proof = Some(proof);
        self.proven = true;
    }

    /// The row; `None` where the passage lacks a place, which one with a draft has.
    pub(crate) fn row(&self, passage: &Passage, why: Why) -> Option<Kept> {
        let (content, topic) = (passage.content?, passage.topic?);
        let pubsub_topic = passage.pubsub.clone()?;
        let message = self.message.clone();
        let hash = passage.message.unwrap_or_else(|| message_hash(&pubsub_topic, &message));
        Some(Kept {
            content,
            sent_nanos: self.sent_nanos(passage),
            topic,
            data: self.data.clone(),
            wrapped: self.wrapped,
            envelope: self.envelope,
            message: MessageHalf { hash, pubsub_topic, message },
            first: passage.direction,
            why,
            proven: self.proven,
        })
    }

    /// Times before 1970 count as 1970: they stand first in any order, as they would.
    fn sent_nanos(&self, passage: &Passage) -> i64 {
        let seconds = || i64::try_from(passage.sent).unwrap_or(i64::MAX).saturating_mul(i64::from(NANOS_PER_SEC));
        match (passage.direction, self.message.timestamp) {
            // Unlike a message's time, an envelope's is not changed by any policy.
            (Direction::V1ToV2, _) | (_, None) => seconds(),
            (Direction::V2ToV1, Some(_)) if self.is_rebuilt() => seconds(),
            (Direction::V2ToV1, Some(nanos)) => nanos.max(0),
        }
    }

    /// The message was an envelope before.
    fn is_rebuilt(&self) -> bool {
        self.envelope.nonce.is_some() && mapping::is_tagged(&self.message)
    }
}
