//! A bridge with what survives it, and what it did in this life.

use std::collections::{BTreeMap, BTreeSet};

use bridge::{Bridge, Config, Direction, JobId, history::Kept, seen::Fingerprint};
use devp2p::clock::Now;
use rand::{SeedableRng, rngs::StdRng};
use waku2::PeerId;

use super::{disk::Disk, users::pubsub};

pub(crate) struct Life {
    pub(crate) config: Config,
    pub(crate) bridge: Bridge,
    pub(crate) is_up: bool,
    /// Answers to an earlier life are not heard.
    pub(crate) number: u32,
    pub(crate) disk: Disk,
    pub(crate) rows: BTreeMap<Fingerprint, Kept>,
    /// Jobs of this life whose beginning is on disk.
    pub(crate) noted: BTreeSet<JobId>,
    /// In this life.
    pub(crate) given: usize,
    pub(crate) ended: usize,
    /// When it first heard of each content, in milliseconds.
    pub(crate) heard: BTreeMap<Fingerprint, u64>,
    /// When it was not up, in milliseconds.
    pub(crate) down: Vec<(u64, u64)>,
}

impl Life {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let bridge = Bridge::new(config.clone(), StdRng::seed_from_u64(seed)).unwrap();
        Self {
            config,
            bridge,
            is_up: true,
            number: 0,
            disk: Disk::default(),
            rows: BTreeMap::new(),
            noted: BTreeSet::new(),
            given: 0,
            ended: 0,
            heard: BTreeMap::new(),
            down: Vec::new(),
        }
    }

    /// All that is not on disk is gone.
    pub(crate) fn crash(&mut self, at: u64, seed: u64) {
        self.is_up = false;
        self.number += 1;
        self.noted.clear();
        (self.given, self.ended) = (0, 0);
        self.down.push((at, u64::MAX));
        self.bridge = Bridge::new(self.config.clone(), StdRng::seed_from_u64(seed)).unwrap();
    }

    pub(crate) fn start(&mut self, now: Now, at: u64) {
        self.is_up = true;
        if let Some((_, until)) = self.down.last_mut() {
            *until = at;
        }
        self.bridge.recall(now, &self.disk.ended());
        let own: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        for unfinished in self.disk.unfinished() {
            self.given += 1;
            self.bridge.resume(now, &unfinished, own);
        }
    }

    pub(crate) fn sees_peers(&mut self, now: Now, v1: usize, v2: usize) {
        self.bridge.v0_peers(now, v1);
        self.bridge.v2_peers(now, &pubsub(), v2);
    }

    pub(crate) fn waiting(&self) -> usize {
        Direction::ALL.iter().map(|way| self.bridge.depths().total(*way)).sum()
    }
}
