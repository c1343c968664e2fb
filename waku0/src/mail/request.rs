//! Requests for history on the wire.  Spec: 8/WAKU-MAIL "Requesting messages"; status-go `mailserver/mailserver.go`.
//!
//! Deployed clients write a request in five shapes, told apart by the types of their items ([`Form`]). All are read; all can
//! be written, for tests and for old servers. [`Request`] is what was said; [`Query`] is a request that can be answered,
//! with the server's defaults in place. The text of a [`RequestError`] is what the peer is told.
//!
//! Limits: the packet; [`p2p::MAX_REQUEST_TOPICS`] topics; [`MAX_LIMIT`] envelopes on a page.

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};

use crate::{
    bloom::{BLOOM_LEN, Bloom},
    packet::{
        p2p::{self, Cursor, P2pError, PlainRequest},
        sync::SyncRequest,
    },
    topic::Topic,
};

/// Envelopes on a page: the default, and the most that may be asked for. Source: status-go `mailserver/mailserver.go`,
/// `maxMessagesRequestPayloadLimit`.
pub const MAX_LIMIT: u32 = 1_000;

/// How far past the server's clock a request without an end reaches, in seconds. Source: as above, `whisperTTLSafeThreshold`.
pub const UPPER_SLACK_SECS: u32 = 60;

/// The longest time that a request of the oldest form may span, in seconds: a day. Source: as above, `maxQueryRange`.
pub const MAX_RAW_RANGE_SECS: u32 = 24 * 3_600;

/// Items of the longest list.
const MAX_ITEMS: usize = 7;

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `[lower, upper, bloom, topics, limit, cursor, batch]`, since January 2020: the form in use.
    Deployed,
    /// `[lower, upper, bloom, limit, cursor, batch]`, December 2018 to January 2020.
    Early,
    /// `[lower, upper, bloom, limit, cursor, topics]` as the specification has it, of which the last two may be missing; the Nimbus
    /// client leaves out the topics.
    Specified,
    /// Numbers and a filter one after the other, before December 2018.
    Raw,
    /// In the open, as packet 126 itself and not within an envelope.
    Plain,
}

/// What a client asks for, as it says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Earliest time of sending, in unix seconds.
    pub lower: u32,
    /// Latest time of sending, in unix seconds; 0 is a little later than now.
    pub upper: u32,
    /// Which topics, approximately; `None` when it is left out.
    pub bloom: Option<Bloom>,
    /// Which topics, exactly. With any, the filter does not count.
    pub topics: Vec<Topic>,
    /// Envelopes on a page; 0 leaves it to the server.
    pub limit: u32,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Several envelopes in a packet.
    pub batch: bool,
}

/// A request that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Earliest time of sending, in unix seconds.
    pub lower: u32,
    /// Latest time of sending, in unix seconds; not before `lower`.
    pub upper: u32,
    /// Which envelopes.
    pub wanted: Wanted,
    /// Envelopes on a page: 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Several envelopes in a packet, or one in each.
    pub batch: bool,
}

/// Which envelopes are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those of these topics, at least one.
    Topics(Vec<Topic>),
    /// Those whose topic is in the filter.
    Bloom(Bloom),
}

/// Why a request is not answered, in the words that deployed clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not one of the forms.
    #[error("failed to decode data: {0}")]
    Unreadable(Unreadable),
    /// It ends before it begins.
    #[error("query range is invalid: lower > upper")]
    Inverted,
    /// It spans more than its form may.
    #[error("query range too big: more than a day")]
    TooWide,
    /// Readable, and not to be answered.
    #[error("request is invalid: {0}")]
    Invalid(Invalid),
}

/// What makes a request unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The list or one of its items.
    #[error(transparent)]
    Item(#[from] P2pError),
    /// A list of another length.
    #[error("a list of {0} items")]
    Items(usize),
    /// No list, and of a length that the oldest form never has.
    #[error("{0} bytes without a list")]
    RawLength(usize),
}

/// What makes a readable request one that is not answered. Texts: status-go `waku/common/messages_request.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It ends before it begins.
    #[error("query range is invalid: lower > upper")]
    Inverted,
    /// It names no topics at all.
    #[error("bloom filter and topics is empty")]
    NothingWanted,
    /// A larger page than there is.
    #[error("limit exceeds the maximum allowed value")]
    Limit,
}

impl From<alloy_rlp::Error> for RequestError {
    fn from(error: alloy_rlp::Error) -> Self {
        P2pError::from(error).into()
    }
}

impl From<P2pError> for RequestError {
    fn from(error: P2pError) -> Self {
        Self::Unreadable(error.into())
    }
}

impl From<PlainRequest> for Request {
    fn from(plain: PlainRequest) -> Self {
        let PlainRequest { id: _, from: lower, to: upper, limit, cursor, bloom, topics } = plain;
        Self { lower, upper, bloom, topics, limit, cursor, batch: true }
    }
}

impl From<SyncRequest> for Query {
    /// What is asked for by a mailserver can be answered as it was read.
    fn from(request: SyncRequest) -> Self {
        let SyncRequest { lower, upper, bloom, limit, cursor } = request;
        Self { lower, upper, wanted: Wanted::Bloom(bloom.unwrap_or(Bloom::FULL)), limit, cursor, batch: true }
    }
}

impl Request {
    /// Reads the decrypted payload of a request's envelope.
    ///
    /// # Errors
    /// [`RequestError::Unreadable`].
    pub fn decode(payload: &[u8]) -> Result<(Self, Form), RequestError> {
        if payload.first().is_none_or(|first| *first < alloy_rlp::EMPTY_LIST_CODE) {
            return Ok((Self::decode_raw(payload)?, Form::Raw));
        }
        let items = items(p2p::whole_list(payload)?)?;
        match items.as_slice() {
            [lower, upper, bloom, topics, limit, cursor, batch] => {
                let tail = Tail { topics: Some(topics), limit, cursor: Some(cursor), batch: Some(batch) };
                Ok((Self::of_items(lower, upper, bloom, &tail)?, Form::Deployed))
            }
            [lower, upper, bloom, limit, cursor, batch] if !batch.list => {
                let tail = Tail { topics: None, limit, cursor: Some(cursor), batch: Some(batch) };
                Ok((Self::of_items(lower, upper, bloom, &tail)?, Form::Early))
            }
            [lower, upper, bloom, limit, rest @ ..] if rest.len() <= 2 => {
                let tail = Tail { topics: rest.get(1), limit, cursor: rest.first(), batch: None };
                Ok((Self::of_items(lower, upper, bloom, &tail)?, Form::Specified))
            }
            other => Err(RequestError::Unreadable(Unreadable::Items(other.len()))),
        }
    }

    fn of_items(lower: &Item, upper: &Item, bloom: &Item, tail: &Tail<'_>) -> Result<Self, RequestError> {
        let topics = tail.topics.map_or(Ok(vec![]), |topics| p2p::decode_topics(topics.items()?))?;
        Ok(Self {
            lower: lower.number()?,
            upper: upper.number()?,
            bloom: p2p::decode_bloom(bloom.bytes()?)?,
            topics,
            limit: tail.limit.number()?,
            cursor: tail.cursor.map_or(Ok(None), |cursor| p2p::decode_cursor(cursor.bytes()?))?,
            // Whoever writes the specified form reads a list of any length.
            batch: tail.batch.map_or(Ok(true), |batch| bool::decode(&mut { batch.raw }))?,
        })
    }

    fn decode_raw(payload: &[u8]) -> Result<Self, RequestError> {
        let wrong = RequestError::Unreadable(Unreadable::RawLength(payload.len()));
        let mut rest = payload;
        let (lower, upper) = (take_number(&mut rest).ok_or(wrong)?, take_number(&mut rest).ok_or(wrong)?);
        let mut bloom = Bloom::FULL;
        if !rest.is_empty() {
            let (bytes, after) = rest.split_first_chunk::<BLOOM_LEN>().ok_or(wrong)?;
            (bloom, rest) = (Bloom::from_bytes(*bytes), after);
        }
        let limit = if rest.is_empty() { 0 } else { take_number(&mut rest).ok_or(wrong)? };
        let cursor = p2p::decode_cursor(rest).map_err(|_| wrong)?;
        // The clients of that time took one envelope from a packet.
        Ok(Self { lower, upper, bloom: Some(bloom), topics: vec![], limit, cursor, batch: false })
    }

    /// The payload of a request's envelope. A form that has no place for something leaves it out. Of a [`Form::Plain`] request,
    /// which has a name besides, this is what [`Form::Deployed`] has; [`PlainRequest::encode`] writes it.
    #[must_use]
    pub fn encode(&self, form: Form) -> Bytes {
        let bloom = self.bloom.as_ref().map_or(&[][..], |bloom| bloom.as_bytes());
        let cursor = self.cursor.as_ref().map_or(&[][..], |cursor| cursor);
        let mut items = BytesMut::new();
        let head: [&dyn Encodable; 3] = [&self.lower, &self.upper, &bloom];
        let tail: [&dyn Encodable; 2] = [&self.limit, &cursor];
        let put = |items: &mut BytesMut, more: &[&dyn Encodable]| more.iter().for_each(|item| item.encode(items));
        match form {
            Form::Raw => return self.encode_raw(),
            Form::Deployed | Form::Plain => {
                put(&mut items, &head);
                p2p::put_topics(&mut items, &self.topics);
                put(&mut items, &tail);
                self.batch.encode(&mut items);
            }
            Form::Early => {
                put(&mut items, &head);
                put(&mut items, &tail);
                self.batch.encode(&mut items);
            }
            Form::Specified => {
                put(&mut items, &head);
                put(&mut items, &tail);
                p2p::put_topics(&mut items, &self.topics);
            }
        }
        let mut body = BytesMut::new();
        p2p::put_list(&mut body, &items);
        body.freeze()
    }

    fn encode_raw(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.extend_from_slice(&self.lower.to_be_bytes());
        out.extend_from_slice(&self.upper.to_be_bytes());
        out.extend_from_slice(self.bloom.as_ref().unwrap_or(&Bloom::FULL).as_bytes());
        out.extend_from_slice(&self.limit.to_be_bytes());
        out.extend_from_slice(self.cursor.as_ref().map_or(&[], |cursor| cursor));
        out.freeze()
    }

    /// The query that it is, by a clock at `now` unix seconds.
    ///
    /// # Errors
    /// [`RequestError`] when it cannot be answered.
    pub fn query(self, form: Form, now: u32) -> Result<Query, RequestError> {
        let Self { lower, upper, bloom, topics, limit, cursor, batch } = self;
        let upper = if upper == 0 { now.saturating_add(UPPER_SLACK_SECS) } else { upper };
        if upper < lower {
            let plain = RequestError::Invalid(Invalid::Inverted);
            return Err(if form == Form::Plain { plain } else { RequestError::Inverted });
        }
        if form == Form::Raw && upper - lower > MAX_RAW_RANGE_SECS {
            return Err(RequestError::TooWide);
        }
        let wanted = match bloom {
            _ if !topics.is_empty() => Wanted::Topics(topics),
            Some(bloom) => Wanted::Bloom(bloom),
            None => return Err(RequestError::Invalid(Invalid::NothingWanted)),
        };
        if limit > MAX_LIMIT {
            return Err(RequestError::Invalid(Invalid::Limit));
        }
        let limit = if limit == 0 { MAX_LIMIT } else { limit };
        Ok(Query { lower, upper, wanted, limit, cursor, batch })
    }
}

/// The items behind the filter.
struct Tail<'a> {
    topics: Option<&'a Item<'a>>,
    limit: &'a Item<'a>,
    cursor: Option<&'a Item<'a>>,
    batch: Option<&'a Item<'a>>,
}

/// One item of a list, unread.
struct Item<'a> {
    list: bool,
    /// With its header.
    raw: &'a [u8],
}

impl<'a> Item<'a> {
    fn number(&self) -> Result<u32, RequestError> {
        Ok(u32::decode(&mut { self.raw })?)
    }

    fn bytes(&self) -> Result<&'a [u8], P2pError> {
        Ok(Header::decode_bytes(&mut { self.raw }, false)?)
    }

    fn items(&self) -> Result<&'a [u8], P2pError> {
        Ok(Header::decode_bytes(&mut { self.raw }, true)?)
    }
}

/// The items of a list, no more than any form has.
fn items(mut list: &[u8]) -> Result<Vec<Item<'_>>, RequestError> {
    let mut items = Vec::with_capacity(MAX_ITEMS);
    while !list.is_empty() {
        if items.len() == MAX_ITEMS {
            return Err(RequestError::Unreadable(Unreadable::Items(MAX_ITEMS + 1)));
        }
        let mut after = list;
        let header = Header::decode(&mut after)?;
        let after = after.get(header.payload_length..).ok_or(alloy_rlp::Error::InputTooShort)?;
        items.push(Item { list: header.list, raw: &list[..list.len() - after.len()] });
        list = after;
    }
    Ok(items)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::packet::p2p::{CURSOR_LEN, MAX_REQUEST_TOPICS, P2pRequest};

    const NOW: u32 = 1_600_900_000;

    fn request() -> Request {
        Request {
            lower: 1_600_000_000,
            upper: 1_600_000_100,
            bloom: Some(Bloom::FULL),
            topics: vec![],
            limit: 7,
            cursor: Some([3; CURSOR_LEN]),
            batch: true,
        }
    }

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn number(value: &Value) -> u32 {
        value.as_u64().unwrap().try_into().unwrap()
    }

    /// A request out of the columns of a recorded case.
    fn recorded(case: &Value) -> Request {
        Request {
            lower: number(&case["lower"]),
            upper: number(&case["upper"]),
            bloom: p2p::decode_bloom(&bytes(&case["bloom"])).unwrap(),
            topics: case["topics"]
                .as_array()
                .unwrap()
                .iter()
                .map(|topic| topic.as_str().unwrap().parse().unwrap())
                .collect(),
            limit: number(&case["limit"]),
            cursor: p2p::decode_cursor(&bytes(&case["cursor"])).unwrap(),
            batch: case["batch"].as_bool().unwrap_or(true),
        }
    }

    fn list(items: &[&[u8]]) -> Vec<u8> {
        let mut body = BytesMut::new();
        p2p::put_list(&mut body, &items.concat());
        body.to_vec()
    }

    #[test]
    fn printed_vector() {
        let payload = "f857845e4cee20845e4e74c0b840\
            0000000000000000000000000000000000001000000000000000000000000001\
            0000000000000000000000000004000000000000000000000000000000000000\
            c584f8946aac8203e88001";
        let topic = "f8946aac".parse().unwrap();
        let printed = Request {
            lower: 1_582_100_000,
            upper: 1_582_200_000,
            bloom: Some(Bloom::from_iter([topic])),
            topics: vec![topic],
            limit: 1000,
            cursor: None,
            batch: true,
        };
        assert_eq!(hex::encode(printed.encode(Form::Deployed)), payload);
        assert_eq!(Request::decode(&hex::decode(payload).unwrap()), Ok((printed, Form::Deployed)));
    }

    #[test]
    fn every_recorded_request() {
        let file: Value = serde_json::from_str(include_str!("../../../fixtures/mail/mailserver.json")).unwrap();
        let cases = file["requests"].as_array().unwrap();
        assert_eq!(cases.len(), 40);
        for case in cases {
            let request = recorded(case);
            let payload = bytes(&case["payload_rlp"]);
            assert_eq!(request.encode(Form::Deployed), payload, "{case}");
            assert_eq!(Request::decode(&payload), Ok((request.clone(), Form::Deployed)), "{case}");
            let P2pRequest::Plain(plain) = P2pRequest::decode(&bytes(&case["messages_request_rlp"]).into()).unwrap()
            else {
                panic!("{case}")
            };
            assert_eq!(plain.id.to_vec(), bytes(&case["messages_request_id"]));
            assert_eq!(Request::from(plain.clone()), Request { batch: true, ..request.clone() });
            assert_eq!(plain.encode(), bytes(&case["messages_request_rlp"]));
        }
    }

    #[test]
    fn every_recorded_query_is_taken_or_refused_in_the_same_words() {
        let file: Value = serde_json::from_str(include_str!("../../../fixtures/mail/mailserver_queries.json")).unwrap();
        let cases = file["queries"].as_array().unwrap();
        assert_eq!(cases.len(), 40);
        let (mut taken, mut refused) = (0, 0);
        for case in cases {
            match (recorded(case).query(Form::Plain, NOW), case["error"].as_str()) {
                (Ok(query), None) => {
                    taken += 1;
                    assert_eq!(query.limit, if case["limit"] == 0 { 1000 } else { number(&case["limit"]) });
                }
                (Err(error), Some(text)) => {
                    refused += 1;
                    assert_eq!(error.to_string(), format!("request is invalid: {text}"));
                }
                other => panic!("{other:?}: {case}"),
            }
        }
        assert_eq!((taken, refused), (37, 3));
    }

    #[test]
    fn forms_are_told_apart_by_their_items() {
        for (form, batch) in [(Form::Deployed, true), (Form::Early, true), (Form::Specified, true), (Form::Raw, false)]
        {
            let said = Request { batch, ..request() };
            assert_eq!(Request::decode(&said.encode(form)), Ok((said, form)));
        }
        let said = Request { batch: false, ..request() };
        for form in [Form::Deployed, Form::Early] {
            assert_eq!(Request::decode(&said.encode(form)), Ok((said.clone(), form)));
        }
    }

    #[test]
    fn the_specified_form_may_end_early() {
        let (bloom, limit) = ([&[0xb8, 64][..], &[0xff; 64]].concat(), [7]);
        let (lower, upper) = (
            [&[0x84][..], &1_600_000_000_u32.to_be_bytes()].concat(),
            [&[0x84][..], &1_600_000_100_u32.to_be_bytes()].concat(),
        );
        let head: [&[u8]; 4] = [&lower, &upper, &bloom, &limit];
        let four = Request { cursor: None, ..request() };
        assert_eq!(Request::decode(&list(&head)), Ok((four.clone(), Form::Specified)));
        let five = [&head[..], &[&[0x80]]].concat();
        assert_eq!(Request::decode(&list(&five)), Ok((four.clone(), Form::Specified)));
        let six = [&five[..], &[&[0xc5, 0x84, 1, 2, 3, 4]]].concat();
        let topics = vec![Topic([1, 2, 3, 4])];
        assert_eq!(Request::decode(&list(&six)), Ok((Request { topics, ..four }, Form::Specified)));
    }

    #[test]
    fn the_oldest_form_may_end_early_and_spans_a_day() {
        let whole = Request { batch: false, ..request() }.encode(Form::Raw);
        for len in [8, 72, 76, 112] {
            let (read, form) = Request::decode(&whole[..len]).unwrap();
            assert_eq!((read.bloom, form), (Some(Bloom::FULL), Form::Raw));
            assert_eq!(read.limit, if len > 72 { 7 } else { 0 });
            assert_eq!(read.cursor.is_some(), len == 112);
        }
        for len in (0..=112).filter(|len| ![8, 72, 76, 112].contains(len)) {
            let wrong = RequestError::Unreadable(Unreadable::RawLength(len));
            assert_eq!(Request::decode(&whole[..len]), Err(wrong));
        }
        let of_a_range = |secs: u32| Request { upper: 1_600_000_000 + secs, ..request() };
        assert!(of_a_range(86_400).query(Form::Raw, NOW).is_ok());
        let refused = of_a_range(86_401).query(Form::Raw, NOW).unwrap_err();
        assert!(refused.to_string().starts_with("query range too big"));
        assert!(of_a_range(864_010).query(Form::Deployed, NOW).is_ok());
    }

    #[test]
    fn defaults_are_the_servers() {
        let query = Request { upper: 0, limit: 0, ..request() }.query(Form::Deployed, NOW).unwrap();
        assert_eq!((query.upper, query.limit), (NOW + 60, 1000));
        let empty = Request { bloom: None, ..request() };
        let refused = empty.query(Form::Deployed, NOW).unwrap_err().to_string();
        assert_eq!(refused, "request is invalid: bloom filter and topics is empty");
        let inverted = Request { lower: 1_600_000_101, ..request() }.query(Form::Deployed, NOW).unwrap_err();
        assert_eq!(inverted.to_string(), "query range is invalid: lower > upper");
        assert!(Request { lower: 1_600_000_100, ..request() }.query(Form::Deployed, NOW).is_ok());
        assert!(Request { limit: 1000, ..request() }.query(Form::Deployed, NOW).is_ok());
        let topics = vec![Topic([1; 4])];
        let of_topics = Request { topics: topics.clone(), ..request() }.query(Form::Deployed, NOW).unwrap();
        assert_eq!(of_topics.wanted, Wanted::Topics(topics));
    }

    #[test]
    fn h39_numbers_sizes_and_lists_out_of_bounds_are_refused() {
        let good = request().encode(Form::Deployed);
        assert!(Request::decode(&good).is_ok());
        let mut longer = good.to_vec();
        longer.push(0);
        assert!(Request::decode(&longer).is_err(), "bytes after the list");
        let eight = list(&[&[0x80][..]; 8]);
        assert_eq!(Request::decode(&eight), Err(RequestError::Unreadable(Unreadable::Items(8))));
        assert_eq!(Request::decode(&[0xc0]), Err(RequestError::Unreadable(Unreadable::Items(0))));
        let with = |at: usize, item: &[u8]| {
            let full = [&[0xb8, 64][..], &[0xff; 64]].concat();
            let mut items: Vec<&[u8]> = vec![&[1], &[2], &full, &[0xc0], &[3], &[0x80], &[1]];
            items[at] = item;
            Request::decode(&list(&items)).map(|(read, _)| read.query(Form::Deployed, NOW))
        };
        assert!(matches!(with(4, &[7]), Ok(Ok(_))));
        assert!(with(0, &[0x85, 1, 0, 0, 0, 0]).is_err(), "a time beyond 32 bits");
        assert!(with(0, &[0x82, 0, 1]).is_err(), "a leading zero");
        assert!(with(2, &[7]).is_err(), "a filter of one byte");
        assert!(with(2, &[0xc0]).is_err(), "a list for a filter");
        assert!(with(3, &[0x80]).is_err(), "a string for topics");
        assert!(with(3, &[0xc4, 0x83, 1, 2, 3]).is_err(), "a topic of three bytes");
        assert_eq!(with(4, &[0x82, 0x03, 0xe9]), Ok(Err(RequestError::Invalid(Invalid::Limit))));
        assert!(with(4, &[0x84, 0xff, 0xff, 0xff, 0xff]).unwrap().is_err());
        assert!(with(5, &[7]).is_err(), "a cursor of one byte");
        assert!(with(6, &[2]).is_err(), "neither true nor false");
        let too_many = Request { topics: vec![Topic([1; 4]); MAX_REQUEST_TOPICS + 1], ..request() };
        assert!(Request::decode(&too_many.encode(Form::Deployed)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            lower: u32, upper: u32, limit: u32, batch: bool, cursor: Option<[u8; 32]>,
            topics: Vec<[u8; 4]>, bloom: Option<[u8; 32]>,
        ) {
            let request = Request {
                lower,
                upper,
                limit,
                batch,
                cursor: cursor.map(|half| std::array::from_fn(|i| half[i % 32])),
                topics: topics.into_iter().map(Topic).collect(),
                bloom: bloom.map(|half| Bloom::from_bytes(std::array::from_fn(|i| half[i % 32]))),
            };
            prop_assert_eq!(Request::decode(&request.encode(Form::Deployed)), Ok((request, Form::Deployed)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, list: bool, now: u32) {
            let bytes = if list { [&[0xc0 + bytes.len().min(55) as u8][..], &bytes].concat() } else { bytes };
            let decoded = Request::decode(&bytes);
            if let Some(query) = decoded.ok().and_then(|(request, form)| request.query(form, now).ok()) {
                prop_assert!(query.lower <= query.upper && (1..=MAX_LIMIT).contains(&query.limit));
            }
        }
    }
}
