//! The six packets (`discv4.md`, "Wire Protocol"; EIP-868 for records).
//!
//! `hash(32) || signature(65) || type(1) || RLP list`: the hash is Keccak-256 of all that follows it, the signature is over
//! that of type and list, and names the sender. Packets of 98 to 1,280 bytes. Read leniently (EIP-8): versions are not
//! looked at, elements beyond those known and bytes behind the list are ignored.

use std::net::SocketAddr;

use alloy_rlp::Encodable;
use bytes::Bytes;
use sha3::{Digest, Keccak256};

use super::endpoint::{Contact, Endpoint};
use crate::enr::{self, Enr, EnrError};
use crate::key::{KeyError, NodeKey, PublicKey, SIGNATURE_BYTES};
use crate::rlp::{Item, Reader, RlpError, list, number};

/// Longest packet, in bytes. Source: `discv4.md`, "Wire Protocol".
pub const MAX_PACKET_BYTES: usize = 1280;

/// Bytes of the hash.
const HASH_BYTES: usize = 32;

/// Bytes before the list: hash, signature, type.
const HEAD_BYTES: usize = HASH_BYTES + SIGNATURE_BYTES + 1;

/// Most nodes in one Neighbors packet: 12 with addresses of IPv6 are 1,100 bytes, 13 are over the limit with long fields.
/// Source: go-ethereum, `MaxNeighbors`.
pub const MAX_NEIGHBORS: usize = 12;

/// The version in a Ping. Source: `discv4.md`, "Ping Packet".
const VERSION: u8 = 4;

/// Names a packet in its answer.
pub type Hash = [u8; HASH_BYTES];

/// What a packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Are you there?
    Ping(Ping),
    /// I am.
    Pong(Pong),
    /// Whom do you know near here?
    FindNode(FindNode),
    /// These.
    Neighbors(Neighbors),
    /// What is your record?
    EnrRequest(EnrRequest),
    /// This.
    EnrResponse(EnrResponse),
}

/// Asks for a Pong, and tells our ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// The sender; its TCP port is all that counts, the rest is read off the UDP packet.
    pub from: Endpoint,
    /// The receiver as the sender sees it.
    pub to: Endpoint,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
    /// Sequence number of the sender's record.
    pub enr_seq: Option<u64>,
}

/// Answers a Ping: the proof that its sender receives at its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pong {
    /// Where the Ping came from.
    pub to: Endpoint,
    /// The hash of the Ping.
    pub ping_hash: Hash,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
    /// Sequence number of the sender's record.
    pub enr_seq: Option<u64>,
}

/// Asks for the nodes nearest to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindNode {
    /// 64 bytes in the place of a key; they need not be one.
    pub target: [u8; 64],
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
}

/// Answers a FindNode, in one packet or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbors {
    /// The nodes. When read, those with no address, port 0 or a key off the curve are left out.
    pub nodes: Vec<Contact>,
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
}

/// Asks for the record of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrRequest {
    /// Unix seconds after which the packet is void.
    pub expiration: u64,
}

/// Answers an ENRRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrResponse {
    /// The hash of the request.
    pub request_hash: Hash,
    /// The record.
    pub record: Enr,
}

/// The type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1
    Ping,
    /// 2
    Pong,
    /// 3
    FindNode,
    /// 4
    Neighbors,
    /// 5
    EnrRequest,
    /// 6
    EnrResponse,
}

impl Kind {
    /// The kind a packet claims to be of. Costs nothing, so that unwanted packets go before any signature is looked at.
    ///
    /// # Errors
    /// [`PacketError`] for a packet that is too short, too long, or of an unknown type.
    pub fn of(packet: &[u8]) -> Result<Self, PacketError> {
        if packet.len() > MAX_PACKET_BYTES {
            return Err(PacketError::TooLong(packet.len()));
        }
        match packet.get(HEAD_BYTES - 1) {
            None => Err(PacketError::TooShort(packet.len())),
            Some(1) => Ok(Self::Ping),
            Some(2) => Ok(Self::Pong),
            Some(3) => Ok(Self::FindNode),
            Some(4) => Ok(Self::Neighbors),
            Some(5) => Ok(Self::EnrRequest),
            Some(6) => Ok(Self::EnrResponse),
            Some(kind) => Err(PacketError::UnknownType(*kind)),
        }
    }

    /// True for packets that come unasked.
    #[must_use]
    pub fn is_request(self) -> bool {
        match self {
            Self::Ping | Self::FindNode | Self::EnrRequest => true,
            Self::Pong | Self::Neighbors | Self::EnrResponse => false,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Ping => 1,
            Self::Pong => 2,
            Self::FindNode => 3,
            Self::Neighbors => 4,
            Self::EnrRequest => 5,
            Self::EnrResponse => 6,
        }
    }
}

/// A packet with its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who signed it.
    pub sender: PublicKey,
    /// Its hash, by which an answer names it.
    pub hash: Hash,
    /// What it says.
    pub packet: Packet,
}

/// Reads a packet and finds its sender.
///
/// # Errors
/// [`PacketError`]; the sender is told nothing, whatever it is.
pub fn decode(packet: &[u8]) -> Result<Signed, PacketError> {
    let kind = Kind::of(packet)?;
    let (hash, signed) = packet.split_at(HASH_BYTES);
    if Keccak256::digest(signed)[..] != *hash {
        return Err(PacketError::Hash);
    }
    let (signature, content) = signed.split_at(SIGNATURE_BYTES);
    let signature = signature.try_into().expect("split at this length");
    let body = decode_body(kind, Reader::new(&content[1..]))?;
    let sender = PublicKey::recover(&Keccak256::digest(content).into(), signature).map_err(PacketError::Signature)?;
    Ok(Signed { sender, hash: hash.try_into().expect("split at this length"), packet: body })
}

fn decode_body(kind: Kind, mut body: Reader<'_>) -> Result<Packet, PacketError> {
    // What follows the list is ignored (EIP-8).
    let mut fields = body.list()?;
    Ok(match kind {
        Kind::Ping => Packet::Ping(decode_ping(&mut fields)?),
        Kind::Pong => Packet::Pong(Pong {
            to: Endpoint::decode(fields.list()?)?,
            ping_hash: *fields.array()?,
            expiration: fields.u64()?,
            enr_seq: enr_seq(&mut fields)?,
        }),
        Kind::FindNode => Packet::FindNode(FindNode { target: *fields.array()?, expiration: fields.u64()? }),
        Kind::Neighbors => {
            Packet::Neighbors(Neighbors { nodes: decode_nodes(fields.list()?)?, expiration: fields.u64()? })
        }
        Kind::EnrRequest => Packet::EnrRequest(EnrRequest { expiration: fields.u64()? }),
        Kind::EnrResponse => Packet::EnrResponse(decode_enr_response(&mut fields)?),
    })
}

fn decode_ping(fields: &mut Reader<'_>) -> Result<Ping, RlpError> {
    // The version, which EIP-8 says not to look at.
    fields.bytes()?;
    Ok(Ping {
        from: Endpoint::decode(fields.list()?)?,
        to: Endpoint::decode(fields.list()?)?,
        expiration: fields.u64()?,
        enr_seq: enr_seq(fields)?,
    })
}

/// The sequence number, which older nodes leave out. Anything else in its place is an extra element of someone else's.
fn enr_seq(fields: &mut Reader<'_>) -> Result<Option<u64>, RlpError> {
    match fields.next_item()? {
        Some(Item::Bytes(bytes)) => Ok(number(bytes).ok()),
        Some(Item::List(_)) | None => Ok(None),
    }
}

fn decode_nodes(mut items: Reader<'_>) -> Result<Vec<Contact>, RlpError> {
    let mut nodes = Vec::new();
    while !items.is_empty() {
        let mut fields = items.list()?;
        let endpoint = Endpoint::decode_fields(&mut fields)?;
        let key = PublicKey::from_bytes(fields.array()?);
        if let (Some(ip), Ok(key)) = (endpoint.ip, key)
            && endpoint.udp != 0
        {
            nodes.push(Contact::new(key, SocketAddr::new(ip, endpoint.udp), endpoint.tcp));
        }
    }
    Ok(nodes)
}

fn decode_enr_response(fields: &mut Reader<'_>) -> Result<EnrResponse, PacketError> {
    let request_hash = *fields.array()?;
    let rest = fields.rest();
    fields.list()?;
    let record = &rest[..rest.len() - fields.rest().len()];
    Ok(EnrResponse { request_hash, record: enr::decode(record)? })
}

/// Writes and signs a packet; its hash comes with it.
#[must_use]
pub fn encode(packet: &Packet, key: &NodeKey) -> (Bytes, Hash) {
    let mut content = vec![packet.kind().code()];
    content.extend_from_slice(&list(&packet.fields()));
    let mut out = vec![0; HASH_BYTES];
    out.extend_from_slice(&key.sign(&Keccak256::digest(&content).into()));
    out.extend_from_slice(&content);
    let hash: Hash = Keccak256::digest(&out[HASH_BYTES..]).into();
    out[..HASH_BYTES].copy_from_slice(&hash);
    (out.into(), hash)
}

impl Packet {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
            Self::FindNode(_) => Kind::FindNode,
            Self::Neighbors(_) => Kind::Neighbors,
            Self::EnrRequest(_) => Kind::EnrRequest,
            Self::EnrResponse(_) => Kind::EnrResponse,
        }
    }

    /// When it is void, in Unix seconds; a record does not expire.
    #[must_use]
    pub fn expiration(&self) -> Option<u64> {
        match self {
            Self::Ping(ping) => Some(ping.expiration),
            Self::Pong(pong) => Some(pong.expiration),
            Self::FindNode(find) => Some(find.expiration),
            Self::Neighbors(neighbors) => Some(neighbors.expiration),
            Self::EnrRequest(request) => Some(request.expiration),
            Self::EnrResponse(_) => None,
        }
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ping(ping) => {
                VERSION.encode(&mut out);
                ping.from.encode(&mut out);
                ping.to.encode(&mut out);
                ping.expiration.encode(&mut out);
                ping.enr_seq.iter().for_each(|seq| seq.encode(&mut out));
            }
            Self::Pong(pong) => {
                pong.to.encode(&mut out);
                pong.ping_hash.as_slice().encode(&mut out);
                pong.expiration.encode(&mut out);
                pong.enr_seq.iter().for_each(|seq| seq.encode(&mut out));
            }
            Self::FindNode(find) => {
                find.target.as_slice().encode(&mut out);
                find.expiration.encode(&mut out);
            }
            Self::Neighbors(neighbors) => {
                out.extend_from_slice(&list(&encode_nodes(&neighbors.nodes)));
                neighbors.expiration.encode(&mut out);
            }
            Self::EnrRequest(request) => request.expiration.encode(&mut out),
            Self::EnrResponse(response) => {
                response.request_hash.as_slice().encode(&mut out);
                out.extend_from_slice(&enr::encode(&response.record));
            }
        }
        out
    }
}

fn encode_nodes(nodes: &[Contact]) -> Vec<u8> {
    let mut out = Vec::new();
    for node in nodes {
        let mut fields = Vec::new();
        node.endpoint().encode_fields(&mut fields);
        node.key.as_bytes().as_slice().encode(&mut fields);
        out.extend_from_slice(&list(&fields));
    }
    out
}

/// Why bytes are no packet. All are dropped without a word: an answer would go to whoever the sender pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than hash, signature and type.
    #[error("{0} bytes are too short for a packet")]
    TooShort(usize),
    /// Over [`MAX_PACKET_BYTES`].
    #[error("{0} bytes are over the limit of {MAX_PACKET_BYTES}")]
    TooLong(usize),
    /// A type of a later version, or none.
    #[error("unknown packet type {0}")]
    UnknownType(u8),
    /// The hash is not that of the packet.
    #[error("the hash does not fit the packet")]
    Hash,
    /// Nobody made the signature.
    #[error("bad signature: {0}")]
    Signature(KeyError),
    /// Not the RLP of its type.
    #[error("malformed packet: {0}")]
    Malformed(#[from] RlpError),
    /// The record is none.
    #[error(transparent)]
    Record(#[from] EnrError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{hex, json, key};

    fn endpoint(ip: &str, udp: u16, tcp: u16) -> Endpoint {
        Endpoint { ip: Some(ip.parse().unwrap()), udp, tcp }
    }

    /// Expiration of all printed packets.
    const PRINTED_EXPIRATION: u64 = 1_136_239_445;

    fn printed(name: &str) -> Packet {
        let vectors = json("discv4/packets.json");
        let signed = decode(&hex(&vectors, name)).unwrap();
        assert_eq!(signed.sender, key(&vectors, "signer").public());
        assert_eq!(signed.hash[..], hex(&vectors, name)[..32]);
        assert_eq!(signed.packet.expiration(), Some(PRINTED_EXPIRATION));
        signed.packet
    }

    fn printed_ping(enr_seq: Option<u64>) -> Packet {
        Packet::Ping(Ping {
            from: endpoint("127.0.0.1", 3322, 5544),
            to: endpoint("::1", 2222, 3333),
            expiration: PRINTED_EXPIRATION,
            enr_seq,
        })
    }

    #[test]
    fn a_printed_ping_both_ways() {
        let vectors = json("discv4/packets.json");
        assert_eq!(printed("ping"), printed_ping(None));
        let written = encode(&printed_ping(None), &key(&vectors, "signer")).0;
        // The printed signature was made with another nonce.
        assert_eq!(written[HEAD_BYTES - 1..], hex(&vectors, "ping")[HEAD_BYTES - 1..]);
    }

    #[test]
    fn pings_of_later_versions_are_read() {
        assert_eq!(printed("ping_extra"), printed_ping(Some(1)), "the first extra element became the sequence number");
        let Packet::Ping(ping) = printed("ping_v555") else { panic!("no ping") };
        assert_eq!(ping.from, endpoint("2001:db8:3c4d:15::abcd:ef12", 3322, 5544));
        assert_eq!(ping.to, endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 2222, 33338));
        assert_eq!(ping.enr_seq, None, "a list in its place");
    }

    #[test]
    fn a_printed_pong() {
        let Packet::Pong(pong) = printed("pong") else { panic!("no pong") };
        assert_eq!(pong.to, endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 2222, 33338));
        let hash = "fbc914b16819237dcd8801d7e53f69e9719adecb3cc0e790c57e91ca4461c954";
        assert_eq!(hex::encode(pong.ping_hash), hash);
    }

    #[test]
    fn a_printed_findnode() {
        let Packet::FindNode(find) = printed("findnode") else { panic!("no findnode") };
        assert!(hex::encode(find.target).starts_with("ca634cae0d49acb401d8a4c6b6fe8c55"));
    }

    #[test]
    fn printed_neighbors() {
        let Packet::Neighbors(neighbors) = printed("neighbors") else { panic!("no neighbors") };
        let addresses: Vec<_> = neighbors.nodes.iter().map(|node| (node.addr.to_string(), node.tcp)).collect();
        let expected = [
            ("99.33.22.55:4444", 4445),
            ("1.2.3.4:1", 1),
            ("[2001:db8:3c4d:15::abcd:ef12]:3333", 3333),
            ("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:999", 1000),
        ];
        assert_eq!(addresses, expected.map(|(addr, tcp)| (addr.to_owned(), tcp)));
        assert!(neighbors.nodes[0].key.to_string().starts_with("3155e1427f85f10a"));
    }

    #[test]
    fn twelve_neighbors_fit_a_packet() {
        let secret = NodeKey::from_bytes(&[1; 32]).unwrap();
        let node = Contact::new(secret.public(), "[2001:db8::1]:65535".parse().unwrap(), 65535);
        let nodes = vec![node; MAX_NEIGHBORS];
        let (bytes, _) = encode(&Packet::Neighbors(Neighbors { nodes, expiration: u64::MAX }), &secret);
        assert!(bytes.len() <= MAX_PACKET_BYTES, "{}", bytes.len());
    }

    /// A packet of arbitrary fields, well signed.
    fn raw(kind: u8, fields: &[u8]) -> Vec<u8> {
        let content = [&[kind][..], fields].concat();
        let signature = NodeKey::from_bytes(&[1; 32]).unwrap().sign(&Keccak256::digest(&content).into());
        hashed(&[&signature[..], &content].concat())
    }

    fn hashed(signed: &[u8]) -> Vec<u8> {
        [&Keccak256::digest(signed)[..], signed].concat()
    }

    #[test]
    fn neighbors_that_cannot_be_written_to_are_left_out() {
        let good = NodeKey::from_bytes(&[1; 32]).unwrap().public();
        let node = |ip: &[u8], udp: u16, key: &[u8]| {
            let mut fields = Vec::new();
            ip.encode(&mut fields);
            udp.encode(&mut fields);
            7_u16.encode(&mut fields);
            key.encode(&mut fields);
            list(&fields)
        };
        let nodes = [
            node(&[9, 9, 9], 1, good.as_bytes()),
            node(&[9, 9, 9, 9], 0, good.as_bytes()),
            node(&[9, 9, 9, 9], 1, &[1; 64]),
            node(&[9, 9, 9, 9], 1, good.as_bytes()),
        ];
        let fields = [list(&nodes.concat()), vec![1]].concat();
        let Packet::Neighbors(neighbors) = decode(&raw(4, &list(&fields))).unwrap().packet else { panic!() };
        assert_eq!(neighbors.nodes, [Contact::new(good, "9.9.9.9:1".parse().unwrap(), 7)]);
    }

    #[test]
    fn h46_bad_packets_have_their_errors() {
        let good = hex(&json("discv4/packets.json"), "ping");
        assert_eq!(decode(&good[..97]), Err(PacketError::TooShort(97)));
        assert_eq!(decode(&[&good[..], &[0; 1281 - 128]].concat()[..1281]), Err(PacketError::TooLong(1281)));
        let mut bad = good.clone();
        bad[0] ^= 1;
        assert_eq!(decode(&bad), Err(PacketError::Hash));
        for recovery_id in [4, 27, 255] {
            let mut signed = good[32..].to_vec();
            signed[64] = recovery_id;
            assert_eq!(decode(&hashed(&signed)), Err(PacketError::Signature(KeyError::BadSignature)));
        }
        assert_eq!(decode(&raw(0, &[0xc0])), Err(PacketError::UnknownType(0)));
        assert_eq!(decode(&raw(7, &[0xc0])), Err(PacketError::UnknownType(7)));
        assert_eq!(decode(&raw(1, &[])), Err(PacketError::Malformed(RlpError::Missing)));
        assert_eq!(decode(&raw(1, &[0xc0])), Err(PacketError::Malformed(RlpError::Missing)));
        assert_eq!(
            decode(&raw(3, &[0xc1, 1])),
            Err(PacketError::Malformed(RlpError::WrongLength { want: 64, got: 1 }))
        );
        let no_record = [&[0xe2, 0xa0][..], &[7; 32], &[0xc0]].concat();
        assert!(matches!(decode(&raw(6, &no_record)), Err(PacketError::Record(_))));
        let port = hex::decode("d304c90484000000008301000080c3808080840000ffff").unwrap();
        assert!(matches!(decode(&raw(1, &port)), Err(PacketError::Malformed(_))));
    }

    fn contact() -> impl Strategy<Value = Contact> {
        (1..=200_u8, any::<std::net::IpAddr>(), 1..=u16::MAX, any::<u16>()).prop_map(|(secret, ip, udp, tcp)| {
            let key = NodeKey::from_bytes(&[secret; 32]).unwrap().public();
            Contact::new(key, SocketAddr::new(ip, udp), tcp)
        })
    }

    fn packets() -> impl Strategy<Value = Packet> {
        let endpoint = || contact().prop_map(|contact| contact.endpoint());
        let bytes = any::<[u8; 32]>;
        prop_oneof![
            (endpoint(), endpoint(), any::<u64>(), any::<Option<u64>>())
                .prop_map(|(from, to, expiration, enr_seq)| { Packet::Ping(Ping { from, to, expiration, enr_seq }) }),
            (endpoint(), bytes(), any::<u64>(), any::<Option<u64>>()).prop_map(
                |(to, ping_hash, expiration, enr_seq)| { Packet::Pong(Pong { to, ping_hash, expiration, enr_seq }) }
            ),
            (any::<[[u8; 32]; 2]>(), any::<u64>()).prop_map(|(target, expiration)| {
                let target = target.concat().try_into().unwrap();
                Packet::FindNode(FindNode { target, expiration })
            }),
            (prop::collection::vec(contact(), 0..=MAX_NEIGHBORS), any::<u64>())
                .prop_map(|(nodes, expiration)| Packet::Neighbors(Neighbors { nodes, expiration })),
            any::<u64>().prop_map(|expiration| Packet::EnrRequest(EnrRequest { expiration })),
            (bytes(), any::<u64>()).prop_map(|(request_hash, seq)| {
                let key = NodeKey::from_bytes(&[9; 32]).unwrap();
                let record = enr::sign(&key, seq, &enr::Endpoint::default()).unwrap();
                Packet::EnrResponse(EnrResponse { request_hash, record })
            }),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(packet in packets(), secret in 1..=200_u8, behind: Option<u8>) {
            let key = NodeKey::from_bytes(&[secret; 32]).unwrap();
            let (bytes, hash) = encode(&packet, &key);
            prop_assert!(bytes.len() <= MAX_PACKET_BYTES);
            let signed = decode(&bytes).unwrap();
            prop_assert_eq!(&signed, &Signed { sender: key.public(), hash, packet });
            // A byte behind the list changes the hash and the signature, and nothing else.
            if let Some(byte) = behind {
                let content = [&bytes[HEAD_BYTES - 1..], &[byte]].concat();
                let signature = key.sign(&Keccak256::digest(&content).into());
                prop_assert_eq!(decode(&hashed(&[&signature[..], &content].concat())).unwrap().packet, signed.packet);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(kind in 0..=7_u8, fields in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&raw(kind, &fields));
            let _ = decode(&raw(kind, &list(&fields)));
            prop_assert!(decode(&fields).is_err());
        }
    }
}
