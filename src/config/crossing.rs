//! Flags about what crosses, checked.

use bridge::{
    config::{Config as BridgeConfig, Profile},
    policy::{Policy, Switch, Ways},
    router::{DEFAULT_ROUTE, Route, Router},
};
use waku2::PubsubTopic;

use super::{ConfigError, pow};
use crate::cli::{BridgeArgs, CrossingArgs};

/// Reads the flags; `topics` are bridged.
pub(super) fn bridge_config(args: &BridgeArgs, topics: &[PubsubTopic]) -> Result<BridgeConfig, ConfigError> {
    let flags = &args.bridge;
    let mut config = BridgeConfig {
        routes: routes(topics, flags.bridge_direction),
        profile: Profile {
            ttl_secs: flags.bridge_ttl,
            pow_target: pow("pow-target", flags.pow_target)?,
            pow_target_large: pow("pow-target-large", flags.pow_target_large)?,
        },
        policy: policy(flags),
        min_pow: pow("waku-v1-pow", args.v1.waku_v1_pow)?,
        ..BridgeConfig::default()
    };
    if let Some(threads) = flags.pow_threads {
        config.pow_threads = threads;
    }
    config.check()?;
    Ok(config)
}

/// The first topic takes what comes from waku/0, all feed it.
fn routes(topics: &[PubsubTopic], direction: Ways) -> Router {
    let feeding = match direction {
        Ways::V1ToV2 => &[],
        Ways::Both | Ways::V2ToV1 => topics.get(1..).unwrap_or_default(),
    };
    let first = topics.first().map(|topic| Route::everything(topic.clone(), direction));
    let feeding = feeding.iter().zip(2..).map(|(topic, n)| Route {
        name: format!("{DEFAULT_ROUTE}-{n}").into(),
        ..Route::everything(topic.clone(), Ways::V2ToV1)
    });
    first.into_iter().chain(feeding).collect()
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
        ..Policy::default()
    }
}
