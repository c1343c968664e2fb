//! Other mailservers, which are answered in parts of their own form.

use super::*;

fn sync(limit: u32, cursor: Option<[u8; CURSOR_LEN]>) -> SyncRequest {
    SyncRequest { lower: SENT, upper: SENT + 9_999, bloom: None, limit, cursor }
}

/// What a mailserver that speaks Whisper is sent in answer to one request: the hashes of each part, and the last part.
fn synced(
    server: &mut Server,
    archive: &Archive,
    now: Now,
    request: SyncRequest,
) -> (Vec<Vec<crate::EnvelopeHash>>, SyncResponse) {
    server.asked(now, Asker { version: Version::Shh6, ..asker(1) }, Asked::Sync(request));
    let (mut parts, mut last) = (Vec::new(), None);
    while let Some(step) = server.next_step() {
        match step {
            Step::Topics { ticket, after, .. } => server.topics(now, ticket, Ok(archive.topics(after))),
            Step::Page { ticket, page } => server.page(now, ticket, Ok(archive.page(&page, page.rows))),
            Step::Send { ticket, code, body, .. } => {
                assert!(code == Code::SyncResponse && body.len() <= MAX_SENT_BODY);
                let part = SyncResponse::decode(&body).unwrap();
                let hashes: Vec<_> = part.envelopes.clone().map(|item| item.unwrap().unwrap().hash()).collect();
                if hashes.is_empty() {
                    assert!(last.replace(part).is_none(), "it ends once");
                } else {
                    assert!(last.is_none() && part.cursor.is_none() && !part.is_final && part.error.is_empty());
                    parts.push(hashes);
                }
                if let Some(ticket) = ticket {
                    server.taken(now, ticket, true);
                }
            }
            Step::Ended { reply, .. } => assert_eq!(reply, Reply::Mailserver),
        }
    }
    (parts, last.unwrap())
}

#[test]
fn another_mailserver_is_given_what_it_lacks_part_by_part_and_a_cursor_at_the_end() {
    let archive = Archive::of((0..90).map(|n| envelope(n, if n % 3 == 0 { B } else { A }, 50_000)));
    let (mut server, now) = (Server::new(Settings::default()), start());
    let (mut cursor, mut seen) = (None, Vec::new());
    for _ in 0..3 {
        let (parts, last) = synced(&mut server, &archive, now, sync(40, cursor));
        assert!(last.is_final && last.error.is_empty());
        assert!(parts.iter().all(|part| part.len() <= 20));
        seen.extend(parts.concat());
        cursor = last.cursor;
    }
    assert_eq!((cursor, seen), (None, archive.0.iter().map(|envelope| envelope.hash()).collect()));
    let some = SyncRequest { bloom: Some(Bloom::from_iter([B])), ..sync(MAX_SYNC_LIMIT, None) };
    assert_eq!(synced(&mut server, &archive, now, some).0.concat().len(), 30);
    assert_eq!(server.queries(), [2, 2, 0, 0], "by filters, of which two went on");
    server.asked(now, asker(2), ask(plain(&[A])));
    serve(&mut server, &archive, now);
    assert_eq!(server.queries(), [2, 2, 1, 0]);
}

/// What fits a packet of envelopes need not fit a part: there is more around its list.
#[test]
fn a_part_is_no_longer_than_deployed_peers_read() {
    let overhead = messages::body_len(envelope(0, A, MAX_SENT_BODY - 100).raw().len()) - (MAX_SENT_BODY - 100);
    let largest = |less: usize| many(1, A, MAX_SENT_BODY - overhead - less);
    assert_eq!(answered(&largest(0), plain(&[A])).hashes().len(), 1);
    let count = |less| {
        let (parts, last) = synced(&mut Server::new(Settings::default()), &largest(less), start(), sync(10, None));
        assert!(last.is_final);
        parts.concat().len()
    };
    assert_eq!((count(0), count(crate::packet::sync::RESPONSE_OVERHEAD)), (0, 1));
}

#[test]
fn h38_another_mailserver_is_bounded_as_clients_are() {
    let archive = many(3, A, 10);
    let (mut server, now) = (Server::new(Settings::default()), start());
    let answered = (0..1_000).filter(|_| {
        let last = synced(&mut server, &archive, now, sync(10, None)).1;
        assert!(last.is_final || last.error == "rate limit exceeded");
        last.is_final
    });
    assert!(answered.count() <= 5 * PEER_REQUESTS_PER_SEC as usize);
    let mut server = Server::new(Settings::default());
    server.asked(now, asker(1), Asked::Sync(sync(10, None)));
    let Some(Step::Page { ticket, .. }) = server.next_step() else { panic!() };
    server.page(now, ticket, Err(ArchiveFailed));
    let Some(Step::Send { code: Code::SyncResponse, body, .. }) = server.next_step() else { panic!() };
    let failed = SyncResponse::decode(&body).unwrap();
    assert_eq!((failed.is_final, failed.error.as_str()), (false, "the archive can't be read"));
}
