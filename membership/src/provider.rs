//! Providers of the chain: nodes of Ethereum's that answer JSON-RPC, asked in turn until one answers.
//!
//! | Module | What |
//! |---|---|
//! | [`http`] | questions over HTTP |
//! | `turns` | who is asked, and who is left alone for how long |
//! | [`fault`] | why there was no answer |
//!
//! A provider is somebody else's: its answers are bounded, its chain is looked at before it is believed anything, and one that does
//! not answer, answers garbage or wants to be asked less is set aside. One question takes [`ATTEMPTS`] at most, and waits
//! [`PATIENCE`] at most between two of them. What holds a question back is whoever asks it: nothing is queued here.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::contract::Garbled;

pub mod fault;
pub mod http;
mod json;
mod turns;

pub use fault::{Fault, Revert};
pub use http::{Http, NoUrl, Url};
pub use turns::{FIRST_BACK_OFF, FORGIVEN_AFTER, MAX_BACK_OFF, RATE_LIMITED_BACK_OFF, WRONG_CHAIN_BACK_OFF};

use turns::{Pick, Turns};

/// How long one provider has for an answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer at most. A path has 1.4 KB, a receipt a few.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// How often one question is asked at most, of all providers together.
pub const ATTEMPTS: usize = 6;

/// How long a question waits at most for a provider that is set aside. Each failure doubles the wait, so that no question waits
/// for a provider that has failed three times.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Providers at most.
pub const MAX_PROVIDERS: usize = 16;

/// Who carries a question to a provider.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends `body` and returns what is answered, [`MAX_ANSWER_BYTES`] at most.
    fn post<'a>(&'a self, url: &'a Url, body: Vec<u8>) -> BoxFuture<'a, Result<Bytes, Fault>>;
}

/// Of when something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Of now.
    Latest,
    /// Of the end of that block.
    Block(u64),
}

/// The providers of one chain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Provider {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    chain: u64,
    urls: Vec<Url>,
    transport: Box<dyn Transport>,
    turns: Mutex<Turns>,
    ids: AtomicU64,
}

/// There is no provider, or there are more than [`MAX_PROVIDERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("between 1 and {MAX_PROVIDERS} providers of the chain can be asked, not {0}")]
pub struct HowMany(pub usize);

impl Provider {
    /// Asks these, the first of them as long as it answers.
    ///
    /// # Errors
    /// [`HowMany`].
    pub fn new(chain: u64, urls: Vec<Url>, transport: impl Transport + 'static) -> Result<Self, HowMany> {
        if urls.is_empty() || urls.len() > MAX_PROVIDERS {
            return Err(HowMany(urls.len()));
        }
        let turns = Mutex::new(Turns::new(urls.len()));
        let transport = Box::new(transport);
        Ok(Self { shared: Arc::new(Shared { chain, urls, transport, turns, ids: AtomicU64::new(1) }) })
    }

    /// The chain that it is asked about.
    #[must_use]
    pub fn chain(&self) -> u64 {
        self.shared.chain
    }

    /// The number of the newest block.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn block(&self) -> Result<u64, Fault> {
        self.ask("eth_blockNumber", json!([]), json::number).await
    }

    /// Asks a contract, without a transaction. Whose answer `read` refuses is set aside, and the next one asked. Safe to cancel, as
    /// all that only asks.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn call<T>(
        &self,
        contract: Address,
        call: &[u8],
        at: At,
        read: impl Fn(&[u8]) -> Result<T, Garbled>,
    ) -> Result<T, Fault> {
        let block = match at {
            At::Latest => "latest".to_owned(),
            At::Block(number) => json::hex_number(number),
        };
        let params = json!([{"to": contract.to_string(), "data": json::hex_bytes(call)}, block]);
        self.ask("eth_call", params, |answer| Ok(read(&json::bytes(answer)?)?)).await
    }

    /// What an account has, in wei.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn balance(&self, account: Address) -> Result<U256, Fault> {
        self.ask("eth_getBalance", json!([account.to_string(), "latest"]), wide).await
    }

    /// How many transactions an account has made, those that wait included.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn nonce(&self, account: Address) -> Result<u64, Fault> {
        self.ask("eth_getTransactionCount", json!([account.to_string(), "pending"]), json::number).await
    }

    /// How many transactions of an account are in blocks.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn nonce_in_blocks(&self, account: Address) -> Result<u64, Fault> {
        self.ask("eth_getTransactionCount", json!([account.to_string(), "latest"]), json::number).await
    }

    /// What gas costs now, in wei, and what of that is for whoever makes the block.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn gas_price(&self) -> Result<(u128, u128), Fault> {
        let price = self.ask("eth_gasPrice", json!([]), narrow).await?;
        match self.ask("eth_maxPriorityFeePerGas", json!([]), narrow).await {
            Ok(tip) => Ok((price, tip.min(price))),
            // Some do not know the question. The whole price is always enough.
            Err(Fault::Refused { .. }) => Ok((price, price)),
            Err(fault) => Err(fault),
        }
    }

    /// How much gas a transaction will need. A contract that refuses it says so here.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn estimate(&self, from: Address, to: Address, call: &[u8]) -> Result<u64, Fault> {
        let params = json!([{"from": from.to_string(), "to": to.to_string(), "data": json::hex_bytes(call)}]);
        self.ask("eth_estimateGas", params, json::number).await
    }

    /// Hands in a signed transaction. The same one twice is the same transaction, so that asking several does no harm.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn send(&self, signed: &[u8]) -> Result<(), Fault> {
        self.ask("eth_sendRawTransaction", json!([json::hex_bytes(signed)]), |_| Ok(())).await
    }

    /// What became of a transaction; `None` while it waits.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn receipt(&self, transaction: B256) -> Result<Option<Receipt>, Fault> {
        let read = |answer: &Value| if answer.is_null() { Ok(None) } else { Receipt::read(answer).map(Some) };
        self.ask("eth_getTransactionReceipt", json!([transaction.to_string()]), read).await
    }

    /// Asks one provider after the other until one gives an answer that can be read.
    async fn ask<T>(&self, method: &str, params: Value, read: impl Fn(&Value) -> Result<T, Fault>) -> Result<T, Fault> {
        let (mut refused, mut last) = (Vec::new(), None);
        for _ in 0..ATTEMPTS {
            let pick = self.turns(|turns| turns.pick(instant(), &refused));
            let (which, checked) = match pick {
                Pick::Ask { provider, checked } => (provider, checked),
                Pick::Wait(until) if until.saturating_duration_since(instant()) <= PATIENCE => {
                    tokio::time::sleep_until(until.into()).await;
                    continue;
                }
                Pick::Wait(_) | Pick::Nobody => break,
            };
            match self.ask_one(which, checked, method, &params, &read).await {
                Ok(answer) => return Ok(answer),
                Err(fault @ Fault::Reverted(_)) => return Err(fault),
                Err(fault) => {
                    if matches!(fault, Fault::Refused { .. }) {
                        refused.push(which);
                    }
                    last = Some(fault);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.turns(|turns| turns.fault())))
    }

    async fn ask_one<T>(
        &self,
        which: usize,
        checked: bool,
        method: &str,
        params: &Value,
        read: impl Fn(&Value) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outcome = match if checked { Ok(()) } else { self.check(which).await } {
            Ok(()) => self.post(which, method, params).await.and_then(|answer| read(&answer)),
            Err(fault) => Err(fault),
        };
        match &outcome {
            // It did answer: the question is at fault, not who was asked.
            Ok(_) | Err(Fault::Reverted(_) | Fault::Refused { .. }) => {
                self.turns(|turns| turns.worked(which, instant()));
            }
            Err(fault) => {
                tracing::debug!(provider = ?self.shared.urls.get(which), method, %fault, "a provider of the chain failed");
                self.turns(|turns| turns.failed(which, instant(), fault));
            }
        }
        outcome
    }

    async fn check(&self, which: usize) -> Result<(), Fault> {
        let (expected, found) = (self.shared.chain, json::number(&self.post(which, "eth_chainId", &json!([])).await?)?);
        if found != expected {
            tracing::warn!(provider = ?self.shared.urls.get(which), found, expected, "a provider is of another chain and left out");
            return Err(Fault::WrongChain { expected, found });
        }
        self.turns(|turns| turns.checked(which));
        Ok(())
    }

    async fn post(&self, which: usize, method: &str, params: &Value) -> Result<Value, Fault> {
        let url = self.shared.urls.get(which).ok_or(Fault::Unreachable)?;
        let id = self.shared.ids.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.transport.post(url, json::request(id, method, params));
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer).await.map_err(|_| Fault::Timeout)??;
        json::response(id, &answer)
    }

    fn turns<T>(&self, act: impl FnOnce(&mut Turns) -> T) -> T {
        act(&mut self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it did what it should.
    pub success: bool,
    /// In which block.
    pub block: u64,
    /// The events of its contracts: who told it, topics, data. [`MAX_ANSWER_BYTES`] bounds how many.
    pub events: Vec<(Address, Vec<B256>, Vec<u8>)>,
}

impl Receipt {
    fn read(answer: &Value) -> Result<Self, Fault> {
        let logs = answer["logs"].as_array().ok_or(Fault::Garbage)?;
        Ok(Self {
            success: json::number(&answer["status"])? == 1,
            block: json::number(&answer["blockNumber"])?,
            events: logs.iter().map(event).collect::<Result<_, _>>()?,
        })
    }
}

fn event(log: &Value) -> Result<(Address, Vec<B256>, Vec<u8>), Fault> {
    let topics = log["topics"].as_array().ok_or(Fault::Garbage)?;
    let fixed = |value: &Value| B256::try_from(json::bytes(value)?.as_slice()).map_err(|_| Fault::Garbage);
    let address = Address::try_from(json::bytes(&log["address"])?.as_slice()).map_err(|_| Fault::Garbage)?;
    Ok((address, topics.iter().map(fixed).collect::<Result<_, _>>()?, json::bytes(&log["data"])?))
}

fn wide(answer: &Value) -> Result<U256, Fault> {
    let digits = answer.as_str().and_then(|text| text.strip_prefix("0x")).ok_or(Fault::Garbage)?;
    U256::from_str_radix(digits, 16).map_err(|_| Fault::Garbage)
}

fn narrow(answer: &Value) -> Result<u128, Fault> {
    u128::try_from(wide(answer)?).map_err(|_| Fault::Garbage)
}

/// The monotonic clock, which tests may set.
#[expect(clippy::disallowed_methods, reason = "shell")]
pub(crate) fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_has_its_events() {
        let word = format!("0x{:064x}", 5);
        let log = json!({"address": format!("0x{:040x}", 9), "topics": [word], "data": "0x01"});
        let receipt = json!({"status": "0x1", "blockNumber": "0x10", "logs": [log]});
        let read = Receipt::read(&receipt).unwrap();
        assert!(read.success && read.block == 16);
        assert_eq!(read.events, [(Address::left_padding_from(&[9]), vec![B256::left_padding_from(&[5])], vec![1])]);
        for broken in [json!({}), json!({"status": "0x1", "blockNumber": "0x10", "logs": [{}]})] {
            assert_eq!(Receipt::read(&broken), Err(Fault::Garbage));
        }
    }

    #[test]
    fn numbers_may_be_wide() {
        assert_eq!(wide(&json!("0xde0b6b3a7640000")), Ok(U256::from(10_u64.pow(18))));
        assert_eq!(narrow(&json!(format!("0x1{:032x}", 0))), Err(Fault::Garbage));
        assert_eq!(wide(&json!("0xg")), Err(Fault::Garbage));
    }
}
