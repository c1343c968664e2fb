//! Memberships: what they cost, how they are bought at a provider of the chain, and the keystores that they are in.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    process::{Output, Said, run},
    registry::{FIRST, Registry, Silent},
};

const PASSWORD: &str = "--rln-relay-cred-password=a pass word";
/// The first account of the phrase that all test chains have.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ACCOUNT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// Linea Sepolia.
const CHAIN: u64 = 59_141;
/// Questions of a provider that are asked before anything is sent, and not all of them that are asked before it is in a block.
const UNTIL_SENT: usize = 30;

/// How often a state that nobody tells of is looked at again, and for how long.
const AGAIN: Duration = Duration::from_millis(50);
const TIMES: usize = 1_200;

fn at(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

fn files(directory: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|it| it.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A command about a membership at `url`, in the keystore of `directory`.
fn asked(command: &[&str], url: &str, directory: &tempfile::TempDir, flags: &[&str]) -> Said {
    let provider = format!("--rln-relay-eth-client-address={url}");
    let keystore = format!("--rln-relay-cred-path={}", at(directory, "keystore.json"));
    let line = [command, &[&*provider, &*keystore], flags].concat();
    Output::with(&line, &[]).end()
}

/// The same with an account that pays.
fn registers(command: &[&str], url: &str, directory: &tempfile::TempDir, flags: &[&str]) -> Said {
    let key = format!("--rln-relay-eth-private-key={KEY}");
    asked(command, url, directory, &[&[&*key], flags].concat())
}

#[test]
fn a_membership_has_a_price_and_nothing_is_written_before_it_is_bought() {
    let (registry, directory) = (Registry::new(CHAIN), tempfile::tempdir().unwrap());
    let url = registry.serve();
    for command in [&["generateRlnKeystore"][..], &["rln", "register"]] {
        let told = registers(command, &url, &directory, &[PASSWORD]);
        assert_eq!(told.code, Some(0), "{told:?}");
        let lines = [format!("account    {ACCOUNT}"), "deposit    10 of token 0x".to_owned(), "fee        ".to_owned()];
        assert!(lines.iter().all(|line| told.stdout.contains(line)), "{told:?}");
        assert!(told.stderr.contains("nothing was paid: add --execute"), "{told:?}");
        let told = registers(command, &url, &directory, &["--json"]);
        let cost: Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!((cost["account"].as_str(), cost["deposit"]["amount"].as_str()), (Some(ACCOUNT), Some("10")));
    }
    assert!(files(&directory).is_empty(), "{:?}", files(&directory));
    assert_eq!((registry.members().len(), registry.transactions()), (0, (0, 0)));
}

#[test]
fn what_stands_in_the_way_is_named_with_its_flag_and_nothing_is_paid() {
    let (registry, directory) = (Registry::new(CHAIN), tempfile::tempdir().unwrap());
    let (url, other) = (registry.serve(), Registry::new(1).serve());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("http://{free}/");
    let execute = ["--execute", PASSWORD];
    let made = run(&["rln", "keystore", "create", &at(&directory, "keystore.json"), "--rln-relay-cred-password=other"]);
    assert!(made.success, "{made:?}");
    for command in [&["generateRlnKeystore"][..], &["rln", "register"]] {
        let key = |key: &str| format!("--rln-relay-eth-private-key={key}");
        for (said, code, words) in [
            (asked(command, &url, &directory, &execute), 2, ["--rln-relay-eth-private-key", "CAUSEWAY_RLN_RELAY_ETH"]),
            (asked(command, &url, &directory, &[&key("5ec7e7")]), 2, ["--rln-relay-eth-private-key", "64 digits"]),
            (
                registers(command, &other, &directory, &execute),
                1,
                ["--rln-relay-eth-client-address", "is of chain 1, not 59141"],
            ),
            (
                registers(command, &away, &directory, &execute),
                1,
                ["--rln-relay-eth-client-address", "cannot be reached"],
            ),
            (registers(command, "ftp://host", &directory, &execute), 2, ["--rln-relay-eth-client-address", ""]),
            (registers(command, &url, &directory, &execute), 1, ["keystore.json", "the password is wrong"]),
            (
                registers(command, &url, &directory, &["--rln-relay-user-message-limit=601"]),
                1,
                ["--rln-relay-user-message-limit", "20 to 600"],
            ),
        ] {
            assert_eq!(said.code, Some(code), "{said:?}");
            assert!(words.iter().all(|word| said.stderr.contains(word)), "{words:?}: {said:?}");
            assert!(!said.stderr.contains("5ec7e7") && !said.stderr.contains(KEY), "{said:?}");
        }
    }
    assert_eq!((registry.members().len(), registry.transactions()), (0, (0, 0)));
    assert!(!files(&directory).contains(&"keystore.unregistered.json".to_owned()), "{:?}", files(&directory));
}

#[test]
fn a_membership_in_its_grace_is_extended_for_the_fee() {
    let (registry, directory) = (Registry::new(CHAIN), tempfile::tempdir().unwrap());
    let url = registry.serve();
    let extend = &["rln", "extend"][..];
    let registered = registers(&["rln", "register"], &url, &directory, &["--execute", PASSWORD]);
    assert_eq!((registered.code, registry.members().len()), (Some(0), 1), "{registered:?}");
    let before = registry.transactions();
    let early = registers(extend, &url, &directory, &["--execute", PASSWORD]);
    assert!(early.code == Some(0) && early.stderr.contains("nothing is in its grace period"), "{early:?}");
    registry.ages();
    let status = asked(&["rln", "status"], &url, &directory, &[PASSWORD]);
    assert!(status.stdout.contains("`causeway rln extend --execute`"), "{status:?}");
    let told = registers(extend, &url, &directory, &[PASSWORD]);
    assert!(told.stdout.contains("in its grace period") && told.stdout.contains("fee        "), "{told:?}");
    assert!(told.stderr.contains("nothing was paid: add --execute to extend"), "{told:?}");
    assert_eq!(registry.transactions(), before);
    let extended = registers(extend, &url, &directory, &["--execute", "--json", PASSWORD]);
    let last: Value = serde_json::from_str(extended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((extended.code, &last["extended"], &last["block"]), (Some(0), &json!(1), &json!(9)), "{extended:?}");
    assert_eq!(registry.transactions(), (before.0 + 1, 0));
    let status = asked(&["rln", "status"], &url, &directory, &[PASSWORD]);
    assert!(status.stdout.contains("active"), "{status:?}");
}

#[test]
fn a_registration_that_is_killed_is_finished_by_the_next_one() {
    let (registry, directory) = (Registry::new(CHAIN), tempfile::tempdir().unwrap());
    let url = registry.serve();
    registry.falls_silent(UNTIL_SENT, Silent::After);
    let flags = [
        format!("--rln-relay-eth-client-address={url}"),
        format!("--rln-relay-cred-path={}", at(&directory, "keystore.json")),
        format!("--rln-relay-eth-private-key={KEY}"),
    ];
    let line = [&["rln", "register", "--execute", PASSWORD][..], &flags.each_ref().map(String::as_str)].concat();
    let killed = Output::of(&line);
    killed.wait_for_error_line("registering with");
    drop(killed);
    registry.speaks();
    assert!(files(&directory).contains(&"keystore.unregistered.json".to_owned()), "{:?}", files(&directory));

    let data = format!("--data-dir={}", at(&directory, "data"));
    for keystore in ["keystore.json", "keystore.unregistered.json"] {
        let keystore = format!("--rln-relay-cred-path={}", at(&directory, keystore));
        let node = ["node", "--preset=twn", &*data, "--tcp-port=0", "--rest=false", &*flags[0], &*keystore, PASSWORD];
        let refused = run(&node);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("`causeway rln register`"), "{refused:?}");
    }
    let status = asked(&["rln", "status"], &url, &directory, &[PASSWORD]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let done = registers(&["rln", "register"], &url, &directory, &["--execute", "--json", PASSWORD]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let member: Value = serde_json::from_str(done.stdout.lines().last().unwrap()).unwrap();
    let ((registered, limit), commitment) = (registry.members().remove(0), member["commitment"].as_str().unwrap());
    assert_eq!((member["index"].as_u64(), format!("0x{registered}")), (Some(FIRST), commitment.to_owned()));
    assert_eq!((limit, registry.members().len(), registry.transactions().1), (100, 1, 0));
    assert!(!files(&directory).contains(&"keystore.unregistered.json".to_owned()));
    let status = asked(&["rln", "status"], &url, &directory, &[PASSWORD]);
    let expected = format!("{commitment} 100 # index {FIRST}, ");
    assert!(status.stdout.contains(&expected) && status.stdout.contains("active"), "{status:?}");
    assert!(!status.stdout.contains("instead"), "{status:?}");
    assert_eq!(files(&directory), ["data", "keystore.json"], "no lock is left behind");

    // The contract's word counts, and that the keystore has another one is said.
    registry.limits_all(50);
    let status = asked(&["rln", "status"], &url, &directory, &[PASSWORD]);
    let expected = format!("{commitment} 50 # index {FIRST}, ");
    let differs = format!("active; the keystore has index {FIRST} and 100 messages instead");
    assert!(status.stdout.contains(&expected) && status.stdout.contains(&differs), "{status:?}");
    let status = asked(&["rln", "status"], &url, &directory, &["--json", PASSWORD]);
    let line: Value = serde_json::from_str(status.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((line["limit"].as_u64(), line["keystore"]["limit"].as_u64()), (Some(50), Some(100)), "{status:?}");
}

#[test]
fn keystores_of_others_are_read_joined_and_parted() {
    let directory = tempfile::tempdir().unwrap();
    let fixture =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rln").join(name).display().to_string();
    // As nwaku wrote it, and as a browser did.
    for (name, password, index, line) in [
        (
            "keystore.json",
            "sup3rsecure",
            8,
            "0x0fab5dfff141617025ee4121 - # index 8, contract 0x8e1F3742B987d8BA376c0CBbD7357fE1F003ED71 on chain 0xAA36A7",
        ),
        (
            "keystore-js-waku.json",
            "12345678",
            703,
            "0x2bbb014b9709b6c31ed01792 300 # index 703, contract 0xb9cd878c90e49f797b4431fbf4fb333108cb90e6 on chain 59141",
        ),
    ] {
        let (all, one) = (at(&directory, &format!("all-{name}")), at(&directory, &format!("one-{name}")));
        let password = format!("--rln-relay-cred-password={password}");
        let listed = run(&["rln", "keystore", "list", &fixture(name), &password]);
        let (commitment, rest) = listed.stdout.split_once(' ').unwrap();
        let (begins, ends) = line.split_once(' ').unwrap();
        assert!(commitment.starts_with(begins) && rest.trim_end() == ends, "{listed:?}");
        let own = run(&["rln", "keystore", "create", &all, "--index=1", &password]);
        assert!(own.success, "{own:?}");
        for (command, said) in [
            (&["import", &*fixture(name), &*all][..], ""),
            (&["import", &*fixture(name), &*all], "in the keystore already"),
            (&["export", &*all, &*one, &*format!("--index={index}")], ""),
            (&["export", &*all, &*one, &*format!("--index={index}")], "is there already"),
            (&["export", &*all, &*at(&directory, "none"), "--index=77"], "no membership with index 77"),
            (&["import", &*fixture(name), &*all, "--rln-relay-cred-password=other"], "--rln-relay-cred-password"),
        ] {
            let password: &[&str] = if said == "--rln-relay-cred-password" { &[] } else { &[&password] };
            let done = run(&[&["rln", "keystore"], command, password].concat());
            let expected = if said.is_empty() { Some(0) } else { Some(1) };
            let said = if said == "--rln-relay-cred-password" { "the password is wrong" } else { said };
            assert!(done.code == expected && done.stderr.contains(said), "{command:?}: {done:?}");
        }
        assert_eq!(run(&["rln", "keystore", "list", &one, &password]).stdout, listed.stdout);
        let both = run(&["rln", "keystore", "list", &all, &password]).stdout;
        assert!(both.contains(&listed.stdout) && both.contains(&own.stdout) && both.lines().count() == 2, "{both}");
    }
}

/// Runs a command at a terminal, where these lines are typed, each once the terminal shows nothing of it. All that the terminal showed,
/// and how it ended.
fn typed(line: &[&str], words: &[&str]) -> (String, bool) {
    let command = format!("tty; exec {} {}", env!("CARGO_BIN_EXE_causeway"), line.join(" "));
    let mut terminal = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let (mut keys, mut screen) = (terminal.stdin.take().expect("piped"), terminal.stdout.take().expect("piped"));
    let mut shown = String::new();
    for (asked, word) in (1..).zip(words) {
        while shown.matches(": ").count() < asked {
            let mut byte = [0];
            screen.read_exact(&mut byte).expect("a prompt");
            shown.push(byte[0].into());
        }
        let name = shown.lines().next().unwrap_or_default().trim().to_owned();
        let is_hidden = || {
            let state = Command::new("stty").args(["-F", &name, "-a"]).output().expect("stty");
            String::from_utf8_lossy(&state.stdout).contains(" -echo ")
        };
        assert!(
            (0..TIMES).any(|_| is_hidden() || {
                std::thread::park_timeout(AGAIN);
                false
            }),
            "{shown}"
        );
        keys.write_all(format!("{word}\n").as_bytes()).expect("it reads");
    }
    screen.read_to_string(&mut shown).expect("text");
    (shown, terminal.wait().expect("it ends").success())
}

#[test]
fn a_password_that_is_typed_is_not_shown_and_typed_twice_for_what_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let keystore = at(&directory, "keystore.json");
    let create = ["rln", "keystore", "create", &*keystore];
    let (shown, success) = typed(&create, &["a-pass-word", "a-pass-ward"]);
    assert!(!success && shown.contains("the two passwords differ") && !shown.contains("a-pass"), "{shown}");
    assert!(files(&directory).is_empty());
    let (shown, success) = typed(&create, &[""]);
    assert!(!success && shown.contains("no password was typed"), "{shown}");
    let (shown, success) = typed(&create, &["a-pass-word", "a-pass-word"]);
    assert!(success && shown.contains("# index 0") && !shown.contains("a-pass"), "{shown}");
    let (shown, success) = typed(&["rln", "keystore", "list", &keystore], &["a-pass-word"]);
    assert!(success && shown.contains("# index 0") && !shown.contains("a-pass"), "{shown}");
}

#[test]
fn a_pipe_gives_a_password_in_a_line_and_an_empty_one_gives_none() {
    let directory = tempfile::tempdir().unwrap();
    let keystore = at(&directory, "keystore.json");
    let piped = |command: &str, input: &str| {
        let program = env!("CARGO_BIN_EXE_causeway");
        let script = format!("printf '{input}' | {program} rln keystore {command} {keystore}");
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let nothing = piped("create", "");
    assert!(
        !nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("give a line"),
        "{nothing:?}"
    );
    assert!(files(&directory).is_empty());
    for command in ["create", "list"] {
        let done = piped(command, "a pass word\\nand more");
        assert!(done.status.success(), "{done:?}");
    }
    let listed = run(&["rln", "keystore", "list", &keystore, PASSWORD]);
    assert!(listed.success, "{listed:?}");
}
