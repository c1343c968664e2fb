//! Posts envelopes from status-go peers and judges which of them another peer was sent, by what that peer saw on the wire.
//!
//! What must not arrive is judged after a fence: an envelope that takes the same way behind it, or behind a change of settings, and is left
//! out of every account.

use crate::crossing::{Faults, KEY, settle};
use crate::deadline::Deadline;
use crate::process::{Process, is, text};
use crate::status_peer::{Envelope, StatusPeer};
use anyhow::{Context, Result, ensure};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Seconds that an envelope lives: longer than any scenario.
pub(crate) const TTL: u32 = 120;
/// Proof of work that everybody takes who asks for nothing else. Low, so that large envelopes are sealed at once.
pub(crate) const EASY: &str = "0.000002";
/// Time to live and proof of work that are too little for everybody: two bits at most over ten days.
const WORTHLESS: &str = "900000 0.0000000001";
/// Topic of fences; nothing else is posted on it.
const FENCE: &str = "fe000001";
/// Until all is sealed that was asked for. The slowest take 20 ms each.
const SEALED: Duration = Duration::from_secs(60);
/// From the last arrival to the next, over a hop of 300 ms and one of ours.
const ARRIVAL: Duration = Duration::from_secs(20);

/// An envelope to be sealed.
#[derive(Debug, Clone)]
pub(crate) struct Post<'a> {
    /// 8 hex digits.
    pub(crate) topic: &'a str,
    /// Least proof of work.
    pub(crate) pow: &'a str,
    pub(crate) payload: Vec<u8>,
}

/// Seals and posts; gives the envelopes as they were sealed, in that order.
///
/// # Errors
/// When the peer refuses one, or takes too long.
pub(crate) fn post(from: &StatusPeer, posts: &[Post<'_>]) -> Result<Vec<Envelope>> {
    let (process, cursor) = (from.process(), from.process().log().len());
    for post in posts {
        from.send(KEY, post.topic, TTL, post.pow, &post.payload)?;
    }
    let mut sealed = Vec::new();
    let what = format!("{} sealed envelopes", posts.len());
    let refused = process.wait(&what, cursor, SEALED, |e| {
        sealed.extend(Envelope::of(e, "sent"));
        let refused = is(e, "error").then(|| text(e, "error").to_owned());
        (refused.is_some() || sealed.len() == posts.len()).then_some(refused)
    })?;
    ensure!(refused.is_none(), "{}", process.failure(&format!("it refused to post: {refused:?}")));
    Ok(sealed)
}

/// Waits until a peer has been sent all of these; every arrival gives the next one time.
///
/// # Errors
/// When they stop coming: the error says how many are missing.
pub(crate) fn await_arrivals(at: &StatusPeer, expected: &[Envelope]) -> Result<()> {
    let log = at.process().log();
    let mut missing: HashSet<&str> = expected.iter().map(|envelope| envelope.hash.as_str()).collect();
    let (mut cursor, mut stall) = (0, Deadline::after(ARRIVAL));
    while !missing.is_empty() {
        let fresh = log.since(cursor);
        cursor += fresh.len();
        for event in fresh.iter().filter(|e| is(e, "envelope-arrived")) {
            if missing.remove(text(event, "hash")) {
                stall = Deadline::after(ARRIVAL);
            }
        }
        let came =
            missing.is_empty() || log.wait_past(cursor, stall).map_err(|e| at.process().failure(&e.to_string()))?;
        ensure!(came, "{}", at.process().failure(&stalled(&missing, expected.len())));
    }
    Ok(())
}

fn stalled(missing: &HashSet<&str>, expected: usize) -> String {
    let example = missing.iter().next().copied().unwrap_or_default();
    let seconds = ARRIVAL.as_secs();
    format!("{} of {expected} envelopes missing, {example} for one, and none for {seconds} s", missing.len())
}

/// Waits for quiet, then judges all that a peer was ever sent: each of these exactly once, and nothing else.
///
/// # Errors
/// When anything is missing, came twice, or was not to be sent.
pub(crate) fn exactly(at: &StatusPeer, expected: &[Envelope]) -> Result<()> {
    await_arrivals(at, expected)?;
    settle(&[at.process()])?;
    let mut faults = Faults::default();
    let mut count: HashMap<&str, usize> = expected.iter().map(|envelope| (envelope.hash.as_str(), 0)).collect();
    for envelope in &arrivals(at) {
        match count.get_mut(envelope.hash.as_str()) {
            Some(times) => *times += 1,
            None => faults.note(|| format!("it was sent {envelope:?}, which it should not have been")),
        }
    }
    for (hash, times) in count {
        faults.expect(times == 1, || format!("{hash} was sent {times} times"));
    }
    faults.verdict(()).with_context(|| at.process().name().to_owned())
}

/// What a peer was sent so far, fences aside.
pub(crate) fn arrivals(at: &StatusPeer) -> Vec<Envelope> {
    let events = at.process().log().since(0);
    let all = events.iter().filter_map(|e| Envelope::of(e, "envelope-arrived"));
    all.filter(|envelope| envelope.topic != FENCE).collect()
}

/// Waits until the node between two peers has taken in all that the first has told it so far.
///
/// # Errors
/// When an envelope that the first sends behind it does not reach the other in time.
pub(crate) fn fence(from: &StatusPeer, node: &str, to: &StatusPeer) -> Result<()> {
    let made = from.ask(&format!("make {KEY} {FENCE} {TTL} 0.01 00"), "made")?;
    from.ask(&format!("raw {} {node}", text(&made, "envelope")), "ok")?;
    let hash = text(&made, "hash");
    to.process().wait("fence", 0, ARRIVAL, |e| (is(e, "envelope-arrived") && text(e, "hash") == hash).then_some(()))
}

/// Makes an envelope with too little work for any node: its hash, and the envelope in hex.
///
/// # Errors
/// When the peer does not answer.
pub(crate) fn worthless(from: &StatusPeer, topic: &str) -> Result<(String, String)> {
    let made = from.ask(&format!("make {KEY} {topic} {WORTHLESS} 00"), "made")?;
    Ok((text(&made, "hash").to_owned(), text(&made, "envelope").to_owned()))
}

/// Fails if a peer has lost a session.
///
/// # Errors
/// With what the peer said of it.
pub(crate) fn unbroken(peers: &[&StatusPeer]) -> Result<()> {
    for peer in peers {
        let events = peer.process().log().since(0);
        if let Some(dropped) = events.iter().find(|e| is(e, "peer-dropped")) {
            let why = format!("lost a session: {}, {}", text(dropped, "reason"), text(dropped, "waku_error"));
            return Err(peer.process().failure(&why));
        }
    }
    Ok(())
}

/// How many events of a name a process has printed since a cursor.
pub(crate) fn count(process: &Process, cursor: usize, name: &str) -> usize {
    process.log().since(cursor).iter().filter(|e| is(e, name)).count()
}

/// The bloom filter of some topics in hex: three bits a topic, of which bit 0 to 2 of the last byte make the ninth bit.  Spec: 5/WAKU0.
pub(crate) fn filter_of(topics: &[&str]) -> Result<String> {
    let mut filter = [0_u8; 64];
    for topic in topics {
        let bytes = hex::decode(topic).with_context(|| format!("topic {topic}"))?;
        let [a, b, c, high] = *bytes.as_slice() else { anyhow::bail!("topic {topic} has {} bytes", bytes.len()) };
        for (place, low) in [a, b, c].into_iter().enumerate() {
            let bit = usize::from(low) + usize::from(high >> place & 1) * 256;
            filter[bit / 8] |= 1 << (bit % 8);
        }
    }
    Ok(hex::encode(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_the_bits_of_their_topics() {
        let bits = |topics: &[&str]| -> Vec<usize> {
            let filter = hex::decode(filter_of(topics).unwrap()).unwrap();
            (0..512).filter(|bit| filter[bit / 8] >> (bit % 8) & 1 == 1).collect()
        };
        assert_eq!(bits(&["0000ff06"]), [0, 256, 511]); // the vector of nim-eth
        assert_eq!(bits(&["aabbccdd"]), [187, 426, 460]);
        assert_eq!(bits(&["0000ff06", "aabbccdd"]).len(), 6);
        assert!(filter_of(&["aabb"]).is_err());
    }
}
