//! Frames: a length as an unsigned varint, and so many bytes.  Spec: libp2p, "unsigned-varint"; all request/response protocols of Waku.
//!
//! The length is held against a cap before a byte of the frame is asked for, and memory is taken as the bytes come: who announces much and
//! sends little costs little. Time limits are the caller's.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest prefix, in bytes: more than any cap needs.
const MAX_PREFIX_BYTES: usize = 5;

/// Bytes that are made room for before they have come.
const FIRST_BYTES: usize = 4 * 1024;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The prefix announces more than is taken, or does not end.
    #[error("a frame of over {cap} bytes")]
    TooLong {
        /// What is taken.
        cap: usize,
    },
    /// The stream ended within it.
    #[error("the stream ended within a frame")]
    Cut,
    /// The stream's own error.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Cut } else { Self::Io(error) }
    }
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => error,
            FrameError::Cut => Self::new(io::ErrorKind::UnexpectedEof, error),
            FrameError::TooLong { .. } => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Reads one frame of up to `cap` bytes; `None` when the stream ends before it. Cancelling loses what was read of it.
///
/// # Errors
/// See [`FrameError`]; nothing can be read from the stream after one.
pub async fn read_frame(io: &mut (impl AsyncRead + Unpin), cap: usize) -> Result<Option<Bytes>, FrameError> {
    match first_byte(io).await? {
        Some(first) => rest(io, first, cap).await.map(Some),
        None => Ok(None),
    }
}

/// Reads one frame where there must be one.
///
/// # Errors
/// As [`read_frame`]; [`FrameError::Cut`] when the stream ends before it.
pub(crate) async fn expect_frame(io: &mut (impl AsyncRead + Unpin), cap: usize) -> Result<Bytes, FrameError> {
    read_frame(io, cap).await?.ok_or(FrameError::Cut)
}

/// Waits for the first byte of a frame, for as long as the stream lives; `None` at its end.
pub(crate) async fn first_byte(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<u8>, FrameError> {
    let mut byte = [0];
    Ok((io.read(&mut byte).await? > 0).then_some(byte[0]))
}

/// What follows the first byte.
pub(crate) async fn rest(io: &mut (impl AsyncRead + Unpin), first: u8, cap: usize) -> Result<Bytes, FrameError> {
    let length = length(io, first, cap).await?;
    let mut frame = Vec::with_capacity(length.min(FIRST_BYTES));
    io.take(length as u64).read_to_end(&mut frame).await?;
    if frame.len() < length {
        return Err(FrameError::Cut);
    }
    Ok(frame.into())
}

async fn length(io: &mut (impl AsyncRead + Unpin), first: u8, cap: usize) -> Result<usize, FrameError> {
    let (mut byte, mut length) = ([first], 0_u64);
    for place in 0..MAX_PREFIX_BYTES {
        if place > 0 {
            io.read_exact(&mut byte).await?;
        }
        length |= u64::from(byte[0] & 0x7f) << (7 * place);
        if byte[0] & 0x80 == 0 {
            let length = usize::try_from(length).ok().filter(|length| *length <= cap);
            return length.ok_or(FrameError::TooLong { cap });
        }
    }
    Err(FrameError::TooLong { cap })
}

/// Writes one frame and flushes it. Cancelling leaves a part of it written.
///
/// # Errors
/// The stream's own.
pub async fn write_frame(io: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let mut frame = BytesMut::with_capacity(MAX_PREFIX_BYTES + message.len());
    prost::encode_length_delimiter(message.len(), &mut frame).map_err(io::Error::other)?;
    frame.extend_from_slice(message);
    io.write_all(&frame).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, TryStreamExt, executor::block_on, io::Cursor, stream};
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], cap: usize) -> Result<Option<Bytes>, FrameError> {
        block_on(read_frame(&mut Cursor::new(bytes), cap))
    }

    fn is_too_long(bytes: &[u8], cap: usize) -> bool {
        matches!(read(bytes, cap), Err(FrameError::TooLong { cap: told }) if told == cap)
    }

    #[test]
    fn h72_a_frame_is_bounded_before_it_is_read() {
        assert!(is_too_long(&[0x81, 0x08], 1_024), "1,025 bytes");
        assert!(matches!(read(&[0x80, 0x08], 1_024), Err(FrameError::Cut)), "1,024 are taken; there are none");
        assert!(is_too_long(&[0xff, 0xff, 0xff, 0xff, 0x0f], 1 << 24), "4 GiB");
        assert!(is_too_long(&[0xff; 12], usize::MAX), "a prefix without an end");
        let huge = read(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], usize::MAX);
        assert!(matches!(huge, Err(FrameError::Cut)), "memory is taken as bytes come");
    }

    #[test]
    fn ends_are_told_apart() {
        assert!(matches!(read(&[], 9), Ok(None)));
        assert_eq!(read(&[0], 9).unwrap().unwrap(), Bytes::new(), "an empty frame is one");
        for cut in [&[0x80][..], &[5], &[5, 1, 2, 3, 4]] {
            assert!(matches!(read(cut, 1_000), Err(FrameError::Cut)), "{cut:?}");
        }
        assert_eq!(io::Error::from(FrameError::Cut).kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(io::Error::from(FrameError::TooLong { cap: 1 }).kind(), io::ErrorKind::InvalidData);
    }

    /// js-waku keeps its half open.
    #[test]
    fn a_frame_is_read_without_waiting_for_the_end_of_the_stream() {
        let mut open = Cursor::new([2, 7, 8]).chain(stream::pending::<io::Result<Vec<u8>>>().into_async_read());
        assert_eq!(read_frame(&mut open, 9).now_or_never().unwrap().unwrap().unwrap(), [7, 8][..]);
    }

    proptest! {
        #[test]
        fn round_trip_one_behind_the_other(frames: Vec<Vec<u8>>) {
            let mut written = Vec::new();
            frames.iter().for_each(|frame| block_on(write_frame(&mut written, frame)).unwrap());
            let mut io = Cursor::new(written);
            for frame in frames {
                prop_assert_eq!(block_on(read_frame(&mut io, 1_000)).unwrap().unwrap(), frame);
            }
            prop_assert!(block_on(read_frame(&mut io, 1_000)).unwrap().is_none());
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = read(&bytes, 100);
        }
    }
}
