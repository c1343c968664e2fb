//! How a connection begins: the encryption handshake, admission, and the two Hellos. RLPx, "Initial Handshake"; devp2p
//! base protocol, "Hello".
//!
//! A session that is held says nothing of its own and reads no further until its peer is admitted.

use crate::clock::Now;
use crate::close::Fault;
use crate::frame::{Frame, Secrets};
use crate::handshake::{Accepted, Progress};
use crate::hello::Hello;
use crate::key::PublicKey;
use crate::mux::Mux;

use super::{
    Codec, DISCONNECT, HELLO, MAX_FIRST_MESSAGE_BYTES, PING_INTERVAL, Peer, Phase, READ_TIMEOUT, Running, Session,
    SessionEvent, remote_cause,
};

/// Admission.
impl Session {
    /// Keeps our Hello back until [`Session::admit`]: the peer's key can then be judged before anything is said.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The peer's key, once [`Session::hold`] keeps the Hello of an encrypted connection back.
    #[must_use]
    pub fn waiting_for_admission(&self) -> Option<PublicKey> {
        if self.waits_for_admission() { self.remote } else { None }
    }

    /// Sends the Hello kept back, and goes on.
    pub fn admit(&mut self, now: Now) {
        let waits = self.waits_for_admission();
        self.held = false;
        if waits {
            self.greet();
            self.advance(now);
        }
    }

    /// Whether the peer's next bytes must wait until it is admitted.
    pub(super) fn waits_for_admission(&self) -> bool {
        self.held && matches!(self.phase, Phase::Greeting(_))
    }
}

/// The handshake, and Hello.
impl Session {
    /// Goes on with the handshake; false while its packet is not all here.
    pub(super) fn handshake(&mut self) -> Result<bool, Fault> {
        let secrets = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AuthSent(state) => match state.receive(&mut self.input)? {
                Progress::Waiting(state) => return Ok(self.wait(Phase::AuthSent(state))),
                Progress::Done(secrets) => secrets,
            },
            Phase::AuthAwaited(state) => match state.receive(&mut self.input)? {
                Progress::Waiting(state) => return Ok(self.wait(Phase::AuthAwaited(state))),
                Progress::Done(accepted) => self.accepted(accepted),
            },
            phase @ (Phase::Greeting(_) | Phase::Running(_) | Phase::Closed) => return Ok(self.wait(phase)),
        };
        let (sealer, opener) = secrets.into_codec();
        self.phase = Phase::Greeting(Codec { sealer, opener });
        if self.remote == Some(self.hello.key) {
            return Err(Fault::ConnectedToSelf);
        }
        if !self.held {
            self.greet();
        }
        Ok(true)
    }

    /// Puts a phase back; there is no step to take.
    fn wait(&mut self, phase: Phase) -> bool {
        self.phase = phase;
        false
    }

    fn accepted(&mut self, accepted: Accepted) -> Secrets {
        self.remote = Some(accepted.remote);
        self.output.push(accepted.ack);
        accepted.secrets
    }

    fn greet(&mut self) {
        let hello = self.hello.encode();
        self.say(HELLO, &hello);
    }

    /// A message before the peer's Hello.
    pub(super) fn greeting(&mut self, now: Now, frame: &Frame) -> Result<(), Fault> {
        match frame.code {
            HELLO => self.establish(now, Hello::decode(&frame.data)?),
            DISCONNECT => {
                self.close(remote_cause(&frame.data));
                Ok(())
            }
            code => Err(Fault::BeforeHello(code)),
        }
    }

    fn establish(&mut self, now: Now, hello: Hello) -> Result<(), Fault> {
        if self.remote != Some(hello.key) {
            return Err(Fault::UnexpectedIdentity);
        }
        let mux = Mux::new(&self.offered, &hello.capabilities);
        if mux.is_empty() {
            return Err(Fault::NothingShared);
        }
        let shared = mux.capabilities();
        if let Phase::Greeting(codec) = std::mem::replace(&mut self.phase, Phase::Closed) {
            let snappy = hello.p2p_version.min(self.hello.p2p_version) >= 5;
            self.phase = Phase::Running(Running { codec, mux, snappy, limit: MAX_FIRST_MESSAGE_BYTES });
        }
        self.deadline = now.instant + READ_TIMEOUT;
        self.next_ping = Some(now.instant + PING_INTERVAL);
        self.events.push_back(SessionEvent::Established(Peer {
            key: hello.key,
            client_id: hello.client_id,
            offered: hello.capabilities,
            shared,
            p2p_version: hello.p2p_version,
            listen_port: hello.listen_port,
        }));
        Ok(())
    }
}
