//! History: statuses, whom is asked, and the shapes of pages.

use bytes::Bytes;
use serde_json::{Value, json};
use waku2::{MessageHash, WakuMessage};

use super::{
    case::{Answered, Case, Sent, ask, check_all, router},
    world::{ID, World, message},
};
use crate::rest::ports::{Index, LegacyPage, NoPeer, StorePage, StoreRefused, Stored, Wanted};

const V3: &str = "/store/v3/messages";
const V1: &str = "/store/v1/messages";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [V3, V1] {
        let of = || Case::of("GET", path);
        let remote = move || of().at(format!("{path}?peerAddr=/ip4/127.0.0.1/tcp/60001/p2p/{ID}"));
        let failing = |refused: StoreRefused| {
            remote().given(move |state| {
                state.page = Err(refused.clone());
                state.legacy_page = Err(refused.clone());
            })
        };
        let failed = |words: &str| StoreRefused::Failed(words.to_owned());
        cases.extend([
            failing(NoPeer::NotSought.into()).text(412, "No suitable service peer & no discovery method"),
            failing(NoPeer::NoneFound.into()).text(412, "No suitable service peer & none discovered"),
            of().given(|state| (state.keeps_history, state.asks_history) = (false, false))
                .text(412, "No suitable service peer & no discovery method"),
            failing(failed("PEER_DIAL_FAILURE: x")).text(500, "PEER_DIAL_FAILURE: x"),
            remote().given(|state| state.slow = true).text(500, "No history response received (timeout)"),
            of().at(format!("{path}?startTime=x")).begins(400, "time parsing error: "),
            of().at(format!("{path}?pageSize=x")).begins(400, "page size parsing error: "),
            of().at(format!("{path}?peerAddr=nowhere")).begins(400, "Failed parsing remote peer info: "),
            of().at(format!("{path}?pubsubTopic={}", "x".repeat(257))).begins(400, "a pubsub topic of 257 bytes"),
        ]);
    }
    cases.extend([
        Case::of("GET", V3).json(200, json!({"requestId": "", "statusCode": 200, "statusDesc": "OK", "messages": []})),
        Case::of("GET", V1).json(200, json!({"messages": []})),
        Case::of("GET", V3)
            .given(|state| state.page = Err(StoreRefused::TooMany))
            .text(429, "Request rate limit reached"),
        Case::of("GET", V3).at(format!("{V3}?includeData=maybe")).begins(400, "include data parsing error: "),
        Case::of("GET", V3)
            .at(format!("{V3}?hashes=0x1234"))
            .text(400, "waku message hash parsing error: invalid hash length: 2"),
        Case::of("GET", V3).at(format!("{V3}?cursor=xyz")).begins(400, "Exception converting hex string to bytes: "),
        Case::of("GET", V3)
            .given(|state| state.page = Err(StoreRefused::Failed("cursor not found".to_owned())))
            .text(500, "cursor not found"),
        Case::of("GET", V1).at(format!("{V1}?digest=*")).begins(400, "digest parsing error: "),
    ]);
    cases
}

#[tokio::test]
async fn each_row_and_status() {
    check_all(cases()).await;
}

async fn get(world: &World, uri: &str) -> Answered {
    ask(&router(world), "GET", uri, Sent::nothing()).await
}

fn hash(byte: u8) -> MessageHash {
    [byte; 32].into()
}

#[tokio::test]
async fn a_page_is_told_in_the_shape_of_nwaku() {
    let world = World::new();
    let proven = WakuMessage { rate_limit_proof: Some(Bytes::from_static(b"pr")), ..message("hi", "/a", i64::MAX) };
    world.state().page = Ok(StorePage {
        request_id: "r".to_owned(),
        status: (200, "OK".to_owned()),
        messages: vec![
            Stored { hash: hash(1), content: Some(("/waku/2/rs/1/1".parse().unwrap(), proven)) },
            Stored { hash: hash(2), content: None },
        ],
        cursor: Some(hash(2)),
    });
    let expected = json!({"requestId": "r", "statusCode": 200, "statusDesc": "OK", "messages": [
        {"messageHash": format!("0x{}", "01".repeat(32)), "pubsubTopic": "/waku/2/rs/1/1", "message": {
            "payload": "aGk=", "contentTopic": "/a", "version": 0, "timestamp": i64::MAX, "ephemeral": false, "proof": "cHI="}},
        {"messageHash": format!("0x{}", "02".repeat(32))},
    ], "paginationCursor": format!("0x{}", "02".repeat(32))});
    let answered = get(&world, V3).await;
    assert_eq!(answered.json(), expected);
    assert!(answered.body.contains("9223372036854775807"), "a whole number, whatever its size: {}", answered.body);

    world.state().legacy_page = Ok(LegacyPage {
        messages: vec![message("hi", "/a", 7)],
        cursor: Some(Index {
            pubsub_topic: "/waku/2/rs/1/1".parse().unwrap(),
            sender_time: 7,
            store_time: 8,
            digest: Bytes::from_static(&[0xfb, 0xff]),
        }),
    });
    let expected = json!({"messages": [
        {"payload": "aGk=", "contentTopic": "/a", "version": 0, "timestamp": 7, "ephemeral": false}],
        "cursor": {"pubsubTopic": "/waku/2/rs/1/1", "senderTime": 7, "storeTime": 8, "digest": {"data": "+/8="}}});
    assert_eq!(get(&world, V1).await.json(), expected);
}

#[tokio::test]
async fn every_parameter_reaches_the_store_encoded_once_or_twice() {
    let (once, twice) = ("%2Fwaku%2F2%2Frs%2F1%2F1", "%252Fwaku%252F2%252Frs%252F1%252F1");
    let hashes = format!("0x{},{}", "01".repeat(32), "02".repeat(32));
    let cursor = "03".repeat(32);
    for topic in [once, twice] {
        let world = World::new();
        let uri = format!(
            "{V3}?pubsubTopic={topic}&contentTopics=%2Fa%2F1%2Fb%2Fc,%2Fd&startTime=5&endTime=6&hashes={hashes}\
             &cursor={cursor}&ascending=false&pageSize=1000&includeData=yes&unknown=1"
        );
        assert_eq!(get(&world, &uri).await.status, 200);
        let (peer, query) = world.state().queries.pop().unwrap();
        let wanted = Wanted {
            pubsub_topic: Some("/waku/2/rs/1/1".parse().unwrap()),
            content_topics: vec!["/a/1/b/c".into(), "/d".into()],
            from: Some(5),
            to: Some(6),
            backward: true,
            page_size: 100,
        };
        assert_eq!((peer, query.wanted), (None, wanted), "{topic}");
        let by_hash = (query.hashes, query.cursor, query.include_data);
        assert_eq!(by_hash, (vec![hash(1), hash(2)], Some(hash(3)), true), "{topic}");
    }
}

#[tokio::test]
async fn a_cursor_of_the_old_version_has_four_fields() {
    let world = World::new();
    let whole = format!("{V1}?pubsubTopic=%2Fwaku%2F2%2Frs%2F1%2F1&senderTime=5&storeTime=6&digest=%2B%2F8%3D");
    assert_eq!(get(&world, &whole).await.status, 200);
    let (_, wanted, cursor) = world.state().legacy_queries.pop().unwrap();
    let cursor = cursor.unwrap();
    assert_eq!((cursor.sender_time, cursor.store_time, &cursor.digest[..]), (5, 6, &[0xfb, 0xff][..]));
    assert_eq!(wanted.page_size, 20);
    assert_eq!(get(&world, &whole.replace("storeTime=6", "")).await.status, 200);
    assert_eq!(world.state().legacy_queries.pop().unwrap().2, None);
}

/// Who was asked: this node, a peer by its address, or one of the node's choice.
async fn asked(keeps: bool, uri: &str) -> Value {
    let world = World::new();
    world.state().keeps_history = keeps;
    let answered = get(&world, uri).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let state = world.state();
    let peers = state.queries.iter().map(|(peer, _)| peer).chain(state.legacy_queries.iter().map(|(peer, ..)| peer));
    json!(peers.map(|peer| peer.as_ref().map(ToString::to_string)).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_address_is_asked_and_otherwise_this_node() {
    let addr = format!("/ip4/127.0.0.1/tcp/60001/p2p/{ID}");
    for path in [V3, V1] {
        for keeps in [true, false] {
            assert_eq!(asked(keeps, path).await, json!([null]));
            assert_eq!(asked(keeps, &format!("{path}?peerAddr={addr}")).await, json!([addr]));
            let encoded = addr.replace('/', "%252F");
            assert_eq!(asked(keeps, &format!("{path}?peerAddr={encoded}")).await, json!([addr]));
        }
    }
    let world = World::new();
    world.state().asks_history = false;
    assert_eq!(get(&world, &format!("{V3}?peerAddr=")).await.status, 200, "an empty address is none");
    assert_eq!(get(&world, &format!("{V1}?peerAddr=")).await.status, 412, "but to the old version it is one");
}
