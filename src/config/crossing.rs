//! Flags about what crosses, checked, and the route file that they may name.

use std::{path::PathBuf, time::Duration};

use bridge::{
    backfill::Reach,
    config::{Config as BridgeConfig, Limits, Profile},
    policy::{Policy, Switch, Ways},
    router::{DEFAULT_ROUTE, Route, Router, RouterError},
    seen::SeenLimits,
};
use waku2::{PubsubTopic, lightpush};

use super::{
    ConfigError, archive,
    network::Place,
    pow,
    reserves::Reserves,
    routes::{self, Surroundings, Table},
};
use crate::{
    cli::{BridgeArgs, CrossingArgs},
    history::MailServer,
};

/// A bridge to start.
#[derive(Debug, Clone)]
pub struct Bridging {
    /// What it works by.
    pub config: BridgeConfig,
    /// Where its routes come from, and come from again.
    pub source: Source,
    /// Who is asked for envelopes that it missed.
    pub backfill: Backfill,
    /// How what crosses to the Waku Network is handed to another node, if it is.
    pub handed_over: Option<lightpush::Config>,
}

/// What a bridge that has just begun asks mail servers for, in seconds: a day, as clients of status-go do.
const NEW_SECS: u64 = 86_400;
/// Said where nothing can be filled.
const NOTHING_KEPT: &str = "--backfill-v1 asks for what was missed, and nothing is kept: add --archive";

/// Who is asked for envelopes that a bridge missed.
#[derive(Debug, Clone, Default)]
pub struct Backfill {
    /// Mail servers, with their passwords.
    pub servers: Vec<MailServer>,
    /// What is longer ago is not asked for, in seconds.
    pub most_secs: u64,
}

impl Backfill {
    /// How far back they are asked; `None` where there are none.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        let most_secs = self.most_secs;
        (!self.servers.is_empty()).then_some(Reach { most_secs, new_secs: NEW_SECS.min(most_secs) })
    }
}

/// Reads the flags; what an operator should know is added to `notices`.
pub(super) fn backfill(
    flags: &CrossingArgs,
    has_archive: bool,
    notices: &mut Vec<String>,
) -> Result<Backfill, ConfigError> {
    let servers = flags.backfill_v1.iter().filter(|text| !text.is_empty()).map(|text| text.parse());
    let servers = servers.collect::<Result<Vec<MailServer>, _>>().map_err(ConfigError::Backfill)?;
    // Who only counts keeps nothing.
    if has_archive && !flags.dry_run {
        return Ok(Backfill { servers, most_secs: flags.backfill_v1_max });
    }
    if !servers.is_empty() && !has_archive {
        notices.push(NOTHING_KEPT.to_owned());
    }
    Ok(Backfill::default())
}

/// Where a table of routes comes from, and what it has to fit.
#[derive(Debug, Clone)]
pub struct Source {
    /// The route file; without it there is nothing to read again.
    pub path: Option<PathBuf>,
    /// What a table has to fit.
    pub around: Surroundings,
    /// Pubsub topics that are relayed whatever the routes say.
    pub unbridged: Vec<PubsubTopic>,
    /// What is kept of our rate at the start.
    pub reserves: Reserves,
    /// Whether waku/0 peers are asked just for what routes take.
    pub picky: bool,
}

/// The table of the route file, or of the flags.
///
/// # Errors
/// A flag or a file that makes none.
pub(super) fn table(flags: &CrossingArgs, around: &Surroundings, place: &Place) -> Result<Table, ConfigError> {
    match &flags.route_file {
        Some(_) if !flags.bridge_pubsub_topic.is_empty() || flags.bridge_direction != Ways::Both => {
            Err(ConfigError::RoutesTwice)
        }
        Some(path) => Ok(routes::read(path, around)?),
        None => {
            let router = of_flags(&place.bridged(flags)?, flags.bridge_direction);
            let router = router.map_err(ConfigError::Routes)?;
            Ok(Table { router, reserves: Reserves::default(), notices: Vec::new() })
        }
    }
}

/// What a table has to fit.
pub(super) fn around(place: &Place, has_archive: bool) -> Surroundings {
    let (cluster, protected) = (place.cluster, place.protected.clone());
    Surroundings { cluster, protected, has_archive, has_proofs: place.asks_for_proofs() }
}

/// Reads the flags.
pub(super) fn bridge_config(args: &BridgeArgs, routes: Router) -> Result<BridgeConfig, ConfigError> {
    let flags = &args.bridge;
    let mut config = BridgeConfig {
        routes,
        profile: Profile {
            ttl_secs: flags.bridge_ttl,
            pow_target: pow("pow-target", flags.pow_target)?,
            pow_target_large: pow("pow-target-large", flags.pow_target_large)?,
        },
        policy: policy(flags),
        seen: SeenLimits {
            tolerance_secs: flags.dedup_tolerance,
            max_entries: flags.dedup_entries,
            min_window: Duration::from_secs(flags.dedup_window),
        },
        limits: Limits { max_seal_jobs: flags.pow_queue, ..Limits::default() },
        archive: archive::is_wanted(&args.archive, &args.store),
        min_pow: pow("waku-v1-pow", args.v1.waku_v1_pow)?,
        stagger: flags.stagger,
        standby_after: flags.standby_after,
        dry_run: flags.dry_run,
        canary: flags.canary,
        ..BridgeConfig::default()
    };
    if let Some(threads) = flags.pow_threads {
        config.pow_threads = threads;
    }
    config.check()?;
    Ok(config)
}

/// The first topic takes what comes from waku/0, all feed it.
fn of_flags(topics: &[PubsubTopic], direction: Ways) -> Result<Router, RouterError> {
    let (feeding, ways) = match direction {
        Ways::V1ToV2 => (&[][..], Ways::V2ToV1),
        Ways::Both | Ways::V2ToV1 => (topics.get(1..).unwrap_or_default(), Ways::V2ToV1),
        Ways::ArchiveOnly => (topics.get(1..).unwrap_or_default(), Ways::ArchiveOnly),
    };
    let first = topics.first().map(|topic| Route::everything(topic.clone(), direction));
    let feeding = feeding.iter().zip(2..).map(|(topic, n)| Route {
        name: format!("{DEFAULT_ROUTE}-{n}").into(),
        ..Route::everything(topic.clone(), ways)
    });
    Router::table(first.into_iter().chain(feeding).collect())
}

fn policy(flags: &CrossingArgs) -> Policy {
    Policy {
        late_v1: flags.v1_late_policy,
        late_v2: flags.v2_late_policy,
        version_zero: flags.v0_policy,
        unknown_version: flags.bridge_unknown_version,
        ephemeral: flags.ephemeral,
        origin_tags: flags.origin_tags,
        restore_tagged: if flags.restore_tagged { Switch::On } else { Switch::Off },
        early_encoding: flags.bridge_extra_encoding.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::Config,
    };

    const KEY: &str = "1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1";

    fn bridge_of(flags: &[&str]) -> Result<(Backfill, Vec<String>), String> {
        let line = ["causeway", "bridge"].iter().chain(flags);
        let Command::Bridge(args) = Cli::without_environment(line).unwrap().command else { panic!("{flags:?}") };
        let config = Config::try_from(*args).map_err(|error| error.to_string())?;
        Ok((config.bridge.expect("a bridge").backfill, config.notices))
    }

    #[test]
    fn mail_servers_are_asked_for_an_archive() {
        assert!(bridge_of(&["--archive"]).unwrap().0.reach().is_none());
        let [one, two] = [30_303, 30_304].map(|port| format!("--backfill-v1=enode://{KEY}:inbox@127.0.0.1:{port}"));
        let (backfill, notices) = bridge_of(&["--archive", &one, &two]).unwrap();
        assert_eq!((backfill.servers.len(), notices.len()), (2, 0));
        assert_eq!(backfill.reach(), Some(Reach { most_secs: 2_592_000, new_secs: NEW_SECS }));
        let (backfill, _) = bridge_of(&["--archive", &one, "--backfill-v1-max=600"]).unwrap();
        assert_eq!(backfill.reach(), Some(Reach { most_secs: 600, new_secs: 600 }));
        let (backfill, notices) = bridge_of(&[&one]).unwrap();
        assert!(backfill.reach().is_none() && notices.contains(&NOTHING_KEPT.to_owned()));
        assert!(bridge_of(&["--archive", &one, "--dry-run"]).unwrap().0.reach().is_none());
        assert!(bridge_of(&["--archive", "--backfill-v1=enode://x"]).unwrap_err().contains("--backfill-v1"));
    }
}
