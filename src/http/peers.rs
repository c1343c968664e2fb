//! `GET /bridge/v1/peers`: who is connected on either side, and of what use each is.
//!
//! `v1` has peers of waku/0, waku/1 and shh/6, which `protocols` tells apart, `v2` those of the Waku Network; a side that does not run has
//! none. Times are in unix seconds. `score` is what the side thinks of a peer, and only to be compared within a side: [`waku0::upkeep`] for `v1`,
//! gossip's for `v2`; `useful_in` is what a peer brought that
//! was wanted. What `v2` peers were sent is not known, for gossip does not tell. `bridge` says that the peer's name is one that bridges have;
//! anybody may have it, and nothing follows from it.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use crate::probe::{Probe, looks_like_a_bridge};

/// Both sides.
#[derive(Debug, Serialize)]
pub(super) struct Peers {
    v1: Vec<Peer>,
    v2: Vec<Peer>,
}

/// A connected peer.
#[derive(Debug, PartialEq, Serialize)]
struct Peer {
    /// A node id of 64 hex digits, or a peer id.
    id: String,
    /// Its program, as it says.
    client: Option<String>,
    /// Its end of the connection.
    address: String,
    /// `in` when it called us, else `out`.
    direction: &'static str,
    /// What is spoken with it; for `v2` all that it says it speaks.
    protocols: Vec<String>,
    since: u64,
    score: Option<f64>,
    /// What it brought that was wanted.
    useful_in: Volume,
    /// What it was brought that it wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    useful_out: Option<Volume>,
    /// All that it sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    /// Whether it forwards nothing; missing before it has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    light: Option<bool>,
    bridge: bool,
}

/// Envelopes or messages, and their bytes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Volume {
    count: u64,
    bytes: u64,
}

impl From<waku0::accounting::Volume> for Volume {
    fn from(volume: waku0::accounting::Volume) -> Self {
        Self { count: volume.envelopes, bytes: volume.bytes }
    }
}

impl From<waku0::PeerInfo> for Peer {
    fn from(info: waku0::PeerInfo) -> Self {
        Self {
            id: hex::encode(info.key.id().as_bytes()),
            bridge: looks_like_a_bridge(&info.client_id),
            client: Some(info.client_id),
            address: info.addr.to_string(),
            direction: direction(info.inbound),
            protocols: vec![info.version.to_string()],
            since: info.since.unix_secs(),
            score: info.score,
            useful_in: info.traffic.account.received.into(),
            useful_out: Some(info.traffic.account.sent.into()),
            bytes_in: Some(info.traffic.bytes_in),
            light: info.options.map(|options| options.light),
        }
    }
}

impl From<waku2::handle::PeerInfo> for Peer {
    fn from(info: waku2::handle::PeerInfo) -> Self {
        Self {
            id: info.peer.to_string(),
            bridge: info.agent.as_deref().is_some_and(looks_like_a_bridge),
            client: info.agent,
            address: info.addr.to_string(),
            direction: direction(info.direction == waku2::handle::Direction::Inbound),
            protocols: info.protocols,
            since: info.since.unix_secs(),
            score: info.score,
            useful_in: Volume { count: info.brought.messages, bytes: info.brought.bytes },
            useful_out: None,
            bytes_in: None,
            light: None,
        }
    }
}

fn direction(inbound: bool) -> &'static str {
    if inbound { "in" } else { "out" }
}

/// Who is connected on either side. Those who have been there longest come first.
#[utoipa::path(get, path = "/bridge/v1/peers", tag = "bridge", responses((status = 200, description = "Both sides", body = Object)))]
pub(super) async fn peers(State(probe): State<Arc<Probe>>) -> Json<Peers> {
    let v1 = match &probe.v0 {
        Some(v0) => v0.node.peers().await.into_iter().map(Peer::from).collect(),
        None => Vec::new(),
    };
    let v2 = match &probe.v2 {
        Some(v2) => v2.node.peers().await.into_iter().map(Peer::from).collect(),
        None => Vec::new(),
    };
    Json(Peers { v1: sorted(v1), v2: sorted(v2) })
}

fn sorted(mut peers: Vec<Peer>) -> Vec<Peer> {
    peers.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
    peers
}

#[cfg(test)]
mod tests {
    use devp2p::{ConnId, NodeKey, clock::now};
    use waku0::{
        accounting::{Account, Traffic},
        peer::PeerOptions,
        version::Version,
    };

    use super::*;

    #[test]
    fn a_peer_of_waku_0_is_told_with_what_it_brought() {
        let volume = |envelopes, bytes| waku0::accounting::Volume { envelopes, bytes };
        let account = Account { received: volume(2, 300), sent: volume(1, 100) };
        let key = NodeKey::from_bytes(&[3; 32]).unwrap().public();
        let info = waku0::PeerInfo {
            conn: ConnId(1),
            key,
            client_id: "causeway/1".to_owned(),
            addr: "127.0.0.1:30303".parse().unwrap(),
            inbound: true,
            version: Version::Waku0,
            since: now(),
            options: Some(PeerOptions { light: true, ..PeerOptions::default() }),
            traffic: Traffic { account, bytes_in: 512 },
            score: Some(0.5),
        };
        let told = serde_json::to_value(Peer::from(info.clone())).unwrap();
        assert_eq!(told["id"], hex::encode(key.id().as_bytes()));
        assert_eq!(told["protocols"], serde_json::json!(["waku/0"]));
        assert_eq!((&told["direction"], &told["light"], &told["bridge"]), (&"in".into(), &true.into(), &true.into()));
        assert_eq!(told["useful_in"], serde_json::json!({ "count": 2, "bytes": 300 }));
        assert_eq!(told["useful_out"], serde_json::json!({ "count": 1, "bytes": 100 }));
        assert_eq!((&told["bytes_in"], &told["score"]), (&512.into(), &0.5.into()));
        let early = serde_json::to_value(Peer::from(waku0::PeerInfo { options: None, score: None, ..info })).unwrap();
        assert_eq!((early.get("light"), &early["score"]), (None, &serde_json::Value::Null), "before its Status");
    }

    #[test]
    fn who_has_been_there_longest_comes_first() {
        let peer = |id: &str, since| Peer {
            id: id.to_owned(),
            client: None,
            address: String::new(),
            direction: "in",
            protocols: Vec::new(),
            since,
            score: None,
            useful_in: Volume { count: 0, bytes: 0 },
            useful_out: None,
            bytes_in: None,
            light: None,
            bridge: false,
        };
        let peers = sorted(vec![peer("c", 2), peer("b", 1), peer("a", 2)]);
        assert_eq!(peers.iter().map(|peer| peer.id.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
