//! `key`: makes keys, tells the names that one key has in both networks, and derives keys from passwords.

use std::{
    io::{self, BufRead, Read},
    path::Path,
};

use anyhow::Context;
use devp2p::{
    Enode, Host, NodeKey, PublicKey,
    enr::{self, Endpoint},
};
use serde_json::json;
use sha3::{Digest, Keccak256};
use waku0::payload::SymKey;
use waku2::PeerId;

use super::secret::{self, Misuse};
use crate::{
    cli::{KeyCommand, NameArgs},
    keys::{DataDir, NODE_KEY_FILE, keep_key, read_key, system_rng},
    output::say,
};

/// Longest password read from standard input, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4_096;

/// What a libp2p peer id of a secp256k1 key begins with: an identity multihash of 37 bytes around a protobuf of the key's kind (2) and its 33
/// bytes.  Source: libp2p, "Peer Ids and Keys".
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];

/// Does what was asked for.
///
/// # Errors
/// If a file can't be read or written, or is no key.
pub fn run(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::New { file, names } => new(file.as_deref(), &names),
        KeyCommand::Show { file: Some(path), names, .. } => {
            Names::of(&secret::key_file(&path)?, &names)?.print(&names, None)
        }
        KeyCommand::Show { file: None, data_dir, names } => {
            let key = read_key(&DataDir::place(data_dir)?.join(NODE_KEY_FILE))?;
            Names::of(&key, &names)?.print(&names, None)
        }
        KeyCommand::Import { file, data_dir, names } => {
            let key = secret::key_file(&file)?;
            let directory = DataDir::open(data_dir)?;
            keep(&directory.path().join(NODE_KEY_FILE), &key)?;
            Names::of(&key, &names)?.print(&names, None)
        }
        KeyCommand::DerivePassword { password, json } => derive(password, json),
    }
}

fn new(file: Option<&Path>, names: &NameArgs) -> anyhow::Result<()> {
    let key = NodeKey::generate(&mut system_rng());
    let told = match file {
        Some(path) => {
            keep(path, &key)?;
            None
        }
        None => Some(&key),
    };
    Names::of(&key, names)?.print(names, told)
}

/// Writes a key to a file that is not there yet.
fn keep(path: &Path, key: &NodeKey) -> anyhow::Result<()> {
    if path.exists() {
        return Err(Misuse::KeyExists(path.to_owned()).into());
    }
    Ok(keep_key(path, key)?)
}

fn derive(password: Option<String>, as_json: bool) -> anyhow::Result<()> {
    let password = match password {
        Some(password) => password,
        None => {
            let mut line = String::new();
            io::BufReader::new(io::stdin().take(MAX_PASSWORD_BYTES))
                .read_line(&mut line)
                .context("standard input can't be read")?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let key = hex::encode(SymKey::from_password(&password).to_bytes());
    if as_json {
        say(json!({ "key": format!("0x{key}") }))?
    } else {
        say(key)?
    };
    Ok(())
}

/// By which others know the owner of a key.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    public: PublicKey,
    enode: String,
    enr: String,
    peer_id: String,
    address: String,
}

impl Names {
    fn of(key: &NodeKey, at: &NameArgs) -> anyhow::Result<Self> {
        let public = key.public();
        let enode = Enode { key: public, host: Host::Ip(at.ip), tcp: at.port, udp: at.port };
        let endpoint = Endpoint { ip: Some(at.ip), tcp: Some(at.port), udp: Some(at.port) };
        let record = enr::sign(key, 1, &endpoint).context("no node record")?;
        let peer_id =
            PeerId::from_bytes(&[&PEER_ID_PREFIX[..], &public.to_compressed()].concat()).context("no peer id")?;
        Ok(Self {
            public,
            enode: enode.to_string(),
            enr: record.to_base64(),
            peer_id: peer_id.to_string(),
            address: address(&public),
        })
    }

    /// With the key itself, where it is kept nowhere else.
    fn print(&self, args: &NameArgs, secret: Option<&NodeKey>) -> anyhow::Result<()> {
        let Self { public, enode, enr, peer_id, address } = self;
        let secret = secret.map(|key| hex::encode(key.to_bytes()));
        let node = public.id();
        if args.json {
            say(json!({
                "private_key": secret, "public_key": format!("0x04{public}"), "enode": enode, "enr": enr, "peer_id": peer_id,
                "node_id": node.to_string(), "address": address,
            }))?;
            return Ok(());
        }
        if let Some(secret) = secret {
            say(format_args!("private key  {secret}"))?;
        }
        say(format_args!("public key   0x04{public}"))?;
        say(format_args!("enode        {enode}"))?;
        say(format_args!("enr          {enr}"))?;
        say(format_args!("peer id      {peer_id}"))?;
        say(format_args!("node id      {node}"))?;
        say(format_args!("address      {address}"))?;
        Ok(())
    }
}

/// The address of Ethereum: the last twenty bytes of the node id, in the capitals of EIP-55.
fn address(key: &PublicKey) -> String {
    let digits = hex::encode(&key.id().as_bytes()[12..]);
    let checksum = hex::encode(Keccak256::digest(&digits));
    let cased = digits.chars().zip(checksum.chars());
    let cased: String =
        cased.map(|(digit, check)| if check >= '8' { digit.to_ascii_uppercase() } else { digit }).collect();
    format!("0x{cased}")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn here() -> NameArgs {
        NameArgs { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 30303, json: false }
    }

    /// The key of the node record in EIP-778, whose node id is printed there; its address as go-ethereum reckons it.
    #[test]
    fn the_names_of_a_printed_key() {
        let key: NodeKey = "b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291".parse().unwrap();
        let names = Names::of(&key, &here()).unwrap();
        assert_eq!(names.address, "0x71562b71999873DB5b286dF957af199Ec94617F7");
        assert_eq!(names.public.id().to_string(), "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7");
        assert_eq!(names.enode, format!("enode://{}@127.0.0.1:30303", key.public()));
        assert_eq!(enr::parse(&names.enr).ok().and_then(|record| enr::public_key(&record)), Some(key.public()));
        assert!(names.peer_id.starts_with("16Uiu2HA"), "{}", names.peer_id);
    }

    #[test]
    fn a_key_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("me.key");
        let key = NodeKey::from_bytes(&[1; 32]).unwrap();
        keep(&path, &key).unwrap();
        let other = NodeKey::from_bytes(&[2; 32]).unwrap();
        assert!(keep(&path, &other).unwrap_err().is::<Misuse>());
        assert_eq!(secret::key_file(&path).unwrap(), key);
    }
}
