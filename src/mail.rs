//! The mailserver as the program runs it: [`waku0::mail::server`] over an archive and a node.
//!
//! One task holds the core; pages are read, and packets handed over, in tasks of their own, so that a slow disk or peer holds up
//! nobody else. A second task hands new envelopes to the archive.
//!
//! Limits: [`REQUESTS`] requests and [`ENVELOPES`] envelopes wait; the core's for everything else.

use std::{
    collections::HashMap,
    future::pending,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use archive::{Mail, Query, View, query::seconds};
use bridge::histogram::Histogram;
use devp2p::{ConnId, clock::now};
use tokio::{
    sync::mpsc,
    task::{Id, JoinHandle, JoinSet},
    time::sleep_until,
};
use waku0::{
    Envelope, Topic,
    handle::MailRequest,
    mail::{
        Asked, Place,
        answer::TOPIC_STEP,
        reply::Reply,
        server::{ArchiveFailed, Asker, Ended, Page, PageQuery, Queries, Server, Settings, Step, Ticket},
    },
    packet::{Code, MAX_SENT_BODY},
};

use crate::{rows, storage::archive::History};

/// Requests on their way from the node. Full: the node answers that the server is busy.
pub const REQUESTS: usize = 256;
/// Envelopes on their way to the archive. A peer that has just connected hands over a pool of thousands. Full: shed and counted.
pub const ENVELOPES: usize = 8_192;
/// Envelopes handed to the archive together.
const BATCH: usize = 256;

/// Bounds of times, in seconds. Source: the default of Prometheus's Go client, which statusd has.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds of packets, in bytes. Source: status-go `mailserver/metrics.go`.
const PACKET_BYTES: &[f64] =
    &[1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0, 268_435_456.0];
/// Bounds of envelopes, in bytes. Source: as above.
const ENVELOPE_BYTES: &[f64] =
    &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0, 262_144.0, 524_288.0, 1_048_576.0];

/// Kinds of failed requests, as metrics name them.
pub const FAILURES: [&str; 7] = ["rate_limit", "still_answering", "busy", "validation", "request", "archive", "left"];

/// Kinds of answers begun, in the order of [`Queries`]: by a whole filter or by some topics, of a whole range or of what is left of it. Source:
/// status-go `mailserver/mailserver_db_postgres.go`, `BuildIterator`, where both words are labels.
const QUERIES: [(&str, &str); 4] = [("full", "full"), ("full", "partial"), ("partial", "full"), ("partial", "partial")];

/// Requests that failed, by [`FAILURES`].
#[derive(Debug, Default)]
pub struct Failures([AtomicU64; FAILURES.len()]);

impl Failures {
    fn count(&self, kind: &str) {
        let place = FAILURES.iter().position(|known| *known == kind);
        if let Some(failures) = place.and_then(|place| self.0.get(place)) {
            failures.fetch_add(1, Relaxed);
        }
    }

    /// Each kind, and how many there were.
    pub fn by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FAILURES.iter().zip(&self.0).map(|(kind, failures)| (*kind, failures.load(Relaxed)))
    }
}

/// What a mailserver counts.
#[derive(Debug)]
pub struct Stats {
    /// Requests of clients that came to the server.
    pub requests: AtomicU64,
    /// Requests of other mailservers.
    pub syncs: AtomicU64,
    /// Packets with several envelopes, or that may have them.
    pub packets: AtomicU64,
    /// Envelopes sent.
    pub sent: AtomicU64,
    /// Answers under way, now.
    pub running: AtomicU64,
    /// Requests of clients that failed.
    pub failures: Failures,
    /// Requests of other mailservers that failed.
    pub sync_failures: Failures,
    /// Answers begun, by [`QUERIES`].
    queries: [AtomicU64; QUERIES.len()],
    /// How long an answer took, in seconds.
    pub took: Histogram,
    /// How long a packet waited for its connection, in seconds.
    pub packet_took: Histogram,
    /// How long it took to read a page, in seconds.
    pub page_took: Histogram,
    /// Lengths of packets of envelopes.
    pub packet_bytes: Histogram,
    /// Lengths of envelopes that were archived.
    pub archived_bytes: Histogram,
}

impl Stats {
    fn new() -> Self {
        Self {
            requests: AtomicU64::default(),
            syncs: AtomicU64::default(),
            packets: AtomicU64::default(),
            sent: AtomicU64::default(),
            running: AtomicU64::default(),
            failures: Failures::default(),
            sync_failures: Failures::default(),
            queries: Default::default(),
            took: Histogram::new(SECONDS),
            packet_took: Histogram::new(SECONDS),
            page_took: Histogram::new(SECONDS),
            packet_bytes: Histogram::new(PACKET_BYTES),
            archived_bytes: Histogram::new(ENVELOPE_BYTES),
        }
    }

    fn failed(&self, reply: Reply, kind: &str) {
        match reply {
            Reply::Client { .. } => self.failures.count(kind),
            Reply::Mailserver => self.sync_failures.count(kind),
        }
    }

    fn set_queries(&self, queries: Queries) {
        self.queries.iter().zip(queries).for_each(|(sum, now)| sum.store(now, Relaxed));
    }

    /// Answers begun, by how much of the topics and of the range was asked for: "full" or "partial".
    pub fn queries(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> + '_ {
        QUERIES.iter().zip(&self.queries).map(|(kind, sum)| (*kind, sum.load(Relaxed)))
    }
}

/// A running mailserver.
#[derive(Debug)]
pub struct Mailserver {
    /// What it counts.
    pub stats: Arc<Stats>,
    /// What it reads and writes.
    pub history: History,
    /// Answers; ends with the node.
    pub server: JoinHandle<()>,
    /// Archives; ends with the node. `None` where that is done otherwise.
    pub archiver: Option<JoinHandle<()>>,
}

impl Mailserver {
    /// Starts it: what the node takes in comes by the channels.
    #[must_use]
    pub fn start(
        settings: Settings,
        history: History,
        node: waku0::Handle,
        requests: mpsc::Receiver<MailRequest>,
        envelopes: Option<mpsc::Receiver<Arc<Envelope>>>,
    ) -> Self {
        keep_freed_memory();
        let stats = Arc::new(Stats::new());
        let shell = Shell {
            server: Server::new(settings),
            history: history.clone(),
            node,
            work: Tasks::default(),
            stats: Arc::clone(&stats),
        };
        let server = tokio::spawn(shell.run(requests));
        let archiver = envelopes.map(|envelopes| tokio::spawn(archive(history.clone(), envelopes, Arc::clone(&stats))));
        Self { stats, history, server, archiver }
    }
}

/// An answer takes some hundred KiB for each of its pages, and gives them back. glibc hands freed memory to the system from 128 KiB on, to have
/// it cleared anew for the next page, a tenth of what an answer costs; but no less than twice the largest block that was ever freed (mallopt(3),
/// `M_TRIM_THRESHOLD`). So one of a packet's greatest length is freed here at once, as it would be sooner or later. Elsewhere it does nothing.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(MAX_SENT_BODY)));
}

/// Hands over what comes, in batches. The archive's own queue lets this wait, and then the node sheds.
async fn archive(history: History, mut inbox: mpsc::Receiver<Arc<Envelope>>, stats: Arc<Stats>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut last = None;
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        for envelope in batch.drain(..) {
            stats.archived_bytes.record(envelope.raw().len() as f64);
            match history.writer().hand_in(rows::of_envelope(&envelope, None, now().unix_secs())).await {
                Ok(pending) => last = Some(pending),
                Err(_) => return, // The archive is closed.
            }
        }
    }
    if let Some(last) = last {
        // Rows are written in their order; whether one could not be is counted by the writer.
        let _ = last.durable().await;
    }
}

/// The task that holds the core.
struct Shell {
    server: Server,
    history: History,
    node: waku0::Handle,
    /// What is being read and sent, as much as the core allows.
    work: Tasks,
    stats: Arc<Stats>,
}

/// What has been read or sent.
#[derive(Debug)]
enum Done {
    Topics(Ticket, Result<Vec<Topic>, ArchiveFailed>),
    Page(Ticket, Result<Page, ArchiveFailed>),
    Sent(Option<Ticket>, bool),
}

/// What a task does, and for which answer.
#[derive(Debug, Clone, Copy)]
enum Work {
    Topics(Ticket),
    Page(Ticket),
    Send(Option<Ticket>),
}

impl Work {
    /// What has come of it when its task has panicked: an answer ends all the same.
    const fn broken(self) -> Done {
        match self {
            Self::Topics(ticket) => Done::Topics(ticket, Err(ArchiveFailed)),
            Self::Page(ticket) => Done::Page(ticket, Err(ArchiveFailed)),
            Self::Send(ticket) => Done::Sent(ticket, false),
        }
    }
}

/// Tasks, each of which brings something about, whatever becomes of it.
#[derive(Debug, Default)]
struct Tasks {
    running: JoinSet<Done>,
    work: HashMap<Id, Work>,
}

impl Tasks {
    fn start(&mut self, work: Work, task: impl Future<Output = Done> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.work.insert(id, work);
    }

    /// The next that is done; `None` when none is under way. Safe to cancel.
    async fn next(&mut self) -> Option<Done> {
        match self.running.join_next_with_id().await? {
            Ok((id, done)) => {
                self.work.remove(&id);
                Some(done)
            }
            Err(error) => {
                let work = self.work.remove(&error.id())?;
                tracing::error!(%error, ?work, "a task of the mailserver has failed");
                Some(work.broken())
            }
        }
    }
}

impl Shell {
    async fn run(mut self, mut requests: mpsc::Receiver<MailRequest>) {
        loop {
            self.carry();
            let wake_at = self.server.wake_at();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.ask(request),
                    None => return,
                },
                Some(done) = self.work.next() => self.done(done),
                () = wake(wake_at) => self.server.tick(now()),
            }
            self.stats.running.store(self.server.running() as u64, Relaxed);
            self.stats.set_queries(self.server.queries());
        }
    }

    fn ask(&mut self, MailRequest { conn, remote, client_id, version, asked }: MailRequest) {
        let sum = match &asked {
            Asked::History(_) => &self.stats.requests,
            Asked::Sync(_) => &self.stats.syncs,
        };
        sum.fetch_add(1, Relaxed);
        self.server.asked(now(), Asker { conn, remote, client_id, version }, asked);
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Topics(ticket, topics) => self.server.topics(now(), ticket, topics),
            Done::Page(ticket, page) => self.server.page(now(), ticket, page),
            Done::Sent(Some(ticket), sent) => self.server.taken(now(), ticket, sent),
            Done::Sent(None, _) => {}
        }
    }

    fn carry(&mut self) {
        while let Some(step) = self.server.next_step() {
            match step {
                Step::Topics { ticket, sent, after } => {
                    let history = self.history.clone();
                    let read = async move { Done::Topics(ticket, topics(&history, &sent, after).await) };
                    self.work.start(Work::Topics(ticket), read);
                }
                Step::Page { ticket, page: query } => {
                    let (history, stats) = (self.history.clone(), Arc::clone(&self.stats));
                    self.work.start(Work::Page(ticket), async move {
                        let began = now().instant;
                        let read = page(&history, query).await;
                        stats.page_took.record(seconds_since(began));
                        Done::Page(ticket, read)
                    });
                }
                Step::Send { ticket, conn, code, body } => self.send(ticket, conn, code, body),
                Step::Ended { asker, reply, how } => self.ended(&asker, reply, &how),
            }
        }
    }

    fn send(&mut self, ticket: Option<Ticket>, conn: ConnId, code: Code, body: bytes::Bytes) {
        if code == Code::P2pMessage {
            self.stats.packets.fetch_add(1, Relaxed);
            self.stats.packet_bytes.record(body.len() as f64);
        }
        let (node, stats) = (self.node.clone(), Arc::clone(&self.stats));
        self.work.start(Work::Send(ticket), async move {
            let began = now().instant;
            let sent = node.mail(conn, code, body).await.is_ok();
            stats.packet_took.record(seconds_since(began));
            Done::Sent(ticket, sent)
        });
    }

    fn ended(&self, asker: &Asker, reply: Reply, how: &Ended) {
        let conn = asker.conn.0;
        match how {
            Ended::Answered { envelopes, took } => {
                self.stats.took.record(took.as_secs_f64());
                self.stats.sent.fetch_add(*envelopes as u64, Relaxed);
                tracing::debug!(conn, envelopes, ms = took.as_millis(), "history was sent");
            }
            Ended::Refused(refusal) => {
                self.stats.failed(reply, refusal.name());
                tracing::debug!(conn, %refusal, "a request for history is refused");
            }
            Ended::ArchiveFailed => self.stats.failed(reply, "archive"),
            Ended::Left => {
                self.stats.failed(reply, "left");
                tracing::debug!(conn, "a peer has left, or stopped reading, before its history was sent");
            }
        }
    }
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

fn seconds_since(began: Instant) -> f64 {
    now().instant.saturating_duration_since(began).as_secs_f64()
}

async fn topics(
    history: &History,
    sent: &RangeInclusive<u32>,
    after: Option<Topic>,
) -> Result<Vec<Topic>, ArchiveFailed> {
    let sent = seconds(*sent.start(), *sent.end());
    let read = history.archive().topics_between(sent, after.map(|topic| topic.0), TOPIC_STEP).await;
    Ok(read.map_err(failed)?.into_iter().map(Topic).collect())
}

async fn page(history: &History, query: PageQuery) -> Result<Page, ArchiveFailed> {
    let after =
        query.after.map(|place| archive::EnvelopePosition { sent_secs: place.sent, hash: *place.hash.as_bytes() });
    let view = View::Envelopes { after, topics: query.topics.into_iter().map(|topic| topic.0).collect() };
    let sent_ns = seconds(*query.sent.start(), *query.sent.end());
    let query = Query { view, newest_first: query.newest_first, sent_ns, limit: query.rows };
    let archive::MailPage { envelopes, more } = history.archive().mail_page(&query).await.map_err(failed)?;
    let last = envelopes.last().map(Mail::position);
    let last = last.map(|place| Place { sent: place.sent_secs, hash: place.hash.into() });
    // What can't be made is left out; the next page begins behind it all the same.
    Ok(Page { envelopes: rows::envelopes(&envelopes).into_iter().map(Arc::new).collect(), last, more })
}

fn failed(error: archive::Error) -> ArchiveFailed {
    tracing::error!(%error, "the archive can't be read for a request for history");
    ArchiveFailed
}

#[cfg(test)]
mod tests {
    use waku0::{
        mail::Asked,
        packet::p2p::{Completion, P2pRequest, PlainRequest},
        peer::Remote,
        version::Version,
    };

    use super::*;

    #[tokio::test]
    async fn an_answer_ends_also_when_the_task_that_reads_for_it_panics() {
        let mut server = Server::new(Settings::default());
        let remote = Remote::new([127, 0, 0, 1].into(), devp2p::NodeId::from_bytes([1; 32]));
        let asker = Asker { conn: ConnId(1), remote, client_id: "Statusd".into(), version: Version::Waku0 };
        let topics = vec![Topic([1; 4])];
        let request = PlainRequest { id: [7; 32], from: 0, to: 10, limit: 5, cursor: None, bloom: None, topics };
        server.asked(now(), asker, Asked::History(Ok(P2pRequest::Plain(request))));
        let Some(Step::Page { ticket, .. }) = server.next_step() else { panic!("nothing is read") };
        let mut tasks = Tasks::default();
        tasks.start(Work::Page(ticket), async { panic!("on purpose") });
        let Some(Done::Page(of, read)) = tasks.next().await else { panic!("nothing came of it") };
        assert_eq!(of, ticket);
        server.page(now(), of, read);
        let Some(Step::Send { code, body, .. }) = server.next_step() else { panic!("nothing is sent") };
        assert_eq!(code, Code::P2pRequestComplete);
        let said = Completion::decode(&body).unwrap();
        assert!(matches!(&said, Completion::Failed { request: [7, ..], text } if text.contains("archive")), "{said:?}");
        assert!(tasks.next().await.is_none() && tasks.work.is_empty());
    }
}
