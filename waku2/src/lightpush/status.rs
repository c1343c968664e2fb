//! What became of a request: one number of 3.0.0, and the text of 2.0.0-beta1 that clients match on.  Spec: 19/WAKU2-LIGHTPUSH 3.0.0, "Status
//! codes"; 420, 504 and 505 as deployed by nwaku.

use crate::{
    handle::{PublishError, Published},
    message::DecodeError,
    rules::Position,
    shard::AutoshardError,
    topic::PubsubTopicError,
    validate::Reason,
};

/// How a request ended. 200 alone is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 200: at least one peer was sent the message.
    Success,
    /// 400: no request, or one for something else than relay.
    BadRequest,
    /// 413: larger than the network carries.
    TooLarge,
    /// 420: peers would not take it, or have it.
    Invalid,
    /// 421: not a topic that is relayed here.
    UnsupportedTopic,
    /// 429.
    TooManyRequests,
    /// 500.
    Internal,
    /// 503: nobody to send it to.
    Unavailable,
    /// 504: no rate-limit proof could be made.
    OutOfProofs,
    /// 505: nobody to send it to, as nwaku says it.
    NoPeers,
    /// Any other, of which only clients hear.
    Other(u32),
}

impl Status {
    /// Those that have a name.
    pub const COUNT: usize = Self::ALL.len();

    /// Those that have a name, by [`Self::index`].
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::BadRequest,
        Self::TooLarge,
        Self::Invalid,
        Self::UnsupportedTopic,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
        Self::OutOfProofs,
        Self::NoPeers,
    ];

    /// Its number.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Success => 200,
            Self::BadRequest => 400,
            Self::TooLarge => 413,
            Self::Invalid => 420,
            Self::UnsupportedTopic => 421,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::OutOfProofs => 504,
            Self::NoPeers => 505,
            Self::Other(code) => code,
        }
    }

    /// The one of that number.
    #[must_use]
    pub fn of(code: u32) -> Self {
        Self::ALL.into_iter().find(|status| status.code() == code).unwrap_or(Self::Other(code))
    }

    /// Its place in [`Self::ALL`] and among counters; that of 500 for those without a name.
    #[must_use]
    pub fn index(self) -> usize {
        let named = |wanted: Self| Self::ALL.iter().position(|status| *status == wanted);
        named(self).or_else(|| named(Self::Internal)).unwrap_or_default()
    }

    /// A short name, for metrics and logs.  Deployed: nwaku, where it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::BadRequest => "decode_rpc_failure",
            Self::TooLarge => "payload_too_large",
            Self::Invalid => "message_validation_failure",
            Self::UnsupportedTopic => "unsupported_pubsub_topic",
            Self::TooManyRequests => "request_limit_reached_failure",
            Self::Internal => "message_push_failure",
            Self::Unavailable | Self::NoPeers => "not_published_to_any_peer",
            Self::OutOfProofs => "out_of_rln_proof",
            Self::Other(_) => "other",
        }
    }

    /// The same in the numbers of deployed nodes, where those differ.
    #[must_use]
    pub const fn in_words_of(self, codes: Position) -> Self {
        match (codes, self) {
            (Position::Deployed, Self::Unavailable) => Self::NoPeers,
            (Position::Deployed, Self::TooLarge) => Self::Invalid,
            (_, status) => status,
        }
    }
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// As a number.
    pub status: Status,
    /// In words. Clients of 2.0.0-beta1 match on some of these.
    pub text: String,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// A request that is none.
    pub(crate) fn unreadable(why: impl std::fmt::Display) -> Self {
        Self::new(Status::BadRequest, format!("decode_rpc_failure: {why}"))
    }

    /// Too many of them.
    pub(crate) fn too_many() -> Self {
        Self::new(Status::TooManyRequests, "TOO_MANY_REQUESTS")
    }

    /// A message without anybody to send it to.
    pub(crate) fn no_peers() -> Self {
        Self::new(Status::Unavailable, "not_published_to_any_peer")
    }
}

impl From<&DecodeError> for Failure {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Malformed(_) => Self::unreadable(error),
            DecodeError::NoPayload | DecodeError::NoContentTopic => Self::unreadable(error),
            DecodeError::MetaTooLong(_) => Self::new(Status::Invalid, error.to_string()),
        }
    }
}

impl From<&PubsubTopicError> for Failure {
    fn from(error: &PubsubTopicError) -> Self {
        match error {
            PubsubTopicError::Empty => Self::new(Status::BadRequest, "topic must not be empty"),
            PubsubTopicError::TooLong(_) => Self::new(Status::BadRequest, error.to_string()),
        }
    }
}

impl From<&AutoshardError> for Failure {
    fn from(error: &AutoshardError) -> Self {
        match error {
            AutoshardError::NoShards => {
                Self::new(Status::Invalid, "pubsub topic must be specified with static sharding")
            }
            error => Self::new(Status::Invalid, format!("Autosharding error: {error}")),
        }
    }
}

impl From<&PublishError> for Failure {
    fn from(error: &PublishError) -> Self {
        match error {
            PublishError::NoPeers | PublishError::QueueFull => Self::no_peers(),
            PublishError::TooLarge { frame_bytes, limit_bytes } => Self::new(
                Status::TooLarge,
                format!("Message size exceeded maximum of {limit_bytes} bytes: its gossip frame has {frame_bytes}"),
            ),
            PublishError::NotSubscribed => {
                Self::new(Status::UnsupportedTopic, "the pubsub topic is not relayed by this node")
            }
            PublishError::NotSigned(error) => Self::new(Status::Invalid, Reason::from(*error).text()),
            PublishError::Refused(reason) => Self::new(Status::Invalid, reason.text()),
            PublishError::NoProof(error) => Self::new(Status::OutOfProofs, error.words()),
            PublishError::Stopped => Self::new(Status::Internal, error.to_string()),
        }
    }
}

/// To how many peers it went; a failure where that is none.
pub(crate) fn relayed(outcome: Result<Published, PublishError>) -> Result<u32, Failure> {
    match outcome {
        Ok(Published { duplicate: true, .. }) => {
            Err(Failure::new(Status::Invalid, "duplicate: the network had this message in the last two minutes"))
        }
        Ok(Published { peers: 0, .. }) => Err(Failure::no_peers()),
        Ok(Published { peers, .. }) => Ok(u32::try_from(peers).unwrap_or(u32::MAX)),
        Err(error) => Err(Failure::from(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rln::NoProof, signed::SignedError};

    #[test]
    fn every_status_has_its_number() {
        let codes = Status::ALL.map(Status::code);
        assert_eq!(codes, [200, 400, 413, 420, 421, 429, 500, 503, 504, 505]);
        for status in Status::ALL {
            assert_eq!(Status::of(status.code()), status);
            assert_eq!(Status::ALL[status.index()], status);
        }
        assert_eq!(Status::of(0), Status::Other(0), "no success");
        assert_eq!(Status::ALL[Status::Other(7).index()], Status::Internal);
    }

    #[test]
    fn h78_every_outcome_has_its_status() {
        let published = |peers, duplicate| relayed(Ok(Published { peers, duplicate, proof: None }));
        assert_eq!(published(3, false), Ok(3));
        let status = |outcome: Result<u32, Failure>| outcome.unwrap_err().status;
        assert_eq!(status(published(0, false)), Status::Unavailable, "never a success for what nobody was sent");
        assert_eq!(status(published(0, true)), Status::Invalid);
        for (error, expected) in [
            (PublishError::NoPeers, Status::Unavailable),
            (PublishError::QueueFull, Status::Unavailable),
            (PublishError::TooLarge { frame_bytes: 2, limit_bytes: 1 }, Status::TooLarge),
            (PublishError::NotSubscribed, Status::UnsupportedTopic),
            (PublishError::NotSigned(SignedError::Signature), Status::Invalid),
            (PublishError::Refused(Reason::OutsideWindow), Status::Invalid),
            (PublishError::NoProof(NoProof::OutOfIds), Status::OutOfProofs),
            (PublishError::NoProof(NoProof::NotReady), Status::OutOfProofs),
            (PublishError::Stopped, Status::Internal),
        ] {
            assert_eq!(status(relayed(Err(error))), expected, "{error}");
        }
        let large = Failure::from(&PublishError::TooLarge { frame_bytes: 153_601, limit_bytes: 153_600 });
        assert!(
            large.text.starts_with("Message size exceeded maximum of 153600 bytes") && large.text.contains("153601")
        );
    }

    #[test]
    fn clients_find_the_words_by_which_they_know_that_proofs_are_the_reason() {
        let text = |error: PublishError| Failure::from(&error).text;
        assert!(text(NoProof::OutOfIds.into()).starts_with("could not get new message id to generate an rln proof: "));
        for error in [NoProof::NotReady, NoProof::Busy, NoProof::Failed] {
            assert!(text(error.into()).starts_with("could not generate rln-v2 proof: "));
        }
        assert!(text(PublishError::Refused(Reason::InvalidProof)).starts_with("RLN validation failed"));
    }

    #[test]
    fn deployed_numbers_where_they_differ() {
        let deployed = Status::ALL.map(|status| status.in_words_of(Position::Deployed).code());
        assert_eq!(deployed, [200, 400, 420, 420, 421, 429, 500, 505, 504, 505]);
        assert_eq!(Status::ALL.map(|status| status.in_words_of(Position::Text)), Status::ALL);
    }
}
