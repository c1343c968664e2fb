//! Keys, topics and texts as a person gives them: on the command line, in a file, on standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use devp2p::{NodeKey, PublicKey};
use waku0::{
    Pow, Topic,
    payload::{Key, SymKey},
};

use crate::cli::{OpenArgs, SealArgs};

/// Longest key read from a file, in bytes: 64 digits and some white space.
pub const MAX_KEY_FILE_BYTES: u64 = 128;

/// Stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

/// Something was given that can't be what it is meant for. None of them repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum Misuse {
    /// No symmetric key.
    #[error("--sym-key, or CAUSEWAY_SYM_KEY: {0}")]
    SymKey(#[from] waku0::payload::SymKeyError),
    /// No public key.
    #[error("--{0}: a public key is 128 hex digits, with 04 before them or without, and a point of secp256k1")]
    PublicKey(&'static str),
    /// A file that can't be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A file without a key.
    #[error("{0}: no secp256k1 key of 64 hex digits")]
    NoKey(PathBuf),
    /// Signed, and for whom?
    #[error("--sign: what is signed is encrypted too; give --sym-password, --sym-key or --pub-key")]
    SignedForNobody,
    /// Nothing that a node would post.
    #[error("--to rpc: a node posts nothing that is not encrypted; give --sym-password, --sym-key or --pub-key")]
    NothingToSealWith,
    /// A signature that is of a shard, and no shard.
    #[error("--signing-key-file: what it signs is of one shard; name it with --pubsub-topic")]
    SignedForNoShard,
    /// No place to post at.
    #[error("--to: {0}. Give rpc:http://HOST:PORT or rest:http://HOST:PORT")]
    Place(String),
    /// More peers than were named.
    #[error("--peers: {0} peers are named")]
    Peers(usize),
    /// A sender without a key.
    #[error(
        "--from: who signed it is known of what was opened alone; give --sym-password, --sym-key or --private-key-file"
    )]
    FromUnopened,
    /// Neither hex nor a name.
    #[error("--topic: {0:?} is no topic: give 8 hex digits, or a name")]
    Topic(String),
    /// Not a number of that kind.
    #[error("--pow: {0}")]
    Pow(#[from] waku0::pow::PowError),
    /// Not an envelope.
    #[error("no envelope: {0}")]
    Envelope(String),
    /// A file that is there.
    #[error("{0} is there already, and a key is never replaced: move it away first")]
    KeyExists(PathBuf),
    /// Not a number of seconds.
    #[error("--seconds: give a number above 0, at most 3600")]
    Seconds,
}

/// A topic: 8 hex digits, or the name that it is made of. Hex of another length is a slip.
///
/// # Errors
/// [`Misuse::Topic`].
pub fn topic(text: &str) -> Result<Topic, Misuse> {
    if let Ok(topic) = text.parse() {
        return Ok(topic);
    }
    let slip = text.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if slip || text.is_empty() { Err(Misuse::Topic(text.chars().take(64).collect())) } else { Ok(Topic::of_name(text)) }
}

/// A target for proof of work.
///
/// # Errors
/// [`Misuse::Pow`].
pub fn work(number: f64) -> Result<Pow, Misuse> {
    Ok(Pow::new(number)?)
}

/// What payloads are opened with; nothing, if no key was given.
///
/// # Errors
/// [`Misuse`], whichever flag is wrong.
pub fn opening_key(args: &OpenArgs) -> Result<Option<Key>, Misuse> {
    let shared = symmetric(args.sym_password.as_deref(), args.sym_key.as_deref())?.map(Key::Symmetric);
    let key = match (&args.private_key_file, shared) {
        (Some(path), _) => Some(Key::Private(key_file(path)?)),
        (None, shared) => shared,
    };
    if key.is_none() && args.from.is_some() { Err(Misuse::FromUnopened) } else { Ok(key) }
}

/// Who must have signed it.
///
/// # Errors
/// [`Misuse::PublicKey`].
pub fn sender(args: &OpenArgs) -> Result<Option<PublicKey>, Misuse> {
    args.from.as_deref().map(|text| public_key("from", text)).transpose()
}

/// For whom a payload is sealed.
#[derive(Debug, Clone)]
pub enum Reader {
    /// Whoever has this key.
    Shared(SymKey),
    /// One.
    Owner(PublicKey),
}

/// For whom a payload is sealed; for nobody, if no key was given.
///
/// # Errors
/// [`Misuse`], whichever flag is wrong.
pub fn reader(args: &SealArgs) -> Result<Option<Reader>, Misuse> {
    let shared = symmetric(args.sym_password.as_deref(), args.sym_key.as_deref())?.map(Reader::Shared);
    let reader = match (&args.pub_key, shared) {
        (Some(text), _) => Some(Reader::Owner(public_key("pub-key", text)?)),
        (None, shared) => shared,
    };
    if reader.is_none() && args.sign.is_some() { Err(Misuse::SignedForNobody) } else { Ok(reader) }
}

fn symmetric(password: Option<&str>, hex: Option<&str>) -> Result<Option<SymKey>, Misuse> {
    match (password, hex) {
        (Some(password), _) => Ok(Some(SymKey::from_password(password))),
        (None, Some(hex)) => Ok(Some(hex.trim().parse()?)),
        (None, None) => Ok(None),
    }
}

fn public_key(flag: &'static str, text: &str) -> Result<PublicKey, Misuse> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let digits = if digits.len() == 130 { digits.strip_prefix("04").unwrap_or(digits) } else { digits };
    digits.parse().map_err(|_| Misuse::PublicKey(flag))
}

/// The key in a file; `-` is standard input.
///
/// # Errors
/// [`Misuse::File`] and [`Misuse::NoKey`].
pub fn key_file(path: &Path) -> Result<NodeKey, Misuse> {
    let mut text = String::new();
    let read = if path.as_os_str() == STANDARD_INPUT {
        io::stdin().take(MAX_KEY_FILE_BYTES).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Misuse::File(path.to_owned(), error))?;
    text.trim().parse().map_err(|_| Misuse::NoKey(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_digits_or_names() {
        assert_eq!(topic("0xf8946aac").unwrap(), topic("contact-discovery").unwrap());
        assert_eq!(topic("f8946aac").unwrap(), Topic([0xf8, 0x94, 0x6a, 0xac]));
        for slip in ["", "0x", "0xf8946aa", "0xf8946aac00"] {
            assert!(matches!(topic(slip), Err(Misuse::Topic(_))), "{slip}");
        }
        assert_eq!(topic("0x04ab-contact-code").unwrap(), Topic::of_name("0x04ab-contact-code"));
    }

    #[test]
    fn public_keys_have_three_spellings() {
        let key = NodeKey::from_bytes(&[1; 32]).unwrap().public();
        for text in [key.to_string(), format!("04{key}"), format!("0x04{key}")] {
            assert_eq!(public_key("from", &text).unwrap(), key);
        }
        assert!(matches!(public_key("from", "04"), Err(Misuse::PublicKey("from"))));
    }

    #[test]
    fn a_file_without_a_key_is_named_and_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(matches!(key_file(&path), Err(Misuse::File(..))));
        std::fs::write(&path, "secret words").unwrap();
        let said = key_file(&path).unwrap_err().to_string();
        assert!(said.contains("key") && !said.contains("secret words"), "{said}");
    }
}
