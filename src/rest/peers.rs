//! The peers that are known, whole, by shard, or counted.  Deployed: nwaku.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use waku2::{
    Multiaddr, PeerId, PubsubTopic, Shard,
    known::{Connectedness, KnownPeer},
};

use super::{answer, ports::Peers};

/// Protocols that peers are counted by, in nwaku's names; all but the first two are services.
const PROTOCOLS: [&str; 9] = [
    waku2::relay::PROTOCOL,
    "/vac/waku/filter-push/2.0.0-beta1",
    "/vac/waku/filter-subscribe/2.0.0-beta1",
    "/vac/waku/store-query/3.0.0",
    "/vac/waku/store/2.0.0-beta4",
    "/vac/waku/lightpush/3.0.0",
    "/vac/waku/lightpush/2.0.0-beta1",
    "/vac/waku/peer-exchange/2.0.0-alpha1",
    "/vac/waku/reconciliation/1.0.0",
];

/// How many of [`PROTOCOLS`] are no services.
const NO_SERVICES: usize = 2;

/// How long the node may take.
const TELL_TIME: Duration = super::wait(5);

/// Who has stopped.
const STOPPED: &str = "the node has stopped";

/// The state of these routes.
type Side = Option<Arc<dyn Peers>>;

/// A peer.
#[derive(Debug, Serialize, ToSchema)]
struct Peer {
    /// Its first known address with `/p2p/` and its id; empty if none is known.
    multiaddr: String,
    /// What it says it serves.
    protocols: Vec<String>,
    /// What it says it relays.
    shards: Vec<u16>,
    /// `NotConnected`, `CannotConnect`, `CanConnect` or `Connected`.
    connected: &'static str,
    /// What it calls its program; empty if that is not known.
    agent: String,
    /// Who named it: `UnknownOrigin`, `Discv5`, `Static`, `PeerExchange` or `Dns`.
    origin: &'static str,
    /// What gossip thinks of it; only in lists by gossip.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// The peers of a shard.
#[derive(Debug, Serialize, ToSchema)]
struct PeersOfShard {
    shard: u16,
    peers: Vec<Peer>,
}

impl Peer {
    fn told(known: KnownPeer) -> Self {
        Self {
            multiaddr: known.addrs.first().map(|addr| with_id(addr, known.peer)).unwrap_or_default(),
            protocols: known.protocols,
            shards: known.shards,
            connected: known.connectedness.name(),
            agent: known.agent,
            origin: known.origin.name(),
            score: None,
        }
    }

    fn scored(known: KnownPeer) -> Self {
        let score = known.score;
        Self { score, ..Self::told(known) }
    }
}

fn with_id(addr: &Multiaddr, peer: PeerId) -> String {
    let text = addr.to_string();
    if text.contains("/p2p/") { text } else { format!("{text}/p2p/{peer}") }
}

/// Its routes.
pub(super) fn router(side: Side) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(all))
        .routes(routes!(one))
        .routes(routes!(service))
        .routes(routes!(connected))
        .routes(routes!(connected_on))
        .routes(routes!(relay))
        .routes(routes!(relay_on))
        .routes(routes!(mesh))
        .routes(routes!(mesh_on))
        .routes(routes!(stats))
        .with_state(side)
}

/// All peers, or an answer that says why not.
async fn known(side: &Side) -> Result<Vec<KnownPeer>, Box<Response>> {
    match side {
        None => Ok(Vec::new()),
        Some(peers) => match timeout(TELL_TIME, peers.known()).await {
            Ok(known) => known.ok_or_else(|| Box::new(answer::failed(STOPPED))),
            Err(_) => Err(Box::new(answer::failed("the node takes too long"))),
        },
    }
}

async fn listed(side: &Side, is_wanted: impl Fn(&KnownPeer) -> bool) -> Response {
    match known(side).await {
        Ok(peers) => Json(peers.into_iter().filter(is_wanted).map(Peer::told).collect::<Vec<_>>()).into_response(),
        Err(answer) => *answer,
    }
}

fn is_connected(peer: &KnownPeer) -> bool {
    peer.connectedness == Connectedness::Connected
}

/// Any shard of a cluster.
fn shard(text: &str) -> Result<u16, Box<Response>> {
    text.parse().map_err(|_| Box::new(answer::bad_request(format!("Invalid shardId: {text}"))))
}

/// All peers that are known.
#[utoipa::path(get, path = "/admin/v1/peers", tag = "admin", responses(
    (status = 200, description = "All that are known", body = Vec<Peer>),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain")))]
async fn all(State(side): State<Side>) -> Response {
    listed(&side, |_| true).await
}

/// One peer.
#[utoipa::path(get, path = "/admin/v1/peer/{peerId}", tag = "admin", params(("peerId" = String, Path, description = "As libp2p writes it")), responses(
    (status = 200, description = "The peer", body = Peer),
    (status = 400, description = "Not a peer id", body = String, content_type = "text/plain"),
    (status = 404, description = "Not a peer that is known", body = String, content_type = "text/plain"),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain")))]
async fn one(State(side): State<Side>, Path(text): Path<String>) -> Response {
    let Ok(id) = text.parse::<PeerId>() else {
        return answer::bad_request(format!("Invalid argument:peerId: {text}"));
    };
    match known(&side).await {
        Ok(peers) => match peers.into_iter().find(|peer| peer.peer == id) {
            Some(peer) => Json(Peer::told(peer)).into_response(),
            None => answer::text(StatusCode::NOT_FOUND, format!("Peer with peerId {id} not found")),
        },
        Err(answer) => *answer,
    }
}

/// Those that say they serve something.
#[utoipa::path(get, path = "/admin/v1/peers/service", tag = "admin", responses(
    (status = 200, description = "With the services alone", body = Vec<Peer>),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain")))]
async fn service(State(side): State<Side>) -> Response {
    let is_service = |name: &String| PROTOCOLS[NO_SERVICES..].contains(&name.as_str());
    match known(&side).await {
        Ok(peers) => {
            let serving = peers.into_iter().filter_map(|mut peer| {
                peer.protocols.retain(is_service);
                (!peer.protocols.is_empty()).then(|| Peer::told(peer))
            });
            Json(serving.collect::<Vec<_>>()).into_response()
        }
        Err(answer) => *answer,
    }
}

/// Those that are connected.
#[utoipa::path(get, path = "/admin/v1/peers/connected", tag = "admin", responses(
    (status = 200, description = "Those that are connected", body = Vec<Peer>),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain")))]
async fn connected(State(side): State<Side>) -> Response {
    listed(&side, is_connected).await
}

/// Those that are connected and relay a shard.
#[utoipa::path(get, path = "/admin/v1/peers/connected/on/{shardId}", tag = "admin", params(("shardId" = u16, Path, description = "A shard of our cluster")), responses(
    (status = 200, description = "Those that say they relay it", body = Vec<Peer>),
    (status = 400, description = "Not a shard", body = String, content_type = "text/plain"),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain")))]
async fn connected_on(State(side): State<Side>, Path(text): Path<String>) -> Response {
    match shard(&text) {
        Ok(shard) => listed(&side, |peer| is_connected(peer) && peer.shards.contains(&shard)).await,
        Err(answer) => *answer,
    }
}

/// Which topics of a peer are meant.
type Topics = fn(&KnownPeer) -> &[PubsubTopic];

fn relayed(peer: &KnownPeer) -> &[PubsubTopic] {
    &peer.relays
}

fn meshed(peer: &KnownPeer) -> &[PubsubTopic] {
    &peer.meshes
}

fn on_shard(peer: &KnownPeer, topics: Topics, shard: u16) -> bool {
    let is_it = |topic: &PubsubTopic| topic.as_str().parse::<Shard>().is_ok_and(|read| read.index == shard);
    topics(peer).iter().any(is_it)
}

fn of_shard(peers: &[KnownPeer], topics: Topics, shard: u16) -> PeersOfShard {
    let there = peers.iter().filter(|peer| on_shard(peer, topics, shard));
    PeersOfShard { shard, peers: there.cloned().map(Peer::scored).collect() }
}

/// The shards that are relayed, once each.
fn shards(side: &dyn Peers) -> Vec<u16> {
    let mut seen = HashSet::new();
    let topics = side.topics();
    let read = topics.iter().filter_map(|topic| topic.as_str().parse::<Shard>().ok());
    read.map(|shard| shard.index).filter(|index| seen.insert(*index)).collect()
}

async fn by_gossip(side: &Side, only: Option<u16>, topics: Topics) -> Response {
    let Some(node) = side else {
        let words = "Error: Relay Protocol is not mounted to the node";
        return answer::text(StatusCode::SERVICE_UNAVAILABLE, words);
    };
    let peers = match known(side).await {
        Ok(peers) => peers,
        Err(answer) => return *answer,
    };
    match only {
        Some(shard) => Json(of_shard(&peers, topics, shard)).into_response(),
        None => {
            let all = shards(&**node).into_iter().map(|shard| of_shard(&peers, topics, shard));
            Json(all.collect::<Vec<_>>()).into_response()
        }
    }
}

async fn by_gossip_on(side: &Side, text: &str, topics: Topics) -> Response {
    match shard(text) {
        Ok(shard) => by_gossip(side, Some(shard), topics).await,
        Err(answer) => *answer,
    }
}

/// Those that relay with us, by shard.
#[utoipa::path(get, path = "/admin/v1/peers/relay", tag = "admin", responses(
    (status = 200, description = "By shard", body = Vec<PeersOfShard>),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain"),
    (status = 503, description = "Nothing is relayed", body = String, content_type = "text/plain")))]
async fn relay(State(side): State<Side>) -> Response {
    by_gossip(&side, None, relayed).await
}

/// Those that relay a shard with us.
#[utoipa::path(get, path = "/admin/v1/peers/relay/on/{shardId}", tag = "admin", params(("shardId" = u16, Path, description = "A shard of our cluster")), responses(
    (status = 200, description = "Those of the shard", body = PeersOfShard),
    (status = 400, description = "Not a shard", body = String, content_type = "text/plain"),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain"),
    (status = 503, description = "Nothing is relayed", body = String, content_type = "text/plain")))]
async fn relay_on(State(side): State<Side>, Path(text): Path<String>) -> Response {
    by_gossip_on(&side, &text, relayed).await
}

/// Those in our meshes, by shard.
#[utoipa::path(get, path = "/admin/v1/peers/mesh", tag = "admin", responses(
    (status = 200, description = "By shard", body = Vec<PeersOfShard>),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain"),
    (status = 503, description = "Nothing is relayed", body = String, content_type = "text/plain")))]
async fn mesh(State(side): State<Side>) -> Response {
    by_gossip(&side, None, meshed).await
}

/// Those in our mesh of a shard.
#[utoipa::path(get, path = "/admin/v1/peers/mesh/on/{shardId}", tag = "admin", params(("shardId" = u16, Path, description = "A shard of our cluster")), responses(
    (status = 200, description = "Those of the shard", body = PeersOfShard),
    (status = 400, description = "Not a shard", body = String, content_type = "text/plain"),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain"),
    (status = 503, description = "Nothing is relayed", body = String, content_type = "text/plain")))]
async fn mesh_on(State(side): State<Side>, Path(text): Path<String>) -> Response {
    by_gossip_on(&side, &text, meshed).await
}

/// How many there are, by group and name.
type Stats = BTreeMap<&'static str, BTreeMap<String, usize>>;

/// How many peers there are.
#[utoipa::path(get, path = "/admin/v1/peers/stats", tag = "admin", responses(
    (status = 200, description = "By group and name", body = BTreeMap<String, BTreeMap<String, usize>>),
    (status = 500, description = "The node has stopped", body = String, content_type = "text/plain")))]
async fn stats(State(side): State<Side>) -> Response {
    match known(&side).await {
        Ok(peers) => {
            let shards = side.as_deref().map(shards).unwrap_or_default();
            Json(counted(&peers, &shards)).into_response()
        }
        Err(answer) => *answer,
    }
}

fn counted(peers: &[KnownPeer], shards: &[u16]) -> Stats {
    let count = |is_wanted: &dyn Fn(&KnownPeer) -> bool| peers.iter().filter(|peer| is_wanted(peer)).count();
    let by_state = |state: Connectedness| (state.name().to_owned(), count(&|peer| peer.connectedness == state));
    let by_protocol =
        |name: &str| (name.to_owned(), count(&|peer| peer.protocols.iter().any(|protocol| protocol == name)));
    Stats::from([
        ("Sum", BTreeMap::from([("Total peers".to_owned(), peers.len())])),
        ("By Connectedness", Connectedness::ALL.map(by_state).into()),
        ("Relay peers", by_shard(peers, shards, relayed, "Total relay peers")),
        ("Mesh peers", by_shard(peers, shards, meshed, "Total mesh peers")),
        ("By Protocols", PROTOCOLS.map(by_protocol).into()),
    ])
}

/// The total is that of the shards.  Deployed: nwaku.
fn by_shard(peers: &[KnownPeer], shards: &[u16], topics: Topics, total: &str) -> BTreeMap<String, usize> {
    let of = |shard: &u16| (shard.to_string(), peers.iter().filter(|peer| on_shard(peer, topics, *shard)).count());
    shards.iter().map(of).chain([(total.to_owned(), shards.len())]).collect()
}
