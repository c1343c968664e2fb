//! Rate-limit proofs off the wire, with the points that they are made of; and the files that memberships are kept in.

use std::sync::LazyLock;

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use waku_rln::{
    Verifier,
    keystore::{Application, Keystore},
};
use waku2::rln::{Verify, proof::RateLimitProof};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(&mut StdRng::seed_from_u64(1)));

/// What is read as a proof is written as one that reads the same, and holds in a batch if it does alone.
pub fn proof(input: &[u8]) {
    let Ok(proof) = RateLimitProof::decode(&Bytes::copy_from_slice(input)) else { return };
    assert_eq!(RateLimitProof::decode(&proof.encode()).as_ref(), Ok(&proof));
    let batch: [_; 4] = std::array::from_fn(|_| proof.clone());
    assert_eq!(VERIFIER.verify(&batch), [VERIFIER.verify(&batch[..1])[0]; 4]);
}

/// What is read as a keystore is written as one that reads the same. None is opened: that takes a second, as the file says.
pub fn keystore(input: &[u8]) {
    let application = Application::default();
    let Ok(keystore) = Keystore::read(input, &application) else { return };
    let again = Keystore::read(keystore.to_json().as_bytes(), &application).expect("our own keystore");
    assert_eq!(again, keystore);
}
