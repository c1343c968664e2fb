//! Node records (EIP-778), through the crate `enr`.
//!
//! `[signature, seq, key, value, ..]`: at most 300 bytes, keys sorted and unique, scheme `v4` alone. The crate reads and
//! checks; it signs with a random nonce of its own, so [`sign`] is ours: deterministic (RFC 6979), as go-ethereum's is, and a
//! record is a function of its content.

use std::collections::BTreeMap;
use std::net::IpAddr;

use alloy_rlp::{BufMut, Encodable, Header};
use enr::k256::ecdsa::SigningKey;
use sha3::{Digest, Keccak256};

use crate::key::NodeKey;
use crate::rlp::{self, RlpError};

/// A signed node record, valid by construction.
pub type Enr = enr::Enr<SigningKey>;

/// What a record says of a node's addresses; the key and the scheme are added when it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Address.
    pub ip: Option<IpAddr>,
    /// TCP port.
    pub tcp: Option<u16>,
    /// UDP port.
    pub udp: Option<u16>,
}

/// Signs a record of `endpoint` with the sequence number `seq`.
///
/// # Errors
/// [`EnrError`] when the record is refused by its own reader, which no endpoint brings about.
pub fn sign(key: &NodeKey, seq: u64, endpoint: &Endpoint) -> Result<Enr, EnrError> {
    let mut content = Vec::new();
    seq.encode(&mut content);
    for (name, value) in pairs(key, endpoint) {
        name.as_bytes().encode(&mut content);
        content.extend_from_slice(&value);
    }
    let digest = Keccak256::digest(list(&content)).into();
    let mut signed = Vec::new();
    key.sign(&digest)[..64].encode(&mut signed);
    signed.extend_from_slice(&content);
    decode(&list(&signed))
}

/// The pairs in order of their keys, each value as RLP.
fn pairs(key: &NodeKey, endpoint: &Endpoint) -> BTreeMap<&'static str, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    pairs.insert("id", alloy_rlp::encode("v4"));
    pairs.insert("secp256k1", alloy_rlp::encode(key.public().to_compressed().as_slice()));
    match endpoint.ip {
        Some(IpAddr::V4(ip)) => pairs.insert("ip", alloy_rlp::encode(ip.octets().as_slice())),
        Some(IpAddr::V6(ip)) => pairs.insert("ip6", alloy_rlp::encode(ip.octets().as_slice())),
        None => None,
    };
    let v6 = endpoint.ip.is_some_and(|ip| ip.is_ipv6());
    if let Some(port) = endpoint.tcp {
        pairs.insert(if v6 { "tcp6" } else { "tcp" }, alloy_rlp::encode(port));
    }
    if let Some(port) = endpoint.udp {
        pairs.insert(if v6 { "udp6" } else { "udp" }, alloy_rlp::encode(port));
    }
    pairs
}

fn list(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut out as &mut dyn BufMut);
    out.extend_from_slice(payload);
    out
}

/// Reads a record from its RLP: exactly one, its signature checked.
///
/// # Errors
/// [`EnrError`] says whether it is the RLP or the record.
pub fn decode(record: &[u8]) -> Result<Enr, EnrError> {
    rlp::validate(record)?;
    alloy_rlp::decode_exact(record).map_err(EnrError::Record)
}

/// The RLP of a record.
#[must_use]
pub fn encode(record: &Enr) -> Vec<u8> {
    alloy_rlp::encode(record)
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrError {
    /// Not well-formed RLP, or more than one item.
    #[error("malformed record: {0}")]
    Malformed(#[from] RlpError),
    /// Too long, unsorted, of another scheme, or badly signed.
    #[error("invalid record: {0}")]
    Record(alloy_rlp::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{hex, json, key};

    #[test]
    fn recorded_records_are_read_written_and_signed_alike() {
        let nodes = json("enode/enodes.json");
        for node in nodes.as_array().unwrap() {
            let bytes = hex(node, "enr_rlp");
            let record = decode(&bytes).unwrap();
            assert_eq!(encode(&record), bytes);
            assert_eq!(record.to_base64(), node["enr"].as_str().unwrap());
            assert_eq!(node["enr"].as_str().unwrap().parse::<Enr>().unwrap(), record);
            assert_eq!(record.node_id().raw(), hex(node, "id")[..]);
            let endpoint = Endpoint { ip: record.ip4().map(Into::into), tcp: record.tcp4(), udp: record.udp4() };
            let signed = sign(&key(node, "private"), record.seq(), &endpoint).unwrap();
            assert_eq!(encode(&signed), bytes, "the signature is deterministic");
        }
    }

    #[test]
    fn bad_records_have_their_errors() {
        let nodes = json("enode/enodes.json");
        let good = hex(&nodes[0], "enr_rlp");
        assert_eq!(decode(&[&good[..], &[0]].concat()), Err(EnrError::Malformed(RlpError::Trailing)));
        assert!(matches!(decode(&good[1..]), Err(EnrError::Malformed(_))));
        let mut forged = good;
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(decode(&forged), Err(EnrError::Record(alloy_rlp::Error::Custom("Invalid Signature"))));
        let long = [&[0xf9, 0x01, 0x2c][..], &[0x80; 300]].concat();
        assert_eq!(decode(&long), Err(EnrError::Record(alloy_rlp::Error::Custom("enr exceeds max size"))));
    }

    proptest! {
        #[test]
        fn round_trip(secret in 1_u8..=254, seq: u64, ip: Option<IpAddr>, tcp: Option<u16>, udp: Option<u16>) {
            let key = NodeKey::from_bytes(&[secret; 32]).unwrap();
            let record = sign(&key, seq, &Endpoint { ip, tcp, udp }).unwrap();
            prop_assert_eq!(record.seq(), seq);
            prop_assert_eq!(record.node_id().raw(), *key.public().id().as_bytes());
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(record in prop::collection::vec(any::<u8>(), 0..320)) {
            prop_assert!(decode(&record).is_err());
        }
    }
}
