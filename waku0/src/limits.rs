//! How much a peer may send us: token buckets by peer, by address, and by peer and topic.
//! Spec: 5/WAKU0, "Rate Limits".
//!
//! Nothing is dropped for being too much, because deployed senders never repeat what they have sent. What finds its
//! bucket empty is counted as the peer's excess, which decays; a peer whose excess reaches [`Rates::tolerance`] is left.
//! The buckets by topic are kept for each peer, so that one flooder cannot use up a topic for everybody.
//!
//! An acknowledgement of a packet of ours is not counted: we asked for it, and a peer that confirms sends two of them for
//! every packet that it gets.
//!
//! Limits: [`TOPICS_PER_PEER`] topics; [`MAX_ADDRESSES`] addresses; [`MAX_CREDIT`] acknowledgements.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    str::FromStr,
    time::{Duration, Instant},
};

use crate::{counters::Counters, status::RateLimits, topic::Topic};

/// For how long a peer may go on at twice its rate, after it was silent: what a full bucket holds.
pub const BURST: Duration = Duration::from_secs(5);

/// Bytes that find their bucket empty and weigh as much as a packet that does.
pub const BYTES_PER_EXCESS: u64 = 64 << 10;

/// Topics that a peer's buckets are kept for: its latest, this many at least and twice as many at most. An older one
/// has a full bucket again.
pub const TOPICS_PER_PEER: usize = 1024;

/// Addresses with buckets: those of all peers, and as many that have just left, so that dialling again is no way out.
pub const MAX_ADDRESSES: usize = 2 * crate::node::MAX_PEERS;

/// Acknowledgements of our packets that may be outstanding without being counted: two for each of ten seconds' packets
/// at the rate that we announce.
pub const MAX_CREDIT: u32 = 2_000;

/// What may pass in a second; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Packets a second, of any code.
    pub packets: u32,
    /// Bytes a second, of decompressed bodies.
    pub bytes: u64,
}

/// What peers may send us in a second; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rates {
    /// One peer.
    pub peer: Flow,
    /// One address, over all its connections.
    pub ip: Flow,
    /// Envelopes of one topic from one peer.
    pub topic: u32,
    /// Excess at which a peer is left; 0 is never.
    pub tolerance: u32,
}

impl Default for Rates {
    /// Several times what the busiest deployed peer sends, which is a packet every 300 ms.
    fn default() -> Self {
        Self {
            peer: Flow { packets: 100, bytes: 4 << 20 },
            ip: Flow { packets: 200, bytes: 8 << 20 },
            topic: 200,
            tolerance: 100,
        }
    }
}

impl Rates {
    /// No limits.
    pub const NONE: Self =
        Self { peer: Flow { packets: 0, bytes: 0 }, ip: Flow { packets: 0, bytes: 0 }, topic: 0, tolerance: 0 };

    /// What peers are told: packets and envelopes a second.
    #[must_use]
    pub fn announced(&self) -> RateLimits {
        RateLimits { ip: self.ip.packets.into(), peer: self.peer.packets.into(), topic: self.topic.into() }
    }

    /// What peers of waku/1 are told beside: bytes a second. The others have no word for it.
    #[must_use]
    pub fn announced_bytes(&self) -> RateLimits {
        RateLimits { ip: self.ip.bytes, peer: self.peer.bytes, topic: 0 }
    }

    /// The default with these changes, in their order; `none` takes away all that was set before it.
    #[must_use]
    pub fn with(limits: impl IntoIterator<Item = RateLimit>) -> Self {
        limits.into_iter().fold(Self::default(), |rates, limit| match limit {
            RateLimit::None => Self { tolerance: rates.tolerance, ..Self::NONE },
            RateLimit::PeerPackets(packets) => Self { peer: Flow { packets, ..rates.peer }, ..rates },
            RateLimit::PeerBytes(bytes) => Self { peer: Flow { bytes, ..rates.peer }, ..rates },
            RateLimit::IpPackets(packets) => Self { ip: Flow { packets, ..rates.ip }, ..rates },
            RateLimit::IpBytes(bytes) => Self { ip: Flow { bytes, ..rates.ip }, ..rates },
            RateLimit::Topic(topic) => Self { topic, ..rates },
        })
    }
}

/// One limit as an operator writes it: `peer:100/s`, `ip:8MiB/s`, `topic:200/s` or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// No limits at all.
    None,
    /// Packets of one peer.
    PeerPackets(u32),
    /// Bytes of one peer.
    PeerBytes(u64),
    /// Packets of one address.
    IpPackets(u32),
    /// Bytes of one address.
    IpBytes(u64),
    /// Envelopes of one topic and peer.
    Topic(u32),
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of peer:100/s, peer:4MiB/s, ip:200/s, ip:8MiB/s, topic:200/s, none")]
pub struct RateLimitError(String);

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let refusal = || RateLimitError(text.into());
        if text == "none" {
            return Ok(Self::None);
        }
        let (scope, rate) = text.split_once(':').ok_or_else(refusal)?;
        let amount = rate.strip_suffix("/s").ok_or_else(refusal)?;
        let limit = match (scope, bytes(amount)) {
            ("peer", Some(bytes)) => Some(Self::PeerBytes(bytes)),
            ("ip", Some(bytes)) => Some(Self::IpBytes(bytes)),
            ("peer", None) => amount.parse().ok().map(Self::PeerPackets),
            ("ip", None) => amount.parse().ok().map(Self::IpPackets),
            ("topic", None) => amount.parse().ok().map(Self::Topic),
            _ => None,
        };
        limit.ok_or_else(refusal)
    }
}

/// Reads a number with a unit of bytes; `None` without one.
fn bytes(amount: &str) -> Option<u64> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((amount.strip_suffix(name)?, *unit)))?;
    number.trim().parse::<u32>().ok().map(|number| u64::from(number) * unit)
}

/// What is measured, and was too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Packets of a peer.
    PeerPackets,
    /// Bytes of a peer.
    PeerBytes,
    /// Packets of an address.
    IpPackets,
    /// Bytes of an address.
    IpBytes,
    /// Envelopes of a peer on one topic.
    TopicEnvelopes,
}

impl Meter {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::PeerPackets, Self::PeerBytes, Self::IpPackets, Self::IpBytes, Self::TopicEnvelopes];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerPackets => "peer_packets",
            Self::PeerBytes => "peer_bytes",
            Self::IpPackets => "ip_packets",
            Self::IpBytes => "ip_bytes",
            Self::TopicEnvelopes => "topic_envelopes",
        }
    }
}

/// The peer's excess has reached the tolerance, last by this meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverRate(pub(crate) Meter);

/// A token bucket that holds [`BURST`] of its rate. All that it keeps is when it will be full again; a rate of 0 never
/// empties it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one token, if there is one.
    pub(crate) fn take_one(&mut self, now: Instant, rate: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let full_at = self.full_at.max(now) + Duration::from_secs(1) / rate;
        let fits = full_at <= now + BURST;
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    /// Takes so many tokens, or all that there are, and says how many were missing.
    pub(crate) fn take(&mut self, now: Instant, rate: u64, wanted: u64) -> u64 {
        if rate == 0 {
            return 0;
        }
        let full_at = self.full_at.max(now);
        // As a rule there is enough, and the numbers are small.
        if let Some(nanos) = wanted.checked_mul(NANOS as u64).map(|nanos| Duration::from_nanos(nanos / rate))
            && full_at + nanos <= now + BURST
        {
            self.full_at = full_at + nanos;
            return 0;
        }
        let lacks = (full_at - now).as_nanos();
        let room = BURST.as_nanos().saturating_sub(lacks) * u128::from(rate) / NANOS;
        let taken = u128::from(wanted).min(room);
        let nanos = u64::try_from(taken * NANOS / u128::from(rate)).unwrap_or(u64::MAX).min(BURST.as_nanos() as u64);
        self.full_at = (full_at + Duration::from_nanos(nanos)).min(now + BURST);
        wanted - u64::try_from(taken).unwrap_or(u64::MAX).min(wanted)
    }

    /// Whether it is full again, so that it may be forgotten.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// Nanoseconds in a second.
const NANOS: u128 = 1_000_000_000;

/// Excess, which decays by one a second: all that is kept is when it will be gone.
#[derive(Debug, Clone, Copy)]
struct Excess {
    gone_at: Instant,
}

impl Excess {
    /// Adds so many seconds' worth, and says whether the tolerance is reached. More than a day's worth is not kept.
    fn add(&mut self, now: Instant, more: Duration, tolerance: u32) -> bool {
        self.gone_at = (self.gone_at.max(now) + more).min(now + Duration::from_secs(86_400));
        tolerance > 0 && self.gone_at - now >= Duration::from_secs(tolerance.into())
    }
}

/// What one packet or envelope of excess adds.
const ONE: Duration = Duration::from_secs(1);

/// Buckets for packets and bytes.
#[derive(Debug, Clone, Copy)]
struct Pair {
    packets: Bucket,
    bytes: Bucket,
}

impl Pair {
    fn full(now: Instant) -> Self {
        Self { packets: Bucket::full(now), bytes: Bucket::full(now) }
    }

    /// Takes one packet of this length; what was missing: the packet, and bytes.
    fn take(&mut self, now: Instant, flow: &Flow, len: u64) -> (bool, u64) {
        (!self.packets.take_one(now, flow.packets), self.bytes.take(now, flow.bytes, len))
    }
}

/// What one running peer has sent.
#[derive(Debug)]
pub(crate) struct Intake {
    own: Pair,
    topics: TopicBuckets,
    excess: Excess,
    /// Counted, but never left.
    exempt: bool,
    /// Acknowledgements that may come without being counted.
    credit: u32,
}

impl Intake {
    pub(crate) fn new(now: Instant, exempt: bool) -> Self {
        let excess = Excess { gone_at: now };
        Self { own: Pair::full(now), topics: TopicBuckets::default(), excess, exempt, credit: 0 }
    }

    /// Whether the peer is never left for sending too much.
    pub(crate) fn set_exempt(&mut self, exempt: bool) {
        self.exempt = exempt;
    }

    /// We have sent a packet that the peer will answer with these acknowledgements.
    pub(crate) fn expect_answers(&mut self, answers: u32) {
        self.credit = (self.credit + answers).min(MAX_CREDIT);
    }

    /// Whether an acknowledgement answers a packet of ours.
    pub(crate) fn take_answer(&mut self) -> bool {
        let answers = self.credit > 0;
        self.credit = self.credit.saturating_sub(1);
        answers
    }

    /// Counts one packet against the peer and its address.
    pub(crate) fn packet(&mut self, now: Instant, len: usize, at: &mut Gate<'_>) -> Result<(), OverRate> {
        let len = len as u64;
        let (packet, bytes) = self.own.take(now, &at.rates.peer, len);
        self.too_much(now, Meter::PeerPackets, u64::from(packet) * BYTES_PER_EXCESS, at)?;
        self.too_much(now, Meter::PeerBytes, bytes, at)?;
        let (packet, bytes) = at.addresses.take(now, &at.rates.ip, at.ip, len);
        self.too_much(now, Meter::IpPackets, u64::from(packet) * BYTES_PER_EXCESS, at)?;
        self.too_much(now, Meter::IpBytes, bytes, at)
    }

    /// Counts one envelope of this topic.
    pub(crate) fn envelope(
        &mut self,
        now: Instant,
        topic: Topic,
        rates: &Rates,
        counters: &Counters,
    ) -> Result<(), OverRate> {
        if rates.topic == 0 || self.topics.of(now, topic).take_one(now, rates.topic) {
            return Ok(());
        }
        counters.excess.count(Meter::TopicEnvelopes);
        self.exceed(now, Meter::TopicEnvelopes, ONE, rates)
    }

    fn too_much(&mut self, now: Instant, meter: Meter, bytes: u64, at: &Gate<'_>) -> Result<(), OverRate> {
        if bytes == 0 {
            return Ok(());
        }
        at.counters.excess.count(meter);
        let nanos = u128::from(bytes) * NANOS / u128::from(BYTES_PER_EXCESS);
        self.exceed(now, meter, Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), at.rates)
    }

    fn exceed(&mut self, now: Instant, meter: Meter, more: Duration, rates: &Rates) -> Result<(), OverRate> {
        let over = self.excess.add(now, more, rates.tolerance);
        if over && !self.exempt { Err(OverRate(meter)) } else { Ok(()) }
    }
}

/// What every packet is measured by beside the peer's own buckets.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) rates: &'a Rates,
    pub(crate) addresses: &'a mut Addresses,
    pub(crate) ip: IpAddr,
    pub(crate) counters: &'a Counters,
}

/// The buckets of a peer's latest topics, in two generations: when the recent one is full, it becomes the older one, and
/// that is forgotten.
#[derive(Debug, Default)]
struct TopicBuckets {
    recent: HashMap<Topic, Bucket>,
    older: HashMap<Topic, Bucket>,
}

impl TopicBuckets {
    fn of(&mut self, now: Instant, topic: Topic) -> &mut Bucket {
        if self.recent.len() >= TOPICS_PER_PEER && !self.recent.contains_key(&topic) {
            self.older = mem::take(&mut self.recent);
        }
        let older = &mut self.older;
        self.recent.entry(topic).or_insert_with(|| older.remove(&topic).unwrap_or_else(|| Bucket::full(now)))
    }
}

/// The buckets of addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pairs: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    pair: Pair,
    /// Running peers there.
    peers: usize,
}

impl Addresses {
    /// A peer at this address has begun to run.
    pub(crate) fn enter(&mut self, now: Instant, ip: IpAddr) {
        self.pairs.entry(ip).or_insert_with(|| Address { pair: Pair::full(now), peers: 0 }).peers += 1;
    }

    /// A peer is gone. Its address is remembered until its buckets are full again, as far as there is room.
    pub(crate) fn leave(&mut self, ip: IpAddr) {
        let crowded = self.pairs.len() >= MAX_ADDRESSES;
        if let Some(address) = self.pairs.get_mut(&ip) {
            address.peers = address.peers.saturating_sub(1);
            if address.peers == 0 && crowded {
                self.pairs.remove(&ip);
            }
        }
    }

    /// Forgets addresses where nobody is and whose buckets are full.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.pairs
            .retain(|_, Address { pair, peers }| *peers > 0 || !pair.packets.is_full(now) || !pair.bytes.is_full(now));
    }

    fn take(&mut self, now: Instant, flow: &Flow, ip: IpAddr, len: u64) -> (bool, u64) {
        self.pairs.get_mut(&ip).map_or((false, 0), |address| address.pair.take(now, flow, len))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn start() -> Instant {
        devp2p::clock::now().instant
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Sends packets until one is too much, and says how many there were.
    fn packets_until_over(intake: &mut Intake, now: Instant, len: usize, rates: Rates) -> (usize, Meter) {
        let (mut addresses, counters) = (Addresses::default(), Counters::default());
        addresses.enter(now, IP);
        for sent in 1..100_000 {
            let mut at = Gate { rates: &rates, addresses: &mut addresses, ip: IP, counters: &counters };
            if let Err(OverRate(meter)) = intake.packet(now, len, &mut at) {
                return (sent, meter);
            }
        }
        panic!("never too much");
    }

    #[test]
    fn defaults_and_what_is_announced() {
        let RateLimits { ip, peer, topic } = Rates::default().announced();
        assert_eq!([ip, peer, topic], [200, 100, 200]);
        assert_eq!(Rates::NONE.announced(), RateLimits::default());
    }

    #[test]
    fn limits_as_operators_write_them() {
        let limits = ["peer:7/s", "peer:2MiB/s", "ip:9/s", "ip:512KiB/s", "topic:0/s"];
        let read: Vec<RateLimit> = limits.iter().map(|text| text.parse().unwrap()).collect();
        let rates = Rates::with(read);
        assert_eq!(
            (rates.peer, rates.ip, rates.topic, rates.tolerance),
            (Flow { packets: 7, bytes: 2 << 20 }, Flow { packets: 9, bytes: 512 << 10 }, 0, 100)
        );
        assert_eq!(Rates::with([RateLimit::None]).announced(), RateLimits::default());
        assert_eq!("peer:10B/s".parse(), Ok(RateLimit::PeerBytes(10)));
        assert_eq!("ip:1GiB/s".parse(), Ok(RateLimit::IpBytes(1 << 30)));
        for bad in
            ["", "none ", "peer", "peer:", "peer:/s", "peer:-1/s", "peer:1", "topic:1MiB/s", "node:1/s", "peer:1TB/s"]
        {
            assert_eq!(bad.parse::<RateLimit>(), Err(RateLimitError(bad.into())));
        }
    }

    #[test]
    fn a_full_bucket_holds_five_seconds_and_fills_at_its_rate() {
        let start = start();
        let mut bucket = Bucket::full(start);
        assert_eq!((0..60).filter(|_| bucket.take_one(start, 10)).count(), 50);
        assert_eq!((0..60).filter(|_| bucket.take_one(after(start, 299), 10)).count(), 2);
        assert_eq!((0..600).filter(|_| bucket.take_one(after(start, 60_000), 10)).count(), 50);
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.take(start, 1_000, 4_000), 0);
        assert_eq!(bucket.take(start, 1_000, 4_000), 3_000);
        assert_eq!(bucket.take(after(start, 500), 1_000, 501), 1);
        assert_eq!(bucket.take(after(start, 500), 0, u64::MAX), 0);
    }

    #[test]
    fn excess_decays_by_one_a_second() {
        let start = start();
        let mut excess = Excess { gone_at: start };
        assert!((0..99).all(|_| !excess.add(start, ONE, 100)));
        assert!(!excess.add(after(start, 1_000), ONE, 100));
        assert!(excess.add(after(start, 1_000), ONE, 100));
        assert!(!excess.add(after(start, 1_000), ONE, 0));
        let mut excess = Excess { gone_at: start };
        assert!((0..1_000).all(|second| !excess.add(after(start, second * 1_000), ONE, 2)));
    }

    #[test]
    fn each_meter_has_its_limit_and_says_so() {
        let start = start();
        let flow = |packets, bytes| Flow { packets, bytes };
        let rates = |peer, ip| Rates { peer, ip, topic: 0, tolerance: 100 };
        let intake = || Intake::new(start, false);
        let none = flow(0, 0);
        assert_eq!(packets_until_over(&mut intake(), start, 1, rates(flow(10, 0), none)), (150, Meter::PeerPackets));
        assert_eq!(packets_until_over(&mut intake(), start, 1, rates(none, flow(20, 0))), (200, Meter::IpPackets));
        // 5 s of 64 KiB and then 100 of 64 KiB.
        let len = 64 << 10;
        assert_eq!(
            packets_until_over(&mut intake(), start, len, rates(flow(0, len as u64), none)),
            (105, Meter::PeerBytes)
        );
        assert_eq!(
            packets_until_over(&mut intake(), start, len, rates(none, flow(0, len as u64))),
            (105, Meter::IpBytes)
        );
    }

    #[test]
    fn an_exempt_peer_is_counted_and_never_left() {
        let start = start();
        let (mut addresses, counters, rates) = (Addresses::default(), Counters::default(), Rates::default());
        addresses.enter(start, IP);
        let mut intake = Intake::new(start, true);
        for _ in 0..2_000 {
            let mut at = Gate { rates: &rates, addresses: &mut addresses, ip: IP, counters: &counters };
            assert_eq!(intake.packet(start, 1, &mut at), Ok(()));
        }
        assert_eq!(counters.excess.of(Meter::PeerPackets), 1_500);
    }

    #[test]
    fn an_address_is_one_for_all_its_peers_and_outlives_them_for_a_while() {
        let start = start();
        let mut addresses = Addresses::default();
        let flow = Flow { packets: 10, bytes: 0 };
        let taken = |addresses: &mut Addresses, now| (0..100).filter(|_| !addresses.take(now, &flow, IP, 1).0).count();
        addresses.enter(start, IP);
        addresses.enter(start, IP);
        assert_eq!(taken(&mut addresses, start), 50);
        addresses.leave(IP);
        addresses.leave(IP);
        addresses.sweep(start);
        addresses.enter(start, IP);
        assert_eq!(taken(&mut addresses, start), 0);
        addresses.leave(IP);
        addresses.sweep(after(start, 5_000));
        assert!(addresses.pairs.is_empty());
    }

    #[test]
    fn addresses_are_bounded() {
        let start = start();
        let mut addresses = Addresses::default();
        let flow = Flow { packets: 10, bytes: 0 };
        for n in 0..MAX_ADDRESSES as u32 + 100 {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(n));
            addresses.enter(start, ip);
            addresses.take(start, &flow, ip, 1);
            addresses.leave(ip);
        }
        assert!(addresses.pairs.len() <= MAX_ADDRESSES);
    }

    #[test]
    fn the_latest_topics_are_kept_and_older_ones_forgotten() {
        let start = start();
        let mut topics = TopicBuckets::default();
        let topic = |n: u32| Topic(n.to_be_bytes());
        let mut drain = |n: u32| (0..10).all(|_| topics.of(start, topic(n)).take_one(start, 2));
        assert!((0..TOPICS_PER_PEER as u32).all(&mut drain));
        let mut full = |n: u32| topics.of(start, topic(n)).take_one(start, 2);
        assert!((0..TOPICS_PER_PEER as u32).all(|n| !full(n)));
        assert!((0..2 * TOPICS_PER_PEER as u32).skip(TOPICS_PER_PEER).all(&mut full));
        assert!((4_000..4_000 + TOPICS_PER_PEER as u32).all(&mut full));
        assert!(full(0));
        assert!(topics.recent.len() + topics.older.len() <= 2 * TOPICS_PER_PEER);
    }

    proptest! {
        /// Over any stretch of time, no more tokens leave a bucket than it held and got.
        #[test]
        fn no_more_than_rate_and_burst(rate in 1..50u32, steps in proptest::collection::vec((0..400u64, 1..40usize), 1..60)) {
            let start = start();
            let mut bucket = Bucket::full(start);
            let (mut now, mut taken) = (0, Vec::new());
            for (wait, tries) in steps {
                now += wait;
                for _ in 0..tries {
                    if bucket.take_one(after(start, now), rate) {
                        taken.push(now);
                    }
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (j, to) in taken.iter().enumerate().skip(i) {
                    let most = (to - from) * u64::from(rate) / 1_000 + 5 * u64::from(rate) + 1;
                    prop_assert!((j - i + 1) as u64 <= most);
                }
            }
        }

        #[test]
        fn bytes_are_never_more_than_wanted_or_held(rate in 1..u64::MAX, wanted: u64, millis in 0..10_000u64) {
            let start = start();
            let mut bucket = Bucket::full(start);
            let missing = bucket.take(start, rate, wanted);
            prop_assert!(missing <= wanted);
            let more = bucket.take(after(start, millis), rate, wanted);
            prop_assert!(more <= wanted);
            prop_assert!(bucket.full_at <= after(start, millis) + BURST);
        }
    }
}
