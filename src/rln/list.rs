//! A group that is a file: a line for each member, by index.
//!
//! ```text
//! # commitment                                                         messages an epoch
//! 0x2c02e56f4c860a79a5ee71e4affe5ca9a936151bbbc0f5567fdf3da217b8c75878 100
//! # or the rate commitment alone, the hash of both
//! 0x08253994c3066a972dd9279fbcd9986e8196f03ad1bb01ad9b2b9b8889e12d20
//! ```
//! Numbers are in hex as Ethereum writes them, the highest digits first. What is behind `#` is not read, nor are empty lines.
//! Limit: [`MAX_FILE_BYTES`].

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use waku_rln::{Limit, identity::rate_commitment};
use waku2::rln::element::{ELEMENT_BYTES, Element};

/// Longest file read, in bytes: a hundred thousand members.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Why there is no group.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// No file, or none that can be read.
    #[error("--rln-group {0}: {1}")]
    File(PathBuf, io::Error),
    /// A longer one.
    #[error("--rln-group {0} has more than {MAX_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    /// A line that is no member.
    #[error(
        "--rln-group {0}, line {1}: give a commitment of 64 hex digits and its messages an epoch, or a rate commitment"
    )]
    Line(PathBuf, usize),
}

/// Reads one: the leaves of its tree.
pub(crate) fn read(path: &Path) -> Result<Vec<Element>, ListError> {
    let failed = |error| ListError::File(path.to_owned(), error);
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ListError::TooLong(path.to_owned()));
    }
    leaves(&text).map_err(|line| ListError::Line(path.to_owned(), line))
}

/// The leaves, or the number of the line that is none.
fn leaves(text: &str) -> Result<Vec<Element>, usize> {
    let lines = text.lines().enumerate().map(|(place, line)| (place + 1, line.split('#').next().unwrap_or_default()));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| leaf(line).ok_or(number)).collect()
}

fn leaf(line: &str) -> Option<Element> {
    let mut words = line.split_whitespace();
    let element = element(words.next()?)?;
    let limit = words.next().map(|word| word.parse().ok().and_then(Limit::new).ok_or(()));
    match (limit, words.next()) {
        (None, _) => Some(element),
        (Some(Ok(limit)), None) => Some(rate_commitment(&element, limit)),
        _ => None,
    }
}

/// A number of the field, the highest digits first.
fn element(text: &str) -> Option<Element> {
    let mut bytes = [0; ELEMENT_BYTES];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).ok()?;
    bytes.reverse();
    Element::canonical(bytes)
}

/// The same the other way round.
pub(crate) fn hex(element: &Element) -> String {
    let mut bytes = *element.bytes();
    bytes.reverse();
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use waku_rln::Identity;

    use super::*;

    #[test]
    fn a_line_is_a_member() {
        let identity = Identity::seeded(b"list");
        let (limit, commitment) = (Limit::new(7).unwrap(), hex(identity.commitment()));
        let leaf = identity.rate_commitment(limit);
        assert_eq!(element(&commitment).as_ref(), Some(identity.commitment()));
        let text = format!("# all\n\n{commitment} 7 # one\n{}\n", hex(&leaf));
        assert_eq!(leaves(&text), Ok(vec![leaf, leaf]));
        for (wrong, line) in [
            (format!("{commitment} 0"), 1),
            (format!("\n{commitment} 7 7"), 2),
            (format!("{commitment} 65536"), 1),
            (format!("0x{}", "ff".repeat(32)), 1),
            ("0x00".to_owned(), 1),
        ] {
            assert_eq!(leaves(&wrong), Err(line), "{wrong}");
        }
    }
}
