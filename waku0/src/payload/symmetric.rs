//! Encryption with a key that both sides hold.  Spec: 7/WAKU-DATA and 26/WAKU2-PAYLOAD, "Symmetric".
//!
//! ```text
//! AES-256-GCM ciphertext | tag (16) | nonce (12), nothing else authenticated
//! ```
//! 7/WAKU-DATA prints a salt of two bytes where the twelve of the nonce are meant. The nonce is random: among
//! 2^32 payloads under one key, two have the same with a chance below one in 2^32.

use std::{fmt, str::FromStr};

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use rand::Rng;
use sha2::Sha256;
use zeroize::Zeroize;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes of the nonce.
pub const NONCE_BYTES: usize = 12;

/// Bytes the data is longer than the plaintext.
pub const OVERHEAD_BYTES: usize = TAG_BYTES + NONCE_BYTES;

/// Bytes of the tag.
const TAG_BYTES: usize = 16;

/// Rounds of PBKDF2 that make a key of a password: the digits of 65,536 transposed, and fixed for ever.  Source: status-go and
/// go-ethereum, `AddSymKeyFromPassword`.
const PASSWORD_ROUNDS: u32 = 65_356;

/// A key that both sides hold. Never zero, which deployed nodes refuse. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SymKey([u8; KEY_BYTES]);

/// Bytes or text that are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SymKeyError {
    /// All bytes are zero.
    #[error("a symmetric key of zeros alone")]
    Zero,
    /// The text is not hex of the right length.
    #[error("a symmetric key is 64 hex digits, with or without 0x")]
    NotHex,
}

/// Data that the key does not open: another key, altered, or too short; which of these is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data cannot be decrypted with this key")]
pub struct DecryptError;

impl SymKey {
    /// Draws a key.
    #[must_use]
    pub fn generate(rng: &mut impl Rng) -> Self {
        loop {
            let mut bytes = [0; KEY_BYTES];
            rng.fill_bytes(&mut bytes);
            if let Ok(key) = Self::from_bytes(bytes) {
                return key;
            }
        }
    }

    /// Takes the 32 bytes.
    ///
    /// # Errors
    /// [`SymKeyError::Zero`] when they are all zero.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Result<Self, SymKeyError> {
        if bytes == [0; KEY_BYTES] { Err(SymKeyError::Zero) } else { Ok(Self(bytes)) }
    }

    /// The key of a password, as every deployed client derives it: PBKDF2 of HMAC-SHA256, without a salt, 65,356 rounds. Not for a
    /// task that has to answer meanwhile.
    #[must_use]
    pub fn from_password(password: &str) -> Self {
        Self(pbkdf2::pbkdf2_hmac_array::<Sha256, KEY_BYTES>(password.as_bytes(), &[], PASSWORD_ROUNDS))
    }

    /// The 32 bytes, for whoever shares or keeps the key. Handle with care.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; KEY_BYTES] {
        self.0
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.0.into())
    }
}

impl Drop for SymKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymKey(..)")
    }
}

impl FromStr for SymKey {
    type Err = SymKeyError;

    /// Reads 64 hex digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, SymKeyError> {
        let mut bytes = [0; KEY_BYTES];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| SymKeyError::NotHex)?;
        Self::from_bytes(bytes)
    }
}

/// Encrypts `plaintext` in its own memory. `nonce` is to be used once with this key.
#[must_use]
pub fn encrypt(key: &SymKey, nonce: &[u8; NONCE_BYTES], mut plaintext: Vec<u8>) -> Vec<u8> {
    let tag = key
        .cipher()
        .encrypt_inout_detached(&(*nonce).into(), &[], plaintext.as_mut_slice().into())
        .expect("GCM takes 64 GiB, more than memory gives to one payload");
    plaintext.extend_from_slice(&tag);
    plaintext.extend_from_slice(nonce);
    plaintext
}

/// Opens what [`encrypt`] made.
///
/// # Errors
/// [`DecryptError`], the same for every cause.
pub fn decrypt(key: &SymKey, data: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (sealed, nonce) = data.split_last_chunk::<NONCE_BYTES>().ok_or(DecryptError)?;
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(DecryptError)?;
    let mut plaintext = ciphertext.to_vec();
    key.cipher()
        .decrypt_inout_detached(&(*nonce).into(), &[], plaintext.as_mut_slice().into(), &(*tag).into())
        .map_err(|_| DecryptError)?;
    Ok(plaintext)
}
