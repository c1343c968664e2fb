//! Batch Ack (11) and Message Response (12): what became of a packet of envelopes.  Spec: 5/WAKU0, "Message Confirmations".
//!
//! A batch is named by the Keccak-256 of the body of its Messages packet. An ack is that hash alone, as a bare string. A
//! response is `[1, [hash, [[envelope hash, code, text], ...]]]` and lists what was refused; an empty list is a full yes.
//!
//! Codes say little: the specification has 1 for clocks that differ, status-go sent 21, 22, 34 to 38 over the years, and
//! through a slip the code for clocks for every refusal. So every entry is read as a refusal whatever its code, and we
//! send [`TIME_CODE`] and [`OTHER_CODE`].
//!
//! Limits: [`MAX_REFUSALS`] entries are sent; reading is lazy and keeps nothing.

use std::fmt;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};
use sha3::{Digest, Keccak256};

use crate::envelope::EnvelopeHash;

/// Version of the response. Source: 5/WAKU0, "Message Confirmations".
const RESPONSE_VERSION: u64 = 1;

/// Code for an envelope that is too old or from the future. Source: 5/WAKU0, "Message Confirmations".
pub const TIME_CODE: u64 = 1;

/// Code for all other refusals; no specification has one.
pub const OTHER_CODE: u64 = 2;

/// Refusals listed in one response. With their texts they take a quarter of the longest packet that may be sent.
pub const MAX_REFUSALS: usize = 4_096;

/// Keccak-256 of the body of a Messages packet. Names the packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchHash([u8; 32]);

impl BatchHash {
    /// The hash of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Keccak256::digest(body).into())
    }

    /// The body of a Batch Ack.
    #[must_use]
    pub fn encode_ack(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.0.encode(&mut out);
        out.freeze()
    }

    /// Reads the body of a Batch Ack.
    ///
    /// # Errors
    /// When it is anything but one string of 32 bytes; the packet is to be ignored.
    pub fn decode_ack(body: &[u8]) -> Result<Self, ConfirmError> {
        let mut after = body;
        let hash = <[u8; 32]>::decode(&mut after)?;
        if after.is_empty() { Ok(Self(hash)) } else { Err(ConfirmError::TrailingBytes(after.len())) }
    }
}

impl From<[u8; 32]> for BatchHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for BatchHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// Why a confirmation could not be read. It is ignored then: a peer that confirms in another way does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// Not of the shape that it should have.
    #[error("not readable: {0}")]
    Shape(#[from] alloy_rlp::Error),
    /// A version that is not known.
    #[error("response version {0}")]
    Version(u64),
    /// Bytes after the body.
    #[error("{0} bytes after the body")]
    TrailingBytes(usize),
}

/// One refused envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEnvelope<'a> {
    /// Which.
    pub hash: EnvelopeHash,
    /// Why, as a number that means nothing by itself.
    pub code: u64,
    /// Why, for logs. Whatever the peer has written.
    pub text: &'a [u8],
}

/// A response, not yet read beyond the batch that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// What it is about.
    pub batch: BatchHash,
    refused: &'a [u8],
}

impl<'a> Response<'a> {
    /// Reads the body of a Message Response. Items that later versions may add are passed over.
    ///
    /// # Errors
    /// [`ConfirmError`]; the packet is to be ignored.
    pub fn decode(body: &'a [u8]) -> Result<Self, ConfirmError> {
        let mut after = body;
        let mut items = Header::decode_bytes(&mut after, true)?;
        if !after.is_empty() {
            return Err(ConfirmError::TrailingBytes(after.len()));
        }
        let version = u64::decode(&mut items)?;
        if version != RESPONSE_VERSION {
            return Err(ConfirmError::Version(version));
        }
        let mut response = Header::decode_bytes(&mut items, true)?;
        let batch = BatchHash(<[u8; 32]>::decode(&mut response)?);
        let refused = Header::decode_bytes(&mut response, true)?;
        Ok(Self { batch, refused })
    }

    /// The refused envelopes, up to the first entry that cannot be read.
    pub fn refused(&self) -> impl Iterator<Item = RefusedEnvelope<'a>> + use<'a> {
        let mut rest = self.refused;
        std::iter::from_fn(move || (!rest.is_empty()).then(|| decode_refused(&mut rest).ok())?)
    }
}

fn decode_refused<'a>(entries: &mut &'a [u8]) -> alloy_rlp::Result<RefusedEnvelope<'a>> {
    let mut entry = Header::decode_bytes(entries, true)?;
    let hash = <[u8; 32]>::decode(&mut entry)?.into();
    let code = u64::decode(&mut entry)?;
    Ok(RefusedEnvelope { hash, code, text: Header::decode_bytes(&mut entry, false)? })
}

/// The body of a Message Response. The first [`MAX_REFUSALS`] refusals are listed.
#[must_use]
pub fn encode_response(batch: BatchHash, refused: &[RefusedEnvelope<'_>]) -> Bytes {
    let mut entries = BytesMut::new();
    for RefusedEnvelope { hash, code, text } in refused.iter().take(MAX_REFUSALS) {
        let mut entry = BytesMut::new();
        hash.as_bytes().encode(&mut entry);
        code.encode(&mut entry);
        text.encode(&mut entry);
        put_list(&mut entries, &entry);
    }
    let mut response = BytesMut::new();
    batch.0.encode(&mut response);
    put_list(&mut response, &entries);
    let mut items = BytesMut::new();
    RESPONSE_VERSION.encode(&mut items);
    put_list(&mut items, &response);
    let mut body = BytesMut::new();
    put_list(&mut body, &items);
    body.freeze()
}

fn put_list(out: &mut BytesMut, items: &[u8]) {
    Header { list: true, payload_length: items.len() }.encode(out);
    out.extend_from_slice(items);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::packet::MAX_SENT_BODY;

    const BODY: &str = "d2d1845e4e74c00f84f8946aac84010203042a";
    const BATCH: &str = "06d157d1a49d423cda56296ce5bc37e23ac54ab001ffea8be96f0067b1bc9038";

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn batch() -> BatchHash {
        BatchHash::of(&bytes(BODY))
    }

    #[test]
    fn printed_packets() {
        assert_eq!(format!("{:?}", batch()), format!("0x{BATCH}"));
        assert_eq!(hex::encode(batch().encode_ack()), format!("a0{BATCH}"));
        assert_eq!(hex::encode(encode_response(batch(), &[])), format!("e401e2a0{BATCH}c0"));
        let envelope = "adf034d21f3ec913525dac2571906f6f19fb7da4773a868fe0d40d9527f59b5c";
        let hash = <[u8; 32]>::try_from(bytes(envelope)).unwrap().into();
        let refused = [RefusedEnvelope { hash, code: 21, text: b"very old envelope" }];
        let body = encode_response(batch(), &refused);
        let printed = format!("f85a01f857a0{BATCH}f5f4a0{envelope}159176657279206f6c6420656e76656c6f7065");
        assert_eq!(hex::encode(&body), printed);
        let read = Response::decode(&body).unwrap();
        assert_eq!((read.batch, read.refused().collect::<Vec<_>>()), (batch(), refused.to_vec()));
    }

    /// What status-go made of 30 batches: its code for every refusal is 21, so our encoder is given that.
    #[test]
    fn every_recorded_confirmation() {
        let recorded: Value = serde_json::from_str(include_str!("../../../fixtures/acks/acks.json")).unwrap();
        let cases = recorded.as_array().unwrap();
        assert_eq!(cases.len(), 30);
        for case in cases {
            let text = |name: &str| bytes(case[name].as_str().unwrap());
            assert_eq!((case["code_batch_ack"].as_u64(), case["code_message_response"].as_u64()), (Some(11), Some(12)));
            assert_eq!(BatchHash::of(&text("bundle_rlp")).0.as_slice(), text("bundle_hash"));
            let batch = BatchHash(text("batch_hash").try_into().unwrap());
            assert_eq!(batch.encode_ack(), text("batch_ack_rlp"));
            assert_eq!(BatchHash::decode_ack(&text("batch_ack_rlp")), Ok(batch));
            let errors = case["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
            let refused: Vec<_> = errors
                .iter()
                .map(|error| RefusedEnvelope {
                    hash: <[u8; 32]>::try_from(bytes(error["hash"].as_str().unwrap())).unwrap().into(),
                    code: error["code"].as_u64().unwrap(),
                    text: error["description"].as_str().unwrap().as_bytes(),
                })
                .collect();
            assert!(refused.iter().all(|refused| refused.code == 21));
            assert_eq!(encode_response(batch, &refused), text("message_response_rlp"));
            let body = text("message_response_rlp");
            let read = Response::decode(&body).unwrap();
            assert_eq!((read.batch, read.refused().collect::<Vec<_>>()), (batch, refused));
        }
    }

    #[test]
    fn what_is_no_confirmation() {
        let ack = |text: &str| BatchHash::decode_ack(&bytes(text));
        assert!(matches!(ack(""), Err(ConfirmError::Shape(_))));
        assert!(matches!(ack(&format!("e1a0{BATCH}")), Err(ConfirmError::Shape(_))));
        assert!(matches!(ack(&format!("9f{}", &BATCH[2..])), Err(ConfirmError::Shape(_))));
        assert_eq!(ack(&format!("a0{BATCH}00")), Err(ConfirmError::TrailingBytes(1)));
        let response = |text: &str| Response::decode(&bytes(text)).map(|response| response.refused().count());
        assert_eq!(response(&format!("e402e2a0{BATCH}c0")), Err(ConfirmError::Version(2)));
        assert_eq!(response(&format!("e401e2a0{BATCH}c000")), Err(ConfirmError::TrailingBytes(1)));
        assert!(matches!(response("c101"), Err(ConfirmError::Shape(_))));
        assert!(matches!(response("80"), Err(ConfirmError::Shape(_))));
        // An entry that cannot be read ends the list, and the batch is known all the same.
        assert_eq!(response(&format!("e501e3a0{BATCH}c101")), Ok(0));
    }

    #[test]
    fn a_response_fits_a_packet_whatever_was_refused() {
        let text = b"sixty-four bytes of text, more than any refusal of ours ever has";
        let refused = vec![RefusedEnvelope { hash: EnvelopeHash::of(b""), code: OTHER_CODE, text }; 2 * MAX_REFUSALS];
        let body = encode_response(batch(), &refused);
        assert!(body.len() <= MAX_SENT_BODY / 2, "{}", body.len());
        assert_eq!(Response::decode(&body).unwrap().refused().count(), MAX_REFUSALS);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            batch: [u8; 32], refused in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>(), any::<Vec<u8>>()), 0..20)
        ) {
            let refused: Vec<_> = refused
                .iter()
                .map(|(hash, code, text)| RefusedEnvelope { hash: (*hash).into(), code: *code, text })
                .collect();
            let body = encode_response(BatchHash(batch), &refused);
            let read = Response::decode(&body).unwrap();
            prop_assert_eq!(read.batch, BatchHash(batch));
            prop_assert_eq!(read.refused().collect::<Vec<_>>(), refused);
            prop_assert_eq!(BatchHash::decode_ack(&BatchHash(batch).encode_ack()), Ok(BatchHash(batch)));
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = BatchHash::decode_ack(&body);
            if let Ok(response) = Response::decode(&body) {
                prop_assert!(response.refused().count() <= body.len());
            }
        }
    }
}
