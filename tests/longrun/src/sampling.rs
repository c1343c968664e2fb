//! What a process takes, from Linux's `/proc`, and how that develops.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Clock ticks a second: `USER_HZ`, 100 on every Linux.
const TICKS: f64 = 100.0;

/// One look at a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Since the run began.
    pub(crate) at: Duration,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// CPU time so far, user and system, in seconds.
    pub(crate) cpu_seconds: f64,
}

impl Sample {
    /// Looks at a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn of(pid: u32, at: Duration) -> Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} is gone"))
        };
        Ok(Self {
            at,
            rss_kib: resident(&read("status")?).context("no VmRSS in /proc status")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            cpu_seconds: cpu(&read("stat")?).context("an unreadable /proc stat line")?,
        })
    }
}

fn resident(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
}

/// The program's name stands in brackets and may hold anything, so fields are counted from the last bracket.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// The second half, when caches have filled.
pub(crate) fn second_half(samples: &[Sample]) -> &[Sample] {
    &samples[samples.len() / 2..]
}

/// Growth of resident memory in KiB a minute: the line of least squares.
pub(crate) fn growth_kib_a_minute(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let point = |sample: &Sample| (sample.at.as_secs_f64() / 60.0, sample.rss_kib as f64);
    let (mut mean_at, mut mean_rss) = (0.0, 0.0);
    for (at, rss) in samples.iter().map(point) {
        (mean_at, mean_rss) = (mean_at + at / count, mean_rss + rss / count);
    }
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (at, rss) in samples.iter().map(point) {
        covariance += (at - mean_at) * (rss - mean_rss);
        variance += (at - mean_at).powi(2);
    }
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(secs: u64, rss_kib: u64) -> Sample {
        Sample { at: Duration::from_secs(secs), rss_kib, descriptors: 0, cpu_seconds: 0.0 }
    }

    #[test]
    fn growth_is_a_line_through_the_samples() {
        let samples: Vec<_> =
            (0..20).map(|n| sample(n * 60, if n < 10 { n * 5_000 } else { 50_000 + n * 3 })).collect();
        assert!((growth_kib_a_minute(second_half(&samples)) - 3.0).abs() < 1e-6);
        assert!(growth_kib_a_minute(&samples) > 1_000.0);
        assert_eq!(growth_kib_a_minute(&[]), 0.0);
        assert_eq!(growth_kib_a_minute(&[sample(1, 7)]), 0.0);
    }

    #[test]
    fn this_process_takes_something() {
        let sample = Sample::of(std::process::id(), Duration::ZERO).unwrap();
        assert!(sample.rss_kib > 0 && sample.descriptors > 0 && sample.cpu_seconds >= 0.0);
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        assert_eq!(cpu("7 (a) b) S 1 7 7 0 -1 0 10 0 0 0 150 50 0 0 20 0 3 0"), Some(2.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  1234 kB\n"), Some(1234));
    }
}
