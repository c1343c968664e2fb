//! Mail servers of Whisper that give each other what they lack: status-go's asks ours (123), and ours asks it for the same (124 both ways).
//!
//! go-ethereum's Whisper knows neither packet. Nothing of it can have come by gossip: status-go's server wants nothing, and ours that asks
//! it has no other peer.

use super::Lab;
use super::mailserver::await_rows;
use crate::causeway::Causeway;
use crate::gossip::{EASY, Post, post};
use crate::payloads::bytes;
use crate::process::{Process, is, text};
use crate::status_peer::Envelope;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Envelopes that one lacks.
const ENVELOPES: usize = 40;
/// Of which so many are asked for at once.
const PAGE: usize = 15;
const TOPIC: &str = "d3000001";
/// From the start of status-go to its `ready`, and from a request to the end of the answer.
const ANSWER: Duration = Duration::from_secs(60);
/// The latest time that can be asked for.
const LATEST: u32 = 4_000_000_000;

/// JSON-RPC, by which a server is told whom it trusts, and to ask.
const RPC: [&str; 3] = ["--rpc", "--rpc-port=0", "--rpc-api=waku,shhext,admin"];

/// An answer to one request.
struct Part {
    hashes: Vec<String>,
    /// Hex; empty for none.
    cursor: String,
    error: String,
}

/// Has status-go ask a server; what came, and what status-go made of its end.
fn part(asker: &Process, server: &Causeway, cursor: &str) -> Result<Part> {
    let (from, mut hashes) = (asker.log().len(), Vec::new());
    let cursor = if cursor.is_empty() { "none" } else { cursor };
    asker.ask(&format!("sync {} 0 {LATEST} {PAGE} {cursor}", server.enode()), "sync-asked", ANSWER)?;
    asker
        .wait("end of a synchronisation", from, ANSWER, |e| {
            if is(e, "sync-arrived") {
                hashes.extend(text(e, "hashes").split(',').filter(|hash| !hash.is_empty()).map(str::to_owned));
            }
            is(e, "sync-finished").then(|| (text(e, "cursor").to_owned(), text(e, "error").to_owned()))
        })
        .map(|(cursor, error)| Part { hashes, cursor, error })
}

/// Calls until it does not refuse: its peer may not be there yet.
fn until_taken(server: &Causeway, method: &str, params: &Value) -> Result<Value> {
    let mut refused = String::new();
    let answer = crate::deadline::poll(ANSWER, || match server.call(method, params) {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(why)) => {
            refused = why;
            None
        }
        Err(error) => {
            refused = error.to_string();
            None
        }
    });
    answer.with_context(|| server.process().failure(&format!("{method} is refused: {refused}")))
}

fn hashes_of(envelopes: &[Envelope]) -> BTreeSet<String> {
    envelopes.iter().map(|envelope| envelope.hash.clone()).collect()
}

/// From ours to status-go's, and from that to another of ours.
pub(super) fn with_status_go(lab: &Lab) -> Result<String> {
    let giver = lab.mailserver("sync-giver", &RPC)?;
    let poster = lab.status_at(&giver, "sync-poster", &[])?;
    let posts = |n: usize| Post { topic: TOPIC, pow: EASY, payload: bytes(300, (3 << 32) + n as u64) };
    let posted = hashes_of(&post(&poster, &(0..ENVELOPES).map(posts).collect::<Vec<_>>())?);
    await_rows(&giver, ENVELOPES)?;

    let archive = lab.data_dir("sync-status-go");
    let archive = archive.to_str().context("a path in Unicode")?;
    let theirs = Process::spawn("sync-status-go", &lab.programs().status_go, &["whisper", "-dir", archive])?;
    let ready = theirs.ready(ANSWER)?;
    let enode = text(&ready, "enode");
    theirs.line(&format!("addpeer {}", giver.enode()))?;
    ensure!(until_taken(&giver, "waku_markTrustedPeer", &json!([enode]))? == true, "status-go is not trusted");
    let (mut given, mut cursor, mut parts) = (Vec::new(), String::new(), 0);
    loop {
        let part = part(&theirs, &giver, &cursor)?;
        ensure!(part.error.is_empty(), "status-go reads an error: {}", part.error);
        ensure!(part.hashes.len() <= PAGE, "{} at once, not {PAGE}", part.hashes.len());
        given.extend(part.hashes);
        (cursor, parts) = (part.cursor, parts + 1);
        ensure!(given.len() <= ENVELOPES, "more came than was posted");
        if cursor.is_empty() {
            break;
        }
    }
    ensure!(given.len() == ENVELOPES && given.into_iter().collect::<BTreeSet<_>>() == posted, "other envelopes came");
    giver.stop()?;

    let taker =
        lab.mailserver("sync-taker", &[&RPC[..], &["--v1-protocols=shh/6", "--staticnode-v1", enode]].concat())?;
    let asked = json!([{ "mailServerPeer": enode, "limit": PAGE, "followCursor": true }]);
    let said = until_taken(&taker, "shhext_syncMessages", &asked)?;
    ensure!(said == json!({ "cursor": "", "error": "" }), "ours reads {said}");
    await_rows(&taker, ENVELOPES)?;
    taker.stop()?;
    Ok(format!("{ENVELOPES} envelopes in {parts} parts to status-go, and from it to another of ours"))
}
