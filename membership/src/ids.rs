//! Message ids: each at most once for an identity and an epoch, whatever crashes, restarts, or happens to the clock. Two messages
//! with one id reveal the identity's secret.
//!
//! | Module | What |
//! |---|---|
//! | [`share`] | which ids are ours, and for whom some are kept |
//! | [`allot`] | which id is next |
//! | [`shut`] | epochs that are over for good |
//! | `file` | the ledger on disk |
//!
//! An id goes out only after it is on disk that it may have. Epochs go by their number, not by when the program started.
//! Memberships of the pool take turns. A ledger has one owner: a lock holds other programs off, and a damaged one closes the epochs
//! that it could have been about. One that is deleted can't be missed: it belongs to its identities and is to be kept with them.
//! Spec: 17/WAKU2-RLN-RELAY; 64/WAKU2-NETWORK.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use waku2::rln::{
    NoProof,
    epoch::{Epoch, EpochLength},
};

pub mod allot;
mod file;
pub mod share;
pub mod shut;

pub use file::{Found, LedgerError, MAX_LEDGER_BYTES};
pub use share::{MAX_CLASSES, MAX_MEMBERSHIPS, Membership, NoRange, NoReserve, Range, Reserve};

use crate::{budget::Budget, contract::Commitment};
use allot::{Allot, EPOCHS_APART, Next};
use file::Ledger;

/// An id that has gone out. It is spent, whether it is used or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// Whose.
    pub commitment: Commitment,
    /// In which epoch.
    pub epoch: Epoch,
    /// Which.
    pub id: u32,
}

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub enum NoId {
    /// All of this epoch are spent.
    #[error("no message id left in this epoch")]
    Spent,
    /// Those left are kept for others.
    #[error("the message ids left in this epoch are kept for others")]
    Kept,
    /// None of the memberships can be used now.
    #[error("no membership is ready")]
    NotReady,
    /// It is more than [`EPOCHS_APART`] from the current epoch.
    #[error("the epoch is not the current one")]
    NotCurrent,
    /// It is forgotten what went out in it, or a damaged ledger could have been about it.
    #[error("no message ids are given out in this epoch any more")]
    Closed,
    /// It cannot be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl NoId {
    /// The same as the network's side says it.
    #[must_use]
    pub const fn no_proof(&self) -> NoProof {
        match self {
            Self::Spent | Self::Kept | Self::Closed => NoProof::OutOfIds,
            Self::NotReady => NoProof::NotReady,
            Self::NotCurrent | Self::Ledger(_) => NoProof::Failed,
        }
    }
}

/// One membership is in the pool twice, or there are more than [`MAX_MEMBERSHIPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pool has each membership once, and {MAX_MEMBERSHIPS} of them at most")]
pub struct NoPool;

/// Memberships that take turns, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool(Vec<Membership>);

impl Pool {
    /// These.
    ///
    /// # Errors
    /// [`NoPool`].
    pub fn new(memberships: Vec<Membership>) -> Result<Self, NoPool> {
        let each: BTreeSet<Commitment> = memberships.iter().map(|membership| membership.commitment).collect();
        let once = each.len() == memberships.len() && each.len() <= MAX_MEMBERSHIPS;
        if once { Ok(Self(memberships)) } else { Err(NoPool) }
    }
}

/// The ids of a pool of memberships.
#[derive(Debug)]
pub struct Ids {
    ledger: Ledger,
    length: EpochLength,
    allot: Allot,
    pool: Pool,
    reserve: Reserve,
    turn: usize,
}

impl Ids {
    /// Those that the ledger at `path` leaves, now being `unix` since 1970. Beside it are a lock, a draft while it is written, and
    /// the last damaged one. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(
        path: &Path,
        length: EpochLength,
        unix: Duration,
        pool: Pool,
        reserve: Reserve,
    ) -> Result<(Self, Found), LedgerError> {
        let (ledger, state, found) = Ledger::open(path, length, length.at(unix))?;
        if let Found::Damaged(until) = found {
            let path = path.display();
            tracing::error!(%path, until = until.0, "the ledger of message ids is damaged: none go out until its epochs are over");
        }
        Ok((Self { ledger, length, allot: Allot::new(state), pool, reserve, turn: 0 }, found))
    }

    /// These memberships from now on.
    pub fn change_pool(&mut self, pool: Pool) {
        self.pool = pool;
    }

    /// This is kept from now on, in the present epoch too. What classes have taken of it counts.
    pub fn change_reserve(&mut self, reserve: Reserve) {
        self.reserve = reserve;
    }

    /// An id in `epoch`, for this class, or for whoever there is nothing kept for; of a membership that is `usable`: of the ids of
    /// these alone shares are kept. It has been written down that it went out. Blocks on the disk for one id in
    /// [`allot::BLOCK_IDS`], and one of a class.
    ///
    /// # Errors
    /// [`NoId`]; nothing has gone out then.
    pub fn take(
        &mut self,
        unix: Duration,
        epoch: Epoch,
        class: Option<&str>,
        usable: impl Fn(&Commitment) -> bool,
    ) -> Result<Id, NoId> {
        self.may_take(unix, epoch, class, &usable)?;
        let mut refusal = NoId::NotReady;
        for turn in 0..self.pool.0.len() {
            let place = (self.turn + turn) % self.pool.0.len();
            let Some(membership) = self.pool.0.get(place).copied().filter(|membership| usable(&membership.commitment))
            else {
                continue;
            };
            match self.next(epoch, &membership, class)? {
                Some(id) => {
                    self.turn = place + 1;
                    return Ok(Id { commitment: membership.commitment, epoch, id });
                }
                None => refusal = NoId::Spent,
            }
        }
        Err(refusal)
    }

    /// What is left of an epoch.
    #[must_use]
    pub fn budget(&self, epoch: Epoch) -> Budget {
        self.budget_of(epoch, |_| true)
    }

    /// The same of those memberships alone that count.
    fn budget_of(&self, epoch: Epoch, counts: impl Fn(&Commitment) -> bool) -> Budget {
        let pool: Vec<&Membership> = self.pool.0.iter().filter(|one| counts(&one.commitment)).collect();
        let all = pool.iter().map(|membership| membership.range.len()).sum();
        let memberships = pool.iter().map(|one| (one.commitment, self.allot.left(epoch, one))).collect();
        let kept = self.reserve.kept(all);
        let kept = kept.map(|(class, ids)| (Arc::clone(class), ids.saturating_sub(self.allot.taken(epoch, class))));
        Budget { epoch, all, memberships, kept: kept.collect() }
    }

    fn may_take(
        &self,
        unix: Duration,
        epoch: Epoch,
        class: Option<&str>,
        usable: impl Fn(&Commitment) -> bool,
    ) -> Result<(), NoId> {
        if self.length.at(unix).0.abs_diff(epoch.0) > EPOCHS_APART {
            return Err(NoId::NotCurrent);
        }
        if !self.allot.state().is_open(epoch) {
            return Err(NoId::Closed);
        }
        let budget = self.budget_of(epoch, usable);
        match (budget.memberships.is_empty(), budget.left(), budget.left_for(class)) {
            (true, ..) => Err(NoId::NotReady),
            (_, 0, _) => Err(NoId::Spent),
            (_, _, 0) => Err(NoId::Kept),
            _ => Ok(()),
        }
    }

    fn next(&mut self, epoch: Epoch, membership: &Membership, class: Option<&str>) -> Result<Option<u32>, LedgerError> {
        let (id, state) = match self.allot.next(epoch, membership) {
            Next::Ready(id) => (id, None),
            Next::Write(id, state) => (id, Some(state)),
            Next::Spent => return Ok(None),
        };
        let class = class.and_then(|class| self.reserve.class(class));
        let class = class.map(|class| (class, self.allot.taken(epoch, class)));
        let state = match class {
            Some((class, _)) => self.allot.counting(epoch, class, &self.reserve, state),
            None => state,
        };
        if let Some(state) = state {
            self.ledger.write(&state)?;
            self.allot.wrote(state);
        }
        self.allot.gave(epoch, membership.commitment, id);
        if let Some((class, taken)) = class {
            self.allot.took(epoch, class, taken.saturating_add(1));
        }
        Ok(Some(id))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use waku2::rln::element::Element;

    use super::*;

    const EPOCH: Epoch = Epoch(2_000);
    const NOW: Duration = Duration::from_secs(2_000 * 600 + 5);

    fn commitment(who: u64) -> Commitment {
        Commitment::new(Element::from(who)).unwrap()
    }

    fn pool(members: &[(u64, u32)]) -> Pool {
        let one =
            |&(who, ids): &(u64, u32)| Membership { commitment: commitment(who), range: Range::all(ids).unwrap() };
        Pool::new(members.iter().map(one).collect()).unwrap()
    }

    fn open(path: &Path, pool: Pool, reserve: &[(&str, u8)]) -> (Ids, Found) {
        let reserve = Reserve::new(reserve.iter().map(|(class, percent)| ((*class).into(), *percent))).unwrap();
        Ids::open(path, EpochLength::default(), NOW, pool, reserve).unwrap()
    }

    /// Who gave which id.
    fn take(ids: &mut Ids, class: Option<&str>) -> Result<(u8, u32), String> {
        let id = ids.take(NOW, EPOCH, class, |_| true).map_err(|refusal| format!("{refusal:?}"))?;
        Ok((id.commitment.element().bytes()[0], id.id))
    }

    #[test]
    fn memberships_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 3), (2, 1)]), &[]);
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut ids, None).ok()).collect();
        assert_eq!(taken, [(1, 0), (2, 0), (1, 1), (1, 2)]);
        assert_eq!(take(&mut ids, None), Err("Spent".into()));
        assert_eq!(Pool::new(vec![pool(&[(1, 3)]).0[0]; 2]), Err(NoPool));
    }

    #[test]
    fn who_is_not_ready_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 3), (2, 1)]), &[]);
        let second = |ids: &mut Ids| ids.take(NOW, EPOCH, None, |who| *who == commitment(2));
        assert_eq!(second(&mut ids).unwrap().commitment, commitment(2));
        assert!(matches!(second(&mut ids), Err(NoId::Spent)));
        assert!(matches!(ids.take(NOW, EPOCH, None, |_| false), Err(NoId::NotReady)));
        ids.change_pool(Pool::default());
        assert!(matches!(ids.take(NOW, EPOCH, None, |_| true), Err(NoId::NotReady)));
    }

    #[test]
    fn what_is_kept_for_a_class_nobody_else_takes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 10)]), &[("status", 60), ("other", 10)]);
        let mut many = |class: Option<&str>| std::iter::from_fn(|| take(&mut ids, class).ok()).count();
        assert_eq!(many(None), 3, "10 less 6 and 1");
        assert_eq!(many(Some("nobody's")), 0);
        assert_eq!(many(Some("other")), 1);
        assert_eq!(many(Some("status")), 6);
        assert_eq!(take(&mut ids, Some("status")), Err("Spent".into()));
        assert_eq!(ids.budget(Epoch(2_001)).left(), 10);
    }

    /// A member that is not in the group, or not any more, has nothing to keep a share of.
    #[test]
    fn what_is_kept_for_a_class_is_kept_of_what_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 10), (2, 10)]), &[("status", 60)]);
        let mut many = |class: Option<&str>| {
            std::iter::from_fn(|| ids.take(NOW, EPOCH, class, |who| *who == commitment(1)).ok()).count()
        };
        assert_eq!((many(None), many(Some("status"))), (4, 6));
        assert_eq!(ids.budget(EPOCH).left(), 10, "of the other one");
    }

    #[test]
    fn a_class_takes_of_the_rest_too() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 10)]), &[("status", 60), ("other", 10)]);
        let status = std::iter::from_fn(|| take(&mut ids, Some("status")).ok()).count();
        assert_eq!(status, 9);
        assert_eq!(take(&mut ids, None), Err("Kept".into()));
        assert_eq!(take(&mut ids, Some("other")), Ok((1, 9)));
    }

    #[test]
    fn a_crash_does_not_give_a_class_its_share_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        let kept = |ids: &Ids| ids.budget(EPOCH).kept.values().copied().collect::<Vec<_>>();
        let (mut ids, _) = open(&path, pool(&[(1, 100)]), &[("status", 60)]);
        for _ in 0..30 {
            take(&mut ids, Some("status")).unwrap();
        }
        assert_eq!((kept(&ids), ids.budget(EPOCH).left_for(None)), (vec![30], 40));
        drop(ids);
        let (mut ids, _) = open(&path, pool(&[(1, 100)]), &[("status", 60)]);
        assert_eq!(
            (kept(&ids), ids.budget(EPOCH).left_for(None)),
            (vec![28], 40),
            "what was written down ahead is spent"
        );
        let nobody = std::iter::from_fn(|| take(&mut ids, None).ok()).count();
        let status = std::iter::from_fn(|| take(&mut ids, Some("status")).ok()).count();
        assert_eq!((nobody, status), (40, 28));
        assert_eq!(ids.budget(Epoch(2_001)).kept.values().copied().collect::<Vec<_>>(), [60]);
    }

    #[test]
    fn another_reserve_holds_at_once_and_what_was_taken_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 10)]), &[("status", 60)]);
        assert_eq!(take(&mut ids, Some("status")), Ok((1, 0)));
        assert_eq!(ids.budget(EPOCH).left_for(None), 4);
        let reserve = |classes: &[(&str, u8)]| {
            Reserve::new(classes.iter().map(|(class, percent)| ((*class).into(), *percent))).unwrap()
        };
        ids.change_reserve(reserve(&[("status", 20), ("other", 50)]));
        assert_eq!((ids.budget(EPOCH).left_for(None), ids.budget(EPOCH).left_for(Some("other"))), (3, 8));
        ids.change_reserve(Reserve::default());
        assert_eq!(ids.budget(EPOCH).left_for(None), 9);
        ids.change_reserve(reserve(&[("status", 100)]));
        assert_eq!((ids.budget(EPOCH).left_for(None), take(&mut ids, Some("status"))), (0, Ok((1, 1))));
    }

    #[test]
    fn a_restart_goes_on_and_a_damaged_ledger_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        let (mut ids, found) = open(&path, pool(&[(1, 10)]), &[]);
        assert_eq!((found, take(&mut ids, None)), (Found::Nothing, Ok((1, 0))));
        drop(ids);
        let (mut ids, found) = open(&path, pool(&[(1, 10)]), &[]);
        assert_eq!((found, take(&mut ids, None)), (Found::Ledger, Ok((1, 4))));
        drop(ids);
        fs::write(&path, "").unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH + NOW).unwrap();
        let (mut ids, found) = open(&path, pool(&[(1, 10)]), &[]);
        assert_eq!((found, take(&mut ids, None)), (Found::Damaged(Epoch(2_001)), Err("Closed".into())));
        assert_eq!(ids.budget(EPOCH).left(), 0);
        let later = NOW + Duration::from_secs(1_200);
        assert_eq!(ids.take(later, Epoch(2_002), None, |_| true).unwrap().id, 0);
    }

    #[test]
    fn an_epoch_is_taken_by_its_number_and_only_near_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 10)]), &[]);
        for (epoch, current) in [(1_998, false), (1_999, true), (2_000, true), (2_001, true), (2_002, false)] {
            let taken = ids.take(NOW, Epoch(epoch), None, |_| true);
            assert_eq!(taken.is_ok(), current, "{epoch}");
            assert!(current || matches!(taken, Err(NoId::NotCurrent)));
        }
    }

    #[test]
    fn what_cannot_be_written_down_does_not_go_out() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ids, _) = open(&folder.path().join("ids"), pool(&[(1, 10)]), &[]);
        folder.close().unwrap();
        let refusal = ids.take(NOW, EPOCH, None, |_| true).unwrap_err();
        assert_eq!((refusal.no_proof(), ids.budget(EPOCH).left()), (NoProof::Failed, 10));
        assert!(matches!(refusal, NoId::Ledger(_)));
    }
}
