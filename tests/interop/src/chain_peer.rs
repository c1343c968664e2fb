//! A local chain under the driver: anvil, with a contract of memberships on it.

use crate::process::{Event, Process, number, text};
use anyhow::{Context, Result};
use bytes::Bytes;
use membership::{
    Address,
    contract::{Contract, Flavour},
    provider::{Http, Provider, Transport as _, Url},
    register::Account,
};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// From the start of the program to its `ready`: it compiles the contracts.
const START: Duration = Duration::from_secs(120);
/// From SIGTERM to its end: it writes its state.
const END: Duration = Duration::from_secs(20);

/// A running chain. Dropping it ends it, and its node with it.
#[derive(Debug)]
pub(crate) struct ChainPeer {
    process: Process,
    ready: Event,
    port: u16,
    /// It is not signalled twice: by then its number may be another's.
    stopped: AtomicBool,
}

impl ChainPeer {
    /// Starts a chain on a free port with one contract; `flags` go to the program.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start(script: &Path, name: &str, chain: u64, flags: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Self::start_at(script, name, chain, port, flags)
    }

    /// The same on a port that is known to be free.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) fn start_at(script: &Path, name: &str, chain: u64, port: u16, flags: &[&str]) -> Result<Self> {
        let script = script.to_str().context("the path of the chain is not Unicode")?;
        let (port_text, chain) = (port.to_string(), chain.to_string());
        let arguments = [&[script, "--port", &port_text, "--chain-id", &chain], flags].concat();
        let process = Process::spawn(name, Path::new("node"), &arguments)?;
        let ready = process.ready(START)?;
        Ok(Self { process, ready, port, stopped: AtomicBool::new(false) })
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Its contract.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn contract(&self) -> Result<Contract> {
        let flavour = if text(&self.ready, "contract") == "RlnEarlier" { Flavour::Earlier } else { Flavour::Current };
        let address: Address = text(&self.ready, "address").parse().context("the chain names no contract")?;
        let chain = number(&self.ready, "chainId").context("the chain names no id")?;
        Ok(Contract { chain, address, flavour })
    }

    /// One of its ten accounts with ether.
    ///
    /// # Errors
    /// When there are fewer.
    pub(crate) fn account(&self, which: usize) -> Result<Account> {
        Ok(self.key(which).parse()?)
    }

    /// Its private key, in hex; empty when there are fewer.
    pub(crate) fn key(&self, which: usize) -> &str {
        text(&self.ready["accounts"][which], "key")
    }

    /// Its address.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn url(&self) -> Result<Url> {
        Ok(text(&self.ready, "rpc").parse()?)
    }

    /// Asks it as the provider of a chain.
    ///
    /// # Errors
    /// When it has no address.
    pub(crate) fn provider(&self, chain: u64) -> Result<Provider> {
        Ok(Provider::new(chain, vec![self.url()?], Http::new())?)
    }

    /// Asks for what only a chain of tests does: takes a snapshot, moves the clock.
    ///
    /// # Errors
    /// When it does not do it.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value> {
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer: Bytes = Http::new().post(&self.url()?, question.to_string().into_bytes()).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        anyhow::ensure!(answer["error"].is_null(), "{method}: {answer}");
        Ok(answer["result"].clone())
    }

    /// Ends it; whatever it was told to keep is written.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) fn stop(&self) -> Result<()> {
        if self.stopped.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.process.terminate()?;
        self.process.exit(END).map(drop)
    }
}

impl Drop for ChainPeer {
    fn drop(&mut self) {
        // Killed, it would leave its node behind.
        let _ = self.stop();
    }
}
