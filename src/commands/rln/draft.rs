//! Identities on their way to be members: in a file of their own beside the keystore, until the contract has told their index.
//!
//! `keystore.json` has `keystore.unregistered.json`, sealed under the same password, and a lock ([`super::lock`]) while somebody
//! works on it. It is of another application, so that nobody takes what is in it, which is at index 0, for a member. A draft is on
//! disk before anything is paid, and leaves the file after its member is on disk in the keystore: after a crash at any time it is
//! in one of the two, or in both. Limit: one draft for each contract. All here blocks: on the disk, and to derive keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use membership::contract::Contract;
use waku_rln::{
    Identity, Limit,
    keystore::{
        Application, Credential, Keystore, KeystoreError, Membership,
        file::{FileError, load, save},
        password::Password,
        sealed::Kdf,
    },
};

use super::lock::{Lock, NoLock};
use crate::{keys::system_rng, rln::keystore::drafts_beside};

/// Why an identity can't be kept, or not be moved.
#[derive(Debug, thiserror::Error)]
pub(super) enum DraftError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lock.
    #[error("{0}: {1}")]
    Lock(PathBuf, io::Error),
    /// Another program has it.
    #[error("{0} is in use: another `causeway rln` works on this keystore")]
    InUse(PathBuf),
    /// It can't be opened with this password, or has no room.
    #[error("{0}: {1}")]
    Keystore(PathBuf, KeystoreError),
    /// Its place is taken.
    #[error(
        "{0} has another membership with index {1}, which the contract has given away since: move that file away, and run this again. The new one is kept in {2}"
    )]
    Taken(PathBuf, u32, PathBuf),
}

/// The drafts beside a keystore.
#[derive(Debug)]
pub(super) struct Drafts {
    keystore: PathBuf,
    file: PathBuf,
    kdf: Kdf,
}

/// The same, with nobody else working on them.
#[derive(Debug)]
pub(super) struct Locked {
    drafts: Drafts,
    _lock: Lock,
}

impl Drafts {
    /// Those beside `keystore`. What is written is sealed by `kdf`.
    pub(super) fn beside(keystore: &Path, kdf: Kdf) -> Self {
        Self { keystore: keystore.to_owned(), file: drafts_beside(keystore), kdf }
    }

    /// Where they are.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Is there one for this contract? Its password is not needed to tell.
    pub(super) fn has(&self, contract: &Contract) -> Result<bool, DraftError> {
        Ok(self.read()?.name_of(&at(contract, 0)).is_some())
    }

    /// Keeps others off.
    pub(super) fn lock(self) -> Result<Locked, DraftError> {
        let path = self.file.with_extension("lock");
        let lock = Lock::take(path.clone()).map_err(|error| match error {
            NoLock::InUse => DraftError::InUse(path),
            NoLock::Io(error) => DraftError::Lock(path, error),
        })?;
        Ok(Locked { drafts: self, _lock: lock })
    }

    fn read(&self) -> Result<Keystore, DraftError> {
        read(&self.file, Application::unregistered())
    }
}

impl Locked {
    /// Where they are.
    pub(super) fn file(&self) -> &Path {
        &self.drafts.file
    }

    /// The draft for this contract, if there is one.
    pub(super) fn draft(&self, contract: &Contract, password: &Password) -> Result<Option<Credential>, DraftError> {
        let Drafts { file, .. } = &self.drafts;
        let keystore = self.drafts.read()?;
        let name = keystore.name_of(&at(contract, 0));
        let opened = name.map(|name| keystore.open_named(name, password));
        opened.transpose().map_err(|error| DraftError::Keystore(file.clone(), error))
    }

    /// Writes this identity down as the draft for this contract, in the place of the one that there is. When it returns, it is on disk.
    pub(super) fn write(
        &self,
        contract: &Contract,
        identity: Identity,
        limit: Limit,
        password: &Password,
    ) -> Result<(), DraftError> {
        let Drafts { file, kdf, .. } = &self.drafts;
        let mut keystore = self.drafts.read()?;
        let draft = Credential { membership: at(contract, 0), identity, limit: Some(limit) };
        if let Some(name) = keystore.name_of(&draft.membership).map(str::to_owned) {
            keystore.remove(&name);
        }
        add(&mut keystore, &draft, password, *kdf).map_err(|error| DraftError::Keystore(file.clone(), error))?;
        Ok(save(file, &keystore)?)
    }

    /// Has the keystore room, and this password? To be asked before anything is paid.
    pub(super) fn check(&self, password: &Password) -> Result<(), DraftError> {
        check(&self.drafts.keystore, password)
    }

    /// Moves the identity of a draft into the keystore, as a member at its index. Done again, it changes nothing.
    pub(super) fn finish(
        &self,
        contract: &Contract,
        member: &Credential,
        password: &Password,
    ) -> Result<(), DraftError> {
        let Drafts { keystore: path, file, kdf } = &self.drafts;
        let mut keystore = read(path, Application::default())?;
        let failed = |error| DraftError::Keystore(path.clone(), error);
        match keystore.name_of(&member.membership) {
            None => {
                add(&mut keystore, member, password, *kdf).map_err(failed)?;
                save(path, &keystore)?;
            }
            Some(name) => {
                let there = keystore.open_named(name, password).map_err(failed)?;
                if there.identity.commitment() != member.identity.commitment() {
                    return Err(DraftError::Taken(path.clone(), member.membership.index, file.clone()));
                }
            }
        }
        self.forget(contract)
    }

    fn forget(&self, contract: &Contract) -> Result<(), DraftError> {
        let Drafts { file, .. } = &self.drafts;
        let mut drafts = self.drafts.read()?;
        if let Some(name) = drafts.name_of(&at(contract, 0)).map(str::to_owned) {
            drafts.remove(&name);
        }
        if drafts.names().next().is_some() {
            return Ok(save(file, &drafts)?);
        }
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::Unwritable(file.clone(), error).into())
            }
            _ => Ok(()),
        }
    }
}

/// Has a keystore that is to be added to room, and does this password open what is in it? All in one keystore are under one
/// password: a node has one for it.
pub(super) fn check(path: &Path, password: &Password) -> Result<(), DraftError> {
    let keystore = read(path, Application::default())?;
    let failed = |error| DraftError::Keystore(path.to_owned(), error);
    if keystore.names().count() >= waku_rln::keystore::MAX_CREDENTIALS {
        return Err(failed(KeystoreError::Full));
    }
    let first = keystore.names().next().map(|name| keystore.open_named(name, password));
    first.transpose().map(|_| ()).map_err(failed)
}

/// A keystore, or an empty one where there is none.
fn read(path: &Path, application: Application) -> Result<Keystore, DraftError> {
    match load(path, &application) {
        Err(FileError::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Keystore::new(application))
        }
        read => Ok(read?),
    }
}

fn add(keystore: &mut Keystore, one: &Credential, password: &Password, kdf: Kdf) -> Result<(), KeystoreError> {
    keystore.add(one, password, kdf, &mut system_rng())
}

/// Where a membership of this contract is.
pub(super) fn at(contract: &Contract, index: u32) -> Membership {
    Membership { chain_id: contract.chain.to_string(), address: contract.address.to_string(), index }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Kdf = Kdf::Pbkdf2 { rounds: 1 };

    fn word() -> Password {
        Password::new("word")
    }

    fn limit(messages: u64) -> Limit {
        Limit::new(messages).unwrap()
    }

    fn member(seed: &[u8], index: u32) -> Credential {
        let identity = Identity::seeded(seed);
        Credential { membership: at(&Contract::TWN, index), identity, limit: Some(limit(20)) }
    }

    #[test]
    fn a_draft_is_there_until_its_member_is_and_no_keystore_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystore.json");
        let drafts = || Drafts::beside(&path, QUICK);
        let (live, text) = (Contract::TWN, Contract::TWN_SPEC);
        assert!(!drafts().has(&live).unwrap());
        let locked = drafts().lock().unwrap();
        assert!(matches!(drafts().lock(), Err(DraftError::InUse(_))));
        assert_eq!(locked.draft(&live, &word()).unwrap(), None);
        for (contract, seed) in [(&live, "live"), (&text, "text"), (&live, "another")] {
            locked.write(contract, Identity::seeded(seed.as_bytes()), limit(20), &word()).unwrap();
        }
        assert_eq!(locked.draft(&live, &word()).unwrap(), Some(member(b"another", 0)));
        assert!(locked.draft(&live, &Password::new("other")).unwrap_err().to_string().contains("password is wrong"));
        let drafts_file = directory.path().join("keystore.unregistered.json");
        assert!(matches!(load(&drafts_file, &Application::default()), Err(FileError::Keystore(..))));
        for _ in 0..2 {
            locked.finish(&live, &member(b"another", 4), &word()).unwrap();
            assert!(!drafts().has(&live).unwrap() && drafts().has(&text).unwrap());
            let keystore = load(&path, &Application::default()).unwrap();
            assert_eq!(keystore.open(None, &word()).unwrap(), member(b"another", 4));
        }
        locked.write(&live, Identity::seeded(b"third"), limit(20), &word()).unwrap();
        let taken = locked.finish(&live, &member(b"third", 4), &word()).unwrap_err();
        assert!(matches!(taken, DraftError::Taken(..)) && drafts().has(&live).unwrap(), "{taken}");
        locked.finish(&live, &member(b"third", 5), &word()).unwrap();
        let text_member = Credential { membership: at(&text, 0), ..member(b"text", 0) };
        locked.finish(&text, &text_member, &word()).unwrap();
        assert!(!drafts_file.exists());
        drop(locked);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the keystore alone stays");
        assert_eq!(load(&path, &Application::default()).unwrap().names().count(), 3);
    }

    #[test]
    fn another_password_or_a_full_keystore_is_seen_before_anything_is_paid() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystore.json");
        assert!(check(&path, &word()).is_ok(), "it will be made");
        let mut keystore = Keystore::default();
        for index in 0..waku_rln::keystore::MAX_CREDENTIALS as u32 {
            save(&path, &keystore).unwrap();
            add(&mut keystore, &member(b"one", index), &word(), QUICK).unwrap();
        }
        assert!(check(&path, &word()).is_ok());
        assert!(check(&path, &Password::new("other")).unwrap_err().to_string().contains("password is wrong"));
        save(&path, &keystore).unwrap();
        assert!(check(&path, &word()).unwrap_err().to_string().contains("at most"));
    }
}
