//! What is served to peers of the Waku Network, and who serves us: the flags, checked.

use std::time::Duration;

use waku2::{
    Target,
    discovery::enr,
    filter::{self, Ask, Limits},
    lightpush,
    service::{choice::Nodes, rate::RateLimit},
};

use super::{ConfigError, network::Network};
use crate::cli::{FilterArgs, LightpushArgs, StoreArgs, V2Args};

/// What is served, and by whom.
#[derive(Debug, Clone)]
pub struct Services {
    /// Is history served, in version 3 of store or in 2.0.0-beta4?
    pub serves_store: bool,
    /// Lightpush as it is served, and as it is asked for.
    pub lightpush: lightpush::Config,
    /// Is it served?
    pub serves_lightpush: bool,
    /// Filter as it is served, and as it is asked for.
    pub filter: filter::Config,
    /// How much of each service is answered.
    pub rate_limits: Vec<RateLimit>,
    /// Whom the operator names.
    pub nodes: Nodes,
}

impl Services {
    /// As our node record has them.
    #[must_use]
    pub fn bits(&self) -> enr::Services {
        let served = [
            (self.serves_store, enr::Services::STORE),
            (self.filter.serve.is_some(), enr::Services::FILTER),
            (self.serves_lightpush, enr::Services::LIGHTPUSH),
        ];
        let on = served.into_iter().filter(|(on, _)| *on).map(|(_, bit)| bit);
        on.fold(enr::Services::RELAY, enr::Services::and)
    }
}

pub(super) fn services(
    v2: &V2Args,
    (store, filter, args): (&StoreArgs, &FilterArgs, &LightpushArgs),
    network: &Network,
) -> Result<Services, ConfigError> {
    let Network { cluster, shards, .. } = *network;
    Ok(Services {
        serves_store: store.serves(),
        lightpush: lightpush::Config { cluster, shards, codes: args.lightpush_status_codes, proves: true },
        serves_lightpush: args.lightpush,
        filter: filtering(filter),
        rate_limits: v2.rate_limit.clone(),
        nodes: Nodes {
            store: node("storenode", &store.storenode)?,
            filter: node("filternode", &filter.filternode)?,
            lightpush: node("lightpushnode", &args.lightpushnode)?,
        },
    })
}

/// Applications may always ask by filter v2, as with nwaku; by the first filter only a node that is named, because whoever speaks that tells
/// others that they may ask him.
fn filtering(args: &FilterArgs) -> filter::Config {
    let limits = Limits {
        max_peers: args.filter_max_peers_to_serve as usize,
        max_criteria: args.filter_max_criteria as usize,
        lease: Duration::from_secs(args.filter_subscription_timeout.into()),
        ..Limits::default()
    };
    let ask = if args.filternode.is_empty() { Ask::Current } else { Ask::Both };
    filter::Config { serve: args.filter.then_some(limits), ask }
}

/// The node that a flag names, if any.
fn node(flag: &'static str, text: &str) -> Result<Vec<Target>, ConfigError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let refused = |cause: String| ConfigError::ServiceNode { flag, value: text.to_owned(), cause };
    let addr: waku2::Multiaddr =
        text.parse().map_err(|cause: <waku2::Multiaddr as std::str::FromStr>::Err| refused(cause.to_string()))?;
    Ok(vec![addr.try_into().map_err(|cause: waku2::service::ask::NobodyNamed| refused(cause.to_string()))?])
}
