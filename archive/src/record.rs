//! Rows as databases keep them.

use bytes::Bytes;
use sqlx::FromRow;

use crate::{
    query::Place,
    row::{EnvelopeHalf, Hash, Key, MessageHalf, Mined, NANOS_PER_SEC, Row, Side, split},
    session::Change,
};

/// The columns of a row, in the order in which it is written. The payload is last: it may be long.
pub(crate) const COLUMNS: [&str; 20] = [
    "sent",
    "nanos",
    "id",
    "content",
    "topic",
    "ttl",
    "wrapped",
    "envelope",
    "nonce",
    "pubsub_topic",
    "content_topic",
    "version",
    "meta",
    "proof",
    "proven",
    "first",
    "reason",
    "stored_at",
    "size",
    "payload",
];

/// All columns but the payload, which is left empty.
pub(crate) const WITHOUT_PAYLOAD: &str = "sent, nanos, id, content, topic, ttl, wrapped, envelope, nonce, \
    pubsub_topic, content_topic, version, meta, proof, proven, first, reason, stored_at, size, substr(payload, 1, 0) AS payload";

/// One row of `log`.
#[derive(Debug, FromRow)]
pub(crate) struct Record {
    pub(crate) sent: i64,
    pub(crate) nanos: i32,
    pub(crate) id: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) topic: Option<Vec<u8>>,
    pub(crate) ttl: Option<i64>,
    pub(crate) wrapped: Option<bool>,
    pub(crate) envelope: Option<Vec<u8>>,
    pub(crate) nonce: Option<i64>,
    pub(crate) pubsub_topic: Option<Vec<u8>>,
    pub(crate) content_topic: Option<Vec<u8>>,
    pub(crate) version: Option<i64>,
    pub(crate) meta: Option<Vec<u8>>,
    pub(crate) proof: Option<Vec<u8>>,
    pub(crate) proven: bool,
    pub(crate) first: i32,
    pub(crate) reason: Option<String>,
    pub(crate) stored_at: i64,
    pub(crate) size: i32,
    pub(crate) payload: Vec<u8>,
}

impl Record {
    /// Of a row and what it is kept by.
    pub(crate) fn of(row: &Row, key: &Key) -> Self {
        let (sent, nanos) = key.split();
        let (envelope, mined) = (row.envelope, row.mined());
        let message = row.message.as_ref();
        Self {
            sent,
            nanos: i32::try_from(nanos).unwrap_or(0), // below 10^9
            id: key.id.to_vec(),
            content: row.content.to_vec(),
            topic: envelope.map(|envelope| envelope.topic.to_vec()),
            ttl: envelope.map(|envelope| envelope.ttl.into()),
            wrapped: envelope.map(|envelope| envelope.wrapped),
            envelope: mined.map(|mined| mined.hash.to_vec()),
            nonce: mined.map(|mined| mined.nonce.cast_signed()),
            pubsub_topic: message.map(|message| message.pubsub_topic.clone().into_bytes()),
            content_topic: message.map(|message| message.content_topic.clone().into_bytes()),
            version: message.map(|message| message.version.into()),
            meta: message.map(|message| message.meta.to_vec()),
            proof: message.and_then(|message| Some(message.proof.as_ref()?.to_vec())),
            proven: row.proven,
            first: row.first as i32,
            reason: row.reason.clone(),
            stored_at: i64::try_from(row.stored_at).unwrap_or(i64::MAX),
            size: i32::try_from(row.size_bytes()).unwrap_or(i32::MAX),
            payload: row.payload.to_vec(),
        }
    }

    /// `None` for what this program has not written.
    pub(crate) fn read(self) -> Option<Row> {
        let envelope = match (self.topic, self.ttl, self.wrapped) {
            (Some(topic), Some(ttl), Some(wrapped)) => {
                let mined = match (self.envelope, self.nonce) {
                    (Some(hash), Some(nonce)) => Some(Mined { hash: array(hash)?, nonce: nonce.cast_unsigned() }),
                    _ => None,
                };
                Some(EnvelopeHalf { topic: topic.try_into().ok()?, ttl: u32::try_from(ttl).ok()?, wrapped, mined })
            }
            _ => None,
        };
        let message = match (self.pubsub_topic, self.content_topic, self.version) {
            (Some(pubsub_topic), Some(content_topic), Some(version)) => Some(MessageHalf {
                hash: array(self.id)?,
                pubsub_topic: String::from_utf8(pubsub_topic).ok()?,
                content_topic: String::from_utf8(content_topic).ok()?,
                version: u32::try_from(version).ok()?,
                meta: self.meta.unwrap_or_default().into(),
                proof: self.proof.map(Bytes::from),
            }),
            _ => None,
        };
        Some(Row {
            sent_ns: nanos(self.sent, self.nanos)?,
            content: array(self.content)?,
            payload: self.payload.into(),
            envelope,
            message,
            proven: self.proven,
            first: if self.first == 0 { Side::V1 } else { Side::V2 },
            reason: self.reason,
            stored_at: u64::try_from(self.stored_at).ok()?,
        })
    }
}

/// A [`Place`] as it is read.
#[derive(Debug, FromRow)]
pub(crate) struct PlaceRecord {
    sent: i64,
    nanos: i32,
    id: Vec<u8>,
    envelope: Option<Vec<u8>>,
    size: i32,
}

impl PlaceRecord {
    pub(crate) fn read(self) -> Option<Place> {
        Some(Place {
            key: Key { sent_ns: nanos(self.sent, self.nanos)?, id: array(self.id)? },
            envelope: self.envelope.and_then(array),
            size_bytes: usize::try_from(self.size).ok()?,
        })
    }
}

/// A topic of an envelope.
#[derive(Debug, FromRow)]
pub(crate) struct TopicRecord {
    pub(crate) topic: Vec<u8>,
}

/// The time of a row.
#[derive(Debug, FromRow)]
pub(crate) struct TimeRecord {
    sent: i64,
    nanos: i32,
}

impl TimeRecord {
    pub(crate) fn read(&self) -> Option<i64> {
        nanos(self.sent, self.nanos)
    }
}

/// What was inserted.
#[derive(Debug, FromRow)]
pub(crate) struct InsertedRecord {
    pub(crate) id: Vec<u8>,
}

/// What was deleted.
#[derive(Debug, FromRow)]
pub(crate) struct DeletedRecord {
    pub(crate) sent: i64,
    pub(crate) size: i32,
}

impl DeletedRecord {
    pub(crate) fn change(&self) -> Change {
        Change { sent: self.sent, rows: -1, bytes: -i64::from(self.size) }
    }
}

/// How much is here.
#[derive(Debug, FromRow)]
pub(crate) struct TotalsRecord {
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

fn array(bytes: Vec<u8>) -> Option<Hash> {
    bytes.try_into().ok()
}

fn nanos(secs: i64, nanos: i32) -> Option<i64> {
    secs.checked_mul(NANOS_PER_SEC)?.checked_add(nanos.into())
}

/// What [`Row::size_bytes`] is in the database.
pub(crate) fn stored_size(row: &Row) -> i64 {
    i64::try_from(row.size_bytes()).unwrap_or(i64::MAX)
}

/// The seconds of a row.
pub(crate) fn sent(row: &Row) -> i64 {
    split(row.sent_ns).0
}
