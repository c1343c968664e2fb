//! Where targets begin: the known answers of `fixtures/`, whose hex strings and texts are taken whatever their place in a file.

use std::path::Path;

use bytes::Bytes;
use devp2p::NodeKey;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use waku0::{
    bloom::Bloom,
    packet::{
        p2p::{CURSOR_LEN, Completion},
        sync::{SyncRequest, SyncResponse},
    },
    payload::{Content, plaintext},
};
use waku2::{
    ContentTopic, Meta, WakuMessage,
    filter::{
        legacy,
        wire::{Operation, Push, Request, Response},
    },
    rln::{
        epoch::Epoch,
        proof::{IDENTIFIER, RateLimitProof},
    },
};

/// Shorter hex is a number or a topic, not a packet.
const SHORTEST: usize = 2;

/// Scripts for cores are choices without a form of their own, so some random ones will do: how many, and how long.
const SCRIPTS: usize = 24;
const SCRIPT_BYTES: usize = 384;

/// Every string of a file; none when the file is not there, and then a target's test says so.
fn strings(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(file);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut strings = Vec::new();
    collect(&serde_json::from_str(&text).unwrap_or_default(), &mut strings);
    strings
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn hex_of(file: &str) -> Vec<Vec<u8>> {
    let bytes = strings(file).into_iter().filter_map(|text| hex::decode(text.trim_start_matches("0x")).ok());
    let mut seeds: Vec<_> = bytes.filter(|bytes| bytes.len() >= SHORTEST).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

fn texts(file: &str, prefix: &str) -> Vec<Vec<u8>> {
    strings(file).into_iter().filter(|text| text.starts_with(prefix)).map(String::into_bytes).collect()
}

fn prefixed(prefix: &[u8], seeds: &[Vec<u8>]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| [prefix, seed].concat()).collect()
}

/// A chunk as [`crate::script::Script::chunk`] reads it.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    [len.as_slice(), bytes].concat()
}

pub(crate) fn rlp() -> Vec<Vec<u8>> {
    ["rlp/rlptest.json", "rlp/invalidRLPTest.json", "rlp/pyInvalid.json", "rlp/example.json"]
        .into_iter()
        .flat_map(hex_of)
        .chain(base_protocol())
        .collect()
}

pub(crate) fn base_protocol() -> Vec<Vec<u8>> {
    [hex_of("devp2p/messages.json"), hex_of("rlpx/thunks.json")].concat()
}

/// Packets as they were recorded, for either role; and what stands in an auth and an ack, to be sealed anew.
pub(crate) fn handshake() -> Vec<Vec<u8>> {
    let recorded: Vec<_> = hex_of("rlpx/eip8.json").into_iter().filter(|packet| packet.len() > 97).collect();
    let mut auth = vec![0xf8, 0xa7, 0xb8, 65];
    auth.extend([1; 65]);
    auth.extend([0xb8, 64]);
    auth.extend([2; 64]);
    auth.push(0xa0);
    auth.extend([3; 32]);
    auth.push(4);
    let mut ack = vec![0xf8, 0x64, 0xb8, 64];
    ack.extend([2; 64]);
    ack.push(0xa0);
    ack.extend([3; 32]);
    ack.push(4);
    let plain_ack = [[2; 64].as_slice(), &[3; 32], &[0]].concat();
    let sealed = [([1].as_slice(), auth), (&[4], ack), (&[5], plain_ack), (&[2], vec![1; 194])];
    let sealed = sealed.into_iter().map(|(kind, body)| [kind, &body].concat());
    [prefixed(&[0], &recorded), prefixed(&[3], &recorded)].concat().into_iter().chain(sealed).collect()
}

pub(crate) fn session_bytes() -> Vec<Vec<u8>> {
    let packets = hex_of("rlpx/eip8.json").into_iter().filter(|packet| packet.len() > 97);
    packets.flat_map(|packet| [0, 1].map(|role| [&[role, 1], chunk(&packet).as_slice()].concat())).collect()
}

/// Role, manners and version; then messages, plain (7) or compressed (4).
pub(crate) fn session_frames() -> Vec<Vec<u8>> {
    let bodies = base_protocol();
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (n, body) in bodies.iter().enumerate() {
        let code = u8::try_from(n % 20).unwrap_or_default();
        let role = u8::try_from(n % 2).unwrap_or_default();
        let kind = if n % 3 == 0 { 7 } else { 4 };
        seeds.push([&[role, 1, 1, kind, code], chunk(body).as_slice()].concat());
        seeds.push([&[role, 0, 1, 7, 0], chunk(body).as_slice()].concat());
    }
    seeds
}

pub(crate) fn enode() -> Vec<Vec<u8>> {
    texts("enode/enodes.json", "enode://")
}

pub(crate) fn enr() -> Vec<Vec<u8>> {
    let records = [texts("enode/enodes.json", "enr:"), texts("dns/jswaku.json", "enr:")].concat();
    [records, hex_of("enode/enodes.json")].concat()
}

/// Packets, and the same without their hash.
pub(crate) fn discv4() -> Vec<Vec<u8>> {
    let packets = hex_of("discv4/packets.json");
    let bare = packets.iter().filter_map(|packet| packet.get(32..).map(<[u8]>::to_vec)).collect();
    [packets, bare].concat()
}

pub(crate) fn dns_text() -> Vec<Vec<u8>> {
    let files = ["dns/eip1459.json", "dns/jswaku.json", "dns/trees.json"];
    files.into_iter().flat_map(|file| texts(file, "enr")).take(200).collect()
}

pub(crate) fn status() -> Vec<Vec<u8>> {
    // By position: a Status of go-ethereum's Whisper, and packets that tell one option.
    let by_position = [
        b"\xcc\x06\x88\x3f\x60\x62\x4d\xd2\xf1\xa9\xfc\x80\x80".to_vec(),
        b"\x88\x3f\xe0\0\0\0\0\0\0".to_vec(),
        b"\xc3\x0a\x05\x01".to_vec(),
        [b"\xb8\x40".as_slice(), Bloom::FULL.as_bytes()].concat(),
    ];
    [hex_of("status/status.json"), hex_of("status/status_decode.json"), by_position.to_vec()].concat()
}

pub(crate) fn envelope() -> Vec<Vec<u8>> {
    let envelopes = [hex_of("envelopes/envelopes.json"), hex_of("envelopes/verdicts.json")].concat();
    envelopes.into_iter().filter(|bytes| bytes.first().is_some_and(|first| *first >= 0xc0)).take(60).collect()
}

/// Plaintexts of recorded payloads, every other one signed.
pub(crate) fn payload() -> Vec<Vec<u8>> {
    let Ok(key) = NodeKey::from_bytes(&[1; 32]) else { return Vec::new() };
    let mut rng = StdRng::seed_from_u64(2);
    let contents = hex_of("payload/payloads.json").into_iter().map(|payload| Content::from(Bytes::from(payload)));
    let signers = [None, Some(&key)].into_iter().cycle();
    contents.zip(signers).flat_map(|(content, sign)| plaintext::encode(&content, sign, &mut rng)).collect()
}

/// One to three envelopes in a list.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    envelope().chunks(3).map(|envelopes| list(&envelopes.concat())).collect()
}

fn list(items: &[u8]) -> Vec<u8> {
    let len = u32::try_from(items.len()).unwrap_or_default().to_be_bytes();
    match items.len() {
        0..=55 => [&[0xc0 + len[3]], items].concat(),
        56..=255 => [&[0xf8, len[3]], items].concat(),
        _ => [&[0xf9, len[2], len[3]], items].concat(),
    }
}

pub(crate) fn message() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for version in 0..3 {
        let message = WakuMessage {
            payload: Bytes::from_static(b"payload"),
            content_topic: ContentTopic::from("/waku/1/0x1a2b3c4d/rfc26"),
            version,
            timestamp: (version > 0).then_some(1_700_000_000_000_000_000),
            meta: Meta::new(vec![7; 17]).unwrap_or_default(),
            rate_limit_proof: (version == 2).then(|| Bytes::from_static(&[9; 8])),
            ephemeral: version == 1,
        };
        seeds.push(message.encode().to_vec());
    }
    seeds
}

pub(crate) fn metadata() -> Vec<Vec<u8>> {
    let texts = ["0801", "08011001100210071a020102", "1a03010203", "08ffff0310ffff03"];
    texts.into_iter().filter_map(|text| hex::decode(text).ok()).collect()
}

pub(crate) fn exchange() -> Vec<Vec<u8>> {
    let texts = ["0a020805", "0a0208051202 5000", "0a00120350ad03", "0a00120c0a00 50f7035a04 6e6f6e65"];
    texts.into_iter().filter_map(|text| hex::decode(text.replace(' ', "")).ok()).collect()
}

/// Requests and answers of 3.0.0 and 2.0.0-beta1.
pub(crate) fn lightpush() -> Vec<Vec<u8>> {
    let message = "0a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f";
    let texts = [
        format!("0a057265712d31aa0130{message}"),
        format!("0a057265712d31a2010e2f77616b752f322f72732f312f31aa0130{message}"),
        "0a057265712d3150c8016003".to_owned(),
        format!("0a057265712d3112420a0e2f77616b752f322f72732f312f311230{message}"),
        "0a057265712d311a06080112024f4b".to_owned(),
    ];
    texts.into_iter().filter_map(|text| hex::decode(text).ok()).collect()
}

/// A query by topics and times, one by hashes with a cursor, a page, a refusal.
pub(crate) fn store() -> Vec<Vec<u8>> {
    let texts = [
        "0a057265712d311001520e2f77616b752f322f72732f312f315a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f60aa8cd89ec0bfce972f68aadc8492cfbfce972fa00301a80314",
        "0a057265712d31a20120032f86241f8022504ac1cb74354f38a75b0c535f1844b4edb333389e7225de35a20120032f86241f8022504ac1cb74354f38a75b0c535f1844b4edb333389e7225de359a0320032f86241f8022504ac1cb74354f38a75b0c535f1844b4edb333389e7225de35",
        "0a057265712d3150c8015a024f4ba201640a20032f86241f8022504ac1cb74354f38a75b0c535f1844b4edb333389e7225de3512300a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f1a0e2f77616b752f322f72732f312f319a0320032f86241f8022504ac1cb74354f38a75b0c535f1844b4edb333389e7225de35",
        "0a034e2f4150ad035a11544f4f5f4d414e595f5245515545535453",
    ];
    texts.into_iter().filter_map(|text| hex::decode(text).ok()).collect()
}

/// A query with a cursor, one of everything, a page with a cursor, a refusal.
pub(crate) fn store_legacy() -> Vec<Vec<u8>> {
    let texts = [
        "0a057265712d31128301120e2f77616b752f322f72732f312f311a1f0a1d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f224c081412460a20074c15aa78cf57cb4b42d565377ec95d4288c02f4a5d6edfdd2eb88c0f9df56910aab4aed8c7bfce972f18aab4aed8c7bfce972f220e2f77616b752f322f72732f312f31180128023004",
        "0a057265712d311200",
        "0a057265712d311a7e12300a0568656c6c6f121d2f77616b752f322f64656661756c742d636f6e74656e742f70726f746f50aab4aed8c7bfce972f1a4812460a20074c15aa78cf57cb4b42d565377ec95d4288c02f4a5d6edfdd2eb88c0f9df56910aab4aed8c7bfce972f18aab4aed8c7bfce972f220e2f77616b752f322f72732f312f312000",
        "0a034e2f411a0320ad03",
    ];
    texts.into_iter().filter_map(|text| hex::decode(text).ok()).collect()
}

/// Signed records, and the values of their Waku keys.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let file: Value = serde_json::from_str(include_str!("../../fixtures/enr/waku.json")).unwrap_or_default();
    let records =
        file.as_object().into_iter().flatten().filter_map(|(_, text)| devp2p::enr::parse(text.as_str()?).ok());
    let values = |record: devp2p::enr::Enr| {
        let names = ["rs", "multiaddrs"].into_iter().filter_map(|name| devp2p::enr::value(&record, name));
        names.map(|value| value.to_vec()).chain([devp2p::enr::encode(&record)]).collect::<Vec<_>>()
    };
    records.flat_map(values).collect()
}

pub(crate) fn topics() -> Vec<Vec<u8>> {
    let topics = [
        "/waku/1/0x1a2b3c4d/rfc26",
        "/waku/1/1A2B3C4D/rlp",
        "/0/bias/waku/1/0xffffffff/rfc26",
        "/0/app/1/name/proto",
        "/waku/2/rs/1/0",
        "/waku/2/default-waku/proto",
    ];
    topics.into_iter().map(|topic| topic.as_bytes().to_vec()).collect()
}

/// Every request of filter v2, a response and a push.
pub(crate) fn filter() -> Vec<Vec<u8>> {
    let request = |operation| Request {
        id: "req-1".to_owned(),
        operation,
        pubsub_topic: Some("/waku/2/rs/1/1".to_owned()),
        content_topics: vec!["/waku/2/default-content/proto".to_owned()],
    };
    let operations = [Operation::Ping, Operation::Subscribe, Operation::Unsubscribe, Operation::UnsubscribeAll];
    let requests = operations.map(|operation| request(operation).encode());
    let response = Response::ok("req-1".to_owned()).encode();
    let pushes = message()
        .into_iter()
        .take(1)
        .map(|message| Push { message: message.into(), pubsub_topic: Some("/waku/2/rs/1/1".to_owned()) }.encode());
    requests.into_iter().chain([response]).chain(pushes).map(|bytes| bytes.to_vec()).collect()
}

/// Requests of the first filter, and a push.
pub(crate) fn legacy_filter() -> Vec<Vec<u8>> {
    let request = |subscribe| legacy::Request {
        subscribe,
        pubsub_topic: Some("/waku/2/rs/1/1".to_owned()),
        content_topics: vec!["/waku/2/default-content/proto".to_owned(), "/toychat/2/huilong/proto".to_owned()],
    };
    let id = || "sub-1".to_owned();
    let requests =
        [true, false].map(|subscribe| legacy::Rpc { id: id(), request: Some(request(subscribe)), push: None });
    let push = Some(message().into_iter().take(1).map(Bytes::from).collect());
    let push = legacy::Rpc { id: id(), request: None, push };
    requests.into_iter().chain([push]).map(|rpc| rpc.encode().to_vec()).collect()
}

/// The published proofs, which hold.
pub(crate) fn proof() -> Vec<Vec<u8>> {
    let file: Value = serde_json::from_str(include_str!("../../fixtures/rln/proofs.json")).unwrap_or_default();
    let read = |snark: &Value| {
        let field = |name: &str| element(&file[name]);
        let proof = RateLimitProof {
            snark: hex::decode(snark.as_str()?).ok()?.try_into().ok()?,
            root: field("root")?,
            epoch: Epoch(file["epoch"].as_u64()?).bytes(),
            share_x: field("x")?,
            share_y: field("y")?,
            nullifier: field("nullifier")?,
            identifier: IDENTIFIER,
        };
        Some(proof.encode().to_vec())
    };
    file["proofs"].as_object().into_iter().flat_map(|proofs| proofs.values().filter_map(read)).collect()
}

fn element(hex_le: &Value) -> Option<[u8; 32]> {
    hex::decode(hex_le.as_str()?).ok()?.try_into().ok()
}

/// The published keystore, the same for scrypt, and one that a browser wrote.
pub(crate) fn keystore() -> Vec<Vec<u8>> {
    let published = include_str!("../../fixtures/rln/keystore.json");
    let scrypt = published.replace("pbkdf2", "scrypt").replace("\"c\": 1000000", "\"n\": 262144, \"r\": 1, \"p\": 8");
    let browsers = include_str!("../../fixtures/rln/keystore-js-waku.json");
    [published.to_owned(), scrypt, browsers.to_owned()].map(String::into_bytes).to_vec()
}

/// For cores: random choices, the same each time.
pub(crate) fn scripts() -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(20_261);
    let mut script = || {
        let mut bytes = vec![0; SCRIPT_BYTES];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    (0..SCRIPTS).map(|_| script()).collect()
}

/// What mailservers tell each other, small.
pub(crate) fn sync() -> Vec<Vec<u8>> {
    let bloom = Some(Bloom::FULL);
    let requests = [(None, None), (bloom, Some([3; CURSOR_LEN]))]
        .map(|(bloom, cursor)| SyncRequest { lower: 1, upper: 2, bloom, limit: 10, cursor }.encode());
    let answers = [
        SyncResponse::encode(&[], None, true, ""),
        SyncResponse::encode(&[], None, false, "no"),
        SyncResponse::encode(&[], Some(&[3; CURSOR_LEN]), false, ""),
    ];
    requests.into_iter().chain(answers).map(|body| body.to_vec()).collect()
}

/// Requests for history in either form, and ends of answers.
pub(crate) fn mail() -> Vec<Vec<u8>> {
    let file = include_str!("../../fixtures/mail/mailserver.json");
    let recorded: Value = serde_json::from_str(file).unwrap_or_default();
    let all = |list: &str, keys: &[&str]| -> Vec<Vec<u8>> {
        let cases = recorded[list].as_array().into_iter().flatten();
        cases.flat_map(|case| keys.iter().filter_map(|key| hex::decode(case[*key].as_str()?).ok())).collect()
    };
    let request = std::array::from_fn(|at| *b"ERROR=".get(at).unwrap_or(&7));
    let named_as_an_error =
        Completion::Done { request, last: Some([8; 32].into()), cursor: None }.encode_list().to_vec();
    let error = [&request[..6], &[7; 32], &[0xff; 700]].concat();
    let not_text = [&[0xb9][..], &(error.len() as u16).to_be_bytes(), &error].concat();
    [
        all("requests", &["payload_rlp", "messages_request_rlp"]),
        all("responses", &["packet_rlp"]),
        vec![named_as_an_error, not_text],
    ]
    .concat()
}
