//! HTTP, on loopback unless asked otherwise: REST, metrics, accounts and the bridge, on one listener.
//!
//! It listens before what takes long at a start, and says so until the rest is there.

mod accounting;
mod drops;
pub(crate) mod ended;
mod gaps;
mod listen;
pub(crate) mod messages;
pub mod origins;
mod peers;
mod routes;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, task::JoinSet};
use tower::Service;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    config,
    health::{self, Readiness},
    metrics,
    probe::{CrossingProbe, Probe},
    rest::{self, Groups},
};
use origins::{Looked, Pattern};

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

/// The listener of a node that starts: it answers, and has little to say.
#[derive(Debug)]
pub(crate) struct Opened {
    config: config::Http,
    rest: Option<SocketAddr>,
    whole: Whole,
    tasks: JoinSet<()>,
}

/// All routes, once they are there.
type Whole = Arc<OnceLock<Router>>;

/// Listens as configured, at the address that is returned.
///
/// # Errors
/// If a port is in use or may not be bound.
pub(crate) async fn open(config: config::Http) -> Result<Opened, BindError> {
    let (whole, mut tasks) = (Whole::default(), JoinSet::new());
    let rest = match config.rest {
        Some(at) => {
            let router = switching(Arc::clone(&whole), &config.allow_origin, at.ip().is_loopback());
            Some(serve(at, router, "--rest-port", &mut tasks).await?)
        }
        None => None,
    };
    Ok(Opened { config, rest, whole, tasks })
}

impl Opened {
    /// Is there anything that could be asked?
    pub(crate) fn listens(&self) -> bool {
        self.rest.is_some()
    }

    /// Everything is there: serves it, and metrics as configured.
    ///
    /// # Errors
    /// If a port is in use or may not be bound.
    pub(crate) async fn complete(mut self, groups: &Groups, probe: Arc<Probe>) -> Result<Served, BindError> {
        // It was empty until now.
        let _ = self.whole.set(rest::router(groups, others(&probe)));
        let metrics = match self.config.metrics {
            Some(at) => {
                let (router, _) = metrics_router(probe).split_for_parts();
                Some(serve(at, router, "--metrics-server-port", &mut self.tasks).await?)
            }
            None => None,
        };
        if let Some(at) = self.rest {
            tracing::info!(%at, "REST service started");
        }
        Ok(Served { rest: self.rest, metrics, tasks: self.tasks })
    }
}

/// For pages of these origins: all routes, or what there is before.
fn switching(whole: Whole, allow_origin: &[Pattern], on_loopback: bool) -> Router {
    let before = rest::starting(OpenApiRouter::new().routes(routes!(livez)).routes(routes!(not_ready)));
    let answer = async move |request: Request| -> Response {
        let mut router = whole.get().unwrap_or(&before).clone();
        match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    let looked = Looked { patterns: Arc::from(allow_origin), on_loopback };
    Router::new().fallback(answer).layer(middleware::from_fn_with_state(looked, origins::look))
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
    tasks.spawn(listen::serve(listener, router));
    Ok(bound)
}

/// What is served beside REST.
fn others(probe: &Arc<Probe>) -> OpenApiRouter {
    let all = OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readiness))
        .with_state(Arc::clone(probe))
        .merge(metrics_router(Arc::clone(probe)));
    let all = match &probe.crossing {
        Some(crossing) => all.merge(of_bridge(crossing, Arc::clone(probe))),
        None => all,
    };
    match &probe.v0 {
        Some(v0) => {
            let accounts = OpenApiRouter::new().routes(routes!(accounting::accounting));
            all.merge(accounts.with_state(v0.ledger.clone()))
        }
        None => all,
    }
}

/// What a bridge tells of itself.
fn of_bridge(crossing: &CrossingProbe, probe: Arc<Probe>) -> OpenApiRouter {
    let sources = messages::Sources { bridge: crossing.bridge.clone(), history: crossing.history.clone() };
    let table = OpenApiRouter::new().routes(routes!(routes::routes)).routes(routes!(routes::reload));
    let events = OpenApiRouter::new().routes(routes!(drops::drops)).routes(routes!(gaps::gaps));
    table
        .with_state(crossing.reloader.clone())
        .merge(events.with_state(crossing.bridge.clone()))
        .merge(OpenApiRouter::new().routes(routes!(messages::messages)).with_state(sources))
        .merge(OpenApiRouter::new().routes(routes!(peers::peers)).with_state(probe))
}

/// Metrics alone.
fn metrics_router(probe: Arc<Probe>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(metrics_text)).with_state(probe)
}

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "OK", body = String, content_type = "text/plain")))]
async fn livez() -> &'static str {
    "OK"
}

/// Is it ready to serve, and what is missing?
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "It is", body = Readiness),
    (status = 503, description = "It is not", body = Readiness)))]
async fn readiness(State(probe): State<Arc<Probe>>) -> Response {
    told(&health::readiness(&probe.read().await))
}

/// The same of a node that starts.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 503, description = "It is not", body = Readiness)))]
async fn not_ready() -> Response {
    told(&Readiness::starting())
}

fn told(readiness: &Readiness) -> Response {
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// All that is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
    (status = 500, description = "They can't be written", body = String, content_type = "text/plain")))]
async fn metrics_text(State(probe): State<Arc<Probe>>) -> Response {
    match metrics::text(&probe.read().await) {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};

    use super::*;

    async fn told(router: &Router, path: &str) -> (u16, String) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_answers_from_the_first_moment_and_then_with_all_there_is() {
        let whole = Whole::default();
        let router = switching(Arc::clone(&whole), &[], true);
        let (status, health) = told(&router, "/health").await;
        assert_eq!((status, health.contains("INITIALIZING")), (200, true), "{health}");
        assert_eq!(told(&router, "/livez").await, (200, "OK".to_owned()));
        let (status, readiness) = told(&router, "/readyz").await;
        assert_eq!((status, readiness.contains("the node is starting")), (503, true), "{readiness}");
        assert_eq!(told(&router, "/relay/v1/messages/x").await.0, 404);
        whole.set(Router::new().route("/a/{b}", axum::routing::get(async || "all"))).unwrap();
        assert_eq!(told(&router, "/a/%2F").await, (200, "all".to_owned()));
        assert_eq!(told(&router, "/health").await.0, 404);
    }
}
