//! Requests without measure or sense: what they are told, and that they cost no more than their bounds.

use super::*;

#[test]
fn h38_a_peer_has_one_answer_at_a_time_and_so_many_requests_a_second() {
    let archive = many(10, A, 10);
    let (mut server, now) = (Server::new(Settings::default()), start());
    (0..2).for_each(|_| server.asked(now, asker(1), ask(plain(&[A]))));
    let ends = &serve(&mut server, &archive, now)[&ConnId(1)].ends;
    assert!(matches!(&ends[..], [Completion::Failed { .. }, Completion::Done { .. }]), "{ends:?}");
    let mut answered = 0;
    for _ in 0..1_000 {
        server.asked(now, asker(1), ask(plain(&[A])));
        let sent = serve(&mut server, &archive, now);
        match &sent[&ConnId(1)].ends[..] {
            [Completion::Done { .. }] => answered += 1,
            [Completion::Failed { text, .. }] => assert_eq!(text, "rate limit exceeded"),
            other => panic!("{other:?}"),
        }
    }
    assert!(answered <= 5 * PEER_REQUESTS_PER_SEC, "{answered}");
    server.asked(now, asker(2), ask(plain(&[A])));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(2)].cursor(), None, "another peer is not held by it");
    server.asked(later(now, 10), asker(1), ask(plain(&[A])));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(1)].cursor(), None, "and it may ask again");
}

#[test]
fn who_has_read_a_completion_may_ask_before_it_is_known_to_be_sent() {
    let archive = many(2, A, 10);
    let (mut server, now) = (Server::new(Settings::default()), start());
    server.asked(now, asker(1), ask(plain(&[A])));
    let mut completions = Vec::new();
    while let Some(step) = server.next_step() {
        match step {
            Step::Page { ticket, page } => server.page(now, ticket, Ok(archive.page(&page, page.rows))),
            Step::Send { ticket: Some(ticket), code: Code::P2pRequestComplete, .. } => completions.push(ticket),
            Step::Send { ticket: Some(ticket), .. } => server.taken(now, ticket, true),
            _ => {}
        }
    }
    assert_eq!(completions.len(), 1, "the answer is whole, but nobody says that its end was sent");
    server.asked(now, asker(1), ask(plain(&[A])));
    assert_eq!(server.running(), 1);
    // The late word is of an answer that is over already.
    server.taken(now, completions[0], true);
    assert_eq!(server.running(), 1);
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(1)].cursor(), None);
    assert_eq!(server.running(), 0);
}

#[test]
fn h38_an_interval_between_requests_is_kept() {
    let archive = many(1, A, 10);
    let mut server = Server::new(Settings { interval: Duration::from_secs(5), ..Settings::default() });
    let start = start();
    for (secs, expected) in [(0, true), (4, false), (5, true), (9, false), (11, true)] {
        let now = later(start, secs);
        server.asked(now, asker(1), ask(plain(&[A])));
        let sent = serve(&mut server, &archive, now);
        assert_eq!(matches!(sent[&ConnId(1)].ends[..], [Completion::Done { .. }]), expected, "after {secs} s");
    }
}

#[test]
fn h38_answers_are_bounded_in_bytes_and_the_bytes_of_a_peer_and_an_address_too() {
    let archive = many(20, A, 1_000_000);
    let settings = Settings { peer_bytes_per_sec: 1 << 20, address_bytes_per_sec: 1 << 20, ..Settings::default() };
    let (mut server, now) = (Server::new(settings), start());
    server.asked(now, asker(1), ask(plain(&[A])));
    let sent = serve(&mut server, &archive, now);
    let first = &sent[&ConnId(1)];
    assert_eq!(first.hashes().len(), 17, "16 MiB, and the envelope that passes it");
    assert!(first.cursor().is_some(), "the client asks on");
    server.asked(now, asker(1), ask(plain(&[A])));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(1)].text(), "rate limit exceeded");
    // Another identity at the same address has had as much.
    let other = Asker { remote: Remote { ip: asker(1).remote.ip, ..asker(2).remote }, ..asker(2) };
    server.asked(now, other, ask(plain(&[A])));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(2)].text(), "rate limit exceeded");
    server.asked(now, asker(3), ask(PlainRequest { limit: 1, ..plain(&[A]) }));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(3)].hashes().len(), 1);
}

#[test]
fn h38_a_peer_that_stops_reading_is_waited_for_a_minute() {
    let archive = many(20, A, 100_000);
    let (mut server, now) = (Server::new(Settings::default()), start());
    server.asked(now, asker(1), ask(plain(&[A])));
    let (mut sent, mut reads) = (0, 0);
    let mut step_on = |server: &mut Server, now| {
        while let Some(step) = server.next_step() {
            match step {
                Step::Page { ticket, page } => {
                    reads += 1;
                    server.page(now, ticket, Ok(archive.page(&page, page.rows)));
                }
                Step::Send { .. } => sent += 1,
                Step::Topics { .. } | Step::Ended { .. } => {}
            }
        }
        (sent, reads)
    };
    assert_eq!(step_on(&mut server, now), (1, 1), "one packet is on its way, and nothing is read meanwhile");
    assert_eq!(server.wake_at(), Some(now.instant + PACKET_TIMEOUT));
    server.tick(later(now, 59));
    assert_eq!((step_on(&mut server, later(now, 59)), server.running()), ((1, 1), 1));
    server.tick(later(now, 60));
    assert_eq!((step_on(&mut server, later(now, 60)), server.running()), ((2, 1), 0), "an error in place of the rest");
    assert_eq!(server.wake_at(), None);
    server.tick(later(now, 3_600));
    assert!(server.next_step().is_none());
}

#[test]
fn h39_requests_without_sense_are_refused_and_cost_no_read() {
    let (mut server, now) = (Server::new(Settings::default()), start());
    let full = PlainRequest { bloom: Some(Bloom::FULL), ..plain(&[]) };
    let cases = [
        (
            PlainRequest { from: SENT + 1, to: SENT, ..full.clone() },
            "request is invalid: query range is invalid: lower > upper",
        ),
        (
            PlainRequest { limit: u32::MAX, ..full.clone() },
            "request is invalid: limit exceeds the maximum allowed value",
        ),
        (
            PlainRequest { limit: MAX_LIMIT + 1, ..full.clone() },
            "request is invalid: limit exceeds the maximum allowed value",
        ),
        (PlainRequest { bloom: None, ..full.clone() }, "request is invalid: bloom filter and topics is empty"),
    ];
    for (n, (request, expected)) in (0..).zip(cases) {
        server.asked(now, asker(n), ask(request));
        let Some(Step::Send { body, ticket: None, .. }) = server.next_step() else { panic!("{expected}") };
        let Ok(Completion::Failed { text, request }) = Completion::decode(&body) else { panic!() };
        assert_eq!((text.as_str(), request), (expected, [9; 32]));
        assert!(matches!(server.next_step(), Some(Step::Ended { .. })) && server.next_step().is_none());
    }
    // Ten years, and a cursor that names no envelope: both are answered.
    let archive = many(10, A, 10);
    let cursor = Some(Place { sent: SENT + 4, hash: [0; 32].into() }.cursor());
    let wide = PlainRequest { from: 0, to: u32::MAX, cursor, ..full };
    assert_eq!(answered(&archive, wide.clone()).hashes().len(), 6);
    let behind = Some([0xff; CURSOR_LEN]);
    assert!(answered(&archive, PlainRequest { cursor: behind, ..wide }).hashes().is_empty());
}

#[test]
fn h39_what_can_only_be_named_is_refused_by_its_name() {
    let unread = Unread { id: [3; 32], error: crate::packet::p2p::P2pError::BloomLength(1) };
    let sent = answer(&many(1, A, 1), Settings::default(), Asked::History(Err(unread)));
    assert_eq!(sent.text(), "failed to decode data: a bloom filter of 1 bytes");
}

#[test]
fn h40_a_replayed_request_is_one_more_request_of_who_replays_it() {
    let password = SymKey::from_bytes([5; 32]).unwrap();
    let settings = Settings { keys: vec![Key::Symmetric(password.clone())], ..Settings::default() };
    let request = sealed(everything().encode(Form::Deployed), SealTo::Symmetric(&password), true);
    let archive = many(3, A, 10);
    let mut server = Server::new(settings);
    let start = start();
    // An hour after it was made, from another peer.
    for (n, secs) in [(1, 0), (2, 3_600)] {
        let now = later(start, secs);
        server.asked(now, asker(n), request.clone());
        let sent = serve(&mut server, &archive, now);
        assert_eq!(sent.keys().collect::<Vec<_>>(), [&ConnId(n)]);
        assert_eq!(sent[&ConnId(n)].hashes().len(), 3);
    }
    let refused = (0..1_000).filter(|_| {
        server.asked(later(start, 3_600), asker(2), request.clone());
        matches!(serve(&mut server, &archive, start)[&ConnId(2)].ends[..], [Completion::Failed { .. }])
    });
    assert!(refused.count() >= 900);
}

#[test]
fn h41_a_hundred_peers_that_ask_and_go_leave_nothing_behind() {
    let archive = many(500, A, 1_000);
    let (mut server, mut now) = (Server::new(Settings::default()), start());
    (0..100).for_each(|n| server.asked(now, asker(n), ask(plain(&[A]))));
    assert_eq!(server.running(), MAX_ANSWERS);
    let (mut refused, mut left) = (0, 0);
    while let Some(step) = next_step(&mut server, &mut now) {
        match step {
            // Pages come when their peers have gone.
            Step::Page { ticket, page } => server.page(now, ticket, Ok(archive.page(&page, page.rows))),
            Step::Send { ticket: Some(ticket), .. } => server.taken(now, ticket, false),
            Step::Send { ticket: None, .. } => refused += 1,
            Step::Ended { how: Ended::Left, .. } => left += 1,
            Step::Topics { .. } | Step::Ended { .. } => {}
        }
    }
    assert_eq!((refused, left), (100 - MAX_ANSWERS, MAX_ANSWERS));
    assert_eq!((server.running(), server.reads, server.by_conn.len(), server.held()), (0, 0, 0, 0));
    server.asked(now, asker(200), ask(plain(&[A])));
    assert_eq!(serve(&mut server, &archive, now)[&ConnId(200)].hashes().len(), 500);
}

#[test]
fn h42_passwords_are_guessed_no_faster_than_requests_are_taken() {
    let password = SymKey::from_bytes([5; 32]).unwrap();
    let mut server = Server::new(Settings { keys: vec![Key::Symmetric(password)], ..Settings::default() });
    let wrong = SymKey::from_bytes([6; 32]).unwrap();
    let guess = sealed(everything().encode(Form::Deployed), SealTo::Symmetric(&wrong), true);
    let (now, archive) = (start(), many(0, A, 0));
    let mut tried = 0;
    for _ in 0..10_000 {
        server.asked(now, asker(1), guess.clone());
        let sent = serve(&mut server, &archive, now);
        tried += usize::from(sent[&ConnId(1)].text() == "failed to decrypt p2p request");
    }
    assert!(tried <= 5 * PEER_REQUESTS_PER_SEC as usize, "{tried}");
}

#[test]
fn meters_are_bounded_and_give_way_when_they_are_idle() {
    let mut meters = HashMap::new();
    let now = start().instant;
    for n in 0..MAX_METERS {
        meter(&mut meters, now, n).unwrap().next_at = now + Duration::from_secs(1);
    }
    assert_eq!(meter(&mut meters, now, MAX_METERS).err(), Some(Refusal::Busy));
    assert!(meter(&mut meters, now, 0).is_ok());
    assert!(meter(&mut meters, now + Duration::from_secs(1), MAX_METERS).is_ok());
    assert_eq!(meters.len(), 1);
}
