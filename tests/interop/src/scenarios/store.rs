//! History of the Waku Network: js-waku asks us in version 3, go-waku in 2.0.0-beta4, and we ask go-waku.

use super::Lab;
use crate::causeway::Causeway;
use crate::crossing::content_topic;
use crate::deadline::poll;
use crate::js_peer::JsPeer;
use crate::process::{Event, Process, number, text};
use crate::waku_peer::{PUBSUB, WakuPeer};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// What is asked for, and the rest.
const TOPICS: [&str; 2] = ["57000001", "57000002"];
/// Messages of each topic.
const MESSAGES: u64 = 25;
/// Messages on a page.
const PAGE: usize = 7;
/// The pages of one topic.
const PAGES: [usize; 4] = [7, 7, 7, 4];
/// Until what was published is kept.
const KEPT: Duration = Duration::from_secs(60);
/// How long one run of ours may take.
const RUN: Duration = Duration::from_secs(60);
/// Nanoseconds between two messages.
const STEP: u64 = 1_000;

/// Both clients get what was published, in order, page by page from either end; nothing that is ephemeral or old.
pub(super) fn asked_by_others(lab: &Lab) -> Result<String> {
    let node = lab.bridge("store", &["--store", "--legacy-store", "--bridge-direction=v1-to-v2"])?;
    let go = lab.waku("go-waku", &["-dial", node.multiaddr()])?;
    go.await_mesh(node.multiaddr())?;
    let [asked, _] = publish(&go)?;
    let js = lab.js("js-light", &["--mode", "light", "--muxer", "mplex", "--dial", &node.websocket()?])?;
    js.connected(&node.websocket()?)?;
    await_kept(&js, 2 * MESSAGES)?;
    by_js_waku(&js, &asked)?;
    refusals_of_version_3(&js)?;
    by_go_waku(&go, node.multiaddr(), &asked)?;
    counted(&node)?;
    Ok(format!("{} messages of each topic, by js-waku (3.0.0) and by go-waku (2.0.0-beta4), both ways", asked.len()))
}

/// What go-waku keeps is asked for by `history`, from the beginning and from where it is said.
pub(super) fn asked_of_go_waku(lab: &Lab) -> Result<String> {
    let server = lab.waku("go-waku-store", &["-store", ":memory:"])?;
    let other = lab.waku("go-waku", &["-dial", server.multiaddr()])?;
    other.await_mesh(server.multiaddr())?;
    let [asked, rest] = publish(&other)?;
    let (topic, from_store) = (content_topic(TOPICS[0]), format!("topic={PUBSUB} all"));
    let kept = || {
        let told = other.ask(&format!("store {} {from_store}", server.multiaddr())).ok()?;
        (hashes(&told).len() == asked.len() + rest.len()).then_some(())
    };
    poll(KEPT, kept).context("go-waku does not keep what was published")?;
    let one = printed(lab, server.multiaddr(), &["--topic", &topic])?;
    ensure!(one == asked, "of one topic {one:?}, not {asked:?}");
    let all = printed(lab, server.multiaddr(), &["--all"])?;
    ensure!(all.len() == asked.len() + rest.len(), "{} of all topics", all.len());
    let few = printed(lab, server.multiaddr(), &["--topic", &topic, "--limit=3"])?;
    ensure!(few == asked[..3], "the first three are {few:?}");
    Ok(format!("{} messages, and {} of one topic, hash for hash", all.len(), one.len()))
}

/// Publishes on both topics in turns, with ephemeral and old ones among them; the hashes by topic, in the order of history.
fn publish(go: &WakuPeer) -> Result<[Vec<String>; 2]> {
    let mut sent: [Vec<(u64, String)>; 2] = Default::default();
    let began = go.publish(&format!("pub {PUBSUB} {} 00 ephemeral", content_topic(TOPICS[0])))?.timestamp;
    for n in 0..MESSAGES {
        for (topic, sent) in TOPICS.iter().zip(&mut sent) {
            let (topic, payload) = (content_topic(topic), hex::encode(format!("message {n}")));
            let message = go.publish(&format!("pub {PUBSUB} {topic} {payload} ts={}", began + n * STEP))?;
            sent.push((message.timestamp, message.hash));
        }
    }
    // A minute old: relayed, and not kept.
    go.publish(&format!("pub {PUBSUB} {} 01 ts={}", content_topic(TOPICS[0]), began - 60_000_000_000))?;
    sent.iter_mut().for_each(|sent| sent.sort());
    Ok(sent.map(|sent| sent.into_iter().map(|(_, hash)| hash).collect()))
}

fn hashes(event: &Event) -> Vec<String> {
    let messages = event["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages.iter().map(|message| text(message, "hash").to_owned()).collect()
}

fn sizes(event: &Event) -> Vec<usize> {
    let pages = event["pages"].as_array().map(Vec::as_slice).unwrap_or_default();
    pages.iter().filter_map(Value::as_u64).filter_map(|size| usize::try_from(size).ok()).collect()
}

/// Asks for everything that there is, until there is so much.
fn await_kept(js: &JsPeer, count: u64) -> Result<()> {
    let mut last = None;
    let kept = poll(KEPT, || {
        let told = js.ask(&format!("store-query raw=1 topic={PUBSUB} limit=100")).ok()?;
        last = number(&told, "count");
        (last == Some(count)).then_some(())
    });
    kept.with_context(|| js.process().failure(&format!("{last:?} of {count} messages are kept")).to_string())
}

fn by_js_waku(js: &JsPeer, asked: &[String]) -> Result<()> {
    let topic = content_topic(TOPICS[0]);
    for forward in ["true", "false"] {
        let told = js.ask(&format!("store-query {topic} topic={PUBSUB} limit={PAGE} forward={forward}"))?;
        ensure!(hashes(&told) == asked && sizes(&told) == PAGES, "the SDK, forward={forward}: {told:?}");
    }
    let some = [&asked[3], &"ab".repeat(32), &asked[1]].map(String::as_str).join(",");
    let found = js.ask(&format!("store-query raw=1 hashes={some} forward=true"))?;
    ensure!(hashes(&found) == [asked[1].as_str(), asked[3].as_str()], "by hash: {found:?}");
    let present = js.ask(&format!("store-query raw=1 hashes={some} data=false forward=true"))?;
    let keys: Vec<&str> =
        present["messages"].as_array().context("messages")?.iter().map(|entry| text(entry, "key")).collect();
    ensure!(keys == [&asked[1], &asked[3]] && present["messages"][0]["payload"].is_null(), "presence: {present:?}");
    // As the SDK goes on: behind whatever it has.
    let behind = format!("store-query {topic} raw=1 topic={PUBSUB} cursor={} forward=true limit=3", asked[10]);
    let next = js.ask(&behind)?;
    ensure!(hashes(&next) == asked[11..14] && text(&next, "cursor") == asked[13], "behind one: {next:?}");
    Ok(())
}

fn refusals_of_version_3(js: &JsPeer) -> Result<()> {
    let topics = (0..11).map(|n| format!("/a/1/{n}/b")).collect::<Vec<_>>().join(" ");
    for (query, why) in [
        (format!("store-query {topics} raw=1 rid=r1 topic={PUBSUB}"), "11 content topics"),
        (format!("store-query raw=1 rid=r1 cursor={}", "ab".repeat(31)), "a cursor of 31 bytes"),
        (format!("store-query raw=1 rid=r1 cursor={}", "ab".repeat(32)), "a cursor of no message"),
    ] {
        let told = js.ask(&query)?;
        ensure!(number(&told, "status") == Some(400) && text(&told, "requestId") == "r1", "{why}: {told:?}");
    }
    Ok(())
}

fn by_go_waku(go: &WakuPeer, multiaddr: &str, asked: &[String]) -> Result<()> {
    let topic = content_topic(TOPICS[0]);
    for direction in ["forward", "backward"] {
        let query = format!("store {multiaddr} topic={PUBSUB} ct={topic} limit={PAGE} dir={direction} all");
        let told = go.ask(&query)?;
        ensure!(sizes(&told) == PAGES && told["complete"] == true, "{direction}: {told:?}");
        let mut pages: Vec<&[String]> = Vec::new();
        let got = hashes(&told);
        let mut left = got.as_slice();
        for size in PAGES {
            let (page, rest) = left.split_at(size.min(left.len()));
            pages.push(page);
            left = rest;
        }
        if direction == "backward" {
            pages.reverse();
        }
        ensure!(pages.concat() == asked, "{direction}: {pages:?}, not {asked:?}");
    }
    Ok(())
}

/// What operators see of it.
fn counted(node: &Causeway) -> Result<()> {
    let (_, metrics) = node.get("/metrics")?;
    for (line, why) in [
        ("waku_store_queries_total", "queries"),
        ("waku_legacy_store_queries_total", "queries of beta4"),
        ("waku_archive_errors_total{type=\"invalid_message_too_old\"} 1", "one was too old"),
        ("waku_store_errors_total{type=\"bad_request\"} 3", "three made no sense"),
    ] {
        ensure!(metrics.lines().any(|metric| metric.starts_with(line)), "{why}: {line} is missing in\n{metrics}");
    }
    Ok(())
}

/// The hashes that `history` prints, in its order.
fn printed(lab: &Lab, multiaddr: &str, more: &[&str]) -> Result<Vec<String>> {
    let mut arguments = vec!["history", "--server", multiaddr, "--from=1h", "--json"];
    arguments.extend(more);
    let process = Process::spawn("history", &lab.programs().causeway, &arguments)?;
    let status = process.exit(RUN)?;
    ensure!(status.success(), "{}", process.failure("`history` failed"));
    let lines = process.log().since(0);
    let hash = |line: &Event| Some(line["message"]["hash"].as_str()?.trim_start_matches("0x").to_owned());
    lines.iter().map(|line| hash(line).with_context(|| format!("no message: {line:?}"))).collect()
}
