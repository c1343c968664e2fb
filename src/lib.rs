//! The program: flags in, a running node out. Everything that speaks a protocol is in the crates below; here they are joined.
//!
//! [`cli`] → [`config`] (checked) → [`assemble`] (rooms and the channels between them) → [`banner`], [`http`]. [`discovery`] names
//! to the waku/0 side whom it may dial; [`dns_tree`] makes lists for it. `demo`, `listen` and
//! `post` are [`client`]s of one peer.

pub mod assemble;
pub mod banner;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod demo;
pub mod discovery;
pub mod dns_tree;
mod health;
pub mod http;
pub mod keys;
pub mod keystore;
pub mod logging;
mod metrics;
pub mod output;
mod probe;
pub mod reload;
pub mod route_check;
pub mod rpc;
pub mod storage;
pub mod trace;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name that peers see, on either network.
#[must_use]
pub fn agent() -> String {
    format!("causeway/{VERSION}")
}
