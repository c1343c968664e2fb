//! `GET /bridge/v1/messages/{hash}`: what became of an envelope or a message, on both sides.
//!
//! The hash is that of an envelope, of a message, or of what they say (fingerprint): 64 hex digits, with 0x or without. 404 when nothing
//! is known of it. `causeway trace` prints the same for people.

use archive::Row;
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bridge::{
    Direction,
    handle::NO_ROUTE,
    seen::State as Progress,
    story::{AnyHash, Known, Story, UnderWay},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ended::{Ended, hex};
use crate::storage::archive::History;

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) hash: String,
    pub(crate) known: Vec<Remembered>,
    pub(crate) under_way: Vec<Waiting>,
    pub(crate) ended: Vec<Ended>,
    pub(crate) archive: Vec<Archived>,
}

/// A row of the archive.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Archived {
    /// In unix seconds, by its own word.
    pub(crate) sent: f64,
    /// In unix seconds.
    pub(crate) stored_at: u64,
    /// Why it is there although it did not cross; none for what did.
    pub(crate) reason: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) envelope: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) pubsub_topic: Option<String>,
    pub(crate) content_topic: Option<String>,
    /// Of what it says.
    pub(crate) bytes: usize,
    /// The Waku Network has it, or has had it.
    pub(crate) proven: bool,
}

/// What the memory of what was seen holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) fingerprint: String,
    /// The side it was first seen on: `v1` or `v2`.
    pub(crate) first: String,
    /// In unix seconds, by its own word.
    pub(crate) sent: u64,
    /// `pending`, `retry`, `done` or `dropped`.
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meaning: Option<String>,
    pub(crate) envelope: Option<String>,
    pub(crate) message: Option<String>,
    /// How often the same came again without a mark.
    pub(crate) copies: u8,
    /// It goes round, and does not cross for a while.
    pub(crate) quarantined: bool,
}

/// What is on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) direction: String,
    pub(crate) route: String,
    /// As the metric bridge_queue_depth has it.
    pub(crate) stage: String,
    /// Failed attempts since the far side last gained a peer.
    pub(crate) attempts: u8,
    /// Seconds since the bridge was given it.
    pub(crate) since: f64,
    pub(crate) envelope: Option<String>,
    pub(crate) message: Option<String>,
}

impl From<Known> for Remembered {
    fn from(Known { content, entry, quarantined }: Known) -> Self {
        let (state, reason) = match entry.state {
            Progress::Pending => ("pending", None),
            Progress::Retry => ("retry", None),
            Progress::Done => ("done", None),
            Progress::Dropped(reason) => ("dropped", Some(reason)),
        };
        Self {
            fingerprint: hex(content.as_bytes()),
            first: match entry.first {
                Direction::V1ToV2 => "v1".to_owned(),
                Direction::V2ToV1 => "v2".to_owned(),
            },
            sent: entry.sent,
            state: state.to_owned(),
            reason: reason.map(|reason| reason.as_str().to_owned()),
            meaning: reason.map(|reason| reason.meaning().to_owned()),
            envelope: entry.envelope.map(|hash| hash.to_string()),
            message: entry.message.map(|hash| hash.to_string()),
            copies: entry.copies,
            quarantined,
        }
    }
}

impl From<UnderWay> for Waiting {
    fn from(job: UnderWay) -> Self {
        Self {
            direction: job.direction.as_str().to_owned(),
            route: job.route.as_deref().unwrap_or(NO_ROUTE).to_owned(),
            stage: job.stage.as_str().to_owned(),
            attempts: job.attempts,
            since: job.since.as_secs_f64(),
            envelope: job.envelope.map(|hash| hash.to_string()),
            message: job.message.map(|hash| hash.to_string()),
        }
    }
}

impl From<Row> for Archived {
    fn from(row: Row) -> Self {
        let (pubsub_topic, content_topic) =
            row.message.as_ref().map(|m| (m.pubsub_topic.clone(), m.content_topic.clone())).unzip();
        Self {
            sent: row.sent_ns as f64 / 1e9,
            stored_at: row.stored_at,
            topic: row.envelope.map(|envelope| hex(&envelope.topic)),
            envelope: row.mined().map(|mined| hex(&mined.hash)),
            message: row.message.map(|message| hex(&message.hash)),
            pubsub_topic,
            content_topic,
            bytes: row.payload.len(),
            proven: row.proven,
            reason: row.reason,
        }
    }
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) bridge: bridge::Handle,
    pub(crate) history: Option<History>,
}

/// What became of an envelope or a message.
#[utoipa::path(get, path = "/bridge/v1/messages/{hash}", tag = "bridge", params(("hash" = String, Path, description = "64 hex digits")), responses(
    (status = 200, description = "All that is known of it", body = Object),
    (status = 400, description = "Not a hash", body = Object),
    (status = 404, description = "Nothing is known of it", body = Object),
    (status = 500, description = "The archive can't be read", body = Object)))]
pub(super) async fn messages(State(sources): State<Sources>, Path(text): Path<String>) -> Response {
    let refusal = |status, error: &str| (status, Json(json!({ "error": error }))).into_response();
    let Some(hash) = any_hash(&text) else {
        return refusal(StatusCode::BAD_REQUEST, "a hash is 64 hex digits, with 0x or without");
    };
    let archived = match &sources.history {
        None => Ok(Vec::new()),
        Some(history) => history.about(&hash).await,
    };
    let archived = match archived {
        Ok(rows) => rows,
        Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let story = sources.bridge.story(hash).await;
    if story.is_empty() && archived.is_empty() {
        let error = "nothing is known of it: it was never here, or it is longer ago than the bridge remembers";
        return refusal(StatusCode::NOT_FOUND, error);
    }
    Json(told(&hash, story, archived)).into_response()
}

fn told(hash: &AnyHash, Story { known, under_way, ended }: Story, archived: Vec<Row>) -> Told {
    Told {
        hash: hex(hash),
        known: known.into_iter().map(Remembered::from).collect(),
        under_way: under_way.into_iter().map(Waiting::from).collect(),
        ended: ended.into_iter().map(Ended::from).collect(),
        archive: archived.into_iter().map(Archived::from).collect(),
    }
}

/// 64 hex digits.
pub(crate) fn any_hash(text: &str) -> Option<AnyHash> {
    let mut hash = AnyHash::default();
    ::hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        let digits = "0f".repeat(32);
        assert_eq!(any_hash(&digits), Some([0x0f; 32]));
        assert_eq!(any_hash(&format!("0x{digits}")), Some([0x0f; 32]));
        for wrong in ["", "0x", "0f", &digits[1..], &format!("{digits}00"), &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(any_hash(wrong), None, "{wrong}");
        }
    }
}
