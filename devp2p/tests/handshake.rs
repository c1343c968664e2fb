//! How connections begin that begin badly: sessions and hostile peers before the secrets are agreed, in simulated time.

#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::time::Duration;

use devp2p::ecies::EciesError;
use devp2p::frame::FrameError;
use devp2p::handshake::HandshakeError;
use devp2p::session::{Fault, HANDSHAKE_TIMEOUT};
use devp2p::{CloseCause, Session, SessionEvent};
use support::{Link, Puppet, WAKU0, key, local, rng, start};

fn fault(fault: impl Into<Fault>) -> Option<SessionEvent> {
    Some(SessionEvent::Closed(CloseCause::Fault(fault.into())))
}

/// What comes of everything that cannot be decrypted, whatever is wrong with it.
fn not_decrypted() -> Option<SessionEvent> {
    fault(HandshakeError::Decrypt(EciesError))
}

/// An auth of node 2 for node 1.
fn auth(seed: u64) -> Vec<u8> {
    let mut session = Session::initiate(&local(2, &[WAKU0]), key(1).public(), &mut rng(seed), start());
    session.next_output().unwrap().to_vec()
}

/// What node 1 makes of an auth, and whether it says anything.
fn outcome(auth: &[u8]) -> (Option<SessionEvent>, bool) {
    let mut session = Session::respond(&local(1, &[WAKU0]), &mut rng(1), start());
    session.receive(start(), auth);
    (session.next_event(), session.next_output().is_some())
}

#[test]
fn h04_a_handshake_that_does_not_come_times_out() {
    for begun in [&[][..], &[0x01], &[0x01, 0xff, 0x04]] {
        let mut session = Session::respond(&local(1, &[WAKU0]), &mut rng(1), start());
        session.receive(start(), begun);
        assert_eq!(session.wake_at(), start().instant + HANDSHAKE_TIMEOUT);
        session.tick(start().after(HANDSHAKE_TIMEOUT));
        assert_eq!(session.next_event(), Some(SessionEvent::Closed(CloseCause::HandshakeTimeout)));
        assert_eq!(session.next_output(), None);
    }
    let ours = local(1, &[WAKU0]);
    let mut session = Session::respond(&ours, &mut rng(1), start());
    Puppet::dials(&mut session, &ours, 2, start());
    session.tick(start().after(HANDSHAKE_TIMEOUT));
    assert_eq!(session.next_event(), Some(SessionEvent::Closed(CloseCause::HandshakeTimeout)), "nor a Hello");
}

#[test]
fn h04_size_prefixes_out_of_bounds_close_at_once() {
    for prefix in [[0, 0], [0, 1], [0xff, 0xff]] {
        let mut session = Session::respond(&local(1, &[WAKU0]), &mut rng(1), start());
        session.receive(start(), &prefix);
        let size = 2 + usize::from(u16::from_be_bytes(prefix));
        assert_eq!(session.next_event(), fault(HandshakeError::PacketSize(size)));
    }
}

#[test]
fn h01_short_auths_and_acks_close() {
    for length in 0..98_u8 {
        let mut session = Session::respond(&local(1, &[WAKU0]), &mut rng(1), start());
        session.receive(start(), &[&[0, length][..], &vec![4; usize::from(length)]].concat());
        assert_eq!(session.next_event(), fault(HandshakeError::PacketSize(2 + usize::from(length))));
        assert_eq!(session.next_output(), None);

        let mut session = Session::initiate(&local(1, &[WAKU0]), key(2).public(), &mut rng(1), start());
        assert!(session.next_output().is_some(), "our auth");
        session.receive(start(), &[&[0, length][..], &vec![4; usize::from(length)]].concat());
        assert_eq!(session.next_event(), fault(HandshakeError::PacketSize(2 + usize::from(length))), "an ack");
        assert_eq!(session.next_output(), None);
    }
}

/// A dribble holds the handshake off no longer than silence does.
#[test]
fn h22_a_byte_every_four_seconds_ends_with_the_handshakes_time() {
    let mut session = Session::respond(&local(1, &[WAKU0]), &mut rng(1), start());
    let mut now = start();
    for byte in &auth(1)[..2] {
        session.receive(now, &[*byte]);
        session.tick(now);
        now = now.after(Duration::from_secs(4));
    }
    assert_eq!(session.next_event(), None, "four seconds");
    assert_eq!(session.wake_at(), start().instant + HANDSHAKE_TIMEOUT);
    session.tick(start().after(HANDSHAKE_TIMEOUT));
    assert_eq!(session.next_event(), Some(SessionEvent::Closed(CloseCause::HandshakeTimeout)));
}

/// The point stands behind the size; everything else is as it should be.
#[test]
fn h02_keys_off_the_curve_close_like_a_bad_tag() {
    let auth = auth(1);
    assert_eq!(outcome(&auth), (None, true));
    let with_point = |point: &[u8]| [&auth[..2], point, &auth[67..]].concat();
    let mut off_curve = auth[2..67].to_vec();
    off_curve[64] ^= 1;
    let zeros = [&[4][..], &[0; 64]].concat();
    let compressed = [&[2][..], &auth[3..67]].concat();
    for point in [&off_curve[..], &zeros, &compressed, &[0xff; 65]] {
        assert_eq!(outcome(&with_point(point)), (not_decrypted(), false), "{point:02x?}");
    }
    let mut tag = auth.clone();
    *tag.last_mut().unwrap() ^= 1;
    assert_eq!(outcome(&tag), (not_decrypted(), false));
}

/// Tags with one wrong bit, other nonces of the cipher, and tags of other packets.
#[test]
fn h03_ten_thousand_bad_tags_close_alike_and_nobody_is_told_which() {
    const TAG_BYTES: usize = 32;
    let (good, other) = (auth(1), auth(2));
    for number in 0..10_000 {
        let mut auth = good.clone();
        let tag = auth.len() - TAG_BYTES;
        match number % 3 {
            0 => auth[tag + number / 3 % TAG_BYTES] ^= 1 << (number % 8),
            1 => auth[67 + number / 3 % 16] ^= 1 << (number % 8),
            _ => auth[tag..].copy_from_slice(&other[other.len() - TAG_BYTES..]),
        }
        assert_eq!(outcome(&auth), (not_decrypted(), false), "{number}");
    }
    assert_eq!(outcome(&good), (None, true), "the right one is still taken");
}

#[test]
fn h03_a_tampered_auth_or_ack_closes_without_a_word() {
    for at in [2, 3, 70, 100, 300] {
        let mut link = Link::new(&local(1, &[WAKU0]), &local(2, &[WAKU0]));
        let mut auth = link.a.next_output().unwrap().to_vec();
        auth[at] ^= 1;
        link.b.receive(link.now, &auth);
        assert_eq!((link.b.next_event(), link.b.next_output()), (not_decrypted(), None), "auth, byte {at}");

        let mut link = Link::new(&local(1, &[WAKU0]), &local(2, &[WAKU0]));
        link.b.receive(link.now, &link.a.next_output().unwrap());
        let mut ack = link.b.next_output().unwrap().to_vec();
        ack[at] ^= 1;
        link.a.receive(link.now, &ack);
        assert_eq!((link.a.next_event(), link.a.next_output()), (not_decrypted(), None), "ack, byte {at}");
    }
}

#[test]
fn h07_a_replayed_auth_leads_to_nothing() {
    let (ours, now) = (local(1, &[WAKU0]), start());
    let mut victim = Session::initiate(&local(2, &[WAKU0]), key(1).public(), &mut rng(5), now);
    let auth = victim.next_output().unwrap();
    let mut first = Session::respond(&ours, &mut rng(6), now);
    first.receive(now, &auth);
    victim.receive(now, &first.next_output().unwrap());
    let hello = victim.next_output().unwrap();
    // The same auth and the same Hello again, to a new session of the same node.
    let mut second = Session::respond(&ours, &mut rng(7), now);
    second.receive(now, &auth);
    second.receive(now, &hello);
    assert_eq!(second.next_event(), fault(FrameError::HeaderMac));
}

#[test]
fn dialling_with_the_wrong_key_closes() {
    let now = start();
    let mut a = Session::initiate(&local(1, &[WAKU0]), key(9).public(), &mut rng(1), now);
    let mut b = Session::respond(&local(2, &[WAKU0]), &mut rng(2), now);
    b.receive(now, &a.next_output().unwrap());
    assert_eq!(b.next_event(), not_decrypted());
}
