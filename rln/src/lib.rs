//! Rate-limit proofs (RLN v2): identities, the tree of members, proving, verifying, and the files that memberships are kept in.
//!
//! | Module | What |
//! |---|---|
//! | [`identity`] | a member's secrets, and what of them the group sees |
//! | [`poseidon`] | the hash of the circuit; the external nullifier |
//! | [`tree`] | a group as a list of members, its root and paths |
//! | [`verify`] | proofs, singly and many in one equation |
//! | [`prove`] | a proof of a message, from what is kept for a root |
//! | [`pool`] | the threads on which proofs are made |
//! | [`share`] | what two messages under one id give away |
//! | [`keystore`] | memberships under a password, as nwaku and js-waku keep them |
//!
//! The wire and what counts are in [`waku2::rln`]; this crate has the curve, behind [`waku2::rln::Verify`]. Circuit and key are those
//! of the crate `rln`, depth 20 and one message id, byte for byte what deployed nodes have. All is pure, without a clock and without
//! sockets, except [`pool`], which has threads of the runtime, and [`keystore::file`]; and the blinding of proofs, which the circuit's
//! crate draws from the system by itself.
//!
//! Nothing here looks at the budget of a member: a message id is given, and who gives one twice in an epoch gives its secret away.
//!
//! Spec: 17/WAKU2-RLN-RELAY, RLN-V2, 64/WAKU2-NETWORK; deployed: nwaku.

mod field;
pub mod identity;
pub mod keystore;
pub mod pool;
pub mod poseidon;
pub mod prove;
pub mod share;
pub mod tree;
pub mod verify;

pub use identity::{Identity, Limit, Secret};
pub use prove::{Member, Prover};
pub use tree::{Path, Tree};
pub use verify::Verifier;
