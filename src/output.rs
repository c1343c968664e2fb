//! Words to the person at the terminal. Unlike `println!`, a reader that has gone away is not a panic.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Whether anybody still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Somebody does.
    Listens,
    /// The pipe is closed, as behind `| head -1`: there is no use in going on, and no fault.
    Left,
}

/// One line of what was asked for, to standard output.
///
/// # Errors
/// When it can't be written for another reason than a closed pipe: a full disk, for example.
pub fn say(line: impl Display) -> io::Result<Reader> {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(error),
    }
}

/// One line about what goes on, to standard error; nobody need read it.
pub fn remark(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A time in UTC, as ISO 8601 writes it to the second.
#[must_use]
pub fn utc(unix_secs: u64) -> String {
    let (days, second) = (unix_secs / 86_400, unix_secs % 86_400);
    // Days are counted from 1 March of the year 0 in eras of 400 years, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `date -u -d @N +%FT%TZ` prints them.
    #[test]
    fn times_are_those_of_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_582_200_000, "2020-02-20T12:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u32::MAX.into(), "2106-02-07T06:28:15Z"),
        ] {
            assert_eq!(utc(secs), text);
        }
    }
}
