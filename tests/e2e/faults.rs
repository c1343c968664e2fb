//! Surroundings that misbehave: signals, streams that nobody reads, ports and addresses that are not there, data directories of other
//! versions, keys that are none.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use causeway::storage::{DATABASE_FILE, Database};

use crate::{
    mailserver::eventually,
    process::{Bridge, Output, run},
};

/// An orderly stop: the program itself gives it eight seconds.
const STOP: Duration = Duration::from_secs(30);
/// The schema of the database, a step a file.
const STEPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/migrations/sqlite");

/// What is posted on v0 is heard on v2; its hash.
fn carries(bridge: &Bridge, text: &str) -> String {
    let listener = Output::of(&["listen", &bridge.libp2p, "--count=1", "--timeout=60"]);
    listener.wait_for_error_line("listening for");
    let posted = run(&["post", &bridge.enode, &format!("--text={text}"), "--ttl=60"]);
    assert!(posted.success, "{posted:?}");
    let heard = listener.end();
    assert!(heard.success && heard.stdout.contains(text), "{heard:?}");
    posted.stdout.split_whitespace().nth(1).expect("a hash").to_owned()
}

/// No file may grow, as on a disk that is full, and then they may again: what is written down from then on is there after a kill.
#[test]
fn f03_a_bridge_carries_without_its_journal_and_writes_it_again_when_there_is_room() {
    let data = tempfile::tempdir().expect("a directory");
    let bridge = Bridge::bridge_with_little_disk(data.path(), 1 << 20);
    // What crosses to a side that is lost at once stays open.
    let stays = Output::of(&["listen", &bridge.libp2p, "--timeout=600"]);
    stays.wait_for_error_line("listening for");
    carries(&bridge, "before");
    bridge.limit_files("0");
    carries(&bridge, "meanwhile");
    let journal_fails = |bridge: &Bridge| bridge.get("/readyz").1.contains("\"part\":\"journal\"");
    eventually("the journal fails", || journal_fails(&bridge));
    bridge.limit_files("unlimited");
    carries(&bridge, "later");
    eventually("the journal works", || !journal_fails(&bridge));
    let path = format!("/bridge/v1/messages/{}", carries(&bridge, "in the end"));
    let is_done = |bridge: &Bridge| bridge.get(&path).1.contains("\"done\"");
    eventually("it has crossed", || is_done(&bridge));
    let has = |line: &str| bridge.get("/metrics").1.lines().any(|metric| metric == line);
    eventually("all is written down", || has("bridge_journal_waiting 0.0") || has("bridge_journal_waiting 0"));
    bridge.kill();
    drop(stays);
    assert!(is_done(&Bridge::start_in(data.path(), &[])), "what was written down is forgotten");
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// With posts on their way, and readers that were stopped and take nothing.
#[test]
fn f20_sigterm_under_load_ends_in_order() {
    let data = directory();
    let bridge = Bridge::start_in(data.path(), &["--v1-late-policy=publish"]);
    let posters: Vec<Output> =
        (0..8).map(|n| Output::of(&["post", &bridge.enode, &format!("--text=under load {n}"), "--ttl=600"])).collect();
    // Nobody is on the other side: all of it is on its way.
    for poster in posters {
        assert!(poster.end().success);
    }
    bridge.signal("TERM");
    bridge.wait_for_log("SIGTERM: stopping");
    let ended = bridge.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let left: Vec<PathBuf> =
        fs::read_dir(data.path()).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    assert!(!left.iter().any(|path| path.to_string_lossy().ends_with("-wal")), "all is in the database: {left:?}");

    // What was on its way goes on.
    let again = Bridge::start_in(data.path(), &["--v1-late-policy=publish"]);
    let listener = Output::of(&["listen", &again.libp2p, "--count=8", "--timeout=60"]);
    let heard = listener.end();
    assert!(heard.success, "{heard:?}");
    for n in 0..8 {
        assert_eq!(heard.stdout.matches(&format!("under load {n}")).count(), 1, "{heard:?}");
    }
    assert_eq!(again.terminate(STOP), Some(0));
}

/// A process that is stopped finds both signals waiting when it goes on, mostly the second before it has ended by the first: without peers
/// that takes two milliseconds.
#[test]
fn f20_a_second_signal_ends_it_now() {
    let at_once = |_| {
        let bridge = Bridge::start(&[]);
        for name in ["STOP", "TERM", "INT", "CONT"] {
            bridge.signal(name);
        }
        let ended = bridge.end();
        assert!(ended.code == Some(0) && ended.stderr.contains(": stopping"), "{ended:?}");
        ended.stderr.contains(": ending now")
    };
    assert!((0..20).any(at_once), "the second signal is never heeded");
}

#[test]
fn f21_signals_that_ask_for_nothing_are_survived() {
    let data = directory();
    let bridge = Bridge::start_in(data.path(), &[]);
    bridge.signal("PIPE");
    bridge.signal("HUP");
    bridge.wait_for_log("SIGHUP");
    carries(&bridge, "after SIGPIPE and SIGHUP");
    assert_eq!(bridge.terminate(STOP), Some(0));
}

#[test]
fn f21_standard_output_that_is_closed_or_full_is_survived() {
    for redirection in [">&-", ">/dev/full"] {
        let data = directory();
        let bridge = Bridge::start_mute(redirection, data.path());
        carries(&bridge, "without a banner");
        assert_eq!(bridge.terminate(STOP), Some(0), "{redirection}");
    }
}

/// A pipe that is full and a disk that is full: what is logged is lost, and nobody waits for it.
#[test]
fn f21_logs_that_nobody_can_take_hold_nobody_up() {
    let data = directory();
    let pipe = data.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    for redirection in ["2>/dev/full".to_owned(), "2>&-".to_owned(), format!("2<>'{}'", pipe.display())] {
        let bridge = Bridge::start_unheard(&redirection, &data.path().join("data"), &["--log-level=trace"]);
        // Each is thousands of lines.
        for text in ["one", "two", "three"] {
            carries(&bridge, &format!("{text} {redirection}"));
        }
        assert_eq!(bridge.get("/livez").0, 200);
        assert_eq!(bridge.terminate(STOP), Some(0), "{redirection}");
    }
}

/// As where IPv6 is off: the family is there or not, the address is not.
#[test]
fn f22_an_address_that_is_not_there_is_named_with_its_flag() {
    let data = directory();
    let flag = format!("--data-dir={}", data.path().display());
    let ports = ["--devp2p-tcp-port=0", "--tcp-port=0", "--websocket-port=0", "--rest-port=0"];
    let said = run(&[&["bridge", "--listen-address=2001:db8::1", &flag], &ports[..]].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("2001:db8::1") && said.stderr.contains("--listen-address"), "{said:?}");
    assert!(said.stdout.is_empty(), "nothing was half started: {said:?}");
    // Nor is the directory held.
    carries(&Bridge::start_in(data.path(), &[]), "after a refusal");
}

/// Files of the schema's steps, in their order.
fn steps() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(STEPS).expect("steps").map(|entry| entry.expect("an entry").path()).collect();
    files.sort_unstable();
    files
}

/// What a version that knew this many steps has left.
async fn made_by_an_earlier_version(data: &Path, known: usize) {
    let folder = directory();
    for step in &steps()[..known] {
        fs::copy(step, folder.path().join(step.file_name().expect("a name"))).expect("a copy");
    }
    let schema = sqlx::migrate::Migrator::new(folder.path()).await.expect("steps");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join(DATABASE_FILE)).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a database");
    schema.run(&pool).await.expect("a schema");
    let account = "INSERT INTO accounts SELECT * FROM accounts WHERE FALSE";
    sqlx::query(account).execute(&pool).await.expect("its tables");
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_a_data_directory_of_an_earlier_version_is_taken_over() {
    for known in 1..steps().len() {
        let data = directory();
        let key = "11".repeat(32);
        fs::write(data.path().join("nodekey"), &key).expect("a key");
        fs::set_permissions(data.path().join("nodekey"), fs::Permissions::from_mode(0o600)).expect("permissions");
        made_by_an_earlier_version(data.path(), known).await;
        let bridge = Bridge::start_in(data.path(), &[]);
        carries(&bridge, "on an old database");
        assert_eq!(bridge.get("/legacy/v1/accounting").0, 200);
        assert_eq!(bridge.terminate(STOP), Some(0));
        assert_eq!(fs::read_to_string(data.path().join("nodekey")).expect("the key"), key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_a_data_directory_of_a_later_version_is_refused_and_left_alone() {
    let data = directory();
    Database::open(data.path()).await.expect("a database").close().await;
    let file = data.path().join(DATABASE_FILE);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a database");
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', TRUE, x'00', 0)";
    sqlx::query(later).execute(&pool).await.expect("a row");
    pool.close().await;
    let before = fs::read(&file).expect("the file");

    let flag = format!("--data-dir={}", data.path().display());
    let ports = ["--devp2p-tcp-port=0", "--tcp-port=0", "--websocket-port=0", "--rest-port=0"];
    let said = run(&[&["bridge", "--listen-address=127.0.0.1", &flag], &ports[..]].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in [DATABASE_FILE, "later version", "9999"] {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
    assert!(said.stdout.is_empty() && fs::read(&file).expect("the file") == before, "nothing was started or changed");
}

#[test]
fn f27_a_key_that_is_none_is_refused_and_never_replaced() {
    let data = directory();
    let flag = format!("--data-dir={}", data.path().display());
    let start = || run(&["bridge", "--listen-address=127.0.0.1", "--devp2p-tcp-port=0", "--tcp-port=0", &flag]);
    let key = data.path().join("nodekey");
    for text in [String::new(), "11".repeat(31), "11".repeat(33), "00".repeat(32), "no key".to_owned()] {
        fs::write(&key, &text).expect("a file");
        let said = start();
        assert!(said.code == Some(1) && said.stderr.contains("nodekey"), "{text:?}: {said:?}");
        assert!(said.stderr.contains("move it away to get a new identity"), "{text:?}: {said:?}");
        assert_eq!(fs::read_to_string(&key).expect("the file"), text, "it was replaced");
    }
    // Nobody can read it, whoever asks.
    fs::remove_file(&key).expect("a file");
    fs::create_dir(&key).expect("a folder in its place");
    let said = start();
    assert!(said.code == Some(1) && said.stderr.contains("nodekey"), "{said:?}");
    assert!(key.is_dir(), "it was replaced");
}

#[test]
fn f27_a_key_that_others_can_read_is_used_and_warned_of() {
    let data = directory();
    let identity = |bridge: &Bridge| bridge.enode.split('@').next().map(str::to_owned);
    let first = Bridge::start_in(data.path(), &[]);
    let before = identity(&first);
    assert_eq!(first.terminate(STOP), Some(0));
    fs::set_permissions(data.path().join("nodekey"), fs::Permissions::from_mode(0o644)).expect("permissions");
    let data_flag = format!("--data-dir={}", data.path().display());
    let ports = ["--devp2p-tcp-port=0", "--tcp-port=0", "--websocket-port=0", "--rest-port=0"];
    let warned = Output::of(&[&["bridge", "--listen-address=127.0.0.1", &data_flag], &ports[..]].concat());
    warned.wait_for_error_line("the key can be read by others");
    drop(warned);
    assert_eq!(identity(&Bridge::start_in(data.path(), &[])), before);
}
