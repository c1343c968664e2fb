//! How often a value was how large: counters that any thread may add to, and one may read meanwhile.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Parts of one that a sum keeps: microseconds, where values are seconds.
const PARTS: f64 = 1_000_000.0;

/// A histogram with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Not cumulative; the last one holds what is above every bound.
    buckets: Box<[AtomicU64]>,
    sum_parts: AtomicU64,
}

/// What a histogram holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Upper bounds, the last one infinite, and how many values each holds; not cumulative.
    pub buckets: Vec<(f64, u64)>,
    /// How many values.
    pub count: u64,
    /// All values together, to a millionth.
    pub sum: f64,
}

impl Histogram {
    /// An empty one. The bounds ascend; a value on a bound is below it.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum_parts: AtomicU64::new(0) }
    }

    /// Adds a value, 0 or more.
    pub fn record(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Relaxed);
        }
        // A cast to an integer stops at its ends.
        self.sum_parts.fetch_add((value * PARTS) as u64, Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let buckets: Vec<(f64, u64)> = self.bounds.iter().copied().chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Reading { buckets, count, sum: self.sum_parts.load(Relaxed) as f64 / PARTS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_their_bounds() {
        let histogram = Histogram::new(&[1.0, 10.0]);
        for value in [0.0, 1.0, 1.5, 10.0, 11.0, f64::MAX] {
            histogram.record(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [(1.0, 2), (10.0, 2), (f64::INFINITY, 2)]);
        assert_eq!(reading.count, 6);
        assert_eq!(Histogram::new(&[]).read(), Reading { buckets: vec![(f64::INFINITY, 0)], count: 0, sum: 0.0 });
    }

    #[test]
    fn the_sum_is_that_of_the_values() {
        let histogram = Histogram::new(&[1.0]);
        [0.25, 2.5].into_iter().for_each(|value| histogram.record(value));
        assert_eq!(histogram.read().sum, 2.75);
    }
}
