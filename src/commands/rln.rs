//! `rln`: becomes a member, looks into keystores, and asks what has become of memberships.

use std::{io::IsTerminal, path::Path};

use membership::{
    contract::{Commitment, Contract},
    provider::{Http, Provider},
    register::{self, Account, Cost, RegisterError, Registered},
    status::{self, Life, Status},
};
use serde_json::json;
use tokio::task::spawn_blocking;
use waku_rln::{
    Identity,
    keystore::{
        Application, Credential, Keystore, Membership,
        file::{load, save},
        password::Password,
        sealed::Kdf,
    },
};

use crate::{
    cli::{KeystoreCommand, KeystorePasswordArgs, MembersArgs, RegisterArgs, RlnCommand},
    config::{
        ConfigError,
        rln::{Chain, limit, of_command},
    },
    keys::system_rng,
    output::{remark, say},
    rln::{
        keystore::{open, password},
        list::hex,
    },
};

/// Where a member of a group that is a file is registered: nowhere.
const NO_CHAIN: &str = "0";
/// The same of its contract.
const NO_CONTRACT: &str = "0x0000000000000000000000000000000000000000";

/// Does what was asked for.
///
/// # Errors
/// If a flag is wrong, a file can't be read or written, or the chain not be asked.
pub async fn run(command: RlnCommand) -> anyhow::Result<()> {
    match command {
        RlnCommand::Register(args) => register(*args).await,
        RlnCommand::Keystore(command) => keystore(command).await,
        RlnCommand::Status(args) => status(*args).await,
    }
}

/// Registers a member, or tells what that would cost. The identity is on disk before anything is paid.
///
/// # Errors
/// If a flag is wrong, the chain can't be asked, or the contract refuses.
pub async fn register(args: RegisterArgs) -> anyhow::Result<()> {
    let chain = of_command(&args.chain, &args.preset).map_err(ConfigError::from)?;
    let limit = limit(args.rln_relay_user_message_limit).map_err(ConfigError::from)?;
    let key = args.rln_relay_eth_private_key.as_ref();
    let key = key.ok_or_else(|| anyhow::anyhow!("--rln-relay-eth-private-key is missing: who pays?"))?;
    let account: Account =
        key.text().parse().map_err(|error| anyhow::anyhow!("--rln-relay-eth-private-key: {error}"))?;
    let Chain { contract, providers } = chain;
    let provider = Provider::new(contract.chain, providers, Http::new())?;
    let identity = Identity::random(&mut system_rng());
    let commitment = commitment(&identity)?;
    let messages = u32::from(limit.get());
    let cost = register::cost(&provider, &contract, account.address(), commitment, messages).await?;
    tell_cost(&cost, &account, args.json)?;
    if !args.execute {
        remark("nothing was paid: add --execute to register");
        return Ok(());
    }
    cost.can_be_paid()?;
    let password = asked(&args.password)?;
    // A file that can't be opened or written is noticed before anything is paid, and the identity is in one from now on: the draft
    // is kept should the program die before it knows the index.
    let draft = args.rln_relay_cred_path.with_extension("unregistered.json");
    let unregistered = credential(&contract, identity, 0, limit);
    add(&draft, vec![unregistered.clone()], &password).await?;
    if args.rln_relay_cred_path.exists() {
        load(&args.rln_relay_cred_path, &Application::default())?;
    }
    remark(format_args!("registering with {} on chain {}: this takes a minute", contract.address, contract.chain));
    let registered = registered(&provider, &contract, &account, commitment, messages).await;
    let registered = registered
        .map_err(|error| anyhow::Error::new(error).context(format!("the identity is kept in {}", draft.display())))?;
    let mut member = unregistered;
    member.membership.index = registered.index;
    add(&args.rln_relay_cred_path, vec![member], &password).await?;
    std::fs::remove_file(&draft)?;
    tell_registered(&registered, commitment, &args)
}

async fn registered(
    provider: &Provider,
    contract: &Contract,
    account: &Account,
    commitment: Commitment,
    limit: u32,
) -> Result<Registered, RegisterError> {
    let mut registering = std::pin::pin!(register::register(provider, contract, account, commitment, limit));
    let mut waited = 0;
    loop {
        tokio::select! {
            done = &mut registering => return done,
            () = tokio::time::sleep(register::RECEIPT_EVERY * 5) => {
                waited += register::RECEIPT_EVERY.as_secs() * 5;
                remark(format_args!("waiting for the transactions to be in a block: {waited} s"));
            }
        }
    }
}

fn tell_cost(cost: &Cost, account: &Account, as_json: bool) -> anyhow::Result<()> {
    let deposit = cost.deposit;
    if as_json {
        let deposit = deposit.map(
            |it| json!({"token": it.token.to_string(), "amount": it.amount.to_string(), "has": it.has.to_string()}),
        );
        let told = json!({"account": account.address().to_string(), "gas": cost.gas, "fee": cost.fee().to_string(), "has": cost.ether.to_string(), "deposit": deposit});
        say(told)?;
        return Ok(());
    }
    say(format_args!("account    {}", account.address()))?;
    say(format_args!("fee        {} wei, at most twice that; the account has {}", cost.fee(), cost.ether))?;
    if let Some(it) = deposit {
        say(format_args!("deposit    {} of token {}; the account has {}", it.amount, it.token, it.has))?;
    }
    if let Err(error) = cost.can_be_paid() {
        remark(error);
    }
    Ok(())
}

fn tell_registered(registered: &Registered, commitment: Commitment, args: &RegisterArgs) -> anyhow::Result<()> {
    let Registered { index, limit, transaction, block } = *registered;
    let (file, commitment) = (args.rln_relay_cred_path.display(), hex(commitment.element()));
    if args.json {
        say(
            json!({"index": index, "limit": limit, "transaction": transaction.to_string(), "block": block, "commitment": commitment, "keystore": file.to_string()}),
        )?;
    } else {
        say(format_args!(
            "member {index}, {limit} messages an epoch, in {file} (transaction {transaction}, block {block})"
        ))?;
    }
    Ok(())
}

async fn keystore(command: KeystoreCommand) -> anyhow::Result<()> {
    match command {
        KeystoreCommand::List { file, password, json } => {
            for credential in open(&file, &asked(&password)?).await? {
                tell(&credential, None, json)?;
            }
        }
        KeystoreCommand::Create { file, index, limit: messages, password, json } => {
            let limit = limit(messages).map_err(ConfigError::from)?;
            let membership = Membership { chain_id: NO_CHAIN.to_owned(), address: NO_CONTRACT.to_owned(), index };
            let identity = Identity::random(&mut system_rng());
            let created = Credential { membership, identity, limit: Some(limit) };
            add(&file, vec![created.clone()], &asked(&password)?).await?;
            tell(&created, None, json)?;
        }
        KeystoreCommand::Import { from, into, password } => {
            let password = asked(&password)?;
            add(&into, open(&from, &password).await?, &password).await?;
        }
        KeystoreCommand::Export { from, into, index, password } => {
            anyhow::ensure!(!into.exists(), "{} is there already: move it away first", into.display());
            let password = asked(&password)?;
            let found = open(&from, &password).await?.into_iter().filter(|one| one.membership.index == index);
            let found: Vec<Credential> = found.collect();
            anyhow::ensure!(!found.is_empty(), "{} has no membership with index {index}", from.display());
            add(&into, found, &password).await?;
        }
    }
    Ok(())
}

async fn status(args: MembersArgs) -> anyhow::Result<()> {
    let Chain { contract, providers } = of_command(&args.chain, &args.preset).map_err(ConfigError::from)?;
    let provider = Provider::new(contract.chain, providers, Http::new())?;
    let members = status::members(&provider, &contract).await?;
    if !args.json {
        say(format_args!("group      {} on chain {}: {members} members", contract.address, contract.chain))?;
    }
    for credential in open(&args.rln_relay_cred_path, &asked(&args.password)?).await? {
        let status = status::status(&provider, &contract, commitment(&credential.identity)?).await?;
        tell(&credential, Some(&status), args.json)?;
    }
    Ok(())
}

/// A line about a membership, without its secrets.
fn tell(credential: &Credential, status: Option<&Status>, as_json: bool) -> anyhow::Result<()> {
    let Membership { chain_id, address, index } = &credential.membership;
    let commitment = hex(credential.identity.commitment());
    let limit = credential.limit.map(waku_rln::Limit::get);
    let life = status.map(|status| life(status.life));
    if as_json {
        say(
            json!({"chain": chain_id, "contract": address, "index": index, "commitment": commitment, "limit": limit, "status": life}),
        )?;
        return Ok(());
    }
    let limit = limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
    // What a group's file is to have comes first, and the rest reads as a remark there.
    let life = life.map(|life| format!(", {life}")).unwrap_or_default();
    say(format_args!("{commitment} {limit} # index {index}, contract {address} on chain {chain_id}{life}"))?;
    Ok(())
}

const fn life(life: Life) -> &'static str {
    match life {
        Life::Active => "active",
        Life::Grace => "in its grace period: extend it",
        Life::Expired => "expired: it counts until somebody erases it",
        Life::Absent => "not a member",
    }
}

fn credential(contract: &Contract, identity: Identity, index: u32, limit: waku_rln::Limit) -> Credential {
    let (chain_id, address) = (contract.chain.to_string(), contract.address.to_string());
    Credential { membership: Membership { chain_id, address, index }, identity, limit: Some(limit) }
}

fn commitment(identity: &Identity) -> anyhow::Result<Commitment> {
    Commitment::new(*identity.commitment()).ok_or_else(|| anyhow::anyhow!("nobody has the commitment zero"))
}

/// Adds to a keystore, or makes one.
async fn add(path: &Path, credentials: Vec<Credential>, password: &Password) -> anyhow::Result<()> {
    let (path, password) = (path.to_owned(), password.clone());
    spawn_blocking(move || {
        let mut keystore = match path.exists() {
            true => load(&path, &Application::default())?,
            false => Keystore::default(),
        };
        for credential in &credentials {
            keystore.add(credential, &password, Kdf::default(), &mut system_rng())?;
        }
        Ok(save(&path, &keystore)?)
    })
    .await?
}

/// The password of the flags, or a line of standard input.
fn asked(args: &KeystorePasswordArgs) -> anyhow::Result<Password> {
    let is_asked = args.rln_relay_cred_password.is_none() && args.rln_cred_password_file.is_none();
    if is_asked && std::io::stdin().is_terminal() {
        remark("the password of the keystore, which this terminal shows:");
    }
    Ok(password(args)?)
}
