//! What of the history is wanted, as the query of an address says it.  Deployed: nwaku.
//!
//! Values are percent-decoded twice: clients encode them once or twice. An empty value is as good as none.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use utoipa::IntoParams;
use waku2::{ContentTopic, MessageHash, Multiaddr, PubsubTopic};

use super::{
    ports::{Index, StoreQuery, Wanted},
    values::Base64,
};

/// Messages of a page unless it says.  Deployed: nwaku.
const DEFAULT_PAGE: u64 = 20;

/// Most messages of a page.  Spec: 13/WAKU2-STORE.
const MAX_PAGE: u64 = 100;

/// What both versions take.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct Common {
    /// Whom to ask, as a multiaddr with `/p2p/` and the peer id; otherwise this node, or one that it knows.
    pub(super) peer_addr: Option<String>,
    /// Where.
    pub(super) pubsub_topic: Option<String>,
    /// About what, with commas between.
    pub(super) content_topics: Option<String>,
    /// Not sent before, in nanoseconds since 1970; not looked at unless above 0.
    pub(super) start_time: Option<String>,
    /// Not sent later, in nanoseconds since 1970; not looked at unless above 0.
    pub(super) end_time: Option<String>,
    /// `true` for pages from the oldest end, which is the default; anything else for the newest.
    pub(super) ascending: Option<String>,
    /// Most messages of a page; 20 unless given, 100 at most.
    pub(super) page_size: Option<String>,
}

/// What version 3 takes beside it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ByHash {
    /// Messages, not only their hashes.
    pub(super) include_data: Option<String>,
    /// These messages and no others, by their hashes in hex, with commas between.
    pub(super) hashes: Option<String>,
    /// The `paginationCursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// What 2.0.0-beta4 takes beside it: a cursor, of which all fields are given, and `pubsubTopic`, or none counts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ByIndex {
    /// Of the cursor, in nanoseconds since 1970.
    pub(super) sender_time: Option<String>,
    /// Of the cursor, in nanoseconds since 1970.
    pub(super) store_time: Option<String>,
    /// Of the cursor, in base64.
    pub(super) digest: Option<String>,
}

/// Decodes it once more; empty is none.
fn given(value: Option<&String>) -> Option<String> {
    let text = percent_decode_str(value?).decode_utf8_lossy().into_owned();
    Some(text).filter(|text| !text.is_empty())
}

fn number(value: Option<&String>, what: &str) -> Result<Option<i64>, String> {
    let Some(text) = given(value) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{what} parsing error: invalid integer: {text}"))
}

/// Only what is above 0 counts.
fn time(value: Option<&String>) -> Result<Option<i64>, String> {
    Ok(number(value, "time")?.filter(|nanos| *nanos > 0))
}

fn boolean(value: Option<&String>) -> Result<bool, String> {
    let Some(text) = given(value) else { return Ok(false) };
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "1" | "on" => Ok(true),
        "n" | "no" | "false" | "0" | "off" => Ok(false),
        _ => Err(format!("include data parsing error: cannot interpret as a bool: {text}")),
    }
}

fn hash(text: &str) -> Result<MessageHash, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let bytes = hex::decode(digits).map_err(|error| format!("Exception converting hex string to bytes: {error}"))?;
    let bytes: [u8; 32] = bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| format!("waku message hash parsing error: invalid hash length: {}", bytes.len()))?;
    Ok(bytes.into())
}

impl Common {
    /// Whom to ask, if that is said.
    pub(super) fn peer(&self) -> Result<Option<Multiaddr>, String> {
        let Some(text) = given(self.peer_addr.as_ref()) else { return Ok(None) };
        let refused = |cause: String| format!("Failed parsing remote peer info: {cause}");
        super::peer_address(&text).map(Some).map_err(refused)
    }

    /// What is wanted.
    pub(super) fn wanted(&self) -> Result<Wanted, String> {
        let pubsub_topic = given(self.pubsub_topic.as_ref());
        let pubsub_topic = pubsub_topic.map(|topic| topic.parse::<PubsubTopic>()).transpose();
        let content_topics = given(self.content_topics.as_ref()).unwrap_or_default();
        let content_topics = content_topics.split(',').filter(|topic| !topic.is_empty());
        Ok(Wanted {
            pubsub_topic: pubsub_topic.map_err(|error| error.to_string())?,
            content_topics: content_topics.map(ContentTopic::from).collect(),
            from: time(self.start_time.as_ref())?,
            to: time(self.end_time.as_ref())?,
            backward: given(self.ascending.as_ref()).is_some_and(|text| text != "true"),
            page_size: self.page_size()?,
        })
    }

    fn page_size(&self) -> Result<u64, String> {
        match number(self.page_size.as_ref(), "page size")? {
            None | Some(0) => Ok(DEFAULT_PAGE),
            Some(size) => {
                let size = u64::try_from(size).map_err(|_| "page size parsing error: below 0".to_owned())?;
                Ok(size.min(MAX_PAGE))
            }
        }
    }
}

impl ByHash {
    /// The query, with what is wanted.
    pub(super) fn query(&self, wanted: Wanted) -> Result<StoreQuery, String> {
        let hashes = given(self.hashes.as_ref()).unwrap_or_default();
        Ok(StoreQuery {
            wanted,
            hashes: hashes.split(',').filter(|text| !text.is_empty()).map(hash).collect::<Result<_, _>>()?,
            cursor: given(self.cursor.as_ref()).map(|text| hash(&text)).transpose()?,
            include_data: boolean(self.include_data.as_ref())?,
        })
    }
}

impl ByIndex {
    /// The cursor, when all of it is there.
    pub(super) fn cursor(&self, pubsub_topic: Option<&PubsubTopic>) -> Result<Option<Index>, String> {
        let (sender_time, store_time) = (time(self.sender_time.as_ref())?, time(self.store_time.as_ref())?);
        let digest = given(self.digest.as_ref()).map(|text| digest(&text)).transpose()?;
        let whole = (pubsub_topic, sender_time, store_time, digest);
        let (Some(topic), Some(sender_time), Some(store_time), Some(digest)) = whole else { return Ok(None) };
        Ok(Some(Index { pubsub_topic: topic.clone(), sender_time, store_time, digest }))
    }
}

/// A plus sign of base64 stands in the address as a blank unless it is encoded.
fn digest(text: &str) -> Result<Bytes, String> {
    Base64::read(&text.replace(' ', "+")).map_err(|error| format!("digest parsing error: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "e7eed1a1ee91c65f8aea2dbcd1cf9a5a2d6f3de9a16c4b9a14b4b0f1b7f2a4c5";

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn empty_values_are_none() {
        let empty = Common {
            peer_addr: text(""),
            pubsub_topic: text(""),
            content_topics: text(""),
            start_time: text(""),
            end_time: text(""),
            ascending: text(""),
            page_size: text(""),
        };
        let expected = Wanted { page_size: DEFAULT_PAGE, ..Wanted::default() };
        assert_eq!((empty.peer(), empty.wanted()), (Ok(None), Ok(expected.clone())));
        assert_eq!(Common::default().wanted(), Ok(expected.clone()));
        let by_hash = ByHash { include_data: text(""), hashes: text(""), cursor: text("") };
        assert_eq!(by_hash.query(expected.clone()), Ok(StoreQuery { wanted: expected, ..StoreQuery::default() }));
    }

    #[test]
    fn values_encoded_twice_are_read_as_those_encoded_once() {
        for topics in ["/a/1/b/c,/d", "%2Fa%2F1%2Fb%2Fc,%2Fd", "%2Fa%2F1%2Fb%2Fc%2C%2Fd"] {
            let wanted = Common { content_topics: text(topics), ..Common::default() }.wanted().unwrap();
            assert_eq!(wanted.content_topics, ["/a/1/b/c", "/d"].map(ContentTopic::from), "{topics}");
        }
        let wanted = Common { pubsub_topic: text("%2Fwaku%2F2%2Frs%2F0%2F0"), ..Common::default() }.wanted().unwrap();
        assert_eq!(wanted.pubsub_topic, Some("/waku/2/rs/0/0".parse().unwrap()));
    }

    #[test]
    fn numbers_and_words() {
        for (size, expected) in [("0", 20), ("1", 1), ("100", 100), ("101", 100), ("9223372036854775807", 100)] {
            let wanted = Common { page_size: text(size), ..Common::default() }.wanted();
            assert_eq!(wanted.map(|wanted| wanted.page_size), Ok(expected), "{size}");
        }
        for (direction, backward) in [("true", false), ("false", true), ("True", true), ("x", true)] {
            let wanted = Common { ascending: text(direction), ..Common::default() }.wanted();
            assert_eq!(wanted.map(|wanted| wanted.backward), Ok(backward), "{direction}");
        }
        for (nanos, expected) in [("-5", None), ("0", None), ("7", Some(7))] {
            let common = Common { start_time: text(nanos), end_time: text(nanos), ..Common::default() };
            let wanted = common.wanted().unwrap();
            assert_eq!((wanted.from, wanted.to), (expected, expected), "{nanos}");
        }
        for (words, expected) in
            [(["true", "1", "yes", "on", "TRUE", "y"], true), (["false", "0", "no", "off", "FALSE", "n"], false)]
        {
            for word in words {
                assert_eq!(boolean(text(word).as_ref()), Ok(expected), "{word}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_nwaku() {
        let common = |common: Common| common.wanted().unwrap_err();
        let said = [
            common(Common { start_time: text("x"), ..Common::default() }),
            common(Common { end_time: text("1.5"), ..Common::default() }),
            common(Common { page_size: text("many"), ..Common::default() }),
            common(Common { page_size: text("-1"), ..Common::default() }),
            boolean(text("maybe").as_ref()).unwrap_err(),
            hash("0x1234").unwrap_err(),
            hash(&format!("{HASH}00")).unwrap_err(),
            hash("xyz").unwrap_err(),
            digest("*").unwrap_err(),
            Common { peer_addr: text("nowhere"), ..Common::default() }.peer().unwrap_err(),
            Common { peer_addr: text("/ip4/127.0.0.1/tcp/1"), ..Common::default() }.peer().unwrap_err(),
        ];
        let expected = [
            "time parsing error: ",
            "time parsing error: ",
            "page size parsing error: ",
            "page size parsing error: ",
            "include data parsing error: ",
            "waku message hash parsing error: invalid hash length: 2",
            "waku message hash parsing error: invalid hash length: 33",
            "Exception converting hex string to bytes: ",
            "digest parsing error: ",
            "Failed parsing remote peer info: ",
            "Failed parsing remote peer info: ",
        ];
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn hashes_have_0x_or_not() {
        let expected = hash(HASH).unwrap();
        let both = ByHash { hashes: text(&format!("{HASH},0x{HASH},")), cursor: text(HASH), include_data: None };
        let query = both.query(Wanted::default()).unwrap();
        assert_eq!((query.hashes, query.cursor), (vec![expected; 2], Some(expected)));
    }

    #[test]
    fn a_cursor_of_four_fields_counts_whole() {
        let topic: PubsubTopic = "/waku/2/rs/0/0".parse().unwrap();
        let whole = || ByIndex { sender_time: text("5"), store_time: text("6"), digest: text("+/8%3D") };
        let digest = Bytes::from_static(&[0xfb, 0xff]);
        let expected = Index { pubsub_topic: topic.clone(), sender_time: 5, store_time: 6, digest };
        assert_eq!(whole().cursor(Some(&topic)), Ok(Some(expected.clone())));
        assert_eq!(ByIndex { digest: text(" /8="), ..whole() }.cursor(Some(&topic)), Ok(Some(expected)));
        for part in [
            ByIndex { sender_time: None, ..whole() },
            ByIndex { store_time: text("0"), ..whole() },
            ByIndex { digest: text(""), ..whole() },
        ] {
            assert_eq!(part.cursor(Some(&topic)), Ok(None));
        }
        assert_eq!(whole().cursor(None), Ok(None));
    }

    proptest! {
        #[test]
        fn any_values_are_survived(value: String) {
            let value = Some(value);
            let common = Common { peer_addr: value.clone(), start_time: value.clone(), page_size: value.clone(),
                pubsub_topic: value.clone(), content_topics: value.clone(), ..Common::default() };
            let _ = (common.peer(), common.wanted());
            let by_hash = ByHash { include_data: value.clone(), hashes: value.clone(), cursor: value.clone() };
            let _ = by_hash.query(Wanted::default());
            let _ = ByIndex { sender_time: value.clone(), store_time: value.clone(), digest: value }.cursor(None);
        }
    }
}
