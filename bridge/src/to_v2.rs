//! From v1 to v2: what an envelope must be to cross, and the message made of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::clock::Now;
use waku0::envelope::Envelope;
use waku2::{hash::message_hash, message::WakuMessage, rln::proof::PROOF_FIELD_BYTES};

use crate::{
    bridge::Bridge,
    config::TTL_LADDER_SECS,
    crossing::{Conversion, Direction},
    drop_reason::DropReason,
    history::Draft,
    mapping,
    origin::MessageOrigin,
    passage::Passage,
    policy::{LateV1, Ways},
    router::Signing,
    seen::Fingerprint,
    step::{Step, Yielded, instant_at},
    yielding::delay,
};

/// How far ahead of our clock an envelope may have been sent, in seconds: go-ethereum's allowance.
pub const FUTURE_ALLOWANCE_SECS: u64 = 10;
/// How long a message whose envelope came back may still show itself on v2, before it is published there again.
pub const RESTORE_HOLD: Duration = Duration::from_secs(30);
/// How long publishing a restored message is tried. It is late by then in any case.
const RESTORE_WINDOW: Duration = Duration::from_secs(20);

impl Bridge {
    pub(crate) fn start_envelope(
        &mut self,
        now: Now,
        envelope: &Arc<Envelope>,
        passage: &mut Passage,
    ) -> Result<Step, DropReason> {
        self.check_envelope(now, envelope)?;
        self.seen.note_ttl(Duration::from_secs(u64::from(envelope.ttl())));
        let content = Fingerprint::new(envelope.topic(), envelope.data());
        passage.content = Some(content);
        self.give_way(now, Direction::V2ToV1, content, passage.sent, None);
        if let Some(origin) = self.origin_of(envelope) {
            return self.start_tagged(now, envelope, origin, content, passage);
        }
        self.observe(now, passage, content, false)?;
        self.route_to_v2(envelope, passage)?;
        self.wrap(now, envelope, passage)
    }

    /// The message of an envelope for its route.
    pub(crate) fn wrap(
        &mut self,
        now: Now,
        envelope: &Arc<Envelope>,
        passage: &mut Passage,
    ) -> Result<Step, DropReason> {
        let route = passage.route.clone().ok_or(DropReason::NoRoute)?;
        let tagged = self.config.policy.origin_tags.is_on();
        if self.keeps_rows_of(passage) {
            let tagged = tagged && route.signing == Signing::Open;
            let message = mapping::message_of(envelope, mapping::timestamp_of(envelope), tagged);
            passage.draft = Some(Box::new(Draft::of_envelope(envelope, message)));
        }
        if route.ways == Ways::ArchiveOnly {
            return Err(DropReason::NoRoute);
        }
        self.clock_is_right()?;
        let Stamp { timestamp, until, differs, again } = self.stamp(now, envelope)?;
        if let Some(release) = self.gives_way(now, passage, differs || self.config.proves_apart()) {
            return Ok(Step::Yield { what: Yielded::Envelope(Arc::clone(envelope)), release });
        }
        let message = match &route.signing {
            Signing::Open => mapping::message_of(envelope, timestamp, tagged),
            // The signature stands where the tag would.
            Signing::With(key) => key
                .sign(&route.pubsub, mapping::message_of(envelope, timestamp, false))
                .map_err(|_| DropReason::Late)?, // It lacks a time only if it was sent in 1970.
            Signing::NoKey => return Err(DropReason::NoKey),
        };
        let again = again.then(|| Arc::clone(envelope));
        let step = self.publish(message, until, again, passage)?;
        match self.rates.take(now.instant, &route, Direction::V1ToV2) {
            true => Ok(step),
            false => Err(DropReason::Rate),
        }
    }

    /// Whether an envelope is one that may be let through. Checked again where one is rebuilt from a tag.
    pub(crate) fn check_envelope(&self, now: Now, envelope: &Envelope) -> Result<(), DropReason> {
        if envelope.ttl() == 0 {
            return Err(DropReason::Malformed); // An expiry before the TTL has no spelling: see `Envelope`.
        }
        if u64::from(envelope.expiry()) < now.unix_secs() {
            return Err(DropReason::Expired);
        }
        if u64::from(envelope.sent()) > now.unix_secs() + FUTURE_ALLOWANCE_SECS {
            return Err(DropReason::Future);
        }
        if envelope.raw().len() > self.config.max_envelope_bytes {
            return Err(DropReason::TooLargeV1);
        }
        if envelope.pow() < self.config.min_pow {
            return Err(DropReason::LowPow);
        }
        Ok(())
    }

    fn origin_of(&mut self, envelope: &Envelope) -> Option<MessageOrigin> {
        let origin = MessageOrigin::from_nonce(envelope.nonce()).filter(|_| self.config.policy.origin_tags.is_on())?;
        self.tally.tagged_envelopes += 1;
        let ttl_is_ours = envelope.ttl() == self.config.profile.ttl_secs || TTL_LADDER_SECS.contains(&envelope.ttl());
        // More work than ours shows only in that its nonce is not the lowest one that would do for us; to find that out is to mine.
        if !ttl_is_ours || envelope.pow() < self.config.pow_target(envelope.data().len()) {
            self.tally.profile_mismatches += 1;
        }
        Some(origin)
    }

    /// An envelope that says it was a message. It never enters the memory of what was seen: else whoever mines a copy with
    /// our mark could keep the message from crossing.
    fn start_tagged(
        &mut self,
        now: Now,
        envelope: &Arc<Envelope>,
        origin: MessageOrigin,
        content: Fingerprint,
        passage: &mut Passage,
    ) -> Result<Step, DropReason> {
        let message = mapping::restore(envelope, origin)
            .filter(|_| self.config.policy.restore_tagged.is_on())
            .ok_or(DropReason::Returning)?;
        self.route_to_v2(envelope, passage)?;
        if passage.route.as_ref().is_some_and(|route| route.ways == Ways::ArchiveOnly) {
            return Err(DropReason::Returning);
        }
        let hash = passage.pubsub.as_ref().map(|topic| message_hash(topic, &message)).ok_or(DropReason::NoRoute)?;
        passage.message = Some(hash);
        passage.by = Conversion::Restored;
        let known = self.seen.look_up(content, passage.sent).is_some_and(|entry| entry.message == Some(hash));
        if known || self.on_v2.contains(&hash) || self.is_restoring(&hash) {
            return Err(DropReason::Returning);
        }
        // Where each bridge proves by itself, one is to be first.
        let own = if self.config.proves_apart() {
            delay(&self.config.key, content, self.config.stagger)
        } else {
            Duration::ZERO
        };
        Ok(Step::Restore { message, envelope: Arc::clone(envelope), release: now.instant + RESTORE_HOLD + own })
    }

    /// Nobody on v2 has shown the message: publish it there.
    pub(crate) fn publish_restored(
        &self,
        now: Now,
        message: &WakuMessage,
        envelope: &Envelope,
        passage: &mut Passage,
    ) -> Result<Step, DropReason> {
        if self.keeps_rows_of(passage) && !message.ephemeral {
            passage.draft = Some(Box::new(Draft::of_envelope(envelope, message.clone())));
        }
        self.publish(message.clone(), now.instant + RESTORE_WINDOW, None, passage)
    }

    fn route_to_v2(&self, envelope: &Envelope, passage: &mut Passage) -> Result<(), DropReason> {
        let route = self.config.routes.to_v2(envelope.topic()).next().ok_or(DropReason::NoRoute)?;
        passage.take(Arc::clone(route));
        Ok(())
    }

    /// The message's time, and until when it may be tried with it.
    fn stamp(&self, now: Now, envelope: &Envelope) -> Result<Stamp, DropReason> {
        let late_at = Duration::from_secs(u64::from(envelope.sent())).saturating_add(self.config.late_after);
        let timestamp = mapping::timestamp_of(envelope);
        let expires = instant_at(now, Duration::from_secs(u64::from(envelope.expiry())));
        let is_late = now.unix > late_at;
        let until = instant_at(now, late_at);
        let in_time = Stamp { timestamp, until, differs: false, again: false };
        match self.config.late_v1() {
            LateV1::Publish => Ok(Stamp { until: until.max(expires), ..in_time }),
            LateV1::Retime if is_late => {
                Ok(Stamp { timestamp: now.unix_nanos(), until: expires, differs: true, again: false })
            }
            // At the end of its time it is still in time; just after, it is late.
            LateV1::Retime => Ok(Stamp { until: until + Duration::from_millis(1), again: true, ..in_time }),
            LateV1::Drop | LateV1::Archive if is_late => Err(DropReason::Late),
            LateV1::Drop | LateV1::Archive => Ok(in_time),
        }
    }

    fn publish(
        &self,
        message: WakuMessage,
        until: Instant,
        again: Option<Arc<Envelope>>,
        passage: &mut Passage,
    ) -> Result<Step, DropReason> {
        passage.message = passage.pubsub.as_ref().map(|topic| message_hash(topic, &message));
        let data = message.encode();
        if let Some(draft) = &mut passage.draft {
            draft.message = message;
        }
        let proof_bytes = if self.config.proves_apart() { PROOF_FIELD_BYTES } else { 0 };
        match data.len() + proof_bytes > self.config.max_message_bytes {
            true => Err(DropReason::TooLargeV2),
            false => Ok(Step::Publish { data, until, again }),
        }
    }
}

/// When a message says it was sent.
struct Stamp {
    timestamp: i64,
    /// Until when v2 would take it, or v1 keep it.
    until: Instant,
    /// Another bridge would say another time.
    differs: bool,
    /// From then on it may be tried with another time.
    again: bool,
}
