//! Accounts of waku/0 peers, as an operator reads them.

use std::time::Duration;

use devp2p::clock::now;
use serde_json::Value;

use crate::process::{Bridge, run};

/// Epochs of a second, so that one is soon over.
const EPOCHS: &str = "--accounting-epoch=1";

/// More than an epoch and a write take on a busy machine.
const WRITTEN: Duration = Duration::from_secs(30);

fn accounts(node: &Bridge, query: &str) -> (u16, Value) {
    let (status, body) = node.get(&format!("/legacy/v1/accounting{query}"));
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}")))
}

/// Asks until there are rows.
fn written(node: &Bridge) -> Vec<Value> {
    let start = now().instant;
    loop {
        let (status, page) = accounts(node, "");
        assert_eq!(status, 200, "{page}");
        match page["accounts"].as_array() {
            Some(rows) if !rows.is_empty() => return rows.clone(),
            _ => assert!(now().instant - start < WRITTEN, "no accounts after {WRITTEN:?}"),
        }
    }
}

#[test]
fn accounts_are_read_after_a_restart() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let first = Bridge::legacy_in(data.path(), &[EPOCHS]);
    let said = run(&["post", &first.enode, "--text=hello", "--ttl=60"]);
    assert!(said.success, "{said:?}");
    let rows = written(&first);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(row["received"]["envelopes"], 1, "{row}");
    assert!(row["received"]["bytes"].as_u64() > Some(18), "{row}");
    assert_eq!(row["sent"]["envelopes"], 0, "{row}");
    first.kill();

    let second = Bridge::legacy_in(data.path(), &[EPOCHS]);
    assert_eq!(written(&second), rows);
    let (epoch, peer) = (row["epoch"].as_u64().expect("a time"), row["peer"].as_str().expect("a node id"));
    let found = |query: &str| accounts(&second, query).1["accounts"].as_array().map(Vec::len);
    assert_eq!(found(&format!("?peer={peer}&from={epoch}&to={epoch}")), Some(1));
    assert_eq!(found(&format!("?from={}", epoch + 1)), Some(0));
    assert_eq!(found(&format!("?peer={}", "00".repeat(32))), Some(0));
    assert_eq!(accounts(&second, "?limit=1").1["next"], format!("{epoch}-{peer}"));
    assert_eq!(found(&format!("?after={epoch}-{peer}")), Some(0));
}

#[test]
fn what_was_open_when_the_node_stops_is_written() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let first = Bridge::legacy_in(data.path(), &["--accounting-epoch=86400"]);
    assert!(run(&["post", &first.enode, "--text=hello", "--ttl=60"]).success);
    assert_eq!(first.terminate(Duration::from_secs(10)), Some(0));
    let second = Bridge::legacy_in(data.path(), &[]);
    assert_eq!(written(&second)[0]["received"]["envelopes"], 1);
}

#[test]
fn wrong_questions_are_answered_with_the_parameter() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &[]);
    for (query, word) in [
        ("?peer=12", "peer"),
        ("?limit=0", "limit"),
        ("?after=x", "after"),
        ("?from=yesterday", "from"),
        ("?form=1", "form"),
    ] {
        let (status, answer) = accounts(&node, query);
        assert_eq!(status, 400, "{query}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(word)), "{query}: {answer}");
    }
}
