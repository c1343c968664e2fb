//! Simulated networks with seeds that nobody has tried: of waku/0 nodes, and of bridges between two networks.

use std::{
    fmt::Debug,
    iter::Sum,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use devp2p::clock::now;

use crate::{bridges, fuzzing::at_once, simulation};

/// Networks in which a planted fault must show.
const SEEDS_TO_FIND: u64 = 60;

/// Runs for so long, half of it each kind of network, beginning at a seed made of the time.
///
/// # Errors
/// When a rule is broken, or a planted fault is not found.
pub(crate) fn run(time: Duration) -> Result<()> {
    plant()?;
    search("bridges", "-p bridge --test sim", time / 2, |seed| {
        let report = bridges::run(seed, None);
        report.broken.first().map_or(Ok(report.tally), |broken| Err(broken.to_string()))
    })?;
    search("simulation", "--test sim", time / 2, |seed| {
        let report = simulation::run(seed, None);
        report.broken.first().map_or(Ok(report.tally), |broken| Err(broken.to_string()))
    })
}

/// Each fault that is planted must be found.
fn plant() -> Result<()> {
    for planted in simulation::Planted::ALL {
        let mut found = (0..SEEDS_TO_FIND).flat_map(|seed| simulation::run(seed, Some(planted)).broken);
        if !found.any(|broken| broken.rule == planted.breaks()) {
            bail!("simulation: {planted:?} was planted and not found");
        }
    }
    for planted in bridges::Planted::ALL {
        let mut found = (0..SEEDS_TO_FIND).flat_map(|seed| bridges::run(seed, Some(planted)).broken);
        if !found.any(|broken| broken.rule == planted.breaks()) {
            bail!("bridges: {planted:?} was planted and not found");
        }
    }
    Ok(())
}

/// Runs seed after seed on all processors; `one` says what happened in a network, or which rule it broke.
fn search<T: Sum + Debug + Send>(
    name: &str,
    replay: &str,
    time: Duration,
    one: impl Fn(u64) -> Result<T, String> + Sync,
) -> Result<()> {
    let start = now();
    let first = start.unix.as_micros() as u64;
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        let mut tally = Vec::new();
        while !stop.load(Relaxed) && now().instant - start.instant < time {
            let seed = next.fetch_add(1, Relaxed);
            match one(seed) {
                Ok(network) => tally.push(network),
                Err(broken) => {
                    stop.store(true, Relaxed);
                    bail!("{name}: {broken}; replay with SIM_SEED={seed} cargo test {replay}");
                }
            }
        }
        Ok(tally.into_iter().sum::<T>())
    };
    let tallies: Result<Vec<T>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once()).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let tally: T = tallies?.into_iter().sum();
    println!("{name}: {} networks from seed {first}, {tally:?}", next.load(Relaxed) - first);
    Ok(())
}
