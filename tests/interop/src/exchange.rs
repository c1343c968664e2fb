//! Relays of the Waku Network around one node, whatever software they are: who publishes, who hears, and whether all was heard once.

use crate::crossing::settle;
use crate::js_peer::{self, JsPeer};
use crate::payloads::bytes;
use crate::process::Process;
use crate::waku_peer::{Message, PUBSUB, WakuPeer};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// From the last publication to the last arrival.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A relay under the driver.
#[derive(Debug)]
pub(crate) enum Relay {
    /// go-waku.
    Go(WakuPeer),
    /// js-libp2p's gossipsub with js-waku's messages.
    Js(JsPeer),
}

impl Relay {
    pub(crate) const fn process(&self) -> &Process {
        match self {
            Self::Go(peer) => peer.process(),
            Self::Js(peer) => peer.process(),
        }
    }

    /// Publishes on the shard; gives the message's hash.
    fn publish(&self, content_topic: &str, payload: &[u8]) -> Result<String> {
        let hash = match self {
            Self::Go(peer) => peer.publish(&format!("pub {PUBSUB} {content_topic} {}", hex::encode(payload)))?.hash,
            Self::Js(peer) => peer.publish(content_topic, payload)?,
        };
        Ok(plain(&hash))
    }

    /// The hash of a message that another brought.
    fn arrived(&self, event: &Value) -> Option<String> {
        match self {
            Self::Go(_) => Message::arrived(event).map(|message| plain(&message.hash)),
            Self::Js(_) => js_peer::arrived(event).map(plain),
        }
    }

    /// The hashes of all that has arrived after a place in its log, in order.
    pub(crate) fn heard(&self, cursor: usize) -> Vec<String> {
        self.process().log().since(cursor).iter().filter_map(|event| self.arrived(event)).collect()
    }

    /// Waits for messages, known by their hashes; each goes with the name of who published it.
    ///
    /// # Errors
    /// When some are missing.
    pub(crate) fn await_all(&self, cursor: usize, mut missing: HashMap<&str, &str>) -> Result<()> {
        let what = format!("{} messages", missing.len());
        let all = self.process().wait(&what, cursor, ARRIVAL, |event| {
            if let Some(hash) = self.arrived(event) {
                missing.remove(hash.as_str());
            }
            missing.is_empty().then_some(())
        });
        let publishers: Vec<&str> = missing.into_values().collect();
        all.with_context(|| format!("{} missed messages of {publishers:?}", self.process().name()))
    }
}

/// Each publishes payloads of these sizes, in turns. Each must hear all of the others' once, and nothing else.
///
/// # Errors
/// When anything was lost, doubled, or came back.
pub(crate) fn exchange(relays: &[&Relay], content_topic: &str, sizes: &[usize], seed: u64) -> Result<()> {
    let cursors: Vec<usize> = relays.iter().map(|relay| relay.process().log().len()).collect();
    let mut published = vec![Vec::new(); relays.len()];
    for (n, &size) in sizes.iter().enumerate() {
        for (who, relay) in relays.iter().enumerate() {
            let payload = bytes(size, seed + (who * sizes.len() + n) as u64);
            published[who].push(relay.publish(content_topic, &payload)?);
        }
    }
    let owed = |to: usize| {
        let others = published.iter().zip(relays).enumerate().filter(move |(who, _)| *who != to);
        let named =
            others.flat_map(|(_, (hashes, relay))| hashes.iter().map(|hash| (hash.as_str(), relay.process().name())));
        named.collect::<HashMap<_, _>>()
    };
    for (n, relay) in relays.iter().enumerate() {
        relay.await_all(cursors[n], owed(n))?;
    }
    settle(&relays.iter().map(|relay| relay.process()).collect::<Vec<_>>())?;
    for (n, relay) in relays.iter().enumerate() {
        let (heard, owed) = (relay.heard(cursors[n]), owed(n));
        let strange: Vec<_> = heard.iter().filter(|hash| !owed.contains_key(hash.as_str())).collect();
        ensure!(
            heard.len() == owed.len() && strange.is_empty(),
            "{} heard {} messages, not each of {} once; that nobody here published: {strange:?}",
            relay.process().name(),
            heard.len(),
            owed.len()
        );
    }
    Ok(())
}

/// Hashes are written with and without a prefix.
fn plain(hash: &str) -> String {
    hash.trim_start_matches("0x").to_owned()
}
