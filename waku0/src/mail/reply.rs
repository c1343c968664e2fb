//! How an answer is written: to a client in 127 and 125, to another mailserver in 124.
//! Spec: 8/WAKU-MAIL; status-go `mailserver/mailserver.go`, `DeliverMail` and `SyncMail`.
//!
//! To a mailserver the cursor is told at the end alone, as deployed servers do: the parts before it have envelopes and nothing else.
//!
//! Limits: the packet; a part for a mailserver is [`sync::RESPONSE_OVERHEAD`] bytes longer than its envelopes.

use std::sync::Arc;

use bytes::Bytes;

use super::Asked;
use crate::{
    envelope::{Envelope, EnvelopeHash},
    packet::{
        Code, MAX_SENT_BODY, messages,
        p2p::{Completion, Cursor, P2pRequest, encode_messages},
        sync::{self, SyncResponse},
    },
    version::Version,
};

/// To whom an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// To a client.
    Client {
        /// What its request is called.
        request: [u8; 32],
    },
    /// To another mailserver, whose requests have no names.
    Mailserver,
}

impl Reply {
    /// To whoever asks this.
    #[must_use]
    pub fn to(asked: &Asked) -> Self {
        match asked {
            Asked::History(request) => {
                Self::Client { request: request.as_ref().map_or_else(|unread| unread.id, P2pRequest::id) }
            }
            Asked::Sync(_) => Self::Mailserver,
        }
    }

    /// The code of packets of envelopes.
    pub(super) fn code(self) -> Code {
        match self {
            Self::Client { .. } => Code::P2pMessage,
            Self::Mailserver => Code::SyncResponse,
        }
    }

    /// Bytes of a packet that are there for the list of its envelopes.
    pub(super) fn room(self, max_packet: usize) -> usize {
        match self {
            Self::Client { .. } => max_packet,
            Self::Mailserver => max_packet.saturating_sub(sync::RESPONSE_OVERHEAD),
        }
    }

    /// Whether an envelope fits a packet that deployed peers read.
    pub(super) fn fits(self, envelope: &Envelope) -> bool {
        messages::body_len(envelope.raw().len()) <= self.room(MAX_SENT_BODY)
    }

    /// The packets that carry these envelopes to a peer of this version; none for none.
    pub(super) fn bundles(self, version: Version, envelopes: &[Arc<Envelope>]) -> Vec<Bytes> {
        match self {
            Self::Client { .. } => encode_messages(version, envelopes),
            Self::Mailserver if envelopes.is_empty() => Vec::new(),
            Self::Mailserver => vec![SyncResponse::encode(envelopes, None, false, "")],
        }
    }

    /// The packet that ends a whole answer.
    pub(super) fn done(self, client_id: &str, last: Option<EnvelopeHash>, cursor: Option<Cursor>) -> (Code, Bytes) {
        match self {
            Self::Client { request } => {
                let last = Some(last.unwrap_or_else(|| [0; 32].into()));
                (Code::P2pRequestComplete, Completion::Done { request, last, cursor }.encode_for(client_id))
            }
            Self::Mailserver => (Code::SyncResponse, SyncResponse::encode(&[], cursor.as_ref(), true, "")),
        }
    }

    /// The packet that ends an answer which is not whole, or says why there is none.
    #[must_use]
    pub fn failed(self, client_id: &str, text: &str) -> (Code, Bytes) {
        match self {
            Self::Client { request } => {
                let failed = Completion::Failed { request, text: text.to_owned() };
                (Code::P2pRequestComplete, failed.encode_for(client_id))
            }
            Self::Mailserver => (Code::SyncResponse, SyncResponse::encode(&[], None, false, text)),
        }
    }
}
