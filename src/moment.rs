//! Times as people give them to commands: `24h` ago, unix seconds, or a date.

use std::str::FromStr;

/// A time, as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So many seconds before now.
    Ago(u64),
    /// Unix seconds.
    At(u64),
}

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time: give 24h for a day ago (s, m, h, d, w), unix seconds, 2020-07-09, or 2020-07-09T12:00:00Z")]
pub struct MomentError(String);

impl Moment {
    /// Unix seconds.
    #[must_use]
    pub fn unix_secs(self, now_secs: u64) -> u64 {
        match self {
            Self::Ago(secs) => now_secs.saturating_sub(secs),
            Self::At(secs) => secs,
        }
    }

    /// The same as envelopes count it: to the year 2106.
    #[must_use]
    pub fn envelope_secs(self, now_secs: u64) -> u32 {
        u32::try_from(self.unix_secs(now_secs)).unwrap_or(u32::MAX)
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || MomentError(text.chars().take(64).collect());
        if let Ok(secs) = text.parse() {
            return Ok(Self::At(secs));
        }
        if text == "now" {
            return Ok(Self::Ago(0));
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return date(text).map(Self::At).ok_or_else(wrong),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Self::Ago).ok_or_else(wrong)
    }
}

/// A date, or a date and a time of day, in UTC.
fn date(text: &str) -> Option<u64> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(day, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let is_real = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_real || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years that begin in March, so that a leap day is the last one of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?; // From the first of March of the year 0 to 1970.
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let parts: Option<Vec<u64>> = text.split(between).map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form() {
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.unix_secs(1_000_000));
        assert_eq!((at("30s"), at("2m"), at("24h")), (Ok(999_970), Ok(999_880), Ok(913_600)));
        assert_eq!((at("1d"), at("1w"), at("now")), (Ok(913_600), Ok(395_200), Ok(1_000_000)));
        assert_eq!((at("1594296000"), at("100w")), (Ok(1_594_296_000), Ok(0)));
        assert_eq!(at("2020-07-09T12:00:00Z"), Ok(1_594_296_000));
        for (date, secs) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2026-11-22", 1_795_305_600),
            ("2106-02-07T06:28:15Z", u64::from(u32::MAX)),
        ] {
            assert_eq!(at(date), Ok(secs), "{date}");
        }
        assert_eq!(Moment::At(u64::MAX).envelope_secs(0), u32::MAX);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "h",
            "1y",
            "-1h",
            "2020",
            "2020-13-01",
            "1969-12-31",
            "2020-07-09T25:00:00Z",
            "2020-07-09T12:00",
            "99999999999999999999w",
        ] {
            let read = text.parse::<Moment>();
            assert_eq!(read.is_ok(), text == "2020", "{text} {read:?}");
        }
    }
}
