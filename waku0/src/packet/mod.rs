//! Packets: the codes within the capability, and the bodies.  Spec: 5/WAKU0, 6/WAKU1, "Packet Codes"; EIP-627.
//!
//! A packet is its code and then its body, not the two-item list that the specification shows. Codes are decimal:
//! Status Update is 22, whatever prefix some texts give it.

pub mod confirm;
pub mod messages;
pub mod p2p;
pub mod sync;

use crate::version::{StatusShape, Version};

/// Longest body that is sent, in bytes. Source: the default limit of status-go and Nimbus, which both leave the sender
/// of more.
pub const MAX_SENT_BODY: usize = 1 << 20;

/// Longest body that is read from a running peer, in bytes: below the frame limit of RLPx. Deployed peers hand over a
/// whole pool in one packet, so what is read is far above what is sent.
pub const MAX_READ_BODY: usize = (1 << 24) - 1;

/// Longest body that is read before the peer's Status, in bytes: a Status with 10,000 topics takes 50 kB.
pub const MAX_READ_BEFORE_STATUS: usize = 128 << 10;

/// A code that has a meaning. All others are to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// What a peer announces of itself, once and first.
    Status,
    /// Envelopes.
    Messages,
    /// The proof of work that is asked for has changed. Whisper, and waku/0 until February 2020.
    PowRequirement,
    /// The bloom filter has changed. As before.
    BloomFilter,
    /// Confirms a packet of envelopes.
    BatchAck,
    /// Says which envelopes of a packet were refused.
    MessageResponse,
    /// The rate limits have changed. Whisper as Status spoke it, and waku/0 until February 2020.
    RateLimits,
    /// Options of Status that have changed.
    StatusUpdate,
    /// Asks a mailserver for what another one lacks. Whisper as Status spoke it; taken from trusted peers.
    SyncRequest,
    /// Answers that. As before.
    SyncResponse,
    /// Ends the answer to a request for history. Taken from trusted peers.
    P2pRequestComplete,
    /// Asks a mailserver for history. Ignored by who is none.
    P2pRequest,
    /// Envelopes from a trusted peer, never gossiped.
    P2pMessage,
}

impl Code {
    /// Every code that has a meaning.
    pub const ALL: [Self; 13] = [
        Self::Status,
        Self::Messages,
        Self::PowRequirement,
        Self::BloomFilter,
        Self::BatchAck,
        Self::MessageResponse,
        Self::RateLimits,
        Self::StatusUpdate,
        Self::SyncRequest,
        Self::SyncResponse,
        Self::P2pRequestComplete,
        Self::P2pRequest,
        Self::P2pMessage,
    ];

    /// The number, relative to the capability.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Status => 0,
            Self::Messages => 1,
            Self::PowRequirement => 2,
            Self::BloomFilter => 3,
            Self::BatchAck => 11,
            Self::MessageResponse => 12,
            Self::RateLimits => 20,
            Self::StatusUpdate => 22,
            Self::SyncRequest => 123,
            Self::SyncResponse => 124,
            Self::P2pRequestComplete => 125,
            Self::P2pRequest => 126,
            Self::P2pMessage => 127,
        }
    }

    /// The code with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Whether it has a meaning between us and a peer of this version whose Status was of this shape. What has none is ignored.
    #[must_use]
    pub const fn is_spoken(self, version: Version, shape: StatusShape) -> bool {
        match self {
            Self::PowRequirement | Self::BloomFilter | Self::RateLimits => matches!(shape, StatusShape::Positional),
            Self::StatusUpdate => !matches!(shape, StatusShape::Positional),
            Self::SyncRequest | Self::SyncResponse => matches!(version, Version::Shh6),
            Self::Status
            | Self::Messages
            | Self::BatchAck
            | Self::MessageResponse
            | Self::P2pRequestComplete
            | Self::P2pRequest
            | Self::P2pMessage => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_numbers() {
        let of = |version: Version, shape| {
            let spoken = |number: &u8| Code::of(*number).is_some_and(|code| code.is_spoken(version, shape));
            (0..=u8::MAX).filter(spoken).collect::<Vec<_>>()
        };
        let waku = [0, 1, 11, 12, 22, 125, 126, 127];
        assert_eq!(of(Version::Waku0, StatusShape::Versioned), waku);
        assert_eq!(of(Version::Waku1, StatusShape::Bare), waku);
        assert_eq!(of(Version::Waku0, StatusShape::Positional), [0, 1, 2, 3, 11, 12, 20, 125, 126, 127]);
        let shh = [0, 1, 2, 3, 11, 12, 20, 123, 124, 125, 126, 127];
        assert_eq!(of(Version::Shh6, StatusShape::Positional), shh);
        for code in Code::ALL {
            assert_eq!(Code::of(code.number()), Some(code));
        }
    }
}
