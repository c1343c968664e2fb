//! What a store counts, by the names of nwaku where it has them.

use std::sync::{Arc, atomic::AtomicU64};

use archive::Writer;
use bridge::histogram::Histogram;
use waku2::{service::Protocol, store::serve::Counters};

use super::{Amount, Reading, Sample, counter, crossing::histogram, gauge, read};
use crate::{
    storage::archive::History,
    store::{keep::Stats, resume::Progress},
};

/// What of a store is looked at.
#[derive(Debug)]
pub(crate) struct StoreProbe {
    /// What each protocol counts.
    pub(crate) served: Vec<(Protocol, Arc<Counters>)>,
    /// What became of what was relayed.
    pub(crate) stats: Arc<Stats>,
    /// Messages that found no room on their way to the archive.
    pub(crate) shed: Arc<AtomicU64>,
    /// What is made up for.
    pub(crate) resumed: Arc<Progress>,
    /// How long pages took to be read.
    pub(crate) read_took: Arc<Histogram>,
    /// How long answers take to be written.
    pub(crate) node: waku2::Handle,
    /// What writes to the archive.
    pub(crate) writer: Option<Writer>,
    /// The archive, where nobody else tells of it.
    pub(crate) history: Option<History>,
}

/// Names of one protocol's numbers: nwaku has those of beta4 apart.
struct Names {
    queries: &'static str,
    errors: &'static str,
    time: &'static str,
}

impl Names {
    const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::StoreLegacy => Self {
                queries: "waku_legacy_store_queries",
                errors: "waku_legacy_store_errors",
                time: "waku_legacy_store_time_seconds",
            },
            _ => Self { queries: "waku_store_queries", errors: "waku_store_errors", time: "waku_store_time_seconds" },
        }
    }
}

impl StoreProbe {
    /// Adds what is seen here.
    pub(super) async fn read(&self, reading: &mut Reading) {
        for (protocol, counters) in &self.served {
            reading.samples.extend(queries(&Names::of(*protocol), counters));
            reading.samples.extend(self.times(*protocol, counters));
        }
        reading.samples.extend(self.archiving());
        reading.samples.extend(self.stats.by_shard().into_iter().map(|(shard, count)| Sample {
            labels: vec![("shard", shard.to_string())],
            ..gauge("waku_archive_messages_per_shard", "Messages kept since the start, by shard", count)
        }));
        reading.samples.extend([
            histogram(
                "waku_archive_insert_duration_seconds",
                "From a message's arrival at the archive to the disk",
                self.stats.insert_took.read(),
            ),
            histogram("waku_archive_query_duration_seconds", "To read a page of history", self.read_took.read()),
        ]);
        reading.samples.extend([
            counter("store_resumed_messages", "Messages that others had while we were away", read(&self.resumed.came)),
            counter(
                "store_resume_discarded",
                "Messages of others that were left out: not asked for, or without a valid proof",
                read(&self.resumed.discarded),
            ),
            Sample {
                amount: Amount::Gauge(self.resumed.covered()),
                ..gauge("store_resume_covered", "How much of the last absence has been made up for, from 0 to 1", 0)
            },
        ]);
        if let Some(history) = &self.history {
            reading.archive_works = Some(history.writer().works());
            reading.samples.extend(super::crossing::kept(history).await);
        }
    }

    /// Of the last answer.
    fn times(&self, protocol: Protocol, counters: &Counters) -> [Sample; 2] {
        let written = read(&self.node.counters().services[protocol.index()].last_write_micros);
        let phases = [("query-db-time", read(&counters.last_query_micros)), ("send-store-resp-time", written)];
        phases.map(|(phase, micros)| Sample {
            name: Names::of(protocol).time,
            help: "How long the last answer took to be made and to be written",
            labels: vec![("phase", phase.to_owned())],
            amount: Amount::Gauge(micros as f64 / 1e6),
        })
    }

    fn archiving(&self) -> [Sample; 5] {
        let failures = [
            ("invalid_message_too_old", read(&self.stats.too_old)),
            ("invalid_message_future_timestamp", read(&self.stats.future)),
            ("insert_failure", read(&self.stats.failed)),
            ("retpolicy_failure", self.writer.as_ref().map_or(0, Writer::retention_failures)),
            ("shed", read(&self.shed)),
        ];
        failures.map(|(kind, count)| Sample {
            labels: vec![("type", kind.to_owned())],
            ..counter("waku_archive_errors", "Messages that were relayed and not kept, and failed deletions", count)
        })
    }
}

fn queries(names: &Names, counters: &Counters) -> Vec<Sample> {
    let refused = [
        ("bad_request", &counters.refused),
        ("archive_failure", &counters.failed),
        ("too_many_requests", &counters.too_many),
    ];
    let errors = refused.map(|(kind, count)| Sample {
        labels: vec![("type", kind.to_owned())],
        ..counter(names.errors, "Store queries that were not answered with messages", read(count))
    });
    let asked = read(&counters.pages) + refused.map(|(_, count)| read(count)).iter().sum::<u64>();
    std::iter::once(counter(names.queries, "Store queries", asked)).chain(errors).collect()
}
