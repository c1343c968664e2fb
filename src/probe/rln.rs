//! Rate-limit proofs, by the names of nwaku; zero where they are not verified.

use std::time::Duration;

use waku2::{handle::Counters, validate::Reason};

use super::{Amount, Sample, counter, gauge, read};
use crate::rln::Numbers;

/// Nanoseconds in a second.
const NANOS: f64 = 1e9;

/// What is no valid message, by nwaku's words for it: of an epoch that is not that of the message's time it says
/// `timestamp_mismatch`, and of one that is far from our clock too. What it has no word for has ours.
const INVALID: [(Reason, &str); 6] = [
    (Reason::OutsideWindow, "invalid_timestamp"),
    (Reason::Epoch, "timestamp_mismatch"),
    (Reason::UnknownRoot, "invalid_root"),
    (Reason::InvalidProof, "invalid_proof"),
    (Reason::MalformedProof, "malformed_proof"),
    (Reason::Unproven, "no_proof"),
];

pub(super) fn samples(node: &waku2::Handle) -> Vec<Sample> {
    let counters = node.counters();
    let rln = &counters.rln;
    let spam = dropped(&counters, Reason::DoubleSignal) + dropped(&counters, Reason::Replay);
    let mut samples = vec![
        counter("waku_rln_messages_total", "Messages whose proof was looked at, or missed", read(&rln.looked_at)),
        counter("waku_rln_spam_messages_total", "Messages beyond their sender's rate, and repeated ones", spam),
        counter("waku_rln_proof_verification_total", "Proofs verified", read(&rln.verified)),
        seconds(
            "waku_rln_proof_verification_duration_seconds",
            "What a proof of the last batch took",
            Duration::from_nanos(read(&rln.last_nanos)),
        ),
        seconds(
            "waku_rln_proof_generation_duration_seconds",
            "What the last proof of an own message took, its turn included",
            Duration::from_nanos(read(&rln.last_proving_nanos)),
        ),
        Sample {
            amount: Amount::Seconds(read(&rln.nanos) as f64 / NANOS),
            ..counter("rln_verification_seconds", "What verifying has taken in all", 0)
        },
        counter("rln_verification_batches", "Batches verified", read(&rln.batches)),
        counter("rln_verification_failures", "Batches that the verifier did not survive", read(&rln.failed)),
        counter(
            "rln_verification_late",
            "Messages ignored because the verifier did not answer in time",
            read(&rln.late),
        ),
        gauge("rln_verification_queue", "Messages that wait to be verified", read(&rln.waiting)),
        gauge("rln_held", "Messages that wait for their root", read(&rln.held)),
        counter("rln_were_held", "Messages that have waited for their root", read(&rln.were_held)),
        counter("rln_roots_in_time", "Of these, those whose root came in time", read(&rln.came_in_time)),
        counter("rln_overload", "Messages dropped for want of room to verify, hold or remember", read(&rln.overload)),
        gauge("rln_nullifiers", "Nullifiers that are remembered", read(&rln.nullifiers)),
        counter("rln_peers_left", "Peers left because of their invalid proofs", read(&rln.left)),
        counter("rln_attached", "Own messages that got a proof", read(&rln.attached)),
        counter("rln_not_attached", "Own messages for which none could be made", read(&rln.not_attached)),
    ];
    // Messages without a proof, or of a wrong time, are dropped where no proofs are verified too.
    let verifies = read(&rln.looked_at) > 0;
    samples.extend(INVALID.map(|(reason, word)| Sample {
        labels: vec![("type", word.to_owned())],
        ..counter(
            "waku_rln_invalid_messages_total",
            "Messages whose proof is none, or missing",
            match verifies {
                true => dropped(&counters, reason),
                false => 0,
            },
        )
    }));
    samples.extend(counters.traffic.topics().into_iter().map(|(topic, carried)| Sample {
        labels: vec![("shard", topic.to_string())],
        ..counter("waku_rln_valid_messages_total", "Messages with a valid proof", carried.proven)
    }));
    samples
}

/// The group, and what is left to our members in it.
pub(super) fn membership(numbers: &Numbers) -> Vec<Sample> {
    let left = numbers.left.iter().map(|(_, left)| left).sum();
    let mut samples = vec![
        gauge("waku_rln_number_registered_memberships", "Members of the group", numbers.members.into()),
        gauge("waku_rln_remaining_proofs_per_epoch", "Own messages that may still be proven in this epoch", left),
    ];
    // Nobody is put into a tree here: the contract has it.
    samples.extend([
        seconds(
            "waku_rln_instance_creation_duration_seconds",
            "What reading key and circuit took",
            numbers.took.reading,
        ),
        seconds("waku_rln_membership_insertion_duration_seconds", "Nothing", Duration::ZERO),
        seconds(
            "waku_rln_membership_credentials_import_duration_seconds",
            "What opening our keystores took",
            numbers.took.opening,
        ),
    ]);
    samples.extend(numbers.left.iter().map(|(index, left)| Sample {
        labels: vec![("membership", index.to_string())],
        ..gauge("bridge_rln_budget_remaining", "The same by the index of the membership", *left)
    }));
    samples
}

fn seconds(name: &'static str, help: &'static str, took: Duration) -> Sample {
    Sample { amount: Amount::Gauge(took.as_secs_f64()), ..gauge(name, help, 0) }
}

fn dropped(counters: &Counters, reason: Reason) -> u64 {
    read(&counters.ignored[reason.index()]) + read(&counters.rejected[reason.index()])
}

#[cfg(test)]
mod tests {
    use waku2::Config;

    use super::*;

    #[tokio::test]
    async fn zero_where_no_proofs_are_verified() {
        let (events, _) = tokio::sync::mpsc::channel(1);
        let (node, _task) = waku2::run::start(Config::new([1; 32]), events).await.unwrap();
        let mut told = samples(&node);
        told.extend(membership(&Numbers::default()));
        for name in [
            "waku_rln_messages_total",
            "waku_rln_spam_messages_total",
            "waku_rln_proof_verification_total",
            "waku_rln_proof_verification_duration_seconds",
            "waku_rln_proof_generation_duration_seconds",
            "waku_rln_instance_creation_duration_seconds",
            "waku_rln_membership_insertion_duration_seconds",
            "waku_rln_membership_credentials_import_duration_seconds",
            "waku_rln_number_registered_memberships",
            "waku_rln_remaining_proofs_per_epoch",
        ] {
            assert!(told.iter().any(|sample| sample.name == name), "{name}");
        }
        let types: Vec<&str> = told
            .iter()
            .filter(|sample| sample.name == "waku_rln_invalid_messages_total")
            .map(|sample| sample.labels[0].1.as_str())
            .collect();
        assert_eq!(types[..4], ["invalid_timestamp", "timestamp_mismatch", "invalid_root", "invalid_proof"]);
        assert!(
            told.iter()
                .all(|sample| matches!(sample.amount, Amount::Counter(0) | Amount::Gauge(0.0) | Amount::Seconds(0.0)))
        );
    }
}
