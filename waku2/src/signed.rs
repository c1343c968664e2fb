//! Signed ("protected") shards: only messages signed with the shard's key pass.  Source: nwaku and go-waku; no specification.
//!
//! The signature stands in `meta`, 64 bytes r and s without a recovery byte, over a hash of its own: little-endian time and the
//! ephemeral flag are in it, version and meta are not. High values of s are refused, as libsecp256k1 does everywhere. A message so
//! signed has no room in `meta` for anything else, the bridge's origin tags for example.

use std::{fmt, str::FromStr, time::Duration};

use secp256k1::{PublicKey, SecretKey, ecdsa::Signature};
use sha2::{Digest, Sha256};

use crate::{
    message::{Meta, WakuMessage},
    topic::PubsubTopic,
};

/// How far a signed message's time may be from ours, either way and exclusively, so that no signature is of use for ever.
/// Deployed: nwaku; go-waku also takes one of exactly that age.
pub const WINDOW: Duration = Duration::from_secs(300);

/// A key that may verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(PublicKey);

/// A key that may sign.
#[derive(Clone)]
pub struct SigningKey(SecretKey);

/// No key of the curve secp256k1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the curve secp256k1 in hexadecimal digits")]
pub struct KeyError;

/// Why a message does not pass a signed shard, or can't be signed for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// It has no time, or one further than [`WINDOW`] from ours.
    #[error("a signed message needs a time within {} s of ours", WINDOW.as_secs())]
    Time,
    /// `meta` is not the signature of this message by the shard's key.
    #[error("not signed with the shard's key")]
    Signature,
    /// `meta` is taken, so that there is no place for the signature.
    #[error("meta is taken: there is no place for the signature")]
    MetaTaken,
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    /// 66 digits (compressed) or 130 (uncompressed), as nwaku takes them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| KeyError)?;
        PublicKey::from_slice(&bytes).map(Self).map_err(|_| KeyError)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.serialize()))
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    /// 64 digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut secret = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut secret).map_err(|_| KeyError)?;
        SecretKey::from_secret_bytes(secret).map(Self).map_err(|_| KeyError)
    }
}

impl PartialEq for SigningKey {
    /// By what others verify with, which is no secret.
    fn eq(&self, other: &Self) -> bool {
        self.verifying() == other.verifying()
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.verifying())
    }
}

impl SigningKey {
    /// The key with which others verify.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey(PublicKey::from_secret_key(&self.0))
    }

    /// The message with its signature in `meta`.
    ///
    /// # Errors
    /// [`SignedError::Time`] when it has no time, [`SignedError::MetaTaken`].
    pub fn sign(&self, topic: &PubsubTopic, message: WakuMessage) -> Result<WakuMessage, SignedError> {
        if message.timestamp.is_none() {
            return Err(SignedError::Time);
        }
        if !message.meta.is_empty() {
            return Err(SignedError::MetaTaken);
        }
        let signature = secp256k1::ecdsa::sign(digest(topic, &message), &self.0);
        let meta = Meta::new(signature.serialize_compact().to_vec()).map_err(|_| SignedError::MetaTaken)?;
        Ok(WakuMessage { meta, ..message })
    }
}

/// What is signed.
#[must_use]
pub fn signed_hash(topic: &PubsubTopic, message: &WakuMessage) -> [u8; 32] {
    Sha256::new()
        .chain_update(topic.as_str())
        .chain_update(&message.payload)
        .chain_update(message.content_topic.as_str())
        .chain_update(message.timestamp.unwrap_or_default().to_le_bytes())
        .chain_update([u8::from(message.ephemeral)])
        .finalize()
        .into()
}

/// Is the message signed with the shard's key, lately?
///
/// # Errors
/// [`SignedError::Time`] before [`SignedError::Signature`]: the curve is the dearer of the two.
pub fn verify(
    key: &VerifyingKey,
    topic: &PubsubTopic,
    message: &WakuMessage,
    unix_nanos: i64,
) -> Result<(), SignedError> {
    let nanos = message.timestamp.ok_or(SignedError::Time)?;
    if u128::from(nanos.abs_diff(unix_nanos)) >= WINDOW.as_nanos() {
        return Err(SignedError::Time);
    }
    let bytes = <[u8; 64]>::try_from(&message.meta.bytes()[..]).map_err(|_| SignedError::Signature)?;
    let signature = Signature::from_compact(&bytes).map_err(|_| SignedError::Signature)?;
    secp256k1::ecdsa::verify(&signature, digest(topic, message), &key.0).map_err(|_| SignedError::Signature)
}

fn digest(topic: &PubsubTopic, message: &WakuMessage) -> secp256k1::Message {
    secp256k1::Message::from_digest(signed_hash(topic, message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    struct Vector {
        secret: SigningKey,
        public: VerifyingKey,
        topic: PubsubTopic,
        message: WakuMessage,
        hash: Vec<u8>,
    }

    fn vector() -> Vector {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/message/signed.json"));
        let value: Value = serde_json::from_str(text).unwrap();
        let field = |name: &str| value[name].as_str().unwrap().to_owned();
        Vector {
            secret: field("secret").parse().unwrap(),
            public: field("public").parse().unwrap(),
            topic: field("pubsub_topic").parse().unwrap(),
            message: WakuMessage {
                payload: hex::decode(field("payload")).unwrap().into(),
                content_topic: field("content_topic").into(),
                version: 0,
                timestamp: value["timestamp"].as_i64(),
                meta: Meta::new(hex::decode(field("signature")).unwrap()).unwrap(),
                rate_limit_proof: None,
                ephemeral: value["ephemeral"].as_bool().unwrap(),
            },
            hash: hex::decode(field("hash")).unwrap(),
        }
    }

    #[test]
    fn nwakus_known_answer_both_ways() {
        let Vector { secret, public, topic, message, hash } = vector();
        assert_eq!(signed_hash(&topic, &message)[..], hash);
        assert_eq!(secret.verifying(), public);
        assert_eq!(verify(&public, &topic, &message, message.timestamp.unwrap()), Ok(()));
        let unsigned = WakuMessage { meta: Meta::default(), ..message.clone() };
        assert_eq!(secret.sign(&topic, unsigned), Ok(message), "the same nonce as well");
    }

    #[test]
    fn the_reference_message_has_its_signed_hash() {
        let message = WakuMessage {
            payload: "hello".into(),
            content_topic: "/waku/2/default-content/proto".into(),
            version: 0,
            timestamp: Some(1_700_000_000_123_456_789),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        assert_eq!(
            hex::encode(signed_hash(&"/waku/2/rs/1/1".parse().unwrap(), &message)),
            "1db57657a2da43954d742feae65bc68290dc6ab30afb49084a7deb251027587b"
        );
    }

    #[test]
    fn a_signature_is_of_use_for_less_than_five_minutes() {
        let Vector { public, topic, message, .. } = vector();
        let sent = message.timestamp.unwrap();
        let at = |now| verify(&public, &topic, &message, now);
        for now in [sent - 300 * SECOND, sent + 300 * SECOND, i64::MIN, i64::MAX, 0] {
            assert_eq!(at(now), Err(SignedError::Time), "{now}");
        }
        for now in [sent - 300 * SECOND + 1, sent + 300 * SECOND - 1] {
            assert_eq!(at(now), Ok(()), "{now}");
        }
        let timeless = WakuMessage { timestamp: None, ..message.clone() };
        assert_eq!(verify(&public, &topic, &timeless, 0), Err(SignedError::Time));
    }

    #[test]
    fn whatever_is_signed_counts() {
        let Vector { public, topic, message, .. } = vector();
        let refused = |topic: &PubsubTopic, message: WakuMessage| {
            assert_eq!(
                verify(&public, topic, &message, vector().message.timestamp.unwrap()),
                Err(SignedError::Signature)
            );
        };
        refused(&"/waku/2/rs/0/0".parse().unwrap(), message.clone());
        refused(&topic, WakuMessage { payload: "x".into(), ..message.clone() });
        refused(&topic, WakuMessage { content_topic: "x".into(), ..message.clone() });
        refused(&topic, WakuMessage { ephemeral: false, ..message.clone() });
        refused(&topic, WakuMessage { timestamp: message.timestamp.map(|nanos| nanos + 1), ..message.clone() });
        for meta in [vec![], vec![0; 63], vec![0; 64], vec![0xff; 64]] {
            refused(&topic, WakuMessage { meta: Meta::new(meta).unwrap(), ..message.clone() });
        }
        let other = "11".repeat(32).parse::<SigningKey>().unwrap().verifying();
        assert_eq!(verify(&other, &topic, &message, message.timestamp.unwrap()), Err(SignedError::Signature));
    }

    #[test]
    fn a_high_s_is_refused() {
        let Vector { public, topic, message, .. } = vector();
        // The order of the curve less s.
        const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let (order, mut bytes) = (hex::decode(ORDER).unwrap(), message.meta.bytes().to_vec());
        let mut borrow = false;
        for place in (0..32).rev() {
            let (less, first) = order[place].overflowing_sub(bytes[32 + place]);
            let (less, second) = less.overflowing_sub(u8::from(borrow));
            (bytes[32 + place], borrow) = (less, first || second);
        }
        let high = WakuMessage { meta: Meta::new(bytes).unwrap(), ..message.clone() };
        assert_eq!(verify(&public, &topic, &high, message.timestamp.unwrap()), Err(SignedError::Signature));
    }

    #[test]
    fn what_can_t_be_signed() {
        let Vector { secret, topic, message, .. } = vector();
        assert_eq!(secret.sign(&topic, message.clone()), Err(SignedError::MetaTaken));
        let timeless = WakuMessage { timestamp: None, meta: Meta::default(), ..message };
        assert_eq!(secret.sign(&topic, timeless), Err(SignedError::Time));
    }

    #[test]
    fn keys_are_read_in_both_forms_and_never_shown() {
        let Vector { secret, public, .. } = vector();
        let compressed = public.to_string();
        assert_eq!((compressed.len(), compressed.parse()), (66, Ok(public)));
        for bad in ["", "04", "zz", &"00".repeat(33), &"11".repeat(65)] {
            assert_eq!(bad.parse::<VerifyingKey>(), Err(KeyError), "{bad}");
        }
        for bad in ["", &"00".repeat(32), &"ff".repeat(32), &"11".repeat(33)] {
            assert!(bad.parse::<SigningKey>().is_err(), "{bad}");
        }
        assert!(!format!("{secret:?}").contains("5526a899"));
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies(payload: Vec<u8>, nanos in 1_i64.., ephemeral: bool) {
            let Vector { secret, public, topic, message, .. } = vector();
            let message = WakuMessage {
                payload: payload.into(), timestamp: Some(nanos), ephemeral, meta: Meta::default(), ..message
            };
            let signed = secret.sign(&topic, message).unwrap();
            prop_assert_eq!(verify(&public, &topic, &signed, nanos), Ok(()));
        }
    }
}
