//! A chain in memory with one contract of the current flavour, and providers of it that can be told to fail.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use membership::{
    contract::Contract,
    provider::{Fault, Provider, Transport, Url},
};
use serde_json::{Value, json};

/// How a provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behaves {
    /// As it should.
    #[default]
    Well,
    /// No connection.
    Down,
    /// Answers after this many seconds.
    Slow(u64),
    /// It is of that chain.
    OtherChain(u64),
    /// Status 429, with a wish.
    Tired(Option<u64>),
    /// Error -32005.
    Limited,
    /// Bytes that are no JSON.
    Garbage,
    /// A root that is no field element.
    BadRoot,
    /// An error to everything but the number of its chain.
    Refuses,
    /// Nothing is at the contract's address.
    NoContract,
}

/// The chain, and its providers by host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The root at the end of each block; 0 before the contract was there.
    roots: Vec<u64>,
    /// Blocks before this one are not answered about.
    forgets: u64,
    behaves: BTreeMap<String, Behaves>,
    /// Who was asked what.
    asked: Vec<(String, String)>,
}

impl Chain {
    pub(crate) fn new(roots: &[u64]) -> Self {
        let chain = Self::default();
        chain.change(|state| state.roots = roots.to_vec());
        chain
    }

    /// A provider that asks these hosts.
    pub(crate) fn provider(&self, hosts: &[&str]) -> Provider {
        let urls = hosts.iter().map(|host| url(host)).collect();
        Provider::new(Contract::TWN.chain, urls, self.clone()).unwrap()
    }

    pub(crate) fn behaves(&self, host: &str, behaves: Behaves) {
        self.change(|state| state.behaves.insert(host.to_owned(), behaves));
    }

    pub(crate) fn mine(&self, roots: &[u64]) {
        self.change(|state| state.roots.extend(roots));
    }

    /// Takes back all blocks after the first so many.
    pub(crate) fn take_back(&self, blocks: usize) {
        self.change(|state| state.roots.truncate(blocks));
    }

    pub(crate) fn forget_before(&self, block: u64) {
        self.change(|state| state.forgets = block);
    }

    /// How often this host was asked for that since the last time.
    pub(crate) fn asked(&self, host: &str, method: &str) -> usize {
        self.change(|state| {
            let before = state.asked.len();
            state.asked.retain(|(asked, what)| asked != host || what != method);
            before - state.asked.len()
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    fn answer(&self, host: &str, body: &[u8]) -> (Behaves, Value) {
        let question: Value = serde_json::from_slice(body).unwrap();
        let method = question["method"].as_str().unwrap();
        self.change(|state| {
            state.asked.push((host.to_owned(), method.to_owned()));
            let behaves = state.behaves.get(host).copied().unwrap_or_default();
            let id = &question["id"];
            let outcome = match (method, behaves) {
                ("eth_chainId", Behaves::OtherChain(chain)) => Ok(json!(format!("{chain:#x}"))),
                ("eth_chainId", _) => Ok(json!(format!("{:#x}", Contract::TWN.chain))),
                (_, Behaves::Limited) => Err(json!({"code": -32_005, "message": "limit exceeded"})),
                (_, Behaves::Refuses) => Err(json!({"code": -32_601, "message": "method not found"})),
                ("eth_blockNumber", _) => Ok(json!(format!("{:#x}", state.roots.len() - 1))),
                ("eth_call", Behaves::BadRoot) => Ok(json!(format!("0x{}", "f".repeat(64)))),
                ("eth_call", Behaves::NoContract) => Ok(json!("0x")),
                ("eth_call", _) => state.call(&question["params"]),
                _ => Err(json!({"code": -32_601, "message": "method not found"})),
            };
            let answer = match outcome {
                Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
            };
            (behaves, answer)
        })
    }
}

impl State {
    /// What the contract says: its root, or a path that has its index and block in it.
    fn call(&self, params: &Value) -> Result<Value, Value> {
        let head = self.roots.len() as u64 - 1;
        let block = match params[1].as_str().unwrap() {
            "latest" => head,
            number => u64::from_str_radix(number.strip_prefix("0x").unwrap(), 16).unwrap(),
        };
        let gone = json!({"code": -32_000, "message": "missing trie node"});
        let root = self.roots.get(block as usize).filter(|_| block >= self.forgets || block == head).ok_or(gone)?;
        let call = params[0]["data"].as_str().unwrap();
        match &call[..10] {
            "0xebf0c717" if *root == 0 => Ok(json!("0x")),
            "0xebf0c717" => Ok(json!(format!("0x{root:064x}"))),
            "0x00ffef23" => {
                let index = u64::from_str_radix(&call[call.len() - 8..], 16).unwrap();
                Ok(json!(format!("0x{}", format!("{:064x}", block * 1_000 + index).repeat(20))))
            }
            _ => Err(json!({"code": 3, "message": "execution reverted", "data": "0x"})),
        }
    }
}

impl Transport for Chain {
    fn post<'a>(&'a self, url: &'a Url, body: Vec<u8>) -> BoxFuture<'a, Result<Bytes, Fault>> {
        async move {
            let (behaves, answer) = self.answer(&url.to_string(), &body);
            match behaves {
                Behaves::Down => return Err(Fault::Unreachable),
                Behaves::Slow(secs) => tokio::time::sleep(Duration::from_secs(secs)).await,
                Behaves::Tired(after) => {
                    return Err(Fault::RateLimited { after: after.map(Duration::from_secs) });
                }
                Behaves::Garbage => return Ok(Bytes::from_static(b"<html>Bad gateway</html>")),
                _ => {}
            }
            Ok(answer.to_string().into())
        }
        .boxed()
    }
}

pub(crate) fn url(host: &str) -> Url {
    format!("http://{host}/").parse().unwrap()
}
