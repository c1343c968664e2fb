//! Spammers at ten times the limit beside honest members, in virtual time: every honest message arrives everywhere, and of spam no more than
//! the limit allows.
//!
//! The cores of whole nodes in one thread: validators, queues and counts of blame as a node has them, joined by links that delay, and a verifier that
//! takes its time for each batch. `SIM_SEED=n` runs another network.

#![expect(clippy::unwrap_used, reason = "a test program: a failure may panic")]

#[path = "../support/members.rs"]
#[expect(unreachable_pub, reason = "a module of a test program: nothing is public")]
mod members;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    env,
    time::Duration,
};

use bytes::Bytes;
use devp2p::{Now, clock};
use libp2p::PeerId;
use members::{Member, forged, verifier};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use waku2::{
    Meta, PubsubTopic, Verdict, WakuMessage,
    meter::Budget,
    rln::{
        self,
        blame::{Blame, INVALID_A_MINUTE},
        element::Element,
        pool::{BATCH, QUEUE},
        roots::follow,
        turns::Turns,
    },
    rules::Rules,
    validate::{Judged, Pending, Policy, Reason, Validator},
};

const NODES: usize = 10;
const HONEST: usize = 8;
const SPAMMERS: usize = 4;
/// Nodes that each spammer is connected to.
const REACH: usize = 4;
/// Messages of a member in an epoch, and what spammers send of them.
const LIMIT: u64 = 50;
const SPAM: u64 = 10 * LIMIT;
/// How long all of it lasts, well inside one epoch.
const LASTS_MILLIS: u64 = 60_000;
/// The middle of an epoch.
const BEGINS: Duration = Duration::from_secs(1_699_999_800 + 300);
/// What a batch takes, and each of its proofs.
const BATCH_MICROS: u64 = 1_300;
const PROOF_MICROS: u64 = 430;

/// A microsecond of the simulation.
type Micros = u64;

enum Happens {
    Arrives { to: usize, from: PeerId, data: Bytes },
    Verified { node: usize, batch: Vec<(PeerId, Box<Pending>)> },
}

struct Core {
    id: PeerId,
    neighbours: Vec<usize>,
    validator: Validator,
    turns: Turns<PeerId, (PeerId, Box<Pending>)>,
    is_busy: bool,
    blame: Blame<PeerId>,
    left: HashSet<PeerId>,
    seen: HashSet<Bytes>,
    accepted: HashMap<Bytes, usize>,
    dropped: Vec<PeerId>,
    /// Who brought what did not hold.
    invalid_from: HashSet<PeerId>,
}

struct Network {
    start: Now,
    at: Micros,
    cores: Vec<Core>,
    events: BinaryHeap<Reverse<(Micros, usize)>>,
    happens: Vec<Option<Happens>>,
    rng: StdRng,
}

fn topic() -> PubsubTopic {
    "/waku/2/rs/1/1".parse().unwrap()
}

fn root() -> Element {
    Element::from(1)
}

fn message(at: Micros, payload: String) -> WakuMessage {
    let timestamp = i64::try_from((BEGINS + Duration::from_micros(at)).as_nanos()).unwrap();
    WakuMessage {
        payload: payload.into(),
        content_topic: "/spam/1/test/bytes".into(),
        version: 0,
        timestamp: Some(timestamp),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

impl Core {
    fn new() -> Self {
        let (ahead, known) = follow();
        ahead.now(root());
        let policy = Policy {
            rln: Some(rln::Config::new(verifier(), known)),
            rules: Rules::live(),
            timestamp_window: Some(Duration::from_secs(20)),
            free_bandwidth: Some(Budget::NONE),
            ..Policy::default()
        };
        Self {
            id: PeerId::random(),
            neighbours: Vec::new(),
            validator: Validator::new(policy),
            turns: Turns::new(QUEUE),
            is_busy: false,
            blame: Blame::new(INVALID_A_MINUTE),
            left: HashSet::new(),
            seen: HashSet::new(),
            accepted: HashMap::new(),
            dropped: Vec::new(),
            invalid_from: HashSet::new(),
        }
    }
}

impl Network {
    /// A ring with chords.
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut cores: Vec<Core> = (0..NODES).map(|_| Core::new()).collect();
        let chords: Vec<(usize, usize)> = (0..NODES).map(|n| (n, rng.random_range(0..NODES))).collect();
        for (a, b) in (0..NODES).map(|n| (n, (n + 1) % NODES)).chain(chords) {
            if a != b && !cores[a].neighbours.contains(&b) {
                cores[a].neighbours.push(b);
                cores[b].neighbours.push(a);
            }
        }
        let start = Now { unix: BEGINS, ..clock::now() };
        Self { start, at: 0, cores, events: BinaryHeap::new(), happens: Vec::new(), rng }
    }

    fn now(&self) -> Now {
        self.start.after(Duration::from_micros(self.at))
    }

    fn at(&mut self, at: Micros, happens: Happens) {
        self.events.push(Reverse((at, self.happens.len())));
        self.happens.push(Some(happens));
    }

    fn send(&mut self, at: Micros, from: PeerId, to: usize, data: Bytes) {
        let delay = self.rng.random_range(5_000..150_000);
        self.at(at + delay, Happens::Arrives { to, from, data });
    }

    fn run(&mut self) {
        while let Some(Reverse((at, place))) = self.events.pop() {
            self.at = at;
            match self.happens[place].take() {
                Some(Happens::Arrives { to, from, data }) => self.arrives(to, from, data),
                Some(Happens::Verified { node, batch }) => self.verified(node, batch),
                None => {}
            }
        }
    }

    fn arrives(&mut self, to: usize, from: PeerId, data: Bytes) {
        let now = self.now();
        let core = &mut self.cores[to];
        if core.left.contains(&from) || !core.seen.insert(data.clone()) {
            return;
        }
        match core.validator.judge(&topic(), &data, now) {
            Judged::Done(verdict, _) => self.judged(to, from, verdict, &data, None),
            Judged::Hold(_) => unreachable!("all prove for one root"),
            Judged::Verify(pending) => {
                let dropped = core.turns.push(from, (from, pending));
                core.dropped.extend(dropped.map(|(peer, _)| peer));
                self.begin(to);
            }
        }
    }

    fn begin(&mut self, node: usize) {
        let core = &mut self.cores[node];
        if core.is_busy || core.turns.is_empty() {
            return;
        }
        core.is_busy = true;
        let batch = core.turns.take(BATCH);
        let takes = BATCH_MICROS + PROOF_MICROS * batch.len() as u64;
        self.at(self.at + takes, Happens::Verified { node, batch });
    }

    fn verified(&mut self, node: usize, batch: Vec<(PeerId, Box<Pending>)>) {
        self.cores[node].is_busy = false;
        let proofs: Vec<_> = batch.iter().map(|(_, pending)| pending.claim.proof.clone()).collect();
        for ((from, pending), holds) in batch.into_iter().zip(verifier().verify(&proofs)) {
            let validator = &self.cores[node].validator;
            let verdict = validator.verdict(validator.conclude(&pending, holds, self.now()));
            self.judged(node, from, verdict, &pending.data, Some(&pending));
        }
        self.begin(node);
    }

    fn judged(&mut self, node: usize, from: PeerId, verdict: Verdict, data: &Bytes, pending: Option<&Pending>) {
        let now = self.now();
        let core = &mut self.cores[node];
        match (verdict, pending) {
            (Verdict::Accept, Some(pending)) => {
                core.validator.accepted(pending, now);
                *core.accepted.entry(pending.message.payload.clone()).or_default() += 1;
                self.forward(node, from, data);
            }
            (Verdict::Accept, None) => panic!("accepted without a proof"),
            (Verdict::Ignore(Reason::InvalidProof), _) => {
                core.invalid_from.insert(from);
                if core.blame.invalid(now.instant, from) {
                    core.left.insert(from);
                }
            }
            (Verdict::Ignore(_) | Verdict::Reject(_), _) => {}
        }
    }

    fn forward(&mut self, node: usize, from: PeerId, data: &Bytes) {
        let own = self.cores[node].id;
        for to in self.cores[node].neighbours.clone() {
            if self.cores[to].id != from {
                self.send(self.at, own, to, data.clone());
            }
        }
    }

    /// A member publishes as many messages as it may, at some node.
    fn honest(&mut self, member: &Member, node: usize) {
        for id in 0..LIMIT {
            let at = self.rng.random_range(0..LASTS_MILLIS * 1_000);
            let message = member.prove_as(&message(at, format!("honest {} {id}", member.secret)), id);
            self.send(at, PeerId::random(), node, message.encode());
        }
    }

    /// A member publishes ten times as many, in bursts, with every trick.
    fn spam(&mut self, member: &Member, peer: PeerId, nodes: &[usize]) {
        let mut at = 0;
        for n in 0..SPAM {
            if n % 100 == 0 {
                at = self.rng.random_range(0..LASTS_MILLIS * 1_000);
            }
            let plain = message(at, format!("spam {} {n}", member.secret));
            let proven = member.prove_as(&plain, n % LIMIT);
            let data = match (n / LIMIT, n % 7) {
                (0, _) | (_, 0..4) => proven.encode(),
                (_, 4) => forged(&proven).encode(),
                (_, 5) => plain.encode(),
                _ => [&proven.encode()[..], b"\xa0\x06\x01"].concat().into(),
            };
            for node in nodes {
                self.send(at, peer, *node, data.clone());
            }
        }
    }
}

#[test]
fn h80_spammers_at_ten_times_the_limit_hold_up_no_honest_message() {
    let seed = env::var("SIM_SEED").map_or(1, |text| text.parse().unwrap());
    let mut network = Network::new(seed);
    let honest: Vec<Member> = (0..HONEST as u64).map(|secret| Member::new(secret, root(), LIMIT)).collect();
    for (place, member) in honest.iter().enumerate() {
        network.honest(member, place % NODES);
    }
    let mut spammers = HashSet::new();
    for place in 0..SPAMMERS {
        let member = Member::new(100 + place as u64, root(), LIMIT);
        let nodes: Vec<usize> = (0..REACH).map(|n| (place * 3 + n * 2) % NODES).collect();
        let peer = PeerId::random();
        spammers.insert(peer);
        network.spam(&member, peer, &nodes);
    }
    network.run();
    let mut left = 0;
    for (place, core) in network.cores.iter().enumerate() {
        for member in &honest {
            for id in 0..LIMIT {
                let payload = Bytes::from(format!("honest {} {id}", member.secret));
                assert_eq!(core.accepted.get(&payload), Some(&1), "node {place}, {payload:?}, SIM_SEED={seed}");
            }
        }
        for spammer in 0..SPAMMERS {
            let of = format!("spam {} ", 100 + spammer);
            let accepted = core.accepted.keys().filter(|payload| payload.starts_with(of.as_bytes())).count() as u64;
            assert!((1..=LIMIT).contains(&accepted), "node {place}: {accepted} of {of}, SIM_SEED={seed}");
        }
        assert!(core.dropped.iter().all(|peer| spammers.contains(peer)), "node {place}, SIM_SEED={seed}");
        assert!(core.left.iter().all(|peer| spammers.contains(peer)), "node {place}, SIM_SEED={seed}");
        assert!(core.invalid_from.is_subset(&spammers), "what does not hold is not passed on, SIM_SEED={seed}");
        left += core.left.len();
    }
    assert!(left > 0, "the network does not try what it should");
}
