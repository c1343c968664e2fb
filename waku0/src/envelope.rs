//! Envelopes: the value, its RLP and its hash.  Spec: 5/WAKU0, "Messages"; EIP-627.
//!
//! On the wire an envelope is the list `[expiry, ttl, topic, data, nonce]`: minimal integers, a topic of exactly four
//! bytes, five items. Decoding is as strict as status-go's and go-ethereum's, on purpose: a peer of theirs loses a whole
//! packet to one item that it cannot read, so what they refuse must not be relayed; and a second spelling of the same
//! fields would be a second hash for the same work.
//!
//! Limit: the packet that brought it. Time, size, work and interest are judged by [`crate::admit`].

use std::{fmt, hash, ops::Range, sync::OnceLock};

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};
use sha3::{Digest, Keccak256};

use crate::{
    keccak::{self, Input, Lanes},
    pow::{self, Pow, Unsealed},
    topic::{TOPIC_LEN, Topic},
};

/// Keccak-256 of an envelope's RLP *as received*, never of a re-encoding. Names the envelope wherever it goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvelopeHash([u8; 32]);

impl EnvelopeHash {
    /// The hash of one envelope's bytes.
    #[must_use]
    pub fn of(raw: &[u8]) -> Self {
        Self(Keccak256::digest(raw).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for EnvelopeHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for EnvelopeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for EnvelopeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One envelope: immutable and valid in itself. The TTL is never longer than the expiry, so [`Envelope::sent`] exists.
/// Two envelopes are equal when their hashes are.
#[derive(Clone)]
pub struct Envelope {
    raw: Bytes,
    /// Where in `raw` the fields of the short RLP stand: everything between the list header and the nonce.
    fields: Range<usize>,
    expiry: u32,
    ttl: u32,
    topic: Topic,
    data: Bytes,
    nonce: u64,
    hash: EnvelopeHash,
    /// Computed when first asked for: a duplicate is recognised by its hash and never needs it.
    zero_bits: OnceLock<u32>,
}

/// What an envelope is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// When it dies: unix seconds.
    pub expiry: u32,
    /// How long it was meant to live, in seconds.
    pub ttl: u32,
    /// What it is about.
    pub topic: Topic,
    /// The payload, as a rule encrypted.
    pub data: Bytes,
    /// The number that its sender searched for.
    pub nonce: u64,
}

impl Fields {
    /// Of the list that they are on the wire.
    fn header(&self) -> Header {
        let Self { expiry, ttl, topic, data, nonce } = self;
        let others = expiry.length() + ttl.length() + topic.0.length() + nonce.length();
        Header { list: true, payload_length: others + data.as_ref().length() }
    }
}

/// Fields that make no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It would have been sent before 1970. Deployed peers wrap around here and then see the far future.
    #[error("a TTL of {ttl} s is longer than the time from 1970 to the expiry {expiry}")]
    TtlOverExpiry {
        /// Seconds to live.
        ttl: u32,
        /// Unix seconds.
        expiry: u32,
    },
}

/// Bytes that are no envelope. Costs the sender a mark; the other envelopes of its packet count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not an RLP list, or one that ends too early.
    #[error("not an RLP list: {0}")]
    List(alloy_rlp::Error),
    /// Bytes after the list.
    #[error("{0} bytes after the envelope")]
    TrailingBytes(usize),
    /// More than five items.
    #[error("more than five items")]
    ExtraItems,
    /// One of the five items is missing or cannot be read.
    #[error("{field}: {cause}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        cause: alloy_rlp::Error,
    },
    /// All items can be read, and contradict each other.
    #[error(transparent)]
    Contradiction(#[from] EnvelopeError),
}

impl Envelope {
    /// Reads exactly one envelope, without copying it. A TTL of 0 is legal here, because packets between trusted peers
    /// may carry it; [`crate::admit`] refuses it.
    ///
    /// # Errors
    /// [`DecodeError`] says which part could not be read.
    pub fn decode(raw: Bytes) -> Result<Self, DecodeError> {
        Self::read(raw).map(Self::named)
    }

    /// Reads many, as [`Self::decode`] reads one, and hashes them side by side.
    #[must_use]
    pub fn decode_all(lanes: Lanes, raws: impl IntoIterator<Item = Bytes>) -> Vec<Result<Self, DecodeError>> {
        let mut read: Vec<_> = raws.into_iter().map(Self::read).collect();
        name_all(lanes, &mut read);
        read
    }

    /// Makes many of the fields that were kept of them, each under the hash that it was kept under, which is not computed again. They share one
    /// buffer, which lives as long as any of them.
    ///
    /// # Errors
    /// As [`Self::new`], each alone.
    #[must_use]
    pub fn restore_all(all: &[(Fields, EnvelopeHash)]) -> Vec<Result<Self, EnvelopeError>> {
        let len = all.iter().map(|(fields, _)| fields.header().length_with_payload()).sum();
        let mut buffer = BytesMut::with_capacity(len);
        let named = |(fields, hash): &(Fields, EnvelopeHash)| {
            Self::write(fields, &mut buffer).map(|envelope| Self { hash: *hash, ..envelope })
        };
        all.iter().map(named).collect()
    }

    /// Computes the proof of work of each side by side, so that [`Self::pow`] finds it done.
    pub fn measure_all(lanes: Lanes, envelopes: &[&Self]) {
        let inputs: Vec<_> = envelopes.iter().map(|envelope| envelope.hashed_for_pow()).collect();
        for (envelope, hash) in envelopes.iter().zip(keccak::digests(lanes, &inputs)) {
            envelope.zero_bits.get_or_init(|| hash.zero_bits());
        }
    }

    /// All but the name, as below, at the end of a buffer that is empty.
    fn write(fields: &Fields, buffer: &mut BytesMut) -> Result<Self, EnvelopeError> {
        let Fields { expiry, ttl, topic, nonce, .. } = *fields;
        if ttl > expiry {
            return Err(EnvelopeError::TtlOverExpiry { ttl, expiry });
        }
        fields.header().encode(buffer);
        let fields_at = buffer.len();
        expiry.encode(buffer);
        ttl.encode(buffer);
        topic.0.encode(buffer);
        fields.data.as_ref().encode(buffer);
        let nonce_at = buffer.len();
        nonce.encode(buffer);
        let raw = buffer.split().freeze();
        let data = raw.slice(nonce_at - fields.data.len()..nonce_at);
        Ok(Self::unnamed(raw, fields_at..nonce_at, expiry, ttl, topic, data, nonce))
    }

    /// All but the name, which is left empty: for those above.
    fn read(raw: Bytes) -> Result<Self, DecodeError> {
        let mut after = raw.as_ref();
        let items = Header::decode_bytes(&mut after, true).map_err(DecodeError::List)?;
        if !after.is_empty() {
            return Err(DecodeError::TrailingBytes(after.len()));
        }
        let fields_at = raw.len() - items.len();

        let mut items = items;
        let expiry = u32::decode(&mut items).map_err(in_field("expiry"))?;
        let ttl = u32::decode(&mut items).map_err(in_field("ttl"))?;
        let topic = <[u8; TOPIC_LEN]>::decode(&mut items).map_err(in_field("topic")).map(Topic)?;
        let data = Header::decode_bytes(&mut items, false).map_err(in_field("data"))?;
        let nonce_at = raw.len() - items.len();
        let nonce = u64::decode(&mut items).map_err(in_field("nonce"))?;
        if !items.is_empty() {
            return Err(DecodeError::ExtraItems);
        }
        if ttl > expiry {
            return Err(EnvelopeError::TtlOverExpiry { ttl, expiry }.into());
        }
        let data = raw.slice_ref(data);
        Ok(Self::unnamed(raw, fields_at..nonce_at, expiry, ttl, topic, data, nonce))
    }

    /// Makes an envelope of its fields.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the TTL is longer than the time from 1970 to the expiry.
    pub fn new(expiry: u32, ttl: u32, topic: Topic, data: Bytes, nonce: u64) -> Result<Self, EnvelopeError> {
        Ok(Unsealed::new(expiry, ttl, topic, data)?.seal(nonce))
    }

    /// Joins what was read or written: the caller has checked that the parts belong together.
    pub(crate) fn from_parts(
        raw: Bytes,
        fields: Range<usize>,
        expiry: u32,
        ttl: u32,
        topic: Topic,
        data: Bytes,
        nonce: u64,
    ) -> Self {
        Self::unnamed(raw, fields, expiry, ttl, topic, data, nonce).named()
    }

    fn unnamed(raw: Bytes, fields: Range<usize>, expiry: u32, ttl: u32, topic: Topic, data: Bytes, nonce: u64) -> Self {
        let hash = EnvelopeHash([0; 32]);
        Self { raw, fields, expiry, ttl, topic, data, nonce, hash, zero_bits: OnceLock::new() }
    }

    fn named(self) -> Self {
        Self { hash: EnvelopeHash::of(&self.raw), ..self }
    }

    /// When it dies: unix seconds. It is still alive in the second that bears this number.
    #[must_use]
    pub fn expiry(&self) -> u32 {
        self.expiry
    }

    /// How long it was meant to live, in seconds.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// When it was sent, by its sender's clock: unix seconds.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.expiry - self.ttl // Never below zero, by construction.
    }

    /// What it is about.
    #[must_use]
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// The payload, as a rule encrypted.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The number that its sender searched for.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The RLP as received, or as first written.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its name.
    #[must_use]
    pub fn hash(&self) -> EnvelopeHash {
        self.hash
    }

    /// Its proof of work. Hashes once, the first time.
    #[must_use]
    pub fn pow(&self) -> Pow {
        self.pow_over(u64::from(self.ttl))
    }

    /// Its proof of work if it lived for so many seconds: envelopes from the near future are judged by the time they
    /// are ahead as well.
    pub(crate) fn pow_over(&self, ttl_secs: u64) -> Pow {
        let zero_bits = *self.zero_bits.get_or_init(|| keccak::digest(&self.hashed_for_pow()).zero_bits());
        Pow::of(zero_bits, self.short_rlp_len(), ttl_secs)
    }

    fn hashed_for_pow(&self) -> Input<'_> {
        pow::hashed(&self.raw[self.fields.clone()], self.nonce)
    }

    /// Length in bytes of its RLP without the nonce.
    #[must_use]
    pub fn short_rlp_len(&self) -> usize {
        Header { list: true, payload_length: self.fields.len() }.length_with_payload()
    }

    /// Its size as limits count it, in bytes: 20 and the data.
    #[must_use]
    pub fn size(&self) -> usize {
        pow::HEADER_LEN + self.data.len()
    }

    /// The same envelope in bytes of its own, so that keeping it does not keep the packet that brought it.
    pub(crate) fn detached(self) -> Self {
        let data_at = self.fields.end - self.data.len();
        let raw = Bytes::copy_from_slice(&self.raw);
        let data = raw.slice(data_at..self.fields.end);
        Self { raw, data, ..self }
    }
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Envelope {}

impl hash::Hash for Envelope {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("hash", &self.hash)
            .field("expiry", &self.expiry)
            .field("ttl", &self.ttl)
            .field("topic", &self.topic)
            .field("data_len", &self.data.len())
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

/// Gives those that are envelopes their names.
fn name_all<E>(lanes: Lanes, envelopes: &mut [Result<Envelope, E>]) {
    let inputs: Vec<_> = envelopes.iter().flatten().map(|envelope| Input::of(&envelope.raw)).collect();
    let hashes = keccak::digests(lanes, &inputs);
    for (envelope, hash) in envelopes.iter_mut().flatten().zip(hashes) {
        envelope.hash = EnvelopeHash(hash.to_bytes());
    }
}

fn in_field(field: &'static str) -> impl Fn(alloy_rlp::Error) -> DecodeError {
    move |cause| DecodeError::Field { field, cause }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn decode(hex_text: &str) -> Result<Envelope, DecodeError> {
        Envelope::decode(hex::decode(hex_text).unwrap().into())
    }

    proptest! {
        #[test]
        fn what_was_kept_is_made_as_it_was(
            all in proptest::collection::vec(
                (any::<u32>(), any::<u32>(), any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..700), any::<u64>()),
                0..20,
            ),
        ) {
            let fields = || all.iter().map(|(expiry, ttl, topic, data, nonce)| Fields {
                expiry: *expiry, ttl: *ttl, topic: Topic(*topic), data: data.clone().into(), nonce: *nonce,
            });
            let made: Vec<_> = fields().map(|f| Envelope::new(f.expiry, f.ttl, f.topic, f.data, f.nonce)).collect();
            let kept: Vec<_> = fields().zip(&made).filter_map(|(f, made)| Some((f, made.as_ref().ok()?.hash()))).collect();
            for (restored, made) in Envelope::restore_all(&kept).into_iter().zip(made.into_iter().flatten()) {
                let restored = restored.unwrap();
                prop_assert_eq!((restored.raw(), restored.hash(), restored.pow()), (made.raw(), made.hash(), made.pow()));
            }
        }
    }

    #[test]
    fn printed_vector() {
        let e = decode("d1845e4e74c00f84f8946aac84010203042a").unwrap();
        assert_eq!((e.expiry(), e.ttl(), e.sent()), (1_582_200_000, 15, 1_582_199_985));
        assert_eq!(
            (e.topic().to_string().as_str(), e.data().as_ref(), e.nonce()),
            ("0xf8946aac", &[1, 2, 3, 4][..], 42)
        );
        assert_eq!(e.hash().to_string(), "0xadf034d21f3ec913525dac2571906f6f19fb7da4773a868fe0d40d9527f59b5c");
        assert_eq!((e.short_rlp_len(), e.size()), (17, 24));
        assert_eq!(e.pow().value(), 0.00392156862745098);
        assert_eq!(Envelope::new(e.expiry(), e.ttl(), e.topic(), e.data().clone(), e.nonce()).unwrap(), e);
    }

    #[test]
    fn every_envelope_recorded_from_status_go() {
        let recorded: Value = serde_json::from_str(include_str!("../../fixtures/envelopes/envelopes.json")).unwrap();
        let cases = recorded.as_array().unwrap();
        assert_eq!(cases.len(), 50);
        for case in cases {
            let text = |key: &str| case[key].as_str().unwrap();
            let number = |key: &str| case[key].as_u64().unwrap();
            let e = decode(text("rlp")).unwrap();
            assert_eq!(hex::encode(e.hash().as_bytes()), text("hash"));
            assert_eq!((u64::from(e.expiry()), u64::from(e.ttl())), (number("expiry"), number("ttl")));
            assert_eq!((hex::encode(e.topic().0), e.nonce().to_string()), (text("topic").into(), text("nonce").into()));
            assert_eq!((e.size() as u64, e.short_rlp_len() as u64), (number("size"), number("pow_size")));
            assert_eq!(format!("{:016x}", e.pow().value().to_bits()), text("pow_bits"));
            let bloom = crate::bloom::Bloom::lossy(e.topic());
            assert_eq!(hex::encode(bloom.as_bytes()), text("bloom"));

            let unsealed = Unsealed::new(e.expiry(), e.ttl(), e.topic(), e.data().clone()).unwrap();
            let pow_hash = hex::decode(text("pow_hash")).unwrap();
            let zeros = pow_hash.iter().map(|byte| byte.leading_zeros()).scan(true, |go_on, zeros| {
                let counted = go_on.then_some(zeros);
                *go_on &= zeros == 8;
                counted
            });
            assert_eq!(unsealed.zero_bits(e.nonce()), zeros.sum::<u32>());
            let sealed = unsealed.seal(e.nonce());
            assert_eq!((sealed.raw(), sealed.pow()), (e.raw(), e.pow()));
        }
    }

    /// The items of the printed envelope, with one of them replaced.
    fn with(replaced: &str, item: &str) -> Result<Envelope, DecodeError> {
        let items = [
            ("expiry", "845e4e74c0"),
            ("ttl", "0f"),
            ("topic", "84f8946aac"),
            ("data", "8401020304"),
            ("nonce", "2a"),
            ("more", ""),
        ];
        let items: String = items.iter().map(|(name, hex)| if *name == replaced { item } else { hex }).collect();
        decode(&format!("{:02x}{items}", 0xc0 + items.len() / 2))
    }

    fn refused_field(result: Result<Envelope, DecodeError>) -> &'static str {
        match result {
            Err(DecodeError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_smallest_damage_is_refused_with_its_cause() {
        assert!(with("", "").is_ok());
        assert!(matches!(decode(""), Err(DecodeError::List(_))));
        assert!(matches!(decode("83616263"), Err(DecodeError::List(_))));
        assert!(matches!(decode("d1845e4e74c0"), Err(DecodeError::List(_))));
        assert_eq!(decode("d1845e4e74c00f84f8946aac84010203042a00"), Err(DecodeError::TrailingBytes(1)));
        assert_eq!(with("more", "01"), Err(DecodeError::ExtraItems));
        assert_eq!(with("expiry", "0e"), Err(EnvelopeError::TtlOverExpiry { ttl: 15, expiry: 14 }.into()));
        for (field, item) in [
            ("expiry", "850100000000"),
            ("ttl", "850100000000"),
            ("topic", "83f8946a"),
            ("topic", "85f8946aacff"),
            ("topic", "c0"),
            ("data", "c101"),
            ("nonce", "89010000000000000000"),
            ("nonce", ""),
        ] {
            assert_eq!(refused_field(with(field, item)), field, "{item}");
        }
        assert_eq!(refused_field(decode("c0")), "expiry");
    }

    /// A second spelling would be a second hash for the same work, and status-go loses the packet that has it.
    #[test]
    fn fields_have_one_spelling() {
        for (field, item) in [
            ("expiry", "85005e4e74c0"),
            ("ttl", "810f"),
            ("ttl", "82000f"),
            ("nonce", "812a"),
            ("nonce", "82002a"),
            ("nonce", "00"),
            ("data", "b80401020304"),
            ("data", "8101"),
            ("topic", "b804f8946aac"),
        ] {
            assert_eq!(refused_field(with(field, item)), field, "{item}");
        }
    }

    #[test]
    fn a_ttl_of_zero_is_read_and_one_beyond_the_expiry_is_not_made() {
        let zero = Envelope::new(5, 0, Topic([0; 4]), Bytes::new(), 0).unwrap();
        assert_eq!(Envelope::decode(zero.raw().clone()).unwrap(), zero);
        assert_eq!(zero.pow(), Pow::ZERO);
        let error = Envelope::new(5, 6, Topic([0; 4]), Bytes::new(), 0).unwrap_err();
        assert_eq!(error, EnvelopeError::TtlOverExpiry { ttl: 6, expiry: 5 });
        assert_eq!(Envelope::new(5, 5, Topic([0; 4]), Bytes::new(), 0).unwrap().sent(), 0);
    }

    #[test]
    fn decoding_copies_nothing_and_detaching_everything() {
        let made = Envelope::new(9, 1, Topic([1; 4]), Bytes::from_static(&[7; 100]), 3).unwrap();
        let body = made.raw().clone();
        let slice = Envelope::decode(body.clone()).unwrap();
        assert!(body.as_ptr_range().contains(&slice.data().as_ptr()));
        let own = slice.clone().detached();
        assert!(!body.as_ptr_range().contains(&own.data().as_ptr()));
        assert_eq!((own.raw(), own.data(), own.pow()), (slice.raw(), slice.data(), slice.pow()));
        let empty = Envelope::new(9, 1, Topic([1; 4]), Bytes::new(), 3).unwrap().detached();
        assert!(empty.data().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(expiry: u32, ttl: u32, topic: [u8; 4], data: Vec<u8>, nonce: u64) {
            let made = Envelope::new(expiry.max(ttl), ttl, Topic(topic), data.clone().into(), nonce).unwrap();
            let read = Envelope::decode(made.raw().clone()).unwrap();
            prop_assert_eq!((read.expiry(), read.ttl(), read.topic()), (expiry.max(ttl), ttl, Topic(topic)));
            prop_assert_eq!((read.data().as_ref(), read.nonce(), read.hash()), (&data[..], nonce, made.hash()));
            prop_assert_eq!(read.pow(), made.pow());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Envelope::decode(bytes.into());
        }

        #[test]
        fn damage_is_refused_or_is_another_envelope(data: Vec<u8>, nonce: u64, at: prop::sample::Index, byte: u8) {
            let made = Envelope::new(1_600_000_000, 15, Topic(*b"abcd"), data.into(), nonce).unwrap();
            let mut raw = made.raw().to_vec();
            let at = at.index(raw.len());
            let same = raw[at] == byte;
            raw[at] = byte;
            if let Ok(read) = Envelope::decode(raw.into()) {
                prop_assert_eq!(read.hash() == made.hash(), same);
                let again = Envelope::new(read.expiry(), read.ttl(), read.topic(), read.data().clone(), read.nonce());
                prop_assert_eq!(again.unwrap().raw().clone(), read.raw().clone());
            }
        }
    }
}
