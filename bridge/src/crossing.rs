//! What became of one envelope or one message: exactly one [`Crossing`] for each that the bridge was given.

use std::{fmt, sync::Arc, time::Duration};

use waku0::{envelope::EnvelopeHash, topic::Topic};
use waku2::{hash::MessageHash, topic::PubsubTopic};

use crate::{drop_reason::DropReason, seen::Fingerprint};

/// Which way. *v1* is the legacy side (waku/0, waku/1, shh/6), as 15/WAKU-BRIDGE and the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// An envelope becomes a message.
    V1ToV2,
    /// A message becomes an envelope.
    V2ToV1,
}

impl Direction {
    /// Both, in the order of the enum.
    pub const ALL: [Self; 2] = [Self::V1ToV2, Self::V2ToV1];

    /// The `direction` label of the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1ToV2 => "v1_to_v2",
            Self::V2ToV1 => "v2_to_v1",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of one envelope's or message's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// Which way it was headed.
    pub direction: Direction,
    /// The route it took; none where it was dropped before one was found.
    pub route: Option<Arc<str>>,
    /// What became of it.
    pub outcome: Outcome,
    /// Its v1 topic; none where the content topic names none.
    pub topic: Option<Topic>,
    /// The pubsub topic it came from or went to, where that is known.
    pub pubsub_topic: Option<PubsubTopic>,
    /// The envelope: what came, or what was made of the message.
    pub envelope: Option<EnvelopeHash>,
    /// The message: what came, or what was made of the envelope.
    pub message: Option<MessageHash>,
    /// What it says, once that was looked at.
    pub content: Option<Fingerprint>,
    /// When it ended: unix seconds.
    pub at: u64,
    /// Since it was sent by its own word, by our clock; zero if sent ahead of it.
    pub age: Duration,
}

/// What became of an envelope or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Crossed {
        /// From being handed to the bridge to being confirmed.
        took: Duration,
        /// How it was made.
        by: Conversion,
        /// The other side had it already, byte for byte: another bridge was faster.
        already_there: bool,
    },
    /// It did not cross, and the archive has it.
    Archived(DropReason),
    /// It did not cross.
    Dropped(DropReason),
    /// A bridge that only counts would have carried it.
    WouldCross {
        /// How it would have been made.
        by: Conversion,
    },
}

/// How the other form was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conversion {
    /// An envelope was wrapped into a message.
    Wrapped,
    /// An envelope was mined for a message.
    Mined,
    /// The origin tag gave back the very envelope the message was made from.
    Rebuilt,
    /// The origin tag gave back the very message the envelope was made from.
    Restored,
}

impl Outcome {
    /// The `result` label of the metrics.
    #[must_use]
    pub const fn result(&self) -> &'static str {
        match self {
            Self::Crossed { .. } => "crossed",
            Self::Archived(_) => "archived",
            Self::Dropped(_) => "dropped",
            Self::WouldCross { .. } => "would_cross",
        }
    }

    /// The `reason` label of the metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Crossed { .. } | Self::WouldCross { .. } => "ok",
            Self::Archived(reason) | Self::Dropped(reason) => reason.as_str(),
        }
    }

    /// Why it did not cross, if it did not.
    #[must_use]
    pub const fn missed(&self) -> Option<DropReason> {
        match self {
            Self::Crossed { .. } | Self::WouldCross { .. } => None,
            Self::Archived(reason) | Self::Dropped(reason) => Some(*reason),
        }
    }
}
