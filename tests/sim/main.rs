//! Whole waku/0 networks over bad links, in virtual time: 3 to 50 node cores, and what must hold whatever happens.
//!
//! `SIM_SEED=n` runs one seed. The last test plants a fault for each rule in some nodes and expects it to be found, so that
//! a check that looks at nothing is found too.

mod simulation;

use std::{env, num::NonZeroUsize, thread};

use simulation::{Planted, Tally, run};

/// Networks in a test run.
const SEEDS: u64 = 200;

/// Two more, in which a peer limits a topic while packets for it are held up.
const LIMITED_LATE: [u64; 2] = [1_795_307_394_818_692, 1_795_307_492_796_666];

/// One more, in which most of what a peer with a limit is sent finds its connection full.
const LIMITED_AND_FULL: [u64; 1] = [1_795_418_844_718_218];

/// Networks in which a planted fault must show: most show in the first.
const SEEDS_TO_FIND: u64 = 60;

fn seeds() -> Vec<u64> {
    let chosen = env::var("SIM_SEED").ok().map(|text| text.parse().expect("SIM_SEED is a number"));
    chosen.map_or_else(|| (0..SEEDS).chain(LIMITED_LATE).chain(LIMITED_AND_FULL).collect(), |seed| vec![seed])
}

/// Runs the seeds on all processors; panics with the first that breaks a rule.
fn run_all(seeds: &[u64]) -> Tally {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = seeds.len().div_ceil(threads);
    thread::scope(|scope| {
        let runs: Vec<_> = seeds.chunks(share).map(|seeds| scope.spawn(|| run_some(seeds))).collect();
        runs.into_iter().map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    })
}

fn run_some(seeds: &[u64]) -> Tally {
    let one = |seed: &u64| {
        let report = run(*seed, None);
        if let Some(broken) = report.broken.first() {
            panic!("{broken}\n{} more; replay with SIM_SEED={seed}", report.broken.len() - 1);
        }
        report.tally
    };
    seeds.iter().map(one).sum()
}

#[test]
fn every_rule_holds_in_every_network() {
    let seeds = seeds();
    let tally = run_all(&seeds);
    println!("{} networks: {tally:?}", seeds.len());
    if seeds.len() > 1 {
        let Tally { posted, delivered, owed, packets, stalled, cut, restarted, from_pool, limited } = tally;
        for (happened, what) in [
            (posted, "posts"),
            (delivered, "deliveries"),
            (owed, "deliveries that were owed"),
            (packets, "packets"),
            (stalled, "full connections"),
            (cut, "cuts"),
            (restarted, "restarts"),
            (from_pool, "offers of a pool"),
            (limited, "packets to peers with limits"),
        ] {
            assert!(happened >= 100, "{happened} {what}: the networks do not try what they should");
        }
    }
}

#[test]
fn a_seed_gives_the_same_network_again() {
    for seed in 0..5 {
        assert_eq!(run(seed, None).tally, run(seed, None).tally);
    }
}

#[test]
fn planted_faults_are_found() {
    for planted in Planted::ALL {
        let first = |seed| run(seed, Some(planted)).broken.into_iter().next();
        let found = (0..SEEDS_TO_FIND).find_map(first).map(|broken| broken.rule);
        assert_eq!(found, Some(planted.breaks()), "{planted:?}");
    }
}
