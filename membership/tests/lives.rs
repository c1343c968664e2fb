//! Programs that are killed while they take message ids: no id of an epoch goes out in two lives.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use membership::{
    contract::Commitment,
    ids::{Found, Ids, Membership, Pool, Range, Reserve, allot::BLOCK_IDS},
};
use waku2::rln::{
    element::Element,
    epoch::{Epoch, EpochLength},
};

/// Tells this program that it is one of the lives, and where the ledger is.
const LEDGER: &str = "MEMBERSHIP_TEST_LEDGER";

/// How often one is killed.
const LIVES: usize = 20;

/// Messages an epoch of each of two memberships.
const LIMIT: u32 = 600;

const EPOCH: Epoch = Epoch(3_000);

fn open(ledger: &Path) -> (Ids, Found) {
    let one = |who| Membership {
        commitment: Commitment::new(Element::from(who)).unwrap(),
        range: Range::all(LIMIT).unwrap(),
    };
    let pool = Pool::new([1, 2].map(one).to_vec()).unwrap();
    Ids::open(ledger, EpochLength::default(), now(), pool, Reserve::default()).unwrap()
}

const fn now() -> Duration {
    Duration::from_secs(EPOCH.0 * 600)
}

/// Takes ids and says so, one a line, until it is killed or none is left.
fn live(ledger: &Path) {
    let (mut ids, found) = open(ledger);
    assert!(!matches!(found, Found::Damaged(_)));
    let mut stdout = std::io::stdout().lock();
    while let Ok(id) = ids.take(now(), EPOCH, None, |_| true) {
        writeln!(stdout, "id {:?} {}", id.commitment.element(), id.id).unwrap();
        stdout.flush().unwrap();
    }
}

/// This program again, as a life.
fn begin(test: &str, ledger: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(LEDGER, ledger)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn after_twenty_kills_no_id_has_gone_out_twice() {
    if let Some(ledger) = env::var_os(LEDGER) {
        return live(&PathBuf::from(ledger));
    }
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ids");
    let (mut given, mut lives) = (BTreeSet::new(), 0);
    for life in 0..LIVES {
        let mut child = begin("after_twenty_kills_no_id_has_gone_out_twice", &ledger);
        // Each is killed at another place of a block, and of a write.
        let wanted = 3 + life * 7 % 31;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = lines.filter(|line| line.starts_with("id "));
        let mut taken: Vec<String> = lines.by_ref().take(wanted).collect();
        child.kill().unwrap();
        // What it said before it died has gone out too.
        taken.extend(lines);
        child.wait().unwrap();
        assert!(taken.len() >= wanted, "life {life} took {} ids", taken.len());
        lives += 1;
        for id in taken {
            assert!(given.insert(id.clone()), "life {life}: {id} has gone out before");
        }
    }
    let (ids, found) = open(&ledger);
    assert_eq!((lives, found), (LIVES, Found::Ledger));
    // Little is lost: of each membership the rest of a block in each life, and what had been taken but not said.
    let spent = ids.budget(EPOCH).all - ids.budget(EPOCH).left();
    let said = given.len() as u64;
    assert!(spent >= said && spent <= said + LIVES as u64 * 2 * (BLOCK_IDS + 1), "{spent} are spent, {said} went out");
}

#[test]
fn a_second_program_is_held_off_while_the_first_lives() {
    if let Some(ledger) = env::var_os(LEDGER) {
        live(&PathBuf::from(ledger));
        // Until it is killed, or whoever began it is gone.
        let _ = std::io::stdin().lock().read_until(0, &mut Vec::new());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ids");
    let mut first = begin("a_second_program_is_held_off_while_the_first_lives", &ledger);
    let lines = BufReader::new(first.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.filter(|line| line.starts_with("id ")).take(5).count(), 5);
    let second = Ids::open(&ledger, EpochLength::default(), now(), Pool::default(), Reserve::default());
    assert!(matches!(second, Err(membership::ids::LedgerError::InUse(_))), "{second:?}");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(open(&ledger).1, Found::Ledger);
}
