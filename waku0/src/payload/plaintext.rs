//! The layout under the encryption.  Spec: 7/WAKU-DATA and 26/WAKU2-PAYLOAD, "Payload encoding".
//!
//! ```text
//! flags (1) | length of the payload (0 to 3, little-endian) | payload | padding | signature (65, if flagged)
//! ```
//! Bits 0 and 1 of the flags: bytes of the length field; bit 2: signed; the others mean nothing. Signed is the
//! Keccak-256 of all before the signature. Where the texts of the specifications and deployed nodes differ, nodes are followed: the
//! length field has at most three bytes, since two bits say how many, and the last byte of a signature is written as 0 or 1, not 27 or
//! 28, though both are read.

use bytes::Bytes;
use devp2p::{NodeKey, PublicKey, key::SIGNATURE_BYTES};
use rand::Rng;
use sha3::{Digest, Keccak256};

use super::{Content, Opened, SealError};

/// Plaintexts whose padding is drawn are a multiple of this long, signature included. Source: go-ethereum and status-go, `padSizeLimit`.
pub const BLOCK_BYTES: usize = 256;

/// The longest payload: what three bytes of length say.
pub const MAX_PAYLOAD_BYTES: usize = 0xff_ffff;

/// Bits of the flags that say how long the length field is.
const LENGTH_MASK: u8 = 0b011;

/// The flag of a signature.
const SIGNED: u8 = 0b100;

/// Fewer bytes than these before a signature are refused by go-ethereum and status-go.
const MIN_SIGNED_BYTES: usize = 2;

/// Half the order of the curve: of the two `S` that fit a signature all deployed signers write the lower, and a second
/// spelling of the same signature is refused.  Source: BIP 62, "Low S values in signatures".
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// A signature that fits what it stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// As it came: `R(32) || S(32) || V(1)`.
    pub bytes: [u8; SIGNATURE_BYTES],
    /// Whose it is.
    pub signer: PublicKey,
}

/// Bytes that are no plaintext. Whoever made them held the key, so this is no ordinary weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not even flags.
    #[error("an empty plaintext")]
    Empty,
    /// The flags promise more bytes of length than there are.
    #[error("the length field ends early")]
    LengthField,
    /// The length promises more than there is.
    #[error("a payload of {length} bytes where {left} are left")]
    Payload {
        /// As the length field says.
        length: usize,
        /// Bytes after the length field, without a signature.
        left: usize,
    },
    /// Flagged as signed, and too short for a signature.
    #[error("too short for the signature that its flags promise")]
    NoSignature,
    /// The signature is none: numbers out of range, or no key that fits them.
    #[error("the signature fits no key")]
    BadSignature,
}

/// Lays out a plaintext, with room behind it for what encryption adds.
///
/// # Errors
/// [`SealError`] when the length of the payload does not fit its field.
pub fn encode(content: &Content, sign: Option<&NodeKey>, rng: &mut impl Rng) -> Result<Vec<u8>, SealError> {
    let length = content.payload.len();
    if length > MAX_PAYLOAD_BYTES {
        return Err(SealError::TooLong(length));
    }
    let field = &length.to_le_bytes()[..length_field_bytes(length)];
    let unpadded = 1 + field.len() + length + sign.map_or(0, |_| SIGNATURE_BYTES);
    // Never nothing: a plaintext that fills its blocks without padding gets one block of it.
    let drawn = BLOCK_BYTES - unpadded % BLOCK_BYTES;
    let mut plaintext =
        Vec::with_capacity(unpadded + content.padding.len().max(drawn) + super::symmetric::OVERHEAD_BYTES);
    plaintext.push(field.len() as u8 | sign.map_or(0, |_| SIGNED));
    plaintext.extend_from_slice(field);
    plaintext.extend_from_slice(&content.payload);
    if content.padding.is_empty() {
        let padding_at = plaintext.len();
        plaintext.resize(padding_at + drawn, 0);
        rng.fill_bytes(&mut plaintext[padding_at..]);
    } else {
        plaintext.extend_from_slice(&content.padding);
    }
    if let Some(key) = sign {
        let signature = key.sign(&digest(&plaintext));
        plaintext.extend_from_slice(&signature);
    }
    Ok(plaintext)
}

/// As few bytes as say it, but one at least.
fn length_field_bytes(length: usize) -> usize {
    match length {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 3,
    }
}

/// Reads a plaintext, without copying it.
///
/// # Errors
/// [`DecodeError`] says what is wrong with it.
pub fn decode(plaintext: &Bytes) -> Result<Opened, DecodeError> {
    let flags = *plaintext.first().ok_or(DecodeError::Empty)?;
    let (body, signature) = split_signature(plaintext, flags)?;
    let start = 1 + usize::from(flags & LENGTH_MASK);
    let field = body.get(1..start).ok_or(DecodeError::LengthField)?;
    let length = field.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let left = body.len() - start;
    if length > left {
        return Err(DecodeError::Payload { length, left });
    }
    let end = start + length;
    Ok(Opened {
        payload: plaintext.slice(start..end),
        padding: plaintext.slice(end..body.len()),
        signature: signature.map(|bytes| check(body, bytes)).transpose()?,
    })
}

/// What is signed, and the signature.
fn split_signature(plaintext: &[u8], flags: u8) -> Result<(&[u8], Option<&[u8; SIGNATURE_BYTES]>), DecodeError> {
    if flags & SIGNED == 0 {
        return Ok((plaintext, None));
    }
    let (body, signature) = plaintext.split_last_chunk().ok_or(DecodeError::NoSignature)?;
    if body.len() < MIN_SIGNED_BYTES { Err(DecodeError::NoSignature) } else { Ok((body, Some(signature))) }
}

fn check(body: &[u8], bytes: &[u8; SIGNATURE_BYTES]) -> Result<Signature, DecodeError> {
    Ok(Signature { bytes: *bytes, signer: signer(&digest(body), bytes)? })
}

/// Whose signature this is.
pub(super) fn signer(digest: &[u8; 32], bytes: &[u8; SIGNATURE_BYTES]) -> Result<PublicKey, DecodeError> {
    let mut plain = *bytes;
    let v = &mut plain[SIGNATURE_BYTES - 1];
    if matches!(v, 27 | 28) {
        *v -= 27;
    }
    if plain[32..64] > HALF_ORDER[..] {
        return Err(DecodeError::BadSignature);
    }
    PublicKey::recover(digest, &plain).map_err(|_| DecodeError::BadSignature)
}

fn digest(body: &[u8]) -> [u8; 32] {
    Keccak256::digest(body).into()
}
