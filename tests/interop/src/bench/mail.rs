//! Mail servers, ours beside status-go's, with the same envelopes in their archives; status-go's client asks both.
//!
//! status-go's own code fills its archive, and `causeway import` makes ours of it. A server is started for each run, asked for one
//! topic so many times, and then for everything, page by page. The storm is measured on ours alone: its clients are bare connections in a
//! process of its own, which page as fast as they are answered while another process sends single envelopes through the server.

use super::{Effort, Figure, LIMIT, driver};
use crate::causeway::node_arguments;
use crate::process::{Process, is, number, text};
use crate::scenarios::Lab;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

const OURS: &str = "causeway";
const PEER: &str = "status-go";
/// Envelopes of a day, as a small fleet keeps them, and those of the topic that is asked for: one in a hundred.
const DAY: u32 = 100_000;
const WANTED: u32 = 1_000;
/// An archive ten times as large, with as many of that topic, so that the answer is the same.
const LARGE: u32 = 1_000_000;
/// Pages of it that are read: a tenth.
const LARGE_PAGES: u32 = 100;
/// Requests in a run, and runs, with it: status-go takes a second for each.
const LARGE_EFFORT: (u32, u32) = (10, 2);
/// How long its import may take; a rate of 3,000 a second was seen on a busy machine.
const IMPORT: Duration = Duration::from_secs(900);
/// Clients of the storm.
const CLIENTS: u32 = 10;
/// The longest pause between two envelopes of the storm, so that some hundreds pass in a few seconds.
const PAUSE: &str = "20ms";
/// What `chrt` is told of the storm's clients, which are elsewhere in truth: however the driver itself is run, the ordinary policy, and less of
/// the processor than others.
pub(super) const YIELDING: [&str; 5] = ["--other", "0", "nice", "-n", "10"];
/// What is ours alone beside status-go: no bounds on what one client, which is all of them here, is given.
const UNBOUNDED: &str = "--mail-byte-limit=none";

/// An archive of each kind, and the times of what is in it.
struct Filled {
    theirs: PathBuf,
    ours: PathBuf,
    lower: u64,
    upper: u64,
}

impl Filled {
    fn with(lab: &Lab, count: u32) -> Result<Self> {
        let (theirs, ours) = (lab.data_dir(&format!("mail-{count}")), lab.data_dir(&format!("mail-{count}-ours")));
        let line = |flag: &str, value: &str| [flag.to_owned(), value.to_owned()];
        let mut fill = vec!["bench".to_owned(), "archive".to_owned()];
        fill.extend(line("-n", &count.to_string()));
        fill.extend(line("-wanted", &WANTED.to_string()));
        fill.extend(line("-dir", unicode(&theirs)?));
        let said = driver("archive of status-go", &lab.programs().status_go, &fill)?;
        let said = said.iter().find(|line| is(line, "archived")).context("nothing was archived")?;
        let second = |key| number(said, key).context("no time");
        let (lower, upper) = (second("lower")?, second("upper")?);
        std::fs::create_dir_all(&ours)?;
        let import = ["import", unicode(&theirs)?, "--data-dir", unicode(&ours)?];
        let import = Process::spawn("import", &lab.programs().causeway, &import)?;
        let status = import.exit(IMPORT)?;
        let all = format!("{count} new, 0 known, 0 refused");
        let printed = import.log().since(0);
        let whole =
            status.success() && printed.iter().any(|line| line.as_str().is_some_and(|line| line.contains(&all)));
        ensure!(whole, import.failure(&format!("not all became ours ({status})")));
        Ok(Self { theirs, ours, lower, upper })
    }

    /// What the driver is told of it.
    fn asked(&self) -> [String; 6] {
        let flags = [("-lower", self.lower), ("-upper", self.upper), ("-wanted", WANTED.into())];
        let [a, b, c] = flags.map(|(flag, value)| [flag.to_owned(), value.to_string()]);
        let [[a1, a2], [b1, b2], [c1, c2]] = [a, b, c];
        [a1, a2, b1, b2, c1, c2]
    }
}

fn unicode(path: &Path) -> Result<&str> {
    path.to_str().context("a path in Unicode")
}

/// Time to the first packet and to the end of an answer, and what answers cost.
pub(super) fn beside_status_go(lab: &Lab, effort: &Effort) -> Result<Vec<Figure>> {
    let filled = Filled::with(lab, DAY)?;
    let mut figures = compared(lab, (effort.requests, effort.runs), &filled, "100,000 archived", &[])?;
    figures.extend(storm(lab, effort, &filled)?);
    if effort.large_archive {
        let filled = Filled::with(lab, LARGE)?;
        let pages = ["-pages".to_owned(), LARGE_PAGES.to_string()];
        figures.extend(compared(lab, LARGE_EFFORT, &filled, "1,000,000 archived", &pages)?);
    }
    Ok(figures)
}

fn compared(
    lab: &Lab,
    (requests, runs): (u32, u32),
    filled: &Filled,
    what: &str,
    more: &[String],
) -> Result<Vec<Figure>> {
    let programs = lab.programs();
    let ours = node_arguments("mailserver", &filled.ours)?.join(" ");
    let ours = format!("{OURS}={} {ours} --log-level=warn {UNBOUNDED}", programs.causeway.display());
    let theirs = format!("{PEER}={} -quiet -mailserver {}", programs.status_go.display(), filled.theirs.display());
    // The driver splits a command at spaces.
    let spaces = [&filled.ours, &programs.causeway, &programs.status_go];
    ensure!(spaces.iter().all(|path| !path.to_string_lossy().contains(' ')), "no spaces in paths, please: {spaces:?}");
    let mut arguments =
        ["bench", "mail", "-n", &requests.to_string(), "-runs", &runs.to_string()].map(str::to_owned).to_vec();
    arguments.extend(filled.asked());
    arguments.extend_from_slice(more);
    arguments.extend(["-spawn".to_owned(), theirs, "-spawn".to_owned(), ours]);
    let lines = driver("bench of mail servers", &programs.status_go, &arguments)?;
    let median = |node: &str, key: &str| {
        let line = lines.iter().find(|line| is(line, "median") && text(line, "node") == node);
        line.and_then(|line| line.get(key)?.as_f64()).with_context(|| format!("no median {key} of {node}"))
    };
    [
        ("first_ms", "one topic, first packet", "ms, less is better"),
        ("done_ms", "one topic, all of a thousand", "ms, less is better"),
        ("done_p95_ms", "one topic, 95 of 100 answers", "ms, less is better"),
        ("wanted_per_cpu_s", "one topic", "envelopes per CPU-second"),
        ("all_per_cpu_s", "everything, page by page", "envelopes per CPU-second"),
        ("all_per_s", "everything, page by page", "envelopes per second, less the pauses"),
    ]
    .into_iter()
    .map(|(key, name, unit)| {
        let (name, ours, peer) = (format!("{what}: {name}"), median(OURS, key)?, Some(median(PEER, key)?));
        Ok(Figure { name, ours, peer, unit, runs })
    })
    .collect()
}

/// Gossip through a mail server, alone and while many page at once.
fn storm(lab: &Lab, effort: &Effort, filled: &Filled) -> Result<Vec<Figure>> {
    let name = filled.ours.file_name().and_then(|name| name.to_str()).context("a name")?;
    let server = lab.mailserver(name, &["--log-level=warn", "--waku-v0-rate-limit=none"])?;
    let status_go = &lab.programs().status_go;
    let target = format!("{OURS}={}", server.enode());
    let hop = || {
        let hops = effort.storm_hops.to_string();
        let arguments = ["bench", "hop", "-n", &hops, "-pause", PAUSE, "-runs", "1", "-target", &target];
        let lines = driver("bench of hops", status_go, &arguments.map(str::to_owned))?;
        let hop = |key: &str| lines.iter().find(|line| is(line, "median"))?.get(key)?.as_f64();
        Ok::<_, anyhow::Error>([hop("p50_ms").context("no median")?, hop("p99_ms").context("no percentile")?])
    };
    let idle = hop()?;
    let mut arguments = YIELDING.map(str::to_owned).to_vec();
    arguments.push(unicode(status_go)?.to_owned());
    arguments.extend(["bench", "storm", "-clients", &CLIENTS.to_string(), "-target", &target].map(str::to_owned));
    arguments.extend(filled.asked());
    let clients = Process::spawn("storm", Path::new("chrt"), &arguments)?;
    clients.wait("storm", 0, LIMIT, |line| is(line, "raging").then_some(()))?;
    let raging = hop()?;
    let raged = end(&clients)?;
    server.stop()?;
    let alone = |name: &str, ours, unit| Figure { name: format!("storm: {name}"), ours, peer: None, unit, runs: 1 };
    let rate = |key: &str| Some(raged.get(key)?.as_f64()? / raged.get("seconds")?.as_f64()?);
    Ok(vec![
        alone("hop of an envelope without, median", idle[0], "ms"),
        alone("the same, 99 of 100", idle[1], "ms"),
        alone("hop of an envelope within, median", raging[0], "ms"),
        alone("the same, 99 of 100", raging[1], "ms"),
        alone("envelopes given to ten clients", rate("envelopes").context("no envelopes")?, "per second"),
        alone("refusals of a page", rate("refusals").context("no refusals")?, "per second"),
    ])
}

/// Ends the storm; what it has done, which must be something.
fn end(clients: &Process) -> Result<serde_json::Value> {
    clients.line("over")?;
    let raged = clients.wait("end of the storm", 0, LIMIT, |line| is(line, "raged").then(|| line.clone()))?;
    ensure!(number(&raged, "pages") > Some(u64::from(CLIENTS)), clients.failure("it was no storm"));
    Ok(raged)
}
