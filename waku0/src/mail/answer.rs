//! One answer: which pages it takes, and which packets they become.  Spec: 8/WAKU-MAIL; status-go `mailserver/mailserver.go`.
//!
//! Envelopes are gathered into bundles. A bundle is closed when the next envelope would bring it to the longest packet, and
//! when nothing else waits for the peer, so that the first envelopes leave before the last are read. The envelope that
//! reaches the limit goes alone, and its place is the cursor, as deployed servers have it.
//!
//! Limits: [`MAX_BYTES`] sent and [`MAX_SCANNED`] envelopes looked at; then the answer ends with a cursor, and the client asks on.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    Place,
    reply::Reply,
    request::{Query, Wanted},
    server::{Asker, Page, PageQuery},
};
use crate::{
    envelope::{Envelope, EnvelopeHash},
    packet::{Code, messages, p2p::Cursor},
    topic::Topic,
};

/// Bytes of envelopes in one answer: 16 MiB. A thousand envelopes of ordinary size are far below it.
pub const MAX_BYTES: usize = 16 << 20;

/// Envelopes looked at for one answer, wanted or not. Only filters that hold very many topics come near it.
pub const MAX_SCANNED: usize = 100_000;

/// Topics by which pages are asked for; with more, every envelope is read and looked at.
pub const MAX_PAGE_TOPICS: usize = 1_000;

/// Topics looked at in one step when a filter is made into topics.
pub const TOPIC_STEP: usize = 10_000;

/// Envelopes of the first page: few, so that the first packet leaves at once.
pub const FIRST_PAGE: usize = 64;

/// Envelopes of the pages behind it. Between two of them others have their turn; with fewer the turns would cost a tenth of an answer.
pub const NEXT_PAGE: usize = 250;

/// What is to be read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Topics beyond this one.
    Topics(Option<Topic>),
    /// A page.
    Page(PageQuery),
}

/// How envelopes are found.
#[derive(Debug)]
enum Plan {
    /// It is not yet known which topics the filter holds: these so far, of all up to this one.
    Resolving { held: Vec<Topic>, after: Option<Topic> },
    /// Those of these topics; with none every envelope is read, and `wanted` decides.
    Reading(Vec<Topic>),
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) asker: Asker,
    pub(super) reply: Reply,
    query: Query,
    newest_first: bool,
    /// Bytes of a packet's list of envelopes, at most.
    max_packet: usize,
    plan: Plan,
    /// Where to go on reading.
    after: Option<Place>,
    /// Envelopes until the limit.
    left: u32,
    bytes_left: usize,
    scans_left: usize,
    is_first_page: bool,
    /// The bundle that is open.
    bundle: Vec<Arc<Envelope>>,
    bundle_len: usize,
    /// Packets that are ready.
    ready: VecDeque<Bytes>,
    /// The last envelope that was put into a bundle.
    last: Option<EnvelopeHash>,
    /// How it ends, behind what is ready; taken when it goes out.
    end: Option<(Code, Bytes)>,
    /// Whether it is known how it ends, so that nothing more is to be read.
    is_over: bool,
    /// Envelopes put into bundles.
    pub(super) envelopes: usize,
}

impl Answer {
    pub(super) fn new(asker: Asker, reply: Reply, mut query: Query, newest_first: bool, max_packet: usize) -> Self {
        let plan = match &mut query.wanted {
            Wanted::Topics(topics) => {
                topics.sort_unstable();
                topics.dedup();
                Plan::Reading(if topics.len() > MAX_PAGE_TOPICS { Vec::new() } else { topics.clone() })
            }
            Wanted::Bloom(bloom) if bloom.is_full() => Plan::Reading(Vec::new()),
            Wanted::Bloom(_) => Plan::Resolving { held: Vec::new(), after: None },
        };
        Self {
            asker,
            reply,
            newest_first,
            max_packet: reply.room(max_packet),
            plan,
            after: query.cursor.as_ref().map(Place::of_cursor),
            left: query.limit,
            query,
            bytes_left: MAX_BYTES,
            scans_left: MAX_SCANNED,
            is_first_page: true,
            bundle: Vec::new(),
            bundle_len: 0,
            ready: VecDeque::new(),
            last: None,
            end: None,
            is_over: false,
            envelopes: 0,
        }
    }

    /// The times that are asked for, in unix seconds.
    pub(super) fn sent(&self) -> std::ops::RangeInclusive<u32> {
        self.query.lower..=self.query.upper
    }

    /// What is to be read next; `None` when there is enough, or no more.
    pub(super) fn next(&self) -> Option<Next> {
        if self.is_over || !self.ready.is_empty() {
            return None;
        }
        let topics = match &self.plan {
            Plan::Resolving { after, .. } => return Some(Next::Topics(*after)),
            Plan::Reading(topics) => topics.clone(),
        };
        let step = if self.is_first_page { FIRST_PAGE } else { NEXT_PAGE };
        let is_exact = !topics.is_empty() || self.query.wanted == Wanted::Bloom(crate::bloom::Bloom::FULL);
        let rows = if is_exact { step.min(self.left as usize) } else { step };
        Some(Next::Page(PageQuery {
            sent: self.sent(),
            topics,
            after: self.after,
            newest_first: self.newest_first,
            rows,
        }))
    }

    /// Takes topics of which there are envelopes, ascending.
    pub(super) fn take_topics(&mut self, topics: &[Topic]) {
        let (Plan::Resolving { held, after }, Wanted::Bloom(bloom)) = (&mut self.plan, &self.query.wanted) else {
            return;
        };
        held.extend(topics.iter().filter(|topic| bloom.contains(**topic)));
        if held.len() > MAX_PAGE_TOPICS {
            self.plan = Plan::Reading(Vec::new());
        } else if topics.len() >= TOPIC_STEP {
            *after = topics.last().copied();
        } else if held.is_empty() {
            self.finish(None);
        } else {
            self.plan = Plan::Reading(std::mem::take(held));
        }
    }

    /// Takes a page.
    pub(super) fn take_page(&mut self, page: &Page) {
        self.is_first_page = false;
        for envelope in &page.envelopes {
            if self.is_over {
                return;
            }
            self.look_at(envelope);
        }
        if self.is_over {
            return;
        }
        match page.last {
            Some(last) if page.more && self.scans_left == 0 => self.finish(Some(last.cursor())),
            Some(last) if page.more => {
                self.after = Some(last);
                self.close_bundle();
            }
            _ => self.finish(None),
        }
    }

    fn look_at(&mut self, envelope: &Arc<Envelope>) {
        self.scans_left = self.scans_left.saturating_sub(1);
        let is_wanted = match &self.query.wanted {
            Wanted::Topics(sorted) => sorted.binary_search(&envelope.topic()).is_ok(),
            Wanted::Bloom(bloom) => bloom.contains(envelope.topic()),
        };
        // What fits no packet is in the archive, and goes to nobody.
        if !is_wanted || !self.reply.fits(envelope) {
            return;
        }
        let len = envelope.raw().len();
        let is_last = self.left == 1;
        let longer = self.bundle_len + len;
        if is_last || longer >= self.max_packet || messages::body_len(longer) > self.max_packet {
            self.close_bundle();
        }
        self.bundle.push(Arc::clone(envelope));
        self.bundle_len += len;
        self.last = Some(envelope.hash());
        self.envelopes += 1;
        self.left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(len);
        if !self.query.batch {
            self.close_bundle();
        }
        if is_last || self.bytes_left == 0 {
            self.finish(Some(Place::of(envelope).cursor()));
        }
    }

    fn close_bundle(&mut self) {
        self.ready.extend(self.reply.bundles(self.asker.version, &std::mem::take(&mut self.bundle)));
        self.bundle_len = 0;
    }

    fn finish(&mut self, cursor: Option<Cursor>) {
        self.close_bundle();
        self.end = Some(self.reply.done(&self.asker.client_id, self.last, cursor));
        self.is_over = true;
    }

    /// Ends it with an error, behind what is ready.
    pub(super) fn fail(&mut self, text: &str) {
        self.close_bundle();
        self.end = Some(self.reply.failed(&self.asker.client_id, text));
        self.is_over = true;
    }

    /// The next packet, and whether it is the last.
    pub(super) fn next_packet(&mut self) -> Option<(Code, Bytes, bool)> {
        if let Some(body) = self.ready.pop_front() {
            return Some((self.reply.code(), body, false));
        }
        let (code, body) = self.end.take()?;
        Some((code, body, true))
    }

    /// Bytes of packets that wait here.
    pub(super) fn held(&self) -> usize {
        self.ready.iter().map(Bytes::len).sum()
    }
}
