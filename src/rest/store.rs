//! History: of this node, or asked of others.  Deployed: nwaku; spec: 13/WAKU2-STORE, version 3 and 2.0.0-beta4.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    answer,
    ports::{Answer, Index, LegacyPage, NoPeer, Store, StorePage, StoreRefused, Stored},
    query::{ByHash, ByIndex, Common},
    values::{Base64, Message},
};

/// How long another node may take.  Deployed: nwaku.
const CALL_TIME: Duration = super::wait(5);

/// How long this node's own history may take.
const OWN_TIME: Duration = super::wait(60);

/// What the routes work with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    /// This node's own history, when it keeps one.
    pub(crate) own: Option<Arc<dyn Store>>,
    /// The same over 2.0.0-beta4, which is served on its own switch.
    pub(crate) own_legacy: Option<Arc<dyn Store>>,
    /// That of others; without it nobody can be asked.
    pub(crate) others: Option<Arc<dyn Store>>,
}

/// A page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StoreV3Response {
    /// Of the request; empty when this node answers.
    request_id: String,
    /// 200, or what the service says.
    status_code: u32,
    /// `OK`, or what the service says.
    status_desc: String,
    /// The oldest first, whichever end the page is from.
    messages: Vec<StoredMessage>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination_cursor: Option<String>,
}

/// A message of a page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StoredMessage {
    /// In hex, after 0x.
    message_hash: String,
    /// The message, with `includeData`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
    /// Where it was published, with `includeData`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pubsub_topic: Option<String>,
}

/// A page of 2.0.0-beta4.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StoreV1Response {
    /// The oldest first, whichever end the page is from.
    messages: Vec<Message>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<HistoryCursor>,
}

/// A place in the history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HistoryCursor {
    /// Where the message was published.
    pubsub_topic: String,
    /// When it was sent, in nanoseconds since 1970.
    sender_time: i64,
    /// When it was kept, in nanoseconds since 1970.
    store_time: i64,
    /// What it is known by.
    digest: Digest,
}

/// SHA-256 of content topic and payload.
#[derive(Debug, Serialize, ToSchema)]
struct Digest {
    #[schema(value_type = String, format = Byte)]
    data: Base64,
}

impl From<StorePage> for StoreV3Response {
    fn from(page: StorePage) -> Self {
        let (status_code, status_desc) = page.status;
        Self {
            request_id: page.request_id,
            status_code,
            status_desc,
            messages: page.messages.into_iter().map(StoredMessage::from).collect(),
            pagination_cursor: page.cursor.map(|hash| hash.to_string()),
        }
    }
}

impl From<Stored> for StoredMessage {
    fn from(stored: Stored) -> Self {
        let (pubsub_topic, message) = stored.content.unzip();
        Self {
            message_hash: stored.hash.to_string(),
            message: message.map(Message::stored),
            pubsub_topic: pubsub_topic.map(|topic| topic.to_string()),
        }
    }
}

impl From<LegacyPage> for StoreV1Response {
    fn from(page: LegacyPage) -> Self {
        Self {
            // This version has no proofs.
            messages: page.messages.into_iter().map(Message::pushed).collect(),
            cursor: page.cursor.map(HistoryCursor::from),
        }
    }
}

impl From<Index> for HistoryCursor {
    fn from(index: Index) -> Self {
        Self {
            pubsub_topic: index.pubsub_topic.to_string(),
            sender_time: index.sender_time,
            store_time: index.store_time,
            digest: Digest { data: Base64(index.digest) },
        }
    }
}

/// Its routes.
pub(super) fn router(stores: Stores) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(messages_v3)).routes(routes!(messages_v1)).with_state(stores)
}

/// What came of a query, within its time.
async fn called<T>(limit: Duration, call: Answer<'_, Result<T, StoreRefused>>) -> Result<T, StoreRefused> {
    let slow = || StoreRefused::Failed("No history response received (timeout)".to_owned());
    timeout(limit, call).await.unwrap_or_else(|_| Err(slow()))
}

fn refusal(refused: &StoreRefused) -> Response {
    let status = match refused {
        StoreRefused::NoPeer(_) => StatusCode::PRECONDITION_FAILED,
        StoreRefused::TooMany => StatusCode::TOO_MANY_REQUESTS,
        StoreRefused::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer::text(status, refused.to_string())
}

/// A page of the history, over version 3.
#[utoipa::path(get, path = "/store/v3/messages", tag = "store", params(Common, ByHash), responses(
    (status = 200, description = "A page", body = StoreV3Response),
    (status = 400, description = "The query is wrong", body = String, content_type = "text/plain"),
    (status = 412, description = "There is no history here, and nobody to ask", body = String, content_type = "text/plain"),
    (status = 429, description = "The service is asked too often", body = String, content_type = "text/plain"),
    (status = 500, description = "There is no answer", body = String, content_type = "text/plain")))]
async fn messages_v3(
    State(stores): State<Stores>,
    Query(common): Query<Common>,
    Query(by_hash): Query<ByHash>,
) -> Response {
    let read = common.wanted().and_then(|wanted| by_hash.query(wanted));
    let (query, peer) = match read.and_then(|query| Ok((query, common.peer()?))) {
        Ok(read) => read,
        Err(words) => return answer::bad_request(words),
    };
    let page = match (&stores.own, &stores.others, peer) {
        (Some(own), _, None) => called(OWN_TIME, own.query(None, query)).await,
        (_, Some(others), peer) => called(CALL_TIME, others.query(peer, query)).await,
        (_, None, _) => Err(NoPeer::NotSought.into()),
    };
    match page {
        Ok(page) => Json(StoreV3Response::from(page)).into_response(),
        Err(refused) => refusal(&refused),
    }
}

/// A page of the history, over 2.0.0-beta4.
#[utoipa::path(get, path = "/store/v1/messages", tag = "store", params(Common, ByIndex), responses(
    (status = 200, description = "A page", body = StoreV1Response),
    (status = 400, description = "The query is wrong", body = String, content_type = "text/plain"),
    (status = 412, description = "There is no history here, and nobody to ask", body = String, content_type = "text/plain"),
    (status = 500, description = "There is no answer", body = String, content_type = "text/plain")))]
async fn messages_v1(
    State(stores): State<Stores>,
    Query(common): Query<Common>,
    Query(by_index): Query<ByIndex>,
) -> Response {
    let read = common.wanted().and_then(|wanted| {
        let cursor = by_index.cursor(wanted.pubsub_topic.as_ref())?;
        Ok((wanted, cursor, common.peer()?))
    });
    let (wanted, cursor, peer) = match read {
        Ok(read) => read,
        Err(words) => return answer::bad_request(words),
    };
    // Unlike version 3, even an empty address asks others.
    let page = match (&stores.own_legacy, &stores.others, &common.peer_addr) {
        (Some(own), _, None) => called(OWN_TIME, own.legacy(None, wanted, cursor)).await,
        (_, Some(others), _) => called(CALL_TIME, others.legacy(peer, wanted, cursor)).await,
        (_, None, _) => Err(NoPeer::NotSought.into()),
    };
    match page {
        Ok(page) => Json(StoreV1Response::from(page)).into_response(),
        Err(refused) => refusal(&refused),
    }
}
