//! Scripts for one connection: sessions joined by a queue, and hostile peers, in simulated time.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::time::Duration;

use devp2p::frame::FrameError;
use devp2p::hello::HelloError;
use devp2p::session::{Fault, PING_INTERVAL, READ_TIMEOUT};
use devp2p::{Capability, CloseCause, DisconnectReason, Packet, Session, SessionEvent};
use proptest::prelude::*;
use support::{Link, Puppet, SHH6, WAKU0, WAKU1, key, local, plain, rng, snappy, start};

fn established(capabilities: &[Capability]) -> Link {
    let mut link = Link::new(&local(1, capabilities), &local(2, capabilities));
    link.carry(usize::MAX);
    assert!(matches!(link.a_saw.remove(0), SessionEvent::Established(_)));
    assert!(matches!(link.b_saw.remove(0), SessionEvent::Established(_)));
    link
}

fn packet_event(capability: Capability, code: u8, body: &[u8]) -> SessionEvent {
    SessionEvent::Packet { capability, code, body: body.to_vec().into() }
}

fn fault(fault: impl Into<Fault>) -> Option<SessionEvent> {
    Some(SessionEvent::Closed(CloseCause::Fault(fault.into())))
}

/// A session that waits for the Hello of a puppet.
fn greeting() -> (Session, Puppet) {
    let ours = local(1, &[WAKU0]);
    let mut session = Session::respond(&ours, &mut rng(1), start());
    let puppet = Puppet::dials(&mut session, &ours, 2, start());
    (session, puppet)
}

/// A running session and its puppet, whose Hello says this version.
fn running(p2p_version: u32) -> (Session, Puppet) {
    let (mut session, mut puppet) = greeting();
    let hello = puppet.hello(p2p_version, &[WAKU0]).encode();
    session.receive(start(), &puppet.frame(0, &hello));
    assert!(matches!(session.next_event(), Some(SessionEvent::Established(_))));
    assert_eq!(puppet.hears(&mut session).len(), 1, "our Hello");
    (session, puppet)
}

#[test]
fn handshake_and_hello_establish_both_sides() {
    let mut link = Link::new(&local(1, &[WAKU0, SHH6]), &local(2, &[WAKU1, WAKU0]));
    link.carry(usize::MAX);
    let ([SessionEvent::Established(b)], [SessionEvent::Established(a)]) = (&link.a_saw[..], &link.b_saw[..]) else {
        panic!("{:?} {:?}", link.a_saw, link.b_saw)
    };
    assert_eq!((a.key, b.key), (key(1).public(), key(2).public()));
    assert_eq!((&a.client_id[..], &b.client_id[..]), ("node-1", "node-2"));
    assert_eq!((&a.offered[..], &b.offered[..]), (&[WAKU0, SHH6][..], &[WAKU1, WAKU0][..]));
    assert_eq!((&a.shared[..], &b.shared[..]), (&[WAKU0][..], &[WAKU0][..]));
    assert_eq!(a.p2p_version, 5);
}

#[test]
fn packets_of_several_capabilities_cross() {
    let mut link = established(&[WAKU0, SHH6]);
    let long = vec![9; 100_000];
    link.a.send(link.now, &Packet::new(WAKU0, 0, b"status".to_vec())).unwrap();
    link.a.send(link.now, &Packet::new(SHH6, 127, long.clone())).unwrap();
    link.b.send(link.now, &Packet::new(WAKU0, 127, Vec::new())).unwrap();
    link.carry(usize::MAX);
    assert_eq!(link.b_saw, [packet_event(WAKU0, 0, b"status"), packet_event(SHH6, 127, &long)]);
    assert_eq!(link.a_saw, [packet_event(WAKU0, 127, b"")]);
}

#[test]
fn everything_may_be_cut_at_every_byte() {
    let mut link = Link::new(&local(1, &[WAKU0]), &local(2, &[WAKU0]));
    link.carry(1);
    link.a.send(link.now, &Packet::new(WAKU0, 1, b"hello".to_vec())).unwrap();
    link.carry(1);
    assert_eq!(link.b_saw.last(), Some(&packet_event(WAKU0, 1, b"hello")));
}

#[test]
fn version_4_runs_without_snappy() {
    let (mut session, mut puppet) = running(4);
    session.send(start(), &Packet::new(WAKU0, 1, b"plain".to_vec())).unwrap();
    assert_eq!(puppet.hears(&mut session)[0].data, b"plain"[..]);
    session.receive(start(), &puppet.frame(17, b"plain too"));
    assert_eq!(session.next_event(), Some(packet_event(WAKU0, 1, b"plain too")));
    session.receive(start(), &puppet.frame(2, &[0xc0]));
    assert_eq!(puppet.hears(&mut session)[0].data, [0xc0][..]);
}

#[test]
fn version_5_runs_with_snappy() {
    for version in [5, 55] {
        let (mut session, mut puppet) = running(version);
        session.send(start(), &Packet::new(WAKU0, 1, vec![7; 1000])).unwrap();
        let frame = puppet.hears(&mut session).remove(0);
        assert_eq!((frame.code, plain(&frame.data, true)), (17, vec![7; 1000]));
        assert!(frame.data.len() < 100);
    }
}

#[test]
fn pings_keep_two_quiet_sides_connected() {
    let mut link = established(&[WAKU0]);
    link.pass(Duration::from_secs(3600));
    assert_eq!((link.a_saw.len(), link.b_saw.len()), (0, 0));
    assert!(!link.a.is_closed() && !link.b.is_closed());
}

#[test]
fn a_ping_goes_out_every_15_s_and_each_is_answered() {
    let (mut session, mut puppet) = running(5);
    let mut now = start();
    for _ in 0..5 {
        assert_eq!(session.wake_at(), now.instant + PING_INTERVAL);
        now = now.after(PING_INTERVAL);
        session.tick(now);
        let ping = puppet.hears(&mut session).remove(0);
        assert_eq!((ping.code, &ping.data[..]), (2, &[0x01, 0x00, 0xc0][..]));
        session.receive(now, &puppet.frame(2, &snappy(&[0xc0])));
        assert_eq!(puppet.hears(&mut session)[0].code, 3);
    }
    assert_eq!(session.next_event(), None);
}

#[test]
fn silence_ends_in_a_timeout() {
    let (mut session, mut puppet) = running(5);
    session.tick(start().after(READ_TIMEOUT - Duration::from_millis(1)));
    assert_eq!(session.next_event(), None);
    session.tick(start().after(READ_TIMEOUT));
    assert_eq!(session.next_event(), Some(SessionEvent::Closed(CloseCause::ReadTimeout)));
    assert_eq!(puppet.hears_disconnect(&mut session, true), Some(DisconnectReason::ReadTimeout));
}

#[test]
fn h09_a_frame_that_trickles_does_not_hold_off_the_timeout() {
    let (mut session, mut puppet) = running(5);
    let frame = puppet.frame(17, &snappy(&vec![0; 10_000]));
    let mut now = start();
    for byte in frame.chunks(1).take(31) {
        session.receive(now, byte);
        session.tick(now);
        now = now.after(Duration::from_secs(1));
    }
    assert_eq!(session.next_event(), Some(SessionEvent::Closed(CloseCause::ReadTimeout)));
}

/// A cable that carries one way, and one that carries none; the stream itself never ends.
#[test]
fn f12_who_is_not_heard_any_more_is_given_up_within_half_a_minute() {
    let mut link = established(&[WAKU0]);
    link.pass(Duration::from_secs(7));
    link.a_is_deaf = true;
    link.pass(READ_TIMEOUT - Duration::from_secs(8));
    assert_eq!((link.a_saw.len(), link.b_saw.len()), (0, 0));
    link.pass(Duration::from_secs(1));
    assert_eq!(link.a_saw, [SessionEvent::Closed(CloseCause::ReadTimeout)]);
    assert_eq!(link.b_saw, [SessionEvent::Closed(CloseCause::Remote(DisconnectReason::ReadTimeout))]);

    let mut link = established(&[WAKU0]);
    (link.a_is_deaf, link.b_is_deaf) = (true, true);
    link.pass(READ_TIMEOUT);
    assert_eq!(link.a_saw, [SessionEvent::Closed(CloseCause::ReadTimeout)]);
    assert_eq!(link.b_saw, link.a_saw);
}

/// The process was stopped: what the peer has said since is read after the tick that is due.
#[test]
fn f09_who_sleeps_over_the_deadline_listens_before_it_judges() {
    let (mut session, mut puppet) = running(5);
    let awake = start().after(READ_TIMEOUT + Duration::from_secs(12));
    session.tick(awake);
    assert_eq!(session.next_event(), None);
    assert_eq!(puppet.hears(&mut session).len(), 1, "one ping for all that were due");
    session.receive(awake, &puppet.frame(2, &snappy(&[0xc0])));
    let later = awake.after(PING_INTERVAL);
    session.tick(later);
    assert_eq!(session.next_event(), None);
    // A peer that was silent all the time has a second more.
    let (mut session, _) = running(5);
    session.tick(awake);
    assert_eq!(session.wake_at(), awake.instant + Duration::from_secs(1));
    session.tick(awake.after(Duration::from_secs(1)));
    assert_eq!(session.next_event(), Some(SessionEvent::Closed(CloseCause::ReadTimeout)));
}

#[test]
fn time_in_which_we_did_not_read_is_not_the_peers() {
    let (mut session, _) = running(5);
    let later = start().after(READ_TIMEOUT * 2);
    session.resume(later);
    session.tick(later);
    assert_eq!(session.next_event(), None);
}

#[test]
fn h08_a_flipped_bit_closes_without_a_word() {
    let length = running(5).1.frame(17, b"\x03\x08abc").len();
    for at in 0..length {
        let (mut session, mut puppet) = running(5);
        let mut frame = puppet.frame(17, b"\x03\x08abc").to_vec();
        frame[at] ^= 0x10;
        session.receive(start(), &frame);
        let expected = if at < 32 { FrameError::HeaderMac } else { FrameError::ContentMac };
        assert_eq!(session.next_event(), fault(expected), "byte {at}");
        assert!(puppet.hears(&mut session).is_empty());
    }
}

#[test]
fn the_wrong_key_is_told_so() {
    let (mut session, mut puppet) = greeting();
    puppet.key = key(9);
    let hello = puppet.hello(5, &[WAKU0]).encode();
    session.receive(start(), &puppet.frame(0, &hello));
    assert_eq!(session.next_event(), fault(Fault::UnexpectedIdentity));
    assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::UnexpectedIdentity));
}

#[test]
fn no_key_is_an_invalid_identity() {
    let (mut session, mut puppet) = greeting();
    let mut hello = puppet.hello(5, &[WAKU0]).encode();
    let at = hello.len() - 64;
    hello[at..].fill(0);
    session.receive(start(), &puppet.frame(0, &hello));
    assert_eq!(session.next_event(), fault(HelloError::InvalidIdentity));
    assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::InvalidIdentity));
}

#[test]
fn nothing_shared_is_a_useless_peer() {
    for capabilities in [&[][..], &[SHH6, WAKU1]] {
        let (mut session, mut puppet) = greeting();
        let hello = puppet.hello(5, capabilities).encode();
        session.receive(start(), &puppet.frame(0, &hello));
        assert_eq!(session.next_event(), fault(Fault::NothingShared));
        assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::UselessPeer));
    }
}

#[test]
fn our_own_key_is_refused_in_both_roles() {
    let ours = local(1, &[WAKU0]);
    let mut session = Session::respond(&ours, &mut rng(1), start());
    let mut puppet = Puppet::dials(&mut session, &ours, 1, start());
    assert_eq!(session.next_event(), fault(Fault::ConnectedToSelf));
    assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::ConnectedToSelf));
    let mut session = Session::initiate(&ours, key(1).public(), &mut rng(1), start());
    let mut puppet = Puppet::answers(&mut session, 1, start());
    assert_eq!(session.next_event(), fault(Fault::ConnectedToSelf));
    assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::ConnectedToSelf));
}

#[test]
fn h12_messages_before_hello_close() {
    for code in [2, 3, 4, 16, 100_000] {
        let (mut session, mut puppet) = greeting();
        session.receive(start(), &puppet.frame(code, &[0xc0]));
        assert_eq!(session.next_event(), fault(Fault::BeforeHello(code)));
        assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::ProtocolBreach));
    }
}

#[test]
fn h12_a_second_hello_changes_nothing() {
    let (mut session, mut puppet) = running(5);
    let hello = puppet.hello(4, &[]).encode();
    session.receive(start(), &puppet.frame(0, &snappy(&hello)));
    session.receive(start(), &puppet.frame(16, &snappy(b"a status")));
    assert_eq!(session.next_event(), Some(packet_event(WAKU0, 0, b"a status")));
    session.receive(start(), &puppet.frame(0, &snappy(&hello)));
    session.receive(start(), &puppet.frame(17, &snappy(b"still")));
    assert_eq!(session.next_event(), Some(packet_event(WAKU0, 1, b"still")), "nor does one after the first packet");
}

#[test]
fn h11_a_long_hello_is_refused_by_its_header() {
    let (mut session, mut puppet) = greeting();
    session.receive(start(), &puppet.frame(0, &[0; 2049])[..32]);
    assert_eq!(session.next_event(), fault(FrameError::TooLarge { size: 2050, limit: 2049 }));
    assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::ProtocolBreach));
}

#[test]
fn h13_snappy_in_version_4_and_none_in_version_5_close() {
    let (mut session, mut puppet) = running(4);
    session.receive(start(), &puppet.frame(2, &snappy(&[0xc0])));
    assert!(matches!(session.next_event(), Some(SessionEvent::Closed(CloseCause::Fault(Fault::Ping(_))))));
    assert_eq!(puppet.hears_disconnect(&mut session, false), Some(DisconnectReason::ProtocolBreach));
    let (mut session, mut puppet) = running(5);
    session.receive(start(), &puppet.frame(2, &[0xc0]));
    assert_eq!(session.next_event(), fault(Fault::Snappy));
    assert_eq!(puppet.hears_disconnect(&mut session, true), Some(DisconnectReason::ProtocolBreach));
    // A packet in place of the ping. In version 4 compressed bytes are bytes like others, for the protocol to judge.
    let (mut session, mut puppet) = running(5);
    session.receive(start(), &puppet.frame(16, &[0xc1, 0x80]));
    assert_eq!(session.next_event(), fault(Fault::Snappy));
    let (mut session, mut puppet) = running(4);
    session.receive(start(), &puppet.frame(16, &snappy(&[0xc0])));
    assert_eq!(session.next_event(), Some(packet_event(WAKU0, 0, &snappy(&[0xc0]))));
}

#[test]
fn h20_every_form_of_disconnect_closes_cleanly() {
    let remote = CloseCause::Remote;
    let long = [&[0xe7, 0xa6][..], &[1; 38]].concat();
    let forms: [(&[u8], CloseCause); 6] = [
        (&[0xc1, 0x04], remote(DisconnectReason::TooManyPeers)),
        (&[0x04], remote(DisconnectReason::TooManyPeers)),
        (&[0xc0], remote(DisconnectReason::Requested)),
        (&[], remote(DisconnectReason::Requested)),
        (&[0xc2, 0x81, 0xfe], remote(DisconnectReason::Unknown(0xfe))),
        (&long, CloseCause::RemoteUnreadable),
    ];
    for (body, cause) in forms {
        let expected = Some(SessionEvent::Closed(cause));
        let (mut session, mut puppet) = greeting();
        session.receive(start(), &puppet.frame(1, body));
        assert_eq!(session.next_event(), expected, "before Hello: {body:02x?}");
        let (mut session, mut puppet) = running(5);
        session.receive(start(), &puppet.frame(1, &snappy(body)));
        assert_eq!(session.next_event(), expected, "compressed: {body:02x?}");
        let (mut session, mut puppet) = running(4);
        session.receive(start(), &puppet.frame(1, body));
        assert_eq!(session.next_event(), expected, "plain: {body:02x?}");
    }
    let (mut session, mut puppet) = running(5);
    session.receive(start(), &puppet.frame(1, &[0xc1, 0x08]));
    let quitting = SessionEvent::Closed(CloseCause::Remote(DisconnectReason::ClientQuitting));
    assert_eq!(session.next_event(), Some(quitting), "not compressed though it should be");
}

#[test]
fn h21_reserved_codes_are_dropped_and_foreign_ones_close() {
    let (mut session, mut puppet) = running(5);
    for code in 4..16 {
        session.receive(start(), &puppet.frame(code, b"whatever"));
    }
    assert_eq!(session.next_event(), None);
    for code in [16 + 128, 100_000, u64::MAX] {
        let (mut session, mut puppet) = running(5);
        session.receive(start(), &puppet.frame(code, &snappy(&[0xc0])));
        assert_eq!(session.next_event(), fault(Fault::UnknownCode(code)));
        assert_eq!(puppet.hears_disconnect(&mut session, true), Some(DisconnectReason::ProtocolBreach));
    }
}

#[test]
fn both_sides_know_why_it_ended() {
    let mut link = established(&[WAKU0]);
    link.a.send(link.now, &Packet::new(WAKU0, 1, b"last words".to_vec())).unwrap();
    link.a.disconnect(link.now, DisconnectReason::SubprotocolError);
    link.carry(usize::MAX);
    assert_eq!(link.a_saw, [SessionEvent::Closed(CloseCause::Local(DisconnectReason::SubprotocolError))]);
    let ended = SessionEvent::Closed(CloseCause::Remote(DisconnectReason::SubprotocolError));
    assert_eq!(link.b_saw, [packet_event(WAKU0, 1, b"last words"), ended]);
    link.a.disconnect(link.now, DisconnectReason::Requested);
    link.b.receive(link.now, &[0; 100]);
    assert_eq!((link.a.next_event(), link.b.next_event()), (None, None), "once is enough");
}

#[test]
fn a_held_hello_waits_for_admission() {
    let (ours, now) = (local(1, &[WAKU0]), start());
    let mut session = Session::respond(&ours, &mut rng(1), now);
    session.hold();
    assert_eq!(session.waiting_for_admission(), None);
    let mut puppet = Puppet::dials(&mut session, &ours, 2, now);
    let hello = puppet.hello(5, &[WAKU0]).encode();
    session.receive(now, &puppet.frame(0, &hello));
    assert_eq!(session.waiting_for_admission(), Some(key(2).public()));
    assert_eq!((puppet.hears(&mut session).len(), session.next_event()), (0, None));
    session.admit(now);
    assert_eq!(puppet.hears(&mut session)[0].code, 0);
    assert!(matches!(session.next_event(), Some(SessionEvent::Established(_))));
}

#[test]
fn a_held_peer_may_be_refused_instead_of_a_hello() {
    let (ours, now) = (local(1, &[WAKU0]), start());
    let mut session = Session::respond(&ours, &mut rng(1), now);
    session.hold();
    let mut puppet = Puppet::dials(&mut session, &ours, 2, now);
    session.disconnect(now, DisconnectReason::AlreadyConnected);
    let frames = puppet.hears(&mut session);
    assert_eq!((frames.len(), frames[0].code, &frames[0].data[..]), (1, 1, &[0xc1, 0x05][..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic_in_either_role(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..4),
        ticks in prop::collection::vec(0_u64..20, 4),
    ) {
        let ours = local(1, &[WAKU0]);
        let sessions = [
            Session::initiate(&ours, key(2).public(), &mut rng(1), start()),
            Session::respond(&ours, &mut rng(1), start()),
        ];
        for mut session in sessions {
            let mut now = start();
            for (chunk, wait) in chunks.iter().zip(&ticks) {
                session.receive(now, chunk);
                now = now.after(Duration::from_secs(*wait));
                session.tick(now);
            }
            let events: Vec<_> = std::iter::from_fn(|| session.next_event()).collect();
            prop_assert!(events.len() <= 1, "nothing but a close: {events:?}");
        }
    }

    #[test]
    fn arbitrary_frames_never_panic(
        p2p_version in 4_u32..6,
        frames in prop::collection::vec((0_u64..200, prop::collection::vec(any::<u8>(), 0..100)), 0..8),
        greet: bool,
    ) {
        let (mut session, mut puppet) = if greet { running(p2p_version) } else { greeting() };
        for (code, body) in frames {
            session.receive(start(), &puppet.frame(code, &body));
        }
        let events: Vec<_> = std::iter::from_fn(|| session.next_event()).collect();
        let closes = events.iter().filter(|event| matches!(event, SessionEvent::Closed(_))).count();
        prop_assert!(closes <= 1);
        if closes == 1 {
            prop_assert!(matches!(events.last(), Some(SessionEvent::Closed(_))), "a close is the last event");
        }
    }
}
