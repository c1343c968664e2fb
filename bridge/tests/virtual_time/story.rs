//! What became of it: asked by any of its three hashes, at every stage.

use bridge::{Direction, DropReason, Stage, seen::State, story::AnyHash};

use crate::support::{
    lone::{ACCEPTED, Lone},
    users::{envelope, message_now},
};

#[test]
fn a_message_is_found_by_each_of_its_hashes_from_mining_on() {
    let mut lone = Lone::with(|_| ());
    let message = message_now(lone.now, &b"where am I?"[..]);
    lone.hears(&message);
    let at_once = |lone: &Lone, hash: &AnyHash| lone.bridge.story(lone.now, hash);
    let job = &lone.to_seal[0];
    assert!(job.bits > 0);
    let nothing = at_once(&lone, &[7; 32]);
    assert!(nothing.is_empty(), "{nothing:?}");

    let message_hash = *crate::support::users::received(&message).hash.as_bytes();
    let mining = at_once(&lone, &message_hash);
    assert_eq!((mining.known.len(), mining.known[0].entry.state), (1, State::Pending));
    assert_eq!((mining.under_way.len(), mining.under_way[0].stage), (1, Stage::Mining));
    assert_eq!((mining.under_way[0].direction, mining.under_way[0].envelope), (Direction::V2ToV1, None));

    lone.seals();
    let posted = lone.post_is(ACCEPTED);
    let content = *mining.known[0].content.as_bytes();
    for hash in [&message_hash, posted.hash().as_bytes(), &content] {
        let story = at_once(&lone, hash);
        assert!(story.under_way.is_empty(), "{story:?}");
        let entry = story.known[0].entry;
        assert_eq!((entry.state, entry.envelope), (State::Done, Some(posted.hash())));
        assert_eq!(entry.message.map(|hash| *hash.as_bytes()), Some(message_hash));
    }
}

#[test]
fn what_did_not_cross_says_why_in_its_report() {
    let mut lone = Lone::with(|_| ());
    let late = envelope(lone.secs() - 30, 60, &b"too late"[..]);
    lone.hears_envelope(&late);
    let report = &lone.reports[0];
    assert!(report.is_about(late.hash().as_bytes()));
    assert!(report.content.is_some_and(|content| report.is_about(content.as_bytes())));
    assert!(!report.is_about(&[7; 32]));
    assert_eq!(report.outcome.reason(), DropReason::Late.as_str());
}
