//! What is to be mined: as much of it as the pool has room for is with the pool, and the rest waits for room, the nearest deadline first.
//!
//! So a burst, or what an earlier life left, is not shed because the pool is small. Limit: each is a job, and jobs are bounded
//! ([`crate::config::Limits::max_jobs`]).

use std::collections::HashSet;

use crate::{
    config::Limits,
    job::JobId,
    seal::{SealJob, SealQueue},
};

#[derive(Debug)]
pub(crate) struct ToMine {
    waiting: SealQueue,
    with_pool: HashSet<JobId>,
    room: usize,
}

impl ToMine {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { waiting: SealQueue::of_bridge(limits), with_pool: HashSet::new(), room: limits.max_seal_jobs }
    }

    pub(crate) fn push(&mut self, job: SealJob) {
        // A queue for as much as there are jobs sheds nothing.
        let _ = self.waiting.push(job);
    }

    /// The next to hand to the pool, while it has room.
    pub(crate) fn next(&mut self) -> Option<SealJob> {
        let next = if self.with_pool.len() < self.room { self.waiting.pop() } else { None }?;
        self.with_pool.insert(next.job);
        Some(next)
    }

    /// How many wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The pool has answered.
    pub(crate) fn answered(&mut self, id: JobId) {
        self.with_pool.remove(&id);
    }

    /// It is not wanted any more. Does the pool have it?
    pub(crate) fn cancel(&mut self, id: JobId) -> bool {
        let pool_has_it = self.with_pool.remove(&id);
        if !pool_has_it {
            self.waiting.cancel(id);
        }
        pool_has_it
    }
}
