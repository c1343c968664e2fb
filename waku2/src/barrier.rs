//! What was told to peers before, has reached them: known when each has answered a question that was asked behind it.
//!
//! Gossip says of nothing when it has left, and takes its time for the first: streams are still being agreed on while a program
//! that publishes once would stop. One connection keeps its order, so that the answer to a question asked later shows that what went
//! before has arrived. The question is metadata's, which every Waku node answers. Pure.
//!
//! Limit: [`MAX_BARRIERS`] at a time; one too many is passed at once.

use std::collections::HashSet;

use libp2p::request_response::OutboundRequestId;
use tokio::sync::oneshot;

/// Barriers at a time, each with as many questions as there are peers.
pub(crate) const MAX_BARRIERS: usize = 16;

/// Questions that somebody waits behind.
#[derive(Debug, Default)]
pub(crate) struct Barriers(Vec<Barrier>);

#[derive(Debug)]
struct Barrier {
    open: HashSet<OutboundRequestId>,
    done: oneshot::Sender<()>,
}

impl Barriers {
    /// Is there room for another one?
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < MAX_BARRIERS
    }

    /// Waits for the answers to these questions; `done` is answered when none is open any more.
    pub(crate) fn put(&mut self, open: HashSet<OutboundRequestId>, done: oneshot::Sender<()>) {
        self.0.push(Barrier { open, done });
        self.lift();
    }

    /// A question was answered, or never will be. True when somebody waited for it.
    pub(crate) fn answered(&mut self, question: OutboundRequestId) -> bool {
        let waited = self.0.iter_mut().filter_map(|barrier| barrier.open.remove(&question).then_some(())).count() > 0;
        if waited {
            self.lift();
        }
        waited
    }

    /// Answers those that nothing is open of, and forgets those that nobody waits behind any more.
    fn lift(&mut self) {
        for barrier in self.0.extract_if(.., |barrier| barrier.open.is_empty() || barrier.done.is_closed()) {
            // Whoever asked may have stopped waiting.
            let _ = barrier.done.send(());
        }
    }
}
