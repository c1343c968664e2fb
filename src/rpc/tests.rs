//! Every method once, against a node on loopback, without sockets of JSON-RPC; those are for the end-to-end tests.

use std::{collections::HashSet, sync::Arc};

use devp2p::{Limits, Network, NodeKey};
use jsonrpsee::RpcModule;
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;
use tokio::sync::mpsc;
use waku0::{
    Settings, Topic,
    filter::IDLE,
    packet::{
        Code,
        p2p::{Completion, Direct},
    },
    payload,
};

use super::*;
use crate::{cli::BytesForm, keys::seeded_rng};

/// What a subscriber is told next.
async fn next(pushed: &mut mpsc::Receiver<Box<RawValue>>) -> Value {
    let told = pushed.recv().await.unwrap();
    serde_json::from_str::<Value>(told.get()).unwrap()["params"]["result"].clone()
}

const TOPIC: &str = "0x01020304";

struct Scene {
    module: RpcModule<Arc<Context>>,
    context: Arc<Context>,
    _directory: TempDir,
}

async fn node(statics: Vec<devp2p::Enode>, seed: u64) -> (waku0::Handle, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(64);
    let config = waku0::run::Config {
        key: NodeKey::generate(&mut seeded_rng(seed)),
        client_id: "test".into(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        static_nodes: statics,
        limits: Limits::default(),
        network: Network::default(),
        settings: Settings::default(),
        accounts: None,
        mail: None,
    };
    (waku0::run::start(config, sender).await.unwrap().0, events)
}

impl Scene {
    async fn new(form: BytesForm) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (handle, events) = node(Vec::new(), 1).await;
        let keys = KeyStore::open(directory.path()).unwrap();
        let node = Node {
            handle,
            key: NodeKey::from_bytes(&[1; 32]).unwrap(),
            record: None,
            settings: Settings::default(),
            statics: HashSet::new(),
            archive: None,
        };
        let context = Arc::new(Context::new(node, Arc::default(), keys, directory.path(), form));
        tokio::spawn(Arc::clone(&context).follow(events));
        Self { module: module(&context, &ALL).unwrap(), context, _directory: directory }
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (answer, _) = self.module.raw_json_request(&request, 1).await.unwrap();
        serde_json::from_str(answer.get()).unwrap()
    }

    async fn ok(&self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        answer.get("result").cloned().unwrap_or_else(|| panic!("{method}: {answer}"))
    }

    /// Subscribes, and returns what is pushed.
    async fn subscribe(&self, method: &str, params: Value) -> mpsc::Receiver<Box<RawValue>> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (answer, pushed) = self.module.raw_json_request(&request, 64).await.unwrap();
        assert!(!serde_json::from_str::<Value>(answer.get()).unwrap()["result"].is_null(), "{answer}");
        pushed
    }

    async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(method, params).await;
        let error = &answer["error"];
        (error["code"].as_i64().unwrap_or_default(), error["message"].as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_added_shown_and_deleted() {
    let scene = Scene::new(BytesForm::Hex).await;
    let pair = scene.ok("waku_newKeyPair", json!([])).await;
    assert_eq!(pair.as_str().unwrap().len(), 64);
    assert_eq!(scene.ok("shh_hasKeyPair", json!([pair])).await, true, "both names have the same keys");
    assert!(scene.ok("waku_getPublicKey", json!([pair])).await.as_str().unwrap().starts_with("0x04"));
    let secret = format!("0x{}", "11".repeat(32));
    let added = scene.ok("waku_addPrivateKey", json!([secret])).await;
    assert_eq!(scene.ok("waku_getPrivateKey", json!([added])).await, json!(secret));
    assert_eq!(scene.ok("waku_deleteKeyPair", json!([pair])).await, true);
    assert_eq!(scene.error("waku_deleteKeyPair", json!([pair])).await.0, -32000);
    assert_eq!(scene.ok("waku_hasKeyPair", json!([pair])).await, false);

    let shared = scene.ok("waku_generateSymKeyFromPassword", json!(["test"])).await;
    let known = "0xa82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a";
    assert_eq!(scene.ok("waku_getSymKey", json!([shared])).await, known);
    let again = scene.ok("waku_addSymKey", json!([known])).await;
    assert_eq!(scene.ok("waku_hasSymKey", json!([again])).await, true);
    assert_eq!(scene.ok("waku_hasKeyPair", json!([again])).await, false, "of another kind");
    assert_eq!(scene.ok("waku_deleteSymKey", json!([again])).await, true);
    assert_eq!(scene.ok("waku_deleteSymKey", json!([again])).await, false);
    assert_eq!(scene.ok("waku_newSymKey", json!([])).await.as_str().unwrap().len(), 64);
    for wrong in ["0x", "0x00", &format!("0x{}", "00".repeat(32))] {
        assert_eq!(scene.error("waku_addSymKey", json!([wrong])).await.0, -32000, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_found_by_a_filter_once() {
    let scene = Scene::new(BytesForm::Hex).await;
    let key = scene.ok("waku_generateSymKeyFromPassword", json!(["status"])).await;
    let signer = scene.ok("waku_newKeyPair", json!([])).await;
    let public = scene.ok("waku_getPublicKey", json!([signer])).await;
    let filter =
        scene.ok("waku_newMessageFilter", json!([{ "symKeyID": key, "sig": public, "topics": [TOPIC] }])).await;
    let post = json!([{
        "symKeyID": key, "sig": signer, "ttl": 10, "topic": TOPIC, "payload": "0x68656c6c6f", "powTime": 10, "powTarget": 0.002,
    }]);
    let hash = scene.ok("waku_post", post).await;
    let found = scene.ok("waku_getFilterMessages", json!([filter])).await;
    let [message] = &found.as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&message["hash"], &message["sig"]), (&hash, &public));
    assert_eq!(
        (&message["payload"], &message["topic"], &message["ttl"]),
        (&json!("0x68656c6c6f"), &json!(TOPIC), &json!(10))
    );
    assert!(message["pow"].as_f64().unwrap() >= 0.002 && message["timestamp"].as_u64().unwrap() > 0);
    assert_eq!(scene.ok("wakuext_getNewFilterMessages", json!([filter])).await, json!([]));
    assert_eq!(scene.ok("waku_info", json!([])).await["messages"], 1);
    assert_eq!(scene.ok("waku_deleteMessageFilter", json!([filter])).await, true);
    assert_eq!(scene.error("waku_getFilterMessages", json!([filter])).await, (-32000, "filter not found".into()));
    assert_eq!(IDLE.as_secs(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_for_one_reader_names_him_and_base64_is_read_and_written() {
    let scene = Scene::new(BytesForm::Base64).await;
    let reader = scene.ok("shh_newKeyPair", json!([])).await;
    let public = scene.ok("shh_getPublicKey", json!([reader])).await;
    let filter = scene.ok("shh_newMessageFilter", json!([{ "privateKeyID": reader }])).await;
    let post = json!([{ "pubKey": public, "ttl": 10, "payload": "aGVsbG8=", "powTime": 10, "powTarget": 0.002 }]);
    scene.ok("shhext_post", post).await;
    let found = scene.ok("shh_getFilterMessages", json!([filter])).await;
    assert_eq!((&found[0]["payload"], &found[0]["recipientPublicKey"]), (&json!("aGVsbG8="), &public));
    assert_eq!((&found[0]["sig"], &found[0]["topic"]), (&Value::Null, &json!("0x00000000")));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_words_of_deployed_nodes() {
    let scene = Scene::new(BytesForm::Hex).await;
    let key = scene.ok("waku_newSymKey", json!([])).await;
    let either = "specify either a symmetric or an asymmetric key";
    for (post, said) in [
        (json!({ "topic": TOPIC, "powTarget": 1 }), either),
        (json!({ "symKeyID": key, "pubKey": "0x04", "powTarget": 1 }), either),
        (json!({ "symKeyID": key, "powTarget": 1 }), "missing topic(s)"),
        (json!({ "pubKey": "0x04", "powTarget": 1 }), "invalid public key"),
        (json!({ "symKeyID": key, "topic": TOPIC, "powTarget": 0.001 }), "message rejected, PoW too low"),
        (json!({ "symKeyID": "ab", "topic": TOPIC, "powTarget": 1 }), "non-existent key ID"),
    ] {
        assert_eq!(scene.error("waku_post", json!([post])).await, (-32000, said.to_owned()), "{post}");
    }
    assert_eq!(scene.error("waku_newMessageFilter", json!([{}])).await.1, either);
    let unsigned = json!([{ "symKeyID": key, "sig": "0x04" }]);
    assert_eq!(scene.error("waku_newMessageFilter", unsigned).await.1, "invalid signing public key");
    for params in [json!([]), json!([5]), json!([{ "ttl": -1 }]), json!([{ "payload": "0xz" }])] {
        assert_eq!(scene.error("waku_post", params.clone()).await.0, -32602, "{params}");
    }
    assert_eq!(scene.error("waku_nothing", json!([])).await.0, -32601);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_changed_and_told() {
    let scene = Scene::new(BytesForm::Hex).await;
    let bloom = format!("0x{}", "0f".repeat(64));
    assert_eq!(scene.ok("waku_setMinPoW", json!([0.5])).await, true);
    assert_eq!(scene.ok("waku_setMaxMessageSize", json!([65536])).await, true);
    assert_eq!(scene.ok("waku_setMaxEnvelopeSize", json!([65536])).await, true);
    assert_eq!(scene.ok("waku_setBloomFilter", json!([bloom])).await, true);
    assert_eq!(scene.ok("waku_bloomFilter", json!([])).await, json!(bloom));
    let info = scene.ok("waku_info", json!([])).await;
    assert_eq!(
        (&info["minPow"], &info["maxMessageSize"], &info["maxEnvelopeSize"]),
        (&json!(0.5), &json!(65536), &json!(65536))
    );
    assert_eq!(scene.ok("waku_makeLightClient", json!([])).await, true);
    assert_eq!(scene.ok("waku_cancelLightClient", json!([])).await, false);
    assert_eq!(
        (scene.ok("waku_version", json!([])).await, scene.ok("shh_version", json!([])).await),
        (json!("0"), json!("6.0"))
    );
    for (method, wrong) in
        [("setMinPoW", json!([-1])), ("setMaxMessageSize", json!([10_485_761])), ("setBloomFilter", json!(["0x00"]))]
    {
        assert!(scene.error(&format!("waku_{method}"), wrong).await.0 < 0, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_named_added_trusted_and_removed() {
    let scene = Scene::new(BytesForm::Hex).await;
    let info = scene.ok("admin_nodeInfo", json!([])).await;
    let ours: devp2p::Enode = info["enode"].as_str().unwrap().parse().unwrap();
    assert_eq!(info["ports"]["listener"], ours.tcp);
    let (other, mut events) = node(vec![ours.clone()], 2).await;
    while !matches!(events.recv().await, Some(Event::PeerRunning { .. })) {}
    let enode = other.enode().to_string();
    // The other side may know of it first.
    let peers = loop {
        let peers = scene.ok("admin_peers", json!([])).await;
        if peers[0]["protocols"]["waku"].is_object() {
            break peers;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&peers[0]["name"], &peers[0]["caps"]), (&json!("test"), &json!(["waku/1"])));
    assert!(peers[0]["network"]["remoteAddress"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(scene.ok("net_peerCount", json!([])).await, "0x1");
    assert_eq!(scene.ok("waku_markTrustedPeer", json!([enode])).await, true);
    assert_eq!(scene.ok("admin_peers", json!([])).await[0]["network"]["trusted"], true);
    // What is for one peer goes to it alone, with no work.
    let conn = other.peers().await[0].conn;
    assert!(other.trust(conn, true).await);
    let key = scene.ok("waku_addSymKey", json!([format!("0x{}", "07".repeat(32))])).await;
    let direct = |to: &str| json!([{ "symKeyID": key, "topic": TOPIC, "payload": "0x01", "powTarget": 0, "powTime": 1, "targetPeer": to }]);
    let hash = scene.ok("waku_post", direct(&enode)).await;
    let got = loop {
        if let Event::Direct { packet: Direct::Envelopes(envelopes), .. } = events.recv().await.unwrap() {
            break envelopes.flatten().flatten().next().unwrap();
        }
    };
    assert_eq!(json!(format!("0x{}", hex::encode(got.hash().as_bytes()))), hash);
    assert_eq!(scene.ok("admin_removeTrustedPeer", json!([enode])).await, true);
    assert_eq!(scene.ok("admin_addTrustedPeer", json!([enode])).await, true);
    assert_eq!(peers[0]["network"]["static"], false);
    assert_eq!(scene.ok("admin_addPeer", json!([enode])).await, true);
    assert_eq!(scene.ok("admin_peers", json!([])).await[0]["network"]["static"], true);
    assert_eq!(scene.error("admin_addPeer", json!([ours.to_string()])).await.0, -32000);
    let stranger = format!("enode://{}@127.0.0.1:1", NodeKey::from_bytes(&[9; 32]).unwrap().public());
    assert_eq!(scene.error("waku_markTrustedPeer", json!([stranger])).await.0, -32000);
    assert_eq!(scene.error("waku_post", direct(&stranger)).await.0, -32000);
    let asked = json!([{ "mailServerPeer": stranger }]);
    assert_eq!(scene.error("wakuext_requestMessages", asked).await.0, -32000);
    assert_eq!(scene.ok("admin_removePeer", json!([enode])).await, true);
    while !matches!(events.recv().await, Some(Event::PeerGone { .. }) | None) {}
    assert_eq!(scene.error("admin_addPeer", json!(["enode://x"])).await.0, -32602);
    assert!(scene.ok("admin_datadir", json!([])).await.is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_of_each_message() {
    let scene = Scene::new(BytesForm::Hex).await;
    let key = scene.ok("waku_addSymKey", json!([format!("0x{}", "07".repeat(32))])).await;
    let subscribe = json!({ "jsonrpc": "2.0", "id": 1, "method": "waku_subscribe",
        "params": ["messages", { "symKeyID": key, "topics": [TOPIC] }] });
    let (answer, mut pushed) = scene.module.raw_json_request(&subscribe.to_string(), 8).await.unwrap();
    let id = serde_json::from_str::<Value>(answer.get()).unwrap()["result"].clone();
    let shared = payload::SymKey::from_bytes([7; 32]).unwrap();
    for text in ["one", "two"] {
        let data = payload::seal(
            &payload::Content::from(bytes::Bytes::from(text)),
            payload::SealTo::Symmetric(&shared),
            None,
            &mut seeded_rng(1),
        );
        let mined = crate::client::Mined::make(Topic([1, 2, 3, 4]), 10, data.unwrap(), None, |_| {}).await.unwrap();
        scene.context.offer(&mined.envelope, false);
        let note: Value = serde_json::from_str(pushed.recv().await.unwrap().get()).unwrap();
        assert_eq!((&note["method"], &note["params"]["subscription"]), (&json!("waku_subscription"), &id));
        assert_eq!(note["params"]["result"]["payload"], format!("0x{}", hex::encode(text)));
    }
    assert_eq!(scene.ok("waku_info", json!([])).await["filters"], 1);
    assert_eq!(scene.ok("waku_unsubscribe", json!([id])).await, true);
    while scene.ok("waku_info", json!([])).await["filters"] != 0 {
        tokio::task::yield_now().await;
    }
    let without = json!(["messages", { "symKeyID": key }]);
    assert_eq!(scene.error("waku_subscribe", without).await.1, "missing topic(s)");
    assert_eq!(scene.error("waku_subscribe", json!(["newHeads"])).await.0, -32000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_added_is_dialled_again_and_one_that_was_removed_is_not() {
    let scene = Scene::new(BytesForm::Hex).await;
    let mut news = scene.subscribe("admin_subscribe", json!(["peerEvents"])).await;
    let (other, mut events) = node(Vec::new(), 2).await;
    let enode = other.enode().to_string();
    let told = |kind: &str, told: &Value| {
        assert_eq!((&told["type"], &told["peer"]), (&json!(kind), &json!(other.enode().key.id().to_string())));
    };
    assert_eq!(scene.ok("admin_addPeer", json!([enode])).await, true);
    let added = next(&mut news).await;
    told("add", &added);
    assert_eq!(added["remote"], format!("127.0.0.1:{}", other.enode().tcp));
    let conn = loop {
        if let Some(Event::PeerRunning { conn }) = events.recv().await {
            break conn;
        }
    };
    other.disconnect(conn);
    told("drop", &next(&mut news).await);
    told("add", &next(&mut news).await);
    assert_eq!(scene.ok("admin_removePeer", json!([enode])).await, true);
    told("drop", &next(&mut news).await);
    assert_eq!(scene.ok("admin_peers", json!([])).await, json!([]));
    // Nobody dials any more, so this is the next thing that happens.
    let (_third, _) = node(vec![scene.context.node.enode().clone()], 3).await;
    let third = next(&mut news).await;
    assert_eq!(third["type"], "add");
    assert_ne!(third["peer"], json!(other.enode().key.id().to_string()));
    assert_eq!(scene.error("admin_subscribe", json!(["newHeads"])).await.0, -32000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_posts_and_requests_is_told() {
    let scene = Scene::new(BytesForm::Hex).await;
    let mut news = scene.subscribe("waku_subscribe", json!(["events"])).await;
    let (other, mut events) = node(vec![scene.context.node.enode().clone()], 2).await;
    let conn = loop {
        if let Some(Event::PeerRunning { conn }) = events.recv().await {
            break conn;
        }
    };
    let key = scene.ok("waku_addSymKey", json!([format!("0x{}", "07".repeat(32))])).await;
    let post = json!([{ "symKeyID": key, "topic": TOPIC, "payload": "0x01", "powTarget": 0.002, "powTime": 10 }]);
    while scene.ok("admin_peers", json!([])).await[0]["protocols"]["waku"].is_null() {
        tokio::task::yield_now().await;
    }
    let hash = scene.ok("shhext_post", post.clone()).await;
    let sent = next(&mut news).await;
    assert_eq!(
        (&sent["type"], &sent["event"]["hash"], &sent["event"]["ids"][0]),
        (&json!("envelope.sent"), &hash, &hash)
    );
    // It serves no history, and so says nothing; then it does.
    let asked =
        |timeout: u64| json!([{ "mailServerPeer": other.enode().to_string(), "timeout": timeout, "force": true }]);
    let request = scene.ok("wakuext_requestMessages", asked(1)).await;
    let expired = next(&mut news).await;
    assert_eq!((&expired["type"], &expired["event"]["hash"]), (&json!("mailserver.request.expired"), &request));
    let done = Completion::Done { request: [7; 32], last: None, cursor: None };
    other.mail(conn, Code::P2pRequestComplete, done.encode()).await.unwrap();
    let completed = next(&mut news).await;
    assert_eq!(completed["type"], "mailserver.request.completed");
    assert_eq!(completed["event"]["requestID"], format!("0x{}", "07".repeat(32)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_processed_is_not_given_again_in_another_envelope() {
    let scene = Scene::new(BytesForm::Hex).await;
    let key = scene.ok("waku_addSymKey", json!([format!("0x{}", "07".repeat(32))])).await;
    let filter = scene.ok("shh_newMessageFilter", json!([{ "symKeyID": key, "topics": ["0x0102"] }])).await;
    let post = |payload: &str, ttl: u32| json!([{ "symKeyID": key, "topic": TOPIC, "payload": payload, "ttl": ttl, "powTarget": 0.002, "powTime": 10 }]);
    scene.ok("waku_post", post("0x01", 10)).await;
    let first = scene.ok("wakuext_getNewFilterMessages", json!([filter])).await;
    assert_eq!(first.as_array().map(Vec::len), Some(1), "by the beginning of its topic");
    assert_eq!(scene.ok("wakuext_confirmMessagesProcessed", json!([first])).await, Value::Null);
    for payload in ["0x01", "0x02"] {
        scene.ok("waku_post", post(payload, 11)).await;
    }
    let new = scene.ok("shhext_getNewFilterMessages", json!([filter])).await;
    assert_eq!((new.as_array().map(Vec::len), &new[0]["payload"]), (Some(1), &json!("0x02")));
    assert_eq!(scene.error("wakuext_confirmMessagesProcessed", json!(["x"])).await.0, -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_archive_nothing_is_synchronised() {
    let scene = Scene::new(BytesForm::Hex).await;
    let stranger = format!("enode://{}@127.0.0.1:1", NodeKey::from_bytes(&[9; 32]).unwrap().public());
    for method in ["wakuext_syncMessages", "shhext_syncMessages"] {
        let (code, said) = scene.error(method, json!([{ "mailServerPeer": stranger }])).await;
        assert_eq!((code, said.as_str()), (-32000, "can not sync messages if Mail Server is not configured"));
        assert_eq!(scene.error(method, json!([{ "mailServerPeer": "x" }])).await.1, "invalid MailServerPeer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_named_is_served() {
    let scene = Scene::new(BytesForm::Hex).await;
    let few = module(&scene.context, &[Namespace::Waku, Namespace::Web3]).unwrap();
    let names: Vec<_> = few.method_names().collect();
    assert!(names.contains(&"waku_post") && names.contains(&"rpc_modules"));
    assert!(!names.iter().any(|name| name.starts_with("admin_") || name.starts_with("shh_")));
    let modules = scene.ok("rpc_modules", json!([])).await;
    assert_eq!((&modules["waku"], &modules["admin"], &modules["rpc"]), (&json!("1.0"), &json!("1.0"), &json!("1.0")));
    assert!(scene.ok("web3_clientVersion", json!([])).await.as_str().unwrap().starts_with("Causeway/v"));
    let empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    assert_eq!(scene.ok("web3_sha3", json!(["0x"])).await, empty);
    assert_eq!(
        (scene.ok("net_version", json!([])).await, scene.ok("net_listening", json!([])).await),
        (json!("1"), json!(true))
    );
}
