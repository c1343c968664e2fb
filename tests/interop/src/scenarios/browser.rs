//! js-waku in pages of a real browser, at our WebSocket listener, beside go-waku over TCP.

use super::Lab;
use crate::browser::Browser;
use crate::crossing::{content_topic, settle};
use crate::deadline::poll;
use crate::process::text;
use crate::waku_peer::{Message, PUBSUB, WakuPeer};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Texts that each peer sends.
pub(super) const TEXTS: usize = 10;
/// The longest text, in bytes.
const LONGEST: usize = 100 * 1024;
/// From the last text to its arrival everywhere.
const ARRIVAL: Duration = Duration::from_secs(60);
/// Nothing else is published on it.
const TOPIC: &str = "c5000002";
/// The pages, and the muxer that each of them speaks.
pub(super) const PAGES: [(&str, &str, &str); 2] =
    [("page-yamux", "yamux", "/yamux/1.0.0"), ("page-mplex", "mplex", "/mplex/6.7.0")];

/// Two pages and go-waku, all at one node and at no other.
pub(super) fn pages(lab: &Lab) -> Result<String> {
    let bridge = lab.bridge("browsed", &["--bridge-direction=v1-to-v2"])?;
    let go = lab.waku("go-waku", &["-dial", bridge.multiaddr()])?;
    let browser = Browser::start(&lab.programs().pages, &lab.data_dir("browser"))?;
    for (page, muxer, spoken) in PAGES {
        let told = browser.open(page, muxer, &bridge.websocket()?, &content_topic(TOPIC))?;
        ensure!(told == spoken, "{page} speaks {told}");
    }
    go.await_mesh(bridge.multiaddr())?;
    bridge.await_mesh(1 + PAGES.len())?;

    for n in 0..TEXTS {
        for (page, ..) in PAGES {
            browser.say(page, &said(page, n))?;
        }
        let payload = hex::encode(said("go-waku", n));
        go.publish(&format!("pub {PUBSUB} {} {payload}", content_topic(TOPIC)))?;
    }
    let heard = |listener: &str| if listener == "go-waku" { heard_by(&go) } else { browser.messages(listener) };
    let listeners = ["go-waku", PAGES[0].0, PAGES[1].0];
    for listener in listeners {
        let all = || heard(listener).is_ok_and(|heard| heard.len() >= 2 * TEXTS).then_some(());
        poll(ARRIVAL, all)
            .with_context(|| format!("{listener} heard {:?}", heard(listener).map(|heard| heard.len())))?;
    }
    settle(&[go.process()])?;
    for listener in listeners {
        let others = listeners.into_iter().filter(|other| *other != listener);
        let mut owed: Vec<String> = others.flat_map(|other| (0..TEXTS).map(move |n| said(other, n))).collect();
        let mut heard = heard(listener)?;
        owed.sort_unstable();
        heard.sort_unstable();
        ensure!(heard == owed, "{listener} heard {} texts, not each of {} once", heard.len(), owed.len());
    }
    browser.quit()?;
    bridge.stop()?;
    Ok(format!("{TEXTS} texts of each of two pages and go-waku reached both others once, up to {LONGEST} bytes"))
}

/// What a peer says, longer each time.
pub(super) fn said(who: &str, n: usize) -> String {
    let mut text = format!("{who}-{n}-");
    text.extend(std::iter::repeat_n('x', (LONGEST - text.len()) * n * n / ((TEXTS - 1) * (TEXTS - 1))));
    text
}

pub(super) fn heard_by(go: &WakuPeer) -> Result<Vec<String>> {
    let events = go.process().log().since(0);
    let arrived = events.iter().filter(|event| Message::arrived(event).is_some());
    arrived.map(|event| Ok(String::from_utf8(hex::decode(text(event, "payload"))?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_and_reach_the_longest() {
        assert_eq!(said("go-waku", 0), "go-waku-0-");
        assert_eq!(said("page-mplex", TEXTS - 1).len(), LONGEST);
        assert_ne!(said("page-mplex", 3), said("page-yamux", 3));
    }
}
