//! What the bridge counts.

use bridge::{Direction, DropReason, Stage, Status, handle::LAG_BUCKETS_SECS};

use super::{Amount, Queue, Reading, Sample, counter, gauge};
use crate::{reload::Reloader, storage::journal::Journal};

/// What a bridge has beside its two nodes.
#[derive(Debug)]
pub(crate) struct CrossingProbe {
    /// What is between the sides.
    pub(crate) bridge: bridge::Handle,
    /// Bounds of the bridge's queues.
    pub(crate) limits: bridge::Limits,
    /// What reads its routes again.
    pub(crate) reloader: Reloader,
    /// What it would go on with after a crash.
    pub(crate) journal: Journal,
}

impl CrossingProbe {
    /// Adds what is seen here.
    pub(super) fn read(&self, reading: &mut Reading) {
        let status = self.bridge.status();
        reading.v2_peers = Some(status.v2_peers);
        reading.queues.extend(self.queues(&status));
        reading.journal_works = Some(self.journal.works());
        let samples = [self.crossings(), self.lags(), self.bridge_samples(&status)];
        reading.samples.extend(samples.into_iter().flatten());
    }

    fn queues(&self, status: &Status) -> Vec<Queue> {
        let jobs = self.limits.max_jobs;
        vec![
            Queue { stage: "v1_to_v2", depth: status.depths.total(Direction::V1ToV2), bound: jobs },
            Queue { stage: "v2_to_v1", depth: status.depths.total(Direction::V2ToV1), bound: jobs },
            Queue { stage: "mining", depth: status.waiting_to_mine, bound: self.limits.max_seal_jobs },
        ]
    }

    /// The full table, and the two families of the old bridge.
    fn crossings(&self) -> Vec<Sample> {
        let counters = self.bridge.counters();
        let mut samples: Vec<Sample> = counters
            .table()
            .map(|line| Sample {
                labels: vec![
                    ("direction", line.direction.as_str().into()),
                    ("route", line.route.to_string()),
                    ("result", line.result.into()),
                    ("reason", line.reason.into()),
                ],
                ..counter("bridge_messages", "Envelopes and messages by what became of them", line.count)
            })
            .collect();
        samples.extend(Direction::ALL.map(|direction| Sample {
            labels: vec![("type", direction.as_str().into())],
            ..counter("waku_bridge_transfers", "What crossed", counters.crossed(direction))
        }));
        let dropped = |reason| Direction::ALL.iter().map(|d| counters.dropped(*d, reason)).sum();
        let kinds = [("duplicate", DropReason::Duplicate), ("value_error", DropReason::BadTopic)];
        samples.extend(kinds.map(|(kind, reason)| Sample {
            labels: vec![("type", kind.into())],
            ..counter("waku_bridge_dropped", "What did not cross, as the bridge of nwaku counted it", dropped(reason))
        }));
        samples
    }

    fn lags(&self) -> Vec<Sample> {
        let counters = self.bridge.counters();
        let lag = |direction: Direction| {
            let lag = counters.lag(direction);
            // The reading is cumulative, the exporter adds up itself.
            let below = std::iter::once(0).chain(lag.at_most);
            let each = lag.at_most.iter().zip(below).map(|(upto, below)| upto - below);
            let over = lag.count - lag.at_most.last().copied().unwrap_or(0);
            let buckets = LAG_BUCKETS_SECS.into_iter().zip(each).chain([(f64::INFINITY, over)]).collect();
            Sample {
                name: "bridge_lag_seconds",
                help: "From being sent to being confirmed on the other side",
                labels: vec![("direction", direction.as_str().into())],
                amount: Amount::Histogram { sum: lag.sum.as_secs_f64(), count: lag.count, buckets },
            }
        };
        Direction::ALL.map(lag).to_vec()
    }

    fn bridge_samples(&self, status: &Status) -> Vec<Sample> {
        let tally = &status.tally;
        let mut samples = Vec::new();
        for direction in Direction::ALL {
            samples.extend(Stage::ALL.map(|stage| Sample {
                labels: vec![("direction", direction.as_str().into()), ("stage", stage.as_str().into())],
                ..gauge("bridge_queue_depth", "Jobs by stage", status.depths.of(direction, stage) as u64)
            }));
        }
        let tags = [("envelope", tally.tagged_envelopes), ("message", tally.tagged_messages)];
        samples.extend(tags.map(|(kind, n)| Sample {
            labels: vec![("kind", kind.into())],
            ..counter("bridge_tag_seen", "Envelopes and messages with an origin tag", n)
        }));
        samples.extend([
            counter("bridge_mined", "Envelopes mined, whatever became of them", tally.mined),
            counter("bridge_rebuilt", "Envelopes rebuilt from a tag instead of mined", tally.rebuilt),
            counter("bridge_restored", "Messages restored from a tag", tally.restored),
            counter(
                "bridge_noncanonical_topic",
                "Messages whose topic was not in canonical form",
                tally.noncanonical_topics,
            ),
            counter("bridge_no_timestamp", "Messages without a time", tally.no_timestamp),
            counter("bridge_profile_mismatch", "Envelopes of a bridge set up differently", tally.profile_mismatches),
            counter("bridge_failed_attempts", "Publishing or posting failed, once each", tally.failed_attempts),
            counter("bridge_loop_suspected", "Contents put in quarantine for going round", tally.loops_suspected),
            counter("bridge_journal_failures", "Batches that could not be written down", self.journal.failures()),
            counter("bridge_dedup_evicted_early", "Entries forgotten before their time", tally.seen_evicted_early),
            gauge(
                "libp2p_pubsub_peers",
                "Waku Network peers that relay a bridged topic with us",
                status.v2_peers as u64,
            ),
            gauge("bridge_dedup_entries", "Entries of the memory of what was seen", status.seen_entries as u64),
            gauge("bridge_pow_waiting", "Envelopes waiting to be mined", status.waiting_to_mine as u64),
        ]);
        samples
    }
}
