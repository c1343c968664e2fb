//! The archive in a PostgreSQL that runs.

use super::Lab;
use crate::postgres::Postgres;
use crate::process::Process;
use anyhow::{Result, ensure};
use std::time::Duration;

/// How long all cases may take.
const CONTRACT: Duration = Duration::from_secs(600);

/// What every archive keeps to, and what several nodes keep to that share one.
pub(super) fn in_postgres(lab: &Lab) -> Result<String> {
    // Nobody cuts the power here, so nothing need reach the disk.
    let server = Postgres::start(&["fsync=off", "full_page_writes=off"])?;
    contract(lab, server.url())
}

/// The same over TLS, by a server that takes nothing else.
pub(super) fn in_secure_postgres(lab: &Lab) -> Result<String> {
    let server = Postgres::start_secure(&["fsync=off", "full_page_writes=off"])?;
    let plain = Process::spawn("plain", &lab.programs().postgres_contract, &[server.plain_url()?])?;
    ensure!(!plain.exit(CONTRACT)?.success(), plain.failure("the server takes connections without TLS"));
    contract(lab, server.secure_url()?)
}

fn contract(lab: &Lab, url: String) -> Result<String> {
    let contract = Process::spawn("postgres_contract", &lab.programs().postgres_contract, &[url])?;
    let status = contract.exit(CONTRACT)?;
    let lines = contract.log().since(0);
    let said = lines.last().and_then(|line| line.as_str()).unwrap_or_default().to_owned();
    ensure!(status.success() && said.ends_with(" hold, 0 failed"), contract.failure("not all cases hold"));
    Ok(said)
}
