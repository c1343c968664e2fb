//! Admin: lists of peers, calls, and the log.

use serde_json::{Value, json};

use super::{
    case::{Case, Sent, ask, check_all, router},
    world::{ID, OTHER_ID, State, World},
};
use crate::{cli::LogLevel, logging::LevelRefused};

fn connected(score: Option<f64>) -> Value {
    let mut peer = json!({"multiaddr": format!("/ip4/127.0.0.1/tcp/60001/p2p/{ID}"), "shards": [1], "connected": "Connected",
        "protocols": ["/vac/waku/relay/2.0.0", "/vac/waku/store-query/3.0.0", "/ipfs/ping/1.0.0"],
        "agent": "nwaku-v0.37.0", "origin": "Static"});
    if let Some(score) = score {
        peer["score"] = json!(score);
    }
    peer
}

fn unconnected() -> Value {
    json!({"multiaddr": "", "protocols": [], "shards": [1], "connected": "CannotConnect", "agent": "", "origin": "Discv5"})
}

fn serving() -> Value {
    let mut peer = connected(None);
    peer["protocols"] = json!(["/vac/waku/store-query/3.0.0"]);
    peer
}

fn stats() -> Value {
    json!({
        "Sum": {"Total peers": 2},
        "By Connectedness": {"NotConnected": 0, "CannotConnect": 1, "CanConnect": 0, "Connected": 1},
        "Relay peers": {"0": 0, "1": 1, "Total relay peers": 2},
        "Mesh peers": {"0": 0, "1": 1, "Total mesh peers": 2},
        "By Protocols": {"/vac/waku/relay/2.0.0": 1, "/vac/waku/filter-push/2.0.0-beta1": 0,
            "/vac/waku/filter-subscribe/2.0.0-beta1": 0, "/vac/waku/store-query/3.0.0": 1,
            "/vac/waku/store/2.0.0-beta4": 0, "/vac/waku/lightpush/3.0.0": 0, "/vac/waku/lightpush/2.0.0-beta1": 0,
            "/vac/waku/peer-exchange/2.0.0-alpha1": 0, "/vac/waku/reconciliation/1.0.0": 0},
    })
}

fn stopped(state: &mut State) {
    state.peers = None;
}

fn without_relay(state: &mut State) {
    state.has_network = false;
}

pub(super) fn cases() -> Vec<Case> {
    let get = |path| Case::of("GET", path);
    let of_1 = json!({"shard": 1, "peers": [connected(Some(1.5))]});
    let by_shard = json!([{"shard": 0, "peers": []}, of_1]);
    let no_relay = "Error: Relay Protocol is not mounted to the node";
    let mut cases = Vec::new();
    for (path, all) in [
        ("/admin/v1/peers", json!([connected(None), unconnected()])),
        ("/admin/v1/peers/service", json!([serving()])),
        ("/admin/v1/peers/connected", json!([connected(None)])),
        ("/admin/v1/peers/stats", stats()),
    ] {
        cases.push(get(path).json(200, all));
        cases.push(get(path).given(stopped).text(500, "the node has stopped"));
    }
    cases.push(get("/admin/v1/peers").given(without_relay).json(200, json!([])));
    let on = "/admin/v1/peers/connected/on/{shardId}";
    cases.push(get(on).at("/admin/v1/peers/connected/on/1").json(200, json!([connected(None)])));
    cases.push(get(on).at("/admin/v1/peers/connected/on/0").json(200, json!([])));
    for (all, on) in [
        ("/admin/v1/peers/relay", "/admin/v1/peers/relay/on/{shardId}"),
        ("/admin/v1/peers/mesh", "/admin/v1/peers/mesh/on/{shardId}"),
    ] {
        cases.push(get(all).json(200, by_shard.clone()));
        cases.push(get(all).given(without_relay).text(503, no_relay));
        cases.push(get(on).at(on.replace("{shardId}", "1")).json(200, of_1.clone()));
        cases.push(get(on).at(on.replace("{shardId}", "7")).json(200, json!({"shard": 7, "peers": []})));
        cases.push(get(on).at(on.replace("{shardId}", "1")).given(without_relay).text(503, no_relay));
    }
    for on in [on, "/admin/v1/peers/relay/on/{shardId}", "/admin/v1/peers/mesh/on/{shardId}"] {
        for wrong in ["x", "-1", "65536", "1.5"] {
            let words = format!("Invalid shardId: {wrong}");
            cases.push(get(on).at(on.replace("{shardId}", wrong)).text(400, &words));
        }
    }
    let one = || get("/admin/v1/peer/{peerId}");
    let unknown = ID.replacen("16Uiu2HAmVFX", "16Uiu2HAmVFY", 1);
    cases.extend([
        one().at(format!("/admin/v1/peer/{ID}")).json(200, connected(None)),
        one().at("/admin/v1/peer/x").begins(400, "Invalid argument:peerId"),
        one().at(format!("/admin/v1/peer/{unknown}")).begins(404, "Peer with peerId"),
    ]);
    cases.extend(calls());
    cases.extend(log_levels());
    cases
}

fn calls() -> Vec<Case> {
    let addr = |id: &str| format!("/ip4/127.0.0.1/tcp/60001/p2p/{id}");
    let of = || Case::of("POST", "/admin/v1/peers");
    let second = format!("Failed to connect to peer at index: 1 - {}", addr(OTHER_ID));
    let filter = || Case::of("GET", "/admin/v1/filter/subscriptions");
    let subscriptions =
        json!([{"peerId": ID, "filterCriteria": [{"pubsubTopic": "/waku/2/rs/1/1", "contentTopic": "/a/1/b/c"}]}]);
    vec![
        of().with(&json!([addr(ID), addr(OTHER_ID)])).ok(),
        of().with(&json!([addr(ID), addr(OTHER_ID)]))
            .given(|state| state.unreachable = OTHER_ID.parse().ok())
            .text(400, &second),
        of().with(&json!([addr(ID)]))
            .given(|state| state.slow = true)
            .begins(400, "Failed to connect to peer at index: 0"),
        of().with(&json!([addr(ID)])).given(without_relay).begins(400, "Failed to connect to peer at index: 0"),
        of().with(&json!(["/ip4/127.0.0.1/tcp/1"])).begins(400, "Couldn't parse remote peer info: "),
        of().with(&json!(vec![addr(ID); 65])).text(400, "Give at most 64 peers"),
        of().with(&json!({})).begins(400, "Invalid content body, could not decode. "),
        of().text(400, "Missing content body"),
        of().sending("text/html", "[]").text(400, "Wrong Content-Type, expected application/json or text/plain"),
        of().sending("text/plain", &json!([addr(ID)]).to_string()).ok(),
        filter().json(200, subscriptions),
        filter()
            .given(|state| state.serves_filter = false)
            .text(400, "Error: Filter Protocol is not mounted to the node"),
    ]
}

fn log_levels() -> Vec<Case> {
    let of = |level: &str| Case::of("POST", "/admin/v1/log-level/{level}").at(format!("/admin/v1/log-level/{level}"));
    let refused = |refused: LevelRefused| of("DEBUG").given(move |state| state.level = Err(refused));
    let mut cases: Vec<Case> =
        ["TRACE", "debug", "Info", "NOTICE", "warn", "ERROR", "fatal"].map(|level| of(level).ok()).into();
    cases.extend([
        of("LOUD").text(400, "Invalid log-level 'LOUD'"),
        refused(LevelRefused::LeftOut).text(400, "Log level is below the least that this build knows"),
        refused(LevelRefused::NotOurs).text(503, "Log level can't be changed at run time"),
    ]);
    cases
}

#[tokio::test]
async fn each_row_and_status() {
    check_all(cases()).await;
}

#[tokio::test]
async fn what_is_asked_for_is_done_in_order_up_to_the_first_that_fails() {
    let world = World::new();
    world.state().unreachable = OTHER_ID.parse().ok();
    let addrs = [ID, OTHER_ID, ID].map(|id| format!("/ip4/127.0.0.1/tcp/60001/p2p/{id}"));
    assert_eq!(ask(&router(&world), "POST", "/admin/v1/peers", Sent::json(&json!(addrs))).await.status, 400);
    let called: Vec<String> = world.state().called.iter().map(ToString::to_string).collect();
    assert_eq!(called, addrs[..2]);
    assert_eq!(ask(&router(&world), "POST", "/admin/v1/log-level/warn", Sent::nothing()).await.status, 200);
    assert_eq!(world.state().levels, [LogLevel::Warn]);
}
