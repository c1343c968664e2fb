//! Proof of work: the measure of an envelope, and the search for a nonce.
//! Spec: 5/WAKU0, "PoW Requirement"; EIP-627.
//!
//! The hash is Keccak-256 of the RLP of `[expiry, ttl, topic, data]` (the *short* RLP) followed by the nonce as eight
//! big-endian bytes. The measure is `2^zeros / size / ttl`, where `size` is the length of the short RLP as in status-go
//! and go-ethereum since 1.9 (EIP-627 says the full RLP, Nimbus 20 + data bytes), `ttl` counts seconds, and the
//! divisions are made in this order, so that the last bit of the double agrees with status-go's.

use std::{cmp::Ordering, fmt};

use alloy_rlp::{Encodable, Header};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    envelope::{Envelope, EnvelopeError},
    keccak::{self, Attempts, Input, Lanes, Prefix},
    topic::Topic,
};

/// Bits of a Keccak-256 hash: no search can ask for more zeros.
const HASH_BITS: u32 = 256;

/// Bytes that status-go's miner and Nimbus count for the fields beside the data, in bytes.
/// Source: status-go `waku/common/envelope.go`, `EnvelopeHeaderLength`.
pub const HEADER_LEN: usize = 20;

/// An amount of proof of work: finite and not negative by construction, so it can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pow(f64);

/// A number that is no amount of work.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no amount of proof of work: it has to be finite and not negative")]
pub struct PowError(f64);

impl Pow {
    /// No work at all, which every envelope has.
    pub const ZERO: Self = Self(0.0);

    /// Takes a number that is finite and not negative.
    ///
    /// # Errors
    /// [`PowError`] for NaN, an infinity, or a number below zero.
    pub const fn new(value: f64) -> Result<Self, PowError> {
        if !value.is_finite() || value < 0.0 {
            return Err(PowError(value));
        }
        Ok(Self(value + 0.0)) // Adding turns -0.0 into 0.0, which would otherwise be ordered below it.
    }

    /// `2^zero_bits / size / ttl`. With a TTL or a size of 0 there is nothing to divide by, and the amount is zero
    /// (status-go has +Inf there, which lets such envelopes pass every floor).
    #[must_use]
    pub fn of(zero_bits: u32, size: usize, ttl_secs: u64) -> Self {
        if ttl_secs == 0 || size == 0 {
            return Self::ZERO;
        }
        let zero_bits = i32::try_from(zero_bits.min(HASH_BITS)).unwrap_or(0);
        Self(2f64.powi(zero_bits) / size as f64 / ttl_secs as f64)
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl Eq for Pow {}

impl PartialOrd for Pow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pow {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Pow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fewest leading zero bits, at least one, that give `target` for an envelope of this size and TTL: the smallest
/// whole number not below `log2(target * size * ttl)`, at most 256. For both status-go and Nimbus to accept the result,
/// `size` is the larger of 20 + data bytes and the length of the short RLP: see [`Unsealed::required_bits`].
#[must_use]
pub fn required_bits(target: Pow, size: usize, ttl_secs: u32) -> u32 {
    let exact = (target.0 * size as f64 * f64::from(ttl_secs)).log2().ceil();
    let mut bits = (exact.clamp(1.0, f64::from(HASH_BITS))) as u32;
    // The product is rounded, so the logarithm may land on the wrong side of a whole number.
    while bits < HASH_BITS && Pow::of(bits, size, u64::from(ttl_secs)) < target && ttl_secs > 0 {
        bits += 1;
    }
    bits
}

/// An envelope without its nonce. Keeps the hash state after the short RLP, so that each nonce costs the blocks that
/// hold it and no more, and tries as many nonces at once as the processor has lanes.
#[derive(Clone)]
pub struct Unsealed {
    expiry: u32,
    ttl: u32,
    topic: Topic,
    data: Bytes,
    /// The short RLP without its list header.
    fields: Bytes,
    prefix: Prefix,
}

impl Unsealed {
    /// Takes everything but the nonce.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the TTL is longer than the time from 1970 to the expiry: there is no time of sending.
    pub fn new(expiry: u32, ttl: u32, topic: Topic, data: Bytes) -> Result<Self, EnvelopeError> {
        if ttl > expiry {
            return Err(EnvelopeError::TtlOverExpiry { ttl, expiry });
        }
        let mut fields = BytesMut::with_capacity(data.len() + HEADER_LEN);
        expiry.encode(&mut fields);
        ttl.encode(&mut fields);
        topic.0.encode(&mut fields);
        data.as_ref().encode(&mut fields);
        let fields = fields.freeze();
        Ok(Self { expiry, ttl, topic, data, prefix: short_rlp_prefix(&fields), fields })
    }

    /// Length of the short RLP in bytes: the size that receivers divide by.
    #[must_use]
    pub fn short_rlp_len(&self) -> usize {
        Header { list: true, payload_length: self.fields.len() }.length_with_payload()
    }

    /// Bits to search for so that both status-go and Nimbus see at least `target`.
    #[must_use]
    pub fn required_bits(&self, target: Pow) -> u32 {
        required_bits(target, self.short_rlp_len().max(HEADER_LEN + self.data.len()), self.ttl)
    }

    /// Leading zero bits of the proof-of-work hash with this nonce.
    #[must_use]
    pub fn zero_bits(&self, nonce: u64) -> u32 {
        self.prefix.zero_bits(nonce)
    }

    /// The nonce `base | counter` of the lowest counter in `from..from + count` that gives at least `bits` zero bits.
    /// Callers choose the count such that they return in time to look at a deadline.
    #[must_use]
    pub fn search(&self, base: u64, from: u64, count: u64, bits: u32) -> Option<u64> {
        self.search_in(Lanes::detected(), base, from, count, bits)
    }

    /// The same search in these lanes; what it finds does not depend on them.
    #[must_use]
    pub fn search_in(&self, lanes: Lanes, base: u64, from: u64, count: u64, bits: u32) -> Option<u64> {
        self.prefix.search(lanes, &Attempts { base, counters: from..from.saturating_add(count), bits })
    }

    /// The envelope with this nonce, whatever work it has.
    #[must_use]
    pub fn seal(self, nonce: u64) -> Envelope {
        let header = Header { list: true, payload_length: self.fields.len() + nonce.length() };
        let mut raw = BytesMut::with_capacity(header.length_with_payload());
        header.encode(&mut raw);
        let fields_at = raw.len();
        raw.put_slice(&self.fields);
        let nonce_at = raw.len();
        nonce.encode(&mut raw);
        Envelope::from_parts(raw.freeze(), fields_at..nonce_at, self.expiry, self.ttl, self.topic, self.data, nonce)
    }
}

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealed")
            .field("expiry", &self.expiry)
            .field("ttl", &self.ttl)
            .field("topic", &self.topic)
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// The hash state after the list header and the fields of the short RLP.
fn short_rlp_prefix(fields: &[u8]) -> Prefix {
    let (header, len) = list_header(fields.len());
    Prefix::new(&header[..len], fields)
}

/// What is hashed for the measure, by the fields of the short RLP.
pub(crate) fn hashed(fields: &[u8], nonce: u64) -> Input<'_> {
    let (header, len) = list_header(fields.len());
    Input::new(&header[..len], fields, Some(nonce))
}

/// The header of a list of so many bytes, and its length.
fn list_header(payload_length: usize) -> ([u8; keccak::MAX_HEAD], usize) {
    let mut header = [0; keccak::MAX_HEAD];
    let mut rest = header.as_mut_slice();
    Header { list: true, payload_length }.encode(&mut rest);
    let len = keccak::MAX_HEAD - rest.len();
    (header, len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha3::{Digest, Keccak256};

    use super::*;

    fn pow(value: f64) -> Pow {
        Pow::new(value).unwrap()
    }

    fn unsealed(expiry: u32, ttl: u32, topic: &str, data: &[u8]) -> Unsealed {
        Unsealed::new(expiry, ttl, topic.parse().unwrap(), Bytes::copy_from_slice(data)).unwrap()
    }

    /// The hash behind the measure, for comparison with printed ones.
    fn hash(unsealed: &Unsealed, nonce: u64) -> String {
        hex::encode(sha3_of(&unsealed.fields, nonce))
    }

    fn sha3_of(fields: &[u8], nonce: u64) -> [u8; 32] {
        let (header, len) = list_header(fields.len());
        Keccak256::digest([&header[..len], fields, &nonce.to_be_bytes()].concat()).into()
    }

    #[test]
    fn printed_by_status_go() {
        let short = unsealed(0, 0, "00000000", &[0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(short.short_rlp_len(), 13);
        // The recorded case has a TTL of 1 with expiry 0, which no envelope of ours can have; so its bytes are hashed.
        let fields = hex::decode("8001840000000084deadbeef").unwrap();
        for (nonce, printed, measure) in [
            (100_000u64, "a788e02a95bfc673709e97ca81e39ca903bad5638d3388964c51eb64952172d6", 0.07692307692307693),
            (276, "00e2374c6353c243e4073e209a7f2acb2506522af318b3b78cf9a88310a2a11c", 19.692307692307693),
        ] {
            assert_eq!(hex::encode(sha3_of(&fields, nonce)), printed);
            assert_eq!(hex::encode(keccak::digest(&hashed(&fields, nonce)).to_bytes()), printed);
            assert_eq!(Pow::of(short_rlp_prefix(&fields).zero_bits(nonce), 13, 1), pow(measure));
        }
        // By the size that Nimbus divides by.
        assert_eq!(Pow::of(8, HEADER_LEN + 4, 1), pow(10.666666666666666));
    }

    #[test]
    fn printed_by_nimbus() {
        let long = unsealed(100_000, 30, "00000000", &[9; 256]);
        assert_eq!(long.short_rlp_len(), 272);
        for (nonce, printed, measure) in [
            (1_010_101, "a13b48480aeb3123cd2358516e2e8ee9fcb0f4cb37e68cd09fdf7f9a7e14767c", 0.00012254901960784314),
            (1_010_102, "6370ae4dd7885000950928aac00319151846eed20cc37c88710008e7f1c94edc", 0.00024509803921568627),
            (1_010_103, "341aeb8a3c29a44de3cf5e5bb0ae09c155e38e1cb3e356f062815a205b361df4", 0.0004901960784313725),
        ] {
            assert_eq!(hash(&long, nonce), printed);
            assert_eq!(long.clone().seal(nonce).pow(), pow(measure));
        }
    }

    #[test]
    fn printed_searches() {
        let e = unsealed(1_582_200_000, 15, "f8946aac", &[1, 2, 3, 4]);
        assert_eq!(hash(&e, 42), "bc01d9b497674ce2a187ead61c0e378dcf51c56f6a2aede761c9d4d51cd58d7e");
        assert_eq!(hash(&e, 265), "00d52c0395aff1de5345c0c4634c3bd27b032afdc92d35cde6962a263f27b13b");
        assert_eq!(hash(&e, 1143), "0024de05b9833d9f34a2d09ac56c9356903b93f159fc7907a80ce9d676ab7e4f");
        assert_eq!(e.search(0, 0, 10_000, 8), Some(265));
        assert_eq!(e.search(0, 0, 10_000, 10), Some(1143));
        assert_eq!(e.search(0, 0, 1143, 10), None);
        assert_eq!(e.search(0, 1143, 1, 10), Some(1143));
        assert_eq!((e.zero_bits(42), e.zero_bits(265), e.zero_bits(1143)), (0, 8, 10));
        let measure = |nonce| e.clone().seal(nonce).pow().value();
        assert_eq!(
            (measure(42), measure(265), measure(1143)),
            (0.00392156862745098, 1.003921568627451, 4.015686274509804)
        );
    }

    #[test]
    fn a_search_covers_its_base_and_ends_at_the_last_number() {
        let e = unsealed(1_582_200_000, 15, "f8946aac", &[1, 2, 3, 4]);
        let base = 7 << 56;
        let nonce = e.search(base, 0, 100_000, 8).unwrap();
        assert_eq!(nonce >> 56, 7);
        assert!(e.zero_bits(nonce) >= 8);
        assert_eq!(e.search(0, u64::MAX, 5, HASH_BITS), None);
    }

    #[test]
    fn numbers_that_are_no_work_are_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE] {
            assert!(Pow::new(value).is_err(), "{value}");
        }
        assert_eq!(pow(-0.0).cmp(&Pow::ZERO), Ordering::Equal);
        assert!(pow(0.5) < pow(1.0) && Pow::ZERO < pow(f64::MIN_POSITIVE));
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!(Pow::of(256, 100, 0), Pow::ZERO);
        assert_eq!(Pow::of(256, 0, 100), Pow::ZERO);
        assert_eq!(Pow::of(256, 1, 1), pow(2f64.powi(256)));
        assert_eq!(Pow::of(u32::MAX, 1, 1), pow(2f64.powi(256)));
    }

    #[test]
    fn bits_are_at_least_one_and_at_most_all() {
        assert_eq!(required_bits(Pow::ZERO, 100, 10), 1);
        assert_eq!(required_bits(pow(0.002), 300, 0), 1);
        assert_eq!(required_bits(pow(1.0), 64, 16), 10);
        assert_eq!(required_bits(pow(1.0), 65, 16), 11);
        assert_eq!(required_bits(pow(f64::MAX), 65, 16), HASH_BITS);
        // The larger size of the two counts: 20 + 4 here, not the 17 bytes of the short RLP.
        let e = unsealed(1_582_200_000, 16, "f8946aac", &[1, 2, 3, 4]);
        assert_eq!(e.required_bits(pow(1.0)), required_bits(pow(1.0), 24, 16));
        let long = unsealed(1_582_200_000, 256, "f8946aac", &[7; 65_536]);
        assert_eq!(long.short_rlp_len(), HEADER_LEN + 65_536 + 1);
    }

    proptest! {
        #[test]
        fn required_bits_reach_the_target_and_one_less_does_not(
            target in 1e-9..1e6f64, size in 1..2_000_000usize, ttl in 1..u32::MAX
        ) {
            let target = pow(target);
            let bits = required_bits(target, size, ttl);
            let reaches = |bits| Pow::of(bits, size, u64::from(ttl)) >= target;
            prop_assert!(reaches(bits));
            prop_assert!(bits == 1 || !reaches(bits - 1));
        }

        #[test]
        fn what_is_sealed_has_the_work_that_was_found(data: Vec<u8>, ttl in 1..1_000u32, nonce: u64) {
            let unsealed = Unsealed::new(1_600_000_000, ttl, Topic(*b"abcd"), data.into()).unwrap();
            let (bits, size) = (unsealed.zero_bits(nonce), unsealed.short_rlp_len());
            let envelope = unsealed.seal(nonce);
            prop_assert_eq!(envelope.pow(), Pow::of(bits, size, u64::from(ttl)));
            prop_assert_eq!(envelope.short_rlp_len(), size);
            prop_assert_eq!(envelope.nonce(), nonce);
        }
    }
}
