//! The bridge under the driver: started as an operator starts it, known by its banner, asked over HTTP, ended by SIGTERM.

use crate::deadline::{now, poll};
use crate::process::Process;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// From the start to the banner. A cold start makes a key and binds three ports.
const START: Duration = Duration::from_secs(15);
/// Until both sides have peers.
const READY: Duration = Duration::from_secs(60);
/// An HTTP answer from loopback. What is published may wait for its proof, for 5 s at most.
const HTTP: Duration = Duration::from_secs(10);
/// SIGTERM must end the bridge in less.
pub(crate) const STOP: Duration = Duration::from_secs(10);

/// A running bridge.
#[derive(Debug)]
pub(crate) struct Causeway {
    process: Process,
    enode: String,
    multiaddr: String,
    http: SocketAddr,
}

impl Causeway {
    /// Starts a bridge on free loopback ports, with the proof of work floor of the Status fleets; waits for its banner.
    ///
    /// # Errors
    /// When the banner does not come, or lacks an address.
    pub(crate) fn start(program: &Path, name: &str, data_dir: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_as(program, name, bridge_arguments(data_dir)?, flags)
    }

    /// Starts a mailserver in the same way.
    ///
    /// # Errors
    /// As [`Causeway::start`].
    pub(crate) fn mailserver(program: &Path, name: &str, data_dir: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_as(program, name, node_arguments("mailserver", data_dir)?, flags)
    }

    /// Starts a node of the Waku Network alone in the same way.
    ///
    /// # Errors
    /// As [`Causeway::start`].
    pub(crate) fn node(program: &Path, name: &str, data_dir: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_as(program, name, with_libp2p("node", data_dir)?, flags)
    }

    fn start_as(program: &Path, name: &str, mut arguments: Vec<String>, flags: &[&str]) -> Result<Self> {
        let is_one_of =
            |commands: &[&str]| arguments.first().is_some_and(|command| commands.contains(&command.as_str()));
        let (has_libp2p, has_devp2p) = (is_one_of(&["bridge", "node"]), !is_one_of(&["node"]));
        let name_of = |flag: &str| flag.split_once('=').map(|(name, _)| name.to_owned());
        // What the scenario sets itself is not set twice.
        arguments.retain(|ours| {
            let name = name_of(ours);
            name.is_none() || flags.iter().all(|flag| name_of(flag) != name)
        });
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        let process = Process::spawn(name, program, &arguments)?;
        let field = |key: &str| {
            process.wait(&format!("`{key}` in its banner"), 0, START, |line| {
                let words = line.as_str()?.strip_prefix(key)?;
                words.split_whitespace().next().map(str::to_owned)
            })
        };
        let multiaddr = if has_libp2p { field("libp2p ")? } else { String::new() };
        let enode = if has_devp2p { field("enode ")? } else { String::new() };
        let url = field("http ")?;
        let http = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()?.parse().ok());
        let http = http.ok_or_else(|| anyhow!("{name}: no address in {url}"))?;
        Ok(Self { process, enode, multiaddr, http })
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// Empty for a node of the Waku Network alone.
    pub(crate) fn enode(&self) -> &str {
        &self.enode
    }

    /// Where HTTP is.
    pub(crate) const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Empty for a mailserver.
    pub(crate) fn multiaddr(&self) -> &str {
        &self.multiaddr
    }

    /// Where browsers reach it.
    ///
    /// # Errors
    /// When its banner does not say.
    pub(crate) fn websocket(&self) -> Result<String> {
        self.process.wait("a WebSocket address in its banner", 0, START, |line| {
            let address = line.as_str()?.strip_prefix("libp2p ")?.trim();
            address.contains("/ws/").then(|| address.to_owned())
        })
    }

    /// Its record of the Waku Network, as its log tells it when it begins to look for peers over UDP.
    ///
    /// # Errors
    /// When its log does not say.
    pub(crate) fn record(&self) -> Result<String> {
        let told = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_it = entry["fields"]["message"] == "looking for peers over UDP";
            is_it.then(|| entry["fields"]["record"].as_str().map(str::to_owned))?
        };
        let found = poll(START, || self.process.stderr().lines().find_map(told));
        found.ok_or_else(|| self.process.failure("its log tells no record"))
    }

    /// Lines of standard output so far.
    pub(crate) fn printed(&self) -> usize {
        self.process.log().len()
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it does not in time: the error holds what it said last.
    pub(crate) fn await_ready(&self) -> Result<()> {
        let mut last = String::new();
        let ready = poll(READY, || match self.get("/readyz") {
            Ok((200, _)) => Some(()),
            Ok((status, body)) => {
                last = format!("{status} {body}");
                None
            }
            Err(error) => {
                last = error.to_string();
                None
            }
        });
        ready.ok_or_else(|| self.process.failure(&format!("not ready after {} s: {last}", READY.as_secs())))
    }

    /// Waits until so many peers are in its mesh. A peer that has grafted us is not in it before that has come here.
    ///
    /// # Errors
    /// When they are not in time.
    pub(crate) fn await_mesh(&self, peers: usize) -> Result<()> {
        let mut seen = None;
        let enough = poll(READY, || {
            seen = self.metric("libp2p_gossipsub_peers_per_topic_mesh").ok().flatten();
            seen.is_some_and(|seen| seen >= peers as f64).then_some(())
        });
        enough.ok_or_else(|| self.process.failure(&format!("{seen:?} peers in its mesh, not {peers}")))
    }

    /// Asks the HTTP surface: the status and the body.
    ///
    /// # Errors
    /// When there is no answer, or none in time.
    pub(crate) fn get(&self, path: &str) -> Result<(u16, String)> {
        ask(self.http, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http))
    }

    /// Posts JSON to the HTTP surface: the status and the body.
    ///
    /// # Errors
    /// When there is no answer, or none in time.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Result<(u16, String)> {
        post(self.http, path, &body.to_string())
    }

    /// Calls a method of JSON-RPC, which it serves over HTTP: the result, or the error in its words.
    ///
    /// # Errors
    /// When there is no answer, or none in time.
    pub(crate) fn call(&self, method: &str, params: &serde_json::Value) -> Result<Result<serde_json::Value, String>> {
        let http = self.process.wait("`json-rpc` in its banner", 0, START, |line| {
            line.as_str()?.strip_prefix("json-rpc")?.split("http://").nth(1)?.split(['/', ' ']).next()?.parse().ok()
        })?;
        let body = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (_, answer) = post(http, "/", &body)?;
        let answer: serde_json::Value = serde_json::from_str(&answer).context("no JSON")?;
        let refused = answer["error"]["message"].as_str().map(str::to_owned);
        Ok(refused.map_or_else(|| Ok(answer["result"].clone()), Err))
    }

    /// The sum of all series of a metric; `None` if there is none.
    ///
    /// # Errors
    /// When `/metrics` does not answer.
    pub(crate) fn metric(&self, name: &str) -> Result<Option<f64>> {
        self.metric_of(name, "")
    }

    /// The same of those series whose labels have this in them, `reason="late"` for example.
    ///
    /// # Errors
    /// When `/metrics` does not answer.
    pub(crate) fn metric_of(&self, name: &str, label: &str) -> Result<Option<f64>> {
        Ok(sum_of(&self.get("/metrics")?.1, name, label))
    }

    /// Adds to an error what the bridge itself counted.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let metrics = self.get("/metrics").map(|(_, body)| body).unwrap_or_default();
        let account = metrics.lines().filter(|line| {
            let told = ["bridge_messages_total{", "waku_envelopes_rejected_total{", "waku_relay_rejected_total{"];
            told.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0")
        });
        let account: String = account.map(|line| format!("\n    {line}")).collect();
        anyhow!("{error:#}\n  what the bridge counted:{account}")
    }

    /// Ends it with SIGTERM and gives the time that took.
    ///
    /// # Errors
    /// When it takes too long or ends with an error.
    pub(crate) fn stop(&self) -> Result<Duration> {
        let start = now();
        self.process.terminate()?;
        let status = self.process.exit(STOP)?;
        if !status.success() {
            return Err(self.process.failure(&format!("ended with {status} after SIGTERM")));
        }
        Ok(start.elapsed())
    }
}

/// Posts JSON: the status and the body.
fn post(http: SocketAddr, path: &str, body: &str) -> Result<(u16, String)> {
    let head = "Content-Type: application/json\r\nConnection: close";
    let length = body.len();
    ask(http, &format!("POST {path} HTTP/1.1\r\nHost: {http}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"))
}

/// Sends a request over HTTP: the status and the body.
fn ask(http: SocketAddr, request: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&http, HTTP)?;
    stream.set_read_timeout(Some(HTTP))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    let asked = || request.lines().next().unwrap_or_default().to_owned();
    stream.read_to_string(&mut answer).with_context(|| format!("no answer to {}", asked()))?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| anyhow!("{}: not HTTP: {answer:.80}", asked()))
}

/// The command line of a bridge on free loopback ports.
///
/// # Errors
/// When the data directory's name is not Unicode.
pub(crate) fn bridge_arguments(data_dir: &Path) -> Result<Vec<String>> {
    with_libp2p("bridge", data_dir)
}

fn with_libp2p(command: &str, data_dir: &Path) -> Result<Vec<String>> {
    let mut arguments = node_arguments(command, data_dir)?;
    arguments.extend(["--tcp-port=0", "--websocket-port=0"].map(str::to_owned));
    Ok(arguments)
}

/// A waku/0 node alone, in the same way.
pub(crate) fn legacy_arguments(data_dir: &Path) -> Result<Vec<String>> {
    node_arguments("legacy", data_dir)
}

/// Any other command of the program that is a node, in the same way.
///
/// # Errors
/// As [`bridge_arguments`].
pub(crate) fn node_arguments(command: &str, data_dir: &Path) -> Result<Vec<String>> {
    let Some(data_dir) = data_dir.to_str() else { bail!("the temporary directory is not Unicode") };
    let arguments = [
        command,
        "--data-dir",
        data_dir,
        "--listen-address",
        "127.0.0.1",
        "--devp2p-tcp-port=0",
        "--rest-port=0",
        "--waku-v1-pow=0.000002",
        "--log-format=json",
    ];
    Ok(arguments.map(str::to_owned).to_vec())
}

/// Adds up the samples of one name in the text format of Prometheus, those whose labels have `label` in them.
fn sum_of(metrics: &str, name: &str, label: &str) -> Option<f64> {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels.contains(label).then_some(())?;
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_add_up_whatever_their_labels() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"}\"} 3.5\na_total_more 9\nb_total 4\n";
        assert_eq!(sum_of(text, "a_total", ""), Some(5.5));
        assert_eq!(sum_of(text, "a_total", "x=\"1\""), Some(2.0));
        assert_eq!(sum_of(text, "b_total", ""), Some(4.0));
        assert_eq!(sum_of(text, "b_total", "x"), None);
        assert_eq!(sum_of(text, "c_total", ""), None);
    }
}
