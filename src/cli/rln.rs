//! Flags about rate-limit proofs.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;

use super::parse_bool;

/// A text that nobody else is to read: it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// The first and the last message id of a stretch, as they are written: `0-49`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIds {
    /// The first.
    pub first: u32,
    /// The last, which is not before it.
    pub last: u32,
}

impl FromStr for MessageIds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        let ids = ends.map(|(first, last)| Self { first, last });
        ids.filter(|ids| ids.first <= ids.last).ok_or("give the first id and the last, which count from 0: 0-49")
    }
}

/// Flags about rate-limit proofs (RLN), by the names of nwaku. What is empty is not given, because compose files pass that for what
/// is not set.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waku Network: rate-limit proofs (RLN)")]
pub struct RlnArgs {
    /// Verify rate-limit proofs, and make them with --rln-relay-cred-path. Takes --rln-relay-eth-client-address to know who is a member
    /// [default: on with --preset=twn, else off]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    pub rln_relay: Option<bool>,
    /// The members are those of a contract. It is always so, but with --rln-group
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub rln_relay_dynamic: bool,
    /// Where the group is.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// The members, for networks of one's own without a contract: a file with a line for each, the commitment and its messages an epoch, as
    /// `causeway rln keystore list` prints them, or its rate commitment alone. The place in the file is the index
    #[arg(long, value_name = "FILE")]
    pub rln_group: Option<PathBuf>,
    /// A keystore with memberships, to make proofs of what is published; may be repeated. All memberships of the group in it take turns
    #[arg(long, value_name = "FILE")]
    pub rln_relay_cred_path: Vec<PathBuf>,
    /// Of several memberships, the one with this index alone [default: all]
    #[arg(long, value_name = "N")]
    pub rln_relay_membership_index: Option<u32>,
    /// The password of the keystores.
    #[command(flatten)]
    pub password: KeystorePasswordArgs,
    /// Registers a member, which `causeway rln register` does, and no node
    #[arg(long, hide = true, value_name = "KEY")]
    pub rln_relay_eth_private_key: Option<Hidden>,
    /// Seconds of an epoch, alike for all nodes of the network [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rln_relay_epoch_sec: Option<u64>,
    /// Messages an epoch of a membership whose keystore does not say [default: that of the keystore]
    #[arg(long, value_name = "N")]
    pub rln_relay_user_message_limit: Option<u64>,
    /// Of each membership's messages of an epoch, use only those from FIRST to LAST, counted from 0. Two bridges share a membership if no
    /// id is with both, 0-49 and 50-99 for example: an id that both use reveals its secret [default: all]
    #[arg(long, value_name = "FIRST-LAST")]
    pub rln_message_ids: Option<MessageIds>,
}

/// Where a group is on its chain, and who is asked about it.
#[derive(Debug, Clone, Default, Args)]
pub struct ChainArgs {
    /// A node of Ethereum's that answers JSON-RPC about the chain, http://… or https://…; may be repeated, and the next one is asked
    /// when one fails. Only its host is ever logged
    #[arg(long, value_name = "URL")]
    pub rln_relay_eth_client_address: Vec<Hidden>,
    /// The contract of the members [default: that of the preset]
    #[arg(long, value_name = "ADDRESS")]
    pub rln_relay_eth_contract_address: Option<String>,
    /// The chain's number [default: that of the preset]
    #[arg(long, value_name = "N")]
    pub rln_relay_chain_id: Option<String>,
}

/// The password of keystores.
#[derive(Debug, Clone, Default, Args)]
pub struct KeystorePasswordArgs {
    /// The password of the keystores. Other users of this machine see it; --rln-cred-password-file and the environment hide it
    #[arg(long, value_name = "PASSWORD")]
    pub rln_relay_cred_password: Option<Hidden>,
    /// A file whose first line is the password of the keystores; - is standard input, or the terminal, which does not show it. Without either,
    /// `causeway rln` reads it there
    #[arg(long, value_name = "FILE")]
    pub rln_cred_password_file: Option<PathBuf>,
}

/// Flags of `rln`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RlnCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RlnCommand,
}

const EXAMPLES: &str = "\
Examples:
  causeway rln register --rln-relay-eth-client-address=https://HOST --rln-relay-eth-private-key=KEY --rln-relay-cred-path=keystore.json
                                                      what a membership of The Waku Network costs; with --execute it is bought
  causeway rln status --rln-relay-eth-client-address=https://HOST --rln-relay-cred-path=keystore.json
                                                      what has become of the memberships in a keystore
  causeway rln extend --rln-relay-eth-client-address=https://HOST --rln-relay-eth-private-key=KEY --rln-relay-cred-path=keystore.json
                                                      what another half a year costs those that are in their grace period; --execute pays it
  causeway rln keystore list keystore.json            what is in it
  causeway node --preset=twn --discv5-discovery --rln-relay-eth-client-address=https://HOST --rln-relay-cred-path=keystore.json";

/// What `rln` does.
#[derive(Debug, clap::Subcommand)]
pub enum RlnCommand {
    /// Become a member: draws an identity, registers it with the contract, and writes it into a keystore. Without --execute it only tells
    /// what that costs. What an earlier run began and did not end is gone on with: its identity is beside the keystore, in a file that ends in
    /// .unregistered.json
    Register(Box<RegisterArgs>),
    /// Look into keystores, and carry memberships between them
    #[command(subcommand)]
    Keystore(KeystoreCommand),
    /// Ask the contract what has become of the memberships in a keystore, and of what is being registered beside it
    Status(Box<MembersArgs>),
    /// Extend those memberships of a keystore that are in their grace period, a month after half a year: each has another life then, for the
    /// fee alone. Without --execute it only tells which these are, and the fee
    Extend(Box<ExtendArgs>),
}

/// Flags of `rln register` and of nwaku's `generateRlnKeystore`.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// The network: twn or twn-spec
    #[arg(long, value_name = "NAME", default_value = "twn")]
    pub preset: String,
    /// Where the group is.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// The private key of the account that pays, 64 hex digits. Other users of this machine see it; the environment hides it
    #[arg(long, value_name = "KEY")]
    pub rln_relay_eth_private_key: Option<Hidden>,
    /// The keystore that the membership is added to; one that is not there is made
    #[arg(long, value_name = "FILE", default_value = "./rlnKeystore.json")]
    pub rln_relay_cred_path: PathBuf,
    /// Its password.
    #[command(flatten)]
    pub password: KeystorePasswordArgs,
    /// Messages an epoch: more cost more
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub rln_relay_user_message_limit: u64,
    /// Pay and register
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub execute: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `rln extend`.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// The private key of the account that registered them, 64 hex digits. Other users of this machine see it; the environment hides it
    #[arg(long, value_name = "KEY")]
    pub rln_relay_eth_private_key: Option<Hidden>,
    /// Which memberships.
    #[command(flatten)]
    pub members: MembersArgs,
    /// Pay and extend
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = parse_bool)]
    pub execute: bool,
}

/// Flags of `rln status`.
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// The network: twn or twn-spec
    #[arg(long, value_name = "NAME", default_value = "twn")]
    pub preset: String,
    /// Where the group is.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// The keystore
    #[arg(long, value_name = "FILE", default_value = "./rlnKeystore.json")]
    pub rln_relay_cred_path: PathBuf,
    /// Its password.
    #[command(flatten)]
    pub password: KeystorePasswordArgs,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What `rln keystore` does.
#[derive(Debug, clap::Subcommand)]
pub enum KeystoreCommand {
    /// Print the memberships of a keystore: where they are registered, and their commitments. Secrets are not printed
    List {
        /// The keystore
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its password.
        #[command(flatten)]
        password: KeystorePasswordArgs,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Draw an identity for a static group (--rln-group), and write it into a keystore
    Create {
        /// The keystore; one that is not there is made
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its index in the group: the line, from 0
        #[arg(long, value_name = "N", default_value_t = 0)]
        index: u32,
        /// Messages an epoch
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
        /// The password.
        #[command(flatten)]
        password: KeystorePasswordArgs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add the memberships of one keystore to another; both have one password
    Import {
        /// Where they are
        #[arg(value_name = "FROM")]
        from: PathBuf,
        /// The keystore that they are added to; one that is not there is made
        #[arg(value_name = "INTO")]
        into: PathBuf,
        /// The password.
        #[command(flatten)]
        password: KeystorePasswordArgs,
    },
    /// Write one membership into a keystore of its own, which is not there yet
    Export {
        /// Where it is
        #[arg(value_name = "FROM")]
        from: PathBuf,
        /// The keystore to make
        #[arg(value_name = "INTO")]
        into: PathBuf,
        /// Its index in the group
        #[arg(long, value_name = "N")]
        index: u32,
        /// The password.
        #[command(flatten)]
        password: KeystorePasswordArgs,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_does_not_print() {
        let Ok(hidden) = "secret".parse::<Hidden>();
        assert_eq!((hidden.text(), &*format!("{hidden:?}")), ("secret", "Hidden(..)"));
    }

    #[test]
    fn a_stretch_of_ids_has_two_ends_in_order() {
        assert_eq!("0-49".parse(), Ok(MessageIds { first: 0, last: 49 }));
        assert_eq!("7-7".parse(), Ok(MessageIds { first: 7, last: 7 }));
        for wrong in ["", "7", "-", "7-", "-7", "9-7", "0..49", "0-4294967296", "0-1-2"] {
            assert!(wrong.parse::<MessageIds>().is_err(), "{wrong}");
        }
    }
}
