//! Decoders of both generations of filter, and what a service node makes of what they read.

use bytes::Bytes;
use waku2::{
    PeerId,
    filter::{
        Limits, legacy,
        server::{MAX_CONTENT_TOPICS, Server},
        wire::{Push, Request, Response, Status},
    },
};

use crate::script::start;

/// Small, so that they are reached.
const LIMITS: Limits = Limits {
    max_peers: 1,
    max_criteria: 3,
    lease: std::time::Duration::from_secs(300),
    absence: std::time::Duration::from_secs(60),
};

/// Requests, responses and pushes of filter v2: what is read is written as one that reads the same. A service node answers every request under its
/// id, and says no to what is too much.
pub fn current(input: &[u8]) {
    if let Ok(response) = Response::decode(input) {
        assert_eq!(Response::decode(&response.encode()).as_ref(), Ok(&response));
    }
    if let Ok(push) = Push::decode(Bytes::copy_from_slice(input)) {
        assert_eq!(Push::decode(push.encode()).as_ref(), Ok(&push));
    }
    let Ok(request) = Request::decode(input) else { return };
    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
    let (mut server, id, topics) = (Server::new(LIMITS), request.id.clone(), request.content_topics.len());
    let response = server.answer(start().instant, PeerId::random(), request);
    assert_eq!(response.id, id);
    let subscribed = server.subscriptions().peers();
    assert!(subscribed == 0 || (response.status == Status::Ok && (1..=MAX_CONTENT_TOPICS).contains(&topics)));
}

/// The one message of the first filter: the same, and nothing is kept of what is refused.
pub fn legacy(input: &[u8]) {
    let Ok(rpc) = legacy::Rpc::decode(Bytes::copy_from_slice(input)) else { return };
    assert_eq!(legacy::Rpc::decode(rpc.encode()).as_ref(), Ok(&rpc));
    let Some(request) = rpc.request else { return };
    let mut server = Server::new(LIMITS);
    let served = server.serve_legacy(start().instant, PeerId::random(), &rpc.id, &request);
    assert!(server.subscriptions().peers() == 0 || (served.is_ok() && request.subscribe && !rpc.id.is_empty()));
}
