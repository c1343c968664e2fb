//! Is the node well?  `/health` has nwaku's form and is 200 in every state; `/readyz` is for orchestration and names what
//! is missing.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::probe::Reading;

/// Services of a Waku Network node in the order of nwaku's report; the ones after relay are not mounted yet.
const UNMOUNTED: [&str; 14] = [
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
];
/// A queue that is fuller than this share of its bound makes the node unready.
const QUEUE_MARK: f64 = 0.8;

/// What `/readyz` answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Readiness {
    /// Each side has peers and nothing is overloaded.
    pub(crate) ready: bool,
    /// What is missing.
    pub(crate) failing: Vec<Failing>,
}

/// One part that fails.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failing {
    /// Which part.
    pub(crate) part: &'static str,
    /// What is wrong, for a person.
    pub(crate) detail: String,
}

/// Compares the reading with what the node needs.
pub(crate) fn readiness(now: &Reading) -> Readiness {
    let mut failing = Vec::new();
    let mut check = |well: bool, part, detail: &str| {
        if !well {
            failing.push(Failing { part, detail: detail.into() });
        }
    };
    check(now.v1_peers > 0, "v1_peers", "no waku/0 peer has exchanged Status with us");
    check(now.v2_peers != Some(0), "v2_peers", "no Waku Network peer relays a bridged topic with us");
    for queue in &now.queues {
        let full = queue.depth as f64 >= QUEUE_MARK * queue.bound as f64;
        check(!full, "queues", &format!("{}: {} of {} places taken", queue.stage, queue.depth, queue.bound));
    }
    Readiness { ready: failing.is_empty(), failing }
}

/// The report of `/health`.
pub(crate) fn report(now: &Reading) -> Value {
    let relay = match now.v2_peers {
        None => json!({"Relay": "NOT_MOUNTED"}),
        Some(0) => json!({"Relay": "NOT_READY", "desc": "no connected peers"}),
        Some(_) => json!({"Relay": "READY"}),
    };
    let unmounted =
        UNMOUNTED.iter().map(|name| Value::Object(Map::from_iter([((*name).to_owned(), json!("NOT_MOUNTED"))])));
    let protocols: Vec<Value> = std::iter::once(relay).chain(unmounted).collect();
    json!({"nodeHealth": "READY", "protocolsHealth": protocols})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Queue;

    fn reading(v1_peers: usize, v2_peers: usize, depth: usize) -> Reading {
        let queues = vec![Queue { stage: "mining", depth, bound: 100 }];
        Reading { v1_peers, v2_peers: Some(v2_peers), queues, ..Reading::default() }
    }

    #[test]
    fn ready_only_with_peers_on_both_sides_and_room_in_the_queues() {
        assert_eq!(readiness(&reading(1, 1, 79)), Readiness { ready: true, failing: vec![] });
        let parts = |r: Readiness| r.failing.iter().map(|f| f.part).collect::<Vec<_>>();
        assert_eq!(parts(readiness(&reading(0, 1, 0))), ["v1_peers"]);
        assert_eq!(parts(readiness(&reading(1, 0, 0))), ["v2_peers"]);
        assert_eq!(parts(readiness(&reading(0, 0, 80))), ["v1_peers", "v2_peers", "queues"]);
        let alone = Reading { v1_peers: 1, ..Reading::default() };
        assert!(readiness(&alone).ready);
        assert_eq!(report(&alone)["protocolsHealth"][0], json!({"Relay": "NOT_MOUNTED"}));
    }

    #[test]
    fn health_has_the_form_that_scripts_wait_for() {
        let report = report(&reading(0, 0, 0));
        assert_eq!(report["nodeHealth"], "READY");
        assert_eq!(report["protocolsHealth"][0], json!({"Relay": "NOT_READY", "desc": "no connected peers"}));
        assert_eq!(report["protocolsHealth"][1], json!({"Rln Relay": "NOT_MOUNTED"}));
        assert_eq!(report["protocolsHealth"].as_array().unwrap().len(), 15);
    }
}
