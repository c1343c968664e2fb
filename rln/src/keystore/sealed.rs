//! How a credential is encrypted: AES-128 in counter mode, under a key derived from the password.
//!
//! ```text
//! derived = kdf(password, salt) (32)      key = derived[..16]      mac = Keccak-256(derived[16..] | ciphertext)
//! ```
//! The document points to EIP-2335, whose checksum is SHA-256; deployed nodes take Keccak-256, as Ethereum's older key files do.
//! A file says how much memory and time its derivation takes, within [`MAX_ROUNDS`], [`MAX_SCRYPT_BYTES`] and [`MAX_SCRYPT_STEPS`].
//! Spec: WAKU-RLN-KEYSTORE, EIP-2335; deployed: nwaku.

use aes::Aes128;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sha3::{Digest as _, Keccak256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::password::Password;

/// Most rounds of PBKDF2: ten times what deployed nodes write, some ten seconds.
pub const MAX_ROUNDS: u32 = 10_000_000;

/// Most memory for scrypt, 128·r·(n + p) bytes: what Ethereum's key files take, 256 MiB and a little.
pub const MAX_SCRYPT_BYTES: u64 = 257 << 20;

/// Most steps of scrypt, n·r·p: four times what deployed nodes write, some ten seconds.
pub const MAX_SCRYPT_STEPS: u64 = 1 << 23;

/// Bytes of salt and of the initial counter.
const SALT_BYTES: usize = 16;

/// Longest salt read, in bytes.
const MAX_SALT_BYTES: usize = 64;

/// Bytes derived, whatever more a file asks for: a longer derivation begins with the same.
const DERIVED_BYTES: usize = 32;

/// Most that deployed nodes let a file ask for.
const MAX_DERIVED_BYTES: u64 = 128;

const CIPHER: &str = "aes-128-ctr";
const PRF: &str = "hmac-sha256";

/// Why a credential can't be opened or sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Another cipher or function than are known.
    #[error("the credential is encrypted in a way that is not known here")]
    Unsupported,
    /// A text that should be hex, of a certain length.
    #[error("the {0} of the credential is not the hex that it should be")]
    Hex(&'static str),
    /// Too costly, or none at all.
    #[error("the key derivation of the credential is out of bounds")]
    Bounds,
    /// It can't be told which.
    #[error("the password is wrong, or the credential was altered")]
    Password,
}

/// How a key is made of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    /// PBKDF2 of HMAC-SHA256.
    Pbkdf2 {
        /// How often.
        rounds: u32,
    },
    /// scrypt.
    Scrypt {
        /// The binary logarithm of n.
        log_n: u8,
        /// Block size.
        r: u32,
        /// Parallelisation.
        p: u32,
    },
}

impl Default for Kdf {
    /// As nwaku and js-waku write.
    fn default() -> Self {
        Self::Pbkdf2 { rounds: 1_000_000 }
    }
}

impl Kdf {
    fn derive(self, password: &[u8], salt: &[u8]) -> Result<Derived, SealError> {
        let mut derived = Derived::new([0; DERIVED_BYTES]);
        match self {
            Self::Pbkdf2 { rounds } if (1..=MAX_ROUNDS).contains(&rounds) => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, derived.as_mut());
            }
            Self::Pbkdf2 { .. } => return Err(SealError::Bounds),
            Self::Scrypt { log_n, r, p } => {
                let params = scrypt_params(log_n, r, p).ok_or(SealError::Bounds)?;
                scrypt::scrypt(password, salt, &params, derived.as_mut()).map_err(|_| SealError::Bounds)?;
            }
        }
        Ok(derived)
    }
}

fn scrypt_params(log_n: u8, r: u32, p: u32) -> Option<scrypt::Params> {
    let blocks = 1_u64.checked_shl(log_n.into())?.checked_mul(r.into())?;
    let kept = u64::from(r).checked_mul(p.into())?.checked_add(blocks)?;
    let fits = kept.checked_mul(128)? <= MAX_SCRYPT_BYTES && blocks.checked_mul(p.into())? <= MAX_SCRYPT_STEPS;
    if fits { scrypt::Params::new(log_n, r, p).ok() } else { None }
}

type Derived = Zeroizing<[u8; DERIVED_BYTES]>;

/// What a file has of a credential. The texts are looked at when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: KdfParams,
    mac: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

/// Of whichever function is named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct KdfParams {
    dklen: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prf: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u64>,
    salt: String,
}

impl Sealed {
    /// With the password as it is; if that is wrong, as browsers take it.
    pub(super) fn open(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let opened = self.open_with(password.raw());
        match (opened, password.normalised()) {
            (Err(SealError::Password), Some(normalised)) => self.open_with(&normalised),
            (opened, _) => opened,
        }
    }

    fn open_with(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if !self.cipher.eq_ignore_ascii_case(CIPHER) {
            return Err(SealError::Unsupported);
        }
        let salt = hex::decode(&self.kdfparams.salt).map_err(|_| SealError::Hex("salt"))?;
        if salt.is_empty() || salt.len() > MAX_SALT_BYTES {
            return Err(SealError::Hex("salt"));
        }
        let counter = array(&self.cipherparams.iv, "initial counter")?;
        let expected: [u8; 32] = array(&self.mac, "checksum")?;
        let mut text = Zeroizing::new(hex::decode(&self.ciphertext).map_err(|_| SealError::Hex("ciphertext"))?);
        let derived = self.kdf()?.derive(password, &salt)?;
        if !bool::from(mac(&derived, &text).ct_eq(&expected)) {
            return Err(SealError::Password);
        }
        crypt(&derived, &counter, &mut text);
        Ok(text)
    }

    pub(super) fn seal(
        plain: &[u8],
        password: &Password,
        kdf: Kdf,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SealError> {
        let (mut salt, mut counter) = ([0; SALT_BYTES], [0; SALT_BYTES]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut counter);
        let derived = kdf.derive(password.raw(), &salt)?;
        let mut text = Zeroizing::new(plain.to_vec());
        crypt(&derived, &counter, &mut text);
        let (name, kdfparams) = KdfParams::of(kdf, &salt);
        Ok(Self {
            cipher: CIPHER.to_owned(),
            cipherparams: CipherParams { iv: hex::encode(counter) },
            ciphertext: hex::encode(&*text),
            kdf: name.to_owned(),
            kdfparams,
            mac: hex::encode(mac(&derived, &text)),
        })
    }

    fn kdf(&self) -> Result<Kdf, SealError> {
        let KdfParams { dklen, c, prf, n, r, p, .. } = &self.kdfparams;
        if !(DERIVED_BYTES as u64..=MAX_DERIVED_BYTES).contains(dklen) {
            return Err(SealError::Bounds);
        }
        let number = |given: &Option<u64>| given.and_then(|number| u32::try_from(number).ok()).ok_or(SealError::Bounds);
        match self.kdf.as_str() {
            "pbkdf2" if prf.as_ref().is_some_and(|prf| prf.eq_ignore_ascii_case(PRF)) => {
                Ok(Kdf::Pbkdf2 { rounds: number(c)? })
            }
            "scrypt" => {
                let n = n.filter(|n| n.is_power_of_two()).ok_or(SealError::Bounds)?;
                Ok(Kdf::Scrypt { log_n: n.trailing_zeros() as u8, r: number(r)?, p: number(p)? })
            }
            _ => Err(SealError::Unsupported),
        }
    }
}

impl KdfParams {
    fn of(kdf: Kdf, salt: &[u8]) -> (&'static str, Self) {
        let params = Self { dklen: DERIVED_BYTES as u64, salt: hex::encode(salt), ..Self::default() };
        match kdf {
            Kdf::Pbkdf2 { rounds } => ("pbkdf2", Self { c: Some(rounds.into()), prf: Some(PRF.to_owned()), ..params }),
            Kdf::Scrypt { log_n, r, p } => {
                ("scrypt", Self { n: 1_u64.checked_shl(log_n.into()), r: Some(r.into()), p: Some(p.into()), ..params })
            }
        }
    }
}

fn array<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| SealError::Hex(what))?;
    Ok(bytes)
}

fn mac(derived: &Derived, ciphertext: &[u8]) -> [u8; 32] {
    Keccak256::new().chain_update(&derived[DERIVED_BYTES / 2..]).chain_update(ciphertext).finalize().into()
}

fn crypt(derived: &Derived, counter: &[u8; SALT_BYTES], text: &mut [u8]) {
    let mut key = Zeroizing::new([0; DERIVED_BYTES / 2]);
    key.copy_from_slice(&derived[..DERIVED_BYTES / 2]);
    Ctr128BE::<Aes128>::new((&*key).into(), counter.into()).apply_keystream(text);
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    const QUICK: [Kdf; 2] = [Kdf::Pbkdf2 { rounds: 2 }, Kdf::Scrypt { log_n: 4, r: 1, p: 8 }];

    fn sealed(kdf: Kdf) -> Sealed {
        Sealed::seal(b"plain", &Password::new("word"), kdf, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    fn opened(sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        sealed.open(&Password::new("word")).map(|plain| plain.to_vec())
    }

    #[test]
    fn what_is_sealed_opens_with_its_password_alone() {
        for kdf in QUICK {
            let sealed = sealed(kdf);
            assert!(!sealed.ciphertext.contains(&hex::encode("plain")));
            assert_eq!(opened(&sealed), Ok(b"plain".to_vec()));
            assert_eq!(sealed.open(&Password::new("other")), Err(SealError::Password));
            let json = serde_json::to_string(&sealed).unwrap();
            assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed, "{json}");
        }
    }

    #[test]
    fn a_browsers_password_opens_and_the_bytes_come_first() {
        let mut rng = StdRng::seed_from_u64(1);
        let seal =
            |password: &str, rng: &mut _| Sealed::seal(b"plain", &Password::new(password), QUICK[0], rng).unwrap();
        let (normalised, raw) = (seal("word", &mut rng), seal("𝔴ord", &mut rng));
        for sealed in [normalised, raw.clone()] {
            assert!(sealed.open(&Password::new("𝔴ord")).is_ok());
        }
        assert_eq!(opened(&raw), Err(SealError::Password));
    }

    #[test]
    fn whatever_is_altered_is_refused() {
        let mut other = sealed(QUICK[0]);
        other.ciphertext.replace_range(0..2, "00");
        assert_eq!(opened(&other), Err(SealError::Password));
        type Alter = fn(&mut Sealed);
        let cases: [(SealError, Alter); 9] = [
            (SealError::Unsupported, |sealed| sealed.cipher = "aes-256-ctr".into()),
            (SealError::Unsupported, |sealed| sealed.kdf = "argon2".into()),
            (SealError::Unsupported, |sealed| sealed.kdfparams.prf = Some("hmac-sha512".into())),
            (SealError::Unsupported, |sealed| sealed.kdfparams.prf = None),
            (SealError::Hex("salt"), |sealed| sealed.kdfparams.salt.clear()),
            (SealError::Hex("salt"), |sealed| sealed.kdfparams.salt = "00".repeat(MAX_SALT_BYTES + 1)),
            (SealError::Hex("initial counter"), |sealed| sealed.cipherparams.iv.truncate(30)),
            (SealError::Hex("checksum"), |sealed| sealed.mac.push('0')),
            (SealError::Hex("ciphertext"), |sealed| sealed.ciphertext.push('x')),
        ];
        for (error, alter) in cases {
            let mut sealed = sealed(QUICK[0]);
            alter(&mut sealed);
            assert_eq!(opened(&sealed), Err(error));
        }
    }

    #[test]
    fn what_costs_too_much_is_not_begun() {
        let cases: [fn(&mut KdfParams); 10] = [
            |params| params.dklen = 31,
            |params| params.dklen = 129,
            |params| params.c = Some(0),
            |params| params.c = Some(u64::from(MAX_ROUNDS) + 1),
            |params| params.c = Some(1 << 32),
            |params| params.c = None,
            |params| params.n = Some(15),
            |params| params.n = Some(1 << 63),
            |params| params.r = Some(1 << 21),
            |params| params.p = Some(1 << 20),
        ];
        for (case, alter) in cases.into_iter().enumerate() {
            let mut sealed = sealed(QUICK[usize::from(case > 5)]);
            alter(&mut sealed.kdfparams);
            assert_eq!(opened(&sealed), Err(SealError::Bounds), "{case}");
        }
        let rng = &mut StdRng::seed_from_u64(1);
        for kdf in
            [Kdf::Pbkdf2 { rounds: 0 }, Kdf::Scrypt { log_n: 64, r: 1, p: 1 }, Kdf::Scrypt { log_n: 4, r: 0, p: 1 }]
        {
            assert_eq!(Sealed::seal(b"", &Password::new(""), kdf, rng), Err(SealError::Bounds));
        }
    }

    /// What nwaku and Ethereum's tools write is within the bounds.
    #[test]
    fn deployed_costs_are_within_bounds() {
        for (n, r, p) in [(262_144_u64, 1, 8), (262_144, 8, 1)] {
            assert!(scrypt_params(n.trailing_zeros() as u8, r, p).is_some());
        }
    }
}
