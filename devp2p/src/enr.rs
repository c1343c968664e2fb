//! Node records (EIP-778), through the crate `enr`.
//!
//! `[signature, seq, key, value, ..]`: at most 300 bytes, keys sorted and unique, scheme `v4` alone. The crate reads and
//! checks; it signs with a random nonce of its own, so [`sign`] is ours: deterministic (RFC 6979), as go-ethereum's is, and a
//! record is a function of its content.

use std::collections::BTreeMap;
use std::net::IpAddr;

use alloy_rlp::{Bytes, Encodable};
use data_encoding::BASE64URL_NOPAD;
use enr::EnrPublicKey;
use enr::k256::ecdsa::SigningKey;
use sha3::{Digest, Keccak256};

use crate::enode::{Enode, Host};
use crate::key::{NodeKey, PublicKey};
use crate::rlp::{self, RlpError, list};

/// What a record's text begins with.
pub(crate) const TEXT_PREFIX: &str = "enr:";

/// Longest text behind the prefix: 300 bytes of RLP (EIP-778) in base64.
const MAX_TEXT_BYTES: usize = 400;

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
    sign_with(key, seq, endpoint, &[])
}

/// Signs a record of `endpoint` that says more: names of further keys, each with its value, a string of bytes.
///
/// # Errors
/// [`EnrError`] when the record is refused by its own reader: it has become too long.
pub fn sign_with(
    key: &NodeKey,
    seq: u64,
    endpoint: &Endpoint,
    further: &[(&'static str, Vec<u8>)],
) -> Result<Enr, EnrError> {
    let mut pairs = pairs(key, endpoint);
    pairs.extend(further.iter().map(|(name, value)| (*name, alloy_rlp::encode(value.as_slice()))));
    let mut content = Vec::new();
    seq.encode(&mut content);
    for (name, value) in pairs {
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

/// Reads a record from its RLP: exactly one, its signature checked.
///
/// # Errors
/// [`EnrError`] says whether it is the RLP or the record.
pub fn decode(record: &[u8]) -> Result<Enr, EnrError> {
    rlp::validate(record)?;
    alloy_rlp::decode_exact(record).map_err(EnrError::Record)
}

/// Reads a record from its text: `enr:` and the RLP in base64url without padding.
///
/// # Errors
/// [`EnrError`] says whether it is the text, the RLP or the record.
pub fn parse(text: &str) -> Result<Enr, EnrError> {
    let encoded = text.strip_prefix(TEXT_PREFIX).ok_or(EnrError::Text)?;
    if encoded.len() > MAX_TEXT_BYTES {
        return Err(EnrError::Text);
    }
    decode(&BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| EnrError::Text)?)
}

/// Where the node of a record can be dialled: IPv4 before IPv6. `None` when it has no address or no port of RLPx.
#[must_use]
pub fn enode(record: &Enr) -> Option<Enode> {
    let v4 = record.ip4().zip(record.tcp4()).map(|(ip, tcp)| (ip.into(), tcp, record.udp4()));
    // EIP-778: without ports of their own, those of IPv4 stand for IPv6.
    let (tcp6, udp6) = (record.tcp6().or_else(|| record.tcp4()), record.udp6().or_else(|| record.udp4()));
    let v6 = record.ip6().zip(tcp6).map(|(ip, tcp)| (ip.into(), tcp, udp6));
    let (ip, tcp, udp): (IpAddr, _, _) = v4.or(v6)?;
    let key = public_key(record)?;
    (tcp != 0).then(|| Enode { key, host: Host::Ip(ip), tcp, udp: udp.unwrap_or(0) })
}

/// Whose record it is. Never `None`: a point of the curve is one for either library.
#[must_use]
pub fn public_key(record: &Enr) -> Option<PublicKey> {
    let compressed = record.public_key().encode();
    PublicKey::from_compressed(compressed[..].try_into().ok()?).ok()
}

/// The value of one of a record's keys, if it has it and it is a string of bytes.
#[must_use]
pub fn value(record: &Enr, name: &str) -> Option<Bytes> {
    record.get_decodable::<Bytes>(name)?.ok()
}

/// The RLP of a record.
#[must_use]
pub fn encode(record: &Enr) -> Vec<u8> {
    alloy_rlp::encode(record)
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrError {
    /// The text is not `enr:` and base64url, or is too long.
    #[error("the text of a record is enr: and base64url without padding")]
    Text,
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
            assert_eq!(parse(node["enr"].as_str().unwrap()), Ok(record.clone()));
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

    #[test]
    fn where_a_record_can_be_dialled() {
        let key = NodeKey::from_bytes(&[7; 32]).unwrap();
        let url = |ip: Option<&str>, tcp, udp| {
            let endpoint = Endpoint { ip: ip.map(|ip| ip.parse().unwrap()), tcp, udp };
            enode(&sign(&key, 1, &endpoint).unwrap()).map(|enode| enode.to_string())
        };
        let at = |place: &str| Some(format!("enode://{}@{place}", key.public()));
        assert_eq!(url(Some("1.2.3.4"), Some(9), Some(9)), at("1.2.3.4:9"));
        assert_eq!(url(Some("1.2.3.4"), Some(9), None), at("1.2.3.4:9?discport=0"));
        assert_eq!(url(Some("2001:db8::1"), Some(9), Some(8)), at("[2001:db8::1]:9?discport=8"));
        assert_eq!(url(Some("1.2.3.4"), None, Some(9)), None);
        assert_eq!(url(Some("1.2.3.4"), Some(0), Some(9)), None);
        assert_eq!(url(None, Some(9), Some(9)), None);
    }

    #[test]
    fn further_values_are_kept_until_the_record_is_full() {
        let key = NodeKey::from_bytes(&[7; 32]).unwrap();
        let of = |bytes| sign_with(&key, 1, &Endpoint::default(), &[("zz", vec![1; bytes]), ("a", vec![5])]);
        let record = of(60).unwrap();
        assert_eq!((value(&record, "zz").unwrap().len(), &value(&record, "a").unwrap()[..]), (60, &[5][..]));
        assert_eq!(value(&record, "b"), None);
        assert_eq!(public_key(&record), Some(key.public()));
        assert_eq!(of(200), Err(EnrError::Record(alloy_rlp::Error::Custom("enr exceeds max size"))));
    }

    #[test]
    fn bad_texts_have_their_errors() {
        for bad in ["", "enr", "ENR:-IS4Q", "enr:****", "enr:-IS4Q=", &format!("enr:{}", "A".repeat(401))] {
            assert_eq!(parse(bad), Err(EnrError::Text), "{bad}");
        }
        assert!(matches!(parse("enr:"), Err(EnrError::Malformed(RlpError::Missing))));
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
