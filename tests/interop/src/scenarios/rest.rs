//! A script written for nwaku's REST against our node, with go-waku beyond it.

use super::Lab;
use crate::process::Process;
use crate::waku_peer::{Message, PUBSUB};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

/// What both speak about; of shard 0, which is the only one.
const TOPIC: &str = "/rest/1/script/plain";
/// What the script waits for.
const THEIRS: &[u8] = b"from the peer";
/// From the start of the script to its message; it waits for a mesh.
const PUBLISHED: Duration = Duration::from_secs(120);
/// From there to its end.
const ENDED: Duration = Duration::from_secs(120);

/// Health, version, peers, publishing, polling, history.
pub(super) fn by_a_script(lab: &Lab) -> Result<String> {
    let node = lab.bridge("scripted", &["--rest-admin=true", "--version-string=v0.37.0"])?;
    let peer = lab.waku("go-waku", &[])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rest.sh");
    let url = format!("http://{}", node.http());
    let script = Process::spawn("rest.sh", &script, &[url.as_str(), peer.multiaddr(), TOPIC])?;
    script.wait("its message", 0, PUBLISHED, |line| (line.as_str() == Some("published")).then_some(()))?;
    let heard = |e: &_| Message::arrived(e).filter(|message| message.content_topic == TOPIC).map(|_| ());
    peer.process().wait("the script's message", 0, PUBLISHED, heard)?;
    peer.publish(&format!("pub {PUBSUB} {TOPIC} {}", hex::encode(THEIRS)))?;
    let status = script.exit(ENDED)?;
    ensure!(status.success(), "{}", script.failure(&format!("ended with {status}")));
    node.stop()?;
    Ok("the script called the peer, was heard, and polled what it said".to_owned())
}
