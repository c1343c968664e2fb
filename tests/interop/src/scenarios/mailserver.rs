//! Our mailserver, asked by status-go's own client.

use super::Lab;
use crate::causeway::Causeway;
use crate::deadline::poll;
use crate::gossip::{EASY, Post, post};
use crate::payloads::bytes;
use crate::postgres::Postgres;
use crate::process::{is, text};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

const TOPIC: &str = "d2000001";
const OTHER: &str = "d2000002";
/// What every deployed client knows.
const PASSWORD: &str = "pw:status-offline-inbox";
/// Envelopes on [`TOPIC`], and on [`OTHER`].
const WANTED: usize = 40;
const UNWANTED: usize = 10;
/// Envelopes on a page.
const PAGE: usize = 7;
/// From a request to its completion.
const ANSWER: Duration = Duration::from_secs(30);
/// Until all that was posted is in the archive.
const ARCHIVED: Duration = Duration::from_secs(60);

/// What came of one request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) hashes: Vec<String>,
    packets: usize,
    /// Hex; empty for none.
    pub(super) cursor: String,
    pub(super) error: String,
}

/// What is asked, beside the times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) key: &'a str,
    pub(super) topics: &'a str,
    pub(super) limit: usize,
    pub(super) cursor: &'a str,
    pub(super) batch: bool,
}

pub(super) const ALL: Question<'_> = Question { key: PASSWORD, topics: TOPIC, limit: 0, cursor: "", batch: true };

pub(super) fn ask(client: &StatusPeer, server: &Causeway, question: Question<'_>) -> Result<Answer> {
    let Question { key, topics, limit, cursor, batch } = question;
    let cursor = if cursor.is_empty() { "none" } else { cursor };
    let (process, from) = (client.process(), client.process().log().len());
    let line = format!("mail {} {key} 0 4000000000 {topics} {limit} {cursor} {batch}", server.enode());
    let asked = client.ask(&line, "mail-asked")?;
    let request = text(&asked, "request").trim_start_matches("0x").to_owned();
    let (mut hashes, mut packets) = (Vec::new(), 0);
    process
        .wait("completion of a request for history", from, ANSWER, |e| {
            if is(e, "mail-arrived") {
                packets += 1;
                hashes.extend(text(e, "hashes").split(',').map(str::to_owned));
            }
            let is_end = is(e, "mail-completed") && text(e, "request").trim_start_matches("0x") == request;
            is_end.then(|| (text(e, "cursor").to_owned(), text(e, "error").to_owned()))
        })
        .map(|(cursor, error)| Answer { hashes, packets, cursor, error })
}

/// All pages of a question, the first from one server and the others from the servers in turns.
fn pages(clients: &[(&StatusPeer, &Causeway)], question: Question<'_>) -> Result<Vec<String>> {
    let (mut hashes, mut cursor) = (Vec::new(), String::new());
    for (client, server) in clients.iter().cycle() {
        let answer = ask(client, server, Question { cursor: &cursor, ..question })?;
        ensure!(answer.error.is_empty(), "a page is refused: {}", answer.error);
        ensure!(hashes.len() <= WANTED, "more came than was posted");
        hashes.extend(answer.hashes);
        cursor = answer.cursor;
        if cursor.is_empty() {
            break;
        }
    }
    Ok(hashes)
}

fn post_all(from: &StatusPeer) -> Result<Vec<Envelope>> {
    let posts = |topic, count: usize, seed: u64| -> Vec<Post<'_>> {
        (0..count as u64).map(|i| Post { topic, pow: EASY, payload: bytes(200, seed + i) }).collect()
    };
    let mut wanted = post(from, &posts(TOPIC, WANTED, 1 << 32))?;
    post(from, &posts(OTHER, UNWANTED, 2 << 32))?;
    wanted.sort_by_key(|envelope| (envelope.sent(), envelope.hash.clone()));
    Ok(wanted)
}

fn await_archived(server: &Causeway) -> Result<()> {
    await_rows(server, WANTED + UNWANTED)
}

/// Until so many envelopes are in its archive.
pub(super) fn await_rows(server: &Causeway, count: usize) -> Result<()> {
    let all = count as f64;
    let mut seen = None;
    let archived = poll(ARCHIVED, || {
        seen = server.metric("mailserver_archived_envelopes_total").ok().flatten();
        (seen == Some(all)).then_some(())
    });
    archived.with_context(|| server.process().failure(&format!("{seen:?} envelopes in its archive, not {all}")))
}

fn hashes_of(envelopes: &[Envelope]) -> Vec<String> {
    envelopes.iter().map(|envelope| envelope.hash.clone()).collect()
}

/// Everything that a client of status-go can ask.
pub(super) fn asked_by_status_go(lab: &Lab) -> Result<String> {
    let server = lab.mailserver("mail-server", &[])?;
    let poster = lab.status_at(&server, "mail-poster", &[])?;
    let posted = post_all(&poster)?;
    await_archived(&server)?;
    let expected = hashes_of(&posted);
    let client = lab.status_at(&server, "mail-client", &[])?;
    let node_key = server.enode().trim_start_matches("enode://").split('@').next().unwrap_or_default().to_owned();
    let node_key = format!("pub:04{node_key}");
    for key in [PASSWORD, &*node_key, "plain"] {
        let answer = ask(&client, &server, Question { key, ..ALL }).with_context(|| format!("with {key:.10}"))?;
        ensure!(answer.error.is_empty() && answer.cursor.is_empty(), "with {key:.10}: {answer:?}");
        ensure!(answer.hashes == expected, "with {key:.10} other envelopes came, or in another order");
    }
    let everything = ask(&client, &server, Question { topics: "none", ..ALL })?;
    ensure!(everything.hashes.len() == WANTED + UNWANTED, "by a full filter: {everything:?}");
    let single = ask(&client, &server, Question { batch: false, ..ALL })?;
    ensure!(single.packets == WANTED && single.hashes == expected, "without batches: {} packets", single.packets);
    let paged = pages(&[(&client, &server)], Question { limit: PAGE, ..ALL })?;
    ensure!(paged == expected, "pages brought other envelopes, or in another order");
    let wrong = ask(&client, &server, Question { key: "pw:guessed", ..ALL })?;
    ensure!(wrong.error.contains("failed to decrypt"), "a wrong password: {wrong:?}");
    let greedy = ask(&client, &server, Question { limit: 1_001, ..ALL })?;
    ensure!(greedy.error.contains("limit exceeds the maximum allowed value"), "a limit of 1001: {greedy:?}");
    server.stop()?;
    // The same archive, the other way round.
    let server = lab.mailserver("mail-server", &["--mail-order=newest-first"])?;
    let client = lab.status_at(&server, "mail-client-2", &[])?;
    let paged = pages(&[(&client, &server)], Question { limit: PAGE, ..ALL })?;
    ensure!(paged.iter().eq(expected.iter().rev()), "newest first: other envelopes, or in another order");
    server.stop()?;
    Ok(format!("{WANTED} of {} envelopes, in 3 forms, in pages of {PAGE}, in both orders", WANTED + UNWANTED))
}

/// Two servers that hear the same envelopes and keep them in one place.
pub(super) fn two_on_one_database(lab: &Lab) -> Result<String> {
    // Nobody cuts the power here, so nothing need reach the disk.
    let database = Postgres::start(&["fsync=off", "full_page_writes=off"])?;
    let url = format!("--archive-url={}", database.url());
    let order = "--mail-order=newest-first";
    let one = lab.mailserver("mail-one", &[&url, order])?;
    let two = lab.mailserver("mail-two", &[&url, order, "--staticnode-v1", one.enode()])?;
    let poster = lab.status_at(&one, "mail-both", &["-dial", two.enode()])?;
    poster.await_session(two.enode())?;
    let posted = post_all(&poster)?;
    await_archived(&one)?;
    await_archived(&two)?;
    let clients = (lab.status_at(&one, "mail-asks-one", &[])?, lab.status_at(&two, "mail-asks-two", &[])?);
    let turns = [(&clients.0, &one), (&clients.1, &two)];
    let paged = pages(&turns, Question { limit: PAGE, ..ALL })?;
    ensure!(paged.iter().eq(hashes_of(&posted).iter().rev()), "the pages of both together are not what was posted");
    let stored =
        |server: &Causeway| Ok::<_, anyhow::Error>(server.metric("archive_rows_stored_total")?.unwrap_or_default());
    let both = [stored(&one)?, stored(&two)?];
    ensure!(both.iter().sum::<f64>() == (WANTED + UNWANTED) as f64, "{both:?} rows stored: not each once");
    one.stop()?;
    two.stop()?;
    Ok(format!("{WANTED} envelopes in pages of {PAGE} from two servers in turns"))
}
