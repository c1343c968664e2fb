//! Decoders under the session, and those of node discovery.

use bytes::BytesMut;
use devp2p::{
    DisconnectReason, Enode, NodeKey,
    discv4::packet,
    dnsdisc::{Entry, Link, Root},
    ecies,
    enr::{self, Enr},
    handshake::{AuthAwaited, AuthSent, Material},
    hello::Hello,
    rlp::{self, Item, Reader},
};
use rand::{SeedableRng, rngs::StdRng};
use sha3::{Digest, Keccak256};

use crate::script::Script;

/// Bytes of the size before an EIP-8 handshake packet.
const SIZE_BYTES: usize = 2;

/// A key of its own for each number.
pub(crate) fn key(secret: u8) -> NodeKey {
    let mut bytes = [secret; 32];
    bytes[0] = 1;
    NodeKey::from_bytes(&bytes).expect("not zero, and below the order of the curve")
}

/// What is valid can be read to its end, and what can be read so is valid.
pub fn rlp(input: &[u8]) {
    let valid = rlp::validate(input).is_ok();
    let mut reader = Reader::new(input);
    let mut items = 0;
    let read = walk(&mut reader, 0, &mut items);
    assert!(!valid || read, "validated, but not readable");
    let _ = (Reader::new(input).u64(), Reader::new(input).array::<4>(), Reader::list_exact(input));
}

fn walk(reader: &mut Reader<'_>, depth: usize, items: &mut usize) -> bool {
    loop {
        *items += 1;
        match reader.next_item() {
            Ok(None) => return true,
            Ok(Some(Item::List(mut list))) if depth < rlp::MAX_DEPTH => {
                if !walk(&mut list, depth + 1, items) {
                    return false;
                }
            }
            Ok(Some(_)) => {}
            Err(_) => return false,
        }
    }
}

/// Auth and ack as they come, or with a right seal around what they hold: without one nothing is looked at.
pub fn handshake(input: &[u8]) {
    let mut script = Script::new(input);
    let (kind, body) = (script.one_of(6), script.rest());
    let material = || Material::draw(&mut StdRng::seed_from_u64(1));
    let (initiator, recipient) = (key(1), key(2));
    let for_recipient = match kind {
        0 => Some(body.to_vec()),
        1 => Some(eip8(&recipient, body)),
        2 => Some(ecies::encrypt(&recipient.public(), &key(3), &[7; ecies::IV_BYTES], body, &[])),
        _ => None,
    };
    if let Some(auth) = for_recipient {
        let _ = AuthAwaited::new(&recipient, material()).accept(&auth);
        return;
    }
    let (sent, _) = AuthSent::start(&initiator, &recipient.public(), material());
    let ack = match kind {
        3 => body.to_vec(),
        4 => eip8(&initiator, body),
        _ => ecies::encrypt(&initiator.public(), &key(3), &[7; ecies::IV_BYTES], body, &[]),
    };
    let _ = sent.receive(&mut BytesMut::from(ack.as_slice()));
}

fn eip8(recipient: &NodeKey, plaintext: &[u8]) -> Vec<u8> {
    let sealed = |size: &[u8]| ecies::encrypt(&recipient.public(), &key(3), &[7; ecies::IV_BYTES], plaintext, size);
    let len = u16::try_from(plaintext.len() + ecies::OVERHEAD_BYTES).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = Vec::with_capacity(SIZE_BYTES + plaintext.len() + ecies::OVERHEAD_BYTES);
    packet.extend_from_slice(&len);
    packet.extend(sealed(&len));
    packet
}

/// What is read as a Hello is one.
pub fn hello(input: &[u8]) {
    if let Ok(hello) = Hello::decode(input) {
        assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello));
    }
}

/// What is read as a reason is one.
pub fn disconnect(input: &[u8]) {
    if let Ok(reason) = DisconnectReason::decode(input) {
        assert_eq!(DisconnectReason::decode(&reason.encode()), Ok(reason));
        assert_eq!(DisconnectReason::from_code(reason.code()), reason);
    }
}

/// What is read as an enode is written as one that reads the same.
pub fn enode(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(enode) = text.parse::<Enode>() {
        assert_eq!(enode.to_string().parse(), Ok(enode));
    }
}

/// Records, as text and as bytes.
pub fn enr(input: &[u8]) {
    if let Some(record) = str::from_utf8(input).ok().and_then(|text| text.parse::<Enr>().ok()) {
        assert_eq!(record.to_base64().parse().as_ref(), Ok(&record));
    }
    if let Ok(record) = enr::decode(input) {
        assert_eq!(enr::decode(&enr::encode(&record)).as_ref(), Ok(&record));
    }
}

/// A packet of discovery as it comes, and with its hash put right: without that nothing is looked at.
pub fn discv4_packet(input: &[u8]) {
    let _ = packet::decode(input);
    let mut hashed = Keccak256::digest(input).to_vec();
    hashed.extend_from_slice(input);
    let Ok(signed) = packet::decode(&hashed) else { return };
    let (again, hash) = packet::encode(&signed.packet, &key(1));
    if again.len() <= packet::MAX_PACKET_BYTES {
        let again = packet::decode(&again).expect("our own packet");
        assert_eq!((again.packet, again.hash), (signed.packet, hash));
    }
}

/// Texts of DNS lists (EIP-1459): what is read is written as a text that reads the same.
pub fn dns_text(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(root) = text.parse::<Root>() {
        // The signature is over the text as it came, and `seq=00` is not what we would write.
        let again: Root = root.to_string().parse().expect("our own text");
        assert_eq!((again.nodes, again.links, again.seq), (root.nodes, root.links, root.seq));
    }
    if let Ok(entry) = text.parse::<Entry>() {
        assert_eq!(entry.to_string().parse(), Ok(entry));
    }
    if let Ok(link) = text.parse::<Link>() {
        assert_eq!(link.to_string().parse(), Ok(link));
    }
}
