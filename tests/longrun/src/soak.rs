//! A bridge under a steady load, each way, and what it takes meanwhile.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bridge::content_topic;
use bytes::Bytes;
use devp2p::{Limits, Network, NodeKey, clock::now};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use waku0::{Pow, Settings, Topic, Unsealed, limits::Rates};
use waku2::{Meta, PubsubTopic, WakuMessage};

use crate::{
    bridge_process::BridgeProcess,
    sampling::{Sample, growth_kib_a_minute, second_half},
};

/// 99 of 100 must be across in this. Going to v0 takes mining, and waits for the whole second that an envelope names.
const MAX_P99_LAG: Duration = Duration::from_secs(2);

/// Most resident memory of a bridge with one peer on each side, beside what it remembers of what crossed.
const MAX_RSS_KIB: u64 = 128 << 10;

/// Most growth of resident memory in the second half, beside what it remembers: the allocator takes pages in steps.
const MAX_GROWTH_KIB_A_MINUTE: f64 = 512.0;

/// And beside what it keeps for seconds or minutes of each a second: the pool what lives for [`TTL`], gossip what came in its last two minutes.
const RECENT_KIB: u64 = 128;

/// What a bridge remembers of one crossing, for two hours. It says about 160; its table has doubled before it is full.
const REMEMBERED_BYTES: u64 = 240;

/// Crossings that it remembers, at most.
const MAX_REMEMBERED: u64 = bridge::seen::DEFAULT_MAX_ENTRIES as u64;

/// Most envelopes a second: beyond it a peer is made to wait by the usual limits, of 100 packets and of 200 envelopes of a topic.
const MOST_OF_A_PEER: u32 = 90;

/// Most descriptors: two peers, three listeners, the runtime's own and a few.
const MAX_DESCRIPTORS: usize = 64;

/// Between two looks at the process.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Until both clients are connected.
const CONNECTED: Duration = Duration::from_secs(30);

/// What is under way at the end has so long.
const LAST: Duration = Duration::from_secs(20);

/// What waits for this program: eight seconds at the highest rate.
const EVENTS: usize = 8_192;

/// Topics of what begins on v0, and on v2: what comes back is seen.
const FROM_V0: Topic = Topic(*b"\xa1v0\x00");
const FROM_V2: Topic = Topic(*b"\xb2v2\x00");

/// Time to live of envelopes, in seconds: as Status clients set it.
const TTL: u32 = 15;

/// Bytes of a payload: an ordinary chat message, sealed.
const PAYLOAD: usize = 300;

/// Sends both ways for so long, so many a second, through this program.
///
/// # Errors
/// When something is lost, doubled or returned, or a bound is passed.
pub(crate) fn run(given: Option<&Path>, time: Duration, rate: u32) -> Result<()> {
    let (flags, rates): (&[&str], _) =
        if rate > MOST_OF_A_PEER { (&["--waku-v0-rate-limit=none"], Rates::NONE) } else { (&[], Rates::default()) };
    let bridge = BridgeProcess::start(given, flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak(&bridge, rates, time, rate))?;
    bridge.stop()?;
    report.print(rate);
    report.judge(rate)
}

/// Both clients, and what they hear.
struct Clients {
    v0: waku0::Handle,
    v0_events: mpsc::Receiver<waku0::Event>,
    v2: waku2::Handle,
    v2_events: mpsc::Receiver<waku2::Event>,
    pubsub: PubsubTopic,
}

impl Clients {
    async fn connect(bridge: &BridgeProcess, rates: Rates) -> Result<Self> {
        let (events, v0_events) = mpsc::channel(EVENTS);
        let config = waku0::run::Config {
            key: NodeKey::from_bytes(&[0x51; 32])?,
            client_id: "longrun".to_owned(),
            listen: None,
            static_nodes: vec![bridge.enode.clone()],
            limits: Limits::default(),
            network: Network::default(),
            settings: Settings { rates, ..Settings::default() },
            accounts: None,
            mail: None,
        };
        let v0 = waku0::run::start(config, events).await?.0;
        let (events, v2_events) = mpsc::channel(EVENTS);
        let pubsub: PubsubTopic = "/waku/2/rs/0/0".parse()?;
        let mut config = waku2::Config::new([0x52; 32]);
        config.topics = vec![pubsub.clone()];
        config.static_peers = vec![bridge.address.clone()];
        let v2 = waku2::run::start(config, events).await?.0;
        let mut clients = Self { v0, v0_events, v2, v2_events, pubsub };
        timeout(CONNECTED, clients.connected()).await.context("no connection to the bridge")??;
        Ok(clients)
    }

    async fn connected(&mut self) -> Result<()> {
        let gone = "a client has stopped";
        while !matches!(self.v0_events.recv().await.context(gone)?, waku0::Event::PeerRunning { .. }) {}
        while !matches!(self.v2_events.recv().await.context(gone)?, waku2::Event::RelayPeers { count: 1.., .. }) {}
        Ok(())
    }

    async fn send(&self, number: u64) -> Result<()> {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(PAYLOAD, 7);
        let payload = Bytes::from(payload);
        let at = now();
        let expiry = u32::try_from(at.unix_secs())? + TTL;
        let unsealed = Unsealed::new(expiry, TTL, FROM_V0, payload.clone())?;
        let nonce = unsealed.search(0, 0, 1 << 26, unsealed.required_bits(Pow::new(0.002)?)).context("no nonce")?;
        self.v0.post(unsealed.seal(nonce)).await?;
        let message = WakuMessage {
            payload,
            content_topic: content_topic::canonical(FROM_V2),
            version: 1,
            timestamp: Some(at.unix_nanos()),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        self.v2.publish(self.pubsub.clone(), message.encode()).await?;
        Ok(())
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    sent: u64,
    under_way: HashMap<u64, Duration>,
    lags: Vec<Duration>,
    /// Came again, came back, or was never sent.
    unexpected: u64,
}

impl Lane {
    fn send(&mut self, number: u64, at: Duration) {
        self.sent += 1;
        self.under_way.insert(number, at);
    }

    fn arrive(&mut self, payload: &[u8], at: Duration) {
        let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        match number.and_then(|number| self.under_way.remove(&number)) {
            Some(sent) => self.lags.push(at.saturating_sub(sent)),
            None => self.unexpected += 1,
        }
    }

    fn lag(&self, percent: usize) -> Duration {
        let mut lags = self.lags.clone();
        lags.sort_unstable();
        let place = (lags.len() * percent / 100).min(lags.len().saturating_sub(1));
        lags.get(place).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Report {
    to_v2: Lane,
    to_v0: Lane,
    samples: Vec<Sample>,
}

async fn soak(bridge: &BridgeProcess, rates: Rates, time: Duration, rate: u32) -> Result<Report> {
    let mut clients = Clients::connect(bridge, rates).await?;
    let start = now().instant;
    let since = || now().instant - start;
    let mut report = Report::default();
    let mut pace = interval(Duration::from_secs(1) / rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut look = interval(SAMPLE_EVERY);
    let mut number = 0;
    while since() < time || !report.is_complete() && since() < time + LAST {
        tokio::select! {
            _ = pace.tick(), if since() < time => {
                report.to_v2.send(number, since());
                report.to_v0.send(number, since());
                clients.send(number).await?;
                number += 1;
            }
            _ = look.tick() => report.samples.push(Sample::of(bridge.pid(), since())?),
            event = clients.v0_events.recv() => match event.context("the v0 client has stopped")? {
                waku0::Event::Envelope { envelope, .. } if envelope.topic() == FROM_V2 => {
                    report.to_v0.arrive(envelope.data(), since());
                }
                waku0::Event::Envelope { .. } => report.to_v0.unexpected += 1,
                waku0::Event::PeerGone { .. } => bail!("the bridge has left the v0 client"),
                _ => {}
            },
            event = clients.v2_events.recv() => match event.context("the v2 client has stopped")? {
                waku2::Event::Message(received) if received.message.content_topic == content_topic::canonical(FROM_V0) => {
                    report.to_v2.arrive(&received.message.payload, since());
                }
                waku2::Event::Message(_) => report.to_v2.unexpected += 1,
                waku2::Event::PeerDisconnected { .. } => bail!("the bridge has left the v2 client"),
                waku2::Event::PeerConnected(_) | waku2::Event::RelayPeers { .. } => {}
            },
        }
    }
    clients.v0.shutdown().await;
    clients.v2.shutdown().await;
    Ok(report)
}

impl Report {
    fn lanes(&self) -> [(&'static str, &Lane); 2] {
        [("v0 to v2", &self.to_v2), ("v2 to v0", &self.to_v0)]
    }

    fn is_complete(&self) -> bool {
        self.lanes().iter().all(|(_, lane)| lane.under_way.is_empty())
    }

    fn print(&self, rate: u32) {
        for (name, lane) in self.lanes() {
            println!(
                "soak: {name}: {} at {rate}/s, {} lost, {} unexpected, lag p50 {:?} p99 {:?}",
                lane.sent,
                lane.under_way.len(),
                lane.unexpected,
                lane.lag(50),
                lane.lag(99)
            );
        }
        if let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) {
            let cpu = (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at).as_secs_f64().max(1.0);
            println!(
                "soak: {:.0} s, resident {} to {} KiB, {:+.0} KiB a minute, {} descriptors, {:.1} % of a processor",
                last.at.as_secs_f64(),
                first.rss_kib,
                last.rss_kib,
                growth_kib_a_minute(second_half(&self.samples)),
                last.descriptors,
                cpu * 100.0
            );
        }
    }

    fn judge(&self, rate: u32) -> Result<()> {
        for (name, lane) in self.lanes() {
            ensure!(lane.sent > 0, "soak: {name}: nothing was sent");
            ensure!(lane.under_way.is_empty(), "soak: {name}: {} lost", lane.under_way.len());
            ensure!(lane.unexpected == 0, "soak: {name}: {} came again or came back", lane.unexpected);
            ensure!(lane.lag(99) <= MAX_P99_LAG, "soak: {name}: p99 over {MAX_P99_LAG:?}");
        }
        let crossings = self.to_v2.sent + self.to_v0.sent;
        let rss = self.samples.iter().map(|sample| sample.rss_kib).max().unwrap_or_default();
        let most = MAX_RSS_KIB + RECENT_KIB * u64::from(rate) + remembered_kib(crossings);
        ensure!(rss <= most, "soak: {rss} KiB resident, more than {most}");
        let descriptors = self.samples.iter().map(|sample| sample.descriptors).max().unwrap_or_default();
        ensure!(descriptors <= MAX_DESCRIPTORS, "soak: {descriptors} descriptors, more than {MAX_DESCRIPTORS}");
        let growth = growth_kib_a_minute(second_half(&self.samples));
        let most = MAX_GROWTH_KIB_A_MINUTE + self.remembered_kib_a_minute(crossings);
        ensure!(growth <= most, "soak: memory grows by {growth:.0} KiB a minute, more than {most:.0}");
        Ok(())
    }

    /// What memory may grow by in the second half for what crossed: nothing once as much is remembered as ever is.
    fn remembered_kib_a_minute(&self, crossings: u64) -> f64 {
        let half = self.samples.last().map_or(0.0, |last| last.at.as_secs_f64() / 60.0 / 2.0);
        let more = remembered_kib(crossings) - remembered_kib(crossings / 2);
        if half > 0.0 { more as f64 / half } else { 0.0 }
    }
}

fn remembered_kib(crossings: u64) -> u64 {
    crossings.min(MAX_REMEMBERED) * REMEMBERED_BYTES / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        for lane in [&mut report.to_v2, &mut report.to_v0] {
            lane.send(1, Duration::ZERO);
            lane.arrive(&1_u64.to_be_bytes(), Duration::from_millis(5));
        }
        report
    }

    #[test]
    fn what_arrives_once_is_well() {
        assert!(report().is_complete());
        assert_eq!(report().to_v0.lag(99), Duration::from_millis(5));
        assert!(report().judge(10).is_ok());
    }

    #[test]
    fn loss_doubles_lag_and_growth_are_found() {
        let mut lost = report();
        lost.to_v2.send(2, Duration::ZERO);
        let mut doubled = report();
        doubled.to_v0.arrive(&1_u64.to_be_bytes(), Duration::ZERO);
        let mut slow = report();
        slow.to_v0.send(2, Duration::ZERO);
        slow.to_v0.arrive(&2_u64.to_be_bytes(), Duration::from_secs(9));
        let mut growing = report();
        growing.samples = (0..10)
            .map(|n| Sample { at: Duration::from_secs(60 * n), rss_kib: 2_000 * n, descriptors: 9, cpu_seconds: 0.0 })
            .collect();
        for (report, word) in [(lost, "lost"), (doubled, "again"), (slow, "p99"), (growing, "grows")] {
            assert!(report.judge(10).unwrap_err().to_string().contains(word), "{word}");
        }
    }

    #[test]
    fn memory_may_grow_by_what_crossed_until_as_much_is_remembered_as_ever_is() {
        let grown = |crossings: u64, bytes_each: u64| {
            let mut report = report();
            report.to_v2.sent = crossings;
            let minute = |n: u64| Sample {
                at: Duration::from_secs(60 * n),
                rss_kib: 60_000 + crossings * n / 30 * bytes_each / 1024,
                descriptors: 9,
                cpu_seconds: 0.0,
            };
            report.samples = (0..=30).map(minute).collect();
            report.judge(10)
        };
        assert!(grown(MAX_REMEMBERED, 250).is_ok());
        assert!(grown(MAX_REMEMBERED, 384).is_err());
        assert!(grown(MAX_REMEMBERED * 2, 64).is_err(), "grows in its second half, when the memory is full");
    }
}
