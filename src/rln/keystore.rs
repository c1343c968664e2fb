//! Passwords, and the credentials that they open: shell.
//!
//! Deriving a key of a password takes a third of a second, so credentials are opened at the same time, on threads that may block.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use membership::contract::Commitment;
use tokio::task::{JoinSet, spawn_blocking};
use waku_rln::{
    Member,
    keystore::{
        Application, Credential, Keystore, KeystoreError,
        file::{self, FileError},
        password::Password,
    },
};

use super::Mine;
use crate::{
    cli::KeystorePasswordArgs,
    config::rln::{Credentials, Group},
};

/// Longest password read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4_096;
/// Stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

/// Why there is no membership.
#[derive(Debug, thiserror::Error)]
pub enum KeystoresError {
    /// The file of the password.
    #[error("--rln-cred-password-file {0}: {1}")]
    Password(PathBuf, io::Error),
    /// The file of a keystore.
    #[error("--rln-relay-cred-path: {0}")]
    File(#[from] FileError),
    /// A credential.
    #[error("--rln-relay-cred-path {0}: {1}")]
    Credential(PathBuf, KeystoreError),
    /// It does not say how many messages.
    #[error(
        "--rln-relay-cred-path {0}: the membership does not say its messages an epoch: give --rln-relay-user-message-limit"
    )]
    NoLimit(PathBuf),
    /// Nothing of the group.
    #[error(
        "--rln-relay-cred-path: no membership of this contract{} is in the keystore",
        .0.map(|index| format!(" with index {index}")).unwrap_or_default()
    )]
    NoMembership(Option<u32>),
    /// Zero.
    #[error("--rln-relay-cred-path {0}: nobody has this commitment")]
    Commitment(PathBuf),
    /// The program ends.
    #[error("the work was broken off")]
    Ended,
}

/// The password of the flags; of standard input where there is none.
pub(crate) fn password(args: &KeystorePasswordArgs) -> Result<Password, KeystoresError> {
    if let Some(given) = &args.rln_relay_cred_password {
        return Ok(Password::new(given.text()));
    }
    let path = args.rln_cred_password_file.as_deref().unwrap_or_else(|| Path::new(STANDARD_INPUT));
    let line = line(path).map_err(|error| KeystoresError::Password(path.to_owned(), error))?;
    Ok(Password::new(line))
}

fn line(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == STANDARD_INPUT {
        io::BufRead::read_until(&mut io::stdin().lock().take(MAX_PASSWORD_BYTES), b'\n', &mut bytes)?;
    } else {
        File::open(path)?.take(MAX_PASSWORD_BYTES).read_to_end(&mut bytes)?;
    }
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

/// All credentials of a file, opened at the same time. Cancelling lets the work go on unseen.
pub(crate) async fn open(path: &Path, password: &Password) -> Result<Vec<Credential>, KeystoresError> {
    let keystore = file::load(path, &Application::default())?;
    if keystore.names().next().is_none() {
        return Err(KeystoresError::Credential(path.to_owned(), KeystoreError::Empty));
    }
    let names: Vec<String> = keystore.names().map(str::to_owned).collect();
    let opening: Vec<_> = names
        .into_iter()
        .map(|name| {
            let (keystore, password): (Keystore, _) = (keystore.clone(), password.clone());
            spawn_blocking(move || keystore.open_named(&name, &password))
        })
        .collect();
    let mut opened = Vec::new();
    for one in opening {
        let one = one.await.map_err(|_| KeystoresError::Ended)?;
        opened.push(one.map_err(|error| KeystoresError::Credential(path.to_owned(), error))?);
    }
    Ok(opened)
}

/// Our members: all of the group that the keystores have, or the one of the index. Which index a member has in a group that is a
/// file, the file says.
pub(super) async fn members(credentials: Credentials, group: &Group) -> Result<Vec<Mine>, KeystoresError> {
    let Credentials { files, password: asked, index, limit } = credentials;
    let password = spawn_blocking(move || password(&asked)).await.map_err(|_| KeystoresError::Ended)??;
    let mut opening = JoinSet::new();
    for path in files {
        let password = password.clone();
        opening.spawn(async move { open(&path, &password).await.map(|opened| (path, opened)) });
    }
    let mut mine = Vec::new();
    while let Some(opened) = opening.join_next().await {
        let (path, opened) = opened.map_err(|_| KeystoresError::Ended)??;
        for credential in opened.into_iter().filter(|one| is_wanted(one, group, index)) {
            let limit = credential.limit.or(limit).ok_or_else(|| KeystoresError::NoLimit(path.clone()))?;
            let commitment = Commitment::new(*credential.identity.commitment());
            mine.push(Mine {
                commitment: commitment.ok_or_else(|| KeystoresError::Commitment(path.clone()))?,
                index: credential.membership.index,
                member: Member { identity: credential.identity.into(), limit },
            });
        }
    }
    // In one order after each start, whichever was opened first.
    mine.sort_by_key(|mine| (mine.index, mine.commitment));
    if mine.is_empty() { Err(KeystoresError::NoMembership(index)) } else { Ok(mine) }
}

/// Is it a membership of this group? Of a contract by its address; how the chain is spelled differs among those who write keystores.
fn is_wanted(credential: &Credential, group: &Group, index: Option<u32>) -> bool {
    let is_of_group = match group {
        Group::File(_) => true,
        Group::Chain(chain) => credential.membership.address.eq_ignore_ascii_case(&chain.contract.address.to_string()),
    };
    is_of_group && index.is_none_or(|index| credential.membership.index == index)
}

#[cfg(test)]
mod tests {
    use membership::contract::Contract;
    use rand::{SeedableRng as _, rngs::StdRng};
    use waku_rln::{Identity, Limit, keystore::Membership, keystore::sealed::Kdf};

    use super::*;
    use crate::config::rln::Chain;

    fn credential(address: &str, index: u32) -> Credential {
        let membership = Membership { chain_id: "59141".to_owned(), address: address.to_lowercase(), index };
        Credential { membership, identity: Identity::seeded(&[index as u8]), limit: Limit::new(20) }
    }

    #[tokio::test]
    async fn all_of_the_contract_or_the_one_of_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let (file, secret) = (directory.path().join("keystore.json"), directory.path().join("password"));
        std::fs::write(&secret, "sup3rsecure\nand more").unwrap();
        let (mut keystore, mut rng) = (Keystore::default(), StdRng::seed_from_u64(1));
        let (ours, other) = (Contract::TWN.address.to_string(), Contract::TWN_SPEC.address.to_string());
        for one in [credential(&ours, 7), credential(&other, 1), credential(&ours, 3)] {
            keystore.add(&one, &Password::new("sup3rsecure"), Kdf::Pbkdf2 { rounds: 1 }, &mut rng).unwrap();
        }
        file::save(&file, &keystore).unwrap();
        let group = Group::Chain(Chain { contract: Contract::TWN, providers: Vec::new() });
        let found = |index| {
            let password = KeystorePasswordArgs { rln_cred_password_file: Some(secret.clone()), ..Default::default() };
            let asked = Credentials { files: vec![file.clone()], password, index, limit: None };
            let group = group.clone();
            async move { members(asked, &group).await.map(|mine| mine.iter().map(|mine| mine.index).collect::<Vec<_>>()) }
        };
        assert_eq!(found(None).await.unwrap(), [3, 7]);
        assert_eq!(found(Some(7)).await.unwrap(), [7]);
        let error = found(Some(1)).await.unwrap_err().to_string();
        assert!(error.contains("with index 1"), "{error}");
        std::fs::write(&secret, "another").unwrap();
        assert!(found(None).await.unwrap_err().to_string().contains("the password is wrong"));
    }
}
