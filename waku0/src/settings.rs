//! What a node takes, keeps and announces.

use std::time::Duration;

use crate::{
    accounting::DEFAULT_EPOCH, interest::Interest, limits::Rates, pool::PoolLimits, pow::Pow, status::StatusOptions,
    version::Version, whitelist::Whitelist,
};

/// The least work taken unless set otherwise. Source: Nimbus's default and that of status-go's fleets.
pub const DEFAULT_MIN_POW: Pow = match Pow::new(0.002) {
    Ok(pow) => pow,
    Err(_) => Pow::ZERO,
};

/// What a node takes, keeps and announces.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is offered in the Hello, each once.
    pub versions: Vec<Version>,
    /// The least proof of work that an envelope must have.
    pub min_pow: Pow,
    /// Which envelopes are wanted.
    pub interest: Interest,
    /// Whether to forward nothing.
    pub light: bool,
    /// Whether packets of envelopes are acknowledged.
    pub confirmations: bool,
    /// Whether requests for history are taken; else they are ignored.
    pub serves_mail: bool,
    /// How much peers may send; announced to them, and kept.
    pub rates: Rates,
    /// Who is not left for sending more.
    pub whitelist: Whitelist,
    /// The largest envelope taken, in bytes: 20 and its data.
    pub max_message_size: usize,
    /// Bounds of the pool.
    pub pool: PoolLimits,
    /// How long a peer may take for its Status.
    pub status_timeout: Duration,
    /// How long accounts are summed up, in whole seconds.
    pub accounting_epoch: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versions: Version::ALL.to_vec(),
            min_pow: DEFAULT_MIN_POW,
            interest: Interest::EVERYTHING,
            light: false,
            confirmations: false,
            serves_mail: false,
            rates: Rates::default(),
            whitelist: Whitelist::default(),
            max_message_size: 1 << 20, // status-go's and Nimbus's default.
            pool: PoolLimits::default(),
            status_timeout: Duration::from_secs(10), // status-go waits for ever, Nimbus 5 s.
            accounting_epoch: DEFAULT_EPOCH,
        }
    }
}

/// One setting that has changed while the node runs. Peers are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// [`Settings::min_pow`]. The former floor is tolerated for ten seconds.
    MinPow(Pow),
    /// [`Settings::interest`]. The former interest is tolerated for ten seconds.
    Interest(Interest),
    /// [`Settings::light`].
    Light(bool),
    /// [`Settings::confirmations`].
    Confirmations(bool),
    /// [`Settings::rates`].
    Rates(Rates),
    /// [`Settings::max_message_size`], of which peers are not told.
    MaxMessageSize(usize),
}

/// The options announced, in the form of status-go: filters only as far as there are any.
pub(crate) fn announced(
    min_pow: Pow,
    interest: &Interest,
    light: bool,
    confirmations: bool,
    rates: &Rates,
) -> StatusOptions {
    let (bloom, topics) = match interest {
        Interest::Bloom(bloom) => (Some(*bloom), None),
        Interest::Topics(topics) => (None, Some(topics.as_slice().to_vec())),
    };
    StatusOptions {
        pow: Some(min_pow),
        bloom,
        light: Some(light),
        confirmations: Some(confirmations),
        rate_limits: Some(rates.announced()),
        topics,
        byte_limits: Some(rates.announced_bytes()),
    }
}
