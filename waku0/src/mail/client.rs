//! Asking for history: page by page, of one server after the other, until all of a range is here or nobody goes on.
//! Spec: 8/WAKU-MAIL, "Requesting messages".
//!
//! The core names the request ([`Action::Ask`]); the shell seals and sends it, says under which name ([`Client::asked`]), and trusts the
//! server as long as it is asked. A page ends with a completion of that name. A server that is silent, says no, or breaks its word
//! ([`Trouble`]) is left for the next, round after round, with a pause after each; who breaks his word is not asked again.
//!
//! Servers are asked one after the other, not at the same time: a page that the archive has leaves it within milliseconds, so that what takes
//! time is the connection and whoever reads the envelopes, of which there is one; and every server keeps the same, so that asking several for
//! the same would bring it several times, and for parts of it would lose the order by which a range is known to be whole.
//!
//! A cursor is opaque and of the server that gave it: it may go on from the oldest envelope or from the newest. What the next server is
//! asked for is the range, less what the former has answered: that is told from the order in which envelopes came, if they came
//! in one. The second in which it stopped is asked for again; an envelope is given away once, whoever sends it.
//!
//! Limits: [`MAX_LIMIT`] envelopes on a page; [`MAX_PAGES`] and [`MAX_ENVELOPES`] in all; [`Settings::timeout`] between two packets,
//! [`PAGE_TIMEOUT`] for a page; [`MAX_ROUNDS`] without a page.

use std::{
    collections::{HashSet, VecDeque},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use super::request::{MAX_LIMIT, Request};
use crate::{
    Now,
    bloom::Bloom,
    envelope::{Envelope, EnvelopeHash},
    packet::{
        messages::Envelopes,
        p2p::{Completion, Cursor, Direct},
    },
    topic::Topic,
};

mod page;
mod report;
mod seal;
mod session;

use page::Page;
pub use report::{Report, ServerReport};
pub use seal::{LEAST_WORK, REQUEST_TTL, SealRequestError, seal_request};
use session::Session;

/// How long a server may be silent. Source: status-go `services/ext/requests.go`, ten seconds.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a page may take altogether, however often something comes: five minutes.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(300);
/// Pages in all, from all servers: a hundred million envelopes.
pub const MAX_PAGES: u64 = 100_000;
/// Envelopes in all: their hashes are remembered, in some 500 MiB.
pub const MAX_ENVELOPES: u64 = 10_000_000;
/// Rounds over all servers in which none has answered a page.
pub const MAX_ROUNDS: u32 = 3;
/// The pause after the first such round, and twice as long after each further one. Source: status-go asks for the same topics every three
/// seconds at most.
pub const PAUSE: Duration = Duration::from_secs(3);
/// Packets of a page beyond one for each envelope: empty ones.
const SPARE_PACKETS: u64 = 100;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// When it was sent: unix seconds.
    pub sent: RangeInclusive<u32>,
    /// Its topics; of any, if there are none.
    pub topics: Vec<Topic>,
}

impl Wanted {
    fn bloom(&self) -> Bloom {
        if self.topics.is_empty() {
            return Bloom::FULL;
        }
        let mut bloom = Bloom::EMPTY;
        self.topics.iter().for_each(|topic| bloom.insert(*topic));
        bloom
    }

    fn has(&self, envelope: &Envelope) -> bool {
        self.sent.contains(&envelope.sent()) && (self.topics.is_empty() || self.topics.contains(&envelope.topic()))
    }
}

/// How it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Envelopes on a page: 1 to [`MAX_LIMIT`].
    pub page: u32,
    /// How many envelopes are wanted; at most [`MAX_ENVELOPES`].
    pub limit: u64,
    /// How long a server may be silent.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { page: MAX_LIMIT, limit: MAX_ENVELOPES, timeout: TIMEOUT }
    }
}

/// Where to go on, after a page or in another run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// What no server has answered yet.
    pub remaining: RangeInclusive<u32>,
    /// A place of one server, with the range that it was asked for.
    pub place: Option<PlaceAt>,
}

/// A place within the answer of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceAt {
    /// Which, by its number.
    pub server: usize,
    /// The range that it was asked for.
    pub asked: RangeInclusive<u32>,
    /// Its word for the place.
    pub cursor: Cursor,
}

/// What is wrong with a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It can't be reached, or the request can't be sent.
    #[error("it was not reached")]
    Unreached,
    /// The connection ended.
    #[error("the connection ended")]
    Lost,
    /// Nothing came.
    #[error("it did not answer in time")]
    Silent,
    /// It says no.
    #[error("it says: {0}")]
    Refused(String),
    /// The page ends with an envelope that did not come, or some were lost on our side.
    #[error("a page was not whole")]
    Torn,
    /// More envelopes, or packets, than were asked for.
    #[error("it sent more than was asked for")]
    TooMuch,
    /// Its cursor leads back, or to where it stands already.
    #[error("its cursor does not move on")]
    Stuck,
    /// It says that there is more behind a page with nothing on it.
    #[error("it says that there is more behind an empty page")]
    Hollow,
}

impl Trouble {
    /// No honest server does so.
    #[must_use]
    pub const fn is_breach(&self) -> bool {
        matches!(self, Self::TooMuch | Self::Stuck | Self::Hollow)
    }
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Reach this server, send it the request, and say so ([`Client::asked`]).
    Ask {
        /// Which.
        server: usize,
        /// What.
        request: Request,
    },
    /// Here is an envelope that is new.
    Deliver(Envelope),
    /// A page has ended: here is where to go on.
    Page(Resume),
    /// This server is not asked any more: trust it no longer.
    Leave {
        /// Which.
        server: usize,
        /// Why.
        why: Trouble,
    },
    /// It is over.
    End,
}

/// Asks for history. Without sockets or clocks.
#[derive(Debug)]
pub struct Client {
    wanted: Wanted,
    settings: Settings,
    bloom: Bloom,
    remaining: Option<RangeInclusive<u32>>,
    /// Servers that broke their word.
    banned: Vec<bool>,
    /// Who is asked now, or next.
    server: usize,
    session: Session,
    state: State,
    /// Servers in a row that answered no page.
    failures: u32,
    seen: HashSet<EnvelopeHash>,
    report: Report,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum State {
    /// The shell is asked to send a request.
    Asking,
    /// A page is on its way.
    Page(Box<Page>),
    /// Nobody answered; until then.
    Pause(Instant),
    Ended,
}

impl Client {
    /// Begins. `servers` is how many there are; without any it ends at once.
    #[must_use]
    pub fn new(wanted: Wanted, settings: Settings, servers: usize, resume: Option<Resume>) -> Self {
        let settings = Settings {
            page: settings.page.clamp(1, MAX_LIMIT),
            limit: settings.limit.clamp(1, MAX_ENVELOPES),
            ..settings
        };
        let (remaining, place) = match resume {
            Some(Resume { remaining, place }) => (remaining, place.filter(|place| place.server < servers)),
            None => (wanted.sent.clone(), None),
        };
        let session = match &place {
            Some(place) => Session::going_on(place.asked.clone(), place.cursor),
            None => Session::new(remaining.clone()),
        };
        let mut client = Self {
            bloom: wanted.bloom(),
            wanted,
            settings,
            remaining: Some(remaining).filter(|range| !range.is_empty()),
            banned: vec![false; servers],
            server: place.map_or(0, |place| place.server),
            session,
            state: State::Asking,
            failures: 0,
            seen: HashSet::new(),
            report: Report { servers: vec![ServerReport::default(); servers], ..Report::default() },
            actions: VecDeque::new(),
        };
        client.ask();
        client
    }

    /// The request was sent under this name. Its answer is waited for from now on.
    pub fn asked(&mut self, now: Now, name: [u8; 32]) {
        if matches!(self.state, State::Asking) {
            let limit = self.page_limit();
            self.state = State::Page(Box::new(Page::new(now.instant, name, limit)));
        }
    }

    /// The server that is to be asked can't be reached, or its connection has ended.
    pub fn lost(&mut self, now: Now, server: usize) {
        if server != self.server {
            return;
        }
        match self.state {
            // Between two pages it ends as well as within one.
            State::Asking if self.report.servers[server].pages > 0 => self.fail(now, Trouble::Lost),
            State::Asking => self.fail(now, Trouble::Unreached),
            State::Page(_) => self.fail(now, Trouble::Lost),
            State::Pause(_) | State::Ended => {}
        }
    }

    /// A packet of a server. What nobody asked for is dropped and counted.
    pub fn receive(&mut self, now: Now, server: usize, packet: Direct) {
        if server != self.server || !matches!(self.state, State::Page(_)) {
            self.report.unasked += 1;
            return;
        }
        let received = match packet {
            Direct::Envelopes(envelopes) => self.receive_envelopes(now, envelopes),
            Direct::Completion(completion) => self.receive_completion(completion),
            // What mailservers tell each other is not for us.
            Direct::SyncResponse(_) => {
                self.report.unasked += 1;
                return;
            }
        };
        if let Err(trouble) = received {
            self.fail(now, trouble);
        }
    }

    /// Packets of the server were lost on our side, so that this page is not whole.
    pub fn shed(&mut self) {
        if let State::Page(page) = &mut self.state {
            page.shed = true;
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now) {
        if self.wake_at().is_none_or(|at| at > now.instant) {
            return;
        }
        match self.state {
            State::Page(_) => self.fail(now, Trouble::Silent),
            State::Pause(_) => self.ask(),
            State::Asking | State::Ended => {}
        }
    }

    /// When the next tick is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            State::Page(page) => Some(page.deadline(self.settings.timeout)),
            State::Pause(until) => Some(*until),
            State::Asking | State::Ended => None,
        }
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Who is asked now, or next.
    #[must_use]
    pub fn server(&self) -> usize {
        self.server
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Where to go on; `None` when all is here.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        let place = self.session.cursor.map(|cursor| PlaceAt {
            server: self.server,
            asked: self.session.asked.clone(),
            cursor,
        });
        Some(Resume { remaining: self.remaining.clone()?, place })
    }

    /// How much of the range is answered, of how much, in seconds.
    #[must_use]
    pub fn covered(&self) -> (u64, u64) {
        let seconds = |range: &RangeInclusive<u32>| u64::from(range.end() - range.start()) + 1;
        let all = if self.wanted.sent.is_empty() { 0 } else { seconds(&self.wanted.sent) };
        (all - self.remaining.as_ref().map_or(0, seconds).min(all), all)
    }

    fn page_limit(&self) -> u32 {
        let left = self.settings.limit.saturating_sub(self.report.envelopes);
        u32::try_from(left).unwrap_or(u32::MAX).clamp(1, self.settings.page)
    }

    /// Asks for the next page, if anything is left and anybody is there.
    fn ask(&mut self) {
        self.report.gap.clone_from(&self.remaining);
        let is_over = self.remaining.is_none() || self.is_enough() || self.banned.iter().all(|banned| *banned);
        if is_over {
            self.report.limited = self.remaining.is_some() && self.is_enough();
            return self.end();
        }
        self.state = State::Asking;
        let request = Request {
            lower: *self.session.asked.start(),
            upper: *self.session.asked.end(),
            // The filter goes along with the topics: some servers look at it alone.
            bloom: Some(self.bloom),
            topics: self.wanted.topics.clone(),
            limit: self.page_limit(),
            cursor: self.session.cursor,
            batch: true,
        };
        self.actions.push_back(Action::Ask { server: self.server, request });
    }

    fn is_enough(&self) -> bool {
        self.report.envelopes >= self.settings.limit || self.report.pages >= MAX_PAGES
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.actions.push_back(Action::End);
    }

    fn receive_envelopes(&mut self, now: Now, envelopes: Envelopes) -> Result<(), Trouble> {
        let State::Page(page) = &mut self.state else { return Ok(()) };
        page.packet(now.instant)?;
        for read in envelopes {
            // Behind what breaks the list nothing more can be read.
            let Ok(read) = read else { return Err(Trouble::Torn) };
            page.count()?;
            let Ok(envelope) = read else {
                self.report.unreadable += 1;
                continue;
            };
            page.last = Some(envelope.hash());
            if !self.wanted.has(&envelope) || !self.session.asked.contains(&envelope.sent()) {
                // Servers that look at the filter alone send a few of these.
                self.report.unwanted += 1;
                continue;
            }
            page.order.push(envelope.sent());
            self.report.bytes += envelope.raw().len() as u64;
            if self.seen.insert(envelope.hash()) {
                self.report.envelopes += 1;
                self.actions.push_back(Action::Deliver(envelope));
            } else {
                self.report.duplicates += 1;
            }
        }
        Ok(())
    }

    fn receive_completion(&mut self, completion: Completion) -> Result<(), Trouble> {
        let State::Page(page) = &mut self.state else { return Ok(()) };
        let (request, ended) = match completion {
            Completion::Done { request, last, cursor } => (request, Ok((last, cursor))),
            Completion::Failed { request, text } => (request, Err(Trouble::Refused(text))),
        };
        if request != page.name {
            self.report.unasked += 1;
            return Ok(());
        }
        let (last, cursor) = ended?;
        if !page.is_whole(last) {
            return Err(Trouble::Torn);
        }
        self.session.page(page, cursor)?;
        self.remaining = match cursor {
            Some(_) => self.session.remaining().or_else(|| self.remaining.take()),
            None => None,
        };
        self.page_ended();
        Ok(())
    }

    fn page_ended(&mut self) {
        self.failures = 0;
        self.report.pages += 1;
        self.report.servers[self.server].pages += 1;
        if let Some(resume) = self.resume() {
            self.actions.push_back(Action::Page(resume));
        }
        self.ask();
    }

    /// Leaves a server, and asks the next one for what is left.
    fn fail(&mut self, now: Now, why: Trouble) {
        let server = &mut self.report.servers[self.server];
        server.failures += 1;
        server.last = Some(why.clone());
        self.banned[self.server] |= why.is_breach();
        self.actions.push_back(Action::Leave { server: self.server, why });
        self.failures += 1;
        let servers = self.banned.len();
        let next = (1..=servers).map(|step| (self.server + step) % servers).find(|server| !self.banned[*server]);
        let Some(next) = next else { return self.ask() };
        self.server = next;
        self.go_on_elsewhere();
        let good = u32::try_from(self.banned.iter().filter(|banned| !**banned).count()).unwrap_or(u32::MAX);
        let rounds = self.failures / good.max(1);
        if rounds >= MAX_ROUNDS {
            self.report.gap.clone_from(&self.remaining);
            return self.end();
        }
        if self.failures.is_multiple_of(good.max(1)) {
            self.state = State::Pause(now.instant + PAUSE * (1 << rounds.saturating_sub(1)));
        } else {
            self.ask();
        }
    }

    /// A cursor is of no use to another server, nor to the same one after it failed with it.
    fn go_on_elsewhere(&mut self) {
        if let Some(remaining) = &self.remaining {
            self.session = Session::new(remaining.clone());
        }
        self.state = State::Asking;
    }
}

#[cfg(test)]
mod tests;
