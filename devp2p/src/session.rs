//! One connection, from the first byte after the TCP connect to its close: the core.
//!
//! Bytes, packets and time go in; bytes and [`SessionEvent`]s come out. It runs the encryption handshake, exchanges Hello,
//! pings every 15 s, answers pings, and closes after 30 s without a whole message. Snappy is on after Hello when both
//! sides speak version 5 or more of the base protocol (EIP-706). A metered session says what memory it needs for packets
//! ([`Session::wants`]) and waits until that is granted. Sources: RLPx, devp2p base protocol; times as in
//! go-ethereum.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::Rng;

use crate::budget::{SMALL_PACKET_BYTES, Want};
use crate::clock::Now;
pub use crate::close::{CloseCause, Fault};
use crate::disconnect::DisconnectReason;
use crate::frame::{Frame, FrameTooLarge, MAX_FRAME_BYTES, Opener, Sealer};
use crate::handshake::{AuthAwaited, AuthSent, Material};
use crate::hello::{Capability, Hello, MAX_HELLO_BYTES, Offered, P2P_VERSION};
use crate::key::{NodeKey, PublicKey};
use crate::meter::{Meter, Parked};
use crate::mux::{FIRST_CODE, Mux};
use crate::output::Output;
pub use crate::output::{MAX_OUTPUT_BYTES, MAX_OUTPUT_PIECES};
use crate::packet::Packet;
use crate::rlp;
use crate::snappy;

mod opening;

/// From the TCP connect to the peer's Hello. Source: go-ethereum 1.9, `handshakeTimeout`.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for one whole message. Source: go-ethereum, `frameReadTimeout`.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two of our pings, so that the peer never sees [`READ_TIMEOUT`] of silence. Source: go-ethereum, `pingInterval`.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A tick that is so late says that we were stopped or starved. What the peer has sent meanwhile is then read before its
/// silence is judged, and it has as long again.
const LATE: Duration = Duration::from_secs(1);

/// Longest message taken after decompression, in bytes. Source: go-ethereum and reth, 2^24 - 1.
pub const MAX_MESSAGE_BYTES: usize = (1 << 24) - 1;

/// Longest message taken before the peer's first packet, in bytes: what comes first is the status of a protocol, and the
/// longest one in use (10,000 topics) fits in half of this.
pub const MAX_FIRST_MESSAGE_BYTES: usize = 128 * 1024;

/// Longest message of the base protocol, in bytes, as it came and decompressed: a few bytes are usual, and no more than a
/// Hello is ever due.
const MAX_BASE_MESSAGE_BYTES: usize = MAX_HELLO_BYTES;

const HELLO: u64 = 0x00;
const DISCONNECT: u64 = 0x01;
const PING: u64 = 0x02;
const PONG: u64 = 0x03;
/// The body of Ping and Pong: an empty list.
const EMPTY_LIST: &[u8] = &[0xc0];

/// Our side, the same for every connection.
#[derive(Debug, Clone)]
pub struct Local {
    /// Our static key.
    pub key: NodeKey,
    /// Name and version of the client, as peers log it.
    pub client_id: String,
    /// What we speak.
    pub offered: Vec<Offered>,
    /// Our TCP port, 0 for none.
    pub listen_port: u16,
}

impl Local {
    fn hello(&self) -> Hello {
        Hello {
            p2p_version: P2P_VERSION,
            client_id: self.client_id.clone(),
            capabilities: self.offered.iter().map(|offered| offered.capability).collect(),
            listen_port: self.listen_port,
            key: self.key.public(),
        }
    }
}

/// What is known of a peer after its Hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its static key, proven by the handshake.
    pub key: PublicKey,
    /// Its client's name and version, as it says.
    pub client_id: String,
    /// All it speaks.
    pub offered: Vec<Capability>,
    /// What runs on this connection.
    pub shared: Vec<Capability>,
    /// Its version of the base protocol.
    pub p2p_version: u32,
    /// Its TCP port, as it says; 0 for none.
    pub listen_port: u16,
}

/// What happens on a connection, in order: nothing but `Closed` before `Established`, nothing after `Closed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Both Hellos are exchanged and something is shared.
    Established(Peer),
    /// A packet of a shared capability.
    Packet {
        /// The protocol it belongs to.
        capability: Capability,
        /// Message code, relative to the protocol.
        code: u8,
        /// What it carries, decompressed.
        body: Bytes,
    },
    /// The connection is over. What [`Session::next_output`] still has is to be written before the stream is closed.
    Closed(CloseCause),
}

/// Why a packet is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Before Hello or after the close.
    #[error("the session is not running")]
    NotRunning,
    /// The capability is not shared, or has no such code.
    #[error("the capability or its code is not shared")]
    NotShared,
    /// The body does not fit a frame.
    #[error("the body is over {MAX_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// [`MAX_OUTPUT_BYTES`] or [`MAX_OUTPUT_PIECES`] are waiting; the packet may be offered again.
    #[error("too much is waiting to be written")]
    Full,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    hello: Hello,
    offered: Vec<Offered>,
    phase: Phase,
    /// Set while the shell decides whether the peer is admitted.
    held: bool,
    remote: Option<PublicKey>,
    input: BytesMut,
    output: Output,
    events: VecDeque<SessionEvent>,
    /// When the peer must have sent its next whole message; before Hello, when the Hello must be here.
    deadline: Instant,
    next_ping: Option<Instant>,
    meter: Meter,
}

#[derive(Debug)]
enum Phase {
    AuthSent(AuthSent),
    AuthAwaited(AuthAwaited),
    /// Encrypted, and waiting for the peer's Hello.
    Greeting(Codec),
    Running(Running),
    Closed,
}

#[derive(Debug)]
struct Codec {
    sealer: Sealer,
    opener: Opener,
}

#[derive(Debug)]
struct Running {
    codec: Codec,
    mux: Mux,
    snappy: bool,
    limit: usize,
}

impl Session {
    /// Begins a connection that we dialled; the auth is waiting in [`Session::next_output`].
    #[must_use]
    pub fn initiate(local: &Local, remote: PublicKey, rng: &mut impl Rng, now: Now) -> Self {
        let (state, auth) = AuthSent::start(&local.key, &remote, Material::draw(rng));
        let mut session = Self::new(local, Phase::AuthSent(state), now);
        session.remote = Some(remote);
        session.output.push(auth.into());
        session
    }

    /// Begins a connection that was accepted.
    #[must_use]
    pub fn respond(local: &Local, rng: &mut impl Rng, now: Now) -> Self {
        Self::new(local, Phase::AuthAwaited(AuthAwaited::new(&local.key, Material::draw(rng))), now)
    }

    fn new(local: &Local, phase: Phase, now: Now) -> Self {
        Self {
            hello: local.hello(),
            offered: local.offered.clone(),
            phase,
            held: false,
            remote: None,
            input: BytesMut::new(),
            output: Output::default(),
            events: VecDeque::new(),
            deadline: now.instant + HANDSHAKE_TIMEOUT,
            next_ping: None,
            meter: Meter::default(),
        }
    }

    /// From now on packets wait for their memory: see [`Session::wants`].
    pub fn meter(&mut self) {
        self.meter.on = true;
    }

    /// Memory that a metered session needs before it goes on. The caller reads no more until [`Session::grant`]; the time
    /// until then is not the peer's.
    #[must_use]
    pub fn wants(&self) -> Option<Want> {
        let Phase::Running(running) = &self.phase else { return None };
        self.meter.wants(running.codec.opener.under_way(&self.input))
    }

    /// Takes the memory that was wanted, and goes on.
    pub fn grant(&mut self, now: Now, bytes: usize) {
        if self.is_closed() {
            return;
        }
        let (parked, waited) = self.meter.grant(now.instant, bytes);
        self.deadline += waited;
        match parked.map(|parked| self.unpack(parked)) {
            Some(Err(fault)) => self.fail(fault),
            Some(Ok(())) | None => self.advance(now),
        }
    }

    /// Takes bytes off the stream, cut anywhere.
    pub fn receive(&mut self, now: Now, bytes: &[u8]) {
        if !self.is_closed() {
            self.input.extend_from_slice(bytes);
            self.advance(now);
        }
    }

    /// Queues a packet.
    ///
    /// # Errors
    /// [`SendError`]; the session goes on.
    pub fn send(&mut self, _now: Now, packet: &Packet) -> Result<(), SendError> {
        let Phase::Running(running) = &mut self.phase else { return Err(SendError::NotRunning) };
        let code = running.mux.wire_code(packet.capability, packet.code).ok_or(SendError::NotShared)?;
        if packet.body.plain().len() > MAX_MESSAGE_BYTES {
            return Err(SendError::TooLarge);
        }
        if self.output.is_full() {
            return Err(SendError::Full);
        }
        let body = if running.snappy { packet.body.snappy() } else { packet.body.plain() };
        self.output.push(running.codec.sealer.seal(code, body)?);
        Ok(())
    }

    /// Ends the connection with a reason. During the encryption handshake the peer cannot be told.
    pub fn disconnect(&mut self, _now: Now, reason: DisconnectReason) {
        if !self.is_closed() {
            self.say_goodbye(reason);
            self.close(CloseCause::Local(reason));
        }
    }

    /// Acts on the time: pings, and closes what is silent for too long.
    pub fn tick(&mut self, now: Now) {
        if self.is_closed() {
            return;
        }
        if now.instant >= self.deadline && !self.meter.is_waiting() {
            if now.instant < self.deadline + LATE {
                return self.time_out();
            }
            self.deadline = now.instant + LATE;
        }
        if self.next_ping.is_some_and(|at| now.instant >= at) {
            self.say(PING, EMPTY_LIST);
            self.next_ping = Some(now.instant + PING_INTERVAL);
        }
    }

    /// When [`Session::tick`] is due. Of no meaning after the close.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        match self.next_ping {
            Some(ping) if self.meter.is_waiting() => ping,
            Some(ping) => ping.min(self.deadline),
            None => self.deadline,
        }
    }

    /// Bytes to write, in order.
    pub fn next_output(&mut self) -> Option<Bytes> {
        self.output.pop()
    }

    /// What happened, in order.
    pub fn next_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Begins the wait for the next message anew: until now the caller did not read.
    pub fn resume(&mut self, now: Now) {
        if matches!(self.phase, Phase::Running(_)) {
            self.deadline = self.deadline.max(now.instant + READ_TIMEOUT);
        }
    }

    /// Ends the connection because its stream is of no more use; nothing is said.
    pub fn lost(&mut self, cause: CloseCause) {
        if !self.is_closed() {
            self.close(cause);
        }
    }

    /// True while [`Session::send`] takes packets.
    #[must_use]
    pub fn has_room(&self) -> bool {
        matches!(self.phase, Phase::Running(_)) && !self.output.is_full()
    }

    /// True once the connection is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Works off the input as far as it goes.
    fn advance(&mut self, now: Now) {
        while !self.waits_for_admission() && !self.meter.is_parked() {
            match self.step(now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => return self.fail(fault),
            }
        }
        if self.wants().is_some() {
            self.meter.wait(now.instant);
        }
    }

    /// One handshake packet or one frame; false when there is none yet.
    fn step(&mut self, now: Now) -> Result<bool, Fault> {
        match &mut self.phase {
            Phase::AuthSent(_) | Phase::AuthAwaited(_) => self.handshake(),
            Phase::Greeting(codec) => {
                let frame = codec.opener.open(&mut self.input, MAX_HELLO_BYTES + 1)?;
                frame.map_or(Ok(false), |frame| self.greeting(now, &frame).map(|()| true))
            }
            Phase::Running(running) => {
                // A block that does not shrink is a little longer than what it holds.
                let limit = snap::raw::max_compress_len(running.limit).min(MAX_FRAME_BYTES);
                let Some(frame) = running.codec.opener.open(&mut self.input, limit)? else { return Ok(false) };
                if frame.data.len() > SMALL_PACKET_BYTES {
                    // What follows must not keep the buffer of a long frame alive.
                    self.input = BytesMut::from(&self.input[..]);
                }
                self.message(now, frame).map(|()| true)
            }
            Phase::Closed => Ok(false),
        }
    }

    /// A message after Hello.
    fn message(&mut self, now: Now, frame: Frame) -> Result<(), Fault> {
        self.deadline = now.instant + READ_TIMEOUT;
        if frame.code >= FIRST_CODE {
            return self.packet(frame);
        }
        let bytes = frame.data.len();
        if bytes > MAX_BASE_MESSAGE_BYTES {
            return Err(Fault::TooLarge { bytes, limit: MAX_BASE_MESSAGE_BYTES });
        }
        match frame.code {
            DISCONNECT => self.disconnected(&frame),
            PING => {
                self.check_list(&frame)?;
                self.answer_ping();
            }
            PONG => self.check_list(&frame)?,
            // A second Hello changes nothing, and the codes up to 0x0f are reserved.
            _ => {}
        }
        Ok(())
    }

    fn packet(&mut self, frame: Frame) -> Result<(), Fault> {
        let Phase::Running(running) = &self.phase else { return Ok(()) };
        let (capability, code) = running.mux.locate(frame.code).ok_or(Fault::UnknownCode(frame.code))?;
        let plain_bytes = running.plain_bytes(&frame.data, running.limit)?;
        let parked = Parked { capability, code, data: frame.data, plain_bytes, compressed: running.snappy };
        if self.meter.on {
            self.meter.park(parked);
            return Ok(());
        }
        self.unpack(parked)
    }

    fn unpack(&mut self, packet: Parked) -> Result<(), Fault> {
        let Phase::Running(running) = &mut self.phase else { return Ok(()) };
        let body = running.plain(packet.data, running.limit)?;
        running.limit = MAX_MESSAGE_BYTES;
        self.events.push_back(SessionEvent::Packet { capability: packet.capability, code: packet.code, body });
        Ok(())
    }

    fn check_list(&self, frame: &Frame) -> Result<(), Fault> {
        let Phase::Running(running) = &self.phase else { return Ok(()) };
        let body = running.plain(frame.data.clone(), MAX_BASE_MESSAGE_BYTES)?;
        // Some clients send no body at all.
        if body.is_empty() {
            return Ok(());
        }
        rlp::Reader::list_exact(&body).map(|_| ()).map_err(Fault::Ping)
    }

    fn disconnected(&mut self, frame: &Frame) {
        let Phase::Running(running) = &self.phase else { return };
        // Compressed or not: the peer leaves either way.
        let body = running.plain(frame.data.clone(), MAX_BASE_MESSAGE_BYTES).unwrap_or_else(|_| frame.data.clone());
        self.close(remote_cause(&body));
    }

    /// One pong waits at most: a peer that pings without reading gets one answer for all of it.
    fn answer_ping(&mut self) {
        if !self.output.pong_waiting {
            self.say(PONG, EMPTY_LIST);
            self.output.mark_pong();
        }
    }

    /// Queues a message of the base protocol, where there are secrets to send it with.
    fn say(&mut self, code: u64, body: &[u8]) {
        let sealed = match &mut self.phase {
            Phase::Greeting(codec) => codec.sealer.seal(code, body),
            Phase::Running(running) if running.snappy => {
                let block = snap::raw::Encoder::new().compress_vec(body).unwrap_or_default();
                running.codec.sealer.seal(code, &block)
            }
            Phase::Running(running) => running.codec.sealer.seal(code, body),
            Phase::AuthSent(_) | Phase::AuthAwaited(_) | Phase::Closed => return,
        };
        // Base messages are a few bytes, and a Hello far from the limit of a frame.
        if let Ok(frame) = sealed {
            self.output.push(frame);
        }
    }

    fn say_goodbye(&mut self, reason: DisconnectReason) {
        self.say(DISCONNECT, &reason.encode());
    }

    fn fail(&mut self, fault: Fault) {
        if let Some(reason) = fault.disconnect() {
            self.say_goodbye(reason);
        }
        self.close(fault.into());
    }

    fn time_out(&mut self) {
        if matches!(self.phase, Phase::Running(_)) {
            self.say_goodbye(DisconnectReason::ReadTimeout);
            self.close(CloseCause::ReadTimeout);
        } else {
            self.close(CloseCause::HandshakeTimeout);
        }
    }

    fn close(&mut self, cause: CloseCause) {
        self.phase = Phase::Closed;
        self.input = BytesMut::new();
        self.meter.clear();
        self.events.push_back(SessionEvent::Closed(cause));
    }
}

impl Running {
    /// Length of a body as its sender encoded it, judged by what it claims.
    fn plain_bytes(&self, data: &[u8], limit: usize) -> Result<usize, Fault> {
        if self.snappy {
            return snappy::claimed_bytes(data, limit);
        }
        if data.len() > limit {
            return Err(Fault::TooLarge { bytes: data.len(), limit });
        }
        Ok(data.len())
    }

    /// The body as its sender encoded it.
    fn plain(&self, data: Bytes, limit: usize) -> Result<Bytes, Fault> {
        if self.snappy {
            return snappy::decompress(&data, limit);
        }
        self.plain_bytes(&data, limit).map(|_| data)
    }
}

fn remote_cause(body: &[u8]) -> CloseCause {
    DisconnectReason::decode(body).map_or(CloseCause::RemoteUnreadable, CloseCause::Remote)
}

impl From<FrameTooLarge> for SendError {
    fn from(_: FrameTooLarge) -> Self {
        Self::TooLarge
    }
}

#[cfg(test)]
mod tests;
