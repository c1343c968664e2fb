//! Time as an argument. Cores take a [`Now`]; shells make one with [`now`].
//!
//! Two clocks that are never mixed: [`Now::instant`] is monotonic and drives timers, [`Now::unix`] is the wall clock and
//! is compared with what stands in packets and messages.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, for timers.
    pub instant: Instant,
    /// Wall clock: time since 1970-01-01 UTC.
    pub unix: Duration,
}

impl Now {
    /// Wall clock in whole seconds.
    #[must_use]
    pub fn unix_secs(&self) -> u64 {
        self.unix.as_secs()
    }

    /// Wall clock in nanoseconds, as `WakuMessage` timestamps count it; saturates in the year 2262.
    #[must_use]
    pub fn unix_nanos(&self) -> i64 {
        i64::try_from(self.unix.as_nanos()).unwrap_or(i64::MAX)
    }

    /// The same reading `by` later: both clocks advanced together, for simulated time.
    #[must_use]
    pub fn after(&self, by: Duration) -> Self {
        Self { instant: self.instant + by, unix: self.unix + by }
    }
}

/// Reads the system's clocks. The only place that does.
#[expect(clippy::disallowed_methods, reason = "shell")]
#[must_use]
pub fn now() -> Now {
    Now {
        instant: Instant::now(),
        // A clock set before 1970 reads as 1970: everything received is then "from the future" and refused.
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
    }
}
