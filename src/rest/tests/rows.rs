//! The table of nwaku 0.37: its rows, their statuses, and that a case shows each of them.

use std::collections::BTreeSet;

use super::{admin, case::Case, debug, filter, lightpush, relay, store};

/// A row: method, path, statuses.
pub(super) type Row = (&'static str, &'static str, &'static [u16]);

/// Statuses of the filter routes.
const FILTER: &[u16] = &[200, 400, 404, 429, 500, 503, 504];

/// The whole table.
pub(super) const ROWS: &[Row] = &[
    ("GET", "/health", &[200, 500, 503]),
    ("GET", "/info", &[200]),
    ("GET", "/debug/v1/info", &[200]),
    ("GET", "/version", &[200]),
    ("GET", "/debug/v1/version", &[200]),
    ("POST", "/relay/v1/subscriptions", &[200, 400, 500]),
    ("DELETE", "/relay/v1/subscriptions", &[200, 400, 500]),
    ("GET", "/relay/v1/messages/{pubsubTopic}", &[200, 404]),
    ("POST", "/relay/v1/messages/{pubsubTopic}", &[200, 400, 500]),
    ("POST", "/relay/v1/auto/subscriptions", &[200, 400, 500]),
    ("DELETE", "/relay/v1/auto/subscriptions", &[200, 400, 500]),
    ("GET", "/relay/v1/auto/messages/{contentTopic}", &[200, 404]),
    ("POST", "/relay/v1/auto/messages", &[200, 400, 500]),
    ("OPTIONS", "/relay/v1/subscriptions", &[200]),
    ("OPTIONS", "/relay/v1/messages/{pubsubTopic}", &[200]),
    ("OPTIONS", "/relay/v1/auto/subscriptions", &[200]),
    ("OPTIONS", "/relay/v1/auto/messages/{contentTopic}", &[200]),
    ("OPTIONS", "/relay/v1/auto/messages", &[200]),
    ("POST", "/filter/v2/subscriptions", FILTER),
    ("PUT", "/filter/v2/subscriptions", FILTER),
    ("DELETE", "/filter/v2/subscriptions", FILTER),
    ("DELETE", "/filter/v2/subscriptions/all", FILTER),
    ("GET", "/filter/v2/subscriptions/{requestId}", FILTER),
    ("GET", "/filter/v2/messages/{contentTopic}", &[200, 400]),
    ("GET", "/store/v3/messages", &[200, 400, 412, 429, 500]),
    ("GET", "/store/v1/messages", &[200, 400, 412, 500]),
    ("POST", "/lightpush/v1/message", &[200, 400, 429, 503]),
    ("POST", "/lightpush/v3/message", &[200, 400, 413, 420, 421, 429, 500, 503, 504, 505]),
    ("GET", "/admin/v1/peers", &[200, 500]),
    ("POST", "/admin/v1/peers", &[200, 400]),
    ("GET", "/admin/v1/peer/{peerId}", &[200, 400, 404]),
    ("GET", "/admin/v1/peers/service", &[200, 500]),
    ("GET", "/admin/v1/peers/connected", &[200, 500]),
    ("GET", "/admin/v1/peers/connected/on/{shardId}", &[200, 400]),
    ("GET", "/admin/v1/peers/relay", &[200, 503]),
    ("GET", "/admin/v1/peers/relay/on/{shardId}", &[200, 400, 503]),
    ("GET", "/admin/v1/peers/mesh", &[200, 503]),
    ("GET", "/admin/v1/peers/mesh/on/{shardId}", &[200, 400, 503]),
    ("GET", "/admin/v1/peers/stats", &[200, 500]),
    ("GET", "/admin/v1/filter/subscriptions", &[200, 400]),
    ("POST", "/admin/v1/log-level/{level}", &[200, 400, 503]),
];

/// Statuses of the table that cannot come about here: a node can always tell who it is, and of what a push fails on is told as 503.
const IMPOSSIBLE: [(&str, &str, u16); 3] =
    [("GET", "/info", 500), ("GET", "/debug/v1/info", 500), ("POST", "/lightpush/v1/message", 500)];

fn cases() -> Vec<Case> {
    [debug::cases(), relay::cases(), filter::cases(), store::cases(), lightpush::cases(), admin::cases()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_row_and_status_has_a_case() {
    let shown: BTreeSet<_> = cases().iter().map(|case| (case.row.0, case.row.1, case.status)).collect();
    let rows = ROWS.iter().flat_map(|(method, path, statuses)| statuses.iter().map(|status| (*method, *path, *status)));
    let rows: BTreeSet<_> = rows.collect();
    let missing: Vec<_> = rows.difference(&shown).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let paths: BTreeSet<_> = ROWS.iter().map(|(method, path, _)| (*method, *path)).collect();
    let strange: Vec<_> = shown.iter().filter(|(method, path, _)| !paths.contains(&(*method, *path))).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(IMPOSSIBLE.iter().all(|row| !shown.contains(row)), "then it belongs into the table");
}
