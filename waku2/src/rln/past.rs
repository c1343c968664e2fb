//! Proofs of messages that others kept, for who fetches what it missed.
//!
//! What counts of a proof of the past: its form and elements, that it is of its message and of the epoch of that message's time, that the
//! zero-knowledge proof holds, and that its root is among those that count now. Of roots before these it is not known here when they
//! counted, so that such a proof is not valid, true as it may be; nor is any while no root is known. The time itself is not held against
//! our clock, and what a member has spent in an epoch of the past is not counted.  Spec: 64/WAKU2-NETWORK, "discard messages without
//! valid proof".

use std::{sync::Arc, time::Duration};

use devp2p::clock::Now;

use super::{
    Config, Verify,
    check::{Claim, Terms, check},
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
}

impl Past {
    /// By the rules of a network.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { verifier: Arc::clone(&config.verifier), group: config.group.clone(), terms: config.terms }
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
