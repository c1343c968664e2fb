//! Proofs of own messages: memberships take turns, an id is written down before it is used.
//!
//! Not more than [`MOST`] are asked for at a time; who comes then is told so before an id is spent on him.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use devp2p::clock::now;
use futures::future::BoxFuture;
use membership::ids::{Id, Ids, NoId};
use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
};
use waku_rln::{
    pool::{Pool, WAITING},
    prove::Message,
};
use waku2::rln::{
    NoProof, Prove,
    epoch::Epoch,
    proof::{IDENTIFIER, RateLimitProof},
    signal::Signal,
};

use super::{locked, standing::Standing};

/// Proofs that are asked for at a time: the pool has room for them.
const MOST: usize = WAITING;

/// Our members.
pub(super) struct Members {
    standing: watch::Receiver<Arc<Standing>>,
    ids: Arc<Mutex<Ids>>,
    pool: Pool,
    asked: Semaphore,
}

impl Members {
    pub(super) fn new(standing: watch::Receiver<Arc<Standing>>, ids: Arc<Mutex<Ids>>, pool: Pool) -> Self {
        Self { standing, ids, pool, asked: Semaphore::new(MOST) }
    }

    async fn made(&self, signal: Signal, epoch: Epoch, class: Option<Arc<str>>) -> Result<RateLimitProof, NoProof> {
        let _asked = self.asked.try_acquire().map_err(|_| NoProof::Busy)?;
        let standing = Arc::clone(&self.standing.borrow());
        let id = self.id(epoch, class, Arc::clone(&standing)).await?;
        let (member, path) = standing.members.get(&id.commitment).ok_or(NoProof::NotReady)?;
        let ready = self.pool.ready(member, path, &standing.root).await?;
        let message = Message {
            id: u16::try_from(id.id).map_err(|_| NoProof::Failed)?,
            x: *signal.x(),
            epoch,
            identifier: IDENTIFIER,
        };
        Ok(self.pool.prove(ready, message).await?)
    }

    /// The next id of whoever's turn it is. It is spent when this is cancelled.
    async fn id(&self, epoch: Epoch, class: Option<Arc<str>>, standing: Arc<Standing>) -> Result<Id, NoProof> {
        let ids = Arc::clone(&self.ids);
        let taken = spawn_blocking(move || {
            let is_usable = |commitment: &_| standing.members.contains_key(commitment);
            locked(&ids).take(now().unix, epoch, class.as_deref(), is_usable)
        });
        let taken = taken.await.map_err(|_| NoProof::Failed)?;
        taken.map_err(|error| {
            if let NoId::Ledger(error) = &error {
                tracing::error!(%error, "message ids can't be written down, so none go out");
            }
            error.no_proof()
        })
    }
}

impl Prove for Members {
    fn prove(
        &self,
        signal: Signal,
        epoch: Epoch,
        class: Option<Arc<str>>,
    ) -> BoxFuture<'_, Result<RateLimitProof, NoProof>> {
        Box::pin(self.made(signal, epoch, class))
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Members")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use membership::{
        contract::Commitment,
        ids::{Membership, Pool as Own, Range, Reserve},
    };
    use rand::{SeedableRng as _, rngs::StdRng};
    use waku_rln::{Identity, Limit, Member, Prover, Tree, Verifier};
    use waku2::{
        Meta, WakuMessage,
        rln::{Verify as _, epoch::EpochLength},
    };

    use super::*;

    struct World {
        _directory: tempfile::TempDir,
        verifier: Arc<Verifier>,
        prover: Members,
        told: watch::Sender<Arc<Standing>>,
        standing: Standing,
    }

    /// Two members with a message each.
    fn world() -> World {
        let limit = Limit::new(1).unwrap();
        let member = |seed: &[u8]| Member { identity: Arc::new(Identity::seeded(seed)), limit };
        let members = [member(b"one"), member(b"other")];
        let tree = Tree::new(&members.each_ref().map(Member::leaf)).unwrap();
        let commitments = members.each_ref().map(|member| Commitment::new(*member.identity.commitment()).unwrap());
        let placed = members.into_iter().zip(0..).map(|(member, index)| (member, tree.path(index).unwrap()));
        let placed: BTreeMap<_, _> = commitments.into_iter().zip(placed).collect();
        let range = Range::all(1).unwrap();
        let own = commitments.map(|commitment| Membership { commitment, range }).to_vec();
        let directory = tempfile::tempdir().unwrap();
        let (path, length) = (directory.path().join("ids"), EpochLength::default());
        let own = Own::new(own).unwrap();
        let (ids, _) = Ids::open(&path, length, now().unix, own, Reserve::default()).unwrap();
        let verifier = Arc::new(Verifier::new(&mut StdRng::seed_from_u64(1)));
        let pool = Pool::new(Arc::new(Prover::new(Arc::clone(&verifier))));
        let (told, standing) = watch::channel(Arc::default());
        let prover = Members::new(standing, Arc::new(Mutex::new(ids)), pool);
        let standing = Standing { root: tree.root(), members: placed };
        World { _directory: directory, verifier, prover, told, standing }
    }

    fn signal(payload: &'static str) -> Signal {
        Signal::of(&WakuMessage {
            payload: payload.into(),
            content_topic: "/a/1/b/proto".into(),
            version: 0,
            timestamp: Some(1),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        })
    }

    #[tokio::test]
    async fn members_take_turns_and_nothing_is_spent_before_they_stand() {
        let World { _directory, verifier, prover, told, standing } = world();
        let epoch = EpochLength::default().at(now().unix);
        assert_eq!(prover.prove(signal("early"), epoch, None).await.unwrap_err(), NoProof::NotReady);
        let root = *standing.root.bytes();
        told.send_replace(Arc::new(standing));
        let first = prover.prove(signal("first"), epoch, None).await.unwrap();
        let second = prover.prove(signal("second"), epoch, Some("class".into())).await.unwrap();
        assert_ne!(first.nullifier, second.nullifier);
        assert_eq!((first.root, second.root), (root, root));
        assert_eq!(verifier.verify(&[first, second]), [true, true]);
        assert_eq!(prover.prove(signal("third"), epoch, None).await.unwrap_err(), NoProof::OutOfIds);
    }

    #[tokio::test]
    async fn who_finds_no_room_spends_nothing() {
        let World { _directory, prover, told, standing, .. } = world();
        told.send_replace(Arc::new(standing));
        let epoch = EpochLength::default().at(now().unix);
        let all = prover.asked.acquire_many(MOST as u32).await.unwrap();
        assert_eq!(prover.prove(signal("one too many"), epoch, None).await.unwrap_err(), NoProof::Busy);
        drop(all);
        assert_eq!(locked(&prover.ids).budget(epoch).left(), 2);
    }
}
