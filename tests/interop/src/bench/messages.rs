//! The bridge as a relay of v2 messages, beside go-waku. The messages are on no bridged content topic: nothing crosses.

use super::{Effort, Figure, driver};
use crate::process::{Event, number, text};
use crate::scenarios::Lab;
use anyhow::{Context, Result, ensure};

/// go-waku keeps up with this many under way without loss.
const PEER_WINDOW: u32 = 32;
/// What the bridge is measured with alone: go-waku's gossipsub drops messages above 33 under way.
const OUR_WINDOWS: [u32; 2] = [128, 1024];

/// A feeder, a node, a drain; in turns for both nodes.
pub(super) fn relay(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let peer = lab.waku("go-waku", &["-trace=false", "-quiet"])?;
    let bridge = lab.bridge("bench", &["--log-level=warn"])?;
    let peer_target = format!("go-waku={},{}", peer.multiaddr(), peer.process().pid());
    let our_target = format!("causeway={},{}", bridge.multiaddr(), bridge.process().pid());

    let both = run(lab, effort, PEER_WINDOW, &[&peer_target, &our_target])?;
    let mut figures: Vec<Figure> =
        [("msg_per_node_cpu_s", "messages per CPU-second"), ("median_msg_s", "messages per second")]
            .into_iter()
            .map(|(key, unit)| {
                let (ours, peer) = (figure(&both, "causeway", key)?, Some(figure(&both, "go-waku", key)?));
                Ok(Figure { name: name(PEER_WINDOW), ours, peer, unit, runs: effort.runs })
            })
            .collect::<Result<_>>()?;
    for window in OUR_WINDOWS {
        let alone = run(lab, effort, window, &[&our_target])?;
        let ours = figure(&alone, "causeway", "msg_per_node_cpu_s")?;
        figures.push(Figure {
            name: name(window),
            ours,
            peer: None,
            unit: "messages per CPU-second",
            runs: effort.runs,
        });
    }
    bridge.stop()?;
    Ok(figures)
}

fn name(window: u32) -> String {
    format!("relay of messages, {window} under way")
}

fn run(lab: &Lab, effort: &Effort, window: u32, targets: &[&str]) -> Result<Vec<Event>> {
    let mut arguments: Vec<String> = ["relay", "-cluster", "0", "-shard", "0"].map(str::to_owned).to_vec();
    for (flag, value) in [("-n", effort.messages), ("-runs", effort.runs), ("-window", window)] {
        arguments.extend([flag.to_owned(), value.to_string()]);
    }
    arguments.extend(targets.iter().flat_map(|&target| ["-target".to_owned(), target.to_owned()]));
    let lines = driver("bench of messages", &lab.programs().go_waku_bench, &arguments)?;
    for summary in lines.iter().filter(|line| line.get("summary").is_some()) {
        let (lost, twice) = (number(summary, "lost"), number(summary, "twice"));
        ensure!((lost, twice) == (Some(0), Some(0)), "lost or doubled with {window} under way: {summary}");
    }
    Ok(lines)
}

fn figure(lines: &[Event], node: &str, key: &str) -> Result<f64> {
    let line = lines.iter().find(|line| text(line, "summary") == node);
    line.and_then(|line| line.get(key)?.as_f64()).with_context(|| format!("no {key} of {node}"))
}
