//! Heads of mplex frames.  Spec: mplex, "Message format": a varint of stream and flag, a varint of the length.

use bytes::BytesMut;

use super::MAX_FRAME_BYTES;

/// Longest varint, in bytes, of 64 bits.
const MAX_VARINT_BYTES: u32 = 10;

/// A stream: its number, and who opened it. Both sides number theirs alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StreamId {
    pub(super) number: u64,
    pub(super) ours: bool,
}

/// What a frame does to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Data,
    Close,
    Reset,
}

/// What stands before the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) stream: StreamId,
    pub(super) kind: Kind,
    /// Of what follows, in bytes; of anything but data it is a name or nothing.
    pub(super) length: usize,
}

/// Why bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    /// A number of more than 64 bits.
    #[error("a number of more than 64 bits")]
    Varint,
    /// Flag 7.
    #[error("an unknown flag")]
    Flag,
    /// More than [`MAX_FRAME_BYTES`].
    #[error("a frame over {MAX_FRAME_BYTES} bytes")]
    TooLong,
}

impl Head {
    /// As read: flags name the sender's part in the stream, so that "initiator" is one that is not ours.
    fn decode(first: u64, length: u64) -> Result<Self, HeadError> {
        let (kind, ours) = match first & 7 {
            0 => (Kind::Open, false),
            1 => (Kind::Data, true),
            2 => (Kind::Data, false),
            3 => (Kind::Close, true),
            4 => (Kind::Close, false),
            5 => (Kind::Reset, true),
            6 => (Kind::Reset, false),
            _ => return Err(HeadError::Flag),
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_FRAME_BYTES);
        Ok(Self { stream: StreamId { number: first >> 3, ours }, kind, length: length.ok_or(HeadError::TooLong)? })
    }

    /// As written, with us as the sender.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let flag = match (self.kind, self.stream.ours) {
            (Kind::Open, _) => 0,
            (Kind::Data, false) => 1,
            (Kind::Data, true) => 2,
            (Kind::Close, false) => 3,
            (Kind::Close, true) => 4,
            (Kind::Reset, false) => 5,
            (Kind::Reset, true) => 6,
        };
        prost::encoding::encode_varint(self.stream.number << 3 | flag, out);
        prost::encoding::encode_varint(self.length as u64, out);
    }
}

/// Reads a varint byte by byte.
#[derive(Debug, Clone, Copy, Default)]
struct Varint {
    value: u64,
    bytes: u32,
}

impl Varint {
    fn push(&mut self, byte: u8) -> Result<Option<u64>, HeadError> {
        let bits = u64::from(byte & 0x7f);
        if self.bytes + 1 == MAX_VARINT_BYTES && byte > 1 {
            return Err(HeadError::Varint);
        }
        self.value |= bits << (7 * self.bytes);
        self.bytes += 1;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

/// Reads heads from bytes that come in any pieces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HeadReader {
    first: Option<u64>,
    varint: Varint,
}

impl HeadReader {
    /// Takes a byte; the head that it ends.
    ///
    /// # Errors
    /// See [`HeadError`]. The reader is of no more use then.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<Head>, HeadError> {
        let Some(number) = self.varint.push(byte)? else { return Ok(None) };
        self.varint = Varint::default();
        match self.first.take() {
            None => {
                self.first = Some(number);
                Ok(None)
            }
            Some(first) => Head::decode(first, number).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
        let mut reader = HeadReader::default();
        for (n, byte) in bytes.iter().enumerate() {
            if let Some(head) = reader.push(*byte)? {
                assert_eq!(n + 1, bytes.len(), "bytes behind the head");
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    #[test]
    fn flags_name_the_senders_part() {
        use Kind::{Close, Data, Open, Reset};
        // Stream 17, 300 bytes.
        let kinds = [(Open, false), (Data, true), (Data, false), (Close, true), (Close, false), (Reset, true)];
        for (flag, (kind, ours)) in kinds.into_iter().chain([(Reset, false)]).enumerate() {
            let head = Head { stream: StreamId { number: 17, ours }, kind, length: 300 };
            let bytes = [0x88 | flag as u8, 0x01, 0xac, 0x02];
            assert_eq!(read(&bytes), Ok(Some(head)));
            // What they call theirs we call ours.
            let mut written = BytesMut::new();
            Head { stream: StreamId { number: 17, ours: !ours }, ..head }.encode(&mut written);
            assert_eq!(written[..], bytes, "{kind:?}");
        }
    }

    #[test]
    fn h61_heads_that_are_none_have_their_errors() {
        assert_eq!(read(&[0x07, 0x00]), Err(HeadError::Flag));
        assert_eq!(read(&[0x02, 0x80, 0x80, 0x40]).unwrap().unwrap().length, MAX_FRAME_BYTES);
        assert_eq!(read(&[0x02, 0x81, 0x80, 0x40]), Err(HeadError::TooLong));
        assert_eq!(read(&[0xff; 11]), Err(HeadError::Varint));
        let largest = [&[0xff; 9][..], &[0x01]].concat();
        assert_eq!(read(&[&largest[..], &[0x00]].concat()), Err(HeadError::Flag));
        assert_eq!(read(&[&[0x02], &largest[..]].concat()), Err(HeadError::TooLong));
        assert_eq!(read(&[0x02, 0x80]), Ok(None), "not yet");
    }
}
