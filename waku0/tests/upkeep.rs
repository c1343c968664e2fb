//! The pool of peers over hours of virtual time: the dialler's schedule and the upkeep together, among nodes that fail and return.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use devp2p::{
    ConnId, DisconnectReason, Enode, Host, NodeId, NodeKey, Now,
    clock::now,
    dial::{ALONE_WAIT, LASTING, LONGEST_WAIT, Schedule},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use waku0::{
    accounting::{Account, Traffic, Volume},
    upkeep::{Member, Shares, Upkeep},
    version::Version,
};

const STATICS: usize = 3;
/// Of these, the first half useful, the others light, wanting nothing, or bringing what is of no use.
const FOUND: usize = 32;
const TARGET: usize = 8;
const STEP: Duration = Duration::from_secs(1);
/// How long a dial hangs that is not answered.
const HANGS: Duration = Duration::from_secs(15);

/// What a node is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Useful,
    Light,
    WantsNothing,
    Junk,
}

struct Peer {
    kind: Kind,
    is_up: bool,
    /// Until when the dial hangs.
    dialled: Option<Instant>,
    /// Its connection, and since when.
    there: Option<(ConnId, Instant)>,
    traffic: Traffic,
}

struct World {
    now: Now,
    schedule: Schedule,
    upkeep: Upkeep,
    peers: BTreeMap<NodeId, Peer>,
    statics: Vec<NodeId>,
    next_conn: u64,
    dials: usize,
    rotated: usize,
    rng: StdRng,
}

fn enode(n: usize) -> Enode {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
    let key = NodeKey::from_bytes(&secret).expect("a secret").public();
    Enode { key, host: Host::Ip([10, 0, 0, 1].into()), tcp: 1_000 + n as u16, udp: 0 }
}

impl World {
    fn new(seed: u64) -> Self {
        let (now, mut rng) = (now(), StdRng::seed_from_u64(seed));
        let statics: Vec<Enode> = (0..STATICS).map(enode).collect();
        let own = enode(10_000).key.id();
        let mut schedule = Schedule::new(&statics, own, rng.random(), now);
        schedule.seek(now, TARGET, Vec::new());
        let mut peers = BTreeMap::new();
        for n in 0..STATICS + FOUND {
            let kind = match n.saturating_sub(STATICS) {
                n if n < FOUND / 2 => Kind::Useful,
                n if n % 3 == 0 => Kind::Light,
                n if n % 3 == 1 => Kind::WantsNothing,
                _ => Kind::Junk,
            };
            let enode = enode(n);
            let (id, traffic) = (enode.key.id(), Traffic::default());
            if n >= STATICS {
                schedule.suggest(now, enode);
            }
            peers.insert(id, Peer { kind, is_up: true, dialled: None, there: None, traffic });
        }
        let statics: Vec<NodeId> = statics.iter().map(|node| node.key.id()).collect();
        let shares = Shares::new(&[Version::Waku0], TARGET, 50);
        let upkeep = Upkeep::new(shares, 42, &statics, &[], now.instant);
        Self { now, schedule, upkeep, peers, statics, next_conn: 0, dials: 0, rotated: 0, rng }
    }

    fn set(&mut self, node: NodeId, is_up: bool) {
        let (now, peer) = (self.now, self.peers.get_mut(&node).expect("a peer"));
        peer.is_up = is_up;
        if !is_up && peer.there.take().is_some() {
            self.schedule.ended(now, node, false);
            self.upkeep.ended(now.instant, node, DisconnectReason::TcpError);
        }
    }

    fn set_all(&mut self, is_up: bool) {
        let all: Vec<NodeId> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|node| self.set(node, is_up));
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while self.now.instant < until {
            self.step();
        }
    }

    /// A second of it.
    fn step(&mut self) {
        self.now = self.now.after(STEP);
        let now = self.now;
        while let Some(enode) = self.schedule.next_dial(now) {
            self.dials += 1;
            let peer = self.peers.get_mut(&enode.key.id()).expect("a peer");
            assert!(peer.there.is_none() && peer.dialled.is_none(), "one dial or connection at a time");
            peer.dialled = Some(now.instant + if peer.is_up { STEP } else { HANGS });
        }
        for (id, peer) in &mut self.peers {
            if peer.dialled.is_some_and(|until| until <= now.instant) {
                peer.dialled = None;
                if peer.is_up {
                    self.next_conn += 1;
                    peer.there = Some((ConnId(self.next_conn), now.instant));
                    peer.traffic = Traffic::default();
                    self.schedule.connected(now, *id, true);
                    self.upkeep.stir(now.instant);
                } else {
                    self.schedule.failed(now, *id, false);
                }
            }
            if peer.there.is_some() {
                brings(peer, &mut self.rng);
            }
        }
        if self.upkeep.wake_at() <= now.instant {
            self.look();
        }
    }

    fn look(&mut self) {
        let (now, before) = (self.now, self.upstream());
        let orders = self.upkeep.look(now.instant, &self.members());
        self.schedule.want(orders.seek);
        assert!(orders.seek <= 2 * TARGET);
        let Some((conn, reason)) = orders.leave else { return };
        self.rotated += 1;
        let leaves = |peer: &Peer| peer.there.is_some_and(|(there, _)| there == conn);
        let (id, peer) = self.peers.iter_mut().find(|(_, peer)| leaves(peer)).expect("a peer that is there");
        peer.there = None;
        let id = *id;
        assert!(!self.statics.contains(&id), "static nodes stay");
        self.schedule.ended(now, id, reason == DisconnectReason::UselessPeer);
        self.upkeep.ended(now.instant, id, reason);
        assert!(before == self.upstream() || self.upstream() >= STATICS, "never below the least");
    }

    fn members(&self) -> Vec<Member> {
        let member = |(id, peer): (&NodeId, &Peer)| {
            let (conn, since) = peer.there?;
            Some(Member {
                conn,
                node: *id,
                version: Version::Waku0,
                inbound: false,
                since,
                light: peer.kind == Kind::Light,
                wants_nothing: peer.kind == Kind::WantsNothing,
                traffic: peer.traffic,
            })
        };
        self.peers.iter().filter_map(member).collect()
    }

    fn there(&self, is: impl Fn(&NodeId, &Peer) -> bool) -> usize {
        self.peers.iter().filter(|(id, peer)| peer.there.is_some() && is(id, peer)).count()
    }

    fn upstream(&self) -> usize {
        self.there(|_, peer| peer.kind == Kind::Useful)
    }

    fn found(&self) -> usize {
        self.there(|id, _| !self.statics.contains(id))
    }

    fn found_useful(&self) -> usize {
        self.there(|id, peer| peer.kind == Kind::Useful && !self.statics.contains(id))
    }
}

/// What a peer brings in a second.
fn brings(peer: &mut Peer, rng: &mut impl Rng) {
    let envelopes = u64::from(rng.random_bool(0.3));
    let useful = if peer.kind == Kind::Junk { 0 } else { envelopes };
    let Traffic { account: Account { received, .. }, bytes_in } = &mut peer.traffic;
    *received = Volume { envelopes: received.envelopes + useful, bytes: received.bytes + 500 * useful };
    *bytes_in += 510 * envelopes;
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn in_some_hours_all_that_are_sought_are_useful() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.pass(8 * HOUR);
        assert_eq!(
            (world.there(|id, _| world.statics.contains(id)), world.found_useful()),
            (STATICS, TARGET),
            "{seed}"
        );
        assert!(world.found() <= 2 * TARGET, "{seed}");
        assert!(world.rotated > 0, "{seed}: no seed begins with useful ones alone");
        let (rotated, dials) = (world.rotated, world.dials);
        world.pass(HOUR);
        assert_eq!(world.found_useful(), TARGET, "{seed}");
        assert!(world.rotated - rotated <= 8 && world.dials - dials <= 16, "{seed}: it comes to rest");
    }
}

#[test]
fn f16_all_vanish_and_come_back() {
    for seed in 0..4 {
        for away in [600, 12 * 3_600] {
            let mut world = World::new(seed);
            world.pass(HOUR);
            let before = world.found();
            world.set_all(false);
            assert_eq!(world.there(|_, _| true), 0);
            let dials = world.dials;
            world.pass(Duration::from_secs(away));
            // Those that are known to answer, a dial in each longest wait at most, and the others seldom.
            let often = away as usize / (ALONE_WAIT.as_secs() as usize * 3 / 4) + 8;
            assert!(world.dials - dials <= (STATICS + 4 * TARGET) * often, "{} dials", world.dials - dials);
            world.set_all(true);
            world.pass(Duration::from_secs(30));
            assert_eq!(world.there(|id, _| world.statics.contains(id)), STATICS, "{seed}: away for {away} s");
            world.pass(Duration::from_secs(60));
            assert!(world.found() >= before.min(TARGET), "{seed}: {} of {before}", world.found());
        }
    }
}

#[test]
fn static_nodes_that_fail_and_return_are_there_within_their_wait() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let mut up_since: BTreeMap<NodeId, Instant> = BTreeMap::new();
        for minute in 0..12 * 60 {
            for node in world.statics.clone() {
                let toggles = world.rng.random_bool(1.0 / 20.0);
                let is_up = world.peers[&node].is_up;
                if toggles {
                    world.set(node, !is_up);
                }
                match world.peers[&node].is_up {
                    true => drop(up_since.entry(node).or_insert(world.now.instant)),
                    false => drop(up_since.remove(&node)),
                }
            }
            world.pass(Duration::from_secs(60));
            let longest = LONGEST_WAIT.mul_f64(1.25) + HANGS + LASTING;
            for (node, since) in &up_since {
                let waited = world.now.instant - *since;
                let there = world.peers[node].there.is_some();
                assert!(there || waited <= longest, "{seed}, minute {minute}: {waited:?}");
            }
            assert!(world.upstream() > 0, "{seed}, minute {minute}: the pool is dry");
        }
    }
}
