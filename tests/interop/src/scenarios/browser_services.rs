//! js-waku's light node in pages of a real browser, at our WebSocket listener: filter, store and lightpush, with a go-waku relay beyond us.

use super::Lab;
use super::browser::{PAGES, TEXTS, heard_by, said};
use crate::browser::Browser;
use crate::crossing::{content_topic, settle};
use crate::deadline::poll;
use crate::waku_peer::{PUBSUB, WakuPeer};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// From the last text to its arrival everywhere, and until it is kept.
const ARRIVAL: Duration = Duration::from_secs(60);
/// Nothing else is published on it.
const TOPIC: &str = "c500000b";
/// Of lightpush; a page uses them in turns.
const VERSIONS: [&str; 2] = ["3.0.0", "2.0.0-beta1"];
/// What is refused, by its name in the page: the status, and a part of its words.
const REFUSED: [(&str, &str, &str); 10] = [
    ("lightpush-nothing", "400", ""),
    ("lightpush-large", "413", "153600"),
    ("lightpush-shard", "421", ""),
    ("filter-ping", "404", "peer has no subscriptions"),
    ("filter-nothing", "400", ""),
    ("filter-many", "400", "exceeds maximum content topics: 100"),
    ("store-many", "400", ""),
    ("store-cursor", "400", ""),
    ("store-nowhere", "400", ""),
    // There is no other peer yet.
    ("lightpush", "503", ""),
];

/// Two pages and go-waku, all at one node and at no other.
pub(super) fn pages(lab: &Lab) -> Result<String> {
    let flags = ["--bridge-direction=v1-to-v2", "--filter", "--lightpush", "--store"];
    let node = lab.bridge("serving-pages", &flags)?;
    let browser = Browser::start(&lab.programs().pages, &lab.data_dir("browser-services"))?;
    for (page, muxer, spoken) in PAGES {
        let told = browser.open_services(page, muxer, &node.websocket()?, &content_topic(TOPIC))?;
        ensure!(told == spoken, "{page} speaks {told}");
    }
    refusals(&browser)?;
    let go = lab.waku("go-waku", &["-dial", node.multiaddr()])?;
    go.await_mesh(node.multiaddr())?;
    node.await_mesh(1)?;

    for (page, ..) in PAGES {
        let told = browser.submit(page, "subscribe")?;
        ensure!(told == "subscribed", "{page}: {told}");
    }
    push_all(&browser, &go)?;
    let mut all: Vec<String> = ["go-waku", PAGES[0].0, PAGES[1].0].into_iter().flat_map(of).collect();
    all.sort_unstable();
    let from_pages = all.iter().filter(|text| !text.starts_with("go-waku")).cloned().collect::<Vec<_>>();
    heard("go-waku", &from_pages, || heard_by(&go))?;
    for (page, ..) in PAGES {
        heard(page, &all, || browser.messages(page))?;
        // Twice, and from either end: the order is that of history.
        let [forward, backward] = ["forward", "backward"].map(|order| history(&browser, page, order, &all));
        ensure!(forward? == backward?, "{page}: another order from the other end");
    }
    settle(&[go.process()])?;
    heard("go-waku", &from_pages, || heard_by(&go))?;
    for (page, ..) in PAGES {
        heard(page, &all, || browser.messages(page))?;
    }
    browser.quit()?;
    node.stop()?;
    Ok(format!(
        "{} texts to two pages by filter, each once, and all of them out of store; {} refusals by number",
        all.len(),
        REFUSED.len()
    ))
}

/// Each with its number, to each page; without a relay peer nothing is called pushed.
fn refusals(browser: &Browser) -> Result<()> {
    for (page, ..) in PAGES {
        for (what, status, words) in REFUSED {
            let told = browser.submit(page, &format!("refused {what}"))?;
            let expected = format!("{status} an-id ");
            ensure!(told.starts_with(&expected) && told.contains(words), "{page}, {what}: {told}");
        }
        for version in VERSIONS {
            let told = browser.submit(page, &format!("push {version} to-nobody"))?;
            ensure!(told.starts_with("not pushed"), "{page}, by {version} without a relay peer: {told}");
        }
    }
    Ok(())
}

/// What somebody says, in its order.
fn of(who: &str) -> impl Iterator<Item = String> {
    (0..TEXTS).map(move |n| said(who, n))
}

/// The pages push by both versions in turns, and go-waku publishes beside them.
fn push_all(browser: &Browser, go: &WakuPeer) -> Result<()> {
    for n in 0..TEXTS {
        for (place, (page, ..)) in PAGES.into_iter().enumerate() {
            let version = VERSIONS[(n + place) % VERSIONS.len()];
            let told = browser.submit(page, &format!("push {version} {}", said(page, n)))?;
            ensure!(told == "pushed", "{page}, text {n} by {version}: {told}");
        }
        let payload = hex::encode(said("go-waku", n));
        go.publish(&format!("pub {PUBSUB} {} {payload}", content_topic(TOPIC)))?;
    }
    Ok(())
}

/// Waits until somebody has heard as much as is owed; it must be that, each once.
fn heard(who: &str, owed: &[String], heard: impl Fn() -> Result<Vec<String>>) -> Result<()> {
    let enough = poll(ARRIVAL, || heard().is_ok_and(|heard| heard.len() >= owed.len()).then_some(()));
    enough.with_context(|| format!("{who} heard {:?} of {}", heard().map(|heard| heard.len()), owed.len()))?;
    let mut heard = heard()?;
    heard.sort_unstable();
    ensure!(heard == owed, "{who} heard {} texts, not each of {} once", heard.len(), owed.len());
    Ok(())
}

/// Asks for everything until there is as much as was said; each once. In the order in which it was told.
fn history(browser: &Browser, page: &str, order: &str, owed: &[String]) -> Result<Vec<String>> {
    let mut last = None;
    let told = poll(ARRIVAL, || {
        last = Some(browser.submit(page, &format!("query {order}")).and_then(|_| browser.history(page)));
        last.as_ref()?.as_ref().ok().filter(|told| told.len() >= owed.len()).cloned()
    });
    let told =
        told.with_context(|| format!("{page}: history has {:?}", last.map(|last| last.map(|told| told.len()))))?;
    let mut sorted = told.clone();
    sorted.sort_unstable();
    ensure!(sorted == owed, "{page}: history has {} texts, not each of {} once", told.len(), owed.len());
    Ok(told)
}
