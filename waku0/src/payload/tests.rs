//! Known answers of status-go and Project Wycheproof, properties, and hostile input.

use devp2p::key::SIGNATURE_BYTES;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use sha3::{Digest, Keccak256};

use super::{
    plaintext::{BLOCK_BYTES, MAX_PAYLOAD_BYTES, decode, encode, signer as signer_of},
    *,
};

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn recorded() -> Vec<Value> {
    parsed(include_str!("../../../fixtures/payload/payloads.json")).as_array().unwrap().clone()
}

fn bytes(row: &Value, name: &str) -> Vec<u8> {
    hex::decode(row[name].as_str().unwrap()).unwrap()
}

fn sym(row: &Value) -> SymKey {
    row["sym_key"].as_str().unwrap().parse().unwrap()
}

fn private(row: &Value, name: &str) -> NodeKey {
    row[name].as_str().unwrap().parse().unwrap()
}

/// The key A of EIP-8.
fn key_a() -> NodeKey {
    private(&parsed(include_str!("../../../fixtures/rlpx/eip8.json")), "static_key_a")
}

fn content(row: &Value) -> Content {
    Content { payload: bytes(row, "payload").into(), padding: bytes(row, "padding").into() }
}

fn signer(row: &Value) -> Option<NodeKey> {
    row.get("src_private").map(|_| private(row, "src_private"))
}

#[test]
fn what_status_go_sealed_is_opened() {
    let (mut signed, mut unsigned) = (0, 0);
    for row in recorded() {
        let key = match row["kind"].as_str() {
            Some("sym") => Key::Symmetric(sym(&row)),
            _ => Key::Private(private(&row, "dst_private")),
        };
        let opened = open(&bytes(&row, "data"), &key).unwrap();
        let expected = content(&row);
        assert_eq!((&opened.payload, &opened.padding), (&expected.payload, &expected.padding), "row {}", row["i"]);
        match signer(&row) {
            None => {
                assert_eq!(opened.signature, None);
                unsigned += 1;
            }
            Some(key) => {
                assert_eq!(opened.signer(), Some(key.public()));
                assert_eq!(opened.signature.unwrap().bytes[..], bytes(&row, "signature"));
                signed += 1;
            }
        }
    }
    assert_eq!((signed, unsigned), (15, 17));
}

/// Signatures have no chance in them, so with the same nonce the same bytes come out.
#[test]
fn sealing_makes_the_bytes_that_status_go_made() {
    let mut compared = 0;
    for row in recorded().iter().filter(|row| row["kind"] == "sym") {
        let plaintext = encode(&content(row), signer(row).as_ref(), &mut rng()).unwrap();
        let nonce = bytes(row, "salt").try_into().unwrap();
        assert_eq!(symmetric::encrypt(&sym(row), &nonce, plaintext), bytes(row, "data"), "row {}", row["i"]);
        compared += 1;
    }
    assert_eq!(compared, 18);
}

#[test]
fn passwords_make_the_keys_that_deployed_clients_make() {
    let recorded = parsed(include_str!("../../../fixtures/payload/password_keys.json"));
    let mut rows: Vec<(&str, &str)> = recorded
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["password"].as_str().unwrap(), row["sym_key"].as_str().unwrap()))
        .collect();
    rows.push(("test", "a82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a"));
    rows.push(("status", "36224048e42c49e5c59c57bba5024fbb8822d6b4ee6ac5fbefd8b77f5323ecc4"));
    assert_eq!(rows.len(), 8);
    for (password, key) in rows {
        assert_eq!(hex::encode(SymKey::from_password(password).to_bytes()), key, "{password}");
    }
}

#[test]
fn the_symmetric_data_of_hello() {
    let mut plaintext = b"\x01\x05hello".to_vec();
    plaintext.resize(256, 0);
    let key = "a82a520aff70f7a989098376e48ec128f25f767085e84d7fb995a9815eebff0a".parse().unwrap();
    let data = symmetric::encrypt(&key, &std::array::from_fn(|at| at as u8), plaintext);
    assert_eq!(data.len(), 284);
    assert_eq!(
        hex::encode(Keccak256::digest(&data)),
        "1b3c910c2dff9e98fddca0e3ae03ed2cb27376f2362e292b01c1d443f0a1551f"
    );
    assert_eq!(open(&data, &Key::Symmetric(key)).unwrap().payload, b"hello"[..]);
}

/// Every case with a nonce of twelve bytes, a tag of sixteen, a key of 32 and nothing else authenticated, which is all that this layout has.
#[test]
fn wycheproof_aes_gcm() {
    let cases = parsed(include_str!("../../../fixtures/payload/aes_gcm.json"));
    let (mut opened, mut refused) = (0, 0);
    let groups = cases["testGroups"].as_array().unwrap().iter();
    let ours = groups.filter(|group| group["keySize"] == 256 && group["ivSize"] == 96 && group["tagSize"] == 128);
    for case in ours.flat_map(|group| group["tests"].as_array().unwrap()).filter(|case| case["aad"] == "") {
        let key = case["key"].as_str().unwrap().parse().unwrap();
        let data = [bytes(case, "ct"), bytes(case, "tag"), bytes(case, "iv")].concat();
        let plaintext = symmetric::decrypt(&key, &data).ok();
        if case["result"] == "valid" {
            assert_eq!(plaintext, Some(bytes(case, "msg")), "case {}", case["tcId"]);
            assert_eq!(symmetric::encrypt(&key, &bytes(case, "iv").try_into().unwrap(), bytes(case, "msg")), data);
            opened += 1;
        } else {
            assert_eq!(plaintext, None, "case {}", case["tcId"]);
            refused += 1;
        }
    }
    assert_eq!((opened, refused), (21, 27));
}

/// Lengths of the payload with those of the padding; those of 3 to 254 bytes from nim-eth's `tests/p2p/test_shh.nim`.
#[test]
fn padding_fills_blocks_and_is_never_nothing() {
    let unsigned =
        [(0, 254), (3, 251), (5, 249), (253, 1), (254, 256), (255, 255), (256, 253), (65_535, 254), (65_536, 252)];
    let signed = [(3, 186), (5, 184), (188, 1), (189, 256)];
    let key = key_a();
    let cases = unsigned.map(|case| (case, None)).into_iter().chain(signed.map(|case| (case, Some(&key))));
    for ((payload, padding), sign) in cases {
        let content = Content::from(Bytes::from(vec![1; payload]));
        let plaintext = Bytes::from(encode(&content, sign, &mut rng()).unwrap());
        assert_eq!(plaintext.len() % BLOCK_BYTES, 0);
        let opened = decode(&plaintext).unwrap();
        assert_eq!(opened.payload, content.payload);
        assert_eq!(opened.padding.len(), padding, "{payload} bytes, signed: {}", sign.is_some());
        assert_eq!(opened.signer(), sign.map(NodeKey::public));
    }
}

#[test]
fn flags_and_length_are_written_as_deployed_nodes_write_them() {
    let starts = |payload: &[u8], sign: Option<&NodeKey>, start: &[u8]| {
        let content = Content::from(Bytes::copy_from_slice(payload));
        let plaintext = encode(&content, sign, &mut rng()).unwrap();
        assert_eq!(plaintext[..start.len()], *start);
    };
    starts(b"", None, &[1, 0]);
    starts(b"hello", None, b"\x01\x05hello");
    starts(b"hello", Some(&key_a()), b"\x05\x05hello");
    starts(&[0; 0x1234], None, &[2, 0x34, 0x12, 0]);
    starts(&[0; 0x1_2345], None, &[3, 0x45, 0x23, 0x01, 0]);
}

#[test]
fn a_payload_too_long_for_its_field_is_not_sealed() {
    let mut content = Content { payload: vec![0; MAX_PAYLOAD_BYTES].into(), padding: vec![1].into() };
    assert_eq!(decode(&encode(&content, None, &mut rng()).unwrap().into()).unwrap().payload, content.payload);
    content.payload = vec![0; MAX_PAYLOAD_BYTES + 1].into();
    let key = SymKey::from_bytes([1; 32]).unwrap();
    let sealed = seal(&content, SealTo::Symmetric(&key), None, &mut rng());
    assert_eq!(sealed, Err(SealError::TooLong(MAX_PAYLOAD_BYTES + 1)));
}

/// "hello" with 184 zeros, as key A signs it, with the nonce 1234567 instead of one of RFC 6979.
fn printed_signature() -> (Vec<u8>, [u8; SIGNATURE_BYTES]) {
    let mut body = b"\x05\x05hello".to_vec();
    body.resize(256 - SIGNATURE_BYTES, 0);
    let digest = "8fcaf4c433317c1167692df8d56c494121c8e090eb9f5a040e63987eddbd159c";
    assert_eq!(hex::encode(Keccak256::digest(&body)), digest);
    let signature = "8208f5abf04066bad1db9d46f8bcf5a6cc11d0558ab523e7bd3c0ec08bdb782f\
                     02e416ae18884a4eb75fb91bc390b0ce0f6e755834bca586c25ec21652196eaf00";
    (body, hex::decode(signature).unwrap().try_into().unwrap())
}

fn signed(change: impl FnOnce(&mut [u8; SIGNATURE_BYTES])) -> Result<Opened, DecodeError> {
    let (body, mut signature) = printed_signature();
    change(&mut signature);
    decode(&[&body[..], &signature].concat().into())
}

#[test]
fn both_spellings_of_the_recovery_id_are_read() {
    for v in [0, 27] {
        let opened = signed(|signature| signature[64] = v).unwrap();
        assert_eq!(opened.signer(), Some(key_a().public()));
        assert_eq!(opened.payload, b"hello"[..]);
    }
    for v in [1, 28] {
        let other = signed(|signature| signature[64] = v).unwrap();
        assert_ne!(other.signer(), Some(key_a().public()), "another key fits, and is not that of the signer");
    }
}

#[test]
fn h34_signatures_out_of_range_are_refused() {
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
    for number in [&[0; 32][..], &order, &[0xff; 32]] {
        assert_eq!(signed(|signature| signature[..32].copy_from_slice(number)), Err(DecodeError::BadSignature));
        assert_eq!(signed(|signature| signature[32..64].copy_from_slice(number)), Err(DecodeError::BadSignature));
    }
    for v in (4..27).chain(29..=255) {
        assert_eq!(signed(|signature| signature[64] = v), Err(DecodeError::BadSignature), "V {v}");
    }
}

/// `S` and the order less `S` sign the same with the other `V`; only the lower is one.
#[test]
fn h34_the_higher_of_two_signatures_is_refused() {
    let higher = "fd1be951e777b5b148a046e43c6f4f30ab40678e7a8bfab4fd739c767e1cd292";
    let high_s = |signature: &mut [u8; SIGNATURE_BYTES]| {
        signature[32..64].copy_from_slice(&hex::decode(higher).unwrap());
        signature[64] = 1;
    };
    let (body, mut signature) = printed_signature();
    high_s(&mut signature);
    let recovered = PublicKey::recover(&Keccak256::digest(&body).into(), &signature);
    assert_eq!(recovered, Ok(key_a().public()), "the curve does not mind");
    assert_eq!(signed(high_s), Err(DecodeError::BadSignature));
}

/// Every case of Project Wycheproof's ECDSA, with the rule of low `S`, that is written as DER asks; here numbers have no encoding that could be
/// odd. The key of a good one is found by one of the four `V`, that of a bad one by none.
#[test]
fn wycheproof_ecdsa() {
    let cases = parsed(include_str!("../../../fixtures/payload/ecdsa_bitcoin.json"));
    let (mut found, mut refused) = (0, 0);
    for group in cases["testGroups"].as_array().unwrap() {
        let key = bytes(&group["publicKey"], "uncompressed");
        for case in group["tests"].as_array().unwrap() {
            let Some(numbers) = der(&bytes(case, "sig")) else { continue };
            let digest = sha2::Sha256::digest(bytes(case, "msg")).into();
            let is_found = (0..4).any(|v| {
                let signature = [&numbers[0][..], &numbers[1], &[v]].concat().try_into().unwrap();
                signer_of(&digest, &signature).is_ok_and(|signer| signer.as_bytes()[..] == key[1..])
            });
            assert_eq!(is_found, case["result"] == "valid", "case {}", case["tcId"]);
            if is_found { found += 1 } else { refused += 1 }
        }
    }
    assert_eq!((found, refused), (162, 69));
}

/// Both numbers of a signature, of 32 bytes each.
fn der(signature: &[u8]) -> Option<[[u8; 32]; 2]> {
    let [0x30, length, rest @ ..] = signature else { return None };
    let mut rest = (usize::from(*length) == rest.len()).then_some(rest)?;
    let mut numbers = [[0; 32]; 2];
    for number in &mut numbers {
        let [0x02, length, after @ ..] = rest else { return None };
        let (digits, after) = after.split_at_checked((*length).into())?;
        let digits = match digits {
            [0, digits @ ..] if digits.first().is_none_or(|first| *first >= 0x80) => digits,
            [1..0x80, ..] => digits,
            _ => return None,
        };
        number.get_mut(32_usize.checked_sub(digits.len())?..)?.copy_from_slice(digits);
        rest = after;
    }
    rest.is_empty().then_some(numbers)
}

#[test]
fn h34_flags_without_what_they_promise_are_refused() {
    let read = |plaintext: &[u8]| decode(&Bytes::copy_from_slice(plaintext));
    assert_eq!(read(&[]), Err(DecodeError::Empty));
    for (plaintext, flags) in [(&[1][..], 1), (&[2, 0], 2), (&[3, 0, 0], 3)] {
        assert_eq!(read(plaintext), Err(DecodeError::LengthField), "flags {flags}");
    }
    assert_eq!(read(&[1, 1]), Err(DecodeError::Payload { length: 1, left: 0 }));
    assert_eq!(read(&[3, 255, 255, 255, 0]), Err(DecodeError::Payload { length: MAX_PAYLOAD_BYTES, left: 1 }));
    for length in 1..SIGNATURE_BYTES + 2 {
        let mut plaintext = vec![0; length];
        plaintext[0] = 4;
        assert_eq!(read(&plaintext), Err(DecodeError::NoSignature), "{length} bytes");
    }
    // The length may not reach into the signature.
    let mut reaching = printed_signature();
    reaching.0[1] = 190;
    let plaintext = [&reaching.0[..], &reaching.1].concat();
    assert_eq!(read(&plaintext), Err(DecodeError::Payload { length: 190, left: 189 }));
}

#[test]
fn flags_without_a_length_field_leave_padding_alone() {
    let opened = decode(&Bytes::from_static(b"\x00rest")).unwrap();
    assert_eq!((opened.payload, opened.padding), (Bytes::new(), Bytes::from_static(b"rest")));
    let opened = decode(&Bytes::from_static(b"\xf9\x01ab")).unwrap();
    assert_eq!((opened.payload, opened.padding), (Bytes::from_static(b"a"), Bytes::from_static(b"b")), "unknown flags");
    assert_eq!(decode(&Bytes::from_static(&[0])).unwrap().padding, Bytes::new());
}

#[test]
fn h34_altered_or_short_data_opens_with_no_key() {
    let (shared, reader) = (SymKey::from_bytes([3; 32]).unwrap(), NodeKey::from_bytes(&[4; 32]).unwrap());
    let content = Content::from(Bytes::from_static(b"hello"));
    let sealed = [
        (Key::Symmetric(shared.clone()), SealTo::Symmetric(&shared)),
        (Key::Private(reader.clone()), SealTo::Public(&reader.public())),
    ]
    .map(|(key, to)| (key, seal(&content, to, None, &mut rng()).unwrap()));
    for (key, data) in &sealed {
        assert_eq!(open(data, key).unwrap().payload, content.payload);
        for at in 0..data.len() {
            let mut altered = data.to_vec();
            altered[at] ^= 1;
            assert_eq!(open(&altered, key), Err(OpenError::Undecryptable), "byte {at}");
            assert_eq!(open(&data[..at], key), Err(OpenError::Undecryptable), "{at} bytes");
        }
    }
    assert_eq!(open(&sealed[0].1, &sealed[1].0), Err(OpenError::Undecryptable));
    assert_eq!(open(&sealed[1].1, &sealed[0].0), Err(OpenError::Undecryptable));
}

#[test]
fn keys_of_zeros_and_other_texts_are_refused_and_no_key_prints() {
    assert_eq!(SymKey::from_bytes([0; 32]), Err(SymKeyError::Zero));
    assert_eq!("0x00".parse::<SymKey>(), Err(SymKeyError::NotHex));
    assert_eq!("00".repeat(32).parse::<SymKey>(), Err(SymKeyError::Zero));
    let key: SymKey = format!("0x{}", "11".repeat(32)).parse().unwrap();
    assert_eq!(format!("{:?}", Key::Symmetric(key)), "Symmetric(SymKey(..))");
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        payload: Vec<u8>, padding: Vec<u8>, secret: [u8; 32], shared: [u8; 32], sign: bool, public: bool, seed: u64,
    ) {
        let (Ok(secret), Ok(shared)) = (NodeKey::from_bytes(&secret), SymKey::from_bytes(shared)) else {
            return Ok(());
        };
        let content = Content { payload: payload.into(), padding: padding.into() };
        let to = if public { SealTo::Public(&secret.public()) } else { SealTo::Symmetric(&shared) };
        let key = if public { Key::Private(secret.clone()) } else { Key::Symmetric(shared.clone()) };
        let sealed = seal(&content, to, sign.then_some(&secret), &mut StdRng::seed_from_u64(seed)).unwrap();
        let opened = open(&sealed, &key).unwrap();
        prop_assert_eq!(&opened.payload, &content.payload);
        prop_assert_eq!(opened.signer(), sign.then(|| secret.public()));
        if content.padding.is_empty() {
            prop_assert!((1..=BLOCK_BYTES).contains(&opened.padding.len()));
        } else {
            prop_assert_eq!(&opened.padding, &content.padding);
        }
    }

    #[test]
    fn h34_no_plaintext_makes_it_panic(plaintext in prop::collection::vec(any::<u8>(), 0..600)) {
        let plaintext = Bytes::from(plaintext);
        if let Ok(opened) = decode(&plaintext) {
            prop_assert!(opened.payload.len() + opened.padding.len() < plaintext.len());
        }
    }

    #[test]
    fn h34_no_data_makes_it_panic(data in prop::collection::vec(any::<u8>(), 0..600)) {
        let shared = Key::Symmetric(SymKey::from_bytes([1; 32]).unwrap());
        prop_assert_eq!(open(&data, &shared), Err(OpenError::Undecryptable));
        let private = Key::Private(NodeKey::from_bytes(&[1; 32]).unwrap());
        prop_assert_eq!(open(&data, &private), Err(OpenError::Undecryptable));
    }
}
