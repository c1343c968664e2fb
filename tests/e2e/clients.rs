//! Commands about keys, work and sealed texts.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread::JoinHandle,
};

use serde_json::{Value, json};

use crate::{
    json_rpc::{FLAGS, call, served},
    process::{Bridge, Output, run},
};

const PASSWORD: &str = "--sym-password=a chat of two";

#[test]
fn a_sealed_text_is_read_with_the_key_and_not_without() {
    let bridge = Bridge::start(&[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("me.key").display().to_string();
    let made = run(&["key", "new", "--json", &format!("--file={file}")]);
    let names: Value = serde_json::from_str(&made.stdout).expect("JSON");
    assert_eq!(names["private_key"], Value::Null, "it is in the file");
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
    let sent: Value = serde_json::from_str(&posted.stdout).expect("JSON");
    assert!(sent["pow"].as_f64().is_some_and(|pow| pow >= 0.002), "{sent}");

    let heard = with.end();
    let heard: Value = serde_json::from_str(&heard.stdout).unwrap_or_else(|_| panic!("{heard:?}"));
    assert_eq!((&heard["text"], &heard["from"]), (&"hello".into(), &Value::from(me)));
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
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert!(told["pow"].as_f64().is_some_and(|pow| pow >= 4.0), "{told}");
    let bench = run(&["pow", "bench", "--seconds=0.01", "--json"]).stdout;
    assert_eq!(bench.lines().count(), 4, "{bench}");
}

#[test]
fn listening_ends_with_its_time_and_is_a_failure_only_where_more_was_expected() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &[]);
    for (more, code, word) in [
        (&["--timeout=1"][..], 0, "listening for"),
        (&["--timeout=1", "--expect"], 1, "nothing was heard within 1 s"),
        (&["--timeout=1", "--expect", "--count=2"], 1, "0 of 2"),
        (&["--expect"], 2, "--timeout"),
        (&["--peers=2"], 2, "--peers: 1 peers are named"),
        (&["/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ"], 2, "of one network"),
    ] {
        let said = run(&[&["listen", &node.enode], more].concat());
        assert!(said.code == Some(code) && said.stderr.contains(word), "{more:?}: {said:?}");
    }
    let expecting = Output::of(&["listen", &node.enode, "--timeout=10", "--expect"]);
    expecting.wait_for_error_line("listening for");
    assert!(run(&["post", &node.enode, "--text=heard"]).success);
    let said = expecting.end();
    assert!(said.success && said.stdout.contains("heard"), "{said:?}");
}

/// The listener relays, so that both nodes have both texts, and it is told of each twice.
#[test]
fn what_several_peers_pass_on_is_shown_once() {
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (one, two) = (Bridge::legacy_in(one.path(), &[]), Bridge::legacy_in(two.path(), &[]));
    let listener = Output::of(&["listen", &one.enode, &two.enode, "--peers=2", "--count=2", "--timeout=60"]);
    listener.wait_for_error_line("listening for");
    assert!(run(&["post", &one.enode, "--text=from one"]).success);
    assert!(run(&["post", &two.enode, "--text=from two"]).success);
    let said = listener.end();
    assert!(said.success && said.stdout.contains("from one") && said.stdout.contains("from two"), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
}

#[test]
fn a_node_posts_by_json_rpc_and_keeps_no_key_of_it() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let signer = data.path().join("me.key").display().to_string();
    assert!(run(&["key", "new", "--file", &signer]).success);
    for (api, prefix) in [("--rpc-api=waku,shh", "waku"), ("--rpc-api=shh", "shh")] {
        let node = Bridge::legacy_in(data.path(), &[&FLAGS[..], &[api]].concat());
        let [http, ..] = served(&node);
        let key = call(&http, &format!("{prefix}_generateSymKeyFromPassword"), json!(["a chat of two"]));
        let filter = json!([{ "symKeyID": key, "topics": ["0x01020304"] }]);
        let filter = call(&http, &format!("{prefix}_newMessageFilter"), filter);
        let to = format!("--to=rpc:{http}");
        let post = ["post", &to, "--topic=0x01020304", PASSWORD, "--sign", &signer, "--text=hello", "--json"];
        let posted = run(&post);
        let posted: Value = serde_json::from_str(&posted.stdout).unwrap_or_else(|_| panic!("{posted:?}"));
        let found = call(&http, &format!("{prefix}_getFilterMessages"), json!([filter]));
        assert_eq!((&found[0]["payload"], &found[0]["hash"]), (&json!("0x68656c6c6f"), &posted["hash"]));
        assert!(found[0]["sig"].is_string(), "{found}");
        assert_eq!(call(&http, &format!("{prefix}_deleteSymKey"), json!([key])), true);
        let kept = fs::read_dir(data.path().join("keys")).expect("keys are kept").count();
        assert_eq!(kept, 0, "the keys of the post were deleted");
        let plain = run(&["post", &to, "--text=hello"]);
        assert!(plain.code == Some(2) && plain.stderr.contains("--to rpc"), "{plain:?}");
        let low = run(&["post", &to, PASSWORD, "--text=hello", "--pow=0.0001"]);
        assert!(low.code == Some(1) && low.stderr.contains("PoW too low"), "{low:?}");
    }
}

/// As status-go's `waku` namespace does: it has no version, and reads bytes as Go's JSON has them.
#[test]
fn status_go_is_given_a_letter_in_base64_and_keys_in_hexadecimal() {
    let (to, asked) = answering(
        "rpc",
        &[
            (
                200,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"the method waku_version does not exist"}}"#,
            ),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":{"minPow":0.2,"maxMessageSize":1048576}}"#),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":"key"}"#),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":"0x01"}"#),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":true}"#),
        ],
    );
    let key = format!("--sym-key={}", "ab".repeat(32));
    let said = run(&["post", "--to", &to, &key, "--topic=0x01020304", "--text=hello"]);
    assert!(said.success && said.stdout.contains("0x01"), "{said:?}");
    let asked = asked.join().expect("it is asked");
    let methods: Vec<_> = asked.iter().map(|(_, body)| body["method"].as_str().unwrap_or_default()).collect();
    assert_eq!(methods, ["waku_version", "waku_info", "waku_addSymKey", "waku_post", "waku_deleteSymKey"]);
    assert_eq!(asked[2].1["params"][0], format!("0x{}", "ab".repeat(32)));
    let letter = &asked[3].1["params"][0];
    assert_eq!((&letter["payload"], &letter["topic"]), (&json!("aGVsbG8="), &json!("0x01020304")));

    // To the key of somebody, which is bytes of the letter too.
    let (to, asked) = answering(
        "rpc",
        &[
            (
                200,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"the method waku_version does not exist"}}"#,
            ),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            (200, r#"{"jsonrpc":"2.0","id":1,"result":"0x02"}"#),
        ],
    );
    let known = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                 483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
    let said = run(&["post", "--to", &to, &format!("--pub-key=0x{known}"), "--text=hello"]);
    assert!(said.success, "{said:?}");
    let asked = asked.join().expect("it is asked");
    let given = asked[2].1["params"][0]["pubKey"].as_str().expect("a key");
    assert!(given.starts_with("BHm+Zn753LusVaBilc6HCwcCm/zbLc4o2VnygVsW+BeY"), "{given}");
}

/// A node with REST that answers requests in their order with these statuses; what it was asked, each its first line and its body.
fn rest(answers: &'static [(u16, &'static str)]) -> (String, JoinHandle<Vec<(String, Value)>>) {
    answering("rest", answers)
}

fn answering(kind: &str, answers: &'static [(u16, &'static str)]) -> (String, JoinHandle<Vec<(String, Value)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("{kind}:http://{}", listener.local_addr().expect("an address"));
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (status, text) in answers {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let (mut request, mut chunk) = (String::new(), [0; 4096]);
            let body = loop {
                let read = stream.read(&mut chunk).expect("a request");
                request.push_str(std::str::from_utf8(&chunk[..read]).expect("text"));
                let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break serde_json::from_str(body).expect("JSON");
                }
            };
            asked.push((request.lines().next().unwrap_or_default().to_owned(), body));
            let length = text.len();
            write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{text}").expect("it reads");
        }
        asked
    });
    (url, asked)
}

#[test]
fn a_node_publishes_by_rest_over_its_relay_or_its_lightpush() {
    let (to, asked) = rest(&[(200, "OK")]);
    let said = run(&["post", "--to", &to, "--topic=0x01020304", "--text=hello", "--pubsub-topic=/waku/2/rs/1/5"]);
    assert!(said.success && said.stdout.contains("message 0x"), "{said:?}");
    let asked = asked.join().expect("it is asked");
    let [(line, body)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(line, "POST /relay/v1/messages/%2Fwaku%2F2%2Frs%2F1%2F5 HTTP/1.1");
    assert_eq!((&body["payload"], &body["version"]), (&json!("aGVsbG8="), &json!(1)));
    assert_eq!(body["contentTopic"], "/waku/1/0x01020304/rfc26");
    assert!(body["timestamp"].is_i64() && body["meta"].is_null(), "{body}");

    // No relay there.
    let (to, asked) = rest(&[(404, ""), (200, "OK")]);
    assert!(run(&["post", "--to", &to, "--topic=0x01020304", "--text=hello"]).success);
    let asked = asked.join().expect("it is asked");
    assert!(
        asked[0].0.starts_with("POST /relay/v1/auto/messages ")
            && asked[1].0.starts_with("POST /lightpush/v1/message ")
    );
    assert_eq!((&asked[1].1["message"], &asked[1].1["pubsubTopic"]), (&asked[0].1, &Value::Null));

    let (to, asked) = rest(&[(400, "Failed to publish: no")]);
    let said = run(&["post", "--to", &to, "--text=hello"]);
    assert!(said.code == Some(1) && said.stderr.contains("Failed to publish: no (400)"), "{said:?}");
    drop(asked);
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
        (&["post", "--text=x"], "--to"),
        (&["post", &peer, "--to=rest:http://h:1", "--text=x"], "--to"),
        (&["post", "--to=rpc:https://h:1", "--text=x"], "rpc:http://HOST:PORT"),
        (&["post", "--to=geth.ipc", "--text=x"], "geth.ipc"),
        (&["pow", "compute", "zz"], "no envelope"),
        (&["node", "--rpc"], "--waku-v0"),
    ] {
        let said = run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.stderr.contains(word) && !said.stderr.contains("beef"), "{args:?}: {said:?}");
    }
}
