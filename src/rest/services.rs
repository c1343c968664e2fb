//! The ports of services over this node's clients, and over its own history.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::broadcast::error::RecvError, task::JoinHandle};
use waku2::{
    ContentTopic, Handle, Multiaddr, PeerId, PubsubTopic, Shard,
    filter::{FilterError, Subscriber, wire::Status as FilterStatus},
    lightpush::{self, PushError, Pushed},
    service::{AskError, Protocol, Target, request_id},
    store::{Cursor, Entry, Failure, History, Query, Selection, legacy, query::page_size, server, wire},
};

use super::{
    cache::Shared,
    ports::{
        Answer, Criteria, FilterClient, FilterRefused, FilterService, Index, LegacyPage, Lightpush, Push, PushRefused,
        Store, StorePage, StoreQuery, StoreRefused, Stored, Wanted,
    },
    relay::Sharding,
};
use crate::keys::system_rng;

impl Lightpush for lightpush::Client {
    fn push(&self, push: Push) -> Answer<'_, Result<Pushed, PushRefused>> {
        Box::pin(async move {
            let Push { pubsub_topic, message } = push;
            Self::push(self, pubsub_topic, &message).await.map_err(|error| match error {
                PushError::NoPeer(none) => none.into(),
                PushError::Failed(failure) => failure.into(),
            })
        })
    }
}

/// The client of filter, which asks on the shards that content topics belong to.
#[derive(Debug)]
pub(crate) struct Filtering {
    subscriber: Arc<Subscriber>,
    sharding: Sharding,
}

impl Filtering {
    /// Over what asks. What is pushed is kept in `cache`; the task that does this ends with the node.
    pub(crate) fn start(subscriber: Arc<Subscriber>, sharding: Sharding, cache: Shared) -> Self {
        keep_pushed(&subscriber, cache);
        Self { subscriber, sharding }
    }

    /// The content topics by the pubsub topic on which each is wanted.
    fn places(&self, criteria: Criteria) -> Result<Vec<(PubsubTopic, Vec<String>)>, FilterRefused> {
        let mut places: Vec<(PubsubTopic, Vec<String>)> = Vec::new();
        for content_topic in criteria.content_topics {
            let topic = match &criteria.pubsub_topic {
                Some(topic) => topic.clone(),
                None => self.sharding.topic_of(&content_topic).map_err(FilterRefused::BadRequest)?,
            };
            let name = content_topic.as_str().to_owned();
            match places.iter_mut().find(|(of, _)| *of == topic) {
                Some((_, names)) => names.push(name),
                None => places.push((topic, vec![name])),
            }
        }
        Ok(places)
    }
}

fn keep_pushed(subscriber: &Subscriber, cache: Shared) -> JoinHandle<()> {
    let mut pushed = subscriber.messages();
    tokio::spawn(async move {
        loop {
            match pushed.recv().await {
                Ok(received) => cache.offer(&received.pubsub_topic, &received.message),
                // The oldest were missed, which the cache would have forgotten soon.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    })
}

impl From<FilterError> for FilterRefused {
    fn from(error: FilterError) -> Self {
        let words = error.cause;
        match error.status {
            FilterStatus::DialFailure => Self::Dial(words),
            FilterStatus::BadResponse => Self::BadResponse(words),
            FilterStatus::BadRequest => Self::BadRequest(words),
            FilterStatus::NotFound => Self::NotFound(words),
            FilterStatus::TooManyRequests => Self::TooMany(words),
            FilterStatus::Unavailable => Self::Unavailable(words),
            FilterStatus::Ok | FilterStatus::Unknown(_) => Self::Unknown,
        }
    }
}

impl FilterClient for Filtering {
    fn subscribe(&self, criteria: Criteria) -> Answer<'_, Result<(), FilterRefused>> {
        Box::pin(async move {
            for (topic, names) in self.places(criteria)? {
                self.subscriber.subscribe(&topic, &names).await?;
            }
            Ok(())
        })
    }

    fn unsubscribe(&self, criteria: Criteria) -> Answer<'_, Result<(), FilterRefused>> {
        Box::pin(async move {
            for (topic, names) in self.places(criteria)? {
                self.subscriber.unsubscribe(&topic, &names).await?;
            }
            Ok(())
        })
    }

    fn unsubscribe_all(&self) -> Answer<'_, Result<(), FilterRefused>> {
        Box::pin(async { Ok(self.subscriber.unsubscribe_all().await?) })
    }

    fn ping(&self) -> Answer<'_, Result<(), FilterRefused>> {
        Box::pin(async { Ok(self.subscriber.ping().await?) })
    }
}

impl FilterService for Handle {
    fn subscriptions(&self) -> Vec<(PeerId, Vec<(PubsubTopic, ContentTopic)>)> {
        let subscribers = self.filter_subscriptions().into_iter();
        let named = |(topic, name): (PubsubTopic, String)| (topic, ContentTopic::from(name.as_str()));
        subscribers.map(|(peer, criteria)| (peer, criteria.into_iter().map(named).collect())).collect()
    }
}

impl Wanted {
    /// The same in the words of either protocol.
    fn query(self, hashes: Vec<waku2::MessageHash>, cursor: Option<Cursor>, include_data: bool) -> Query {
        let selection = if hashes.is_empty() {
            Selection::Content {
                pubsub_topic: self.pubsub_topic,
                content_topics: self.content_topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
                from: self.from,
                until: self.to,
            }
        } else {
            Selection::Hashes { pubsub_topic: self.pubsub_topic, hashes }
        };
        let limit = page_size(Some(self.page_size));
        Query { selection, cursor, forward: !self.backward, limit, include_data }
    }
}

impl Index {
    /// Its words on the wire; `None` for a digest that is none.
    fn cursor(self) -> Option<Cursor> {
        let digest = <[u8; 32]>::try_from(&*self.digest).ok()?;
        let Self { pubsub_topic, sender_time, store_time: receiver_time, .. } = self;
        Some(Cursor::Index(legacy::Index { digest, receiver_time, sender_time, pubsub_topic }))
    }
}

impl From<legacy::Index> for Index {
    fn from(index: legacy::Index) -> Self {
        Self {
            pubsub_topic: index.pubsub_topic,
            sender_time: index.sender_time,
            store_time: index.receiver_time,
            digest: Bytes::copy_from_slice(&index.digest),
        }
    }
}

impl From<Entry> for Stored {
    fn from(entry: Entry) -> Self {
        Self { hash: entry.hash, content: entry.kept.map(|kept| (kept.pubsub_topic, kept.message)) }
    }
}

impl From<Failure> for StoreRefused {
    fn from(failure: Failure) -> Self {
        Self::Failed(format!("BAD_RESPONSE: archive error: {failure}"))
    }
}

/// A cursor whose digest is none names nothing that is here.
fn bad_cursor() -> StoreRefused {
    Failure::UnknownCursor.into()
}

/// This node's own history.
#[derive(Clone)]
pub(crate) struct OwnHistory(pub(crate) Arc<dyn History>);

impl std::fmt::Debug for OwnHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnHistory")
    }
}

impl Store for OwnHistory {
    fn query(&self, _: Option<Multiaddr>, query: StoreQuery) -> Answer<'_, Result<StorePage, StoreRefused>> {
        Box::pin(async move {
            let StoreQuery { wanted, hashes, cursor, include_data } = query;
            let forward = !wanted.backward;
            let page = self.0.page(wanted.query(hashes, cursor.map(Cursor::Hash), include_data)).await?;
            let cursor = page.more.then(|| server::end(&page, forward).map(|entry| entry.hash)).flatten();
            let messages = page.entries.into_iter().map(Stored::from).collect();
            Ok(StorePage { request_id: String::new(), status: (200, "OK".to_owned()), messages, cursor })
        })
    }

    fn legacy(
        &self,
        _: Option<Multiaddr>,
        wanted: Wanted,
        cursor: Option<Index>,
    ) -> Answer<'_, Result<LegacyPage, StoreRefused>> {
        Box::pin(async move {
            let cursor = cursor.map(|index| index.cursor().ok_or_else(bad_cursor)).transpose()?;
            let forward = !wanted.backward;
            let page = self.0.page(wanted.query(Vec::new(), cursor, true)).await?;
            let cursor = page.more.then(|| server::end(&page, forward).and_then(server::index)).flatten();
            let messages = page.entries.into_iter().filter_map(|entry| Some(entry.kept?.message)).collect();
            Ok(LegacyPage { messages, cursor: cursor.map(Index::from) })
        })
    }
}

/// The history of others.
#[derive(Debug)]
pub(crate) struct Elsewhere(pub(crate) Handle);

impl Elsewhere {
    async fn target(
        &self,
        peer: Option<Multiaddr>,
        protocol: Protocol,
        topic: Option<&PubsubTopic>,
    ) -> Result<Target, StoreRefused> {
        if let Some(addr) = peer {
            return Target::try_from(addr).map_err(|error| StoreRefused::Failed(error.to_string()));
        }
        let shard = topic.and_then(|topic| topic.as_str().parse::<Shard>().ok()).map(|shard| shard.index);
        let known = self.0.candidates(&[protocol], shard).await;
        known.into_iter().next().ok_or_else(|| self.0.no_peer().into())
    }
}

fn unasked(error: AskError) -> StoreRefused {
    let name = if error.is_dial_failure() { "PEER_DIAL_FAILURE" } else { "BAD_RESPONSE" };
    StoreRefused::Failed(format!("{name}: {error}"))
}

fn unread(error: wire::ResponseError) -> StoreRefused {
    StoreRefused::Failed(format!("BAD_RESPONSE: {error}"))
}

/// What a service of 2.0.0-beta4 has against a query.  Deployed: the words of nwaku.
const fn words(outcome: legacy::Outcome) -> Option<&'static str> {
    match outcome {
        legacy::Outcome::Ok => None,
        legacy::Outcome::InvalidCursor => Some("BAD_REQUEST: invalid cursor"),
        legacy::Outcome::TooManyRequests => Some("TOO_MANY_REQUESTS"),
        legacy::Outcome::Unavailable => Some("SERVICE_UNAVAILABLE"),
        legacy::Outcome::Unknown(_) => Some("UNKNOWN"),
    }
}

impl Store for Elsewhere {
    fn query(&self, peer: Option<Multiaddr>, query: StoreQuery) -> Answer<'_, Result<StorePage, StoreRefused>> {
        Box::pin(async move {
            let StoreQuery { wanted, hashes, cursor, include_data } = query;
            let target = self.target(peer, Protocol::StoreV3, wanted.pubsub_topic.as_ref()).await?;
            let query = wanted.query(hashes, cursor.map(Cursor::Hash), include_data);
            let request = wire::Request::encode(&request_id(&mut system_rng()), &query);
            let answer = self.0.ask(target, Protocol::StoreV3, request).await.map_err(unasked)?;
            let wire::Response { request_id, status, description, entries, cursor } =
                wire::Response::decode(answer).map_err(unread)?;
            match status {
                wire::Status::Ok => Ok(StorePage {
                    request_id,
                    status: (status.code(), description),
                    messages: entries.into_iter().map(Stored::from).collect(),
                    cursor,
                }),
                wire::Status::TooManyRequests => Err(StoreRefused::TooMany),
                _ => Err(StoreRefused::Failed(description)),
            }
        })
    }

    fn legacy(
        &self,
        peer: Option<Multiaddr>,
        wanted: Wanted,
        cursor: Option<Index>,
    ) -> Answer<'_, Result<LegacyPage, StoreRefused>> {
        Box::pin(async move {
            let cursor = cursor.map(|index| index.cursor().ok_or_else(bad_cursor)).transpose()?;
            let target = self.target(peer, Protocol::StoreLegacy, wanted.pubsub_topic.as_ref()).await?;
            let query = wanted.query(Vec::new(), cursor, true);
            let request = legacy::Request::encode(&request_id(&mut system_rng()), &query).ok_or_else(bad_cursor)?;
            let answer = self.0.ask(target, Protocol::StoreLegacy, request).await.map_err(unasked)?;
            let legacy::Response { messages, cursor, outcome, .. } =
                legacy::Response::decode(answer).map_err(unread)?;
            match words(outcome) {
                None => Ok(LegacyPage { messages, cursor: cursor.map(Index::from) }),
                Some(words) => Err(StoreRefused::Failed(words.to_owned())),
            }
        })
    }
}
