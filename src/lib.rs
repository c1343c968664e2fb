//! The program: flags in, a running node out. Everything that speaks a protocol is in the crates below; here they are joined.
//!
//! [`cli`] → [`config`] (checked) → [`assemble`] (rooms and the channels between them) → [`banner`], [`http`], where REST is. [`discovery`] names
//! to the waku/0 side whom it may dial; [`dns_tree`] makes lists for it; [`mail`] serves history beside it, out of the archive. `demo`, `listen` and
//! `post` are [`client`]s of one peer, [`history`] of one mail server after the other. [`import`] and [`export`] carry the archive, whose
//! [`rows`] are envelopes and messages; [`backfill`] fetches what a bridge missed.

pub mod assemble;
pub mod backfill;
pub mod banner;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod demo;
pub mod discovery;
pub mod dns_tree;
pub mod export;
mod health;
pub mod history;
pub mod http;
pub mod import;
pub mod keys;
pub mod keystore;
pub mod logging;
pub mod mail;
mod metrics;
pub mod moment;
pub mod output;
mod probe;
mod progress;
pub mod reload;
mod rest;
#[cfg_attr(not(feature = "rln"), path = "rln_off.rs")]
mod rln;
pub mod route_check;
pub mod rows;
pub mod rpc;
pub mod storage;
pub mod store;
pub mod trace;
mod web;

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name that peers see, on either network.
#[must_use]
pub fn agent() -> String {
    format!("causeway/{VERSION}")
}
