//! What a store counts, by the names of nwaku where it has them.

use std::sync::{Arc, atomic::AtomicU64};

use waku2::{service::Protocol, store::serve::Counters};

use super::{Amount, Reading, Sample, counter, gauge, read};
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
    /// The archive, where nobody else tells of it.
    pub(crate) history: Option<History>,
}

/// Names of one protocol's numbers: nwaku has those of beta4 apart.
struct Names {
    queries: &'static str,
    errors: &'static str,
}

impl Names {
    const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::StoreLegacy => Self { queries: "waku_legacy_store_queries", errors: "waku_legacy_store_errors" },
            _ => Self { queries: "waku_store_queries", errors: "waku_store_errors" },
        }
    }
}

impl StoreProbe {
    /// Adds what is seen here.
    pub(super) async fn read(&self, reading: &mut Reading) {
        for (protocol, counters) in &self.served {
            reading.samples.extend(queries(&Names::of(*protocol), counters));
        }
        reading.samples.extend(self.archiving());
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

    fn archiving(&self) -> [Sample; 4] {
        let failures = [
            ("invalid_message_too_old", &self.stats.too_old),
            ("invalid_message_future_timestamp", &self.stats.future),
            ("insert_failure", &self.stats.failed),
            ("shed", &self.shed),
        ];
        failures.map(|(kind, count)| Sample {
            labels: vec![("type", kind.to_owned())],
            ..counter("waku_archive_errors", "Messages that were relayed and not kept", read(count))
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
