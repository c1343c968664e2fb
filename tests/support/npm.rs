//! Packages of a JavaScript program beside its lock file.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Fetches the packages that the lock file names, unless they are there. Progress goes to standard error.
///
/// # Errors
/// When npm cannot be started, or fails.
pub(crate) fn fetch(folder: &Path) -> Result<()> {
    // npm writes this file last, and keeps in it what it has installed.
    let (locked, installed) = (folder.join("package-lock.json"), folder.join("node_modules/.package-lock.json"));
    let time = |path: &Path| path.metadata().and_then(|about| about.modified());
    if time(&installed).and_then(|done| Ok(done >= time(&locked)?)).unwrap_or(false) {
        return Ok(());
    }
    eprintln!("npm ci in {}", folder.display());
    let mut command = Command::new("npm");
    command.current_dir(folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("npm: cannot start it")?;
    ensure!(status.success(), "npm ci in {}: {status}", folder.display());
    Ok(())
}
