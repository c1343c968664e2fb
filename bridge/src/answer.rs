//! What the far side said to a publish or a post, as far as the bridge cares.

use bytes::Bytes;
use waku0::{
    admit::Refusal,
    node::{PostError, Posted},
};
use waku2::{
    handle::{PublishError, Published},
    lightpush::{PushError, Pushed, Status},
    rln::NoProof,
    validate::Reason,
};

use crate::drop_reason::DropReason;

/// The far side's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Accepted {
        /// And had it before, byte for byte.
        already_there: bool,
    },
    /// It has it, with a rate-limit proof that was verified before it went out.
    Proven {
        /// And had it before.
        already_there: bool,
        /// The proof.
        proof: Bytes,
    },
    /// It will never take it.
    Refused(DropReason),
    /// Not now; or no answer came, in which case another attempt finds out.
    Failed,
    /// It has peers, and no room on the way to any of them.
    Busy,
    /// It takes nothing without a proof, and too many are being made. To the end of its time: [`DropReason::RlnUnavailable`].
    Unproven,
}

impl Answer {
    /// The answer, and the proof that it tells of.
    pub(crate) fn parted(self) -> (Self, Option<Bytes>) {
        match self {
            Self::Proven { already_there, proof } => (Self::Accepted { already_there }, Some(proof)),
            other => (other, None),
        }
    }
}

impl From<Result<Published, PublishError>> for Answer {
    fn from(result: Result<Published, PublishError>) -> Self {
        match result {
            Ok(Published { peers, duplicate, proof: Some(proof) }) if duplicate || peers > 0 => {
                Self::Proven { already_there: duplicate, proof }
            }
            Ok(Published { duplicate: true, .. }) => Self::Accepted { already_there: true },
            Ok(Published { peers: 0, .. }) | Err(PublishError::NoPeers) => Self::Failed,
            Ok(_) => Self::Accepted { already_there: false },
            Err(PublishError::TooLarge { .. }) => Self::Refused(DropReason::TooLargeV2),
            // What is refused so is taken once the verifier has time, or answers.
            Err(PublishError::QueueFull | PublishError::Refused(Reason::Busy)) => Self::Busy,
            Err(PublishError::NoProof(NoProof::Busy)) => Self::Unproven,
            Err(PublishError::NoProof(NoProof::OutOfIds)) => Self::Refused(DropReason::RlnBudget),
            Err(PublishError::NoProof(NoProof::NotReady | NoProof::Failed)) => {
                Self::Refused(DropReason::RlnUnavailable)
            }
            Err(
                PublishError::NotSubscribed
                | PublishError::NotSigned(_)
                | PublishError::Refused(_)
                | PublishError::Stopped,
            ) => Self::Refused(DropReason::PublishFailed),
        }
    }
}

/// Of a node that publishes for the bridge. Which proof it gave the message is not told.
impl From<Result<Pushed, PushError>> for Answer {
    fn from(result: Result<Pushed, PushError>) -> Self {
        let failure = match result {
            Ok(_) => return Self::Accepted { already_there: false },
            // None is connected, and one may be soon.
            Err(PushError::NoPeer(_)) => return Self::Busy,
            Err(PushError::Failed(failure)) => failure,
        };
        match failure.status {
            Status::TooLarge => Self::Refused(DropReason::TooLargeV2),
            Status::BadRequest | Status::UnsupportedTopic => Self::Refused(DropReason::PublishFailed),
            Status::OutOfProofs => Self::Unproven,
            // Or it has the message, and the answer that said so was lost.
            Status::Invalid => Self::Failed,
            Status::Success
            | Status::TooManyRequests
            | Status::Internal
            | Status::Unavailable
            | Status::NoPeers
            | Status::Other(_) => Self::Busy,
        }
    }
}

impl From<Result<Posted, PostError>> for Answer {
    fn from(result: Result<Posted, PostError>) -> Self {
        match result {
            Ok(posted) => Self::Accepted { already_there: posted.already_pooled },
            Err(PostError::PoolFull(_) | PostError::Refused(Refusal::Future)) => Self::Failed,
            Err(PostError::TooLong { .. } | PostError::Refused(Refusal::TooLarge)) => {
                Self::Refused(DropReason::TooLargeV1)
            }
            Err(PostError::Refused(Refusal::Expired | Refusal::VeryOld)) => Self::Refused(DropReason::Late),
            Err(PostError::Refused(Refusal::ZeroTtl | Refusal::LowPow | Refusal::NotWanted) | PostError::Stopped) => {
                Self::Refused(DropReason::PublishFailed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use waku0::envelope::EnvelopeHash;
    use waku2::{lightpush::Failure, service::NoPeer};

    use super::*;

    #[test]
    fn a_message_is_out_when_a_peer_has_it() {
        let published = |peers, duplicate| Answer::from(Ok(Published { peers, duplicate, proof: None }));
        assert_eq!(published(1, false), Answer::Accepted { already_there: false });
        assert_eq!(published(0, true), Answer::Accepted { already_there: true });
        assert_eq!(published(0, false), Answer::Failed);
        let proven = |peers, duplicate| Answer::from(Ok(Published { peers, duplicate, proof: Some("p".into()) }));
        let with_proof = |already_there| Answer::Proven { already_there, proof: "p".into() };
        assert_eq!([proven(1, false), proven(0, true)], [false, true].map(with_proof));
        assert_eq!(proven(0, false), Answer::Failed, "nobody has its proof");
        assert_eq!(with_proof(true).parted(), (Answer::Accepted { already_there: true }, Some("p".into())));
        assert_eq!(Answer::from(Err::<Published, _>(PublishError::NoPeers)), Answer::Failed);
        let too_large = PublishError::TooLarge { frame_bytes: 2, limit_bytes: 1 };
        assert_eq!(Answer::from(Err::<Published, _>(too_large)), Answer::Refused(DropReason::TooLargeV2));
        for busy in [PublishError::QueueFull, PublishError::Refused(Reason::Busy)] {
            assert_eq!(Answer::from(Err::<Published, _>(busy)), Answer::Busy);
        }
        for (no, expected) in [
            (NoProof::OutOfIds, Answer::Refused(DropReason::RlnBudget)),
            (NoProof::NotReady, Answer::Refused(DropReason::RlnUnavailable)),
            (NoProof::Failed, Answer::Refused(DropReason::RlnUnavailable)),
            (NoProof::Busy, Answer::Unproven),
        ] {
            assert_eq!(Answer::from(Err::<Published, _>(PublishError::NoProof(no))), expected);
        }
        let unsubscribed = Answer::from(Err::<Published, _>(PublishError::NotSubscribed));
        assert_eq!(unsubscribed, Answer::Refused(DropReason::PublishFailed));
    }

    #[test]
    fn a_message_is_out_when_who_publishes_for_us_says_so() {
        let of = |result: Result<Pushed, PushError>| Answer::from(result);
        assert_eq!(of(Ok(Pushed { peers: Some(2) })), Answer::Accepted { already_there: false });
        assert_eq!(of(Err(NoPeer::NoneFound.into())), Answer::Busy);
        let never = Answer::Refused(DropReason::PublishFailed);
        for (status, expected) in [
            (Status::BadRequest, never.clone()),
            (Status::UnsupportedTopic, never),
            (Status::TooLarge, Answer::Refused(DropReason::TooLargeV2)),
            (Status::Invalid, Answer::Failed),
            (Status::OutOfProofs, Answer::Unproven),
            (Status::TooManyRequests, Answer::Busy),
            (Status::Internal, Answer::Busy),
            (Status::Unavailable, Answer::Busy),
            (Status::NoPeers, Answer::Busy),
            (Status::Other(599), Answer::Busy),
        ] {
            let failure = Failure { status, text: String::new() };
            assert_eq!(of(Err(failure.into())), expected, "{status:?}");
        }
    }

    #[test]
    fn an_envelope_is_out_when_the_pool_has_it() {
        let posted =
            |already_pooled| Answer::from(Ok(Posted { hash: EnvelopeHash::from([0; 32]), already_pooled, sent_to: 0 }));
        assert_eq!(posted(false), Answer::Accepted { already_there: false });
        assert_eq!(posted(true), Answer::Accepted { already_there: true });
        let refused = |refusal| Answer::from(Err::<Posted, _>(PostError::Refused(refusal)));
        assert_eq!(refused(Refusal::Expired), Answer::Refused(DropReason::Late));
        assert_eq!(refused(Refusal::TooLarge), Answer::Refused(DropReason::TooLargeV1));
        assert_eq!(refused(Refusal::LowPow), Answer::Refused(DropReason::PublishFailed));
        assert_eq!(refused(Refusal::Future), Answer::Failed, "our own clock will catch up");
        assert_eq!(
            Answer::from(Err::<Posted, _>(PostError::TooLong { len: 1 })),
            Answer::Refused(DropReason::TooLargeV1)
        );
    }
}
