//! What REST works with: the ports of each group that this node has.

use std::sync::Arc;

use devp2p::{NodeKey, clock::now, enr::Enr};
use waku2::{PubsubTopic, discovery::enr, handle::Witness, lightpush};

use super::{store::StoreRoom, v2::V2Room};
use crate::{
    config,
    probe::Probe,
    rest::{
        About, Admin, Filter, Groups, Relay, Sharding, Stores,
        cache::Shared,
        node::{Log, Own},
        ports::{FilterService, Identity},
        services::{Elsewhere, Filtering, OwnHistory},
    },
};

/// What is known of REST before the node starts.
#[derive(Debug)]
pub(super) struct Api {
    config: config::Api,
    /// `None` without a Waku Network side.
    network: Option<Network>,
    /// What came by relay, for those who poll.
    polled: Shared,
}

/// The Waku Network side, as REST needs it.
#[derive(Debug)]
struct Network {
    sharding: Sharding,
    topics: Vec<PubsubTopic>,
    services: enr::Services,
    serves_filter: bool,
    lightpush: lightpush::Config,
}

/// The rooms whose parts are asked.
pub(super) struct Rooms<'a> {
    pub(super) v2: Option<&'a V2Room>,
    pub(super) store: Option<&'a StoreRoom>,
    /// The record of the waku/0 side.
    pub(super) record: Option<Enr>,
}

impl Api {
    pub(super) fn new(config: config::Api, v2: Option<&config::V2>) -> Self {
        let polled = Shared::new(config.relay_cache);
        let network = v2.map(|v2| Network {
            sharding: Sharding { cluster: v2.network.cluster, shards: v2.network.shards },
            topics: v2.network.topics.clone(),
            services: v2.services.bits(),
            serves_filter: v2.services.filter.serve.is_some(),
            lightpush: v2.services.lightpush,
        });
        if let Some(network) = &network {
            let mut cache = polled.lock();
            network.topics.iter().for_each(|topic| cache.follow_pubsub(topic.clone()));
            // There are fewer than may be followed: each has relayed a shard.
            let _ = cache.follow_content(&config.content_topics);
        }
        Self { config, network, polled }
    }

    /// Who is to be told of every message that the node accepts.
    pub(super) fn witness(&self) -> Arc<dyn Witness> {
        Arc::new(self.polled.clone())
    }

    /// What is served.
    pub(super) fn groups(self, key: &NodeKey, rooms: Rooms<'_>, probe: Arc<Probe>) -> Groups {
        let Self { config, network, polled } = self;
        let Rooms { v2, store, record } = rooms;
        let levels = Arc::new(Log);
        let Some((room, network)) = v2.zip(network) else {
            let admin = config.admin.then(|| Admin { peers: None, filter: None, levels });
            return Groups {
                about: About { node: Arc::new(Own::legacy(record)), version: config.version.as_str().into() },
                health: probe,
                relay: None,
                filter: None,
                stores: None,
                lightpush: None,
                admin,
            };
        };
        let node = Arc::new(room.node.clone());
        let identity: Arc<dyn Identity> = Arc::new(Own::of(room.node.clone(), network.services, key, now()));
        // What the bridge asked for it keeps.
        let leaves = if probe.crossing.is_some() { Vec::new() } else { network.topics };
        let pushed_to = network.serves_filter.then(|| Arc::clone(&node) as Arc<dyn FilterService>);
        let filter = node.filter().map(|subscriber| {
            let cache = Shared::new(config.filter_cache);
            let client = Filtering::start(Arc::clone(subscriber), network.sharding, cache.clone());
            Filter { client: Arc::new(client), cache }
        });
        Groups {
            about: About { node: identity, version: config.version.as_str().into() },
            health: probe,
            relay: Some(Relay::new(Arc::clone(&node) as _, polled, network.sharding, leaves)),
            filter,
            stores: Some(stores(store, &node)),
            lightpush: Some(Arc::new(lightpush::Client::new(room.node.clone(), network.lightpush))),
            admin: config.admin.then(|| Admin { peers: Some(node as _), filter: pushed_to, levels }),
        }
    }
}

/// The history of this node, where it is served, and that of others.
fn stores(room: Option<&StoreRoom>, node: &waku2::Handle) -> Stores {
    let own = |serves: bool| {
        let room = room.filter(|_| serves)?;
        Some(Arc::new(OwnHistory(Arc::clone(&room.history) as _)) as _)
    };
    Stores {
        own: own(room.is_some_and(|room| room.v3)),
        own_legacy: own(room.is_some_and(|room| room.legacy)),
        others: Some(Arc::new(Elsewhere(node.clone()))),
    }
}
