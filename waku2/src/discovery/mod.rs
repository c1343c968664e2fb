//! How peers are found, and how we are.
//!
//! ```text
//! enr         what a node record says of a Waku node: services, shards, addresses
//! discv5      records found over UDP (33/WAKU2-DISCV5): the crate `discv5` under our settings
//! dns         records listed in DNS (EIP-1459), read by `devp2p::dnsdisc`
//! ```
//! Each runs only when configured, and hands over [`enr::Node`]s by a bounded queue of its own.

pub mod discv5;
pub mod dns;
pub mod enr;
