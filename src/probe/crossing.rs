//! What the bridge counts.

use std::sync::Arc;

use bridge::{Direction, DropReason, Stage, Status, histogram};
use devp2p::clock::now;

use super::{Amount, Queue, Reading, Sample, counter, gauge};
use crate::{
    backfill::books::Books,
    reload::Reloader,
    storage::{archive::History, journal::Journal},
};

/// What a bridge has beside its two nodes.
#[derive(Debug)]
pub(crate) struct CrossingProbe {
    /// What is between the sides.
    pub(crate) bridge: bridge::Handle,
    /// What of history is missing.
    pub(crate) books: Arc<Books>,
    /// Bounds of the bridge's queues.
    pub(crate) limits: bridge::Limits,
    /// What reads its routes again.
    pub(crate) reloader: Reloader,
    /// What it would go on with after a crash.
    pub(crate) journal: Journal,
    /// What is kept of it.
    pub(crate) history: Option<History>,
}

impl CrossingProbe {
    /// Adds what is seen here.
    pub(super) async fn read(&self, reading: &mut Reading) {
        let status = self.bridge.status();
        reading.v2_peers = Some(status.v2_peers);
        // The bridge knows what both sides say of our clock.
        reading.clock_skew_secs = status.clock_skew_nanos.map(|nanos| nanos as f64 / 1e9);
        reading.queues.extend(self.queues(&status));
        reading.journal_works = Some(self.journal.works());
        if let Some(history) = &self.history {
            reading.archive_works = Some(history.writer().works());
            reading.samples.extend(kept(history).await);
        }
        let samples = [
            self.crossings(),
            self.as_statusd(),
            self.lags(),
            depths(&status),
            tags(&status),
            self.tallies(&status),
            self.mining(&status),
            self.shed(),
            self.last_crossings(),
            self.missing(),
            canaries(&status),
        ];
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

    /// As the bridge within statusd counted, which had waku/0 on its near side.
    fn as_statusd(&self) -> Vec<Sample> {
        let counters = self.bridge.counters();
        let to_v1 = Direction::V2ToV1;
        let dropped = DropReason::all().map(|reason| counters.dropped(to_v1, reason)).sum();
        vec![
            counter("waku_bridge_sent", "What crossed from waku/0", counters.crossed(Direction::V1ToV2)),
            counter("waku_bridge_received_success", "What crossed to waku/0", counters.crossed(to_v1)),
            counter("waku_bridge_received_failure", "What did not cross to waku/0, duplicates included", dropped),
        ]
    }

    /// Those of the routes of this table, the latest of each direction.
    fn last_crossings(&self) -> Vec<Sample> {
        let gaps = self.bridge.gaps();
        let latest =
            |direction| gaps.iter().filter(|gap| gap.direction == direction).filter_map(|gap| gap.last_crossing).max();
        let sample = |direction: Direction| {
            latest(direction).map(|at| Sample {
                labels: vec![("direction", direction.as_str().into())],
                ..gauge("bridge_last_crossing_timestamp", "When something last crossed, in unix seconds", at)
            })
        };
        Direction::ALL.into_iter().filter_map(sample).collect()
    }

    /// What of history is missing, on the side where most is; and what came of it.
    fn missing(&self) -> Vec<Sample> {
        let (courses, at, came) = (self.bridge.courses(), now().unix_secs(), self.books.came());
        let side = |direction: Direction| [("side", ["v1", "v2"][direction as usize].into())].to_vec();
        let left = |direction: Direction| {
            let of_side = courses.iter().filter(|course| course.direction == direction);
            of_side.map(|course| course.seconds_missing(at)).max().unwrap_or(0)
        };
        let gap = |direction: Direction| Sample {
            labels: side(direction),
            ..gauge("bridge_backfill_gap_seconds", "Seconds of which history is missing", left(direction))
        };
        let rows = |direction: Direction| Sample {
            labels: side(direction),
            ..counter("bridge_backfill_rows", "Rows that the archives of others had", came[direction as usize])
        };
        Direction::ALL.map(gap).into_iter().chain(Direction::ALL.map(rows)).collect()
    }

    fn lags(&self) -> Vec<Sample> {
        let counters = self.bridge.counters();
        let lag = |direction: Direction| Sample {
            labels: vec![("direction", direction.as_str().into())],
            ..histogram(
                "bridge_lag_seconds",
                "From being sent to being confirmed on the other side",
                counters.lag(direction),
            )
        };
        Direction::ALL.map(lag).to_vec()
    }

    /// What was dropped for want of room.
    fn shed(&self) -> Vec<Sample> {
        let counters = self.bridge.counters();
        let sample = |direction: Direction| Sample {
            labels: vec![("direction", direction.as_str().into())],
            ..counter(
                "bridge_queue_shed",
                "What was dropped because a queue was full",
                counters.dropped(direction, DropReason::Shed),
            )
        };
        Direction::ALL.map(sample).to_vec()
    }

    fn mining(&self, status: &Status) -> Vec<Sample> {
        let mining = Direction::ALL.map(|way| status.depths.of(way, Stage::Mining)).iter().sum::<usize>();
        let waiting = status.waiting_to_mine;
        let jobs = [("waiting", waiting), ("running", mining.saturating_sub(waiting))].map(|(state, n)| Sample {
            labels: vec![("state", state.into())],
            ..gauge("bridge_pow_jobs", "Envelopes with the mining pool", n as u64)
        });
        let mined = self.bridge.mining();
        let work = [
            histogram("bridge_pow_bits", "Leading zero bits that envelopes were mined for", mined.bits.read()),
            histogram("bridge_pow_seconds", "How long a thread mined for an envelope", mined.seconds.read()),
        ];
        jobs.into_iter().chain(work).collect()
    }

    /// What is counted without a label.
    fn tallies(&self, status: &Status) -> Vec<Sample> {
        let tally = &status.tally;
        vec![
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
            gauge("bridge_journal_waiting", "Notes that are not written down yet", status.journal_waiting as u64),
            counter("bridge_dedup_evicted_early", "Entries forgotten before their time", tally.seen_evicted_early),
            gauge("bridge_dedup_entries", "Entries of the memory of what was seen", status.seen_entries as u64),
        ]
    }
}

fn depths(status: &Status) -> Vec<Sample> {
    let sample = |direction: Direction, stage: Stage| Sample {
        labels: vec![("direction", direction.as_str().into()), ("stage", stage.as_str().into())],
        ..gauge("bridge_queue_depth", "Jobs by stage", status.depths.of(direction, stage) as u64)
    };
    Direction::ALL.into_iter().flat_map(|direction| Stage::ALL.map(|stage| sample(direction, stage))).collect()
}

fn tags(status: &Status) -> Vec<Sample> {
    let tally = &status.tally;
    let kinds = [("envelope", tally.tagged_envelopes), ("message", tally.tagged_messages)];
    let sample = |(kind, n): (&'static str, u64)| Sample {
        labels: vec![("kind", kind.into())],
        ..counter("bridge_tag_seen", "Envelopes and messages with an origin tag", n)
    };
    kinds.map(sample).to_vec()
}

/// What the archive holds, by nwaku's names where it has them.
pub(super) async fn kept(history: &History) -> Vec<Sample> {
    let writer = history.writer();
    let mut samples = vec![
        counter("archive_rows_stored", "New rows of the archive", writer.stored()),
        counter(
            "archive_rows_trimmed",
            "Rows that were deleted because of their age, number or size",
            writer.trimmed(),
        ),
        counter("archive_failures", "Batches and deletions of the archive that failed", writer.failures()),
        gauge("archive_waiting", "Rows that wait to be written", writer.waiting() as u64),
    ];
    // A database that fails is told by the counters above.
    if let Ok(totals) = history.archive().totals().await {
        samples.push(Sample {
            labels: vec![("type", "stored".into())],
            ..gauge("waku_archive_messages", "Rows of the archive", totals.rows)
        });
        samples.push(gauge("archive_bytes", "Bytes of the archive, nearly", totals.bytes));
        samples.extend(totals.oldest_ns.map(|oldest| Sample {
            name: "archive_oldest_timestamp",
            help: "When the oldest row was sent, in unix seconds",
            labels: Vec::new(),
            amount: Amount::Gauge(oldest as f64 / 1e9),
        }));
    }
    samples
}

pub(super) fn histogram(name: &'static str, help: &'static str, reading: histogram::Reading) -> Sample {
    let histogram::Reading { buckets, count, sum } = reading;
    Sample { name, help, labels: Vec::new(), amount: Amount::Histogram { sum, count, buckets } }
}

/// What came of the self-tests, where there are any.
fn canaries(status: &Status) -> Vec<Sample> {
    let Some(readings) = &status.canaries else { return Vec::new() };
    let each = || Direction::ALL.into_iter().map(|direction| (direction, &readings[direction as usize]));
    let label = |direction: Direction| ("direction", direction.as_str().into());
    let counts = each().flat_map(|(direction, reading)| {
        [("crossed", reading.crossed), ("lost", reading.lost)].map(|(result, n)| Sample {
            labels: vec![label(direction), ("result", result.into())],
            ..counter("bridge_canaries", "Self-tests by what became of them", n)
        })
    });
    let latencies = each().filter_map(|(direction, reading)| {
        Some(Sample {
            name: "bridge_canary_latency_seconds",
            help: "How long the last self-test took from side to side",
            labels: vec![label(direction)],
            amount: Amount::Gauge(reading.latency?.as_secs_f64()),
        })
    });
    counts.chain(latencies).collect()
}
