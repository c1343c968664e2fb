//! What one connection holds of the read budget: shell around [`crate::budget`].
//!
//! A body carries its charge with it ([`bytes::Bytes::from_owner`]) until the last slice of it is dropped, in whichever queue it
//! waits until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::budget::{Budget, Share, Spent, Ticket, Want};

/// The budget of a server.
#[derive(Debug)]
pub(crate) struct ReadBudget(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Budget,
    /// Those that wait: one a connection.
    wakers: HashMap<Ticket, oneshot::Sender<()>>,
}

impl ReadBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Mutex::new(Inner { budget: Budget::new(bytes), wakers: HashMap::new() }))
    }

    pub(crate) fn spent(&self) -> Spent {
        self.with(|inner| inner.budget.spent())
    }

    /// Does something with the budget, and wakes whom that grants its wish.
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut inner);
        while let Some(ticket) = inner.budget.next_granted() {
            if let Some(waker) = inner.wakers.remove(&ticket) {
                // Fails only for a connection that ends just now, and gives everything back.
                let _ = waker.send(());
            }
        }
        done
    }
}

/// The charges of one connection: its packet under way.
#[derive(Debug)]
pub(crate) struct Purse {
    budget: Arc<ReadBudget>,
    packet: Option<(Ticket, Share)>,
    /// Bytes that are waited for.
    claim: Option<(usize, oneshot::Receiver<()>)>,
}

impl Purse {
    pub(crate) fn new(budget: Arc<ReadBudget>) -> Self {
        Self { budget, packet: None, claim: None }
    }

    /// Charges bytes to the packet under way; false when [`Purse::granted`] is to be waited for.
    pub(crate) fn ask(&mut self, want: Want) -> bool {
        let packet = self.packet;
        let (ticket, receiver) = self.budget.with(|inner| {
            let ticket = packet.map_or_else(|| inner.budget.begin(), |(ticket, _)| ticket);
            if inner.budget.ask(ticket, want) {
                return (ticket, None);
            }
            let (sender, receiver) = oneshot::channel();
            inner.wakers.insert(ticket, sender);
            (ticket, Some(receiver))
        });
        self.packet = Some((ticket, want.share));
        self.claim = receiver.map(|receiver| (want.bytes, receiver));
        self.claim.is_none()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.claim.is_some()
    }

    /// Waits for what was asked for and says how much that was; never completes when nothing was. Safe to cancel.
    pub(crate) async fn granted(&mut self) -> usize {
        let Some((bytes, receiver)) = &mut self.claim else { return std::future::pending().await };
        let bytes = *bytes;
        // The other end is dropped only with the budget, which we hold.
        let _ = receiver.await;
        self.claim = None;
        bytes
    }

    /// The packet is whole: its body takes over its own part of the charge, and the rest is given back.
    pub(crate) fn seal(&mut self, body: Bytes) -> Bytes {
        let Some((ticket, share)) = self.packet.take() else { return body };
        let bytes = body.len();
        self.budget.with(|inner| inner.budget.deliver(ticket, share, bytes));
        Bytes::from_owner(Charged { body, share, budget: Arc::clone(&self.budget) })
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        if let Some((ticket, _)) = self.packet {
            self.budget.with(|inner| {
                inner.wakers.remove(&ticket);
                inner.budget.abandon(ticket);
            });
        }
    }
}

/// A body and its charge.
struct Charged {
    body: Bytes,
    share: Share,
    budget: Arc<ReadBudget>,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        let (bytes, share) = (self.body.len(), self.share);
        // Freed before others are told that there is room.
        self.body = Bytes::new();
        self.budget.with(|inner| inner.budget.consumed(share, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn large(bytes: usize) -> Want {
        Want { bytes, share: Share::Large }
    }

    #[tokio::test]
    async fn a_body_is_charged_until_its_last_slice_is_dropped() {
        let budget = Arc::new(ReadBudget::new(16 * MIB));
        let (mut first, mut second) = (Purse::new(Arc::clone(&budget)), Purse::new(Arc::clone(&budget)));
        assert!(first.ask(large(MIB)) && first.ask(large(12 * MIB)));
        let body = first.seal(vec![0; 12 * MIB].into());
        assert_eq!(budget.spent().bytes, 12 * MIB);
        assert!(!second.ask(large(4 * MIB)));
        let slice = body.slice(5..6);
        drop(body);
        assert!(second.is_waiting());
        drop(slice);
        assert_eq!(second.granted().await, 4 * MIB);
        assert_eq!(budget.spent().bytes, 4 * MIB);
        drop(second);
        assert_eq!(budget.spent(), Spent { bytes: 0, peak_bytes: 13 * MIB });
    }

    #[tokio::test]
    async fn a_connection_that_ends_lets_the_next_one_on() {
        let budget = Arc::new(ReadBudget::new(16 * MIB));
        let [mut first, mut second, mut third] = [(); 3].map(|()| Purse::new(Arc::clone(&budget)));
        assert!(first.ask(large(14 * MIB)));
        let body = first.seal(vec![0; 14 * MIB].into());
        assert!(!second.ask(large(10 * MIB)) && !third.ask(large(11 * MIB)));
        drop(second);
        drop(body);
        assert_eq!(third.granted().await, 11 * MIB);
        drop(third);
        assert_eq!(budget.spent().bytes, 0);
        assert!(budget.with(|inner| inner.wakers.is_empty()));
    }
}
