//! Flags about rate-limit proofs, in a program that was built without them.

use super::{network::Network, reserves::Reserves};
use crate::cli::RlnArgs;

/// Nothing: there are no proofs.
#[derive(Debug, Clone)]
pub enum Rln {}

impl Rln {
    /// Is somebody given to make proofs?
    #[must_use]
    pub const fn can_publish(&self) -> bool {
        match *self {}
    }

    /// The same with shares kept for the routes of these classes.
    #[must_use]
    pub fn keeping(self, _: &Reserves) -> Self {
        match self {}
    }
}

/// Flags that ask for proofs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--rln-relay: this program was built without rate-limit proofs (RLN). Build it with the feature rln, or leave the flag out"
)]
pub struct RlnError;

/// Said on a network that asks for proofs.
const NONE: &str = "rate-limit proofs (RLN) are neither verified nor made: this program was built without them. What others prove is passed on unseen, and what we publish stays here";

/// Refuses what there is not.
///
/// # Errors
/// [`RlnError`].
pub(super) fn rln(args: &RlnArgs, network: &mut Network, notices: &mut Vec<String>) -> Result<Option<Rln>, RlnError> {
    if args.rln_relay == Some(true) || args.rln_group.is_some() || !args.rln_relay_cred_path.is_empty() {
        return Err(RlnError);
    }
    if network.asks_for_proofs {
        notices.push(NONE.to_owned());
        network.policy.withholds_unproven = true;
    }
    Ok(None)
}
