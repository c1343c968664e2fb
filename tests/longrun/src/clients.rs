//! Many clients over WebSocket at one bridge, and what it takes to hold them. They are js-libp2p relays, or light clients of js-waku that filter
//! pushes to, in one process of Node.js, every other by yamux and by mplex, on one shard with a trickle of messages;
//! `tests/interop/peers/js-waku/clients.mjs`.

use std::{
    io::{BufRead, BufReader},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use devp2p::clock::now;
use serde_json::Value;

use crate::{
    bridge_process::BridgeProcess,
    npm,
    sampling::{Sample, growth_kib_a_minute, second_half},
};

/// Most resident memory of the bridge.
const MAX_RSS_KIB: u64 = 512 << 10;

/// Most growth of resident memory, once [`SETTLED`].
const MAX_GROWTH_KIB_A_MINUTE: f64 = 1_024.0;

/// After this, memory is taken for settled: the caches of gossip keep a message for two minutes. Of a run shorter than twice this, the
/// second half counts.
const SETTLED: Duration = Duration::from_secs(600);

/// Descriptors beside one for each client: listeners, the runtime's own and a few.
const OWN_DESCRIPTORS: usize = 64;

/// Between two looks at the process.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// Between two lines of the report.
const TOLD_EVERY: Duration = Duration::from_secs(300);

/// For a hundred clients to connect: handshakes are slow in JavaScript.
const JOINED_PER_HUNDRED: Duration = Duration::from_secs(60);

/// The clients tell how they are each second.
const SILENCE: Duration = Duration::from_secs(30);

/// Lines of the clients that wait for us; beyond them, the clients wait.
const LINES: usize = 64;

/// Of all connections, two fifths are for peers that have called us and relay.
const ROOM: u32 = 3;

/// Messages that may still be on their way to subscribers when a run ends: those of half a minute.
const UNDER_WAY: u64 = 3;

/// What the clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// They relay.
    #[default]
    Relays,
    /// They relay nothing, and are pushed to by 12/WAKU2-FILTER.
    Subscribers,
}

/// Holds so many clients for so long; `given` is judged in place of what is built.
///
/// # Errors
/// When a client is left or hears nothing, or a bound is passed.
pub(crate) fn run(given: Option<&Path>, kind: Kind, count: u32, time: Duration) -> Result<()> {
    let room = format!("--max-connections={}", count * ROOM);
    let bridge = BridgeProcess::start(given, &[&room, "--filter"])?;
    let clients = Clients::start(&bridge, kind, count)?;
    let report = Report { kind, ..hold(&bridge, &clients, count, time)? };
    drop(clients);
    bridge.stop()?;
    report.print();
    report.judge()
}

/// The process of the clients; killed when dropped.
struct Clients {
    child: Child,
    lines: Receiver<String>,
}

impl Clients {
    fn start(bridge: &BridgeProcess, kind: Kind, count: u32) -> Result<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../interop/peers/js-waku");
        npm::fetch(&folder)?;
        let mut child = Command::new("node")
            .arg(folder.join("clients.mjs"))
            .args(["--node", &bridge.websocket.to_string(), "--count", &count.to_string()])
            .args((kind == Kind::Subscribers).then_some("--filter"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node: cannot start it")?;
        let output = BufReader::new(child.stdout.take().context("the output is a pipe")?);
        let (sender, lines) = sync_channel(LINES);
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, lines })
    }

    /// What they tell next.
    fn next(&self, limit: Duration) -> Result<State> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => State::read(&serde_json::from_str(&line)?),
            Err(RecvTimeoutError::Timeout) => bail!("the clients said nothing for {limit:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the clients have ended"),
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the clients are.
#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// Clients with a connection now.
    connected: u64,
    /// Connections that have ended.
    left: u64,
    published: u64,
    /// All arrivals together.
    arrived: u64,
}

impl State {
    fn read(event: &Value) -> Result<Self> {
        let number = |field: &str| event[field].as_u64().with_context(|| format!("no {field} in {event}"));
        Ok(Self {
            connected: number("connected")?,
            left: number("left")?,
            published: number("published")?,
            arrived: number("arrived")?,
        })
    }
}

#[derive(Debug, Default)]
struct Report {
    kind: Kind,
    count: u32,
    samples: Vec<Sample>,
    last: State,
}

fn hold(bridge: &BridgeProcess, clients: &Clients, count: u32, time: Duration) -> Result<Report> {
    let mut last = clients.next(JOINED_PER_HUNDRED * count.div_ceil(100))?;
    let start = now().instant;
    let since = || now().instant - start;
    let (mut samples, mut told) = (Vec::new(), Duration::ZERO);
    while since() < time {
        if since() >= SAMPLE_EVERY * u32::try_from(samples.len())? {
            samples.push(Sample::of(bridge.pid(), since())?);
        }
        if let (true, Some(sample)) = (since() >= told, samples.last()) {
            println!("clients: {} min: {} connected, {} KiB", told.as_secs() / 60, last.connected, sample.rss_kib);
            told += TOLD_EVERY;
        }
        last = clients.next(SILENCE)?;
        ensure!(
            last.connected == u64::from(count),
            "after {:?} only {} clients are connected",
            since(),
            last.connected
        );
    }
    Ok(Report { count, samples, last, ..Report::default() })
}

impl Report {
    /// The samples of settled memory.
    fn settled(&self) -> &[Sample] {
        let from = self.samples.partition_point(|sample| sample.at < SETTLED);
        match &self.samples[from..] {
            settled if settled.len() * 2 >= self.samples.len() => settled,
            _ => second_half(&self.samples),
        }
    }

    fn peak_kib(&self) -> u64 {
        self.samples.iter().map(|sample| sample.rss_kib).max().unwrap_or_default()
    }

    fn descriptors(&self) -> usize {
        self.samples.iter().map(|sample| sample.descriptors).max().unwrap_or_default()
    }

    fn print(&self) {
        let (Some(first), Some(last), Some(settled)) =
            (self.samples.first(), self.samples.last(), self.settled().first())
        else {
            return;
        };
        let cpu = (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at).as_secs_f64().max(1.0);
        println!(
            "clients: {} for {:.0} s: resident {} to {} KiB, {} at most, {:+.0} KiB a minute after {:.0} s, {} descriptors, {:.1} % of a processor",
            self.count,
            last.at.as_secs_f64(),
            first.rss_kib,
            last.rss_kib,
            self.peak_kib(),
            growth_kib_a_minute(self.settled()),
            settled.at.as_secs_f64(),
            self.descriptors(),
            cpu * 100.0
        );
        println!(
            "clients: {} messages published, {} arrivals, {} connections ended",
            self.last.published, self.last.arrived, self.last.left
        );
    }

    /// Arrivals that there should be. Relays have much of it from each other; a subscriber gets each message, once.
    fn owed(&self) -> RangeInclusive<u64> {
        let (published, count) = (self.last.published.max(1), u64::from(self.count));
        match self.kind {
            Kind::Relays => published..=u64::MAX,
            Kind::Subscribers => published.saturating_sub(UNDER_WAY).max(1) * count..=published * count,
        }
    }

    fn judge(&self) -> Result<()> {
        let State { left, published, arrived, .. } = self.last;
        ensure!(left == 0, "clients: {left} connections ended");
        let owed = self.owed();
        ensure!(owed.contains(&arrived), "clients: {published} messages published, {arrived} arrivals, owed {owed:?}");
        ensure!(self.peak_kib() <= MAX_RSS_KIB, "clients: {} KiB resident, more than {MAX_RSS_KIB}", self.peak_kib());
        let most = self.count as usize + OWN_DESCRIPTORS;
        ensure!(self.descriptors() <= most, "clients: {} descriptors, more than {most}", self.descriptors());
        let growth = growth_kib_a_minute(self.settled());
        ensure!(growth <= MAX_GROWTH_KIB_A_MINUTE, "clients: memory grows by {growth:.0} KiB a minute");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(minutes: u64, rss_kib: impl Fn(u64) -> u64) -> Report {
        let sample = |minute| Sample {
            at: Duration::from_secs(60 * minute),
            rss_kib: rss_kib(minute),
            descriptors: 310,
            cpu_seconds: 0.0,
        };
        let last = State { connected: 300, left: 0, published: 10, arrived: 60 };
        Report { kind: Kind::Relays, count: 300, samples: (0..minutes).map(sample).collect(), last }
    }

    #[test]
    fn memory_may_grow_for_ten_minutes_and_no_longer() {
        let filled = |minute: u64| 20_000 + minute.min(10) * 9_000;
        assert!(report(30, filled).judge().is_ok());
        let word = report(30, |minute| 20_000 + minute * 1_100).judge().unwrap_err().to_string();
        assert!(word.contains("grows"), "{word}");
        assert_eq!(report(30, filled).settled().len(), 20);
        assert_eq!(report(4, filled).settled().len(), 2);
    }

    #[test]
    fn clients_lost_silent_or_dear_are_found() {
        let well = || report(30, |_| 60_000);
        let mut lost = well();
        lost.last.left = 1;
        let mut silent = well();
        silent.last.arrived = 9;
        let mut leaking = well();
        leaking.count = 200;
        let dear = report(30, |_| 600_000);
        for (report, word) in [(lost, "ended"), (silent, "arrivals"), (leaking, "descriptors"), (dear, "resident")] {
            assert!(report.judge().unwrap_err().to_string().contains(word), "{word}");
        }
    }

    #[test]
    fn subscribers_get_each_message_once() {
        for (arrived, is_right) in [(100 * 300, true), (97 * 300, true), (97 * 300 - 1, false), (100 * 300 + 1, false)]
        {
            let last = State { connected: 300, left: 0, published: 100, arrived };
            let report = Report { kind: Kind::Subscribers, last, ..report(30, |_| 60_000) };
            assert_eq!(report.judge().is_ok(), is_right, "{arrived}");
        }
        let silent = Report { kind: Kind::Subscribers, last: State::default(), ..report(30, |_| 60_000) };
        assert!(silent.judge().is_err());
    }

    #[test]
    fn a_line_of_the_clients_is_read() {
        let line = r#"{"event":"state","t":1,"connected":3,"left":0,"published":2,"arrived":5,"meshed":3}"#;
        let state = State::read(&serde_json::from_str(line).unwrap()).unwrap();
        assert_eq!((state.connected, state.published, state.arrived), (3, 2, 5));
        assert!(State::read(&serde_json::from_str(r#"{"event":"error","error":"x"}"#).unwrap()).is_err());
    }
}
