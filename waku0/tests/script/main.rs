//! Scripts: nodes without sockets, joined by queues, in virtual time.

#![expect(clippy::unwrap_used, reason = "a script that cannot go on has failed")]

mod change;
mod confirm;
mod direct;
mod gossip;
mod network;
mod rates;
mod session;
