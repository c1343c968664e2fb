//! What a mailserver counts, by the names of statusd where it has them.

use std::sync::{Arc, atomic::AtomicU64};

use super::{Reading, Sample, counter, crossing::histogram, gauge, read};
use crate::{mail::Stats, storage::archive::History};

/// What of a mailserver is looked at.
#[derive(Debug)]
pub(crate) struct MailProbe {
    /// What it counts.
    pub(crate) stats: Arc<Stats>,
    /// The node that it is beside.
    pub(crate) node: waku0::Handle,
    /// Its archive, where nobody else tells of it.
    pub(crate) history: Option<History>,
    /// What the archive is kept in.
    pub(crate) engine: &'static str,
}

impl MailProbe {
    /// Adds what is seen here.
    pub(super) async fn read(&self, reading: &mut Reading) {
        reading.samples.extend(self.answers());
        if let Some(history) = &self.history {
            reading.archive_works = Some(history.writer().works());
            reading.samples.extend(super::crossing::kept(history).await);
            self.archived(history, reading).await;
        }
    }

    fn answers(&self) -> Vec<Sample> {
        let stats = &self.stats;
        let count = |name, help, sum: &AtomicU64| counter(name, help, read(sum));
        let mut samples = vec![
            count("mailserver_delivery_attempts", "Requests for history", &stats.requests),
            count("mailserver_requests_batched", "Packets of envelopes sent to who asked", &stats.packets),
            count("mailserver_sync_attempts", "Requests of other mailservers for what they lack", &stats.syncs),
            count("mailserver_envelopes_sent", "Envelopes sent to who asked", &stats.sent),
            gauge("mailserver_answers_running", "Answers under way", read(&stats.running)),
        ];
        let failures = [
            ("mailserver_delivery_failures", "Requests that were not answered in full", &stats.failures),
            ("mailserver_sync_failures", "Of other mailservers", &stats.sync_failures),
        ];
        for (name, help, failures) in failures {
            samples.extend(failures.by_kind().map(|(kind, failures)| Sample {
                labels: vec![("type", kind.into())],
                ..counter(name, help, failures)
            }));
        }
        samples.extend(stats.queries().map(|((filter, history), begun)| Sample {
            labels: vec![("filter", filter.into()), ("history", history.into())],
            ..counter("mailserver_envelope_queries", "Answers begun, by how much was asked for", begun)
        }));
        let times = [
            ("mailserver_delivery_duration_seconds", "From a request to its completion", &stats.took),
            ("mailserver_send_raw_envelope_duration_seconds", "For a connection to take a packet", &stats.packet_took),
            ("mailserver_requests_bundle_process_duration_seconds", "To read a page", &stats.page_took),
            ("mailserver_sent_envelope_batch_size_bytes", "Packets of envelopes by length", &stats.packet_bytes),
        ];
        samples.extend(times.map(|(name, help, times)| histogram(name, help, times.read())));
        samples
    }

    async fn archived(&self, history: &History, reading: &mut Reading) {
        let db = || vec![("db", self.engine.to_owned())];
        let writer = history.writer();
        let failures = writer.failures() + read(&self.node.counters().archive_shed);
        reading.samples.extend([
            counter("mailserver_envelopes", "New envelopes archived", writer.stored()),
            Sample {
                labels: db(),
                ..counter("mailserver_archived_envelopes_failures", "Batches or envelopes not archived", failures)
            },
            Sample {
                labels: db(),
                ..histogram(
                    "mailserver_archived_envelope_size_bytes",
                    "Envelopes that were handed to the archive, by length",
                    self.stats.archived_bytes.read(),
                )
            },
        ]);
        // A database that fails is told by the counters above.
        if let Ok(totals) = history.archive().totals().await {
            let rows = gauge("mailserver_archived_envelopes_total", "Envelopes in the archive", totals.rows);
            reading.samples.push(Sample { labels: db(), ..rows });
        }
    }
}
