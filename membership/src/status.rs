//! What has become of a membership, and of the group: shell.
//!
//! Under the current contract a membership is active for half a year, then for a month in grace, when its holder may extend it,
//! then expired, when anybody may erase it. Until then it counts, and its leaf also after that until somebody else gets its index.
//! Under the earlier contract it lasts for ever.

use crate::{
    contract::{self, Commitment, Contract, Flavour, abi::current},
    provider::{At, Fault, Provider},
};
use alloy_sol_types::SolCall;

/// Where in its life a membership is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// All is well.
    Active,
    /// It is to be extended.
    Grace,
    /// It counts until somebody erases it.
    Expired,
    /// There is none, or none any more.
    Absent,
}

/// A membership as the contract has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Where in its life it is.
    pub life: Life,
    /// Its index; `None` of one that is absent, and under the earlier contract, which does not tell.
    pub index: Option<u32>,
    /// Its messages an epoch; `None` likewise.
    pub limit: Option<u32>,
}

/// How many are in a group. Of one without erasing: how many ever were.
///
/// # Errors
/// [`Fault`].
pub async fn members(provider: &Provider, contract: &Contract) -> Result<u32, Fault> {
    provider.call(contract.address, &contract.flavour.ask_next_index(), At::Latest, contract::number).await
}

/// Asks what has become of a membership. Safe to cancel.
///
/// # Errors
/// [`Fault`].
pub async fn status(provider: &Provider, contract: &Contract, commitment: Commitment) -> Result<Status, Fault> {
    let Contract { address, flavour, .. } = *contract;
    let member = provider.call(address, &flavour.ask_member(commitment), At::Latest, contract::flag).await?;
    if flavour == Flavour::Earlier || !member {
        return Ok(Status { life: life(member, false, false), index: None, limit: None });
    }
    let id = commitment.word();
    let grace = ask(provider, contract, current::isInGracePeriodCall { id }).await?;
    let expired = ask(provider, contract, current::isExpiredCall { id }).await?;
    let info = ask(provider, contract, current::getMembershipInfoCall { id }).await?;
    Ok(Status { life: life(member, grace, expired), index: Some(info.index), limit: Some(info.limit) })
}

async fn ask<C: SolCall>(provider: &Provider, contract: &Contract, call: C) -> Result<C::Return, Fault> {
    provider.call(contract.address, &call.abi_encode(), At::Latest, contract::decode::<C>).await
}

const fn life(member: bool, grace: bool, expired: bool) -> Life {
    match (member, expired, grace) {
        (false, ..) => Life::Absent,
        (true, true, _) => Life::Expired,
        (true, false, true) => Life::Grace,
        (true, false, false) => Life::Active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_one_way() {
        let table = [
            ((true, false, false), Life::Active),
            ((true, true, false), Life::Grace),
            ((true, false, true), Life::Expired),
            ((false, false, true), Life::Absent),
        ];
        for ((member, grace, expired), expected) in table {
            assert_eq!(life(member, grace, expired), expected);
        }
    }
}
