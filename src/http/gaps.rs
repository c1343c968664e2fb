//! `GET /bridge/v1/gaps`: by route and direction, when something last crossed, when the other side was away, and what of history is missing.
//!
//! Of no more than [`MAX_OUTAGES`](bridge::gaps::MAX_OUTAGES) absences of each, and as many stretches that are missing; it survives a restart.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bridge::{
    backfill::{Course, Missing},
    gaps::{Gap, Outage},
};
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
    /// To which time history is complete, in unix seconds.
    complete_until: u64,
    missing: Vec<Lacking>,
}

/// A time without a peer on the other side.
#[derive(Debug, Serialize)]
struct Away {
    /// In unix seconds.
    from: u64,
    /// In unix seconds; none while it lasts.
    to: Option<u64>,
}

/// A time of which history is not here, or was not.
#[derive(Debug, Serialize)]
struct Lacking {
    /// In unix seconds.
    from: u64,
    /// In unix seconds; none while it lasts.
    to: Option<u64>,
    reason: &'static str,
    state: &'static str,
    /// Until when others were asked, in unix seconds.
    done_until: u64,
    /// Rows that came.
    count: u64,
}

impl From<&Missing> for Lacking {
    fn from(missing: &Missing) -> Self {
        let Missing { from, to, cause, state, done_until, came, .. } = *missing;
        Self { from, to, reason: cause.as_str(), state: state.as_str(), done_until, count: came }
    }
}

impl Told {
    fn of(course: &Course, gaps: &[Gap]) -> Self {
        let gap = gaps.iter().find(|gap| gap.route == course.route && gap.direction == course.direction);
        let away = |outage: &Outage| Away { from: outage.from, to: outage.to };
        Self {
            route: course.route.to_string(),
            direction: course.direction.as_str(),
            last_crossing: gap.and_then(|gap| gap.last_crossing),
            outages: gap.iter().flat_map(|gap| &gap.outages).map(away).collect(),
            complete_until: course.confirmed(),
            missing: course.missing.iter().map(Lacking::from).collect(),
        }
    }
}

/// When something last crossed, when the other side was away, and what of history is missing.
#[utoipa::path(get, path = "/bridge/v1/gaps", tag = "bridge", responses((status = 200, description = "By route and direction", body = Object)))]
pub(super) async fn gaps(State(bridge): State<bridge::Handle>) -> Response {
    let known = bridge.gaps();
    let gaps: Vec<Told> = bridge.courses().iter().map(|course| Told::of(course, &known)).collect();
    Json(json!({ "gaps": gaps })).into_response()
}
