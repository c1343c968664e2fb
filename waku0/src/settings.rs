//! What a node takes, keeps and announces.

use std::time::Duration;

use crate::{
    interest::Interest,
    pool::PoolLimits,
    pow::Pow,
    status::{RateLimits, StatusOptions},
};

/// The least work taken unless set otherwise. Source: Nimbus's default and that of status-go's fleets.
pub const DEFAULT_MIN_POW: Pow = match Pow::new(0.002) {
    Ok(pow) => pow,
    Err(_) => Pow::ZERO,
};

/// What a node takes, keeps and announces.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The least proof of work that an envelope must have.
    pub min_pow: Pow,
    /// Which envelopes are wanted.
    pub interest: Interest,
    /// Whether to forward nothing.
    pub light: bool,
    /// Whether acknowledgements are announced. None is sent yet, so leave it off.
    pub confirmations: bool,
    /// The rates announced to peers; 0 is no limit. None is enforced yet.
    pub rate_limits: RateLimits,
    /// The largest envelope taken, in bytes: 20 and its data.
    pub max_message_size: usize,
    /// Bounds of the pool.
    pub pool: PoolLimits,
    /// How long a peer may take for its Status.
    pub status_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_pow: DEFAULT_MIN_POW,
            interest: Interest::EVERYTHING,
            light: false,
            confirmations: false,
            rate_limits: RateLimits::default(),
            max_message_size: 1 << 20, // status-go's and Nimbus's default.
            pool: PoolLimits::default(),
            status_timeout: Duration::from_secs(10), // status-go waits for ever, Nimbus 5 s.
        }
    }
}

impl Settings {
    /// The options announced, in the form of status-go: filters only as far as there are any.
    #[must_use]
    pub fn status(&self) -> StatusOptions {
        let (bloom, topics) = match &self.interest {
            Interest::Bloom(bloom) => (Some(*bloom), None),
            Interest::Topics(topics) => (None, Some(topics.as_slice().to_vec())),
        };
        StatusOptions {
            pow: Some(self.min_pow),
            bloom,
            light: Some(self.light),
            confirmations: Some(self.confirmations),
            rate_limits: Some(self.rate_limits),
            topics,
        }
    }
}
