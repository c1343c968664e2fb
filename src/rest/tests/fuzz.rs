//! Requests made of the document itself: mostly as it says, sometimes not. Whatever is asked and however the node fares, the answer comes, and
//! its status is one that the document has for it.

use std::{sync::LazyLock, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Map, Value, json};
use tokio::{runtime::Runtime, time::timeout};
use waku2::{
    PublishError, Published,
    lightpush::{Failure, Pushed, Status},
};

use super::{
    case::{Sent, ask, router},
    document::{document, operations},
    world::{ID, State, World},
};
use crate::rest::ports::{FilterRefused, LegacyPage, NoPeer, PushRefused, StorePage, StoreRefused};

/// Far longer than any wait of the routes.
const HANG: Duration = Duration::from_secs(60);

/// How deep values are made.
const DEPTH: usize = 4;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| runtime().block_on(document()));

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Texts that somebody might send.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec![
            "", " ", "/waku/2/rs/1/0", "/waku/2/rs/1/1", "/waku/2/rs/2/0", "/myapp/1/latest/proto", "latest", "aGVsbG8=",
            "aGVsbG8", "true", "0", "-1", "20", "65536", "9223372036854775808", "DEBUG", "7", "%2F", "\u{0}", "ü",
            "0x0101010101010101010101010101010101010101010101010101010101010101",
        ]).prop_map(str::to_owned),
        1 => Just(ID.to_owned()),
        1 => Just(format!("/ip4/127.0.0.1/tcp/60001/p2p/{ID}")),
        2 => any::<String>(),
    ]
}

/// Any JSON.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let fields = prop::collection::btree_map(text(), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn resolved(schema: &Value) -> &Value {
    let place = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    place.and_then(|place| DOCUMENT.pointer(place)).unwrap_or(schema)
}

/// A type of the schema: the first of several that is not null.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    }
}

/// A value that fits the schema, or now and then one that does not.
fn value(schema: &Value, depth: usize) -> BoxedStrategy<Value> {
    let schema = resolved(schema).clone();
    if depth == 0 {
        return anything().boxed();
    }
    let fit = match kind(&schema) {
        "object" => object(&schema, depth),
        "array" => prop::collection::vec(value(&schema["items"], depth - 1), 0..4).prop_map(Value::from).boxed(),
        "integer" => prop_oneof![any::<u16>().prop_map(Value::from), any::<i64>().prop_map(Value::from)].boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "string" => text().prop_map(Value::from).boxed(),
        _ => anything().boxed(),
    };
    prop_oneof![12 => fit, 1 => anything()].boxed()
}

/// With each of its fields most of the time.
fn object(schema: &Value, depth: usize) -> BoxedStrategy<Value> {
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, schema)| (Just(name), prop::option::weighted(0.85, value(&schema, depth - 1))))
        .collect();
    let made = fields.prop_map(|fields| {
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Value::Object(given.collect::<Map<_, _>>())
    });
    made.boxed()
}

/// A request of one operation.
#[derive(Debug, Clone)]
struct Made {
    uri: String,
    sent: Sent,
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn made(path: String, operation: &Value) -> BoxedStrategy<Made> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let values = parameters.into_iter().map(|parameter| {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let is_query = parameter["in"] == "query";
        (Just((name, is_query)), prop::option::weighted(0.7, text()))
    });
    let body = match operation.pointer("/requestBody/content/application~1json/schema") {
        Some(schema) => sent(value(schema, DEPTH)).boxed(),
        None => Just(Sent::nothing()).boxed(),
    };
    let values: Vec<_> = values.collect();
    (values, body)
        .prop_map(move |(values, sent)| {
            let (mut uri, mut query) = (path.clone(), Vec::new());
            for ((name, is_query), value) in values {
                let value = encoded(&value.unwrap_or_default());
                if is_query {
                    query.push(format!("{name}={value}"));
                } else {
                    // An empty segment is another path.
                    let value = if value.is_empty() { "x".to_owned() } else { value };
                    uri = uri.replace(&format!("{{{name}}}"), &value);
                }
            }
            let uri = if query.is_empty() { uri } else { format!("{uri}?{}", query.join("&")) };
            Made { uri, sent }
        })
        .boxed()
}

/// The body as JSON, most of the time whole and under its name.
fn sent(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Sent> {
    let media = prop_oneof![
        6 => Just(Some("application/json".to_owned())),
        1 => Just(Some("text/plain".to_owned())),
        1 => Just(Some("text/html".to_owned())),
        1 => Just(None),
    ];
    (media, value, prop::option::weighted(0.1, any::<Index>())).prop_map(|(media, value, cut)| {
        let mut bytes = value.to_string().into_bytes();
        bytes.truncate(cut.map_or(usize::MAX, |cut| cut.index(bytes.len() + 1)));
        Sent(media, bytes)
    })
}

/// How a node may fare.
fn fate() -> impl Strategy<Value = Fate> {
    let publish = select(vec![
        Ok(Published { peers: 1, duplicate: false, proof: None }),
        Err(PublishError::NoPeers),
        Err(PublishError::NotSubscribed),
        Err(PublishError::QueueFull),
        Err(PublishError::Stopped),
    ]);
    let word = || "word".to_owned();
    let filter = select(vec![
        Ok(()),
        Err(NoPeer::NoneFound.into()),
        Err(FilterRefused::Dial(word())),
        Err(FilterRefused::BadResponse(word())),
        Err(FilterRefused::BadRequest(word())),
        Err(FilterRefused::NotFound(word())),
        Err(FilterRefused::TooMany(word())),
        Err(FilterRefused::Unknown),
    ]);
    let store = select(vec![
        None,
        Some(StoreRefused::NoPeer(NoPeer::NotSought)),
        Some(StoreRefused::TooMany),
        Some(StoreRefused::Failed(word())),
    ]);
    let mut pushes = vec![Err(NoPeer::NotSought.into())];
    pushes.extend([None, Some(0), Some(1)].map(|peers| Ok(Pushed { peers })));
    let failed = |status| Err(Failure { status, text: "word".to_owned() }.into());
    pushes.extend(Status::ALL.into_iter().chain([Status::Other(0), Status::Other(1_000)]).map(failed));
    let push = select(pushes);
    let switches = prop::array::uniform6(prop::bool::weighted(0.2));
    (publish, filter, store, push, switches).prop_map(|(publish, filter, store, push, switches)| Fate {
        publish,
        filter,
        store,
        push,
        switches,
    })
}

/// What the ports of a world answer.
#[derive(Debug, Clone)]
struct Fate {
    publish: Result<Published, PublishError>,
    filter: Result<(), FilterRefused>,
    store: Option<StoreRefused>,
    push: Result<Pushed, PushRefused>,
    switches: [bool; 6],
}

impl Fate {
    fn befall(&self, state: &mut State) {
        (state.publish, state.filter, state.push) = (self.publish.clone(), self.filter.clone(), self.push.clone());
        state.page = self.store.clone().map_or_else(|| Ok(StorePage::default()), Err);
        state.legacy_page = self.store.clone().map_or_else(|| Ok(LegacyPage::default()), Err);
        let [slow, unhealthy, stopped, no_history, no_network, no_shards] = self.switches;
        (state.slow, state.healthy, state.has_network) = (slow, !unhealthy, !no_network);
        (state.keeps_history, state.serves_filter) = (!no_history, !no_history);
        if stopped {
            state.peers = None;
        }
        if no_shards {
            state.shards = 0;
        }
    }
}

/// One request after the other to one operation.
fn check(path: &str, method: &str, operation: &Value) {
    let strategy = (fate(), prop::collection::vec(made(path.to_owned(), operation), 1..4));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let runtime = runtime();
    let responses = &operation["responses"];
    let outcome = runner.run(&strategy, |(fate, requests)| {
        let world = World::new();
        fate.befall(&mut world.state());
        let router = router(&world);
        for Made { uri, sent } in requests {
            let asked = async { timeout(HANG, ask(&router, method, &uri, sent.clone())).await };
            let Ok(answered) = runtime.block_on(asked) else {
                return Err(TestCaseError::fail(format!("no answer to {method} {uri} {sent:?}")));
            };
            let response = &responses[answered.status.to_string()];
            prop_assert!(!response.is_null(), "{method} {uri} {sent:?}: {answered:?}");
            let media = answered.media.split(';').next().unwrap_or_default();
            let content = response.get("content").and_then(Value::as_object);
            let is_told = content.map_or(answered.body.is_empty(), |content| content.contains_key(media));
            prop_assert!(is_told, "{method} {uri}: {answered:?} is no {response}");
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{method} {path}: {failure}");
    }
}

#[test]
fn every_answer_is_one_that_the_document_has() {
    let operations = operations(&DOCUMENT);
    assert!(operations.len() > 30);
    for (path, method, operation) in operations {
        check(&path, &method, &operation);
    }
}

#[test]
fn values_are_made_of_schemas() {
    let schema = DOCUMENT.pointer("/components/schemas/PushRequest").expect("a schema").clone();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut fits = 0;
    for _ in 0..100 {
        let made = value(&schema, DEPTH).new_tree(&mut runner).unwrap().current();
        fits += usize::from(made.pointer("/message/payload").is_some_and(Value::is_string));
    }
    assert!(fits > 30, "{fits} of 100 are nearly requests");
    assert_eq!(resolved(&json!({"$ref": "#/components/schemas/PushRequest"})), &schema);
}
