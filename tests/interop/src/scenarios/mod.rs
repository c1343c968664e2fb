//! What must hold between the bridge and peers that nobody wrote for it, one scenario a function.

mod crossing;
mod odd_peers;
mod peers;
mod program;
mod round_trip;

use crate::causeway::Causeway;
use crate::programs::Programs;
use crate::status_peer::StatusPeer;
use crate::waku_peer::WakuPeer;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use tempfile::TempDir;

/// What a scenario works with.
#[derive(Debug)]
pub(crate) struct Lab {
    programs: Programs,
    /// Payloads each way in `crossing`; the others scale from it.
    pub(crate) messages: usize,
    folder: TempDir,
}

/// A named scenario. It passes with a remark for the table, or fails with what was seen.
pub(crate) struct Scenario {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What must hold.
    pub(crate) claim: &'static str,
    /// Runs it.
    pub(crate) run: fn(&Lab) -> Result<String>,
}

/// All scenarios, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "peers",
        claim: "without the bridge: each peer hears its own kind, and opens what the other's library sealed",
        run: peers::between_themselves,
    },
    Scenario {
        name: "program",
        claim: "banner, health, readiness, metrics, kept node key, SIGTERM, wrong flags, demo",
        run: program::as_an_operator_meets_it,
    },
    Scenario {
        name: "crossing",
        claim: "we dial both peers: all payloads cross exactly once, both ways, 1 B to 100 KiB, and none comes back",
        run: crossing::dialling,
    },
    Scenario { name: "dialled", claim: "the same when both peers dial us", run: crossing::dialled },
    Scenario {
        name: "two-bridges-parallel",
        claim: "two bridges between the same two networks: still exactly once, and no echo",
        run: crossing::two_bridges,
    },
    Scenario {
        name: "round-trip-envelope",
        claim: "v0 - bridge - v2 - bridge - v0: the same envelope, hash for hash, without mining",
        run: round_trip::envelope,
    },
    Scenario {
        name: "round-trip-message",
        claim: "v2 - bridge - v0 - bridge - v2, with --restore-tagged: the same message hash",
        run: round_trip::message,
    },
    Scenario {
        name: "odd-peers",
        claim: "another cluster is left; confirmations do no harm; topic interest gets its topics alone",
        run: odd_peers::live_beside_others,
    },
];

impl Lab {
    /// A lab with a folder of its own for all data directories.
    ///
    /// # Errors
    /// When there is no temporary folder.
    pub(crate) fn new(programs: Programs, messages: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("causeway-interop-").tempdir().context("temporary folder")?;
        Ok(Self { programs, messages, folder })
    }

    /// The programs.
    pub(crate) const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The data directory of a bridge of this name; the same name is the same directory.
    pub(crate) fn data_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a status-go peer.
    ///
    /// # Errors
    /// When it does not start: a failure, not a skip.
    pub(crate) fn status(&self, name: &str, flags: &[&str]) -> Result<StatusPeer> {
        StatusPeer::start(&self.programs.status_go, name, flags)
    }

    /// Starts a go-waku peer.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn waku(&self, name: &str, flags: &[&str]) -> Result<WakuPeer> {
        WakuPeer::start(&self.programs.go_waku, name, flags)
    }

    /// Starts a bridge.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn bridge(&self, name: &str, flags: &[&str]) -> Result<Causeway> {
        Causeway::start(&self.programs.causeway, name, &self.data_dir(name), flags)
    }

    /// Starts a bridge that dials these two peers, and waits until each has it as a peer.
    ///
    /// # Errors
    /// When they do not come together.
    pub(crate) fn bridge_between(
        &self,
        name: &str,
        v0: &StatusPeer,
        v2: &WakuPeer,
        flags: &[&str],
    ) -> Result<Causeway> {
        let mut all = vec!["--staticnode-v1", v0.enode(), "--staticnode-v2", v2.multiaddr()];
        all.extend(flags);
        let bridge = self.bridge(name, &all)?;
        join(&bridge, v0, v2)?;
        Ok(bridge)
    }
}

/// Waits until a bridge and its peers are ready for each other.
///
/// # Errors
/// When they are not in time.
pub(crate) fn join(bridge: &Causeway, v0: &StatusPeer, v2: &WakuPeer) -> Result<()> {
    v0.await_session(bridge.enode())?;
    v2.await_mesh(bridge.multiaddr())?;
    bridge.await_ready()
}
