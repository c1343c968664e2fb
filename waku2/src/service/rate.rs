//! How much of a service is answered: `[SERVICE:]VOLUME/PERIOD`, and the budgets that follow from it. Pure.  Source: nwaku's `--rate-limit`.
//!
//! A service has one budget for all, and each peer one of its own that is three quarters of it over several periods, so that a peer may ask
//! for much at once and yet not for everything; filter has those of peers alone. A budget is whole again when its period ends, which begins
//! with the first request. Of filter's, what was left over counts in the next period, up to a quarter.
//!
//! Limit: [`MAX_PEERS`] budgets of peers; whoever is one too many is refused until one is whole again.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use libp2p::PeerId;

use super::Protocol;

/// Peers with a budget that is not whole, about 100 bytes each. There are some fifty connections; those who come and go keep theirs.
pub const MAX_PEERS: usize = 4_096;

/// What peer exchange is asked for: all together, and each peer. Clients ask once in ten seconds at most (js-waku), most of them once a minute
/// or less. Deployed nodes have no limit here.
const EXCHANGE: [Quota; 2] =
    [Quota { volume: 100, period: Duration::from_secs(10) }, Quota { volume: 10, period: Duration::from_secs(60) }];

/// What a peer may ask of filter.  Deployed: nwaku.
const FILTER: Quota = Quota { volume: 30, period: Duration::from_secs(60) };

/// A service that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Store, of both versions.
    Store,
    /// Store 2.
    StoreV2,
    /// Store 3.
    StoreV3,
    /// Lightpush; each of its versions has this much.
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
pub struct Quota {
    /// How many; 0 for no limit.
    pub volume: u32,
    /// In what time; none for no limit.
    pub period: Duration,
}

impl Quota {
    /// Is there no limit?
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.volume == 0 || self.period.is_zero()
    }

    /// A peer's part of it.  Deployed: nwaku.
    #[must_use]
    fn of_a_peer(self) -> Self {
        let periods: u32 = match self.period {
            period if period <= Duration::from_secs(1) => 10,
            period if period <= Duration::from_secs(60) => 3,
            _ => 2,
        };
        // Three quarters, and one at least: none would be no limit.
        let volume = (u64::from(self.volume) * u64::from(periods) * 3 / 4).max(1);
        Self { volume: u32::try_from(volume).unwrap_or(u32::MAX), period: self.period.saturating_mul(periods) }
    }
}

/// A limit as the operator gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Of this service; `None` of each that has no limit of its own, but for filter.
    pub service: Option<Service>,
    /// How much.
    pub quota: Quota,
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
        Ok(Self { service, quota: Quota { volume, period: period_of(period.trim())? } })
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
        write!(f, "{}/{}ms", self.quota.volume, self.quota.period.as_millis())
    }
}

/// What a service may be asked for: all together, each peer, and whether a peer keeps a part of what it did not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budgets {
    total: Option<Quota>,
    peer: Option<Quota>,
    keeps_rest: bool,
}

impl Budgets {
    /// A service that may be asked for so much.
    #[must_use]
    pub fn shared(quota: Quota) -> Self {
        match quota.is_unlimited() {
            true => Self::default(),
            false => Self { total: Some(quota), peer: Some(quota.of_a_peer()), keeps_rest: false },
        }
    }

    /// A service that each peer may ask for so much.
    #[must_use]
    pub fn of_each(quota: Quota) -> Self {
        Self { total: None, peer: (!quota.is_unlimited()).then_some(quota), keeps_rest: true }
    }

    /// What a protocol may be asked for by these limits: the last one of its own service, else the last one of all services. Filter has a
    /// default of its own instead of the latter. Pushes of messages that we asked for are never limited; requests of
    /// [`Protocol::FilterV1`] are, by whoever reads them, because its pushes come on the same id.
    #[must_use]
    pub fn of(protocol: Protocol, limits: &[RateLimit]) -> Self {
        let shared = |own: &[Service]| {
            let services: Vec<Option<Service>> = own.iter().copied().map(Some).chain([None]).collect();
            last(limits, &services).map(Self::shared).unwrap_or_default()
        };
        match protocol {
            Protocol::FilterPush => Self::default(),
            Protocol::FilterV1 | Protocol::FilterSubscribe => {
                Self::of_each(last(limits, &[Some(Service::Filter)]).unwrap_or(FILTER))
            }
            Protocol::StoreV3 => shared(&[Service::StoreV3, Service::Store]),
            Protocol::StoreLegacy => shared(&[Service::StoreV2, Service::Store]),
            Protocol::LightpushV3 | Protocol::LightpushLegacy => shared(&[Service::Lightpush]),
        }
    }

    /// The bound on requests of all peers, else of each, as so many a second; `None` where there is none.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        let quota = self.total.or(self.peer)?;
        Some(f64::from(quota.volume) / quota.period.as_secs_f64())
    }

    /// What peer exchange may be asked for: its own limit, else that of all services, else a default.
    #[must_use]
    pub fn of_exchange(limits: &[RateLimit]) -> Self {
        let [total, peer] = EXCHANGE.map(Some);
        let default = Self { total, peer, keeps_rest: false };
        last(limits, &[Some(Service::Px), None]).map_or(default, Self::shared)
    }
}

/// The last limit of the first of these that has one.
fn last(limits: &[RateLimit], services: &[Option<Service>]) -> Option<Quota> {
    let of = |service| limits.iter().rfind(|limit| limit.service == service).map(|limit| limit.quota);
    services.iter().find_map(|service| of(*service))
}

/// What is left of a quota in its period.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    began: Instant,
}

impl Bucket {
    const fn whole(now: Instant, quota: Quota) -> Self {
        Self { left: quota.volume, began: now }
    }

    /// Takes one out; false when there is none.
    fn take(&mut self, now: Instant, quota: Quota, keeps_rest: bool) -> bool {
        self.renew(now, quota, keeps_rest);
        let has = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has
    }

    fn renew(&mut self, now: Instant, quota: Quota, keeps_rest: bool) {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= quota.period {
            let rest = if keeps_rest { self.left.min(quota.volume / 4) } else { 0 };
            *self = Self { left: quota.volume.saturating_add(rest), began: now };
        } else if self.left >= quota.volume && !keeps_rest {
            self.began = now;
        }
    }
}

/// What is left of the budgets of one service.
#[derive(Debug, Default)]
pub struct Limiter {
    budgets: Budgets,
    total: Option<Bucket>,
    peers: HashMap<PeerId, Bucket>,
}

impl Limiter {
    /// Whole budgets.
    #[must_use]
    pub fn new(budgets: Budgets) -> Self {
        Self { budgets, ..Self::default() }
    }

    /// May `peer` be answered? Takes one out of its budget, then one out of that of all.  Deployed: nwaku's order.
    pub fn take(&mut self, now: Instant, peer: PeerId) -> bool {
        self.take_of_peer(now, peer) && self.take_of_all(now)
    }

    fn take_of_peer(&mut self, now: Instant, peer: PeerId) -> bool {
        let Some(quota) = self.budgets.peer else { return true };
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, bucket| now.saturating_duration_since(bucket.began) < quota.period);
            if self.peers.len() >= MAX_PEERS {
                return false;
            }
        }
        let bucket = self.peers.entry(peer).or_insert_with(|| Bucket::whole(now, quota));
        bucket.take(now, quota, self.budgets.keeps_rest)
    }

    fn take_of_all(&mut self, now: Instant) -> bool {
        let Some(quota) = self.budgets.total else { return true };
        self.total.get_or_insert_with(|| Bucket::whole(now, quota)).take(now, quota, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RateLimit {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn budgets(protocol: Protocol, texts: &[&str]) -> Budgets {
        Budgets::of(protocol, &texts.iter().map(|text| read(text)).collect::<Vec<_>>())
    }

    const fn per_second(volume: u32) -> Quota {
        Quota { volume, period: Duration::from_secs(1) }
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
            let limit = RateLimit { service, quota: Quota { volume, period: Duration::from_millis(millis) } };
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
    fn a_protocol_has_its_own_limit_or_that_of_all() {
        use Protocol::{FilterPush, FilterSubscribe, FilterV1, LightpushLegacy, LightpushV3, StoreLegacy, StoreV3};
        let shared = |volume| Budgets::shared(per_second(volume));
        assert_eq!(budgets(StoreV3, &[]), Budgets::default(), "no limit");
        for (protocol, limits, volume) in [
            (StoreV3, &["2/1s"][..], 2),
            (StoreV3, &["2/1s", "store:3/1s"], 3),
            (StoreV3, &["storev3:4/1s", "store:3/1s"], 4),
            (StoreLegacy, &["storev3:4/1s", "store:3/1s"], 3),
            (StoreLegacy, &["storev2:5/1s", "store:3/1s"], 5),
            (LightpushV3, &["lightpush:6/1s", "lightpush:7/1s", "8/1s"], 7),
            (LightpushLegacy, &["lightpush:6/1s", "8/1s"], 6),
        ] {
            assert_eq!(budgets(protocol, limits), shared(volume), "{protocol} {limits:?}");
        }
        assert_eq!(budgets(LightpushV3, &["lightpush:0/0s", "8/1s"]), Budgets::default(), "none by name");
        for filter in [FilterV1, FilterSubscribe] {
            assert_eq!(budgets(filter, &["8/1s"]), Budgets::of_each(FILTER), "its default stays");
            assert_eq!(budgets(filter, &["filter:9/1s"]), Budgets::of_each(per_second(9)));
        }
        assert_eq!(budgets(FilterPush, &["8/1s", "filter:1/1s"]), Budgets::default());
    }

    #[test]
    fn peer_exchange_takes_its_own_limit_or_that_of_all() {
        let exchange = |texts: &[&str]| Budgets::of_exchange(&texts.iter().map(|text| read(text)).collect::<Vec<_>>());
        let default = exchange(&[]);
        assert_eq!((default.total, default.peer), (Some(EXCHANGE[0]), Some(EXCHANGE[1])));
        assert_eq!(exchange(&["store:1/1s"]), default);
        assert_eq!(exchange(&["20/1s"]), Budgets::shared(per_second(20)));
        assert_eq!(exchange(&["px:30/1s", "20/1s"]), Budgets::shared(per_second(30)));
        assert_eq!(exchange(&["px:30/1s", "px:40/1s"]), Budgets::shared(per_second(40)));
        assert_eq!(exchange(&["px:0/0s"]), Budgets::default());
        assert_eq!((default.per_second(), Budgets::default().per_second()), (Some(10.0), None));
    }

    #[test]
    fn a_peer_has_three_quarters_over_several_periods() {
        let part = |volume, secs| Quota { volume, period: Duration::from_secs(secs) }.of_a_peer();
        assert_eq!(part(10, 1), Quota { volume: 75, period: Duration::from_secs(10) });
        assert_eq!(part(10, 60), Quota { volume: 22, period: Duration::from_secs(180) });
        assert_eq!(part(10, 61), Quota { volume: 15, period: Duration::from_secs(122) });
        assert_eq!(part(1, 3_600).volume, 1, "not none, which would be no limit");
        assert_eq!(part(u32::MAX, 1).volume, u32::MAX);
    }

    /// How many of so many questions are answered.
    fn answered(limiter: &mut Limiter, now: Instant, peer: PeerId, asked: usize) -> usize {
        (0..asked).filter(|_| limiter.take(now, peer)).count()
    }

    #[test]
    fn all_together_and_each_alone() {
        let (start, [a, b]) = (devp2p::clock::now().instant, [PeerId::random(), PeerId::random()]);
        let mut limiter = Limiter::new(Budgets::shared(per_second(10)));
        assert_eq!(answered(&mut limiter, start, a, 8), 8);
        assert_eq!(answered(&mut limiter, start, b, 8), 2, "the rest of the second");
        for second in 1..7 {
            assert_eq!(answered(&mut limiter, start + Duration::from_secs(second), a, 10), 10);
        }
        let now = start + Duration::from_secs(7);
        assert_eq!(answered(&mut limiter, now, a, 10), 7, "the last of its 75 in ten seconds");
        assert_eq!(answered(&mut limiter, now, b, 10), 3, "which leaves others theirs");
        assert_eq!(answered(&mut limiter, start + Duration::from_secs(10), a, 10), 10, "a new period");
    }

    #[test]
    fn a_period_begins_with_the_first_request() {
        let (start, peer) = (devp2p::clock::now().instant, PeerId::random());
        let mut limiter = Limiter::new(Budgets::shared(per_second(2)));
        assert!(limiter.take(start, peer));
        let later = start + Duration::from_millis(900);
        assert_eq!(answered(&mut limiter, later, peer, 5), 1);
        assert_eq!(answered(&mut limiter, start + Duration::from_secs(1), peer, 5), 2);
    }

    #[test]
    fn h77_filter_is_limited_by_peer_and_a_quarter_of_the_rest_is_kept() {
        let (start, [a, b]) = (devp2p::clock::now().instant, [PeerId::random(), PeerId::random()]);
        let mut limiter = Limiter::new(Budgets::of(Protocol::FilterSubscribe, &[]));
        let minute = |n: u64| start + Duration::from_secs(60 * n);
        assert_eq!(answered(&mut limiter, start, a, 1_000), 30);
        assert_eq!(answered(&mut limiter, start, b, 10), 10);
        assert_eq!(answered(&mut limiter, minute(1), a, 1_000), 30, "nothing was left");
        assert_eq!(answered(&mut limiter, minute(1), b, 1_000), 37, "a quarter of 30");
        assert_eq!(answered(&mut limiter, minute(2), b, 1_000), 30);
    }

    #[test]
    fn h79_peers_are_bounded_and_forgotten() {
        let start = devp2p::clock::now().instant;
        let mut limiter = Limiter::new(Budgets::of_each(per_second(1)));
        assert!((0..MAX_PEERS).all(|_| limiter.take(start, PeerId::random())));
        assert!(!limiter.take(start, PeerId::random()), "one too many");
        assert!(limiter.take(start + Duration::from_secs(1), PeerId::random()));
        assert_eq!(limiter.peers.len(), 1, "budgets that are whole again are forgotten");
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut limiter = Limiter::new(Budgets::default());
        let start = devp2p::clock::now().instant;
        assert!((0..10_000).all(|_| limiter.take(start, PeerId::random())));
        assert!(limiter.peers.is_empty());
    }
}
