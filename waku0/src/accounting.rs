//! Pairwise accounts: what each peer has brought of what we asked for, and what it was brought of what it asked for.
//! Spec: 5/WAKU0, "Accounting for resources". Nothing follows from them: nobody is paid, and nobody is left.
//!
//! *Expected in* is an envelope that passed every check and that we want, whoever brought it first, once for each peer.
//! *Expected out* is one that the peer asked for and that its connection has taken. Refused envelopes, repeats, packets
//! between two peers and what is not gossip are in no account.
//!
//! Sums are closed every epoch. Epochs begin at multiples of their length in unix time, so that those of several runs lie
//! on each other: what was closed before its time adds up with what follows.
//!
//! Limits: [`MAX_ACCOUNTS`] peers in one epoch; one more closes it before its time.

use std::{
    collections::HashMap,
    ops::AddAssign,
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::{NodeId, clock::Now};

use crate::envelope::Envelope;

/// Peers in one epoch: those connected at once and as many again three times over. A row takes about 100 bytes.
pub const MAX_ACCOUNTS: usize = 4 * crate::node::MAX_PEERS;

/// How long an epoch is unless set otherwise.
pub const DEFAULT_EPOCH: Duration = Duration::from_secs(60);

/// Envelopes, and the bytes of their RLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Volume {
    /// How many.
    pub envelopes: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

impl Volume {
    /// Envelopes of so many bytes together.
    pub(crate) fn of(envelopes: usize, bytes: usize) -> Self {
        Self { envelopes: envelopes as u64, bytes: bytes as u64 }
    }

    /// These envelopes.
    pub(crate) fn together(envelopes: &[Arc<Envelope>]) -> Self {
        Self::of(envelopes.len(), envelopes.iter().map(|envelope| envelope.raw().len()).sum())
    }
}

impl Volume {
    /// What is left without the other.
    pub(crate) fn less(self, other: Self) -> Self {
        Self {
            envelopes: self.envelopes.saturating_sub(other.envelopes),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.envelopes = self.envelopes.saturating_add(other.envelopes);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// One peer's account in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// What the peer brought.
    pub received: Volume,
    /// What it was brought.
    pub sent: Volume,
}

/// What went over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// What was expected of the peer, and what it expected of us.
    pub account: Account,
    /// All that came in packets, decompressed, whatever it was.
    pub bytes_in: u64,
}

/// An epoch that is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// When it began, in unix seconds.
    pub start: u64,
    /// Peers with any traffic, by node id.
    pub accounts: Vec<(NodeId, Account)>,
}

/// The accounts of the open epoch.
#[derive(Debug)]
pub(crate) struct Accounts {
    epoch: Duration,
    start: u64,
    closes_at: Instant,
    open: HashMap<NodeId, Account>,
}

impl Accounts {
    /// Nothing so far, in an epoch of whole seconds.
    pub(crate) fn new(epoch: Duration, now: Now) -> Self {
        let epoch = Duration::from_secs(epoch.as_secs().max(1));
        let (start, left) = (start_of(epoch, now), left_of(epoch, now));
        Self { epoch, start, closes_at: now.instant + left, open: HashMap::new() }
    }

    /// When the open epoch is to be closed.
    pub(crate) fn closes_at(&self) -> Instant {
        self.closes_at
    }

    /// A peer has brought what was expected. Returns an epoch that had to be closed to make room.
    pub(crate) fn received(&mut self, now: Now, peer: NodeId, volume: Volume) -> Option<Epoch> {
        let (account, closed) = self.account(now, peer);
        account.received += volume;
        closed
    }

    /// A peer was brought what it expected. Returns an epoch that had to be closed to make room.
    pub(crate) fn sent(&mut self, now: Now, peer: NodeId, volume: Volume) -> Option<Epoch> {
        let (account, closed) = self.account(now, peer);
        account.sent += volume;
        closed
    }

    fn account(&mut self, now: Now, peer: NodeId) -> (&mut Account, Option<Epoch>) {
        let is_full = self.open.len() >= MAX_ACCOUNTS && !self.open.contains_key(&peer);
        let closed = if is_full { self.close(now) } else { None };
        (self.open.entry(peer).or_default(), closed)
    }

    /// A connection did not take what was counted as sent.
    pub(crate) fn take_back(&mut self, peer: NodeId, volume: Volume) {
        if let Some(Account { sent, .. }) = self.open.get_mut(&peer) {
            *sent = sent.less(volume);
        }
    }

    /// The epoch, when its time is over and there was traffic.
    pub(crate) fn tick(&mut self, now: Now) -> Option<Epoch> {
        if now.instant < self.closes_at {
            return None;
        }
        self.closes_at = now.instant + left_of(self.epoch, now);
        self.close(now)
    }

    /// Closes the epoch before its time, as when the node stops.
    pub(crate) fn close(&mut self, now: Now) -> Option<Epoch> {
        let start = std::mem::replace(&mut self.start, start_of(self.epoch, now));
        let accounts = self.open.drain().filter(|(_, account)| *account != Account::default());
        let mut accounts: Vec<_> = accounts.collect();
        accounts.sort_unstable_by_key(|(peer, _)| *peer);
        (!accounts.is_empty()).then_some(Epoch { start, accounts })
    }
}

/// The last multiple of an epoch, in unix seconds.
fn start_of(epoch: Duration, now: Now) -> u64 {
    now.unix_secs() - now.unix_secs() % epoch.as_secs()
}

/// Until the next multiple of an epoch.
fn left_of(epoch: Duration, now: Now) -> Duration {
    let into = now.unix.as_nanos() % epoch.as_nanos();
    Duration::from_nanos_u128(epoch.as_nanos() - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Duration = Duration::from_secs(60);

    fn peer(n: u16) -> NodeId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        NodeId::from_bytes(id)
    }

    fn at(secs: u64) -> Now {
        Now { unix: Duration::from_secs(secs), ..devp2p::clock::now() }
    }

    #[test]
    fn sums_are_kept_by_peer_and_closed_at_multiples_of_an_epoch() {
        let start = at(125);
        let mut accounts = Accounts::new(EPOCH, start);
        assert_eq!(accounts.closes_at(), start.instant + Duration::from_secs(55));
        assert_eq!(accounts.received(start, peer(2), Volume::of(2, 300)), None);
        assert_eq!(accounts.received(start, peer(2), Volume::of(1, 100)), None);
        assert_eq!(accounts.sent(start, peer(1), Volume::of(5, 500)), None);
        assert_eq!(accounts.tick(start.after(Duration::from_secs(54))), None);
        let end = start.after(Duration::from_secs(55));
        let closed = accounts.tick(end).unwrap();
        assert_eq!(closed.start, 120);
        let one = Account { sent: Volume::of(5, 500), ..Account::default() };
        let two = Account { received: Volume::of(3, 400), ..Account::default() };
        assert_eq!(closed.accounts, [(peer(1), one), (peer(2), two)]);
        assert_eq!(accounts.closes_at(), end.instant + EPOCH);
        assert_eq!(accounts.start, 180);
    }

    #[test]
    fn an_epoch_without_traffic_has_no_rows() {
        let start = at(0);
        let mut accounts = Accounts::new(EPOCH, start);
        let end = start.after(EPOCH);
        assert_eq!(accounts.tick(end), None);
        assert_eq!((accounts.start, accounts.closes_at()), (60, end.instant + EPOCH));
    }

    #[test]
    fn one_peer_too_many_closes_the_epoch_early_and_loses_nothing() {
        let start = at(0);
        let mut accounts = Accounts::new(EPOCH, start);
        let last = u16::try_from(MAX_ACCOUNTS).unwrap();
        for n in 0..last {
            assert_eq!(accounts.received(start, peer(n), Volume::of(1, 10)), None);
        }
        assert_eq!(accounts.sent(start, peer(0), Volume::of(1, 10)), None);
        let closed = accounts.received(start.after(Duration::from_secs(9)), peer(last), Volume::of(1, 10)).unwrap();
        assert_eq!((closed.start, closed.accounts.len()), (0, MAX_ACCOUNTS));
        let rest = accounts.close(start).unwrap();
        assert_eq!((rest.start, rest.accounts.len()), (0, 1));
    }

    #[test]
    fn what_was_not_taken_is_taken_back() {
        let start = at(0);
        let mut accounts = Accounts::new(EPOCH, start);
        accounts.sent(start, peer(1), Volume::of(2, 30));
        accounts.take_back(peer(1), Volume::of(2, 30));
        accounts.take_back(peer(2), Volume::of(1, 1));
        assert_eq!(accounts.close(start), None);
    }

    #[test]
    fn volumes_do_not_overflow() {
        let mut volume = Volume { envelopes: u64::MAX, bytes: u64::MAX - 1 };
        volume += Volume::of(1, 2);
        assert_eq!(volume, Volume { envelopes: u64::MAX, bytes: u64::MAX });
    }
}
