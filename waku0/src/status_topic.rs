//! The names of which Status makes topics with [`Topic::of_name`](crate::Topic::of_name).  Source: status-go, `protocol/transport/topic.go`.
//!
//! | what | name | its envelopes are encrypted |
//! |---|---|---|
//! | public chat | the chat's own | with the key of the name as a password |
//! | discovery of old | [`DISCOVERY`] | for the reader |
//! | discovery | [`partitioned_discovery`] | for the reader |
//! | personal discovery | [`personal_discovery`] | for the reader |
//! | contact code | [`contact_code`] | with the key of the name as a password |
//! | negotiated | [`negotiated`] | with the secret that was negotiated |

use devp2p::PublicKey;

/// Where everybody was once found.
pub const DISCOVERY: &str = "contact-discovery";

/// Partitions of discovery.  Source: status-go, `nPartitions`.
const PARTITIONS: u32 = 5_000;

/// Where the owner of a key is found, among a five-thousandth of all others.
#[must_use]
pub fn partitioned_discovery(owner: &PublicKey) -> String {
    format!("{DISCOVERY}-{}", partition(owner))
}

/// Where the owner of a key is found alone.
#[must_use]
pub fn personal_discovery(owner: &PublicKey) -> String {
    format!("{DISCOVERY}-04{owner}")
}

/// Where the owner of a key tells with what he is to be written to.
#[must_use]
pub fn contact_code(owner: &PublicKey) -> String {
    format!("0x04{owner}-contact-code")
}

/// Where two talk who have agreed on a secret; named by the other's key.
#[must_use]
pub fn negotiated(other: &PublicKey) -> String {
    format!("0x04{other}-negotiated")
}

/// The X coordinate modulo the number of partitions.
fn partition(owner: &PublicKey) -> u32 {
    owner.as_bytes()[..32].iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % PARTITIONS)
}

#[cfg(test)]
mod tests {
    use devp2p::NodeKey;

    use super::*;
    use crate::Topic;

    /// The key A of EIP-8, whose partition was computed independently.
    #[test]
    fn names_of_a_printed_key() {
        let printed: serde_json::Value = serde_json::from_str(include_str!("../../fixtures/rlpx/eip8.json")).unwrap();
        let key: NodeKey = printed["static_key_a"].as_str().unwrap().parse().unwrap();
        let public = key.public();
        let hex = hex::encode(public.as_bytes());
        assert_eq!(partitioned_discovery(&public), "contact-discovery-3800");
        assert_eq!(personal_discovery(&public), format!("contact-discovery-04{hex}"));
        assert_eq!(contact_code(&public), format!("0x04{hex}-contact-code"));
        assert_eq!(negotiated(&public), format!("0x04{hex}-negotiated"));
        assert_eq!(Topic::of_name(DISCOVERY).to_string(), "0xf8946aac");
    }
}
