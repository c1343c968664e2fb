//! A PostgreSQL of our own: made in a temporary folder, reached by a socket there or over TLS, gone with its value.

use crate::deadline::poll;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to take connections.
const START: Duration = Duration::from_secs(60);
/// The user that it runs as when we are root, which it refuses. Debian's package makes it.
const USER: &str = "postgres";
/// Who is let in by one that is reached over TLS: nobody without it, save by the socket.
const TLS_ALONE: &str = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    folder: TempDir,
    /// Where it is reached over TLS, if it is.
    port: Option<u16>,
}

impl Postgres {
    /// Makes and starts one, with some settings (`NAME=VALUE`).
    ///
    /// # Errors
    /// When it is not installed or does not start: a failure, not a skip.
    pub(crate) fn start(settings: &[&str]) -> Result<Self> {
        let cluster = Cluster::make()?;
        cluster.serve("", settings, None)
    }

    /// One that is reached over TLS alone, at a certificate which nobody but [`Self::secure_url`] trusts.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_secure(settings: &[&str]) -> Result<Self> {
        let cluster = Cluster::make()?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        cluster.put("certificate.pem", &made.cert.pem())?;
        cluster.put("key.pem", &made.key_pair.serialize_pem())?;
        cluster.put("data/pg_hba.conf", TLS_ALONE)?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("a port")?.port();
        let (certificate, key) = (cluster.path("certificate.pem"), cluster.path("key.pem"));
        let tls = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
            format!("port={port}"),
        ];
        let all: Vec<&str> = tls.iter().map(String::as_str).chain(settings.iter().copied()).collect();
        cluster.serve("127.0.0.1", &all, Some(port))
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

    /// Where it is reached, by its socket.
    pub(crate) fn url(&self) -> String {
        format!("postgres://causeway@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Where it is reached over TLS, with whose certificate is trusted.
    ///
    /// # Errors
    /// When it was not started so.
    pub(crate) fn secure_url(&self) -> Result<String> {
        let port = self.port.context("this PostgreSQL is not reached over TLS")?;
        let root = self.folder.path().join("certificate.pem");
        Ok(format!("postgres://causeway@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={}", root.display()))
    }

    /// Where it would be reached without TLS.
    ///
    /// # Errors
    /// As [`Self::secure_url`].
    pub(crate) fn plain_url(&self) -> Result<String> {
        let port = self.port.context("this PostgreSQL has no port")?;
        Ok(format!("postgres://causeway@localhost:{port}/postgres?sslmode=disable"))
    }
}

/// What a server keeps its databases in, before it runs.
struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    user: Option<(u32, u32)>,
}

impl Cluster {
    fn make() -> Result<Self> {
        let programs = programs()?;
        // Not in the lab's folder, which only we may enter.
        let folder = tempfile::Builder::new().prefix("causeway-postgres-").tempdir().context("temporary folder")?;
        let user = user()?;
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).context("giving the folder to PostgreSQL's user")?;
        }
        let mut initdb = command(&programs.join("initdb"), folder.path(), user);
        initdb.arg("-D").arg(folder.path().join("data"));
        initdb.args(["-A", "trust", "-U", "causeway", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.output().context("initdb")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(Self { programs, folder, user })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the server's own, which nobody else may read.
    fn put(&self, name: &str, content: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| name.to_owned())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn serve(self, addresses: &str, settings: &[&str], port: Option<u16>) -> Result<Postgres> {
        let data = self.path("data");
        let mut server = command(&self.programs.join("postgres"), self.folder.path(), self.user);
        server.arg("-D").arg(&data).arg("-k").arg(self.folder.path());
        server.arg("-c").arg(format!("listen_addresses={addresses}"));
        for setting in settings {
            server.args(["-c", setting]);
        }
        let log = fs::File::create(self.path("log"))?;
        let child = server.stdout(Stdio::null()).stderr(log).spawn().context("postgres")?;
        let mut postgres = Postgres { child, folder: self.folder, port };
        postgres.await_ready(&data)?;
        Ok(postgres)
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
