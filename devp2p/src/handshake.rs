//! The encryption handshake: auth and ack in the form of EIP-8, both roles.
//!
//! ```text
//! packet = size (2, big-endian) || ECIES(body || padding, s2 = size)
//! auth   = [signature (65), initiator key (64), initiator nonce (32), 4, ..]
//! ack    = [recipient ephemeral key (64), recipient nonce (32), 4, ..]
//! ```
//! One type per state, each step takes it by value: [`AuthSent`] waits for an ack, [`AuthAwaited`] for an auth. Read
//! leniently: any version, further elements, anything after the list. The form before EIP-8 is taken as well, and answered
//! in kind, but never begun with.

use bytes::{Bytes, BytesMut};
use rand::{Rng, RngExt};
use sha3::{Digest, Keccak256};

mod older;
mod reception;

pub use self::reception::MAX_PACKET_BYTES;
use self::reception::{Form, Opened, Reception};
use crate::ecies::{self, EciesError, IV_BYTES};
use crate::frame::Secrets;
use crate::frame_hash::FrameHash;
use crate::key::{KeyError, NodeKey, PublicKey, SIGNATURE_BYTES};
use crate::rlp::{Reader, RlpError};

use alloy_rlp::{BufMut, Encodable, Header};

/// Version of this handshake. Source: EIP-8.
const VERSION: u8 = 4;

/// Padding of our packets, in bytes, drawn anew for each. At least 100, so that nobody takes the packet for the older
/// form. Source: EIP-8; go-ethereum draws from the same range.
const PADDING_BYTES: std::ops::Range<usize> = 100..300;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 32;

/// Everything random in one side's handshake, drawn before it begins.
#[derive(Debug, Clone)]
pub struct Material {
    /// Our nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// Our ephemeral key, from which the secrets of the session come.
    pub ephemeral: NodeKey,
    /// The ephemeral key of the ECIES message.
    pub seal: NodeKey,
    /// The counter block of the ECIES message.
    pub iv: [u8; IV_BYTES],
    /// Bytes of padding.
    pub padding: usize,
}

impl Material {
    /// Draws all of it.
    #[must_use]
    pub fn draw(rng: &mut impl Rng) -> Self {
        Self {
            nonce: rng.random(),
            ephemeral: NodeKey::generate(rng),
            seal: NodeKey::generate(rng),
            iv: rng.random(),
            padding: rng.random_range(PADDING_BYTES),
        }
    }
}

/// What a state makes of the bytes received so far.
#[derive(Debug)]
pub enum Progress<S, T> {
    /// The packet is not all here.
    Waiting(S),
    /// It was taken off the bytes received, and this is what comes of it.
    Done(T),
}

/// The initiator, after its auth and before the ack.
#[derive(Debug)]
pub struct AuthSent {
    key: NodeKey,
    material: Material,
    auth: Vec<u8>,
    reception: Reception,
}

impl AuthSent {
    /// Makes the auth for `remote`: returns the state and the packet to send.
    #[must_use]
    pub fn start(key: &NodeKey, remote: &PublicKey, material: Material) -> (Self, Vec<u8>) {
        let signature = material.ephemeral.sign(&xor(&key.agree(remote), &material.nonce));
        let mut fields = Vec::new();
        signature.as_slice().encode(&mut fields);
        key.public().as_bytes().as_slice().encode(&mut fields);
        material.nonce.as_slice().encode(&mut fields);
        VERSION.encode(&mut fields);
        let auth = seal(remote, &material, &fields);
        (Self::sent(key, material, auth.clone()), auth)
    }

    fn sent(key: &NodeKey, material: Material, auth: Vec<u8>) -> Self {
        Self { key: key.clone(), material, auth, reception: Reception::new(older::ACK_BYTES) }
    }

    /// Takes the ack off the bytes received, once all of it is there.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed without a word.
    pub fn receive(mut self, received: &mut BytesMut) -> Result<Progress<Self, Secrets>, HandshakeError> {
        let Some(opened) = self.reception.open(&self.key, received)? else { return Ok(Progress::Waiting(self)) };
        let ack = received.split_to(opened.bytes);
        self.secrets(&opened, &ack).map(Progress::Done)
    }

    /// Takes the ack, a whole packet as received.
    ///
    /// # Errors
    /// [`HandshakeError`], as [`AuthSent::receive`]; [`HandshakeError::Incomplete`] when something is missing.
    pub fn finish(self, ack: &[u8]) -> Result<Secrets, HandshakeError> {
        self.receive(&mut ack.into()).and_then(Progress::done)
    }

    fn secrets(&self, opened: &Opened, ack: &[u8]) -> Result<Secrets, HandshakeError> {
        let (ephemeral, nonce) = match opened.form {
            Form::Older => older::ack(&opened.body).ok_or(HandshakeError::Incomplete)?,
            Form::Eip8 => {
                let mut fields = Reader::new(&opened.body).list()?;
                (fields.array()?, fields.array()?)
            }
        };
        let ephemeral = PublicKey::from_bytes(ephemeral).map_err(HandshakeError::EphemeralKey)?;
        Ok(Secrets::derive(&Agreed {
            shared: self.material.ephemeral.agree(&ephemeral),
            initiator_nonce: self.material.nonce,
            recipient_nonce: *nonce,
            auth: &self.auth,
            ack,
            initiator: true,
        }))
    }
}

/// The recipient, before the auth.
#[derive(Debug)]
pub struct AuthAwaited {
    key: NodeKey,
    material: Material,
    reception: Reception,
}

/// What a recipient has after the auth.
#[derive(Debug)]
pub struct Accepted {
    /// The initiator's static key.
    pub remote: PublicKey,
    /// The packet to send, in the form of the auth.
    pub ack: Bytes,
    /// The secrets of the session.
    pub secrets: Secrets,
}

impl AuthAwaited {
    /// Waits for an auth made for `key`.
    #[must_use]
    pub fn new(key: &NodeKey, material: Material) -> Self {
        Self { key: key.clone(), material, reception: Reception::new(older::AUTH_BYTES) }
    }

    /// Takes the auth off the bytes received, once all of it is there.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed without a word.
    pub fn receive(mut self, received: &mut BytesMut) -> Result<Progress<Self, Accepted>, HandshakeError> {
        let Some(opened) = self.reception.open(&self.key, received)? else { return Ok(Progress::Waiting(self)) };
        let auth = received.split_to(opened.bytes);
        let Auth { remote, ephemeral, nonce } = Auth::read(&self.key, &opened)?;
        let ack = self.ack(&remote, opened.form);
        let secrets = self.secrets(&ephemeral, nonce, &auth, &ack);
        Ok(Progress::Done(Accepted { remote, ack: ack.into(), secrets }))
    }

    /// Takes the auth, a whole packet as received.
    ///
    /// # Errors
    /// [`HandshakeError`], as [`AuthAwaited::receive`]; [`HandshakeError::Incomplete`] when something is missing.
    pub fn accept(self, auth: &[u8]) -> Result<Accepted, HandshakeError> {
        self.receive(&mut auth.into()).and_then(Progress::done)
    }

    fn ack(&self, remote: &PublicKey, form: Form) -> Vec<u8> {
        let ephemeral = self.material.ephemeral.public();
        match form {
            Form::Older => {
                let body = older::ack_body(&ephemeral, &self.material.nonce);
                ecies::encrypt(remote, &self.material.seal, &self.material.iv, &body, &[])
            }
            Form::Eip8 => {
                let mut fields = Vec::new();
                ephemeral.as_bytes().as_slice().encode(&mut fields);
                self.material.nonce.as_slice().encode(&mut fields);
                VERSION.encode(&mut fields);
                seal(remote, &self.material, &fields)
            }
        }
    }

    fn secrets(&self, ephemeral: &PublicKey, nonce: [u8; NONCE_BYTES], auth: &[u8], ack: &[u8]) -> Secrets {
        Secrets::derive(&Agreed {
            shared: self.material.ephemeral.agree(ephemeral),
            initiator_nonce: nonce,
            recipient_nonce: self.material.nonce,
            auth,
            ack,
            initiator: false,
        })
    }
}

impl<S, T> Progress<S, T> {
    fn done(self) -> Result<T, HandshakeError> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Waiting(_) => Err(HandshakeError::Incomplete),
        }
    }
}

/// What an auth says.
struct Auth {
    remote: PublicKey,
    ephemeral: PublicKey,
    nonce: [u8; NONCE_BYTES],
}

impl Auth {
    fn read(key: &NodeKey, opened: &Opened) -> Result<Self, HandshakeError> {
        let (signature, remote, nonce) = match opened.form {
            Form::Older => older::auth(&opened.body).ok_or(HandshakeError::Incomplete)?,
            Form::Eip8 => {
                let mut fields = Reader::new(&opened.body).list()?;
                (fields.array::<SIGNATURE_BYTES>()?, fields.array()?, fields.array::<NONCE_BYTES>()?)
            }
        };
        let remote = PublicKey::from_bytes(remote).map_err(HandshakeError::StaticKey)?;
        // The signature is over the XOR itself, which is not hashed again.
        let digest = xor(&key.agree(&remote), nonce);
        let ephemeral = PublicKey::recover(&digest, signature).map_err(HandshakeError::Signature)?;
        Ok(Self { remote, ephemeral, nonce: *nonce })
    }
}

/// What both sides know once auth and ack are exchanged.
pub(crate) struct Agreed<'a> {
    /// ECDH of the ephemeral keys.
    pub(crate) shared: [u8; 32],
    pub(crate) initiator_nonce: [u8; NONCE_BYTES],
    pub(crate) recipient_nonce: [u8; NONCE_BYTES],
    /// Both packets as they were on the wire, size prefix included.
    pub(crate) auth: &'a [u8],
    pub(crate) ack: &'a [u8],
    pub(crate) initiator: bool,
}

impl Secrets {
    /// Source: RLPx, "Initial Handshake", the secrets following ack.
    pub(crate) fn derive(agreed: &Agreed<'_>) -> Self {
        let nonces = keccak(&[&agreed.recipient_nonce, &agreed.initiator_nonce]);
        let shared = keccak(&[&agreed.shared, &nonces]);
        let aes = keccak(&[&agreed.shared, &shared]);
        let mac = keccak(&[&agreed.shared, &aes]);
        let from_initiator =
            FrameHash::new().chain_update(xor(&mac, &agreed.recipient_nonce)).chain_update(agreed.auth);
        let from_recipient = FrameHash::new().chain_update(xor(&mac, &agreed.initiator_nonce)).chain_update(agreed.ack);
        let (egress, ingress) =
            if agreed.initiator { (from_initiator, from_recipient) } else { (from_recipient, from_initiator) };
        Self { aes, mac, egress, ingress }
    }
}

/// Pads and encrypts the fields of a packet, and puts its size before it.
fn seal(recipient: &PublicKey, material: &Material, fields: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    Header { list: true, payload_length: fields.len() }.encode(&mut body as &mut dyn BufMut);
    body.extend_from_slice(fields);
    body.resize(body.len() + material.padding, 0);
    let size =
        u16::try_from(body.len() + ecies::OVERHEAD_BYTES).expect("three short fields and under 64 KiB of padding");
    let size = size.to_be_bytes();
    let mut packet = size.to_vec();
    packet.extend_from_slice(&ecies::encrypt(recipient, &material.seal, &material.iv, &body, &size));
    packet
}

fn keccak(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Keccak256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// Why a handshake fails. The peer gets a closed connection and no reason, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A size prefix out of bounds.
    #[error("a handshake packet of {0} bytes")]
    PacketSize(usize),
    /// The packet ends too early.
    #[error("a handshake packet that is not whole")]
    Incomplete,
    /// Not encrypted for us, or tampered with.
    #[error("handshake: {0}")]
    Decrypt(#[from] EciesError),
    /// The fields are not what they should be.
    #[error("handshake fields: {0}")]
    Malformed(#[from] RlpError),
    /// The static key is none.
    #[error("handshake, static key: {0}")]
    StaticKey(KeyError),
    /// The ephemeral key is none.
    #[error("handshake, ephemeral key: {0}")]
    EphemeralKey(KeyError),
    /// The signature fits no key.
    #[error("handshake: {0}")]
    Signature(KeyError),
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::Value;

    use super::*;
    use crate::fixtures::{array, hex, json, key};
    use crate::frame::MAX_FRAME_BYTES;

    fn material(nonce: [u8; 32], ephemeral: NodeKey) -> Material {
        Material { nonce, ephemeral, seal: NodeKey::from_bytes(&[3; 32]).unwrap(), iv: [0; 16], padding: 100 }
    }

    /// The secrets of both sides of a recorded handshake.
    fn secrets(of: &Value, names: [&str; 8]) -> [Secrets; 2] {
        let [static_a, ephemeral_a, nonce_a, static_b, ephemeral_b, nonce_b, auth, ack] = names;
        let (auth, ack) = (hex(of, auth), hex(of, ack));
        let ours = material(array(of, nonce_a), key(of, ephemeral_a));
        let initiator = AuthSent::sent(&key(of, static_a), ours, auth.clone()).finish(&ack).unwrap();
        let opened = Reception::new(older::AUTH_BYTES).open(&key(of, static_b), &auth).unwrap().unwrap();
        assert_eq!(opened.bytes, auth.len());
        let opened = Auth::read(&key(of, static_b), &opened).unwrap();
        assert_eq!(opened.remote, key(of, static_a).public());
        assert_eq!(opened.ephemeral, key(of, ephemeral_a).public());
        assert_eq!(opened.nonce, array(of, nonce_a));
        let theirs = AuthAwaited::new(&key(of, static_b), material(array(of, nonce_b), key(of, ephemeral_b)));
        [initiator, theirs.secrets(&opened.ephemeral, opened.nonce, &auth, &ack)]
    }

    fn printed(auth: &str, ack: &str) -> [Secrets; 2] {
        let names = ["static_key_a", "ephemeral_a", "nonce_a", "static_key_b", "ephemeral_b", "nonce_b", auth, ack];
        secrets(&json("rlpx/eip8.json"), names)
    }

    #[test]
    fn the_printed_handshake_gives_the_printed_secrets() {
        let values = json("rlpx/eip8.json");
        let [initiator, recipient] = printed("auth_2", "ack_2");
        for secrets in [&initiator, &recipient] {
            assert_eq!(secrets.aes, array(&values, "aes_secret"));
            assert_eq!(secrets.mac, array(&values, "mac_secret"));
        }
        let digest: [u8; 32] = recipient.ingress.chain_update("foo").finalize().into();
        assert_eq!(digest, array(&values, "recipient_ingress_foo"));
    }

    #[test]
    fn later_versions_with_further_elements_are_taken() {
        let [initiator, recipient] = printed("auth_3", "ack_3");
        assert_eq!((initiator.aes, initiator.mac), (recipient.aes, recipient.mac));
    }

    #[test]
    fn the_form_before_eip_8_is_taken_in_both_roles() {
        let [initiator, recipient] = printed("auth_1", "ack_1");
        assert_eq!((initiator.aes, initiator.mac), (recipient.aes, recipient.mac));
    }

    #[test]
    fn an_auth_of_the_older_form_is_answered_in_kind_whatever_arrives_first() {
        let values = json("rlpx/eip8.json");
        let (auth, ours) = (hex(&values, "auth_1"), key(&values, "static_key_b"));
        let answer = material(array(&values, "nonce_b"), key(&values, "ephemeral_b"));
        let (mut state, mut received) = (AuthAwaited::new(&ours, answer), BytesMut::new());
        for (at, byte) in auth.iter().enumerate() {
            received.extend_from_slice(&[*byte]);
            match state.receive(&mut received).unwrap() {
                Progress::Waiting(waiting) => state = waiting,
                Progress::Done(accepted) => {
                    assert_eq!((at + 1, accepted.ack.len(), received.len()), (307, 210, 0));
                    let began = material(array(&values, "nonce_a"), key(&values, "ephemeral_a"));
                    let mut wire = BytesMut::from(&[&accepted.ack[..], b"Hello"].concat()[..]);
                    let sent = AuthSent::sent(&key(&values, "static_key_a"), began, auth.clone());
                    let Progress::Done(secrets) = sent.receive(&mut wire).unwrap() else { panic!("a whole ack") };
                    assert_eq!((secrets.aes, secrets.mac), (accepted.secrets.aes, accepted.secrets.mac));
                    assert_eq!(&wire[..], b"Hello", "what follows is left alone");
                    return;
                }
            }
        }
        panic!("the auth was not taken");
    }

    /// Sizes 0x0400 to 0x04ff begin like a packet of the older form.
    #[test]
    fn an_eip_8_packet_that_begins_like_the_older_form_is_taken() {
        let mut rng = StdRng::seed_from_u64(1);
        let (ours, theirs) = (NodeKey::generate(&mut rng), NodeKey::generate(&mut rng));
        let drawn = Material { padding: 900, ..Material::draw(&mut rng) };
        let (state, auth) = AuthSent::start(&theirs, &ours.public(), drawn);
        assert_eq!(auth[0], 0x04);
        let answer = Material { padding: 900, ..Material::draw(&mut rng) };
        let accepted = AuthAwaited::new(&ours, answer).accept(&auth).unwrap();
        assert_eq!(accepted.ack[0], 0x04);
        assert_eq!(state.finish(&accepted.ack).unwrap().mac, accepted.secrets.mac);
    }

    #[test]
    fn h03_flipped_bytes_of_the_older_form_are_refused() {
        let values = json("rlpx/eip8.json");
        for at in [0, 1, 64, 80, 200, 306] {
            let mut auth = hex(&values, "auth_1");
            auth[at] ^= 1;
            let state = AuthAwaited::new(&key(&values, "static_key_b"), material([0; 32], key(&values, "ephemeral_b")));
            assert!(state.accept(&auth).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_printed_signature_is_that_of_the_ephemeral_key() {
        let values = json("rlpx/eip8.json");
        let digest = xor(&array(&values, "static_shared"), &array(&values, "nonce_a"));
        let recovered = PublicKey::recover(&digest, &array(&values, "auth_signature")).unwrap();
        assert_eq!(recovered.as_bytes(), &array(&values, "ephemeral_pub_a"));
    }

    #[test]
    fn the_printed_frames_are_reproduced() {
        let values = json("rlpx/eip8.json");
        let [initiator, recipient] = printed("auth_2", "ack_2");
        let (mut sealer, _) = initiator.into_codec();
        let (_, mut opener) = recipient.into_codec();
        for (code, body, frame) in [(0, hex(&values, "hello_body"), "hello_frame"), (2, vec![1, 0, 0xc0], "ping_frame")]
        {
            let sealed = sealer.seal(code, &body).unwrap();
            assert_eq!(sealed, hex(&values, frame));
            let opened = opener.open(&mut BytesMut::from(&sealed[..]), MAX_FRAME_BYTES).unwrap().unwrap();
            assert_eq!((opened.code, &opened.data[..]), (code, &body[..]));
        }
    }

    /// Recorded sessions, both directions: secrets, MAC states, and every frame byte by byte, sealed and opened.
    #[test]
    fn recorded_sessions_are_reproduced_frame_by_frame() {
        let sessions = json("rlpx/sessions.json");
        let mut frames = 0;
        for session in sessions.as_array().unwrap() {
            let [initiator, recipient] = secrets(
                session,
                [
                    "initiator_static",
                    "initiator_ephemeral",
                    "initiator_nonce",
                    "recipient_static",
                    "recipient_ephemeral",
                    "recipient_nonce",
                    "auth",
                    "ack",
                ],
            );
            for secrets in [&initiator, &recipient] {
                assert_eq!(secrets.aes, array(session, "aes_secret"));
                assert_eq!(secrets.mac, array(session, "mac_secret"));
            }
            let digest = |state: &FrameHash| <[u8; 32]>::from(state.clone().finalize());
            assert_eq!(digest(&initiator.egress), array(session, "initiator_egress_mac_digest"));
            assert_eq!(digest(&initiator.ingress), array(session, "initiator_ingress_mac_digest"));
            let (mut from_initiator, mut to_initiator) = initiator.into_codec();
            let (mut from_recipient, mut to_recipient) = recipient.into_codec();
            for frame in session["frames"].as_array().unwrap() {
                let (sealer, opener) = match frame["from"].as_str().unwrap() {
                    "initiator" => (&mut from_initiator, &mut to_recipient),
                    _ => (&mut from_recipient, &mut to_initiator),
                };
                let (code, plain, wire) = (frame["code"].as_u64().unwrap(), hex(frame, "data"), hex(frame, "wire"));
                let body = crate::packet::Body::from(plain.clone());
                let snappy = frame["snappy"].as_bool().unwrap();
                let sealed = sealer.seal(code, if snappy { body.snappy() } else { body.plain() }).unwrap();
                assert!(sealed == wire, "frame {frames} is not reproduced");
                let opened = opener.open(&mut BytesMut::from(&wire[..]), MAX_FRAME_BYTES).unwrap().unwrap();
                let data = if snappy {
                    snap::raw::Decoder::new().decompress_vec(&opened.data).unwrap()
                } else {
                    opened.data.into()
                };
                assert!(opened.code == code && data == plain, "frame {frames} is not opened");
                frames += 1;
            }
        }
        assert_eq!(frames, 96);
    }

    /// A packet with any body, padded and encrypted as it should be.
    fn packet(recipient: &NodeKey, body: &[u8]) -> Vec<u8> {
        let body = [body, &[0; 200]].concat();
        let size = ((body.len() + ecies::OVERHEAD_BYTES) as u16).to_be_bytes();
        let seal = NodeKey::from_bytes(&[3; 32]).unwrap();
        [&size[..], &ecies::encrypt(&recipient.public(), &seal, &[0; 16], &body, &size)].concat()
    }

    fn auth_body(signature: &[u8], public: &[u8], nonce: &[u8]) -> Vec<u8> {
        let mut fields = Vec::new();
        signature.encode(&mut fields);
        public.encode(&mut fields);
        nonce.encode(&mut fields);
        VERSION.encode(&mut fields);
        let mut body = Vec::new();
        Header { list: true, payload_length: fields.len() }.encode(&mut body as &mut dyn BufMut);
        body.extend_from_slice(&fields);
        body
    }

    #[test]
    fn h06_malformed_fields_are_refused() {
        let (ours, theirs) = (NodeKey::from_bytes(&[1; 32]).unwrap(), NodeKey::from_bytes(&[2; 32]).unwrap());
        let public = theirs.public();
        let accept =
            |body: &[u8]| AuthAwaited::new(&ours, material([0; 32], theirs.clone())).accept(&packet(&ours, body)).err();
        let wrong = |want, got| Some(HandshakeError::Malformed(RlpError::WrongLength { want, got }));
        assert_eq!(accept(&[0x83, 1, 2, 3]), Some(HandshakeError::Malformed(RlpError::UnexpectedBytes)));
        assert_eq!(accept(&[0xc0]), Some(HandshakeError::Malformed(RlpError::Missing)));
        assert_eq!(accept(&auth_body(&[1; 65], public.as_bytes(), &[0; 31])), wrong(32, 31));
        assert_eq!(accept(&auth_body(&[1; 64], public.as_bytes(), &[0; 32])), wrong(65, 64));
        assert_eq!(
            accept(&auth_body(&[0; 65], public.as_bytes(), &[0; 32])),
            Some(HandshakeError::Signature(KeyError::BadSignature))
        );
        assert_eq!(
            accept(&auth_body(&[1; 65], &[0; 64], &[0; 32])),
            Some(HandshakeError::StaticKey(KeyError::NotOnCurve))
        );
        let (sent, _) = AuthSent::start(&ours, &public, material([0; 32], theirs.clone()));
        let ack = packet(&ours, &auth_body(&[0; 64], &[0; 32], &[]));
        assert_eq!(sent.finish(&ack).err(), Some(HandshakeError::EphemeralKey(KeyError::NotOnCurve)));
    }

    /// EIP-8: whoever can decrypt a packet reads what it knows of it.
    #[test]
    fn h05_padding_unknown_versions_and_further_elements_are_taken() {
        let values = json("rlpx/eip8.json");
        let ours = key(&values, "static_key_b");
        let waits = || AuthAwaited::new(&ours, material(array(&values, "nonce_b"), key(&values, "ephemeral_b")));
        // Of version 56, with three elements more.
        let auth = hex(&values, "auth_3");
        assert_eq!(waits().accept(&auth).unwrap().remote, key(&values, "static_key_a").public());
        let mut rng = StdRng::seed_from_u64(1);
        let mut padded = |padding| {
            let drawn = Material { padding, ..Material::draw(&mut rng) };
            AuthSent::start(&key(&values, "static_key_a"), &ours.public(), drawn).1
        };
        let overhead = padded(100).len() - 100;
        assert!(waits().accept(&padded(MAX_PACKET_BYTES - overhead)).is_ok());
        let long = padded(MAX_PACKET_BYTES - overhead + 1);
        assert_eq!(waits().accept(&long).err(), Some(HandshakeError::PacketSize(MAX_PACKET_BYTES + 1)));
        // A size prefix cannot say more than this, and is all that is read of it.
        let longest = padded(usize::from(u16::MAX) + 2 - overhead);
        assert_eq!(longest.len(), 65_537);
        let mut received = BytesMut::from(&longest[..2]);
        assert_eq!(waits().receive(&mut received).err(), Some(HandshakeError::PacketSize(65_537)));
    }

    proptest! {
        #[test]
        fn both_sides_agree(seed: u64) {
            let mut rng = StdRng::seed_from_u64(seed);
            let (a, b) = (NodeKey::generate(&mut rng), NodeKey::generate(&mut rng));
            let (state, auth) = AuthSent::start(&a, &b.public(), Material::draw(&mut rng));
            let accepted = AuthAwaited::new(&b, Material::draw(&mut rng)).accept(&auth).unwrap();
            prop_assert_eq!(accepted.remote, a.public());
            let secrets = state.finish(&accepted.ack).unwrap();
            prop_assert_eq!((secrets.aes, secrets.mac), (accepted.secrets.aes, accepted.secrets.mac));
            prop_assert!(auth.len() < 2048 && accepted.ack.len() < 2048, "go-ethereum refuses longer ones");
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let ours = NodeKey::from_bytes(&[1; 32]).unwrap();
            let waiting = AuthAwaited::new(&ours, material([0; 32], ours.clone()));
            prop_assert!(waiting.accept(&packet(&ours, &body)).is_err());
        }
    }
}
