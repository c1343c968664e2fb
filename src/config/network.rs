//! Which network, which shards, and what is taken on them: flags and presets, checked together.
//!
//! What is bridged is relayed, always and first; then come the shards of `--shard` (all, where content topics are spread over them and
//! nothing else was named), and those that `--content-topic` and `--pubsub-topic` name.

use std::{collections::HashMap, time::Duration};

use bridge::{content_topic::canonical, policy::Ways};
use waku0::Topic;
use waku2::{
    ClusterId, Preset, PubsubTopic, Shard,
    meter::{BURST_BYTES, BYTES_PER_SEC, Budget},
    relay::{MAX_RPC_BYTES, MAX_TOPICS},
    rules::{Position, Row, Rules},
    shard::{AutoshardError, shard_of},
    signed::{KeyError, VerifyingKey},
    topic::PubsubTopicError,
    validate::Policy,
};

use crate::cli::{CrossingArgs, NetworkArgs};

/// Shards of a cluster.  Spec: 51/WAKU2-RELAY-SHARDING, "Static Sharding".
const SHARDS_PER_CLUSTER: u16 = 1_024;

/// A network to take part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Peers of another one are left.
    pub cluster: ClusterId,
    /// Its shards, for automatic sharding; 0 is static sharding.
    pub shards: u16,
    /// All that is relayed, what is bridged first.
    pub topics: Vec<PubsubTopic>,
    /// What is relayed whether it is bridged or not.
    pub unbridged: Vec<PubsubTopic>,
    /// The preset that it is, if any.
    pub preset: Option<Preset>,
    /// Are messages to have rate-limit proofs?
    pub asks_for_proofs: bool,
    /// What is taken.
    pub policy: Policy,
    /// What an operator should know of it.
    pub notices: Vec<&'static str>,
}

/// Flags that make no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No such name.
    #[error("--preset {0}: there are twn, twn-spec and status")]
    Preset(String),
    /// A flag says otherwise than the preset.
    #[error("--{flag} {value} contradicts --preset {preset}, which has {right}. Leave one of the two out")]
    Contradiction {
        /// The flag.
        flag: &'static str,
        /// What it says.
        value: u16,
        /// The preset's name; also that of the Waku Network, where cluster 1 was given.
        preset: &'static str,
        /// What the preset says.
        right: u16,
    },
    /// Not a pubsub topic.
    #[error("--{flag} {value}: {cause}. Give /waku/2/rs/<cluster>/<shard>")]
    Topic {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: PubsubTopicError,
    },
    /// A shard of another cluster.
    #[error(
        "--{flag} {topic} belongs to another cluster than --cluster-id {cluster}: peers would leave us. Give both alike"
    )]
    OtherCluster {
        /// The flag.
        flag: &'static str,
        /// The topic.
        topic: PubsubTopic,
        /// Our cluster.
        cluster: u16,
    },
    /// Static sharding, and nothing to bridge with.
    #[error(
        "with --num-shards-in-network 0 no shard follows from a topic: give --bridge-pubsub-topic /waku/2/rs/{0}/<shard>"
    )]
    NoTopic(u16),
    /// A shard that the network does not have.
    #[error("--{flag} {shard}: the network has shards 0 to {last}. --num-shards-in-network says how many there are")]
    NoSuchShard {
        /// The flag.
        flag: &'static str,
        /// Which.
        shard: u16,
        /// The last that there is.
        last: u16,
    },
    /// No shard follows from a content topic.
    #[error(
        "--content-topic {topic}: {cause}. Give /<application>/<version>/<name>/<encoding>; with static sharding name --shard instead"
    )]
    ContentTopic {
        /// What was given.
        topic: String,
        /// Why none does.
        cause: AutoshardError,
    },
    /// More than a node relays.
    #[error("{0} topics are more than the {MAX_TOPICS} that a node relays: name some by --shard")]
    TooManyTopics(usize),
    /// Not a shard and a key.
    #[error("--protected-shard {value}: {cause}. Give <shard>:<public key in hexadecimal digits>")]
    ProtectedShard {
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: ProtectedShardError,
    },
    /// A signed shard would get what we can't sign.
    #[error(
        "--protected-shard: {0} takes what comes from waku/0, and the bridge can't sign. Bridge with another shard, or give --bridge-direction v2-to-v1"
    )]
    BridgedAndSigned(PubsubTopic),
    /// Free bandwidth, and rules that know none.
    #[error(
        "--free-bandwidth has no place in --network-rules deployed, which asks every message for a proof. Leave one of the two out"
    )]
    NoFreeBandwidth,
}

/// What is wrong with a signed shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtectedShardError {
    /// No colon.
    #[error("there is no colon")]
    OtherForm,
    /// No number before it.
    #[error("no shard before the colon")]
    Shard,
    /// No key after it.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The cluster of these flags, its shards, and which of them are signed.
///
/// # Errors
/// See [`NetworkError`].
pub(super) fn place(flags: &NetworkArgs) -> Result<Place, NetworkError> {
    let mut notices = Vec::new();
    let preset = preset(flags, &mut notices)?;
    let cluster = ClusterId(flags.cluster_id.or_else(|| preset.map(|p| p.cluster.0)).unwrap_or_default());
    let shards = flags.num_shards_in_network.or_else(|| preset.map(|p| p.shards_in_network)).unwrap_or(1);
    let mut place = Place { cluster, shards, preset, protected: HashMap::new(), notices };
    place.protected = place.protected(flags)?;
    Ok(place)
}

fn preset(flags: &NetworkArgs, notices: &mut Vec<&'static str>) -> Result<Option<Preset>, NetworkError> {
    let preset = match (flags.preset.as_str(), flags.cluster_id) {
        ("", Some(1)) => {
            notices.push("--cluster-id 1 is the Waku Network: taken as --preset twn");
            Preset::TWN
        }
        ("", _) => return Ok(None),
        (name, _) => Preset::named(&name.to_ascii_lowercase()).ok_or_else(|| NetworkError::Preset(name.to_owned()))?,
    };
    let contradicts = |flag, given: Option<u16>, right| match given {
        Some(value) if value != right => Err(NetworkError::Contradiction { flag, value, preset: preset.name, right }),
        _ => Ok(()),
    };
    contradicts("cluster-id", flags.cluster_id, preset.cluster.0)?;
    contradicts("num-shards-in-network", flags.num_shards_in_network, preset.shards_in_network)?;
    Ok(Some(preset))
}

fn policy(
    flags: &NetworkArgs,
    preset: Option<Preset>,
    notices: &mut Vec<&'static str>,
) -> Result<Policy, NetworkError> {
    let asks_for_proofs = preset.is_some_and(|preset| preset.asks_for_proofs);
    let limited = flags.free_bandwidth.is_some() || flags.free_bandwidth_burst.is_some();
    let bytes = |given: Option<usize>, default| given.map_or(default, |bytes| bytes as u64);
    let budget = Budget {
        bytes_per_sec: bytes(flags.free_bandwidth, BYTES_PER_SEC),
        burst_bytes: bytes(flags.free_bandwidth_burst, BURST_BYTES),
    };
    let rules = match (flags.network_rules, rules(preset)) {
        (Some(Position::Deployed), _) if limited => return Err(NetworkError::NoFreeBandwidth),
        (Some(position), _) => Rules::all(position),
        (None, rules) if limited && rules.of(Row::Unproven) == Position::Deployed => {
            notices.push(
                "with --free-bandwidth we forward messages without proofs, which peers of this network blame us for",
            );
            rules.with(Row::Unproven, Position::Text)
        }
        (None, rules) => rules,
    };
    let window = flags.timestamp_window.map(Duration::from_secs);
    Ok(Policy {
        max_rpc_bytes: Some(flags.max_msg_size).filter(|bytes| *bytes < MAX_RPC_BYTES),
        timestamp_window: window.or_else(|| preset.and_then(|p| p.timestamp_window)).filter(|window| !window.is_zero()),
        free_bandwidth: (asks_for_proofs || limited).then_some(budget),
        rules,
        ..Policy::default()
    })
}

/// The rules of a network where the operator says nothing: the text's, but on the live network, whose peers would blame us for some
/// of it.
#[must_use]
pub fn rules(preset: Option<Preset>) -> Rules {
    match preset {
        Some(preset) if preset.name == Preset::TWN.name => Rules::live(),
        _ => Rules::default(),
    }
}

/// A network's cluster and its shards.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) cluster: ClusterId,
    /// For automatic sharding; 0 is static sharding.
    shards: u16,
    preset: Option<Preset>,
    /// Signed shards.
    pub(super) protected: HashMap<PubsubTopic, VerifyingKey>,
    notices: Vec<&'static str>,
}

impl Place {
    /// Do its peers ask for rate-limit proofs?
    pub(super) fn asks_for_proofs(&self) -> bool {
        self.preset.is_some_and(|preset| preset.asks_for_proofs)
    }

    /// All of it: `bridged` is what routes need, and `named` whether an operator named it.
    pub(super) fn network(
        mut self,
        flags: &NetworkArgs,
        bridged: &[PubsubTopic],
        named: bool,
    ) -> Result<Network, NetworkError> {
        let named = named || !flags.pubsub_topic.is_empty();
        let topics = self.topics(flags, named, bridged)?;
        let unbridged = self.topics(flags, named, &[])?;
        let policy = policy(flags, self.preset, &mut self.notices)?;
        let Self { cluster, shards, preset, protected, notices } = self;
        let asks_for_proofs = preset.is_some_and(|preset| preset.asks_for_proofs);
        let policy = Policy { protected, ..policy };
        Ok(Network { cluster, shards, topics, unbridged, preset, asks_for_proofs, policy, notices })
    }

    /// What the flags bridge with: the topics of the flag, those of the preset, or the shard on which all bridged content topics
    /// land. The first takes what comes from waku/0.
    pub(super) fn bridged(&self, bridge: &CrossingArgs) -> Result<Vec<PubsubTopic>, NetworkError> {
        let preset = self.preset.map_or(&[][..], |preset| preset.bridged);
        let bridged = match bridge.bridge_pubsub_topic.as_slice() {
            [] if preset.is_empty() => vec![self.home()?],
            [] => preset.iter().map(|index| self.shard(*index)).collect(),
            given => once_each(self.named("bridge-pubsub-topic", given)?),
        };
        match bridged.first() {
            Some(first) if bridge.bridge_direction != Ways::V2ToV1 && self.protected.contains_key(first) => {
                Err(NetworkError::BridgedAndSigned(first.clone()))
            }
            _ => Ok(bridged),
        }
    }

    /// Where every `/waku/1/…` content topic lands: sharding looks at application and version only.
    /// Spec: 51/WAKU2-RELAY-SHARDING, "Automatic Sharding".
    fn home(&self) -> Result<PubsubTopic, NetworkError> {
        let index = shard_of(&canonical(Topic([0; 4])), self.shards);
        index.map(|index| self.shard(index)).map_err(|_| NetworkError::NoTopic(self.cluster.0))
    }

    fn topics(
        &self,
        flags: &NetworkArgs,
        named: bool,
        bridged: &[PubsubTopic],
    ) -> Result<Vec<PubsubTopic>, NetworkError> {
        let mut topics = bridged.to_vec();
        match (flags.shard.as_slice(), self.preset) {
            ([], _) if named => {}
            ([], Some(preset)) => topics.extend(preset.shards.iter().map(|index| self.shard(*index))),
            ([], None) => topics.extend((0..self.shards).map(|index| self.shard(index))),
            (given, _) => {
                for index in given {
                    topics.push(self.existing("shard", *index)?);
                }
            }
        }
        for topic in &flags.content_topic {
            let index = shard_of(&topic.as_str().into(), self.shards);
            let cause = |cause| NetworkError::ContentTopic { topic: topic.clone(), cause };
            topics.push(self.shard(index.map_err(cause)?));
        }
        topics.extend(self.named("pubsub-topic", &flags.pubsub_topic)?);
        let topics = once_each(topics);
        if topics.len() > MAX_TOPICS {
            return Err(NetworkError::TooManyTopics(topics.len()));
        }
        Ok(topics)
    }

    fn protected(&self, flags: &NetworkArgs) -> Result<HashMap<PubsubTopic, VerifyingKey>, NetworkError> {
        let mut protected = HashMap::new();
        for text in &flags.protected_shard {
            let refused = |cause| NetworkError::ProtectedShard { value: text.clone(), cause };
            let (shard, key) = protected_shard(text).map_err(refused)?;
            protected.insert(self.existing("protected-shard", shard)?, key);
        }
        Ok(protected)
    }

    fn named(&self, flag: &'static str, given: &[String]) -> Result<Vec<PubsubTopic>, NetworkError> {
        given.iter().map(|text| self.parse(flag, text)).collect()
    }

    fn parse(&self, flag: &'static str, text: &str) -> Result<PubsubTopic, NetworkError> {
        let topic: PubsubTopic =
            text.parse().map_err(|cause| NetworkError::Topic { flag, value: text.to_owned(), cause })?;
        match topic.as_str().parse::<Shard>() {
            Ok(shard) if shard.cluster != self.cluster => {
                Err(NetworkError::OtherCluster { flag, topic, cluster: self.cluster.0 })
            }
            _ => Ok(topic),
        }
    }

    fn existing(&self, flag: &'static str, index: u16) -> Result<PubsubTopic, NetworkError> {
        let last = if self.shards == 0 { SHARDS_PER_CLUSTER } else { self.shards } - 1;
        if index > last {
            return Err(NetworkError::NoSuchShard { flag, shard: index, last });
        }
        Ok(self.shard(index))
    }

    fn shard(&self, index: u16) -> PubsubTopic {
        Shard { cluster: self.cluster, index }.into()
    }
}

fn protected_shard(text: &str) -> Result<(u16, VerifyingKey), ProtectedShardError> {
    let (shard, key) = text.split_once(':').ok_or(ProtectedShardError::OtherForm)?;
    Ok((shard.parse().map_err(|_| ProtectedShardError::Shard)?, key.parse()?))
}

/// In their order, each where it stands first. There are few enough of them in flags to look through.
fn once_each(topics: Vec<PubsubTopic>) -> Vec<PubsubTopic> {
    let mut seen = std::collections::HashSet::new();
    topics.into_iter().filter(|topic| seen.insert(topic.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    const KEY: &str = "0379be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    /// The network of a bridge, and what it bridges with.
    fn both(flags: &[&str]) -> Result<(Network, Vec<PubsubTopic>), NetworkError> {
        let flags = ["causeway", "bridge"].iter().chain(flags);
        match Cli::without_environment(flags).unwrap().command {
            Command::Bridge(args) => {
                let place = place(&args.network)?;
                let bridged = place.bridged(&args.bridge)?;
                let named = !args.bridge.bridge_pubsub_topic.is_empty();
                Ok((place.network(&args.network, &bridged, named)?, bridged))
            }
            other => panic!("{other:?}"),
        }
    }

    fn read(flags: &[&str]) -> Result<Network, NetworkError> {
        both(flags).map(|(network, _)| network)
    }

    /// What is relayed, of cluster and shard only.
    fn topics(flags: &[&str]) -> Vec<String> {
        let (network, bridged) = both(flags).unwrap();
        assert_eq!(network.topics[..bridged.len()], bridged);
        network.topics.iter().map(|topic| topic.as_str().replace("/waku/2/rs/", "")).collect()
    }

    fn bridged(flags: &[&str]) -> Vec<String> {
        let (_, bridged) = both(flags).unwrap();
        bridged.iter().map(|topic| topic.as_str().replace("/waku/2/rs/", "")).collect()
    }

    #[test]
    fn without_flags_an_open_network_of_ones_own() {
        assert_eq!(topics(&[]), ["0/0"]);
        let network = read(&[]).unwrap();
        assert_eq!((network.policy, network.notices), (Policy::default(), vec![]));
    }

    #[test]
    fn the_waku_network_by_name_and_by_its_cluster() {
        for flags in [&["--preset=twn"][..], &["--preset=TWN", "--cluster-id=1"], &["--cluster-id=1"]] {
            assert_eq!(topics(flags), ["1/4", "1/0", "1/1", "1/2", "1/3", "1/5", "1/6", "1/7"], "{flags:?}");
            let Network { policy, asks_for_proofs, .. } = read(flags).unwrap();
            assert_eq!(policy.timestamp_window, Some(Duration::from_secs(20)));
            assert_eq!((policy.rules, policy.free_bandwidth), (Rules::live(), Some(Budget::default())));
            assert!(asks_for_proofs);
        }
    }

    /// Nobody's neighbours reject anything there, so that the text counts.
    #[test]
    fn the_network_of_the_text_goes_by_the_text() {
        let Network { policy, asks_for_proofs, .. } = read(&["--preset=twn-spec"]).unwrap();
        assert_eq!((policy.rules, asks_for_proofs), (Rules::all(Position::Text), true));
        assert_eq!(policy.free_bandwidth, Some(Budget::default()));
        let limited = read(&["--preset=twn-spec", "--free-bandwidth=1000"]).unwrap();
        assert_eq!((limited.policy.rules, limited.notices), (Rules::all(Position::Text), vec![]));
        let deployed = read(&["--preset=twn-spec", "--network-rules=deployed"]).unwrap();
        assert_eq!(deployed.policy.rules, Rules::all(Position::Deployed));
    }

    #[test]
    fn the_network_of_status_by_name() {
        assert_eq!(bridged(&["--preset=status"]), ["16/64", "16/32"]);
        assert_eq!(topics(&["--preset=status"]), ["16/64", "16/32"]);
        assert_eq!(topics(&["--preset=status", "--shard=128"]), ["16/64", "16/32", "16/128"]);
        let network = read(&["--preset=status"]).unwrap();
        assert_eq!((network.policy, network.notices), (Policy::default(), vec![]));
    }

    #[test]
    fn what_is_bridged_is_relayed_whatever_else_is() {
        let eight = "--num-shards-in-network=8";
        for (flags, relayed) in [
            (&[eight][..], &["0/4", "0/0", "0/1", "0/2", "0/3", "0/5", "0/6", "0/7"][..]),
            (&[eight, "--shard=1", "--shard=4", "--shard=1"], &["0/4", "0/1"]),
            (&[eight, "--bridge-pubsub-topic=/waku/2/rs/0/6"], &["0/6"]),
            (&[eight, "--bridge-pubsub-topic=/waku/2/rs/0/6", "--shard=0"], &["0/6", "0/0"]),
            (&[eight, "--shard=0", "--content-topic=/toychat/2/huilong/proto"], &["0/4", "0/0", "0/3"]),
            (&[eight, "--pubsub-topic=/waku/2/rs/0/7"], &["0/4", "0/7"]),
            (&["--bridge-pubsub-topic=/waku/2/default-waku/proto"], &["/waku/2/default-waku/proto"]),
            (&["--cluster-id=16", "--num-shards-in-network=0", "--bridge-pubsub-topic=/waku/2/rs/16/64"], &["16/64"]),
            (
                &[
                    "--cluster-id=16",
                    "--num-shards-in-network=0",
                    "--shard=32",
                    "--shard=64",
                    "--bridge-pubsub-topic=/waku/2/rs/16/64",
                    "--bridge-pubsub-topic=/waku/2/rs/16/32",
                ],
                &["16/64", "16/32"],
            ),
        ] {
            assert_eq!(topics(flags), relayed, "{flags:?}");
        }
    }

    #[test]
    fn rules_window_and_bandwidth() {
        let policy = |flags: &[&str]| read(flags).unwrap().policy;
        let twn = "--preset=twn";
        assert_eq!(policy(&[twn, "--network-rules=text"]).rules, Rules::all(Position::Text));
        assert_eq!(policy(&[twn, "--network-rules=deployed"]).rules, Rules::all(Position::Deployed));
        let free = read(&[twn, "--free-bandwidth=1MiB", "--free-bandwidth-burst=2MiB"]).unwrap();
        assert_eq!(free.policy.rules, Rules::live().with(Row::Unproven, Position::Text));
        assert_eq!(free.policy.free_bandwidth, Some(Budget { bytes_per_sec: 1 << 20, burst_bytes: 2 << 20 }));
        assert!(free.notices.iter().any(|notice| notice.contains("--free-bandwidth")), "{:?}", free.notices);
        assert_eq!(
            policy(&["--free-bandwidth-burst=1"]).free_bandwidth,
            Some(Budget { burst_bytes: 1, ..Budget::default() })
        );
        assert_eq!(policy(&["--timestamp-window=60"]).timestamp_window, Some(Duration::from_secs(60)));
        assert_eq!(policy(&[twn, "--timestamp-window=0"]).timestamp_window, None);
        assert_eq!(read(&[twn, "--network-rules=deployed", "--free-bandwidth=1"]), Err(NetworkError::NoFreeBandwidth));
    }

    #[test]
    fn signed_shards_are_verified_and_not_bridged_to() {
        let signed = format!("--protected-shard=3:{KEY}");
        let network = read(&["--num-shards-in-network=8", &signed]).unwrap();
        let topic: PubsubTopic = "/waku/2/rs/0/3".parse().unwrap();
        assert_eq!(network.policy.protected, HashMap::from([(topic.clone(), KEY.parse().unwrap())]));
        let home = "--bridge-pubsub-topic=/waku/2/rs/0/3";
        let flags = ["--num-shards-in-network=8", &signed, home];
        assert_eq!(read(&flags), Err(NetworkError::BridgedAndSigned(topic)));
        let away: Vec<&str> = flags.into_iter().chain(["--bridge-direction=v2-to-v1"]).collect();
        assert!(read(&away).is_ok());
    }

    #[test]
    fn refusals_name_the_flag() {
        let other_key = format!("--protected-shard=3:{}", &KEY[2..]);
        for (flags, word) in [
            (&["--preset=prod"][..], "--preset prod"),
            (&["--preset=twn", "--cluster-id=2"], "--cluster-id 2 contradicts --preset twn, which has 1"),
            (&["--preset=twn", "--num-shards-in-network=1"], "--num-shards-in-network 1"),
            (&["--cluster-id=1", "--num-shards-in-network=3"], "--num-shards-in-network 3"),
            (&["--cluster-id=16", "--num-shards-in-network=0"], "--bridge-pubsub-topic /waku/2/rs/16/"),
            (&["--shard=1"], "--shard 1: the network has shards 0 to 0"),
            (&["--preset=status", "--shard=1024"], "--shard 1024: the network has shards 0 to 1023"),
            (&["--pubsub-topic=/waku/2/rs/5/0"], "--pubsub-topic /waku/2/rs/5/0"),
            (&["--pubsub-topic="], "--pubsub-topic"),
            (&["--bridge-pubsub-topic=/waku/2/rs/1/0"], "--cluster-id"),
            (&["--content-topic=/a/1/b"], "--content-topic /a/1/b"),
            (&["--preset=status", "--content-topic=/a/1/b/c"], "no shards to choose from"),
            (&["--num-shards-in-network=1000"], "by --shard"),
            (&["--protected-shard=3"], "--protected-shard 3: there is no colon"),
            (&["--protected-shard=x:00"], "no shard before the colon"),
            (&[other_key.as_str()], "not a key of the curve"),
        ] {
            let said = read(flags).unwrap_err().to_string();
            assert!(said.contains(word), "{flags:?}: {said}");
        }
    }
}
