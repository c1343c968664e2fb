//! What became of it: `causeway trace` tells by any hash what the bridge knows.

use crate::process::{Bridge, Output, Said, run};

fn trace(bridge: &Bridge, hash: &str, more: &[&str]) -> Said {
    let rest = format!("--rest=127.0.0.1:{}", bridge.http_port());
    let mut args = vec!["trace", hash, &rest];
    args.extend(more);
    run(&args)
}

/// Posts, and returns the hash that is printed.
fn posted(to: &str, topic: &str) -> String {
    let said = run(&["post", to, &format!("--topic={topic}"), "--text=what became of it?"]);
    assert!(said.success, "{said:?}");
    said.stdout.split_whitespace().nth(1).expect("a hash").to_owned()
}

#[test]
fn an_envelope_is_told_from_both_ends() {
    let bridge = Bridge::start(&[]);
    let listener = Output::of(&["listen", &bridge.libp2p, "--count=1", "--timeout=60"]);
    listener.wait_for_error_line("listening for");
    let envelope = posted(&bridge.enode, "0x01020304");
    let heard = listener.end();
    let message = heard.stdout.split_whitespace().nth(1).expect("a hash").to_owned();
    for hash in [&envelope, &message] {
        // The listener may hear of it before the bridge is told that it was taken.
        let said = (0..100).map(|_| trace(&bridge, hash, &[])).find(|said| said.stdout.contains("crossed"));
        let said = said.expect("it crosses");
        assert!(said.stdout.contains(&envelope) && said.stdout.contains(&message), "{said:?}");
        assert!(said.stdout.contains("both sides have it"), "{said:?}");
        assert!(said.stdout.contains("v1 to v2 by route default, /waku/2/rs/0/0"), "{said:?}");
    }
    let json = trace(&bridge, &envelope, &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&told["ended"][0]["by"], &told["known"][0]["state"]), (&"wrapped".into(), &"done".into()), "{told}");
}

#[test]
fn what_is_not_known_and_what_is_no_hash_are_told_apart() {
    let bridge = Bridge::start(&[]);
    let unknown = trace(&bridge, &"0f".repeat(32), &[]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("nothing is known of it"), "{unknown:?}");
    let wrong = trace(&bridge, "0x0f", &[]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("64 hex digits"), "{wrong:?}");
    let nobody = run(&["trace", &"0f".repeat(32), "--rest=127.0.0.1:1"]);
    assert!(nobody.code == Some(1) && nobody.stderr.contains("no bridge answers at 127.0.0.1:1"), "{nobody:?}");
    assert_eq!(bridge.get("/bridge/v1/messages/0f").0, 400);
}
