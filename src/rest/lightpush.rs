//! Lightpush: a message that another node publishes, or this one for itself.  Deployed: nwaku; spec: 19/WAKU2-LIGHTPUSH.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use waku2::{
    PubsubTopic,
    lightpush::{Failure, Pushed, Status},
};

use super::{
    answer,
    body::{self, Accepted, Body},
    ports::{Answer, Lightpush, Push, PushRefused},
    relay::unix_nanos,
    values::NewMessage,
};

/// How long the service may take.  Deployed: nwaku.
const CALL_TIME: Duration = super::wait(5);

/// What is to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PushRequest {
    /// Where; without it, where the content topic belongs by itself.
    pubsub_topic: Option<String>,
    /// What.
    message: NewMessage,
}

/// What came of it.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PushResponse {
    /// Why it was not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_desc: Option<String>,
    /// To how many peers the service sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay_peer_count: Option<u32>,
}

impl PushRequest {
    fn push(self) -> Result<Push, String> {
        let topic = self.pubsub_topic.filter(|topic| !topic.is_empty());
        let pubsub_topic = topic.map(|topic| topic.parse::<PubsubTopic>()).transpose().map_err(|e| e.to_string())?;
        let message = self.message.message(unix_nanos()).map_err(|error| format!("Invalid message: {error}"))?;
        Ok(Push { pubsub_topic, message })
    }
}

/// Its routes.
pub(super) fn router(lightpush: Arc<dyn Lightpush>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(push_v1)).routes(routes!(push_v3)).with_state(lightpush)
}

/// What is said when the service takes too long.
const SLOW: &str = "Push request timed out";

/// What came of a call; `None` when it took too long.
async fn called(call: Answer<'_, Result<Pushed, PushRefused>>) -> Option<Result<Pushed, PushRefused>> {
    timeout(CALL_TIME, call).await.ok()
}

/// Publishes a message by a service, over 2.0.0-beta1.
#[utoipa::path(post, path = "/lightpush/v1/message", tag = "lightpush", request_body = PushRequest, responses(
    (status = 200, description = "OK", body = String, content_type = "text/plain"),
    (status = 400, description = "The request is wrong", body = String, content_type = "text/plain"),
    (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
    (status = 413, description = "The body is too long", body = String, content_type = "text/plain"),
    (status = 429, description = "The service is asked too often", body = String, content_type = "text/plain"),
    (status = 503, description = "There is no service, or it has not published", body = String, content_type = "text/plain")))]
async fn push_v1(State(lightpush): State<Arc<dyn Lightpush>>, Body(request): Body<PushRequest>) -> Response {
    let push = match request.push() {
        Ok(push) => push,
        Err(words) => return answer::bad_request(words),
    };
    match called(lightpush.push(push)).await {
        Some(Ok(_)) => answer::ok(),
        None => answer::text(StatusCode::SERVICE_UNAVAILABLE, SLOW),
        Some(Err(PushRefused::NoPeer(none))) => answer::text(StatusCode::SERVICE_UNAVAILABLE, none.to_string()),
        Some(Err(PushRefused::Failed(Failure { status: Status::TooManyRequests, .. }))) => {
            // Sic.
            answer::text(StatusCode::TOO_MANY_REQUESTS, "Request rate limmit reached")
        }
        Some(Err(PushRefused::Failed(Failure { text, .. }))) => {
            answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("Failed to request a message push: {text}"))
        }
    }
}

/// Publishes a message by a service, over 3.0.0.
#[utoipa::path(post, path = "/lightpush/v3/message", tag = "lightpush", request_body = PushRequest, responses(
    (status = 200, description = "It was sent to peers", body = PushResponse),
    (status = 400, description = "The request is wrong", body = PushResponse),
    (status = 408, description = "The body takes too long", body = PushResponse),
    (status = 413, description = "The message or the body is too long", body = PushResponse),
    (status = 420, description = "The message is refused", body = PushResponse),
    (status = 421, description = "The topic is not served", body = PushResponse),
    (status = 429, description = "The service is asked too often", body = PushResponse),
    (status = 500, description = "It went wrong", body = PushResponse),
    (status = 503, description = "There is no service, or it can't serve", body = PushResponse),
    (status = 504, description = "No proof can be made", body = PushResponse),
    (status = 505, description = "It reached no peer", body = PushResponse)))]
async fn push_v3(State(lightpush): State<Arc<dyn Lightpush>>, request: Request) -> Response {
    let request: PushRequest = match body::decode(request, Accepted::JsonOrText).await {
        Ok(request) => request,
        Err(refused) => return refusal(refused.status(), refused.to_string()),
    };
    let push = match request.push() {
        Ok(push) => push,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, words),
    };
    match called(lightpush.push(push)).await {
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, SLOW),
        Some(Ok(Pushed { peers })) => {
            Json(PushResponse { relay_peer_count: peers, ..PushResponse::default() }).into_response()
        }
        Some(Err(PushRefused::NoPeer(none))) => refusal(StatusCode::SERVICE_UNAVAILABLE, none.to_string()),
        Some(Err(PushRefused::Failed(Failure { status: code, text }))) => refusal(status(code), text),
    }
}

/// The number is that of the protocol; one that has no name is our failure to know it.
fn status(status: Status) -> StatusCode {
    let code = match status {
        Status::Success | Status::Other(_) => None,
        named => u16::try_from(named.code()).ok(),
    };
    code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn refusal(status: StatusCode, words: impl Into<String>) -> Response {
    (status, Json(PushResponse { status_desc: Some(words.into()), ..PushResponse::default() })).into_response()
}
