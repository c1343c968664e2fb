//! The Waku Network over libp2p: messages, relay and metadata.
//!
//! | Module | What | Spec |
//! |---|---|---|
//! | [`message`] | the message, its protobuf | 14/WAKU2-MESSAGE |
//! | [`hash`] | deterministic hash, gossip id | 14/WAKU2-MESSAGE, 11/WAKU2-RELAY |
//! | [`topic`], [`shard`] | pubsub and content topics, clusters, shards | 23/WAKU2-TOPICS, 51/WAKU2-RELAY-SHARDING |
//! | [`preset`] | networks by name | 64/WAKU2-NETWORK |
//! | [`validate`] | ordered checks on what gossip brings | 11/WAKU2-RELAY, 64/WAKU2-NETWORK |
//! | [`rules`] | whose outcome counts where text and deployed nodes differ | 64/WAKU2-NETWORK |
//! | [`signed`] | shards whose messages are signed | |
//! | [`meter`] | free bandwidth of a shard | 64/WAKU2-NETWORK |
//! | [`proof`] | what may be found of a rate-limit proof, and what becomes of its message | 17/WAKU2-RLN-RELAY |
//! | [`rln`] | rate-limit proofs: checks, what members have spent, who waits for what; proofs of own messages | 17/WAKU2-RLN-RELAY |
//! | [`relay`] | gossipsub under Waku's name | 11/WAKU2-RELAY, 29/WAKU2-CONFIG |
//! | [`subscriptions`] | the topics that are relayed | 51/WAKU2-RELAY-SHARDING |
//! | [`health`], [`traffic`] | how well each is joined to its mesh, and what it carried | |
//! | [`metadata`] | cluster and shards, told on first contact | 66/WAKU2-METADATA |
//! | [`transport`] | TCP, WebSocket, Noise, yamux, mplex | libp2p |
//! | `websocket` | what browsers reach, within bounds | RFC 6455 |
//! | [`yamux`], [`mplex`] | streams within a connection, bounded in bytes | yamux, libp2p |
//! | `ahead` | streams for pushes, without a turn for agreeing on the protocol | libp2p |
//! | `pong` | answers to pings, on several streams at a time | libp2p |
//! | [`known`] | the peers that are known, as operators are told | |
//! | [`limits`], `colocation` | how many connections, in all and from one address | |
//! | [`announce`] | the addresses that others are told | |
//! | [`redial`] | when to call a static peer again | |
//! | [`discovery`] | node records, discv5, lists in DNS | 31/WAKU2-ENR, 33/WAKU2-DISCV5, EIP-1459 |
//! | [`store`] | history, both protocols and both sides | 13/WAKU2-STORE |
//! | [`peer_exchange`] | records for those who cannot look for them | 34/WAKU2-PEER-EXCHANGE |
//! | [`service`] | requests and answers on streams of their own | 12/WAKU2-FILTER, 13/WAKU2-STORE, 19/WAKU2-LIGHTPUSH |
//! | [`filter`] | messages of some content topics for those who do not relay | 12/WAKU2-FILTER |
//! | [`lightpush`] | publishing for light clients, and through a node that does | 19/WAKU2-LIGHTPUSH |
//! | [`address_book`], [`slots`], [`skew`] | whom to call, how many, whose clock is right | |
//! | [`seek`] | the shell of these | |
//! | [`behaviour`] | the one composed libp2p behaviour | |
//! | `barrier` | when what was told to peers has reached them |
//! | [`run`] | the shell: swarm, commands, events | |
//! | [`handle`] | what the rest of the program holds | |
//!
//! Everything but [`relay`], [`metadata`]'s codec, [`behaviour`], [`run`] and [`rln::pool`] is pure: bytes and time in, values out. A peer's
//! name and address (`PeerId`, `Multiaddr`) appear in [`handle`]; no other type of libp2p leaves this crate.

pub mod address_book;
mod ahead;
pub mod announce;
mod barrier;
pub mod behaviour;
mod colocation;
mod dial;
pub mod discovery;
pub mod filter;
pub mod handle;
pub mod hash;
pub mod health;
pub mod known;
pub mod lightpush;
pub mod limits;
mod listen;
pub mod message;
pub mod metadata;
pub mod meter;
pub mod mplex;
pub mod peer_exchange;
pub mod peers;
mod pong;
pub mod preset;
pub mod proof;
pub mod redial;
pub mod relay;
pub mod rln;
pub mod rules;
pub mod run;
pub mod seek;
pub mod service;
pub mod shard;
pub mod signed;
pub mod skew;
pub mod slots;
pub mod store;
pub mod subscriptions;
pub mod topic;
pub mod traffic;
pub mod transport;
pub mod validate;
mod websocket;
pub mod wire;
pub mod yamux;

pub use announce::Announce;
pub use handle::{Config, Event, Handle, PublishError, Published, Received};
pub use hash::MessageHash;
pub use libp2p::{Multiaddr, PeerId};
pub use limits::Limits;
pub use message::{Meta, WakuMessage};
pub use preset::Preset;
pub use service::{Services, Target};
pub use shard::{ClusterId, Shard};
pub use topic::{ContentTopic, PubsubTopic};
pub use transport::Certificate;
pub use validate::Verdict;
