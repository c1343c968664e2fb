//! Discovery beside go-ethereum's: over UDP, and by lists in DNS, each in both directions.

use super::Lab;
use crate::causeway::Causeway;
use crate::deadline::poll;
use crate::geth_peer::GethPeer;
use crate::name_server::NameServer;
use crate::process::{Process, is, text};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use std::net::TcpListener;
use std::time::Duration;

/// Until a node is found: go-ethereum walks all the time, with a pause where it finds nobody new.
const FOUND: Duration = Duration::from_secs(60);
/// Signing a list is immediate.
const SIGNED: Duration = Duration::from_secs(10);
/// Where the lists are, for whoever asks our name server.
const DOMAIN: &str = "nodes.example.org";
/// The key with which go-ethereum signs.
const GETH_KEY: &str = "4646464646464646464646464646464646464646464646464646464646464646";
/// Sequence numbers of the lists, ours and its.
const OUR_SEQ: u64 = 3;
const GETH_SEQ: &str = "7";

/// All four ways.
pub(super) fn both_ways(lab: &Lab) -> Result<String> {
    let seed = lab.geth("discovery-seed", &[])?;
    let node = lab.bridge("discovery-node", &["--discv4-discovery", "--discv4-bootstrap-node", seed.enode()])?;
    ensure!(!node.enode().contains("discport"), "UDP has another number than TCP: {}", node.enode());
    // Nothing answers there; that we dial is what is waited for.
    let told = TcpListener::bind("127.0.0.1:0").context("a port to be dialled at")?;
    let port = told.local_addr()?.port().to_string();
    // It and the node know of the seed, and not of each other.
    let seeker = lab.geth("discovery-seeker", &["-bootnodes", seed.enode(), "-walk", "-tcp", &port])?;
    it_finds_us(&seeker, &node)?;
    we_find_it(&told, &node)?;
    let asked = seeker.ask(&format!("enr {}", node.enode()), "enr")?;
    ensure!(text(&asked, "enode") == node.enode(), "our record says {}", text(&asked, "enode"));
    let record = text(&asked, "enr");

    it_reads_our_list(lab, &seeker, &[record, seed.record()])?;
    let finder = we_read_its_list(lab, &seeker, record)?;
    finder.stop()?;
    node.stop()?;
    Ok("found each other by lookup, our record read; one list read each way, and its node dialled".to_owned())
}

fn it_finds_us(seeker: &GethPeer, node: &Causeway) -> Result<()> {
    let us = |e: &Value| (is(e, "found") && text(e, "enode") == node.enode()).then_some(());
    seeker.process().wait("lookup that found the bridge", 0, FOUND, us)
}

fn we_find_it(told: &TcpListener, node: &Causeway) -> Result<()> {
    told.set_nonblocking(true)?;
    let dialled = poll(FOUND, || told.accept().ok());
    let missing = || node.process().failure("it did not dial the node that go-ethereum knew of");
    dialled.map(drop).ok_or_else(missing)?;
    let found = node.metric("v1_discovered_total")?.unwrap_or_default();
    ensure!(found >= 2.0, "the bridge counts {found} nodes found, not the seed and the seeker");
    Ok(())
}

/// A list made by `dns-tree`, read by go-ethereum's client.
fn it_reads_our_list(lab: &Lab, reader: &GethPeer, records: &[&str]) -> Result<()> {
    let key = lab.data_dir("list.key");
    let key = key.to_str().context("the temporary directory is not Unicode")?;
    let seq = OUR_SEQ.to_string();
    let flags = ["dns-tree", "--json", "--domain", DOMAIN, "--seq", &seq, "--key-file", key];
    let signer = Process::spawn("dns-tree", &lab.programs().causeway, &[&flags[..], records].concat())?;
    let status = signer.exit(SIGNED)?;
    ensure!(status.success(), "{}", signer.failure(&format!("ended with {status}")));
    let printed = signer.log().since(0);
    let list = printed.first().ok_or_else(|| signer.failure("it printed nothing"))?;

    let server = serve(list)?;
    let read = reader.ask(&format!("sync {} {}", text(list, "url"), server.addr()), "synced")?;
    ensure!(read["seq"] == OUR_SEQ, "go-ethereum read list {}, not {OUR_SEQ}", read["seq"]);
    let mut nodes: Vec<&str> = read["nodes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut listed = records.to_vec();
    nodes.sort_unstable();
    listed.sort_unstable();
    ensure!(nodes == listed, "go-ethereum read {nodes:?}, not {listed:?}");
    Ok(())
}

/// A list that go-ethereum made, read by a bridge, which becomes a peer of the node in it.
fn we_read_its_list(lab: &Lab, signer: &GethPeer, record: &str) -> Result<Causeway> {
    let list = signer.ask(&format!("sign {GETH_KEY} {DOMAIN} {GETH_SEQ} {record}"), "signed")?;
    let server = serve(&list)?;
    let (url, addr) = (text(&list, "url"), server.addr().to_string());
    let finder = lab.bridge("discovery-finder", &["--dns-discovery-url-v1", url, "--dns-addrs-name-server", &addr])?;
    let mut peers = None;
    let found = poll(FOUND, || {
        peers = finder.metric("v1_peers").ok().flatten();
        (peers == Some(1.0)).then_some(())
    });
    found.ok_or_else(|| finder.process().failure(&format!("{peers:?} peers after reading a list of one")))?;
    Ok(finder)
}

fn serve(list: &Value) -> Result<NameServer> {
    let records = list["records"].as_object().ok_or_else(|| anyhow!("no records in {list}"))?;
    let texts = records.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()));
    NameServer::start(texts).context("a name server")
}
