//! Making a proof.
//!
//! What a proof needs of the member and its place in the tree is worked out once for each root, as [`Ready`]; from it a message's proof
//! takes a third of the time. Each proof made is verified before it is given away: one that does not hold would cost score.
//!
//! Blocking work of a tenth of a second and more, on the one thread that calls: see [`crate::pool`].
//! Spec: 17/WAKU2-RLN-RELAY, RLN-V2.

use std::{fmt, sync::Arc};

use ark_serialize::CanonicalSerialize as _;
use rln::prelude::{
    ArkGroth16Backend, GenerateProofError, PartialProof, PoseidonHash, Proof, RLN, RLNBuilder, RLNMerkleProof,
    RLNPartialWitnessInput, RLNProofValues, RLNWitnessInput, Stateless,
};
use waku2::rln::{
    Verify as _,
    element::{ELEMENT_BYTES, Element},
    epoch::Epoch,
    proof::{RateLimitProof, SNARK_BYTES},
};

use crate::{
    field::{element, scalar},
    identity::{Identity, Limit},
    poseidon::external_nullifier,
    tree::Path,
    verify::Verifier,
};

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its secrets.
    pub identity: Arc<Identity>,
    /// Messages in an epoch.
    pub limit: Limit,
}

impl Member {
    /// Its leaf in the tree.
    #[must_use]
    pub fn leaf(&self) -> Element {
        self.identity.rate_commitment(self.limit)
    }
}

/// What a proof is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// From zero; never the same twice in an epoch.
    pub id: u16,
    /// Of its signal: [`waku2::rln::signal::Signal::x`].
    pub x: Element,
    /// In which it counts.
    pub epoch: Epoch,
    /// Of the application: [`waku2::rln::proof::IDENTIFIER`].
    pub identifier: [u8; ELEMENT_BYTES],
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The path of another member, or of another time.
    #[error("the path does not lead from this member to this root")]
    OtherRoot,
    /// The network would take it for another's.
    #[error("message id {id} is not below the limit of {limit}")]
    OverLimit {
        /// What was asked for.
        id: u16,
        /// The member's.
        limit: u16,
    },
    /// It refuses what was checked to be right.
    #[error("the circuit refuses the witness")]
    Witness,
    /// It can't compute it.
    #[error("the circuit computes no proof: {0}")]
    Circuit(#[from] GenerateProofError),
    /// A fault of memory or of the library.
    #[error("the proof does not hold")]
    DoesNotHold,
}

/// A member's place under a root, with the part of its proofs that is the same for every message.
pub struct Ready {
    member: Member,
    path: Path,
    root: Element,
    partial: PartialProof,
}

impl Ready {
    /// Whose proofs it is for.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// The root that they show membership under.
    #[must_use]
    pub const fn root(&self) -> &Element {
        &self.root
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("member", &self.member).field("root", &self.root).finish_non_exhaustive()
    }
}

/// Makes proofs by the key of the deployed circuit.
pub struct Prover {
    circuit: RLN<Stateless, ArkGroth16Backend<PoseidonHash>>,
    verifier: Arc<Verifier>,
}

impl Prover {
    /// Reads key and circuit, which takes tens of milliseconds for the first of a program.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self { circuit: RLNBuilder::stateless().build(), verifier }
    }

    /// Works out what stays the same for every message under `root`.
    ///
    /// # Errors
    /// [`ProveError::OtherRoot`] when the path does not lead there.
    pub fn ready(&self, member: Member, path: Path, root: Element) -> Result<Ready, ProveError> {
        if path.root(&member.leaf()) != root {
            return Err(ProveError::OtherRoot);
        }
        let witness = RLNPartialWitnessInput::new()
            .identity_secret(member.identity.secret().witness().clone())
            .user_message_limit(u64::from(member.limit.get()).into())
            .merkle_proof(merkle_proof(&path))
            .build()
            .map_err(|_| ProveError::Witness)?;
        let partial = self.circuit.generate_partial_proof(&witness)?;
        Ok(Ready { member, path, root, partial })
    }

    /// The proof of a message, verified.
    ///
    /// # Errors
    /// [`ProveError::OverLimit`]; the others tell of faults.
    pub fn prove(&self, ready: &Ready, message: &Message) -> Result<RateLimitProof, ProveError> {
        let limit = ready.member.limit.get();
        if message.id >= limit {
            return Err(ProveError::OverLimit { id: message.id, limit });
        }
        let witness = RLNWitnessInput::new_single()
            .identity_secret(ready.member.identity.secret().witness().clone())
            .user_message_limit(u64::from(limit).into())
            .merkle_proof(merkle_proof(&ready.path))
            .x(scalar(&message.x))
            .external_nullifier(scalar(&external_nullifier(message.epoch, &message.identifier)))
            .message_id(u64::from(message.id).into())
            .build()
            .map_err(|_| ProveError::Witness)?;
        let (proof, values) = self.circuit.finish_proof(&ready.partial, &witness)?;
        let proof = wire(&proof, &values, message).ok_or(ProveError::Witness)?;
        if self.verifier.verify(std::slice::from_ref(&proof)) == [true] {
            Ok(proof)
        } else {
            Err(ProveError::DoesNotHold)
        }
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prover")
    }
}

fn merkle_proof(path: &Path) -> RLNMerkleProof {
    RLNMerkleProof::new(path.siblings().iter().map(scalar).collect(), path.sides().collect())
}

/// Field by field: what the circuit's crate writes by itself has another form.
fn wire(proof: &Proof, values: &RLNProofValues, message: &Message) -> Option<RateLimitProof> {
    let mut snark = [0; SNARK_BYTES];
    proof.serialize_compressed(&mut snark[..]).ok()?;
    Some(RateLimitProof {
        snark,
        root: *element(values.root()).bytes(),
        epoch: message.epoch.bytes(),
        share_x: *element(values.x()).bytes(),
        share_y: *element(values.y()?).bytes(),
        nullifier: *element(values.nullifier()?).bytes(),
        identifier: message.identifier,
    })
}
