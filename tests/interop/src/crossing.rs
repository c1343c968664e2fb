//! Sends payloads both ways between a status-go peer and a go-waku peer, and judges what arrived.
//!
//! Each payload is sealed by the sender's own library and opened by the receiver's own. Exactly once, byte for byte, with the send time
//! and the origin tag that the bridge owes it, and nothing comes back to the side it came from.

use crate::deadline::Deadline;
use crate::process::{Event, Process, is, text};
use crate::status_peer::{Envelope, Opened, StatusPeer};
use crate::waku_peer::{Message, WakuPeer};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

/// The symmetric key that both peers hold: 26/WAKU2-PAYLOAD without either library's own password derivation.
pub(crate) const KEY: &str = "sym:6b657920666f72206c6976652070656572732c203332206279746573206c6f6e";
/// Topics of what starts as an envelope. The two directions share none, so whatever comes back is seen.
pub(crate) const TO_V2: [&str; 4] = ["a1000001", "a1007f80", "a1ffffff", "a1c0ffee"];
/// Topics of what starts as a message.
pub(crate) const TO_V0: [&str; 4] = ["b2000001", "b2007f80", "b2ffffff", "b2c0ffee"];

/// Time to live of the envelopes, in seconds: within the 15 to 50 that Status clients used, and what the bridge may take (20 s) and more.
const TTL: u32 = 25;
/// Time to live that a bridge gives an envelope made of a message, in seconds: its default profile.
const BRIDGE_TTL: u64 = 15;
/// Top five bits of a nonce that a bridge mined: its origin tag.
const NONCE_MARK: u64 = 0b10110;
/// Status clients sealed with this proof of work...
const POW: &str = "0.002";
/// ...and with this one above 50,000 bytes of sealed data.
const POW_LARGE: &str = "0.000002";
/// Payloads above this are sealed with the low one: sealing adds less than a thousand bytes.
const LARGE: usize = 49_000;
/// Without a further arrival for so long, what is missing counts as lost.
const STALL: Duration = Duration::from_secs(30);
/// When nothing has arrived for so long after the last, nothing more comes: five of status-go's broadcast intervals.
const QUIET: Duration = Duration::from_millis(1500);
/// Longest wait for that quiet.
const QUIET_LIMIT: Duration = Duration::from_secs(20);
/// Faults told of; more are counted.
const FAULTS_TOLD: usize = 5;

/// How much may be under way in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Payloads. go-waku's gossipsub drops what exceeds its queues of 32.
    pub(crate) count: usize,
    /// Bytes of payload. What waits goes out as one packet, which status-go reads up to 1 MiB of.
    pub(crate) bytes: usize,
}

/// A pace that real peers sustain without loss.
pub(crate) const GENTLE: Window = Window { count: 32, bytes: 512 * 1024 };

/// What one direction showed.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Payloads that crossed.
    pub(crate) crossed: usize,
    /// How often the very same envelope or message came back on the wire; its pool or cache took it for known.
    pub(crate) returned: usize,
    /// Milliseconds from sent to opened, in order of size.
    delays_ms: Vec<u64>,
}

impl Lane {
    /// Milliseconds that a share of all crossings stayed within.
    pub(crate) fn delay_ms(&self, share: f64) -> u64 {
        let last = self.delays_ms.len().saturating_sub(1) as f64;
        self.delays_ms.get((last * share).round() as usize).copied().unwrap_or_default()
    }
}

/// What both directions showed.
#[derive(Debug)]
pub(crate) struct Crossed {
    pub(crate) to_v2: Lane,
    pub(crate) to_v0: Lane,
}

impl Crossed {
    /// Fails if anything came back to its sender, though it were the very same.
    ///
    /// # Errors
    /// When something did.
    pub(crate) fn without_return(self) -> Result<Self> {
        if self.to_v2.returned + self.to_v0.returned > 0 {
            bail!("{} envelopes and {} messages came back to their sender", self.to_v2.returned, self.to_v0.returned);
        }
        Ok(self)
    }

    /// One line for the table.
    pub(crate) fn summary(&self) -> String {
        let lane = |l: &Lane| format!("{} in {}/{} ms", l.crossed, l.delay_ms(0.5), l.delay_ms(0.95));
        format!("v0 to v2 {}, v2 to v0 {} (p50/p95)", lane(&self.to_v2), lane(&self.to_v0))
    }
}

/// Lets each peer open what the other will have sealed.
///
/// # Errors
/// When a peer refuses.
pub(crate) fn exchange_keys(v0: &StatusPeer, v2: &WakuPeer) -> Result<()> {
    v0.subscribe(KEY, &TO_V0)?;
    v2.open_with(KEY)
}

/// Sends all payloads, both ways at once, waits for them, and judges what both peers saw.
///
/// # Errors
/// When anything was lost, doubled, altered, invented or sent back in another form.
pub(crate) fn cross(
    v0: &StatusPeer,
    v2: &WakuPeer,
    envelopes: &[Vec<u8>],
    messages: &[Vec<u8>],
    window: Window,
) -> Result<Crossed> {
    let (v0_from, v2_from) = (v0.process().log().len(), v2.process().log().len());
    thread::scope(|scope| {
        let other = scope.spawn(|| send_envelopes(v0, v2, envelopes, window));
        let this = send_messages(v0, v2, messages, window);
        other.join().map_err(|_| anyhow!("the feeder of envelopes panicked"))?.and(this)
    })?;
    settle(&[v0.process(), v2.process()])?;
    let (v0_saw, v2_saw) = (v0.process().log().since(v0_from), v2.process().log().since(v2_from));
    Ok(Crossed {
        to_v2: judge_envelopes(envelopes, &v0_saw, &v2_saw)?,
        to_v0: judge_messages(messages, &v0_saw, &v2_saw)?,
    })
}

fn send_envelopes(v0: &StatusPeer, v2: &WakuPeer, payloads: &[Vec<u8>], window: Window) -> Result<()> {
    let feed = Feed { what: "envelopes", payloads, window, source: v0.process(), sink: v2.process() };
    feed.run(
        |index, payload| {
            let pow = if payload.len() > LARGE { POW_LARGE } else { POW };
            v0.send(KEY, TO_V2[index % TO_V2.len()], TTL, pow, payload)
        },
        |event| {
            let message = Message::arrived(event)?;
            TO_V2.iter().any(|topic| message.content_topic == content_topic(topic)).then_some(())?;
            Some(message.opened.map_or(0, |hex| hex.len() / 2))
        },
    )
}

fn send_messages(v0: &StatusPeer, v2: &WakuPeer, payloads: &[Vec<u8>], window: Window) -> Result<()> {
    let feed = Feed { what: "messages", payloads, window, source: v2.process(), sink: v0.process() };
    feed.run(
        |index, payload| v2.publish_sealed(KEY, &content_topic(TO_V0[index % TO_V0.len()]), payload),
        |event| Opened::of(event).map(|opened| opened.payload.len() / 2),
    )
}

/// One direction: payloads go into `source` as long as the window has room, and come out of `sink`.
struct Feed<'a> {
    what: &'a str,
    payloads: &'a [Vec<u8>],
    window: Window,
    source: &'a Process,
    sink: &'a Process,
}

impl Feed<'_> {
    fn run(&self, send: impl Fn(usize, &[u8]) -> Result<()>, arrival: impl Fn(&Value) -> Option<usize>) -> Result<()> {
        let (mut source_at, mut sink_at) = (self.source.log().len(), self.sink.log().len());
        let (mut sent, mut sent_bytes, mut arrived, mut arrived_bytes) = (0_usize, 0_usize, 0_usize, 0_usize);
        let mut stall = Deadline::after(STALL);
        loop {
            let fresh = self.sink.log().since(sink_at);
            sink_at += fresh.len();
            for bytes in fresh.iter().filter_map(|event| arrival(event)) {
                arrived += 1;
                arrived_bytes += bytes;
                stall = Deadline::after(STALL);
            }
            source_at += self.refusals(source_at)?;
            while let Some(payload) = self.payloads.get(sent) {
                let under_way = sent_bytes.saturating_sub(arrived_bytes);
                let full = sent >= arrived + self.window.count || under_way + payload.len() > self.window.bytes;
                if full && sent > arrived {
                    break;
                }
                send(sent, payload)?;
                sent += 1;
                sent_bytes += payload.len();
            }
            if arrived >= self.payloads.len() {
                return Ok(());
            }
            if !self.sink.log().wait_past(sink_at, stall).map_err(|why| self.sink.failure(&why.to_string()))? {
                let what = format!(
                    "{arrived} of {} {} arrived, then none for {} s",
                    self.payloads.len(),
                    self.what,
                    STALL.as_secs()
                );
                bail!("{:#}\n  {:#}", self.sink.failure(&what), self.source.failure("the sender"));
            }
        }
    }

    /// Looks through what the source said meanwhile, for a command that it refused.
    fn refusals(&self, from: usize) -> Result<usize> {
        let fresh = self.source.log().since(from);
        match fresh.iter().find(|event| is(event, "error")) {
            Some(event) => Err(self.source.failure(&format!("it refused: {}", text(event, "error")))),
            None => Ok(fresh.len()),
        }
    }
}

/// Waits until none of the processes reports anything about envelopes or messages any more.
///
/// # Errors
/// When one ends, or they do not become quiet.
pub(crate) fn settle(processes: &[&Process]) -> Result<()> {
    let limit = Deadline::after(QUIET_LIMIT);
    let mut cursors: Vec<usize> = processes.iter().map(|process| process.log().len()).collect();
    loop {
        let mut moved = false;
        for (process, cursor) in processes.iter().zip(&mut cursors) {
            let quiet = Deadline::after(QUIET);
            while process.log().wait_past(*cursor, quiet).map_err(|why| process.failure(&why.to_string()))? {
                let fresh = process.log().since(*cursor);
                *cursor += fresh.len();
                moved |=
                    fresh.iter().any(|e| is(e, "envelope-arrived") || is(e, "message") || is(e, "message-decrypted"));
            }
        }
        if !moved {
            return Ok(());
        }
        if limit.left().is_none() {
            bail!("the peers do not become quiet: something circulates");
        }
    }
}

/// What went wrong: told of up to a number, counted beyond.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    told: Vec<String>,
    count: usize,
}

impl Faults {
    pub(crate) fn note(&mut self, fault: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < FAULTS_TOLD {
            self.told.push(fault());
        }
    }

    pub(crate) fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.note(fault);
        }
    }

    /// Passes on what was found if nothing was wrong.
    ///
    /// # Errors
    /// All faults in one.
    pub(crate) fn verdict<T>(self, found: T) -> Result<T> {
        if self.count > 0 {
            bail!("{} faults:\n    {}", self.count, self.told.join("\n    "));
        }
        Ok(found)
    }
}

/// Envelopes became messages: every one exactly once, as section by section the bridge owes it.
fn judge_envelopes(payloads: &[Vec<u8>], v0_saw: &[Event], v2_saw: &[Event]) -> Result<Lane> {
    let sent: Vec<Envelope> = v0_saw.iter().filter_map(|e| Envelope::of(e, "sent")).collect();
    let mut arrived: HashMap<String, Vec<Message>> = HashMap::new();
    for message in v2_saw.iter().filter_map(|e| Message::arrived(e)) {
        if TO_V2.iter().any(|topic| message.content_topic == content_topic(topic)) {
            arrived.entry(message.payload_sha256.clone()).or_default().push(message);
        }
    }
    let (mut lane, mut faults) = (Lane::default(), Faults::default());
    faults.expect(sent.len() == payloads.len(), || {
        format!("{} envelopes were sealed, not {}", sent.len(), payloads.len())
    });
    for (index, (envelope, payload)) in sent.iter().zip(payloads).enumerate() {
        match arrived.remove(&envelope.data_sha256).unwrap_or_default().as_slice() {
            [message] => {
                judge_message(index, envelope, payload, message, &mut faults);
                lane.crossed += 1;
                lane.delays_ms.push(message.at_ms.saturating_sub(envelope.at_ms));
            }
            several => faults.note(|| {
                format!("envelope {index} {} ({} bytes) arrived {} times", envelope.hash, payload.len(), several.len())
            }),
        }
    }
    for message in arrived.values().flatten() {
        faults.note(|| format!("message {} on {} was never sent", message.hash, message.content_topic));
    }
    let known: HashSet<&str> = sent.iter().map(|envelope| envelope.hash.as_str()).collect();
    for back in v0_saw.iter().filter_map(|e| Envelope::of(e, "envelope-arrived")) {
        if known.contains(back.hash.as_str()) {
            lane.returned += 1;
        } else if TO_V2.contains(&back.topic.as_str()) {
            faults.note(|| format!("envelope {} on topic {} is an echo", back.hash, back.topic));
        }
    }
    lane.delays_ms.sort_unstable();
    faults.verdict(lane)
}

fn judge_message(index: usize, envelope: &Envelope, payload: &[u8], message: &Message, faults: &mut Faults) {
    let about = |what: &str| format!("envelope {index} {}: {what}: {message:?}", envelope.hash);
    let opened = message.opened.as_deref() == Some(hex::encode(payload).as_str());
    faults.expect(opened, || format!("envelope {index} {}: not opened, or to another payload", envelope.hash));
    faults.expect(message.content_topic == content_topic(&envelope.topic), || about("content topic"));
    faults.expect(message.timestamp == envelope.sent() * 1_000_000_000, || about("send time"));
    faults.expect(message.version == 1 && !message.ephemeral, || about("version or ephemeral"));
    let tag = format!("b1{:08x}{:08x}{:016x}", envelope.expiry, envelope.ttl, envelope.nonce);
    faults.expect(message.meta == tag, || about("origin tag"));
}

/// Messages became envelopes.
fn judge_messages(payloads: &[Vec<u8>], v0_saw: &[Event], v2_saw: &[Event]) -> Result<Lane> {
    let sent: Vec<Message> = v2_saw.iter().filter_map(|e| Message::published(e)).collect();
    let mut wire: HashMap<String, Envelope> = HashMap::new();
    for envelope in v0_saw.iter().filter_map(|e| Envelope::of(e, "envelope-arrived")) {
        if TO_V0.contains(&envelope.topic.as_str()) {
            wire.insert(envelope.hash.clone(), envelope);
        }
    }
    let mut opened: HashMap<String, Vec<Opened>> = HashMap::new();
    for one in v0_saw.iter().filter_map(|e| Opened::of(e)) {
        opened.entry(one.hash.clone()).or_default().push(one);
    }
    let mut sealed: HashMap<String, Vec<Envelope>> = HashMap::new();
    for envelope in wire.into_values() {
        sealed.entry(envelope.data_sha256.clone()).or_default().push(envelope);
    }
    let (mut lane, mut faults) = (Lane::default(), Faults::default());
    faults.expect(sent.len() == payloads.len(), || {
        format!("{} messages were published, not {}", sent.len(), payloads.len())
    });
    for (index, (message, payload)) in sent.iter().zip(payloads).enumerate() {
        let envelopes = sealed.remove(&message.payload_sha256).unwrap_or_default();
        let openings = envelopes.first().and_then(|e| opened.remove(&e.hash)).unwrap_or_default();
        match (envelopes.as_slice(), openings.as_slice()) {
            ([envelope], [one]) => {
                judge_envelope(index, message, payload, envelope, one, &mut faults);
                lane.crossed += 1;
                lane.delays_ms.push(one.at_ms.saturating_sub(message.at_ms));
            }
            (several, openings) => faults.note(|| {
                let (hash, size, several, openings) = (&message.hash, payload.len(), several.len(), openings.len());
                format!("message {index} {hash} ({size} bytes) arrived as {several} envelopes, opened {openings} times")
            }),
        }
    }
    for envelope in sealed.values().flatten() {
        faults.note(|| format!("envelope {} on topic {} was never published", envelope.hash, envelope.topic));
    }
    let known: HashSet<&str> = sent.iter().map(|message| message.hash.as_str()).collect();
    for back in v2_saw.iter().filter_map(|e| Message::arrived(e)) {
        if known.contains(back.hash.as_str()) {
            lane.returned += 1;
        } else if TO_V0.iter().any(|topic| back.content_topic == content_topic(topic)) {
            faults.note(|| format!("message {} on {} is an echo", back.hash, back.content_topic));
        }
    }
    lane.delays_ms.sort_unstable();
    faults.verdict(lane)
}

fn judge_envelope(
    index: usize,
    message: &Message,
    payload: &[u8],
    envelope: &Envelope,
    opened: &Opened,
    faults: &mut Faults,
) {
    let about = |what: &str| format!("message {index} {}: {what}: {envelope:?}", message.hash);
    faults.expect(opened.payload == hex::encode(payload), || about("opened to another payload"));
    faults.expect(message.content_topic == content_topic(&envelope.topic), || about("topic"));
    let time = message.timestamp / 1_000_000_000;
    faults.expect(envelope.sent() == time && opened.sent == time, || about(&format!("send time is not {time}")));
    faults.expect(envelope.ttl == BRIDGE_TTL, || about("time to live"));
    faults.expect(envelope.nonce >> 59 == NONCE_MARK, || about("origin tag"));
}

/// The content topic of an envelope topic, in the one spelling that bridges write.
pub(crate) fn content_topic(topic: &str) -> String {
    format!("/waku/1/0x{topic}/rfc26")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(value: Value) -> Event {
        Event::new(value)
    }

    fn sent(nonce: u64) -> Event {
        event(json!({"event": "sent", "hash": "0xe", "topic": TO_V2[0], "expiry": 1025, "ttl": 25, "nonce": nonce,
            "data_sha256": "d", "t": 10}))
    }

    fn arrived(opened: &str) -> Event {
        event(
            json!({"event": "message", "from": "p", "hash": "m", "content_topic": content_topic(TO_V2[0]), "version": 1,
            "timestamp": 1_000_000_000_000_u64, "ephemeral": false, "meta": "b10000040100000019000000000000002a",
            "payload_sha256": "d", "opened": opened, "t": 17}),
        )
    }

    #[test]
    fn an_envelope_that_crossed_once_passes() {
        let lane = judge_envelopes(&[vec![7]], &[sent(42)], &[arrived("07")]).unwrap();
        assert_eq!((lane.crossed, lane.returned, lane.delay_ms(0.5)), (1, 0, 7));
    }

    #[test]
    fn lost_doubled_altered_and_mistagged_envelopes_fail() {
        for (v0, v2, why) in [
            (vec![sent(42)], vec![], "arrived 0 times"),
            (vec![sent(42)], vec![arrived("07"), arrived("07")], "arrived 2 times"),
            (vec![sent(42)], vec![arrived("08")], "another payload"),
            (vec![sent(43)], vec![arrived("07")], "origin tag"),
            (vec![], vec![arrived("07")], "never sent"),
        ] {
            let error = judge_envelopes(&[vec![7]], &v0, &v2).unwrap_err().to_string();
            assert!(error.contains(why), "{why} is not in {error}");
        }
    }

    #[test]
    fn what_comes_back_is_seen() {
        let back = |hash: &str| {
            event(
                json!({"event": "envelope-arrived", "hash": hash, "topic": TO_V2[0], "expiry": 1025, "ttl": 25, "nonce": 1,
                "data_sha256": "d", "t": 20}),
            )
        };
        let lane = judge_envelopes(&[vec![7]], &[sent(42), back("0xe")], &[arrived("07")]).unwrap();
        assert_eq!(lane.returned, 1);
        let error = judge_envelopes(&[vec![7]], &[sent(42), back("0xf")], &[arrived("07")]).unwrap_err();
        assert!(error.to_string().contains("echo"), "{error}");
    }

    fn published() -> Event {
        event(
            json!({"event": "reply", "cmd": "pub-sealed", "hash": "m", "content_topic": content_topic(TO_V0[0]), "version": 1,
            "timestamp": 1_000_700_000_000_u64, "ephemeral": false, "meta": "", "payload_sha256": "d", "t": 10}),
        )
    }

    fn on_the_wire(expiry: u64, nonce: u64) -> Event {
        event(
            json!({"event": "envelope-arrived", "hash": "0xe", "topic": TO_V0[0], "expiry": expiry, "ttl": 15, "nonce": nonce,
            "data_sha256": "d", "t": 20}),
        )
    }

    fn opened(payload: &str) -> Event {
        event(json!({"event": "message-decrypted", "hash": "0xe", "payload": payload, "sent": 1000, "t": 30}))
    }

    #[test]
    fn a_message_that_crossed_once_passes() {
        let wire = on_the_wire(1015, NONCE_MARK << 59 | 9);
        let lane = judge_messages(&[vec![7]], &[wire.clone(), wire, opened("07")], &[published()]).unwrap();
        assert_eq!((lane.crossed, lane.delay_ms(0.95)), (1, 20));
    }

    #[test]
    fn lost_doubled_altered_and_mistimed_messages_fail() {
        let good = NONCE_MARK << 59;
        for (v0, why) in [
            (vec![], "as 0 envelopes"),
            (vec![on_the_wire(1015, good), opened("07"), opened("07")], "opened 2 times"),
            (vec![on_the_wire(1015, good), opened("08")], "another payload"),
            (vec![on_the_wire(1016, good), opened("07")], "send time"),
            (vec![on_the_wire(1015, 3), opened("07")], "origin tag"),
        ] {
            let error = judge_messages(&[vec![7]], &v0, &[published()]).unwrap_err().to_string();
            assert!(error.contains(why), "{why} is not in {error}");
        }
    }
}
