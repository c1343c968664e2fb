//! What is looked at of a proof before it is verified: all that costs little. Pure.
//!
//! In this order: its form, identifier and elements, its epoch against our clock and against the message's time, what it is bound
//! to. Deployed nodes look at the root before that; here the root comes last, since what is not bound to its message is not worth
//! waiting for one. Where a rule's position says that something is not looked at, the rest is.  Spec: 17/WAKU2-RLN-RELAY,
//! 64/WAKU2-NETWORK.

use std::time::Duration;

use bytes::Bytes;
use devp2p::clock::Now;

use super::{
    element::{ELEMENT_BYTES, Element},
    epoch::{Epoch, EpochLength},
    nullifiers::{Share, Spent},
    proof::RateLimitProof,
    signal::Signal,
};
use crate::{
    message::WakuMessage,
    proof::Finding,
    rules::{Position, Row, Rules},
    validate::Verdict,
};

/// How far an epoch may be from our clock.  Spec: 64/WAKU2-NETWORK, `max_epoch_gap`.
pub const MAX_EPOCH_GAP: Duration = Duration::from_secs(20);

/// What a network asks of proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long its epochs are.
    pub epochs: EpochLength,
    /// Whose proofs.
    pub identifier: [u8; ELEMENT_BYTES],
}

/// A proof that is in order as far as can be seen without verifying it, and without its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// As it is to be verified: its elements in their one form.
    pub proof: RateLimitProof,
    /// The group that it is of.
    pub root: Element,
    /// What it spends.
    pub spent: Spent,
}

/// Looks at the proof that stands in `message`.
///
/// # Errors
/// What is found, when that stands in the way.
pub fn check(message: &WakuMessage, proof: &Bytes, terms: &Terms, rules: &Rules, now: Now) -> Result<Claim, Finding> {
    let proof = RateLimitProof::decode(proof).map_err(|_| Finding::Malformed)?;
    if proof.identifier != terms.identifier {
        unless_passed_over(Finding::NonCanonical, rules)?;
    }
    let (proof, root) = canonical(proof, rules)?;
    let epoch = epoch(&proof, message, terms, rules, now)?;
    let share = Share { x: Element::reduced(proof.share_x), y: Element::reduced(proof.share_y) };
    if share.x != *Signal::of(message).x() {
        return Err(Finding::Invalid);
    }
    let spent = Spent { epoch, nullifier: Element::reduced(proof.nullifier), share };
    Ok(Claim { proof, root, spent })
}

/// The finding, unless the rules say that it does not stand in the way.
fn unless_passed_over(finding: Finding, rules: &Rules) -> Result<(), Finding> {
    if finding.verdict(rules) == Verdict::Accept { Ok(()) } else { Err(finding) }
}

/// The proof with its elements in their one form, and its root. Deployed nodes verify what others are, reduced; roots they compare
/// as bytes, so that one in another form is none that they know.
fn canonical(mut proof: RateLimitProof, rules: &Rules) -> Result<(RateLimitProof, Element), Finding> {
    for element in [&mut proof.share_x, &mut proof.share_y, &mut proof.nullifier] {
        if Element::canonical(*element).is_none() {
            unless_passed_over(Finding::NonCanonical, rules)?;
            *element = *Element::reduced(*element).bytes();
        }
    }
    match (Element::canonical(proof.root), rules.of(Row::NonCanonical)) {
        (Some(root), _) => Ok((proof, root)),
        (None, Position::Text) => Err(Finding::NonCanonical),
        (None, Position::Deployed) => Err(Finding::UnknownRoot),
    }
}

fn epoch(
    proof: &RateLimitProof,
    message: &WakuMessage,
    terms: &Terms,
    rules: &Rules,
    now: Now,
) -> Result<Epoch, Finding> {
    let epoch = Epoch::from_bytes(&proof.epoch).ok_or(Finding::Epoch)?;
    if terms.epochs.distance(epoch, now.unix) > MAX_EPOCH_GAP {
        return Err(Finding::Epoch);
    }
    if of_message(message, terms.epochs) != Some(epoch) {
        unless_passed_over(Finding::OtherEpoch, rules)?;
    }
    Ok(epoch)
}

/// The epoch of a message's time; `None` for a time before 1970, and for none at all.
#[must_use]
pub fn of_message(message: &WakuMessage, epochs: EpochLength) -> Option<Epoch> {
    let nanos = u64::try_from(message.timestamp?).ok()?;
    Some(epochs.at(Duration::from_nanos(nanos)))
}

#[cfg(test)]
mod tests {
    use devp2p::clock;

    use super::*;
    use crate::{message::Meta, rln::proof::IDENTIFIER};

    const TERMS: Terms = Terms { epochs: const { EpochLength::from_secs(600).unwrap() }, identifier: IDENTIFIER };
    /// In the middle of an epoch.
    const SENT_SECS: u64 = 1_699_999_800 + 300;
    const POSITIONS: [(&str, Position); 2] = [("text", Position::Text), ("deployed", Position::Deployed)];

    fn at(secs: u64) -> Now {
        Now { unix: Duration::from_secs(secs), ..clock::now() }
    }

    fn message() -> WakuMessage {
        WakuMessage {
            payload: "hello".into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp: Some(SENT_SECS as i64 * 1_000_000_000),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn proof() -> RateLimitProof {
        RateLimitProof {
            snark: [1; 128],
            root: *Element::from(1).bytes(),
            epoch: TERMS.epochs.at(Duration::from_secs(SENT_SECS)).bytes(),
            share_x: *Signal::of(&message()).x().bytes(),
            share_y: *Element::from(2).bytes(),
            nullifier: *Element::from(3).bytes(),
            identifier: IDENTIFIER,
        }
    }

    fn found(proof: &RateLimitProof, rules: &Rules, now: Now) -> Result<Claim, Finding> {
        check(&message(), &proof.encode(), &TERMS, rules, now)
    }

    /// A number with the modulus added: the same element in another form.
    fn again(bytes: [u8; ELEMENT_BYTES]) -> [u8; ELEMENT_BYTES] {
        let modulus = hex::decode("010000f093f5e1439170b97948e833285d588181b64550b829a031e1724e6430").unwrap();
        let mut carry = 0;
        let mut sum = [0; ELEMENT_BYTES];
        for ((to, a), b) in sum.iter_mut().zip(bytes).zip(modulus) {
            carry += u16::from(a) + u16::from(b);
            *to = carry as u8;
            carry >>= 8;
        }
        assert_eq!(Element::reduced(sum), Element::reduced(bytes));
        sum
    }

    #[test]
    fn what_is_in_order_is_claimed() {
        for (_, position) in POSITIONS {
            let claim = found(&proof(), &Rules::all(position), at(SENT_SECS)).unwrap();
            assert_eq!((claim.proof, claim.root), (proof(), Element::from(1)));
            assert_eq!(claim.spent.nullifier, Element::from(3));
            assert_eq!(claim.spent.share, Share { x: *Signal::of(&message()).x(), y: Element::from(2) });
        }
    }

    #[test]
    fn h80_a_malformed_proof_and_one_of_another_message_are_found_in_both_positions() {
        for (name, position) in POSITIONS {
            let rules = Rules::all(position);
            let garbage = check(&message(), &Bytes::from_static(b"p"), &TERMS, &rules, at(SENT_SECS));
            assert_eq!(garbage, Err(Finding::Malformed), "{name}");
            let other = WakuMessage { payload: "hallo".into(), ..message() };
            let moved = check(&other, &proof().encode(), &TERMS, &rules, at(SENT_SECS));
            assert_eq!(moved, Err(Finding::Invalid), "{name}");
        }
    }

    /// Row "proof's epoch more than 20 s from our clock", at both edges, to the second.
    #[test]
    fn an_epoch_counts_for_twenty_seconds_beyond_either_edge() {
        let begins = SENT_SECS - 300;
        for rules in [Rules::all(Position::Text), Rules::all(Position::Deployed), Rules::live()] {
            for (secs, expected) in [
                (begins - 21, Some(Finding::Epoch)),
                (begins - 20, None),
                (begins, None),
                (begins + 599, None),
                (begins + 620, None),
                (begins + 621, Some(Finding::Epoch)),
            ] {
                assert_eq!(found(&proof(), &rules, at(secs)).err(), expected, "{secs}");
            }
            for epoch in [[0xff; ELEMENT_BYTES], Epoch(u64::MAX).bytes(), Epoch(0).bytes()] {
                let odd = RateLimitProof { epoch, ..proof() };
                assert_eq!(found(&odd, &rules, at(SENT_SECS)), Err(Finding::Epoch));
            }
        }
    }

    #[test]
    fn f10_under_a_clock_that_is_a_day_off_epochs_are_others_until_it_is_right() {
        let day = 86_400;
        for secs in [SENT_SECS + day, SENT_SECS - day] {
            assert_eq!(found(&proof(), &Rules::live(), at(secs)), Err(Finding::Epoch));
        }
        assert!(found(&proof(), &Rules::live(), at(SENT_SECS)).is_ok());
    }

    /// Row "epoch within 20 s of our clock, but not that of its timestamp".
    #[test]
    fn another_epoch_than_the_times_is_passed_over_by_the_text_alone() {
        let begins = SENT_SECS - 300;
        let before = RateLimitProof { epoch: Epoch(begins / 600 - 1).bytes(), ..proof() };
        let now = at(begins + 5);
        assert!(found(&before, &Rules::all(Position::Text), now).is_ok());
        assert_eq!(found(&before, &Rules::all(Position::Deployed), now), Err(Finding::OtherEpoch));
        assert_eq!(found(&before, &Rules::live(), now), Err(Finding::OtherEpoch));
        for timestamp in [None, Some(-1), Some(i64::MIN)] {
            let odd = WakuMessage { timestamp, ..message() };
            let bound = RateLimitProof { share_x: *Signal::of(&odd).x().bytes(), ..proof() };
            let found = |rules| check(&odd, &bound.encode(), &TERMS, &rules, now).err();
            assert_eq!(found(Rules::all(Position::Text)), None);
            assert_eq!(found(Rules::live()), Some(Finding::OtherEpoch));
        }
    }

    /// Row "field element not below the modulus, or foreign identifier".
    #[test]
    fn h80_other_forms_are_refused_by_the_text_and_reduced_where_they_are_not_looked_at() {
        let deployed = Rules::all(Position::Deployed);
        let odd = [
            RateLimitProof { share_x: again(proof().share_x), ..proof() },
            RateLimitProof { share_y: again(proof().share_y), ..proof() },
            RateLimitProof { nullifier: again(proof().nullifier), ..proof() },
        ];
        for proof in odd {
            for rules in [Rules::all(Position::Text), Rules::live()] {
                assert_eq!(found(&proof, &rules, at(SENT_SECS)), Err(Finding::NonCanonical));
            }
            let claim = found(&proof, &deployed, at(SENT_SECS)).unwrap();
            assert_eq!(
                claim,
                found(&self::proof(), &deployed, at(SENT_SECS)).unwrap(),
                "one nullifier has one spelling"
            );
        }
        let foreign = RateLimitProof { identifier: [7; ELEMENT_BYTES], ..proof() };
        assert_eq!(found(&foreign, &Rules::live(), at(SENT_SECS)), Err(Finding::NonCanonical));
        assert_eq!(found(&foreign, &deployed, at(SENT_SECS)).unwrap().proof, foreign);
        let root = RateLimitProof { root: again(proof().root), ..proof() };
        assert_eq!(found(&root, &Rules::live(), at(SENT_SECS)), Err(Finding::NonCanonical));
        assert_eq!(found(&root, &deployed, at(SENT_SECS)), Err(Finding::UnknownRoot));
        // What is not looked at leaves the rest to be.
        let worse = RateLimitProof { epoch: Epoch(0).bytes(), ..foreign };
        assert_eq!(found(&worse, &deployed, at(SENT_SECS)), Err(Finding::Epoch));
    }
}
