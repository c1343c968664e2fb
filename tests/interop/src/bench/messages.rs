//! The bridge as a relay of v2 messages, beside go-waku. The messages are on no bridged content topic: nothing crosses.

use super::{Effort, Figure, Growth, driver, growth_row};
use crate::causeway::Causeway;
use crate::process::{Event, number, text};
use crate::scenarios::Lab;
use crate::table::Table;
use crate::waku_peer::WakuPeer;
use anyhow::{Context, Result, ensure};

/// The nodes, by the names that the driver gives them.
const OURS: &str = "causeway";
const PEER: &str = "go-waku";
/// go-waku keeps up with this many under way without loss.
const PEER_WINDOW: u32 = 32;
/// What the bridge is measured with alone: go-waku's gossipsub drops messages above 33 under way.
const OUR_WINDOWS: [u32; 2] = [128, 1024];
/// Single messages, each a while after the one before has come.
const SINGLE: [&str; 4] = ["-window", "1", "-pause", "10ms"];
/// Beside these, 3 MB a second in messages of 150 KiB, to the same receiver.
const BESIDE: [&str; 2] = ["-large-every", "50ms"];
/// Of the large ones, so many may be under way at the end.
const UNDER_WAY: u64 = 4;
/// Room for the receivers and those who feed them, of which two fifths may call and relay.
const ROOM: &str = "--max-connections=200";

/// A feeder, a node, a drain; in turns for both nodes.
pub(super) fn relay(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let nodes = Nodes::start(lab)?;
    let (both, alone) = (nodes.targets(), vec![nodes.ours()]);
    let lines = run(lab, &both, effort.runs, effort.messages, &["-window", &PEER_WINDOW.to_string()])?;
    let mut figures: Vec<Figure> =
        [("msg_per_node_cpu_s", "messages per CPU-second"), ("median_msg_s", "messages per second")]
            .into_iter()
            .map(|(key, unit)| beside(&lines, name(PEER_WINDOW), key, unit, effort))
            .collect::<Result<_>>()?;
    for window in OUR_WINDOWS {
        let lines = run(lab, &alone, effort.runs, effort.messages, &["-window", &window.to_string()])?;
        figures.push(Figure {
            name: name(window),
            ours: figure(&lines, OURS, "msg_per_node_cpu_s")?,
            peer: None,
            unit: "messages per CPU-second",
            runs: effort.runs,
        });
    }
    nodes.bridge.stop()?;
    Ok(figures)
}

/// Single messages through an idle node, and through one that relays large messages beside them.
pub(super) fn hop(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let nodes = Nodes::start(lab)?;
    let mut figures = Vec::new();
    for (what, flags) in [("idle", &[][..]), ("150 KiB beside it", &BESIDE)] {
        let lines = run(lab, &nodes.targets(), effort.runs, effort.singles, &[&SINGLE, flags].concat())?;
        for (key, share) in [("p50_ms", "median"), ("p99_ms", "99 of 100")] {
            let name = format!("hop of a message, {what}, {share}");
            figures.push(beside(&lines, name, key, "ms, less is better", effort)?);
        }
        for line in lines.iter().filter(|line| line.get("large_sent").is_some()) {
            let (sent, arrived) = (number(line, "large_sent"), number(line, "large_arrived"));
            ensure!(arrived.map(|arrived| arrived + UNDER_WAY) >= sent, "large messages are lost: {line}");
        }
    }
    nodes.bridge.stop()?;
    Ok(figures)
}

// With more receivers than a mesh takes, the others ask for what gossip tells them of: two runs must stay below 4,500 ids, the most that fit
// a frame of 150 KiB, or we close their streams.
const GROWTH: [Growth; 2] = [
    Growth { what: "receivers of messages", flag: "-receivers", steps: &[(1, 20_000), (10, 2_000), (50, 2_000)] },
    Growth {
        what: "bytes of payload",
        flag: "-size",
        steps: &[(100, 20_000), (1_024, 20_000), (10_240, 5_000), (102_400, 1_000)],
    },
];

/// Adds how the cost of a relayed message grows with receivers and size. All else is as it was: one receiver, 1,024 bytes.
pub(super) fn growth(lab: &Lab, runs: u32, table: &mut Table) -> Result<()> {
    for Growth { what, flag, steps } in GROWTH {
        for (value, messages) in steps {
            eprintln!("interop: bench: {value} {what}");
            let (nodes, value) = (Nodes::start(lab)?, value.to_string());
            let window = PEER_WINDOW.to_string();
            let lines = run(lab, &nodes.targets(), runs, *messages, &["-window", &window, flag, &value])?;
            for node in [OURS, PEER] {
                let cell = |key| figure(&lines, node, key);
                let copies = cell("copies")?.max(1.0);
                let figures = [cell("cpu_us_per_msg")?, cell("median_msg_s")?, cell("peak_rss_mb")?, copies];
                table.row(growth_row([what, &value, node], figures, *messages));
            }
            nodes.bridge.stop()?;
        }
    }
    Ok(())
}

/// Both nodes, fresh.
struct Nodes {
    peer: WakuPeer,
    bridge: Causeway,
}

impl Nodes {
    fn start(lab: &Lab) -> Result<Self> {
        let peer = lab.waku(PEER, &["-trace=false", "-quiet"])?;
        Ok(Self { peer, bridge: lab.bridge("bench", &["--log-level=warn", ROOM])? })
    }

    fn ours(&self) -> String {
        format!("{OURS}={},{}", self.bridge.multiaddr(), self.bridge.process().pid())
    }

    fn targets(&self) -> Vec<String> {
        vec![format!("{PEER}={},{}", self.peer.multiaddr(), self.peer.process().pid()), self.ours()]
    }
}

fn name(window: u32) -> String {
    format!("relay of messages, {window} under way")
}

fn run(lab: &Lab, targets: &[String], runs: u32, messages: u32, flags: &[&str]) -> Result<Vec<Event>> {
    let mut arguments: Vec<String> = ["relay", "-cluster", "0", "-shard", "0"].map(str::to_owned).to_vec();
    for (flag, value) in [("-n", messages), ("-runs", runs)] {
        arguments.extend([flag.to_owned(), value.to_string()]);
    }
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    arguments.extend(targets.iter().flat_map(|target| ["-target".to_owned(), target.clone()]));
    let lines = driver("bench of messages", &lab.programs().go_waku_bench, &arguments)?;
    for summary in lines.iter().filter(|line| line.get("summary").is_some()) {
        let (lost, twice) = (number(summary, "lost"), number(summary, "twice"));
        ensure!((lost, twice) == (Some(0), Some(0)), "lost or doubled with {flags:?}: {summary}");
    }
    Ok(lines)
}

fn beside(lines: &[Event], name: String, key: &str, unit: &'static str, effort: &Effort) -> Result<Figure> {
    let (ours, peer) = (figure(lines, OURS, key)?, Some(figure(lines, PEER, key)?));
    Ok(Figure { name, ours, peer, unit, runs: effort.runs })
}

fn figure(lines: &[Event], node: &str, key: &str) -> Result<f64> {
    let line = lines.iter().find(|line| text(line, "summary") == node);
    line.and_then(|line| line.get(key)?.as_f64()).with_context(|| format!("no {key} of {node}"))
}
