//! Why a connection ends, and what the peer is told: the one place that decides it.

use crate::disconnect::DisconnectReason;
use crate::frame::FrameError;
use crate::handshake::HandshakeError;
use crate::hello::HelloError;
use crate::rlp::RlpError;
use crate::session::{HANDSHAKE_TIMEOUT, READ_TIMEOUT};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseCause {
    /// We said so.
    #[error("disconnected: {0}")]
    Local(DisconnectReason),
    /// The peer said so.
    #[error("disconnected by the peer: {0}")]
    Remote(DisconnectReason),
    /// The peer said so, with a reason that cannot be read.
    #[error("disconnected by the peer with an unreadable reason")]
    RemoteUnreadable,
    /// The peer broke a rule.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// No Hello within [`HANDSHAKE_TIMEOUT`].
    #[error("no Hello within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    HandshakeTimeout,
    /// No whole message within [`READ_TIMEOUT`].
    #[error("no whole message within {} s", READ_TIMEOUT.as_secs())]
    ReadTimeout,
    /// The peer did not take our bytes in time.
    #[error("the peer does not read")]
    WriteTimeout,
    /// The stream ended or broke.
    #[error("connection lost: {0}")]
    Lost(std::io::ErrorKind),
}

impl CloseCause {
    /// The reason of the base protocol that is nearest to it, whoever ended the connection.
    #[must_use]
    pub fn reason(&self) -> DisconnectReason {
        match self {
            Self::Local(reason) | Self::Remote(reason) => *reason,
            Self::RemoteUnreadable => DisconnectReason::Unknown(u8::MAX),
            Self::Fault(fault) => fault.disconnect().unwrap_or(DisconnectReason::ProtocolBreach),
            Self::HandshakeTimeout | Self::ReadTimeout => DisconnectReason::ReadTimeout,
            Self::WriteTimeout | Self::Lost(_) => DisconnectReason::TcpError,
        }
    }

    /// True when another connection with the same node would end alike: it is dialled again only after a long time.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        let reason = match self {
            Self::Local(reason) | Self::Remote(reason) => Some(*reason),
            Self::Fault(fault) => fault.disconnect(),
            Self::RemoteUnreadable
            | Self::HandshakeTimeout
            | Self::ReadTimeout
            | Self::WriteTimeout
            | Self::Lost(_) => None,
        };
        matches!(
            reason,
            Some(
                DisconnectReason::UselessPeer
                    | DisconnectReason::IncompatibleVersion
                    | DisconnectReason::InvalidIdentity
                    | DisconnectReason::UnexpectedIdentity
                    | DisconnectReason::ConnectedToSelf
            )
        )
    }
}

/// A rule the peer broke. [`Fault::disconnect`] says what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The encryption handshake failed.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    /// A frame is bad.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The Hello is bad.
    #[error("{0}")]
    Hello(#[from] HelloError),
    /// Something else came before Hello.
    #[error("message {0:#x} before Hello")]
    BeforeHello(u64),
    /// Hello names another key than the handshake.
    #[error("Hello with another key than the handshake")]
    UnexpectedIdentity,
    /// The peer has our own key.
    #[error("the peer is this node")]
    ConnectedToSelf,
    /// No capability in common.
    #[error("no shared capability")]
    NothingShared,
    /// The body is no snappy block, or does not make what it claims.
    #[error("not a snappy block")]
    Snappy,
    /// Longer than is taken now, once decompressed.
    #[error("a message of {bytes} bytes, over {limit}")]
    TooLarge {
        /// Bytes it has, or claims.
        bytes: usize,
        /// Bytes taken.
        limit: usize,
    },
    /// A ping or pong that is no list; usually a sign that the sides disagree about compression.
    #[error("malformed ping or pong: {0}")]
    Ping(RlpError),
    /// A code that belongs to no shared capability.
    #[error("message code {0:#x} belongs to no shared capability")]
    UnknownCode(u64),
}

impl Fault {
    /// What the peer is told; `None` where the secrets are not agreed or the stream is lost, and the socket just closes.
    #[must_use]
    pub fn disconnect(&self) -> Option<DisconnectReason> {
        match self {
            Self::Handshake(_) | Self::Frame(FrameError::HeaderMac | FrameError::ContentMac) => None,
            Self::Hello(HelloError::InvalidIdentity) => Some(DisconnectReason::InvalidIdentity),
            Self::UnexpectedIdentity => Some(DisconnectReason::UnexpectedIdentity),
            Self::ConnectedToSelf => Some(DisconnectReason::ConnectedToSelf),
            Self::NothingShared => Some(DisconnectReason::UselessPeer),
            Self::Frame(FrameError::Empty | FrameError::TooLarge { .. } | FrameError::Code)
            | Self::Hello(HelloError::TooLong(_) | HelloError::Malformed(_) | HelloError::TooManyCapabilities)
            | Self::BeforeHello(_)
            | Self::Snappy
            | Self::TooLarge { .. }
            | Self::Ping(_)
            | Self::UnknownCode(_) => Some(DisconnectReason::ProtocolBreach),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecies::EciesError;
    use crate::key::KeyError;

    /// Every fault, what we say, and what go-ethereum 1.9 says: it tells only what has a reason of its own, and otherwise
    /// just closes. Where it has a reason, ours is the same; where it is silent, we say "breach of protocol" as soon as there
    /// are secrets to say it with.
    fn faults() -> Vec<(Fault, Option<DisconnectReason>, Option<DisconnectReason>)> {
        use DisconnectReason as R;
        let breach = |fault| (fault, Some(R::ProtocolBreach), None);
        let same = |fault, reason| (fault, Some(reason), Some(reason));
        let silent = |fault: Fault| (fault, None, None);
        vec![
            silent(HandshakeError::PacketSize(1).into()),
            silent(HandshakeError::Incomplete.into()),
            silent(HandshakeError::Decrypt(EciesError).into()),
            silent(HandshakeError::Malformed(RlpError::Missing).into()),
            silent(HandshakeError::StaticKey(KeyError::NotOnCurve).into()),
            silent(HandshakeError::EphemeralKey(KeyError::NotOnCurve).into()),
            silent(HandshakeError::Signature(KeyError::BadSignature).into()),
            silent(FrameError::HeaderMac.into()),
            silent(FrameError::ContentMac.into()),
            breach(FrameError::Empty.into()),
            breach(FrameError::TooLarge { size: 2, limit: 1 }.into()),
            breach(FrameError::Code.into()),
            breach(HelloError::TooLong(3000).into()),
            breach(HelloError::TooManyCapabilities.into()),
            breach(HelloError::Malformed(RlpError::Missing).into()),
            same(HelloError::InvalidIdentity.into(), R::InvalidIdentity),
            breach(Fault::BeforeHello(2)),
            same(Fault::UnexpectedIdentity, R::UnexpectedIdentity),
            same(Fault::ConnectedToSelf, R::ConnectedToSelf),
            same(Fault::NothingShared, R::UselessPeer),
            breach(Fault::Snappy),
            breach(Fault::TooLarge { bytes: 2, limit: 1 }),
            breach(Fault::Ping(RlpError::Missing)),
            breach(Fault::UnknownCode(999)),
        ]
    }

    #[test]
    fn every_fault_tells_the_peer_what_go_ethereum_would_or_more() {
        for (fault, ours, theirs) in faults() {
            assert_eq!(fault.disconnect(), ours, "{fault}");
            assert!(theirs.is_none() || theirs == ours, "{fault}");
        }
        let kinds: std::collections::HashSet<_> =
            faults().iter().map(|(fault, ..)| std::mem::discriminant(fault)).collect();
        assert_eq!(kinds.len(), 11, "a fault that is new belongs into the list");
    }

    #[test]
    fn only_what_would_happen_again_is_hopeless() {
        use DisconnectReason as R;
        for reason in
            [R::UselessPeer, R::IncompatibleVersion, R::InvalidIdentity, R::UnexpectedIdentity, R::ConnectedToSelf]
        {
            assert!(CloseCause::Remote(reason).is_hopeless(), "{reason}");
        }
        for reason in [R::Requested, R::TooManyPeers, R::AlreadyConnected, R::ClientQuitting, R::SubprotocolError] {
            assert!(!CloseCause::Remote(reason).is_hopeless(), "{reason}");
        }
        assert!(CloseCause::Fault(Fault::NothingShared).is_hopeless());
        assert!(!CloseCause::HandshakeTimeout.is_hopeless() && !CloseCause::Fault(Fault::Snappy).is_hopeless());
    }
}
