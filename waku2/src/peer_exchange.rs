//! Peer exchange: node records for those who cannot look for them.  Spec: 34/WAKU2-PEER-EXCHANGE.
//!
//! One length-prefixed request, one length-prefixed response, both of one outer shape. [`wire`] has the bytes and the stream, [`server`] says
//! what is handed out, [`client`] what is kept of answers; these two are pure. [`counters`] tells of both.

pub mod client;
pub mod counters;
pub mod server;
pub mod wire;

pub use client::keep;
pub use counters::Counters;
pub use server::Server;
pub use wire::{Codec, PROTOCOL, Request, Response, Status};
