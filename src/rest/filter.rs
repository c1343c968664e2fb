//! Filter: what another node is asked to push, and what it pushed.  Deployed: nwaku; spec: 12/WAKU2-FILTER.
//!
//! This node is the client. What the service refuses is told by its own words, in JSON.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use waku2::{ContentTopic, PubsubTopic, topic::PubsubTopicError};

use super::{
    answer,
    body::{self, Accepted, Refused},
    cache::Shared,
    ports::{Answer, Criteria, FilterClient, FilterRefused},
    values::Message,
};

/// How long the service may take.  Deployed: nwaku.
const CALL_TIME: Duration = super::wait(5);

/// What a request is called that could not be read.
const UNKNOWN_REQUEST: &str = "unknown";

/// What the routes work with.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// Who asks.
    pub(crate) client: Arc<dyn FilterClient>,
    /// What was pushed.
    pub(crate) cache: Shared,
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SubscribeRequest {
    /// Comes back with the answer.
    #[serde(deserialize_with = "words")]
    request_id: String,
    /// About what; one at least.
    #[serde(deserialize_with = "some_topics")]
    #[schema(min_items = 1)]
    content_filters: Vec<String>,
    /// Where; without it, where the content topics belong by themselves.
    pubsub_topic: Option<String>,
}

/// What ends everything.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UnsubscribeAllRequest {
    /// Comes back with the answer.
    #[serde(deserialize_with = "words")]
    request_id: String,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SubscriptionResponse {
    /// Of the request.
    request_id: String,
    /// `OK`, or why not.
    status_desc: String,
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// A name that says something.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let words = String::deserialize(deserializer)?;
    if is_blank(&words) { Err(D::Error::custom("Field `requestId` is empty")) } else { Ok(words) }
}

fn some_topics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let topics = Vec::<String>::deserialize(deserializer)?;
    match topics.is_empty() || topics.iter().any(|topic| is_blank(topic)) {
        true => Err(D::Error::custom("Field `contentFilters` is empty")),
        false => Ok(topics),
    }
}

impl SubscribeRequest {
    fn criteria(&self) -> Result<Criteria, PubsubTopicError> {
        let pubsub_topic = self.pubsub_topic.as_deref().filter(|topic| !topic.is_empty());
        Ok(Criteria {
            pubsub_topic: pubsub_topic.map(str::parse::<PubsubTopic>).transpose()?,
            content_topics: self.content_filters.iter().map(|topic| ContentTopic::from(topic.as_str())).collect(),
        })
    }
}

fn told(status: StatusCode, request_id: impl Into<String>, words: impl Into<String>) -> Response {
    let response = SubscriptionResponse { request_id: request_id.into(), status_desc: words.into() };
    (status, Json(response)).into_response()
}

/// The status of a refusal.  Deployed: nwaku, whose unknown failure is a success to HTTP.
fn status(refused: &FilterRefused) -> StatusCode {
    match refused {
        FilterRefused::Dial(_) => StatusCode::GATEWAY_TIMEOUT,
        FilterRefused::BadResponse(_) => StatusCode::INTERNAL_SERVER_ERROR,
        FilterRefused::BadRequest(_) => StatusCode::BAD_REQUEST,
        FilterRefused::NotFound(_) => StatusCode::NOT_FOUND,
        FilterRefused::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        FilterRefused::NoPeer(_) | FilterRefused::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        FilterRefused::Unknown => StatusCode::OK,
    }
}

/// What came of a call, within its time.
async fn called(call: Answer<'_, Result<(), FilterRefused>>, slow: &str) -> Result<(), FilterRefused> {
    let done = timeout(CALL_TIME, call).await;
    done.unwrap_or_else(|_| Err(FilterRefused::Unavailable(slow.to_owned())))
}

fn answered(request_id: String, done: Result<(), FilterRefused>) -> Response {
    match done {
        Ok(()) => told(StatusCode::OK, request_id, "OK"),
        Err(refused) => told(status(&refused), request_id, refused.to_string()),
    }
}

fn undecoded(refused: &Refused) -> Response {
    told(refused.status(), UNKNOWN_REQUEST, format!("Failed to decode request: {refused}"))
}

async fn criteria(request: Request) -> Result<(String, Criteria), Box<Response>> {
    let request: SubscribeRequest =
        body::decode(request, Accepted::JsonAlone).await.map_err(|refused| Box::new(undecoded(&refused)))?;
    match request.criteria() {
        Ok(criteria) => Ok((request.request_id, criteria)),
        Err(error) => Err(Box::new(told(StatusCode::BAD_REQUEST, request.request_id, error.to_string()))),
    }
}

/// Its routes.
pub(super) fn router(filter: Filter) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(subscribe, modify, unsubscribe))
        .routes(routes!(unsubscribe_all))
        .routes(routes!(ping))
        .routes(routes!(messages))
        .with_state(filter)
}

async fn follow(filter: &Filter, request: Request) -> Response {
    let (request_id, criteria) = match criteria(request).await {
        Ok(read) => read,
        Err(answer) => return *answer,
    };
    let topics = criteria.content_topics.clone();
    let done = called(filter.client.subscribe(criteria), "Subscription request timed out").await;
    if done.is_ok()
        && let Err(error) = filter.cache.lock().follow_content(&topics)
    {
        return told(StatusCode::BAD_REQUEST, request_id, error.to_string());
    }
    answered(request_id, done)
}

/// Asks a service to push what is about some content topics.
#[utoipa::path(post, path = "/filter/v2/subscriptions", tag = "filter", request_body = SubscribeRequest, responses(
    (status = 200, description = "OK, or a failure that has no name", body = SubscriptionResponse),
    (status = 400, description = "The request is wrong", body = SubscriptionResponse),
    (status = 404, description = "The service knows of no subscription", body = SubscriptionResponse),
    (status = 408, description = "The body takes too long", body = SubscriptionResponse),
    (status = 413, description = "The body is too long", body = SubscriptionResponse),
    (status = 429, description = "The service is asked too often", body = SubscriptionResponse),
    (status = 500, description = "The service's answer is none", body = SubscriptionResponse),
    (status = 503, description = "There is no service, or it can't serve", body = SubscriptionResponse),
    (status = 504, description = "The service is not reached", body = SubscriptionResponse)))]
async fn subscribe(State(filter): State<Filter>, request: Request) -> Response {
    follow(&filter, request).await
}

/// The same.
#[utoipa::path(put, path = "/filter/v2/subscriptions", tag = "filter", request_body = SubscribeRequest, responses(
    (status = 200, description = "OK, or a failure that has no name", body = SubscriptionResponse),
    (status = 400, description = "The request is wrong", body = SubscriptionResponse),
    (status = 404, description = "The service knows of no subscription", body = SubscriptionResponse),
    (status = 408, description = "The body takes too long", body = SubscriptionResponse),
    (status = 413, description = "The body is too long", body = SubscriptionResponse),
    (status = 429, description = "The service is asked too often", body = SubscriptionResponse),
    (status = 500, description = "The service's answer is none", body = SubscriptionResponse),
    (status = 503, description = "There is no service, or it can't serve", body = SubscriptionResponse),
    (status = 504, description = "The service is not reached", body = SubscriptionResponse)))]
async fn modify(State(filter): State<Filter>, request: Request) -> Response {
    follow(&filter, request).await
}

/// Asks it to push some of it no longer.
#[utoipa::path(delete, path = "/filter/v2/subscriptions", tag = "filter", request_body = SubscribeRequest, responses(
    (status = 200, description = "OK, or a failure that has no name", body = SubscriptionResponse),
    (status = 400, description = "The request is wrong", body = SubscriptionResponse),
    (status = 404, description = "The service knows of no subscription", body = SubscriptionResponse),
    (status = 408, description = "The body takes too long", body = SubscriptionResponse),
    (status = 413, description = "The body is too long", body = SubscriptionResponse),
    (status = 429, description = "The service is asked too often", body = SubscriptionResponse),
    (status = 500, description = "The service's answer is none", body = SubscriptionResponse),
    (status = 503, description = "There is no service, or it can't serve", body = SubscriptionResponse),
    (status = 504, description = "The service is not reached", body = SubscriptionResponse)))]
async fn unsubscribe(State(filter): State<Filter>, request: Request) -> Response {
    let (request_id, criteria) = match criteria(request).await {
        Ok(read) => read,
        Err(answer) => return *answer,
    };
    let topics = criteria.content_topics.clone();
    let slow = "Failed to unsubscribe from contentFilters due to timeout!";
    let done = called(filter.client.unsubscribe(criteria), slow).await;
    if done.is_ok() {
        let mut cache = filter.cache.lock();
        topics.iter().for_each(|topic| cache.leave_content(topic));
    }
    answered(request_id, done)
}

/// Asks it to push nothing any more.
#[utoipa::path(delete, path = "/filter/v2/subscriptions/all", tag = "filter", request_body = UnsubscribeAllRequest, responses(
    (status = 200, description = "OK, or a failure that has no name", body = SubscriptionResponse),
    (status = 400, description = "The request is wrong", body = SubscriptionResponse),
    (status = 404, description = "The service knows of no subscription", body = SubscriptionResponse),
    (status = 408, description = "The body takes too long", body = SubscriptionResponse),
    (status = 413, description = "The body is too long", body = SubscriptionResponse),
    (status = 429, description = "The service is asked too often", body = SubscriptionResponse),
    (status = 500, description = "The service's answer is none", body = SubscriptionResponse),
    (status = 503, description = "There is no service, or it can't serve", body = SubscriptionResponse),
    (status = 504, description = "The service is not reached", body = SubscriptionResponse)))]
async fn unsubscribe_all(State(filter): State<Filter>, request: Request) -> Response {
    let UnsubscribeAllRequest { request_id } = match body::decode(request, Accepted::JsonAlone).await {
        Ok(request) => request,
        Err(refused) => return undecoded(&refused),
    };
    let slow = "Failed to unsubscribe from all contentFilters due to timeout!";
    let done = called(filter.client.unsubscribe_all(), slow).await;
    // Whatever the service says, the client takes nothing from it any more.
    filter.cache.lock().reset();
    answered(request_id, done)
}

/// Asks it whether it pushes anything.
#[utoipa::path(get, path = "/filter/v2/subscriptions/{requestId}", tag = "filter", params(("requestId" = String, Path, description = "Comes back with the answer")), responses(
    (status = 200, description = "OK, or a failure that has no name", body = SubscriptionResponse),
    (status = 400, description = "The request is wrong", body = SubscriptionResponse),
    (status = 404, description = "The service knows of no subscription", body = SubscriptionResponse),
    (status = 429, description = "The service is asked too often", body = SubscriptionResponse),
    (status = 500, description = "The service's answer is none", body = SubscriptionResponse),
    (status = 503, description = "There is no service, or it can't serve", body = SubscriptionResponse),
    (status = 504, description = "The service is not reached", body = SubscriptionResponse)))]
async fn ping(State(filter): State<Filter>, Path(request_id): Path<String>) -> Response {
    answered(request_id, called(filter.client.ping(), "Ping timed out").await)
}

/// What was pushed about a content topic since it was last asked for.
#[utoipa::path(get, path = "/filter/v2/messages/{contentTopic}", tag = "filter", params(("contentTopic" = String, Path, description = "Percent-encoded", example = "/app/1/name/proto")),
    responses((status = 200, description = "In the order in which it came", body = Vec<Message>),
        (status = 400, description = "The topic is not subscribed", body = String, content_type = "text/plain")))]
async fn messages(State(filter): State<Filter>, Path(name): Path<String>) -> Response {
    let taken = filter.cache.lock().take_content(&name.as_str().into());
    match taken {
        Some(messages) => Json(messages.into_iter().map(Message::pushed).collect::<Vec<_>>()).into_response(),
        None => answer::bad_request(format!("Not subscribed to topic: {name}")),
    }
}
