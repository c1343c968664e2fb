//! Configuration files of statusd: JSON, of which each key becomes a flag, or a word on why it has no effect here.
//!
//! Several files are merged in their order, as statusd merges them. Older files have `WhisperConfig` in place of `WakuConfig`.
//! Limit: a MiB of each.  Deployed: statusd, `params/config.go`.

use std::{fs::File, io::Read, path::PathBuf};

use clap::ValueEnum;
use serde_json::Value;

use super::Namespace;

/// Longest file read, in bytes: those of deployed mailservers have a few thousand.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What files of statusd say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Statusd {
    /// Flags with their values: a flag that may be repeated has several.
    pub settings: Vec<(&'static str, Vec<String>)>,
    /// What an operator should know of keys that have no effect.
    pub notices: Vec<String>,
}

/// A file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusdError {
    /// It can't be read, or is no JSON object.
    #[error("-c {}: {cause}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A key with another kind of value.
    #[error("{key} in a file of -c: give {expected}")]
    Value {
        /// Which.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
}

/// What a key does.
#[derive(Clone, Copy)]
enum Meaning {
    /// Its value is that of a flag.
    Flag(&'static str, Kind),
    /// It becomes flags by rules of its own.
    Flags(fn(&Value, &mut Statusd) -> Option<()>, &'static str),
    /// It is always so here; any other value is told with this word.
    Always(bool, &'static str),
    /// It is looked at with others.
    Beside,
    /// It has no effect, and this is why.
    None(&'static str),
}

/// Kinds of values that flags take as they stand.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Switch,
    Enodes,
    Texts,
}

/// Discovery of another kind.
const TOPICS: &str =
    "topics of discv5 are not spoken here; peers are found by --discv4-discovery and --dns-discovery-url-v1";

/// Keys of the file; those of `WakuConfig` are in [`WAKU`].
const KEYS: &[(&str, Meaning)] = &[
    ("ListenAddr", Meaning::Flags(listen, "an address with a port, 0.0.0.0:30303 for example")),
    ("AdvertiseAddr", Meaning::Flags(advertise, "an IP address")),
    ("NodeKey", Meaning::Flag("nodekey", Kind::Text)),
    ("DataDir", Meaning::Flag("data-dir", Kind::Text)),
    ("MaxPeers", Meaning::Flag("devp2p-max-peers", Kind::Number)),
    ("MaxPendingPeers", Meaning::Flag("devp2p-max-pending", Kind::Number)),
    ("NoDiscovery", Meaning::Flags(discovery, "true or false")),
    ("Rendezvous", Meaning::Always(false, "rendezvous is not spoken here")),
    ("RegisterTopics", Meaning::None(TOPICS)),
    ("RequireTopics", Meaning::None(TOPICS)),
    ("HTTPEnabled", Meaning::Flag("rpc", Kind::Switch)),
    ("HTTPHost", Meaning::Flags(http_host, "an IP address, or localhost")),
    ("HTTPPort", Meaning::Flag("rpc-port", Kind::Number)),
    ("HTTPVirtualHosts", Meaning::Flag("rpc-allow-host", Kind::Texts)),
    ("HTTPCors", Meaning::Flag("rpc-allow-origin", Kind::Texts)),
    ("WSEnabled", Meaning::Flag("ws", Kind::Switch)),
    ("WSHost", Meaning::Flags(ws_host, "an IP address, or localhost")),
    ("WSPort", Meaning::Flag("ws-port", Kind::Number)),
    ("IPCEnabled", Meaning::Flag("ipc", Kind::Switch)),
    ("IPCFile", Meaning::Flag("ipc-path", Kind::Text)),
    ("APIModules", Meaning::Flags(api, "names of namespaces, separated by commas")),
    ("LogEnabled", Meaning::Always(true, "logs go to standard error; --log-level says how many")),
    ("LogFile", Meaning::None("logs go to standard error")),
    ("LogDir", Meaning::None("logs go to standard error")),
    ("LogToStderr", Meaning::Always(true, "logs go to standard error")),
    ("LogLevel", Meaning::Flags(log_level, "ERROR, WARN, INFO, DEBUG or TRACE")),
    ("Name", Meaning::None("peers see the name of this program")),
    ("NetworkID", Meaning::None("waku/0 has one network")),
    ("EnableStatusService", Meaning::Always(false, "accounts and messengers are for applications")),
    ("ClusterConfig.Enabled", Meaning::Beside),
    ("ClusterConfig.Fleet", Meaning::None("no fleet is built in; --staticnode-v1 and the lists beside it name nodes")),
    ("ClusterConfig.BootNodes", Meaning::Beside),
    ("ClusterConfig.TrustedMailServers", Meaning::Flag("trustednode-v1", Kind::Enodes)),
    ("ClusterConfig.StaticNodes", Meaning::Flag("staticnode-v1", Kind::Enodes)),
    ("ClusterConfig.RendezvousNodes", Meaning::None("rendezvous is not spoken here")),
];

/// Keys of `WakuConfig`, and of `WhisperConfig` before it.
const WAKU: &[(&str, Meaning)] = &[
    ("Enabled", Meaning::Always(true, "a mailserver is a waku/0 node")),
    ("LightClient", Meaning::Always(false, "a mailserver keeps everything, so it is no light client")),
    ("FullNode", Meaning::Always(true, "a mailserver keeps everything")),
    ("EnableMailServer", Meaning::Always(true, "`causeway legacy` is a waku/0 node without history")),
    ("EnableNTPSync", Meaning::Always(false, "the clock is the system's")),
    ("DataDir", Meaning::None("that LevelDB is not written to; `causeway import` takes over what is in it")),
    ("MinimumPoW", Meaning::Flag("waku-v1-pow", Kind::Number)),
    ("TTL", Meaning::None("whoever posts says how long an envelope lives")),
    ("MaxMessageSize", Meaning::Flag("max-message-size", Kind::Number)),
    ("MailServerPassword", Meaning::Flag("mail-password", Kind::Text)),
    ("MailServerAsymKey", Meaning::None("requests are opened with the node's own key")),
    ("MailServerRateLimit", Meaning::Flag("mail-rate-limit", Kind::Number)),
    ("MailServerDataRetention", Meaning::Flag("mail-retention", Kind::Number)),
    ("MailServerCleanupPeriod", Meaning::None("what is too old is looked for every ten seconds")),
    ("DatabaseConfig.PGConfig.Enabled", Meaning::Beside),
    ("DatabaseConfig.PGConfig.URI", Meaning::Beside),
    ("EnableRateLimiter", Meaning::Beside),
    ("PacketRateLimitIP", Meaning::Beside),
    ("PacketRateLimitPeerID", Meaning::Beside),
    ("BytesRateLimitIP", Meaning::Beside),
    ("BytesRateLimitPeerID", Meaning::Beside),
    ("RateLimitTolerance", Meaning::None("a peer is left at an excess of 100, which decays by one a second")),
    ("BloomFilterMode", Meaning::Always(true, "a mailserver asks for everything, which is a filter")),
    ("SoftBlacklistedPeerIDs", Meaning::None("a peer that breaks its limits is left")),
    ("EnableConfirmations", Meaning::Flag("confirmations", Kind::Switch)),
];

/// Reads files, and says what they come to.
///
/// # Errors
/// [`StatusdError`] names the file, or the key.
pub fn read(paths: &[PathBuf]) -> Result<Statusd, StatusdError> {
    let mut merged = Value::Object(serde_json::Map::new());
    for path in paths {
        let file = |cause: String| StatusdError::File { path: path.clone(), cause };
        let mut text = String::new();
        let opened = File::open(path).map_err(|cause| file(cause.to_string()))?;
        opened.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|cause| file(cause.to_string()))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(file(format!("it is over {MAX_FILE_BYTES} bytes long")));
        }
        let value: Value = serde_json::from_str(&text).map_err(|cause| file(cause.to_string()))?;
        if !value.is_object() {
            return Err(file("it is no JSON object".into()));
        }
        merge(&mut merged, value);
    }
    of(&merged)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// What a whole file comes to.
fn of(file: &Value) -> Result<Statusd, StatusdError> {
    let mut read = Statusd::default();
    let mut leaves = Vec::new();
    leaves_of(file, String::new(), &mut leaves);
    let section = if file.get("WakuConfig").is_some() { "WakuConfig." } else { "WhisperConfig." };
    let is_off = file.pointer("/ClusterConfig/Enabled") == Some(&Value::Bool(false));
    for (key, value) in &leaves {
        if is_off && key.starts_with("ClusterConfig.") {
            continue;
        }
        let meaning = match key.strip_prefix(section) {
            Some(inner) => find(WAKU, inner),
            None => find(KEYS, key),
        };
        match meaning {
            Some(meaning) => apply(key, value, meaning, &mut read)?,
            None => read.notices.push(format!("{key} of the file of statusd has no effect")),
        }
    }
    let waku = file.get(section.trim_end_matches('.')).unwrap_or(&Value::Null);
    postgres(waku, &mut read);
    rate_limits(waku, &mut read);
    if !is_off && read.settings.iter().any(|(flag, on)| *flag == "discv4-discovery" && on[0] == "true") {
        let nodes = enodes(file.pointer("/ClusterConfig/BootNodes").unwrap_or(&Value::Null)).unwrap_or_default();
        read.put("discv4-bootstrap-node", nodes);
    }
    Ok(read)
}

fn find(table: &[(&str, Meaning)], key: &str) -> Option<Meaning> {
    table.iter().find(|(known, _)| *known == key).map(|(_, meaning)| *meaning)
}

/// Values that are no objects, each with its path. What is null or an empty text or list says nothing.
fn leaves_of<'a>(value: &'a Value, path: String, leaves: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(inner) => {
            for (key, value) in inner {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves_of(value, path, leaves);
            }
        }
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        leaf => leaves.push((path, leaf)),
    }
}

fn apply(key: &str, value: &Value, meaning: Meaning, read: &mut Statusd) -> Result<(), StatusdError> {
    let wrong = |expected| StatusdError::Value { key: key.to_owned(), expected };
    match meaning {
        Meaning::Flag(flag, kind) => {
            let (values, expected) = match kind {
                Kind::Text => (value.as_str().map(|text| vec![text.to_owned()]), "a text"),
                Kind::Number => (value.as_number().map(|number| vec![number.to_string()]), "a number"),
                Kind::Switch => (value.as_bool().map(|on| vec![on.to_string()]), "true or false"),
                Kind::Enodes => (enodes(value), "a list of enodes"),
                Kind::Texts => (texts(value), "a list of texts"),
            };
            read.put(flag, values.ok_or_else(|| wrong(expected))?);
        }
        Meaning::Flags(put, expected) => put(value, read).ok_or_else(|| wrong(expected))?,
        Meaning::Always(always, why) => {
            let is = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            if is != always {
                read.notices.push(format!("{key} {is} of the file of statusd has no effect: {why}"));
            }
        }
        Meaning::Beside => {}
        Meaning::None(why) => read.notices.push(format!("{key} of the file of statusd has no effect: {why}")),
    }
    Ok(())
}

impl Statusd {
    fn put(&mut self, flag: &'static str, values: Vec<String>) {
        if !values.is_empty() {
            self.settings.push((flag, values));
        }
    }
}

/// Enodes without the passwords that mailservers' have.
fn enodes(value: &Value) -> Option<Vec<String>> {
    let text = |item: &Value| {
        let text = item.as_str()?;
        let (before, host) = text.split_once('@')?;
        let key = before.strip_prefix("enode://")?.split(':').next()?;
        Some(format!("enode://{key}@{host}"))
    };
    value.as_array()?.iter().map(text).collect()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn http_host(value: &Value, read: &mut Statusd) -> Option<()> {
    read.put("rpc-address", vec![loopback_or_ip(value)?]);
    Some(())
}

fn ws_host(value: &Value, read: &mut Statusd) -> Option<()> {
    read.put("ws-address", vec![loopback_or_ip(value)?]);
    Some(())
}

fn loopback_or_ip(value: &Value) -> Option<String> {
    match value.as_str()? {
        "localhost" => Some("127.0.0.1".to_owned()),
        ip => ip.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string()),
    }
}

/// Files of statusd ask for namespaces as well that a mailserver needs no more than we have them, `eth` above all.
fn api(value: &Value, read: &mut Statusd) -> Option<()> {
    let (known, unknown): (Vec<&str>, Vec<&str>) = value
        .as_str()?
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .partition(|name| Namespace::from_str(name, false).is_ok());
    read.put("rpc-api", known.into_iter().map(str::to_owned).collect());
    for name in unknown {
        read.notices
            .push(format!("{name} of APIModules of the file of statusd has no effect: there is no such namespace"));
    }
    Some(())
}

fn listen(value: &Value, read: &mut Statusd) -> Option<()> {
    let (host, port) = value.as_str()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if !host.is_empty() {
        read.put("listen-address", vec![host.to_owned()]);
    }
    read.put("devp2p-tcp-port", vec![port.to_string()]);
    Some(())
}

fn advertise(value: &Value, read: &mut Statusd) -> Option<()> {
    let ip: std::net::IpAddr = value.as_str()?.parse().ok()?;
    read.put("nat", vec![format!("extip:{ip}")]);
    Some(())
}

fn discovery(value: &Value, read: &mut Statusd) -> Option<()> {
    read.put("discv4-discovery", vec![(!value.as_bool()?).to_string()]);
    Some(())
}

fn log_level(value: &Value, read: &mut Statusd) -> Option<()> {
    let level = value.as_str()?.to_ascii_lowercase();
    let level = if level == "crit" { "fatal".to_owned() } else { level };
    ["fatal", "error", "warn", "info", "debug", "trace"].contains(&&*level).then_some(())?;
    read.put("log-level", vec![level]);
    Some(())
}

/// Without `Enabled` the URI does not count.
fn postgres(waku: &Value, read: &mut Statusd) {
    let uri = waku.pointer("/DatabaseConfig/PGConfig/URI").and_then(Value::as_str);
    if let Some(uri) = uri.filter(|_| waku.pointer("/DatabaseConfig/PGConfig/Enabled") == Some(&Value::Bool(true))) {
        read.put("archive-url", vec![uri.to_owned()]);
    }
}

/// Limits that are there override ours, and so does the word that there are none.
fn rate_limits(waku: &Value, read: &mut Statusd) {
    if waku.get("EnableRateLimiter") == Some(&Value::Bool(false)) {
        return read.put("waku-v0-rate-limit", vec!["none".to_owned()]);
    }
    let keys = [
        ("PacketRateLimitIP", "ip:", "/s"),
        ("PacketRateLimitPeerID", "peer:", "/s"),
        ("BytesRateLimitIP", "ip:", "B/s"),
        ("BytesRateLimitPeerID", "peer:", "B/s"),
    ];
    let limit = |(key, scope, unit)| Some(format!("{scope}{}{unit}", waku.get(key)?.as_u64()?));
    read.put("waku-v0-rate-limit", keys.into_iter().filter_map(limit).collect());
}

#[cfg(test)]
mod tests;
