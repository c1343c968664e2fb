//! Health, metrics, accounts and the bridge over HTTP, on loopback unless asked otherwise. Nothing here changes state, but that the
//! bridge can be told to read its route file again.

mod accounting;
mod drops;
pub(crate) mod ended;
mod gaps;
pub(crate) mod messages;
pub mod origins;
mod peers;
mod routes;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    config, health, metrics,
    probe::{CrossingProbe, Probe},
};
use origins::Pattern;

/// Media type of the metrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The listener can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("HTTP can't listen on {at}: {source}. Give another port with {flag}, or 0 for any free one")]
pub struct BindError {
    at: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// What is served.
#[derive(Debug)]
pub(crate) struct Served {
    /// Where everything is, if anywhere.
    pub(crate) rest: Option<SocketAddr>,
    /// Where metrics are alone, if anywhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// One for each; none ends by itself, and all end with this.
    pub(crate) tasks: JoinSet<()>,
}

/// Serves as configured, at the addresses that are returned.
///
/// # Errors
/// If a port is in use or may not be bound.
pub(crate) async fn start(config: config::Http, probe: Arc<Probe>) -> Result<Served, BindError> {
    let mut tasks = JoinSet::new();
    let rest = match config.rest {
        Some(at) => Some(serve(at, router(Arc::clone(&probe), config.allow_origin), "--rest-port", &mut tasks).await?),
        None => None,
    };
    let metrics = match config.metrics {
        Some(at) => Some(serve(at, metrics_router(probe), "--metrics-server-port", &mut tasks).await?),
        None => None,
    };
    Ok(Served { rest, metrics, tasks })
}

/// Serves until the task is aborted; returns the address really bound. `flag` is what sets its port.
async fn serve(
    at: SocketAddr,
    router: Router,
    flag: &'static str,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, BindError> {
    let refused = |source| BindError { at, flag, source };
    let listener = TcpListener::bind(at).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    tasks.spawn(async move {
        // axum retries what can be retried; it returns only when the listener is gone.
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "HTTP has ended");
        }
    });
    Ok(bound)
}

/// Everything, for pages of these origins.
fn router(probe: Arc<Probe>, allow_origin: Vec<Pattern>) -> Router {
    let ledger = probe.v0.as_ref().map(|v0| v0.ledger.clone());
    let all = Router::new()
        .route("/health", get(health_report))
        .route("/livez", get(async || "OK"))
        .route("/readyz", get(readiness))
        .with_state(Arc::clone(&probe))
        .merge(metrics_router(Arc::clone(&probe)));
    let all = match &probe.crossing {
        Some(crossing) => all.merge(of_bridge(crossing, Arc::clone(&probe))),
        None => all,
    };
    let all = match ledger {
        Some(ledger) => {
            all.merge(Router::new().route("/legacy/v1/accounting", get(accounting::accounting)).with_state(ledger))
        }
        None => all,
    };
    all.layer(middleware::from_fn_with_state(Arc::from(allow_origin), origins::look))
}

/// What a bridge tells of itself.
fn of_bridge(crossing: &CrossingProbe, probe: Arc<Probe>) -> Router {
    Router::new()
        .route("/bridge/v1/routes", get(routes::routes))
        .route("/bridge/v1/routes/reload", post(routes::reload))
        .with_state(crossing.reloader.clone())
        .merge(
            Router::new()
                .route("/bridge/v1/drops", get(drops::drops))
                .route("/bridge/v1/gaps", get(gaps::gaps))
                .with_state(crossing.bridge.clone()),
        )
        .merge(
            Router::new()
                .route("/bridge/v1/messages/{hash}", get(messages::messages))
                .with_state(messages::Sources { bridge: crossing.bridge.clone(), history: crossing.history.clone() }),
        )
        .merge(Router::new().route("/bridge/v1/peers", get(peers::peers)).with_state(probe))
}

/// Metrics alone.
fn metrics_router(probe: Arc<Probe>) -> Router {
    Router::new().route("/metrics", get(metrics_text)).with_state(probe)
}

async fn health_report(State(probe): State<Arc<Probe>>) -> Response {
    Json(health::report(&probe.read().await)).into_response()
}

async fn readiness(State(probe): State<Arc<Probe>>) -> Response {
    let readiness = health::readiness(&probe.read().await);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics_text(State(probe): State<Arc<Probe>>) -> Response {
    match metrics::text(&probe.read().await) {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
