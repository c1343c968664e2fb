//! Rate-limit proofs in the program: the group, our memberships in it, and who verifies and proves.
//!
//! | Module | What |
//! |---|---|
//! | [`ask`] | passwords, of the flags or of a person |
//! | [`keystore`] | the credentials that they open |
//! | [`list`] | a group that is a file |
//! | [`standing`] | where our members are under the newest root |
//! | [`prover`] | proofs of own messages |
//! | [`probe`] | what health and metrics tell |
//!
//! Message ids are in [`LEDGER`] of the data directory. It belongs to the memberships: who deletes it may repeat ids, which gives
//! a member's secret away.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU32},
};

use devp2p::clock::now;
use membership::{
    contract::Commitment,
    follow::{Follower, Settings, follow},
    ids::{Ids, LedgerError, Membership, NoPool, Pool as Own, Range},
    path::{NotOwn, Own as Indexes, Places},
    provider::{HowMany, Http, Provider},
    status,
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Duration, sleep},
};
use waku_rln::{Member, Prover, Verifier, pool::Pool, tree::Full};
use waku2::rln::{
    Config, Nobody, Prove,
    check::Terms,
    proof::IDENTIFIER,
    roots::{self, Follow, Known},
};

pub(crate) mod ask;
pub(crate) mod keystore;
pub(crate) mod list;
mod probe;
mod prover;
mod standing;

pub(crate) use probe::{Numbers, Probe};

use crate::{
    config::{
        reserves::Reserves,
        rln::{Chain, Group, Rln, reserve},
    },
    keys::system_rng,
};
use keystore::{Held, KeystoresError};
use list::ListError;
use probe::Took;
use prover::Members;
use standing::{Standing, Stood};

/// The ledger of message ids, in the data directory.
pub(crate) const LEDGER: &str = "rln-message-ids";

/// How often it is asked how many members there are.
const COUNT_EVERY: Duration = Duration::from_secs(300);

/// Why there are no proofs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoresError),
    /// The file of a group.
    #[error(transparent)]
    List(#[from] ListError),
    /// One with too many members.
    #[error("--rln-group {0}: {1}")]
    Full(PathBuf, Full),
    /// Somebody else's file.
    #[error("--rln-relay-cred-path: membership {0} is not in the group of --rln-group")]
    NoMember(String),
    /// Who is asked about the chain.
    #[error("--rln-relay-eth-client-address: {0}")]
    Providers(#[from] HowMany),
    /// One membership in two keystores, or too many.
    #[error("--rln-relay-cred-path: {0}")]
    Pool(#[from] NoPool),
    /// No such indexes.
    #[error("--rln-relay-cred-path: {0}")]
    Indexes(#[from] NotOwn),
    /// The ledger.
    #[error("message ids: {0}")]
    Ledger(#[from] LedgerError),
    /// The program ends.
    #[error("the start was broken off")]
    Ended,
}

/// What follows the group, and keeps proofs ready.
#[derive(Debug)]
pub(crate) struct Room {
    tasks: JoinSet<()>,
    probe: Probe,
    /// The group of a file does not change, and whoever knows it must not take it for gone.
    _kept: Option<(Follow, watch::Sender<Option<Arc<Places>>>)>,
    _held: Held,
}

/// The shares of our rate, which may change while ids are given out. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shares(Option<Arc<Mutex<Ids>>>);

impl Shares {
    /// These are kept from now on, in the present epoch too; what classes have taken of it counts. Nothing without a membership.
    pub(crate) async fn keep(&self, reserves: &Reserves) {
        let (Some(ids), reserve) = (self.0.clone(), reserve(reserves)) else { return };
        // Somebody may be writing an id down. It does not panic.
        let _ = spawn_blocking(move || locked(&ids).change_reserve(reserve)).await;
    }
}

/// A member of ours.
#[derive(Debug, Clone)]
pub(crate) struct Mine {
    pub(crate) member: Member,
    pub(crate) commitment: Commitment,
    pub(crate) index: u32,
    /// Which of its message ids are ours.
    pub(crate) range: Range,
}

/// A group that is being followed.
struct Followed {
    known: Known,
    places: watch::Receiver<Option<Arc<Places>>>,
    health: Option<watch::Receiver<membership::follow::Health>>,
    members: Arc<AtomicU32>,
    kept: Option<(Follow, watch::Sender<Option<Arc<Places>>>)>,
}

impl Room {
    /// Starts it. Keystores are opened, which takes a good part of a second each, all at a time.
    pub(crate) async fn start(config: Rln, directory: &Path) -> Result<(Self, Config), StartError> {
        let began = now().instant;
        let made = spawn_blocking(move || {
            let verifier = Arc::new(Verifier::new(&mut system_rng()));
            (Arc::clone(&verifier), Arc::new(Prover::new(verifier)), now().instant.saturating_duration_since(began))
        });
        let (mut mine, held) = match config.credentials {
            Some(credentials) => keystore::members(credentials, &config.group).await?,
            None => Default::default(),
        };
        let opening = if mine.is_empty() { Duration::ZERO } else { now().instant.saturating_duration_since(began) };
        let mut tasks = JoinSet::new();
        let followed = match config.group {
            Group::File(path) => of_file(&path, &mut mine).await?,
            Group::Chain(chain) => of_chain(chain, &mine, &mut tasks)?,
        };
        let (verifier, prover, reading) = made.await.map_err(|_| StartError::Ended)?;
        let mut proofs = Config::new(verifier, followed.known.clone());
        proofs.terms = Terms { epochs: config.epochs, identifier: IDENTIFIER };
        let pool = Pool::new(prover);
        let (told, standing) = watch::channel(Arc::new(Standing::default()));
        let stood = Stood { mine: mine.clone(), places: followed.places, told, pool: pool.clone() };
        let stood = stood.look().await;
        tasks.spawn(stood.run());
        let ids = match mine.is_empty() {
            true => None,
            false => Some(ids(&mine, directory.join(LEDGER), &proofs.terms, config.reserve).await?),
        };
        proofs.prover = Some(match &ids {
            Some(ids) => Arc::new(Members::new(standing.clone(), Arc::clone(ids), pool)),
            None => Arc::new(Nobody) as Arc<dyn Prove>,
        });
        let (known, health, members) = (followed.known, followed.health, followed.members);
        let took = Took { reading, opening };
        let probe = Probe { known, health, members, standing, ids, mine, epochs: config.epochs, took };
        Ok((Self { tasks, probe, _kept: followed.kept, _held: held }, proofs))
    }

    /// What health and metrics look at.
    pub(crate) fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// What changes the shares of our rate.
    pub(crate) fn shares(&self) -> Shares {
        Shares(self.probe.ids.clone())
    }

    /// Returns the name of what ends by itself, which it should not.
    pub(crate) async fn failed(&mut self) -> &'static str {
        // Why it ended is in the log.
        let _ = self.tasks.join_next().await;
        "following the group of members"
    }
}

async fn ids(
    mine: &[Mine],
    ledger: PathBuf,
    terms: &Terms,
    reserve: membership::ids::Reserve,
) -> Result<Arc<Mutex<Ids>>, StartError> {
    let of = |mine: &Mine| Membership { commitment: mine.commitment, range: mine.range };
    let own = Own::new(mine.iter().map(of).collect())?;
    let (epochs, unix) = (terms.epochs, now().unix);
    let opened = spawn_blocking(move || Ids::open(&ledger, epochs, unix, own, reserve));
    let (ids, _) = opened.await.map_err(|_| StartError::Ended)??;
    Ok(Arc::new(Mutex::new(ids)))
}

/// The group of a file, in which our members' places are looked up.
async fn of_file(path: &Path, mine: &mut [Mine]) -> Result<Followed, StartError> {
    let file = path.to_owned();
    let tree = spawn_blocking(move || {
        let members = list::read(&file)?;
        waku_rln::Tree::new(&members).map_err(|full| StartError::Full(file, full))
    });
    let tree = tree.await.map_err(|_| StartError::Ended)??;
    let (follow, known) = roots::follow();
    follow.now(tree.root());
    let mut paths = std::collections::BTreeMap::new();
    for mine in mine {
        let index = tree.index_of(&mine.member.leaf());
        let index = index.ok_or_else(|| StartError::NoMember(list::hex(mine.commitment.element())))?;
        mine.index = index;
        paths.extend(tree.path(index).map(|path| (index, *path.siblings())));
    }
    let places = Places { root: tree.root(), block: 0, paths };
    let (sender, places) = watch::channel(Some(Arc::new(places)));
    let members = Arc::new(AtomicU32::new(tree.len()));
    Ok(Followed { known, places, health: None, members, kept: Some((follow, sender)) })
}

/// The group of a contract.
fn of_chain(chain: Chain, mine: &[Mine], tasks: &mut JoinSet<()>) -> Result<Followed, StartError> {
    let Chain { contract, providers } = chain;
    let provider = Provider::new(contract.chain, providers, Http::new())?;
    let (follower, group): (Follower, _) = follow(provider.clone(), contract, Settings::default());
    group.own(Indexes::new(mine.iter().map(|mine| mine.index))?);
    let members = Arc::new(AtomicU32::new(0));
    tasks.spawn(follower.run());
    let counted = Arc::clone(&members);
    tasks.spawn(async move {
        loop {
            // Who does not answer is asked for roots as well, and told of there.
            if let Ok(count) = status::members(&provider, &contract).await {
                counted.store(count, std::sync::atomic::Ordering::Relaxed);
            }
            sleep(COUNT_EVERY).await;
        }
    });
    let (known, places, health) = (group.known, group.places, Some(group.health));
    Ok(Followed { known, places, health, members, kept: None })
}

/// The ids, whatever happened to who held them last: what is on disk counts.
fn locked(ids: &Mutex<Ids>) -> std::sync::MutexGuard<'_, Ids> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}
