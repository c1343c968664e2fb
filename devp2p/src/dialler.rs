//! Carries out the dial schedule: shell.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::clock::now;
use crate::conn;
use crate::dial::Schedule;
use crate::enode::{Enode, Host};
use crate::key::NodeId;
use crate::server::Shared;

/// Notices waiting for the dialler; a task that finds the channel full waits.
pub(crate) const MAX_NOTICES: usize = 64;

/// What the dialler is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A connection with the node is up, whoever dialled.
    Up(NodeId),
    /// It is over.
    Down(NodeId),
    /// A dial came to nothing.
    Failed(NodeId),
}

/// Dials until the server stops.
pub(crate) async fn run(shared: Arc<Shared>, mut schedule: Schedule, mut notices: mpsc::Receiver<Notice>) {
    let stopped = shared.stopped();
    tokio::pin!(stopped);
    loop {
        while let Some(enode) = schedule.next_dial(now()) {
            tokio::spawn(dial(Arc::clone(&shared), enode));
        }
        let wake_at = schedule.wake_at();
        let due = async {
            match wake_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(notice) = notices.recv() => match notice {
                Notice::Up(id) => schedule.connected(now(), id),
                Notice::Down(id) => schedule.ended(now(), id),
                Notice::Failed(id) => schedule.failed(now(), id),
            },
            () = due => {}
            () = &mut stopped => return,
        }
    }
}

async fn dial(shared: Arc<Shared>, enode: Enode) {
    let connected = timeout(shared.limits.dial_timeout, connect(&enode)).await;
    match connected {
        Ok(Ok((stream, addr))) => return conn::dialled(shared, stream, addr, enode.key).await,
        Ok(Err(error)) => tracing::debug!(%enode, %error, "cannot dial"),
        Err(_) => tracing::debug!(%enode, "dialling took too long"),
    }
    // Fails only when the dialler has stopped.
    let _ = shared.notices.send(Notice::Failed(enode.key.id())).await;
}

async fn connect(enode: &Enode) -> std::io::Result<(TcpStream, SocketAddr)> {
    let stream = match &enode.host {
        Host::Ip(ip) => TcpStream::connect((*ip, enode.tcp)).await?,
        Host::Dns(name) => TcpStream::connect((name.as_str(), enode.tcp)).await?,
    };
    let addr = stream.peer_addr()?;
    Ok((stream, addr))
}
