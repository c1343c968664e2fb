//! The Waku Network over libp2p: messages, relay and metadata.
//!
//! | Module | What | Spec |
//! |---|---|---|
//! | [`message`] | the message, its protobuf | 14/WAKU2-MESSAGE |
//! | [`hash`] | deterministic hash, gossip id | 14/WAKU2-MESSAGE, 11/WAKU2-RELAY |
//! | [`topic`], [`shard`] | pubsub and content topics, clusters, shards | 23/WAKU2-TOPICS, 51/WAKU2-RELAY-SHARDING |
//! | [`validate`] | ordered checks on what gossip brings | 11/WAKU2-RELAY |
//! | [`relay`] | gossipsub under Waku's name | 11/WAKU2-RELAY, 29/WAKU2-CONFIG |
//! | [`metadata`] | cluster and shards, told on first contact | 66/WAKU2-METADATA |
//! | [`redial`] | when to call a static peer again | |
//! | [`behaviour`] | the one composed libp2p behaviour | |
//! | [`run`] | the shell: swarm, commands, events | |
//! | [`handle`] | what the rest of the program holds | |
//!
//! Everything but [`relay`], [`metadata`]'s codec, [`behaviour`] and [`run`] is pure: bytes and time in, values out. A peer's
//! name and address (`PeerId`, `Multiaddr`) appear in [`handle`]; no other type of libp2p leaves this crate.

pub mod behaviour;
mod dial;
pub mod handle;
pub mod hash;
mod listen;
pub mod message;
pub mod metadata;
pub mod peers;
pub mod redial;
pub mod relay;
pub mod run;
pub mod shard;
pub mod topic;
pub mod validate;

pub use handle::{Config, Event, Handle, PublishError, Published, Received};
pub use hash::MessageHash;
pub use libp2p::{Multiaddr, PeerId};
pub use message::{Meta, WakuMessage};
pub use shard::{ClusterId, Shard};
pub use topic::{ContentTopic, PubsubTopic};
pub use validate::Verdict;
