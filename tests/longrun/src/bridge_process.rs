//! A `causeway bridge` process on loopback: built, started, known by its banner, ended by SIGTERM, never left behind.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use devp2p::Enode;
use tempfile::TempDir;
use waku2::Multiaddr;

use crate::fuzzing::{cargo, target_directory};

/// A running bridge; killed when dropped.
#[derive(Debug)]
pub(crate) struct BridgeProcess {
    child: Child,
    pub(crate) enode: Enode,
    pub(crate) address: Multiaddr,
    _data: TempDir,
}

impl BridgeProcess {
    /// Builds and starts it.
    ///
    /// # Errors
    /// When it cannot be built, or ends before it has said where it is.
    pub(crate) fn start() -> Result<Self> {
        if !cargo().args(["build", "--release", "--locked", "-p", "causeway"]).status()?.success() {
            bail!("the bridge was not built");
        }
        let data = TempDir::new()?;
        let mut child = Command::new(target_directory()?.join("release/causeway"))
            .args(["bridge", "--listen-address", "127.0.0.1", "--devp2p-tcp-port=0", "--tcp-port=0"])
            .args(["--websocket-port=0", "--rest-port=0"])
            .args(["--log-level=warn", "--data-dir"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let (mut enode, mut address) = (None, None);
        while enode.is_none() || address.is_none() {
            let Some(line) = lines.next().transpose()? else {
                let _ = child.kill();
                bail!("the bridge ended with {}", child.wait()?);
            };
            match line.split_once(' ') {
                Some(("enode", text)) => enode = Some(text.trim().parse()?),
                Some(("libp2p", text)) if address.is_none() => address = Some(text.trim().parse()?),
                _ => {}
            }
        }
        // Nobody reads on, and a full pipe must not hold it up.
        thread::spawn(move || lines.for_each(drop));
        let (enode, address) = (enode.context("an enode")?, address.context("an address")?);
        Ok(Self { child, enode, address, _data: data })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as an operator does.
    ///
    /// # Errors
    /// When it ends with an error.
    pub(crate) fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the bridge ended with {status}") }
    }
}

impl Drop for BridgeProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
