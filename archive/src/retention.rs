//! How long rows are kept: by age, number and size, in the words of nwaku's `--store-message-retention-policy`.
//!
//! As there, nothing is deleted for a little: by age once the oldest row is a tenth past it, by number at 1.3 times of it, and then
//! down to 1.15 times; by size as soon as it is exceeded. Age is that of sending.

use std::{fmt, str::FromStr};

use crate::{
    query::{Place, Totals},
    row::{Key, NANOS_PER_SEC},
};

/// Bytes that are deleted at once: 4 MiB, some milliseconds.
pub(crate) const MAX_CHUNK_BYTES: usize = 4 << 20;

/// What is kept; what is not named is without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// At most so many seconds.
    pub max_age_secs: Option<u64>,
    /// At most so many rows.
    pub max_rows: Option<u64>,
    /// At most so many bytes, as [`Totals::bytes`] counts them.
    pub max_bytes: Option<u64>,
}

/// Why a text is no retention.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// A part of it has another form.
    #[error(
        "`{0}` says nothing about retention: write time:SECONDS, capacity:ROWS, size:NUMBER with MB or GB, or none; several joined by ; or +"
    )]
    Malformed(String),
    /// Two parts of one kind, or one beside `none`.
    #[error("retention `{0}` says one thing twice")]
    Twice(String),
}

impl FromStr for Retention {
    type Err = RetentionError;

    fn from_str(text: &str) -> Result<Self, RetentionError> {
        let mut retention = Self::default();
        let parts: Vec<&str> = text.split([';', '+']).map(str::trim).collect();
        if let [only] = parts[..]
            && (only.eq_ignore_ascii_case("none") || only.is_empty())
        {
            return Ok(retention);
        }
        for part in parts {
            let malformed = || RetentionError::Malformed(part.to_owned());
            let (kind, value) = part.split_once(':').ok_or_else(malformed)?;
            let (place, value) = match kind.trim().to_ascii_lowercase().as_str() {
                "time" => (&mut retention.max_age_secs, whole(value)),
                "capacity" => (&mut retention.max_rows, whole(value)),
                "size" => (&mut retention.max_bytes, size(value)),
                _ => return Err(malformed()),
            };
            let value = value.filter(|value| *value > 0).ok_or_else(malformed)?;
            if place.replace(value).is_some() {
                return Err(RetentionError::Twice(text.to_owned()));
            }
        }
        Ok(retention)
    }
}

fn whole(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `30GB`, `1.5 gb`: binary multiples.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = [("gb", 1_u64 << 30), ("mb", 1 << 20)]
        .into_iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))?;
    let number: f64 = number.trim().parse().ok()?;
    let bytes = number * unit as f64;
    // Above 2^53 no archive is kept, and a fraction of a byte is none.
    (bytes.is_finite() && (1.0..9e15).contains(&bytes)).then_some(bytes as u64)
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self.max_age_secs.map(|secs| format!("time:{secs}"));
        let rows = self.max_rows.map(|rows| format!("capacity:{rows}"));
        let bytes = self.max_bytes.map(|bytes| format!("size:{}MB", bytes as f64 / f64::from(1 << 20)));
        let parts: Vec<String> = [age, rows, bytes].into_iter().flatten().collect();
        if parts.is_empty() { f.write_str("none") } else { f.write_str(&parts.join(";")) }
    }
}

/// What has to go, in this round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Excess {
    /// What was sent before this second.
    pub(crate) before_secs: Option<i64>,
    /// What is beyond the newest so many rows.
    pub(crate) keep_rows: Option<u64>,
    /// What is beyond the newest so many bytes.
    pub(crate) keep_bytes: Option<u64>,
}

impl Retention {
    /// What has to go now; `None` when nothing has.
    pub(crate) fn excess(&self, totals: &Totals, now_secs: u64) -> Option<Excess> {
        let now = i64::try_from(now_secs).unwrap_or(i64::MAX);
        let oldest_secs = totals.oldest_ns.map_or(now, |nanos| nanos.div_euclid(NANOS_PER_SEC));
        let too_old = |age: &u64| oldest_secs < now.saturating_sub_unsigned(age.saturating_add(age / 10));
        let excess = Excess {
            before_secs: self.max_age_secs.filter(too_old).map(|age| now.saturating_sub_unsigned(age)),
            keep_rows: self.max_rows.filter(|most| totals.rows > times(*most, 130)).map(|most| times(most, 115)),
            keep_bytes: self.max_bytes.filter(|most| totals.bytes > *most),
        };
        (excess != Excess::default()).then_some(excess)
    }
}

/// So many hundredths of it.
fn times(n: u64, hundredths: u64) -> u64 {
    u64::try_from(u128::from(n) * u128::from(hundredths) / 100).unwrap_or(u64::MAX)
}

impl Excess {
    /// Which of the oldest rows go in one step, given those, oldest first.
    pub(crate) fn going(&self, totals: &Totals, oldest: impl Iterator<Item = Place>) -> Vec<Key> {
        let (mut left, mut step_bytes) = (*totals, 0);
        let mut goes = |place: &Place| {
            let goes = step_bytes < MAX_CHUNK_BYTES && self.asks_for(&left, place.key.split().0);
            left.rows = left.rows.saturating_sub(1);
            left.bytes = left.bytes.saturating_sub(place.size_bytes as u64);
            step_bytes += place.size_bytes;
            goes
        };
        oldest.map(|place| (goes(&place), place.key)).take_while(|(goes, _)| *goes).map(|(_, key)| key).collect()
    }

    /// Whether a row that was sent then, the oldest of these, has to go.
    fn asks_for(&self, totals: &Totals, sent_secs: i64) -> bool {
        self.before_secs.is_some_and(|before| sent_secs < before)
            || self.keep_rows.is_some_and(|keep| totals.rows > keep)
            || self.keep_bytes.is_some_and(|keep| totals.bytes > keep)
    }

    /// Whether everything older than `until_secs` can go at once, which is so many rows and bytes of the totals.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "partitions are PostgreSQL's"))]
    pub(crate) fn covers(&self, totals: &Totals, until_secs: i64, rows: u64, bytes: u64) -> bool {
        self.before_secs.is_some_and(|before| until_secs <= before)
            || self.keep_rows.is_some_and(|keep| totals.rows.saturating_sub(rows) >= keep)
            || self.keep_bytes.is_some_and(|keep| totals.bytes.saturating_sub(bytes) >= keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Bounds = (Option<u64>, Option<u64>, Option<u64>);

    fn parsed(text: &str) -> Result<Bounds, RetentionError> {
        text.parse::<Retention>().map(|it| (it.max_age_secs, it.max_rows, it.max_bytes))
    }

    #[test]
    fn the_words_of_nwaku() {
        let gib = 1 << 30;
        for (text, expected) in [
            ("none", (None, None, None)),
            (" NONE ", (None, None, None)),
            ("", (None, None, None)),
            ("time:172800", (Some(172_800), None, None)),
            ("capacity:25000", (None, Some(25_000), None)),
            ("size:30GB", (None, None, Some(30 * gib))),
            ("Size: 1.5 gb", (None, None, Some(gib / 2 * 3))),
            ("size:25Mb", (None, None, Some(25 << 20))),
            ("time:60;capacity:7;size:1MB", (Some(60), Some(7), Some(1 << 20))),
            ("time:60 + size:1MB", (Some(60), None, Some(1 << 20))),
        ] {
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_told() {
        for text in [
            "time",
            "time:",
            "time:-1",
            "time:1h",
            "time:0",
            "capacity:1.5",
            "size:30",
            "size:30TB",
            "size:-1GB",
            "size:nanGB",
            "size:infGB",
            "size:1e300GB",
            "days:3",
            "none;time:3",
            "time:3;",
            ";",
            "time:99999999999999999999",
        ] {
            assert!(matches!(parsed(text), Err(RetentionError::Malformed(_))), "{text}");
        }
        assert_eq!(parsed("time:3;time:4"), Err(RetentionError::Twice("time:3;time:4".to_owned())));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for text in ["none", "time:172800", "time:60;capacity:7;size:1.5MB", "size:30720MB"] {
            assert_eq!(text.parse::<Retention>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nothing_goes_for_a_little() {
        const NOW: u64 = 1_000_000;
        let totals = |age: i64, rows, bytes| Totals {
            rows,
            bytes,
            oldest_ns: Some((1_000_000 - age) * NANOS_PER_SEC),
            newest_ns: None,
        };
        let retention: Retention = "time:1000;capacity:100;size:1MB".parse().unwrap();
        assert_eq!(retention.excess(&totals(1_100, 130, 1 << 20), NOW), None);
        let age = Excess { before_secs: Some(999_000), ..Excess::default() };
        assert_eq!(retention.excess(&totals(1_101, 130, 1 << 20), NOW), Some(age));
        let rows = Excess { keep_rows: Some(115), ..Excess::default() };
        assert_eq!(retention.excess(&totals(1_100, 131, 1 << 20), NOW), Some(rows));
        let bytes = Excess { keep_bytes: Some(1 << 20), ..Excess::default() };
        assert_eq!(retention.excess(&totals(1_100, 130, (1 << 20) + 1), NOW), Some(bytes));
        let endless: Retention = format!("time:{0};capacity:{0}", u64::MAX).parse().unwrap();
        assert_eq!(endless.excess(&totals(i64::from(u32::MAX), u64::MAX, u64::MAX), NOW), None);
        assert_eq!(retention.excess(&Totals::default(), NOW), None);
    }

    #[test]
    fn one_step_has_a_bound_in_bytes() {
        let place = |n: i64| Place { key: Key { sent_ns: n, id: [0; 32] }, envelope: None, size_bytes: 1 << 20 };
        let excess = Excess { before_secs: Some(1), ..Excess::default() };
        let going = excess.going(&Totals { rows: 100, bytes: 100 << 20, ..Totals::default() }, (0..100).map(place));
        assert_eq!(going.len(), MAX_CHUNK_BYTES >> 20);
    }
}
