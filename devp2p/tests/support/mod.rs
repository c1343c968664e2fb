//! What the scripts share: two sessions joined by a queue under one simulated clock, and a peer worked by hand.

#![expect(dead_code, reason = "each test binary uses its part")]

pub(crate) mod nodes;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use devp2p::frame::{Frame, Opener, Sealer};
use devp2p::handshake::{AuthAwaited, AuthSent, Material};
use devp2p::hello::Hello;
use devp2p::{Capability, DisconnectReason, Local, NodeKey, Now, Offered, Session, SessionEvent};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(crate) const WAKU0: Capability = Capability::from_static("waku", 0);
pub(crate) const WAKU1: Capability = Capability::from_static("waku", 1);
pub(crate) const SHH6: Capability = Capability::from_static("shh", 6);

/// A fixed time to begin at.
pub(crate) fn start() -> Now {
    Now { instant: epoch(), unix: Duration::from_secs(1_600_000_000) }
}

/// One instant for the whole test binary; only differences to it matter.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(|| devp2p::clock::now().instant)
}

pub(crate) fn key(secret: u8) -> NodeKey {
    NodeKey::from_bytes(&[secret; 32]).unwrap()
}

pub(crate) fn local(secret: u8, capabilities: &[Capability]) -> Local {
    let offered = capabilities.iter().map(|capability| Offered { capability: *capability, length: 128 }).collect();
    Local { key: key(secret), client_id: format!("node-{secret}"), offered, listen_port: 0 }
}

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Two sessions: `a` dialled `b`.
pub(crate) struct Link {
    pub(crate) a: Session,
    pub(crate) b: Session,
    pub(crate) now: Now,
    /// What `b` says is lost.
    pub(crate) a_is_deaf: bool,
    /// What `a` says is lost.
    pub(crate) b_is_deaf: bool,
    pub(crate) a_saw: Vec<SessionEvent>,
    pub(crate) b_saw: Vec<SessionEvent>,
}

impl Link {
    pub(crate) fn new(a: &Local, b: &Local) -> Self {
        let now = start();
        Self {
            a: Session::initiate(a, b.key.public(), &mut rng(1), now),
            b: Session::respond(b, &mut rng(2), now),
            now,
            a_is_deaf: false,
            b_is_deaf: false,
            a_saw: Vec::new(),
            b_saw: Vec::new(),
        }
    }

    /// Carries bytes both ways, in pieces of `cut`, until nothing moves.
    pub(crate) fn carry(&mut self, cut: usize) {
        loop {
            let mut moved = carry(&mut self.a, &mut self.b, self.now, if self.b_is_deaf { 0 } else { cut });
            moved |= carry(&mut self.b, &mut self.a, self.now, if self.a_is_deaf { 0 } else { cut });
            self.a_saw.extend(std::iter::from_fn(|| self.a.next_event()));
            self.b_saw.extend(std::iter::from_fn(|| self.b.next_event()));
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, waking both sessions when they want it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let wakes = [&self.a, &self.b].into_iter().filter(|session| !session.is_closed()).map(Session::wake_at);
            let Some(wake) = wakes.min().filter(|wake| *wake <= end) else { break };
            self.now = self.now.after(wake.saturating_duration_since(self.now.instant));
            self.a.tick(self.now);
            self.b.tick(self.now);
            self.carry(usize::MAX);
        }
        self.now = self.now.after(end - self.now.instant);
    }
}

/// In pieces of `cut` bytes; 0 loses them.
fn carry(from: &mut Session, to: &mut Session, now: Now, cut: usize) -> bool {
    let mut moved = false;
    while let Some(bytes) = from.next_output() {
        if cut > 0 {
            bytes.chunks(cut).for_each(|chunk| to.receive(now, chunk));
        }
        moved = true;
    }
    moved
}

/// A peer that says what the test wants.
pub(crate) struct Puppet {
    pub(crate) key: NodeKey,
    pub(crate) sealer: Sealer,
    opener: Opener,
    received: BytesMut,
}

impl Puppet {
    /// Shakes hands with a session that waits for an auth.
    pub(crate) fn dials(session: &mut Session, local: &Local, secret: u8, now: Now) -> Self {
        let (state, auth) = AuthSent::start(&key(secret), &local.key.public(), Material::draw(&mut rng(3)));
        session.receive(now, &auth);
        let ack = session.next_output().unwrap();
        Self::new(secret, state.finish(&ack).unwrap())
    }

    /// Shakes hands with a session that has sent its auth to us.
    pub(crate) fn answers(session: &mut Session, secret: u8, now: Now) -> Self {
        let auth = session.next_output().unwrap();
        let accepted = AuthAwaited::new(&key(secret), Material::draw(&mut rng(3))).accept(&auth).unwrap();
        session.receive(now, &accepted.ack);
        Self::new(secret, accepted.secrets)
    }

    /// From secrets agreed elsewhere.
    pub(crate) fn new(secret: u8, secrets: devp2p::frame::Secrets) -> Self {
        let (sealer, opener) = secrets.into_codec();
        Self { key: key(secret), sealer, opener, received: BytesMut::new() }
    }

    pub(crate) fn hello(&self, p2p_version: u32, capabilities: &[Capability]) -> Hello {
        Hello {
            p2p_version,
            client_id: "puppet".into(),
            capabilities: capabilities.to_vec(),
            listen_port: 0,
            key: self.key.public(),
        }
    }

    pub(crate) fn frame(&mut self, code: u64, body: &[u8]) -> Bytes {
        self.sealer.seal(code, body).unwrap()
    }

    /// The frames a session has for us.
    pub(crate) fn hears(&mut self, session: &mut Session) -> Vec<Frame> {
        while let Some(bytes) = session.next_output() {
            self.received.extend_from_slice(&bytes);
        }
        self.frames()
    }

    /// The frames in these bytes and those before.
    pub(crate) fn takes(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.received.extend_from_slice(bytes);
        self.frames()
    }

    fn frames(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.opener.open(&mut self.received, usize::MAX).unwrap()).collect()
    }

    /// The reason a session disconnected with, if it said one; `snappy` once Hello has switched it on.
    pub(crate) fn hears_disconnect(&mut self, session: &mut Session, snappy: bool) -> Option<DisconnectReason> {
        let frame = self.hears(session).into_iter().find(|frame| frame.code == 1)?;
        Some(DisconnectReason::decode(&plain(&frame.data, snappy)).unwrap())
    }
}

pub(crate) fn plain(body: &[u8], snappy: bool) -> Vec<u8> {
    if snappy { snap::raw::Decoder::new().decompress_vec(body).unwrap() } else { body.to_vec() }
}

pub(crate) fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}
