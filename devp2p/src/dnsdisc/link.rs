//! `enrtree://<key>@<domain>` (EIP-1459, "Link"): the key is compressed, in base32 without padding.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

use crate::key::PublicKey;

/// What a link begins with.
pub(super) const PREFIX: &str = "enrtree://";

/// Longest domain: names of records put a label of up to 52 digits and a dot before it, and have 253 bytes at most (RFC 1035,
/// section 2.3.4).
const MAX_DOMAIN_BYTES: usize = 200;

/// Longest label of a name. Source: RFC 1035, section 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// A list of nodes: where it is, and who signs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    key: PublicKey,
    domain: String,
}

impl Link {
    /// The list at `domain`, signed by `key`.
    ///
    /// # Errors
    /// [`LinkError::Domain`] when the domain is no name, or too long for names below it.
    pub fn new(key: PublicKey, domain: &str) -> Result<Self, LinkError> {
        let good_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let good_label = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(good_byte);
        if domain.len() > MAX_DOMAIN_BYTES || !domain.split('.').all(good_label) {
            return Err(LinkError::Domain);
        }
        Ok(Self { key, domain: domain.to_owned() })
    }

    /// The key that signs the list.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Where the list is.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = text.strip_prefix(PREFIX).ok_or(LinkError::Scheme)?;
        let (key, domain) = rest.split_once('@').ok_or(LinkError::NoDomain)?;
        let key = BASE32_NOPAD.decode(key.as_bytes()).map_err(|_| LinkError::Key)?;
        let key = key[..].try_into().map_err(|_| LinkError::Key)?;
        Self::new(PublicKey::from_compressed(key).map_err(|_| LinkError::Key)?, domain)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}@{}", BASE32_NOPAD.encode(&self.key.to_compressed()), self.domain)
    }
}

/// Why a text is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It does not begin with `enrtree://`.
    #[error("a link to a node list begins with {PREFIX}")]
    Scheme,
    /// It has no `@`.
    #[error("the link to a node list has no domain")]
    NoDomain,
    /// The key is none.
    #[error("the key of the link is no compressed public key in base32")]
    Key,
    /// The domain is no name, or over 200 bytes.
    #[error("the domain of the link is no name, or longer than {MAX_DOMAIN_BYTES} bytes")]
    Domain,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::json;

    #[test]
    fn printed_links_both_ways() {
        let waku = [
            "enrtree://AIRVQ5DDA4FFWLRBCHJWUWOO6X6S4ZTZ5B667LQ6AJU6PEYDLRD5O@sandbox.waku.nodes.status.im",
            "enrtree://AOGYWMBYOUIMOENHXCHILPKY3ZRFEULMFI4DOM442QSZ73TT2A7VI@test.waku.nodes.status.im",
            "enrtree://AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2@morenodes.example.org",
        ];
        for text in waku {
            assert_eq!(text.parse::<Link>().unwrap().to_string(), text);
        }
        let file = json("dns/jswaku.json");
        let text = file["dns"]["enrTree"].as_str().unwrap();
        let link: Link = text.parse().unwrap();
        assert_eq!((link.to_string().as_str(), link.domain()), (text, "nodes.example.org"));
    }

    #[test]
    fn bad_links_have_their_errors() {
        let file = json("dns/jswaku.json");
        let bad = |name: &str| file["dns"][name].as_str().unwrap().parse::<Link>();
        assert_eq!(bad("enrTreeBadPrefix"), Err(LinkError::Scheme));
        assert_eq!(bad("enrTreeMalformed"), Err(LinkError::NoDomain));
        let key = "AM5FCQLWIZX2QFPNJAP7VUERCCRNGRHWZG3YYHIUV7BVDQ5FDPRT2";
        assert_eq!(format!("enrtree://{}@a.b", &key[1..]).parse::<Link>(), Err(LinkError::Key));
        assert_eq!(format!("enrtree://{}@a.b", "A".repeat(53)).parse::<Link>(), Err(LinkError::Key));
        for domain in ["", "a..b", "a b", ".a", "a.", &"a".repeat(64), &vec!["abc"; 60].join(".")] {
            assert_eq!(format!("enrtree://{key}@{domain}").parse::<Link>(), Err(LinkError::Domain), "{domain}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            prop_assert!(text.parse::<Link>().is_err());
            let _ = format!("{PREFIX}{text}").parse::<Link>();
        }
    }
}
