//! `/health`: how well the node and each of its protocols is.  Deployed: nwaku, whose scripts wait for READY.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    answer,
    ports::{Answer, Health},
};
use crate::health::Report;

/// How long the report may take.  Deployed: nwaku.
const REPORT_TIME: Duration = super::wait(5);

/// Its route.
pub(super) fn router(health: Arc<dyn Health>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(report)).with_state(health)
}

/// How well the node and each of its protocols is: 200 in every state.
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, description = "The report", body = Report),
    (status = 500, description = "It takes too long", body = String, content_type = "text/plain"),
    (status = 503, description = "It can't be had", body = String, content_type = "text/plain")))]
async fn report(State(health): State<Arc<dyn Health>>) -> Response {
    match timeout(REPORT_TIME, health.report()).await {
        Ok(Some(report)) => Json(report).into_response(),
        Ok(None) => answer::text(StatusCode::SERVICE_UNAVAILABLE, "Health check failed"),
        Err(_) => answer::failed("Health check timed out"),
    }
}

/// A node that starts.
#[derive(Debug)]
pub(super) struct Starting;

impl Health for Starting {
    fn report(&self) -> Answer<'_, Option<Report>> {
        Box::pin(async { Some(Report::starting()) })
    }
}
