//! The main job, shown with nothing else installed: a bridge, a waku/0 client and a v2 client over real loopback sockets.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bridge::content_topic::canonical;
use bytes::Bytes;
use tokio::time::timeout;
use waku0::Topic;
use waku2::ClusterId;

use crate::{
    assemble,
    cli::DemoArgs,
    client::{V0Client, V2Client},
    config::Config,
    output::say,
};

/// Topic that the demo uses: the first four bytes of Keccak-256("status").
const TOPIC: Topic = Topic([0xcd, 0x42, 0x37, 0x60]);
/// Time to live of the demo's envelopes, in seconds.
const TTL_SECS: u32 = 15;
/// How long to listen on for anything that arrives twice or comes back, once all have arrived.
const LISTEN_ON: Duration = Duration::from_millis(1500);

/// One text on its way: when it left, and how often it has arrived.
#[derive(Debug)]
struct Sent {
    text: String,
    at: Instant,
    hash: String,
    arrived: u32,
}

/// Runs the demo.
///
/// # Errors
/// If a part can't start, or if not every text arrived exactly once on the other side.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let wait = Duration::from_secs(args.timeout);
    let data_dir = std::env::temp_dir().join(format!("causeway-demo-{}", std::process::id()));
    let outcome = cross(&args, wait, &data_dir).await;
    // What can't be removed is a key of 32 bytes in the system's own folder for such things.
    let _ = std::fs::remove_dir_all(&data_dir);
    outcome
}

async fn cross(args: &DemoArgs, wait: Duration, data_dir: &std::path::Path) -> anyhow::Result<()> {
    let mut config = Config::on_loopback();
    config.data_dir = Some(data_dir.to_owned());
    let topic =
        config.v2.as_ref().and_then(|v2| v2.network.topics.first()).context("the default route has no topic")?.clone();
    let bridge = assemble::start(config).await?;
    let address = bridge.addresses().first().context("the bridge has no libp2p address")?.clone();
    let enode = bridge.enode().context("the bridge has no enode")?;
    say(format_args!("bridge     {enode}\n           {address}"))?;
    let mut v0 = V0Client::connect(enode, wait).await?;
    say("waku/0     client connected, Status exchanged")?;
    let mut v2 = V2Client::connect(&address, ClusterId(0), topic, wait).await?;
    say(format_args!("v2         client connected, relaying {}\n", bridge.route().unwrap_or("nothing")))?;

    say(format_args!("{:<10} {:<11} {:<20} {:<20} {:>9}", "way", "topic", "sent as", "arrived as", "took"))?;
    let to_v2 = forth(args, &v0, &mut v2, wait).await?;
    let to_v0 = back(args, &v2, &mut v0, wait).await?;
    let strays = strays(&mut v0, &mut v2).await;
    v0.close().await;
    v2.close().await;
    bridge.shutdown().await;
    judge(&to_v2, &to_v0, strays)
}

/// Envelopes to messages.
async fn forth(args: &DemoArgs, v0: &V0Client, v2: &mut V2Client, wait: Duration) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Flight::default();
    for n in 1..=args.messages {
        let text = format!("envelope {n} of {}", args.messages);
        let hash = v0.post(TOPIC, TTL_SECS, Bytes::from(text.clone())).await?;
        sent.left(text, hash.to_string());
    }
    while sent.under_way() {
        let Ok(Some(received)) = timeout(wait, v2.next()).await else { break };
        sent.arrived("v0 -> v2", &received.message.payload, &received.hash.to_string());
    }
    Ok(sent.0)
}

/// Messages to envelopes.
async fn back(args: &DemoArgs, v2: &V2Client, v0: &mut V0Client, wait: Duration) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Flight::default();
    let content_topic = canonical(TOPIC);
    for n in 1..=args.messages {
        let text = format!("message {n} of {}", args.messages);
        let hash = v2.publish(content_topic.clone(), Bytes::from(text.clone())).await?;
        sent.left(text, hash.to_string());
    }
    while sent.under_way() {
        let Ok(Some(envelope)) = timeout(wait, v0.next()).await else { break };
        sent.arrived("v2 -> v0", envelope.data(), &envelope.hash().to_string());
    }
    Ok(sent.0)
}

/// How many more arrive in a while: copies, or what came back to where it was sent.
async fn strays(v0: &mut V0Client, v2: &mut V2Client) -> usize {
    let mut strays = 0;
    let _ = timeout(LISTEN_ON, async {
        loop {
            tokio::select! { Some(_) = v0.next() => strays += 1, Some(_) = v2.next() => strays += 1, else => break }
        }
    })
    .await;
    strays
}

/// What has been sent one way, in order.
#[derive(Debug, Default)]
struct Flight(Vec<Sent>);

impl Flight {
    fn left(&mut self, text: String, hash: String) {
        self.0.push(Sent { text, at: devp2p::clock::now().instant, hash, arrived: 0 });
    }

    fn under_way(&self) -> bool {
        self.0.iter().any(|sent| sent.arrived == 0)
    }

    fn arrived(&mut self, way: &str, text: &[u8], hash: &str) {
        let Some(sent) = self.0.iter_mut().find(|sent| sent.text.as_bytes() == text) else { return };
        sent.arrived += 1;
        let took = devp2p::clock::now().instant.saturating_duration_since(sent.at);
        let millis = took.as_secs_f64() * 1000.0;
        let (topic, from, to) = (TOPIC.to_string(), short(&sent.hash), short(hash));
        // The verdict counts, not the table: who stops reading it still gets the exit code.
        let _ = say(format_args!("{way:<10} {topic:<11} {from:<20} {to:<20} {millis:>6.1} ms"));
    }
}

/// The first eight bytes of a hash: enough to tell them apart on one screen.
fn short(hash: &str) -> String {
    match hash.get(..18) {
        Some(head) => format!("{head}…"),
        None => hash.into(),
    }
}

fn judge(to_v2: &[Sent], to_v0: &[Sent], strays: usize) -> anyhow::Result<()> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for sent in to_v2.iter().chain(to_v0) {
        *counts.entry(sent.arrived).or_default() += 1;
    }
    let (all, once) = (to_v2.len() + to_v0.len(), counts.get(&1).copied().unwrap_or(0));
    say(format_args!("\n{once} of {all} arrived exactly once, {strays} came twice or came back"))?;
    if once != all || strays != 0 {
        bail!("not every text crossed exactly once");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(arrived: &[u32]) -> Vec<Sent> {
        let at = devp2p::clock::now().instant;
        arrived.iter().map(|n| Sent { text: String::new(), at, hash: String::new(), arrived: *n }).collect()
    }

    #[test]
    fn only_exactly_once_is_success() {
        assert!(judge(&flight(&[1, 1]), &flight(&[1]), 0).is_ok());
        assert!(judge(&flight(&[1, 0]), &flight(&[1]), 0).is_err());
        assert!(judge(&flight(&[1]), &flight(&[2]), 0).is_err());
        assert!(judge(&flight(&[1]), &flight(&[1]), 1).is_err());
    }
}
