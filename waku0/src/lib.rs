//! Waku v0: envelopes with proof of work, gossiped over devp2p.
//!
//! Bytes and time go into the core ([`node::Node`]), actions come out; the shell ([`run`]) carries them over
//! [`devp2p::server`]. What the rest of the program holds is a [`handle::Handle`].
//!
//! | Module | Concept | Spec |
//! |---|---|---|
//! | [`envelope`] | the value, its hash, its RLP | 5/WAKU0 "Messages", EIP-627 |
//! | [`pow`] | the measure, searching a nonce | 5/WAKU0 "PoW Requirement" |
//! | [`keccak`] | hashes and nonces, several at once | FIPS 202 |
//! | [`topic`], [`bloom`], [`interest`] | what an envelope is about, who wants it | 5/WAKU0 "Bloom Filter", "Topic Interest" |
//! | [`version`] | shh/6, waku/0 and waku/1 as data | 5/WAKU0 "Forward Compatibility", 6/WAKU1, EIP-627 |
//! | [`status`] | options announced on connect and when they change, by version | 5/WAKU0 "Status", "Status Update", EIP-627 |
//! | [`packet`] | codes and bodies | 5/WAKU0 "Packet Codes" |
//! | [`payload`] | what the data says to those who hold a key | 7/WAKU-DATA, 26/WAKU2-PAYLOAD |
//! | [`filter`] | who here reads what | status-go, `waku/common/filter.go` |
//! | [`status_topic`] | names that Status makes topics of | status-go |
//! | [`admit`] | the verdict on an envelope, given time and settings | 5/WAKU0 "Messages" |
//! | [`pool`] | live envelopes, what was seen, expiry | |
//! | [`peer`] | one peer's states | |
//! | [`acceptance`] | what is tolerated after a change of settings | |
//! | [`limits`], [`whitelist`] | how much peers may send | 5/WAKU0 "Rate Limits" |
//! | [`budget`], [`outbox`] | how much a peer may be sent, and what waits for it | 5/WAKU0 "Rate Limits" |
//! | [`confirm`] | what became of own posts | 5/WAKU0 "Message Confirmations" |
//! | [`mail`] | history: requests, who answers them, and who asks | 8/WAKU-MAIL |
//! | [`accounting`] | what each peer brought and was brought, by epoch | 5/WAKU0 "Accounting for resources" |
//! | [`upkeep`] | how many peers are sought, and who is left for a better one | |
//! | [`fault`] | why a session ends, and what the peer is told | |
//! | [`settings`] | what a node takes, keeps and announces | |
//! | [`node`] | the core | |
//! | [`run`], [`handle`] | the shell and what others hold of it | |
//!
//! waku/0, waku/1 and shh/6 are spoken, in one pool. Requests for history are handed to who serves it, and ignored where nobody does.

pub mod acceptance;
pub mod accounting;
pub mod admit;
pub mod bloom;
pub mod budget;
pub mod confirm;
pub mod counters;
pub mod envelope;
pub mod fault;
pub mod filter;
mod forwards;
pub mod handle;
pub mod interest;
pub mod keccak;
pub mod limits;
pub mod mail;
pub mod node;
pub mod outbox;
pub mod packet;
pub mod payload;
pub mod peer;
pub mod pool;
pub mod pow;
pub mod run;
pub mod settings;
mod slots;
pub mod status;
pub mod status_topic;
pub mod topic;
pub mod upkeep;
pub mod version;
pub mod whitelist;

pub use counters::Counters;
pub use devp2p::clock::Now;
pub use envelope::{Envelope, EnvelopeHash};
pub use handle::{Event, Handle, PeerInfo};
pub use node::{PostError, Posted};
pub use pow::{Pow, Unsealed};
pub use settings::Settings;
pub use topic::Topic;
