//! Nodes, links, and the acts of a plan one after the other.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time;
use waku2::{Multiaddr, PeerId, health::SUFFICIENT_PEERS, slots::FULL_MESH};

use super::{
    Planted, Report, Rule, Size,
    link::{Link, State},
    observer::{Life, Observer, Shared, clock},
    plan::{Act, Change, End, OURS, Plan},
    posting::Scene,
    steady::{Steady, other},
    subject::{Subject, topic},
};

/// How often meshes are looked at while they grow: as often as gossip's own heartbeat.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long is waited for a second delivery after everything was delivered once: IHAVE, IWANT and an answer take less.
const QUIET: Duration = Duration::from_millis(1_500);

/// A life, and what is wrong with it.
type Wrong = (Life, String);

pub(super) struct Network {
    plan: Plan,
    size: Size,
    planted: Option<Planted>,
    observer: Arc<Shared>,
    links: Vec<Link>,
    nodes: BTreeMap<usize, Subject>,
    /// As of the first start.
    ids: BTreeMap<usize, PeerId>,
    /// What there should be.
    now: Steady,
}

impl Network {
    pub(super) async fn run(seed: u64, size: Size, planted: Option<Planted>) -> Report {
        let plan = Plan::draw(&mut StdRng::seed_from_u64(seed), &size);
        let lines = plan.links.iter().enumerate();
        let links = join_all(lines.map(|(n, link)| Link::new(link.line.clone(), 0, seed.wrapping_add(n as u64)))).await;
        let links = links.into_iter().map(|link| link.expect("a free port")).collect();
        let mut network = Self {
            plan,
            size,
            planted,
            observer: Arc::new(Shared::new()),
            links,
            nodes: BTreeMap::new(),
            ids: BTreeMap::new(),
            now: Steady::default(),
        };
        network.play().await;
        network.end().await
    }

    async fn play(&mut self) {
        let nodes = self.plan.nodes.clone().into_iter().enumerate();
        for (node, _) in nodes.filter(|(_, plan)| !plan.late) {
            self.start(node).await;
        }
        if !self.is_whole().await {
            return;
        }
        for act in self.plan.acts.clone() {
            if !self.act(&act).await || self.is_found() {
                return;
            }
        }
    }

    /// Was what was planted found?
    fn is_found(&self) -> bool {
        let look = self.observer.look();
        self.planted.is_some_and(|planted| look.report.broken.iter().any(|broken| broken.rule == planted.breaks()))
    }

    /// Starts a node, and leads the links to it.
    async fn start(&mut self, node: usize) {
        let planted = self.planted.filter(|planted| node % 2 == 1 || *planted == Planted::HidesCluster);
        let plan = &self.plan.nodes[node];
        let links = || self.plan.links.iter().enumerate();
        let calls = links().filter(|(_, link)| link.caller == node).map(|(n, link)| self.address(n, link.callee));
        let subject = Subject::start(node, plan, calls.collect(), planted, &self.observer).await;
        let subject = subject.expect("a node that starts");
        links().filter(|(_, link)| link.callee == node).for_each(|(n, _)| self.links[n].lead_to(subject.port()));
        self.ids.entry(node).or_insert_with(|| subject.peer_id());
        self.nodes.insert(node, subject);
        if plan.cluster == OURS {
            self.now.relays.insert(node, plan.shards.clone());
            let there = |n: &usize| other(&self.plan, *n, node).is_some_and(|n| self.now.relays.contains_key(&n));
            let with_both_ends: Vec<usize> = (0..self.links.len()).filter(there).collect();
            self.now.links.extend(with_both_ends);
        }
    }

    /// How a node is called over a link: by its name as well, when it has started before.
    fn address(&self, link: usize, callee: usize) -> Multiaddr {
        let ws = if self.plan.nodes[callee].ws { "/ws" } else { "" };
        let name = self.ids.get(&callee).map(|id| format!("/p2p/{id}")).unwrap_or_default();
        let text = format!("/ip4/127.0.0.1/tcp/{}{ws}{name}", self.links[link].port());
        text.parse().expect("an address")
    }

    /// One act; false when what it changed did not come to its end.
    async fn act(&mut self, act: &Act) -> bool {
        let (wire, delivered) = (self.carried(), self.observer.look().delivered_bytes);
        let steady = self.change(&act.change).await.and(&self.now);
        let (whole, ()) = tokio::join!(self.is_whole(), self.scene(&steady, false).publish_all(&act.posts[0]));
        if !whole {
            return false;
        }
        tokio::join!(self.scene(&self.now, true).publish_all(&act.posts[1]), self.stall(&act.stalls));
        self.observer.until(self.size.patience, Observer::all_paid).await;
        time::sleep(QUIET).await;
        let carried = self.carried() - wire;
        let mut look = self.observer.look();
        look.settle();
        if matches!(act.change, Change::Nothing) {
            look.report.tally.calm_wire_bytes += carried;
            look.report.tally.calm_delivered_bytes += look.delivered_bytes - delivered;
        }
        true
    }

    fn scene<'a>(&'a self, steady: &'a Steady, is_settled: bool) -> Scene<'a> {
        Scene { observer: &self.observer, plan: &self.plan, nodes: &self.nodes, steady, is_settled }
    }

    /// Begins a change; what it found and leaves alone.
    async fn change(&mut self, change: &Change) -> Steady {
        let before = self.now.clone();
        match change {
            Change::Nothing => {}
            Change::Partition { side, how } => {
                let plan = &self.plan;
                let between =
                    |n: &usize| side.contains(&plan.links[*n].caller) != side.contains(&plan.links[*n].callee);
                for n in (0..self.links.len()).filter(between) {
                    self.links[n].set(*how);
                    self.now.links.remove(&n);
                }
            }
            Change::Heal => {
                self.links.iter().for_each(|link| link.set(State::Up));
                let there = |node: &usize| self.now.relays.contains_key(node);
                let links = self.plan.links.iter().enumerate();
                let both = links.filter(|(_, link)| there(&link.caller) && there(&link.callee));
                self.now.links = both.map(|(n, _)| n).collect();
            }
            Change::Churn { cut, restart, join, toggle } => {
                cut.iter().for_each(|n| self.links[*n].cut());
                for (node, end) in restart {
                    self.restart(*node, *end).await;
                }
                for node in join {
                    self.start(*node).await;
                }
                for (node, shard) in toggle {
                    self.toggle(*node, *shard).await;
                }
                let restarted: Vec<usize> = restart.iter().map(|(node, _)| *node).collect();
                return before.without(&self.plan, cut, &restarted);
            }
        }
        before
    }

    async fn restart(&mut self, node: usize, end: End) {
        let Some(mut subject) = self.nodes.remove(&node) else { return };
        if end == End::Dead {
            let links = self.plan.links.iter().zip(&self.links).filter(|(link, _)| link.has_end(node));
            links.for_each(|(_, link)| link.forget());
        }
        subject.stop(end == End::Orderly).await;
        self.add_up(node, &subject);
        self.plan.nodes[node].shards.clone_from(&self.now.relays[&node]);
        self.start(node).await;
    }

    async fn toggle(&mut self, node: usize, shard: u16) {
        let topic = topic(&self.plan.nodes[node], shard);
        let subject = &self.nodes[&node];
        let shards = self.now.relays.entry(node).or_default();
        if shards.insert(shard) {
            self.observer.look().joins(subject.life, topic.clone());
            subject.relay(topic, true).await;
        } else {
            shards.remove(&shard);
            subject.relay(topic.clone(), false).await;
            self.observer.look().leaves(subject.life, topic);
        }
    }

    /// Waits until all have the peers that they should have, and are in their meshes; says so when they do not in time.
    async fn is_whole(&self) -> bool {
        let began = clock();
        let is_joined = self.observer.until(self.size.patience, |observer| self.apart(observer).is_none()).await;
        if !is_joined {
            let mut look = self.observer.look();
            if let Some((life, what)) = self.apart(&look) {
                look.broken(Rule::Rejoined, life, what);
            }
            return false;
        }
        let is_in_mesh = self.wait_for_meshes().await;
        let tally = &mut self.observer.look().report.tally;
        tally.slowest_change = tally.slowest_change.max(clock().saturating_duration_since(began));
        is_in_mesh
    }

    /// A node whose peers are not those of its links.
    fn apart(&self, observer: &Observer) -> Option<Wrong> {
        self.now.relays.iter().find_map(|(node, shards)| {
            let life = self.nodes[node].life;
            let expected: HashSet<PeerId> =
                self.now.neighbours(&self.plan, *node).map(|other| self.ids[&other]).collect();
            if observer.peers(life) != &expected {
                return Some((life, format!("{} peers, not {}", observer.peers(life).len(), expected.len())));
            }
            shards.iter().find_map(|shard| {
                let expected = self.now.on(&self.plan, *node, *shard).count();
                let count = observer.count(life, &topic(&self.plan.nodes[*node], *shard));
                (count != expected).then(|| (life, format!("{count} peers on shard {shard}, not {expected}")))
            })
        })
    }

    async fn wait_for_meshes(&self) -> bool {
        let mut torn = self.torn().await;
        let grow = async {
            while torn.is_some() {
                time::sleep(LOOK_EVERY).await;
                torn = self.torn().await;
            }
        };
        let is_in_time = time::timeout(self.size.patience, grow).await.is_ok();
        if let Some((life, what)) = torn.filter(|_| !is_in_time) {
            self.observer.look().broken(Rule::MeshWhole, life, what);
        }
        is_in_time
    }

    /// A node with too few peers in the mesh of a shard. Those do not count whose mesh may have been full: they let go of some then, and
    /// take none of these for a minute.
    async fn torn(&self) -> Option<Wrong> {
        let links = |node: usize| self.plan.links.iter().filter(move |link| link.has_end(node)).count();
        let is_free = |node: &usize| links(*node) < FULL_MESH as usize;
        for (node, shards) in self.now.relays.iter().filter(|(node, _)| is_free(node)) {
            let health = self.nodes[node].health().await;
            for shard in shards {
                let free = self.now.on(&self.plan, *node, *shard).filter(is_free).count();
                let topic = topic(&self.plan.nodes[*node], *shard);
                let there = health.iter().find(|health| health.topic == topic).map_or(0, |health| health.mesh_peers);
                if there < free.min(SUFFICIENT_PEERS) {
                    let what = format!("{there} in the mesh of shard {shard}, {free} could be");
                    return Some((self.nodes[node].life, what));
                }
            }
        }
        None
    }

    /// Links fall silent for a while.
    async fn stall(&self, stalls: &[(usize, Duration)]) {
        let stall = async |(link, time): &(usize, Duration)| {
            self.links[*link].set(State::Silent);
            time::sleep(*time).await;
            self.links[*link].set(State::Up);
        };
        join_all(stalls.iter().filter(|(link, _)| self.now.links.contains(link)).map(stall)).await;
    }

    fn carried(&self) -> u64 {
        self.links.iter().map(Link::carried).sum()
    }

    /// Stops all nodes.
    async fn end(mut self) -> Report {
        let mut nodes = std::mem::take(&mut self.nodes);
        join_all(nodes.values_mut().map(|subject| subject.stop(false))).await;
        nodes.iter().for_each(|(node, subject)| self.add_up(*node, subject));
        std::mem::take(&mut self.observer.look().report)
    }

    /// A node has ended: what it counted.
    fn add_up(&self, node: usize, subject: &Subject) {
        let mut look = self.observer.look();
        let (received, judged) = subject.judged();
        if received != judged {
            look.broken(Rule::CountersAddUp, subject.life, format!("{received} received, {judged} judged"));
        }
        assert_eq!(subject.unheard(), 0, "the observer hears everything");
        look.report.tally.unsent += subject.unsent();
        let links = 0..self.links.len();
        let met_strangers =
            links.filter_map(|n| other(&self.plan, n, node)).any(|n| self.plan.nodes[n].cluster != OURS);
        if self.plan.nodes[node].cluster == OURS && !met_strangers {
            look.report.tally.left += subject.left();
            if subject.left() > 0 {
                look.broken(Rule::HonestPeersStay, subject.life, format!("left {} peers", subject.left()));
            }
        }
    }
}
