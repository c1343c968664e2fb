//! Which topics cross, between where, and which way: an ordered table, first match wins.
//!
//! Today the table has one entry, for every topic, and there is no file to read another from. 23/WAKU2-TOPICS puts every
//! `/waku/1/…` content topic on one shard, so one entry is all that autosharding could use.

use std::{fmt, sync::Arc};

use waku0::topic::Topic;
use waku2::{
    shard::{ClusterId, Shard},
    topic::PubsubTopic,
};

use crate::{crossing::Direction, policy::Ways};

/// Name of the route that exists without any configuration.
pub const DEFAULT_ROUTE: &str = "default";

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
}

/// Which v1 topics a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    /// Every one.
    All,
}

impl Topics {
    /// Whether `topic` is among them.
    #[must_use]
    pub fn contains(&self, _topic: Topic) -> bool {
        match self {
            Self::All => true,
        }
    }
}

impl Route {
    /// Every topic, between v1 and `pubsub`.
    #[must_use]
    pub fn everything(pubsub: PubsubTopic, ways: Ways) -> Self {
        Self { name: DEFAULT_ROUTE.into(), topics: Topics::All, pubsub, ways, priority: 0 }
    }

    /// Whether it leads that way.
    #[must_use]
    pub fn leads(&self, direction: Direction) -> bool {
        matches!(
            (self.ways, direction),
            (Ways::Both, _) | (Ways::V1ToV2, Direction::V1ToV2) | (Ways::V2ToV1, Direction::V2ToV1)
        )
    }
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    routes: Vec<Arc<Route>>,
}

impl Router {
    /// A table with one entry.
    #[must_use]
    pub fn new(route: Route) -> Self {
        Self { routes: vec![Arc::new(route)] }
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

    /// Where an envelope goes.
    #[must_use]
    pub fn to_v2(&self, topic: Topic) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.leads(Direction::V1ToV2) && route.topics.contains(topic))
    }

    /// The route by which a message from `pubsub` comes.
    #[must_use]
    pub fn to_v1(&self, pubsub: &PubsubTopic, topic: Topic) -> Option<&Arc<Route>> {
        self.routes
            .iter()
            .find(|route| route.leads(Direction::V2ToV1) && route.pubsub == *pubsub && route.topics.contains(topic))
    }
}

/// The order is kept: first match wins.
impl FromIterator<Route> for Router {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        Self { routes: routes.into_iter().map(Arc::new).collect() }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.ways {
            Ways::Both => "<->",
            Ways::V1ToV2 => "-->",
            Ways::V2ToV1 => "<--",
        };
        match self.topics {
            Topics::All => write!(f, "* {arrow} {}", self.pubsub),
        }
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

    fn pubsub(text: &str) -> PubsubTopic {
        text.parse().unwrap()
    }

    #[test]
    fn by_default_everything_crosses_both_ways_on_the_first_shard_of_cluster_zero() {
        let router = Router::default();
        assert_eq!(router.to_v2(TOPIC).unwrap().pubsub, pubsub("/waku/2/rs/0/0"));
        assert_eq!(&*router.to_v1(&pubsub("/waku/2/rs/0/0"), TOPIC).unwrap().name, DEFAULT_ROUTE);
    }

    #[test]
    fn no_route_from_another_shard() {
        assert!(Router::default().to_v1(&pubsub("/waku/2/rs/0/1"), TOPIC).is_none());
    }

    #[test]
    fn a_one_way_route_leads_one_way() {
        let one_way = |ways| Router::new(Route::everything(pubsub("/waku/2/rs/16/64"), ways));
        let v1_to_v2 = one_way(Ways::V1ToV2);
        assert!(v1_to_v2.to_v2(TOPIC).is_some() && v1_to_v2.to_v1(&pubsub("/waku/2/rs/16/64"), TOPIC).is_none());
        let v2_to_v1 = one_way(Ways::V2ToV1);
        assert!(v2_to_v1.to_v2(TOPIC).is_none() && v2_to_v1.to_v1(&pubsub("/waku/2/rs/16/64"), TOPIC).is_some());
    }

    #[test]
    fn several_routes_feed_v1_and_the_first_takes_from_it() {
        let (first, second): (PubsubTopic, PubsubTopic) =
            ("/waku/2/rs/16/64".parse().unwrap(), "/waku/2/rs/16/32".parse().unwrap());
        let routes = [Route::everything(first.clone(), Ways::Both), Route::everything(second.clone(), Ways::V2ToV1)];
        let router: Router = routes.into_iter().collect();
        let topic = Topic([1, 2, 3, 4]);
        assert_eq!(router.to_v2(topic).unwrap().pubsub, first);
        assert_eq!(router.to_v1(&second, topic).unwrap().pubsub, second);
        assert_eq!(router.to_string(), "* <-> /waku/2/rs/16/64, * <-- /waku/2/rs/16/32");
    }
}
