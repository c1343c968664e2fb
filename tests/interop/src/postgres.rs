//! A PostgreSQL of our own: made in a temporary folder, reached by a socket there, gone with its value.

use crate::deadline::poll;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to take connections.
const START: Duration = Duration::from_secs(60);
/// The user that it runs as when we are root, which it refuses. Debian's package makes it.
const USER: &str = "postgres";

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    folder: TempDir,
}

impl Postgres {
    /// Makes and starts one, with some settings (`NAME=VALUE`).
    ///
    /// # Errors
    /// When it is not installed or does not start: a failure, not a skip.
    pub(crate) fn start(settings: &[&str]) -> Result<Self> {
        let programs = programs()?;
        // Not in the lab's folder, which only we may enter.
        let folder = tempfile::Builder::new().prefix("causeway-postgres-").tempdir().context("temporary folder")?;
        let user = user()?;
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).context("giving the folder to PostgreSQL's user")?;
        }
        let data = folder.path().join("data");
        let mut initdb = command(&programs.join("initdb"), folder.path(), user);
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", "causeway", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.output().context("initdb")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let mut server = command(&programs.join("postgres"), folder.path(), user);
        server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-c", "listen_addresses="]);
        for setting in settings {
            server.args(["-c", setting]);
        }
        let log = fs::File::create(folder.path().join("log"))?;
        let child = server.stdout(Stdio::null()).stderr(log).spawn().context("postgres")?;
        let mut postgres = Self { child, folder };
        postgres.await_ready(&data)?;
        Ok(postgres)
    }

    /// It says so itself, in the eighth line of this file.
    fn await_ready(&mut self, data: &Path) -> Result<()> {
        let ready =
            || fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().nth(7)?.contains("ready").then_some(());
        let mut ended = || self.child.try_wait().ok().flatten().map(|_| false);
        if poll(START, || ready().map(|()| true).or_else(&mut ended)) == Some(true) {
            return Ok(());
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        Err(anyhow!("PostgreSQL does not start: {log}"))
    }

    /// Has it carry out some SQL.
    ///
    /// # Errors
    /// When it does not, with what it says.
    pub(crate) fn execute(&self, sql: &str) -> Result<()> {
        let file = self.folder.path().join("statements.sql");
        fs::write(&file, sql)?;
        let beside = programs()?.join("psql");
        let program = if beside.exists() { beside } else { "psql".into() };
        let mut psql = command(&program, self.folder.path(), None);
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-U", "causeway", "-d", "postgres", "-h"]);
        let said = psql.arg(self.folder.path()).arg("-f").arg(&file).output().context("psql")?;
        if said.status.success() { Ok(()) } else { bail!("psql: {}", String::from_utf8_lossy(&said.stderr)) }
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        format!("postgres://causeway@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but not so suddenly that its shared memory stays.
        let asked = Command::new("sh").args(["-c", "kill -QUIT \"$0\"", &self.child.id().to_string()]).status();
        if asked.is_err() {
            let _ = self.child.kill(); // it may have ended by itself
        }
        let _ = self.child.wait();
    }
}

/// The folder of `initdb` and `postgres`: in the path, or where Debian puts them.
fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    debian.sort();
    folders.extend(debian.into_iter().rev());
    let has = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    folders
        .into_iter()
        .find(has)
        .context("PostgreSQL is not installed: no initdb and postgres (Debian: apt-get install postgresql)")
}

/// Whom to run it as: nobody else, unless we are root.
fn user() -> Result<Option<(u32, u32)>> {
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", USER])?, id(&["-g", USER])?)))
}

fn id(arguments: &[&str]) -> Result<u32> {
    let output = Command::new("id").args(arguments).output().context("id")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("there is no user {USER}, and PostgreSQL does not run as root"))
}

fn command(program: &Path, folder: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
