//! Flags about rate-limit proofs, checked: where the members are, and which of them are ours.
//!
//! On a network that asks for proofs they are verified unless `--rln-relay=false`. Without a provider of the chain nothing is known of
//! the members: then nothing is verified, and what we publish stays here, since its peers would blame us.

use std::{path::PathBuf, sync::Arc};

use membership::{
    Address,
    contract::{Contract, Flavour},
    ids::Reserve,
    provider::{MAX_PROVIDERS, NoUrl, Url},
    register::{Account, NoKey},
};
use waku_rln::Limit;
use waku2::{Preset, rln::epoch::EpochLength};

use super::{network::Network, reserves::Reserves};
use crate::cli::{ChainArgs, Hidden, KeystorePasswordArgs, MessageIds, RlnArgs};

/// Keystores at most: each may have as many memberships as a pool has.
const MAX_KEYSTORES: usize = membership::ids::MAX_MEMBERSHIPS;
/// Said where the operator wants none.
const OFF: &str = "--rln-relay=false: rate-limit proofs (RLN) are not verified, and what we publish without one stays here, since the peers of this network reject it";
/// Said where nobody can be asked.
const NO_PROVIDER: &str = "rate-limit proofs (RLN) are neither verified nor made, since nobody tells who is a member: give --rln-relay-eth-client-address, a provider of the chain. Until then what others prove is passed on unseen, and what we publish stays here";
/// Said where nobody is a member.
const NO_MEMBERSHIP: &str = "no membership is given: rate-limit proofs (RLN) are verified, and what we publish stays here. `causeway rln register` makes one, --rln-relay-cred-path names it";

/// Proofs, as they are verified and made.
#[derive(Debug, Clone)]
pub struct Rln {
    /// Where the members are.
    pub group: Group,
    /// Which of them are ours, if any.
    pub credentials: Option<Credentials>,
    /// How long an epoch is.
    pub epochs: EpochLength,
    /// What of our messages is kept for whom.
    pub reserve: Reserve,
}

impl Rln {
    /// Is somebody given to make proofs?
    #[must_use]
    pub const fn can_publish(&self) -> bool {
        self.credentials.is_some()
    }

    /// The same with shares kept for the routes of these classes.
    #[must_use]
    pub fn keeping(self, reserves: &Reserves) -> Self {
        Self { reserve: reserve(reserves), ..self }
    }
}

/// What is kept, as ids are.
#[must_use]
pub fn reserve(reserves: &Reserves) -> Reserve {
    let shares = reserves.shares().map(|(class, percent)| (Arc::clone(class), percent));
    // A route file keeps no more than there is.
    Reserve::new(shares).unwrap_or_default()
}

/// Where members are.
#[derive(Debug, Clone)]
pub enum Group {
    /// In a file.
    File(PathBuf),
    /// On a chain.
    Chain(Chain),
}

/// A contract, and who is asked about it.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Which.
    pub contract: Contract,
    /// Who is asked, the first first.
    pub providers: Vec<Url>,
}

/// Memberships of ours.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The keystores.
    pub files: Vec<PathBuf>,
    /// Their password.
    pub password: KeystorePasswordArgs,
    /// The one that is wanted of several.
    pub index: Option<u32>,
    /// Messages an epoch where the keystore does not say.
    pub limit: Option<Limit>,
    /// The ids that are ours, if not all are.
    pub ids: Option<MessageIds>,
}

/// Flags that make no proofs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RlnError {
    /// Nowhere to look.
    #[error(
        "--rln-relay needs to know who is a member: give --rln-relay-eth-client-address, --rln-relay-eth-contract-address and --rln-relay-chain-id, or --preset=twn, which knows the last two; or --rln-group, a file"
    )]
    NoGroup,
    /// Two groups.
    #[error("--rln-group says who is a member, and so does --{0}: leave one of the two out")]
    TwoGroups(&'static str),
    /// Not a provider.
    #[error("--rln-relay-eth-client-address: {0}")]
    Url(NoUrl),
    /// Too many.
    #[error("--rln-relay-eth-client-address is given {0} times: {MAX_PROVIDERS} are asked at most")]
    Providers(usize),
    /// Not an address.
    #[error("--rln-relay-eth-contract-address {0}: an address is 40 hex digits after 0x")]
    Address(String),
    /// Not a number.
    #[error("--rln-relay-chain-id {0}: give the number of a chain, 59141 for example")]
    Chain(String),
    /// A contract, but not whose.
    #[error("--rln-relay-eth-contract-address and --rln-relay-chain-id: one without the other is no contract")]
    HalfContract,
    /// No such name.
    #[error("--preset {0}: there are twn and twn-spec")]
    Preset(String),
    /// Not a limit.
    #[error("--rln-relay-user-message-limit {0}: give a number from 1 to 65535")]
    Limit(u64),
    /// Nobody pays.
    #[error(
        "--rln-relay-eth-private-key: give the key of the account that pays, in the environment as CAUSEWAY_RLN_RELAY_ETH_PRIVATE_KEY"
    )]
    NoAccount,
    /// Not a key.
    #[error("--rln-relay-eth-private-key: {0}")]
    Account(NoKey),
    /// A keystore that can't be opened.
    #[error(
        "--rln-relay-cred-path: give its password in --rln-cred-password-file, or in the environment as CAUSEWAY_RLN_RELAY_CRED_PASSWORD"
    )]
    NoPassword,
    /// Two passwords.
    #[error("--rln-relay-cred-password and --rln-cred-password-file: leave one of the two out")]
    TwoPasswords,
    /// Too many.
    #[error("--rln-relay-cred-path is given {0} times: {MAX_KEYSTORES} are opened at most")]
    Keystores(usize),
}

/// Reads the flags. What the network asks for is told to it; what an operator should know is added to `notices`.
///
/// # Errors
/// [`RlnError`] names the flag.
pub(super) fn rln(args: &RlnArgs, network: &mut Network, notices: &mut Vec<String>) -> Result<Option<Rln>, RlnError> {
    notices.extend(args.rln_relay_eth_private_key.as_ref().map(|_| PRIVATE_KEY.to_owned()));
    if !args.rln_relay.unwrap_or(network.asks_for_proofs) {
        without(args, network, notices);
        return Ok(None);
    }
    let Some(group) = group(args, network.preset)? else {
        if !network.asks_for_proofs {
            return Err(RlnError::NoGroup);
        }
        notices.push(NO_PROVIDER.to_owned());
        network.policy.withholds_unproven = true;
        return Ok(None);
    };
    network.asks_for_proofs = true;
    let credentials = credentials(args)?;
    notices.extend(credentials.is_none().then(|| NO_MEMBERSHIP.to_owned()));
    let epochs = args.rln_relay_epoch_sec.and_then(EpochLength::from_secs).unwrap_or_default();
    Ok(Some(Rln { group, credentials, epochs, reserve: Reserve::default() }))
}

/// Said of a key that no node wants.
const PRIVATE_KEY: &str = "--rln-relay-eth-private-key: a node registers nobody; `causeway rln register` does. Leave it out: it is safer elsewhere";

/// Nothing is verified.
fn without(args: &RlnArgs, network: &mut Network, notices: &mut Vec<String>) {
    if network.asks_for_proofs {
        notices.push(OFF.to_owned());
        network.policy.withholds_unproven = true;
    }
    let given = given(args);
    if !given.is_empty() {
        notices.push(format!("without --rln-relay these have no effect: {}", given.join(", ")));
    }
}

/// The flags that say how.
fn given(args: &RlnArgs) -> Vec<&'static str> {
    let RlnArgs { chain, password, .. } = args;
    [
        ("--rln-relay-dynamic", args.rln_relay_dynamic),
        ("--rln-group", args.rln_group.is_some()),
        ("--rln-relay-eth-client-address", providers_given(chain).next().is_some()),
        ("--rln-relay-eth-contract-address", text(chain.rln_relay_eth_contract_address.as_deref()).is_some()),
        ("--rln-relay-chain-id", text(chain.rln_relay_chain_id.as_deref()).is_some()),
        ("--rln-relay-cred-path", files(args).next().is_some()),
        ("--rln-relay-membership-index", args.rln_relay_membership_index.is_some()),
        ("--rln-relay-cred-password", password.rln_relay_cred_password.is_some()),
        ("--rln-cred-password-file", password.rln_cred_password_file.is_some()),
        ("--rln-relay-epoch-sec", args.rln_relay_epoch_sec.is_some()),
        ("--rln-relay-user-message-limit", args.rln_relay_user_message_limit.is_some()),
        ("--rln-message-ids", args.rln_message_ids.is_some()),
    ]
    .into_iter()
    .filter_map(|(flag, is_given)| is_given.then_some(flag))
    .collect()
}

fn group(args: &RlnArgs, preset: Option<Preset>) -> Result<Option<Group>, RlnError> {
    let named = args.rln_group.as_ref().filter(|path| !path.as_os_str().is_empty());
    let Some(path) = named else { return Ok(chain(&args.chain, preset)?.map(Group::Chain)) };
    if providers_given(&args.chain).next().is_some() {
        return Err(RlnError::TwoGroups("rln-relay-eth-client-address"));
    }
    if args.rln_relay_dynamic {
        return Err(RlnError::TwoGroups("rln-relay-dynamic"));
    }
    Ok(Some(Group::File(path.clone())))
}

/// A contract and its providers; nothing where no provider is named, or no contract known.
fn chain(args: &ChainArgs, preset: Option<Preset>) -> Result<Option<Chain>, RlnError> {
    let contract = contract(args, preset.and_then(of_preset))?;
    let providers: Vec<Url> =
        providers_given(args).map(|url| url.text().parse().map_err(RlnError::Url)).collect::<Result<_, _>>()?;
    match (providers.len(), contract) {
        (0, _) | (_, None) => Ok(None),
        (count, _) if count > MAX_PROVIDERS => Err(RlnError::Providers(count)),
        (_, Some(contract)) => Ok(Some(Chain { contract, providers })),
    }
}

/// The chain of a command, with the preset's contract unless the flags have another.
///
/// # Errors
/// [`RlnError`] names the flag.
pub fn of_command(args: &ChainArgs, preset: &str) -> Result<Chain, RlnError> {
    let named = Preset::named(&preset.to_ascii_lowercase()).filter(|preset| of_preset(*preset).is_some());
    let preset = named.ok_or_else(|| RlnError::Preset(preset.to_owned()))?;
    chain(args, Some(preset))?.ok_or(RlnError::NoGroup)
}

/// The contract of a network.
fn of_preset(preset: Preset) -> Option<Contract> {
    match preset.name {
        "twn" => Some(Contract::TWN),
        "twn-spec" => Some(Contract::TWN_SPEC),
        _ => None,
    }
}

/// The contract that the flags say, which has the form of the preset's, or the current one.
fn contract(args: &ChainArgs, preset: Option<Contract>) -> Result<Option<Contract>, RlnError> {
    let address = text(args.rln_relay_eth_contract_address.as_deref()).map(address).transpose()?;
    let chain = text(args.rln_relay_chain_id.as_deref()).map(number).transpose()?;
    match (chain.or_else(|| preset.map(|it| it.chain)), address.or_else(|| preset.map(|it| it.address))) {
        (Some(chain), Some(address)) => {
            let flavour = preset.map_or(Flavour::Current, |it| it.flavour);
            Ok(Some(Contract { chain, address, flavour }))
        }
        (None, None) => Ok(None),
        _ => Err(RlnError::HalfContract),
    }
}

fn address(text: &str) -> Result<Address, RlnError> {
    text.parse().map_err(|_| RlnError::Address(text.to_owned()))
}

/// In decimal, or in hex as browsers have it.
fn number(text: &str) -> Result<u64, RlnError> {
    let read = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    read.map_err(|_| RlnError::Chain(text.to_owned()))
}

fn credentials(args: &RlnArgs) -> Result<Option<Credentials>, RlnError> {
    let files: Vec<PathBuf> = files(args).cloned().collect();
    if files.is_empty() {
        return Ok(None);
    }
    if files.len() > MAX_KEYSTORES {
        return Err(RlnError::Keystores(files.len()));
    }
    let password = args.password.clone();
    match (&password.rln_relay_cred_password, &password.rln_cred_password_file) {
        (None, None) => return Err(RlnError::NoPassword),
        (Some(_), Some(_)) => return Err(RlnError::TwoPasswords),
        _ => {}
    }
    let limit = args.rln_relay_user_message_limit.map(limit).transpose()?;
    Ok(Some(Credentials { files, password, index: args.rln_relay_membership_index, limit, ids: args.rln_message_ids }))
}

/// Messages an epoch.
///
/// # Errors
/// [`RlnError::Limit`].
pub fn limit(messages: u64) -> Result<Limit, RlnError> {
    Limit::new(messages).ok_or(RlnError::Limit(messages))
}

/// Who pays.
///
/// # Errors
/// [`RlnError::NoAccount`], [`RlnError::Account`].
pub fn account(key: Option<&Hidden>) -> Result<Account, RlnError> {
    let key = key.filter(|key| !key.text().is_empty()).ok_or(RlnError::NoAccount)?;
    key.text().parse().map_err(RlnError::Account)
}

fn files(args: &RlnArgs) -> impl Iterator<Item = &PathBuf> {
    args.rln_relay_cred_path.iter().filter(|path| !path.as_os_str().is_empty())
}

fn providers_given(args: &ChainArgs) -> impl Iterator<Item = &Hidden> {
    args.rln_relay_eth_client_address.iter().filter(|url| !url.text().is_empty())
}

fn text(given: Option<&str>) -> Option<&str> {
    given.filter(|text| !text.is_empty())
}
