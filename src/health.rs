//! Is the node well?  `/health` has nwaku's form and is 200 in every state; `/readyz` is for orchestration and names what
//! is missing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::probe::Reading;

/// How a protocol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It serves.
    Ready,
    /// It is there, and can't serve: why.
    NotReady(&'static str),
    /// It is not there.
    NotMounted,
}

impl State {
    /// As nwaku calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::NotReady(_) => "NOT_READY",
            Self::NotMounted => "NOT_MOUNTED",
        }
    }
}

/// Which services a Waku Network node has, and whether those whom it asks for others are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Services {
    /// 19/WAKU2-LIGHTPUSH 3.0.0.
    pub(crate) lightpush: Service,
    /// 19/WAKU2-LIGHTPUSH 2.0.0-beta1.
    pub(crate) legacy_lightpush: Service,
    /// 12/WAKU2-FILTER.
    pub(crate) filter: Service,
    /// 13/WAKU2-STORE 3.
    pub(crate) store: Service,
    /// 13/WAKU2-STORE 2.0.0-beta4.
    pub(crate) legacy_store: Service,
}

/// One service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Service {
    /// It is served here.
    pub(crate) served: bool,
    /// Others are asked for it here.
    pub(crate) asked: bool,
    /// A peer is known that serves it.
    pub(crate) known: bool,
}

impl Service {
    /// Of what is served here, when `needs` is there.
    fn here(self, needs: Result<(), &'static str>) -> State {
        match needs {
            _ if !self.served => State::NotMounted,
            Ok(()) => State::Ready,
            Err(why) => State::NotReady(why),
        }
    }

    /// Of what others are asked for.
    fn elsewhere(self) -> State {
        match self {
            Self { asked: false, .. } => State::NotMounted,
            Self { served: false, known: false, .. } => State::NotReady("no service peer is known"),
            _ => State::Ready,
        }
    }
}

/// How rate-limit proofs are, where they are verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Proofs {
    /// What keeps them from being verified, or made.
    pub(crate) lacks: Option<&'static str>,
    /// More on it.
    pub(crate) detail: Option<String>,
}

/// How the node and each of its protocols is.  Deployed: nwaku.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// `INITIALIZING` or `READY`.
    node_health: &'static str,
    /// Each is `{NAME: STATE}`, with `desc` where something is missing; a state is `READY`, `NOT_READY` or `NOT_MOUNTED`.
    protocols_health: Vec<BTreeMap<&'static str, &'static str>>,
}

impl Report {
    /// Of a node that is starting.
    pub(crate) fn starting() -> Self {
        Self { node_health: "INITIALIZING", protocols_health: Vec::new() }
    }
}

/// A clock further from those of peers than this, in seconds, makes the node unready: from there on it is warned of as well, and
/// messages may soon be refused for their time.
const MAX_CLOCK_SKEW_SECS: f64 = waku2::skew::WARN_ABOVE.as_secs_f64();
/// A queue that is fuller than this share of its bound makes the node unready.
const QUEUE_MARK: f64 = 0.8;

/// What `/readyz` answers.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    /// Each side has peers, nothing is overloaded, and the clock is right.
    pub(crate) ready: bool,
    /// What is missing.
    pub(crate) failing: Vec<Failing>,
}

impl Readiness {
    /// Of a node that is starting.
    pub(crate) fn starting() -> Self {
        Self { ready: false, failing: vec![Failing { part: "start", detail: "the node is starting".into() }] }
    }
}

/// One part that fails.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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
    if let Some(Proofs { lacks: Some(lacks), detail }) = &now.proofs {
        check(false, "rln", detail.as_deref().unwrap_or(lacks));
    }
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
pub(crate) fn report(now: &Reading) -> Report {
    let told = |(name, state): (&'static str, State)| {
        let why = if let State::NotReady(why) = state { Some(("desc", why)) } else { None };
        std::iter::once((name, state.name())).chain(why).collect()
    };
    Report { node_health: "READY", protocols_health: protocols(now).into_iter().map(told).collect() }
}

/// Each protocol, in nwaku's order.
fn protocols(now: &Reading) -> [(&'static str, State); 15] {
    let Services { lightpush, legacy_lightpush, filter, store, legacy_store } = now.services;
    let relay = match now.v2_peers {
        None => State::NotMounted,
        Some(0) => State::NotReady("no connected peers"),
        Some(_) => State::Ready,
    };
    let relayed = if relay == State::Ready { Ok(()) } else { Err("relay has no peers") };
    let proofs = match &now.proofs {
        None => State::NotMounted,
        Some(Proofs { lacks: Some(why), .. }) => State::NotReady(why),
        Some(_) => State::Ready,
    };
    [
        ("Relay", relay),
        ("Rln Relay", proofs),
        ("Lightpush", lightpush.here(relayed)),
        ("Legacy Lightpush", legacy_lightpush.here(relayed)),
        ("Filter", filter.here(relayed)),
        ("Store", store.here(Ok(()))),
        ("Legacy Store", legacy_store.here(Ok(()))),
        ("Peer Exchange", if now.answers_exchange { State::Ready } else { State::NotMounted }),
        ("Rendezvous", State::NotMounted),
        ("Mix", State::NotMounted),
        ("Lightpush Client", lightpush.elsewhere()),
        ("Legacy Lightpush Client", legacy_lightpush.elsewhere()),
        ("Store Client", store.elsewhere()),
        ("Legacy Store Client", legacy_store.elsewhere()),
        ("Filter Client", filter.elsewhere()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::probe::Queue;

    fn told(now: &Reading) -> Value {
        serde_json::to_value(report(now)).unwrap()
    }

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
        assert_eq!(told(&alone)["protocolsHealth"][0], json!({"Relay": "NOT_MOUNTED"}));
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
        let report = told(&reading(0, 0, 0));
        assert_eq!(report["nodeHealth"], "READY");
        assert_eq!(report["protocolsHealth"][0], json!({"Relay": "NOT_READY", "desc": "no connected peers"}));
        assert_eq!(report["protocolsHealth"][1], json!({"Rln Relay": "NOT_MOUNTED"}));
        assert_eq!(report["protocolsHealth"].as_array().unwrap().len(), 15);
        assert_eq!(report["protocolsHealth"][7], json!({"Peer Exchange": "NOT_MOUNTED"}));
    }

    #[test]
    fn what_proofs_lack_is_named() {
        let now = |lacks, detail: Option<&str>| {
            let proofs = Proofs { lacks, detail: detail.map(str::to_owned) };
            Reading { proofs: Some(proofs), ..reading(1, 1, 0) }
        };
        assert_eq!(told(&now(None, None))["protocolsHealth"][1], json!({"Rln Relay": "READY"}));
        assert!(readiness(&now(None, None)).ready);
        let lacking = now(Some("no root"), None);
        assert_eq!(told(&lacking)["protocolsHealth"][1], json!({"Rln Relay": "NOT_READY", "desc": "no root"}));
        let failing = |now: &Reading| readiness(now).failing.pop().map(|failing| (failing.part, failing.detail));
        assert_eq!(failing(&lacking), Some(("rln", "no root".to_owned())));
        assert_eq!(failing(&now(Some("down"), Some("down since noon"))).unwrap().1, "down since noon");
    }

    #[test]
    fn peer_exchange_is_ready_when_it_is_answered() {
        let answered = Reading { answers_exchange: true, ..reading(0, 0, 0) };
        assert_eq!(told(&answered)["protocolsHealth"][7], json!({"Peer Exchange": "READY"}));
    }

    #[test]
    fn services_are_ready_with_what_they_need_and_clients_with_whom_they_ask() {
        let service = Service { served: true, asked: false, known: false };
        let client = |known| Service { served: false, asked: true, known };
        let state = |now: &Reading, name: &str| {
            let all = told(now)["protocolsHealth"].as_array().unwrap().clone();
            let one = all.into_iter().find(|protocol| protocol.get(name).is_some()).unwrap();
            (one[name].as_str().unwrap().to_owned(), one.get("desc").is_some())
        };
        let served = Services { lightpush: service, filter: service, store: service, ..Services::default() };
        let alone = Reading { services: served, ..reading(0, 0, 0) };
        let joined = Reading { services: served, ..reading(0, 1, 0) };
        let (ready, lacking) = (("READY".to_owned(), false), ("NOT_READY".to_owned(), true));
        for name in ["Lightpush", "Filter"] {
            assert_eq!((state(&alone, name), state(&joined, name)), (lacking.clone(), ready.clone()), "{name}");
        }
        assert_eq!(state(&alone, "Store"), ready);
        assert_eq!(state(&joined, "Legacy Store").0, "NOT_MOUNTED");
        for (store, expected) in [
            (client(false), lacking),
            (client(true), ready.clone()),
            (Service { served: true, ..client(false) }, ready),
        ] {
            let now = Reading { services: Services { store, ..Services::default() }, ..reading(0, 0, 0) };
            assert_eq!(state(&now, "Store Client"), expected, "{store:?}");
        }
        let starting = serde_json::to_value(Report::starting()).unwrap();
        assert_eq!(starting, json!({"nodeHealth": "INITIALIZING", "protocolsHealth": []}));
    }
}
