//! Which envelopes somebody here can read and wants, and what they say, until he asks for it.  Source: status-go `waku/common/filter.go`.
//!
//! A filter has one key, and may ask for topics, a sender and work. An envelope is tried with the keys of the filters that
//! ask for its topic, in the order in which they were installed, until one opens it; after that, a filter matches if it has the same key, and
//! nothing is decrypted twice. What a trusted peer sends outside of gossip goes to filters that allow it alone.
//!
//! Limits: [`MAX_FILTERS`]; of each [`MAX_MESSAGES`] messages and [`MAX_BYTES`] bytes that nobody has asked for, above which the oldest are
//! dropped and counted; a filter that nobody has polled for [`IDLE`] is removed.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::PublicKey;
use rand::Rng;

use crate::{
    envelope::{Envelope, EnvelopeHash},
    payload::{self, Key, Opened, Signature},
    pow::Pow,
    topic::{Topic, TopicPrefix},
};

/// Filters at a time. Each may cost a decryption for every envelope, some 40 us for a private key.
pub const MAX_FILTERS: usize = 128;

/// Messages of a filter that wait to be polled.
pub const MAX_MESSAGES: usize = 1_024;

/// Bytes that those may take, by what was decrypted: room for the largest envelope, twice.
pub const MAX_BYTES: usize = 2 << 20;

/// After this long without a poll a filter is removed. Deployed nodes keep them for ever; go-ethereum drops those of `eth_*` after
/// as long.
pub const IDLE: Duration = Duration::from_secs(300);

/// Topics that one filter may name.
pub const MAX_TOPICS: usize = 1_024;

/// What is counted for a message beside its bytes: its fields, and its place.
const MESSAGE_BYTES: usize = 256;

/// By which a filter is asked for: 32 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId([u8; 32]);

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 64 hex digits")]
pub struct FilterIdError;

impl fmt::Display for FilterId {
    /// 64 hex digits without `0x`, as deployed nodes write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FilterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilterId({self})")
    }
}

impl FromStr for FilterId {
    type Err = FilterIdError;

    fn from_str(text: &str) -> Result<Self, FilterIdError> {
        let mut id = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut id).map_err(|_| FilterIdError)?;
        Ok(Self(id))
    }
}

/// What a filter asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criteria {
    /// With what envelopes are opened.
    pub key: Key,
    /// Of what they are, or how that begins; of anything, if empty.
    pub topics: Vec<TopicPrefix>,
    /// Who signed them; anybody or nobody, if there is none.
    pub sender: Option<PublicKey>,
    /// The least work.
    pub min_pow: Pow,
    /// Whether what a trusted peer sends outside of gossip is wanted as well.
    pub allow_p2p: bool,
}

/// Who takes what a filter finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Somebody who polls, and may forget to.
    Polls,
    /// Somebody who is told at once, and removes the filter when he leaves.
    IsTold,
}

/// What an envelope said to a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What the application says.
    pub payload: Bytes,
    /// What hid its length.
    pub padding: Bytes,
    /// Who signed it.
    pub signature: Option<Signature>,
    /// For whom it was encrypted; for all who share a key, if there is none.
    pub recipient: Option<PublicKey>,
    /// What it is about.
    pub topic: Topic,
    /// When it was sent, in unix seconds.
    pub sent: u32,
    /// Seconds to live.
    pub ttl: u32,
    /// The work in it.
    pub pow: Pow,
    /// The envelope that said it.
    pub hash: EnvelopeHash,
    /// Whether it came outside of gossip.
    pub direct: bool,
}

/// No filter can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// There are too many.
    #[error("there are {MAX_FILTERS} filters already: remove one that is not needed")]
    TooManyFilters,
    /// It names too many topics.
    #[error("{0} topics in a filter, more than {MAX_TOPICS}")]
    TooManyTopics(usize),
}

/// All filters of a node, in the order in which they were installed.
#[derive(Debug, Default)]
pub struct Filters {
    filters: Vec<Filter>,
    dropped: u64,
}

#[derive(Debug)]
struct Filter {
    id: FilterId,
    criteria: Criteria,
    reader: Reader,
    polled: Instant,
    waiting: VecDeque<Arc<Message>>,
    hashes: HashSet<EnvelopeHash>,
    bytes: usize,
}

impl Filters {
    /// Installs one.
    ///
    /// # Errors
    /// [`InstallError`] when there are too many, or it names too many topics.
    pub fn install(
        &mut self,
        criteria: Criteria,
        reader: Reader,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Result<FilterId, InstallError> {
        self.remove_idle(now);
        if self.filters.len() >= MAX_FILTERS {
            return Err(InstallError::TooManyFilters);
        }
        if criteria.topics.len() > MAX_TOPICS {
            return Err(InstallError::TooManyTopics(criteria.topics.len()));
        }
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        let id = FilterId(id);
        let (waiting, hashes) = (VecDeque::new(), HashSet::new());
        self.filters.push(Filter { id, criteria, reader, polled: now, waiting, hashes, bytes: 0 });
        Ok(id)
    }

    /// Removes one. Returns whether it was there.
    pub fn remove(&mut self, id: FilterId) -> bool {
        let before = self.filters.len();
        self.filters.retain(|filter| filter.id != id);
        self.filters.len() < before
    }

    /// What has come for a filter since it was last asked, oldest first; `None` if there is no such filter.
    pub fn poll(&mut self, id: FilterId, now: Instant) -> Option<Vec<Arc<Message>>> {
        self.remove_idle(now);
        let filter = self.filters.iter_mut().find(|filter| filter.id == id)?;
        filter.polled = now;
        filter.hashes.clear();
        filter.bytes = 0;
        Some(filter.waiting.drain(..).collect())
    }

    /// Removes filters that nobody polls any more.
    pub fn remove_idle(&mut self, now: Instant) {
        let idle = |filter: &Filter| now.saturating_duration_since(filter.polled) >= IDLE;
        self.filters.retain(|filter| filter.reader == Reader::IsTold || !idle(filter));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Messages dropped since the start because nobody asked for them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives an envelope to the filters that it matches, and returns who of them is told at once. `pow` is the work that the node goes by;
    /// `direct` says that it came outside of gossip.
    pub fn offer(&mut self, envelope: &Envelope, pow: Pow, direct: bool) -> Vec<FilterId> {
        let mut tried: Vec<usize> = Vec::new();
        let mut found: Option<(usize, Arc<Message>)> = None;
        let mut matching = Vec::new();
        for (at, filter) in self.filters.iter().enumerate() {
            let criteria = &filter.criteria;
            if !criteria.asks_for(envelope.topic(), direct) || pow < criteria.min_pow {
                continue;
            }
            let message = match &found {
                Some((opener, message)) => {
                    (self.filters[*opener].criteria.key == criteria.key).then(|| Arc::clone(message))
                }
                None if tried.iter().any(|&at| self.filters[at].criteria.key == criteria.key) => None,
                None => {
                    tried.push(at);
                    let opened = payload::open(envelope.data(), &criteria.key).ok();
                    opened.map(|opened| Arc::new(Message::of(envelope, pow, direct, opened, &criteria.key)))
                }
            };
            let Some(message) = message else { continue };
            if criteria.sender.is_none_or(|sender| message.signer() == Some(sender)) {
                matching.push((at, Arc::clone(&message)));
            }
            found.get_or_insert((at, message));
        }
        self.keep(matching)
    }

    fn keep(&mut self, matching: Vec<(usize, Arc<Message>)>) -> Vec<FilterId> {
        let mut told = Vec::new();
        for (at, message) in matching {
            let filter = &mut self.filters[at];
            let (new, dropped) = filter.keep(message);
            self.dropped += dropped;
            if new && filter.reader == Reader::IsTold {
                told.push(filter.id);
            }
        }
        told
    }
}

impl Criteria {
    fn asks_for(&self, topic: Topic, direct: bool) -> bool {
        (self.allow_p2p || !direct) && (self.topics.is_empty() || self.topics.iter().any(|wanted| wanted.begins(topic)))
    }
}

impl Filter {
    /// Keeps a message that does not wait already. Returns whether it was new, and how many older ones had to go.
    fn keep(&mut self, message: Arc<Message>) -> (bool, u64) {
        if !self.hashes.insert(message.hash) {
            return (false, 0);
        }
        self.bytes += message.size_bytes();
        self.waiting.push_back(message);
        let mut dropped = 0;
        while self.waiting.len() > MAX_MESSAGES || (self.bytes > MAX_BYTES && self.waiting.len() > 1) {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.hashes.remove(&oldest.hash);
            self.bytes -= oldest.size_bytes();
            dropped += 1;
        }
        (true, dropped)
    }
}

impl Message {
    fn of(envelope: &Envelope, pow: Pow, direct: bool, opened: Opened, key: &Key) -> Self {
        let Opened { payload, padding, signature } = opened;
        let recipient = match key {
            Key::Symmetric(_) => None,
            Key::Private(key) => Some(key.public()),
        };
        let (topic, sent, ttl, hash) = (envelope.topic(), envelope.sent(), envelope.ttl(), envelope.hash());
        Self { payload, padding, signature, recipient, topic, sent, ttl, pow, hash, direct }
    }

    /// Who signed it.
    #[must_use]
    pub fn signer(&self) -> Option<PublicKey> {
        self.signature.map(|signature| signature.signer)
    }

    fn size_bytes(&self) -> usize {
        MESSAGE_BYTES + self.payload.len() + self.padding.len()
    }
}

#[cfg(test)]
mod tests;
