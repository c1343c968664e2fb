//! What a seed stands for: nodes, links, and what happens when.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use rand::{Rng, RngExt};
use waku0::{
    Pow, Settings, Topic,
    bloom::Bloom,
    interest::Interest,
    limits::{Flow, Rates},
    settings::Change,
    version::Version,
};

/// Topics in use: few, so that interests meet.
pub(super) const TOPICS: u8 = 6;

/// Clocks are off by this much at most.
pub(super) const MAX_SKEW: Duration = Duration::from_millis(1_500);

/// Waits before the first and the second time that a lost packet is sent again; it is lost twice at most.
pub(super) const RESENT_AFTER: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(400)];

/// Posts go out in the first part, and the last of them has the rest of the time.
const POSTING: Duration = Duration::from_secs(40);

/// After this the network stops.
pub(super) const END: Duration = Duration::from_secs(75);

#[derive(Debug)]
pub(super) struct NodePlan {
    pub(super) settings: Settings,
    /// How much its clock is ahead of the earliest.
    pub(super) ahead: Duration,
}

#[derive(Debug)]
pub(super) struct LinkPlan {
    pub(super) ends: [usize; 2],
    pub(super) delay_millis: Range<u64>,
    /// Packets of a thousand that are lost and sent again.
    pub(super) lost_permille: u32,
    /// Packets under way before the connection is full.
    pub(super) capacity: usize,
    /// What is spoken over it.
    pub(super) version: Version,
}

impl LinkPlan {
    pub(super) fn is_narrow(&self) -> bool {
        self.capacity < WIDE
    }

    /// The longest that a packet takes.
    pub(super) fn longest(&self) -> Duration {
        let resent = if self.lost_permille > 0 { RESENT_AFTER.iter().sum() } else { Duration::ZERO };
        Duration::from_millis(self.delay_millis.end) + resent
    }
}

/// Excess at which a peer is left: what a bad line bunches together is less.
const TOLERANCE: u32 = 20;

/// More than is ever under way.
const WIDE: usize = 100_000;

#[derive(Debug, Clone)]
pub(super) enum Happening {
    Join {
        link: usize,
    },
    Cut {
        link: usize,
    },
    /// The node loses its memory and its links, which come back one by one.
    Restart {
        node: usize,
    },
    Post {
        node: usize,
        topic: Topic,
        ttl: u32,
        data: usize,
        nonce: u64,
    },
    Change {
        node: usize,
        change: Change,
    },
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<NodePlan>,
    pub(super) links: Vec<LinkPlan>,
    pub(super) happenings: Vec<(Duration, Happening)>,
}

impl Plan {
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        // A large network costs as much as many small ones, so it is rare.
        let count = if rng.random_ratio(1, 20) { rng.random_range(20..=50) } else { rng.random_range(3..=12) };
        let nodes: Vec<_> = (0..count).map(|_| node(rng)).collect();
        let links = links(rng, count);
        let mut happenings = links_up_and_down(rng, links.len());
        happenings.extend(restarts(rng, &links, count));
        happenings.extend(posts(rng, count));
        happenings.extend(changes(rng, count));
        Self { nodes, links, happenings }
    }

    /// Whether a node's settings stay what they are.
    pub(super) fn is_steady(&self, node: usize) -> bool {
        let changes = |happening: &Happening| matches!(happening, Happening::Change { node: n, .. } if *n == node);
        !self.happenings.iter().any(|(_, happening)| changes(happening))
    }

    /// How many envelopes of a topic are posted.
    pub(super) fn posts_of(&self, topic: Topic) -> u32 {
        let of_topic = |happening: &Happening| matches!(happening, Happening::Post { topic: t, .. } if *t == topic);
        self.happenings.iter().map(|(_, happening)| u32::from(of_topic(happening))).sum()
    }
}

fn node(rng: &mut impl Rng) -> NodePlan {
    let settings = Settings {
        min_pow: floor(rng),
        interest: interest(rng),
        light: rng.random_ratio(1, 8),
        confirmations: rng.random_ratio(1, 3),
        rates: rates(rng),
        ..Settings::default()
    };
    NodePlan { settings, ahead: Duration::from_millis(rng.random_range(0..=MAX_SKEW.as_millis() as u64)) }
}

fn floor(rng: &mut impl Rng) -> Pow {
    let floor = [0.0, 0.0, 0.0, 0.001, 0.003, 0.01][rng.random_range(0..6)];
    Pow::new(floor).expect("not negative")
}

fn interest(rng: &mut impl Rng) -> Interest {
    let count = rng.random_range(1..=3);
    let some: Vec<_> = (0..count).map(|_| topic(rng)).collect();
    match rng.random_range(0..10) {
        0 | 1 => Interest::topics(some).expect("few topics"),
        2 => Interest::Bloom(Bloom::from_iter(some)),
        _ => Interest::EVERYTHING,
    }
}

/// Limits low enough to be reached, on one node in four.
fn rates(rng: &mut impl Rng) -> Rates {
    let limits = [(0, 2, 0), (3, 0, 0), (2, 5, 0), (0, 0, 2), (0, 3, 3)];
    let Some((ip, peer, topic)) = limits.get(rng.random_range(0..20_usize)).copied() else { return Rates::NONE };
    let flow = |packets| Flow { packets, bytes: 0 };
    Rates { peer: flow(peer), ip: flow(ip), topic, tolerance: TOLERANCE }
}

fn topic(rng: &mut impl Rng) -> Topic {
    Topic([rng.random_range(0..TOPICS) * 40; 4])
}

/// A tree, so that there is a way from anywhere to anywhere, and some more.
fn links(rng: &mut impl Rng, count: usize) -> Vec<LinkPlan> {
    let mut pairs: BTreeSet<[usize; 2]> = (1..count).map(|node| [rng.random_range(0..node), node]).collect();
    for _ in 0..rng.random_range(0..=count) {
        let (a, b) = (rng.random_range(0..count), rng.random_range(0..count));
        if a != b {
            pairs.insert([a.min(b), a.max(b)]);
        }
    }
    let bad = rng.random_bool(0.5);
    pairs.into_iter().map(|ends| link(rng, ends, bad)).collect()
}

fn link(rng: &mut impl Rng, ends: [usize; 2], bad: bool) -> LinkPlan {
    let delay = rng.random_range(0..=100);
    LinkPlan {
        ends,
        delay_millis: delay..delay + rng.random_range(1..=100),
        lost_permille: if bad { rng.random_range(0..100) } else { 0 },
        capacity: if rng.random_ratio(1, 4) { rng.random_range(1..=3) } else { WIDE },
        // Not drawn, so that a seed stands for the network that it always stood for.
        version: Version::ALL[(ends[0] + 2 * ends[1]) % Version::ALL.len()],
    }
}

fn millis(rng: &mut impl Rng, range: Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

fn links_up_and_down(rng: &mut impl Rng, links: usize) -> Vec<(Duration, Happening)> {
    let cut_ratio = rng.random_range(0.0..0.6);
    let mut happenings = Vec::new();
    for link in 0..links {
        let mut at = millis(rng, 0..2_000);
        happenings.push((at, Happening::Join { link }));
        while rng.random_bool(cut_ratio) {
            at += millis(rng, 500..20_000);
            happenings.push((at, Happening::Cut { link }));
            at += millis(rng, 200..8_000);
            happenings.push((at, Happening::Join { link }));
        }
    }
    happenings
}

fn restarts(rng: &mut impl Rng, links: &[LinkPlan], count: usize) -> Vec<(Duration, Happening)> {
    let mut happenings = Vec::new();
    for node in 0..count {
        if !rng.random_ratio(1, 8) {
            continue;
        }
        let at = millis(rng, 3_000..40_000);
        happenings.push((at, Happening::Restart { node }));
        for link in links.iter().enumerate().filter(|(_, link)| link.ends.contains(&node)).map(|(n, _)| n) {
            happenings.push((at + millis(rng, 200..5_000), Happening::Join { link }));
        }
    }
    happenings
}

/// One by one, and in bursts that reach limits.
fn posts(rng: &mut impl Rng, count: usize) -> Vec<(Duration, Happening)> {
    let mut posts = Vec::new();
    for _ in 0..rng.random_range(3..=12) {
        let (at, node, topic) = (millis(rng, 0..POSTING.as_millis() as u64), rng.random_range(0..count), topic(rng));
        let burst = if rng.random_ratio(1, 3) { rng.random_range(2..=8) } else { 1 };
        for n in 0..burst {
            let post = Happening::Post {
                node,
                topic,
                ttl: rng.random_range(2..30),
                data: rng.random_range(0..300),
                nonce: rng.random(),
            };
            posts.push((at + Duration::from_millis(n * 7), post));
        }
    }
    posts
}

/// Settings of some nodes change while they run, one at a time or at once.
fn changes(rng: &mut impl Rng, count: usize) -> Vec<(Duration, Happening)> {
    let mut changes = Vec::new();
    for node in 0..count {
        while rng.random_ratio(1, 4) {
            let change = match rng.random_range(0..5) {
                0 => Change::MinPow(floor(rng)),
                1 => Change::Light(rng.random()),
                2 => Change::Confirmations(rng.random()),
                3 => Change::Rates(rates(rng)),
                _ => Change::Interest(interest(rng)),
            };
            changes.push((millis(rng, 1_000..50_000), Happening::Change { node, change }));
        }
    }
    changes
}
