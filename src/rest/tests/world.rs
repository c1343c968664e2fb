//! The ports as a test wants them: each answers what it was told to, or never.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use waku2::{
    ClusterId, ContentTopic, Meta, Multiaddr, PeerId, PublishError, Published, PubsubTopic, WakuMessage,
    known::{ConnectError, Connectedness, KnownPeer, Origin},
    lightpush::Pushed,
    subscriptions::SubscribeError,
};

use crate::{
    cli::LogLevel,
    health::{self, Report},
    logging::LevelRefused,
    probe::Reading,
    rest::{
        About, Admin, Filter, Groups, Relay, Sharding, Stores,
        cache::Shared,
        ports::{
            Answer, Criteria, FilterClient, FilterRefused, FilterService, Health, Identity, Index, LegacyPage, Levels,
            Lightpush, Peers, Push, PushRefused, Relaying, Store, StorePage, StoreQuery, StoreRefused, Wanted,
        },
    },
};

/// A peer id.
pub(super) const ID: &str = "16Uiu2HAmVFXtAfSj4EiR7mL2KvL4EE2wztuQgUSBoj2Jx2KeXFLN";
/// Another.
pub(super) const OTHER_ID: &str = "16Uiu2HAm4v86W3bmT1BiH6oSPzcsSr24iDQpSN5Qa992BCjjwgrD";

/// What the parts of a node answer, and what they were asked.
#[derive(Debug)]
pub(super) struct State {
    /// Nothing is ever answered.
    pub(super) slow: bool,
    pub(super) relayed: BTreeSet<PubsubTopic>,
    pub(super) publish: Result<Published, PublishError>,
    pub(super) published: Vec<(PubsubTopic, WakuMessage)>,
    pub(super) filter: Result<(), FilterRefused>,
    pub(super) filtered: Vec<Criteria>,
    pub(super) page: Result<StorePage, StoreRefused>,
    pub(super) legacy_page: Result<LegacyPage, StoreRefused>,
    pub(super) queries: Vec<(Option<Multiaddr>, StoreQuery)>,
    pub(super) legacy_queries: Vec<(Option<Multiaddr>, Wanted, Option<Index>)>,
    pub(super) push: Result<Pushed, PushRefused>,
    pub(super) pushed: Vec<Push>,
    pub(super) peers: Option<Vec<KnownPeer>>,
    pub(super) unreachable: Option<PeerId>,
    pub(super) called: Vec<Multiaddr>,
    pub(super) level: Result<(), LevelRefused>,
    pub(super) levels: Vec<LogLevel>,
    pub(super) healthy: bool,
    // Which groups there are.
    pub(super) admin: bool,
    pub(super) relay: bool,
    pub(super) keeps_history: bool,
    pub(super) asks_history: bool,
    pub(super) serves_filter: bool,
    pub(super) has_network: bool,
    pub(super) shards: u16,
}

impl Default for State {
    fn default() -> Self {
        Self {
            slow: false,
            relayed: ["/waku/2/rs/1/0".parse().unwrap(), "/waku/2/rs/1/1".parse().unwrap()].into(),
            publish: Ok(Published { peers: 3, duplicate: false, proof: None }),
            published: Vec::new(),
            filter: Ok(()),
            filtered: Vec::new(),
            page: Ok(StorePage { status: (200, "OK".to_owned()), ..StorePage::default() }),
            legacy_page: Ok(LegacyPage::default()),
            queries: Vec::new(),
            legacy_queries: Vec::new(),
            push: Ok(Pushed { peers: Some(2) }),
            pushed: Vec::new(),
            peers: Some(vec![peer(ID, true), peer(OTHER_ID, false)]),
            unreachable: None,
            called: Vec::new(),
            level: Ok(()),
            levels: Vec::new(),
            healthy: true,
            admin: true,
            relay: true,
            keeps_history: true,
            asks_history: true,
            serves_filter: true,
            has_network: true,
            shards: 8,
        }
    }
}

/// A peer that relays shard 1 and serves the store, or one that was only named.
fn peer(id: &str, connected: bool) -> KnownPeer {
    let topic: PubsubTopic = "/waku/2/rs/1/1".parse().unwrap();
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/60001".parse().unwrap();
    let protocols = ["/vac/waku/relay/2.0.0", "/vac/waku/store-query/3.0.0", "/ipfs/ping/1.0.0"];
    KnownPeer {
        peer: id.parse().unwrap(),
        addrs: if connected { vec![addr] } else { Vec::new() },
        agent: if connected { "nwaku-v0.37.0".to_owned() } else { String::new() },
        protocols: protocols.into_iter().filter(|_| connected).map(str::to_owned).collect(),
        shards: vec![1],
        connectedness: if connected { Connectedness::Connected } else { Connectedness::CannotConnect },
        origin: if connected { Origin::Static } else { Origin::Discv5 },
        score: connected.then_some(1.5),
        relays: if connected { vec![topic.clone()] } else { Vec::new() },
        meshes: if connected { vec![topic] } else { Vec::new() },
    }
}

/// A message.
pub(super) fn message(payload: &str, content_topic: &str, timestamp: i64) -> WakuMessage {
    WakuMessage {
        payload: payload.as_bytes().to_vec().into(),
        content_topic: content_topic.into(),
        version: 0,
        timestamp: Some(timestamp),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

/// All ports, with one state behind.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    pub(super) relay_cache: Shared,
    pub(super) filter_cache: Shared,
}

impl World {
    pub(super) fn new() -> Self {
        Self { state: Arc::default(), relay_cache: Shared::new(50), filter_cache: Shared::new(50) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What is served of it.
    pub(super) fn groups(&self) -> Groups {
        let state = self.state();
        let own = Arc::new(self.clone());
        let sharding = Sharding { cluster: ClusterId(1), shards: state.shards };
        self.relay_cache.lock().follow_pubsub("/waku/2/rs/1/0".parse().unwrap());
        for cache in [&self.relay_cache, &self.filter_cache] {
            cache.lock().follow_content(&["/app/20/sometopic/someencoding".into()]).unwrap();
        }
        let leaves = state.relayed.clone();
        Groups {
            about: About { node: own.clone(), version: "v0.37.0-3-gabc123".into() },
            health: own.clone(),
            relay: state.relay.then(|| Relay::new(own.clone(), self.relay_cache.clone(), sharding, leaves)),
            filter: Some(Filter { client: own.clone(), cache: self.filter_cache.clone() }),
            stores: Some(Stores {
                own: state.keeps_history.then(|| own.clone() as Arc<_>),
                own_legacy: state.keeps_history.then(|| own.clone() as Arc<_>),
                others: state.asks_history.then(|| own.clone() as Arc<_>),
            }),
            lightpush: Some(own.clone()),
            admin: state.admin.then(|| Admin {
                peers: state.has_network.then(|| own.clone() as Arc<_>),
                filter: state.serves_filter.then(|| own.clone() as Arc<_>),
                levels: own,
            }),
        }
    }

    /// An answer, or none for ever.
    fn answer<T: Send + 'static>(&self, answer: impl FnOnce(&mut State) -> T) -> Answer<'static, T> {
        let mut state = self.state();
        let (slow, told) = (state.slow, answer(&mut state));
        Box::pin(async move {
            if slow {
                pending::<()>().await;
            }
            told
        })
    }
}

impl Identity for World {
    fn addresses(&self) -> Vec<Multiaddr> {
        ["/ip4/1.2.3.4/tcp/60000", "/ip4/1.2.3.4/tcp/8000/ws"]
            .map(|addr| format!("{addr}/p2p/{ID}").parse().unwrap())
            .into()
    }

    fn record(&self) -> String {
        "enr:-abc".to_owned()
    }
}

impl Health for World {
    fn report(&self) -> Answer<'_, Option<Report>> {
        let reading = Reading { v2_peers: Some(0), ..Reading::default() };
        self.answer(|state| state.healthy.then(|| health::report(&reading)))
    }
}

impl Relaying for World {
    fn relays(&self, topic: &PubsubTopic) -> bool {
        self.state().relayed.contains(topic)
    }

    fn subscribe(&self, topic: PubsubTopic) -> Answer<'_, Result<bool, SubscribeError>> {
        let cluster = ClusterId(1);
        self.answer(move |state| {
            if !topic.as_str().starts_with("/waku/2/rs/1/") {
                return Err(SubscribeError::ForeignTopic { topic, cluster });
            }
            Ok(state.relayed.insert(topic))
        })
    }

    fn unsubscribe(&self, topic: PubsubTopic) -> Answer<'_, bool> {
        self.answer(move |state| state.relayed.remove(&topic))
    }

    fn publish(&self, topic: PubsubTopic, data: Bytes) -> Answer<'_, Result<Published, PublishError>> {
        // A node tells of what goes out.
        let cache = self.relay_cache.clone();
        self.answer(move |state| {
            if !state.relayed.contains(&topic) {
                return Err(PublishError::NotSubscribed);
            }
            let message = WakuMessage::decode(&data).unwrap();
            if state.publish.is_ok() {
                cache.offer(&topic, &message);
            }
            state.published.push((topic, message));
            state.publish.clone()
        })
    }
}

impl Peers for World {
    fn known(&self) -> Answer<'_, Option<Vec<KnownPeer>>> {
        self.answer(|state| state.peers.clone())
    }

    fn topics(&self) -> Vec<PubsubTopic> {
        self.state().relayed.iter().cloned().collect()
    }

    fn connect(&self, addr: Multiaddr) -> Answer<'_, Result<(), ConnectError>> {
        self.answer(move |state| {
            let refused = state.unreachable.is_some_and(|peer| addr.to_string().ends_with(&peer.to_string()));
            state.called.push(addr);
            if refused { Err(ConnectError::Failed("refused".to_owned())) } else { Ok(()) }
        })
    }
}

impl Levels for World {
    fn set(&self, level: LogLevel) -> Result<(), LevelRefused> {
        let mut state = self.state();
        state.level?;
        state.levels.push(level);
        Ok(())
    }
}

impl FilterClient for World {
    fn subscribe(&self, criteria: Criteria) -> Answer<'_, Result<(), FilterRefused>> {
        self.answer(move |state| {
            state.filtered.push(criteria);
            state.filter.clone()
        })
    }

    fn unsubscribe(&self, criteria: Criteria) -> Answer<'_, Result<(), FilterRefused>> {
        FilterClient::subscribe(self, criteria)
    }

    fn unsubscribe_all(&self) -> Answer<'_, Result<(), FilterRefused>> {
        self.answer(|state| state.filter.clone())
    }

    fn ping(&self) -> Answer<'_, Result<(), FilterRefused>> {
        self.unsubscribe_all()
    }
}

impl FilterService for World {
    fn subscriptions(&self) -> Vec<(PeerId, Vec<(PubsubTopic, ContentTopic)>)> {
        vec![(ID.parse().unwrap(), vec![("/waku/2/rs/1/1".parse().unwrap(), "/a/1/b/c".into())])]
    }
}

impl Store for World {
    fn query(&self, peer: Option<Multiaddr>, query: StoreQuery) -> Answer<'_, Result<StorePage, StoreRefused>> {
        self.answer(move |state| {
            state.queries.push((peer, query));
            state.page.clone()
        })
    }

    fn legacy(
        &self,
        peer: Option<Multiaddr>,
        wanted: Wanted,
        cursor: Option<Index>,
    ) -> Answer<'_, Result<LegacyPage, StoreRefused>> {
        self.answer(move |state| {
            state.legacy_queries.push((peer, wanted, cursor));
            state.legacy_page.clone()
        })
    }
}

impl Lightpush for World {
    fn push(&self, push: Push) -> Answer<'_, Result<Pushed, PushRefused>> {
        self.answer(move |state| {
            state.pushed.push(push);
            state.push.clone()
        })
    }
}
