//! Meshes of the Waku Network with seeds that nobody has tried.

use std::time::Duration;

use anyhow::{Result, bail};
use devp2p::clock::now;
use futures::future::join_all;

use crate::meshes::{self, Planted, Report, Size};

/// Of partition, healing and churn: the second partition is one that nobody is told of, and a node loses its power.
const ROUNDS: usize = 2;

/// Messages in each half of an act, and the mean time between them.
const POSTS: usize = 60;
const GAP_MILLIS: u64 = 50;

/// Longer than gossip keeps off a peer that was let go of, and pings and calls need together.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs so many networks of each size, one after the other, beginning at `first` or at a seed made of the time.
///
/// # Errors
/// When a rule is broken, or a planted fault is not found.
pub(crate) fn run(seeds: u64, nodes: &[usize], first: Option<u64>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let first = first.unwrap_or_else(|| now().unix.as_secs());
    runtime.block_on(async {
        find_planted().await?;
        println!("{HEADER}");
        for nodes in nodes {
            for seed in first..first + seeds {
                let size =
                    Size { nodes: *nodes, rounds: ROUNDS, posts: POSTS, gap_millis: GAP_MILLIS, patience: PATIENCE };
                let report = meshes::run(seed, size, None).await;
                print(seed, *nodes, &report);
                if let Some(broken) = report.broken.first() {
                    bail!("mesh: {broken}; replay with mesh --seed {seed} --seeds 1 --nodes {nodes}");
                }
            }
        }
        Ok(())
    })
}

async fn find_planted() -> Result<()> {
    let found = join_all(Planted::ALL.map(meshes::is_found)).await;
    for (planted, found) in Planted::ALL.into_iter().zip(found) {
        if !found {
            bail!("mesh: {planted:?} was planted and not found");
        }
    }
    Ok(())
}

const HEADER: &str = "      seed  nodes  messages     owed  delivered  twice  copies     p50      p99      max   came   went  left  unsent  change";

fn print(seed: u64, nodes: usize, report: &Report) {
    let tally = &report.tally;
    let millis = |permille| tally.latency(permille).as_millis();
    println!(
        "{seed:>10} {nodes:>6} {:>9} {:>8} {:>10} {:>6} {:>7.2} {:>4} ms {:>5} ms {:>5} ms {:>6} {:>6} {:>5} {:>7} {:>5} s",
        tally.posted,
        tally.owed,
        tally.delivered,
        tally.twice,
        tally.copies(),
        millis(500),
        millis(990),
        millis(1_000),
        tally.connected,
        tally.gone,
        tally.left,
        tally.unsent,
        tally.slowest_change.as_secs(),
    );
}
