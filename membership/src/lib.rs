//! Memberships of networks that limit rates by proofs (RLN v2): the group on its chain, registration, and the ids of messages.
//!
//! | Module | What |
//! |---|---|
//! | [`contract`] | where the group is, in both forms of the contract |
//! | [`provider`] | who is asked about the chain |
//! | [`follow`] | the roots that count |
//! | [`path`] | where own members are in the tree |
//! | [`register`] | becoming a member, and what it costs |
//! | [`status`] | what has become of a membership |
//! | [`ids`] | message ids, none of them twice |
//! | [`budget`] | what is left of an epoch |
//!
//! No proofs here and no tree: a root, a path and an id are what a prover takes.
//! Spec: 17/WAKU2-RLN-RELAY, 64/WAKU2-NETWORK; deployed: nwaku, waku-rlnv2-contract.

pub mod budget;
pub mod contract;
pub mod follow;
pub mod ids;
pub mod path;
pub mod provider;
pub mod register;
pub mod status;

pub use alloy_primitives::{Address, B256, U256};
