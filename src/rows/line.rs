//! A row as one line of JSON: what `export` writes and `import` reads.
//!
//! ```json
//! {"sent":"1700000000000000000","payload":"aGVsbG8=","envelope":{"topic":"0x01020304","ttl":50,"hash":"0x…","nonce":"7"},"first":"v1","storedAt":1700000003}
//! ```
//!
//! `sent` (nanoseconds since 1970) and `nonce` are texts, since many readers of JSON round such numbers. `payload`, `meta` and `proof`
//! are base64, hashes and topics hex. A line has an `envelope`, a `message`, or both; hashes are computed again when it is read,
//! and a line whose content does not have the hash that it says is refused.
//!
//! Limit: [`MAX_LINE_BYTES`].

use archive::{EnvelopeHalf, Hash, MessageHalf, Mined, Row, Side};
use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use waku0::Topic;

/// Longest line, in bytes: 32 MiB, room for the largest payload that an archive keeps, in base64, and the rest.
pub const MAX_LINE_BYTES: usize = 32 << 20;

/// Why a line is no row.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not JSON, or not of this form.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field that can't be read.
    #[error("{0} can't be read")]
    Field(&'static str),
    /// The content does not have the hash.
    #[error("the {0} has another hash")]
    Hash(&'static str),
    /// Neither an envelope nor a message.
    #[error("neither an envelope with a hash nor a message")]
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    sent: String,
    payload: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope: Option<EnvelopeLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<MessageLine>,
    first: String,
    #[serde(default, skip_serializing_if = "is_false")]
    proven: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    stored_at: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeLine {
    topic: String,
    ttl: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    wrapped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageLine {
    hash: String,
    pubsub_topic: String,
    content_topic: String,
    version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    meta: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Writes a row, without an end of line.
///
/// # Errors
/// None that is known: every row has such a form.
pub fn write(row: &Row) -> Result<String, serde_json::Error> {
    let mined = row.mined();
    serde_json::to_string(&Line {
        sent: row.sent_ns.to_string(),
        payload: BASE64.encode(&row.payload),
        envelope: row.envelope.map(|half| EnvelopeLine {
            topic: Topic(half.topic).to_string(),
            ttl: half.ttl,
            wrapped: half.wrapped,
            hash: mined.map(|mined| hex(&mined.hash)),
            nonce: mined.map(|mined| mined.nonce.to_string()),
        }),
        message: row.message.as_ref().map(|half| MessageLine {
            hash: hex(&half.hash),
            pubsub_topic: half.pubsub_topic.clone(),
            content_topic: half.content_topic.clone(),
            version: half.version,
            meta: BASE64.encode(&half.meta),
            proof: half.proof.as_ref().map(|proof| BASE64.encode(proof)),
        }),
        first: if row.first == Side::V1 { "v1" } else { "v2" }.to_owned(),
        proven: row.proven,
        reason: row.reason.clone(),
        stored_at: row.stored_at,
    })
}

/// Reads a row, and checks its hashes.
///
/// # Errors
/// [`LineError`] says what is wrong.
pub fn read(line: &[u8]) -> Result<Row, LineError> {
    let line: Line = serde_json::from_slice(line)?;
    let mut row = Row {
        sent_ns: line.sent.parse().map_err(|_| LineError::Field("sent"))?,
        content: [0; 32],
        payload: base64(&line.payload).ok_or(LineError::Field("payload"))?,
        envelope: line.envelope.map(envelope_half).transpose()?,
        message: line.message.map(message_half).transpose()?,
        proven: line.proven,
        first: match &*line.first {
            "v1" => Side::V1,
            "v2" => Side::V2,
            _ => return Err(LineError::Field("first")),
        },
        reason: line.reason,
        stored_at: line.stored_at,
    };
    row.content = checked(&row)?;
    Ok(row)
}

/// The fingerprint of a row whose hashes are of its content.
fn checked(row: &Row) -> Result<Hash, LineError> {
    let envelope = super::envelope(row);
    if row.mined().is_some() && envelope.is_none() {
        return Err(LineError::Hash("envelope"));
    }
    let message = super::message(row);
    if row.message.is_some() && message.is_none() {
        return Err(LineError::Hash("message"));
    }
    match (envelope, message) {
        (Some(envelope), _) => Ok(super::content_of_envelope(&envelope)),
        (None, Some((pubsub, message))) => Ok(super::content_of(&pubsub, &message)),
        (None, None) => Err(LineError::Nothing),
    }
}

fn envelope_half(line: EnvelopeLine) -> Result<EnvelopeHalf, LineError> {
    let topic: Topic = line.topic.parse().map_err(|_| LineError::Field("topic"))?;
    let mined = match (line.hash, line.nonce) {
        (Some(hash), Some(nonce)) => Some(Mined {
            hash: unhex(&hash).ok_or(LineError::Field("hash of the envelope"))?,
            nonce: nonce.parse().map_err(|_| LineError::Field("nonce"))?,
        }),
        (None, None) => None,
        _ => return Err(LineError::Field("hash or nonce of the envelope")),
    };
    Ok(EnvelopeHalf { topic: topic.0, ttl: line.ttl, wrapped: line.wrapped, mined })
}

fn message_half(line: MessageLine) -> Result<MessageHalf, LineError> {
    let proof = line.proof.map(|proof| base64(&proof).ok_or(LineError::Field("proof")));
    Ok(MessageHalf {
        hash: unhex(&line.hash).ok_or(LineError::Field("hash of the message"))?,
        pubsub_topic: line.pubsub_topic,
        content_topic: line.content_topic,
        version: line.version,
        meta: base64(&line.meta).ok_or(LineError::Field("meta"))?,
        proof: proof.transpose()?,
    })
}

fn hex(hash: &Hash) -> String {
    format!("0x{}", hex::encode(hash))
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut hash).ok()?;
    Some(hash)
}

fn base64(text: &str) -> Option<Bytes> {
    BASE64.decode(text.as_bytes()).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use bridge::mapping;
    use waku0::Envelope;
    use waku2::{ContentTopic, Meta, PubsubTopic, WakuMessage};

    use super::{super::*, *};

    fn envelope() -> Envelope {
        Envelope::new(1_700_000_050, 50, Topic([1, 2, 3, 4]), Bytes::from_static(b"data"), u64::MAX).unwrap()
    }

    fn message(payload: &'static [u8], version: u32) -> WakuMessage {
        WakuMessage {
            payload: Bytes::from_static(payload),
            content_topic: ContentTopic::from("/waku/1/0x01020304/rfc26"),
            version,
            timestamp: Some(1_700_000_000_000_000_001),
            meta: Meta::new(vec![7, 8]).unwrap(),
            rate_limit_proof: Some(Bytes::from_static(&[9; 289])),
            ephemeral: false,
        }
    }

    fn pubsub() -> PubsubTopic {
        "/waku/2/rs/0/0".parse().unwrap()
    }

    /// All forms that a row has.
    fn rows() -> Vec<Row> {
        let alone = of_envelope(&envelope(), Some("imported"), 7);
        let of_message = |message: &WakuMessage| of_message(&pubsub(), message, Some("imported"), 7).unwrap();
        let unbridged = WakuMessage { content_topic: "/my/1/app/proto".into(), ..message(b"", 0) };
        let plain = of_message(&message(b"plain", 0));
        let both = {
            let data = mapping::wrap(b"plain").unwrap();
            let sealed = waku0::Unsealed::new(1_700_000_015, 15, Topic([1, 2, 3, 4]), data).unwrap().seal(5);
            let mined = Some(Mined { hash: *sealed.hash().as_bytes(), nonce: 5 });
            let half = EnvelopeHalf { topic: [1, 2, 3, 4], ttl: 15, wrapped: true, mined };
            Row { envelope: Some(half), reason: None, proven: true, ..plain.clone() }
        };
        let unmined = Row { envelope: both.envelope.map(|half| EnvelopeHalf { mined: None, ..half }), ..both.clone() };
        vec![alone, of_message(&unbridged), plain, both, unmined]
    }

    #[test]
    fn what_is_written_is_read() {
        for row in rows() {
            assert_eq!(read(write(&row).unwrap().as_bytes()).unwrap(), row);
        }
        assert_eq!(super::super::envelope(&rows()[0]), Some(envelope()));
        assert_eq!(super::super::message(&rows()[2]), Some((pubsub(), message(b"plain", 0))));
    }

    #[test]
    fn content_under_another_hash_is_refused() {
        for row in rows() {
            let other = Row { payload: Bytes::from_static(b"other"), ..row };
            assert!(matches!(read(write(&other).unwrap().as_bytes()), Err(LineError::Hash(_))), "{other:?}");
        }
        let retimed = Row { sent_ns: 1_600_000_000_000_000_000, ..rows().remove(0) };
        assert!(matches!(read(write(&retimed).unwrap().as_bytes()), Err(LineError::Hash("envelope"))));
    }

    #[test]
    fn what_is_no_row_is_refused_with_its_cause() {
        let whole = write(&rows()[0]).unwrap();
        let with = |from: &str, to: &str| {
            assert!(whole.contains(from), "{whole}");
            read(whole.replace(from, to).as_bytes()).unwrap_err().to_string()
        };
        assert!(with("\"first\":\"v1\"", "\"first\":\"v3\"").contains("first"));
        assert!(with("\"nonce\":\"1844", "\"nonce\":\"x1844").contains("nonce"));
        assert!(with("\"sent\":\"", "\"sent\":\"x").contains("sent"));
        assert!(with("\"payload\":\"", "\"payload\":\"=").contains("payload"));
        assert!(with("\"topic\":\"0x", "\"topic\":\"0x0").contains("topic"));
        assert!(with("\"envelope\":", "\"envelopes\":").contains("neither"));
        for torn in ["", "{", "[]", "null", &whole[..whole.len() / 2]] {
            assert!(matches!(read(torn.as_bytes()), Err(LineError::Json(_))), "{torn}");
        }
    }
}
