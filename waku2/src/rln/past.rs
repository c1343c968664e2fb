//! Proofs of messages that others kept, for who fetches what it missed.
//!
//! What counts of a proof of the past: its form and elements, that it is of its message and of the epoch of that message's time, that the
//! zero-knowledge proof holds, and that its root is among those that count now. Of roots before these it is not known here when they
//! counted, so that such a proof is not valid, true as it may be; nor is any while no root is known. The time itself is not held against
//! our clock, and what a member has spent in an epoch of the past is not counted.  Spec: 64/WAKU2-NETWORK, "discard messages without
//! valid proof".
//!
//! [`Past::judge`] is the shell. Limits: one question at a time, [`ANSWER_WITHIN`] for its turn and its answer. A verifier that
//! does not come back keeps the turn, so that no more than one thread is lost to it; who asks then is told [`Unanswered`].

use std::{sync::Arc, time::Duration};

use devp2p::clock::Now;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    Config, Verify,
    check::{Claim, Terms, check},
    pool::ANSWER_WITHIN,
    proof::RateLimitProof,
    roots::{Known, Roots},
};
use crate::{
    message::WakuMessage,
    rules::{Position, Row, Rules},
};

/// Who judges them.
#[derive(Debug, Clone)]
pub struct Past {
    verifier: Arc<dyn Verify>,
    group: Known,
    terms: Terms,
    turn: Arc<Semaphore>,
    within: Duration,
}

/// The verifier has not answered in its time, which is [`ANSWER_WITHIN`]: of no message is anything known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the verifier of proofs does not answer")]
pub struct Unanswered;

impl Past {
    /// By the rules of a network.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (verifier, group) = (Arc::clone(&config.verifier), config.group.clone());
        Self { verifier, group, terms: config.terms, turn: Arc::new(Semaphore::new(1)), within: ANSWER_WITHIN }
    }

    /// The same with another time for an answer.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// As [`Self::holds`], on a thread that may block. None has a valid proof where the verifier does not survive them. Cancelling
    /// lets the work go on unseen.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn judge(&self, messages: Vec<WakuMessage>, now: Now) -> Result<Vec<bool>, Unanswered> {
        let (past, count) = (self.clone(), messages.len());
        let answer = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Unanswered)?;
            let judged = spawn_blocking(move || {
                let held = past.holds(&messages, now);
                drop(turn);
                held
            });
            Ok(judged.await.unwrap_or_else(|_| vec![false; count]))
        };
        timeout(self.within, answer).await.unwrap_or(Err(Unanswered))
    }

    /// Does each of `messages` have a valid proof? One answer for each, in their order. Blocking work of milliseconds for each.
    #[must_use]
    pub fn holds(&self, messages: &[WakuMessage], now: Now) -> Vec<bool> {
        let roots = Arc::clone(&self.group.roots.borrow());
        let claims: Vec<_> = messages.iter().map(|message| claim(message, &self.terms, &roots, now)).collect();
        let proofs: Vec<RateLimitProof> = claims.iter().flatten().map(|claim| claim.proof.clone()).collect();
        let mut verified = if proofs.is_empty() { Vec::new() } else { self.verifier.verify(&proofs) }.into_iter();
        claims.iter().map(|claim| claim.is_some() && verified.next().unwrap_or(false)).collect()
    }
}

/// What a message claims, if all that costs little holds.
fn claim(message: &WakuMessage, terms: &Terms, roots: &Roots, now: Now) -> Option<Claim> {
    let sent = Duration::from_nanos(u64::try_from(message.timestamp?).ok()?);
    // The epoch is to be that of the message's time, whatever is let through of what is live.
    let rules = Rules::all(Position::Text).with(Row::OtherEpoch, Position::Deployed);
    let claim = check(message, message.rate_limit_proof.as_ref()?, terms, &rules, Now { unix: sent, ..now }).ok()?;
    roots.contains(&claim.root).then_some(claim)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{self, Receiver},
    };

    use devp2p::clock;

    use super::*;
    use crate::{
        message::Meta,
        rln::{
            element::{ELEMENT_BYTES, Element},
            epoch::Epoch,
            proof::IDENTIFIER,
            roots::{Follow, follow},
            signal::Signal,
        },
    };

    const SENT_SECS: u64 = 1_600_000_000;

    /// Holds proofs for true whose y is not zero.
    #[derive(Debug)]
    struct NotZero;

    impl Verify for NotZero {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            proofs.iter().map(|proof| proof.share_y != [0; ELEMENT_BYTES]).collect()
        }
    }

    fn judge() -> (Follow, Past) {
        let (follow, known) = follow();
        (follow, Past::new(&Config::new(Arc::new(NotZero), known)))
    }

    /// A message of 2020 with a proof, and with what is made of that.
    fn message(change: impl FnOnce(&mut RateLimitProof)) -> WakuMessage {
        let bare = WakuMessage {
            payload: "x".into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp: Some(SENT_SECS as i64 * 1_000_000_000),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        let mut proof = RateLimitProof {
            snark: [1; 128],
            root: *Element::from(1).bytes(),
            epoch: Epoch(SENT_SECS / 600).bytes(),
            share_x: *Signal::of(&bare).x().bytes(),
            share_y: *Element::from(2).bytes(),
            nullifier: *Element::from(3).bytes(),
            identifier: IDENTIFIER,
        };
        change(&mut proof);
        WakuMessage { rate_limit_proof: Some(proof.encode()), ..bare }
    }

    #[test]
    fn an_old_message_counts_by_its_own_time_while_its_root_does() {
        let (follow, past) = judge();
        let whole = message(|_| ());
        assert_eq!(past.holds(std::slice::from_ref(&whole), clock::now()), [false], "no root is known");
        follow.now(Element::from(9));
        assert_eq!(past.holds(std::slice::from_ref(&whole), clock::now()), [false], "another one is");
        follow.now(Element::from(1));
        assert_eq!(past.holds(&[whole], clock::now()), [true]);
        assert_eq!(past.holds(&[], clock::now()), [false; 0]);
    }

    /// Answers once it is let.
    #[derive(Debug)]
    struct Silent(Mutex<Receiver<()>>);

    impl Verify for Silent {
        fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
            self.0.lock().unwrap().recv().unwrap();
            vec![true; proofs.len()]
        }
    }

    #[tokio::test]
    async fn h80_a_verifier_that_does_not_answer_holds_up_nobody_who_asks_about_the_past() {
        let ((go, gone), (follow, known)) = (mpsc::sync_channel(3), follow());
        follow.now(Element::from(1));
        let past = Past::new(&Config::new(Arc::new(Silent(Mutex::new(gone))), known));
        assert_eq!(past.within, ANSWER_WITHIN);
        let impatient = past.clone().within(Duration::ZERO);
        // The second waits for the turn of the first, which is still taken.
        for _ in 0..2 {
            assert_eq!(impatient.judge(vec![message(|_| ())], clock::now()).await, Err(Unanswered));
        }
        go.send(()).unwrap();
        drop(past.turn.acquire().await.unwrap());
        go.send(()).unwrap();
        assert_eq!(past.judge(vec![message(|_| ())], clock::now()).await, Ok(vec![true]));
        // One that it does not survive is not valid, and its turn is over.
        drop(go);
        for _ in 0..2 {
            assert_eq!(past.judge(vec![message(|_| ())], clock::now()).await, Ok(vec![false]));
        }
    }

    #[test]
    fn each_is_judged_by_itself_and_in_its_place() {
        let (follow, past) = judge();
        follow.now(Element::from(1));
        let messages = [
            message(|_| ()),
            message(|proof| proof.share_y = [0; ELEMENT_BYTES]),
            WakuMessage { rate_limit_proof: None, ..message(|_| ()) },
            message(|_| ()),
            WakuMessage { rate_limit_proof: Some("a proof".into()), ..message(|_| ()) },
            WakuMessage { payload: "y".into(), ..message(|_| ()) },
            message(|proof| proof.epoch = Epoch(SENT_SECS / 600 + 1).bytes()),
            message(|proof| proof.identifier = [7; ELEMENT_BYTES]),
            message(|proof| proof.root = *Element::from(2).bytes()),
            WakuMessage { timestamp: None, ..message(|_| ()) },
            WakuMessage { timestamp: Some(-1), ..message(|_| ()) },
            message(|_| ()),
        ];
        let held = past.holds(&messages, clock::now());
        let which: Vec<usize> = held.iter().enumerate().filter(|(_, held)| **held).map(|(place, _)| place).collect();
        assert_eq!((held.len(), which), (messages.len(), vec![0, 3, 11]));
    }
}
