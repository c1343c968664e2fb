//! Rate-limit proofs, in a program that was built without them: there are none.

use std::{path::Path, time::Duration};

use waku2::rln::Config;

use crate::{
    config::{reserves::Reserves, rln::Rln},
    health::Proofs,
};

/// Nothing.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum StartError {}

/// Nothing.
#[derive(Debug)]
pub(crate) enum Room {}

impl Room {
    pub(crate) async fn start(config: Rln, _: &Path) -> Result<(Self, Config), StartError> {
        match config {}
    }

    pub(crate) const fn probe(&self) -> Probe {
        match *self {}
    }

    pub(crate) const fn shares(&self) -> Shares {
        match *self {}
    }

    pub(crate) async fn failed(&mut self) -> &'static str {
        match *self {}
    }
}

/// Nothing.
#[derive(Debug, Clone)]
pub(crate) enum Shares {}

impl Shares {
    pub(crate) async fn keep(&self, _: &Reserves) {
        match *self {}
    }
}

/// Nothing.
#[derive(Debug, Clone)]
pub(crate) enum Probe {}

/// Numbers of nothing.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) members: u32,
    pub(crate) left: Vec<(u32, u64)>,
    pub(crate) took: Took,
}

/// The same.
#[derive(Debug, Default)]
pub(crate) struct Took {
    pub(crate) reading: Duration,
    pub(crate) opening: Duration,
}

impl Probe {
    pub(crate) const fn health(&self) -> Proofs {
        match *self {}
    }

    pub(crate) async fn numbers(&self) -> Numbers {
        match *self {}
    }
}
