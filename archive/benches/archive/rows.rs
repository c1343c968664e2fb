//! The rows of the benchmark: 300 bytes, a thousand topics, half a day for a million.

use archive::{EnvelopeHalf, Hash, MessageHalf, Mined, Row, Side};
use bytes::Bytes;

/// The clock, unix seconds.
pub(crate) const NOW: u64 = 1_700_049_600;
/// Between two rows: a million span two days, as nwaku keeps by default.
const APART_NS: i64 = 172_800_000;
const TOPICS: u64 = 1_000;

fn hash(kind: u64, n: u64) -> Hash {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ kind;
    let mut hash = [0; 32];
    for byte in &mut hash {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    hash
}

fn spread(n: u64) -> u32 {
    (n % TOPICS).wrapping_mul(0x9e37_79b1) as u32
}

/// The topic of an envelope.
pub(crate) fn topic(n: u64) -> [u8; 4] {
    spread(n).to_be_bytes()
}

/// That of its message.
pub(crate) fn content_topic(n: u64) -> String {
    format!("/waku/1/0x{:08x}/rfc26", spread(n))
}

/// One row; the higher its number, the later it was sent.
pub(crate) fn row(n: u64) -> Row {
    Row {
        sent_ns: NOW as i64 * 1_000_000_000 - 1_000_000 * APART_NS + n as i64 * APART_NS,
        content: hash(1, n),
        payload: Bytes::from(hash(2, n).repeat(10)[..300].to_vec()),
        envelope: Some(EnvelopeHalf {
            topic: topic(n),
            ttl: 15,
            wrapped: false,
            mined: Some(Mined { hash: hash(3, n), nonce: n }),
        }),
        message: Some(MessageHalf {
            hash: hash(4, n),
            pubsub_topic: "/waku/2/rs/16/32".to_owned(),
            content_topic: content_topic(n),
            version: 1,
            meta: Bytes::from_static(&[0xb1; 17]),
            proof: None,
        }),
        proven: false,
        first: Side::V1,
        reason: None,
        stored_at: NOW,
    }
}

/// Some rows, from a number on.
pub(crate) fn rows(first: u64, count: u64) -> Vec<Row> {
    (first..first + count).map(row).collect()
}
