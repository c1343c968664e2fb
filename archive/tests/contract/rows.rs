//! Rows to be kept.

use archive::{EnvelopeHalf, Hash, MessageHalf, Mined, Row, Side};
use bytes::Bytes;

/// The clock of all cases: a day in November 2023, at noon.
pub(crate) const NOW: u64 = 1_700_049_600;
/// [`NOW`], as messages count it.
pub(crate) const NOW_NS: i64 = 1_700_049_600 * SECOND;
/// Nanoseconds.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// A hash that looks like one.
pub(crate) fn hash(kind: &str, n: u64) -> Hash {
    let mut state =
        kind.bytes().fold(n.wrapping_add(1), |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut hash = [0; 32];
    for byte in &mut hash {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    hash
}

/// The topic of an envelope.
pub(crate) fn topic(n: u64) -> [u8; 4] {
    [0x1a, 0x2b, (n / 7) as u8, (n % 7) as u8]
}

/// That of its message.
pub(crate) fn content_topic(n: u64) -> String {
    format!("/waku/1/0x{}/rfc26", topic(n).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A message with its envelope, sent so many nanoseconds before [`NOW_NS`].
pub(crate) fn both(n: u64, ago_ns: i64) -> Row {
    let sent_ns = NOW_NS - ago_ns;
    Row {
        sent_ns,
        content: hash("content", n),
        payload: Bytes::from(format!("payload {n}")),
        envelope: Some(EnvelopeHalf { topic: topic(n), ttl: 15, wrapped: n % 2 == 1, mined: Some(mined(n)) }),
        message: Some(MessageHalf {
            hash: hash("message", n),
            pubsub_topic: format!("/waku/2/rs/16/{}", n % 3),
            content_topic: content_topic(n),
            version: (n % 2) as u32,
            meta: Bytes::from(vec![n as u8; (n % 5) as usize]),
            proof: (n % 4 == 3).then(|| Bytes::from(vec![n as u8; 289])),
        }),
        proven: n % 4 == 3,
        first: if n.is_multiple_of(2) { Side::V1 } else { Side::V2 },
        reason: n.is_multiple_of(5).then(|| "late".to_owned()),
        stored_at: NOW,
    }
}

/// The work of an envelope.
pub(crate) fn mined(n: u64) -> Mined {
    Mined { hash: hash("envelope", n), nonce: u64::MAX - n }
}

/// A message alone.
pub(crate) fn message(n: u64, ago_ns: i64) -> Row {
    Row { envelope: None, ..both(n, ago_ns) }
}

/// A message whose envelope has no work yet.
pub(crate) fn unmined(n: u64, ago_ns: i64) -> Row {
    let row = both(n, ago_ns);
    Row { envelope: row.envelope.map(|envelope| EnvelopeHalf { mined: None, ..envelope }), ..row }
}

/// An envelope alone.
pub(crate) fn envelope(n: u64, ago_ns: i64) -> Row {
    let row = both(n, ago_ns);
    let envelope = row.envelope.map(|envelope| EnvelopeHalf { wrapped: false, ..envelope });
    Row { sent_ns: row.sent_ns.div_euclid(SECOND) * SECOND, message: None, proven: false, envelope, ..row }
}
