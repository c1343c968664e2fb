//! Carries out the dial schedule and keeps the file of the address book: shell.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::book::Entry;
use crate::clock::now;
use crate::counters::count;
use crate::dial::Schedule;
use crate::enode::{Enode, Host};
use crate::key::NodeId;
use crate::server::Shared;
use crate::{book_file, conn};

/// Notices waiting for the dialler; a task that finds the channel full waits.
pub(crate) const MAX_NOTICES: usize = 64;

/// Nodes named to us that wait for the dialler; more are dropped, and will be named again.
pub(crate) const MAX_SUGGESTIONS: usize = 256;

/// Changes of the address book are written together after this time, and at the end.
const SAVE_DELAY: Duration = Duration::from_secs(30);

/// What the dialler is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A connection with the node is up; `dialled` when it came of our dial.
    Up { id: NodeId, dialled: bool },
    /// It is over; `hopeless` when another one would end alike.
    Down { id: NodeId, hopeless: bool },
    /// A dial came to nothing.
    Failed { id: NodeId, hopeless: bool },
    /// So many connections are to be sought beside static nodes.
    Want { connections: usize },
    /// The node is static from now on; `connected` says that it is there, and whether we have dialled it.
    Keep { enode: Enode, connected: Option<bool> },
    /// It is static no longer.
    Release { id: NodeId },
}

/// What the dialler hears.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) suggestions: mpsc::Receiver<Enode>,
}

/// Dials until the server stops.
pub(crate) async fn run(shared: Arc<Shared>, mut schedule: Schedule, mut heard: Heard, book: Option<PathBuf>) {
    let stopped = shared.stopped();
    tokio::pin!(stopped);
    let mut file = BookFile { path: book, pending: None, save_at: None };
    loop {
        while let Some(enode) = schedule.next_dial(now()) {
            tokio::spawn(dial(Arc::clone(&shared), enode));
        }
        file.note(schedule.changed_book(now()));
        tokio::select! {
            Some(notice) = heard.notices.recv() => take_note(&mut schedule, notice),
            Some(enode) = heard.suggestions.recv() => schedule.suggest(now(), enode),
            () = until(schedule.wake_at()) => {}
            () = until(file.save_at) => file.save().await,
            () = &mut stopped => break,
        }
    }
    file.save().await;
    shared.dialler_ended();
}

fn take_note(schedule: &mut Schedule, notice: Notice) {
    match notice {
        Notice::Up { id, dialled } => schedule.connected(now(), id, dialled),
        Notice::Down { id, hopeless } => schedule.ended(now(), id, hopeless),
        Notice::Failed { id, hopeless } => schedule.failed(now(), id, hopeless),
        Notice::Want { connections } => schedule.want(connections),
        Notice::Keep { enode, connected } => schedule.keep(now(), enode, connected),
        Notice::Release { id } => schedule.release(id),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn dial(shared: Arc<Shared>, enode: Enode) {
    count(&shared.counters.dials);
    let connected = timeout(shared.limits.dial_timeout, connect(&enode)).await;
    match connected {
        Ok(Ok((stream, addr))) => return conn::dialled(shared, stream, addr, enode.key).await,
        Ok(Err(error)) => tracing::debug!(%enode, %error, "cannot dial"),
        Err(_) => tracing::debug!(%enode, "dialling took too long"),
    }
    count(&shared.counters.dials_unreached);
    // Fails only when the dialler has stopped.
    let _ = shared.notices.send(Notice::Failed { id: enode.key.id(), hopeless: false }).await;
}

async fn connect(enode: &Enode) -> std::io::Result<(TcpStream, SocketAddr)> {
    let stream = match &enode.host {
        Host::Ip(ip) => TcpStream::connect((*ip, enode.tcp)).await?,
        Host::Dns(name) => TcpStream::connect((name.as_str(), enode.tcp)).await?,
    };
    let addr = stream.peer_addr()?;
    Ok((stream, addr))
}

/// The file of the address book, and what it is to say.
struct BookFile {
    path: Option<PathBuf>,
    pending: Option<Vec<Entry>>,
    save_at: Option<Instant>,
}

impl BookFile {
    fn note(&mut self, entries: Option<Vec<Entry>>) {
        if self.path.is_some() && entries.is_some() {
            self.pending = entries;
            self.save_at.get_or_insert_with(|| now().instant + SAVE_DELAY);
        }
    }

    async fn save(&mut self) {
        self.save_at = None;
        if let (Some(path), Some(entries)) = (self.path.clone(), self.pending.take()) {
            let shown = path.clone();
            let written = tokio::task::spawn_blocking(move || book_file::write(&path, &entries)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(path = %shown.display(), %error, "cannot write the address book");
            }
        }
    }
}

/// What the file says; nothing when there is none, or none that can be read.
pub(crate) async fn recall(path: &Path) -> Vec<Entry> {
    let (path, shown) = (path.to_owned(), path.display());
    match tokio::task::spawn_blocking(move || book_file::read(&path)).await {
        Ok(Ok(entries)) => entries,
        Ok(Err(error)) => {
            tracing::warn!(path = %shown, %error, "cannot read the address book; beginning a new one");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}
