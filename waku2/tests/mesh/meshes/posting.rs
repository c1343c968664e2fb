//! Messages that nodes publish, what is said of it, and to whom they are owed.

use std::collections::BTreeMap;

use tokio::time;
use waku2::{Meta, PublishError, Published, WakuMessage, hash::message_hash};

use super::{
    Rule,
    observer::{Life, Shared},
    plan::{Plan, Post},
    steady::Steady,
    subject::{Subject, topic},
};

/// The message of a number, made longer by this many bytes.
pub(super) fn message(number: u64, bytes: usize) -> WakuMessage {
    WakuMessage {
        payload: [&number.to_be_bytes()[..], &vec![7; bytes]].concat().into(),
        content_topic: "/causeway/1/mesh/bytes".into(),
        version: 0,
        timestamp: Some(devp2p::clock::now().unix_nanos()),
        meta: Meta::default(),
        rate_limit_proof: None,
        ephemeral: true,
    }
}

/// Where messages are published.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) observer: &'a Shared,
    pub(super) plan: &'a Plan,
    pub(super) nodes: &'a BTreeMap<usize, Subject>,
    /// What does not change while they are on their way: within it they are owed.
    pub(super) steady: &'a Steady,
    /// Whether that is all there is, so that it is known what publishing has to say.
    pub(super) is_settled: bool,
}

impl Scene<'_> {
    /// Publishes one after the other.
    pub(super) async fn publish_all(self, posts: &[Post]) {
        for post in posts {
            time::sleep(post.after).await;
            self.publish(post).await;
        }
    }

    async fn publish(self, post: &Post) {
        let Some(subject) = self.nodes.get(&post.node) else { return };
        let topic = topic(&self.plan.nodes[post.node], post.shard);
        let number = self.observer.look().number();
        let message = message(number, post.payload_bytes);
        let (data, hash) = (message.encode(), message_hash(&topic, &message));
        self.observer.look().publishes(subject.life, number, topic.clone(), data.clone(), hash);
        let result = subject.publish(topic, data).await;
        let owed: Vec<Life> = self.owed(post).iter().map(|node| self.nodes[node].life).collect();
        let mut observer = self.observer.look();
        match result {
            Ok(_) => observer.published(number, owed),
            Err(_) => observer.refused(number),
        }
        if let Some(what) = self.misjudged(post, result) {
            observer.broken(Rule::PublishTells, subject.life, format!("message {number}: {what}"));
        }
    }

    /// Who must have it. While meshes change, gossip promises no more than that the author sends it to all its peers: who is taken into a mesh
    /// between a message and the next IHAVE is told of it by neither.
    fn owed(self, post: &Post) -> Vec<usize> {
        if self.is_settled {
            return self.steady.reached(self.plan, post.node, post.shard).into_iter().collect();
        }
        let is_steady = self.steady.relays(post.node, post.shard);
        self.steady.on(self.plan, post.node, post.shard).filter(|_| is_steady).collect()
    }

    /// What is wrong with the answer.
    fn misjudged(self, post: &Post, result: Result<Published, PublishError>) -> Option<String> {
        let peers = self.steady.on(self.plan, post.node, post.shard).count();
        let right = if !self.is_settled {
            match result {
                Ok(ref said) => said.peers >= peers.max(1) && !said.duplicate,
                Err(PublishError::NoPeers) => peers == 0,
                Err(error) => error == PublishError::NotSubscribed,
            }
        } else if !self.steady.relays(post.node, post.shard) && self.steady.relays.contains_key(&post.node) {
            result == Err(PublishError::NotSubscribed)
        } else if peers == 0 {
            result == Err(PublishError::NoPeers)
        } else {
            result == Ok(Published { peers, duplicate: false, proof: None })
        };
        (!right).then(|| format!("{result:?}, and there are {peers} peers"))
    }
}
