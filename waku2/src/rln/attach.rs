//! Proofs of own messages: made before a message reaches the node, since that takes a good part of a second.
//!
//! A message that is published again in its epoch gets the proof that it had: it spends nothing, and peers know it again. Limit:
//! [`REMEMBERED`] proofs, the oldest goes.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use devp2p::clock::{self, Now};

use super::{
    NoProof, Prove,
    check::{MAX_EPOCH_GAP, of_message},
    epoch::{Epoch, EpochLength},
    proof::RateLimitProof,
    signal::Signal,
};
use crate::message::WakuMessage;

/// Proofs that are remembered: as many as a member of The Waku Network may send in an epoch. About 400 bytes each.
const REMEMBERED: usize = 600;

/// Attaches proofs.
#[derive(Debug)]
pub(crate) struct Attach {
    prover: Arc<dyn Prove>,
    epochs: EpochLength,
    made: Mutex<VecDeque<(Signal, Epoch, Bytes)>>,
    last_nanos: AtomicU64,
}

impl Attach {
    pub(crate) fn new(prover: Arc<dyn Prove>, epochs: EpochLength) -> Self {
        Self { prover, epochs, made: Mutex::default(), last_nanos: AtomicU64::new(0) }
    }

    /// The message with a proof out of what is kept for `class`, encoded anew.
    pub(crate) async fn attach(
        &self,
        message: WakuMessage,
        class: Option<Arc<str>>,
        now: Now,
    ) -> Result<Bytes, NoProof> {
        let (signal, epoch) = (Signal::of(&message), self.epoch(&message, now));
        let known = self.remembered(signal, epoch);
        let proof = match known {
            Some(proof) => proof,
            None => {
                let proof = self.prover.prove(signal, epoch, class).await?;
                let took = clock::now().instant.saturating_duration_since(now.instant).as_nanos();
                self.last_nanos.store(u64::try_from(took).unwrap_or(u64::MAX), Relaxed);
                self.made(signal, epoch, &proof)
            }
        };
        Ok(WakuMessage { rate_limit_proof: Some(proof), ..message }.encode())
    }

    /// Nanoseconds that the last proof took, from when it was asked for.
    pub(crate) fn last_nanos(&self) -> u64 {
        self.last_nanos.load(Relaxed)
    }

    /// That of the message's time, as deployed nodes want it; the present one where that is too far away to be valid.
    fn epoch(&self, message: &WakuMessage, now: Now) -> Epoch {
        let is_near = |epoch: &Epoch| self.epochs.distance(*epoch, now.unix) <= MAX_EPOCH_GAP;
        of_message(message, self.epochs).filter(is_near).unwrap_or_else(|| self.epochs.at(now.unix))
    }

    fn remembered(&self, signal: Signal, epoch: Epoch) -> Option<Bytes> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().find(|(of, at, _)| (*of, *at) == (signal, epoch)).map(|(_, _, proof)| proof.clone())
    }

    fn made(&self, signal: Signal, epoch: Epoch, proof: &RateLimitProof) -> Bytes {
        let proof = proof.encode();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() == REMEMBERED {
            made.pop_front();
        }
        made.push_back((signal, epoch, proof.clone()));
        proof
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, future::BoxFuture};

    use super::*;
    use crate::{message::Meta, rln::proof::IDENTIFIER};

    /// Begins an epoch.
    const BEGINS: u64 = 1_699_999_800;

    /// Counts what it is asked for.
    #[derive(Debug, Default)]
    struct Counting(Mutex<Vec<Epoch>>, Mutex<Vec<Option<Arc<str>>>>);

    impl Prove for Counting {
        fn prove(
            &self,
            signal: Signal,
            epoch: Epoch,
            class: Option<Arc<str>>,
        ) -> BoxFuture<'_, Result<RateLimitProof, NoProof>> {
            self.0.lock().unwrap().push(epoch);
            self.1.lock().unwrap().push(class);
            let (share_x, element) = (*signal.x().bytes(), [0; 32]);
            let (share_y, nullifier) = (element, element);
            let epoch = epoch.bytes();
            let proof = RateLimitProof {
                snark: [0; 128],
                root: element,
                epoch,
                share_x,
                share_y,
                nullifier,
                identifier: IDENTIFIER,
            };
            async move { Ok(proof) }.boxed()
        }
    }

    fn message(payload: &'static str, secs: Option<u64>) -> WakuMessage {
        WakuMessage {
            payload: payload.into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp: secs.map(|secs| secs as i64 * 1_000_000_000),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    #[tokio::test]
    async fn a_proof_is_of_the_messages_epoch_while_that_counts_and_made_once() {
        let prover = Arc::new(Counting::default());
        let attach = Attach::new(prover.clone(), EpochLength::default());
        let now = Now { unix: Duration::from_secs(BEGINS + 5), ..clock::now() };
        let present = BEGINS / 600;
        for (payload, secs, epoch) in [
            ("before", Some(BEGINS - 1), present - 1),
            ("now", Some(BEGINS + 4), present),
            ("long ago", Some(BEGINS - 900), present),
            ("no time", None, present),
        ] {
            let message = message(payload, secs);
            let made = |class: Option<&str>| attach.attach(message.clone(), class.map(Arc::from), now);
            let [first, again] = [made(Some("a")).await, made(None).await];
            assert_eq!(first, again, "{payload}");
            assert_eq!(prover.0.lock().unwrap().pop(), Some(Epoch(epoch)), "{payload}");
            assert!(prover.0.lock().unwrap().is_empty(), "{payload} is proven once");
            assert_eq!(prover.1.lock().unwrap().pop().unwrap().as_deref(), Some("a"), "{payload} has its class");
            let attached = WakuMessage::decode(&first.unwrap()).unwrap();
            assert_eq!(WakuMessage { rate_limit_proof: None, ..attached }, message);
        }
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let attach = Attach::new(Arc::new(Counting::default()), EpochLength::default());
        let now = clock::now();
        for n in 0..=REMEMBERED as u64 {
            attach.attach(message("x", Some(n)), None, now).await.unwrap();
        }
        assert_eq!(attach.made.lock().unwrap().len(), REMEMBERED);
    }
}
