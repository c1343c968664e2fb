//! `RateLimitProof`: what a message carries in its field 21.
//!
//! A field that is missing or of another length makes it none; deployed nodes fill it with zeros, which never verifies, so the
//! outcome is the same. Field 7 stands in no document but is sent, and needed: the external nullifier is not on the wire.
//! Spec: 17/WAKU2-RLN-RELAY; deployed: nwaku.

use bytes::Bytes;
use prost::Message as _;

use super::element::ELEMENT_BYTES;

/// Bytes of a compressed Groth16 proof: A (32), B (64), C (32).
pub const SNARK_BYTES: usize = 128;

/// Encoded bytes of a whole one.
pub const RATE_LIMIT_PROOF_BYTES: usize = 335;

/// What it adds to an encoded message: its field's tag and length, and itself.
pub const PROOF_FIELD_BYTES: usize = 4 + RATE_LIMIT_PROOF_BYTES;

/// The identifier of Waku's relay; other applications with the same members take another.
pub const IDENTIFIER: [u8; ELEMENT_BYTES] = padded(b"rln/waku-rln-relay/v2.0.0");

/// A proof, as it came. What should be field elements may not be: see [`super::element::Element::canonical`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimitProof {
    /// Groth16, compressed, little-endian.
    pub snark: [u8; SNARK_BYTES],
    /// Root of the tree of members.
    pub root: [u8; ELEMENT_BYTES],
    /// Number of the epoch: [`super::epoch::Epoch::from_bytes`].
    pub epoch: [u8; ELEMENT_BYTES],
    /// What was signalled.
    pub share_x: [u8; ELEMENT_BYTES],
    /// The share of the secret for it.
    pub share_y: [u8; ELEMENT_BYTES],
    /// The same for two messages of one member, epoch and message id.
    pub nullifier: [u8; ELEMENT_BYTES],
    /// Whose: [`IDENTIFIER`].
    pub identifier: [u8; ELEMENT_BYTES],
}

/// It is no `RateLimitProof`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rate-limit proof: it does not decode, or a field has another length")]
pub struct MalformedProof;

impl RateLimitProof {
    /// Reads one. Unknown fields are passed over.
    ///
    /// # Errors
    /// [`MalformedProof`].
    pub fn decode(bytes: &Bytes) -> Result<Self, MalformedProof> {
        let wire = Wire::decode(bytes.clone()).map_err(|_| MalformedProof)?;
        Ok(Self {
            snark: fixed(&wire.snark)?,
            root: fixed(&wire.root)?,
            epoch: fixed(&wire.epoch)?,
            share_x: fixed(&wire.share_x)?,
            share_y: fixed(&wire.share_y)?,
            nullifier: fixed(&wire.nullifier)?,
            identifier: fixed(&wire.identifier)?,
        })
    }

    /// As in field 21: [`RATE_LIMIT_PROOF_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let copied = Bytes::copy_from_slice;
        let wire = Wire {
            snark: copied(&self.snark),
            root: copied(&self.root),
            epoch: copied(&self.epoch),
            share_x: copied(&self.share_x),
            share_y: copied(&self.share_y),
            nullifier: copied(&self.nullifier),
            identifier: copied(&self.identifier),
        };
        wire.encode_to_vec().into()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(bytes = "bytes", tag = "1")]
    snark: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    root: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    epoch: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    share_x: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    share_y: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    nullifier: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    identifier: Bytes,
}

fn fixed<const N: usize>(field: &Bytes) -> Result<[u8; N], MalformedProof> {
    field.as_ref().try_into().map_err(|_| MalformedProof)
}

const fn padded(text: &[u8]) -> [u8; ELEMENT_BYTES] {
    let mut bytes = [0; ELEMENT_BYTES];
    let (head, _) = bytes.split_at_mut(text.len());
    head.copy_from_slice(text);
    bytes
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// The published chain of values, with the proof that release 0.9.0 of the reference library made.
    fn published() -> RateLimitProof {
        RateLimitProof {
            snark: bytes(
                "01a20766f4d3d25bb084ab4095009012e0918e98d87de6689680ffb25aafeeaa33bda925abc760923ce1915e444abce576eb69d1ad05130373a54c596b07fc22a7f79aa0e5ebc28e0bbbcbd193b88e1fb7c054c6b59b5f6996df80af337095075029be97d5050bf94db38bf77009d64316c7b8282093920f4015cb45b4152702",
            ),
            root: bytes("507a6def7128168f64a915e7145fcf490802258bfa2a175f066babd8a6879d20"),
            epoch: super::super::epoch::Epoch(2_833_333).bytes(),
            share_x: bytes("d1cec7d63d7c3bbf16ded11a2a1d49242b328456408cff2424841c54eeb1880a"),
            share_y: bytes("587bd6785e8c7fe69b0f373d8e50b109d385a450ff5acbfb2eec647407abb721"),
            nullifier: bytes("9b85d42dd3b15dfd0304ccae32a0ddb3e099544cc528857db4177c8fc1a0de1d"),
            identifier: IDENTIFIER,
        }
    }

    #[test]
    fn the_published_one_has_the_published_bytes() {
        let encoded = published().encode();
        assert_eq!(encoded.len(), RATE_LIMIT_PROOF_BYTES);
        assert_eq!(
            hex::encode(Sha256::digest(&encoded)),
            "f355439a257d62315e032fddb62dbf36416b109df45313ff7a779162421e6899"
        );
        assert_eq!(RateLimitProof::decode(&encoded), Ok(published()));
    }

    #[test]
    fn a_field_missing_short_or_long_makes_it_none() {
        let encoded = published().encode();
        for (place, bytes) in [(0, 131), (131, 34), (165, 34), (199, 34), (233, 34), (267, 34), (301, 34)] {
            let mut without = encoded.to_vec();
            without.drain(place..place + bytes);
            assert_eq!(RateLimitProof::decode(&without.into()), Err(MalformedProof), "from {place}");
        }
        for root in [31, 33] {
            let wire = Wire { root: vec![0; root].into(), ..Wire::decode(encoded.clone()).unwrap() };
            assert_eq!(RateLimitProof::decode(&wire.encode_to_vec().into()), Err(MalformedProof));
        }
        for garbage in [&b""[..], b"p", &[0xff; 335]] {
            assert_eq!(RateLimitProof::decode(&Bytes::copy_from_slice(garbage)), Err(MalformedProof));
        }
    }
}
