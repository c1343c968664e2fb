//! Follows a group on its chain: the roots that count, the paths of own members, and how that goes: shell.
//!
//! Nobody builds the tree: the contract has it. Every [`Settings::every`] its root is read; somebody who misses one may have it
//! read at once, but not more than once in [`LOOK_AT_MOST`]. While no provider answers, the last roots count and [`Health`] says
//! since when. `core` says what is asked, `between` finds roots of blocks that no look fell on.
//! Spec: 17/WAKU2-RLN-RELAY, "Syncing the group"; deployed nodes read the root every 5 s and nothing between.

use std::{sync::Arc, time::Duration};

use devp2p::clock::Now;
use tokio::{sync::watch, time::Instant};
use waku2::rln::roots::{self, Follow, Known};

mod between;
pub mod core;

pub use self::core::{Failing, Health};

use self::core::{Answer, Change, Core, Question};
use crate::{
    contract::{self, Contract},
    path::{Own, Places},
    provider::{At, Fault, Provider, instant},
};

/// How often the root is read.
pub const EVERY: Duration = Duration::from_secs(5);

/// The shortest time between two looks, whoever asks for them.
pub const LOOK_AT_MOST: Duration = Duration::from_secs(1);

/// How to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often the root is read; never more often than [`LOOK_AT_MOST`].
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: EVERY }
    }
}

/// A group, for those who want to know of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Group {
    /// The roots that count.
    pub known: Known,
    /// Paths of own members; `None` before the first.
    pub places: watch::Receiver<Option<Arc<Places>>>,
    /// How following goes.
    pub health: watch::Receiver<Health>,
    own: Arc<watch::Sender<Own>>,
}

impl Group {
    /// These are own members from now on: their paths are read at once.
    pub fn own(&self, own: Own) {
        self.own.send_replace(own);
        self.known.look.notify_one();
    }
}

/// Whoever follows. It does so in [`Follower::run`].
#[derive(Debug)]
pub struct Follower {
    provider: Provider,
    contract: Contract,
    settings: Settings,
    core: Core,
    follow: Follow,
    places: watch::Sender<Option<Arc<Places>>>,
    health: watch::Sender<Health>,
    own: watch::Receiver<Own>,
}

/// A follower of a contract's group, and what it tells.
#[must_use]
pub fn follow(provider: Provider, contract: Contract, settings: Settings) -> (Follower, Group) {
    let (follow, known) = roots::follow();
    let (places, places_told) = watch::channel(None);
    let (health, health_told) = watch::channel(Health::default());
    let (own, own_told) = watch::channel(Own::default());
    let group = Group { known, places: places_told, health: health_told, own: Arc::new(own) };
    let core = Core::default();
    (Follower { provider, contract, settings, core, follow, places, health, own: own_told }, group)
}

impl Follower {
    /// Follows for ever. Safe to cancel.
    pub async fn run(mut self) {
        let every = self.settings.every.max(LOOK_AT_MOST);
        loop {
            let began = Instant::from_std(instant());
            self.look().await;
            tokio::time::sleep_until(began + LOOK_AT_MOST).await;
            tokio::select! {
                () = self.follow.look.notified() => {}
                () = tokio::time::sleep_until(began + every) => {}
            }
        }
    }

    async fn look(&mut self) {
        let own = self.own.borrow_and_update().clone();
        self.core.look(own);
        while let Some(question) = self.core.question() {
            let answer = self.ask(question).await;
            if let Some(change) = self.core.answered(now(), answer) {
                self.tell(change);
            }
        }
        let health = self.core.health();
        if health.failing.as_ref().is_some_and(|failing| failing.looks == 1) {
            tracing::warn!(fault = ?health.failing, "the root of the group cannot be read; the last ones count");
        }
        self.health.send_replace(health.clone());
    }

    async fn ask(&self, question: Question) -> Result<Answer, Fault> {
        let Contract { address, flavour, .. } = self.contract;
        match question {
            Question::Head => self.provider.block().await.map(Answer::Head),
            Question::Root(at) => {
                self.provider.call(address, &flavour.ask_root(), at, contract::root).await.map(Answer::Root)
            }
            Question::Past(block) => self
                .provider
                .call(address, &flavour.ask_root(), At::Block(block), contract::root_then)
                .await
                .map(Answer::Past),
            Question::Path(index, block) => {
                let call = flavour.ask_path(index);
                let path = self.provider.call(address, &call, At::Block(block), contract::path).await?;
                Ok(Answer::Path(Box::new(path)))
            }
        }
    }

    fn tell(&self, change: Change) {
        match change {
            // At once, so that none of the older ones is ever taken for the newest.
            Change::Roots(roots) => drop(self.follow.roots.send_if_modified(|known| {
                let known = Arc::make_mut(known);
                roots.into_iter().fold(false, |news, root| known.now(root) | news)
            })),
            Change::Places(places) => drop(self.places.send_replace(Some(places))),
        }
    }
}

fn now() -> Now {
    Now { instant: instant(), ..devp2p::clock::now() }
}
