//! Scripts: nodes without sockets, joined by queues, in virtual time.

#![expect(clippy::unwrap_used, reason = "a script that cannot go on has failed")]

mod accounts;
mod change;
mod confirm;
mod direct;
mod faults;
mod gossip;
mod hostile;
mod network;
mod rates;
mod session;
mod versions;
