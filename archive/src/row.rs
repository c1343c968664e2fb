//! One row: what is kept of a passage, as it stands on both networks.
//!
//! A row has an envelope half (5/WAKU0), a message half (14/WAKU2-MESSAGE), or both, and everything that it takes to make the exact
//! envelope and the exact message again. What is both has one time: a message that was published with another time than its
//! envelope says is two rows, and so is one without a time.

use bytes::Bytes;

/// Longest content topic or pubsub topic, in bytes. Deployed ones have some dozens; what is longer is refused.
pub const MAX_TOPIC_BYTES: usize = 1_024;
/// Longest [`Row::reason`], in bytes: a word.
pub const MAX_REASON_BYTES: usize = 64;
/// Longest [`MessageHalf::meta`], in bytes.  Spec: 14/WAKU2-MESSAGE, "Payloads".
pub const MAX_META_BYTES: usize = 64;
/// Longest [`MessageHalf::proof`], in bytes. A proof of 17/WAKU2-RLN-RELAY has 289, or little more.
pub const MAX_PROOF_BYTES: usize = 4_096;
/// Longest [`Row::payload`], in bytes: more than either network carries.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;
/// How far ahead of the clock a row may have been sent, in seconds: a day. What is later would stand before everything new for as long.
pub const MAX_AHEAD_SECS: u64 = 86_400;
/// What a row takes on disk beside its contents, with its places in all indexes, in bytes; measured, in SQLite.
pub const ROW_OVERHEAD_BYTES: usize = 500;

pub(crate) const NANOS_PER_SEC: i64 = 1_000_000_000;

/// 32 bytes that name something: an envelope hash, a message hash, or a fingerprint.
pub type Hash = [u8; 32];

/// One row of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it was sent, by its sender's clock: nanoseconds since 1970. Of an envelope alone these are whole seconds.
    pub sent_ns: i64,
    /// The fingerprint of the content, the same on both networks.
    pub content: Hash,
    /// The message's payload where there is a message, else the envelope's data.
    pub payload: Bytes,
    /// What it is on v0.
    pub envelope: Option<EnvelopeHalf>,
    /// What it is on v2.
    pub message: Option<MessageHalf>,
    /// A proof of 17/WAKU2-RLN-RELAY was verified here, or made here and published.
    pub proven: bool,
    /// Where it came from first.
    pub first: Side,
    /// Why it is here although it was not relayed: a word. `None` for what was.
    pub reason: Option<String>,
    /// When it came here: unix seconds.
    pub stored_at: u64,
}

/// The network a row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Waku v0: devp2p.
    V1 = 0,
    /// The Waku Network: libp2p.
    V2 = 1,
}

/// What of an envelope the row does not say elsewhere: its expiry is the sent time plus `ttl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeHalf {
    /// Its topic.
    pub topic: [u8; 4],
    /// Its time to live, in seconds.
    pub ttl: u32,
    /// Its data is a frame around [`Row::payload`], not the payload itself.
    pub wrapped: bool,
    /// Its hash and its proof of work; `None` as long as it has none. Mail requests see it from then on.
    pub mined: Option<Mined>,
}

/// An envelope's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mined {
    /// Keccak-256 of the envelope.
    pub hash: Hash,
    /// Its nonce.
    pub nonce: u64,
}

/// What of a message the row does not say elsewhere: its timestamp is [`Row::sent_ns`], and it is never ephemeral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHalf {
    /// Its deterministic hash (14/WAKU2-MESSAGE).
    pub hash: Hash,
    /// The topic it was relayed on, or would have been.
    pub pubsub_topic: String,
    /// What it is about.
    pub content_topic: String,
    /// How its payload is encrypted.
    pub version: u32,
    /// The application's bytes.
    pub meta: Bytes,
    /// Its rate-limit proof.
    pub proof: Option<Bytes>,
}

/// A place in the order of messages: by time, then by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessagePosition {
    /// Nanoseconds since 1970.
    pub sent_ns: i64,
    /// The message hash.
    pub hash: Hash,
}

/// A place in the order of mail requests: by whole seconds, then by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopePosition {
    /// Unix seconds.
    pub sent_secs: u32,
    /// The envelope hash.
    pub hash: Hash,
}

/// Why a row is not kept. It will not be the next time either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It has neither a message nor an envelope with a hash.
    #[error("no hash to keep it by")]
    Nameless,
    /// It was sent before 1970 or after 2106, or is an envelope alone with a part of a second.
    #[error("sent at a time that no envelope has")]
    OutOfTime,
    /// It was sent more than [`MAX_AHEAD_SECS`] from now.
    #[error("sent more than a day ahead of the clock")]
    Ahead,
    /// What was sent then is no longer kept.
    #[error("sent before everything that is kept")]
    TooOld,
    /// A field is longer than its bound, or its text has a NUL.
    #[error("a {0} that is not kept")]
    OutOfBounds(&'static str),
}

impl Row {
    /// The whole seconds of the sent time; times that no envelope has become the nearest that one has.
    #[must_use]
    pub fn sent_secs(&self) -> u32 {
        let secs = self.sent_ns.div_euclid(NANOS_PER_SEC);
        u32::try_from(secs).unwrap_or(if secs < 0 { 0 } else { u32::MAX })
    }

    /// Where it stands among messages; `None` without a message half.
    #[must_use]
    pub fn message_position(&self) -> Option<MessagePosition> {
        self.message.as_ref().map(|message| MessagePosition { sent_ns: self.sent_ns, hash: message.hash })
    }

    /// Where it stands among envelopes; `None` without an envelope half that has a hash.
    #[must_use]
    pub fn envelope_position(&self) -> Option<EnvelopePosition> {
        self.mined().map(|mined| EnvelopePosition { sent_secs: self.sent_secs(), hash: mined.hash })
    }

    /// Its hash and nonce on v0.
    #[must_use]
    pub fn mined(&self) -> Option<Mined> {
        self.envelope.and_then(|envelope| envelope.mined)
    }

    /// What it takes on disk, nearly.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| {
            let proof = message.proof.as_ref().map_or(0, Bytes::len);
            // The content topic stands in an index too.
            message.pubsub_topic.len() + 2 * message.content_topic.len() + message.meta.len() + proof
        });
        ROW_OVERHEAD_BYTES + self.payload.len() + message
    }

    /// What the row is kept by: the message hash, or of an envelope alone the envelope hash.
    pub(crate) fn key(&self) -> Option<Key> {
        let id = match &self.message {
            Some(message) => message.hash,
            None => self.mined()?.hash,
        };
        Some(Key { sent_ns: self.sent_ns, id })
    }

    /// Whether it can be kept at all, at this time (unix seconds).
    pub(crate) fn admit(&self, now_secs: u64) -> Result<Key, Refusal> {
        let key = self.key().ok_or(Refusal::Nameless)?;
        let secs = u32::try_from(self.sent_ns.div_euclid(NANOS_PER_SEC)).map_err(|_| Refusal::OutOfTime)?;
        if self.message.is_none() && self.sent_ns.rem_euclid(NANOS_PER_SEC) != 0 {
            return Err(Refusal::OutOfTime);
        }
        if u64::from(secs) > now_secs.saturating_add(MAX_AHEAD_SECS) {
            return Err(Refusal::Ahead);
        }
        bounded("payload", self.payload.len(), MAX_PAYLOAD_BYTES)?;
        if self.reason.as_ref().is_some_and(|reason| reason.contains('\0')) {
            return Err(Refusal::OutOfBounds("reason"));
        }
        bounded("reason", self.reason.as_ref().map_or(0, String::len), MAX_REASON_BYTES)?;
        if let Some(message) = &self.message {
            bounded("pubsub topic", message.pubsub_topic.len(), MAX_TOPIC_BYTES)?;
            bounded("content topic", message.content_topic.len(), MAX_TOPIC_BYTES)?;
            bounded("meta", message.meta.len(), MAX_META_BYTES)?;
            bounded("proof", message.proof.as_ref().map_or(0, Bytes::len), MAX_PROOF_BYTES)?;
        }
        Ok(key)
    }
}

fn bounded(what: &'static str, bytes: usize, most: usize) -> Result<(), Refusal> {
    if bytes > most { Err(Refusal::OutOfBounds(what)) } else { Ok(()) }
}

/// What a row is kept by. No two rows share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) sent_ns: i64,
    pub(crate) id: Hash,
}

impl Key {
    /// Whole seconds, and the nanoseconds beyond them.
    pub(crate) fn split(&self) -> (i64, i64) {
        split(self.sent_ns)
    }
}

/// Whole seconds, and the nanoseconds beyond them.
pub(crate) fn split(sent_ns: i64) -> (i64, i64) {
    (sent_ns.div_euclid(NANOS_PER_SEC), sent_ns.rem_euclid(NANOS_PER_SEC))
}
