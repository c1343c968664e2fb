//! Commands about keys, work and sealed texts.

use std::fs;

use crate::process::{Bridge, Output, run};

const PASSWORD: &str = "--sym-password=a chat of two";

#[test]
fn a_sealed_text_is_read_with_the_key_and_not_without() {
    let bridge = Bridge::start(&[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("me.key").display().to_string();
    let made = run(&["key", "new", "--json", &format!("--file={file}")]);
    let names: serde_json::Value = serde_json::from_str(&made.stdout).expect("JSON");
    assert_eq!(names["private_key"], serde_json::Value::Null, "it is in the file");
    let me = names["public_key"].as_str().expect("a key").to_owned();

    let listen = |more: &[&str]| {
        let listener = Output::of(
            &[&["listen", &bridge.enode, "--topic=a chat of two", "--count=1", "--timeout=60"], more].concat(),
        );
        listener.wait_for_error_line("listening for");
        listener
    };
    let (with, without) = (listen(&[PASSWORD, "--json", &format!("--from={me}")]), listen(&[]));
    let raw = Output::of(&["listen", &bridge.libp2p, PASSWORD, "--raw", "--count=1", "--timeout=60"]);
    raw.wait_for_error_line("listening for");
    let posted =
        run(&["post", &bridge.enode, "--topic=a chat of two", PASSWORD, "--sign", &file, "--text=hello", "--json"]);
    assert!(posted.success, "{posted:?}");
    let sent: serde_json::Value = serde_json::from_str(&posted.stdout).expect("JSON");
    assert!(sent["pow"].as_f64().is_some_and(|pow| pow >= 0.002), "{sent}");

    let heard = with.end();
    let heard: serde_json::Value = serde_json::from_str(&heard.stdout).unwrap_or_else(|_| panic!("{heard:?}"));
    assert_eq!((&heard["text"], &heard["from"]), (&"hello".into(), &serde_json::Value::from(me)));
    assert_eq!((&heard["hash"], &heard["topic"]), (&sent["hash"], &sent["topic"]));
    assert!(without.end().stdout.contains("(binary)"));
    assert_eq!(raw.end().stdout, "hello\n", "what crossed is sealed alike; the line end is the test's");
}

#[test]
fn a_key_is_imported_once_and_names_the_node() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, data) = (directory.path().join("old"), directory.path().join("node"));
    fs::write(&file, "11".repeat(32)).expect("a file");
    let (file, data) = (file.display().to_string(), format!("--data-dir={}", data.display()));
    assert!(run(&["key", "import", &file, &data]).success);
    let again = run(&["key", "import", &file, &data]);
    assert_eq!(again.code, Some(2), "{again:?}");
    let shown = run(&["key", "show", &data, "--ip=192.0.2.1", "--port=7"]).stdout;
    let node = Bridge::legacy_in(&directory.path().join("node"), &[]);
    let key = node.enode.split('@').next().expect("a key");
    assert!(shown.contains(&format!("{key}@192.0.2.1:7")), "{shown}");
    assert!(shown.contains("16Uiu2") && shown.contains("enr:") && shown.contains("address      0x"), "{shown}");
}

#[test]
fn passwords_and_work_are_reckoned() {
    let key = run(&["key", "derive-password", "test"]).stdout;
    assert_eq!(key.trim(), "a82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a");
    let envelope = "d1845e4e74c00f84f8946aac84010203042a";
    let told = run(&["pow", "compute", envelope]).stdout;
    assert!(told.contains("0.00392156862745098") && told.contains("0xadf034d2"), "{told}");
    let mined = run(&["pow", "mine", envelope, "--pow=4"]).stdout;
    let told = run(&["pow", "compute", mined.trim(), "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert!(told["pow"].as_f64().is_some_and(|pow| pow >= 4.0), "{told}");
    let bench = run(&["pow", "bench", "--seconds=0.01", "--json"]).stdout;
    assert_eq!(bench.lines().count(), 4, "{bench}");
}

#[test]
fn slips_end_with_2_and_repeat_no_secret() {
    let peer = "enode://".to_owned() + &"1".repeat(128) + "@127.0.0.1:1";
    for (args, word) in [
        (&["post", &peer, "--text=x", "--sym-key=beef"][..], "--sym-key"),
        (&["post", &peer, "--text=x", "--sign=/nowhere"], "--sign"),
        (&["post", &peer, "--text=x", "--pub-key=04"], "--pub-key"),
        (&["post", &peer, "--text=x", "--pow=-1"], "--pow"),
        (&["post", &peer, "--text=x", "--topic=0x12"], "--topic"),
        (&["listen", &peer, "--from=04"], "--from"),
        (&["pow", "compute", "zz"], "no envelope"),
        (&["node", "--rpc"], "--waku-v0"),
    ] {
        let said = run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.stderr.contains(word) && !said.stderr.contains("beef"), "{args:?}: {said:?}");
    }
}
