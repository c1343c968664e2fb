//! Extending memberships that are in their month of grace: another life for each, its deposit stays where it is.
//!
//! Only the account that registered a member may extend it. Under the earlier contract there is nothing to extend.
//! Deployed: waku-rlnv2-contract.

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolCall as _;

use super::{Account, Asked, Cost, RegisterError};
use crate::{
    contract::{Commitment, Contract, abi::current},
    provider::Provider,
};

/// What it would cost `payer`. Changes nothing, and wants no key. Safe to cancel.
///
/// # Errors
/// [`RegisterError`]; the contract refuses when one of them is not in its grace, or not the payer's.
pub async fn cost(
    provider: &Provider,
    contract: &Contract,
    payer: Address,
    members: &[Commitment],
) -> Result<Cost, RegisterError> {
    let gas = provider.estimate(payer, contract.address, &call(members)).await?;
    let (gas_price, _) = provider.gas_price().await?;
    Ok(Cost { deposit: None, gas, gas_price, ether: provider.balance(payer).await? })
}

/// Extends them all, or none, and waits until it is in a block: which transaction, and which block. Cancelled, they may be extended
/// nevertheless; their [status](crate::status::status) tells then.
///
/// # Errors
/// [`RegisterError`].
pub async fn extend(
    provider: &Provider,
    contract: &Contract,
    account: &Account,
    members: &[Commitment],
) -> Result<(B256, u64), RegisterError> {
    cost(provider, contract, account.address(), members).await?.can_be_paid()?;
    let asked = Asked { provider, contract };
    let (transaction, receipt) = asked.transact(account, contract.address, call(members)).await?;
    Ok((transaction, receipt.block))
}

fn call(members: &[Commitment]) -> Vec<u8> {
    current::extendMembershipsCall { ids: members.iter().map(|member| member.word()).collect() }.abi_encode()
}

#[cfg(test)]
mod tests {
    use waku2::rln::element::Element;

    use super::*;

    #[test]
    fn the_call_is_that_of_the_deployed_contract() {
        let members = [7, 8].map(|who| Commitment::new(Element::from(who)).unwrap());
        let words = [0x20, 2, 7, 8].map(|word: u64| format!("{word:064x}")).concat();
        assert_eq!(hex::encode(call(&members)), format!("075a94ea{words}"));
    }
}
