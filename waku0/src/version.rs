//! The three protocols that carry envelopes, as data.  Spec: 5/WAKU0 "Forward Compatibility", 6/WAKU1, EIP-627.
//!
//! They differ in their name, in the shape of Status and of what changes it, in a few packets of their own, and in how much
//! they forgive; the envelope is the same, byte for byte. So there is one pool for all, and nothing is converted.
//!
//! Which of them runs on a connection is agreed in the Hello: the highest waku that both offer, and shh/6 only with a peer
//! that offers no waku of ours. Such a peer passes on itself what it has of the other protocol, as ours does, and over both at
//! once each envelope would come twice.

use std::{fmt, str::FromStr};

use devp2p::hello::{Capability, CapabilityName, Offered};

/// Message codes that each version reserves. Source: status-go `waku/v0/const.go`, `waku/v1/const.go`, go-ethereum `whisper/whisperv6/doc.go`.
const CODE_COUNT: u8 = 128;

/// A version of the protocol, as agreed in the Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Whisper 6: shh/6.
    Shh6,
    /// 5/WAKU0: waku/0.
    Waku0,
    /// 6/WAKU1: waku/1.
    Waku1,
}

/// How the body of Status is laid out, and with it how changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusShape {
    /// `[version, pow, bloom, light, confirmations, limits]`, by position; changes in a packet for each option.
    Positional,
    /// `[0, [[key, value], ...]]`; changes in a Status Update with the same keys.
    Versioned,
    /// `[[key, value], ...]`; changes in a Status Update with the same keys.
    Bare,
}

/// A name that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not spoken; shh/6, waku/0 and waku/1 are")]
pub struct UnknownVersion(String);

impl Version {
    /// Every version, the newest last.
    pub const ALL: [Self; 3] = [Self::Shh6, Self::Waku0, Self::Waku1];

    /// Its name and number in the Hello.
    #[must_use]
    pub const fn capability(self) -> Capability {
        match self {
            Self::Shh6 => Capability { name: CapabilityName::from_static("shh"), version: 6 },
            Self::Waku0 => Capability { name: CapabilityName::from_static("waku"), version: 0 },
            Self::Waku1 => Capability { name: CapabilityName::from_static("waku"), version: 1 },
        }
    }

    /// The version with this name and number.
    #[must_use]
    pub fn of(capability: &Capability) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.capability() == *capability)
    }

    /// What the Hello offers: the capability and how many message codes it takes.
    #[must_use]
    pub const fn offered(self) -> Offered {
        Offered { capability: self.capability(), length: CODE_COUNT }
    }

    /// How its Status is laid out.
    #[must_use]
    pub const fn status_shape(self) -> StatusShape {
        match self {
            Self::Shh6 => StatusShape::Positional,
            Self::Waku0 => StatusShape::Versioned,
            Self::Waku1 => StatusShape::Bare,
        }
    }

    /// The number in front of its Status, when that is by position or versioned.
    #[must_use]
    pub(crate) const fn status_number(self) -> u64 {
        match self {
            Self::Shh6 => 6,
            Self::Waku0 => 0,
            Self::Waku1 => 1,
        }
    }

    /// Whether one bad envelope is forgiven. go-ethereum's Whisper leaves the sender of one with too little work, of a topic
    /// that it did not ask for, or from the future; no waku does.
    #[must_use]
    pub const fn is_forgiving(self) -> bool {
        matches!(self, Self::Waku0 | Self::Waku1)
    }

    /// The one that runs on a connection with these shared capabilities; see above.
    pub(crate) fn agreed<'a>(shared: impl IntoIterator<Item = &'a Capability>) -> Option<Self> {
        shared.into_iter().filter_map(Self::of).max()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capability().fmt(f)
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|version| version.to_string() == text);
        found.ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_hello() {
        let names = Version::ALL.map(|version| version.to_string());
        assert_eq!(names, ["shh/6", "waku/0", "waku/1"]);
        assert_eq!(names.map(|name| name.parse()), Version::ALL.map(Ok));
        assert!("waku/2".parse::<Version>().is_err() && "waku".parse::<Version>().is_err());
    }

    #[test]
    fn the_highest_waku_runs_and_whisper_only_alone() {
        let agreed =
            |versions: &[Version]| Version::agreed(&versions.iter().map(|v| v.capability()).collect::<Vec<_>>());
        assert_eq!(agreed(&[Version::Shh6]), Some(Version::Shh6));
        assert_eq!(agreed(&[Version::Shh6, Version::Waku0]), Some(Version::Waku0));
        assert_eq!(agreed(&[Version::Waku1, Version::Shh6]), Some(Version::Waku1));
        assert_eq!(agreed(&[]), None);
    }

    #[test]
    fn a_capability_names_at_most_one_version() {
        for version in Version::ALL {
            assert_eq!(Version::of(&version.capability()), Some(version));
            assert_eq!(version.offered().length, 128);
        }
        let unknown = Capability { name: CapabilityName::from_static("waku"), version: 2 };
        assert_eq!(Version::of(&unknown), None);
    }
}
