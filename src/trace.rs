//! The sub-command `trace`: asks a running bridge what became of an envelope or a message, and tells it in sentences.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use anyhow::Context;
use hyper::StatusCode;
use serde_json::Value;

use crate::{
    cli::TraceArgs,
    http::{
        ended::Ended,
        messages::{Archived, Remembered, Told, Waiting, any_hash},
    },
    output::say,
    web,
};

/// How long the bridge may take. It walks over its whole memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No hash.
    #[error("{0:?} is no hash: it has 64 hex digits, with 0x or without")]
    Hash(String),
    /// Nobody answers there.
    #[error("no bridge answers at {0}: {1}. Is it running? --rest names its address and port")]
    Unreached(String, String),
    /// It knows nothing, or can't tell.
    #[error("{0}")]
    Refused(String),
}

/// Asks, and prints what is told.
///
/// # Errors
/// [`TraceError`], or when standard output can't be written.
pub async fn run(args: &TraceArgs) -> anyhow::Result<()> {
    let hash = any_hash(&args.hash).ok_or_else(|| TraceError::Hash(args.hash.chars().take(80).collect()))?;
    let path = format!("/bridge/v1/messages/0x{}", hex::encode(hash));
    let asked = web::get(&args.rest, &path, ANSWER_WITHIN).await;
    let (status, answer) =
        asked.map_err(|unreached| TraceError::Unreached(args.rest.clone(), unreached.why().to_owned()))?;
    if status != StatusCode::OK {
        return Err(TraceError::Refused(why(status, &answer)).into());
    }
    if args.json {
        say(String::from_utf8_lossy(&answer))?;
    } else {
        let told: Told = serde_json::from_slice(&answer).context("the bridge's answer is not understood")?;
        say(told.to_string().trim_end())?;
    }
    Ok(())
}

/// The bridge's own word, or the status.
fn why(status: StatusCode, answer: &[u8]) -> String {
    let said =
        serde_json::from_slice::<Value>(answer).ok().and_then(|answer| Some(answer["error"].as_str()?.to_owned()));
    said.unwrap_or_else(|| format!("HTTP {status}: is this the HTTP of a bridge?"))
}

impl Display for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.hash)?;
        self.known.iter().try_for_each(|known| write!(f, "{known}"))?;
        self.under_way.iter().try_for_each(|job| write!(f, "{job}"))?;
        self.ended.iter().try_for_each(|ended| write!(f, "{ended}"))?;
        self.archive.iter().try_for_each(|row| write!(f, "{row}"))
    }
}

impl Display for Remembered {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = match self.state.as_str() {
            "done" => "both sides have it",
            "dropped" => "it did not cross",
            _ => "it is on its way",
        };
        writeln!(f, "first seen on {}, sent at {} (unix seconds): {state}", self.first, self.sent)?;
        if let Some(meaning) = &self.meaning {
            writeln!(f, "  why          {meaning}")?;
        }
        line(f, "envelope", self.envelope.as_ref())?;
        line(f, "message", self.message.as_ref())?;
        line(f, "fingerprint", Some(&self.fingerprint))?;
        if self.copies > 0 {
            writeln!(f, "  came again   {} times, without a bridge's mark", self.copies)?;
        }
        if self.quarantined {
            writeln!(f, "  quarantine   its content goes round, and does not cross for ten minutes")?;
        }
        Ok(())
    }
}

impl Display for Waiting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { direction, route, stage, attempts, since, .. } = self;
        writeln!(f, "now {} by route {route}: {stage} since {since:.1} s, {attempts} failed attempts", way(direction))
    }
}

impl Display for Ended {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { direction, route, at, age, .. } = self;
        let on = self.pubsub_topic.as_ref().map(|topic| format!(", {topic}")).unwrap_or_default();
        write!(f, "{} by route {route}{on}, at {at}, {age:.1} s after it was sent: {}", way(direction), self.result)?;
        match (&self.by, self.took) {
            (Some(by), Some(took)) => write!(f, " ({by}) in {took:.3} s")?,
            _ => write!(f, ", {}", self.reason)?,
        }
        if self.already_there == Some(true) {
            write!(f, "; it was there already")?;
        }
        writeln!(f)?;
        self.meaning.iter().try_for_each(|meaning| writeln!(f, "  why          {meaning}"))
    }
}

impl Display for Archived {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { sent, stored_at, bytes, .. } = self;
        let why = self.reason.as_ref().map(|reason| format!(", instead of crossing: {reason}")).unwrap_or_default();
        writeln!(f, "in the archive since {stored_at}, {bytes} bytes, sent at {sent:.3}{why}")?;
        line(f, "envelope", self.envelope.as_ref())?;
        line(f, "message", self.message.as_ref())?;
        line(f, "on", self.pubsub_topic.as_ref())
    }
}

fn way(direction: &str) -> String {
    direction.replace("_to_", " to ")
}

fn line(f: &mut Formatter<'_>, name: &str, value: Option<&String>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(f, "  {name:<12} {value}"))
}
