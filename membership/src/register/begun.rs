//! Registrations that were begun and not heard of to their end, because the program died or the chain was away: shell.
//!
//! Whether somebody is a member the contract alone knows. A transaction that is in no block yet is not in its answers: first what the
//! account has sent is waited for ([`settled`]), then the contract is asked ([`place`]). So nothing is paid twice.

use alloy_primitives::Address;
use waku2::rln::element::Element;

use super::{Asked, RECEIPT_EVERY, RECEIPT_WITHIN, RegisterError, Told};
use crate::{
    contract::{self, Commitment, Contract, Flavour, abi},
    provider::{At, Fault, Provider},
};

/// Leaves asked for at a time: 64 KB in an answer.
const LEAVES: u32 = 1_024;

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In the tree.
    pub index: u32,
    /// Messages an epoch; `None` under the earlier contract, which does not tell.
    pub limit: Option<u32>,
}

/// Where this member is; `None` for who is none. The earlier contract tells nobody's index, so that all its leaves are looked through,
/// the latest first, for `leaf`, the member's rate commitment. Safe to cancel.
///
/// # Errors
/// [`RegisterError::NoIndex`], [`RegisterError::Provider`], [`RegisterError::Reverted`].
pub async fn place(
    provider: &Provider,
    contract: &Contract,
    commitment: Commitment,
    leaf: &Element,
) -> Result<Option<Place>, RegisterError> {
    let asked = Asked { provider, contract };
    match asked.told(commitment).await? {
        Told::Nobody => Ok(None),
        Told::Member(Some(place)) => Ok(Some(place)),
        Told::Member(None) => match asked.leaf(leaf).await? {
            Some(index) => Ok(Some(Place { index, limit: None })),
            None => Err(RegisterError::NoIndex),
        },
    }
}

/// Waits until all that `account` has sent is in blocks. Safe to cancel.
///
/// # Errors
/// [`RegisterError::Waiting`] after [`RECEIPT_WITHIN`]; [`RegisterError::Provider`].
pub async fn settled(provider: &Provider, account: Address) -> Result<(), RegisterError> {
    let waiting = async {
        while provider.nonce_in_blocks(account).await? < provider.nonce(account).await? {
            tokio::time::sleep(RECEIPT_EVERY).await;
        }
        Ok::<_, Fault>(())
    };
    let settled = tokio::time::timeout(RECEIPT_WITHIN, waiting).await;
    Ok(settled.map_err(|_| RegisterError::Waiting { account })??)
}

impl Asked<'_> {
    /// The index of a leaf of the earlier contract.
    async fn leaf(&self, leaf: &Element) -> Result<Option<u32>, Fault> {
        let Contract { address, .. } = *self.contract;
        let ask = Flavour::Earlier.ask_next_index();
        let mut end = self.provider.call(address, &ask, At::Latest, contract::number).await?.min(contract::MAX_MEMBERS);
        while end > 0 {
            let first = end.saturating_sub(LEAVES);
            let leaves = self.call(address, abi::earlier::getCommitmentsCall { first, last: end - 1 }).await?;
            let found = leaves.iter().rposition(|word| contract::element(*word).as_ref() == Ok(leaf));
            if let Some(place) = found.and_then(|place| u32::try_from(place).ok()) {
                return Ok(Some(first.saturating_add(place)));
            }
            end = first;
        }
        Ok(None)
    }
}
