//! Settings of a bridge, with the numbers it works by.

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use waku0::pow::{Pow, PowError};

use crate::{
    policy::{LateV1, LateV2, Policy, Ways},
    router::Router,
    seen::SeenLimits,
    to_v1::MINING_MARGIN,
};

/// Seconds that an envelope made of a message lives; what Status's applications used.
/// Source: status-go `protocol/common/message_sender.go`.
pub const DEFAULT_TTL_SECS: u32 = 15;
/// Times to live that the `ladder` policy climbs, in seconds.
pub const TTL_LADDER_SECS: [u32; 3] = [15, 60, 300];
/// Proof of work of an envelope made of a message; what Status's applications aimed at. Source: as above.
pub const DEFAULT_POW_TARGET: f64 = 0.002;
/// The same for data over [`LARGE_DATA_BYTES`]. Source: as above.
pub const DEFAULT_POW_TARGET_LARGE: f64 = 0.000_002;
/// Data longer than this aims at the lower target, in bytes. Source: as above.
pub const LARGE_DATA_BYTES: usize = 50_000;
/// Largest envelope, in bytes: the default of status-go and go-ethereum.
pub const DEFAULT_MAX_ENVELOPE_BYTES: usize = 1024 * 1024;
/// Largest encoded message, proof included, in bytes: 150 KiB, as nwaku and go-waku have it.  Spec: 64/WAKU2-NETWORK.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 150 * 1024;
/// An envelope sent longer ago is late for v2: validators of 64/WAKU2-NETWORK and nwaku's archive refuse it.
pub const DEFAULT_LATE_AFTER: Duration = Duration::from_secs(20);

/// Messages and envelopes in work, each way: several minutes of a busy fleet, so that an outage of the far side is outlived.
pub const DEFAULT_MAX_JOBS: usize = 8_192;
/// Their bytes, each way.
pub const DEFAULT_MAX_JOB_BYTES: usize = 64 * 1024 * 1024;
/// Handed to the far side and not yet answered, each way.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 32;
/// Envelopes with the mining pool that wait for a thread; more wait for room there, as jobs.
pub const DEFAULT_MAX_SEAL_JOBS: usize = 1_024;
/// Their bytes.
pub const DEFAULT_MAX_SEAL_BYTES: usize = 64 * 1024 * 1024;

/// Bridges that cannot make the same bytes of a thing spread their attempts over this time.
pub const DEFAULT_STAGGER: Duration = Duration::from_secs(2);

/// How a bridge is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which topics cross, and where. Default: everything, both ways, with `/waku/2/rs/0/0`.
    pub routes: Router,
    /// How envelopes are made.
    pub profile: Profile,
    /// What may cross.
    pub policy: Policy,
    /// Least proof of work of an envelope that is let through, the same as the v1 node asks of its peers. Default 0.002.
    pub min_pow: Pow,
    /// See [`DEFAULT_MAX_ENVELOPE_BYTES`].
    pub max_envelope_bytes: usize,
    /// See [`DEFAULT_MAX_MESSAGE_BYTES`].
    pub max_message_bytes: usize,
    /// See [`DEFAULT_LATE_AFTER`].
    pub late_after: Duration,
    /// Bounds of the memory of what crossed.
    pub seen: SeenLimits,
    /// Bounds of the queues.
    pub limits: Limits,
    /// Whether what is on its way is noted before it is mined or published: set where there is a journal. Default: no.
    pub journal: bool,
    /// Whether what crossed, and what could not, is given to an archive: set where one is mounted. Default: no.
    pub archive: bool,
    /// Whether v2 asks for rate-limit proofs: then bridges make different bytes of one thing, and what was not proven does not cross.
    /// The shell sets it where the v2 node verifies them. Default: no.
    pub proofs: bool,
    /// Whether what crosses to v2 is handed to another node, which publishes it with a proof of its own: then bridges make different bytes of
    /// one thing too. The shell sets it. Default: no.
    pub handed_over: bool,
    /// Where two bridges make different bytes of one thing (late envelopes given the present time, messages without a time, messages
    /// with a proof), or mining is dear, each waits for a part of this time, by its [`Config::key`] and the content, and gives way to whoever was faster. Zero: no
    /// waiting. See [`DEFAULT_STAGGER`].
    pub stagger: Duration,
    /// Tells this bridge's waiting from that of others; of no use to anybody else. The shell sets it from the node's identity.
    pub key: [u8; 32],
    /// Carry only what nobody else has carried for so long. Default: carry everything at once.
    pub standby_after: Option<Duration>,
    /// The memory of what crossed is lost: for one time to live, give way as a bridge in standby does. Default: no.
    pub memory_lost: bool,
    /// Only count what would cross: nothing is mined, published, posted, noted or archived. Default: no.
    pub dry_run: bool,
    /// Whether something of our own goes each way once a minute, to see how long it takes: [`crate::canary`]. Default: no.
    pub canary: bool,
    /// Threads that mine. Default: half the cores, at least one.
    pub pow_threads: NonZeroUsize,
}

/// How envelopes are made of messages. All bridges of a network must agree, or they make different envelopes of one
/// message and clients see both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// See [`DEFAULT_TTL_SECS`].
    pub ttl_secs: u32,
    /// See [`DEFAULT_POW_TARGET`].
    pub pow_target: Pow,
    /// See [`DEFAULT_POW_TARGET_LARGE`].
    pub pow_target_large: Pow,
}

/// Bounds of the queues. Whichever is full loses its oldest of the lowest priority, with the reason `shed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`DEFAULT_MAX_JOBS`].
    pub max_jobs: usize,
    /// See [`DEFAULT_MAX_JOB_BYTES`].
    pub max_job_bytes: usize,
    /// See [`DEFAULT_MAX_IN_FLIGHT`].
    pub max_in_flight: usize,
    /// See [`DEFAULT_MAX_SEAL_JOBS`].
    pub max_seal_jobs: usize,
    /// See [`DEFAULT_MAX_SEAL_BYTES`].
    pub max_seal_bytes: usize,
}

/// Settings that no bridge can work by. The program refuses to start.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// Late envelopes to the archive, and there is none.
    #[error("the late policy of v1 is `archive`, which needs an archive; choose drop, publish or retime")]
    LateV1NeedsArchive,
    /// Late messages to the archive, and there is none.
    #[error("the late policy of v2 is `archive`, which needs an archive; choose drop or ladder")]
    LateV2NeedsArchive,
    /// A route to the archive, and there is none.
    #[error("the route {0:?} is archive-only, which needs an archive")]
    RouteNeedsArchive(Arc<str>),
    /// In standby, everything would be late before its turn came.
    #[error(
        "after {0:?} of standby everything is late for {1}; wait less, let envelopes live longer, or choose policies that carry what is late"
    )]
    StandbyTooLong(Duration, &'static str),
    /// Envelopes that expire before they could be mined: five seconds are kept for their way.
    #[error("envelopes that live {0} s expire before they arrive; 6 s is the least")]
    TtlTooShort(u32),
    /// A bound of zero lets nothing through.
    #[error("{0} is 0, which lets nothing through")]
    ZeroBound(&'static str),
    /// Not a finite amount of proof of work.
    #[error(transparent)]
    Pow(#[from] PowError),
}

/// Shortest time to live that leaves a second to mine in: the deadline is five seconds before the expiry.
const MIN_TTL_SECS: u32 = 6;

impl Config {
    /// Does each bridge's copy of a message get a proof of its own?
    pub(crate) const fn proves_apart(&self) -> bool {
        self.proofs || self.handed_over
    }

    /// Whether a bridge can work by these settings.
    ///
    /// # Errors
    /// [`ConfigError`], in the operator's words.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_archive()?;
        self.check_standby()?;
        if self.profile.ttl_secs < MIN_TTL_SECS {
            return Err(ConfigError::TtlTooShort(self.profile.ttl_secs));
        }
        let bounds = [
            ("max_envelope_bytes", self.max_envelope_bytes),
            ("max_message_bytes", self.max_message_bytes),
            ("max_jobs", self.limits.max_jobs),
            ("max_job_bytes", self.limits.max_job_bytes),
            ("max_in_flight", self.limits.max_in_flight),
            ("max_seal_jobs", self.limits.max_seal_jobs),
            ("max_seal_bytes", self.limits.max_seal_bytes),
            ("seen.max_entries", self.seen.max_entries),
        ];
        bounds.into_iter().find(|(_, bound)| *bound == 0).map_or(Ok(()), |(name, _)| Err(ConfigError::ZeroBound(name)))
    }

    /// What needs an archive has one.
    fn check_archive(&self) -> Result<(), ConfigError> {
        if self.archive {
            return Ok(());
        }
        if self.policy.late_v1 == Some(LateV1::Archive) {
            return Err(ConfigError::LateV1NeedsArchive);
        }
        if self.policy.late_v2 == Some(LateV2::Archive) {
            return Err(ConfigError::LateV2NeedsArchive);
        }
        let leads_nowhere = self.routes.routes().iter().find(|route| route.ways == Ways::ArchiveOnly);
        leads_nowhere.map_or(Ok(()), |route| Err(ConfigError::RouteNeedsArchive(Arc::clone(&route.name))))
    }

    /// What waits in standby can still cross.
    fn check_standby(&self) -> Result<(), ConfigError> {
        let Some(wait) = self.standby_after else { return Ok(()) };
        if wait >= self.late_after && matches!(self.late_v1(), LateV1::Drop | LateV1::Archive) {
            return Err(ConfigError::StandbyTooLong(wait, "v2"));
        }
        let longest = match self.late_v2() {
            LateV2::Ladder => TTL_LADDER_SECS.into_iter().max().unwrap_or(0).max(self.profile.ttl_secs),
            LateV2::Drop | LateV2::Archive => self.profile.ttl_secs,
        };
        match wait + MINING_MARGIN >= Duration::from_secs(u64::from(longest)) {
            true => Err(ConfigError::StandbyTooLong(wait, "v1")),
            false => Ok(()),
        }
    }

    /// What happens to late envelopes.
    #[must_use]
    pub fn late_v1(&self) -> LateV1 {
        self.policy.late_v1.unwrap_or(if self.archive { LateV1::Archive } else { LateV1::Drop })
    }

    /// What happens to late messages.
    #[must_use]
    pub fn late_v2(&self) -> LateV2 {
        self.policy.late_v2.unwrap_or(if self.archive { LateV2::Archive } else { LateV2::Drop })
    }

    /// The work that an envelope with this much data is mined for: the profile's target, and never less than our own
    /// requirement, for our own pool is the first to judge it.
    #[must_use]
    pub fn pow_target(&self, data_bytes: usize) -> Pow {
        let target = match data_bytes > LARGE_DATA_BYTES {
            true => self.profile.pow_target_large,
            false => self.profile.pow_target,
        };
        target.max(self.min_pow)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            routes: Router::default(),
            profile: Profile::default(),
            policy: Policy::default(),
            min_pow: known_pow(DEFAULT_POW_TARGET),
            max_envelope_bytes: DEFAULT_MAX_ENVELOPE_BYTES,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            late_after: DEFAULT_LATE_AFTER,
            seen: SeenLimits::default(),
            limits: Limits::default(),
            journal: false,
            archive: false,
            proofs: false,
            handed_over: false,
            stagger: DEFAULT_STAGGER,
            key: [0; 32],
            standby_after: None,
            memory_lost: false,
            dry_run: false,
            canary: false,
            pow_threads: half_the_cores(),
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            ttl_secs: DEFAULT_TTL_SECS,
            pow_target: known_pow(DEFAULT_POW_TARGET),
            pow_target_large: known_pow(DEFAULT_POW_TARGET_LARGE),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_jobs: DEFAULT_MAX_JOBS,
            max_job_bytes: DEFAULT_MAX_JOB_BYTES,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            max_seal_jobs: DEFAULT_MAX_SEAL_JOBS,
            max_seal_bytes: DEFAULT_MAX_SEAL_BYTES,
        }
    }
}

/// A constant of this file.
fn known_pow(value: f64) -> Pow {
    Pow::new(value).unwrap_or(Pow::ZERO) // The constants are finite and positive; the test below holds them to it.
}

/// Mining takes half the machine at most: relaying must not wait for it.
fn half_the_cores() -> NonZeroUsize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        assert!(config.min_pow > Pow::ZERO && config.profile.pow_target_large > Pow::ZERO);
    }

    #[test]
    fn an_archive_that_is_not_there_is_refused() {
        let mut config = Config::default();
        config.policy.late_v1 = Some(LateV1::Archive);
        assert_eq!(config.check(), Err(ConfigError::LateV1NeedsArchive));
        config.policy.late_v1 = None;
        config.policy.late_v2 = Some(LateV2::Archive);
        assert_eq!(config.check(), Err(ConfigError::LateV2NeedsArchive));
        config.policy.late_v2 = None;
        config.routes =
            Router::new(crate::router::Route::everything("/waku/2/rs/0/0".parse().unwrap(), Ways::ArchiveOnly));
        assert_eq!(config.check(), Err(ConfigError::RouteNeedsArchive("default".into())));
        config.archive = true;
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn what_is_late_goes_to_the_archive_where_there_is_one_and_nothing_else_was_said() {
        let mut config = Config::default();
        assert_eq!((config.late_v1(), config.late_v2()), (LateV1::Drop, LateV2::Drop));
        config.archive = true;
        assert_eq!((config.late_v1(), config.late_v2()), (LateV1::Archive, LateV2::Archive));
        (config.policy.late_v1, config.policy.late_v2) = (Some(LateV1::Drop), Some(LateV2::Ladder));
        assert_eq!((config.late_v1(), config.late_v2()), (LateV1::Drop, LateV2::Ladder));
    }

    #[test]
    fn standby_must_leave_time_to_cross() {
        let waits = |secs, ladder| {
            let mut config = Config { standby_after: Some(Duration::from_secs(secs)), ..Config::default() };
            if ladder {
                (config.policy.late_v1, config.policy.late_v2) = (Some(LateV1::Publish), Some(LateV2::Ladder));
            }
            config.check().is_ok()
        };
        assert_eq!([9, 10, 20].map(|secs| waits(secs, false)), [true, false, false]);
        assert_eq!([20, 294, 295].map(|secs| waits(secs, true)), [true, true, false]);
    }

    #[test]
    fn bounds_that_let_nothing_through_are_refused() {
        let mut config = Config::default();
        config.profile.ttl_secs = 5;
        assert_eq!(config.check(), Err(ConfigError::TtlTooShort(5)));
        config = Config::default();
        config.limits.max_in_flight = 0;
        assert_eq!(config.check(), Err(ConfigError::ZeroBound("max_in_flight")));
    }

    #[test]
    fn large_data_aims_lower_but_never_below_our_own_requirement() {
        let mut config = Config::default();
        assert_eq!(config.pow_target(50_000).value(), 0.002);
        assert_eq!(config.pow_target(50_001).value(), 0.002);
        config.min_pow = Pow::ZERO;
        assert_eq!((config.pow_target(50_000).value(), config.pow_target(50_001).value()), (0.002, 0.000_002));
    }
}
