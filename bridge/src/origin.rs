//! Origin tags: each side's form carries what the other side's form would lose, so that it can be made again exactly.
//!
//! An envelope that becomes a message leaves its expiry, TTL and nonce in `meta` ([`EnvelopeOrigin`], 17 bytes). A message
//! that becomes an envelope leaves what it can in the high bits of the nonce ([`MessageOrigin`]); known miners count up
//! from zero, so theirs are clear. Neither 14/WAKU2-MESSAGE nor 5/WAKU0 gives these bytes another meaning.
//!
//! A tag is a claim by whoever wrote it. What is rebuilt from one is checked like anything received; a tagged envelope
//! makes a bridge skip that envelope, nothing else.

use bytes::{BufMut, BytesMut};
use waku0::envelope::Envelope;
use waku2::message::Meta;

/// First byte of the tag in `meta`.
const META_MARK: u8 = 0xB1;
/// Length of the tag in `meta`, in bytes: mark, expiry u32, TTL u32, nonce u64, all big-endian.
pub const META_TAG_LEN: usize = 17;

/// What an envelope needs beside its topic and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeOrigin {
    /// Unix seconds.
    pub expiry: u32,
    /// Seconds.
    pub ttl: u32,
    /// The proof of work's nonce.
    pub nonce: u64,
}

impl EnvelopeOrigin {
    /// Of an envelope.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        Self { expiry: envelope.expiry(), ttl: envelope.ttl(), nonce: envelope.nonce() }
    }

    /// The tag.
    #[must_use]
    pub fn to_meta(self) -> Meta {
        let mut tag = BytesMut::with_capacity(META_TAG_LEN);
        tag.put_u8(META_MARK);
        tag.put_u32(self.expiry);
        tag.put_u32(self.ttl);
        tag.put_u64(self.nonce);
        Meta::new(tag.freeze()).unwrap_or_default() // 17 bytes are within the 64 of a meta.
    }

    /// Reads a tag; `None` where `meta` is something else.
    #[must_use]
    pub fn from_meta(meta: &Meta) -> Option<Self> {
        let tag: &[u8; META_TAG_LEN] = meta.bytes().as_ref().try_into().ok()?;
        let [META_MARK, fields @ ..] = tag else { return None };
        let (expiry, fields) = fields.split_first_chunk()?;
        let (ttl, fields) = fields.split_first_chunk()?;
        let nonce = fields.first_chunk()?;
        Some(Self {
            expiry: u32::from_be_bytes(*expiry),
            ttl: u32::from_be_bytes(*ttl),
            nonce: u64::from_be_bytes(*nonce),
        })
    }
}

/// Bits 63..59 of a tagged nonce.
const MARKER: u64 = 0b10110;
const MARKER_SHIFT: u32 = 59;
const EXACT_BIT: u64 = 1 << 58;
const EPHEMERAL_BIT: u64 = 1 << 57;
const WRAPPED_BIT: u64 = 1 << 56;
/// Bits 55..26 hold the nanoseconds; all ones where there is no timestamp.
const NANOS_MASK: u64 = (1 << 30) - 1;
/// Bits 25..0 of a tagged nonce are the search counter.
pub const COUNTER_BITS: u32 = 26;
/// How many nonces a search may try. At 20 zero bits none of them fits once in e^64, at 22 bits once in e^16.
pub const SEARCH_SPACE: u64 = 1 << COUNTER_BITS;
/// Most zero bits that are searched for in this space.
pub const MAX_BITS: u32 = 22;

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u32 = 1_000_000_000;

/// What a message needs beside its envelope's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageOrigin {
    /// The message can be made again bit for bit: it had a timestamp, an empty meta and the canonical content topic.
    pub exact: bool,
    /// It was ephemeral.
    pub ephemeral: bool,
    /// It was of version 0, and the data is our wrapping of its payload.
    pub wrapped: bool,
    /// The part of its timestamp below a second, in nanoseconds; `None` where it had no timestamp.
    pub nanos: Option<u32>,
}

impl MessageOrigin {
    /// The nonce with its counter at zero.
    #[must_use]
    pub fn to_nonce(self) -> u64 {
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        let nanos = self.nanos.map_or(NANOS_MASK, u64::from) & NANOS_MASK;
        (MARKER << MARKER_SHIFT)
            | bit(self.exact, EXACT_BIT)
            | bit(self.ephemeral, EPHEMERAL_BIT)
            | bit(self.wrapped, WRAPPED_BIT)
            | (nanos << COUNTER_BITS)
    }

    /// Reads a nonce; `None` where it is no tag of ours: another marker, or nanoseconds that no time has.
    #[must_use]
    pub fn from_nonce(nonce: u64) -> Option<Self> {
        let nanos = match (nonce >> COUNTER_BITS) & NANOS_MASK {
            NANOS_MASK => None,
            nanos => Some(u32::try_from(nanos).ok().filter(|nanos| *nanos < NANOS_PER_SEC)?),
        };
        let exact = nonce & EXACT_BIT != 0;
        let ours = nonce >> MARKER_SHIFT == MARKER && (nanos.is_some() || !exact);
        ours.then_some(Self { exact, ephemeral: nonce & EPHEMERAL_BIT != 0, wrapped: nonce & WRAPPED_BIT != 0, nanos })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_meta_tag() {
        let origin = EnvelopeOrigin { expiry: 0x6553_f10f, ttl: 15, nonce: 0x0102_0304_0506_0708 };
        let meta = origin.to_meta();
        assert_eq!(hex::encode(meta.bytes()), "b16553f10f0000000f0102030405060708");
        assert_eq!(EnvelopeOrigin::from_meta(&meta), Some(origin));
    }

    #[test]
    fn other_metas_are_no_tags() {
        for text in [
            "",
            "b1",
            "b26553f10f0000000f0102030405060708",
            "b16553f10f0000000f01020304050607",
            "b16553f10f0000000f010203040506070809",
        ] {
            let meta = Meta::new(Bytes::from(hex::decode(text).unwrap())).unwrap();
            assert_eq!(EnvelopeOrigin::from_meta(&meta), None, "{text}");
        }
    }

    #[test]
    fn known_nonce_tags() {
        let plain = MessageOrigin { exact: false, ephemeral: false, wrapped: false, nanos: None };
        assert_eq!(plain.to_nonce(), 0xb0ff_ffff_fc00_0000);
        let all = MessageOrigin { exact: true, ephemeral: true, wrapped: true, nanos: Some(999_999_999) };
        assert_eq!(all.to_nonce(), 0xb7ee_6b27_fc00_0000);
        let exact = MessageOrigin { exact: true, ephemeral: false, wrapped: false, nanos: Some(0) };
        assert_eq!(exact.to_nonce(), 0xb400_0000_0000_0000);
    }

    #[test]
    fn nonces_of_known_miners_are_no_tags() {
        for nonce in [0, 1, 1024, u64::from(u32::MAX), 0xb0ff_ffff_fc00_0000 >> 1, u64::MAX] {
            assert_eq!(MessageOrigin::from_nonce(nonce), None, "{nonce:x}");
        }
    }

    #[test]
    fn tags_that_contradict_themselves_are_none() {
        assert_eq!(MessageOrigin::from_nonce(0xb4ff_ffff_fc00_0000), None, "exact without a time");
        assert_eq!(MessageOrigin::from_nonce((0b10110 << 59) | (1_000_000_000 << 26)), None, "a second of nanoseconds");
    }

    proptest! {
        #[test]
        fn meta_tags_read_back(expiry: u32, ttl: u32, nonce: u64) {
            let origin = EnvelopeOrigin { expiry, ttl, nonce };
            prop_assert_eq!(EnvelopeOrigin::from_meta(&origin.to_meta()), Some(origin));
        }

        #[test]
        fn nonce_tags_read_back_under_any_counter(
            exact: bool, ephemeral: bool, wrapped: bool,
            nanos in prop::option::of(0..NANOS_PER_SEC), counter in 0..SEARCH_SPACE,
        ) {
            let origin = MessageOrigin { exact: exact && nanos.is_some(), ephemeral, wrapped, nanos };
            prop_assert_eq!(MessageOrigin::from_nonce(origin.to_nonce() | counter), Some(origin));
        }

        #[test]
        fn what_is_read_as_a_tag_writes_back(nonce: u64) {
            let tagged = (nonce >> 5) | (0b10110 << 59);
            if let Some(origin) = MessageOrigin::from_nonce(tagged) {
                prop_assert_eq!(origin.to_nonce(), tagged & !(SEARCH_SPACE - 1));
            }
        }
    }
}
