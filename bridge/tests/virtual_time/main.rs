//! Bridges in virtual time: scripts of one core, and whole networks in memory. No sleeps, no sockets, no threads.
//!
//! Everything random comes from one number, which a failing test prints; `SIM_SEED=<number>` runs that one again.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod anything;
mod clock;
mod history;
mod journal;
mod proofs;
mod reasons;
mod routes;
mod script;
mod several;
mod sim;
mod story;
mod support;
