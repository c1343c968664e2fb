//! A js-waku peer under the driver: a relay node over WebSocket, or the SDK's light node.

use crate::deadline::poll;
use crate::process::{Event, Process, is, text};
use crate::waku_peer::{PUBSUB, peer_id};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// From the start of the program to its `ready`: Node reads 170 packages.
const START: Duration = Duration::from_secs(60);
/// From a command to its answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Until a peer is in its mesh: a few heartbeats of a second.
const MESH: Duration = Duration::from_secs(60);

/// A running peer.
#[derive(Debug)]
pub(crate) struct JsPeer {
    process: Process,
    id: String,
    listens: Option<String>,
}

impl JsPeer {
    /// Starts a peer on cluster 0, shard 0; later flags win.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start(script: &Path, name: &str, flags: &[&str]) -> Result<Self> {
        let script = script.to_str().context("the path of the peer is not Unicode")?;
        let arguments: Vec<&str> = [script, "--cluster", "0", "--shards", "0"].iter().chain(flags).copied().collect();
        let process = Process::spawn(name, Path::new("node"), &arguments)?;
        let ready = process.ready(START)?;
        let listens = ready["listen"][0].as_str().map(str::to_owned);
        Ok(Self { id: text(&ready, "peer").to_owned(), listens, process })
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// Its peer id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where it is dialled, with its id.
    ///
    /// # Errors
    /// When it was not told to listen.
    pub(crate) fn listens(&self) -> Result<String> {
        self.listens.clone().ok_or_else(|| self.process.failure("it listens nowhere"))
    }

    /// What identify and the connection say of a node that it dialled.
    ///
    /// # Errors
    /// When they do not meet.
    pub(crate) fn connected(&self, multiaddr: &str) -> Result<Event> {
        let id = peer_id(multiaddr);
        self.process.wait(&format!("identify of {id}"), 0, ANSWER, |e| {
            (is(e, "connected") && text(e, "peer") == id).then(|| Event::new(e.clone()))
        })
    }

    /// Waits until a node is in its mesh, and it in that of the node, as far as it can tell.
    ///
    /// # Errors
    /// When it is not in time.
    pub(crate) fn await_mesh(&self, multiaddr: &str) -> Result<()> {
        let id = peer_id(multiaddr);
        let meshed = poll(MESH, || {
            let peers = self.ask("peers").ok()?;
            let mesh = peers["mesh"][PUBSUB]["mesh"].as_array()?;
            mesh.iter().any(|peer| peer == id).then_some(())
        });
        meshed.with_context(|| self.process.failure(&format!("no mesh with {id}")).to_string())
    }

    /// Gives a command that only one at a time is under way of, and waits for its answer.
    ///
    /// # Errors
    /// When it answers with an error, or not in time.
    pub(crate) fn ask(&self, line: &str) -> Result<Event> {
        self.process.ask(line, "reply", ANSWER)
    }

    /// Publishes on the shard; gives the message's hash.
    ///
    /// # Errors
    /// As [`JsPeer::ask`].
    pub(crate) fn publish(&self, content_topic: &str, payload: &[u8]) -> Result<String> {
        let reply = self.ask(&format!("relay-pub {content_topic} {}", hex::encode(payload)))?;
        Ok(text(&reply, "hash").to_owned())
    }
}

/// The hash of a message that arrived by relay; what a peer published itself does not arrive.
pub(crate) fn arrived(event: &Value) -> Option<&str> {
    (is(event, "message") && text(event, "via") == "relay").then(|| text(event, "hash"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn relay_alone_is_an_arrival() {
        assert_eq!(arrived(&json!({"event": "message", "via": "relay", "hash": "ab"})), Some("ab"));
        assert_eq!(arrived(&json!({"event": "message", "via": "filter", "hash": "ab"})), None);
        assert_eq!(arrived(&json!({"event": "reply", "cmd": "relay-pub", "hash": "ab"})), None);
    }
}
