//! `rln`, in a program that was built without rate-limit proofs.

use crate::cli::{RegisterArgs, RlnCommand};

/// Refuses.
///
/// # Errors
/// Always.
pub async fn run(_: RlnCommand) -> anyhow::Result<()> {
    anyhow::bail!("this program was built without rate-limit proofs (RLN): build it with the feature rln")
}

/// Refuses.
///
/// # Errors
/// Always.
pub async fn register(args: RegisterArgs) -> anyhow::Result<()> {
    run(RlnCommand::Register(Box::new(args))).await
}
