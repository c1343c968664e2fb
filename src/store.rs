//! The archive as history for the Waku Network (13/WAKU2-STORE): [`waku2::store`] asks, [`archive`] has it.
//!
//! What has a message half is answered, whichever network it came from first: an envelope of waku/0 as the message that its route makes
//! of it, on that route's topic. Where the network asks for rate-limit proofs only proven rows are, unless the operator says
//! otherwise (64/WAKU2-NETWORK: "store only messages with a valid proof").
//!
//! | module | what |
//! |---|---|
//! | [`keep`] | what relay accepts, handed to the archive |
//! | [`mine`] | envelopes for messages that never crossed, so that mail requests see them |
//! | [`resume`] | what was relayed while this node was away, from others |
//!
//! Limits: [`READS`] pages are read at once, who is beyond waits; a page has at most [`archive::query::MAX_PAGE_BYTES`].

use std::sync::Arc;

use archive::{Archive, MessagePosition, Name, Row, View, query::ALL_TIMES};
use bridge::histogram::Histogram;
use devp2p::clock::now;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use waku2::{
    MessageHash, PubsubTopic,
    store::{
        Cursor, Entry, Failure, History, Page, Query, Selection,
        legacy::{Index, digest},
        query::Kept,
    },
};

use crate::rows;

pub mod keep;
pub mod mine;
pub mod resume;

/// Pages that are read at once, so that a storm of queries leaves the database to those who write: each may hold
/// [`archive::query::MAX_PAGE_BYTES`].
pub const READS: usize = 4;
/// Rows looked at to find the one that a cursor of beta4 names, which tells its time and topic: more at one nanosecond are not looked at.
const MAX_TWINS: usize = archive::query::MAX_PAGE;

/// History out of an archive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ArchivedHistory {
    archive: Archive,
    proven_only: bool,
    reads: Arc<Semaphore>,
    took: Arc<Histogram>,
}

impl ArchivedHistory {
    /// Over an archive; `proven_only`: what has no valid rate-limit proof is not told of.
    #[must_use]
    pub fn new(archive: Archive, proven_only: bool) -> Self {
        Self {
            archive,
            proven_only,
            reads: Arc::new(Semaphore::new(READS)),
            took: Arc::new(Histogram::new(keep::SECONDS)),
        }
    }

    /// How long pages took to be read, waiting for others included.
    #[must_use]
    pub fn took(&self) -> Arc<Histogram> {
        Arc::clone(&self.took)
    }

    async fn timed(&self, query: Query) -> Result<Page, Failure> {
        let began = now().instant;
        let page = self.read(query).await;
        self.took.record(now().instant.saturating_duration_since(began).as_secs_f64());
        page
    }

    async fn read(&self, query: Query) -> Result<Page, Failure> {
        // Never closed.
        let _permit = self.reads.acquire().await.map_err(|_| Failure::Unreadable)?;
        let after = match &query.cursor {
            None => None,
            Some(Cursor::Hash(hash)) => Some(self.position(hash).await?),
            Some(Cursor::Index(index)) => Some(self.indexed(index, query.forward).await?),
        };
        match &query.selection {
            Selection::Content { pubsub_topic, content_topics, from, until } => {
                let sent_ns = from.unwrap_or(*ALL_TIMES.start())..=until.unwrap_or(*ALL_TIMES.end());
                let view = self.view(after, content_topics.clone(), pubsub_topic.as_ref());
                self.by_content(&query, view, sent_ns).await
            }
            Selection::Hashes { pubsub_topic, hashes } => {
                self.by_hash(&query, after, pubsub_topic.as_ref(), hashes).await
            }
        }
    }

    fn view(
        &self,
        after: Option<MessagePosition>,
        content_topics: Vec<String>,
        pubsub_topic: Option<&PubsubTopic>,
    ) -> View {
        let pubsub_topic = pubsub_topic.map(ToString::to_string);
        View::Messages { after, content_topics, pubsub_topic, proven_only: self.proven_only }
    }

    async fn by_content(
        &self,
        query: &Query,
        view: View,
        sent_ns: std::ops::RangeInclusive<i64>,
    ) -> Result<Page, Failure> {
        if sent_ns.is_empty() {
            return Ok(Page::default());
        }
        let asked = archive::Query { view, newest_first: !query.forward, sent_ns, limit: query.limit };
        let archive::Page { rows, more } = self.archive.page(&asked).await.map_err(failed)?;
        let mut entries: Vec<Entry> = rows.iter().filter_map(|row| entry(row, query.include_data)).collect();
        if !query.forward {
            entries.reverse();
        }
        Ok(Page { entries, more })
    }

    /// Those of the hashes that are here, in the order of history: of most of them only the place is read.
    async fn by_hash(
        &self,
        query: &Query,
        after: Option<MessagePosition>,
        topic: Option<&PubsubTopic>,
        hashes: &[MessageHash],
    ) -> Result<Page, Failure> {
        let hashes: Vec<[u8; 32]> = hashes.iter().map(|hash| *hash.as_bytes()).collect();
        let mut places = self.archive.messages_present(&hashes).await.map_err(failed)?;
        if !query.forward {
            places.reverse();
        }
        places.retain(|place| after.is_none_or(|after| if query.forward { *place > after } else { *place < after }));
        let mut entries = Vec::new();
        let mut left = places.as_slice();
        while !left.is_empty() && entries.len() <= query.limit {
            let (now, later) = left.split_at(left.len().min(query.limit + 1 - entries.len()));
            for row in self.rows(now, query.forward).await? {
                let is_seen = topic.is_none_or(|topic| is_on(&row, topic)) && (row.proven || !self.proven_only);
                entries.extend(is_seen.then(|| entry(&row, query.include_data)).flatten());
            }
            left = later;
        }
        let more = entries.len() > query.limit;
        entries.truncate(query.limit);
        if !query.forward {
            entries.reverse();
        }
        Ok(Page { entries, more })
    }

    /// The rows of some places, in their order.
    async fn rows(&self, places: &[MessagePosition], ascending: bool) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::with_capacity(places.len());
        let mut left = places;
        let mut step = places.len();
        while !left.is_empty() {
            let (now, later) = left.split_at(step.min(left.len()));
            let hashes: Vec<[u8; 32]> = now.iter().map(|place| place.hash).collect();
            let mut page = self.archive.find(Name::Message, &hashes).await.map_err(failed)?;
            if page.more && step > 1 {
                // They are too large to be read together.
                step /= 2;
                continue;
            }
            if !ascending {
                page.rows.reverse();
            }
            rows.append(&mut page.rows);
            left = later;
        }
        Ok(rows)
    }

    async fn position(&self, hash: &MessageHash) -> Result<MessagePosition, Failure> {
        let places = self.archive.messages_present(&[*hash.as_bytes()]).await.map_err(failed)?;
        places.first().copied().ok_or(Failure::UnknownCursor)
    }

    /// The message that beta4 names: by time, topic and digest, and where several share these, by the mark of its hash. A cursor that another node
    /// made has no such mark, and names the last of them on the way.
    async fn indexed(&self, index: &Index, forward: bool) -> Result<MessagePosition, Failure> {
        let topic = Some(index.pubsub_topic.to_string());
        let view = View::Messages { after: None, content_topics: vec![], pubsub_topic: topic, proven_only: false };
        let sent_ns = index.sender_time..=index.sender_time;
        let query = archive::Query { view, newest_first: !forward, sent_ns, limit: MAX_TWINS };
        let page = self.archive.page(&query).await.map_err(failed)?;
        let is_named = |row: &&Row| rows::message(row).is_some_and(|(_, message)| digest(&message) == index.digest);
        let named = page.rows.iter().filter(is_named).filter_map(Row::message_position);
        let named: Vec<MessagePosition> = named.collect();
        let marked = named.iter().find(|place| index.is_marked(&place.hash.into()));
        marked.or_else(|| named.last()).copied().ok_or(Failure::UnknownCursor)
    }
}

impl History for ArchivedHistory {
    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>> {
        Box::pin(self.timed(query))
    }
}

fn is_on(row: &Row, topic: &PubsubTopic) -> bool {
    row.message.as_ref().is_some_and(|message| message.pubsub_topic == topic.as_str())
}

/// `None` for a row that is not what its hash says: something else wrote it.
fn entry(row: &Row, include_data: bool) -> Option<Entry> {
    let hash = MessageHash::from(row.message.as_ref()?.hash);
    if !include_data {
        return Some(Entry { hash, kept: None });
    }
    let (pubsub_topic, message) = rows::message(row)?;
    Some(Entry { hash, kept: Some(Kept { pubsub_topic, message, stored_at: row.stored_at }) })
}

fn failed(error: archive::Error) -> Failure {
    tracing::error!(%error, "the archive can't be read for a store query");
    Failure::Unreadable
}

#[cfg(test)]
mod tests;
