//! Why a session ends on our side, and what the peer is told.

use devp2p::DisconnectReason;

use crate::{
    limits::Meter,
    packet::{messages::BodyError, p2p::P2pError},
    status::StatusError,
};

/// Why we leave a peer. The operator reads the text, the peer the reason of [`Fault::reason`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Fault {
    /// More peers than the node keeps.
    #[error("too many peers")]
    TooManyPeers,
    /// No Status in time.
    #[error("no Status in time")]
    NoStatus,
    /// Another packet, with this code, before Status.
    #[error("a packet of code {0} before Status")]
    BeforeStatus(u8),
    /// A bad Status.
    #[error("bad Status: {0}")]
    Status(#[source] StatusError),
    /// A bad Status Update.
    #[error("bad Status Update: {0}")]
    StatusUpdate(#[source] StatusError),
    /// A body of Messages that is no list.
    #[error("bad Messages: {0}")]
    Messages(#[from] BodyError),
    /// A body that is too long.
    #[error("a body of {len} bytes, more than {limit}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit in this state.
        limit: usize,
    },
    /// Two light nodes have nothing to tell each other.
    #[error("both are light nodes")]
    BothLight,
    /// Too many envelopes that it should not have sent.
    #[error("too many bad envelopes")]
    TooManyMarks,
    /// It sends more than it may, for longer than is tolerated.
    #[error("over the rate limit: {}", .0.name())]
    OverRate(Meter),
    /// A packet of a trusted peer that cannot be read.
    #[error("bad packet between peers: {0}")]
    P2p(#[from] P2pError),
    /// It reads so slowly that it is behind by more than the pool.
    #[error("it reads too slowly")]
    TooSlow,
}

impl Fault {
    /// What the peer is told.
    #[must_use]
    pub fn reason(&self) -> DisconnectReason {
        match self {
            Self::BothLight => DisconnectReason::UselessPeer,
            Self::TooManyPeers => DisconnectReason::TooManyPeers,
            Self::Status(error) | Self::StatusUpdate(error) => error.disconnect(),
            Self::Messages(_) | Self::P2p(_) | Self::TooLong { .. } => DisconnectReason::ProtocolBreach,
            Self::NoStatus | Self::BeforeStatus(_) | Self::TooManyMarks | Self::OverRate(_) | Self::TooSlow => {
                DisconnectReason::SubprotocolError
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_the_numbers_of_the_field() {
        let list = BodyError::List(alloy_rlp::Error::InputTooShort);
        let code = |fault: Fault| fault.reason().code();
        assert_eq!(code(Fault::Messages(list)), 0x02);
        assert_eq!(code(Fault::TooLong { len: 2, limit: 1 }), 0x02);
        assert_eq!(code(Fault::BothLight), 0x03);
        assert_eq!(code(Fault::TooManyPeers), 0x04);
        assert_eq!(code(Fault::NoStatus), 0x10);
        assert_eq!(code(Fault::BeforeStatus(1)), 0x10);
        assert_eq!(code(Fault::OverRate(Meter::TopicEnvelopes)), 0x10);
        assert_eq!(code(Fault::P2p(P2pError::TrailingBytes(1))), 0x02);
        assert_eq!(code(Fault::Status(StatusError::Version(1))), 0x10);
    }
}
