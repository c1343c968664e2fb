//! Streams for pushes, on which is written before the peer has agreed to the protocol.  Spec: libp2p, multistream-select.
//!
//! A peer that is asked for one protocol alone says the same words back, or that it has no such. libp2p waits for that, which is a turn of both
//! nodes and packets of their own for each push. Here, whoever opens a stream for [`Protocol::FilterPush`] is told at once that it was agreed on; proposal, push
//! and end then go out together. What the peer says is read before whatever else comes, and fails the reading if it is not those words: a peer
//! that does not take pushes is found then, instead of before. Whoever reads nothing, into no room, waits for these words alone, and has the
//! stream that everybody else has: so do all who do not write first. go-waku opens its own streams so.
//!
//! Limits: other protocols are agreed on as ever; of the proposal no copy is kept.

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use crate::service::Protocol;

/// First words on every stream.
const HEADER: &str = "/multistream/1.0.0";

/// What is proposed, and also what is said back.
static PROPOSAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let line = |text: &str| [&[text.len() as u8 + 1], text.as_bytes(), b"\n"].concat();
    [line(HEADER), line(Protocol::FilterPush.id())].concat()
});

/// Most bytes that are put behind a proposal in one write; yamux sends as many in a frame.
const FIRST_BYTES: usize = 16 * 1024;

/// A connection with such streams.
pub(crate) struct Muxer<M>(pub(crate) M);

/// One of them.
pub(crate) struct Substream<S> {
    io: S,
    state: State,
    /// What is still to be sent of the proposal, before anything else.
    owed: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So much of what was written is the beginning of the proposal, and is held back.
    Proposing(usize),
    /// All of it is held back, and so much was said back by us.
    Believing(usize),
    /// The proposal is under way, and so much of the answer has come.
    Hearing(usize),
    /// Nothing is done here any more.
    Plain,
}

impl<S> Substream<S> {
    const fn new(io: S, state: State) -> Self {
        Self { io, state, owed: 0..0 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Substream<S> {
    /// Nothing is held back any longer.
    fn let_go(&mut self) {
        match self.state {
            State::Proposing(written) => (self.owed, self.state) = (0..written, State::Plain),
            State::Believing(_) => (self.owed, self.state) = (0..PROPOSAL.len(), State::Hearing(0)),
            State::Hearing(_) | State::Plain => {}
        }
    }

    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &PROPOSAL[self.owed.clone()]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.owed.start += sent,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the proposal and the beginning of `bytes` together. Gives how many of these, none if not even the proposal was taken whole.
    fn poll_first(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let together = [&PROPOSAL[..], &bytes[..bytes.len().min(FIRST_BYTES - PROPOSAL.len())]].concat();
        let sent = ready!(Pin::new(&mut self.io).poll_write(cx, &together))?;
        self.let_go();
        self.owed.start = sent.min(PROPOSAL.len());
        Poll::Ready(if sent == 0 {
            Err(io::ErrorKind::WriteZero.into())
        } else {
            Ok(sent.saturating_sub(PROPOSAL.len()))
        })
    }

    /// Reads the peer's answer to the proposal.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let State::Hearing(heard) = self.state {
            let expected = &PROPOSAL[heard..];
            let mut said = [0; 64];
            let room = said.len().min(expected.len());
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut said[..room]))?;
            if read == 0 || said[..read] != expected[..read] {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, "the peer takes no pushes")));
            }
            let heard = heard + read;
            self.state = if heard == PROPOSAL.len() { State::Plain } else { State::Hearing(heard) };
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Substream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.state {
            State::Believing(told) if told < PROPOSAL.len() => {
                let more = into.len().min(PROPOSAL.len() - told);
                into[..more].copy_from_slice(&PROPOSAL[told..told + more]);
                self.state = State::Believing(told + more);
                return Poll::Ready(Ok(more));
            }
            State::Believing(_) | State::Proposing(_) => {
                self.let_go();
                ready!(self.poll_owed(cx))?;
                ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            }
            State::Hearing(_) | State::Plain => {}
        }
        ready!(self.poll_owed(cx))?;
        ready!(self.poll_answer(cx))?;
        if into.is_empty() { Poll::Ready(Ok(0)) } else { Pin::new(&mut self.io).poll_read(cx, into) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Substream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.state {
            State::Proposing(written) if PROPOSAL[written..].starts_with(bytes) => {
                self.state = State::Proposing(written + bytes.len());
                return Poll::Ready(Ok(bytes.len()));
            }
            State::Proposing(_) => self.let_go(),
            State::Believing(_) if !bytes.is_empty() => {
                let sent = ready!(self.poll_first(cx, bytes))?;
                if sent > 0 {
                    return Poll::Ready(Ok(sent));
                }
            }
            State::Believing(_) | State::Hearing(_) | State::Plain => {}
        }
        ready!(self.poll_owed(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Proposing(written) if written == PROPOSAL.len() => self.state = State::Believing(0),
            State::Proposing(_) => self.let_go(),
            State::Believing(_) | State::Hearing(_) | State::Plain => {}
        }
        if matches!(self.state, State::Believing(_)) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_owed(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.let_go();
        ready!(self.poll_owed(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

impl<M> StreamMuxer for Muxer<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Substream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, M::Error>> {
        Pin::new(&mut self.0).poll_inbound(cx).map_ok(|io| Substream::new(io, State::Plain))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, M::Error>> {
        Pin::new(&mut self.0).poll_outbound(cx).map_ok(|io| Substream::new(io, State::Proposing(0)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, io::Cursor};

    use super::*;

    const PUSH: &[u8] = b"\x05hello";

    /// The peer: what it says, what it was told, and how many bytes it takes at a time.
    struct Peer {
        says: Cursor<Vec<u8>>,
        told: Vec<u8>,
        writes: usize,
        piece: usize,
    }

    impl AsyncRead for Peer {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let most = into.len().min(self.piece);
            Pin::new(&mut self.says).poll_read(cx, &mut into[..most])
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.piece);
            self.told.extend_from_slice(&bytes[..taken]);
            self.writes += 1;
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn stream(says: &[u8], piece: usize) -> Substream<Peer> {
        let peer = Peer { says: Cursor::new(says.to_vec()), told: Vec::new(), writes: 0, piece };
        Substream::new(peer, State::Proposing(0))
    }

    /// Nothing here waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("at once")
    }

    /// As libp2p proposes: in one piece, or in two.
    async fn propose(stream: &mut Substream<Peer>, pieces: &[&[u8]]) -> Vec<u8> {
        for piece in pieces {
            stream.write_all(piece).await.unwrap();
        }
        stream.flush().await.unwrap();
        let mut answer = vec![0; PROPOSAL.len()];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn the_words_are_those_of_multistream() {
        let words = b"\x13/multistream/1.0.0\n\x22/vac/waku/filter-push/2.0.0-beta1\n";
        assert_eq!(PROPOSAL.escape_ascii().to_string(), words.escape_ascii().to_string());
        assert!(PROPOSAL.len() < FIRST_BYTES);
    }

    #[test]
    fn proposal_and_push_go_in_one_piece_and_the_answer_is_read_later() {
        let said = [&PROPOSAL[..], b"more"].concat();
        for pieces in [vec![&PROPOSAL[..]], vec![&PROPOSAL[..20], &PROPOSAL[20..]]] {
            let mut stream = stream(&said, usize::MAX);
            assert_eq!(now(propose(&mut stream, &pieces)), *PROPOSAL);
            assert_eq!((stream.io.writes, stream.io.says.position()), (0, 0), "nobody was asked");
            now(stream.write_all(PUSH)).unwrap();
            now(stream.close()).unwrap();
            assert_eq!((&stream.io.told, stream.io.writes), (&[&PROPOSAL[..], PUSH].concat(), 1));
            let mut read = Vec::new();
            now(stream.read_to_end(&mut read)).unwrap();
            assert_eq!(read, b"more");
        }
    }

    #[test]
    fn a_peer_that_takes_and_gives_a_byte_at_a_time_gets_and_says_the_same() {
        let said = [&PROPOSAL[..], b"more"].concat();
        let mut stream = stream(&said, 1);
        now(propose(&mut stream, &[&PROPOSAL]));
        now(stream.write_all(PUSH)).unwrap();
        let mut read = Vec::new();
        now(stream.read_to_end(&mut read)).unwrap();
        assert_eq!((&stream.io.told, &read[..]), (&[&PROPOSAL[..], PUSH].concat(), &b"more"[..]));
    }

    #[test]
    fn large_pushes_arrive_whole() {
        let mut stream = stream(&PROPOSAL, 20_000);
        let push = vec![7; 100_000];
        now(propose(&mut stream, &[&PROPOSAL]));
        now(stream.write_all(&push)).unwrap();
        assert!(stream.io.told == [&PROPOSAL[..], &push].concat());
    }

    #[test]
    fn to_read_nothing_is_to_wait_for_the_answer() {
        let mut agreed = stream(&[&PROPOSAL[..], b"more"].concat(), usize::MAX);
        now(propose(&mut agreed, &[&PROPOSAL]));
        assert_eq!(now(agreed.read(&mut [])).unwrap(), 0);
        assert_eq!((&agreed.io.told, agreed.io.says.position()), (&*PROPOSAL, PROPOSAL.len() as u64));
        let mut refused = stream(b"\x13/multistream/1.0.0\n\x03na\n", usize::MAX);
        now(propose(&mut refused, &[&PROPOSAL]));
        assert_eq!(now(refused.read(&mut [])).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn h77_a_peer_that_refuses_or_says_nothing_is_an_error_when_it_is_read() {
        let refusal = [&PROPOSAL[..20], b"\x03na\n"].concat();
        for said in [&refusal[..], b"", &PROPOSAL[..30], b"rubbish"] {
            let mut stream = stream(said, usize::MAX);
            now(propose(&mut stream, &[&PROPOSAL]));
            now(stream.write_all(PUSH)).unwrap();
            let error = now(stream.read(&mut [0; 9])).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        }
    }

    #[test]
    fn what_is_no_such_proposal_goes_as_it_is() {
        let other = b"\x13/multistream/1.0.0\n\x13/vac/waku/other/1.0\n";
        for pieces in [vec![&other[..]], vec![&other[..20], &other[20..]]] {
            let mut stream = stream(b"answer", usize::MAX);
            for piece in pieces {
                now(stream.write_all(piece)).unwrap();
            }
            now(stream.flush()).unwrap();
            assert_eq!(stream.io.told, other);
            let mut read = Vec::new();
            now(stream.read_to_end(&mut read)).unwrap();
            assert_eq!(read, b"answer");
        }
    }

    #[test]
    fn whoever_only_reads_or_closes_has_proposed_all_the_same() {
        let mut stream = stream(&[&PROPOSAL[..], b"more"].concat(), usize::MAX);
        now(propose(&mut stream, &[&PROPOSAL]));
        let mut read = Vec::new();
        now(stream.read_to_end(&mut read)).unwrap();
        assert_eq!((&stream.io.told, &read[..]), (&*PROPOSAL, &b"more"[..]));
        let mut stream = self::stream(b"", usize::MAX);
        now(propose(&mut stream, &[&PROPOSAL]));
        now(stream.close()).unwrap();
        assert_eq!(stream.io.told, *PROPOSAL);
    }
}
