//! Which times are to be asked for after an absence: pure.
//!
//! What was relayed while a node was away it learns from others, from when it was last there. That time is written down each
//! [`HEARTBEAT`]; a little before it is asked for as well, for messages may come late and what came last may not have been written.
//! What is here already is known again.  Deployed: nwaku's `--store-resume`.

use std::time::Duration;

/// How often the time is written down.  Deployed: nwaku.
pub const HEARTBEAT: Duration = Duration::from_secs(60);
/// The longest absence that is made up for unless asked otherwise; of a longer one its end.  Deployed: nwaku.
pub const MAX_ABSENCE: Duration = Duration::from_secs(6 * 60 * 60);
/// How much is asked for twice: two heartbeats, twice the 20 s that a message may be off at its arrival, and a moment to write it.
pub const OVERLAP: Duration = Duration::from_secs(3 * 60);
/// How far ahead of our clock a message may be.  Spec: 13/WAKU2-STORE, the window of 20 s.
const AHEAD: Duration = Duration::from_secs(20);

/// Times, both of which belong to them: nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first.
    pub from: i64,
    /// The last.
    pub until: i64,
}

/// What to ask for: since `last_online`, unix seconds; without it, as for a node that is new, as far back as is ever asked for.
#[must_use]
pub fn window(last_online_secs: Option<u64>, now_secs: u64, most: Duration) -> Window {
    let earliest = now_secs.saturating_sub(most.as_secs());
    let since = last_online_secs.map_or(0, |last| last.min(now_secs).saturating_sub(OVERLAP.as_secs()));
    Window { from: nanos(since.max(earliest)), until: nanos(now_secs.saturating_add(AHEAD.as_secs())) }
}

fn nanos(secs: u64) -> i64 {
    i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)
}

impl Window {
    /// What is left of it once all up to this time has come, in the order of times.
    #[must_use]
    pub fn behind(self, reached: i64) -> Self {
        Self { from: self.from.max(reached), ..self }
    }

    /// How much of it has been covered, from 0 to 1.
    #[must_use]
    pub fn covered(self, reached: i64) -> f64 {
        let (whole, part) = (self.until.saturating_sub(self.from), reached.saturating_sub(self.from));
        if whole <= 0 { 1.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn since(last: Option<u64>) -> u64 {
        let window = window(last, NOW, MAX_ABSENCE);
        assert_eq!(window.until, (NOW as i64 + 20) * 1_000_000_000);
        NOW - window.from as u64 / 1_000_000_000
    }

    #[test]
    fn an_absence_is_made_up_for_within_bounds() {
        assert_eq!(since(Some(NOW - 600)), 780, "ten minutes, and three before");
        assert_eq!(since(Some(NOW)), 180);
        assert_eq!(since(Some(NOW + 1_000)), 180, "a clock that was set back");
        assert_eq!(since(Some(NOW - 86_400)), 21_600);
        assert_eq!(since(None), 21_600);
        assert_eq!(window(None, 5, MAX_ABSENCE).from, 0);
        assert!(window(Some(u64::MAX), u64::MAX, Duration::MAX).until > 0);
    }

    #[test]
    fn progress_is_told_and_kept() {
        let window = Window { from: 100, until: 300 };
        assert_eq!([0, 100, 200, 300, 400].map(|at| window.covered(at)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(window.behind(200), Window { from: 200, until: 300 });
        assert_eq!(window.behind(0), window);
        assert_eq!(Window { from: 1, until: 1 }.covered(1).to_bits(), 1.0_f64.to_bits());
    }
}
