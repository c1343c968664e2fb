//! Frames: what carries every message after the handshake.
//!
//! ```text
//! header = size (3, big-endian) || C2 80 80 || zeros to 16
//! frame  = CTR(header) || header MAC (16) || CTR(code || data || zeros to 16 n) || frame MAC (16)
//! ```
//! AES-256-CTR with one keystream per direction for the whole connection, and one running Keccak state per direction for
//! the MACs. Source: RLPx, "Framing" and "MAC". A frame is decrypted and encrypted in place, and its buffer grows with
//! what arrives, never with what its header announces.

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use bytes::{Buf, Bytes, BytesMut};
use ctr::Ctr128BE;
use sha3::Digest;
use subtle::ConstantTimeEq;

use crate::frame_hash::FrameHash;
use crate::rlp::{self, Item, Reader};

/// Longest frame content, in bytes, code included: its size has three bytes. Source: RLPx, "Framing".
pub const MAX_FRAME_BYTES: usize = (1 << 24) - 1;

const BLOCK_BYTES: usize = 16;
const MAC_BYTES: usize = 16;
/// An encrypted header with its MAC.
const HEADER_BYTES: usize = BLOCK_BYTES + MAC_BYTES;
/// A code of 64 bits as RLP.
const MAX_CODE_BYTES: usize = 9;
/// What follows the size in a header: an empty capability id and context id, ignored when read.
const HEADER_DATA: [u8; 3] = [0xc2, 0x80, 0x80];

/// What the handshake leaves: two keys, and the MAC state of each direction.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) aes: [u8; 32],
    pub(crate) mac: [u8; 32],
    pub(crate) egress: FrameHash,
    pub(crate) ingress: FrameHash,
}

impl Secrets {
    /// The two directions of the connection.
    #[must_use]
    pub fn into_codec(self) -> (Sealer, Opener) {
        let sealer = Sealer { cipher: keystream(&self.aes), mac: RunningMac::new(self.egress, &self.mac) };
        let mac = RunningMac::new(self.ingress, &self.mac);
        (sealer, Opener { cipher: keystream(&self.aes), mac, pending: None })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// All-zero counter block: the key is used for this connection alone.
fn keystream(aes: &[u8; 32]) -> Ctr128BE<Aes256> {
    Ctr128BE::new(&(*aes).into(), &[0; BLOCK_BYTES].into())
}

/// The sending direction.
pub struct Sealer<H = FrameHash> {
    cipher: Ctr128BE<Aes256>,
    mac: RunningMac<H>,
}

impl<H: Digest + Clone> Sealer<H> {
    /// Makes the frame of one message: one buffer, encrypted in place.
    ///
    /// # Errors
    /// [`FrameTooLarge`] when code and data are over [`MAX_FRAME_BYTES`] together.
    pub fn seal(&mut self, code: u64, data: &[u8]) -> Result<Bytes, FrameTooLarge> {
        let mut encoded = [0; MAX_CODE_BYTES];
        let mut unused = encoded.as_mut_slice();
        alloy_rlp::Encodable::encode(&code, &mut unused);
        let unused = unused.len();
        self.seal_parts(&encoded[..MAX_CODE_BYTES - unused], data)
    }

    pub(crate) fn seal_parts(&mut self, code: &[u8], data: &[u8]) -> Result<Bytes, FrameTooLarge> {
        let size = code.len() + data.len();
        if size > MAX_FRAME_BYTES {
            return Err(FrameTooLarge(size));
        }
        let padded = size.next_multiple_of(BLOCK_BYTES);
        let mut frame = Vec::with_capacity(HEADER_BYTES + padded + MAC_BYTES);
        // The three low bytes: the size is below 2^24.
        frame.extend_from_slice(&(size as u32).to_be_bytes()[1..]);
        frame.extend_from_slice(&HEADER_DATA);
        frame.resize(HEADER_BYTES, 0);
        frame.extend_from_slice(code);
        frame.extend_from_slice(data);
        frame.resize(HEADER_BYTES + padded, 0);
        self.encrypt(&mut frame);
        Ok(frame.into())
    }

    fn encrypt(&mut self, frame: &mut Vec<u8>) {
        let (header, content) = frame.split_at_mut(HEADER_BYTES);
        let (header, header_mac) = header.split_at_mut(BLOCK_BYTES);
        self.cipher.apply_keystream(header);
        header_mac.copy_from_slice(&self.mac.header(header));
        self.cipher.apply_keystream(content);
        let mac = self.mac.content(content);
        frame.extend_from_slice(&mac);
    }
}

/// A message longer than a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes, over {MAX_FRAME_BYTES}")]
pub struct FrameTooLarge(pub usize);

/// One message as it came: its code and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Message code on the wire.
    pub code: u64,
    /// The rest, still compressed where Snappy is on.
    pub data: Bytes,
}

/// A frame that is not all here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// Its content as announced.
    pub(crate) size_bytes: usize,
    /// What is here of content and MAC.
    pub(crate) arrived_bytes: usize,
}

/// The receiving direction.
pub struct Opener<H = FrameHash> {
    cipher: Ctr128BE<Aes256>,
    mac: RunningMac<H>,
    /// Size of the frame whose header was read.
    pending: Option<usize>,
}

impl<H: Digest + Clone> Opener<H> {
    /// Takes the next frame off `received`; `None` until all of it is there. `limit` bounds its content, in bytes.
    ///
    /// # Errors
    /// [`FrameError`]; every one is fatal to the connection, since the streams cannot be found again.
    pub fn open(&mut self, received: &mut BytesMut, limit: usize) -> Result<Option<Frame>, FrameError> {
        let size = match self.pending {
            Some(size) => size,
            None if received.len() < HEADER_BYTES => return Ok(None),
            None => self.header(&received.split_to(HEADER_BYTES), limit)?,
        };
        self.pending = Some(size);
        let padded = size.next_multiple_of(BLOCK_BYTES);
        if received.len() < padded + MAC_BYTES {
            return Ok(None);
        }
        self.pending = None;
        let mut content = received.split_to(padded);
        let mac = received.split_to(MAC_BYTES);
        if !bool::from(self.mac.content(&content).ct_eq(&mac[..])) {
            return Err(FrameError::ContentMac);
        }
        self.cipher.apply_keystream(&mut content);
        content.truncate(size);
        split_code(content.freeze()).map(Some)
    }

    /// The frame whose header was read, and how much of it `received` holds.
    pub(crate) fn under_way(&self, received: &[u8]) -> Option<UnderWay> {
        let size_bytes = self.pending?;
        let whole = size_bytes.next_multiple_of(BLOCK_BYTES) + MAC_BYTES;
        Some(UnderWay { size_bytes, arrived_bytes: received.len().min(whole) })
    }

    fn header(&mut self, header: &[u8], limit: usize) -> Result<usize, FrameError> {
        let (sealed, mac) = header.split_at(BLOCK_BYTES);
        if !bool::from(self.mac.header(sealed).ct_eq(mac)) {
            return Err(FrameError::HeaderMac);
        }
        let mut plain = [0; BLOCK_BYTES];
        self.cipher.apply_keystream_b2b(sealed, &mut plain);
        let size = usize::from(plain[0]) << 16 | usize::from(plain[1]) << 8 | usize::from(plain[2]);
        match size {
            0 => Err(FrameError::Empty),
            size if size > limit => Err(FrameError::TooLarge { size, limit }),
            size => Ok(size),
        }
    }
}

impl<H> fmt::Debug for Sealer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl<H> fmt::Debug for Opener<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// Splits the code off a frame's content. Code 0 is taken as `00` too, which some peers write for the canonical `80`.
fn split_code(mut content: Bytes) -> Result<Frame, FrameError> {
    let mut items = Reader::new(&content);
    let code = match items.next_item() {
        Ok(Some(Item::Bytes([0]))) => 0,
        Ok(Some(Item::Bytes(number))) => rlp::number(number).map_err(|_| FrameError::Code)?,
        Ok(Some(Item::List(_)) | None) | Err(_) => return Err(FrameError::Code),
    };
    let taken = content.len() - items.rest().len();
    content.advance(taken);
    Ok(Frame { code, data: content })
}

/// A MAC that runs through the connection. `H` is Keccak-256; a test puts a stub in its place.
struct RunningMac<H> {
    state: H,
    cipher: Aes256,
}

impl<H: Digest + Clone> RunningMac<H> {
    fn new(state: H, secret: &[u8; 32]) -> Self {
        Self { state, cipher: Aes256::new(&(*secret).into()) }
    }

    fn header(&mut self, sealed: &[u8]) -> [u8; MAC_BYTES] {
        self.update(|_| block(sealed))
    }

    fn content(&mut self, sealed: &[u8]) -> [u8; MAC_BYTES] {
        self.state.update(sealed);
        self.update(|digest| digest)
    }

    /// Feeds `E(digest) XOR seed(digest)` and returns the digest after it.
    fn update(&mut self, seed: impl FnOnce([u8; MAC_BYTES]) -> [u8; MAC_BYTES]) -> [u8; MAC_BYTES] {
        let digest = self.digest();
        let mut masked = digest.into();
        self.cipher.encrypt_block(&mut masked);
        let seed = seed(digest);
        masked.iter_mut().zip(seed).for_each(|(byte, seed)| *byte ^= seed);
        self.state.update(masked);
        self.digest()
    }

    /// The first half of the digest so far; the state runs on.
    fn digest(&self) -> [u8; MAC_BYTES] {
        block(&self.state.clone().finalize())
    }
}

fn block(bytes: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    block.copy_from_slice(&bytes[..BLOCK_BYTES]);
    block
}

/// Why a frame is refused. All close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header was tampered with, or the secrets differ. Nothing is said to the peer.
    #[error("bad header MAC")]
    HeaderMac,
    /// The content was tampered with. Nothing is said to the peer.
    #[error("bad frame MAC")]
    ContentMac,
    /// A frame of nothing has no code. The peer is told of a breach of protocol.
    #[error("an empty frame")]
    Empty,
    /// Longer than is taken now. The peer is told of a breach of protocol.
    #[error("a frame of {size} bytes, over {limit}")]
    TooLarge {
        /// Bytes announced.
        size: usize,
        /// Bytes taken.
        limit: usize,
    },
    /// The code is no number of up to 64 bits. The peer is told of a breach of protocol.
    #[error("a malformed message code")]
    Code,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha3::Keccak256;
    use sha3::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update, consts::U32};

    use super::*;
    use crate::fixtures::{hex, json};

    /// Both ends of one direction.
    fn pair() -> (Sealer, Opener) {
        let state = FrameHash::new_with_prefix(b"state");
        let secrets = Secrets { aes: [1; 32], mac: [2; 32], egress: state.clone(), ingress: state };
        (secrets.clone().into_codec().0, secrets.into_codec().1)
    }

    /// A hash that is always 32 bytes of 01.
    #[derive(Clone, Default)]
    struct Ones;

    impl OutputSizeUser for Ones {
        type OutputSize = U32;
    }

    impl Update for Ones {
        fn update(&mut self, _: &[u8]) {}
    }

    impl FixedOutput for Ones {
        fn finalize_into(self, out: &mut Output<Self>) {
            out.fill(1);
        }
    }

    impl HashMarker for Ones {}

    /// go-ethereum's `TestRLPXFrameFake`.
    #[test]
    fn the_printed_frame_with_a_stub_mac() {
        let printed = hex(&json("rlpx/eip8.json"), "stub_mac_frame");
        let secret = <[u8; 32]>::from(Keccak256::digest([]));
        let mut sealer = Sealer { cipher: keystream(&secret), mac: RunningMac::new(Ones, &secret) };
        let mut opener = Opener { cipher: keystream(&secret), mac: RunningMac::new(Ones, &secret), pending: None };
        let body = [0xc4, 1, 2, 3, 4];
        assert_eq!(sealer.seal(8, &body).unwrap(), printed);
        let frame = opener.open(&mut BytesMut::from(&printed[..]), MAX_FRAME_BYTES).unwrap().unwrap();
        assert_eq!((frame.code, &frame.data[..]), (8, &body[..]));
    }

    #[test]
    fn h08_any_flipped_bit_is_refused() {
        let frame = pair().0.seal(16, b"some packet").unwrap();
        for at in 0..frame.len() {
            let mut frame = BytesMut::from(&frame[..]);
            frame[at] ^= 1;
            let expected = if at < HEADER_BYTES { FrameError::HeaderMac } else { FrameError::ContentMac };
            assert_eq!(pair().1.open(&mut frame, MAX_FRAME_BYTES), Err(expected), "byte {at}");
        }
    }

    #[test]
    fn h09_nothing_is_allocated_for_what_is_announced() {
        let (mut sealer, mut opener) = pair();
        let mut header = [0; BLOCK_BYTES];
        header[..3].fill(0xff);
        sealer.cipher.apply_keystream(&mut header);
        let mac = sealer.mac.header(&header);
        let mut received = BytesMut::from(&[&header[..], &mac, &[0]].concat()[..]);
        assert_eq!(opener.open(&mut received, MAX_FRAME_BYTES), Ok(None));
        assert_eq!(opener.pending, Some(MAX_FRAME_BYTES));
        assert!(received.capacity() < 1024);
        assert_eq!(sealer.seal(16, &vec![0; MAX_FRAME_BYTES]), Err(FrameTooLarge(MAX_FRAME_BYTES + 1)));
    }

    #[test]
    fn frames_over_the_limit_are_refused_by_their_header() {
        let (mut sealer, mut opener) = pair();
        let frame = sealer.seal(16, &[0; 100]).unwrap();
        let mut received = BytesMut::from(&frame[..HEADER_BYTES]);
        assert_eq!(opener.open(&mut received, 100), Err(FrameError::TooLarge { size: 101, limit: 100 }));
    }

    #[test]
    fn codes_take_the_bytes_they_need() {
        for (code, bytes) in [(0, 1), (127, 1), (128, 2), (143, 2), (256, 3), (u64::MAX, 9)] {
            let (mut sealer, mut opener) = pair();
            let frame = sealer.seal(code, &[0; 15]).unwrap();
            assert_eq!(frame.len(), HEADER_BYTES + (15_usize + bytes).next_multiple_of(16) + MAC_BYTES);
            let opened = opener.open(&mut BytesMut::from(&frame[..]), MAX_FRAME_BYTES).unwrap().unwrap();
            assert_eq!((opened.code, &opened.data[..]), (code, &[0; 15][..]));
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(packets in prop::collection::vec((any::<u64>(), any::<Vec<u8>>()), 1..5), cut in 1_usize..40) {
            let (mut sealer, mut opener) = pair();
            let wire: Vec<u8> = packets.iter().flat_map(|(code, data)| sealer.seal(*code, data).unwrap()).collect();
            let (mut received, mut opened) = (BytesMut::new(), Vec::new());
            for chunk in wire.chunks(cut) {
                received.extend_from_slice(chunk);
                while let Some(frame) = opener.open(&mut received, MAX_FRAME_BYTES).unwrap() {
                    opened.push((frame.code, frame.data.to_vec()));
                }
            }
            prop_assert_eq!(opened, packets);
            prop_assert!(received.is_empty());
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), HEADER_BYTES..200)) {
            prop_assert_eq!(pair().1.open(&mut BytesMut::from(&bytes[..]), MAX_FRAME_BYTES), Err(FrameError::HeaderMac));
        }
    }
}
