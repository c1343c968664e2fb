//! `dns-tree`: makes and signs a list of nodes for DNS (EIP-1459).
//!
//! The zone goes to standard output and nothing else does, so that it can be written to a file; what is odd but no mistake
//! goes to standard error. Limits: a file of 4 MiB; lists beyond what readers walk are pointed out.

use std::{
    collections::HashMap,
    fmt::{Display, Formatter},
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::Context;
use devp2p::{
    dnsdisc::{
        Entry, Link, LinkError, Tree, TreeError,
        resolve::{MAX_ENTRIES, MAX_LISTS},
    },
    enr::{self, Enr},
};
use serde_json::{Map, Value, json};

use crate::{
    cli::DnsTreeArgs,
    keys::kept_key,
    output::{remark, say},
};

/// Longest file of records read, in bytes: twice the records that readers of a list walk, each of the longest form.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

/// What was given is no list.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Neither a node record nor a link, or a bad one.
    #[error("{place}: {cause}: {text:?}. Give enr:… or enrtree://…")]
    Record {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        cause: TreeError,
        /// Its beginning.
        text: String,
    },
    /// A node that was there before.
    #[error("{again}: the node of {first} once more. Leave one of the two records out")]
    Twice {
        /// Where it stands.
        again: Place,
        /// Where it stood before.
        first: Place,
    },
    /// Nothing at all.
    #[error(
        "no record was given, and an empty list would send everybody away: name node records, or a --file with one a line"
    )]
    Nothing,
    /// Not a domain.
    #[error("--domain {0}: {1}. Give a name such as nodes.example.org, without a dot at its end")]
    Domain(String, LinkError),
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the command line: which of the records, from 1.
    Argument(usize),
    /// In the file: which line, from 1.
    Line(String, usize),
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Argument(number) => write!(f, "record {number} of the command line"),
            Self::Line(file, number) => write!(f, "{file}, line {number}"),
        }
    }
}

/// Makes, signs and prints a list.
///
/// # Errors
/// [`InputError`], or when a file or the key can't be read, or the list can't be written.
pub fn run(args: &DnsTreeArgs) -> anyhow::Result<()> {
    let text = args.file.as_deref().map(read_file).transpose()?;
    let file = args.file.as_deref().map(name_of).unwrap_or_default();
    let listed = Listed::read(&args.records, &file, text.as_deref().unwrap_or_default())?;
    let domain = |cause| InputError::Domain(args.domain.clone(), cause);
    // The domain is looked at before a key is made for nothing.
    let any_key = devp2p::NodeKey::generate(&mut crate::keys::system_rng());
    Link::new(any_key.public(), &args.domain).map_err(domain)?;
    let (key, new) = kept_key(&args.key_file).context("--key-file")?;
    if new {
        remark(format_args!("made the key {}: keep it, the link names it", args.key_file.display()));
    }
    let link = Link::new(key.public(), &args.domain).map_err(domain)?;
    let seq = args.seq.unwrap_or_else(|| devp2p::clock::now().unix_secs());
    let tree = Tree::make(&listed.nodes, &listed.links, seq, &key);
    listed.remark_on_oddities(tree.records(&link).len());
    let printed = if args.json { as_json(&tree, &link) } else { as_zone(&tree, &link, args.ttl) };
    say(printed.trim_end())?;
    Ok(())
}

fn name_of(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) { "standard input".to_owned() } else { path.display().to_string() }
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    let input: Box<dyn Read> = if path == Path::new(STANDARD_INPUT) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("--file {} can't be read", path.display()))?)
    };
    let mut text = String::new();
    let read = input.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    read.with_context(|| format!("--file {} can't be read", path.display()))?;
    anyhow::ensure!(text.len() as u64 <= MAX_FILE_BYTES, "--file {} is over {MAX_FILE_BYTES} bytes", path.display());
    Ok(text)
}

/// What is to be in a list.
#[derive(Debug, Default)]
struct Listed {
    nodes: Vec<Enr>,
    links: Vec<Link>,
    places: HashMap<[u8; 32], Place>,
}

impl Listed {
    fn read(arguments: &[String], file: &str, lines: &str) -> Result<Self, InputError> {
        let mut listed = Self::default();
        for (text, number) in arguments.iter().zip(1..) {
            listed.add(Place::Argument(number), text)?;
        }
        for (line, number) in lines.lines().zip(1..) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                listed.add(Place::Line(file.to_owned(), number), line)?;
            }
        }
        if listed.nodes.is_empty() && listed.links.is_empty() { Err(InputError::Nothing) } else { Ok(listed) }
    }

    fn add(&mut self, place: Place, text: &str) -> Result<(), InputError> {
        let bad = |cause| InputError::Record { place: place.clone(), cause, text: text.chars().take(40).collect() };
        match text.parse().map_err(bad)? {
            Entry::Node(record) => {
                if let Some(first) = self.places.insert(record.node_id().raw(), place.clone()) {
                    return Err(InputError::Twice { again: place, first });
                }
                self.nodes.push(record);
            }
            Entry::Link(link) => self.links.push(link),
            Entry::Branch(_) => return Err(bad(TreeError::Unknown)),
        }
        Ok(())
    }

    /// Says what is signed all the same, but may not be meant.
    fn remark_on_oddities(&self, records: usize) {
        let absent = self.nodes.iter().filter(|record| enr::enode(record).is_none());
        let mut places: Vec<String> =
            absent.filter_map(|r| Some(self.places.get(&r.node_id().raw())?.to_string())).collect();
        places.sort();
        for place in places {
            remark(format_args!("{place}: no address or no TCP port in it, so nobody can dial that node over devp2p"));
        }
        if records > MAX_ENTRIES {
            remark(format_args!(
                "{records} records: readers may leave out what is beyond {MAX_ENTRIES}; spread the nodes over linked lists"
            ));
        }
        if self.links.len() >= MAX_LISTS {
            remark(format_args!(
                "{} links: readers may follow {MAX_LISTS} lists at most, this one included",
                self.links.len()
            ));
        }
    }
}

/// A zone file (RFC 1035, section 5) whose first line, a comment, is the link.
fn as_zone(tree: &Tree, link: &Link, ttl_secs: u32) -> String {
    format!("; {link}\n{}", tree.zone(link, ttl_secs))
}

/// One line: the link, the sequence number and the TXT records by name.
fn as_json(tree: &Tree, link: &Link) -> String {
    let records: Map<String, Value> = tree.records(link).into_iter().map(|(name, text)| (name, text.into())).collect();
    let list = json!({ "url": link.to_string(), "seq": tree.root().seq, "records": records });
    list.to_string()
}

#[cfg(test)]
mod tests {
    use devp2p::NodeKey;

    use super::*;

    fn record(secret: u8) -> String {
        let endpoint = enr::Endpoint { ip: Some([192, 0, 2, secret].into()), tcp: Some(30303), udp: None };
        enr::sign(&NodeKey::from_bytes(&[secret; 32]).unwrap(), 1, &endpoint).unwrap().to_base64()
    }

    fn refusal(arguments: &[&str], lines: &str) -> String {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        Listed::read(&arguments, "nodes.txt", lines).unwrap_err().to_string()
    }

    #[test]
    fn records_come_from_the_command_line_and_a_file_with_remarks() {
        let link = Link::new(NodeKey::from_bytes(&[9; 32]).unwrap().public(), "more.example.org").unwrap().to_string();
        let lines = format!("# ours\n\n  {}\t\r\n{link}\n", record(2));
        let listed = Listed::read(&[record(1)], "nodes.txt", &lines).unwrap();
        assert_eq!(listed.nodes.iter().map(Enr::to_base64).collect::<Vec<_>>(), [record(1), record(2)]);
        assert_eq!(listed.links[0].to_string(), link);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let (good, forged) = (record(1), record(1).replace("enr:-", "enr:_"));
        for (said, words) in [
            (refusal(&[], "# nothing\n"), &["no record was given"][..]),
            (refusal(&[&good, "enode://x"], ""), &["record 2 of the command line", "enode://x"]),
            (refusal(&[], &format!("{good}\n\n{forged}")), &["nodes.txt, line 3", "enr:_"]),
            (refusal(&[], "enrtree-branch:"), &["nodes.txt, line 1"]),
            (refusal(&[], "enrtree://x@y"), &["nodes.txt, line 1", "enrtree://x@y"]),
            (
                refusal(&[&good], &format!("#\n{good}")),
                &["nodes.txt, line 2: the node of record 1 of the command line"],
            ),
        ] {
            assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        }
    }

    #[test]
    fn the_zone_begins_with_the_link_as_a_comment() {
        let key = NodeKey::from_bytes(&[9; 32]).unwrap();
        let link = Link::new(key.public(), "nodes.example.org").unwrap();
        let tree = Tree::make(&[record(1).parse().unwrap()], &[], 7, &key);
        let zone = as_zone(&tree, &link, 60);
        assert!(zone.starts_with(&format!("; {link}\nnodes.example.org. 60 IN TXT \"enrtree-root:v1 ")), "{zone}");
        let list: Value = serde_json::from_str(&as_json(&tree, &link)).unwrap();
        assert_eq!((&list["url"], &list["seq"]), (&json!(link.to_string()), &json!(7)));
        assert_eq!(list["records"].as_object().unwrap().len(), zone.lines().count() - 1);
    }
}
