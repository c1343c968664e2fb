//! `rln extend`: another half a year for the memberships that are in their month of grace.

use membership::{
    contract::{Commitment, Contract},
    provider::Provider,
    register::extend as on_chain,
    status::{self, Life, Status},
};
use serde_json::json;
use waku_rln::keystore::Credential;

use super::{
    commitment, explained, faulted, provider,
    register::{tell_cost, waited},
    tell,
};
use crate::{
    cli::{ExtendArgs, MembersArgs},
    config::{
        ConfigError,
        rln::{account, of_command},
    },
    output::{remark, say},
    rln::{
        ask::{Asked, asked},
        keystore::open,
    },
};

/// Extends what is in its grace, or tells what that would cost.
///
/// # Errors
/// If a flag is wrong, the keystore can't be read, the chain can't be asked, or the contract refuses.
pub(super) async fn extend(args: ExtendArgs) -> anyhow::Result<()> {
    let ExtendArgs { rln_relay_eth_private_key: key, members, execute } = args;
    let MembersArgs { preset, chain, rln_relay_cred_path: path, password, json } = members;
    let chain = of_command(&chain, &preset).map_err(ConfigError::from)?;
    let account = account(key.as_ref()).map_err(ConfigError::from)?;
    let (contract, provider) = (chain.contract, provider(chain)?);
    let credentials = open(&path, &asked(&password, Asked::Once)?).await?;
    let ending = in_grace(&provider, &contract, credentials, |credential, status| tell(credential, Some(status), json));
    let ending = ending.await?;
    if ending.is_empty() {
        remark("nothing is in its grace period, and only then can it be extended");
        return Ok(());
    }
    let cost = on_chain::cost(&provider, &contract, account.address(), &ending).await.map_err(explained)?;
    tell_cost(&cost, &account, json)?;
    if !execute {
        remark("nothing was paid: add --execute to extend");
        return Ok(());
    }
    let extending = on_chain::extend(&provider, &contract, &account, &ending);
    let (transaction, block) = waited(extending, |line| remark(line)).await.map_err(explained)?;
    let extended = ending.len();
    if json {
        say(json!({"extended": extended, "transaction": transaction.to_string(), "block": block}))?;
    } else {
        say(format_args!("{extended} extended (transaction {transaction}, block {block})"))?;
    }
    Ok(())
}

/// Those that are in their grace; each of them is told of.
async fn in_grace(
    provider: &Provider,
    contract: &Contract,
    credentials: Vec<Credential>,
    tell: impl Fn(&Credential, &Status) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Commitment>> {
    let mut ending = Vec::new();
    for credential in credentials {
        let member = commitment(&credential.identity)?;
        let status = status::status(provider, contract, member).await.map_err(faulted)?;
        if status.life == Life::Grace {
            tell(&credential, &status)?;
            ending.push(member);
        }
    }
    Ok(ending)
}
