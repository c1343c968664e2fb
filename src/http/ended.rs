//! How one envelope's or message's way ended, as it is told over HTTP.

use bridge::{Conversion, Crossing, Outcome, handle::NO_ROUTE};
use serde::{Deserialize, Serialize};

/// The end of a way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) direction: String,
    pub(crate) route: String,
    /// As the metrics have it.
    pub(crate) result: String,
    /// `ok`, or why it did not cross.
    pub(crate) reason: String,
    /// The reason in a sentence; none for what crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meaning: Option<String>,
    /// How the other form was made, for what crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Seconds from being handed to the bridge to being confirmed, for what crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took: Option<f64>,
    /// The other side had it already, byte for byte; for what crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) already_there: Option<bool>,
    /// When it ended, in unix seconds.
    pub(crate) at: u64,
    /// How long before it was sent, in seconds, by its own word.
    pub(crate) age: f64,
    pub(crate) topic: Option<String>,
    pub(crate) pubsub_topic: Option<String>,
    pub(crate) envelope: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) fingerprint: Option<String>,
}

impl From<Crossing> for Ended {
    fn from(crossing: Crossing) -> Self {
        let crossed = match crossing.outcome {
            Outcome::Crossed { took, by, already_there } => Some((by, Some(took), Some(already_there))),
            Outcome::WouldCross { by } => Some((by, None, None)),
            Outcome::Archived(_) | Outcome::Dropped(_) => None,
        };
        Self {
            direction: crossing.direction.as_str().to_owned(),
            route: crossing.route.as_deref().unwrap_or(NO_ROUTE).to_owned(),
            result: crossing.outcome.result().to_owned(),
            reason: crossing.outcome.reason().to_owned(),
            meaning: crossing.outcome.missed().map(|reason| reason.meaning().to_owned()),
            by: crossed.map(|(by, ..)| conversion(by).to_owned()),
            took: crossed.and_then(|(_, took, _)| took).map(|took| took.as_secs_f64()),
            already_there: crossed.and_then(|(.., there)| there),
            at: crossing.at,
            age: crossing.age.as_secs_f64(),
            topic: crossing.topic.map(|topic| topic.to_string()),
            pubsub_topic: crossing.pubsub_topic.map(|topic| topic.to_string()),
            envelope: crossing.envelope.map(|hash| hash.to_string()),
            message: crossing.message.map(|hash| hash.to_string()),
            fingerprint: crossing.content.map(|content| hex(content.as_bytes())),
        }
    }
}

/// As all hashes are written.
pub(super) fn hex(bytes: &[u8]) -> String {
    format!("0x{}", ::hex::encode(bytes))
}

fn conversion(by: Conversion) -> &'static str {
    match by {
        Conversion::Wrapped => "wrapped",
        Conversion::Mined => "mined",
        Conversion::Rebuilt => "rebuilt",
        Conversion::Restored => "restored",
    }
}
