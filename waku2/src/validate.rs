//! What may pass: ordered checks on a message from the network, and their verdict.
//!
//! The order is the deployed one, which is nearly that of cost: size, decoding, then the table `CHECKS` of signed shards and time, and
//! last the proof; the first that does not accept decides. A proof takes time: its message is [`Judged::Verify`] or [`Judged::Hold`]
//! then, and [`Validator::conclude`] ends it. Where the text and deployed nodes differ, [`crate::rules`] says whose outcome
//! counts. Pure: time and what was accepted before ([`crate::meter`]) are kept here, no clock is.
//!
//! Gossip has marked a message as seen *before* asking here: one that is ignored is not looked at again for two minutes, whoever
//! sends it. So ignoring is only for what no honest peer needs.  Spec: 11/WAKU2-RELAY, 64/WAKU2-NETWORK; deployed: nwaku.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use devp2p::clock::Now;

use crate::{
    message::{DecodeError, WakuMessage},
    meter::{Budget, Meter},
    proof::Finding,
    relay::{self, MAX_RPC_BYTES},
    rln::{
        self, Nobody,
        attach::Attach,
        check::{Claim, MAX_EPOCH_GAP},
        epoch::EpochLength,
        gate::{Gate, Looked},
        roots::Roots,
    },
    rules::{Position, Row, Rules},
    signed::{self, SignedError, VerifyingKey},
    topic::PubsubTopic,
};

/// What becomes of a message: one-to-one with gossipsub's acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Relay and deliver it.
    Accept,
    /// Drop it; its sender is not to blame.
    Ignore(Reason),
    /// Drop it and lower its sender's score. Four of these and its peers stop listening to it.
    Reject(Reason),
}

impl Verdict {
    /// Would another time have made another verdict of it?
    #[must_use]
    pub fn depends_on_time(self) -> bool {
        matches!(self, Self::Reject(Reason::OutsideWindow | Reason::SignedTime | Reason::Epoch))
    }

    /// Without blame when it depends on the time, and our own clock may be wrong.
    #[must_use]
    pub fn unless(self, clock_may_be_wrong: impl FnOnce() -> bool) -> Self {
        match self {
            Self::Reject(reason) if self.depends_on_time() && clock_may_be_wrong() => Self::Ignore(reason),
            verdict => verdict,
        }
    }
}

/// Why a message does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its gossip frame is over [`Policy::max_rpc_bytes`].
    TooLarge,
    /// No protobuf, or a field of the wrong type.
    Malformed,
    /// A field that must stand on the wire does not.
    FieldMissing,
    /// `meta` is over [`crate::message::MAX_META_BYTES`].
    MetaTooLong,
    /// On a signed shard, without a time or of a time too far from ours.
    SignedTime,
    /// On a signed shard, not signed with the shard's key.
    Signature,
    /// Its time is further from ours than [`Policy::timestamp_window`], or it has none.
    OutsideWindow,
    /// It has no rate-limit proof, and the shard no free bandwidth.
    Unproven,
    /// Its proof is none.
    MalformedProof,
    /// Its proof is of another time.
    Epoch,
    /// Its proof is of a group that is not known.
    UnknownRoot,
    /// Its proof does not hold.
    InvalidProof,
    /// Its sender sends more than it may.
    DoubleSignal,
    /// Its proof was used before.
    Replay,
    /// Too much is to be verified, or has been accepted in this epoch.
    Busy,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, by [`Self::index`].
    pub const ALL: [Self; 15] = [
        Self::TooLarge,
        Self::Malformed,
        Self::FieldMissing,
        Self::MetaTooLong,
        Self::SignedTime,
        Self::Signature,
        Self::OutsideWindow,
        Self::Unproven,
        Self::MalformedProof,
        Self::Epoch,
        Self::UnknownRoot,
        Self::InvalidProof,
        Self::DoubleSignal,
        Self::Replay,
        Self::Busy,
    ];

    /// Its place in [`Self::ALL`] and among counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A short name, for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::FieldMissing => "field_missing",
            Self::MetaTooLong => "meta_too_long",
            Self::SignedTime => "signed_time",
            Self::Signature => "signature",
            Self::OutsideWindow => "outside_window",
            Self::Unproven => "unproven",
            Self::MalformedProof => "malformed_proof",
            Self::Epoch => "epoch",
            Self::UnknownRoot => "unknown_root",
            Self::InvalidProof => "invalid_proof",
            Self::DoubleSignal => "double_signal",
            Self::Replay => "replay",
            Self::Busy => "busy",
        }
    }
}

impl Reason {
    /// What people read.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "it is too large",
            Self::Malformed => "it is no message",
            Self::FieldMissing => "payload or content topic is missing",
            Self::MetaTooLong => "its meta is too long",
            Self::SignedTime => "the shard is a signed one, and its time is missing or too far from ours",
            Self::Signature => "the shard is a signed one, and it is not signed with the shard's key",
            Self::OutsideWindow => "its time is missing or too far from ours",
            Self::Unproven => "RLN validation failed: it has no proof",
            Self::MalformedProof => "RLN validation failed: its proof is none",
            Self::Epoch => "RLN validation failed: its proof is of another time",
            Self::UnknownRoot => "RLN validation failed: its proof is of a group that is not known",
            Self::InvalidProof => "RLN validation failed: its proof does not hold",
            Self::DoubleSignal => "RLN validation failed: its sender sends more than it may",
            Self::Replay => "RLN validation failed: its proof was used before",
            Self::Busy => "RLN validation failed: too much is to be verified",
        }
    }
}

impl From<&DecodeError> for Reason {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Malformed(_) => Self::Malformed,
            DecodeError::NoPayload | DecodeError::NoContentTopic => Self::FieldMissing,
            DecodeError::MetaTooLong(_) => Self::MetaTooLong,
        }
    }
}

impl From<SignedError> for Reason {
    fn from(error: SignedError) -> Self {
        match error {
            SignedError::Time => Self::SignedTime,
            SignedError::Signature | SignedError::MetaTaken => Self::Signature,
        }
    }
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// How far a message's time may be from ours, either way. `None`, the default, does not look at it: relay is for live
    /// messages of any clock, and only networks with rate-limit proofs bind the time.
    pub timestamp_window: Option<Duration>,
    /// How much of each shard may go to messages without a rate-limit proof. `None`, the default, is for networks that ask
    /// for no proofs: nothing is counted.
    pub free_bandwidth: Option<Budget>,
    /// Who verifies rate-limit proofs. `None`, the default, takes them at their word. With it, and without a word on free bandwidth, the
    /// text's counts.
    pub rln: Option<rln::Config>,
    /// What is published and has no proof stays here, where nobody makes one: peers would blame us for it. Of no effect with
    /// [`Policy::rln`], whose prover says so by itself.
    pub withholds_unproven: bool,
    /// Whose outcome counts where text and deployed nodes differ.
    pub rules: Rules,
    /// Signed shards and their keys.
    pub protected: HashMap<PubsubTopic, VerifyingKey>,
    /// A stricter bound on gossip frames than [`MAX_RPC_BYTES`], in bytes; a larger one changes nothing.
    pub max_rpc_bytes: Option<usize>,
}

impl Policy {
    /// The longest gossip frame that is taken and sent, in bytes.
    #[must_use]
    pub fn max_rpc_bytes(&self) -> usize {
        self.max_rpc_bytes.map_or(MAX_RPC_BYTES, |bytes| bytes.min(MAX_RPC_BYTES))
    }

    /// What messages without a proof may take of a shard; `None` where none is asked for.
    fn budget(&self) -> Option<Budget> {
        self.free_bandwidth.or_else(|| self.rln.as_ref().map(|_| Budget::default()))
    }

    /// What attaches proofs to own messages, or keeps those back that have none.
    pub(crate) fn attach(&self) -> Option<Attach> {
        let withheld = || self.withholds_unproven.then(|| Attach::new(Arc::new(Nobody), EpochLength::default()));
        self.rln.as_ref().map_or_else(withheld, rln::Config::attach)
    }

    /// Is the rule of any effect here, and why not?
    fn rests(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Timestamp => self.timestamp_window.is_none().then_some("no window"),
            _ if self.budget().is_none() => Some("no proofs asked for"),
            _ => (row.needs_verifier() && self.rln.is_none()).then_some("proofs are not verified"),
        }
    }
}

impl fmt::Display for Policy {
    /// The position of every rule, for the start log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, row) in Row::ALL.into_iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}={}", row.name(), self.rules.of(row))?;
            if let Some(why) = self.rests(row) {
                write!(f, " (rests: {why})")?;
            }
        }
        Ok(())
    }
}

/// What is looked at together.
struct Candidate<'a> {
    topic: &'a PubsubTopic,
    message: &'a WakuMessage,
    now: Now,
}

/// The checks on a decoded message before its proof, in order.
const CHECKS: &[fn(&Validator, &Candidate<'_>) -> Verdict] = &[Validator::signed, Validator::within_window];

/// How far judging came.
#[derive(Debug)]
pub enum Judged {
    /// To the end: the verdict, and the message when it is accepted.
    Done(Verdict, Option<WakuMessage>),
    /// To its proof, which is to be verified.
    Verify(Box<Pending>),
    /// To its proof, whose root is not known.
    Hold(Box<Pending>),
}

/// A message that is in order but for its proof, of which is known what it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Where it was published.
    pub topic: PubsubTopic,
    /// Its bytes.
    pub data: Bytes,
    /// Its content.
    pub message: WakuMessage,
    /// What its proof claims.
    pub claim: Claim,
}

/// The checks, and what they remember.
#[derive(Debug, Default)]
pub struct Validator {
    policy: Policy,
    /// One for each of our topics, and only where bandwidth is limited.
    meters: HashMap<PubsubTopic, Meter>,
    /// Where proofs are verified.
    gate: Option<Gate>,
}

impl Validator {
    /// Checks by `policy`, with nothing seen yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let gate = policy.rln.as_ref().map(rln::Config::gate);
        Self { policy, meters: HashMap::new(), gate }
    }

    /// Judges `data`, published on `topic`. To be asked about topics that the node relays, and to be told when it leaves one
    /// ([`Self::forget`]): what is remembered is bounded by them.
    pub fn judge(&mut self, topic: &PubsubTopic, data: &Bytes, now: Now) -> Judged {
        let message = match self.before_proof(topic, data, now) {
            Ok(message) => message,
            Err(verdict) => return Judged::Done(verdict, None),
        };
        let looked = match (&message.rate_limit_proof, &self.gate) {
            (Some(proof), Some(gate)) => gate.look(&message, proof, &self.policy.rules, now),
            (Some(_), None) => Looked::Found(Finding::Unverified),
            (None, _) => {
                let verdict = self.unproven(topic, data.len(), now);
                return self.done(verdict, topic, data, message, now);
            }
        };
        match looked {
            Looked::Found(finding) => self.done(self.verdict(finding), topic, data, message, now),
            Looked::Verify(claim) => Judged::Verify(Pending::boxed(topic, data, message, claim)),
            Looked::Hold(claim) => Judged::Hold(Pending::boxed(topic, data, message, claim)),
        }
    }

    /// All but the proof, which `data` may lack.
    ///
    /// # Errors
    /// The verdict on what does not pass.
    pub fn before_proof(&self, topic: &PubsubTopic, data: &Bytes, now: Now) -> Result<WakuMessage, Verdict> {
        let message = decode(topic, data, self.policy.max_rpc_bytes()).map_err(Verdict::Reject)?;
        let candidate = Candidate { topic, message: &message, now };
        match CHECKS.iter().map(|check| check(self, &candidate)).find(|verdict| *verdict != Verdict::Accept) {
            Some(verdict) => Err(verdict),
            None => Ok(message),
        }
    }

    fn done(&mut self, verdict: Verdict, topic: &PubsubTopic, data: &Bytes, message: WakuMessage, now: Now) -> Judged {
        let passes = verdict == Verdict::Accept;
        if passes {
            self.take(topic, data.len(), now);
        }
        Judged::Done(verdict, passes.then_some(message))
    }

    /// What becomes of a message of which this is found.
    #[must_use]
    pub fn verdict(&self, finding: Finding) -> Verdict {
        finding.verdict(&self.policy.rules)
    }

    /// What is found of a pending message, once it is known whether its proof holds. Who acts on [`Finding::Valid`] says so:
    /// [`Self::accepted`].
    #[must_use]
    pub fn conclude(&self, pending: &Pending, holds: bool, now: Now) -> Finding {
        match &self.gate {
            Some(gate) => gate.conclude(&pending.claim, holds, now),
            None => Finding::Unverified,
        }
    }

    /// A pending message is accepted: what it spent is spent.
    pub fn accepted(&mut self, pending: &Pending, now: Now) {
        if let Some(gate) = &mut self.gate {
            gate.accepted(&pending.claim, now);
        }
        self.take(&pending.topic, pending.data.len(), now);
    }

    /// These roots count now.
    pub fn set_roots(&mut self, roots: Arc<Roots>) {
        if let Some(gate) = &mut self.gate {
            gate.set_roots(roots);
        }
    }

    /// What looks at proofs, where they are verified.
    #[must_use]
    pub const fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// Would peers take this own message, where the shard is a signed one?
    ///
    /// # Errors
    /// When they would not, which costs us our score with them.
    pub fn check_own(&self, topic: &PubsubTopic, data: &Bytes, now: Now) -> Result<(), SignedError> {
        let Some(key) = self.policy.protected.get(topic) else { return Ok(()) };
        let message = decode(topic, data, self.policy.max_rpc_bytes()).map_err(|_| SignedError::Signature)?;
        signed::verify(key, topic, &message, now.unix_nanos())
    }

    /// Would peers still take this own message, which was valid when it went out?
    #[must_use]
    pub fn may_repeat(&self, topic: &PubsubTopic, data: &Bytes, now: Now) -> bool {
        let near = |sent: i64| Duration::from_nanos(sent.abs_diff(now.unix_nanos())) <= MAX_EPOCH_GAP;
        match self.before_proof(topic, data, now) {
            // The epoch of a proof is that of the message's time.
            Ok(message) => self.gate.is_none() || message.timestamp.is_some_and(near),
            // Only our own owner publishes what is no message, and is not asked for reasons.
            Err(verdict) => verdict == Verdict::Reject(Reason::Malformed),
        }
    }

    /// The node has left `topic`.
    pub fn forget(&mut self, topic: &PubsubTopic) {
        self.meters.remove(topic);
    }

    fn signed(&self, candidate: &Candidate<'_>) -> Verdict {
        let Some(key) = self.policy.protected.get(candidate.topic) else { return Verdict::Accept };
        match signed::verify(key, candidate.topic, candidate.message, candidate.now.unix_nanos()) {
            Ok(()) => Verdict::Accept,
            Err(error) => Verdict::Reject(error.into()),
        }
    }

    fn within_window(&self, candidate: &Candidate<'_>) -> Verdict {
        let Some(window) = self.policy.timestamp_window else { return Verdict::Accept };
        let now = candidate.now.unix_nanos();
        let distance = candidate.message.timestamp.map(|nanos| Duration::from_nanos(nanos.abs_diff(now)));
        let inside = |distance: Duration| match self.policy.rules.of(Row::Timestamp) {
            Position::Text => distance <= window,
            Position::Deployed => distance.as_secs() <= window.as_secs(),
        };
        if distance.is_some_and(inside) { Verdict::Accept } else { Verdict::Reject(Reason::OutsideWindow) }
    }

    /// Without a proof there is free bandwidth, or none.
    fn unproven(&mut self, topic: &PubsubTopic, bytes: usize, now: Now) -> Verdict {
        let rules = self.policy.rules;
        let Some(meter) = self.meter(topic, now) else { return Verdict::Accept };
        let has_room = meter.has(now.instant, bytes);
        match (rules.of(Row::Unproven), rules.of(Row::OverBandwidth)) {
            (Position::Text, _) if has_room => Verdict::Accept,
            (_, Position::Text) => Verdict::Ignore(Reason::Unproven),
            (_, Position::Deployed) => Verdict::Reject(Reason::Unproven),
        }
    }

    /// A message was accepted: it uses bandwidth, proven or not.
    fn take(&mut self, topic: &PubsubTopic, bytes: usize, now: Now) {
        if let Some(meter) = self.meter(topic, now) {
            meter.take(now.instant, bytes);
        }
    }

    fn meter(&mut self, topic: &PubsubTopic, now: Now) -> Option<&mut Meter> {
        let budget = self.policy.budget()?;
        Some(self.meters.entry(topic.clone()).or_insert_with(|| Meter::new(budget, now.instant)))
    }
}

impl Pending {
    fn boxed(topic: &PubsubTopic, data: &Bytes, message: WakuMessage, claim: Claim) -> Box<Self> {
        Box::new(Self { topic: topic.clone(), data: data.clone(), message, claim })
    }
}

fn decode(topic: &PubsubTopic, data: &Bytes, max_rpc_bytes: usize) -> Result<WakuMessage, Reason> {
    if relay::frame_bytes(topic, data.len()) > max_rpc_bytes {
        return Err(Reason::TooLarge);
    }
    WakuMessage::decode_shared(data.clone()).map_err(|error| Reason::from(&error))
}

#[cfg(test)]
mod proven;

#[cfg(test)]
mod tests {
    use devp2p::clock;

    use super::*;
    use crate::{message::Meta, signed::SigningKey};

    const MESSAGE_SECS: u64 = 1_700_000_000;
    const TWENTY: Duration = Duration::from_secs(20);

    fn topic() -> PubsubTopic {
        "/waku/2/rs/1/1".parse().unwrap()
    }

    fn message(payload_bytes: usize, timestamp: Option<i64>) -> WakuMessage {
        WakuMessage {
            payload: vec![7; payload_bytes].into(),
            content_topic: "/a/1/b/c".into(),
            version: 0,
            timestamp,
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        }
    }

    fn proven(payload_bytes: usize) -> WakuMessage {
        WakuMessage { rate_limit_proof: Some("a proof".into()), ..message(payload_bytes, None) }
    }

    fn stamped() -> WakuMessage {
        message(3, Some(MESSAGE_SECS as i64 * 1_000_000_000))
    }

    /// The wall clock at `secs`; the monotonic one does not matter here.
    fn at(secs: u64) -> Now {
        Now { unix: Duration::from_secs(secs), ..clock::now() }
    }

    /// What becomes of what has no proof that is verified.
    fn ended(judged: Judged) -> (Verdict, Option<WakuMessage>) {
        match judged {
            Judged::Done(verdict, message) => (verdict, message),
            Judged::Verify(pending) | Judged::Hold(pending) => panic!("{pending:?}"),
        }
    }

    fn judge(validator: &mut Validator, data: Bytes, now: Now) -> Verdict {
        let (verdict, message) = ended(validator.judge(&topic(), &data, now));
        assert_eq!(verdict == Verdict::Accept, message.is_some());
        verdict
    }

    fn judge_once(policy: Policy, data: Bytes, now: Now) -> Verdict {
        judge(&mut Validator::new(policy), data, now)
    }

    #[test]
    fn the_window_is_off_by_default() {
        for timestamp in [None, Some(i64::MIN), Some(i64::MAX), Some(1)] {
            let verdict = judge_once(Policy::default(), message(3, timestamp).encode(), at(MESSAGE_SECS));
            assert_eq!(verdict, Verdict::Accept);
        }
    }

    /// Row "timestamp off by more than 20 s".
    #[test]
    fn row_timestamp_in_each_position() {
        let outside = Verdict::Reject(Reason::OutsideWindow);
        let nano = Duration::from_nanos(1);
        let (sent, second) = (Duration::from_secs(MESSAGE_SECS), Duration::from_secs(1));
        for (rules, last) in [
            (Rules::all(Position::Text), TWENTY),
            (Rules::live(), TWENTY),
            (Rules::all(Position::Deployed), TWENTY + second - nano),
        ] {
            let policy = Policy { timestamp_window: Some(TWENTY), rules, ..Policy::default() };
            for (unix, verdict) in [
                (sent, Verdict::Accept),
                (sent - last, Verdict::Accept),
                (sent + last, Verdict::Accept),
                (sent - last - nano, outside),
                (sent + last + nano, outside),
            ] {
                let now = Now { unix, ..clock::now() };
                assert_eq!(judge_once(policy.clone(), stamped().encode(), now), verdict, "{rules:?} {unix:?}");
            }
        }
    }

    #[test]
    fn a_window_asks_for_a_time_of_messages_with_a_proof_too() {
        for rules in Position::ALL.map(Rules::all) {
            let policy = Policy { timestamp_window: Some(TWENTY), rules, ..Policy::default() };
            for timestamp in [None, Some(i64::MIN), Some(i64::MAX)] {
                let late = WakuMessage { timestamp, ..proven(3) };
                let verdict = judge_once(policy.clone(), late.encode(), at(MESSAGE_SECS));
                assert_eq!(verdict, Verdict::Reject(Reason::OutsideWindow));
            }
        }
    }

    /// Rows "no proof, shard below 1 Mbps" and "no proof, shard at or above 1 Mbps".
    #[test]
    fn rows_of_unproven_messages_in_each_position() {
        let live = Rules::live();
        let data = message(100_000, None).encode();
        for (rules, below, above) in [
            (Rules::all(Position::Text), Verdict::Accept, Verdict::Ignore(Reason::Unproven)),
            (Rules::all(Position::Deployed), Verdict::Reject(Reason::Unproven), Verdict::Reject(Reason::Unproven)),
            (live, Verdict::Ignore(Reason::Unproven), Verdict::Ignore(Reason::Unproven)),
            (live.with(Row::Unproven, Position::Text), Verdict::Accept, Verdict::Ignore(Reason::Unproven)),
            (
                Rules::all(Position::Text).with(Row::OverBandwidth, Position::Deployed),
                Verdict::Accept,
                Verdict::Reject(Reason::Unproven),
            ),
        ] {
            let mut validator =
                Validator::new(Policy { free_bandwidth: Some(Budget::default()), rules, ..Policy::default() });
            let now = at(MESSAGE_SECS);
            assert_eq!(judge(&mut validator, data.clone(), now), below, "{rules:?}");
            for _ in 0..20 {
                judge(&mut validator, proven(100_000).encode(), now);
            }
            assert_eq!(judge(&mut validator, data.clone(), now), above, "{rules:?}");
        }
    }

    #[test]
    fn the_budget_is_each_shards_own_and_comes_back() {
        let policy = Policy { free_bandwidth: Some(Budget::default()), ..Policy::default() };
        let (mut validator, now) = (Validator::new(policy), at(MESSAGE_SECS));
        let data = message(150_000, None).encode();
        let passed = (0..20).take_while(|_| judge(&mut validator, data.clone(), now) == Verdict::Accept).count();
        assert_eq!(passed, 8, "1,250,000 bytes");
        let other: PubsubTopic = "/waku/2/rs/1/2".parse().unwrap();
        assert_eq!(ended(validator.judge(&other, &data, now)).0, Verdict::Accept);
        assert_eq!(judge(&mut validator, data.clone(), now.after(Duration::from_secs(1))), Verdict::Accept);
        let small = message(3, None).encode();
        validator.forget(&topic());
        assert_eq!(judge(&mut validator, small, now), Verdict::Accept, "a shard that is joined anew starts anew");
    }

    #[test]
    fn proven_messages_use_bandwidth_and_are_never_held_back() {
        let policy = Policy { free_bandwidth: Some(Budget::default()), ..Policy::default() };
        let (mut validator, now) = (Validator::new(policy), at(MESSAGE_SECS));
        for _ in 0..20 {
            assert_eq!(judge(&mut validator, proven(150_000).encode(), now), Verdict::Accept);
        }
        assert_eq!(judge(&mut validator, message(0, None).encode(), now), Verdict::Ignore(Reason::Unproven));
    }

    #[test]
    fn what_is_refused_takes_no_bandwidth() {
        let policy = Policy {
            timestamp_window: Some(TWENTY),
            free_bandwidth: Some(Budget { burst_bytes: 200, ..Budget::default() }),
            ..Policy::default()
        };
        let (mut validator, now) = (Validator::new(policy), at(MESSAGE_SECS));
        for _ in 0..100 {
            assert_eq!(judge(&mut validator, message(3, None).encode(), now), Verdict::Reject(Reason::OutsideWindow));
        }
        assert_eq!(judge(&mut validator, stamped().encode(), now), Verdict::Accept);
    }

    #[test]
    fn without_a_budget_no_proof_is_asked_for_in_any_position() {
        for rules in Position::ALL.map(Rules::all) {
            let mut validator = Validator::new(Policy { rules, ..Policy::default() });
            for _ in 0..50 {
                let verdict = judge(&mut validator, message(150_000, None).encode(), at(MESSAGE_SECS));
                assert_eq!(verdict, Verdict::Accept);
            }
            assert!(validator.meters.is_empty());
        }
    }

    #[test]
    fn a_signed_shard_takes_what_its_key_signed_and_others_are_open() {
        let key: SigningKey = "55".repeat(32).parse().unwrap();
        let other: PubsubTopic = "/waku/2/rs/1/2".parse().unwrap();
        for rules in Position::ALL.map(Rules::all) {
            let policy = Policy { protected: HashMap::from([(topic(), key.verifying())]), rules, ..Policy::default() };
            let (mut validator, now) = (Validator::new(policy), at(MESSAGE_SECS + 299));
            let signed = key.sign(&topic(), stamped()).unwrap().encode();
            let plain = stamped().encode();
            assert_eq!(judge(&mut validator, signed.clone(), now), Verdict::Accept);
            assert_eq!(judge(&mut validator, plain.clone(), now), Verdict::Reject(Reason::Signature));
            assert_eq!(
                judge(&mut validator, signed.clone(), at(MESSAGE_SECS + 300)),
                Verdict::Reject(Reason::SignedTime)
            );
            assert_eq!(ended(validator.judge(&other, &plain, now)).0, Verdict::Accept);
            for refused in [&plain, &Bytes::new()] {
                assert_eq!(validator.check_own(&topic(), refused, now), Err(SignedError::Signature));
            }
            assert_eq!(validator.check_own(&topic(), &signed, now), Ok(()));
            assert_eq!(validator.check_own(&other, &plain, now), Ok(()));
        }
    }

    /// Row "undecodable WakuMessage".
    #[test]
    fn what_does_not_decode_is_rejected_by_cause_in_each_position() {
        let mut meta = b"\x0a\x00\x12\x00\x5a\x41".to_vec();
        meta.extend([0; 65]);
        for rules in Position::ALL.map(Rules::all).into_iter().chain([Rules::live()]) {
            for (data, reason) in [
                (&b"\xff"[..], Reason::Malformed),
                (b"\x0a\x00", Reason::FieldMissing),
                (b"\x12\x00", Reason::FieldMissing),
                (b"", Reason::FieldMissing),
                (&meta, Reason::MetaTooLong),
            ] {
                let policy = Policy { rules, ..Policy::default() };
                let verdict = judge_once(policy, Bytes::copy_from_slice(data), at(0));
                assert_eq!(verdict, Verdict::Reject(reason), "{data:x?}");
            }
        }
    }

    #[test]
    fn the_frame_decides_on_the_size() {
        let overhead = message(100_000, None).encode().len() - 100_000;
        let largest = (0..200)
            .map(|slack| MAX_RPC_BYTES - overhead - slack)
            .find(|bytes| relay::frame_bytes(&topic(), bytes + overhead) <= MAX_RPC_BYTES)
            .unwrap();
        for rules in Position::ALL.map(Rules::all) {
            let policy = Policy { rules, ..Policy::default() };
            assert_eq!(judge_once(policy.clone(), message(largest, None).encode(), at(0)), Verdict::Accept);
            let over = message(largest + 1, None).encode();
            assert_eq!(judge_once(policy, over, at(0)), Verdict::Reject(Reason::TooLarge));
        }
    }

    #[test]
    fn a_stricter_bound_counts_and_a_laxer_one_does_not() {
        let data = message(1_000, None).encode();
        let frame = relay::frame_bytes(&topic(), data.len());
        let bound = |bytes| Policy { max_rpc_bytes: Some(bytes), ..Policy::default() };
        assert_eq!(judge_once(bound(frame), data.clone(), at(0)), Verdict::Accept);
        assert_eq!(judge_once(bound(frame - 1), data, at(0)), Verdict::Reject(Reason::TooLarge));
        assert_eq!(bound(usize::MAX).max_rpc_bytes(), MAX_RPC_BYTES);
    }

    #[test]
    fn h73_what_a_message_may_hold() {
        let now = at(MESSAGE_SECS);
        let policy = Policy { timestamp_window: Some(TWENTY), ..Policy::default() };
        let outside = Verdict::Reject(Reason::OutsideWindow);
        let hour = (MESSAGE_SECS as i64 + 3_600) * 1_000_000_000;
        for timestamp in [i64::MIN, i64::MAX, hour] {
            let data = message(3, Some(timestamp)).encode();
            assert_eq!(judge_once(policy.clone(), data.clone(), now), outside);
            assert_eq!(judge_once(Policy::default(), data, now), Verdict::Accept, "no window, no look at the time");
        }
        let odd = WakuMessage { version: u32::MAX, ..stamped() };
        assert_eq!(judge_once(policy.clone(), odd.encode(), now), Verdict::Accept);
        let mut unknown = stamped().encode().to_vec();
        unknown.extend(b"\xa0\x06\x01");
        let (verdict, read) = ended(Validator::new(policy).judge(&topic(), &unknown.into(), now));
        assert_eq!((verdict, read), (Verdict::Accept, Some(stamped())), "unknown fields change nothing");
        let huge = message(153_601, None).encode();
        assert_eq!(judge_once(Policy::default(), huge, now), Verdict::Reject(Reason::TooLarge));
    }

    #[test]
    fn the_start_log_tells_every_row() {
        let live = Policy {
            timestamp_window: Some(TWENTY),
            free_bandwidth: Some(Budget::NONE),
            rules: Rules::live(),
            ..Policy::default()
        };
        let told = live.to_string();
        for part in [
            "timestamp=text,",
            "unproven=deployed,",
            "over-bandwidth=text,",
            "other-epoch=deployed (rests: proofs are not verified)",
            "replay=text (rests",
        ] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
        let open = Policy::default().to_string();
        assert!(
            open.contains("timestamp=text (rests: no window), unproven=text (rests: no proofs asked for)"),
            "{open}"
        );
        assert!(Row::ALL.into_iter().all(|row| open.contains(row.name())));
    }

    #[test]
    fn reasons_count_themselves() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
