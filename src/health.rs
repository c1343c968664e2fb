//! Is the node well?  `/health` has nwaku's form and is 200 in every state; `/readyz` is for orchestration and names what
//! is missing.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::probe::Reading;

/// Services of a Waku Network node after relay, in the order of nwaku's report. Of these only [`PEER_EXCHANGE`] is there yet.
const AFTER_RELAY: [&str; 14] = [
    "Rln Relay",
    "Lightpush",
    "Legacy Lightpush",
    "Filter",
    "Store",
    "Legacy Store",
    PEER_EXCHANGE,
    "Rendezvous",
    "Mix",
    "Lightpush Client",
    "Legacy Lightpush Client",
    "Store Client",
    "Legacy Store Client",
    "Filter Client",
];
/// Ready as soon as it is answered.  Deployed: nwaku.
const PEER_EXCHANGE: &str = "Peer Exchange";
/// A clock further from those of peers than this, in seconds, makes the node unready: from there on it is warned of as well, and
/// messages may soon be refused for their time.
const MAX_CLOCK_SKEW_SECS: f64 = waku2::skew::WARN_ABOVE.as_secs_f64();
/// A queue that is fuller than this share of its bound makes the node unready.
const QUEUE_MARK: f64 = 0.8;

/// What `/readyz` answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Readiness {
    /// Each side has peers, nothing is overloaded, and the clock is right.
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
    check(now.v1_peers != Some(0), "v1_peers", "no waku/0 peer has exchanged Status with us");
    check(now.v2_peers != Some(0), "v2_peers", "no Waku Network peer relays a topic with us");
    check(now.journal_works != Some(false), "journal", "the bridge's journal can't be written: the log says why");
    check(now.archive_works != Some(false), "archive", "the archive can't be written: the log says why");
    for queue in &now.queues {
        let full = queue.depth as f64 >= QUEUE_MARK * queue.bound as f64;
        check(!full, "queues", &format!("{}: {} of {} places taken", queue.stage, queue.depth, queue.bound));
    }
    let skew = now.clock_skew_secs.unwrap_or_default();
    let detail = format!("the clocks of peers are {skew:.1} s ahead of ours: is this one set by NTP?");
    check(skew.abs() <= MAX_CLOCK_SKEW_SECS, "clock", &detail);
    Readiness { ready: failing.is_empty(), failing }
}

/// The report of `/health`.
pub(crate) fn report(now: &Reading) -> Value {
    let relay = match now.v2_peers {
        None => json!({"Relay": "NOT_MOUNTED"}),
        Some(0) => json!({"Relay": "NOT_READY", "desc": "no connected peers"}),
        Some(_) => json!({"Relay": "READY"}),
    };
    let services = AFTER_RELAY.iter().map(|name| {
        let state = if *name == PEER_EXCHANGE && now.answers_exchange { "READY" } else { "NOT_MOUNTED" };
        Value::Object(Map::from_iter([((*name).to_owned(), json!(state))]))
    });
    let protocols: Vec<Value> = std::iter::once(relay).chain(services).collect();
    json!({"nodeHealth": "READY", "protocolsHealth": protocols})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Queue;

    fn reading(v1_peers: usize, v2_peers: usize, depth: usize) -> Reading {
        let queues = vec![Queue { stage: "mining", depth, bound: 100 }];
        Reading { v1_peers: Some(v1_peers), v2_peers: Some(v2_peers), queues, ..Reading::default() }
    }

    #[test]
    fn ready_only_with_peers_on_both_sides_and_room_in_the_queues() {
        assert_eq!(readiness(&reading(1, 1, 79)), Readiness { ready: true, failing: vec![] });
        let parts = |r: Readiness| r.failing.iter().map(|f| f.part).collect::<Vec<_>>();
        assert_eq!(parts(readiness(&reading(0, 1, 0))), ["v1_peers"]);
        assert_eq!(parts(readiness(&reading(1, 0, 0))), ["v2_peers"]);
        assert_eq!(parts(readiness(&reading(0, 0, 80))), ["v1_peers", "v2_peers", "queues"]);
        assert_eq!(parts(readiness(&Reading { journal_works: Some(false), ..reading(1, 1, 0) })), ["journal"]);
        assert_eq!(parts(readiness(&Reading { archive_works: Some(false), ..reading(1, 1, 0) })), ["archive"]);
        let alone = Reading { v1_peers: Some(1), ..Reading::default() };
        assert!(readiness(&alone).ready);
        assert_eq!(report(&alone)["protocolsHealth"][0], json!({"Relay": "NOT_MOUNTED"}));
    }

    #[test]
    fn a_side_that_is_not_there_is_not_missed() {
        let relay = Reading { v2_peers: Some(1), ..Reading::default() };
        assert!(readiness(&relay).ready);
        assert!(!readiness(&Reading { v2_peers: Some(0), ..Reading::default() }).ready);
    }

    #[test]
    fn a_clock_over_five_seconds_off_is_named() {
        let skewed = |secs| readiness(&Reading { clock_skew_secs: Some(secs), ..reading(1, 1, 0) });
        assert!([0.0, 5.0, -5.0].into_iter().all(|secs| skewed(secs).ready));
        for secs in [5.1, -60.0] {
            let failing = skewed(secs).failing;
            assert_eq!(failing.iter().map(|part| part.part).collect::<Vec<_>>(), ["clock"]);
            assert!(failing[0].detail.contains(&format!("{secs:.1} s")), "{}", failing[0].detail);
        }
    }

    #[test]
    fn health_has_the_form_that_scripts_wait_for() {
        let report = report(&reading(0, 0, 0));
        assert_eq!(report["nodeHealth"], "READY");
        assert_eq!(report["protocolsHealth"][0], json!({"Relay": "NOT_READY", "desc": "no connected peers"}));
        assert_eq!(report["protocolsHealth"][1], json!({"Rln Relay": "NOT_MOUNTED"}));
        assert_eq!(report["protocolsHealth"].as_array().unwrap().len(), 15);
        assert_eq!(report["protocolsHealth"][7], json!({"Peer Exchange": "NOT_MOUNTED"}));
    }

    #[test]
    fn peer_exchange_is_ready_when_it_is_answered() {
        let answered = Reading { answers_exchange: true, ..reading(0, 0, 0) };
        assert_eq!(report(&answered)["protocolsHealth"][7], json!({"Peer Exchange": "READY"}));
    }
}
