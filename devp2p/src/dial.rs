//! Whom to dial, and when: the core of the dialler.
//!
//! Static nodes are redialled for ever, until they are released. The wait between attempts begins at 1 s and doubles up to 5 min, with jitter, so
//! that nodes started together do not dial together; it begins anew after a connection that lasted. Beside them a number
//! of connections is sought among the nodes of the address book, good ones first; while none is connected, static ones that do not
//! answer, and others that once did, are dialled at least every [`ALONE_WAIT`], for then it is likely the network that is away. A node that is connected, whoever
//! dialled, is left alone.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::book::{Book, Ending, Entry};
use crate::clock::Now;
use crate::enode::Enode;
use crate::key::NodeId;

/// The wait after a first failure.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait, before jitter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// The longest wait, before jitter, for a node that cannot be reached while no other is connected. A dial may take 15 s more, and half a minute
/// after the network is back static nodes are to be there.
pub const ALONE_WAIT: Duration = Duration::from_secs(1 << ALONE_FAILURES);

/// Failures of a static node that count, when the last one came while no other was connected.
const ALONE_FAILURES: u32 = 3;

/// A connection that lived this long counts as good: the next wait is [`FIRST_WAIT`] again.
pub const LASTING: Duration = Duration::from_secs(30);

/// Dials under way at once. Source: go-ethereum, `maxActiveDials`.
pub const MAX_ACTIVE: usize = 16;

/// A wait is lengthened or shortened by up to this share of it, in percent.
const JITTER_PERCENT: u64 = 25;

/// Static nodes that may be added while the server runs, beside those that it was started with. With more, further ones are refused.
pub const MAX_ADDED: usize = 256;

/// The nodes to dial and the state of each.
#[derive(Debug)]
pub struct Schedule {
    own: NodeId,
    statics: Vec<Node>,
    /// As many as may be there with those that are added.
    max_statics: usize,
    book: Book,
    /// Connections sought among the nodes of the book.
    wanted: usize,
    rng: StdRng,
}

/// A static node.
#[derive(Debug)]
struct Node {
    enode: Enode,
    /// Another place where it is said to be, tried by turns while the one that was set does not answer.
    elsewhere: Option<Enode>,
    id: NodeId,
    state: State,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { until: Instant },
    Dialling,
    Connected { since: Instant, dialled: bool },
}

/// How long to wait after how many failures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Attempts since a connection that lasted.
    pub(crate) failures: u32,
}

impl Backoff {
    /// Begins anew after a connection that lasted.
    pub(crate) fn note(&mut self, state: State, now: Now) {
        if matches!(state, State::Connected { since, .. } if now.instant >= since + LASTING) {
            self.failures = 0;
        }
    }

    /// Counts a failure and returns the wait after it.
    pub(crate) fn next(&mut self, first: Duration, longest: Duration, hopeless: bool, rng: &mut impl Rng) -> Duration {
        let doublings = if hopeless { 16 } else { self.failures.min(16) };
        let wait = first.saturating_mul(1 << doublings).min(longest);
        self.failures = self.failures.saturating_add(1);
        let percent = rng.random_range(100 - JITTER_PERCENT..=100 + JITTER_PERCENT);
        Duration::from_millis(wait.as_secs() * 10 * percent)
    }
}

impl Schedule {
    /// Dials each of `nodes` at once. One entry is kept for a node named twice, and none for `own`.
    #[must_use]
    pub fn new(nodes: &[Enode], own: NodeId, seed: [u8; 32], now: Now) -> Self {
        let mut schedule = Self {
            own,
            statics: Vec::new(),
            max_statics: nodes.len().saturating_add(MAX_ADDED),
            book: Book::default(),
            wanted: 0,
            rng: StdRng::from_seed(seed),
        };
        nodes.iter().for_each(|enode| schedule.keep(now, enode.clone(), None));
        schedule
    }

    /// Makes a node static; with `connected`, one that is connected, since now and dialled by us or not. Of one that is static already, this
    /// is where it is to be dialled from now on.
    pub fn keep(&mut self, now: Now, enode: Enode, connected: Option<bool>) {
        let id = enode.key.id();
        if let Some(node) = self.node(id) {
            (node.enode, node.elsewhere) = (enode, None);
            return;
        }
        if id == self.own || self.statics.len() >= self.max_statics {
            return;
        }
        let known = self.book.state(id);
        self.book.remove(id);
        let state = match (known, connected) {
            (Some(busy @ (State::Dialling | State::Connected { .. })), _) => busy,
            (_, Some(dialled)) => State::Connected { since: now.instant, dialled },
            _ => State::Waiting { until: now.instant },
        };
        self.statics.push(Node { enode, elsewhere: None, id, state, backoff: Backoff::default() });
    }

    /// Makes a static node one like any other: it is not dialled again unless it is named to us. Its connection is left alone.
    pub fn release(&mut self, id: NodeId) {
        self.statics.retain(|node| node.id != id);
    }

    /// Seeks so many connections among the nodes of the book, which begins with these entries.
    pub fn seek(&mut self, now: Now, wanted: usize, entries: Vec<Entry>) {
        self.wanted = wanted;
        self.book.recall(now, entries);
        self.book.remove(self.own);
        self.statics.iter().for_each(|node| self.book.remove(node.id));
    }

    /// Seeks so many from now on. Those that are connected stay.
    pub fn want(&mut self, wanted: usize) {
        self.wanted = wanted;
    }

    /// A node was named to us: by discovery, a list, a peer.
    pub fn suggest(&mut self, now: Now, enode: Enode) {
        let id = enode.key.id();
        if id == self.own {
            return;
        }
        match self.node(id) {
            Some(node) if !node.enode.same_place(&enode) => node.elsewhere = Some(enode),
            Some(_) => {}
            None => self.book.suggest(now, enode),
        }
    }

    /// What the file of the address book is to say, when that has changed since it was asked last.
    pub fn changed_book(&mut self, now: Now) -> Option<Vec<Entry>> {
        self.book.take_changed().then(|| self.book.entries(now))
    }

    /// True when `id` is a static node.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.statics.iter().any(|node| node.id == id)
    }

    /// A node to dial now, static ones first; the caller says how it went with [`Schedule::connected`] or
    /// [`Schedule::failed`].
    pub fn next_dial(&mut self, now: Now) -> Option<Enode> {
        if self.is_busy() {
            return None;
        }
        let due = |node: &&mut Node| matches!(node.state, State::Waiting { until } if until <= now.instant);
        if let Some(node) = self.statics.iter_mut().find(due) {
            node.state = State::Dialling;
            let turn = node.backoff.failures % 2 == 1;
            return Some(node.elsewhere.as_ref().filter(|_| turn).unwrap_or(&node.enode).clone());
        }
        if self.is_seeking() { self.book.next_dial(now, &mut self.rng) } else { None }
    }

    /// When [`Schedule::next_dial`] has something again, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        if self.is_busy() {
            return None;
        }
        let waiting = |node: &Node| match node.state {
            State::Waiting { until } => Some(until),
            State::Dialling | State::Connected { .. } => None,
        };
        let known = self.book.wake_at().filter(|_| self.is_seeking());
        self.statics.iter().filter_map(waiting).chain(known).min()
    }

    /// A connection with the node is up; `dialled` when it came of our dial.
    pub fn connected(&mut self, now: Now, id: NodeId, dialled: bool) {
        match self.node(id) {
            Some(node) => node.state = State::Connected { since: now.instant, dialled },
            None => self.book.connected(now, id, dialled),
        }
    }

    /// The connection ended; `hopeless` when trying again soon has no point, which static nodes are tried regardless of.
    pub fn ended(&mut self, now: Now, id: NodeId, hopeless: bool) {
        let is_connected = |node: &Node| node.id != id && matches!(node.state, State::Connected { .. });
        let is_alone = !self.statics.iter().any(is_connected) && !self.book.is_connected_but_for(id);
        let Some(node) = self.statics.iter_mut().find(|node| node.id == id) else {
            return self.book.ended(now, id, Ending { hopeless, is_alone }, &mut self.rng);
        };
        node.backoff.note(node.state, now);
        let is_away = is_alone && node.state == State::Dialling;
        let longest = if is_away { ALONE_WAIT } else { LONGEST_WAIT };
        let wait = node.backoff.next(FIRST_WAIT, longest, false, &mut self.rng);
        if is_away {
            node.backoff.failures = node.backoff.failures.min(ALONE_FAILURES);
        }
        node.state = State::Waiting { until: now.instant + wait };
    }

    /// A dial failed. A connection that came up meanwhile, dialled by the other side, is not touched by it.
    pub fn failed(&mut self, now: Now, id: NodeId, hopeless: bool) {
        let state = self.node(id).map(|node| node.state).or_else(|| self.book.state(id));
        if state == Some(State::Dialling) {
            self.ended(now, id, hopeless);
        }
    }

    fn is_busy(&self) -> bool {
        let statics = self.statics.iter().filter(|node| node.state == State::Dialling).count();
        statics + self.book.dialling() >= MAX_ACTIVE
    }

    fn is_seeking(&self) -> bool {
        self.book.outbound() < self.wanted
    }

    fn node(&mut self, id: NodeId) -> Option<&mut Node> {
        self.statics.iter_mut().find(|node| node.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::enode::Host;
    use crate::key::NodeKey;

    fn enode(secret: u8) -> Enode {
        let key = NodeKey::from_bytes(&[secret; 32]).unwrap().public();
        Enode { key, host: Host::Ip([127, 0, 0, 1].into()), tcp: 30303, udp: 30303 }
    }

    fn schedule(nodes: &[Enode], now: Now) -> Schedule {
        Schedule::new(nodes, enode(1).key.id(), [0; 32], now)
    }

    /// Moves to the next wake-up and says how long that took.
    fn wait(schedule: &Schedule, now: &mut Now) -> Duration {
        let wait = schedule.wake_at().unwrap().saturating_duration_since(now.instant);
        *now = now.after(wait);
        wait
    }

    #[test]
    fn waits_double_to_five_minutes_with_jitter() {
        let mut now = clock::now();
        let mut schedule = schedule(&[enode(2), enode(3)], now);
        schedule.connected(now, enode(3).key.id(), false);
        let id = enode(2).key.id();
        let mut expected = 1_u64;
        for _ in 0..12 {
            assert_eq!(schedule.next_dial(now), Some(enode(2)));
            assert_eq!(schedule.next_dial(now), None, "never twice at once");
            schedule.failed(now, id, false);
            assert_eq!(schedule.next_dial(now), None, "never before its time");
            let waited = wait(&schedule, &mut now).as_millis() as u64;
            assert!((expected * 750..=expected * 1250).contains(&waited), "{waited} ms, about {expected} s");
            expected = (expected * 2).min(300);
        }
    }

    /// Ten minutes without any node, each dial hanging for as long as it may: from their return until all are there.
    #[test]
    fn f16_nodes_that_were_all_away_are_there_within_half_a_minute() {
        let (away, hangs) = (Duration::from_secs(600), crate::Limits::default().dial_timeout);
        let begin = clock::now();
        let gone = begin.after(LASTING);
        let back = gone.after(away);
        for seed in 0..50 {
            let mut schedule = Schedule::new(&[enode(2), enode(3)], enode(1).key.id(), [seed; 32], begin);
            schedule.seek(begin, 2, Vec::new());
            [4, 5]
                .into_iter()
                .for_each(|secret| schedule.suggest(begin, Enode { tcp: u16::from(secret), ..enode(secret) }));
            let all: Vec<_> = std::iter::from_fn(|| schedule.next_dial(begin)).map(|enode| enode.key.id()).collect();
            assert_eq!(all.len(), 4);
            all.iter().for_each(|id| schedule.connected(begin, *id, true));
            all.iter().for_each(|id| schedule.ended(gone, *id, false));
            let (mut now, mut hanging, mut there) = (gone, Vec::new(), Vec::new());
            while there.len() < all.len() {
                while let Some(enode) = schedule.next_dial(now) {
                    if now.instant >= back.instant {
                        schedule.connected(now, enode.key.id(), true);
                        there.push((enode.key.id(), now.instant - back.instant));
                    } else {
                        hanging.push((now.instant + hangs, enode.key.id()));
                    }
                }
                for (_, id) in hanging.extract_if(.., |(until, _)| *until <= now.instant) {
                    schedule.failed(now, id, false);
                }
                now = now.after(Duration::from_millis(100));
            }
            for (id, took) in there {
                let longest = if schedule.contains(id) { 30 } else { 120 };
                assert!(took <= Duration::from_secs(longest), "{took:?}");
            }
        }
    }

    #[test]
    fn who_is_wanted_changes_while_nodes_are_there() {
        let now = clock::now();
        let mut schedule = schedule(&[], now);
        schedule.seek(now, 1, Vec::new());
        (2..9).for_each(|secret| schedule.suggest(now, Enode { tcp: u16::from(secret), ..enode(secret) }));
        let first = schedule.next_dial(now).unwrap().key.id();
        schedule.connected(now, first, true);
        assert_eq!(schedule.next_dial(now), None);
        schedule.want(3);
        assert_eq!(std::iter::from_fn(|| schedule.next_dial(now)).count(), 2);
        schedule.want(0);
        schedule.ended(now, first, false);
        assert_eq!((schedule.next_dial(now), schedule.wake_at()), (None, None));
    }

    #[test]
    fn a_lasting_connection_resets_the_wait_and_a_short_one_does_not() {
        let mut now = clock::now();
        let mut schedule = schedule(&[enode(2)], now);
        let id = enode(2).key.id();
        for (lived, at_most) in [(1, 2), (1, 3), (1, 5), (60, 2)] {
            assert!(schedule.next_dial(now).is_some());
            schedule.connected(now, id, true);
            assert_eq!(schedule.wake_at(), None);
            now = now.after(Duration::from_secs(lived));
            schedule.ended(now, id, false);
            let waited = wait(&schedule, &mut now);
            assert!(waited < Duration::from_secs(at_most), "{waited:?} after {lived} s");
            assert!(waited > Duration::from_millis(500 * (at_most - 1)), "{waited:?} after {lived} s");
        }
    }

    #[test]
    fn a_node_that_dialled_us_is_left_alone() {
        let now = clock::now();
        let mut schedule = schedule(&[enode(2)], now);
        let id = enode(2).key.id();
        assert!(schedule.next_dial(now).is_some());
        schedule.connected(now, id, true);
        schedule.failed(now, id, false);
        assert_eq!(schedule.wake_at(), None, "the failed dial does not end the other connection");
    }

    #[test]
    fn a_node_that_is_kept_is_dialled_for_ever_and_one_that_is_released_is_not() {
        let mut now = clock::now();
        let mut schedule = schedule(&[], now);
        let id = enode(2).key.id();
        schedule.keep(now, enode(2), None);
        for _ in 0..20 {
            assert_eq!(schedule.next_dial(now), Some(enode(2)));
            schedule.failed(now, id, true);
            wait(&schedule, &mut now);
        }
        // It has moved, and is connected when that is told.
        schedule.connected(now, id, false);
        let moved = Enode { tcp: 30304, ..enode(2) };
        schedule.keep(now, moved.clone(), Some(false));
        assert_eq!((schedule.next_dial(now), schedule.contains(id)), (None, true));
        schedule.ended(now, id, false);
        wait(&schedule, &mut now);
        assert_eq!(schedule.next_dial(now), Some(moved));
        schedule.release(id);
        schedule.failed(now, id, false);
        assert_eq!((schedule.next_dial(now), schedule.wake_at(), schedule.contains(id)), (None, None, false));
    }

    #[test]
    fn a_node_of_the_book_that_becomes_static_keeps_its_connection() {
        let now = clock::now();
        let mut schedule = schedule(&[], now);
        schedule.seek(now, 1, Vec::new());
        schedule.suggest(now, enode(2));
        assert_eq!(schedule.next_dial(now), Some(enode(2)));
        schedule.keep(now, enode(2), None);
        assert_eq!(schedule.next_dial(now), None, "it is being dialled");
        schedule.connected(now, enode(2).key.id(), true);
        schedule.keep(now, enode(3), Some(false));
        assert_eq!((schedule.next_dial(now), schedule.wake_at()), (None, None));
    }

    #[test]
    fn so_many_nodes_may_be_kept() {
        let now = clock::now();
        let mut schedule = schedule(&[enode(2), enode(1)], now);
        let key = |n: usize| NodeKey::from_bytes(&[&[9; 24][..], &n.to_be_bytes()].concat().try_into().unwrap());
        for n in 0..=MAX_ADDED + 9 {
            schedule.keep(now, Enode { key: key(n).unwrap().public(), ..enode(2) }, None);
        }
        assert_eq!(schedule.statics.len(), MAX_ADDED + 2);
    }

    #[test]
    fn itself_and_repetitions_are_not_dialled() {
        let now = clock::now();
        let mut schedule = schedule(&[enode(1), enode(2), enode(2)], now);
        assert_eq!(schedule.next_dial(now), Some(enode(2)));
        assert_eq!(schedule.next_dial(now), None);
        assert!(!schedule.contains(enode(1).key.id()));
    }

    #[test]
    fn dials_are_bounded() {
        let now = clock::now();
        let nodes: Vec<_> = (2..60).map(enode).collect();
        let mut schedule = schedule(&nodes, now);
        assert_eq!(std::iter::from_fn(|| schedule.next_dial(now)).count(), MAX_ACTIVE);
        assert_eq!(schedule.wake_at(), None, "time alone changes nothing");
        schedule.connected(now, enode(2).key.id(), true);
        assert!(schedule.next_dial(now).is_some());
    }

    #[test]
    fn as_many_known_nodes_are_dialled_as_are_wanted() {
        let now = clock::now();
        let mut schedule = schedule(&[enode(2)], now);
        schedule.seek(now, 3, Vec::new());
        for secret in 1..60 {
            schedule.suggest(now, Enode { tcp: u16::from(secret), ..enode(secret) });
        }
        let dialled: Vec<_> = std::iter::from_fn(|| schedule.next_dial(now)).map(|enode| enode.key.id()).collect();
        assert_eq!((dialled.len(), dialled[0]), (4, enode(2).key.id()), "the static one comes beside them");
        assert_eq!(schedule.wake_at(), None);
        schedule.failed(now, dialled[1], false);
        let another = schedule.next_dial(now).unwrap().key.id();
        assert!(!dialled.contains(&another));
        schedule.connected(now, dialled[2], true);
        assert_eq!(schedule.next_dial(now), None);
        schedule.connected(now, dialled[3], false);
        assert!(schedule.next_dial(now).is_some(), "one that dialled us fills no slot");
        schedule.ended(now, dialled[2], false);
        assert!(schedule.next_dial(now).is_some());
        assert!(schedule.changed_book(now).is_some_and(|entries| entries.len() == 57));
        assert!(schedule.changed_book(now).is_none());
    }

    #[test]
    fn f17_a_static_node_that_does_not_answer_is_tried_where_it_was_seen() {
        let mut now = clock::now();
        let mut schedule = schedule(&[enode(2)], now);
        let (id, moved) = (enode(2).key.id(), Enode { tcp: 30304, ..enode(2) });
        schedule.suggest(now, moved.clone());
        for expected in [enode(2), moved.clone(), enode(2), moved] {
            assert_eq!(schedule.next_dial(now), Some(expected));
            schedule.failed(now, id, false);
            wait(&schedule, &mut now);
        }
    }
}
