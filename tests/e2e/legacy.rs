//! A waku/0 node alone.

use std::time::Duration;

use crate::process::{Bridge, Output, run};

#[test]
fn a_waku0_node_alone_passes_envelopes_and_speaks_no_libp2p() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let node = Bridge::legacy_in(data.path(), &[]);
    assert!(node.banner.iter().any(|line| line.contains("waku/0 node")), "{:#?}", node.banner);
    assert_eq!(node.libp2p, "");
    let (status, body) = node.get("/readyz");
    assert_eq!((status, body.contains("v1_peers"), body.contains("v2_peers")), (503, true, false), "{body}");

    let listener = Output::of(&["listen", &node.enode, "--count=1", "--timeout=30"]);
    listener.wait_for_error_line("listening for");
    assert_eq!(node.get("/readyz").0, 200);
    let posted = run(&["post", &node.enode, "--text=from one old client to another"]);
    assert!(posted.success, "{posted:?}");
    let heard = listener.end();
    assert!(heard.success && heard.stdout.contains("from one old client to another"), "{heard:?}");

    let metrics = node.get("/metrics").1;
    assert!(metrics.lines().any(|line| line == "waku_envelopes_validated_total 1"), "{metrics}");
    assert!(!metrics.lines().any(|line| line.starts_with("bridge_")), "{metrics}");
    assert_eq!(node.terminate(Duration::from_secs(10)), Some(0));
}
