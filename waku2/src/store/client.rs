//! The asking side: page after page of one query from one node, over either protocol. Bytes in, bytes out.
//!
//! A server is not believed: a message that was not asked for, is ephemeral, or has another hash than the server says is left out and
//! counted; a cursor that leads back ends the query. Limits: [`MAX_PAGES`] of a query, and those of a page.

use bytes::Bytes;
use rand::Rng;

use super::{
    legacy::{self, Outcome},
    query::{Cursor, Entry, Kept, MAX_PAGE, Query, Selection},
    server,
    wire::{self, ResponseError, Status},
};
use crate::{
    hash::message_hash,
    message::WakuMessage,
    service::{Protocol, request_id},
    topic::PubsubTopic,
};

/// Most pages of a query: ten million messages, more than a day of a full shard of the Waku Network.
pub const MAX_PAGES: u32 = 100_000;

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/vac/waku/store-query/3.0.0`.
    V3,
    /// `/vac/waku/store/2.0.0-beta4`.
    Legacy,
}

impl Dialect {
    /// Its protocol.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::V3 => Protocol::StoreV3,
            Self::Legacy => Protocol::StoreLegacy,
        }
    }
}

/// A query that beta4 has no words for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWords {
    /// Messages can't be asked for by hash.
    #[error("store 2.0.0-beta4 knows no message hashes")]
    Hashes,
    /// It answers without topics, and without one there is no hash.
    #[error("store 2.0.0-beta4 has to be asked for one pubsub topic")]
    NoPubsubTopic,
}

/// Why a server's answer is of no use. None of it was taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// It is no answer.
    #[error("the answer can't be read: {0}")]
    Unreadable(#[from] ResponseError),
    /// It says no.
    #[error("{code}: {description}")]
    Refused {
        /// Its status.
        code: u32,
        /// In its words.
        description: String,
    },
    /// It answers another question.
    #[error("an answer to another request")]
    OtherRequest,
    /// Its cursor leads back.
    #[error("its cursor leads nowhere")]
    Circle,
    /// It has more than can be.
    #[error("more than {MAX_PAGES} pages")]
    Endless,
}

impl AnswerError {
    /// Does it ask too often? Then it may be asked again later.
    #[must_use]
    pub const fn is_too_often(&self) -> bool {
        matches!(self, Self::Refused { code: 429, .. })
    }
}

/// What came with one answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What was asked for, ascending.
    pub entries: Vec<Entry>,
    /// How many were left out.
    pub discarded: usize,
}

/// One query of one server.
#[derive(Debug, Clone)]
pub struct Asking {
    dialect: Dialect,
    query: Query,
    request_id: String,
    pages: u32,
    is_done: bool,
}

impl Asking {
    /// Begins, in pages of [`MAX_PAGE`] at most.
    ///
    /// # Errors
    /// [`NoWords`], of beta4 alone.
    pub fn new(dialect: Dialect, query: Query) -> Result<Self, NoWords> {
        if dialect == Dialect::Legacy {
            match &query.selection {
                Selection::Hashes { .. } => return Err(NoWords::Hashes),
                Selection::Content { pubsub_topic: None, .. } => return Err(NoWords::NoPubsubTopic),
                Selection::Content { .. } => {}
            }
        }
        let query = Query { limit: query.limit.clamp(1, MAX_PAGE), ..query };
        Ok(Self { dialect, query, request_id: String::new(), pages: 0, is_done: false })
    }

    /// The next request; `None` when all has come.
    pub fn request(&mut self, rng: &mut impl Rng) -> Option<Bytes> {
        if self.is_done {
            return None;
        }
        self.request_id = request_id(rng);
        match self.dialect {
            Dialect::V3 => Some(wire::Request::encode(&self.request_id, &self.query)),
            Dialect::Legacy => legacy::Request::encode(&self.request_id, &self.query),
        }
    }

    /// Takes the answer to the last request.
    ///
    /// # Errors
    /// [`AnswerError`]; the same request may be sent again, to this server or, with version 3, to another one.
    pub fn answer(&mut self, answer: Bytes) -> Result<Answer, AnswerError> {
        let (answer, cursor) = match self.dialect {
            Dialect::V3 => self.read(answer)?,
            Dialect::Legacy => self.read_legacy(answer)?,
        };
        // The whole of the page may have been left out; what has come is what the server sent.
        let came = answer.entries.len() + answer.discarded;
        let cursor = cursor.filter(|_| came > 0);
        if cursor.is_some() && cursor == self.query.cursor {
            return Err(AnswerError::Circle);
        }
        if self.pages >= MAX_PAGES {
            return Err(AnswerError::Endless);
        }
        self.pages += 1;
        self.is_done = cursor.is_none();
        if cursor.is_some() {
            self.query.cursor = cursor;
        }
        Ok(answer)
    }

    /// How many answers have been taken.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    /// Has all come?
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    fn read(&self, answer: Bytes) -> Result<(Answer, Option<Cursor>), AnswerError> {
        let response = wire::Response::decode(answer)?;
        if response.status != Status::Ok {
            let (code, description) = (response.status.code(), response.description);
            return Err(AnswerError::Refused { code, description });
        }
        if response.request_id != self.request_id {
            return Err(AnswerError::OtherRequest);
        }
        let came = response.entries.len();
        let entries: Vec<Entry> = response.entries.into_iter().filter(|entry| self.is_asked(entry)).collect();
        let discarded = came - entries.len();
        Ok((Answer { entries, discarded }, response.cursor.map(Cursor::Hash)))
    }

    fn read_legacy(&self, answer: Bytes) -> Result<(Answer, Option<Cursor>), AnswerError> {
        let response = legacy::Response::decode(answer)?;
        if response.outcome != Outcome::Ok {
            let (code, description) = (response.outcome.code(), format!("{:?}", response.outcome));
            return Err(AnswerError::Refused { code, description });
        }
        if response.request_id != self.request_id {
            return Err(AnswerError::OtherRequest);
        }
        let came = response.messages.len();
        let topic = self.query.selection.pubsub_topic();
        let entries = response.messages.into_iter().filter_map(|message| Some(entry(topic?, message)));
        let entries: Vec<Entry> = entries.filter(|entry| self.is_asked(entry)).collect();
        let discarded = came - entries.len();
        Ok((Answer { entries, discarded }, response.cursor.map(Cursor::Index)))
    }

    /// Is it what was asked for, and what it says it is?
    fn is_asked(&self, entry: &Entry) -> bool {
        let Some(Kept { pubsub_topic, message, .. }) = &entry.kept else { return !self.query.include_data };
        let is_itself = entry.hash == message_hash(pubsub_topic, message) && !message.ephemeral;
        is_itself
            && self.query.selection.pubsub_topic().is_none_or(|asked| asked == pubsub_topic)
            && match &self.query.selection {
                Selection::Hashes { hashes, .. } => hashes.contains(&entry.hash),
                Selection::Content { content_topics, from, until, .. } => {
                    let (time, topic) = (message.timestamp.unwrap_or_default(), message.content_topic.as_str());
                    (content_topics.is_empty() || content_topics.iter().any(|asked| asked == topic))
                        && from.is_none_or(|from| time >= from)
                        && until.is_none_or(|until| time <= until)
                }
            }
    }
}

fn entry(topic: &PubsubTopic, message: WakuMessage) -> Entry {
    let hash = message_hash(topic, &message);
    Entry { hash, kept: Some(Kept { pubsub_topic: topic.clone(), message, stored_at: 0 }) }
}

/// Where a page that ended with this entry is gone on from, at a server that has it.
#[must_use]
pub fn cursor(dialect: Dialect, entry: &Entry) -> Option<Cursor> {
    match dialect {
        Dialect::V3 => Some(Cursor::Hash(entry.hash)),
        Dialect::Legacy => server::index(entry).map(Cursor::Index),
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        hash::MessageHash,
        store::server::{
            answer, answer_legacy,
            tests::{Naive, message},
        },
    };

    const TOPIC: &str = "/waku/2/rs/1/1";

    fn query() -> Query {
        let pubsub_topic = Some(TOPIC.parse().unwrap());
        let selection = Selection::Content { pubsub_topic, content_topics: vec![], from: Some(3), until: Some(250) };
        Query { selection, cursor: None, forward: true, limit: 1_000, include_data: true }
    }

    fn history() -> Naive {
        Naive::of((1..=300).map(|nanos| (TOPIC, message(b"hello", nanos))))
    }

    fn asking(dialect: Dialect) -> (Asking, StdRng) {
        let (mut asking, mut rng) = (Asking::new(dialect, query()).unwrap(), StdRng::seed_from_u64(1));
        assert!(asking.request(&mut rng).is_some());
        (asking, rng)
    }

    #[test]
    fn all_pages_come_over_either_protocol() {
        for dialect in [Dialect::V3, Dialect::Legacy] {
            for forward in [true, false] {
                let (history, mut rng) = (history(), StdRng::seed_from_u64(7));
                let mut asking = Asking::new(dialect, Query { forward, ..query() }).unwrap();
                let mut times = Vec::new();
                while let Some(request) = asking.request(&mut rng) {
                    let response = match dialect {
                        Dialect::V3 => block_on(answer(&history, request)).0,
                        Dialect::Legacy => block_on(answer_legacy(&history, request)).0,
                    };
                    let got = asking.answer(response).unwrap();
                    assert_eq!(got.discarded, 0);
                    times.extend(got.entries.iter().filter_map(|entry| entry.kept.as_ref()?.message.timestamp));
                }
                times.sort_unstable();
                assert_eq!((times, asking.pages(), asking.is_done()), ((3..=250).collect(), 3, true), "{dialect:?}");
            }
        }
    }

    #[test]
    fn what_was_not_asked_for_is_left_out() {
        let (mut asking, _) = asking(Dialect::V3);
        let topic: PubsubTopic = TOPIC.parse().unwrap();
        let good = entry(&topic, message(b"good", 5));
        let bad = [
            Entry { hash: MessageHash::from([1; 32]), ..good.clone() },
            Entry { hash: good.hash, kept: None },
            entry(&"/waku/2/rs/1/2".parse().unwrap(), message(b"elsewhere", 5)),
            entry(&topic, message(b"early", 2)),
            entry(&topic, message(b"late", 251)),
            entry(&topic, WakuMessage { ephemeral: true, ..message(b"ephemeral", 5) }),
        ];
        let entries: Vec<Entry> = bad.into_iter().chain([good.clone()]).collect();
        let response = wire::Response::page(&asking.request_id, entries, None);
        assert_eq!(asking.answer(response.encode()), Ok(Answer { entries: vec![good], discarded: 6 }));
    }

    #[test]
    fn each_bad_answer_has_its_error_and_changes_nothing() {
        let (mut asking, _) = asking(Dialect::V3);
        let id = asking.request_id.clone();
        let topic: PubsubTopic = TOPIC.parse().unwrap();
        let one = entry(&topic, message(b"one", 5));
        assert!(matches!(asking.answer(Bytes::from_static(&[0xff])), Err(AnswerError::Unreadable(_))));
        let other = wire::Response::page("other", vec![], None);
        assert_eq!(asking.answer(other.encode()), Err(AnswerError::OtherRequest));
        let limited = asking.answer(server::too_many()).unwrap_err();
        assert!(limited.is_too_often(), "{limited}");
        let first = wire::Response::page(&id, vec![one.clone()], Some(one.hash));
        assert!(asking.answer(first.encode()).is_ok() && !asking.is_done());
        assert_eq!(asking.answer(first.encode()), Err(AnswerError::Circle));
        let empty = wire::Response::page(&id, vec![], Some(MessageHash::from([3; 32])));
        assert!(asking.answer(empty.encode()).is_ok() && asking.is_done(), "what is empty is the end, as for js-waku");
    }

    #[test]
    fn bad_answers_of_beta4() {
        let (mut asking, _) = asking(Dialect::Legacy);
        assert_eq!(asking.answer(Bytes::new()), Err(AnswerError::Unreadable(ResponseError::NoResponse)));
        let limited = asking.answer(server::too_many_legacy()).unwrap_err();
        assert!(limited.is_too_often(), "{limited}");
        let by_hash = Selection::Hashes { pubsub_topic: None, hashes: vec![] };
        let new = |selection| Asking::new(Dialect::Legacy, Query { selection, ..query() }).map(drop);
        assert_eq!(new(by_hash), Err(NoWords::Hashes));
        assert_eq!(new(Selection::all()), Err(NoWords::NoPubsubTopic));
    }

    #[test]
    fn a_page_is_gone_on_from_by_either_name() {
        let one = entry(&TOPIC.parse().unwrap(), message(b"one", 5));
        assert_eq!(cursor(Dialect::V3, &one), Some(Cursor::Hash(one.hash)));
        assert!(matches!(cursor(Dialect::Legacy, &one), Some(Cursor::Index(index)) if index.sender_time == 5));
    }
}
