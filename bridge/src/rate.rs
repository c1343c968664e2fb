//! How much a route lets through in a second, each way. Pure.
//!
//! A second's worth may come at once, then one at a time; what finds nothing left is dropped as `rate`. Limit: an entry for each
//! route of the table and each way.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    crossing::Direction,
    router::{Route, Router},
};

const SECOND: Duration = Duration::from_secs(1);

/// What each route has left.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// When a route's second is whole again; none is whole.
    whole_at: HashMap<(Arc<str>, Direction), Instant>,
}

impl Rates {
    /// Takes one from what the route has left; false when there is none.
    pub(crate) fn take(&mut self, now: Instant, route: &Route, direction: Direction) -> bool {
        let Some(max) = route.max_per_sec else { return true };
        let every = SECOND / max.get();
        let whole_at = self.whole_at.entry((Arc::clone(&route.name), direction)).or_insert(now);
        *whole_at = now.max(*whole_at);
        let has = *whole_at + every <= now + SECOND;
        if has {
            *whole_at += every;
        }
        has
    }

    /// Forgets routes that are not in the table.
    pub(crate) fn keep(&mut self, routes: &Router) {
        self.whole_at.retain(|(name, _), _| routes.routes().iter().any(|route| route.name == *name));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{passage::tests::now, policy::Ways};

    fn route(name: &str, max_per_sec: u32) -> Route {
        let everything = Route::everything("/waku/2/rs/0/0".parse().unwrap(), Ways::Both);
        Route { name: name.into(), max_per_sec: NonZeroU32::new(max_per_sec), ..everything }
    }

    fn taken(rates: &mut Rates, at: Instant, route: &Route) -> usize {
        (0..1_000).take_while(|_| rates.take(at, route, Direction::V1ToV2)).count()
    }

    #[test]
    fn a_second_at_once_and_then_one_at_a_time() {
        let (mut rates, route, start) = (Rates::default(), route("a", 50), now().instant);
        assert_eq!(taken(&mut rates, start, &route), 50);
        assert_eq!(taken(&mut rates, start + Duration::from_millis(19), &route), 0);
        assert_eq!(taken(&mut rates, start + Duration::from_millis(20), &route), 1);
        assert_eq!(taken(&mut rates, start + Duration::from_millis(520), &route), 25);
        assert_eq!(taken(&mut rates, start + Duration::from_secs(60), &route), 50, "no more than a second is saved up");
    }

    #[test]
    fn routes_and_ways_have_each_their_own() {
        let (mut rates, start) = (Rates::default(), now().instant);
        assert_eq!(taken(&mut rates, start, &route("a", 1)), 1);
        assert!(rates.take(start, &route("a", 1), Direction::V2ToV1));
        assert!(rates.take(start, &route("b", 1), Direction::V1ToV2));
        assert_eq!(taken(&mut rates, start, &route("c", 0)), 1_000, "no limit");
    }

    #[test]
    fn a_route_that_stays_in_the_table_keeps_what_it_has_spent() {
        let (mut rates, start) = (Rates::default(), now().instant);
        for name in ["a", "b"] {
            assert_eq!(taken(&mut rates, start, &route(name, 1)), 1);
        }
        rates.keep(&Router::new(route("a", 1)));
        assert_eq!(taken(&mut rates, start, &route("a", 1)), 0);
        assert_eq!((taken(&mut rates, start, &route("b", 1)), rates.whole_at.len()), (1, 2));
    }
}
