//! Every row of the table of outcomes that is about a proof, in three positions, from the bytes of a message to its end.

use devp2p::clock;

use super::*;
use crate::{
    message::Meta,
    rln::{
        Verify,
        element::Element,
        epoch::{Epoch, EpochLength},
        proof::{IDENTIFIER, RateLimitProof},
        roots,
        signal::Signal,
    },
};

/// In the middle of an epoch of ten minutes.
const SENT_SECS: u64 = 1_699_999_800 + 300;
const ROOT: u64 = 77;

/// Not asked here: tests say what it would.
#[derive(Debug)]
struct Nobody;

impl Verify for Nobody {
    fn verify(&self, _: &[RateLimitProof]) -> Vec<bool> {
        Vec::new()
    }
}

fn topic() -> PubsubTopic {
    "/waku/2/rs/1/1".parse().unwrap()
}

fn at(secs: u64) -> Now {
    Now { unix: Duration::from_secs(secs), ..clock::now() }
}

/// Where [`ROOT`] counts.
fn validator(rules: Rules) -> Validator {
    let (follow, known) = roots::follow();
    follow.now(Element::from(ROOT));
    let rln = Some(rln::Config::new(Arc::new(Nobody), known));
    let timestamp_window = Some(Duration::from_secs(20));
    Validator::new(Policy { rln, rules, timestamp_window, free_bandwidth: Some(Budget::NONE), ..Policy::default() })
}

fn message(payload: &str) -> WakuMessage {
    WakuMessage {
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        content_topic: "/a/1/b/c".into(),
        version: 0,
        timestamp: Some(SENT_SECS as i64 * 1_000_000_000),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

fn proof(message: &WakuMessage, nullifier: u64) -> RateLimitProof {
    let secs = message.timestamp.unwrap() as u64 / 1_000_000_000;
    RateLimitProof {
        snark: [1; 128],
        root: *Element::from(ROOT).bytes(),
        epoch: EpochLength::default().at(Duration::from_secs(secs)).bytes(),
        share_x: *Signal::of(message).x().bytes(),
        share_y: *Element::from(2).bytes(),
        nullifier: *Element::from(nullifier).bytes(),
        identifier: IDENTIFIER,
    }
}

fn with(message: &WakuMessage, proof: &RateLimitProof) -> Bytes {
    WakuMessage { rate_limit_proof: Some(proof.encode()), ..message.clone() }.encode()
}

fn good(payload: &str, nullifier: u64) -> Bytes {
    let message = message(payload);
    with(&message, &proof(&message, nullifier))
}

/// What becomes of a message whose proof holds, or does not; one whose root is not known stays so.
fn end(validator: &mut Validator, data: &Bytes, holds: bool, now: Now) -> Verdict {
    match validator.judge(&topic(), data, now) {
        Judged::Done(verdict, _) => verdict,
        Judged::Hold(_) => validator.verdict(Finding::UnknownRoot),
        Judged::Verify(pending) => {
            let verdict = validator.verdict(validator.conclude(&pending, holds, now));
            if verdict == Accept {
                validator.accepted(&pending, now);
            }
            verdict
        }
    }
}

/// By the text, as deployed, on the live network.
fn in_each_position(expected: [Verdict; 3], judge: impl Fn(&mut Validator) -> Verdict) {
    for (rules, expected) in
        [Rules::all(Position::Text), Rules::all(Position::Deployed), Rules::live()].into_iter().zip(expected)
    {
        assert_eq!(judge(&mut validator(rules)), expected, "{rules:?}");
    }
}

use Verdict::{Accept, Ignore, Reject};

#[test]
fn row_of_a_valid_proof_in_each_position() {
    in_each_position([Accept; 3], |validator| end(validator, &good("x", 1), true, at(SENT_SECS)));
}

#[test]
fn row_of_an_invalid_proof_in_each_position() {
    let expected = [Ignore(Reason::InvalidProof), Reject(Reason::InvalidProof), Ignore(Reason::InvalidProof)];
    in_each_position(expected, |validator| end(validator, &good("x", 1), false, at(SENT_SECS)));
    // The same for a proof of something else, which is not verified at all.
    let moved = with(&message("y"), &proof(&message("x"), 1));
    in_each_position(expected, |validator| end(validator, &moved, true, at(SENT_SECS)));
}

#[test]
fn row_of_a_malformed_proof_in_each_position() {
    let garbage = WakuMessage { rate_limit_proof: Some("a proof".into()), ..message("x") }.encode();
    let expected = [Reject(Reason::MalformedProof); 3];
    in_each_position(expected, |validator| end(validator, &garbage, true, at(SENT_SECS)));
}

#[test]
fn row_of_no_proof_in_each_position() {
    let expected = [Ignore(Reason::Unproven), Reject(Reason::Unproven), Ignore(Reason::Unproven)];
    in_each_position(expected, |validator| end(validator, &message("x").encode(), true, at(SENT_SECS)));
}

/// Without a window on times, which would be first.
#[test]
fn row_of_an_epoch_far_from_our_clock_in_each_position() {
    let (begins, ends) = (SENT_SECS - 300, SENT_SECS + 300);
    for (secs, far) in [(begins - 21, true), (begins - 20, false), (ends + 20, false), (ends + 21, true)] {
        let expected = if far { Reject(Reason::Epoch) } else { Accept };
        in_each_position([expected; 3], |validator| {
            validator.policy.timestamp_window = None;
            end(validator, &good("x", 1), true, at(secs))
        });
    }
}

#[test]
fn f11_what_is_sent_again_is_what_peers_would_still_take() {
    let data = good("x", 1);
    for (rln, window) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut validator = if rln { validator(Rules::live()) } else { Validator::new(Policy::default()) };
        validator.policy.timestamp_window = window.then_some(Duration::from_secs(20));
        let may = |secs| validator.may_repeat(&topic(), &data, at(secs));
        assert!(may(SENT_SECS - 20) && may(SENT_SECS + 20));
        assert_eq!(may(SENT_SECS + 21), !(rln || window), "{rln} {window}");
    }
    assert!(Validator::new(Policy::default()).may_repeat(&topic(), &Bytes::from_static(b"no message"), at(SENT_SECS)));
}

#[test]
fn row_of_another_epoch_than_the_times_in_each_position() {
    let early = WakuMessage { timestamp: Some((SENT_SECS as i64 - 299) * 1_000_000_000), ..message("x") };
    let before = Epoch(SENT_SECS / 600 - 1);
    let data = with(&early, &RateLimitProof { epoch: before.bytes(), ..proof(&early, 1) });
    let expected = [Accept, Reject(Reason::Epoch), Reject(Reason::Epoch)];
    in_each_position(expected, |validator| end(validator, &data, true, at(SENT_SECS - 299)));
}

#[test]
fn row_of_an_unknown_root_in_each_position() {
    let stranger = RateLimitProof { root: *Element::from(1).bytes(), ..proof(&message("x"), 1) };
    let data = with(&message("x"), &stranger);
    let unknown = Reason::UnknownRoot;
    in_each_position([Ignore(unknown), Reject(unknown), Ignore(unknown)], |validator| {
        end(validator, &data, true, at(SENT_SECS))
    });
    for (rules, held) in [(Rules::all(Position::Text), true), (Rules::all(Position::Deployed), false)] {
        let judged = validator(rules).judge(&topic(), &data, at(SENT_SECS));
        assert_eq!(matches!(judged, Judged::Hold(_)), held, "{judged:?}");
    }
}

/// Before the group is known all roots are unknown, and the peers that bring them are as honest as any.
#[test]
fn h80_while_no_root_is_known_nothing_passes_and_nobody_is_blamed() {
    in_each_position([Ignore(Reason::UnknownRoot), Ignore(Reason::Busy), Ignore(Reason::UnknownRoot)], |validator| {
        validator.set_roots(Arc::default());
        end(validator, &good("x", 1), true, at(SENT_SECS))
    });
}

#[test]
fn a_root_that_is_learnt_counts_and_one_that_is_51_back_does_not() {
    let mut validator = validator(Rules::live());
    let mut roots = Roots::default();
    for number in ROOT..ROOT + 50 {
        roots.now(Element::from(number));
    }
    validator.set_roots(Arc::new(roots.clone()));
    assert_eq!(end(&mut validator, &good("x", 1), true, at(SENT_SECS)), Accept, "50 back");
    roots.now(Element::from(1));
    validator.set_roots(Arc::new(roots));
    assert_eq!(end(&mut validator, &good("y", 2), true, at(SENT_SECS)), Ignore(Reason::UnknownRoot), "51 back");
}

#[test]
fn row_of_other_forms_in_each_position() {
    let foreign = RateLimitProof { identifier: [7; 32], ..proof(&message("x"), 1) };
    let data = with(&message("x"), &foreign);
    let malformed = Reject(Reason::MalformedProof);
    in_each_position([malformed, Accept, malformed], |validator| end(validator, &data, true, at(SENT_SECS)));
    // Not looked at is not accepted: the rest still is looked at.
    let invalid = Reject(Reason::InvalidProof);
    in_each_position([malformed, invalid, malformed], |validator| end(validator, &data, false, at(SENT_SECS)));
    // r + 1 is 1 again.
    let r_plus_one = hex::decode("020000f093f5e1439170b97948e833285d588181b64550b829a031e1724e6430").unwrap();
    let again = RateLimitProof { nullifier: r_plus_one.try_into().unwrap(), ..proof(&message("y"), 1) };
    let again = with(&message("y"), &again);
    in_each_position([malformed, Reject(Reason::DoubleSignal), malformed], |validator| {
        assert_eq!(end(validator, &good("x", 1), true, at(SENT_SECS)), Accept);
        end(validator, &again, true, at(SENT_SECS))
    });
}

#[test]
fn h80_rows_of_double_signals_and_replays_in_each_position() {
    in_each_position([Reject(Reason::DoubleSignal); 3], |validator| {
        assert_eq!(end(validator, &good("x", 1), true, at(SENT_SECS)), Accept);
        assert_eq!(end(validator, &good("y", 2), true, at(SENT_SECS)), Accept);
        end(validator, &good("z", 1), true, at(SENT_SECS))
    });
    let expected = [Ignore(Reason::Replay), Reject(Reason::Replay), Ignore(Reason::Replay)];
    in_each_position(expected, |validator| {
        assert_eq!(end(validator, &good("x", 1), true, at(SENT_SECS)), Accept);
        // Other bytes of the same: a further field that nobody knows.
        let again = [&good("x", 1)[..], b"\xa0\x06\x01"].concat();
        end(validator, &again.into(), true, at(SENT_SECS))
    });
}

#[test]
fn h80_what_was_refused_has_spent_nothing() {
    let mut validator = validator(Rules::live());
    let now = at(SENT_SECS);
    assert_eq!(end(&mut validator, &good("x", 1), false, now), Ignore(Reason::InvalidProof));
    assert_eq!(end(&mut validator, &good("y", 1), true, now), Accept, "else anybody could spend for others");
    assert_eq!(end(&mut validator, &good("x", 1), false, now), Ignore(Reason::InvalidProof), "nor blame them");
}

#[test]
fn h81_a_full_log_lets_nothing_through_unlogged_and_blames_nobody() {
    let mut validator = validator(Rules::all(Position::Deployed));
    let small = validator.gate.take().map(|gate| gate.with_capacity(3));
    validator.gate = small;
    let now = at(SENT_SECS);
    let verdicts = [1, 2, 3, 4, 1].map(|nullifier| end(&mut validator, &good("x", nullifier), true, now));
    assert_eq!(verdicts, [Accept, Accept, Accept, Ignore(Reason::Busy), Reject(Reason::Replay)]);
    let other = WakuMessage { timestamp: Some((SENT_SECS as i64 + 600) * 1_000_000_000), ..message("x") };
    let next = end(&mut validator, &with(&other, &proof(&other, 4)), true, at(SENT_SECS + 600));
    assert_eq!(next, Accept, "in the next epoch there is room again");
}

#[test]
fn two_of_one_nullifier_in_verification_at_once_are_not_both_accepted() {
    let mut validator = validator(Rules::live());
    let now = at(SENT_SECS);
    let pending = ["x", "y", "x"].map(|payload| match validator.judge(&topic(), &good(payload, 1), now) {
        Judged::Verify(pending) => pending,
        judged => panic!("{judged:?}"),
    });
    let findings = pending.map(|pending| {
        let finding = validator.conclude(&pending, true, now);
        if finding == Finding::Valid {
            validator.accepted(&pending, now);
        }
        finding
    });
    assert_eq!(findings, [Finding::Valid, Finding::DoubleSignal, Finding::Replay]);
}

/// What a member may send is bounded by its ids: near the border of epochs as well, where both count.
#[test]
fn net_14_an_id_counts_once_on_either_side_of_a_border() {
    let mut validator = validator(Rules::live());
    let border = SENT_SECS + 300;
    let sent = |payload: &str, secs: u64, nullifier| {
        let message = WakuMessage { timestamp: Some(secs as i64 * 1_000_000_000), ..message(payload) };
        with(&message, &proof(&message, nullifier))
    };
    for (payload, sent_at, nullifier, seen_at, expected) in [
        ("a", border - 5, 1, border - 5, Accept),
        ("b", border - 4, 1, border + 10, Reject(Reason::DoubleSignal)),
        ("c", border + 1, 2, border - 10, Accept),
        ("d", border + 2, 2, border + 15, Reject(Reason::DoubleSignal)),
        ("e", border + 2, 1, border + 15, Accept),
    ] {
        let verdict = end(&mut validator, &sent(payload, sent_at, nullifier), true, at(seen_at));
        assert_eq!(verdict, expected, "{payload}");
    }
}

#[test]
fn f10_under_a_clock_that_jumps_a_day_nothing_is_forgotten_and_nobody_blamed() {
    let day = 86_400;
    for away in [SENT_SECS + day, SENT_SECS - day] {
        for window in [Some(Duration::from_secs(20)), None] {
            let mut validator = validator(Rules::live());
            validator.policy.timestamp_window = window;
            assert_eq!(end(&mut validator, &good("x", 1), true, at(SENT_SECS)), Accept);
            let verdict = end(&mut validator, &good("y", 2), true, at(away));
            assert!(verdict.depends_on_time(), "{verdict:?}");
            assert!(matches!(verdict.unless(|| true), Ignore(_)), "no blame while our clock is in doubt");
            let back = at(SENT_SECS + 5);
            assert_eq!(end(&mut validator, &good("z", 1), true, back), Reject(Reason::DoubleSignal));
            assert_eq!(end(&mut validator, &good("y", 2), true, back), Accept);
        }
    }
}

#[test]
fn h73_what_a_message_holds_is_judged_before_its_proof() {
    let mut validator = validator(Rules::live());
    for (timestamp, secs) in [(i64::MAX, SENT_SECS), (i64::MIN, SENT_SECS), (SENT_SECS as i64, SENT_SECS)] {
        let odd = WakuMessage { timestamp: Some(timestamp), ..message("x") };
        let data = with(&odd, &proof(&message("x"), 1));
        assert_eq!(end(&mut validator, &data, true, at(secs)), Reject(Reason::OutsideWindow));
    }
    let odd = WakuMessage { version: u32::MAX, ephemeral: true, ..message("x") };
    assert_eq!(end(&mut validator, &with(&odd, &proof(&odd, 2)), true, at(SENT_SECS)), Accept);
}

#[test]
fn with_proofs_and_no_word_on_bandwidth_there_is_some() {
    let mut validator = validator(Rules::all(Position::Text));
    validator.policy.free_bandwidth = None;
    assert_eq!(end(&mut validator, &message("x").encode(), true, at(SENT_SECS)), Accept);
    let told = validator.policy.to_string();
    assert!(!told.contains("rests"), "{told}");
}
