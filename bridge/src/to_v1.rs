//! From v2 to v1: what a message must be to cross, and the envelope made of it or rebuilt from its tag.

use std::time::Duration;

use devp2p::clock::Now;
use waku0::envelope::Envelope;
use waku2::{handle::Received, message::WakuMessage};

use crate::{
    bridge::Bridge,
    config::TTL_LADDER_SECS,
    content_topic,
    crossing::{Conversion, Direction},
    drop_reason::DropReason,
    history::Draft,
    mapping::{self, Framed},
    origin::{EnvelopeOrigin, MAX_BITS},
    passage::Passage,
    policy::{Ephemeral, LateV2, Ways},
    seal::{SealError, Sealed},
    seen::Fingerprint,
    step::{SealDraft, Step, Yielded, instant_at},
    yielding::CHEAP_BITS,
};

/// How far ahead of our clock a message may have been sent, at most: the fudge of 64/WAKU2-NETWORK.
const FUTURE_ALLOWANCE: Duration = Duration::from_secs(1);
/// How long a message sent further ahead is held until its time.
pub const MAX_HOLD: Duration = Duration::from_secs(20);
/// An envelope with less time than this to its expiry is late.
const LATE_MARGIN: Duration = Duration::from_secs(2);
/// Mining ends this long before the expiry: what remains is for the envelope's way.
pub const MINING_MARGIN: Duration = Duration::from_secs(5);
/// RLP bytes that sealing adds at most: the nonce (a length and eight bytes), and longer list header.
const SEAL_BYTES: usize = 10;

impl Bridge {
    pub(crate) fn start_message(
        &mut self,
        now: Now,
        received: &Received,
        passage: &mut Passage,
    ) -> Result<Step, DropReason> {
        // What is relayed and not bridged is not remembered either: the same may come where it is.
        if !self.config.routes.knows(&received.pubsub_topic) {
            return Err(DropReason::NoRoute);
        }
        let message = &received.message;
        let read = content_topic::parse(&message.content_topic, self.config.policy.early_encoding)
            .map_err(|error| error.reason())?;
        passage.topic = Some(read.topic);
        self.tally.noncanonical_topics += u64::from(!read.canonical);
        self.tally.no_timestamp += u64::from(message.timestamp.is_none());
        // Whoever publishes without a proof would have us mine for nothing, or keep the same with a proof from crossing.
        if self.config.proofs && !received.proven {
            passage.route = self.config.routes.to_v1(&received.pubsub_topic, read.topic).cloned();
            return Err(DropReason::Rate);
        }
        self.note_on_v2(now, received);

        let framed = mapping::frame(message, read.canonical, &self.config.policy)?;
        let rebuilt = self.rebuild(now, message, passage);
        let content = Fingerprint::new(read.topic, &framed.data);
        passage.content = Some(content);
        self.give_way(now, Direction::V1ToV2, content, passage.sent, Some(received));
        self.observe(now, passage, content, rebuilt.is_some())?;
        let route = self.config.routes.to_v1(&received.pubsub_topic, read.topic).ok_or(DropReason::NoRoute)?.clone();
        passage.route = Some(route.clone());
        if message.ephemeral && self.config.policy.ephemeral == Ephemeral::Drop {
            return Err(DropReason::Ephemeral);
        }
        if self.keeps_rows_of(passage) && !message.ephemeral {
            let (sent, ttl) = (passage.sent, self.config.profile.ttl_secs);
            let draft = Draft::of_message(received, &framed, rebuilt.as_ref(), sent, ttl);
            passage.draft = Some(Box::new(draft));
        }
        if route.ways == Ways::ArchiveOnly {
            return Err(DropReason::NoRoute);
        }
        let step = match rebuilt {
            Some(envelope) => match self.gives_way(now, passage, false) {
                Some(release) => Step::Yield { what: Yielded::Post(envelope), release },
                None => post(now, envelope),
            },
            None => self.hold_or_mine(now, message, framed, passage)?,
        };
        match passage.route.as_ref().is_none_or(|route| self.rates.take(now.instant, route, Direction::V2ToV1)) {
            true => Ok(step),
            false => Err(DropReason::Rate),
        }
    }

    /// Where messages are restored: this one need not be.
    fn note_on_v2(&mut self, now: Now, received: &Received) {
        if self.config.policy.restore_tagged.is_on() {
            self.on_v2.insert(now.instant, received.hash);
            self.no_need_to_restore(now, &received.hash);
        }
    }

    /// The envelope that the message was made from, checked like one that came from a peer. What does not hold counts as
    /// no tag: the message is then one of v2's own.
    fn rebuild(&mut self, now: Now, message: &WakuMessage, passage: &mut Passage) -> Option<Envelope> {
        EnvelopeOrigin::from_meta(&message.meta).filter(|_| self.config.policy.origin_tags.is_on())?;
        self.tally.tagged_messages += 1;
        let envelope =
            mapping::rebuild(message, passage.topic?).filter(|envelope| self.check_envelope(now, envelope).is_ok())?;
        self.seen.note_ttl(Duration::from_secs(u64::from(envelope.ttl())));
        passage.by = Conversion::Rebuilt;
        passage.envelope = Some(envelope.hash());
        passage.sent = u64::from(envelope.sent());
        Some(envelope)
    }

    fn hold_or_mine(
        &self,
        now: Now,
        message: &WakuMessage,
        framed: Framed,
        passage: &Passage,
    ) -> Result<Step, DropReason> {
        let ahead = message.timestamp.and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos);
        let wait = ahead.map_or(Duration::ZERO, |sent| sent.saturating_sub(now.unix + FUTURE_ALLOWANCE));
        match wait {
            Duration::ZERO => self.mine(now, passage, framed, None),
            wait if wait <= MAX_HOLD => Ok(Step::Hold { framed, release: now.instant + wait }),
            _ => Err(DropReason::Future),
        }
    }

    /// An envelope to be mined; `above` is the time to live that has proved too short.
    pub(crate) fn mine(
        &self,
        now: Now,
        passage: &Passage,
        framed: Framed,
        above: Option<u32>,
    ) -> Result<Step, DropReason> {
        let topic = passage.topic.ok_or(DropReason::BadTopic)?;
        if framed.data.len() > self.config.max_envelope_bytes {
            return Err(DropReason::TooLargeV1);
        }
        let ttl = self.time_to_live(now, passage.sent, above).ok_or(DropReason::Late)?;
        // Past the year 2106 is past every clock that passed the check against the future.
        let sent = u32::try_from(passage.sent).map_err(|_| DropReason::Future)?;
        let unsealed = mapping::unsealed(topic, framed.data.clone(), sent, ttl).map_err(|_| DropReason::Future)?;
        if unsealed.short_rlp_len() + SEAL_BYTES > self.config.max_envelope_bytes {
            return Err(DropReason::TooLargeV1);
        }
        let bits = unsealed.required_bits(self.config.pow_target(framed.data.len()));
        if bits > MAX_BITS {
            return Err(DropReason::TooHard);
        }
        let expiry = Duration::from_secs(passage.sent + u64::from(ttl));
        let deadline = instant_at(now, expiry.saturating_sub(MINING_MARGIN));
        if deadline <= now.instant {
            return Err(DropReason::PowDeadline);
        }
        if let Some(release) = self.gives_way(now, passage, framed.origin.nanos.is_none() || bits > CHEAP_BITS) {
            return Ok(Step::Yield { what: Yielded::Frame(framed), release });
        }
        let base = if self.config.policy.origin_tags.is_on() { framed.origin.to_nonce() } else { 0 };
        Ok(Step::Mine { framed, ttl, seal: SealDraft { unsealed, base, bits, deadline } })
    }

    /// The profile's time to live; where that is too short, what the late policy gives. `None` is late.
    fn time_to_live(&self, now: Now, sent: u64, above: Option<u32>) -> Option<u32> {
        let leaves = |ttl: u32| Duration::from_secs(sent + u64::from(ttl)).saturating_sub(now.unix);
        let usual = self.config.profile.ttl_secs;
        let climbs = self.config.late_v2() == LateV2::Ladder;
        // On the ladder what cannot be mined in time is late too, for a longer time to live helps.
        let is_late = |left: Duration| if climbs { left <= MINING_MARGIN } else { left <= LATE_MARGIN };
        if above.is_none() && !is_late(leaves(usual)) {
            return Some(usual);
        }
        let above = above.unwrap_or(usual);
        TTL_LADDER_SECS.into_iter().find(|ttl| climbs && *ttl > above && leaves(*ttl) > MINING_MARGIN)
    }

    /// What follows the answer of the mining pool.
    pub(crate) fn after_mining(
        &self,
        now: Now,
        passage: &Passage,
        framed: &Framed,
        ttl: u32,
        sealed: Sealed,
    ) -> Result<Step, DropReason> {
        let envelope = sealed.map_err(|error| match error {
            SealError::Deadline => DropReason::PowDeadline,
            SealError::Exhausted => DropReason::TooHard,
            SealError::Shed => DropReason::Shed,
            SealError::Stopped => DropReason::PublishFailed,
        })?;
        let expiry = Duration::from_secs(u64::from(envelope.expiry()));
        if expiry <= now.unix + LATE_MARGIN {
            return self.mine(now, passage, framed.clone(), Some(ttl));
        }
        Ok(post(now, envelope))
    }
}

/// The envelope of a message, to be posted while v1 would take it.
pub(crate) fn post(now: Now, envelope: Envelope) -> Step {
    let at = |unix_secs: u32| instant_at(now, Duration::from_secs(u64::from(unix_secs)));
    Step::Post { from: at(envelope.sent()), until: at(envelope.expiry()), envelope }
}
