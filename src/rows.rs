//! Rows of the archive as envelopes and messages, and back: each as it was, byte for byte.

use archive::{EnvelopeHalf, Hash, Mail, MessageHalf, Mined, Row, Side};
use bridge::{content_topic, mapping, policy::Policy, seen::Fingerprint};
use waku0::{
    Envelope, Topic,
    envelope::{EnvelopeHash, Fields},
};
use waku2::{ContentTopic, Meta, PubsubTopic, WakuMessage, hash::message_hash};

pub mod line;

/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// The row of an envelope. `reason` says how it came here if it was not relayed.
#[must_use]
pub fn of_envelope(envelope: &Envelope, reason: Option<&str>, stored_at: u64) -> Row {
    let mined = Mined { hash: *envelope.hash().as_bytes(), nonce: envelope.nonce() };
    Row {
        sent_ns: i64::from(envelope.sent()) * NANOS,
        content: content_of_envelope(envelope),
        payload: envelope.data().clone(),
        envelope: Some(EnvelopeHalf {
            topic: envelope.topic().0,
            ttl: envelope.ttl(),
            wrapped: false,
            mined: Some(mined),
        }),
        message: None,
        proven: false,
        first: Side::V1,
        reason: reason.map(str::to_owned),
        stored_at,
    }
}

/// The row of a message; `None` for one without a time, which can't be kept. `reason` says how it came here if it was not relayed.
#[must_use]
pub fn of_message(pubsub: &PubsubTopic, message: &WakuMessage, reason: Option<&str>, stored_at: u64) -> Option<Row> {
    let hash = message_hash(pubsub, message);
    Some(Row {
        sent_ns: message.timestamp?,
        content: content_of(pubsub, message),
        payload: message.payload.clone(),
        envelope: None,
        message: Some(MessageHalf {
            hash: *hash.as_bytes(),
            pubsub_topic: pubsub.to_string(),
            content_topic: message.content_topic.to_string(),
            version: message.version,
            meta: message.meta.bytes().clone(),
            proof: message.rate_limit_proof.clone(),
        }),
        proven: false,
        // What was an envelope says so.
        first: if mapping::is_tagged(message) { Side::V1 } else { Side::V2 },
        reason: reason.map(str::to_owned),
        stored_at,
    })
}

/// The fingerprint of an envelope.
fn content_of_envelope(envelope: &Envelope) -> Hash {
    *Fingerprint::new(envelope.topic(), envelope.data()).as_bytes()
}

/// The fingerprint of a message, as a bridge counts it; of one that no bridge lets through, its hash.
fn content_of(pubsub: &PubsubTopic, message: &WakuMessage) -> Hash {
    let read = content_topic::parse(&message.content_topic, false).ok();
    let framed = read.and_then(|read| {
        let framed = mapping::frame(message, read.canonical, &Policy::default()).ok()?;
        Some(Fingerprint::new(read.topic, &framed.data))
    });
    framed.map_or_else(|| *message_hash(pubsub, message).as_bytes(), |content| *content.as_bytes())
}

/// The envelope that a row is; `None` where it is none, or has no nonce yet, or was written by something else.
#[must_use]
pub fn envelope(row: &Row) -> Option<Envelope> {
    envelopes(&[Mail::of(row)?]).pop().filter(is_sound)
}

/// The envelopes that these are, in their order. One that was made of a message, and comes out with another hash than it says, is left out: then
/// something else wrote it. What came as an envelope was hashed when it was kept.
#[must_use]
pub fn envelopes(mail: &[Mail]) -> Vec<Envelope> {
    let kept =
        mail.iter().filter_map(|mail| Some((mail.wrapped, (fields(mail)?, EnvelopeHash::from(mail.mined.hash)))));
    let (wrapped, kept): (Vec<_>, Vec<_>) = kept.unzip();
    let made = Envelope::restore_all(&kept).into_iter().zip(wrapped);
    made.filter_map(|(made, wrapped)| made.ok().filter(|made| !wrapped || is_sound(made))).collect()
}

/// Has it the hash that it says?
fn is_sound(envelope: &Envelope) -> bool {
    EnvelopeHash::of(envelope.raw()) == envelope.hash()
}

fn fields(mail: &Mail) -> Option<Fields> {
    let data = if mail.wrapped { mapping::wrap(&mail.payload)? } else { mail.payload.clone() };
    let (ttl, topic, nonce) = (mail.ttl, Topic(mail.topic), mail.mined.nonce);
    Some(Fields { expiry: mail.sent_secs.checked_add(ttl)?, ttl, topic, data, nonce })
}

/// The message that a row is, and where it stands; `None` where it is none, or was written by something else.
#[must_use]
pub fn message(row: &Row) -> Option<(PubsubTopic, WakuMessage)> {
    let half = row.message.as_ref()?;
    let pubsub: PubsubTopic = half.pubsub_topic.parse().ok()?;
    let message = WakuMessage {
        payload: row.payload.clone(),
        content_topic: ContentTopic::from(half.content_topic.clone()),
        version: half.version,
        timestamp: Some(row.sent_ns),
        meta: Meta::new(half.meta.clone()).ok()?,
        rate_limit_proof: half.proof.clone(),
        ephemeral: false,
    };
    (*message_hash(&pubsub, &message).as_bytes() == half.hash).then_some((pubsub, message))
}
