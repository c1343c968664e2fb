//! Peer exchange: node records for those who cannot look for them.  Spec: 34/WAKU2-PEER-EXCHANGE.
//!
//! One length-prefixed request, one length-prefixed response, both of one outer shape. [`wire`] has the bytes and the stream, [`server`] says
//! what is handed out, [`client`] what is kept of answers. The last two are pure.

pub mod client;
pub mod server;
pub mod wire;

pub use client::keep;
pub use server::Server;
pub use wire::{Codec, PROTOCOL, Request, Response, Status};
