//! A go-waku relay node under the driver.

use crate::process::{Event, Process, is, number, text};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The pubsub topic of the default network: cluster 0, shard 0.
pub(crate) const PUBSUB: &str = "/waku/2/rs/0/0";

/// From the start of the program to its `ready`.
const START: Duration = Duration::from_secs(30);
/// From a command to its answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Until a peer is in its mesh: a dial that is repeated after a back-off, and a few heartbeats of a second.
const MESH: Duration = Duration::from_secs(60);

/// A running node.
#[derive(Debug)]
pub(crate) struct WakuPeer {
    process: Process,
    multiaddr: String,
    enr: String,
}

/// A message as go-waku reports it: published, or arrived by relay.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The deterministic hash of 14/WAKU2-MESSAGE.
    pub(crate) hash: String,
    pub(crate) content_topic: String,
    /// Nanoseconds.
    pub(crate) timestamp: u64,
    pub(crate) version: u64,
    pub(crate) ephemeral: bool,
    /// Hex.
    pub(crate) meta: String,
    pub(crate) payload_sha256: String,
    /// What go-waku's decoder made of it, in hex; `None` if no key opened it.
    pub(crate) opened: Option<String>,
    /// Whether another peer delivered it; what this node published itself has no origin.
    pub(crate) foreign: bool,
    pub(crate) at_ms: u64,
}

impl WakuPeer {
    /// Starts a relay node on cluster 0, shard 0; later flags win.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start(program: &Path, name: &str, flags: &[&str]) -> Result<Self> {
        let arguments: Vec<&str> = ["-cluster", "0", "-shards", "0", "-trace"].iter().chain(flags).copied().collect();
        let process = Process::spawn(name, program, &arguments)?;
        let ready = process.ready(START)?;
        let (multiaddr, enr) = (text(&ready, "tcp").to_owned(), text(&ready, "enr").to_owned());
        Ok(Self { process, multiaddr, enr })
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn multiaddr(&self) -> &str {
        &self.multiaddr
    }

    /// Its signed node record, as it was at the start.
    pub(crate) fn enr(&self) -> &str {
        &self.enr
    }

    /// Waits until the node of that multiaddr is in its mesh, so that what it publishes goes there.
    ///
    /// # Errors
    /// When it is not in time.
    pub(crate) fn await_mesh(&self, multiaddr: &str) -> Result<()> {
        let id = peer_id(multiaddr);
        self.process.wait(&format!("mesh with {id}"), 0, MESH, |e| {
            (is(e, "graft") && text(e, "peer") == id && text(e, "pubsub_topic") == PUBSUB).then_some(())
        })
    }

    /// Opens arriving messages with a key.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) fn open_with(&self, key: &str) -> Result<()> {
        self.ask(&format!("open {key}"))?;
        Ok(())
    }

    /// Seals a payload as version 1 and publishes it, without waiting for the answer.
    ///
    /// # Errors
    /// When it no longer reads commands.
    pub(crate) fn publish_sealed(&self, key: &str, content_topic: &str, payload: &[u8]) -> Result<()> {
        self.process.line(&format!("pub-sealed {PUBSUB} {content_topic} {key} {}", hex::encode(payload)))
    }

    /// Gives a command that only one at a time is under way of, and waits for its answer.
    ///
    /// # Errors
    /// When it answers with an error, or not in time.
    pub(crate) fn ask(&self, line: &str) -> Result<Event> {
        self.process.ask(line, "reply", ANSWER)
    }

    /// Publishes and waits for what was published.
    ///
    /// # Errors
    /// As [`WakuPeer::ask`].
    pub(crate) fn publish(&self, line: &str) -> Result<Message> {
        Message::published(&*self.ask(line)?).context("a reply without a message")
    }
}

impl Message {
    /// Reads the reply to a publication.
    pub(crate) fn published(event: &Value) -> Option<Self> {
        (is(event, "reply") && text(event, "cmd").starts_with("pub")).then(|| Self::read(event)).flatten()
    }

    /// Reads a message that arrived.
    pub(crate) fn arrived(event: &Value) -> Option<Self> {
        is(event, "message").then(|| Self::read(event)).flatten().filter(|message| message.foreign)
    }

    fn read(event: &Value) -> Option<Self> {
        Some(Self {
            hash: text(event, "hash").to_owned(),
            content_topic: text(event, "content_topic").to_owned(),
            timestamp: number(event, "timestamp")?,
            version: number(event, "version")?,
            ephemeral: event.get("ephemeral")?.as_bool()?,
            meta: text(event, "meta").to_owned(),
            payload_sha256: text(event, "payload_sha256").to_owned(),
            opened: event.get("opened").and_then(Value::as_str).map(str::to_owned),
            foreign: event.get("from").is_some(),
            at_ms: number(event, "t")?,
        })
    }
}

/// The peer id at the end of a multiaddr.
pub(crate) fn peer_id(multiaddr: &str) -> &str {
    multiaddr.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_peer_is_known_by_its_id() {
        assert_eq!(peer_id("/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAm"), "16Uiu2HAm");
    }

    #[test]
    fn what_a_node_published_itself_did_not_arrive() {
        let own = json!({"event": "message", "timestamp": 1, "version": 1, "ephemeral": false, "t": 1});
        assert!(Message::arrived(&own).is_none());
        let mut foreign = own;
        foreign["from"] = "16Uiu2HAm".into();
        assert_eq!(Message::arrived(&foreign).map(|m| m.timestamp), Some(1));
    }
}
