//! The three protocols that carry envelopes, as data.  Spec: 5/WAKU0 "Forward Compatibility", 6/WAKU1, EIP-627.
//!
//! They differ in their name and in the shape of Status; the envelope is the same. Only waku/0 is spoken so far.

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

/// How the body of Status is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusShape {
    /// `[version, pow, bloom, light, confirmations, limits]`, by position.
    Positional,
    /// `[0, [[key, value], ...]]`.
    Versioned,
    /// `[[key, value], ...]`.
    Bare,
}

impl Version {
    /// Every version, the newest last.
    pub const ALL: [Self; 3] = [Self::Shh6, Self::Waku0, Self::Waku1];

    /// Those of which a session can be held.
    pub fn spoken() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|version| version.is_spoken())
    }

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

    /// Whether a session of this version can be held.
    #[must_use]
    pub const fn is_spoken(self) -> bool {
        matches!(self, Self::Waku0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_hello() {
        let names = Version::ALL.map(|version| version.capability().to_string());
        assert_eq!(names, ["shh/6", "waku/0", "waku/1"]);
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
