//! Accepts connections: shell.
//!
//! How many strangers may be under way at once is decided by the table of connections; see
//! [`crate::server::Limits::max_pending_inbound`].

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::conn;
use crate::server::Shared;

/// Pause after a failed accept: the usual cause, no free file descriptor, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the server stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let stopped = shared.stopped();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, addr)) => {
                tokio::spawn(conn::accepted(Arc::clone(&shared), stream, addr));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
