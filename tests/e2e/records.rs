//! `import`, `export` and `history`, as they are typed.

use std::{collections::BTreeSet, fs, path::Path};

use rusty_leveldb::{DB, Options};
use serde_json::Value;
use tempfile::TempDir;
use waku0::{Envelope, Topic};

use crate::process::{Bridge, Said, run};

/// When the first envelope was sent.
const SENT: u32 = 1_600_000_000;
/// Envelopes of the mail server's archive.
const ENVELOPES: u32 = 2_500;

fn envelope(number: u32) -> Envelope {
    let topic = Topic([1, 2, 3, (number % 5) as u8]);
    let data = number.to_string().repeat(50).into();
    Envelope::new(SENT + number / 3 + 50, 50, topic, data, u64::from(number)).expect("an envelope")
}

/// The key under which a mail server keeps an envelope.
fn key(envelope: &Envelope) -> Vec<u8> {
    [&envelope.sent().to_be_bytes()[..], envelope.hash().as_bytes(), &envelope.topic().0].concat()
}

/// A data directory of status-go, with a few records that are not what they should be.
fn status_go() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options { write_buffer_size: 100 << 10, compressor: 1, ..Options::default() };
    let mut database = DB::open(directory.path().join("waku"), options).expect("a database");
    for number in 0..ENVELOPES {
        let envelope = envelope(number);
        // Those of before 2019 have no topic in their key.
        let key = if number < 100 { key(&envelope)[..36].to_vec() } else { key(&envelope) };
        database.put(&key, envelope.raw()).expect("it is written");
    }
    let odd = envelope(ENVELOPES);
    let put = |database: &mut DB, key: &[u8], value: &[u8]| database.put(key, value).expect("it is written");
    put(&mut database, &key(&odd), &odd.raw()[..20]);
    put(&mut database, &key(&envelope(ENVELOPES + 1)), odd.raw());
    put(&mut database, b"something else", b"x");
    directory
}

fn archive(directory: &TempDir) -> String {
    format!("--archive-url=sqlite://{}", directory.path().join("archive.sqlite3").display())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Unicode")
}

/// What `import --json` said.
fn import(arguments: &[&str]) -> (Said, Value) {
    let said = run(&[&["import", "--json"], arguments].concat());
    let summary = serde_json::from_str(&said.stdout).unwrap_or_default();
    (said, summary)
}

#[test]
fn an_archive_of_status_go_becomes_ours_and_comes_out_again() {
    let (source, target) = (status_go(), tempfile::tempdir().expect("a directory"));
    let (source, archive) = (text(source.path()), archive(&target));
    let (said, dry) = import(&[source, &archive, "--dry-run"]);
    assert!(said.success && dry["new"] == ENVELOPES && dry["dryRun"] == true, "{said:?}");
    assert!(!target.path().join("archive.sqlite3").exists(), "a dry run makes nothing");

    let (said, first) = import(&[source, &archive]);
    assert!(said.success, "{said:?}");
    assert_eq!(
        (&first["read"], &first["new"], &first["known"]),
        (&(ENVELOPES + 3).into(), &ENVELOPES.into(), &0.into())
    );
    assert_eq!(first["refused"], serde_json::json!({ "hash": 1, "key": 1, "unreadable": 1 }));
    assert!(said.stderr.contains("LevelDB") && said.stderr.contains("another hash"), "{}", said.stderr);
    for again in [&["--dry-run"][..], &[]] {
        let (_, second) = import(&[&[source, &archive], again].concat());
        assert_eq!((&second["new"], &second["known"]), (&0.into(), &ENVELOPES.into()));
    }

    let file = target.path().join("all.jsonl");
    let said = run(&["export", text(&file), &archive]);
    assert!(said.success && said.stderr.contains("2500 envelopes"), "{said:?}");
    let lines = fs::read_to_string(&file).expect("it is there");
    assert_eq!(lines.lines().count(), ENVELOPES as usize);
    let said = run(&["export", text(&file), &archive]);
    assert_eq!(said.code, Some(1), "a file that is there is left alone");
    let to = format!("--to={}", SENT + 9);
    let said = run(&["export", &archive, &to, "--topic=0x01020304"]);
    assert_eq!(said.stdout.lines().count(), 6, "{said:?}");
    assert!(said.stdout.lines().all(|line| line.contains("\"topic\":\"0x01020304\"")), "{said:?}");

    let other = format!("--archive-url=sqlite://{}", target.path().join("other.sqlite3").display());
    let (_, third) = import(&[text(&file), &other]);
    assert_eq!(third["new"], ENVELOPES);
    assert_eq!(run(&["export", &other]).stdout, lines, "the same bytes");
}

/// What a mail server of status-go left behind: a table and a journal.
#[test]
fn an_archive_that_status_go_wrote_is_imported_whole() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mail");
    let (source, target) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (recorded, copy) = (fixtures.join("statusd/waku"), source.path().join("waku"));
    fs::create_dir(&copy).expect("a directory is made");
    for file in fs::read_dir(recorded).expect("a fixture").flatten() {
        fs::copy(file.path(), copy.join(file.file_name())).expect("a file is copied");
    }
    let (said, summary) = import(&[text(source.path()), &archive(&target)]);
    assert!(said.success, "{said:?}");
    let counts = ["read", "new", "known"].map(|name| summary[name].as_u64());
    assert_eq!((counts, &summary["refused"]), ([Some(42), Some(42), Some(0)], &serde_json::json!({})));
    let known = fs::read_to_string(fixtures.join("statusd.json")).expect("what it said");
    let known: Value = serde_json::from_str(&known).expect("JSON");
    let known = known["envelopes"].as_array().expect("a list").iter();
    let said: BTreeSet<_> = known.map(|envelope| named(envelope, envelope["sent"].as_u64())).collect();
    let exported = run(&["export", &archive(&target)]);
    let rows = exported.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row"));
    let secs = |row: &Value| Some(row["sent"].as_str()?.parse::<u64>().ok()? / 1_000_000_000);
    let exported: Vec<_> = rows.map(|row| named(&row["envelope"], secs(&row))).collect();
    assert_eq!((exported.len(), exported.into_iter().collect()), (said.len(), said));
}

/// Hash, topic and time of an envelope, in a fixture or an export.
fn named(envelope: &Value, sent: Option<u64>) -> (String, String, u64) {
    let text = |name: &str| envelope[name].as_str().unwrap_or_default().to_owned();
    (text("hash"), text("topic"), sent.expect("a time"))
}

#[test]
fn an_archive_that_is_damaged_gives_the_rest_and_says_so() {
    let (source, target) = (status_go(), tempfile::tempdir().expect("a directory"));
    let tables = fs::read_dir(source.path().join("waku")).expect("a directory");
    let table =
        tables.flatten().map(|file| file.path()).find(|path| path.extension().is_some_and(|kind| kind == "ldb"));
    let table = table.expect("a table");
    let mut bytes = fs::read(&table).expect("it is read");
    bytes[50] ^= 1;
    fs::write(&table, bytes).expect("it is written");
    let (said, summary) = import(&[text(source.path()), &archive(&target)]);
    assert_eq!((said.code, &summary["damaged"]), (Some(1), &1.into()), "{said:?}");
    let new = summary["new"].as_u64().expect("a number");
    assert!(new > u64::from(ENVELOPES) / 2 && new < u64::from(ENVELOPES), "{summary}");
    assert!(said.stderr.contains("checksum"), "{said:?}");
    fs::remove_file(source.path().join("waku/CURRENT")).expect("it is removed");
    assert_eq!(run(&["import", text(source.path())]).code, Some(2), "nothing is left that can be told");
}

#[test]
fn what_can_not_be_imported_or_exported_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("text");
    fs::write(&file, "hello").expect("a file is written");
    let data_dir = format!("--data-dir={}", directory.path().display());
    for (arguments, code, word) in [
        (vec!["import", text(&file), &data_dir], 2, "nothing that can be imported"),
        (vec!["import", "/nowhere/at/all", &data_dir], 1, "/nowhere/at/all"),
        (vec!["import", text(&file), "--archive-url=mysql://u:secret@h"], 2, "postgres://"),
        (vec!["import"], 2, "SOURCE"),
        (vec!["export", &data_dir], 1, "no archive"),
        (vec!["export", &data_dir, "--from=tomorrow"], 2, "no time"),
        (vec!["export", &data_dir, "--topic=status"], 2, "8 hex digits"),
    ] {
        let said = run(&arguments);
        assert!(said.code == Some(code) && said.stderr.contains(word), "{arguments:?} {said:?}");
        assert!(!said.stderr.contains("secret"), "{said:?}");
    }
}

#[test]
fn what_a_bridge_has_kept_can_be_exported_while_it_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let bridge = Bridge::start_in(directory.path(), &["--archive", "--bridge-direction=archive-only"]);
    let said = run(&["post", &bridge.enode, "--topic=0x01020304", "--text=for later"]);
    let hash = said.stdout.split_whitespace().nth(1).expect("a hash").to_owned();
    let data_dir = format!("--data-dir={}", directory.path().display());
    let exported = (0..200).map(|_| run(&["export", &data_dir])).find(|said| said.stdout.contains(&hash));
    let line: Value = serde_json::from_str(&exported.expect("it is kept").stdout).expect("one line");
    assert_eq!(
        (&line["envelope"]["topic"], &line["message"]["pubsubTopic"]),
        (&"0x01020304".into(), &"/waku/2/rs/0/0".into())
    );
    assert_eq!(line["reason"], "no_route");
}

#[test]
fn history_says_what_is_missing_and_what_is_wrongly_asked() {
    let key = "1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1";
    let server = format!("--server=enode://{key}:secret@127.0.0.1:1");
    let store = "--server=/ip4/127.0.0.1/tcp/60000/p2p/16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ";
    for (arguments, word) in [
        (vec!["history"], "--server"),
        (vec!["history", &server, store], "not both at once"),
        (vec!["history", "--server=enode://x:secret@y"], "neither a mail server"),
        (vec!["history", &server, "--from=1h", "--to=2h"], "--from is after --to"),
        (vec!["history", &server, "--sym-key=12"], "64 hex digits"),
        (vec!["history", &server, "--limit=0"], "--limit"),
    ] {
        let said = run(&arguments);
        assert!(said.code == Some(2) && said.stderr.contains(word), "{arguments:?} {said:?}");
        assert!(!said.stderr.contains(":secret"), "{said:?}");
    }
}
