//! Services: what peers ask of each other on streams of their own, and the table of these protocols.
//!
//! A request comes as one frame on a stream, its answer goes back on it. `streams` carries streams to and from peers, [`serve`] takes what
//! peers ask and [`ask`] asks them; what is answered is decided elsewhere, by an [`Answer`]. Spec: 12/WAKU2-FILTER, 13/WAKU2-STORE,
//! 19/WAKU2-LIGHTPUSH.
//!
//! | Module | What |
//! |---|---|
//! | [`frame`] | length-prefixed frames on a stream |
//! | [`rate`] | how much is answered: `--rate-limit`, budgets |
//! | `streams` | the libp2p behaviour: streams in and out |
//! | [`serve`] | the serving side: permits, time limits, counters |
//! | [`ask`] | the asking side |
//! | [`choice`] | whom to ask |
//!
//! Limits: [`Protocol::request_cap`], [`Protocol::answer_cap`] for bytes, [`serve`] for streams and time.

pub mod ask;
pub mod choice;
pub mod counters;
pub mod frame;
pub mod rate;
pub mod serve;
pub(crate) mod streams;

use std::fmt;

pub use ask::{AskError, NoPeer, Target, request_id};
pub use counters::Counters;
pub use serve::{Answer, Services};
pub use streams::OpenError;

use crate::relay::MAX_RPC_BYTES;

/// Longest filter frame, in bytes.  Deployed: nwaku, ten of the largest messages and 64 KiB, also for peer exchange.
pub const MAX_BATCH_BYTES: usize = 10 * MAX_RPC_BYTES + SLACK_BYTES;

/// Longest answer without messages in it, in bytes.  Deployed: nwaku, for filter.
const SLACK_BYTES: usize = 64 * 1024;

/// Longest page of a store, in bytes: a hundred of the largest messages, which is the most that deployed nodes put into one, and room for
/// their hashes and topics. nwaku has no limit.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Longest query of a store, in bytes. What makes sense has at most 60 KB, by [`crate::store::query`]; what is read beyond that is refused with a status and
/// its id instead of a cut stream. nwaku has no limit, and neither go-waku nor js-waku bounds the hashes that it asks for.
const MAX_QUERY_BYTES: usize = 1024 * 1024;

/// A service protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// 12/WAKU2-FILTER 2.0.0-beta1: requests and pushes on one id, without answers.
    FilterV1,
    /// 12/WAKU2-FILTER, subscriptions.
    FilterSubscribe,
    /// 12/WAKU2-FILTER, messages to a subscriber.
    FilterPush,
    /// 13/WAKU2-STORE 3.0.0.
    StoreV3,
    /// 13/WAKU2-STORE 2.0.0-beta4.
    StoreLegacy,
    /// 19/WAKU2-LIGHTPUSH 3.0.0.
    LightpushV3,
    /// 19/WAKU2-LIGHTPUSH 2.0.0-beta1.
    LightpushLegacy,
}

/// What goes over a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// One request and its answer; what is too much is refused.
    Ask,
    /// Any number of frames one way. What is too much at a time waits: nobody would tell the sender.
    Push,
}

impl Protocol {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, by [`Self::index`].
    pub const ALL: [Self; 7] = [
        Self::FilterV1,
        Self::FilterSubscribe,
        Self::FilterPush,
        Self::StoreV3,
        Self::StoreLegacy,
        Self::LightpushV3,
        Self::LightpushLegacy,
    ];

    /// Its name on the wire.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::FilterV1 => "/vac/waku/filter/2.0.0-beta1",
            Self::FilterSubscribe => "/vac/waku/filter-subscribe/2.0.0-beta1",
            Self::FilterPush => "/vac/waku/filter-push/2.0.0-beta1",
            Self::StoreV3 => "/vac/waku/store-query/3.0.0",
            Self::StoreLegacy => "/vac/waku/store/2.0.0-beta4",
            Self::LightpushV3 => "/vac/waku/lightpush/3.0.0",
            Self::LightpushLegacy => "/vac/waku/lightpush/2.0.0-beta1",
        }
    }

    /// Its place in [`Self::ALL`] and among counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Longest request or push, in bytes. A longer one ends its stream unread.
    #[must_use]
    pub const fn request_cap(self) -> usize {
        match self {
            Self::FilterV1 | Self::FilterSubscribe | Self::FilterPush => MAX_BATCH_BYTES,
            Self::StoreV3 | Self::StoreLegacy => MAX_QUERY_BYTES,
            // nwaku has no limit for these. The largest message, and room for what is around it.
            Self::LightpushV3 | Self::LightpushLegacy => MAX_RPC_BYTES + SLACK_BYTES,
        }
    }

    /// Longest answer that is read, in bytes.
    #[must_use]
    pub const fn answer_cap(self) -> usize {
        match self {
            Self::StoreV3 | Self::StoreLegacy => MAX_PAGE_BYTES,
            _ => SLACK_BYTES,
        }
    }

    pub(crate) const fn flow(self) -> Flow {
        match self {
            Self::FilterV1 | Self::FilterPush => Flow::Push,
            _ => Flow::Ask,
        }
    }
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        self.id()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (place, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol.index(), place, "{protocol}");
            assert!(protocol.id().starts_with("/vac/waku/"));
        }
    }

    #[test]
    fn caps_as_deployed() {
        assert_eq!(Protocol::FilterPush.request_cap(), 1_601_536);
        assert_eq!(Protocol::FilterSubscribe.answer_cap(), 65_536);
        assert_eq!(Protocol::LightpushV3.request_cap(), 153_600 + 65_536);
        assert_eq!([Protocol::StoreV3, Protocol::StoreLegacy].map(Protocol::request_cap), [1_048_576; 2]);
        assert!(Protocol::StoreV3.answer_cap() > 100 * MAX_RPC_BYTES);
    }
}
