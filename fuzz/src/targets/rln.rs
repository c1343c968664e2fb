//! Rate-limit proofs off the wire, with the checks before the curve, and the points that they are made of; and the files that
//! memberships are kept in.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use waku_rln::{
    Verifier,
    keystore::{Application, Keystore},
};
use waku2::{
    ContentTopic, Meta, WakuMessage,
    proof::Finding,
    rln::{
        Verify,
        check::{Claim, Terms},
        element::Element,
        epoch::EpochLength,
        gate::{Gate, Looked},
        proof::{IDENTIFIER, RateLimitProof},
        roots::Roots,
    },
    rules::{Position, Rules},
};

use crate::script::start;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(&mut StdRng::seed_from_u64(1)));

/// One that holds.
static GOOD: LazyLock<RateLimitProof> = LazyLock::new(|| {
    let seeds = crate::seeds::proof();
    RateLimitProof::decode(&seeds[0].clone().into()).expect("a published proof")
});

/// What is read as a proof is written as one that reads the same, and holds among others if it does alone. As the proof of a
/// message, it comes to the curve in its one form and of that message, or not at all; and what was accepted is not accepted again.
pub fn proof(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    for rules in [Rules::all(Position::Text), Rules::all(Position::Deployed), Rules::live()] {
        if let Some(claim) = claimed(&input, &rules) {
            let numbers = [claim.proof.share_x, claim.proof.share_y, claim.proof.nullifier, claim.proof.root];
            assert!(numbers.iter().all(|number| Element::canonical(*number).is_some()));
            assert_eq!(claim.proof.share_x, GOOD.share_x);
        }
    }
    let Ok(proof) = RateLimitProof::decode(&input) else { return };
    assert_eq!(RateLimitProof::decode(&proof.encode()).as_ref(), Ok(&proof));
    let holds = VERIFIER.verify(std::slice::from_ref(&proof))[0];
    // More than go together, so that a false one is looked for.
    let batch = [&*GOOD, &proof, &GOOD, &GOOD, &GOOD, &proof].map(Clone::clone);
    assert_eq!(VERIFIER.verify(&batch), [true, holds, true, true, true, holds]);
}

/// What the proof claims, as the one of the published message at its time.
fn claimed(proof: &Bytes, rules: &Rules) -> Option<Claim> {
    let message = WakuMessage {
        payload: Bytes::from_static(b"hello"),
        content_topic: ContentTopic::from("/waku/2/default-content/proto"),
        version: 0,
        timestamp: Some(1_700_000_000_123_456_789),
        meta: Meta::default(),
        rate_limit_proof: Some(proof.clone()),
        ephemeral: false,
    };
    let mut roots = Roots::default();
    roots.now(Element::reduced(GOOD.root));
    let terms = Terms { epochs: EpochLength::default(), identifier: IDENTIFIER };
    let mut gate = Gate::new(terms, Arc::new(roots));
    let claim = match gate.look(&message, proof, rules, start()) {
        Looked::Found(_) => return None,
        Looked::Verify(claim) | Looked::Hold(claim) => claim,
    };
    assert_eq!(gate.conclude(&claim, false, start()), Finding::Invalid);
    assert_eq!(gate.conclude(&claim, true, start()), Finding::Valid);
    gate.accepted(&claim, start());
    assert_eq!(gate.conclude(&claim, true, start()), Finding::Replay);
    assert_eq!(gate.look(&message, proof, rules, start()), Looked::Found(Finding::Replay));
    Some(claim)
}

/// What is read as a keystore is written as one that reads the same. None is opened: that takes a second, as the file says.
pub fn keystore(input: &[u8]) {
    let application = Application::default();
    let Ok(keystore) = Keystore::read(input, &application) else { return };
    let again = Keystore::read(keystore.to_json().as_bytes(), &application).expect("our own keystore");
    assert_eq!(again, keystore);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else mutations of them would end before the curve, or before what is encrypted.
    #[test]
    fn seeds_reach_what_is_behind_the_decoders() {
        let proofs = crate::target("proof").unwrap().seeds();
        assert!(proofs.len() >= 2);
        for seed in proofs {
            let claim = claimed(&seed.into(), &Rules::live()).expect("it is of the published message");
            assert_eq!(VERIFIER.verify(&[claim.proof]), [true]);
        }
        let keystores = crate::target("keystore").unwrap().seeds();
        assert_eq!(keystores.len(), 3, "of nwaku, the same by scrypt, and of js-waku");
        for seed in keystores {
            let read = Keystore::read(&seed, &Application::default()).unwrap();
            assert_eq!(read.names().count(), 1);
        }
    }
}
