//! The contract that keeps a group's members: where it is, and what is said to it, in both forms that are deployed.
//!
//! [`Flavour::Earlier`] is the one that 64/WAKU2-NETWORK names, [`Flavour::Current`] the one that the live network follows. A
//! flavour is data: it says which bytes ask for what, and nothing else knows that there are two. Both keep a binary Poseidon tree
//! of depth [`DEPTH`], so that a root and a path can be asked for; nobody builds the tree here.
//! Spec: 17/WAKU2-RLN-RELAY, 64/WAKU2-NETWORK; deployed: waku-rlnv2-contract.

use alloy_primitives::{Address, U256, address};
use alloy_sol_types::SolCall;
use waku2::rln::element::Element;

pub(crate) mod abi;

/// Levels of the tree below its root.
pub const DEPTH: usize = 20;

/// How many members there can be.
pub const MAX_MEMBERS: u32 = 1 << DEPTH;

/// What is beside a leaf and the nodes above it, from the leaf up.
pub type Path = [Element; DEPTH];

/// Which form of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Of the text: no deposit, no life cycle, leaves are never overwritten.
    Earlier,
    /// Of the live network since October 2024: a deposit, expiry, and indexes that are used again.
    Current,
}

/// A contract on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Contract {
    /// The chain's id.
    pub chain: u64,
    /// Where on it.
    pub address: Address,
    /// Which form it has.
    pub flavour: Flavour,
}

impl Contract {
    /// That of The Waku Network as it runs: on Linea Sepolia.
    pub const TWN: Self = Self {
        chain: 59_141,
        address: address!("B9cd878C90E49F797B4431fBF4fb333108CB90e6"),
        flavour: Flavour::Current,
    };

    /// That which 64/WAKU2-NETWORK prints: on Sepolia, abandoned since.
    pub const TWN_SPEC: Self = Self {
        chain: 11_155_111,
        address: address!("CB33Aa5B38d79E3D9Fa8B10afF38AA201399a7e3"),
        flavour: Flavour::Earlier,
    };
}

/// What a member registers: Poseidon of its secret. Never zero, which is the leaf of nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment(Element);

impl Commitment {
    /// `None` for zero.
    #[must_use]
    pub fn new(element: Element) -> Option<Self> {
        (element != Element::ZERO).then_some(Self(element))
    }

    /// The field element.
    #[must_use]
    pub const fn element(&self) -> &Element {
        &self.0
    }

    pub(crate) const fn word(self) -> U256 {
        U256::from_le_bytes(*self.0.bytes())
    }
}

/// An answer that the contract's interface does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Nothing came: no contract is at that address of that chain.
    #[error("no contract answers at that address")]
    NoContract,
    /// It does not decode.
    #[error("the answer is not of the contract's interface")]
    Interface,
    /// A number is not below the field's modulus, or an index not within the tree.
    #[error("the answer has a number out of its range")]
    Range,
}

impl Flavour {
    /// Asks for the root. [`root`] reads the answer.
    #[must_use]
    pub fn ask_root(self) -> Vec<u8> {
        abi::rootCall {}.abi_encode()
    }

    /// Asks for a member's path. [`path`] reads the answer.
    #[must_use]
    pub fn ask_path(self, index: u32) -> Vec<u8> {
        let index = alloy_primitives::aliases::U40::from(index);
        match self {
            Self::Earlier => abi::earlier::merkleProofElementsCall { index }.abi_encode(),
            Self::Current => abi::current::getMerkleProofCall { index }.abi_encode(),
        }
    }

    /// Asks whether somebody is a member. [`flag`] reads the answer.
    #[must_use]
    pub fn ask_member(self, commitment: Commitment) -> Vec<u8> {
        let id = commitment.word();
        match self {
            Self::Earlier => abi::earlier::memberExistsCall { id }.abi_encode(),
            Self::Current => abi::current::isInMembershipSetCall { id }.abi_encode(),
        }
    }

    /// Asks for the index that the next member gets, if none is used again. [`number`] reads the answer.
    #[must_use]
    pub fn ask_next_index(self) -> Vec<u8> {
        match self {
            Self::Earlier => abi::earlier::commitmentIndexCall {}.abi_encode(),
            Self::Current => abi::current::nextFreeIndexCall {}.abi_encode(),
        }
    }

    /// Asks for the highest limit of one member. [`number`] reads the answer.
    #[must_use]
    pub fn ask_highest_limit(self) -> Vec<u8> {
        match self {
            Self::Earlier => abi::earlier::MAX_MESSAGE_LIMITCall {}.abi_encode(),
            Self::Current => abi::current::maxMembershipRateLimitCall {}.abi_encode(),
        }
    }

    /// Registers a member.
    #[must_use]
    pub fn register(self, commitment: Commitment, limit: u32) -> Vec<u8> {
        let id = commitment.word();
        match self {
            Self::Earlier => abi::earlier::registerCall { id, limit }.abi_encode(),
            Self::Current => abi::current::registerCall { id, limit, erased: Vec::new() }.abi_encode(),
        }
    }
}

/// Reads a root. Zero is none: no tree of depth 20 has it.
///
/// # Errors
/// [`Garbled`].
pub fn root(answer: &[u8]) -> Result<Element, Garbled> {
    let root = element(decode::<abi::rootCall>(answer)?)?;
    if root == Element::ZERO { Err(Garbled::Range) } else { Ok(root) }
}

/// Reads the root of an earlier block; `None` if the contract was not there yet.
///
/// # Errors
/// [`Garbled`].
pub fn root_then(answer: &[u8]) -> Result<Option<Element>, Garbled> {
    if answer.is_empty() { Ok(None) } else { root(answer).map(Some) }
}

/// Reads a path.
///
/// # Errors
/// [`Garbled`].
pub fn path(answer: &[u8]) -> Result<Path, Garbled> {
    let words = decode::<abi::current::getMerkleProofCall>(answer)?;
    let mut path = [Element::ZERO; DEPTH];
    for (place, word) in path.iter_mut().zip(words) {
        *place = element(word)?;
    }
    Ok(path)
}

/// Reads a yes or no.
///
/// # Errors
/// [`Garbled`].
pub fn flag(answer: &[u8]) -> Result<bool, Garbled> {
    decode::<abi::current::isInMembershipSetCall>(answer)
}

/// Reads a number of 32 bits.
///
/// # Errors
/// [`Garbled`].
pub fn number(answer: &[u8]) -> Result<u32, Garbled> {
    decode::<abi::current::nextFreeIndexCall>(answer)
}

/// Reads the answer to a call.
pub(crate) fn decode<C: SolCall>(answer: &[u8]) -> Result<C::Return, Garbled> {
    if answer.is_empty() {
        return Err(Garbled::NoContract);
    }
    C::abi_decode_returns_validate(answer).map_err(|_| Garbled::Interface)
}

/// A number of a contract as a field element: the contract is trusted to keep to the field, whoever answers for it is not.
pub(crate) fn element(word: U256) -> Result<Element, Garbled> {
    Element::canonical(word.to_le_bytes()).ok_or(Garbled::Range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commitment() -> Commitment {
        Commitment::new(Element::from(7)).unwrap()
    }

    fn selector(call: &[u8]) -> String {
        hex::encode(&call[..4])
    }

    #[test]
    fn calls_have_the_deployed_selectors() {
        let calls = |flavour: Flavour| {
            [
                flavour.ask_root(),
                flavour.ask_path(1),
                flavour.ask_member(commitment()),
                flavour.ask_next_index(),
                flavour.ask_highest_limit(),
                flavour.register(commitment(), 1),
            ]
            .map(|call| selector(&call))
        };
        assert_eq!(calls(Flavour::Earlier), ["ebf0c717", "74e942fa", "6bdcc8ab", "037a791a", "09aeb04c", "af7b4210"]);
        assert_eq!(calls(Flavour::Current), ["ebf0c717", "00ffef23", "686bb1cc", "d8826870", "2058bfea", "6bfdc994"]);
    }

    #[test]
    fn a_registration_is_laid_out_as_the_contract_reads_it() {
        let word = |number: u64| format!("{number:064x}");
        let earlier = hex::encode(&Flavour::Earlier.register(commitment(), 20)[4..]);
        assert_eq!(earlier, [word(7), word(20)].concat());
        let current = hex::encode(&Flavour::Current.register(commitment(), 20)[4..]);
        assert_eq!(current, [word(7), word(20), word(96), word(0)].concat());
    }

    #[test]
    fn numbers_are_big_endian_there_and_little_endian_here() {
        // The root of the empty tree.
        let le = "3e1f1922dfb671d3f912f7ea461e0a88ee848fdde12b6c18ab1ad2c56ae73421";
        let mut be = hex::decode(le).unwrap();
        be.reverse();
        assert_eq!(format!("{:?}", root(&be).unwrap()), le);
        let answer: Vec<u8> = (0..20_u8).flat_map(|level| [[0; 31].as_slice(), &[level]].concat()).collect();
        assert_eq!(path(&answer).unwrap().to_vec(), (0..20).map(Element::from).collect::<Vec<_>>());
        assert_eq!(number(&answer[32..64]), Ok(1));
        assert_eq!(flag(&answer[32..64]), Ok(true));
    }

    #[test]
    fn what_is_no_answer_says_why() {
        assert_eq!(root(&[]), Err(Garbled::NoContract));
        assert_eq!((root_then(&[]), root_then(&[0; 32])), (Ok(None), Err(Garbled::Range)));
        assert_eq!(root(&[0; 31]), Err(Garbled::Interface));
        assert_eq!(root(&[0; 32]), Err(Garbled::Range));
        assert_eq!(root(&[0xff; 32]), Err(Garbled::Range));
        assert_eq!(path(&[0; 32 * 19]), Err(Garbled::Interface));
        assert_eq!(path(&[0xff; 32 * 20]), Err(Garbled::Range));
        assert_eq!(number(&[0xff; 32]), Err(Garbled::Interface));
        assert_eq!(flag(&[2; 32]), Err(Garbled::Interface));
    }

    #[test]
    fn presets_are_of_two_chains_and_two_flavours() {
        let (live, text) = (Contract::TWN, Contract::TWN_SPEC);
        assert_eq!(live.address.to_string(), "0xB9cd878C90E49F797B4431fBF4fb333108CB90e6");
        assert_eq!(text.address.to_string(), "0xCB33Aa5B38d79E3D9Fa8B10afF38AA201399a7e3");
        assert_eq!((live.chain, live.flavour), (59_141, Flavour::Current));
        assert_eq!((text.chain, text.flavour), (11_155_111, Flavour::Earlier));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(answer in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = (root(&answer), path(&answer), number(&answer), flag(&answer));
        }
    }
}
