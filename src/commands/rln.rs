//! `rln`: becomes a member, looks into keystores, and asks what has become of memberships.
//!
//! | Module | What |
//! |---|---|
//! | `register` | becoming a member, in one run or in several |
//! | `extend` | staying one |
//! | `draft` | identities that are none yet |
//! | `lock` | keeps others off while one works on them |

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
use waku2::{Preset, rules::Row};

mod draft;
mod extend;
mod lock;
mod register;

pub use register::register;

use crate::{
    cli::{KeystoreCommand, MembersArgs, RlnCommand},
    config::{
        ConfigError,
        network::rules,
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
        RlnCommand::Extend(args) => extend::extend(*args).await,
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
        say(format_args!("rules      {}", rules_of(&args.preset)))?;
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

/// Whose word counts on a network where text and deployed nodes differ, if no flag says otherwise.
fn rules_of(preset: &str) -> String {
    let rules = rules(Preset::named(&preset.to_ascii_lowercase()));
    Row::ALL.map(|row| format!("{}={}", row.name(), rules.of(row))).join(", ")
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

/// A line about a membership, without its secrets. Index and limit are the contract's, where it was asked and tells them.
fn tell(credential: &Credential, status: Option<&Status>, as_json: bool) -> anyhow::Result<()> {
    let Membership { chain_id, address, index } = &credential.membership;
    let kept = Place { index: *index, limit: credential.limit.map(|limit| limit.get().into()) };
    let told = status.map_or(kept, |status| kept.as_told(status));
    let (commitment, life) = (hex(credential.identity.commitment()), status.map(|status| life(status.life)));
    if as_json {
        let mut line = json!({"chain": chain_id, "contract": address, "index": told.index, "commitment": commitment, "limit": told.limit, "status": life});
        if kept.differs(&told) {
            line["keystore"] = json!({"index": kept.index, "limit": kept.limit});
        }
        say(line)?;
        return Ok(());
    }
    let (index, limit) = (told.index, told.limit_or_dash());
    // What a group's file is to have comes first, and the rest reads as a remark there.
    let life = life.map(|life| format!(", {life}")).unwrap_or_default();
    let differs = if kept.differs(&told) { kept.otherwise() } else { String::new() };
    say(format_args!("{commitment} {limit} # index {index}, contract {address} on chain {chain_id}{life}{differs}"))?;
    Ok(())
}

/// Where a member is, and how many messages an epoch it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    index: u32,
    /// Keystores from before RLN v2 don't say.
    limit: Option<u32>,
}

impl Place {
    /// The contract's word, and what stands in the keystore where it has none.
    fn as_told(self, status: &Status) -> Self {
        Self { index: status.index.unwrap_or(self.index), limit: status.limit.or(self.limit) }
    }

    /// Does the contract say something else than the keystore? Where the keystore says nothing it does not.
    fn differs(&self, told: &Self) -> bool {
        self.index != told.index || self.limit.is_some_and(|limit| Some(limit) != told.limit)
    }

    fn limit_or_dash(&self) -> String {
        self.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string())
    }

    /// What is wrong with a keystore that says this.
    fn otherwise(&self) -> String {
        let (index, limit) = (self.index, self.limit_or_dash());
        format!("; the keystore has index {index} and {limit} messages instead: no proof can be made with that")
    }
}

const fn life(life: Life) -> &'static str {
    match life {
        Life::Active => "active",
        Life::Grace => "in its grace period: `causeway rln extend --execute` gives it another half a year",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_position() {
        let live = rules_of("TWN");
        assert!(live.contains("unproven=deployed") && live.contains("invalid-proof=text"), "{live}");
        assert!(!rules_of("twn-spec").contains("deployed"));
        assert_eq!(live.split(", ").count(), Row::ALL.len());
    }

    #[test]
    fn the_contracts_word_counts_and_the_keystores_where_it_has_none() {
        let status = |index, limit| Status { life: Life::Active, index, limit };
        let kept = Place { index: 3, limit: Some(20) };
        for (told, expected, differs) in [
            (status(Some(3), Some(20)), (3, Some(20)), false),
            (status(Some(4), Some(20)), (4, Some(20)), true),
            (status(Some(3), Some(50)), (3, Some(50)), true),
            (status(None, None), (3, Some(20)), false),
        ] {
            let told = kept.as_told(&told);
            assert_eq!(((told.index, told.limit), kept.differs(&told)), (expected, differs));
        }
        let older = Place { limit: None, ..kept };
        assert!(!older.differs(&older.as_told(&status(Some(3), Some(20)))), "it says nothing");
        assert_eq!(older.limit_or_dash(), "-");
    }
}
