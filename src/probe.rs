//! One look at everything that is counted, for health and metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

mod crossing;
mod devp2p;
mod filter;
mod mail;
mod names;
mod peers;
mod process;
mod relay;
mod rln;
mod services;
mod store;
mod v0;
mod v2;

pub(crate) use crossing::CrossingProbe;
pub(crate) use mail::MailProbe;
pub(crate) use store::StoreProbe;
pub(crate) use v0::V0Probe;
pub(crate) use v2::V2Probe;

/// The rooms that are looked at.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The waku/0 side.
    pub(crate) v0: Option<V0Probe>,
    /// The Waku Network side.
    pub(crate) v2: Option<V2Probe>,
    /// What is between the sides.
    pub(crate) crossing: Option<CrossingProbe>,
    /// What serves history.
    pub(crate) mail: Option<MailProbe>,
    /// What serves it on the Waku Network.
    pub(crate) store: Option<StoreProbe>,
    /// When this program began, as unix time.
    pub(crate) began: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// waku/0 peers whose Status was exchanged; `None` where there is no waku/0 node.
    pub(crate) v1_peers: Option<usize>,
    /// Waku Network peers that relay a bridged topic with us, or, where nothing is bridged, that are in the fullest mesh of a topic;
    /// `None` where there is no Waku Network node.
    pub(crate) v2_peers: Option<usize>,
    /// Are others told of nodes that were found?
    pub(crate) answers_exchange: bool,
    /// How rate-limit proofs are; `None` where none are verified.
    pub(crate) proofs: Option<crate::health::Proofs>,
    /// Which services it has, and whom it may ask for others.
    pub(crate) services: crate::health::Services,
    /// How far the clocks of others are ahead of ours, in seconds; `None` while too few peers say anything.
    pub(crate) clock_skew_secs: Option<f64>,
    /// Could the bridge write its journal when it last tried? `None` where nothing is bridged.
    pub(crate) journal_works: Option<bool>,
    /// Could the archive be written when that was last tried? `None` where there is none.
    pub(crate) archive_works: Option<bool>,
    /// The bridge's queues.
    pub(crate) queues: Vec<Queue>,
    /// All numbers, those of one name together.
    pub(crate) samples: Vec<Sample>,
    /// Names without a number yet.
    pub(crate) heads: Vec<Head>,
    /// When this program began, as unix time: since then counters count.
    pub(crate) began: Duration,
}

/// A name that has no number yet, since only use tells its labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    /// Its name, for counters without `_total`.
    pub(crate) name: &'static str,
    /// What it will count.
    pub(crate) help: &'static str,
    /// Of which kind: the amount itself is told nowhere.
    pub(crate) amount: Amount,
}

/// How full a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Which.
    pub(crate) stage: &'static str,
    /// What is in it.
    pub(crate) depth: usize,
    /// What fits in.
    pub(crate) bound: usize,
}

/// One number of the metrics.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Its name, for counters without `_total`.
    pub(crate) name: &'static str,
    /// What it counts.
    pub(crate) help: &'static str,
    /// What tells it from others of the name.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// How much.
    pub(crate) amount: Amount,
}

/// How much, and of which kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    /// Only grows.
    Counter(u64),
    /// The same, in seconds and parts of them.
    Seconds(f64),
    /// Goes up and down.
    Gauge(f64),
    /// How often up to which bound, not cumulative.
    Histogram {
        /// All values together.
        sum: f64,
        /// How many values.
        count: u64,
        /// Upper bounds, the last one infinite, and how many values each holds.
        buckets: Vec<(f64, u64)>,
    },
}

impl Probe {
    /// Looks once.
    pub(crate) async fn read(&self) -> Reading {
        let mut reading = Reading { began: self.began, ..Reading::default() };
        if let Some(v0) = &self.v0 {
            v0.read(&mut reading).await;
        }
        reading.samples.push(Sample {
            labels: vec![("version", crate::VERSION.into())],
            ..gauge("waku_version", "This program's version", 1)
        });
        if let Some(v2) = &self.v2 {
            v2.read(&mut reading).await;
        }
        if let Some(crossing) = &self.crossing {
            crossing.read(&mut reading).await;
        }
        reading.samples.extend(reading.v2_peers.map(|peers| {
            gauge(
                "libp2p_pubsub_peers",
                "Waku Network peers that relay with us, a bridged topic if any is",
                peers as u64,
            )
        }));
        if let Some(mail) = &self.mail {
            mail.read(&mut reading).await;
        }
        if let Some(store) = &self.store {
            store.read(&mut reading).await;
        }
        reading.samples.extend(process::samples(self.began));
        reading.samples.extend(reading.clock_skew_secs.map(|secs| Sample {
            name: "clock_skew_seconds",
            help: "How far the clocks of others are ahead of ours; missing while too few say anything",
            labels: Vec::new(),
            amount: Amount::Gauge(secs),
        }));
        names::complete(&mut reading, self.v0.is_some(), self.v2.is_some());
        reading
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn counter(name: &'static str, help: &'static str, n: u64) -> Sample {
    Sample { name, help, labels: Vec::new(), amount: Amount::Counter(n) }
}

fn gauge(name: &'static str, help: &'static str, n: u64) -> Sample {
    Sample { name, help, labels: Vec::new(), amount: Amount::Gauge(n as f64) }
}

/// How bridges call themselves: this program, and nwaku's bridge to waku/0, as other nodes of that program do.
const BRIDGES: [&str; 2] = ["causeway/", "nim-waku v1 node"];

/// Is this a name that bridges have? Anybody may have it: it is for operators to see, and nothing follows from it.
pub(crate) fn looks_like_a_bridge(client: &str) -> bool {
    BRIDGES.iter().any(|name| client.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bridges_are_recognised_by_how_they_begin() {
        for (client, expected) in [
            ("causeway/0.1.0", true),
            ("nim-waku v1 node", true),
            ("nwaku-v0.35.0", false),
            ("Statusd/v0.79.1/linux-amd64/go1.13", false),
            ("not a causeway/", false),
            ("", false),
        ] {
            assert_eq!(looks_like_a_bridge(client), expected, "{client}");
        }
    }
}
