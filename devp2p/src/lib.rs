//! RLPx sessions, enodes and node records: the layer under Waku v0, which knows nothing of Waku.
//!
//! ```text
//! key ── enode, enr                 who a node is and where
//! ecies ── handshake ── frame       secrets, then authenticated frames
//! hello, disconnect, mux            base protocol messages, and the codes capabilities share
//! session                           core of one connection: bytes and time in, bytes and events out
//! budget, meter                     cores of the memory that packets in flight may take
//! dial, book                        cores of whom to dial and when, and of the address book
//! inbound                           core of who may connect, by address
//! conn, listen, dialler, server     shells: sockets and timers for the cores; table is their list of connections, purse
//!                                   the budget of each, network what most users leave alone
//! discv4                            nodes found over UDP: core, and shell; only when configured
//! dnsdisc                           nodes listed in DNS (EIP-1459): reading and making such lists
//! ```
//! Sources: `ethereum/devp2p` (`rlpx.md`), `discv4.md`, EIP-8, EIP-706, EIP-778, EIP-1459. Limits of the layer: frames
//! below 2^24 bytes before and after decompression, Hello of 2,048 bytes, handshake in 5 s, silence of 30 s, 50 peers,
//! 50 pending strangers, 8 connections an address and 16 a subnet, 64 MiB of packets in flight, 512 known nodes; each
//! is a named constant beside its user.

pub mod book;
pub mod book_file;
pub mod budget;
pub mod clock;
pub mod close;
pub mod conn;
pub mod counters;
pub mod dial;
mod dialler;
pub mod disconnect;
pub mod discv4;
pub mod dnsdisc;
pub mod ecies;
pub mod enode;
pub mod enr;
#[cfg(test)]
mod fixtures;
pub mod frame;
pub mod frame_hash;
pub mod handshake;
pub mod hello;
pub mod inbound;
pub mod key;
pub mod listen;
mod meter;
pub mod mux;
pub mod network;
mod output;
pub mod packet;
mod purse;
pub mod rlp;
pub mod server;
pub mod session;
mod snappy;
mod table;

pub use clock::Now;
pub use disconnect::DisconnectReason;
pub use enode::{Enode, Host};
pub use hello::{Capability, CapabilityName, Offered};
pub use key::{NodeId, NodeKey, PublicKey};
pub use network::{Nat, Network};
pub use packet::{Body, Packet};
pub use server::{ConnId, Limits, Server, ServerConfig, ServerEvent, ServerHandle, StartError, TrySendError};
pub use session::{CloseCause, Local, Peer, Session, SessionEvent};
