//! REST as nwaku serves it, for its scripts and tools: same paths, shapes, statuses and sentences.
//!
//! | Module | What |
//! |---|---|
//! | [`ports`] | what it needs of the node, as traits |
//! | [`relay`], [`filter`], [`store`], [`lightpush`], [`admin`], [`debug`], [`health`] | the groups of routes |
//! | [`peers`] | the lists of `admin` |
//! | [`cache`] | messages kept until somebody polls |
//! | [`body`], [`query`], [`values`], [`answer`] | requests and answers in their forms |
//! | [`unmatched`] | what is answered where no route is |
//! | [`document`] | the OpenAPI document, at `/openapi.json` |
//! | [`node`], [`services`] | the ports, over this program's parts and over its clients of services |
//!
//! There is no login: it is for loopback, or behind something that has one. All routes are made by `utoipa_axum::routes`, so that the
//! document has every one of them.

mod admin;
mod answer;
mod body;
pub(crate) mod cache;
mod debug;
pub(crate) mod document;
mod filter;
mod health;
mod lightpush;
pub(crate) mod node;
mod peers;
pub(crate) mod ports;
mod query;
mod relay;
pub(crate) mod services;
mod store;
mod unmatched;
mod values;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::{Router, http::Uri};
use utoipa_axum::router::OpenApiRouter;
use waku2::Multiaddr;

pub(crate) use admin::Admin;
pub(crate) use debug::About;
pub(crate) use filter::Filter;
pub(crate) use relay::{Relay, Sharding};
pub(crate) use store::Stores;

use ports::{Health, Lightpush};
use unmatched::Absent;

/// What is served. A group that is missing says so at each of its paths.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    /// Who this node is.
    pub(crate) about: About,
    /// How well it is.
    pub(crate) health: Arc<dyn Health>,
    /// Relay.
    pub(crate) relay: Option<Relay>,
    /// The client of filter.
    pub(crate) filter: Option<Filter>,
    /// History.
    pub(crate) stores: Option<Stores>,
    /// Lightpush, by another node or by this one.
    pub(crate) lightpush: Option<Arc<dyn Lightpush>>,
    /// What an operator may do.
    pub(crate) admin: Option<Admin>,
}

/// Groups and what would have them served.
const MISSING: [(&str, &str); 5] =
    [("admin", "--rest-admin=true"), ("relay", "--relay"), ("filter", ""), ("lightpush", ""), ("store", "")];

impl Groups {
    /// Their routes.
    fn router(&self) -> OpenApiRouter {
        let groups = [
            self.relay.clone().map(relay::router),
            self.filter.clone().map(filter::router),
            self.stores.clone().map(store::router),
            self.lightpush.clone().map(lightpush::router),
            self.admin.clone().map(admin::router),
        ];
        let always = debug::router(self.about.clone()).merge(health::router(Arc::clone(&self.health)));
        groups.into_iter().flatten().fold(always, OpenApiRouter::merge)
    }

    /// Those that are not there.
    fn absent(&self) -> Absent {
        let is_there = |group: &str| match group {
            "admin" => self.admin.is_some(),
            "relay" => self.relay.is_some(),
            "filter" => self.filter.is_some(),
            "lightpush" => self.lightpush.is_some(),
            _ => self.stores.is_some(),
        };
        let missing: Vec<_> = MISSING.into_iter().filter(|(group, _)| !is_there(group)).collect();
        Absent::lacking(&missing)
    }
}

/// All routes: those of the groups and `others`, their document, and an answer where none is.
pub(crate) fn router(groups: &Groups, others: OpenApiRouter) -> Router {
    answering(document::with_document(groups.router().merge(others)), groups.absent())
}

/// What answers while the node starts: how well it is, and that nothing else is there yet.
pub(crate) fn starting(others: OpenApiRouter) -> Router {
    let health = health::router(Arc::new(health::Starting));
    answering(health.merge(others).split_for_parts().0, Absent::starting())
}

fn answering(router: Router, absent: Absent) -> Router {
    let answer = async move |uri: Uri| unmatched::answer(&absent, &uri);
    router.fallback(answer.clone()).method_not_allowed_fallback(answer)
}

/// How long somebody may take. In tests, where an answer comes at once or never, next to no time.
const fn wait(secs: u64) -> Duration {
    if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(secs) }
}

/// The address of a peer: a multiaddr that ends in `/p2p/ID`.
fn peer_address(text: &str) -> Result<Multiaddr, String> {
    let addr: Multiaddr = text.parse().map_err(|error| format!("{error}"))?;
    let mut parts = text.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(id), Some("p2p" | "ipfs")) if id.parse::<waku2::PeerId>().is_ok() => Ok(addr),
        _ => Err("it ends in /p2p/ and a peer id".to_owned()),
    }
}
