//! Real time, for a driver that waits on real processes. Nothing here sleeps a guessed time: every wait is for something, and has an end.

use std::time::{Duration, Instant};

/// How often a state that cannot be awaited (an exit status, an HTTP answer) is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// The moment until which something is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The moment `limit` from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// What is left of it; `None` when it has passed.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(now()).filter(|left| !left.is_zero())
    }
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "a driver of live processes measures and waits in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks `look` again and again until it answers, or `limit` has passed.
pub(crate) fn poll<T>(limit: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    poll_every(POLL, limit, look)
}

/// The same, for what may not be asked that often.
pub(crate) fn poll_every<T>(every: Duration, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        deadline.left()?;
        std::thread::park_timeout(every);
    }
}
