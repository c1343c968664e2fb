//! Providers of the chain that are away, slow, of another chain, tired, or lie: in simulated time, and over HTTP.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "faults/chain.rs"]
mod chain;
#[path = "faults/follow.rs"]
mod follow;
#[path = "faults/http.rs"]
mod http;
#[path = "faults/register.rs"]
mod register;
