//! Why a provider of the chain gave no answer.

use std::{fmt, time::Duration};

use alloy_sol_types::SolError;

use crate::contract::{Garbled, abi};

/// Characters that are kept of what a provider or a contract says.
pub const MAX_WORDS: usize = 200;

/// Why there is no answer. Of several providers that were asked, the fault of the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("cannot be reached")]
    Unreachable,
    /// No answer within [`super::REQUEST_TIMEOUT`].
    #[error("does not answer in time")]
    Timeout,
    /// An answer longer than [`super::MAX_ANSWER_BYTES`].
    #[error("its answer is too long")]
    TooLong,
    /// Another status of HTTP than success.
    #[error("answers with HTTP status {0}")]
    Status(u16),
    /// It wants to be asked less: HTTP status 429, or error -32005.
    #[error("wants to be asked less often")]
    RateLimited {
        /// How long it asks to wait.
        after: Option<Duration>,
    },
    /// Its answer is not JSON-RPC, or has not the form of what was asked.
    #[error("its answer is garbage")]
    Garbage,
    /// It is of another chain. It is left out.
    #[error("is of chain {found}, not {expected}")]
    WrongChain {
        /// The one of the contract.
        expected: u64,
        /// Its own.
        found: u64,
    },
    /// It refuses this question, not the contract.
    #[error("refuses, error {code}: {words}")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// What it says.
        words: String,
    },
    /// The contract refuses. All providers would say the same.
    #[error("the contract refuses: {0}")]
    Reverted(Revert),
    /// The contract's answer is none.
    #[error(transparent)]
    Contract(#[from] Garbled),
}

/// Why a contract refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revert {
    /// In words.
    Reason(String),
    /// An assertion or an overflow, by Solidity's number.
    Panic(u64),
    /// An error of the contract's own: its selector.
    Custom([u8; 4]),
    /// It does not say.
    Silent,
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(words) => f.write_str(words),
            Self::Panic(code) => write!(f, "panic {code:#x}"),
            Self::Custom(selector) => write!(f, "error 0x{} of its own", hex::encode(selector)),
            Self::Silent => f.write_str("without a reason"),
        }
    }
}

impl Revert {
    /// Reads what a contract reverted with.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        if let Ok(error) = abi::Error::abi_decode(data) {
            return Self::Reason(words(&error.reason));
        }
        if let Ok(panic) = abi::Panic::abi_decode(data) {
            return Self::Panic(panic.code.saturating_to());
        }
        data.first_chunk().map_or(Self::Silent, |selector| Self::Custom(*selector))
    }
}

/// The beginning of what others say, without control characters: it goes to logs.
pub(crate) fn words(said: &str) -> String {
    said.chars().filter(|character| !character.is_control()).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_says_why_it_refuses() {
        let said = "08c379a0\
            0000000000000000000000000000000000000000000000000000000000000020\
            0000000000000000000000000000000000000000000000000000000000000005\
            6c696d6974000000000000000000000000000000000000000000000000000000";
        assert_eq!(Revert::of(&hex::decode(said).unwrap()), Revert::Reason("limit".into()));
        let overflow = format!("4e487b71{:064x}", 0x11);
        assert_eq!(Revert::of(&hex::decode(overflow).unwrap()), Revert::Panic(0x11));
        assert_eq!(Revert::of(&[1, 2, 3, 4, 5]), Revert::Custom([1, 2, 3, 4]));
        assert_eq!(Revert::of(&[]), Revert::Silent);
        assert_eq!(Revert::Custom([1, 2, 3, 4]).to_string(), "error 0x01020304 of its own");
    }

    #[test]
    fn words_are_short_and_of_one_line() {
        assert_eq!(words("a\nb\u{1b}[0m"), "ab[0m");
        assert_eq!(words(&"ü".repeat(1_000)).chars().count(), MAX_WORDS);
    }
}
