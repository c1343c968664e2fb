//! Load of our own on a bridge: a waku/0 peer and a relay peer of the Waku Network in this process, the bridge in another.
//!
//! Foreign peers set their own pace: status-go sends every 300 ms, and go-waku's queues lose what is over 32. These two send as fast as
//! the bridge takes it, or at a rate, and judge that each envelope and each message arrives once. The bridge limits no peer
//! (`--waku-v0-rate-limit=none`), as an operator would set it for peers of his own; all else is at its default.

mod gossip;
mod item;
mod peers;

use super::{Effort, Figure, median};
use crate::causeway::Causeway;
use crate::cpu;
use crate::deadline::now;
use crate::scenarios::Lab;
use anyhow::{Context, Result, ensure};
use item::Arrival;
use peers::Peers;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::{sleep_until, timeout};

/// Most envelopes in one packet, as status-go collects them; messages go out one by one, as gossip has it.
const PACKET: u64 = 100;
/// On their way at once, at most. Below what the bridge may have waiting for its mining pool (`bridge::config::DEFAULT_MAX_SEAL_JOBS`)
/// and for a peer (`waku2::relay`), so that nothing is shed for want of room.
const WINDOW: u64 = 1_000;
/// How often a paced run sends.
const PACE: Duration = Duration::from_millis(5);
/// No arrival for so long: what is missing is lost.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a steady load lasts before its lag is measured, in seconds: beyond the 15 s that an envelope lives, so that as many
/// expire as come.
const STEADY_SECS: u64 = 20;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    V0ToV2,
    V2ToV0,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::V0ToV2 => "v0 to v2",
            Self::V2ToV0 => "v2 to v0",
        }
    }

    /// Crossings a second at which the lag is measured: half of what a processor is to carry.
    const fn paced_rate(self) -> u64 {
        match self {
            Self::V0ToV2 => 10_000,
            Self::V2ToV0 => 5_000,
        }
    }
}

/// What a crossing costs the bridge either way, and how long it takes at a steady load.
pub(super) fn crossings(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    // More than 131,072 envelopes live at once when 25,000 come a second and each lives for 15.
    let flags = [
        "--log-level=warn",
        "--waku-v0-rate-limit=none",
        "--waku-v0-pool-envelopes=1000000",
        "--waku-v0-pool-size=1GiB",
    ];
    let bridge = lab.bridge("load", &flags)?;
    let runtime = Runtime::new().context("no threads for the peers")?;
    let peers = runtime.block_on(Peers::connect(bridge.enode(), bridge.multiaddr()))?;
    bridge.await_ready()?;
    bridge.await_mesh(1)?;
    let mut load = Load { peers, sent: 0 };
    let mut figures = Vec::new();
    for way in [Way::V0ToV2, Way::V2ToV0] {
        let measured = runtime.block_on(load.measure(&bridge, way, effort));
        figures.extend(measured.map_err(|error| bridge.explain(error))?);
    }
    runtime.block_on(load.peers.close());
    bridge.stop()?;
    Ok(figures)
}

struct Load {
    peers: Peers,
    /// Items sent so far, which number them.
    sent: u64,
}

/// One run, by the sender's and receiver's clock, which is the same.
struct Run {
    wall: Duration,
    /// Of the bridge.
    cpu_seconds: f64,
    /// From sent to arrived, the shortest first.
    lags: Vec<Duration>,
}

impl Load {
    async fn measure(&mut self, bridge: &Causeway, way: Way, effort: &Effort) -> Result<Vec<Figure>> {
        let pid = bridge.process().pid();
        // The lag first: what a run at full speed leaves behind expires second by second, and would weigh on it.
        self.paced(pid, way, STEADY_SECS * way.paced_rate()).await?;
        let (mut middle, mut worst, mut share) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.runs {
            let run = self.paced(pid, way, effort.own_crossings).await?;
            middle.push(run.lag_ms(0.5));
            worst.push(run.lag_ms(0.99));
            share.push(100.0 * run.cpu_seconds / run.wall.as_secs_f64());
        }
        let (mut per_cpu_second, mut per_second) = (Vec::new(), Vec::new());
        for _ in 0..effort.runs {
            let run = self.as_fast_as_it_goes(pid, way, effort.own_crossings).await?;
            per_cpu_second.push(run.lags.len() as f64 / run.cpu_seconds);
            per_second.push(run.lags.len() as f64 / run.wall.as_secs_f64());
        }
        let figure = |name: String, values: Vec<f64>, unit| {
            let (name, ours) = (format!("{}, own peers{name}", way.name()), median(values));
            Figure { name, ours, peer: None, unit, runs: effort.runs }
        };
        let at = format!(", at {} a second", way.paced_rate());
        Ok(vec![
            figure(String::new(), per_cpu_second, "crossings per CPU-second"),
            figure(String::new(), per_second, "crossings per second"),
            figure(at.clone(), middle, "ms from sent to arrived, median"),
            figure(at.clone(), worst, "ms from sent to arrived, 99 of 100"),
            figure(at, share, "% of a processor"),
        ])
    }

    /// Sends what arrives makes room for.
    async fn as_fast_as_it_goes(&mut self, pid: u32, way: Way, count: u64) -> Result<Run> {
        let (start, before) = (now(), cpu::seconds(pid)?);
        let mut log = Log::new(self.sent, count);
        while log.arrived() < count {
            while log.sent() < count && log.under_way() + PACKET <= WINDOW {
                let portion = PACKET.min(count - log.sent());
                self.send(way, portion, &mut log, None).await?;
            }
            for arrival in self.arrivals(way, &log).await? {
                log.arrive(arrival)?;
            }
        }
        log.run(start.elapsed(), cpu::seconds(pid)? - before)
    }

    /// Sends at a rate. What can't go out in its time, since too much is under way, counts from when it was due.
    async fn paced(&mut self, pid: u32, way: Way, count: u64) -> Result<Run> {
        let (start, before) = (now(), cpu::seconds(pid)?);
        let mut log = Log::new(self.sent, count);
        let portion = way.paced_rate() * u64::try_from(PACE.as_millis())? / 1_000;
        let mut due = start;
        while log.arrived() < count {
            let left = portion.min(count - log.sent());
            tokio::select! {
                biased;
                () = sleep_until(due.into()), if left > 0 && log.under_way() + left <= WINDOW => {
                    self.send(way, left, &mut log, Some(due)).await?;
                    due += PACE;
                }
                arrivals = self.arrivals(way, &log) => {
                    for arrival in arrivals? {
                        log.arrive(arrival)?;
                    }
                }
            }
        }
        log.run(start.elapsed(), cpu::seconds(pid)? - before)
    }

    /// Sends the next ones; they count from when they were `due`, or from now.
    async fn send(&mut self, way: Way, count: u64, log: &mut Log, due: Option<Instant>) -> Result<()> {
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        self.peers.send(way, numbers, |sent| log.send(sent, due.unwrap_or_else(now))).await
    }

    async fn arrivals(&mut self, way: Way, log: &Log) -> Result<Vec<Arrival>> {
        let next = timeout(SILENCE, self.peers.arrivals(way)).await;
        next.with_context(|| format!("{}: {}", way.name(), log.missing()))?
    }
}

/// What was sent in a run, and what has arrived of it.
struct Log {
    /// The number of its first item.
    first: u64,
    count: u64,
    /// When each was sent; `None` once it has arrived.
    sent: VecDeque<Option<Instant>>,
    lags: Vec<Duration>,
}

impl Log {
    fn new(first: u64, count: u64) -> Self {
        Self { first, count, sent: VecDeque::new(), lags: Vec::new() }
    }

    fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    fn arrived(&self) -> u64 {
        self.lags.len() as u64
    }

    fn under_way(&self) -> u64 {
        self.sent() - self.arrived()
    }

    /// These numbers, which follow on the last ones, go out.
    fn send(&mut self, numbers: Range<u64>, at: Instant) {
        self.sent.extend(numbers.map(|_| Some(at)));
    }

    fn arrive(&mut self, Arrival { number, at }: Arrival) -> Result<()> {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let slot = place.and_then(|place| self.sent.get_mut(place));
        let sent = slot.with_context(|| format!("number {number} arrived, which this run has not sent"))?.take();
        let sent = sent.with_context(|| format!("number {number} arrived twice"))?;
        self.lags.push(at.saturating_duration_since(sent));
        Ok(())
    }

    fn missing(&self) -> String {
        format!("of {} sent {} did not arrive", self.sent(), self.under_way())
    }

    fn run(self, wall: Duration, cpu_seconds: f64) -> Result<Run> {
        ensure!(self.arrived() == self.count, "{}", self.missing());
        let mut lags = self.lags;
        lags.sort_unstable();
        Ok(Run { wall, cpu_seconds, lags })
    }
}

impl Run {
    /// The lag that this share of all is not above.
    fn lag_ms(&self, share: f64) -> f64 {
        let place = (self.lags.len() as f64 * share) as usize;
        self.lags.get(place.min(self.lags.len().saturating_sub(1))).map_or(f64::NAN, |lag| lag.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_counts_once_and_for_its_run_alone() {
        let mut log = Log::new(10, 2);
        log.send(10..12, now());
        let arrival = |number| Arrival { number, at: now() };
        assert!(log.arrive(arrival(11)).is_ok());
        assert_eq!((log.sent(), log.arrived(), log.under_way()), (2, 1, 1));
        for stranger in [11, 9, 12] {
            assert!(log.arrive(arrival(stranger)).is_err(), "{stranger}");
        }
        assert!(log.arrive(arrival(10)).is_ok());
        assert_eq!(log.run(Duration::from_secs(1), 0.5).unwrap().lags.len(), 2);
    }

    #[test]
    fn what_did_not_arrive_is_no_run() {
        let mut log = Log::new(0, 2);
        log.send(0..2, now());
        let word = log.run(Duration::from_secs(1), 0.5).map(|run| run.wall).unwrap_err().to_string();
        assert!(word.contains("2 did not arrive"), "{word}");
    }

    #[test]
    fn a_percentile_is_one_of_the_lags() {
        let lags = (1..=100).map(Duration::from_millis).collect();
        let run = Run { wall: Duration::ZERO, cpu_seconds: 0.0, lags };
        assert_eq!([0.5, 0.99, 1.0].map(|share| run.lag_ms(share)), [51.0, 100.0, 100.0]);
    }
}
