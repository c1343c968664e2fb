//! `listen`: prints what peers pass on, opened if a key was given.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use devp2p::PublicKey;
use serde_json::{Value, json};
use waku0::{
    Topic,
    payload::{self, Key},
};

use super::{connect, secret};
use crate::{
    cli::ListenArgs,
    client::{Client, ClientError, Heard, PeerAddress},
    output::{Reader, remark, say, utc},
};

/// How long it tries to reach its peers.
const REACH: Duration = Duration::from_secs(20);

/// Hex digits of a public key in a column: enough to tell people apart.
const SHORT_KEY: usize = 8;

/// Prints what peers pass on.
///
/// # Errors
/// If a flag is wrong, the peers can't be reached, or the time is over before what was asked for has come.
pub async fn run(args: ListenArgs) -> anyhow::Result<()> {
    let (wanted, count) = (Wanted::read(&args)?, usize::from(args.peers));
    let peers = args.peer.iter().map(|peer| peer.parse()).collect::<Result<Vec<PeerAddress>, _>>()?;
    if count > peers.len() {
        return Err(secret::Misuse::Peers(peers.len()).into());
    }
    let limit = args.timeout.map(Duration::from_secs);
    let mut client = connect(&peers, count, &args.place, REACH).await?;
    let mut shown = 0;
    let heard = hear(&args, &wanted, &mut client, &mut shown);
    let ended = match limit {
        None => heard.await.map(Some),
        Some(limit) => tokio::time::timeout(limit, heard).await.ok().transpose(),
    };
    client.close().await;
    match ended? {
        Some(()) => Ok(()),
        None => enough(&args, shown),
    }
}

/// Whether what was shown is enough when the time is over.
fn enough(args: &ListenArgs, shown: u64) -> anyhow::Result<()> {
    let secs = args.timeout.unwrap_or_default();
    match args.count {
        Some(count) if shown < count => anyhow::bail!("not enough was heard within {secs} s: {shown} of {count}"),
        None if args.expect && shown == 0 => anyhow::bail!("nothing was heard within {secs} s"),
        Some(_) | None => Ok(()),
    }
}

/// Until enough was shown, or nobody reads any more.
async fn hear(args: &ListenArgs, wanted: &Wanted, client: &mut Client, shown: &mut u64) -> anyhow::Result<()> {
    let topic = wanted.topic.map(|topic| client.name_of(topic));
    remark("listening for what is passed on");
    while *shown < args.count.unwrap_or(u64::MAX) {
        let heard = client.next().await.ok_or(ClientError::Stopped)?;
        if topic.as_ref().is_some_and(|topic| *topic != heard.topic) {
            continue;
        }
        let Some(line) = wanted.line(heard) else { continue };
        if line.print(args)? == Reader::Left {
            break;
        }
        *shown += 1;
    }
    Ok(())
}

/// What of all that comes is shown.
#[derive(Debug)]
struct Wanted {
    topic: Option<Topic>,
    key: Option<Key>,
    from: Option<PublicKey>,
}

/// What is shown.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    heard: Heard,
    /// What it says, once opened; else what came.
    text: Bytes,
    opened: bool,
    from: Option<PublicKey>,
}

impl Wanted {
    fn read(args: &ListenArgs) -> Result<Self, secret::Misuse> {
        Ok(Self {
            topic: args.topic.as_deref().map(secret::topic).transpose()?,
            key: secret::opening_key(&args.open)?,
            from: secret::sender(&args.open)?,
        })
    }

    fn line(&self, heard: Heard) -> Option<Line> {
        let Some(key) = &self.key else {
            return Some(Line { text: heard.bytes.clone(), heard, opened: false, from: None });
        };
        let opened = payload::open(&heard.bytes, key).ok()?;
        let from = opened.signer();
        let wanted = self.from.is_none() || self.from == from;
        wanted.then_some(Line { heard, text: opened.payload, opened: true, from })
    }
}

impl Line {
    fn print(&self, args: &ListenArgs) -> std::io::Result<Reader> {
        if args.raw {
            return raw(&self.text);
        }
        if args.json { say(self.json()) } else { say(self.columns()) }
    }

    /// Without a key: where, which, how large, and the text if it is one. With one, also when, who and how much work.
    fn columns(&self) -> String {
        let Heard { topic, hash, bytes, sent, pow } = &self.heard;
        let (size, text) = (bytes.len(), printable(&self.text));
        if !self.opened {
            return format!("{topic}  {hash}  {size:>6} B  {text}");
        }
        let time = sent.map_or_else(|| "-".into(), utc);
        let from = self.from.map_or_else(|| "-".into(), |key| format!("0x04{}…", &key.to_string()[..SHORT_KEY]));
        let pow = pow.map_or_else(|| "-".into(), |pow| format!("{:.6}", pow.value()));
        format!("{time}  {topic}  {from}  {size:>6} B  {pow}  {text}")
    }

    fn json(&self) -> Value {
        let Heard { topic, hash, bytes, sent, pow } = &self.heard;
        json!({
            "time": sent,
            "topic": topic,
            "hash": hash,
            "from": self.from.map(|key| format!("0x04{key}")),
            "size": bytes.len(),
            "pow": pow.map(|pow| pow.value()),
            "opened": self.opened,
            "text": std::str::from_utf8(&self.text).ok(),
            "payload": format!("0x{}", hex::encode(&self.text)),
        })
    }
}

fn printable(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n') => text.trim_end(),
        _ => "(binary)",
    }
}

fn raw(bytes: &[u8]) -> std::io::Result<Reader> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use devp2p::NodeKey;
    use waku0::payload::{Content, SealTo, SymKey};

    use super::*;
    use crate::keys::seeded_rng;

    fn heard(bytes: Bytes) -> Heard {
        let (topic, hash) = ("0x01020304".into(), format!("0x{}", "ab".repeat(32)));
        Heard { topic, hash, bytes, sent: Some(1_582_200_000), pow: Some(secret::work(0.5).unwrap()) }
    }

    fn wanted(key: Option<SymKey>, from: Option<PublicKey>) -> Wanted {
        Wanted { topic: None, key: key.map(Key::Symmetric), from }
    }

    #[test]
    fn without_a_key_all_is_shown_as_it_came() {
        let line = wanted(None, None).line(heard(Bytes::from_static(b"hello"))).unwrap();
        let hash = format!("0x{}", "ab".repeat(32));
        assert_eq!(line.columns(), format!("0x01020304  {hash}       5 B  hello"));
        let binary = wanted(None, None).line(heard(Bytes::from_static(b"\x1b[2J"))).unwrap();
        assert!(binary.columns().ends_with("(binary)"), "a terminal is not told what to do");
    }

    #[test]
    fn with_a_key_what_it_opens_is_shown_opened() {
        let (key, sender) = (SymKey::from_bytes([1; 32]).unwrap(), NodeKey::from_bytes(&[2; 32]).unwrap());
        let content = Content::from(Bytes::from_static(b"hello"));
        let data = payload::seal(&content, SealTo::Symmetric(&key), Some(&sender), &mut seeded_rng(1)).unwrap();
        let line = wanted(Some(key.clone()), Some(sender.public())).line(heard(data.clone())).unwrap();
        let short = &sender.public().to_string()[..8];
        assert_eq!(
            line.columns(),
            format!("2020-02-20T12:00:00Z  0x01020304  0x04{short}…     284 B  0.500000  hello")
        );
        let json = line.json();
        assert_eq!((&json["text"], &json["payload"]), (&"hello".into(), &"0x68656c6c6f".into()));
        assert_eq!(json["from"], format!("0x04{}", sender.public()));
        let stranger = NodeKey::from_bytes(&[3; 32]).unwrap().public();
        assert_eq!(wanted(Some(key), Some(stranger)).line(heard(data.clone())), None);
        assert_eq!(wanted(Some(SymKey::from_bytes([9; 32]).unwrap()), None).line(heard(data)), None);
    }
}
