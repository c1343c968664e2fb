//! The session core: what a stranger can say to it before and after the handshake.

use devp2p::{
    Capability, Local, Offered, Packet, Session, SessionEvent,
    clock::Now,
    frame::Sealer,
    handshake::{AuthAwaited, AuthSent, Material},
    hello::Hello,
};
use rand::{SeedableRng, rngs::StdRng};
use std::time::Duration;

use super::devp2p::key;
use crate::script::{Script, start};

const WAKU: Capability = Capability::from_static("waku", 0);

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn local() -> Local {
    let offered = vec![Offered { capability: WAKU, length: 128 }];
    Local { key: key(2), client_id: "fuzzed".into(), offered, listen_port: 0 }
}

/// The session under test, and what is checked of it whatever is said.
struct Subject {
    session: Session,
    now: Now,
    established: bool,
    closed: bool,
}

impl Subject {
    fn new(session: Session) -> Self {
        Self { session, now: start(), established: false, closed: false }
    }

    fn hears(&mut self, bytes: &[u8]) {
        self.session.receive(self.now, bytes);
        self.check();
    }

    fn passes(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.session.tick(self.now);
        self.check();
    }

    /// Nothing but `Closed` before `Established`, nothing after `Closed`.
    fn check(&mut self) {
        while self.session.next_output().is_some() {}
        while let Some(event) = self.session.next_event() {
            assert!(!self.closed, "{event:?} after the close");
            match event {
                SessionEvent::Established(_) => assert!(!std::mem::replace(&mut self.established, true)),
                SessionEvent::Packet { .. } => assert!(self.established),
                SessionEvent::Closed(_) => self.closed = true,
            }
        }
        assert_eq!(self.closed, self.session.is_closed());
    }
}

/// Bytes off the wire, cut anywhere, to either role.
pub fn bytes(input: &[u8]) {
    let mut script = Script::new(input);
    let remote = key(1).public();
    let session = match script.flag() {
        true => Session::initiate(&local(), remote, &mut rng(1), start()),
        false => Session::respond(&local(), &mut rng(1), start()),
    };
    let mut subject = Subject::new(session);
    while !script.is_over() && !subject.closed {
        match script.one_of(8) {
            0 => subject.passes(Duration::from_millis(script.u16().into())),
            _ => subject.hears(script.chunk()),
        }
    }
}

/// Messages under the right MAC, to either role, before and after Hello; compressed or not as the script says.
pub fn frames(input: &[u8]) {
    let mut script = Script::new(input);
    let (mut subject, mut sealer) = if script.flag() { dialled() } else { answered() };
    let (polite, version) = (script.flag(), 4 + u32::from(script.one_of(2)));
    if polite {
        let hello = Hello {
            p2p_version: version,
            client_id: "puppet".into(),
            capabilities: vec![WAKU],
            listen_port: 0,
            key: key(1).public(),
        };
        say(&mut subject, &mut sealer, 0, &hello.encode());
        assert!(subject.established);
    }
    while !script.is_over() && !subject.closed {
        one_step(&mut script, &mut subject, &mut sealer);
    }
}

fn one_step(script: &mut Script<'_>, subject: &mut Subject, sealer: &mut Sealer) {
    match script.one_of(8) {
        0 => subject.passes(Duration::from_millis(script.u16().into())),
        1 => subject.hears(script.chunk()),
        2 => {
            let packet = Packet::new(WAKU, script.byte(), script.bytes());
            let _ = subject.session.send(subject.now, &packet);
            subject.check();
        }
        3 => {
            let code = script.u64();
            say(subject, sealer, code, script.chunk());
        }
        4 => {
            let code = script.byte().into();
            let block = snap::raw::Encoder::new().compress_vec(script.chunk()).expect("below 4 GiB");
            say(subject, sealer, code, &block);
        }
        _ => {
            let code = script.byte().into();
            say(subject, sealer, code, script.chunk());
        }
    }
}

fn say(subject: &mut Subject, sealer: &mut Sealer, code: u64, body: &[u8]) {
    let frame = sealer.seal(code, body).expect("a script is shorter than a frame");
    subject.hears(&frame);
}

/// A session that dialled us, encrypted.
fn dialled() -> (Subject, Sealer) {
    let mut session = Session::initiate(&local(), key(1).public(), &mut rng(1), start());
    let auth = session.next_output().expect("the auth is sent first");
    let accepted = AuthAwaited::new(&key(1), Material::draw(&mut rng(2))).accept(&auth).expect("its own auth");
    session.receive(start(), &accepted.ack);
    (Subject::new(session), accepted.secrets.into_codec().0)
}

/// A session that we dialled, encrypted.
fn answered() -> (Subject, Sealer) {
    let mut session = Session::respond(&local(), &mut rng(1), start());
    let (sent, auth) = AuthSent::start(&key(1), &local().key.public(), Material::draw(&mut rng(2)));
    session.receive(start(), &auth);
    let ack = session.next_output().expect("a right auth is answered");
    let secrets = sent.finish(&ack).expect("its own ack");
    (Subject::new(session), secrets.into_codec().0)
}
