//! The handshake of Noise by hand: who it is that signs, and what was said before.  Spec: libp2p, noise, "Static Key Authentication".

use libp2p::identity::{Keypair, PublicKey};
use prost::Message;
use snow::{Builder, HandshakeState, params::NoiseParams};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    hostile::{connect, ended, goes_on, hello, line, node},
    node::{Node, soon},
};

/// Before the static key in what an identity signs.
const DOMAIN: &[u8] = b"noise-libp2p-static-key:";

/// Longest message of Noise, in bytes.
const MAX_BYTES: usize = 65_535;

#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    identity: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
}

fn payload(identity: &PublicKey, signer: &Keypair, static_key: &[u8]) -> Payload {
    let signature = signer.sign(&[DOMAIN, static_key].concat()).unwrap();
    Payload { identity: identity.encode_protobuf(), signature }
}

/// A static key and its public half.
fn static_key() -> snow::Keypair {
    Builder::new(params()).generate_keypair().unwrap()
}

fn params() -> NoiseParams {
    "Noise_XX_25519_ChaChaPoly_SHA256".parse().unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

fn written(noise: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; MAX_BYTES];
    let length = noise.write_message(payload, &mut message).unwrap();
    framed(&message[..length])
}

async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = soon("a message or the end", stream.read_u16()).await.ok()?;
    let mut message = vec![0; length.into()];
    soon("a message or the end", stream.read_exact(&mut message)).await.ok()?;
    Some(message)
}

/// Goes through a handshake with this static key and payload. Whether the node goes on, and all that was sent.
async fn handshake(node: &Node, key: &snow::Keypair, payload: &[u8]) -> (bool, Vec<u8>) {
    let mut stream = connect(&node.addr()).await;
    let mut noise = Builder::new(params()).local_private_key(&key.private).unwrap().build_initiator().unwrap();
    let choose = [hello(), line(b"/noise")].concat();
    let first = [choose.clone(), written(&mut noise, &[])].concat();
    stream.write_all(&first).await.unwrap();
    let mut chosen = vec![0; choose.len()];
    soon("the choice of Noise", stream.read_exact(&mut chosen)).await.unwrap();
    assert_eq!(chosen, choose);
    let second = read(&mut stream).await.unwrap();
    noise.read_message(&second, &mut vec![0; MAX_BYTES]).unwrap();
    let third = written(&mut noise, payload);
    let mut noise = noise.into_transport_mode().unwrap();
    let mut muxer = vec![0; MAX_BYTES];
    let length = noise.write_message(&[hello(), line(b"/yamux/1.0.0")].concat(), &mut muxer).unwrap();
    let rest = [third, framed(&muxer[..length])].concat();
    stream.write_all(&rest).await.unwrap();
    let answer = read(&mut stream).await;
    let goes_on = answer.is_some_and(|answer| noise.read_message(&answer, &mut vec![0; MAX_BYTES]).is_ok());
    (goes_on, [first, rest].concat())
}

#[tokio::test]
async fn h63_who_signs_another_static_key_is_nobody() {
    let mut node = node().await;
    let (key, other) = (static_key(), static_key());
    let (own, stranger) = (Keypair::generate_ed25519(), Keypair::generate_secp256k1());
    for identity in [&own, &stranger] {
        let right = payload(&identity.public(), identity, &key.public);
        assert!(handshake(&node, &key, &right.encode_to_vec()).await.0, "an honest handshake goes on");
    }
    let right = payload(&own.public(), &own, &key.public);
    let mut rsa = vec![0x08, 0x00, 0x12];
    prost::encode_length_delimiter(1_024, &mut rsa).unwrap();
    rsa.resize(rsa.len() + 1_024, 0x30);
    for (what, wrong) in [
        ("of another static key", payload(&own.public(), &own, &other.public)),
        ("of another identity", payload(&stranger.public(), &own, &key.public)),
        ("of nothing", Payload { signature: own.sign(b"").unwrap(), ..right.clone() }),
        ("none", Payload { signature: Vec::new(), ..right.clone() }),
        ("cut off", Payload { signature: right.signature[..63].to_vec(), ..right.clone() }),
        ("of nobody", Payload { identity: Vec::new(), ..right.clone() }),
        ("of RSA", Payload { identity: rsa, ..right.clone() }),
    ] {
        assert!(!handshake(&node, &key, &wrong.encode_to_vec()).await.0, "a signature {what}");
    }
    for none in [vec![], vec![0xff; 100], vec![0x0a; 60_000]] {
        assert!(!handshake(&node, &key, &none).await.0);
    }
    goes_on(&mut node).await;
}

#[tokio::test]
async fn h63_a_handshake_that_is_replayed_ends_the_connection() {
    let mut node = node().await;
    let (key, identity) = (static_key(), Keypair::generate_ed25519());
    let payload = payload(&identity.public(), &identity, &key.public).encode_to_vec();
    let (went_on, said) = handshake(&node, &key, &payload).await;
    assert!(went_on);
    let choose = [hello(), line(b"/noise")].concat();
    let heard = ended(connect(&node.addr()).await, &said).await;
    // The choice and the second message, which is a new one each time; nothing behind it.
    assert!(heard.starts_with(&choose));
    let length = usize::from(u16::from_be_bytes(heard[choose.len()..][..2].try_into().unwrap()));
    assert_eq!(heard.len(), choose.len() + 2 + length);
    goes_on(&mut node).await;
}
