//! A session over a TCP stream: shell, one task a connection.
//!
//! The task reads and writes at the same time, so that two peers which both send much cannot block each other, and reads
//! nothing while an event waits for its consumer, or a packet for its memory: TCP then slows the peer down. Output is written in batches, everything
//! that waits in one call.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep_until, timeout};

use crate::clock::now;
use crate::counters::{count, count_by};
use crate::dialler::Notice;
use crate::disconnect::DisconnectReason;
use crate::key::{NodeId, PublicKey};
use crate::packet::Packet;
use crate::purse::Purse;
use crate::server::{ConnId, Place, ServerEvent, Shared, TaskCount};
use crate::session::{CloseCause, Peer, Session, SessionEvent};
use crate::table::{Inbox, Order};

/// Longest time spent on a goodbye. Source: go-ethereum, `discWriteTimeout`.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes read at once.
const READ_BYTES: usize = 32 * 1024;

/// Pieces written in one call; the system takes no more than 1,024.
const MAX_SLICES: usize = 64;

/// Runs an accepted connection to its end.
pub(crate) async fn accepted(shared: Arc<Shared>, stream: TcpStream, addr: SocketAddr, place: Place) {
    let session = shared.session(None);
    if let Some(connection) = Connection::new(shared, session, stream, addr, Side::Inbound(place)) {
        connection.run().await;
    }
}

/// Runs a dialled connection to its end.
pub(crate) async fn dialled(shared: Arc<Shared>, stream: TcpStream, addr: SocketAddr, remote: PublicKey) {
    let session = shared.session(Some(remote));
    if let Some(connection) = Connection::new(shared, session, stream, addr, Side::Dialled(remote.id())) {
        connection.run().await;
    }
}

/// Who dialled.
#[derive(Debug)]
enum Side {
    /// They, and take a place at their address until the connection ends.
    Inbound(#[expect(dead_code, reason = "given back when dropped")] Place),
    /// We, to reach this node.
    Dialled(NodeId),
}

struct Connection {
    shared: Arc<Shared>,
    conn: ConnId,
    addr: SocketAddr,
    side: Side,
    session: Session,
    purse: Purse,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    buffer: Vec<u8>,
    writing: Writing,
    order: Order,
    /// The peer and its queue, once `Opened` is on its way.
    open: Option<(NodeId, Inbox)>,
    /// The event that waits for its consumer.
    event: Option<ServerEvent>,
    cause: Option<CloseCause>,
    _count: TaskCount,
}

impl Connection {
    /// `None` when the server stops.
    fn new(shared: Arc<Shared>, session: Session, stream: TcpStream, addr: SocketAddr, side: Side) -> Option<Self> {
        // Packets are small and each is written whole: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let from = matches!(side, Side::Inbound(_)).then_some(addr.ip());
        let (conn, order) = shared.table().register(from)?;
        let (reader, writer) = stream.into_split();
        Some(Self {
            conn,
            addr,
            side,
            session,
            purse: shared.purse(),
            reader,
            writer,
            buffer: vec![0; READ_BYTES],
            writing: Writing::default(),
            order,
            open: None,
            event: None,
            cause: None,
            _count: shared.count_task(),
            shared,
        })
    }

    async fn run(mut self) {
        while self.cause.is_none() {
            self.admit();
            self.collect().await;
            if self.cause.is_none() {
                self.turn().await;
            }
        }
        self.end().await;
    }

    /// Decides on the peer as soon as its key is known.
    fn admit(&mut self) {
        let Some(key) = self.session.waiting_for_admission() else { return };
        match self.shared.table().admit(self.conn, key.id()) {
            Ok(()) => self.session.admit(now()),
            Err(reason) => self.session.disconnect(now(), reason),
        }
    }

    /// Moves what the session has to say to where it goes, one event at a time.
    async fn collect(&mut self) {
        self.writing.fill(&mut self.session, self.shared.limits.write_timeout);
        while self.event.is_none() && self.cause.is_none() {
            match self.session.next_event() {
                None if self.charge() => {}
                None => return,
                Some(SessionEvent::Established(peer)) => self.opened(peer).await,
                Some(SessionEvent::Packet { capability, code, body }) => {
                    let body = self.purse.seal(body);
                    self.event = Some(ServerEvent::Packet { conn: self.conn, capability, code, body });
                }
                Some(SessionEvent::Closed(cause)) => self.cause = Some(cause),
            }
        }
    }

    /// Charges what the session wants to the read budget; true when it could go on at once.
    fn charge(&mut self) -> bool {
        if self.purse.is_waiting() {
            return false;
        }
        let Some(want) = self.session.wants() else { return false };
        let granted = self.purse.ask(want);
        if granted {
            self.session.grant(now(), want.bytes);
        }
        granted
    }

    async fn opened(&mut self, peer: Peer) {
        let id = peer.key.id();
        let opened = self.shared.table().open(self.conn, &self.shared.limits);
        let inbox = match opened {
            Ok(inbox) => inbox,
            Err(reason) => return self.session.disconnect(now(), reason),
        };
        self.open = Some((id, inbox));
        let inbound = self.is_inbound();
        let counters = &self.shared.counters;
        count(if inbound { &counters.served_succeeded } else { &counters.dials_succeeded });
        // Fails only when the dialler has stopped; it never waits for us.
        let _ = self.shared.notices.send(Notice::Up { id, dialled: !inbound }).await;
        self.event = Some(ServerEvent::Opened { conn: self.conn, peer, addr: self.addr, inbound });
    }

    fn is_inbound(&self) -> bool {
        matches!(self.side, Side::Inbound(_))
    }

    /// Waits for whatever comes first and does it.
    async fn turn(&mut self) {
        let closed = self.session.is_closed();
        let idle = self.event.is_none();
        let reading = idle && !closed && self.session.wants().is_none();
        let starving = self.purse.is_waiting() && !closed;
        let writing = !self.writing.is_empty();
        let sendable = !writing && self.session.has_room();
        // While the consumer is waited for, the peer's silence is our doing.
        let wake_at = if idle && !closed { self.session.wake_at() } else { self.writing.deadline };
        let wake_at = wake_at.min(self.writing.deadline);
        let turn = tokio::select! {
            delivered = deliver(&self.shared, &mut self.event), if !idle => Turn::Delivered(delivered),
            written = self.writing.write(&mut self.writer, &self.shared, self.shared.limits.write_timeout), if writing => Turn::Written(written),
            read = self.reader.read(&mut self.buffer), if reading => Turn::Read(read),
            bytes = self.purse.granted(), if starving => Turn::Granted(bytes),
            packet = next_packet(&mut self.open), if sendable => Turn::Packet(packet),
            reason = ordered(&mut self.order), if !closed => Turn::Order(reason),
            () = sleep_until(wake_at.into()) => Turn::Due,
        };
        match turn {
            Turn::Delivered(true) => self.session.resume(now()),
            // Nobody is interested any more.
            Turn::Delivered(false) => self.session.disconnect(now(), DisconnectReason::ClientQuitting),
            Turn::Written(Ok(())) => {}
            Turn::Written(Err(error)) => self.write_failed(error.kind()),
            Turn::Read(Ok(0)) => self.session.lost(CloseCause::Lost(ErrorKind::UnexpectedEof)),
            Turn::Read(Ok(bytes)) => self.receive(bytes),
            Turn::Granted(bytes) => self.session.grant(now(), bytes),
            Turn::Read(Err(error)) => self.session.lost(CloseCause::Lost(error.kind())),
            Turn::Packet(packet) => self.send(packet),
            Turn::Order(reason) => self.obey(reason),
            Turn::Due => self.tick(),
        }
    }

    /// Hands over so many bytes of the buffer.
    fn receive(&mut self, bytes: usize) {
        count_by(&self.shared.counters.bytes_in, bytes);
        self.session.receive(now(), &self.buffer[..bytes]);
    }

    /// Hands a packet to the session, and with it as many as are there: they are written together.
    fn send(&mut self, packet: Packet) {
        let mut next = Some(packet);
        while let Some(packet) = next {
            if let Err(error) = self.session.send(now(), &packet) {
                tracing::debug!(conn = self.conn.0, capability = %packet.capability, code = packet.code, %error, "not sent");
            }
            let Some((_, inbox)) = &mut self.open else { return };
            next = if self.session.has_room() { inbox.try_recv() } else { None };
        }
    }

    /// Disconnects, after what is queued as far as there is room.
    fn obey(&mut self, reason: DisconnectReason) {
        if let Some((_, inbox)) = &mut self.open
            && self.session.has_room()
            && let Some(packet) = inbox.try_recv()
        {
            self.send(packet);
        }
        self.session.disconnect(now(), reason);
    }

    fn tick(&mut self) {
        if !self.writing.is_empty() && now().instant >= self.writing.deadline {
            self.writing.abandon();
            return self.session.lost(CloseCause::WriteTimeout);
        }
        if self.event.is_none() {
            self.session.tick(now());
        }
    }

    /// The peer is gone, but its reason may be here to read.
    fn write_failed(&mut self, kind: ErrorKind) {
        self.writing.abandon();
        if let Ok(bytes) = self.reader.try_read(&mut self.buffer) {
            self.receive(bytes);
        }
        self.session.lost(CloseCause::Lost(kind));
    }

    /// Frees the slot, says goodbye, and reports the end if the beginning was reported.
    async fn end(mut self) {
        self.shared.table().remove(self.conn);
        let Some(cause) = self.cause else { return };
        tracing::debug!(conn = self.conn.0, addr = %self.addr, inbound = self.is_inbound(), %cause, "connection closed");
        let broken = matches!(cause, CloseCause::Lost(_) | CloseCause::WriteTimeout);
        let said = !broken && matches!(timeout(GOODBYE_TIMEOUT, self.flush()).await, Ok(Ok(true)));
        self.report(cause).await;
        if said && !matches!(cause, CloseCause::Remote(_) | CloseCause::RemoteUnreadable) {
            let _ = timeout(GOODBYE_TIMEOUT, self.linger()).await;
        }
    }

    /// Tells the dialler and, after `Opened`, the consumer. Sending fails only when they have stopped.
    async fn report(&mut self, cause: CloseCause) {
        let hopeless = cause.is_hopeless();
        if let Some((id, _)) = self.open.take() {
            let _ = self.shared.notices.send(Notice::Down { id, hopeless }).await;
            let _ = self.shared.events.send(ServerEvent::Closed { conn: self.conn, cause }).await;
        } else if let Side::Dialled(id) = self.side {
            let _ = self.shared.notices.send(Notice::Failed { id, hopeless }).await;
        }
    }

    /// Writes what is under way and then what the session still has, the goodbye last; true when there was something.
    async fn flush(&mut self) -> std::io::Result<bool> {
        let mut said = false;
        loop {
            self.writing.fill(&mut self.session, GOODBYE_TIMEOUT);
            if self.writing.is_empty() {
                self.writer.shutdown().await?;
                return Ok(said);
            }
            self.writing.write(&mut self.writer, &self.shared, GOODBYE_TIMEOUT).await?;
            said = true;
        }
    }

    /// Reads until the peer closes: closing with bytes unread would reset the connection and destroy the goodbye.
    async fn linger(&mut self) {
        while matches!(self.reader.read(&mut self.buffer).await, Ok(1..)) {}
    }
}

/// What came first.
enum Turn {
    /// An event reached its consumer; false when there is none any more.
    Delivered(bool),
    Written(std::io::Result<()>),
    Read(std::io::Result<usize>),
    Granted(usize),
    Packet(Packet),
    Order(DisconnectReason),
    Due,
}

/// Hands the event to its consumer when there is room. Safe to cancel: the event is taken only then.
async fn deliver(shared: &Shared, event: &mut Option<ServerEvent>) -> bool {
    let permit = shared.events.reserve().await;
    match (permit, event.take()) {
        (Ok(permit), Some(event)) => permit.send(event),
        (Ok(_), None) => {}
        (Err(_), _) => return false,
    }
    true
}

/// Waits for the next packet of an open connection.
async fn next_packet(open: &mut Option<(NodeId, Inbox)>) -> Packet {
    match open {
        Some((_, inbox)) => inbox.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the order to disconnect.
async fn ordered(order: &mut Order) -> DisconnectReason {
    match order.wait_for(Option::is_some).await.map(|reason| *reason) {
        Ok(Some(reason)) => reason,
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// The output under way.
struct Writing {
    pieces: VecDeque<Bytes>,
    /// When the first piece must be written.
    deadline: Instant,
}

impl Default for Writing {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), deadline: far_future() }
    }
}

impl Writing {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Takes everything the session has, once all of the last batch is written: what waits stays within the session's bounds.
    fn fill(&mut self, session: &mut Session, write_timeout: Duration) {
        if self.is_empty() {
            self.pieces.extend(std::iter::from_fn(|| session.next_output()));
            self.restart(write_timeout);
        }
    }

    fn restart(&mut self, write_timeout: Duration) {
        self.deadline = if self.is_empty() { far_future() } else { now().instant + write_timeout };
    }

    /// Writes once. Safe to cancel.
    async fn write(
        &mut self,
        writer: &mut OwnedWriteHalf,
        shared: &Shared,
        write_timeout: Duration,
    ) -> std::io::Result<()> {
        let slices: Vec<_> = self.pieces.iter().take(MAX_SLICES).map(|piece| IoSlice::new(piece)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        count_by(&shared.counters.bytes_out, written);
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            self.pieces.pop_front();
            self.restart(write_timeout);
        }
        Ok(())
    }

    fn abandon(&mut self) {
        self.pieces.clear();
        self.deadline = far_future();
    }
}

/// A day from now: no deadline.
fn far_future() -> Instant {
    now().instant + Duration::from_secs(24 * 60 * 60)
}
