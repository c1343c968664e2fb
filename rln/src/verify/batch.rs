//! The equation of Groth16 for many proofs at once.
//!
//! ```text
//! one:   e(A, B) · e(I, -γ) · e(C, -δ) = e(α, β)        I = K0 + Σ input_j · K_j
//! many:  Π e(w_i A_i, B_i) · e(Σ w_i I_i, -γ) · e(Σ w_i C_i, -δ) · e(Σ w_i α, -β) = 1
//! ```
//! With weights of 128 random bits, false ones cancel each other with a chance of 2^-128. The pairings of [`GROUP`] proofs go together,
//! which shares their squarings, and their product is kept, so that looking for a false one costs the last three alone.

use ark_bn254::{Bn254, Fr, G1Affine, G1Projective};
use ark_ec::{
    AffineRepr as _, CurveGroup as _,
    pairing::{MillerLoopOutput, Pairing, PairingOutput},
};
use ark_ff::{AdditiveGroup as _, Field as _, PrimeField as _, Zero as _};
use ark_groth16::PreparedVerifyingKey;

use super::claim::{Claim, INPUTS};

/// Proofs whose pairings go together: as many as the curve's library takes in one loop.
pub(super) const GROUP: usize = 4;

/// One for the constant, and the public inputs.
const COLUMNS: usize = INPUTS + 1;

type Prepared = <Bn254 as Pairing>::G2Prepared;
type Target = <Bn254 as Pairing>::TargetField;

/// What of the verifying key the equation has.
pub(super) struct Key {
    alpha: G1Affine,
    beta_neg: Prepared,
    gamma_neg: Prepared,
    delta_neg: Prepared,
    columns: Vec<G1Affine>,
}

impl Key {
    pub(super) fn of(key: &PreparedVerifyingKey<Bn254>) -> Self {
        Self {
            alpha: key.vk.alpha_g1,
            beta_neg: (-key.vk.beta_g2).into(),
            gamma_neg: key.gamma_g2_neg_pc.clone(),
            delta_neg: key.delta_g2_neg_pc.clone(),
            columns: key.vk.gamma_abc_g1.clone(),
        }
    }

    /// Do all of them hold? Of none, yes.
    pub(super) fn holds(&self, groups: &[Group<'_>]) -> bool {
        let mut inputs = [Fr::zero(); COLUMNS];
        let (mut pairings, mut c) = (Target::ONE, G1Projective::zero());
        for group in groups {
            inputs.iter_mut().zip(group.inputs).for_each(|(sum, input)| *sum += input);
            pairings *= group.pairings.0;
            c += group.c;
        }
        let alpha = self.alpha.mul_bigint(inputs[0].into_bigint());
        let inputs = combined(&self.columns, &inputs.map(|input| input.into_bigint().0));
        let ends = Bn254::multi_miller_loop(
            [inputs, c, alpha].map(G1Affine::from),
            [&self.gamma_neg, &self.delta_neg, &self.beta_neg].map(Clone::clone),
        );
        Bn254::final_exponentiation(MillerLoopOutput(pairings * ends.0))
            .is_some_and(|product| product == PairingOutput::zero())
    }
}

/// A few proofs, weighted and added up.
pub(super) struct Group<'a> {
    /// With their places among the answers.
    pub(super) claims: &'a [(usize, Claim)],
    pairings: MillerLoopOutput<Bn254>,
    c: G1Projective,
    inputs: [Fr; COLUMNS],
}

impl<'a> Group<'a> {
    /// At most [`GROUP`] of them.
    pub(super) fn weighed(claims: &'a [(usize, Claim)], weights: [u128; GROUP]) -> Self {
        let weighed = || claims.iter().map(|(_, claim)| claim).zip(weights);
        let a: Vec<_> = weighed().map(|(claim, weight)| claim.a.mul_bigint(words(weight))).collect();
        let mut inputs = [Fr::zero(); COLUMNS];
        for (claim, weight) in weighed() {
            let weight = Fr::from(weight);
            inputs[0] += weight;
            inputs[1..].iter_mut().zip(claim.inputs).for_each(|(sum, input)| *sum += weight * input);
        }
        let c: Vec<_> = weighed().map(|(claim, _)| claim.c).collect();
        Self {
            claims,
            pairings: Bn254::multi_miller_loop(G1Projective::normalize_batch(&a), weighed().map(|(claim, _)| claim.b)),
            c: combined(&c, &weights.map(words)),
            inputs,
        }
    }
}

/// The sum of the points times their numbers, least significant word first. All share the doublings.
fn combined<const WORDS: usize>(points: &[G1Affine], numbers: &[[u64; WORDS]]) -> G1Projective {
    let mut sum = G1Projective::zero();
    for bit in (0..WORDS * 64).rev() {
        sum.double_in_place();
        for (point, number) in points.iter().zip(numbers) {
            if number[bit / 64] >> (bit % 64) & 1 == 1 {
                sum += point;
            }
        }
    }
    sum
}

const fn words(weight: u128) -> [u64; 2] {
    [weight as u64, (weight >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn sums_are_those_of_the_library() {
        let mut rng = StdRng::seed_from_u64(1);
        let numbers: Vec<u128> = (0..5).map(|_| rng.random()).collect();
        let points: Vec<_> = (2..7_u64).map(|n| G1Affine::from(G1Affine::generator() * Fr::from(n))).collect();
        let sum: G1Projective = points.iter().zip(&numbers).map(|(point, number)| *point * Fr::from(*number)).sum();
        let numbers: Vec<_> = numbers.into_iter().map(words).collect();
        assert_eq!(combined(&points, &numbers), sum);
        assert_eq!(combined::<2>(&[], &[]), G1Projective::zero());
    }
}
