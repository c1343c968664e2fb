//! Who this node is: `/info`, `/version`, and the same under `/debug/v1`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{answer::TEXT, ports::Identity};

/// What is told.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// The node.
    pub(crate) node: Arc<dyn Identity>,
    /// What `--version-string` says.
    pub(crate) version: Arc<str>,
}

/// Where this node is reached.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Info {
    /// The addresses that it announces, each with `/p2p/` and its peer id.
    listen_addresses: Vec<String>,
    /// Its signed record; empty when it has none.
    enr_uri: String,
}

/// Its routes.
pub(super) fn router(about: About) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(info))
        .routes(routes!(info_v1))
        .routes(routes!(version))
        .routes(routes!(version_v1))
        .with_state(about)
}

/// Where this node is reached.
#[utoipa::path(get, path = "/info", tag = "debug", responses((status = 200, description = "Addresses and record", body = Info)))]
async fn info(State(about): State<About>) -> Json<Info> {
    let listen_addresses = about.node.addresses().iter().map(ToString::to_string).collect();
    Json(Info { listen_addresses, enr_uri: about.node.record() })
}

/// The same.
#[utoipa::path(get, path = "/debug/v1/info", tag = "debug", responses((status = 200, description = "Addresses and record", body = Info)))]
async fn info_v1(about: State<About>) -> Json<Info> {
    info(about).await
}

/// The version, or what it is to pass for.
#[utoipa::path(get, path = "/version", tag = "debug", responses((status = 200, description = "As git describes it", body = String, content_type = "text/plain")))]
async fn version(State(about): State<About>) -> Response {
    ([(CONTENT_TYPE, TEXT)], about.version.to_string()).into_response()
}

/// The same.
#[utoipa::path(get, path = "/debug/v1/version", tag = "debug", responses((status = 200, description = "As git describes it", body = String, content_type = "text/plain")))]
async fn version_v1(about: State<About>) -> Response {
    version(about).await
}
