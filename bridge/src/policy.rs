//! What may cross, and in which form: one enum for each choice an operator has.  Spec: 15/WAKU-BRIDGE leaves them open.
//!
//! Each reads from and writes to the text of its command-line option. `archive` is a choice of both late policies, and the default
//! where an archive is mounted; without one it is refused when the configuration is checked.

use std::{fmt, str::FromStr};

/// A text that is none of an option's choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of {choices}")]
pub struct PolicyError {
    given: String,
    choices: &'static str,
}

/// Declares an option's choices with their texts.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$choice_doc:meta])* $choice:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$choice_doc])* $choice),+ }

        impl $name {
            /// Every choice, in the order of the enum.
            pub const ALL: &[Self] = &[$(Self::$choice),+];

            /// The text of this choice on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$choice => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = PolicyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = || PolicyError { given: text.chars().take(64).collect(), choices: concat!($($text, " "),+).trim_ascii_end() };
                Self::ALL.iter().copied().find(|choice| choice.as_str() == text).ok_or_else(error)
            }
        }
    };
}

choices! {
    /// What to do with an envelope sent longer ago than the v2 side takes (`--v1-late-policy`).
    LateV1 {
        /// Do not publish.
        Drop = "drop",
        /// Publish with the time it was sent all the same; right for networks without validators.
        Publish = "publish",
        /// Publish with the present time; the origin tag keeps the real one. Two bridges then make two messages of one
        /// envelope, so one bridge of a network alone may do it.
        Retime = "retime",
        /// Keep it as history. Needs an archive.
        Archive = "archive",
    }
}

choices! {
    /// What to do with a message older than its envelope's time to live (`--v2-late-policy`).
    LateV2 {
        /// Do not post.
        Drop = "drop",
        /// Take the next longer time to live that still leaves time; dearer to mine.
        Ladder = "ladder",
        /// Keep it as history. Needs an archive.
        Archive = "archive",
    }
}

choices! {
    /// What to do with a message of version 0 (`--v0-policy`).
    VersionZero {
        /// Wrap the payload into an unencrypted frame of 26/WAKU2-PAYLOAD, padded with zeros.
        Wrap = "wrap",
        /// Copy the payload as it is: right where clients encrypt but forget to say so.
        Raw = "raw",
        /// Do not post.
        Drop = "drop",
    }
}

choices! {
    /// What to do with a message of version 2 or later (`--bridge-unknown-version`).
    UnknownVersion {
        /// Do not post.
        Drop = "drop",
        /// Copy the payload as it is.
        Raw = "raw",
    }
}

choices! {
    /// What to do with an ephemeral message (`--ephemeral`).
    Ephemeral {
        /// Post it. Mailservers of others will keep it; that cannot be prevented.
        Live = "live",
        /// Do not post.
        Drop = "drop",
    }
}

choices! {
    /// Which way a route leads (`--bridge-direction`).
    Ways {
        /// Both ways.
        Both = "both",
        /// Envelopes become messages, not the reverse.
        V1ToV2 = "v1-to-v2",
        /// Messages become envelopes, not the reverse.
        V2ToV1 = "v2-to-v1",
        /// What comes from either side is kept as history, as not crossed for `no_route`, and goes nowhere. Needs an archive.
        ArchiveOnly = "archive-only",
    }
}

choices! {
    /// A switch (`--origin-tags`, `--restore-tagged`).
    Switch {
        /// On.
        On = "on",
        /// Off.
        Off = "off",
    }
}

impl Switch {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// Every choice together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Late envelopes; where nothing is said, to the archive if one is mounted, else drop: [`crate::Config::late_v1`].
    pub late_v1: Option<LateV1>,
    /// Late messages; where nothing is said, the same: [`crate::Config::late_v2`].
    pub late_v2: Option<LateV2>,
    /// Messages of version 0; default: wrap, as the nim bridge did.
    pub version_zero: VersionZero,
    /// Messages of version 2 or later; default: drop.
    pub unknown_version: UnknownVersion,
    /// Ephemeral messages; default: live.
    pub ephemeral: Ephemeral,
    /// Whether origin tags are written and read; default: on. All bridges of one network must agree, because the tag is
    /// part of the message hash. Off, only the memory of what crossed stands against loops.
    pub origin_tags: Switch,
    /// Whether a message whose envelope came back is published again where v2 never saw it; default: off. For v2
    /// networks that are joined through v1 alone.
    pub restore_tagged: Switch,
    /// Whether `/waku/1/0x…/rlp`, which early v2 clients wrote, counts as `rfc26`; default: no.
    pub early_encoding: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            late_v1: None,
            late_v2: None,
            version_zero: VersionZero::Wrap,
            unknown_version: UnknownVersion::Drop,
            ephemeral: Ephemeral::Live,
            origin_tags: Switch::On,
            restore_tagged: Switch::Off,
            early_encoding: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back() {
        assert!(LateV1::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
        assert!(LateV2::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
        assert!(VersionZero::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
        assert!(UnknownVersion::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
        assert!(Ephemeral::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
        assert!(Ways::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
        assert!(Switch::ALL.iter().all(|c| c.as_str().parse() == Ok(*c)));
    }

    #[test]
    fn a_wrong_text_is_told_the_choices() {
        let error = "later".parse::<LateV1>().unwrap_err();
        assert_eq!(error.to_string(), "\"later\" is none of drop publish retime archive");
        assert_eq!(
            "BOTH".parse::<Ways>().unwrap_err().to_string(),
            "\"BOTH\" is none of both v1-to-v2 v2-to-v1 archive-only"
        );
    }
}
