//! Bridges that are killed and started again on what they had written down.

use std::time::Duration;

use tempfile::TempDir;

use crate::{
    link::State,
    load::{Load, Pace},
    process::Bridge,
};

/// What is late is carried all the same: how long a machine takes for a restart is not the question.
const FLAGS: &[&str] = &["--v1-late-policy=publish", "--bridge-ttl=600"];
/// Some at every stage at any time.
const PACE: Pace = Pace { every: Duration::from_millis(10), under_way: 400, limit: Duration::from_secs(60) };
/// Lives of a bridge that end by SIGKILL.
const KILLS: usize = 20;
/// Crossings each way within each life.
const IN_EACH_LIFE: u64 = 5;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A bridge that calls both clients of the load: in each life at once.
fn start(data: &TempDir, load: &Load) -> Bridge {
    Bridge::start_in(data.path(), &[&load.flags()[..], FLAGS].concat())
}

/// Posts go on all the while: each kill meets some at every stage.
#[tokio::test(flavor = "multi_thread")]
async fn f01_killed_twenty_times_under_load_nothing_written_is_lost_and_nothing_crosses_twice() {
    let (data, mut load) = (directory(), Load::start(PACE).await.expect("both clients"));
    let mut bridge = start(&data, &load);
    for _ in 0..KILLS {
        load.carried(IN_EACH_LIFE).await.expect("a bridge that carries");
        bridge.kill();
        load.read_journal(data.path()).await.expect("a database that opens");
        bridge = start(&data, &load);
    }
    load.carried(IN_EACH_LIFE).await.expect("a bridge that carries");
    let report = load.end().await.expect("each once");
    assert!(report.written > 0 && report.messages > KILLS && report.envelopes > KILLS, "{report:?}");
    drop(bridge);
}

/// Before the bridge starts again, and after it, while a side is away.
const WHILE_AWAY: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn f28_a_side_that_is_away_while_the_bridge_starts_again_gets_all_once_when_it_is_back() {
    let (data, mut load) = (directory(), Load::start(PACE).await.expect("both clients"));
    let mut bridge = start(&data, &load);
    for away in [1, 0] {
        load.carried(IN_EACH_LIFE).await.expect("a bridge that carries");
        load.set(away, State::Down);
        load.posted(WHILE_AWAY).await.expect("a load");
        bridge.kill();
        load.read_journal(data.path()).await.expect("a database that opens");
        bridge = start(&data, &load);
        load.posted(WHILE_AWAY).await.expect("a load");
        load.set(away, State::Up);
    }
    load.carried(IN_EACH_LIFE).await.expect("a bridge that carries");
    let report = load.end().await.expect("each once");
    assert!(report.written > 0, "what waited for v0 was written down: {report:?}");
    assert_eq!(report.repeated, 0, "gossip still knows what it has had");
    drop(bridge);
}
