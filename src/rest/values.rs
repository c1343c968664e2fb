//! Messages as JSON.  Deployed: nwaku's `RelayWakuMessage`, `FilterWakuMessage` and the messages of its store.
//!
//! Bytes are standard base64 with padding; without it they are taken too. Times are whole nanoseconds since 1970.

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::ToSchema;
use waku2::{
    Meta, WakuMessage,
    message::{MAX_META_BYTES, MetaTooLong},
};

/// Base64 without padding, and of any bits behind the last byte: as clients strip and write it.
static LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut form = BASE64_NOPAD.specification();
    form.check_trailing_bits = false;
    form.encoding().unwrap_or(BASE64_NOPAD)
});

/// Bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Base64(pub(super) Bytes);

impl Base64 {
    /// Reads them, padded or not.
    pub(super) fn read(text: &str) -> Result<Bytes, data_encoding::DecodeError> {
        Ok(LENIENT.decode(text.trim_end_matches('=').as_bytes())?.into())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map(Self).map_err(|error| D::Error::custom(format_args!("not base64: {error}")))
    }
}

/// A text that says something.
fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(D::Error::custom("the field is missing or empty")) } else { Ok(text) }
}

/// Bytes of a text that says something.
fn filled_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
    let text = filled(deserializer)?;
    Base64::read(&text).map(Base64).map_err(|error| D::Error::custom(format_args!("not base64: {error}")))
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewMessage {
    /// What it says.
    #[serde(deserialize_with = "filled_bytes")]
    #[schema(value_type = String, format = Byte, min_length = 1)]
    payload: Base64,
    /// What it is about.
    #[serde(deserialize_with = "filled")]
    #[schema(min_length = 1)]
    content_topic: String,
    /// How the payload is encrypted; 0 unless given.
    version: Option<u32>,
    /// When it was made, in nanoseconds since 1970; now, unless given or 0.
    timestamp: Option<i64>,
    /// The application's own few bytes, 64 at most.
    #[schema(value_type = Option<String>, format = Byte)]
    meta: Option<Base64>,
    /// Must not be stored.
    ephemeral: Option<bool>,
    /// A rate-limit proof.
    #[schema(value_type = Option<String>, format = Byte)]
    proof: Option<Base64>,
}

impl NewMessage {
    /// The message; `now` is what its time is when it has none, in nanoseconds since 1970.
    pub(super) fn message(self, now: i64) -> Result<WakuMessage, MetaTooLong> {
        let bytes = |field: Option<Base64>| field.unwrap_or_default().0;
        Ok(WakuMessage {
            payload: self.payload.0,
            content_topic: self.content_topic.into(),
            version: self.version.unwrap_or_default(),
            timestamp: self.timestamp.filter(|nanos| *nanos != 0).or(Some(now)),
            meta: Meta::new(bytes(self.meta))?,
            rate_limit_proof: Some(bytes(self.proof)).filter(|proof| !proof.is_empty()),
            ephemeral: self.ephemeral.unwrap_or_default(),
        })
    }
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    /// What it says.
    #[schema(value_type = String, format = Byte)]
    payload: Base64,
    /// What it is about.
    content_topic: String,
    /// How the payload is encrypted.
    version: u32,
    /// When it was made, in nanoseconds since 1970; 0 when it does not say.
    timestamp: i64,
    /// Must not be stored.
    ephemeral: bool,
    /// The application's own few bytes, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Byte, max_length = 88)]
    meta: Option<Base64>,
    /// Its rate-limit proof: relay tells it always, the store if there is one, filter never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Byte)]
    proof: Option<Base64>,
}

const _: () = assert!(MAX_META_BYTES == 64, "what the schemas say");

impl Message {
    /// As relay tells it.
    pub(super) fn relayed(message: WakuMessage) -> Self {
        let proof = message.rate_limit_proof.clone().unwrap_or_default();
        Self { proof: Some(Base64(proof)), ..Self::pushed(message) }
    }

    /// As filter tells it.
    pub(super) fn pushed(message: WakuMessage) -> Self {
        Self {
            payload: Base64(message.payload),
            content_topic: message.content_topic.as_str().to_owned(),
            version: message.version,
            timestamp: message.timestamp.unwrap_or_default(),
            ephemeral: message.ephemeral,
            meta: Some(message.meta.bytes().clone()).filter(|meta| !meta.is_empty()).map(Base64),
            proof: None,
        }
    }

    /// As the store tells it.
    pub(super) fn stored(message: WakuMessage) -> Self {
        let proof = message.rate_limit_proof.clone().map(Base64);
        Self { proof, ..Self::pushed(message) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_700_000_000_123_456_789;

    fn read(json: Value) -> Result<WakuMessage, String> {
        let new: NewMessage = serde_json::from_value(json).map_err(|error| error.to_string())?;
        new.message(NOW).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let message = read(json!({"payload": "aGk=", "contentTopic": "/a/1/b/c", "unknown": {}})).unwrap();
        let expected = WakuMessage {
            payload: "hi".into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp: Some(NOW),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        assert_eq!(message, expected);
        let nothing = json!({"payload": "aGk=", "contentTopic": "/a/1/b/c", "version": null, "timestamp": 0, "meta": "",
            "ephemeral": null, "proof": ""});
        assert_eq!(read(nothing).unwrap(), expected);
        assert_eq!(
            serde_json::to_value(Message::relayed(expected.clone())).unwrap(),
            json!({"payload": "aGk=", "contentTopic": "/a/1/b/c", "version": 0, "timestamp": NOW, "ephemeral": false,
                "proof": ""})
        );
        for told in [Message::pushed(expected.clone()), Message::stored(expected)] {
            assert_eq!(serde_json::to_value(told).unwrap().get("proof"), None);
        }
    }

    #[test]
    fn every_field_is_read_and_told() {
        let full = json!({"payload": "aGk=", "contentTopic": "/a", "version": 1, "timestamp": -5, "meta": "bQ==",
            "ephemeral": true, "proof": "cHI="});
        let message = read(full.clone()).unwrap();
        assert_eq!(serde_json::to_value(Message::relayed(message.clone())).unwrap(), full);
        assert_eq!(serde_json::to_value(Message::stored(message.clone())).unwrap(), full);
        let pushed = serde_json::to_value(Message::pushed(message)).unwrap();
        assert_eq!((pushed.get("proof"), &pushed["meta"]), (None, &json!("bQ==")));
    }

    #[test]
    fn what_is_no_message() {
        for (field, value) in [
            ("payload", json!(null)),
            ("payload", json!("")),
            ("payload", json!("  ")),
            ("payload", json!("a$==")),
            ("payload", json!("aGk=x")),
            ("payload", json!(5)),
            ("contentTopic", json!(" ")),
            ("contentTopic", json!(["/a"])),
            ("version", json!(-1)),
            ("version", json!(4_294_967_296_u64)),
            ("timestamp", json!(1.5)),
            ("timestamp", json!("1")),
            ("timestamp", json!(9_223_372_036_854_775_808_u64)),
            ("meta", json!("*")),
            ("meta", json!(BASE64.encode(&[0; 65]))),
            ("ephemeral", json!("true")),
            ("proof", json!(1)),
        ] {
            let mut message = json!({"payload": "aGk=", "contentTopic": "/a"});
            message[field] = value.clone();
            assert!(read(message).is_err(), "{field} {value}");
        }
        for missing in [json!({"payload": "aGk="}), json!({"contentTopic": "/a"}), json!([]), json!("x")] {
            assert!(read(missing.clone()).is_err(), "{missing}");
        }
    }

    proptest! {
        #[test]
        fn base64_is_read_with_padding_and_without(bytes: Vec<u8>) {
            let text = BASE64.encode(&bytes);
            prop_assert_eq!(Base64::read(&text).unwrap(), &bytes);
            prop_assert_eq!(Base64::read(text.trim_end_matches('=')).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_survived(text: String) {
            let _ = Base64::read(&text);
        }
    }
}
