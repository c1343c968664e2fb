//! What proofs cost, on one thread: `cargo bench -p waku-rln`.
//!
//! Verifying singly and in batches of 64 alternate, over the same proofs, so that the ratio is of one run. The goal is 3.3 times the rate,
//! and a proof from what is kept in 200 ms.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};
use waku_rln::{
    Identity, Limit, Member, Prover, Tree, Verifier,
    prove::{Message, Ready},
};
use waku2::rln::{
    Verify as _,
    epoch::Epoch,
    proof::{IDENTIFIER, RateLimitProof},
};

/// Proofs of a batch.
const BATCH: usize = 64;
/// Proofs made, and so many times each; the batch is of them.
const MADE: u16 = 8;
/// Rounds of verifying.
const ROUNDS: usize = 15;

fn main() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut loaded = None;
    let load = timed(|| {
        let verifier = Arc::new(Verifier::new(&mut rng));
        loaded = Some((Prover::new(Arc::clone(&verifier)), verifier));
    });
    println!("key, circuit, both prepared, first of the program: {:.1} ms", ms(load));
    let (prover, verifier) = loaded.expect("it was loaded just now");
    verifying(&verifier, &proving(&prover));
}

fn proving(prover: &Prover) -> Vec<RateLimitProof> {
    let limit = Limit::new(100).expect("it is one");
    let member = Member { identity: Arc::new(Identity::seeded(b"benchmark")), limit };
    let tree = Tree::new(&[member.leaf()]).expect("one fits");
    let ready = || -> Ready {
        let path = tree.path(0).expect("somebody is there");
        prover.ready(member.clone(), path, tree.root()).expect("it leads there")
    };
    let kept = ready();
    let message = |id: u16| Message { id, x: u64::from(id).into(), epoch: Epoch(1), identifier: IDENTIFIER };
    let (mut from_kept, mut anew, mut proofs) = (vec![], vec![], vec![]);
    for id in 0..MADE {
        from_kept.push(timed(|| proofs.push(prover.prove(&kept, &message(id)).expect("it is made"))));
        anew.push(timed(|| assert!(prover.prove(&ready(), &message(id)).is_ok())));
    }
    println!(
        "a proof, verified before it is given away: {:.0} ms from what is kept for a root, {:.0} ms without",
        ms(median(&mut from_kept)),
        ms(median(&mut anew))
    );
    proofs
}

fn verifying(verifier: &Verifier, proofs: &[RateLimitProof]) {
    let batch: Vec<_> = proofs.iter().cycle().take(BATCH).cloned().collect();
    let one_false: Vec<_> = with_false(&batch, |place| place == BATCH / 2);
    let all_false: Vec<_> = with_false(&batch, |_| true);
    let [mut singly, mut together, mut one, mut all] = [const { vec![] }; 4];
    for _ in 0..ROUNDS {
        singly.push(timed(|| {
            batch.iter().for_each(|proof| assert_eq!(verifier.verify(std::slice::from_ref(proof)), [true]))
        }));
        together.push(timed(|| assert_eq!(verifier.verify(&batch), [true; BATCH])));
        one.push(timed(|| assert_eq!(verifier.verify(&one_false).iter().filter(|holds| !**holds).count(), 1)));
        all.push(timed(|| assert_eq!(verifier.verify(&all_false), [false; BATCH])));
    }
    let [singly, together, one, all] = [singly, together, one, all].map(|mut took| median(&mut took));
    let each = |took: Duration| ms(took) / BATCH as f64;
    let times = |took: Duration| singly.as_secs_f64() / took.as_secs_f64();
    println!("verifying singly: {:.2} ms each", each(singly));
    println!("in batches of {BATCH}: {:.2} ms each, {:.2} times the rate", each(together), times(together));
    println!("with one false: {:.2} ms each, {:.2} times the rate", each(one), times(one));
    println!("with all false: {:.2} ms each, {:.2} times the rate", each(all), times(all));
    for size in [2, 3, 4, 8, 16, 32] {
        let mut took: Vec<_> =
            (0..ROUNDS).map(|_| timed(|| drop(black_box(verifier.verify(&batch[..size]))))).collect();
        println!("in batches of {size}: {:.2} ms each", ms(median(&mut took)) / size as f64);
    }
}

fn with_false(batch: &[RateLimitProof], is_false: impl Fn(usize) -> bool) -> Vec<RateLimitProof> {
    let mut batch = batch.to_vec();
    for (_, proof) in batch.iter_mut().enumerate().filter(|(place, _)| is_false(*place)) {
        proof.share_y[0] ^= 1;
    }
    batch
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
