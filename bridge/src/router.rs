//! Which topics cross, between where, and which way: an ordered table, first match wins.
//!
//! 23/WAKU2-TOPICS puts every `/waku/1/…` content topic on one shard, so that one entry is all that autosharding could use; the
//! network of Status spreads topics over shards by hand, and so may an operator.
//!
//! An envelope goes to the first route that takes it, and on to the next one where that has [`Route::fanout`]. A message comes by
//! the first route of its pubsub topic that takes it. Limit: [`MAX_ROUTES`] routes.

use std::{collections::BTreeSet, fmt, num::NonZeroU32, sync::Arc};

use waku0::{
    Topic,
    bloom::Bloom,
    interest::{Interest, MAX_TOPICS},
};
use waku2::{
    shard::{ClusterId, Shard},
    signed::SigningKey,
    topic::PubsubTopic,
};

use crate::{crossing::Direction, policy::Ways};

/// Name of the route that exists without any configuration.
pub const DEFAULT_ROUTE: &str = "default";

/// Routes in a table: each has counters of its own, and each envelope is held against them one by one.
pub const MAX_ROUTES: usize = 256;

/// One entry of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What metrics and logs call it.
    pub name: Arc<str>,
    /// Which v1 topics it takes.
    pub topics: Topics,
    /// The v2 side.
    pub pubsub: PubsubTopic,
    /// Which way.
    pub ways: Ways,
    /// Where a queue is full, the lowest number is shed first.
    pub priority: u8,
    /// An envelope goes to the next route that takes it as well.
    pub fanout: bool,
    /// Most that may cross in a second, each way, as many at once; `None` is no limit.
    pub max_per_sec: Option<NonZeroU32>,
    /// What the v2 side asks of a publisher.
    pub signing: Signing,
    /// For whom a share of our rate is kept, which its messages spend; `None` spends what is kept for nobody.
    pub class: Option<Arc<str>>,
}

/// Which v1 topics a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    /// Every one.
    All,
    /// These.
    Some(Arc<BTreeSet<Topic>>),
}

/// What the v2 side of a route asks of a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Signing {
    /// Nothing.
    #[default]
    Open,
    /// It is a signed shard, and this is its key.
    With(Box<SigningKey>),
    /// It is a signed shard, and we have no key: only messages cross, and envelopes are dropped as `no_key`.
    NoKey,
}

impl Topics {
    /// Whether `topic` is among them.
    #[must_use]
    pub fn contains(&self, topic: Topic) -> bool {
        match self {
            Self::All => true,
            Self::Some(topics) => topics.contains(&topic),
        }
    }
}

impl FromIterator<Topic> for Topics {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        Self::Some(Arc::new(topics.into_iter().collect()))
    }
}

impl Route {
    /// Every topic, between v1 and `pubsub`.
    #[must_use]
    pub fn everything(pubsub: PubsubTopic, ways: Ways) -> Self {
        Self {
            name: DEFAULT_ROUTE.into(),
            topics: Topics::All,
            pubsub,
            ways,
            priority: 0,
            fanout: false,
            max_per_sec: None,
            signing: Signing::Open,
            class: None,
        }
    }

    /// Whether it leads that way.
    #[must_use]
    pub fn leads(&self, direction: Direction) -> bool {
        matches!(
            (self.ways, direction),
            (Ways::Both, _) | (Ways::V1ToV2, Direction::V1ToV2) | (Ways::V2ToV1, Direction::V2ToV1)
        )
    }

    /// Whether what comes that way stops here: it is carried, or kept.
    #[must_use]
    pub fn takes(&self, direction: Direction) -> bool {
        self.ways == Ways::ArchiveOnly || self.leads(direction)
    }

    /// Does nothing that `self` takes in this direction come to a route behind it that is like `later`?
    fn stands_before(&self, later: &Self, direction: Direction) -> bool {
        self.takes(direction)
            && match direction {
                Direction::V1ToV2 => !self.fanout,
                Direction::V2ToV1 => self.pubsub == later.pubsub,
            }
    }
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    routes: Vec<Arc<Route>>,
}

/// Why routes make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// None.
    #[error("there is no route: nothing would cross")]
    Empty,
    /// More than [`MAX_ROUTES`].
    #[error("{0} routes; {MAX_ROUTES} is the most")]
    TooMany(usize),
    /// Counters and logs could not tell them apart.
    #[error("two routes are called {0:?}")]
    SameName(Arc<str>),
}

/// A direction in which nothing ever comes to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// The route's place in the table.
    pub route: usize,
    /// Which way it is never taken, though it leads there.
    pub direction: Direction,
    /// Of the routes before it that take everything, the first one's place.
    pub by: usize,
}

impl Router {
    /// A table with one entry.
    #[must_use]
    pub fn new(route: Route) -> Self {
        Self { routes: vec![Arc::new(route)] }
    }

    /// A table; the order is kept.
    ///
    /// # Errors
    /// See [`RouterError`].
    pub fn table(routes: Vec<Route>) -> Result<Self, RouterError> {
        if routes.is_empty() {
            return Err(RouterError::Empty);
        }
        if routes.len() > MAX_ROUTES {
            return Err(RouterError::TooMany(routes.len()));
        }
        let mut names = BTreeSet::new();
        match routes.iter().find(|route| !names.insert(&route.name)) {
            Some(second) => Err(RouterError::SameName(second.name.clone())),
            None => Ok(Self { routes: routes.into_iter().map(Arc::new).collect() }),
        }
    }

    /// The entries, first match first.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Is anything bridged with `pubsub`? A node may relay more than its bridge is about.
    #[must_use]
    pub fn knows(&self, pubsub: &PubsubTopic) -> bool {
        self.routes.iter().any(|route| route.pubsub == *pubsub)
    }

    /// What is bridged with, each once, in the order of the table.
    #[must_use]
    pub fn pubsub_topics(&self) -> Vec<PubsubTopic> {
        let mut topics: Vec<PubsubTopic> = Vec::new();
        for route in &self.routes {
            if !topics.contains(&route.pubsub) {
                topics.push(route.pubsub.clone());
            }
        }
        topics
    }

    /// Where an envelope goes: to one route, or to several where those before have [`Route::fanout`].
    pub fn to_v2(&self, topic: Topic) -> impl Iterator<Item = &Arc<Route>> {
        let mut goes_on = true;
        self.routes
            .iter()
            .filter(move |route| route.takes(Direction::V1ToV2) && route.topics.contains(topic))
            .take_while(move |route| std::mem::replace(&mut goes_on, route.fanout))
    }

    /// The route by which a message from `pubsub` comes.
    #[must_use]
    pub fn to_v1(&self, pubsub: &PubsubTopic, topic: Topic) -> Option<&Arc<Route>> {
        self.routes
            .iter()
            .find(|route| route.takes(Direction::V2ToV1) && route.pubsub == *pubsub && route.topics.contains(topic))
    }

    /// What v1 peers are to be asked for: just what some route takes to v2, where none takes everything. Where no route leads there at
    /// all, everything: a node that wants nothing passes nothing on. More topics than a peer may be told are told as a bloom filter,
    /// which lets some others through.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let mut wanted = BTreeSet::new();
        for route in self.routes.iter().filter(|route| route.takes(Direction::V1ToV2)) {
            match &route.topics {
                Topics::All => return Interest::EVERYTHING,
                Topics::Some(topics) => wanted.extend(topics.iter().copied()),
            }
        }
        if wanted.is_empty() {
            return Interest::EVERYTHING;
        }
        if wanted.len() <= MAX_TOPICS
            && let Ok(interest) = Interest::topics(wanted.iter().copied().collect())
        {
            return interest;
        }
        Interest::Bloom(wanted.into_iter().collect::<Bloom>())
    }

    /// Where routes are never taken, because those before them take all that they would.
    #[must_use]
    pub fn shadows(&self) -> Vec<Shadow> {
        let mut shadows = Vec::new();
        for (place, route) in self.routes.iter().enumerate() {
            for direction in Direction::ALL.into_iter().filter(|direction| route.takes(*direction)) {
                if let Some(by) = self.shadow(place, route, direction) {
                    shadows.push(Shadow { route: place, direction, by });
                }
            }
        }
        shadows
    }

    fn shadow(&self, place: usize, route: &Route, direction: Direction) -> Option<usize> {
        let before = || {
            let earlier = self.routes.iter().enumerate().take(place);
            earlier.filter(|(_, other)| other.stands_before(route, direction))
        };
        match &route.topics {
            Topics::All => before().find(|(_, other)| other.topics == Topics::All).map(|(by, _)| by),
            Topics::Some(topics) => {
                let takes = |topic: &Topic| before().find(|(_, other)| other.topics.contains(*topic)).map(|(by, _)| by);
                let takers: Option<Vec<usize>> = topics.iter().map(takes).collect();
                takers?.into_iter().min()
            }
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Some(topics) => match (topics.len(), topics.first()) {
                (1, Some(topic)) => write!(f, "{topic}"),
                (count, _) => write!(f, "{count} topics"),
            },
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.ways {
            Ways::Both => "<->",
            Ways::V1ToV2 => "-->",
            Ways::V2ToV1 => "<--",
            Ways::ArchiveOnly => "-x-",
        };
        write!(f, "{} {arrow} {}", self.topics, self.pubsub)
    }
}

impl fmt::Display for Router {
    /// The entries in order, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<String> = self.routes.iter().map(ToString::to_string).collect();
        f.write_str(&routes.join(", "))
    }
}

impl Default for Router {
    /// Every topic, both ways, with `/waku/2/rs/0/0`: the one shard of nwaku's default network.
    fn default() -> Self {
        Self::new(Route::everything(Shard { cluster: ClusterId(0), index: 0 }.into(), Ways::Both))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic([1, 2, 3, 4]);
    const OTHER: Topic = Topic([5, 6, 7, 8]);

    fn pubsub(text: &str) -> PubsubTopic {
        text.parse().unwrap()
    }

    fn shard(index: u16) -> PubsubTopic {
        Shard { cluster: ClusterId(16), index }.into()
    }

    fn route(name: &str, topics: &[Topic], index: u16, ways: Ways) -> Route {
        let topics = if topics.is_empty() { Topics::All } else { topics.iter().copied().collect() };
        Route { name: name.into(), topics, ..Route::everything(shard(index), ways) }
    }

    fn names<'a>(routes: impl Iterator<Item = &'a Arc<Route>>) -> Vec<&'a str> {
        routes.map(|route| &*route.name).collect()
    }

    #[test]
    fn by_default_everything_crosses_both_ways_on_the_first_shard_of_cluster_zero() {
        let router = Router::default();
        assert_eq!(router.to_v2(TOPIC).next().unwrap().pubsub, pubsub("/waku/2/rs/0/0"));
        assert_eq!(&*router.to_v1(&pubsub("/waku/2/rs/0/0"), TOPIC).unwrap().name, DEFAULT_ROUTE);
        assert_eq!(router.interest(), Interest::EVERYTHING);
    }

    #[test]
    fn no_route_from_another_shard() {
        assert!(Router::default().to_v1(&pubsub("/waku/2/rs/0/1"), TOPIC).is_none());
    }

    #[test]
    fn a_one_way_route_leads_one_way() {
        let one_way = |ways| Router::new(Route::everything(shard(64), ways));
        let v1_to_v2 = one_way(Ways::V1ToV2);
        assert!(v1_to_v2.to_v2(TOPIC).next().is_some() && v1_to_v2.to_v1(&shard(64), TOPIC).is_none());
        let v2_to_v1 = one_way(Ways::V2ToV1);
        assert!(v2_to_v1.to_v2(TOPIC).next().is_none() && v2_to_v1.to_v1(&shard(64), TOPIC).is_some());
    }

    #[test]
    fn a_route_to_the_archive_takes_both_ways_and_leads_nowhere() {
        let kept = route("kept", &[TOPIC], 64, Ways::ArchiveOnly);
        assert!(Direction::ALL.into_iter().all(|way| kept.takes(way) && !kept.leads(way)));
        let router = Router::table(vec![kept, route("rest", &[], 64, Ways::Both)]).unwrap();
        assert_eq!((names(router.to_v2(TOPIC)), names(router.to_v2(OTHER))), (vec!["kept"], vec!["rest"]));
        assert_eq!(&*router.to_v1(&shard(64), TOPIC).unwrap().name, "kept");
        assert_eq!(router.routes()[0].to_string(), "0x01020304 -x- /waku/2/rs/16/64");
    }

    #[test]
    fn several_routes_feed_v1_and_the_first_takes_from_it() {
        let router = Router::table(vec![route("a", &[], 64, Ways::Both), route("b", &[], 32, Ways::V2ToV1)]).unwrap();
        assert_eq!(names(router.to_v2(TOPIC)), ["a"]);
        assert_eq!(router.to_v1(&shard(32), TOPIC).unwrap().pubsub, shard(32));
        assert_eq!(router.to_string(), "* <-> /waku/2/rs/16/64, * <-- /waku/2/rs/16/32");
        assert_eq!(router.pubsub_topics(), [shard(64), shard(32)]);
    }

    #[test]
    fn topics_choose_and_the_first_match_wins_unless_it_fans_out() {
        let table = |fanout| {
            let first = Route { fanout, ..route("first", &[TOPIC], 1, Ways::Both) };
            Router::table(vec![
                first,
                route("back", &[TOPIC], 2, Ways::V2ToV1),
                route("second", &[TOPIC, OTHER], 2, Ways::V1ToV2),
                route("rest", &[], 3, Ways::Both),
            ])
            .unwrap()
        };
        assert_eq!(names(table(false).to_v2(TOPIC)), ["first"]);
        assert_eq!(names(table(true).to_v2(TOPIC)), ["first", "second"]);
        assert_eq!(names(table(true).to_v2(OTHER)), ["second"]);
        assert_eq!(names(table(true).to_v2(Topic([0; 4]))), ["rest"]);
        assert_eq!(table(true).to_v1(&shard(2), TOPIC).unwrap().name, "back".into());
        assert!(table(true).to_v1(&shard(2), OTHER).is_none());
    }

    #[test]
    fn a_table_has_routes_of_different_names_and_not_too_many() {
        assert_eq!(Router::table(vec![]), Err(RouterError::Empty));
        let of = |count: usize| (0..count).map(|n| route(&n.to_string(), &[], 0, Ways::Both)).collect();
        assert_eq!(Router::table(of(MAX_ROUTES)).unwrap().routes().len(), MAX_ROUTES);
        assert_eq!(Router::table(of(MAX_ROUTES + 1)), Err(RouterError::TooMany(MAX_ROUTES + 1)));
        let twice = vec![route("a", &[], 0, Ways::Both), route("a", &[], 1, Ways::Both)];
        assert_eq!(Router::table(twice), Err(RouterError::SameName("a".into())));
    }

    #[test]
    fn peers_are_asked_for_what_routes_take() {
        let table = |routes: Vec<Route>| Router::table(routes).unwrap().interest();
        let picky = route("a", &[TOPIC], 0, Ways::Both);
        assert_eq!(table(vec![picky.clone()]), Interest::topics(vec![TOPIC]).unwrap());
        let two = vec![picky.clone(), route("b", &[OTHER], 1, Ways::V1ToV2)];
        assert_eq!(table(two), Interest::topics(vec![TOPIC, OTHER]).unwrap());
        let back = vec![picky.clone(), route("b", &[], 1, Ways::V2ToV1)];
        assert_eq!(table(back), Interest::topics(vec![TOPIC]).unwrap(), "what comes from v2 is not asked for on v1");
        assert_eq!(table(vec![picky, route("b", &[], 1, Ways::Both)]), Interest::EVERYTHING);
        assert_eq!(
            table(vec![route("b", &[], 1, Ways::V2ToV1)]),
            Interest::EVERYTHING,
            "it passes envelopes on as well"
        );
        let many: Vec<Topic> = (0..=MAX_TOPICS as u32).map(|n| Topic(n.to_be_bytes())).collect();
        let Interest::Bloom(bloom) = table(vec![route("a", &many, 0, Ways::Both)]) else {
            panic!("too many for a list")
        };
        assert!(many.iter().all(|topic| bloom.contains(*topic)));
    }

    #[test]
    fn what_is_never_reached_is_found() {
        let shadows = |routes: Vec<Route>| {
            let found = Router::table(routes).unwrap().shadows();
            found.into_iter().map(|s| (s.route, s.direction.as_str(), s.by)).collect::<Vec<_>>()
        };
        let all = |name, index| route(name, &[], index, Ways::Both);
        let one = |name, index| route(name, &[TOPIC], index, Ways::Both);
        assert_eq!(shadows(vec![one("a", 1), all("b", 1)]), []);
        assert_eq!(shadows(vec![all("a", 1), one("b", 1)]), [(1, "v1_to_v2", 0), (1, "v2_to_v1", 0)]);
        assert_eq!(shadows(vec![all("a", 1), one("b", 2)]), [(1, "v1_to_v2", 0)], "messages of shard 2 come by it");
        let fans = Route { fanout: true, ..all("a", 1) };
        assert_eq!(shadows(vec![fans.clone(), one("b", 2)]), []);
        assert_eq!(shadows(vec![fans, one("b", 1)]), [(1, "v2_to_v1", 0)]);
        let both = route("c", &[TOPIC, OTHER], 1, Ways::V1ToV2);
        let parts = vec![one("a", 1), route("b", &[OTHER], 2, Ways::V1ToV2), both];
        assert_eq!(shadows(parts), [(2, "v1_to_v2", 0)], "two together take all of it");
        assert_eq!(shadows(vec![route("a", &[], 1, Ways::V2ToV1), route("b", &[], 1, Ways::V1ToV2)]), []);
    }

    #[test]
    fn a_route_tells_its_topics_in_short() {
        let told = |topics: &[Topic]| route("a", topics, 1, Ways::V1ToV2).to_string();
        assert_eq!(told(&[TOPIC]), "0x01020304 --> /waku/2/rs/16/1");
        assert_eq!(told(&[TOPIC, OTHER]), "2 topics --> /waku/2/rs/16/1");
    }
}
