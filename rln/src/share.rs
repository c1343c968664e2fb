//! What a member gives away that sends two messages under one id: the secret is where the line through their shares begins.
//!
//! ```text
//! slope = Poseidon(secret, external nullifier, id)      y = secret + slope · x      nullifier = Poseidon(slope)
//! ```
//! Nobody is slashed on the deployed network; this tells an operator whose identity is burnt.  Spec: RLN-V2, "Recovery".

use ark_ff::Field as _;
use waku2::rln::{element::ELEMENT_BYTES, proof::RateLimitProof};

use crate::{field::reduced, identity::Secret, poseidon::scalars};

/// Why two proofs give no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSecret {
    /// They are of two ids, epochs or members.
    #[error("the nullifiers differ")]
    OtherNullifier,
    /// The same message, or the same twice.
    #[error("the shares are one")]
    SameShare,
    /// A proof that holds has no such share.
    #[error("the shares do not belong to the nullifier")]
    Unrelated,
}

/// The secret of whoever made both.
///
/// # Errors
/// [`NoSecret`]. Of proofs that hold, only for two of one message or of two nullifiers.
pub fn secret(one: &RateLimitProof, other: &RateLimitProof) -> Result<Secret, NoSecret> {
    let read = |bytes: &[u8; ELEMENT_BYTES]| reduced(bytes);
    let nullifier = read(&one.nullifier);
    if nullifier != read(&other.nullifier) {
        return Err(NoSecret::OtherNullifier);
    }
    let [(x1, y1), (x2, y2)] = [one, other].map(|proof| (read(&proof.share_x), read(&proof.share_y)));
    let run = (x1 - x2).inverse().ok_or(NoSecret::SameShare)?;
    let slope = (y1 - y2) * run;
    if scalars(&[slope]) != nullifier {
        return Err(NoSecret::Unrelated);
    }
    Ok(Secret::taken(&mut (y1 - slope * x1)))
}
