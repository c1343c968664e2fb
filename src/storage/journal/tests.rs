//! What an earlier life wrote is what a later one reads, whatever happened between the two.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bridge::{
    Direction, DropReason,
    journal::{Cargo, Note, Remembered, Unfinished},
    seen::{Fingerprint, MAX_WINDOW, State},
};
use bytes::Bytes;
use devp2p::clock::now;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;
use waku0::EnvelopeHash;
use waku2::MessageHash;

use super::*;
use crate::storage::DATABASE_FILE;

async fn journal(directory: &Path) -> Journal {
    Journal::new(&Database::open(directory).await.unwrap(), 100)
}

async fn keeper(journal: &Journal) -> Keeper {
    journal.keeper().await.unwrap().0
}

/// What a later life would be told now.
async fn left(journal: &Journal) -> Left {
    journal.keeper().await.unwrap().1
}

async fn rows(journal: &Journal, table: &str) -> i64 {
    let select = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(select).fetch_one(&journal.pool).await.unwrap()
}

fn content(n: u8) -> Fingerprint {
    Fingerprint::from_bytes([n; 32])
}

fn unix() -> u64 {
    now().unix_secs()
}

fn begun(n: u8, at: u64) -> Note {
    let (first, cargo) = match n % 2 {
        0 => (Direction::V1ToV2, Cargo::Envelope(Bytes::from(vec![n; 3]))),
        _ => {
            let topic = "/waku/2/rs/0/0".parse().unwrap();
            (Direction::V2ToV1, Cargo::Message { topic, data: Bytes::from(vec![n; 3]) })
        }
    };
    Note::Begun { content: content(n), sent: 7, at, first, cargo }
}

fn ended(n: u8, state: State) -> Note {
    let (envelope, message) = (Some(EnvelopeHash::from([n; 32])), Some(MessageHash::from([1; 32])));
    Note::Ended { content: content(n), sent: 7, state, envelope, message }
}

fn remembered(n: u8, at: u64, state: State) -> Remembered {
    let (Note::Ended { content, sent, envelope, message, .. }, Note::Begun { first, .. }) =
        (ended(n, state), begun(n, at))
    else {
        unreachable!()
    };
    Remembered { content, sent, at, first, state, envelope, message }
}

fn unfinished(n: u8, at: u64) -> Unfinished {
    let Note::Begun { content, sent, cargo, .. } = begun(n, at) else { unreachable!() };
    Unfinished { content, sent, at, cargo }
}

#[tokio::test]
async fn what_was_written_is_read_in_a_later_life() {
    let directory = tempfile::tempdir().unwrap();
    let at = unix();
    let first = journal(directory.path()).await;
    let mut life = keeper(&first).await;
    life.write(&[begun(1, at), begun(2, at + 1), begun(3, at + 2), begun(4, at + 3)]).await.unwrap();
    let dropped = State::Dropped(DropReason::PublishFailed);
    life.write(&[ended(3, State::Done), ended(2, dropped), ended(9, State::Done)]).await.unwrap();
    drop(life);
    first.pool.close().await;
    let Left { ended, unfinished: open } = left(&journal(directory.path()).await).await;
    assert_eq!(open, [unfinished(1, at), unfinished(4, at + 3)]);
    let expected = [remembered(2, at + 1, dropped), remembered(3, at + 2, State::Done)];
    assert_eq!(ended, expected, "what never began does not end");
}

#[tokio::test]
async fn in_a_batch_the_last_word_counts() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path()).await;
    let mut life = keeper(&journal).await;
    let (at, dropped) = (unix(), State::Dropped(DropReason::Late));
    life.write(&[begun(1, at), ended(1, State::Done), begun(2, at), ended(2, dropped), begun(2, at + 5)])
        .await
        .unwrap();
    let seen = left(&journal).await;
    assert_eq!(seen.ended, [remembered(1, at, State::Done), remembered(2, at, dropped)]);
    assert_eq!(seen.unfinished, [unfinished(2, at + 5)]);
    life.write(&[ended(2, State::Done), begun(2, at + 6)]).await.unwrap();
    assert_eq!(left(&journal).await.unfinished, [unfinished(2, at + 6)]);
    assert!(!life.write(&[]).await.unwrap());
    assert_eq!(rows(&journal, "begun_batches").await, 1, "the first is done with");
}

#[tokio::test]
async fn a_batch_is_a_row_and_goes_with_the_last_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal { max_entries: 10_000, ..journal(directory.path()).await };
    let mut life = keeper(&journal).await;
    let name = |n: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Fingerprint::from_bytes(bytes)
    };
    let at = unix();
    let begin = |n| {
        let cargo = Cargo::Envelope(Bytes::from_static(b"x"));
        Note::Begun { content: name(n), sent: n, at, first: Direction::V1ToV2, cargo }
    };
    let end = |n| Note::Ended { content: name(n), sent: n, state: State::Done, envelope: None, message: None };
    life.write(&(0..2_500).map(begin).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((rows(&journal, "begun_batches").await, left(&journal).await.unfinished.len()), (1, 2_500));
    life.write(&(0..2_499).map(end).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((rows(&journal, "begun_batches").await, left(&journal).await.unfinished.len()), (1, 1));
    life.write(&[end(2_499)]).await.unwrap();
    assert_eq!(rows(&journal, "begun_batches").await, 0);
    let seen = left(&journal).await;
    assert_eq!((seen.unfinished.len(), seen.ended.len()), (0, 2_500));
}

#[tokio::test]
async fn what_is_old_or_too_much_goes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal { max_entries: 2, ..journal(directory.path()).await };
    let mut life = keeper(&journal).await;
    let (at, old) = (unix(), unix() - MAX_WINDOW.as_secs() - 1);
    life.write(&[begun(1, old), begun(2, old), begun(3, at), begun(4, at), begun(5, at)]).await.unwrap();
    for n in [2, 3, 4, 5] {
        life.write(&[ended(n, State::Done)]).await.unwrap();
    }
    let known = |ended: Vec<Remembered>| ended.into_iter().map(|ended| ended.content).collect::<Vec<_>>();
    assert_eq!(known(left(&journal).await.ended), [content(4), content(5)]);
    assert!(life.trim().await.unwrap());
    assert_eq!((rows(&journal, "ended_batches").await, rows(&journal, "begun_batches").await), (2, 0));
    let seen = left(&journal).await;
    assert_eq!((known(seen.ended), seen.unfinished), (vec![content(4), content(5)], vec![]));
    assert!(!life.trim().await.unwrap(), "nothing is left to do");
}

/// An end may be deleted only when no row holds its beginning any more: the rest of that row is written anew.
#[tokio::test]
async fn what_has_ended_does_not_come_back_when_its_end_is_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal { max_entries: 1, ..journal(directory.path()).await };
    let mut life = keeper(&journal).await;
    let at = unix();
    life.write(&[begun(1, at), begun(2, at), begun(3, at)]).await.unwrap();
    life.write(&[ended(1, State::Done)]).await.unwrap();
    life.write(&[ended(2, State::Done)]).await.unwrap();
    life.trim().await.unwrap();
    assert_eq!((rows(&journal, "ended_batches").await, rows(&journal, "begun_batches").await), (1, 1));
    assert_eq!(left(&journal).await.unfinished, [unfinished(3, at)]);
    life.write(&[ended(3, State::Done)]).await.unwrap();
    assert_eq!((rows(&journal, "begun_batches").await, left(&journal).await.unfinished.len()), (0, 0));
}

/// Random lives against the plain definition: a map of what is on its way, and a list of what has ended.
#[tokio::test]
async fn any_life_is_continued() {
    for seed in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let max_entries = if seed % 2 == 0 { 1_000 } else { 3 };
        let journal = Journal { max_entries, ..journal(directory.path()).await };
        let (mut rng, at) = (StdRng::seed_from_u64(seed), unix());
        let mut life = keeper(&journal).await;
        let (mut open, mut over) = (BTreeMap::new(), Vec::new());
        for step in 0..60 {
            let mut notes = Vec::new();
            for _ in 0..rng.random_range(0..6) {
                let n = rng.random_range(0..8);
                if rng.random_bool(0.5) {
                    open.insert(n, at + step);
                    notes.push(begun(n, at + step));
                } else {
                    over.extend(open.remove(&n).map(|at| remembered(n, at, State::Done)));
                    notes.push(ended(n, State::Done));
                }
            }
            life.write(&notes).await.unwrap();
            if rng.random_bool(0.2) {
                life.trim().await.unwrap();
            }
            if rng.random_bool(0.2) {
                let (next, seen) = journal.keeper().await.unwrap();
                life = next;
                let mut expected: Vec<Unfinished> = open.iter().map(|(n, at)| unfinished(*n, *at)).collect();
                let by_name = |list: &mut Vec<Unfinished>| list.sort_by_key(|one| *one.content.as_bytes());
                let mut found = seen.unfinished;
                by_name(&mut expected);
                by_name(&mut found);
                assert_eq!(found, expected, "seed {seed}, step {step}");
                let mut last = over[over.len().saturating_sub(max_entries)..].to_vec();
                last.sort_by_key(|one| one.at);
                let sorted = |mut list: Vec<Remembered>| {
                    list.sort_by_key(|one| (one.at, *one.content.as_bytes()));
                    list
                };
                assert_eq!(sorted(seen.ended), sorted(last), "seed {seed}, step {step}");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_written_is_answered_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path()).await;
    let (given, task) = journal.clone().start().await.unwrap();
    assert!(given.ended.is_empty() && given.unfinished.is_empty());
    let write = async |notes| {
        let (done, written) = oneshot::channel();
        given.batches.send(Batch { notes, done }).await.unwrap();
        written.await.unwrap();
    };
    write(vec![begun(1, unix())]).await;
    assert_eq!((journal.failures(), left(&journal).await.unfinished.len()), (0, 1));
    sqlx::query("DROP TABLE begun_batches").execute(&journal.pool).await.unwrap();
    write(vec![begun(2, unix())]).await;
    assert_eq!((journal.failures(), journal.works()), (1, false));
    drop(given);
    task.await.unwrap();
}

/// The disk is full: things cross without notes, and the journal says so; with room it is whole again, by itself.
#[tokio::test]
async fn f03_a_full_disk_is_told_and_outlived() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path()).await;
    let mut life = keeper(&journal).await;
    let at = unix();
    let large = |n| {
        let cargo = Cargo::Envelope(Bytes::from(vec![n; 100_000]));
        Note::Begun { content: content(n), sent: 7, at, first: Direction::V1ToV2, cargo }
    };
    life.write(&[begun(1, at), begun(2, at)]).await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(life.connection().await).await.unwrap();
    let limit = async |life: &mut Keeper, pages: i64| {
        let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(pragma).execute(life.connection().await).await.unwrap();
    };
    limit(&mut life, pages + 1).await;
    journal.told(life.write(&[large(3), ended(1, State::Done)]).await, "full");
    journal.told(life.trim().await, "full");
    assert_eq!((journal.failures(), journal.works()), (1, false), "and a trim that writes nothing changes nothing");
    limit(&mut life, pages + 1_000).await;
    journal.told(life.write(&[ended(3, State::Done), large(4)]).await, "room");
    assert_eq!((journal.failures(), journal.works()), (1, true));
    let seen = left(&journal).await;
    let open: Vec<Fingerprint> = seen.unfinished.iter().map(|one| one.content).collect();
    assert_eq!(open, [content(2), content(4)], "what ended meanwhile left nothing that would be done again");
    let over: Vec<Fingerprint> = seen.ended.iter().map(|one| one.content).collect();
    assert_eq!(over, [content(1), content(3)]);
}

/// A full disk may leave a transaction open that nobody knows of.
#[tokio::test]
async fn f03_a_connection_that_has_failed_keeps_nobody_from_writing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path()).await;
    let mut life = keeper(&journal).await;
    sqlx::query("BEGIN IMMEDIATE").execute(life.connection().await).await.unwrap();
    assert!(life.write(&[begun(1, unix())]).await.is_err());
    sqlx::query("DELETE FROM courses").execute(&journal.pool).await.unwrap();
    assert!(life.write(&[begun(2, unix())]).await.unwrap());
    assert_eq!(left(&journal).await.unfinished.len(), 1);
}

#[tokio::test]
async fn rows_that_this_program_has_not_written_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path()).await;
    keeper(&journal).await.write(&[begun(2, unix())]).await.unwrap();
    for insert in [
        "INSERT INTO begun_batches VALUES (7, x'01FFFF'), (8, x''), (9, x'09'), (10, x'01')",
        "INSERT INTO ended_batches VALUES (7, 1, 9223372036854775807, x'01FFFF'), (9223372036854775807, 1, -5, x'02')",
    ] {
        sqlx::query(insert).execute(&journal.pool).await.unwrap();
    }
    let (mut life, seen) = journal.keeper().await.unwrap();
    assert_eq!((seen.ended.len(), seen.unfinished.len()), (0, 1));
    // By its own word the first of them is all that goes at once.
    assert!(life.trim().await.unwrap() && life.trim().await.unwrap());
    assert_eq!(
        (rows(&journal, "begun_batches").await, rows(&journal, "ended_batches").await),
        (1, 0),
        "rows that say nothing go"
    );
    life.write(&[begun(3, unix())]).await.unwrap();
    assert_eq!(left(&journal).await.unfinished.len(), 2, "and the last of all numbers is a number");
}

/// The tables of step 2, filled as that program filled them.
#[tokio::test]
async fn the_rows_of_an_earlier_program_are_carried_over() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(directory.path()).await;
    let at = i64::try_from(unix()).unwrap();
    let insert = "INSERT INTO crossings (content, sent, at, first, reason, envelope, message) VALUES ($1, 7, $2, $3, $4, $5, $6)";
    for (n, first, reason) in [(2_u8, 0, None), (3, 1, Some("late")), (4, 9, None), (6, 0, Some("bad luck"))] {
        let insert = sqlx::query(insert).bind(vec![n; 32]).bind(at).bind(first).bind(reason);
        insert.bind(vec![n; 32]).bind(vec![1; 32]).execute(&journal.pool).await.unwrap();
    }
    let insert = "INSERT INTO begun VALUES ($1, 7, $2, $3, $4, $5)";
    for (n, first, topic) in [(8_u8, 0, None), (9, 1, Some("/waku/2/rs/0/0")), (11, 1, Some(""))] {
        let insert = sqlx::query(insert).bind(vec![n; 32]).bind(at).bind(first).bind(topic).bind(vec![n; 3]);
        insert.execute(&journal.pool).await.unwrap();
    }
    let at = unix_of(at);
    for life in 0..2 {
        let (mut keeper, seen) = journal.keeper().await.unwrap();
        let late = State::Dropped(DropReason::Late);
        assert_eq!(seen.ended, [remembered(2, at, State::Done), remembered(3, at, late)], "life {life}");
        assert_eq!(seen.unfinished, [unfinished(8, at), unfinished(9, at)], "life {life}");
        let old = "SELECT count(*) FROM sqlite_master WHERE name IN ('begun', 'crossings')";
        let old: i64 = sqlx::query_scalar(old).fetch_one(keeper.connection().await).await.unwrap();
        assert_eq!(old, 0);
    }
}

fn unix_of(at: i64) -> u64 {
    u64::try_from(at).unwrap()
}

/// The two files of a database that is open.
#[derive(Clone)]
struct Files {
    main: Vec<u8>,
    wal: Vec<u8>,
}

fn wal_of(directory: &Path) -> PathBuf {
    directory.join(format!("{DATABASE_FILE}-wal"))
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self { main: fs::read(directory.join(DATABASE_FILE)).unwrap(), wal: fs::read(wal_of(directory)).unwrap() }
    }

    fn put(&self, directory: &Path) {
        fs::write(directory.join(DATABASE_FILE), &self.main).unwrap();
        fs::write(wal_of(directory), &self.wal).unwrap();
    }
}

/// What a disk of sectors may hold of a file whose contents it is being given: each the old or the new, and the end anywhere.
fn torn(old: &[u8], new: &[u8], rng: &mut StdRng) -> Vec<u8> {
    const SECTOR: usize = 512;
    let mut disk = old.to_vec();
    disk.resize(old.len().max(rng.random_range(old.len().min(new.len())..=new.len())), 0);
    let share = rng.random_range(0.0..1.0);
    for (at, sector) in new.chunks(SECTOR).enumerate() {
        if rng.random_bool(share)
            && let Some(place) = disk.get_mut(at * SECTOR..).filter(|place| !place.is_empty())
        {
            let len = sector.len().min(place.len());
            place[..len].copy_from_slice(&sector[..len]);
        }
    }
    disk
}

/// The power fails while a batch is written. SQLite writes the log, syncs it, answers; now and then it then copies the log into the
/// database and syncs that. So either the log is torn and the database is as it was, or the log is whole and the database torn.
#[tokio::test]
async fn f02_after_a_power_cut_all_that_was_answered_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal { max_entries: 10_000, ..journal(directory.path()).await };
    let mut life = keeper(&journal).await;
    // So that the log is copied every few batches.
    sqlx::query("PRAGMA wal_autocheckpoint = 40").execute(life.connection().await).await.unwrap();
    let (mut rng, at) = (StdRng::seed_from_u64(2), unix());
    let (mut copied, mut log_torn) = (0, 0);
    for batch in 0..60_u8 {
        let before = Files::of(directory.path());
        let cargo = Cargo::Envelope(Bytes::from(vec![batch; 20_000]));
        let begin = Note::Begun { content: content(batch), sent: 7, at, first: Direction::V1ToV2, cargo };
        let end = batch.checked_sub(2).map(|earlier| ended(earlier, State::Done));
        life.write(&[Some(begin), end].into_iter().flatten().collect::<Vec<_>>()).await.unwrap();
        let after = Files::of(directory.path());
        copied += u32::from(before.main != after.main);
        for _ in 0..4 {
            let (cut, answered) = if rng.random_bool(0.5) {
                log_torn += 1;
                (Files { wal: torn(&before.wal, &after.wal, &mut rng), ..before.clone() }, batch.checked_sub(1))
            } else {
                (Files { main: torn(&before.main, &after.main, &mut rng), ..after.clone() }, Some(batch))
            };
            assert_holds(&cut, answered, batch).await;
        }
    }
    assert!(copied > 5 && log_torn > 50, "{copied} copies of the log, {log_torn} torn logs");
}

/// After the cut: `answered` batches at least, `begun` at most, none in part.
async fn assert_holds(cut: &Files, answered: Option<u8>, begun: u8) {
    let directory = tempfile::tempdir().unwrap();
    cut.put(directory.path());
    let seen = left(&Journal { max_entries: 10_000, ..journal(directory.path()).await }).await;
    let open: Vec<u8> = seen.unfinished.iter().map(|one| one.content.as_bytes()[0]).collect();
    let ended: Vec<u8> = seen.ended.iter().map(|one| one.content.as_bytes()[0]).collect();
    let state = |last: Option<u8>| {
        let count = last.map_or(0, |last| last + 1);
        ((count.saturating_sub(2)..count).collect::<Vec<_>>(), (0..count.saturating_sub(2)).collect::<Vec<_>>())
    };
    assert!(
        [answered, Some(begun)].map(state).contains(&(open.clone(), ended.clone())),
        "{answered:?} was answered: {open:?} on its way, {ended:?} ended"
    );
    let whole = seen.unfinished.iter().all(|one| one.cargo.len() == 20_000);
    assert!(whole, "a cargo was cut");
}
