//! Health, metrics and accounts over HTTP, on loopback unless asked otherwise. Reading only: nothing here changes state.

mod accounting;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{health, metrics, probe::Probe};

/// Media type of the metrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The listener can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("HTTP can't listen on {0}: {1}. Give another port with --rest-port, or 0 for any free one")]
pub struct BindError(SocketAddr, std::io::Error);

/// Serves until the task is aborted; returns the address really bound.
///
/// # Errors
/// If the port is in use or may not be bound.
pub(crate) async fn serve(address: SocketAddr, probe: Arc<Probe>) -> Result<(SocketAddr, JoinHandle<()>), BindError> {
    let listener = TcpListener::bind(address).await.map_err(|e| BindError(address, e))?;
    let bound = listener.local_addr().map_err(|e| BindError(address, e))?;
    let task = tokio::spawn(async move {
        // axum retries what can be retried; it returns only when the listener is gone.
        if let Err(error) = axum::serve(listener, router(probe)).await {
            tracing::error!(%error, "HTTP has ended");
        }
    });
    Ok((bound, task))
}

fn router(probe: Arc<Probe>) -> Router {
    let accounts =
        Router::new().route("/legacy/v1/accounting", get(accounting::accounting)).with_state(probe.ledger.clone());
    Router::new()
        .route("/health", get(health_report))
        .route("/livez", get(async || "OK"))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics_text))
        .with_state(probe)
        .merge(accounts)
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
