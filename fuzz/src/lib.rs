//! One function over bytes for each decoder and core that peers reach.
//!
//! A target must come back whatever the bytes are, and asserts what holds whatever they are: what was decoded encodes to
//! something that decodes to the same, and each core keeps the promises of its documentation.
//!
//! | Module | Targets |
//! |---|---|
//! | [`targets::devp2p`] | RLP, handshake, Hello, Disconnect, discv4 packets, enodes, records, texts of DNS lists |
//! | [`targets::session`] | the session core: bytes off the wire, and frames with the right MAC (snappy is behind them) |
//! | [`targets::discv4`] | the core of discovery: packets of several nodes, time |
//! | [`targets::dns`] | the core that follows DNS lists |
//! | [`targets::waku0`] | Status, Status Update, envelope, Messages, payload, requests for history |
//! | [`targets::node`] | the node core: packets of several peers, time, posts |
//! | [`targets::waku2`] | WakuMessage with validation, metadata, peer exchange, lightpush, store, node records, topics |
//! | [`targets::filter`] | filter of both generations, with the service node behind it |
//! | [`targets::rln`] | rate-limit proofs, with the curve behind them; keystores |
//! | [`targets::bridge`] | the bridge core: envelopes, messages, answers, time |
//!
//! The program `guided` runs one under libFuzzer, guided by coverage of this workspace's crates; dependencies are not
//! instrumented, except what is generic and compiled into ours. `cargo test -p fuzz` runs every seed, and mutations of
//! them chosen blindly but the same each time; that finds little, and shows that the targets themselves work.
//! Long runs: `tests/longrun`.

pub mod mutate;
pub mod script;
pub mod seeds;
pub mod targets;

/// One thing to feed bytes to.
#[derive(Debug)]
pub struct Target {
    /// By which it is chosen.
    pub name: &'static str,
    /// Takes any bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Where its seeds come from.
    seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input worth trying, in bytes.
    pub max_len: usize,
}

impl Target {
    /// Inputs to begin with, from known answers where there are any.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.seeds)();
        seeds.retain(|seed| seed.len() <= self.max_len);
        seeds
    }
}

/// All of them.
pub static TARGETS: &[Target] = &[
    Target { name: "rlp", run: targets::devp2p::rlp, seeds: seeds::rlp, max_len: 4096 },
    Target { name: "handshake", run: targets::devp2p::handshake, seeds: seeds::handshake, max_len: 4400 },
    Target { name: "hello", run: targets::devp2p::hello, seeds: seeds::base_protocol, max_len: 2100 },
    Target { name: "disconnect", run: targets::devp2p::disconnect, seeds: seeds::base_protocol, max_len: 256 },
    Target { name: "session_bytes", run: targets::session::bytes, seeds: seeds::session_bytes, max_len: 8192 },
    Target { name: "session_frames", run: targets::session::frames, seeds: seeds::session_frames, max_len: 8192 },
    Target { name: "enode", run: targets::devp2p::enode, seeds: seeds::enode, max_len: 512 },
    Target { name: "enr", run: targets::devp2p::enr, seeds: seeds::enr, max_len: 512 },
    Target { name: "discv4_packet", run: targets::devp2p::discv4_packet, seeds: seeds::discv4, max_len: 1400 },
    Target { name: "discv4", run: targets::discv4::core, seeds: seeds::scripts, max_len: 2048 },
    Target { name: "dns_text", run: targets::devp2p::dns_text, seeds: seeds::dns_text, max_len: 4200 },
    Target { name: "dns", run: targets::dns::core, seeds: seeds::scripts, max_len: 2048 },
    Target { name: "status", run: targets::waku0::status, seeds: seeds::status, max_len: 4096 },
    Target { name: "status_update", run: targets::waku0::status_update, seeds: seeds::status, max_len: 4096 },
    Target { name: "sync", run: targets::waku0::sync, seeds: seeds::sync, max_len: 4096 },
    Target { name: "envelope", run: targets::waku0::envelope, seeds: seeds::envelope, max_len: 4096 },
    Target { name: "messages", run: targets::waku0::messages, seeds: seeds::messages, max_len: 8192 },
    Target { name: "payload", run: targets::waku0::payload, seeds: seeds::payload, max_len: 2048 },
    Target { name: "mail", run: targets::waku0::mail, seeds: seeds::mail, max_len: 4096 },
    Target { name: "node", run: targets::node::node, seeds: seeds::scripts, max_len: 4096 },
    Target { name: "message", run: targets::waku2::message, seeds: seeds::message, max_len: 4096 },
    Target { name: "metadata", run: targets::waku2::metadata, seeds: seeds::metadata, max_len: 1100 },
    Target { name: "exchange", run: targets::waku2::exchange, seeds: seeds::exchange, max_len: 2048 },
    Target { name: "filter", run: targets::filter::current, seeds: seeds::filter, max_len: 4096 },
    Target { name: "legacy_filter", run: targets::filter::legacy, seeds: seeds::legacy_filter, max_len: 4096 },
    Target { name: "lightpush", run: targets::waku2::lightpush, seeds: seeds::lightpush, max_len: 2048 },
    Target { name: "store", run: targets::waku2::store, seeds: seeds::store, max_len: 4096 },
    Target { name: "store_legacy", run: targets::waku2::store_legacy, seeds: seeds::store_legacy, max_len: 4096 },
    Target { name: "record", run: targets::waku2::record, seeds: seeds::records, max_len: 320 },
    Target { name: "topics", run: targets::waku2::topics, seeds: seeds::topics, max_len: 512 },
    Target { name: "proof", run: targets::rln::proof, seeds: seeds::proof, max_len: 512 },
    Target { name: "keystore", run: targets::rln::keystore, seeds: seeds::keystore, max_len: 4096 },
    Target { name: "bridge", run: targets::bridge::bridge, seeds: seeds::scripts, max_len: 2048 },
];

/// The one of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn every_target_takes_its_seeds_and_some_mutations_of_them() {
        for target in TARGETS {
            let seeds = target.seeds();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            (target.run)(&[]);
            seeds.iter().for_each(|seed| (target.run)(seed));
            let mut rng = StdRng::seed_from_u64(1);
            for _ in 0..200 {
                (target.run)(&mutate::mutate(&mut rng, &seeds, target.max_len));
            }
        }
    }

    #[test]
    fn names_differ() {
        assert!(TARGETS.iter().all(|one| std::ptr::eq(target(one.name).unwrap(), one)));
        assert!(target("none").is_none());
    }
}
