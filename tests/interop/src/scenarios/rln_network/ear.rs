//! What a node has heard by relay, asked over REST, and the proofs in it.

use super::bridged::TO_V2;
use super::ground::{EPOCH_SECS, TOPIC};
use super::members::Membership;
use super::strangers;
use crate::causeway::Causeway;
use crate::crossing::content_topic;
use crate::deadline::poll_every;
use crate::process::{number, text};
use crate::waku_peer::PUBSUB;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use waku2::hash::message_hash;
use waku2::message::{Meta, WakuMessage};
use waku2::rln::epoch::{Epoch, EpochLength};
use waku2::rln::proof::RateLimitProof;

/// What came on the shard since it was last asked for.
const MESSAGES: &str = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F0%2F0";
/// From a publication to its arrival, proof and all, on a busy machine.
pub(super) const ARRIVAL: Duration = Duration::from_secs(30);
/// How often it is asked.
const AGAIN: Duration = Duration::from_millis(100);

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) message: WakuMessage,
    pub(super) proof: RateLimitProof,
    /// Hex.
    pub(super) hash: String,
}

impl Heard {
    fn read(told: &Value) -> Result<Self> {
        let bytes = |field: &str| Ok::<Bytes, anyhow::Error>(BASE64.decode(text(told, field).as_bytes())?.into());
        let proof = bytes("proof")?;
        let message = WakuMessage {
            payload: bytes("payload")?,
            content_topic: text(told, "contentTopic").into(),
            version: u32::try_from(number(told, "version").context("no version")?)?,
            timestamp: told["timestamp"].as_i64(),
            meta: Meta::new(bytes("meta")?)?,
            rate_limit_proof: Some(proof.clone()),
            ephemeral: told["ephemeral"] == true,
        };
        let hash = hex::encode(message_hash(&PUBSUB.parse()?, &message).as_bytes());
        let proof = RateLimitProof::decode(&proof).with_context(|| format!("heard without a proof: {hash}"))?;
        Ok(Self { message, proof, hash })
    }

    pub(super) fn topic(&self) -> &str {
        self.message.content_topic.as_str()
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    pub(super) fn proof_bytes(&self) -> Bytes {
        self.message.rate_limit_proof.clone().unwrap_or_default()
    }

    /// Its proof's epoch, which must be that of its time.
    pub(super) fn epoch(&self) -> Result<Epoch> {
        let epoch = Epoch::from_bytes(&self.proof.epoch).context("no epoch")?;
        let nanos = u64::try_from(self.message.timestamp.context("no time")?)?;
        let length = EpochLength::from_secs(EPOCH_SECS).context("a length")?;
        ensure!(epoch == length.at(Duration::from_nanos(nanos)), "{epoch:?} is not that of {nanos}");
        Ok(epoch)
    }
}

/// All that a node has heard so far.
#[derive(Debug)]
pub(super) struct Ear<'a> {
    node: &'a Causeway,
    heard: Vec<Heard>,
}

impl<'a> Ear<'a> {
    pub(super) const fn at(node: &'a Causeway) -> Self {
        Self { node, heard: Vec::new() }
    }

    pub(super) fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Those on a content topic.
    pub(super) fn on<'e>(&'e self, topic: &'e str) -> impl Iterator<Item = &'e Heard> {
        self.heard.iter().filter(move |heard| heard.topic() == topic)
    }

    /// Asks what is new. Whatever came must carry a proof.
    pub(super) fn listen(&mut self) -> Result<()> {
        let (status, body) = self.node.get(MESSAGES)?;
        ensure!(status == 200, "{}: {status} {body}", self.node.process().name());
        let told: Vec<Value> = serde_json::from_str(&body)?;
        for told in &told {
            let heard = Heard::read(told).with_context(|| self.node.process().name().to_owned())?;
            self.heard.push(heard);
        }
        Ok(())
    }

    /// Listens until enough has come.
    pub(super) fn until(&mut self, what: &str, is_enough: impl Fn(&Self) -> bool) -> Result<()> {
        let come = poll_every(AGAIN, ARRIVAL, || match self.listen() {
            Ok(()) => is_enough(self).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        come.unwrap_or_else(|| {
            let missing = format!("it has heard {} messages, and waits in vain for {what}", self.heard.len());
            Err(self.node.explain(self.node.process().failure(&missing)))
        })
    }

    /// How often this was heard.
    pub(super) fn times(&self, payload: &[u8]) -> usize {
        self.heard.iter().filter(|heard| heard.payload() == payload).count()
    }

    /// Nothing came of those who have no right to speak, and nothing twice; no nullifier is in two messages, and no member has more
    /// of them in an epoch than its limit. Gives how many.
    pub(super) fn judge(&self, bridge: &Membership, member: &Membership) -> Result<usize> {
        let (mut nullifiers, mut hashes, crossed) = (BTreeSet::new(), BTreeSet::new(), content_topic(TO_V2));
        let mut spent: BTreeMap<(bool, Epoch), u64> = BTreeMap::new();
        for heard in &self.heard {
            let epoch = heard.epoch()?;
            ensure!(!heard.topic().starts_with(strangers::TOPICS), "{} is of a stranger", heard.hash);
            ensure!(hashes.insert(&heard.hash), "{} was heard twice", heard.hash);
            ensure!(nullifiers.insert((epoch, heard.proof.nullifier)), "a nullifier of {epoch:?} is there twice");
            *spent.entry((heard.topic() == crossed, epoch)).or_default() += 1;
        }
        for ((is_of_bridge, epoch), count) in spent {
            let limit = if is_of_bridge { bridge.limit } else { member.limit };
            ensure!(count <= limit, "{count} messages in {epoch:?}, of {limit}");
        }
        Ok(nullifiers.len())
    }
}

/// All nodes have heard these payloads once each, and the very same messages with the very same proofs.
pub(super) fn heard_alike(ears: &mut [Ear<'_>], payloads: &[Vec<u8>]) -> Result<()> {
    let is_there = |ear: &Ear<'_>| payloads.iter().all(|payload| ear.times(payload) > 0);
    for ear in &mut *ears {
        ear.until(&format!("{} messages", payloads.len()), is_there)?;
    }
    let of = |ear: &Ear<'_>| ear.on(TOPIC).map(|heard| (heard.hash.clone(), heard.clone())).collect::<BTreeMap<_, _>>();
    let first = ears.first().map(of).unwrap_or_default();
    for ear in ears {
        let name = ear.node.process().name();
        ensure!(ear.on(TOPIC).count() == payloads.len(), "{name} has heard {} messages", ear.on(TOPIC).count());
        ensure!(of(ear) == first, "{name} has heard other messages than the hub, or with other proofs");
    }
    Ok(())
}
