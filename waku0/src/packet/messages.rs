//! Messages (1): a list of envelopes, even for one.  Spec: 5/WAKU0, "Messages".
//!
//! Reading is lenient by item: what is no envelope costs itself, and the others count. Only a list that is broken as a
//! list is lost from there on. Reading copies nothing: each envelope is a slice of the body.
//!
//! Limit: [`BATCH`] envelopes are read ahead of what is done with them.

use std::{iter, sync::Arc};

use alloy_rlp::Header;
use bytes::{BufMut, Bytes, BytesMut};

use super::MAX_SENT_BODY;
use crate::{
    accounting::Volume,
    envelope::{DecodeError, Envelope},
    keccak::Lanes,
};

/// Items read, and hashed side by side, before anything is done with the first. Eight rounds of the widest lanes, so
/// that few stay empty; and little enough work to lose when the first of them ends the session.
pub const BATCH: usize = 64;

/// The envelopes of one body, in its order.
#[derive(Debug, Clone)]
pub struct Envelopes {
    /// The items not yet read.
    rest: Bytes,
}

/// A body, or what is left of it, that is not RLP. Ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not a list, or one whose items overrun it.
    #[error("not readable: {0}")]
    List(alloy_rlp::Error),
    /// Bytes after the list.
    #[error("{0} bytes after the list")]
    TrailingBytes(usize),
}

/// Reads the body of a Messages packet; its envelopes are read one by one, as they are asked for.
///
/// # Errors
/// [`BodyError`] when the body is not exactly one list.
pub fn decode(body: &Bytes) -> Result<Envelopes, BodyError> {
    let mut after = body.as_ref();
    let items = Header::decode_bytes(&mut after, true).map_err(BodyError::List)?;
    if !after.is_empty() {
        return Err(BodyError::TrailingBytes(after.len()));
    }
    Ok(Envelopes { rest: body.slice_ref(items) })
}

impl Envelopes {
    /// The next items, [`BATCH`] at most, as reading them one by one gives them, but hashed side by side. An error is the
    /// point from which the list cannot be read, and the last.
    pub fn next_batch(&mut self, lanes: Lanes) -> Option<Result<Vec<Result<Envelope, DecodeError>>, BodyError>> {
        let batch = Envelope::decode_all(lanes, iter::from_fn(|| self.next_raw()?.ok()).take(BATCH));
        if !batch.is_empty() {
            return Some(Ok(batch));
        }
        let broken = self.next_raw()?.err()?;
        Some(Err(self.end(broken)))
    }

    /// How many items there are, and their bytes together, as far as they can be read. Nothing is hashed.
    pub(crate) fn volume(mut self) -> Volume {
        let mut volume = Volume::default();
        while let Some(Ok(raw)) = self.next_raw() {
            volume += Volume::of(1, raw.len());
        }
        volume
    }

    /// The next item's bytes. An error stays where it is.
    fn next_raw(&mut self) -> Option<alloy_rlp::Result<Bytes>> {
        if self.rest.is_empty() {
            return None;
        }
        Some(item_len(&self.rest).map(|len| self.rest.split_to(len)))
    }

    fn end(&mut self, broken: alloy_rlp::Error) -> BodyError {
        self.rest.clear();
        BodyError::List(broken)
    }
}

impl Iterator for Envelopes {
    /// An envelope, an item that is none, or the point from which the list cannot be read, which is the last.
    type Item = Result<Result<Envelope, DecodeError>, BodyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = self.next_raw()?;
        Some(raw.map(Envelope::decode).map_err(|broken| self.end(broken)))
    }
}

/// Length of the first item with its header, in bytes.
fn item_len(items: &[u8]) -> alloy_rlp::Result<usize> {
    let mut content = items;
    let header = Header::decode(&mut content)?;
    Ok(items.len() - content.len() + header.payload_length)
}

/// Whether an envelope fits a packet that we may send.
#[must_use]
pub fn fits_a_packet(envelope: &Envelope) -> bool {
    body_len(envelope.raw().len()) <= MAX_SENT_BODY
}

/// The bodies that carry these envelopes in their order, each as long as it may be. An envelope that fits no packet is
/// left out.
#[must_use]
pub fn encode(envelopes: &[Arc<Envelope>]) -> Vec<Bytes> {
    bundles(envelopes).into_iter().map(|(_, body)| body).collect()
}

/// The same, each with what it carries.
pub(crate) fn bundles(envelopes: &[Arc<Envelope>]) -> Vec<(&[Arc<Envelope>], Bytes)> {
    let mut bundles = Vec::new();
    let mut rest = envelopes;
    while !rest.is_empty() {
        let (count, items_len) = take_while_fitting(rest);
        if count == 0 {
            rest = &rest[1..];
            continue;
        }
        let (carried, others) = rest.split_at(count);
        bundles.push((carried, encode_one(carried, items_len)));
        rest = others;
    }
    bundles
}

/// How many envelopes from the front fit one body, and how long they are together.
pub(crate) fn take_while_fitting(envelopes: &[Arc<Envelope>]) -> (usize, usize) {
    let mut items_len = 0;
    for (count, envelope) in envelopes.iter().enumerate() {
        let longer = items_len + envelope.raw().len();
        if body_len(longer) > MAX_SENT_BODY {
            return (count, items_len);
        }
        items_len = longer;
    }
    (envelopes.len(), items_len)
}

/// Length of a body by that of its items, in bytes.
pub(crate) fn body_len(items_len: usize) -> usize {
    Header { list: true, payload_length: items_len }.length_with_payload()
}

fn encode_one(envelopes: &[Arc<Envelope>], items_len: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(body_len(items_len));
    Header { list: true, payload_length: items_len }.encode(&mut body);
    envelopes.iter().for_each(|envelope| body.put_slice(envelope.raw()));
    body.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::Topic;

    /// The printed envelope of the specification's packets.
    const E: &str = "d1845e4e74c00f84f8946aac84010203042a";

    fn envelope(data: usize, nonce: u64) -> Arc<Envelope> {
        Arc::new(Envelope::new(1_582_200_000, 15, Topic(*b"abcd"), vec![7; data].into(), nonce).unwrap())
    }

    fn body(hex_text: &str) -> Bytes {
        hex::decode(hex_text).unwrap().into()
    }

    #[test]
    fn printed_packet() {
        let envelope = Envelope::decode(body(E)).unwrap();
        let bodies = encode(&[Arc::new(envelope.clone())]);
        assert_eq!(hex::encode(&bodies[0]), format!("d2{E}"));
        let read: Vec<_> = decode(&bodies[0]).unwrap().collect();
        assert_eq!(read, [Ok(Ok(envelope))]);
    }

    #[test]
    fn an_empty_list_is_legal() {
        assert_eq!(decode(&body("c0")).unwrap().count(), 0);
        assert!(encode(&[]).is_empty());
    }

    #[test]
    fn a_bad_item_costs_itself() {
        let read: Vec<_> = decode(&body(&format!("e8{E}83616263{E}"))).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn what_is_before_a_broken_item_counts() {
        let mut read = decode(&body(&format!("d4{E}84ff"))).unwrap();
        assert!(matches!(read.next(), Some(Ok(Ok(_)))));
        assert!(matches!(read.next(), Some(Err(BodyError::List(_)))));
        assert_eq!(read.next(), None);
    }

    /// What batches give, as if read one by one.
    fn in_batches(body: &Bytes, lanes: Lanes) -> Vec<Result<Result<Envelope, DecodeError>, BodyError>> {
        let mut envelopes = decode(body).unwrap();
        let batches = iter::from_fn(|| envelopes.next_batch(lanes));
        let items = batches.flat_map(|batch| match batch {
            Ok(batch) => {
                assert!((1..=BATCH).contains(&batch.len()));
                batch.into_iter().map(Ok).collect()
            }
            Err(broken) => vec![Err(broken)],
        });
        items.collect()
    }

    #[test]
    fn batches_end_where_the_list_breaks() {
        for lanes in Lanes::available() {
            let broken = in_batches(&body(&format!("d4{E}84ff")), lanes);
            assert!(matches!(broken[..], [Ok(Ok(_)), Err(BodyError::List(_))]));
            assert!(in_batches(&body("c0"), lanes).is_empty());
        }
        let many: Vec<_> = (0..2 * BATCH as u64 + 1).map(|nonce| envelope(1, nonce)).collect();
        assert_eq!(in_batches(&encode(&many)[0], Lanes::detected()).len(), many.len());
    }

    #[test]
    fn a_body_is_one_list() {
        assert!(matches!(decode(&body("")), Err(BodyError::List(_))));
        assert!(matches!(decode(&body("83616263")), Err(BodyError::List(_))));
        assert!(matches!(decode(&body("c2")), Err(BodyError::List(_))));
        assert_eq!(decode(&body("c000")).unwrap_err(), BodyError::TrailingBytes(1));
    }

    #[test]
    fn bodies_are_split_at_the_limit() {
        let many: Vec<_> = (0..13).map(|nonce| envelope(90_000, nonce)).collect();
        let bodies = encode(&many);
        assert_eq!(bodies.len(), 2);
        assert!(bodies.iter().all(|body| body.len() <= MAX_SENT_BODY));
        let read: Vec<_> =
            bodies.iter().flat_map(|body| decode(body).unwrap()).map(|item| item.unwrap().unwrap()).collect();
        assert!(read.iter().eq(many.iter().map(Arc::as_ref)));
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_one_packet_and_a_byte_more_none() {
        let overhead = body_len(envelope(MAX_SENT_BODY - 100, 0).raw().len()) - (MAX_SENT_BODY - 100);
        let largest = envelope(MAX_SENT_BODY - overhead, 0);
        assert_eq!(encode(std::slice::from_ref(&largest))[0].len(), MAX_SENT_BODY);
        assert!(fits_a_packet(&largest));
        let too_large = envelope(MAX_SENT_BODY - overhead + 1, 0);
        assert!(!fits_a_packet(&too_large));
        let small = envelope(1, 1);
        let bodies = encode(&[too_large, small.clone()]);
        assert_eq!(bodies, encode(&[small]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sizes in proptest::collection::vec(0..300usize, 0..20)) {
            let envelopes: Vec<_> = sizes.iter().enumerate().map(|(i, size)| envelope(*size, i as u64)).collect();
            let read: Vec<_> = encode(&envelopes).iter().flat_map(|body| decode(body).unwrap()).collect();
            prop_assert_eq!(read.len(), envelopes.len());
            for (item, envelope) in read.into_iter().zip(&envelopes) {
                let item = item.unwrap().unwrap();
                prop_assert_eq!(item.raw(), envelope.raw());
                prop_assert_eq!(item.hash(), envelope.hash());
            }
        }

        #[test]
        fn batches_are_what_one_by_one_gives(
            sizes in proptest::collection::vec(0..600usize, 1..80), at: prop::sample::Index, byte: u8
        ) {
            let envelopes: Vec<_> = sizes.iter().enumerate().map(|(i, size)| envelope(*size, i as u64)).collect();
            let mut damaged = encode(&envelopes)[0].to_vec();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let body = Bytes::from(damaged);
            let Ok(one_by_one) = decode(&body) else { return Ok(()) };
            let expected: Vec<_> = one_by_one.collect();
            for lanes in Lanes::available() {
                let found = in_batches(&body, lanes);
                prop_assert_eq!(&found, &expected);
                let read: Vec<_> = found.iter().flatten().flatten().collect();
                Envelope::measure_all(lanes, &read);
                prop_assert!(read.iter().zip(expected.iter().flatten().flatten()).all(|(a, b)| a.pow() == b.pow()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let body = Bytes::from(bytes);
            if let Ok(envelopes) = decode(&body) {
                prop_assert!(envelopes.count() <= body.len());
            }
        }

        #[test]
        fn no_damage_makes_it_panic(size in 0..100usize, at: prop::sample::Index, byte: u8) {
            let mut body = encode(&[envelope(size, 5), envelope(size, 6)])[0].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(envelopes) = decode(&body.into()) {
                prop_assert!(envelopes.count() <= 200);
            }
        }
    }
}
