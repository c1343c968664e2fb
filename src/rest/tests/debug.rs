//! `/health`, `/info`, `/version`.

use serde_json::json;

use super::{
    case::{Case, ask, check_all, router},
    world::{ID, World},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["/info", "/debug/v1/info"] {
        let addrs = [format!("/ip4/1.2.3.4/tcp/60000/p2p/{ID}"), format!("/ip4/1.2.3.4/tcp/8000/ws/p2p/{ID}")];
        cases.push(Case::of("GET", path).json(200, json!({"listenAddresses": addrs, "enrUri": "enr:-abc"})));
    }
    for path in ["/version", "/debug/v1/version"] {
        cases.push(Case::of("GET", path).text(200, "v0.37.0-3-gabc123"));
    }
    let health = || Case::of("GET", "/health");
    let none = |name: &str| json!({ name: "NOT_MOUNTED" });
    let mut protocols = vec![json!({"Relay": "NOT_READY", "desc": "no connected peers"})];
    protocols.extend(
        [
            "Rln Relay",
            "Lightpush",
            "Legacy Lightpush",
            "Filter",
            "Store",
            "Legacy Store",
            "Peer Exchange",
            "Rendezvous",
            "Mix",
            "Lightpush Client",
            "Legacy Lightpush Client",
            "Store Client",
            "Legacy Store Client",
            "Filter Client",
        ]
        .map(none),
    );
    cases.push(health().json(200, json!({"nodeHealth": "READY", "protocolsHealth": protocols})));
    cases.push(health().given(|state| state.slow = true).text(500, "Health check timed out"));
    cases.push(health().given(|state| state.healthy = false).text(503, "Health check failed"));
    cases
}

#[tokio::test]
async fn each_row_and_status() {
    check_all(cases()).await;
}

#[tokio::test]
async fn scripts_find_the_peer_id_and_the_websocket_address() {
    let info = ask(&router(&World::new()), "GET", "/debug/v1/info", super::case::Sent::nothing()).await.json();
    let addrs = info["listenAddresses"].as_array().unwrap().clone();
    assert_eq!(addrs[0].as_str().unwrap().rsplit('/').next(), Some(ID));
    assert!(addrs.iter().any(|addr| addr.as_str().unwrap().contains("/ws")));
}
