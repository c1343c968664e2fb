//! Figures of the bridge beside the same figures of the peers, taken in one run on one machine. No verdict on speed; a lost envelope or
//! message fails, since such a run measured something else.

mod compute;
mod crossings;
mod envelopes;
mod load;
mod mail;
mod messages;
mod opening;
mod proven;
mod pushes;
mod queries;
mod store;

pub(crate) use queries::rage;

use crate::process::{Event, Process};
use crate::scenarios::Lab;
use crate::table::Table;
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

/// No single measurement takes longer.
const LIMIT: Duration = Duration::from_secs(240);

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Effort {
    /// Runs of each relay measurement and each timed loop.
    runs: u32,
    /// Envelopes in a relay run.
    envelopes: u32,
    /// Single envelopes timed over a hop.
    hops: u32,
    /// Messages in a relay run.
    messages: u32,
    /// Single messages timed over a hop.
    singles: u32,
    /// Seconds of one timed loop.
    loop_secs: f64,
    /// Payloads each way over the bridge.
    crossings: usize,
    /// The same in each run with peers of our own.
    own_crossings: u64,
    /// Requests for history in a run.
    requests: u32,
    /// Single envelopes timed beside a storm of such requests, and as many without.
    storm_hops: u32,
    /// An archive of a million envelopes as well.
    large_archive: bool,
}

impl Effort {
    /// The same, with an archive of a million envelopes or without.
    pub(crate) fn with_large_archive(self, large_archive: bool) -> Self {
        Self { large_archive, ..self }
    }
}

/// Within five minutes on two cores, once everything is built.
pub(crate) const FULL: Effort = Effort {
    runs: 5,
    envelopes: 20_000,
    hops: 20,
    messages: 20_000,
    singles: 500,
    loop_secs: 0.6,
    crossings: 1000,
    own_crossings: 30_000,
    requests: 50,
    storm_hops: 800,
    large_archive: false,
};
/// Within two minutes.
pub(crate) const QUICK: Effort = Effort {
    runs: 3,
    envelopes: 5_000,
    hops: 8,
    messages: 5_000,
    singles: 100,
    loop_secs: 0.2,
    crossings: 300,
    own_crossings: 10_000,
    requests: 20,
    storm_hops: 200,
    large_archive: false,
};

/// One figure, ours beside a peer's: medians of `runs`.
#[derive(Debug)]
struct Figure {
    name: String,
    ours: f64,
    peer: Option<f64>,
    unit: &'static str,
    runs: u32,
}

/// One of several measurements that are taken after each other.
type Measurement = fn(&Lab, &Effort) -> Result<Vec<Figure>>;

/// One that adds rows of [`GROWTH_COLUMNS`], with so many runs of each step.
type Grows = fn(&Lab, u32, &mut Table) -> Result<()>;

/// Takes every measurement whose name has these words.
///
/// # Errors
/// When one cannot be taken, or anything was lost in it.
pub(crate) fn all(lab: &Lab, effort: &Effort, only: &str) -> Result<Table> {
    let mut table = Table::new(&["figure", "ours", "peer", "ours/peer", "runs", "unit"]);
    let parts: [(&str, Measurement); 13] = [
        ("computing beside status-go", compute::beside_status_go),
        ("opening beside status-go", opening::beside_status_go),
        ("relay of envelopes beside status-go", envelopes::relay),
        ("mail servers beside status-go", mail::beside_status_go),
        ("light clients beside status-go", envelopes::light_clients),
        ("hop latency beside status-go", envelopes::hop),
        ("relay of messages beside go-waku", messages::relay),
        ("hop of messages beside go-waku", messages::hop),
        ("hop of proven messages", proven::hop),
        ("filter pushes to subscribers", pushes::to_subscribers),
        ("store beside go-waku", store::beside_go_waku),
        ("crossings between foreign peers", crossings::per_cpu_second),
        ("crossings between peers of our own", load::crossings),
    ];
    ensure!(parts.iter().any(|(what, _)| what.contains(only)), "no measurement has `{only}` in its name");
    for (what, part) in parts.into_iter().filter(|(what, _)| what.contains(only)) {
        eprintln!("interop: bench: {what}");
        for figure in part(lab, effort)? {
            let ratio = figure.peer.map(|peer| readable(figure.ours / peer)).unwrap_or_default();
            let (ours, peer) = (readable(figure.ours), figure.peer.map(readable).unwrap_or_default());
            table.row([figure.name, ours, peer, ratio, figure.runs.to_string(), figure.unit.to_owned()]);
        }
    }
    Ok(table)
}

/// One quantity that grows while all else stays: the flag of the driver, and its values with as many as take a second or two.
struct Growth {
    what: &'static str,
    flag: &'static str,
    steps: &'static [(u32, u32)],
}

/// Runs of each step; each run of each node takes about two seconds.
const GROWTH_RUNS: u32 = 3;

/// The columns of [`growth`]: also the heading of the file.
const GROWTH_COLUMNS: [&str; 8] =
    ["what grows", "to", "node", "CPU-us for each", "each second", "MiB at most", "copies of each", "relayed"];

/// How the cost of what is relayed grows with peers, pool and size: of an envelope beside status-go, of a message beside go-waku.
///
/// # Errors
/// As [`all`].
pub(crate) fn growth(lab: &Lab, effort: &Effort, only: &str) -> Result<Table> {
    let parts: [(&str, Grows); 2] = [
        ("relay of envelopes beside status-go", envelopes::growth),
        ("relay of messages beside go-waku", messages::growth),
    ];
    let mut table = Table::new(&GROWTH_COLUMNS);
    ensure!(parts.iter().any(|(what, _)| what.contains(only)), "no measurement has `{only}` in its name");
    for (_, part) in parts.into_iter().filter(|(what, _)| what.contains(only)) {
        part(lab, effort.runs.min(GROWTH_RUNS), &mut table)?;
    }
    Ok(table)
}

/// A row of [`GROWTH_COLUMNS`]: its first three columns, the figures, and how many were relayed.
fn growth_row(start: [&str; 3], figures: [f64; 4], relayed: u32) -> impl Iterator<Item = String> {
    let start = start.map(str::to_owned).into_iter();
    start.chain(figures.map(readable)).chain([relayed.to_string()])
}

/// Runs one of the peers' own measuring programs to its end and gives what it printed.
fn driver(name: &str, program: &Path, arguments: &[String]) -> Result<Vec<Event>> {
    let process = Process::spawn(name, program, arguments)?;
    let status = process.exit(LIMIT)?;
    if !status.success() {
        return Err(process.failure(&format!("ended with {status}")));
    }
    Ok(process.log().since(0))
}

/// Three significant digits, or all that stand before the point.
fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// The middle of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_order() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([12345.6, 45.67, 1.234, 0.1234, 0.0047].map(readable), ["12346", "45.7", "1.23", "0.123", "0.0047"]);
    }
}
