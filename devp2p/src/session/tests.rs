//! Frames that only a broken or hostile peer makes: their content is not what our own sealer would write.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::clock;
use crate::fixtures;
use crate::frame::FrameError;

const WAKU: Capability = Capability::from_static("waku", 0);

/// A running session, and the sealer of its peer.
fn running(p2p_version: u32) -> (Session, Sealer) {
    let (mut rng, now) = (StdRng::seed_from_u64(1), clock::now());
    let ours = NodeKey::generate(&mut rng);
    let theirs = NodeKey::generate(&mut rng);
    let offered = vec![Offered { capability: WAKU, length: 128 }];
    let local = Local { key: ours.clone(), client_id: "test".into(), offered, listen_port: 0 };
    let mut session = Session::respond(&local, &mut rng, now);
    let (state, auth) = AuthSent::start(&theirs, &ours.public(), Material::draw(&mut rng));
    session.receive(now, &auth);
    let ack = session.next_output().unwrap();
    let (mut sealer, _) = state.finish(&ack).unwrap().into_codec();
    let hello =
        Hello { p2p_version, client_id: "peer".into(), capabilities: vec![WAKU], listen_port: 0, key: theirs.public() };
    session.receive(now, &sealer.seal(HELLO, &hello.encode()).unwrap());
    assert!(matches!(session.next_event(), Some(SessionEvent::Established(_))));
    while session.next_output().is_some() {}
    (session, sealer)
}

/// What a running session makes of one frame: nothing, or an event.
fn outcome(p2p_version: u32, content: &[u8]) -> Option<SessionEvent> {
    let (mut session, mut sealer) = running(p2p_version);
    session.receive(clock::now(), &sealer.seal_parts(content, &[]).unwrap());
    session.next_event()
}

fn closed(fault: impl Into<Fault>) -> Option<SessionEvent> {
    Some(SessionEvent::Closed(CloseCause::Fault(fault.into())))
}

#[test]
fn h10_an_empty_frame_closes() {
    assert_eq!(outcome(4, &[]), closed(FrameError::Empty));
}

#[test]
fn thunks_are_ignored_or_close() {
    let thunks = fixtures::json("rlpx/thunks.json");
    let thunks = thunks.as_object().unwrap();
    assert_eq!(thunks.len(), 12);
    for (name, thunk) in thunks {
        let content = hex::decode(thunk["payload"].as_str().unwrap()).unwrap();
        let expected = match name.as_str() {
            // Some clients send pings and pongs without a body.
            "Invalid list when decoding for object" => None,
            // Reserved codes of the base protocol are dropped, whatever follows.
            "Message id that is not supported" => None,
            "Message id that is bigger than int32" => closed(Fault::UnknownCode(0x8888_8888_8888_8888)),
            "Message id that is negative" => closed(Fault::UnknownCode(0x8888_8888)),
            // These are codes of eth; here 0x20 is code 16 of waku, and its body is for that protocol to judge.
            name if name.starts_with("No Hash nor Status") => {
                let body = Bytes::copy_from_slice(&content[1..]);
                Some(SessionEvent::Packet { capability: WAKU, code: 16, body })
            }
            "Listing elements when no data" | "Listing elements when invalid length" => {
                Some(SessionEvent::Closed(CloseCause::RemoteUnreadable))
            }
            // A bare number is a form in the field; 10 is "connected to self".
            "Listing elements when not a list" => {
                Some(SessionEvent::Closed(CloseCause::Remote(DisconnectReason::ConnectedToSelf)))
            }
            // A second Hello changes nothing.
            name if name.starts_with("devp2p hello packet version 22") => None,
            name => panic!("no expectation for {name}"),
        };
        assert_eq!(outcome(4, &content), expected, "{name}");
    }
}

/// The same Hello as the first message is taken: further elements and the code `00` are let pass.
#[test]
fn the_hello_thunk_is_a_hello() {
    let thunks = fixtures::json("rlpx/thunks.json");
    let thunks = thunks.as_object().unwrap();
    let (_, thunk) = thunks.iter().find(|(name, _)| name.starts_with("devp2p hello")).unwrap();
    let content = hex::decode(thunk["payload"].as_str().unwrap()).unwrap();
    let hello = Hello::decode(&content[1..]).unwrap();
    assert_eq!((hello.p2p_version, hello.listen_port), (55, 9999));
    assert_eq!(hello.client_id, "kneth/v0.91/plan9");
    assert_eq!(hello.capabilities, [Capability::from_static("eth", 61), Capability::from_static("mork", 22)]);
}

#[test]
fn a_code_that_is_no_number_closes() {
    for content in [&[0xc0][..], &[0x82, 0x00, 0x10], &[0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[0x81, 0x05], &[0x83, 0x01]]
    {
        assert_eq!(outcome(4, content), closed(FrameError::Code), "{content:02x?}");
    }
}

#[test]
fn h14_a_snappy_block_is_judged_by_its_claim_before_anything_is_allocated() {
    // A first packet may be shorter than the later ones.
    let (mut session, mut sealer) = running(5);
    let now = clock::now();
    session.receive(now, &sealer.seal(16, &[0x01, 0x00, 0xc0]).unwrap());
    assert!(matches!(session.next_event(), Some(SessionEvent::Packet { .. })));
    // 4 GiB - 1.
    let mut block = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    block.resize(4096, 0);
    session.receive(now, &sealer.seal(16, &block).unwrap());
    let fault = Fault::TooLarge { bytes: 0xffff_ffff, limit: MAX_MESSAGE_BYTES };
    assert_eq!(session.next_event(), closed(fault));
}

#[test]
fn h15_malformed_snappy_closes() {
    let blocks: [&[u8]; 6] = [
        // Copy with offset 0; copy from before the start; a literal cut off; a length of ten bytes; nothing; less than claimed.
        &[0x08, 0x00, 0xc0, 0x01, 0x00],
        &[0x08, 0x00, 0xc0, 0x01, 0x09],
        &[0x08, 0x1c, 0xc0],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[],
        &[0x08, 0x00, 0xc0],
    ];
    for block in blocks {
        let content = [&[0x10], block].concat();
        assert_eq!(outcome(5, &content), closed(Fault::Snappy), "{block:02x?}");
    }
}

#[test]
fn the_first_packet_is_limited_to_what_a_status_needs() {
    let body = vec![1; MAX_FIRST_MESSAGE_BYTES + 1];
    let fault = Fault::TooLarge { bytes: body.len(), limit: MAX_FIRST_MESSAGE_BYTES };
    assert_eq!(outcome(4, &[&[0x10], &body[..]].concat()), closed(fault));
    let fits = outcome(4, &[&[0x10], &body[1..]].concat());
    assert!(matches!(fits, Some(SessionEvent::Packet { code: 0, .. })));
}

#[test]
fn h19_pings_without_reading_get_one_answer() {
    let (mut session, mut sealer) = running(5);
    for _ in 0..100_000 {
        session.receive(clock::now(), &sealer.seal(PING, &[0x01, 0x00, 0xc0]).unwrap());
    }
    assert_eq!(std::iter::from_fn(|| session.next_output()).count(), 1);
    session.receive(clock::now(), &sealer.seal(PING, &[0x01, 0x00, 0xc0]).unwrap());
    assert_eq!(std::iter::from_fn(|| session.next_output()).count(), 1, "read, so answered again");
}

#[test]
fn output_is_bounded() {
    let (mut session, _) = running(4);
    let packet = Packet::new(WAKU, 1, vec![0; 1024 * 1024]);
    let sent = (0..100).take_while(|_| session.send(clock::now(), &packet).is_ok()).count();
    assert_eq!(sent, MAX_OUTPUT_BYTES / (1024 * 1024));
    assert_eq!(session.send(clock::now(), &packet), Err(SendError::Full));
    while session.next_output().is_some() {}
    assert_eq!(session.send(clock::now(), &packet), Ok(()));
}

#[test]
fn send_refuses_what_cannot_go() {
    let (mut session, _) = running(5);
    let send = |session: &mut Session, capability, code, bytes| {
        session.send(clock::now(), &Packet::new(capability, code, vec![0; bytes]))
    };
    assert_eq!(send(&mut session, Capability::from_static("waku", 1), 0, 1), Err(SendError::NotShared));
    assert_eq!(send(&mut session, WAKU, 128, 1), Err(SendError::NotShared));
    assert_eq!(send(&mut session, WAKU, 1, MAX_MESSAGE_BYTES + 1), Err(SendError::TooLarge));
    assert_eq!(send(&mut session, WAKU, 127, 1), Ok(()));
    session.disconnect(clock::now(), DisconnectReason::Requested);
    assert_eq!(send(&mut session, WAKU, 1, 1), Err(SendError::NotRunning));
}
