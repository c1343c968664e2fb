//! History of mail servers that others wrote: asked for page by page, and their archives taken over.

use super::{Lab, mailserver};
use crate::deadline::poll;
use crate::postgres::Postgres;
use crate::process::{Process, is, text};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// What the servers' password is.
const PASSWORD: &str = "between us";
/// The key of what is said, and its topic.
const KEY: &str = "pw:history";
/// The topic of what is asked for, and of the rest.
const TOPICS: [&str; 2] = ["0a0b0c0d", "01010101"];
/// Envelopes of each topic.
const ENVELOPES: usize = 150;
/// How long an archive may take for them.
const ARCHIVED: Duration = Duration::from_secs(120);
/// How long one run of ours may take, servers that fail and pauses included.
const RUN: Duration = Duration::from_secs(180);

/// A mail server, the hashes of the envelopes in it, by topic, and what it keeps: keys and envelopes, in hex.
struct Server {
    peer: StatusPeer,
    hashes: [BTreeSet<String>; 2],
    records: Vec<(String, String)>,
}

fn flags(directory: &str) -> [&str; 4] {
    ["-mailserver", directory, "-password", PASSWORD]
}

impl Server {
    /// Starts one, and has it archive envelopes of both topics, some of them of the last minutes.
    fn filled(lab: &Lab, name: &str, directory: &str) -> Result<Self> {
        let peer = lab.status(name, &flags(directory))?;
        let (mut hashes, mut records) = ([BTreeSet::new(), BTreeSet::new()], Vec::new());
        for number in 0..ENVELOPES {
            for (topic, hashes) in TOPICS.iter().zip(&mut hashes) {
                let payload = hex::encode(format!("envelope {number}"));
                let sent =
                    peer.ask(&format!("send {KEY} {topic} 200 0.0005 {payload} shift=-{}", number % 20), "sent")?;
                let hash = text(&sent, "hash");
                let at = Envelope::of(&sent, "sent").context("an envelope")?.sent();
                records.push((format!("{at:08x}{}{topic}", &hash[2..]), text(&sent, "envelope").to_owned()));
                hashes.insert(hash.to_owned());
            }
        }
        let server = Self { peer, hashes, records };
        server.await_archived(2 * ENVELOPES)?;
        Ok(server)
    }

    fn await_archived(&self, count: usize) -> Result<()> {
        let mut archived = 0;
        self.peer.process().wait("all in its archive", 0, ARCHIVED, |event| {
            archived += usize::from(is(event, "archived"));
            (archived == count).then_some(())
        })
    }

    /// Where it is asked.
    fn url(&self, password: &str) -> String {
        self.peer.enode().replacen('@', &format!(":{password}@"), 1)
    }
}

/// Starts `causeway history` for the first topic.
fn asked(lab: &Lab, servers: &[String], more: &[&str]) -> Result<Process> {
    let mut arguments = vec!["history", "--topic", TOPICS[0], "--from=1h", "--json", "--sym-password=history"];
    servers.iter().for_each(|server| arguments.extend(["--server", server]));
    arguments.extend(more);
    Process::spawn("history", &lab.programs().causeway, &arguments)
}

/// The hashes that it printed, in their order; each must have been opened.
fn printed(process: &Process) -> Result<Vec<String>> {
    let mut hashes = Vec::new();
    for line in process.log().since(0) {
        let said = line["opened"]["text"].as_str().unwrap_or_default();
        ensure!(said.starts_with("envelope "), process.failure(&format!("not opened: {line}")));
        hashes.push(line["envelope"]["hash"].as_str().context("a hash")?.to_owned());
    }
    Ok(hashes)
}

/// Runs to the end, which must be good: what it printed.
fn whole(process: &Process) -> Result<Vec<String>> {
    let status = process.exit(RUN)?;
    ensure!(status.success(), process.failure(&format!("it ended with {status}")));
    printed(process)
}

/// All of them, and none twice.
fn same(what: &str, printed: &[String], expected: &BTreeSet<String>) -> Result<()> {
    let set: BTreeSet<String> = printed.iter().cloned().collect();
    ensure!(set == *expected, "{what}: {} of {} envelopes, {} lines", set.len(), expected.len(), printed.len());
    ensure!(printed.len() == set.len(), "{what}: {} lines for {} envelopes", printed.len(), set.len());
    Ok(())
}

fn path(folder: &Path) -> Result<&str> {
    folder.to_str().context("a path in Unicode")
}

/// Our client asks status-go's mail servers.
pub(super) fn asked_of_status_go(lab: &Lab) -> Result<String> {
    let (first_dir, second_dir) = (lab.data_dir("mail-first"), lab.data_dir("mail-second"));
    let second = lab.status("mail-second", &flags(path(&second_dir)?))?;
    let first = Server::filled(lab, "mail-first", path(&first_dir)?)?;
    // It is given the whole pool of the first one.
    second.ask(&format!("addpeer {}", first.peer.enode()), "ok")?;
    let second = Server { peer: second, hashes: first.hashes.clone(), records: Vec::new() };
    second.await_archived(2 * ENVELOPES)?;
    let expected = &first.hashes[0];
    let servers = [first.url(PASSWORD), second.url(PASSWORD)];

    // Several pages, cursors and all.
    let paged = asked(lab, &servers[..1], &["--all", "--page=20"])?;
    same("pages of 20", &whole(&paged)?, expected)?;
    ensure!(paged.stderr().contains("on 8 pages"), paged.failure("not eight pages"));

    let wrong = asked(lab, &[first.url("wrong")], &["--all"])?;
    ensure!(wrong.exit(RUN)?.code() == Some(1), wrong.failure("a wrong password is a failure"));
    ensure!(wrong.stderr().contains("failed to decrypt p2p request"), wrong.failure("it does not say why"));

    killed_and_resumed(lab, &servers[..1], expected)?;
    let rest = one_dies(lab, &first, &servers, expected)?;
    Ok(format!("{ENVELOPES} envelopes each: pages of 20 and of 1, resumed after SIGKILL, {rest}"))
}

/// A run that is killed, and one that goes on.
fn killed_and_resumed(lab: &Lab, servers: &[String], expected: &BTreeSet<String>) -> Result<()> {
    let file = lab.data_dir("resume.json");
    let more = ["--all", "--page=1", "--resume", path(&file)?];
    let killed = asked(lab, servers, &more)?;
    ensure!(killed.log().wait_past(ENVELOPES / 5, crate::deadline::Deadline::after(RUN))?, killed.failure("too few"));
    killed.kill()?;
    let before = printed(&killed)?;
    let resumed = asked(lab, servers, &more)?;
    let after = whole(&resumed)?;
    let both: BTreeSet<String> = before.iter().chain(&after).cloned().collect();
    ensure!(both == *expected, "resumed: {} of {} envelopes", both.len(), expected.len());
    // What of a page was printed when it was killed is printed again: at most one page.
    ensure!(before.len() + after.len() <= expected.len() + 1, "resumed: {} and {} lines", before.len(), after.len());
    ensure!(!file.exists(), "the resume file is still there");
    Ok(())
}

/// Two servers, the first of which is killed while it answers.
fn one_dies(lab: &Lab, first: &Server, servers: &[String], expected: &BTreeSet<String>) -> Result<String> {
    let both = asked(lab, servers, &["--all", "--page=1"])?;
    ensure!(both.log().wait_past(ENVELOPES / 5, crate::deadline::Deadline::after(RUN))?, both.failure("too few"));
    first.peer.process().kill()?;
    same("one of two dies", &whole(&both)?, expected)?;
    ensure!(both.stderr().contains("the connection ended"), both.failure("it does not say which was left"));
    Ok("and of two servers when the first is killed".to_owned())
}

/// What a bridge has not heard it has from status-go's archive, and status-go's client from the bridge.
pub(super) fn filled_from_status_go(lab: &Lab) -> Result<String> {
    let directory = lab.data_dir("mail-filling");
    let server = Server::filled(lab, "mail-filling", path(&directory)?)?;
    // Another life of it has nothing to pass on by gossip.
    server.peer.process().line("quit")?;
    server.peer.process().exit(RUN)?;
    let again = lab.status("mail-filling-again", &flags(path(&directory)?))?;
    let again = Server { peer: again, ..server };
    let (peer, mail) = (again.peer.enode().to_owned(), again.url(PASSWORD));
    let flags = ["--archive", "--mailserver", "--staticnode-v1", &*peer, "--backfill-v1", &*mail];
    let bridge = lab.bridge("filled-bridge", &flags)?;
    let filled = poll(RUN, || {
        let (_, body) = bridge.get("/bridge/v1/gaps").ok()?;
        let body: serde_json::Value = serde_json::from_str(&body).ok()?;
        let gaps = body["gaps"].as_array()?;
        let envelopes = gaps.iter().find(|gap| gap["direction"] == "v1_to_v2")?["missing"].as_array()?;
        let all_are = !envelopes.is_empty() && envelopes.iter().all(|missing| missing["state"] == "filled");
        all_are.then(|| envelopes.iter().filter_map(|missing| missing["count"].as_u64()).sum::<u64>())
    });
    let filled = filled.with_context(|| bridge.process().failure("its archive is not filled"))?;
    ensure!(filled == 2 * ENVELOPES as u64, "{filled} rows came of {} envelopes", 2 * ENVELOPES);
    let client = lab.status_at(&bridge, "filled-client", &[])?;
    for (topics, expected) in TOPICS.iter().zip(&again.hashes) {
        let answer = mailserver::ask(&client, &bridge, mailserver::Question { topics, ..mailserver::ALL })?;
        ensure!(answer.error.is_empty() && answer.cursor.is_empty(), "refused: {answer:?}");
        same("our mail server", &answer.hashes, expected)?;
    }
    let transfers = bridge.metric("waku_bridge_transfers_total")?;
    ensure!(transfers == Some(0.0), "{transfers:?} of it went by gossip");
    bridge.stop()?;
    Ok(format!("{filled} envelopes of its archive, and from ours the same"))
}

/// The archive of status-go's mail server becomes ours.
pub(super) fn imported_from_status_go(lab: &Lab) -> Result<String> {
    let directory = lab.data_dir("mail-imported");
    let server = Server::filled(lab, "mail-imported", path(&directory)?)?;
    let expected: BTreeSet<String> = server.hashes.iter().flatten().cloned().collect();
    let archive = format!("--archive-url=sqlite://{}", lab.data_dir("imported.sqlite3").display());
    let import = |what: &str| imported(lab, what, path(&directory)?, &archive);

    let running = causeway(lab, &["import", path(&directory)?, &archive])?;
    ensure!(running.exit(RUN)?.code() == Some(1), running.failure("the archive of a running server was read"));
    ensure!(running.stderr().contains("in use"), running.failure("it does not say why"));

    // Killed: everything is in its journal still. The next start makes tables of it, packed by snappy.
    server.peer.process().kill()?;
    ensure!(import("killed")? == (2 * ENVELOPES as u64, 0), "not all of a killed server's archive");
    let again = lab.status("mail-again", &flags(path(&directory)?))?;
    let again = Server { peer: again, ..server };
    let history = whole(&asked(lab, &[again.url(PASSWORD)], &["--all"])?)?;
    same("a mail query of the same archive", &history, &again.hashes[0])?;
    again.peer.process().line("quit")?;
    again.peer.process().exit(RUN)?;
    ensure!(import("stopped")? == (0, 2 * ENVELOPES as u64), "the same archive is not known again");

    let exported = causeway(lab, &["export", &archive])?;
    ensure!(exported.exit(RUN)?.success(), exported.failure("no export"));
    let hashes: BTreeSet<String> =
        exported.log().since(0).iter().filter_map(|line| Some(line["envelope"]["hash"].as_str()?.to_owned())).collect();
    ensure!(hashes == expected, "{} of {} envelopes exported", hashes.len(), expected.len());
    through_postgres(lab, &again, path(&directory)?)?;
    Ok(format!("{} envelopes of journal, tables and PostgreSQL; the same by `export` and a mail query", expected.len()))
}

/// The same records in the table that status-go keeps in PostgreSQL, and an archive of ours beside it.
fn through_postgres(lab: &Lab, server: &Server, directory: &str) -> Result<()> {
    let postgres = Postgres::start(&["fsync=off", "full_page_writes=off"])?;
    let mut sql = "CREATE TABLE envelopes (id BYTEA NOT NULL UNIQUE, data BYTEA NOT NULL, topic BYTEA NOT NULL, \
         bloom BIT(512) NOT NULL);\n"
        .to_owned();
    for (key, envelope) in &server.records {
        let topic = &key[72..];
        sql.push_str(&format!(
            "INSERT INTO envelopes VALUES ('\\x{key}', '\\x{envelope}', '\\x{topic}', repeat('0', 512)::bit(512));\n"
        ));
    }
    postgres.execute(&sql)?;
    let all = 2 * ENVELOPES as u64;
    let file = format!("--archive-url=sqlite://{}", lab.data_dir("of-postgres.sqlite3").display());
    ensure!(imported(lab, "PostgreSQL", &postgres.url(), &file)? == (all, 0), "not all of PostgreSQL");
    let into = format!("--archive-url={}", postgres.url());
    ensure!(imported(lab, "into PostgreSQL", directory, &into)? == (all, 0), "not all into PostgreSQL");
    ensure!(imported(lab, "from beside it", &postgres.url(), &into)? == (0, all), "not known in PostgreSQL");
    Ok(())
}

fn causeway(lab: &Lab, arguments: &[&str]) -> Result<Process> {
    Process::spawn("causeway", &lab.programs().causeway, arguments)
}

/// How many rows of an import were new, and how many known.
fn imported(lab: &Lab, what: &str, source: &str, archive: &str) -> Result<(u64, u64)> {
    let process = causeway(lab, &["import", source, archive, "--json"])?;
    ensure!(process.exit(RUN)?.success(), process.failure(&format!("{what}: not imported")));
    let lines = process.log().since(0);
    let summary = lines.first().context("no summary")?;
    let count = |name: &str| summary[name].as_u64().with_context(|| format!("{what}: {summary}"));
    ensure!(summary["refused"].as_object().is_some_and(serde_json::Map::is_empty), "{what}: {summary}");
    Ok((count("new")?, count("known")?))
}
