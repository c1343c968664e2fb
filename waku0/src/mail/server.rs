//! The core of a mailserver: requests, pages of an archive and time go in, what to read and what to send comes out.
//! Spec: 8/WAKU-MAIL; status-go `mailserver/mailserver.go`.
//!
//! Who asks is a client, or another mailserver that wants what it lacks; both are answered alike, each in its own form ([`super::reply`]).
//!
//! A request is refused for its sender's rate before anything is decrypted. An answer goes to the connection that asked, one packet at
//! a time, and ends in exactly one completion, also when the archive fails. Of several answers the one that has had the fewest bytes
//! reads next, and behind each page there is a rest: history is for whom it may wait, and gossip finds a processor free.
//!
//! Limits: one answer a connection, [`MAX_ANSWERS`] in all, of which [`MAX_READS`] read at once, [`REST`] between two pages of several, and which hold [`MAX_HELD`]
//! bytes before no more is read; [`PACKET_TIMEOUT`] for a packet to be taken; [`MAX_METERS`] peers and addresses whose
//! requests and bytes are counted; an answer's own ([`super::answer`]).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::{ConnId, NodeId, clock::Now};

mod meter;
mod refusal;

use meter::{Meter, meter};

pub use meter::MAX_METERS;
pub use refusal::Refusal;

use super::{
    Asked, Place,
    answer::{Answer, Next},
    reply::Reply,
    request::{Form, Query, Request, RequestError, Unreadable, Wanted},
};
use crate::{
    envelope::Envelope,
    packet::{
        Code, MAX_SENT_BODY,
        p2p::{P2pRequest, Unread},
    },
    payload::{self, Key},
    peer::Remote,
    pow::Pow,
    topic::Topic,
    version::Version,
};

/// Answers under way at once.
pub const MAX_ANSWERS: usize = 64;

/// Pages read at once: the archive has few connections, and others want it too.
pub const MAX_READS: usize = 2;

/// How long a reader rests behind a page while several are answered. Ten clients that ask for a day each have 150,000 envelopes a second so, and
/// gossip a hop of one millisecond and not of six.
pub const REST: Duration = Duration::from_millis(1);

/// Bytes that all answers hold before no more is read: 64 MiB. Each read adds a page of the archive at most.
pub const MAX_HELD: usize = 64 << 20;

/// How long a packet may wait to be taken by the peer's connection. Source: status-go `mailserver/mailserver.go`, `processRequestTimeout`.
pub const PACKET_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests of one peer in a second; it may have been silent for five seconds before. Deployed clients ask as soon as a page has
/// come, a few times a second.
pub const PEER_REQUESTS_PER_SEC: u32 = 20;

/// Requests from one address in a second, as above.
pub const ADDRESS_REQUESTS_PER_SEC: u32 = 100;

/// How a server works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// With what requests are opened: the node's own key, and that of the password. Tried in their order.
    pub keys: Vec<Key>,
    /// The least work of a request's envelope.
    pub min_pow: Pow,
    /// The order of answers: status-go's is oldest first with LevelDB, newest first with PostgreSQL.
    pub newest_first: bool,
    /// How long a peer waits between two requests; zero for as long as [`PEER_REQUESTS_PER_SEC`] says.
    pub interval: Duration,
    /// Bytes of answers to one peer in a second; 0 is no limit.
    pub peer_bytes_per_sec: u64,
    /// Bytes of answers to one address in a second; 0 is no limit.
    pub address_bytes_per_sec: u64,
    /// The longest packet.
    pub max_packet: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            min_pow: Pow::ZERO,
            newest_first: false,
            interval: Duration::ZERO,
            peer_bytes_per_sec: 16 << 20,
            address_bytes_per_sec: 64 << 20,
            max_packet: MAX_SENT_BODY,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Where the answer goes.
    pub conn: ConnId,
    /// Whose request it is, for the meters.
    pub remote: Remote,
    /// Its client's name, by which the form of a completion is chosen.
    pub client_id: String,
    /// What is spoken with it, by which envelopes are packed.
    pub version: Version,
}

/// Names an answer under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A page to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// When they were sent: unix seconds, both of which belong to it.
    pub sent: RangeInclusive<u32>,
    /// Of these topics; of any if there are none.
    pub topics: Vec<Topic>,
    /// Go on behind this place.
    pub after: Option<Place>,
    /// The newest first, or the oldest?
    pub newest_first: bool,
    /// Envelopes at most.
    pub rows: usize,
}

/// A page that was read.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Envelopes in the order that was asked for.
    pub envelopes: Vec<Arc<Envelope>>,
    /// Where it ends; `None` for an empty page.
    pub last: Option<Place>,
    /// There are more behind it.
    pub more: bool,
}

/// The archive could not be read. Why is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveFailed;

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Step {
    /// Read which topics there are; the answer is for [`Server::topics`].
    Topics {
        /// For whom.
        ticket: Ticket,
        /// Of envelopes sent at these times.
        sent: RangeInclusive<u32>,
        /// Beyond this one, ascending, at most [`super::answer::TOPIC_STEP`].
        after: Option<Topic>,
    },
    /// Read a page; the answer is for [`Server::page`].
    Page {
        /// For whom.
        ticket: Ticket,
        /// Which.
        page: PageQuery,
    },
    /// Send a packet. With a ticket, what became of it is for [`Server::taken`]; without, nobody waits.
    Send {
        /// Of which answer.
        ticket: Option<Ticket>,
        /// To whom.
        conn: ConnId,
        /// Which packet.
        code: Code,
        /// Its body.
        body: Bytes,
    },
    /// An answer has ended, or a request was refused.
    Ended {
        /// To whom.
        asker: Asker,
        /// In which form.
        reply: Reply,
        /// How.
        how: Ended,
    },
}

/// How an answer has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// All of it was sent.
    Answered {
        /// So many envelopes.
        envelopes: usize,
        /// It took so long.
        took: Duration,
    },
    /// It was not begun.
    Refused(Refusal),
    /// The archive failed, and the peer was told.
    ArchiveFailed,
    /// The peer reads no more, or is gone.
    Left,
}

/// A mailserver without an archive, sockets or clocks.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    answers: BTreeMap<Ticket, Running>,
    by_conn: HashMap<ConnId, Ticket>,
    reads: usize,
    /// Readers that rest, and until when, in that order.
    resting: VecDeque<Instant>,
    peers: HashMap<NodeId, Meter>,
    addresses: HashMap<IpAddr, Meter>,
    next_ticket: u64,
    queries: Queries,
    steps: VecDeque<Step>,
}

/// Answers begun, by what was asked for: a filter, from the beginning of its time and from a cursor; topics, likewise.
pub type Queries = [u64; 4];

/// An answer, and where it stands.
#[derive(Debug)]
struct Running {
    answer: Answer,
    began: Instant,
    /// Bytes it has had, counted from what the others had when it began.
    share: u64,
    is_reading: bool,
    has_failed: bool,
    on_its_way: Option<OnItsWay>,
}

/// A packet that was handed out.
#[derive(Debug, Clone, Copy)]
struct OnItsWay {
    until: Instant,
    is_last: bool,
}

impl Server {
    /// A server that nobody has asked anything.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            answers: BTreeMap::new(),
            by_conn: HashMap::new(),
            reads: 0,
            resting: VecDeque::new(),
            peers: HashMap::new(),
            addresses: HashMap::new(),
            next_ticket: 0,
            queries: Queries::default(),
            steps: VecDeque::new(),
        }
    }

    /// Answers under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.answers.len()
    }

    /// Answers begun since the start.
    #[must_use]
    pub fn queries(&self) -> Queries {
        self.queries
    }

    /// A request has come.
    pub fn asked(&mut self, now: Now, asker: Asker, asked: Asked) {
        let reply = Reply::to(&asked);
        match self.admit(now, &asker, asked) {
            Ok(query) => self.begin(now.instant, asker, reply, query),
            Err(refusal) => {
                self.tell_failure(&asker, reply, &refusal.to_string());
                self.steps.push_back(Step::Ended { asker, reply, how: Ended::Refused(refusal) });
            }
        }
        self.go_on(now.instant);
    }

    fn admit(&mut self, now: Now, asker: &Asker, asked: Asked) -> Result<Query, Refusal> {
        let Settings { interval, peer_bytes_per_sec, address_bytes_per_sec, .. } = self.settings;
        let (at, Remote { ip, node }) = (now.instant, asker.remote);
        meter(&mut self.peers, at, node)?.take(at, PEER_REQUESTS_PER_SEC, interval, peer_bytes_per_sec)?;
        let address = meter(&mut self.addresses, at, ip)?;
        address.take(at, ADDRESS_REQUESTS_PER_SEC, Duration::ZERO, address_bytes_per_sec)?;
        if let Some(ticket) = self.by_conn.get(&asker.conn).copied() {
            let has_its_end =
                self.answers.get(&ticket).is_some_and(|running| running.on_its_way.is_some_and(|way| way.is_last));
            if !has_its_end {
                return Err(Refusal::StillAnswering);
            }
            // Who has read a completion may ask again before we hear that it was sent.
            self.end(at, ticket);
        }
        if self.answers.len() >= MAX_ANSWERS {
            return Err(Refusal::Busy);
        }
        match asked {
            Asked::History(request) => self.query(now, request),
            Asked::Sync(request) => Ok(request.into()),
        }
    }

    fn query(&self, now: Now, request: Result<P2pRequest, Unread>) -> Result<Query, Refusal> {
        let unread = |unread: Unread| RequestError::Unreadable(Unreadable::Item(unread.error));
        let (request, form) = match request.map_err(unread)? {
            P2pRequest::Plain(plain) => (Request::from(plain), Form::Plain),
            P2pRequest::Sealed(envelope) => self.open(&envelope)?,
        };
        let secs = u32::try_from(now.unix_secs()).unwrap_or(u32::MAX);
        Ok(request.query(form, secs)?)
    }

    fn open(&self, envelope: &Envelope) -> Result<(Request, Form), Refusal> {
        if envelope.pow() < self.settings.min_pow {
            return Err(Refusal::LowPow);
        }
        let opened = self.settings.keys.iter().find_map(|key| payload::open(envelope.data(), key).ok());
        let opened = opened.ok_or(Refusal::Undecryptable)?;
        // Whose signature it is does not matter: deployed servers never compare it.
        if opened.signer().is_none() {
            return Err(Refusal::Unsigned);
        }
        Ok(Request::decode(&opened.payload)?)
    }

    fn begin(&mut self, now: Instant, asker: Asker, reply: Reply, query: Query) {
        let by_topics = matches!(query.wanted, Wanted::Topics(_));
        self.queries[2 * usize::from(by_topics) + usize::from(query.cursor.is_some())] += 1;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.by_conn.insert(asker.conn, ticket);
        let share = self.answers.values().map(|running| running.share).min().unwrap_or_default();
        let max_packet = self.settings.max_packet.min(MAX_SENT_BODY);
        let answer = Answer::new(asker, reply, query, self.settings.newest_first, max_packet);
        self.answers.insert(
            ticket,
            Running { answer, began: now, share, is_reading: false, has_failed: false, on_its_way: None },
        );
    }

    /// Topics were read.
    pub fn topics(&mut self, now: Now, ticket: Ticket, topics: Result<Vec<Topic>, ArchiveFailed>) {
        self.read(now, ticket, topics, |answer, topics| answer.take_topics(&topics));
    }

    /// A page was read.
    pub fn page(&mut self, now: Now, ticket: Ticket, page: Result<Page, ArchiveFailed>) {
        self.read(now, ticket, page, |answer, page| answer.take_page(&page));
    }

    fn read<T>(&mut self, now: Now, ticket: Ticket, read: Result<T, ArchiveFailed>, take: impl FnOnce(&mut Answer, T)) {
        self.reads = self.reads.saturating_sub(1);
        if self.answers.len() > 1 {
            self.resting.push_back(now.instant + REST);
        }
        if let Some(running) = self.answers.get_mut(&ticket) {
            running.is_reading = false;
            match read {
                Ok(read) => take(&mut running.answer, read),
                Err(ArchiveFailed) => {
                    running.answer.fail("the archive can't be read");
                    running.has_failed = true;
                }
            }
        }
        self.go_on(now.instant);
    }

    /// The peer's connection has taken a packet, or will not.
    pub fn taken(&mut self, now: Now, ticket: Ticket, taken: bool) {
        let way = self.answers.get_mut(&ticket).and_then(|running| running.on_its_way.take());
        match way {
            Some(_) if !taken => self.leave(ticket),
            Some(OnItsWay { is_last: true, .. }) => self.end(now.instant, ticket),
            Some(_) | None => {}
        }
        self.go_on(now.instant);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        let stuck = |running: &Running| running.on_its_way.is_some_and(|way| way.until <= now.instant);
        let stuck: Vec<Ticket> =
            self.answers.iter().filter(|(_, running)| stuck(running)).map(|(ticket, _)| *ticket).collect();
        for ticket in stuck {
            let Some(running) = self.answers.get(&ticket) else { continue };
            // Of a completion that waits for so long there is no second.
            if running.on_its_way.is_some_and(|way| !way.is_last) {
                let (asker, reply) = (running.answer.asker.clone(), running.answer.reply);
                self.tell_failure(&asker, reply, "the answer was not read for a minute");
            }
            self.leave(ticket);
        }
        self.go_on(now.instant);
    }

    /// When the next tick is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let taken = self.answers.values().filter_map(|running| Some(running.on_its_way?.until)).min();
        taken.into_iter().chain(self.resting.front().copied()).min()
    }

    /// The next thing to do.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Hands out packets, and lets answers read on.
    fn go_on(&mut self, now: Instant) {
        let tickets: Vec<Ticket> = self.answers.keys().copied().collect();
        tickets.into_iter().for_each(|ticket| self.send_next(now, ticket));
        while self.resting.pop_front_if(|until| *until <= now).is_some() {}
        while self.reads + self.resting.len() < MAX_READS && self.held() < MAX_HELD {
            let Some((ticket, next)) = self.next_reader() else { return };
            let Some(running) = self.answers.get_mut(&ticket) else { return };
            running.is_reading = true;
            self.reads += 1;
            self.steps.push_back(match next {
                Next::Topics(after) => Step::Topics { ticket, sent: running.answer.sent(), after },
                Next::Page(page) => Step::Page { ticket, page },
            });
        }
    }

    /// Of those that have something to read the one that has had the least.
    fn next_reader(&self) -> Option<(Ticket, Next)> {
        let waiting = self.answers.iter().filter(|(_, running)| !running.is_reading);
        let waiting = waiting.filter_map(|(ticket, running)| Some((running.share, *ticket, running.answer.next()?)));
        waiting.min_by_key(|(share, ticket, _)| (*share, *ticket)).map(|(_, ticket, next)| (ticket, next))
    }

    fn held(&self) -> usize {
        self.answers.values().map(|running| running.answer.held()).sum()
    }

    fn send_next(&mut self, now: Instant, ticket: Ticket) {
        let Some(running) = self.answers.get_mut(&ticket) else { return };
        if running.on_its_way.is_some() {
            return;
        }
        let Some((code, body, is_last)) = running.answer.next_packet() else { return };
        running.on_its_way = Some(OnItsWay { until: now + PACKET_TIMEOUT, is_last });
        running.share += body.len() as u64;
        let Asker { conn, remote, .. } = running.answer.asker;
        let (len, settings) = (body.len() as u64, &self.settings);
        if let Some(meter) = self.peers.get_mut(&remote.node) {
            meter.bytes.take(now, settings.peer_bytes_per_sec, len);
        }
        if let Some(meter) = self.addresses.get_mut(&remote.ip) {
            meter.bytes.take(now, settings.address_bytes_per_sec, len);
        }
        self.steps.push_back(Step::Send { ticket: Some(ticket), conn, code, body });
    }

    fn tell_failure(&mut self, asker: &Asker, reply: Reply, text: &str) {
        let (code, body) = reply.failed(&asker.client_id, text);
        self.steps.push_back(Step::Send { ticket: None, conn: asker.conn, code, body });
    }

    fn end(&mut self, now: Instant, ticket: Ticket) {
        if let Some(Running { answer, began, has_failed, .. }) = self.forget(ticket) {
            let took = now.saturating_duration_since(began);
            let answered = Ended::Answered { envelopes: answer.envelopes, took };
            let how = if has_failed { Ended::ArchiveFailed } else { answered };
            self.steps.push_back(Step::Ended { asker: answer.asker, reply: answer.reply, how });
        }
    }

    fn leave(&mut self, ticket: Ticket) {
        if let Some(Running { answer, .. }) = self.forget(ticket) {
            self.steps.push_back(Step::Ended { asker: answer.asker, reply: answer.reply, how: Ended::Left });
        }
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Running> {
        let running = self.answers.remove(&ticket)?;
        self.by_conn.remove(&running.answer.asker.conn);
        Some(running)
    }
}

#[cfg(test)]
mod tests;
