//! `GET /bridge/v1/gaps`: by route and direction, when something last crossed, and when the other side was away.
//!
//! Since the start of the bridge, and no more than [`MAX_OUTAGES`](bridge::gaps::MAX_OUTAGES) of each.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bridge::gaps::{Gap, Outage};
use serde::Serialize;
use serde_json::json;

/// One route, one way.
#[derive(Debug, Serialize)]
struct Told {
    route: String,
    direction: &'static str,
    /// In unix seconds; none if nothing has crossed yet.
    last_crossing: Option<u64>,
    outages: Vec<Away>,
}

/// A time without a peer on the other side.
#[derive(Debug, Serialize)]
struct Away {
    /// In unix seconds.
    from: u64,
    /// In unix seconds; none while it lasts.
    to: Option<u64>,
}

impl From<Gap> for Told {
    fn from(gap: Gap) -> Self {
        let away = |outage: &Outage| Away { from: outage.from, to: outage.to };
        Self {
            route: gap.route.to_string(),
            direction: gap.direction.as_str(),
            last_crossing: gap.last_crossing,
            outages: gap.outages.iter().map(away).collect(),
        }
    }
}

/// When something last crossed, and when the other side was away.
#[utoipa::path(get, path = "/bridge/v1/gaps", tag = "bridge", responses((status = 200, description = "By route and direction", body = Object)))]
pub(super) async fn gaps(State(bridge): State<bridge::Handle>) -> Response {
    let gaps: Vec<Told> = bridge.gaps().into_iter().map(Told::from).collect();
    Json(json!({ "gaps": gaps })).into_response()
}
