//! Auth and ack in the form before EIP-8: fields in fixed places, no size, no padding.
//!
//! ```text
//! auth = ECIES(signature (65) || Keccak(initiator ephemeral key) (32) || initiator key (64) || initiator nonce (32) || 00)
//! ack  = ECIES(recipient ephemeral key (64) || recipient nonce (32) || 00)
//! ```
//! Read from peers, and written only in answer to such an auth. Source: RLPx before EIP-8. The hash of the ephemeral key
//! says nothing that the signature does not, and is ignored as in go-ethereum; so is the last byte, which once told of
//! sessions to be resumed.

use super::NONCE_BYTES;
use crate::ecies;
use crate::key::{PublicKey, SIGNATURE_BYTES};

const KEY_BYTES: usize = 64;
const HASH_BYTES: usize = 32;
const AUTH_BODY_BYTES: usize = SIGNATURE_BYTES + HASH_BYTES + KEY_BYTES + NONCE_BYTES + 1;
const ACK_BODY_BYTES: usize = KEY_BYTES + NONCE_BYTES + 1;

/// Bytes of an auth on the wire.
pub(super) const AUTH_BYTES: usize = AUTH_BODY_BYTES + ecies::OVERHEAD_BYTES;

/// Bytes of an ack on the wire.
pub(super) const ACK_BYTES: usize = ACK_BODY_BYTES + ecies::OVERHEAD_BYTES;

/// The fields of an auth; `None` for a body of another length, which no packet of [`AUTH_BYTES`] has.
pub(super) fn auth(body: &[u8]) -> Option<(&[u8; SIGNATURE_BYTES], &[u8; KEY_BYTES], &[u8; NONCE_BYTES])> {
    let (signature, rest) = body.split_first_chunk()?;
    let (_, rest) = rest.split_first_chunk::<HASH_BYTES>()?;
    let (key, rest) = rest.split_first_chunk()?;
    Some((signature, key, rest.first_chunk()?))
}

/// The fields of an ack; `None` for a body of another length.
pub(super) fn ack(body: &[u8]) -> Option<(&[u8; KEY_BYTES], &[u8; NONCE_BYTES])> {
    let (ephemeral, rest) = body.split_first_chunk()?;
    Some((ephemeral, rest.first_chunk()?))
}

/// The body of an ack.
pub(super) fn ack_body(ephemeral: &PublicKey, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    [&ephemeral.as_bytes()[..], nonce, &[0]].concat()
}
