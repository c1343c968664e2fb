//! What is encrypted: a credential in JSON, its elements as lists of 32 bytes, little-endian.
//!
//! ```text
//! { membershipContract: { chainId, address }, treeIndex, userMessageLimit,
//!   identityCredential: { idTrapdoor, idNullifier, idSecretHash, idCommitment } }
//! ```
//! The halves of the secret are not needed to prove, and nwaku leaves them empty at times; the commitment must be that of the secret.
//! Spec: WAKU-RLN-KEYSTORE; deployed: nwaku.

use serde::{Deserialize, Serialize};
use waku2::rln::element::ELEMENT_BYTES;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Credential, Membership};
use crate::{
    identity::{Identity, Limit, Secret},
    tree::MAX_MEMBERS,
};

/// Bytes that none is longer than, so that it is written in one place and wiped from it.
const ROOM_BYTES: usize = 4096;

/// What was decrypted is no credential. It is not said in which words: they are secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlainError {
    /// No JSON, or not of this form.
    #[error("what was decrypted is no membership")]
    Malformed,
    /// Beyond the tree.
    #[error("the membership has an index that no tree has")]
    Index,
    /// None, or more than the circuit counts.
    #[error("the membership has a message limit that the circuit does not know")]
    Limit,
    /// Not below the modulus.
    #[error("a secret of the membership is no field element")]
    Secret,
    /// Not that of the secret.
    #[error("the membership's commitment is not that of its secret")]
    Commitment,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plain {
    membership_contract: Contract,
    tree_index: u64,
    identity_credential: Secrets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_message_limit: Option<Messages>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contract {
    chain_id: ChainId,
    address: String,
}

/// A text; older browsers wrote the number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ChainId {
    Text(String),
    Number(u64),
}

/// A number; browsers write it as a text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Messages {
    Number(u64),
    Text(String),
}

impl Messages {
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::Number(number) => Limit::new(*number),
            Self::Text(text) => Limit::new(text.parse().ok()?),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secrets {
    #[serde(default)]
    id_trapdoor: Vec<u8>,
    #[serde(default)]
    id_nullifier: Vec<u8>,
    id_secret_hash: Vec<u8>,
    id_commitment: [u8; ELEMENT_BYTES],
}

impl Drop for Secrets {
    fn drop(&mut self) {
        for secret in [&mut self.id_trapdoor, &mut self.id_nullifier, &mut self.id_secret_hash] {
            secret.zeroize();
        }
    }
}

pub(super) fn decode(json: &[u8]) -> Result<Credential, PlainError> {
    let plain: Plain = serde_json::from_slice(json).map_err(|_| PlainError::Malformed)?;
    let index = u32::try_from(plain.tree_index).ok().filter(|index| *index < MAX_MEMBERS).ok_or(PlainError::Index)?;
    let limit = plain.user_message_limit.map(|limit| limit.limit().ok_or(PlainError::Limit)).transpose()?;
    let secrets = &plain.identity_credential;
    let [trapdoor, nullifier] = [half(&secrets.id_trapdoor)?, half(&secrets.id_nullifier)?];
    let identity = Identity::kept(trapdoor, nullifier, secret(&secrets.id_secret_hash)?);
    if *identity.commitment().bytes() != secrets.id_commitment {
        return Err(PlainError::Commitment);
    }
    let chain_id = match plain.membership_contract.chain_id {
        ChainId::Text(text) => text,
        ChainId::Number(number) => number.to_string(),
    };
    let membership = Membership { chain_id, address: plain.membership_contract.address, index };
    Ok(Credential { membership, identity, limit })
}

/// An empty one is zero.
fn half(bytes: &[u8]) -> Result<Secret, PlainError> {
    if bytes.is_empty() { secret(&[0; ELEMENT_BYTES]) } else { secret(bytes) }
}

fn secret(bytes: &[u8]) -> Result<Secret, PlainError> {
    bytes.as_array().and_then(Secret::from_bytes).ok_or(PlainError::Secret)
}

pub(super) fn encode(credential: &Credential) -> Zeroizing<Vec<u8>> {
    let Credential { membership, identity, limit } = credential;
    let plain = Plain {
        membership_contract: Contract {
            chain_id: ChainId::Text(membership.chain_id.clone()),
            address: membership.address.clone(),
        },
        tree_index: membership.index.into(),
        identity_credential: Secrets {
            id_trapdoor: identity.trapdoor().to_bytes().to_vec(),
            id_nullifier: identity.nullifier().to_bytes().to_vec(),
            id_secret_hash: identity.secret().to_bytes().to_vec(),
            id_commitment: *identity.commitment().bytes(),
        },
        user_message_limit: limit.map(|limit| Messages::Number(limit.get().into())),
    };
    let mut json = Zeroizing::new(Vec::with_capacity(ROOM_BYTES));
    serde_json::to_writer(&mut *json, &plain).expect("a buffer takes texts and numbers");
    json
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn credential(limit: Option<u64>) -> Credential {
        Credential {
            membership: Membership { chain_id: "59141".into(), address: "0xB9cd".into(), index: 8 },
            identity: Identity::seeded(b"plain"),
            limit: limit.map(|limit| Limit::new(limit).unwrap()),
        }
    }

    fn altered(alter: impl FnOnce(&mut Value)) -> Result<Credential, PlainError> {
        let mut json = serde_json::from_slice(&encode(&credential(Some(20)))).unwrap();
        alter(&mut json);
        decode(&serde_json::to_vec(&json).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        for limit in [None, Some(1), Some(65_535)] {
            let json = encode(&credential(limit));
            assert_eq!(decode(&json), Ok(credential(limit)));
            assert!(json.len() < ROOM_BYTES, "{}", json.len());
        }
    }

    #[test]
    fn what_others_leave_out_or_spell_otherwise() {
        let without = altered(|json| {
            json["identityCredential"]["idTrapdoor"] = json!([]);
            json["identityCredential"].as_object_mut().unwrap().remove("idNullifier");
        });
        let kept = without.unwrap().identity;
        assert_eq!(kept.secret(), credential(None).identity.secret());
        assert_eq!(kept.trapdoor().to_bytes()[..], [0; ELEMENT_BYTES]);
        let numbered = altered(|json| json["membershipContract"]["chainId"] = json!(59_141));
        assert_eq!(numbered, Ok(credential(Some(20))));
        assert_eq!(altered(|json| json["userMessageLimit"] = json!("300")), Ok(credential(Some(300))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Alter = fn(&mut Value);
        let cases: [(PlainError, Alter); 10] = [
            (PlainError::Malformed, |json| json["treeIndex"] = json!("8")),
            (PlainError::Malformed, |json| *json = json!([])),
            (PlainError::Index, |json| json["treeIndex"] = json!(MAX_MEMBERS)),
            (PlainError::Malformed, |json| json["userMessageLimit"] = json!(-1)),
            (PlainError::Limit, |json| json["userMessageLimit"] = json!("many")),
            (PlainError::Limit, |json| json["userMessageLimit"] = json!(0)),
            (PlainError::Limit, |json| json["userMessageLimit"] = json!(65_536)),
            (PlainError::Secret, |json| json["identityCredential"]["idSecretHash"] = json!([1, 2])),
            (PlainError::Secret, |json| json["identityCredential"]["idTrapdoor"] = vec![255; ELEMENT_BYTES].into()),
            (PlainError::Commitment, |json| json["identityCredential"]["idCommitment"][0] = json!(1)),
        ];
        for (error, alter) in cases {
            assert_eq!(altered(alter), Err(error));
        }
    }
}
