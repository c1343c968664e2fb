//! The node core: connections, Statuses, packets of several peers, posts and time, in any order.

use std::{collections::HashSet, net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use devp2p::{ConnId, NodeId, Packet, clock::Now};
use rand::{SeedableRng, rngs::StdRng};
use waku0::{
    Envelope, EnvelopeHash, Pow, Settings, Topic,
    interest::Interest,
    limits::{Flow, Rates},
    node::{Action, Node},
    packet::{Code, MAX_SENT_BODY, messages},
    peer::Remote,
    pool::PoolLimits,
    settings::Change,
    status::{RateLimits, StatusOptions},
    version::Version,
};

use crate::script::{START_SECS, Script, start};

/// Connections at a time.
const CONNS: u8 = 4;

/// What one call may bring about: a pool of [`SMALL_POOL`] to each connection, one by one, and some.
const MAX_ACTIONS: usize = 1_024;

/// Envelopes in the pool, so that a script can fill it.
const SMALL_POOL: usize = 16;

struct World {
    node: Node,
    now: Now,
    /// The connection in each place, if there is one.
    conns: [Option<ConnId>; CONNS as usize],
    /// Connections that take nothing.
    full: HashSet<ConnId>,
    /// What they did not take: it is sent again as it was made.
    refused: HashSet<Bytes>,
    next: u64,
    delivered: HashSet<EnvelopeHash>,
    /// Envelopes made so far, to be sent again.
    made: Vec<Arc<Envelope>>,
}

/// Each envelope is delivered once; nothing is done with a connection that is over; what is sent can be read, and is not
/// expired.
pub fn node(input: &[u8]) {
    let mut script = Script::new(input);
    let settings = settings(&mut script);
    let mut world = World {
        node: Node::new(settings, start(), &mut StdRng::seed_from_u64(1)),
        now: start(),
        conns: [None; CONNS as usize],
        full: HashSet::new(),
        refused: HashSet::new(),
        next: 0,
        delivered: HashSet::new(),
        made: Vec::new(),
    };
    while !script.is_over() {
        step(&mut script, &mut world);
        world.act();
    }
}

fn settings(script: &mut Script<'_>) -> Settings {
    Settings {
        min_pow: pow(script),
        interest: interest(script),
        light: script.one_of(8) == 1,
        confirmations: script.flag(),
        rates: rates(script),
        pool: PoolLimits { max_bytes: 1 << 20, max_envelopes: SMALL_POOL },
        ..Settings::default()
    }
}

fn step(script: &mut Script<'_>, world: &mut World) {
    let place = usize::from(script.one_of(CONNS));
    match script.one_of(14) {
        0 => world.connect(place),
        1 => world.disconnect(place),
        2 => world.receive(place, Code::Status.number(), options(script).encode_status(version_of(place))),
        3 => {
            for (code, body) in options(script).changes(version_of(place).status_shape()) {
                world.receive(place, code.number(), body);
            }
        }
        4 => world.pass(Duration::from_millis(u64::from(script.byte()) * 20)),
        5 => world.toggle(place),
        6 => {
            let _ = world.node.post(world.now, world.envelope(script));
        }
        7 => {
            let code = script.byte();
            world.receive(place, code, script.bytes());
        }
        8 => world.again(script, place),
        9 => world.node.change(world.now, change(script)),
        10 => {
            if let Some(conn) = world.conns[place] {
                world.node.trust(world.now, conn, script.flag());
            }
        }
        _ => {
            let shared: Vec<_> = (0..=script.one_of(4)).map(|_| Arc::new(world.envelope(script))).collect();
            for body in messages::encode(&shared) {
                world.receive(place, Code::Messages.number(), body);
            }
            world.made.extend(shared);
        }
    }
}

impl World {
    fn connect(&mut self, place: usize) {
        self.disconnect(place);
        self.next += 1;
        let conn = ConnId(self.next);
        self.conns[place] = Some(conn);
        // Two of the places share an address.
        let host = u8::try_from(place).unwrap_or_default();
        let ip = Ipv4Addr::new(192, 0, 2, host / 2).into();
        let remote = Remote::new(ip, NodeId::from_bytes([host; 32]));
        self.node.connected(self.now, conn, remote, version_of(place));
    }

    fn disconnect(&mut self, place: usize) {
        if let Some(conn) = self.conns[place].take() {
            self.node.disconnected(self.now, conn);
        }
    }

    fn receive(&mut self, place: usize, code: u8, body: Bytes) {
        if let Some(conn) = self.conns[place] {
            self.node.receive(self.now, conn, code, body);
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.node.tick(self.now);
        self.act();
        assert!(self.node.wake_at() > self.now.instant, "a tick leaves nothing due");
    }

    fn toggle(&mut self, place: usize) {
        let Some(conn) = self.conns[place] else { return };
        if !self.full.remove(&conn) {
            self.full.insert(conn);
        }
    }

    fn again(&mut self, script: &mut Script<'_>, place: usize) {
        let n = usize::from(script.byte());
        let Some(envelope) = self.made.get(n % self.made.len().max(1)).cloned() else { return };
        for body in messages::encode(&[envelope]) {
            self.receive(place, Code::Messages.number(), body);
        }
    }

    fn envelope(&self, script: &mut Script<'_>) -> Envelope {
        let sent = self.now.unix_secs() + u64::from(script.one_of(32)) - 8;
        let ttl = u32::from(script.byte());
        let expiry = u32::try_from(sent).unwrap_or(START_SECS) + ttl;
        let topic = Topic([script.byte(); 4]);
        let data = vec![script.byte(); usize::from(script.byte())];
        Envelope::new(expiry, ttl, topic, data.into(), script.byte().into()).expect("sent after 1970")
    }

    fn act(&mut self) {
        for n in 0.. {
            let Some(action) = self.node.next_action() else { return };
            assert!(n < MAX_ACTIONS, "no end of actions");
            match action {
                Action::Send { to, packet } if self.full.contains(&to) => {
                    self.refused.insert(packet.body.plain().clone());
                    self.node.stalled(self.now, to, packet);
                }
                Action::Send { to, packet } => self.check_sent(to, &packet),
                Action::Disconnect { conn, .. } => self.over(conn),
                Action::Deliver { envelope, .. } => assert!(self.delivered.insert(envelope.hash()), "delivered twice"),
                _ => {}
            }
        }
    }

    fn over(&mut self, conn: ConnId) {
        for place in &mut self.conns {
            if *place == Some(conn) {
                *place = None;
            }
        }
        self.node.disconnected(self.now, conn);
    }

    fn check_sent(&self, to: ConnId, packet: &Packet) {
        assert!(self.conns.contains(&Some(to)), "sent to a connection that is over");
        assert!(packet.body.plain().len() <= MAX_SENT_BODY);
        if packet.code == Code::Messages.number() && !self.refused.contains(packet.body.plain()) {
            let items = messages::decode(packet.body.plain()).expect("our own body");
            for item in items {
                let envelope = item.expect("our own list").expect("our own envelope");
                assert!(u64::from(envelope.expiry()) >= self.now.unix_secs(), "expired");
            }
        }
    }
}

/// Each place has a version, so that all meet.
fn version_of(place: usize) -> Version {
    Version::ALL[place % Version::ALL.len()]
}

fn interest(script: &mut Script<'_>) -> Interest {
    match script.one_of(3) {
        0 => Interest::topics(vec![Topic([script.byte(); 4])]).expect("one topic"),
        _ => Interest::EVERYTHING,
    }
}

fn rates(script: &mut Script<'_>) -> Rates {
    let mut flow = || Flow { packets: u32::from(script.one_of(8)) * 10, bytes: u64::from(script.one_of(4)) * 5_000 };
    let (peer, ip) = (flow(), flow());
    Rates { peer, ip, topic: u32::from(script.one_of(8)) * 10, tolerance: script.byte().into() }
}

fn change(script: &mut Script<'_>) -> Change {
    match script.one_of(5) {
        0 => Change::MinPow(pow(script)),
        1 => Change::Interest(interest(script)),
        2 => Change::Light(script.flag()),
        3 => Change::Confirmations(script.flag()),
        _ => Change::Rates(rates(script)),
    }
}

fn pow(script: &mut Script<'_>) -> Pow {
    let bits = script.one_of(4);
    Pow::new([0.0, 0.000_002, 0.002, 0.2][usize::from(bits)]).expect("not negative")
}

fn options(script: &mut Script<'_>) -> StatusOptions {
    let mut some = |wanted: u8| script.one_of(4) < wanted;
    let (with_pow, light, confirmations, limits, topics) = (some(2), some(1), some(1), some(1), some(1));
    StatusOptions {
        pow: with_pow.then(|| pow(script)),
        bloom: None,
        light: light.then(|| script.flag()),
        confirmations: confirmations.then(|| script.flag()),
        rate_limits: limits.then(|| RateLimits {
            ip: script.byte().into(),
            peer: script.byte().into(),
            topic: script.byte().into(),
        }),
        topics: topics.then(|| (0..script.one_of(4)).map(|_| Topic([script.byte(); 4])).collect()),
        byte_limits: limits.then(|| RateLimits { ip: 0, peer: u64::from(script.byte()) * 16, topic: 0 }),
    }
}
