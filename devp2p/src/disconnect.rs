//! Disconnect: why a connection ends (base protocol, message 1).
//!
//! Sent as a list of one number. Read leniently, because three forms are in the field: the list, an empty list or body
//! (the reason then counts as 0), and a bare number.

use std::fmt;

use alloy_rlp::{BufMut, Header};

use crate::rlp::{Item, Reader, RlpError};

/// A disconnect reason. Source: devp2p base protocol, "Disconnect (0x01)".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// 0x00: asked for.
    Requested,
    /// 0x01: TCP error. go-ethereum never sends it.
    TcpError,
    /// 0x02: the peer broke the protocol.
    ProtocolBreach,
    /// 0x03: no shared capability.
    UselessPeer,
    /// 0x04: no slot is free.
    TooManyPeers,
    /// 0x05: the same node is connected already.
    AlreadyConnected,
    /// 0x06: the base protocol's version does not suit.
    IncompatibleVersion,
    /// 0x07: the node key is missing or malformed.
    InvalidIdentity,
    /// 0x08: the node stops.
    ClientQuitting,
    /// 0x09: the node key is not the one of the handshake, or not the one dialled.
    UnexpectedIdentity,
    /// 0x0a: this is our own node.
    ConnectedToSelf,
    /// 0x0b: nothing was received for too long.
    ReadTimeout,
    /// 0x10: an error of a protocol above the base; every error of Waku code is this.
    SubprotocolError,
    /// A number without a meaning, as received.
    Unknown(u8),
}

impl DisconnectReason {
    /// Every reason that has a meaning, in the order of their numbers; the last one stands for all that have none.
    pub const ALL: [Self; 14] = [
        Self::Requested,
        Self::TcpError,
        Self::ProtocolBreach,
        Self::UselessPeer,
        Self::TooManyPeers,
        Self::AlreadyConnected,
        Self::IncompatibleVersion,
        Self::InvalidIdentity,
        Self::ClientQuitting,
        Self::UnexpectedIdentity,
        Self::ConnectedToSelf,
        Self::ReadTimeout,
        Self::SubprotocolError,
        Self::Unknown(u8::MAX),
    ];

    /// A word for it, as a label of metrics: out of a closed list, for numbers come from peers.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::TcpError => "tcp_error",
            Self::ProtocolBreach => "protocol_breach",
            Self::UselessPeer => "useless_peer",
            Self::TooManyPeers => "too_many_peers",
            Self::AlreadyConnected => "already_connected",
            Self::IncompatibleVersion => "incompatible_version",
            Self::InvalidIdentity => "invalid_identity",
            Self::ClientQuitting => "client_quitting",
            Self::UnexpectedIdentity => "unexpected_identity",
            Self::ConnectedToSelf => "connected_to_self",
            Self::ReadTimeout => "read_timeout",
            Self::SubprotocolError => "subprotocol_error",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Requested => 0x00,
            Self::TcpError => 0x01,
            Self::ProtocolBreach => 0x02,
            Self::UselessPeer => 0x03,
            Self::TooManyPeers => 0x04,
            Self::AlreadyConnected => 0x05,
            Self::IncompatibleVersion => 0x06,
            Self::InvalidIdentity => 0x07,
            Self::ClientQuitting => 0x08,
            Self::UnexpectedIdentity => 0x09,
            Self::ConnectedToSelf => 0x0a,
            Self::ReadTimeout => 0x0b,
            Self::SubprotocolError => 0x10,
            Self::Unknown(code) => code,
        }
    }

    /// The reason a number stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match code {
            0x00 => Self::Requested,
            0x01 => Self::TcpError,
            0x02 => Self::ProtocolBreach,
            0x03 => Self::UselessPeer,
            0x04 => Self::TooManyPeers,
            0x05 => Self::AlreadyConnected,
            0x06 => Self::IncompatibleVersion,
            0x07 => Self::InvalidIdentity,
            0x08 => Self::ClientQuitting,
            0x09 => Self::UnexpectedIdentity,
            0x0a => Self::ConnectedToSelf,
            0x0b => Self::ReadTimeout,
            0x10 => Self::SubprotocolError,
            code => Self::Unknown(code),
        }
    }

    /// The message body: a list of one number.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3);
        let code = self.code();
        Header { list: true, payload_length: alloy_rlp::Encodable::length(&code) }.encode(&mut out);
        alloy_rlp::Encodable::encode(&code, &mut out as &mut dyn BufMut);
        out
    }

    /// Reads any of the forms in the field: `[reason, ..]`, `[]`, a bare number, nothing.
    ///
    /// # Errors
    /// [`RlpError`] when the body is none of them, or the number does not fit one byte.
    pub fn decode(body: &[u8]) -> Result<Self, RlpError> {
        let mut outer = Reader::new(body);
        let mut fields = match outer.next_item()? {
            None => return Ok(Self::Requested),
            Some(Item::Bytes(number)) => return reason(number),
            Some(Item::List(fields)) => fields,
        };
        match fields.next_item()? {
            None => Ok(Self::Requested),
            Some(Item::Bytes(number)) => reason(number),
            Some(Item::List(_)) => Err(RlpError::UnexpectedList),
        }
    }
}

/// One byte; `00` is taken for 0 beside the canonical `80`, because go-ethereum writes a bare reason so.
fn reason(number: &[u8]) -> Result<DisconnectReason, RlpError> {
    match *number {
        [] => Ok(DisconnectReason::Requested),
        [code] => Ok(DisconnectReason::from_code(code)),
        _ => Err(RlpError::NumberTooLarge),
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Requested => "requested",
            Self::TcpError => "TCP error",
            Self::ProtocolBreach => "breach of protocol",
            Self::UselessPeer => "useless peer",
            Self::TooManyPeers => "too many peers",
            Self::AlreadyConnected => "already connected",
            Self::IncompatibleVersion => "incompatible base protocol version",
            Self::InvalidIdentity => "invalid node identity",
            Self::ClientQuitting => "client quitting",
            Self::UnexpectedIdentity => "unexpected identity",
            Self::ConnectedToSelf => "connected to self",
            Self::ReadTimeout => "read timeout",
            Self::SubprotocolError => "subprotocol error",
            Self::Unknown(code) => return write!(f, "unknown reason {code:#04x}"),
        };
        write!(f, "{text} ({:#04x})", self.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{hex, json};

    /// go-ethereum's own encoding is the bare byte.
    #[test]
    fn recorded_reasons_are_read() {
        let messages = json("devp2p/messages.json");
        let reasons = messages["disconnect"].as_array().unwrap();
        assert_eq!(reasons.len(), 17);
        for reason in reasons {
            let code = u8::try_from(reason["reason"].as_u64().unwrap()).unwrap();
            let decoded = DisconnectReason::decode(&hex(reason, "rlp")).unwrap();
            assert_eq!(decoded.code(), code);
            let known = !reason["text"].as_str().unwrap().is_empty();
            assert_eq!(known, !matches!(decoded, DisconnectReason::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn h20_every_form_in_the_field_is_read() {
        let decode = DisconnectReason::decode;
        assert_eq!(decode(&[]), Ok(DisconnectReason::Requested));
        assert_eq!(decode(&[0xc0]), Ok(DisconnectReason::Requested));
        assert_eq!(decode(&[0xc1, 0x80]), Ok(DisconnectReason::Requested));
        assert_eq!(decode(&[0xc1, 0x00]), Ok(DisconnectReason::Requested));
        assert_eq!(decode(&[0xc1, 0x04]), Ok(DisconnectReason::TooManyPeers));
        assert_eq!(decode(&[0x04]), Ok(DisconnectReason::TooManyPeers));
        assert_eq!(
            decode(&[0xc2, 0x10, 0x01]),
            Ok(DisconnectReason::SubprotocolError),
            "further elements are let pass"
        );
        assert_eq!(decode(&[0xc2, 0x81, 0xff]), Ok(DisconnectReason::Unknown(0xff)));
        let long = [&[0xa6][..], &[1; 38]].concat();
        assert_eq!(decode(&long), Err(RlpError::NumberTooLarge));
        assert_eq!(decode(&[&[0xe7][..], &long].concat()), Err(RlpError::NumberTooLarge));
        assert_eq!(decode(&[0xc1, 0xc0]), Err(RlpError::UnexpectedList));
        assert!(decode(&[0xc5]).is_err());
    }

    #[test]
    fn every_reason_has_a_label_of_its_own_and_strange_ones_share_one() {
        let labels: std::collections::BTreeSet<_> = DisconnectReason::ALL.map(DisconnectReason::label).into();
        assert_eq!(labels.len(), DisconnectReason::ALL.len());
        assert!((0..=u8::MAX).all(|code| labels.contains(DisconnectReason::from_code(code).label())));
    }

    #[test]
    fn the_list_form_is_sent() {
        assert_eq!(DisconnectReason::Requested.encode(), [0xc1, 0x80]);
        assert_eq!(DisconnectReason::SubprotocolError.encode(), [0xc1, 0x10]);
        assert_eq!(DisconnectReason::ClientQuitting.to_string(), "client quitting (0x08)");
    }

    proptest! {
        #[test]
        fn round_trip(code: u8) {
            let reason = DisconnectReason::from_code(code);
            prop_assert_eq!(reason.code(), code);
            prop_assert_eq!(DisconnectReason::decode(&reason.encode()), Ok(reason));
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = DisconnectReason::decode(&body);
        }
    }
}
