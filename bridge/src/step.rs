//! What a job does next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use devp2p::clock::Now;
use waku0::envelope::Envelope;
use waku2::WakuMessage;

use crate::mapping::Framed;

/// What a job does next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never kept")]
pub(crate) enum Step {
    /// Give way to other bridges until then.
    Yield {
        what: Yielded,
        release: Instant,
    },
    Hold {
        framed: Framed,
        release: Instant,
    },
    Restore {
        message: WakuMessage,
        envelope: Arc<Envelope>,
        release: Instant,
    },
    Mine {
        framed: Framed,
        ttl: u32,
        seal: SealDraft,
    },
    Publish {
        data: Bytes,
        until: Instant,
        /// What is wrapped again, with another time, when this one is over.
        again: Option<Arc<Envelope>>,
    },
    /// Not before its time of sending: until then receivers divide its work by more seconds than it was mined for.
    Post {
        envelope: Envelope,
        from: Instant,
        until: Instant,
    },
}

impl Step {
    /// After this the far side would refuse it.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self {
            Self::Publish { until, .. } | Self::Post { until, .. } => Some(*until),
            Self::Yield { .. } | Self::Hold { .. } | Self::Restore { .. } | Self::Mine { .. } => None,
        }
    }

    /// Whether it does something to a network, or a thread's work for it.
    pub(crate) fn acts(&self) -> bool {
        matches!(self, Self::Mine { .. } | Self::Publish { .. } | Self::Post { .. })
    }
}

/// What gives way.
#[derive(Debug)]
pub(crate) enum Yielded {
    Envelope(Arc<Envelope>),
    Frame(Framed),
    Post(Envelope),
}

/// A [`crate::seal::SealJob`] whose number is not known yet.
#[derive(Debug)]
pub(crate) struct SealDraft {
    pub(crate) unsealed: waku0::pow::Unsealed,
    pub(crate) base: u64,
    pub(crate) bits: u32,
    pub(crate) deadline: Instant,
}

/// The instant at which the wall clock will show `unix`; now, if that has passed.
pub(crate) fn instant_at(now: Now, unix: Duration) -> Instant {
    now.instant + unix.saturating_sub(now.unix)
}
