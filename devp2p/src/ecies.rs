//! ECIES as RLPx uses it: what encrypts the handshake.
//!
//! ```text
//! offset 0     65        81                        n-32
//!        04||R  iv (16)   AES-128-CTR ciphertext    HMAC-SHA256 tag (32)
//! ```
//! `Ke || Km = KDF(ECDH)`; the tag is keyed with SHA-256 of `Km` and covers `iv || ciphertext || s2`, where `s2` is data both
//! sides know (the size prefix of an EIP-8 packet). Source: RLPx, "ECIES Encryption".
//!
//! Whoever sends a bad message learns nothing from how it fails: there is one error, and an `R` off the curve costs as
//! much time as a bad tag.

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::key::{NodeKey, PublicKey};

/// Bytes a message is longer than its plaintext.
pub const OVERHEAD_BYTES: usize = POINT_BYTES + IV_BYTES + TAG_BYTES;

/// Bytes of the initial counter block.
pub const IV_BYTES: usize = 16;

const POINT_BYTES: usize = 65;
const TAG_BYTES: usize = 32;

/// The message cannot be opened: too short, a bad point, or a bad tag; which of these is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message cannot be decrypted")]
pub struct EciesError;

/// Encrypts `plaintext` for `recipient`. `ephemeral` and `iv` are to be used once.
#[must_use]
pub fn encrypt(
    recipient: &PublicKey,
    ephemeral: &NodeKey,
    iv: &[u8; IV_BYTES],
    plaintext: &[u8],
    s2: &[u8],
) -> Vec<u8> {
    let keys = Keys::derive(&ephemeral.agree(recipient));
    let mut message = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
    message.push(0x04);
    message.extend_from_slice(ephemeral.public().as_bytes());
    message.extend_from_slice(iv);
    message.extend_from_slice(plaintext);
    keys.cipher(iv).apply_keystream(&mut message[POINT_BYTES + IV_BYTES..]);
    let tag = keys.tag(&message[POINT_BYTES..], s2);
    message.extend_from_slice(&tag);
    message
}

/// Opens a message made for `key`.
///
/// # Errors
/// [`EciesError`], the same for every cause.
pub fn decrypt(key: &NodeKey, message: &[u8], s2: &[u8]) -> Result<Vec<u8>, EciesError> {
    let (sealed, tag) = message.split_last_chunk::<TAG_BYTES>().ok_or(EciesError)?;
    let (point, sealed) = sealed.split_first_chunk::<POINT_BYTES>().ok_or(EciesError)?;
    let (iv, ciphertext) = sealed.split_first_chunk::<IV_BYTES>().ok_or(EciesError)?;
    // A point off the curve never meets our secret key: the work is done with a point of our own instead, and the result refused.
    let sender = parse_point(point);
    let on_curve = Choice::from(u8::from(sender.is_some()));
    let keys = Keys::derive(&key.agree(&sender.unwrap_or_else(|| key.public())));
    if !bool::from(on_curve & keys.tag(sealed, s2).ct_eq(tag)) {
        return Err(EciesError);
    }
    let mut plaintext = ciphertext.to_vec();
    keys.cipher(iv).apply_keystream(&mut plaintext);
    Ok(plaintext)
}

fn parse_point(point: &[u8; POINT_BYTES]) -> Option<PublicKey> {
    let (prefix, bytes) = point.split_first_chunk::<1>()?;
    let key = PublicKey::from_bytes(bytes.try_into().ok()?).ok();
    if *prefix == [0x04] { key } else { None }
}

struct Keys {
    encryption: [u8; 16],
    mac: [u8; 32],
}

impl Keys {
    /// NIST SP 800-56 concatenation KDF with SHA-256; the 32 bytes wanted are its first block.
    fn derive(shared: &[u8; 32]) -> Self {
        let block = Sha256::new().chain_update(1_u32.to_be_bytes()).chain_update(shared).finalize();
        let mut encryption = [0; 16];
        encryption.copy_from_slice(&block[..16]);
        Self { encryption, mac: Sha256::digest(&block[16..]).into() }
    }

    fn cipher(&self, iv: &[u8; IV_BYTES]) -> Ctr128BE<Aes128> {
        Ctr128BE::new(&self.encryption.into(), &(*iv).into())
    }

    fn tag(&self, sealed: &[u8], s2: &[u8]) -> [u8; TAG_BYTES] {
        <Hmac<Sha256> as KeyInit>::new(&self.mac_key())
            .chain_update(sealed)
            .chain_update(s2)
            .finalize()
            .into_bytes()
            .into()
    }

    /// HMAC pads its key to a block of SHA-256.
    fn mac_key(&self) -> hmac::digest::Key<Hmac<Sha256>> {
        let mut key = [0; 64];
        key[..32].copy_from_slice(&self.mac);
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::fixtures::{hex, json, key};

    #[test]
    fn the_printed_message_both_ways() {
        let printed = json("rlpx/eip8.json");
        let recipient = key(&printed, "static_key_b");
        let iv = std::array::from_fn(|at| at as u8);
        let message = encrypt(&recipient.public(), &key(&printed, "ephemeral_a"), &iv, b"hello", &[]);
        assert_eq!(message, hex(&printed, "ecies_hello"));
        assert_eq!(decrypt(&recipient, &message, &[]).unwrap(), b"hello");
    }

    fn sample() -> (NodeKey, Vec<u8>) {
        let mut rng = StdRng::seed_from_u64(1);
        let recipient = NodeKey::generate(&mut rng);
        let message = encrypt(&recipient.public(), &NodeKey::generate(&mut rng), &[7; 16], b"body", b"s2");
        (recipient, message)
    }

    #[test]
    fn h01_anything_shorter_than_the_overhead_is_refused() {
        let (recipient, message) = sample();
        for length in 0..OVERHEAD_BYTES {
            assert_eq!(decrypt(&recipient, &message[..length], b"s2"), Err(EciesError), "{length} bytes");
        }
    }

    #[test]
    fn h02_points_off_the_curve_fail_like_a_bad_tag() {
        let (recipient, message) = sample();
        let with_point = |point: &[u8]| [point, &message[65..]].concat();
        let mut off_curve = message[..65].to_vec();
        off_curve[64] ^= 1;
        let zeros = [&[4][..], &[0; 64]].concat();
        let compressed = [&[2][..], &message[1..65]].concat();
        let hybrid = [&[6][..], &message[1..65]].concat();
        for point in [off_curve, zeros, compressed, hybrid, vec![0xff; 65]] {
            assert_eq!(decrypt(&recipient, &with_point(&point), b"s2"), Err(EciesError));
        }
    }

    /// With the tag that a recipient without the check would reckon, which is the one an attacker aims at.
    #[test]
    fn h02_a_stand_in_never_opens_a_message() {
        let recipient = NodeKey::from_bytes(&[5; 32]).unwrap();
        let keys = Keys::derive(&recipient.agree(&recipient.public()));
        let mut message = [&[4][..], &[0; 64], &[7; 16], b"body"].concat();
        message.extend_from_slice(&keys.tag(&message[65..], &[]));
        assert_eq!(decrypt(&recipient, &message, &[]), Err(EciesError));
    }

    #[test]
    fn h03_every_flipped_byte_is_refused() {
        let (recipient, message) = sample();
        assert!(decrypt(&recipient, &message, b"s2").is_ok());
        for at in 0..message.len() {
            let mut message = message.clone();
            message[at] ^= 0x40;
            assert_eq!(decrypt(&recipient, &message, b"s2"), Err(EciesError), "byte {at}");
        }
        assert_eq!(decrypt(&recipient, &message, b"s3"), Err(EciesError));
        assert_eq!(decrypt(&NodeKey::from_bytes(&[9; 32]).unwrap(), &message, b"s2"), Err(EciesError));
    }

    proptest! {
        #[test]
        fn round_trip(secret in 1_u8.., seal in 1_u8.., iv: [u8; 16], plain: Vec<u8>, s2: Vec<u8>) {
            let recipient = NodeKey::from_bytes(&[secret; 32]);
            let ephemeral = NodeKey::from_bytes(&[seal; 32]);
            prop_assume!(recipient.is_ok() && ephemeral.is_ok());
            let (recipient, ephemeral) = (recipient.unwrap(), ephemeral.unwrap());
            let message = encrypt(&recipient.public(), &ephemeral, &iv, &plain, &s2);
            prop_assert_eq!(decrypt(&recipient, &message, &s2).unwrap(), plain);
        }

        #[test]
        fn arbitrary_bytes_are_refused(message in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decrypt(&NodeKey::from_bytes(&[9; 32]).unwrap(), &message, &[]), Err(EciesError));
        }
    }
}
