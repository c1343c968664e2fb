//! Live peers: builds them, runs the bridge between them, and judges what each side saw.
//!
//! `cargo run --release -p interop` runs every scenario and prints a table; it ends with 0 only if all passed. A peer that cannot be built
//! or started is a failure. `cargo run --release -p interop -- bench` measures the bridge beside the peers. See `README.md`.

mod bench;
mod browser;
mod causeway;
mod chain_peer;
mod commands;
mod cpu;
mod crossing;
mod deadline;
mod exchange;
mod geth_peer;
mod gossip;
mod js_peer;
#[expect(dead_code, reason = "meshes use more of it")]
#[path = "../../../waku2/tests/mesh/meshes/link.rs"]
mod link;
#[path = "../../support/name_server.rs"]
mod name_server;
#[path = "../../support/npm.rs"]
mod npm;
mod payloads;
mod postgres;
mod process;
mod programs;
mod rln_peer;
mod scenarios;
mod status_peer;
mod table;
mod tally;
mod waku_peer;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use programs::Programs;
use scenarios::{ALL, Lab, Scenario};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use table::Table;

/// Scenarios at once, of those that may: each has three or four processes, which mostly wait.
const SIDE_BY_SIDE: usize = 4;

#[derive(Debug, Parser)]
#[command(
    name = "interop",
    about = "Runs Causeway between released status-go and go-waku peers",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
    /// Judge this program instead of building one
    #[arg(long, value_name = "PATH", global = true)]
    causeway: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Run this scenario only; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Payloads each way in `crossing` and `two-bridges`; `dialled` and `handed-over` take a tenth of them, `two-bridges-parallel` a fifth
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..))]
    messages: u16,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the bridge beside the peers: figures, no verdict on speed; what is lost fails
    Bench(BenchArgs),
    /// Ask a node for history, hundreds of queries at once, until a line comes: what `bench` starts beside itself
    #[command(hide = true)]
    Rage {
        /// Its multiaddr
        node: String,
    },
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Fewer runs and shorter ones, for CI: within two minutes
    #[arg(long)]
    quick: bool,
    /// What takes some minutes more as well: a mail server's archive of a million envelopes
    #[arg(long)]
    full: bool,
    /// Measure only what has these words in its name, such as `messages`
    #[arg(long, value_name = "WORDS", default_value = "")]
    only: String,
    /// Instead of the figures, how the cost of what is relayed grows with peers, pool and size: as CSV in this file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let given = cli.causeway.as_deref();
    let outcome = match cli.command {
        Some(Command::Bench(args)) => bench(&args, given),
        Some(Command::Rage { node }) => bench::rage(&node).map(|()| true),
        None if cli.run.list => {
            list();
            Ok(true)
        }
        None => run(&cli.run, given),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("interop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    let mut table = Table::new(&["scenario", "what must hold"]);
    for scenario in ALL {
        table.row([scenario.name.to_owned(), scenario.claim.to_owned()]);
    }
    print!("{table}");
}

/// Runs the scenarios; whether all passed.
fn run(args: &RunArgs, given: Option<&Path>) -> Result<bool> {
    let chosen = chosen(&args.only)?;
    let lab = Lab::new(Programs::build(given)?, args.messages.into())?;
    let mut table = Table::new(&["scenario", "result", "seconds", "what was seen"]);
    let (mut passed, mut failed) = (0, 0);
    for group in chosen.chunk_by(|one, next| one.beside && next.beside).flat_map(|run| run.chunks(SIDE_BY_SIDE)) {
        for (scenario, (seconds, outcome)) in group.iter().zip(side_by_side(&lab, group)) {
            let (result, seen) = match outcome {
                Ok(remark) => ("passed", remark),
                Err(error) => ("FAILED", format!("{error:#}").lines().next().unwrap_or_default().to_owned()),
            };
            *if result == "passed" { &mut passed } else { &mut failed } += 1;
            table.row([scenario.name.to_owned(), result.to_owned(), format!("{seconds:.1}"), seen]);
        }
    }
    println!("{table}\n{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Runs some scenarios at once: the seconds and the outcome of each.
fn side_by_side(lab: &Lab, group: &[&'static Scenario]) -> Vec<(f64, Result<String>)> {
    let one = |scenario: &'static Scenario| {
        eprintln!("interop: {}: {}", scenario.name, scenario.claim);
        let start = deadline::now();
        let outcome = (scenario.run)(lab);
        if let Err(error) = &outcome {
            eprintln!("interop: {} failed: {error:#}", scenario.name);
        }
        (start.elapsed().as_secs_f64(), outcome)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = group.iter().map(|&scenario| scope.spawn(move || one(scenario))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| (0.0, Err(anyhow!("it panicked"))))).collect()
    })
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>> {
    if let Some(unknown) = only.iter().find(|name| !ALL.iter().any(|scenario| scenario.name == name.as_str())) {
        bail!("there is no scenario {unknown}; --list names them");
    }
    Ok(ALL.iter().filter(|scenario| only.is_empty() || only.iter().any(|name| name == scenario.name)).collect())
}

fn bench(args: &BenchArgs, given: Option<&Path>) -> Result<bool> {
    let lab = Lab::new(Programs::build(given)?, 0)?;
    let effort = if args.quick { bench::QUICK } else { bench::FULL };
    let effort = &effort.with_large_archive(args.full);
    let table = match &args.plot {
        None => bench::all(&lab, effort, &args.only)?,
        Some(file) => {
            let table = bench::growth(&lab, effort, &args.only)?;
            std::fs::write(file, table.csv()).with_context(|| format!("writing {}", file.display()))?;
            table
        }
    };
    println!("{table}");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scenarios_are_chosen_by_name_and_keep_their_order() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
            chosen(&only).map(|list| list.iter().map(|scenario| scenario.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap().len(), ALL.len());
        assert_eq!(names(&["crossing", "peers"]).unwrap(), ["peers", "crossing"]);
        assert!(names(&["nonsense"]).unwrap_err().to_string().contains("--list"));
    }
}
