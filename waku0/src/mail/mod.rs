//! History: what is asked of a mailserver, and what it answers.  Spec: 8/WAKU-MAIL; status-go `mailserver/mailserver.go`.
//!
//! | Module | Concept |
//! |---|---|
//! | [`request`] | requests on the wire, in all deployed forms |
//! | [`server`] | the core that answers them |
//! | [`answer`] | one answer: its pages and its packets |
//! | [`reply`] | how an answer is written, and to whom |
//! | [`client`] | the core that asks, page by page, one server after the other |
//!
//! A request is packet 126, envelopes come as 127, and 125 ends the answer ([`crate::packet::p2p`]). A mailserver that asks another one for
//! what it lacks sends 123, and is answered in 124 ([`crate::packet::sync`]).

pub mod answer;
pub mod client;
pub mod reply;
pub mod request;
pub mod server;

use crate::{
    envelope::{Envelope, EnvelopeHash},
    packet::{
        p2p::{CURSOR_LEN, Cursor, P2pRequest, Unread},
        sync::SyncRequest,
    },
};

/// Topic of the envelope around a request. Source: status-go `services/ext/api.go`, an empty topic.
pub const REQUEST_TOPIC: crate::topic::Topic = crate::topic::Topic([0; 4]);

/// What a mailserver is asked for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// History, by a client; or it could not be read what.
    History(Result<P2pRequest, Unread>),
    /// What another mailserver lacks. It is trusted, or would not have been heard.
    Sync(SyncRequest),
}

/// A place in an archive: a second, and the hash of an envelope that was sent in it. Its 36 bytes are a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Unix seconds: expiry less the TTL.
    pub sent: u32,
    /// The envelope.
    pub hash: EnvelopeHash,
}

impl Place {
    /// Where an envelope stands.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        Self { sent: envelope.sent(), hash: envelope.hash() }
    }

    /// The place that a cursor names.
    #[must_use]
    pub fn of_cursor(cursor: &Cursor) -> Self {
        let (mut sent, mut hash) = ([0; 4], [0; 32]);
        sent.copy_from_slice(&cursor[..4]);
        hash.copy_from_slice(&cursor[4..]);
        Self { sent: u32::from_be_bytes(sent), hash: hash.into() }
    }

    /// The cursor that names it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let mut cursor = [0; CURSOR_LEN];
        cursor[..4].copy_from_slice(&self.sent.to_be_bytes());
        cursor[4..].copy_from_slice(self.hash.as_bytes());
        cursor
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_recorded_cursor() {
        let recorded: Value = serde_json::from_str(include_str!("../../../fixtures/mail/mailserver.json")).unwrap();
        let keys = recorded["db_keys"].as_array().unwrap();
        assert_eq!(keys.len(), 20);
        for key in keys {
            let cursor: Cursor = hex::decode(key["cursor"].as_str().unwrap()).unwrap().try_into().unwrap();
            let place = Place::of_cursor(&cursor);
            assert_eq!(u64::from(place.sent), key["timestamp"].as_u64().unwrap());
            assert_eq!(hex::encode(place.hash.as_bytes()), key["hash"].as_str().unwrap());
            assert_eq!(place.cursor(), cursor);
        }
    }
}
