//! What can't cross is kept, and is there after a kill -9.

use std::path::Path;

use crate::process::{Bridge, Said, run};

/// A topic of the flags' route.
const TOPIC: &str = "--topic=0x01020304";

fn traced(bridge: &Bridge, hash: &str) -> Said {
    let rest = format!("--rest=127.0.0.1:{}", bridge.http_port());
    let told = |_| run(&["trace", hash, &rest]);
    (0..200).map(told).find(|said| said.stdout.contains("in the archive")).expect("it is kept")
}

fn bridge(directory: &Path) -> Bridge {
    Bridge::start_in(directory, &["--archive", "--bridge-direction=archive-only"])
}

#[test]
fn what_goes_to_the_archive_alone_is_told_and_outlives_the_bridge() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = bridge(directory.path());
    let said = run(&["post", &first.enode, TOPIC, "--text=for later"]);
    assert!(said.success, "{said:?}");
    let hash = said.stdout.split_whitespace().nth(1).expect("a hash").to_owned();
    let told = traced(&first, &hash);
    assert!(told.stdout.contains("archived"), "{told:?}");
    let metrics = first.get("/metrics").1;
    assert!(metrics.contains("waku_archive_messages{type=\"stored\"} 1"), "{metrics}");
    first.kill();

    let second = bridge(directory.path());
    let told = traced(&second, &hash);
    assert!(told.stdout.contains(&hash) && told.stdout.contains("/waku/2/rs/0/0"), "{told:?}");
}

#[test]
fn an_archive_that_is_none_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("archive.sqlite3");
    std::fs::write(&file, "hello ".repeat(1_000)).expect("a file is written");
    let data_dir = format!("--data-dir={}", directory.path().display());
    let free =
        ["--listen-address=127.0.0.1", "--devp2p-tcp-port=0", "--tcp-port=0", "--websocket-port=0", "--rest-port=0"];
    let said = run(&[&["bridge", &data_dir, "--archive"], &free[..]].concat());
    assert!(said.code == Some(1) && said.stderr.contains("archive.sqlite3"), "{said:?}");
}
