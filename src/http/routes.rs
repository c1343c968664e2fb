//! `/bridge/v1/routes`: the table that the bridge works by, and what went by each route; and reading it again.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header::ORIGIN},
    response::{IntoResponse, Response},
};
use bridge::{
    Direction,
    handle::Count,
    router::{Route, Signing, Topics},
};
use serde::Serialize;
use serde_json::json;

use crate::reload::{ReloadError, Reloader};

/// A route, as told.
#[derive(Debug, Serialize)]
struct Told {
    name: Arc<str>,
    /// `*`, or topics of waku/0.
    v1_topics: Vec<String>,
    pubsub: String,
    direction: &'static str,
    priority: u8,
    fanout: bool,
    max_msgs_per_s: Option<u32>,
    /// `open`, `signed`, or `no_key`.
    signing: &'static str,
    /// By direction and result, or reason.
    counts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Directions in which nothing ever comes to it.
    unreachable: Vec<&'static str>,
}

/// What crosses where, and what went by each route.
#[utoipa::path(get, path = "/bridge/v1/routes", tag = "bridge", responses((status = 200, description = "The table", body = Vec<Object>)))]
pub(super) async fn routes(State(reloader): State<Reloader>) -> Response {
    Json(told(reloader.bridge())).into_response()
}

/// Reads the route file again. Not for web pages: what a browser sends for one names its origin.
#[utoipa::path(post, path = "/bridge/v1/routes/reload", tag = "bridge", responses(
    (status = 200, description = "The new table", body = Vec<Object>),
    (status = 403, description = "A web page asks", body = Object),
    (status = 409, description = "There is no file", body = Object),
    (status = 422, description = "The file makes no table", body = Object)))]
pub(super) async fn reload(State(reloader): State<Reloader>, headers: HeaderMap) -> Response {
    if headers.contains_key(ORIGIN) {
        return refusal(StatusCode::FORBIDDEN, "this is not for web pages");
    }
    match reloader.reload().await {
        Ok(_) => Json(told(reloader.bridge())).into_response(),
        Err(error @ ReloadError::NoFile) => refusal(StatusCode::CONFLICT, &error.to_string()),
        Err(error) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

fn told(bridge: &bridge::Handle) -> Vec<Told> {
    let (router, counters) = (bridge.routes(), bridge.counters());
    let counts: Vec<Count> = counters.table().filter(|line| line.count > 0).collect();
    let shadows = router.shadows();
    let tell = |(place, route): (usize, &Arc<Route>)| Told {
        name: Arc::clone(&route.name),
        v1_topics: match &route.topics {
            Topics::All => vec!["*".to_owned()],
            Topics::Some(topics) => topics.iter().map(ToString::to_string).collect(),
        },
        pubsub: route.pubsub.to_string(),
        direction: route.ways.as_str(),
        priority: route.priority,
        fanout: route.fanout,
        max_msgs_per_s: route.max_per_sec.map(std::num::NonZeroU32::get),
        signing: match route.signing {
            Signing::Open => "open",
            Signing::With(_) => "signed",
            Signing::NoKey => "no_key",
        },
        counts: Direction::ALL.into_iter().map(|way| (way.as_str(), of(&counts, route, way))).collect(),
        unreachable: shadows.iter().filter(|s| s.route == place).map(|s| s.direction.as_str()).collect(),
    };
    router.routes().iter().enumerate().map(tell).collect()
}

fn of(counts: &[Count], route: &Route, direction: Direction) -> BTreeMap<&'static str, u64> {
    let lines = counts.iter().filter(|line| line.direction == direction && line.route == route.name);
    lines.map(|line| (if line.result == "crossed" { "crossed" } else { line.reason }, line.count)).collect()
}
