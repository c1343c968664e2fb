//! Hello: who a peer is and what it speaks (base protocol, message 0).
//!
//! `[p2pVersion, clientId, [[name, version], ..], listenPort, nodeKey, ..]`, never compressed, at most 2,048 bytes.
//! Read leniently (EIP-8): further elements are ignored, at the end and within a capability. A capability whose name or
//! version we could never offer ourselves is skipped, since it cannot be shared.

use std::fmt;

use alloy_rlp::{BufMut, Encodable, Header};

use crate::key::PublicKey;
use crate::rlp::{Reader, RlpError};

/// Version of the base protocol that we speak; 5 brought Snappy. Source: EIP-706.
pub const P2P_VERSION: u32 = 5;

/// Longest Hello taken, in bytes. Source: go-ethereum, `baseProtocolMaxMsgSize`.
pub const MAX_HELLO_BYTES: usize = 2048;

/// Most capabilities taken from one Hello; the busiest deployed clients list under ten.
pub const MAX_CAPABILITIES: usize = 64;

/// Longest capability name, in bytes. Source: devp2p base protocol, "Hello (0x00)".
pub const MAX_NAME_BYTES: usize = 8;

/// The name of a capability: 1 to 8 printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapabilityName {
    /// Padded with zeros, so that the order of the arrays is the order of the names.
    bytes: [u8; MAX_NAME_BYTES],
    len: u8,
}

impl CapabilityName {
    /// A name known when compiling.
    ///
    /// # Panics
    /// For what is no name; so use it in constants, where that is an error of the compiler.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        match Self::parse(name.as_bytes()) {
            Some(name) => name,
            None => panic!("a capability name is 1 to 8 printable ASCII characters"),
        }
    }

    /// Reads a name; `None` for what is none.
    #[must_use]
    pub const fn parse(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return None;
        }
        let mut bytes = [0; MAX_NAME_BYTES];
        let mut at = 0;
        while at < name.len() {
            if !name[at].is_ascii_graphic() {
                return None;
            }
            bytes[at] = name[at];
            at += 1;
        }
        Some(Self { bytes, len: at as u8 })
    }

    /// The characters.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A protocol and its version, such as `waku/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability {
    /// The protocol.
    pub name: CapabilityName,
    /// Its version.
    pub version: u32,
}

impl Capability {
    /// A capability known when compiling; see [`CapabilityName::from_static`].
    ///
    /// # Panics
    /// For what is no name.
    #[must_use]
    pub const fn from_static(name: &'static str, version: u32) -> Self {
        Self { name: CapabilityName::from_static(name), version }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A capability we offer, and how many message codes it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offered {
    /// What is offered.
    pub capability: Capability,
    /// Message codes it takes: relative codes run from 0 to one less.
    pub length: u8,
}

/// A Hello message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version of the base protocol. Snappy is on when both sides say 5 or more.
    pub p2p_version: u32,
    /// The client's name and version, for logs.
    pub client_id: String,
    /// What it speaks, in its order.
    pub capabilities: Vec<Capability>,
    /// Its TCP port, 0 for none; nobody relies on it.
    pub listen_port: u16,
    /// Its static key, to be compared with that of the handshake.
    pub key: PublicKey,
}

impl Hello {
    /// The message body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            encode_capability(*capability, &mut capabilities);
        }
        let mut fields = Vec::new();
        self.p2p_version.encode(&mut fields);
        self.client_id.as_str().encode(&mut fields);
        encode_list(&capabilities, &mut fields);
        self.listen_port.encode(&mut fields);
        self.key.as_bytes().as_slice().encode(&mut fields);
        let mut out = Vec::new();
        encode_list(&fields, &mut out);
        out
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`HelloError`]; each says what the peer is told.
    pub fn decode(body: &[u8]) -> Result<Self, HelloError> {
        if body.len() > MAX_HELLO_BYTES {
            return Err(HelloError::TooLong(body.len()));
        }
        let mut fields = Reader::list_exact(body)?;
        let p2p_version = u32::try_from(fields.u64()?).map_err(|_| RlpError::NumberTooLarge)?;
        // Only shown to people: what is not UTF-8 is replaced.
        let client_id = String::from_utf8_lossy(fields.bytes()?).into_owned();
        let capabilities = decode_capabilities(fields.list()?)?;
        let listen_port = u16::try_from(fields.u64()?).map_err(|_| RlpError::NumberTooLarge)?;
        let key = fields.bytes()?.try_into().map_err(|_| HelloError::InvalidIdentity)?;
        let key = PublicKey::from_bytes(key).map_err(|_| HelloError::InvalidIdentity)?;
        Ok(Self { p2p_version, client_id, capabilities, listen_port, key })
    }
}

fn encode_list(payload: &[u8], out: &mut Vec<u8>) {
    Header { list: true, payload_length: payload.len() }.encode(out as &mut dyn BufMut);
    out.extend_from_slice(payload);
}

fn encode_capability(capability: Capability, out: &mut Vec<u8>) {
    let mut fields = Vec::with_capacity(MAX_NAME_BYTES + 6);
    capability.name.as_bytes().encode(&mut fields);
    capability.version.encode(&mut fields);
    encode_list(&fields, out);
}

fn decode_capabilities(mut list: Reader<'_>) -> Result<Vec<Capability>, HelloError> {
    let mut capabilities = Vec::new();
    while !list.is_empty() {
        let mut pair = list.list()?;
        let (name, version) = (CapabilityName::parse(pair.bytes()?), u32::try_from(pair.u64()?));
        if capabilities.len() == MAX_CAPABILITIES {
            return Err(HelloError::TooManyCapabilities);
        }
        if let (Some(name), Ok(version)) = (name, version) {
            capabilities.push(Capability { name, version });
        }
    }
    Ok(capabilities)
}

/// Why a Hello is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Longer than [`MAX_HELLO_BYTES`]. The peer is told of a breach of protocol.
    #[error("a Hello of {0} bytes, over {MAX_HELLO_BYTES}")]
    TooLong(usize),
    /// Not the RLP it should be. The peer is told of a breach of protocol.
    #[error("malformed Hello: {0}")]
    Malformed(#[from] RlpError),
    /// More than [`MAX_CAPABILITIES`]. The peer is told of a breach of protocol.
    #[error("over {MAX_CAPABILITIES} capabilities")]
    TooManyCapabilities,
    /// The node key is no key. The peer is told so.
    #[error("the node key is no public key")]
    InvalidIdentity,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{array, hex, json};
    use crate::key::NodeKey;
    use crate::packet::Body;

    fn sample() -> Hello {
        Hello {
            p2p_version: P2P_VERSION,
            client_id: "test/0.1".into(),
            capabilities: vec![Capability::from_static("waku", 0)],
            listen_port: 30303,
            key: NodeKey::from_bytes(&[1; 32]).unwrap().public(),
        }
    }

    /// Their ids are random bytes, not keys: everything but the id is checked through a key of ours in its place.
    #[test]
    fn recorded_hellos_are_read_and_written() {
        let messages = json("devp2p/messages.json");
        let hellos = messages["hello"].as_array().unwrap();
        assert_eq!(hellos.len(), 15);
        let key = sample().key;
        for hello in hellos {
            let recorded = hex(hello, "rlp");
            let id: [u8; 64] = array(hello, "id");
            let is_key = PublicKey::from_bytes(&id).is_ok();
            assert_eq!(Hello::decode(&recorded).is_ok(), is_key);
            let at = recorded.len() - id.len();
            assert_eq!(recorded[at..], id);
            let ours = [&recorded[..at], key.as_bytes()].concat();
            let decoded = Hello::decode(&ours).unwrap();
            assert_eq!(u64::from(decoded.p2p_version), hello["version"].as_u64().unwrap());
            assert_eq!(decoded.client_id, hello["name"].as_str().unwrap());
            assert_eq!(u64::from(decoded.listen_port), hello["listen_port"].as_u64().unwrap());
            let named = |cap: &serde_json::Value| format!("{}/{}", cap["name"].as_str().unwrap(), cap["version"]);
            let expected: Vec<_> = hello["caps"].as_array().unwrap().iter().map(named).collect();
            assert_eq!(decoded.capabilities.iter().map(Capability::to_string).collect::<Vec<_>>(), expected);
            assert_eq!(decoded.encode(), ours);
            assert_eq!(Body::from(recorded).snappy(), hex(hello, "snappy"));
        }
        assert_eq!(hex(&messages, "ping_rlp"), [0xc0]);
        assert_eq!(hex(&messages, "pong_rlp"), [0xc0]);
    }

    #[test]
    fn the_printed_hello_is_reproduced() {
        let printed = json("rlpx/eip8.json");
        let hello = Hello { key: PublicKey::from_bytes(&array(&printed, "public_a")).unwrap(), ..sample() };
        assert_eq!(hello.encode(), hex(&printed, "hello_body"));
        assert_eq!(Hello::decode(&hex(&printed, "hello_body")), Ok(hello));
    }

    /// A Hello with the raw fields given.
    fn raw(capabilities: &[u8], key: &[u8], more: &[u8]) -> Vec<u8> {
        let mut fields = vec![0x05, 0x80];
        encode_list(capabilities, &mut fields);
        fields.push(0x80);
        key.encode(&mut fields);
        fields.extend_from_slice(more);
        let mut out = Vec::new();
        encode_list(&fields, &mut out);
        out
    }

    #[test]
    fn further_elements_are_let_pass() {
        let key = sample().key;
        let waku = [0xc6, 0x84, b'w', b'a', b'k', b'u', 0x80];
        let longer = [0xc7, 0x84, b'w', b'a', b'k', b'u', 0x80, 0x07];
        for (capability, more) in [(&waku[..], &[0xc2, 0x01, 0x02][..]), (&longer[..], &[])] {
            let decoded = Hello::decode(&raw(capability, key.as_bytes(), more)).unwrap();
            assert_eq!(decoded.capabilities, [Capability::from_static("waku", 0)]);
        }
    }

    #[test]
    fn capabilities_that_cannot_be_shared_are_skipped() {
        let mut list = Vec::new();
        for (name, version) in [(&b"ninechars"[..], 1_u64), (b"", 1), (b"wa ku", 1), (b"waku", 1 << 40), (b"waku", 1)] {
            let mut pair = Vec::new();
            name.encode(&mut pair);
            version.encode(&mut pair);
            encode_list(&pair, &mut list);
        }
        let decoded = Hello::decode(&raw(&list, sample().key.as_bytes(), &[])).unwrap();
        assert_eq!(decoded.capabilities, [Capability::from_static("waku", 1)]);
    }

    #[test]
    fn h11_bad_hellos_have_their_errors() {
        let key = *sample().key.as_bytes();
        let many = |count| [0xc3, 0x81, 0x80, 0x01].repeat(count);
        assert!(Hello::decode(&raw(&many(MAX_CAPABILITIES), &key, &[])).is_ok());
        let pair = [0xc2, b'a', 0x01];
        let error = Hello::decode(&raw(&pair.repeat(MAX_CAPABILITIES + 1), &key, &[])).err();
        assert_eq!(error, Some(HelloError::TooManyCapabilities));
        let error = Hello::decode(&raw(&pair.repeat(10_000), &key, &[])).err();
        assert!(matches!(error, Some(HelloError::TooLong(_))));
        assert_eq!(Hello::decode(&raw(&[], &key[..63], &[])), Err(HelloError::InvalidIdentity));
        assert_eq!(Hello::decode(&raw(&[], &[0; 64], &[])), Err(HelloError::InvalidIdentity));
        assert_eq!(Hello::decode(&[0x05]), Err(HelloError::Malformed(RlpError::UnexpectedBytes)));
        assert_eq!(Hello::decode(&[0xc0]), Err(HelloError::Malformed(RlpError::Missing)));
        assert_eq!(
            Hello::decode(&[&sample().encode()[..], &[0]].concat()),
            Err(HelloError::Malformed(RlpError::Trailing))
        );
    }

    #[test]
    fn names_are_one_to_eight_printable_characters() {
        assert_eq!(CapabilityName::from_static("waku").to_string(), "waku");
        for bad in [&b""[..], b"ninechars", b"wa\0ku", b"wa ku", b"w\xffku"] {
            assert_eq!(CapabilityName::parse(bad), None);
        }
        assert!(CapabilityName::from_static("shh") < CapabilityName::from_static("waku"));
        assert!(CapabilityName::from_static("wak") < CapabilityName::from_static("waku"));
    }

    proptest! {
        #[test]
        fn round_trip(p2p_version: u32, client_id in "\\PC{0,40}", versions: [u32; 3], listen_port: u16) {
            let capabilities = versions.map(|version| Capability::from_static("waku", version)).to_vec();
            let hello = Hello { p2p_version, client_id, capabilities, listen_port, ..sample() };
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Hello::decode(&body);
        }

        #[test]
        fn flipped_bytes_never_panic(at in 0_usize..80, byte: u8) {
            let mut body = sample().encode();
            body[at] = byte;
            let _ = Hello::decode(&body);
        }
    }
}
