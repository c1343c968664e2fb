//! How messages go out on v2: by this node's own relay, or by another node, to which they are handed.

use std::sync::Arc;

use bytes::Bytes;
use waku2::{Handle, PubsubTopic, lightpush};

use crate::answer::Answer;

/// Who publishes what crosses to v2.
#[derive(Debug, Clone)]
pub enum Outlet {
    /// This node, which proves it where proofs are asked for.
    Relay,
    /// A node that serves lightpush and gives what it publishes a proof of its own: for a bridge without a membership.
    Lightpush(lightpush::Client),
}

impl Outlet {
    /// Does another node publish, and prove?
    #[must_use]
    pub const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Lightpush(_))
    }

    /// Has an encoded message published. Cancelling leaves open whether it was.
    pub(crate) async fn publish(
        self,
        node: Handle,
        topic: PubsubTopic,
        data: Bytes,
        class: Option<Arc<str>>,
    ) -> Answer {
        match self {
            Self::Relay => node.publish_proven(topic, data, class).await.into(),
            Self::Lightpush(client) => {
                let pushed = client.hand_over(topic, data).await;
                if let Err(error) = &pushed {
                    tracing::debug!(%error, "a message that another node was to publish");
                }
                pushed.into()
            }
        }
    }
}
