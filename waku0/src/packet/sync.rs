//! What mailservers send each other to be complete: a request (123) and its answers (124).  Source: status-go's Whisper; waku
//! never had it.
//!
//! Both come from trusted peers alone. What is answered, and with how much, is for whoever keeps an archive ([`crate::mail::server`]); here
//! is only the form.
//!
//! Limits: the packet; [`MAX_SYNC_LIMIT`] envelopes may be asked for at once; [`super::p2p::MAX_ERROR_TEXT`] bytes of an error's text.

use std::sync::Arc;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Bytes, BytesMut};

use super::{
    messages::{self, Envelopes},
    p2p::{Cursor, P2pError, decode_bloom, decode_cursor, put_list, shortened, whole_list},
};
use crate::{bloom::Bloom, envelope::Envelope};

/// Envelopes that may be asked for at once. Source: status-go `whisper/const.go`, `MaxLimitInSyncMailRequest`.
pub const MAX_SYNC_LIMIT: u32 = 1000;

/// What a part has around the list of its envelopes, in bytes: the header of a list of less than 16 MiB, and three empty items.
pub const RESPONSE_OVERHEAD: usize = 4 + 3;

/// What is asked for: `[lower, upper, bloom, limit, cursor]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// Earliest time of sending, in unix seconds.
    pub lower: u32,
    /// Latest time of sending, in unix seconds; not before `lower`.
    pub upper: u32,
    /// Which topics; `None` when it is left out, which is all.
    pub bloom: Option<Bloom>,
    /// Envelopes at most: 1 to [`MAX_SYNC_LIMIT`].
    pub limit: u32,
    /// Where to go on.
    pub cursor: Option<Cursor>,
}

impl SyncRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// [`P2pError`] when it is of another form, asks for nothing or too much, or for no time at all.
    pub fn decode(body: &[u8]) -> Result<Self, P2pError> {
        let mut items = whole_list(body)?;
        let [lower, upper] = [u32::decode(&mut items)?, u32::decode(&mut items)?];
        let bloom = decode_bloom(Header::decode_bytes(&mut items, false)?)?;
        let limit = u32::decode(&mut items)?;
        let cursor = decode_cursor(Header::decode_bytes(&mut items, false)?)?;
        if !items.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        if lower > upper {
            return Err(P2pError::NoTime { lower, upper });
        }
        if !(1..=MAX_SYNC_LIMIT).contains(&limit) {
            return Err(P2pError::SyncLimit(limit));
        }
        Ok(Self { lower, upper, bloom, limit, cursor })
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut items = BytesMut::new();
        [self.lower, self.upper].iter().for_each(|time| time.encode(&mut items));
        self.bloom.as_ref().map_or(&[][..], |bloom| bloom.as_bytes()).encode(&mut items);
        self.limit.encode(&mut items);
        self.cursor.as_ref().map_or(&[][..], |cursor| cursor).encode(&mut items);
        list(&items)
    }
}

/// A part of the answer: `[[envelope, ...], cursor, final, error]`. The last has no envelopes and is final; with an error
/// there are none, and it is not.
#[derive(Debug, Clone)]
pub struct SyncResponse {
    /// Envelopes, read one by one as they are asked for. Nothing about them was checked.
    pub envelopes: Envelopes,
    /// Where the next request goes on.
    pub cursor: Option<Cursor>,
    /// Whether this is the last part.
    pub is_final: bool,
    /// Why the request failed; empty when it has not. Shortened to [`super::p2p::MAX_ERROR_TEXT`].
    pub error: String,
}

impl SyncResponse {
    /// Reads the body.
    ///
    /// # Errors
    /// [`P2pError`] when it is of another form.
    pub fn decode(body: &Bytes) -> Result<Self, P2pError> {
        let mut items = whole_list(body)?;
        let before = items;
        Header::decode_bytes(&mut items, true)?;
        let envelopes = messages::decode(&body.slice_ref(&before[..before.len() - items.len()]))?;
        let cursor = decode_cursor(Header::decode_bytes(&mut items, false)?)?;
        let is_final = bool::decode(&mut items)?;
        let error = shortened(Header::decode_bytes(&mut items, false)?);
        if !items.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        Ok(Self { envelopes, cursor, is_final, error })
    }

    /// The body of a part with these envelopes, as they are. How many fit is for the caller to see to:
    /// [`super::MAX_SENT_BODY`] is what deployed peers read.
    #[must_use]
    pub fn encode(envelopes: &[Arc<Envelope>], cursor: Option<&Cursor>, is_final: bool, error: &str) -> Bytes {
        let mut carried = BytesMut::new();
        envelopes.iter().for_each(|envelope| carried.extend_from_slice(envelope.raw()));
        let mut items = BytesMut::new();
        put_list(&mut items, &carried);
        cursor.map_or(&[][..], |cursor| cursor).encode(&mut items);
        is_final.encode(&mut items);
        error.as_bytes().encode(&mut items);
        list(&items)
    }
}

fn list(items: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    put_list(&mut body, items);
    body.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::p2p::CURSOR_LEN;

    /// The printed envelope of the specification's packets.
    const E: &str = "d1845e4e74c00f84f8946aac84010203042a";

    fn request() -> SyncRequest {
        SyncRequest { lower: 10, upper: 20, bloom: Some(Bloom::FULL), limit: 1000, cursor: Some([3; CURSOR_LEN]) }
    }

    fn response(body: &str) -> Result<SyncResponse, P2pError> {
        SyncResponse::decode(&hex::decode(body).unwrap().into())
    }

    #[test]
    fn a_request_is_five_items_in_their_order() {
        let bare = SyncRequest { bloom: None, cursor: None, ..request() };
        assert_eq!(hex::encode(bare.encode()), "c70a14808203e880");
        let expected = format!("f86c0a14b840{}8203e8a4{}", "ff".repeat(64), "03".repeat(36));
        assert_eq!(hex::encode(request().encode()), expected);
        for request in [bare, request()] {
            assert_eq!(SyncRequest::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn a_request_for_nothing_too_much_or_no_time_is_refused() {
        let refused = |request: SyncRequest| SyncRequest::decode(&request.encode()).unwrap_err();
        assert_eq!(refused(SyncRequest { limit: 0, ..request() }), P2pError::SyncLimit(0));
        assert_eq!(refused(SyncRequest { limit: 1001, ..request() }), P2pError::SyncLimit(1001));
        assert_eq!(refused(SyncRequest { lower: 21, ..request() }), P2pError::NoTime { lower: 21, upper: 20 });
        for bad in ["", "80", "c0", "c60a1480820380", "c80a14808203e88001", "c80a14808203e8810a"] {
            assert!(SyncRequest::decode(&hex::decode(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_has_envelopes_a_cursor_and_says_whether_it_is_the_last() {
        let envelope = Arc::new(Envelope::decode(hex::decode(E).unwrap().into()).unwrap());
        let body = SyncResponse::encode(&[Arc::clone(&envelope), envelope], Some(&[3; CURSOR_LEN]), false, "");
        let read = SyncResponse::decode(&body).unwrap();
        let envelopes: Vec<_> = read.envelopes.map(|item| item.unwrap().unwrap()).collect();
        assert_eq!(envelopes.iter().map(|envelope| hex::encode(envelope.raw())).collect::<Vec<_>>(), [E, E]);
        assert_eq!((read.cursor, read.is_final, read.error), (Some([3; CURSOR_LEN]), false, String::new()));
        let large = Envelope::new(9, 1, crate::topic::Topic([0; 4]), vec![7; 1 << 20].into(), 0).unwrap();
        let len = messages::body_len(large.raw().len());
        assert_eq!(SyncResponse::encode(&[Arc::new(large)], None, false, "").len(), len + RESPONSE_OVERHEAD);
        let last = SyncResponse::encode(&[], None, true, "");
        assert_eq!(hex::encode(&last), "c4c0800180");
        assert!(SyncResponse::decode(&last).unwrap().is_final);
        let failed = response("c6c08080826e6f").unwrap();
        assert_eq!((failed.envelopes.count(), failed.is_final, failed.error.as_str()), (0, false, "no"));
    }

    #[test]
    fn an_answer_of_another_form_is_refused() {
        for bad in ["", "c0", "c480800180", "c4c0800280", "c5c080018001", "c4c0810a0180", "c4c080018000"] {
            assert!(response(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = SyncRequest::decode(&body);
            let _ = SyncResponse::decode(&body.into());
        }
    }
}
