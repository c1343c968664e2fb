//! A transaction of an account of ours: what is signed, and its bytes.  Spec: EIP-1559, EIP-2718.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{Encodable as _, Header};
use devp2p::key::{NodeKey, SIGNATURE_BYTES};
use sha3::{Digest as _, Keccak256};

/// The type of transactions whose price has a base and a tip.
const TYPE: u8 = 2;

/// Who pays. Nothing but registration wants one; its key never prints.
#[derive(Clone)]
pub struct Account(NodeKey);

/// It is no private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no private key: it must be 64 digits of hex, with or without 0x")]
pub struct NoKey;

impl FromStr for Account {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        text.trim().parse().map(Self).map_err(|_| NoKey)
    }
}

impl Account {
    /// Where its ether is: the end of the hash of its public key.
    #[must_use]
    pub fn address(&self) -> Address {
        let hash = Keccak256::digest(self.0.public().as_bytes());
        Address::from_slice(&hash[12..])
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.address())
    }
}

/// A call of a contract that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    /// The chain's id: on another the signature is worth nothing.
    pub(super) chain: u64,
    /// How many transactions the account has made before.
    pub(super) nonce: u64,
    /// Wei for each gas that go to whoever makes the block.
    pub(super) tip: u128,
    /// Wei for each gas at most, the tip in them.
    pub(super) price: u128,
    /// Gas at most.
    pub(super) gas: u64,
    /// The contract.
    pub(super) to: Address,
    /// What it is told.
    pub(super) call: Bytes,
}

impl Transaction {
    /// The bytes to hand in, and the hash by which it is known.
    pub(super) fn sign(&self, account: &Account) -> (Vec<u8>, B256) {
        let digest = Keccak256::digest(self.encode(None));
        let signed = self.encode(Some(&account.0.sign(&digest.into())));
        let hash = B256::from_slice(&Keccak256::digest(&signed));
        (signed, hash)
    }

    fn encode(&self, signature: Option<&[u8; SIGNATURE_BYTES]>) -> Vec<u8> {
        let mut fields = Vec::new();
        self.chain.encode(&mut fields);
        self.nonce.encode(&mut fields);
        self.tip.encode(&mut fields);
        self.price.encode(&mut fields);
        self.gas.encode(&mut fields);
        self.to.encode(&mut fields);
        // No ether goes along, and nothing is said of what will be touched.
        0_u8.encode(&mut fields);
        self.call.encode(&mut fields);
        Header { list: true, payload_length: 0 }.encode(&mut fields);
        if let Some([rs @ .., parity]) = signature {
            let (r, s) = rs.split_at(32);
            parity.encode(&mut fields);
            U256::from_be_slice(r).encode(&mut fields);
            U256::from_be_slice(s).encode(&mut fields);
        }
        let mut bytes = vec![TYPE];
        Header { list: true, payload_length: fields.len() }.encode(&mut bytes);
        bytes.extend(fields);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};

    use super::*;

    /// A transaction that Ethereum's chain has.
    fn known() -> Transaction {
        let call = "a22cb4650000000000000000000000005eee75727d804a2b13038928d36f8b188945a57a\
            0000000000000000000000000000000000000000000000000000000000000000";
        Transaction {
            chain: 1,
            nonce: 0x42,
            tip: 0x3b9a_ca00,
            price: 0x4_a817_c800,
            gas: 44_386,
            to: address!("6069a6c32cf691f5982febae4faf8a6f3ab2f0f6"),
            call: hex::decode(call).unwrap().into(),
        }
    }

    #[test]
    fn a_transaction_of_the_chain_has_its_hash() {
        let r = "840cfc572845f5786e702984c2a582528cad4b49b2a10b9db1be7fca90058565";
        let s = "25e7109ceb98168d95b09b18bbf6b685130e0562f233877d492b94eee0c5b6d1";
        let mut signature = [0; SIGNATURE_BYTES];
        signature[..32].copy_from_slice(&hex::decode(r).unwrap());
        signature[32..64].copy_from_slice(&hex::decode(s).unwrap());
        let hash = B256::from_slice(&Keccak256::digest(known().encode(Some(&signature))));
        assert_eq!(hash, b256!("0ec0b6a2df4d87424e5f6ad2a654e27aaeb7dac20ae9e8385cc09087ad532ee0"));
    }

    #[test]
    fn what_is_signed_is_by_the_account() {
        let account: Account = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80".parse().unwrap();
        // The first account of the phrase that all test chains have.
        assert_eq!(account.address(), address!("f39fd6e51aad88f6f4ce6ab8827279cfffb92266"));
        assert_eq!(format!("{account:?}"), "Account(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266)");
        let digest: [u8; 32] = Keccak256::digest(known().encode(None)).into();
        let signature = account.0.sign(&digest);
        let (signed, hash) = known().sign(&account);
        assert_eq!(signed, known().encode(Some(&signature)));
        assert_eq!(hash, B256::from_slice(&Keccak256::digest(&signed)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "0x", "12", &"0".repeat(64), &"f".repeat(64), &"z".repeat(64)] {
            assert!(text.parse::<Account>().is_err(), "{text}");
        }
    }
}
