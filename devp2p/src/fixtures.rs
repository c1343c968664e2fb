//! Reads the vectors under `fixtures/` for tests.

use crate::key::NodeKey;

/// A JSON file, by its path under `fixtures/`.
pub(crate) fn json(path: &str) -> serde_json::Value {
    let path = format!("{}/../fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The hex of a field.
pub(crate) fn hex(of: &serde_json::Value, name: &str) -> Vec<u8> {
    hex::decode(of[name].as_str().unwrap()).unwrap()
}

/// The hex of a field of known length.
pub(crate) fn array<const N: usize>(of: &serde_json::Value, name: &str) -> [u8; N] {
    hex(of, name).try_into().unwrap()
}

/// A secret key in hex.
pub(crate) fn key(of: &serde_json::Value, name: &str) -> NodeKey {
    of[name].as_str().unwrap().parse().unwrap()
}
