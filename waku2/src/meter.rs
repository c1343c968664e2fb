//! Free bandwidth: how much one shard may carry without rate-limit proofs.  Spec: 64/WAKU2-NETWORK, "Free bandwidth exceeded".
//!
//! A token bucket for each shard. Every accepted message takes its length, proven ones too, down to nothing; one without a proof
//! passes only if its whole length is there. Pure and exact: the level is counted in bytes times nanoseconds.

use std::time::Instant;

/// 1 Mbps.  Spec: 64/WAKU2-NETWORK.
pub const BYTES_PER_SEC: u64 = 125_000;

/// Ten seconds of it at once: a shard that was silent may carry eight of the largest messages.
pub const BURST_BYTES: u64 = 1_250_000;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes a second; 0 is no free bandwidth.
    pub bytes_per_sec: u64,
    /// Bytes at once; 0 is no free bandwidth.
    pub burst_bytes: u64,
}

impl Budget {
    /// Nothing passes without a proof.
    pub const NONE: Self = Self { bytes_per_sec: 0, burst_bytes: 0 };
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes_per_sec: BYTES_PER_SEC, burst_bytes: BURST_BYTES }
    }
}

/// One shard's bucket.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    budget: Budget,
    /// Bytes times nanoseconds, at most the burst.
    level: u128,
    at: Instant,
}

impl Meter {
    /// A full bucket.
    #[must_use]
    pub fn new(budget: Budget, now: Instant) -> Self {
        Self { budget, level: capacity(budget), at: now }
    }

    /// Is there room for an unproven message of `bytes`?
    pub fn has(&mut self, now: Instant, bytes: usize) -> bool {
        self.fill(now);
        self.budget.bytes_per_sec > 0 && self.level >= bytes as u128 * NANOS_PER_SEC
    }

    /// A message of `bytes` was accepted.
    pub fn take(&mut self, now: Instant, bytes: usize) {
        self.fill(now);
        self.level = self.level.saturating_sub(bytes as u128 * NANOS_PER_SEC);
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_nanos();
        self.at = self.at.max(now);
        let gained = elapsed.saturating_mul(self.budget.bytes_per_sec.into());
        self.level = self.level.saturating_add(gained).min(capacity(self.budget));
    }
}

fn capacity(budget: Budget) -> u128 {
    u128::from(budget.burst_bytes) * NANOS_PER_SEC
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use devp2p::clock;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_the_rate_to_the_byte() {
        let start = clock::now().instant;
        let mut meter = Meter::new(Budget::default(), start);
        assert!(!meter.has(start, 1_250_001));
        assert!(meter.has(start, 1_250_000));
        meter.take(start, 1_250_000);
        assert!(!meter.has(start, 1));
        // 125,000 bytes a second is a byte in 8 us.
        assert!(!meter.has(start + Duration::from_nanos(7_999), 1));
        assert!(meter.has(start + Duration::from_nanos(8_000), 1));
        assert!(meter.has(start + Duration::from_secs(1), 125_000));
        assert!(!meter.has(start + Duration::from_secs(1), 125_001));
        assert!(!meter.has(start + Duration::from_secs(1_000), 1_250_001), "no more than the burst");
    }

    #[test]
    fn what_is_proven_uses_up_what_is_there_and_no_more() {
        let start = clock::now().instant;
        let mut meter = Meter::new(Budget::default(), start);
        for _ in 0..100 {
            meter.take(start, 150_000);
        }
        assert!(!meter.has(start, 1));
        assert!(meter.has(start + Duration::from_secs(1), 125_000), "no debt");
    }

    #[test]
    fn none_is_none() {
        let start = clock::now().instant;
        for budget in [
            Budget::NONE,
            Budget { burst_bytes: 0, ..Budget::default() },
            Budget { bytes_per_sec: 0, ..Budget::default() },
        ] {
            let mut meter = Meter::new(budget, start);
            assert!(!meter.has(start + Duration::from_secs(9), 1), "{budget:?}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = clock::now().instant;
        let mut meter = Meter::new(Budget::default(), start + Duration::from_secs(60));
        meter.take(start + Duration::from_secs(60), 1_250_000);
        meter.take(start, 0);
        assert!(!meter.has(start + Duration::from_secs(60), 1));
    }

    proptest! {
        /// Whatever comes when, no more than burst and rate passes.
        #[test]
        fn never_more_than_the_budget(steps in prop::collection::vec((0_u64..500, 0_usize..400_000), 1..60)) {
            let start = clock::now().instant;
            let (mut meter, mut now, mut passed) = (Meter::new(Budget::default(), start), start, 0_u64);
            for (millis, bytes) in steps {
                now += Duration::from_millis(millis);
                if meter.has(now, bytes) {
                    meter.take(now, bytes);
                    passed += bytes as u64;
                }
            }
            let allowed = BURST_BYTES + (now - start).as_millis() as u64 * BYTES_PER_SEC / 1_000;
            prop_assert!(passed <= allowed, "{passed} of {allowed}");
        }
    }
}
