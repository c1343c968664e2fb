//! The records of a node list (EIP-1459, "DNS Record Structure"), and making them.
//!
//! ```text
//! <domain>           enrtree-root:v1 e=<label> l=<label> seq=<number> sig=<base64url>
//! <label>.<domain>   enrtree-branch:<label>,<label>,..
//!                    enr:<base64url>                a node, below e
//!                    enrtree://<key>@<domain>       another list, below l
//! ```
//! A label is the beginning of the Keccak-256 of the record it names, in base32: so the signature of the root covers all.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use sha3::{Digest, Keccak256};

use super::link::{self, Link, LinkError};
use crate::enr::{self, Enr, EnrError};
use crate::key::{NodeKey, PublicKey, SIGNATURE_BYTES};

/// Longest text of a record, in bytes. go-ethereum's are below 512; the rest is for makers of larger branches, whose
/// answers need TCP.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Least bytes of hash in a label. Source: EIP-1459, "DNS Record Structure".
const MIN_LABEL_BYTES: usize = 12;

/// Bytes of hash in the labels we make. Source: EIP-1459, "DNS Record Structure".
const LABEL_BYTES: usize = 16;

/// Labels in a branch that we make: 13 of 26 digits and a comma keep it below 370 bytes, so that an answer fits 512.
/// Source: go-ethereum, `maxChildren`.
const MAX_CHILDREN: usize = 13;

/// Longest string in a TXT record, in bytes. Source: RFC 1035, section 3.3.
const MAX_STRING_BYTES: usize = 255;

const ROOT_PREFIX: &str = "enrtree-root:v1";
const BRANCH_PREFIX: &str = "enrtree-branch:";

/// The name of a record below the domain: 12 to 32 bytes of its hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Vec<u8>);

impl Label {
    /// The label of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Keccak256::digest(text)[..LABEL_BYTES].to_vec())
    }

    /// True when it names this text.
    #[must_use]
    pub fn names(&self, text: &str) -> bool {
        Keccak256::digest(text).starts_with(&self.0)
    }
}

impl FromStr for Label {
    type Err = TreeError;

    fn from_str(text: &str) -> Result<Self, TreeError> {
        let hash = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| TreeError::Label)?;
        if (MIN_LABEL_BYTES..=32).contains(&hash.len()) { Ok(Self(hash)) } else { Err(TreeError::Label) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0))
    }
}

/// The root of a list. Its signature is checked by [`Root::is_signed_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Where nodes begin.
    pub nodes: Label,
    /// Where links to other lists begin.
    pub links: Label,
    /// Grows with each change of the list.
    pub seq: u64,
    digest: [u8; 32],
    signature: [u8; SIGNATURE_BYTES],
}

impl Root {
    /// Makes and signs a root.
    #[must_use]
    pub fn sign(key: &NodeKey, nodes: Label, links: Label, seq: u64) -> Self {
        let digest = Keccak256::digest(content(&nodes, &links, seq)).into();
        Self { nodes, links, seq, digest, signature: key.sign(&digest) }
    }

    /// True when `key` signed it. The recovery id is not looked at, as go-ethereum does not.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signature.first_chunk().is_some_and(|signature| key.verify(&self.digest, signature))
    }

    /// True for a text that wants to be a root.
    pub(super) fn is_meant(text: &str) -> bool {
        text.starts_with(ROOT_PREFIX)
    }
}

/// What is signed.
fn content(nodes: &Label, links: &Label, seq: u64) -> String {
    format!("{ROOT_PREFIX} e={nodes} l={links} seq={seq}")
}

impl FromStr for Root {
    type Err = TreeError;

    fn from_str(text: &str) -> Result<Self, TreeError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TreeError::TooLong(text.len()));
        }
        if !Self::is_meant(text) {
            return Err(TreeError::Unknown);
        }
        let (signed, signature) = text.rsplit_once(" sig=").ok_or(TreeError::Root)?;
        let mut parts = signed.split(' ');
        if parts.next() != Some(ROOT_PREFIX) {
            return Err(TreeError::Unknown);
        }
        let mut field = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(TreeError::Root);
        let (nodes, links) = (field("e=")?.parse()?, field("l=")?.parse()?);
        let seq = number(field("seq=")?)?;
        if parts.next().is_some() || signature.contains(' ') {
            return Err(TreeError::Root);
        }
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TreeError::Signature)?;
        let signature = signature.try_into().map_err(|_| TreeError::Signature)?;
        Ok(Self { nodes, links, seq, digest: Keccak256::digest(signed).into(), signature })
    }
}

fn number(text: &str) -> Result<u64, TreeError> {
    // `u64::from_str` also takes a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TreeError::Root);
    }
    text.parse().map_err(|_| TreeError::Root)
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = BASE64URL_NOPAD.encode(&self.signature);
        write!(f, "{} sig={signature}", content(&self.nodes, &self.links, self.seq))
    }
}

/// A record other than the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Names others.
    Branch(Vec<Label>),
    /// Another list.
    Link(Link),
    /// A node.
    Node(Enr),
}

impl Entry {
    /// True for a text that wants to be an entry; a domain may hold other texts besides.
    pub(super) fn is_meant(text: &str) -> bool {
        [BRANCH_PREFIX, link::PREFIX, enr::TEXT_PREFIX].iter().any(|prefix| text.starts_with(prefix))
    }
}

impl FromStr for Entry {
    type Err = TreeError;

    fn from_str(text: &str) -> Result<Self, TreeError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TreeError::TooLong(text.len()));
        }
        if let Some(labels) = text.strip_prefix(BRANCH_PREFIX) {
            let labels = labels.split(',').filter(|_| !labels.is_empty());
            return labels.map(str::parse).collect::<Result<_, _>>().map(Self::Branch);
        }
        if text.starts_with(link::PREFIX) {
            return Ok(Self::Link(text.parse()?));
        }
        if text.starts_with(enr::TEXT_PREFIX) {
            return Ok(Self::Node(enr::parse(text)?));
        }
        Err(TreeError::Unknown)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(labels) => {
                let labels: Vec<_> = labels.iter().map(Label::to_string).collect();
                write!(f, "{BRANCH_PREFIX}{}", labels.join(","))
            }
            Self::Link(link) => link.fmt(f),
            Self::Node(record) => f.write_str(&record.to_base64()),
        }
    }
}

/// Why a text is no record of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Over [`MAX_TEXT_BYTES`].
    #[error("{0} bytes are over the limit of {MAX_TEXT_BYTES}")]
    TooLong(usize),
    /// Begins like none of the records.
    #[error("neither root nor branch, link or node record")]
    Unknown,
    /// A field of the root is missing, not in its place, or no number.
    #[error("the root is not e=, l=, seq=, sig= in this order")]
    Root,
    /// A label is not base32 of 12 to 32 bytes.
    #[error("a label is not base32 of 12 to 32 bytes")]
    Label,
    /// The signature is not base64url of 65 bytes.
    #[error("the signature is not base64url of 65 bytes")]
    Signature,
    /// The link is none.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The node record is none.
    #[error(transparent)]
    Record(#[from] EnrError),
}

/// A signed list, ready to be published.
///
/// ```
/// use devp2p::dnsdisc::{Link, Tree};
/// use devp2p::{NodeKey, enr};
///
/// let signer = NodeKey::from_bytes(&[1; 32]).unwrap();
/// let node = NodeKey::from_bytes(&[2; 32]).unwrap();
/// let endpoint = enr::Endpoint { ip: Some([192, 0, 2, 1].into()), tcp: Some(30303), udp: None };
/// let tree = Tree::make(&[enr::sign(&node, 1, &endpoint).unwrap()], &[], 1, &signer);
/// let link = Link::new(signer.public(), "nodes.example.org").unwrap();
/// assert_eq!(tree.records(&link).len(), 3); // the root, the one node, and that there are no links
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: Root,
    entries: BTreeMap<Label, Entry>,
}

impl Tree {
    /// Makes and signs a list of `nodes` and of `links` to other lists. `seq` must be above that of the list it replaces.
    /// The same input gives the same records, and the same as go-ethereum's `devp2p dns sign`.
    #[must_use]
    pub fn make(nodes: &[Enr], links: &[Link], seq: u64, key: &NodeKey) -> Self {
        let mut nodes: Vec<_> = nodes.to_vec();
        nodes.sort_by_key(|record| record.node_id().raw());
        let mut entries = BTreeMap::new();
        let nodes = build(&mut entries, nodes.into_iter().map(Entry::Node).collect());
        let links = build(&mut entries, links.iter().cloned().map(Entry::Link).collect());
        Self { root: Root::sign(key, nodes, links, seq), entries }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Each TXT record: its name and its text. `link` says where the list will be.
    #[must_use]
    pub fn records(&self, link: &Link) -> Vec<(String, String)> {
        let root = (link.domain().to_owned(), self.root.to_string());
        let entry = |(label, entry): (&Label, &Entry)| (format!("{label}.{}", link.domain()), entry.to_string());
        std::iter::once(root).chain(self.entries.iter().map(entry)).collect()
    }

    /// The records as lines of a zone file (RFC 1035, section 5), texts split into strings of 255 bytes. `ttl_secs` is for
    /// the root, which changes; all others never do and get a day.
    #[must_use]
    pub fn zone(&self, link: &Link, ttl_secs: u32) -> String {
        let mut zone = String::new();
        for (name, text) in self.records(link) {
            let ttl_secs = if name == link.domain() { ttl_secs } else { 24 * 60 * 60 };
            zone.push_str(&format!("{name}. {ttl_secs} IN TXT"));
            for string in text.as_bytes().chunks(MAX_STRING_BYTES) {
                // All texts are ASCII without quotes, by how they are made.
                zone.push_str(&format!(" \"{}\"", String::from_utf8_lossy(string)));
            }
            zone.push('\n');
        }
        zone
    }
}

/// Puts branches over entries until one is left, and gives its label. Source: go-ethereum, `Tree.build`, whose shape this
/// keeps, so that both make the same records of the same nodes.
fn build(entries: &mut BTreeMap<Label, Entry>, mut level: Vec<Entry>) -> Label {
    while level.len() != 1 {
        let full = level.len() > MAX_CHILDREN;
        let parts = if full { level.chunks(MAX_CHILDREN).collect() } else { vec![&level[..]] };
        // A part of one needs no branch, unless it is all there is.
        let next = parts.into_iter().map(|part| match part {
            [single] => single.clone(),
            part => Entry::Branch(part.iter().map(|entry| insert(entries, entry.clone())).collect()),
        });
        level = next.collect();
    }
    level.pop().map_or_else(|| Label(Vec::new()), |top| insert(entries, top))
}

fn insert(entries: &mut BTreeMap<Label, Entry>, entry: Entry) -> Label {
    let label = Label::of(&entry.to_string());
    entries.insert(label.clone(), entry);
    label
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{array, json, key};

    #[test]
    fn printed_records_are_read_and_written() {
        let printed = json("dns/eip1459.json");
        let link: Link = printed["url"].as_str().unwrap().parse().unwrap();
        let text = printed["root"].as_str().unwrap();
        let root: Root = text.parse().unwrap();
        assert_eq!(root.digest, array(&printed, "digest"));
        assert!(root.is_signed_by(link.key()));
        assert_eq!(PublicKey::recover(&root.digest, &root.signature).as_ref(), Ok(link.key()));
        assert_eq!((root.to_string().as_str(), root.seq), (text, 1));
        let records = printed["records"].as_object().unwrap();
        assert!(records.contains_key(&root.nodes.to_string()) && records.contains_key(&root.links.to_string()));
        for (label, text) in records {
            let text = text.as_str().unwrap();
            assert!(label.parse::<Label>().unwrap().names(text), "{label}");
            assert_eq!(text.parse::<Entry>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn records_of_js_waku() {
        let file = json("dns/jswaku.json");
        let text = |name: &str| file["dns"][name].as_str().unwrap();
        let link: Link = text("enrTree").parse().unwrap();
        let root: Root = text("enrRoot").parse().unwrap();
        assert!(root.is_signed_by(link.key()) && root.seq == 1839);
        assert!(!text("enrRootBadSig").parse::<Root>().unwrap().is_signed_by(link.key()));
        assert_eq!(text("enrRootBadPrefix").parse::<Root>(), Err(TreeError::Unknown));
        assert_eq!(text("enrRootMalformed").parse::<Root>(), Err(TreeError::Root));
        assert_eq!(text("enrBranchBadPrefix").parse::<Entry>(), Err(TreeError::Unknown));
        let Ok(Entry::Branch(labels)) = text("enrBranch").parse() else { panic!("no branch") };
        assert_eq!(labels.len(), 3);
        for name in ["enrWithWaku2Relay", "enrWithWaku2Store", "enrWithWaku2RelayStore"] {
            let Ok(Entry::Node(record)) = text(name).parse() else { panic!("{name} is no node") };
            assert_eq!(record.to_base64(), text(name));
        }
    }

    /// Trees of 0, 1, 13, 14 and 200 nodes, as go-ethereum makes them.
    #[test]
    fn the_same_trees_as_go_ethereum() {
        for case in json("dns/trees.json").as_array().unwrap() {
            let list = |name: &str| case[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
            let nodes: Vec<_> = list("nodes").map(|text| enr::parse(text).unwrap()).collect();
            let links: Vec<Link> = list("links").map(|text| text.parse().unwrap()).collect();
            let link: Link = case["url"].as_str().unwrap().parse().unwrap();
            let signer = key(case, "secret");
            assert_eq!(*link.key(), signer.public());
            let tree = Tree::make(&nodes, &links, case["seq"].as_u64().unwrap(), &signer);
            let made: serde_json::Map<_, _> =
                tree.records(&link).into_iter().map(|(name, text)| (name, text.into())).collect();
            assert_eq!(&made, case["records"].as_object().unwrap(), "{} nodes", nodes.len());
        }
    }

    #[test]
    fn zone_files_split_long_texts() {
        let signer = NodeKey::from_bytes(&[1; 32]).unwrap();
        let links: Vec<_> = (0..12).map(|i| Link::new(signer.public(), &format!("{i}.example.org")).unwrap()).collect();
        let link = Link::new(signer.public(), "nodes.example.org").unwrap();
        let tree = Tree::make(&[], &links, 3, &signer);
        let zone = tree.zone(&link, 60);
        assert_eq!(zone.lines().count(), tree.records(&link).len());
        assert!(zone.starts_with("nodes.example.org. 60 IN TXT \"enrtree-root:v1 e="));
        for (line, (name, text)) in zone.lines().zip(tree.records(&link)) {
            let (head, strings) = line.split_once(" IN TXT ").unwrap();
            assert!(head.starts_with(&format!("{name}. ")));
            let strings: Vec<_> = strings.trim_matches('"').split("\" \"").collect();
            assert!(strings.iter().all(|string| string.len() <= MAX_STRING_BYTES));
            assert_eq!(strings.concat(), text);
        }
    }

    #[test]
    fn h54_bad_records_have_their_errors() {
        let root = json("dns/eip1459.json")["root"].as_str().unwrap().to_owned();
        let with = |from: &str, to: &str| root.replace(from, to).parse::<Root>();
        assert_eq!(with("seq=1", "seq=-1"), Err(TreeError::Root));
        assert_eq!(with("seq=1", "seq="), Err(TreeError::Root));
        assert_eq!(with("seq=1", "seq=18446744073709551616"), Err(TreeError::Root));
        assert_eq!(with("e=JWXY", "e=jwxy"), Err(TreeError::Label));
        assert_eq!(with("e=JWXYDBPXYWG6FX3GMDIBFA6CJ4", "e=JWXY"), Err(TreeError::Label));
        assert_eq!(with("sig=o908", "sig=o9"), Err(TreeError::Signature));
        assert_eq!(format!("{root} x=1").parse::<Root>(), Err(TreeError::Root));
        // Letters of several bytes, wherever they stand.
        for odd in
            [format!("{root}\u{388} x=1"), format!("{root} sig=R\u{388} seq=7 "), root.replace("sig=", "\u{388}sig=")]
        {
            assert_eq!(odd.parse::<Root>(), Err(TreeError::Root), "{odd}");
        }
        assert_eq!(
            format!("{root}{}", " ".repeat(65_536)).parse::<Root>(),
            Err(TreeError::TooLong(root.len() + 65_536))
        );
        assert_eq!("<html><body>404</body></html>".parse::<Entry>(), Err(TreeError::Unknown));
        let children = vec!["JWXYDBPXYWG6FX3GMDIBFA6CJ4"; 10_000].join(",");
        assert_eq!(format!("{BRANCH_PREFIX}{children}").parse::<Entry>(), Err(TreeError::TooLong(270_014)));
        assert_eq!(format!("{BRANCH_PREFIX},").parse::<Entry>(), Err(TreeError::Label));
        let long = format!("enr:{}", BASE64URL_NOPAD.encode(&[7; 500]));
        assert_eq!(long.parse::<Entry>(), Err(TreeError::Record(EnrError::Text)));
        assert_eq!(BRANCH_PREFIX.parse::<Entry>(), Ok(Entry::Branch(Vec::new())));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,120}") {
            prop_assert!(text.parse::<Root>().is_err());
            prop_assert!(text.parse::<Entry>().is_err());
            for prefix in [ROOT_PREFIX, BRANCH_PREFIX, "enr:", link::PREFIX] {
                let text = format!("{prefix}{text}");
                let _ = (text.parse::<Root>(), text.parse::<Entry>());
            }
            let _ = format!("{ROOT_PREFIX} e=JWXYDBPXYWG6FX3GMDIBFA6CJ4 l=JWXYDBPXYWG6FX3GMDIBFA6CJ4 seq=1{text}").parse::<Root>();
        }

        #[test]
        fn roots_round_trip(nodes: [u8; 32], links in prop::collection::vec(any::<u8>(), 12..=32), seq: u64) {
            let key = NodeKey::from_bytes(&[3; 32]).unwrap();
            let root = Root::sign(&key, Label(nodes.to_vec()), Label(links), seq);
            prop_assert_eq!(root.to_string().parse::<Root>(), Ok(root.clone()));
            prop_assert!(root.is_signed_by(&key.public()));
        }
    }
}
