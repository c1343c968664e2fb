//! Memberships under a password: the keystore of nwaku and js-waku, in JSON.
//!
//! ```text
//! { application, appIdentifier, version, credentials: { MEMBERSHIP HASH: { crypto: { cipher, kdf, ciphertext, mac, .. } } } }
//! ```
//! A membership hash names a contract and an index in its tree, in letters that each implementation spells in its own way; so the only
//! credential of a file is taken whatever its name, as deployed nodes do. What is encrypted is in [`plain`], how in [`sealed`].
//!
//! Limits: [`MAX_FILE_BYTES`], [`MAX_CREDENTIALS`], and those of [`sealed`] on what a file may ask of memory and time.
//! Spec: WAKU-RLN-KEYSTORE; deployed: nwaku.

pub mod file;
pub mod password;
pub mod plain;
pub mod sealed;

use std::{collections::BTreeMap, fmt};

use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::identity::{Identity, Limit};
use password::Password;
use plain::PlainError;
use sealed::{Kdf, SealError, Sealed};

/// Longest file read, in bytes: over a hundred credentials.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Credentials of a file.
pub const MAX_CREDENTIALS: usize = 128;

/// For whom a keystore is: all three are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Its name.
    pub application: String,
    /// And which of that name.
    pub app_identifier: String,
    /// Of the file's form.
    pub version: String,
}

impl Default for Application {
    /// That of nwaku and js-waku.
    fn default() -> Self {
        Self {
            application: "waku-rln-relay".to_owned(),
            app_identifier: "01234567890abcdef".to_owned(),
            version: "0.2".to_owned(),
        }
    }
}

impl Application {
    /// That of identities that are not registered yet, each at index 0 of its contract: no other application takes them for members.
    #[must_use]
    pub fn unregistered() -> Self {
        Self { app_identifier: "unregistered".to_owned(), ..Self::default() }
    }
}

/// Where a membership is registered. Texts stay as they are spelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The chain's number, in decimal or in hex.
    pub chain_id: String,
    /// The contract's address.
    pub address: String,
    /// The place in its tree.
    pub index: u32,
}

impl Membership {
    /// The name of a credential: SHA-256 of the three texts, in capitals.
    #[must_use]
    pub fn hash(&self) -> String {
        name(&self.chain_id, &self.address, self.index)
    }

    /// The names that it may have with those who spell the chain in another way: in decimal, or in hex of either case.
    fn names(&self) -> impl Iterator<Item = String> {
        let lower = self.chain_id.to_ascii_lowercase();
        let number = match lower.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => lower.parse().ok(),
        };
        let spelled = number.map(|number: u64| [number.to_string(), format!("{number:#x}"), format!("0x{number:X}")]);
        let chains = [self.chain_id.clone()].into_iter().chain(spelled.into_iter().flatten());
        let addresses = [self.address.clone(), self.address.to_ascii_lowercase()];
        chains.flat_map(move |chain| addresses.clone().map(|address| name(&chain, &address, self.index)))
    }
}

fn name(chain_id: &str, address: &str, index: u32) -> String {
    hex::encode_upper(Sha256::digest(format!("{chain_id}{address}{index}")))
}

/// A membership with its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it is registered.
    pub membership: Membership,
    /// Whose it is.
    pub identity: Identity,
    /// Messages in an epoch. Files from before RLN v2 don't say; the contract knows.
    pub limit: Option<Limit>,
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// More than [`MAX_FILE_BYTES`].
    #[error("a keystore has {MAX_FILE_BYTES} bytes at most")]
    TooLarge,
    /// No JSON, or not of this form.
    #[error("it is no keystore: {0}")]
    Malformed(serde_json::Error),
    /// Somebody else's, or of another version.
    #[error("the keystore is for {}, not for {}", Described(found), Described(expected))]
    Other {
        /// What it says.
        found: Box<Application>,
        /// What it should.
        expected: Box<Application>,
    },
    /// More than [`MAX_CREDENTIALS`].
    #[error("a keystore has {MAX_CREDENTIALS} credentials at most")]
    Full,
    /// None at all.
    #[error("no credential is in the keystore")]
    Empty,
    /// Several, and not told which.
    #[error("{0} credentials are in the keystore: say of which contract and index")]
    Ambiguous(usize),
    /// Several, and not that one.
    #[error("no credential of this contract and index is in the keystore")]
    Unknown,
    /// It is there already, and is not replaced.
    #[error("a credential of this contract and index is in the keystore already")]
    Present,
    /// It can't be opened or sealed.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// It opens, and is none.
    #[error(transparent)]
    Plain(#[from] PlainError),
}

struct Described<'a>(&'a Application);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Application { application, app_identifier, version } = self.0;
        write!(f, "{application:?} {app_identifier:?} {version:?}")
    }
}

/// Credentials, each under a password of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keystore {
    #[serde(flatten)]
    application: Application,
    credentials: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    crypto: Sealed,
}

impl Keystore {
    /// An empty one.
    #[must_use]
    pub const fn new(application: Application) -> Self {
        Self { application, credentials: BTreeMap::new() }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`KeystoreError`] says what is wrong with it.
    pub fn read(json: &[u8], expected: &Application) -> Result<Self, KeystoreError> {
        if json.len() > MAX_FILE_BYTES {
            return Err(KeystoreError::TooLarge);
        }
        let read: Self = serde_json::from_slice(json).map_err(KeystoreError::Malformed)?;
        if read.application != *expected {
            let found = Box::new(read.application);
            return Err(KeystoreError::Other { found, expected: Box::new(expected.clone()) });
        }
        if read.credentials.len() > MAX_CREDENTIALS {
            return Err(KeystoreError::Full);
        }
        Ok(read)
    }

    /// In one line, as nwaku reads it.
    ///
    /// # Panics
    /// Never: all keys are texts.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// The names of what is in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.credentials.keys().map(String::as_str)
    }

    /// The name of this membership's credential, however its chain is spelled.
    #[must_use]
    pub fn name_of(&self, membership: &Membership) -> Option<&str> {
        membership.names().find_map(|name| self.credentials.get_key_value(&name)).map(|(name, _)| name.as_str())
    }

    /// Takes out what has that name. Returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.credentials.remove(name).is_some()
    }

    /// The only credential, whatever its name; of several, that of `membership`. Takes a second, as the file says: not for a task
    /// that has to answer meanwhile.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn open(&self, membership: Option<&Membership>, password: &Password) -> Result<Credential, KeystoreError> {
        let plain = self.sealed(membership)?.open(password)?;
        Ok(plain::decode(&plain)?)
    }

    /// The credential of that name. Takes as long as [`Keystore::open`].
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn open_named(&self, name: &str, password: &Password) -> Result<Credential, KeystoreError> {
        let entry = self.credentials.get(name).ok_or(KeystoreError::Unknown)?;
        Ok(plain::decode(&entry.crypto.open(password)?)?)
    }

    /// Adds one under its name, sealed by `kdf`. Takes as long as opening.
    ///
    /// # Errors
    /// [`KeystoreError::Full`], [`KeystoreError::Present`]; [`KeystoreError::Sealed`] for bounds of `kdf`.
    pub fn add(
        &mut self,
        credential: &Credential,
        password: &Password,
        kdf: Kdf,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeystoreError> {
        if self.credentials.len() >= MAX_CREDENTIALS {
            return Err(KeystoreError::Full);
        }
        if self.name_of(&credential.membership).is_some() {
            return Err(KeystoreError::Present);
        }
        let crypto = Sealed::seal(&plain::encode(credential), password, kdf, rng)?;
        self.credentials.insert(credential.membership.hash(), Entry { crypto });
        Ok(())
    }

    fn sealed(&self, membership: Option<&Membership>) -> Result<&Sealed, KeystoreError> {
        let entry = match (self.credentials.len(), membership) {
            (0, _) => return Err(KeystoreError::Empty),
            (1, _) => self.credentials.values().next(),
            (several, None) => return Err(KeystoreError::Ambiguous(several)),
            (_, Some(membership)) => self.name_of(membership).and_then(|name| self.credentials.get(name)),
        };
        entry.map(|entry| &entry.crypto).ok_or(KeystoreError::Unknown)
    }
}

#[cfg(test)]
mod tests;
