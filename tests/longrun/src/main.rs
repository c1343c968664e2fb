//! What takes long on purpose: fuzzing, simulation with fresh seeds, soaks. `README.md` says how to use it.

mod bridge_process;
#[path = "../../../bridge/tests/sim/bridges/mod.rs"]
mod bridges;
mod clients;
mod faults;
mod fuzzing;
#[path = "../../support/load.rs"]
mod load;
mod mesh;
#[path = "../../../waku2/tests/mesh/meshes/mod.rs"]
mod meshes;
#[path = "../../support/npm.rs"]
mod npm;
mod sampling;
mod sim;
#[path = "../../sim/simulation/mod.rs"]
mod simulation;
mod soak;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use meshes::link;

/// Seconds for each target with `--quick`: enough to run every seed and a few thousand more.
const QUICK_SECONDS: u64 = 5;

/// Shares of `all`: fuzzing, simulation, soak.
const SHARES: u32 = 3;

#[derive(Debug, Parser)]
#[command(about = "Fuzzing, simulation with fresh seeds, soaks")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs fuzz targets, guided by coverage.
    Fuzz(Fuzz),
    /// Runs simulated networks with fresh seeds.
    Sim {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Runs meshes of the Waku Network over bad links, in real time.
    Mesh {
        /// Networks of each size.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// Sizes, in nodes.
        #[arg(long, value_delimiter = ',', default_values_t = [20, 50, 100])]
        nodes: Vec<usize>,
        /// The first seed, instead of one made of the time.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Sends through a bridge at a steady rate.
    Soak {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        /// Envelopes and messages a second, each way. Beyond 90 the bridge takes any number of envelopes from a peer.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        rate: u32,
        /// The program; built here unless told.
        #[arg(long)]
        causeway: Option<PathBuf>,
    },
    /// Holds many js-libp2p relays, or js-waku clients, over WebSocket, with a trickle of messages.
    Clients {
        /// Clients.
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        count: u32,
        /// For how long.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Light clients of js-waku, subscribed by filter, in place of relays.
        #[arg(long)]
        filter: bool,
        /// Judge this program instead of building one.
        #[arg(long, value_name = "PATH")]
        causeway: Option<PathBuf>,
    },
    /// Kills a bridge under load, cuts it off, and starts it again while one of its networks is away.
    Faults {
        /// Kills.
        #[arg(long, default_value_t = 20)]
        kills: u32,
        /// For how long each side is away.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Judge this program instead of building one.
        #[arg(long, value_name = "PATH")]
        causeway: Option<PathBuf>,
    },
    /// Fuzzing, simulation and soak, sharing the time.
    All {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
}

#[derive(Debug, Args)]
struct Fuzz {
    /// For each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// This target alone; may be repeated.
    #[arg(long)]
    target: Vec<String>,
    /// A few seconds for each target.
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Without libFuzzer: finds shallow faults only.
    #[arg(long)]
    blind: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Fuzz(fuzz) => {
            let seconds = if fuzz.quick { QUICK_SECONDS } else { fuzz.seconds };
            let targets = fuzzing::chosen(&fuzz.target)?;
            if fuzz.blind { fuzzing::blind(&targets, seconds) } else { fuzzing::guided(&targets, seconds) }
        }
        Command::Sim { seconds } => sim::run(Duration::from_secs(seconds)),
        Command::Mesh { seeds, nodes, seed } => mesh::run(seeds, &nodes, seed),
        Command::Soak { minutes, rate, causeway } => {
            soak::run(causeway.as_deref(), Duration::from_secs(minutes * 60), rate)
        }
        Command::Clients { count, minutes, filter, causeway } => {
            let kind = if filter { clients::Kind::Subscribers } else { clients::Kind::Relays };
            clients::run(causeway.as_deref(), kind, count, Duration::from_secs(minutes * 60))
        }
        Command::Faults { kills, minutes, causeway } => {
            faults::run(kills, Duration::from_secs(minutes * 60), causeway.as_deref())
        }
        Command::All { minutes } => all(Duration::from_secs(minutes * 60) / SHARES),
    }
}

/// Each part with this much time; all are run, whatever the first of them finds.
fn all(share: Duration) -> Result<()> {
    let targets = fuzzing::chosen(&[])?;
    let each = share.as_secs() * fuzzing::at_once() as u64 / targets.len() as u64;
    let results = [fuzzing::guided(&targets, each.max(1)), sim::run(share), soak::run(None, share, 10)];
    results.into_iter().collect()
}
