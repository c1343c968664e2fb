//! Relay: which topics are followed, what came on them, and publishing.  Deployed: nwaku; spec: 11/WAKU2-RELAY, 51/WAKU2-RELAY-SHARDING.
//!
//! A topic is left when nobody here follows it any more. What the node relays for a bridge stays.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use devp2p::clock::now;
use tokio::{sync::Mutex, time::timeout};
use utoipa_axum::{router::OpenApiRouter, routes};
use waku2::{
    ClusterId, ContentTopic, PublishError, PubsubTopic, Shard, WakuMessage,
    shard::{AutoshardError, shard_of},
};

use super::{
    answer,
    body::Body,
    cache::Shared,
    ports::Relaying,
    values::{Message, NewMessage},
};

/// How long a publication may take, or topics to be joined and left.  Deployed: nwaku.
const PUBLISH_TIME: Duration = super::wait(5);

/// What shards follow from content topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sharding {
    /// The network.
    pub(crate) cluster: ClusterId,
    /// Its shards; 0 where none follows.
    pub(crate) shards: u16,
}

impl Sharding {
    /// The pubsub topic of a content topic.
    pub(super) fn topic_of(self, topic: &ContentTopic) -> Result<PubsubTopic, String> {
        match shard_of(topic, self.shards) {
            Ok(index) => Ok(Shard { cluster: self.cluster, index }.into()),
            Err(AutoshardError::NoShards) => Err("Autosharding is disabled".to_owned()),
            Err(error) => Err(format!("Autosharding error: {error}")),
        }
    }
}

/// What the routes work with.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    relaying: Arc<dyn Relaying>,
    cache: Shared,
    sharding: Sharding,
    /// The topics that are left when nobody here follows them, held while topics come and go.
    ours: Arc<Mutex<BTreeSet<PubsubTopic>>>,
}

/// Nanoseconds since 1970.
pub(super) fn unix_nanos() -> i64 {
    now().unix_nanos()
}

impl Relay {
    /// Keeps in `cache` what comes by relay. `leaves`: those of its topics that the node may leave when asked to.
    pub(crate) fn new(
        relaying: Arc<dyn Relaying>,
        cache: Shared,
        sharding: Sharding,
        leaves: impl IntoIterator<Item = PubsubTopic>,
    ) -> Self {
        Self { relaying, cache, sharding, ours: Arc::new(Mutex::new(leaves.into_iter().collect())) }
    }

    async fn join(&self, ours: &mut BTreeSet<PubsubTopic>, topic: PubsubTopic) -> Result<(), String> {
        let is_new = self.relaying.subscribe(topic.clone()).await.map_err(|error| error.to_string())?;
        if is_new {
            ours.insert(topic);
        }
        Ok(())
    }

    /// Leaves a topic unless somebody here follows it.
    async fn leave(&self, ours: &mut BTreeSet<PubsubTopic>, topic: &PubsubTopic) {
        let is_followed = {
            let cache = self.cache.lock();
            let by_content = |content| self.sharding.topic_of(content).as_ref() == Ok(topic);
            cache.follows_pubsub(topic) || cache.content_topics().any(by_content)
        };
        if !is_followed && ours.remove(topic) {
            self.relaying.unsubscribe(topic.clone()).await;
        }
    }

    /// Joins all of these and has them followed; where one is refused, none.
    async fn join_all(
        &self,
        topics: &[PubsubTopic],
        follow: impl FnOnce(&Shared) -> Result<(), String> + Send,
    ) -> Result<(), String> {
        let mut ours = self.ours.lock().await;
        let mut joined = Ok(());
        for topic in topics {
            joined = self.join(&mut ours, topic.clone()).await;
            if joined.is_err() {
                break;
            }
        }
        let followed = joined.and_then(|()| follow(&self.cache));
        if followed.is_err() {
            for topic in topics {
                self.leave(&mut ours, topic).await;
            }
        }
        followed
    }

    async fn follow(&self, topics: Vec<PubsubTopic>) -> Result<(), String> {
        let follow = |cache: &Shared| {
            topics.iter().for_each(|topic| cache.lock().follow_pubsub(topic.clone()));
            Ok(())
        };
        self.join_all(&topics, follow).await
    }

    async fn unfollow(&self, topics: Vec<PubsubTopic>) -> Result<(), String> {
        let mut ours = self.ours.lock().await;
        for topic in topics {
            self.cache.lock().leave_pubsub(&topic);
            self.leave(&mut ours, &topic).await;
        }
        Ok(())
    }

    async fn follow_content(&self, topics: Vec<ContentTopic>) -> Result<(), String> {
        let shards: BTreeSet<_> = topics.iter().map(|topic| self.sharding.topic_of(topic)).collect::<Result<_, _>>()?;
        let follow = |cache: &Shared| cache.lock().follow_content(&topics).map_err(|error| error.to_string());
        self.join_all(&Vec::from_iter(shards), follow).await
    }

    async fn unfollow_content(&self, topics: Vec<ContentTopic>) -> Result<(), String> {
        let mut ours = self.ours.lock().await;
        let shards: Vec<_> = topics.iter().map(|topic| self.sharding.topic_of(topic)).collect::<Result<_, _>>()?;
        for (topic, shard) in topics.iter().zip(shards) {
            self.cache.lock().leave_content(topic);
            self.leave(&mut ours, &shard).await;
        }
        Ok(())
    }

    /// Publishes. It is kept for those who poll as if it had come: the node tells of what goes out, and what nobody is there to take is kept here.
    async fn publish(&self, topic: &PubsubTopic, message: &WakuMessage) -> Result<(), Unpublished> {
        let sent = self.relaying.publish(topic.clone(), message.encode());
        let sent = timeout(PUBLISH_TIME, sent).await.map_err(|_| Unpublished::Slow)?;
        if matches!(sent, Err(PublishError::NoPeers)) {
            self.cache.offer(topic, message);
        }
        sent.map(|_| ()).map_err(Unpublished::Refused)
    }
}

/// Why a message did not go out.
enum Unpublished {
    Slow,
    Refused(PublishError),
}

/// The sentence of a refusal.
fn refusal(error: &PublishError, topic: &PubsubTopic) -> String {
    match error {
        PublishError::NotSubscribed => format!("Node not subscribed to topic: {topic}"),
        PublishError::TooLarge { limit_bytes, .. } => format!("Message size exceeded maximum of {limit_bytes} bytes"),
        PublishError::NoPeers => "NoPeersToPublish".to_owned(),
        PublishError::Refused(reason) => reason.text().to_owned(),
        other => other.to_string(),
    }
}

impl Unpublished {
    fn answer(&self, topic: &PubsubTopic) -> Response {
        match self {
            Self::Slow => answer::failed("Failed to publish: timedout"),
            Self::Refused(error @ (PublishError::QueueFull | PublishError::Stopped)) => {
                answer::failed(format!("Failed to publish: {error}"))
            }
            Self::Refused(PublishError::NoProof(error)) => {
                answer::failed(format!("Failed to publish: error appending RLN proof to message: {}", error.words()))
            }
            Self::Refused(error) => answer::bad_request(format!("Failed to publish: {}", refusal(error, topic))),
        }
    }
}

/// Its routes.
pub(super) fn router(relay: Relay) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(subscribe, unsubscribe, subscriptions_options))
        .routes(routes!(messages, publish, messages_options))
        .routes(routes!(auto_subscribe, auto_unsubscribe, auto_subscriptions_options))
        .routes(routes!(auto_messages, auto_messages_options))
        .routes(routes!(auto_publish, auto_publish_options))
        .with_state(relay)
}

/// Static shards, as nwaku asks for them.
fn shards(names: &[String]) -> Result<Vec<PubsubTopic>, String> {
    let read = |name: &String| match name.parse::<Shard>() {
        Ok(shard) => Ok(shard.into()),
        Err(error) => Err(format!("Invalid pubsub topic: {name}: {error}")),
    };
    names.iter().map(read).collect()
}

/// What came of joining or leaving topics, within its time.
async fn changed(what: &str, change: impl Future<Output = Result<(), String>>) -> Response {
    match timeout(PUBLISH_TIME, change).await {
        Ok(Ok(())) => answer::ok(),
        Ok(Err(error)) => answer::bad_request(format!("{what} failed: {error}")),
        Err(_) => answer::failed(format!("{what} failed: timedout")),
    }
}

fn topics(names: Vec<String>) -> Vec<ContentTopic> {
    names.into_iter().map(ContentTopic::from).collect()
}

/// Follows pubsub topics: relays them, and keeps what comes on them.
#[utoipa::path(post, path = "/relay/v1/subscriptions", tag = "relay",
    request_body(content = Vec<String>, example = json!(["/waku/2/rs/0/0"])),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 400, description = "A topic is no static shard, or not of this network", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
        (status = 500, description = "The node takes too long", body = String, content_type = "text/plain")))]
async fn subscribe(State(relay): State<Relay>, Body(names): Body<Vec<String>>) -> Response {
    match shards(&names) {
        Ok(topics) => changed("Subscribe", relay.follow(topics)).await,
        Err(error) => answer::bad_request(format!("Subscribe failed: {error}")),
    }
}

/// Follows pubsub topics no longer.
#[utoipa::path(delete, path = "/relay/v1/subscriptions", tag = "relay",
    request_body(content = Vec<String>, example = json!(["/waku/2/rs/0/0"])),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 400, description = "A topic is no static shard", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
        (status = 500, description = "The node takes too long", body = String, content_type = "text/plain")))]
async fn unsubscribe(State(relay): State<Relay>, Body(names): Body<Vec<String>>) -> Response {
    match shards(&names) {
        Ok(topics) => changed("Unsubscribe", relay.unfollow(topics)).await,
        Err(error) => answer::bad_request(format!("Unsubscribe failed: {error}")),
    }
}

/// What came on a pubsub topic since it was last asked for.
#[utoipa::path(get, path = "/relay/v1/messages/{pubsubTopic}", tag = "relay", params(("pubsubTopic" = String, Path, description = "Percent-encoded", example = "/waku/2/rs/0/0")),
    responses((status = 200, description = "In the order in which it came", body = Vec<Message>),
        (status = 400, description = "The path is no Unicode", body = String, content_type = "text/plain"),
        (status = 404, description = "The topic is not followed")))]
async fn messages(State(relay): State<Relay>, Path(name): Path<String>) -> Response {
    let taken = name.parse().ok().and_then(|topic| relay.cache.lock().take_pubsub(&topic));
    taken.map_or_else(|| StatusCode::NOT_FOUND.into_response(), told)
}

/// Publishes a message on a pubsub topic.
#[utoipa::path(post, path = "/relay/v1/messages/{pubsubTopic}", tag = "relay", params(("pubsubTopic" = String, Path, description = "Percent-encoded", example = "/waku/2/rs/0/0")),
    request_body = NewMessage,
    responses((status = 200, description = "OK, whether or not a peer is there to take it", body = String, content_type = "text/plain"),
        (status = 400, description = "No message, or none that may go out", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
        (status = 500, description = "The queues to all peers are full, no rate-limit proof could be made, or the node stops", body = String, content_type = "text/plain")))]
async fn publish(State(relay): State<Relay>, Path(name): Path<String>, request: axum::extract::Request) -> Response {
    // As in nwaku, whether the topic is relayed counts before the body does.
    let topic = match name.parse::<PubsubTopic>() {
        Ok(topic) if relay.relaying.relays(&topic) => topic,
        _ => return answer::bad_request(format!("Failed to publish: Node not subscribed to topic: {name}")),
    };
    let new = match super::body::decode::<NewMessage>(request, super::body::Accepted::JsonOrText).await {
        Ok(new) => new,
        Err(refused) => return refused.into_response(),
    };
    let message = match new.message(unix_nanos()) {
        Ok(message) => message,
        Err(error) => return answer::bad_request(format!("Failed to publish: {error}")),
    };
    match relay.publish(&topic, &message).await {
        Ok(()) | Err(Unpublished::Refused(PublishError::NoPeers)) => answer::ok(),
        Err(unpublished) => unpublished.answer(&topic),
    }
}

/// Follows content topics: relays their shards, and keeps what is about them.
#[utoipa::path(post, path = "/relay/v1/auto/subscriptions", tag = "relay",
    request_body(content = Vec<String>, example = json!(["/app/1/name/proto"])),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 400, description = "No shard follows from a topic", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
        (status = 500, description = "The node takes too long", body = String, content_type = "text/plain")))]
async fn auto_subscribe(State(relay): State<Relay>, Body(names): Body<Vec<String>>) -> Response {
    changed("Subscribe", relay.follow_content(topics(names))).await
}

/// Follows content topics no longer.
#[utoipa::path(delete, path = "/relay/v1/auto/subscriptions", tag = "relay",
    request_body(content = Vec<String>, example = json!(["/app/1/name/proto"])),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 400, description = "No shard follows from a topic", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
        (status = 500, description = "The node takes too long", body = String, content_type = "text/plain")))]
async fn auto_unsubscribe(State(relay): State<Relay>, Body(names): Body<Vec<String>>) -> Response {
    changed("Unsubscribe", relay.unfollow_content(topics(names))).await
}

/// What came about a content topic since it was last asked for.
#[utoipa::path(get, path = "/relay/v1/auto/messages/{contentTopic}", tag = "relay", params(("contentTopic" = String, Path, description = "Percent-encoded", example = "/app/1/name/proto")),
    responses((status = 200, description = "In the order in which it came", body = Vec<Message>),
        (status = 400, description = "The path is no Unicode", body = String, content_type = "text/plain"),
        (status = 404, description = "The topic, which is not followed", body = String, content_type = "text/plain")))]
async fn auto_messages(State(relay): State<Relay>, Path(name): Path<String>) -> Response {
    let taken = relay.cache.lock().take_content(&name.as_str().into());
    taken.map_or_else(|| answer::text(StatusCode::NOT_FOUND, name), told)
}

/// Publishes a message on the shard of its content topic.
#[utoipa::path(post, path = "/relay/v1/auto/messages", tag = "relay", request_body = NewMessage,
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 400, description = "No message, or none that may go out, or nobody to take it", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
        (status = 500, description = "The queues to all peers are full, no rate-limit proof could be made, or the node stops", body = String, content_type = "text/plain")))]
async fn auto_publish(State(relay): State<Relay>, Body(new): Body<NewMessage>) -> Response {
    let message = match new.message(unix_nanos()) {
        Ok(message) => message,
        Err(error) => return answer::bad_request(format!("Failed to publish: {error}")),
    };
    let topic = match relay.sharding.topic_of(&message.content_topic) {
        Ok(topic) => topic,
        Err(error) => return answer::bad_request(format!("Failed to publish. {error}")),
    };
    match relay.publish(&topic, &message).await {
        Ok(()) => answer::ok(),
        Err(unpublished) => unpublished.answer(&topic),
    }
}

fn told(messages: Vec<WakuMessage>) -> Response {
    Json(messages.into_iter().map(Message::relayed).collect::<Vec<_>>()).into_response()
}

/// What browsers ask before they post.
#[utoipa::path(options, path = "/relay/v1/subscriptions", tag = "relay", responses((status = 200, description = "OK", body = String, content_type = "text/plain")))]
async fn subscriptions_options() -> Response {
    answer::ok()
}

/// What browsers ask before they post.
#[utoipa::path(options, path = "/relay/v1/messages/{pubsubTopic}", tag = "relay", params(("pubsubTopic" = String, Path, description = "Anything")),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain")))]
async fn messages_options() -> Response {
    answer::ok()
}

/// What browsers ask before they post.
#[utoipa::path(options, path = "/relay/v1/auto/subscriptions", tag = "relay", responses((status = 200, description = "OK", body = String, content_type = "text/plain")))]
async fn auto_subscriptions_options() -> Response {
    answer::ok()
}

/// What browsers ask before they post.
#[utoipa::path(options, path = "/relay/v1/auto/messages/{contentTopic}", tag = "relay", params(("contentTopic" = String, Path, description = "Anything")),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain")))]
async fn auto_messages_options() -> Response {
    answer::ok()
}

/// What browsers ask before they post.
#[utoipa::path(options, path = "/relay/v1/auto/messages", tag = "relay", responses((status = 200, description = "OK", body = String, content_type = "text/plain")))]
async fn auto_publish_options() -> Response {
    answer::ok()
}
