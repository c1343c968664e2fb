//! One network of a seed: made by [`plan`], run by [`network`], judged by [`observer`] as it goes and by [`reach`] at its end.
//!
//! | Rule | In words |
//! |---|---|
//! | [`Rule::DeliveredOnce`] | a node delivers an envelope once, and its own not at all |
//! | [`Rule::Reached`] | who wants an envelope and has a way of full nodes that want it has it before it expires |
//! | [`Rule::NoEcho`] | nothing goes to who sent it |
//! | [`Rule::SentOnce`] | nothing goes twice over one connection |
//! | [`Rule::NothingExpired`] | nothing goes out whose time is over |
//! | [`Rule::EnoughWork`], [`Rule::OfInterest`] | nothing goes to a peer that said it does not want it |
//! | [`Rule::WithinLimits`] | in no second more packets, or envelopes of a topic, than the peer announced |
//! | [`Rule::LightRelaysNothing`] | a light node sends its own envelopes only |
//! | [`Rule::StatusFirst`] | nothing of gossip before the peer's Status |
//! | [`Rule::HonestPeersStay`] | nobody is left but a light node by a light node |
//!
//! Time is virtual; a seed always gives the same network.

mod network;
mod observer;
mod plan;
mod reach;
mod subject;

use std::{fmt, iter::Sum, time::Duration};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    DeliveredOnce,
    Reached,
    NoEcho,
    SentOnce,
    NothingExpired,
    EnoughWork,
    OfInterest,
    WithinLimits,
    LightRelaysNothing,
    StatusFirst,
    HonestPeersStay,
}

/// A fault planted in every second node, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    DeliversTwice,
    ForwardsNothing,
    Echoes,
    SendsTwice,
    SendsExpired,
    IgnoresWork,
    IgnoresInterest,
    IgnoresLimits,
    RelaysThoughLight,
    SpeaksFirst,
    LeavesPeers,
}

impl Planted {
    /// What it breaks.
    pub(crate) fn breaks(self) -> Rule {
        match self {
            Self::DeliversTwice => Rule::DeliveredOnce,
            Self::ForwardsNothing => Rule::Reached,
            Self::Echoes => Rule::NoEcho,
            Self::SendsTwice => Rule::SentOnce,
            Self::SendsExpired => Rule::NothingExpired,
            Self::IgnoresWork => Rule::EnoughWork,
            Self::IgnoresInterest => Rule::OfInterest,
            Self::IgnoresLimits => Rule::WithinLimits,
            Self::RelaysThoughLight => Rule::LightRelaysNothing,
            Self::SpeaksFirst => Rule::StatusFirst,
            Self::LeavesPeers => Rule::HonestPeersStay,
        }
    }

    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::DeliversTwice,
        Self::ForwardsNothing,
        Self::Echoes,
        Self::SendsTwice,
        Self::SendsExpired,
        Self::IgnoresWork,
        Self::IgnoresInterest,
        Self::IgnoresLimits,
        Self::RelaysThoughLight,
        Self::SpeaksFirst,
        Self::LeavesPeers,
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

/// How much happened, so that it shows when nothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) posted: u64,
    pub(crate) delivered: u64,
    /// Deliveries that [`Rule::Reached`] demanded.
    pub(crate) owed: u64,
    /// Packets of envelopes.
    pub(crate) packets: u64,
    /// Packets that found the connection full.
    pub(crate) stalled: u64,
    pub(crate) cut: u64,
    pub(crate) restarted: u64,
    /// Packets of several envelopes: a pool offered, or what was held back.
    pub(crate) from_pool: u64,
    /// Packets to peers that announced limits.
    pub(crate) limited: u64,
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |a, b| Self {
            posted: a.posted + b.posted,
            delivered: a.delivered + b.delivered,
            owed: a.owed + b.owed,
            packets: a.packets + b.packets,
            stalled: a.stalled + b.stalled,
            cut: a.cut + b.cut,
            restarted: a.restarted + b.restarted,
            from_pool: a.from_pool + b.from_pool,
            limited: a.limited + b.limited,
        })
    }
}

/// What came of one network.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In order.
    pub(crate) broken: Vec<Broken>,
    pub(crate) tally: Tally,
}

/// Runs the network of a seed to its end.
pub(crate) fn run(seed: u64, planted: Option<Planted>) -> Report {
    network::Network::new(seed, planted).run()
}
