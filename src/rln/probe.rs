//! What health and metrics tell of proofs.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use devp2p::clock::now;
use membership::{follow::Health, ids::Ids};
use tokio::{sync::watch, task::spawn_blocking};
use waku2::rln::{epoch::EpochLength, roots::Known};

use super::{Mine, locked, standing::Standing};
use crate::{health::Proofs, output::utc};

/// What is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(super) known: Known,
    pub(super) health: Option<watch::Receiver<Health>>,
    pub(super) members: Arc<AtomicU32>,
    pub(super) standing: watch::Receiver<Arc<Standing>>,
    pub(super) ids: Option<Arc<Mutex<Ids>>>,
    pub(super) mine: Vec<Mine>,
    pub(super) epochs: EpochLength,
    pub(super) took: Took,
}

/// How long the start took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    /// To read key and circuit.
    pub(crate) reading: Duration,
    /// To open the keystores; the time in which a person types the password is part of it.
    pub(crate) opening: Duration,
}

/// Numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// In the group.
    pub(crate) members: u32,
    /// Messages left in this epoch, by the index of a membership of ours.
    pub(crate) left: Vec<(u32, u64)>,
    /// How long the start took.
    pub(crate) took: Took,
}

impl Probe {
    /// Can proofs be verified, and made if they are to be?
    pub(crate) fn health(&self) -> Proofs {
        let failing = self.health.as_ref().and_then(|health| health.borrow().failing.clone());
        let down = failing.map(|failing| {
            let since = utc(failing.since.as_secs());
            format!("no provider of the chain has told the root of the group since {since}: {}", failing.fault)
        });
        let lacks = if self.known.roots.borrow().is_empty() {
            Some("no root of the group is known yet")
        } else if down.is_some() {
            Some("no provider of the chain answers")
        } else if !self.mine.is_empty() && self.standing.borrow().members.is_empty() {
            Some("no membership is in the group")
        } else {
            None
        };
        Proofs { lacks, detail: down }
    }

    /// How many members, and what is left to ours.
    pub(crate) async fn numbers(&self) -> Numbers {
        let (mine, epoch) = (self.mine.clone(), self.epochs.at(now().unix));
        let left = match self.ids.clone() {
            // Somebody may be writing an id down.
            Some(ids) => spawn_blocking(move || {
                let budget = locked(&ids).budget(epoch);
                let index = |commitment| mine.iter().find(|mine| mine.commitment == commitment).map(|mine| mine.index);
                let left = budget.memberships.into_iter().filter_map(|(who, left)| Some((index(who)?, left)));
                left.collect()
            })
            .await
            .unwrap_or_default(),
            None => Vec::new(),
        };
        Numbers { members: self.members.load(Relaxed), left, took: self.took }
    }
}
