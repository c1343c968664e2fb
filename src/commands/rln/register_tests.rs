//! Registrations that end anywhere, at a chain in memory.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use membership::provider::{Fault, Transport, Url};
use tokio::sync::Notify;
use waku_rln::keystore::{Application, file::load};

use super::*;

#[expect(dead_code, reason = "asked over HTTP elsewhere")]
#[path = "../../../tests/support/registry.rs"]
mod registry;

use registry::{FIRST, Registry, Silent};

const QUICK: Kdf = Kdf::Pbkdf2 { rounds: 1 };
/// More questions than a registration asks.
const QUESTIONS: usize = 100;

fn word() -> Password {
    Password::new("word")
}

/// Tells when the chain falls silent.
#[derive(Debug, Clone)]
struct Wire(Registry, Arc<Notify>);

impl Transport for Wire {
    fn post<'a>(&'a self, _: &'a Url, body: Vec<u8>) -> BoxFuture<'a, Result<Bytes, Fault>> {
        let answer = self.0.answer(&body);
        async move {
            match answer {
                Some(answer) => Ok(answer.into()),
                None => {
                    self.1.notify_one();
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }
}

struct World {
    directory: tempfile::TempDir,
    chain: Registry,
    silent: Arc<Notify>,
}

impl World {
    fn new() -> Self {
        let chain = Registry::new(Contract::TWN.chain);
        Self { directory: tempfile::tempdir().unwrap(), chain, silent: Arc::default() }
    }

    fn keystore(&self) -> PathBuf {
        self.directory.path().join("keystore.json")
    }

    fn drafts(&self) -> Drafts {
        Drafts::beside(&self.keystore(), QUICK)
    }

    fn provider(&self) -> Provider {
        let wire = Wire(self.chain.clone(), Arc::clone(&self.silent));
        Provider::new(Contract::TWN.chain, vec!["http://a/".parse().unwrap()], wire).unwrap()
    }

    fn task(&self, limit: u64, execute: bool) -> Task {
        let account = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80".parse().unwrap();
        let limit = Limit::new(limit).unwrap();
        Task { provider: self.provider(), contract: Contract::TWN, account, limit, execute, remark: |_| () }
    }

    async fn run(&self, limit: u64, execute: bool) -> anyhow::Result<Option<Member>> {
        self.task(limit, execute).run(self.drafts(), || Ok(word()), |_| Ok(())).await
    }

    /// Runs until the chain is silent, and is killed then. Whether it came to its end before.
    async fn killed(&self) -> bool {
        tokio::select! {
            done = self.run(20, true) => done.unwrap().is_some(),
            () = self.silent.notified() => false,
        }
    }

    /// All is in order: one member, paid once, in the keystore and nowhere else.
    fn holds(&self, member: &Member, limit: u64) {
        let commitment = hex(member.commitment.element()).trim_start_matches("0x").to_owned();
        assert_eq!(self.chain.members(), [(commitment, limit)]);
        assert_eq!(self.chain.transactions(), (2, 0), "an approval and a registration");
        let opened = load(&self.keystore(), &Application::default()).unwrap().open(None, &word()).unwrap();
        assert_eq!(super::commitment(&opened.identity).unwrap(), member.commitment);
        let limit = Limit::new(limit).unwrap();
        assert_eq!((opened.membership, opened.limit), (at(&Contract::TWN, FIRST as u32), Some(limit)));
        assert!(!self.drafts().file().exists());
        let left: Vec<_> = std::fs::read_dir(self.directory.path()).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(left, [self.keystore()], "nothing else stays behind");
    }
}

#[tokio::test]
async fn a_run_that_is_killed_anywhere_is_gone_on_with_and_nothing_is_paid_twice() {
    for when in [Silent::Before, Silent::After] {
        let mut kills = 0;
        for at in 0..QUESTIONS {
            let world = World::new();
            world.chain.falls_silent(at, when);
            if world.killed().await {
                break;
            }
            kills += 1;
            let was_drawn = world.drafts().has(&Contract::TWN).unwrap();
            world.chain.speaks();
            let priced = world.run(20, false).await.unwrap();
            let member = match priced {
                Some(member) => member,
                None => world.run(20, true).await.unwrap().unwrap(),
            };
            world.holds(&member, 20);
            assert!(was_drawn || member.by.is_some(), "killed at {at}");
        }
        assert!((20..QUESTIONS).contains(&kills), "{kills} questions");
    }
}

#[tokio::test]
async fn a_run_that_is_killed_twice_is_gone_on_with_too() {
    for at in (0..QUESTIONS).step_by(3) {
        let world = World::new();
        for _ in 0..2 {
            world.chain.falls_silent(at, Silent::After);
            if world.killed().await {
                return;
            }
            world.chain.speaks();
        }
        let member = world.run(20, true).await.unwrap().unwrap();
        world.holds(&member, 20);
    }
}

/// Killed after the member is in the keystore, before its draft is gone.
#[tokio::test]
async fn a_draft_that_outlived_its_end_goes_and_changes_nothing() {
    let world = World::new();
    let locked = world.drafts().lock().unwrap();
    let (contract, drafts) = (Contract::TWN, world.drafts());
    locked.write(&contract, Identity::seeded(b"draft"), Limit::new(20).unwrap(), &word()).unwrap();
    let bytes = std::fs::read(drafts.file()).unwrap();
    drop(locked);
    let member = world.run(20, true).await.unwrap().unwrap();
    world.holds(&member, 20);
    let keystore = std::fs::read(world.keystore()).unwrap();
    std::fs::write(drafts.file(), &bytes).unwrap();
    let again = world.run(20, false).await.unwrap().unwrap();
    assert_eq!(again, Member { by: None, ..member });
    world.holds(&again, 20);
    assert_eq!(std::fs::read(world.keystore()).unwrap(), keystore);
}

#[tokio::test]
async fn nothing_is_written_where_nothing_is_to_be_paid() {
    let world = World::new();
    assert_eq!(world.run(20, false).await.unwrap(), None);
    assert_eq!(std::fs::read_dir(world.directory.path()).unwrap().count(), 0);
    assert!(world.run(601, true).await.unwrap_err().to_string().contains("--rln-relay-user-message-limit"));
    assert_eq!(std::fs::read_dir(world.directory.path()).unwrap().count(), 0);
}

/// Whoever asks for another limit than the run that was killed gets it, unless the first one was on its way already.
#[tokio::test]
async fn a_member_has_the_limit_that_it_was_registered_for() {
    let mut limits = BTreeSet::new();
    for at in (0..QUESTIONS).step_by(2) {
        let world = World::new();
        world.chain.falls_silent(at, Silent::After);
        if world.killed().await {
            break;
        }
        world.chain.speaks();
        let member = world.run(50, true).await.unwrap().unwrap();
        world.holds(&member, member.limit.get().into());
        limits.insert(member.limit.get());
    }
    assert_eq!(limits, BTreeSet::from([20, 50]));
}

#[tokio::test]
async fn who_asks_for_the_status_finishes_it_too() {
    let world = World::new();
    let unfinished = || async {
        unfinished(&world.provider(), Contract::TWN, world.drafts().lock().unwrap(), &word(), |_| ()).await
    };
    assert_eq!(unfinished().await.unwrap(), None, "nothing was begun");
    let locked = world.drafts().lock().unwrap();
    locked.write(&Contract::TWN, Identity::seeded(b"draft"), Limit::new(20).unwrap(), &word()).unwrap();
    drop(locked);
    let draft = unfinished().await.unwrap().unwrap();
    assert_eq!(draft.identity, Identity::seeded(b"draft"));
    assert!(world.drafts().file().exists() && !world.keystore().exists());
    let task = world.task(20, true);
    register::register(&task.provider, &task.contract, &task.account, commitment(&draft.identity).unwrap(), 20)
        .await
        .unwrap();
    assert_eq!(unfinished().await.unwrap(), None);
    let commitment = commitment(&draft.identity).unwrap();
    world.holds(&Member { commitment, index: FIRST as u32, limit: task.limit, by: None }, 20);
}
