//! A stock web3 client at our JSON-RPC, and status-go at our node: each reads what the other says. Then the client asks for all of it again,
//! of status-go as a mail server.

use super::Lab;
use crate::causeway::Causeway;
use crate::process::{Process, is, text};
use crate::status_peer::{Opened, StatusPeer};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Texts that each says.
const TEXTS: usize = 10;
/// Both know it.
const PASSWORD: &str = "a-public-chat";
const TOPIC: &str = "c5000003";
/// From the start of the client to its `ready`: it makes keys, a filter, and two subscriptions.
const START: Duration = Duration::from_secs(60);
/// From a text to its arrival.
const ARRIVAL: Duration = Duration::from_secs(60);
/// The password of status-go's mail server.
const MAIL_PASSWORD: &str = "between-us";
/// How the client is told of messages.
const WAYS: [&str; 2] = ["ws", "ipc"];

/// Over HTTP, WebSocket and the Unix socket.
pub(super) fn from_web3(lab: &Lab) -> Result<String> {
    let node = lab.bridge("asked", &["--rpc", "--rpc-port=0", "--ws", "--ws-port=0", "--ipc"])?;
    let archive = lab.data_dir("mail-web3");
    let archive = archive.to_str().context("a path in Unicode")?;
    let status = lab.status_at(&node, "status-go", &["-mailserver", archive, "-password", MAIL_PASSWORD])?;
    status.subscribe(&format!("pw:{PASSWORD}"), &[TOPIC])?;
    let client = client(lab, &node)?;
    let ready = client.wait("ready", 0, START, |e| is(e, "ready").then(|| e.clone()))?;
    ensure!(ready["version"] == "6.0" && ready["info"]["minPow"].is_number(), "the client is told {ready}");

    for n in 0..TEXTS {
        client.line(&said("web3", n))?;
        status
            .ask(&format!("send pw:{PASSWORD} {TOPIC} 20 0.002 {} sign", hex::encode(said("status-go", n))), "sent")?;
    }
    for n in 0..TEXTS {
        let payload = hex::encode(said("web3", n));
        let opened = |e: &_| Opened::of(e).filter(|opened| opened.payload == payload).map(|_| ());
        status.process().wait(&format!("text {n} of web3"), 0, ARRIVAL, opened)?;
        for who in ["web3", "status-go"] {
            let payload = format!("0x{}", hex::encode(said(who, n)));
            for way in WAYS {
                let told = |e: &_| {
                    (is(e, "message") && text(e, "via") == way && text(e, "payload") == payload).then(|| e.clone())
                };
                let told = client.wait(&format!("text {n} of {who} by {way}"), 0, ARRIVAL, told)?;
                let by_web3 = told["sig"] == ready["publicKey"];
                ensure!(
                    told["sig"].is_string() && by_web3 == (who == "web3"),
                    "text {n} of {who} is signed otherwise: {told}"
                );
            }
        }
    }
    once(&client)?;
    history(&client, &status)?;
    node.stop()?;
    Ok(format!(
        "{TEXTS} texts each: status-go opened those of web3; web3 had all of both once by HTTP, WebSocket and Unix socket, and again from status-go's archive"
    ))
}

fn client(lab: &Lab, node: &Causeway) -> Result<Process> {
    let told = node.process().wait("`json-rpc` in its banner", 0, START, |line| {
        let words = line.as_str()?.strip_prefix("json-rpc")?;
        Some(words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    })?;
    let script = lab.programs().web3.to_str().context("the path of the client is not Unicode")?;
    let topic = format!("0x{TOPIC}");
    let arguments: Vec<&str> =
        [script].into_iter().chain(told.iter().map(String::as_str)).chain([PASSWORD, &topic]).collect();
    Process::spawn("web3", Path::new("node"), &arguments)
}

fn said(who: &str, n: usize) -> String {
    format!("{who} says {n}")
}

/// What status-go has archived comes to a filter that takes what comes outside of gossip, and to no other.
fn history(client: &Process, status: &StatusPeer) -> Result<()> {
    let mut archived = 0;
    status.process().wait("all in its archive", 0, ARRIVAL, |e| {
        archived += usize::from(is(e, "archived"));
        (archived == 2 * TEXTS).then_some(())
    })?;
    client.line(&format!("history {} {MAIL_PASSWORD} {}", status.enode(), 2 * TEXTS))?;
    let given = client.wait("history", 0, ARRIVAL, |e| is(e, "history").then(|| e.clone()))?;
    ensure!(text(&given, "request").len() == 66, "a request without a name: {given}");
    ensure!(given["sync"]["cursor"] == "" && given["sync"]["error"].is_null(), "an answer without an end: {given}");
    let payloads = given["payloads"].as_array().context("no payloads")?;
    let found: BTreeSet<&str> = payloads.iter().filter_map(serde_json::Value::as_str).collect();
    let said: Vec<String> =
        ["web3", "status-go"].iter().flat_map(|who| (0..TEXTS).map(|n| hex::encode(said(who, n)))).collect();
    ensure!(
        payloads.len() == said.len() && said.iter().all(|said| found.contains(&*format!("0x{said}"))),
        "history has {} messages, not all {}: {given}",
        payloads.len(),
        said.len()
    );
    Ok(())
}

/// By subscriptions and by polling, each text once.
fn once(client: &Process) -> Result<()> {
    client.line("poll")?;
    let polled = client.wait("what the filter has", 0, ARRIVAL, |e| is(e, "polled").then(|| e.clone()))?;
    let polled = polled["payloads"].as_array().context("no payloads")?.len();
    ensure!(polled == 2 * TEXTS, "the filter has {polled} messages, not {}", 2 * TEXTS);
    let events = client.log().since(0);
    ensure!(!events.iter().any(|e| is(e, "error")), "the client was refused something");
    for way in WAYS {
        let told = events.iter().filter(|e| is(e, "message") && text(e, "via") == way).count();
        ensure!(told == 2 * TEXTS, "{told} messages by {way}, not {}", 2 * TEXTS);
    }
    Ok(())
}
