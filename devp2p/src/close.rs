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
