//! Builds what the scenarios run: the Go peers, the packages of the JavaScript peer, and the bridge. Progress goes to standard error.

use crate::deadline::now;
use crate::npm;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The only Go that compiles go-waku 0.9.0: its QUIC library refuses 1.21 and later. `go` fetches it by itself.
const GO_WAKU_TOOLCHAIN: &str = "go1.20.14";

/// Its mail server brings in a package that reaches into the runtime, which newer linkers refuse. Nothing here runs it.
const UNLINKED: &str = "-ldflags=-checklinkname=0";

/// Paths of the built programs.
#[derive(Debug)]
pub(crate) struct Programs {
    /// status-go's waku/0 and waku/1, and the envelope benchmarks.
    pub(crate) status_go: PathBuf,
    /// go-ethereum's discovery.
    pub(crate) geth_disc: PathBuf,
    /// go-ethereum's Whisper.
    pub(crate) whisper: PathBuf,
    /// A go-waku relay node.
    pub(crate) go_waku: PathBuf,
    /// The message benchmarks, on go-libp2p's gossipsub.
    pub(crate) go_waku_bench: PathBuf,
    /// The script of a js-waku node, beside its packages.
    pub(crate) js_waku: PathBuf,
    /// The script of a browser with js-waku in its pages.
    pub(crate) pages: PathBuf,
    /// The script of a web3 client, beside its packages.
    pub(crate) web3: PathBuf,
    /// The script of a local chain with contracts of memberships, beside its packages.
    pub(crate) chain: PathBuf,
    /// Release 0.9.0 of the reference library of rate-limit proofs.
    pub(crate) rln_0_9: PathBuf,
    /// The script around its WebAssembly build, beside its package.
    pub(crate) rln_wasm: PathBuf,
    /// The folder with the circuit and the key that this build reads.
    pub(crate) rln_circuit: PathBuf,
    /// What every archive keeps to, against PostgreSQL.
    pub(crate) postgres_contract: PathBuf,
    /// The bridge.
    pub(crate) causeway: PathBuf,
}

impl Programs {
    /// Builds everything; the bridge only if no other is given.
    ///
    /// # Errors
    /// When a program cannot be built: that is a failure of the run, never a reason to leave a scenario out.
    pub(crate) fn build(given: Option<&Path>) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (status_go, go_waku) = (root.join("peers/status-go"), root.join("peers/go-waku"));
        let (geth_disc, whisper) = (root.join("peers/geth-disc"), root.join("peers/whisper"));
        go(&status_go, &[], &[UNLINKED, "."])?;
        go(&geth_disc, &[], &["."])?;
        go(&whisper, &[], &["."])?;
        go(&go_waku, &[("GOTOOLCHAIN", GO_WAKU_TOOLCHAIN)], &["-tags", "gowaku_no_rln", ".", "./bench"])?;
        let js_waku = root.join("peers/js-waku");
        npm::fetch(&js_waku)?;
        let web3 = root.join("peers/web3");
        npm::fetch(&web3)?;
        let chain = root.join("peers/chain");
        npm::fetch(&chain)?;
        let (rln_0_9, rln_wasm) = (root.join("peers/rln-0.9"), root.join("peers/rln-wasm"));
        npm::fetch(&rln_wasm)?;
        let workspace = &root.join("../..");
        let causeway = given.map_or_else(|| cargo(workspace, &["--bin"], "causeway"), |path| Ok(path.to_owned()))?;
        Ok(Self {
            status_go: status_go.join("bin/status-go-peer"),
            geth_disc: geth_disc.join("bin/geth-disc-peer"),
            whisper: whisper.join("bin/whisper-peer"),
            go_waku: go_waku.join("bin/go-waku-peer"),
            go_waku_bench: go_waku.join("bin/bench"),
            js_waku: js_waku.join("peer.mjs"),
            pages: js_waku.join("browser/pages.mjs"),
            web3: web3.join("client.mjs"),
            chain: chain.join("run.mjs"),
            rln_circuit: circuit(&rln_0_9)?,
            rln_0_9: cargo(&rln_0_9, &["--locked", "--target-dir", "bin", "--bin"], "rln-peer")?,
            rln_wasm: rln_wasm.join("peer.mjs"),
            postgres_contract: cargo(workspace, &["-p", "archive", "--example"], "postgres_contract")?,
            causeway,
        })
    }
}

fn go(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Result<()> {
    std::fs::create_dir_all(folder.join("bin"))?;
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o", "bin/"])
        .args(arguments);
    command.envs(environment.iter().copied()).env("CGO_ENABLED", "1");
    run(command, &format!("go build in {}", folder.display()))
}

/// Builds a program of a workspace, from its root, so that cargo shares what `cargo build --release` has built, and asks cargo where it put it, since the target directory may be anywhere.
fn cargo(workspace: &Path, arguments: &[&str], name: &str) -> Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).args(["build", "--release"]).args(arguments).arg(name);
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    eprintln!("interop: cargo build --release {} {name}", arguments.join(" "));
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{name} does not build");
    }
    let artifacts = String::from_utf8_lossy(&output.stdout);
    artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|artifact| artifact["target"]["name"] == name)
        .find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo named no executable for {name}"))
}

/// The last release with the key in the form that browsers read; cargo fetches it beside what the peer is built of.
const CIRCUIT_RELEASE: &str = "0.8.0";

/// Asks cargo where that release is.
fn circuit(workspace: &Path) -> Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).args(["metadata", "--locked", "--format-version", "1"]).stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the circuit of rate-limit proofs cannot be fetched");
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let mut packages = metadata["packages"].as_array().context("cargo names no packages")?.iter();
    let package = packages.find(|package| package["name"] == "rln" && package["version"] == CIRCUIT_RELEASE);
    let manifest =
        package.and_then(|package| package["manifest_path"].as_str()).context("cargo knows no such release")?;
    Ok(Path::new(manifest).with_file_name("resources/tree_height_20"))
}

fn run(mut command: Command, what: &str) -> Result<()> {
    eprintln!("interop: {what}");
    let start = now();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{what}: cannot start it"))?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    eprintln!("interop: {what}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
