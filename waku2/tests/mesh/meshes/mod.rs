//! One mesh of a seed: drawn by [`plan`], run by [`network`] with nodes that are whole, over links that are bad ([`link`]), judged by
//! [`observer`], which knows no more than what nodes tell their owners.
//!
//! | Rule | In words |
//! |---|---|
//! | [`Rule::Reached`] | a message reaches every node that relays its shard and has a way to its author, of such nodes and links; published while something changes, every peer of its author that nobody touches |
//! | [`Rule::DeliveredOnce`] | a node delivers a message once, and its own not at all |
//! | [`Rule::Unchanged`] | topic, bytes and hash are those that were published |
//! | [`Rule::OnlyRelayed`] | nothing is delivered on a shard that a node has left, or never joined |
//! | [`Rule::OnlyPublished`] | nothing is delivered that nobody published |
//! | [`Rule::PublishTells`] | publishing says how many peers it goes to: as many as there are, and that there are none where there are none |
//! | [`Rule::HonestPeersStay`] | nobody leaves a peer of its own network |
//! | [`Rule::StrangersParted`] | a node of another network becomes nobody's peer |
//! | [`Rule::Rejoined`] | whatever changed, before long every node has the peers that its links lead to, and knows what they relay |
//! | [`Rule::MeshWhole`] | and is in a full mesh of each shard, as far as there are peers for it |
//! | [`Rule::CountersAddUp`] | what was received was accepted, ignored or rejected |
//!
//! Gossip has timers of its own, so time is real, and no two runs of a seed are the same in everything: who is called what, who is linked to
//! whom, what is published and what changes is; the order in which bytes arrive is not.

pub(crate) mod link;
mod network;
mod observer;
mod plan;
mod posting;
mod steady;
mod subject;

use std::{fmt, time::Duration};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Reached,
    DeliveredOnce,
    Unchanged,
    OnlyRelayed,
    OnlyPublished,
    PublishTells,
    HonestPeersStay,
    StrangersParted,
    Rejoined,
    MeshWhole,
    CountersAddUp,
}

/// A fault planted in every second node, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Neither delivers nor forwards.
    PassesNothing,
    DeliversTwice,
    ChangesBytes,
    /// Goes on relaying what it was told to leave.
    StaysOnShards,
    /// Publishes what nobody asked for.
    Invents,
    /// Says that what it publishes goes to one peer more.
    Boasts,
    /// Says it is of another network.
    NamesOtherCluster,
    /// One of another network says it is of ours.
    HidesCluster,
    /// Is another node after a restart.
    ComesAsAnother,
    LosesMesh,
    Miscounts,
}

impl Planted {
    /// What it breaks, perhaps among others.
    pub(crate) fn breaks(self) -> Rule {
        match self {
            Self::PassesNothing => Rule::Reached,
            Self::DeliversTwice => Rule::DeliveredOnce,
            Self::ChangesBytes => Rule::Unchanged,
            Self::StaysOnShards => Rule::OnlyRelayed,
            Self::Invents => Rule::OnlyPublished,
            Self::Boasts => Rule::PublishTells,
            Self::NamesOtherCluster => Rule::HonestPeersStay,
            Self::HidesCluster => Rule::StrangersParted,
            Self::ComesAsAnother => Rule::Rejoined,
            Self::LosesMesh => Rule::MeshWhole,
            Self::Miscounts => Rule::CountersAddUp,
        }
    }

    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::PassesNothing,
        Self::DeliversTwice,
        Self::ChangesBytes,
        Self::StaysOnShards,
        Self::Invents,
        Self::Boasts,
        Self::NamesOtherCluster,
        Self::HidesCluster,
        Self::ComesAsAnother,
        Self::LosesMesh,
        Self::Miscounts,
    ];
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: Rule,
    /// Since the network began.
    pub(crate) at: Duration,
    pub(crate) node: usize,
    pub(crate) what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: node {} after {:?}: {}", self.rule, self.node, self.at, self.what)
    }
}

/// How large a network is, and how long it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Of our network; one or two of another one come to them.
    pub(crate) nodes: usize,
    /// Of partition, healing and churn.
    pub(crate) rounds: usize,
    /// Messages in each half of an act.
    pub(crate) posts: usize,
    /// Between one message and the next, in the mean.
    pub(crate) gap_millis: u64,
    /// How long anything may take until it counts as broken.
    pub(crate) patience: Duration,
}

/// How much happened, so that it shows when nothing did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) posted: u64,
    /// Publications refused for want of peers, or of the shard.
    pub(crate) refused: u64,
    pub(crate) delivered: u64,
    /// Deliveries that [`Rule::Reached`] demanded.
    pub(crate) owed: u64,
    /// Deliveries to an owner who had the message.
    pub(crate) twice: u64,
    /// From publication to delivery, of those that were owed.
    pub(crate) latencies: Vec<Duration>,
    /// Peers that came, the first time or again.
    pub(crate) connected: u64,
    /// Peers that went.
    pub(crate) gone: u64,
    /// Peers that nodes left because of what they did.
    pub(crate) left: u64,
    /// Messages that gossip gave up sending.
    pub(crate) unsent: u64,
    /// Bytes given to links while nothing changed, and the bytes of what was delivered meanwhile.
    pub(crate) calm_wire_bytes: u64,
    pub(crate) calm_delivered_bytes: u64,
    /// The longest that a change took until all peers were there and all meshes whole.
    pub(crate) slowest_change: Duration,
}

impl Tally {
    /// How many bytes crossed links for one that was delivered: the copies that gossip sends of a message, and all else that peers say.
    pub(crate) fn copies(&self) -> f64 {
        self.calm_wire_bytes as f64 / self.calm_delivered_bytes.max(1) as f64
    }

    /// The latency that so many of a thousand deliveries have at most.
    pub(crate) fn latency(&self, permille: usize) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let place = (latencies.len() * permille / 1_000).min(latencies.len().saturating_sub(1));
        latencies.get(place).copied().unwrap_or_default()
    }
}

/// What came of one network.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In order.
    pub(crate) broken: Vec<Broken>,
    pub(crate) tally: Tally,
}

/// Runs the network of a seed to its end, or to the first change that does not come to its end.
pub(crate) async fn run(seed: u64, size: Size, planted: Option<Planted>) -> Report {
    network::Network::run(seed, size, planted).await
}

/// Networks in which a planted fault must show: most show in the first.
const SEEDS_TO_FIND: u64 = 3;

/// Is this fault found when it is planted?
pub(crate) async fn is_found(planted: Planted) -> bool {
    let size = Size { nodes: 6, rounds: 1, posts: 30, gap_millis: 20, patience: Duration::from_secs(8) };
    for seed in 0..SEEDS_TO_FIND {
        let broken = run(seed, size, Some(planted)).await.broken;
        if broken.iter().any(|broken| broken.rule == planted.breaks()) {
            return true;
        }
    }
    false
}
