//! Envelopes into an archive that has some of them.

use bridge::{
    mapping,
    policy::Ways,
    remake::{Remade, remake},
    router::{Route, Router},
};
use waku0::Topic;
use waku2::{Meta, PubsubTopic, WakuMessage};

use super::*;
use crate::config::archive::{Archive as Wanted, Place};

const SENT: u32 = 1_700_000_000;

fn pubsub(n: u8) -> PubsubTopic {
    format!("/waku/2/rs/0/{n}").parse().unwrap()
}

fn config() -> Config {
    let routes = Router::table(vec![Route::everything(pubsub(0), Ways::Both)]).unwrap();
    Config { routes, min_pow: waku0::Pow::ZERO, ..Config::default() }
}

fn envelope(text: &str, sent: u32) -> Envelope {
    Envelope::new(sent + 50, 50, Topic([1, 2, 3, 4]), text.to_owned().into(), 7).unwrap()
}

fn message(text: &str) -> WakuMessage {
    WakuMessage {
        payload: text.to_owned().into(),
        content_topic: "/waku/1/0x01020304/rfc26".into(),
        version: 1,
        timestamp: Some(i64::from(SENT) * 1_000_000_000 + 5),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: false,
    }
}

async fn history() -> History {
    let wanted = Wanted { place: Place::Memory, retention: "none".parse().unwrap() };
    History::open(&wanted, std::path::Path::new("")).await.unwrap().0
}

async fn came(history: &History, config: &Config, envelopes: &[Envelope]) -> u64 {
    keep(history, config, envelopes).await.unwrap().values().sum()
}

/// Envelopes as mail requests see them, and messages as store queries do.
async fn seen(history: &History) -> (Vec<Row>, Vec<Row>) {
    let page = async |query| history.archive().page(&query).await.unwrap().rows;
    (page(archive::Query::envelopes()).await, page(archive::Query::messages()).await)
}

#[tokio::test]
async fn twice_filled_changes_nothing_and_both_sides_see_the_same() {
    let (history, config) = (history().await, config());
    let envelopes: Vec<_> = (0..5).map(|n| envelope(&format!("number {n}"), SENT + n)).collect();
    assert_eq!(came(&history, &config, &envelopes).await, 5);
    let first = seen(&history).await;
    assert_eq!(first.0, first.1);
    for (row, envelope) in first.0.iter().zip(&envelopes) {
        let expected = mapping::message_of(envelope, mapping::timestamp_of(envelope), true);
        assert_eq!((rows::envelope(row), rows::message(row)), (Some(envelope.clone()), Some((pubsub(0), expected))));
        assert!(!row.proven && row.reason.as_deref() == Some(REASON));
    }
    assert_eq!(came(&history, &config, &envelopes).await, 0);
    assert_eq!(seen(&history).await, first);
}

#[tokio::test]
async fn by_mail_and_by_store_it_is_one_row() {
    let config = config();
    let message = message("on v2 first");
    let Some(Remade::Unmined(unmined)) = remake(&config, &pubsub(0), &message) else { panic!() };
    let envelope = unmined.mine().unwrap();
    let by_store = rows::of_message(&pubsub(0), &message, Some(REASON), 1).unwrap();
    for store_first in [true, false] {
        let history = history().await;
        if store_first {
            history.writer().append(by_store.clone()).await.unwrap();
        }
        came(&history, &config, std::slice::from_ref(&envelope)).await;
        history.writer().append(by_store.clone()).await.unwrap();
        let (mail, store) = seen(&history).await;
        assert_eq!((mail.len(), store.len()), (1, 1), "store first: {store_first}");
        assert_eq!(rows::envelope(&mail[0]).map(|found| found.hash()), Some(envelope.hash()));
        assert_eq!(rows::message(&store[0]), Some((pubsub(0), message.clone())));
    }
}

#[tokio::test]
async fn what_says_the_same_at_nearly_the_same_time_is_known() {
    let (history, config) = (history().await, config());
    let tolerance = u32::try_from(config.seen.tolerance_secs).unwrap();
    let all = [0, tolerance, tolerance + 1].map(|later| envelope("the same", SENT + later));
    assert_eq!(came(&history, &config, &all[..2]).await, 1, "in one batch");
    assert_eq!(came(&history, &config, &all[1..2]).await, 0, "in another");
    assert_eq!(came(&history, &config, &all[2..]).await, 1, "another time is another thing");
}

#[tokio::test]
async fn an_envelope_that_was_given_another_time_is_known() {
    let (history, config) = (history().await, config());
    let envelope = envelope("late", SENT);
    // What the policy `retime` leaves: an envelope, and its message of another time.
    let retimed = mapping::message_of(&envelope, (i64::from(SENT) + 500) * 1_000_000_000, true);
    history.writer().append(rows::of_envelope(&envelope, None, 1)).await.unwrap();
    history.writer().append(rows::of_message(&pubsub(0), &retimed, None, 1).unwrap()).await.unwrap();
    assert_eq!(came(&history, &config, &[envelope]).await, 0);
    let (mail, store) = seen(&history).await;
    assert_eq!((mail.len(), store.len()), (1, 1));
}

#[tokio::test]
async fn a_route_with_fanout_has_a_message_on_each_topic() {
    let (history, mut config) = (history().await, config());
    let first = Route { fanout: true, ..Route::everything(pubsub(0), Ways::Both) };
    let second = Route { name: "second".into(), ..Route::everything(pubsub(1), Ways::Both) };
    config.routes = Router::table(vec![first, second]).unwrap();
    let counts = keep(&history, &config, &[envelope("both", SENT)]).await.unwrap();
    assert_eq!(counts, [("default".into(), 1), ("second".into(), 1)].into());
    let (mail, store) = seen(&history).await;
    assert_eq!((mail.len(), store.len()), (1, 2));
}
