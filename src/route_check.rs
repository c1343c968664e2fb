//! `bridge check`: a table of routes in words, and what is wrong with it.

use std::fmt::{self, Write as _};

use bridge::{
    Direction,
    router::{Route, Router, Shadow, Signing},
};
use waku0::interest::Interest;

use crate::config::routes::Table;

/// A table, explained.
#[derive(Debug)]
pub struct Explained<'a>(pub &'a Table);

impl Explained<'_> {
    /// Routes that are never taken, whichever way they lead.
    #[must_use]
    pub fn unreachable(&self) -> usize {
        let shadows = self.0.router.shadows();
        let is_dead = |place: usize, route: &Route| {
            let ways = Direction::ALL.into_iter().filter(|direction| route.takes(*direction)).count();
            shadows.iter().filter(|shadow| shadow.route == place).count() == ways
        };
        let routes = self.0.router.routes().iter().enumerate();
        routes.filter(|(place, route)| is_dead(*place, route)).count()
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Table { router, reserves, notices }) = self;
        let names = router.routes().iter().map(|route| route.name.chars().count()).max().unwrap_or(0);
        for (number, route) in (1..).zip(router.routes()) {
            writeln!(f, "{number:>3}  {:names$}  {route}{}", route.name, extras(route)?)?;
        }
        writeln!(f, "asked of waku/0 peers: {}", wanted(&router.interest()))?;
        let topics: Vec<String> = router.pubsub_topics().iter().map(ToString::to_string).collect();
        writeln!(f, "relayed for it: {}", topics.join(", "))?;
        for (class, percent) in reserves.shares() {
            let of_class = router.routes().iter().filter(|route| route.class.as_ref() == Some(class));
            let names: Vec<&str> = of_class.map(|route| &*route.name).collect();
            writeln!(f, "kept of our messages an epoch: {percent} percent for {class} ({})", names.join(", "))?;
        }
        if !reserves.is_empty() {
            writeln!(f, "kept for nobody: {} percent, for whoever comes first", reserves.rest())?;
        }
        for notice in notices {
            writeln!(f, "note: {notice}")?;
        }
        for shadow in router.shadows() {
            writeln!(f, "warning: {}", never(router, shadow))?;
        }
        Ok(())
    }
}

/// What is said of a route beside its topics and shard.
fn extras(route: &Route) -> Result<String, fmt::Error> {
    let mut text = String::new();
    if route.fanout {
        text.push_str("; envelopes go on to the next route as well");
    }
    if route.priority > 0 {
        write!(text, "; priority {}", route.priority)?;
    }
    if let Some(max) = route.max_per_sec {
        write!(text, "; at most {max} a second each way")?;
    }
    if let Some(class) = &route.class {
        write!(text, "; publishes out of what is kept for {class}")?;
    }
    match &route.signing {
        Signing::Open => {}
        Signing::With(key) => write!(text, "; signed with the key of {}", key.verifying())?,
        Signing::NoKey => text.push_str("; a signed shard without its key"),
    }
    Ok(text)
}

fn wanted(interest: &Interest) -> String {
    match interest {
        Interest::Topics(topics) => match topics.as_slice().len() {
            1 => "1 topic and no others".to_owned(),
            count => format!("{count} topics and no others"),
        },
        Interest::Bloom(bloom) if bloom.is_full() => "everything".to_owned(),
        Interest::Bloom(_) => "the topics of the routes, and some others that look like them".to_owned(),
    }
}

fn never(router: &Router, Shadow { route, direction, by }: Shadow) -> String {
    let name = |place: usize| router.routes().get(place).map_or("", |route| &*route.name);
    let way = match direction {
        Direction::V1ToV2 => "envelope",
        Direction::V2ToV1 => "message",
    };
    format!("no {way} ever comes to route {:?}: {:?} before it takes all that it would", name(route), name(by))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bridge::policy::Ways;

    use crate::config::{
        reserves::Reserves,
        routes::{self, Surroundings},
    };

    use super::*;

    fn route(name: &str, shard: u16, ways: Ways) -> Route {
        Route { name: name.into(), ..Route::everything(format!("/waku/2/rs/16/{shard}").parse().unwrap(), ways) }
    }

    fn explained(routes: Vec<Route>) -> (String, usize) {
        let (router, reserves) = (Router::table(routes).unwrap(), Reserves::default());
        let table = Table { router, reserves, notices: vec!["mind this".to_owned()] };
        (Explained(&table).to_string(), Explained(&table).unreachable())
    }

    #[test]
    fn each_route_is_a_line() {
        let first = Route { topics: [waku0::Topic([1, 2, 3, 4])].into_iter().collect(), ..route("a", 64, Ways::Both) };
        let first = Route { priority: 9, fanout: true, max_per_sec: NonZeroU32::new(50), ..first };
        let (text, dead) = explained(vec![first, route("long name", 32, Ways::V2ToV1)]);
        let expected = [
            "  1  a          0x01020304 <-> /waku/2/rs/16/64; envelopes go on to the next route as well; priority 9; at most 50 a second each way",
            "  2  long name  * <-- /waku/2/rs/16/32",
            "asked of waku/0 peers: 1 topic and no others",
            "relayed for it: /waku/2/rs/16/64, /waku/2/rs/16/32",
            "note: mind this",
        ];
        assert_eq!((text.lines().collect::<Vec<_>>(), dead), (expected.to_vec(), 0));
    }

    #[test]
    fn what_is_kept_for_whom_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("routes.toml");
        let text = "[rln.pool-a]\npercent = 60\n[[route]]\nname = \"a\"\nv1_topics = \"*\"\npubsub = \"/waku/2/rs/1/4\"\nrln = \"pool-a\"\n";
        std::fs::write(&path, text).unwrap();
        let (cluster, protected) = (waku2::ClusterId(1), Default::default());
        let around = Surroundings { cluster, protected, has_archive: false, has_proofs: true };
        let told = Explained(&routes::read(&path, &around).unwrap()).to_string();
        let expected = [
            "  1  a  * <-> /waku/2/rs/1/4; publishes out of what is kept for pool-a",
            "asked of waku/0 peers: everything",
            "relayed for it: /waku/2/rs/1/4",
            "kept of our messages an epoch: 60 percent for pool-a (a)",
            "kept for nobody: 40 percent, for whoever comes first",
        ];
        assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_never_reached_is_told() {
        let routes = vec![route("all", 64, Ways::Both), route("half", 32, Ways::Both), route("dead", 64, Ways::Both)];
        let (text, dead) = explained(routes);
        assert!(text.contains("no envelope ever comes to route \"half\": \"all\" before it"), "{text}");
        assert!(text.contains("no message ever comes to route \"dead\": \"all\" before it"), "{text}");
        assert_eq!((dead, text.matches("warning: ").count()), (1, 3));
    }
}
