//! Which form a handshake packet has, found out while it arrives: EIP-8, "Backwards compatibility".
//!
//! The older form has no size prefix and one length; it begins with the `04` of a curve point. An EIP-8 packet of 1,024 to
//! 1,279 bytes begins with `04` too, so that such bytes are first tried as the older form. Nothing else is waited for than
//! what a peer of the form in question sends: any other first byte is that of a size.

use super::HandshakeError;
use crate::ecies;
use crate::key::NodeKey;

/// Longest handshake packet taken, in bytes, its size prefix included. go-ethereum and reth stop at 2,048; twice that
/// leaves room for lenient EIP-8 peers with much padding or further elements, and keeps what 50 pending strangers can
/// make us hold at 200 KiB.
pub const MAX_PACKET_BYTES: usize = 4096;

/// Bytes of the size prefix.
const SIZE_BYTES: usize = 2;

/// What an uncompressed curve point begins with, and so a packet of the older form.
const POINT_PREFIX: u8 = 0x04;

/// The form of a handshake packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Of fixed length, without size and padding.
    Older,
    /// Size prefix, RLP list, padding.
    Eip8,
}

/// A packet that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) form: Form,
    pub(super) body: Vec<u8>,
    /// Bytes it had on the wire.
    pub(super) bytes: usize,
}

/// The packet that is waited for.
#[derive(Debug)]
pub(super) struct Reception {
    /// Length of the older form, and the least size of an EIP-8 packet.
    older_bytes: usize,
    /// The older form is ruled out.
    not_older: bool,
}

impl Reception {
    pub(super) fn new(older_bytes: usize) -> Self {
        Self { older_bytes, not_older: false }
    }

    /// Opens the packet that `received` begins with; `None` until all of it is here. The older form is tried once.
    pub(super) fn open(&mut self, key: &NodeKey, received: &[u8]) -> Result<Option<Opened>, HandshakeError> {
        if !self.not_older && received.first() == Some(&POINT_PREFIX) {
            let Some(packet) = received.get(..self.older_bytes) else { return Ok(None) };
            if let Ok(body) = ecies::decrypt(key, packet, &[]) {
                return Ok(Some(Opened { form: Form::Older, body, bytes: self.older_bytes }));
            }
            self.not_older = true;
        }
        let Some(bytes) = self.packet_bytes(received)? else { return Ok(None) };
        let Some((size, message)) = received.get(..bytes).and_then(|packet| packet.split_first_chunk::<SIZE_BYTES>())
        else {
            return Ok(None);
        };
        let body = ecies::decrypt(key, message, size)?;
        Ok(Some(Opened { form: Form::Eip8, body, bytes }))
    }

    /// Bytes of the EIP-8 packet; `None` until its size is here. An EIP-8 packet is padded to be no shorter than the older form.
    fn packet_bytes(&self, received: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let Some(prefix) = received.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
        let bytes = SIZE_BYTES + usize::from(u16::from_be_bytes(*prefix));
        if bytes < SIZE_BYTES + self.older_bytes || bytes > MAX_PACKET_BYTES {
            return Err(HandshakeError::PacketSize(bytes));
        }
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h04_the_size_prefix_is_bounded() {
        let reception = Reception::new(307);
        let bytes = |received: &[u8]| reception.packet_bytes(received);
        assert_eq!(bytes(&[]), Ok(None));
        assert_eq!(bytes(&[1]), Ok(None));
        assert_eq!(bytes(&[0x01, 0x33]), Ok(Some(309)));
        assert_eq!(bytes(&[0x0f, 0xfe]), Ok(Some(MAX_PACKET_BYTES)));
        for prefix in [[0, 0], [0, 1], [0x01, 0x32], [0x0f, 0xff], [0xff, 0xff]] {
            assert!(matches!(bytes(&prefix), Err(HandshakeError::PacketSize(_))), "{prefix:?}");
        }
    }

    #[test]
    fn a_size_is_judged_by_two_bytes_and_a_point_by_all_of_the_older_form() {
        let key = NodeKey::from_bytes(&[1; 32]).unwrap();
        let open = |received: &[u8]| Reception::new(307).open(&key, received).map(|opened| opened.is_some());
        assert_eq!(open(&[0x00, 0x10]), Err(HandshakeError::PacketSize(18)), "refused without waiting for more");
        assert_eq!(open(&[POINT_PREFIX; 306]), Ok(false));
        // No older form, so a size of 0x0404.
        let mut reception = Reception::new(307);
        assert!(matches!(reception.open(&key, &[POINT_PREFIX; 307]), Ok(None)));
        assert!(reception.not_older);
        assert!(matches!(reception.open(&key, &[POINT_PREFIX; 1029]), Ok(None)));
        assert!(matches!(reception.open(&key, &[POINT_PREFIX; 1030]), Err(HandshakeError::Decrypt(_))));
    }
}
