//! Finding nodes over UDP: the Node Discovery Protocol, version 4 (`ethereum/devp2p`, `discv4.md`; EIP-8, EIP-868).
//!
//! ```text
//! endpoint, packet     who and where; the six packets
//! proof, rate          whom we answer, and how often
//! table, lookup        nodes near us; the way to others
//! requests             what we asked and still wait for
//! protocol             core: packets and time in, packets and found nodes out
//! run                  shell: a UDP socket and a timer
//! ```
//! Nothing is filtered by capability: a node that is found is dialled, and its Hello says what it speaks. Limits: packets of
//! 1,280 bytes; 60 unasked packets a minute of an address, 600 of one that is proven; 16 nodes a bucket, of which 2, and 10
//! of the table, in one /24; 4,096 endpoint proofs; 256 requests waiting; 8 lookups of 48 queries each.

mod endpoint;
mod lookup;
pub mod packet;
mod proof;
pub mod protocol;
mod rate;
mod requests;
mod run;
mod table;

pub use endpoint::{Contact, Endpoint};
pub use run::{Config, Handle, RequestError, StartError, bind, start};
