//! Scripts: nodes without sockets, joined by queues, in virtual time.

#![expect(clippy::unwrap_used, reason = "a script that cannot go on has failed")]

mod gossip;
mod network;
mod session;
