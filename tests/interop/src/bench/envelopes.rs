//! The bridge as a relay of envelopes, beside status-go: one driver feeds both, in turns, each started afresh for each run.

use super::{Effort, Figure, driver};
use crate::causeway::bridge_arguments;
use crate::process::{Event, is, number, text};
use crate::scenarios::Lab;
use anyhow::{Context, Result, bail, ensure};

/// Envelopes in one packet.
const BATCH: &str = "100";

/// In on one connection, out on another.
pub(super) fn relay(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let lines = run(lab, &["relay", "-n", &effort.envelopes.to_string(), "-batch", BATCH], effort.runs)?;
    let per_cpu = |node: &str| Ok::<f64, anyhow::Error>(1e6 / figure(&lines, node, "cpu_us_per_env")?);
    let rate = |node: &str| figure(&lines, node, "env_per_s");
    Ok(vec![
        Figure {
            name: "relay of envelopes".to_owned(),
            ours: per_cpu("causeway")?,
            peer: Some(per_cpu("status-go")?),
            unit: "envelopes per CPU-second",
            runs: effort.runs,
        },
        Figure {
            name: "relay of envelopes".to_owned(),
            ours: rate("causeway")?,
            peer: Some(rate("status-go")?),
            unit: "envelopes per second, feeding included",
            runs: effort.runs,
        },
    ])
}

/// Single envelopes at random moments.
pub(super) fn hop(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    const RUNS: u32 = 2; // most of its time is status-go's broadcast interval
    let lines = run(lab, &["hop", "-n", &effort.hops.to_string()], RUNS)?;
    [("hop latency, median", "p50_ms"), ("hop latency, 95 of 100", "p95_ms")]
        .into_iter()
        .map(|(name, key)| {
            let (ours, peer) = (figure(&lines, "causeway", key)?, Some(figure(&lines, "status-go", key)?));
            Ok(Figure { name: name.to_owned(), ours, peer, unit: "ms, less is better", runs: RUNS })
        })
        .collect()
}

fn run(lab: &Lab, mode: &[&str], runs: u32) -> Result<Vec<Event>> {
    let programs = lab.programs();
    let ours = bridge_arguments(&lab.data_dir("bench"))?.join(" ");
    let ours = format!("causeway={} {ours} --log-level=warn", programs.causeway.display());
    let peer = format!("status-go={} -quiet", programs.status_go.display());
    // The driver splits a command at spaces.
    let spaces = [lab.data_dir("bench"), programs.causeway.clone(), programs.status_go.clone()];
    ensure!(spaces.iter().all(|path| !path.to_string_lossy().contains(' ')), "no spaces in paths, please: {spaces:?}");
    let mut arguments = vec!["bench".to_owned()];
    arguments.extend(mode.iter().map(|&word| word.to_owned()));
    arguments.extend(["-runs".to_owned(), runs.to_string(), "-spawn".to_owned(), peer, "-spawn".to_owned(), ours]);
    let lines = driver("bench of envelopes", &programs.status_go, &arguments)?;
    // The driver itself fails when an envelope is missing.
    if let Some(doubled) = lines.iter().find(|line| number(line, "duplicates").is_some_and(|count| count > 0)) {
        bail!("envelopes arrived twice: {doubled}");
    }
    Ok(lines)
}

/// A median that the driver printed for a node.
fn figure(lines: &[Event], node: &str, key: &str) -> Result<f64> {
    let line = lines.iter().find(|line| is(line, "median") && text(line, "node") == node);
    line.and_then(|line| line.get(key)?.as_f64()).with_context(|| format!("no median {key} of {node}"))
}
