//! The program as an operator meets it.

use super::{Lab, join};
use crate::causeway::STOP;
use crate::process::Process;
use anyhow::{Result, ensure};
use std::time::Duration;

/// Lines a newcomer reads at the start.
const BANNER_LINES: usize = 10;
/// A refusal of flags is immediate; a demo crosses a few messages each way.
const REFUSAL: Duration = Duration::from_secs(10);
const DEMO: Duration = Duration::from_secs(60);

/// First start, peers come, stop, second start, wrong flags, demo.
pub(super) fn as_an_operator_meets_it(lab: &Lab) -> Result<String> {
    let stopped = first_start(lab)?;
    wrong_flags(lab)?;
    demo(lab)?;
    Ok(format!("SIGTERM to exit 0 in {} ms", stopped.as_millis()))
}

fn first_start(lab: &Lab) -> Result<Duration> {
    let bridge = lab.bridge("operator", &[])?;
    let (status, body) = bridge.get("/livez")?;
    ensure!(status == 200, "/livez answers {status} {body}");
    let (status, body) = bridge.get("/health")?;
    ensure!(status == 200 && body.starts_with('{'), "/health answers {status} {body}");
    let (status, body) = bridge.get("/readyz")?;
    ensure!(status == 503, "/readyz answers {status} {body} without a peer");
    ensure!(bridge.metric("v1_peers")?.unwrap_or_default() == 0.0, "/metrics counts v1 peers that are none");

    let v0 = lab.status("status-go", &["-dial", bridge.enode()])?;
    let v2 = lab.waku("go-waku", &["-dial", bridge.multiaddr()])?;
    join(&bridge, &v0, &v2)?;
    ensure!(bridge.metric("v1_peers")? == Some(1.0), "v1_peers is {:?} with one", bridge.metric("v1_peers")?);

    let (enode, multiaddr) = (bridge.enode().to_owned(), bridge.multiaddr().to_owned());
    let stopped = bridge.stop()?;
    ensure!(bridge.printed() <= BANNER_LINES, "{} lines on standard output", bridge.printed());
    ensure!(stopped < STOP, "it took {} ms to stop", stopped.as_millis());

    let again = lab.bridge("operator", &[])?;
    ensure!(identity(again.enode()) == identity(&enode), "{enode} became {}", again.enode());
    let (old, new) = (multiaddr.rsplit('/').next(), again.multiaddr().rsplit('/').next());
    ensure!(old == new, "peer id {old:?} became {new:?}");
    let other = lab.bridge("another-operator", &[])?;
    ensure!(identity(other.enode()) != identity(&enode), "two data directories, one key");
    again.stop()?;
    other.stop()?;
    Ok(stopped)
}

/// The part of an enode before the address.
fn identity(enode: &str) -> Option<&str> {
    enode.split('@').next()
}

fn wrong_flags(lab: &Lab) -> Result<()> {
    for (flags, hint) in [
        (&["bridge", "--staticnode-v3=x"][..], "--staticnode-v"),
        (&["bridge", "--tcp-port=many"], "--tcp-port"),
        (&["bridge", "--staticnode-v1=nonsense"], "enode"),
        (&["brigde"], "bridge"),
    ] {
        let refused = Process::spawn("causeway", &lab.programs().causeway, flags)?;
        let status = refused.exit(REFUSAL)?;
        ensure!(status.code() == Some(2), "{flags:?} ended with {status}: {}", refused.stderr());
        ensure!(refused.stderr().contains(hint), "{flags:?} is answered without {hint}: {}", refused.stderr());
    }
    Ok(())
}

fn demo(lab: &Lab) -> Result<()> {
    let demo = Process::spawn("demo", &lab.programs().causeway, &["demo", "--messages", "5"])?;
    let status = demo.exit(DEMO)?;
    ensure!(status.success(), "{}", demo.failure(&format!("ended with {status}")));
    Ok(())
}
