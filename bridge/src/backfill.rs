//! What of history is missing here, by route and direction, and how far it has been fetched from the archives of others. Pure.
//!
//! History that came by a route is whole as long as somebody on the side where it begins was there to tell it, and this bridge was there to
//! hear it. When either was not, a stretch is missing ([`Missing`]), until others were asked for all of it. Who was there is told to
//! [`Ledger::look`] every few seconds; what an earlier life left, [`Ledger::restore`] begins with, and the time since then is missing.
//!
//! All routes whose history begins on one side share its absences, so that they are asked for together: a [`Task`] is of a [`Source`].
//!
//! Limits: an entry for each direction of each route, with [`MAX_MISSING`] stretches. When there are more, those that are filled are
//! forgotten; where all are wanted still, the two oldest become one, so that nothing is ever taken to be here that is not.

use std::{collections::BTreeMap, sync::Arc};

use waku2::topic::PubsubTopic;

use crate::{crossing::Direction, gaps::MAX_OUTAGES, router::Router};

/// Stretches remembered of one route and direction.
pub const MAX_MISSING: usize = MAX_OUTAGES;
/// How much before a stretch is asked for as well, in seconds: what comes late is of a time that seemed complete.
pub const OVERLAP_SECS: u64 = 120;
/// How much behind it, in seconds: how far ahead of our clock a message may be (13/WAKU2-STORE).
pub const AHEAD_SECS: u64 = 20;
/// An absence of peers shorter than this is left to gossip, which tells peers what it had for a while. In seconds.
pub const SHORT_SECS: u64 = 20;
/// Two looks further apart than this: the program stood still in between. In seconds.
pub const STALL_SECS: u64 = 60;
/// Most that is asked for at once, in seconds: an hour.
pub const SLICE_SECS: u64 = 3_600;

/// Where history begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Envelopes, of whatever topic.
    V1,
    /// Messages of a pubsub topic.
    V2(PubsubTopic),
}

impl Source {
    /// The side as metrics name it.
    #[must_use]
    pub const fn side(&self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2(_) => "v2",
        }
    }
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The route is new here, and what was before it is wanted.
    New,
    /// This bridge did not run.
    Stopped,
    /// Nobody was there to tell it.
    NoPeer,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::New, Self::Stopped, Self::NoPeer];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Stopped => "stopped",
            Self::NoPeer => "no_peer",
        }
    }
}

/// How far a stretch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody was asked for it yet.
    Open,
    /// It is being asked for.
    Filling,
    /// All that others had is here.
    Filled,
    /// Nobody gave it; it is asked for again, unless it is too long ago.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Filling, Self::Filled, Self::Failed];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Filling => "filling",
            Self::Filled => "filled",
            Self::Failed => "failed",
        }
    }
}

/// A stretch of time of which not all is here. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its begin.
    pub from: u64,
    /// Its end; none while it lasts.
    pub to: Option<u64>,
    /// Why.
    pub cause: Cause,
    /// How far it is.
    pub state: State,
    /// Until then others were asked.
    pub done_until: u64,
    /// Rows that came and were new here.
    pub came: u64,
    /// How often nobody gave the next part of it.
    pub failures: u32,
}

impl Missing {
    /// One that begins.
    #[must_use]
    pub const fn since(from: u64, cause: Cause) -> Self {
        Self { from, to: None, cause, state: State::Open, done_until: from, came: 0, failures: 0 }
    }

    fn is_filled(&self) -> bool {
        self.state == State::Filled
    }

    /// It ends. Whichever way the clock was set in between, both its times are within.
    fn close(&mut self, at: u64) {
        self.to = Some(self.from.max(at));
        self.from = self.from.min(at);
        self.done_until = self.from;
    }

    /// Seconds that are not here, at a time.
    fn left(&self, now: u64) -> u64 {
        if self.is_filled() { 0 } else { self.to.unwrap_or(now).saturating_sub(self.done_until) }
    }

    /// Both in one.
    fn join(self, later: &Self) -> Self {
        let filled = self.is_filled() && later.is_filled();
        let state = if filled { State::Filled } else { State::Open };
        Self { to: later.to, state, came: self.came + later.came, ..self }
    }
}

/// The history that comes by one route in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The route's name.
    pub route: Arc<str>,
    /// Which way.
    pub direction: Direction,
    /// Where it begins.
    pub source: Source,
    /// When somebody was last there to tell it: unix seconds.
    pub seen: u64,
    /// What is missing, the oldest first.
    pub missing: Vec<Missing>,
}

impl Course {
    /// The time to which all is here: unix seconds.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        let unfilled = self.missing.iter().filter(|missing| !missing.is_filled());
        unfilled.map(|missing| missing.done_until).fold(self.seen, u64::min)
    }

    /// Seconds that are missing, at a time.
    #[must_use]
    pub fn seconds_missing(&self, now: u64) -> u64 {
        self.missing.iter().map(|missing| missing.left(now)).sum()
    }

    fn open(&mut self) -> Option<&mut Missing> {
        self.missing.last_mut().filter(|missing| missing.to.is_none())
    }

    fn look(&mut self, now: u64, is_there: bool) {
        // What the clock says now is believed: else what is sent until it is where it was would be taken to be here.
        self.seen = self.seen.min(now);
        let seen = self.seen;
        match (self.open().is_some(), is_there) {
            (false, false) => self.push(Missing::since(seen, Cause::NoPeer)),
            (false, true) if now - seen > STALL_SECS => {
                self.push(Missing::since(seen, Cause::Stopped));
                self.close(now);
            }
            (true, true) => self.close(now),
            (true, false) | (false, true) => {}
        }
        if is_there {
            self.seen = now;
        }
    }

    fn close(&mut self, now: u64) {
        let Some(open) = self.open() else { return };
        open.close(now);
        let is_short = open.to.is_some_and(|to| to - open.from <= SHORT_SECS);
        if open.cause == Cause::NoPeer && is_short {
            self.missing.pop();
        }
    }

    /// Makes room, and adds one at this place.
    fn insert(&mut self, mut place: usize, missing: Missing) {
        if self.missing.len() >= MAX_MISSING {
            let filled = self.missing.iter().position(Missing::is_filled);
            let gone = filled.unwrap_or(1);
            let removed = self.missing.remove(gone);
            if filled.is_none() {
                self.missing[0] = self.missing[0].clone().join(&removed);
            }
            place -= usize::from(gone < place);
        }
        self.missing.insert(place.min(self.missing.len()), missing);
    }

    fn push(&mut self, missing: Missing) {
        self.insert(self.missing.len(), missing);
    }

    /// Sets apart what is too long ago to be asked for. It stays missing.
    fn give_up_before(&mut self, earliest: u64) {
        for missing in &mut self.missing {
            if !missing.is_filled() && missing.to.is_some_and(|to| to <= earliest) {
                missing.state = State::Failed;
            }
        }
        let across = |missing: &Missing| missing.done_until < earliest && missing.to.is_some_and(|to| to > earliest);
        let Some(place) = self.missing.iter().position(|missing| !missing.is_filled() && across(missing)) else {
            return;
        };
        let whole = &mut self.missing[place];
        let lost = Missing { to: Some(earliest), state: State::Failed, ..whole.clone() };
        *whole = Missing { from: earliest, done_until: earliest, came: 0, ..whole.clone() };
        match place.checked_sub(1).and_then(|before| self.missing.get_mut(before)) {
            Some(before) if before.to == Some(lost.from) && before.state == State::Failed => before.to = lost.to,
            _ => self.insert(place, lost),
        }
    }

    /// What of it can be asked for now.
    fn due(&self, earliest: u64) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(move |missing| !missing.is_filled() && missing.to.is_some_and(|to| to > earliest))
    }
}

/// How far back one side is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// What is longer ago is not asked for, in seconds.
    pub most_secs: u64,
    /// What is wanted of a route that is new here, in seconds before it was.
    pub new_secs: u64,
}

/// What to ask for: all that was sent from one second to the other, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Of which history.
    pub source: Source,
    /// Unix seconds.
    pub from: u64,
    /// Unix seconds.
    pub until: u64,
}

/// What is missing of all routes.
#[derive(Debug, Default)]
pub struct Ledger {
    courses: BTreeMap<(Arc<str>, Direction), Course>,
    v1: Option<Reach>,
    v2: Option<Reach>,
}

impl Ledger {
    /// Nothing is missing. Without a reach, nobody is asked about that side.
    #[must_use]
    pub fn new(v1: Option<Reach>, v2: Option<Reach>) -> Self {
        Self { courses: BTreeMap::new(), v1, v2 }
    }

    /// What an earlier life left. From when it last looked, something is missing.
    pub fn restore(&mut self, courses: impl IntoIterator<Item = Course>) {
        for mut course in courses {
            for missing in &mut course.missing {
                if missing.state == State::Filling {
                    missing.state = State::Open;
                }
            }
            if course.open().is_none() {
                course.push(Missing::since(course.seen, Cause::Stopped));
            }
            self.courses.insert((Arc::clone(&course.route), course.direction), course);
        }
    }

    /// Follows the table of routes: new ones begin, and what is not in it is forgotten.
    pub fn follow(&mut self, now: u64, routes: &Router) {
        let mut before = std::mem::take(&mut self.courses);
        for route in routes.routes() {
            for direction in Direction::ALL.into_iter().filter(|direction| route.takes(*direction)) {
                let source = match direction {
                    Direction::V1ToV2 => Source::V1,
                    Direction::V2ToV1 => Source::V2(route.pubsub.clone()),
                };
                let key = (Arc::clone(&route.name), direction);
                let known = before.remove(&key).filter(|course| course.source == source);
                let new = || {
                    let wanted = self.reach(&source).map_or(0, |reach| reach.new_secs);
                    let missing = (wanted > 0).then(|| Missing::since(now.saturating_sub(wanted), Cause::New));
                    let missing = missing.into_iter().collect();
                    Course { route: Arc::clone(&route.name), direction, source, seen: now, missing }
                };
                self.courses.insert(key, known.unwrap_or_else(new));
            }
        }
    }

    /// Who is there now?
    pub fn look(&mut self, now: u64, is_there: impl Fn(&Source) -> bool) {
        for course in self.courses.values_mut() {
            let is_there = is_there(&course.source);
            course.look(now, is_there);
        }
    }

    /// What to ask for next: what has failed least, then the oldest. It stands as being filled from now on.
    pub fn next(&mut self, now: u64, wants: impl Fn(&Source) -> bool) -> Option<Task> {
        let (v1, v2) = (self.v1, self.v2);
        let earliest = |source: &Source| {
            let reach = if *source == Source::V1 { v1 } else { v2 };
            reach.map(|reach| now.saturating_sub(reach.most_secs)).filter(|_| wants(source))
        };
        let mut best: Option<((u32, u64), Task)> = None;
        for course in self.courses.values_mut() {
            let Some(earliest) = earliest(&course.source) else { continue };
            course.give_up_before(earliest);
            for missing in course.due(earliest) {
                let rank = (missing.failures, missing.done_until);
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, task(&course.source, missing, earliest)));
                }
            }
        }
        let (_, task) = best?;
        self.each_of(&task, |missing| missing.state = State::Filling);
        Some(task)
    }

    /// All of a part of a task has come, from its begin to this second. `came` says how much of it was new, by route.
    pub fn advance(&mut self, task: &Task, until: u64, came: &BTreeMap<Arc<str>, u64>) {
        for course in self.courses.values_mut().filter(|course| course.source == task.source) {
            let mut count = came.get(&course.route).copied().unwrap_or(0);
            for missing in course.missing.iter_mut().filter(|missing| is_of(task, missing)) {
                missing.came += std::mem::take(&mut count);
                let to = missing.to.unwrap_or(u64::MAX);
                missing.done_until = missing.done_until.max(until.min(to));
                missing.failures = 0;
                missing.state = if missing.done_until >= to { State::Filled } else { State::Filling };
            }
        }
    }

    /// Nobody gave the rest of it.
    pub fn fail(&mut self, task: &Task) {
        self.each_of(task, |missing| {
            missing.state = State::Failed;
            missing.failures = missing.failures.saturating_add(1);
        });
    }

    /// All routes, both ways.
    pub fn courses(&self) -> impl Iterator<Item = &Course> {
        self.courses.values()
    }

    fn reach(&self, source: &Source) -> Option<Reach> {
        match source {
            Source::V1 => self.v1,
            Source::V2(_) => self.v2,
        }
    }

    /// Everything that an answer to a task would bring forward.
    fn each_of(&mut self, task: &Task, change: impl Fn(&mut Missing)) {
        for course in self.courses.values_mut().filter(|course| course.source == task.source) {
            course.missing.iter_mut().filter(|missing| is_of(task, missing)).for_each(&change);
        }
    }
}

/// Begins the task where others were asked up to, or before it?
fn is_of(task: &Task, missing: &Missing) -> bool {
    let is_wanted = !missing.is_filled() && missing.to.is_some();
    is_wanted && task.from <= missing.done_until && missing.done_until <= task.until
}

fn task(source: &Source, missing: &Missing, earliest: u64) -> Task {
    let begun = missing.done_until > missing.from;
    let from = missing.done_until.saturating_sub(if begun { 0 } else { OVERLAP_SECS });
    let to = missing.to.unwrap_or(u64::MAX).saturating_add(AHEAD_SECS);
    let until = to.min(missing.done_until.saturating_add(SLICE_SECS));
    Task { source: source.clone(), from: from.max(earliest), until }
}

#[cfg(test)]
mod tests;
