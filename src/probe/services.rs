//! What the services of the Waku Network side count, by the names of nwaku, which calls a service by its protocol.

use std::sync::atomic::AtomicU64;

use waku2::{
    lightpush::Status,
    service::{Counters, Protocol, counters::DURATIONS, serve::Served},
};

use super::{Amount, Sample, counter, filter, read as count};

/// Of what is served, and of nothing else.
pub(super) fn samples(node: &waku2::Handle) -> Vec<Sample> {
    let counters = node.counters();
    let of = |served: &Served| &*counters.services[served.protocol.index()];
    let each = |sample: fn(&Served, &Counters) -> Vec<Sample>| {
        node.served().iter().flat_map(|served| sample(served, of(served))).collect::<Vec<_>>()
    };
    // Those of one name together.
    let mut samples = [requests, limit, bytes, durations].into_iter().flat_map(each).collect::<Vec<_>>();
    if node.served().iter().any(|served| served.protocol == Protocol::LightpushV3) {
        samples.extend(lightpush(&counters.lightpush));
    }
    if node.served().iter().any(|served| matches!(served.protocol, Protocol::FilterSubscribe | Protocol::FilterPush)) {
        samples.extend(filter::samples(&counters.filter));
    }
    samples
}

fn service(served: &Served) -> (&'static str, String) {
    ("service", served.protocol.id().to_owned())
}

fn requests(served: &Served, counters: &Counters) -> Vec<Sample> {
    let sample = |state: &str, n: &AtomicU64| Sample {
        labels: vec![service(served), ("state", state.to_owned())],
        ..counter(
            "waku_service_requests",
            "Requests of peers: answered, or refused because there are too many",
            count(n),
        )
    };
    vec![sample("served", &counters.served), sample("rejected", &counters.refused)]
}

fn limit(served: &Served, _: &Counters) -> Vec<Sample> {
    let sample = |per_second| Sample {
        name: "waku_service_requests_limit",
        help: "Requests a second that a service answers",
        labels: vec![service(served)],
        amount: Amount::Gauge(per_second),
    };
    served.per_second.map(sample).into_iter().collect()
}

fn bytes(served: &Served, counters: &Counters) -> Vec<Sample> {
    let sample = |direction: &str, n: &AtomicU64| Sample {
        labels: vec![service(served), ("direction", direction.to_owned())],
        ..counter("waku_service_network_bytes", "Bytes of requests and answers", count(n))
    };
    vec![sample("in", &counters.bytes_in), sample("out", &counters.bytes_out)]
}

fn durations(served: &Served, counters: &Counters) -> Vec<Sample> {
    let bounds = DURATIONS.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counters.durations.iter().map(count)).collect();
    vec![Sample {
        name: "waku_service_request_handling_duration_seconds",
        help: "How long answers took",
        labels: vec![service(served)],
        amount: Amount::Histogram {
            sum: count(&counters.micros) as f64 / 1e6,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        },
    }]
}

fn lightpush(counters: &waku2::lightpush::Counters) -> Vec<Sample> {
    let messages = |name, n: &AtomicU64| Sample {
        labels: vec![("type", "PushRequest".to_owned())],
        ..counter(name, "Messages that light clients pushed", count(n))
    };
    let errors = |name, failed: &[AtomicU64; Status::COUNT]| -> Vec<Sample> {
        let failures = Status::ALL.into_iter().filter(|status| !matches!(status, Status::Success | Status::NoPeers));
        let sample = |status: Status| Sample {
            labels: vec![("type", status.name().to_owned())],
            ..counter(
                name,
                "Pushes of light clients that were refused, or came to nothing",
                count(&failed[status.index()]),
            )
        };
        failures.map(sample).collect()
    };
    let mut samples = vec![messages("waku_lightpush_messages", &counters.pushed_legacy)];
    samples.extend(errors("waku_lightpush_errors", &counters.failed_legacy));
    samples.push(messages("waku_lightpush_v3_messages", &counters.pushed));
    samples.extend(errors("waku_lightpush_v3_errors", &counters.failed));
    samples
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use waku2::{ClusterId, Config, Services, lightpush, rules::Position};

    use super::*;

    async fn names(services: Services) -> BTreeSet<String> {
        let (events, _) = tokio::sync::mpsc::channel(1);
        let config = Config { services, ..Config::new([1; 32]) };
        let (node, _task) = waku2::run::start(config, events).await.unwrap();
        let label = |(name, value): &(&str, String)| format!("{name}={value}");
        let name = |sample: Sample| {
            let labels: Vec<String> = sample.labels.iter().map(label).collect();
            format!("{}{{{}}}", sample.name, labels.join(","))
        };
        samples(&node).into_iter().map(name).collect()
    }

    #[tokio::test]
    async fn what_is_served_is_told_by_the_names_of_nwaku_and_nothing_else() {
        assert!(names(Services::default()).await.is_empty());
        let config = lightpush::Config { cluster: ClusterId(0), shards: 1, codes: Position::Text, proves: true };
        let rate_limits = vec!["lightpush:10/1s".parse().unwrap()];
        let names = names(Services { lightpush: Some(config), rate_limits, ..Services::default() }).await;
        for name in [
            "waku_service_requests{service=/vac/waku/lightpush/3.0.0,state=served}",
            "waku_service_requests{service=/vac/waku/lightpush/2.0.0-beta1,state=rejected}",
            "waku_service_requests_limit{service=/vac/waku/lightpush/3.0.0}",
            "waku_service_network_bytes{service=/vac/waku/lightpush/3.0.0,direction=in}",
            "waku_service_request_handling_duration_seconds{service=/vac/waku/lightpush/3.0.0}",
            "waku_lightpush_messages{type=PushRequest}",
            "waku_lightpush_errors{type=not_published_to_any_peer}",
            "waku_lightpush_v3_messages{type=PushRequest}",
            "waku_lightpush_v3_errors{type=decode_rpc_failure}",
        ] {
            assert!(names.contains(name), "no {name} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("store") || name.contains("filter")), "{names:?}");
    }
}
