//! Whom to dial, and when: the core of the dialler.
//!
//! Static nodes are redialled for ever. The wait between attempts begins at 1 s and doubles up to 5 min, with jitter, so
//! that nodes started together do not dial together; it begins anew after a connection that lasted. A node that is
//! connected, whoever dialled, is left alone.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clock::Now;
use crate::enode::Enode;
use crate::key::NodeId;

/// The wait after a first failure.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait, before jitter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// A connection that lived this long counts as good: the next wait is [`FIRST_WAIT`] again.
pub const LASTING: Duration = Duration::from_secs(30);

/// Dials under way at once. Source: go-ethereum, `maxActiveDials`.
pub const MAX_ACTIVE: usize = 16;

/// A wait is lengthened or shortened by up to this share of it, in percent.
const JITTER_PERCENT: u64 = 25;

/// The static nodes and the state of each.
#[derive(Debug)]
pub struct Schedule {
    nodes: Vec<Node>,
    rng: StdRng,
}

#[derive(Debug)]
struct Node {
    enode: Enode,
    id: NodeId,
    state: State,
    /// Attempts since a connection that lasted.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialling,
    Connected { since: Instant },
}

impl Schedule {
    /// Dials each of `nodes` at once. One entry is kept for a node named twice, and none for `own`.
    #[must_use]
    pub fn new(nodes: &[Enode], own: NodeId, seed: [u8; 32], now: Now) -> Self {
        let mut schedule = Self { nodes: Vec::new(), rng: StdRng::from_seed(seed) };
        for enode in nodes {
            let id = enode.key.id();
            if id != own && schedule.node(id).is_none() {
                let state = State::Waiting { until: now.instant };
                schedule.nodes.push(Node { enode: enode.clone(), id, state, failures: 0 });
            }
        }
        schedule
    }

    /// True when `id` is one of ours to dial.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.iter().any(|node| node.id == id)
    }

    /// A node to dial now; the caller says how it went with [`Schedule::connected`] or [`Schedule::ended`].
    pub fn next_dial(&mut self, now: Now) -> Option<Enode> {
        if self.nodes.iter().filter(|node| node.state == State::Dialling).count() >= MAX_ACTIVE {
            return None;
        }
        let due = |node: &&mut Node| matches!(node.state, State::Waiting { until } if until <= now.instant);
        let node = self.nodes.iter_mut().find(due)?;
        node.state = State::Dialling;
        Some(node.enode.clone())
    }

    /// When [`Schedule::next_dial`] has something again, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let waiting = |node: &Node| match node.state {
            State::Waiting { until } => Some(until),
            State::Dialling | State::Connected { .. } => None,
        };
        self.nodes.iter().filter_map(waiting).min()
    }

    /// A connection with the node is up, whoever dialled.
    pub fn connected(&mut self, now: Now, id: NodeId) {
        if let Some(node) = self.node(id) {
            node.state = State::Connected { since: now.instant };
        }
    }

    /// The connection ended, or a dial failed.
    pub fn ended(&mut self, now: Now, id: NodeId) {
        let jitter = self.rng.random_range(100 - JITTER_PERCENT..=100 + JITTER_PERCENT);
        let Some(node) = self.node(id) else { return };
        let lasted = matches!(node.state, State::Connected { since } if now.instant >= since + LASTING);
        node.failures = if lasted { 0 } else { node.failures };
        let wait = FIRST_WAIT.saturating_mul(1 << node.failures.min(16)).min(LONGEST_WAIT);
        let wait = Duration::from_millis(wait.as_secs() * 10 * jitter);
        node.failures = node.failures.saturating_add(1);
        node.state = State::Waiting { until: now.instant + wait };
    }

    /// A dial failed. A connection that came up meanwhile, dialled by the other side, is not touched by it.
    pub fn failed(&mut self, now: Now, id: NodeId) {
        if self.node(id).is_some_and(|node| node.state == State::Dialling) {
            self.ended(now, id);
        }
    }

    fn node(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
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
        let mut schedule = schedule(&[enode(2)], now);
        let id = enode(2).key.id();
        let mut expected = 1_u64;
        for _ in 0..12 {
            assert_eq!(schedule.next_dial(now), Some(enode(2)));
            assert_eq!(schedule.next_dial(now), None, "never twice at once");
            schedule.failed(now, id);
            assert_eq!(schedule.next_dial(now), None, "never before its time");
            let waited = wait(&schedule, &mut now).as_millis() as u64;
            assert!((expected * 750..=expected * 1250).contains(&waited), "{waited} ms, about {expected} s");
            expected = (expected * 2).min(300);
        }
    }

    #[test]
    fn a_lasting_connection_resets_the_wait_and_a_short_one_does_not() {
        let mut now = clock::now();
        let mut schedule = schedule(&[enode(2)], now);
        let id = enode(2).key.id();
        for (lived, at_most) in [(1, 2), (1, 3), (1, 5), (60, 2)] {
            assert!(schedule.next_dial(now).is_some());
            schedule.connected(now, id);
            assert_eq!(schedule.wake_at(), None);
            now = now.after(Duration::from_secs(lived));
            schedule.ended(now, id);
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
        schedule.connected(now, id);
        schedule.failed(now, id);
        assert_eq!(schedule.wake_at(), None, "the failed dial does not end the other connection");
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
        schedule.connected(now, enode(2).key.id());
        assert!(schedule.next_dial(now).is_some());
    }
}
