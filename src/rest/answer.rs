//! Answers in nwaku's forms: plain text for what went well or wrong, JSON for what was asked.

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

/// As nwaku writes it: clients compare it with nothing behind.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// A sentence.
pub(super) fn text(status: StatusCode, words: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, TEXT)], words.into()).into_response()
}

/// Done.
pub(super) fn ok() -> Response {
    text(StatusCode::OK, "OK")
}

/// The request is wrong.
pub(super) fn bad_request(words: impl Into<String>) -> Response {
    text(StatusCode::BAD_REQUEST, words)
}

/// It went wrong here.
pub(super) fn failed(words: impl Into<String>) -> Response {
    text(StatusCode::INTERNAL_SERVER_ERROR, words)
}
