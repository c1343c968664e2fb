//! Payloads both ways through one bridge, and through two side by side.

use super::{Lab, join};
use crate::crossing::{GENTLE, cross, exchange_keys};
use crate::payloads::spread;
use crate::waku_peer::peer_id;
use anyhow::Result;

/// Seeds of the payloads, so that no two scenarios or directions send the same bytes.
const SEEDS: [u64; 2] = [0x0a00_0000, 0x0b00_0000];

/// The bridge dials both peers.
pub(super) fn dialling(lab: &Lab) -> Result<String> {
    let (v0, v2) = (lab.status("status-go", &[])?, lab.waku("go-waku", &[])?);
    let bridge = lab.bridge_between("crossing", &v0, &v2, &[])?;
    exchange_keys(&v0, &v2)?;
    let [to_v2, to_v0] = SEEDS.map(|seed| spread(lab.messages, seed));
    let crossed = cross(&v0, &v2, &to_v2, &to_v0, GENTLE).map_err(|e| bridge.explain(e))?.without_return()?;
    bridge.stop()?;
    Ok(crossed.summary())
}

/// Both peers dial the bridge.
pub(super) fn dialled(lab: &Lab) -> Result<String> {
    let bridge = lab.bridge("dialled", &[])?;
    let v0 = lab.status("status-go", &["-dial", bridge.enode()])?;
    let v2 = lab.waku("go-waku", &["-dial", bridge.multiaddr()])?;
    join(&bridge, &v0, &v2)?;
    exchange_keys(&v0, &v2)?;
    let [to_v2, to_v0] = SEEDS.map(|seed| spread(lab.messages.div_ceil(10), seed));
    let crossed = cross(&v0, &v2, &to_v2, &to_v0, GENTLE).map_err(|e| bridge.explain(e))?.without_return()?;
    bridge.stop()?;
    Ok(crossed.summary())
}

/// What crosses to v2 is published by another go-waku, to which the bridge hands it.
pub(super) fn handed_over(lab: &Lab) -> Result<String> {
    let (v0, service) =
        (lab.status("status-go", &[])?, lab.waku("go-service", &["-lightpush", "-min-relay-peers", "1"])?);
    let v2 = lab.waku("go-waku", &["-dial", service.multiaddr()])?;
    v2.await_mesh(service.multiaddr())?;
    service.await_mesh(v2.multiaddr())?;
    let node = format!("--lightpushnode={}", service.multiaddr());
    let bridge = lab.bridge_between("handed-over", &v0, &v2, &["--bridge-lightpush", &node])?;
    exchange_keys(&v0, &v2)?;
    let [to_v2, to_v0] = SEEDS.map(|seed| spread(lab.messages.div_ceil(10), seed));
    let crossed = cross(&v0, &v2, &to_v2, &to_v0, GENTLE).map_err(|e| bridge.explain(e))?.without_return()?;
    bridge.stop()?;
    Ok(crossed.summary())
}

/// Two bridges join the same two networks. The very same envelope may come back on the wire, where its pool knows it: a bridge that hears
/// a message before the envelope rebuilds that envelope.
pub(super) fn two_bridges(lab: &Lab) -> Result<String> {
    let (v0, v2) = (lab.status("status-go", &[])?, lab.waku("go-waku", &[])?);
    let one = lab.bridge_between("bridge-1", &v0, &v2, &[])?;
    let two = lab.bridge_between("bridge-2", &v0, &v2, &[])?;
    anyhow::ensure!(peer_id(one.multiaddr()) != peer_id(two.multiaddr()), "two bridges with one key");
    exchange_keys(&v0, &v2)?;
    let [to_v2, to_v0] = SEEDS.map(|seed| spread(lab.messages.div_ceil(5), seed));
    let crossed = cross(&v0, &v2, &to_v2, &to_v0, GENTLE).map_err(|e| two.explain(one.explain(e)))?;
    one.stop()?;
    two.stop()?;
    let returned = crossed.to_v2.returned + crossed.to_v0.returned;
    Ok(format!("{}; {returned} came back as known envelopes", crossed.summary()))
}
