//! Mailservers of Whisper that give each other what they lack.

use std::{collections::HashSet, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    json_rpc::{FLAGS, call, served},
    process::{Bridge, run},
};

/// With JSON-RPC, all of it over HTTP; of the protocols Whisper alone, since mailservers synchronise over no other.
fn mailserver(directory: &Path) -> Bridge {
    let more = ["--v1-protocols=shh/6", "--rpc-api=waku,shh,wakuext,shhext,admin"];
    Bridge::mailserver_in(directory, &[&FLAGS[..], &more].concat())
}

/// Calls until it answers something.
fn until(url: &str, method: &str, params: &Value) -> Value {
    let answered = |_| {
        let answer = call(url, method, params.clone());
        if answer.is_null() {
            std::thread::sleep(Duration::from_millis(50));
        }
        (!answer.is_null()).then_some(answer)
    };
    (0..1_200).find_map(answered).unwrap_or_else(|| panic!("{method} never answers"))
}

fn metrics_say(server: &Bridge, line: &str) -> bool {
    server.get("/metrics").1.lines().any(|said| said == line)
}

#[test]
fn a_mailserver_is_given_what_it_lacks_by_one_that_trusts_it() {
    let (full, empty) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (giver, taker) = (mailserver(full.path()), mailserver(empty.path()));
    let ([at_giver, ..], [at_taker, ..]) = (served(&giver), served(&taker));
    let posted: HashSet<String> = (0..3)
        .map(|n| {
            let said = run(&["post", &giver.enode, "--topic=0x01020304", &format!("--text={n}")]);
            said.stdout.split_whitespace().nth(1).unwrap_or_else(|| panic!("{said:?}")).to_owned()
        })
        .collect();
    let kept = |_| {
        std::thread::sleep(Duration::from_millis(100));
        metrics_say(&giver, "mailserver_archived_envelopes_total{db=\"sqlite\"} 3.0")
    };
    assert!((0..600).any(kept), "not all was archived");
    // Nothing of it comes by gossip.
    assert_eq!(call(&at_taker, "waku_setBloomFilter", json!([format!("0x{}", "00".repeat(64))])), true);
    assert_eq!(call(&at_taker, "admin_addPeer", json!([giver.enode])), true);
    until(&at_giver, "waku_markTrustedPeer", &json!([taker.enode]));

    let asked = json!([{ "mailServerPeer": giver.enode, "limit": 2, "followCursor": true }]);
    assert_eq!(until(&at_taker, "shhext_syncMessages", &asked), json!({ "cursor": "", "error": "" }));
    let exported = run(&["export", &format!("--data-dir={}", empty.path().display())]);
    let rows: Vec<Value> = exported.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    let hashes: HashSet<String> =
        rows.iter().filter_map(|row| Some(row["envelope"]["hash"].as_str()?.to_owned())).collect();
    assert_eq!((rows.len(), hashes), (3, posted));
    assert!(rows.iter().all(|row| row["reason"] == "sync"), "{exported:?}");
    for line in [
        "mailserver_sync_attempts_total 2",
        "mailserver_delivery_attempts_total 0",
        "mailserver_sync_failures_total{type=\"rate_limit\"} 0",
        "mailserver_envelope_queries_total{filter=\"full\",history=\"full\"} 1",
        "mailserver_envelope_queries_total{filter=\"full\",history=\"partial\"} 1",
    ] {
        assert!(metrics_say(&giver, line), "{line} is missing in:\n{}", giver.get("/metrics").1);
    }

    // One page, and where to go on; the same again is known, and its times can be chosen.
    let page = json!([{ "mailServerPeer": giver.enode, "limit": 1 }]);
    let page = until(&at_taker, "wakuext_syncMessages", &page);
    assert_eq!((page["cursor"].as_str().map(str::len), &page["error"]), (Some(72), &json!("")));
    let early = json!([{ "mailServerPeer": giver.enode, "to": 5 }]);
    assert_eq!(until(&at_taker, "shhext_syncMessages", &early), json!({ "cursor": "", "error": "" }));
    assert!(metrics_say(&taker, "mailserver_archived_envelopes_total{db=\"sqlite\"} 3.0"));
}
