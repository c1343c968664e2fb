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
    Unanswered,
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
        let due = pool.next();
        tokio::select! {
            answers = pool.answers(&counters.rln) => News::Answers(answers),
            changed = changed(roots) => News::Roots(changed),
            () = at(hold.next()) => News::HeldLongEnough,
            () = at(due) => News::Unanswered,
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
        let dropped = proofs.pool.verify(now().instant, peer, proof, waiting);
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
            News::Unanswered => self.stop_waiting(now()),
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

    /// Ends those whose proof the verifier says nothing of. Nobody is to blame for that but us.
    fn stop_waiting(&mut self, now: Now) {
        let counters = Arc::clone(&self.counters);
        let late = self.proofs.as_mut().map(|proofs| proofs.pool.late(now.instant, &counters.rln)).unwrap_or_default();
        if !late.is_empty() {
            tracing::error!(messages = late.len(), "the verifier of proofs does not answer: messages are ignored");
        }
        late.into_iter().for_each(|waiting| self.ended(waiting, Finding::Busy, now));
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    };

    use libp2p::gossipsub::{Message, TopicHash};
    use tokio::sync::mpsc;

    use super::{super::build, *};
    use crate::{
        ClusterId, Config, WakuMessage,
        message::Meta,
        rln::{
            Verify,
            element::Element,
            epoch::EpochLength,
            pool::ANSWER_WITHIN,
            proof::{IDENTIFIER, RateLimitProof},
            roots,
            signal::Signal,
        },
        validate::{Policy, Reason},
    };

    /// Answers once it is let.
    #[derive(Debug)]
    struct Silent(Mutex<Receiver<()>>);

    impl Verify for Silent {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            let _ = self.0.lock().unwrap().recv();
            vec![true; proofs.len()]
        }
    }

    /// A message of now, in order but for its proof, of which only a verifier can tell.
    fn proven() -> WakuMessage {
        let bare = WakuMessage {
            payload: "x".into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp: Some(now().unix_nanos()),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        let proof = RateLimitProof {
            snark: [1; 128],
            root: *Element::from(1).bytes(),
            epoch: EpochLength::default().at(now().unix).bytes(),
            share_x: *Signal::of(&bare).x().bytes(),
            share_y: *Element::from(2).bytes(),
            nullifier: *Element::from(3).bytes(),
            identifier: IDENTIFIER,
        };
        WakuMessage { rate_limit_proof: Some(proof.encode()), ..bare }
    }

    #[tokio::test]
    async fn h80_a_message_whose_verifier_does_not_answer_is_ignored_and_its_peer_not_blamed() {
        let ((go, gone), (follow, known)) = (sync_channel(1), roots::follow());
        follow.now(Element::from(1));
        let rln = Some(rln::Config::new(Arc::new(Silent(Mutex::new(gone))), known));
        let topics = vec!["/waku/2/rs/1/1".parse().unwrap()];
        let topic = TopicHash::from_raw("/waku/2/rs/1/1");
        let config = Config {
            cluster: ClusterId(1),
            topics,
            policy: Policy { rln, ..Policy::default() },
            ..Config::new([1; 32])
        };
        let (events, _events) = mpsc::channel(8);
        let (handle, mut node) = build(config, events).unwrap();
        let message = Message { source: None, data: proven().encode().to_vec(), sequence_number: None, topic };
        node.on_message(PeerId::random(), &MessageId::new(&[1]), message);
        let counters = handle.counters();
        let ends = || {
            let ignored = counters.ignored[Reason::Busy.index()].load(Relaxed);
            (ignored, counters.rln.late.load(Relaxed), counters.rejected_total(), counters.accepted.load(Relaxed))
        };
        node.on_proofs(News::Unanswered);
        assert_eq!(ends(), (0, 0, 0, 0), "it still has time");
        node.stop_waiting(now().after(ANSWER_WITHIN));
        assert_eq!(ends(), (1, 1, 0, 0));
        go.send(()).unwrap();
        // What it says in the end nobody waits for.
        loop {
            let news = Proofs::news(&mut node.proofs, &counters).await;
            let is_over = matches!(&news, News::Answers(answers) if answers.is_empty());
            node.on_proofs(news);
            if is_over {
                break;
            }
        }
        assert_eq!(ends(), (1, 1, 0, 0));
    }
}
