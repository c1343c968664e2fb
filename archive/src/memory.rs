//! The archive in memory: what the databases must agree with, and enough for a node that may forget.
//!
//! Limits: a query looks at every row of its times; [`MAX_ROWS`] and [`MAX_BYTES`], beyond which nothing is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use crate::{
    complete::{Resolution, resolve},
    query::{Appended, Name, Page, Place, Query, Totals, View, page_length},
    retention::Excess,
    row::{EnvelopePosition, Hash, Key, MessagePosition, Row},
};

/// Most rows.
pub const MAX_ROWS: usize = 1_000_000;
/// Most bytes, as [`Row::size_bytes`] counts them: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;

/// More does not fit into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the archive in memory is full")]
pub struct Full;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    rows: BTreeMap<Key, Row>,
    envelopes: BTreeMap<EnvelopePosition, Key>,
    bytes: u64,
}

impl Memory {
    pub(crate) fn append(&mut self, rows: &[Row], now_secs: u64) -> Result<Vec<Appended>, Full> {
        let coming: u64 = rows.iter().map(size).sum();
        if self.rows.len() + rows.len() > MAX_ROWS || self.bytes + coming > MAX_BYTES {
            return Err(Full);
        }
        let mut outcomes = vec![Appended::Known; rows.len()];
        let mut admitted = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            match row.admit(now_secs) {
                Ok(key) => admitted.push((key, place)),
                Err(refusal) => outcomes[place] = Appended::Refused(refusal),
            }
        }
        // As in a database: what is new first, in the order of keys.
        admitted.sort_by_key(|(key, _)| *key);
        let mut before = None;
        admitted.retain(|(key, place)| {
            let is_first = before.replace(*key) != Some(*key);
            let is_new = is_first && self.is_new(key, &rows[*place]);
            if is_new {
                self.insert(rows[*place].clone());
                outcomes[*place] = Appended::Stored;
            }
            !is_new
        });
        for (key, place) in admitted {
            outcomes[place] = self.complete(&key, &rows[place]);
        }
        Ok(outcomes)
    }

    fn is_new(&self, key: &Key, row: &Row) -> bool {
        let envelope = row.envelope_position();
        !self.rows.contains_key(key) && envelope.is_none_or(|position| !self.envelopes.contains_key(&position))
    }

    fn complete(&mut self, key: &Key, row: &Row) -> Appended {
        let same = self.rows.get(key).cloned();
        let twin = row.envelope_position().and_then(|position| self.envelopes.get(&position));
        let twin = twin.filter(|twin| *twin != key).and_then(|twin| self.rows.get(twin)).cloned();
        match resolve(row.clone(), same, twin) {
            Resolution::Known => Appended::Known,
            Resolution::Insert(row) => {
                self.insert(*row);
                Appended::Stored
            }
            Resolution::Replace { old, row } => {
                old.iter().for_each(|key| self.remove(key));
                self.insert(*row);
                Appended::Completed
            }
        }
    }

    fn insert(&mut self, row: Row) {
        let Some(key) = row.key() else { return };
        self.bytes += size(&row);
        if let Some(position) = row.envelope_position() {
            self.envelopes.insert(position, key);
        }
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: &Key) {
        let Some(row) = self.rows.remove(key) else { return };
        self.bytes -= size(&row);
        if let Some(position) = row.envelope_position() {
            self.envelopes.remove(&position);
        }
    }

    pub(crate) fn page(&self, query: &Query) -> Page {
        let seen = self.rows.iter().filter(|(key, row)| query.sent_ns.contains(&key.sent_ns) && sees(query, row));
        let mut places: Vec<Place> = seen.map(|(key, row)| place(*key, row)).collect();
        places.sort_by_key(|place| place.rank(&query.view));
        if query.newest_first {
            places.reverse();
        }
        self.read(&places, query.limit())
    }

    pub(crate) fn find(&self, name: Name, hashes: &[Hash]) -> Page {
        let wanted: BTreeSet<&Hash> = hashes.iter().collect();
        let named = self.rows.iter().filter(|(_, row)| named(row, name).is_some_and(|hash| wanted.contains(&hash)));
        let places: Vec<Place> = named.map(|(key, row)| place(*key, row)).collect();
        self.read(&places, crate::query::MAX_PAGE)
    }

    /// Where messages of these names stand; nothing of them is read, so that no page bounds it.
    pub(crate) fn present(&self, hashes: &[Hash]) -> Vec<MessagePosition> {
        let wanted: BTreeSet<&Hash> = hashes.iter().collect();
        let positions = self.rows.values().filter_map(Row::message_position);
        positions.filter(|position| wanted.contains(&position.hash)).collect()
    }

    fn read(&self, places: &[Place], limit: usize) -> Page {
        let length = page_length(places, limit);
        let rows = places[..length].iter().filter_map(|place| self.rows.get(&place.key).cloned());
        Page { rows: rows.collect(), more: length < places.len() }
    }

    pub(crate) fn topics(&self, sent_ns: &RangeInclusive<i64>, after: Option<[u8; 4]>, limit: usize) -> Vec<[u8; 4]> {
        let rows = self.rows.values().filter(|row| sent_ns.contains(&row.sent_ns) && row.mined().is_some());
        let topics: BTreeSet<_> = rows.filter_map(|row| Some(row.envelope?.topic)).collect();
        topics.into_iter().filter(|topic| after.is_none_or(|after| *topic > after)).take(limit).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            rows: self.rows.len() as u64,
            bytes: self.bytes,
            oldest_ns: self.rows.keys().next().map(|key| key.sent_ns),
            newest_ns: self.rows.keys().next_back().map(|key| key.sent_ns),
        }
    }

    /// Deletes some of the oldest; how many that were, `None` when nothing has to go.
    pub(crate) fn trim(&mut self, excess: &Excess, chunk: usize) -> Option<u64> {
        let totals = self.totals();
        let oldest = self.rows.iter().take(chunk).map(|(key, row)| place(*key, row));
        let going = excess.going(&totals, oldest);
        for key in &going {
            self.remove(key);
        }
        (!going.is_empty()).then_some(going.len() as u64)
    }
}

fn size(row: &Row) -> u64 {
    row.size_bytes() as u64
}

fn place(key: Key, row: &Row) -> Place {
    Place { key, envelope: row.mined().map(|mined| mined.hash), size_bytes: row.size_bytes() }
}

fn named(row: &Row, name: Name) -> Option<Hash> {
    match name {
        Name::Message => row.message.as_ref().map(|message| message.hash),
        Name::Envelope => row.mined().map(|mined| mined.hash),
        Name::Content => Some(row.content),
    }
}

fn sees(query: &Query, row: &Row) -> bool {
    match &query.view {
        View::Messages { after, content_topics, pubsub_topic, proven_only } => {
            let (Some(position), Some(message)) = (row.message_position(), &row.message) else { return false };
            after.is_none_or(|after| behind(position, after, query.newest_first))
                && (content_topics.is_empty() || content_topics.contains(&message.content_topic))
                && pubsub_topic.as_ref().is_none_or(|topic| *topic == message.pubsub_topic)
                && (row.proven || !proven_only)
        }
        View::Envelopes { after, topics } => {
            let (Some(position), Some(envelope)) = (row.envelope_position(), row.envelope) else { return false };
            after.is_none_or(|after| behind(position, after, query.newest_first))
                && (topics.is_empty() || topics.contains(&envelope.topic))
        }
    }
}

fn behind<T: Ord>(position: T, after: T, newest_first: bool) -> bool {
    if newest_first { position < after } else { position > after }
}
