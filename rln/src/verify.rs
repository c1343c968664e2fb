//! Does a proof hold? One by one, or many in one equation.
//!
//! A lone proof is verified as deployed nodes do. Several are weighted at random and added up, which saves most of the pairings; when
//! the sum is wrong, its halves are looked at. What is in the batch is checked to be what the equation is about, points of the right
//! groups, before: so a batch takes what each alone would have been taken, and a false proof with a chance of 2^-128.
//!
//! Not looked at, see [`Verify`]: whether the root counts, the share is of the right signal, the epoch is current. A number that is not
//! below the modulus is reduced, as deployed nodes do; whether it may be sent is for [`waku2::rules`].
//!
//! Limits: none on how many come at once; who calls bounds that. Where all are false, looking for them costs up to twice what each singly would.
//! Spec: 17/WAKU2-RLN-RELAY; the batch: Groth16 by random linear combination.

mod batch;
mod claim;
mod group;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use ark_bn254::Bn254;
use ark_groth16::{Groth16, PreparedVerifyingKey, prepare_verifying_key};
use rand::{CryptoRng, RngExt as _, SeedableRng as _, rngs::StdRng};
use rln::prelude::default_zkey_single;
use waku2::rln::{Verify, proof::RateLimitProof};

use batch::{GROUP, Group, Key};
use claim::{Claim, Epochs};

/// From so many on, one equation is less work than each singly.
const BATCH_FROM: usize = 2;

/// Verifies by the key of the deployed circuit.
pub struct Verifier {
    key: PreparedVerifyingKey<Bn254>,
    batch: Key,
    /// Nobody who sends proofs may foresee these.
    weights: Mutex<StdRng>,
}

impl Verifier {
    /// Reads the key, which takes ten milliseconds for the first of a program. `rng` must be one that nobody foresees.
    #[must_use]
    pub fn new(rng: &mut impl CryptoRng) -> Self {
        let key = prepare_verifying_key(&default_zkey_single().0.vk);
        Self { batch: Key::of(&key), key, weights: Mutex::new(StdRng::from_rng(rng)) }
    }

    fn holds(&self, claim: &Claim) -> bool {
        Groth16::<Bn254>::verify_proof(&self.key, &claim.proof(), &claim.inputs).unwrap_or(false)
    }

    /// Marks those that hold. The weights of a group are kept when its half is looked at: who sent the proofs has not seen them.
    fn search(&self, groups: &[Group<'_>], holds: &mut [bool]) {
        if self.batch.holds(groups) {
            groups.iter().flat_map(|group| group.claims).for_each(|(place, _)| holds[*place] = true);
            return;
        }
        match groups {
            [] => {}
            [group] => self.singly(group.claims, holds),
            _ => {
                let (one, other) = groups.split_at(groups.len() / 2);
                self.search(one, holds);
                self.search(other, holds);
            }
        }
    }

    fn singly(&self, claims: &[(usize, Claim)], holds: &mut [bool]) {
        claims.iter().for_each(|(place, claim)| holds[*place] = self.holds(claim));
    }

    fn weights(&self) -> [u128; GROUP] {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

impl Verify for Verifier {
    fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
        let (mut holds, mut epochs) = (vec![false; proofs.len()], Epochs::default());
        let claims =
            proofs.iter().enumerate().filter_map(|(place, proof)| Some((place, Claim::read(proof, &mut epochs)?)));
        let claims: Vec<_> = claims.collect();
        if claims.len() < BATCH_FROM {
            self.singly(&claims, &mut holds);
            return holds;
        }
        let groups: Vec<_> = claims.chunks(GROUP).map(|claims| Group::weighed(claims, self.weights())).collect();
        self.search(&groups, &mut holds);
        holds
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}
