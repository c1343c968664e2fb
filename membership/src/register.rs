//! Becoming a member: what it costs, the deposit, the transaction, and the index that comes of it: shell.
//!
//! The current contract takes a deposit in a token, which it has to be allowed to take first; the earlier one takes nothing but
//! gas. [`cost`](cost()) asks and changes nothing. The private key of the account is wanted here alone. Gas is paid up to twice
//! today's price, as deployed nodes do, though the chain takes no more than the price of its block. What was begun and not heard
//! of to its end is in [`begun`].
//! Spec: 17/WAKU2-RLN-RELAY, "Setup and Registration"; deployed: nwaku, waku-rlnv2-contract.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolEvent as _};

pub mod begun;
pub mod cost;
pub mod extend;
mod transaction;

pub use begun::{Place, place, settled};
pub use cost::{APPROVAL_GAS, ASSUMED_GAS, Cost, Deposit, Limits};
pub use transaction::{Account, NoKey};

use crate::{
    contract::{self, Commitment, Contract, Flavour, abi, abi::current},
    provider::{At, Fault, Provider, Receipt, Revert},
};
use transaction::Transaction;

/// How often it is asked what became of a transaction.
pub const RECEIPT_EVERY: Duration = Duration::from_secs(2);

/// For how long.
pub const RECEIPT_WITHIN: Duration = Duration::from_secs(600);

/// Why somebody is no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// It is one already.
    #[error("already a member{}", index.map(|index| format!(", with index {index}")).unwrap_or_default())]
    AlreadyRegistered {
        /// Its index, where the contract tells.
        index: Option<u32>,
    },
    /// The contract takes other limits.
    #[error("{limit} messages an epoch are out of the contract's bounds, {lowest} to {highest}")]
    Limit {
        /// What was asked for.
        limit: u32,
        /// The lowest that it takes.
        lowest: u32,
        /// The highest.
        highest: u32,
    },
    /// All members together have as many messages as the contract allows.
    #[error("the group has only {left} messages an epoch left")]
    GroupFull {
        /// So many are left.
        left: u64,
    },
    /// The account cannot pay the gas.
    #[error("the account has {has} wei and needs {needs}")]
    NotEnoughEther {
        /// Wei that it has.
        has: U256,
        /// Wei that it needs.
        needs: U256,
    },
    /// The account cannot pay the deposit.
    #[error("the account has {has} of token {token} and needs {needs}, in its smallest unit")]
    NotEnoughToken {
        /// Which token.
        token: Address,
        /// What it has.
        has: U256,
        /// What it needs.
        needs: U256,
    },
    /// The contract refuses.
    #[error("the contract refuses: {0}")]
    Reverted(Revert),
    /// The transaction is in a block, but did nothing.
    #[error("transaction {0} failed")]
    Failed(B256),
    /// The transaction is in no block yet. It may still come into one.
    #[error("transaction {0} is in no block after {within} s", within = RECEIPT_WITHIN.as_secs())]
    Unconfirmed(B256),
    /// Something that the account sent earlier is in no block yet: it may be this registration.
    #[error("account {account} has a transaction in no block yet, after {within} s: wait until it is in one, or replace it, and begin again", within = RECEIPT_WITHIN.as_secs())]
    Waiting {
        /// Whose.
        account: Address,
    },
    /// It is a member, but the contract does not have the leaf that its limit makes.
    #[error("it is a member, but its index is not to be found: was it registered for another number of messages?")]
    NoIndex,
    /// The transaction is in a block, but the contract told of no member.
    #[error("transaction {0} registered nobody")]
    NoEvent(B256),
    /// The chain cannot be asked.
    #[error("the chain cannot be asked: {0}")]
    Provider(Fault),
}

impl From<Fault> for RegisterError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Reverted(revert) => Self::Reverted(revert),
            fault => Self::Provider(fault),
        }
    }
}

/// A membership that is on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Where it is in the tree.
    pub index: u32,
    /// Messages an epoch.
    pub limit: u32,
    /// By which transaction.
    pub transaction: B256,
    /// In which block.
    pub block: u64,
}

/// What it would cost `payer`. Changes nothing, and wants no key. What it finds missing of ether or token is no error here:
/// [`Cost::can_be_paid`]. Safe to cancel.
///
/// # Errors
/// [`RegisterError`], when it cannot be had at all.
pub async fn cost(
    provider: &Provider,
    contract: &Contract,
    payer: Address,
    commitment: Commitment,
    limit: u32,
) -> Result<Cost, RegisterError> {
    let asked = Asked { provider, contract };
    asked.not_yet(commitment).await?;
    asked.limits().await?.admit(limit)?;
    let deposit = asked.deposit(payer, limit).await?;
    let gas = match deposit {
        // The contract would refuse while it may not take the deposit.
        Some(deposit) if deposit.needs_approval() => APPROVAL_GAS + ASSUMED_GAS,
        Some(Deposit { has, amount, .. }) if has < amount => ASSUMED_GAS,
        _ => provider.estimate(payer, contract.address, &contract.flavour.register(commitment, limit)).await?,
    };
    let (gas_price, _) = provider.gas_price().await?;
    Ok(Cost { deposit, gas, gas_price, ether: provider.balance(payer).await? })
}

/// Registers, and waits until it is in a block. Cancelled, it may be a member nevertheless: [`settled`] and [`place()`] tell then.
///
/// # Errors
/// [`RegisterError`].
pub async fn register(
    provider: &Provider,
    contract: &Contract,
    account: &Account,
    commitment: Commitment,
    limit: u32,
) -> Result<Registered, RegisterError> {
    let cost = cost(provider, contract, account.address(), commitment, limit).await?;
    cost.can_be_paid()?;
    let asked = Asked { provider, contract };
    if let Some(deposit) = cost.deposit.filter(Deposit::needs_approval) {
        let call = abi::approveCall { spender: contract.address, amount: deposit.amount };
        asked.transact(account, deposit.token, call.abi_encode()).await?;
    }
    let call = contract.flavour.register(commitment, limit);
    let (transaction, receipt) = asked.transact(account, contract.address, call).await?;
    let index = index(contract, commitment, &receipt).ok_or(RegisterError::NoEvent(transaction))?;
    Ok(Registered { index, limit, transaction, block: receipt.block })
}

/// What the contract tells of somebody.
enum Told {
    Nobody,
    /// Where it is, if it tells that.
    Member(Option<Place>),
}

struct Asked<'a> {
    provider: &'a Provider,
    contract: &'a Contract,
}

impl Asked<'_> {
    async fn call<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, Fault> {
        self.provider.call(to, &call.abi_encode(), At::Latest, contract::decode::<C>).await
    }

    async fn not_yet(&self, commitment: Commitment) -> Result<(), RegisterError> {
        match self.told(commitment).await? {
            Told::Nobody => Ok(()),
            Told::Member(place) => Err(RegisterError::AlreadyRegistered { index: place.map(|place| place.index) }),
        }
    }

    async fn told(&self, commitment: Commitment) -> Result<Told, Fault> {
        let Contract { address, flavour, .. } = *self.contract;
        let is_member =
            self.provider.call(address, &flavour.ask_member(commitment), At::Latest, contract::flag).await?;
        match (is_member, flavour) {
            (false, _) => Ok(Told::Nobody),
            (true, Flavour::Earlier) => Ok(Told::Member(None)),
            (true, Flavour::Current) => {
                let info = self.call(address, current::getMembershipInfoCall { id: commitment.word() }).await?;
                Ok(Told::Member(Some(Place { index: info.index, limit: Some(info.limit) })))
            }
        }
    }

    async fn limits(&self) -> Result<Limits, Fault> {
        let Contract { address, flavour, .. } = *self.contract;
        let highest = self.provider.call(address, &flavour.ask_highest_limit(), At::Latest, contract::number).await?;
        if flavour == Flavour::Earlier {
            return Ok(Limits { lowest: 1, highest, left: None });
        }
        let lowest = self.call(address, current::minMembershipRateLimitCall {}).await?;
        let all = self.call(address, current::maxTotalRateLimitCall {}).await?;
        let taken: u64 = self.call(address, current::currentTotalRateLimitCall {}).await?.saturating_to();
        Ok(Limits { lowest, highest, left: Some(u64::from(all).saturating_sub(taken)) })
    }

    async fn deposit(&self, payer: Address, limit: u32) -> Result<Option<Deposit>, Fault> {
        let Contract { address, flavour, .. } = *self.contract;
        if flavour == Flavour::Earlier {
            return Ok(None);
        }
        let calculator = self.call(address, current::priceCalculatorCall {}).await?;
        if calculator.is_zero() {
            return Ok(None);
        }
        let price = self.call(calculator, abi::calculateCall { limit }).await?;
        let (token, amount) = (price.token, price.amount);
        if amount.is_zero() || token.is_zero() {
            return Ok(None);
        }
        let has = self.call(token, abi::balanceOfCall { owner: payer }).await?;
        let approved = self.call(token, abi::allowanceCall { owner: payer, spender: address }).await?;
        Ok(Some(Deposit { token, amount, has, approved }))
    }

    /// Sends a transaction and waits for its block.
    async fn transact(&self, account: &Account, to: Address, call: Vec<u8>) -> Result<(B256, Receipt), RegisterError> {
        let from = account.address();
        let gas = self.provider.estimate(from, to, &call).await?;
        let (price, tip) = self.provider.gas_price().await?;
        let transaction = Transaction {
            chain: self.contract.chain,
            nonce: self.provider.nonce(from).await?,
            tip,
            price: price.saturating_mul(2),
            // What is estimated is for the block before: leave a quarter more.
            gas: gas.saturating_add(gas / 4),
            to,
            call: call.into(),
        };
        let (signed, hash) = transaction.sign(account);
        let handed_in = self.provider.send(&signed).await;
        tracing::info!(transaction = %hash, contract = %to, "handed in");
        let receipt = match handed_in {
            // Who did not answer may have it, and so may the one that was asked before whoever says that it is known.
            Ok(()) | Err(Fault::Timeout | Fault::Unreachable | Fault::Garbage) => self.receipt(hash).await?,
            Err(fault) => match self.provider.receipt(hash).await? {
                Some(receipt) => receipt,
                None if is_known(&fault) => self.receipt(hash).await?,
                None => return Err(fault.into()),
            },
        };
        if receipt.success { Ok((hash, receipt)) } else { Err(RegisterError::Failed(hash)) }
    }

    async fn receipt(&self, hash: B256) -> Result<Receipt, RegisterError> {
        let asking = async {
            loop {
                if let Ok(Some(receipt)) = self.provider.receipt(hash).await {
                    return receipt;
                }
                tokio::time::sleep(RECEIPT_EVERY).await;
            }
        };
        tokio::time::timeout(RECEIPT_WITHIN, asking).await.map_err(|_| RegisterError::Unconfirmed(hash))
    }
}

/// Does a node say that it has this transaction?
fn is_known(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused { words, .. } if words.contains("already known") || words.contains("already imported"))
}

/// The index that a receipt tells.
fn index(contract: &Contract, commitment: Commitment, receipt: &Receipt) -> Option<u32> {
    let events = receipt.events.iter().filter(|(address, ..)| *address == contract.address);
    events.into_iter().find_map(|(_, topics, data)| match contract.flavour {
        // The event has the leaf, not whose it is; a transaction of ours registers one.
        Flavour::Earlier => abi::earlier::MemberRegistered::decode_raw_log(topics, data).ok().map(|event| event.index),
        Flavour::Current => current::MembershipRegistered::decode_raw_log(topics, data)
            .ok()
            .filter(|event| event.idCommitment == commitment.word())
            .map(|event| event.index),
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;
    use waku2::rln::element::Element;

    use super::*;

    fn commitment() -> Commitment {
        Commitment::new(Element::from(7)).unwrap()
    }

    fn receipt(address: Address, topic: B256, words: &[u64]) -> Receipt {
        let data = words.iter().flat_map(|word| U256::from(*word).to_be_bytes::<32>()).collect();
        Receipt { success: true, block: 1, events: vec![(address, vec![topic], data)] }
    }

    #[test]
    fn the_index_is_what_the_contract_tells_of_this_member() {
        let earlier = b256!("b84da12e8207adb5ee3e5686338302ffe6634fbb95a9fd52f8a466ea2010152d");
        let current = b256!("09f1fd9af917aa77238ff2affbec28a0028188d74c0d4f974364cd383ce7090a");
        let (live, text) = (Contract::TWN, Contract::TWN_SPEC);
        assert_eq!(index(&live, commitment(), &receipt(live.address, current, &[7, 20, 5])), Some(5));
        assert_eq!(index(&live, commitment(), &receipt(live.address, current, &[8, 20, 5])), None, "another member");
        assert_eq!(index(&live, commitment(), &receipt(text.address, current, &[7, 20, 5])), None, "another contract");
        assert_eq!(index(&live, commitment(), &receipt(live.address, earlier, &[7, 20, 5])), None, "another event");
        assert_eq!(index(&text, commitment(), &receipt(text.address, earlier, &[99, 6])), Some(6));
        assert_eq!(index(&text, commitment(), &receipt(text.address, earlier, &[99])), None, "cut off");
    }

    #[test]
    fn a_contract_that_refuses_is_no_fault_of_the_provider() {
        assert_eq!(RegisterError::from(Fault::Reverted(Revert::Silent)), RegisterError::Reverted(Revert::Silent));
        assert_eq!(RegisterError::from(Fault::Timeout), RegisterError::Provider(Fault::Timeout));
        let known = |words: &str| is_known(&Fault::Refused { code: -32_000, words: words.into() });
        assert!(known("already known") && !known("nonce too low"));
    }

    #[test]
    fn errors_say_what_to_do_something_about() {
        let said = RegisterError::AlreadyRegistered { index: Some(4) }.to_string();
        assert_eq!(said, "already a member, with index 4");
        let said = RegisterError::Limit { limit: 5, lowest: 20, highest: 600 }.to_string();
        assert_eq!(said, "5 messages an epoch are out of the contract's bounds, 20 to 600");
    }
}
