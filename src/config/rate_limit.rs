//! How much of a service is answered: `[SERVICE:]VOLUME/PERIOD`.  Source: nwaku's `--rate-limit`.

use std::{fmt, str::FromStr, time::Duration};

use waku2::peer_exchange::server::{Rate, Rates};

/// A service that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Store, of both versions.
    Store,
    /// Store 2.
    StoreV2,
    /// Store 3.
    StoreV3,
    /// Lightpush.
    Lightpush,
    /// Peer exchange.
    Px,
    /// Filter; its limit is each peer's own.
    Filter,
}

impl Service {
    const ALL: [Self; 6] = [Self::Store, Self::StoreV2, Self::StoreV3, Self::Lightpush, Self::Px, Self::Filter];

    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::StoreV2 => "storev2",
            Self::StoreV3 => "storev3",
            Self::Lightpush => "lightpush",
            Self::Px => "px",
            Self::Filter => "filter",
        }
    }
}

/// So many requests in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Of this service; `None` of each that has no limit of its own.
    pub service: Option<Service>,
    /// How many; 0 for no limit.
    pub volume: u32,
    /// In what time; none for no limit.
    pub period: Duration,
}

/// Not a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give [SERVICE:]VOLUME/PERIOD, px:10/1m for example. Services are store, storev2, storev3, lightpush, px and filter, units h, m, s and ms"
)]
pub struct RateLimitError;

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let text = text.trim().to_ascii_lowercase();
        let (service, rate) = match text.split_once(':') {
            Some((name, rate)) => (Some(service(name.trim())?), rate),
            None => (None, text.as_str()),
        };
        let (volume, period) = rate.split_once('/').ok_or(RateLimitError)?;
        let volume = volume.trim().parse().map_err(|_| RateLimitError)?;
        Ok(Self { service, volume, period: period_of(period.trim())? })
    }
}

fn service(name: &str) -> Result<Service, RateLimitError> {
    Service::ALL.into_iter().find(|service| service.name() == name).ok_or(RateLimitError)
}

fn period_of(text: &str) -> Result<Duration, RateLimitError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.trim_end().parse().map_err(|_| RateLimitError)?;
    let unit = match &text[digits.len()..] {
        "h" => Duration::from_secs(60 * 60),
        "m" => Duration::from_secs(60),
        "s" => Duration::from_secs(1),
        "ms" => Duration::from_millis(1),
        _ => return Err(RateLimitError),
    };
    Ok(unit * number)
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = self.service {
            write!(f, "{}:", service.name())?;
        }
        write!(f, "{}/{}ms", self.volume, self.period.as_millis())
    }
}

impl RateLimit {
    /// Is the service there? One for all is: it counts for those that are.
    #[must_use]
    pub fn is_served(&self) -> bool {
        matches!(self.service, None | Some(Service::Px))
    }

    fn rate(&self) -> Rate {
        match self.volume {
            0 => UNLIMITED,
            _ if self.period.is_zero() => UNLIMITED,
            volume => Rate { burst: volume, every: self.period / volume },
        }
    }
}

/// As many as come.
const UNLIMITED: Rate = Rate { burst: u32::MAX, every: Duration::ZERO };

/// How much of peer exchange is answered: its own limit, else that for all services, else the default; the last of several. A peer
/// keeps its default share, unless there is no limit or a stricter one.
#[must_use]
pub fn exchange_rates(limits: &[RateLimit]) -> Rates {
    let of = |service| limits.iter().rfind(|limit| limit.service == service);
    let Some(total) = of(Some(Service::Px)).or_else(|| of(None)).map(RateLimit::rate) else { return Rates::default() };
    let usual = Rates::default().per_peer;
    let per_peer = match total.every.is_zero() {
        true => total,
        false => Rate { burst: usual.burst.min(total.burst), every: usual.every.max(total.every) },
    };
    Rates { per_peer, total }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RateLimit {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_service_and_every_unit() {
        for (text, service, volume, millis) in [
            ("100/1s", None, 100, 1_000),
            ("px:10/2m", Some(Service::Px), 10, 120_000),
            ("store:0/0s", Some(Service::Store), 0, 0),
            ("storev2:5/1h", Some(Service::StoreV2), 5, 3_600_000),
            (" StoreV3 : 5 / 250 ms", Some(Service::StoreV3), 5, 250),
            ("lightpush:1/1ms", Some(Service::Lightpush), 1, 1),
            ("FILTER:30/1M", Some(Service::Filter), 30, 60_000),
        ] {
            let limit = RateLimit { service, volume, period: Duration::from_millis(millis) };
            assert_eq!(read(text), limit, "{text}");
            assert_eq!(read(&limit.to_string()), limit, "{limit}");
        }
        for bad in [
            "",
            "10",
            "10/",
            "/1s",
            "10/1",
            "10/1d",
            "relay:10/1s",
            ":10/1s",
            "-1/1s",
            "10/s",
            "10/1s/1s",
            "99999999999/1s",
        ] {
            assert_eq!(bad.parse::<RateLimit>(), Err(RateLimitError), "{bad}");
        }
    }

    #[test]
    fn peer_exchange_takes_its_own_limit_or_that_of_all() {
        let rates = |texts: &[&str]| exchange_rates(&texts.iter().map(|text| read(text)).collect::<Vec<_>>());
        let second = |burst| Rate { burst, every: Duration::from_secs(1) / burst };
        assert_eq!(rates(&[]), Rates::default());
        assert_eq!(rates(&["store:1/1s"]), Rates::default());
        assert_eq!(rates(&["20/1s"]).total, second(20));
        assert_eq!(rates(&["px:30/1s", "20/1s"]).total, second(30));
        assert_eq!(rates(&["px:30/1s", "px:40/1s"]), Rates { total: second(40), ..Rates::default() });
        let strict = rates(&["px:2/10m"]);
        assert_eq!((strict.total, strict.per_peer), (Rate { burst: 2, every: Duration::from_secs(300) }, strict.total));
        assert_eq!(rates(&["px:0/0s"]), Rates { per_peer: UNLIMITED, total: UNLIMITED });
    }
}
