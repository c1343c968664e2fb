//! Envelopes become messages and messages envelopes, once each.  Spec: 15/WAKU-BRIDGE.
//!
//! | Module | What |
//! |---|---|
//! | [`bridge`], [`action`] | the core: both sides in, actions out; [`to_v2`] and [`to_v1`] hold the two directions |
//! | `step`, `course`, `ending` | what a passage does next, on its whole way, and how that is told |
//! | [`mapping`], [`content_topic`], [`origin`] | the conversion itself, pure |
//! | [`seen`], [`journal`] | what crossed, by content; what of it outlives the bridge |
//! | [`history`], `keeping` | what an archive is given of it |
//! | [`remake`], [`relearn`] | the envelope of a message that never crossed, for history; the messages of an envelope |
//! | [`backfill`] | what of history is missing here, and how far it has been fetched from others |
//! | [`gaps`], [`canary`] | when the far side was away; a self-test each minute |
//! | [`skew`] | what the envelopes of v1 peers say of our clock |
//! | `yielding` | who waits for whom, where several bridges join the same networks |
//! | [`router`], `rate`, [`policy`], [`config`] | what may cross, where, how much, and how |
//! | [`drop_reason`], [`crossing`], [`story`] | how everything ends, and why; all that is known of a hash |
//! | [`job`], [`answer`] | what is on its way; what the far side said to it |
//! | [`seal`], `to_mine` | the mining pool: threads, bounded, with deadlines; what waits for room there |
//! | [`run`], [`outlet`], `scribe`, `keeper`, [`handle`] | the shell; who publishes on v2; its hands on journal and archive; what the program holds of it |
//! | [`histogram`] | how often a value was how large |
//!
//! Here *v1* is the legacy side (waku/0; waku/1 and shh/6 carry the same envelope) and *v2* the libp2p side, as in
//! 15/WAKU-BRIDGE.
//!
//! What holds:
//! - Identity is kept, not remembered. A message made of an envelope carries what rebuilds that envelope, and an envelope
//!   made of a message carries a mark that it was one. So nothing crosses back, after a restart neither.
//! - Two bridges of one network make the same bytes of the same thing, and the networks themselves keep one of them.
//! - What the bridge is given ends in exactly one [`crossing::Crossing`]; what did not cross has one reason of a closed list.
//! - It has crossed when the far side has confirmed it, not when it was tried.
//! - Whatever waits, waits in something bounded that says what it does when full.

pub mod action;
pub mod answer;
pub mod backfill;
pub mod bridge;
pub mod canary;
pub mod config;
pub mod content_topic;
mod course;
pub mod crossing;
pub mod drop_reason;
mod ending;
pub mod gaps;
pub mod handle;
pub mod histogram;
pub mod history;
pub mod job;
pub mod journal;
mod keeper;
mod keeping;
pub mod mapping;
pub mod origin;
pub mod outlet;
mod passage;
pub mod policy;
mod rate;
mod recent;
pub mod relearn;
pub mod remake;
pub mod router;
pub mod run;
mod scribe;
pub mod seal;
pub mod seen;
pub mod skew;
mod step;
pub mod story;
mod to_mine;
pub mod to_v1;
pub mod to_v2;
mod yielding;

pub use action::{Action, Tally};
pub use bridge::Bridge;
pub use config::{Config, ConfigError, Limits, Profile};
pub use crossing::{Conversion, Crossing, Direction, Outcome};
pub use drop_reason::DropReason;
pub use handle::{Counters, Handle, Status};
pub use job::{Depths, JobId, Stage};
