//! The streams of one connection. Pure: what came in, what the owner does; what goes out, what can be read.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use bytes::{Buf, BytesMut};

use super::{
    MAX_FRAME_BYTES, MAX_REFUSED, MAX_STREAMS, MAX_UNREAD_BYTES,
    frame::{Head, HeadError, HeadReader, Kind, StreamId},
};

/// Bytes that wait to be sent, beyond which streams take no more to write. A frame goes in whole, and so do the closes and resets of streams.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// Most bytes that we send in one frame, so that streams take turns.  Deployed: yamux in Rust.
const SPLIT_BYTES: usize = 16 * 1024;

/// What no peer may do. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// No frame.
    #[error("not a frame of mplex: {0}")]
    Head(#[from] HeadError),
    /// A stream that is open already.
    #[error("a stream was opened twice")]
    Reopened,
    /// More than [`MAX_REFUSED`] beyond [`MAX_STREAMS`].
    #[error("over {MAX_REFUSED} streams beyond the limit of {MAX_STREAMS}")]
    TooManyStreams,
}

/// A stream that takes no more to write: closed by us, or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotWritable;

/// What reading gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    End,
}

#[derive(Debug, Default)]
struct Stream {
    unread: BytesMut,
    closed_by_peer: bool,
    closed_by_us: bool,
    /// By the peer: a stream that we reset is forgotten.
    reset: bool,
}

/// What follows the head that was read last.
#[derive(Debug, Clone, Copy)]
struct Body {
    /// Where it goes; nowhere when it is a name.
    stream: Option<StreamId>,
    left: usize,
}

/// The streams of a connection. At most [`MAX_STREAMS`], with [`MAX_UNREAD_BYTES`] and one piece as long as the owner reads in all of them.
#[derive(Debug, Default)]
pub(super) struct Session {
    streams: HashMap<StreamId, Stream>,
    /// Opened by the peer and not yet taken by the owner.
    opened: VecDeque<StreamId>,
    /// Of our next stream.
    next: u64,
    heads: HeadReader,
    body: Option<Body>,
    unread: usize,
    refused: usize,
    out: BytesMut,
    /// Streams that have something to read since they were last told of: one for each frame that came since.
    readable: Vec<StreamId>,
}

impl Session {
    /// Takes what came, in pieces of any length.
    ///
    /// # Errors
    /// See [`Violation`]. The session is of no more use then.
    pub(super) fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            if let Some(body) = self.body {
                let (piece, rest) = bytes.split_at(body.left.min(bytes.len()));
                bytes = rest;
                let left = body.left - piece.len();
                self.body = (left > 0).then_some(Body { left, ..body });
                if let Some(id) = body.stream {
                    self.hold(id, piece);
                }
            } else {
                if let Some(head) = self.heads.push(bytes[0])? {
                    self.begin(&head)?;
                }
                bytes = &bytes[1..];
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: &Head) -> Result<(), Violation> {
        let stream = (head.kind == Kind::Data).then_some(head.stream);
        self.body = (head.length > 0).then_some(Body { stream, left: head.length });
        match head.kind {
            Kind::Open => self.opened(head.stream),
            Kind::Data => Ok(()),
            Kind::Close => {
                self.end(head.stream, |stream| stream.closed_by_peer = true);
                Ok(())
            }
            Kind::Reset => {
                self.end(head.stream, |stream| stream.reset = true);
                Ok(())
            }
        }
    }

    fn opened(&mut self, id: StreamId) -> Result<(), Violation> {
        if self.streams.contains_key(&id) {
            return Err(Violation::Reopened);
        }
        if self.streams.len() >= MAX_STREAMS {
            self.refused += 1;
            if self.refused > MAX_REFUSED {
                return Err(Violation::TooManyStreams);
            }
            self.say(id, Kind::Reset);
            return Ok(());
        }
        self.streams.insert(id, Stream::default());
        self.opened.push_back(id);
        Ok(())
    }

    /// Keeps a piece for its reader; without one, or behind the end, it is dropped.
    fn hold(&mut self, id: StreamId, piece: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.closed_by_peer && !stream.reset {
            stream.unread.extend_from_slice(piece);
            self.unread += piece.len();
            self.readable.push(id);
        }
    }

    fn end(&mut self, id: StreamId, how: impl FnOnce(&mut Stream)) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        how(stream);
        self.readable.push(id);
        // A stream that was reset before the owner knew of it never was.
        if stream.reset && self.opened.contains(&id) {
            self.opened.retain(|opened| *opened != id);
            self.forget(id);
        }
    }

    fn forget(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.unread -= stream.unread.len();
        Some(stream)
    }

    fn say(&mut self, stream: StreamId, kind: Kind) {
        Head { stream, kind, length: 0 }.encode(&mut self.out);
    }

    /// The next stream that the peer opened.
    pub(super) fn accept(&mut self) -> Option<StreamId> {
        self.opened.pop_front()
    }

    /// Opens one; none when there are too many.
    pub(super) fn open(&mut self) -> Option<StreamId> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let id = StreamId { number: self.next, ours: true };
        // Numbers end after 2^61 streams; none is open twice before.
        self.next = (self.next + 1) % (1 << 61);
        self.streams.insert(id, Stream::default());
        self.say(id, Kind::Open);
        Some(id)
    }

    /// Reads what a stream holds.
    pub(super) fn read(&mut self, id: StreamId, into: &mut [u8]) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::End };
        let read = stream.unread.len().min(into.len());
        if read == 0 {
            let ended = stream.unread.is_empty() && (stream.closed_by_peer || stream.reset);
            return if ended { Read::End } else { Read::Nothing };
        }
        stream.unread.copy_to_slice(&mut into[..read]);
        if stream.unread.is_empty() {
            stream.unread = BytesMut::new();
        }
        self.unread -= read;
        Read::Bytes(read)
    }

    /// Writes on a stream: how many of the bytes were taken. None when too much waits to be sent.
    ///
    /// # Errors
    /// When it takes no more.
    pub(super) fn write(&mut self, id: StreamId, bytes: &[u8]) -> Result<Option<usize>, NotWritable> {
        let open = self.streams.get(&id).is_some_and(|stream| !stream.closed_by_us && !stream.reset);
        if !open {
            return Err(NotWritable);
        }
        if bytes.is_empty() {
            return Ok(Some(0));
        }
        if self.out.len() >= MAX_UNSENT_BYTES {
            return Ok(None);
        }
        let length = bytes.len().min(SPLIT_BYTES);
        Head { stream: id, kind: Kind::Data, length }.encode(&mut self.out);
        self.out.extend_from_slice(&bytes[..length]);
        Ok(Some(length))
    }

    /// Ends our half of a stream.
    pub(super) fn close(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !mem::replace(&mut stream.closed_by_us, true) && !stream.reset {
            self.say(id, Kind::Close);
        }
    }

    /// The owner has no more use for a stream: what it held is given back, and the peer told unless both have closed it.
    pub(super) fn drop_stream(&mut self, id: StreamId) {
        let Some(stream) = self.forget(id) else { return };
        match (stream.reset, stream.closed_by_us, stream.closed_by_peer) {
            (true, ..) | (_, true, true) => {}
            // A reset could overtake the bytes that the peer has yet to read.
            (_, true, false) => {}
            (_, false, true) => self.say(id, Kind::Close),
            (_, false, false) => self.say(id, Kind::Reset),
        }
    }

    /// What is to be sent.
    pub(super) fn out(&self) -> &[u8] {
        &self.out
    }

    /// So much of it was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.out.advance(bytes);
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// No more is to be taken from the connection: too much is unread, or the peer has more resets of us to read than data could ever leave
    /// waiting.
    pub(super) fn is_full(&self) -> bool {
        self.unread >= MAX_UNREAD_BYTES || self.out.len() > 2 * MAX_UNSENT_BYTES
    }

    /// Bytes that wait for their readers.
    #[cfg(test)]
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    /// Whose readers are to be told, since this was last asked.
    pub(super) fn readable(&mut self) -> Vec<StreamId> {
        mem::take(&mut self.readable)
    }
}

const _: () = assert!(SPLIT_BYTES <= MAX_FRAME_BYTES);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THEIRS: StreamId = StreamId { number: 0, ours: false };

    /// Frames of a peer that opened the stream.
    fn frame(number: u64, kind: Kind, data: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        Head { stream: StreamId { number, ours: true }, kind, length: data.len() }.encode(&mut out);
        [&out[..], data].concat()
    }

    fn read(session: &mut Session, id: StreamId) -> (Vec<u8>, Read) {
        let (mut all, mut piece) = (Vec::new(), [0; 1_000]);
        loop {
            match session.read(id, &mut piece) {
                Read::Bytes(n) => all.extend(&piece[..n]),
                other => return (all, other),
            }
        }
    }

    /// All that waits goes over, in pieces of this length.
    fn carry(from: &mut Session, to: &mut Session, piece: usize) {
        let out = from.out().to_vec();
        from.sent(out.len());
        out.chunks(piece).for_each(|piece| to.receive(piece).unwrap());
    }

    #[test]
    fn a_stream_is_opened_used_and_closed_on_both_sides() {
        let (mut a, mut b) = (Session::default(), Session::default());
        let ours = a.open().unwrap();
        assert_eq!(a.write(ours, b"question"), Ok(Some(8)));
        a.close(ours);
        assert_eq!(a.write(ours, b"more"), Err(NotWritable));
        // Spec: mplex, "Opening a new stream": flag 0; then flag 2 with the data, and flag 4.
        assert_eq!(a.out(), [&[0, 0, 2, 8][..], b"question", &[4, 0]].concat());
        carry(&mut a, &mut b, 1);
        assert_eq!(b.accept(), Some(THEIRS));
        assert_eq!(b.accept(), None);
        assert_eq!(b.readable(), vec![THEIRS; 9], "a piece each, and the end");
        assert_eq!(read(&mut b, THEIRS), (b"question".to_vec(), Read::End));
        assert_eq!(b.write(THEIRS, b"answer"), Ok(Some(6)));
        carry(&mut b, &mut a, 1_000);
        assert_eq!(read(&mut a, ours), (b"answer".to_vec(), Read::Nothing));
        b.drop_stream(THEIRS);
        assert_eq!(b.out(), [3, 0], "closed, for the peer has closed its half");
        carry(&mut b, &mut a, 1_000);
        assert_eq!(read(&mut a, ours), (vec![], Read::End));
        a.drop_stream(ours);
        assert!(a.out().is_empty() && a.streams.is_empty() && b.streams.is_empty());
    }

    #[test]
    fn a_stream_that_is_dropped_is_reset_and_its_bytes_are_given_back() {
        let (mut a, mut b) = (Session::default(), Session::default());
        let ours = a.open().unwrap();
        a.write(ours, &[7; 10_000]).unwrap();
        carry(&mut a, &mut b, 4_096);
        assert_eq!(b.unread, 10_000);
        let id = b.accept().unwrap();
        b.drop_stream(id);
        assert!(b.unread == 0);
        a.write(ours, b"into the void").unwrap();
        carry(&mut a, &mut b, 4_096);
        assert!(b.unread == 0, "nobody is there to read it");
        carry(&mut b, &mut a, 4_096);
        assert_eq!(read(&mut a, ours), (vec![], Read::End));
        assert_eq!(a.write(ours, b"more"), Err(NotWritable));
    }

    #[test]
    fn h61_what_is_unread_is_bounded_over_all_streams() {
        const PIECE: usize = 8 * 1024;
        let mut session = Session::default();
        let mut sent = 0;
        'peer: for number in 0.. {
            session.receive(&frame(number, Kind::Open, b"a name")).unwrap();
            for piece in frame(number, Kind::Data, &vec![0; MAX_FRAME_BYTES / 16]).chunks(PIECE) {
                if session.is_full() {
                    break 'peer;
                }
                session.receive(piece).unwrap();
                sent += piece.len();
            }
        }
        assert!(session.unread <= MAX_UNREAD_BYTES + PIECE && sent <= MAX_UNREAD_BYTES + 2 * PIECE);
        let held: usize = session.streams.values().map(|stream| stream.unread.capacity()).sum();
        assert!(held <= 2 * (MAX_UNREAD_BYTES + PIECE), "{held} bytes held");
        let first = session.accept().unwrap();
        let (all, _) = read(&mut session, first);
        assert_eq!(all.len(), MAX_FRAME_BYTES / 16);
        assert!(!session.is_full(), "reading makes room");
        assert_eq!(session.streams[&first].unread.capacity(), 0, "and gives the memory back");
    }

    #[test]
    fn h61_streams_beyond_the_limit_are_refused_and_then_the_connection_ends() {
        let mut session = Session::default();
        let mut open = |number| session.receive(&frame(number, Kind::Open, b""));
        let limit = (MAX_STREAMS + MAX_REFUSED) as u64;
        assert!((0..limit).all(|number| open(number) == Ok(())));
        assert_eq!(open(limit), Err(Violation::TooManyStreams));
        assert_eq!(session.streams.len(), MAX_STREAMS);
        assert_eq!(session.open(), None, "nor do we open one");
        assert!(session.out().len() <= MAX_REFUSED * 3);
    }

    #[test]
    fn h61_a_storm_of_resets_leaves_nothing() {
        let mut session = Session::default();
        for number in 0..100_000 {
            session.receive(&frame(number, Kind::Open, b"")).unwrap();
            session.receive(&frame(number, Kind::Data, b"bytes")).unwrap();
            session.receive(&frame(number, Kind::Reset, b"")).unwrap();
            session.receive(&frame(number + 1, Kind::Reset, b"")).unwrap();
            session.receive(&frame(number, Kind::Data, b"behind it")).unwrap();
        }
        session.readable();
        assert!(session.streams.is_empty() && session.opened.is_empty() && session.out().is_empty());
        assert_eq!((session.accept(), session.unread), (None, 0));
        // One that the owner knows of stays until the owner drops it.
        session.receive(&frame(0, Kind::Open, b"")).unwrap();
        assert_eq!(session.receive(&frame(0, Kind::Open, b"")), Err(Violation::Reopened));
    }

    #[test]
    fn h61_who_does_not_read_its_answers_is_not_read_on() {
        let mut session = Session::default();
        session.receive(&frame(0, Kind::Open, b"")).unwrap();
        let mut taken = 0;
        while let Some(n) = session.write(THEIRS, &[0; 100_000]).unwrap() {
            taken += n;
        }
        assert!(session.out().len() <= MAX_UNSENT_BYTES + SPLIT_BYTES + 8 && taken >= MAX_UNSENT_BYTES);
        session.sent(session.out().len());
        assert_eq!(session.write(THEIRS, b"again"), Ok(Some(5)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whole_and_in_order(
            writes in proptest::collection::vec((0_usize..4, proptest::collection::vec(any::<u8>(), 0..3_000)), 0..40),
            piece in 1_usize..10_000,
        ) {
            let (mut a, mut b) = (Session::default(), Session::default());
            let ids: Vec<StreamId> = (0..4).map(|_| a.open().unwrap()).collect();
            let mut written = vec![Vec::new(); ids.len()];
            for (n, bytes) in &writes {
                let taken = a.write(ids[*n], bytes).unwrap();
                written[*n].extend(&bytes[..taken.unwrap_or(0)]);
            }
            ids.iter().for_each(|id| a.close(*id));
            carry(&mut a, &mut b, piece);
            for bytes in written {
                let id = b.accept().unwrap();
                prop_assert_eq!(read(&mut b, id), (bytes, Read::End));
            }
            prop_assert!(b.unread == 0);
        }

        #[test]
        fn no_bytes_panic_or_hold_more_than_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let mut session = Session::default();
            let _ = session.receive(&bytes);
            prop_assert!(session.unread <= bytes.len() && session.streams.len() <= MAX_STREAMS);
        }
    }
}
