//! The chain, and what every node of the network is told.

use super::members::Membership;
use crate::causeway::Causeway;
use crate::chain_peer::ChainPeer;
use crate::scenarios::Lab;
use anyhow::{Context as _, Result};
use std::fs;
use tokio::runtime::Runtime;

/// A chain of nobody else's.
const CHAIN: u64 = 31_337;
/// The price of a message of the limit, in the smallest unit of the token.
pub(super) const PRICE: u64 = 10;
/// Seconds of an epoch: long enough for what a bridge spends in one, and short enough to wait for the next one.
pub(super) const EPOCH_SECS: u64 = 120;
/// What members talk about.
pub(super) const TOPIC: &str = "/rln/1/network/proto";
/// Messages that a node keeps for who polls: more than there are.
const KEPT: &str = "--rest-relay-cache-capacity=1000";
/// The password of all keystores.
pub(super) const PASSWORD: &str = "between members";

/// A group on a chain, and its network: cluster 0 with one shard, on which nothing passes unproven.
pub(super) struct Ground<'a> {
    pub(super) lab: &'a Lab,
    pub(super) chain: ChainPeer,
    pub(super) runtime: Runtime,
    /// The file of the password, as a flag.
    pub(super) password: String,
}

impl<'a> Ground<'a> {
    pub(super) fn new(lab: &'a Lab) -> Result<Self> {
        let runtime = Runtime::new().context("a runtime for our side")?;
        let chain = ChainPeer::start(&lab.programs().chain, "rln chain", CHAIN, &["--price", &PRICE.to_string()])?;
        let file = lab.data_dir("rln-password");
        fs::write(&file, format!("{PASSWORD}\n"))?;
        Ok(Self { lab, chain, runtime, password: format!("--rln-cred-password-file={}", file.display()) })
    }

    /// Where the group is, as flags of any command.
    pub(super) fn group(&self) -> Result<[String; 3]> {
        let contract = self.chain.contract()?;
        Ok([
            // Which a URL of ours would not tell but for its host.
            format!("--rln-relay-eth-client-address=http://127.0.0.1:{}", self.chain.port()),
            format!("--rln-relay-eth-contract-address={}", contract.address),
            format!("--rln-relay-chain-id={}", contract.chain),
        ])
    }

    /// What all nodes are told.
    fn network(&self) -> Result<Vec<String>> {
        let mut flags = vec!["--rln-relay=true".to_owned(), KEPT.to_owned()];
        flags.push(format!("--rln-relay-epoch-sec={EPOCH_SECS}"));
        flags.extend(self.group()?);
        Ok(flags)
    }

    fn with(&self, more: &[&str]) -> Result<Vec<String>> {
        let mut flags = self.network()?;
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        Ok(flags)
    }

    /// A node that verifies.
    pub(super) fn node(&self, name: &str, more: &[&str]) -> Result<Causeway> {
        self.lab.node(name, &words(&self.with(more)?))
    }

    /// One without a membership, which calls the hub, and goes by the text: what does not hold is ignored.
    pub(super) fn reader(&self, name: &str, hub: &Causeway) -> Result<Causeway> {
        let call = format!("--staticnode={}", hub.multiaddr());
        self.node(name, &["--free-bandwidth=0", "--lightpush", &call])
    }

    /// A member, which calls the hub.
    pub(super) fn member(&self, name: &str, who: &Membership, hub: &Causeway, more: &[&str]) -> Result<Causeway> {
        let call = format!("--staticnode={}", hub.multiaddr());
        self.node(name, &[&[&*call, &*who.flag(), &*self.password], more].concat())
    }

    /// A bridge with an archive that it serves, which calls the hub.
    pub(super) fn bridge(&self, name: &str, who: &Membership, hub: &Causeway) -> Result<Causeway> {
        let call = format!("--staticnode-v2={}", hub.multiaddr());
        let more = ["--free-bandwidth=0", "--archive", "--mailserver", &call, &who.flag(), &self.password];
        self.lab.bridge(name, &words(&self.with(&more)?))
    }
}

fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}
