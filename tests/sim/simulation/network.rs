//! Nodes, links and time. A link delays, bunches and loses as TCP over a bad line does: what is lost comes later, and what
//! follows on the same link waits for it. A cut loses what is under way, and one end hears of it later than the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    time::{Duration, Instant},
};

use devp2p::{ConnId, Packet, clock::Now};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use waku0::{Envelope, Topic, node::Action, settings::Change};

use super::{
    Planted, Report,
    observer::{Life, Observer},
    plan::{END, Happening, Plan, RESENT_AFTER},
    reach::Reach,
    subject::Subject,
};

/// Unix seconds at which every network begins, by the earliest clock.
const START_SECS: u32 = 1_600_000_000;

/// More events than any network needs: a loop shows as this many.
const MAX_EVENTS: u64 = 2_000_000;

#[derive(Debug)]
enum Event {
    Happening(Happening),
    Arrival {
        link: usize,
        end: usize,
        conn: ConnId,
        packet: Packet,
    },
    /// A node hears that a connection is over.
    Over {
        life: usize,
        node: usize,
        conn: ConnId,
    },
}

/// A connection of a link.
#[derive(Debug)]
struct Live {
    conns: [ConnId; 2],
    lives: [Life; 2],
    since: Duration,
    /// When the last packet to each end arrives.
    last: [Duration; 2],
    under_way: [usize; 2],
}

pub(super) struct Network {
    plan: Plan,
    rng: StdRng,
    planted: Option<Planted>,
    origin: Now,
    at: Duration,
    nodes: Vec<(Life, Subject)>,
    wake_at: Vec<Instant>,
    links: Vec<Option<Live>>,
    /// Link and end of each connection that is not over.
    ends: HashMap<ConnId, (usize, usize)>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    observer: Observer,
    reach: Reach,
}

impl Network {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plan = Plan::draw(&mut rng);
        let origin = Now { unix: Duration::from_secs(START_SECS.into()), ..devp2p::clock::now() };
        let happenings = std::mem::take(&mut plan.happenings);
        let mut network = Self {
            links: plan.links.iter().map(|_| None).collect(),
            plan,
            rng,
            planted,
            origin,
            at: Duration::ZERO,
            nodes: Vec::new(),
            wake_at: Vec::new(),
            ends: HashMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            observer: Observer::default(),
            reach: Reach::default(),
        };
        for node in 0..network.plan.nodes.len() {
            let subject = network.begin(node);
            network.wake_at.push(subject.1.wake_at());
            network.nodes.push(subject);
        }
        for (at, happening) in &happenings {
            network.schedule(*at, Event::Happening(happening.clone()));
        }
        network.plan.happenings = happenings;
        network
    }

    pub(super) fn run(mut self) -> Report {
        while let Some(at) = self.next_at().filter(|at| *at <= END) {
            self.at = at;
            assert!(self.next < MAX_EVENTS, "no end of events");
            match self.due_event() {
                Some(event) => self.happen(event),
                None => self.tick(),
            }
        }
        self.at = END;
        (0..self.links.len()).for_each(|link| self.end_link(link));
        self.reach.judge(&self.plan, &mut self.observer);
        self.observer.report
    }

    fn next_at(&self) -> Option<Duration> {
        let event = self.queue.peek().map(|Reverse((at, _))| *at);
        let wake = self.wake_at.iter().min().map(|at| at.saturating_duration_since(self.origin.instant).max(self.at));
        event.into_iter().chain(wake).min()
    }

    fn due_event(&mut self) -> Option<Event> {
        self.queue.peek().filter(|Reverse((at, _))| *at <= self.at)?;
        let Reverse((_, id)) = self.queue.pop()?;
        self.events.remove(&id)
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
    }

    /// What a node's clocks say.
    fn now(&self, node: usize) -> Now {
        let now = self.origin.after(self.at);
        Now { unix: now.unix + self.plan.nodes[node].ahead, ..now }
    }

    fn begin(&mut self, node: usize) -> (Life, Subject) {
        self.next += 1;
        let settings = self.plan.nodes[node].settings.clone();
        let number = usize::try_from(self.next).expect("few events");
        let life = Life { node, number, light: settings.light };
        let planted = self.planted.filter(|_| node % 2 == 1);
        let now = self.now(node);
        (life, Subject::new(settings, planted, now, &mut self.rng))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Happening(Happening::Join { link }) => self.join(link),
            Event::Happening(Happening::Cut { link }) => self.cut(link, None),
            Event::Happening(Happening::Restart { node }) => self.restart(node),
            Event::Happening(Happening::Post { node, topic, ttl, data, nonce }) => {
                self.post(node, topic, ttl, data, nonce);
            }
            Event::Happening(Happening::Change { node, change }) => self.change(node, change),
            Event::Arrival { link, end, conn, packet } => self.arrive(link, end, conn, &packet),
            Event::Over { life, node, conn } => {
                if self.nodes[node].0.number == life {
                    self.with(node, |subject, now| subject.disconnected(now, conn));
                }
            }
        }
    }

    fn tick(&mut self) {
        for node in 0..self.nodes.len() {
            if self.wake_at[node] <= self.origin.instant + self.at {
                self.with(node, Subject::tick);
            }
        }
    }

    fn join(&mut self, link: usize) {
        if self.links[link].is_some() {
            return;
        }
        let (ends, version) = (self.plan.links[link].ends, self.plan.links[link].version);
        let conns = [(); 2].map(|()| {
            self.next += 1;
            ConnId(self.next)
        });
        let lives = ends.map(|node| self.nodes[node].0);
        self.links[link] = Some(Live { conns, lives, since: self.at, last: [self.at; 2], under_way: [0; 2] });
        self.ends.extend([(conns[0], (link, 0)), (conns[1], (link, 1))]);
        let [a, b] = ends;
        self.with(a, |subject, now| subject.connected(now, conns[0], b, version));
        self.with(b, |subject, now| subject.connected(now, conns[1], a, version));
    }

    /// Ends a connection. `knows`: the end that does it; else one of them hears of it now. The other hears of it later.
    fn cut(&mut self, link: usize, knows: Option<usize>) {
        let Some(live) = self.links[link].as_ref() else { return };
        let (conns, lives) = (live.conns, live.lives);
        self.observer.report.tally.cut += 1;
        self.end_link(link);
        let first = knows.unwrap_or_else(|| self.rng.random_range(0..2));
        let later = self.at + Duration::from_millis(self.rng.random_range(0..500));
        let (now, other) = (lives[first], lives[1 - first]);
        self.schedule(later, Event::Over { life: other.number, node: other.node, conn: conns[1 - first] });
        self.with(now.node, |subject, at| subject.disconnected(at, conns[first]));
    }

    fn end_link(&mut self, link: usize) {
        if let Some(live) = self.links[link].take() {
            self.ends.retain(|conn, _| !live.conns.contains(conn));
            self.reach.was_up(link, live.lives, live.since, self.at);
        }
    }

    fn restart(&mut self, node: usize) {
        self.observer.report.tally.restarted += 1;
        for link in 0..self.links.len() {
            let end = self.plan.links[link].ends.iter().position(|end| *end == node);
            if let Some(end) = end {
                self.cut(link, Some(end));
            }
        }
        self.nodes[node] = self.begin(node);
        self.wake_at[node] = self.nodes[node].1.wake_at();
    }

    fn post(&mut self, node: usize, topic: Topic, ttl: u32, data: usize, nonce: u64) {
        let sent = u32::try_from(self.now(node).unix_secs()).expect("before 2106");
        let envelope = Envelope::new(sent + ttl, ttl, topic, vec![7; data].into(), nonce).expect("sent after 1970");
        let now = self.now(node);
        let (life, subject) = &mut self.nodes[node];
        let life = *life;
        if subject.post(now, envelope.clone()).is_ok_and(|posted| !posted.already_pooled) {
            self.observer.posted(self.at, life, &envelope);
            let until = Duration::from_secs(u64::from(sent + ttl) - u64::from(START_SECS));
            self.reach.posted(life, self.at, until, envelope);
        }
        self.with(node, |_, _| ());
    }

    fn change(&mut self, node: usize, change: Change) {
        if let Change::Light(light) = change {
            self.observer.changed_light(self.nodes[node].0, light);
        }
        self.with(node, |subject, now| subject.change(now, change));
    }

    fn arrive(&mut self, link: usize, end: usize, conn: ConnId, packet: &Packet) {
        let Some(live) = self.links[link].as_mut().filter(|live| live.conns[end] == conn) else { return };
        live.under_way[end] -= 1;
        let node = live.lives[end].node;
        self.observer.received(self.at, conn, packet);
        let (code, body) = (packet.code, packet.body.plain().clone());
        self.with(node, |subject, now| subject.receive(now, conn, code, body));
    }

    /// Does something with a node and carries out what follows.
    fn with(&mut self, node: usize, act: impl FnOnce(&mut Subject, Now)) {
        let now = self.now(node);
        act(&mut self.nodes[node].1, now);
        while let Some(action) = self.nodes[node].1.next_action() {
            let life = self.nodes[node].0;
            match action {
                Action::Send { to, packet } => self.send(life, now, to, packet),
                Action::Disconnect { conn, fault } => {
                    self.observer.left(self.at, life, fault);
                    if let Some((link, end)) = self.ends.get(&conn).copied() {
                        self.cut(link, Some(end));
                    }
                }
                Action::Deliver { envelope, .. } => self.observer.delivered(self.at, life, &envelope),
                _ => {}
            }
        }
        self.wake_at[node] = self.nodes[node].1.wake_at();
    }

    fn send(&mut self, life: Life, now: Now, to: ConnId, packet: Packet) {
        let Some((link, end)) = self.ends.get(&to).copied() else { return };
        let plan = &self.plan.links[link];
        let Some(live) = self.links[link].as_mut() else { return };
        let other = 1 - end;
        if live.under_way[other] >= plan.capacity {
            self.observer.refused(to, &packet);
            return self.nodes[life.node].1.stalled(now, to, packet);
        }
        let mut delay = Duration::from_millis(self.rng.random_range(plan.delay_millis.clone()));
        for wait in RESENT_AFTER {
            if !self.rng.random_ratio(plan.lost_permille, 1_000) {
                break;
            }
            delay += wait;
        }
        let arrival = (self.at + delay).max(live.last[other]);
        live.last[other] = arrival;
        live.under_way[other] += 1;
        let conn = live.conns[other];
        self.observer.sent(self.at, now, life, to, &packet);
        self.schedule(arrival, Event::Arrival { link, end: other, conn, packet });
    }
}
