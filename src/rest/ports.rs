//! What REST needs of the node, as narrow traits: routes know no protocol, and tests give them services that fail as they should.
//!
//! What a trait returns is decided already: a route makes a status and a text of it, and nothing else.

use std::{fmt::Debug, pin::Pin};

use bytes::Bytes;
use waku2::{
    ContentTopic, MessageHash, Multiaddr, PeerId, PublishError, Published, PubsubTopic, WakuMessage,
    known::{ConnectError, KnownPeer},
    lightpush::{Failure, Pushed},
    subscriptions::SubscribeError,
};

pub(crate) use waku2::service::NoPeer;

use crate::{cli::LogLevel, logging::LevelRefused};

/// What comes later.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who this node is.
pub(crate) trait Identity: Send + Sync + Debug {
    /// Where others reach it, `/p2p/ID` included.
    fn addresses(&self) -> Vec<Multiaddr>;
    /// Its signed record as text, `enr:…`; empty where there is none.
    fn record(&self) -> String;
}

/// How well the node is.
pub(crate) trait Health: Send + Sync + Debug {
    /// The report; nothing while it can't be had.
    fn report(&self) -> Answer<'_, Option<crate::health::Report>>;
}

/// Relay of the Waku Network.
pub(crate) trait Relaying: Send + Sync + Debug {
    /// Is the topic relayed now?
    fn relays(&self, topic: &PubsubTopic) -> bool;
    /// As [`waku2::Handle::subscribe`].
    fn subscribe(&self, topic: PubsubTopic) -> Answer<'_, Result<bool, SubscribeError>>;
    /// As [`waku2::Handle::unsubscribe`].
    fn unsubscribe(&self, topic: PubsubTopic) -> Answer<'_, bool>;
    /// As [`waku2::Handle::submit`].
    fn publish(&self, topic: PubsubTopic, data: Bytes) -> Answer<'_, Result<Published, PublishError>>;
}

/// Peers of the Waku Network.
pub(crate) trait Peers: Send + Sync + Debug {
    /// All that are known; `None` once the node has stopped.
    fn known(&self) -> Answer<'_, Option<Vec<KnownPeer>>>;
    /// The topics that are relayed, in order.
    fn topics(&self) -> Vec<PubsubTopic>;
    /// Calls a peer.
    fn connect(&self, addr: Multiaddr) -> Answer<'_, Result<(), ConnectError>>;
}

/// What logs are told of.
pub(crate) trait Levels: Send + Sync + Debug {
    /// From now on nothing below this.
    fn set(&self, level: LogLevel) -> Result<(), LevelRefused>;
}

/// What a filter is asked for: 12/WAKU2-FILTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Criteria {
    /// Where; without it, where the content topics belong by themselves.
    pub(crate) pubsub_topic: Option<PubsubTopic>,
    /// About what; one at least.
    pub(crate) content_topics: Vec<ContentTopic>,
}

/// Why a filter was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterRefused {
    /// Nobody to ask.
    #[error(transparent)]
    NoPeer(#[from] NoPeer),
    /// The peer does not answer a call; its address.
    #[error("{0}")]
    Dial(String),
    /// The peer's answer is none.
    #[error("{0}")]
    BadResponse(String),
    /// The peer says that the request is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// The peer knows of no subscription.
    #[error("{0}")]
    NotFound(String),
    /// Asked too often.
    #[error("{0}")]
    TooMany(String),
    /// The peer can't serve now.
    #[error("{0}")]
    Unavailable(String),
    /// The peer says something else.
    #[error("UNKNOWN")]
    Unknown,
}

/// The client of 12/WAKU2-FILTER. What is pushed goes to [`super::cache::Shared::offer`].
pub(crate) trait FilterClient: Send + Sync + Debug {
    /// Subscribes, or adds to what is subscribed.
    fn subscribe(&self, criteria: Criteria) -> Answer<'_, Result<(), FilterRefused>>;
    /// Ends some of it.
    fn unsubscribe(&self, criteria: Criteria) -> Answer<'_, Result<(), FilterRefused>>;
    /// Ends all of it.
    fn unsubscribe_all(&self) -> Answer<'_, Result<(), FilterRefused>>;
    /// Is anything subscribed?
    fn ping(&self) -> Answer<'_, Result<(), FilterRefused>>;
}

/// The service of 12/WAKU2-FILTER.
pub(crate) trait FilterService: Send + Sync + Debug {
    /// Who is subscribed to what.
    fn subscriptions(&self) -> Vec<(PeerId, Vec<(PubsubTopic, ContentTopic)>)>;
}

/// What of the history is wanted, over either protocol of 13/WAKU2-STORE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// Where.
    pub(crate) pubsub_topic: Option<PubsubTopic>,
    /// About what; anything if none.
    pub(crate) content_topics: Vec<ContentTopic>,
    /// Not sent before, in nanoseconds since 1970.
    pub(crate) from: Option<i64>,
    /// Not sent later, in nanoseconds since 1970.
    pub(crate) to: Option<i64>,
    /// Pages from the newest end.
    pub(crate) backward: bool,
    /// Most messages of a page; 0 for as many as the service gives unasked.
    pub(crate) page_size: u64,
}

/// A query of 13/WAKU2-STORE, version 3.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoreQuery {
    /// What is wanted.
    pub(crate) wanted: Wanted,
    /// These messages and no others.
    pub(crate) hashes: Vec<MessageHash>,
    /// Where the page begins.
    pub(crate) cursor: Option<MessageHash>,
    /// Messages, not only their hashes.
    pub(crate) include_data: bool,
}

/// A page of it, oldest message first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StorePage {
    /// Of the request; empty where none was sent.
    pub(crate) request_id: String,
    /// The service's status and its words.
    pub(crate) status: (u32, String),
    /// What was found.
    pub(crate) messages: Vec<Stored>,
    /// Where the next page begins, if there is one.
    pub(crate) cursor: Option<MessageHash>,
}

/// A message of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its hash.
    pub(crate) hash: MessageHash,
    /// Where it was published and what it is, if asked for.
    pub(crate) content: Option<(PubsubTopic, WakuMessage)>,
}

/// A place in the history of 2.0.0-beta4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// Where the message was published.
    pub(crate) pubsub_topic: PubsubTopic,
    /// When it was sent, in nanoseconds since 1970.
    pub(crate) sender_time: i64,
    /// When it was kept, in nanoseconds since 1970.
    pub(crate) store_time: i64,
    /// SHA-256 of content topic and payload.
    pub(crate) digest: Bytes,
}

/// A page of 2.0.0-beta4.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LegacyPage {
    /// What was found.
    pub(crate) messages: Vec<WakuMessage>,
    /// Where the next page begins, if there is one.
    pub(crate) cursor: Option<Index>,
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreRefused {
    /// Nobody to ask.
    #[error(transparent)]
    NoPeer(#[from] NoPeer),
    /// Asked too often.
    #[error("Request rate limit reached")]
    TooMany,
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// The history of this node or of others; `peer` is whom to ask, which the node's own leaves alone.
pub(crate) trait Store: Send + Sync + Debug {
    /// A page, over version 3.
    fn query(&self, peer: Option<Multiaddr>, query: StoreQuery) -> Answer<'_, Result<StorePage, StoreRefused>>;
    /// A page, over 2.0.0-beta4.
    fn legacy(
        &self,
        peer: Option<Multiaddr>,
        wanted: Wanted,
        cursor: Option<Index>,
    ) -> Answer<'_, Result<LegacyPage, StoreRefused>>;
}

/// A message to be published by another node, or by this one for itself: 19/WAKU2-LIGHTPUSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    /// Where; without it, where its content topic belongs by itself.
    pub(crate) pubsub_topic: Option<PubsubTopic>,
    /// What.
    pub(crate) message: WakuMessage,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PushRefused {
    /// Nobody to ask.
    #[error(transparent)]
    NoPeer(#[from] NoPeer),
    /// The service's word.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// 19/WAKU2-LIGHTPUSH, in whichever version the service speaks.
pub(crate) trait Lightpush: Send + Sync + Debug {
    /// Has a message published.
    fn push(&self, push: Push) -> Answer<'_, Result<Pushed, PushRefused>>;
}
