//! Who is known, whom to call, who is served, and what the log tells: on a switch of its own.  Deployed: nwaku's `--rest-admin`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use clap::ValueEnum;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    answer,
    body::Body,
    peer_address,
    ports::{FilterService, Levels, Peers},
};
use crate::{cli::LogLevel, logging::LevelRefused};

/// How long one call may take. Deployed peers answer within two.
const CALL_TIME: Duration = super::wait(10);

/// Peers called in one request, at most.
pub(super) const MAX_CALLS: usize = 64;

/// What the routes work with.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// Peers; `None` where there is no Waku Network side.
    pub(crate) peers: Option<Arc<dyn Peers>>,
    /// Who is pushed to; `None` where filter is not served.
    pub(crate) filter: Option<Arc<dyn FilterService>>,
    /// The log.
    pub(crate) levels: Arc<dyn Levels>,
}

/// Whom this node pushes what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FilterSubscription {
    /// The peer.
    peer_id: String,
    /// What it wants.
    filter_criteria: Vec<FilterTopic>,
}

/// Where, and about what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FilterTopic {
    pubsub_topic: String,
    content_topic: String,
}

/// Its routes.
pub(super) fn router(admin: Admin) -> OpenApiRouter {
    let calls = OpenApiRouter::new()
        .routes(routes!(connect))
        .routes(routes!(filter_subscriptions))
        .routes(routes!(log_level))
        .with_state(admin.clone());
    super::peers::router(admin.peers).merge(calls)
}

/// Calls peers, one after the other.
#[utoipa::path(post, path = "/admin/v1/peers", tag = "admin",
    request_body(content = Vec<String>, example = json!(["/ip4/127.0.0.1/tcp/60000/p2p/16Uiu2HAmVFXtAfSj4EiR7mL2KvL4EE2wztuQgUSBoj2Jx2KeXFLN"])),
    responses((status = 200, description = "All are connected", body = String, content_type = "text/plain"),
        (status = 400, description = "The first that is no address, or was not reached", body = String, content_type = "text/plain"),
        (status = 408, description = "The body takes too long", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too long", body = String, content_type = "text/plain")))]
async fn connect(State(admin): State<Admin>, Body(addrs): Body<Vec<String>>) -> Response {
    if addrs.len() > MAX_CALLS {
        return answer::bad_request(format!("Give at most {MAX_CALLS} peers"));
    }
    for (place, text) in addrs.iter().enumerate() {
        let addr = match peer_address(text) {
            Ok(addr) => addr,
            Err(error) => return answer::bad_request(format!("Couldn't parse remote peer info: {error}")),
        };
        let reached = match &admin.peers {
            Some(peers) => timeout(CALL_TIME, peers.connect(addr)).await.is_ok_and(|called| called.is_ok()),
            None => false,
        };
        if !reached {
            return answer::bad_request(format!("Failed to connect to peer at index: {place} - {text}"));
        }
    }
    answer::ok()
}

/// Whom this node pushes what, by filter.
#[utoipa::path(get, path = "/admin/v1/filter/subscriptions", tag = "admin", responses(
    (status = 200, description = "By peer", body = Vec<FilterSubscription>),
    (status = 400, description = "Filter is not served", body = String, content_type = "text/plain")))]
async fn filter_subscriptions(State(admin): State<Admin>) -> Response {
    let Some(filter) = &admin.filter else {
        return answer::bad_request("Error: Filter Protocol is not mounted to the node");
    };
    let told = filter.subscriptions().into_iter().map(|(peer, criteria)| FilterSubscription {
        peer_id: peer.to_string(),
        filter_criteria: criteria
            .into_iter()
            .map(|(pubsub, content)| FilterTopic {
                pubsub_topic: pubsub.to_string(),
                content_topic: content.to_string(),
            })
            .collect(),
    });
    Json(told.collect::<Vec<_>>()).into_response()
}

/// Logs nothing below a level from now on.
#[utoipa::path(post, path = "/admin/v1/log-level/{level}", tag = "admin",
    params(("level" = String, Path, description = "TRACE, DEBUG, INFO, NOTICE, WARN, ERROR or FATAL, in any case")),
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 400, description = "No level, or one that this build leaves out", body = String, content_type = "text/plain"),
        (status = 503, description = "The log is not ours to change", body = String, content_type = "text/plain")))]
async fn log_level(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let Ok(level) = LogLevel::from_str(&name, true) else {
        return answer::bad_request(format!("Invalid log-level '{name}'"));
    };
    match admin.levels.set(level) {
        Ok(()) => answer::ok(),
        Err(refused @ LevelRefused::LeftOut) => answer::bad_request(refused.to_string()),
        Err(refused @ LevelRefused::NotOurs) => answer::text(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
    }
}
