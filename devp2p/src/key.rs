//! Node keys and the names made from them.
//!
//! A node is known by a secp256k1 key. On the wire the public key is 64 bytes `X || Y` without the `04` prefix (RLPx,
//! "Node Identity"); its Keccak-256 is the node id. Every [`PublicKey`] is on the curve by construction, so nothing
//! that holds one has to check again.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{Message, SecretKey, ecdh};
use sha3::{Digest, Keccak256};

/// Bytes of a signature with recovery: `R(32) || S(32) || V(1)`, V being 0 or 1. Source: RLPx, "Notation".
pub const SIGNATURE_BYTES: usize = 65;

/// The secret key of a node, or a key used once. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey(SecretKey);

impl NodeKey {
    /// Draws a key. About one draw in 2^128 is no key and is drawn again.
    #[must_use]
    pub fn generate(rng: &mut impl Rng) -> Self {
        loop {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            if let Ok(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    /// Reads a key from its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::OutOfRange`] for zero and for numbers not below the order of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SecretKey::from_secret_bytes(*bytes).map(Self).map_err(|_| KeyError::OutOfRange)
    }

    /// The 32 bytes, for a key file. Handle with care.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_secret_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_point(&secp256k1::PublicKey::from_secret_key(&self.0))
    }

    /// ECDH: the X coordinate of the common point, 32 bytes, not hashed (RLPx, "ECIES Encryption").
    #[must_use]
    pub fn agree(&self, remote: &PublicKey) -> [u8; 32] {
        let point = ecdh::shared_secret_point(&remote.point(), &self.0);
        let mut x = [0; 32];
        x.copy_from_slice(&point[..32]);
        x
    }

    /// Signs a digest as it stands; nothing is hashed here. The nonce is that of RFC 6979, so the result is always the same.
    #[must_use]
    pub fn sign(&self, digest: &[u8; 32]) -> [u8; SIGNATURE_BYTES] {
        let (recovery, compact) =
            RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(*digest), &self.0).serialize_compact();
        let mut signature = [0; SIGNATURE_BYTES];
        signature[..64].copy_from_slice(&compact);
        signature[64] = recovery.to_u8();
        signature
    }
}

impl Drop for NodeKey {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl FromStr for NodeKey {
    type Err = KeyError;

    /// Reads 64 hex digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }
}

/// A public key: 64 bytes `X || Y`, on the curve by construction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 64]);

impl PublicKey {
    /// Checks that the 64 bytes are a point of the curve.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`] when they are not.
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, KeyError> {
        let mut uncompressed = [4; 65];
        uncompressed[1..].copy_from_slice(bytes);
        secp256k1::PublicKey::from_byte_array_uncompressed(uncompressed)
            .map(|_| Self(*bytes))
            .map_err(|_| KeyError::NotOnCurve)
    }

    /// The 64 bytes `X || Y`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The node id: Keccak-256 of the 64 bytes.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId(Keccak256::digest(self.0).into())
    }

    /// The 33-byte form, as records carry it (EIP-778).
    #[must_use]
    pub fn to_compressed(&self) -> [u8; 33] {
        self.point().serialize()
    }

    /// Reads the 33-byte form.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`] when no point has this X coordinate, or the prefix is neither 2 nor 3.
    pub fn from_compressed(bytes: &[u8; 33]) -> Result<Self, KeyError> {
        secp256k1::PublicKey::from_byte_array_compressed(*bytes)
            .map(|point| Self::from_point(&point))
            .map_err(|_| KeyError::NotOnCurve)
    }

    /// Finds the key that made `signature` over `digest`.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] for numbers out of range, a recovery id over 3, and signatures that no key can have made.
    pub fn recover(digest: &[u8; 32], signature: &[u8; SIGNATURE_BYTES]) -> Result<Self, KeyError> {
        let recovery = RecoveryId::try_from(i32::from(signature[64])).map_err(|_| KeyError::BadSignature)?;
        RecoverableSignature::from_compact(&signature[..64], recovery)
            .and_then(|signature| signature.recover_ecdsa(Message::from_digest(*digest)))
            .map(|point| Self::from_point(&point))
            .map_err(|_| KeyError::BadSignature)
    }

    /// True when this key made the signature `R(32) || S(32)` over `digest`; of the two forms of `S` only the lower counts.
    #[must_use]
    pub fn verify(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        Signature::from_compact(signature)
            .is_ok_and(|signature| signature.verify(Message::from_digest(*digest), &self.point()).is_ok())
    }

    fn from_point(point: &secp256k1::PublicKey) -> Self {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&point.serialize_uncompressed()[1..]);
        Self(bytes)
    }

    pub(crate) fn point(&self) -> secp256k1::PublicKey {
        let mut uncompressed = [4; 65];
        uncompressed[1..].copy_from_slice(&self.0);
        secp256k1::PublicKey::from_byte_array_uncompressed(uncompressed)
            .expect("every constructor has checked that the bytes are a point")
    }
}

impl fmt::Display for PublicKey {
    /// 128 hex digits, as in an enode URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }
}

/// A node id: Keccak-256 of the public key. Logs name peers by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// An id from its 32 bytes; any will do.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// Why bytes or text are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Zero, or not below the order of the curve.
    #[error("the secret key is zero or not below the order of the curve")]
    OutOfRange,
    /// The bytes are no point of secp256k1.
    #[error("the public key is no point of the curve")]
    NotOnCurve,
    /// The text is not hex of the right length.
    #[error("a key is 64 hex digits (secret) or 128 (public)")]
    NotHex,
    /// The signature fits no key.
    #[error("the signature fits no key")]
    BadSignature,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{array, json, key};

    #[test]
    fn printed_keys_and_secrets() {
        let printed = json("rlpx/eip8.json");
        let (a, b) = (key(&printed, "static_key_a"), key(&printed, "static_key_b"));
        assert_eq!(a.public().as_bytes(), &array(&printed, "public_a"));
        assert_eq!(b.public().as_bytes(), &array(&printed, "public_b"));
        assert_eq!(a.agree(&b.public()), array(&printed, "static_shared"));
        assert_eq!(b.agree(&a.public()), array(&printed, "static_shared"));
        let (a, b) = (key(&printed, "ephemeral_a"), key(&printed, "ephemeral_b"));
        assert_eq!(a.public().as_bytes(), &array(&printed, "ephemeral_pub_a"));
        assert_eq!(b.public().as_bytes(), &array(&printed, "ephemeral_pub_b"));
        assert_eq!(a.agree(&b.public()), array(&printed, "ephemeral_shared"));
    }

    /// Every case of Project Wycheproof's ECDH on secp256k1. Those called acceptable (odd encodings of the key around the
    /// point, and compressed points) are all refused: RLPx knows one form of a key, 64 bytes.
    #[test]
    fn wycheproof_ecdh() {
        let cases = json("ecdh/secp256k1.json");
        let (mut agreed, mut refused, mut tolerated) = (0, 0, 0);
        for case in cases["testGroups"].as_array().unwrap().iter().flat_map(|group| group["tests"].as_array().unwrap())
        {
            let id = &case["tcId"];
            let shared = spki_point(case["public"].as_str().unwrap())
                .and_then(|point| PublicKey::from_bytes(&point).ok())
                .map(|public| hex::encode(secret(case["private"].as_str().unwrap()).agree(&public)));
            match (case["result"].as_str().unwrap(), shared) {
                ("valid", shared) => {
                    assert_eq!(shared.as_deref(), case["shared"].as_str(), "case {id}");
                    agreed += 1;
                }
                ("invalid", shared) => {
                    assert_eq!(shared, None, "case {id}");
                    refused += 1;
                }
                (_, shared) => {
                    assert_eq!(shared, None, "case {id}");
                    tolerated += 1;
                }
            }
        }
        assert_eq!((agreed, refused, tolerated), (473, 49, 230));
    }

    /// The point of a public key in the one encoding that names the curve and has an uncompressed point.
    fn spki_point(der: &str) -> Option<[u8; 64]> {
        let point = der.strip_prefix("3056301006072a8648ce3d020106052b8104000a03420004")?;
        hex::decode(point).ok()?.try_into().ok()
    }

    /// A number of any length in hex, brought to 32 bytes.
    fn secret(number: &str) -> NodeKey {
        format!("{:0>64}", number.trim_start_matches('0')).parse().unwrap()
    }

    #[test]
    fn zero_the_order_and_points_off_the_curve_are_no_keys() {
        assert_eq!(NodeKey::from_bytes(&[0; 32]), Err(KeyError::OutOfRange));
        assert_eq!(NodeKey::from_bytes(&[0xff; 32]), Err(KeyError::OutOfRange));
        assert_eq!(PublicKey::from_bytes(&[0; 64]), Err(KeyError::NotOnCurve));
        assert_eq!(PublicKey::from_compressed(&[5; 33]), Err(KeyError::NotOnCurve));
        assert_eq!("00".parse::<NodeKey>(), Err(KeyError::NotHex));
        assert_eq!("zz".repeat(64).parse::<PublicKey>(), Err(KeyError::NotHex));
        assert_eq!(PublicKey::recover(&[1; 32], &[0; 65]), Err(KeyError::BadSignature));
        assert_eq!(PublicKey::recover(&[1; 32], &[9; 65]), Err(KeyError::BadSignature));
    }

    #[test]
    fn a_secret_key_does_not_print() {
        let key = NodeKey::from_bytes(&[0x11; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "NodeKey(..)");
    }

    proptest! {
        #[test]
        fn keys_survive_their_texts_and_forms(bytes: [u8; 32], digest: [u8; 32]) {
            prop_assume!(NodeKey::from_bytes(&bytes).is_ok());
            let key = NodeKey::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&hex::encode(key.to_bytes()).parse::<NodeKey>().unwrap(), &key);
            let public = key.public();
            prop_assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
            prop_assert_eq!(PublicKey::from_compressed(&public.to_compressed()).unwrap(), public);
            let signature = key.sign(&digest);
            prop_assert_eq!(PublicKey::recover(&digest, &signature).unwrap(), public);
            let mut compact = *signature.first_chunk().unwrap();
            prop_assert!(public.verify(&digest, &compact));
            compact[33] ^= 1;
            prop_assert!(!public.verify(&digest, &compact));
        }
    }
}
