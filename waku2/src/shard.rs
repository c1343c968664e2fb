//! Clusters and shards, static and automatic.  Spec: 51/WAKU2-RELAY-SHARDING.

use std::{num::ParseIntError, str::FromStr};

use sha2::{Digest, Sha256};

use crate::topic::{ContentTopic, PubsubTopic};

/// A network of its own: peers of another cluster are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u16);

/// One of a cluster's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its number within the cluster.
    pub index: u16,
}

/// How the topic of every shard begins.
pub(crate) const SHARD_PREFIX: &str = "/waku/2/rs/";

/// Why a text names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It is a topic of another kind.
    #[error("a shard's topic is /waku/2/rs/CLUSTER/SHARD")]
    OtherForm,
    /// Cluster or shard is no number of 16 bits.
    #[error("cluster and shard are numbers up to 65535: {0}")]
    Number(#[from] ParseIntError),
}

impl FromStr for Shard {
    type Err = ShardError;

    /// Reads `/waku/2/rs/CLUSTER/SHARD`. A sign or leading zeros are another form: gossip compares topics as text, so two
    /// spellings would be two topics.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.strip_prefix(SHARD_PREFIX).ok_or(ShardError::OtherForm)?;
        let (cluster, index) = numbers.split_once('/').ok_or(ShardError::OtherForm)?;
        let shard = Self { cluster: ClusterId(cluster.parse()?), index: index.parse()? };
        if PubsubTopic::from(shard).as_str() != text {
            return Err(ShardError::OtherForm);
        }
        Ok(shard)
    }
}

/// Why a content topic belongs to no shard by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AutoshardError {
    /// Not `/APPLICATION/VERSION/NAME/ENCODING`, with or without `/GENERATION` before.
    #[error("a content topic for autosharding has four parts, or five with its generation first, and none is empty")]
    OtherForm,
    /// The first of five parts is no number.
    #[error("the generation of a content topic is a number: {0}")]
    Generation(#[from] ParseIntError),
    /// A later rule that is not written yet.
    #[error("generation {0} of autosharding is not known")]
    UnknownGeneration(u32),
    /// The network has no shards.
    #[error("no shards to choose from")]
    NoShards,
}

/// The shard of a content topic in a network of `shards` shards, numbered from 0.
///
/// SHA-256 over application and version, nothing between them; of it the last eight bytes, big-endian, modulo `shards`. The
/// document takes the whole hash; all deployed nodes take eight bytes, which differs unless `shards` is a power of two.
///
/// # Errors
/// See [`AutoshardError`].
pub fn shard_of(topic: &ContentTopic, shards: u16) -> Result<u16, AutoshardError> {
    let (application, version) = sharded_parts(topic.as_str())?;
    let digest: [u8; 32] = Sha256::new().chain_update(application).chain_update(version).finalize().into();
    let [.., a, b, c, d, e, f, g, h] = digest;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let shard = number.checked_rem(u64::from(shards)).ok_or(AutoshardError::NoShards)?;
    // Below `shards`, so it has 16 bits.
    Ok(shard as u16)
}

/// Application and version of a content topic of generation 0.  Spec: 23/WAKU2-TOPICS, "Content topic format".
fn sharded_parts(topic: &str) -> Result<(&str, &str), AutoshardError> {
    let parts: Vec<&str> = topic.strip_prefix('/').ok_or(AutoshardError::OtherForm)?.split('/').collect();
    if parts.contains(&"") {
        return Err(AutoshardError::OtherForm);
    }
    match parts[..] {
        [application, version, _, _] => Ok((application, version)),
        [generation, application, version, _, _] => match generation.parse()? {
            0 => Ok((application, version)),
            later => Err(AutoshardError::UnknownGeneration(later)),
        },
        _ => Err(AutoshardError::OtherForm),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_8(topic: &str) -> Result<u16, AutoshardError> {
        shard_of(&topic.into(), 8)
    }

    #[test]
    fn autosharding_as_deployed() {
        // From the tests of nwaku, go-waku and js-waku, and the document.
        for (topic, shard) in [
            ("/toychat/2/huilong/proto", 3),
            ("/0/toychat/2/huilong/proto", 3),
            ("/toychat2/2/huilong/proto", 6),
            ("/toychat/4/huilong/proto2", 7),
            ("/myapp/1/latest/proto", 0),
            ("/waku/2/content/test.js", 1),
            ("/waku/2/default-content/proto", 1),
            ("/statusim/1/community/cbor", 4),
            ("/app/22/sometopic/someencoding", 2),
            ("/app/27/sometopic/someencoding", 5),
            ("/app/20/sometopic/someencoding", 7),
            ("/app/29/sometopic/someencoding", 6),
            ("/waku/1/0x00000000/rfc26", 4),
            ("/waku/1/0x1a2b3c4d/rfc26", 4),
            ("/waku/1/0xffffffff/rfc26", 4),
        ] {
            assert_eq!(of_8(topic), Ok(shard), "{topic}");
        }
    }

    #[test]
    fn what_has_no_shard_of_its_own() {
        assert_eq!(of_8("/1/toychat/2/huilong/proto"), Err(AutoshardError::UnknownGeneration(1)));
        assert!(matches!(of_8("/x/toychat/2/huilong/proto"), Err(AutoshardError::Generation(_))));
        for other in
            ["", "/", "toychat/2/huilong/proto", "/toychat/2/huilong", "/toychat//huilong/proto", "/a/b/c/d/e/f"]
        {
            assert_eq!(of_8(other), Err(AutoshardError::OtherForm), "{other}");
        }
        assert_eq!(shard_of(&"/toychat/2/huilong/proto".into(), 0), Err(AutoshardError::NoShards));
    }

    #[test]
    fn eight_bytes_of_the_hash_and_no_separator() {
        assert_eq!(of_8("/app/22/a/b"), of_8("/app2/2/c/d"));
        // SHA-256("myapp1") ends in these eight bytes; the whole hash modulo 5 is 1.
        assert_eq!(shard_of(&"/myapp/1/latest/proto".into(), 5), Ok((0xe531_39fb_802d_4928_u64 % 5) as u16));
        assert_eq!(shard_of(&"/myapp/1/latest/proto".into(), 5), Ok(2));
        assert_eq!(shard_of(&"/myapp/1/latest/proto".into(), 1), Ok(0));
    }

    #[test]
    fn shards_are_read_as_they_are_written() {
        let shard = Shard { cluster: ClusterId(16), index: 32 };
        assert_eq!("/waku/2/rs/16/32".parse(), Ok(shard));
        assert_eq!(PubsubTopic::from(shard).as_str(), "/waku/2/rs/16/32");
        for other in ["/waku/2/default-waku/proto", "/waku/2/rs/1", "/waku/2/rs/01/2", "/waku/2/rs/+1/2"] {
            assert_eq!(other.parse::<Shard>(), Err(ShardError::OtherForm), "{other}");
        }
        for number in ["/waku/2/rs/65536/0", "/waku/2/rs/1/x", "/waku/2/rs//1", "/waku/2/rs/1/2/3"] {
            assert!(matches!(number.parse::<Shard>(), Err(ShardError::Number(_))), "{number}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(cluster: u16, index: u16) {
            let shard = Shard { cluster: ClusterId(cluster), index };
            prop_assert_eq!(PubsubTopic::from(shard).as_str().parse(), Ok(shard));
        }

        #[test]
        fn any_topic_stays_within(topic: String, shards in 1_u16..) {
            if let Ok(shard) = shard_of(&topic.into(), shards) {
                prop_assert!(shard < shards);
            }
        }
    }
}
