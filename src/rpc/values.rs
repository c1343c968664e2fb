//! Bytes, criteria, posts and messages in JSON, in every spelling that deployed clients write.
//!
//! Bytes are read as hex after `0x` and as base64 without: status-go's `waku_*` lost its codecs, and writes them so.

use std::{fmt::Display, str::FromStr};

use data_encoding::BASE64;
use devp2p::{NodeKey, PublicKey};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Map, Value, json};
use waku0::{Pow, Topic, filter::Message, topic::TopicPrefix};

use crate::{cli::BytesForm, keystore::KeyId};

/// The code of errors of an application.  Source: go-ethereum `rpc/errors.go`.
pub(super) const APPLICATION: i32 = -32_000;
/// The code of wrong parameters.  Source: JSON-RPC 2.0, section 5.1.
const INVALID_PARAMS: i32 = -32_602;

/// What a method answers.
pub(super) type Answer = Result<Value, ErrorObjectOwned>;

/// An error in the words of deployed nodes where clients may look for them.
pub(super) fn failed(text: impl ToString) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(APPLICATION, text.to_string(), None::<()>)
}

/// Parameters that can't be read.
pub(super) fn misread(text: impl ToString) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS, text.to_string(), None::<()>)
}

/// A subscription that there is not.
pub(super) fn no_subscription(name: &str) -> ErrorObjectOwned {
    failed(format!("no \"{}\" subscription", name.chars().take(32).collect::<String>()))
}

/// The first parameter.
pub(super) fn first<T: DeserializeOwned>(params: &Params<'_>) -> Result<T, ErrorObjectOwned> {
    params.sequence().next()
}

impl BytesForm {
    /// Writes bytes.
    pub(super) fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 => BASE64.encode(bytes),
        }
    }
}

/// Bytes in hex, whatever the form.
pub(super) fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Bytes as a client writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        let bytes = match text.strip_prefix("0x") {
            Some(digits) => hex::decode(digits).map_err(|_| D::Error::custom("bytes are hex after 0x, or base64"))?,
            None => {
                BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("bytes are hex after 0x, or base64"))?
            }
        };
        Ok(Self(bytes))
    }
}

impl Blob {
    /// A public key of 65 bytes, as these methods write it.
    pub(super) fn public_key(&self) -> Option<PublicKey> {
        let [4, point @ ..] = &self.0[..] else { return None };
        PublicKey::from_bytes(point.try_into().ok()?).ok()
    }
}

/// A public key as these methods write it: 65 bytes.
pub(super) fn sec1(key: &PublicKey) -> Vec<u8> {
    [&[4][..], key.as_bytes()].concat()
}

/// Topics: one, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topics(pub(super) Vec<Topic>);

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer).map(Self)
    }
}

/// Topics, or how they begin: one, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prefixes(pub(super) Vec<TopicPrefix>);

impl<'de> Deserialize<'de> for Prefixes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer).map(Self)
    }
}

fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Spelling {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Option::<Spelling>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Spelling::One(text)) => vec![text],
        Some(Spelling::Many(texts)) => texts,
    };
    texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// What a filter asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Criteria {
    #[serde(rename = "symKeyID")]
    pub(super) sym_key: String,
    #[serde(rename = "privateKeyID")]
    pub(super) private_key: String,
    pub(super) sig: Blob,
    #[serde(rename = "minPow", alias = "minPoW")]
    pub(super) min_pow: f64,
    pub(super) topics: Prefixes,
    #[serde(rename = "allowP2P")]
    pub(super) allow_p2p: bool,
}

/// A post.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NewMessage {
    #[serde(rename = "symKeyID")]
    pub(super) sym_key: String,
    pub(super) pub_key: Blob,
    pub(super) sig: String,
    pub(super) ttl: u32,
    pub(super) topic: Option<String>,
    pub(super) payload: Blob,
    pub(super) padding: Blob,
    pub(super) pow_time: u32,
    pub(super) pow_target: f64,
    pub(super) target_peer: String,
}

/// The id of a key.
pub(super) fn key_id(text: &str) -> Result<KeyId, ErrorObjectOwned> {
    text.parse().map_err(|_| failed("non-existent key ID"))
}

/// A number that is proof of work.
pub(super) fn pow(number: f64) -> Result<Pow, ErrorObjectOwned> {
    Pow::new(number).map_err(misread)
}

/// A secret key in hex.
pub(super) fn private_key(text: &str) -> Result<NodeKey, ErrorObjectOwned> {
    text.parse().map_err(|_| failed("invalid private key"))
}

/// A message as go-ethereum writes it.
pub(super) fn message(message: &Message, form: BytesForm) -> Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value| fields.insert(name.to_owned(), value);
    if let Some(signer) = message.signer() {
        set("sig", json!(form.write(&sec1(&signer))));
    }
    if let Some(recipient) = &message.recipient {
        set("recipientPublicKey", json!(form.write(&sec1(recipient))));
    }
    set("ttl", json!(message.ttl));
    set("timestamp", json!(message.sent));
    set("topic", json!(message.topic.to_string()));
    set("payload", json!(form.write(&message.payload)));
    set("padding", json!(form.write(&message.padding)));
    set("pow", json!(message.pow.value()));
    set("hash", json!(form.write(message.hash.as_bytes())));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hex_or_base64() {
        let read = |text: &str| serde_json::from_value::<Blob>(json!(text)).map(|blob| blob.0).ok();
        assert_eq!(read("0x6869"), Some(b"hi".to_vec()));
        assert_eq!(read("aGk="), Some(b"hi".to_vec()));
        assert_eq!((read(""), read("0x")), (Some(vec![]), Some(vec![])));
        assert_eq!((read("0x6"), read("hi!"), read("0xzz")), (None, None, None));
        assert_eq!((BytesForm::Hex.write(b"hi"), BytesForm::Base64.write(b"hi")), ("0x6869".into(), "aGk=".into()));
    }

    #[test]
    fn topics_stand_alone_or_in_a_list() {
        let read = |value| serde_json::from_value::<Topics>(value).ok().map(|topics| topics.0.len());
        assert_eq!(read(json!("0x01020304")), Some(1));
        assert_eq!(read(json!(["0x01020304", "05060708"])), Some(2));
        assert_eq!((read(json!(null)), read(json!(["0x01"]))), (Some(0), None));
        let begins = |value| serde_json::from_value::<Prefixes>(value).ok().map(|topics| topics.0.len());
        assert_eq!(begins(json!(["0x01020304", "0x01"])), Some(2));
        assert_eq!(
            (begins(json!("0x0102")), begins(json!(["0x"])), begins(json!("0x0102030405"))),
            (Some(1), None, None)
        );
    }
}
