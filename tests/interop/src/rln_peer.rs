//! The reference library of rate-limit proofs under the driver: an earlier release, or the WebAssembly build. Both take the same commands.

use crate::process::{Event, Process, text};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::time::Duration;
use waku_rln::{Member, Path as TreePath};
use waku2::rln::element::Element;
use waku2::rln::proof::RateLimitProof;

/// From the start of the program to its `ready`: it reads a key, in a browser's engine for some seconds.
const START: Duration = Duration::from_secs(60);
/// From a command to its answer: a proof takes two seconds of a browser's engine, beside whatever else runs.
const ANSWER: Duration = Duration::from_secs(120);

/// A running library.
#[derive(Debug)]
pub(crate) struct RlnPeer {
    process: Process,
}

/// What a proof is to be of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) member: &'a Member,
    pub(crate) path: &'a TreePath,
    /// Of the member's messages in the epoch.
    pub(crate) id: u16,
    pub(crate) epoch: [u8; 32],
    pub(crate) identifier: [u8; 32],
    /// All that the proof is bound to, unhashed.
    pub(crate) signal: &'a [u8],
}

impl RlnPeer {
    /// Starts a program.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start(program: &Path, name: &str, arguments: &[&Path]) -> Result<Self> {
        let process = Process::spawn(name, program, arguments)?;
        process.ready(START)?;
        Ok(Self { process })
    }

    /// What the driver calls it.
    pub(crate) fn name(&self) -> &str {
        self.process.name()
    }

    /// Trapdoor, nullifier, secret and commitment of a seed.
    ///
    /// # Errors
    /// When it answers with an error, or not in time; so for all that follow.
    pub(crate) fn identity(&self, seed: &[u8]) -> Result<[String; 4]> {
        let reply = self.ask(&format!("identity {}", hex::encode(seed)))?;
        Ok(["trapdoor", "nullifier", "secret", "commitment"].map(|field| text(&reply, field).to_owned()))
    }

    /// A proof, or why it makes none.
    pub(crate) fn prove(&self, task: &Task<'_>) -> Result<Result<RateLimitProof, String>> {
        let siblings: Vec<u8> = task.path.siblings().iter().flat_map(|sibling| *sibling.bytes()).collect();
        let secret = hex::encode(task.member.identity.secret().to_bytes());
        let numbers = format!("{} {} {}", task.member.limit.get(), task.id, task.path.index());
        let bound = [&task.epoch[..], &task.identifier, task.signal].map(hex::encode).join(" ");
        let reply = self.ask(&format!("prove {secret} {numbers} {} {bound}", hex::encode(siblings)))?;
        if reply.get("refused").is_some() {
            return Ok(Err(text(&reply, "refused").to_owned()));
        }
        Ok(Ok(RateLimitProof {
            snark: self.bytes(&reply, "snark")?,
            root: self.bytes(&reply, "root")?,
            epoch: task.epoch,
            share_x: self.bytes(&reply, "x")?,
            share_y: self.bytes(&reply, "y")?,
            nullifier: self.bytes(&reply, "nullifier")?,
            identifier: task.identifier,
        }))
    }

    /// Whether it takes a proof of this signal under one of these roots.
    pub(crate) fn takes(&self, proof: &RateLimitProof, signal: &[u8], roots: &[Element]) -> Result<bool> {
        let elements = [proof.root, proof.epoch, proof.share_x, proof.share_y, proof.nullifier, proof.identifier];
        let elements = elements.map(hex::encode).join(" ");
        let roots = roots.iter().map(|root| hex::encode(root.bytes())).collect::<Vec<_>>().join(",");
        let reply =
            self.ask(&format!("verify {} {elements} {} {roots}", hex::encode(proof.snark), hex::encode(signal)))?;
        reply["holds"].as_bool().with_context(|| self.process.failure("it does not say whether it holds").to_string())
    }

    fn ask(&self, line: &str) -> Result<Event> {
        self.process.ask(line, "reply", ANSWER)
    }

    fn bytes<const N: usize>(&self, reply: &Event, field: &str) -> Result<[u8; N]> {
        let bytes = hex::decode(text(reply, field)).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.with_context(|| self.process.failure(&format!("no {N} bytes of {field}")).to_string())
    }
}
