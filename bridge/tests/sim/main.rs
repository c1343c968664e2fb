//! Two and three bridges between the same two networks, with users on both sides, loss, delay, partitions, crashes, and at times one
//! foreign bridge that stamps anew; in virtual time.
//!
//! `SIM_SEED=n` runs one seed. The last test plants a fault for each rule and expects it to be found, so that a check that looks at
//! nothing is found too.

mod bridges;

use std::env;

use bridges::{Planted, Tally, run};

/// Networks in a test run.
const SEEDS: u64 = 40;
/// Networks in which a planted fault must show: most show in the first.
const SEEDS_TO_FIND: u64 = 20;

#[test]
fn every_rule_holds_between_every_two_networks() {
    let chosen = env::var("SIM_SEED").ok().map(|text| text.parse().expect("SIM_SEED is a number"));
    let seeds: Vec<u64> = chosen.map_or_else(|| (0..SEEDS).collect(), |seed| vec![seed]);
    let one = |seed: &u64| {
        let report = run(*seed, None);
        if let Some(broken) = report.broken.first() {
            panic!("{broken}\n{} more; replay with SIM_SEED={seed}", report.broken.len() - 1);
        }
        report.tally
    };
    let tally: Tally = seeds.iter().map(one).sum();
    println!("{} networks: {tally:?}", seeds.len());
    if chosen.is_none() {
        let Tally { said, owed, crossed, lost, splits, crashes, foreign, gave_way, kept } = tally;
        for (happened, what) in [
            (said, "things said"),
            (owed, "that had to cross"),
            (crossed, "crossings"),
            (lost, "losses on the way"),
            (splits, "partitions"),
            (crashes, "crashes"),
            (foreign, "made by a foreign bridge"),
            (gave_way, "given up for another bridge"),
            (kept, "rows of history"),
        ] {
            assert!(happened >= 20, "{happened} {what}: the networks do not try what they should");
        }
    }
}

#[test]
fn a_seed_gives_the_same_networks_again() {
    for seed in 0..3 {
        assert_eq!(run(seed, None).tally, run(seed, None).tally);
    }
}

#[test]
fn planted_faults_are_found() {
    for planted in Planted::ALL {
        let broken = (0..SEEDS_TO_FIND).flat_map(|seed| run(seed, Some(planted)).broken).map(|broken| broken.rule);
        assert!(broken.into_iter().any(|rule| rule == planted.breaks()), "{planted:?}");
    }
}
