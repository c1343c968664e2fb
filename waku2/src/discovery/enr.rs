//! The Waku keys of node records.  Spec: 31/WAKU2-ENR, 51/WAKU2-RELAY-SHARDING.
//!
//! | Key | Value |
//! |---|---|
//! | `waku2` | one byte of flags |
//! | `rs` | cluster, count, shards |
//! | `rsv` | cluster, one bit for each of 1,024 shards |
//! | `multiaddrs` | what `ip` and `tcp` cannot say, each with its length before it |
//!
//! Pure. A value that cannot be read counts as absent, as deployed nodes take it, and its record is still a record. Records have at
//! most 300 bytes (EIP-778), which bounds everything in them. The order of the bits of `rsv` differs in the field: the document counts from
//! the far end, js-waku from the most significant bit of each byte, nwaku and go-waku from the least significant one; the last is read and
//! written here.

use std::{collections::BTreeSet, net::IpAddr};

use devp2p::{
    NodeKey,
    enr::{self, Endpoint, Enr, EnrError},
};
use libp2p::{
    Multiaddr, PeerId,
    identity::{PublicKey, secp256k1},
    multiaddr::Protocol,
};

use crate::shard::{ClusterId, Shard};

/// Shards of a cluster: 0 to 1,023.  Spec: 51/WAKU2-RELAY-SHARDING.
pub const SHARDS_IN_CLUSTER: u16 = 1_024;

/// Most shards in a list. From this many on the bits are shorter, and the document asks for them.
pub const MAX_LISTED_SHARDS: usize = 64;

/// Bytes of `rsv` behind the cluster.
const VECTOR_BYTES: usize = SHARDS_IN_CLUSTER as usize / 8;

/// Most addresses that are tried when writing: about three fit.
const MAX_WRITTEN_ADDRS: usize = 8;

/// What a node serves, as it says.  Spec: 31/WAKU2-ENR, "waku2".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Services(u8);

impl Services {
    /// 11/WAKU2-RELAY.
    pub const RELAY: Self = Self(1);
    /// 13/WAKU2-STORE.
    pub const STORE: Self = Self(1 << 1);
    /// 12/WAKU2-FILTER.
    pub const FILTER: Self = Self(1 << 2);
    /// 19/WAKU2-LIGHTPUSH.
    pub const LIGHTPUSH: Self = Self(1 << 3);

    /// The flags of a byte; those without a meaning are kept.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// As a byte.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Has it all of those?
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Has it any?
    #[must_use]
    pub const fn any(self) -> bool {
        self.0 != 0
    }
}

/// Shards of one cluster, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayShards {
    cluster: ClusterId,
    indices: BTreeSet<u16>,
}

impl RelayShards {
    /// Shards of `cluster`.
    ///
    /// # Errors
    /// When there is none, or one that no cluster has.
    pub fn new(cluster: ClusterId, indices: impl IntoIterator<Item = u16>) -> Result<Self, FieldError> {
        let indices: BTreeSet<u16> = indices.into_iter().collect();
        match indices.last() {
            None => Err(FieldError::NoShard),
            Some(&last) if last >= SHARDS_IN_CLUSTER => Err(FieldError::Shard(last)),
            Some(_) => Ok(Self { cluster, indices }),
        }
    }

    /// Their network.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Their numbers, ascending.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        self.indices.iter().copied()
    }

    /// Is it one of them?
    #[must_use]
    pub fn contains(&self, shard: Shard) -> bool {
        shard.cluster == self.cluster && self.indices.contains(&shard.index)
    }

    /// Is one of them among those as well?
    #[must_use]
    pub fn share_any(&self, other: &Self) -> bool {
        self.cluster == other.cluster && !self.indices.is_disjoint(&other.indices)
    }

    /// The key to write, and its value: a list below [`MAX_LISTED_SHARDS`], else bits.
    #[must_use]
    pub fn encode(&self) -> (&'static str, Vec<u8>) {
        if self.indices.len() < MAX_LISTED_SHARDS { ("rs", self.list()) } else { ("rsv", self.vector()) }
    }

    fn list(&self) -> Vec<u8> {
        let mut list = self.cluster.0.to_be_bytes().to_vec();
        // One byte is enough: asked for with fewer than 64 only.
        list.push(self.indices.len() as u8);
        list.extend(self.indices().flat_map(u16::to_be_bytes));
        list
    }

    fn vector(&self) -> Vec<u8> {
        let mut bits = [0; VECTOR_BYTES];
        // In range: a shard is below 1,024.
        self.indices().for_each(|shard| bits[usize::from(shard / 8)] |= 1 << (shard % 8));
        [&self.cluster.0.to_be_bytes()[..], &bits].concat()
    }

    /// Reads `rs`.
    ///
    /// # Errors
    /// See [`FieldError`].
    pub fn decode_list(value: &[u8]) -> Result<Self, FieldError> {
        let (&[high, low, count], shards) = value.split_first_chunk().ok_or(FieldError::Length)?;
        if shards.len() != 2 * usize::from(count) {
            return Err(FieldError::Length);
        }
        if usize::from(count) > MAX_LISTED_SHARDS {
            return Err(FieldError::TooManyListed(count));
        }
        let indices = shards.as_chunks().0.iter().copied().map(u16::from_be_bytes);
        Self::new(ClusterId(u16::from_be_bytes([high, low])), indices)
    }

    /// Reads `rsv`.
    ///
    /// # Errors
    /// See [`FieldError`].
    pub fn decode_vector(value: &[u8]) -> Result<Self, FieldError> {
        let (&cluster, bits) = value.split_first_chunk().ok_or(FieldError::Length)?;
        let bits: &[u8; VECTOR_BYTES] = bits.try_into().map_err(|_| FieldError::Length)?;
        let is_set = |shard: &u16| bits[usize::from(shard / 8)] & 1 << (shard % 8) != 0;
        Self::new(ClusterId(u16::from_be_bytes(cluster)), (0..SHARDS_IN_CLUSTER).filter(is_set))
    }
}

/// Why a value cannot be read. Its key counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Longer or shorter than its kind or its own count says.
    #[error("a value of the wrong length")]
    Length,
    /// A list or a vector of nothing.
    #[error("no shard")]
    NoShard,
    /// A list that should be a vector.
    #[error("{0} shards in a list, and {MAX_LISTED_SHARDS} are the most")]
    TooManyListed(u8),
    /// No cluster has this shard.
    #[error("shard {0} is out of range")]
    Shard(u16),
    /// An address of no bytes.
    #[error("an empty address")]
    EmptyAddress,
    /// An address that is longer than what is left.
    #[error("an address that ends past its list")]
    AddressPastEnd,
}

/// Reads `waku2`.
///
/// # Errors
/// [`FieldError::Length`] unless it is one byte.
pub fn decode_services(value: &[u8]) -> Result<Services, FieldError> {
    match value {
        &[bits] => Ok(Services(bits)),
        _ => Err(FieldError::Length),
    }
}

/// Reads `multiaddrs`. An address of an unknown kind is left out; one that ends in a peer id goes over that peer, and gets back what says so.
///
/// # Errors
/// See [`FieldError`].
pub fn decode_addrs(mut value: &[u8]) -> Result<Vec<Multiaddr>, FieldError> {
    let mut addrs = Vec::new();
    while !value.is_empty() {
        let (&length, rest) = value.split_first_chunk().ok_or(FieldError::AddressPastEnd)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            return Err(FieldError::EmptyAddress);
        }
        let (addr, rest) = rest.split_at_checked(length).ok_or(FieldError::AddressPastEnd)?;
        addrs.extend(Multiaddr::try_from(addr.to_vec()).ok().map(with_circuit));
        value = rest;
    }
    Ok(addrs)
}

fn with_circuit(addr: Multiaddr) -> Multiaddr {
    match addr.iter().last() {
        Some(Protocol::P2p(_)) => addr.with(Protocol::P2pCircuit),
        _ => addr,
    }
}

/// Writes `multiaddrs`: without peer ids, except that of a relay, behind which everything is left out.
#[must_use]
pub fn encode_addrs(addrs: &[Multiaddr]) -> Vec<u8> {
    let mut value = Vec::new();
    for addr in addrs.iter().map(as_written) {
        let bytes = addr.to_vec();
        if let Ok(length) = u16::try_from(bytes.len())
            && length > 0
        {
            value.extend(length.to_be_bytes());
            value.extend(bytes);
        }
    }
    value
}

fn as_written(addr: &Multiaddr) -> Multiaddr {
    let is_circuit = addr.iter().any(|part| part == Protocol::P2pCircuit);
    addr.iter()
        .take_while(|part| *part != Protocol::P2pCircuit)
        .filter(|part| is_circuit || !matches!(part, Protocol::P2p(_)))
        .collect()
}

/// What a record says, beside whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// `ip`, `tcp` and `udp`.
    pub endpoint: Endpoint,
    /// `waku2`; none is written when there is none.
    pub services: Services,
    /// `rs` or `rsv`.
    pub shards: Option<RelayShards>,
    /// `multiaddrs`. When they do not all fit, the first ones are written.
    pub addrs: Vec<Multiaddr>,
}

impl Description {
    /// What `record` says. Of its own addresses IPv4 comes before IPv6. A list of shards comes before bits.  Deployed: nwaku.
    #[must_use]
    pub fn read(record: &Enr) -> Self {
        let field = |name| enr::value(record, name);
        let list = field("rs").and_then(|value| RelayShards::decode_list(&value).ok());
        let vector = || field("rsv").and_then(|value| RelayShards::decode_vector(&value).ok());
        Self {
            endpoint: endpoint(record),
            services: field("waku2").and_then(|value| decode_services(&value).ok()).unwrap_or_default(),
            shards: list.or_else(vector),
            addrs: field("multiaddrs").and_then(|value| decode_addrs(&value).ok()).unwrap_or_default(),
        }
    }

    /// Signs a record that says this, with as many of the addresses as fit.
    ///
    /// # Errors
    /// When it is too long even without them.
    pub fn sign(&self, key: &NodeKey, seq: u64) -> Result<Enr, EnrError> {
        let fit = (1..=self.addrs.len().min(MAX_WRITTEN_ADDRS)).rev();
        let with = |count: usize| enr::sign_with(key, seq, &self.endpoint, &self.pairs(count));
        fit.map(with).find_map(Result::ok).map_or_else(|| with(0), Ok)
    }

    fn pairs(&self, addrs: usize) -> Vec<(&'static str, Vec<u8>)> {
        let services = self.services.any().then(|| ("waku2", vec![self.services.bits()]));
        let addrs = Some(encode_addrs(&self.addrs[..addrs])).filter(|value| !value.is_empty());
        let shards = self.shards.as_ref().map(RelayShards::encode);
        services.into_iter().chain(shards).chain(addrs.map(|value| ("multiaddrs", value))).collect()
    }
}

fn endpoint(record: &Enr) -> Endpoint {
    match (record.ip4(), record.ip6()) {
        (Some(ip), _) => Endpoint { ip: Some(ip.into()), tcp: record.tcp4(), udp: record.udp4() },
        // EIP-778: without ports of their own, those of IPv4 stand for IPv6.
        (None, Some(ip)) => Endpoint {
            ip: Some(ip.into()),
            tcp: record.tcp6().or_else(|| record.tcp4()),
            udp: record.udp6().or_else(|| record.udp4()),
        },
        (None, None) => Endpoint { ip: None, tcp: record.tcp4(), udp: record.udp4() },
    }
}

/// A Waku node, as its record tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Who it is: the key of the record is that of libp2p.
    pub peer: PeerId,
    /// Where it can be called, with `/p2p/ID`; may be nowhere.
    pub addrs: Vec<Multiaddr>,
    /// What it serves.
    pub services: Services,
    /// What it relays.
    pub shards: Option<RelayShards>,
    /// The record itself.
    pub record: Enr,
}

impl Node {
    /// Reads a record. Never `None`: a point of the curve is one for either library.
    #[must_use]
    pub fn read(record: Enr) -> Option<Self> {
        let peer = peer_id(&record)?;
        let Description { endpoint, services, shards, addrs } = Description::read(&record);
        let addrs = tcp(&endpoint).into_iter().chain(addrs).filter_map(|addr| dialable(addr, peer)).collect();
        Some(Self { peer, addrs, services, shards, record })
    }

    /// Its network, if it tells.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.shards.as_ref().map(RelayShards::cluster)
    }
}

/// The peer id of a record's key.
#[must_use]
pub fn peer_id(record: &Enr) -> Option<PeerId> {
    let compressed = enr::public_key(record)?.to_compressed();
    let key = secp256k1::PublicKey::try_from_bytes(&compressed).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

fn tcp(endpoint: &Endpoint) -> Option<Multiaddr> {
    Some(Multiaddr::from(endpoint.ip?).with(Protocol::Tcp(endpoint.tcp?)))
}

/// With `/p2p/ID`, if our transports can call it: TCP or WebSocket, secure or not, at an address or a name.
fn dialable(addr: Multiaddr, peer: PeerId) -> Option<Multiaddr> {
    let mut parts = addr.iter();
    let is_place = match parts.next()? {
        Protocol::Ip4(ip) => is_place(ip.into()),
        Protocol::Ip6(ip) => is_place(ip.into()),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => !name.is_empty(),
        _ => false,
    };
    let is_port = matches!(parts.next()?, Protocol::Tcp(port) if port != 0);
    let is_stream = matches!(
        (parts.next(), parts.next(), parts.next()),
        (None | Some(Protocol::Ws(_) | Protocol::Wss(_)), None, None)
            | (Some(Protocol::Tls), Some(Protocol::Ws(_)), None)
    );
    (is_place && is_port && is_stream).then(|| addr.with(Protocol::P2p(peer)))
}

fn is_place(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    fn shards(cluster: u16, indices: &[u16]) -> RelayShards {
        RelayShards::new(ClusterId(cluster), indices.iter().copied()).unwrap()
    }

    fn key() -> NodeKey {
        NodeKey::from_bytes(&[7; 32]).unwrap()
    }

    fn fixture(path: &str) -> serde_json::Value {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/");
        serde_json::from_slice(&std::fs::read(format!("{root}{path}")).unwrap()).unwrap()
    }

    fn texts(addrs: &[Multiaddr]) -> Vec<String> {
        addrs.iter().map(ToString::to_string).collect()
    }

    /// A record with these values, whatever they are.
    fn node(further: &[(&'static str, Vec<u8>)]) -> Node {
        let endpoint = Endpoint { ip: Some([203, 0, 113, 7].into()), tcp: Some(60_000), udp: Some(9_000) };
        Node::read(enr::sign_with(&key(), 1, &endpoint, further).unwrap()).unwrap()
    }

    #[test]
    fn known_lists() {
        let eight: Vec<u16> = (0..8).collect();
        for (text, known) in [
            ("0010 03 000d 000e 002d", shards(16, &[13, 14, 45])),
            ("0001 08 0000 0001 0002 0003 0004 0005 0006 0007", shards(1, &eight)),
            ("0049 02 0001 000a", shards(73, &[1, 10])),
        ] {
            assert_eq!(RelayShards::decode_list(&hex(text)), Ok(known.clone()));
            assert_eq!(known.encode(), ("rs", hex(text)));
        }
    }

    #[test]
    fn known_vectors_are_of_nwakus_order() {
        let vector = |start: &str| [hex(start), vec![0; VECTOR_BYTES + 2 - hex(start).len()]].concat();
        let nwaku = vector("0049 02 04");
        assert_eq!(RelayShards::decode_vector(&nwaku), Ok(shards(73, &[1, 10])));
        assert_eq!(shards(73, &[1, 10]).vector(), nwaku);
        assert_eq!(shards(16, &[13, 14, 45]).vector(), vector("0010 00 60 00 00 00 20"));
        let js_waku = vector("0010 00 06 00 00 00 04");
        assert_ne!(RelayShards::decode_vector(&js_waku), Ok(shards(16, &[13, 14, 45])), "another dialect");
    }

    #[test]
    fn from_64_shards_on_bits_are_written() {
        let first = |count| shards(1, &(0..count).collect::<Vec<u16>>());
        assert_eq!(first(63).encode().0, "rs");
        let (name, value) = first(64).encode();
        assert_eq!((name, value.len()), ("rsv", 130));
        assert_eq!(RelayShards::decode_vector(&value), Ok(first(64)));
        assert_eq!(RelayShards::decode_list(&first(64).list()), Ok(first(64)), "read all the same");
    }

    #[test]
    fn h52_bad_shards_have_their_errors() {
        let list = |count: u8, entries: u16| {
            [&[0, 1, count][..], &(0..entries).flat_map(u16::to_be_bytes).collect::<Vec<u8>>()].concat()
        };
        let decode = |value: &[u8]| RelayShards::decode_list(value).unwrap_err();
        assert_eq!(decode(&list(0, 0)), FieldError::NoShard);
        assert_eq!(decode(&list(65, 65)), FieldError::TooManyListed(65));
        assert_eq!(decode(&hex("0001 01 0400")), FieldError::Shard(1_024));
        for short in [&[][..], &[0, 1], &list(2, 1), &list(1, 2), &[&list(1, 1)[..], &[0]].concat()] {
            assert_eq!(decode(short), FieldError::Length, "{short:?}");
        }
        let vector = |bytes: usize| RelayShards::decode_vector(&vec![0xff; 2 + bytes]).unwrap_err();
        assert_eq!([127, 129, 0].map(vector), [FieldError::Length; 3]);
        assert_eq!(RelayShards::decode_vector(&[0]), Err(FieldError::Length));
        assert_eq!(RelayShards::decode_vector(&[0; 130]), Err(FieldError::NoShard));
        for bad in [("rs", list(65, 65)), ("rs", vec![]), ("rsv", vec![1; 129])] {
            assert_eq!(node(&[bad]).shards, None, "the record is one without shards");
        }
    }

    #[test]
    fn of_two_forms_the_list_counts() {
        let (list, vector) = (shards(1, &[3]), shards(2, &[4]));
        let both = |list: Vec<u8>| node(&[("rs", list), ("rsv", vector.vector())]).shards;
        assert_eq!(both(list.list()), Some(list));
        assert_eq!(both(vec![0]), Some(vector.clone()), "one that cannot be read is absent");
    }

    #[test]
    fn services_are_one_byte() {
        let relay_and_store = Services::RELAY.and(Services::STORE);
        assert_eq!(relay_and_store.bits(), 0x03);
        assert_eq!(relay_and_store.and(Services::FILTER).and(Services::LIGHTPUSH).bits(), 0x0f);
        assert_eq!(Services::LIGHTPUSH.and(Services::FILTER).and(Services::RELAY).bits(), 0x0d);
        assert!(relay_and_store.has(Services::STORE) && !relay_and_store.has(Services::FILTER));
        assert_eq!(node(&[("waku2", vec![0x0f])]).services.bits(), 0x0f);
        for bad in [vec![], vec![1, 1]] {
            assert_eq!(decode_services(&bad), Err(FieldError::Length));
            assert!(!node(&[("waku2", bad)]).services.any());
        }
    }

    #[test]
    fn h52_bad_addresses_have_their_errors() {
        assert_eq!(decode_addrs(&[]), Ok(vec![]));
        let good = encode_addrs(&["/ip4/1.2.3.4/tcp/5/ws".parse().unwrap()]);
        assert_eq!(decode_addrs(&[&good[..], &[0, 0]].concat()), Err(FieldError::EmptyAddress));
        assert_eq!(decode_addrs(&[&good[..], &[0]].concat()), Err(FieldError::AddressPastEnd));
        assert_eq!(decode_addrs(&good[..good.len() - 1]), Err(FieldError::AddressPastEnd));
        assert_eq!(decode_addrs(&[0xff, 0xff, 4]), Err(FieldError::AddressPastEnd));
        let unknown = [&[0, 2, 0xff, 0x7e][..], &good].concat();
        assert_eq!(texts(&decode_addrs(&unknown).unwrap()), ["/ip4/1.2.3.4/tcp/5/ws"], "left out alone");
        assert_eq!(node(&[("multiaddrs", vec![0, 0])]).addrs.len(), 1, "the one of ip and tcp");
    }

    #[test]
    fn peer_ids_are_left_out_except_those_of_relays() {
        let (relay, own) = (PeerId::random(), PeerId::random());
        let written = |text: String| {
            let addrs = [text.parse().unwrap()];
            texts(&decode_addrs(&encode_addrs(&addrs)).unwrap())
        };
        assert_eq!(written(format!("/dns4/example.org/tcp/443/wss/p2p/{own}")), ["/dns4/example.org/tcp/443/wss"]);
        assert_eq!(
            written(format!("/ip4/1.2.3.4/tcp/5/p2p/{relay}/p2p-circuit/p2p/{own}")),
            [format!("/ip4/1.2.3.4/tcp/5/p2p/{relay}/p2p-circuit")]
        );
        assert!(written(format!("/p2p/{own}")).is_empty());
    }

    #[test]
    fn a_bootstrap_node_of_the_waku_network() {
        let records = fixture("enr/waku.json");
        let record = enr::parse(records["sandbox_do_ams3"].as_str().unwrap()).unwrap();
        let read = Description::read(&record);
        let endpoint = Endpoint { ip: Some([64, 225, 80, 192].into()), tcp: Some(30_303), udp: Some(9_000) };
        let eight: Vec<u16> = (0..8).collect();
        assert_eq!((read.endpoint, read.services.bits(), read.shards), (endpoint, 0x0f, Some(shards(1, &eight))));
        let node = Node::read(record.clone()).unwrap();
        let id = node.peer;
        assert!(id.to_string().starts_with("16Uiu2HA"), "{id}");
        assert_eq!(
            texts(&node.addrs),
            [
                format!("/ip4/64.225.80.192/tcp/30303/p2p/{id}"),
                format!("/dns4/node-01.do-ams3.waku.sandbox.status.im/tcp/30303/p2p/{id}"),
                format!("/dns4/node-01.do-ams3.waku.sandbox.status.im/tcp/8000/wss/p2p/{id}"),
            ]
        );
        assert_eq!(encode_addrs(&read.addrs), enr::value(&record, "multiaddrs").unwrap(), "written as nwaku writes");
        let second = enr::parse(records["sandbox_gc_us_central1_a"].as_str().unwrap()).unwrap();
        assert_eq!(Node::read(second).unwrap().addrs.len(), 3);
    }

    #[test]
    fn what_can_be_called() {
        let id = PeerId::random();
        let can = |text: &str| dialable(text.parse().unwrap(), id).is_some();
        for good in
            ["/ip4/1.2.3.4/tcp/5", "/ip6/2001:db8::1/tcp/5/ws", "/dns4/a.org/tcp/5/wss", "/dns/a.org/tcp/5/tls/ws"]
        {
            assert!(can(good), "{good}");
        }
        for bad in [
            "/ip4/0.0.0.0/tcp/5",
            "/ip4/224.0.0.1/tcp/5",
            "/ip4/255.255.255.255/tcp/5",
            "/ip4/1.2.3.4/tcp/0",
            "/ip4/1.2.3.4/udp/5/quic-v1",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/tcp/5/tls",
            "/ip4/1.2.3.4/tcp/5/ws/p2p-circuit",
            "/memory/7",
        ] {
            assert!(!can(bad), "{bad}");
        }
    }

    #[test]
    fn h52_records_that_are_none() {
        let sound = enr::encode(&node(&[("waku2", vec![1])]).record);
        assert!(enr::decode(&sound).is_ok());
        assert!(enr::sign_with(&key(), 1, &Endpoint::default(), &[("zz", vec![0; 200])]).is_err(), "over 300 bytes");
        // The keys `tcp` and `udp`, `id` and `ip` exchanged, doubled, or missing; their signatures no longer matter.
        let swap = |from: &[u8], to: &[u8]| {
            let at = sound.windows(from.len()).position(|window| window == from).unwrap();
            enr::decode(&[&sound[..at], to, &sound[at + from.len()..]].concat()).unwrap_err()
        };
        assert_eq!(swap(b"\x82id", b"\x82zz"), EnrError::Record(alloy_rlp::Error::Custom("Unsorted keys")));
        assert_eq!(swap(b"\x83udp", b"\x83tcp"), EnrError::Record(alloy_rlp::Error::Custom("Unsorted keys")));
        assert_eq!(swap(b"\x82id", b"\x82ia"), EnrError::Record(alloy_rlp::Error::Custom("Invalid Signature")));
        let (short, long) = (hex("a0"), hex("a1"));
        let key_at = sound.windows(10).position(|window| window == b"\x89secp256k1").unwrap() + 10;
        assert_eq!(sound[key_at], long[0]);
        // 32 bytes of key, and lists that are as much shorter.
        let mut cut = [&sound[..key_at], &short, &sound[key_at + 1..key_at + 33], &sound[key_at + 34..]].concat();
        cut[1] -= 1;
        assert!(matches!(enr::decode(&cut), Err(EnrError::Record(_))), "{:?}", enr::decode(&cut));
    }

    #[test]
    fn addresses_that_do_not_fit_are_left_out_from_the_end() {
        let name =
            |n: usize| format!("/dns4/a-rather-long-name-of-a-host-{n}.example.org/tcp/443/wss").parse().unwrap();
        let all = Description {
            endpoint: Endpoint { ip: Some([1, 2, 3, 4].into()), tcp: Some(1), udp: Some(2) },
            services: Services::RELAY,
            shards: Some(shards(1, &[0, 1])),
            addrs: (0..10).map(name).collect(),
        };
        let record = all.sign(&key(), 5).unwrap();
        let read = Description::read(&record);
        assert_eq!(read.addrs, all.addrs[..2]);
        assert_eq!((read.services, read.shards, record.seq()), (all.services, all.shards.clone(), 5));
        let full = Description { shards: Some(shards(1, &(0..200).collect::<Vec<_>>())), ..all };
        assert_eq!(Description::read(&full.sign(&key(), 6).unwrap()).addrs, [], "shards come first");
    }

    prop_compose! {
        fn any_shards()(cluster: u16, indices in prop::collection::btree_set(0..SHARDS_IN_CLUSTER, 1..100)) -> RelayShards {
            RelayShards { cluster: ClusterId(cluster), indices }
        }
    }

    proptest! {
        #[test]
        fn shards_round_trip(shards in any_shards()) {
            let (name, value) = shards.encode();
            let read = if name == "rs" { RelayShards::decode_list(&value) } else { RelayShards::decode_vector(&value) };
            prop_assert_eq!(read, Ok(shards.clone()));
            prop_assert_eq!(RelayShards::decode_vector(&shards.vector()), Ok(shards));
        }

        #[test]
        fn descriptions_round_trip(
            seq: u64, ip: Option<std::net::Ipv4Addr>, tcp: Option<u16>, udp: Option<u16>, services: u8,
            shards in prop::option::of(any_shards()), ports in prop::collection::vec(any::<u16>(), 0..3),
        ) {
            let addrs = ports.iter().map(|port| format!("/ip4/9.8.7.6/tcp/{port}/ws").parse().unwrap()).collect();
            let endpoint = Endpoint { ip: ip.map(Into::into), tcp, udp };
            let said = Description { endpoint, services: Services(services), shards, addrs };
            let record = said.sign(&key(), seq).unwrap();
            prop_assert_eq!(record.seq(), seq);
            let mut read = Description::read(&record);
            prop_assert!(said.addrs.starts_with(&read.addrs));
            read.addrs.clone_from(&said.addrs);
            prop_assert_eq!(read, said);
        }

        #[test]
        fn any_bytes_are_survived(value in prop::collection::vec(any::<u8>(), 0..150)) {
            let _ = RelayShards::decode_list(&value);
            let _ = RelayShards::decode_vector(&value);
            let read = decode_addrs(&value);
            prop_assert!(read.is_err() || read.unwrap().len() <= value.len() / 3);
        }
    }
}
