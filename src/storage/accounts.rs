//! Accounts of waku/0 peers: one row for a peer in an epoch.  Spec: 5/WAKU0, "Accounting for resources".
//!
//! An epoch is written in one transaction, in which rows older than the retention go. An epoch that was closed before its
//! time, or by an earlier run, adds up with what is there.
//!
//! Limits: [`EPOCHS`] wait for the database, and later ones are lost and counted; a page has [`MAX_PAGE`] rows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use devp2p::{NodeId, clock::now};
use sqlx::{Connection as _, FromRow, QueryBuilder, Sqlite, SqliteConnection, SqlitePool};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use waku0::accounting::{Account, Epoch, Volume};

use super::{Database, from_sql, or_another, to_sql};

/// Epochs that wait for the database: of a quarter of an hour, by default.
pub const EPOCHS: usize = 16;

/// How long rows are kept unless set otherwise.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most rows of a page.
pub const MAX_PAGE: u32 = 10_000;

/// Rows in one statement: six values each, and SQLite takes 32,766.
const ROWS_A_STATEMENT: usize = 1_000;

/// After how long a write is tried again that has failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Which rows are wanted. The oldest epoch comes first, and in an epoch the lowest node id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Epochs that begin then or later, in unix seconds.
    pub from: Option<u64>,
    /// Epochs that begin then or earlier.
    pub to: Option<u64>,
    /// This peer alone.
    pub peer: Option<NodeId>,
    /// What follows this row.
    pub after: Option<(u64, NodeId)>,
}

/// A peer's account in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// When the epoch began, in unix seconds.
    pub epoch: u64,
    /// Whose account it is.
    pub peer: NodeId,
    /// What it brought and was brought.
    pub account: Account,
}

/// Accounts that are kept.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: SqlitePool,
    failures: Arc<AtomicU64>,
}

impl Ledger {
    /// Those of a database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool.clone(), failures: Arc::default() }
    }

    /// Writes that have failed since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Adds an epoch, and takes out what began before `oldest`, in unix seconds. When it returns, both are on disk.
    ///
    /// # Errors
    /// What the database says; nothing has changed then.
    pub async fn add(&self, epoch: &Epoch, oldest: u64) -> Result<(), sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let added = add(&mut connection, epoch, oldest).await;
        or_another(&added, &mut connection);
        added
    }

    /// Some rows, [`MAX_PAGE`] at most.
    ///
    /// # Errors
    /// What the database says.
    pub async fn page(&self, filter: &Filter, limit: u32) -> Result<Vec<Row>, sqlx::Error> {
        let mut select = QueryBuilder::<Sqlite>::new(
            "SELECT epoch, peer, envelopes_received, bytes_received, envelopes_sent, bytes_sent FROM accounts WHERE TRUE",
        );
        if let Some(from) = filter.from {
            select.push(" AND epoch >= ").push_bind(to_sql(from));
        }
        if let Some(to) = filter.to {
            select.push(" AND epoch <= ").push_bind(to_sql(to));
        }
        if let Some(peer) = &filter.peer {
            select.push(" AND peer = ").push_bind(peer.as_bytes().to_vec());
        }
        if let Some((epoch, peer)) = &filter.after {
            select.push(" AND (epoch, peer) > (").push_bind(to_sql(*epoch));
            select.push(", ").push_bind(peer.as_bytes().to_vec()).push(")");
        }
        select.push(" ORDER BY epoch, peer LIMIT ").push_bind(i64::from(limit.min(MAX_PAGE)));
        let rows: Vec<SqlRow> = select.build_query_as().fetch_all(&self.pool).await?;
        Ok(rows.into_iter().filter_map(SqlRow::into_row).collect())
    }

    /// Writes what comes until the sender is gone, and keeps rows for so long. What can't be written is tried again.
    pub fn keep(self, mut epochs: mpsc::Receiver<Epoch>, retention: Duration) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Some(epoch) = epochs.recv().await {
                self.write(&epoch, retention, &epochs).await;
            }
        })
    }

    /// Tries until it is written. After the sender is gone there is one try, so that a node with a full disk can stop.
    async fn write(&self, epoch: &Epoch, retention: Duration, epochs: &mpsc::Receiver<Epoch>) {
        loop {
            let oldest = now().unix.saturating_sub(retention).as_secs();
            let Err(error) = self.add(epoch, oldest).await else { return };
            self.failures.fetch_add(1, Relaxed);
            tracing::error!(%error, epoch = epoch.start, "accounts can't be written");
            if epochs.is_closed() {
                return;
            }
            sleep(RETRY_AFTER).await;
        }
    }
}

async fn add(connection: &mut SqliteConnection, epoch: &Epoch, oldest: u64) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for rows in epoch.accounts.chunks(ROWS_A_STATEMENT) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO accounts (epoch, peer, envelopes_received, bytes_received, envelopes_sent, bytes_sent) ",
        );
        insert.push_values(rows, |mut row, (peer, account)| {
            row.push_bind(to_sql(epoch.start)).push_bind(peer.as_bytes().to_vec());
            for volume in [account.received, account.sent] {
                row.push_bind(to_sql(volume.envelopes)).push_bind(to_sql(volume.bytes));
            }
        });
        insert.push(
            " ON CONFLICT (epoch, peer) DO UPDATE SET \
                 envelopes_received = envelopes_received + excluded.envelopes_received, \
                 bytes_received = bytes_received + excluded.bytes_received, \
                 envelopes_sent = envelopes_sent + excluded.envelopes_sent, \
                 bytes_sent = bytes_sent + excluded.bytes_sent",
        );
        insert.build().execute(&mut *transaction).await?;
    }
    let trim = sqlx::query("DELETE FROM accounts WHERE epoch < $1").bind(to_sql(oldest));
    trim.execute(&mut *transaction).await?;
    transaction.commit().await
}

/// A row as the database has it.
#[derive(FromRow)]
struct SqlRow {
    epoch: i64,
    peer: Vec<u8>,
    envelopes_received: i64,
    bytes_received: i64,
    envelopes_sent: i64,
    bytes_sent: i64,
}

impl SqlRow {
    /// `None` for a peer that is no node id: a row that this program has not written.
    fn into_row(self) -> Option<Row> {
        let peer = NodeId::from_bytes(self.peer.try_into().ok()?);
        let volume = |envelopes, bytes| Volume { envelopes: from_sql(envelopes), bytes: from_sql(bytes) };
        let received = volume(self.envelopes_received, self.bytes_received);
        let sent = volume(self.envelopes_sent, self.bytes_sent);
        Some(Row { epoch: from_sql(self.epoch), peer, account: Account { received, sent } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn account(n: u64) -> Account {
        let volume = |n| Volume { envelopes: n, bytes: 100 * n };
        Account { received: volume(n), sent: volume(2 * n) }
    }

    fn epoch(start: u64, peers: &[u8]) -> Epoch {
        Epoch { start, accounts: peers.iter().map(|n| (peer(*n), account(u64::from(*n)))).collect() }
    }

    fn places(rows: &[Row]) -> Vec<(u64, u8)> {
        rows.iter().map(|row| (row.epoch, row.peer.as_bytes()[0])).collect()
    }

    async fn ledger(directory: &tempfile::TempDir) -> Ledger {
        Ledger::new(&Database::open(directory.path()).await.unwrap())
    }

    #[tokio::test]
    async fn rows_are_found_by_time_and_peer_and_page_by_page() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger(&directory).await;
        for start in [120, 60, 180] {
            ledger.add(&epoch(start, &[2, 1]), 0).await.unwrap();
        }
        let all = ledger.page(&Filter::default(), 10).await.unwrap();
        assert_eq!(places(&all), [(60, 1), (60, 2), (120, 1), (120, 2), (180, 1), (180, 2)]);
        assert_eq!(all[1].account, account(2));
        let some = Filter { from: Some(61), to: Some(180), peer: Some(peer(2)), after: None };
        assert_eq!(places(&ledger.page(&some, 10).await.unwrap()), [(120, 2), (180, 2)]);
        let mut paged = Vec::new();
        let mut filter = Filter::default();
        loop {
            let page = ledger.page(&filter, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some((last.epoch, last.peer));
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }

    #[tokio::test]
    async fn an_epoch_in_two_parts_adds_up_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger(&directory).await;
        ledger.add(&epoch(60, &[1]), 0).await.unwrap();
        ledger.add(&epoch(120, &[1]), 0).await.unwrap();
        ledger.add(&epoch(120, &[1, 3]), 61).await.unwrap();
        let rows = ledger.page(&Filter::default(), 10).await.unwrap();
        assert_eq!(places(&rows), [(120, 1), (120, 3)]);
        assert_eq!(rows[0].account.received, Volume { envelopes: 2, bytes: 200 });
    }

    #[tokio::test]
    async fn the_largest_epoch_fits_and_sums_do_not_overflow() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger(&directory).await;
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            NodeId::from_bytes(id)
        };
        let most = Volume { envelopes: u64::MAX, bytes: u64::MAX };
        let accounts = (0..waku0::accounting::MAX_ACCOUNTS).map(|n| (id(n), Account { received: most, sent: most }));
        ledger.add(&Epoch { start: 60, accounts: accounts.collect() }, 0).await.unwrap();
        let rows = ledger.page(&Filter::default(), MAX_PAGE).await.unwrap();
        assert_eq!(rows.len(), waku0::accounting::MAX_ACCOUNTS);
        assert_eq!(rows[0].account.sent.bytes, u64::MAX >> 1);
    }

    #[tokio::test]
    async fn accounts_are_kept_until_the_sender_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger(&directory).await;
        let (epochs, inbox) = mpsc::channel(EPOCHS);
        let keeper = ledger.clone().keep(inbox, DEFAULT_RETENTION);
        let start = now().unix_secs();
        for n in 0..EPOCHS as u64 {
            epochs.send(epoch(start + n, &[1])).await.unwrap();
        }
        drop(epochs);
        keeper.await.unwrap();
        assert_eq!(ledger.page(&Filter::default(), 100).await.unwrap().len(), EPOCHS);
        assert_eq!(ledger.failures(), 0);
    }

    #[tokio::test]
    async fn a_write_that_fails_is_counted_and_does_not_keep_a_node_from_stopping() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = ledger(&directory).await;
        sqlx::query("DROP TABLE accounts").execute(&ledger.pool).await.unwrap();
        let (epochs, inbox) = mpsc::channel(EPOCHS);
        epochs.send(epoch(60, &[1])).await.unwrap();
        drop(epochs);
        ledger.clone().keep(inbox, DEFAULT_RETENTION).await.unwrap();
        assert_eq!(ledger.failures(), 1);
    }
}
