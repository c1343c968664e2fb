//! What an envelope's data says to those who hold a key: sealing it, opening it.  Spec: 7/WAKU-DATA, 26/WAKU2-PAYLOAD.
//!
//! Payload, padding and an optional signature make a plaintext ([`plaintext`]); the plaintext is encrypted with a key that both sides
//! share ([`symmetric`]), or for the public key of one reader ([`devp2p::ecies`], without shared data). Nothing in the
//! data tells which: a reader tries his key.
//!
//! Limit: 16,777,215 bytes of payload, by the layout. What an envelope may hold at most is for [`crate::admit`] to say.

pub mod plaintext;
pub mod symmetric;

use bytes::Bytes;
use devp2p::{
    NodeKey, PublicKey,
    ecies::{self, IV_BYTES},
};
use rand::Rng;

pub use plaintext::{DecodeError, Signature};
pub use symmetric::{SymKey, SymKeyError};

/// What is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// What the application says; may be empty.
    pub payload: Bytes,
    /// Hides the length of the payload. Used as it is, or, when empty, drawn so that the plaintext fills blocks of
    /// [`plaintext::BLOCK_BYTES`].
    pub padding: Bytes,
}

impl From<Bytes> for Content {
    /// With padding to be drawn.
    fn from(payload: Bytes) -> Self {
        Self { payload, padding: Bytes::new() }
    }
}

/// Who is to read it.
#[derive(Debug, Clone, Copy)]
pub enum SealTo<'a> {
    /// Whoever holds this key.
    Symmetric(&'a SymKey),
    /// Whoever holds the secret half of this key.
    Public(&'a PublicKey),
}

/// With what something is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A key that both sides hold.
    Symmetric(SymKey),
    /// The secret key of the one reader.
    Private(NodeKey),
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the application says.
    pub payload: Bytes,
    /// What hid its length. Means nothing.
    pub padding: Bytes,
    /// Who signed it, and how, if anybody did.
    pub signature: Option<Signature>,
}

impl Opened {
    /// Who signed it.
    #[must_use]
    pub fn signer(&self) -> Option<PublicKey> {
        self.signature.map(|signature| signature.signer)
    }
}

/// The content cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Its length does not fit its field.
    #[error("a payload of {0} bytes, above 16777215")]
    TooLong(usize),
}

/// The data cannot be opened with this key, or says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Made with another key, or altered; most envelopes that are tried.
    #[error("the data cannot be decrypted with this key")]
    Undecryptable,
    /// Decrypted, but not of the layout.
    #[error(transparent)]
    Plaintext(#[from] DecodeError),
}

/// Makes the data of an envelope.
///
/// # Errors
/// [`SealError`] when the payload is too long.
pub fn seal(content: &Content, to: SealTo<'_>, sign: Option<&NodeKey>, rng: &mut impl Rng) -> Result<Bytes, SealError> {
    let plaintext = plaintext::encode(content, sign, rng)?;
    Ok(match to {
        SealTo::Symmetric(key) => {
            let mut nonce = [0; symmetric::NONCE_BYTES];
            rng.fill_bytes(&mut nonce);
            symmetric::encrypt(key, &nonce, plaintext)
        }
        SealTo::Public(reader) => {
            let mut iv = [0; IV_BYTES];
            rng.fill_bytes(&mut iv);
            ecies::encrypt(reader, &NodeKey::generate(rng), &iv, &plaintext, &[])
        }
    }
    .into())
}

/// Reads the data of an envelope, if it was made for `key`.
///
/// # Errors
/// [`OpenError`]; never a panic, whatever the data.
pub fn open(data: &[u8], key: &Key) -> Result<Opened, OpenError> {
    let plaintext = match key {
        Key::Symmetric(key) => symmetric::decrypt(key, data).ok(),
        Key::Private(key) => ecies::decrypt(key, data, &[]).ok(),
    };
    Ok(plaintext::decode(&plaintext.ok_or(OpenError::Undecryptable)?.into())?)
}

#[cfg(test)]
mod tests;
