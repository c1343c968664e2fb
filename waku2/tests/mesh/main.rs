//! Whole meshes of the Waku Network: nodes on loopback, over links that delay, lose, fall silent and break, and what must hold whatever happens.
//!
//! `SIM_SEED=n` and `SIM_NODES=n` run another network. The last test plants a fault for each rule in some nodes and expects it to be found, so
//! that a check that looks at nothing is found too.

mod meshes;

use std::{env, time::Duration};

use futures::future::join_all;
use meshes::{Planted, Size, is_found, run};

/// The network of a test run.
const SEED: u64 = 1;
const NODES: usize = 20;

/// Nothing here takes nearly as long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn chosen<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_holds_in_a_mesh() {
    let (seed, nodes) = (chosen("SIM_SEED", SEED), chosen("SIM_NODES", NODES));
    let report = run(seed, Size { nodes, rounds: 1, posts: 20, gap_millis: 50, patience: PATIENCE }, None).await;
    let tally = &report.tally;
    println!(
        "{nodes} nodes: {} messages, {} deliveries owed of {}, {:.2} bytes sent for one delivered, p50 {:?}, p99 {:?}, max {:?}, {} \
         peers came and {} went, slowest change {:?}, {} unsent",
        tally.posted,
        tally.owed,
        tally.delivered,
        tally.copies(),
        tally.latency(500),
        tally.latency(990),
        tally.latency(1_000),
        tally.connected,
        tally.gone,
        tally.slowest_change,
        tally.unsent,
    );
    if let Some(broken) = report.broken.first() {
        panic!("{broken}\n{} more; replay with SIM_SEED={seed} SIM_NODES={nodes}", report.broken.len() - 1);
    }
    for (happened, what) in [
        (tally.posted, "messages"),
        (tally.owed / 10, "tens of deliveries that were owed"),
        (tally.connected, "peers that came"),
        (tally.gone, "peers that went"),
    ] {
        assert!(happened >= 50, "{happened} {what}: the network does not try what it should");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_faults_are_found() {
    let found = join_all(Planted::ALL.map(is_found)).await;
    let missed: Vec<Planted> =
        Planted::ALL.into_iter().zip(found).filter(|(_, found)| !found).map(|(p, _)| p).collect();
    assert_eq!(missed, [], "planted and not found");
}
