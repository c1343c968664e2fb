//! Whole keystores: the published one, several credentials, and what is none.

use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::*;

const PUBLISHED: &str = include_str!("../../../fixtures/rln/keystore.json");

/// Quick, and out of place outside tests.
const QUICK: Kdf = Kdf::Pbkdf2 { rounds: 2 };

fn read(json: &str) -> Result<Keystore, KeystoreError> {
    Keystore::read(json.as_bytes(), &Application::default())
}

fn membership(chain_id: &str, index: u32) -> Membership {
    let address = "0x8e1F3742B987d8BA376c0CBbD7357fE1F003ED71".to_owned();
    Membership { chain_id: chain_id.to_owned(), address, index }
}

fn credential(chain_id: &str, index: u32) -> Credential {
    let identity = Identity::seeded(format!("member {index}").as_bytes());
    Credential { membership: membership(chain_id, index), identity, limit: Limit::new(20) }
}

fn filled(credentials: &[Credential]) -> Keystore {
    let (mut keystore, mut rng) = (Keystore::default(), StdRng::seed_from_u64(1));
    for credential in credentials {
        keystore.add(credential, &Password::new("word"), QUICK, &mut rng).unwrap();
    }
    keystore
}

#[test]
fn the_published_credential_opens() {
    let opened = read(PUBLISHED).unwrap().open(None, &Password::new("sup3rsecure")).unwrap();
    assert_eq!(opened.membership, membership("0xAA36A7", 8));
    assert_eq!(opened.limit, None);
    let known = |secret: &crate::Secret| hex::encode(secret.to_bytes());
    let identity = &opened.identity;
    assert_eq!(
        [known(identity.trapdoor()), known(identity.nullifier()), known(identity.secret())],
        [
            "d317422ab382836fc9cdf4221beef4d883f0bc2dc1ac04a8e1e12bc572b07e09",
            "eea8ef41493f6913843ed5cdbfffd109b29befc9837de988f6d909ed3759512a",
            "9636c21c12d88afd5f8b786d6281926529c224246098985997a0760fde7cbb04",
        ]
    );
    let commitment = "70d81b59bc87cb13a8d3750de787e53a5e14f6082141ee25706141f1ff5dab0f";
    assert_eq!(format!("{:?}", identity.commitment()), commitment);
    assert_eq!(*identity, Identity::new(identity.trapdoor().clone(), identity.nullifier().clone()));
}

#[test]
fn what_a_browser_wrote_opens() {
    let json = include_str!("../../../fixtures/rln/keystore-js-waku.json");
    let opened = read(json).unwrap().open(None, &Password::new("12345678")).unwrap();
    let address = "0xb9cd878c90e49f797b4431fbf4fb333108cb90e6".to_owned();
    assert_eq!(opened.membership, Membership { chain_id: "59141".to_owned(), address, index: 703 });
    assert_eq!(opened.limit, Limit::new(300));
    let commitment = "378adaef633c80a2e82de1c3da64b77c9df343df9217d01ec3b609974b01bb2b";
    assert_eq!(format!("{:?}", opened.identity.commitment()), commitment);
}

#[test]
fn the_published_name() {
    let name = "9DB2B4718A97485B9F70F68D1CC19F4E10F0B4CE943418838E94956CB8E57548";
    assert_eq!(membership("0xAA36A7", 8).hash(), name);
    assert_eq!(read(PUBLISHED).unwrap().names().collect::<Vec<_>>(), [name]);
    for spelled in ["11155111", "0xaa36a7"] {
        assert_ne!(membership(spelled, 8).hash(), name);
        assert!(membership(spelled, 8).names().any(|other| other == name), "{spelled}");
    }
}

#[test]
fn of_several_the_one_that_is_named_however_its_chain_is_spelled() {
    let credentials = [credential("0xaa36a7", 1), credential("0xaa36a7", 2), credential("59141", 2)];
    let keystore = filled(&credentials);
    let keystore = read(&keystore.to_json()).unwrap();
    let open = |membership: Option<&Membership>| keystore.open(membership, &Password::new("word"));
    for credential in &credentials {
        assert_eq!(open(Some(&credential.membership)).unwrap(), *credential);
    }
    assert_eq!(open(Some(&membership("11155111", 2))).unwrap(), credentials[1]);
    assert!(matches!(open(None), Err(KeystoreError::Ambiguous(3))));
    assert!(matches!(open(Some(&membership("1", 1))), Err(KeystoreError::Unknown)));
}

#[test]
fn what_is_not_registered_is_of_another_application_and_goes_when_it_is() {
    let drawn = credential("59141", 0);
    let mut drafts = Keystore::new(Application::unregistered());
    drafts.add(&drawn, &Password::new("word"), QUICK, &mut StdRng::seed_from_u64(1)).unwrap();
    let json = drafts.to_json();
    assert!(matches!(read(&json), Err(KeystoreError::Other { found, .. }) if *found == Application::unregistered()));
    assert_eq!(Keystore::read(json.as_bytes(), &Application::unregistered()).unwrap(), drafts);
    let name = drafts.name_of(&membership("0xE705", 0)).unwrap().to_owned();
    assert_eq!((name.clone(), drafts.name_of(&membership("1", 0))), (drawn.membership.hash(), None));
    assert_eq!(drafts.open_named(&name, &Password::new("word")).unwrap(), drawn);
    assert!(drafts.remove(&name) && !drafts.remove(&name));
    assert!(matches!(drafts.open(None, &Password::new("word")), Err(KeystoreError::Empty)));
}

#[test]
fn the_only_one_is_taken_whatever_its_name() {
    let only = credential("59141", 7);
    let name = only.membership.hash();
    let json = filled(std::slice::from_ref(&only)).to_json().replace(&name, "any name");
    let keystore = read(&json).unwrap();
    for asked in [None, Some(membership("1", 1))] {
        assert_eq!(keystore.open(asked.as_ref(), &Password::new("word")).unwrap(), only);
    }
    let error = keystore.open(None, &Password::new("other")).unwrap_err();
    assert!(matches!(error, KeystoreError::Sealed(SealError::Password)));
    assert!(matches!(Keystore::default().open(None, &Password::new("word")), Err(KeystoreError::Empty)));
}

#[test]
fn nothing_is_replaced_and_there_is_an_end() {
    let mut keystore = filled(&[credential("0xaa36a7", 1)]);
    let mut add = |credential| keystore.add(&credential, &Password::new("word"), QUICK, &mut StdRng::seed_from_u64(2));
    assert!(matches!(add(credential("11155111", 1)), Err(KeystoreError::Present)));
    for index in 2..=u32::try_from(MAX_CREDENTIALS).unwrap() {
        add(credential("1", index)).unwrap();
    }
    assert!(matches!(add(credential("1", 0)), Err(KeystoreError::Full)));
    assert!(keystore.to_json().len() < MAX_FILE_BYTES);
    assert_eq!(read(&keystore.to_json()).unwrap(), keystore);
}

/// nwaku adds texts to each entry, and takes all blanks out before it reads; browsers write on many lines.
#[test]
fn blanks_and_what_others_add_do_not_matter() {
    let mut json: Value = serde_json::from_str(PUBLISHED).unwrap();
    for entry in json["credentials"].as_object_mut().unwrap().values_mut() {
        entry["id"] = json!("");
        entry["version"] = json!("");
    }
    let published = read(PUBLISHED).unwrap();
    assert_eq!(read(&json.to_string()).unwrap(), published);
    assert_eq!(read(&serde_json::to_string_pretty(&json).unwrap()).unwrap(), published);
    assert_eq!(read(&published.to_json()).unwrap(), published);
}

#[test]
fn another_application_is_named() {
    for field in ["application", "appIdentifier", "version"] {
        let mut json: Value = serde_json::from_str(PUBLISHED).unwrap();
        json[field] = json!("other");
        let error = read(&json.to_string()).unwrap_err();
        assert!(matches!(error, KeystoreError::Other { .. }) && error.to_string().contains("other"), "{error}");
        json.as_object_mut().unwrap().remove(field);
        assert!(matches!(read(&json.to_string()), Err(KeystoreError::Malformed(_))), "{field}");
    }
}

#[test]
fn what_is_none_is_refused() {
    for json in ["", "{", "[]", "null", "{\"credentials\":{}}"] {
        assert!(matches!(read(json), Err(KeystoreError::Malformed(_))), "{json}");
    }
    assert!(matches!(read(&" ".repeat(MAX_FILE_BYTES + 1)), Err(KeystoreError::TooLarge)));
    let deep = "[".repeat(100_000);
    assert!(matches!(read(&deep), Err(KeystoreError::Malformed(_))));
    let mut json: Value = serde_json::from_str(PUBLISHED).unwrap();
    let entry = json["credentials"].as_object().unwrap().values().next().unwrap().clone();
    let many: serde_json::Map<_, _> = (0..=MAX_CREDENTIALS).map(|n| (n.to_string(), entry.clone())).collect();
    json["credentials"] = many.into();
    assert!(matches!(read(&json.to_string()), Err(KeystoreError::Full | KeystoreError::TooLarge)));
}
