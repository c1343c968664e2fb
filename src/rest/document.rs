//! The OpenAPI document, made of the routes themselves.  Spec: OpenAPI 3.1.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Where it is.
#[cfg(test)]
pub(crate) const PATH: &str = "/openapi.json";

/// What stands at its head.
#[derive(Debug, OpenApi)]
#[openapi(info(title = "Causeway", description = "The Waku Network as nwaku serves it, and the bridge to waku/0"))]
struct Head;

/// The text, once all routes are there.
type Text = Arc<OnceLock<String>>;

/// The routes with a further one, that of their document.
pub(super) fn with_document(routes: OpenApiRouter) -> Router {
    let text = Text::default();
    let own = OpenApiRouter::with_openapi(Head::openapi()).routes(routes!(document)).with_state(Arc::clone(&text));
    let (router, document) = own.merge(routes).split_for_parts();
    // Nothing of it has a form that JSON lacks.
    let _ = text.set(document.to_json().unwrap_or_default());
    router
}

/// What all routes take and answer.
#[utoipa::path(get, path = "/openapi.json", tag = "document", responses((status = 200, description = "This document", body = Object)))]
async fn document(State(text): State<Text>) -> Response {
    ([(CONTENT_TYPE, "application/json")], text.get().cloned().unwrap_or_default()).into_response()
}
