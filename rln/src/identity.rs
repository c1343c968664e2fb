//! Who a member is: secrets of its own, and commitments to them that the group sees.
//!
//! ```text
//! secret = Poseidon(trapdoor, nullifier)      commitment = Poseidon(secret)      leaf = Poseidon(commitment, limit)
//! ```
//! Secrets do not print and are wiped when they are dropped; copies that the prover makes on its way are not all.
//! Spec: 17/WAKU2-RLN-RELAY, RLN-V2.

use std::{fmt, num::NonZeroU16};

use ark_bn254::Fr;
use ark_ff::PrimeField as _;
use rand::CryptoRng;
use rand_chacha::ChaCha20Rng;
use rln::prelude::{ExtendedIdentityKeys, PoseidonHash, SecretFr};
use waku2::rln::element::{ELEMENT_BYTES, Element};
use zeroize::Zeroizing;

use crate::{
    field::{element, reduced},
    poseidon::{self, scalars},
};

/// An element that nobody else is to know.
#[derive(Clone, PartialEq)]
pub struct Secret(SecretFr);

impl Secret {
    /// Draws one. Twice as many bits are reduced, so that none is likelier than another.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 2 * ELEMENT_BYTES]);
        rng.fill_bytes(bytes.as_mut());
        Self::taken(&mut Fr::from_le_bytes_mod_order(bytes.as_ref()))
    }

    /// Little-endian. `None` for a number that is not below the modulus.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ELEMENT_BYTES]) -> Option<Self> {
        Element::canonical(*bytes)?;
        Some(Self::taken(&mut reduced(bytes)))
    }

    /// Little-endian, for whoever keeps it. Handle with care.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; ELEMENT_BYTES]> {
        Zeroizing::new(*element(*self.0).bytes())
    }

    /// Wipes `scalar`.
    pub(crate) fn taken(scalar: &mut Fr) -> Self {
        Self(SecretFr::from(scalar))
    }

    pub(crate) fn scalar(&self) -> &Fr {
        &self.0
    }

    pub(crate) const fn witness(&self) -> &SecretFr {
        &self.0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Messages of a member in an epoch, as the group has agreed with it. The circuit counts with 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit(NonZeroU16);

impl Limit {
    /// `None` for none at all, and for more than the circuit counts.
    #[must_use]
    pub fn new(messages: u64) -> Option<Self> {
        u16::try_from(messages).ok().and_then(NonZeroU16::new).map(Self)
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// A member's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    trapdoor: Secret,
    nullifier: Secret,
    secret: Secret,
    commitment: Element,
}

impl Identity {
    /// Draws one.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self::new(Secret::random(rng), Secret::random(rng))
    }

    /// That of a seed, as deployed libraries derive it: ChaCha20 keyed by the Keccak-256 of the seed.
    #[must_use]
    pub fn seeded(seed: &[u8]) -> Self {
        let keys = ExtendedIdentityKeys::generate_seeded::<PoseidonHash, ChaCha20Rng>(seed);
        Self::kept(Secret(keys.identity_trapdoor()), Secret(keys.identity_nullifier()), Secret(keys.identity_secret()))
    }

    /// That of its two halves.
    #[must_use]
    pub fn new(trapdoor: Secret, nullifier: Secret) -> Self {
        let halves = Zeroizing::new([*trapdoor.scalar(), *nullifier.scalar()]);
        let secret = Secret::taken(&mut scalars(&halves));
        Self::kept(trapdoor, nullifier, secret)
    }

    /// As files have it, with a secret that need not follow from the halves: proofs are made with the secret alone.
    #[must_use]
    pub fn kept(trapdoor: Secret, nullifier: Secret, secret: Secret) -> Self {
        let commitment = element(scalars(&Zeroizing::new([*secret.scalar()])));
        Self { trapdoor, nullifier, secret, commitment }
    }

    /// The first half of the secret.
    #[must_use]
    pub const fn trapdoor(&self) -> &Secret {
        &self.trapdoor
    }

    /// The second. Not that of a message.
    #[must_use]
    pub const fn nullifier(&self) -> &Secret {
        &self.nullifier
    }

    /// What proofs are made with.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What is registered.
    #[must_use]
    pub const fn commitment(&self) -> &Element {
        &self.commitment
    }

    /// Its leaf in the tree of members.
    #[must_use]
    pub fn rate_commitment(&self, limit: Limit) -> Element {
        rate_commitment(&self.commitment, limit)
    }
}

/// The leaf of a commitment with a limit.
#[must_use]
pub fn rate_commitment(commitment: &Element, limit: Limit) -> Element {
    poseidon::hash([*commitment, u64::from(limit.get()).into()])
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    fn secret(hex_le: &str) -> Secret {
        Secret::from_bytes(&hex::decode(hex_le).unwrap().try_into().unwrap()).unwrap()
    }

    fn known(element: &Element) -> String {
        format!("{element:?}")
    }

    #[test]
    fn the_published_seed_has_the_published_identity() {
        let identity = Identity::seeded(b"waku-bridge-test-vector");
        let halves = (
            secret("7632b7259b407d0b9459d98c9cd2d3fe42ab3b2ffcb57f52ff140368ed546c2e"),
            secret("71c720bde34723389c5b82a5bf040780cb2dcd16850b9658ad1bee37aa61a110"),
        );
        assert_eq!((identity.trapdoor(), identity.nullifier()), (&halves.0, &halves.1));
        assert_eq!(identity, Identity::new(halves.0, halves.1));
        assert_eq!(
            hex::encode(identity.secret().to_bytes()),
            "13bed72a49a77095272f249afb64a483cf09b9b9852226107c1a8e8488763f1f"
        );
        assert_eq!(known(identity.commitment()), "78758c7b421da3df7f56b3c5f0bb1536a9a5cafe471eea5790864a5c6fe5022c");
        let leaf = identity.rate_commitment(Limit::new(100).unwrap());
        assert_eq!(known(&leaf), "202de188b9889b2badd1bc05af310786e19d98c9bf927a962d706c39a4392508");
    }

    /// nwaku's `tests/waku_keystore/utils.nim`, which prints big-endian.
    #[test]
    fn nwakus_identity() {
        let reversed = |hex_be: &str| hex::encode(hex::decode(hex_be).unwrap().into_iter().rev().collect::<Vec<_>>());
        let kept = secret(&reversed("07984f7c054ad7793d9f31a1e9f29eaa8d05966511e546bced89961eb8874ab9"));
        let identity = Identity::kept(kept.clone(), kept.clone(), kept);
        let commitment = "051c31de3bff7e52dc7b2eb34fc96813bacf38bde92d27fe326ce5d8296322a7";
        assert_eq!(known(identity.commitment()), reversed(commitment));
    }

    #[test]
    fn secrets_do_not_print() {
        let identity = Identity::random(&mut StdRng::seed_from_u64(1));
        let printed = format!("{identity:?}");
        for secret in [identity.trapdoor(), identity.nullifier(), identity.secret()] {
            assert!(!printed.contains(&hex::encode(secret.to_bytes())));
            assert!(!printed.contains(&secret.scalar().to_string()));
        }
        assert!(printed.contains(&known(identity.commitment())));
    }

    #[test]
    fn chance_makes_others_and_bytes_the_same() {
        let mut rng = StdRng::seed_from_u64(1);
        let (one, other) = (Identity::random(&mut rng), Identity::random(&mut rng));
        assert_ne!(one, other);
        assert_eq!(Secret::from_bytes(&one.secret().to_bytes()).as_ref(), Some(one.secret()));
        assert_eq!(Secret::from_bytes(&[0xff; ELEMENT_BYTES]), None);
    }

    #[test]
    fn limits_fit_16_bits() {
        let limits = [0, 1, 65_535, 65_536, u64::MAX].map(|messages| Limit::new(messages).map(Limit::get));
        assert_eq!(limits, [None, Some(1), Some(65_535), None, None]);
    }
}
