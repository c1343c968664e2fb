//! What happened to the requests of a protocol.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Bounds of the classes of [`Counters::durations`].  Deployed: the usual ones of Prometheus, which nwaku takes.
pub const DURATIONS: [Duration; 14] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(75),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_millis(7_500),
    Duration::from_secs(10),
];

/// Of one protocol, as the serving side. Every number only grows, except `last_write_micros`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests, or pushes, that were read and handed over.
    pub served: AtomicU64,
    /// Refused unread: over the rate limit, or too many at a time.
    pub refused: AtomicU64,
    /// Streams on which came no frame, or not in time.
    pub unread: AtomicU64,
    /// Requests whose answer was not ready, or not taken, in time.
    pub late: AtomicU64,
    /// Bytes of requests.
    pub bytes_in: AtomicU64,
    /// Bytes of answers.
    pub bytes_out: AtomicU64,
    /// How many requests took so long from being read to being answered, by the first of [`DURATIONS`] that holds it; the last is for
    /// longer ones.
    pub durations: [AtomicU64; DURATIONS.len() + 1],
    /// All of that time together, in microseconds.
    pub micros: AtomicU64,
    /// How long the last answer took to be written, in microseconds.
    pub last_write_micros: AtomicU64,
}

impl Counters {
    /// A request of so many bytes was answered with so many, after such a time.
    pub(crate) fn answered(&self, request: usize, answer: usize, took: Duration) {
        self.served.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(request as u64, Relaxed);
        self.bytes_out.fetch_add(answer as u64, Relaxed);
        self.durations[DURATIONS.partition_point(|bound| *bound < took)].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros(took), Relaxed);
    }

    /// An answer took so long to be written.
    pub(crate) fn written(&self, took: Duration) {
        self.last_write_micros.store(micros(took), Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_class() {
        let counters = Counters::default();
        for millis in [0, 5, 6, 5_000, 5_001, 10_001] {
            counters.answered(2, 3, Duration::from_millis(millis));
        }
        let counted: Vec<u64> = counters.durations.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!(counted, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1]);
        assert_eq!((counters.served.load(Relaxed), counters.bytes_in.load(Relaxed)), (6, 12));
        assert_eq!(counters.bytes_out.load(Relaxed), 18);
    }
}
