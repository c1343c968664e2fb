//! CPU time of processes, from Linux's `/proc`.

use anyhow::{Context, Result};

/// Clock ticks a second: `USER_HZ`, 100 on every Linux.
const TICKS: f64 = 100.0;

/// User and system seconds of a process so far, in steps of 10 ms, all its threads together.
///
/// # Errors
/// When there is no such process.
pub(crate) fn seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    parse(&stat).context("an unreadable /proc stat line")
}

/// The program's name stands in brackets and may hold anything, so fields are counted from the last bracket.
fn parse(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 10 0 0 0 150 50 0 0 20 0 3 0";
        assert_eq!(parse(stat), Some(2.0));
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(seconds(std::process::id()).is_ok_and(|used| used >= 0.0));
    }
}
