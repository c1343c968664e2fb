//! Packets between two peers, kept apart from gossip: requests (126), envelopes (127) and the end of an answer (125).
//! Spec: 5/WAKU0, "P2P Request", "P2P Message"; 8/WAKU-MAIL.
//!
//! Envelopes in 127 are judged by nobody: they may have expired, have no work, and be of any topic. They go to whoever
//! asked for them and nowhere else.
//!
//! Envelopes go in a list, but to a peer of Whisper bare: EIP-627 knows nothing else.
//!
//! Limits: the packet; [`MAX_REQUEST_TOPICS`] topics in a plain request; [`MAX_ERROR_TEXT`] bytes of an error's text.

use std::sync::Arc;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};

use super::{
    messages::{self, Envelopes},
    sync::{MAX_SYNC_LIMIT, SyncResponse},
};
use crate::{
    bloom::{BLOOM_LEN, Bloom},
    envelope::{DecodeError, Envelope, EnvelopeHash},
    topic::{TOPIC_LEN, Topic},
    version::Version,
};

/// Bytes of a cursor. Source: status-go `mailserver/mailserver.go`.
pub const CURSOR_LEN: usize = 36;

/// Topics that a plain request may name, as many as an interest.
pub const MAX_REQUEST_TOPICS: usize = crate::interest::MAX_TOPICS;

/// Bytes kept of the text of an error.
pub const MAX_ERROR_TEXT: usize = 1024;

/// What an error in place of a completion begins with. Source: status-go `waku/common/mailserver_response.go`.
const ERROR_PREFIX: &[u8] = b"ERROR=";

/// How Nimbus and what was made of it call themselves: `Nimbus waku node`, `nim-eth-p2p/0.2.0`, `nim-waku v1 node`.
const NIMBUS: [&str; 2] = ["nim-", "nimbus"];

/// Where in an archive a page ends.
pub type Cursor = [u8; CURSOR_LEN];

/// A packet of a trusted peer, outside of gossip.
#[derive(Debug, Clone)]
pub enum Direct {
    /// Envelopes, read one by one as they are asked for. Nothing about them was checked.
    Envelopes(Envelopes),
    /// The end of an answer.
    Completion(Completion),
    /// A part of what a mailserver answers another one.
    SyncResponse(SyncResponse),
}

/// Why a packet between peers could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum P2pError {
    /// Not of the shape that it should have.
    #[error("not readable: {0}")]
    Shape(#[from] alloy_rlp::Error),
    /// Bytes after the body.
    #[error("{0} bytes after the body")]
    TrailingBytes(usize),
    /// An item that is no envelope.
    #[error("no envelope: {0}")]
    Envelope(#[from] DecodeError),
    /// A body of Messages that is no list.
    #[error(transparent)]
    Messages(#[from] messages::BodyError),
    /// A completion of a length that none has.
    #[error("a completion of {0} bytes")]
    CompletionLength(usize),
    /// A filter of another length.
    #[error("a bloom filter of {0} bytes")]
    BloomLength(usize),
    /// A cursor of another length.
    #[error("a cursor of {0} bytes")]
    CursorLength(usize),
    /// More topics than a request may name.
    #[error("{0} topics in a request, more than {MAX_REQUEST_TOPICS}")]
    TooManyTopics(usize),
    /// A request for a time that ends before it begins.
    #[error("a request for {lower} to {upper}")]
    NoTime {
        /// When it begins, in unix seconds.
        lower: u32,
        /// When it ends, in unix seconds.
        upper: u32,
    },
    /// More envelopes than may be asked for at once, or none.
    #[error("a request for {0} envelopes, not 1 to {MAX_SYNC_LIMIT}")]
    SyncLimit(u32),
}

/// Reads the body of a P2P Message: a list of envelopes, or a bare envelope, as servers of the Whisper era send it. The
/// envelopes are read one by one, as they are asked for.
///
/// # Errors
/// [`P2pError`] when it is neither.
pub fn decode_messages(body: &Bytes) -> Result<Envelopes, P2pError> {
    let mut after = body.as_ref();
    let items = Header::decode_bytes(&mut after, true)?;
    let bare = items.first().is_some_and(|first| *first < alloy_rlp::EMPTY_LIST_CODE);
    if !bare {
        return Ok(messages::decode(body)?);
    }
    let envelope = Envelope::decode(body.clone())?;
    let wrapped = messages::encode(&[envelope.into()]).pop().unwrap_or_else(|| Bytes::from_static(&[0xc0]));
    Ok(messages::decode(&wrapped)?)
}

/// The bodies of P2P Message that carry these envelopes to a peer of this version, in their order. For waku each is as long as
/// it may be; a peer of Whisper gets a packet for each envelope, since go-ethereum leaves whoever sends it a list, and Status's
/// Whisper reads both. An envelope that fits no packet is left out.
#[must_use]
pub fn encode_messages(version: Version, envelopes: &[Arc<Envelope>]) -> Vec<Bytes> {
    match version {
        Version::Shh6 => {
            let sendable = envelopes.iter().filter(|envelope| messages::fits_a_packet(envelope));
            sendable.map(|envelope| envelope.raw().clone()).collect()
        }
        Version::Waku0 | Version::Waku1 => messages::encode(envelopes),
    }
}

/// A request for history.
#[derive(Debug, Clone, PartialEq)]
pub enum P2pRequest {
    /// An envelope whose data says what is wanted, encrypted: the form in use.
    Sealed(Box<Envelope>),
    /// The request itself. Status-go's servers read it; nobody sends it.
    Plain(PlainRequest),
}

/// A request in the open: `[id, from, to, limit, cursor, bloom, topics]`. What is inconsistent is for the server to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainRequest {
    /// Its name, in completions.
    pub id: [u8; 32],
    /// Earliest time of sending, in unix seconds.
    pub from: u32,
    /// Latest time of sending, in unix seconds.
    pub to: u32,
    /// Envelopes on a page; 0 leaves it to the server.
    pub limit: u32,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Which topics, approximately; `None` when it is left out.
    pub bloom: Option<Bloom>,
    /// Which topics, exactly. With any, the filter does not count.
    pub topics: Vec<Topic>,
}

/// A plain request that could be read only as far as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// Its name, in completions.
    pub id: [u8; 32],
    /// What is wrong with it.
    pub error: P2pError,
}

impl P2pRequest {
    /// Its name, in completions: of an envelope its hash.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        match self {
            Self::Sealed(envelope) => *envelope.hash().as_bytes(),
            Self::Plain(plain) => plain.id,
        }
    }

    /// The name of a plain request of which no more can be read.
    #[must_use]
    pub fn id_of_unread(body: &[u8]) -> Option<[u8; 32]> {
        let mut items = whole_list(body).ok()?;
        <[u8; 32]>::decode(&mut items).ok()
    }

    /// Reads the body of a P2P Request.
    ///
    /// # Errors
    /// [`P2pError`] when it is neither an envelope nor a plain request.
    pub fn decode(body: &Bytes) -> Result<Self, P2pError> {
        match Envelope::decode(body.clone()) {
            Ok(envelope) => Ok(Self::Sealed(Box::new(envelope))),
            Err(_) => PlainRequest::decode(body).map(Self::Plain),
        }
    }
}

impl PlainRequest {
    fn decode(body: &[u8]) -> Result<Self, P2pError> {
        let mut items = whole_list(body)?;
        let id = <[u8; 32]>::decode(&mut items)?;
        let from = u32::decode(&mut items)?;
        let to = u32::decode(&mut items)?;
        let limit = u32::decode(&mut items)?;
        let cursor = decode_cursor(Header::decode_bytes(&mut items, false)?)?;
        let bloom = decode_bloom(Header::decode_bytes(&mut items, false)?)?;
        let topics = decode_topics(Header::decode_bytes(&mut items, true)?)?;
        if !items.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        Ok(Self { id, from, to, limit, cursor, bloom, topics })
    }

    /// The body of a P2P Request.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut items = BytesMut::new();
        self.id.encode(&mut items);
        [self.from, self.to, self.limit].iter().for_each(|number| number.encode(&mut items));
        self.cursor.as_ref().map_or(&[][..], |cursor| cursor).encode(&mut items);
        self.bloom.as_ref().map_or(&[][..], |bloom| bloom.as_bytes()).encode(&mut items);
        put_topics(&mut items, &self.topics);
        let mut body = BytesMut::new();
        put_list(&mut body, &items);
        body.freeze()
    }
}

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// All of a page was sent.
    Done {
        /// What was answered.
        request: [u8; 32],
        /// The last envelope sent; all zeros when nothing matched, `None` in the oldest form.
        last: Option<EnvelopeHash>,
        /// Where to go on, when there may be more.
        cursor: Option<Cursor>,
    },
    /// The request failed.
    Failed {
        /// What was answered.
        request: [u8; 32],
        /// Why, as the server says; shortened to [`MAX_ERROR_TEXT`].
        text: String,
    },
}

impl Completion {
    /// Reads the body of a P2P Request Complete: one string, as status-go writes it, or a list of up to three.
    ///
    /// # Errors
    /// [`P2pError`] when it is neither.
    pub fn decode(body: &[u8]) -> Result<Self, P2pError> {
        if body.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE) {
            return Self::decode_list(whole_list(body)?);
        }
        let mut after = body;
        let bytes = Header::decode_bytes(&mut after, false)?;
        if !after.is_empty() {
            return Err(P2pError::TrailingBytes(after.len()));
        }
        Self::decode_string(bytes)
    }

    fn decode_string(bytes: &[u8]) -> Result<Self, P2pError> {
        let wrong = P2pError::CompletionLength(bytes.len());
        if let Some((request, text)) = bytes.strip_prefix(ERROR_PREFIX).and_then(<[u8]>::split_first_chunk::<32>) {
            return Ok(Self::Failed { request: *request, text: shortened(text) });
        }
        let (request, rest) = bytes.split_first_chunk::<32>().ok_or(wrong)?;
        if bytes.len() > 32 + 32 + CURSOR_LEN {
            return Err(wrong);
        }
        let last = rest.first_chunk::<32>();
        // A cursor that is cut short is none, as for status-go.
        let cursor = rest.get(32..).and_then(|rest| Cursor::try_from(rest).ok());
        Ok(Self::Done { request: *request, last: last.map(|hash| (*hash).into()), cursor })
    }

    fn decode_list(mut items: &[u8]) -> Result<Self, P2pError> {
        let request = <[u8; 32]>::decode(&mut items)?;
        let last = if items.is_empty() { None } else { Some(<[u8; 32]>::decode(&mut items)?.into()) };
        let cursor = if items.is_empty() { None } else { decode_cursor(Header::decode_bytes(&mut items, false)?)? };
        Ok(Self::Done { request, last, cursor })
    }

    /// The body of a P2P Request Complete, as a string: the form in use. An end of a page with a last envelope is read as an error
    /// when the request's name begins with `ERROR=`; the form has nothing else to tell them apart by.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let bytes = match self {
            Self::Done { request, last, cursor } => {
                let last = last.as_ref().map_or(&[][..], |hash| hash.as_bytes());
                [&request[..], last, cursor.as_ref().map_or(&[][..], |cursor| cursor)].concat()
            }
            Self::Failed { request, text } => [ERROR_PREFIX, request, text.as_bytes()].concat(),
        };
        let mut body = BytesMut::new();
        bytes.as_slice().encode(&mut body);
        body.freeze()
    }

    /// The form that a client of this name reads. Nimbus leaves a peer that sends the other one.
    #[must_use]
    pub fn encode_for(&self, client_id: &str) -> Bytes {
        let name = client_id.trim_start().to_ascii_lowercase();
        if NIMBUS.iter().any(|begin| name.starts_with(begin)) { self.encode_list() } else { self.encode() }
    }

    /// The same as a list, as the specification has it and Nimbus reads it. An error has no place there: it is an answer in
    /// which nothing was found.
    #[must_use]
    pub fn encode_list(&self) -> Bytes {
        let (request, last, cursor) = match self {
            Self::Done { request, last, cursor } => (request, last.as_ref(), cursor.as_ref()),
            Self::Failed { request, .. } => (request, None, None),
        };
        let mut items = BytesMut::new();
        request.encode(&mut items);
        last.map_or([0; 32], |hash| *hash.as_bytes()).encode(&mut items);
        cursor.map_or(&[][..], |cursor| cursor).encode(&mut items);
        let mut body = BytesMut::new();
        put_list(&mut body, &items);
        body.freeze()
    }
}

/// The text of an error, at most [`MAX_ERROR_TEXT`] bytes of it. What is not UTF-8 becomes longer as it is read, so it is cut again.
pub(super) fn shortened(text: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&text[..text.len().min(MAX_ERROR_TEXT)]).into_owned();
    text.truncate(text.floor_char_boundary(MAX_ERROR_TEXT));
    text
}

pub(crate) fn decode_cursor(bytes: &[u8]) -> Result<Option<Cursor>, P2pError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Cursor::try_from(bytes).map(Some).map_err(|_| P2pError::CursorLength(bytes.len()))
}

pub(crate) fn decode_bloom(bytes: &[u8]) -> Result<Option<Bloom>, P2pError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes: [u8; BLOOM_LEN] = bytes.try_into().map_err(|_| P2pError::BloomLength(bytes.len()))?;
    Ok(Some(Bloom::from_bytes(bytes)))
}

pub(crate) fn decode_topics(mut items: &[u8]) -> Result<Vec<Topic>, P2pError> {
    let count = items.len() / (TOPIC_LEN + 1);
    if count > MAX_REQUEST_TOPICS {
        return Err(P2pError::TooManyTopics(count));
    }
    let mut topics = Vec::with_capacity(count);
    while !items.is_empty() {
        topics.push(Topic(<[u8; TOPIC_LEN]>::decode(&mut items)?));
    }
    Ok(topics)
}

pub(crate) fn put_topics(out: &mut BytesMut, topics: &[Topic]) {
    let mut items = BytesMut::new();
    topics.iter().for_each(|topic| topic.0.encode(&mut items));
    put_list(out, &items);
}

/// The items of a body that is one list and nothing else.
pub(crate) fn whole_list(body: &[u8]) -> Result<&[u8], P2pError> {
    let mut after = body;
    let items = Header::decode_bytes(&mut after, true)?;
    if after.is_empty() { Ok(items) } else { Err(P2pError::TrailingBytes(after.len())) }
}

pub(crate) fn put_list(out: &mut BytesMut, items: &[u8]) {
    Header { list: true, payload_length: items.len() }.encode(out);
    out.extend_from_slice(items);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The printed envelope of the specification's packets.
    const E: &str = "d1845e4e74c00f84f8946aac84010203042a";

    fn body(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }

    fn request() -> PlainRequest {
        PlainRequest {
            id: [1; 32],
            from: 10,
            to: 20,
            limit: 0,
            cursor: Some([3; CURSOR_LEN]),
            bloom: Some(Bloom::FULL),
            topics: vec![Topic([0, 0, 0, 1])],
        }
    }

    #[test]
    fn envelopes_come_in_a_list_or_bare() {
        for (text, count) in [(format!("d2{E}"), 1), (E.to_string(), 1), ("c0".into(), 0), (format!("e4{E}{E}"), 2)] {
            let envelopes: Vec<_> = decode_messages(&body(&text)).unwrap().map(|item| item.unwrap().unwrap()).collect();
            assert_eq!(envelopes.len(), count);
            assert!(envelopes.iter().all(|envelope| hex::encode(envelope.raw()) == E));
        }
        for bad in ["", "80", "ff", &format!("d2{E}00"), "c101"] {
            assert!(decode_messages(&body(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn envelopes_go_in_a_list_and_to_whisper_bare() {
        let envelopes: Vec<_> = (0..3).map(|_| Arc::new(Envelope::decode(body(E)).unwrap())).collect();
        let sent = |version| encode_messages(version, &envelopes).iter().map(hex::encode).collect::<Vec<_>>();
        assert_eq!(sent(Version::Shh6), [E; 3]);
        for version in [Version::Waku0, Version::Waku1] {
            assert_eq!(sent(version), [format!("f6{E}{E}{E}")]);
        }
    }

    #[test]
    fn a_ttl_of_zero_and_no_work_are_legal_here() {
        let momentary = Envelope::new(5, 0, Topic([0; 4]), Bytes::new(), 0).unwrap();
        let read = decode_messages(momentary.raw()).unwrap().next().unwrap().unwrap().unwrap();
        assert_eq!(read, momentary);
        assert!(matches!(P2pRequest::decode(momentary.raw()), Ok(P2pRequest::Sealed(_))));
    }

    #[test]
    fn a_request_is_an_envelope_or_a_list() {
        assert!(matches!(P2pRequest::decode(&body(E)), Ok(P2pRequest::Sealed(envelope)) if envelope.nonce() == 42));
        assert_eq!(P2pRequest::decode(&request().encode()), Ok(P2pRequest::Plain(request())));
        let open = PlainRequest { cursor: None, bloom: None, topics: vec![], ..request() };
        assert_eq!(P2pRequest::decode(&open.encode()), Ok(P2pRequest::Plain(open)));
        for bad in ["", "80", "c0", "ff", &format!("{E}00")] {
            assert!(P2pRequest::decode(&body(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_of_wrong_sizes() {
        let hostile = |cursor: usize, bloom: usize, topics: usize| {
            let mut items = BytesMut::new();
            [1_u8; 32].encode(&mut items);
            [1_u32; 3].iter().for_each(|number| number.encode(&mut items));
            vec![1_u8; cursor].as_slice().encode(&mut items);
            vec![1_u8; bloom].as_slice().encode(&mut items);
            let mut list = BytesMut::new();
            (0..topics).for_each(|_| [1_u8; 4].encode(&mut list));
            put_list(&mut items, &list);
            let mut out = BytesMut::new();
            put_list(&mut out, &items);
            P2pRequest::decode(&out.freeze()).map(|_| ())
        };
        assert_eq!(hostile(36, 64, MAX_REQUEST_TOPICS), Ok(()));
        assert_eq!(hostile(1 << 20, 64, 0), Err(P2pError::CursorLength(1 << 20)));
        assert_eq!(hostile(0, 1, 0), Err(P2pError::BloomLength(1)));
        assert_eq!(hostile(0, 0, 1_000_000), Err(P2pError::TooManyTopics(1_000_000)));
    }

    #[test]
    fn completions_in_every_shape() {
        let request = [7; 32];
        let done = |last, cursor| Completion::Done { request, last, cursor };
        let hash = EnvelopeHash::from([8; 32]);
        for completion in [done(None, None), done(Some(hash), None), done(Some(hash), Some([9; CURSOR_LEN]))] {
            assert_eq!(Completion::decode(&completion.encode()), Ok(completion));
        }
        let failed = Completion::Failed { request, text: "rate limit exceeded".into() };
        assert_eq!(failed.encode().len(), 1 + 1 + 6 + 32 + 19);
        assert_eq!(Completion::decode(&failed.encode()), Ok(failed));
        let of_a_list = |parts: &[&[u8]]| {
            let mut items = BytesMut::new();
            parts.iter().for_each(|part| part.encode(&mut items));
            let mut out = BytesMut::new();
            put_list(&mut out, &items);
            Completion::decode(&out)
        };
        assert_eq!(of_a_list(&[&request, &[8; 32], &[]]), Ok(done(Some(hash), None)));
        assert_eq!(of_a_list(&[&request, &[8; 32], &[9; 36]]), Ok(done(Some(hash), Some([9; CURSOR_LEN]))));
        assert_eq!(of_a_list(&[&request, &[8; 32], &[9; 35]]), Err(P2pError::CursorLength(35)));
        let of_bytes = |len: usize| {
            let mut out = BytesMut::new();
            vec![7_u8; len].as_slice().encode(&mut out);
            Completion::decode(&out)
        };
        assert_eq!(of_bytes(31), Err(P2pError::CompletionLength(31)));
        assert_eq!(of_bytes(101), Err(P2pError::CompletionLength(101)));
        assert_eq!(of_bytes(99), Ok(done(Some([7; 32].into()), None)));
        assert_eq!(Completion::decode(&body("8000")), Err(P2pError::TrailingBytes(1)));
        for completion in [done(Some(hash), None), done(Some(hash), Some([9; CURSOR_LEN]))] {
            assert_eq!(Completion::decode(&completion.encode_list()), Ok(completion));
        }
        let nothing = done(Some([0; 32].into()), None);
        assert_eq!(Completion::decode(&done(None, None).encode_list()), Ok(nothing.clone()));
        let failed = Completion::Failed { request, text: "no".into() };
        assert_eq!(Completion::decode(&failed.encode_list()), Ok(nothing));
    }

    #[test]
    fn every_recorded_completion() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../../fixtures/mail/mailserver.json")).unwrap();
        let cases = file["responses"].as_array().unwrap();
        assert_eq!(cases.len(), 40);
        let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
        for case in cases {
            let (parsed, packet, kind) = (&case["parsed"], bytes(&case["packet_rlp"]), case["kind"].as_str().unwrap());
            if kind.starts_with("too ") {
                assert!(matches!(Completion::decode(&packet), Err(P2pError::CompletionLength(31 | 101))), "{case}");
                continue;
            }
            let request: [u8; 32] = bytes(&parsed["request_id"]).try_into().unwrap();
            let last: [u8; 32] = bytes(&parsed["last_envelope_hash"]).try_into().unwrap();
            let expected = match parsed["error"].as_str() {
                Some(text) => Completion::Failed { request, text: text.into() },
                None => {
                    let cursor = decode_cursor(&bytes(&parsed["cursor"])).unwrap();
                    Completion::Done { request, last: (kind != "request id only").then(|| last.into()), cursor }
                }
            };
            assert_eq!(Completion::decode(&packet), Ok(expected.clone()), "{case}");
            if kind != "short cursor" {
                assert_eq!(expected.encode(), packet, "{case}");
            }
        }
    }

    #[test]
    fn the_text_of_an_error_has_an_end() {
        let failed = Completion::Failed { request: [7; 32], text: "x".repeat(5_000) };
        let Ok(Completion::Failed { text, .. }) = Completion::decode(&failed.encode()) else { panic!() };
        assert_eq!(text.len(), MAX_ERROR_TEXT);
        let not_text = shortened(&[0xff; MAX_ERROR_TEXT]);
        assert_eq!(not_text, "\u{fffd}".repeat(MAX_ERROR_TEXT / 3), "what stands for a byte takes three");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, list: bool) {
            let bytes = if list { [&[0xc0 + bytes.len().min(55) as u8][..], &bytes].concat() } else { bytes };
            let _ = Completion::decode(&bytes);
            let body = Bytes::from(bytes);
            let _ = P2pRequest::decode(&body);
            if let Ok(envelopes) = decode_messages(&body) {
                prop_assert!(envelopes.count() <= body.len());
            }
        }
    }
}
