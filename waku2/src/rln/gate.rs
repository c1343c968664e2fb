//! What becomes of a proof, from its bytes to its place in the log: the checks before and after its verification. Pure.
//!
//! [`Gate::look`] before, [`Gate::conclude`] when the verifier has answered, [`Gate::accepted`] once its message is accepted. Between
//! these a message waits elsewhere: to be verified ([`super::turns`]), or for its root ([`super::hold`]).

use std::sync::Arc;

use bytes::Bytes;
use devp2p::clock::Now;

use super::{
    check::{Claim, MAX_EPOCH_GAP, Terms, check},
    epoch::Epoch,
    hold::HOLD,
    nullifiers::{Nullifiers, Seen},
    roots::Roots,
};
use crate::{
    message::WakuMessage,
    proof::Finding,
    rules::{Position, Row, Rules},
};

/// What is to be done with a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// This was found.
    Found(Finding),
    /// Its root counts: it is to be verified.
    Verify(Claim),
    /// Its root is not known: it is to wait for that, and to be verified then.
    Hold(Claim),
}

/// The checks, and what they remember.
#[derive(Debug)]
pub struct Gate {
    terms: Terms,
    roots: Arc<Roots>,
    log: Nullifiers,
}

impl Gate {
    /// With nothing spent yet.
    #[must_use]
    pub fn new(terms: Terms, roots: Arc<Roots>) -> Self {
        // Whatever is current when it comes is still to be found at the end of its hold.
        let log = Nullifiers::new(terms.epochs, (MAX_EPOCH_GAP + HOLD).as_secs());
        Self { terms, roots, log }
    }

    /// The same with room for so many nullifiers.
    #[must_use]
    pub fn with_capacity(mut self, nullifiers: usize) -> Self {
        self.log = self.log.with_capacity(nullifiers);
        self
    }

    /// These count now.
    pub fn set_roots(&mut self, roots: Arc<Roots>) {
        self.roots = roots;
    }

    /// Those that count.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// What all members may have spent, as far as it is remembered.
    #[must_use]
    pub const fn log(&self) -> &Nullifiers {
        &self.log
    }

    /// Looks at the proof that stands in `message`.
    #[must_use]
    pub fn look(&self, message: &WakuMessage, proof: &Bytes, rules: &Rules, now: Now) -> Looked {
        let claim = match check(message, proof, &self.terms, rules, now) {
            Ok(claim) => claim,
            Err(finding) => return Looked::Found(finding),
        };
        // One proof has many spellings: who sends what was accepted in another one does not have it verified again.
        if self.log.look(self.present(now), &claim.spent) == Seen::Replay {
            return Looked::Found(Finding::Replay);
        }
        match (self.roots.contains(&claim.root), rules.of(Row::UnknownRoot)) {
            (true, _) => Looked::Verify(claim),
            (false, Position::Text) => Looked::Hold(claim),
            // While none is known at all it is ours that is missing, and nobody is to blame for that.
            (false, Position::Deployed) if self.roots.is_empty() => Looked::Found(Finding::Busy),
            (false, Position::Deployed) => Looked::Found(Finding::UnknownRoot),
        }
    }

    /// What is found of a claim, once it is known whether its proof holds.
    #[must_use]
    pub fn conclude(&self, claim: &Claim, holds: bool, now: Now) -> Finding {
        if !holds {
            return Finding::Invalid;
        }
        match self.log.look(self.present(now), &claim.spent) {
            Seen::New => Finding::Valid,
            Seen::Replay => Finding::Replay,
            Seen::DoubleSignal { .. } => Finding::DoubleSignal,
            Seen::Full => Finding::Busy,
        }
    }

    /// The message of this claim is accepted, or on its way as our own.
    pub fn accepted(&mut self, claim: &Claim, now: Now) {
        self.log.log(self.present(now), &claim.spent);
    }

    fn present(&self, now: Now) -> Epoch {
        self.terms.epochs.at(now.unix)
    }
}
