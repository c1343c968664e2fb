//! `rln`: becomes a member, looks into keystores, and asks what has become of memberships.
//!
//! | Module | What |
//! |---|---|
//! | `register` | becoming a member, in one run or in several |
//! | `draft` | identities that are none yet |

use std::path::Path;

use membership::{
    contract::{Commitment, Garbled},
    provider::{Fault, HowMany, Http, Provider},
    register::RegisterError,
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

mod draft;
mod register;

pub use register::register;

use crate::{
    cli::{KeystoreCommand, MembersArgs, RlnCommand},
    config::{
        ConfigError,
        rln::{Chain, limit, of_command},
    },
    keys::system_rng,
    output::{remark, say},
    rln::{
        ask::{Asked, asked},
        keystore::open,
        list::hex,
    },
};
use draft::Drafts;

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

async fn keystore(command: KeystoreCommand) -> anyhow::Result<()> {
    match command {
        KeystoreCommand::List { file, password, json } => {
            for credential in open(&file, &asked(&password, Asked::Once)?).await? {
                tell(&credential, None, json)?;
            }
        }
        KeystoreCommand::Create { file, index, limit: messages, password, json } => {
            let limit = limit(messages).map_err(ConfigError::from)?;
            let membership = Membership { chain_id: NO_CHAIN.to_owned(), address: NO_CONTRACT.to_owned(), index };
            let identity = Identity::random(&mut system_rng());
            let created = Credential { membership, identity, limit: Some(limit) };
            add(&file, vec![created.clone()], &asked(&password, times(&file))?).await?;
            tell(&created, None, json)?;
        }
        KeystoreCommand::Import { from, into, password } => {
            let password = asked(&password, Asked::Once)?;
            add(&into, open(&from, &password).await?, &password).await?;
        }
        KeystoreCommand::Export { from, into, index, password } => {
            anyhow::ensure!(!into.exists(), "{} is there already: move it away first", into.display());
            let password = asked(&password, Asked::Once)?;
            let found = open(&from, &password).await?.into_iter().filter(|one| one.membership.index == index);
            let found: Vec<Credential> = found.collect();
            anyhow::ensure!(!found.is_empty(), "{} has no membership with index {index}", from.display());
            add(&into, found, &password).await?;
        }
    }
    Ok(())
}

async fn status(args: MembersArgs) -> anyhow::Result<()> {
    let chain = of_command(&args.chain, &args.preset).map_err(ConfigError::from)?;
    let (contract, provider, path) = (chain.contract, provider(chain)?, &args.rln_relay_cred_path);
    let members = status::members(&provider, &contract).await.map_err(faulted)?;
    if !args.json {
        say(format_args!("group      {} on chain {}: {members} members", contract.address, contract.chain))?;
    }
    let password = asked(&args.password, Asked::Once)?;
    let drafts = Drafts::beside(path, Kdf::default());
    let unfinished = match drafts.has(&contract)? {
        true => register::unfinished(&provider, contract, drafts.lock()?, &password, |line| remark(line)).await?,
        false => None,
    };
    if let Some(draft) = &unfinished {
        tell_unfinished(draft, args.json)?;
    }
    // Before the first registration is done there is none.
    if unfinished.is_some() && !path.exists() {
        return Ok(());
    }
    for credential in open(path, &password).await? {
        let status = status::status(&provider, &contract, commitment(&credential.identity)?).await.map_err(faulted)?;
        tell(&credential, Some(&status), args.json)?;
    }
    Ok(())
}

/// A line about an identity that is registered nowhere yet.
fn tell_unfinished(draft: &Credential, as_json: bool) -> anyhow::Result<()> {
    let Membership { chain_id, address, .. } = &draft.membership;
    let (commitment, limit) = (hex(draft.identity.commitment()), draft.limit.map(waku_rln::Limit::get));
    if as_json {
        say(
            json!({"chain": chain_id, "contract": address, "index": null, "commitment": commitment, "limit": limit, "status": "not registered"}),
        )?;
    } else {
        say(format_args!(
            "{commitment} # not registered with {address} on chain {chain_id}: `causeway rln register --execute` goes on with it"
        ))?;
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

fn commitment(identity: &Identity) -> anyhow::Result<Commitment> {
    Commitment::new(*identity.commitment()).ok_or_else(|| anyhow::anyhow!("nobody has the commitment zero"))
}

/// Asks the chain.
fn provider(chain: Chain) -> Result<Provider, HowMany> {
    Provider::new(chain.contract.chain, chain.providers, Http::new())
}

/// What can be done about it, and what it is.
fn explained(error: RegisterError) -> anyhow::Error {
    let hint = match &error {
        RegisterError::Provider(fault) => hint(fault),
        RegisterError::Limit { .. } => Some("--rln-relay-user-message-limit"),
        _ => None,
    };
    with(hint, error)
}

fn faulted(fault: Fault) -> anyhow::Error {
    let hint = hint(&fault);
    with(hint, RegisterError::from(fault))
}

fn with(hint: Option<&'static str>, error: RegisterError) -> anyhow::Error {
    match hint {
        Some(hint) => anyhow::Error::new(error).context(hint),
        None => error.into(),
    }
}

fn hint(fault: &Fault) -> Option<&'static str> {
    match fault {
        Fault::WrongChain { .. } => Some(
            "--rln-relay-eth-client-address: give a provider of the contract's chain, or that chain's contract in --rln-relay-eth-contract-address and --rln-relay-chain-id",
        ),
        Fault::Contract(Garbled::NoContract) => {
            Some("--rln-relay-eth-contract-address: give the address of a contract")
        }
        Fault::Contract(Garbled::Interface | Garbled::Range) => {
            Some("--rln-relay-eth-contract-address: is it a contract of members, and of the form of --preset?")
        }
        Fault::Unreachable
        | Fault::Timeout
        | Fault::TooLong
        | Fault::Status(_)
        | Fault::RateLimited { .. }
        | Fault::Garbage
        | Fault::Refused { .. } => {
            Some("--rln-relay-eth-client-address: give a provider that answers; repeat the flag for another one")
        }
        Fault::Reverted(_) => None,
    }
}

/// A password is typed twice where a keystore is made.
fn times(keystore: &Path) -> Asked {
    if keystore.exists() { Asked::Once } else { Asked::Twice }
}

/// Adds to a keystore, or makes one.
async fn add(path: &Path, credentials: Vec<Credential>, password: &Password) -> anyhow::Result<()> {
    let (path, password) = (path.to_owned(), password.clone());
    spawn_blocking(move || {
        draft::check(&path, &password)?;
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
