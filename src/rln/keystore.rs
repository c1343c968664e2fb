//! Keystores, and the credentials that passwords open: shell.
//!
//! Deriving a key of a password takes a third of a second, so credentials are opened at the same time, on threads that may block.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use membership::{
    contract::Commitment,
    ids::{NoRange, Range},
};
use tokio::task::{JoinSet, spawn_blocking};
use waku_rln::{
    Member,
    keystore::{
        Application, Credential, Keystore, KeystoreError,
        file::{self, FileError},
        password::Password,
    },
};

use super::{
    Mine,
    ask::{self, Asked},
};
use crate::{
    cli::KeystorePasswordArgs,
    config::rln::{Credentials, Group},
};

/// Longest password read, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4_096;
/// Stands for standard input where a file is named.
pub(super) const STANDARD_INPUT: &str = "-";

/// Why there is no membership.
#[derive(Debug, thiserror::Error)]
pub enum KeystoresError {
    /// The file of the password.
    #[error("--rln-cred-password-file {0}: {1}")]
    Password(PathBuf, io::Error),
    /// Nobody can be asked.
    #[error("the terminal can't be asked for a password: {0}")]
    Terminal(io::Error),
    /// Nothing but the end of a line.
    #[error("no password was typed")]
    Nothing,
    /// One of the two is a slip.
    #[error("the two passwords differ: nothing was done")]
    Differ,
    /// The file of a keystore.
    #[error(transparent)]
    File(#[from] FileError),
    /// A credential.
    #[error("--rln-relay-cred-path {0}: {1}")]
    Credential(PathBuf, KeystoreError),
    /// What is in it is no member yet.
    #[error(
        "{0} has an identity that is not registered yet, or of whose registration nobody has heard: `causeway rln register` or `causeway rln status` with the keystore beside it, --rln-relay-cred-path={1}, asks the contract and finishes it"
    )]
    Unregistered(PathBuf, PathBuf),
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
    /// Ids that it has not.
    #[error("--rln-message-ids {}-{}: the membership of {} has {}, which count from 0", .1.first, .1.last, .0.display(), .1.limit)]
    Range(PathBuf, NoRange),
    /// Zero.
    #[error("--rln-relay-cred-path {0}: nobody has this commitment")]
    Commitment(PathBuf),
    /// Another program has it.
    #[error(
        "--rln-relay-cred-path {0}: another program makes proofs with it, and two that share a membership would reveal its secret: stop that one, or give each a membership of its own, by its keystore or by --rln-relay-membership-index, or ids of its own by --rln-message-ids"
    )]
    InUse(PathBuf),
    /// The program ends.
    #[error("the work was broken off")]
    Ended,
}

/// The password of the flags; of standard input where there is none.
pub(super) fn password(args: &KeystorePasswordArgs) -> Result<Password, KeystoresError> {
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
        if bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "standard input ends without a password: give a line",
            ));
        }
    } else {
        File::open(path)?.take(MAX_PASSWORD_BYTES).read_to_end(&mut bytes)?;
    }
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

/// Ends the name of the file beside a keystore that has what is not registered yet.
const DRAFTS: &str = "unregistered.json";

/// Where identities are kept that are on their way into this keystore.
pub(crate) fn drafts_beside(keystore: &Path) -> PathBuf {
    keystore.with_extension(DRAFTS)
}

/// A keystore of members. Of one that is not there, or has none, it is told where those are that are not registered yet.
fn load(path: &Path) -> Result<Keystore, KeystoresError> {
    let drafts = drafts_beside(path);
    match file::load(path, &Application::default()) {
        Err(FileError::Keystore(path, KeystoreError::Other { found, .. })) if *found == Application::unregistered() => {
            let beside = path.with_extension("").with_extension("json");
            Err(KeystoresError::Unregistered(path, beside))
        }
        Err(FileError::Unreadable(path, error)) if error.kind() == io::ErrorKind::NotFound && drafts.exists() => {
            Err(KeystoresError::Unregistered(drafts, path))
        }
        loaded => Ok(loaded?),
    }
}

/// All credentials of a file, opened at the same time. Cancelling lets the work go on unseen.
pub(crate) async fn open(path: &Path, password: &Password) -> Result<Vec<Credential>, KeystoresError> {
    let keystore = load(path)?;
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

/// Keystores that no other program makes proofs with, for as long as this lives.
#[derive(Debug, Default)]
pub(super) struct Held(#[expect(dead_code, reason = "it is held")] Vec<File>);

/// Keeps other programs off a keystore; who wants a part of it alone, only those that want all. Where files can't be locked nobody is
/// kept off. A copy of a keystore is another one.
fn held(path: &Path, is_part: bool) -> Result<Option<File>, KeystoresError> {
    let locked = File::open(path)
        .map_err(TryLockError::Error)
        .and_then(|file| if is_part { file.try_lock_shared() } else { file.try_lock() }.map(|()| file));
    match locked {
        Ok(file) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(KeystoresError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, keystore = %path.display(), "the keystore can't be locked: see that no other program makes proofs with it");
            Ok(None)
        }
    }
}

/// Our members: all of the group that the keystores have, or the one of the index; and what keeps others off them. Which index a
/// member has in a group that is a file, the file says.
pub(super) async fn members(credentials: Credentials, group: &Group) -> Result<(Vec<Mine>, Held), KeystoresError> {
    let Credentials { files, password: asked, index, limit, ids } = credentials;
    let password =
        spawn_blocking(move || ask::asked(&asked, Asked::Once)).await.map_err(|_| KeystoresError::Ended)??;
    let mut opening = JoinSet::new();
    for path in files {
        warn_of_drafts(&path);
        let password = password.clone();
        opening.spawn(async move { open(&path, &password).await.map(|opened| (path, opened)) });
    }
    let (mut mine, mut locks) = (Vec::new(), Vec::new());
    while let Some(opened) = opening.join_next().await {
        let (path, opened) = opened.map_err(|_| KeystoresError::Ended)??;
        locks.extend(held(&path, index.is_some() || ids.is_some())?);
        for credential in opened.into_iter().filter(|one| is_wanted(one, group, index)) {
            let limit = credential.limit.or(limit).ok_or_else(|| KeystoresError::NoLimit(path.clone()))?;
            let messages = limit.get().into();
            let range = ids.map_or_else(|| Range::all(messages), |ids| Range::new(ids.first, ids.last, messages));
            let commitment = Commitment::new(*credential.identity.commitment());
            mine.push(Mine {
                commitment: commitment.ok_or_else(|| KeystoresError::Commitment(path.clone()))?,
                index: credential.membership.index,
                range: range.map_err(|error| KeystoresError::Range(path.clone(), error))?,
                member: Member { identity: credential.identity.into(), limit },
            });
        }
    }
    // In one order after each start, whichever was opened first.
    mine.sort_by_key(|mine| (mine.index, mine.commitment));
    if mine.is_empty() { Err(KeystoresError::NoMembership(index)) } else { Ok((mine, Held(locks))) }
}

/// What is paid for and unused is to be known.
fn warn_of_drafts(keystore: &Path) {
    let drafts = drafts_beside(keystore);
    if keystore.exists() && drafts.exists() {
        let drafts = drafts.display();
        tracing::warn!(%drafts, "an identity is not registered yet, or nobody has heard of it: `causeway rln status` asks the contract and finishes it");
    }
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
    async fn what_is_not_registered_is_no_member_and_it_is_said_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystore.json");
        let error = |path: PathBuf| async move { open(&path, &Password::new("word")).await.unwrap_err().to_string() };
        assert!(!error(path.clone()).await.contains("rln register"), "nothing is there at all");
        let mut drafts = Keystore::new(Application::unregistered());
        let (draft, mut rng) = (credential(&Contract::TWN.address.to_string(), 0), StdRng::seed_from_u64(1));
        drafts.add(&draft, &Password::new("word"), Kdf::Pbkdf2 { rounds: 1 }, &mut rng).unwrap();
        file::save(&drafts_beside(&path), &drafts).unwrap();
        for asked in [path.clone(), drafts_beside(&path)] {
            let said = error(asked).await;
            let flag = format!("--rln-relay-cred-path={}", path.display());
            assert!(said.contains("`causeway rln register`") && said.contains(&flag), "{said}");
        }
    }

    /// Two that share a membership would send two messages under one id.
    #[tokio::test]
    async fn a_keystore_is_one_programs_unless_each_has_an_index_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (file, secret) = (directory.path().join("keystore.json"), directory.path().join("password"));
        std::fs::write(&secret, "sup3rsecure").unwrap();
        let (mut keystore, mut rng) = (Keystore::default(), StdRng::seed_from_u64(1));
        for index in [3, 7] {
            let one = credential(&Contract::TWN.address.to_string(), index);
            keystore.add(&one, &Password::new("sup3rsecure"), Kdf::Pbkdf2 { rounds: 1 }, &mut rng).unwrap();
        }
        file::save(&file, &keystore).unwrap();
        let found = |index| {
            let password = KeystorePasswordArgs { rln_cred_password_file: Some(secret.clone()), ..Default::default() };
            let asked = Credentials { files: vec![file.clone()], password, index, limit: None, ids: None };
            let group = Group::Chain(Chain { contract: Contract::TWN, providers: Vec::new() });
            async move { members(asked, &group).await }
        };
        let in_use = |found: Result<_, KeystoresError>| matches!(found, Err(KeystoresError::InUse(_)));
        let all = found(None).await.unwrap();
        assert!(in_use(found(None).await) && in_use(found(Some(3)).await));
        drop(all);
        let (third, seventh) = (found(Some(3)).await.unwrap(), found(Some(7)).await.unwrap());
        assert!(in_use(found(None).await));
        assert!(open(&file, &Password::new("sup3rsecure")).await.is_ok(), "who only looks is not kept off");
        drop((third, seventh));
        assert!(found(None).await.is_ok());
    }

    #[tokio::test]
    async fn some_of_the_ids_of_each_or_all() {
        let directory = tempfile::tempdir().unwrap();
        let (file, secret) = (directory.path().join("keystore.json"), directory.path().join("password"));
        std::fs::write(&secret, "sup3rsecure").unwrap();
        let (mut keystore, mut rng) = (Keystore::default(), StdRng::seed_from_u64(1));
        let one = Credential { limit: Limit::new(100), ..credential(&Contract::TWN.address.to_string(), 3) };
        keystore.add(&one, &Password::new("sup3rsecure"), Kdf::Pbkdf2 { rounds: 1 }, &mut rng).unwrap();
        file::save(&file, &keystore).unwrap();
        let found = |ids: Option<&str>| {
            let password = KeystorePasswordArgs { rln_cred_password_file: Some(secret.clone()), ..Default::default() };
            let ids = ids.map(|ids| ids.parse().unwrap());
            let asked = Credentials { files: vec![file.clone()], password, index: None, limit: None, ids };
            let group = Group::Chain(Chain { contract: Contract::TWN, providers: Vec::new() });
            async move { members(asked, &group).await.map(|(mine, held)| (mine[0].range, held)) }
        };
        let (all, alone) = found(None).await.unwrap();
        assert_eq!(all, Range::all(100).unwrap());
        assert!(matches!(found(Some("0-49")).await, Err(KeystoresError::InUse(_))));
        drop(alone);
        let (half, _beside) = found(Some("0-49")).await.unwrap();
        let (other, _held) = found(Some("50-99")).await.unwrap();
        assert_eq!((half, other), (Range::new(0, 49, 100).unwrap(), Range::new(50, 99, 100).unwrap()));
        let beyond = found(Some("50-100")).await.unwrap_err().to_string();
        assert!(beyond.contains("--rln-message-ids 50-100") && beyond.contains("has 100"), "{beyond}");
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
            let asked = Credentials { files: vec![file.clone()], password, index, limit: None, ids: None };
            let group = group.clone();
            async move { members(asked, &group).await }
        };
        let found = |index| {
            let found = found(index);
            async move { found.await.map(|(mine, _)| mine.iter().map(|mine| mine.index).collect::<Vec<_>>()) }
        };
        assert_eq!(found(None).await.unwrap(), [3, 7]);
        assert_eq!(found(Some(7)).await.unwrap(), [7]);
        let error = found(Some(1)).await.unwrap_err().to_string();
        assert!(error.contains("with index 1"), "{error}");
        std::fs::write(&secret, "another").unwrap();
        assert!(found(None).await.unwrap_err().to_string().contains("the password is wrong"));
    }
}
