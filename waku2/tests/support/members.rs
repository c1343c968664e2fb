//! A group whose proofs hold by a rule of its own, a hash of all that they say: nobody outside this file can make one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};
use waku2::{
    WakuMessage,
    rln::{
        NoProof, Prove, Verify,
        element::Element,
        epoch::{Epoch, EpochLength},
        proof::{IDENTIFIER, RateLimitProof},
        signal::Signal,
    },
};

/// Says whether proofs hold.
#[derive(Debug)]
pub struct Verifier;

impl Verify for Verifier {
    fn verify(&self, proofs: &[RateLimitProof]) -> Vec<bool> {
        proofs.iter().map(|proof| proof.snark[..32] == snark(proof)).collect()
    }
}

/// A member with so many messages in an epoch.
#[derive(Debug)]
pub struct Member {
    pub secret: u64,
    pub root: Element,
    pub limit: u64,
    spent: Mutex<HashMap<Epoch, u64>>,
}

impl Member {
    pub fn new(secret: u64, root: Element, limit: u64) -> Self {
        Self { secret, root, limit, spent: Mutex::default() }
    }

    /// The proof of a signal with this message id.
    pub fn proof(&self, signal: Signal, epoch: Epoch, id: u64) -> RateLimitProof {
        let a1 = hash(&[&self.secret.to_le_bytes(), &epoch.bytes(), &id.to_le_bytes()]);
        let mut proof = RateLimitProof {
            snark: [0; 128],
            root: *self.root.bytes(),
            epoch: epoch.bytes(),
            share_x: *signal.x().bytes(),
            share_y: *element(&[&a1, signal.x().bytes()]).bytes(),
            nullifier: *element(&[&a1]).bytes(),
            identifier: IDENTIFIER,
        };
        let holds = snark(&proof);
        proof.snark[..32].copy_from_slice(&holds);
        proof
    }

    /// `message` with the proof of this id, in the epoch of its time.
    pub fn prove_as(&self, message: &WakuMessage, id: u64) -> WakuMessage {
        let nanos = u64::try_from(message.timestamp.unwrap()).unwrap();
        let epoch = EpochLength::default().at(Duration::from_nanos(nanos));
        with(message, &self.proof(Signal::of(message), epoch, id))
    }
}

impl Prove for Member {
    fn prove(
        &self,
        signal: Signal,
        epoch: Epoch,
        _: Option<Arc<str>>,
    ) -> BoxFuture<'_, Result<RateLimitProof, NoProof>> {
        let mut spent = self.spent.lock().unwrap();
        let id = spent.entry(epoch).or_default();
        *id += 1;
        let proof = if *id > self.limit { Err(NoProof::OutOfIds) } else { Ok(self.proof(signal, epoch, *id - 1)) };
        async move { proof }.boxed()
    }
}

/// `message` with this proof.
pub fn with(message: &WakuMessage, proof: &RateLimitProof) -> WakuMessage {
    WakuMessage { rate_limit_proof: Some(proof.encode()), ..message.clone() }
}

/// The same with a proof that does not hold, though everything else is in order.
pub fn forged(message: &WakuMessage) -> WakuMessage {
    let proof: Bytes = message.rate_limit_proof.clone().unwrap();
    let mut proof = RateLimitProof::decode(&proof).unwrap();
    proof.snark[0] ^= 1;
    with(message, &proof)
}

pub fn verifier() -> Arc<dyn Verify> {
    Arc::new(Verifier)
}

fn snark(proof: &RateLimitProof) -> [u8; 32] {
    hash(&[&proof.root, &proof.epoch, &proof.share_x, &proof.share_y, &proof.nullifier, &proof.identifier])
}

fn element(parts: &[&[u8]]) -> Element {
    Element::reduced(hash(parts))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
