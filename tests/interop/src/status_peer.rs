//! A status-go waku/0 node under the driver.

use crate::process::{Event, Process, is, number, text};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// From the start of the program to its `ready`.
const START: Duration = Duration::from_secs(20);
/// From a command to its answer. Sealing is such a command, and the slowest of them takes a second.
const ANSWER: Duration = Duration::from_secs(30);
/// Until a session with a peer is up: status-go tries a failed dial again after 35 s.
const SESSION: Duration = Duration::from_secs(60);

/// A running node.
#[derive(Debug)]
pub(crate) struct StatusPeer {
    process: Process,
    enode: String,
}

/// An envelope as a peer reports it: sealed by `send`, or seen in a Messages packet.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) hash: String,
    pub(crate) topic: String,
    pub(crate) expiry: u64,
    pub(crate) ttl: u64,
    pub(crate) nonce: u64,
    /// Proof of work, as status-go reckons it.
    pub(crate) pow: f64,
    /// SHA-256 of the sealed bytes, which cross unchanged.
    pub(crate) data_sha256: String,
    /// When it was reported, in milliseconds.
    pub(crate) at_ms: u64,
}

/// An envelope that the peer's own keys opened.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) hash: String,
    /// Hex.
    pub(crate) payload: String,
    /// Unix seconds.
    pub(crate) sent: u64,
    pub(crate) at_ms: u64,
}

impl StatusPeer {
    /// Starts a node that accepts the large envelopes of Status clients, with their lower proof of work.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start(program: &Path, name: &str, flags: &[&str]) -> Result<Self> {
        let arguments: Vec<&str> = ["-minpow", "0.000002", "-name", name].iter().chain(flags).copied().collect();
        let process = Process::spawn(name, program, &arguments)?;
        let enode = text(&*process.ready(START)?, "enode").to_owned();
        Ok(Self { process, enode })
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn enode(&self) -> &str {
        &self.enode
    }

    /// Its public key, 128 hex digits.
    pub(crate) fn key(&self) -> &str {
        node_key(&self.enode)
    }

    /// Waits until it has a waku/0 session with the node of that enode.
    ///
    /// # Errors
    /// When there is none in time.
    pub(crate) fn await_session(&self, enode: &str) -> Result<()> {
        let key = node_key(enode);
        let what = format!("session with {key:.16}...");
        self.process
            .wait(&what, 0, SESSION, |e| (is(e, "peer-added") && node_key(text(e, "enode")) == key).then_some(()))
    }

    /// Opens envelopes of these topics with a key.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) fn subscribe(&self, key: &str, topics: &[&str]) -> Result<()> {
        self.ask(&format!("sub {key} {}", topics.join(",")), "subscribed")?;
        Ok(())
    }

    /// Seals and sends a payload, without waiting for the answer.
    ///
    /// # Errors
    /// When it no longer reads commands.
    pub(crate) fn send(&self, key: &str, topic: &str, ttl: u32, pow: &str, payload: &[u8]) -> Result<()> {
        self.process.line(&format!("send {key} {topic} {ttl} {pow} {}", hex::encode(payload)))
    }

    /// Gives a command and waits for the event that answers it.
    ///
    /// # Errors
    /// When it answers with an error, or not in time.
    pub(crate) fn ask(&self, line: &str, answer: &str) -> Result<Event> {
        self.process.ask(line, answer, ANSWER)
    }
}

impl Envelope {
    /// Reads an event that is about an envelope and has this name.
    pub(crate) fn of(event: &Value, name: &str) -> Option<Self> {
        if !is(event, name) {
            return None;
        }
        Some(Self {
            hash: text(event, "hash").to_owned(),
            topic: text(event, "topic").to_owned(),
            expiry: number(event, "expiry")?,
            ttl: number(event, "ttl")?,
            nonce: number(event, "nonce")?,
            pow: event.get("pow").and_then(Value::as_f64).unwrap_or_default(),
            data_sha256: text(event, "data_sha256").to_owned(),
            at_ms: number(event, "t")?,
        })
    }

    /// Its send time, unix seconds.
    pub(crate) const fn sent(&self) -> u64 {
        self.expiry - self.ttl
    }
}

impl Opened {
    /// Reads an event that is about an opened envelope.
    pub(crate) fn of(event: &Value) -> Option<Self> {
        if !is(event, "message-decrypted") {
            return None;
        }
        Some(Self {
            hash: text(event, "hash").to_owned(),
            payload: text(event, "payload").to_owned(),
            sent: number(event, "sent")?,
            at_ms: number(event, "t")?,
        })
    }
}

/// The public key in an enode URL.
fn node_key(enode: &str) -> &str {
    enode.trim_start_matches("enode://").split('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_enode_is_known_by_its_key() {
        assert_eq!(node_key("enode://abcd@127.0.0.1:1?discport=0"), "abcd");
        assert_eq!(node_key("enode://abcd@[::1]:2"), "abcd");
    }

    #[test]
    fn a_nonce_keeps_all_its_64_bits() {
        let line = r#"{"event":"sent","expiry":20,"ttl":15,"nonce":18446744073709551615,"t":1}"#;
        let envelope = Envelope::of(&serde_json::from_str(line).unwrap(), "sent").unwrap();
        assert_eq!((envelope.nonce, envelope.sent()), (u64::MAX, 5));
    }

    #[test]
    fn other_events_are_no_envelopes() {
        assert!(Envelope::of(&json!({"event": "made", "expiry": 1, "ttl": 1, "nonce": 1, "t": 1}), "sent").is_none());
        assert!(Opened::of(&json!({"event": "ready"})).is_none());
    }
}
