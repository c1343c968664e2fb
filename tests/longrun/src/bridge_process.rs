//! A `causeway bridge` process on loopback: built, started, known by its banner, ended by SIGTERM, never left behind.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
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
    /// Where browsers reach it.
    pub(crate) websocket: Multiaddr,
    /// Unless somebody else keeps it.
    _data: Option<TempDir>,
}

impl BridgeProcess {
    /// Builds and starts one with these flags beside; `given` is started in place of what is built.
    ///
    /// # Errors
    /// When it cannot be built, or ends before it has said where it is.
    pub(crate) fn start(given: Option<&Path>, flags: &[&str]) -> Result<Self> {
        let data = TempDir::new()?;
        let mut started = Self::start_in(given, data.path(), flags)?;
        started._data = Some(data);
        Ok(started)
    }

    /// The same in a data directory that outlives it.
    ///
    /// # Errors
    /// As [`BridgeProcess::start`].
    pub(crate) fn start_in(given: Option<&Path>, data: &Path, flags: &[&str]) -> Result<Self> {
        let program = given.map_or_else(build, |path| Ok(path.to_owned()))?;
        let mut child = Command::new(&program)
            .args(["bridge", "--listen-address", "127.0.0.1", "--devp2p-tcp-port=0", "--tcp-port=0"])
            .args(["--websocket-port=0", "--rest-port=0"])
            .args(["--log-level=warn", "--data-dir"])
            .arg(data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} can't be started", program.display()))?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let (mut enode, mut addresses) = (None, Vec::<Multiaddr>::new());
        while enode.is_none() || addresses.len() < 2 {
            let Some(line) = lines.next().transpose()? else {
                let _ = child.kill();
                bail!("the bridge ended with {}", child.wait()?);
            };
            match line.split_once(' ') {
                Some(("enode", text)) => enode = Some(text.trim().parse()?),
                Some(("libp2p", text)) => addresses.push(text.trim().parse()?),
                _ => {}
            }
        }
        // Nobody reads on, and a full pipe must not hold it up.
        thread::spawn(move || lines.for_each(drop));
        let is_web = |address: &Multiaddr| address.to_string().contains("/ws/");
        let (web, plain): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_web);
        Ok(Self {
            child,
            enode: enode.context("an enode")?,
            address: plain.into_iter().next().context("an address")?,
            websocket: web.into_iter().next().context("a WebSocket address")?,
            _data: None,
        })
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

fn build() -> Result<PathBuf> {
    if !cargo().args(["build", "--release", "--locked", "-p", "causeway"]).status()?.success() {
        bail!("the bridge was not built");
    }
    Ok(target_directory()?.join("release/causeway"))
}
