//! What the shell does with messages whose proofs take time: they wait to be verified, or for their root, and end as others do.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use devp2p::clock::{Now, now};
use libp2p::{PeerId, gossipsub::MessageId};
use tokio::{
    sync::{Notify, watch},
    time,
};

use super::{Node, events::Arrival};
use crate::{
    handle::{Counters, Publication},
    proof::Finding,
    rln::{
        self,
        blame::Blame,
        counters,
        hold::Hold,
        pool::{Answer, Pool},
        roots::Roots,
    },
    validate::{Pending, Verdict},
};

/// A message on its way, and whoever waits for its end.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pending: Box<Pending>,
    pub(super) purpose: Purpose,
}

/// Why it is judged.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A peer brought it, and gossip asks.
    Relay { from: PeerId, id: MessageId },
    /// It is to be published.
    Publish(Publication),
}

/// Where messages wait.
#[derive(Debug)]
pub(super) struct Proofs {
    pool: Pool<Waiting>,
    hold: Hold<PeerId, Waiting>,
    blame: Blame<PeerId>,
    /// `None` once nobody follows the group any more.
    roots: Option<watch::Receiver<Arc<Roots>>>,
    look: Arc<Notify>,
}

/// What came of waiting.
pub(super) enum News {
    Answers(Vec<Answer<Waiting>>),
    Roots(Arc<Roots>),
    HeldLongEnough,
}

impl Proofs {
    pub(super) fn new(config: &rln::Config) -> Self {
        let mut roots = config.group.roots.clone();
        // What came between the validator's look and this one is told as a change.
        roots.mark_changed();
        Self {
            pool: Pool::new(Arc::clone(&config.verifier), config.workers),
            hold: Hold::default(),
            blame: Blame::new(config.invalid_a_minute),
            roots: Some(roots),
            look: Arc::clone(&config.group.look),
        }
    }

    /// What comes next; never, where no proofs are verified. Safe to cancel.
    pub(super) async fn news(proofs: &mut Option<Self>, counters: &Counters) -> News {
        let Some(Self { pool, roots, hold, .. }) = proofs else { return pending().await };
        tokio::select! {
            answers = pool.answers(&counters.rln) => News::Answers(answers),
            changed = changed(roots) => News::Roots(changed),
            () = at(hold.next()) => News::HeldLongEnough,
        }
    }

    fn show(&self, counters: &counters::Counters, nullifiers: usize) {
        counters.waiting.store(self.pool.len() as u64, Relaxed);
        counters.held.store(self.hold.len() as u64, Relaxed);
        counters.nullifiers.store(nullifiers as u64, Relaxed);
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => time::sleep_until(when.into()).await,
        None => pending().await,
    }
}

async fn changed(roots: &mut Option<watch::Receiver<Arc<Roots>>>) -> Arc<Roots> {
    if let Some(receiver) = roots {
        if receiver.changed().await.is_ok() {
            return Arc::clone(&receiver.borrow_and_update());
        }
        *roots = None;
    }
    pending().await
}

impl Node {
    /// Has the proof of a message verified, when there is room.
    pub(super) fn verify(&mut self, waiting: Waiting) {
        let Some(proofs) = &mut self.proofs else { return self.ended(waiting, Finding::Unverified, now()) };
        let (peer, proof) = (waiting.peer(self.swarm.local_peer_id()), waiting.pending.claim.proof.clone());
        let dropped = proofs.pool.verify(peer, proof, waiting);
        self.overloaded(dropped, Finding::Busy);
    }

    /// Keeps a message until its root is known, and has somebody look for that at once.
    pub(super) fn hold(&mut self, waiting: Waiting) {
        let Some(proofs) = &mut self.proofs else { return self.ended(waiting, Finding::Unverified, now()) };
        counters::Counters::one(&self.counters.rln.were_held);
        proofs.look.notify_one();
        let (peer, root) = (waiting.peer(self.swarm.local_peer_id()), waiting.pending.claim.root);
        let dropped = proofs.hold.push(now().instant, peer, root, waiting);
        self.overloaded(dropped, Finding::UnknownRoot);
    }

    fn overloaded(&mut self, dropped: Option<Waiting>, finding: Finding) {
        if let Some(dropped) = dropped {
            counters::Counters::one(&self.counters.rln.overload);
            self.ended(dropped, finding, now());
        }
        self.show_proofs();
    }

    pub(super) fn on_proofs(&mut self, news: News) {
        match news {
            News::Answers(answers) => answers.into_iter().for_each(|answer| self.answered(answer)),
            News::Roots(roots) => {
                let known = self.proofs.as_mut().map(|proofs| proofs.hold.known(&roots)).unwrap_or_default();
                self.validator.set_roots(roots);
                self.counters.rln.came_in_time.fetch_add(known.len() as u64, Relaxed);
                known.into_iter().for_each(|waiting| self.verify(waiting));
            }
            News::HeldLongEnough => self.stop_holding(),
        }
        self.show_proofs();
    }

    fn answered(&mut self, Answer { item: waiting, holds }: Answer<Waiting>) {
        let now = now();
        let finding = match holds {
            Some(holds) => self.validator.conclude(&waiting.pending, holds, now),
            None => Finding::Busy,
        };
        if holds.is_none() || finding == Finding::Busy {
            counters::Counters::one(&self.counters.rln.overload);
        }
        self.ended(waiting, finding, now);
    }

    /// Ends those that were held for too long.
    fn stop_holding(&mut self) {
        let now = now();
        let expired = self.proofs.as_mut().map(|proofs| proofs.hold.expired(now.instant)).unwrap_or_default();
        expired.into_iter().for_each(|waiting| self.ended(waiting, Finding::UnknownRoot, now));
    }

    /// A message has waited, and this is found.
    fn ended(&mut self, Waiting { pending, purpose }: Waiting, finding: Finding, now: Now) {
        let verdict = self.validator.verdict(finding);
        match purpose {
            Purpose::Publish(publication) => self.publish_judged(publication, verdict, Some(&pending)),
            Purpose::Relay { from, id } => {
                if !self.subscriptions.contains(&pending.topic) {
                    // It was left meanwhile: nobody judges it any more.
                    return;
                }
                if verdict == Verdict::Accept {
                    self.validator.accepted(&pending, now);
                }
                let Pending { topic, data, message, .. } = *pending;
                let message = (verdict == Verdict::Accept).then_some(message);
                let proven = finding == Finding::Valid;
                self.arrived(now, Arrival { from, id: &id, topic, data, proven }, verdict, message);
            }
        }
    }

    /// A proof of this peer does not hold. Who brings too many of these costs too much.
    pub(super) fn blame(&mut self, peer: &PeerId) {
        let Some(proofs) = &mut self.proofs else { return };
        // Who is gone is not counted: nobody would forget it.
        if self.peers.contains(peer) && proofs.blame.invalid(now().instant, *peer) {
            counters::Counters::one(&self.counters.rln.left);
            self.leave(peer, &"too many of its proofs do not hold");
        }
    }

    pub(super) fn forget_blame(&mut self, peer: &PeerId) {
        if let Some(proofs) = &mut self.proofs {
            proofs.blame.gone(peer);
        }
    }

    fn show_proofs(&self) {
        if let (Some(proofs), Some(gate)) = (&self.proofs, self.validator.gate()) {
            proofs.show(&self.counters.rln, gate.log().len());
        }
    }
}

impl Waiting {
    /// Whose turn it takes.
    fn peer(&self, own: &PeerId) -> PeerId {
        match &self.purpose {
            Purpose::Relay { from, .. } => *from,
            Purpose::Publish(publication) => publication.from.unwrap_or(*own),
        }
    }
}
