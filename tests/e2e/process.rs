//! The program as a child process: started, listened to with a time limit, and never left behind.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Longest wait for anything: a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines of output kept for a test that is slow to read.
const MAX_LINES: usize = 4096;

/// Variables that a test gives its program.
pub(crate) type Environment<'a> = &'a [(&'a str, &'a str)];

fn command(args: &[&str], environment: Environment<'_>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command
        .args(args)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs to the end.
pub(crate) fn run(args: &[&str]) -> Said {
    Output::of(args).end()
}

/// A running child; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits for the end on a thread of its own, so that the wait can be limited.
    fn end(self, limit: Duration) -> Option<ExitStatus> {
        let (sender, ended) = sync_channel(1);
        let pid = self.0.id();
        thread::spawn(move || {
            let mut child = self;
            // Nobody listens any more after the limit.
            let _ = sender.send(child.0.wait());
        });
        match ended.recv_timeout(limit) {
            Ok(status) => status.ok(),
            Err(_) => {
                signal(pid, "KILL");
                None
            }
        }
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.is_ok_and(|s| s.success()), "SIG{name} could not be sent");
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(MAX_LINES);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// A child whose two streams are read line by line.
pub(crate) struct Output {
    child: Running,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Output {
    pub(crate) fn of(args: &[&str]) -> Self {
        Self::with(args, &[])
    }

    pub(crate) fn with(args: &[&str], environment: Environment<'_>) -> Self {
        Self::spawned(&mut command(args, environment))
    }

    /// The same with streams led elsewhere by a shell's redirection, such as `2>/dev/full`.
    fn led(redirection: &str, args: &[&str]) -> Self {
        let script = format!("exec \"$0\" \"$@\" {redirection}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_causeway")]).args(args);
        Self::spawned(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn spawned(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Self { child: Running(child), stdout, stderr }
    }

    /// Closes our end of its standard output, once a line is on the way: the thread that reads it ends with the channel.
    pub(crate) fn stop_reading(self) -> Self {
        Self { stdout: sync_channel(1).1, ..self }
    }

    pub(crate) fn wait_for_error_line(&self, word: &str) -> String {
        while let Ok(line) = self.stderr.recv_timeout(LIMIT) {
            if line.contains(word) {
                return line;
            }
        }
        panic!("{word:?} was not said");
    }

    /// The next line of its standard output, if one comes in that time.
    pub(crate) fn line_within(&self, limit: Duration) -> Option<String> {
        self.stdout.recv_timeout(limit).ok()
    }

    pub(crate) fn end(self) -> Said {
        let status = self.child.end(LIMIT).expect("the program ends by itself");
        let all = |lines: Receiver<String>| lines.iter().map(|l| l + "\n").collect();
        Said { success: status.success(), code: status.code(), stdout: all(self.stdout), stderr: all(self.stderr) }
    }
}

/// A bridge, or a node alone, on free loopback ports.
pub(crate) struct Bridge {
    output: Output,
    pub(crate) data_dir: TempDir,
    pub(crate) banner: Vec<String>,
    /// Empty for a Waku Network node alone.
    pub(crate) enode: String,
    /// Empty for a waku/0 node alone.
    pub(crate) libp2p: String,
    http: String,
    /// The line of the log that says it is up.
    pub(crate) ready: String,
}

impl Bridge {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        let path = data_dir.path().to_owned();
        Self { data_dir, ..Self::start_in(&path, flags) }
    }

    pub(crate) fn start_in(data_dir: &Path, flags: &[&str]) -> Self {
        Self::start_with(data_dir, flags, &[])
    }

    pub(crate) fn start_with(data_dir: &Path, flags: &[&str], environment: Environment<'_>) -> Self {
        let flags = [&["bridge", "--tcp-port=0", "--websocket-port=0"], flags].concat();
        Self::spawn(data_dir, &flags, environment)
    }

    /// A waku/0 node alone.
    pub(crate) fn legacy_in(data_dir: &Path, flags: &[&str]) -> Self {
        Self::spawn(data_dir, &[&["legacy"], flags].concat(), &[])
    }

    /// A mailserver.
    pub(crate) fn mailserver_in(data_dir: &Path, flags: &[&str]) -> Self {
        Self::spawn(data_dir, &[&["mailserver"], flags].concat(), &[])
    }

    /// The same where no file may grow beyond so many KiB: writes fail as on a full disk, until the limit is lifted.
    pub(crate) fn mailserver_with_little_disk(data_dir: &Path, kib: u32) -> Self {
        Self::with_little_disk(&["mailserver"], data_dir, kib)
    }

    /// A node of the Waku Network in the same way.
    pub(crate) fn node_with_little_disk(data_dir: &Path, kib: u32, flags: &[&str]) -> Self {
        Self::with_little_disk(&[&["node", "--tcp-port=0", "--websocket-port=0"], flags].concat(), data_dir, kib)
    }

    /// A bridge whose files can grow to so much, and to more or less once [`Self::limit_files`] says so.
    pub(crate) fn bridge_with_little_disk(data_dir: &Path, kib: u32) -> Self {
        Self::with_little_disk(&["bridge", "--tcp-port=0", "--websocket-port=0"], data_dir, kib)
    }

    fn with_little_disk(arguments: &[&str], data_dir: &Path, kib: u32) -> Self {
        let data = format!("--data-dir={}", data_dir.display());
        // The signal that a file is too long would end it; a shell counts in blocks of 512 bytes.
        let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", 2 * kib);
        let fixed = [&*data, "--listen-address=127.0.0.1", "--devp2p-tcp-port=0", "--rest-port=0"];
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_causeway")]).args(arguments).args(fixed);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = Output::spawned(command);
        let ready = output.wait_for_error_line("Node setup complete");
        Self::met(output, ready)
    }

    /// A node of the Waku Network, with what else the flags ask for.
    pub(crate) fn node_in(data_dir: &Path, flags: &[&str], environment: Environment<'_>) -> Self {
        Self::spawn(data_dir, &[&["node", "--tcp-port=0", "--websocket-port=0"], flags].concat(), environment)
    }

    /// A bridge whose banner nobody sees: standard output is led elsewhere. Its log says where it is.
    pub(crate) fn start_mute(redirection: &str, data_dir: &Path) -> Self {
        let output = Output::led(redirection, &odd_arguments(data_dir, &[]));
        let ready = output.wait_for_error_line("Node setup complete");
        let field = |name: &str| {
            let value = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            value.unwrap_or_else(|| panic!("no {name} in {ready}")).to_owned()
        };
        let (enode, libp2p, http) = (field("enode="), field("multiaddr="), field("http="));
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        Self { output, data_dir, banner: Vec::new(), enode, libp2p, http, ready }
    }

    /// A bridge whose log nobody sees: standard error is led elsewhere.
    pub(crate) fn start_unheard(redirection: &str, data_dir: &Path, flags: &[&str]) -> Self {
        Self::met(Output::led(redirection, &odd_arguments(data_dir, flags)), String::new())
    }

    fn spawn(data_dir: &Path, arguments: &[&str], environment: Environment<'_>) -> Self {
        let data = format!("--data-dir={}", data_dir.display());
        let fixed = [&*data, "--listen-address=127.0.0.1", "--devp2p-tcp-port=0", "--rest-port=0"];
        let (command, flags) = arguments.split_first().expect("a command");
        let output = Output::with(&[&[*command], &fixed[..], flags].concat(), environment);
        let ready = output.wait_for_error_line("Node setup complete");
        Self::met(output, ready)
    }

    fn met(output: Output, ready: String) -> Self {
        let mut banner = Vec::new();
        while let Ok(line) = output.stdout.recv_timeout(LIMIT) {
            let last = line.contains("causeway post ");
            banner.push(line);
            if last {
                break;
            }
        }
        let value = |name: &str| {
            let line = banner.iter().find(|l| l.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned()
        };
        let (enode, libp2p, http) = (value("enode"), value("libp2p"), value("http"));
        assert!(!http.is_empty(), "{banner:#?}");
        assert!(!enode.is_empty() || !libp2p.is_empty(), "{banner:#?}");
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        Self { output, data_dir, enode, libp2p, http, banner, ready }
    }

    /// The signed record that it logs when it is up.
    pub(crate) fn record(&self) -> String {
        let record = self.ready.split_whitespace().find_map(|word| word.split("enr=").nth(1));
        record.unwrap_or_else(|| panic!("no record in {}", self.ready)).to_owned()
    }

    /// The status and the body of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        ask(&self.http, "GET", path, "")
    }

    /// The same as a page of this origin asks.
    pub(crate) fn get_from(&self, origin: &str, path: &str) -> (u16, String) {
        ask(&self.http, "GET", path, &format!("Origin: {origin}\r\n"))
    }

    /// The status and the body of a page that is asked for under this name.
    pub(crate) fn get_under(&self, host: &str, path: &str) -> (u16, String) {
        say(&self.http, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// The status and the answer, when it is told to do something; with further headers.
    pub(crate) fn post(&self, path: &str, headers: &str) -> (u16, String) {
        ask(&self.http, "POST", path, &format!("Content-Length: 0\r\n{headers}"))
    }

    /// The status and the answer to a request with JSON in it.
    pub(crate) fn ask(&self, method: &str, path: &str, json: &str) -> (u16, String) {
        let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len());
        ask_with(&self.http, method, path, &headers, json)
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Any signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.output.child.0.id(), name);
    }

    /// Bytes that it has in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.output.child.0.id())).expect("it runs");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("its memory") << 10
    }

    /// SIGSTOP; it does nothing any more until SIGCONT.
    pub(crate) fn hold(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.output.child.0.id());
        let is_held = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
        while !is_held() {
            thread::yield_now();
        }
    }

    /// From now on no file of its may grow beyond so many bytes.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let pid = format!("--pid={}", self.output.child.0.id());
        let limited = Command::new("prlimit").args([pid, format!("--fsize={bytes}:")]).status();
        assert!(limited.is_ok_and(|s| s.success()), "no limit of {bytes} bytes");
    }

    /// Waits for an end that was asked for: the exit code, and what it logged that was not waited for.
    pub(crate) fn end(self) -> Said {
        self.output.end()
    }

    /// The same of a page of `--metrics-server`.
    pub(crate) fn get_metrics(&self, path: &str) -> (u16, String) {
        let line = self.banner.iter().find(|line| line.starts_with("metrics")).expect("an address of metrics");
        ask(line.split_whitespace().nth(1).expect("an address"), "GET", path, "")
    }

    /// What it logs from now on, until such a line comes.
    pub(crate) fn wait_for_log(&self, word: &str) -> String {
        self.output.wait_for_error_line(word)
    }

    pub(crate) fn devp2p_port(&self) -> &str {
        self.enode.rsplit('@').next().and_then(|a| a.split([':', '?']).nth(1)).expect("a port")
    }

    pub(crate) fn libp2p_port(&self) -> &str {
        self.libp2p.split('/').nth(4).expect("a port")
    }

    /// Of the address on `/ws`.
    pub(crate) fn websocket_port(&self) -> String {
        let line = self.banner.iter().find(|line| line.starts_with("libp2p") && line.contains("/ws/"));
        line.and_then(|line| line.split('/').nth(4)).expect("a port").to_owned()
    }

    pub(crate) fn http_port(&self) -> &str {
        self.http.split([':', '/']).nth(4).expect("a port")
    }

    /// SIGKILL: it gets no chance to write anything.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// SIGTERM; the exit code, or nothing if it takes longer.
    pub(crate) fn terminate(self, limit: Duration) -> Option<i32> {
        signal(self.output.child.0.id(), "TERM");
        self.output.child.end(limit).and_then(|status| status.code())
    }
}

fn odd_arguments<'a>(data_dir: &'a Path, flags: &[&'a str]) -> Vec<&'a str> {
    let data = data_dir.to_str().expect("Unicode");
    let fixed = ["bridge", "--data-dir", data, "--listen-address=127.0.0.1", "--devp2p-tcp-port=0", "--tcp-port=0"];
    [&fixed[..], &["--websocket-port=0", "--rest-port=0"], flags].concat()
}

fn ask(url: &str, method: &str, path: &str, headers: &str) -> (u16, String) {
    ask_with(url, method, path, headers, "")
}

fn ask_with(url: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let authority = authority(url);
    say(url, &format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{headers}\r\n{body}"))
}

fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").split('/').next().unwrap_or_default()
}

/// The status and the body of what is answered to this.
fn say(url: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(authority(url)).expect("HTTP listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is set");
    stream.write_all(request.as_bytes()).expect("HTTP reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("HTTP answers");
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}
