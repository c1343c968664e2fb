//! JSON-RPC on real sockets: HTTP, WebSocket, and the Unix socket; and who is refused there.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Deserializer, Value, json};

use crate::process::{Bridge, run};

const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const FLAGS: [&str; 5] = ["--rpc", "--rpc-port=0", "--ws", "--ws-port=0", "--ipc"];

/// Where a node serves it: HTTP, WebSocket, Unix socket.
pub(crate) fn served(node: &Bridge) -> [String; 3] {
    let line = node.banner.iter().find(|line| line.starts_with("json-rpc")).expect("addresses in the banner");
    let words: Vec<_> = line.split_whitespace().skip(1).map(str::to_owned).collect();
    words.try_into().expect("three addresses")
}

fn connect(url: &str) -> TcpStream {
    let authority = url.split("//").nth(1).expect("an address");
    let stream = TcpStream::connect(authority).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is set");
    stream
}

/// The status and the body of an answer to a POST with these headers.
fn post(url: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = connect(url);
    let length = body.len();
    let request =
        format!("POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n\r\n{body}");
    // Of a request that is too large the end is not read.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

const PLAIN: &str = "Host: localhost\r\nContent-Type: application/json";

fn request(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

pub(crate) fn call(url: &str, method: &str, params: Value) -> Value {
    let (status, body) = post(url, PLAIN, &request(method, &params));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).expect("JSON")["result"].clone()
}

#[test]
fn a_post_from_elsewhere_is_found_over_http() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &FLAGS);
    let [http, ..] = served(&node);
    let key = call(&http, "waku_generateSymKeyFromPassword", json!(["secret"]));
    let filter = call(&http, "waku_newMessageFilter", json!([{ "symKeyID": key, "topics": ["0x01020304"] }]));
    let posted = run(&["post", &node.enode, "--topic=0x01020304", "--sym-password=secret", "--text=hello", "--json"]);
    let posted: Value = serde_json::from_str(&posted.stdout).expect("JSON");
    let found = (0..600).find_map(|_| {
        let found = call(&http, "waku_getFilterMessages", json!([filter]));
        found.get(0).cloned()
    });
    let found = found.expect("it is found");
    assert_eq!((&found["payload"], &found["hash"]), (&json!("0x68656c6c6f"), &posted["hash"]));
    let batch = format!("[{},{}]", request("net_version", &json!([])), request("waku_version", &json!([])));
    let (status, answers) = post(&http, PLAIN, &batch);
    assert_eq!((status, serde_json::from_str::<Vec<Value>>(&answers).expect("JSON").len()), (200, 2));
    // Keys outlive the node.
    drop(node);
    let again = Bridge::legacy_in(data.path(), &FLAGS);
    assert_eq!(call(&served(&again)[0], "waku_hasSymKey", json!([key])), true);
}

/// The node wants nothing by gossip, so what it has is from the mailserver's archive.
#[test]
fn history_is_asked_of_a_connected_mailserver() {
    let (archive, data) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let server = Bridge::mailserver_in(archive.path(), &[]);
    let node = Bridge::legacy_in(data.path(), &[&FLAGS[..], &[&format!("--staticnode-v1={}", server.enode)]].concat());
    let [http, ..] = served(&node);
    assert_eq!(call(&http, "waku_setBloomFilter", json!([format!("0x{}", "00".repeat(64))])), true);
    let key = call(&http, "waku_generateSymKeyFromPassword", json!(["secret"]));
    let password = call(&http, "waku_generateSymKeyFromPassword", json!(["status-offline-inbox"]));
    let criteria = json!([{ "symKeyID": key, "topics": ["0x01020304"], "allowP2P": true }]);
    let filter = call(&http, "waku_newMessageFilter", criteria);
    let posted = run(&["post", &server.enode, "--topic=0x01020304", "--sym-password=secret", "--text=hello", "--json"]);
    let posted: Value = serde_json::from_str(&posted.stdout).expect("JSON");
    let wanted = |key: &Value| json!({ "mailServerPeer": server.enode, "topics": ["0x01020304"], "symKeyID": key, "force": true });
    // Until it is connected, and the envelope is in the archive.
    let found = (0..600).find_map(|_| {
        let answer = call(&http, "wakuext_requestMessagesSync", json!([{ "MaxRetries": 1 }, wanted(&password)]));
        assert!(answer.is_null() || answer == json!({ "cursor": "", "error": null }), "{answer}");
        call(&http, "waku_getFilterMessages", json!([filter])).get(0).cloned()
    });
    let found = found.expect("it is found");
    assert_eq!((&found["payload"], &found["hash"]), (&json!("0x68656c6c6f"), &posted["hash"]));
    let name = call(&http, "wakuext_requestMessages", json!([wanted(&password)]));
    assert_eq!(name.as_str().map(str::len), Some(66));
    // Nobody waited for the answer to the last one.
    let wrong = (0..600)
        .map(|_| call(&http, "shhext_requestMessagesSync", json!([{}, wanted(&key)])))
        .find(|wrong| wrong["error"] != "an earlier request is still being answered");
    assert_eq!(wrong, Some(json!({ "cursor": "", "error": "failed to decrypt p2p request" })));
}

/// One text frame of a client, whose mask is zero.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&[0x81, 0xfe][..], &length.to_be_bytes(), &[0; 4], text.as_bytes()].concat()
}

/// The next text frame of a server.
fn read_frame(stream: &mut TcpStream) -> Value {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).expect("a frame");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a length");
                u16::from_be_bytes(length).into()
            }
            short => usize::from(short),
        };
        let mut text = vec![0; length];
        stream.read_exact(&mut text).expect("a text");
        if head[0] == 0x81 {
            return serde_json::from_slice(&text).expect("JSON");
        }
    }
}

fn upgrade(url: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = connect(url);
    let request = format!(
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("an answer") > 0 {
        head.push(byte[0]);
    }
    (stream, String::from_utf8_lossy(&head).into_owned())
}

#[test]
fn a_subscriber_on_websocket_is_told() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &FLAGS);
    let [http, ws, _] = served(&node);
    let key = call(&http, "waku_generateSymKeyFromPassword", json!(["secret"]));
    let (mut stream, head) = upgrade(&ws, "Host: localhost");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let wanted = json!(["messages", { "symKeyID": key, "topics": ["0x01020304"] }]);
    stream.write_all(&frame(&request("waku_subscribe", &wanted))).expect("it reads");
    let id = read_frame(&mut stream)["result"].clone();
    assert!(id.is_string(), "{id}");
    assert!(run(&["post", &node.enode, "--topic=0x01020304", "--sym-password=secret", "--text=hello"]).success);
    let told = read_frame(&mut stream);
    assert_eq!((&told["method"], &told["params"]["subscription"]), (&json!("waku_subscription"), &id));
    assert_eq!(told["params"]["result"]["payload"], "0x68656c6c6f");
}

#[test]
fn the_unix_socket_has_everything_for_its_owner() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &FLAGS);
    let [http, _, ipc] = served(&node);
    assert!(ipc.ends_with("geth.ipc"), "{ipc}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&ipc).expect("a socket").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&ipc).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is set");
    // Two values without anything between them, the second one in two pieces; then a batch.
    let peers = request("admin_peers", &json!([]));
    let (begin, end) = peers.split_at(20);
    for piece in [&(request("admin_nodeInfo", &json!([])) + begin), end, &format!("[{peers},{peers}]")] {
        stream.write_all(piece.as_bytes()).expect("it reads");
    }
    let mut answers = Deserializer::from_reader(stream.try_clone().expect("a socket")).into_iter::<Value>();
    let mut answer = || answers.next().expect("an answer").expect("JSON");
    assert_eq!(answer()["result"]["enode"], node.enode.as_str());
    assert_eq!(answer()["result"], json!([]));
    assert_eq!(answer().as_array().map(Vec::len), Some(2));
    stream.write_all(b"}").expect("it reads");
    assert_eq!(answer()["error"]["code"], -32700);
    let (status, body) = post(&http, PLAIN, &peers);
    assert!(status == 200 && body.contains("-32601"), "over HTTP not without being named: {body}");
}

#[test]
fn h84_pages_foreign_hosts_and_floods_are_refused() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &FLAGS);
    let [http, ws, _] = served(&node);
    let body = request("waku_newKeyPair", &json!([]));
    let of_json = "Content-Type: application/json";
    for (headers, status) in [
        (format!("Host: evil.example\r\n{of_json}"), 403),
        (format!("Host: LOCALHOST:8545\r\n{of_json}"), 200),
        (format!("Host: localhost\r\nOrigin: https://evil.example\r\n{of_json}"), 403),
        ("Host: localhost\r\nContent-Type: application/jsonrequest".to_owned(), 200),
        ("Host: localhost\r\nContent-Type: text/plain".to_owned(), 415),
        ("Host: localhost".to_owned(), 415),
    ] {
        assert_eq!(post(&http, &headers, &body).0, status, "{headers}");
    }
    assert!(upgrade(&ws, "Host: localhost\r\nOrigin: https://evil.example").1.starts_with("HTTP/1.1 403"));
    assert!(upgrade(&ws, "Host: evil.example").1.starts_with("HTTP/1.1 403"));
    let many = format!("[{}]", vec![request("net_version", &json!([])); 1_001].join(","));
    let (status, answer) = post(&http, PLAIN, &many);
    assert!(status == 200 && answer.len() < 1_000 && answer.contains("error"), "{answer}");
    assert_eq!(post(&http, PLAIN, &" ".repeat(6 << 20)).0, 413);
    let deep = request("waku_post", &json!([])).replace("[]", &("[".repeat(100_000) + &"]".repeat(100_000)));
    let (status, answer) = post(&http, PLAIN, &deep);
    assert!(status == 200 && answer.contains("error"), "{answer}");
    assert_eq!(call(&http, "net_version", json!([])), "1", "it still answers");
}

#[test]
fn without_flags_nothing_listens() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &[]);
    assert!(!node.banner.iter().any(|line| line.starts_with("json-rpc")), "{:#?}", node.banner);
    assert!(!data.path().join("geth.ipc").exists());
}
