//! What filter counts, by the names of nwaku, and of what nwaku has none for.

use std::{sync::atomic::AtomicU64, time::Duration};

use waku2::filter::{
    Counters,
    counters::{Histogram, Kind, Trouble},
};

use super::{Amount, Sample, counter, gauge, read as count};

/// As either side.
pub(super) fn samples(counters: &Counters) -> Vec<Sample> {
    let mut samples =
        vec![gauge("waku_filter_subscriptions", "Peers that are subscribed", count(&counters.subscribers))];
    let kinds = || Kind::ALL.into_iter();
    samples.extend(kinds().map(|kind| Sample {
        labels: vec![("type", kind.name().to_owned())],
        ..counter("waku_filter_requests", "Requests of subscribers", count(&counters.requests[kind.index()]))
    }));
    samples.extend(Trouble::ALL.into_iter().map(|trouble| Sample {
        labels: vec![("type", trouble.name().to_owned())],
        ..counter("waku_filter_errors", "What went wrong in filter", count(&counters.troubles[trouble.index()]))
    }));
    samples.extend(kinds().map(|kind| Sample {
        name: "waku_filter_request_duration_seconds",
        help: "How long answering subscribers took",
        labels: vec![("type", kind.name().to_owned())],
        amount: histogram(&counters.request_time[kind.index()]),
    }));
    samples.push(Sample {
        name: "waku_filter_handle_message_duration_seconds",
        help: "How long pushes took from when their message was accepted",
        labels: Vec::new(),
        amount: histogram(&counters.push_time),
    });
    let further: [(_, _, &AtomicU64); 4] = [
        ("waku_filter_messages", "Messages that went to some subscriber", &counters.messages),
        ("waku_filter_pushes", "Pushes that were written", &counters.pushed),
        ("waku_filter_push_bytes", "Bytes of these", &counters.pushed_bytes),
        ("waku_filter_taken", "Messages that filter nodes pushed to us", &counters.taken),
    ];
    samples.extend(further.into_iter().map(|(name, help, n)| counter(name, help, count(n))));
    samples
}

fn histogram(times: &Histogram) -> Amount {
    let bound = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
    let buckets: Vec<(f64, u64)> = times.classes().map(|(until, count)| (bound(until), count)).collect();
    Amount::Histogram { sum: times.micros() as f64 / 1e6, count: buckets.iter().map(|(_, count)| count).sum(), buckets }
}
