//! What the rest of the program holds of a running bridge: counters, the last drops, a stream of crossings, and the stop.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    action::Tally,
    backfill::Course,
    canary::Reading,
    crossing::{Crossing, Direction, Outcome},
    drop_reason::DropReason,
    gaps::{Gap, Sources},
    histogram::{self, Histogram},
    job::Depths,
    router::Router,
    seal::Mining,
    story::{AnyHash, Story},
};

/// Crossings that a subscriber may be behind. Beyond it, it loses the oldest and is told how many.
pub const CROSSINGS: usize = 1_024;
/// Drops remembered, to answer "why did my message not cross?".
pub const RECENT_DROPS: usize = 1_000;
/// Upper bounds of the lag histogram's buckets, in seconds; what is longer is in `+Inf` alone. 20 s is where v2 validators
/// stop taking a message.
pub const LAG_BUCKETS_SECS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0];
/// The `route` label of what was dropped before a route was found.
pub const NO_ROUTE: &str = "none";

/// Names of routes that are counted, those of earlier tables among them; further ones count as [`OTHER_ROUTES`].
pub const MAX_NAMES: usize = 1_024;
/// The `route` label of what went by a route beyond [`MAX_NAMES`].
pub const OTHER_ROUTES: &str = "other";

/// Ends remembered, whatever they were, for [`Handle::story`]: about 400 bytes each.
pub const RECENT_ENDS: usize = 10_000;

/// Questions and tables of routes that wait for the bridge. Full: who asks waits.
const REQUESTS: usize = 4;

/// Columns: dropped for each reason, archived for each reason, crossed, would have crossed.
const RESULTS: usize = 2 * DropReason::COUNT + 2;
/// The column of what crossed.
const CROSSED: usize = 2 * DropReason::COUNT;

/// A running bridge, for those who watch it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    counters: Arc<Counters>,
    crossings: broadcast::Sender<Crossing>,
    drops: Mutex<VecDeque<Crossing>>,
    ends: Mutex<VecDeque<Crossing>>,
    status: Mutex<Status>,
    gaps: Mutex<Vec<Gap>>,
    sources: Mutex<Sources>,
    courses: Mutex<Vec<Course>>,
    routes: Mutex<Router>,
    mining: Arc<Mining>,
    requests: mpsc::Sender<Request>,
    stop: watch::Sender<bool>,
}

/// What the bridge is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Work by another table, and say when it is done.
    Routes(Router, oneshot::Sender<()>),
    /// Tell what is known of a hash.
    Story(AnyHash, oneshot::Sender<Story>),
}

/// The bridge's state, of a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// v1 peers whose Status was exchanged.
    pub v1_peers: usize,
    /// v2 peers that take messages of a bridged topic; of several topics, the one with most.
    pub v2_peers: usize,
    /// How many jobs stand where.
    pub depths: Depths,
    /// Envelopes waiting for a thread of the mining pool; they are among the jobs being mined.
    pub waiting_to_mine: usize,
    /// Notes of the journal that are not on disk. Whatever ended among them is done again after a crash.
    pub journal_waiting: usize,
    /// What was counted beside crossings.
    pub tally: Tally,
    /// Entries of the memory of what was seen.
    pub seen_entries: usize,
    /// How far the clocks of others are ahead of ours, in nanoseconds, by whichever side says more; none while too few say anything.
    /// Beyond 5 s the operator is to be warned; beyond [`crate::bridge::MAX_SKEW`] nothing is published on v2.
    pub clock_skew_nanos: Option<i64>,
    /// What came of the canaries, by direction; none where there are none.
    pub canaries: Option<[Reading; 2]>,
}

impl Handle {
    /// A handle, and where what it is asked for comes out.
    pub(crate) fn new(
        routes: &Router,
        mining: Arc<Mining>,
        stop: watch::Sender<bool>,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, asked) = mpsc::channel(REQUESTS);
        let shared = Shared {
            counters: Arc::new(Counters::new(routes)),
            crossings: broadcast::Sender::new(CROSSINGS),
            drops: Mutex::default(),
            ends: Mutex::default(),
            status: Mutex::default(),
            gaps: Mutex::default(),
            sources: Mutex::default(),
            courses: Mutex::default(),
            routes: Mutex::new(routes.clone()),
            mining,
            requests,
            stop,
        };
        (Self { shared: Arc::new(shared) }, asked)
    }

    /// What crossed and what did not, since the start.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// The end of everything the bridge is given from now on. Never slows the bridge: see [`CROSSINGS`].
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Crossing> {
        self.shared.crossings.subscribe()
    }

    /// The last [`RECENT_DROPS`] that did not cross, oldest first; those that were archived among them.
    #[must_use]
    pub fn recent_drops(&self) -> Vec<Crossing> {
        lock(&self.shared.drops).iter().cloned().collect()
    }

    /// Queue depths and the like, as of the bridge's last turn.
    #[must_use]
    pub fn status(&self) -> Status {
        *lock(&self.shared.status)
    }

    /// By route and direction, when something last crossed and when the far side was away.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = lock(&self.shared.gaps).clone();
        for gap in &mut gaps {
            gap.last_crossing = self.shared.counters.last_crossing(gap.direction, &gap.route);
        }
        gaps
    }

    pub(crate) fn set_gaps(&self, gaps: Vec<Gap>) {
        *lock(&self.shared.gaps) = gaps;
    }

    /// On which sides somebody is there now.
    #[must_use]
    pub fn sources(&self) -> Sources {
        lock(&self.shared.sources).clone()
    }

    pub(crate) fn set_sources(&self, sources: Sources) {
        *lock(&self.shared.sources) = sources;
    }

    /// By route and direction, what of history is missing, as [`Handle::set_courses`] was last told.
    #[must_use]
    pub fn courses(&self) -> Vec<Course> {
        lock(&self.shared.courses).clone()
    }

    /// Whoever keeps the [`crate::backfill::Ledger`] tells what stands in it.
    pub fn set_courses(&self, courses: Vec<Course>) {
        *lock(&self.shared.courses) = courses;
    }

    /// What the mining pool has done.
    #[must_use]
    pub fn mining(&self) -> &Mining {
        &self.shared.mining
    }

    /// The table that the bridge works by.
    #[must_use]
    pub fn routes(&self) -> Router {
        lock(&self.shared.routes).clone()
    }

    /// Gives the bridge another table. What is on its way goes on by the route that it has; nothing is lost. When it returns, the
    /// bridge works by it, or has stopped. Cancelling leaves open which of the two tables holds.
    pub async fn set_routes(&self, routes: Router) {
        let (done, taken) = oneshot::channel();
        if self.shared.requests.send(Request::Routes(routes, done)).await.is_ok() {
            // An error says that the bridge has stopped.
            let _ = taken.await;
        }
    }

    /// All that is known of the hash of an envelope, of a message, or of what they say; what a bridge that has stopped knew last.
    /// Safe to cancel.
    pub async fn story(&self, hash: AnyHash) -> Story {
        let (answer, told) = oneshot::channel();
        let asked = self.shared.requests.send(Request::Story(hash, answer)).await;
        let mut story = match asked {
            Ok(()) => told.await.unwrap_or_default(),
            Err(_) => Story::default(),
        };
        story.ended = lock(&self.shared.ends).iter().filter(|crossing| crossing.is_about(&hash)).cloned().collect();
        story
    }

    /// The bridge works by this table now.
    pub(crate) fn show_routes(&self, routes: Router) {
        self.shared.counters.add(&routes);
        *lock(&self.shared.routes) = routes;
    }

    /// Ends the bridge and returns when it has ended. What was on its way is given up. Safe to cancel: the end comes anyway.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        self.shared.stop.closed().await;
    }

    pub(crate) fn record(&self, crossing: Crossing) {
        self.shared.counters.record(&crossing);
        if crossing.outcome.missed().is_some() {
            keep(&self.shared.drops, RECENT_DROPS, &crossing);
        }
        keep(&self.shared.ends, RECENT_ENDS, &crossing);
        // An error says that nobody listens.
        let _ = self.shared.crossings.send(crossing);
    }

    pub(crate) fn set_status(&self, status: Status) {
        *lock(&self.shared.status) = status;
    }
}

/// The last ones only.
fn keep(ring: &Mutex<VecDeque<Crossing>>, bound: usize, crossing: &Crossing) {
    let mut ring = lock(ring);
    if ring.len() >= bound {
        ring.pop_front();
    }
    ring.push_back(crossing.clone());
}

/// Nothing behind these locks is ever half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What crossed and what did not, by direction, route and reason. Every number only grows.
#[derive(Debug)]
pub struct Counters {
    /// Of this table and of earlier ones: none is ever taken out.
    routes: RwLock<Vec<Arc<RouteCounters>>>,
    /// What had no route.
    none: Arc<RouteCounters>,
    /// Routes beyond [`MAX_NAMES`].
    others: Arc<RouteCounters>,
    lag: [Histogram; 2],
}

#[derive(Debug)]
struct RouteCounters {
    name: Arc<str>,
    /// By direction and column.
    counts: [[AtomicU64; RESULTS]; 2],
    /// When something last crossed, by direction: unix seconds, 0 for never.
    last_crossing: [AtomicU64; 2],
}

/// One line of the table of counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Which way.
    pub direction: Direction,
    /// The route's name, or [`NO_ROUTE`].
    pub route: Arc<str>,
    /// `crossed`, `archived`, `dropped`, or `would_cross`.
    pub result: &'static str,
    /// `ok`, or the reason's name.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

impl Counters {
    fn new(routes: &Router) -> Self {
        let named = |name: &str| Arc::new(RouteCounters::new(name.into()));
        let counters = Self {
            routes: RwLock::default(),
            none: named(NO_ROUTE),
            others: named(OTHER_ROUTES),
            lag: Direction::ALL.map(|_| Histogram::new(&LAG_BUCKETS_SECS)),
        };
        counters.add(routes);
        counters
    }

    /// Begins to count for routes whose names are new.
    fn add(&self, routes: &Router) {
        let mut counted = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for route in routes.routes() {
            let is_new = !counted.iter().any(|counters| counters.name == route.name);
            if is_new && counted.len() < MAX_NAMES {
                counted.push(Arc::new(RouteCounters::new(Arc::clone(&route.name))));
            }
        }
    }

    /// How many crossed.
    #[must_use]
    pub fn crossed(&self, direction: Direction) -> u64 {
        self.sum(direction, CROSSED)
    }

    /// How many a bridge that only counts would have carried.
    #[must_use]
    pub fn would_cross(&self, direction: Direction) -> u64 {
        self.sum(direction, CROSSED + 1)
    }

    /// How many did not, for one reason, and were not kept.
    #[must_use]
    pub fn dropped(&self, direction: Direction, reason: DropReason) -> u64 {
        self.sum(direction, reason as usize)
    }

    /// How many did not, for one reason, and were kept.
    #[must_use]
    pub fn archived(&self, direction: Direction, reason: DropReason) -> u64 {
        self.sum(direction, DropReason::COUNT + reason as usize)
    }

    /// The whole table, zeros included, but for the reasons that do not occur in a direction, and for what only a bridge counts that does
    /// nothing else.
    pub fn table(&self) -> impl Iterator<Item = Count> + '_ {
        self.counted().into_iter().flat_map(|route| {
            let lines: Vec<Count> = Direction::ALL.into_iter().flat_map(|way| route.lines(way)).collect();
            lines
        })
    }

    /// Those of the routes, in the order in which they were known, then those of none; then the others, if there are any.
    fn counted(&self) -> Vec<Arc<RouteCounters>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let others = (routes.len() >= MAX_NAMES).then(|| Arc::clone(&self.others));
        routes.iter().cloned().chain([Arc::clone(&self.none)]).chain(others).collect()
    }

    /// When something last crossed by a route: unix seconds.
    #[must_use]
    pub fn last_crossing(&self, direction: Direction, route: &str) -> Option<u64> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let counters = routes.iter().find(|counters| *counters.name == *route)?;
        Some(counters.last_crossing[direction as usize].load(Relaxed)).filter(|at| *at > 0)
    }

    /// The lag of what crossed, in seconds: from being sent to being confirmed on the other side.
    #[must_use]
    pub fn lag(&self, direction: Direction) -> histogram::Reading {
        self.lag[direction as usize].read()
    }

    fn sum(&self, direction: Direction, column: usize) -> u64 {
        self.counted().iter().map(|route| route.read(direction, column)).sum()
    }

    fn record(&self, crossing: &Crossing) {
        let count = |route: &RouteCounters| {
            route.counts[crossing.direction as usize][column(&crossing.outcome)].fetch_add(1, Relaxed);
            if matches!(crossing.outcome, Outcome::Crossed { .. }) {
                route.last_crossing[crossing.direction as usize].fetch_max(crossing.at, Relaxed);
            }
        };
        match &crossing.route {
            None => count(&self.none),
            Some(name) => {
                let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
                count(routes.iter().find(|route| route.name == *name).unwrap_or(&self.others));
            }
        }
        if matches!(crossing.outcome, Outcome::Crossed { .. }) {
            self.lag[crossing.direction as usize].record(crossing.age.as_secs_f64());
        }
    }
}

impl RouteCounters {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            counts: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            last_crossing: Default::default(),
        }
    }

    fn lines(&self, direction: Direction) -> impl Iterator<Item = Count> + '_ {
        let occurs = move |reason: &DropReason| reason.occurs(direction);
        let dropped = DropReason::all().filter(occurs).map(|reason| (reason as usize, "dropped", reason.as_str()));
        let kept = DropReason::all().filter(move |reason| reason.is_kept(direction));
        let archived = kept.map(|reason| (DropReason::COUNT + reason as usize, "archived", reason.as_str()));
        let would =
            Some((CROSSED + 1, "would_cross", "ok")).filter(move |(column, ..)| self.read(direction, *column) > 0);
        dropped.chain(archived).chain([(CROSSED, "crossed", "ok")]).chain(would).map(move |(column, result, reason)| {
            Count { direction, route: Arc::clone(&self.name), result, reason, count: self.read(direction, column) }
        })
    }

    fn read(&self, direction: Direction, column: usize) -> u64 {
        self.counts[direction as usize][column].load(Relaxed)
    }
}

fn column(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Dropped(reason) => *reason as usize,
        Outcome::Archived(reason) => DropReason::COUNT + *reason as usize,
        Outcome::Crossed { .. } => CROSSED,
        Outcome::WouldCross { .. } => CROSSED + 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        crossing::Conversion,
        passage::{
            Passage,
            tests::{now, passage},
        },
        router::DEFAULT_ROUTE,
    };

    fn handle() -> Handle {
        Handle::new(&Router::default(), Arc::default(), watch::Sender::new(false)).0
    }

    fn dropped(direction: Direction, reason: DropReason) -> Crossing {
        passage(direction).end(now(), Outcome::Dropped(reason))
    }

    fn crossed(direction: Direction, secs: u64) -> Crossing {
        let route = Router::default().routes().first().cloned();
        let passage = Passage { route, sent: now().unix_secs() - secs, ..passage(direction) };
        passage.end(now(), Outcome::Crossed { took: Duration::ZERO, by: Conversion::Mined, already_there: false })
    }

    #[test]
    fn each_crossing_counts_once() {
        let handle = handle();
        handle.record(dropped(Direction::V1ToV2, DropReason::LowPow));
        handle.record(crossed(Direction::V2ToV1, 1));
        handle.record(crossed(Direction::V2ToV1, 1));
        let counters = handle.counters();
        assert_eq!(counters.dropped(Direction::V1ToV2, DropReason::LowPow), 1);
        assert_eq!((counters.crossed(Direction::V1ToV2), counters.crossed(Direction::V2ToV1)), (0, 2));
        let lines: Vec<_> = counters
            .table()
            .filter(|line| line.count > 0)
            .map(|line| (line.direction, line.route, line.result, line.reason, line.count))
            .collect();
        assert_eq!(
            lines,
            [
                (Direction::V2ToV1, DEFAULT_ROUTE.into(), "crossed", "ok", 2),
                (Direction::V1ToV2, NO_ROUTE.into(), "dropped", "low_pow", 1),
            ]
        );
    }

    #[test]
    fn the_table_has_no_line_for_what_cannot_happen() {
        let handle = handle();
        let lines: Vec<_> = handle.counters().table().collect();
        // 20 reasons, 7 of them archived, and `ok` from v1; 15, 4 of them archived, and `ok` from v2; for the default route and none.
        assert_eq!(lines.len(), 2 * (28 + 20));
        assert!(!lines.iter().any(|line| line.direction == Direction::V2ToV1 && line.reason == "low_pow"));
    }

    #[test]
    fn gaps_say_when_something_last_crossed() {
        let handle = handle();
        let gap =
            |direction, last_crossing| Gap { route: DEFAULT_ROUTE.into(), direction, last_crossing, outages: vec![] };
        handle.set_gaps(Direction::ALL.map(|direction| gap(direction, None)).to_vec());
        handle.record(dropped(Direction::V1ToV2, DropReason::Late));
        handle.record(crossed(Direction::V2ToV1, 3));
        let expected = [gap(Direction::V1ToV2, None), gap(Direction::V2ToV1, Some(now().unix_secs()))];
        assert_eq!(handle.gaps(), expected);
    }

    #[test]
    fn counters_and_ring_agree_on_each_reason_of_each_direction() {
        for (reason, direction) in DropReason::all().flat_map(|reason| Direction::ALL.map(|way| (reason, way))) {
            let outcomes = [Outcome::Dropped(reason), Outcome::Archived(reason)];
            let possible = [reason.occurs(direction), reason.is_kept(direction)];
            for outcome in
                outcomes.into_iter().zip(possible).filter_map(|(outcome, possible)| possible.then_some(outcome))
            {
                let handle = handle();
                let crossing = passage(direction).end(now(), outcome);
                handle.record(crossing.clone());
                let lines: Vec<_> = handle.counters().table().filter(|line| line.count > 0).collect();
                let [line] = &lines[..] else { panic!("{reason}: {lines:?}") };
                let counted = (line.direction, line.result, line.reason, line.count);
                assert_eq!(counted, (direction, outcome.result(), reason.as_str(), 1));
                assert_eq!(handle.recent_drops(), [crossing]);
            }
        }
    }

    #[test]
    fn what_was_archived_counts_apart_and_stands_among_what_did_not_cross() {
        let handle = handle();
        let late = passage(Direction::V1ToV2).end(now(), Outcome::Archived(DropReason::Late));
        handle.record(late.clone());
        handle.record(passage(Direction::V1ToV2).end(now(), Outcome::WouldCross { by: Conversion::Wrapped }));
        let counters = handle.counters();
        let way = Direction::V1ToV2;
        assert_eq!((counters.archived(way, DropReason::Late), counters.dropped(way, DropReason::Late)), (1, 0));
        assert_eq!((counters.would_cross(way), counters.crossed(way), counters.lag(way).count), (1, 0, 0));
        assert_eq!(handle.recent_drops(), [late]);
        let lines: Vec<_> =
            counters.table().filter(|line| line.count > 0).map(|line| (line.result, line.reason)).collect();
        assert_eq!(lines, [("archived", "late"), ("would_cross", "ok")]);
    }

    #[test]
    fn a_new_table_adds_its_routes_and_takes_none_away() {
        let handle = handle();
        handle.record(crossed(Direction::V2ToV1, 1));
        let named = |name: &str| {
            let route = Router::default().routes()[0].as_ref().clone();
            Router::new(crate::router::Route { name: name.into(), ..route })
        };
        for n in 1..MAX_NAMES {
            handle.show_routes(named(&n.to_string()));
        }
        let by = |name: &str| {
            let mut crossing = crossed(Direction::V1ToV2, 1);
            crossing.route = Some(name.into());
            handle.record(crossing);
        };
        by("7");
        handle.show_routes(named("one too many"));
        by("one too many");
        let counters = handle.counters();
        let lines: Vec<_> = counters.table().filter(|line| line.count > 0).map(|line| line.route).collect();
        assert_eq!(lines, [DEFAULT_ROUTE.into(), "7".into(), Arc::from(OTHER_ROUTES)]);
        assert_eq!((counters.crossed(Direction::V1ToV2), handle.routes()), (2, named("one too many")));
    }

    #[test]
    fn drops_are_remembered_in_order_and_the_oldest_go() {
        let handle = handle();
        for _ in 0..RECENT_DROPS {
            handle.record(dropped(Direction::V1ToV2, DropReason::Expired));
        }
        handle.record(dropped(Direction::V2ToV1, DropReason::BadTopic));
        handle.record(crossed(Direction::V2ToV1, 1));
        let drops = handle.recent_drops();
        assert_eq!(drops.len(), RECENT_DROPS);
        assert_eq!(drops[RECENT_DROPS - 1].outcome.reason(), "bad_topic");
        assert_eq!(drops[RECENT_DROPS - 2].outcome.reason(), "expired");
    }

    #[test]
    fn a_subscriber_hears_what_follows() {
        let handle = handle();
        handle.record(dropped(Direction::V1ToV2, DropReason::Expired));
        let mut crossings = handle.subscribe();
        handle.record(crossed(Direction::V2ToV1, 1));
        assert_eq!(crossings.try_recv().unwrap().outcome.result(), "crossed");
        assert!(crossings.try_recv().is_err());
    }

    #[test]
    fn lag_is_counted_up_to_each_bound() {
        let handle = handle();
        for secs in [0, 1, 20, 21, 1_000] {
            handle.record(crossed(Direction::V1ToV2, secs));
        }
        let lag = handle.counters().lag(Direction::V1ToV2);
        let counts: Vec<u64> = lag.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1]);
        assert_eq!((lag.count, lag.sum), (5, 1_042.0));
        assert_eq!(handle.counters().lag(Direction::V2ToV1).count, 0);
    }
}
