//! Flags about history for the Waku Network, checked.

use std::time::Duration;

use super::network::Network;
use crate::cli::{RequireProof, StoreArgs};

/// Said where nothing is answered with but what an earlier life has verified.
const NOTHING_PROVEN: &str = "--store: this network asks for rate-limit proofs, which are not verified, and only what is proven is answered \
                              with: of what comes now that is nothing. --store-unproven answers with what is kept all the same";
/// Said where nothing can be resumed.
const NOTHING_KEPT: &str = "--store-resume asks for what was missed, and nothing is kept: add --store";

/// How history is served, and asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Store {
    /// Version 3 is answered.
    pub v3: bool,
    /// Version 2.0.0-beta4 is answered.
    pub legacy: bool,
    /// Answers leave out what was not proven here.
    pub proven_only: bool,
    /// Of what others answer, only what has a valid proof is taken.
    pub require_proof: bool,
    /// The longest absence to make up for at the start; `None` for none.
    pub resume: Option<Duration>,
}

impl Store {
    /// Is history served, in either protocol?
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.v3 || self.legacy
    }
}

/// Reads the flags; what an operator should know is added to `notices`.
pub(super) fn store(
    args: &StoreArgs,
    (network, verifies): (&Network, bool),
    has_archive: bool,
    notices: &mut Vec<String>,
) -> Store {
    let asks_for_proofs = network.asks_for_proofs;
    let proven_only = asks_for_proofs && !args.store_unproven;
    if args.serves() && proven_only && !verifies {
        notices.push(NOTHING_PROVEN.to_owned());
    }
    if args.store_resume && !has_archive {
        notices.push(NOTHING_KEPT.to_owned());
    }
    let resume = args.store_resume && has_archive;
    Store {
        v3: args.store,
        legacy: args.legacy_store,
        proven_only,
        require_proof: match args.store_client_require_proof {
            RequireProof::Auto => asks_for_proofs,
            RequireProof::On => true,
            RequireProof::Off => false,
        },
        resume: resume.then(|| Duration::from_secs(args.store_resume_max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::Config,
    };

    fn node_of(flags: &[&str]) -> Result<(Store, Vec<String>), String> {
        let line = ["causeway", "node"].iter().chain(flags);
        let Command::Node(args) = Cli::without_environment(line).unwrap().command else { panic!("{flags:?}") };
        let config = Config::try_from(*args).map_err(|error| error.to_string())?;
        Ok((config.store.unwrap_or_default(), config.notices))
    }

    #[test]
    fn nothing_is_served_unless_asked_for() {
        let (store, notices) = node_of(&[]).unwrap();
        assert_eq!((store.serves(), store.resume, notices.len()), (false, None, 0));
        let (store, _) = node_of(&["--store", "--legacy-store=true", "--store-resume"]).unwrap();
        let resume = Some(Duration::from_secs(6 * 60 * 60));
        assert_eq!((store.v3, store.legacy, store.proven_only, store.resume), (true, true, false, resume));
        assert!(node_of(&["--store", "--relay=false", "--waku-v0"]).unwrap_err().contains("--relay=false"));
        let (store, notices) = node_of(&["--store-resume"]).unwrap();
        assert!(store.resume.is_none() && notices == [NOTHING_KEPT]);
    }

    #[test]
    fn on_the_waku_network_only_what_is_proven() {
        let (store, notices) = node_of(&["--store", "--preset=twn"]).unwrap();
        assert!(store.proven_only && store.require_proof && notices.contains(&NOTHING_PROVEN.to_owned()));
        let flags = ["--store", "--preset=twn", "--store-unproven", "--store-client-require-proof=off"];
        let (store, notices) = node_of(&flags).unwrap();
        assert!(!store.proven_only && !store.require_proof && !notices.contains(&NOTHING_PROVEN.to_owned()));
        assert!(node_of(&["--store-client-require-proof=ON"]).unwrap().0.require_proof);
    }

    /// A network asks for proofs, somebody may ask for history, and nobody verifies: all three, or nothing is said.
    #[test]
    fn that_nothing_is_answered_with_is_said_where_it_is_so() {
        let is_said = |flags: &[&str]| node_of(flags).unwrap().1.contains(&NOTHING_PROVEN.to_owned());
        for (flags, expected) in [
            (&["--store", "--preset=twn"][..], true),
            (&["--legacy-store", "--preset=twn"], true),
            (&["--store", "--preset=twn-spec"], true),
            (&["--store", "--preset=twn", "--rln-relay=false"], true),
            (&["--preset=twn"], false),
            (&["--store-resume", "--preset=twn"], false),
            (&["--store", "--preset=twn", "--store-unproven"], false),
            (&["--store", "--preset=status"], false),
            (&["--store"], false),
        ] {
            assert_eq!(is_said(flags), expected, "{flags:?}");
        }
    }

    #[cfg(feature = "rln")]
    #[test]
    fn where_proofs_are_verified_it_is_not_said() {
        for network in ["--preset=twn", "--rln-relay"] {
            let (store, notices) = node_of(&["--store", network, "--rln-group=/nowhere"]).unwrap();
            assert!(store.proven_only && !notices.contains(&NOTHING_PROVEN.to_owned()), "{notices:?}");
        }
    }

    #[test]
    fn a_node_to_ask_is_an_address_with_its_name() {
        let peer = "/ip4/1.2.3.4/tcp/60000/p2p/16Uiu2HAm2HyS6brcCspSbszG9i36re2bWBVjMe3tMdnFp1Hua34F";
        let nodes = |flags: &[&str]| {
            let line = ["causeway", "node"].iter().chain(flags);
            let Command::Node(args) = Cli::without_environment(line).unwrap().command else { panic!("{flags:?}") };
            Config::try_from(*args).unwrap().v2.unwrap().services.nodes.store
        };
        assert_eq!(nodes(&["--storenode", peer])[0].addrs[0].to_string(), peer);
        assert!(nodes(&["--storenode="]).is_empty());
        assert!(node_of(&["--storenode=/ip4/1.2.3.4/tcp/1"]).unwrap_err().contains("--storenode"));
    }
}
