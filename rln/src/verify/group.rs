//! Is a point of the twist one of the group that pairings are about? The library's own answer takes twice as many doublings, which is
//! felt where the rest is shared by a batch.
//!
//! ```text
//! [x + 1] Q + ψ([x] Q) + ψ²([x] Q) = ψ³([2x] Q)        x: the number that the curve is made of
//! ```
//! ψ is Frobenius on the twist, which multiplies by p within the group; there the equation holds, as x + 1 + px + p²x - 2p³x is a multiple
//! of r. Of the other points, those whose order divides the cofactor h, none but zero solves it: its norm, as an equation in ψ with
//! ψ² - tψ + p = 0, has no factor in common with h. Nor have h and r.
//! Source: El Housni, Guillevic, Piellard, "Co-factor clearing and subgroup membership testing", eprint 2022/348; gnark-crypto.

use ark_bn254::{Config, Fq2, G2Affine, G2Projective};
use ark_ec::{AffineRepr as _, bn::BnConfig as _};
use ark_ff::{AdditiveGroup as _, Field as _, MontFp};

/// (9 + u)^((p - 1) / 3) and (9 + u)^((p - 1) / 2).
const FROBENIUS: (Fq2, Fq2) = (
    Fq2::new(
        MontFp!("21575463638280843010398324269430826099269044274347216827212613867836435027261"),
        MontFp!("10307601595873709700152284273816112264069230130616436755625194854815875713954"),
    ),
    Fq2::new(
        MontFp!("2821565182194536844548159561693502659359617185244120367078079554186484126554"),
        MontFp!("3505843767911556378687030309984248845540243509899259641013678093033130930403"),
    ),
);

/// Of a point that is on the curve.
pub(super) fn has(point: &G2Affine) -> bool {
    let times_x = point.mul_bigint(Config::X);
    let once = frobenius(times_x);
    let twice = frobenius(once);
    times_x + point + once + twice == frobenius(twice).double()
}

fn frobenius(mut point: G2Projective) -> G2Projective {
    for coordinate in [&mut point.x, &mut point.y, &mut point.z] {
        coordinate.frobenius_map_in_place(1);
    }
    point.x *= FROBENIUS.0;
    point.y *= FROBENIUS.1;
    point
}

#[cfg(test)]
mod tests {
    use ark_bn254::Fq;
    use ark_ec::CurveConfig as _;
    use ark_ff::PrimeField as _;

    use super::*;

    /// Of all orders, nearly always.
    fn points() -> impl Iterator<Item = G2Affine> {
        let abscissas = (1..40_u64).map(|n| Fq2::new(Fq::from(n), Fq::from(n * n + 1)));
        abscissas.filter_map(|x| G2Affine::get_point_from_x_unchecked(x, x.c1 == Fq::from(2)))
    }

    /// The cofactor without one of its factors.
    fn cofactor_without(factor: u64) -> [u64; 4] {
        let mut quotient = [0; 4];
        let mut rest = 0_u128;
        for (word, to) in ark_bn254::g2::Config::COFACTOR.iter().zip(&mut quotient).rev() {
            let number = rest << 64 | u128::from(*word);
            *to = u64::try_from(number / u128::from(factor)).unwrap();
            rest = number % u128::from(factor);
        }
        assert_eq!(rest, 0, "{factor} is a factor");
        quotient
    }

    #[test]
    fn it_is_what_the_library_says() {
        assert!(points().count() > 10);
        for point in points() {
            assert!(!point.is_in_correct_subgroup_assuming_on_curve() && !has(&point));
            let cleared = point.mul_by_cofactor();
            assert!(cleared.is_in_correct_subgroup_assuming_on_curve() && has(&cleared));
        }
    }

    /// Alone and beside one of the group, where a single wrong factor of the equation would show.
    #[test]
    fn points_of_small_order_are_not_in_it() {
        for factor in [10_069, 5_864_401, 1_875_725_156_269] {
            let point = points().next().unwrap();
            let small = G2Affine::from(point.mul_bigint(cofactor_without(factor)));
            let small = G2Affine::from(small.mul_bigint(ark_bn254::Fr::MODULUS));
            assert!(!small.is_zero() && small.mul_bigint([factor]) == G2Projective::default());
            let beside = G2Affine::from(small + G2Affine::generator());
            for point in [small, beside] {
                assert!(!has(&point) && !point.is_in_correct_subgroup_assuming_on_curve());
            }
        }
    }
}
