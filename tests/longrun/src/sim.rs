//! Simulated networks with seeds that nobody has tried.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use devp2p::clock::now;

use crate::{
    fuzzing::at_once,
    simulation::{self, Planted, Tally},
};

/// Networks in which a planted fault must show.
const SEEDS_TO_FIND: u64 = 60;

/// Runs for so long, beginning at a seed made of the time.
///
/// # Errors
/// When a rule is broken, or a planted fault is not found.
pub(crate) fn run(time: Duration) -> Result<()> {
    for planted in Planted::ALL {
        let mut found = (0..SEEDS_TO_FIND).flat_map(|seed| simulation::run(seed, Some(planted)).broken);
        if !found.any(|broken| broken.rule == planted.breaks()) {
            bail!("simulation: {planted:?} was planted and not found");
        }
    }
    let start = now();
    let first = start.unix.as_micros() as u64;
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        let mut tally = Vec::new();
        while !stop.load(Relaxed) && now().instant - start.instant < time {
            let seed = next.fetch_add(1, Relaxed);
            let report = simulation::run(seed, None);
            if let Some(broken) = report.broken.first() {
                stop.store(true, Relaxed);
                bail!("simulation: {broken}; replay with SIM_SEED={seed} cargo test --test sim");
            }
            tally.push(report.tally);
        }
        Ok(tally.into_iter().sum::<Tally>())
    };
    let tallies: Result<Vec<Tally>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once()).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let tally: Tally = tallies?.into_iter().sum();
    println!("simulation: {} networks from seed {first}, {tally:?}", next.load(Relaxed) - first);
    Ok(())
}
