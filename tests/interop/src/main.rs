//! Live peers: builds them, runs the bridge between them, and judges what each side saw.
//!
//! `cargo run --release -p interop` runs every scenario and prints a table; it ends with 0 only if all passed. A peer that cannot be built
//! or started is a failure. `cargo run --release -p interop -- bench` measures the bridge beside the peers. See `README.md`.

mod bench;
mod causeway;
mod cpu;
mod crossing;
mod deadline;
mod payloads;
mod process;
mod programs;
mod scenarios;
mod status_peer;
mod table;
mod waku_peer;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use programs::Programs;
use scenarios::{ALL, Lab, Scenario};
use std::process::ExitCode;
use table::Table;

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
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Run this scenario only; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the scenarios and end
    #[arg(long)]
    list: bool,
    /// Payloads each way in `crossing`; `dialled` takes a tenth of them, `two-bridges-parallel` a fifth
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..))]
    messages: u16,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the bridge beside the peers: figures, no verdict on speed; what is lost fails
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Fewer runs and shorter ones, for CI: within 90 s
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Bench(args)) => bench(args.quick),
        None if cli.run.list => {
            list();
            Ok(true)
        }
        None => run(&cli.run),
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

/// Runs the scenarios one after the other; whether all passed.
fn run(args: &RunArgs) -> Result<bool> {
    let chosen = chosen(&args.only)?;
    let with_bridge = chosen.iter().any(|scenario| scenario.name != "peers");
    let lab = Lab::new(Programs::build(with_bridge)?, args.messages.into())?;
    let mut table = Table::new(&["scenario", "result", "seconds", "what was seen"]);
    let (mut passed, mut failed) = (0, Vec::new());
    for scenario in chosen {
        eprintln!("interop: {}: {}", scenario.name, scenario.claim);
        let start = deadline::now();
        let outcome = (scenario.run)(&lab);
        let seconds = format!("{:.1}", start.elapsed().as_secs_f64());
        match outcome {
            Ok(remark) => {
                passed += 1;
                table.row([scenario.name.to_owned(), "passed".to_owned(), seconds, remark]);
            }
            Err(error) => {
                eprintln!("interop: {} failed: {error:#}", scenario.name);
                let first = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                table.row([scenario.name.to_owned(), "FAILED".to_owned(), seconds, first]);
                failed.push(scenario.name);
            }
        }
    }
    println!("{table}\n{passed} passed, {} failed", failed.len());
    Ok(failed.is_empty())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>> {
    if let Some(unknown) = only.iter().find(|name| !ALL.iter().any(|scenario| scenario.name == name.as_str())) {
        bail!("there is no scenario {unknown}; --list names them");
    }
    Ok(ALL.iter().filter(|scenario| only.is_empty() || only.iter().any(|name| name == scenario.name)).collect())
}

fn bench(quick: bool) -> Result<bool> {
    let lab = Lab::new(Programs::build(true)?, 0)?;
    let table = bench::all(&lab, if quick { &bench::QUICK } else { &bench::FULL })?;
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
