//! Accepts connections: shell.
//!
//! Who may connect from where is decided by [`crate::inbound`], how many strangers may be under way at once by the table of
//! connections; see [`crate::server::Limits::max_pending_inbound`]. When the system refuses a connection, which mostly means
//! that there is no free file descriptor, accepting pauses: those who knock wait in the system's queue meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::clock::now;
use crate::conn;
use crate::counters::count;
use crate::server::{Shared, StartError};

/// Pause after a first failed accept.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause; they double up to it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Ports below this are for programs with the right to them.
pub(crate) const FIRST_COMMON_PORT: u16 = 1024;

/// Listens on an address.
pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).await.map_err(|source| refused(addr, source))
}

fn refused(addr: SocketAddr, source: io::Error) -> StartError {
    if source.kind() == io::ErrorKind::PermissionDenied && (1..FIRST_COMMON_PORT).contains(&addr.port()) {
        return StartError::Privileged { addr };
    }
    StartError::Listen { addr, source }
}

/// Accepts until the server stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let stopped = shared.stopped();
    tokio::pin!(stopped);
    let mut pause = Pause::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, addr)) => {
                if pause.end() {
                    tracing::info!("connections are accepted again");
                }
                take(&shared, stream, addr);
            }
            Err(error) => {
                let wait = pause.lengthen();
                if wait == FIRST_PAUSE {
                    tracing::warn!(%error, "no connections can be accepted; trying again");
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    // It frees its file descriptor.
                    () = shared.a_task_ends() => {}
                    () = &mut stopped => return,
                }
            }
        }
    }
}

fn take(shared: &Arc<Shared>, stream: TcpStream, addr: SocketAddr) {
    match shared.place(now(), addr.ip()) {
        Ok(place) => {
            count(&shared.counters.served);
            tokio::spawn(conn::accepted(Arc::clone(shared), stream, addr, place));
        }
        Err(refusal) => tracing::debug!(%addr, %refusal, "connection refused"),
    }
}

/// How long to pause after failures in a row.
#[derive(Debug, Default)]
struct Pause(Option<Duration>);

impl Pause {
    fn lengthen(&mut self) -> Duration {
        let wait = self.0.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.0 = Some(wait);
        wait
    }

    /// Ends a row of failures; true when there was one.
    fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_without_the_right_to_it_says_which_right() {
        let refused = |port: u16, kind: io::ErrorKind| refused(([0, 0, 0, 0], port).into(), kind.into()).to_string();
        assert!(refused(443, io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused(443, io::ErrorKind::AddrInUse).contains("CAP_NET_BIND_SERVICE"));
        assert!(!refused(30303, io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
    }

    #[test]
    fn f07_pauses_lengthen_and_end() {
        let mut pause = Pause::default();
        assert!(!pause.end());
        let millis: Vec<_> = (0..6).map(|_| pause.lengthen().as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1000, 1000]);
        assert!(pause.end() && !pause.end());
        assert_eq!(pause.lengthen(), FIRST_PAUSE);
    }
}
