//! The waku/0 node as a relay of envelopes, beside status-go: one driver feeds both, in turns, each started afresh for each run.

use super::{Effort, Figure, Growth, driver, growth_row};
use crate::causeway::legacy_arguments;
use crate::process::{Event, is, number, text};
use crate::scenarios::Lab;
use crate::table::Table;
use anyhow::{Context, Result, bail, ensure};

/// The nodes, by the names that the driver gives them.
const OURS: &str = "causeway";
const PEER: &str = "status-go";
const BOTH: [&str; 2] = [OURS, PEER];
/// Envelopes in one packet.
const BATCH: &str = "100";
/// Light clients on one node.
const CLIENTS: u32 = 1000;
/// Envelopes that pass them: status-go looks through its pool for every peer, and with 5,000 it no longer ends within a minute.
const PASSING: u32 = 1000;
/// Peers that either node lets in: the light clients, and those who feed and receive.
const MAX_PEERS: u32 = CLIENTS + 100;
/// Single figures that are better small.
const MEMORY: &str = "MiB resident, less is better";

/// In on one connection, out on another.
pub(super) fn relay(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let lines = run(lab, &["relay", "-n", &effort.envelopes.to_string(), "-batch", BATCH], effort.runs, &BOTH, "")?;
    let both = |unit, value: &dyn Fn(&str) -> Result<f64>| -> Result<Figure> {
        let (name, runs) = ("relay of envelopes".to_owned(), effort.runs);
        Ok(Figure { name, ours: value(OURS)?, peer: Some(value(PEER)?), unit, runs })
    };
    Ok(vec![
        both("envelopes per CPU-second", &|node| Ok(1e6 / figure(&lines, node, "cpu_us_per_env")?))?,
        both("envelopes per second, feeding included", &|node| figure(&lines, node, "env_per_s"))?,
        both("MiB resident at most, less is better", &|node| figure(&lines, node, "peak_rss_mb"))?,
    ])
}

/// Many light clients that want nothing, and envelopes that pass them.
pub(super) fn light_clients(lab: &Lab, _: &Effort) -> Result<Vec<Figure>> {
    const RUNS: u32 = 1; // what is connected stays; a second run tells the same
    let (clients, envelopes) = (CLIENTS.to_string(), PASSING.to_string());
    let lines = run(lab, &["clients", "-clients", &clients, "-n", &envelopes, "-batch", BATCH], RUNS, &BOTH, "")?;
    [
        ("rss_mb", MEMORY),
        ("kb_per_client", "KiB for each"),
        ("cpu_us_per_env", "CPU-us for an envelope that passes them"),
    ]
    .into_iter()
    .map(|(key, unit)| {
        let (ours, peer) = (figure(&lines, OURS, key)?, Some(figure(&lines, PEER, key)?));
        Ok(Figure { name: format!("{clients} light clients"), ours, peer, unit, runs: RUNS })
    })
    .collect()
}

/// Single envelopes at random moments.
pub(super) fn hop(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    const RUNS: u32 = 2; // most of its time is status-go's broadcast interval
    let lines = run(lab, &["hop", "-n", &effort.hops.to_string()], RUNS, &BOTH, "")?;
    [("hop latency, median", "p50_ms"), ("hop latency, 95 of 100", "p95_ms")]
        .into_iter()
        .map(|(name, key)| {
            let (ours, peer) = (figure(&lines, OURS, key)?, Some(figure(&lines, PEER, key)?));
            Ok(Figure { name: name.to_owned(), ours, peer, unit: "ms, less is better", runs: RUNS })
        })
        .collect()
}

/// Bytes of an envelope beside its data: expiry, ttl, topic, nonce and their lengths.
const AROUND_DATA: u32 = 20;
/// Data of an envelope of 562 bytes.
const DATA: &str = "542";

/// How many get each envelope.
const RECEIVERS: &str = "-receivers";

const GROWTH: [Growth; 3] = [
    Growth { what: "receivers", flag: RECEIVERS, steps: &[(1, 5000), (10, 5000), (50, 2000), (200, 1000)] },
    Growth {
        what: "envelopes in the pool",
        flag: "-prefill",
        steps: &[(0, 5000), (1_000, 5000), (100_000, 5000), (1_000_000, 5000)],
    },
    Growth {
        what: "bytes of data",
        flag: "-data",
        steps: &[(100 - AROUND_DATA, 5000), (562 - AROUND_DATA, 5000), (10_240 - AROUND_DATA, 1000)],
    },
];

/// A pool that only ours was measured with: status-go was never tried with it.
const OURS_ALONE: u32 = 1_000_000;

/// Room for that pool.
const LARGE_POOL: &str = "--waku-v0-pool-envelopes=1100000 --waku-v0-pool-size=2GiB";

/// Adds how the cost of a relay grows with peers, pool and size.
pub(super) fn growth(lab: &Lab, runs: u32, table: &mut Table) -> Result<()> {
    for Growth { what, flag, steps } in GROWTH {
        for (value, envelopes) in steps {
            eprintln!("interop: bench: {value} {what}");
            let nodes: &[&str] = if *value == OURS_ALONE { &[OURS] } else { &[OURS, PEER] };
            let receivers = if flag == RECEIVERS { *value } else { 1 };
            let (value, count) = (value.to_string(), envelopes.to_string());
            // The driver takes the last of a flag that is given twice.
            let mode = ["relay", "-batch", BATCH, "-ttl", "600", "-pow", "0.00001", "-data", DATA];
            let mode = [&mode[..], &["-n", &count, flag, &value]].concat();
            let lines = run(lab, &mode, runs, nodes, LARGE_POOL)?;
            for node in nodes {
                let cell = |key| figure(&lines, node, key);
                let figures = [cell("cpu_us_per_env")?, cell("env_per_s")?, cell("peak_rss_mb")?, receivers.into()];
                table.row(growth_row([what, &value, node], figures, *envelopes));
            }
        }
    }
    Ok(())
}

/// Lets the driver measure these nodes. `flags` are for ours.
fn run(lab: &Lab, mode: &[&str], runs: u32, nodes: &[&str], flags: &str) -> Result<Vec<Event>> {
    let programs = lab.programs();
    let ours = legacy_arguments(&lab.data_dir("bench"))?.join(" ");
    // Neither limits its peers.
    let ours = format!(
        "{OURS}={} {ours} --log-level=warn --devp2p-max-peers={MAX_PEERS} --waku-v0-rate-limit=none {flags}",
        programs.causeway.display()
    );
    let peer = format!("{PEER}={} -quiet -minpow 0.000002 -maxpeers {MAX_PEERS}", programs.status_go.display());
    // The driver splits a command at spaces.
    let spaces = [lab.data_dir("bench"), programs.causeway.clone(), programs.status_go.clone()];
    ensure!(spaces.iter().all(|path| !path.to_string_lossy().contains(' ')), "no spaces in paths, please: {spaces:?}");
    let mut arguments = vec!["bench".to_owned()];
    arguments.extend(mode.iter().map(|&word| word.to_owned()));
    arguments.extend(["-runs".to_owned(), runs.to_string()]);
    for (node, command) in [(PEER, peer), (OURS, ours)] {
        if nodes.contains(&node) {
            arguments.extend(["-spawn".to_owned(), command]);
        }
    }
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
