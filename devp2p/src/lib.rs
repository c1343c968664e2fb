//! RLPx sessions, enodes and node records: the layer under Waku v0, which knows nothing of Waku.
//!
//! ```text
//! key ── enode, enr                 who a node is and where
//! ecies ── handshake ── frame       secrets, then authenticated frames
//! hello, disconnect, mux            base protocol messages, and the codes capabilities share
//! session                           core of one connection: bytes and time in, bytes and events out
//! dial                              core of whom to dial and when
//! conn, listen, dialler, server     shells: sockets and timers for the cores; table is their list of connections
//! ```
//! Sources: `ethereum/devp2p` (`rlpx.md`), EIP-8, EIP-706, EIP-778. Limits of the layer: frames below 2^24 bytes before and
//! after decompression, Hello of 2,048 bytes, handshake in 5 s, silence of 30 s, 50 peers, 50 pending strangers; each is a
//! named constant beside its user.

pub mod clock;
pub mod close;
pub mod conn;
pub mod dial;
mod dialler;
pub mod disconnect;
pub mod ecies;
pub mod enode;
pub mod enr;
#[cfg(test)]
mod fixtures;
pub mod frame;
pub mod handshake;
pub mod hello;
pub mod key;
pub mod listen;
pub mod mux;
mod output;
pub mod packet;
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
pub use packet::{Body, Packet};
pub use server::{ConnId, Limits, Server, ServerConfig, ServerEvent, ServerHandle, StartError, TrySendError};
pub use session::{CloseCause, Local, Peer, Session, SessionEvent};
