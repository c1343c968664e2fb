//! History of the Waku Network as its users meet it: what is relayed is kept, told to who asks, and learnt from others.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    mailserver::eventually,
    process::{Bridge, Output, run},
};

/// The topic of waku/0, and what it is called on the Waku Network.
const TOPIC: &str = "--topic=0x01020304";
/// How often it is asked again for what is not there yet: some hundred milliseconds each time.
const PATIENCE: usize = 120;
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(10);

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Second and content of what a server tells of the topic, as `history` prints it.
fn history(server: &str) -> BTreeSet<(i64, String)> {
    let said = run(&["history", "--server", server, "--from=1h", TOPIC, "--json", "--quiet"]);
    assert!(said.success, "{said:?}");
    said.stdout.lines().map(line).collect()
}

fn line(line: &str) -> (i64, String) {
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    let nanos: i64 = line["sent"].as_str().and_then(|text| text.parse().ok()).expect("a time");
    (nanos / 1_000_000_000, line["payload"].as_str().expect("a payload").to_owned())
}

/// Asks until there is so much.
fn history_of(server: &str, count: usize) -> BTreeSet<(i64, String)> {
    let mut last = BTreeSet::new();
    for _ in 0..PATIENCE {
        last = history(server);
        if last.len() >= count {
            return last;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("{server} tells of {last:?}");
}

/// Posts until it is kept: a mesh has to come up first.
fn post(to: &str, texts: std::ops::Range<u32>) {
    for n in texts {
        let said = run(&["post", to, TOPIC, &format!("--text=number {n}")]);
        assert!(said.success, "{said:?}");
    }
}

#[test]
fn the_same_hour_asked_by_mail_and_by_store_is_the_same_set() {
    let data = directory();
    let bridge = Bridge::start_in(data.path(), &["--store", "--legacy-store", "--mailserver"]);
    // Somebody on either side, so that what comes from the other one can cross.
    let listeners = [&bridge.enode, &bridge.libp2p].map(|at| Output::of(&["listen", at, "--timeout=300"]));
    listeners.iter().for_each(|listener| drop(listener.wait_for_error_line("listening for")));
    post(&bridge.enode, 0..3);
    post(&bridge.libp2p, 3..6);
    let mail_server = bridge.enode.replacen('@', ":status-offline-inbox@", 1);
    let (by_mail, by_store) = (history_of(&mail_server, 6), history_of(&bridge.libp2p, 6));
    assert_eq!(by_mail, by_store);
    assert_eq!(by_mail.len(), 6, "each once");
    let metrics = bridge.get("/metrics").1;
    assert!(
        metrics.contains("waku_store_queries_total") && metrics.contains("waku_legacy_store_queries_total"),
        "{metrics}"
    );
    assert_eq!(bridge.terminate(STOP), Some(0));
}

#[test]
fn f01_what_was_relayed_is_there_after_a_kill_and_another_node_learns_what_it_missed() {
    let data = [directory(), directory()];
    let first = Bridge::node_in(data[0].path(), &["--store"], &[]);
    post(&first.libp2p, 0..5);
    let kept = history_of(&first.libp2p, 5);
    first.kill();

    let again = Bridge::node_in(data[0].path(), &["--store"], &[]);
    assert_eq!(history_of(&again.libp2p, 5), kept, "after a kill");

    let flags = ["--store", "--legacy-store", "--store-resume", "--staticnode", &again.libp2p];
    let second = Bridge::node_in(data[1].path(), &flags, &[]);
    assert_eq!(history_of(&second.libp2p, 5), kept, "relayed before it was there");
    second.wait_for_log("what was missed is here");
    let metrics = second.get("/metrics").1;
    for line in ["store_resumed_messages_total 5", "store_resume_covered 1.0"] {
        assert!(metrics.lines().any(|metric| metric == line), "{line} is missing in:\n{metrics}");
    }
    assert!(data[1].path().join("store-last-online").exists());
    for node in [again, second] {
        assert_eq!(node.terminate(STOP), Some(0));
    }
}

/// No file may grow: every write fails, as on a disk that is full.
#[test]
fn f03_while_the_disk_is_full_a_store_relays_says_so_and_answers_from_what_it_has() {
    let data = directory();
    let node = Bridge::node_with_little_disk(data.path(), 1 << 20, &["--store"]);
    post(&node.libp2p, 0..2);
    let kept = history_of(&node.libp2p, 2);
    let listener = Output::of(&["listen", &node.libp2p, "--count=1", "--timeout=60"]);
    listener.wait_for_error_line("listening for");
    node.limit_files("0");
    post(&node.libp2p, 2..3);
    let heard = listener.end();
    assert!(heard.success && heard.stdout.contains("number 2"), "{heard:?}");
    eventually("the archive fails", || node.get("/readyz").1.contains("\"part\":\"archive\""));
    assert_eq!(history(&node.libp2p), kept);
    assert_eq!(node.get("/livez").0, 200);

    node.limit_files("unlimited");
    post(&node.libp2p, 3..4);
    let later = history_of(&node.libp2p, 3);
    assert!(later.is_superset(&kept), "{later:?}");
    eventually("the archive works", || !node.get("/readyz").1.contains("\"part\":\"archive\""));
    assert_eq!(node.terminate(STOP), Some(0));
}

#[test]
fn history_of_a_store_node_goes_on_where_it_ended() {
    let data = directory();
    let node = Bridge::node_in(data.path(), &["--store"], &[]);
    post(&node.libp2p, 0..5);
    let all = history_of(&node.libp2p, 5);
    let file = data.path().join("where.json");
    let path = file.to_str().expect("a path of Unicode");
    let go_on = |server: &str, how: &[&str]| {
        let asked = ["history", "--server", server, "--from=1h", TOPIC, "--json", "--quiet", "--resume", path];
        run(&[&asked, how].concat())
    };
    let mut printed = Vec::new();
    for (how, lines) in [("--limit=2", 2), ("--limit=2", 2), ("--all", 1)] {
        let said = go_on(&node.libp2p, &[how]);
        assert!(said.success && said.stdout.lines().count() == lines, "{how}: {said:?}");
        printed.extend(said.stdout.lines().map(line));
        assert_eq!(file.exists(), how != "--all", "after {how}");
    }
    assert_eq!(printed.len(), all.len(), "none twice");
    assert_eq!(printed.into_iter().collect::<BTreeSet<_>>(), all);

    let other = go_on(&node.libp2p, &["--limit=1"]);
    assert!(other.success, "{other:?}");
    let asked = ["history", "--server", &node.libp2p, "--topic=0x05060708", "--quiet", "--resume", path];
    let said = run(&asked);
    assert!(!said.success && said.stderr.contains("other topics"), "{said:?}");
    let address = node.libp2p.clone();
    assert_eq!(node.terminate(STOP), Some(0));
    let said = go_on(&address, &["--all"]);
    assert!(said.code == Some(1) && said.stderr.contains("goes on there") && file.exists(), "{said:?}");
}

#[test]
fn a_node_that_keeps_nothing_answers_nobody() {
    let data = directory();
    let node = Bridge::node_in(data.path(), &[], &[]);
    let said = run(&["history", "--server", &node.libp2p, "--quiet"]);
    assert!(said.code == Some(1) && said.stderr.contains("incomplete"), "{said:?}");
}
