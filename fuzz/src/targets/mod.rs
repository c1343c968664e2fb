//! The targets, by the crate or core they belong to.

#![expect(clippy::missing_panics_doc, reason = "a target panics when it has found something, and then only")]

pub mod bridge;
pub mod devp2p;
pub mod discv4;
pub mod dns;
pub mod filter;
pub mod node;
pub mod rln;
pub mod session;
pub mod waku0;
pub mod waku2;
