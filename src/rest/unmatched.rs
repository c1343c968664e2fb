//! What is answered where no route is: in a group of nwaku's 404 with what is wrong with the group, elsewhere 400.  Deployed: nwaku,
//! whose scripts expect just that.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    http::{StatusCode, Uri},
    response::Response,
};

use super::answer;

/// The first segment of the paths that belong together.
const GROUPS: [&str; 6] = ["admin", "debug", "relay", "filter", "lightpush", "store"];

/// Why the routes of each group are not there. A group that is there and lacks a route says so too.
#[derive(Debug, Clone)]
pub(super) struct Absent(Arc<BTreeMap<&'static str, String>>);

impl Absent {
    /// Of a node that is starting.
    pub(super) fn starting() -> Self {
        Self::of(|group| format!("/{group} endpoints are not available while initializing."))
    }

    /// Of a node that has these groups, and not those, for the reason that each names.
    pub(super) fn lacking(missing: &[(&'static str, &'static str)]) -> Self {
        Self::of(|group| match missing.iter().find(|(name, _)| *name == group) {
            Some((_, "")) => format!("/{group} endpoints are not available."),
            Some((_, flag)) => {
                format!("/{group} endpoints are not available. Please check your configuration: {flag}")
            }
            None => format!("/{group} endpoints are not available by this path and method."),
        })
    }

    fn of(word: impl Fn(&str) -> String) -> Self {
        Self(Arc::new(GROUPS.iter().map(|group| (*group, word(group))).collect()))
    }
}

/// Answers.
pub(super) fn answer(absent: &Absent, uri: &Uri) -> Response {
    let group = uri.path().split('/').nth(1).unwrap_or_default();
    match absent.0.get(group) {
        Some(words) => answer::text(StatusCode::NOT_FOUND, words.clone()),
        None => answer::bad_request("Bad request initiated. Invalid path or method used."),
    }
}
