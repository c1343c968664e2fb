//! Packets: the codes within the capability, and the bodies.  Spec: 5/WAKU0, "Packet Codes".
//!
//! A packet is its code and then its body, not the two-item list that the specification shows. Codes are decimal:
//! Status Update is 22, whatever prefix some texts give it.

pub mod confirm;
pub mod messages;
pub mod p2p;

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
    /// Confirms a packet of envelopes.
    BatchAck,
    /// Says which envelopes of a packet were refused.
    MessageResponse,
    /// Options of Status that have changed.
    StatusUpdate,
    /// Ends the answer to a request for history. Taken from trusted peers.
    P2pRequestComplete,
    /// Asks a mailserver for history. Recognised and ignored.
    P2pRequest,
    /// Envelopes from a trusted peer, never gossiped.
    P2pMessage,
}

impl Code {
    /// Every code that has a meaning.
    pub const ALL: [Self; 8] = [
        Self::Status,
        Self::Messages,
        Self::BatchAck,
        Self::MessageResponse,
        Self::StatusUpdate,
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
            Self::BatchAck => 11,
            Self::MessageResponse => 12,
            Self::StatusUpdate => 22,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_numbers_have_a_meaning() {
        let numbers: Vec<_> = (0..=u8::MAX).filter(|number| Code::of(*number).is_some()).collect();
        assert_eq!(numbers, [0, 1, 11, 12, 22, 125, 126, 127]);
        for code in Code::ALL {
            assert_eq!(Code::of(code.number()), Some(code));
        }
    }
}
