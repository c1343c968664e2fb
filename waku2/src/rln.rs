//! Rate-limit proofs (RLN v2): what stands on the wire, what it claims, and what must hold before a claim counts.
//!
//! | Module | What |
//! |---|---|
//! | [`element`] | a field element in its one form |
//! | [`epoch`] | the span of time in which a member has so many messages |
//! | [`proof`] | `RateLimitProof`, its protobuf |
//! | [`signal`] | what a proof is bound to |
//! | [`roots`] | the groups that count |
//!
//! Pure, and without the curve: pairings, Poseidon and trees are behind [`Verify`], contracts behind [`roots::Known`], so that who
//! does without proofs builds neither.  Spec: 17/WAKU2-RLN-RELAY, 64/WAKU2-NETWORK; deployed: nwaku.

use std::fmt;

use futures::future::BoxFuture;

pub mod element;
pub mod epoch;
pub mod proof;
pub mod roots;
pub mod signal;

use epoch::Epoch;
use proof::RateLimitProof;
use signal::Signal;

/// Who checks proofs. Blocking work of milliseconds: for threads that may block.
pub trait Verify: fmt::Debug + Send + Sync {
    /// Does each hold? One answer for each of `proofs`, in their order. That is: the zk-SNARK for its root, share, nullifier and the
    /// external nullifier of its epoch and identifier. Not looked at: whether the root counts, the share is of the right signal,
    /// the epoch is current.
    fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool>;
}

/// Who makes proofs of own messages, within the rate of own memberships.
pub trait Prove: fmt::Debug + Send + Sync {
    /// A proof of `signal` in `epoch`. The message id that it takes is written down before and never taken again, also when the
    /// caller stops waiting.
    fn prove(&self, signal: Signal, epoch: Epoch) -> BoxFuture<'_, Result<RateLimitProof, NoProof>>;
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
