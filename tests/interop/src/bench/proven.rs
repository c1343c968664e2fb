//! What it adds to the hop of a lone message that its rate-limit proof is verified: through a node that does, and one that does not.
//!
//! The same kind of message goes through both, and its proof is made just before, so that the machine is as warm for either.

use super::queries::Hop;
use super::store::{figures, shares};
use super::{Effort, Figure};
use crate::causeway::Causeway;
use crate::scenarios::Lab;
use anyhow::{Context as _, Result};
use devp2p::clock::now;
use rand::{SeedableRng as _, rngs::StdRng};
use std::fs;
use std::sync::Arc;
use tokio::runtime::Runtime;
use waku_rln::prove::{Message, Ready};
use waku_rln::{Identity, Limit, Member, Prover, Tree, Verifier};
use waku2::WakuMessage;
use waku2::rln::epoch::EpochLength;
use waku2::rln::proof::IDENTIFIER;
use waku2::rln::signal::Signal;

/// Messages an epoch of the member: more than are sent.
const LIMIT: u64 = 10_000;

/// Through both, one after the other.
pub(super) fn hop(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let runtime = Runtime::new().context("a runtime for the peers")?;
    let mut member = Proven::new()?;
    let group = lab.data_dir("hop-group");
    fs::write(&group, format!("0x{}\n", member.leaf()))?;
    let file = format!("--rln-group={}", group.to_str().context("a path in Unicode")?);
    let mut all = Vec::new();
    for (name, flags) in [("unverified", &[][..]), ("verified", &["--rln-relay=true", &file][..])] {
        let node = lab.node(&format!("hop-{name}"), &[&["--log-level=warn"], flags].concat())?;
        let times = runtime.block_on(times(&node, &mut member, effort.storm_hops))?;
        all.extend(figures(&format!("a lone message, {name}"), shares(times), None, 1));
        node.stop()?;
    }
    Ok(all)
}

async fn times(node: &Causeway, member: &mut Proven, count: u32) -> Result<Vec<f64>> {
    let mut hop = Hop::start(&node.multiaddr().parse()?, Box::new(|message| member.prove(message))).await?;
    hop.times(count).await
}

/// A member that is alone in its group.
struct Proven {
    prover: Prover,
    ready: Ready,
    member: Member,
    sent: u16,
}

impl Proven {
    fn new() -> Result<Self> {
        let verifier = Arc::new(Verifier::new(&mut StdRng::seed_from_u64(1)));
        let prover = Prover::new(verifier);
        let limit = Limit::new(LIMIT).context("a limit that the circuit counts")?;
        let member = Member { identity: Arc::new(Identity::seeded(b"hop")), limit };
        let tree = Tree::new(&[member.leaf()])?;
        let path = tree.path(0).context("a path")?;
        let ready = prover.ready(member.clone(), path, tree.root())?;
        Ok(Self { prover, ready, member, sent: 0 })
    }

    /// In hex as Ethereum writes numbers.
    fn leaf(&self) -> String {
        hex::encode(self.member.leaf().bytes().iter().rev().copied().collect::<Vec<u8>>())
    }

    fn prove(&mut self, message: WakuMessage) -> Result<WakuMessage> {
        let task = Message {
            id: self.sent,
            x: *Signal::of(&message).x(),
            epoch: EpochLength::default().at(now().unix),
            identifier: IDENTIFIER,
        };
        self.sent += 1;
        let proof = self.prover.prove(&self.ready, &task)?;
        Ok(WakuMessage { rate_limit_proof: Some(proof.encode()), ..message })
    }
}
