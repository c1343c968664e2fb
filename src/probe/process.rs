//! What the process itself takes, by the names that every exporter has, out of Linux's `/proc`; elsewhere only when it began.

use std::{fs, time::Duration};

use super::{Amount, Sample, gauge};

/// Bytes of a page: 4 KiB on every machine that this is built for; others tell too little memory.
const PAGE_BYTES: u64 = 4_096;
/// Clock ticks a second: `USER_HZ`, 100 on every Linux.
const TICKS: f64 = 100.0;

/// What it takes now. `began` is unix time.
pub(super) fn samples(began: Duration) -> Vec<Sample> {
    let real = |name, help, amount| Sample { name, help, labels: Vec::new(), amount: Amount::Gauge(amount) };
    let mut samples =
        vec![real("process_start_time_seconds", "When this program began, in unix seconds", began.as_secs_f64())];
    let statm = fs::read_to_string("/proc/self/statm");
    if let Some((virtual_bytes, resident_bytes)) = statm.ok().and_then(|statm| memory(&statm)) {
        samples.extend([
            gauge("process_virtual_memory_bytes", "Memory that the program has asked for", virtual_bytes),
            gauge("process_resident_memory_bytes", "Memory that it really has", resident_bytes),
        ]);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        samples.push(gauge("process_open_fds", "Open files and sockets", open.count() as u64));
    }
    samples.extend(
        fs::read_to_string("/proc/self/limits")
            .ok()
            .and_then(|limits| max_files(&limits))
            .map(|most| gauge("process_max_fds", "Files and sockets that may be open", most)),
    );
    samples.extend(fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu(&stat)).map(|seconds| Sample {
        amount: Amount::Seconds(seconds),
        ..gauge("process_cpu_seconds", "Processor time that the program took", 0)
    }));
    samples
}

/// Pages asked for, and pages had, are the first two numbers.
fn memory(statm: &str) -> Option<(u64, u64)> {
    let mut pages = statm.split_whitespace().map(|word| word.parse::<u64>().ok());
    let bytes = |pages: Option<Option<u64>>| pages??.checked_mul(PAGE_BYTES);
    Some((bytes(pages.next())?, bytes(pages.next())?))
}

fn max_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

/// The program's name stands in brackets and may hold anything, so fields are counted from the last bracket.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        assert_eq!(memory("100 25 3 1 0 9 0\n"), Some((409_600, 102_400)));
        assert_eq!(memory("100"), None);
        assert_eq!(cpu("7 (a) b) S 1 7 7 0 -1 0 10 0 0 0 150 50 0 0 20 0 3 0"), Some(2.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   4096   files\n";
        assert_eq!(max_files(limits), Some(1_024));
        assert_eq!(max_files("Max open files   unlimited   unlimited   files"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_something() {
        let samples = samples(Duration::from_secs(1_700_000_000));
        assert_eq!(samples.len(), 6, "{samples:?}");
        for sample in &samples {
            let is_some = match sample.amount {
                Amount::Gauge(amount) => amount > 0.0,
                Amount::Seconds(seconds) => seconds >= 0.0,
                _ => false,
            };
            assert!(is_some, "{sample:?}");
        }
    }
}
