//! Where our members are under the newest root, and what of their proofs can be made ahead of a message.

use std::{collections::BTreeMap, sync::Arc};

use membership::{contract::Commitment, path::Places};
use tokio::{sync::watch, task::spawn_blocking};
use waku_rln::{Member, Path, pool::Pool};
use waku2::rln::element::Element;

use super::Mine;

/// Members for whom a proof's first part is made as soon as there is a root; for the others with their first message. As many as
/// the pool keeps for two roots.
const AHEAD: usize = waku_rln::pool::KEPT / 2;

/// Our members whose path leads to a root.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) root: Element,
    pub(super) members: BTreeMap<Commitment, (Member, Path)>,
}

/// Looks at each new root.
#[derive(Debug)]
pub(super) struct Stood {
    pub(super) mine: Vec<Mine>,
    pub(super) places: watch::Receiver<Option<Arc<Places>>>,
    pub(super) told: watch::Sender<Arc<Standing>>,
    pub(super) pool: Pool,
}

impl Stood {
    /// Looks where they are now.
    pub(super) async fn look(mut self) -> Self {
        let Some(places) = self.places.borrow_and_update().clone() else { return self };
        let mine = self.mine.clone();
        // A dozen milliseconds for each.
        let Ok(standing) = spawn_blocking(move || standing(&mine, &places)).await else { return self };
        if standing.members.len() < self.mine.len() {
            let missing = self.mine.iter().find(|mine| !standing.members.contains_key(&mine.commitment));
            let index = missing.map(|mine| mine.index);
            tracing::warn!(index, "a membership is not in the group at its index: no proof can be made with it");
        }
        self.told.send_replace(Arc::new(standing));
        self
    }

    /// Looks whenever there is something new, and makes ahead what can be. Ends when nobody follows the group any more.
    pub(super) async fn run(mut self) {
        loop {
            self.ahead().await;
            if self.places.changed().await.is_err() {
                return;
            }
            self = self.look().await;
        }
    }

    async fn ahead(&self) {
        let standing = Arc::clone(&self.told.borrow());
        for (member, path) in standing.members.values().take(AHEAD) {
            if let Err(error) = self.pool.ready(member, path, &standing.root).await {
                tracing::debug!(%error, "nothing is made ahead");
            }
        }
    }
}

/// Those whose path leads from their leaf to the root: a proof for another root is worth nothing, and costs a message id.
fn standing(mine: &[Mine], places: &Places) -> Standing {
    let stands = |mine: &Mine| {
        let path = Path::new(mine.index, *places.paths.get(&mine.index)?)?;
        let leads_there = path.root(&mine.member.leaf()) == places.root;
        leads_there.then(|| (mine.commitment, (mine.member.clone(), path)))
    };
    Standing { root: places.root, members: mine.iter().filter_map(stands).collect() }
}
