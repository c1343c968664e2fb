//! Why a request is not answered.

use crate::mail::request::RequestError;

/// Why a request is not answered. The peer is told in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer or its address has asked, or was given, too much.
    #[error("rate limit exceeded")]
    RateLimit,
    /// There is an answer under way on this connection.
    #[error("an earlier request is still being answered")]
    StillAnswering,
    /// Too many answers are under way.
    #[error("the server is busy")]
    Busy,
    /// The envelope has too little work.
    #[error("PoW too low")]
    LowPow,
    /// None of our keys opens it.
    #[error("failed to decrypt p2p request")]
    Undecryptable,
    /// Nobody has signed it.
    #[error("check message signature failed: wrong signature of p2p request")]
    Unsigned,
    /// What it says.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Refusal {
    /// Its name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::StillAnswering => "still_answering",
            Self::Busy => "busy",
            Self::LowPow | Self::Undecryptable | Self::Unsigned => "validation",
            Self::Request(_) => "request",
        }
    }
}
