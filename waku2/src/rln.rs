//! Rate-limit proofs (RLN v2): what stands on the wire, what it claims, and what must hold before a claim counts.
//!
//! | Module | What |
//! |---|---|
//! | [`element`] | a field element in its one form |
//! | [`epoch`] | the span of time in which a member has so many messages |
//! | [`proof`] | `RateLimitProof`, its protobuf |
//! | [`signal`] | what a proof is bound to |
//! | [`roots`] | the groups that count |
//! | [`past`] | proofs of what others kept |
//! | [`check`] | what is looked at before a proof is verified |
//! | [`nullifiers`] | what members have spent |
//! | [`gate`] | both together: what becomes of a proof |
//! | [`hold`] | messages whose root is not known yet |
//! | [`turns`], [`blame`] | a queue that is fair to peers; who brings what does not hold |
//! | `pool` | the shell: verifies on threads of its own, in batches |
//! | `attach` | proofs of own messages |
//! | [`counters`] | what is counted |
//!
//! Pure but for `pool` and `attach`, and without the curve: pairings, Poseidon and trees are behind [`Verify`], contracts behind
//! [`roots::Known`], so that who does without proofs builds neither.  Spec: 17/WAKU2-RLN-RELAY, 64/WAKU2-NETWORK; deployed: nwaku.

use std::{fmt, sync::Arc};

use futures::future::{BoxFuture, ready};

pub(crate) mod attach;
pub mod blame;
pub mod check;
pub mod counters;
pub mod element;
pub mod epoch;
pub mod gate;
pub mod hold;
pub mod nullifiers;
pub mod past;
pub mod pool;
pub mod proof;
pub mod roots;
pub mod signal;
pub mod turns;

use attach::Attach;
use check::Terms;
use epoch::{Epoch, EpochLength};
use gate::Gate;
use proof::{IDENTIFIER, RateLimitProof};
use roots::Known;
use signal::Signal;

/// A network's proofs, as [`crate::validate::Policy`] has them: who verifies, who is a member, who proves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who verifies.
    pub verifier: Arc<dyn Verify>,
    /// The roots that count, as they change.
    pub group: Known,
    /// Who makes proofs of own messages; without one they go out as they are.
    pub prover: Option<Arc<dyn Prove>>,
    /// What the network asks for.
    pub terms: Terms,
    /// Batches verified at a time; at least one.
    pub workers: usize,
    /// Invalid proofs of a peer in a minute that are borne; it is left at the next one.
    pub invalid_a_minute: usize,
}

impl Config {
    /// Verifies as on The Waku Network, and makes no proofs.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verify>, group: Known) -> Self {
        Self {
            verifier,
            group,
            prover: None,
            terms: Terms { epochs: EpochLength::default(), identifier: IDENTIFIER },
            workers: pool::WORKERS,
            invalid_a_minute: blame::INVALID_A_MINUTE,
        }
    }

    /// The checks, with the roots that are known now.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate::new(self.terms, Arc::clone(&self.group.roots.borrow()))
    }

    /// What attaches proofs to own messages.
    pub(crate) fn attach(&self) -> Option<Attach> {
        self.prover.as_ref().map(|prover| Attach::new(Arc::clone(prover), self.terms.epochs))
    }
}

impl PartialEq for Config {
    /// The same verifier, prover and group, not equal ones: these cannot be compared.
    fn eq(&self, other: &Self) -> bool {
        let same_prover = match (&self.prover, &other.prover) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (own, others) => own.is_none() && others.is_none(),
        };
        same_prover
            && Arc::ptr_eq(&self.verifier, &other.verifier)
            && self.group.roots.same_channel(&other.group.roots)
            && (self.terms, self.workers, self.invalid_a_minute) == (other.terms, other.workers, other.invalid_a_minute)
    }
}

impl Eq for Config {}

/// Who checks proofs. Blocking work of milliseconds: for threads that may block.
pub trait Verify: fmt::Debug + Send + Sync {
    /// Does each hold? One answer for each of `proofs`, in their order. That is: the zk-SNARK for its root, share, nullifier and the
    /// external nullifier of its epoch and identifier. Not looked at: whether the root counts, the share is of the right signal,
    /// the epoch is current.
    fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool>;
}

/// Who makes proofs of own messages, within the rate of own memberships.
pub trait Prove: fmt::Debug + Send + Sync {
    /// A proof of `signal` in `epoch`, out of what is kept for `class` or of what is kept for none. The message id that it takes is
    /// written down before and never taken again, also when the caller stops waiting.
    fn prove(
        &self,
        signal: Signal,
        epoch: Epoch,
        class: Option<Arc<str>>,
    ) -> BoxFuture<'_, Result<RateLimitProof, NoProof>>;
}

/// Proves nothing, for want of a membership: what has no proof is not published then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nobody;

impl Prove for Nobody {
    fn prove(&self, _: Signal, _: Epoch, _: Option<Arc<str>>) -> BoxFuture<'_, Result<RateLimitProof, NoProof>> {
        Box::pin(ready(Err(NoProof::NotReady)))
    }
}

/// Why there is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoProof {
    /// All messages of the epoch are spent.
    #[error("no message id left in this epoch")]
    OutOfIds,
    /// No membership, or its place in the group is not known yet.
    #[error("no membership is ready")]
    NotReady,
    /// The pool of provers has no room.
    #[error("too many proofs are being made")]
    Busy,
    /// The proof could not be made, or its id not be written down.
    #[error("the proof could not be made")]
    Failed,
}

impl NoProof {
    /// In the words of deployed nodes, which clients match on.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::OutOfIds => format!("could not get new message id to generate an rln proof: {self}"),
            Self::NotReady | Self::Busy | Self::Failed => format!("could not generate rln-v2 proof: {self}"),
        }
    }
}
